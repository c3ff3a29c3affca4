"""Networks left to themselves: training through time, free runs against loops and closed forms."""

import numpy as np
import pytest
import torch

from visualcortex.connectivity.observed import observed_bins
from visualcortex.connectivity.wiring import synapse_auroc
from visualcortex.models.spiking_fit import SpikingNetwork
from visualcortex.models.spiking_training import (
    FreeRunningNetwork,
    free_run,
    guess_signs,
    rerun,
    spike_statistics,
)
from visualcortex.simulators.wired_network import WiredNetwork
from visualcortex.spikes import SpikeTimes

STEP = 0.001


@pytest.fixture(scope="module")
def recording():
    return WiredNetwork(n_neurons=12, duration=60.0, strength=2.0, density=0.2).simulate(1)


def short(**changes):
    settings = {"n_steps": 25, "batch": 8, "window": 0.2, "noise": 0.5}
    return FreeRunningNetwork(**settings | changes)


@pytest.mark.parametrize("match", ["correlograms", "trains"])
def test_the_loss_falls_and_sources_keep_their_sign(recording, match):
    signs = np.where(recording.truth.cell_type == "E", 1, -1)
    model = short(signs=signs, match=match, n_steps=100).fit(recording.spikes)
    assert np.mean(model.history_[-10:]) < 0.6 * model.history_[0]
    off = ~np.eye(12, dtype=bool)
    assert (model.scores_ * signs[:, None] >= 0)[off].all()
    assert np.isnan(np.diagonal(model.scores_)).all()
    np.testing.assert_array_equal(model.signs_, signs)
    observed = observed_bins(recording.spikes, 0.002).mean(axis=0) / 0.002
    np.testing.assert_allclose(model.rates_[1], observed, rtol=1e-5)


def test_a_seed_says_all(recording):
    first, again, other = (short(n_steps=3, seed=s).fit(recording.spikes) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.scores_, again.scores_)
    assert first.history_ == again.history_
    assert first.history_ != other.history_


def test_spikes_and_their_counts_are_the_same(recording):
    counts = observed_bins(recording.spikes, 0.002, 0.0, 20.0)
    by_counts = short(n_steps=3).fit(counts)
    by_times = short(n_steps=3).fit(recording.spikes, stop=20.0)
    np.testing.assert_array_equal(by_counts.scores_, by_times.scores_)


def test_a_silent_network_is_at_one_van_rossum(recording):
    """Far below threshold nothing spikes; then D is 1 and all rates are missed, which is 1 too."""
    model = short(match="trains", n_steps=1, noise=1e-6, rate_penalty=3.0).fit(recording.spikes)
    assert model.history_[0] == pytest.approx(4.0, rel=1e-5)


def test_correlograms_recover_strong_wiring_and_trains_do_not():
    network = WiredNetwork(n_neurons=15, duration=120.0, strength=1.5, spread=0.3).simulate(2)
    signs = np.where(network.truth.cell_type == "E", 1, -1)
    scores = {}
    for match in ("correlograms", "trains"):
        model = FreeRunningNetwork(match=match, signs=signs, n_steps=150, batch=32)
        found = model.fit(network.spikes).scores_
        scores[match] = synapse_auroc(found, network.truth.weights)
    assert scores["correlograms"] > 0.9
    assert scores["trains"] < 0.75


