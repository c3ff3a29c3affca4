"""Files of the format HDF5, netCDF-4 among them, opened with errors that name the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py


@contextlib.contextmanager
def open_hdf5(path: Path, form: str = "HDF5") -> Iterator[h5py.File]:
    """Open a file for reading.

    Parameters
    ----------
    path
        The file.
    form
        What errors call its format.

    Yields
    ------
    h5py.File

    Raises
    ------
    ValueError
        It is not HDF5, or cannot be read to its end.
    """
    with path.open("rb") as stream:
        start = stream.read(16)
    if not h5py.is_hdf5(path):
        raise ValueError(
            f"{path.name} is not an {form} file; it begins with {start!r}. It may be another "
            f"file, or a page that came in its place: fetch it again."
        )
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{path.name} cannot be read ({' '.join(str(error).split())[:200]}). It is cut short "
            f"or damaged: fetch it again."
        ) from error


def axes(node: h5py.Dataset) -> tuple[str, ...]:
    """Return the names of the axes that the dimension scales of netCDF give; "" where none does."""
    return tuple(
        axis[0].name.rpartition("/")[2] if len(axis) and axis[0].name else "" for axis in node.dims
    )
