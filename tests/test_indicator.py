"""Simulated indicators: published transients, known spikes, and streams that stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks

from visualcortex.catalogue import load
from visualcortex.recording import CalciumSpikes
from visualcortex.simulators import indicator
from visualcortex.simulators.indicator import (
    INDICATORS,
    CalciumIndicator,
    ar_coefficients,
    time_constants,
)
from visualcortex.spikes import SpikeTimes

QUIET = {"noise": 0.0, "drift": 0.0, "amplitude_spread": 0.0}
SMALL = {"n_neurons": 3, "duration": 20.0}


@pytest.fixture
def one_spike(monkeypatch):
    """Simulate one neuron that fires at these times, seen at 500 frames a second."""

    def simulate(times, **settings):
        train = np.array(times, dtype=float)
        monkeypatch.setattr(indicator, "_draw_spikes", lambda *_: (train,))
        settings = {"n_neurons": 1, "duration": 4.0, "frame_rate": 500.0} | QUIET | settings
        return CalciumIndicator(**settings).simulate(0)

    return simulate


class TestTransient:
    @pytest.mark.parametrize("linear", [True, False])
    @pytest.mark.parametrize("name", INDICATORS)
    def test_one_spike_has_the_published_amplitude_and_times(self, one_spike, name, linear):
        """Hill's equation bends a small transient little: its half decay comes somewhat sooner."""
        published = INDICATORS[name]
        recording = one_spike([1.0], indicator=name, linear=linear)
        trace, time = recording.traces.to_numpy()[0], recording.traces["time"].to_numpy() + 0.001
        peak = trace.argmax()
        assert trace[peak] == pytest.approx(published.amplitude, rel=0.01)
        assert time[peak] - 1 == pytest.approx(published.peak_time, abs=0.005)
        half = peak + np.flatnonzero(trace[peak:] < trace[peak] / 2)[0]
        tolerance = 0.02 if linear else 0.2
        assert time[half] - time[peak] == pytest.approx(published.half_decay, rel=tolerance)
        assert np.abs(trace[:499]).max() < 1e-12

    def test_calcium_follows_the_autoregressive_process(self, one_spike):
        """Between spikes c_t = g1 c_(t-1) + g2 c_(t-2), also after averaging over frames."""
        recording = one_spike([0.5], frame_rate=50.0, indicator="gcamp6s")
        c, (g1, g2) = recording.truth.calcium[0], recording.truth.coefficients
        np.testing.assert_allclose(c[30:], g1 * c[29:-1] + g2 * c[28:-2], atol=1e-12)
        np.testing.assert_allclose([g1, g2], ar_coefficients("gcamp6s", 50.0))

    def test_time_constants_solve_the_equations_of_the_kernel(self):
        for name, published in INDICATORS.items():
            rise, decay = time_constants(name)
            assert rise * np.log(1 + decay / rise) == pytest.approx(published.peak_time)
            t = published.peak_time + np.array([0, published.half_decay])
            ends = (1 - np.exp(-t / rise)) * np.exp(-t / decay)
            assert ends[1] / ends[0] == pytest.approx(0.5)

    def test_bursts_add_more_than_their_spikes_and_long_ones_saturate(self, one_spike):
        peaks = []
        for n in (1, 3, 3000):
            trace = one_spike(1 + np.arange(n) / 5000, indicator="gcamp6s").traces.to_numpy()[0]
            peaks.append(trace.max())
        assert peaks[1] > 3.3 * peaks[0]
        published = INDICATORS["gcamp6s"]
        dark = 1 + (published.dynamic_range - 1) * 50**2.9 / (50**2.9 + 144**2.9)
        assert peaks[2] < published.dynamic_range / dark - 1

    def test_a_linear_indicator_adds_up(self, one_spike):
        single = one_spike([1.0], linear=True).traces.to_numpy()
        twice = one_spike([1.0, 1.0], linear=True).traces.to_numpy()
        np.testing.assert_allclose(twice, 2 * single, atol=1e-12)


class TestSpikes:
    def test_rates_bursts_and_refractoriness_are_as_set(self):
        settings = {"n_neurons": 40, "duration": 200.0, "frame_rate": 10.0, "rate_spread": 0.0}
        recording = CalciumIndicator(**settings, modulation=0.5, burst=0.4).simulate(1)
        trains = recording.truth.spike_times
        intervals = np.concatenate([np.diff(t) for t in trains])
        assert intervals.min() >= 0.002
        assert np.mean([len(t) / 200 for t in trains]) == pytest.approx(5, rel=0.05)
        # a spike is followed at once with probability 0.4, plus the chance of another burst
        assert np.mean(intervals < 0.02) == pytest.approx(0.4, abs=0.06)

    def test_without_bursts_and_changes_spikes_are_poisson(self):
        settings = {"n_neurons": 30, "duration": 200.0, "rate_spread": 0.0, "frame_rate": 10.0}
        plain = {"modulation": 0.0, "burst": 0.0, "refractory": 0.0}
        recording = CalciumIndicator(**settings, **plain).simulate(2)
        counts = recording.spikes.to_numpy().reshape(30, 100, 20).sum(axis=2)
        assert counts.var() / counts.mean() == pytest.approx(1, abs=0.1)

    def test_every_spike_is_counted_in_its_frame(self):
        recording = CalciumIndicator(**SMALL).simulate(3)
        for train, counts in zip(recording.truth.spike_times, recording.spikes, strict=True):
            expected = np.bincount((train * 50).astype(int), minlength=1000)
            np.testing.assert_array_equal(counts, expected)


