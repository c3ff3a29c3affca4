"""Simulated monkey and human inferior temporal cortex, of which only dissimilarities are left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from visualcortex.evaluation.representations import rdm
from visualcortex.recording import Dissimilarities, Provenance
from visualcortex.simulators import objects
from visualcortex.simulators.settings import check_choice, check_number, check_whole
from visualcortex.simulators.ventral import Sites, draw_images, draw_kernels
from visualcortex.simulators.ventral_network import LAYERS, hidden_layer, hidden_network

PROVENANCE = Provenance(
    source="Simulated subjects whose sites read a hidden network",
    citation="",
    licence="MIT",
    url="",
    sha256={},
    preprocessing=(
        "simulator: response to each picture, normalised for each site, blurred over voxels "
        "(humans)",
        "simulator: dissimilarity of two pictures = 1 - Pearson correlation of the responses to "
        "them, across sites (monkey) or voxels (humans)",
    ),
)
MONKEY = "monkey"
N_LIMIT, BATCH = 2**14, 2**11  # sites that stand for all sites; so many at a time


@dataclass(frozen=True, eq=False)
class VentralSubjectsTruth:
    """What is known of the simulated subjects: everything.

    Parameters
    ----------
    layer
        The layer that all subjects read, one of `LAYERS`.
    network
        The hidden network: pictures (B, 3, 64, 64) to logits of objects.
    rdms
        Noise-free matrix of each subject, ``(subject, image, image_2)``, the monkey first, then
        the humans in order.
    limit
        Noise-free matrix of all the sites there could be, ``(image, image_2)``: what the subjects
        have in common. Of 16384 sites, hence with an error of 1 / 128 at most (s.d.), small beside
        the s.d. of about 0.25 of its entries.
    settings
        The settings of the simulation.
    """

    layer: str
    network: nn.Module
    rdms: np.ndarray
    limit: np.ndarray
    settings: VentralSubjects


@dataclass(frozen=True, kw_only=True)
class VentralSubjects:
    r"""Settings of simulated subjects that see the same pictures, and are known by their RDMs.

    The twin of the dissimilarities of Kriegeskorte et al. (2008): 92 pictures; 674 sites of a
    monkey; 316 voxels of each of four humans, in two sessions. All read the same layer of the
    hidden network of `Ventral`, each subject through sites of its own, drawn as there (`Sites`,
    `draw_kernels`). A human's sites lie on a ring, and each voxel is a mean over neighbours:

    .. math::

        y_i(s) = \sum_j g_{i-j} \big(r_j(s) + \sigma\, \varepsilon_{js}\big), \qquad
        D_{ss'} = 1 - \operatorname{corr}_i\big(y_i(s), y_i(s')\big),

    with r the response without noise, of variance 1 over the pictures, Gaussian noise
    :math:`\varepsilon` new in each session, and g a Gaussian of s.d. `blur`, or none for the
    monkey. Without noise and of infinitely many sites D is the same with and without blur: that
    limit is what subjects have in common. They differ by which sites they have and by noise.

    Settings were fitted to these Spearman correlations of matrices, measured on the data of
    Kriegeskorte et al. (2008), which the simulation gives on average (16 seeds):

    - two sessions of a human: 0.22 (from 0.10 to 0.38); simulated 0.22;
    - single sessions of two humans: 0.17; simulated 0.17;
    - bounds of `rdm_noise_ceiling` over the humans, sessions averaged: 0.37 and 0.67; simulated
      0.37 and 0.67;
    - monkey and mean human: 0.44; simulated 0.44; monkey and a human, sessions averaged: 0.30;
      simulated 0.30.

    The s.d. of the entries of a human matrix is 0.17 in both; that of the monkeys' matrix is 0.09
    and here 0.05. For all that keeps the species apart is put down to noise of the monkey: its
    reliability is fitted, and no figure of real neurons. No repetition is published that would
    tell how much of it is.

    Pictures show all 64 objects with full variation, then as many of them again as it takes, of
    all categories alike. *Choices*: those of `Ventral`, and full variation, for with the objects
    upright in the middle the matrices of pixels and of all layers are more alike.

    Bias: the matrix of the plain features of a layer is not the limit of its sites, which pool
    over positions and weigh all channels alike. It may be nearer to the plain features of a later
    layer, which are less bound to positions.

    Parameters
    ----------
    layer
        The layer that all subjects read: "stage 1" to "stage 4".
    n_images
        Number of pictures, 3 or more.
    n_sites
        Sites of the monkey.
    n_subjects, n_sessions
        Humans, and sessions of each.
    n_voxels
        Voxels of a human.
    monkey_reliability, session_reliability
        Share of the variance of the response of a site of the monkey, and of a human's in one
        session before the blur, that is due to the picture; between 0 and 1.
    blur
        S.d. of g in voxels, less than a quarter of their number.
    n_channels
        Channels that a site weighs; all, if the layer has fewer.
    window
        S.d. of the Gaussian window of a site, in half widths of the picture.

    Raises
    ------
    ValueError
        A setting is outside its range.

    References
    ----------
    Kriegeskorte, N. et al. (2008). Matching categorical object representations in inferior
    temporal cortex of man and monkey. Neuron 60.
    """

    layer: str = "stage 3"
    n_images: int = 92
    n_sites: int = 674
    n_subjects: int = 4
    n_sessions: int = 2
    n_voxels: int = 316
    monkey_reliability: float = 0.105
    session_reliability: float = 0.28
    blur: float = 3.0
    n_channels: int = 8
    window: float = 0.5

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        check_choice("layer", self.layer, LAYERS)
        least = {"n_images": 3, "n_sites": 2, "n_subjects": 1, "n_sessions": 1}
        for name, smallest in (least | {"n_voxels": 2, "n_channels": 1}).items():
            check_whole(name, getattr(self, name), smallest)
        for name in ("monkey_reliability", "session_reliability"):
            wanted = "a number above 0 and below 1"
            check_number(name, getattr(self, name), wanted, 0, 1)
        check_number("window", self.window, "a finite number above 0", 0)
        wanted = "a number from 0 to less than a quarter of n_voxels"
        check_number("blur", self.blur, wanted, 0, self.n_voxels / 4, closed=True)

    def simulate(self, seed: int = 0) -> Dissimilarities:
        """Draw pictures, the sites of each subject, and noise.

        Pictures depend on the seed and their number alone, a subject's sites and noise not on how
        many others there are.

        Parameters
        ----------
        seed : int
            Of everything but the objects and the hidden network.

        Returns
        -------
        Dissimilarities
            The matrix of the monkey first, then the human ones session by session, from 0; with
            ``images`` (image, 3, 64, 64), ``stimuli`` with columns ``"stimulus_id"``,
            ``"object"``, ``"category"`` and ``"variation"`` (3), and a `VentralSubjectsTruth`.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        pictures, all_sites, *own = (
            np.random.default_rng([seed, k]) for k in range(3 + self.n_subjects)
        )
        stimuli = _stimuli(self.n_images)
        images = draw_images(stimuli, pictures)
        network = hidden_network()
        features = hidden_layer(network, images, self.layer)
        monkey = _monkey(self, features, own[0])
        humans = np.stack([_human(self, features, rng) for rng in own[1:]])  # (N, 1 + S, M, M)
        truth = VentralSubjectsTruth(
            layer=self.layer,
            network=network,
            rdms=np.concatenate([monkey[:1], humans[:, 0]]),
            limit=rdm(_noise_free(self, features, N_LIMIT, all_sites), device="cpu"),
            settings=self,
        )
        recorded = np.concatenate([monkey[1:], *humans[:, 1:].swapaxes(0, 1)]).astype(np.float32)
        attrs = {"quantity": "1 - Pearson correlation", "units": "1"}
        return Dissimilarities(
            rdms=xr.DataArray(recorded, dims=("rdm", "image", "image_2"), attrs=attrs),
            subjects=_subjects(self),
            stimuli=stimuli,
            provenance=PROVENANCE,
            images=images,
            truth=truth,
        )


