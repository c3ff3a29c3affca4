"""Scores of predicted responses, site by site, against what noise lets any model reach.

Responses are (image, site), the means over repeats, or (image, repeat, site); predictions are
(image, site), for images that their model was not fitted to. A site is a unit or a group of units
recorded by one electrode.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from visualcortex.evaluation.encoding import (
    CHUNK,
    Repeats,
    Resampled,
    _centred,
    _checked,
    _correlation,
    _like,
    _once,
    _only_repeated,
    _times_drawn,
    _variance,
    _weighted,
)
from visualcortex.evaluation.intervals import (
    Interval,
    PermutationTest,
    _percentile,
    resampled_indices,
)

SCORES = (
    "correlation",
    "explained_variance",
    "ceiled_correlation",
    "ceiled_correlation_squared",
    "ceiled_explained_variance",
)


def explained_variance(responses: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    r"""Share of the variance over images that predictions explain: :math:`1 - v_e / v_r`.

    With :math:`v_r` the variance of a site's responses over images and :math:`v_e` that of
    response less prediction. It forgives a constant offset, which :math:`R^2` does not, and no
    wrong scale.

    Bias: order 1 / n_images. Noise of the responses counts as unexplained: at best it is their
    reliability, see `split_half_reliability`. There is no lower bound.

    Parameters
    ----------
    responses : (n_images, n_sites) array
        Means over repeats, any unit.
    predictions : (n_images, n_sites) array
        Same unit.

    Returns
    -------
    (n_sites,) array
        At most 1; NaN for sites whose response never changes.

    Raises
    ------
    ValueError
        If the two are not finite matrices of the same shape with at least two images.
    """
    responses, predictions = _pair(responses, predictions)
    response, error = (_centred(x[:, None])[:, 0] for x in (responses, responses - predictions))
    total = np.mean(response**2, axis=0)
    return 1 - np.mean(error**2, axis=0) / np.where(total > 0, total, np.nan)


def pearson(responses: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    r"""Pearson correlation r of responses with predictions over images, site by site.

    Bias: about :math:`-r (1 - r^2) / 2M` for M images. Noise of the responses lowers it: a perfect
    model reaches the square root of their reliability, see `ceiled_scores`.

    Parameters
    ----------
    responses, predictions : (n_images, n_sites) array
        Any units.

    Returns
    -------
    (n_sites,) array
        NaN for sites whose response or prediction never changes.

    Raises
    ------
    ValueError
        As `explained_variance`.
    """
    responses, predictions = _pair(responses, predictions)
    return _correlation(responses[:, None], predictions[:, None])


def split_half_reliability(
    repeats: Repeats, *, n_splits: int = 10, rng: np.random.Generator
) -> np.ndarray:
    r"""Reliability :math:`\rho` of the mean over all repeats, from random halves of them.

    With :math:`\bar r` the Pearson correlation over images of the means of two random halves,
    averaged over halvings, the Spearman-Brown formula gives the reliability of twice as many
    repeats: :math:`\rho = 2 \bar r / (1 + \bar r)` (Spearman 1910; Brown 1910). Signal of variance
    S over images and noise of variance N give :math:`\rho = S / (S + N / n)` for n repeats.
    `oracle_correlation` of kind "split" is :math:`\bar r`.

    The formula is applied to the mean of the correlations. Applied to each of them first, as
    Brain-Score does (Schrimpf et al. 2018), it is curved where they spread most, has no lower
    bound near -1, and makes sites of low reliability lower still; where halves correlate by more
    than a half, the two agree to the second digit.

    Bias: low by the order of 1 / n_images, as any correlation, and more for few repeats of an odd
    number, whose halves are not equal (three repeats, S = N: 0.73 instead of 0.75). Images with
    fewer repeats than others make it a mean over them. Noise must be independent between repeats:
    drift or a state that outlasts a repeat counts as signal where the repeats of an image are
    neighbours in time. About half of the sites without signal come out below 0.

    Parameters
    ----------
    repeats : (n_images, n_repeats, n_sites) array, or list of (n_repeats, n_sites) arrays
        NaN where a repeat is missing. Images shown once are left out. Any unit.
    n_splits : int
        Number of halvings. A halving of an image's repeats is the same for all sites.
    rng : numpy.random.Generator
        Source of the halvings.

    Returns
    -------
    (n_sites,) array
        At most 1; NaN for sites whose response, or the mean of a half, never changes.

    Raises
    ------
    ValueError
        If shapes are wrong, a value is infinite, n_splits is below 1, or a site has fewer than two
        images with two repeats.

    References
    ----------
    Brown, W. (1910). Some experimental results in the correlation of mental abilities. British
    Journal of Psychology 3.
    Schrimpf, M. et al. (2018). Brain-Score: which artificial neural network for object recognition
    is most brain-like? bioRxiv 407007.
    Spearman, C. (1910). Correlation calculated from faulty data. British Journal of Psychology 3.
    """
    repeats = _checked(repeats)
    return _reliability(repeats, n_splits, rng)(_once(repeats))[0]


def ceiled_scores(
    responses: np.ndarray, predictions: np.ndarray, reliability: np.ndarray
) -> dict[str, np.ndarray]:
    r"""Scores of predictions, and the same divided by the best that a perfect model could reach.

    A model that knows the mean response to every image correlates with the mean of the recorded
    repeats by :math:`\sqrt\rho`, and explains :math:`\rho` of its variance. Hence :math:`r /
    \sqrt\rho`, :math:`r^2 / \rho` (with the sign of r) and :math:`EV / \rho` are 1 for it.

    Brain-Score (Schrimpf et al. 2018) divides the squared correlation by a ceiling which is the
    Spearman-Brown corrected correlation itself, not its square: that is :math:`r^2 / \rho`, on the
    same scale as :math:`EV / \rho`, but of medians over sites instead of site by site. Its code
    did so from 2026 on; before, it squared :math:`r / \rho`, which comes to :math:`1 / \rho` for a
    perfect model: such numbers are higher.

    Bias: :math:`r^2` is off by about :math:`(1 - r^2)(1 - 2 r^2) / M` for M images: too high where
    r is below 0.7. Ratios have heavy tails where the reliability is near 0, on both sides: take
    medians over sites, or leave out sites by the reliability of other images. Ratios above 1 happen
    by chance. Where reliability counts drift as signal, they are too low.

    Parameters
    ----------
    responses : (n_images, n_sites) array
        Means over all repeats.
    predictions : (n_images, n_sites) array
        Same unit.
    reliability : (n_sites,) array
        Of these means, `split_half_reliability`.

    Returns
    -------
    dict from str to (n_sites,) array
        "correlation", "explained_variance", "ceiled_correlation", "ceiled_correlation_squared" and
        "ceiled_explained_variance". The last three are NaN where the reliability is not positive,
        and each where its score is.

    Raises
    ------
    ValueError
        As `explained_variance`, or there is not one reliability a site, at most 1.
    """
    responses, predictions = _pair(responses, predictions)
    reliability = _one_a_site(reliability, responses)
    scores = pearson(responses, predictions), explained_variance(responses, predictions)
    return dict(zip(SCORES, _ceiled(*scores, reliability), strict=True))


def site_intervals(
    responses: np.ndarray,
    predictions: np.ndarray,
    reliability: Repeats,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    n_splits: int = 10,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Medians over sites of the scores of predictions, with intervals.

    Images and sites are drawn with replacement, independently of each other: the pigeonhole
    bootstrap (Owen 2007), and the ends are quantiles over resamples. All scores share their
    resamples, and calls with generators of the same state draw the same images and sites.

    Given the repeats, reliability is estimated anew from the images of each resample, with the
    same halvings: a score and its ceiling then rise and fall together with the images that both
    are taken from, and the interval holds the uncertainty of both. Given one reliability a site,
    it is held fixed: right if it comes from other images, otherwise the interval is of the score
    alone.

    Bias: the medians carry that of their scores, see `ceiled_scores`; sites without positive
    reliability are left out of ceiled ones. The interval is conservative: what belongs to an image
    and a site together, as the noise of repeats does, counts up to three times.

    Parameters
    ----------
    responses, predictions : (n_images, n_sites) array
        Means over repeats, and what a model says of them, same unit.
    reliability : (n_images, n_repeats, n_sites) array or list of arrays, or (n_sites,) array
        The repeats of the same images, as `split_half_reliability` takes them, or the reliability
        of each site.
    rng : numpy.random.Generator
        Source of the draws.
    n_resamples : int
        Number of resamples.
    n_splits : int
        Number of halvings of the repeats.
    level : float
        Coverage aimed at.

    Returns
    -------
    dict from str to Interval
        The scores of `ceiled_scores`, and "reliability", by name. Sites whose score is NaN are
        left out of the median, in each resample those that have none there.

    Raises
    ------
    ValueError
        As `ceiled_scores` and `split_half_reliability`, `level` is not in (0, 1), repeats are of
        other images, or in most resamples no site has a score.

    References
    ----------
    Owen, A. B. (2007). The pigeonhole bootstrap. Annals of Applied Statistics 1, 386-411.
    """
    models = [_pair(responses, predictions)]
    (medians,) = _medians_of_resamples(models, reliability, n_splits, n_resamples, rng)
    names = (*SCORES, "reliability")
    return {name: _around(m, level) for name, m in zip(names, medians, strict=True)}


