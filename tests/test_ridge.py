"""Multi-target ridge against scikit-learn's fits, one at a time and in float64."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from visualcortex.evaluation import shuffled_folds
from visualcortex.models.ridge import ALPHAS, MultiTargetRidge, held_out_residuals

SHAPES = [(150, 30), (60, 59), (60, 60), (60, 61), (50, 200)]  # both forms, and where they meet
FEW = (1e-2, 1.0, 30.0, 1e3)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def linear(rng, n, n_features, n_targets=12):
    """Features with a mean, and targets from nearly linear to nearly noise."""
    x = rng.normal(size=(n, n_features)) + 3
    y = x @ rng.normal(size=(n_features, n_targets)) / np.sqrt(n_features) + 1
    noise = np.logspace(-1, 1, n_targets)
    return x.astype("f4"), (y + noise * rng.normal(size=y.shape)).astype("f4")


def steep(rng, n, n_features, n_targets=100):
    """Features as deep networks have: variance falls by six decades, means are far from zero."""
    rank = min(n, n_features)
    order = np.arange(1, rank + 1)
    spread = order ** (-3 / np.log10(rank))
    latent = rng.normal(size=(n, rank))
    axes = np.linalg.qr(rng.normal(size=(n_features, rank)))[0]
    x = 10 * np.sqrt(n_features) * (latent * spread) @ axes.T + 100
    y = latent * np.sqrt(spread) @ (rng.normal(size=(rank, n_targets)) / np.sqrt(order)[:, None])
    y = y / y.std(axis=0) + np.logspace(-2, 0.5, n_targets) * rng.normal(size=y.shape)
    return x.astype("f4"), y.astype("f4")


def doubled(*arrays):
    return [a.astype(float) for a in arrays]


def loop(x, y, alphas, folds):
    """Residuals by one fit a fold and alpha, (A, n, N)."""
    x, y = doubled(x, y)
    found = np.empty((len(alphas), *y.shape))
    for a, alpha in enumerate(alphas):
        for fold in np.unique(folds):
            test = folds == fold
            fitted = Ridge(alpha, solver="svd").fit(x[~test], y[~test])
            found[a, test] = y[test] - fitted.predict(x[test])
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float64", 1e-7)])
@pytest.mark.parametrize("shape", SHAPES)
def test_held_out_residuals_are_those_of_a_loop_over_folds_and_alphas(rng, shape, dtype, tolerance):
    x, y = linear(rng, *shape)
    folds = rng.choice([7, -1, 3], p=[0.6, 0.3, 0.1], size=len(x))
    ours = held_out_residuals(x, y, FEW, folds=folds, dtype=dtype)
    assert ours.dtype == dtype
    assert np.abs(ours - loop(x, y, FEW, folds)).max() < tolerance * y.std()


@pytest.mark.parametrize("shape", SHAPES)
def test_leaving_out_one_is_the_loop_over_rows(rng, shape):
    x, y = linear(rng, *shape)
    each = np.arange(len(x))
    one = held_out_residuals(x, y, FEW[::2], folds=None, dtype="float64")
    assert np.allclose(one, loop(x, y, FEW[::2], each), atol=1e-7)
    blocks = held_out_residuals(x, y, FEW[::2], folds=each, dtype="float64")
    assert np.allclose(one, blocks, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_penalties_and_weights_are_those_of_scikit_learn(rng, shape):
    x, y = linear(rng, *shape)
    peer = RidgeCV(ALPHAS, alpha_per_target=True).fit(*doubled(x, y))
    ours = MultiTargetRidge(folds=None).fit(x, y)
    exact = MultiTargetRidge(folds=None, dtype="float64").fit(x, y)
    assert len(set(peer.alpha_)) > 2
    for found, tolerance in ((ours, 1e-3), (exact, 1e-8)):
        assert np.array_equal(found.alphas_, peer.alpha_)
        assert np.allclose(found.coef_, peer.coef_, atol=tolerance * np.abs(peer.coef_).max())
        assert np.allclose(found.intercept_, peer.intercept_, atol=20 * tolerance)
        assert np.allclose(found.predict(x), peer.predict(x.astype(float)), atol=tolerance * 5)
        best = found.scores_.max(axis=0)
        assert np.allclose(1 - best, -peer.best_score_ / y.var(axis=0), atol=tolerance)


def test_penalties_of_folds_are_those_of_a_grid_search_for_each_target(rng):
    x, y = linear(rng, 90, 40, 5)
    folds = shuffled_folds(np.zeros(90), 5, rng=np.random.default_rng(3))
    ours = MultiTargetRidge(folds=5, seed=3).fit(x, y)
    for target, alpha in zip(y.T, ours.alphas_, strict=True):
        search = GridSearchCV(
            Ridge(),
            {"alpha": ALPHAS},
            cv=PredefinedSplit(folds),
            scoring="neg_mean_squared_error",
        ).fit(*doubled(x, target))
        assert search.best_params_["alpha"] == alpha


@pytest.mark.parametrize("shape", [(300, 1000), (400, 350)])
def test_float32_suffices_for_features_of_a_steep_spectrum(rng, shape):
    x, y = steep(rng, shape[0] + 50, shape[1])
    x, y, new = x[50:], y[50:], x[:50]
    peer = RidgeCV(ALPHAS, alpha_per_target=True).fit(*doubled(x, y))
    assert len(set(peer.alpha_)) > 4
    # single precision alone would not do: its rounding is of the size of some of the alphas
    largest = np.linalg.norm(x - x.mean(axis=0), 2) ** 2
    assert largest * np.finfo(np.float32).eps > peer.alpha_.min()
    for folds in (None, 5):
        ours, exact = (
            MultiTargetRidge(folds=folds, dtype=t).fit(x, y) for t in ("float32", "float64")
        )
        same = ours.alphas_ == (peer.alpha_ if folds is None else exact.alphas_)
        assert same.mean() >= 0.99
        expected = exact.predict(new)
        apart = np.abs(ours.predict(new) - expected)[:, same] / y.std(axis=0)[same]
        assert apart.max() < 1e-2
        assert np.median(apart) < 1e-4


@pytest.mark.parametrize(("shape", "dtype"), [((80, 20), "float32"), ((40, 90), "float64")])
def test_a_row_that_alone_has_a_feature_is_held_out_exactly(rng, shape, dtype):
    x, y = linear(rng, *shape)
    x[:, 0] = 0
    x[4, 0] = 1e4  # its leverage is nearly 1, so that what is left of it is a tiny difference
    each = np.arange(len(x))
    expected = loop(x, y, [0.1], each)
    for folds in (None, each):
        found = held_out_residuals(x, y, [0.1], folds=folds, dtype=dtype)
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_order_of_rows_and_units_of_targets_do_not_matter(rng):
    x, y = linear(rng, 70, 100)
    folds = rng.integers(4, size=70)
    order = rng.permutation(70)
    plain = MultiTargetRidge(folds=folds).fit(x, y)
    shuffled = MultiTargetRidge(folds=folds[order]).fit(x[order], y[order])
    scaled = MultiTargetRidge(folds=folds).fit(x, 100 * y - 7)
    for other in (shuffled, scaled):
        assert np.array_equal(other.alphas_, plain.alphas_)
        assert np.allclose(other.scores_, plain.scores_, atol=1e-4)
    assert np.allclose(shuffled.coef_, plain.coef_, atol=1e-4)
    assert np.allclose(scaled.predict(x), 100 * plain.predict(x) - 7, atol=0.05)


def test_targets_do_not_see_each_other(rng):
    x, y = linear(rng, 60, 80)
    together = MultiTargetRidge().fit(x, y)
    alone = MultiTargetRidge().fit(x, y[:, [4]])
    assert alone.alphas_[0] == together.alphas_[4]
    assert np.allclose(alone.coef_[0], together.coef_[4], atol=1e-5)


def test_order_of_alphas_does_not_matter_and_labels_their_scores(rng):
    x, y = linear(rng, 60, 80)
    rising, falling = (MultiTargetRidge(a).fit(x, y) for a in (FEW, FEW[::-1]))
    assert np.array_equal(rising.alphas_, falling.alphas_)
    assert np.allclose(rising.scores_, falling.scores_[::-1], atol=1e-6)


def test_seed_makes_the_folds(rng):
    x, y = linear(rng, 60, 20)
    scores = [MultiTargetRidge(seed=s).fit(x, y).scores_ for s in (1, 1, 2)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_noise_scores_zero_or_less_on_average_at_any_alpha(rng):
    x = rng.normal(size=(80, 120))
    scores = MultiTargetRidge().fit(x, rng.normal(size=(80, 400))).scores_
    assert (scores.mean(axis=1) < 0).all()


def test_recovers_true_weights(rng):
    x = rng.normal(size=(400, 10)) + 50
    weights = rng.normal(size=(3, 10))
    fitted = MultiTargetRidge([1e-3]).fit(x, x @ weights.T + 2)
    assert np.allclose(fitted.coef_, weights, atol=1e-3)
    assert np.allclose(fitted.scores_, 1, atol=1e-5)
    assert fitted.score(x, x @ weights.T + 2) > 0.99999


@pytest.mark.parametrize("n_features", [10, 100])
@pytest.mark.parametrize("folds", [None, 5])
def test_a_constant_target_is_predicted_by_its_value(rng, n_features, folds):
    x, y = linear(rng, 40, n_features)
    y[:, 2] = 0.7
    fitted = MultiTargetRidge(folds=folds).fit(x, y)
    assert fitted.alphas_[2] == max(ALPHAS)
    assert np.isnan(fitted.scores_[:, 2]).all()
    assert not fitted.coef_[2].any()
    assert np.array_equal(fitted.predict(x)[:, 2], y[:, 2])


@pytest.mark.parametrize("n_features", [10, 100])
def test_constant_features_weigh_nothing(rng, n_features):
    x, y = linear(rng, 40, n_features)
    padded = np.hstack([x, np.full((40, 3), 0.1, dtype="f4")])
    plain, other = (MultiTargetRidge().fit(z, y) for z in (x, padded))
    assert np.abs(other.coef_[:, -3:]).max() < 1e-6
    assert np.allclose(other.predict(padded), plain.predict(x), atol=1e-4)
    only = MultiTargetRidge().fit(padded[:, -3:], y)
    assert np.allclose(only.predict(padded[:, -3:]), y.mean(axis=0), atol=1e-5)


def test_is_an_estimator_of_scikit_learn(rng):
    x, y = linear(rng, 40, 10)
    model = MultiTargetRidge([1.0, 10.0], folds=None)
    with pytest.raises(NotFittedError):
        model.predict(x)
    before = x.copy(), y.copy()
    assert clone(model).fit(x, y).predict(x[:1]).shape == (1, 12)
    assert np.array_equal(x, before[0])
    assert np.array_equal(y, before[1])


def with_nan(array):
    array = array.copy()
    array[3, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (with_nan(x), y), "features must be finite.* 1 of 5 columns"),
        (lambda x, y: (x, with_nan(y)), "responses must be finite.* 1 of 12 columns"),
        (lambda x, y: (x, y[:, 0]), "responses must be a matrix"),
        (lambda x, y: (x[:-1], y), "19 and 20"),
        (lambda x, y: (x[:1], y[:1]), "two or more rows; got 1 and 1"),
    ],
)
def test_arrays_that_cannot_be_fitted_are_told(rng, change, message):
    x, y = linear(rng, 20, 5)
    with pytest.raises(ValueError, match=message):
        MultiTargetRidge().fit(*change(x, y))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alphas": []}, "alphas must be one or more"),
        ({"alphas": [0, 1]}, "alphas must be one or more positive"),
        ({"alphas": [np.inf]}, "alphas must be"),
        ({"alphas": 1.0}, "alphas must be"),
        ({"folds": 1}, "folds must be from 2 to the number of rows"),
        ({"folds": 21}, r"number of rows \(20\)"),
        ({"folds": np.arange(19)}, r"each of 20 rows.*shape \(19,\)"),
        ({"folds": np.zeros(20, dtype=int)}, "two different"),
        ({"folds": np.arange(20) / 2}, "float64"),
        ({"dtype": "float16"}, "dtype must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_told(rng, settings, message):
    x, y = linear(rng, 20, 5)
    with pytest.raises(ValueError, match=message):
        MultiTargetRidge(**settings).fit(x, y)


def test_an_alpha_lost_in_rounding_is_told(rng):
    x, y = linear(rng, 20, 5)
    x[:, 0] = 0
    x[4, 0] = 1e6
    with pytest.raises(ValueError, match="alphas must not vanish beside the features"):
        MultiTargetRidge([1e-6], folds=None).fit(x, y)


def test_other_features_than_those_fitted_are_told(rng):
    x, y = linear(rng, 20, 5)
    with pytest.raises(ValueError, match="the 5 that were fitted; got 4"):
        MultiTargetRidge().fit(x, y).predict(x[:, :4])
