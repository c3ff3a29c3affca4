"""Pictures of made-up objects: a few shaded blobs each, anywhere, of any size, on any background.

The counterpart of the pictures of Majaj et al. (2015): 64 objects of eight categories, rendered at
one of two levels of variation in place, size and pose, each on a background of its own that has
nothing to do with the object.
"""

from __future__ import annotations

import string

import numpy as np
import pandas as pd

SIZE = 64  # pixels, square
N_CATEGORIES, N_EXEMPLARS, N_PARTS = 8, 8, 5
CATEGORIES = tuple(string.ascii_uppercase[:N_CATEGORIES])
PART = ("x", "y", "radius", "elongation", "angle", "shade")
WORLD = 7  # seed of the shapes: the objects are the same in every simulation
CONTRAST = 0.12  # s.d. of the background; grey is 0.5, white 1
EDGE = 12.0  # steepness of the rim of a part, a radius
BATCH = 256  # pictures painted at a time


def object_names() -> tuple[str, ...]:
    """Names of the 64 objects, in order: category and number, ``"A1"`` to ``"H8"``."""
    return tuple(f"{category}{k + 1}" for category in CATEGORIES for k in range(N_EXEMPLARS))


def object_parts() -> np.ndarray:
    """Parts of the 64 objects, ``(64, 5, 6)``, columns as in `PART`.

    A category has a layout of five ellipses; its objects deviate from it by about a third of what
    categories differ by. Lengths are in half widths of the object's own frame, angles in radians.
    """
    rng = np.random.default_rng(WORLD)
    layouts = _normal(rng, N_CATEGORIES, 1, N_PARTS, len(PART))
    deviations = 0.35 * _normal(rng, N_CATEGORIES, N_EXEMPLARS, N_PARTS, len(PART))
    x, y, radius, elongation, angle, shade = np.moveaxis(layouts + deviations, -1, 0)
    parts = (
        0.45 * np.tanh(0.9 * x),
        0.45 * np.tanh(0.9 * y),
        0.25 * np.exp(0.3 * np.tanh(radius)),
        np.exp(0.6 * np.tanh(elongation)),
        np.pi / 2 * angle,
        np.tanh(shade),
    )
    return np.stack(parts, axis=-1).reshape(-1, N_PARTS, len(PART))


def draw_views(variation: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Draw from where, and in which light, each picture shows its object.

    Parameters
    ----------
    variation : (n_images,) array
        0: upright, in the middle, of one size; 1: anywhere within 0.3 half widths of the picture,
        0.67 to 1.5 times as large, turned by up to 60 degrees in the plane and 60 in depth. In
        between, in proportion.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    pandas.DataFrame
        A row a picture: ``x``, ``y`` (half widths of the picture), ``scale``, ``turn``, ``tilt``,
        ``light`` (radians).
    """
    amount = np.asarray(variation, dtype=np.float32)
    draws = rng.uniform(-1, 1, (6, len(amount))).astype(np.float32)
    x, y, size, turn, tilt = amount * draws[:5]
    columns = (0.3 * x, 0.3 * y, 0.95 * np.exp(0.4 * size), np.pi / 3 * turn, np.pi / 3 * tilt)
    names = ("x", "y", "scale", "turn", "tilt")
    return pd.DataFrame(dict(zip(names, columns, strict=True)) | {"light": np.pi * draws[5]})


def render(objects: np.ndarray, views: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Paint objects before backgrounds of amplitude spectrum 1 / f^1.5.

    Parameters
    ----------
    objects : (n_images,) array of int
        Position in `object_names`.
    views : pandas.DataFrame
        From `draw_views`.
    rng : numpy.random.Generator
        Of the backgrounds.

    Returns
    -------
    (n_images, 3, 64, 64) array of float32
        RGB from 0 (black) to 1 (white), all three the same: the pictures are grey.
    """
    pictures = np.empty((len(objects), SIZE, SIZE), np.float32)
    parts = object_parts()
    for start in range(0, len(objects), BATCH):
        rows = slice(start, start + BATCH)
        shown = parts[objects[rows]].astype(np.float32)
        pictures[rows] = _painted(shown, views.iloc[rows], 0.5 + CONTRAST * _clouds(shown, rng))
    return np.repeat(pictures.clip(0, 1)[:, None], 3, axis=1)


def varied_pictures(n_images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint pictures of all objects in turn, one in five without variation.

    Returns
    -------
    (n_images, 3, 64, 64) array of float32
        RGB from 0 to 1.
    (n_images,) array of int
        Position of the object in `object_names`.
    """
    shown = np.arange(n_images) % len(object_names())
    variation = np.where(rng.random(n_images) < 0.2, 0, 1)
    return render(shown, draw_views(variation, rng), rng), shown


def _painted(parts: np.ndarray, views: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """Paint parts (B, K, 6) one over the other onto backgrounds (B, H, W)."""
    u, v = _object_frame(views)
    light = views["light"].to_numpy()[:, None, None]
    for k in range(parts.shape[1]):
        x, y, radius, elongation, angle, shade = parts[:, k, :, None, None].swapaxes(0, 1)
        across, along = (u - x) / radius, (v - y) / radius
        a = (np.cos(angle) * across + np.sin(angle) * along) / np.sqrt(elongation)
        b = (np.cos(angle) * along - np.sin(angle) * across) * np.sqrt(elongation)
        inside = 1 / (1 + np.exp(np.clip(EDGE * (np.hypot(a, b) - 1), -30, 30)))
        lit = 0.5 + 0.34 * shade + 0.12 * (across * np.cos(light) + along * np.sin(light))
        pictures = pictures * (1 - inside) + lit * inside
    return pictures


def _object_frame(views: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel in the frame of the object, twice (B, H, W)."""
    at = ((np.arange(SIZE) + 0.5) / SIZE * 2 - 1).astype(np.float32)
    x, y, scale, turn, tilt = (
        views[name].to_numpy()[:, None, None] for name in ("x", "y", "scale", "turn", "tilt")
    )
    right, down = at[None, None] - x, at[None, :, None] - y
    u = (np.cos(turn) * right + np.sin(turn) * down) / scale / np.cos(tilt)
    v = (np.cos(turn) * down - np.sin(turn) * right) / scale
    return u, v


def _clouds(parts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance and spectrum 1 / f^1.5, (B, H, W)."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    frequency[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(_normal(rng, len(parts), SIZE, SIZE)) / frequency**1.5
    clouds = np.fft.irfft2(spectrum, s=(SIZE, SIZE)).astype(np.float32)
    return clouds / clouds.std(axis=(1, 2), keepdims=True)


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)