def difference_intervals(
    responses: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    reliability: Repeats,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    n_splits: int = 10,
    level: float = 0.95,
) -> dict[str, Interval]:
    """By how much the first predictions score higher than the second, with intervals.

    The difference of the two medians over sites, so that it is the difference of what
    `site_intervals` gives; both are taken from the same resampled images and sites, so that what
    makes an image or a site hard for both cancels.

    Bias and conservatism as `site_intervals`.

    Parameters
    ----------
    responses, first, second : (n_images, n_sites) array
        Means over repeats, and what two models say of them, same unit.
    reliability, rng, n_resamples, n_splits, level
        As `site_intervals`.

    Returns
    -------
    dict from str to Interval
        By the names of `ceiled_scores`.

    Raises
    ------
    ValueError
        As `site_intervals`.
    """
    models = [_pair(responses, predictions) for predictions in (first, second)]
    a, b = _medians_of_resamples(models, reliability, n_splits, n_resamples, rng)
    # the last row is the reliability, which is the same for both
    differences = zip(SCORES, (a - b)[:-1], strict=True)
    return {name: _around(difference, level) for name, difference in differences}


def by_category(
    score: Callable[..., np.ndarray], categories: np.ndarray, *arrays: np.ndarray
) -> dict[Hashable, np.ndarray]:
    """Score of the images of each category by themselves.

    Bias: that of the score, larger for fewer images. Within a category responses vary less, so
    that reliability, and every score that noise limits, are lower than over all images: divide by
    the reliability *within* the category.

    Parameters
    ----------
    score : callable
        Takes arrays with images along the first axis, such as `pearson`.
    categories : (n_images,) array
        Category of each image.
    *arrays : (n_images, ...) array
        What the score takes: responses and predictions, or repeats.

    Returns
    -------
    dict
        From each category, in sorted order, to its score.

    Raises
    ------
    ValueError
        If the lengths differ, or a category has a single image.
    """
    categories, arrays = np.asarray(categories), tuple(map(np.asarray, arrays))
    lengths = [len(array) for array in arrays]
    if categories.ndim != 1 or not arrays or set(lengths) != {len(categories)}:
        raise ValueError(
            f"need one category an image and arrays of the same images; got categories of shape "
            f"{categories.shape} and arrays of {lengths} images"
        )
    names, counts = np.unique(categories, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"a category needs at least two images; {names[counts < 2].tolist()} have one. "
            "Leave them out, or join categories"
        )
    return {name: score(*(a[categories == name] for a in arrays)) for name in names.tolist()}


