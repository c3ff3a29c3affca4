"""Which correlograms have a sharp peak or trough shortly after the source fires."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAIRS = 2**15  # correlograms that are searched at a time


class Peaks(NamedTuple):
    """The sharpest peak or trough of each ordered pair, all ``(source, target)``.

    Parameters
    ----------
    z
        How far it is from the mean of the correlogram, in its standard deviations; signed.
    weight
        The correlogram summed over the lags of the peak.
    lag
        Its first lag, in bins.
    duration
        How many lags it goes on after that: 0 for a single one.
    """

    z: np.ndarray
    weight: np.ndarray
    lag: np.ndarray
    duration: np.ndarray


def excess(
    correlograms: np.ndarray, *, lags: tuple[int, int] = (1, 5), flank: int = 50
) -> np.ndarray:
    r"""Mean of each correlogram at short lags, less its mean at long ones.

    .. math:: e_{ij} = \mathrm{mean}_{\ell_1 \le \ell \le \ell_2}\, c_{ij}(\ell)
                       - \mathrm{mean}_{\ell \ge f}\, c_{ij}(\ell)

    The plain score of a pair, without a search for its best lag.

    Parameters
    ----------
    correlograms
        ``(source, target, lag)``, lags from 0 on, raw or corrected.
    lags
        First and last of the short lags, in bins.
    flank
        First of the long lags.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, signed, in the unit of the correlograms; NaN on the diagonal.

    Raises
    ------
    ValueError
        Another shape, or lags that the correlograms do not have.
    """
    correlograms = np.asarray(correlograms, np.float64)
    _check(correlograms, lags, 0)
    if not lags[1] < flank < correlograms.shape[2]:
        raise ValueError(
            f"flank must be after the last of the short lags, {lags[1]}, and at most "
            f"{correlograms.shape[2] - 1}; got {flank}. Compute correlograms of longer lags."
        )
    short = correlograms[:, :, lags[0] : lags[1] + 1].mean(axis=2)
    score = short - correlograms[:, :, flank:].mean(axis=2)
    np.fill_diagonal(score, np.nan)
    return score


def find_peaks(
    correlograms: np.ndarray, *, lags: tuple[int, int] = (1, 12), max_duration: int = 11
) -> Peaks:
    r"""Find the sharpest peak or trough of every pair, significant or not.

    For durations :math:`d \le D`, the correlogram is summed over :math:`d + 1` lags,

    .. math:: S_d(\ell) = \sum_{k=0}^{d} c(\ell + k), \qquad
              z_d(\ell) = \frac{S_d(\ell) - \mathrm{mean}_{\ell'} S_d(\ell')}
                               {\mathrm{s.d.}_{\ell'} S_d(\ell')},

    mean and standard deviation being over all lags of the correlogram, those of the peak included
    (a strong peak thus counts as somewhat less than it is). What has the largest :math:`|z|`
    within `lags` is taken; of equals, the longest.

    Bias: the largest of some seventy values is large by chance; with few spikes, z is far from
    normal. Compare with pairs that have no synapse, or with the target's and source's exchange.

    Parameters
    ----------
    correlograms
        ``(source, target, lag)``, lags from 0 on, as of `jitter_corrected`.
    lags
        First and last lag that a peak may cover, in bins.
    max_duration
        Longest duration, in bins.

    Returns
    -------
    Peaks
        NaN where the correlogram is not finite; z of a flat one is 0.

    Raises
    ------
    ValueError
        Another shape, or lags that the correlograms do not have.

    References
    ----------
    Tang, D., and others (2024). Nature Communications 15, doi 10.1038/s41467-024-49704-0.
    """
    correlograms = np.asarray(correlograms, np.float64)
    _check(correlograms, lags, max_duration)
    finite = np.isfinite(correlograms).all(axis=2)
    found = [np.full(finite.shape, np.nan) for _ in Peaks._fields]
    sources, targets = np.nonzero(finite)
    for first in range(0, len(sources), PAIRS):
        some = sources[first : first + PAIRS], targets[first : first + PAIRS]
        for whole, part in zip(
            found, _sharpest(correlograms[some], lags, max_duration), strict=True
        ):
            whole[some] = part
    return Peaks(*found)


def peak_edges(
    correlograms: np.ndarray,
    *,
    n_sd: float = 4.0,
    lags: tuple[int, int] = (0, 12),
    max_duration: int = 11,
) -> Peaks:
    """Keep the peaks and troughs beyond `n_sd` standard deviations: a directed, signed graph.

    Two neurons that fire in the same bin have a peak at lag 0 in both directions. Where both of
    these pass, it is one event and not two edges: the direction of the larger deviation at the
    lags from 1 on keeps it, and neither does if these are equal.

    Bias: `n_sd` is no error rate. Neurons driven by a third one are linked as well, and the later
    of the two is taken for the target.

    Parameters
    ----------
    correlograms
        ``(source, target, lag)``, lags from 0 on, as of `jitter_corrected`.
    n_sd
        Standard deviations that z must exceed: 4 in Tang and others (2024).
    lags
        First and last lag that a peak may cover: 0 and 12 bins of 1 ms there.
    max_duration
        Longest duration: 11 bins there.

    Returns
    -------
    Peaks
        NaN where there is no edge.

    Raises
    ------
    ValueError
        As `find_peaks`.
    """
    peaks = find_peaks(correlograms, lags=lags, max_duration=max_duration)
    kept = np.abs(peaks.z) > n_sd  # NaN is not
    if lags[0] == 0 and lags[1] > 0:
        together = kept & (peaks.lag == 0)
        together &= together.T & (np.sign(peaks.z) == np.sign(peaks.z.T))
        later = find_peaks(correlograms, lags=(1, lags[1]), max_duration=max_duration)
        kept &= ~together | (np.abs(later.z) > np.abs(later.z.T))
    return Peaks(*(np.where(kept, values, np.nan) for values in peaks))


def _check(correlograms: np.ndarray, lags: tuple[int, int], max_duration: int) -> None:
    if correlograms.ndim != 3 or correlograms.shape[0] != correlograms.shape[1]:
        raise ValueError(
            f"correlograms must have shape (source, target, lag), as many sources as targets; "
            f"got {correlograms.shape}."
        )
    if not (0 <= lags[0] <= lags[1] < correlograms.shape[2] and max_duration >= 0):
        raise ValueError(
            f"lags must be a first and a last one of 0 to {correlograms.shape[2] - 1}, and "
            f"max_duration 0 or more; got {lags} and {max_duration}. Two-sided correlograms are "
            f"not searched: pass the lags from 0 on."
        )


def _sharpest(
    correlograms: np.ndarray, lags: tuple[int, int], max_duration: int
) -> tuple[np.ndarray, ...]:
    """Of some correlograms ``(pair, lag)``: z, weight, first lag and duration, each ``(pair,)``."""
    n_pairs, (first, last) = len(correlograms), lags
    best = np.zeros((4, n_pairs))
    best[0] = np.nan
    sums = np.concatenate([np.zeros((n_pairs, 1)), correlograms.cumsum(axis=1)], axis=1)
    for duration in range(min(max_duration, last - first), -1, -1):
        summed = sums[:, duration + 1 :] - sums[:, : -duration - 1]  # (pair, first lag)
        mean, spread = summed.mean(axis=1), summed.std(axis=1)
        allowed = summed[:, first : last - duration + 1] - mean[:, None]
        at = np.abs(allowed).argmax(axis=1)
        deviation = np.take_along_axis(allowed, at[:, None], axis=1)[:, 0]
        # rounding of the running sum is no spread
        flat = spread <= 1e-9 * np.abs(sums).max(axis=1)
        z = np.where(flat, 0.0, deviation / np.where(flat, 1.0, spread))
        better = ~(np.abs(z) <= np.abs(best[0]))
        found = np.stack([z, deviation + mean, at + first, np.full(n_pairs, duration)])
        best[:, better] = found[:, better]
    return tuple(best)
