"""Probabilities are judged by hand examples, by scikit-learn, and by draws whose truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, top_k_accuracy_score

from visualcortex.evaluation import calibration as c

PROBA = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2], [0.6, 0.3, 0.1]])
LABELS = np.array([0, 1, 1, 0])
SCHEMES = {"equal_mass": "quantile", "equal_width": "uniform"}


def drawn(n, n_classes=6, *, seed=0, concentration=0.5):
    """Draw probabilities, and labels that come true as often as these say."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(n_classes, concentration), n)
    labels = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(max=n_classes - 1)
    return proba, labels


def two_classes(confidence, correct):
    """Probabilities of two classes; the first is said, and is right where `correct`."""
    return np.column_stack([confidence, 1 - confidence]), np.where(correct, 0, 1)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_that_of_scikit_learn_without_ties(k):
    proba, labels = drawn(300)
    expected = top_k_accuracy_score(labels, proba, k=k, labels=np.arange(6))
    assert c.top_k_correct(proba, labels, k).mean() == pytest.approx(expected)


def test_top_k_breaks_ties_at_random_on_average():
    assert c.top_k_correct(PROBA, LABELS, 1).tolist() == [1, 0, 0.5, 1]
    assert c.top_k_correct(PROBA, LABELS, 2).tolist() == [1, 0.5, 1, 1]
    assert (c.top_k_correct(PROBA, LABELS, 3) == 1).all()
    flat = np.ones((5, 8))
    assert c.top_k_correct(flat, np.arange(5), 3) == pytest.approx(3 / 8)
    # any rising function of the scores does
    logits = np.random.default_rng(1).normal(size=(50, 4))
    labels = np.arange(50) % 4
    both = [c.top_k_correct(x, labels, 2) for x in (logits, np.exp(logits))]
    assert np.array_equal(*both)


def test_surprise_is_that_of_scikit_learn_and_infinite_where_ruled_out():
    proba, labels = drawn(200)
    values = c.negative_log_likelihood(proba, labels)
    assert values.shape == (200,)
    assert values.mean() == pytest.approx(log_loss(labels, proba, labels=np.arange(6)))
    assert c.negative_log_likelihood(np.full((3, 118), 1 / 118), np.arange(3)) == pytest.approx(
        np.log(118)
    )
    assert c.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1]))[0] == np.inf


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_curve_is_that_of_scikit_learn(scheme):
    proba, labels = drawn(500, 2, seed=3)
    confidence = proba.max(axis=1)
    right = proba.argmax(axis=1) == labels
    curve = c.reliability_curve(proba, labels, n_bins=8, scheme=scheme)
    accuracy, mean = calibration_curve(right, confidence, n_bins=8, strategy=SCHEMES[scheme])
    assert np.allclose(curve["accuracy"], accuracy)
    assert np.allclose(curve["confidence"], mean)
    assert curve["n"].sum() == 500
    if scheme == "equal_mass":
        assert np.ptp(curve["n"]) <= 1
    for row in curve.itertuples():
        ends = binomtest(round(row.accuracy * row.n), row.n).proportion_ci(0.95, "wilson")
        assert (row.low, row.high) == pytest.approx((ends.low, ends.high))
    by_hand = np.sum(curve["n"] * np.abs(curve["accuracy"] - curve["confidence"])) / 500
    found = c.expected_calibration_error(proba, labels, n_bins=8, scheme=scheme)
    assert found == pytest.approx(by_hand)


def test_calibration_errors_by_hand():
    confidence = np.repeat([0.6, 0.9], [4, 6])
    proba, labels = two_classes(confidence, [1, 1, 1, 0, 1, 1, 1, 0, 0, 0])
    options = {"n_bins": 10, "scheme": "equal_width"}
    # accuracies 0.75 and 0.5: 0.4 * 0.15 + 0.6 * 0.4
    assert c.expected_calibration_error(proba, labels, **options) == pytest.approx(0.3)
    # Kumar, Liang & Ma: a (1 - a) / (n - 1) less in each bin
    kumar = 0.4 * (0.15**2 - 0.1875 / 3) + 0.6 * (0.4**2 - 0.25 / 5)
    assert c.squared_calibration_error(proba, labels, **options) == pytest.approx(kumar)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_order_of_trials_does_not_matter_nor_do_ties_split(scheme):
    proba, labels = drawn(200, seed=4)
    proba = np.round(proba, 1)
    proba[:, 0] = np.round(1 - proba[:, 1:].sum(axis=1), 1)
    proba, labels = (x[(proba >= 0).all(axis=1)] for x in (proba, labels))
    other = np.random.default_rng(0).permutation(len(labels))
    for error in (c.expected_calibration_error, c.squared_calibration_error):
        first = error(proba, labels, scheme=scheme)
        assert error(proba[other], labels[other], scheme=scheme) == pytest.approx(first)
    curve = c.reliability_curve(proba, labels, scheme=scheme)
    assert (np.diff(curve["confidence"]) > 0).all()