def test_signs_are_guessed_from_what_follows():
    rng = np.random.default_rng(0)
    counts = (rng.random((50_000, 4)) < 0.03).astype(np.float32)
    counts[1:, 2] += counts[:-1, 0] * (rng.random(49_999) < 0.3)
    counts[1:, 3] *= 1 - counts[:-1, 1]
    np.testing.assert_array_equal(guess_signs(np.minimum(counts, 1), 0.002)[:2], [1, -1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 100.0}, "a window of"),
        ({"signs": np.ones(3)}, "signs must be"),
        ({"match": "moments"}, "match must be"),
        ({"noise": 0.0}, "above 0"),
        ({"n_steps": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(recording, change, message):
    with pytest.raises(ValueError, match=message):
        short(**change).fit(recording.spikes)


def network(n=5, seed=0, size=1.0):
    """Weights, delays of whole and half bins, constants that rise after a spike."""
    rng = np.random.default_rng(seed)
    weights = size * rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.5)
    np.fill_diagonal(weights, np.nan)
    delays = STEP * rng.integers(2, 9, (n, n)) / 2
    constants = np.log([[0.001], [0.001], [0.02], [0.04]]) + 0.3 * rng.standard_normal(n)
    return weights, delays, constants, STEP * np.array([0, 1, 3, 6])


def run_by_loops(weights, delays, constants, classes, decay, kick, n_bins, rng):
    """The same model in plain Python, on the same uniform numbers."""
    n = len(weights)
    arriving, h, last = np.zeros((n_bins + 20, n)), np.zeros(n), np.full(n, -99)
    found = []
    for t in range(n_bins):
        h = decay * h + arriving[t]
        age = classes[np.minimum(t - last, len(classes) - 1)]
        mean = np.exp(constants[age, np.arange(n)] + h + kick * arriving[t])
        for j in range(n):
            uniform, cumulated, count = rng.random(), np.exp(-mean[j]), 0
            chance = cumulated
            while uniform > cumulated:
                count += 1
                chance *= mean[j] / count
                cumulated += chance
            found += [(j, t)] * count
            for i in range(n) if count else ():
                if i != j and weights[j, i]:
                    whole, part = divmod(delays[j, i] / STEP, 1)
                    jump = count * weights[j, i] / (1 + kick)
                    arriving[t + int(whole), i] += (1 - part) * jump
                    arriving[t + int(whole) + 1, i] += part * jump
            if count:
                h[j], last[j] = 0, t
    return sorted(found)


def test_a_free_run_is_that_of_plain_loops():
    weights, delays, constants, ages = network()
    classes = np.array([0, 1, 1, 2, 2, 2, 3])
    values = np.nan_to_num(weights), delays, constants, classes, np.exp(-1 / 5), 0.7
    expected = run_by_loops(*values, 3000, np.random.default_rng(4))
    found = free_run(
        weights, delays, constants, ages=ages, duration=2.0, decay_time=0.005, kick=0.7, seed=4
    )
    units = np.repeat(np.arange(5), found.n_spikes)
    bins = np.round(found.times / STEP - 0.5).astype(int) + 1000  # a second of settling
    assert list(zip(units, bins, strict=True)) == [x for x in expected if x[1] >= 1000]
    assert len(bins) > 100


def test_without_synapses_intervals_are_those_of_renewal():
    n, alone = 3, np.full((3, 3), np.nan)
    chance, dead = np.array([0.01, 0.02, 0.05]), 10
    constants = np.array([np.full(n, -50.0), np.log(chance)])
    found = free_run(
        alone, np.full((n, n), STEP), constants, ages=np.array([0, dead * STEP]), duration=400.0
    )
    seen = spike_statistics(found, 400.0)
    # from the tenth bin on each bin has a spike with probability p: dead - 1 bins, and 1 / p
    spiking = -np.expm1(-chance)
    mean = dead - 1 + 1 / spiking
    np.testing.assert_allclose(seen.rates, 1 / (mean * STEP), rtol=0.05)
    known = np.sqrt(1 - spiking) / spiking / mean
    np.testing.assert_allclose(seen.variation, known, rtol=0.05)
    assert min(np.diff(found.of(i))[np.diff(found.of(i)) > 0].min() for i in range(n)) >= 0.00999
    assert np.nanmax(np.abs(seen.correlations)) < 0.05


@pytest.fixture(scope="module")
def known():
    """Eight neurons with strong synapses, refractory for 2 ms, and four minutes of them."""
    rng = np.random.default_rng(3)
    n, ages = 8, STEP * np.array([0, 1, 2, 3, 5, 10, 20, 50])
    signs = np.where(np.arange(n) < 6, 1, -1)
    weights = np.where(rng.random((n, n)) < 0.25, 1.2, 0.0) * signs[:, None]
    np.fill_diagonal(weights, np.nan)
    constants = np.log(0.012) + 0.2 * rng.standard_normal((len(ages), n))
    constants[:3] -= 3
    parameters = weights, np.full((n, n), 0.003), constants
    return parameters, ages, free_run(*parameters, ages=ages, duration=240.0, seed=1)


def compared(first, second):
    """Largest relative difference of rates, of variation, and correlation of correlations."""
    a, b = (spike_statistics(x, 240.0) for x in (first, second))
    off = ~np.eye(len(a.rates), dtype=bool)
    alike = np.corrcoef(a.correlations[off], b.correlations[off])[0, 1]
    return np.abs(a.rates / b.rates - 1).max(), np.abs(a.variation - b.variation).max(), alike


def test_another_seed_has_other_spikes_and_the_same_statistics(known):
    parameters, ages, spikes = known
    again = free_run(*parameters, ages=ages, duration=240.0, seed=2)
    rates, variation, alike = compared(again, spikes)
    assert 0 < rates < 0.1
    assert variation < 0.08
    assert alike > 0.8
    same = free_run(*parameters, ages=ages, duration=240.0, seed=1)
    np.testing.assert_array_equal(same.times, spikes.times)


def test_a_network_fitted_to_a_free_run_has_its_weights_and_runs_like_it(known):
    (weights, _, _), ages, spikes = known
    model = SpikingNetwork().fit(spikes)
    assert len(model.constants_) == len(model.ages_)
    off = ~np.eye(len(weights), dtype=bool)
    assert np.corrcoef(model.weights_[off], weights[off])[0, 1] > 0.9
    assert synapse_auroc(model.scores_, np.nan_to_num(weights)) > 0.95
    rates, variation, alike = compared(rerun(model, 240.0, seed=2), spikes)
    assert rates < 0.2
    assert variation < 0.15
    assert alike > 0.7


def test_a_network_that_excites_itself_runs_away():
    weights, delays, constants, ages = network()
    with pytest.raises(FloatingPointError, match="runs away"):
        free_run(np.full((5, 5), 6.0), delays, constants + 4, ages=ages, duration=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delays": np.ones((4, 5))}, "source, target"),
        ({"delays": np.full((5, 5), 0.0004)}, "at least a step"),
        ({"constants": np.zeros((3, 5))}, "class of age"),
        ({"ages": STEP * np.array([1, 2, 3, 4])}, "from 0 on"),
        ({"duration": 0.0}, "above 0 s"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, message):
    names = ("weights", "delays", "constants", "ages")
    settings = dict(zip(names, network(), strict=True)) | {"duration": 1.0} | change
    with pytest.raises(ValueError, match=message):
        free_run(**settings)


def test_statistics_of_known_trains():
    regular = np.arange(0.05, 10, 0.1)
    spikes = SpikeTimes.from_lists([regular, regular, np.empty(0)])
    found = spike_statistics(spikes, 10.0, 0.15)
    np.testing.assert_allclose(found.rates, [10, 10, 0])
    np.testing.assert_allclose(found.variation[:2], 0, atol=1e-9)
    assert found.correlations[0, 1] == pytest.approx(1)
    assert np.isnan(found.correlations[2]).all()
    assert np.isnan(found.variation[2])
    with pytest.raises(ValueError, match="two bins"):
        spike_statistics(spikes, 0.1, 0.06)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_device_trains_as_the_processor_does(recording):
    here, there = (short(n_steps=3, device=d).fit(recording.spikes) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(there.history_, here.history_, rtol=0.05)
