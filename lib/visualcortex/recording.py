"""Recordings: the one schema that every source and every simulator returns."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import pandas as pd
import xarray as xr

if TYPE_CHECKING:
    from visualcortex.spikes import SpikeTimes

SUBJECT_COLUMNS = ("species", "subject", "session", "region")
STIMULUS_COLUMNS = ("stimulus_id", "category")
SYMMETRY = 1e-6  # of the largest dissimilarity: rounding of float32, not more


class ImageArray(Protocol):
    """Images in memory or on disk: an array, or what gives one for some of its rows."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray: ...


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


class _Described:
    """What introduces itself: in one line, and as a table in a notebook."""

    provenance: Provenance
    truth: object | None

    def _measured(self) -> xr.DataArray:
        """Return what was measured, with its quantity and units."""
        raise NotImplementedError

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Yield what its kind has to say, as labelled text."""
        raise NotImplementedError

    def summary(self) -> dict[str, str]:
        """Return the facts that a reader wants first, as labelled text."""
        return dict(_summary(self))

    def __repr__(self) -> str:
        measured = self._measured()
        quantity, units = measured.attrs["quantity"], measured.attrs["units"]
        name, source = type(self).__name__, self.provenance.source
        return f"<{name}: {quantity} [{units}], {_sizes(measured)}; {source}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in self.summary().items()
        )
        caption = html.escape(type(self).__name__)
        return f'<table class="recording"><caption>{caption}</caption><tbody>{rows}</tbody></table>'


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recording(_Described):
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
        Stimulus images, first axis = stimulus, where there are any; an array, or what reads them
        from disk piece by piece.
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
    images: ImageArray | None = None
    spontaneous: xr.DataArray | None = None
    truth: object | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("trial", "neuron"),
        ("trial", "time", "neuron"),
        ("trial", "bin", "neuron"),
    )

    def __post_init__(self) -> None:
        """Check the whole recording once, so that nothing below has to."""
        _check_layout("responses", self.responses, self.layouts)
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

    def _measured(self) -> xr.DataArray:
        return self.responses

    def _facts(self) -> Iterator[tuple[str, str]]:
        per_stimulus = np.unique(self.stimulus, return_counts=True)[1]
        if "time" in self.responses.coords:
            time = self.responses["time"].to_numpy()
            yield "time", f"{time[0]:g} to {time[-1]:g} s"
        spread = f"{per_stimulus.min()} to {per_stimulus.max()} trials each"
        yield "stimuli", f"{len(per_stimulus)} ({spread})"
        yield "sessions", f"{len(np.unique(self.session))}"
        yield "silent neurons", f"{len(self.silent_neurons)}"


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
    """Spike counts in bins, dimensions ``("trial", "bin", "neuron")``, whole and not negative.

    Parameters
    ----------
    spikes
        Spike times of the same neurons, also between the trials, where there are any.

    Raises
    ------
    TypeError
        `spikes` is of another kind.
    ValueError
        As `Recording`; or the responses are no counts, or `spikes` has other neurons.
    """

    spikes: SpikeTimes | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (("trial", "bin", "neuron"),)

    def __post_init__(self) -> None:
        """Check the schema, then that the responses are counts, and the spike times."""
        super().__post_init__()
        _check_counts(self.responses)
        _check_spikes(self.spikes, self.n_neurons)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CalciumRecording(Recording):
    """Calcium activity, dimensions ``("trial", "time", "neuron")`` or ``("trial", "neuron")``."""

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("trial", "neuron"),
        ("trial", "time", "neuron"),
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CalciumSpikes(_Described):
    r"""Calcium traces :math:`y_{it}` and the spikes :math:`n_{it}` of the same neurons *i*.

    The spikes are known otherwise: recorded electrically, or simulated. Neurons may come from
    different recordings, so that frame *t* of one has nothing to do with frame *t* of another.

    Parameters
    ----------
    traces
        Dimensions ``("neuron", "time")``; where a neuron was recorded for less long, NaN at the end
        and nowhere else. The coordinate ``"time"`` is the start of each frame in s, evenly spaced.
        ``attrs`` hold ``"quantity"`` and ``"units"``.
    spikes
        The same dimensions and coordinate: spikes in each frame, NaN where `traces` are.
    neurons
        One row a neuron; may be no more than its index.
    provenance
        Source, citation, licence, checksums, preprocessing.
    truth
        What is known of the indicator; None for a real recording.

    Raises
    ------
    TypeError
        An array has no named dimensions.
    ValueError
        Dimensions, lengths, units, times or values are not as described.
    """

    traces: xr.DataArray
    spikes: xr.DataArray
    neurons: pd.DataFrame
    provenance: Provenance
    truth: object | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (("neuron", "time"),)

    def __post_init__(self) -> None:
        """Check the whole once, so that nothing below has to."""
        _check_layout("traces", self.traces, self.layouts)
        _check_layout("spikes", self.spikes, self.layouts)
        _check_frames(self.traces, self.spikes)
        _check_padding(self.traces.to_numpy(), self.spikes.to_numpy())
        if len(self.neurons) != self.n_neurons:
            raise ValueError(
                f"neurons must have one row for each of the {self.n_neurons} neurons of traces; "
                f"got {len(self.neurons)} rows. Select the same neurons from both."
            )

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(self.traces.sizes["neuron"])

    @property
    def frame_rate(self) -> float:
        """Frames a second, Hz."""
        time = self.traces["time"].to_numpy()
        return float((len(time) - 1) / (time[-1] - time[0]))

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each neuron, integers ``(neuron,)``."""
        return np.isfinite(self.traces.to_numpy()).sum(axis=1)

    def of(self, neuron: int) -> tuple[np.ndarray, np.ndarray]:
        """Return trace and spikes of one neuron, without the padding, each ``(frame,)``."""
        length = self.lengths[neuron]
        pair = (self.traces, self.spikes)
        return tuple(x.to_numpy()[neuron, :length] for x in pair)

    def coarser(self, n_frames: int) -> CalciumSpikes:
        """Join frames: traces become the means of so many frames, spikes their sums.

        Frames at the end that fill no whole one are left out. The truth, which may be told frame
        by frame, is not carried over.

        Parameters
        ----------
        n_frames
            How many frames make one.

        Returns
        -------
        CalciumSpikes

        Raises
        ------
        ValueError
            It is no whole number above 0, or fewer than two frames would be left.
        """
        n_left = self.traces.sizes["time"] // n_frames if n_frames >= 1 else 0
        if n_left < 2:
            raise ValueError(
                f"n_frames must leave two frames or more of {self.traces.sizes['time']}; got "
                f"{n_frames}. Join fewer."
            )
        joined = []
        for measured, join in ((self.traces, np.mean), (self.spikes, np.sum)):
            stacked = measured.to_numpy()[:, : n_left * n_frames].reshape(-1, n_left, n_frames)
            time = measured["time"].to_numpy()[: n_left * n_frames : n_frames]
            joined.append(
                xr.DataArray(
                    join(stacked, axis=2),
                    dims=("neuron", "time"),
                    coords={"time": time},
                    attrs=measured.attrs,
                )
            )
        steps = (*self.provenance.preprocessing, f"{n_frames} frames joined into one")
        return CalciumSpikes(
            traces=joined[0],
            spikes=joined[1],
            neurons=self.neurons,
            provenance=replace(self.provenance, preprocessing=steps),
        )

    def _measured(self) -> xr.DataArray:
        return self.traces

    def _facts(self) -> Iterator[tuple[str, str]]:
        seconds = self.lengths / self.frame_rate
        yield "frame rate", f"{self.frame_rate:.4g} Hz"
        yield "length", f"{seconds.min():.0f} to {seconds.max():.0f} s a neuron"
        rates = np.nansum(self.spikes.to_numpy(), axis=1) / seconds
        yield "spikes", f"{rates.min():.2g} to {rates.max():.2g} a second"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dissimilarities(_Described):
    r"""How differently images are answered: matrices :math:`D^{(k)}_{ij}` for images *i* and *j*.

    Representational dissimilarity matrices (Kriegeskorte, Mur and Bandettini 2008), for recordings
    of which no more than these is published.

    Parameters
    ----------
    rdms
        Dimensions ``("rdm", "image", "image_2")``: one symmetric matrix a subject or session,
        0 on the diagonal. ``attrs`` hold ``"quantity"`` (which dissimilarity) and ``"units"``.
    subjects
        One row a matrix: ``"species"``, ``"subject"``, ``"session"``, ``"region"``, and
        ``"n_neurons"`` where it is known.
    stimuli
        One row an image: ``"stimulus_id"``, each once, and ``"category"``, a word, ``"unknown"``
        where nobody is sure.
    provenance
        Source, citation, licence, checksums, preprocessing.
    images
        The images ``(image, channel, row, column)`` where there are any.
    truth
        What is known of the mechanism; None for real data.

    Raises
    ------
    TypeError
        `rdms` has no named dimensions.
    ValueError
        Dimensions, lengths, units, columns or values are not as described.
    """

    rdms: xr.DataArray
    subjects: pd.DataFrame
    stimuli: pd.DataFrame
    provenance: Provenance
    images: ImageArray | None = None
    truth: object | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (("rdm", "image", "image_2"),)

    def __post_init__(self) -> None:
        """Check the whole once, so that nothing below has to."""
        _check_layout("rdms", self.rdms, self.layouts)
        _check_matrices(self.rdms)
        _check_rows("subjects", self.subjects, self.n_rdms, "rdm", SUBJECT_COLUMNS)
        _check_rows("stimuli", self.stimuli, self.n_images, "image", STIMULUS_COLUMNS)
        _check_distinct(self.stimuli)
        if self.images is not None and len(self.images) != self.n_images:
            raise ValueError(
                f"images must hold the {self.n_images} images of rdms; got {len(self.images)}. "
                f"Select the same images from both."
            )

    @property
    def n_rdms(self) -> int:
        """Number of matrices."""
        return int(self.rdms.sizes["rdm"])

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.rdms.sizes["image"])

    @property
    def category(self) -> np.ndarray:
        """Category of each image, words ``(image,)``."""
        return self.stimuli["category"].to_numpy()

    def _measured(self) -> xr.DataArray:
        return self.rdms

    def _facts(self) -> Iterator[tuple[str, str]]:
        recorded = self.subjects.groupby(["species", "region"], sort=False)["subject"].agg(
            ["size", "nunique"]
        )
        kinds = []
        for (species, region), row in recorded.iterrows():
            people = f" of {row['nunique']} subjects" if row["nunique"] > 1 else ""
            kinds.append(f"{row['size']} of {species} {region}{people}")
        yield "matrices", ", ".join(kinds)
        yield "categories", f"{len(np.unique(self.category))}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Networks(_Described):
    r"""Who is linked to whom: directed graphs :math:`G^{(k)}_{ij}` of the same neurons, published.

    Parameters
    ----------
    weights
        Dimensions ``("network", "source", "target")``: one graph a condition; NaN is no edge, and
        no neuron is linked to itself. ``attrs`` hold ``"quantity"`` and ``"units"``.
    networks
        One row a graph; ``"stimulus"``, a word, each once.
    neurons
        One row a neuron; ``"region"``, a word, ``"unknown"`` where nobody is sure.
    provenance
        Source, citation, licence, checksums, preprocessing.
    measures
        What else is published of each edge, by name: arrays of the dimensions of `weights`, NaN
        at the same places.
    truth
        What is known of the mechanism; None for real data.

    Raises
    ------
    TypeError
        `weights` has no named dimensions.
    ValueError
        Dimensions, lengths, units, columns or values are not as described.
    """

    weights: xr.DataArray
    networks: pd.DataFrame
    neurons: pd.DataFrame
    provenance: Provenance
    measures: Mapping[str, xr.DataArray] = field(default_factory=dict)
    truth: object | None = None

    layouts: ClassVar[tuple[tuple[str, ...], ...]] = (("network", "source", "target"),)

    def __post_init__(self) -> None:
        """Check the whole once, so that nothing below has to."""
        _check_layout("weights", self.weights, self.layouts)
        _check_graphs(self.weights)
        _check_table("networks", self.networks, self.weights.sizes["network"], "stimulus")
        _check_table("neurons", self.neurons, self.n_neurons, "region")
        if self.networks["stimulus"].duplicated().any():
            raise ValueError(
                f"networks['stimulus'] must name every graph once; got "
                f"{list(self.networks['stimulus'])}. Rename or drop the repeated ones."
            )
        for name, measure in self.measures.items():
            _check_layout(f"measures[{name!r}]", measure, self.layouts)
            same = measure.shape == self.weights.shape
            if not same or (np.isfinite(measure.to_numpy()) != self.edges).any():
                raise ValueError(
                    f"measures[{name!r}] must be known of every edge of weights and of nothing "
                    f"else; got another shape, or NaN elsewhere. Take both from one source."
                )

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(self.weights.sizes["source"])

    @property
    def edges(self) -> np.ndarray:
        """Whether there is an edge, ``(network, source, target)``."""
        return np.isfinite(self.weights.to_numpy())

    def of(self, stimulus: str) -> np.ndarray:
        """Return the graph of one condition, ``(source, target)``, NaN where there is no edge.

        Raises
        ------
        KeyError
            There is no graph of that name.
        """
        names = list(self.networks["stimulus"])
        if stimulus not in names:
            raise KeyError(f"no network of {stimulus!r}; there are those of {', '.join(names)}.")
        return self.weights.to_numpy()[names.index(stimulus)]

    def _measured(self) -> xr.DataArray:
        return self.weights

    def _facts(self) -> Iterator[tuple[str, str]]:
        edges = self.edges.sum(axis=(1, 2))
        yield "networks", ", ".join(self.networks["stimulus"])
        yield "edges", f"{edges.min()} to {edges.max()} each"
        regions = self.neurons["region"].value_counts(sort=False)
        yield "regions", ", ".join(f"{n} of {region}" for region, n in regions.items())