def test_the_debiased_error_is_right_on_average_and_the_plain_one_too_high():
    plain, debiased = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        confidence = rng.choice([0.6, 0.8], size=120)
        # off by 0.1 below, calibrated above
        right = rng.random(120) < np.where(confidence == 0.6, 0.5, 0.8)
        given = two_classes(confidence, right)
        options = {"n_bins": 10, "scheme": "equal_width"}
        plain.append(c.expected_calibration_error(*given, **options))
        debiased.append(c.squared_calibration_error(*given, **options))
    error = np.std(debiased) / np.sqrt(len(debiased))
    assert abs(np.mean(debiased) - 0.5 * 0.1**2) < 3.5 * error
    assert np.mean(plain) > 0.05 + 0.01
    assert min(debiased) < 0


def test_a_calibrated_decoder_passes_as_often_as_it_should():
    p, excess = [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        found = c.calibration_test(*drawn(150, seed=seed), rng=rng, n_bins=6, n_simulations=99)
        p.append(found.p)
        excess.append(found.excess)
    # 120 draws from a uniform distribution
    assert np.mean(np.array(p) <= 0.1) < 0.2
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / 120)
    assert abs(np.mean(excess)) < 4 * np.std(excess) / np.sqrt(120)


def test_a_decoder_that_is_too_sure_does_not_pass():
    proba, labels = drawn(600)
    sure = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    found = c.calibration_test(sure, labels, rng=np.random.default_rng(0), n_simulations=199)
    assert found.p == 1 / 200
    assert found.observed == pytest.approx(c.expected_calibration_error(sure, labels))
    assert found.excess > 0.05
    assert found.null.shape == (199,)


def test_simulations_in_pieces_are_the_same(monkeypatch):
    given = drawn(100)
    whole = c.calibration_test(*given, rng=np.random.default_rng(0), n_simulations=50)
    monkeypatch.setattr(c, "N_DRAWS", 700)
    pieces = c.calibration_test(*given, rng=np.random.default_rng(0), n_simulations=50)
    assert np.allclose(whole.null, pieces.null)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_temperature_is_the_minimum_and_finds_the_truth(true):
    proba, labels = drawn(20_000, seed=5, concentration=1.0)
    z = true * np.log(proba)
    found = c.temperature(z, labels)
    assert found == pytest.approx(true, rel=0.05)

    def loss(log_t):
        return c.negative_log_likelihood(np.exp(c.tempered(z, np.exp(log_t))), labels).mean()

    brute = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-7})
    assert found == pytest.approx(np.exp(brute.x), rel=1e-4)
    assert c.tempered(z, found).argmax(axis=1).tolist() == z.argmax(axis=1).tolist()
    # logits are as good as log-probabilities
    assert c.temperature(z + 3.0, labels) == pytest.approx(found)


def test_temperature_ends_where_the_data_set_no_end():
    z = np.log(PROBA)
    assert c.temperature(z, z.argmax(axis=1)) == c.COLDEST
    assert c.temperature(z, z.argmin(axis=1)) == c.HOTTEST
    # what is ruled out stays so
    z = np.array([[0.0, -1.0, -np.inf], [-2.0, 0.0, -np.inf], [0.0, -1.0, -np.inf]])
    labels = np.array([0, 1, 1])
    found = c.temperature(z, labels)
    assert found == pytest.approx(c.temperature(z[:, :2], labels))
    assert np.isneginf(c.tempered(z, found)[:, 2]).all()
    assert np.allclose(c.tempered(z, 1.0), log_softmax(z, axis=1))


@pytest.mark.parametrize("method", c.METHODS)
def test_sets_hold_the_true_class_as_often_as_they_should(method):
    rng = np.random.default_rng(6)
    covered, sizes = [], []
    for seed in range(60):
        proba, labels = drawn(239, 10, seed=seed)
        # a bad decoder: the promise does not hang on it
        bad = proba**3 / (proba**3).sum(axis=1, keepdims=True)
        sets = c.conformal_sets(bad[:39], labels[:39], bad[39:], level=0.8, method=method, rng=rng)
        scores = c.set_scores(sets, labels[39:])
        covered.append(scores.covered.mean())
        sizes.append(scores.size.mean())
    # exactly ceil(40 * 0.8) / 40 for scores without ties
    assert abs(np.mean(covered) - 0.8) < 3.5 * np.std(covered) / np.sqrt(60)
    assert 1 < np.mean(sizes) < 8


def test_sets_by_hand():
    known = np.array([[p, 1 - p] for p in (0.9, 0.8, 0.7, 0.6)])
    labels = np.zeros(4, dtype=int)  # scores 0.1, 0.2, 0.3, 0.4
    asked = np.array([[0.75, 0.25], [0.65, 0.35], [0.45, 0.55]])
    sets = c.conformal_sets(known, labels, asked, level=0.6)  # third of four: 0.3
    assert sets.tolist() == [[True, False], [False, False], [False, False]]
    scores = c.set_scores(sets, np.array([0, 0, 1]))
    assert scores.covered.tolist() == [True, False, False]
    assert scores.size.tolist() == [1, 0, 0]
    # four trials are too few for 0.9
    assert c.conformal_sets(known, labels, asked, level=0.9).all()
    # 0.8 * 5 is 4, whatever the rounding
    assert c.conformal_sets(known, labels, asked, level=0.8).sum() == 2


