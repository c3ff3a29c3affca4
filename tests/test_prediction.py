"""Scores of sites: scikit-learn and loops as oracles, and signal and noise of known make."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import explained_variance_score

from visualcortex.evaluation import prediction
from visualcortex.evaluation.encoding import oracle_correlation
from visualcortex.evaluation.intervals import resampled_indices
from visualcortex.evaluation.prediction import (
    SCORES,
    alignment_test,
    by_category,
    ceiled_scores,
    difference_intervals,
    explained_variance,
    join_by_id,
    pearson,
    site_intervals,
    split_half_reliability,
)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def simulated(rng, n_images, n_repeats, signal, noise):
    """Normal means of each image with variance `signal`, and repeats about them."""
    means = np.sqrt(signal) * rng.normal(size=(n_images, len(signal)))
    return means, means[:, None] + np.sqrt(noise) * rng.normal(
        size=(n_images, n_repeats, len(signal))
    )


# oracles


def test_scores_are_those_of_scikit_learn_and_numpy(rng):
    # rates with a mean far larger than their spread
    responses = 1000 + rng.normal(size=(50, 7)).astype(np.float32)
    predictions = 0.6 * responses + rng.normal(size=(50, 7)) + 3
    expected = explained_variance_score(
        responses.astype(float), predictions, multioutput="raw_values"
    )
    assert np.allclose(explained_variance(responses, predictions), expected)
    correlations = [np.corrcoef(responses[:, i], predictions[:, i])[0, 1] for i in range(7)]
    assert np.allclose(pearson(responses, predictions), correlations)


def test_an_offset_is_forgiven_and_a_wrong_scale_only_by_the_correlation(rng):
    responses = rng.normal(size=(30, 3))
    assert np.allclose(explained_variance(responses, responses + 7), 1)
    assert np.allclose(explained_variance(responses, 3 * responses), 1 - 4)
    assert np.allclose(pearson(responses, 3 * responses - 2), 1)


def test_sites_and_predictions_that_never_change(rng):
    responses, predictions = rng.normal(size=(2, 20, 2))
    responses[:, 0] = 0.1
    predictions[:, 1] = 0.3
    assert np.isnan(pearson(responses, predictions)).all()
    assert np.isnan(explained_variance(responses, predictions)[0])
    assert explained_variance(responses, predictions)[1] == pytest.approx(0)


@pytest.mark.parametrize("r", [0.3, 0.8])
def test_correlations_over_few_images_are_biased_as_they_say(rng, r):
    n_images, n_sites = 20, 40_000
    a, b = rng.normal(size=(2, n_images, n_sites))
    found = pearson(a, r * a + np.sqrt(1 - r**2) * b)
    bias = {1: -r * (1 - r**2) / (2 * n_images), 2: (1 - r**2) * (1 - 2 * r**2) / n_images}
    for power, expected in bias.items():
        error = np.std(found**power) / np.sqrt(n_sites)
        # what is left is of order 1 / n_images squared
        assert abs(np.mean(found**power) - r**power - expected) < 4 * error + n_images**-2
        assert abs(np.mean(found**power) - r**power) > 4 * error


def spearman_brown(r):
    return 2 * r / (1 + r)


def test_reliability_is_the_corrected_mean_over_all_halvings(rng):
    values = rng.normal(size=(4, 1, 1)) + rng.normal(size=(4, 4, 1))
    halvings = [h for h in itertools.product([0, 1], repeat=4) if sum(h) == 2]
    correlations = []
    for chosen in itertools.product(halvings, repeat=4):
        first = np.array(chosen, dtype=bool)
        halves = [
            [image[half, 0].mean() for image, half in zip(values, mask, strict=True)]
            for mask in (first, ~first)
        ]
        correlations.append(np.corrcoef(halves)[0, 1])
    error = np.std(correlations) / np.sqrt(3000)
    r = np.mean(correlations)
    slope = 2 / (1 + r) ** 2
    reliability = split_half_reliability(values, n_splits=3000, rng=rng)
    assert reliability == pytest.approx(spearman_brown(r), abs=4 * slope * error)


def test_halves_are_of_the_repeats_that_are_there(rng):
    """Each value is its own power of two, so that a sum says what was summed."""
    values = np.broadcast_to(2.0 ** np.arange(6)[:, None], (50, 6, 3)).copy()
    values[:, 5, 1] = values[::2, :3, 2] = np.nan
    halves = prediction._half_means(values, rng)
    present = np.isfinite(values).sum(axis=1)
    sizes = np.stack([(present + 1) // 2, present // 2])
    sums = np.rint(halves * sizes).astype(int)
    assert np.allclose(sums, halves * sizes)
    assert np.array_equal(sums.sum(axis=0), np.nansum(values, axis=1))
    bits = (sums[..., None] >> np.arange(6)) & 1
    assert np.array_equal(bits.sum(axis=-1), sizes)
    # halves differ between images
    assert len(np.unique(sums[0, :, 0])) > 10


def test_reliability_agrees_with_the_oracle_correlation_of_halves(rng):
    _, values = simulated(rng, 300, 10, np.ones(5), np.full(5, 4.0))
    r = oracle_correlation(values, "split", n_splits=50)
    ours = split_half_reliability(values, n_splits=50, rng=rng)
    assert np.allclose(ours, spearman_brown(r), atol=0.01)


# closed forms

SIGNAL, NOISE = np.array([1.0, 0.3, 4.0, 0.0]), np.array([1.0, 2.0, 0.5, 1.0])


@pytest.mark.parametrize("n", [2, 8])
def test_reliability_is_the_share_of_signal_in_the_mean_of_all_repeats(rng, n):
    _, values = simulated(rng, 4000, n, SIGNAL, NOISE)
    expected = SIGNAL / (SIGNAL + NOISE / n)
    assert np.allclose(split_half_reliability(values, rng=rng), expected, atol=0.05)


def test_unequal_halves_make_it_as_low_as_it_says(rng):
    _, values = simulated(rng, 4000, 3, np.ones(20), np.ones(20))
    expected = spearman_brown(1 / np.sqrt(1.5 * 2))
    assert expected == pytest.approx(0.73, abs=0.005)
    assert split_half_reliability(values, rng=rng).mean() == pytest.approx(expected, abs=0.01)


def test_missing_repeats_are_left_out(rng):
    _, values = simulated(rng, 4000, 8, SIGNAL[:3], NOISE[:3])
    values[:, 4:] = np.nan
    values[:5, 1:] = np.nan  # shown once
    expected = SIGNAL[:3] / (SIGNAL[:3] + NOISE[:3] / 4)
    assert np.allclose(split_half_reliability(values, rng=rng), expected, atol=0.05)
    as_list = [image[np.isfinite(image[:, 0])] for image in values]
    assert np.allclose(split_half_reliability(as_list, rng=rng), expected, atol=0.05)


def test_sites_without_signal_are_on_either_side_of_zero(rng):
    reliability = split_half_reliability(rng.normal(size=(200, 6, 300)), rng=rng)
    assert 0.35 < np.mean(reliability < 0) < 0.65


def test_a_silent_site_has_no_reliability(rng):
    values = rng.normal(size=(20, 4, 2))
    values[..., 0] = 0.1
    reliability = split_half_reliability(values, rng=rng)
    assert np.isnan(reliability[0])
    assert np.isfinite(reliability[1])


def test_the_mean_responses_reach_the_ceilings(rng):
    means, values = simulated(rng, 4000, 5, SIGNAL[:3], NOISE[:3])
    reliability = SIGNAL[:3] / (SIGNAL[:3] + NOISE[:3] / 5)
    scores = ceiled_scores(values.mean(axis=1), means, reliability)
    assert np.allclose(scores["correlation"], np.sqrt(reliability), atol=0.03)
    assert np.allclose(scores["explained_variance"], reliability, atol=0.03)
    for name in SCORES[2:]:
        assert np.allclose(scores[name], 1, atol=0.06)


def test_a_known_model_scores_what_it_explains_of_the_signal(rng):
    means, values = simulated(rng, 4000, 6, SIGNAL[:3], NOISE[:3])
    predictions = 0.5 * means + 0.2 * rng.normal(size=means.shape)
    reliability = split_half_reliability(values, rng=rng)
    scores = ceiled_scores(values.mean(axis=1), predictions, reliability)
    correlation = 0.5 * np.sqrt(SIGNAL[:3] / (0.25 * SIGNAL[:3] + 0.04))
    explained = 1 - (0.25 * SIGNAL[:3] + 0.04) / SIGNAL[:3]
    assert np.allclose(scores["ceiled_correlation"], correlation, atol=0.05)
    assert np.allclose(scores["ceiled_correlation_squared"], correlation**2, atol=0.08)
    assert np.allclose(scores["ceiled_explained_variance"], explained, atol=0.08)


def test_the_sign_is_kept_and_sites_without_reliability_have_no_ceiled_score(rng):
    responses = rng.normal(size=(30, 4))
    reliability = np.array([0.5, 0.0, -0.2, np.nan])
    scores = ceiled_scores(responses, -responses, reliability)
    assert np.allclose(scores["correlation"], -1)
    assert scores["ceiled_correlation"][0] == pytest.approx(-np.sqrt(2))
    assert scores["ceiled_correlation_squared"][0] == pytest.approx(-2)
    assert scores["ceiled_explained_variance"][0] == pytest.approx(-3 / 0.5)
    for name in SCORES[2:]:
        assert np.isnan(scores[name][1:]).all()


# intervals


@pytest.fixture
def recorded(rng):
    """Repeats, some missing, their means, and two predictions."""
    means, values = simulated(rng, 14, 6, np.full(9, 2.0), np.ones(9))
    values[3:6, 4:] = values[2, 1:, 4] = np.nan
    first, second = means + rng.normal(size=(2, *means.shape))
    return values, np.nanmean(values, axis=1), first, second


@pytest.mark.parametrize("seed", range(6))
def test_the_intervals_are_of_the_scores_of_drawn_images_and_sites(recorded, seed):
    values, responses, first, second = recorded
    options = dict(n_resamples=1, n_splits=3)
    got = site_intervals(responses, first, values, rng=np.random.default_rng(seed), **options)
    difference = difference_intervals(
        responses, first, second, values, rng=np.random.default_rng(seed), **options
    )
    # one resample is both ends of its interval; images, sites and halvings are drawn in this order
    rng = np.random.default_rng(seed)
    images, sites = (resampled_indices(n, 1, rng=rng)[0] for n in (14, 9))
    shown_once = np.isfinite(values).sum(axis=1, keepdims=True) < 2
    repeated = np.where(shown_once, np.nan, values)
    splits = [prediction._half_means(repeated, rng) for _ in range(3)]
    for end, rows, columns in (("value", np.arange(14), np.arange(9)), ("low", images, sites)):
        reliability = np.empty(9)
        for i in range(9):
            kept = [m for m in rows if not shown_once[m, 0, i]]
            r = [np.corrcoef(halves[:, kept, i])[0, 1] for halves in splits]
            reliability[i] = spearman_brown(np.mean(r))
        tables = [ceiled_scores(responses[rows], p[rows], reliability) for p in (first, second)]
        for name in SCORES:
            a, b = (np.nanmedian(table[name][columns]) for table in tables)
            assert getattr(got[name], end) == pytest.approx(a)
            assert getattr(difference[name], end) == pytest.approx(a - b)
        assert getattr(got["reliability"], end) == pytest.approx(np.median(reliability[columns]))


def test_a_reliability_that_is_given_is_held_fixed(recorded):
    values, responses, first, _ = recorded
    fixed = np.full(9, 0.64)
    got = site_intervals(responses, first, fixed, rng=np.random.default_rng(0), n_resamples=50)
    assert got["reliability"] == pytest.approx((0.64, 0.64, 0.64))
    assert got["ceiled_correlation"] == pytest.approx(np.array(got["correlation"]) / 0.8)


def test_a_model_has_no_difference_to_itself_and_the_sign_turns(recorded):
    values, responses, first, second = recorded

    def difference(a, b):
        rng = np.random.default_rng(1)
        return difference_intervals(responses, a, b, values, rng=rng, n_resamples=40)

    there, back = difference(first, second), difference(second, first)
    for name in SCORES:
        assert difference(first, first)[name] == (0, 0, 0)
        value, low, high = back[name]
        assert there[name] == pytest.approx((-value, -high, -low))


def test_pairing_removes_what_images_do_to_both(rng):
    means, values = simulated(rng, 40, 4, np.full(20, 2.0), np.full(20, 4.0))
    first = means + rng.normal(size=means.shape)
    second = first + 0.1 * rng.normal(size=means.shape)
    responses = values.mean(axis=1)
    alone = site_intervals(responses, first, values, rng=rng, n_resamples=200)
    paired = difference_intervals(responses, first, second, values, rng=rng, n_resamples=200)
    for name in SCORES:
        widths = [x[name].high - x[name].low for x in (paired, alone)]
        assert widths[0] < 0.6 * widths[1]


def test_intervals_do_not_depend_on_the_chunks(recorded, monkeypatch):
    values, responses, first, _ = recorded

    def intervals():
        rng = np.random.default_rng(1)
        return site_intervals(responses, first, values, rng=rng, n_resamples=30)

    at_once = intervals()
    monkeypatch.setattr(prediction, "CHUNK", 20)
    for name, interval in intervals().items():
        assert interval == pytest.approx(at_once[name], abs=1e-12)


def test_medians_leave_out_what_is_not_defined(rng):
    values = rng.normal(size=(40, 7))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0, 1:] = np.nan
    values[0, 0] = 2
    assert np.allclose(prediction._median(values), np.nanmedian(values, axis=1))
    assert np.isnan(prediction._median(np.full((1, 3), np.nan))).all()


def test_intervals_hold_what_is_true_of_signal_and_noise():
    """Medians over all sites and images, of the ceiling and of a model, are closed forms."""
    n_repeats, n_draws, error = 6, 60, 0.5
    inside = dict.fromkeys((*SCORES, "reliability"), 0)
    # all grow with the variance of the signal, whose median is 1
    reliability, kept = 1 / (1 + 1 / n_repeats), 1 / (1 + error)
    truth = {
        "reliability": reliability,
        "correlation": np.sqrt(kept * reliability),
        "ceiled_correlation": np.sqrt(kept),
        "ceiled_correlation_squared": kept,
        "explained_variance": (1 - error) * reliability,
        "ceiled_explained_variance": 1 - error,
    }
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        signal = np.exp(0.7 * rng.normal(size=40))
        means, values = simulated(rng, 60, n_repeats, signal, np.ones(40))
        predictions = means + np.sqrt(error * signal) * rng.normal(size=means.shape)
        got = site_intervals(
            values.mean(axis=1), predictions, values, rng=rng, n_resamples=200, n_splits=4
        )
        for name, interval in got.items():
            inside[name] += interval.low <= truth[name] <= interval.high
    assert min(inside.values()) >= 0.85 * n_draws


# categories


def test_categories_are_scored_by_themselves(rng):
    responses, predictions = rng.normal(size=(2, 30, 4))
    categories = np.array(["cars", "faces", "chairs"])[rng.permutation(np.arange(30) % 3)]
    scores = by_category(pearson, categories, responses, predictions)
    assert list(scores) == ["cars", "chairs", "faces"]
    for name, score in scores.items():
        rows = [i for i in range(30) if categories[i] == name]
        assert np.allclose(score, pearson(responses[rows], predictions[rows]))


def test_a_category_alone_is_less_reliable(rng):
    categories = np.repeat([0, 1, 2, 3], 100)
    means = 2 * rng.normal(size=(4, 30))[categories] + rng.normal(size=(400, 30))
    values = means[:, None] + 2 * rng.normal(size=(400, 8, 30))
    over_all = split_half_reliability(values, rng=rng)
    within = by_category(lambda x: split_half_reliability(x, rng=rng), categories, values)
    expected = 1 / (1 + 4 / 8)
    assert np.mean(list(within.values())) == pytest.approx(expected, abs=0.03)
    assert over_all.mean() > expected + 0.1


# alignment


def test_alignment_is_the_loop_over_permutations(rng):
    responses, predictions = rng.normal(size=(2, 12, 5))
    predictions += 0.3 * responses
    responses[:, 2] = 0.1  # left out
    sites = [0, 1, 3, 4]
    got = alignment_test(responses, predictions, rng=np.random.default_rng(3), n_permutations=20)
    rng = np.random.default_rng(3)
    loop = [
        np.mean([np.corrcoef(responses[:, i], predictions[order, i])[0, 1] for i in sites])
        for order in (rng.permutation(12) for _ in range(20))
    ]
    assert np.allclose(got.null, loop)
    observed = np.mean([np.corrcoef(responses[:, i], predictions[:, i])[0, 1] for i in sites])
    assert got.observed == pytest.approx(observed)
    assert got.p == pytest.approx((1 + np.sum(np.array(loop) >= observed)) / 21)


def test_alignment_sees_rows_that_were_shuffled(rng):
    means, values = simulated(rng, 100, 5, np.ones(20), np.ones(20))
    predictions = means + 2 * rng.normal(size=means.shape)
    joined = alignment_test(values.mean(axis=1), predictions, rng=rng, n_permutations=200)
    assert joined.p == 1 / 201
    shuffled = predictions[rng.permutation(100)]
    lost = alignment_test(values.mean(axis=1), shuffled, rng=rng, n_permutations=200)
    assert abs(lost.observed) < 0.3 * joined.observed
    assert lost.p > 0.01


def test_p_is_exact(rng):
    ps = [
        alignment_test(*rng.normal(size=(2, 6, 3)), rng=rng, n_permutations=19).p
        for _ in range(600)
    ]
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / 600)
        assert np.mean(np.array(ps) <= level + 1e-9) == pytest.approx(level, abs=4 * error)


def test_permutations_that_change_nothing_are_ties(rng):
    # two pairs of equal rows: a sixth of the orders keeps the pairs in their places
    responses = np.repeat(rng.normal(size=(2, 3)), 2, axis=0)
    got = alignment_test(responses, responses, rng=rng, n_permutations=600)
    assert got.p == pytest.approx(1 / 6, abs=0.06)


# joining


def test_features_are_put_in_the_order_of_the_responses(rng):
    ids = np.array([f"image-{k}" for k in range(20)])
    features = rng.normal(size=(20, 3))
    wanted = rng.permutation(20)[:12]
    rows = join_by_id(ids.tolist(), ids[wanted])
    assert np.array_equal(features[rows], features[wanted])
    assert np.array_equal(join_by_id([7, 3, 5], [3, 5, 7]), [1, 2, 0])


@pytest.mark.parametrize(
    ("features", "responses", "message"),
    [
        (["a", "b", "a"], ["a"], "feature ids must be distinct; 1 occur more than once: 'a'"),
        (["a", "b"], ["b", "b"], "response ids must be distinct"),
        (["a", "b"], ["b", "c"], "1 of 2 images with responses have no features: 'c'"),
        (["1", "2"], [1, 2], "2 of 2 images"),
        ([b"a"], ["a"], "same type"),
        ([["a"]], ["a"], "one a row"),
        (["a"], [], "one a row"),
    ],
)
def test_ids_that_cannot_be_joined_are_refused(features, responses, message):
    with pytest.raises(ValueError, match=message):
        join_by_id(features, responses)


# bad input

GOOD = np.random.default_rng(0).normal(size=(6, 4, 2))
MEANS = GOOD.mean(axis=1)


@pytest.mark.parametrize("score", [explained_variance, pearson])
@pytest.mark.parametrize(
    ("responses", "predictions", "message"),
    [
        (GOOD, MEANS, "Average repeats first"),
        (MEANS[:1], MEANS[:1], "at least two images"),
        (np.where(MEANS == MEANS.max(), np.nan, MEANS), MEANS, "with 1 NaN"),
        (MEANS, MEANS[:5], r"predictions must be \(image, neuron\) = \(6, 2\)"),
        (MEANS, MEANS + np.inf, "infinite"),
    ],
)
def test_bad_responses_and_predictions_are_refused(score, responses, predictions, message):
    with pytest.raises(ValueError, match=message):
        score(responses, predictions)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: split_half_reliability(GOOD, n_splits=0, rng=r), "n_splits must be at least 1"),
        (lambda r: split_half_reliability(GOOD[:, :1], rng=r), "two images with two repeats"),
        (lambda r: split_half_reliability(MEANS, rng=r), r"\(image, repeat, neuron\)"),
        (lambda r: ceiled_scores(MEANS, MEANS, np.ones(3)), r"one number a site, \(2,\)"),
        (lambda r: ceiled_scores(MEANS, MEANS, np.array([0.5, 1.2])), "at most 1; .* up to 1.2"),
        (lambda r: site_intervals(MEANS, MEANS, np.ones(3), rng=r), "one number a site"),
        (lambda r: site_intervals(MEANS, MEANS, GOOD[:5], rng=r), "6 images and 2 sites"),
        (lambda r: site_intervals(MEANS, MEANS, GOOD, rng=r, level=1), "level must lie"),
        (lambda r: site_intervals(MEANS, MEANS, -np.ones(2), rng=r), "finite for only 0"),
        (lambda r: by_category(pearson, np.zeros(5), MEANS, MEANS), r"\[6, 6\] images"),
        (lambda r: by_category(pearson, np.array([*"aaaaab"]), MEANS, MEANS), r"\['b'\] have one"),
        (lambda r: alignment_test(MEANS, MEANS, rng=r, n_permutations=0), "at least 1"),
        (lambda r: alignment_test(MEANS, np.ones((6, 2)), rng=r), "none of 2 sites"),
    ],
)
def test_bad_calls_are_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)
