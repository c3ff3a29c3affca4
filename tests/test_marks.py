"""Distances between sets of trials, and models between the two marks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from visualcortex import evaluation as ev
from visualcortex.evaluation import marks

LABELS = np.repeat([0, 1, 2], 20)
N_NEURONS = 20
NEVER_PLACED = ("rates", "rate distribution", "tuning", "autocorrelations", "active frames")


def population(seed: int, n_per_stimulus: int = 20, shared: float = 1.0):
    """Binary frames of neurons that share a latent, by loadings of their own; and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], n_per_stimulus)
    tuning = np.random.default_rng(99).normal(size=(3, 1, N_NEURONS))[labels]
    loadings = shared * np.random.default_rng(98).normal(0.5, 1, size=N_NEURONS)
    latent = rng.normal(size=(len(labels), 1, 1)) * loadings
    noise = rng.normal(size=(len(labels), 10, N_NEURONS))
    return (noise < 0.6 * tuning + latent - 0.3).astype(float), labels


def independent(trials, seed: int):
    """Frames of the same rates in which nothing is shared."""
    activity, labels = trials
    rates = ev.condition_means(activity, labels)[labels][:, None]
    drawn = np.random.default_rng(seed).random(activity.shape) < rates
    return drawn.astype(float), labels


# distances


def test_distances_of_patterns_are_one_minus_r_and_one_minus_r_squared():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    assert ev.correlation_distance(a, b) == pytest.approx(1 - np.corrcoef(a, b)[0, 1])
    assert ev.correlation_distance(3 * a + 1, a) == pytest.approx(0)
    assert ev.correlation_distance(-a, a) == pytest.approx(2)
    expected = np.mean((a - b) ** 2) / np.var(b)
    assert ev.normalised_error(a, b) == pytest.approx(expected)
    assert ev.normalised_error(np.full(50, b.mean()), b) == pytest.approx(1)
    assert ev.normalised_error(b, b) == 0


@pytest.mark.parametrize(
    "distance", [ev.correlation_distance, ev.normalised_error, ev.jensen_shannon,
                 ev.histogram_divergence]
)  # fmt: skip
def test_several_sets_are_compared_at_once(distance):
    rng = np.random.default_rng(1)
    sets, reference = rng.random((2, 3, 40)), rng.random(40)
    found = distance(sets, reference)
    assert found.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert found[i, j] == pytest.approx(float(distance(sets[i, j], reference)))


def test_entries_that_are_missing_in_either_are_left_out():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 30))
    kept = np.ones(30, bool)
    kept[[3, 8, 20]] = False
    a[[3, 8]], b[[8, 20]] = np.nan, np.nan
    for distance in (ev.correlation_distance, ev.normalised_error, ev.histogram_divergence):
        if distance is ev.histogram_divergence:  # samples, not pairs
            expected = distance(a[np.isfinite(a)], b[np.isfinite(b)])
        else:
            expected = distance(a[kept], b[kept])
        assert distance(a, b) == pytest.approx(float(expected))


def test_what_does_not_vary_has_no_distance():
    b = np.arange(5.0)
    assert np.isnan(ev.correlation_distance(np.full(5, 0.1), b))
    assert np.isnan(ev.correlation_distance(b, np.full(5, 0.1)))
    assert np.isnan(ev.normalised_error(b, np.full(5, 0.1)))
    assert np.isnan(ev.correlation_distance([1.0, np.nan, 2.0], [1.0, 2.0, 4.0]))
    assert np.isnan(ev.jensen_shannon([0, 0], [1, 1]))
    assert np.isnan(ev.histogram_divergence(np.full(3, np.nan), b))


def test_the_jensen_shannon_divergence_is_the_square_of_scipys():
    p, q = np.random.default_rng(3).random((2, 9))
    p[2] = q[5] = 0
    assert ev.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert ev.jensen_shannon([1, 0], [0, 1]) == pytest.approx(1)
    assert ev.jensen_shannon(3 * p, p) == 0


