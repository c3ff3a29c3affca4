"""Pictures as text: drawn from figures, small, for pages that load nothing from elsewhere."""

from __future__ import annotations

import base64
import io

import matplotlib.figure
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

# A page is read at about 100 dots an inch, on sharp screens at twice that: nearer to the first,
# since a view has tens of pictures.
DPI = 120
QUALITY = 75
# Line drawings have few colours: so many are kept if nearly no pixel differs by more than this.
COLOURS, FARTHEST, NEARLY_ALL = 40, 24, 0.995


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
    off = np.abs(np.asarray(few, dtype=int) - np.asarray(pixels)).max(axis=2)
    if np.quantile(off, NEARLY_ALL) <= FARTHEST:
        return _encoded(few, lossless=True)
    return min((_encoded(pixels, lossless=way) for way in (True, False)), key=len)


def _few_colours(pixels: Image.Image) -> Image.Image:
    """Return the picture in few colours, the paper among them as it is.

    The paper, which the corner shows, would else be seen against the page.
    """
    few = pixels.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    place, palette = 3 * few.getpixel((0, 0)), few.getpalette()
    palette[place : place + 3] = pixels.getpixel((0, 0))
    few.putpalette(palette)
    return few.convert("RGB")


def _encoded(pixels: Image.Image, *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "WEBP", lossless=lossless, quality=QUALITY, method=4)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """Return WebP bytes as an address that holds them."""
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
