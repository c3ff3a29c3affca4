"""Shared fixtures: the checkout, a tiny book in a temporary folder, optional real recordings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # threads of several processes wait for each other in every small matrix product
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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


@pytest.fixture
def tiny_book(tmp_path: Path):
    """Return a book of one chapter in a temporary folder, rendered with this book's settings."""
    from bookpress.book import Book

    (tmp_path / "notebooks" / "params").mkdir(parents=True)
    (tmp_path / "notebooks" / "01_tiny.py").write_text(TINY_CHAPTER)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.md").write_text(
        "# Tiny\n\nAcross pages: {glue:text}`chapters/01_tiny.ipynb::mean_draw_low:.2f`.\n"
    )
    (tmp_path / "book" / "results.md").write_text(
        "# Results\n\n```{include} _generated/results.md\n```\n"
    )
    (tmp_path / "book" / "other.md").write_text(
        "# Other\n\nGlued: {glue:text}`chapters/01_tiny.ipynb::mean_draw:.3f`.\n"
    )
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n"
        "  - file: book/chapters/01_tiny\n  - file: book/results\n  - file: book/other\n"
    )
    shutil.copyfile(ROOT / "_config.yml", tmp_path / "_config.yml")
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    (tmp_path / "book" / "references.bib").write_text("")
    (tmp_path / "requirements.lock").write_text("numpy\n")
    (tmp_path / "lib").mkdir()
    return Book(tmp_path)
