"""Spikes of the mouse visual system while 118 natural scenes were shown, some 50 times each.

The sessions ``brain_observatory_1.1`` of the Allen Institute's Visual Coding - Neuropixels data
(Siegle, Jia, Durand and others 2021), one NWB file a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance, SpikeTrains
from visualcortex.sources.allen import (
    BLOCK,
    BUCKET,
    LICENCE,
    N_SCENES,
    TEMPLATES,
    describe_scenes,
    image_responses,
    read_scenes,
)
from visualcortex.sources.allen_neuropixels_file import parse_session, sha256
from visualcortex.sources.allen_units import (
    Area,
    ParsedSession,
    Quality,
    choose_units,
    is_blank,
    previous_frames,
    thresholds,
    valid_presentations,
)
from visualcortex.spikes import SpikeTimes, count_spikes

URL = "https://portal.brain-map.org/circuits-behavior/visual-coding-neuropixels"
SMALL = 31  # pixels along either axis of the scenes in a .npy file
READERS = ("h5py", "allensdk")
ATTRS = {"quantity": "spike count", "units": "spikes"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is taken of a session; the options of `read_allen_neuropixels`."""

    area: Area = "VISam"
    window: tuple[float, float] = (0.0, 0.25)
    block: int = BLOCK
    bins: int | None = None
    quality: Quality = "default"
    blank: str = "drop"

    def __post_init__(self) -> None:
        """Refuse what is not possible before a large file is read."""
        _check_window(self.window)
        thresholds(self.quality)
        whole = isinstance(self.bins, Integral) and not isinstance(self.bins, bool)
        if self.bins is not None and not (whole and self.bins >= 1):
            raise ValueError(
                f"bins must be a whole number of bins, 1 or more, or None for one count a "
                f"presentation; got {self.bins!r}."
            )
        if self.blank not in ("drop", "keep"):
            raise ValueError(f"blank must be 'drop' or 'keep'; got {self.blank!r}.")
        if self.blank == "keep" and self.bins is None:
            raise ValueError(
                "blank='keep' needs bins: without them the grey screens are the recording's grey. "
                "Give bins=1, or leave blank out."
            )

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins after the onset, s, ``(bin + 1,)``."""
        return np.linspace(*self.window, (self.bins or 1) + 1)


class _Taken(NamedTuple):
    """What was chosen of a session, and what the provenance has to say of it so far."""

    parsed: ParsedSession
    choice: Choice
    units: pd.DataFrame
    spikes: SpikeTimes
    valid: np.ndarray
    steps: tuple[str, ...]


class _Images(NamedTuple):
    """The images if there are any, what was done to them, and the checksum of their file."""

    values: np.ndarray | None
    step: str
    sha256: dict[str, str]


def read_allen_neuropixels(
    session: Path,
    scenes: Path | None = None,
    *,
    area: Area = "VISam",
    window: tuple[float, float] = (0.0, 0.25),
    block: int = BLOCK,
    bins: int | None = None,
    quality: Quality = "default",
    blank: str = "drop",
    reader: str = "h5py",
    folder: Path | None = None,
) -> ImageResponses | SpikeTrains:
    """Read the spike counts of one session, one a presentation or in bins.

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
        the AllenSDK keeps it. With `bins` a ``.npy`` file ``(118, 961)`` will do, of scenes
        squeezed to 31 x 31 pixels (others publish one, without a licence); and where nothing is
        at hand the recording has no images.
    area
        Acronym of the area of the units' peak channels, such as VISp; a part after a hyphen
        (LGd-sh) need not be given. Several in one text with commas, or in a list. None for all of
        them inside the brain.
    window
        Start and stop of counting after the onset of a scene, s; stop excluded.
    block
        As in `allen.read_scenes`.
    bins
        Number of bins of equal width in the window; None for one count a presentation.
    quality
        ``"default"``, the thresholds of the AllenSDK: presence ratio at least 0.95, interval
        violations at most 0.5, amplitude cutoff at most 0.1; ``"off"``, none of them; or a
        mapping of some of ``presence_ratio``, ``isi_violations`` and ``amplitude_cutoff`` to other
        thresholds.
    blank
        With `bins`: ``"drop"`` leaves the grey screens out, which are no scene; ``"keep"`` makes
        them stimulus 118, for which there is no image, so that the recording has none.
    reader
        ``"h5py"``, or ``"allensdk"`` for the Allen Institute's own, slower one.
    folder
        Where what was read is kept for the next time, see `parse_session`.

    Returns
    -------
    ImageResponses
        Without `bins`: responses and grey screens ``("trial", "neuron")``, spike counts, float32.
    SpikeTrains
        With `bins`: ``("trial", "bin", "neuron")``; coordinate ``"bin"`` is the middle of the bin,
        s from the onset; ``spikes`` are the spike times of these units in the whole session.

    ``trials`` has ``presentation``, the row in the file, ``start_s``, ``stop_s``, one ``session``
    for each uninterrupted stretch of scenes; with `bins` also ``frame``, the published number (-1
    is grey), and ``previous``, the frame before: -2 where there is none without a pause or where
    it was invalid. ``neurons`` has ``unit_id``, ``area``, ``probe``, three measures of quality and
    the place of its channel in the Common Coordinate Framework (``x_um`` towards posterior,
    ``y_um`` ventral, ``z_um`` right).

    Raises
    ------
    ValueError
        A file is not of that form, an option is not possible, or no unit is left; the message
        says which and what to do.

    Notes
    -----
    The units are those that the AllenSDK hands over. Presentations that touch a time marked as
    invalid for the stimulus, for all probes or for a probe of these units are left out.
    A spike at the very end of a window, which the AllenSDK counts, belongs to the next one here.
    """
    choice = Choice(
        area=area, window=window, block=block, bins=bins, quality=quality, blank=blank
    )  # fmt: skip
    if reader not in READERS:
        raise ValueError(f"reader must be one of {', '.join(READERS)}; got {reader!r}.")
    if reader == "allensdk":
        from visualcortex.sources.allen_sdk import parse_with_sdk

        return recording_of(parse_with_sdk(session), choice, scenes, session)
    return recording_of(parse_session(session, folder), choice, scenes, session)


def recording_of(
    parsed: ParsedSession, choice: Choice, scenes: Path | None, path: Path | None
) -> ImageResponses | SpikeTrains:
    """Make the recording of a session that is read already, by whatever reader.

    Parameters
    ----------
    parsed
        What the session holds.
    choice
        What is taken of it.
    scenes
        As in `read_allen_neuropixels`.
    path
        The session's file, beside which the scenes may lie; None where it is not known.

    Returns
    -------
    ImageResponses or SpikeTrains
        As `read_allen_neuropixels`.

    Raises
    ------
    ValueError
        No unit or no presentation is left, or the scenes are not to be had.
    """
    rows, units, chosen = choose_units(parsed, choice.area, choice.quality)
    valid = valid_presentations(parsed, choice.window, units["probe"].unique())
    if not valid.any():
        raise ValueError(f"{parsed.name}: no presentation is valid. Take another session.")
    steps = (
        "recorder: Kilosort2, spike times of sorted units in s",
        *parsed.steps,
        chosen,
        f"{(~valid).sum()} of {len(valid)} presentations in times marked as invalid left out",
    )
    taken = _Taken(parsed, choice, units, parsed.spikes(rows), valid, steps)
    make = _image_responses if choice.bins is None else _spike_trains
    return make(taken, _images(choice, _scenes(choice, scenes, path)))


def _image_responses(taken: _Taken, images: _Images) -> ImageResponses:
    table = taken.parsed.presentations[taken.valid]
    counts = count_spikes(taken.spikes, table["start_s"].to_numpy(), taken.choice.edges)[:, 0]
    start, stop = taken.choice.window
    counted = f"spikes counted from {start:g} to {stop:g} s after onset"
    provenance = _provenance(taken, images, (counted,))
    return image_responses(counts, table, taken.units, images.values, dict(ATTRS), provenance)


def _spike_trains(taken: _Taken, images: _Images) -> SpikeTrains:
    table, choice = taken.parsed.presentations, taken.choice
    blank, kept = is_blank(table), choice.blank == "keep"
    shown = taken.valid if kept else taken.valid & ~blank
    if not shown.any():
        raise ValueError(
            f"{taken.parsed.name}: only grey screens are valid. Take another session."
        )  # fmt: skip
    table = table.assign(previous=previous_frames(table, taken.valid))
    trials = table[shown].reset_index(drop=True)
    trials.insert(0, "stimulus", np.where(trials["frame"] < 0, N_SCENES, trials["frame"]))
    start, stop = choice.window
    steps = (
        f"{(taken.valid & blank).sum()} grey screens "
        + (f"kept as stimulus {N_SCENES}" if kept else "left out"),
        f"spikes counted in {choice.bins} bins from {start:g} to {stop:g} s after onset",
    )
    return SpikeTrains(
        responses=_binned(taken.spikes, trials["start_s"].to_numpy(), choice.edges),
        trials=trials,
        neurons=taken.units.rename_axis("neuron"),
        provenance=_provenance(taken, images, steps),
        images=images.values,
        spikes=taken.spikes,
    )


def _binned(spikes: SpikeTimes, onsets: np.ndarray, edges: np.ndarray) -> xr.DataArray:
    width = (edges[-1] - edges[0]) / (len(edges) - 1)
    about = {"long_name": "middle of the bin after the onset", "units": "s", "width": width}
    return xr.DataArray(
        count_spikes(spikes, onsets, edges),
        dims=("trial", "bin", "neuron"),
        coords={"bin": ("bin", (edges[:-1] + edges[1:]) / 2, about)},
        attrs=dict(ATTRS),
    )


def _provenance(taken: _Taken, images: _Images, steps: tuple[str, ...]) -> Provenance:
    return Provenance(
        source=f"Allen Institute, Visual Coding - Neuropixels, session {taken.parsed.number}",
        citation="siegle2021",
        licence=LICENCE,
        url=URL,
        sha256=taken.parsed.sha256 | images.sha256,
        preprocessing=(*taken.steps, *steps, images.step),
    )


def _check_window(window: tuple[float, float]) -> None:
    edges = np.asarray(window, dtype=np.float64)
    if edges.shape != (2,) or not np.isfinite(edges).all() or edges[0] >= edges[1]:
        raise ValueError(
            f"window must be (start, stop) in s after onset, start before stop; got {window!r}. "
            f"A scene is shown from 0 to 0.25 s."
        )


def _images(choice: Choice, scenes: Path | None) -> _Images:
    if choice.blank == "keep":
        return _Images(None, "images: left out, for there is none of the grey screen", {})
    if scenes is None:
        return _Images(None, f"images: none, for {TEMPLATES} is not at hand", {})
    if scenes.suffix != ".npy":
        values = read_scenes(scenes, block=choice.block)
        return _Images(values, describe_scenes(choice.block), {})
    step = f"images: the {N_SCENES} scenes squeezed to {SMALL} x {SMALL} pixels by others"
    return _Images(_small_scenes(scenes, choice), step, {scenes.name: sha256(scenes)})


def _small_scenes(path: Path, choice: Choice) -> np.ndarray:
    """Read scenes of 31 x 31 pixels, row after row."""
    if choice.bins is None:
        raise ValueError(
            f"{path.name} holds small scenes at best; responses to images need those of the "
            f"folder {TEMPLATES}: {BUCKET}/{TEMPLATES}. With bins they will do."
        )
    try:
        flat = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is no array of numpy, or cut short: fetch it again.") from error
    if flat.shape != (N_SCENES, SMALL**2) or flat.dtype.kind not in "iuf":
        raise ValueError(
            f"{path.name} must hold {N_SCENES} scenes of {SMALL} x {SMALL} pixels, shape "
            f"({N_SCENES}, {SMALL**2}); got {flat.dtype} {flat.shape}. It may be another file."
        )
    if not np.isfinite(flat).all():
        raise ValueError(f"{path.name} holds NaN or infinity: fetch it again.")
    return flat.astype(np.float32).reshape(N_SCENES, SMALL, SMALL)


def _scenes(choice: Choice, scenes: Path | None, session: Path | None) -> Path | None:
    """Return where the scenes are; None if there are none and none are needed."""
    if scenes is not None:
        return scenes
    found = next((place for place in _places(session) if place.is_dir()), None)
    if found is None and choice.bins is None:
        raise ValueError(
            f"the scenes are not in {session.name if session else 'the session'}, and there is no "
            f"folder {TEMPLATES} with natural_scene_0.tiff to natural_scene_117.tiff beside it or "
            f"beside its folder. Get it from {BUCKET}/{TEMPLATES}, or give its path as scenes; a "
            f"two-photon NWB file with natural scenes does as well. With bins none are needed."
        )
    return found


def _places(session: Path | None) -> Iterator[Path]:
    """Yield where the AllenSDK keeps the scenes in the cache that the session lies in."""
    if session is not None:
        yield from (folder / TEMPLATES for folder in (session.parent, session.parent.parent))
