"""Scores of encoding models: brute-force loops, and closed forms on responses of known make."""

import itertools

import numpy as np
import pytest

from visualcortex.evaluation import encoding
from visualcortex.evaluation.encoding import (
    KINDS,
    correlation_to_average,
    correlation_to_single_trials,
    explainable_variance,
    feve,
    oracle_correlation,
    score_intervals,
)
from visualcortex.evaluation.intervals import resampled_indices

PREDICTING = (feve, correlation_to_single_trials, correlation_to_average)
BY_NAME = {
    "single_trials": correlation_to_single_trials,
    "average": correlation_to_average,
    "feve": feve,
}


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def simulated(rng, n_images, n_repeats, signal, noise):
    """Normal means of each image with variance `signal`, and trials about them."""
    means = np.sqrt(signal) * rng.normal(size=(n_images, len(signal)))
    trials = rng.normal(size=(n_images, n_repeats, len(signal)))
    return means, means[:, None] + np.sqrt(noise) * trials


@pytest.fixture
def ragged(rng):
    """Between one and six repeats of each image, as a list; and predictions."""
    counts = [1, 6, 2, 3, 1, 5, 4, 2, 2, 6]
    images = [rng.normal(size=4) + rng.normal(size=(n, 4)) for n in counts]
    return images, rng.normal(size=(10, 4))


def padded(images):
    values = np.full((len(images), max(map(len, images)), images[0].shape[1]), np.nan)
    for k, image in enumerate(images):
        values[k, : len(image)] = image
    return values


# oracles: one neuron after the other, one image after the other


def slow(kind, images, i):
    images = [image[:, i] for image in images if len(image) > 1]
    means = np.array([image.mean() for image in images])
    if kind == "jackknife":
        pairs = [
            (trial, np.delete(image, k).mean()) for image in images for k, trial in enumerate(image)
        ]
        return np.corrcoef(np.array(pairs).T)[0, 1]
    signal, noise = means.var(), np.mean([image.var() for image in images])
    return signal / np.sqrt(signal * (signal + noise))


def slow_parts(images, predictions, i):
    chosen = [(image[:, i], p[i]) for image, p in zip(images, predictions, strict=True)]
    chosen = [(image, p) for image, p in chosen if len(image) > 1]
    total = np.concatenate([image for image, _ in chosen]).var(ddof=1)
    noise = np.mean([image.var(ddof=1) for image, _ in chosen])
    error = np.mean(np.concatenate([(image - p) ** 2 for image, p in chosen]))
    return total, noise, error


@pytest.mark.parametrize("kind", ["jackknife", "conservative"])
def test_oracle_correlations_are_their_loops(ragged, kind):
    images, _ = ragged
    expected = [slow(kind, images, i) for i in range(4)]
    assert np.allclose(oracle_correlation(images, kind), expected)
    assert np.allclose(oracle_correlation(padded(images), kind), expected)


def test_explainable_variance_and_what_of_it_is_explained_are_their_loops(ragged):
    images, predictions = ragged
    parts = [slow_parts(images, predictions, i) for i in range(4)]
    fev = [(total - noise) / total for total, noise, _ in parts]
    explained = [1 - (error - noise) / (total - noise) for total, noise, error in parts]
    assert np.allclose(explainable_variance(images), fev)
    assert np.allclose(feve(images, predictions), explained)


def test_correlations_are_those_of_numpy(ragged):
    images, predictions = ragged
    repeated = np.repeat(predictions, [len(image) for image in images], axis=0)
    trials, means = np.concatenate(images), np.array([image.mean(axis=0) for image in images])
    for score, x, y in (
        (correlation_to_single_trials, trials, repeated),
        (correlation_to_average, means, predictions),
    ):
        expected = [np.corrcoef(x[:, i], y[:, i])[0, 1] for i in range(4)]
        assert np.allclose(score(images, predictions), expected)


def test_split_is_the_mean_over_all_halvings(rng):
    values = rng.normal(size=(5, 1, 2)) + rng.normal(size=(5, 2, 2))
    for i in range(2):
        expected = []
        for first in itertools.product([0, 1], repeat=5):
            halves = [values[np.arange(5), half, i] for half in (np.array(first), 1 - np.r_[first])]
            expected.append(np.corrcoef(halves)[0, 1])
        error = np.std(expected) / np.sqrt(2000)
        score = oracle_correlation(values[..., i : i + 1], "split", n_splits=2000)
        assert score == pytest.approx(np.mean(expected), abs=4 * error)


