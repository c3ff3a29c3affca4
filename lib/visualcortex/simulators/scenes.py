"""Natural-like images made by rule, in categories that differ in their statistics only."""

from __future__ import annotations

import string

import numpy as np

# How many of the 2,800 images of Stringer et al. (2019) are in each category of the confident
# assignment, in its order; the first is "unknown".
PUBLISHED_COUNTS = (343, 343, 356, 132, 264, 41, 277, 381, 368, 82, 51, 162)
UNKNOWN = "unknown"
CATEGORIES = tuple(string.ascii_uppercase[: len(PUBLISHED_COUNTS) - 1])

HEIGHT, WIDTH = 34, 45  # pixels; 68 x 90 degrees, one screen
DEGREES = 2.0  # a pixel

# What an image is drawn with, all of unit variance within a category.
LATENTS = (
    "oriented_cos",  # orientation of the texture: its strength times cos and sin of twice the angle
    "oriented_sin",
    "azimuth",  # place of the object
    "elevation",
    "above_below",  # layout of light: four slow patterns
    "left_right",
    "corners",
    "centre",
)
BATCH = 350  # images drawn at a time: their fields stay in the cache


def category_labels(n_images: int, *, rng: np.random.Generator) -> np.ndarray:
    """Category of each image in random order, as unbalanced as in the published set.

    Parameters
    ----------
    n_images : int
        Number of images; the counts are the published shares, by largest remainder.
    rng : numpy.random.Generator
        Source of the order.

    Returns
    -------
    (n_images,) array of int
        Position in `CATEGORIES`; -1 where the category is not known.
    """
    exact = np.array(PUBLISHED_COUNTS) * n_images / sum(PUBLISHED_COUNTS)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact)[: n_images - counts.sum()]] += 1
    return rng.permutation(np.repeat(np.arange(len(counts)) - 1, counts))


def draw_means(separation: float, *, rng: np.random.Generator) -> np.ndarray:
    """Mean of the latents of each category, ``(n_categories, n_latents)``.

    Each latent has mean 0 and s.d. `separation` over categories, exactly.
    """
    means = rng.standard_normal((len(CATEGORIES), len(LATENTS)))
    return separation * (means - means.mean(axis=0)) / means.std(axis=0)


