"""papermill's engine, which also tells how far it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import papermill
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError as CellError
from traitlets.config import Config

__all__ = ["CellError", "run_cells"]

SECONDS_BETWEEN_LINES = 15.0


def run_cells(
    source: Path, executed: Path, parameters: Mapping[str, object], folder: Path, title: str
) -> None:
    """Execute ``source`` into ``executed`` with papermill, a line of progress now and then.

    Raises
    ------
    CellError
        A cell raised; ``executed`` then holds the notebook up to there.
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
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(f"{title}  cell {cell + 1}/{cells}  {now - started:.0f} s", flush=True)

    return report
