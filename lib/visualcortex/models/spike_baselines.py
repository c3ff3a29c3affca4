"""Decoders of binned spike counts that need no training of a network, as scikit-learn pipelines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import linear_kernel
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from visualcortex.models.readouts import ShrinkageLDA
from visualcortex.tuning import Settings, Space


class CountScaler(TransformerMixin, BaseEstimator):
    r"""Make counts comparable: square roots, then z-scores of each neuron in each bin.

    :math:`z = (\sqrt c - \mu) / \sigma`, with the mean and s.d. over the fitted trials: the root
    of a Poisson count has a variance of about 1/4 whatever its mean (Anscombe 1948). What was
    constant in the fitted trials, as a silent neuron is, becomes 0 in all trials.

    Bias: none by test trials, if it is fitted to training trials alone, as a pipeline does.

    Parameters
    ----------
    root : bool
        Whether to take square roots.
    standardise : bool
        Whether to take z-scores; counts, or their roots, stay as they are otherwise.
    flat : bool
        Whether to give (trial, bin * neuron) instead of (trial, bin, neuron).

    Attributes
    ----------
    mean_, sd_ : (n_bins, n_neurons) arrays
        float32; 0 and 1 without `standardise`. The s.d. of what is constant is infinite.
    shape_ : tuple of int
        Bins and neurons.

    References
    ----------
    Anscombe, F. J. (1948). The transformation of Poisson, binomial and negative-binomial data.
    Biometrika 35.
    """

    def __init__(self, *, root: bool = True, standardise: bool = True, flat: bool = True) -> None:
        self.root = root
        self.standardise = standardise
        self.flat = flat

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> CountScaler:
        """Learn means and standard deviations.

        Parameters
        ----------
        X : (n_trials, n_bins, n_neurons) array
            Spike counts.
        y : ignored

        Returns
        -------
        CountScaler
            Itself.

        Raises
        ------
        ValueError
            If X is not such an array, or has negative or missing counts.
        """
        values = self._rooted(X)
        self.shape_ = values.shape[1:]
        self.mean_ = np.zeros(self.shape_, dtype=np.float32)
        self.sd_ = np.ones(self.shape_, dtype=np.float32)
        if self.standardise:
            self.mean_ = values.mean(axis=0, dtype=float).astype(np.float32)
            # rounding would give a constant a tiny spread
            varies = np.ptp(values, axis=0) > 0
            sd = np.where(varies, values.std(axis=0, dtype=float), np.inf)
            self.sd_ = sd.astype(np.float32)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Scale trials, float32, (trial, bin * neuron) or (trial, bin, neuron).

        Raises
        ------
        ValueError
            If X is no array of counts, or of other bins or neurons than were fitted.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "sd_")
        values = self._rooted(X)
        if values.shape[1:] != self.shape_:
            raise ValueError(
                f"trials must have the bins and neurons that were fitted, {self.shape_}; got "
                f"{values.shape[1:]}. Bin and select alike."
            )
        scaled = (values - self.mean_) / self.sd_
        return scaled.reshape(len(scaled), -1) if self.flat else scaled

    def _rooted(self, X: np.ndarray) -> np.ndarray:
        values = checked_counts(X)
        return np.sqrt(values) if self.root else values


def checked_counts(X: np.ndarray) -> np.ndarray:
    """Return spike counts (trial, bin, neuron) as float32.

    Raises
    ------
    ValueError
        If they have another shape, or are negative or not finite.
    """
    values = np.asarray(X, dtype=np.float32)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(
            f"counts must be (trial, bin, neuron), none of them empty; got shape {values.shape}. "
            "For one bin use X[:, None, :]."
        )
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        raise ValueError(
            f"counts must be finite and not negative; got {np.count_nonzero(wrong)} others. Drop "
            "trials in which recording failed, and pass counts, not z-scores."
        )
    return values


class PoissonNaiveBayes(ClassifierMixin, BaseEstimator):
    r"""Most probable class of independent Poisson counts.

    With s the prior's strength in trials, :math:`m_j` the mean count of feature j over all
    training trials, and :math:`n_k` trials of class k with the sum :math:`S_{kj}`,

    .. math:: \lambda_{kj} = \frac{s\, m_j + S_{kj}}{s + n_k}, \qquad
              \log p(k \mid x) = \log \pi_k + \sum_j (x_j \log \lambda_{kj} - \lambda_{kj}) + c,

    the posterior mean of the rate under the prior Gamma(shape :math:`s m_j`, rate s). All classes
    are as probable beforehand. Half a spike in all trials together is added to :math:`m_j`, so
    that no rate is 0.

    Bias: rates are shrunk towards the mean of all classes. Counts that vary together make the
    probabilities overconfident: evidence that neurons share is counted once for each of them.

    Parameters
    ----------
    strength : float
        s, positive.

    Attributes
    ----------
    classes_ : (n_classes,) array
    rates_ : (n_classes, n_features) array
        :math:`\lambda`, in counts.
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, X: np.ndarray, y: np.ndarray) -> PoissonNaiveBayes:
        """Learn rates from counts (n_trials, n_features) and a class each, (n_trials,).

        Raises
        ------
        ValueError
            If the strength is not positive, or there is not one label a trial.
        """
        counts, y = np.asarray(X, dtype=float), np.asarray(y)
        if not self.strength > 0 or y.shape != (len(counts),):
            raise ValueError(
                "need a positive strength and one label a trial; got strength "
                f"{self.strength}, {len(counts)} trials and labels of shape {y.shape}"
            )
        self.classes_, code = np.unique(y, return_inverse=True)
        members = np.eye(len(self.classes_))[:, code]  # (K, n)
        mean = (counts.sum(axis=0) + 0.5) / len(counts)
        n_trials = members.sum(axis=1, keepdims=True)
        self.rates_ = (self.strength * mean + members @ counts) / (self.strength + n_trials)
        return self

    def predict_log_proba(self, X: np.ndarray) -> np.ndarray:
        """Log posterior of each class, (n_trials, n_classes)."""
        check_is_fitted(self, "rates_")
        evidence = np.asarray(X, dtype=float) @ np.log(self.rates_).T - self.rates_.sum(axis=1)
        return log_softmax(evidence, axis=1)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Posterior of each class, (n_trials, n_classes); rows add up to 1."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Most probable class of each trial, (n_trials,), from `classes_`."""
        return self.classes_[self.predict_log_proba(X).argmax(axis=1)]


