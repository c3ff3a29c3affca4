"""papermill's engine, which also tells how far it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError as KernelDied
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError as CellError
from traitlets.config import Config

__all__ = ["CellError", "Fault", "KernelDied", "fault", "run_cells"]

SECONDS_BETWEEN_LINES = 15.0
# papermill would write the whole notebook before and after each cell
SECONDS_BETWEEN_SAVES = 5.0
LINES_OF_SOURCE = 5
LONGEST_MESSAGE = 2000


@dataclass(frozen=True)
class Fault:
    """What ended a run.

    Attributes
    ----------
    kind
        "error": a cell raised; "killed": its kernel died; "memory": it was stopped because it used
        more than it had said; "refused": it was not begun, or its code changed meanwhile.
    cell
        Number of the cell, from 1, not counting what papermill puts in to announce an error; None
        if it was no cell.
    source
        First lines of that cell.
    name, message
        Of the error.
    """

    kind: str
    cell: int | None
    source: str
    name: str
    message: str

    def __str__(self) -> str:
        if self.cell is None:
            return f"{self.name}: {self.message}"
        begins = f"cell {self.cell} ({next(iter(self.source.splitlines()), '')!r})"
        if self.kind == "error":
            return f"{begins} failed: {self.name}: {self.message}"
        return f"{begins} killed its kernel: {self.message}"


def run_cells(
    source: Path, executed: Path, parameters: Mapping[str, object], folder: Path, title: str
) -> None:
    """Execute ``source`` into ``executed`` with papermill, a line of progress now and then.

    Raises
    ------
    CellError, KernelDied
        A cell raised, or took its kernel with it; ``executed`` holds the notebook up to there.
    """
    with tempfile.TemporaryDirectory(prefix="bookpress-") as sockets:
        papermill.execute_notebook(
            source,
            executed,
            dict(parameters),
            engine_name="bookpress",
            kernel_name="python3",
            progress_bar=False,
            cwd=str(folder),
            report=_reporter(title),
            sockets=f"{sockets}/kernel",
        )


def fault(error: CellError | KernelDied, executed: Path) -> Fault:
    """Return which cell failed, how it begins, and how it failed."""
    if isinstance(error, CellError):
        source = _first_lines(error.source)
        message = error.evalue
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]} … (the notebook has all of it)"
        return Fault("error", error.cell_index + 1, source, error.ename, message)
    cells = nbformat.read(executed, as_version=4).cells
    begun = [k for k, c in enumerate(cells) if c.metadata.get("papermill", {}).get("start_time")]
    place = begun[-1] if begun else 0
    message = "out of memory, or stopped from outside"
    return Fault("killed", place + 1, _first_lines(cells[place].source), "KernelDied", message)


def _first_lines(source: str) -> str:
    lines = [line for line in source.splitlines() if line.strip()]
    return "\n".join(lines[:LINES_OF_SOURCE])


class ReportingEngine(NBClientEngine):
    """papermill's own engine with a call of ``report(cell, n_cells)`` before each cell."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        report: Callable[[int, int], None],
        sockets: str,
        **options: object,
    ) -> None:
        """Execute the cells; the kernel talks over sockets in a folder of its own.

        Ports could be taken by another kernel that starts at the same moment, and stand open to
        every user of the machine.
        """
        begin_cell = nb_man.cell_start

        def cell_start(cell: object, cell_index: int | None = None, **more: object) -> None:
            """Report the cell, then begin it as papermill does."""
            report(cell_index, len(nb_man.nb.cells))
            begin_cell(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        nb_man.save = _now_and_then(nb_man.save)
        local = Config({"KernelManager": {"transport": "ipc", "ip": sockets}})
        try:
            super().execute_managed_notebook(nb_man, kernel_name, config=local, **options)
        finally:
            del nb_man.save  # what is written at the end is written for good


def _now_and_then(save: Callable[[], None]) -> Callable[[], None]:
    """Return a way to save that does nothing if it has just been done."""
    last = time.monotonic()

    def sometimes(**_: object) -> None:
        """Save, if the last time is some seconds ago."""
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_SAVES:
            save()
            last = time.monotonic()

    return sometimes


papermill_engines.register("bookpress", ReportingEngine)


def _reporter(title: str) -> Callable[[int, int], None]:
    started = time.monotonic()
    last = float("-inf")

    def report(cell: int, cells: int) -> None:
        """Print the cell and the time since the start, unless a line has just been printed."""
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(f"{title}  cell {cell + 1}/{cells}  {now - started:.0f} s", flush=True)

    return report
