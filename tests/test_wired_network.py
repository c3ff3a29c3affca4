"""Simulated networks of known wiring: what they promise, and how they look through calcium."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visualcortex.connectivity import BinnedSpikes, cross_correlograms, synapse_auroc
from visualcortex.recording import CalciumSpikes, Provenance, SpikeTrains
from visualcortex.simulators.indicator import INDICATORS, CalciumIndicator, time_constants
from visualcortex.simulators.integrate_and_fire import Leaky
from visualcortex.simulators.wired_network import (
    REGIMES,
    STEPS,
    WiredNetwork,
    build_circuit,
    draw_wiring,
    image_spikes,
)
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import (
    KnownWiring,
    known_wiring,
    observed,
    signs_to_types,
    spontaneous_trains,
)

KINDS = tuple(REGIMES)


@pytest.fixture(scope="module")
def networks():
    """Simulate every kind of network once."""
    return {
        kind: WiredNetwork(n_neurons=200, duration=40.0, neurons=kind[0], regime=kind[1]).simulate()
        for kind in KINDS
    }


def counts_of(recording, width):
    edges = np.arange(0, recording.truth.duration + width / 2, width)
    spikes = recording.spikes
    return np.array([np.histogram(spikes.of(i), edges)[0] for i in range(spikes.n_units)])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_recording_whose_wiring_obeys_dale(networks, kind):
    recording, truth = networks[kind], networks[kind].truth
    assert isinstance(recording, SpikeTrains)
    assert list(recording.neurons["cell_type"]) == list(truth.cell_type) == 160 * ["E"] + 40 * ["I"]
    assert (truth.weights[:160] >= 0).all()
    assert (truth.weights[160:] <= 0).all()
    np.testing.assert_array_equal(signs_to_types(truth.weights), truth.cell_type)
    assert not np.diagonal(truth.weights).any()
    assert truth.density == pytest.approx(0.1, abs=0.01)
    ms = np.unique(truth.delays[truth.weights != 0])
    np.testing.assert_array_equal(ms, np.arange(1, 4 + STEPS[kind[0]], STEPS[kind[0]]))
    sizes = np.log(truth.weights[truth.weights > 0])
    assert sizes.std() == pytest.approx(0.94, abs=0.05)
    inputs = 0.1 * 0.8 * 200
    mean = np.exp(sizes).mean() * np.sqrt(inputs)
    assert mean == pytest.approx(REGIMES[kind].coupling, rel=0.1)
    per_neuron = recording.responses.to_numpy().sum(axis=(0, 1))
    np.testing.assert_array_equal(per_neuron, recording.spikes.n_spikes)


def test_regimes_are_what_their_names_say(networks):
    for (_, regime), recording in networks.items():
        rate = recording.spikes.n_spikes.mean() / 40
        assert 0.5 < rate < 15
        counts = counts_of(recording, 0.05)
        counts = counts[counts.std(axis=1) > 0]
        correlation = np.corrcoef(counts)[~np.eye(len(counts), dtype=bool)].mean()
        together = (counts_of(recording, 0.01) > 0).mean(axis=0).max()
        if regime == "bursting":
            assert correlation > 0.3
            assert together > 0.4
        else:
            assert correlation < 0.03
            assert together < 0.25


def test_asynchronous_neurons_fire_irregularly(networks):
    spikes = networks["lif", "asynchronous"].spikes
    intervals = [np.diff(spikes.of(i)) for i in range(200)]
    variation = [gaps.std() / gaps.mean() for gaps in intervals if len(gaps) > 50]
    assert 0.8 < np.median(variation) < 1.1


def test_inhibition_balances_excitation(networks):
    recording = networks["lif", "asynchronous"]
    weights, rates = recording.truth.weights, recording.spikes.n_spikes / 40
    excitation, inhibition = (
        (np.where(sign * weights > 0, weights, 0).T @ rates) * 0.02 for sign in (1, -1)
    )  # mV: a jump decays within 20 ms
    assert (excitation.mean() > 1) & (inhibition.mean() < -1)
    assert abs(inhibition.mean()) > 1.2 * excitation.mean()
    assert (13 + excitation + inhibition).mean() < Leaky().threshold
    settings = WiredNetwork(n_neurons=200)
    weights, delays = draw_wiring(settings, np.random.default_rng(0))
    rates = []
    for part in (weights, np.maximum(weights, 0)):
        chip = build_circuit(settings, part, delays, np.random.default_rng(1))
        try:
            rates.append(len(chip.run(4000)[0]))
        except FloatingPointError:
            rates.append(np.inf)
    assert rates[1] > 1.5 * rates[0]


def test_wiring_shows_in_correlograms_and_not_in_those_of_another_network():
    recording = WiredNetwork(n_neurons=40, density=0.15, duration=300.0).simulate(1)
    binned = BinnedSpikes.from_times(recording.spikes, 0, 300)
    counted = cross_correlograms(binned, 50).astype(float)
    base = counted[:, :, 20:].mean(axis=2)
    scores = (counted[:, :, 1:8].mean(axis=2) - base) / np.sqrt(base)
    assert synapse_auroc(scores, recording.truth.weights) > 0.8
    assert synapse_auroc(scores.T, recording.truth.weights) < 0.65
    other = WiredNetwork(n_neurons=40, density=0.15, duration=1.0).simulate(2)
    assert synapse_auroc(scores, other.truth.weights) == pytest.approx(0.5, abs=0.12)


def test_the_seed_decides_all():
    settings = WiredNetwork(n_neurons=20, duration=5.0, shared=1.0)
    one, same, other = (settings.simulate(seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.spikes.times, same.spikes.times)
    np.testing.assert_array_equal(one.truth.weights, same.truth.weights)
    assert (one.truth.weights != other.truth.weights).any()
    longer = WiredNetwork(n_neurons=20, duration=7.0, shared=0.0)
    shorter = WiredNetwork(n_neurons=20, duration=5.0, shared=0.0)
    np.testing.assert_array_equal(
        longer.simulate(3).spikes.between(0, 5).times, shorter.simulate(3).spikes.times
    )


def test_shared_input_correlates_neurons_without_synapses():
    means = []
    for shared in (0.0, 3.0):
        settings = WiredNetwork(n_neurons=20, duration=60.0, strength=0.0, shared=shared)
        counts = counts_of(settings.simulate(), 0.1)
        means.append(np.corrcoef(counts)[~np.eye(20, dtype=bool)].mean())
    assert means[0] == pytest.approx(0, abs=0.02)
    assert means[1] > 0.1


@pytest.fixture(scope="module")
def recording():
    """Simulate a small network."""
    return WiredNetwork(n_neurons=12, duration=20.0).simulate()


class TestCalcium:
    @pytest.mark.parametrize("rate", [7.5, 10.0, 30.0])
    def test_frames_hold_the_same_spikes_at_every_rate(self, recording, rate):
        seen = image_spikes(recording, CalciumIndicator(frame_rate=rate))
        assert isinstance(seen, CalciumSpikes)
        assert seen.frame_rate == pytest.approx(rate)
        assert seen.traces.shape == (12, int(20 * rate))
        np.testing.assert_array_equal(seen.spikes.sum("time"), recording.spikes.n_spikes)
        assert list(seen.neurons["cell_type"]) == list(recording.truth.cell_type)
        assert "gcamp6f" in seen.provenance.source
        assert seen.truth.wiring is recording.truth

    def test_without_noise_it_is_the_sum_of_transients(self, recording):
        settings = CalciumIndicator(
            frame_rate=10, noise=0, drift=0, amplitude_spread=0, linear=True, indicator="gcamp6s"
        )
        seen = image_spikes(recording, settings)
        rise, decay = time_constants("gcamp6s")
        fine = np.arange(0, 20, 0.001) + 0.0005
        chosen = INDICATORS["gcamp6s"]

        def kernel(t):
            return np.where(t > 0, -np.expm1(-np.abs(t) / rise) * np.exp(-np.abs(t) / decay), 0)

        for i in range(12):
            calcium = sum(kernel(fine - s) for s in recording.spikes.of(i))
            expected = calcium / kernel(np.array(chosen.peak_time)) * chosen.amplitude
            expected = expected.reshape(200, 100).mean(axis=1)
            error = np.abs(seen.traces[i] - expected).max()
            assert error < 0.02 * chosen.amplitude * max(1, expected.max() / chosen.amplitude)

    def test_it_saturates_and_noise_is_as_said(self, recording):
        quiet = {"noise": 0, "drift": 0, "amplitude_spread": 0}
        bent = image_spikes(recording, CalciumIndicator(**quiet))
        noisy = image_spikes(recording, CalciumIndicator(**(quiet | {"noise": 0.02})), seed=1)
        error = (noisy.traces - bent.traces).to_numpy()
        assert error.std() == pytest.approx(0.02 * np.sqrt(50), rel=0.05)
        full = INDICATORS["gcamp6f"].dynamic_range
        assert bent.traces.max() < full

    def test_the_seed_is_of_amplitudes_and_noise(self, recording):
        one, same, other = (image_spikes(recording, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.traces, same.traces)
        assert (one.traces != other.traces).any()
        np.testing.assert_array_equal(one.spikes, other.spikes)


class TestObserved:
    """Some neurons of a network seen, the others hidden."""

    def test_the_truth_is_that_of_the_seen_pairs(self, recording):
        kept = [7, 2, 11]
        seen, whole = observed(recording, kept), recording.truth
        assert seen.truth.n_hidden == 9
        for i, source in enumerate(kept):
            np.testing.assert_array_equal(seen.spikes.of(i), recording.spikes.of(source))
            assert (
                seen.neurons["cell_type"][i] == seen.truth.cell_type[i] == whole.cell_type[source]
            )
            for j, target in enumerate(kept):
                assert seen.truth.weights[i, j] == whole.weights[source, target]
                assert seen.truth.delays[i, j] == whole.delays[source, target]
        np.testing.assert_array_equal(
            seen.responses.sum(("trial", "bin")), recording.responses.sum(("trial", "bin"))[kept]
        )
        assert seen.provenance.preprocessing[-1] == "3 of 12 neurons seen"

    def test_hidden_ones_add_up_and_a_mask_will_do(self, recording):
        mask = np.arange(12) % 2 == 0
        twice = observed(observed(recording, mask), [0, 1])
        assert (twice.n_neurons, twice.truth.n_hidden) == (2, 10)
        np.testing.assert_array_equal(twice.spikes.of(1), recording.spikes.of(2))
        assert image_spikes(twice).truth.wiring.n_hidden == 10

    @pytest.mark.parametrize(
        ("kept", "message"),
        [
            ([1], "two or more positions from 0 to 11"),
            ([1, 12], "from 0 to 11, or a mask of 12"),
            ([-1, 2], "two or more positions"),
            ([1.0, 2.0], "two or more positions"),
            (np.ones(3, bool), "a mask of 12 neurons"),
            ([1, 2, 1], "every neuron once"),
        ],
    )
    def test_what_is_no_choice_is_refused(self, recording, kept, message):
        with pytest.raises(ValueError, match=message):
            observed(recording, kept)

    def test_recordings_without_wiring_or_times_are_refused(self, recording):
        with pytest.raises(ValueError, match="truth must be a KnownWiring.*got NoneType"):
            observed(replace(recording, truth=None), [0, 1])
        with pytest.raises(ValueError, match="spikes must be the times"):
            observed(replace(recording, spikes=None), [0, 1])
        assert known_wiring(recording) is recording.truth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_neurons": 1}, "n_neurons must be a whole number, 2 or more; got 1"),
        ({"duration": 0}, "duration must be a number of s above 0; got 0"),
        ({"neurons": "hh"}, "neurons must be one of"),
        ({"regime": "epileptic"}, "regime must be one of"),
        ({"excitatory": 1.0}, "excitatory must be above 0 and below 1; got 1.0"),
        ({"density": 0.0}, "density must be"),
        ({"spread": -1.0}, "spread must be"),
        ({"delays": (0.5, 4.0)}, "delays must be the shortest and the longest, ms, from 1.0 on"),
        ({"delays": (4.0, 2.0)}, "delays must be"),
    ],
)
def test_settings_outside_their_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WiredNetwork(**change)
    with pytest.raises(ValueError, match="seed must be"):
        WiredNetwork().simulate(-1)


class TestKnownWiring:
    @pytest.fixture
    def parts(self):
        weights = np.array([[0, 2.0], [-1, 0]])
        return {
            "weights": weights,
            "delays": np.array([[0, 1.0], [2, 0]]),
            "cell_type": np.array(["E", "I"]),
            "unit": "mV",
            "duration": 2.5,
        }

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weights": np.zeros((3, 3))}, "weights must be finite, 2 x 2"),
            ({"weights": np.full((2, 2), np.nan)}, "weights must be finite"),
            ({"weights": np.eye(2)}, "0 on the diagonal"),
            ({"delays": np.zeros((2, 2))}, "delay of every synapse must be above 0 ms"),
            ({"delays": np.zeros(2)}, "delays must be finite, 2 x 2"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, parts, change, message):
        with pytest.raises(ValueError, match=message):
            KnownWiring(**(parts | change))

    def test_types_are_told_by_signs(self, parts):
        assert list(signs_to_types(parts["weights"])) == ["E", "I"]
        assert list(signs_to_types(np.zeros((2, 2)))) == ["unknown", "unknown"]
        mixed = np.array([[0, 1, -1], [0, 0, 0], [0, 0, 0]])
        with pytest.raises(ValueError, match="both signs in row 0"):
            signs_to_types(mixed)

    @pytest.mark.parametrize(
        ("units", "duration", "message"),
        [
            ([[0.5]], 2.5, "spikes must be of the 2 neurons of the wiring; got 1"),
            ([[0.5], [3.0]], 2.5, "spikes must be from 0 to 2.5 s; got 0.5 to 3"),
            ([[-0.5], []], 2.5, "spikes must be from 0 to 2.5 s"),
            ([[], []], 0.05, "duration must be 0.1 s or more"),
        ],
    )
    def test_spikes_that_do_not_fit_are_refused(self, parts, units, duration, message):
        wiring = KnownWiring(**(parts | {"duration": duration}))
        nobody = Provenance("someone", "", "none stated", "", {}, ())
        with pytest.raises(ValueError, match=message):
            spontaneous_trains(SpikeTimes.from_lists(units), wiring, nobody)

    def test_a_short_recording_is_one_trial_and_a_long_one_many(self, parts):
        nobody = Provenance("someone", "", "none stated", "", {}, ())
        units = SpikeTimes.from_lists([[0.05, 0.06, 2.45], [0.15]])
        for duration, shape in ((2.5, (1, 25, 2)), (25.0, (2, 100, 2))):
            wiring = KnownWiring(**(parts | {"duration": duration}))
            read = spontaneous_trains(units, wiring, nobody)
            assert read.responses.shape == shape
            assert read.responses[0, :2, 0].values.tolist() == [2, 0]
            assert read.responses[0, :25].sum() == 4
