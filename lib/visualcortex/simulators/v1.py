"""Simulated primary visual cortex: thousands of tuned neurons, images shown twice, known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.simulators import scenes
from visualcortex.simulators.settings import check_choice, check_number, check_whole

MAPS = ("shared", "scrambled")
FIELD_UM = 1000.0  # side of the imaged square
N_PLANES, FIRST_PLANE_UM, PLANE_STEP_UM = 11, 100.0, 33.0
PATCHES = 5  # a side of the square, where a map is scrambled


@dataclass(frozen=True, eq=False)
class Neurons:
    """Tuning of simulated neurons, and the filters that it makes.

    Parameters
    ----------
    table
        One row a neuron: centre of the receptive field ``azimuth``, ``elevation`` (degrees from
        the upper left corner of the screen), ``frequency`` (cycles a degree), ``orientation``,
        ``phase`` (rad), ``sigma`` (degrees across the stripes), ``elongation``, ``complexity``
        (0 simple, 1 complex), ``normalised`` (bool), ``exponent``.
    even, odd
        Gabor filters in quadrature, without mean, ``(pixel, neuron)``; both are divided by the
        norm of ``even``.
    pool
        Normalisation pool, weights that add up to 1, ``(pixel, neuron)``.
    mean, gain
        Mean of the drive over the images shown, and what makes the drive a response.
    """

    table: pd.DataFrame
    even: np.ndarray
    odd: np.ndarray
    pool: np.ndarray
    mean: np.ndarray
    gain: np.ndarray

    def respond(self, images: np.ndarray) -> np.ndarray:
        """Noise-free response to any images, ``(image, neuron)``, in s.d. of the noise.

        Parameters
        ----------
        images : (n_images, 34, 45) array
            As `scenes.render` paints them.
        """
        filters = (self.even, self.odd, self.pool)
        return (_drive(images, self.table, *filters) - self.mean) * self.gain


@dataclass(frozen=True, eq=False)
class V1Truth:
    """What is known of a simulated V1.

    Parameters
    ----------
    signal
        Noise-free response to every image, in s.d. of the noise, ``(image, neuron)``.
    loadings
        Spontaneous activity of one frame is ``loadings @ z`` with z standard normal, plus private
        noise; the same is added to every response, ``(neuron, dimension)``.
    private_variance
        Variance of the private noise; with the shared part 1 for each neuron.
    offset, scale
        A recorded response is ``offset + scale * (signal + noise)``.
    neurons
        Tuning, and the response to any other image.
    labels
        Category of each image, position in `scenes.CATEGORIES`, -1 unknown.
    category_means
        Mean latents of each category.
    settings
        The settings of the simulation.
    """

    signal: np.ndarray
    loadings: np.ndarray
    private_variance: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    neurons: Neurons
    labels: np.ndarray
    category_means: np.ndarray
    settings: V1

    @property
    def noise_covariance(self) -> np.ndarray:
        """Covariance of the noise in its own units (unit variance), ``(neuron, neuron)``."""
        return self.loadings @ self.loadings.T + np.diag(self.private_variance)

    @property
    def spontaneous_subspace(self) -> np.ndarray:
        """Orthonormal basis of the shared dimensions, strongest first, ``(neuron, dimension)``."""
        return np.linalg.svd(self.loadings, full_matrices=False)[0]

    def fresh_images(
        self, n_per_category: int, *, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Noise-free responses to images that nobody has seen, and their categories.

        Parameters
        ----------
        n_per_category : int
            As many of each category.
        rng : numpy.random.Generator
            Source of the images.

        Returns
        -------
        (n, n_neurons) array and (n,) array of int
        """
        labels = np.repeat(np.arange(len(scenes.CATEGORIES)), n_per_category)
        latents = scenes.draw_latents(labels, self.category_means, rng=rng)
        return self.neurons.respond(scenes.render(latents, rng=rng)), labels

    def noise(self, n: int, *, rng: np.random.Generator) -> np.ndarray:
        """Draw noise in its own units, ``(n, neuron)``."""
        return _noise(n, self.loadings, self.private_variance, rng)


