"""Correlograms of all pairs: counts by brute force, jitter by enumeration, peaks by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from visualcortex.connectivity import (
    BinnedSpikes,
    cross_correlograms,
    direction_accuracy,
    excess,
    find_peaks,
    jitter_corrected,
    jitter_expectation,
    peak_edges,
    synapse_auroc,
    two_sided,
)
from visualcortex.connectivity import correlograms as module
from visualcortex.spikes import SpikeTimes, contiguous_counts


def brute_force(trains, max_lag):
    """Count coincidences as the formula says."""
    x = np.asarray(trains, float)
    n_time = x.shape[1]
    lags = [
        np.einsum("rti,rtj->ij", x[:, : n_time - lag], x[:, lag:]) for lag in range(max_lag + 1)
    ]
    counts = np.stack(lags, axis=2)
    diagonal = np.arange(x.shape[2])
    counts[diagonal, diagonal, 0] -= x.sum(axis=(0, 1))  # a spike with itself
    return counts


def trains_of(rng, shape=(7, 20, 5), rate=0.3):
    return rng.poisson(rate, shape).astype(np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_counts_are_those_of_the_formula(rng, dtype):
    trains = trains_of(rng)
    assert trains.max() > 1, "no bin with two spikes is tried"
    spikes = BinnedSpikes.from_trials(trains.astype(dtype))
    assert (spikes.n_spikes == trains.sum(axis=(0, 1))).all()
    np.testing.assert_array_equal(cross_correlograms(spikes, 19), brute_force(trains, 19))


def test_pairs_of_different_trials_are_not_counted():
    trains = np.zeros((2, 10, 2), bool)
    trains[0, 9, 0] = trains[1, 0, 1] = True
    assert not cross_correlograms(BinnedSpikes.from_trials(trains), 9).any()


def test_the_target_fires_after_the_source():
    trains = np.zeros((1, 10, 2), bool)
    trains[0, 4, 0] = trains[0, 7, 1] = True
    counts = cross_correlograms(BinnedSpikes.from_trials(trains), 5)
    assert counts[0, 1, 3] == 1
    assert counts.sum() == 1


@pytest.mark.filterwarnings("ignore:The 'copy' argument in Quantity is deprecated")
def test_two_sides_agree_with_elephant(rng):
    elephant = pytest.importorskip("elephant.spike_train_correlation")
    neo, quantities = pytest.importorskip("neo"), pytest.importorskip("quantities")
    from elephant.conversion import BinnedSpikeTrain

    trains = trains_of(rng, (1, 400, 3), 0.1).clip(max=1)
    sides = two_sided(cross_correlograms(BinnedSpikes.from_trials(trains), 30))
    binned = [
        BinnedSpikeTrain(
            neo.SpikeTrain((np.flatnonzero(train) + 0.5) * quantities.ms, t_stop=400),
            bin_size=1 * quantities.ms,
        )
        for train in trains[0].T
    ]
    for i, j in itertools.permutations(range(3), 2):
        histogram, lags = elephant.cross_correlation_histogram(
            binned[i], binned[j], window=[-30, 30]
        )
        np.testing.assert_array_equal(lags, np.arange(-30, 31))
        np.testing.assert_array_equal(sides[i, j], histogram.magnitude.ravel())


def test_times_are_binned_as_they_are_counted_elsewhere(rng):
    times = [np.sort(rng.uniform(-1, 3, 500)) for _ in range(4)]
    times[1] = np.arange(1000) * 0.002  # on the edges
    spikes = SpikeTimes.from_lists(times)
    binned = BinnedSpikes.from_times(spikes, 0.1, 2.05, 0.01)
    counts = contiguous_counts(spikes, 0.1, 2.05, 0.01)
    assert (binned.n_trials, binned.n_bins, binned.n_neurons) == (1, 195, 4)
    listed = np.zeros_like(counts)
    np.add.at(listed, (binned.bin, binned.neuron), 1)
    np.testing.assert_array_equal(listed, counts)
    np.testing.assert_array_equal(cross_correlograms(binned, 50), brute_force(counts[None], 50))


def test_jitter_is_the_mean_over_all_arrangements():
    """Two windows of 3 bins; every way to put the spikes of two neurons into them."""
    trains = np.zeros((1, 6, 2), bool)
    trains[0, [0, 2, 4], 0] = trains[0, [1, 3], 1] = True
    for alone in (False, True):  # whether two spikes of a neuron may share a bin
        ways = [
            (a, b, c, d, e)
            for a, b, d in itertools.product(range(3), repeat=3)
            for c, e in itertools.product(range(3, 6), repeat=2)
            if not (alone and a == b)
        ]
        total = np.zeros(5)
        for a, b, c, d, e in ways:
            jittered = np.zeros((1, 6, 2))
            np.add.at(jittered[0, :, 0], [a, b, c], 1)
            np.add.at(jittered[0, :, 1], [d, e], 1)
            total += brute_force(jittered, 4)[0, 1]
        expected = jitter_expectation(BinnedSpikes.from_trials(trains), 3, 4)
        np.testing.assert_allclose(expected[0, 1], total / len(ways), rtol=1e-12)


def test_jitter_is_what_many_random_ones_come_to(rng):
    trains = trains_of(rng, (6, 40, 3), 0.15)
    spikes = BinnedSpikes.from_trials(trains)
    draws = []
    for _ in range(800):
        moved = spikes.bin // 10 * 10 + rng.integers(10, size=len(spikes.bin))
        jittered = np.zeros(trains.shape)
        np.add.at(jittered, (spikes.trial, moved, spikes.neuron), 1)
        draws.append(brute_force(jittered, 25))
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(len(draws))
    pairs = ~np.eye(3, dtype=bool)
    z = (jitter_expectation(spikes, 10, 25) - mean)[pairs] / error[pairs]
    assert np.abs(z).max() < 4.5  # of 156 values
    assert 0.7 < z.std() < 1.3


def test_blocks_of_windows_make_no_difference(rng, monkeypatch):
    spikes = BinnedSpikes.from_trials(trains_of(rng, (9, 24, 5)))
    whole = jitter_expectation(spikes, 4, 18)
    assert np.isnan(whole[np.arange(5), np.arange(5)]).all()
    monkeypatch.setattr(module, "CELLS", 30)
    np.testing.assert_array_equal(jitter_expectation(spikes, 4, 18), whole)


def test_scales_are_those_of_their_definitions(rng):
    trains = trains_of(rng, (7, 20, 5))
    trains[2, :, 1] = 0  # a silent trial
    spikes = BinnedSpikes.from_trials(trains)
    corrected = jitter_corrected(spikes, window=5, max_lag=9, scale="counts")
    expected = brute_force(trains, 9) - jitter_expectation(spikes, 5, 9)
    np.testing.assert_allclose(corrected, expected, atol=1e-12)
    overlap = 1 - np.arange(10) / 20
    n = trains.sum(axis=(0, 1))
    by_source = jitter_corrected(spikes, window=5, max_lag=9, scale="source")
    np.testing.assert_allclose(by_source, expected / n[:, None, None] / overlap, atol=1e-12)
    by_rate = jitter_corrected(spikes, window=5, max_lag=9)
    root = np.sqrt(np.outer(n, n))[:, :, None]
    np.testing.assert_allclose(by_rate, expected / root / overlap, atol=1e-12)
    per_trial = np.zeros_like(expected)
    for train in trains:
        m = train.sum(axis=0)
        one = BinnedSpikes.from_trials(train[None])
        single = brute_force(train[None], 9) - jitter_expectation(one, 5, 9)
        scaled = single / np.sqrt(np.maximum(np.outer(m, m), 1))[:, :, None]
        per_trial += scaled / 7
    by_trial = jitter_corrected(spikes, window=5, max_lag=9, scale="trial_rates")
    np.testing.assert_allclose(by_trial, per_trial / overlap, atol=1e-12)


def test_silent_neurons_have_no_scaled_correlogram(rng):
    trains = trains_of(rng)
    trains[:, :, 3] = 0
    spikes = BinnedSpikes.from_trials(trains)
    for scale in ("source", "rates", "trial_rates"):
        corrected = jitter_corrected(spikes, window=5, max_lag=9, scale=scale)
        silent = np.isnan(corrected).all(axis=2)
        assert silent[3].all()
        assert silent[:, 3].all()
        assert silent.sum() == 9 + 4
    assert not jitter_corrected(spikes, window=5, max_lag=9, scale="counts")[3, :3].any()


def test_slow_changes_of_rate_go_and_fast_coincidences_stay(rng):
    slow = np.repeat(rng.gamma(1, 0.1, (3000, 4, 1)), 10, axis=1)  # windows of 10 bins
    trains = rng.random((3000, 40, 3)) < slow
    trains[:, 2:, 2] |= trains[:, :-2, 0] & (rng.random((3000, 38)) < 0.2)
    spikes = BinnedSpikes.from_trials(trains)
    raw = cross_correlograms(spikes, 20)
    corrected = jitter_corrected(spikes, window=10, max_lag=20, scale="counts")
    assert raw[0, 1, :5].mean() > 1.3 * raw[0, 1, 15:].mean()
    error = np.sqrt(raw[0, 1])
    assert (np.abs(corrected[0, 1]) < 4 * error).all()
    assert corrected[0, 2].argmax() == 2
    assert corrected[0, 2, 2] > 10 * np.sqrt(raw[0, 2, 2])


class TestPeaks:
    @pytest.fixture
    def flat(self, rng):
        noise = rng.normal(size=(4, 4, 60))
        noise[:, :, 0] = (noise[:, :, 0] + noise[:, :, 0].T) / 2
        noise[np.arange(4), np.arange(4)] = np.nan
        return noise

    def test_planted_peaks_and_troughs_are_found(self, flat):
        flat[0, 1, 5] += 30
        flat[2, 3, 3:7] -= 20
        edges = peak_edges(flat)
        assert np.argwhere(np.isfinite(edges.z)).tolist() == [[0, 1], [2, 3]]
        assert (edges.lag[0, 1], edges.duration[0, 1]) == (5, 0)
        assert (edges.lag[2, 3], edges.duration[2, 3]) == (3, 3)
        assert edges.weight[0, 1] == pytest.approx(flat[0, 1, 5])
        assert edges.weight[2, 3] == pytest.approx(flat[2, 3, 3:7].sum())
        assert edges.z[0, 1] == pytest.approx(
            (flat[0, 1, 5] - flat[0, 1].mean()) / flat[0, 1].std()
        )
        assert edges.z[2, 3] < -4

    def test_every_duration_and_lag_is_tried(self, flat):
        peaks = find_peaks(flat, lags=(2, 9), max_duration=3)
        for i, j in itertools.permutations(range(4), 2):
            tried = {}
            for duration, lag in itertools.product(range(4), range(2, 10)):
                sums = np.convolve(flat[i, j], np.ones(duration + 1), "valid")
                if lag + duration <= 9:
                    tried[lag, duration] = (sums[lag] - sums.mean()) / sums.std()
            best = max(tried, key=lambda key: abs(tried[key]))
            assert (peaks.lag[i, j], peaks.duration[i, j]) == best
            assert peaks.z[i, j] == pytest.approx(tried[best])

    def test_one_coincidence_is_not_two_edges(self, flat):
        flat[0, 1, 0] += 40
        flat[1, 0, 0] += 40
        flat[0, 1, 4] += 12  # 0 drives 1 as well
        edges = peak_edges(flat, max_duration=0)
        assert np.argwhere(np.isfinite(edges.z)).tolist() == [[0, 1]]
        assert edges.lag[0, 1] == 0
        both = find_peaks(flat, lags=(0, 12), max_duration=0)
        assert min(both.z[0, 1], both.z[1, 0]) > 4

    def test_correlograms_without_variation_have_no_peak(self):
        peaks = find_peaks(np.full((3, 3, 40), 0.1))
        assert not peaks.z.any()
        assert np.isnan(peak_edges(np.full((3, 3, 40), 0.1)).z).all()

    def test_pieces_make_no_difference(self, flat, monkeypatch):
        whole = find_peaks(flat)
        monkeypatch.setattr("visualcortex.connectivity.peaks.PAIRS", 5)
        for one, other in zip(whole, find_peaks(flat), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_excess_is_a_difference_of_means(self, flat):
        score = excess(flat, lags=(1, 3), flank=40)
        assert score[0, 2] == pytest.approx(flat[0, 2, 1:4].mean() - flat[0, 2, 40:].mean())
        assert np.isnan(np.diagonal(score)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: BinnedSpikes.from_trials(np.zeros((3, 4))), r"got shape \(3, 4\)"),
        (lambda s: BinnedSpikes.from_trials(np.full((1, 2, 2), 0.5)), "whole and not negative"),
        (lambda s: BinnedSpikes.from_trials(np.full((1, 2, 2), np.nan)), "whole and not negative"),
        (lambda s: BinnedSpikes.from_trials(np.full((1, 2, 2), -1)), "whole and not negative"),
        (lambda s: BinnedSpikes(s.trial, s.bin[::-1], s.neuron, 1, 20, 5), "in order of trial"),
        (lambda s: cross_correlograms(s, 20), "max_lag must be from 0 to 19 bins"),
        (lambda s: cross_correlograms(s, -1), "max_lag must be from 0"),
        (lambda s: jitter_expectation(s, 6, 5), "Cut the trials to 18 bins"),
        (lambda s: jitter_corrected(s, window=0, max_lag=5), "in windows of 0"),
        (lambda s: jitter_corrected(s, window=5, max_lag=5, scale="rate"), "one of counts, source"),
        (lambda s: find_peaks(np.zeros((3, 2, 9))), "as many sources as targets"),
        (lambda s: find_peaks(np.zeros((3, 3, 9)), lags=(1, 9)), "of 0 to 8"),
        (lambda s: find_peaks(np.zeros((3, 3, 99)), max_duration=-1), "max_duration 0 or more"),
        (lambda s: excess(np.zeros((3, 3, 51)), flank=51), "flank must be after .* at most 50"),
    ],
)
def test_bad_input_is_refused_with_the_reason(rng, call, message):
    spikes = BinnedSpikes.from_trials(trains_of(rng))
    with pytest.raises(ValueError, match=message):
        call(spikes)


@pytest.mark.parametrize("wrong", [(0, 0, 0.1), (0, 1, 0), (0, 1, 2), (0, np.inf, 0.1)])
def test_a_span_without_a_bin_is_refused(wrong):
    with pytest.raises(ValueError, match="leave room for a bin"):
        BinnedSpikes.from_times(SpikeTimes.from_lists([[0.5]]), *wrong)


def lif80(path: Path, seconds: float) -> tuple[SpikeTimes, np.ndarray]:
    """A simulated network of integrate-and-fire neurons: spike times, synapses."""
    with np.load(path) as file:
        times, neuron, weights = file["spike_ms"], file["spike_id"], file["W"].T
    kept = times < 1000 * seconds
    lists = [(np.sort(times[kept & (neuron == k)]) + 0.5) / 1000 for k in range(len(weights))]
    return SpikeTimes.from_lists(lists), weights


def test_synapses_of_a_spiking_network_are_found(real_data):
    """The target fires 2 ms and more after the source; 15 minutes, 80 neurons."""
    spikes, weights = lif80(real_data("lif80/lif80.npz"), 900)
    counts = cross_correlograms(BinnedSpikes.from_times(spikes, 0, 900), 100)
    n = spikes.n_spikes
    score = excess(counts / np.sqrt(np.outer(n, n))[:, :, None])
    assert synapse_auroc(score, weights) > 0.995
    assert synapse_auroc(score, weights, "inhibitory") > 0.99
    assert direction_accuracy(score, weights) > 0.98
    assert synapse_auroc(score.T, weights) < 0.8
