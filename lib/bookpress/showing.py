"""What the press sends along with each figure of a notebook: how it looks by night, and its data.

In a run for a page, a figure that is shown carries one more kind of data beside its picture. All
other notebooks show figures as ever.
"""

from __future__ import annotations

import base64
import io
import os

from IPython import get_ipython
from IPython.core.formatters import JSONFormatter
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from PIL import Image
from traitlets import Unicode

from bookpress import figure_table, night
from bookpress.pictures import data_uri

MIMETYPE = "application/vnd.bookpress.figure+json"


class FigureFormatter(JSONFormatter):
    """Formats figures of matplotlib, and nothing else, as what the press wants to know of them.

    What is registered by type is not enough: to choose a format of pictures removes it.
    """

    format_type = Unicode(MIMETYPE)

    def __call__(self, obj: object) -> dict[str, object] | None:
        """Return what goes along with a figure; None for all else."""
        return bundle(obj, self.parent.parent) if isinstance(obj, Figure) else None


def for_page() -> bool:
    """Say whether the press executes this session for a page of the site."""
    return bool(os.environ.get("BOOKPRESS_PAGE"))


def install(shell: InteractiveShell | None = None) -> None:
    """Let a session that makes a page send along how figures look by night, and their data.

    Parameters
    ----------
    shell
        The session; default: the one that this runs in.
    """
    shell = shell or get_ipython()
    if shell is not None and for_page():
        formatter = FigureFormatter(parent=shell.display_formatter)
        shell.display_formatter.formatters[MIMETYPE] = formatter


def bundle(figure: Figure, shell: InteractiveShell) -> dict[str, object]:
    """Return what goes along with a figure that has just been shown.

    A figure that cannot be told must not end a run of many minutes: the fault goes along instead,
    and the check of the built pages names it.

    Returns
    -------
    dict
        ``night``: picture as a data URI, or None without a palette; ``tables``: each with caption,
        csv and total; ``faults``: what went wrong.
    """
    told: dict[str, object] = {"night": None, "tables": [], "faults": []}
    for key, tell in (("night", _night), ("tables", _tables)):
        try:
            told[key] = tell(figure, shell)
        except Exception as error:  # whatever it is, the chapter is worth more
            told["faults"].append(f"{key}: {type(error).__name__}: {error}")
    return told


def _night(figure: Figure, shell: InteractiveShell) -> str | None:
    """Draw as the session draws by day, with the same pixels, and pack it tighter."""
    palette = night.of_session()
    if palette is None:
        return None
    with night.by_night(figure, palette):
        drawn = shell.display_formatter.formatters["image/png"](figure)
    png = drawn[0] if isinstance(drawn, tuple) else drawn
    pixels = base64.b64decode(png) if isinstance(png, str) else png
    stream = io.BytesIO()
    Image.open(io.BytesIO(pixels)).convert("RGB").save(stream, "WEBP", lossless=True, method=2)
    return data_uri(stream.getvalue())


def _tables(figure: Figure, shell: InteractiveShell) -> list[dict[str, object]]:
    return [
        {"caption": table.caption, "csv": table.csv(), "total": table.total}
        for table in figure_table.tables(figure)
    ]
