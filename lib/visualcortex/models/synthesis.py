"""Images that drive a model of a neuron most, and what they are compared with.

Throughout, images are about the mean grey, which is 0, and their norm is the Euclidean one of all
pixels: two images of one norm have the same energy, and differ in nothing but their form. What
answers is a `Response`: each image has its own neuron, so that all neurons climb in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

BLACK, WHITE = (0 - 111.283) / 60.922, (255 - 111.283) / 60.922  # Walker et al. 2019
LONGER, SHORTER = 1.3, 0.5  # of a step that went up, and of one that did not
SHARPNESS = 10.0  # of the largest of several cosines, made smooth
ROUNDING = 1e-6  # share of a response that may be rounding, in 32 bits


class Response(Protocol):
    """Response of neuron ``index[b]`` to image b of (B, 1, H, W): (B,), differentiable.

    One that also has `patch_shape`, `on_patches`, `on_image`, `crop` and `paste`, as
    `cone.ConeResponse` does, is climbed in the patch that each neuron sees.
    """

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        """Return the responses (B,)."""
        ...


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Images found by ascent.

    Parameters
    ----------
    neurons
        Neuron of each image, ``(image,)``.
    images
        ``(image, H, W)``, float32, about the mean grey.
    responses
        Of each neuron to its image, ``(image,)``.
    n_steps
        Steps that each image took.
    converged
        Whether it stopped because it rose no more; False where the steps ran out, and where it
        started on a flat piece (all slopes 0) and could not move.
    history
        Response after each step, ``(image, n_steps_max + 1)`` with that to the start first; NaN
        after the last step.
    """

    neurons: np.ndarray
    images: np.ndarray
    responses: np.ndarray
    n_steps: np.ndarray
    converged: np.ndarray
    history: np.ndarray

    def best(self) -> Synthesis:
        """Keep the highest response of each neuron (the lowest of least exciting images is not it).

        Bias: the highest of several ascents of a model is chosen by that model, and no better on
        the neuron for it.
        """
        order = np.lexsort((-self.responses, self.neurons))
        rows = order[np.unique(self.neurons[order], return_index=True)[1]]
        fields = ("neurons", "images", "responses", "n_steps", "converged", "history")
        return Synthesis(*(getattr(self, name)[rows] for name in fields))


def own_responses(model: Callable[[Tensor], Tensor]) -> Response:
    """Response of a model (B, 1, H, W) to (B, N): it answers for all, and each image's is taken."""

    def response(images: Tensor, index: Tensor) -> Tensor:
        """Answer of one neuron to each image, (B,)."""
        return model(images).gather(1, index[:, None])[:, 0]

    return response


def mean_response(responses: Sequence[Response], kind: str = "arithmetic") -> Response:
    r"""Join the members of an ensemble in one response.

    "arithmetic" is their mean. "geometric" is :math:`\exp \frac{1}{M} \sum_m \log r_m`: the
    gradient of each member is divided by its own response, so that none leads because it is on a
    larger scale; responses must be positive.

    Raises
    ------
    ValueError
        If there is no member, or the kind is unknown.
    """
    if len(responses) == 0 or kind not in ("arithmetic", "geometric"):
        raise ValueError(
            'need at least one member and kind "arithmetic" or "geometric"; got '
            f"{len(responses)} and {kind!r}"
        )

    def response(images: Tensor, index: Tensor) -> Tensor:
        """Mean over the members, (B,)."""
        each = torch.stack([member(images, index) for member in responses])  # (M, B)
        if kind == "arithmetic":
            return each.mean(dim=0)
        return each.clamp_min(1e-12).log().mean(dim=0).exp()

    return response


# -- ascent -----------------------------------------------------------------------------------


class Ascent(NamedTuple):
    """How to climb; see `most_exciting_images`."""

    norm: float
    n_steps_max: int
    step: float
    smoothing: float
    tolerance: float
    window: int


class Climb(NamedTuple):
    """What an ascent of G groups of K images came to."""

    points: Tensor  # (G, K, h, w)
    heights: Tensor  # (G,)
    n_steps: Tensor
    converged: Tensor
    history: Tensor  # (G, n_steps_max + 1)