class TestStreams:
    def test_the_same_seed_gives_the_same_recording_and_another_does_not(self):
        first, second, other = (CalciumIndicator(**SMALL).simulate(s) for s in (4, 4, 5))
        np.testing.assert_array_equal(first.traces, second.traces)
        assert not np.array_equal(first.traces, other.traces)

    @pytest.mark.parametrize(
        "change", [{"frame_rate": 20.0}, {"noise": 0.1}, {"indicator": "gcamp6s"}, {"drift": 0.0}]
    )
    def test_spikes_are_the_same_whatever_the_microscope(self, change):
        first = CalciumIndicator(**SMALL).simulate(6)
        second = CalciumIndicator(**SMALL, **change).simulate(6)
        for one, two in zip(first.truth.spike_times, second.truth.spike_times, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_the_trace_is_the_sum_of_its_known_parts(self):
        recording = CalciumIndicator(n_neurons=4, duration=100.0).simulate(7)
        truth = recording.truth
        rest = recording.traces.to_numpy() - truth.clean - truth.drift
        np.testing.assert_allclose(rest.std(axis=1), truth.noise, rtol=0.05)
        assert truth.noise[0] == pytest.approx(0.009 * np.sqrt(50))
        lagged = (rest[:, 1:] * rest[:, :-1]).mean() / rest.var()
        assert abs(lagged) < 0.02

    def test_drift_has_its_size_and_is_slow(self):
        settings = CalciumIndicator(n_neurons=30, duration=400.0, frame_rate=2.0, drift_time=10.0)
        drift = settings.simulate(8).truth.drift
        assert drift.std() == pytest.approx(0.05, rel=0.15)
        assert np.diff(drift).std() < 0.15 * drift.std()


class TestObserve:
    """Spikes from elsewhere, seen through the same indicator."""

    def test_its_own_spikes_look_as_when_they_are_drawn(self):
        settings = CalciumIndicator(**SMALL, indicator="gcamp6s", frame_rate=12.0)
        drawn = settings.simulate(4)
        given = SpikeTimes.from_lists(drawn.truth.spike_times)
        seen = CalciumIndicator(indicator="gcamp6s", frame_rate=12.0, rate=99.0).observe(
            given, duration=20.0, seed=4
        )
        np.testing.assert_array_equal(seen.traces, drawn.traces)
        np.testing.assert_array_equal(seen.spikes, drawn.spikes)
        assert seen.truth.settings.n_neurons == 3
        assert seen.truth.settings.duration == pytest.approx(20.0)
        assert "spikes that are given" in seen.provenance.source

    def test_only_whole_frames_are_seen_and_only_their_spikes(self):
        given = SpikeTimes.from_lists([[0.5, 1.95, 3.0], [1.0]])
        seen = CalciumIndicator(frame_rate=10.0, duration=1.99).observe(given, cell_type=["E", "I"])
        assert seen.traces.shape == (2, 19)
        assert seen.spikes.sum("time").values.tolist() == [1, 1]
        assert list(seen.neurons["cell_type"]) == ["E", "I"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"duration": 0.03}, "2 frames or more"),
            ({"duration": 0.0}, "duration must be a number of s above 0"),
            ({"seed": -1}, "seed must be a whole number"),
            ({"cell_type": ["E"]}, "a word for each of 2 neurons; got 1"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            CalciumIndicator().observe(SpikeTimes.from_lists([[0.5], []]), **arguments)
        with pytest.raises(ValueError, match="n_neurons must be a whole number, 1 or more"):
            CalciumIndicator().observe(SpikeTimes.from_lists([]))


def test_the_catalogue_simulates_it():
    recording = load("simulated", simulator="calcium_indicator", seed=1, **SMALL)
    assert isinstance(recording, CalciumSpikes)
    assert recording.traces.shape == (3, 1000)
    assert recording.truth.settings == CalciumIndicator(**SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_neurons": 0}, "n_neurons must be a whole number, 1 or more"),
        ({"frame_rate": 0.0}, "frame_rate must be a number above 0"),
        ({"noise": -0.1}, "noise must be a number, 0 or more"),
        ({"burst": 1.0}, "burst must be a probability below 1"),
        ({"indicator": "gcamp"}, "indicator must be one of"),
        ({"linear": 1}, "linear must be True or False"),
        ({"duration": 0.01}, "2 frames or more; got 0.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CalciumIndicator(**settings)


def test_other_seeds_indicators_and_amplitudes_are_refused():
    with pytest.raises(ValueError, match="seed must be a whole number"):
        CalciumIndicator(**SMALL).simulate(-1)
    for function, arguments in ((time_constants, ()), (ar_coefficients, (50.0,))):
        with pytest.raises(ValueError, match="indicator must be one of"):
            function("ogb2", *arguments)
    with pytest.raises(ValueError, match="beyond the saturated indicator"):
        CalciumIndicator(**SMALL, amplitude_spread=20.0).simulate(1)


def test_traces_rise_where_the_spikes_are():
    recording = CalciumIndicator(n_neurons=1, duration=60.0, rate=0.3, modulation=0.0).simulate(9)
    trace, train = recording.truth.clean[0], recording.truth.spike_times[0]
    peaks = find_peaks(trace, height=0.1)[0] / 50
    assert all(np.min(np.abs(train - p + 0.045)) < 0.06 for p in peaks)
