r"""Cross-correlograms of all pairs of neurons at once, and what of them outlasts a jitter.

Cost grows with the number of pairs of spikes that are close in time, not with the length of the
recording: one pass over the spikes of all neurons, in order of time, finds each pair once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from visualcortex.spikes import SpikeTimes

SCALES = ("counts", "source", "rates", "trial_rates")
CELLS = 2**18  # window counts that are multiplied at a time: 2 MiB, which stay in the cache


@dataclass(frozen=True, eq=False)
class BinnedSpikes:
    """Spikes of many neurons in narrow bins, in order of trial, then of time.

    Made by `from_trials` or `from_times`. A bin that holds two spikes of a neuron is listed twice.

    Parameters
    ----------
    trial, bin, neuron
        Where each spike is, integers ``(spike,)``.
    n_trials, n_bins, n_neurons
        How many there are; every trial has as many bins.

    Raises
    ------
    ValueError
        Spikes in another order.
    """

    trial: np.ndarray
    bin: np.ndarray
    neuron: np.ndarray
    n_trials: int
    n_bins: int
    n_neurons: int

    def __post_init__(self) -> None:
        """Check the order, which everything below relies on."""
        times = self.trial * self.n_bins + self.bin
        if (np.diff(times) < 0).any():
            raise ValueError(
                "spikes must be in order of trial, then of bin; got others. Make them with "
                "BinnedSpikes.from_trials or BinnedSpikes.from_times."
            )

    @classmethod
    def from_trials(cls, trains: np.ndarray) -> BinnedSpikes:
        """List the spikes of trials of equal length.

        Parameters
        ----------
        trains
            Spike counts ``(trial, time, neuron)``, whole and not negative, or truth values; one
            byte for each of them is needed besides.

        Raises
        ------
        ValueError
            Another shape, or what is not a count.
        """
        trains = np.ascontiguousarray(trains)
        if trains.ndim != 3 or 0 in trains.shape or trains.dtype.kind not in "biuf":
            raise ValueError(
                f"trains must hold counts (trial, time, neuron), none of them empty; got shape "
                f"{trains.shape} of {trains.dtype}. A single trial is trains[None]."
            )
        places = np.flatnonzero(trains.reshape(-1) != 0)
        counts = trains.reshape(-1)[places]
        if not (np.isfinite(counts) & (counts > 0) & (counts == np.floor(counts))).all():
            raise ValueError(
                f"trains must be counts, whole and not negative; got values from {counts.min()} "
                f"to {counts.max()}. Rates and averages have no correlogram: pass spikes."
            )
        places = np.repeat(places, counts.astype(np.int64))
        rows, neuron = np.divmod(places, trains.shape[2])
        trial, time = np.divmod(rows, trains.shape[1])
        return cls(trial, time, neuron, *trains.shape)

    @classmethod
    def from_times(
        cls, spikes: SpikeTimes, start: float, stop: float, width: float = 0.001
    ) -> BinnedSpikes:
        """List the spikes of one uninterrupted recording, as a single trial.

        Parameters
        ----------
        spikes
            Spike times in s. Times that were rounded to whole bins should be shifted by half a
            bin first: which side of an edge they fall to is a matter of rounding.
        start, stop
            From where to where, in s. What is left after the last whole bin is left out.
        width
            Width of a bin in s; bin b starts at ``start + b * width``.

        Raises
        ------
        ValueError
            Times are not finite, or not one bin fits between `start` and `stop`.
        """
        if not (np.isfinite([start, stop, width]).all() and 0 < width <= stop - start):
            raise ValueError(
                f"start, stop and width must be in s and leave room for a bin; got {start}, "
                f"{stop} and {width}. Choose a shorter width, above 0, or a later stop."
            )
        n_bins = int(np.floor((stop - start) / width * (1 + 1e-12)))
        bins = np.floor((spikes.times - start) / width).astype(np.int64)
        # the division rounds: the edges decide, as they do where spikes are counted
        bins -= spikes.times < start + bins * width
        bins += spikes.times >= start + (bins + 1) * width
        inside = (bins >= 0) & (bins < n_bins)
        neuron = np.repeat(np.arange(spikes.n_units), spikes.n_spikes)[inside]
        order = np.argsort(bins[inside] * spikes.n_units + neuron, kind="stable")
        time = bins[inside][order]
        return cls(np.zeros_like(time), time, neuron[order], 1, n_bins, spikes.n_units)

    @property
    def n_spikes(self) -> np.ndarray:
        """Number of spikes of each neuron, ``(neuron,)``."""
        return np.bincount(self.neuron, minlength=self.n_neurons)


def cross_correlograms(spikes: BinnedSpikes, max_lag: int = 100) -> np.ndarray:
    r"""Count coincidences of all ordered pairs of neurons.

    .. math:: C_{ij}(\ell) = \sum_r \sum_t x_{r,t,i}\, x_{r,t+\ell,j}

    for trials *r* and lags :math:`\ell \ge 0`: the target *j* fires :math:`\ell` bins after the
    source *i*. The other half is that of the pair exchanged, :math:`C_{ij}(-\ell) = C_{ji}(\ell)`
    (`two_sided`). On the diagonal are autocorrelograms, without each spike's coincidence with
    itself. No spike is paired with one of another trial.

    Parameters
    ----------
    spikes
        Spikes of all neurons.
    max_lag
        Longest lag, in bins.

    Returns
    -------
    numpy.ndarray
        ``(source, target, lag)``, float64 of whole numbers; 8 n² (max_lag + 1) bytes for n
        neurons, and as much again while it is made; 26 bytes a spike besides.

    Raises
    ------
    ValueError
        Lags that no trial is long enough for.
    """
    _check_lag(spikes, max_lag)
    return _pair_sums(spikes, np.ones(len(spikes.bin)), max_lag)


def jitter_expectation(spikes: BinnedSpikes, window: int = 25, max_lag: int = 100) -> np.ndarray:
    r"""Coincidences expected if spikes had fallen anywhere within their window: interval jitter.

    Each trial is cut into windows of *L* bins, and the spikes of each neuron in each window are
    put anywhere in it, independently of other neurons. With :math:`n_{w,i}` of them in window *w*
    and :math:`\ell = qL + r`,

    .. math:: \mathrm E\,C_{ij}(\ell) = \frac{(L - r)\, K_{ij}(q) + r\, K_{ij}(q+1)}{L^2},
              \qquad K_{ij}(q) = \sum_w n_{w,i}\, n_{w+q,j}.

    It is exact, where random surrogates carry an error of their own; the same whether or not two
    spikes of a neuron may share a bin, since that changes no neuron's expectation in a bin and
    the neurons of a pair are moved independently. Autocorrelograms are another matter: the
    diagonal is NaN.

    Parameters
    ----------
    spikes
        Spikes of all neurons.
    window
        Bins of a window, from the start of the trial on.
    max_lag
        Longest lag, in bins.

    Returns
    -------
    numpy.ndarray
        ``(source, target, lag)``, as `cross_correlograms`; some MiB besides.

    Raises
    ------
    ValueError
        Trials are not whole windows, or too short for the lags.

    References
    ----------
    Harrison, M. T., and Geman, S. (2009). A rate and history-preserving resampling algorithm for
    neural spike trains. Neural Computation 21, 1244-1258.
    """
    _check_lag(spikes, max_lag)
    _check_window(spikes, window)
    return _jittered(spikes, np.ones(len(spikes.bin)), window, max_lag)


def jitter_corrected(
    spikes: BinnedSpikes, *, window: int = 25, max_lag: int = 100, scale: str = "rates"
) -> np.ndarray:
    r"""Correlograms less what slow common changes of rate explain: raw minus expected by jitter.

    With :math:`\theta(\ell) = 1 - \ell / T` for the part of a trial of *T* bins in which a pair
    can fall, *M* trials and :math:`n_{r,i}` spikes of neuron *i* in trial *r*, `scale` is

    - ``"counts"``: coincidences as counted;
    - ``"source"``: divided by :math:`\theta(\ell) \sum_r n_{r,i}`: spikes of the target for each
      spike of the source;
    - ``"rates"``: divided by :math:`\theta(\ell) \sqrt{\sum_r n_{r,i} \sum_r n_{r,j}}`, the
      geometric mean of the mean rates;
    - ``"trial_rates"``: the coincidences of each trial divided by
      :math:`M \theta(\ell) \sqrt{n_{r,i} n_{r,j}}`, the rates of that very trial.

    Bias: jitter removes what is slower than the window, and of a peak of *k* bins about the part
    *k / L*; it keeps every fast correlation, monosynaptic or from a common source. Single trials'
    rates give trials of few spikes most weight: noisier than mean rates.

    Parameters
    ----------
    spikes
        Spikes of all neurons.
    window
        Bins of a window: 25 ms in Tang and others (2024).
    max_lag
        Longest lag, in bins.
    scale
        One of the four above.

    Returns
    -------
    numpy.ndarray
        ``(source, target, lag)``; NaN on the diagonal and, unless counts are asked for, for
        neurons without spikes.

    Raises
    ------
    ValueError
        An unknown scale, trials that are not whole windows or too short for the lags.

    References
    ----------
    Jia, X., and others (2022). Multi-regional module-based signal transmission in mouse visual
    cortex. Neuron 110, 1585-1598. Tang, D., and others (2024). Stimulus type shapes the topology of
    cellular functional networks in mouse visual cortex. Nature Communications 15.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}; got {scale!r}.")
    _check_lag(spikes, max_lag)
    _check_window(spikes, window)
    weights = _trial_weights(spikes) if scale == "trial_rates" else np.ones(len(spikes.bin))
    corrected = _pair_sums(spikes, weights, max_lag)
    corrected -= _jittered(spikes, weights, window, max_lag)
    if scale != "counts":
        corrected /= _size_of_pairs(spikes, scale)[:, :, None]
        corrected /= 1 - np.arange(max_lag + 1) / spikes.n_bins
    return corrected


