"""How far apart two sets of trials are, and where a model stands between two marks.

A distance means little by itself: two recordings of the same population lie apart too. So every
model is placed between the recording held against itself (0) and the same recording with its
trials shuffled (1), which keeps each neuron and destroys what neurons share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import entr, rel_entr

from visualcortex.evaluation.intervals import resampled_indices
from visualcortex.evaluation.population import ROUNDING, population_statistics
from visualcortex.evaluation.surrogates import shuffle_trials

Trials = tuple[np.ndarray, np.ndarray]  # activity, labels

# added to every bin before a Kullback-Leibler divergence, which an empty bin makes infinite
PSEUDO_COUNT = 0.5
# marks closer than this, relative to the larger, differ by rounding
SAME_MARK = 1e-9

KEPT = "shuffling trials keeps this statistic, so that the two marks are the same"
NOISY = "the two marks differ by less than the sampling of the test trials"
UNDEFINED = "the distance is not defined for one of the sets"


def correlation_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One minus the Pearson correlation over the last axis: 0 for the same pattern, 1 for none.

    Blind to a common factor and a common offset. Bias: sampling noise in either pulls it towards
    1, even when both come from the same population.

    Parameters
    ----------
    first : (..., n) array
        Statistics of one or more sets; entries that are NaN in either are left out.
    second : (n,) array
        The reference.

    Returns
    -------
    (...) array
        NaN where fewer than three entries are left, or they do not vary.
    """
    a, b, kept = _finite_pairs(first, second)
    centred_a, centred_b = _centred(a, kept), _centred(b, kept)
    power = _sum_of_products(centred_a, centred_a), _sum_of_products(centred_b, centred_b)
    varies = kept.sum(axis=-1) > 2
    for x, left in zip((a, b), power, strict=True):
        varies &= left > ROUNDING * _sum_of_products(x, x)
    scale = np.sqrt(np.where(varies, power[0] * power[1], 1))
    return np.where(varies, 1 - _sum_of_products(centred_a, centred_b) / scale, np.nan)


def normalised_error(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r"""Squared error over the variance of the reference, along the last axis: 1 - R2.

    :math:`\sum_k (a_k - b_k)^2 / \sum_k (b_k - \bar b)^2`: 0 for equality, 1 for as good as the
    reference's own mean, without an upper end. Bias: sampling noise in both sets adds to the
    numerator, that in the reference to the denominator too.

    Parameters
    ----------
    first : (..., n) array
        Statistics of one or more sets; entries that are NaN in either are left out.
    second : (n,) array
        The reference.

    Returns
    -------
    (...) array
        NaN where fewer than two entries are left, or the reference does not vary.
    """
    a, b, kept = _finite_pairs(first, second)
    centred = _centred(b, kept)
    spread = _sum_of_products(centred, centred)
    varies = (kept.sum(axis=-1) > 1) & (spread > ROUNDING * _sum_of_products(b, b))
    error = _sum_of_products(a - b, a - b)
    return np.where(varies, error / np.where(varies, spread, 1), np.nan)


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r"""Jensen-Shannon divergence of distributions along the last axis, in bits, from 0 to 1.

    :math:`H((p + q) / 2) - (H(p) + H(q)) / 2`. Bias: with n and m independent samples behind the
    two, too large by about :math:`(K - 1)(1/n + 1/m) / (8 \ln 2)` bits for K bins that are well
    filled; frames of a trial are not independent samples.

    Parameters
    ----------
    first : (..., n_bins) array
        Shares or counts, none negative; scaled to add up to 1.
    second : (n_bins,) array, or of the shape of the last axes of `first`
        The same.

    Returns
    -------
    (...) array
        NaN where a distribution is empty.

    Raises
    ------
    ValueError
        If a share is negative, or there are not as many bins.
    """
    p, q = _shares(first), _shares(second)
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"the distributions must have the same bins; got {p.shape[-1]} and {q.shape[-1]}"
        )
    mixed = entr((p + q) / 2).sum(axis=-1)
    nats = mixed - (entr(p).sum(axis=-1) + entr(q).sum(axis=-1)) / 2
    return np.maximum(nats, 0) / np.log(2)


