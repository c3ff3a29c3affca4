"""Whether two systems find the same images alike: dissimilarities of images, and their alignment.

A representational dissimilarity matrix (RDM) is (image, image). It says nothing of which feature
does what, so that a layer of a network, a recording and a judgement can be held against each
other (Kriegeskorte, Mur & Bandettini 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import kendalltau, rankdata

from visualcortex.evaluation.encoding import _times_drawn
from visualcortex.evaluation.intervals import (
    Interval,
    PermutationTest,
    _percentile,
    resampled_indices,
)
from visualcortex.evaluation.prediction import _permuted, _tested
from visualcortex.evaluation.reliability import _centred, _centred_both_ways
from visualcortex.training import choose_device

METRICS = ("correlation", "euclidean")
METHODS = ("spearman", "pearson", "kendall_tau_a")
# numbers held at a time: features of all images, and pairs of images of some resamples
FEATURES = 2**22
PAIRS = 2**18


class NoiseCeiling(NamedTuple):
    """Bounds of the best comparison that any RDM could reach on average over subjects."""

    lower: float
    upper: float


class RdmIntervals(NamedTuple):
    """Comparison of each model with the data, and that of the first of two less the second's."""

    models: dict[str, Interval]
    differences: dict[tuple[str, str], Interval]


@torch.inference_mode()
def rdm(
    features: np.ndarray, metric: str = "correlation", *, device: str | torch.device = "auto"
) -> np.ndarray:
    r"""Dissimilarity of every two images in a space of features.

    - "correlation": :math:`1 - r`, with r the Pearson correlation over features, from 0 to 2. It
      forgives the mean and the scale of an image's features (Kriegeskorte et al. 2008);
    - "euclidean": the squared distance over the number of features, in their unit squared.

    Bias: noise in the features makes images less alike. The squared distance is too large by twice
    the noise variance of a feature, for all pairs alike if noise is; the correlation distance is
    pulled towards 1.

    Parameters
    ----------
    features : (n_images, n_features) array
        May be mapped from a file: columns are read piece by piece, once.
    metric : str
        "correlation" or "euclidean".
    device : str or torch.device
        Where to compute. Products of float32 features are float32, right to about 1e-6 of the
        variance of an image's features (euclidean: of the squared distance from the mean image),
        and summed in float64.

    Returns
    -------
    (n_images, n_images) array
        float64, symmetric, with 0 on the diagonal.

    Raises
    ------
    ValueError
        If the metric is unknown, the features are not a finite matrix of at least two images, or
        an image's features are constant, so that they correlate with nothing.

    References
    ----------
    Kriegeskorte, N., Mur, M. & Bandettini, P. (2008). Representational similarity analysis:
    connecting the branches of systems neuroscience. Frontiers in Systems Neuroscience 2:4.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}; got {metric!r}")
    features = _checked_features(features)
    if metric == "correlation":
        distances = _correlation_distances(_covariances_of_rows(features, device))
    else:
        gram = _products_of_rows(features, device)
        square = gram.diagonal()
        distances = (square[:, None] + square - 2 * gram) / features.shape[1]
    np.fill_diagonal(distances, 0.0)
    return distances.clip(min=0)


def compare_rdms(
    first: np.ndarray, second: np.ndarray, method: str = "spearman"
) -> float | np.ndarray:
    r"""Correlation of two RDMs over pairs of images.

    - "spearman": of ranks, ties at their mean: only the order of dissimilarities counts;
    - "pearson": of dissimilarities, up to a mean and a scale;
    - "kendall_tau_a": (concordant - discordant) / all pairs of dissimilarities, ties being
      neither. To be preferred where a model has ties, which the others reward (Nili et al. 2014).

    Bias: noise in either pulls it to 0: read it against `rdm_noise_ceiling`. Pairs share images
    and are not independent: no textbook p-value holds, see `rdm_permutation` and `rdm_interval`.

    Parameters
    ----------
    first, second : (..., n_images, n_images) array
        RDMs of the same images; axes on the left are broadcast. Symmetric: above the diagonal
        counts.
    method : str
        "spearman", "pearson" or "kendall_tau_a".

    Returns
    -------
    float, or array of the axes on the left

    Raises
    ------
    ValueError
        If the method is unknown, the matrices are not square and of the same images, at least
        three, a value above the diagonal is not finite, or all of them are equal.

    References
    ----------
    Nili, H. et al. (2014). A toolbox for representational similarity analysis. PLoS Comput. Biol.
    10.
    """
    _check_method(method)
    a, b = _pairs(first, "first"), _pairs(second, "second")
    if a.shape[-1] != b.shape[-1]:
        sizes = [np.shape(x)[-1] for x in (first, second)]
        raise ValueError(f"RDMs must be of the same images; got {sizes[0]} and {sizes[1]} images")
    values = _compared(a, b, method)
    return values if values.ndim else float(values)


def rdm_noise_ceiling(rdms: np.ndarray, method: str = "spearman") -> NoiseCeiling:
    """Bounds of how well the true RDM could do on average over subjects (Nili et al. 2014).

    Upper: the mean comparison of a subject's RDM with the mean of all. Lower: with the mean of the
    *other* subjects. RDMs are turned into ranks before they are averaged for "spearman" and
    "kendall_tau_a", and standardised for "pearson"; for the first and the last no RDM can do
    better than the upper bound, for "kendall_tau_a" nearly none.

    Bias: the upper bound is too high, since the mean has been fitted to the noise of the very
    subject that it is held against: without any signal it is about 1 / sqrt(n_subjects), not 0.
    The lower bound is too low, since the mean of the others still has noise, the more so the fewer
    they are. The truth lies between their expectations, which meet for many subjects. Subjects
    must be independent: average the sessions of one first.

    Parameters
    ----------
    rdms : (n_subjects, n_images, n_images) array
        One RDM a subject.
    method : str
        As `compare_rdms`.

    Returns
    -------
    NoiseCeiling
        Lower and upper.

    Raises
    ------
    ValueError
        As `compare_rdms`, or there are fewer than two subjects.
    """
    _check_method(method)
    pairs = _pairs(rdms, "rdms")  # (S, V)
    if pairs.ndim != 2 or len(pairs) < 2:
        raise ValueError(
            "a noise ceiling needs RDMs (subject, image, image) of at least two subjects; got "
            f"shape {np.shape(rdms)}"
        )
    scaled = _unit(pairs) if method == "pearson" else rankdata(pairs, axis=-1)
    total = scaled.sum(axis=0)
    lower, upper = (_compared(pairs, mean, method) for mean in (total - scaled, total))
    return NoiseCeiling(float(lower.mean()), float(upper.mean()))


def rdm_interval(
    models: Mapping[str, np.ndarray],
    data: np.ndarray,
    method: str = "spearman",
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> RdmIntervals:
    """How well RDMs of models compare with that of a recording, with intervals over images.

    Images are drawn with replacement, and with them rows and columns of all RDMs alike; the ends
    are quantiles over resamples. All models share their resamples, which makes differences
    between them paired.

    A resample holds an image twice and more. The dissimilarity of an image to its own copy is 0 in
    every RDM: such pairs agree in all of them without any reason, and would raise every
    comparison. They are dropped (Schuett et al. 2023). Pairs of other images count as often as
    they were drawn, but two copies of one dissimilarity are not compared with each other in
    "kendall_tau_a".

    Bias: the comparison's own, see `compare_rdms`. Resamples have 63 % different images: for few
    images, 20 or so, the interval is a little too wide. It says nothing about other subjects:
    these stay as they are.

    Parameters
    ----------
    models : mapping from str to (n_images, n_images) array
        RDMs by name.
    data : (n_images, n_images) or (n_subjects, n_images, n_images) array
        RDM of the recording; of several, the mean of the comparisons is taken.
    method : str
        As `compare_rdms`. "kendall_tau_a" goes from resample to resample and takes about twenty
        times as long as the others.
    rng : numpy.random.Generator
        Source of the draws.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    RdmIntervals
        `models` by name; `differences` by pairs of names, in the order of the mapping.

    Raises
    ------
    ValueError
        As `compare_rdms`, there is no model, `level` is not in (0, 1), or the comparison is
        undefined in most resamples, for want of images.

    References
    ----------
    Schuett, H. H. et al. (2023). Statistical inference on representational geometries. eLife 12.
    """
    _check_method(method)
    n_images = np.shape(data)[-1] if np.ndim(data) in (2, 3) else 0
    if not models or any(np.shape(model) != (n_images,) * 2 for model in models.values()):
        shapes = {name: np.shape(model) for name, model in models.items()}
        raise ValueError(
            "need at least one model and data, (image, image), of the same images, or (subject, "
            f"image, image); got data of shape {np.shape(data)} and models {shapes}"
        )
    pairs = [_pairs(model, name) for name, model in models.items()]
    recorded = np.atleast_2d(_pairs(data, "data"))
    images = resampled_indices(n_images, n_resamples, rng=rng)
    # images as they are come first
    weights = np.concatenate([np.ones((1, n_images)), _times_drawn(images)])
    scores = dict(zip(models, _of_resamples(pairs, recorded, weights, method), strict=True))
    differences = {(a, b): scores[a] - scores[b] for a, b in combinations(models, 2)}
    return RdmIntervals(_intervals(scores, level), _intervals(differences, level))


def rdm_permutation(
    first: np.ndarray,
    second: np.ndarray,
    method: str = "spearman",
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> PermutationTest:
    """Test whether two RDMs are related: the images of one are permuted (Mantel 1967).

    Rows and columns move together, so that the pairs of an image stay together.
    p = (1 + number of values at least as high) / (1 + n_permutations) is exact under the
    hypothesis that images could be exchanged; it says nothing about other images or subjects.

    Parameters
    ----------
    first, second : (n_images, n_images) array
        RDMs of the same images.
    method : str
        As `compare_rdms`.
    rng : numpy.random.Generator
        Source of the permutations.
    n_permutations : int
        Number of permutations.

    Returns
    -------
    PermutationTest
        The comparison as it is, those under permutation, and p.

    Raises
    ------
    ValueError
        As `compare_rdms`, there is more than one RDM in either, or n_permutations is below 1.

    References
    ----------
    Mantel, N. (1967). The detection of disease clustering and a generalized regression approach.
    Cancer Research 27.
    """
    if np.ndim(first) != 2 or np.ndim(second) != 2:
        raise ValueError(
            f"need two RDMs (image, image); got shapes {np.shape(first)} and {np.shape(second)}"
        )
    observed = compare_rdms(first, second, method)
    scaled = _scaled(_pairs(first, "first"), method)
    square, upper = _square(_scaled(_pairs(second, "second"), method)), _upper(len(second))
    compare = _concordance_share if method == "kendall_tau_a" else np.dot

    def permuted(order: np.ndarray) -> float:
        """Compare with the images of the second in this order."""
        return float(compare(scaled, square[order[upper[0]], order[upper[1]]]))

    return _tested(observed, _permuted(permuted, len(square), n_permutations, rng))


@torch.inference_mode()
def centred_kernel(
    features: np.ndarray, *, unbiased: bool = True, device: str | torch.device = "auto"
) -> np.ndarray:
    r"""Products of the features of every two images, centred, for `kernel_alignment`.

    With :math:`K = X X'`, and biased, :math:`H K H` with :math:`H = I - 1 1' / M`. Unbiased, the
    diagonal, where noise adds up, is left out: off it,
    :math:`K_{ij} - K_{i\cdot} / (M - 2) - K_{\cdot j} / (M - 2) + K_{\cdot\cdot} / (M - 1)(M - 2)`
    with sums over what is left, and 0 on it (Szekely & Rizzo 2014). Inner products of such
    matrices, over M (M - 3), are the unbiased HSIC of Song et al. (2012).

    Parameters
    ----------
    features : (n_images, n_features) array
        May be mapped from a file: columns are read piece by piece, once.
    unbiased : bool
        Which of the two.
    device : str or torch.device
        Where to compute; as for `rdm`.

    Returns
    -------
    (n_images, n_images) array
        float64, in the unit of the features squared.

    Raises
    ------
    ValueError
        If the features are not a finite matrix of at least four images.

    References
    ----------
    Song, L. et al. (2012). Feature selection via dependence maximization. J. Mach. Learn. Res. 13.
    Szekely, G. J. & Rizzo, M. L. (2014). Partial distance correlation with methods for
    dissimilarities. Annals of Statistics 42.
    """
    features = _checked_features(features)
    if len(features) < 4:
        raise ValueError(f"alignment needs at least four images; got {len(features)}")
    # features less their means over images: both kernels stay the same, and rounding is less
    kernel = _products_of_rows(features, device)
    return (
        _without_diagonal(kernel) if unbiased else _centred_both_ways(torch.tensor(kernel)).numpy()
    )


def kernel_alignment(first: np.ndarray, second: np.ndarray) -> float:
    r"""Cosine of two centred kernels: :math:`\langle K, L \rangle / \|K\| \|L\|`.

    Parameters
    ----------
    first, second : (n_images, n_images) array
        From `centred_kernel`, both biased or both unbiased.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the two are not square matrices of the same images, or one is 0: its features are the
        same for all images.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 2 or first.shape[0] != first.shape[1]:
        raise ValueError(
            f"need two kernels of the same images; got shapes {first.shape} and {second.shape}"
        )
    norms = np.linalg.norm(first), np.linalg.norm(second)
    if min(norms) == 0:
        raise ValueError(
            "a kernel is 0 everywhere: its features are the same for all images, and have no "
            "alignment with others. Leave them out"
        )
    return float(np.vdot(first / norms[0], second / norms[1]))


