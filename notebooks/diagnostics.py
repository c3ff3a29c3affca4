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
# # Diagnostics
#
# This page says what this copy of the book was made with. When you run a chapter and a number
# differs, compare it with your own copy: first the code, then the packages, then the machine.
#
# ## Code
#
# The state of the code, by hashes of its content. Each chapter has one of its own, which changes
# with the chapter and with what it uses of the library:

# %% tags=["hide-input"]
import pandas as pd

from bookpress.book import Book

book = Book.find()
chapters = [source.stem for source in book.sources() if source.stem[:2].isdigit()]
code = {"commit": book.commit(), "lock": book.lock_hash()}
code |= {f"code behind {chapter}": book.code_hash(chapter) for chapter in chapters}
pd.Series(code, name="hash").to_frame()

# %% [markdown]
# ## Machine
#
# Sums are taken in another order on another processor or graphics card, so that the last digits of
# a fit may differ. *Device* is what the chapters chose:

# %% tags=["hide-input"]
import os
import platform

import torch

from visualcortex.training import choose_device

pd.Series(
    {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "Python": platform.python_version(),
        "device": str(choose_device("auto")),
        "CUDA": torch.version.cuda or "none in this build of torch",
    },
    name="value",
).to_frame()

# %% [markdown]
# ## Packages
#
# These are the packages that the numbers depend on most; all are pinned in `requirements.lock`:

# %% tags=["hide-input"]
from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str:
    """Return the installed version of a package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


packages = [
    "numpy", "scipy", "pandas", "xarray", "torch", "scikit-learn", "matplotlib", "allensdk",
    "pynwb", "papermill", "jupyter-book", "Sphinx",
]
versions = {package: installed(package) for package in packages}
pd.Series(versions, name="version").to_frame()
