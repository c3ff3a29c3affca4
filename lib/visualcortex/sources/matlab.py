"""Variables of MATLAB files, of version 5 (scipy reads them) and 7.3 (which are HDF5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, np.ndarray | str | list]:
    """Read variables, and fields of variables, from a MATLAB file.

    Nothing else is read, except that a variable of version 5 is read with all its fields.

    Parameters
    ----------
    path
        The file; its content decides which version it is.
    names
        ``"variable"`` or ``"variable.field"``.

    Returns
    -------
    dict
        What was found, by name. An array of numbers has its shape in MATLAB (and its order in
        memory, columns first), characters are one string, and a cell array, or the field of an
        array of structs, is a list in MATLAB's order. Of a struct only the names of its fields
        are returned, as a list.

    Raises
    ------
    ValueError
        The file is not of these versions, or is damaged.
    """
    import h5py

    with path.open("rb") as stream:
        start = stream.read(16)
    if h5py.is_hdf5(path):
        read = _read_hdf5
    elif start.startswith(b"MATLAB 5.0"):
        read = _read_version_5
    else:
        raise ValueError(
            f"{path.name} is not a MATLAB file of version 5 or 7.3; it begins with {start!r}. "
            f"It may be cut short or be another file: fetch it again."
        )
    try:
        return read(path, names)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes scipy and h5py raise a dozen types
        raise ValueError(
            f"{path.name} cannot be read as a MATLAB file ({type(error).__name__}: {error}). "
            f"It may be cut short or damaged: fetch it again."
        ) from error


def _read_version_5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray | str | list]:
    from scipy.io import loadmat

    content = loadmat(path, variable_names=sorted({name.split(".")[0] for name in names}))
    found = {}
    for name in names:
        variable, _, field = name.partition(".")
        value = content.get(variable)
        if field and value is not None:
            value = value[field] if field in (value.dtype.names or ()) else None
            value = value.item() if value is not None and value.size == 1 else value
        if value is not None:
            found[name] = _from_version_5(value)
    return found


def _from_version_5(value: np.ndarray) -> np.ndarray | str | list:
    if value.dtype.names:
        return list(value.dtype.names)
    if value.dtype == object:
        return [_from_version_5(item) for item in value.ravel(order="F")]
    if value.dtype.kind == "U":
        return "".join(value.ravel())
    return value


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray | str | list]:
    import h5py

    found = {}
    with h5py.File(path, "r") as file:
        for name in names:
            node = file.get(name.replace(".", "/"))
            if node is not None:
                found[name] = _from_hdf5(node, file)
    return found


def _from_hdf5(node: h5py.Group | h5py.Dataset, file: h5py.File) -> np.ndarray | str | list:
    import h5py

    if isinstance(node, h5py.Group):
        return list(node)
    if node.attrs.get("MATLAB_empty", 0):
        return np.empty(tuple(int(length) for length in node[()]))  # an empty array is its shape
    value = node[()]
    if h5py.check_ref_dtype(node.dtype) is not None:
        return [_from_hdf5(file[item], file) for item in value.ravel()]
    if node.attrs.get("MATLAB_class") == b"char":
        return "".join(map(chr, value.ravel()))
    return value.T  # HDF5 counts the axes from the other end