def most_exciting_images(
    response: Response,
    neurons: Sequence[int] | np.ndarray,
    shape: tuple[int, int],
    *,
    norm: float,
    n_steps_max: int = 500,
    step: float = 0.3,
    smoothing: float = 0.5,
    tolerance: float = 1e-3,
    window: int = 10,
    init: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    sign: int = 1,
    seed: int = 0,
    batch_size: int = 128,
    device: str | torch.device = "cpu",
) -> Synthesis:
    r"""Climb to the image of a given norm that drives each neuron most.

    .. math::

        s_i^* = \arg\max_{\lVert s \rVert = \rho} \; \pm r_i(s),

    by gradient ascent on the sphere. With x the image over its norm, :math:`\Pi = 1 - x x^T` the
    projection onto the tangent and P the smoothing, a step goes along :math:`\Pi P \Pi \nabla r`
    and back to the sphere. P multiplies the spectrum by :math:`1/f^p` and, being between two
    projections, is a preconditioner: it prefers smooth ways, and the summits are those of the
    plain problem. (Smoothed without the second projection, as often published, the ascent ends
    elsewhere, at the best image of another norm that punishes fine detail.) A step that does not
    rise is taken back and halved, one that does is 1.3 times longer next time: the history never
    falls.

    Bias: an ascent ends on *a* summit, which need not be the highest: repeat a neuron in `neurons`
    for further starts, and take `Synthesis.best`. It stops where it is slow, which is below the
    summit. And what is found is the model's best image: its response is optimistic for the neuron,
    because the ascent also climbs the model's errors. Judge it by another model, or the neuron.

    Parameters
    ----------
    response : Response
    neurons : (B,) sequence of int
        The neuron of each image. Repeated ones start elsewhere each time.
    shape : (int, int)
        Rows and columns.
    norm : float
        Of the image about the mean grey.
    n_steps_max : int
        Steps after which an image is given up.
    step : float
        First step, as an angle in radians.
    smoothing : float
        p, 0 for none.
    tolerance, window : float, int
        An image has arrived when, over so many steps, it gained less than this share of all that
        it gained since the start.
    init : (B, H, W) array, optional
        Starts; by default noise with the spectrum :math:`1/f^p`, drawn for each neuron by itself,
        whatever the others are.
    mask : (H, W) or (B, H, W) array, optional
        Where it is 0 the image stays grey; between 0 and 1 the way, not the summit, is changed.
    sign : int
        1 for the most, -1 for the least exciting image.
    seed : int
        Seed of the starts.
    batch_size : int
        Images at a time: bounds memory, and changes nothing else.
    device : str
        Where the response computes.

    Returns
    -------
    Synthesis

    Raises
    ------
    ValueError
        If an argument is out of its range, a start is blank or of another shape, or the response
        to a start is not finite.

    References
    ----------
    Walker, E. Y. et al. (2019). Inception loops discover what excites neurons most using deep
    predictive models. Nat. Neurosci. 22.
    """
    how = Ascent(norm, n_steps_max, step, smoothing, tolerance, window)
    neurons = _checked(neurons, shape, how, batch_size)
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 (most exciting) or -1 (least exciting); got {sign!r}")
    starts, masks = _starts(neurons, shape, init, smoothing, seed), _masks(mask, neurons, shape)
    parts = []
    for rows in _batches(len(neurons), batch_size):
        index = torch.as_tensor(neurons[rows], device=device)
        start = torch.as_tensor(starts[rows], device=device)[:, None]  # (B, 1, H, W)
        mask_here = None if masks is None else torch.as_tensor(masks[rows], device=device)[:, None]
        parts.append(_climb_where_seen(response, index, start, mask_here, sign, how))
    joined = Climb(*(torch.cat(part) for part in zip(*parts, strict=True)))
    return _synthesis(neurons, joined, joined.history * sign)


def diverse_images(
    response: Response,
    neurons: Sequence[int] | np.ndarray,
    shape: tuple[int, int],
    *,
    norm: float,
    reference: np.ndarray,
    n_images: int = 4,
    weight: float = 0.5,
    n_steps_max: int = 500,
    step: float = 0.3,
    smoothing: float = 0.5,
    tolerance: float = 1e-3,
    window: int = 10,
    seed: int = 0,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
) -> Synthesis:
    r"""Find several images for each neuron that drive it and differ from each other.

    .. math::

        \max \; \frac{1}{K} \sum_k \frac{r_i(s_k)}{r_i^*} - \frac{\lambda}{\beta} \log
            \frac{2}{K (K - 1)} \sum_{k < l} e^{\beta \cos(s_k, s_l)},
        \qquad \lVert s_k \rVert = \rho,

    with :math:`\beta = 10`: a smooth version of the largest cosine of any two. (Their mean would
    not do: two pairs of opposites have the lowest there is, and each image twice.) Where one image
    is best, its copies lose response as they part; where a family is (all phases of a complex
    cell), they part and lose none. Cosines are of the images, so that opposite contrast counts as
    most different.

    Parameters
    ----------
    reference : (B,) array
        :math:`r_i^*`, the response to the most exciting image.
    n_images : int
        K, at least 2.
    weight : float
        :math:`\lambda`, 0 or more.

    Other parameters, errors: see `most_exciting_images`.

    Returns
    -------
    Synthesis
        K rows for each neuron, one after the other. The history, the same in all K, is that of
        the objective.

    References
    ----------
    Cadena, S. A. et al. (2018). Diverse feature visualizations reveal invariances in early layers
    of deep neural networks. ECCV. Ding, Z. et al. (2026). Functional bipartite invariance in mouse
    primary visual cortex receptive fields. Nat. Neurosci.
    """
    how = Ascent(norm, n_steps_max, step, smoothing, tolerance, window)
    neurons = _checked(neurons, shape, how, batch_size)
    reference = np.asarray(reference, dtype=np.float32)
    if n_images < 2 or weight < 0 or reference.shape != neurons.shape or not (reference > 0).all():
        raise ValueError(
            "need n_images of at least 2, a weight of 0 or more, and a positive reference for each "
            f"of {len(neurons)} neurons; got {n_images}, {weight} and {reference.shape}"
        )
    repeated = np.repeat(neurons, n_images)
    starts = _starts(repeated, shape, None, smoothing, seed).reshape(-1, n_images, *shape)
    parts = []
    for rows in _batches(len(neurons), batch_size):
        objective = _DiverseObjective(response, neurons[rows], reference[rows], weight, device)
        start = torch.as_tensor(starts[rows], device=device)
        parts.append(_climb(objective, start, None, how))
    joined = Climb(*(torch.cat(part) for part in zip(*parts, strict=True)))
    spread = [value.repeat_interleave(n_images, dim=0) for value in joined[1:]]
    images = joined.points.flatten(0, 1)[:, None]
    index = torch.as_tensor(repeated, device=images.device)
    each = [
        response(*pair).detach()
        for pair in zip(images.split(batch_size), index.split(batch_size), strict=True)
    ]
    found = Climb(images, torch.cat(each), *spread[1:])
    return _synthesis(repeated, found, found.history)