def histogram_divergence(
    first: np.ndarray,
    second: np.ndarray,
    *,
    n_bins: int = 30,
    kind: str = "jensen-shannon",
) -> np.ndarray:
    r"""Divergence between the histograms of two samples, on the same bins, in bits.

    Bins of equal width span both samples. "jensen-shannon" as `jensen_shannon`;
    "kullback-leibler" is :math:`\sum_k q_k \log_2 (q_k / p_k)`, q being the second, the reference,
    with half a count added to every bin (as CalciumGAN was judged, with 30 bins; Li et al. 2020).
    Which entry a value belongs to is lost: two sets whose neurons swap their rates are the same.

    Bias: upwards by sampling noise, Kullback-Leibler by about :math:`(K - 1)(1/n + 1/m) / (2 \ln
    2)` bits for well filled bins; the added half counts pull it down.

    Parameters
    ----------
    first : (..., n) array
        Samples of one or more sets; NaN is left out.
    second : (m,) array
        The reference.
    n_bins : int
        K.
    kind : {"jensen-shannon", "kullback-leibler"}
        Which divergence.

    Returns
    -------
    (...) array
        NaN where a sample is empty.

    Raises
    ------
    ValueError
        If `kind` is another one, or there is not at least one bin.

    References
    ----------
    Li, B. M., Amvrosiadis, T., Rochefort, N. & Onken, A. (2020). CalciumGAN. arXiv:2009.02707.
    """
    if kind not in ("jensen-shannon", "kullback-leibler") or n_bins < 1:
        raise ValueError(
            'kind must be "jensen-shannon" or "kullback-leibler" and n_bins at least 1; '
            f"got {kind!r} and {n_bins}"
        )
    first, second = np.asarray(first, dtype=float), _finite(second)
    rows = first.reshape(-1, first.shape[-1])
    found = [_between_histograms(_finite(row), second, n_bins, kind) for row in rows]
    return np.reshape(found, first.shape[:-1])


