"""Spikes of the mouse visual system while 118 natural scenes were shown, some 50 times each.

The sessions ``brain_observatory_1.1`` of the Allen Institute's Visual Coding - Neuropixels data
(Siegle, Jia, Durand and others 2021), one NWB file a session; read without the AllenSDK.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.allen import (
    BLOCK,
    BUCKET,
    LICENCE,
    TEMPLATES,
    describe_scenes,
    image_responses,
    presentations,
    read_scenes,
)
from visualcortex.sources.fetch import checksum
from visualcortex.sources.hdf5 import open_hdf5
from visualcortex.sources.nwb import dataset, numbers, word, words

URL = "https://portal.brain-map.org/circuits-behavior/visual-coding-neuropixels"
GAP = 1.0  # s: scenes follow each other without pause; other stimuli come between the stretches
UNITS, CHANNELS = "units", "general/extracellular_ephys/electrodes"
SCENES, INVALID = "intervals/natural_scenes_presentations", "intervals/invalid_times"
OUTSIDE = ("", "None", "nan")  # the area of channels outside the brain, as releases write it
# The defaults of the AllenSDK.
PRESENCE_RATIO = 0.95  # at least: fraction of the session in which the unit fires
ISI_VIOLATIONS = 0.5  # at most: rate of contaminating spikes relative to the unit's own
AMPLITUDE_CUTOFF = 0.1  # at most: fraction of spikes that are lost below threshold


def read_allen_neuropixels(
    session: Path,
    scenes: Path | None = None,
    *,
    area: str | None = "VISam",
    window: tuple[float, float] = (0.0, 0.25),
    block: int = BLOCK,
) -> ImageResponses:
    """Read the spike counts of one session.

    A scene stays for 0.25 s and the next one follows at once: a window that reaches beyond, or a
    late response, mixes two scenes.

    Parameters
    ----------
    session
        ``session_<id>.nwb``, NWB 2: spike times and quality of ``units``, the area of each channel
        in ``electrodes``, ``natural_scenes_presentations``.
    scenes
        Where the scenes are, see `allen.read_scenes`; the session's file does not hold them. By
        default the folder ``natural_scene_templates`` beside the session's file or its folder, as
        the AllenSDK keeps it.
    area
        Acronym of the area of the units' peak channels, such as VISp; a part after a hyphen
        (LGd-sh) need not be given. None for all of them.
    window
        Start and stop of counting after the onset of a scene, s; stop excluded.
    block
        As in `allen.read_scenes`.

    Returns
    -------
    ImageResponses
        Responses and grey screens ``("trial", "neuron")``, spike counts, float32; ``trials`` has
        ``presentation``, the row in the file, ``start_s``, ``stop_s``, one ``session`` for each
        uninterrupted stretch of scenes; ``neurons`` has ``unit_id``, ``area``, ``probe``, three
        measures of quality and the place of its channel in the Common Coordinate Framework
        (``x_um`` towards posterior, ``y_um`` ventral, ``z_um`` right).

    Raises
    ------
    ValueError
        A file is not of that form, an option is not possible, or no unit is left; the message
        says which and what to do.

    Notes
    -----
    The units are those that the AllenSDK hands over by default. Presentations that touch a time
    marked as invalid for the stimulus, for all probes or for a probe of these units are left out.
    A spike at the very end of a window, which the AllenSDK counts, belongs to the next one here.
    """
    _check_window(window)
    with open_hdf5(session, "NWB (HDF5)") as file:
        units, chosen = _units(file, area)
        table = _presentations(file)
        valid = _valid(file, table, window, set(units["probe"]))
        counts = _counts(file, units["row"].to_numpy(), table["start_s"].to_numpy(), window)
        number = word(file, "identifier")
    if not valid.any():
        raise ValueError(f"{session.name}: no presentation is valid. Take another session.")
    images = read_scenes(_templates(session) if scenes is None else scenes, block=block)
    steps = (
        "recorder: Kilosort2, spike times of sorted units in s",
        chosen,
        f"{(~valid).sum()} of {len(valid)} presentations in times marked as invalid left out",
        f"spikes counted from {window[0]:g} to {window[1]:g} s after onset",
        describe_scenes(block),
    )
    attrs = {"quantity": "spike count", "units": "spikes"}
    neurons, provenance = units.drop(columns="row"), _provenance(session, number, steps)
    return image_responses(counts[valid], table[valid], neurons, images, attrs, provenance)


def _provenance(session: Path, number: str, steps: tuple[str, ...]) -> Provenance:
    return Provenance(
        source=f"Allen Institute, Visual Coding - Neuropixels, session {number}",
        citation="siegle2021",
        licence=LICENCE,
        url=URL,
        sha256={session.name: checksum(session, "sha256").partition(":")[2]},
        preprocessing=steps,
    )


def _check_window(window: tuple[float, float]) -> None:
    edges = np.asarray(window, dtype=np.float64)
    if edges.shape != (2,) or not np.isfinite(edges).all() or edges[0] >= edges[1]:
        raise ValueError(
            f"window must be (start, stop) in s after onset, start before stop; got {window!r}. "
            f"A scene is shown from 0 to 0.25 s."
        )


def _units(file: h5py.File, area: str | None) -> tuple[pd.DataFrame, str]:
    """Return the units of an area that pass, one row each, and how they were chosen."""
    n_units = len(dataset(file, f"{UNITS}/id"))
    channels = _channels(file)
    peak = numbers(file, f"{UNITS}/peak_channel_id", (n_units,))
    place = pd.Index(channels["id"]).get_indexer(peak)
    if (place < 0).any():
        raise ValueError(
            f"units/peak_channel_id in {_name(file)} names channel {peak[place < 0][0]}, which is "
            f"not among the electrodes. The file is damaged: fetch it again."
        )
    units = channels.iloc[place].drop(columns="id").reset_index(drop=True)
    units.insert(0, "unit_id", numbers(file, f"{UNITS}/id", (n_units,)))
    units.insert(0, "row", np.arange(n_units))
    for name in ("presence_ratio", "isi_violations", "amplitude_cutoff"):
        units[name] = numbers(file, f"{UNITS}/{name}", (n_units,))
    units["good"] = words(file, f"{UNITS}/quality", n_units) == "good"
    inside = _in_area(units["area"], area, _name(file))
    passing = inside & units["good"] & units.pop("valid")
    passing &= units["presence_ratio"] >= PRESENCE_RATIO
    passing &= units["isi_violations"] <= ISI_VIOLATIONS
    passing &= units["amplitude_cutoff"] <= AMPLITUDE_CUTOFF
    chosen = (
        f"{passing.sum()} of {inside.sum()} units of {area or 'all areas'} kept: of good quality "
        f"on a valid channel, presence ratio at least {PRESENCE_RATIO}, interval violations at "
        f"most {ISI_VIOLATIONS}, amplitude cutoff at most {AMPLITUDE_CUTOFF}"
    )
    if not passing.any():
        raise ValueError(f"{_name(file)}: {chosen}. Choose another area or session.")
    return units[passing].drop(columns="good").reset_index(drop=True), chosen


def _channels(file: h5py.File) -> pd.DataFrame:
    n_channels = len(dataset(file, f"{CHANNELS}/id"))
    channels = {
        "id": numbers(file, f"{CHANNELS}/id", (n_channels,)),
        "area": words(file, f"{CHANNELS}/location", n_channels),
        "probe": words(file, f"{CHANNELS}/group_name", n_channels),
        "valid": numbers(file, f"{CHANNELS}/valid_data", (n_channels,)).astype(bool),
    }
    for axis in "xyz":
        channels[f"{axis}_um"] = numbers(file, f"{CHANNELS}/{axis}", (n_channels,))
    return pd.DataFrame(channels)


def _in_area(areas: pd.Series, area: str | None, name: str) -> pd.Series:
    if area is None:
        return ~areas.isin(OUTSIDE)
    inside = (areas == area) | (areas.str.partition("-")[0] == area)
    if not inside.any():
        counted = areas[~areas.isin(OUTSIDE)].value_counts()
        known = ", ".join(f"{area} ({n} units)" for area, n in counted.items())
        raise ValueError(f"{name} has no unit in area {area!r}. Its areas: {known}.")
    return inside


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


def _valid(
    file: h5py.File, table: pd.DataFrame, window: tuple[float, float], probes: set[str]
) -> np.ndarray:
    """Return which presentations touch no invalid time, ``(presentation,)``."""
    valid = np.ones(len(table), bool)
    if INVALID not in file:
        return valid
    start = table["start_s"].to_numpy() + min(window[0], 0)
    stop = np.maximum(table["stop_s"], table["start_s"] + window[1]).to_numpy()
    concerned = probes | {"stimulus", "all_probes"}
    ends = numbers(file, f"{INVALID}/tags_index").astype(np.int64)
    tags = np.split(words(file, f"{INVALID}/tags"), ends[:-1])
    names = ("start_time", "stop_time")
    times = (numbers(file, f"{INVALID}/{name}", (len(ends),)) for name in names)
    for first, last, labels in zip(*times, tags, strict=True):
        if concerned & set(labels):
            valid &= (stop <= first) | (start >= last)
    return valid


def _counts(
    file: h5py.File, rows: np.ndarray, onset: np.ndarray, window: tuple[float, float]
) -> np.ndarray:
    """Count the spikes of each unit in each window, ``(presentation, unit)``."""
    times = dataset(file, f"{UNITS}/spike_times")
    ends = np.r_[0, numbers(file, f"{UNITS}/spike_times_index")].astype(np.int64)
    if (np.diff(ends) < 0).any() or times.shape != (ends[-1],):
        raise ValueError(
            f"units/spike_times_index in {_name(file)} must rise to the {times.shape[0]} spike "
            f"times; got {ends[-1]} at its end. The file is damaged: fetch it again."
        )
    edges = np.stack([onset + window[0], onset + window[1]])  # (2, T)
    counts = np.empty((len(onset), len(rows)), np.float32)
    for k, row in enumerate(rows):
        spikes = np.sort(times[ends[row] : ends[row + 1]])
        if not np.isfinite(spikes).all():
            raise ValueError(
                f"units/spike_times in {_name(file)} holds NaN in row {row}. The file is damaged: "
                f"fetch it again."
            )
        start, stop = np.searchsorted(spikes, edges)
        counts[:, k] = stop - start
    return counts


def _templates(session: Path) -> Path:
    """Return the folder of the scenes in the AllenSDK's cache that the session lies in."""
    for folder in (session.parent, session.parent.parent):
        if (folder / TEMPLATES).is_dir():
            return folder / TEMPLATES
    raise ValueError(
        f"the scenes are not in {session.name}, and there is no folder {TEMPLATES} with "
        f"natural_scene_0.tiff to natural_scene_117.tiff beside it or beside its folder. Get it "
        f"from {BUCKET}/{TEMPLATES}, or give its path as scenes; a two-photon NWB file with "
        f"natural scenes does as well."
    )


def _name(file: h5py.File) -> str:
    return Path(file.filename).name
