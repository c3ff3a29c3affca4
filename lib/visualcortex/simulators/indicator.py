"""Neurons whose spikes are known, seen through a calcium indicator that is slow and not linear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.signal import lfilter

from visualcortex.recording import CalciumSpikes, Provenance
from visualcortex.simulators.settings import check_choice, check_number, check_whole
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import KnownWiring

FINEST = 0.002  # s: the longest step in which calcium is followed
RATE_STEP = 0.01  # s: step of the rate at which bursts begin


class Indicator(NamedTuple):
    """One calcium indicator, in mouse visual cortex.

    Parameters
    ----------
    peak_time, half_decay
        Seconds from one spike to the peak of its transient, and from there to half of it.
    amplitude
        dF/F of one spike at its peak.
    affinity, hill, dynamic_range
        Calcium at which half of it is bound, nM; Hill exponent; fluorescence of the saturated over
        that of the empty indicator.
    """

    peak_time: float
    half_decay: float
    amplitude: float
    affinity: float
    hill: float
    dynamic_range: float


# Chen and others 2013: single spikes in V1, and the purified proteins.
INDICATORS = {
    "gcamp6f": Indicator(0.045, 0.142, 0.19, 375.0, 2.27, 51.8),
    "gcamp6s": Indicator(0.179, 0.550, 0.23, 144.0, 2.90, 63.2),
}


@dataclass(frozen=True, eq=False)
class IndicatorTruth:
    """What is known of simulated traces.

    Parameters
    ----------
    spike_times
        Seconds from the start, one sorted array a neuron.
    calcium
        Calcium above rest in units of the peak of one spike, mean of each frame,
        ``(neuron, frame)``: linear in the spikes.
    clean
        dF/F without noise and drift, ``(neuron, frame)``.
    drift
        Slow change of the baseline, dF/F ``(neuron, frame)``.
    noise
        S.d. of the noise of one frame, dF/F ``(neuron,)``.
    amplitude
        dF/F of one spike at its peak, ``(neuron,)``.
    coefficients
        Of the autoregressive process of second order that calcium follows from frame to frame,
        (g1, g2).
    settings
        The settings of the simulation.
    wiring
        Of the neurons, where they are a network of known wiring.
    """

    spike_times: tuple[np.ndarray, ...]
    calcium: np.ndarray
    clean: np.ndarray
    drift: np.ndarray
    noise: np.ndarray
    amplitude: np.ndarray
    coefficients: np.ndarray
    settings: CalciumIndicator
    wiring: KnownWiring | None = None


@dataclass(frozen=True, kw_only=True)
class CalciumIndicator:
    r"""Settings of simulated calcium traces of single neurons whose spikes are known.

    Bursts begin as a Poisson process whose rate goes up and down as a log-normal process of each
    neuron's own; a burst has :math:`1 + G` spikes, *G* geometric, and no two spikes are closer than
    the refractory time. A spike at time *u* adds

    .. math::

        k(t - u) \propto \left(1 - e^{-(t-u)/\tau_r}\right) e^{-(t-u)/\tau_d}

    of calcium, one at its peak, on top of a rest :math:`c_0`. The indicator binds it by Hill's
    equation,

    .. math::

        F = 1 + (R - 1) \frac{c^n}{c^n + K^n}, \qquad c = c_0 + s \sum_u k(t - u), \qquad
        \Delta F / F = F(c) / F(c_0) - 1,

    which first bends upwards and then saturates; the step *s* is such that one spike has the
    published amplitude. Frames average over their duration; noise is white and normal, and the
    baseline drifts slowly.

    Calibration: time to peak, half decay and amplitude of one spike in mouse visual cortex, and
    affinity, Hill exponent and dynamic range of the protein, from Chen and others (2013); rest
    50 nM, as in resting neurons. Noise, rates and length as in dataset 5 of the spikefinder
    challenge: the flat part of its spectra is .004 to .022, median .009, dF/F in one second of
    light, its rates are 2.6 to 12, median 5, a second. How bursty neurons are and how much they
    drift is a choice; slow modulation was set so that dF/F has about the range of those traces.
    Left out: neuropil, movement, bleaching, and that kinetics differ between neurons and change
    with calcium.

    Parameters
    ----------
    n_neurons, duration
        How many neurons, and for how many seconds.
    frame_rate
        Frames a second, Hz.
    indicator
        A name in `INDICATORS`.
    rate, rate_spread
        Median over neurons of the spikes a second, and the s.d. of its logarithm.
    modulation, modulation_time
        S.d. of the logarithm of the rate over time, and its time constant, s.
    burst, burst_interval
        Probability that a burst goes on after a spike, and the mean time to the next one beyond
        the refractory time, s.
    refractory
        Least time between two spikes, s.
    amplitude_spread
        S.d. over neurons of the logarithm of the amplitude of one spike.
    noise
        S.d. of the noise of one second of light, dF/F; a frame has ``noise * sqrt(frame_rate)``.
    drift, drift_time
        S.d. of the drift of the baseline, dF/F, and its time constant, s.
    rest
        Calcium at rest, nM.
    linear
        Whether dF/F is proportional to calcium instead, with the same amplitude of one spike.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    n_neurons: int = 20
    duration: float = 170.0
    frame_rate: float = 50.0
    indicator: str = "gcamp6f"
    rate: float = 5.0
    rate_spread: float = 0.5
    modulation: float = 1.0
    modulation_time: float = 0.7
    burst: float = 0.3
    burst_interval: float = 0.006
    refractory: float = 0.002
    amplitude_spread: float = 0.3
    noise: float = 0.009
    drift: float = 0.05
    drift_time: float = 20.0
    rest: float = 50.0
    linear: bool = False

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        check_whole("n_neurons", self.n_neurons, 1)
        above = ("duration", "frame_rate", "rate", "modulation_time", "drift_time", "rest")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in above:
                check_number(field.name, value, "a number above 0", 0)
            elif field.type == "float":
                check_number(field.name, value, "a number, 0 or more", 0, closed=True)
        check_number("burst", self.burst, "a probability below 1", 0, 1, closed=True)
        check_choice("indicator", self.indicator, tuple(INDICATORS))
        if not isinstance(self.linear, bool):
            raise ValueError(f"linear must be True or False; got {self.linear!r}. Correct it.")
        if self.duration * self.frame_rate < 2:
            raise ValueError(
                f"duration times frame_rate must be 2 frames or more; got "
                f"{self.duration * self.frame_rate:g}. Record for longer."
            )

    def simulate(self, seed: int = 0) -> CalciumSpikes:
        """Draw spikes and what the indicator shows of them.

        Spikes, amplitudes, drift and noise have random streams of their own: the same seed gives
        the same spikes whatever the indicator, the frame rate and the noise.

        Parameters
        ----------
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        CalciumSpikes
            dF/F and spike counts ``(neuron, time)``, with `IndicatorTruth` as its truth.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        times = _draw_spikes(self, _streams(seed)[0])
        return _image(
            self, SpikeTimes.from_lists(times), seed, "bursting neurons with known spikes"
        )

    def observe(
        self,
        spikes: SpikeTimes,
        *,
        duration: float | None = None,
        seed: int = 0,
        cell_type: Sequence[str] | np.ndarray | None = None,
    ) -> CalciumSpikes:
        """Show given spikes through the indicator, instead of spikes drawn by `simulate`.

        Amplitudes, drift and noise are those that `simulate` draws from the same seed.

        Parameters
        ----------
        spikes
            Of any number of neurons, in s; how many neurons the settings name and how they fire is
            of no account.
        duration
            Seconds that are seen, from 0 on; that of the settings by default. A frame that begins
            before the end and ends after it is left out.
        seed
            Seed of amplitudes, drift and noise, 0 or more.
        cell_type
            A word for each neuron, which goes into ``neurons``.

        Returns
        -------
        CalciumSpikes
            dF/F and spike counts ``(neuron, time)``, with `IndicatorTruth` as its truth; its
            settings name the neurons and the seconds that are seen.

        Raises
        ------
        ValueError
            Fewer than two frames, no neuron, other cell types, or a seed that is none.
        """
        check_whole("seed", seed, 0)
        seconds = self.duration if duration is None else duration
        check_number("duration", seconds, "a number of s above 0", 0)
        n_frames = int(np.floor(seconds * self.frame_rate * (1 + 1e-12)))
        settings = replace(self, n_neurons=spikes.n_units, duration=n_frames / self.frame_rate)
        seen = spikes.between(0.0, settings.duration)
        recording = _image(settings, seen, seed, "spikes that are given")
        return recording if cell_type is None else _typed(recording, cell_type)


def time_constants(indicator: str) -> tuple[float, float]:
    r"""Rise and decay of one spike's transient, :math:`\tau_r` and :math:`\tau_d` in s.

    The kernel of `CalciumIndicator` peaks at :math:`\tau_r \ln(1 + \tau_d/\tau_r)`; the two are
    solved for the published time to peak and half decay.

    Parameters
    ----------
    indicator
        A name in `INDICATORS`.

    Raises
    ------
    ValueError
        There is no such indicator.
    """
    check_choice("indicator", indicator, tuple(INDICATORS))
    chosen = INDICATORS[indicator]
    half = chosen.peak_time + chosen.half_decay

    def excess(decay: float) -> float:
        """How far the kernel is above half of its peak where it should be half."""
        rise = _rise(decay, chosen.peak_time)
        ends = _kernel(np.array([half, chosen.peak_time]), rise, decay)
        return ends[0] / ends[1] - 0.5

    decay = brentq(excess, chosen.half_decay / 2, 4 * chosen.half_decay)
    return _rise(decay, chosen.peak_time), decay


def ar_coefficients(indicator: str, frame_rate: float) -> np.ndarray:
    r"""Coefficients of the autoregressive process of second order of the same kernel, (2,).

    :math:`g_1 = a + b` and :math:`g_2 = -ab` with :math:`a = e^{-\Delta/\tau_d}` and
    :math:`b = e^{-\Delta(1/\tau_d + 1/\tau_r)}` for frames of :math:`\Delta` s.

    Raises
    ------
    ValueError
        There is no such indicator.
    """
    rise, decay = time_constants(indicator)
    a, b = np.exp(-np.array([1 / decay, 1 / decay + 1 / rise]) / frame_rate)
    return np.array([a + b, -a * b])


def _streams(seed: int) -> list[np.random.Generator]:
    """Return the random streams of spikes, of amplitudes, of drift and of noise."""
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]


def _image(settings: CalciumIndicator, spikes: SpikeTimes, seed: int, what: str) -> CalciumSpikes:
    """Draw what the indicator shows of the spikes of as many neurons as the settings name."""
    _, of_amplitudes, of_drift, of_noise = _streams(seed)
    times = tuple(spikes.of(i) for i in range(spikes.n_units))
    spread = settings.amplitude_spread * of_amplitudes.standard_normal(settings.n_neurons)
    amplitude = INDICATORS[settings.indicator].amplitude * np.exp(spread)
    calcium, clean = _respond(settings, times, amplitude)
    drift = _draw_drift(settings, clean.shape, of_drift)
    noise = np.full(settings.n_neurons, settings.noise * np.sqrt(settings.frame_rate))
    truth = IndicatorTruth(
        spike_times=times,
        calcium=calcium,
        clean=clean,
        drift=drift,
        noise=noise,
        amplitude=amplitude,
        coefficients=ar_coefficients(settings.indicator, settings.frame_rate),
        settings=settings,
    )
    traces = clean + drift + noise[:, None] * of_noise.standard_normal(clean.shape)
    return _package(settings, traces, truth, what)


def _typed(recording: CalciumSpikes, cell_type: Sequence[str] | np.ndarray) -> CalciumSpikes:
    """Name the type of every neuron."""
    if len(cell_type) != recording.n_neurons:
        raise ValueError(
            f"cell_type must have a word for each of {recording.n_neurons} neurons; got "
            f"{len(cell_type)}. Take them from the recording of the spikes."
        )
    return replace(recording, neurons=recording.neurons.assign(cell_type=np.asarray(cell_type)))


def _rise(decay: float, peak: float) -> float:
    """Time constant of the rise with which the kernel peaks there."""
    # the peak moves from 0 to the decay time as the rise goes from nothing to without bound
    return brentq(lambda rise: rise * np.log1p(decay / rise) - peak, 1e-9, 1e6)


def _kernel(t: np.ndarray, rise: float, decay: float) -> np.ndarray:
    return -np.expm1(-t / rise) * np.exp(-t / decay)


def _draw_spikes(settings: CalciumIndicator, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw the spike times of every neuron, s, neuron by neuron from a stream of its own."""
    rates = settings.rate * np.exp(settings.rate_spread * rng.standard_normal(settings.n_neurons))
    own = [np.random.default_rng(s) for s in rng.integers(2**63, size=len(rates))]
    return tuple(_draw_train(settings, rate, r) for rate, r in zip(rates, own, strict=True))


