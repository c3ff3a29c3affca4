"""The parts of a simulated visual system: areas, cells, what drives them, who connects to whom."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from visualcortex.models.gabor import GaborPyramid, gabor_energy
from visualcortex.simulators import scenes
from visualcortex.simulators.spiking_network import STEP_MS, Synapses

SLOT_MS = 250  # a scene stays for so long, and the next follows at once
SLOT_STEPS = SLOT_MS // STEP_MS
EXCITATORY = 0.8  # share of the neurons
RISE, TRANSIENT, FALL, SUSTAINED = 12.0, 40.0, 60.0, 0.45  # ms, ms, ms, of the peak


class Area(NamedTuple):
    """How an area answers scenes.

    The order of the latencies is that of Siegle, Jia, Durand and others (2021); how many neurons
    are tuned to scenes is calibrated.
    """

    latency: float  # ms
    responsive: float  # share of the neurons that are tuned to scenes
    probe: str


AREAS = {
    "VISp": Area(45, 0.75, "probeC"),
    "VISl": Area(52, 0.6, "probeD"),
    "VISrl": Area(52, 0.5, "probeF"),
    "VISal": Area(58, 0.5, "probeE"),
    "VISpm": Area(62, 0.4, "probeB"),
    "VISam": Area(64, 0.4, "probeA"),
    "LGd": Area(35, 0.5, "probeC"),
    "LP": Area(55, 0.3, "probeD"),
    "CA1": Area(80, 0.05, "probeE"),
}

# Probability of a synapse, source to target: within an area, mouse visual cortex (Campagnola and
# others 2022, Song and others 2005); between areas only excitatory cells project.
CONNECTED = {("E", "E"): 0.1, ("E", "I"): 0.3, ("I", "E"): 0.35, ("I", "I"): 0.3}
PROJECTING = 0.01
# These hold for so many neurons within an area, and in all others: larger areas are sparser, so
# that a neuron has as many synapses.
NEAR, FAR = 200, 400
# Amplitude of a synapse in mV is log-normal: mean and s.d. of its logarithm (Song and others
# 2005: 0.77 mV on average); inhibition is stronger, since its neurons are fewer.
AMPLITUDE = (-0.702, 0.9355)
INHIBITION = 2.0
DELAYS = ((1, 3), (3, 7))  # ms, first and last but one: within an area, between areas


def draw_cells(
    areas: tuple[str, ...], n_cells: tuple[int, ...], rng: np.random.Generator
) -> pd.DataFrame:
    """Draw the cells of all areas: ``area``, ``probe``, ``cell_type`` (E or I), median rate, Hz.

    Rates are log-normal over cells, as in cortex (Buzsáki and Mizuseki 2014), those of inhibitory
    cells higher.
    """
    area = np.repeat(areas, n_cells)
    inhibitory = np.concatenate([np.arange(n) >= round(EXCITATORY * n) for n in n_cells])
    cell_type = np.where(inhibitory, "I", "E")
    rate = np.where(inhibitory, 8.0, 3.5) * np.exp(0.9 * rng.standard_normal(len(area)))
    probe = [AREAS[name].probe for name in area]
    columns = {"area": area, "probe": probe, "cell_type": cell_type, "rate_hz": rate.clip(0.2, 40)}
    return pd.DataFrame(columns)


def draw_synapses(cells: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the matrices of weights, mV, and delays, ms, both ``(source, target)``.

    All synapses of a cell have one sign (Dale's law); no cell has a synapse with itself.
    """
    area, kind = cells["area"].to_numpy(), cells["cell_type"].to_numpy()
    n = len(cells)
    within = area[:, None] == area
    local = np.array([[CONNECTED[a, b] for b in "EI"] for a in "EI"])
    code = (kind == "I").astype(int)
    near = local[code[:, None], code] * np.minimum(1, NEAR / within.sum(axis=0))
    far = PROJECTING * np.minimum(1, FAR / np.maximum(1, (~within).sum(axis=0)))
    probability = np.where(within, near, far * (code == 0)[:, None])
    np.fill_diagonal(probability, 0)
    amplitude = rng.lognormal(*AMPLITUDE, size=(n, n)).clip(0, 5)
    sign = np.where(code == 0, 1.0, -INHIBITION)[:, None]
    weights = np.where(rng.random((n, n)) < probability, amplitude * sign, 0)
    short, long = (rng.integers(*span, size=(n, n)) for span in DELAYS)
    return weights.astype(np.float32), np.where(within, short, long)


