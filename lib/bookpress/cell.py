"""One run of a sweep: executed, its memory watched, its folder put in place whole.

A worker may outlive its sweep by a while, and then fail because of what it lost: the folder that
the sweep has cleared, the kernel that Ray has stopped. So a worker puts a run in place that went
well, whoever is left to hear of it; one that failed it only hands over, and `keep`, which the sweep
calls, puts it in place.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import psutil

from bookpress import run, secrets, tracking
from bookpress.book import Book, digest
from bookpress.engine import Fault
from bookpress.grid import Cell

SECONDS_BETWEEN_LOOKS = 0.25
# Folders of a sweep: of the runs being made, and of those that failed and wait to be put in place.
WORK, HANDED_OVER = "work", "failed"
# What tells Ray of the sweep's own machines; a chapter may begin a Ray for itself.
OF_RAY = ("RAY_ADDRESS", "RAY_OVERRIDE_RESOURCES")
FULL = (errno.ENOSPC, errno.EDQUOT)
# As libraries that write files say it, whatever the kind of their errors.
SAID_OF_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")


class DiskFull(OSError):
    """There is no room for what a run leaves."""


@dataclass(frozen=True)
class Order:
    """What a run is told by the sweep that it belongs to.

    Attributes
    ----------
    root, out
        Folders of the checkout and of the sweep, the same on all machines.
    cell
        The run.
    sweep
        Name of the sweep.
    code, lock, commit
        Hash of the chapter's code, hash of the lock, git's commit.
    data
        Files that the run reads, with their checksums.
    attempt
        From 1.
    cpus, memory_gb
        Threads that it may use; memory at which it is stopped.
    environment
        Variables that are handed on to other machines.
    track
        Where it is reported besides.
    """

    root: Path
    out: Path
    cell: Cell
    sweep: str
    code: str
    lock: str
    commit: str
    data: tuple[Mapping[str, object], ...] = ()
    attempt: int = 1
    cpus: float = 1.0
    memory_gb: float = 6.0
    environment: Mapping[str, str] = field(default_factory=dict)
    track: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A run that a worker has made.

    Attributes
    ----------
    record
        What is known of it.
    folder
        Where one that failed waits for `keep`; None if the run is in its place.
    """

    record: dict
    folder: Path | None = None


