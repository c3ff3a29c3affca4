"""Shared fixtures: the checkout, a tiny book in a temporary folder, optional real recordings."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # threads of several processes wait for each other in every small matrix product; numba's pool
    # sets the number of threads of torch anew
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# Ray lets its workers give way to all else, which here would be the other tests.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

ROOT = Path(__file__).resolve().parents[1]
# Real recordings are never part of the repository: a folder beside it, or one named by the user.
REAL = Path(os.environ.get("VISUALCORTEX_TEST_DATA", ROOT.parent / "shared" / "data"))

TINY_CHAPTER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tiny chapter
# The mean is {glue:text}`mean_draw:.2f`.

# %% tags=["parameters"]
seed: int = 0  # seed of the draws [0, 1000]
n_draws: int = 100  # number of draws [2, 100000]
dataset: str = "simulated"  # which recording {simulated, real}

# %%
import numpy as np

import bookpress

run = bookpress.begin("01_tiny")

# %%
draws = np.random.default_rng(seed).normal(size=n_draws)
half = 1.96 * draws.std() / np.sqrt(n_draws)

# %%
run.record(
    bookpress.Claim(
        name="mean_draw", value=draws.mean(), unit="a.u.", low=draws.mean() - half,
        high=draws.mean() + half, chance=0, ceiling=None, n=n_draws, held_out="nothing",
        note="no ceiling: a mean has none",
    )
)
run.quote(n_draws=n_draws)
"""

TINY_BOOK = {
    "notebooks/01_tiny.py": TINY_CHAPTER,
    "book/index.md": (
        "# Tiny\n\nAcross pages: {glue:text}`chapters/01_tiny.ipynb::mean_draw_low:.2f`.\n"
    ),
    "book/results.md": "# Results\n\n```{include} _generated/results.md\n```\n",
    "book/other.md": "# Other\n\nGlued: {glue:text}`chapters/01_tiny.ipynb::mean_draw:.3f`.\n",
    "book/references.bib": "",
    "_toc.yml": (
        "format: jb-book\nroot: book/index\nchapters:\n"
        "  - file: book/chapters/01_tiny\n  - file: book/results\n  - file: book/other\n"
    ),
    "requirements.lock": "numpy\n",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long ones start first, so that no worker is left with one of them at the end.

    Workers are given whole classes and modules, so that each makes what these share once. In one
    process the order stays, or such things would be made twice.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def real_data():
    """Return a callable that gives the path of a real recording, or skips the test."""

    def path(name: str) -> Path:
        file = REAL / name
        if not file.exists():
            pytest.skip(f"real recording {name} is not at hand (set VISUALCORTEX_TEST_DATA)")
        return file

    return path


@pytest.fixture(scope="session")
def start_ray(tmp_path_factory):
    """Return a callable that starts Ray as it is told, and skips the test where Ray will not.

    Two that start at the same moment may choose the same port, and either fails: so one worker
    starts at a time, and tries again. What Ray then says is in the reason of the skip.
    """
    lock = tmp_path_factory.getbasetemp().parent / "ray.lock"

    def start(begin):
        failed = []
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for attempt in range(3):
                time.sleep(2 * attempt)
                try:
                    return begin()
                except Exception as error:  # Ray raises all kinds
                    failed.append(repr(error))
        pytest.skip(f"Ray did not start on this machine: {failed}")

    return start


@pytest.fixture(scope="session")
def make_tiny_book():
    """Return a callable that writes a book of one chapter, rendered with this book's settings."""
    from bookpress.book import Book

    def make(folder: Path) -> Book:
        for path, text in TINY_BOOK.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for made in ("notebooks/params", "lib"):
            (folder / made).mkdir()
        shutil.copyfile(ROOT / "_config.yml", folder / "_config.yml")
        shutil.copytree(ROOT / "book" / "_static", folder / "book" / "_static")
        return Book(folder)

    return make


@pytest.fixture
def tiny_book(tmp_path: Path, make_tiny_book):
    """Return a book of one chapter in a temporary folder."""
    return make_tiny_book(tmp_path)
