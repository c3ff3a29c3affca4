"""Classifiers compared on the same test trials, with the same draws of trials for all of them.

What is right with one classifier is mostly right with another, so that their difference is known
better than either accuracy. A value a trial is usually whether it is right; any number does, such
as its surprise in nats. Seeds are trainings of the same classifier from other starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from visualcortex.evaluation.intervals import Interval, _percentile, resampled_indices

# draws of trials, resamples times trials, that are counted at a time
N_DRAWS = 4_000_000


class McNemar(NamedTuple):
    """Trials that only one of two classifiers has right, and the two-sided p-value."""

    only_first: int
    only_second: int
    p: float


class BestOf(NamedTuple):
    """The best of several classifiers, and what is left of its lead.

    ``observed`` is its mean on these trials, ``corrected`` the mean on trials that had no part in
    choosing, and ``share`` how often each was the best over resamples.
    """

    name: str
    observed: float
    corrected: float
    share: dict[str, float]


def accuracy_table(
    correct: Mapping[str, np.ndarray],
    *,
    rng: np.random.Generator,
    block: int = 1,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of each classifier, with intervals over trials and seeds.

    Trials are drawn in blocks of neighbours in time (`resampled_indices`), the same for all
    classifiers, and crossed with the seeds of each, which are drawn on their own: the pigeonhole
    bootstrap of `bootstrap_crossed`. The interval says how far the number would move with other
    trials of this session and other starts of the training, not with other animals.

    Bias: none in the accuracy of trials that chose nothing. The interval is conservative in what
    belongs to one trial and one seed alone, and too narrow for few seeds, by about
    sqrt((n - 1) / n) in their part; with one seed that part is missing. Blocks should be longer
    than the likeness of neighbours lasts, and many.

    Parameters
    ----------
    correct : mapping from name to (n_seeds, n_trials) or (n_trials,) array
        Whether each trial is right, or another number a trial. Trials are in order of time, the
        same for all; numbers of seeds may differ.
    rng : numpy.random.Generator
        Source of the draws.
    block : int
        Trials drawn together.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    pandas.DataFrame
        A row a classifier, by name: "value" (mean over seeds and trials), "low", "high" and
        "n_seeds".

    Raises
    ------
    ValueError
        If there is no classifier, one is not finite or of other trials, or the numbers are out of
        range.

    References
    ----------
    Owen, A. B. (2007). The pigeonhole bootstrap. Annals of Applied Statistics 1, 386-411.
    """
    values = _checked(correct)
    means = _means_of_resamples(values, rng, block, n_resamples)
    rows = [
        [*_percentile(float(x.mean()), drawn, level), len(x)]
        for x, drawn in zip(values.values(), means, strict=True)
    ]
    columns = ["value", "low", "high", "n_seeds"]
    return pd.DataFrame(rows, index=pd.Index(values, name="classifier"), columns=columns)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    rng: np.random.Generator,
    block: int = 1,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Accuracy of the first classifier less that of the second, on the same draws of trials.

    As `accuracy_table`, whose intervals may overlap where this one leaves out 0. Seeds of the two
    are drawn independently of each other.

    Parameters
    ----------
    first, second : (n_seeds, n_trials) or (n_trials,) array
        Whether each trial is right, or another number a trial. Numbers of seeds may differ.
    rng, block, n_resamples, level
        As in `accuracy_table`.

    Returns
    -------
    Interval
        Above 0 where the first is better.

    Raises
    ------
    ValueError
        As `accuracy_table`.
    """
    pair = {"first": first, "second": second}
    settings = {"block": block, "n_resamples": n_resamples, "level": level}
    (row,) = difference_table(pair, "second", rng=rng, **settings).itertuples(index=False)
    return Interval(row.value, row.low, row.high)


def difference_table(
    correct: Mapping[str, np.ndarray],
    reference: str,
    *,
    rng: np.random.Generator,
    block: int = 1,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of each classifier less that of a reference, on the same draws of trials.

    Each interval is for its own comparison: of many, some leave out 0 by chance.

    Parameters
    ----------
    correct, rng, block, n_resamples, level
        As in `accuracy_table`.
    reference : str
        Which classifier the others are compared with.

    Returns
    -------
    pandas.DataFrame
        A row for each of the others, by name: "value", "low" and "high".

    Raises
    ------
    ValueError
        As `accuracy_table`, or there is no such reference.
    """
    values = _checked(correct)
    if reference not in values:
        raise ValueError(f"reference must be one of {list(values)}; got {reference!r}")
    means = dict(zip(values, _means_of_resamples(values, rng, block, n_resamples), strict=True))
    rows = {
        name: _percentile(
            float(x.mean() - values[reference].mean()), means[name] - means[reference], level
        )
        for name, x in values.items()
        if name != reference
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])
    return table.rename_axis("classifier")


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Exact test of whether two classifiers are right equally often, on the same trials.

    Of the trials that only one of the two has right, each is as likely to be the first's: a
    two-sided binomial test (McNemar 1947). It is for one training of each; take
    `paired_difference` for several seeds.

    Bias: exact for independent trials, and conservative, as counts are whole. Where neighbours in
    time are alike p is too small.

    Parameters
    ----------
    first, second : (n_trials,) array of bool
        Whether each trial is right.

    Returns
    -------
    McNemar
        p is 1 where they never differ.

    Raises
    ------
    ValueError
        If the two are not truth values of the same trials.

    References
    ----------
    McNemar, Q. (1947). Note on the sampling error of the difference between correlated
    proportions or percentages. Psychometrika 12.
    """
    first, second = np.asarray(first), np.asarray(second)
    if (
        first.shape != second.shape
        or first.ndim != 1
        or {first.dtype, second.dtype} != {np.dtype(bool)}
    ):
        raise ValueError(
            "need truth values (n_trials,) of the same trials, from one training each; got "
            f"{first.dtype} {first.shape} and {second.dtype} {second.shape}. Pass one seed."
        )
    only = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    return McNemar(*only, float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0)


def best_of(
    correct: Mapping[str, np.ndarray],
    *,
    rng: np.random.Generator,
    block: int = 1,
    n_resamples: int = 2000,
) -> BestOf:
    """Find the best classifier, and how good it is where it was not chosen.

    The highest of several accuracies on the same trials is too high for what it would be on new
    ones, the more so the more classifiers and the closer they are. Here each resample of trials
    chooses its best, which is then scored on the trials that the resample left out (Tsamardinos,
    Greasidou & Borboudakis 2018).

    Bias: the corrected value is slightly too low, since a resample chooses with about 63 % of the
    trials. Seeds are averaged, not drawn.

    Parameters
    ----------
    correct, rng, block, n_resamples
        As in `accuracy_table`; higher must be better.

    Returns
    -------
    BestOf
        Of equals, the first is the best.

    Raises
    ------
    ValueError
        As `accuracy_table`, or every resample holds all trials: blocks are too long.

    References
    ----------
    Tsamardinos, I., Greasidou, E. and Borboudakis, G. (2018). Bootstrapping the out-of-sample
    predictions for efficient and accurate cross-validation. Machine Learning 107.
    """
    values = _checked(correct)
    each = np.stack([x.mean(axis=0) for x in values.values()])  # (M, n)
    draws = _times_drawn(each.shape[1], rng, block, n_resamples)
    parts = [_chosen_and_tested(each, drawn) for drawn in draws]
    chosen, outside = (np.concatenate(part) for part in zip(*parts, strict=True))
    if np.isnan(outside).all():
        raise ValueError(
            f"no resample leaves out a trial with blocks of {block} among {each.shape[1]} trials. "
            "Take shorter blocks, or more resamples."
        )
    names, shares = list(values), np.bincount(chosen, minlength=len(values)) / len(chosen)
    means = each.mean(axis=1)
    name = names[int(means.argmax())]
    share = dict(zip(names, shares.tolist(), strict=True))
    return BestOf(name, float(means.max()), float(np.nanmean(outside)), share)


def _chosen_and_tested(each: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best classifier of each resample, (r,), and its mean over the trials that were not drawn."""
    best, left_out = (drawn @ each.T).argmax(axis=1), drawn == 0
    with np.errstate(invalid="ignore"):  # NaN where all were drawn
        scores = (left_out @ each.T) / left_out.sum(axis=1)[:, None]
    return best, scores[np.arange(len(best)), best]


