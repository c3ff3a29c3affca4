r"""Likelihood of when spikes came, given that each could have come a little earlier or later.

Of spike *k* of neuron *j*, at :math:`t_k`, only its place under a Gaussian *G* of s.d.
:math:`\sigma` about it is taken for a coincidence:

.. math::

    -\log p_j = \sum_k \Big[\log \sum_t G(t - t_k)\, e^{u_{jt}} - u_{jt_k}\Big], \qquad
    u_{jt} = \sum_i w_{ij} \sum_s \varepsilon(t - s_i - d_{ij})
           + v_{ij} \sum_s \varepsilon(s_i - d_{ji} - t),

where :math:`s_i` are the spikes of source *i*, and :math:`\varepsilon` is a potential. Whatever is
smooth over :math:`\sigma` (mean rate, input that neurons share, most of refractoriness) divides
out, as it does under jitter (Amarasingham and others 2012); there are no other constants. At
:math:`w = 0` the slope by a weight is a correlogram less its smooth version (Stark and Abeles
2009), summed under :math:`\varepsilon`. The *echo* *v* is what a later spike of *i*, which *j* may
have caused, says of when *j* fired: without it, a synapse from *j* to *i* makes a trough in the
other direction.

Only spikes near spikes are visited, so that time grows with their number, not with the bins.

References
----------
Amarasingham, A., Harrison, M. T., Hatsopoulos, N. G., and Geman, S. (2012). Conditional modeling
and the jitter method of spike resampling. Journal of Neurophysiology 107, 517-531.
Stark, E., and Abeles, M. (2009). Unbiased estimation of precise temporal correlations between
spike trains. Journal of Neuroscience Methods 179, 90-100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch

REACH = 3.0  # standard deviations of a Gaussian that count


@dataclass(frozen=True, eq=False)
class Exposure:
    """Spikes, and what their coincidences are measured by.

    Parameters
    ----------
    bins, who
        Bin and neuron of each spike, in order of time, int64.
    n_neurons
        How many there are.
    taps
        Of the Gaussian, odd in number, of sum 1.
    kernels
        Potential of each bin since an arrival, ``(shape, bin)``; all pairs have the first shape.
    delays
        In whole bins, ``(source, target)``, int64.
    shaped
        Pairs ``(source, target)`` that have all shapes.
    """

    bins: np.ndarray
    who: np.ndarray
    n_neurons: int
    taps: np.ndarray
    kernels: np.ndarray
    delays: np.ndarray
    shaped: np.ndarray

    @property
    def n_columns(self) -> np.ndarray:
        """Weights of each target: of all sources, of all echoes, and of further shapes."""
        pairs = self.shaped.sum(axis=0) + self.shaped.sum(axis=1)
        return 2 * self.n_neurons + (len(self.kernels) - 1) * pairs

    def parts(self) -> tuple[np.ndarray, ...]:
        """Return what all loops need: delays and first further column ``(2, target, source)``."""
        both = np.stack([self.shaped.T, self.shaped], axis=1)  # (target, 2, source)
        count = both.reshape(self.n_neurons, -1).cumsum(axis=1).reshape(both.shape)
        first = 2 * self.n_neurons + (len(self.kernels) - 1) * (count - 1)
        further = np.ascontiguousarray(np.where(both, first, -1).transpose(1, 0, 2))
        delays = np.stack([self.delays.T, self.delays])
        lengths = np.array([np.flatnonzero(x)[-1] + 1 for x in self.kernels])
        return self.bins, self.who, self.taps, self.kernels, lengths, delays, further


def gaussian_taps(width: float, step: float) -> np.ndarray:
    """Return a Gaussian of s.d. `width` in bins of `step`, of sum 1, cut at three s.d."""
    reach = math.ceil(REACH * width / step)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    return taps / taps.sum()


def exposure_slopes(
    data: Exposure, weights: np.ndarray, device: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood and its slopes, by loops over spikes.

    Parameters
    ----------
    data
        The spikes.
    weights
        ``(target, column)``: of sources (w), of echoes (v), then of further shapes, forth for
        each source that has them, then back.
    device
        One that is no CPU does it by `dense_exposure_losses`.

    Returns
    -------
    losses, slopes
        In nats ``(target,)``, 0 where all weights are; and ``(target, column)``.
    """
    if device is not None and device.type != "cpu":
        tensor = torch.tensor(weights, device=device, requires_grad=True)
        each = dense_exposure_losses(data, tensor)
        (by,) = torch.autograd.grad(each.sum(), tensor)
        return each.detach().cpu().numpy(), by.cpu().numpy()
    losses, slopes = np.zeros(data.n_neurons), np.zeros_like(weights)
    _slopes(*data.parts(), weights, losses, slopes)
    return losses, slopes


