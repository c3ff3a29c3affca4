"""Simulated recording of the digital twin: spikes counted about the answers of the network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from visualcortex.models.cone import ConeResponse
from visualcortex.models.gabor_bank import gabor_table, paint_gabors
from visualcortex.models.synthesis import Synthesis, best_of_bank, most_exciting_images
from visualcortex.recording import ImageResponses, Provenance
from visualcortex.simulators.presentations import (
    AT_A_TIME,
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
from visualcortex.sources.digital_twin import HEIGHT, WIDTH, DigitalTwin

SHAPE = (HEIGHT, WIDTH)
N_GABORS = 1000  # in the bank from which ascents start
FAINT = 1e-6  # share of noise in those starts
SILENT = 1e-4  # mean answer, in s.d. of the neuron, up to which it may be rounding
UNKNOWN = Provenance(
    source="", citation="", licence="none stated", url="", sha256={}, preprocessing=()
)


class RecordedTwin(nn.Module):
    r"""Some neurons of a twin as rates: :math:`a_i\, r_{u_i}(s)`, spikes a presentation.

    Parameters
    ----------
    twin : DigitalTwin
    units : (N,) array of int
        The neurons u of the twin.
    scale : (N,) array
        Spikes for each s.d., which is what the twin answers in.
    """

    def __init__(self, twin: DigitalTwin, units: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        self.twin = twin
        self.register_buffer("units", torch.as_tensor(units))
        self.register_buffer("scale", torch.as_tensor(scale).to(twin.bias))

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return len(self.units)

    def forward(self, images: Tensor) -> Tensor:
        """Rate of every neuron, (B, 1, 36, 64) to (B, N)."""
        return self.scale * self.twin(images, self.units)


class RecordedCone(ConeResponse):
    """Rate of one neuron of a recorded twin to each image, from what it sees of it alone.

    Neurons are counted as in the recording. See `cone.ConeResponse`.
    """

    def __init__(self, model: RecordedTwin) -> None:
        super().__init__(model.twin, SHAPE)
        for name in ("features", "bias", "interpolation", "origin"):
            setattr(self, name, getattr(self, name)[model.units])
        self.register_buffer("scale", model.scale)

    def on_patches(self, patches: Tensor, index: Tensor) -> Tensor:
        """Rate of neuron ``index[b]`` to the patch (B, 1, h, w) in its cone."""
        return self.scale[index] * super().on_patches(patches, index)


@dataclass(frozen=True, eq=False)
class TwinTruth:
    """What is known of the neurons recorded from the twin: the network that made the rates.

    Their best images are known as far as ascents on that network find them.

    Parameters
    ----------
    model
        Images (B, 1, 36, 64) to rates (B, neuron), spikes a presentation without the gain, as a
        torch module: gradients flow to the images.
    rates
        Noise-free response to every image, ``(image, neuron)``.
    gain
        Gain that all neurons share in each trial, of mean 1, ``(trial,)``.
    settings
        The settings of the simulation.
    """

    model: RecordedTwin
    rates: np.ndarray
    gain: np.ndarray
    settings: V1Twin
    _found: dict[tuple, Synthesis] = field(default_factory=dict, init=False, repr=False)

    @property
    def units(self) -> np.ndarray:
        """Row in the twin of each neuron, ``(neuron,)``."""
        return self.model.units.numpy(force=True)

    def response(self) -> RecordedCone:
        """Rate of one neuron to each image, fast: what `models.synthesis` climbs."""
        return RecordedCone(self.model)

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

    def optima(self, norm: float = NORM, *, n_starts: int = 3, seed: int = 0) -> Synthesis:
        r"""Find the best image of each neuron: the highest of several ascents on the twin itself.

        .. math::

            \max_{\lVert s \rVert = \rho} a_i\, r_{u_i}(s)

        One ascent starts from the best Gabor of a bank, since a neuron that noise leaves silent
        does not move from there; the others from noise. What was found is kept: asked for again,
        it costs nothing.

        Bias: the response is a lower bound of the largest that the twin can give, because each is
        found by ascent; more starts raise it. As a property of the twin it is no more biased than
        that: the network that made the rates is climbed, not a fit to them.

        Parameters
        ----------
        norm : float
            Euclidean norm about the mean grey, in s.d. of the pixels of the training images, which
            have norm 48 in the root mean square. No bounds of single pixels are kept.
        n_starts : int
            Ascents for each neuron, at least 2.
        seed : int
            Seed of the starts.

        Returns
        -------
        Synthesis
            One row a neuron, in their order.

        Raises
        ------
        ValueError
            The norm is not above 0 and finite, or a whole number is not one.
        """
        check_number("norm", norm, "a finite number above 0", 0)
        check_whole("n_starts", n_starts, 2)
        check_whole("seed", seed, 0)
        asked = (float(norm), int(n_starts), int(seed))
        if asked not in self._found:
            self._found[asked] = _highest(self.model, *asked)
        return self._found[asked]

    def optimal_images(self, norm: float = NORM, *, n_starts: int = 3) -> np.ndarray:
        """One best image of each neuron, ``(neuron, 36, 64)``; see `optima`."""
        return self.optima(norm, n_starts=n_starts).images.copy()

    def optimal_response(self, norm: float = NORM, *, n_starts: int = 3) -> np.ndarray:
        """Highest rate of each neuron over images of a norm, ``(neuron,)``, or a little less.

        A lower bound; see `optima`.
        """
        return self.optima(norm, n_starts=n_starts).responses.copy()

    def cosine_to_optimum(
        self, images: np.ndarray, norm: float = NORM, *, n_starts: int = 3
    ) -> np.ndarray:
        """Cosine of each image with the one best image of its neuron that `optima` found.

        Bias: where a neuron has many best images, such as a grating of any phase, this is a lower
        bound of the cosine with the nearest of them.

        Parameters
        ----------
        images : (..., n_neurons, 36, 64) array
            One for each neuron, about the mean grey; their own norm does not matter.
        norm : float
            Norm of the best images.
        n_starts : int
            See `optima`.

        Returns
        -------
        (..., n_neurons) array
            0 for a blank image.

        Raises
        ------
        ValueError
            There is not one image for each neuron, or it has another size.
        """
        images = one_each(images, self.model.n_neurons).astype(float)
        best = self.optima(norm, n_starts=n_starts).images / float(norm)
        lengths = np.linalg.norm(images, axis=(-2, -1))
        return (images * best).sum(axis=(-2, -1)) / np.where(lengths > 0, lengths, 1)


@dataclass(frozen=True, kw_only=True)
class V1Twin(Presentations):
    r"""Settings of a simulated recording of the digital twin.

    Neuron i, row :math:`u_i` of the twin, counts, when image s is shown in trial t,

    .. math::

        n_{ti} \sim \text{Poisson}(g_t\, a_i\, r_{u_i}(s)),

    with r the answer of the network and :math:`a_i` such that every neuron has the same mean count
    over the training images. Images, order and gain are those of `v1_known_rf.V1KnownRF`, number
    for number where seed and counts agree. The neurons are a random draw from all of the twin that
    answer the training images at all.

    Bias: what the neurons prefer was learnt from mouse visual cortex, as far as the network could;
    how they scatter was not: mean counts and gain are choices, those of `v1_known_rf`. With them
    the fraction of explainable variance is about 0.5 in the median. The images are painted, and to
    those unlike the photographs that it was trained on the twin extrapolates.

    Parameters
    ----------
    n_neurons
        Neurons recorded, 1 or more, at most as many as the twin has.
    n_train, n_validation, n_test
        Images of each tier.
    n_repeats
        Times that each test image is shown.
    mean_count
        Mean count of every neuron over training images, without the gain.
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
    Willeke, K. F. et al. (2022). The Sensorium competition on predicting large-scale mouse primary
    visual cortex activity.
    """

    n_neurons: int = 600

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        super().__post_init__()
        check_whole("n_neurons", self.n_neurons, 1)

    def simulate(self, twin: DigitalTwin, seed: int = 0) -> ImageResponses:
        """Draw images and neurons, ask the twin, and draw counts.

        Images depend on the seed and their numbers alone.

        Parameters
        ----------
        twin
            The digital twin, such as `visualcortex.load_model` returns.
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        ImageResponses
            Counts, trials with column ``"tier"`` (train, validation, test), neurons with columns
            ``"class"`` (all ``"twin"``) and ``"unit"`` (row in the twin), images in the order of
            the tiers, and `TwinTruth`.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more, or the twin has fewer neurons that answer
            the training images.
        """
        check_whole("seed", seed, 0)
        images_rng, neurons_rng, trials_rng = (np.random.default_rng([seed, k]) for k in range(3))
        images = draw_images(self, images_rng)
        units, answers = _draw_answering(self, twin, images, neurons_rng)
        scale = self.mean_count / answers[: self.n_train].mean(axis=0, dtype=float)
        trials = draw_trials(self, trials_rng)
        truth = TwinTruth(
            model=RecordedTwin(twin, units, scale),
            rates=answers * scale.astype(answers.dtype),
            gain=draw_gain(self, len(trials), trials_rng),
            settings=self,
        )
        neurons = pd.DataFrame({"class": "twin", "unit": units}).rename_axis("neuron")
        return record(images, trials, neurons, truth, _provenance(twin), trials_rng)


def _draw_answering(
    settings: V1Twin, twin: DigitalTwin, images: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw neurons (N,) in rising order, none silent, and their answers (image, N)."""
    order = rng.permutation(twin.n_neurons)
    # all are asked only where some of the first are silent
    for asked in (order[: settings.n_neurons], order):
        everyone = RecordedTwin(twin, asked, np.ones(len(asked)))
        answers = respond(everyone, images)
        means = answers[: settings.n_train].mean(axis=0, dtype=float)
        answering = np.flatnonzero(means > SILENT)[: settings.n_neurons]
        n_answering = len(answering)
        if n_answering == settings.n_neurons:
            chosen = answering[np.argsort(asked[answering])]
            return asked[chosen], answers[:, chosen]
    raise ValueError(
        f"n_neurons must be at most the number of neurons of the twin that answer the training "
        f"images, {n_answering} of {twin.n_neurons}; got {settings.n_neurons}. Ask for fewer."
    )


