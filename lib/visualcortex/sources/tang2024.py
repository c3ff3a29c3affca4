"""Directed graphs of mouse visual cortex in eight stimuli: Tang, Zylberberg, Jia and Choi (2024).

They are published, with some of the spike trains, as Python pickles: files that run code when they
are opened. What is read here are plain copies, made once from the repository at the commit below:

- ``ccg_directed_networks.npz``: from ``files/adjacency_matrices``, for each session and stimulus
  ``<session>__<stimulus>_ccg``, ``_confidence``, ``_offset`` and ``_duration``, float32
  ``(source, target)``, NaN where there is no edge; from ``files/active_area_dict.pkl``, for each
  session ``<session>__unit_index`` and ``<session>__area``, words ``(neuron,)``;
- ``750749662_flash_dark_clean.npz``: from ``files/spike_trains``, the dark flashes of one session,
  ``shape`` (neuron, trial, bin) and ``spikes``, the truth values packed by `numpy.packbits` neuron
  by neuron.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import Networks, Provenance, SpikeTrains
from visualcortex.sources.fetch import checksum

COMMIT = "467b627a08ad1cd566fb81e210587a7b9396b3d5"
URL = f"https://github.com/HChoiLab/functional-network/tree/{COMMIT}"
LICENCE = "BSD-2-Clause; recordings under the Allen Institute Terms of Use"
SESSIONS = (719161530, 750749662, 754312389, 755434585, 756029989, 791319847, 797828357)
STIMULI = (
    *("spontaneous", "flash_dark", "flash_light", "drifting_gratings", "static_gratings"),
    *("natural_scenes", "natural_movie_one", "natural_movie_three"),
)
MEASURES = {
    "confidence": ("distance from the mean of the correlogram", "s.d."),
    "offset": ("first lag of the peak", "ms"),
    "duration": ("lags of the peak after the first", "ms"),
}
# Rows of the spike trains are the units of these areas, by their number in the session
# (files/area_dict.pkl): from, to, area.
FLASHES = 750749662
UNITS = (
    (56, 205, "VISam"),
    (262, 396, "VISpm"),
    (543, 685, "VISp"),
    (686, 764, "VISl"),
    (889, 997, "VISal"),
    (1038, 1162, "VISrl"),
)


def read_tang2024_networks(path: Path, session: int = FLASHES) -> Networks:
    """Read the eight directed graphs of one session.

    An edge is a peak or trough of the jitter-corrected correlogram within 0 to 12 ms, of up to 12
    lags, beyond 4 standard deviations: synapses and common input alike.

    Parameters
    ----------
    path
        ``ccg_directed_networks.npz``.
    session
        Number of the session, one of `SESSIONS`.

    Returns
    -------
    Networks
        ``weights``: correlogram summed over the lags of the peak; ``measures``: ``confidence``,
        ``offset`` and ``duration``. ``neurons``: ``unit_index``, the unit's number in the session,
        and ``region``. These are units that fire at 2 Hz or more.

    Raises
    ------
    ValueError
        The file is damaged or of another form, or there is no such session.
    """
    if session not in SESSIONS:
        raise ValueError(f"session must be one of {', '.join(map(str, SESSIONS))}; got {session}.")
    names = [f"{session}__unit_index", f"{session}__area"]
    for kind in ("ccg", *MEASURES):
        names += [f"{session}__{stimulus}_{kind}" for stimulus in STIMULI]
    content = _read(path, names)
    neurons = _neurons(content[names[0]], content[names[1]], path)
    for name in names[2:]:
        if content[name].shape != (len(neurons), len(neurons)) or content[name].dtype.kind != "f":
            raise ValueError(
                f"{name} in {path.name} must be real numbers of {len(neurons)} x {len(neurons)}, "
                f"one row a neuron; got {content[name].shape} of {content[name].dtype}. Make the "
                f"copy again."
            )
    attrs = {"ccg": ("jitter-corrected correlogram", "coincidences per spike")} | MEASURES
    stacked = {
        kind: _stacked([content[f"{session}__{word}_{kind}"] for word in STIMULI], *attrs[kind])
        for kind in attrs
    }
    return Networks(
        weights=stacked.pop("ccg"),
        networks=pd.DataFrame({"stimulus": STIMULI}),
        neurons=neurons,
        provenance=_provenance(path, f"session {session}; units that fire at 2 Hz or more"),
        measures=stacked,
    )


def read_tang2024_spikes(path: Path) -> SpikeTrains:
    """Read the spike trains of session 750749662 during 75 dark flashes of 250 ms.

    Parameters
    ----------
    path
        ``750749662_flash_dark_clean.npz``.

    Returns
    -------
    SpikeTrains
        ``(trial, bin, neuron)`` of 0 and 1, bins of 1 ms, uint8; every trial shows stimulus 0.
        ``neurons``: ``unit_index``, the unit's number in the session, which names it in the graphs
        too, and ``region``.

    Raises
    ------
    ValueError
        The file is damaged or of another form.
    """
    content = _read(path, ["spikes", "shape"])
    shape, packed = tuple(int(n) for n in content["shape"].ravel()), content["spikes"]
    index = np.concatenate([np.arange(first, last + 1) for first, last, _ in UNITS])
    wanted = (len(index), -(-int(np.prod(shape[1:])) // 8))
    if len(shape) != 3 or packed.dtype != np.uint8 or packed.shape != wanted:
        raise ValueError(
            f"{path.name} must hold the packed spikes of {len(index)} units; got shape {shape}, "
            f"packed into {packed.shape} of {packed.dtype}. Make the copy again."
        )
    bits = np.unpackbits(packed, axis=1)[:, : shape[1] * shape[2]].reshape(shape)
    responses = xr.DataArray(
        np.ascontiguousarray(bits.transpose(1, 2, 0)),
        dims=("trial", "bin", "neuron"),
        coords={"bin": (np.arange(shape[2]) + 0.5) / 1000},
        attrs={"quantity": "spikes", "units": "count per 1 ms"},
    )
    regions = np.concatenate([np.repeat(area, last - first + 1) for first, last, area in UNITS])
    zeros = np.zeros(shape[1], dtype=np.int64)
    return SpikeTrains(
        responses=responses,
        trials=pd.DataFrame({"stimulus": zeros, "session": zeros}),
        neurons=pd.DataFrame({"unit_index": index, "region": regions}),
        provenance=_provenance(path, f"session {FLASHES}; all units of visual cortex"),
    )


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Return named arrays; pickles are not opened."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            content = {name: archive[name] for name in names if name in archive}
    except (OSError, EOFError, AttributeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path.name} cannot be read as an archive of NumPy arrays ({error}). Make the copy "
            f"again."
        ) from error
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(
            f"{path.name} lacks {missing[0]}. It may be one of the published pickles: see "
            f"visualcortex.sources.tang2024 for the copy that is read."
        )
    return content


def _neurons(index: np.ndarray, area: np.ndarray, path: Path) -> pd.DataFrame:
    try:
        numbers = index.astype(np.int64)
    except ValueError as error:
        raise ValueError(f"unit_index in {path.name} must hold whole numbers: {error}.") from error
    if numbers.ndim != 1 or numbers.shape != area.shape or len(np.unique(numbers)) < len(numbers):
        raise ValueError(
            f"unit_index in {path.name} must name every neuron once, and area its region; got "
            f"shapes {index.shape} and {area.shape}. Make the copy again."
        )
    return pd.DataFrame({"unit_index": numbers, "region": area.astype(str)})


def _stacked(matrices: list[np.ndarray], quantity: str, units: str) -> xr.DataArray:
    return xr.DataArray(
        np.stack(matrices),
        dims=("network", "source", "target"),
        attrs={"quantity": quantity, "units": units},
    )


def _provenance(path: Path, what: str) -> Provenance:
    steps = (
        "recorder: spikes sorted and units chosen by the Allen Institute (Siegle and others 2021)",
        "Tang and others: bins of 1 ms; spike jitter in windows of 25 ms; lags to 100 ms",
        "copied from pickles into plain arrays, values unchanged",
        what,
    )
    return Provenance(
        source="Tang, Zylberberg, Jia and Choi 2024, from Allen Visual Coding Neuropixels",
        citation="tang2024",
        licence=LICENCE,
        url=URL,
        sha256={path.name: checksum(path, "sha256").partition(":")[2]},
        preprocessing=steps,
    )