def _stimuli(n_images: int) -> pd.DataFrame:
    """Pictures of all objects in turn, of all categories alike, sorted by object."""
    names = np.array(objects.object_names()).reshape(objects.N_CATEGORIES, -1)
    shown = np.sort(np.resize(names.T, n_images))
    return pd.DataFrame(
        {
            "stimulus_id": [f"picture-{k:02d}" for k in range(n_images)],
            "object": shown,
            "category": [name[0] for name in shown],
            "variation": 3,
        }
    )


def _subjects(settings: VentralSubjects) -> pd.DataFrame:
    """One row a matrix: the monkey, then all humans session by session."""
    rows = [("monkey", MONKEY, 0, "IT", settings.n_sites)]
    rows += [
        ("human", f"human-{k + 1}", session, "IT", None)
        for session in range(settings.n_sessions)
        for k in range(settings.n_subjects)
    ]
    table = pd.DataFrame(rows, columns=["species", "subject", "session", "region", "n_neurons"])
    return table.astype({"n_neurons": "Int64"})


def _monkey(settings: VentralSubjects, features: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Matrices of the sites without noise and with, (2, M, M)."""
    clean = _noise_free(settings, features, settings.n_sites, rng)
    return _rdms(clean, settings.monkey_reliability, 1, 0.0, rng)


def _human(settings: VentralSubjects, features: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Matrices of the voxels without noise and in each session, (1 + S, M, M)."""
    clean = _noise_free(settings, features, settings.n_voxels, rng)
    return _rdms(clean, settings.session_reliability, settings.n_sessions, settings.blur, rng)


def _noise_free(
    settings: VentralSubjects, features: Tensor, n_sites: int, rng: np.random.Generator
) -> np.ndarray:
    """Responses of new sites without noise, (M, n_sites)."""
    responses, form = [], {"n_channels": settings.n_channels, "window": settings.window}
    for start in range(0, n_sites, BATCH):
        kernels = draw_kernels(features, min(BATCH, n_sites - start), rng, **form)
        with torch.inference_mode():
            responses.append(Sites(kernels, features)(features).numpy())
    return np.concatenate(responses, axis=1)


def _rdms(
    clean: np.ndarray, reliability: float, n_sessions: int, blur: float, rng: np.random.Generator
) -> np.ndarray:
    """Matrices without noise and of sessions with noise, (1 + n_sessions, M, M)."""
    sd = np.sqrt(1 / reliability - 1)
    noise = sd * rng.standard_normal((n_sessions, *clean.shape))
    recorded = (clean, *(clean + noise))
    return np.stack([rdm(_blurred(responses, blur), device="cpu") for responses in recorded])


def _blurred(responses: np.ndarray, sd: float) -> np.ndarray:
    """Responses (M, N) averaged over a ring of sites with Gaussian weights."""
    n = responses.shape[1]
    passed = np.exp(-2 * (np.pi * sd * np.fft.rfftfreq(n)) ** 2)
    return np.fft.irfft(np.fft.rfft(responses) * passed, n)
