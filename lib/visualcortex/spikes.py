"""Spike times of many units, and how many of them fall into each bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

BLOCK = 2**18  # counts that are filled at a time: 1 MiB, which stay in the processor's cache


@dataclass(frozen=True, eq=False, repr=False)
class SpikeTimes:
    """Times of the spikes of many units, in one array.

    Parameters
    ----------
    times
        Unit after unit, in order of time within each, in s, float64 ``(spike,)``.
    ends
        Where the spikes of each unit end in `times`, int64 ``(unit,)``; they start where those
        of the unit before end.

    Raises
    ------
    ValueError
        The lengths do not fit, or the times of a unit are not finite or not in order.
    """

    times: np.ndarray
    ends: np.ndarray

    def __post_init__(self) -> None:
        """Check the whole once, so that nothing below has to."""
        times = np.ascontiguousarray(self.times, np.float64)
        ends = np.ascontiguousarray(self.ends, np.int64)
        _check_ends(times, ends)
        _check_times(times, ends)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "ends", ends)

    @classmethod
    def from_lists(cls, units: Sequence[np.ndarray]) -> SpikeTimes:
        """Join the spike times of each unit, in s, in order of time.

        Raises
        ------
        ValueError
            The times of a unit are not finite or not in order.
        """
        parts = [np.asarray(unit, np.float64).ravel() for unit in units]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(np.concatenate([*parts, np.empty(0)]), ends)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.ends)

    @property
    def starts(self) -> np.ndarray:
        """Where the spikes of each unit start in `times`, int64 ``(unit,)``."""
        return np.concatenate([np.zeros(min(self.n_units, 1), np.int64), self.ends[:-1]])

    @property
    def n_spikes(self) -> np.ndarray:
        """Number of spikes of each unit, int64 ``(unit,)``."""
        return self.ends - self.starts

    def of(self, unit: int) -> np.ndarray:
        """Return the spike times of one unit in s, a view.

        Raises
        ------
        IndexError
            There is no such unit.
        """
        if not 0 <= unit < self.n_units:
            raise IndexError(f"unit must be from 0 to {self.n_units - 1}; got {unit}.")
        return self.times[self.starts[unit] : self.ends[unit]]

    def select(self, units: np.ndarray | Sequence[int]) -> SpikeTimes:
        """Return some units, by position or by a mask ``(unit,)``, in the order asked for.

        Raises
        ------
        IndexError
            There is no such unit, or the mask has another length.
        """
        index = np.asarray(units)
        chosen = np.arange(self.n_units)[index if index.size else index.astype(np.int64)]
        return SpikeTimes.from_lists([self.of(unit) for unit in chosen])

    def between(self, start: float, stop: float) -> SpikeTimes:
        """Return the spikes from `start` on and before `stop`, in s; times stay as they are."""
        pieces = []
        for unit in range(self.n_units):
            times = self.of(unit)
            first, last = np.searchsorted(times, (start, stop))
            pieces.append(times[first : max(first, last)])
        return SpikeTimes.from_lists(pieces)

    def jittered(self, spread: float, stop: float, rng: np.random.Generator) -> SpikeTimes:
        r"""Move every spike by a time of its own, as if its time were known so badly.

        .. math:: t' = t + \sigma \xi, \qquad \xi \sim N(0, 1),

        reflected at 0 and at `stop`, so that no spike is lost and rates stay. Correlations of two
        units are smoothed by a normal distribution of s.d. :math:`\sqrt{2} \sigma`.

        Parameters
        ----------
        spread
            :math:`\sigma`, s.d. of the move, s; with 0 the times stay as they are.
        stop
            End of the recording, s, which begins at 0.
        rng
            Source of the moves.

        Raises
        ------
        ValueError
            The spread is negative or none, or there are spikes outside the recording.
        """
        if not 0 <= spread < np.inf:
            raise ValueError(f"spread must be s.d. in s, 0 or more; got {spread}. Correct it.")
        times = self.times
        if len(times) and not (0 <= times.min() and times.max() < stop):
            raise ValueError(
                f"spikes must be from 0 to stop, {stop:g} s; got {times.min():g} to "
                f"{times.max():g}. Give the duration of the recording as stop."
            )
        moved = _reflected(times + spread * rng.standard_normal(len(times)), stop)
        units = np.repeat(np.arange(self.n_units), self.n_spikes)
        return SpikeTimes(moved[np.lexsort((moved, units))], self.ends)

    def __repr__(self) -> str:
        return f"<SpikeTimes: {len(self.times)} spikes of {self.n_units} units>"


def count_spikes(spikes: SpikeTimes, onsets: np.ndarray, edges: np.ndarray) -> np.ndarray:
    r"""Count the spikes of every unit in the bins of every presentation.

    .. math:: n_{p,b,u} = \#\{t \in T_u :
              \mathrm{onset}_p + \mathrm{edge}_b \le t < \mathrm{onset}_p + \mathrm{edge}_{b+1}\}

    A spike at an edge belongs to the bin that starts there. The sums are those of float64, so
    that counts equal those of `numpy.searchsorted` on the edges ``onset + edge``.

    Parameters
    ----------
    spikes
        Spike times in s.
    onsets
        Onset of each presentation in s ``(presentation,)``, in any order. Windows may overlap:
        a spike then counts in each.
    edges
        Edges of the bins in s from the onset ``(bin + 1,)``, increasing; they may be uneven.

    Returns
    -------
    numpy.ndarray
        Counts ``(presentation, bin, unit)``, float32: exact up to 16,777,216 spikes in a bin.

    Raises
    ------
    ValueError
        Onsets or edges are not finite, of another shape, or the edges do not increase.
    """
    onsets, edges = _check_windows(onsets, edges)
    order = np.argsort(onsets, kind="stable")
    # not np.zeros, whose small pages take longer to get than the counting takes
    counts = np.empty((len(onsets), len(edges) - 1, spikes.n_units), np.float32)
    per_block = max(1, BLOCK // max(1, counts[:1].size))
    next_spike = spikes.starts.copy()
    _count(spikes.times, next_spike, spikes.ends, onsets[order], order, edges, per_block, counts)
    return counts


def contiguous_counts(spikes: SpikeTimes, start: float, stop: float, width: float) -> np.ndarray:
    """Count the spikes of every unit in bins that follow each other without a gap.

    Parameters
    ----------
    spikes
        Spike times in s.
    start, stop
        From where to where, in s. What is left after the last whole bin is not counted.
    width
        Width of a bin in s; bin b starts at ``start + b * width``.

    Returns
    -------
    numpy.ndarray
        Counts ``(bin, unit)``, float32.

    Raises
    ------
    ValueError
        Times are not finite, or not one bin fits between `start` and `stop`.
    """
    whole = np.isfinite([start, stop, width]).all() and 0 < width <= stop - start
    if not whole:
        raise ValueError(
            f"start, stop and width must be in s and leave room for a bin; got {start}, {stop} "
            f"and {width}. Choose a shorter width, above 0, or a later stop."
        )
    n_bins = int(np.floor((stop - start) / width * (1 + 1e-12)))  # 0.3 / 0.1 is 2.9999999999999996
    return count_spikes(spikes, np.zeros(1), start + np.arange(n_bins + 1) * width)[0]


def _reflected(times: np.ndarray, stop: float) -> np.ndarray:
    """Fold times back into the recording at both of its ends, `stop` itself left out."""
    folded = stop - np.abs(np.mod(times, 2 * stop) - stop)
    inside = (times >= 0) & (times < stop)  # these stay as they are, to the last bit
    return np.where(inside, times, np.minimum(folded, np.nextafter(stop, 0)))


def _check_ends(times: np.ndarray, ends: np.ndarray) -> None:
    if times.ndim != 1 or ends.ndim != 1:
        raise ValueError(
            f"times must have shape (spike,) and ends (unit,); got {times.shape} and {ends.shape}. "
            f"Make them with SpikeTimes.from_lists."
        )
    last = ends[-1] if len(ends) else 0
    if last != len(times) or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError(
            f"ends must grow from unit to unit up to the number of spikes, {len(times)}; got "
            f"{last} at the end. Make them with SpikeTimes.from_lists."
        )


def _check_times(times: np.ndarray, ends: np.ndarray) -> None:
    fault = _first_fault(times, ends)
    if fault < 0:
        return
    unit = np.searchsorted(ends, fault, side="right")
    within = fault - (ends[unit - 1] if unit else 0)
    if not np.isfinite(times[fault]):
        raise ValueError(
            f"spike times must be finite, in s; spike {within} of unit {unit} is at "
            f"{times[fault]}. Drop that spike, or find out why its time is missing."
        )
    raise ValueError(
        f"the spike times of a unit must be in order; spike {within} of unit {unit} is at "
        f"{times[fault]} s, after one at {times[fault - 1]} s. Sort the times of each unit."
    )


def _check_windows(onsets: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    onsets = np.ascontiguousarray(onsets, np.float64)
    edges = np.ascontiguousarray(edges, np.float64)
    if onsets.ndim != 1 or not np.isfinite(onsets).all():
        raise ValueError(
            f"onsets must be finite times in s, shape (presentation,); got shape {onsets.shape}"
            f"{', with NaN or infinity' if onsets.ndim == 1 else ''}. Drop presentations without "
            f"a time."
        )
    rising = edges.ndim == 1 and len(edges) > 1 and (np.diff(edges) > 0).all()
    if not rising or not np.isfinite(edges).all():
        raise ValueError(
            f"edges must be at least two finite times in s that increase; got {edges}. "
            f"For example np.linspace(0, 0.25, 6)."
        )
    return onsets, edges


@numba.njit(cache=True, nogil=True)
def _first_fault(times: np.ndarray, ends: np.ndarray) -> int:
    """Return the position of the first time that is not finite or before the one before, or -1."""
    start = 0
    for unit in range(len(ends)):
        before = -np.inf
        for spike in range(start, ends[unit]):
            if not (before <= times[spike] < np.inf) or times[spike] == -np.inf:
                return spike
            before = times[spike]
        start = ends[unit]
    return -1


@numba.njit(cache=True, nogil=True)
def _first_from(times: np.ndarray, low: int, end: int, value: float) -> int:
    """Return the first position from `low` on whose time is not before `value`: near ones first."""
    step = 1
    while low < end and times[low] < value:  # all before `low` are before `value`
        ahead = low + step
        if ahead < end and times[ahead] < value:
            low = ahead
            step *= 2
        else:
            low += 1
            step = 1
    return low


@numba.njit(cache=True, nogil=True)
def _count(
    times: np.ndarray,
    next_spike: np.ndarray,
    ends: np.ndarray,
    onsets: np.ndarray,
    rows: np.ndarray,
    edges: np.ndarray,
    per_block: int,
    counts: np.ndarray,
) -> None:
    """Fill in `counts`: onsets in order, a few presentations at a time for all units."""
    n_presentations, n_units, n_bins = len(onsets), len(ends), len(edges) - 1
    per_second = n_bins / (edges[n_bins] - edges[0])
    for block in range(0, n_presentations, per_block):
        block_end = min(block + per_block, n_presentations)
        for p in range(block, block_end):
            counts[rows[p]] = 0
        for unit in range(n_units):
            first, end = next_spike[unit], ends[unit]
            for p in range(block, block_end):
                onset, row = onsets[p], rows[p]
                start, stop = onset + edges[0], onset + edges[n_bins]
                first = _first_from(times, first, end, start)
                spike = first
                while spike < end and times[spike] < stop:
                    time = times[spike]
                    # right for even bins but for rounding; the steps below make it exact
                    b = min(max(int((time - start) * per_second), 0), n_bins - 1)
                    while time < onset + edges[b]:
                        b -= 1
                    while time >= onset + edges[b + 1]:
                        b += 1
                    counts[row, b, unit] += 1
                    spike += 1
                if p + 1 < n_presentations and onsets[p + 1] + edges[0] >= stop:
                    first = spike  # else windows overlap, and spikes count again
            next_spike[unit] = first
