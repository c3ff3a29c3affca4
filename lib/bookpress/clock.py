"""Long cells of a live notebook tell how long they have been at work."""

from __future__ import annotations

import contextvars
import os
import threading
import time

from IPython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML, display

SECONDS_UNTIL_TOLD = 5.0
SECONDS_BETWEEN = 1.0


class CellClock:
    """A line below a cell that runs for long, which counts the seconds.

    Attributes
    ----------
    after, between
        Seconds until the line appears, and between its changes.
    """

    def __init__(
        self, after: float = SECONDS_UNTIL_TOLD, between: float = SECONDS_BETWEEN
    ) -> None:
        self.after, self.between = after, between
        self._ended = threading.Event()
        self._ended.set()

    def begin(self, *_: object) -> None:
        """Begin to wait; whatever belonged to the cell before has ended."""
        self._ended.set()
        self._ended = threading.Event()
        # what a thread displays goes to the cell of the context that it runs in
        context = contextvars.copy_context()
        arguments = (self._tell, self._ended, time.monotonic())
        threading.Thread(target=context.run, args=arguments, daemon=True).start()

    def end(self, *_: object) -> None:
        """The cell has ended."""
        self._ended.set()

    def _tell(self, ended: threading.Event, started: float) -> None:
        if ended.wait(self.after):
            return
        shown = display(_line("at work for", started), display_id=True)
        while not ended.wait(self.between):
            shown.update(_line("at work for", started))
        shown.update(_line("took", started))


def _line(what: str, started: float) -> HTML:
    return HTML(f"<small>{what} {time.monotonic() - started:.0f} s</small>")


def install(shell: InteractiveShell | None = None) -> None:
    """Have long cells of a live notebook tell how long they have run; twice is once.

    Runs by the press report themselves.
    """
    shell = shell or get_ipython()
    if "BOOKPRESS_RUN" in os.environ or not hasattr(shell, "kernel"):
        return
    known = shell.events.callbacks["pre_run_cell"]
    if not any(isinstance(getattr(call, "__self__", None), CellClock) for call in known):
        clock = CellClock()
        shell.events.register("pre_run_cell", clock.begin)
        shell.events.register("post_run_cell", clock.end)