def _check_layout(name: str, measured: xr.DataArray, layouts: tuple[tuple[str, ...], ...]) -> None:
    if not isinstance(measured, xr.DataArray):
        raise TypeError(
            f"{name} must be an xarray.DataArray with named dimensions; got "
            f"{type(measured).__name__}. Wrap it: xr.DataArray(values, dims={layouts[0]})."
        )
    if measured.dims not in layouts:
        wanted = " or ".join(str(layout) for layout in layouts)
        raise ValueError(
            f"{name} must have dimensions {wanted}; got {measured.dims}. Rename or transpose them."
        )
    missing = [key for key in ("quantity", "units") if not measured.attrs.get(key)]
    if missing:
        raise ValueError(
            f"{name}.attrs must name the quantity and its units; missing: {', '.join(missing)}. "
            f'For example attrs={{"quantity": "dF/F", "units": "1"}}.'
        )
    if "time" in measured.dims and "time" not in measured.coords:
        raise ValueError(
            f"{name} has a dimension 'time' without coordinate; expected seconds from the start "
            f"of the trial. Assign coords={{'time': np.arange(n_frames) / frame_rate}}."
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


def _check_frames(traces: xr.DataArray, spikes: xr.DataArray) -> None:
    """Refuse spikes of other frames than the traces, and frames that are not evenly spaced."""
    if traces.shape != spikes.shape or not np.array_equal(traces["time"], spikes["time"]):
        raise ValueError(
            f"spikes must have the neurons and frames of traces, {traces.shape}; got "
            f"{spikes.shape}, or other times. Count spikes in the frames of the traces."
        )
    steps = np.diff(traces["time"].to_numpy())
    if 0 in traces.shape or len(steps) < 1 or steps.min() <= 0 or np.ptp(steps) > 0.01 * steps[0]:
        raise ValueError(
            f"need one neuron or more and two frames or more, evenly spaced in time; got "
            f"{traces.shape}, steps of {steps[:1]} s and others. Resample, or assign the times."
        )


def _check_padding(traces: np.ndarray, spikes: np.ndarray) -> None:
    """Refuse NaN elsewhere than at the end, infinity, and spikes that are no counts."""
    for name, values in (("traces", traces), ("spikes", spikes)):
        _check_real(name, values)
    known = np.isfinite(traces)
    for row, (trace, spike, there) in enumerate(zip(traces, spikes, known, strict=True)):
        n = int(there.sum())
        if n < 2 or not there[:n].all() or np.isinf(trace).any():
            raise ValueError(
                f"traces must be finite for two frames or more, with NaN at the end only; neuron "
                f"{row} has {n} finite values of {len(there)}, in another order, or infinity. Cut "
                f"it, or fill in what is missing and say so in provenance.preprocessing."
            )
        if (np.isfinite(spike) != there).any():
            raise ValueError(
                f"spikes must be NaN where traces are and nowhere else; those of neuron {row} are "
                f"not. They may be of another neuron."
            )
        counts = spike[:n]
        if (counts < 0).any() or (counts != np.floor(counts)).any():
            raise ValueError(
                f"spikes must be counts, whole and not negative; got {counts.min():g} to "
                f"{counts.max():g} for neuron {row}. Count spikes, frame by frame."
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


def _check_real(name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be real numbers; got dtype {values.dtype}. Convert with astype(float)."
        )


def _check_finite(responses: xr.DataArray) -> None:
    values = responses.to_numpy()
    _check_real("responses", values)
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
    # trial by trial, as above
    wrong = sum(int(np.sum((trial < 0) | (trial != np.floor(trial)))) for trial in values)
    if wrong:
        raise ValueError(
            f"spike counts must be whole and not negative; got {wrong} other values "
            f"(smallest {values.min():g}). Bin spikes, or use CalciumRecording for rates."
        )


def _check_spikes(spikes: SpikeTimes | None, n_neurons: int) -> None:
    if spikes is None:
        return
    from visualcortex.spikes import SpikeTimes  # compiles its loops: not for every recording

    if not isinstance(spikes, SpikeTimes):
        raise TypeError(
            f"spikes must be SpikeTimes; got {type(spikes).__name__}. Make them with "
            f"SpikeTimes.from_lists."
        )
    if spikes.n_units != n_neurons:
        raise ValueError(
            f"spikes must have the {n_neurons} neurons of responses; got {spikes.n_units}. Select "
            f"the same neurons from both."
        )


def _check_images(images: ImageArray | None, stimulus: np.ndarray) -> None:
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


def _check_rows(name: str, table: pd.DataFrame, n: int, dim: str, columns: tuple[str, ...]) -> None:
    if len(table) != n:
        raise ValueError(
            f"{name} must have one row for each of the {n} {dim}s in rdms; got {len(table)} rows. "
            f"Select the same {dim}s from both."
        )
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"{name} must have the columns {', '.join(columns)}; missing: {', '.join(missing)}. "
            f"Write 'unknown' where something is not known."
        )


def _check_matrices(rdms: xr.DataArray) -> None:
    values = rdms.to_numpy()
    _check_real("rdms", values)
    if values.shape[0] == 0 or values.shape[1] < 2 or values.shape[1] != values.shape[2]:
        raise ValueError(
            f"rdms must hold at least one square matrix of at least two images; got shape "
            f"{values.shape}. Check the selection; a vector of pairs is made square by "
            f"scipy.spatial.distance.squareform."
        )
    tolerance = SYMMETRY * np.abs(values).max()
    for row, matrix in enumerate(values):
        if not np.isfinite(matrix).all():
            fault = f"{np.count_nonzero(~np.isfinite(matrix))} NaN or infinite values"
        elif np.abs(matrix - matrix.T).max() > tolerance:
            fault = "a matrix that is not symmetric"
        elif np.abs(np.diagonal(matrix)).max() > tolerance:
            fault = "a diagonal other than 0"
        else:
            continue
        raise ValueError(
            f"rdms must be finite, symmetric and 0 on the diagonal; got {fault} in rdm {row}. "
            f"Dissimilarities are expected, not similarities: 1 - correlation."
        )


def _check_distinct(stimuli: pd.DataFrame) -> None:
    repeated = stimuli["stimulus_id"][stimuli["stimulus_id"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"stimuli['stimulus_id'] must name every image once; got {repeated.iloc[0]!r} more "
            f"than once. Average or drop the repeated images."
        )


def _check_graphs(weights: xr.DataArray) -> None:
    values = weights.to_numpy()
    _check_real("weights", values)
    if 0 in values.shape or values.shape[1] != values.shape[2]:
        raise ValueError(
            f"weights must hold at least one square matrix (source, target); got shape "
            f"{values.shape}. Check the selection."
        )
    loops = np.isfinite(np.diagonal(values, axis1=1, axis2=2)).sum()
    if loops or np.isinf(values).any():
        raise ValueError(
            f"weights must be NaN where there is no edge, also on the diagonal, and finite "
            f"elsewhere; got {loops} on the diagonal and {np.isinf(values).sum()} infinite ones. "
            f"Write NaN there."
        )


def _check_table(name: str, table: pd.DataFrame, n: int, column: str) -> None:
    if len(table) != n or column not in table:
        raise ValueError(
            f"{name} must have {n} rows, as weights has, and a column {column!r}; got {len(table)} "
            f"rows of {list(table.columns)}. Select the same from both, and write 'unknown' where "
            f"something is not known."
        )


def _plural(noun: str, count: int) -> str:
    noun = {"time": "frame", "rdm": "RDM", "image_2": "image"}.get(noun, noun)
    return noun if count == 1 else noun + "s"


def _sizes(measured: xr.DataArray) -> str:
    return " × ".join(f"{n} {_plural(dim, n)}" for dim, n in measured.sizes.items())


def _summary(described: _Described) -> Iterator[tuple[str, str]]:
    measured, provenance = described._measured(), described.provenance
    yield "quantity", f"{measured.attrs['quantity']} [{measured.attrs['units']}]"
    yield "size", _sizes(measured)
    yield from described._facts()
    yield "truth", "known (simulated)" if described.truth is not None else "not known"
    yield "source", provenance.source
    if provenance.citation:
        yield "citation", provenance.citation
    yield "licence", provenance.licence
