"""The list of chapters that JupyterLab opens with, made from the notebooks themselves."""

from __future__ import annotations

import re
from pathlib import Path

from bookpress import notebooks
from bookpress.book import Book

NAME = "chapters.md"
HEAD = """\
# {title}

Open a chapter, then choose *Run*, *Run All Cells*. The parameters stand in its first code cell;
under *Explore* there is something to move. What you save goes into the notebook and into the script
beside it; `bookpress sync` takes the outputs out again.
"""
ROLE = re.compile(r"\{(\w+)(?::\w+)?\}`([^`<]*?)(?:\s*<[^`]*>)?`")


def page(book: Book) -> str:
    """Return the list of chapters as Markdown: links, questions, and how long each runs.

    Parameters
    ----------
    book
        The checkout; the order is that of its table of contents.

    Returns
    -------
    str
        Links are relative to the folder of the notebooks, so that JupyterLab follows them.
    """
    listed = [Path(name).name for name in book.pages() if name.startswith("book/chapters/")]
    scripts = [script for name in listed if (script := book.notebooks / f"{name}.py").exists()]
    entries = [_entry(script) for script in scripts]
    return "\n".join([HEAD.format(title=_title_of_book(book)), *entries])


def write(book: Book) -> Path:
    """Write the list beside the notebooks; leave it alone when it is equal."""
    target = book.notebooks / NAME
    wanted = page(book)
    if not target.exists() or target.read_text() != wanted:
        notebooks.replace(target, wanted)
    return target


def _entry(script: Path) -> str:
    opening = notebooks.read(script).cells[0].source
    title = next((line[2:] for line in opening.splitlines() if line.startswith("# ")), script.stem)
    question = _after(opening, "The question.")
    time = _after(opening, "Time to run:").partition(". ")[0].rstrip(".")
    texts = [f"## [{title}]({script.stem}.ipynb)", question, f"*{time}*" if time else ""]
    return "\n\n".join(text for text in texts if text) + "\n"


def _after(opening: str, label: str) -> str:
    """Return the paragraph that a label in bold type begins, on one line, without MyST's roles."""
    found = re.search(rf"\*\*{re.escape(label)}\*\*\s*(.*?)(?:\n\s*\n|\Z)", opening, re.DOTALL)
    return " ".join(_plain(found.group(1)).split()) if found else ""


def _plain(text: str) -> str:
    """Replace roles, which JupyterLab does not know, by their text; a citation goes."""
    text = re.sub(r"\s*\{cite[\w:]*\}`[^`]*`", "", text)
    return ROLE.sub(lambda role: role.group(2), text)


def _title_of_book(book: Book) -> str:
    found = re.search(r"^title:\s*\"?(.*?)\"?$", _config(book), re.MULTILINE)
    return found.group(1) if found else "Chapters"


def _config(book: Book) -> str:
    path = book.root / "_config.yml"
    return path.read_text() if path.exists() else ""
