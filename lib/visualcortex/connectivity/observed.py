"""What all methods that look for wiring are given: spikes, or values in bins of one width."""

from __future__ import annotations

import numpy as np

from visualcortex.connectivity.correlograms import BinnedSpikes
from visualcortex.spikes import SpikeTimes, contiguous_counts

ROUNDING = 1e-6  # of a bin, by which a time may miss an edge that it is meant to be on


def observed_bins(
    activity: SpikeTimes | np.ndarray, step: float, start: float = 0.0, stop: float | None = None
) -> np.ndarray:
    r"""Values of all neurons in bins of one width, whatever came.

    .. math:: x_{t,i} = \#\{\text{spikes of } i \text{ in }
              [\mathrm{start} + t \Delta,\ \mathrm{start} + (t + 1) \Delta)\}

    of spikes, and of an array the rows whose bins lie within `start` and `stop`. Times that were
    rounded to edges of bins belong to the bins that start there.

    Parameters
    ----------
    activity
        Spike times in s; or an array ``(time, neuron)`` of counts or traces, the first row of
        which begins at 0 s.
    step
        Width :math:`\Delta` of a bin, or duration of a row, in s.
    start, stop
        From where to where, in s. What is left after the last whole bin is left out. By default
        to the end: that of the bin of the last spike, or of the array.

    Returns
    -------
    numpy.ndarray
        ``(time, neuron)``, float32: exact up to 16,777,216 spikes in a bin.

    Raises
    ------
    ValueError
        Fewer than two neurons, not one bin, values that are not finite, or times that make no
        sense.
    """
    start, stop = _checked_times(activity, step, start, stop)
    if isinstance(activity, SpikeTimes):
        early = ROUNDING * step
        return contiguous_counts(activity, start - early, stop - early, step)
    first = int(np.ceil(start / step - ROUNDING))
    last = int(np.floor(stop / step + ROUNDING))
    values = np.ascontiguousarray(activity[first:last], np.float32)
    if not np.isfinite(values).all():
        raise ValueError("activity must be finite; got NaN or infinity. Drop those rows.")
    return values


def observed_binned(
    activity: SpikeTimes | np.ndarray, step: float, start: float = 0.0, stop: float | None = None
) -> BinnedSpikes:
    """List the spikes in bins of one width, as one trial.

    Parameters
    ----------
    activity, step, start, stop
        As `observed_bins`; an array must hold counts.

    Returns
    -------
    BinnedSpikes
        In order of time.

    Raises
    ------
    ValueError
        As `observed_bins`, or an array of what are not counts.
    """
    if isinstance(activity, SpikeTimes):
        start, stop = _checked_times(activity, step, start, stop)
        early = ROUNDING * step
        return BinnedSpikes.from_times(activity, start - early, stop - early, step)
    return BinnedSpikes.from_trials(observed_bins(activity, step, start, stop)[None])


def _checked_times(
    activity: SpikeTimes | np.ndarray, step: float, start: float, stop: float | None
) -> tuple[float, float]:
    """Return `start` and `stop`, once both and the activity make sense."""
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"step must be a number of s above 0; got {step}. Choose 0.001, say.")
    end = _end(activity, step, start)
    stop = end if stop is None else stop
    if not (
        np.isfinite([start, stop]).all() and 0 <= start and step <= (stop - start) * (1 + ROUNDING)
    ):
        raise ValueError(
            f"start and stop must be in s, from 0 on, and leave room for a bin of {step} s; got "
            f"{start} and {stop}. Choose a later stop."
        )
    if not isinstance(activity, SpikeTimes) and stop > end + ROUNDING * step:
        raise ValueError(
            f"stop must be at most {end:g} s, where the {len(activity)} rows of {step} s end; got "
            f"{stop}. Choose an earlier stop, or the step of the rows."
        )
    return start, stop


def _end(activity: SpikeTimes | np.ndarray, step: float, start: float) -> float:
    """Return the end of the bin of the last spike, or of the last row, s."""
    if isinstance(activity, SpikeTimes):
        if activity.n_units < 2:
            raise ValueError(f"two neurons are needed at least; got {activity.n_units}.")
        last = activity.times.max() if len(activity.times) else start
        return start + (np.floor((last - start) / step) + 1) * step
    array = np.asarray(activity)
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"activity must be SpikeTimes or numbers (time, neuron), of two neurons or more; got "
            f"shape {array.shape} of {array.dtype}. Join trials, or transpose."
        )
    return len(array) * step