def _mean_jensen_shannon(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`jensen_shannon` of each row, averaged over rows."""
    return jensen_shannon(first, second).mean(axis=-1)


class Compared(NamedTuple):
    """A statistic of `population_statistics`, and the distance by which it is compared."""

    statistic: str
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]


COMPARED = {
    "rates": Compared("rates", normalised_error),
    "rate distribution": Compared("rates", histogram_divergence),
    "tuning": Compared("tuning", normalised_error),
    "noise correlations": Compared("noise correlations", correlation_distance),
    "noise correlation distribution": Compared("noise correlations", histogram_divergence),
    "total correlations": Compared("total correlations", correlation_distance),
    "frame correlations": Compared("frame correlations", correlation_distance),
    "frame correlation distribution": Compared("frame correlations", histogram_divergence),
    "lagged correlations": Compared("lagged correlations", correlation_distance),
    "autocorrelations": Compared("autocorrelations", normalised_error),
    "active neurons": Compared("active neurons", jensen_shannon),
    "active neurons given stimulus": Compared(
        "active neurons given stimulus", _mean_jensen_shannon
    ),
    "active frames": Compared("active frames", _mean_jensen_shannon),
    "fano factors": Compared("fano factors", normalised_error),
}


def statistic_distances(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    compared: Mapping[str, Compared] = COMPARED,
) -> dict[str, float]:
    """Distances between two sets of trials, one number a statistic.

    Bias: all are above 0 for two sets of the same population, the more so the fewer the trials.
    Read them beside those of two recordings of the same sizes (`placement`).

    Parameters
    ----------
    first : mapping from name to array
        `population_statistics` of one set.
    second : mapping from name to array
        Of the reference, measured with the same arguments.
    compared : mapping from name to Compared
        What is compared and how; what neither set holds is left out.

    Returns
    -------
    dict from name to float

    Raises
    ------
    ValueError
        If the two hold different statistics, or of other shapes: other neurons, lags, stimuli.
    """
    shapes = [{name: np.shape(x) for name, x in part.items()} for part in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the two sets must be measured alike (neurons, stimuli, lags, frames); "
            f"got {shapes[0]} and {shapes[1]}"
        )
    return {
        name: float(distance(first[statistic], second[statistic]))
        for name, (statistic, distance) in compared.items()
        if statistic in first
    }


def placement(
    models: Mapping[str, Sequence[Trials]],
    test: Trials,
    *,
    real: Trials,
    rng: np.random.Generator,
    n_shuffles: int = 4,
    n_resamples: int = 200,
    block: int = 1,
    level: float = 0.95,
    max_lag: int = 3,
    n_frames: int | None = None,
    compared: Mapping[str, Compared] = COMPARED,
) -> pd.DataFrame:
    r"""Where models stand between the recording itself and its trial-shuffled surrogate.

    .. math::

        p = \frac{d(\mathrm{model}, \mathrm{test}) - d(\mathrm{real}, \mathrm{test})}
            {d(\mathrm{shuffled}, \mathrm{test}) - d(\mathrm{real}, \mathrm{test})}

    0: as near to the test trials as other recorded trials; 1: no nearer than if neurons shared
    nothing. Below 0 is possible: a model may average out the sampling noise of the trials that it
    learned from. Distances are averaged over networks, and over shuffles, before the ratio.

    The intervals come from a bootstrap of test trials within their stimuli, *paired* (the same
    drawn trials in all three distances) and, where there is more than one network, of networks.
    They say how far p would move with other test trials and networks; the trials that the models
    learned from, and the shuffles of them, stay as they are. Drawing trials twice adds sampling
    noise to all three distances, which shifts p under resampling; the intervals therefore are the
    percentiles of p less their median, added to p. Nominal 95 % intervals covered in 82 to 98 % of
    simulated test sets of 60 trials, depending on the statistic.

    p is NaN, with a reason, where the marks do not differ: for what shuffling keeps exactly (all
    that concerns single neurons), and where the interval of the difference between the marks
    reaches 0. Bias: that of a ratio, small where the marks lie several of their standard errors
    apart; with few networks, their part of the interval is too narrow. Every set must hold the
    same number of trials of each stimulus as `real`, so that sampling noise puts no model nearer
    or farther.

    Parameters
    ----------
    models : mapping from name to sequence of (activity, labels)
        The trials that each network of a model wrote.
    test : (activity, labels)
        Recorded trials that no model has seen.
    real : (activity, labels)
        Recorded trials that the models may have learned from.
    rng : numpy.random.Generator
        Source of shuffles and resamples.
    n_shuffles : int
        Surrogates over which the upper mark is averaged.
    n_resamples : int
        Bootstrap resamples.
    block : int
        Test trials drawn together, neighbours within their stimulus (`resampled_indices`).
    level : float
        Coverage aimed at.
    max_lag, n_frames : int, optional
        Of `population_statistics`.
    compared : mapping from name to Compared
        What is compared and how.

    Returns
    -------
    pandas.DataFrame
        One row a statistic and model, in the order given: statistic, model, placement, low, high,
        distance, real, shuffled (the three distances) and reason ("" where there is a placement).

    Raises
    ------
    ValueError
        If a set holds other stimuli, or not as many trials of each as `real`; if sets differ in
        frames or neurons; if `level` is not between 0 and 1 or there are too few resamples.
    """
    models = {name: list(networks) for name, networks in models.items()}
    _check_sets(models, test, real)
    if not 0 < level < 1 or n_resamples < 2 or n_shuffles < 1:
        raise ValueError(
            "level must lie between 0 and 1, with at least 2 resamples and 1 shuffle; "
            f"got {level}, {n_resamples} and {n_shuffles}"
        )
    shuffled = [(shuffle_trials(*real, rng=rng), real[1]) for _ in range(n_shuffles)]
    groups = {"real": [real], "shuffled": shuffled, **{("model", m): models[m] for m in models}}
    draws = resampled_indices(len(test[1]), n_resamples, rng=rng, strata=test[1], block=block)
    options = {"max_lag": max_lag, "n_frames": n_frames}
    found = _distances_to_test(groups, test, draws, options, compared)
    rows = []
    for name in found["real"]:
        real_mark, shuffled_mark = (found[mark][name].mean(axis=1) for mark in ("real", "shuffled"))
        for model in models:
            distances = _over_networks(found["model", model][name], rng)
            placed = _placed(distances, real_mark, shuffled_mark, level)
            three = (distances[0], real_mark[0], shuffled_mark[0])
            rows.append((name, model, *placed[:3], *three, placed[3]))
    columns = ["statistic", "model", "placement", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "distance", "real", "shuffled", "reason"])


def _distances_to_test(
    groups: Mapping[object, list[Trials]],
    test: Trials,
    draws: np.ndarray,
    options: Mapping[str, int | None],
    compared: Mapping[str, Compared],
) -> dict[object, dict[str, np.ndarray]]:
    """Distances to the test trials (row 0) and to resamples of them, group -> statistic -> (R, C).

    C is the number of sets of the group, R one more than the number of draws.
    """
    activity, labels = np.asarray(test[0]), np.asarray(test[1])
    stacked = {key: _stacked(sets, options) for key, sets in groups.items()}
    rows: dict[object, dict[str, list]] = {key: {} for key in groups}
    for draw in (np.arange(len(labels)), *draws):
        reference = population_statistics(activity[draw], labels[draw], **options)
        for key, sets in stacked.items():
            for name, distances in _to_reference(sets, reference, compared).items():
                rows[key].setdefault(name, []).append(distances)
    return {key: {name: np.stack(x) for name, x in found.items()} for key, found in rows.items()}


def _stacked(sets: list[Trials], options: Mapping[str, int | None]) -> dict[str, np.ndarray]:
    """Statistics of several sets, statistic -> (n_sets, ...)."""
    measured = [population_statistics(*trials, **options) for trials in sets]
    return {name: np.stack([one[name] for one in measured]) for name in measured[0]}


def _to_reference(
    stacked: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    compared: Mapping[str, Compared],
) -> dict[str, np.ndarray]:
    """Distances of stacked sets to one reference, statistic -> (n_sets,)."""
    return {
        name: distance(stacked[statistic], reference[statistic])
        for name, (statistic, distance) in compared.items()
        if statistic in reference
    }


def _over_networks(distances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean over networks, in row 0 over each once, below over drawn ones: (R, C) -> (R,)."""
    drawn = rng.integers(distances.shape[1], size=distances.shape)
    drawn[0] = np.arange(distances.shape[1])
    return np.take_along_axis(distances, drawn, axis=1).mean(axis=1)


def _placed(
    model: np.ndarray, real: np.ndarray, shuffled: np.ndarray, level: float
) -> tuple[float, float, float, str]:
    """Placement, its interval, and why there is none; of distances (R,), row 0 not resampled."""
    gap = shuffled - real
    defined = np.isfinite(gap) & np.isfinite(model)
    if not defined[0] or defined.mean() < 0.5:
        return (np.nan, np.nan, np.nan, UNDEFINED)
    if abs(gap[0]) <= SAME_MARK * max(shuffled[0], real[0], SAME_MARK):
        return (np.nan, np.nan, np.nan, KEPT)
    tails = [(1 - level) / 2, (1 + level) / 2]
    if gap[0] < 0 or np.quantile(gap[1:][defined[1:]], tails[0]) <= 0:
        return (np.nan, np.nan, np.nan, NOISY)
    usable = defined & (gap > 0)
    places = (model - real)[usable] / gap[usable]
    low, middle, high = np.quantile(places[1:], [tails[0], 0.5, tails[1]])
    return float(places[0]), float(places[0] + low - middle), float(places[0] + high - middle), ""


def _check_sets(models: Mapping[str, list[Trials]], test: Trials, real: Trials) -> None:
    """Raise an error that says which set does not fit the recorded one."""
    if not models or not all(models.values()):
        raise ValueError(f"need at least one network for each model; got {models and list(models)}")
    stimuli, counts = np.unique(real[1], return_counts=True)
    if not np.array_equal(np.unique(test[1]), stimuli):
        raise ValueError(
            f"test trials show stimuli {np.unique(test[1]).tolist()}, recorded ones "
            f"{stimuli.tolist()}: split within each stimulus"
        )
    for name, networks in {"test": [test], **models}.items():
        for activity, labels in networks:
            if np.shape(activity)[1:] != np.shape(real[0])[1:]:
                raise ValueError(
                    f"{name}: expected frames and neurons {np.shape(real[0])[1:]}; "
                    f"got {np.shape(activity)[1:]}"
                )
            found = np.unique(labels, return_counts=True)
            if name != "test" and not all(map(np.array_equal, found, (stimuli, counts))):
                raise ValueError(
                    f"{name}: expected as many trials of each stimulus as were recorded, "
                    f"{dict(zip(stimuli.tolist(), counts.tolist(), strict=True))}; got "
                    f"{dict(zip(*(x.tolist() for x in found), strict=True))}. Sample with the "
                    "labels of the recorded trials, or thin the larger set."
                )


def _between_histograms(first: np.ndarray, second: np.ndarray, n_bins: int, kind: str) -> float:
    """Divergence between the histograms of two finite samples, in bits."""
    if not len(first) or not len(second):
        return np.nan
    span = min(first.min(), second.min()), max(first.max(), second.max())
    p, q = (np.histogram(x, n_bins, span)[0] for x in (first, second))
    if kind == "jensen-shannon":
        return float(jensen_shannon(p, q))
    return float(rel_entr(_shares(q + PSEUDO_COUNT), _shares(p + PSEUDO_COUNT)).sum() / np.log(2))


def _finite(values: np.ndarray) -> np.ndarray:
    """The finite ones among values, (n,)."""
    values = np.ravel(np.asarray(values, dtype=float))
    return values[np.isfinite(values)]


def _finite_pairs(
    first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both arrays with 0 where either is not finite, and where both are."""
    if np.shape(first)[-1:] != np.shape(second)[-1:]:
        raise ValueError(
            f"need as many entries in both; got shapes {np.shape(first)} and {np.shape(second)}"
        )
    a, b = np.broadcast_arrays(np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    both = np.isfinite(a) & np.isfinite(b)
    return np.where(both, a, 0.0), np.where(both, b, 0.0), both


def _centred(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Values less the mean of those that are kept, and 0 for the others, which are 0 already."""
    mean = values.sum(axis=-1) / np.maximum(kept.sum(axis=-1), 1)
    return values - mean[..., None] * kept


def _sum_of_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products along the last axis."""
    return np.einsum("...k,...k->...", a, b)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Scale counts to add up to 1 along the last axis; NaN where they are all zero."""
    counts = np.asarray(counts, dtype=float)
    if not (counts >= 0).all():
        raise ValueError("a distribution has negative or missing shares; pass counts or shares")
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), np.nan)
