"""Neuropixels sessions of the Allen Institute as they are published, read without the AllenSDK.

What a file holds of units and of natural scenes is kept as memory-mapped arrays, so that it is
parsed once: another area, other bins or other thresholds are then had in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from visualcortex.sources.allen import presentations
from visualcortex.sources.allen_units import DEFAULT, PLACE, ParsedSession
from visualcortex.sources.fetch import checksum, data_folder
from visualcortex.sources.hdf5 import open_hdf5
from visualcortex.sources.neutral import Arrays, Put, copy_name, neutral_copy
from visualcortex.sources.nwb import dataset, numbers, word, words

GAP = 1.0  # s: scenes follow each other without pause; other stimuli come between the stretches
UNITS, CHANNELS = "units", "general/extracellular_ephys/electrodes"
SCENES, INVALID = "intervals/natural_scenes_presentations", "intervals/invalid_times"
COLUMNS = ("frame", "session", "presentation", "start_s", "stop_s")
NUMBERS = ("unit_id", *PLACE, *DEFAULT, "good")


def parse_session(path: Path, folder: Path | None = None) -> ParsedSession:
    """Return what a session's file holds, from its copy if there is one.

    Parameters
    ----------
    path
        ``session_<id>.nwb``, NWB 2.
    folder
        Where the copy is kept; ``allen_neuropixels/neutral`` in the data folder by default. It
        takes 8 bytes a spike.

    Raises
    ------
    ValueError
        The file is not of that form; the message says where and what to do.
    """
    folder = data_folder() / "allen_neuropixels" / "neutral" if folder is None else folder
    if not path.is_file():
        raise ValueError(f"{path} is not a file; expected session_<id>.nwb. Correct the path.")
    copy = folder / copy_name(path)
    arrays, facts, fault = neutral_copy(copy, lambda put: _convert(path, put))
    kept = f"{path.name} held in memory: no copy for faster loading could be kept ({fault})"
    return ParsedSession(
        name=path.name,
        number=facts["number"],
        units=_unit_table(arrays, facts),
        times=arrays["times"],
        ends=np.array(arrays["ends"]),
        presentations=pd.DataFrame({name: np.array(arrays[name]) for name in COLUMNS}),
        invalid=tuple((first, last, tuple(labels)) for first, last, labels in facts["invalid"]),
        sha256={path.name: facts["sha256"]},
        steps=(kept,) if fault else (),
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, its digits."""
    return checksum(path, "sha256").partition(":")[2]


def _unit_table(arrays: Arrays, facts: dict) -> pd.DataFrame:
    columns = {name: np.array(arrays[name]) for name in NUMBERS}
    columns |= {name: np.array(facts[name], dtype=str) for name in ("area", "probe")}
    return pd.DataFrame({name: columns[name] for name in ("unit_id", "area", "probe", *NUMBERS)})


def _convert(path: Path, put: Put) -> dict:
    """Check a file and store its arrays; return the rest."""
    with open_hdf5(path, "NWB (HDF5)") as file:
        units, table, ends = _units(file), _presentations(file), _ends(file)
        if len(ends) != len(units):
            raise ValueError(
                f"units/spike_times_index in {path.name} must have one row for each of the "
                f"{len(units)} units; got {len(ends)}. The file is damaged: fetch it again."
            )
        put("times", (int(ends[-1]),), np.float64, _spikes(file, ends))
        put("ends", ends.shape, np.int64, [ends])
        for name in NUMBERS:
            values = units[name].to_numpy()
            put(name, values.shape, values.dtype, [values])
        for name in COLUMNS:
            values = table[name].to_numpy()
            put(name, values.shape, values.dtype, [values])
        return {
            "number": word(file, "identifier"),
            "area": units["area"].tolist(),
            "probe": units["probe"].tolist(),
            "invalid": list(_invalid(file)),
            "sha256": sha256(path),
        }


