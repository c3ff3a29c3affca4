"""Networks from cross-spectra: simulated Hawkes networks, finite differences, enumeration."""

from __future__ import annotations

import itertools
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from scipy.stats import norm

from visualcortex.connectivity import dale_accuracy, partial_correlation, synapse_auroc
from visualcortex.connectivity.selection import sample_synapses
from visualcortex.connectivity.spectral import SpectralNetwork, _Whittle, band_spectra
from visualcortex.models.spike_counts import count_spikes, estimate_kinetics
from visualcortex.sources.lif80 import read_lif80_calcium
from visualcortex.spikes import SpikeTimes, contiguous_counts

N, FRAME = 16, 0.03


@numba.njit
def hawkes(rng, weights, n_ms):
    """Spikes a ms of a linear network: a spike acts from 2 ms later, for some 5 ms."""
    n, keep = len(weights), np.exp(-1 / 5.0)
    spikes = np.zeros((n_ms, n))
    drive = np.zeros(n)
    for t in range(2, n_ms):
        drive *= keep
        for i in np.flatnonzero(spikes[t - 2]):
            drive += weights[i] * (1 - keep)
        for j in range(n):
            spikes[t, j] = rng.random() < 0.015 + drive[j]
    return spikes


@pytest.fixture(scope="module")
def network():
    """A network and its counts in frames of 30 ms."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.1, 0.2, (N, N)) * (rng.random((N, N)) < 0.15)
    weights[-4:] *= -1
    np.fill_diagonal(weights, 0)
    counts = hawkes(rng, weights, 600_000)
    return weights, counts.reshape(-1, 30, N).sum(axis=1)


@pytest.fixture(scope="module")
def fitted(network):
    return SpectralNetwork(step=FRAME).fit(network[1])


def whittle(counts, n_bands):
    """Likelihood of counts without a penalty."""
    bands = band_spectra(counts, n_bands)
    floor = np.zeros((n_bands, counts.shape[1]))
    return _Whittle(bands, counts.mean(axis=0), floor, FRAME, 0.0, torch.device("cpu"))


def test_direction_and_sign_are_found_within_a_frame(network, fitted):
    weights, counts = network
    found = synapse_auroc(fitted.scores_, weights)
    assert found > 0.97
    assert found > synapse_auroc(partial_correlation(counts), weights) + 0.03
    assert dale_accuracy(fitted.scores_, weights) == 1
    np.testing.assert_array_equal(fitted.signs_, np.r_[np.ones(N - 4), -np.ones(4)])


def test_couplings_are_spikes_for_a_spike(network, fitted):
    weights, _ = network
    linked = weights > 0  # rates cannot go below 0: inhibition is weaker than its weight
    slope = np.sum(fitted.weights_[linked] * weights[linked]) / np.sum(weights[linked] ** 2)
    assert slope == pytest.approx(1, abs=0.15)


def test_probabilities_are_those_of_synapses(network, fitted):
    weights, _ = network
    others = ~np.eye(N, dtype=bool)
    expected, actual = fitted.probabilities_[others].mean(), (weights[others] != 0).mean()
    assert expected == pytest.approx(actual, abs=0.03)
    assert np.isnan(fitted.probabilities_[~others]).all()


def test_order_of_neurons_does_not_matter(network, fitted):
    weights, counts = network
    order = np.random.default_rng(0).permutation(N)
    again = SpectralNetwork(step=FRAME).fit(counts[:, order])
    pairs = ~np.eye(N, dtype=bool)
    whole = fitted.weights_[np.ix_(order, order)]
    assert np.corrcoef(again.weights_[pairs], whole[pairs])[0, 1] > 0.98


def test_same_seed_same_result(network, fitted):
    again = SpectralNetwork(step=FRAME).fit(network[1])
    np.testing.assert_array_equal(again.scores_, fitted.scores_)


def test_independent_neurons_have_few_synapses():
    counts = np.random.default_rng(0).poisson(0.4, (20_000, 10)).astype(float)
    found = SpectralNetwork(step=FRAME, signs=np.ones(10)).fit(counts)
    pairs = ~np.eye(10, dtype=bool)
    assert np.abs(found.weights_[pairs]).max() < 0.05


def test_band_spectra_of_independent_spikes_are_their_rates():
    counts = np.random.default_rng(0).poisson(0.4, (24_000, 4)).astype(float)
    frequency, spectra, weight = band_spectra(counts, 5)
    assert weight.sum() == 12_000
    np.testing.assert_allclose(frequency, np.arange(0.05, 0.5, 0.1), atol=1e-3)
    np.testing.assert_allclose(spectra, np.broadcast_to(0.4 * np.eye(4), (5, 4, 4)), atol=0.05)


def test_spectra_of_two_neurons_are_the_closed_form():
    """One synapse: target spectrum is D + |G|^2 D, all frequencies folded by brute force."""
    counts = np.random.default_rng(0).poisson(0.4, (400, 2)).astype(float)
    problem = whittle(counts, 4)
    vector = np.zeros_like(problem.start())
    vector[1] = 0.3
    p = problem.unpack(torch.from_numpy(vector))
    f = problem.frequency.numpy()
    rate = counts.mean(axis=0)
    cross, own = 0, np.full(len(f), rate[1], complex)
    for fold in range(-200, 201):
        angular = 2j * np.pi * (f + fold) / FRAME
        kernel = 0.3 * np.exp(-angular * 2e-3) / (1 + angular * 5e-3)
        cross = cross + np.sinc(f + fold) ** 2 * kernel * rate[0]
        own = own + np.sinc(f + fold) ** 2 * np.abs(kernel) ** 2 * rate[0]
    spectra = problem.spectra(p).numpy()
    np.testing.assert_allclose(spectra[:, 1, 0], cross, atol=2e-3)
    # beyond the nearest folds, the square of the coupling is left out
    np.testing.assert_allclose(spectra[:, 1, 1], own, atol=2e-3)


def test_information_is_that_of_finite_differences():
    rng = np.random.default_rng(1)
    problem = whittle(rng.poisson(0.4, (600, 4)).astype(float), 3)
    vector = problem.start()
    vector[:16] += rng.normal(0, 0.1, 16) * (1 - np.eye(4)).ravel()
    information = problem.information(vector)

    def spectra(change):
        return problem.spectra(problem.unpack(torch.from_numpy(vector + change)))

    inverse = torch.linalg.inv(spectra(0 * vector))
    pairs = [k for k in range(16) if k % 5]
    changes = [(spectra(h) - spectra(-h)) / 2e-5 for h in 1e-5 * np.eye(len(vector))[pairs]]
    for (a, first), (b, second) in itertools.product(zip(pairs, changes, strict=True), repeat=2):
        traces = (inverse @ first @ inverse @ second).diagonal(dim1=1, dim2=2).sum(1).real
        assert information[a, b] == pytest.approx(
            float((traces * problem.weight).sum()), rel=0.02, abs=0.5
        )


def test_sampler_agrees_with_enumeration():
    """Two neurons: every pattern of synapses, integrated on a grid under the same prior."""
    information = np.diag([1.0, 150.0, 200.0, 1.0]).astype(np.float32)
    information[1, 2] = information[2, 1] = 120.0
    best = np.array([[np.nan, 0.15], [0.1, np.nan]])  # the diagonal does not matter
    found = sample_synapses(best, np.zeros((2, 2)), information, np.ones(2), n_sweeps=40_000)
    # too few synapses to move the prior: it is as it starts
    mean, sd = 0.15, 0.3 * 0.15
    grid = np.linspace(0, 0.6, 1201)
    slab = norm.pdf(grid, mean, sd) / norm.cdf(mean / sd)
    weight = 0.15 * slab * (grid[1] - grid[0])
    weight[0] += 0.85
    x, y = grid[:, None] - 0.15, grid[None] - 0.1
    posterior = np.exp(-0.5 * (150 * x**2 + 200 * y**2) - 120 * x * y) * np.outer(weight, weight)
    posterior /= posterior.sum()
    exists = 1 - posterior[0].sum(), 1 - posterior[:, 0].sum()
    assert found.probability[0, 1] == pytest.approx(exists[0], abs=0.02)
    assert found.probability[1, 0] == pytest.approx(exists[1], abs=0.02)
    assert found.mean[0, 1] == pytest.approx((posterior.sum(1) * grid).sum(), abs=0.005)


def calcium(spikes, keep):
    """Calcium that decays by a factor a frame."""
    return lfilter([1.0], [1.0, -keep], spikes, axis=0)


def test_calcium_of_unknown_size_is_as_good_as_its_counts_within_little(network, fitted):
    weights, counts = network
    size = np.random.default_rng(1).uniform(0.5, 2, N)
    noise = 0.3 * np.random.default_rng(2).normal(size=counts.shape)
    traces = 7 + size * (calcium(counts, np.exp(-FRAME / 0.6)) + noise)
    found = SpectralNetwork(step=FRAME, decay=0.6).fit(traces)
    assert synapse_auroc(found.scores_, weights) > synapse_auroc(fitted.scores_, weights) - 0.02
    pairs = ~np.eye(N, dtype=bool)
    again = SpectralNetwork(step=FRAME, decay=0.6).fit(10 * traces - 3)
    guessed = SpectralNetwork(step=FRAME, decay="estimate", n_sweeps=0).fit(traces)
    assert np.corrcoef(guessed.penalised_[pairs], found.penalised_[pairs])[0, 1] > 0.95
    assert np.corrcoef(again.penalised_[pairs], found.penalised_[pairs])[0, 1] > 0.999


def test_shared_input_is_found_where_there_is_some(network):
    """Half as many spikes again, of a slow rhythm that all follow."""
    weights, counts = network
    plain = SpectralNetwork(step=FRAME, shared="auto", n_sweeps=0).fit(counts)
    assert not plain.shared_input_
    rng = np.random.default_rng(5)
    slow = lfilter([1.0], [1.0, -0.7], rng.normal(size=len(counts)))
    more = counts + rng.poisson(0.2 * np.exp(0.6 * slow))[:, None].clip(0, 3) * (
        rng.random(counts.shape) < 0.7
    )
    found = SpectralNetwork(step=FRAME, shared="auto").fit(more)
    assert found.shared_input_
    blind = SpectralNetwork(step=FRAME).fit(more)
    right, wrong = (synapse_auroc(one.scores_, weights) for one in (found, blind))
    assert right > wrong + 0.05


def test_without_sampling_scores_are_penalised_couplings(network):
    found = SpectralNetwork(step=FRAME, n_sweeps=0).fit(network[1])
    np.testing.assert_array_equal(found.scores_, found.penalised_)
    assert found.probabilities_ is None


def test_spikes_are_counted_in_frames_from_start_to_stop():
    rng = np.random.default_rng(0)
    spikes = SpikeTimes.from_lists([np.sort(rng.uniform(0, 60, 900)) for _ in range(4)])
    settings = {"step": FRAME, "n_steps": 3, "n_sweeps": 2}
    counts = contiguous_counts(spikes, 6.0, 54.0, FRAME)
    found = SpectralNetwork(**settings).fit(spikes, start=6.0, stop=54.0)
    np.testing.assert_array_equal(found.scores_, SpectralNetwork(**settings).fit(counts).scores_)


def test_kinetics_are_those_of_the_simulation():
    spikes = np.random.default_rng(0).poisson(0.3, (12_000, 6))
    size = np.array([0.5, 1, 1, 2, 2, 4])
    clean = calcium(spikes, np.exp(-1 / (30 * 0.6)))
    noise = 0.3 * np.random.default_rng(1).normal(size=clean.shape)
    slow = 2 * np.sin(np.arange(len(clean)) / 30 / 20)[:, None]  # drift over two minutes
    found = estimate_kinetics(5 + size * (clean + noise + slow), 30.0)
    assert found.decay == pytest.approx(0.6, rel=0.05)
    np.testing.assert_allclose(found.noise, 0.3 * size, rtol=0.05)
    np.testing.assert_allclose(found.power, 0.3 * size**2, rtol=0.1)
    known = estimate_kinetics(clean + noise, 30.0, decay=0.6)
    assert known.decay == 0.6


def test_calcium_is_counted_better_than_by_its_differences():
    rng = np.random.default_rng(0)
    spikes = rng.poisson(0.4, (3000, 3))
    clean = calcium(spikes, np.exp(-1 / 20))
    traces = 5 + 2 * (clean + 0.3 * rng.normal(size=clean.shape))
    counted = count_spikes(traces, 20.0, decay=1.0, noise=0.6, amplitude=2, baseline=5)
    guessed = count_spikes(traces, 20.0)
    linear = traces[1:] - np.exp(-1 / 20) * traces[:-1]
    for k in range(3):
        right = np.corrcoef(counted[:, k], spikes[:, k])[0, 1]
        plain = np.corrcoef(linear[:, k], spikes[1:, k])[0, 1]
        assert right > 0.85
        assert right > plain + 0.05
        assert np.corrcoef(guessed[:, k], spikes[:, k])[0, 1] > plain
    np.testing.assert_allclose(counted.mean(axis=0), spikes.mean(axis=0), rtol=0.03)
    np.testing.assert_allclose(guessed.mean(axis=0), spikes.mean(axis=0), rtol=0.4)


def test_counting_without_noise_is_exact():
    spikes = np.random.default_rng(1).poisson(0.4, (500, 2))
    clean = calcium(spikes, np.exp(-1 / 10))
    counted = count_spikes(clean, 10.0, decay=1.0, noise=0.02, amplitude=1, baseline=0)
    np.testing.assert_allclose(counted[40:], spikes[40:], atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"step": 0}, "step must be above 0 s"),
        ({"step": FRAME, "decay": -1}, "decay too, or"),
        ({"step": FRAME, "decay": "slow"}, "decay too, or"),
        ({"step": FRAME, "n_sweeps": -1}, "n_sweeps 0 or more"),
        ({"step": FRAME, "penalty": -1}, "penalty must be 0 or more"),
        ({"step": FRAME, "shared": "no"}, "shared must be"),
        ({"step": FRAME, "trust": 0}, "trust above 0"),
        ({"step": FRAME, "n_bands": 2000}, "bands needs"),
        ({"step": FRAME, "signs": np.zeros(N)}, "signs must be 1 or -1"),
    ],
)
def test_bad_settings_are_refused(network, settings, said):
    with pytest.raises(ValueError, match=said):
        SpectralNetwork(**settings).fit(network[1])


def test_bad_input_is_refused(network):
    counts = network[1]
    with pytest.raises(ValueError, match="at most 160"):
        SpectralNetwork(step=FRAME).fit(np.tile(counts[:400], 11))
    with pytest.raises(ValueError, match="mean count above 0"):
        SpectralNetwork(step=FRAME).fit(counts - 5)
    with pytest.raises(ValueError, match="must change over time"):
        SpectralNetwork(step=FRAME).fit(np.where(np.arange(N) == 2, 1.0, counts))
    with pytest.raises(ValueError, match="information"):
        sample_synapses(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)), np.ones(2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"decay": 0.0}, "not a factor a frame"),
        ({"frame_rate": 0.0}, "frame_rate must be above 0"),
        ({"noise": [0.1, 0.2]}, "one for each of 16"),
        ({"noise": -0.1}, "noise and amplitude must be above 0"),
        ({"most": 0}, "must be at least 1"),
        ({"traces": np.full((50, 2), np.nan)}, "traces must be finite"),
        ({"traces": np.zeros((5, 2)), "memory": 2}, "need more frames"),
    ],
)
def test_counting_refuses_bad_input(network, settings, said):
    given = {"traces": network[1][:50], "frame_rate": 30.0} | settings
    with pytest.raises(ValueError, match=said):
        count_spikes(**given)


@pytest.mark.long
def test_lif80_is_found_from_calcium_at_30_hz(real_data):
    """Eighty neurons for a quarter of an hour; nothing is given but the traces."""
    seen = read_lif80_calcium(Path(real_data("lif80/lif80.npz")))
    weights = seen.truth.wiring.weights
    found = SpectralNetwork(step=0.033, decay="estimate").fit(seen.traces.values.T)
    assert synapse_auroc(found.scores_, weights) >= 0.95
    assert dale_accuracy(found.scores_, weights) >= 0.95
    assert np.mean((found.signs_ > 0) == (seen.truth.wiring.cell_type == "E")) >= 0.95
