"""Visual cortex: recordings, models and evaluation for the chapters of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

# The function takes the place of the module of the same name as an attribute of the package;
# `from visualcortex.catalogue import ...` still reaches the module.
from visualcortex.catalogue import catalogue, load, load_model

if TYPE_CHECKING:
    from visualcortex.recording import Recording

__version__ = "0.1.0"
__all__ = ["Recording", "__version__", "catalogue", "load", "load_model"]


def __getattr__(name: str) -> object:
    if name == "Recording":  # lazily: it brings xarray, which the press does without
        from visualcortex.recording import Recording

        return Recording
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