class _DiverseObjective:
    """What `diverse_images` maximises, for the groups of one batch."""

    def __init__(
        self,
        response: Response,
        neurons: np.ndarray,
        reference: np.ndarray,
        weight: float,
        device: str | torch.device,
    ) -> None:
        self.response, self.weight = response, weight
        self.index = torch.as_tensor(neurons, device=device)
        self.reference = torch.as_tensor(reference, device=device)

    def __call__(self, points: Tensor, rows: Tensor) -> Tensor:
        n_images = points.shape[1]
        index = self.index[rows].repeat_interleave(n_images)
        each = self.response(points.flatten(0, 1)[:, None], index).view(-1, n_images)
        unit = functional.normalize(points.flatten(2), dim=2)
        first, second = torch.triu_indices(n_images, n_images, 1, device=points.device)
        cosines = (unit[:, first] * unit[:, second]).sum(dim=2)  # (G, pairs)
        alike = (SHARPNESS * cosines).logsumexp(dim=1) - np.log(len(first))
        return each.mean(dim=1) / self.reference[rows] - self.weight * alike / SHARPNESS


def _checked(
    neurons: Sequence[int] | np.ndarray, shape: tuple[int, int], how: Ascent, batch_size: int
) -> np.ndarray:
    neurons = np.asarray(neurons)
    if neurons.ndim != 1 or len(neurons) == 0 or not np.issubdtype(neurons.dtype, np.integer):
        raise ValueError(
            f"neurons must be a list of whole numbers, one for each image; got {neurons!r}"
        )
    if not (np.isfinite(how.norm) and how.norm > 0 and 0 < how.step <= 1 and min(shape) >= 2):
        raise ValueError(
            "need a finite norm above 0, a first step of at most 1 radian and at least 2 x 2 "
            f"pixels; got norm {how.norm}, step {how.step}, shape {shape}"
        )
    whole = how.n_steps_max, how.window, batch_size
    if min(whole) < 1 or how.smoothing < 0 or how.tolerance < 0:
        raise ValueError(
            "need n_steps_max, window and batch_size of at least 1, smoothing and tolerance of at "
            f"least 0; got {whole}, {how.smoothing}, {how.tolerance}"
        )
    return neurons.astype(np.int64)


def _batches(n_images: int, batch_size: int) -> list[slice]:
    return [slice(first, first + batch_size) for first in range(0, n_images, batch_size)]


def _starts(
    neurons: np.ndarray,
    shape: tuple[int, int],
    init: np.ndarray | None,
    smoothing: float,
    seed: int,
) -> np.ndarray:
    """Given starts, or noise that depends on the seed, the neuron and how often it came before."""
    expected = (len(neurons), *shape)
    if init is None:
        before: dict[int, int] = {}
        starts = np.empty(expected, dtype=np.float32)
        for start, neuron in zip(starts, neurons.tolist(), strict=True):
            before[neuron] = before.get(neuron, -1) + 1
            rng = np.random.default_rng([seed, neuron, before[neuron]])
            start[...] = rng.standard_normal(shape, dtype=np.float32)
        return _Smoothing(shape, smoothing, torch.device("cpu"))(torch.from_numpy(starts)).numpy()
    starts = np.asarray(init, dtype=np.float32)
    flat = starts.reshape(len(starts), -1) if starts.shape == expected else None
    if flat is None or not np.isfinite(flat).all() or not flat.any(axis=1).all():
        raise ValueError(
            f"init must be {expected}, finite, and no image of it blank; got {starts.shape}"
        )
    return starts


