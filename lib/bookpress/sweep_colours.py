"""Colours for the groups of a sweep's runs, to be seen on a light page and on a dark one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bookpress.sweep_figures import N_COLOURS

# Where no style sheet gives others.
COLOURS = ("0b5c8a", "d1562a", "0a8a68", "b9821b", "9a4f86", "58a6d6")
PAPER, INK = "fbf9f4", "13171d"
# Of marks against the ground they stand on; thin ones are harder to see on ink.
PAPER_CONTRAST, INK_CONTRAST = 3.0, 5.0


def palette(style: Path | None) -> list[str]:
    """Return the colours of a Matplotlib style sheet's cycle, as six hexadecimal digits."""
    if style is None:
        return list(COLOURS)
    from matplotlib import rc_params_from_file
    from matplotlib.colors import to_hex

    cycle = rc_params_from_file(style, use_default_template=True)["axes.prop_cycle"]
    found = [to_hex(colour)[1:] for colour in cycle.by_key().get("color", ())] or COLOURS
    return [found[k % len(found)] for k in range(N_COLOURS)]


def on_paper(colour: str) -> str:
    """Return a colour as it can be seen on the light page."""
    return readable(colour, PAPER, PAPER_CONTRAST)


def on_ink(colour: str) -> str:
    """Return a colour as it can be seen on the dark page."""
    return readable(colour, INK, INK_CONTRAST)


def readable(colour: str, ground: str, least: float) -> str:
    """Return a colour mixed with black or white until it stands out from the ground."""
    target = 0 if _luminance(_channels(ground)) > 0.18 else 255
    for share in np.linspace(0, 1, 41):
        mixed = np.round((1 - share) * _channels(colour) + share * target)
        if contrast(mixed, _channels(ground)) >= least:
            break
    return "".join(f"{int(channel):02x}" for channel in mixed)


def contrast(first: np.ndarray, second: np.ndarray) -> float:
    """Return the contrast of two colours as the Web Content Accessibility Guidelines define it."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _channels(colour: str) -> np.ndarray:
    return np.array([int(colour[k : k + 2], 16) for k in (0, 2, 4)], dtype=float)


def _luminance(channels: np.ndarray) -> float:
    c = channels / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
