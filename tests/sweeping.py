"""A book of one chapter whose runs end in every way there is, for the tests of sweeps."""

from __future__ import annotations

import shutil
from pathlib import Path

from bookpress.book import Book

CHAPTER = '''\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
seed: int = 0  # of the draw [0, 1000000]
rate: float = 1.0  # of something [0, 10]
end: str = "well"  # how the run ends {well, error, memory, death, full, bare}
seconds: float = 0.0  # that it takes [0, 600]
told: str = ""  # folder in which each execution leaves a file

# %%
import os
import pathlib
import time

import bookpress

run = bookpress.begin("01_ends")
if told:
    (pathlib.Path(told) / f"{seed}-{os.getpid()}").touch()

# %%
print("the key is", os.environ.get("SECRET_TOKEN", "hidden"), "and threads", end=" ")
print(os.environ["OMP_NUM_THREADS"])
(run.logs / "reports.jsonl").write_text('{"trial": 0, "step": 1, "loss": 0.5}\\n')
time.sleep(seconds)

# %%
# the end
if end == "error":
    raise ValueError(f"seed {seed} does not do, <b>at all</b>")
if end == "memory":
    hoard = []
    while True:
        hoard.append(b"x" * 50_000_000)
        time.sleep(0.01)
if end == "death":
    os._exit(9)
if end == "full":
    raise OSError(28, "No space left on device")

# %%
if end != "bare":
    run.record(
        bookpress.Claim(
            name="draw", value=seed * rate, low=seed * rate - 1, high=seed * rate + 1, chance=0,
            ceiling=None, n=1, held_out="nothing", note="no ceiling: none is known",
        )
    )
'''


def make_book(folder: Path) -> Book:
    """Write the book, without pages."""
    for name in ("notebooks/params", "lib", "book"):
        (folder / name).mkdir(parents=True)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (folder / "requirements.lock").write_text("numpy\n")
    (folder / "notebooks" / "01_ends.py").write_text(CHAPTER)
    return Book(folder)


def copy_book(book: Book, folder: Path) -> Book:
    """Return a copy of a book in another folder."""
    shutil.copytree(book.root, folder)
    return Book(folder)