def _draw_train(settings: CalciumIndicator, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the spikes of one neuron: bursts at a rate that fluctuates, then refractoriness."""
    n = int(np.ceil(settings.duration / RATE_STEP))
    log_rate = settings.modulation * _autoregressive(n, RATE_STEP / settings.modulation_time, rng)
    log_rate -= settings.modulation**2 / 2  # so that the mean rate is the rate
    bursts = rng.poisson(rate * (1 - settings.burst) * np.exp(log_rate) * RATE_STEP)
    starts = (np.repeat(np.arange(n), bursts) + rng.random(bursts.sum())) * RATE_STEP
    sizes = rng.geometric(1 - settings.burst, size=len(starts))
    after = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    gaps = settings.refractory + settings.burst_interval * rng.exponential(size=len(after))
    gaps[after == 0] = 0.0
    elapsed = np.cumsum(gaps)
    since = elapsed - np.repeat(elapsed[after == 0], sizes)
    times = np.sort(np.repeat(starts, sizes) + since)
    apart = np.diff(times, prepend=-np.inf) >= settings.refractory
    return times[apart & (times < settings.duration)]


def _autoregressive(n: int, step: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a stationary process of unit variance that forgets at this rate a sample, (n,)."""
    keep = np.exp(-step)
    drawn = rng.standard_normal(n)
    drawn[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], drawn)


