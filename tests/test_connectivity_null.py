"""Jitter nulls: what jitter keeps, p-values of unconnected neurons, false discoveries counted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator

from visualcortex.connectivity.correlograms import cross_correlograms
from visualcortex.connectivity.null import (
    NullScores,
    discoveries,
    jitter_null,
    jittered,
    q_values,
    realised_fdr,
    without_turned,
)
from visualcortex.connectivity.observed import observed_binned
from visualcortex.spikes import SpikeTimes, contiguous_counts


class Coincidences(BaseEstimator):
    """Spikes of the target 1 to 3 bins after one of the source."""

    def __init__(self, *, step=0.002):
        self.step = step

    def fit(self, activity, *, start=0.0, stop=None):
        spikes = observed_binned(activity, self.step, start, stop)
        self.scores_ = cross_correlograms(spikes, 3)[:, :, 1:].sum(axis=2)
        np.fill_diagonal(self.scores_, np.nan)
        return self


def poisson(rng, n=12, duration=100.0, rate=15.0):
    """Draw independent spikes at rates of their own that go up and down together."""
    slow = np.repeat(rng.gamma(4, 0.25, int(duration / 0.5)), 500)  # of every ms
    own = rate * np.exp(0.5 * rng.normal(size=n))
    times = []
    for one in own:
        counts = rng.poisson(one * slow * 1e-3)
        places = np.repeat(np.arange(len(slow)), counts)
        times.append(np.sort((places + rng.random(len(places))) * 1e-3))
    return SpikeTimes.from_lists(times)


def linked(rng, weights, share=0.15):
    """Add spikes 2 to 5 ms after those of each source, of a share of them."""
    spikes = poisson(rng, len(weights))
    times = []
    for target in range(len(weights)):
        sources = [spikes.of(i) for i in np.flatnonzero(weights[:, target])]
        followed = [source[rng.random(len(source)) < share] for source in sources]
        late = [some + rng.uniform(0.002, 0.005, len(some)) for some in followed]
        times.append(np.sort(np.concatenate([spikes.of(target), *late])))
    return SpikeTimes.from_lists(times)


def calls(rng, weights, n_networks, width=0.1, share=0.15):
    """Realised rates of calls at .1 in several networks of these synapses."""
    outcome = []
    for _ in range(n_networks):
        spikes = linked(rng, weights, share)
        null = jitter_null(Coincidences(), spikes, width=width, n_draws=5, rng=rng, stop=100.0)
        p = null.p_values()
        outcome.append(realised_fdr(discoveries(p, 0.1), weights))
    return outcome


def test_jitter_keeps_every_count_of_a_window_and_no_time():
    rng = np.random.default_rng(0)
    spikes = poisson(rng)
    moved = jittered(spikes, width=0.02, rng=rng, stop=100.0)
    counts = [contiguous_counts(s, 0.0, 100.0, 0.02) for s in (spikes, moved)]
    np.testing.assert_array_equal(*counts)
    assert not np.isin(moved.times, spikes.times).any()
    # uniform within the window
    assert stats.kstest(moved.times % 0.02 / 0.02, "uniform").pvalue > 1e-3


def test_jitter_leaves_out_what_is_outside_and_shortens_the_last_window():
    spikes = SpikeTimes.from_lists([np.array([0.5, 1.01, 1.09]), np.array([1.05, 2.0])])
    rng = np.random.default_rng(0)
    draws = [jittered(spikes, width=0.08, rng=rng, start=1.0, stop=1.1) for _ in range(200)]
    assert all(draw.n_spikes.tolist() == [2, 1] for draw in draws)
    last = np.array([draw.of(0)[1] for draw in draws])
    assert last.min() >= 1.08
    assert last.max() < 1.1


@pytest.mark.parametrize(("null", "n_draws"), [("standardised", 6), ("pair", 6)])
def test_p_values_of_unconnected_neurons_are_uniform(null, n_draws):
    rng = np.random.default_rng(1)
    p = [
        jitter_null(Coincidences(), poisson(rng), n_draws=n_draws, rng=rng).p_values(null)
        for _ in range(4)
    ]
    p = np.array(p)[np.isfinite(p)]
    assert len(p) == 4 * 12 * 11
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert p.min() > 0


def test_raw_p_values_of_alike_pairs_are_ranks():
    rng = np.random.default_rng(2)
    scores, draws = rng.normal(size=(20, 20)), rng.normal(size=(3, 20, 20))
    null = NullScores(scores, draws, Coincidences())
    expected = [(1 + (np.abs(draws) >= abs(s)).sum()) / 1201 for s in scores.ravel()]
    np.testing.assert_allclose(null.p_values("raw").ravel(), expected)
    assert stats.kstest(expected, "uniform").pvalue > 0.01


def test_pairs_of_unlike_spread_and_mean_are_made_alike():
    rng = np.random.default_rng(3)
    n = 20
    sd = np.outer(np.exp(rng.normal(size=n)), np.exp(rng.normal(size=n)))
    mean = 10 * rng.normal(size=(n, n))
    drawn = mean + sd * rng.normal(size=(6, n, n))
    null = NullScores(drawn[0], drawn[1:], Coincidences())
    assert stats.kstest(null.p_values().ravel(), "uniform").pvalue > 0.01
    # raw ones are uniform over all pairs as well, but it is the wide ones that get small values
    assert abs(stats.spearmanr(null.p_values().ravel(), sd.ravel())[0]) < 0.1
    assert stats.spearmanr(null.p_values("raw").ravel(), np.abs(mean).ravel())[0] < -0.5


def test_a_single_draw_is_enough_of_raw_scores():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(2, 30, 30))
    p = NullScores(scores[0], scores[1:], Coincidences()).p_values("raw")
    assert 0.02 < (p < 0.05).mean() < 0.09


def test_sources_that_are_left_out_or_always_nought_are_no_fault():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(5, 30, 30))
    scores[:, 3] = np.nan
    scores[:, 4] = 0.0  # as a sparse method has them
    scores[0, 4, 5] = 1.0
    p = NullScores(scores[0], scores[1:], Coincidences()).p_values()
    assert np.isnan(p[3]).all()
    assert p[4, 5] == pytest.approx(1 / (1 + 4 * 29 * 30))
    assert (np.delete(p[4], 5) == 1).all()
    assert 0.03 < (np.delete(p, [3, 4], axis=0) < 0.05).mean() < 0.07


def test_false_discoveries_are_as_rare_as_said():
    weights = np.zeros((12, 12))
    weights[np.arange(0, 12, 2), np.arange(1, 12, 2)] = 1  # no two have a neuron in common
    outcome = calls(np.random.default_rng(5), weights, 15)
    false = np.array([o.false_share for o in outcome])
    assert false.mean() < 0.1 + 2 * false.std(ddof=1) / np.sqrt(len(false))
    assert np.mean([o.found for o in outcome]) > 0.9


def test_in_narrow_windows_the_turned_pair_is_called_too():
    weights = np.zeros((8, 8))
    weights[np.arange(0, 8, 2), np.arange(1, 8, 2)] = 1
    outcome = calls(np.random.default_rng(5), weights, 4, width=0.02)
    assert np.mean([o.turned_share for o in outcome]) > 0.25
    assert np.mean([o.false_share - o.turned_share for o in outcome]) < 0.15


def test_jitter_does_not_tell_a_common_source_from_a_synapse():
    weights = np.zeros((8, 8))
    weights[0, 1:5] = 1
    outcome = calls(np.random.default_rng(6), weights, 4, share=0.4)
    assert np.mean([o.found for o in outcome]) > 0.9
    assert np.mean([o.false_share for o in outcome]) > 0.2


def brute_force(p, rate):
    """Call the k smallest, for the largest k with p(k) <= rate k / m."""
    m = len(p)
    k = max([k for k in range(1, m + 1) if sorted(p)[k - 1] <= rate * k / m], default=0)
    return {i for i in range(m) if k and p[i] <= sorted(p)[k - 1]}


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_calls_are_those_of_benjamini_and_hochberg(rate):
    rng = np.random.default_rng(6)
    for _ in range(30):
        p = rng.random(25) ** rng.integers(1, 6)
        p[3:5] = p[2]  # ties
        assert set(np.flatnonzero(discoveries(p, rate))) == brute_force(p, rate)


def test_q_is_the_least_rate_of_a_call():
    p = np.array([0.01, 0.5, np.nan, 0.02, 0.9])
    np.testing.assert_allclose(q_values(p), [0.04, 2 / 3, np.nan, 0.04, 0.9])
    np.testing.assert_array_equal(q_values(p)[::-1], q_values(p[::-1]))
    assert q_values(np.full((2, 2), np.nan)).shape == (2, 2)


def test_realised_rates_by_hand():
    weights = np.array([[0, 1.0, 0], [0, 0, -2.0], [0, 0, 0]])
    called = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    assert realised_fdr(called, weights) == (0.5, 0.5, 0.5, 2, 2)
    assert realised_fdr(np.zeros((3, 3), bool), weights)[:3] == (0, 0, 0)
    assert np.isnan(realised_fdr(called, np.zeros((3, 3))).found)


def test_turned_calls_are_dropped_by_hand():
    scores = np.array([[np.nan, 5.0, 3.0], [-2.0, np.nan, -4.0], [2.0, 6.0, np.nan]])
    called = ~np.eye(3, dtype=bool)
    kept = without_turned(called, scores)
    assert kept.tolist() == [[False, True, True], [False, False, False], [True, True, False]]
    called[0, 1] = False  # what is not called drops nothing
    assert without_turned(called, scores)[1, 0]


def test_turned_calls_of_strong_synapses_are_dropped():
    weights = np.zeros((8, 8))
    weights[np.arange(0, 8, 2), np.arange(1, 8, 2)] = 1
    rng = np.random.default_rng(5)
    null = jitter_null(Coincidences(), linked(rng, weights), width=0.02, rng=rng, stop=100.0)
    called = discoveries(null.p_values(), 0.1)
    centred = null.scores - null.draws.mean(axis=0)
    before, after = (
        realised_fdr(one, weights) for one in (called, without_turned(called, centred))
    )
    assert before.turned_share > 0.25
    assert after.turned_share == 0
    assert after.found == before.found == 1


def test_the_method_is_left_as_it_is_and_a_seed_repeats():
    spikes, method = poisson(np.random.default_rng(7), n=4, duration=20.0), Coincidences(step=0.004)
    first, second = (
        jitter_null(method, spikes, n_draws=2, rng=np.random.default_rng(0)) for _ in range(2)
    )
    assert not hasattr(method, "scores_")
    np.testing.assert_array_equal(first.draws, second.draws)
    np.testing.assert_array_equal(first.scores, first.method.scores_)
    assert first.method.step == 0.004
    assert (first.draws[0] != first.draws[1]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_draws": 0}, "n_draws must be 1 or more"),
        ({"width": 0.0}, "width must be"),
        ({"start": 3.0, "stop": 2.0}, "start and stop"),
    ],
)
def test_bad_settings_are_refused(change, message):
    spikes = SpikeTimes.from_lists([np.array([0.1]), np.array([0.2])])
    with pytest.raises(ValueError, match=message):
        jitter_null(Coincidences(), spikes, rng=np.random.default_rng(0), **change)


def test_bad_values_are_refused():
    one = NullScores(np.zeros((2, 2)), np.zeros((1, 2, 2)), Coincidences())
    with pytest.raises(ValueError, match="or more; got 'pair' and 1"):
        one.p_values("pair")
    with pytest.raises(ValueError, match="null must be one of"):
        one.p_values("normal")
    with pytest.raises(ValueError, match="from 0 to 1"):
        q_values(np.array([0.1, 2.0]))
    with pytest.raises(ValueError, match="rate must be"):
        discoveries(np.array([0.1]), 0.0)
    with pytest.raises(ValueError, match="two square matrices"):
        realised_fdr(np.zeros((2, 3), bool), np.zeros((2, 3)))