class LeadingComponents(TransformerMixin, BaseEstimator):
    """Principal components, as many as asked for or as there are.

    Parameters
    ----------
    n_components : int
        At most; fewer where there are fewer features or trials.
    seed : int
        Of scikit-learn's solver, where it is approximate.

    Attributes
    ----------
    pca_ : sklearn.decomposition.PCA
    """

    def __init__(self, n_components: int = 100, *, seed: int = 0) -> None:
        self.n_components = n_components
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> LeadingComponents:
        """Find the components of (n_trials, n_features)."""
        n_components = min(self.n_components, *X.shape)
        self.pca_ = PCA(n_components, random_state=self.seed).fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Components of each trial, (n_trials, at most n_components)."""
        check_is_fitted(self, "pca_")
        return self.pca_.transform(X)


def baseline(name: str, *, seed: int = 0, **settings: object) -> Pipeline:
    r"""Return a decoder of counts (trial, bin, neuron) that is not fitted yet.

    - "chance": always the most frequent class of the training trials; no settings.
    - "naive_bayes": `PoissonNaiveBayes` of raw counts; `strength`.
    - "lda": `visualcortex.models.readouts.ShrinkageLDA` of z-scored roots; `shrinkage`.
    - "logistic": softmax regression of z-scored roots (L-BFGS, float32); `C`.
    - "pca_logistic": the same of `n_components` principal components; `n_components`, `C`.
    - "linear_svm": support vectors for each pair of classes, z-scored roots; `C`. Pairs, and one
      Gram matrix for all of them: for 118 classes of 30 trials each that is two orders of
      magnitude quicker than a machine for each class against the rest of the trials.
    - "rbf_svm": the same with a Gaussian kernel of raw counts, the defaults of scikit-learn, as in
      the examples of the Allen Institute; `C`, `gamma`, and `root` for z-scored roots instead.

    Bias: the support vector machines have no probabilities: they offer `decision_function`, which
    ranks classes. A principal component, mean or s.d. is of the training trials alone.

    Parameters
    ----------
    name : str
        One of `BASELINES`.
    seed : int
        Of the principal components, where they are approximate.
    **settings
        As above.

    Returns
    -------
    sklearn.pipeline.Pipeline
        ``fit(X, y)``, ``predict(X)``, ``predict_proba(X)``, ``classes_``, with X (n_trials,
        n_bins, n_neurons) counts.

    Raises
    ------
    ValueError
        There is no such baseline.
    TypeError
        It has no such setting.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline must be one of {sorted(BASELINES)}; got {name!r}")
    return Pipeline(BASELINES[name][0](seed, **settings))