def _provenance(twin: DigitalTwin) -> Provenance:
    known = twin.provenance or UNKNOWN
    return replace(
        known,
        source="Simulated counts about the answers of the digital twin",
        preprocessing=(
            *known.preprocessing,
            "simulator: every neuron brought to the same mean count over the training images; "
            "spikes counted in each presentation",
        ),
    )


def _highest(model: RecordedTwin, norm: float, n_starts: int, seed: int) -> Synthesis:
    """Climb from the best Gabor and from noise, and keep the highest summit of each neuron."""
    device = model.scale.device
    bank = paint_gabors(gabor_table(*SHAPE, N_GABORS, seed=seed), *SHAPE)
    gabors = best_of_bank(model, bank, norm, batch_size=AT_A_TIME, device=device).images
    # a Gabor that the neuron does not see leaves the noise, which becomes the start
    rng = np.random.default_rng(seed)
    gabors = gabors + FAINT * norm * rng.standard_normal(gabors.shape, dtype=np.float32)
    response, neurons = RecordedCone(model), np.arange(model.n_neurons)
    noise = np.repeat(neurons, n_starts - 1)
    climbs = [
        most_exciting_images(
            response, climbers, SHAPE, norm=norm, init=init, seed=seed, device=device
        )
        for climbers, init in ((neurons, gabors), (noise, None))
    ]
    joined = zip(*(vars(climb).values() for climb in climbs), strict=True)
    return Synthesis(*map(np.concatenate, joined)).best()
