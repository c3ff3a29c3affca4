"""Images that stay on disk: those that are asked for are read when they are asked for."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from visualcortex.sources.hdf5 import open_hdf5


class LazyImages:
    """Images ``(image, channel, row, column)``, float32, in a file that is opened for each reading.

    Nothing but the names and the size is kept, so that they can be pickled and used by several
    processes. ``images[k]`` is one image, ``images[rows]`` with a slice, integers (also negative,
    repeated and in any order) or truth values an array of those images; no more than these are in
    memory. ``numpy.asarray(images)`` reads all.

    Parameters
    ----------
    shape
        ``(image, channel, row, column)``.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {' × '.join(map(str, self.shape))}, on disk>"

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        chosen = self._chosen(rows)
        wanted, place = np.unique(chosen.ravel(), return_inverse=True)
        images = self._read(wanted)
        place = place.reshape(chosen.shape)  # () for a single image
        in_order = chosen.ndim == 1 and len(wanted) == len(chosen) and (np.diff(chosen) > 0).all()
        return images if in_order else images[place]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("these images are on disk and cannot be had without a copy.")
        images = self[:]
        return images if dtype is None else images.astype(dtype, copy=False)

    def _chosen(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the positions that are asked for, from 0 on."""
        if isinstance(rows, slice):
            return np.arange(len(self))[rows]
        chosen = np.asarray(rows)
        if chosen.size == 0 and chosen.ndim == 1:
            return chosen.astype(np.int64)
        kinds = "iu" if chosen.ndim == 0 else "iub"
        if chosen.ndim > 1 or isinstance(rows, tuple) or chosen.dtype.kind not in kinds:
            raise IndexError(
                f"images are chosen by an integer, a slice or a one-dimensional array of integers "
                f"or truth values; got {rows!r}. Take the images first, then parts of them."
            )
        return np.asarray(np.arange(len(self))[chosen])

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at increasing positions."""
        raise NotImplementedError


class H5Images(LazyImages):
    r"""Images of one or several datasets of an HDF5 file, one dataset after the other.

    They are stored normalised, :math:`z = (x - m_c) / s_c` for channel *c*, and returned as
    :math:`x = z s_c + m_c`, cut to the range 0 to 1.

    Parameters
    ----------
    path
        The file.
    names
        The datasets, each ``(image, channel, row, column)``.
    mean, sd
        What was subtracted from and divided out of each channel.

    Attributes
    ----------
    block : int
        So many neighbouring images are stored together: reading one of them costs as much as
        reading all. Images that are read in order are best read as many at a time.

    Raises
    ------
    ValueError
        A dataset is missing, or not of real numbers ``(image, channel, row, column)``, or the
        images are not all of one size.
    """

    def __init__(
        self, path: Path, names: Sequence[str], mean: Sequence[float], sd: Sequence[float]
    ) -> None:
        self.path, self.names = path, tuple(names)
        self.mean, self.sd = (np.array(value, np.float32)[:, None, None] for value in (mean, sd))
        with open_hdf5(path) as file:
            nodes = [file.get(name) for name in self.names]
            for name, node in zip(self.names, nodes, strict=True):
                _check_stack(path, name, node, nodes[0], len(self.mean))
            lengths = [len(node) for node in nodes]
            self.block = max(node.chunks[0] if node.chunks else 1 for node in nodes)
            size = nodes[0].shape[1:]
        self.starts = np.cumsum([0, *lengths])
        super().__init__((int(self.starts[-1]), *size))

    def _read(self, rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *self.shape[1:]), np.float32)
        with open_hdf5(self.path) as file:
            edges = np.searchsorted(rows, self.starts)
            for name, start, first, last in zip(
                self.names, self.starts, edges, edges[1:], strict=False
            ):
                if last > first:
                    _read_rows(file[name], rows[first:last] - start, images[first:last])
        images *= self.sd
        images += self.mean
        return np.clip(images, 0, 1, out=images)


class ZipImages(LazyImages):
    """Images of a zip archive of PNG files, as RGB from 0 to 1.

    Parameters
    ----------
    path
        The archive.
    names
        The members of the archive in the order of the images.
    size
        Height and width, pixels.

    Raises
    ------
    ValueError
        The archive cannot be read or lacks a member; when images are read, one of them is
        damaged or of another size.
    """

    def __init__(self, path: Path, names: Sequence[str], size: tuple[int, int]) -> None:
        self.path, self.names = path, tuple(names)
        with _open_zip(path) as archive:
            missing = sorted(set(self.names) - set(archive.namelist()))
        if missing:
            raise ValueError(
                f"{path.name} lacks {len(missing)} of {len(self.names)} images, the first "
                f"{missing[0]}. It may be the archive of other data: fetch it again."
            )
        super().__init__((len(self.names), 3, *size))

    def _read(self, rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *self.shape[1:]), np.float32)
        with _open_zip(self.path) as archive:
            for image, row in zip(images, rows, strict=True):
                image[:] = self._image(archive, self.names[row])
        return images

    def _image(self, archive: zipfile.ZipFile, name: str) -> np.ndarray:
        """Return one image, ``(channel, row, column)``; grey ones are the same in all channels."""
        from matplotlib.image import imread

        try:
            image = imread(io.BytesIO(archive.read(name)), format="png")  # 0 to 1, (H, W[, C])
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, SyntaxError) as error:
            raise ValueError(
                f"{name} in {self.path.name} is damaged or not a PNG ({error}): fetch the archive "
                f"again."
            ) from error
        if image.shape[:2] != self.shape[2:]:
            raise ValueError(
                f"{name} in {self.path.name} must be of {self.shape[2]} x {self.shape[3]} pixels; "
                f"got {image.shape[0]} x {image.shape[1]}. It may be the archive of other data."
            )
        image = image[..., None] if image.ndim == 2 else image
        colours = image[..., :3] if image.shape[2] > 2 else image[..., :1]  # alpha comes last
        return np.moveaxis(colours, 2, 0)


def _check_stack(
    path: Path, name: str, node: h5py.Dataset | None, first: h5py.Dataset | None, channels: int
) -> None:
    if not isinstance(node, h5py.Dataset):
        raise ValueError(f"{path.name} lacks {name}. It may be another file: fetch it again.")
    if node.ndim != 4 or node.shape[1] != channels or node.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} in {path.name} must hold numbers (image, {channels}, row, column); got "
            f"{node.dtype} {node.shape}. It may be another file: fetch it again."
        )
    if node.shape[1:] != first.shape[1:]:
        raise ValueError(
            f"{name} in {path.name} must hold images of {first.shape[1:]} as the others; got "
            f"{node.shape[1:]}. It may be another file: fetch it again."
        )


def _read_rows(node: h5py.Dataset, rows: np.ndarray, out: np.ndarray) -> None:
    """Read increasing rows in one go: a piece of the file that holds several is unpacked once."""
    solid = rows[-1] - rows[0] == len(rows) - 1
    node.read_direct(out, np.s_[rows[0] : rows[-1] + 1] if solid else np.s_[rows.tolist()])


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path.name} is not a zip archive, or is cut short: fetch it again."
        ) from error