def alignment_test(
    responses: np.ndarray,
    predictions: np.ndarray,
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> PermutationTest:
    """Test whether predictions belong to the images whose responses they are held against.

    The statistic is the mean over sites of the correlation over images, `pearson`. Permuting the
    images of the predictions gives its distribution for predictions that know nothing of the
    order; p = (1 + number of values at least as high) / (1 + n_permutations) is exact (Phipson &
    Smyth 2010). A chance result where the model should do well says that rows of features and of
    responses were not joined by image, in training or here.

    Bias: exact only for predictions made without these responses. It does not see an order that is
    wrong within groups of images which are predicted alike, such as categories.

    Parameters
    ----------
    responses, predictions : (n_images, n_sites) array
        Any units. Sites that never change, in one of them, are left out.
    rng : numpy.random.Generator
        Source of the permutations.
    n_permutations : int
        Number of permutations.

    Returns
    -------
    PermutationTest
        Mean correlation as it is, those under permutation, and p.

    Raises
    ------
    ValueError
        As `explained_variance`, n_permutations is below 1, or all sites are left out.

    References
    ----------
    Phipson, B. & Smyth, G. K. (2010). Permutation p-values should never be zero. Statistical
    Applications in Genetics and Molecular Biology 9.
    """
    responses, predictions = _pair(responses, predictions)
    correlations = pearson(responses, predictions)
    sites = np.isfinite(correlations)
    if not sites.any():
        raise ValueError(
            f"none of {len(sites)} sites has both responses and predictions that vary over images"
        )
    a, b = (_standardised(x[:, sites]) for x in (responses, predictions))
    # [i, j]: what the prediction for image j adds to the mean correlation in the place of image i
    shares = a @ b.T / a.size
    null = _permuted(lambda p: shares[np.arange(len(p)), p].sum(), len(a), n_permutations, rng)
    return _tested(float(correlations[sites].mean()), null)


def join_by_id(feature_ids: Sequence[Hashable], response_ids: Sequence[Hashable]) -> np.ndarray:
    """Rows of the features in the order of the responses: `features[rows]` belongs to them.

    Parameters
    ----------
    feature_ids : (n_features_rows,) sequence
        Image of each row of the features. Images without responses are left out.
    response_ids : (n_images,) sequence
        Image of each row of the responses.

    Returns
    -------
    (n_images,) array of int

    Raises
    ------
    ValueError
        If an image has two rows in either, or a response has no features.
    """
    features, responses = np.asarray(feature_ids), np.asarray(response_ids)
    for name, ids in (("feature", features), ("response", responses)):
        _check_distinct(name, ids)
    place = {image: row for row, image in enumerate(features.tolist())}
    wanted = responses.tolist()
    missing = [image for image in wanted if image not in place]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(wanted)} images with responses have no features: "
            f"{_some(missing)}. Ids of features are such as {_some(features.tolist())}; make "
            "features of the same images, with ids of the same type"
        )
    return np.array([place[image] for image in wanted], dtype=int)


