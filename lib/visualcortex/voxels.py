"""From neurons at positions to a grid of voxels, the form that a convolution takes.

Positions are (N, 3) in µm with columns x, y (in the plane of imaging) and z (depth). A grid of
shape (D, H, W) counts depth, rows (y) and columns (x), so that a trial is a stack of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

# where a Gaussian is cut, in standard deviations
TRUNCATION = 3.0
# trials at a time: what is added up then stays in the cache, three times faster than all at once
TRIALS_AT_A_TIME = 32


@dataclass(frozen=True)
class VoxelGrid:
    """A box of equal voxels.

    Parameters
    ----------
    origin : three floats
        Lower corner x, y, z in µm.
    spacing_um : three floats
        Edge of a voxel along x, y, z in µm.
    shape : three ints
        Number of voxels (D, H, W), that is along z, y, x.

    Raises
    ------
    ValueError
        If these are not three numbers each, positive for spacing and shape.
    """

    origin: tuple[float, float, float]
    spacing_um: tuple[float, float, float]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Check the three triples."""
        sizes = len(self.origin), len(self.spacing_um), len(self.shape)
        if sizes != (3, 3, 3) or min(self.spacing_um) <= 0 or min(self.shape) < 1:
            raise ValueError(
                "a grid needs an origin (x, y, z), positive spacings (x, y, z) and a shape "
                f"(D, H, W) of at least 1; got {self.origin}, {self.spacing_um}, {self.shape}"
            )

    @classmethod
    def covering(cls, positions: np.ndarray, spacing_um: Sequence[float]) -> VoxelGrid:
        """Return the smallest grid of this spacing in which every neuron is inside, none on a face.

        The box is centred on the neurons' bounding box. Planes of imaging that lie `spacing_um`
        apart in depth are then each in the middle of a voxel.

        Parameters
        ----------
        positions : (N, 3) array
            In µm.
        spacing_um : float or three floats
            Edge of a voxel along x, y, z in µm.

        Returns
        -------
        VoxelGrid

        Raises
        ------
        ValueError
            If positions are not (N, 3) and finite, or a spacing is not positive.
        """
        positions = _checked_positions(positions)
        spacing = _three(spacing_um, "spacing_um")
        low, extent = positions.min(axis=0), np.ptp(positions, axis=0)
        # the tolerance keeps rounding from merging the last two planes
        counts = np.floor(extent / spacing + 1e-6).astype(int) + 1
        origin = low - (counts * spacing - extent) / 2
        return cls(tuple(origin.tolist()), tuple(spacing.tolist()), tuple(counts[::-1].tolist()))

    @property
    def n_voxels(self) -> int:
        """Number of voxels, D H W."""
        return int(np.prod(self.shape))

    def coordinates(self, positions: np.ndarray) -> np.ndarray:
        """Positions in voxel edges along z, y, x, (N, 3): voxel k spans k to k + 1."""
        scaled = (positions - np.asarray(self.origin)) / np.asarray(self.spacing_um)
        return scaled[:, ::-1]


class Occupancy(NamedTuple):
    """How a grid is filled: share of voxels that hold a neuron, neurons in each (D, H, W)."""

    share: float
    neurons: np.ndarray


class SplatWeights(NamedTuple):
    """Sparse (voxel, neuron) matrix whose rows add up to 1, or to 0 if empty, and its grid.

    Voxels are counted through the grid in C order.
    """

    matrix: sparse.csr_array
    grid: VoxelGrid


