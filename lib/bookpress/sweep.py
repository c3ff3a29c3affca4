"""A sweep: many runs of chapters side by side, on the processors of one machine or of many."""

from __future__ import annotations

import ast
import errno
import fcntl
import importlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import IO

from tqdm.auto import tqdm

from bookpress import cell as one
from bookpress import grid, notebooks, sweep_page, sweep_table, tracking
from bookpress.book import Book, BookError, code_cells
from bookpress.grid import Cell

VERSION = 1
MOST_ATTEMPTS = 3
MOST_STARTS = 3
SECONDS_BETWEEN_STARTS = 2.0
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LINES = 30.0
# Ray keeps results in it, which are small here; the memory is the runs'
OBJECT_STORE_BYTES = 80_000_000
UNWRITABLE = (errno.EACCES, errno.EEXIST, errno.ENOTDIR, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Resources:
    """What each run is given; Ray begins as many as fit the machines.

    Parameters
    ----------
    cpus
        Processors, and threads, of a run.
    gpus
        Graphics cards of a run; a fraction is a share of one.
    memory_gb
        Memory of a run, GB. One that takes more is stopped.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 6.0

    def __post_init__(self) -> None:
        if not self.cpus > 0 or not self.memory_gb > 0 or self.gpus < 0:
            raise BookError(
                "A run needs some processor and some memory, and no negative share of a card; got "
                f"{self.cpus:g} processors, {self.gpus:g} cards, {self.memory_gb:g} GB."
            )
        if self.cpus > 1 and self.cpus % 1 or self.gpus > 1 and self.gpus % 1:
            raise BookError("Fractions of processors and cards must be below 1, for example 0.5.")


@dataclass(frozen=True)
class Options:
    """How a sweep is carried out.

    Parameters
    ----------
    resources
        Of each run.
    address
        Of a running Ray cluster, ``auto`` for the one of this machine; None for that of the
        environment variable ``RAY_ADDRESS``, or where there is none, to begin one here.
    jobs
        Runs at a time at most; None for as many as fit.
    retry_failed
        Whether runs that failed before are made again.
    accept_changes
        Whether to go on though code, lock or data have changed since the sweep began.
    track
        Trackers that each run is reported to: ``wandb``, ``mlflow``.
    progress
        Whether to show a bar.
    """

    resources: Resources = field(default_factory=Resources)
    address: str | None = None
    jobs: int | None = None
    retry_failed: bool = False
    accept_changes: bool = False
    track: tuple[str, ...] = ()
    progress: bool = True


def run(book: Book, cells: Sequence[Cell], out: Path, options: Options) -> Counter[str]:
    """Make all runs that have not been made, and write the table and the page of the sweep.

    Parameters
    ----------
    book
        The checkout.
    cells
        The runs. Those with a fault are recorded as refused. Runs that the folder holds already
        stay part of the sweep.
    out
        Folder of the sweep; one that all machines see.
    options
        How.

    Returns
    -------
    Counter
        Number of runs that are done, failed and refused.

    Raises
    ------
    BookError
        Another sweep works in this folder; it was made by other code; Ray is missing or no machine
        has what a run needs; the disk is full.
    KeyboardInterrupt
        The user, or a signal to end, stopped it. Runs that had ended are kept.
    """
    tracking.check(options.track)
    with _room(out), _sole_owner(out):
        one.clear(out)
        sweep = _Sweep(book, out, options, _manifest(book, cells, out, options))
        sweep.refuse()
        try:
            sweep.make(sweep.waiting())
        finally:
            one.clear(out)
            summarise(book, out)
        return sweep.counts()


def summarise(book: Book, out: Path) -> Path:
    """Write the table and the page of a sweep, as far as it is; return the page.

    Raises
    ------
    BookError
        The folder holds no sweep.
    """
    if not (out / "sweep.json").exists():
        raise BookError(f"{out} holds no sweep: expected a file sweep.json in it.")
    style = book.settings.get("style")
    sweep_table.write(out)
    return sweep_page.write(out, book.root / str(style) if style else None)


class _Sweep:
    """What the driver of a sweep knows: the runs, and where each of them is."""

    def __init__(self, book: Book, out: Path, options: Options, manifest: dict) -> None:
        self.book, self.out, self.options, self.manifest = book, out, options, manifest
        self.cells = [_cell_of(entry) for entry in manifest["runs"]]
        self.records = {c.place: one.finished(out, c) for c in self.cells}
        tell = "resumed" if any(self.records.values()) else "begun"
        self.note(tell, runs=len(self.cells))

    def note(self, event: str, cell: Cell | None = None, **more: object) -> None:
        """Add a line to the log of the sweep."""
        what = {"chapter": cell.chapter, "run": cell.run} if cell else {}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with (self.out / "events.jsonl").open("a") as log:
            log.write(json.dumps({"time": now, "event": event, **what, **more}) + "\n")

    def refuse(self) -> None:
        """Note the runs that cannot be made."""
        for cell in self.cells:
            if cell.fault:
                self.note("refused", cell, fault=cell.fault.partition("\n")[0])

    def waiting(self) -> list[Cell]:
        """Return the runs to be made, long ones first; put aside what failed before, if asked."""
        if self.options.retry_failed:
            for cell in self.cells:
                self._put_aside(cell)
        left = [c for c in self.cells if self.records[c.place] is None and not c.fault]
        order = self.book.order_of_start()
        return sorted(left, key=lambda c: order.get(c.chapter, len(order)))

    def _put_aside(self, cell: Cell) -> None:
        record = self.records[cell.place]
        if record is None or record["state"] != "failed":
            return
        one.put_aside(self.out, cell)
        self.records[cell.place] = None

    def counts(self) -> Counter[str]:
        """Return how many runs are in which state."""
        made = [r["state"] for r in self.records.values() if r]
        return Counter([*made, *("refused" for c in self.cells if c.fault)])

    def make(self, cells: list[Cell]) -> None:
        """Make runs, until all have ended."""
        untold = tracking.untracked(self.out, self.options.track) if self.options.track else []
        for folder in untold:
            tracking.track(folder, sweep=self.manifest["name"], to=self.options.track)
        if not cells:
            return
        # twice, for Ray puts its own way of ending in place as it begins
        with _ended_by_signals(), _ray_running(self.options) as ray:
            _check_capacity(ray, self.options.resources)
            with _ended_by_signals(), self._bar(len(self.cells)) as bar:
                _Rounds(self, ray, cells, bar).go()
        self.note("ended", **self.counts())

    def _bar(self, total: int) -> tqdm:
        done = sum(r is not None for r in self.records.values())
        return tqdm(
            total=total - sum(bool(c.fault) for c in self.cells),
            initial=done,
            desc=self.manifest["name"],
            unit="run",
            disable=not self.options.progress,
            mininterval=0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES,
        )

    def order_for(self, cell: Cell, attempt: int) -> one.Order:
        """Return what a run is told."""
        prefixes = tuple(self.book.settings.get("hand_on", []))
        entry = self.manifest["chapters"][cell.chapter]
        return one.Order(
            root=self.book.root,
            out=self.out.resolve(),
            cell=cell,
            sweep=self.manifest["name"],
            code=entry["code_hash"],
            lock=self.manifest["lock_hash"],
            commit=self.manifest["commit"],
            data=tuple(_data(self.book, cell.parameters)),
            attempt=attempt,
            cpus=self.options.resources.cpus,
            memory_gb=self.options.resources.memory_gb,
            environment={k: v for k, v in os.environ.items() if k.startswith(prefixes)},
            track=self.options.track,
        )


class _Rounds:
    """Hands runs to Ray and takes them back."""

    def __init__(self, sweep: _Sweep, ray: ModuleType, cells: list[Cell], bar: tqdm) -> None:
        self.sweep, self.ray, self.bar = sweep, ray, bar
        self.left, self.flying = list(cells), {}
        self.most = sweep.options.jobs or len(cells)
        self.attempts: Counter[Path] = Counter()
        wanted = sweep.options.resources
        self.task = ray.remote(_in_worker).options(
            num_cpus=wanted.cpus,
            num_gpus=wanted.gpus,
            memory=wanted.memory_gb * 1e9,
            max_retries=0,  # a lost machine is another matter than a failed run; see `_lost`
        )

    def go(self) -> None:
        """Work until nothing is left."""
        while self.left or self.flying:
            while self.left and len(self.flying) < self.most:
                self._begin(self.left.pop(0))
            ended, _ = self.ray.wait(list(self.flying), timeout=SECONDS_BETWEEN_LOOKS)
            for reference in ended:
                self._end(reference)
            self._show()

    def _begin(self, cell: Cell) -> None:
        self.attempts[cell.place] += 1
        order = self.sweep.order_for(cell, self.attempts[cell.place])
        self.flying[self.task.remote(order)] = order
        self.sweep.note("submitted", cell, attempt=order.attempt)

    def _end(self, reference: object) -> None:
        order = self.flying.pop(reference)
        try:
            record = one.keep(order, self.ray.get(reference))
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self.ray.exceptions.RayError as error:
            self._lost(order, error)
            return
        self.sweep.records[order.cell.place] = record
        told = {"host": record["host"], "node": record["node"], "duration_s": record["duration_s"]}
        self.sweep.note(record["state"], order.cell, **told)
        self.bar.update()

    def _lost(self, order: one.Order, error: Exception) -> None:
        """Make a run again whose machine or process is gone, unless that happens too often."""
        kept = one.finished(self.sweep.out, order.cell)
        self.sweep.note("lost", order.cell, why=type(error).__name__)
        if kept is None and order.attempt < MOST_ATTEMPTS:
            self.left.append(order.cell)
            return
        self.sweep.records[order.cell.place] = kept or one.lost(order, error)
        self.bar.update()

    def _show(self) -> None:
        counts = self.sweep.counts()
        running = sum(1 for _ in (self.sweep.out / one.WORK).glob("*"))
        self.bar.set_postfix_str(
            f"{running} running, {counts['done']} done, {counts['failed']} failed",
            refresh=sys.stderr.isatty(),
        )


def _in_worker(order: one.Order) -> one.Ended:
    """Run on the machine that Ray has chosen."""
    ray = importlib.import_module("ray")
    return one.carry_out(order, ray.get_runtime_context().get_node_id()[:12])


def _manifest(book: Book, cells: Sequence[Cell], out: Path, options: Options) -> dict:
    """Return what the sweep is, with what the folder holds already, and keep it there."""
    path = out / "sweep.json"
    old = _read_manifest(path) if path.exists() else None
    chapters = dict.fromkeys([*(old["chapters"] if old else ()), *(c.chapter for c in cells)])
    new = {
        "version": VERSION,
        "name": out.resolve().name,
        "commit": book.commit(),
        "lock_hash": book.lock_hash(),
        "resources": asdict(options.resources),
        "chapters": {c: {"code_hash": _code_hash(book, c)} for c in chapters},
        "runs": [asdict(cell) for cell in cells],
    }
    if old:
        new = _joined(old, new, options.accept_changes)
    new["axes"] = grid.axes([_cell_of(entry) for entry in new["runs"]])
    notebooks.replace(path, json.dumps(new, indent=1, default=str) + "\n")
    return new


def _code_hash(book: Book, chapter: str) -> str:
    try:
        ast.parse("\n".join(code_cells((book.notebooks / f"{chapter}.py").read_text())))
        return book.code_hash(chapter)
    except SyntaxError as error:
        raise BookError(
            f"{chapter}, or what it imports, is not Python ({error.msg}: "
            f"{(error.text or '').strip()!r}): mend it, or leave the chapter out."
        ) from error


def _read_manifest(path: Path) -> dict:
    try:
        old = json.loads(path.read_text())
        if old["version"] == VERSION:
            return old
    except (ValueError, KeyError, TypeError):
        pass
    raise BookError(
        f"{path} is damaged, or not a manifest of this version: give another folder with --out."
    )


def _joined(old: dict, new: dict, accept_changes: bool) -> dict:
    """Return a manifest of the runs of both; refuse to mix runs of different code."""
    changed = [c for c, told in old["chapters"].items() if told != new["chapters"][c]]
    if changed and not accept_changes:
        raise BookError(
            f"The code, or the lock, has changed since this sweep began (of {', '.join(changed)}): "
            "its runs would not compare. Begin another with --out, or mix them all the same with "
            "--accept-changes; each run keeps the hash of its code."
        )
    # what was refused before comes again only if it is asked for again
    kept = [r for r in old["runs"] if not r["fault"]]
    runs = {(r["chapter"], r["run"]): r for r in [*kept, *new["runs"]]}
    return new | {"runs": list(runs.values())}


def _cell_of(entry: Mapping[str, object]) -> Cell:
    names = ("chapter", "run", "given", "parameters", "fault")
    return Cell(**{name: entry[name] for name in names})


def _data(book: Book, parameters: Mapping[str, object]) -> Iterator[dict]:
    for need in book.needs(parameters):
        yield {"file": need["file"], "checksum": need["checksum"]}


@contextmanager
def _sole_owner(out: Path) -> Iterator[IO[str]]:
    """Let no other sweep work in this folder; the system takes the lock off a process that dies."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BookError(
                f"Another sweep works in {out}: wait for it, or give another folder with --out."
            ) from None
        yield lock