def exposure_information(
    data: Exposure, weights: np.ndarray, j: int, rows: np.ndarray
) -> np.ndarray:
    r"""Second derivatives of the negative log-likelihood of some spikes of a target.

    .. math:: H = \sum_k \mathrm{Cov}_{G_k e^u}(x, x'), \qquad x = \partial u / \partial w

    Parameters
    ----------
    data, weights
        As for `exposure_slopes`.
    j, rows
        The target, and which of all spikes, all of them its own, to sum over.

    Returns
    -------
    numpy.ndarray
        ``(column, column)``, of the target's own columns.
    """
    n = data.n_columns[j]
    means, second = np.zeros((len(rows), n)), np.zeros((n, n))
    _moments(*data.parts(), weights, j, rows, means, second)
    return second + second.T - means.T @ means


def exposure_residuals(data: Exposure, weights: np.ndarray, n_lags: int) -> np.ndarray:
    """Coincidences at each lag, less those that the fit expects, ``(lag, source, target)``.

    Parameters
    ----------
    data, weights
        As for `exposure_slopes`.
    n_lags
        Lags, in bins from 1 on.
    """
    n = data.n_neurons
    sums = np.zeros((n, n, n_lags), np.float32)  # (target, source, lag)
    _residuals(*data.parts(), weights, sums)
    return sums.transpose(2, 1, 0)


def dense_exposure_losses(data: Exposure, weights: torch.Tensor) -> torch.Tensor:
    """Return what `exposure_slopes` does by operations on whole recordings, differentiable.

    Made for a GPU, and for checks: it takes memory for all bins of all neurons.

    Parameters
    ----------
    data, weights
        As for `exposure_slopes`; the tensor on any device.

    Returns
    -------
    torch.Tensor
        Negative log-likelihoods ``(target,)``.
    """
    reach, n = len(data.taps) // 2, data.n_neurons
    margin = reach + int(data.delays.max()) + data.kernels.shape[1]
    counts = torch.zeros(int(data.bins[-1]) + 1 + 2 * margin, n).to(weights)
    where = torch.from_numpy(data.bins + margin), torch.from_numpy(data.who)
    counts.index_put_(tuple(x.to(weights.device) for x in where), counts.new_ones(()), True)
    rates = _dense_rates(data, counts, weights)
    taps = torch.from_numpy(data.taps).to(weights)
    spread = torch.nn.functional.conv1d(
        torch.exp(rates).T[:, None], taps[None, None], padding=reach
    )[:, 0].T
    return (counts * (torch.log(spread.clamp(min=1e-30)) - rates)).sum(0)


