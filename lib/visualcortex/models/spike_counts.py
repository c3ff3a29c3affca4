"""Counts of spikes a frame from calcium, and the decay, noise and size of a spike in it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter
from scipy.special import gammaln

FARTHEST = 10.0  # nats below the best at which a history is given up
ALIKE = 0.004  # spikes: histories whose calcium differs by less are one
BEYOND = 6.0  # s.d. above the mean of the largest count, if it is not given
N_BANDS = 60  # of the spectrum that decay and noise are read from
SLOWEST = 0.2  # Hz: below, drift of the baseline and slow rates of the network would be decay
DECAYS = (0.02, 10.0)  # s, the shortest and longest that are looked for
PASSES = 12  # of the reweighted fit of a spectrum
RATES = tuple(np.geomspace(0.4, 40.0, 14).tolist())  # spikes a second that are tried
FRAMES_TRIED = 1200  # of each neuron, for its amplitude
REFINED = 4  # times that amplitude and baseline are fitted to counts


class Kinetics(NamedTuple):
    """What the spectrum of calcium says of its indicator.

    Parameters
    ----------
    decay
        Time constant, s, the same for all neurons.
    noise
        S.d. of the white noise of a frame, in units of the trace, ``(neuron,)``.
    power
        Variance of what spikes add in a frame, in squared units, ``(neuron,)``.
    """

    decay: float
    noise: np.ndarray
    power: np.ndarray


def estimate_kinetics(
    traces: np.ndarray, frame_rate: float, *, decay: float | None = None
) -> Kinetics:
    r"""Estimate decay and noise from the power spectra of calcium.

    .. math:: P_i(f) = \frac{v_i}{|1 - g\, e^{-2 \pi i f / r}|^2} + \sigma_i^2, \qquad
              g = e^{-1 / (r \tau)}

    for spikes that are independent from frame to frame and frames at rate *r*: *v* and
    :math:`\sigma` of each neuron and one :math:`\tau` for all maximise Whittle's likelihood, in 60
    bands above 0.2 Hz.

    Bias: spikes more regular than chance have less power at low frequencies, which shortens the
    decay, and bursts lengthen it; a rise time counts as less noise. Drift within 0.2 Hz does not
    matter.

    Parameters
    ----------
    traces
        ``(time, neuron)``, finite.
    frame_rate
        Hz.
    decay
        :math:`\tau`, s, if it is known.

    Returns
    -------
    Kinetics
        In units of the traces.

    Raises
    ------
    ValueError
        Wrong shape or values, or fewer frames than the bands need.
    """
    traces = _checked_traces(traces, 4)
    if not (np.isfinite(frame_rate) and frame_rate > 0) or not (decay is None or decay > 0):
        raise ValueError(
            f"frame_rate must be above 0 Hz and decay above 0 s or None; got {frame_rate} and "
            f"{decay}. Decay is in s, not a factor a frame."
        )
    frequency, power = _banded_power(traces, frame_rate)
    if decay is None:
        low, high = np.log(DECAYS)
        found = minimize_scalar(
            lambda log: _split_power(power, _shape(frequency, frame_rate, math.exp(log)))[2],
            bounds=(low, high),
            method="bounded",
        )
        decay = math.exp(found.x)
    spikes, noise, _ = _split_power(power, _shape(frequency, frame_rate, decay))
    return Kinetics(float(decay), np.sqrt(noise), spikes)


def _banded_power(traces: np.ndarray, frame_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz, (band,), and mean power in bands of equal width, (band, neuron)."""
    n_time = len(traces)
    # the ends must meet, or their step leaks into all frequencies of slow traces
    line = np.linspace(0, 1, n_time)[:, None] * (traces[-1] - traces[0])
    power = np.abs(np.fft.rfft(traces - traces.mean(axis=0) - line, axis=0)) ** 2 / n_time
    frequency = np.fft.rfftfreq(n_time, 1 / frame_rate)
    first = max(int(np.searchsorted(frequency, min(SLOWEST, frame_rate / 10))), 1)
    n_bands = min(N_BANDS, len(frequency) - first)
    if n_bands < 4:
        raise ValueError(
            f"decay and noise need more frames; got {n_time} at {frame_rate:g} Hz. Record for "
            f"longer, or pass all of decay, noise, amplitude and baseline."
        )
    starts = np.linspace(first, len(frequency), n_bands + 1).astype(int)[:-1]
    sizes = np.diff(np.append(starts, len(frequency)))
    mean = np.add.reduceat(power, starts, axis=0) / sizes[:, None]
    return frequency[starts] + (sizes - 1) / 2 * frequency[1], mean


