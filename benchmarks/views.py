"""How long a view takes to follow a control, with the arrays of the chapters themselves.

    python benchmarks/views.py [05b 06 …] [-p 06:n_networks=2] [--moves 20] [--out views.csv]

Each chapter is executed up to its exercises by a kernel of its own, as in JupyterLab, which takes
as long as the chapter. Then every control of every view is moved through the values that the page
offers. A move is the drawing of the figure and its picture as PNG; the way to the browser is not
in it. A view should follow within 0.2 s.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import nbclient
import pandas as pd
import yaml
from nbformat.v4 import new_code_cell

from bookpress import notebooks
from bookpress.book import Book

REMEMBER = """
import bookpress

views_, made_ = [], bookpress.explorable


def remember_(view, over, **others):
    views_.append((others["name"], view, over))
    return made_(view, over, **others)


bookpress.explorable = remember_
"""
MOVE = """
import itertools
import json
import time


def values_(control, values):
    if values is None and hasattr(control, "options"):
        values = [o[1] if isinstance(o, tuple) else o for o in control.options]
    return list(range(control.min, control.max + 1)) if values is None else list(values)


found_ = []
for name_, view_, over_ in views_:
    for control_, offered_ in over_.items():
        box_ = view_.controls[control_]
        turns_ = itertools.cycle(values_(box_, offered_))
        for _ in range(N_MOVES):
            value_ = next(turns_)
            if value_ != box_.value:
                start_ = time.perf_counter()
                box_.value = value_
                found_.append((name_, control_, time.perf_counter() - start_))
print("MOVES " + json.dumps(found_))
"""


def timed(book: Book, chapter: str, parameters: dict[str, object], n_moves: int) -> pd.DataFrame:
    """Execute a chapter and move its controls; a row a move."""
    notebook = notebooks.read(book.notebooks / f"{chapter}.py")
    ends = [k for k, cell in enumerate(notebook.cells) if "\n## Exercises" in f"\n{cell.source}"]
    cells = notebook.cells[: ends[0]] if ends else notebook.cells
    place = next(k for k, c in enumerate(cells) if "parameters" in c.metadata.get("tags", []))
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    cells.insert(place + 1, new_code_cell("# Parameters\n" + "\n".join(lines)))
    last = new_code_cell(MOVE.replace("N_MOVES", str(n_moves)))
    notebook.cells = [new_code_cell(REMEMBER), *cells, last]
    resources = {"metadata": {"path": str(book.root)}}
    nbclient.NotebookClient(notebook, timeout=None, resources=resources).execute()
    text = "".join(out.get("text", "") for out in notebook.cells[-1].outputs)
    moves = json.loads(text.partition("MOVES ")[2])
    return pd.DataFrame(moves, columns=["view", "control", "seconds"])


def main() -> None:
    """Time the views of some chapters, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("-p", action="append", default=[], metavar="CHAPTER:NAME=VALUE")
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    book = Book.find()
    every = [s.stem for s in book.sources() if "bookpress.explorable(" in s.read_text()]
    chapters = [book.chapter(name) for name in given.chapters] or every
    wanted: dict[str, dict[str, object]] = {name: {} for name in chapters}
    for text in given.p:
        chapter, _, pair = text.partition(":")
        name, _, value = pair.partition("=")
        wanted[book.chapter(chapter)][name] = yaml.safe_load(value)
    os.environ.pop("BOOKPRESS_RUN", None)
    parts = [timed(book, name, values, given.moves) for name, values in wanted.items()]
    moves = pd.concat(parts).groupby(["view", "control"], sort=False)["seconds"]
    table = moves.agg(["count", "median", "max"]).round(3)
    print(table.to_string())
    if given.out:
        table.to_csv(given.out)


if __name__ == "__main__":
    main()
