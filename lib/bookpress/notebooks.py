"""Percent scripts and their paired notebooks: the script is the source, the notebook its twin."""

from __future__ import annotations

import os
import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from bookpress import parameters as declarations
from bookpress.book import Book, BookError, digest

# JupyterLab writes its own name of the kernel into what it saves.
KERNEL = re.compile(r"^(#\s+display_name: )Python 3 \(.*\)$", re.MULTILINE)


def read(script: Path) -> NotebookNode:
    """Return the notebook that a percent script describes, without outputs.

    Cell ids are made from place and content, so that equal scripts give equal notebooks.
    """
    notebook = jupytext.read(script)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = digest(str(place), cell.source)
    return notebook


def text(script: Path) -> str:
    """Return the paired ``.ipynb`` file's text."""
    return nbformat.writes(read(script), version=4) + "\n"


def sync(script: Path) -> Path:
    """Write the paired ``.ipynb`` beside a percent script; leave it alone when it is equal.

    What JupyterLab adds on saving goes: outputs, and the display name of its kernel.
    """
    _settle(script)
    twin = script.with_suffix(".ipynb")
    wanted = text(script)
    if not twin.exists() or twin.read_text() != wanted:
        replace(twin, wanted)
    return twin


def _settle(script: Path) -> None:
    """Give the kernel the name that it has in every notebook of the book."""
    saved = script.read_text()
    settled = KERNEL.sub(r"\1Python 3", saved, count=1)
    if settled != saved:
        replace(script, settled)


def replace(path: Path, content: str) -> None:
    """Write a file at once: a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)  # it is still there if the disk is full


def declared(notebook: NotebookNode, name: str) -> list[declarations.Parameter]:
    """Return the parameters that a notebook declares in its cell tagged ``parameters``.

    Raises
    ------
    BookError
        More than one cell carries the tag.
    """
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) > 1:
        raise BookError(f"{name} has {len(cells)} cells tagged `parameters`; keep one.")
    return declarations.declared(cells[0].source) if cells else []


def new(book: Book, name: str) -> Path:
    """Create a chapter from the template, pair it, and enter it in the table of contents.

    Raises
    ------
    BookError
        The name is not of the form ``07_example``, the chapter exists, or ``_toc.yml`` has no
        part called ``The chapters``.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise BookError(f"A chapter's name is two digits and words, like 07_example; got {name!r}.")
    script = book.notebooks / f"{name}.py"
    if script.exists():
        raise BookError(f"{script.relative_to(book.root)} exists: choose another name.")
    toc = book.root / "_toc.yml"
    replace(toc, _entered(toc.read_text(), name))
    template = (book.root / str(book.settings["template"])).read_text()
    replace(script, template.replace("CHAPTER_NAME", name).replace("CHAPTER_NUMBER", name[:2]))
    sync(script)
    return script


def _entered(toc: str, name: str) -> str:
    """Return the table of contents with a chapter added at the end of its first part.

    Done on the text, because a YAML writer would drop the comments.
    """
    lines = toc.splitlines()
    part = next((k for k, line in enumerate(lines) if "caption: The chapters" in line), None)
    if part is None:
        raise BookError("_toc.yml has no part `The chapters`: add the chapter by hand.")
    start = next(k for k in range(part, len(lines)) if lines[k].strip() == "chapters:")
    end = start + 1
    while end < len(lines) and lines[end].lstrip().startswith("- file:"):
        end += 1
    indent = " " * (len(lines[start]) - len(lines[start].lstrip()) + 2)
    lines.insert(end, f"{indent}- file: book/chapters/{name}")
    return "\n".join(lines) + "\n"
