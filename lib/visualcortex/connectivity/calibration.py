"""Whether probabilities of synapses, and their delays, are what they say.

Probabilities, delays and weights are ``(source, target)``. A weight of 0 is no synapse; a
probability that is not finite (the diagonal) is left out together with its pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from visualcortex.connectivity.wiring import _matrices
from visualcortex.evaluation.calibration import _bins, _wilson
from visualcortex.evaluation.intervals import _checked_level, resampled_indices

ROUNDING = 1e-6  # by which probabilities may miss 0 or 1


class FalseShare(NamedTuple):
    """Of pairs above a probability, the share without a synapse.

    Parameters
    ----------
    observed
        The share; NaN where no pair is above.
    low, high
        Its interval.
    expected
        The share that their probabilities say, one less their mean.
    n
        Number of pairs above.
    """

    observed: float
    low: float
    high: float
    expected: float
    n: int


class DelayError(NamedTuple):
    """How far delays are off.

    Parameters
    ----------
    median
        Median size of the error, ms; NaN where there is no synapse.
    constant
        The same of the best constant, the median of the true delays: what chance can do.
    n
        Synapses with a finite delay, over which both are.
    """

    median: float
    constant: float
    n: int


def brier(probabilities: np.ndarray, weights: np.ndarray) -> float:
    r"""Mean squared distance of probabilities from truth, :math:`\langle (p - y)^2 \rangle`.

    A proper score: in expectation nothing but the true probabilities has a lower one (Brier
    1950). Who says the density *d* of every pair gets :math:`d (1 - d)`, and is calibrated.

    Parameters
    ----------
    probabilities
        That a synapse exists, ``(source, target)``.
    weights
        ``(source, target)``, 0 where there is no synapse.

    Returns
    -------
    float
        From 0, the best, to 1.

    Raises
    ------
    ValueError
        Matrices are not square or of one size, weights not finite, or probabilities not from 0
        to 1; or no pair is known.

    References
    ----------
    Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. Monthly
    Weather Review 78, 1-3.
    """
    p, linked, _ = _pairs(probabilities, weights)
    return float(np.mean((p - linked) ** 2))


def expected_over_true(probabilities: np.ndarray, weights: np.ndarray) -> float:
    """Synapses that probabilities expect, their sum, over those there are: 1 is calibrated.

    Calibration in the large only; what is too sure at both ends may have 1.

    Parameters
    ----------
    probabilities, weights
        As for `brier`.

    Returns
    -------
    float
        NaN where there is no synapse.

    Raises
    ------
    ValueError
        As `brier`.
    """
    p, linked, _ = _pairs(probabilities, weights)
    return float(p.sum() / linked.sum()) if linked.any() else float("nan")


def reliability(
    probabilities: np.ndarray,
    weights: np.ndarray,
    *,
    n_bins: int = 10,
    scheme: str = "equal_width",
    rng: np.random.Generator | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of synapses among the pairs that were said to have one with about this probability.

    Bias: none of the share of a bin; it averages what happens within the bin.

    Parameters
    ----------
    probabilities, weights
        As for `brier`.
    n_bins
        At most as many bins; those without a pair are left out.
    scheme
        ``"equal_width"``: bins of equal width from 0 to 1, a bin holds its upper edge;
        ``"equal_mass"``: between quantiles of the probabilities, ties together. Most pairs have no
        synapse, so that the latter has most bins next to 0.
    rng
        Source of resamples of neurons. Intervals are those of other neurons then (percentiles,
        as of `bootstrap_neurons`), which heed that pairs share neurons; of no width where all
        pairs of a bin are alike. Without, Wilson's (1927), which takes pairs for independent: too
        narrow as a rule.
    n_resamples, level
        Number of resamples, and the coverage aimed at.

    Returns
    -------
    pandas.DataFrame
        A row a bin, from the lowest probability: ``predicted`` and ``observed`` (means over its
        pairs), ``low``, ``high`` and ``n``.

    Raises
    ------
    ValueError
        As `brier`, or settings that are none.
    """
    p, linked, place = _pairs(probabilities, weights)
    _, member, n = _bins(p, n_bins, scheme)
    observed = np.bincount(member, weights=linked) / n
    predicted = np.bincount(member, weights=p) / n
    if rng is None:
        low, high = _wilson(observed, n, level)
    else:
        drawn = _times_drawn(len(np.asarray(weights)), n_resamples, rng)
        ends = [_ends(drawn, place, member == k, linked, level) for k in range(len(n))]
        low, high = np.transpose(ends)
    columns = {"predicted": predicted, "observed": observed, "low": low, "high": high, "n": n}
    return pd.DataFrame(columns)


def calibration_error(
    probabilities: np.ndarray,
    weights: np.ndarray,
    *,
    n_bins: int = 10,
    scheme: str = "equal_width",
) -> float:
    r"""Mean distance of shares from probabilities, :math:`\sum_b \frac{n_b}{n} |o_b - p_b|`.

    Over the bins of `reliability`, of observed share *o* and mean probability *p* (Naeini, Cooper
    and Hauskrecht 2015).

    Bias: upwards for few pairs, since a bin of n pairs is off by about
    :math:`\sqrt{2 o (1 - o) / (\pi n)}` by chance; downwards by what cancels within bins. Most
    pairs have a probability near 0 and hardly an error, so that it is small even where the top
    bins are far off: read it beside `false_share`.

    Parameters
    ----------
    probabilities, weights, n_bins, scheme
        As for `reliability`.

    Returns
    -------
    float
        From 0, the best, to 1.

    Raises
    ------
    ValueError
        As `reliability`.
    """
    p, linked, _ = _pairs(probabilities, weights)
    _, member, _ = _bins(p, n_bins, scheme)
    return float(np.abs(np.bincount(member, weights=linked - p)).sum() / len(p))


