"""Archives of NumPy arrays, read by name, with errors that say which file is wrong."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read named arrays from an archive of NumPy; pickles are not opened.

    Parameters
    ----------
    path
        An ``.npz`` file.
    names
        Of the arrays; nothing else is read.

    Raises
    ------
    ValueError
        The file is damaged or no such archive, or lacks an array.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            content = {name: archive[name] for name in names if name in archive}
    except (
        *(OSError, EOFError, AttributeError, TypeError, ValueError, NotImplementedError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise ValueError(
            f"{path.name} cannot be read as an archive of NumPy arrays ({error}). Fetch it again."
        ) from error
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"{path.name} lacks {missing[0]}. It may be another file: fetch it again.")
    return content