def _respond(
    settings: CalciumIndicator, times: tuple[np.ndarray, ...], amplitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Calcium in units of a spike, and dF/F, means of every frame, each ``(neuron, frame)``."""
    n_frames = int(round(settings.duration * settings.frame_rate))
    parts = int(np.ceil(1 / (settings.frame_rate * FINEST)))
    step = 1 / (settings.frame_rate * parts)
    rise, decay = time_constants(settings.indicator)
    a, b = np.exp(-step / decay), np.exp(-step * (1 / decay + 1 / rise))
    height = _kernel(np.array(INDICATORS[settings.indicator].peak_time), rise, decay)
    calcium, clean = np.empty((2, len(times), n_frames))
    for row, (train, size) in enumerate(zip(times, amplitude, strict=True)):
        counts = np.bincount((train / step).astype(int), minlength=n_frames * parts)
        fine = lfilter([0.0, a - b], [1.0, -(a + b), a * b], counts[: n_frames * parts]) / height
        calcium[row] = fine.reshape(n_frames, parts).mean(axis=1)
        clean[row] = _fluorescence(settings, fine, size).reshape(n_frames, parts).mean(axis=1)
    return calcium, clean


def _fluorescence(settings: CalciumIndicator, calcium: np.ndarray, amplitude: float) -> np.ndarray:
    """dF/F of calcium in units of one spike, whose amplitude is given."""
    if settings.linear:
        return amplitude * calcium
    chosen, rest = INDICATORS[settings.indicator], settings.rest

    def brightness(level: np.ndarray | float) -> np.ndarray | float:
        """F over that of the empty indicator at this level of calcium, nM."""
        bound = level**chosen.hill
        return 1 + (chosen.dynamic_range - 1) * bound / (bound + chosen.affinity**chosen.hill)

    dark = brightness(rest)
    bound = ((1 + amplitude) * dark - 1) / (chosen.dynamic_range - 1)
    if bound >= 1:
        raise ValueError(
            f"one spike cannot have an amplitude of {amplitude:.2f} dF/F, beyond the saturated "
            f"indicator. Lower amplitude_spread."
        )
    peak = chosen.affinity * (bound / (1 - bound)) ** (1 / chosen.hill)
    return brightness(rest + (peak - rest) * calcium) / dark - 1


def _draw_drift(
    settings: CalciumIndicator, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Draw the drift of every baseline, dF/F ``(neuron, frame)``."""
    step = 1 / (settings.frame_rate * settings.drift_time)
    drawn = [_smooth(shape[1], step, rng) for _ in range(shape[0])]
    return settings.drift * np.array(drawn)


def _smooth(n: int, step: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a sum of eight slow sine waves of unit variance, (n,): smooth at the scale of frames."""
    frequencies = rng.rayleigh(step, size=(8, 1))  # radians a sample
    phases = 2 * np.pi * rng.random((8, 1))
    return np.sqrt(2 / 8) * np.sin(frequencies * np.arange(n) + phases).sum(axis=0)


def _package(
    settings: CalciumIndicator, traces: np.ndarray, truth: IndicatorTruth, what: str
) -> CalciumSpikes:
    """Count the spikes of every frame and wrap all up as a recording."""
    edges = np.arange(traces.shape[1] + 1) / settings.frame_rate
    counts = np.stack([np.histogram(train, edges)[0] for train in truth.spike_times]).astype(float)
    coords = {"time": edges[:-1]}
    named = [
        xr.DataArray(values, dims=("neuron", "time"), coords=coords, attrs=attrs)
        for values, attrs in (
            (traces, {"quantity": "dF/F", "units": "1"}),
            (counts, {"quantity": "spikes", "units": "count per frame"}),
        )
    ]
    return CalciumSpikes(
        traces=named[0],
        spikes=named[1],
        neurons=pd.DataFrame(index=pd.RangeIndex(settings.n_neurons, name="neuron")),
        provenance=Provenance(
            source=f"simulated {settings.indicator}: {what}",
            citation="",
            licence="MIT",
            url="",
            sha256={},
            preprocessing=("none: the traces are as the simulated microscope sees them",),
        ),
        truth=truth,
    )
