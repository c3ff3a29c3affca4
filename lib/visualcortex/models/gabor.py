"""Gabor filters and their energy: the standard model of a complex cell.

Images are (M, H, W). Places are (row, column) in pixels, frequencies in cycles per pixel. A filter
of orientation theta prefers a grating whose wave vector points theta counter-clockwise from the
right; its bars are at right angles to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from visualcortex.training import choose_device

# smallest value of a filter that is kept, as a share of its largest
NEGLIGIBLE = 1e-6
# s.d. of the envelope in wavelengths for a bandwidth of one octave (De Valois et al. 1982)
ONE_OCTAVE = 0.56


class QuadraturePair(NamedTuple):
    """Filters of phase 0 and of phase -90 degrees, (F, H W) each."""

    even: np.ndarray
    odd: np.ndarray


def gabor_bank(
    height: int,
    width: int,
    *,
    frequencies: np.ndarray,
    orientations: np.ndarray,
    sigmas: np.ndarray,
    centres: np.ndarray,
    phases: np.ndarray,
) -> np.ndarray:
    r"""Gabor filters of unit norm.

    .. math::

        g(x, y) \propto \exp\left(-\frac{x^2 + y^2}{2 \sigma^2}\right)
            \cos\left(2 \pi f (x \cos\theta + y \sin\theta) + \phi\right),

    x to the right and y up from the centre (Daugman 1985). Values below 1e-6 of the largest are
    set to 0: the tails would otherwise be denormal numbers, with which a matrix product is many
    times slower on some processors. The even filter answers a little to uniform light, by
    :math:`\exp(-2 \pi^2 \sigma^2 f^2)` of its best: take the mean off the images. Near a border
    what is left of a filter has unit norm, so that it answers more per pixel than one inside.

    Parameters
    ----------
    height, width : int
        Size of the images in pixels.
    frequencies, orientations, sigmas, phases : float or (F,) array
        Cycles per pixel, radians, pixels, radians; broadcast against each other.
    centres : (2,) or (F, 2) array
        Row and column in pixels.

    Returns
    -------
    (F, height * width) array of float32

    Raises
    ------
    ValueError
        If sizes, frequencies or sigmas are not positive, centres have no two columns, or a filter
        is zero on the whole image.

    References
    ----------
    Daugman, J. G. (1985). Uncertainty relation for resolution in space, spatial frequency, and
    orientation optimized by two-dimensional visual cortical filters. JOSA A 2.
    """
    centres = np.atleast_2d(np.asarray(centres, dtype=float))
    if min(height, width) < 1 or centres.shape[1] != 2:
        raise ValueError(
            "need a positive height and width and centres (row, column); got "
            f"{height} x {width} and centres of shape {centres.shape}"
        )
    columns = (frequencies, orientations, sigmas, phases, centres[:, 0], centres[:, 1])
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, dtype=float)) for c in columns))
    frequency, orientation, sigma, phase, row, column = (c[:, None, None] for c in columns)
    if not ((frequency > 0) & (sigma > 0)).all():
        raise ValueError("frequencies (cycles per pixel) and sigmas (pixels) must be positive")
    x = np.arange(width) - column  # (F, 1, W)
    y = row - np.arange(height)[:, None]  # (F, H, 1)
    along = x * np.cos(orientation) + y * np.sin(orientation)
    carrier = np.cos(2 * np.pi * frequency * along + phase)
    return _unit_norm(np.exp(-(x**2 + y**2) / (2 * sigma**2)) * carrier)


def gabor_energy(
    images: np.ndarray, pair: QuadraturePair, *, kind: str = "amplitude", device: str = "auto"
) -> np.ndarray:
    r"""Phase-free answer of quadrature pairs to images.

    Energy :math:`\langle I, g_{even} \rangle^2 + \langle I, g_{odd} \rangle^2` (Adelson & Bergen
    1985), or its square root, the amplitude. For a grating of contrast amplitude A, well inside
    the image, the amplitude of the filter that fits it is :math:`A \sigma \sqrt{2 \pi}`.

    Parameters
    ----------
    images : (M, H, W) array
        Any unit; the amplitude has it too.
    pair : QuadraturePair
        Even and odd filters (F, H W), as `gabor_bank` makes them with phases 0 and -pi/2.
    kind : str
        "amplitude" or "energy".
    device : str
        "auto", "cpu" or "cuda".

    Returns
    -------
    (M, F) array of float32

    Raises
    ------
    ValueError
        If the kind is unknown, or images and filters have different numbers of pixels.

    References
    ----------
    Adelson, E. H. & Bergen, J. R. (1985). Spatiotemporal energy models for the perception of
    motion. JOSA A 2.
    """
    images = np.asarray(images, dtype=np.float32)
    shapes = np.shape(pair[0]), np.shape(pair[1])
    if images.ndim != 3 or shapes[0] != shapes[1] or shapes[0][1:] != (images[0].size,):
        raise ValueError(
            "need images (M, H, W) and even and odd filters (F, H W) of the same size; got "
            f"images {images.shape} and filters {shapes[0]}, {shapes[1]}"
        )
    if kind not in ("amplitude", "energy"):
        raise ValueError(f'kind must be "amplitude" or "energy"; got {kind!r}')
    chosen = choose_device(device)
    pixels = torch.as_tensor(images.reshape(len(images), -1), device=chosen)
    even, odd = (pixels @ torch.as_tensor(g, device=chosen).T for g in pair)  # (M, F)
    energy = even.square_().add_(odd.square_())
    return (energy.sqrt_() if kind == "amplitude" else energy).cpu().numpy()


@dataclass(frozen=True)
class GaborPyramid:
    r"""Quadrature pairs at all orientations on a grid of places, coarser for lower frequencies.

    At frequency f the envelope is :math:`\sigma = c / f`, so that all have the same bandwidth in
    octaves, and places lie `spacing` :math:`\sigma` apart, the grid centred on the image. The
    plain model of an image in terms of V1: whatever claims to know more has to predict more.

    Parameters
    ----------
    height, width : int
        Size of the images in pixels.
    frequencies : floats
        Cycles per pixel, at most 0.5.
    n_orientations : int
        Evenly spaced over 180 degrees, the first at 0.
    spacing : float
        Distance of neighbouring places in :math:`\sigma`.
    cycles : float
        c, the s.d. of the envelope in wavelengths; 0.56 is one octave.

    Raises
    ------
    ValueError
        If a size, number or distance is not positive, or a frequency is above 0.5.
    """

    height: int
    width: int
    frequencies: tuple[float, ...]
    n_orientations: int = 8
    spacing: float = 2.0
    cycles: float = ONE_OCTAVE

    def __post_init__(self) -> None:
        """Check what the filters are made of."""
        sizes = self.height, self.width, self.n_orientations, self.spacing, self.cycles
        frequencies = np.asarray(self.frequencies, dtype=float)
        within = ((frequencies > 0) & (frequencies <= 0.5)).all()
        if min(sizes) <= 0 or frequencies.ndim != 1 or len(frequencies) == 0 or not within:
            raise ValueError(
                "a pyramid needs frequencies in (0, 0.5] cycles per pixel and positive height, "
                f"width, n_orientations, spacing and cycles; got {self}"
            )

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a pair: "frequency", "sigma", "row", "column", "orientation"."""
        orientations = np.arange(self.n_orientations) * np.pi / self.n_orientations
        levels = []
        for frequency in self.frequencies:
            sigma = self.cycles / frequency
            rows, columns = (_places(n, self.spacing * sigma) for n in (self.height, self.width))
            axes = np.meshgrid(rows, columns, orientations, indexing="ij")
            level = pd.DataFrame(
                np.stack(axes, axis=-1).reshape(-1, 3), columns=["row", "column", "orientation"]
            )
            levels.append(level.assign(frequency=frequency, sigma=sigma))
        return pd.concat(levels, ignore_index=True)

    @cached_property
    def pair(self) -> QuadraturePair:
        """The filters, in the order of the table."""
        return QuadraturePair(self._filters(0.0), self._filters(-np.pi / 2))

    def _filters(self, phase: float) -> np.ndarray:
        table = self.table
        return gabor_bank(
            self.height,
            self.width,
            frequencies=table["frequency"].to_numpy(),
            orientations=table["orientation"].to_numpy(),
            sigmas=table["sigma"].to_numpy(),
            centres=table[["row", "column"]].to_numpy(),
            phases=np.full(len(table), phase),
        )

    def transform(
        self, images: np.ndarray, *, kind: str = "amplitude", device: str = "auto"
    ) -> np.ndarray:
        """Features (M, F) of images (M, H, W), as `gabor_energy` computes and refuses them."""
        return gabor_energy(images, self.pair, kind=kind, device=device)


def _places(n_pixels: int, step: float) -> np.ndarray:
    """Places `step` apart, as many as fit between the first and the last pixel, centred."""
    n_steps = int((n_pixels - 1) / step)
    return (n_pixels - 1) / 2 + (np.arange(n_steps + 1) - n_steps / 2) * step


def _unit_norm(filters: np.ndarray) -> np.ndarray:
    """Filters (F, H, W) without their tails and of norm 1, as rows."""
    rows = filters.reshape(len(filters), -1)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if (largest < 1e-30).any():
        raise ValueError(
            f"filter {int(largest.argmin())} is zero on the whole image: its centre is too far "
            "away, or no pixel lies on its bars; move it, or change its phase"
        )
    rows = np.where(np.abs(rows) < NEGLIGIBLE * largest, 0.0, rows)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
