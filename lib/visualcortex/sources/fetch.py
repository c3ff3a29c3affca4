"""Files of real recordings: found in the data folder, or downloaded into it and checked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PARTIAL = ".partial"
STALE = 24 * 3600.0  # s: a partial file older than that was left by a process that is gone
TIMEOUT = (10.0, 60.0)  # s: to connect, between two pieces


class DataError(RuntimeError):
    """A file of a recording is neither at hand nor to be had; the message says what to do."""


class _FaultError(Exception):
    """Why a download failed, and whether that may have passed at the next try."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


@dataclass(frozen=True)
class RemoteFile:
    """A published file and how to know it.

    Parameters
    ----------
    name
        File name.
    url
        Where it is published.
    checksum
        ``"sha256:<hex>"``, or ``"git-blob:<hex>"`` where its identity in a git repository, SHA-1
        of ``b"blob <size>\\0"`` and the content, is all that is known.
    size
        Bytes; None if not published.
    """

    name: str
    url: str
    checksum: str
    size: int | None = None

    def __post_init__(self) -> None:
        """Check the form of the checksum."""
        kind, _, digest = self.checksum.partition(":")
        if len(digest) != {"sha256": 64, "git-blob": 40}.get(kind):
            raise ValueError(
                f"checksum of {self.name} must be 'sha256:<64 hex digits>' or "
                f"'git-blob:<40 hex digits>'; got {self.checksum!r}. Correct its entry."
            )


def data_folder() -> Path:
    """Return the folder for data: the environment's ``VISUALCORTEX_DATA``, or the user's cache.

    Raises
    ------
    DataError
        ``VISUALCORTEX_DATA`` names a folder that does not exist.
    """
    named = os.environ.get("VISUALCORTEX_DATA")
    if not named:
        import pooch

        return Path(pooch.os_cache("visualcortex"))
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"VISUALCORTEX_DATA names {folder}, which is not a folder: create it, correct the "
            f"variable, or unset it to use the default cache."
        )
    return folder


def checksum(path: Path, kind: str) -> str:
    """Return the checksum of a file in the form of `RemoteFile`.

    Parameters
    ----------
    path
        The file.
    kind
        ``"sha256"`` or ``"git-blob"``.
    """
    digest = hashlib.sha256()
    if kind == "git-blob":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return f"{kind}:{digest.hexdigest()}"


def look_up(file: RemoteFile, folder: Path) -> tuple[Path | None, list[Path]]:
    """Look for a file by name anywhere below a folder.

    Links to files are followed, links to folders are not.

    Returns
    -------
    path or None
        The first file of that name with the right checksum.
    list of paths
        Files of that name with another checksum that were met on the way.
    """
    others = []
    for path in _files_named(file.name, folder):
        if _is(file, path):
            return path, others
        others.append(path)
    return None, others


def fetch(
    file: RemoteFile,
    dataset: str,
    *,
    folder: Path | None = None,
    progress: bool = True,
    pauses: Sequence[float] = (1.0, 4.0),
) -> Path:
    """Return the path of a file, downloading it only if it is not below the data folder yet.

    A download goes to a file of its own in ``.partial``, is checked, and only then moved to
    ``<folder>/<dataset>/<name>``: whatever interrupts it, no wrong file is ever used.
    ``VISUALCORTEX_OFFLINE=1`` forbids the network.

    Parameters
    ----------
    file
        What to fetch.
    dataset
        Id of the recording, the subfolder of a download.
    folder
        Data folder; `data_folder` by default.
    progress
        Whether to show a progress bar.
    pauses
        Pauses before each new try, s. Only passing faults of the network are tried again.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        It cannot be had; the message names file, size, url, folder and remedy.
    """
    folder = data_folder() if folder is None else folder
    found, others = look_up(file, folder)
    if found is not None:
        return found
    aside = f" Ignored for its wrong checksum: {', '.join(map(str, others))}." if others else ""
    if os.environ.get("VISUALCORTEX_OFFLINE", "0") not in ("", "0"):
        fault = _FaultError("VISUALCORTEX_OFFLINE forbids the network", passing=False)
        raise _failure(file, folder, fault, aside)
    if aside:
        warnings.warn(f"{file.name} is downloaded anew.{aside}", stacklevel=2)
    try:
        return _download(file, folder, folder / dataset / file.name, progress, pauses)
    except (_FaultError, OSError) as error:
        raise _failure(file, folder, error, aside) from error


def _files_named(name: str, folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {PARTIAL})
        if name in files:
            yield Path(parent, name)


def _is(file: RemoteFile, path: Path) -> bool:
    try:
        if file.size is not None and path.stat().st_size != file.size:
            return False
        return checksum(path, file.checksum.partition(":")[0]) == file.checksum
    except OSError:  # a dangling link, or a file of somebody else
        return False


def _download(
    file: RemoteFile, folder: Path, target: Path, progress: bool, pauses: Sequence[float]
) -> Path:
    (folder / PARTIAL).mkdir(parents=True, exist_ok=True)
    _sweep(folder / PARTIAL)
    handle, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=folder / PARTIAL)
    os.close(handle)
    partial = Path(name)
    try:
        _try_again(file, partial, progress, pauses)
        _check_download(file, partial)
        target.parent.mkdir(exist_ok=True)
        partial.chmod(0o644)  # mkstemp makes private files; a cache may be shared
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _sweep(folder: Path) -> None:
    """Remove partial files of processes that are gone."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process may sweep as well
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def _try_again(file: RemoteFile, partial: Path, progress: bool, pauses: Sequence[float]) -> None:
    for pause in (*pauses, None):
        try:
            return _stream(file, partial, progress)
        except _FaultError as fault:
            if pause is None or not fault.passing:
                raise
        time.sleep(pause)


def _stream(file: RemoteFile, partial: Path, progress: bool) -> None:
    import pooch
    import requests

    # Uncompressed, so that the announced length is the file's own and the bar ends at 100 %.
    headers = {"Accept-Encoding": "identity"}
    download = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=1 << 16, timeout=TIMEOUT, headers=headers
    )
    try:
        download(file.url, str(partial), None)
    except requests.HTTPError as error:
        status = error.response.status_code
        passing = status >= 500 or status in (408, 429)
        raise _FaultError(f"the server answered with status {status}", passing=passing) from error
    except requests.RequestException as error:
        reason = f"no complete answer from the network ({type(error).__name__})"
        raise _FaultError(reason, passing=True) from error
    received = partial.stat().st_size
    if file.size is not None and received < file.size:
        reason = f"the transfer broke off after {received} bytes"
        raise _FaultError(reason, passing=True)


def _check_download(file: RemoteFile, partial: Path) -> None:
    if not _is(file, partial):
        got = checksum(partial, file.checksum.partition(":")[0])
        reason = f"what came has the wrong checksum {got} (expected {file.checksum})"
        raise _FaultError(reason, passing=False)


def _failure(file: RemoteFile, folder: Path, fault: Exception, aside: str) -> DataError:
    size = "size not published" if file.size is None else f"{file.size} bytes"
    reason, remedy = str(fault), f"Put it anywhere below {folder}"
    if isinstance(fault, OSError):
        full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = str(fault.strerror or fault)
        remedy = f"Free space for {folder}" if full else f"Make {folder} writable"
    return DataError(
        f"{file.name} ({size}) is not below {folder} and could not be downloaded from "
        f"{file.url}: {reason}. {remedy}, or set VISUALCORTEX_DATA to a folder that holds the "
        f"file or can take it.{aside}"
    )