def test_its_bias_is_as_stated():
    rng = np.random.default_rng(4)
    counts = rng.multinomial([400, 250], np.full(12, 1 / 12), size=(3000, 2))
    found = ev.jensen_shannon(counts[:, 0, None, :], rng.multinomial(250, np.full(12, 1 / 12), 300))
    expected = 11 * (1 / 400 + 1 / 250) / (8 * np.log(2))
    assert found.mean() == pytest.approx(expected, rel=0.05)


def test_divergences_of_histograms():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=300), rng.normal(0.5, 2, size=500)
    edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 31)
    p, q = np.histogram(a, edges)[0], np.histogram(b, edges)[0]
    assert ev.histogram_divergence(a, b) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    found = ev.histogram_divergence(a, b, kind="kullback-leibler")
    assert found == pytest.approx(entropy(q + 0.5, p + 0.5, base=2))
    assert ev.histogram_divergence(a, rng.permutation(a)) == 0
    assert ev.histogram_divergence(np.ones(4), np.ones(3)) == 0
    few = ev.histogram_divergence(a, b, n_bins=2)
    assert few < ev.histogram_divergence(a, b)


def test_equal_sets_lie_at_zero_in_every_statistic():
    statistics = ev.population_statistics(*population(0))
    found = ev.statistic_distances(statistics, statistics)
    assert set(found) == set(ev.COMPARED)
    assert max(found.values()) == pytest.approx(0, abs=1e-12)
    other = ev.statistic_distances(ev.population_statistics(*population(1)), statistics)
    assert min(other.values()) > 0.001


def test_a_statistic_of_ones_own_can_be_compared():
    mine = {"largest": ev.Compared("rates", lambda a, b: np.abs(a.max(-1) - b.max(-1)))}
    first, second = (ev.population_statistics(*population(seed)) for seed in (0, 1))
    expected = abs(first["rates"].max() - second["rates"].max())
    assert ev.statistic_distances(first, second, mine) == {"largest": pytest.approx(expected)}


# placement


@pytest.fixture(scope="module")
def table():
    """Another recording, independent neurons and copies between the marks."""
    real, test = population(0), population(1)
    models = {
        "recording": [population(seed) for seed in (2, 3, 4)],
        "independent": [independent(real, seed) for seed in (5, 6)],
        "copies": [real],
    }
    rng = np.random.default_rng(7)
    found = ev.placement(models, test, real=real, rng=rng, n_resamples=60)
    return found.set_index(["statistic", "model"])


def test_copies_stand_at_zero_and_independent_neurons_at_one(table):
    for name in ("noise correlations", "frame correlations", "lagged correlations"):
        copies, apart = table.loc[name, "copies"], table.loc[name, "independent"]
        assert (copies.placement, copies.low, copies.high) == (0, 0, 0)
        assert apart.placement == pytest.approx(1, abs=0.25)
        again = table.loc[name, "recording"]
        assert abs(again.placement) < 0.25
        assert again.low < again.placement < again.high < apart.low


def test_independent_neurons_never_swing_together(table):
    name = "active neurons given stimulus"
    assert table.loc[name, "independent"].placement > 0.8
    assert abs(table.loc[name, "recording"].placement) < 0.5


def test_the_placement_is_made_of_its_distances(table):
    placed = table[table["reason"] == ""]
    expected = (placed.distance - placed.real) / (placed.shuffled - placed.real)
    np.testing.assert_allclose(placed.placement, expected)
    statistics = [ev.population_statistics(*population(seed)) for seed in (1, 0, 2, 3, 4)]
    to_test = [ev.statistic_distances(x, statistics[0]) for x in statistics[1:]]
    for name in ev.COMPARED:
        row = table.loc[name, "recording"]
        assert row.real == pytest.approx(to_test[0][name])
        assert row.distance == pytest.approx(np.mean([d[name] for d in to_test[1:]]))


def test_what_shuffling_keeps_has_no_place(table):
    for name in NEVER_PLACED:
        row = table.loc[name, "independent"]
        assert row.reason == marks.KEPT
        assert np.isnan([row.placement, row.low, row.high]).all()
        assert row.real == pytest.approx(row.shuffled)
        assert row.distance >= 0