def draw_latents(labels: np.ndarray, means: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Latents of images: the mean of their category and unit variance around it.

    Parameters
    ----------
    labels : (n_images,) array of int
        Category; an image of unknown category (-1) is of any, all equally likely.
    means : (n_categories, n_latents) array
        From `draw_means`.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    (n_images, n_latents) array
    """
    hidden = np.where(labels < 0, rng.integers(len(means), size=len(labels)), labels)
    return means[hidden] + rng.standard_normal((len(labels), len(LATENTS)))


def render(latents: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    r"""Paint images with these latents.

    A filtered noise of amplitude spectrum :math:`f^{-1.2 \pm 0.2}`, oriented, is the background; an
    object of dead leaves (discs that occlude each other, radii of a power law) lies before it; four
    slow patterns of light are added. Local contrast then varies log-normally over space and over
    images, with s.d. 0.5 of the logarithm each: together about as heavy-tailed as filtered natural
    images are. Edges and slow patterns make the spectrum of the whole a little steeper than that
    of the noise, about :math:`f^{-1.4}` from 0.035 cycles a degree on.

    What chance adds to an image does not depend on its latents nor on those of other images. Images
    are painted in batches of `BATCH` or less, so that it does depend on how many there are.

    Parameters
    ----------
    latents : (n_images, n_latents) array
        From `draw_latents`; columns as in `LATENTS`.
    rng : numpy.random.Generator
        Source of everything that the latents leave open.

    Returns
    -------
    (n_images, 34, 45) array of float32
        Luminance about the mean grey, which is 0; a.u.

    References
    ----------
    Field, D. J. (1987). Relations between the statistics of natural images and the response
    properties of cortical cells. Lee, A. B., Mumford, D. & Huang, J. (2001). Occlusion models for
    natural images. Wainwright, M. J. & Simoncelli, E. P. (2000). Scale mixtures of Gaussians and
    the statistics of natural images.
    """
    batches = np.array_split(latents.astype(np.float32), max(1, -(-len(latents) // BATCH)))
    return np.concatenate([_render(batch, rng) for batch in batches])


def _render(latents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    by_name = {name: latents[:, k, None, None] for k, name in enumerate(LATENTS)}
    texture = _texture(by_name, rng)
    leaves = _leaves(len(latents), rng) + 0.7 * texture
    inside = _object(by_name, rng)
    images = inside * leaves + 0.5 * (1 - inside) * texture
    for name, pattern in _layouts().items():
        images += 0.5 * by_name[name] * pattern
    images *= np.exp(0.5 * _smooth_field(len(latents), rng))
    images -= images.mean(axis=(1, 2), keepdims=True)
    return images * np.exp(0.5 * _normal(rng, len(latents), 1, 1))


def _texture(latents: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    frequency, angle = _frequencies()
    bias = latents["oriented_cos"] * np.cos(2 * angle) + latents["oriented_sin"] * np.sin(2 * angle)
    slope = 1.2 + 0.2 * _normal(rng, len(bias), 1, 1)
    log_amplitude = 0.8 * bias - slope * np.log(frequency)
    return _standard(_filtered(np.exp(log_amplitude), len(bias), rng))


def _smooth_field(n_images: int, rng: np.random.Generator) -> np.ndarray:
    frequency = _frequencies()[0]
    return _standard(_filtered(np.exp(-2 * (np.pi * 6 * frequency) ** 2), n_images, rng))


def _leaves(n_images: int, rng: np.random.Generator, n_leaves: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    image = np.zeros((n_images, HEIGHT, WIDTH), np.float32)
    for _ in range(n_leaves):
        # radii of density r^-3, from 1.5 to 8.7 pixels, a quarter of the height
        radius = 1.5 / np.sqrt(1 - 0.97 * rng.random((n_images, 1, 1)))
        row, column = (rng.random((2, n_images, 1, 1)) * [[[[HEIGHT]]], [[[WIDTH]]]]).astype("f4")
        covered = (rows - row) ** 2 + (columns - column) ** 2 < radius.astype("f4") ** 2
        np.copyto(image, _normal(rng, n_images, 1, 1), where=covered)
    return _standard(image)


def _object(latents: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Soft mask of the object, 1 inside and 0 outside."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    row = HEIGHT / 2 + 5 * latents["elevation"]
    column = WIDTH / 2 + 6 * latents["azimuth"]
    radius = 9 * np.exp(0.25 * _normal(rng, len(row), 1, 1))
    distance = np.sqrt((rows - row) ** 2 + (columns - column) ** 2) / radius
    return 1 / (1 + np.exp(np.minimum(4 * (distance - 1), 30)))


def _layouts() -> dict[str, np.ndarray]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    up = 2 * np.pi * (rows - (HEIGHT - 1) / 2) / 30
    right = 2 * np.pi * (columns - (WIDTH - 1) / 2) / 36
    patterns = (np.sin(up), np.sin(right), np.sin(up) * np.sin(right), np.cos(up) * np.cos(right))
    return dict(zip(LATENTS[-4:], (_standard(p[None]) for p in patterns), strict=True))


def _frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequency (cycles a pixel; that of the mean set to 1) and its angle."""
    vertical, horizontal = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = 1
    return frequency.astype("f4"), np.arctan2(vertical, horizontal).astype("f4")


def _filtered(amplitude: np.ndarray, n_images: int, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft2(_normal(rng, n_images, HEIGHT, WIDTH)) * amplitude
    return np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH)).astype(np.float32)


def _standard(images: np.ndarray) -> np.ndarray:
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    return centred / (centred.std(axis=(1, 2), keepdims=True) + 1e-6)


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)