def two_sided(correlograms: np.ndarray) -> np.ndarray:
    """Add the negative lags, which are those of the pair exchanged.

    Parameters
    ----------
    correlograms
        ``(source, target, lag)``, lags from 0 on, symmetric at lag 0.

    Returns
    -------
    numpy.ndarray
        ``(source, target, 2 max_lag + 1)``, lags from ``-max_lag`` to ``max_lag``.
    """
    return np.concatenate([correlograms.swapaxes(0, 1)[:, :, :0:-1], correlograms], axis=2)


def _check_lag(spikes: BinnedSpikes, max_lag: int) -> None:
    if not 0 <= max_lag < spikes.n_bins:
        raise ValueError(
            f"max_lag must be from 0 to {spikes.n_bins - 1} bins, since trials have "
            f"{spikes.n_bins}; got {max_lag}. Choose shorter lags or longer trials."
        )


def _check_window(spikes: BinnedSpikes, window: int) -> None:
    if window < 1 or spikes.n_bins % window:
        whole = spikes.n_bins // max(window, 1) * window
        raise ValueError(
            f"trials must be whole windows; got {spikes.n_bins} bins in windows of {window}. "
            f"Cut the trials to {whole} bins, or choose a window that divides them."
        )


def _trial_weights(spikes: BinnedSpikes) -> np.ndarray:
    """One over the root of the number of spikes that its neuron fires in its trial, ``(spike,)``"""
    cell = spikes.trial * spikes.n_neurons + spikes.neuron
    return np.bincount(cell)[cell] ** -0.5