def test_marks_that_do_not_differ_place_nothing():
    real, test = population(0, shared=0), population(1, shared=0)
    models = {"other": [population(2, shared=0)]}
    rng = np.random.default_rng(0)
    found = ev.placement(models, test, real=real, rng=rng, n_resamples=40)
    assert found["placement"].isna().sum() >= 12
    reasons = found.set_index("statistic")["reason"]
    assert reasons["frame correlations"] == reasons["noise correlations"] == marks.NOISY


def test_a_model_without_variance_has_no_distance():
    real, test = population(0), population(1)
    constant = np.broadcast_to(real[0].mean(axis=(0, 1)).round(), real[0].shape), real[1]
    rng = np.random.default_rng(0)
    found = ev.placement({"constant": [constant]}, test, real=real, rng=rng, n_resamples=20)
    reasons = found.set_index("statistic")["reason"]
    assert reasons["frame correlations"] == marks.UNDEFINED


def test_more_than_one_network_widens_the_interval():
    """Networks that differ much: the interval covers what another draw of networks would give."""
    real, test = population(0), population(1)
    networks = [population(2), independent(real, 3)]
    found = {}
    for name, sets in {"one": networks[:1], "both": networks}.items():
        rng = np.random.default_rng(4)
        one = ev.placement({"model": sets}, test, real=real, rng=rng, n_resamples=40)
        found[name] = one.set_index("statistic").loc["frame correlations"]
    assert found["both"].high - found["both"].low > 0.5 > found["one"].high - found["one"].low
    assert found["one"].placement < found["both"].placement


def test_resamples_are_drawn_within_stimuli():
    """Each resample shows every stimulus as often: condition means never lack one."""
    real, test = population(0, 3), population(1, 2)
    rng = np.random.default_rng(5)
    models = {"model": [population(2, 3)]}
    found = ev.placement(models, test, real=real, rng=rng, n_resamples=30, block=2)
    assert np.isfinite(found.set_index("statistic").loc["tuning", "distance"])


def test_activity_without_time_is_placed_too():
    def rates(seed):
        activity, labels = population(seed)
        return activity.mean(axis=1), labels

    rng = np.random.default_rng(6)
    found = ev.placement(
        {"model": [rates(2)]}, rates(1), real=rates(0), rng=rng, n_resamples=30, n_frames=10
    ).set_index("statistic")
    assert abs(found.loc["noise correlations", "placement"]) < 0.4
    assert "frame correlations" not in found.index
    assert found.loc["active frames", "reason"] == marks.KEPT


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, o: ev.placement({}, p(1), real=p(0), **o), "at least one network"),
        (lambda p, o: ev.placement({"a": []}, p(1), real=p(0), **o), "at least one network"),
        (lambda p, o: ev.placement({"a": [p(2, 9)]}, p(1), real=p(0), **o), "a: expected as many"),
        (
            lambda p, o: ev.placement({"a": [(p(2)[0][..., :5], LABELS)]}, p(1), real=p(0), **o),
            "a: expected frames and neurons",
        ),
        (
            lambda p, o: ev.placement({"a": [p(2)]}, (p(1)[0], LABELS + 1), real=p(0), **o),
            "test trials show stimuli",
        ),
        (lambda p, o: ev.placement({"a": [p(2)]}, p(1), real=p(0), level=1, **o), "level"),
        (lambda p, o: ev.placement({"a": [p(2)]}, p(1), real=p(0), n_shuffles=0, **o), "shuffle"),
        (lambda p, o: ev.correlation_distance(np.ones(3), np.ones(4)), "as many entries"),
        (lambda p, o: ev.jensen_shannon([0.5, -0.5], [1, 0]), "negative"),
        (lambda p, o: ev.jensen_shannon([0.5, 0.5], [1, 0, 0]), "same bins"),
        (lambda p, o: ev.histogram_divergence(np.ones(3), np.ones(3), kind="x"), "kind"),
        (lambda p, o: ev.histogram_divergence(np.ones(3), np.ones(3), n_bins=0), "n_bins"),
        (
            lambda p, o: ev.statistic_distances(
                ev.population_statistics(*p(0)), ev.population_statistics(*p(0), max_lag=1)
            ),
            "measured alike",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(population, {"rng": np.random.default_rng(0), "n_resamples": 5})
