"""Simulated inferior temporal cortex: sites that read a known layer of a hidden network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.simulators import objects
from visualcortex.simulators.settings import check_choice, check_number, check_whole
from visualcortex.simulators.ventral_network import LAYERS, hidden_layer, hidden_network

PROVENANCE = Provenance(
    source="Simulated sites that read a hidden network",
    citation="",
    licence="MIT",
    url="",
    sha256={},
    preprocessing=("simulator: rate of each presentation, normalised for each site",),
)
SHARES = (0.81, 0.09, 0.10)  # of pictures: training, validation, test
TIERS = ("train", "validation", "test")


class Sites(nn.Module):
    r"""Responses of sites that read maps of features, without noise.

    .. math:: r_i = \operatorname{softplus}\big(2\,(d_i + 1)\big), \qquad
              d_i = \frac{\langle k_i, \phi \rangle - m_i}{s_i}

    with :math:`\phi` (C, H, W) the features, :math:`k_i` the kernel of the site, and m and s mean
    and s.d. over the pictures of the recording; the responses are then standardised alike.

    Parameters
    ----------
    kernels : (N, C, H, W) tensor
    features : (M, C, H, W) tensor
        By which drives and responses are standardised.
    """

    def __init__(self, kernels: Tensor, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernels", kernels.flatten(1))
        drive = features.flatten(1) @ self.kernels.T
        self.register_buffer("centre", drive.mean(0))
        self.register_buffer("scale", drive.std(0))
        rates = functional.softplus(2 * ((drive - self.centre) / self.scale + 1))
        self.register_buffer("mean", rates.mean(0))
        self.register_buffer("sd", rates.std(0))

    def forward(self, features: Tensor) -> Tensor:
        """Responses (B, N) to features (B, C, H, W)."""
        drive = (features.flatten(1) @ self.kernels.T - self.centre) / self.scale
        return (functional.softplus(2 * (drive + 1)) - self.mean) / self.sd


@dataclass(frozen=True, eq=False)
class VentralTruth:
    """What is known of the simulated sites: everything.

    Parameters
    ----------
    layer
        The layer that the sites read, one of `LAYERS`.
    network
        The hidden network: pictures (B, 3, 64, 64) to logits of objects.
    sites
        From the features of that layer to responses.
    signal
        Response without noise to every picture, ``(image, site)``; variance 1 over pictures.
    noise_sd
        S.d. of the noise of one presentation, ``(site,)``.
    reliability
        Share of the variance of the mean over repeats that is due to the picture, ``(site,)``:
        the largest explained variance there can be, and the square of the largest correlation.
    settings
        The settings of the simulation.
    """

    layer: str
    network: nn.Module
    sites: Sites
    signal: np.ndarray
    noise_sd: np.ndarray
    reliability: np.ndarray
    settings: Ventral

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of the layer that the sites read, ``(image, channel, row, column)``."""
        return hidden_layer(self.network, images, self.layer).numpy()

    def respond(self, images: np.ndarray) -> np.ndarray:
        """Response without noise to any pictures, ``(image, site)``.

        Parameters
        ----------
        images : (B, 3, 64, 64) array
            RGB from 0 to 1.
        """
        with torch.inference_mode():
            return self.sites(hidden_layer(self.network, images, self.layer)).numpy()


@dataclass(frozen=True, kw_only=True)
class Ventral:
    r"""Settings of a simulated recording of inferior temporal cortex.

    A hidden residual network was trained to name 64 `objects`, whatever their place, size, pose
    and background (`ventral_network`; it is the same in every simulation). Each site weighs a few
    channels of one of its layers through a window, passes the sum through a soft threshold, as in
    `Sites`, and is recorded with Gaussian noise, independent between presentations and sites:

    .. math:: y_{tri} = r_i(s_t) + \sigma_i\, \varepsilon_{tri}.

    Numbers as in the public pictures of Majaj et al. (2015): 64 objects of eight categories, ten
    pictures each without and forty with variation, 168 sites, and a reliability of the mean over
    all presentations of 0.82 in the median (Schrimpf et al. 2018; there of 46 presentations, here,
    for time, of fewer with less noise each). Pictures are divided at random into training,
    validation and test, 2592, 288 and 320 of 3200, as in a published course (NX-414, EPFL).

    *Choices*, for want of a published figure: that sites read one layer only, the number of
    channels and the window of a site, its soft threshold one s.d. below the mean (sites of many
    units are silent for few pictures; with a higher one, linear readouts explain less), the spread
    of reliability over sites.

    Parameters
    ----------
    layer
        The layer that the sites read: "stage 1" to "stage 4".
    n_sites
        Number of sites.
    n_plain, n_varied
        Pictures of each object without and with variation.
    n_repeats
        Presentations of each picture.
    reliability
        Median over sites of the reliability of the mean over presentations, between 0 and 1.
    reliability_spread
        S.d. over sites of the logarithm of the variance of the noise.
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
    Majaj, N. J., Hong, H., Solomon, E. A. & DiCarlo, J. J. (2015). Simple learned weighted sums of
    inferior temporal neuronal firing rates accurately predict human core object recognition
    performance. J. Neurosci. 35. Schrimpf, M. et al. (2018). Brain-Score: which artificial neural
    network for object recognition is most brain-like? bioRxiv 407007.
    """

    layer: str = "stage 3"
    n_sites: int = 168
    n_plain: int = 10
    n_varied: int = 40
    n_repeats: int = 24
    reliability: float = 0.82
    reliability_spread: float = 0.6
    n_channels: int = 8
    window: float = 0.5

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        check_choice("layer", self.layer, LAYERS)
        least = {"n_sites": 1, "n_plain": 0, "n_varied": 1, "n_repeats": 1, "n_channels": 1}
        for name, smallest in least.items():
            check_whole(name, getattr(self, name), smallest)
        check_number("reliability", self.reliability, "a number above 0 and below 1", 0, 1)
        check_number("window", self.window, "a finite number above 0", 0)
        wanted = "a finite number, 0 or more"
        check_number("reliability_spread", self.reliability_spread, wanted, 0, closed=True)

    def simulate(self, seed: int = 0) -> ImageResponses:
        """Draw pictures, sites and noise.

        Parameters
        ----------
        seed : int
            Of everything but the objects and the hidden network.

        Returns
        -------
        ImageResponses
            With a `VentralTruth`, ``images`` (image, 3, 64, 64) and ``stimuli`` with columns
            ``"stimulus_id"``, ``"object"``, ``"category"``, ``"variation"`` (0 or 3) and
            ``"tier"``, which `trials` has as well. Presentations are in random order.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        rng = np.random.default_rng(seed)
        stimuli = _draw_stimuli(self, rng)
        images = draw_images(stimuli, rng)
        network = hidden_network()
        features = hidden_layer(network, images, self.layer)
        form = {"n_channels": self.n_channels, "window": self.window}
        sites = Sites(draw_kernels(features, self.n_sites, rng, **form), features)
        with torch.inference_mode():
            signal = sites(features).numpy()
        spread = np.exp(self.reliability_spread * rng.standard_normal(self.n_sites))
        noise = (1 / self.reliability - 1) * spread  # variance of that of the mean
        truth = VentralTruth(
            layer=self.layer,
            network=network,
            sites=sites,
            signal=signal,
            noise_sd=np.sqrt(self.n_repeats * noise),
            reliability=1 / (1 + noise),
            settings=self,
        )
        return _recorded(stimuli, images, truth, rng)


def draw_images(stimuli: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Paint one picture for each row with ``"object"`` and ``"variation"`` (0 or 3)."""
    number = {name: k for k, name in enumerate(objects.object_names())}
    shown = stimuli["object"].map(number).to_numpy()
    views = objects.draw_views(stimuli["variation"].to_numpy() / 3, rng)
    return objects.render(shown, views, rng)


