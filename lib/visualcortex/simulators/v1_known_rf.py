"""Simulated visual cortex whose neurons' most exciting images are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from visualcortex.models.synthesis import Response, own_responses
from visualcortex.recording import ImageResponses, Provenance
from visualcortex.simulators import receptive_fields as rf
from visualcortex.simulators.presentations import (
    NORM,
    Images,
    Presentations,
    draw_gain,
    draw_images,
    draw_trials,
    one_each,
    record,
    respond,
)
from visualcortex.simulators.settings import check_number, check_whole

CLASSES = ("simple", "complex", "surround", "curved", "corner", "two_subunit")
FAMILIES = tuple(rf.DRIVES)
TUNING = (
    "azimuth",
    "elevation",
    "frequency",
    "orientation",
    "phase",
    "sigma",
    "elongation",
    "bend",
)
PROVENANCE = Provenance(
    source="Simulated neurons with known most exciting images",
    citation="",
    licence="MIT",
    url="",
    sha256={},
    preprocessing=("simulator: spikes counted in each presentation",),
)
N_AROUND, AROUND = 8, 2.5  # quadrature pairs in the annulus; its radius in s.d. of the envelope


@dataclass(frozen=True, eq=False)
class KnownRFTruth:
    """What is known of the simulated neurons: everything.

    Parameters
    ----------
    model
        Images (B, 1, 36, 64) to rates (B, neuron), spikes a presentation without the gain, as a
        torch module: gradients flow to the images.
    table
        One row a neuron: ``"class"``, ``"family"`` (how its filters are joined, as
        `receptive_fields.Population` says), tuning as `receptive_fields.gabor_pairs` takes it;
        ``"second_…"`` of the second subunit, ``"strength"`` of the surround (NaN where there is
        none); ``"exponent"``, ``"mean_rate"`` over the training images, ``"spontaneous"`` share
        of it.
    rates
        Noise-free response to every image, ``(image, neuron)``.
    gain
        Gain that all neurons share in each trial, of mean 1, ``(trial,)``.
    settings
        The settings of the simulation.
    """

    model: rf.Population
    table: pd.DataFrame
    rates: np.ndarray
    gain: np.ndarray
    settings: V1KnownRF

    def respond(self, images: Images) -> Images:
        """Noise-free response to any images, spikes a presentation.

        Parameters
        ----------
        images : (B, 36, 64) or (B, 1, 36, 64) array or tensor
            In s.d. of the pixels of the training images, about the mean grey.

        Returns
        -------
        (B, n_neurons) array or tensor
            What was given; of a tensor, with its gradient.

        Raises
        ------
        ValueError
            The images have another size.
        """
        return respond(self.model, images)

    def response(self) -> Response:
        """Return what ascent climbs: the noise-free response of one neuron to each image."""
        return own_responses(self.model)

    def optima(self, norm: float = NORM, *, n_restarts: int = 16, seed: int = 0) -> rf.Optima:
        """Find the best images of a norm, and how many there are; see `receptive_fields.optima`.

        Parameters
        ----------
        norm : float
            Euclidean norm about the mean grey, in s.d. of the pixels of the training images, which
            have norm 48 in the root mean square. No bounds of single pixels are kept.
        n_restarts : int
            Ascents for each neuron without closed form, at least 3.
        seed : int
            Seed of the starts.

        Returns
        -------
        receptive_fields.Optima

        Raises
        ------
        ValueError
            The norm is not above 0 and finite, or a whole number is not one.
        """
        check_number("norm", norm, "a finite number above 0", 0)
        check_whole("n_restarts", n_restarts, 3)
        check_whole("seed", seed, 0)
        return rf.optima(self.model, float(norm), n_restarts=n_restarts, seed=seed)

    def optimal_images(self, norm: float = NORM) -> np.ndarray:
        """One best image of each neuron, ``(neuron, 36, 64)``; see `optima`."""
        return self.optima(norm).images

    def optimal_response(self, norm: float = NORM) -> np.ndarray:
        """Highest rate of each neuron over images of a norm, ``(neuron,)``; see `optima`."""
        return np.diagonal(self.respond(self.optimal_images(norm))).copy()

    def cosine_to_optimum(self, images: np.ndarray, norm: float = NORM) -> np.ndarray:
        """Largest cosine of each image with a best image of its neuron.

        Neurons indifferent to phase have a plane of best images: the cosine is that with the
        nearest of them. The shape of the best image depends on the norm for class "surround" only.

        Parameters
        ----------
        images : (..., n_neurons, 36, 64) array
            One for each neuron, about the mean grey; their own norm does not matter.
        norm : float
            Norm of the best images.

        Returns
        -------
        (..., n_neurons) array

        Raises
        ------
        ValueError
            There is not one image for each neuron, or it has another size.
        """
        return self.optima(norm).cosine(one_each(images, len(self.table)))


@dataclass(frozen=True, kw_only=True)
class V1KnownRF(Presentations):
    r"""Settings of a simulated recording of neurons whose best images are known.

    Neuron i counts, when image s is shown in trial t,

    .. math::

        n_{ti} \sim \text{Poisson}(g_t\, r_i(s)), \qquad r_i(s) = b_i + a_i\, d_i(s)^{p_i},

    with the drives *d* of `receptive_fields.Population`: simple cells (a rectified Gabor), complex
    cells (Gabor amplitude), complex cells divided by the amplitude of the same grating in an
    annulus around them, and three kinds that no Gabor describes: a bent Gabor, a corner (two
    half-gratings that meet at an angle, both needed) and two subunits at different places and
    orientations, half of them summed, half joined so that either suffices (two best images). The
    gain g is common to all and slow: its logarithm is autoregressive.

    Images are `scenes` without categories, 36 x 64 pixels of 1.4 degrees (the size of the Sensorium
    2022 images), clipped to the range of photographs, then freed of the mean and divided by the
    s.d. of all pixels of the training images. As there, training and validation images are shown
    once and test images again and again.

    Receptive fields are 10 to 22 degrees wide (4 s.d. of the envelope) and prefer 0.03 to 0.12
    cycles a degree, large and coarse as in the mouse (Niell & Stryker 2008). *Choices*, for want
    of a published figure: the mixture of classes; the strength of the surround (a typical image
    divides the response by 1.1 to 2.2); the mean count (2 spikes/s for half a second) and its
    spread; the gain. With them the fraction of explainable variance is about 0.55 in the median:
    that of reliable neurons, not of all those recorded with two photons, of which half were below
    0.15 in Du et al. (2025).

    Parameters
    ----------
    n_simple, n_complex, n_surround, n_curved, n_corner, n_two_subunit
        Neurons of each class, 0 or more, together at least 1.
    n_train, n_validation, n_test
        Images of each tier.
    n_repeats
        Times that each test image is shown.
    mean_count
        Mean over neurons of the mean count over training images; log-normal over neurons.
    gain_sd
        S.d. of the logarithm of the common gain; 0 for pure Poisson noise.
    gain_trials
        Trials in which the autocorrelation of the gain falls to 1/e.

    Raises
    ------
    ValueError
        A setting is outside its range.

    References
    ----------
    Niell, C. M. & Stryker, M. P. (2008). Highly selective receptive fields in mouse visual cortex.
    J. Neurosci. 28. Willeke, K. F. et al. (2022). The Sensorium competition on predicting
    large-scale mouse primary visual cortex activity. Du, F. et al. (2025). A simplified minimodel
    of visual cortical neurons. Nat. Commun. 16.
    """

    n_simple: int = 60
    n_complex: int = 60
    n_surround: int = 30
    n_curved: int = 20
    n_corner: int = 20
    n_two_subunit: int = 20

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        super().__post_init__()
        for name in CLASSES:
            check_whole(f"n_{name}", getattr(self, f"n_{name}"), 0)
        if self.n_neurons == 0:
            raise ValueError("there must be at least one neuron; got 0 of all classes. Add some.")

    @property
    def n_neurons(self) -> int:
        """Number of neurons of all classes."""
        return sum(getattr(self, f"n_{name}") for name in CLASSES)

    def simulate(self, seed: int = 0) -> ImageResponses:
        """Draw images, neurons and their counts.

        Images depend on the seed and their numbers alone, neurons on the seed and theirs.

        Parameters
        ----------
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        ImageResponses
            Counts, trials with column ``"tier"`` (train, validation, test), neurons with column
            ``"class"``, images in the order of the tiers, and `KnownRFTruth`.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        images_rng, neurons_rng, trials_rng = (np.random.default_rng([seed, k]) for k in range(3))
        images = draw_images(self, images_rng)
        table = _draw_tuning(self, neurons_rng)
        model = _calibrated(table, images[: self.n_train])
        trials = draw_trials(self, trials_rng)
        with torch.no_grad():
            rates = model(torch.from_numpy(images)[:, None]).numpy()
        truth = KnownRFTruth(model, table, rates, draw_gain(self, len(trials), trials_rng), self)
        return record(images, trials, table[["class"]], truth, PROVENANCE, trials_rng)