def linear_cka(
    x: np.ndarray, y: np.ndarray, *, unbiased: bool = True, device: str | torch.device = "auto"
) -> float:
    r"""Linear centred kernel alignment of two sets of features of the same images.

    :math:`\mathrm{HSIC}(X, Y) / \sqrt{\mathrm{HSIC}(X, X)\, \mathrm{HSIC}(Y, Y)}`, with HSIC the
    Hilbert-Schmidt independence criterion (Kornblith et al. 2019), biased or estimated without
    bias (Song et al. 2012). It does not change under rotation of the features and under one scale
    for all, and does under other linear maps.

    Bias: of the biased one, towards 1, for independent features about :math:`1 / \sqrt{(1 + M /
    P_x)(1 + M / P_y)}` for M images and P features that are white: use it to compare with the
    literature only. The unbiased one is 0 on average for independent features, and below 0 half
    of the time; as a ratio it is off by order 1 / M otherwise. Noise in either lowers both.

    Parameters
    ----------
    x, y : (n_images, n_features) array
        Of the same images in the same order; any numbers of features.
    unbiased : bool
        Which HSIC.
    device : str or torch.device
        Where to compute; as for `rdm`. To compare many, make each `centred_kernel` once.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    ValueError
        As `centred_kernel` and `kernel_alignment`.

    References
    ----------
    Kornblith, S. et al. (2019). Similarity of neural network representations revisited. ICML.
    """
    return kernel_alignment(
        *(centred_kernel(features, unbiased=unbiased, device=device) for features in (x, y))
    )


