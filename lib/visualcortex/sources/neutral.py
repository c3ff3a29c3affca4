"""Copies of recordings in a neutral format, memory-mapped: loaded again at once.

A copy is a folder of ``.npy`` files and of ``content.json``, which lists them. It appears whole or
not at all, and one that is incomplete or of other shapes is made anew. What a defect of the disk
does to values within the files is not noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

FORMAT = 1  # to be raised when what a copy holds changes
STALE = 24 * 3600.0  # s: an unfinished copy older than that was left by a process that is gone

Arrays = dict[str, np.ndarray]
Put = Callable[[str, tuple[int, ...], type, Iterable[np.ndarray]], None]


def copy_name(path: Path, variant: str = "") -> str:
    """Return the name of the folder for the copy of a file as it is now.

    Parameters
    ----------
    path
        The file; its name, size and time of modification tell it from others, not its content.
    variant
        What of it is in the copy, where there are several.
    """
    stat = path.stat()
    identity = f"{path.name} {stat.st_size} {stat.st_mtime_ns} {FORMAT}"
    digest = hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]
    return "-".join(filter(None, (path.stem, variant, digest)))


def neutral_copy(folder: Path, convert: Callable[[Put], dict]) -> tuple[Arrays, dict, str]:
    """Return the arrays of a copy, which is made first if there is none.

    Parameters
    ----------
    folder
        Where the copy is or shall be; named by `copy_name`. Older copies of the same file beside
        it are removed when it is made.
    convert
        Called with ``put(name, shape, dtype, blocks)``, which stores one array, its blocks
        following each other along the first axis; returns what else is to be kept, for JSON. It
        may be called a second time if the copy cannot be written.

    Returns
    -------
    arrays
        By name. They are mapped from the files: pages are read when they are used, and what is
        written to an array stays in this process. Where no copy could be written they are in
        memory.
    facts
        What `convert` returned.
    fault
        Why there is no copy; empty if there is one.
    """
    found = _open(folder)
    if found is not None:
        return *found, ""
    try:
        _write(folder, convert)
        fault = "what was written could not be read"
    except OSError as error:
        fault = str(error.strerror or error)
    found = _open(folder)
    if found is not None:
        return *found, ""
    arrays: Arrays = {}
    facts = convert(partial(_hold, arrays))
    return arrays, facts, fault


def _open(folder: Path) -> tuple[Arrays, dict] | None:
    try:
        content = json.loads((folder / "content.json").read_text(encoding="utf-8"))
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
            for name in content["arrays"]
        }
        facts = content["facts"]
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    described = {name: _describe(array) for name, array in arrays.items()}
    return (arrays, facts) if described == content["arrays"] else None


def _describe(array: np.ndarray) -> list:
    return [list(array.shape), array.dtype.str]


def _write(folder: Path, convert: Callable[[Put], dict]) -> None:
    unfinished = folder.parent / ".unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    _sweep(unfinished)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=unfinished))
    try:
        written: dict[str, list] = {}
        facts = convert(partial(_save, made, written))
        content = json.dumps({"arrays": written, "facts": facts})
        (made / "content.json").write_text(content, encoding="utf-8")
        made.chmod(0o755)  # mkdtemp makes private folders; a cache may be shared
        if _open(folder) is None:  # or another process was faster
            _remove([folder])
            os.replace(made, folder)
            _remove(_older(folder))
    finally:
        _remove([made])


def _sweep(folder: Path) -> None:
    """Remove unfinished copies of processes that are gone."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may sweep as well
            if time.time() - path.stat().st_mtime > STALE:
                shutil.rmtree(path)


def _older(folder: Path) -> list[Path]:
    """List the copies beside this one that differ from it in nothing but the digest."""
    stem, _, _ = folder.name.rpartition("-")
    return [path for path in folder.parent.glob(f"{stem}-{'?' * 16}") if path != folder]


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def _save(
    folder: Path,
    written: dict[str, list],
    name: str,
    shape: tuple[int, ...],
    dtype: type,
    blocks: Iterable[np.ndarray],
) -> None:
    """Write an array block by block: not through a memory map, whose pages would count as ours."""
    descr = np.dtype(dtype).str
    with (folder / f"{name}.npy").open("wb") as stream:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block, dtype))
        stream.flush()
        os.fsync(stream.fileno())  # else a crash could leave a file of the right size, empty
    written[name] = [list(shape), descr]


def _hold(
    arrays: Arrays, name: str, shape: tuple[int, ...], dtype: type, blocks: Iterable[np.ndarray]
) -> None:
    arrays[name] = np.empty(shape, dtype)
    start = 0
    for block in blocks:
        arrays[name][start : start + len(block)] = block
        start += len(block)