# closed forms

SIGNAL, NOISE = np.array([1.0, 0.3, 4.0, 0.0]), np.array([1.0, 2.0, 0.5, 1.0])


@pytest.mark.parametrize("n", [3, 10])
def test_oracle_correlations_are_biased_as_they_say(rng, n):
    _, values = simulated(rng, 4000, n, SIGNAL, NOISE)
    s, v = SIGNAL, NOISE
    expected = {
        "jackknife": s / np.sqrt((s + v) * (s + v / (n - 1))),
        "conservative": np.sqrt((s + v / n) / (s + v)),
    }
    for kind, value in expected.items():
        assert np.allclose(oracle_correlation(values, kind), value, atol=0.03)
    best = np.sqrt(s / (s + v))
    within = SIGNAL > 0
    assert (oracle_correlation(values, "jackknife") < best)[within].all()
    assert (oracle_correlation(values, "conservative") > best)[within].all()
    assert np.allclose(oracle_correlation(values, "conservative")[~within], n**-0.5, atol=0.02)


def test_split_is_the_reliability_of_means_of_half_the_repeats(rng):
    _, values = simulated(rng, 4000, 8, SIGNAL, NOISE)
    expected = SIGNAL / (SIGNAL + 2 * NOISE / 8)
    assert np.allclose(oracle_correlation(values, "split"), expected, atol=0.03)


def test_the_mean_responses_reach_the_best_correlations(rng):
    n = 5
    means, values = simulated(rng, 4000, n, SIGNAL[:3], NOISE[:3])
    s, v = SIGNAL[:3], NOISE[:3]
    single, average = np.sqrt(s / (s + v)), np.sqrt(s / (s + v / n))
    assert np.allclose(correlation_to_single_trials(values, means), single, atol=0.02)
    assert np.allclose(correlation_to_average(values, means), average, atol=0.02)
    # s.e. of the squared error less the noise
    error = v / (n * s) * np.sqrt(2.5 / 4000)
    assert (np.abs(feve(values, means) - 1) < 4 * error).all()


def test_explainable_variance_is_as_low_as_it_says(rng):
    """With few images the bias is large: mean over many draws of four images."""
    n_images, n_repeats = 4, 3
    s, v = 2.0, 1.0
    _, values = simulated(rng, n_images, n_repeats, np.full(20_000, s), np.full(20_000, v))
    fev = explainable_variance(values)
    total = values.reshape(-1, 20_000).var(axis=0, ddof=1)
    n = n_images * n_repeats
    expected = s * n_repeats * (n_images - 1) / (n - 1)
    assert expected < 0.85 * s
    assert np.mean(fev * total) == pytest.approx(expected, abs=0.05)
    _, many = simulated(rng, 4000, 3, SIGNAL, NOISE)
    assert np.allclose(explainable_variance(many), SIGNAL / (SIGNAL + NOISE), atol=0.03)


def test_what_is_not_explained_is_the_distance_to_the_mean_responses(rng):
    means, values = simulated(rng, 4000, 4, SIGNAL[:3], NOISE[:3])
    predictions = 0.5 * means + 0.2 * rng.normal(size=means.shape)
    expected = 1 - (0.25 * SIGNAL[:3] + 0.04) / SIGNAL[:3]
    assert np.allclose(feve(values, predictions), expected, atol=0.04)
    # the best constant explains nothing
    constant = np.broadcast_to(values.mean(axis=(0, 1)), means.shape)
    assert np.allclose(feve(values, constant), 0, atol=0.01)


# invariants


def scores(responses, predictions):
    rows = [oracle_correlation(responses, kind, n_splits=3) for kind in KINDS[:2]]
    rows += [explainable_variance(responses)]
    return np.array(rows + [score(responses, predictions) for score in PREDICTING])


