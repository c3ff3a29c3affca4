"""Gabors as controls: thousands of them, the best for each neuron, the best fit to an image.

A Gabor here is a row of a table: "row", "column" (its centre, in pixels), "frequency" (cycles a
pixel), "orientation", "phase" (radians), "sigma" (s.d. of the envelope across the bars, in pixels)
and "elongation" (that along the bars over that across), in the conventions of `gabor.gabor_bank`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import qmc
from torch import Tensor

from visualcortex.models.gabor import NEGLIGIBLE
from visualcortex.models.synthesis import Response

COLUMNS = ("row", "column", "frequency", "orientation", "phase", "sigma", "elongation")
PIXELS = 4.0  # a change of the centre by so much counts as one of the other parameters by 1
LOWEST, HIGHEST = 0.005, 0.5  # cycles a pixel
N_STARTS, N_FIRST = 4, 30  # Gabors of the bank from which a fit starts; steps before it chooses
AT_A_TIME = 2048  # Gabors painted at once


class Gabors(NamedTuple):
    """The Gabor of each neuron or image, and how good it is."""

    table: pd.DataFrame
    images: np.ndarray  # (N, H, W)
    score: np.ndarray  # (N,), response or cosine


def gabor_table(
    height: int,
    width: int,
    n_gabors: int = 5000,
    *,
    frequencies: tuple[float, float] = (0.03, 0.2),
    cycles: tuple[float, float] = (0.2, 0.7),
    elongations: tuple[float, float] = (1.0, 2.0),
    seed: int = 0,
) -> pd.DataFrame:
    """Spread Gabors evenly over all their parameters.

    A scrambled Halton sequence: any number of Gabors covers the space of seven parameters more
    evenly than random ones, and with fewer than a grid takes. Frequency, size and elongation are
    even on a logarithmic scale.

    Parameters
    ----------
    height, width : int
        Of the image in pixels; centres lie anywhere on it.
    n_gabors : int
    frequencies : (float, float)
        Cycles a pixel.
    cycles : (float, float)
        Standard deviation of the envelope in wavelengths: about 0.2 to 0.6 in visual cortex.
    elongations : (float, float)
    seed : int
        Of the scrambling.

    Returns
    -------
    pandas.DataFrame
        A row a Gabor.

    Raises
    ------
    ValueError
        If sizes are not positive, or a range does not rise from a positive number, or frequencies
        lie above 0.5.
    """
    ranges = np.array([frequencies, cycles, elongations])
    rising = (ranges[:, 0] > 0).all() and (ranges[:, 0] <= ranges[:, 1]).all()
    if min(height, width, n_gabors) < 1 or not rising or frequencies[1] > HIGHEST:
        raise ValueError(
            "need a positive height, width and n_gabors, ranges (low, high) above 0 and "
            f"frequencies up to 0.5; got {height} x {width}, {n_gabors}, {ranges.tolist()}"
        )
    draws = qmc.Halton(len(COLUMNS), scramble=True, seed=seed).random(n_gabors).T
    low, high = np.log(ranges).T
    frequency, cycle, elongation = np.exp(low[:, None] + draws[4:] * (high - low)[:, None])
    values = (
        draws[0] * (height - 1),
        draws[1] * (width - 1),
        frequency,
        draws[2] * np.pi,
        draws[3] * 2 * np.pi,
        cycle / frequency,
        elongation,
    )
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True))).rename_axis("gabor")


def paint_gabors(table: pd.DataFrame, height: int, width: int, norm: float = 1.0) -> np.ndarray:
    r"""Paint the Gabors of a table at one norm, (F, H, W).

    .. math::

        g \propto \exp\left(-\frac{u^2 + (v / \epsilon)^2}{2 \sigma^2}\right)
            \cos(2 \pi f u + \phi),

    u across the bars, v along them. Values below 1e-6 of the largest possible are 0, as in
    `gabor.gabor_bank`.

    Raises
    ------
    ValueError
        If columns are missing, or a Gabor is zero on the whole image.
    """
    parameters = _parameters_of(table)
    parts = [_paint(p, height, width).numpy() for p in parameters.split(AT_A_TIME)]
    images = np.concatenate(parts)
    blank = np.flatnonzero(~images.any(axis=(1, 2)))
    if len(blank):
        raise ValueError(f"Gabor {blank[0]} is zero on the whole image: move or enlarge it")
    return norm * images


def best_gabors(
    response: Response,
    neurons: np.ndarray,
    start: pd.DataFrame,
    shape: tuple[int, int],
    norm: float,
    *,
    n_steps: int = 100,
    learning_rate: float = 0.1,
    device: str | torch.device = "cpu",
) -> Gabors:
    """Refine the parameters of a Gabor for each neuron until it responds most.

    Gradient ascent (Adam, falling rate) on all seven parameters from `start`, at the same norm all
    along; the best of the way is kept. What a bank misses between its members, this finds: the
    fair opponent of a most exciting image. Bias: as for that, the response is the model's, and
    chosen as the highest.

    Parameters
    ----------
    response : Response
        See `synthesis.Response`.
    neurons : (N,) array of int
    start : pandas.DataFrame
        A row a neuron, such as those of the bank that `synthesis.best_of_bank` chose. With
        neurons repeated, further starts.
    shape : (int, int)
    norm : float
    n_steps : int
    learning_rate : float
    device : str
        Where the response computes.

    Returns
    -------
    Gabors
        Score: response.

    Raises
    ------
    ValueError
        If there is not one start for each neuron, or columns are missing.
    """
    neurons = np.asarray(neurons)
    if neurons.shape != (len(start),) or norm <= 0 or n_steps < 0:
        raise ValueError(
            f"need one start for each neuron, a norm above 0 and n_steps of at least 0; got "
            f"{len(start)} starts for {neurons.shape} neurons, norm {norm}, n_steps {n_steps}"
        )
    index = torch.as_tensor(neurons, device=device)

    def score(painted: Tensor) -> Tensor:
        """Response of each neuron to its Gabor."""
        return response(norm * painted[:, None], index)

    parameters = _parameters_of(start).to(device)
    return _refined(score, parameters, shape, norm, n_steps, learning_rate)


def fit_gabor(
    images: np.ndarray,
    *,
    bank: pd.DataFrame | None = None,
    n_steps: int = 150,
    learning_rate: float = 0.05,
    device: str | torch.device = "cpu",
) -> Gabors:
    r"""Fit one Gabor to each image: the one of the largest cosine with it.

    .. math::

        \max_g \frac{\langle s, g \rangle}{\lVert s \rVert \lVert g \rVert},

    which is least squares with the amplitude free; 1 minus the squared cosine is the share of the
    energy that no Gabor takes. Started from the best four of a bank, each at its best phase, and
    refined by gradient: all four for 30 steps, then the best of them.

    Bias: the climb may end on a side summit, so that the cosine is a lower bound.

    Parameters
    ----------
    images : (N, H, W) array
        About the mean grey.
    bank : pandas.DataFrame, optional
        Gabors to start from; their phases are not used. By default 2,000 of `gabor_table`.
    n_steps : int
    learning_rate : float
    device : str

    Returns
    -------
    Gabors
        Images of the norm of those given; score: cosine.

    Raises
    ------
    ValueError
        If there is no image, or a blank one.
    """
    images = np.asarray(images, dtype=np.float32)
    lengths = np.linalg.norm(images, axis=(-2, -1)) if images.ndim == 3 else np.zeros(1)
    if len(lengths) == 0 or not (lengths > 0).all():
        raise ValueError(f"images must be (N, H, W), at least one and none blank: {images.shape}")
    shape = images.shape[1:]
    bank = gabor_table(*shape, 2000) if bank is None else bank
    unit = torch.as_tensor(images / lengths[:, None, None], device=device)
    starts = _best_of_pairs(unit, _parameters_of(bank).to(device))  # (N S, 7)
    first = _fitted(unit.repeat_interleave(N_STARTS, dim=0), starts, N_FIRST, learning_rate)
    best = first.score.reshape(-1, N_STARTS).argmax(axis=1) + N_STARTS * np.arange(len(unit))
    found = _fitted(unit, _parameters_of(first.table.iloc[best]).to(device), n_steps, learning_rate)
    return found._replace(images=lengths[:, None, None] * found.images)


def _fitted(wanted: Tensor, starts: Tensor, n_steps: int, learning_rate: float) -> Gabors:
    """Climb the cosine with images of unit norm (N, H, W)."""

    def score(painted: Tensor) -> Tensor:
        """Cosine of each Gabor with its image."""
        return (painted * wanted).sum(dim=(1, 2))

    return _refined(score, starts, tuple(wanted.shape[1:]), 1.0, n_steps, learning_rate)


@torch.no_grad()
def _best_of_pairs(unit: Tensor, parameters: Tensor) -> Tensor:
    """For each image the best Gabors of a bank, phases free, (N S, 7)."""
    pixels = unit.flatten(1)
    even, odd = parameters.clone(), parameters.clone()
    even[:, 4], odd[:, 4] = 0.0, -torch.pi / 2
    along = [
        torch.cat([pixels @ _paint(p, *unit.shape[1:]).flatten(1).T for p in q.split(AT_A_TIME)], 1)
        for q in (even, odd)
    ]  # (N, F) each
    top = torch.hypot(*along).topk(N_STARTS, dim=1).indices
    a, b = (values.gather(1, top) for values in along)
    starts = parameters[top]  # (N, S, 7)
    starts[..., 4] = -torch.atan2(b, a)
    return starts.flatten(0, 1)


def _refined(
    score: Callable[[Tensor], Tensor],
    parameters: Tensor,
    shape: tuple[int, int],
    norm: float,
    n_steps: int,
    learning_rate: float,
) -> Gabors:
    """Climb in the parameters (N, 7), each Gabor by itself, and keep the best of the way."""
    free = _free(parameters).requires_grad_()
    best, best_score = free.detach().clone(), free.new_full((len(free),), -torch.inf)
    # Adam (Kingma & Ba 2015) written out: the first use of torch.optim takes seconds to import
    mean, square = torch.zeros_like(best), torch.zeros_like(best)
    for k in range(n_steps + 1):
        value = score(_paint(_bound(free), *shape))
        higher = value.detach() > best_score
        best[higher], best_score[higher] = free.detach()[higher], value.detach()[higher]
        (slope,) = torch.autograd.grad(value.sum(), free)
        mean.lerp_(slope, 1 - 0.9)
        square.lerp_(slope**2, 1 - 0.999)
        size = (square / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8
        rate = learning_rate * (1 - k / (n_steps + 1)) / (1 - 0.9 ** (k + 1))
        free.data += rate * mean / size
    bound = _bound(best)
    images = norm * _paint(bound, *shape)
    table = pd.DataFrame(bound.numpy(force=True).astype(float), columns=list(COLUMNS))
    return Gabors(table, images.numpy(force=True), best_score.numpy(force=True))


def _free(parameters: Tensor) -> Tensor:
    """Parameters on scales on which a step of any of them changes the Gabor about as much."""
    row, column, frequency, orientation, phase, sigma, elongation = parameters.unbind(-1)
    scaled = [row / PIXELS, column / PIXELS, frequency.log(), orientation]
    return torch.stack([*scaled, phase, sigma.log(), elongation.log()], dim=-1)


def _bound(free: Tensor) -> Tensor:
    """Invert `_free`, within bounds: a Gabor stays one of at least a few pixels and bars."""
    row, column, frequency, orientation, phase, sigma, elongation = free.unbind(-1)
    frequency = frequency.exp().clamp(LOWEST, HIGHEST)
    sigma, elongation = sigma.exp().clamp(0.7, 100.0), elongation.exp().clamp(0.25, 4.0)
    place = [PIXELS * row, PIXELS * column]
    return torch.stack([*place, frequency, orientation, phase, sigma, elongation], dim=-1)


def _parameters_of(table: pd.DataFrame) -> Tensor:
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"a table of Gabors has columns {COLUMNS}; {missing} are missing")
    return torch.as_tensor(table[list(COLUMNS)].to_numpy(), dtype=torch.float32)


def _paint(parameters: Tensor, height: int, width: int) -> Tensor:
    """Gabors of unit norm (F, H, W) from parameters (F, 7), differentiable."""
    columns = (c[:, None, None] for c in parameters.unbind(-1))
    row, column, frequency, orientation, phase, sigma, elongation = columns
    right = torch.arange(width, device=parameters.device) - column  # (F, 1, W)
    up = row - torch.arange(height, device=parameters.device)[:, None]  # (F, H, 1)
    cos, sin = orientation.cos(), orientation.sin()
    across, along = right * cos + up * sin, up * cos - right * sin
    exponent = (across**2 + (along / elongation) ** 2) / (2 * sigma**2)
    # denormal numbers in the tails would slow down every product
    envelope = torch.where(exponent < -np.log(NEGLIGIBLE), (-exponent).exp(), 0)
    waves = envelope * (2 * torch.pi * frequency * across + phase).cos()
    return waves / waves.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
