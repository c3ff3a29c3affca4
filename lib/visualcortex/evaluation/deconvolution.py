"""How well the spikes of a neuron are inferred from its calcium: how many, and when.

Arrays are (neuron, frame), NaN at the end where a neuron was recorded for less long; times are in
seconds, one sorted array a neuron.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from visualcortex.evaluation.intervals import Interval, bootstrap


class EventMatch(NamedTuple):
    """Events that were found beside those that happened, of one neuron.

    Parameters
    ----------
    lags
        Found less true time of every matched pair, s, ``(matched,)``.
    n_true, n_found
        How many happened, and how many were found.
    """

    lags: np.ndarray
    n_true: int
    n_found: int

    @property
    def sensitivity(self) -> float:
        """Share of the events that were found; NaN if none happened."""
        return len(self.lags) / self.n_true if self.n_true else float("nan")

    @property
    def precision(self) -> float:
        """Share of what was found that happened; NaN if nothing was found."""
        return len(self.lags) / self.n_found if self.n_found else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision; NaN if there is neither event."""
        both = self.n_true + self.n_found
        return 2 * len(self.lags) / both if both else float("nan")

    @property
    def error_rate(self) -> float:
        """1 - F1, the error rate of Deneux and others (2016)."""
        return 1 - self.f1

    @property
    def n_false(self) -> int:
        """How many were found that did not happen."""
        return self.n_found - len(self.lags)


def spike_correlations(
    inferred: np.ndarray, spikes: np.ndarray, *, frames_per_bin: int = 1
) -> np.ndarray:
    r"""Pearson correlation of inferred activity and spike counts in bins, neuron by neuron.

    :math:`r_i = \mathrm{corr}_b(\sum_{t \in b} \hat s_{it}, \sum_{t \in b} n_{it})`, the score of
    Theis and others (2016) and of the spikefinder challenge (Berens and others 2018), there in bins
    of 40 ms. It does not see the scale of the inference, nor what is added to it.

    Bias: for few spikes it is noisy and, for an inference that says nothing, 0 on average; longer
    bins give higher values, so that only values of one width can be compared.

    Parameters
    ----------
    inferred : (n_neurons, n_frames) array
        Any unit; NaN at the end where there is nothing.
    spikes : (n_neurons, n_frames) array
        Spikes in each frame, NaN at the end.
    frames_per_bin : int
        Frames that are summed. Frames at the end that fill no bin are left out.

    Returns
    -------
    (n_neurons,) array
        NaN where one of the two never changes.

    Raises
    ------
    ValueError
        If shapes differ, or no two bins are left.
    """
    inferred, spikes = _checked_pair(inferred, spikes)
    return _correlations(*(_binned(x, frames_per_bin) for x in (inferred, spikes)))


def lagged_spike_correlations(
    inferred: np.ndarray, spikes: np.ndarray, max_lag: int, *, frames_per_bin: int = 1
) -> np.ndarray:
    """`spike_correlations` with the inference moved by whole bins.

    The entry of lag l compares what was inferred l bins after with the spikes: an inference that
    is late by l bins has its largest value there.

    Parameters
    ----------
    inferred, spikes, frames_per_bin
        As in `spike_correlations`.
    max_lag : int
        Largest lag, in bins.

    Returns
    -------
    (n_neurons, 2 * max_lag + 1) array
        Lags from -max_lag to max_lag.

    Raises
    ------
    ValueError
        As `spike_correlations`, or the lags leave no two bins.
    """
    pair = _checked_pair(inferred, spikes)
    x, n = (_binned(values, frames_per_bin) for values in pair)
    if max_lag < 0 or x.shape[1] < 2 * max_lag + 2:
        raise ValueError(
            f"max_lag must be from 0 to less than half of the {x.shape[1]} bins; got {max_lag}. "
            f"Choose shorter lags."
        )
    last = x.shape[1] - max_lag
    middle = n[:, max_lag:last]  # the same spikes for every lag
    lags = range(2 * max_lag + 1)
    return np.stack([_correlations(x[:, k : last - max_lag + k], middle) for k in lags], axis=1)


