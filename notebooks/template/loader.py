"""A recording of one's own: one archive of NumPy arrays, read into a `Recording`.

Copy this file and change it to what your laboratory writes. As it is, it reads an ``.npz`` with

==============  ================================================================================
``kind``        ``"calcium"``, ``"spikes"`` (counts) or ``"images"`` (one number a trial)
``responses``   ``(trial, neuron)`` or ``(trial, time, neuron)``, trials in order of recording
``stimulus``    which stimulus was shown in each trial, whole numbers from 0
``quantity``    what was measured, such as ``"dF/F"``
``units``       of the responses, such as ``"1"`` or ``"count"``
``source``      who recorded it, of which animal
``frame_rate``  Hz; only where there is a time axis
``session``     uninterrupted stretch of recording of each trial; by default all are of one
``images``      ``(stimulus, height, width)``, where stimuli are pictures; may be absent
``licence``     may be absent: ``"not published"``
``steps``       what was done to the data, one sentence a step; may be absent
==============  ================================================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import (
    CalciumRecording,
    ImageResponses,
    Provenance,
    Recording,
    SpikeTrains,
)
from visualcortex.sources.arrays import read_arrays
from visualcortex.sources.fetch import checksum

KINDS = {"calcium": CalciumRecording, "spikes": SpikeTrains, "images": ImageResponses}
NEEDED = ("kind", "responses", "stimulus", "quantity", "units", "source")
OPTIONAL = ("frame_rate", "session", "images", "licence", "steps")


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Parameters
    ----------
    path
        An ``.npz`` file as described above.

    Returns
    -------
    CalciumRecording, SpikeTrains or ImageResponses

    Raises
    ------
    ValueError
        The file is damaged, lacks an array, or holds what does not fit together; the message says
        what was expected.
    """
    content = _content(path)
    kind = _word(content, "kind", path)
    if kind not in KINDS:
        raise ValueError(f"kind in {path.name} must be one of {', '.join(KINDS)}; got {kind!r}.")
    try:
        return KINDS[kind](
            responses=_responses(content, kind, path),
            trials=_trials(content, path),
            neurons=pd.DataFrame(index=range(content["responses"].shape[-1])),
            provenance=_provenance(content, path),
            images=content.get("images"),
        )
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _content(path: Path) -> dict[str, np.ndarray]:
    """Read what is needed, and what else there is."""
    read_arrays(path, NEEDED)  # refuses what is no such archive, or lacks an array
    with np.load(path, allow_pickle=False) as archive:
        there = [name for name in OPTIONAL if name in archive]
    return read_arrays(path, [*NEEDED, *there])


def _word(content: dict[str, np.ndarray], name: str, path: Path) -> str:
    word = str(content[name])
    if content[name].ndim or not word.strip():
        raise ValueError(f"{name} in {path.name} must be a word or a sentence; got {word!r}.")
    return word


def _responses(content: dict[str, np.ndarray], kind: str, path: Path) -> xr.DataArray:
    """Name the dimensions, and give times to the frames."""
    values = content["responses"]
    attrs = {name: _word(content, name, path) for name in ("quantity", "units")}
    if values.ndim == 2:
        return xr.DataArray(values, dims=("trial", "neuron"), attrs=attrs)
    if values.ndim != 3:
        raise ValueError(
            f"responses must be (trial, neuron) or (trial, time, neuron); got {values.shape}."
        )
    start = np.arange(values.shape[1]) / _rate(content)  # s from the start of the trial
    axis, time = "time", start
    if kind == "spikes":
        axis, time = "bin", start + 0.5 / _rate(content)  # the middle of the bin
    return xr.DataArray(values, dims=("trial", axis, "neuron"), coords={axis: time}, attrs=attrs)


def _rate(content: dict[str, np.ndarray]) -> float:
    rate = content.get("frame_rate", np.array(0.0))
    if rate.ndim or rate.dtype.kind not in "iuf" or not 0 < rate < np.inf:
        raise ValueError(
            f"frame_rate must be one number of Hz above 0 where responses have a time axis; got "
            f"{rate}. Store it with the arrays."
        )
    return float(rate)


def _trials(content: dict[str, np.ndarray], path: Path) -> pd.DataFrame:
    """Return the stimulus and the session of every trial."""
    n_trials = len(content["responses"])
    columns = {name: content[name] for name in ("stimulus", "session") if name in content}
    for name, labels in columns.items():
        if labels.shape != (n_trials,):
            raise ValueError(
                f"{name} must be one number for each of the {n_trials} trials of responses; got "
                f"shape {labels.shape}. Select the same trials for both."
            )
    return pd.DataFrame({"session": np.zeros(n_trials, int)} | columns)


def _provenance(content: dict[str, np.ndarray], path: Path) -> Provenance:
    """Say where it comes from; the checksum tells one version of the file from the next."""
    return Provenance(
        source=_word(content, "source", path),
        citation="",
        licence=str(content.get("licence", "not published")),
        url="",
        sha256={path.name: checksum(path, "sha256").partition(":")[2]},
        preprocessing=tuple(map(str, np.atleast_1d(content.get("steps", [])))),
    )