def _check_distinct(name: str, ids: np.ndarray) -> None:
    """Rows need an id each, and no two the same."""
    if ids.ndim != 1 or not ids.size:
        raise ValueError(f"{name} ids must be one a row, (n,); got shape {ids.shape}")
    distinct, counts = np.unique(ids, return_counts=True)
    twice = distinct[counts > 1].tolist()
    if twice:
        raise ValueError(
            f"{name} ids must be distinct; {len(twice)} occur more than once: {_some(twice)}. "
            "Average repeats first, and keep one row an image"
        )


def _some(values: list) -> str:
    return ", ".join(map(repr, values[:3])) + (", …" if len(values) > 3 else "")


def _reliability(repeats: np.ndarray, n_splits: int, rng: np.random.Generator) -> Resampled:
    """`split_half_reliability` of resampled images."""
    if n_splits < 1:
        raise ValueError(f"n_splits must be at least 1; got {n_splits}")
    values = _only_repeated(repeats)
    splits = [_half_means(values, rng) for _ in range(n_splits)]

    def resampled(weights: np.ndarray) -> np.ndarray:
        """Reliability for each row of weights (R, M), (R, N)."""
        r = sum(_weighted_correlation(weights, *halves) for halves in splits) / n_splits
        return 2 * r / np.where(r > -1, 1 + r, np.nan)

    return resampled


def _half_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of two random halves of the repeats that are there, (2, M, N), NaN without any."""
    order = rng.random(values.shape[:2]).argsort(axis=1)
    shuffled = np.take_along_axis(values, order[..., None], axis=1)
    present = np.isfinite(shuffled)
    # every other one of those present, whichever are missing
    odd = present & (present.cumsum(axis=1, dtype=np.int32) % 2 == 1)
    total, first = (np.nansum(shuffled, axis=1, where=w) for w in (present, odd))
    n, n_first = present.sum(axis=1), odd.sum(axis=1)
    sums, counts = np.stack([first, total - first]), np.stack([n_first, n - n_first])
    return sums / np.where(counts > 0, counts, np.nan)


def _weighted_correlation(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation over images for each row of weights (R, M), (R, N); NaN in both left out."""
    counts = np.isfinite(a).astype(float)
    a, b = (np.nan_to_num(_centred(x[:, None])[:, 0]) for x in (a, b))
    x, y, xx, yy, xy = _weighted(weights, counts, a, b, a**2, b**2, a * b)
    return (xy - x * y) / np.sqrt(_variance(x, xx) * _variance(y, yy))


def _scores(responses: np.ndarray, predictions: np.ndarray) -> Resampled:
    """`pearson` and `explained_variance` of resampled images, (2, R, N)."""
    a, b = (_centred(x[:, None])[:, 0] for x in (responses, predictions))
    sums = a, b, a**2, b**2, a * b

    def resampled(weights: np.ndarray) -> np.ndarray:
        """Both scores for each row of weights (R, M)."""
        x, y, xx, yy, xy = _weighted(weights, np.ones_like(a), *sums)
        total, predicted, shared = _variance(x, xx), yy - y**2, xy - x * y
        r = shared / np.sqrt(total * _variance(y, yy))
        # the variance of the error is total + predicted - 2 shared
        return np.stack([r, (2 * shared - predicted) / total])

    return resampled