def test_adaptive_sets_are_the_likeliest_classes():
    proba, labels = drawn(400, 8, seed=7)
    rng = np.random.default_rng(0)
    sets = c.conformal_sets(
        proba[:200], labels[:200], proba[200:], level=0.7, method="aps", rng=rng
    )
    order = np.argsort(-proba[200:], axis=1)
    inside = np.take_along_axis(sets, order, axis=1).astype(int)
    assert (np.diff(inside, axis=1) <= 0).all()
    sure = proba[200:].max(axis=1)
    size = sets.sum(axis=1)
    assert size[sure < 0.4].mean() > size[sure > 0.8].mean()


def test_labels_of_the_test_trials_enter_no_set():
    proba, labels = drawn(300, 5)
    sets = c.conformal_sets(proba[:150], labels[:150], proba[150:])
    alone = np.concatenate(
        [c.conformal_sets(proba[:150], labels[:150], row[None]) for row in proba[150:160]]
    )
    assert np.array_equal(sets[:10], alone)


@pytest.mark.parametrize(
    "score",
    [
        lambda p, y: c.top_k_correct(p, y, 1),
        c.negative_log_likelihood,
        c.reliability_curve,
        c.expected_calibration_error,
        c.squared_calibration_error,
        lambda p, y: c.calibration_test(p, y, rng=np.random.default_rng(0)),
        lambda p, y: c.temperature(np.log(p), y),
        lambda p, y: c.conformal_sets(p, y, PROBA),
        lambda p, y: c.set_scores(p > 0.3, y),
    ],
)
@pytest.mark.parametrize(
    ("proba", "labels", "message"),
    [
        (PROBA, LABELS[1:], r"got shapes \(4, 3\) and \(3,\)"),
        (PROBA[0], LABELS, "one row of"),
        (PROBA, LABELS + 2, "got int64, 2 to 3"),
        (PROBA, LABELS - 1, "-1 to 0"),
        (PROBA, LABELS.astype(float), "got float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(score, proba, labels, message):
    with pytest.raises(ValueError, match=message):
        score(proba, labels)


@pytest.mark.parametrize("proba", [2 * PROBA, PROBA - 0.2, PROBA * np.nan])
def test_rows_that_are_no_probabilities_are_refused(proba):
    for score in (c.negative_log_likelihood, c.expected_calibration_error):
        with pytest.raises(ValueError, match="softmax"):
            score(proba, LABELS)
    with pytest.raises(ValueError, match="softmax"):
        c.conformal_sets(PROBA, LABELS, proba)


def test_probabilities_in_single_and_half_precision_are_taken():
    proba, labels = drawn(100, 118)
    for kind in (np.float32, np.float16):
        # a probability may round to 0 in half precision, and then rules out its class
        values = c.top_k_correct(proba.astype(kind), labels, 5)
        assert values.mean() == pytest.approx(c.top_k_correct(proba, labels, 5).mean(), abs=0.02)
        assert 0 <= c.expected_calibration_error(proba.astype(kind), labels) <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: c.top_k_correct(PROBA, LABELS, 0), "k must be from 1 to the 3 classes; got 0"),
        (lambda: c.top_k_correct(PROBA, LABELS, 4), "got 4"),
        (lambda: c.top_k_correct(PROBA * np.nan, LABELS, 1), "NaN; got 12"),
        (lambda: c.reliability_curve(PROBA, LABELS, n_bins=0), "at least one bin"),
        (lambda: c.reliability_curve(PROBA, LABELS, level=1.0), "level must lie"),
        (lambda: c.expected_calibration_error(PROBA, LABELS, scheme="mass"), "'mass'"),
        (
            lambda: c.calibration_test(PROBA, LABELS, rng=None, n_simulations=0),
            "n_simulations must be at least 1",
        ),
        (lambda: c.temperature(np.log(PROBA) * np.nan, LABELS), "12 NaN"),
        (lambda: c.temperature(np.array([[0, -np.inf]]), np.array([1])), "1 trials"),
        (lambda: c.tempered(PROBA, 0.0), "positive number; got 0.0"),
        (lambda: c.tempered(PROBA, np.nan), "positive number; got nan"),
        (lambda: c.conformal_sets(PROBA, LABELS, np.full((2, 2), 0.5)), "3 classes"),
        (lambda: c.conformal_sets(PROBA, LABELS, PROBA, method="raps"), "'raps'"),
        (lambda: c.conformal_sets(PROBA, LABELS, PROBA, method="aps"), "aps with rng"),
        (lambda: c.conformal_sets(PROBA, LABELS, PROBA, level=0), "level must lie"),
    ],
)
def test_other_bad_input_says_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