def search_space(name: str) -> Space:
    """Return the search space of a baseline, for `visualcortex.tuning.search`.

    Parameters
    ----------
    name : str
        One of `BASELINES`.

    Returns
    -------
    callable
        Given a trial of Optuna, returns settings for `baseline`; none where nothing is to choose.

    Raises
    ------
    ValueError
        There is no such baseline.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline must be one of {sorted(BASELINES)}; got {name!r}")
    return BASELINES[name][1]


Steps = list[tuple[str, BaseEstimator]]


def _chance(seed: int) -> Steps:
    return [("scale", CountScaler()), ("classify", DummyClassifier(strategy="prior"))]


def _naive_bayes(seed: int, *, strength: float = 1.0) -> Steps:
    scale = CountScaler(root=False, standardise=False)
    return [("scale", scale), ("classify", PoissonNaiveBayes(strength))]


def _lda(seed: int, *, shrinkage: float = 0.2, device: str = "auto") -> Steps:
    return [("scale", CountScaler()), ("classify", ShrinkageLDA(shrinkage, device=device))]


def _logistic(seed: int, *, C: float = 0.01, max_iter: int = 1000) -> Steps:
    return [("scale", CountScaler()), ("classify", LogisticRegression(C=C, max_iter=max_iter))]


def _pca_logistic(
    seed: int, *, n_components: int = 100, C: float = 0.01, max_iter: int = 1000
) -> Steps:
    scale, classify = _logistic(seed, C=C, max_iter=max_iter)
    return [scale, ("reduce", LeadingComponents(n_components, seed=seed)), classify]


def _linear_svm(seed: int, *, C: float = 0.01) -> Steps:
    return [("scale", CountScaler()), ("classify", SVC(C=C, kernel=linear_kernel))]


def _rbf_svm(
    seed: int, *, C: float = 1.0, gamma: float | str = "scale", root: bool = False
) -> Steps:
    scale = CountScaler(root=root, standardise=root)
    return [("scale", scale), ("classify", SVC(C=C, gamma=gamma))]


def _nothing(trial: object) -> Settings:
    return {}


def _log_uniform(name: str, low: float, high: float) -> Space:
    return lambda trial: {name: trial.suggest_float(name, low, high, log=True)}


def _pca_space(trial: object) -> Settings:
    return {
        "n_components": trial.suggest_int("n_components", 20, 200, log=True),
        "C": trial.suggest_float("C", 1e-4, 1.0, log=True),
    }


def _rbf_space(trial: object) -> Settings:
    return {
        "C": trial.suggest_float("C", 0.1, 100.0, log=True),
        "root": trial.suggest_categorical("root", [False, True]),
    }


# name -> steps, search space
BASELINES: dict[str, tuple[Callable[..., Steps], Space]] = {
    "chance": (_chance, _nothing),
    "naive_bayes": (_naive_bayes, _log_uniform("strength", 0.1, 30.0)),
    "lda": (_lda, _log_uniform("shrinkage", 0.01, 0.9)),
    "logistic": (_logistic, _log_uniform("C", 1e-4, 1.0)),
    "pca_logistic": (_pca_logistic, _pca_space),
    "linear_svm": (_linear_svm, _log_uniform("C", 1e-4, 1.0)),
    "rbf_svm": (_rbf_svm, _rbf_space),
}