def test_order_and_unit_do_not_matter(rng):
    means, values = simulated(rng, 40, 4, np.ones(3), np.ones(3))
    values[3, 2:] = np.nan
    predictions = means + rng.normal(size=means.shape)
    expected = scores(values, predictions)
    order = rng.permutation(40)
    assert np.allclose(scores(values[order], predictions[order]), expected)
    assert np.allclose(scores(values[:, ::-1], predictions), expected)
    assert np.allclose(scores(values[..., ::-1], predictions[:, ::-1]), expected[:, ::-1])
    assert np.allclose(scores(7 * values + 3, 7 * predictions + 3), expected)


def test_silent_neurons_and_constant_predictions_have_no_score(rng):
    means, values = simulated(rng, 40, 4, np.ones(2), np.ones(2))
    values[..., 0] = 0.1
    table = scores(values, means)
    assert np.isnan(table[:, 0]).all()
    assert np.isfinite(table[:, 1]).all()
    assert np.isnan(oracle_correlation(values, "split")[0])
    constant = np.full(means.shape, 0.3)
    assert np.isnan(correlation_to_single_trials(values, constant)).all()
    assert np.isnan(correlation_to_average(values, constant)).all()


def test_noise_alone_has_no_explained_share_where_none_is_explainable(rng):
    values = rng.normal(size=(30, 4, 200))
    fev = explainable_variance(values)
    explained = feve(values, np.zeros((30, 200)))
    assert 0.3 < np.mean(fev < 0) < 0.7
    assert (np.isnan(explained) == (fev <= 0)).all()


def test_halvings_are_those_of_the_seed(rng):
    _, values = simulated(rng, 20, 5, np.ones(2), np.ones(2))
    a, b, c = (oracle_correlation(values, "split", seed=s, n_splits=2) for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)


# intervals


@pytest.mark.parametrize("seed", range(8))
def test_the_intervals_are_of_the_scores_of_drawn_images_and_neurons(ragged, seed):
    images, predictions = ragged
    # one resample is both ends of its interval
    got = score_intervals(images, predictions, rng=np.random.default_rng(seed), n_resamples=1)
    rng = np.random.default_rng(seed)
    drawn, neurons = (resampled_indices(n, 1, rng=rng)[0] for n in (10, 4))
    repeated = np.concatenate([padded(images)[[k]] for k in drawn])
    for name, score in BY_NAME.items():
        value, low, high = got[name]
        assert value == pytest.approx(np.nanmedian(score(images, predictions)), abs=1e-10)
        expected = np.nanmedian(score(repeated, predictions[drawn])[neurons])
        assert (low, high) == pytest.approx((expected, expected), abs=1e-10)


def test_neurons_without_a_score_are_left_out_of_its_median(rng):
    means, values = simulated(rng, 40, 4, np.ones(5), np.ones(5))
    values[..., 0] = 0.1
    # without explainable variance, but with correlations
    values[..., 1] = means[:, [1]] + 100 * np.array([-1, 1, -1, 1])
    got = score_intervals(values, means, rng=rng, n_resamples=50)
    for name, score in BY_NAME.items():
        scores = score(values, means)
        assert np.isnan(scores).sum() == (2 if name == "feve" else 1)
        assert got[name].value == pytest.approx(np.nanmedian(scores))
        assert np.isfinite(got[name]).all()


def test_resamples_without_a_score_are_left_out(rng):
    # a ninth of the resamples is one image three times, whose variance is rounding
    for values in rng.normal(size=(20, 3, 1, 1)):
        values = values + np.array([-1e-3, 1e-3])[:, None]
        got = score_intervals(values, values.mean(axis=1) / 3, rng=rng, n_resamples=200, level=0.99)
        assert got["average"] == pytest.approx((1, 1, 1))
    with pytest.raises(ValueError, match="finite for only 0 of 200 resamples"):
        score_intervals(values, np.ones((3, 1)), rng=rng, n_resamples=200)


def test_copies_of_a_neuron_leave_what_images_contribute(rng):
    means, values = simulated(rng, 20, 3, np.ones(1), np.ones(1))
    one, copies = (
        score_intervals(
            np.repeat(values, n, axis=2),
            np.repeat(means, n, axis=1),
            rng=np.random.default_rng(2),
            n_resamples=100,
        )
        for n in (1, 6)
    )
    assert all(one[name] == pytest.approx(copies[name]) for name in BY_NAME)


