"""What the population models are given: in which frames each neuron was active."""

from __future__ import annotations

import numpy as np
import xarray as xr

from visualcortex.models.deconvolution import active_frames
from visualcortex.recording import Recording

SMALLEST_SHARE = 1e-9  # of a bin: rounding of times


def active_population(
    recording: Recording, *, frame_ms: float = 10.0, n_neurons: int | None = None
) -> xr.DataArray:
    """Return the active frames of a recording of any kind, of its most active neurons.

    Fluorescence is turned into active frames by `active_frames`, with its biases; of spike counts,
    bins are joined to frames of `frame_ms`, and a frame with a spike is active (several spikes in
    a frame count once: the rate is too low by half of its square a frame); activity without time
    axis stays as it is.

    Parameters
    ----------
    recording
        Calcium traces, active frames, or spike counts with a coordinate ``"bin"`` in s.
    frame_ms
        Length of a frame, ms, a multiple of the bins; of spike counts alone.
    n_neurons
        How many of the most active neurons to keep, in the order of the recording; all by default.
        They are chosen by all trials: a choice of neurons by how much they say, not of what.

    Returns
    -------
    xarray.DataArray
        ``(trial, time, neuron)`` or ``(trial, neuron)``, values in [0, 1], quantity
        ``"active frames"``; the coordinate ``"neuron"`` says which of the recording were kept.

    Raises
    ------
    ValueError
        Frames are no multiple of the bins or longer than a trial, or too many neurons are asked
        for.
    """
    responses = recording.responses
    counted = "bin" in responses.dims
    active = _spiking_frames(responses, frame_ms) if counted else active_frames(responses)
    return active if n_neurons is None else _most_active(active, n_neurons)


def _spiking_frames(counts: xr.DataArray, frame_ms: float) -> xr.DataArray:
    """Join bins to frames; a last, shorter frame is left out."""
    width = 1000 * float(np.diff(counts["bin"].to_numpy()[:2])[0])
    joined = round(frame_ms / width)
    n_frames = counts.sizes["bin"] // max(joined, 1)
    if joined < 1 or abs(joined * width - frame_ms) > SMALLEST_SHARE * width or n_frames < 2:
        raise ValueError(
            f"frame_ms must be a multiple of the bins of {width:g} ms and fit twice into the trial "
            f"of {width * counts.sizes['bin']:g} ms; got {frame_ms:g}. Choose another length."
        )
    values = counts.to_numpy()[:, : n_frames * joined]  # (B, T * joined, N)
    frames = values.reshape(len(values), n_frames, joined, -1).any(axis=2)
    return xr.DataArray(
        frames.astype(float),
        dims=("trial", "time", "neuron"),
        coords={"time": np.arange(n_frames) * frame_ms / 1000},
        attrs={"quantity": "active frames", "units": "1"},
    )


def _most_active(active: xr.DataArray, n_neurons: int) -> xr.DataArray:
    """Keep the neurons of the largest mean activity."""
    n = active.sizes["neuron"]
    if not 1 <= n_neurons <= n:
        raise ValueError(
            f"n_neurons must be from 1 to {n}, the neurons of the recording; got {n_neurons}. "
            f"Ask for fewer."
        )
    rates = active.mean([dim for dim in active.dims if dim != "neuron"]).to_numpy()
    kept = np.sort(np.argsort(-rates, kind="stable")[:n_neurons])
    return active.isel(neuron=kept).assign_coords(neuron=kept)