def as_synapses(weights: np.ndarray, delays: np.ndarray) -> Synapses:
    """Return the same as the engine takes it."""
    return Synapses.of(weights, delays)


def draw_scenes(n_scenes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw natural-like images, ``(scene, 34, 45)``."""
    latents = scenes.draw_latents(
        np.zeros(n_scenes, int), np.zeros((1, len(scenes.LATENTS))), rng=rng
    )
    return scenes.render(latents, rng=rng)


def scene_features(images: np.ndarray, n_features: int) -> np.ndarray:
    """Return what neurons see of the images, ``(scene, feature)``, uncorrelated, unit variance.

    The leading principal components of local luminance and of the energy of Gabor filters, each
    of these two groups with the same variance in all.
    """
    small = images[:, :32, :40].reshape(len(images), 8, 4, 8, 5).mean(axis=(2, 4))
    height, width = images.shape[1:]
    pyramid = GaborPyramid(height, width, frequencies=(0.06, 0.12))
    energy = np.log1p(gabor_energy(images, pyramid.pair, device="cpu"))
    groups = [group.reshape(len(images), -1) for group in (small, energy)]
    groups = [g - g.mean(axis=0) for g in groups]
    both = np.concatenate([g / np.linalg.norm(g) for g in groups], axis=1)
    components = np.linalg.svd(both, full_matrices=False)[0][:, :n_features]
    return (components * np.sqrt(len(images))).astype(np.float32)


def draw_tuning(
    cells: pd.DataFrame, features: np.ndarray, tuning: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the drive at its peak by each scene, mV, ``(scene, neuron)``.

    A tuned cell weighs the features at random, weak ones less; its tuning has an s.d. over scenes
    that varies between cells about `tuning`. Cells that are not tuned have none.
    """
    n_features = features.shape[1]
    weights = (
        rng.standard_normal((n_features, len(cells))) / np.arange(1, n_features + 1)[:, None] ** 0.5
    )
    drive = features @ weights
    drive /= drive.std(axis=0)
    responsive = np.array([AREAS[area].responsive for area in cells["area"]])
    tuned = rng.random(len(cells)) < responsive
    strength = np.where(tuned, tuning * rng.gamma(4, 0.25, size=len(cells)), 0)
    return (drive * strength).astype(np.float32)


def time_courses(areas: tuple[str, ...]) -> np.ndarray:
    """Return the course of the drive from the onset of a scene on, ``(area, step)``, peak 1.

    It rises after the latency of the area, falls to a sustained part, and ends a latency after
    the scene: the second half is felt during the next scene.
    """
    t = np.arange(2 * SLOT_STEPS) * STEP_MS + STEP_MS / 2

    def since(start: np.ndarray) -> np.ndarray:
        """Time that has passed since then, ms, and 0 before."""
        return np.maximum(t - start, 0)

    courses = []
    for name in areas:
        on, off = since(AREAS[name].latency), since(AREAS[name].latency + SLOT_MS)
        rise = 1 - np.exp(-on / RISE)
        course = rise * (SUSTAINED + (1 - SUSTAINED) * np.exp(-on / TRANSIENT))
        courses.append(course * np.exp(-off / FALL))
    courses = np.array(courses)
    return (courses / courses.max(axis=1, keepdims=True)).astype(np.float32)
