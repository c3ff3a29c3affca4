"""Pictures as text: drawn from figures, small, for pages that load nothing from elsewhere."""

from __future__ import annotations

import base64
import io

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

# A page is read at about 100 dots an inch, on sharp screens at twice that: nearer to the first,
# since a view has tens of pictures.
DPI = 120
QUALITY = 75
# Line drawings have few colours. The commonest stay as they are, and so many more stand for the
# others, if nearly none of the pixels is then farther from its own than this.
COMMONEST, COLOURS, FARTHEST, NEARLY_NONE = 24, 40, 32, 0.002


def webp(figure: matplotlib.figure.Figure, dpi: float = DPI) -> bytes:
    """Return a figure as WebP, the smallest of several ways that look alike."""
    canvas, before = FigureCanvasAgg(figure), figure.dpi
    try:
        figure.set_dpi(dpi)
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    finally:
        figure.set_dpi(before)
    few = _few_colours(pixels)
    if few is not None:
        return _encoded(few, lossless=True)
    return min((_encoded(pixels, lossless=way) for way in (True, False)), key=len)


def _few_colours(pixels: Image.Image) -> Image.Image | None:
    """Return the picture in few colours; None if that could be seen.

    Paper, bands and the patches of a legend keep their colours, by which they are known.
    """
    spread = pixels.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    packed = np.asarray(pixels).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    places, known = pd.factorize(packed.ravel())  # finds equal ones without sorting
    counts = np.bincount(places)
    colours = (known[:, None] >> np.array([16, 8, 0], np.uint32)) & 255
    commonest = colours[np.argsort(counts)[: -COMMONEST - 1 : -1]]
    palette = np.concatenate([commonest, np.reshape(spread.getpalette(), (-1, 3))]).astype(int)
    every = colours.astype(int)
    nearest = palette[_apart(every[:, None], palette).argmin(axis=1)]
    far = np.abs(nearest - every).max(axis=1) > FARTHEST
    if counts[far].sum() > NEARLY_NONE * counts.sum():
        return None
    return Image.fromarray(nearest.astype(np.uint8)[places].reshape(*pixels.size[::-1], 3))


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far colours are apart: in light, and twice in tint, which is seen sooner."""
    difference = one - other
    tint = np.ptp(difference, axis=-1)
    return np.abs(difference).max(axis=-1) + 2 * tint


def _encoded(pixels: Image.Image, *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "WEBP", lossless=lossless, quality=QUALITY, method=4)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """Return WebP bytes as an address that holds them."""
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
