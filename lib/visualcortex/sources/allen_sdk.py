"""The same Neuropixels sessions, read with the Allen Institute's own AllenSDK.

It takes minutes and several gigabytes for what `allen_neuropixels_file` reads in seconds; what
comes out is the same. It is there to check that, and for sessions that are open already.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from visualcortex.recording import ImageResponses, SpikeTrains
from visualcortex.sources.allen import presentations
from visualcortex.sources.allen_neuropixels import Choice, recording_of
from visualcortex.sources.allen_neuropixels_file import GAP, sha256
from visualcortex.sources.allen_units import DEFAULT, PLACE, ParsedSession

if TYPE_CHECKING:
    from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession

# Everything: the units are chosen here, by the same rules whatever the reader.
ALL_UNITS = {
    "amplitude_cutoff_maximum": np.inf,
    "presence_ratio_minimum": -np.inf,
    "isi_violations_maximum": np.inf,
    "filter_by_validity": False,
    "filter_out_of_brain_units": False,
}
AXES = dict(zip(PLACE, ("anterior_posterior", "dorsal_ventral", "left_right"), strict=True))


def read_allen_sdk(
    session: Path | EcephysSession, scenes: Path | None = None, **options: object
) -> ImageResponses | SpikeTrains:
    """Read the spike counts of one session with the AllenSDK.

    Parameters
    ----------
    session
        ``session_<id>.nwb``; or a session that the AllenSDK has opened, as
        ``EcephysProjectCache.get_session_data`` returns it. Of that no more units are had than it
        holds: by default those that pass the AllenSDK's thresholds.
    scenes
        As in `read_allen_neuropixels`.
    **options
        ``area``, ``window``, ``block``, ``bins``, ``quality``, ``blank`` of
        `read_allen_neuropixels`.

    Returns
    -------
    ImageResponses or SpikeTrains
        As `read_allen_neuropixels`.

    Raises
    ------
    ImportError
        The AllenSDK is not installed.
    ValueError
        As `read_allen_neuropixels`.
    """
    choice = Choice(**options)
    return recording_of(parse_with_sdk(session), choice, scenes, _path(session))


def parse_with_sdk(session: Path | EcephysSession) -> ParsedSession:
    """Return what a session holds, as the AllenSDK gives it.

    Parameters
    ----------
    session
        As in `read_allen_sdk`.

    Raises
    ------
    ImportError
        The AllenSDK is not installed.
    ValueError
        No natural scenes were shown, or the tables are not as expected.
    """
    path = _path(session)
    opened = _open(session) if isinstance(session, Path) else session
    number = str(opened.ecephys_session_id)
    name = path.name if path is not None else f"session {number}"
    units = _units(opened, name)
    spikes = [np.sort(np.asarray(opened.spike_times[unit])) for unit in units["unit_id"]]
    version = importlib.metadata.version("allensdk")
    return ParsedSession(
        name=name,
        number=number,
        units=units,
        times=np.concatenate([*spikes, np.empty(0)]),
        ends=np.cumsum([len(times) for times in spikes], dtype=np.int64),
        presentations=_presentations(opened, name),
        invalid=tuple(_invalid(opened)),
        sha256={path.name: sha256(path)} if path is not None else {},
        steps=(f"read with the AllenSDK {version}",),
    )


def _open(path: Path) -> EcephysSession:
    try:
        from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession
    except ImportError as error:
        raise ImportError(
            "reading with the AllenSDK needs it: pip install 'visualcortex-book[allen]'; or leave "
            "out reader='allensdk', which needs no more than h5py."
        ) from error
    return EcephysSession.from_nwb_path(str(path), api_kwargs=ALL_UNITS)


def _path(session: Path | EcephysSession) -> Path | None:
    """Return the path of the session's file where it is known."""
    if isinstance(session, Path):
        return session
    path = getattr(session.api, "path", None)
    return Path(path) if path else None


def _units(session: EcephysSession, name: str) -> pd.DataFrame:
    """Return the session's units in the order of the file."""
    table = session.units
    if not len(table):
        raise ValueError(f"{name} holds no unit that the AllenSDK hands over. Take another one.")
    file = session.api.nwbfile
    order = pd.Index(np.asarray(file.units.id[:]))
    table = table.loc[order[order.isin(table.index)]]
    # not the acronym of the table of units, which lacks what follows a hyphen
    areas = pd.Series(file.electrodes["location"].data[:], file.electrodes.id[:])
    good = np.ones(len(table), bool)  # where it was opened with the defaults, those alone are left
    if "quality" in table:
        good &= (table["quality"] == "good").to_numpy()
    if "valid_data" in table:
        good &= table["valid_data"].to_numpy().astype(bool)
    columns = {
        "unit_id": table.index.to_numpy().astype(np.int64),
        "area": areas.loc[table["peak_channel_id"]].to_numpy().astype(str),
        "probe": table["probe_description"].to_numpy().astype(str),
    }
    columns |= {k: _numbers(table[f"{axis}_ccf_coordinate"]) for k, axis in AXES.items()}
    columns |= {measure: _numbers(table[measure]) for measure in DEFAULT}
    return pd.DataFrame(columns | {"good": good})


def _numbers(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _presentations(session: EcephysSession, name: str) -> pd.DataFrame:
    """Return the natural scenes.

    Not by ``get_stimulus_table``: that hides what touches an invalid time, and with it where a
    stretch of scenes ends.
    """
    table = session.api.get_stimulus_presentations()
    table = table[table["stimulus_name"] == "natural_scenes"]
    if not len(table):
        raise ValueError(
            f"{name}: no natural scenes were shown, as in the sessions functional_connectivity. "
            f"Take a session brain_observatory_1.1."
        )
    frame, start, stop = (_numbers(table[k]) for k in ("frame", "start_time", "stop_time"))
    found = presentations(frame, start, stop, gap=GAP, name=name)
    return found.rename(columns={"start": "start_s", "stop": "stop_s"})


def _invalid(session: EcephysSession) -> Iterator[tuple[float, float, tuple[str, ...]]]:
    for row in session.invalid_times.itertuples():
        yield float(row.start_time), float(row.stop_time), tuple(row.tags)