def _draw_stimuli(settings: Ventral, rng: np.random.Generator) -> pd.DataFrame:
    names = objects.object_names()
    variation = np.repeat([0, 3], (settings.n_plain, settings.n_varied))
    shown = np.repeat(names, len(variation))
    n = len(shown)
    tier = np.repeat(TIERS, _sizes(n))
    return pd.DataFrame(
        {
            "stimulus_id": [f"picture-{k:04d}" for k in range(n)],
            "object": shown,
            "category": [name[0] for name in shown],
            "variation": np.tile(variation, len(names)),
            "tier": rng.permutation(tier),
        }
    )


def _sizes(n_images: int) -> list[int]:
    """How many pictures are in each tier."""
    borders = np.rint(np.cumsum(SHARES) * n_images).astype(int)
    return np.diff([0, *borders]).tolist()


def draw_kernels(
    features: Tensor, n_sites: int, rng: np.random.Generator, *, n_channels: int, window: float
) -> Tensor:
    """Draw the kernels of sites: a Gaussian window times the weights of a few channels.

    Weights are normal, over the s.d. of their channel; centres of windows are uniform within half
    the width and height of the maps.

    Parameters
    ----------
    features : (M, C, H, W) tensor
        Of the layer that the sites read.
    n_sites : int
        Number of sites, N.
    rng : numpy.random.Generator
        Source of the draws.
    n_channels : int
        Channels that a site weighs; all, if there are fewer.
    window : float
        S.d. of the window, in half widths of the maps.

    Returns
    -------
    (N, C, H, W) tensor of float32
    """
    _, n_maps, height, width = features.shape
    order = rng.random((n_sites, n_maps)).argsort(axis=1)
    weights = rng.standard_normal((n_sites, n_maps)) * (order < n_channels)
    weights = weights / (features.std(dim=(0, 2, 3)).numpy() + 1e-6)
    centre = rng.uniform(-0.5, 0.5, (2, n_sites, 1))
    rows, columns = _window(centre[0], height, window), _window(centre[1], width, window)
    kernels = np.einsum("nc,nh,nw->nchw", weights, rows, columns)
    return torch.from_numpy(kernels.astype(np.float32))


def _window(centre: np.ndarray, n: int, sd: float) -> np.ndarray:
    """Gaussian weights (N, n) about centres (N, 1), the largest 1 however narrow the window."""
    square = ((np.arange(n) + 0.5) / n * 2 - 1 - centre) ** 2
    return np.exp(-(square - square.min(axis=1, keepdims=True)) / 2 / sd**2)


def _recorded(
    stimuli: pd.DataFrame, images: np.ndarray, truth: VentralTruth, rng: np.random.Generator
) -> ImageResponses:
    n_images, n_sites = truth.signal.shape
    shown = rng.permutation(np.repeat(np.arange(n_images), truth.settings.n_repeats))
    responses = rng.standard_normal((len(shown), n_sites), dtype=np.float32)
    responses *= truth.noise_sd.astype(np.float32)
    responses += truth.signal[shown]
    trials = {"stimulus": shown, "session": 0, "tier": stimuli["tier"].to_numpy()[shown]}
    attrs = {"quantity": "mean rate, normalised", "units": "s.d. of the noise-free response"}
    return ImageResponses(
        responses=xr.DataArray(responses, dims=("trial", "neuron"), attrs=attrs),
        trials=pd.DataFrame(trials),
        neurons=pd.DataFrame({"site": np.arange(n_sites)}).rename_axis("neuron"),
        provenance=PROVENANCE,
        images=images,
        stimuli=stimuli,
        truth=truth,
    )
