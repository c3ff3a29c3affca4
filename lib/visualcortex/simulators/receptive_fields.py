"""Receptive fields on a screen of 36 x 64 pixels, the cells made of them, and their best images.

Directions are in radians, clockwise from the right (rows count downwards); a filter's orientation
is that of its wave vector, at right angles to its bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

HEIGHT, WIDTH = 36, 64  # pixels; 50 x 90 degrees, one screen
DEGREES = 1.4  # a pixel
NEGLIGIBLE = 9.0  # exponent of the envelope from where it is 0: tails would be denormal numbers

N_STEPS = 1000
FLAT = 1e-5  # slope of the logarithm of the drive per radian, below which an ascent has arrived
TINY = 1e-6  # added to a denominator that may be 0
SILENT = 1e-12  # drive of neurons that do not respond: flat, but no summit
TIED = 1e-6  # share of the best drive by which two equally good optima may differ
SAME = 0.999  # cosine above which two optima are one


# drives: features (..., neuron, filter) to (..., neuron)


def _rectified(features: torch.Tensor) -> torch.Tensor:
    return features[..., 0].clamp(min=0)


def _amplitude(features: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(features, dim=-1)


def _suppressed(features: torch.Tensor) -> torch.Tensor:
    return _amplitude(features[..., :2]) / (1 + features[..., 2:].square().sum(dim=-1)).sqrt()


def _both(features: torch.Tensor) -> torch.Tensor:
    parts = features.clamp(min=0)
    return parts.prod(dim=-1) / (parts.sum(dim=-1) + TINY)


def _sum(features: torch.Tensor) -> torch.Tensor:
    return features.clamp(min=0).sum(dim=-1)


def _either(features: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(features.clamp(min=0), ord=3, dim=-1)


Drive = Callable[[torch.Tensor], torch.Tensor]
DRIVES: dict[str, Drive] = {
    "simple": _rectified,
    "complex": _amplitude,
    "surround": _suppressed,
    "curved": _rectified,
    "corner": _both,
    "sum": _sum,
    "either": _either,
}
PHASE_INVARIANT = ("complex", "surround")


class Population(nn.Module):
    r"""Cells that see an image through a few filters each: images to rates, differentiable.

    Rate of neuron i, with features :math:`u_{ik} = \langle g_{ik}, s \rangle`:

    .. math::

        r_i(s) = b_i + a_i\, d_i(u_i)^{p_i},

    and the drive by family: "simple" and "curved" :math:`[u_1]_+`; "complex"
    :math:`\sqrt{u_1^2 + u_2^2}`; "surround" :math:`\sqrt{u_1^2 + u_2^2} / \sqrt{1 + \sum_{k > 2}
    u_k^2}`; "corner" :math:`[u_1]_+ [u_2]_+ / ([u_1]_+ + [u_2]_+)`, half the
    harmonic mean; "sum" :math:`[u_1]_+ + [u_2]_+`; "either"
    :math:`([u_1]_+^3 + [u_2]_+^3)^{1/3}`. No drive falls as the image is multiplied by more than
    1, so that the best image of a given norm is a weighted sum of the filters.

    Parameters
    ----------
    filters : mapping of str to (n, K, 2304) array
        Filters of each family in the order of the neurons; names as in `DRIVES`.
    exponent, baseline, amplitude : (n_neurons,) array, optional
        By default 1, 0, 1: the rate is the drive.
    """

    def __init__(
        self,
        filters: Mapping[str, np.ndarray],
        exponent: np.ndarray | float = 1.0,
        baseline: np.ndarray | float = 0.0,
        amplitude: np.ndarray | float = 1.0,
    ) -> None:
        super().__init__()
        self.shapes = {family: bank.shape[:2] for family, bank in filters.items()}
        self.n_neurons = sum(n for n, _ in self.shapes.values())
        bank = np.concatenate([f.reshape(-1, HEIGHT * WIDTH) for f in filters.values()])
        self.register_buffer("bank", torch.as_tensor(bank.T.copy(), dtype=torch.float32))
        for name, value in (
            ("exponent", exponent),
            ("baseline", baseline),
            ("amplitude", amplitude),
        ):
            column = torch.as_tensor(np.broadcast_to(value, self.n_neurons).copy())
            self.register_buffer(name, column.float())

    def drive(self, images: torch.Tensor) -> torch.Tensor:
        """Drive of every neuron, (B, 1, 36, 64) to (B, n_neurons)."""
        features = images.flatten(1) @ self.bank  # (B, all filters)
        parts = features.split([n * k for n, k in self.shapes.values()], dim=1)
        named = zip(parts, self.shapes.items(), strict=True)
        drives = [DRIVES[family](part.unflatten(1, shape)) for part, (family, shape) in named]
        return torch.cat(drives, dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Rate of every neuron, (B, 1, 36, 64) to (B, n_neurons)."""
        return self.baseline + self.amplitude * self.drive(images) ** self.exponent

    def filters(self) -> dict[str, torch.Tensor]:
        """Filters of each family, (n, K, 2304)."""
        parts = self.bank.T.split([n * k for n, k in self.shapes.values()])
        named = zip(parts, self.shapes.items(), strict=True)
        return {family: part.unflatten(0, shape) for part, (family, shape) in named}