def _checked_features(features: np.ndarray) -> np.ndarray:
    """Return features as a matrix of real numbers, still in their file if they were."""
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < 2 or not features.size:
        raise ValueError(
            "features must be (image, feature) of at least two images; got shape "
            f"{features.shape}. Flatten what belongs to an image"
        )
    if features.dtype.kind not in "biuf":
        raise ValueError(f"features must be real numbers; got {features.dtype}")
    return features


def _columns(features: np.ndarray, device: str | torch.device) -> Iterator[torch.Tensor]:
    """Copies of some columns at a time: float32 if the features are, or shorter; else float64."""
    short = features.dtype.kind == "f" and features.dtype.itemsize <= 4
    width = max(1, FEATURES // len(features))
    for start in range(0, features.shape[1], width):
        piece = np.array(
            features[:, start : start + width],
            dtype=np.float32 if short else np.float64,
            order="C",
        )
        yield torch.from_numpy(piece).to(choose_device(device))


def _products_of_rows(features: np.ndarray, device: str | torch.device) -> np.ndarray:
    """Gram matrix of the rows less the mean row, (M, M), float64."""
    total = 0.0
    for x in _columns(features, device):
        x = _centred(x)
        total = total + (x @ x.T).double()
    return _symmetric_and_finite(total, features)


def _covariances_of_rows(features: np.ndarray, device: str | torch.device) -> np.ndarray:
    """Covariances over features of every two rows, (M, M), float64; exactly 0 for constants.

    Pieces are centred each by itself, and what their means add is put back (Chan et al. 1983): no
    large mean is ever squared.
    """
    total, means, sizes = 0.0, [], []
    for x in _columns(features, device):
        shifted = _centred(x.T).T
        total = total + (shifted @ shifted.T).double()
        # from the first column on, so that constants stay exact
        means.append(x[:, 0].double() + (x - x[:, :1]).double().mean(1))
        sizes.append(x.shape[1])
    size = torch.tensor(sizes, dtype=torch.float64, device=total.device)[:, None]
    between = torch.stack(means) - means[0]  # (pieces, M)
    between -= (size * between).sum(0) / size.sum()
    return _symmetric_and_finite((total + between.T @ (size * between)) / size.sum(), features)


def _symmetric_and_finite(products: torch.Tensor, features: np.ndarray) -> np.ndarray:
    """Return products, rid of rounding's asymmetry, or say which features are not finite."""
    values = ((products + products.T) / 2).cpu().numpy()
    if not np.isfinite(values).all():
        wrong = [image for image, row in enumerate(features) if not np.isfinite(row).all()]
        raise ValueError(
            f"features must be finite, and so small that their squares are; images {wrong[:5]} "
            f"({len(wrong)} in all) have NaN or infinite values. Leave them out, or scale features"
        )
    return values


def _correlation_distances(covariances: np.ndarray) -> np.ndarray:
    """1 - correlation of every two rows, or an error that names rows without variance."""
    variance = covariances.diagonal()
    constant = np.flatnonzero(variance <= 0)
    if len(constant):
        raise ValueError(
            f"the features of {len(constant)} images are constant, for one image {constant[0]}: "
            'they correlate with nothing. Leave these images out, or use "euclidean"'
        )
    scale = np.sqrt(variance)
    return 1 - (covariances / np.outer(scale, scale)).clip(-1, 1)


def _without_diagonal(kernel: np.ndarray) -> np.ndarray:
    """Off-diagonal products centred so that every row adds up to 0 without the diagonal."""
    n = len(kernel)
    kernel = kernel.copy()
    np.fill_diagonal(kernel, 0.0)
    rows = kernel.sum(axis=0) / (n - 2)
    kernel += rows.sum() / (n - 1) - rows - rows[:, None]
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}; got {method!r}")


