"""papermill's engine, which also tells how far it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError as KernelDied
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError as CellError
from traitlets.config import Config

__all__ = ["CellError", "KernelDied", "explain", "run_cells"]

SECONDS_BETWEEN_LINES = 15.0


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


def explain(error: CellError | KernelDied, executed: Path) -> str:
    """Return which cell failed, how it begins, and how it failed."""
    if isinstance(error, CellError):
        fault = f"{error.ename}: {error.evalue}"
        return f"cell {error.cell_index + 1} ({_first_line(error.source)!r}) failed: {fault}"
    cells = nbformat.read(executed, as_version=4).cells
    begun = [k for k, c in enumerate(cells) if c.metadata.get("papermill", {}).get("start_time")]
    place = begun[-1] if begun else 0
    begins = _first_line(cells[place].source)
    return (
        f"cell {place + 1} ({begins!r}) killed its kernel: out of memory, or stopped from outside"
    )


def _first_line(source: str) -> str:
    return next((line for line in source.splitlines() if line.strip()), "")


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
        local = Config({"KernelManager": {"transport": "ipc", "ip": sockets}})
        super().execute_managed_notebook(nb_man, kernel_name, config=local, **options)


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
