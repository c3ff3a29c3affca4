"""Which of the images was shown: every response looks for the most similar template.

Responses are (image, neuron); templates and queries come from different presentations, for one
the two halves of `visualcortex.preprocessing.split_half`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from visualcortex.training import to_tensor

METRICS = ("correlation", "dot")


@torch.inference_mode()
def nearest_image(
    templates: np.ndarray,
    queries: np.ndarray,
    *,
    metric: str = "correlation",
    device: str | torch.device = "auto",
) -> np.ndarray:
    r"""Find the template that is most similar to each query, all pairs in one matrix product.

    ``"correlation"``: Pearson correlation over neurons, :math:`\sum_i (t_i - \bar t)(q_i - \bar q)
    / \|t - \bar t\| \|q - \bar q\|`, as decode2800.m of Stringer et al. (2019). ``"dot"``:
    :math:`\sum_i t_i q_i`, as their Python notebook, which prefers templates of large norm.
    Standardise each neuron over images first, or neurons of large variance decide.

    Parameters
    ----------
    templates : (n_images, n_neurons) array
        One response an image.
    queries : (n_queries, n_neurons) array
        Responses from other presentations, same neurons.
    metric : {"correlation", "dot"}
        What similar means.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_queries,) array of int
        Row of the nearest template. A template that is the same in all neurons has no correlation
        and is never the nearest; a query that is the same in all neurons tells nothing, and gets
        any template.

    Raises
    ------
    ValueError
        If the neurons differ, the metric is not known or there are too few neurons for it.
    """
    _check(templates, queries, metric)
    t, q = to_tensor(templates, device), to_tensor(queries, device)
    if metric == "dot":
        return (q @ t.T).argmax(1).cpu().numpy()
    # centre and norm of the query do not change which template is the nearest
    t = _centred_rows(t)
    score = _over_norm(q @ t.T, t.square().sum(1), 0)
    return score.argmax(1).cpu().numpy()


def identity_correct(
    first: np.ndarray,
    second: np.ndarray,
    *,
    metric: str = "correlation",
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Whether the second response to each image is nearest to the first response to it.

    Chance is 1 / n_images. The mean estimates, without bias, how often this decoder is right among
    this many images and neurons with one template each; it falls with the number of images.
    Nothing is fitted, so nothing leaks. Correct images are not quite independent: they compete
    for the same templates.

    Parameters
    ----------
    first, second : (n_images, n_neurons) array
        Templates, and responses from other presentations of the same images.
    metric : {"correlation", "dot"}
        See `nearest_image`.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_images,) array of bool

    Raises
    ------
    ValueError
        If the two have different shapes, or as `nearest_image`.
    """
    _check_pair(first, second)
    nearest = nearest_image(first, second, metric=metric, device=device)
    return nearest == np.arange(len(nearest))