@dataclass(frozen=True, kw_only=True)
class V1:
    r"""Settings of a simulated primary visual cortex under two-photon imaging.

    The response of neuron i in presentation r of image s is

    .. math::

        x_{ri} = o_i + c_i\,\big(f_i(s) + L_i \cdot z_r + \epsilon_{ri}\big), \qquad
        f_i(s) = g_i \Big(\frac{(1-k_i)\,[e_i]_+ + 0.6\,k_i \sqrt{e_i^2 + o_i^2}}
            {1 \text{ or } 0.15 + \sqrt{P_i s^2}}\Big)^{p_i} - \text{mean},

    with Gabor filters in quadrature *e* and *o*: simple cells (:math:`k = 0`), complex cells
    (:math:`k = 1`) and all between; most are normalised by the contrast in a pool around the
    receptive field. The noise is the spontaneous activity itself: shared dimensions *z* of
    power-law variance (the first excites nearly all neurons), and private noise; Gaussian, and
    independent from frame to frame, which real activity is not. Receptive fields follow the
    position in cortex, with scatter; orientation does not (salt and pepper, as in the mouse).

    Calibrated to figures published for 10,000 neurons and 2,800 images (Stringer et al. 2019 and
    the code published with it), at the smaller default size: fraction of signal variance after
    the published preprocessing .165, exponent of the eigenspectrum by cvPCA near 1.0, identity
    decoded by correlation between .41 and .755. Sizes of categories are the published ones. What
    was *not* calibrated, for want of a published figure, is how far the categories lie apart
    (`separation`): a choice, and a more generous one than photographs seem to be.

    Parameters
    ----------
    n_neurons, n_images, n_spontaneous, n_grey
        Neurons; images, each shown `n_repeats` times in random order; frames of spontaneous
        activity; presentations of the grey screen.
    n_repeats
        Presentations of each image.
    mouse
        Which animal: other neurons, and a field of view shifted by some 40 µm; the same images.
    map
        ``"shared"``: all mice have the same retinotopic map; ``"scrambled"``: the map of each
        mouse is cut into patches of 200 µm, and they are shuffled.
    separation
        S.d. of the category means of the image latents, in s.d. within a category.
    signal_variance
        Mean over neurons of the share of signal in the variance of a response, before any
        preprocessing; beta-distributed over neurons.
    shared_noise, n_shared, noise_decay
        Mean share of the shared dimensions in the noise; their number; the exponent of their
        variance against rank.
    frequency
        Median preferred spatial frequency, cycles a degree.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    n_neurons: int = 2000
    n_images: int = 1400
    n_repeats: int = 2
    n_spontaneous: int = 3000
    n_grey: int = 70
    mouse: int = 0
    map: str = "shared"
    separation: float = 1.2
    signal_variance: float = 0.109
    shared_noise: float = 0.5
    n_shared: int = 128
    noise_decay: float = 1.1
    frequency: float = 0.035

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        least = {"n_neurons": 2, "n_images": 48, "n_repeats": 1, "n_spontaneous": 2, "n_grey": 1}
        for name, smallest in (least | {"mouse": 0, "n_shared": 1}).items():
            check_whole(name, getattr(self, name), smallest)
        for name in ("signal_variance", "shared_noise"):
            check_number(name, getattr(self, name), "a number above 0 and below 1", 0, 1)
        for name in ("frequency", "noise_decay"):
            check_number(name, getattr(self, name), "a number above 0 and below inf", 0)
        wanted = "a number at least 0 and below inf"
        check_number("separation", self.separation, wanted, 0, closed=True)
        check_choice("map", self.map, MAPS)

    def simulate(self, seed: int = 0) -> ImageResponses:
        """Draw images, a mouse and its recording.

        Images depend on the seed alone, neurons on seed and mouse, so that all mice of one seed
        see the same images.

        Parameters
        ----------
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        ImageResponses
            With categories, spontaneous activity, grey screens and `V1Truth`.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        images_rng = np.random.default_rng([seed, 0])
        mouse_rng = np.random.default_rng([seed, 1, self.mouse])
        labels = scenes.category_labels(self.n_images, rng=images_rng)
        means = scenes.draw_means(self.separation, rng=images_rng)
        latents = scenes.draw_latents(labels, means, rng=images_rng)
        images = scenes.render(latents, rng=images_rng)
        neurons, positions = _draw_neurons(self, images, mouse_rng)
        loadings, private = _draw_noise_model(self, mouse_rng)
        truth = V1Truth(
            signal=neurons.respond(images),
            loadings=loadings,
            private_variance=private,
            offset=mouse_rng.gamma(2.0, 2.0, self.n_neurons).astype("f4"),
            scale=mouse_rng.lognormal(1.0, 0.5, self.n_neurons).astype("f4"),
            neurons=neurons,
            labels=labels,
            category_means=means,
            settings=self,
        )
        return _record(self, images, positions, truth, mouse_rng)