def _upper(n_images: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n_images, k=1)


def _pairs(rdms: np.ndarray, name: str) -> np.ndarray:
    """Dissimilarities above the diagonal, (..., V), which vary."""
    rdms = np.asarray(rdms, dtype=float)
    if rdms.ndim < 2 or rdms.shape[-1] != rdms.shape[-2] or rdms.shape[-1] < 3 or not rdms.size:
        raise ValueError(
            f"{name} must be (image, image), or more of them on the left, of at least three "
            f"images; got shape {rdms.shape}"
        )
    pairs = rdms[(..., *_upper(rdms.shape[-1]))]
    if not np.isfinite(pairs).all() or (pairs == pairs[..., :1]).all(axis=-1).any():
        raise ValueError(
            f"dissimilarities must be finite, and not the same for all pairs of images; {name} has "
            f"{np.count_nonzero(~np.isfinite(pairs))} NaN or infinite values above the diagonal"
        )
    return pairs


def _square(pairs: np.ndarray) -> np.ndarray:
    """Symmetric matrix with these values above the diagonal, (M, M)."""
    n_images = round((1 + np.sqrt(1 + 8 * len(pairs))) / 2)
    matrix = np.zeros((n_images, n_images))
    matrix[_upper(n_images)] = pairs
    return matrix + matrix.T