def _masks(
    mask: np.ndarray | None, neurons: np.ndarray, shape: tuple[int, int]
) -> np.ndarray | None:
    if mask is None:
        return None
    mask = np.asarray(mask, dtype=np.float32)
    whole = (len(neurons), *shape)
    if mask.shape not in (shape, whole) or mask.min() < 0 or mask.max() > 1:
        raise ValueError(f"mask must be {shape} or {whole}, from 0 to 1; got {mask.shape}")
    return np.broadcast_to(mask, whole).copy()


def _climb_where_seen(
    response: Response,
    index: Tensor,
    start: Tensor,
    mask: Tensor | None,
    sign: int,
    how: Ascent,
) -> Climb:
    """Climb on the image, or in the patch of it that the neuron sees: elsewhere all is flat.

    The best image of a norm is 0 where the gradient is, so that nothing is lost in the patch.
    """
    in_patch = hasattr(response, "on_patches")
    respond = response.on_patches if in_patch else response
    if in_patch:
        start, on_image = response.crop(start, index), response.on_image(index).to(start.dtype)
        mask = on_image if mask is None else response.crop(mask, index)

    def objective(points: Tensor, rows: Tensor) -> Tensor:
        """What is climbed: the response, or less of it."""
        return sign * respond(points, index[rows])

    found = _climb(objective, start, mask, how)
    found = found._replace(heights=sign * found.heights)
    return found._replace(points=response.paste(found.points, index)) if in_patch else found


@torch.no_grad()
def _climb(
    objective: Callable[[Tensor, Tensor], Tensor], start: Tensor, mask: Tensor | None, how: Ascent
) -> Climb:
    """Climb from all starts (G, K, h, w), each group with its own step, until it has arrived."""
    smooth = _Smoothing(start.shape[2:], how.smoothing, start.device)
    state = _begin(objective, start if mask is None else start * mask, mask, smooth, how)
    n_groups = len(start)
    found = Climb(
        points=torch.empty_like(start),
        heights=state.height.clone(),
        n_steps=torch.zeros(n_groups, dtype=torch.long, device=start.device),
        converged=torch.zeros(n_groups, dtype=torch.bool, device=start.device),
        history=state.height.new_full((n_groups, how.n_steps_max + 1), torch.nan),
    )
    found.history[:, 0] = state.height
    stuck = state.direction.flatten(1).norm(dim=1) == 0
    for k in range(how.n_steps_max + 1):
        arrived = _arrived(found.history[state.rows], k, how) & ~stuck
        leaving = arrived | stuck | (k == how.n_steps_max)
        if leaving.any():
            _leave(state, leaving, arrived, k, found)
            state, stuck = state.take(~leaving), stuck[~leaving]
        if len(state.rows) == 0:
            break
        state = _step(objective, state, smooth, how)
        found.history[state.rows, k + 1] = state.height
    return found


class _State(NamedTuple):
    """Where the groups stand that still climb; each field has them first."""

    rows: Tensor  # which of all groups they are
    points: Tensor  # (G, K, h, w)
    height: Tensor
    direction: Tensor  # tangent, of unit norm, where the next step goes; 0 where all is flat
    step: Tensor
    mask: Tensor  # (G, 1, h, w) or (G, 1, 1, 1)

    def take(self, chosen: Tensor) -> _State:
        """Keep the chosen groups."""
        return _State(*(field[chosen] for field in self))


def _begin(
    objective: Callable, start: Tensor, mask: Tensor | None, smooth: _Smoothing, how: Ascent
) -> _State:
    mask = start.new_ones(len(start), 1, 1, 1) if mask is None else mask
    if (start.flatten(2).norm(dim=2) == 0).any():
        raise ValueError(
            "a start is blank where its neuron sees it and the mask lets it be: move the one or "
            "the other"
        )
    points = _on_sphere(start, how.norm)
    rows = torch.arange(len(start), device=start.device)
    height, slope = _height_and_slope(objective, points, rows)
    if not torch.isfinite(height).all():
        raise ValueError("the response to a start is not finite: check the model and the norm")
    direction = _direction(slope, points, mask, smooth)
    return _State(rows, points, height, direction, torch.full_like(height, how.step), mask)