def _draw_neurons(
    settings: V1, images: np.ndarray, rng: np.random.Generator
) -> tuple[Neurons, np.ndarray]:
    positions, seen_from = _draw_positions(settings, rng)
    table = _draw_tuning(settings, seen_from, rng)
    even, odd, pool = _filters(table)
    drive = _drive(images, table, even, odd, pool)
    share = settings.signal_variance
    # a beta distribution with a long tail: most neurons hardly respond, a few do reliably
    share = np.clip(rng.beta(4.2 * share, 4.2 * (1 - share), len(table)), 0.003, 0.8)
    gain = np.sqrt(share / (1 - share)) / np.maximum(drive.std(axis=0), 1e-6)
    neurons = Neurons(table, even, odd, pool, drive.mean(axis=0), gain.astype("f4"))
    return neurons, positions


def _draw_positions(settings: V1, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Position in cortex ``(neuron, 3)``, µm, and the place in the map that it has, ``(…, 2)``."""
    n = settings.n_neurons
    plane = FIRST_PLANE_UM + PLANE_STEP_UM * rng.integers(N_PLANES, size=n)
    positions = np.column_stack([FIELD_UM * rng.random((n, 2)), plane])
    seen_from = positions[:, :2] + 40 * rng.standard_normal(2)
    if settings.map == "scrambled":
        side = FIELD_UM / PATCHES
        row, column = np.minimum(positions[:, :2] // side, PATCHES - 1).astype(int).T
        moved = rng.permutation(PATCHES**2)[PATCHES * row + column]
        corner = side * np.column_stack([moved // PATCHES, moved % PATCHES])
        seen_from = corner + positions[:, :2] % side
    return positions, seen_from


def _draw_tuning(settings: V1, place: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(place)
    scatter = 4 * rng.standard_normal((2, n))  # degrees
    frequency = settings.frequency * np.exp(0.5 * rng.standard_normal(n))
    frequency = np.clip(frequency, 0.01, 0.2)
    return pd.DataFrame(
        {
            "azimuth": 15 + 0.060 * place[:, 0] + scatter[0],
            "elevation": 12 + 0.044 * place[:, 1] + scatter[1],
            "frequency": frequency,
            "orientation": np.pi * rng.random(n),
            "phase": 2 * np.pi * rng.random(n),
            "sigma": np.clip(rng.uniform(0.35, 0.8, n) / frequency, 2.5, 12),
            "elongation": rng.uniform(1, 1.8, n),
            "complexity": rng.beta(0.8, 0.8, n),
            "normalised": rng.random(n) < 0.9,
            "exponent": rng.uniform(1, 1.5, n),
        },
        index=pd.RangeIndex(n, name="neuron"),
    )


def _filters(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Even and odd Gabor filters without mean, and the pools, ``(pixel, neuron)``."""
    rows, columns = np.mgrid[: scenes.HEIGHT, : scenes.WIDTH].reshape(2, -1, 1)
    right = ((columns + 0.5) * scenes.DEGREES - table["azimuth"].to_numpy()).astype("f4")
    down = ((rows + 0.5) * scenes.DEGREES - table["elevation"].to_numpy()).astype("f4")
    angle, sigma = table["orientation"].to_numpy("f4"), table["sigma"].to_numpy("f4")
    across = right * np.cos(angle) + down * np.sin(angle)
    along = down * np.cos(angle) - right * np.sin(angle)
    width = (across**2 + (along / table["elongation"].to_numpy("f4")) ** 2) / (2 * sigma**2)
    # cut off where it would underflow: denormal numbers slow the products down forty times
    envelope = np.where(width < 9, np.exp(-width), 0)  # (pixel, neuron)
    carrier = 2 * np.pi * table["frequency"].to_numpy("f4") * across + table["phase"].to_numpy("f4")
    total = envelope.sum(axis=0) + 1e-6
    waves = (envelope * np.cos(carrier), envelope * np.sin(carrier))
    even, odd = (wave - envelope * (wave.sum(axis=0) / total) for wave in waves)
    norm = np.sqrt((even**2).sum(axis=0)) + 1e-6
    pool = np.exp(-(right**2 + down**2) / (2 * 12.0**2))
    return even / norm, odd / norm, pool / pool.sum(axis=0)


def _drive(
    images: np.ndarray, table: pd.DataFrame, even: np.ndarray, odd: np.ndarray, pool: np.ndarray
) -> np.ndarray:
    pixels = images.reshape(len(images), -1).astype("f4")  # (M, P)
    e, o = pixels @ even, pixels @ odd  # (M, N)
    k = table["complexity"].to_numpy("f4")
    drive = (1 - k) * np.maximum(e, 0) + 0.6 * k * np.sqrt(e**2 + o**2)
    contrast = 0.15 + np.sqrt(np.square(pixels) @ pool)
    drive /= np.where(table["normalised"].to_numpy(), contrast, 1)
    return drive ** table["exponent"].to_numpy("f4")


def _draw_noise_model(settings: V1, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, k, share = settings.n_neurons, settings.n_shared, settings.shared_noise
    loadings = rng.standard_normal((n, k)).astype("f4")
    loadings[:, 0] = 1 + 0.7 * loadings[:, 0]  # arousal moves nearly all neurons the same way
    loadings *= np.arange(1, k + 1, dtype="f4") ** (-settings.noise_decay / 2)
    shared = np.clip(rng.beta(2, 2 * (1 - share) / share, n), 0.02, 0.95).astype("f4")
    loadings *= np.sqrt(shared / (loadings**2).sum(axis=1))[:, None]
    return loadings, 1 - shared


def _noise(
    n: int, loadings: np.ndarray, private: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    shared = rng.standard_normal((n, loadings.shape[1]), dtype="f4") @ loadings.T
    return shared + np.sqrt(private) * rng.standard_normal((n, len(loadings)), dtype="f4")


def _record(
    settings: V1,
    images: np.ndarray,
    positions: np.ndarray,
    truth: V1Truth,
    rng: np.random.Generator,
) -> ImageResponses:
    shown = np.tile(np.arange(settings.n_images), settings.n_repeats)
    presentation = np.sort(rng.permutation(len(shown) + settings.n_grey)[: len(shown)])
    stimulus = rng.permutation(shown)
    grey = truth.neurons.respond(np.zeros((1, *images.shape[1:]), "f4"))

    def observed(signal: np.ndarray | float, n: int) -> xr.DataArray:
        """Signal and noise in recorded units."""
        values = truth.offset + truth.scale * (truth.noise(n, rng=rng) + signal)
        return xr.DataArray(
            values.astype("f4"),
            dims=("time" if np.ndim(signal) == 0 else "trial", "neuron"),
            attrs={"quantity": "deconvolved fluorescence", "units": "a.u."},
        )

    table = pd.DataFrame(positions, columns=["x_um", "y_um", "z_um"])
    words = np.array([*scenes.CATEGORIES, scenes.UNKNOWN])  # -1 is the last
    return ImageResponses(
        responses=observed(truth.signal[stimulus], len(stimulus)),
        trials=pd.DataFrame({"stimulus": stimulus, "session": 0, "presentation": presentation}),
        neurons=table.rename_axis("neuron").assign(red=rng.random(len(table)) < 0.03),
        provenance=_provenance(settings),
        images=images,
        spontaneous=observed(0.0, settings.n_spontaneous),
        grey=observed(grey, settings.n_grey),
        stimuli=pd.DataFrame({"category": words[truth.labels]}).rename_axis("stimulus"),
        truth=truth,
    )


def _provenance(settings: V1) -> Provenance:
    return Provenance(
        source=f"Simulated primary visual cortex, mouse {settings.mouse}",
        citation="",
        licence="MIT",
        url="",
        sha256={},
        preprocessing=("simulator: one number a presentation and neuron, none removed",),
    )