def _means_of_resamples(
    values: Mapping[str, np.ndarray], rng: np.random.Generator, block: int, n_resamples: int
) -> np.ndarray:
    """Mean of each classifier over the drawn trials and seeds of each resample, (M, R)."""
    n_trials = next(iter(values.values())).shape[1]
    stacked = np.concatenate(list(values.values())).T  # (n, seeds of all)
    draws = _times_drawn(n_trials, rng, block, n_resamples)
    by_seed = np.concatenate([drawn @ stacked for drawn in draws]) / n_trials  # (R, seeds of all)
    ends = np.cumsum([len(x) for x in values.values()])
    means = []
    for means_of_one in np.split(by_seed, ends[:-1], axis=1):
        seeds = rng.integers(means_of_one.shape[1], size=means_of_one.shape)
        means.append(np.take_along_axis(means_of_one, seeds, axis=1).mean(axis=1))
    return np.stack(means)


def _times_drawn(
    n_trials: int, rng: np.random.Generator, block: int, n_resamples: int
) -> Iterator[np.ndarray]:
    """How often some resamples hold each trial, (r, n), until there are `n_resamples`."""
    n_rows = max(1, N_DRAWS // n_trials)
    for done in range(0, max(n_resamples, 1), n_rows):
        # a number below 1 is refused there
        n = min(n_rows, n_resamples - done)
        indices = resampled_indices(n_trials, n, rng=rng, block=block)
        rows = np.arange(n)[:, None] * n_trials
        counts = np.bincount((rows + indices).ravel(), minlength=n * n_trials)
        yield counts.reshape(n, n_trials).astype(float)


def _checked(correct: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of each classifier, (seed, trial), or an error that says which one does not fit."""
    values = {name: np.atleast_2d(np.asarray(x, dtype=float)) for name, x in correct.items()}
    shapes = {name: np.shape(x) for name, x in correct.items()}
    trials = {x.shape[1:] for x in values.values()}
    if len(trials) != 1 or len(*trials) != 1 or any(x.size == 0 for x in values.values()):
        raise ValueError(
            "need (seed, trial) or (trial,) of at least one classifier, all of the same trials; "
            f"got {shapes or 'none'}. Keep the trials that all of them predict."
        )
    missing = {name: int(np.sum(~np.isfinite(x))) for name, x in values.items()}
    if any(missing.values()):
        raise ValueError(
            f"values must be finite; got NaN or infinity in {missing} of them. Leave out those "
            "trials for all classifiers, or mix a little of 1 / n_classes into the probabilities."
        )
    return values
