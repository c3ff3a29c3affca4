"""Whitened correlograms: closed forms, what they explain away, and wiring that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from visualcortex.connectivity import (
    CorrelogramPeaks,
    observed_binned,
    observed_bins,
    sign_accuracy,
    synapse_auroc,
)
from visualcortex.connectivity.whitened_correlograms import (
    LEAST,
    RIDGE,
    WhitenedCorrelograms,
    _moments,
)
from visualcortex.simulators.wired_network import WiredNetwork

N_LAGS, SD = 5, 3.0


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def network():
    return WiredNetwork(n_neurons=12, duration=120.0, density=0.2, strength=2.0).simulate(1)


def noise(rng, n_bins=400_000, n_neurons=3, rate=0.01):
    """Return independent counts."""
    return (rng.random((n_bins, n_neurons)) < rate).astype(np.float32)


def drive(rng, counts, source, target, delay, gain):
    """Let spikes of the source make the target fire, with a probability."""
    driven = rng.random(len(counts) - delay) < gain
    counts[delay:, target] += driven * counts[:-delay, source]
    return np.minimum(counts, 1)


def before_and_after(counts):
    """Return inputs ``(neuron, lag, time)`` of a few neurons, and counts less their average."""
    lags = np.arange(-N_LAGS, N_LAGS + 1)
    inputs = np.stack([np.roll(counts, lag, axis=0) for lag in lags]).transpose(2, 0, 1)
    return inputs, counts - gaussian_filter1d(counts, SD, axis=0)


class TestMoments:
    @pytest.fixture
    def counts(self, rng):
        counts = (rng.random((600, 3)) < 0.1).astype(float)
        counts[:40] = counts[-40:] = 0  # ends are of no account
        return counts

    def test_the_slope_is_the_correlogram_less_its_smooth_version(self, counts):
        slope, expected, _ = _moments(observed_binned(counts, 0.001), N_LAGS, SD)
        inputs, sharp = before_and_after(counts)
        brute = np.einsum("ikt,tj->ijk", inputs, sharp)
        smooth = np.einsum("ikt,tj->ijk", inputs, counts - sharp)
        off = ~np.eye(3, dtype=bool)
        np.testing.assert_allclose(slope[off], brute[off], atol=1e-9)
        np.testing.assert_allclose(expected[off], smooth[off], atol=1e-9)

    def test_information_is_the_covariance_of_sharp_inputs(self, counts):
        metric = _moments(observed_binned(counts, 0.001), N_LAGS, SD)[2]
        inputs, sharp = before_and_after(counts)
        brute = np.einsum("iat,kbt->iakb", inputs, before_and_after(sharp)[0])
        root = np.sqrt(counts.sum(axis=0))
        brute /= root[:, None, None, None] * root[:, None]
        np.testing.assert_allclose(metric, brute, atol=1e-9)


def test_scores_are_those_of_one_pair_after_another(rng):
    """The whole inverse with targets left out of it against a system for each pair."""
    counts = drive(rng, noise(rng, 20_000, 4, 0.05), 0, 1, 2, 0.5)
    model = WhitenedCorrelograms(step=0.001, longest=0.004, reach=0.005, smooth=0.003)
    model.fit(counts)
    slope, expected, metric = _moments(observed_binned(counts, 0.001), N_LAGS, SD)
    after, before = range(N_LAGS + 1, 2 * N_LAGS + 1), range(N_LAGS + 1)
    lags = np.arange(1, N_LAGS + 1)
    for i, j in ((0, 1), (1, 0), (2, 3)):
        rows = [(p, k) for p in range(4) if p != j for k in after] + [(i, k) for k in before]
        p, k = np.array(rows).T
        inverse = np.linalg.inv(metric[p[:, None], k[:, None], p, k] + RIDGE * np.eye(len(p)))
        error = np.sqrt(np.maximum(expected, LEAST))[p, j, k]
        of = np.flatnonzero((p == i) & (k > N_LAGS))
        filters = (inverse @ (slope[p, j, k] / error))[of]
        deviates = []
        for delay in range(1, 5):
            kernel = np.where(lags >= delay, np.exp(-(lags - delay) / 2.0), 0) * error[of]
            solved = np.linalg.solve(inverse[np.ix_(of, of)], kernel)
            deviates.append(solved @ filters / np.sqrt(solved @ kernel))
        best = np.abs(deviates).argmax()
        assert model.scores_[i, j] == pytest.approx(deviates[best], rel=1e-8)
        assert model.delays_[i, j] == pytest.approx(0.001 * (best + 1))


class TestWhatIsExplainedAway:
    def test_a_common_source(self, rng):
        counts = drive(rng, drive(rng, noise(rng), 0, 1, 3, 0.15), 0, 2, 8, 0.15)
        model, peaks = (m.fit(counts) for m in (WhitenedCorrelograms(), CorrelogramPeaks()))
        assert peaks.scores_[1, 2] > 5
        assert abs(model.scores_[1, 2]) < 4
        assert min(model.scores_[0, 1], model.scores_[0, 2]) > 20
        assert model.delays_[0, 1:].tolist() == pytest.approx([0.0015, 0.004])

    def test_a_chain(self, rng):
        counts = drive(rng, drive(rng, noise(rng), 0, 1, 3, 0.15), 1, 2, 5, 0.15)
        model, peaks = (m.fit(counts) for m in (WhitenedCorrelograms(), CorrelogramPeaks()))
        assert peaks.scores_[0, 2] > 5
        assert abs(model.scores_[0, 2]) < 4

    def test_a_synapse_the_other_way(self, rng):
        counts = drive(rng, noise(rng), 1, 0, 3, 0.4)
        model, peaks = (m.fit(counts) for m in (WhitenedCorrelograms(), CorrelogramPeaks()))
        assert peaks.scores_[0, 1] < -10
        assert abs(model.scores_[0, 1]) < 4.5
        assert model.scores_[1, 0] > 20

    def test_sources_that_drive_a_third_are_not_married(self, rng):
        counts = drive(rng, drive(rng, noise(rng), 0, 2, 3, 0.25), 1, 2, 8, 0.25)
        scores = WhitenedCorrelograms().fit(counts).scores_
        assert max(abs(scores[0, 1]), abs(scores[1, 0])) < 4.5

    def test_slow_input_that_two_share(self, rng):
        rates = np.full((400_000, 3), 0.01)
        slow = gaussian_filter1d(rng.standard_normal(400_000), 100)
        rates[:, :2] *= np.exp(0.7 * slow / slow.std())[:, None]
        counts = (rng.random(rates.shape) < rates).astype(float)
        scores = WhitenedCorrelograms().fit(counts).scores_
        assert np.nanmax(np.abs(scores)) < 4.5

    def test_chance_is_normal_at_a_single_delay(self, rng):
        counts = noise(rng, 200_000, 15)
        scores = WhitenedCorrelograms(longest=0.0005).fit(counts).scores_
        assert np.nanstd(scores) == pytest.approx(0.95, abs=0.12)
        assert abs(np.nanmean(scores)) < 0.2


@pytest.mark.parametrize("gain", [0.02, 0.03])
def test_a_weak_synapse_has_its_size_or_a_little_less(rng, gain):
    """A kernel of one bin is the effect itself."""
    counts = drive(rng, noise(rng, 2_000_000, 2), 0, 1, 4, gain)
    model = WhitenedCorrelograms(decay=1e-5).fit(counts)
    assert 0.75 * gain < model.weights_[0, 1] < 1.1 * gain
    assert model.delays_[0, 1] == pytest.approx(0.002)


def test_known_wiring_is_found_and_neurons_have_no_order(network):
    weights = network.truth.weights
    model = WhitenedCorrelograms().fit(network.spikes, stop=120.0)
    assert synapse_auroc(model.scores_, weights) > 0.9
    assert synapse_auroc(model.scores_.T, weights) < 0.75
    assert sign_accuracy(model.scores_, weights) > 0.9
    assert np.isnan(np.diagonal(model.scores_)).all()
    order = np.random.default_rng(0).permutation(12)
    other = WhitenedCorrelograms().fit(network.spikes.select(order), stop=120.0)
    np.testing.assert_allclose(other.scores_, model.scores_[np.ix_(order, order)], atol=1e-8)
    np.testing.assert_array_equal(other.signs_, model.signs_[order])


def test_counts_are_as_good_as_spikes(network):
    model = WhitenedCorrelograms()
    counts = observed_bins(network.spikes, model.step, stop=30.0)
    from_counts = model.fit(counts, start=0.9).scores_
    from_spikes = WhitenedCorrelograms().fit(network.spikes, start=0.9, stop=30.0).scores_
    np.testing.assert_allclose(from_counts, from_spikes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(step=0.0), "step must be above 0"),
        (dict(smooth=0.0001), "smooth a step or more"),
        (dict(longest=0.0001), "longest must be a step"),
        (dict(longest=0.02), "at most reach"),
        (dict(decay=0.0), "decay must be"),
        (dict(reach=3.0), "max_lag must be"),
    ],
)
def test_bad_settings_are_refused(rng, settings, message):
    with pytest.raises(ValueError, match=message):
        WhitenedCorrelograms(**settings).fit(noise(rng, 500, rate=0.1))


def test_silent_neurons_are_refused(rng):
    counts = noise(rng, 500, rate=0.1)
    counts[:, 1] = 0
    with pytest.raises(ValueError, match="neuron 1 has none"):
        WhitenedCorrelograms().fit(counts)
