"""Wiring by the sharpest peak of each correlogram over what is smooth in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import convolve1d, gaussian_filter1d
from sklearn.base import BaseEstimator

from visualcortex.connectivity.correlograms import (
    BinnedSpikes,
    cross_correlograms,
    jitter_expectation,
    two_sided,
)
from visualcortex.connectivity.observed import observed_binned
from visualcortex.spikes import SpikeTimes

NULLS = ("gaussian", "jitter")
REACH = 4  # standard deviations of the Gaussian that count
LEAST = 1e-9  # coincidences expected, where a division needs some


class CorrelogramPeaks(BaseEstimator):
    r"""Largest deviation of each correlogram from its smooth version, in Poisson s.d.

    With coincidences :math:`C_{ij}(\ell)` at lag :math:`\ell` and their expectation
    :math:`E_{ij}(\ell)`, summed over *w* neighbouring lags,

    .. math:: z_{ij}(\ell) = \frac{\sum_k C_{ij}(\ell + k) - \sum_k E_{ij}(\ell + k)}
                                  {\sqrt{\sum_k E_{ij}(\ell + k)}},
              \qquad s_{ij} = z_{ij}(\ell^*), \quad
              \ell^* = \operatorname*{argmax}_{\ell_1 \le \ell \le \ell_2} |z_{ij}(\ell)|.

    The expectation is the correlogram convolved with a Gaussian (Stark and Abeles 2009), or that
    under interval jitter, which convolves with a triangle in effect: one of a window *L* has the
    s.d. :math:`L / \sqrt 6`, so that 10 ms are like a Gaussian of 4 ms.

    Bias: the largest of many values is large by chance. The peak itself is part of its
    expectation, which lessens strong and slow ones. A third neuron that drives both, or one
    between them, makes a peak as well; a synapse one way leaves a trough beside its peak.

    Parameters
    ----------
    step
        Width of a bin, s.
    width
        Lags that are summed.
    shortest, longest
        First and last lag of the middle of a sum, s; of the earlier of two where `width` is even.
        The first is a step at least.
    null
        ``"gaussian"`` or ``"jitter"``.
    smooth
        S.d. of the Gaussian, s.
    window
        Window of the jitter, s. Bins after the last whole window are left out.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        z of the largest deviation, + where there are more coincidences; NaN on the diagonal, as
        everywhere here; 0 for a pair that never fires together.
    delays_ : (source, target) numpy.ndarray
        Lag of the middle of that sum, s.
    weights_ : (source, target) numpy.ndarray
        Coincidences above expectation in that sum, for each spike of the source.
    signs_ : (neuron,) numpy.ndarray
        1 or -1: sign of the sum of :math:`s_{ij} |s_{ij}|` over targets.

    Notes
    -----
    The defaults of `width` and `smooth` were chosen among 36 settings by the known wiring of two
    simulated recordings of others (of Ren and others 2020, and of Donner and others 2024): what
    these give is the best of the settings tried, not a held-out figure.

    References
    ----------
    Stark, E., and Abeles, M. (2009). Unbiased estimation of precise temporal correlations between
    spike trains. Journal of Neuroscience Methods 179, 90-100.

    Harrison, M. T., and Geman, S. (2009). A rate and history-preserving resampling algorithm for
    neural spike trains. Neural Computation 21, 1244-1258.
    """

    def __init__(
        self,
        *,
        step: float = 0.0005,
        width: int = 4,
        shortest: float = 0.0005,
        longest: float = 0.009,
        null: str = "gaussian",
        smooth: float = 0.004,
        window: float = 0.01,
    ) -> None:
        self.step, self.width = step, width
        self.shortest, self.longest = shortest, longest
        self.null, self.smooth, self.window = null, smooth, window

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> CorrelogramPeaks:
        """Find the largest deviation of every ordered pair.

        Parameters
        ----------
        activity
            Spike times, or counts ``(time, neuron)`` in bins of `step`.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            Settings are out of range, or the recording is shorter than the lags.
        """
        self._check()
        spikes = observed_binned(activity, self.step, start, stop)
        counted, expected = self._correlograms(spikes)  # (source, target, lag), lags in order
        middle, first = counted.shape[2] // 2, max(1, round(self.shortest / self.step))
        lags = np.arange(first, round(self.longest / self.step) + 1)
        counted, expected = (
            convolve1d(x, np.ones(self.width), axis=2)[:, :, middle + lags]
            for x in (counted, expected)
        )
        z = (counted - expected) / np.sqrt(np.maximum(expected, LEAST))
        z[counted + expected < LEAST] = 0
        at = np.abs(z).argmax(axis=2)[:, :, None]
        self.scores_ = _without_diagonal(np.take_along_axis(z, at, axis=2)[:, :, 0])
        beyond = np.take_along_axis(counted - expected, at, axis=2)[:, :, 0]
        self.weights_ = _without_diagonal(beyond / np.maximum(spikes.n_spikes, 1)[:, None])
        centre = lags + 0.5 * (self.width % 2 == 0)  # an even sum has one lag more after its lag
        self.delays_ = _without_diagonal(centre[at[:, :, 0]] * self.step)
        self.signs_ = source_signs(self.scores_)
        return self

    def _correlograms(self, spikes: BinnedSpikes) -> tuple[np.ndarray, np.ndarray]:
        """Coincidences and what is expected of them, both ``(source, target, lag)``, two-sided."""
        longest = round(self.longest / self.step) + self.width
        if self.null == "jitter":
            window = round(self.window / self.step)
            spikes = _whole_windows(spikes, window)
            expected = jitter_expectation(spikes, window, longest)
            return two_sided(cross_correlograms(spikes, longest)), two_sided(expected)
        sd = self.smooth / self.step
        counted = two_sided(cross_correlograms(spikes, longest + int(np.ceil(REACH * sd))))
        return counted, gaussian_filter1d(counted, sd, axis=2, truncate=REACH)

    def _check(self) -> None:
        """Complain of settings."""
        if self.null not in NULLS:
            raise ValueError(f"null must be one of {', '.join(NULLS)}; got {self.null!r}.")
        if not (self.width >= 1 and 0 < self.step <= min(self.smooth, self.window)):
            raise ValueError(
                f"width must be a lag or more, and smooth and window a step or more; got "
                f"{self.width}, {self.smooth} s and {self.window} s with steps of {self.step} s."
            )
        if not (0 < self.shortest <= self.longest and self.step <= self.longest * (1 + 1e-9)):
            raise ValueError(
                f"lags must be above 0, in order, and reach a step of {self.step} s; got "
                f"{self.shortest} and {self.longest} s."
            )


def source_signs(scores: np.ndarray) -> np.ndarray:
    r"""Sign of each source, from signed scores of all its synapses.

    .. math:: \sigma_i = \operatorname{sign} \sum_{j \ne i} s_{ij} |s_{ij}|

    Bias: input that neurons share makes sources look excitatory.

    Parameters
    ----------
    scores
        ``(source, target)``; the diagonal does not count, nor does NaN.

    Returns
    -------
    numpy.ndarray
        1 or -1, ``(source,)``; 1 where the sum is 0.
    """
    squares = np.array(scores * np.abs(scores))
    np.fill_diagonal(squares, 0)
    return np.where(np.nansum(squares, axis=1) < 0, -1, 1)


def _whole_windows(spikes: BinnedSpikes, window: int) -> BinnedSpikes:
    """Leave out what is after the last whole window."""
    n_bins = spikes.n_bins // window * window
    if n_bins == 0:
        raise ValueError(
            f"the recording must hold a window of {window} bins; got {spikes.n_bins} bins. Choose "
            f"a shorter window."
        )
    kept = spikes.bin < n_bins
    parts = {name: getattr(spikes, name)[kept] for name in ("trial", "bin", "neuron")}
    return replace(spikes, n_bins=n_bins, **parts)


def _without_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Fill the diagonal with NaN, in place."""
    np.fill_diagonal(matrix, np.nan)
    return matrix