def _step(objective: Callable, state: _State, smooth: _Smoothing, how: Ascent) -> _State:
    """Try a step from each point, and stay where it does not rise."""
    tried = state.points + (how.norm * state.step).view(-1, 1, 1, 1) * state.direction
    tried = _on_sphere(tried, how.norm)
    height, slope = _height_and_slope(objective, tried, state.rows)
    better = height > state.height
    wide = better.view(-1, 1, 1, 1)
    direction = _direction(slope, tried, state.mask, smooth)
    return state._replace(
        points=torch.where(wide, tried, state.points),
        height=torch.where(better, height, state.height),
        direction=torch.where(wide, direction, state.direction),
        step=(state.step * torch.where(better, LONGER, SHORTER)).clamp_max(1.0),
    )


def _leave(state: _State, leaving: Tensor, arrived: Tensor, k: int, found: Climb) -> None:
    rows = state.rows[leaving]
    found.points[rows], found.heights[rows] = state.points[leaving], state.height[leaving]
    found.n_steps[rows], found.converged[rows] = k, arrived[leaving]


def _arrived(history: Tensor, k: int, how: Ascent) -> Tensor:
    """Whether the last steps gained little, of what was gained in all."""
    if k < how.window:
        return torch.zeros(len(history), dtype=torch.bool, device=history.device)
    now, before, first = history[:, k], history[:, k - how.window], history[:, 0]
    return now - before <= how.tolerance * (now - first) + ROUNDING * now.abs()