def test_intervals_do_not_depend_on_the_chunks(ragged, monkeypatch):
    at_once = score_intervals(*ragged, rng=np.random.default_rng(1), n_resamples=30)
    monkeypatch.setattr(encoding, "CHUNK", 20)
    in_chunks = score_intervals(*ragged, rng=np.random.default_rng(1), n_resamples=30)
    assert all(at_once[name] == pytest.approx(in_chunks[name], abs=1e-12) for name in BY_NAME)


def test_intervals_hold_the_median_of_all_neurons_over_all_images():
    """Errors that neurons share and errors of their own; the medians are closed forms."""
    n_repeats, n_draws = 5, 100
    shared, own = 0.4, 0.2
    # each score grows with the variance of the signal, whose median is 1
    reached = (1 + shared + own) ** -0.5
    truth = {
        "single_trials": reached * 2**-0.5,
        "average": reached * (1 + 1 / n_repeats) ** -0.5,
        "feve": 1 - shared - own,
    }
    inside = dict.fromkeys(truth, 0)
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        signal = np.exp(0.7 * rng.normal(size=50))
        means, values = simulated(rng, 60, n_repeats, signal, np.ones(50))
        errors = np.sqrt(shared) * rng.normal(size=(60, 1)) + np.sqrt(own) * rng.normal(
            size=means.shape
        )
        predictions = means + np.sqrt(signal) * errors
        got = score_intervals(values, predictions, rng=rng, n_resamples=200)
        for name, interval in got.items():
            inside[name] += interval.low <= truth[name] <= interval.high
    assert min(inside.values()) >= 0.85 * n_draws


# bad input

GOOD = np.arange(24.0).reshape(4, 3, 2)


@pytest.mark.parametrize("score", [oracle_correlation, explainable_variance])
@pytest.mark.parametrize(
    ("responses", "message"),
    [
        (GOOD[0], r"\(image, repeat, neuron\)"),
        (GOOD + np.inf, "infinite values"),
        (GOOD[:, :1], "two images with two repeats"),
        (GOOD[:1], "2 have fewer .neuron 0, 1"),
        (np.where(np.arange(2) == 1, np.nan, GOOD), "1 have fewer .neuron 1"),
        ([GOOD[0], GOOD[1, :, :1]], "of the same neurons"),
        ([GOOD[0, 0]], "one .repeat, neuron. array an image"),
    ],
)
def test_bad_responses_are_refused(score, responses, message):
    with pytest.raises(ValueError, match=message):
        score(responses)


@pytest.mark.parametrize("score", PREDICTING)
@pytest.mark.parametrize(
    "predictions", [np.ones((4, 3)), np.ones((3, 2)), np.full((4, 2), np.nan), GOOD]
)
def test_predictions_of_others_are_refused(score, predictions):
    with pytest.raises(ValueError, match=r"predictions must be \(image, neuron\) = \(4, 2\)"):
        score(GOOD, predictions)


@pytest.mark.parametrize("score", PREDICTING[1:])
def test_correlations_need_two_images(score):
    values = np.where(np.arange(4)[:, None, None] > 0, np.nan, GOOD)
    with pytest.raises(ValueError, match="two images with one trial"):
        score(values, np.ones((4, 2)))


@pytest.mark.parametrize(("kind", "n"), [("spearman", 1), ("split", 0)])
def test_unknown_kinds_are_refused(kind, n):
    with pytest.raises(ValueError, match="kind must be one of"):
        oracle_correlation(GOOD, kind, n_splits=n)


@pytest.mark.parametrize(
    ("responses", "predictions", "level", "message"),
    [
        (GOOD, np.ones((4, 3)), 0.95, r"predictions must be \(image, neuron\) = \(4, 2\)"),
        (GOOD[:, :1], np.ones((4, 2)), 0.95, "two images with two repeats"),
        (GOOD, GOOD[:, 0], 1.0, "level must lie between 0 and 1"),
    ],
)
def test_intervals_refuse_what_the_scores_do(rng, responses, predictions, level, message):
    with pytest.raises(ValueError, match=message):
        score_intervals(responses, predictions, rng=rng, level=level)