def _dense_rates(data: Exposure, counts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum all potentials, ``(bin, target)``."""
    n, (further, delays) = data.n_neurons, (data.parts()[6], data.parts()[5])
    total = torch.zeros_like(counts)
    off = ~np.eye(n, dtype=bool)
    for way, sign in enumerate((1, -1)):
        for shape, kernel in enumerate(data.kernels):
            main = np.arange(n) + way * n + np.zeros((n, 1), np.int64)
            columns = main if shape == 0 else further[way] + shape - 1
            used = off & (columns >= 0) & ((further[way] >= 0) | (shape == 0))
            columns = torch.from_numpy(np.where(used, columns, 0)).to(weights.device)
            strength = torch.gather(weights, 1, columns)  # (target, source)
            for lag in np.unique(delays[way][used]):
                at = torch.from_numpy(used & (delays[way] == lag)).to(weights)
                sent = counts @ (at * strength).T
                for b, size in enumerate(kernel):
                    total = total + size * torch.roll(sent, sign * int(lag + b), 0)
    return total


@numba.njit(cache=True, nogil=True)
def _gather(
    bins, who, k, reach, lengths, delays, further, column, place, shape
):  # pragma: no cover
    """List the potentials in the window of spike k: column, begin, shape (below 0: backwards)."""
    j, n, start, size = who[k], delays.shape[1], bins[k] - reach, 2 * reach + 1
    longest = lengths.max()
    far = max(delays[0, j].max(), delays[1, j].max()) + longest
    e, found = k, 0
    while e > 0 and bins[e - 1] >= start - far:
        e -= 1
    while e < len(bins) and bins[e] <= start + size + far:
        i = who[e]
        if i != j:
            for way in range(2):
                sign = 1 - 2 * way
                at = bins[e] + sign * delays[way, j, i] - start
                first = further[way, j, i]
                for s in range(len(lengths) if first >= 0 else 1):
                    end = at + sign * (lengths[s] - 1)
                    if max(at, end) >= 0 and min(at, end) < size:
                        column[found] = first + s - 1 if s else i + way * n
                        place[found], shape[found] = at, sign * (s + 1)
                        found += 1
        e += 1
    return found


@numba.njit(cache=True, nogil=True)
def _span(at, sign, length, size):  # pragma: no cover
    """First and last + 1 bin of a potential that are within a window."""
    if sign > 0:
        return max(0, -at), min(length, size - at)
    return max(0, at - size + 1), min(length, at + 1)


@numba.njit(cache=True, nogil=True)
def _weigh(
    taps, kernels, lengths, found, column, place, shape, weights, level, chance, ways
):  # pragma: no cover
    """Fill `level` with u and `chance` with the share of each bin; return -log p.

    The usual shape is convolved with all arrivals at once, forth and back in `ways`; the others,
    of few synapses, are added one by one.
    """
    size, more = len(taps), lengths[0] - 1
    level[:], ways[:] = 0, 0
    for q in range(found):
        w, at = weights[column[q]], place[q]
        if shape[q] == 1:
            ways[0, at + more] += w
        elif shape[q] == -1:
            ways[1, at] += w
        elif w != 0:
            sign, which = (1 if shape[q] > 0 else -1), abs(shape[q]) - 1
            low, high = _span(at, sign, lengths[which], size)
            for b in range(low, high):
                level[at + sign * b] += w * kernels[which, b]
    for b in range(lengths[0]):
        forth, back, k = ways[0, more - b : more - b + size], ways[1, b : b + size], kernels[0, b]
        for s in range(size):
            level[s] += k * (forth[s] + back[s])
    total = 0.0
    for s in range(size):
        chance[s] = taps[s] * math.exp(level[s])
        total += chance[s]
    for s in range(size):
        chance[s] /= total
    return math.log(total) - level[size // 2]


@numba.njit(cache=True, nogil=True)
def _means(kernel, length, values, ways):  # pragma: no cover
    """Fill `ways` with sums of `values` under the usual shape, by where it begins."""
    ways[:] = 0
    size = len(values)
    for b in range(length):
        begin, k = length - 1 - b, kernel[b]
        forth, back = ways[0, begin : begin + size], ways[1, b : b + size]
        for s in range(size):
            forth[s] += k * values[s]
            back[s] += k * values[s]


@numba.njit(cache=True, nogil=True)
def _mean(kernels, lengths, at, shape, values, ways):  # pragma: no cover
    """Sum `values` under a potential; that of the usual shape is looked up."""
    if shape == 1:
        return ways[0, at + lengths[0] - 1]
    if shape == -1:
        return ways[1, at]
    total, which, sign = 0.0, abs(shape) - 1, 1 if shape > 0 else -1
    low, high = _span(at, sign, lengths[which], len(values))
    for b in range(low, high):
        total += kernels[which, b] * values[at + sign * b]
    return total


@numba.njit(cache=True, nogil=True)
def _room(bins, far, shapes):  # pragma: no cover
    """Potentials that a window may hold."""
    most, first = 0, 0
    for k in range(len(bins)):
        while bins[first] < bins[k] - far:
            first += 1
        most = max(most, k - first + 1)
    return 2 * shapes * most


@numba.njit(cache=True, nogil=True)
def _slopes(
    bins, who, taps, kernels, lengths, delays, further, weights, losses, slopes
):  # pragma: no cover
    """Add to losses and slopes ``(target, column)``."""
    reach = len(taps) // 2
    room = _room(bins, len(taps) + 2 * (delays.max() + lengths.max()) + 2, len(lengths))
    column, place, shape = np.empty((3, room), np.int64)
    level, chance = np.empty(len(taps)), np.empty(len(taps))
    ways = np.empty((2, len(taps) + lengths[0] - 1))
    for k in range(len(bins)):
        j = who[k]
        found = _gather(bins, who, k, reach, lengths, delays, further, column, place, shape)
        losses[j] += _weigh(
            taps, kernels, lengths, found, column, place, shape, weights[j], level, chance, ways
        )
        chance[reach] -= 1
        _means(kernels[0], lengths[0], chance, ways)
        for q in range(found):
            slopes[j, column[q]] += _mean(kernels, lengths, place[q], shape[q], chance, ways)


@numba.njit(cache=True, nogil=True)
def _moments(
    bins, who, taps, kernels, lengths, delays, further, weights, j, rows, means, second
):  # pragma: no cover
    """Means of all inputs at each of some spikes, and half their summed products."""
    reach, size = len(taps) // 2, len(taps)
    room = _room(bins, len(taps) + 2 * (delays.max() + lengths.max()) + 2, len(lengths))
    column, place, shape = np.empty((3, room), np.int64)
    low, high = np.empty(room, np.int64), np.empty(room, np.int64)
    level, chance, weighed = np.empty((3, size))
    here = np.empty((room, size))
    ways = np.empty((2, size + lengths[0] - 1))
    for row in range(len(rows)):
        found = _gather(bins, who, rows[row], reach, lengths, delays, further, column, place, shape)
        _weigh(taps, kernels, lengths, found, column, place, shape, weights[j], level, chance, ways)
        _means(kernels[0], lengths[0], chance, ways)
        for q in range(found):
            means[row, column[q]] += _mean(kernels, lengths, place[q], shape[q], chance, ways)
            which, sign, at = abs(shape[q]) - 1, 1 if shape[q] > 0 else -1, place[q]
            first, end = _span(at, sign, lengths[which], size)
            low[q] = at + first if sign > 0 else at - end + 1
            high[q] = low[q] + end - first
            for s in range(low[q], high[q]):
                here[q, s] = kernels[which, sign * (s - at)]
                weighed[s] = here[q, s] * chance[s]
            for r in range(q + 1):
                begin, end = max(low[q], low[r]), min(high[q], high[r])
                if begin < end:
                    total, one, two = 0.0, weighed[begin:end], here[r, begin:end]
                    for s in range(end - begin):
                        total += one[s] * two[s]
                    second[column[q], column[r]] += total if q != r else 0.5 * total


@numba.njit(cache=True, nogil=True)
def _residuals(
    bins, who, taps, kernels, lengths, delays, further, weights, sums
):  # pragma: no cover
    """Add observed less expected coincidences at each lag from 1 on."""
    reach, size, n_lags = len(taps) // 2, len(taps), sums.shape[2]
    room = _room(bins, len(taps) + 2 * (delays.max() + lengths.max()) + 2, len(lengths))
    column, place, shape = np.empty((3, room), np.int64)
    level, chance = np.empty(size), np.empty(size)
    ways = np.empty((2, size + lengths[0] - 1))
    for k in range(len(bins)):
        j = who[k]
        found = _gather(bins, who, k, reach, lengths, delays, further, column, place, shape)
        _weigh(taps, kernels, lengths, found, column, place, shape, weights[j], level, chance, ways)
        chance[reach] -= 1
        e, start = k, bins[k] - reach
        while e > 0 and bins[e - 1] >= start - n_lags:
            e -= 1
        while e < len(bins) and bins[e] < start + size:
            if who[e] != j:
                at = bins[e] - start
                for lag in range(max(1, -at), min(n_lags, size - 1 - at) + 1):
                    sums[j, who[e], lag - 1] -= chance[at + lag]
            e += 1
