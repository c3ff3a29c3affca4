"""Values of Neurodata Without Borders (NWB) files, read with h5py alone."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np


def dataset(file: h5py.File, name: str, remedy: str = "") -> h5py.Dataset:
    """Return a dataset, not yet read.

    Parameters
    ----------
    file
        The open file.
    name
        Path within the file.
    remedy
        What to do if it is missing.

    Raises
    ------
    ValueError
        It is missing.
    """
    node = file.get(name)
    if not isinstance(node, h5py.Dataset):
        remedy = remedy or "It may be a file of another kind, or of an older release."
        raise ValueError(f"{Path(file.filename).name} lacks {name}. {remedy}")
    return node


def numbers(file: h5py.File, name: str, shape: tuple[int | None, ...] = (None,)) -> np.ndarray:
    """Read an array of real numbers.

    Parameters
    ----------
    file
        The open file.
    name
        Path within the file.
    shape
        Expected lengths; None where any will do.

    Raises
    ------
    ValueError
        It is missing, of another shape, or not of numbers.
    """
    node = dataset(file, name)
    check_shape(node, shape)
    value = node[()]
    if value.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} in {Path(file.filename).name} must hold numbers; got {value.dtype}. It may "
            f"be a file of another kind."
        )
    return value


def words(file: h5py.File, name: str, length: int | None = None) -> np.ndarray:
    """Read an array of words, ``(length,)``.

    Raises
    ------
    ValueError
        It is missing, of another length, or not of words.
    """
    node = dataset(file, name)
    check_shape(node, (length,))
    if h5py.check_string_dtype(node.dtype) is None:
        raise ValueError(
            f"{name} in {Path(file.filename).name} must hold words; got {node.dtype}. It may be a "
            f"file of another kind."
        )
    return np.array(node.asstr()[()], dtype=str)


def word(file: h5py.File, name: str) -> str:
    """Return a single word, ``"unknown"`` where there is none."""
    node = file.get(name)
    if not isinstance(node, h5py.Dataset) or h5py.check_string_dtype(node.dtype) is None:
        return "unknown"
    return str(node.asstr()[()])


def check_shape(node: h5py.Dataset, shape: tuple[int | None, ...]) -> None:
    """Refuse a dataset of another shape.

    Raises
    ------
    ValueError
        The number of axes, or a length that is given, differs.
    """
    wrong = len(node.shape) != len(shape) or any(
        wanted not in (None, length) for length, wanted in zip(node.shape, shape, strict=True)
    )
    if wrong:
        expected = ", ".join("any" if wanted is None else str(wanted) for wanted in shape)
        raise ValueError(
            f"{node.name[1:]} in {Path(node.file.filename).name} must have shape ({expected}); "
            f"got {node.shape}. It may be cut short: fetch the file again."
        )
