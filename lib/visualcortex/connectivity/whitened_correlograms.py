"""Wiring from correlograms of all pairs at once, less what is smooth, shared or passed on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.base import BaseEstimator

from visualcortex.connectivity.correlogram_peaks import source_signs
from visualcortex.connectivity.correlograms import BinnedSpikes, cross_correlograms, two_sided
from visualcortex.connectivity.observed import observed_binned
from visualcortex.spikes import SpikeTimes

REACH = 4  # standard deviations of the Gaussian that count
RIDGE = 0.03  # of the number of spikes, added to the information of each lag
LEAST = 0.25  # coincidences expected, where a variance needs some


class WhitenedCorrelograms(BaseEstimator):
    r"""One Newton step of a point process whose own smoothed spikes are its rate without synapses.

    Counts :math:`y_j` of a target have the mean

    .. math:: \mu_{tj} = (G * y_j)_t \exp \sum_{i \ne j} \sum_{\ell=-L}^{L}
              h_{ij}(\ell)\, y_{t-\ell,i},

    with a Gaussian *G*: each spike could as well have fallen a little earlier or later, and only
    its place among those counts. So nothing that is slow matters, be it shared by all neurons or
    by two. At :math:`h = 0`, slope and information come from correlograms
    :math:`C_{ij}(\ell) = \sum_t y_{t,i}\, y_{t+\ell,j}` and :math:`E = G * C`,

    .. math:: s_{ij}(\ell) = C_{ij}(\ell) - E_{ij}(\ell), \qquad
              J_{i\ell,km} = \sqrt{E_{ij}(\ell) E_{kj}(m)}\;
              \frac{C_{ik}(\ell - m) - E_{ik}(\ell - m)}{\sqrt{n_i n_k}},

    where a spike's coincidence with itself counts in :math:`C_{ii}(0)`. For a pair, :math:`J`
    holds the lags above 0 of all sources, and those of 0 and below of *i* only: these are no
    effects of a synapse from *i* to *j*, but take what one from *j* to *i* leaves in the smoothed
    rate. (Those of all sources would make pairs of sources seem linked that drive the same neuron,
    since that neuron's later spikes would be given.) Then :math:`h = J^{-1} s` has the covariance
    :math:`J^{-1}`: a source keeps what is left once all other sources are known.

    To lags above 0, a filter :math:`a_{ij}\, e^{-(\ell - d) / \tau}`, :math:`\ell \ge d`, is
    fitted by generalised least squares for each delay *d*; the score is :math:`a_{ij}` in standard
    errors at the delay where that is furthest from 0.

    Bias: one step from 0 is not a fit; it is nearly exact for weak synapses only. A peak is part
    of its own expectation, so that `weights_` are too small: by a seventh where a synapse triples
    the rate for a bin, by a third where that is eleven times as high. The largest of many values
    is large by chance. Smoothing takes a part of each slow filter away, and may leave a bump of
    the other sign before the delay of a strong inhibitory one. Input from neurons that are not
    recorded looks like synapses where it is faster than *G*. So, a little, do two sources that both
    drive a neuron strongly.

    Parameters
    ----------
    step
        Width of a bin, s.
    longest
        Longest delay, s; the shortest is a bin.
    reach
        *L*, s, no less than `longest`.
    smooth
        S.d. of *G*, s.
    decay
        :math:`\tau`, s.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        + where the target fires more; NaN on the diagonal, as everywhere here.
    delays_ : (source, target) numpy.ndarray
        *d*, s.
    weights_ : (source, target) numpy.ndarray
        Spikes of the target that a spike of the source adds.
    signs_ : (neuron,) numpy.ndarray
        1 or -1; see `source_signs`.

    Notes
    -----
    With *n* neurons and *K* lags above 0, a matrix of *n K* squared is inverted once, targets
    being left out of it one by one: time grows as :math:`(n K)^3`, and memory as about
    18 :math:`(2 n K)^2` bytes, 0.4 GiB for 100 neurons at the defaults. Bins twice as wide need an
    eighth and a quarter.

    The settings were chosen among some thirty on simulated networks of 20 neurons with shared
    input, fast or slow, alike for all or not, and of 40 with little or none. `smooth` moves the
    area under the ROC curve little there: without shared input, longer is better by up to .01,
    but signs of strong inhibition suffer. For that, .004 s replaced .006 s, after two looks at
    how the simulated recording of Ren and others (2020) came out. Where nothing is shared,
    `CouplingFilters` is better.

    References
    ----------
    Amarasingham, A., Harrison, M. T., Hatsopoulos, N. G., and Geman, S. (2012). Conditional
    modeling and the jitter method of spike resampling. Journal of Neurophysiology 107, 517-531.
    """

    def __init__(
        self,
        *,
        step: float = 0.0005,
        longest: float = 0.009,
        reach: float = 0.012,
        smooth: float = 0.004,
        decay: float = 0.002,
    ) -> None:
        self.step, self.longest, self.reach = step, longest, reach
        self.smooth, self.decay = smooth, decay

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> WhitenedCorrelograms:
        """Score all ordered pairs.

        Parameters
        ----------
        activity
            Spike times, or counts ``(time, neuron)`` in bins of `step`.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            Settings are out of range, a neuron has no spikes, or the recording is too short.
        """
        self._check()
        spikes = observed_binned(activity, self.step, start, stop)
        if (spikes.n_spikes == 0).any():
            raise ValueError(
                f"every neuron needs a spike; neuron {np.flatnonzero(spikes.n_spikes == 0)[0]} "
                f"has none. Leave out the silent ones."
            )
        n_lags = round(self.reach / self.step)
        slope, expected, metric = _moments(spikes, n_lags, self.smooth / self.step)
        lags, delays = np.arange(1, n_lags + 1), np.arange(1, round(self.longest / self.step) + 1)
        gaps = lags - delays[:, None]
        kernels = np.where(gaps >= 0, np.exp(-np.maximum(gaps, 0) * self.step / self.decay), 0)
        deviates, sizes = _scan(slope, np.sqrt(np.maximum(expected, LEAST)), metric, kernels)
        self._keep(deviates, sizes * kernels.sum(axis=1), delays, spikes)
        return self

    def _keep(
        self, deviates: np.ndarray, sums: np.ndarray, delays: np.ndarray, spikes: BinnedSpikes
    ) -> None:
        """Keep what is furthest from 0, of (source, target, delay)."""
        at = np.abs(deviates).argmax(axis=2)[:, :, None]
        self.scores_ = np.take_along_axis(deviates, at, axis=2)[:, :, 0]
        self.delays_ = delays[at[:, :, 0]] * self.step
        rates = spikes.n_spikes / spikes.n_bins
        self.weights_ = np.take_along_axis(sums, at, axis=2)[:, :, 0] * rates
        for matrix in (self.scores_, self.delays_, self.weights_):
            np.fill_diagonal(matrix, np.nan)
        self.signs_ = source_signs(self.scores_)

    def _check(self) -> None:
        """Complain of settings."""
        if not 0 < self.step <= self.smooth:
            raise ValueError(
                f"step must be above 0 s, and smooth a step or more; got {self.step} and "
                f"{self.smooth} s."
            )
        if not self.step * (1 - 1e-9) <= self.longest <= self.reach * (1 + 1e-9):
            raise ValueError(
                f"longest must be a step of {self.step} s or more, and at most reach; got "
                f"{self.longest} and {self.reach} s."
            )
        if not self.decay > 0:
            raise ValueError(f"decay must be a number of s above 0; got {self.decay}.")


def _moments(
    spikes: BinnedSpikes, n_lags: int, sd: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope and expectation ``(source, target, K)``, and information ``(source, K, source, K)``.

    Lags are from ``-n_lags`` to ``n_lags``; information is that of a source and lag of which one
    coincidence is expected.
    """
    middle, n = 2 * n_lags + int(np.ceil(REACH * sd)), spikes.n_neurons
    counted = two_sided(cross_correlograms(spikes, middle))
    expected = gaussian_filter1d(counted, sd, axis=2, truncate=REACH)
    lags = middle + np.arange(-n_lags, n_lags + 1)
    slope, expected_near = (counted - expected)[:, :, lags], expected[:, :, lags]
    counts, itself = spikes.n_spikes.astype(np.float64), np.zeros(2 * middle + 1)
    itself[middle] = 1
    own = itself - gaussian_filter1d(itself, sd, truncate=REACH)
    counted -= expected
    counted[np.arange(n), np.arange(n)] += counts[:, None] * own
    counted /= np.sqrt(np.outer(counts, counts))[:, :, None]
    gaps = middle + lags[:, None] - lags
    metric = counted.transpose(0, 2, 1)[:, gaps].transpose(0, 1, 3, 2)  # (source, K, source, K)
    return slope, expected_near, metric


class _Whitening(NamedTuple):
    """What does not depend on the target; P lags above 0, Q lags of 0 and below."""

    inverse: np.ndarray  # (source, P, source, P): of the information of lags above 0
    echoes: np.ndarray  # (source, P, source, Q): that times information on lags of 0 and below
    left: np.ndarray  # (source, Q, Q): information on these, given all lags above 0


def _whitening(metric: np.ndarray, n_after: int) -> _Whitening:
    """Invert the information."""
    n, k = metric.shape[:2]
    sizes, n_echo = (n, n_after, n), k - n_after
    after, echo = metric[:, n_echo:], metric[:, :n_echo]
    information = after[..., n_echo:].reshape(n * n_after, -1) + RIDGE * np.eye(n * n_after)
    inverse = np.linalg.inv(information)
    crossed = after[..., :n_echo].reshape(n * n_after, -1)
    echoes = (inverse @ crossed).reshape(*sizes, n_echo)
    explained = np.einsum("paiq,pair->iqr", crossed.reshape(echoes.shape), echoes, optimize=True)
    own = np.arange(n)
    left = echo[own, :, own, :n_echo] + RIDGE * np.eye(n_echo) - explained
    return _Whitening(inverse.reshape(*sizes, n_after), echoes, left)


def _scan(
    slope: np.ndarray, error: np.ndarray, metric: np.ndarray, kernels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of kernels at each delay, in standard errors and as they are, (source, target, delay).

    `kernels` are ``(delay, lag)``, of lags above 0, the last ones.
    """
    n, n_after = len(slope), kernels.shape[1]
    whitening = _whitening(metric, n_after)
    sources = (slope / error).transpose(0, 2, 1)  # (source, K, target)
    sources[np.arange(n), :, np.arange(n)] = 0
    after = np.ascontiguousarray(sources[:, -n_after:])
    flat = whitening.inverse.reshape(n * n_after, -1)
    together = (flat @ after.reshape(-1, n)).reshape(after.shape)
    echoes = np.einsum("paiq,paj->iqj", whitening.echoes, after, optimize=True)
    echoes = sources[:, :-n_after] - echoes
    deviates, sizes = np.zeros((2, n, n, len(kernels)))
    for j in range(n):
        others = np.delete(np.arange(n), j)
        filters, covariance = _joint(whitening, together[:, :, j], echoes[:, :, j], j)
        weighed = kernels * error[others, j, None, -n_after:]  # (source, delay, lag)
        solved = np.linalg.solve(covariance, weighed.swapaxes(1, 2))
        pulled = np.einsum("itd,it->id", solved, filters)
        information = np.einsum("idt,itd->id", weighed, solved)
        deviates[others, j] = pulled / np.sqrt(information)
        sizes[others, j] = pulled / information
    return deviates, sizes


def _joint(
    whitening: _Whitening, together: np.ndarray, echoes: np.ndarray, j: int
) -> tuple[np.ndarray, np.ndarray]:
    """Filters to *j*, lags above 0 ``(source, P)``, and covariance of each ``(source, P, P)``.

    `together` and `echoes` are filters and slopes with the rows of *j* (of slope 0) among those
    of sources. To leave *j* out, what its rows explain is taken off; then each source, for
    itself, is given its lags of 0 and below.
    """
    others = np.delete(np.arange(len(whitening.left)), j)
    inverse, own = whitening.inverse, whitening.inverse[j, :, j]
    to_target = inverse[others, :, j]  # (source, P, P)
    taken = np.linalg.solve(own, to_target.swapaxes(1, 2)).swapaxes(1, 2)
    from_target = whitening.echoes[j][:, others].swapaxes(0, 1)  # (source, P, Q)
    solved = np.linalg.solve(own, from_target)
    left = whitening.left[others] + from_target.swapaxes(1, 2) @ solved
    slope = echoes[others] + np.einsum("ipq,p->iq", solved, together[j])
    leak = whitening.echoes[others, :, others] - taken @ from_target  # (source, P, Q)
    back = np.linalg.solve(left, leak.swapaxes(1, 2))  # (source, Q, P)
    filters = together[others] - taken @ together[j] - np.einsum("iqp,iq->ip", back, slope)
    covariance = inverse[others, :, others] - taken @ to_target.swapaxes(1, 2) + leak @ back
    return filters, covariance