def _units(file: h5py.File) -> pd.DataFrame:
    """Return all units, one row each, with the place of their peak channels."""
    n_units = len(dataset(file, f"{UNITS}/id"))
    if not n_units:
        raise ValueError(f"{_name(file)} holds no units. Take another session.")
    channels = _channels(file)
    peak = numbers(file, f"{UNITS}/peak_channel_id", (n_units,))
    place = pd.Index(channels["id"]).get_indexer(peak)
    if (place < 0).any():
        raise ValueError(
            f"units/peak_channel_id in {_name(file)} names channel {peak[place < 0][0]}, which is "
            f"not among the electrodes. The file is damaged: fetch it again."
        )
    units = channels.iloc[place].drop(columns="id").reset_index(drop=True)
    units["unit_id"] = numbers(file, f"{UNITS}/id", (n_units,)).astype(np.int64)
    for name in DEFAULT:
        units[name] = numbers(file, f"{UNITS}/{name}", (n_units,)).astype(np.float64)
    units["good"] = (words(file, f"{UNITS}/quality", n_units) == "good") & units.pop("valid")
    return units


def _channels(file: h5py.File) -> pd.DataFrame:
    n_channels = len(dataset(file, f"{CHANNELS}/id"))
    channels = {
        "id": numbers(file, f"{CHANNELS}/id", (n_channels,)),
        "area": words(file, f"{CHANNELS}/location", n_channels),
        "probe": words(file, f"{CHANNELS}/group_name", n_channels),
        "valid": numbers(file, f"{CHANNELS}/valid_data", (n_channels,)).astype(bool),
    }
    for name in PLACE:
        values = numbers(file, f"{CHANNELS}/{name.removesuffix('_um')}", (n_channels,))
        channels[name] = values.astype(np.float64)
    return pd.DataFrame(channels)


def _presentations(file: h5py.File) -> pd.DataFrame:
    if SCENES not in file:
        raise ValueError(
            f"{_name(file)} lacks {SCENES}: no natural scenes were shown, as in the sessions "
            f"functional_connectivity. Take a session brain_observatory_1.1."
        )
    n = len(dataset(file, f"{SCENES}/start_time"))
    frame, start, stop = (
        numbers(file, f"{SCENES}/{name}", (n,)) for name in ("frame", "start_time", "stop_time")
    )
    table = presentations(frame, start, stop, gap=GAP, name=_name(file))
    return table.rename(columns={"start": "start_s", "stop": "stop_s"})


def _invalid(file: h5py.File) -> Iterator[tuple[float, float, list[str]]]:
    """Yield the intervals that are marked as invalid, and for what."""
    if INVALID not in file:
        return
    ends = numbers(file, f"{INVALID}/tags_index").astype(np.int64)
    tags = np.split(words(file, f"{INVALID}/tags"), ends[:-1])
    first, last = (
        numbers(file, f"{INVALID}/{name}", (len(ends),)) for name in ("start_time", "stop_time")
    )
    for k, labels in enumerate(tags):
        yield float(first[k]), float(last[k]), labels.tolist()


def _ends(file: h5py.File) -> np.ndarray:
    times = dataset(file, f"{UNITS}/spike_times")
    ends = numbers(file, f"{UNITS}/spike_times_index").astype(np.int64)
    if (np.diff(ends, prepend=0) < 0).any() or times.shape != (ends[-1],):
        raise ValueError(
            f"units/spike_times_index in {_name(file)} must rise to the {times.shape[0]} spike "
            f"times; got {ends[-1]} at its end. The file is damaged: fetch it again."
        )
    if not ends[-1]:
        raise ValueError(f"{_name(file)} holds no spikes. Take another session.")
    return ends


def _spikes(file: h5py.File, ends: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the spike times of unit after unit, in order of time."""
    times = dataset(file, f"{UNITS}/spike_times")
    for row, start in enumerate(np.concatenate([[0], ends[:-1]])):
        spikes = np.sort(times[start : ends[row]].astype(np.float64))
        if not np.isfinite(spikes).all():
            raise ValueError(
                f"units/spike_times in {_name(file)} holds NaN in row {row}. The file is damaged: "
                f"fetch it again."
            )
        yield spikes


def _name(file: h5py.File) -> str:
    return Path(file.filename).name
