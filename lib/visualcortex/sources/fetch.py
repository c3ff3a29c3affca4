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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from visualcortex.sources import figshare
from visualcortex.sources.atomic import keep_text

if TYPE_CHECKING:
    import requests

PARTIAL = ".partial"
CHECKSUMS = ".checksums"
STALE = 24 * 3600.0  # s: a partial file older than that was left by a process that is gone
TIMEOUT = (10.0, 60.0)  # s: to connect, between two pieces
PIECE = 1 << 16  # bytes read from the network at a time
LARGE = 1 << 24  # bytes: from there on checksums are remembered and broken downloads kept
PUBLISHED = "MD5 published under the DOI"
_DIGITS = {"sha256": 64, "git-blob": 40, "sha1": 40, "md5": 32}


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
        Where it is published: an address, or ``"doi:<DOI of a figshare article>/<name>"``.
    checksum
        ``"sha256:<hex>"``, ``"sha1:<hex>"`` or ``"md5:<hex>"``; ``"git-blob:<hex>"`` where its
        identity in a git repository, SHA-1 of ``b"blob <size>\\0"`` and the content, is all that
        is known;
        `PUBLISHED` where the url is a DOI: the MD5 that figshare lists, kept in the data folder
        once it was had. As long as it is not known a local file of that name is taken as it is.
    size
        Bytes; None if not published.
    """

    name: str
    url: str
    checksum: str
    size: int | None = None

    def __post_init__(self) -> None:
        """Check the form of the checksum."""
        if self.checksum == PUBLISHED:
            if not self.url.startswith("doi:") or not self.url.endswith(f"/{self.name}"):
                raise ValueError(
                    f"the url of {self.name} must be 'doi:<DOI>/{self.name}' for a checksum that "
                    f"is published there; got {self.url!r}. Correct its entry."
                )
            return
        kind, _, digest = self.checksum.partition(":")
        if len(digest) != _DIGITS.get(kind):
            raise ValueError(
                f"checksum of {self.name} must be 'sha256:<64 hex digits>', "
                f"'git-blob:<40 hex digits>', 'sha1:<40 hex digits>' or 'md5:<32 hex digits>'; got "
                f"{self.checksum!r}. Correct its entry."
            )

    @property
    def doi(self) -> str:
        """DOI under which it is published; empty where the url is an address."""
        return self.url[4 : -len(self.name) - 1] if self.url.startswith("doi:") else ""


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
        ``"sha256"``, ``"sha1"``, ``"md5"`` or ``"git-blob"``.
    """
    if kind == "git-blob":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return f"{kind}:{digest.hexdigest()}"


def look_up(file: RemoteFile, folder: Path) -> tuple[Path | None, list[Path]]:
    """Look for a file by name anywhere below a folder, without the network.

    Links to files are followed, links to folders are not. The checksum of a file of at least
    `LARGE` bytes is remembered in the folder and computed again only when its size or its time of
    modification has changed.

    Returns
    -------
    path or None
        The first file of that name with the right checksum.
    list of paths
        Files of that name with another checksum that were met on the way.
    """
    file, _ = _settle(file, folder, ask=False)
    others = []
    for path in _files_named(file.name, folder):
        if _is(file, path, folder):
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
    ``<folder>/<dataset>/<name>``: whatever interrupts it, no wrong file is ever used. A large one
    that broke off goes on where it stopped, if the server agrees, at the next try or, within a
    day, at the next call. ``VISUALCORTEX_OFFLINE=1`` forbids the network.

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
    offline = os.environ.get("VISUALCORTEX_OFFLINE", "0") not in ("", "0")
    file, unlisted = _settle(file, folder, ask=not offline)
    found, others = look_up(file, folder)
    if found is not None:
        return found
    aside = f" Ignored for its wrong checksum: {', '.join(map(str, others))}." if others else ""
    if offline:
        fault = _FaultError("VISUALCORTEX_OFFLINE forbids the network", passing=False)
        raise _failure(file, folder, fault, aside)
    if unlisted is not None:
        raise _failure(file, folder, unlisted, aside)
    if aside:
        warnings.warn(f"{file.name} is downloaded anew.{aside}", stacklevel=2)
    try:
        return _download(file, folder, folder / dataset / file.name, progress, pauses)
    except (_FaultError, OSError) as error:
        raise _failure(file, folder, error, aside) from error


def _settle(file: RemoteFile, folder: Path, *, ask: bool) -> tuple[RemoteFile, _FaultError | None]:
    """Put in the address, MD5 and size that are listed under a DOI, or say why they are not."""
    if file.checksum != PUBLISHED:
        return file, None
    listed = figshare.remembered(file.doi, folder) or {}
    if ask and file.name not in listed:
        try:
            listed = _ask(file.doi)
        except _FaultError as fault:
            return file, fault
        figshare.remember(file.doi, listed, folder)
    if file.name not in listed:
        reason = f"no file of that name is listed under https://doi.org/{file.doi}"
        return file, _FaultError(reason, passing=False)
    known = listed[file.name]
    return replace(file, url=known.url, checksum=f"md5:{known.md5}", size=known.size), None


