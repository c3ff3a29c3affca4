"""How far a number would move if other trials, or other neurons, had been drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A value and the ends of the interval around it."""

    value: float
    low: float
    high: float


class PermutationTest(NamedTuple):
    """A statistic, its values under permutations, (n_permutations,), and the p-value, one-sided."""

    observed: float
    null: np.ndarray
    p: float


def resampled_indices(
    n_units: int,
    n_resamples: int,
    *,
    rng: np.random.Generator,
    strata: np.ndarray | None = None,
    block: int = 1,
) -> np.ndarray:
    """Indices of bootstrap resamples: units drawn with replacement, within strata if given.

    Units that follow each other in time are alike. Drawn one by one, they make an interval that is
    too narrow; drawn in stretches longer than their likeness lasts, they keep it (the circular
    block bootstrap, Politis & Romano 1992).

    Parameters
    ----------
    n_units : int
        Number of units (trials, or neurons) to draw from.
    n_resamples : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the draws.
    strata : (n_units,) array, optional
        A unit is replaced by units of its own stratum only (trials: the stimulus), so that each
        resample holds every stratum as often as the data do.
    block : int
        Units drawn together, neighbours within their stratum; the last follows the first.

    Returns
    -------
    (n_resamples, n_units) array of int

    Raises
    ------
    ValueError
        If there is nothing to draw, or `strata` has not one entry a unit.
    """
    if n_units < 1 or n_resamples < 1:
        raise ValueError(
            f"need at least one unit and one resample; got {n_units} units, {n_resamples} resamples"
        )
    if block < 1:
        raise ValueError(f"block must be at least 1; got {block}")
    strata = np.zeros(n_units) if strata is None else np.asarray(strata)
    if strata.shape != (n_units,):
        raise ValueError(f"strata must have one entry a unit, ({n_units},); got {strata.shape}")
    indices = np.empty((n_resamples, n_units), dtype=int)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        n = len(members)
        starts = rng.integers(n, size=(n_resamples, -(-n // block), 1))
        draws = (starts + np.arange(block)) % n  # (resamples, blocks, block)
        indices[:, members] = members[draws.reshape(n_resamples, -1)[:, :n]]
    return indices


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    n_units: int,
    *,
    rng: np.random.Generator,
    strata: np.ndarray | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of any statistic of resampled units.

    The ends are the (1 - level)/2 and (1 + level)/2 quantiles of the statistic over resamples
    (Efron 1979). Unbiased statistics that are roughly normal are covered well; the interval is
    slightly too narrow for few units (by about a factor sqrt((n - 1)/n) for a mean), it carries
    the statistic's own bias, and for statistics that count coincidences between units it is
    wrong, since a resample holds the same unit twice. Resampling trials says nothing about other
    neurons, and the other way round: state the unit with the interval.

    Parameters
    ----------
    statistic : callable
        Takes an index array (n_units,) of resampled units and returns a number. It must not fit
        on units that it is tested on.
    n_units : int
        Number of units.
    rng : numpy.random.Generator
        Source of the draws.
    strata : (n_units,) array, optional
        Resample within these groups only.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    Interval
        The statistic of the units as they are, and the two ends.

    Raises
    ------
    ValueError
        If `level` is not in (0, 1), or the statistic is not finite for most resamples.

    References
    ----------
    Efron, B. (1979). Bootstrap methods: another look at the jackknife. Annals of Statistics 7.
    """
    indices = resampled_indices(n_units, n_resamples, rng=rng, strata=strata)
    values = np.array([statistic(row) for row in indices], dtype=float)
    return _percentile(float(statistic(np.arange(n_units))), values, level)


def bootstrap_mean(
    values: np.ndarray,
    *,
    rng: np.random.Generator,
    strata: np.ndarray | None = None,
    block: int = 1,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a mean, all resamples at once.

    As `bootstrap`, for the mean of one value a unit: trial-wise decoding correctness, for one.

    Parameters
    ----------
    values : (n_units,) array
        One number (or truth value) a unit.
    rng : numpy.random.Generator
        Source of the draws.
    strata : (n_units,) array, optional
        Resample within these groups only.
    block : int
        Units drawn together, as `resampled_indices` does it.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If `values` is not one finite number a unit.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"values must be one finite number a unit; got shape {values.shape} with "
            f"{np.count_nonzero(~np.isfinite(values))} not finite"
        )
    indices = resampled_indices(len(values), n_resamples, rng=rng, strata=strata, block=block)
    return _percentile(float(values.mean()), values[indices].mean(axis=1), level)


def bootstrap_crossed(
    values: np.ndarray,
    *,
    rng: np.random.Generator,
    strata: np.ndarray | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Interval of a mean over two crossed kinds of units, both resampled (Owen 2007).

    Rows (mice, seeds) and columns (images) are drawn with replacement independently, and each
    resample is the mean over what was drawn: the pigeonhole bootstrap. It asks how far the number
    would move with other rows *and* other columns. Conservative: the variance of what belongs to
    neither is counted up to three times. For few rows it is too narrow in that part, by about a
    factor sqrt((n - 1)/n).

    Parameters
    ----------
    values : (n_rows, n_columns) array
        One number (or truth value) a pair.
    rng : numpy.random.Generator
        Source of the draws.
    strata : (n_columns,) array, optional
        Columns are drawn within these groups, and all groups count the same: with the class of
        each image, the mean is a balanced accuracy.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If `values` is not a finite matrix, or `strata` has not one entry a column.

    References
    ----------
    Owen, A. B. (2007). The pigeonhole bootstrap. Annals of Applied Statistics 1, 386-411.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(
            f"values must be one finite number a row and column; got shape {values.shape} with "
            f"{np.count_nonzero(~np.isfinite(values))} not finite"
        )
    n_rows, n_columns = values.shape
    strata = np.zeros(n_columns) if strata is None else np.asarray(strata)
    columns = resampled_indices(n_columns, n_resamples, rng=rng, strata=strata)
    rows = rng.integers(n_rows, size=(n_resamples, n_rows))
    share = np.stack([np.bincount(r, minlength=n_rows) for r in rows]) / n_rows  # (R, rows)
    _, group, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    weight = 1 / (len(sizes) * sizes[group])  # (columns,), adds up to 1
    # a column stays in its stratum, so that its weight is that of the column it replaces
    means = np.take_along_axis(share @ values, columns, axis=1) @ weight
    return _percentile(float(values.mean(axis=0) @ weight), means, level)


def student(values: np.ndarray, level: float = 0.95) -> Interval:
    r"""Mean of independent units with Student's interval.

    .. math:: \bar x \pm t_{n-1}\, s / \sqrt n

    For a few networks, seeds or sessions, of which a bootstrap has too few to draw from. Bias: none
    of the mean; values are taken for normal, and an end may lie beyond that of the scale.

    Parameters
    ----------
    values : (n,) array
        One a unit; what is not finite is left out.
    level : float
        Coverage aimed at.

    Returns
    -------
    Interval
        NaN without a finite value; ends are NaN with one.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    quantile = (1 + _checked_level(level)) / 2
    if len(values) < 2:
        return Interval(float(values[0]) if len(values) else np.nan, np.nan, np.nan)
    mean = float(values.mean())
    half = float(stats.t.ppf(quantile, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def _percentile(value: float, values: np.ndarray, level: float) -> Interval:
    tail = (1 - _checked_level(level)) / 2
    finite = values[np.isfinite(values)]
    if len(finite) < len(values) / 2:
        raise ValueError(
            f"the statistic is finite for only {len(finite)} of {len(values)} resamples; "
            "leave out units for which it is not defined (silent neurons, for one)"
        )
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1 (0.95 for a 95 % interval); got {level}")
    return level