def shifted_spike_correlations(
    inferred: np.ndarray,
    spikes: np.ndarray,
    *,
    rng: np.random.Generator,
    n_shifts: int = 20,
    frames_per_bin: int = 1,
) -> np.ndarray:
    """`spike_correlations` of an inference that was turned round its recording: chance.

    The end is put before the beginning after a random cut in the middle half, which keeps all that
    each of the two has of its own, slow changes too, and breaks what they have in common.

    Parameters
    ----------
    inferred, spikes, frames_per_bin
        As in `spike_correlations`.
    rng : numpy.random.Generator
        Source of the cuts.
    n_shifts : int
        How many cuts.

    Returns
    -------
    (n_neurons, n_shifts) array

    Raises
    ------
    ValueError
        As `spike_correlations`, or no shift is asked for.
    """
    if n_shifts < 1:
        raise ValueError(f"n_shifts must be 1 or more; got {n_shifts}. Ask for one.")
    pair = _checked_pair(inferred, spikes)
    x, n = (_binned(values, frames_per_bin) for values in pair)
    found = np.empty((len(x), n_shifts))
    for row in range(len(x)):
        known = np.isfinite(x[row]) & np.isfinite(n[row])
        ours, theirs = x[row, known], n[row, known]
        cuts = rng.integers(len(ours) // 4, 3 * len(ours) // 4 + 1, size=n_shifts)
        turned = np.stack([np.roll(ours, cut) for cut in cuts])
        found[row] = _correlations(turned, np.broadcast_to(theirs, turned.shape))
    return found


def median_of_neurons(
    values: np.ndarray, *, rng: np.random.Generator, n_resamples: int = 1000
) -> Interval:
    """Median over neurons, with a bootstrap interval over neurons; NaN are left out.

    Parameters
    ----------
    values : (n_neurons,) array
        One number a neuron.
    rng : numpy.random.Generator
        Source of the resamples.
    n_resamples : int
        Number of resamples.

    Raises
    ------
    ValueError
        If no neuron has a value.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        raise ValueError("no neuron has a value: every one is NaN. Look at the inference.")
    return bootstrap(
        lambda rows: float(np.median(values[rows])), len(values), rng=rng, n_resamples=n_resamples
    )


def match_events(
    true: np.ndarray, found: np.ndarray, *, tolerance: float, offset: float = 0.0
) -> EventMatch:
    r"""Match found events to true ones, one to one, no pair further apart than the tolerance.

    The number of pairs is the largest that there can be: of events in order of time, the earliest
    that can be matched are matched.

    Bias: events so dense that one lies near every time are matched by chance; compare with the
    same events shifted. Lags are cut off at the tolerance, which makes their spread too small.

    Parameters
    ----------
    true, found : arrays
        Times in s, sorted.
    tolerance : float
        Largest distance of a pair, s.
    offset : float
        Time by which the found events are known to be late, s: taken off before matching, and
        not part of the lags.

    Returns
    -------
    EventMatch

    Raises
    ------
    ValueError
        If times are not sorted or not finite, or the tolerance is negative.
    """
    true, found = _checked_times(true, "true"), _checked_times(found, "found") - offset
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 s or more; got {tolerance}. Correct it.")
    lags, i, j = [], 0, 0
    while i < len(true) and j < len(found):
        lag = found[j] - true[i]
        if abs(lag) <= tolerance:
            lags.append(lag)
            i, j = i + 1, j + 1
        elif lag < 0:
            j += 1
        else:
            i += 1
    return EventMatch(np.array(lags), len(true), len(found))


def group_events(times: np.ndarray, *, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Join spikes that follow each other closely into events.

    Parameters
    ----------
    times : (n,) array
        Times of spikes in s, sorted.
    within : float
        Longest interval between two spikes of one event, s.

    Returns
    -------
    starts : (n_events,) array
        Time of the first spike of each event.
    sizes : (n_events,) array of int
        Spikes in each event.

    Raises
    ------
    ValueError
        If times are not sorted or not finite.
    """
    times = _checked_times(times, "times")
    first = np.flatnonzero(np.diff(times, prepend=-np.inf) > within)
    return times[first], np.diff(np.append(first, len(times)))


def isolated_lags(
    true: np.ndarray, found: np.ndarray, *, silence: float, window: float
) -> np.ndarray:
    """Lag of the nearest found event to every true event that stands alone.

    An event stands alone if no other is closer than `silence`. Where nothing was found within the
    window the lag is NaN: the event was missed.

    Bias: an event that was found for another reason counts too if it is nearest; the share of
    those is that of a random time with an event in its window.

    Parameters
    ----------
    true, found : arrays
        Times in s, sorted; of `group_events` for true events of several spikes.
    silence : float
        Least distance to the neighbours, s.
    window : float
        Largest distance of the found event, s; at most half of the silence, so that it cannot
        belong to another event.

    Returns
    -------
    (n_isolated,) array
        s, NaN where missed.

    Raises
    ------
    ValueError
        If times are not sorted, or the window is more than half of the silence.
    """
    true, found = _checked_times(true, "true"), _checked_times(found, "found")
    if not 0 < window <= silence / 2:
        raise ValueError(
            f"window must be above 0 and at most half of silence; got {window} and {silence} s. "
            f"Make it narrower."
        )
    gaps = np.diff(true, prepend=-np.inf, append=np.inf)
    alone = true[(gaps[:-1] >= silence) & (gaps[1:] >= silence)]
    if not len(found):
        return np.full(len(alone), np.nan)
    after = np.searchsorted(found, alone)
    around = found[np.clip([after - 1, after], 0, len(found) - 1)] - alone  # (2, events)
    lags = np.where(np.abs(around[0]) <= np.abs(around[1]), *around)
    return np.where(np.abs(lags) <= window, lags, np.nan)


def activity_onsets(inferred: np.ndarray, time: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Times at which inferred activity of one neuron comes above a threshold.

    Frames above it that follow each other are one event, at the time of the first.

    Parameters
    ----------
    inferred : (n_frames,) array
        Of one neuron; NaN is not above.
    time : (n_frames,) array
        Time of each frame, s.
    threshold : float
        In units of `inferred`.

    Raises
    ------
    ValueError
        If lengths differ.
    """
    inferred, time = np.asarray(inferred, dtype=float), np.asarray(time, dtype=float)
    if inferred.ndim != 1 or inferred.shape != time.shape:
        raise ValueError(
            f"need the activity of one neuron and a time for each frame; got {inferred.shape} and "
            f"{time.shape}. Take both from one recording."
        )
    with np.errstate(invalid="ignore"):
        above = inferred > threshold
    return time[above & ~np.append(False, above[:-1])]


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation row by row over the columns that both have, NaN where one is constant."""
    known = np.isfinite(x) & np.isfinite(y)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = []
    for values in (x, y):
        kept = np.where(known, values, 0.0)
        scale = np.abs(kept).max(axis=1, keepdims=True)
        kept = kept - np.where(known, kept.sum(axis=1, keepdims=True) / count, 0.0)
        # what rounding leaves of a constant is no change
        centred.append(np.where(np.abs(kept) > 1e-12 * scale, kept, 0.0))
    norms = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    product = (centred[0] * centred[1]).sum(axis=1)
    return np.divide(product, norms, out=np.full(len(x), np.nan), where=norms > 0)


def _binned(values: np.ndarray, frames_per_bin: int) -> np.ndarray:
    """Sum over the frames of each bin, (neuron, bin); NaN where one is."""
    n_bins = values.shape[1] // frames_per_bin if frames_per_bin >= 1 else 0
    if n_bins < 2:
        raise ValueError(
            f"frames_per_bin must leave two bins or more of {values.shape[1]} frames; got "
            f"{frames_per_bin}. Sum fewer."
        )
    return values[:, : n_bins * frames_per_bin].reshape(len(values), n_bins, -1).sum(axis=2)


def _checked_pair(inferred: np.ndarray, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as real numbers, or say which shapes do not fit."""
    pair = np.asarray(inferred, dtype=float), np.asarray(spikes, dtype=float)
    if pair[0].ndim != 2 or pair[0].shape != pair[1].shape:
        raise ValueError(
            f"need inferred activity and spikes (neuron, frame) of the same frames; got "
            f"{pair[0].shape} and {pair[1].shape}. Count spikes in the frames of the inference."
        )
    return pair


def _checked_times(times: np.ndarray, name: str) -> np.ndarray:
    """Return sorted, finite times, or say which are not."""
    times = np.asarray(times, dtype=float)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError(
            f"{name} must be finite times in order, (n,); got an array of shape {times.shape}, or "
            f"out of order. Sort them, neuron by neuron."
        )
    return times
