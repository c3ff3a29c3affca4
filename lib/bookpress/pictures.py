"""Pictures as text: drawn from figures, small, for pages that load nothing from elsewhere."""

from __future__ import annotations

import base64
import io

import matplotlib.figure
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

# A page is read at about 100 dots an inch, on sharp screens at twice that: between the two.
DPI = 150
QUALITY = 82


def webp(figure: matplotlib.figure.Figure, dpi: float = DPI) -> bytes:
    """Return a figure as WebP, the smaller of what the lossless and the lossy way give."""
    canvas, before = FigureCanvasAgg(figure), figure.dpi
    try:
        figure.set_dpi(dpi)
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    finally:
        figure.set_dpi(before)
    return min((_encoded(pixels, lossless=True), _encoded(pixels, lossless=False)), key=len)


def _encoded(pixels: Image.Image, *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "WEBP", lossless=lossless, quality=QUALITY, method=4)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """Return WebP bytes as an address that holds them."""
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
