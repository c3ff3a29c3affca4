"""Images shown in tiers, and the spikes counted: what simulators of trials have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn
from torch.nn import functional

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.simulators import scenes
from visualcortex.simulators.receptive_fields import HEIGHT, WIDTH
from visualcortex.simulators.settings import check_number, check_whole

BLACK, WHITE = -1.83, 2.36  # range of photographs in s.d. of their pixels (Walker et al. 2019)
NORM = 12.0  # of the best images, where nothing else is asked for
AT_A_TIME = 32  # images answered at once: bounds memory, and larger batches are slower

Images = TypeVar("Images", np.ndarray, torch.Tensor)


class Truth(Protocol):
    """What is needed of the truth to count spikes."""

    rates: np.ndarray  # (image, neuron)
    gain: np.ndarray  # (trial,)


@dataclass(frozen=True, kw_only=True)
class Presentations:
    """Settings of the images, the order in which they are shown, and the counts.

    Parameters
    ----------
    n_train, n_validation, n_test
        Images of each tier.
    n_repeats
        Times that each test image is shown; others are shown once.
    mean_count
        Mean count over training images; how it differs between neurons is up to the simulator.
    gain_sd
        S.d. of the logarithm of the common gain; 0 for pure Poisson noise.
    gain_trials
        Trials in which the autocorrelation of the gain falls to 1/e.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    n_train: int = 4000
    n_validation: int = 400
    n_test: int = 100
    n_repeats: int = 10
    mean_count: float = 1.0
    gain_sd: float = 0.2
    gain_trials: float = 100.0

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        least = {"n_train": 50, "n_validation": 1, "n_test": 1, "n_repeats": 1}
        for name, smallest in least.items():
            check_whole(name, getattr(self, name), smallest)
        for name in ("mean_count", "gain_trials"):
            check_number(name, getattr(self, name), "a finite number above 0", 0)
        check_number("gain_sd", self.gain_sd, "a finite number, 0 or more", 0, closed=True)


def draw_images(settings: Presentations, rng: np.random.Generator) -> np.ndarray:
    """Draw natural-like images in the order of the tiers, ``(image, 36, 64)``, float32.

    Scenes of 68 x 90 degrees, interpolated; the 50 degrees in the middle are kept. Clipped to the
    range of photographs, then freed of the mean and divided by the s.d. of all pixels of the
    training images.
    """
    n = settings.n_train + settings.n_validation + settings.n_test
    no_category = np.zeros((1, len(scenes.LATENTS)))
    latents = scenes.draw_latents(np.zeros(n, int), no_category, rng=rng)
    painted = torch.from_numpy(scenes.render(latents, rng=rng))[:, None]
    height = round(WIDTH * scenes.HEIGHT / scenes.WIDTH)
    larger = functional.interpolate(painted, size=(height, WIDTH), mode="bicubic")[:, 0]
    top = (height - HEIGHT) // 2
    images = _standard(larger[:, top : top + HEIGHT].numpy(), settings.n_train)
    return _standard(images.clip(BLACK, WHITE), settings.n_train)


def draw_trials(settings: Presentations, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the order of all presentations: columns ``"stimulus"``, ``"session"``, ``"tier"``."""
    counts = (settings.n_train, settings.n_validation, settings.n_test)
    tier = np.repeat(["train", "validation", "test"], counts)
    times = np.where(tier == "test", settings.n_repeats, 1)
    stimulus = rng.permutation(np.repeat(np.arange(len(tier)), times))
    return pd.DataFrame({"stimulus": stimulus, "session": 0, "tier": tier[stimulus]})


def draw_gain(settings: Presentations, n_trials: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the gain that all neurons share, ``(trial,)``: log-normal, of mean 1, autoregressive."""
    memory = np.exp(-1 / settings.gain_trials)
    state = rng.standard_normal(n_trials)
    state[1:] *= np.sqrt(1 - memory**2)
    for t in range(1, n_trials):
        state[t] += memory * state[t - 1]
    return np.exp(settings.gain_sd * state - settings.gain_sd**2 / 2)


def record(
    images: np.ndarray,
    trials: pd.DataFrame,
    neurons: pd.DataFrame,
    truth: Truth,
    provenance: Provenance,
    rng: np.random.Generator,
) -> ImageResponses:
    """Count spikes: Poisson about the gain of the trial times the rate to its image."""
    counts = rng.poisson(truth.gain[:, None] * truth.rates[trials["stimulus"]])
    return ImageResponses(
        responses=xr.DataArray(
            counts.astype("f4"),
            dims=("trial", "neuron"),
            attrs={"quantity": "spike count", "units": "spikes"},
        ),
        trials=trials,
        neurons=neurons,
        provenance=provenance,
        images=images,
        truth=truth,
    )


def respond(model: nn.Module, images: Images) -> Images:
    """Answer of a model of neurons, without noise, to images.

    Parameters
    ----------
    model : module
        Images (B, 1, 36, 64) to answers (B, N).
    images : (B, 36, 64) or (B, 1, 36, 64) array or tensor
        About the mean grey.

    Returns
    -------
    (B, N) array or tensor
        What was given; of a tensor, with its gradient.

    Raises
    ------
    ValueError
        The images have another size.
    """
    size = (HEIGHT, WIDTH)
    if tuple(images.shape[1:]) not in (size, (1, *size)):
        raise ValueError(
            f"images must be (B, 36, 64) or (B, 1, 36, 64); got {tuple(images.shape)}. "
            f"Crop or resize them."
        )
    if isinstance(images, torch.Tensor):
        return model(images.reshape(-1, 1, *size))
    like = next(value for value in model.buffers() if value.is_floating_point())
    shown = torch.as_tensor(images).reshape(-1, 1, *size)
    with torch.no_grad():
        parts = [model(part.to(like)).numpy(force=True) for part in shown.split(AT_A_TIME)]
    return np.concatenate(parts)


def one_each(images: np.ndarray, n_neurons: int) -> np.ndarray:
    """Return the images as an array if they are one for each neuron, ``(..., neuron, 36, 64)``.

    Raises
    ------
    ValueError
        They are not, or have another size.
    """
    images = np.asarray(images)
    expected = (n_neurons, HEIGHT, WIDTH)
    if images.shape[-3:] != expected:
        raise ValueError(
            f"images must be (..., {', '.join(map(str, expected))}), one for each neuron; got "
            f"{images.shape}. Give an image to every neuron."
        )
    return images


def _standard(images: np.ndarray, n_train: int) -> np.ndarray:
    train = images[:n_train]
    return (images - train.mean(dtype=float).astype("f4")) / train.std(dtype=float).astype("f4")