def _ceiled(r: np.ndarray, explained: np.ndarray, reliability: np.ndarray) -> np.ndarray:
    """Scores in the order of `SCORES`, one a row."""
    best = np.where(reliability > 0, reliability, np.nan)
    return np.stack([r, explained, r / np.sqrt(best), r * np.abs(r) / best, explained / best])


def _medians_of_resamples(
    models: list[tuple[np.ndarray, np.ndarray]],
    reliability: Repeats,
    n_splits: int,
    n_resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Medians over sites of `SCORES` and reliability, (model, score, 1 + n_resamples).

    The first resample is of images and sites as they are.
    """
    responses = models[0][0]
    images, sites = (resampled_indices(n, n_resamples, rng=rng) for n in responses.shape)
    reliable = _fixed_or_resampled(reliability, responses, n_splits, rng)
    weights = np.concatenate([_once(responses), _times_drawn(images)])
    sites = np.concatenate([np.arange(responses.shape[1])[None], sites])
    scores = [_scores(*model) for model in models]
    medians = np.empty((len(models), len(SCORES) + 1, len(weights)))
    for rows in np.array_split(np.arange(len(weights)), -(-sites.size // CHUNK)):
        rho = reliable(weights[rows])
        for median, score in zip(medians, scores, strict=True):
            table = np.concatenate([_ceiled(*score(weights[rows]), rho), rho[None]])
            median[:, rows] = _median(np.take_along_axis(table, sites[None, rows], axis=2))
    return medians


def _fixed_or_resampled(
    reliability: Repeats, responses: np.ndarray, n_splits: int, rng: np.random.Generator
) -> Resampled:
    """Reliability of resampled images, or the same for all if it is given as a number a site."""
    if isinstance(reliability, np.ndarray) and reliability.ndim == 1:
        fixed = _one_a_site(reliability, responses)
        return lambda weights: np.broadcast_to(fixed, (len(weights), len(fixed)))
    repeats = _checked(reliability)
    if (repeats.shape[0], repeats.shape[2]) != responses.shape:
        raise ValueError(
            f"repeats must be (image, repeat, site) of the {responses.shape[0]} images and "
            f"{responses.shape[1]} sites of the responses; got shape {repeats.shape}"
        )
    return _reliability(repeats, n_splits, rng)


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the last axis of what is not NaN; NaN where everything is."""
    ordered = np.sort(values, axis=-1)  # NaN come last
    n = np.isfinite(values).sum(axis=-1, keepdims=True)
    # with n = 0 the first is taken, which is NaN
    middle = [
        np.take_along_axis(ordered, np.maximum(k, 0), axis=-1) for k in ((n - 1) // 2, n // 2)
    ]
    return np.mean(middle, axis=0)[..., 0]


def _around(medians: np.ndarray, level: float) -> Interval:
    return _percentile(float(medians[0]), medians[1:], level)


def _permuted(
    statistic: Callable[[np.ndarray], float],
    n_units: int,
    n_permutations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The statistic of random permutations of units, (n_permutations,)."""
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1; got {n_permutations}")
    return np.array([statistic(rng.permutation(n_units)) for _ in range(n_permutations)])


def _tested(observed: float, null: np.ndarray) -> PermutationTest:
    # permutations that change nothing must count as ties, whatever the order of summation
    reached = null >= observed - 1e-12 * max(1.0, abs(observed))
    return PermutationTest(observed, null, float((1 + reached.sum()) / (1 + len(null))))


def _standardised(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and mean square 1."""
    values = values - values.mean(axis=0)
    return values / np.sqrt(np.mean(values**2, axis=0))


def _pair(responses: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 matrices of the same shape."""
    responses = np.asarray(responses, dtype=float)
    if responses.ndim != 2 or len(responses) < 2 or not np.isfinite(responses).all():
        raise ValueError(
            "responses must be (image, site), means over repeats, finite, of at least two images; "
            f"got shape {responses.shape} with {np.count_nonzero(~np.isfinite(responses))} NaN or "
            "infinite values. Average repeats first, and leave out images that a site lacks"
        )
    return responses, _like(responses[:, None], predictions)


def _one_a_site(reliability: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Return reliability as (n_sites,); NaN where a site has none."""
    reliability = np.asarray(reliability, dtype=float)
    if reliability.shape != responses.shape[1:] or (reliability > 1 + 1e-9).any():
        raise ValueError(
            f"reliability must be one number a site, ({responses.shape[1]},), at most 1; got shape "
            f"{reliability.shape}"
            + (f", up to {np.nanmax(reliability)}" if reliability.size else "")
            + ". See split_half_reliability"
        )
    return reliability
