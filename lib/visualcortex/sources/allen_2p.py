"""Calcium activity of mouse visual cortex while 118 natural scenes were shown, 50 times each.

A session of the Allen Brain Observatory, two-photon imaging (de Vries, Lecoq, Buice and others
2020), one NWB file an experiment; read without the AllenSDK.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.allen import (
    BLOCK,
    LICENCE,
    describe_scenes,
    image_responses,
    presentations,
    read_scenes,
)
from visualcortex.sources.fetch import checksum
from visualcortex.sources.hdf5 import open_hdf5
from visualcortex.sources.nwb import check_shape, dataset, numbers, word

URL = "https://observatory.brain-map.org/visualcoding"
PIPELINE = "processing/brain_observatory_pipeline"
DFF = f"{PIPELINE}/DfOverF/imaging_plane_1"
CELLS = f"{PIPELINE}/ImageSegmentation/cell_specimen_ids"
PLANE = "general/optophysiology/imaging_plane_1"
SHOWN = ("stimulus/presentation/natural_scenes_stimulus", "stimulus/presentation/natural_scenes")
GAP = 15  # frames: a longer pause between scenes was filled with another stimulus
SWEEPS = 2  # the response is the mean over that many times the duration of a scene


def read_allen_2p(experiment: Path, *, block: int = BLOCK) -> ImageResponses:
    """Read the mean dF/F after each scene of one experiment.

    The window is that of the AllenSDK's ``NaturalScenes`` analysis (frames 28 to 41 of a sweep
    that begins 28 frames before the onset): 14 frames at 30 Hz from the onset, twice the duration
    of a scene, so that the second half lies under the next scene. There the trace is the
    fluorescence relative to its mean over the 28 frames before the onset, in percent, which adds
    the answers to the four scenes before; here it is the dF/F of the file, whose baseline is slow.

    Parameters
    ----------
    experiment
        ``<experiment id>.nwb``, NWB 1, of a session B: dF/F traces (cell, frame), the scene and
        the frames of each presentation, the scenes.
    block
        As in `allen.read_scenes`.

    Returns
    -------
    ImageResponses
        Responses and grey screens ``("trial", "neuron")``, dF/F, float32; ``trials`` has
        ``presentation``, the row in the file, ``start_s``, and one ``session`` for each
        uninterrupted stretch of scenes; ``neurons`` has ``cell_specimen_id`` and ``area``.

    Raises
    ------
    ValueError
        The file is not of that form; the message names it and what is wrong.
    """
    with open_hdf5(experiment, "NWB (HDF5)") as file:
        table, n_window = _presentations(file)
        values, time = _responses(file, table["start"].to_numpy(), n_window)
        neurons = _neurons(file, values.shape[1])
        source = _source(file)
    table["start_s"] = time[table["start"]]
    images = read_scenes(experiment, block=block)
    steps = (
        "recorder: traces demixed, neuropil subtracted, dF/F relative to a slow baseline",
        f"mean dF/F of {n_window} frames from the onset of a scene, {SWEEPS} times its duration",
        describe_scenes(block),
    )
    provenance = Provenance(
        source=source,
        citation="devries2020",
        licence=LICENCE,
        url=URL,
        sha256={experiment.name: checksum(experiment, "sha256").partition(":")[2]},
        preprocessing=steps,
    )
    attrs = {"quantity": f"dF/F, mean of {n_window} frames", "units": "1"}
    table = table.drop(columns=["start", "stop"])
    return image_responses(values, table, neurons, images, attrs, provenance)


def _presentations(file: h5py.File) -> tuple[pd.DataFrame, int]:
    """Return the presentations, in frames, and how many frames a response is averaged over."""
    name = Path(file.filename).name
    group = next((group for group in SHOWN if group in file), None)
    if group is None:
        raise ValueError(
            f"{name} lacks {SHOWN[0]}: no natural scenes were shown. Take the session B of that "
            f"container."
        )
    frame = numbers(file, f"{group}/data")
    start, stop = numbers(file, f"{group}/frame_duration", (len(frame), 2)).T
    table = presentations(frame, start, stop, gap=GAP, name=name)
    table[["start", "stop"]] = table[["start", "stop"]].astype(np.int64)
    return table, SWEEPS * int(np.median(table["stop"] - table["start"]))


def _responses(file: h5py.File, start: np.ndarray, n_window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over each window, ``(presentation, cell)``, and the time of each frame."""
    name = Path(file.filename).name
    time = numbers(file, f"{DFF}/timestamps")
    traces = numbers(file, f"{DFF}/data", (None, len(time)))
    if start.min() < 0 or start.max() + n_window > len(time):
        raise ValueError(
            f"the natural scenes of {name} must lie within its {len(time)} frames; got onsets from "
            f"{start.min()} to {start.max()}, and {n_window} frames are needed from each. The "
            f"traces are cut short: fetch the file again."
        )
    total = np.zeros((len(start), len(traces)))
    for k in range(n_window):
        total += traces[:, start + k].T
    broken = np.flatnonzero(~np.isfinite(total).all(axis=0))
    if len(broken):
        raise ValueError(
            f"{DFF}/data in {name} holds NaN or infinity in {len(broken)} of {len(traces)} cells "
            f"(first: {broken[0]}) while scenes are shown. Fetch the file again, or take another "
            f"experiment."
        )
    return (total / n_window).astype(np.float32), time


def _neurons(file: h5py.File, n_cells: int) -> pd.DataFrame:
    check_shape(dataset(file, CELLS), (n_cells,))
    area = word(file, f"{PLANE}/location")
    return pd.DataFrame({"cell_specimen_id": numbers(file, CELLS), "area": area})


def _source(file: h5py.File) -> str:
    experiment, line = word(file, "general/session_id"), word(file, "general/subject/genotype")
    depth = word(file, f"{PLANE}/imaging depth")
    return (
        f"Allen Brain Observatory, two-photon, experiment {experiment}, {line.split(';')[0]}, "
        f"depth {depth}"
    )