def finished(out: Path, cell: Cell) -> dict | None:
    """Return the record of a run that has ended; None if it, or its claims, cannot be read."""
    place = out / cell.place
    try:
        record = json.loads((place / "run.json").read_text())
        if (place / "claims.json").exists():
            json.loads((place / "claims.json").read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and {"state", "host", "node", "duration_s"} <= set(record)
    return record if whole else None


def clear(out: Path) -> None:
    """Remove what workers have left half made, of a sweep that was killed, say.

    All of it goes at once: a worker that is still at it must not put in place what is left.
    """
    for name in (WORK, HANDED_OVER):
        gone = out / f"{name}.{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):  # there is none, or nothing can be written here
            (out / name).rename(gone)
    for name in (WORK, HANDED_OVER):
        for gone in out.glob(f"{name}.*"):
            shutil.rmtree(gone, ignore_errors=True)


def carry_out(order: Order, node: str = "") -> Ended:
    """Execute one run; put its folder in place if it went well, else where `keep` finds it.

    A run that has ended before, on a machine that was lost since, say, is not repeated. If two
    machines execute the same run, the one that ends first is kept.

    Raises
    ------
    DiskFull
        There is no room for it. Nothing of it is kept.
    """
    done = finished(order.out, order.cell)
    if done is not None:
        return Ended(done)
    name = f"{order.cell.chapter},{order.cell.run},{digest(node, str(os.getpid()))[:6]}"
    work = order.out / WORK / name
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        ended = _given_back(order, work, _executed(order, work, node))
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(error.errno, os.strerror(error.errno)) from None
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if order.track and ended.folder is None:
        tracking.track(order.out / order.cell.place, sweep=order.sweep, to=order.track)
    return ended


def keep(order: Order, ended: Ended) -> dict:
    """Put a run in place that a worker has handed over; return the record that is there then."""
    if ended.folder is None:
        return ended.record
    kept = _placed(order, ended.folder, ended.record)
    if order.track:
        tracking.track(order.out / order.cell.place, sweep=order.sweep, to=order.track)
    return kept


def lost(order: Order, error: Exception) -> dict:
    """Record a run whose process or machine was lost each time that it was tried."""
    kind = "memory" if type(error).__name__ == "OutOfMemoryError" else "killed"
    message = f"its process or its machine was lost {order.attempt} times: {type(error).__name__}"
    fault = Fault(kind, None, "", "Lost", message)
    record = _record(order, "", datetime.now(UTC), 0.0, 0, fault)
    work = order.out / WORK / f"lost,{order.cell.chapter},{order.cell.run}"
    try:
        made = _bare(work, record, f"{message}\n{error}\n")
        return keep(order, _handed_over(order, made, record))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _given_back(order: Order, work: Path, record: dict) -> Ended:
    """Put what a run has left in its place, or hand it over.

    A run whose remains cannot be read has failed, and is handed over without them.
    """
    try:
        record, made = _gathered(order, work, record)
    except Exception as error:  # such as claims that were cut off as the kernel died
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        message = f"what the run left cannot be kept: {error}"
        fault = record["error"] or asdict(Fault("error", None, "", type(error).__name__, message))
        record = record | {"state": "failed", "error": fault}
        made = _bare(work, record, f"{message}\n{traceback.format_exc()}")
    if record["error"] is None:
        return Ended(_placed(order, made, record))
    return _handed_over(order, made, record)


def _bare(work: Path, record: dict, told: str) -> Path:
    """Make a folder that holds a record and a log alone."""
    shutil.rmtree(work, ignore_errors=True)
    made = work / "bare"
    made.mkdir(parents=True)
    _write(made / "log.txt", told)
    _write_record(made, record)
    return made


def _handed_over(order: Order, made: Path, record: dict) -> Ended:
    """Move a folder to where the sweep looks for it."""
    folder = order.out / HANDED_OVER / uuid.uuid4().hex
    folder.parent.mkdir(parents=True, exist_ok=True)
    made.rename(folder)
    return Ended(record, folder)


def _executed(order: Order, work: Path, node: str) -> dict:
    """Run the chapter in `work`; return the record of the run."""
    book = Book(order.root)
    job = run.Job(order.cell.chapter, order.cell.given, order.cell.run)
    began, clock = datetime.now(UTC), time.perf_counter()
    with (
        _surroundings(order),
        (work / "log.txt").open("w", buffering=1) as log,
        contextlib.redirect_stdout(log),
        _Watch(order.memory_gb) as watch,
    ):
        fault = watch.verdict(_fault(book, job, work))
    _check_room(fault)
    return _record(order, node, began, time.perf_counter() - clock, watch.peak, fault)


def _record(
    order: Order, node: str, began: datetime, seconds: float, peak: int, fault: Fault | None
) -> dict:
    """Return what is kept of a run besides its notebook and its claims."""
    return {
        "chapter": order.cell.chapter,
        "run": order.cell.run,
        "parameters": dict(order.cell.parameters),
        "state": "failed" if fault else "done",
        "attempt": order.attempt,
        "commit": order.commit,
        "code_hash": order.code,
        "lock_hash": order.lock,
        "data": list(order.data),
        "host": socket.gethostname(),
        "node": node,
        "started": began.isoformat(timespec="seconds"),
        "duration_s": round(seconds, 2),
        "peak_memory_bytes": peak,
        "cpus": order.cpus,
        "error": asdict(fault) if fault else None,
    }


def _fault(book: Book, job: run.Job, work: Path) -> Fault | None:
    """Execute; whatever goes wrong is a fault of this run, and stops no other."""
    try:
        return run.carry_out(book, job, work)
    except Exception as error:  # such as a kernel that never began
        traceback.print_exc(file=sys.stdout)
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        return Fault("error", None, "", type(error).__name__, str(error))


def _check_room(fault: Fault | None) -> None:
    """A cell that found the disk full says nothing about its run."""
    if fault is not None and any(words in fault.message for words in SAID_OF_FULL):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _surroundings(order: Order) -> Iterator[None]:
    """Give the kernel its threads and what the sweep hands on, and keep keys from it."""
    before = dict(os.environ)
    threads = str(max(1, int(order.cpus)))
    limits = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
    wanted = secrets.hidden(before | dict(order.environment) | limits)
    for name in OF_RAY:
        wanted.pop(name, None)
    try:
        _set_environment(wanted)
        yield
    finally:
        _set_environment(before)


def _set_environment(wanted: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)


def _gathered(order: Order, work: Path, record: dict) -> tuple[dict, Path]:
    """Return the record and a folder with all that is kept of a run."""
    made = work / "kept"
    made.mkdir()
    record = _with_claims(order, work, made, record)
    if (work / run.NOTEBOOK).exists():
        _write(made / "notebook.ipynb", run.published(work / run.NOTEBOOK))
        with (work / "log.txt").open("a") as log:
            log.writelines(_said(work / run.NOTEBOOK))
    _write(made / "log.txt", (work / "log.txt").read_text())
    for path in (work / run.LOGS).rglob("*"):
        if path.is_file():
            _copy(path, made / "logs" / path.relative_to(work / run.LOGS))
    _write_record(made, record)
    return record, made


def _placed(order: Order, made: Path, record: dict) -> dict:
    """Put the folder of a run in its place at once; return the record that is there then."""
    place = order.out / order.cell.place
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        first = finished(order.out, order.cell)
        if first is not None:
            return first
        put_aside(order.out, order.cell)  # someone has damaged it
        made.rename(place)
    return record


def put_aside(out: Path, cell: Cell) -> None:
    """Move the folder of a run out of the way of one that is to take its place."""
    kept = out / "superseded" / cell.place.relative_to("runs")
    number = 1 + sum(1 for _ in kept.parent.glob(f"{glob.escape(kept.name)}.*"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    (out / cell.place).rename(kept.with_name(f"{kept.name}.{number}"))


def _with_claims(order: Order, work: Path, result: Path, record: dict) -> dict:
    """Keep the claims; a run whose code changed under way has failed."""
    job = run.Job(order.cell.chapter, order.cell.given, order.cell.run)
    made = run.claims_file(job, work)
    if not made.exists():
        if record["error"] is None:  # a chapter may record nothing
            _write(result / "claims.json", json.dumps({"claims": []}) + "\n")
        return record
    text = made.read_text()
    _write(result / "claims.json", text)
    used = json.loads(text)["provenance"].get("code_hash", order.code)
    if record["error"] is None and used not in (order.code, "unknown"):
        message = f"the chapter or the library changed while the sweep ran: {order.code} -> {used}"
        fault = Fault("refused", None, "", "CodeChanged", message)
        return record | {"state": "failed", "error": asdict(fault)}
    return record


def _write_record(made: Path, record: dict) -> None:
    _write(made / "run.json", json.dumps(record, indent=1, default=str) + "\n")


def _copy(source: Path, target: Path) -> None:
    """Copy a file, a text without the keys that it may hold."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(target, source.read_text())
    except ValueError:  # no text
        shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    path.write_text(secrets.redacted(text, os.environ))


def _said(executed: Path) -> Iterator[str]:
    """Yield what the cells of a notebook printed, and how they failed."""
    for number, cell in enumerate(nbformat.read(executed, as_version=4).cells, start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                yield f"[cell {number}, {output.name}] {output.text.rstrip()}\n"
            elif output.output_type == "error":
                yield f"[cell {number}] {output.ename}: {output.evalue}\n"


class _Watch:
    """Looks four times a second at the memory of this process's children; stops them if it must.

    The peak is that of the looks: what is taken and given back between two of them is not seen.
    """

    def __init__(self, limit_gb: float) -> None:
        self.limit = limit_gb * 1e9
        self.peak = 0
        self._stopped_at: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def verdict(self, fault: Fault | None) -> Fault | None:
        """Return the fault, as one of memory if that is what the run was stopped for."""
        if fault is None or self._stopped_at is None:
            return fault
        message = (
            f"it used {self._stopped_at / 1e9:.2f} GB, and had been given {self.limit / 1e9:g}: "
            "give it more with --memory, or make the run smaller"
        )
        return Fault("memory", fault.cell, fault.source, "OutOfMemory", message)

    def _look(self) -> None:
        own = psutil.Process()
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            children = own.children(recursive=True)
            used = sum(_memory(child) for child in children)
            if used > self.limit:
                # forked workers share what they have not written to; each look at it takes long
                used = sum(_own_share(child) for child in children)
            self.peak = max(self.peak, used)
            if used > self.limit:
                self._stopped_at = used
                for child in children:
                    with contextlib.suppress(psutil.Error):
                        child.kill()


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _own_share(process: psutil.Process) -> int:
    """Return the memory of a process, with its share of what it has in common with others."""
    try:
        return getattr(process.memory_full_info(), "pss", 0) or _memory(process)
    except psutil.Error:
        return _memory(process)
