"""Wiring by correlation, by partial correlation, and by that of filtered fluorescence."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from scipy.ndimage import correlate1d
from sklearn.base import BaseEstimator

from visualcortex.connectivity.correlogram_peaks import source_signs
from visualcortex.connectivity.couplings import lagged_correlation, partial_correlation
from visualcortex.connectivity.observed import observed_bins
from visualcortex.spikes import SpikeTimes

NORMAL = 1.4826  # s.d. of normal values over their median distance from the median


class LowPass(NamedTuple):
    """A smoothing filter and its say in the average.

    Parameters
    ----------
    kernel
        Weights of the frames t - 3 to t + 3.
    say
        Weight of the filter.
    """

    kernel: tuple[float, ...]
    say: float


FILTERS = (
    LowPass((0, 0, 1, 1, 1, 0, 0), 1.0),
    LowPass((0.4, 0.6, 0.8, 1, 0, 0, 0), 0.9),
    LowPass((0, 0, 1, 1, 1, 1, 0), 0.7),
    LowPass((0, 0, 0, 1, 1, 1, 1), 0.01),
)
THRESHOLDS = tuple(round(0.1 + 0.01 * k, 2) for k in range(12))


class LaggedCorrelation(BaseEstimator):
    r"""Correlation of the source with the target some bins later: `lagged_correlation`.

    Bias: large wherever rates change together, whatever the synapses.

    Parameters
    ----------
    step
        Width of a bin, or duration of a frame, s.
    lag
        In bins; 0 has no direction.
    decay
        Time constant of fluorescence that is removed first, s; see `without_decay`.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        Correlations; NaN on the diagonal.
    signs_ : (neuron,) numpy.ndarray
        1 or -1; see `source_signs`.
    """

    def __init__(self, *, step: float = 0.001, lag: int = 1, decay: float | None = None) -> None:
        self.step, self.lag, self.decay = step, lag, decay

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> LaggedCorrelation:
        """Correlate all ordered pairs.

        Parameters
        ----------
        activity
            Spike times, or counts or traces ``(time, neuron)`` whose rows last `step`.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            A neuron never changes, or a setting is out of range.
        """
        values = without_decay(observed_bins(activity, self.step, start, stop), self)
        self.scores_ = lagged_correlation(values, self.lag)
        self.signs_ = source_signs(self.scores_)
        return self


class PartialCorrelation(BaseEstimator):
    r"""Correlation that is left of two neurons when all others are known: `partial_correlation`.

    Bias: toward 0 by the shrinkage; neurons that are not recorded cannot be known.

    Parameters
    ----------
    step
        Width of a bin, or duration of a frame, s.
    lag
        In bins; 0 has no direction. Frames of 30 ms and more hold most of what a synapse does, so
        that 0 finds more of them there, in whatever direction.
    decay
        Time constant of fluorescence that is removed first, s; see `without_decay`.
    shrinkage
        As there.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        Partial correlations; NaN on the diagonal.
    signs_ : (neuron,) numpy.ndarray
        1 or -1; see `source_signs`.
    """

    def __init__(
        self,
        *,
        step: float = 0.005,
        lag: int = 1,
        decay: float | None = None,
        shrinkage: float | None = None,
    ) -> None:
        self.step, self.lag, self.decay, self.shrinkage = step, lag, decay, shrinkage

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> PartialCorrelation:
        """Invert the correlation matrix.

        Parameters
        ----------
        activity
            Spike times, or counts or traces ``(time, neuron)`` whose rows last `step`.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            A neuron never changes, or a setting is out of range.
        """
        values = without_decay(observed_bins(activity, self.step, start, stop), self)
        self.scores_ = partial_correlation(values, lag=self.lag, shrinkage=self.shrinkage)
        self.signs_ = source_signs(self.scores_)
        return self


class WhitenedPrecision(BaseEstimator):
    r"""Partial correlation of filtered fluorescence, the winner of a challenge (Sutera 2014).

    Each trace is smoothed by a filter *f*, differenced, and what is below a threshold removed,

    .. math:: y_{t,i} = (f * x_i)_t - (f * x_i)_{t-1}, \qquad h_{t,i} = y_{t,i}\,[y_{t,i} \ge \tau]

    frames in which few neurons are active count for more,

    .. math:: v_{t,i} = (1 + h_{t,i})^{1 + 1 / \sum_j h_{t,j}},

    and the partial correlation is that of the largest principal components of the correlation
    matrix, :math:`P = \sum_{k \le M} u_k u_k^{\mathsf T} / \lambda_k`,
    :math:`p_{ij} = -P_{ij} / \sqrt{P_{ii} P_{jj}}`. It is averaged over four filters and several
    thresholds. A small part :math:`\delta` comes from an order in time,

    .. math:: z_{ij} = \sum_t [\phi_1 \le h_{t+1,j} - h_{t,i} \le \phi_2]
                            - [\phi_1 \le h_{t+1,i} - h_{t,j} \le \phi_2], \qquad
              s_{ij} = (1 - \delta) p_{ij} + \delta z_{ij} / \max |z|.

    Bias: almost no direction: a synapse one way scores nearly as much the other way. Inhibition
    is hardly seen, since decreases are cut off; scores below 0 mean little. Settings are those that
    won on simulated cultures of 1,000 neurons in frames of 20 ms with bursts, and were tuned on
    the wiring of two of these.

    Parameters
    ----------
    step
        Duration of a frame, s.
    thresholds
        :math:`\tau`, each in the unit of `noise`.
    share
        Share of the principal components that are kept.
    directivity
        :math:`\delta`.
    rise
        :math:`\phi_1` and :math:`\phi_2`, in the unit of `noise`.
    noise
        Robust s.d. (from the median distance from the median) that the filtered differences of
        every neuron are scaled to. In the challenge, frames had a noise of about .03, and
        differences one of .042. None leaves traces in their unit, as the challenge did.
    quiet_first
        Whether frames in which few neurons are active count for more. Of some ten neurons, an
        event then weighs less for every other one in its frame, which hides what is looked for.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        NaN on the diagonal.

    References
    ----------
    Sutera, A., and others (2014). Simple connectome inference from partial correlation statistics
    in calcium imaging. arXiv 1406.7865. The exponent of h, the filter-dependent exponent of v and
    steps of .001 between thresholds, all of the tuned version, are left out.
    """

    def __init__(
        self,
        *,
        step: float = 0.02,
        thresholds: tuple[float, ...] = THRESHOLDS,
        share: float = 0.8,
        directivity: float = 0.003,
        rise: tuple[float, float] = (0.2, 0.5),
        noise: float | None = 0.042,
        quiet_first: bool = True,
    ) -> None:
        self.step, self.thresholds, self.share = step, thresholds, share
        self.directivity, self.rise, self.noise = directivity, rise, noise
        self.quiet_first = quiet_first

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> WhitenedPrecision:
        """Filter, and average the partial correlations.

        Parameters
        ----------
        activity
            Traces ``(time, neuron)`` in frames of `step`; spikes are counted in these first.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            Settings are out of range, or a trace has no noise to be scaled by.
        """
        self._check()
        traces = observed_bins(activity, self.step, start, stop)
        total, ordered = np.zeros((traces.shape[1],) * 2), None
        for low_pass in FILTERS:
            rises = self._rises(traces, low_pass.kernel)
            for threshold in self.thresholds:
                events = np.where(rises >= threshold, rises, np.float32(0))
                if ordered is None:
                    ordered = _count_rises(events, *self.rise)
                weighted = _quiet_first(events) if self.quiet_first else events
                found = principal_partial_correlation(weighted, self.share)
                total += low_pass.say / len(self.thresholds) * found
        total /= sum(low_pass.say for low_pass in FILTERS)
        direction = (ordered - ordered.T) / max(np.abs(ordered - ordered.T).max(), 1)
        self.scores_ = (1 - self.directivity) * total + self.directivity * direction
        np.fill_diagonal(self.scores_, np.nan)
        return self

    def _rises(self, traces: np.ndarray, kernel: tuple[float, ...]) -> np.ndarray:
        """Differences of smoothed traces, ``(time - 1, neuron)``, scaled to one noise."""
        smooth = correlate1d(traces, np.asarray(kernel, np.float32), axis=0, mode="nearest")
        rises = np.diff(smooth, axis=0)
        if self.noise is None:
            return rises
        spread = NORMAL * np.median(np.abs(rises - np.median(rises, axis=0)), axis=0)
        if (spread == 0).any():
            raise ValueError(
                f"every trace must have noise to be scaled by; neuron "
                f"{np.flatnonzero(spread == 0)[0]} has none. Pass noise=None, and thresholds in "
                f"the unit of the traces."
            )
        return rises * (self.noise / spread).astype(np.float32)

    def _check(self) -> None:
        """Complain of settings."""
        positive = len(self.thresholds) > 0 and min(self.thresholds) > 0
        if not (positive and (self.noise is None or self.noise > 0)):
            raise ValueError(
                f"thresholds must be numbers above 0, one at least, and noise above 0 or None; "
                f"got {self.thresholds} and {self.noise}."
            )
        if not (0 < self.share <= 1 and 0 <= self.directivity < 1 and len(self.rise) == 2):
            raise ValueError(
                f"share must be above 0 and at most 1, directivity from 0 to below 1, and rise "
                f"two numbers; got {self.share}, {self.directivity} and {self.rise}."
            )


def without_decay(
    traces: np.ndarray, settings: LaggedCorrelation | PartialCorrelation
) -> np.ndarray:
    r"""Remove an exponential decay of known time constant, if the settings name one.

    .. math:: y_t = x_t - e^{-\Delta / \tau} x_{t-1}

    of traces whose frames last :math:`\Delta`: spikes a frame and a noise that is no longer white.

    Parameters
    ----------
    traces
        ``(time, neuron)``.
    settings
        With ``step`` and ``decay``, s.

    Returns
    -------
    numpy.ndarray
        ``(time - 1, neuron)``; `traces` themselves where ``decay`` is None.

    Raises
    ------
    ValueError
        A decay that is not above 0.
    """
    if settings.decay is None:
        return traces
    if not settings.decay > 0:
        raise ValueError(f"decay must be a number of s above 0, or None; got {settings.decay}.")
    kept = np.float32(np.exp(-settings.step / settings.decay))
    return traces[1:] - kept * traces[:-1]


def principal_partial_correlation(values: np.ndarray, share: float = 0.8) -> np.ndarray:
    r"""Partial correlations by the inverse that the largest principal components have.

    .. math:: P = \sum_{k \le M} \frac{u_k u_k^{\mathsf T}}{\lambda_k}, \qquad
              p_{ij} = -\frac{P_{ij}}{\sqrt{P_{ii} P_{jj}}}

    of the correlation matrix, which makes it free of the traces' units. Bias: what is in the
    smallest components is lost, signal as well as noise.

    Parameters
    ----------
    values
        ``(time, neuron)``.
    share
        Share of the components that are kept, at least one; 1 is the plain partial correlation.

    Returns
    -------
    numpy.ndarray
        ``(neuron, neuron)``, symmetric, -1 on the diagonal; 0 for a neuron that never changes.
    """
    centred = values - values.mean(axis=0, dtype=np.float64).astype(values.dtype)
    covariance = (centred.T @ centred).astype(np.float64)
    spread = np.sqrt(np.diagonal(covariance))
    live = np.flatnonzero(spread > 0)
    partial = -np.eye(len(spread))
    if len(live) == 0:
        return partial
    correlation = covariance[np.ix_(live, live)] / np.outer(spread[live], spread[live])
    size, vectors = np.linalg.eigh(correlation)
    n_kept = max(1, round(share * len(size)))
    kept = vectors[:, -n_kept:]
    precision = (kept / size[-n_kept:]) @ kept.T
    root = np.sqrt(np.diagonal(precision))
    partial[np.ix_(live, live)] = -precision / np.outer(root, root)
    return partial


def _quiet_first(events: np.ndarray) -> np.ndarray:
    """Magnify events of frames in which little happens; 1 where nothing does."""
    weighted = np.ones_like(events)
    frame, neuron = np.nonzero(events)
    values = events[frame, neuron].astype(np.float64)
    sums = events.sum(axis=1, dtype=np.float64)[frame]
    weighted[frame, neuron] = (values + 1) ** (1 + 1 / sums)
    return weighted


@numba.njit(cache=True, nogil=True)
def _count_rises(events: np.ndarray, low: float, high: float) -> np.ndarray:
    """How often a target is higher than the source a frame before by `low` to `high`."""
    n_frames, n = events.shape
    counts = np.zeros((n, n))
    for t in range(n_frames - 1):
        for i in range(n):
            for j in range(n):
                rise = events[t + 1, j] - events[t, i]
                if low <= rise <= high:
                    counts[i, j] += 1
    return counts