def _draw_tuning(settings: V1KnownRF, rng: np.random.Generator) -> pd.DataFrame:
    kinds = np.repeat(CLASSES, [getattr(settings, f"n_{name}") for name in CLASSES])
    family = kinds.copy()
    pairs = np.flatnonzero(kinds == "two_subunit")
    family[pairs[::2]], family[pairs[1::2]] = "sum", "either"
    n, shape = len(kinds), _draw_shapes(kinds, rng)
    # so far from the edge that what makes a class is on the screen
    compact = np.isin(kinds, ("simple", "complex", "curved"))
    reach = shape["sigma"] * np.where(compact, 2 * shape["elongation"], 3.5)
    margin = np.minimum(reach, rf.HEIGHT * rf.DEGREES / 2 - 1)
    table = pd.DataFrame(
        {
            "class": kinds,
            "family": family,
            "azimuth": rng.uniform(margin, rf.WIDTH * rf.DEGREES - margin),
            "elevation": rng.uniform(margin, rf.HEIGHT * rf.DEGREES - margin),
            "orientation": np.pi * rng.random(n),
            "phase": 2 * np.pi * rng.random(n),
            **shape,
            "strength": np.where(kinds == "surround", rng.uniform(0.5, 2, n), np.nan),
            "exponent": rng.uniform(1, 1.5, n),
            "mean_rate": settings.mean_count * rng.lognormal(-0.125, 0.5, n),
            "spontaneous": rng.uniform(0.05, 0.3, n),
        }
    ).rename_axis("neuron")
    # all neurons of a family in one piece: the order of the model
    table = table.sort_values("family", key=lambda f: f.map(FAMILIES.index), kind="stable")
    return _draw_second(table.reset_index(drop=True).rename_axis("neuron"), rng)