def _height_and_slope(objective: Callable, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    at = points.detach().requires_grad_()
    with torch.enable_grad():
        height = objective(at, rows)
        (slope,) = torch.autograd.grad(height.sum(), at)
    return height.detach(), slope


def _direction(slope: Tensor, points: Tensor, mask: Tensor, smooth: _Smoothing) -> Tensor:
    """Unit tangent along which to climb: projected, masked and smoothed, projected."""
    unit = functional.normalize(points.flatten(2), dim=2).view_as(points)

    def tangent(vectors: Tensor) -> Tensor:
        """What is left of vectors without their part along the points."""
        return vectors - (vectors * unit).sum(dim=(2, 3), keepdim=True) * unit

    way = tangent(mask * smooth(mask * tangent(slope)))
    return functional.normalize(way.flatten(1), dim=1).view_as(way)


def _on_sphere(points: Tensor, norm: float) -> Tensor:
    return norm * functional.normalize(points.flatten(2), dim=2).view_as(points)


class _Smoothing:
    """Multiply the spectrum by 1/f^p, at frequency 0 as at the lowest other: positive definite."""

    def __init__(self, shape: Sequence[int], exponent: float, device: torch.device) -> None:
        self.shape, self.exponent = tuple(shape), exponent
        rows = torch.fft.fftfreq(shape[0], device=device)[:, None]
        frequency = torch.hypot(rows, torch.fft.rfftfreq(shape[1], device=device))
        lowest = 1 / max(shape)
        self.factor = (frequency.clamp_min(lowest) / lowest) ** -exponent

    def __call__(self, vectors: Tensor) -> Tensor:
        if self.exponent == 0:
            return vectors
        return torch.fft.irfft2(torch.fft.rfft2(vectors) * self.factor, s=self.shape)


def _synthesis(neurons: np.ndarray, found: Climb, history: Tensor) -> Synthesis:
    return Synthesis(
        neurons,
        found.points[:, 0].numpy(force=True),
        *(value.numpy(force=True) for value in (found.heights, found.n_steps, found.converged)),
        history.float().numpy(force=True),
    )


# -- the published recipe ---------------------------------------------------------------------


@torch.no_grad()
def walker2019(
    response: Response,
    neurons: Sequence[int] | np.ndarray,
    shape: tuple[int, int] = (36, 64),
    *,
    n_steps: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Synthesis:
    r"""Follow the published recipe of Walker et al. (2019), as its group restates it.

    From white noise of unit variance: the gradient, smoothed by :math:`(1 - |f|)^{0.04}` (f in
    cycles a pixel) and divided by the mean of its absolute values, times a rate that falls linearly
    from 1/850 to 1/20400, is added; pixels are clipped to the range of 8-bit photographs, and the
    image is blurred with a Gaussian whose s.d. falls linearly from 1.5 to 0.01 pixels. Made for
    comparison: nothing fixes the norm, which comes out as it does, so that responses to such
    images compare with no others before all are brought to one norm.

    Parameters
    ----------
    response, neurons, shape, seed, device
        See `most_exciting_images`.
    n_steps : int
        Steps, at least 2.

    Returns
    -------
    Synthesis
        Converged nowhere: the recipe does not ask. The steps are not monotone either.

    Raises
    ------
    ValueError
        If neurons are no whole numbers, or steps fewer than 2.
    """
    how = Ascent(1.0, n_steps, 1.0, 0.0, 0.0, 1)
    neurons = _checked(neurons, shape, how, 1)
    if n_steps < 2:
        raise ValueError(f"n_steps must be at least 2; got {n_steps}")
    images = torch.as_tensor(_starts(neurons, shape, None, 0.0, seed), device=device)[:, None]
    index, rows = torch.as_tensor(neurons, device=device), torch.arange(len(neurons))

    def objective(points: Tensor, _: Tensor) -> Tensor:
        """Response of each neuron to its own image."""
        return response(points, index)

    factor, history = _published_factor(shape, images.device), []
    for k in range(n_steps):
        done = k / (n_steps - 1)
        height, slope = _height_and_slope(objective, images, rows)
        history.append(height)
        slope = torch.fft.irfft2(torch.fft.rfft2(slope) * factor, s=shape)
        slope /= slope.abs().mean(dim=(2, 3), keepdim=True).clamp_min(1e-30)
        images = images + ((1 - done) / 850 + done / 20400) * slope
        images = blurred(images.clamp(BLACK, WHITE), 1.5 + done * (0.01 - 1.5))
    history.append(response(images, index))
    steps = torch.full((len(neurons),), n_steps)
    found = Climb(images, history[-1], steps, steps < 0, torch.stack(history, dim=1))
    return _synthesis(neurons, found, found.history)


def _published_factor(shape: tuple[int, int], device: torch.device) -> Tensor:
    rows = torch.fft.fftfreq(shape[0], device=device)[:, None]
    return (1 - torch.hypot(rows, torch.fft.rfftfreq(shape[1], device=device))) ** 0.04


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur images (..., H, W) with a Gaussian of s.d. sigma in pixels, mirrored at the edges."""
    rows, columns = (
        torch.as_tensor(ndimage.gaussian_filter1d(np.eye(n), sigma, axis=0)).to(images)
        for n in images.shape[-2:]
    )
    return rows @ images @ columns.T


# -- what they are compared with --------------------------------------------------------------


def matched(images: np.ndarray, norm: float, mask: np.ndarray | None = None) -> np.ndarray:
    r"""Bring images to a norm about the mean grey, whatever their luminance and contrast were.

    Their mean (with a mask m: the mean under it, :math:`\sum m s / \sum m`) is taken off, the mask
    put on, and the rest multiplied to the norm. All have the same contrast then, by r.m.s., and
    the mean grey as luminance: as controls for an image of that norm they differ in form alone.

    Parameters
    ----------
    images : (..., H, W) array
    norm : float
    mask : (..., H, W) array, optional
        From 0 to 1, broadcast against the images.

    Returns
    -------
    (..., H, W) array of float32

    Raises
    ------
    ValueError
        If the norm is not positive, or an image is flat under the mask.
    """
    images = np.asarray(images, dtype=float)
    weights = np.broadcast_to(1.0 if mask is None else mask, images.shape)
    total = weights.sum(axis=(-2, -1), keepdims=True)
    mean = (images * weights).sum(axis=(-2, -1), keepdims=True) / np.where(total > 0, total, 1)
    shown = (images - mean) * weights
    lengths = np.linalg.norm(shown, axis=(-2, -1), keepdims=True)
    flat = lengths <= 1e-9 * np.maximum(np.abs(mean), 1e-30)
    if norm <= 0 or flat.any():
        raise ValueError(
            f"need a norm above 0 and images that are not flat; got norm {norm} and {flat.sum()} "
            "flat images: leave them out"
        )
    return (norm * shown / lengths).astype(np.float32)


class BestOfBank(NamedTuple):
    """The best image of a bank for each neuron."""

    which: np.ndarray  # (N,), rows of the bank
    images: np.ndarray  # (N, H, W), of the norm asked for
    responses: np.ndarray  # (N,)


@torch.no_grad()
def best_of_bank(
    model: Callable[[Tensor], Tensor],
    bank: np.ndarray,
    norm: float,
    *,
    batch_size: int = 128,
    device: str | torch.device = "cpu",
) -> BestOfBank:
    """Choose, for every neuron of a model at once, the image of a bank that drives it most.

    Bias: the largest of many responses of a model, hence, like a most exciting image's, optimistic
    for the neuron: the more so, the larger the bank.

    Parameters
    ----------
    model : callable
        Images (B, 1, H, W) to responses (B, N).
    bank : (F, H, W) array
        About the mean grey; each image is multiplied to the norm.
    norm : float
    batch_size, device
        Images at a time, and where the model computes.

    Raises
    ------
    ValueError
        If the bank is no stack of images, one of them is blank, or the norm is not positive.
    """
    bank = np.asarray(bank, dtype=np.float32)
    lengths = np.linalg.norm(bank, axis=(-2, -1)) if bank.ndim == 3 else np.zeros(1)
    if norm <= 0 or len(lengths) == 0 or not (lengths > 0).all():
        raise ValueError(
            "need a norm above 0 and a bank (F, H, W) without blank images; got norm "
            f"{norm} and a bank {bank.shape}"
        )
    highest = which = None
    for first in range(0, len(bank), batch_size):
        part = slice(first, first + batch_size)
        images = torch.as_tensor(norm * bank[part] / lengths[part, None, None], device=device)
        top, row = model(images[:, None]).max(dim=0)
        row = row + first
        if highest is None:
            highest, which = top, row
        highest, which = torch.maximum(highest, top), torch.where(top > highest, row, which)
    which = which.numpy(force=True)
    images = norm * bank[which] / lengths[which, None, None]
    return BestOfBank(which, images, highest.numpy(force=True))


@torch.no_grad()
def best_under_mask(
    response: Response,
    neurons: Sequence[int] | np.ndarray,
    bank: np.ndarray,
    masks: np.ndarray,
    norm: float,
    *,
    batch_size: int = 512,
    device: str | torch.device = "cpu",
) -> BestOfBank:
    """Choose for each neuron the image of a bank that drives it most through the neuron's mask.

    Each image is cut out by the mask and brought to the norm (`matched`), so that none of its
    energy is spent where the neuron does not look. Bias: as for `best_of_bank`.

    Parameters
    ----------
    response : Response
    neurons : (N,) sequence of int
    bank : (F, H, W) array
        No image may be flat under a mask.
    masks : (N, H, W) array
        From 0 to 1, such as `mask_of` makes them.
    norm : float
    batch_size, device
        Images at a time, and where the response computes.

    Raises
    ------
    ValueError
        If there is not one mask a neuron of the size of the images, or see `matched`.
    """
    neurons, bank, masks = np.asarray(neurons), np.asarray(bank), np.asarray(masks)
    if bank.ndim != 3 or len(bank) == 0 or masks.shape != (len(neurons), *bank.shape[1:]):
        raise ValueError(
            "need a bank (F, H, W) and a mask of the same size for each neuron; got "
            f"{bank.shape} and {masks.shape} for {len(neurons)} neurons"
        )
    best = []
    for neuron, mask in zip(neurons.tolist(), masks, strict=True):
        images = matched(bank, norm, mask)
        heights = np.concatenate(
            [
                response(torch.as_tensor(part, device=device)[:, None], index).numpy(force=True)
                for part in np.split(images, range(batch_size, len(images), batch_size))
                for index in [torch.full((len(part),), neuron, device=device)]
            ]
        )
        which = int(heights.argmax())
        best.append((which, images[which], heights[which]))
    return BestOfBank(*(np.stack(values) for values in zip(*best, strict=True)))


@torch.no_grad()
def answers(
    model: Callable[[Tensor], Tensor],
    images: np.ndarray,
    neurons: Sequence[int] | np.ndarray,
    *,
    batch_size: int = 128,
) -> np.ndarray:
    """Response of each neuron to its own image, by a model that may have made none of them.

    Parameters
    ----------
    model : torch.nn.Module, or callable on the CPU
        Images (B, 1, H, W) to responses of all neurons.
    images : (N, H, W) array
    neurons : (N,) sequence of int
        Whose response to each image is wanted.
    batch_size : int
        Images at a time.

    Returns
    -------
    (N,) array

    Raises
    ------
    ValueError
        If there is not one neuron an image.
    """
    images = np.asarray(images, dtype=np.float32)
    weights = model.state_dict().values() if isinstance(model, torch.nn.Module) else ()
    device = next((weight.device for weight in weights), torch.device("cpu"))
    index = torch.as_tensor(np.asarray(neurons), dtype=torch.long, device=device)
    if images.ndim != 3 or index.shape != images.shape[:1] or len(index) == 0:
        raise ValueError(
            f"need images (N, H, W) and a neuron for each; got {images.shape} and "
            f"{tuple(index.shape)} neurons"
        )
    own, shown = own_responses(model), torch.as_tensor(images, device=device)[:, None]
    parts = zip(shown.split(batch_size), index.split(batch_size), strict=True)
    return torch.cat([own(*part) for part in parts]).numpy(force=True)


# -- masks and measures -----------------------------------------------------------------------


def mask_of(images: np.ndarray, *, kind: str = "gaussian", share: float = 0.95) -> np.ndarray:
    """Soft mask of where an image has its energy, the square of what differs from the mean grey.

    "gaussian": 1 in the ellipse that holds the share of a Gaussian with the centre and covariance
    of the energy, and falling as that Gaussian outside. "threshold": the fewest pixels that hold
    the share of the energy, both smoothed by 1.5 pixels.

    Parameters
    ----------
    images : (..., H, W) array
        About the mean grey.
    kind : str
    share : float
        Between 0 and 1.

    Returns
    -------
    (..., H, W) array of float32, from 0 to 1

    Raises
    ------
    ValueError
        If the kind is unknown, the share not between 0 and 1, or an image blank.
    """
    images = np.asarray(images, dtype=float)
    energy = images**2
    total = energy.sum(axis=(-2, -1), keepdims=True)
    if kind not in ("gaussian", "threshold") or not 0 < share < 1 or not (total > 0).all():
        raise ValueError(
            'need kind "gaussian" or "threshold", a share between 0 and 1 and no blank image; got '
            f"{kind!r}, {share} and {int((total == 0).sum())} blank images"
        )
    make = _gaussian_mask if kind == "gaussian" else _threshold_mask
    return make(energy / total, share).astype(np.float32)


def _gaussian_mask(energy: np.ndarray, share: float) -> np.ndarray:
    places = np.stack(np.mgrid[: energy.shape[-2], : energy.shape[-1]]).reshape(2, -1)  # (2, P)
    weights = energy.reshape(*energy.shape[:-2], 1, -1)
    off = places - (weights * places).sum(axis=-1, keepdims=True)  # (..., 2, P)
    # a pixel is 1 wide: its own variance keeps single pixels and lines from having none
    covariance = (weights * off) @ off.swapaxes(-1, -2) + np.eye(2) / 12
    distance = (off * np.linalg.solve(covariance, off)).sum(axis=-2)  # (..., P), squared
    radius = -2 * np.log(1 - share)  # chi-square of 2 degrees of freedom
    return np.exp(-np.maximum(distance - radius, 0) / 2).reshape(energy.shape)


def _threshold_mask(energy: np.ndarray, share: float) -> np.ndarray:
    sigma = (0,) * (energy.ndim - 2) + (1.5, 1.5)
    smooth = ndimage.gaussian_filter(energy, sigma)
    flat = smooth.reshape(*energy.shape[:-2], -1)
    order = np.argsort(-flat, axis=-1, kind="stable")
    held = np.cumsum(np.take_along_axis(flat, order, -1), axis=-1)
    # a pixel is in if what larger ones hold is not yet the share
    first = np.roll(held, 1, axis=-1) < share * held[..., -1:]
    first[..., 0] = True
    inside = np.empty_like(first)
    np.put_along_axis(inside, order, first, -1)
    return ndimage.gaussian_filter(inside.reshape(energy.shape).astype(float), sigma).clip(0, 1)


def describe(images: np.ndarray) -> pd.DataFrame:
    r"""Luminance, contrast and symmetry of images.

    Luminance is the mean of the pixels, contrast their standard deviation. One-fold symmetry is
    the cosine of an image, freed of its mean, with its mirror image left-right,
    :math:`\langle s, s' \rangle / \lVert s \rVert^2`; two-fold the mean of that and the one
    up-down. Both are about the middle of the image, between -1 and 1, and 0 where there is nothing
    in common: unlike indices of the mean difference of pixels they do not rise with the grey
    around (NaN for a flat image).

    Parameters
    ----------
    images : (M, H, W) array

    Returns
    -------
    pandas.DataFrame
        A row an image: "luminance", "contrast", "one_fold", "two_fold".
    """
    images = _stack_of(images)
    off = images - images.mean(axis=(1, 2), keepdims=True)
    energy = np.square(off).sum(axis=(1, 2))
    safe = np.where(energy > 0, energy, np.nan)
    sideways, upside = ((off * np.flip(off, axis)).sum(axis=(1, 2)) / safe for axis in (2, 1))
    return pd.DataFrame(
        {
            "luminance": images.mean(axis=(1, 2)),
            "contrast": images.std(axis=(1, 2)),
            "one_fold": sideways,
            "two_fold": (sideways + upside) / 2,
        }
    ).rename_axis("image")


def radial_spectrum(images: np.ndarray, n_bins: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Log10 of the power at each distance from frequency 0, averaged over directions.

    Power is |DFT|^2 / (H W), without a window: the edges of the image add to high frequencies.

    Parameters
    ----------
    images : (M, H, W) array
    n_bins : int
        Of equal width from 0 to 0.5 cycles a pixel; corners beyond are left out.

    Returns
    -------
    frequency : (n_bins,) array
        Middle of each bin, in cycles a pixel.
    log_power : (M, n_bins) array
        NaN where no frequency of the grid is in a bin, and -inf where there is no power.
    """
    images = _stack_of(images)
    power = np.abs(np.fft.fft2(images)) ** 2 / images[0].size
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, images.shape[1:]), indexing="ij"))
    bins = np.minimum((frequency * 2 * n_bins + 1e-9).astype(int), n_bins).ravel()
    counts = np.bincount(bins, minlength=n_bins + 1)[:n_bins]
    sums = [np.bincount(bins, p.ravel(), n_bins + 1)[:n_bins] for p in power]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.arange(n_bins) + 0.5) / (2 * n_bins), np.log10(np.stack(sums) / counts)


def _stack_of(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images, dtype=float)
    if images.ndim != 3 or images.size == 0:
        raise ValueError(f"images must be (M, H, W), at least one; got {images.shape}")
    return images