def _shape(frequency: np.ndarray, frame_rate: float, decay: float) -> np.ndarray:
    """Power of calcium of one spike a frame, (band,)."""
    keep = math.exp(-1 / (frame_rate * decay))
    return 1 / np.abs(1 - keep * np.exp(-2j * np.pi * frequency / frame_rate)) ** 2


def _split_power(power: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Power of spikes and of noise, (neuron,), and how badly they fit (nats a frequency)."""
    design = np.stack([shape, np.ones_like(shape)])
    least = 1e-9 * power.mean(axis=0) + 1e-300
    parts = np.stack([np.median(power / shape[:, None], axis=0), power[-5:].mean(axis=0) / 2])
    for _ in range(PASSES):  # multiplicative steps, which keep both above 0
        predicted = design.T @ parts + least
        parts = parts * (design @ (power / predicted**2)) / (design @ (1 / predicted))
    predicted = design.T @ parts + least
    return parts[0], parts[1], float((np.log(predicted) + power / predicted).sum())


def count_spikes(
    traces: np.ndarray,
    frame_rate: float,
    *,
    decay: float | None = None,
    noise: ArrayLike | None = None,
    amplitude: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    most: int | None = None,
    n_histories: int = 12,
    memory: int = 8,
) -> np.ndarray:
    r"""Expected spikes of each frame, given that spikes are whole and alike.

    .. math::

        y_t = \beta + a\, c_t + \sigma \varepsilon_t, \qquad c_t = g\, c_{t-1} + s_t, \qquad
        s_t \sim \mathrm{Poisson}(\lambda), \qquad g = e^{-1 / (r \tau)},

    with :math:`\lambda` from the mean of the trace. Histories of counts are followed frame by
    frame; those whose calcium is alike are merged, and only the most probable are kept (a beam).
    The result is the mean of :math:`s_t` given the trace up to `memory - 1` frames later. That
    spikes are whole takes away most of the noise that a linear filter leaves: what is known of
    calcium is passed on without loss.

    What is not given is estimated: decay and noise by `estimate_kinetics`; amplitude and baseline
    as those with which the first 1,200 frames are the most probable, among such that explain the
    trace's mean and power by Poisson spikes at 0.4 to 40 a second, and then by regression of the
    trace on the counts that are found.

    Bias: of a wrong amplitude, decay or baseline. Towards :math:`\lambda` where the trace does not
    tell. Merged histories keep the counts of the more probable one. An indicator that rises slowly,
    saturates or drifts is not of this kind: see `visualcortex.models.deconvolution.deconvolve`.

    Parameters
    ----------
    traces
        ``(time, neuron)``, finite.
    frame_rate
        *r*, Hz.
    decay
        :math:`\tau`, s.
    noise, amplitude, baseline
        :math:`\sigma` > 0, a > 0 and :math:`\beta`, in units of the trace; a number or
        ``(neuron,)``.
    most
        Largest count of a frame.
    n_histories
        Histories that are kept.
    memory
        Frames, at least 1.

    Returns
    -------
    numpy.ndarray
        ``(time, neuron)``, float64.

    Raises
    ------
    ValueError
        If an array has the wrong shape or values.
    """
    if memory < 1 or n_histories < 1 or (most is not None and most < 1):
        raise ValueError(
            f"memory, n_histories and most must be at least 1; got {memory}, {n_histories}, {most}."
        )
    traces = _checked_traces(traces, memory)
    given = (decay, noise, amplitude, baseline)
    keep, sd, size, base = _indicator(traces, frame_rate, given)
    counts = np.empty_like(traces)
    for k in range(traces.shape[1]):
        counts[:, k] = _count(
            traces[:, k], keep, (sd[k], size[k], base[k]), (most, n_histories, memory)
        )[0]
    return counts


def _checked_traces(traces: np.ndarray, least: int) -> np.ndarray:
    """Return traces in float64."""
    traces = np.asarray(traces, dtype=float)
    if traces.ndim != 2 or not np.isfinite(traces).all() or len(traces) < least:
        raise ValueError(
            f"traces must be finite, (time, neuron), with at least {least} frames; got shape "
            f"{traces.shape}. Cut off what is not finite, or transpose."
        )
    return traces


def _indicator(
    traces: np.ndarray, frame_rate: float, given: tuple[ArrayLike | None, ...]
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Decay a frame; noise, amplitude and baseline of each neuron, given or estimated."""
    n, (decay, noise, amplitude, baseline) = traces.shape[1], given
    if not (np.isfinite(frame_rate) and frame_rate > 0) or not (decay is None or decay > 0):
        raise ValueError(
            f"frame_rate must be above 0 Hz and decay above 0 s or None; got {frame_rate} and "
            f"{decay}. Decay is in s, not a factor a frame."
        )
    sd, size, base = (_each(value, n) for value in (noise, amplitude, baseline))
    if not ((sd > 0) | np.isnan(sd)).all() or not ((size > 0) | np.isnan(size)).all():
        raise ValueError(
            f"noise and amplitude must be above 0; got {noise!r} and {amplitude!r}. Leave them out "
            f"to have them estimated."
        )
    if decay is not None and not np.isnan([sd, size, base]).any():
        known = Kinetics(decay, sd, sd)
    else:
        known = estimate_kinetics(traces, frame_rate, decay=decay)
    keep = math.exp(-1 / (frame_rate * known.decay))
    sd = np.where(np.isnan(sd), np.maximum(known.noise, 1e-6 * traces.std(axis=0)), sd)
    rates = np.array(RATES) / frame_rate
    for k in np.flatnonzero(np.isnan(size) | np.isnan(base)):
        part, found = traces[:FRAMES_TRIED, k], (size[k], base[k])
        size[k], base[k] = _best_size(part, keep, sd[k], found, known.power[k], rates)
    return keep, sd, size, base


def _best_size(
    trace: np.ndarray,
    keep: float,
    sd: float,
    given: tuple[float, float],
    power: float,
    rates: np.ndarray,
) -> tuple[float, float]:
    """Amplitude and baseline that make a trace most probable; what is given stays."""
    sizes = np.sqrt(power / rates) if np.isnan(given[0]) else np.array(given[:1])
    bases = trace.mean() - power / (sizes * (1 - keep))
    bases = bases if np.isnan(given[1]) else np.full(len(sizes), given[1])
    tries = [(sd, *pair) for pair in zip(sizes, bases, strict=True)]
    beam = (None, 8, 1)
    _, size, base = max(tries, key=lambda t: _count(trace, keep, t, beam)[1])
    for _ in range(REFINED):
        counts, _ = _count(trace, keep, (sd, size, base), (None, 8, 8))
        size, base = _regress(trace, keep, counts, given, (size, base))
    return size, base


def _regress(
    trace: np.ndarray,
    keep: float,
    counts: np.ndarray,
    given: tuple[float, float],
    now: tuple[float, float],
) -> tuple[float, float]:
    """Amplitude and baseline by least squares from counts; what is given stays."""
    start = keep ** np.arange(len(trace))  # calcium of spikes before the first frame
    calcium = lfilter([1.0], [1.0, -keep], counts)
    columns = [calcium, np.ones(len(trace)), start]
    fixed = sum(g * c for g, c in zip(given, columns, strict=False) if not np.isnan(g))
    free = [k for k in range(3) if k == 2 or np.isnan(given[k])]
    found = np.linalg.lstsq(np.stack([columns[k] for k in free], 1), trace - fixed, rcond=None)[0]
    values = dict(zip(free, found, strict=True))
    size, base = (float(values.get(k, given[k])) for k in range(2))
    return (size, base) if size > now[0] / 2 else now


def _count(
    trace: np.ndarray,
    keep: float,
    indicator: tuple[float, float, float],
    beam: tuple[int | None, int, int],
) -> tuple[np.ndarray, float]:
    """Expected counts of one trace, and its log probability but for a constant."""
    (sd, size, base), (most, n_histories, memory) = indicator, beam
    scaled = np.ascontiguousarray((trace - base) / size)
    rate = max(scaled.mean() * (1 - keep), 1 / len(scaled))
    return _follow(scaled, keep, sd / size, _log_poisson(rate, most), n_histories, memory)


def _each(value: ArrayLike | None, n: int) -> np.ndarray:
    """One value a neuron, NaN for None."""
    values = np.asarray(np.nan if value is None else value, dtype=float)
    if values.shape not in ((), (n,)) or not (value is None or np.isfinite(values).all()):
        raise ValueError(
            f"noise, amplitude and baseline must be finite, a number or one for each of {n} "
            f"neurons; got {value!r}. Leave them out to have them estimated."
        )
    return np.broadcast_to(values, (n,)).copy()


def _log_poisson(rate: float, most: int | None) -> np.ndarray:
    """Log probabilities of 0 to the largest count."""
    last = most or math.ceil(rate + BEYOND * math.sqrt(rate) + 1)
    k = np.arange(last + 1)
    return k * math.log(rate) - rate - gammaln(k + 1)


@numba.njit(cache=True, nogil=True)
def _follow(trace, keep, noise, prior, n_histories, memory):  # pragma: no cover
    """Expected counts of one trace in units of spikes, (n_frames,), and its log probability."""
    n_frames, n = len(trace), n_histories
    counts, total = np.zeros(n_frames), -math.log(n_histories)
    calcium, weight = np.zeros((2, n_histories)), np.zeros((2, n_histories))
    past = np.zeros((2, n_histories, memory), np.int16)
    tried, value = np.zeros(n_histories * len(prior)), np.zeros(n_histories * len(prior))
    for a in range(n):  # calcium of spikes before the first frame is not known
        calcium[0, a] = 2 * max(trace[0], 0.1) * a / n
    for t in range(n_frames):
        old, new = t % 2, 1 - t % 2
        _extend(trace[t], keep, noise, prior, calcium[old, :n], weight[old], tried, value)
        best, n = _prune(
            tried,
            value,
            n * len(prior),
            len(prior),
            calcium[new],
            weight[new],
            past,
            old,
            t % memory,
        )
        total += best
        if t >= memory - 1:
            counts[t - memory + 1] = _mean(past[new], weight[new], n, (t + 1) % memory)
    last = n_frames % 2
    for t in range(n_frames - memory + 1, n_frames):
        counts[t] = _mean(past[last], weight[last], n, t % memory)
    return counts, total + math.log(np.exp(weight[last, :n]).sum())


@numba.njit(cache=True, nogil=True)
def _extend(seen, keep, noise, prior, calcium, weight, tried, value):  # pragma: no cover
    """Write calcium and log probability of each history with each count of the next frame."""
    n_counts = len(prior)
    for a in range(len(calcium)):
        for k in range(n_counts):
            at = a * n_counts + k
            tried[at] = keep * calcium[a] + k
            value[at] = weight[a] + prior[k] - 0.5 * ((seen - tried[at]) / noise) ** 2


@numba.njit(cache=True, nogil=True)
def _prune(tried, value, n_tried, n_counts, calcium, weight, past, old, place):  # pragma: no cover
    """Merge histories that are alike and keep the best; log probability of the first, and how many.

    Weights are relative to that of the first.
    """
    order = np.argsort(-value[:n_tried])
    best, kept, most = value[order[0]], 0, len(calcium)
    for at in order:
        if value[at] < best - FARTHEST:
            break
        same = -1
        for b in range(kept):
            if abs(calcium[b] - tried[at]) < ALIKE:
                same = b
                break
        if same >= 0:
            weight[same] = np.logaddexp(weight[same], value[at] - best)
        elif kept < most:
            calcium[kept], weight[kept] = tried[at], value[at] - best
            past[1 - old, kept] = past[old, at // n_counts]
            past[1 - old, kept, place] = at % n_counts
            kept += 1
    return best, kept


@numba.njit(cache=True, nogil=True)
def _mean(past, weight, n, place):  # pragma: no cover
    """Mean over histories of the count at one place of their memory."""
    total, mean = 0.0, 0.0
    for a in range(n):
        share = math.exp(weight[a])
        total += share
        mean += share * past[a, place]
    return mean / total