def _compared(a: np.ndarray, b: np.ndarray, method: str) -> np.ndarray:
    """`compare_rdms` of pairs (..., V)."""
    if method == "kendall_tau_a":
        return np.vectorize(_concordance_share, signature="(v),(v)->()")(a, b)
    return np.sum(_scaled(a, method) * _scaled(b, method), axis=-1)


def _scaled(pairs: np.ndarray, method: str) -> np.ndarray:
    """Dissimilarities whose scalar product compares them, for Kendall's as they are."""
    if method == "kendall_tau_a":
        return pairs
    return _unit(rankdata(pairs, axis=-1) if method == "spearman" else pairs)


def _unit(pairs: np.ndarray) -> np.ndarray:
    """Less their mean, and of length 1."""
    pairs = pairs - pairs.mean(axis=-1, keepdims=True)
    return pairs / np.linalg.norm(pairs, axis=-1, keepdims=True)


def _concordance_share(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-a."""
    return _concordance(a, b) / (len(a) * (len(a) - 1) / 2)


def _concordance(a: np.ndarray, b: np.ndarray) -> float:
    """Number of concordant less that of discordant pairs of entries; NaN if one is constant."""
    untied = [len(x) * (len(x) - 1) / 2 - _ties(x) for x in (a, b)]
    # tau-b is this number over the geometric mean of the pairs that are not tied
    return kendalltau(a, b, method="asymptotic")[0] * np.sqrt(untied[0] * untied[1])


def _ties(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(float)
    return np.sum(counts * (counts - 1)) / 2


def _of_resamples(
    models: list[np.ndarray], recorded: np.ndarray, weights: np.ndarray, method: str
) -> np.ndarray:
    """Comparison of each model for images drawn so many times, weights (R, M), (model, R)."""
    i, j = _upper(weights.shape[1])
    compare = _resampled_tau_a if method == "kendall_tau_a" else _resampled_correlations
    sources = [[_in_resamples(x, method) for x in rows] for rows in (models, recorded)]
    scores = np.empty((len(models), len(weights)))
    at_once = max(1, PAIRS // len(i))
    for start in range(0, len(weights), at_once):
        rows = slice(start, start + at_once)
        drawn = weights[rows].T
        scores[:, rows] = compare(*sources, drawn[i] * drawn[j])
    return scores


def _intervals(values: dict, level: float) -> dict:
    """The first value of each, and the interval of the others."""
    return {key: _percentile(float(x[0]), x[1:], level) for key, x in values.items()}


# of pairs drawn so many times in each resample, (V, R), their values there, which broadcast
Values = Callable[[np.ndarray], np.ndarray]


def _in_resamples(pairs: np.ndarray, method: str) -> Values:
    if method == "spearman":
        return _weighted_ranks(pairs)
    # Pearson's is the same for dissimilarities less a constant, with less rounding
    return lambda weights: (pairs - pairs.mean())[:, None]


def _weighted_ranks(pairs: np.ndarray) -> Values:
    """Ranks of values that occur so many times, ties at their mean, up to a constant.

    A rank is the weight of all that is smaller and half of that of its equals: the order of the
    values is found once, and a resample needs no sorting.
    """
    order = np.argsort(pairs)
    distinct, group = np.unique(pairs, return_inverse=True)
    ends = np.searchsorted(pairs[order], distinct, side="right")

    def ranks(weights: np.ndarray) -> np.ndarray:
        """Ranks (V, R) of values drawn so many times."""
        upto = np.zeros((len(distinct) + 1, weights.shape[1]))
        upto[1:] = np.cumsum(weights[order], axis=0)[ends - 1]
        return ((upto[1:] + upto[:-1]) / 2)[group]

    return ranks


def _resampled_correlations(
    models: list[Values], recorded: list[Values], weights: np.ndarray
) -> np.ndarray:
    """Mean over the recorded of the weighted correlation with each model, (model, R)."""
    targets = sum(_weighted_unit(values(weights), weights) for values in recorded) * weights
    products = [targets * _weighted_unit(values(weights), weights) for values in models]
    return np.stack([product.sum(axis=0) for product in products]) / len(recorded)


def _weighted_unit(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values of weighted mean 0 and weighted sum of squares 1 in each resample, (V, R)."""
    total = weights.sum(axis=0)
    values = values - (values * weights).sum(axis=0) / np.where(total > 0, total, np.nan)
    square = (values**2 * weights).sum(axis=0)
    # one pair that was drawn alone leaves rounding
    several = (weights > 0).sum(axis=0) > 1
    return values / np.sqrt(np.where(several & (square > 0), square, np.nan))


def _resampled_tau_a(
    models: list[Values], recorded: list[Values], weights: np.ndarray
) -> np.ndarray:
    """Mean over the recorded of Kendall's tau-a with each model, (model, R)."""
    scores = np.empty((len(models), weights.shape[1]))
    for column, drawn in enumerate(weights.T.astype(int)):
        a, b = ([np.repeat(x(weights)[:, 0], drawn) for x in rows] for rows in (models, recorded))
        # copies of one dissimilarity are no comparison
        comparisons = (drawn.sum() ** 2 - np.sum(drawn**2)) / 2
        scores[:, column] = [
            np.mean([_concordance(x, y) for y in b]) / comparisons if comparisons else np.nan
            for x in a
        ]
    return scores
