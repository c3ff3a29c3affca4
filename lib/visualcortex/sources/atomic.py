"""Small files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def keep_text(path: Path, text: str) -> None:
    """Write a text for later, replacing what was there; do nothing where that is not possible.

    Parameters
    ----------
    path
        Where to; its folder is made if need be. A reader sees the old or the new text.
    text
        What to write.
    """
    with contextlib.suppress(OSError):  # a read-only or full folder: it is had anew next time
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).chmod(0o644)  # mkstemp makes private files; a cache may be shared
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
