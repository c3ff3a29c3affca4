"""A network of 80 leaky integrate-and-fire neurons, simulated for this book and kept.

An archive of arrays: ``spike_ms`` and ``spike_id`` of all spikes; ``W``, jumps in mV, *rows are
targets*; ``n_excitatory``, the first so many neurons; ``duration_ms``; ``calcium_30hz``
``(frame, neuron)``, spikes summed per frame of ``calcium_frame_ms``, with an exponential decay of
0.6 s and noise of 0.3 spikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import CalciumSpikes, Provenance, SpikeTrains
from visualcortex.sources.arrays import read_arrays
from visualcortex.sources.fetch import checksum
from visualcortex.spikes import SpikeTimes, contiguous_counts
from visualcortex.spontaneous import KnownWiring, spontaneous_trains

DELAY = 2.0  # ms, of every synapse
DECAY, NOISE = 0.6, 0.3  # s; spikes
SPIKES = ("spike_ms", "spike_id", "W", "n_excitatory", "duration_ms")
CALCIUM = ("calcium_30hz", "calcium_frame_ms")


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownCalcium:
    """What is known of calcium traces of a network: its wiring, and the indicator.

    Parameters
    ----------
    wiring
        Of the same neurons.
    spikes
        Of the same neurons, s.
    decay
        Time constant of calcium, s.
    noise
        S.d. of the noise of a frame, in units of a spike.
    """

    wiring: KnownWiring
    spikes: SpikeTimes
    decay: float
    noise: float


def read_lif80(path: Path) -> SpikeTrains:
    """Read the spikes.

    Parameters
    ----------
    path
        ``lif80.npz``.

    Returns
    -------
    SpikeTrains
        A quarter of an hour; ``spikes`` in s, in the middle of their ms. ``truth`` is
        `KnownWiring`, weights in mV, ``(source, target)``.

    Raises
    ------
    ValueError
        The file is damaged or of another form.
    """
    content = read_arrays(path, SPIKES)
    wiring = _wiring(content, path)
    return spontaneous_trains(_spikes(content, path), wiring, _provenance(path, "spikes"))


def read_lif80_calcium(path: Path) -> CalciumSpikes:
    """Read the calcium traces, 30 frames a second.

    Parameters
    ----------
    path
        ``lif80.npz``.

    Returns
    -------
    CalciumSpikes
        Traces in units of a spike, and the spikes of every frame. ``truth`` is `KnownCalcium`.

    Raises
    ------
    ValueError
        The file is damaged or of another form.
    """
    content = read_arrays(path, [*SPIKES, *CALCIUM])
    wiring, spikes = _wiring(content, path), _spikes(content, path)
    traces, frame = content["calcium_30hz"].T.astype(np.float32), int(content["calcium_frame_ms"])
    n_frames = int(wiring.duration * 1000) // frame
    if traces.shape != (len(wiring.cell_type), n_frames):
        raise ValueError(
            f"calcium_30hz in {path.name} must have {n_frames} frames of {len(wiring.cell_type)} "
            f"neurons; got shape {traces.T.shape}. Fetch it again."
        )
    counts = contiguous_counts(spikes, 0.0, n_frames * frame / 1000, frame / 1000).T
    return CalciumSpikes(
        traces=_named(traces, frame, "calcium", "spikes"),
        spikes=_named(counts, frame, "spikes", "count per frame"),
        neurons=pd.DataFrame({"cell_type": wiring.cell_type}),
        provenance=_provenance(path, "calcium: exponential decay of 0.6 s, noise of 0.3 spikes"),
        truth=KnownCalcium(wiring=wiring, spikes=spikes, decay=DECAY, noise=NOISE),
    )


def _named(values: np.ndarray, frame: int, quantity: str, units: str) -> xr.DataArray:
    """Name the dimensions, with the start of every frame in s."""
    return xr.DataArray(
        values,
        dims=("neuron", "time"),
        coords={"time": np.arange(values.shape[1]) * frame / 1000},
        attrs={"quantity": quantity, "units": units},
    )


def _wiring(content: dict[str, np.ndarray], path: Path) -> KnownWiring:
    """Turn targets into columns; the first neurons excite, the others inhibit."""
    weights, n_excitatory = content["W"].T.astype(float), int(content["n_excitatory"])
    signs = np.sign(weights)
    if weights.ndim != 2 or (signs[:n_excitatory] < 0).any() or (signs[n_excitatory:] > 0).any():
        raise ValueError(
            f"W in {path.name} must have a row a target, and the first {n_excitatory} columns not "
            f"negative, the others not positive; got other signs. Fetch it again."
        )
    return KnownWiring(
        weights=weights,
        delays=np.where(weights != 0, DELAY, 0.0),
        cell_type=np.where(np.arange(len(weights)) < n_excitatory, "E", "I"),
        unit="mV",
        duration=float(content["duration_ms"]) / 1000,
    )


def _spikes(content: dict[str, np.ndarray], path: Path) -> SpikeTimes:
    """Sort the spikes by neuron and shift them to the middle of their ms."""
    when, who, n = content["spike_ms"], content["spike_id"], len(content["W"])
    if when.shape != who.shape or when.ndim != 1 or (len(who) and who.max() >= n):
        raise ValueError(
            f"spike_id in {path.name} must name one of {n} neurons for each of spike_ms; got "
            f"shapes {who.shape} and {when.shape}, or other neurons. Fetch it again."
        )
    order = np.lexsort((when, who))
    ends = np.cumsum(np.bincount(who, minlength=n))
    return SpikeTimes((when[order] + 0.5) / 1000, ends)


def _provenance(path: Path, what: str) -> Provenance:
    """Say where it comes from and what was done to it."""
    return Provenance(
        source="simulated once for this book and kept: 80 LIF neurons, 64 of them excitatory",
        citation="",
        licence="MIT",
        url="",
        sha256={path.name: checksum(path, "sha256").partition(":")[2]},
        preprocessing=(what, "half a ms added to every spike time"),
    )