def splat_weights(
    positions: np.ndarray,
    grid: VoxelGrid,
    *,
    kernel: str = "bin",
    width_um: float | Sequence[float] | None = None,
) -> SplatWeights:
    r"""Weights with which neurons are averaged into voxels.

    Voxel v is the weighted mean :math:`\sum_i k_{vi} x_i / \sum_i k_{vi}`, and 0 where no neuron
    has a weight. "bin": :math:`k_{vi} = 1` for the neurons in the voxel; a neuron on a face
    between two voxels belongs to the upper one, one on the last face to the last. "gaussian":
    :math:`k_{vi} = \prod_a \exp(-(c_{va} - p_{ia})^2 / 2 w_a^2)` with c the centre of the voxel,
    cut at three widths along each axis.

    Bias: a mean over n neurons with private noise has noise variance 1/n, so that voxels differ
    in noise as they differ in filling, and a voxel of 0 cannot be told from a silent one. The
    Gaussian is a smoothed *mean*: a voxel without neighbours takes the value of the one neuron
    in reach, however little its weight. Neurons outside the grid are left out.

    Parameters
    ----------
    positions : (N, 3) array
        In µm.
    grid : VoxelGrid
        Where to put them.
    kernel : str
        "bin" or "gaussian".
    width_um : float or three floats, optional
        Standard deviation of the Gaussian along x, y, z in µm; the grid's spacing unless given.

    Returns
    -------
    SplatWeights

    Raises
    ------
    ValueError
        If positions are not (N, 3) and finite, no neuron lies in the grid, the kernel is unknown,
        or a width is below a sixth of the spacing (neurons would fall between the centres).
    """
    coordinates = grid.coordinates(_checked_positions(positions))
    if kernel == "bin" and width_um is None:
        neuron, voxel = _inside(coordinates, grid)
        weight = np.ones(len(neuron))
    elif kernel == "gaussian":
        width = _three(grid.spacing_um if width_um is None else width_um, "width_um")
        neuron, voxel, weight = _gaussian(coordinates, grid, width / grid.spacing_um)
    else:
        raise ValueError(
            f'kernel must be "bin" (without width_um) or "gaussian"; got {kernel!r} with '
            f"width_um={width_um}"
        )
    if len(neuron) == 0:
        raise ValueError(
            f"none of {len(coordinates)} neurons lies in the grid at {grid.origin} µm; align the "
            "positions first, or make the grid with VoxelGrid.covering"
        )
    total = np.bincount(voxel, weights=weight, minlength=grid.n_voxels)
    share = (weight / total[voxel]).astype(np.float32)
    shape = grid.n_voxels, len(coordinates)
    return SplatWeights(sparse.csr_array((share, (voxel, neuron)), shape=shape), grid)


def voxelise(responses: np.ndarray, weights: SplatWeights) -> np.ndarray:
    r"""Average responses into voxels, :math:`V_{bv} = \sum_i w_{vi} x_{bi}`.

    On one core of the processor: for bins, reading and writing memory is most of the work.

    Parameters
    ----------
    responses : (n_trials, n_neurons) array
        Any unit; the voxels have the same.
    weights : SplatWeights
        From `splat_weights`.

    Returns
    -------
    (n_trials, D, H, W) array of float32

    Raises
    ------
    ValueError
        If the responses have other neurons than the weights.
    """
    matrix, grid = weights
    values = np.asarray(responses, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] != matrix.shape[1]:
        raise ValueError(
            f"responses must be (trial, neuron) with the {matrix.shape[1]} neurons whose "
            f"positions were given; got an array of shape {values.shape}"
        )
    voxels = np.empty((len(values), grid.n_voxels), dtype=np.float32)
    for start in range(0, len(values), TRIALS_AT_A_TIME):
        part = slice(start, start + TRIALS_AT_A_TIME)
        voxels[part] = (matrix @ values[part].T).T
    return voxels.reshape(len(values), *grid.shape)


def occupancy(positions: np.ndarray, grid: VoxelGrid) -> Occupancy:
    """Share of voxels that hold at least one neuron, and the number of neurons in each voxel.

    Parameters
    ----------
    positions : (N, 3) array
        In µm; neurons outside the grid are not counted.
    grid : VoxelGrid
        The grid.

    Returns
    -------
    Occupancy

    Raises
    ------
    ValueError
        If positions are not (N, 3) and finite.
    """
    _, voxel = _inside(grid.coordinates(_checked_positions(positions)), grid)
    neurons = np.bincount(voxel, minlength=grid.n_voxels).reshape(grid.shape)
    return Occupancy(float(np.mean(neurons > 0)), neurons)


def pixel_occupancy(positions: np.ndarray) -> float:
    """Share of pixels that hold a neuron if every µm of every plane is one.

    The grid that is sparse instead of dense: (max(x) + 1) by (max(y) + 1) pixels in each plane of
    imaging. With ten thousand neurons on a square millimetre in eleven planes, below a thousandth.

    Parameters
    ----------
    positions : (N, 3) array
        In µm, not negative; x and y are rounded down.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If positions are not (N, 3), finite and from 0 on.
    """
    positions = _checked_positions(positions)
    if positions[:, :2].min() < 0:
        raise ValueError(
            f"pixels count from 0: x and y must not be negative; got {positions[:, :2].min():g} "
            "µm. Subtract the smallest"
        )
    pixels = np.floor(positions)
    pixels[:, 2] = positions[:, 2]
    n_pixels = np.prod(pixels[:, :2].max(axis=0) + 1) * len(np.unique(positions[:, 2]))
    return float(len(np.unique(pixels, axis=0)) / n_pixels)


