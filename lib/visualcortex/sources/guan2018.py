"""The Guan-lab recording of 27 August 2018: calcium imaging of mouse visual cortex.

Both forms of it are comma-separated tables without header, one row a trial, published beside the
code of an earlier neuron-GAN: the fraction of the 29 frames (10 Hz) in which a neuron was active,
and the raw fluorescence of every frame. The tag file is one row of stimulus numbers from 1.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import CalciumRecording, Provenance

N_NEURONS = 259
N_STIMULI = 14
N_FRAMES = 29
FRAME_RATE = 10.0  # Hz
_CONFOUND = (
    "every stimulus was shown in a session of its own (120 s), so that stimulus and session are "
    "the same number and differences between stimuli cannot be told from drift"
)


def read_guan2018(mean_signal: Path, tag: Path) -> CalciumRecording:
    """Read the fraction of active frames of every trial and neuron.

    Parameters
    ----------
    mean_signal
        Comma-separated table ``(trial, neuron)`` of multiples of 1/29.
    tag
        One row of the stimulus of every trial, 1 to 14.

    Returns
    -------
    CalciumRecording
        ``("trial", "neuron")``, quantity ``"active frames"``, in [0, 1]. Every stimulus is its
        own 120 s session: columns ``stimulus`` and ``session`` are the same number, from 0.

    Raises
    ------
    ValueError
        A file is not of that form; the message names it and what is wrong.
    """
    values = _read_table(mean_signal, N_NEURONS)
    _check_fractions(values, mean_signal)
    responses = xr.DataArray(
        values, dims=("trial", "neuron"), attrs={"quantity": "active frames", "units": "1"}
    )
    step = "recorder: frames called active or not; fraction of the 29 frames of a trial"
    return _package(responses, mean_signal, tag, step)


def read_guan2018_traces(traces: Path, tag: Path) -> CalciumRecording:
    """Read the raw fluorescence of every trial, frame and neuron.

    Parameters
    ----------
    traces
        Comma-separated table ``(trial, 29 × 259)``, frame by frame: the first 259 columns are
        the neurons in the first frame.
    tag
        One row of the stimulus of every trial, 1 to 14.

    Returns
    -------
    CalciumRecording
        ``("trial", "time", "neuron")``, quantity ``"fluorescence"``, arbitrary units. Every
        stimulus is its own 120 s session, as in `read_guan2018`.

    Raises
    ------
    ValueError
        A file is not of that form; the message names it and what is wrong.
    """
    values = _read_table(traces, N_FRAMES * N_NEURONS)
    responses = xr.DataArray(
        values.reshape(-1, N_FRAMES, N_NEURONS),
        dims=("trial", "time", "neuron"),
        coords={"time": np.arange(N_FRAMES) / FRAME_RATE},
        attrs={"quantity": "fluorescence", "units": "a.u."},
    )
    step = "columns taken frame by frame (29 frames of 259 neurons), as in the published code"
    return _package(responses, traces, tag, step)


def _package(responses: xr.DataArray, table: Path, tag: Path, step: str) -> CalciumRecording:
    stimulus = _read_tag(tag, len(responses))
    provenance = Provenance(
        source="Guan lab, mouse 1, 27 August 2018",
        citation="gao2021neurogan",
        licence="none stated",
        url="https://github.com/0xJchen/NeuroGAN",
        sha256={path.name: _sha256(path) for path in (table, tag)},
        preprocessing=(step, _CONFOUND),
    )
    return CalciumRecording(
        responses=responses,
        trials=pd.DataFrame({"stimulus": stimulus, "session": stimulus}),
        neurons=pd.DataFrame(index=pd.RangeIndex(N_NEURONS, name="neuron")),
        provenance=provenance,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_table(path: Path, width: int) -> np.ndarray:
    """Read a rectangular table of finite numbers, ``(row, width)``."""
    if not path.read_text(encoding="utf-8", errors="replace").strip():
        raise ValueError(f"{path.name} is empty; expected {width} columns. Fetch it again.")
    try:
        values = np.loadtxt(path, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise ValueError(
            f"{path.name} is not a table of numbers with {width} columns ({error}). "
            f"It may be cut short or be another file: fetch it again."
        ) from None
    if values.shape[1] != width:
        raise ValueError(
            f"{path.name} must have {width} columns; got {values.shape[1]}. "
            f"It may belong to another recording."
        )
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{path.name} must hold finite numbers; got {int(bad.sum())} NaN or infinite ones, "
            f"the first in row {row + 1}, column {column + 1}. Drop those trials from both files."
        )
    return values


def _check_fractions(values: np.ndarray, path: Path) -> None:
    frames = values * N_FRAMES
    wrong = (values < 0) | (values > 1) | (np.abs(frames - np.round(frames)) > 1e-6)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{path.name} must hold fractions of {N_FRAMES} frames, multiples of 1/{N_FRAMES} in "
            f"[0, 1]; got {int(wrong.sum())} other values, the first {values[row, column]:g} in "
            f"row {row + 1}, column {column + 1}. Raw fluorescence is read by "
            f"read_guan2018_traces."
        )


def _read_tag(path: Path, n_trials: int) -> np.ndarray:
    """Read the stimulus of every trial, numbered from 0, ``(trial,)``."""
    tag = _read_table(path, n_trials)
    expected = np.arange(1, N_STIMULI + 1)
    if len(tag) != 1 or not np.array_equal(np.unique(tag), expected):
        raise ValueError(
            f"{path.name} must be one row of the stimuli 1 to {N_STIMULI}; got {len(tag)} rows "
            f"with {len(np.unique(tag))} different values from {tag.min():g} to {tag.max():g}. "
            f"It may be the tag file of another day."
        )
    if np.count_nonzero(np.diff(tag[0])) != N_STIMULI - 1:
        raise ValueError(
            f"{path.name} must list the stimuli session by session, the trials of one stimulus "
            f"in one run; got {np.count_nonzero(np.diff(tag[0])) + 1} runs for {N_STIMULI} "
            f"stimuli. It may be the tag file of another day."
        )
    return tag[0].astype(np.int64) - 1
