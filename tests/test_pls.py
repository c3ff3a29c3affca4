"""Partial least squares against scikit-learn's, run until it converges."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from visualcortex.models.pls import KernelPLS


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def shared(rng, n, n_features, n_targets):
    """Features of a falling spectrum and a mean, targets that depend on many of its directions."""
    rank = min(n, n_features)
    latent = rng.normal(size=(n, rank)) / np.sqrt(1 + np.arange(rank))
    x = latent @ np.linalg.qr(rng.normal(size=(n_features, rank)))[0].T
    y = latent @ (rng.normal(size=(rank, n_targets)) * 1.3 ** -np.arange(n_targets))
    y = y + 0.3 * rng.normal(size=y.shape) * y.std(axis=0)
    return (10 * x + 5).astype("f4"), (y + 1).astype("f4")


def converged(n_components, x, y):
    model = PLSRegression(n_components, scale=False, tol=1e-18, max_iter=100_000)
    return model.fit(x.astype(float), y.astype(float))


@pytest.mark.parametrize(
    ("n", "n_features", "n_targets"), [(200, 50, 8), (60, 300, 8), (100, 6, 20), (80, 40, 1)]
)
@pytest.mark.parametrize("n_components", [1, 5])
def test_predictions_are_those_of_scikit_learn(rng, n, n_features, n_targets, n_components):
    x, y = shared(rng, n + 30, n_features, n_targets)
    x, y, new = x[30:], y[30:], x[:30]
    peer = converged(n_components, x, y)
    ours = KernelPLS(n_components).fit(x, y)
    expected = peer.predict(new.astype(float)).reshape(30, n_targets)
    assert np.abs(ours.predict(new) - expected).max() < 1e-4 * y.std()
    assert np.allclose(ours.coef_, peer.coef_, atol=1e-4 * np.abs(peer.coef_).max())
    assert ours.n_components_ == n_components


def test_many_components_stay_those_of_scikit_learn(rng):
    x, y = shared(rng, 400, 120, 30)
    expected = converged(25, x, y).predict(x.astype(float))
    assert np.abs(KernelPLS(25).fit(x, y).predict(x) - expected).max() < 1e-4 * y.std()


def test_all_components_are_least_squares(rng):
    x = rng.normal(size=(100, 6))
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(100, 4))
    expected = LinearRegression().fit(x, y)
    ours = KernelPLS(6).fit(x, y)
    assert np.allclose(ours.coef_, expected.coef_, atol=1e-5)
    assert np.allclose(ours.intercept_, expected.intercept_, atol=1e-5)


def test_one_target_and_white_features_need_one_component(rng):
    x = rng.normal(size=(50, 8))
    # uncorrelated and of equal variance: all directions are alike
    x = np.linalg.qr(x - x.mean(axis=0))[0]
    weights = rng.normal(size=8)
    ours = KernelPLS(1).fit(x, (x @ weights)[:, None] + 2)
    assert np.allclose(ours.coef_[0], weights, atol=1e-5)


def test_stops_where_no_covariance_is_left(rng):
    latent = rng.normal(size=(60, 3))
    x = latent @ rng.normal(size=(3, 20))
    y = latent @ rng.normal(size=(3, 5))
    fitted = KernelPLS(10).fit(x, y)
    assert fitted.n_components_ <= 4
    assert np.allclose(fitted.predict(x), y, atol=1e-3)


def test_constant_targets_and_features(rng):
    x, y = shared(rng, 60, 20, 4)
    y[:, 1], x[:, 3] = 0.7, 0.1
    fitted = KernelPLS(5).fit(x, y)
    assert np.allclose(fitted.predict(x)[:, 1], 0.7, atol=1e-6)
    assert not fitted.coef_[:, 3].any()
    constant = KernelPLS(5).fit(x, y[:, [1]])
    assert constant.n_components_ == 0
    assert np.array_equal(constant.predict(x), y[:, [1]])


def test_is_an_estimator_of_scikit_learn(rng):
    x, y = shared(rng, 60, 20, 4)
    model = KernelPLS(3)
    with pytest.raises(NotFittedError):
        model.predict(x)
    before = x.copy(), y.copy()
    assert 0 < clone(model).fit(x, y).score(x, y) < 1
    assert np.array_equal(x, before[0])
    assert np.array_equal(y, before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x * np.nan, y), "features must be finite.* 20 of 20 columns"),
        (lambda x, y: (x, y * np.inf), "responses must be finite"),
        (lambda x, y: (x, y[:, 0]), "responses must be a matrix"),
        (lambda x, y: (x[:-1], y), "29 and 30"),
        (lambda x, y: (x[:1], y[:1]), "two or more rows"),
        (lambda x, y: (x[:3], y[:3]), "from 1 to 2 for 3 rows of 20 features; got 3"),
        (lambda x, y: (x[:, :2], y), "from 1 to 2 for 30 rows of 2 features"),
    ],
)
def test_what_cannot_be_fitted_is_told(rng, change, message):
    x, y = shared(rng, 30, 20, 4)
    with pytest.raises(ValueError, match=message):
        KernelPLS(3).fit(*change(x, y))


def test_other_features_than_those_fitted_are_told(rng):
    x, y = shared(rng, 30, 20, 4)
    with pytest.raises(ValueError, match="the 20 that were fitted; got 4"):
        KernelPLS(3).fit(x, y).predict(x[:, :4])
