"""Recordings: the one schema that every source and every simulator returns."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr


@dataclass(frozen=True)
class Provenance:
    """Where a recording comes from and what was done to it before it was handed over.

    Parameters
    ----------
    source
        Who recorded (or simulated) it, in words.
    citation
        Key of the entry in the bibliography; empty for a simulation.
    licence
        Licence of the data, or ``"none stated"``.
    url
        Where the files were published; empty for a simulation.
    sha256
        File name to SHA-256 of the bytes that were read; empty for a simulation.
    preprocessing
        One sentence a step, in order, the recorder's own steps first.
    """

    source: str
    citation: str
    licence: str
    url: str
    sha256: Mapping[str, str]
    preprocessing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recording:
    r"""Responses :math:`x_{r,t,i}` of neurons *i* at times *t* of trials *r*, and their context.

    Parameters
    ----------
    responses
        Named dimensions: ``"trial"`` first, ``"neuron"`` last, ``"time"`` or ``"bin"`` between
        them where there is a time axis. ``attrs`` hold ``"quantity"`` (what is measured) and
        ``"units"``; a coordinate ``"time"`` is in seconds from the start of the trial.
    trials
        One row a trial in order of recording; integer columns ``"stimulus"`` (which stimulus was
        shown) and ``"session"`` (which uninterrupted stretch of recording) at least.
    neurons
        One row a neuron; may be no more than its index.
    provenance
        Source, citation, licence, checksums, preprocessing.
    images
        Stimulus images, first axis = stimulus, where there are any.
    spontaneous
        Activity without stimulus, ``"neuron"`` last, where there is any.
    truth
        What is known of the mechanism; None for a real recording.

    Raises
    ------
    ValueError
        Dimensions, lengths, units, integer labels or values are not as described. Neurons that
        never respond are allowed and listed by `silent_neurons`.
    """

    responses: xr.DataArray
    trials: pd.DataFrame
    neurons: pd.DataFrame
    provenance: Provenance
    images: np.ndarray | None = None
    spontaneous: xr.DataArray | None = None
    truth: object | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("trial", "neuron"),
        ("trial", "time", "neuron"),
        ("trial", "bin", "neuron"),
    )

    def __post_init__(self) -> None:
        """Check the whole recording once, so that nothing below has to."""
        _check_layout(self.responses, self.layouts)
        _check_lengths(self.responses, self.trials, self.neurons)
        _check_labels(self.trials)
        _check_finite(self.responses)
        _check_images(self.images, self.stimulus)
        _check_like_responses("spontaneous", self.spontaneous, self.n_neurons)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return int(self.responses.sizes["trial"])

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(self.responses.sizes["neuron"])

    @property
    def has_time(self) -> bool:
        """Whether a trial has a time axis (``"time"`` or ``"bin"``)."""
        return self.responses.ndim == 3

    @property
    def stimulus(self) -> np.ndarray:
        """Stimulus shown in each trial, integers ``(trial,)``."""
        return self.trials["stimulus"].to_numpy()

    @property
    def session(self) -> np.ndarray:
        """Session of each trial, integers ``(trial,)``."""
        return self.trials["session"].to_numpy()

    @property
    def silent_neurons(self) -> np.ndarray:
        """Positions of the neurons whose response never changes (they carry no information)."""
        values = self.responses.to_numpy()
        axes = tuple(range(values.ndim - 1))
        return np.flatnonzero(np.ptp(values, axis=axes) == 0)

    def summary(self) -> dict[str, str]:
        """Return the facts that a reader wants first, as labelled text."""
        return dict(_summary(self))

    def __repr__(self) -> str:
        sizes = " × ".join(f"{n} {_plural(dim, n)}" for dim, n in self.responses.sizes.items())
        quantity, units = self.responses.attrs["quantity"], self.responses.attrs["units"]
        return f"<{type(self).__name__}: {quantity} [{units}], {sizes}; {self.provenance.source}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in self.summary().items()
        )
        caption = html.escape(type(self).__name__)
        return f'<table class="recording"><caption>{caption}</caption><tbody>{rows}</tbody></table>'


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageResponses(Recording):
    """One number for each trial and neuron, dimensions ``("trial", "neuron")``.

    Parameters
    ----------
    stimuli
        One row an image (row k is stimulus k), where something is known of them; column
        ``"category"``, a word, ``"unknown"`` where nobody is sure.
    grey
        Responses to a grey screen, dimensions ``("trial", "neuron")``, where it was shown.

    Raises
    ------
    ValueError
        As `Recording`; or `stimuli` lacks a row or its column, or `grey` has other neurons.
    """

    stimuli: pd.DataFrame | None = None
    grey: xr.DataArray | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (("trial", "neuron"),)

    def __post_init__(self) -> None:
        """Check the schema, then the table of images and the grey screens."""
        super().__post_init__()
        _check_stimuli(self.stimuli, self.stimulus)
        _check_like_responses("grey", self.grey, self.n_neurons)

    @property
    def category(self) -> np.ndarray:
        """Category of the image of each trial, words ``(trial,)``.

        Raises
        ------
        ValueError
            The categories of this recording's images are not known.
        """
        if self.stimuli is None:
            raise ValueError("the categories of these images are not known: there is no table.")
        return self.stimuli["category"].to_numpy()[self.stimulus]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SpikeTrains(Recording):
    """Spike counts in bins, dimensions ``("trial", "bin", "neuron")``, whole and not negative."""

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (("trial", "bin", "neuron"),)

    def __post_init__(self) -> None:
        """Check the schema, then that the responses are counts."""
        super().__post_init__()
        _check_counts(self.responses)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CalciumRecording(Recording):
    """Calcium activity, dimensions ``("trial", "time", "neuron")`` or ``("trial", "neuron")``."""

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("trial", "neuron"),
        ("trial", "time", "neuron"),
    )


def _check_layout(responses: xr.DataArray, layouts: tuple[tuple[str, ...], ...]) -> None:
    if not isinstance(responses, xr.DataArray):
        raise TypeError(
            f"responses must be an xarray.DataArray with named dimensions; got "
            f"{type(responses).__name__}. Wrap it: xr.DataArray(values, dims={layouts[0]})."
        )
    if responses.dims not in layouts:
        wanted = " or ".join(str(layout) for layout in layouts)
        raise ValueError(
            f"responses must have dimensions {wanted}; got {responses.dims}. "
            f"Rename or transpose them."
        )
    missing = [key for key in ("quantity", "units") if not responses.attrs.get(key)]
    if missing:
        raise ValueError(
            f"responses.attrs must name the quantity and its units; missing: {', '.join(missing)}. "
            f'For example attrs={{"quantity": "dF/F", "units": "1"}}.'
        )
    if "time" in responses.dims and "time" not in responses.coords:
        raise ValueError(
            "responses has a dimension 'time' without coordinate; expected seconds from the start "
            "of the trial. Assign coords={'time': np.arange(n_frames) / frame_rate}."
        )


def _check_lengths(responses: xr.DataArray, trials: pd.DataFrame, neurons: pd.DataFrame) -> None:
    for dim, name, table in (("trial", "trials", trials), ("neuron", "neurons", neurons)):
        expected = responses.sizes[dim]
        if expected == 0:
            raise ValueError(f"responses has no {dim}; expected at least one. Check the selection.")
        if len(table) != expected:
            raise ValueError(
                f"{name} must have one row for each of the {expected} {dim}s in responses; "
                f"got {len(table)} rows. Select the same {dim}s from both."
            )


def _check_labels(trials: pd.DataFrame) -> None:
    for column in ("stimulus", "session"):
        if column not in trials:
            raise ValueError(
                f"trials must have an integer column '{column}'; got columns "
                f"{list(trials.columns)}. Number the {column}s from 0 (all 0 if there is one)."
            )
        if not pd.api.types.is_integer_dtype(trials[column].dtype):
            raise ValueError(
                f"trials['{column}'] must hold integers; got dtype {trials[column].dtype}. "
                f"Number the {column}s, for example with pandas.factorize."
            )
        if trials[column].isna().any() or (trials[column] < 0).any():
            raise ValueError(
                f"trials['{column}'] must hold numbers from 0 on; got missing or negative ones. "
                f"Drop those trials or number the {column}s from 0."
            )


def _check_finite(responses: xr.DataArray) -> None:
    values = responses.to_numpy()
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"responses must be real numbers; got dtype {values.dtype}. Convert with astype(float)."
        )
    if values.dtype.kind != "f":
        return
    # trial by trial: a mask of all values would be a second large array
    per_trial = np.array([np.count_nonzero(~np.isfinite(trial)) for trial in values])
    rows = np.flatnonzero(per_trial)
    if len(rows):
        shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        raise ValueError(
            f"responses must be finite; got {per_trial.sum()} NaN or infinite values in "
            f"{len(rows)} of {len(values)} trials (trial {shown}). Drop these trials from "
            f"responses and trials, or fill them in and say so in provenance.preprocessing."
        )


def _check_counts(responses: xr.DataArray) -> None:
    values = responses.to_numpy()
    wrong = int(np.sum((values < 0) | (values != np.floor(values))))
    if wrong:
        raise ValueError(
            f"spike counts must be whole and not negative; got {wrong} other values "
            f"(smallest {values.min():g}). Bin spikes, or use CalciumRecording for rates."
        )


def _check_images(images: np.ndarray | None, stimulus: np.ndarray) -> None:
    if images is not None and len(images) <= stimulus.max():
        raise ValueError(
            f"images must hold one image for each stimulus, at least {stimulus.max() + 1}; "
            f"got {len(images)}. Add the missing images or renumber trials['stimulus']."
        )


def _check_like_responses(name: str, activity: xr.DataArray | None, n_neurons: int) -> None:
    if activity is None:
        return
    if not activity.dims or activity.dims[-1] != "neuron":
        raise ValueError(
            f"{name} must have 'neuron' as its last dimension; got {activity.dims}. Transpose it."
        )
    if activity.sizes["neuron"] != n_neurons:
        raise ValueError(
            f"{name} must have the {n_neurons} neurons of responses; got "
            f"{activity.sizes['neuron']}. Select the same neurons from both."
        )


def _check_stimuli(stimuli: pd.DataFrame | None, stimulus: np.ndarray) -> None:
    if stimuli is None:
        return
    if "category" not in stimuli:
        raise ValueError(
            f"stimuli must have a column 'category'; got {list(stimuli.columns)}. "
            f"Write 'unknown' where the category of an image is not known."
        )
    if len(stimuli) <= stimulus.max():
        raise ValueError(
            f"stimuli must have one row for each stimulus, at least {stimulus.max() + 1}; got "
            f"{len(stimuli)}. Add the missing images or renumber trials['stimulus']."
        )


def _plural(noun: str, count: int) -> str:
    noun = {"time": "frame"}.get(noun, noun)
    return noun if count == 1 else noun + "s"


def _summary(recording: Recording) -> Iterator[tuple[str, str]]:
    responses, provenance = recording.responses, recording.provenance
    n_stimuli = len(np.unique(recording.stimulus))
    per_stimulus = np.unique(recording.stimulus, return_counts=True)[1]
    silent = recording.silent_neurons
    yield "quantity", f"{responses.attrs['quantity']} [{responses.attrs['units']}]"
    yield "size", " × ".join(f"{n} {_plural(dim, n)}" for dim, n in responses.sizes.items())
    if "time" in responses.coords:
        time = responses["time"].to_numpy()
        yield "time", f"{time[0]:g} to {time[-1]:g} s"
    spread = f"{per_stimulus.min()} to {per_stimulus.max()} trials each"
    yield "stimuli", f"{n_stimuli} ({spread})"
    yield "sessions", f"{len(np.unique(recording.session))}"
    yield "silent neurons", f"{len(silent)}"
    yield "truth", "known (simulated)" if recording.truth is not None else "not known"
    yield "source", provenance.source
    if provenance.citation:
        yield "citation", provenance.citation
    yield "licence", provenance.licence
