"""Models of populations of neurons: scikit-learn-style estimators that know arrays, not files."""