def shuffled_positions(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permute which neuron is where: the same places, without what place says about a neuron.

    The control of every decoder that knows positions; binned, it averages random groups of
    neurons of the same sizes.

    Parameters
    ----------
    positions : (N, 3) array
        In µm.
    rng : numpy.random.Generator
        Source of the permutation.

    Returns
    -------
    (N, 3) array
    """
    return rng.permutation(np.asarray(positions), axis=0)


def align(positions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    r"""Lay one recording's neurons over another's, so that one grid does for both.

    Along x and y, :math:`p' = r_0 + (p - p_0) (r_1 - r_0) / (p_1 - p_0)` with the ends of the two
    bounding boxes; in depth the k-th plane of imaging becomes the k-th of the reference (if there
    are as many; otherwise they are spread over its depth). No anatomy is used: neither the
    retinotopic map nor the border of the area is aligned, and one far neuron moves all others.

    Parameters
    ----------
    positions, reference : (N, 3), (M, 3) array
        In µm, in planes of constant z.

    Returns
    -------
    (N, 3) array
        Positions in the box of the reference.

    Raises
    ------
    ValueError
        If either is not (N, 3) and finite, or all neurons have the same x or y.
    """
    positions, reference = _checked_positions(positions), _checked_positions(reference)
    low, extent = positions.min(axis=0), np.ptp(positions, axis=0)
    if extent[:2].min() == 0:
        raise ValueError("neurons must differ in x and in y to be scaled to a box; all are in line")
    aligned = np.empty_like(positions)
    box = np.ptp(reference, axis=0)[:2]
    aligned[:, :2] = reference.min(axis=0)[:2] + (positions - low)[:, :2] * box / extent[:2]
    planes, plane = np.unique(positions[:, 2], return_inverse=True)
    target = np.unique(reference[:, 2])
    ranks = np.linspace(0, len(target) - 1, len(planes))
    aligned[:, 2] = np.interp(ranks, np.arange(len(target)), target)[plane]
    return aligned


def _inside(coordinates: np.ndarray, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Neurons in the grid and the voxel of each."""
    shape = np.asarray(grid.shape)
    neuron = np.flatnonzero(((coordinates >= 0) & (coordinates <= shape)).all(axis=1))
    index = np.minimum(coordinates[neuron].astype(int), shape - 1)
    return neuron, np.ravel_multi_index(tuple(index.T), grid.shape)


def _gaussian(
    coordinates: np.ndarray, grid: VoxelGrid, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neuron, voxel and weight of every entry; `width` in voxel edges along x, y, z."""
    if (2 * TRUNCATION * width < 1).any():
        raise ValueError(
            "width_um must be at least a sixth of the grid's spacing along each axis, or neurons "
            f"fall between the centres; got {(width * grid.spacing_um).tolist()} µm for "
            f"{grid.spacing_um} µm. Take wider ones, or kernel='bin'"
        )
    voxel, weight = np.zeros((len(coordinates), 1), dtype=int), np.ones((len(coordinates), 1))
    for axis, (n, sd) in enumerate(zip(grid.shape, width[::-1], strict=True)):
        index, along = _gaussian_along(coordinates[:, axis], n, sd)  # (N, T)
        voxel = (voxel[:, :, None] * n + index[:, None]).reshape(len(voxel), -1)
        weight = (weight[:, :, None] * along[:, None]).reshape(len(weight), -1)
    neuron, entry = np.nonzero(weight)
    return neuron, voxel[neuron, entry], weight[neuron, entry]


def _gaussian_along(place: np.ndarray, n: int, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Voxels in reach along one axis and their weights, (N, T); 0 for those off the grid."""
    reach = int(np.ceil(TRUNCATION * sd + 0.5))
    index = np.floor(place).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance = (index + 0.5 - place[:, None]) / sd
    in_reach = (np.abs(distance) <= TRUNCATION) & (index >= 0) & (index < n)
    return index.clip(0, n - 1), np.where(in_reach, np.exp(-(distance**2) / 2), 0.0)


def _checked_positions(positions: np.ndarray) -> np.ndarray:
    positions = np.asarray(positions, dtype=float)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
        raise ValueError(
            f"positions must be x, y, z of each neuron, shape (n_neurons, 3); got {positions.shape}"
        )
    if not np.isfinite(positions).all():
        raise ValueError(
            f"positions must be finite; got {np.count_nonzero(~np.isfinite(positions))} NaN or "
            "infinite values. Leave these neurons out"
        )
    return positions


def _three(value: float | Sequence[float], name: str) -> np.ndarray:
    three = np.asarray(value, dtype=float)
    if three.shape not in ((), (3,)) or not (three > 0).all():
        raise ValueError(f"{name} must be one positive number or three (x, y, z); got {value}")
    return np.broadcast_to(three, 3)