def false_share(
    probabilities: np.ndarray,
    weights: np.ndarray,
    above: float = 0.9,
    *,
    rng: np.random.Generator | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> FalseShare:
    """Share of pairs above a probability that have no synapse, beside the share that they say.

    Parameters
    ----------
    probabilities, weights
        As for `brier`.
    above
        Pairs of a higher probability count.
    rng, n_resamples, level
        As for `reliability`.

    Returns
    -------
    FalseShare
        NaN where no pair is above.

    Raises
    ------
    ValueError
        As `brier`, or `above` is not from 0 to below 1.
    """
    if not 0 <= above < 1:
        raise ValueError(f"above must be from 0 to below 1, for example 0.9; got {above}.")
    p, linked, place = _pairs(probabilities, weights)
    kept = p > above
    n = int(kept.sum())
    if n == 0:
        return FalseShare(*(float("nan"),) * 4, 0)
    observed = float(np.mean(~linked[kept]))
    if rng is None:
        ends = (float(end) for end in _wilson(observed, n, level))
    else:
        drawn = _times_drawn(len(np.asarray(weights)), n_resamples, rng)
        ends = _ends(drawn, place, kept, ~linked, level)
    return FalseShare(observed, *ends, float(1 - p[kept].mean()), n)


def delay_error(
    delays: np.ndarray,
    truth_delays: np.ndarray,
    weights: np.ndarray,
    called: np.ndarray | None = None,
) -> DelayError:
    r"""Median size of the error of delays of true synapses, :math:`|1000\, \hat d - d|`, ms.

    Bias: delays of steps have errors of up to half a step at best. Over called synapses only, it
    is about those that were easy to find.

    Parameters
    ----------
    delays
        Estimates, **s**, ``(source, target)``; NaN where there is none.
    truth_delays
        True delays, **ms**, ``(source, target)``, as of `KnownWiring`.
    weights
        ``(source, target)``, 0 where there is no synapse.
    called
        Truth values ``(source, target)``; with these, only synapses that were called count.

    Returns
    -------
    DelayError
        NaN where no synapse is left.

    Raises
    ------
    ValueError
        Matrices are not square or of one size, or weights are not finite.
    """
    delays, weights = _matrices(delays, weights)
    truth_delays, _ = _matrices(truth_delays, weights)
    kept = (weights != 0) & np.isfinite(delays) & ~np.eye(len(weights), dtype=bool)
    if called is not None:
        kept &= _matrices(called, weights)[0] != 0
    n = int(kept.sum())
    if n == 0:
        return DelayError(float("nan"), float("nan"), 0)
    truth = truth_delays[kept]
    error = np.abs(1000 * delays[kept] - truth)
    constant = np.median(np.abs(truth - np.median(truth)))
    return DelayError(float(np.median(error)), float(constant), n)


def _pairs(
    probabilities: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Probability of each known pair, whether linked, and its source and target, ``(pair,)``."""
    probabilities, weights = _matrices(probabilities, weights)
    known = np.isfinite(probabilities) & ~np.eye(len(weights), dtype=bool)
    p = probabilities[known]
    if len(p) == 0:
        raise ValueError("no pair has a finite probability. Pass probabilities of a fitted method.")
    if p.min() < -ROUNDING or p.max() > 1 + ROUNDING:
        raise ValueError(
            f"probabilities must be from 0 to 1; got {p.min():g} to {p.max():g}. Signed scores "
            f"are none: take probabilities_ of a method, not scores_."
        )
    return np.clip(p, 0, 1), weights[known] != 0, np.nonzero(known)


def _times_drawn(n_neurons: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each resample holds each neuron, ``(resample, neuron)``."""
    drawn = resampled_indices(n_neurons, n_resamples, rng=rng)
    return np.stack([np.bincount(one, minlength=n_neurons) for one in drawn]).astype(float)


def _ends(
    drawn: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    kept: np.ndarray,
    true: np.ndarray,
    level: float,
) -> tuple[float, float]:
    """Quantiles over resamples of the share of true pairs among those that are kept."""
    tail = (1 - _checked_level(level)) / 2
    source, target = (one[kept] for one in place)
    n = drawn.shape[1]
    all_pairs, true_pairs = np.zeros((2, n, n))
    all_pairs[source, target], true_pairs[source, target] = 1, true[kept]
    # a pair is in a resample as often as its source, times as often as its target
    n_all, n_true = (((drawn @ one) * drawn).sum(axis=1) for one in (all_pairs, true_pairs))
    some = n_all > 0
    if some.mean() < 0.5:
        return float("nan"), float("nan")
    low, high = np.quantile(n_true[some] / n_all[some], [tail, 1 - tail])
    return float(low), float(high)