def _ask(doi: str) -> dict[str, figshare.Listed]:
    try:
        with _network_faults():
            return figshare.ask(doi, TIMEOUT)
    except (_FaultError, ValueError) as error:
        reason = f"the list of files at {figshare.list_address(doi)} could not be had: {error}"
        raise _FaultError(reason, passing=False) from error


@contextlib.contextmanager
def _network_faults() -> Iterator[None]:
    """Turn the errors of the network into faults that say whether they may pass."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        passing = status >= 500 or status in (408, 429)
        raise _FaultError(f"the server answered with status {status}", passing=passing) from error
    except requests.RequestException as error:
        reason = f"no complete answer from the network ({type(error).__name__})"
        raise _FaultError(reason, passing=True) from error


def _files_named(name: str, folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {PARTIAL})
        if name in files:
            yield Path(parent, name)


def _is(file: RemoteFile, path: Path, folder: Path) -> bool:
    try:
        size = path.stat().st_size
        if file.checksum == PUBLISHED:
            return path.is_file()
        if file.size is not None and size != file.size:
            return False
        return _known_checksum(path, file.checksum.partition(":")[0], folder) == file.checksum
    except OSError:  # a dangling link, or a file of somebody else
        return False


def _known_checksum(path: Path, kind: str, folder: Path) -> str:
    """Return a checksum, from the folder's notes if the file is large and unchanged."""
    stat = path.stat()
    if stat.st_size < LARGE:
        return checksum(path, kind)
    identity = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {kind}"
    note = folder / CHECKSUMS / hashlib.sha256(os.fsencode(identity)).hexdigest()
    with contextlib.suppress(OSError):
        return note.read_text(encoding="utf-8")
    computed = checksum(path, kind)
    keep_text(note, computed)
    return computed


def _download(
    file: RemoteFile, folder: Path, target: Path, progress: bool, pauses: Sequence[float]
) -> Path:
    (folder / PARTIAL).mkdir(parents=True, exist_ok=True)
    _sweep(folder / PARTIAL)
    handle, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=folder / PARTIAL)
    os.close(handle)
    partial = Path(name)
    kept = folder / PARTIAL / f"{file.name}.{file.checksum.partition(':')[2][:16]}.kept"
    with contextlib.suppress(OSError):  # mostly there is none; of several processes, one gets it
        os.replace(kept, partial)
    try:
        _try_again(file, partial, progress, pauses)
        target.parent.mkdir(exist_ok=True)
        partial.chmod(0o644)  # mkstemp makes private files; a cache may be shared
        os.replace(partial, target)
    finally:
        _put_aside(partial, kept)
    return target


def _put_aside(partial: Path, kept: Path) -> None:
    """Keep what came of a large file for the next call, remove what came of a small one."""
    with contextlib.suppress(OSError):
        if partial.stat().st_size >= LARGE:
            os.replace(partial, kept)
    partial.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove partial files of processes that are gone."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process may sweep as well
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def _try_again(file: RemoteFile, partial: Path, progress: bool, pauses: Sequence[float]) -> None:
    for pause in (*pauses, None):
        have = partial.stat().st_size
        try:
            if have == 0 or have != file.size:
                _stream(file, partial, have, progress)
            return _check_download(file, partial, resumed=have > 0)
        except _FaultError as fault:
            if pause is None or not fault.passing:
                raise
        time.sleep(pause)


def _stream(file: RemoteFile, partial: Path, have: int, progress: bool) -> None:
    """Download a file, or what is missing of it after its first `have` bytes."""
    import requests

    # Uncompressed, so that the announced length is the file's own and the bar ends at 100 %.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with (
        _network_faults(),
        requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUT) as answer,
    ):
        goes_on = have > 0 and answer.status_code == requests.codes.partial_content
        refused = answer.status_code == requests.codes.requested_range_not_satisfiable
        rest = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if refused or (goes_on and not rest):
            os.truncate(partial, 0)
            raise _FaultError("the server does not know the rest of what came", passing=True)
        answer.raise_for_status()
        _write(answer, partial, have if goes_on else 0, progress)
    received = partial.stat().st_size
    if file.size is not None and received < file.size:
        reason = f"the transfer broke off after {received} bytes"
        raise _FaultError(reason, passing=True)


def _write(answer: requests.Response, partial: Path, start: int, progress: bool) -> None:
    from tqdm import tqdm

    announced = answer.headers.get("Content-Length")
    total = None if announced is None else start + int(announced)
    with (
        partial.open("r+b") as stream,
        tqdm(
            total=total, initial=start, unit="B", unit_scale=True, ncols=79, disable=not progress
        ) as bar,
    ):
        stream.seek(start)
        stream.truncate()
        for piece in answer.iter_content(PIECE):
            stream.write(piece)
            bar.update(len(piece))


def _check_download(file: RemoteFile, partial: Path, *, resumed: bool) -> None:
    got = checksum(partial, file.checksum.partition(":")[0])
    size = partial.stat().st_size
    if got != file.checksum or file.size not in (None, size):
        os.truncate(partial, 0)
        reason = f"what came has the wrong checksum {got} (expected {file.checksum})"
        raise _FaultError(reason, passing=resumed)


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