@contextmanager
def _room(out: Path) -> Iterator[None]:
    """Say of a full disk that it is full, of a folder that it is closed, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in UNWRITABLE and _leads_to(out, error.filename):
            raise BookError(
                f"{out} must be a folder that can be written to ({error}): give another with --out."
            ) from error
        if error.errno not in one.FULL:
            raise
        raise BookError(
            f"The disk of {out} is full. Runs that had ended are kept: free some space and call "
            "the same command again."
        ) from None


def _leads_to(out: Path, name: object) -> bool:
    """Whether a path lies in the folder of the sweep, or is on the way to it."""
    if not isinstance(name, str):
        return False
    path, folder = Path(name).resolve(), out.resolve()
    return path.is_relative_to(folder) or folder.is_relative_to(path)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End as by Ctrl-C where a scheduler says that time is up; Ray would exit at once."""

    def stop(*_: object) -> None:
        """End."""
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ray_running(options: Options) -> Iterator[ModuleType]:
    """Join a cluster, or begin one on this machine that ends with the sweep.

    If Ray runs in this process already, that is used, and goes on.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use elsewhere
    ray = _imported()
    if ray.is_initialized():
        yield ray
        return
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    _start(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _start(ray: ModuleType, address: str) -> None:
    """Join a cluster, or begin one here, which may take more than one attempt.

    Two that begin at the same moment may choose the same port.
    """
    here = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    more = here if address == "local" else {}
    for left in reversed(range(MOST_STARTS if address == "local" else 1)):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", **more)
            return
        except Exception as error:  # of any class: Ray raises bare ones too
            ray.shutdown()
            if not left:
                raise BookError(
                    f"Ray did not start, or does not answer ({address}): {error} `ray status` "
                    "tells of a running cluster; without --address one begins here."
                ) from error
            time.sleep(SECONDS_BETWEEN_STARTS)


def _imported() -> ModuleType:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise BookError(
            f"A sweep needs Ray, which cannot be imported ({error}): install the extra [ray]."
        ) from error


def _check_capacity(ray: ModuleType, wanted: Resources) -> None:
    """Refuse what no machine of the cluster could ever run."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs = {"CPU": wanted.cpus, "GPU": wanted.gpus, "memory": wanted.memory_gb * 1e9}
    if any(all(node.get(k, 0) >= v for k, v in needs.items()) for node in nodes):
        return
    largest = {k: max((node.get(k, 0) for node in nodes), default=0) for k in needs}
    raise BookError(
        f"A run is to have {wanted.cpus:g} processors, {wanted.gpus:g} cards and "
        f"{wanted.memory_gb:g} GB, which no machine has: the most are {largest['CPU']:g}, "
        f"{largest['GPU']:g} and {largest['memory'] / 1e9:.1f} GB. Ask for less with --cpus, "
        "--gpus or --memory."
    )