def _draw_shapes(kinds: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    n, curved = len(kinds), kinds == "curved"
    frequency = np.clip(0.05 * np.exp(0.35 * rng.standard_normal(n)), 0.03, 0.12)
    sigma = np.clip(rng.uniform(0.25, 0.5, n) / frequency, 2.5, np.where(curved, 4, 5.5))
    elongation = np.where(curved, rng.uniform(1.8, 2.5, n), rng.uniform(1, 1.8, n))
    # half to a whole half-wave off the straight line at 1.5 s.d. from the centre
    bend = rng.uniform(0.25, 0.5, n) / frequency * 2 / (1.5 * sigma * elongation) ** 2
    bend = np.where(curved, bend, 0)
    return {"frequency": frequency, "sigma": sigma, "elongation": elongation, "bend": bend}


def _draw_second(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Place the second subunit, and the first of a corner at one of its arms.

    The arms of a corner mirror each other, so that the bars of the two meet.
    """
    n, corner = len(table), table["class"] == "corner"
    pair = corner | (table["class"] == "two_subunit")
    arm, opening = 2 * np.pi * rng.random(n), rng.uniform(np.pi / 3, 2 * np.pi / 3, n)
    turn = rng.choice([-1, 1], n) * rng.uniform(np.pi / 4, np.pi / 2, n)
    length = np.where(corner, 1.3 * table["elongation"], rng.uniform(2.5, 3.5, n)) * table["sigma"]
    second = table[["azimuth", "elevation", "orientation", "phase"]].copy()
    second["phase"] = np.where(corner, table["phase"], 2 * np.pi * rng.random(n))
    second["orientation"] = np.where(corner, arm + opening - np.pi / 2, table["orientation"] + turn)
    direction = np.where(corner, arm + opening, arm)
    second["azimuth"] += length * np.cos(direction)
    second["elevation"] += length * np.sin(direction)
    first = table.assign(
        azimuth=table["azimuth"] + np.where(corner, length * np.cos(arm), 0),
        elevation=table["elevation"] + np.where(corner, length * np.sin(arm), 0),
        orientation=np.where(corner, arm + np.pi / 2, table["orientation"]),
    )
    return first.join(second.add_prefix("second_").where(pair, np.nan))


def _filters(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Filters of each family, (n, K, P); those of the surround not yet weighed."""
    filters = {}
    for family in dict.fromkeys(table["family"]):
        rows = table[table["family"] == family]
        first = rf.gabor_pairs(rows[list(TUNING)])
        if family in ("simple", "curved"):
            filters[family] = first[:, :1]
        elif family == "complex":
            filters[family] = rf.phase_invariant(first[:, None])[:, 0]
        elif family == "surround":
            pairs = np.stack([first, *_around(rows)], axis=1)  # (n, 1 + N_AROUND, 2, P)
            filters[family] = rf.phase_invariant(pairs).reshape(len(rows), -1, first.shape[-1])
        else:
            other = {c: rows[f"second_{c}"] for c in TUNING if f"second_{c}" in rows}
            second = rf.gabor_pairs(rows[list(TUNING)].assign(**other))
            filters[family] = np.stack([first[:, 0], second[:, 0]], axis=1)
    return filters


def _around(rows: pd.DataFrame) -> list[np.ndarray]:
    """Quadrature pairs of the same grating at places around the centre."""
    angles = 2 * np.pi * np.arange(N_AROUND) / N_AROUND
    radius = AROUND * rows["sigma"]
    moved = [
        rows[list(TUNING)].assign(
            azimuth=rows["azimuth"] + radius * np.cos(angle),
            elevation=rows["elevation"] + radius * np.sin(angle),
        )
        for angle in angles
    ]
    return [rf.gabor_pairs(place) for place in moved]


def _calibrated(table: pd.DataFrame, images: np.ndarray) -> rf.Population:
    """Weigh the surrounds and set the rates by what the training images do."""
    filters, shown = _filters(table), torch.from_numpy(images)[:, None]
    if "surround" in filters:
        around = filters["surround"][:, 2:]
        features = images.reshape(len(images), -1) @ around.reshape(-1, rf.HEIGHT * rf.WIDTH).T
        amplitude = np.linalg.norm(features.reshape(len(images), *around.shape[:2]), axis=2)
        strength = table["strength"].dropna().to_numpy()
        around *= (strength / np.median(amplitude, axis=0))[:, None, None]
    with torch.no_grad():
        drive = rf.Population(filters).drive(shown).numpy().astype(float)
    exponent, mean = table["exponent"].to_numpy(), table["mean_rate"].to_numpy()
    spontaneous = table["spontaneous"].to_numpy()
    amplitude = (1 - spontaneous) * mean / (drive**exponent).mean(axis=0)
    return rf.Population(filters, exponent, spontaneous * mean, amplitude)
