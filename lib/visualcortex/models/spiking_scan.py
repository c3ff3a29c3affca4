"""Where a synapse would begin, and what is smooth: read off correlograms, before any fit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.ndimage import correlate1d

from visualcortex.connectivity.correlograms import BinnedSpikes, cross_correlograms, two_sided
from visualcortex.models.spiking_evidence import likeliest_lags
from visualcortex.models.spiking_exposure import REACH, gaussian_taps

WIDTHS = (0.004, 0.008)  # s, of what is tried
CENTRE, SPREAD = 0.2, 1.15  # how far most scores may be off 0, and wider than under the narrowest
SHAPES = 3


class Scan(NamedTuple):
    """Pairs one by one, before the joint fit.

    Parameters
    ----------
    width
        S.d. of the Gaussian, s.
    scores
        Of each lag from 1 on, ``(lag, source, target)``.
    information
        About a synapse at each lag, of the same shape.
    delays
        Likeliest lag, ``(source, target)``, bins.
    best
        Scores there.
    """

    width: float
    scores: np.ndarray
    information: np.ndarray
    delays: np.ndarray
    best: np.ndarray


def scan_lags(
    spikes: BinnedSpikes, kernel: np.ndarray, step: float, n_lags: int, widths: tuple[float, ...]
) -> Scan:
    r"""Score every lag of every pair against a smooth correlogram, under the widest that will do.

    .. math:: z_{ij}(\ell) = \frac{\sum_b \varepsilon_b\, (C - G * C)_{ij}(\ell + b)}
                                  {\sqrt{(G * C)_{ij}(\ell)\; \|\varepsilon - G * \varepsilon\|^2}}

    Most pairs have no synapse, so that the median of all scores should be 0 at any lag, and their
    spread should not grow with the width of *G*. The widest *G* for which both hold is taken: the
    narrower, the less of a synapse is left; the wider, the more is taken for one.

    Parameters
    ----------
    spikes
        Of one recording.
    kernel
        :math:`\varepsilon`, potential of each bin.
    step
        Of a bin, s.
    n_lags
        How many lags, from 1 on.
    widths
        Standard deviations to choose from, s, rising.
    """
    reach = n_lags + len(kernel) + math.ceil(REACH * widths[-1] / step) + 1
    counted = two_sided(cross_correlograms(spikes, reach)).astype(np.float32)
    off = ~np.eye(len(counted), dtype=bool)
    kept, narrowest = None, 0.0
    for width in widths:
        found = _scores(counted, kernel, gaussian_taps(width, step), n_lags)
        centre = abs(float(np.median(found[0][:, off])))
        spread = float(np.median(np.abs(found[0][:, off]), axis=1).mean())
        narrowest = narrowest or max(spread, 1e-9)
        if kept is not None and (centre > CENTRE or spread > SPREAD * narrowest):
            break
        kept = width, *found
    return _with_delays(*kept)


def potentials(
    decay_time: float, kick: float, slow: float, taps: np.ndarray, step: float
) -> np.ndarray:
    """Shapes of a potential, ``(shape, bin)``: a usual one, and how others may differ from it.

    The first decays exponentially after an arrival that counts `kick` more, and is 1 there. The
    others, an arrival alone and a slow decay, are orthogonal to it and to each other once their
    smooth versions are taken off, so that they cost the weight of the first no precision.

    Parameters
    ----------
    decay_time, slow
        Time constants, s.
    kick
        What the arrival itself counts for, in potentials that it leaves.
    taps
        Of the Gaussian.
    step
        Of a bin, s.
    """
    length = math.ceil(max(4 * decay_time, 2.5 * slow) / step)
    bins = np.arange(length) * step
    usual = np.where(bins < 4 * decay_time, np.exp(-bins / decay_time), 0)
    usual[0] += kick
    shapes = np.stack([usual / usual[0], bins < max(step, 0.001) - 1e-9, np.exp(-bins / slow)])
    for a in range(1, SHAPES):
        for b in range(a):
            one, two = (_sharpened(shapes[k], taps) for k in (a, b))
            norm = two @ two
            shapes[a] -= shapes[b] * (one @ two / norm if norm > 1e-12 else 0)
    return shapes


def overlap(kernel: np.ndarray, taps: np.ndarray, n_lags: int) -> np.ndarray:
    """How much of a synapse is seen at lags that are off by ``-n_lags`` to `n_lags` bins."""
    sharp = _sharpened(kernel, taps)
    alike = np.correlate(np.pad(sharp, n_lags), np.pad(sharp, n_lags), "full")
    middle = len(alike) // 2
    return alike[middle - n_lags : middle + n_lags + 1] / alike[middle]


def _sharpened(kernel: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """A potential less its smooth version."""
    return np.pad(kernel, len(taps) // 2) - np.convolve(kernel, taps)


def _scores(
    counted: np.ndarray, kernel: np.ndarray, taps: np.ndarray, n_lags: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and information at each lag, ``(lag, source, target)``."""
    smooth = correlate1d(counted, taps, axis=2)
    sharp, zero, length = counted - smooth, counted.shape[2] // 2, len(kernel)
    size = (_sharpened(kernel, taps) ** 2).sum()
    begins = zero + np.arange(1, n_lags + 1)
    beyond = np.stack([sharp[:, :, b : b + length] @ kernel for b in begins])
    usual = np.stack([smooth[:, :, b : b + length] @ kernel for b in begins]) / kernel.sum()
    information = np.maximum(usual * size, 1e-3)
    return beyond / np.sqrt(information), information


def _with_delays(width: float, scores: np.ndarray, information: np.ndarray) -> Scan:
    """Add the likeliest lags."""
    off = ~np.eye(scores.shape[1], dtype=bool)
    delays, best = np.ones(off.shape, np.int64), np.zeros(off.shape)
    lags, _ = likeliest_lags(scores[:, off])
    delays[off] = 1 + lags
    best[off] = np.take_along_axis(scores[:, off], lags[None], axis=0)[0]
    return Scan(width, scores, information, delays, best)