def _size_of_pairs(spikes: BinnedSpikes, scale: str) -> np.ndarray:
    """What correlograms are divided by ``(source, target)``, NaN for neurons without spikes."""
    n = np.where(spikes.n_spikes > 0, spikes.n_spikes, np.nan)
    both = np.outer(n, n)
    if scale == "rates":
        return np.sqrt(both)
    size = n[:, None] if scale == "source" else spikes.n_trials
    return np.where(np.isfinite(both), size, np.nan)


def _times(spikes: BinnedSpikes, gap: int, multiple: int = 1) -> tuple[np.ndarray, int]:
    """Bins of all trials behind each other with a silent gap, and from one trial to the next."""
    stride = -(-(spikes.n_bins + gap) // multiple) * multiple
    return spikes.trial * stride + spikes.bin, stride


def _pair_sums(spikes: BinnedSpikes, weights: np.ndarray, max_lag: int) -> np.ndarray:
    times, _ = _times(spikes, max_lag)
    order = np.argsort(spikes.neuron.astype(np.int32), kind="stable")
    ends = np.cumsum(spikes.n_spikes)
    sums = np.zeros((spikes.n_neurons, spikes.n_neurons, max_lag + 1))
    _add_pairs(times, spikes.neuron.astype(np.int32), weights, order, ends, sums)
    # of two spikes in one bin, the pair was found from the one that is listed first
    sums[:, :, 0] += sums[:, :, 0].T.copy()
    return sums


def _jittered(spikes: BinnedSpikes, weights: np.ndarray, window: int, max_lag: int) -> np.ndarray:
    blocks = _window_sums(spikes, weights, window, max_lag // window + 1)  # (lag in windows, N, N)
    expected = np.empty((spikes.n_neurons, spikes.n_neurons, max_lag + 1))
    for lag in range(max_lag + 1):
        whole, rest = divmod(lag, window)
        now, later = blocks[whole], blocks[whole + 1]
        expected[:, :, lag] = ((window - rest) * now + rest * later) / window**2
    diagonal = np.arange(spikes.n_neurons)
    expected[diagonal, diagonal] = np.nan
    return expected


def _window_sums(
    spikes: BinnedSpikes, weights: np.ndarray, window: int, max_lag: int
) -> np.ndarray:
    """Products of the counts in windows, summed: ``(lag in windows, source, target)``."""
    n = spikes.n_neurons
    times, stride = _times(spikes, max_lag * window, window)
    of = times // window
    n_windows = spikes.n_trials * stride // window
    step = min(max(CELLS // n, max_lag), n_windows)
    sums = np.zeros((max_lag + 1, n, n))
    for first in range(0, n_windows, step):
        # the last windows of a block meet the first ones of the next
        low, high = np.searchsorted(of, (first, first + step + max_lag))
        cell = (of[low:high] - first) * n + spikes.neuron[low:high]
        counts = np.bincount(cell, weights[low:high], (step + max_lag) * n).reshape(-1, n)
        for lag in range(max_lag + 1):
            sums[lag] += counts[:step].T @ counts[lag : step + lag]
    return sums


@numba.njit(cache=True, nogil=True, parallel=True)
def _add_pairs(
    times: np.ndarray,
    neurons: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    ends: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add the product of the weights of each pair of spikes to ``sums[source, target, lag]``.

    `order` lists the spikes neuron by neuron; each is paired with those after it in `times`.
    """
    n_spikes, max_lag = len(times), sums.shape[2] - 1
    for source in numba.prange(len(ends)):
        start = ends[source - 1] if source > 0 else 0
        for place in range(start, ends[source]):
            spike = order[place]
            other = spike + 1
            while other < n_spikes and times[other] - times[spike] <= max_lag:
                lag = times[other] - times[spike]
                sums[source, neurons[other], lag] += weights[spike] * weights[other]
                other += 1
