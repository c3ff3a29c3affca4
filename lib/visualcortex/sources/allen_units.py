"""Which units and which presentations of a Neuropixels session are taken, however it was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from visualcortex.sources.allen import BLANK
from visualcortex.spikes import SpikeTimes

OUTSIDE = ("", "None", "nan")  # the area of channels outside the brain, as releases write it
NO_SCENE = -2  # what came before a presentation is not known
# The defaults of the AllenSDK.
PRESENCE_RATIO = 0.95  # at least: fraction of the session in which the unit fires
ISI_VIOLATIONS = 0.5  # at most: rate of contaminating spikes relative to the unit's own
AMPLITUDE_CUTOFF = 0.1  # at most: fraction of spikes that are lost below threshold
DEFAULT = {
    "presence_ratio": PRESENCE_RATIO,
    "isi_violations": ISI_VIOLATIONS,
    "amplitude_cutoff": AMPLITUDE_CUTOFF,
}
OFF = {"presence_ratio": -np.inf, "isi_violations": np.inf, "amplitude_cutoff": np.inf}
PHRASES = {
    "presence_ratio": ("presence ratio", "at least"),
    "isi_violations": ("interval violations", "at most"),
    "amplitude_cutoff": ("amplitude cutoff", "at most"),
}
PLACE = ("x_um", "y_um", "z_um")

Area = str | Iterable[str] | None
Quality = str | Mapping[str, float]


@dataclass(frozen=True)
class ParsedSession:
    """What a session holds, all of it.

    Parameters
    ----------
    name
        Name of the file, for messages.
    number
        Number of the session.
    units
        One row a unit in the order of the file: ``unit_id``, ``area``, ``probe``, ``x_um``,
        ``y_um``, ``z_um``, the three measures of quality, ``good`` (judged a neuron, on a valid
        channel).
    times, ends
        As in `SpikeTimes`, for all units; they may lie on disk.
    presentations
        As of `allen.presentations`, with ``start_s`` and ``stop_s``.
    invalid
        Start and stop in s, and labels, of the times that are marked as invalid.
    sha256
        Of the files that were read, by name.
    steps
        What the provenance has to say of the reading.
    """

    name: str
    number: str
    units: pd.DataFrame
    times: np.ndarray
    ends: np.ndarray
    presentations: pd.DataFrame
    invalid: tuple[tuple[float, float, tuple[str, ...]], ...]
    sha256: dict[str, str]
    steps: tuple[str, ...] = ()

    def spikes(self, rows: np.ndarray) -> SpikeTimes:
        """Return the spike times of some units, by their rows."""
        starts = np.concatenate([[0], self.ends[:-1]])
        return SpikeTimes.from_lists([self.times[starts[k] : self.ends[k]] for k in rows])


def area_words(area: Area) -> tuple[str, ...] | None:
    """Return the areas asked for, one word each; None for all of them.

    Raises
    ------
    ValueError
        There is no word.
    """
    if area is None:
        return None
    given = area.split(",") if isinstance(area, str) else list(area)
    found = tuple(word.strip() for word in given if isinstance(word, str) and word.strip())
    if not found or len(found) < len(given):
        raise ValueError(
            f"area must be an acronym such as 'VISp', several ('VISp, LGd' or a list), or None for "
            f"all; got {area!r}."
        )
    return found


def thresholds(quality: Quality) -> dict[str, float]:
    """Return the three thresholds: the AllenSDK's, none, or those that are given.

    Raises
    ------
    ValueError
        A word or a name is not known, or a threshold is not a number.
    """
    if isinstance(quality, str) and quality in ("default", "off"):
        return dict(DEFAULT if quality == "default" else OFF)
    if not isinstance(quality, Mapping) or not set(quality) <= set(DEFAULT):
        raise ValueError(
            f"quality must be 'default', 'off', or thresholds such as {{'presence_ratio': 0.9}} "
            f"for some of {', '.join(DEFAULT)}; got {quality!r}."
        )
    for name, value in quality.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or np.isnan(value):
            raise ValueError(f"the threshold of {name} must be a number; got {value!r}.")
    return DEFAULT | dict(quality)


def choose_units(
    session: ParsedSession, area: Area, quality: Quality
) -> tuple[np.ndarray, pd.DataFrame, str]:
    """Return the units of an area that pass, and how they were chosen.

    Units that were judged to be noise, that lie on an invalid channel, outside the brain, or of
    which a measure is missing never pass, whatever the thresholds: as in the AllenSDK.

    Parameters
    ----------
    session
        The session.
    area, quality
        As in `read_allen_neuropixels`.

    Returns
    -------
    rows
        Rows in the table of all units, ``(unit,)``.
    units
        Their part of the table.
    chosen
        A sentence for the provenance.

    Raises
    ------
    ValueError
        No unit lies in an area, or none passes.
    """
    limits, words = thresholds(quality), area_words(area)
    inside = _inside(session, words)
    units = session.units
    passing = inside & units["good"].to_numpy()
    passing &= (units["presence_ratio"] >= limits["presence_ratio"]).to_numpy()
    for name in ("isi_violations", "amplitude_cutoff"):
        passing &= (units[name] <= limits[name]).to_numpy()
    chosen = (
        f"{passing.sum()} of {inside.sum()} units of {', '.join(words or ['all areas'])} kept: of "
        f"good quality on a valid channel, {', '.join(_described(limits))}"
    )
    if not passing.any():
        raise ValueError(f"{session.name}: {chosen}. Choose another area or session.")
    rows = np.flatnonzero(passing)
    return rows, units.iloc[rows].drop(columns="good").reset_index(drop=True), chosen


def valid_presentations(
    session: ParsedSession, window: tuple[float, float], probes: Iterable[str]
) -> np.ndarray:
    """Return which presentations touch no invalid time, ``(presentation,)``.

    Parameters
    ----------
    session
        The session.
    window
        Start and stop of counting after the onset, s: it counts as part of the presentation.
    probes
        Times that are invalid for the stimulus, for all probes or for one of these concern it.
    """
    table = session.presentations
    valid = np.ones(len(table), bool)
    start = table["start_s"].to_numpy() + min(window[0], 0)
    stop = np.maximum(table["stop_s"], table["start_s"] + window[1]).to_numpy()
    concerned = {*probes, "stimulus", "all_probes"}
    for first, last, labels in session.invalid:
        if concerned & set(labels):
            valid &= (stop <= first) | (start >= last)
    return valid


def previous_frames(table: pd.DataFrame, valid: np.ndarray) -> np.ndarray:
    """Return what was shown before each presentation, integers ``(presentation,)``.

    The number of a scene or -1 for grey; -2 where nothing came before without a pause, or where
    what came before touches an invalid time.
    """
    frame, session = table["frame"].to_numpy(), table["session"].to_numpy()
    previous = np.full(len(table), NO_SCENE, np.int64)
    follows = (session[1:] == session[:-1]) & valid[:-1]
    previous[1:][follows] = frame[:-1][follows]
    return previous


def is_blank(table: pd.DataFrame) -> np.ndarray:
    """Return which presentations are grey screens, ``(presentation,)``."""
    return table["frame"].to_numpy() == BLANK


def _inside(session: ParsedSession, words: tuple[str, ...] | None) -> np.ndarray:
    areas = session.units["area"]
    if words is None:
        return ~areas.isin(OUTSIDE).to_numpy()
    inside = np.zeros(len(areas), bool)
    for word in words:
        found = ((areas == word) | (areas.str.partition("-")[0] == word)).to_numpy()
        if not found.any():
            counted = areas[~areas.isin(OUTSIDE)].value_counts()
            known = ", ".join(f"{area} ({n} units)" for area, n in counted.items())
            raise ValueError(f"{session.name} has no unit in area {word!r}. Its areas: {known}.")
        inside |= found
    return inside


def _described(limits: Mapping[str, float]) -> Iterator[str]:
    for name, (what, how) in PHRASES.items():
        yield f"{what} {how} {limits[name]:g}" if np.isfinite(limits[name]) else f"any {what}"