@torch.inference_mode()
def identity_by_neurons(
    first: np.ndarray,
    second: np.ndarray,
    counts: Sequence[int],
    *,
    n_draws: int = 5,
    metric: str = "correlation",
    rng: np.random.Generator,
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Whether each image is recognised from random subsets of the neurons.

    The subsets of one draw are nested: each adds neurons to the one before. Products and sums over
    neurons add up, so that a whole draw costs as much as its largest subset alone.

    Bias: as `identity_correct` for a random population of that size out of the recorded one.
    Subsets of one draw share neurons, and those of different draws overlap more the larger they
    are: the spread over draws is too small for large counts, and 0 for all neurons.

    Parameters
    ----------
    first, second : (n_images, n_neurons) array
        As in `identity_correct`.
    counts : sequence of int
        Sizes of the subsets, rising, at most n_neurons.
    n_draws : int
        Number of random orders of the neurons.
    metric : {"correlation", "dot"}
        See `nearest_image`. A correlation needs at least 3 neurons (of 2 it is 1 or -1).
    rng : numpy.random.Generator
        Source of the orders.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_counts, n_draws, n_images) array of bool

    Raises
    ------
    ValueError
        If the counts do not rise or are too small or too large, `n_draws` is not positive, or as
        `identity_correct`.
    """
    _check_pair(first, second)
    _check(first, second, metric)
    _check_counts(counts, n_draws, np.shape(first)[1], metric)
    # neurons first, so that those of a subset lie together; offsets of a whole row change no
    # correlation, and without them sums of squares lose no digits
    neurons = []
    for half in (to_tensor(first, device), to_tensor(second, device)):
        rows = _centred_rows(half) if metric == "correlation" else half
        neurons.append(rows.T.contiguous())  # (N, M)
    correct = np.empty((len(counts), n_draws, len(first)), dtype=bool)
    for draw in range(n_draws):
        order = torch.as_tensor(rng.permutation(len(neurons[0])), device=neurons[0].device)
        correct[:, draw] = _nested_correct(*neurons, order, counts, metric)
    return correct


def _nested_correct(
    templates: torch.Tensor,
    queries: torch.Tensor,
    order: torch.Tensor,
    counts: Sequence[int],
    metric: str,
) -> np.ndarray:
    """Whether image m is recognised, (C, M), from each leading part of the order of neurons."""
    n_images = templates.shape[1]
    dot = templates.new_zeros(n_images, n_images)
    total, square, query_total = templates.new_zeros(3, n_images)
    own = torch.arange(n_images, device=dot.device)
    correct = []
    for start, stop in zip([0, *counts], counts, strict=False):
        t, q = templates[order[start:stop]], queries[order[start:stop]]  # (n, M) each
        dot.addmm_(q.T, t)
        score = dot
        if metric == "correlation":
            total += t.sum(0)
            square += t.square_().sum(0)
            query_total += q.sum(0)
            score = torch.addr(dot, query_total, total, alpha=-1 / stop)
            # where hardly more than rounding is left of the square, there is no variance
            score = _over_norm(score, square - total**2 / stop, 1e-6 * square)
        correct.append(score.argmax(1) == own)
    return torch.stack(correct).cpu().numpy()


def _centred_rows(x: torch.Tensor) -> torch.Tensor:
    # from the first column on, so that what is constant is exactly 0
    shifted = x - x[:, :1]
    return shifted.sub_(shifted.mean(1, keepdim=True))


def _over_norm(
    score: torch.Tensor, square: torch.Tensor, floor: torch.Tensor | float
) -> torch.Tensor:
    """Scores of templates (columns) over their norms; -inf for templates without variance."""
    return score.div_(square.sqrt()).masked_fill_(square <= floor, -torch.inf)


def _check(templates: np.ndarray, queries: np.ndarray, metric: str) -> None:
    shapes = np.shape(templates), np.shape(queries)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            "need templates and queries (image, neuron) with the same neurons; "
            f"got shapes {shapes[0]} and {shapes[1]}"
        )
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}; got {metric!r}")
    if metric == "correlation" and shapes[0][1] < 3:
        raise ValueError(
            f"a correlation over {shapes[0][1]} neurons is 1, -1 or undefined; pass at least 3, or "
            'use metric="dot"'
        )


def _check_pair(first: np.ndarray, second: np.ndarray) -> None:
    if np.shape(first) != np.shape(second):
        raise ValueError(
            "need two responses to each image, in the same order; "
            f"got shapes {np.shape(first)} and {np.shape(second)}"
        )


def _check_counts(counts: Sequence[int], n_draws: int, n_neurons: int, metric: str) -> None:
    least = 3 if metric == "correlation" else 1
    rising = len(counts) > 0 and np.all(np.diff([least - 1, *counts]) > 0)
    if not rising or counts[-1] > n_neurons or n_draws < 1:
        raise ValueError(
            f"counts must rise from at least {least} ({metric}) to at most {n_neurons} neurons, "
            f"and n_draws be at least 1; got counts {list(counts)} and n_draws={n_draws}"
        )