# painting


def gabor_pairs(table: Mapping[str, np.ndarray]) -> np.ndarray:
    r"""Gabor filters in quadrature, without mean and of unit norm, along a straight or bent axis.

    .. math::

        g(s) \propto e^{-(x^2 + (y / \epsilon)^2) / 2\sigma^2} \cos(2\pi f x + \phi)
            - \text{mean under the envelope}, \quad x = x_0 + \kappa y^2 / 2,

    with :math:`x_0` across the bars and y along them; the second of a pair lags by 90 degrees.

    Parameters
    ----------
    table : mapping of str to (n,) array
        "azimuth", "elevation" (degrees from the upper left corner), "frequency" (cycles a
        degree), "orientation", "phase" (rad), "sigma" (degrees), "elongation", "bend" (1/degree).

    Returns
    -------
    (n, 2, 2304) array
    """
    column = {name: np.asarray(values, float)[:, None] for name, values in table.items()}
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].reshape(2, 1, -1)
    right = (columns + 0.5) * DEGREES - column["azimuth"]
    down = (rows + 0.5) * DEGREES - column["elevation"]
    cos, sin = np.cos(column["orientation"]), np.sin(column["orientation"])
    along = down * cos - right * sin
    across = right * cos + down * sin + column["bend"] * along**2 / 2
    width = across**2 + (along / column["elongation"]) ** 2
    width /= 2 * column["sigma"] ** 2
    envelope = np.where(width < NEGLIGIBLE, np.exp(-np.minimum(width, NEGLIGIBLE)), 0)
    angle = 2 * np.pi * column["frequency"] * across + column["phase"]
    waves = envelope[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (n, 2, P)
    share = envelope / envelope.sum(axis=1, keepdims=True)
    waves -= waves.sum(axis=2, keepdims=True) * share[:, None]
    return waves / np.linalg.norm(waves, axis=2, keepdims=True)


def phase_invariant(pairs: np.ndarray) -> np.ndarray:
    r"""Quadrature pairs changed as little as makes them indifferent to the phase, exactly.

    Gabor filters sampled on pixels and freed of their mean are in quadrature only nearly. With
    Gram matrix G of the stacked even and odd filters, and J the turn of all phases by 90 degrees,
    the filters are multiplied by :math:`\bar G^{1/2} G^{-1/2}`, where :math:`\bar G = (G + J G
    J^T) / 2` commutes with J: a turn of all phases then leaves norms and energies as they are.
    For a single pair this is the symmetric orthogonalisation of Löwdin.

    Parameters
    ----------
    pairs : (n, k, 2, n_pixels) array
        k pairs of each of n neurons.

    Returns
    -------
    (n, k, 2, n_pixels) array
    """
    n, k, _, n_pixels = pairs.shape
    stacked = pairs.swapaxes(1, 2).reshape(n, 2 * k, n_pixels)  # all even, then all odd
    gram = stacked @ stacked.swapaxes(1, 2)
    turn = np.kron([[0, -1], [1, 0]], np.eye(k))
    mixing = _power((gram + turn @ gram @ turn.T) / 2, 0.5) @ _power(gram, -0.5)
    return (mixing @ stacked).reshape(n, 2, k, n_pixels).swapaxes(1, 2)


def _power(matrices: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrices)
    return (vectors * values[:, None] ** exponent) @ vectors.swapaxes(1, 2)


# best images


@dataclass(frozen=True, eq=False)
class Optima:
    """The images of one norm that drive each neuron most.

    Parameters
    ----------
    images
        One best image of each neuron, ``(neuron, 36, 64)``, about the mean grey.
    bases
        For each neuron unit vectors ``(k, 2304)``: a basis of the plane that its best images lie
        on, all phases alike, where `table` says so; otherwise all its best images.
    table
        One row a neuron: ``"method"`` ("closed form" or "ascent"), ``"phase_invariant"``,
        ``"n_optima"`` (distinct best images found; 1 for a plane), ``"arrived"`` (share of the
        ascents that ended on a summit: some start where the neuron is silent and all is flat),
        ``"agree"`` (share that ended as high as the best), ``"worst"`` (drive on the lowest summit
        as a share of the best; 1 if all are equally good), ``"off_plane"`` (largest share of the
        norm of a best image that is off the plane; 0 where there is none).
    """

    images: np.ndarray
    bases: list[np.ndarray]
    table: pd.DataFrame

    def cosine(self, images: np.ndarray) -> np.ndarray:
        """Largest cosine of each image with a best image of its neuron.

        Parameters
        ----------
        images : (..., n_neurons, 36, 64) array
            One for each neuron, about the mean grey.

        Returns
        -------
        (..., n_neurons) array
            Between -1 and 1; for neurons indifferent to phase not negative; 0 for a blank image.
        """
        pixels = np.asarray(images, float).reshape(*images.shape[:-2], -1)  # (..., N, P)
        norms = np.linalg.norm(pixels, axis=-1)
        planes = self.table["phase_invariant"]
        cosines = np.empty_like(norms)
        for i, (basis, plane) in enumerate(zip(self.bases, planes, strict=True)):
            along = pixels[..., i, :] @ basis.T  # (..., k)
            cosines[..., i] = np.linalg.norm(along, axis=-1) if plane else along.max(axis=-1)
        return cosines / np.where(norms > 0, norms, 1)


def optima(population: Population, norm: float, *, n_restarts: int, seed: int) -> Optima:
    """Find the best images of a norm: by closed form where the drive is linear or an energy.

    Simple and curved: the filter; complex: any phase of the pair. Elsewhere by gradient ascent
    on the sphere of that norm, from the centre of the receptive field and `n_restarts` - 1 random
    sums of the filters, in the space that the filters span, which holds every best image.

    Bias: an ascent finds summits, of which the best found may not be the highest; where `worst`
    is 1, all starts agree. What can be shown: "surround" has one summit up to phase (a linear
    function over a convex one), "corner" one, at the sum of its filters; for "sum" the sum of the
    filters is best unless they correlate below -1/2, and where they correlate negatively each by
    itself is a lower summit.

    Parameters
    ----------
    population : Population
        Neurons.
    norm : float
        Euclidean norm of the image about the mean grey.
    n_restarts : int
        Ascents for each neuron.
    seed : int
        Seed of the random starts.

    Returns
    -------
    Optima
    """
    rng = np.random.default_rng(seed)
    found = []
    for family, filters in population.filters().items():
        filters = filters.double().cpu()
        if family in ("simple", "complex", "curved"):
            found += [_closed_form(family, bank) for bank in filters.numpy()]
        else:
            found += _ascents(family, filters, norm, n_restarts, rng)
    images = norm * np.stack([image for image, _, _ in found])
    return Optima(
        images=images.reshape(-1, HEIGHT, WIDTH).astype("f4"),
        bases=[basis for _, basis, _ in found],
        table=pd.DataFrame([row for _, _, row in found]).rename_axis("neuron"),
    )


Found = tuple[np.ndarray, np.ndarray, dict[str, object]]


def _closed_form(family: str, bank: np.ndarray) -> Found:
    basis = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    row = {"method": "closed form", "phase_invariant": family in PHASE_INVARIANT, "n_optima": 1}
    return basis[0], basis, row | {"arrived": 1.0, "agree": 1.0, "worst": 1.0, "off_plane": 0.0}


def _ascents(
    family: str, filters: torch.Tensor, norm: float, n_restarts: int, rng: np.random.Generator
) -> list[Found]:
    basis, _ = torch.linalg.qr(filters.mT)  # (N, P, K), orthonormal
    mixing = filters @ basis  # (N, K, K): coordinates in the span to features
    weights = rng.standard_normal((n_restarts, *mixing.shape[:2]))
    if family not in PHASE_INVARIANT:
        weights = np.abs(weights)  # where a filter is silent there is no slope to follow
    weights[0] = 1.0 if family in ("corner", "sum") else np.eye(mixing.shape[1])[0]
    start = torch.einsum("rnk,nkd->rnd", torch.from_numpy(weights), mixing)
    ascents = _ascend(DRIVES[family], mixing, start, norm)
    return [
        _summits(family, basis[i].numpy(), mixing[i].numpy(), *(values[:, i] for values in ascents))
        for i in range(len(filters))
    ]


def _ascend(
    drive: Drive, mixing: torch.Tensor, start: torch.Tensor, norm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Climb on the unit sphere from all starts (R, N, K) at once, each with its own step.

    Returns the ends (R, N, K), the drives there, and whether they are flat, hence summits.
    """

    def height_and_slope(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithm of the drive, and its gradient along the sphere."""
        at = points.clone().requires_grad_()
        with torch.enable_grad():
            features = norm * torch.einsum("nkd,rnd->rnk", mixing, at)
            height = drive(features).clamp(min=SILENT).log()
            (slope,) = torch.autograd.grad(height.sum(), at)
        return height.detach(), slope - (slope * points).sum(-1, keepdim=True) * points

    points = nn.functional.normalize(start, dim=-1)
    height, slope = height_and_slope(points)
    step = torch.full_like(height, 0.3)
    for _ in range(N_STEPS):
        tried = nn.functional.normalize(points + step[..., None] * slope, dim=-1)
        tried_height, tried_slope = height_and_slope(tried)
        better = tried_height > height
        points = torch.where(better[..., None], tried, points)
        slope = torch.where(better[..., None], tried_slope, slope)
        height = torch.where(better, tried_height, height)
        step = step * torch.where(better, 1.3, 0.5)
        if slope.norm(dim=-1).max() < FLAT:
            break
    arrived = (slope.norm(dim=-1) < FLAT) & (height > np.log(SILENT))
    return points.numpy(), height.exp().numpy(), arrived.numpy()


def _summits(
    family: str,
    basis: np.ndarray,
    mixing: np.ndarray,
    points: np.ndarray,
    drives: np.ndarray,
    arrived: np.ndarray,
) -> Found:
    tied = drives >= (1 - TIED) * drives.max()
    plane, best = family in PHASE_INVARIANT, points[tied]
    chosen = best[:1]
    if plane:
        chosen = np.vstack([chosen, _turned(mixing, best[0])])
    for point in best[1:]:
        if not plane and (chosen @ point).max() < SAME:
            chosen = np.vstack([chosen, point])
    off = np.linalg.norm(best - best @ chosen.T @ chosen, axis=1).max() if plane else 0.0
    row = {"method": "ascent", "phase_invariant": plane, "n_optima": 1 if plane else len(chosen)}
    worst = (drives[arrived].min() if arrived.any() else 0.0) / drives.max()
    row |= {"arrived": arrived.mean(), "agree": tied.mean(), "worst": worst, "off_plane": off}
    return basis @ best[0], chosen @ basis.T, row


def _turned(mixing: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Turn the phases of all pairs of filters in an image by 90 degrees."""
    turn = np.kron(np.eye(len(mixing) // 2), [[0, -1], [1, 0]])
    turned = mixing.T @ turn @ np.linalg.solve(mixing.T, point)
    return turned / np.linalg.norm(turned)
