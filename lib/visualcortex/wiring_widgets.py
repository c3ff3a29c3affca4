"""Synapses that are found, missed and wrongly called, and recovery at a quality, live and still.

They show scores that were computed before: moving a control fits nothing anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from visualcortex import figures
from visualcortex import wiring_figures as pictures
from visualcortex.connectivity.cliff import AXES, Axis, observe
from visualcortex.connectivity.wiring import density
from visualcortex.recording import SpikeTrains
from visualcortex.spontaneous import observed
from visualcortex.widgets import View

# what a pair is, by its number in the matrix that is drawn, and its colour
OUTCOMES = {
    "neither": figures.PAPER,
    "found": figures.INK,
    "missed": "#86b4d1",
    "false": "#cf9a1f",
    "no score": figures.EMPTY,
}
# the slider goes up to so many pairs called for each synapse
MOST_CALLED = 4
# of a recording as it is seen: so many neurons, for so long (s), somewhere in the beginning (s),
# in which they fire this often at least
N_ROWS = 4
SHOWN_SECONDS = 4.0
BEGINNING = 60.0
FEWEST_SPIKES = 10


class _Calls:
    """Scores of ordered pairs by several methods, and what calling the strongest of them finds."""

    def __init__(
        self,
        scores_by_method: Mapping[str, np.ndarray],
        weights: np.ndarray,
        cell_type: Sequence[str],
    ) -> None:
        self.order, self.kinds = pictures._by_type(cell_type)
        self.true = np.asarray(weights, dtype=float) != 0
        scores = {name: np.asarray(x, dtype=float) for name, x in scores_by_method.items()}
        _check_scores(scores, self.true, len(self.order))
        self.curves = {name: pictures._called(x, weights, "any") for name, x in scores.items()}
        self.chance = {name: density(x, weights) for name, x in scores.items()}
        self.known = {name: np.isfinite(x) for name, x in scores.items()}
        for known in self.known.values():
            np.fill_diagonal(known, False)
        self.scores, self.styles = scores, pictures.method_styles(scores)
        # place of each pair from the strongest on, those of one score in order of rows
        self.places = {name: _places(x, self.known[name]) for name, x in scores.items()}
        self.n_synapses = int(np.count_nonzero(self.true))
        self.most = min(MOST_CALLED * self.n_synapses, min(k.sum() for k in self.known.values()))

    def outcomes(self, method: str, n_called: int) -> np.ndarray:
        """What each pair is, as its number in `OUTCOMES`, (source, target)."""
        called = self.places[method] < n_called
        found = np.select([called & self.true, self.true, called], [1, 2, 3], 0)
        return np.where(self.known[method], found, 4)

    def counts(self, method: str, n_called: int) -> dict[str, int]:
        """How many synapses are found and missed, and how many other pairs are called one."""
        outcomes = self.outcomes(method, n_called)
        return {
            name: int(np.count_nonzero(outcomes == k))
            for k, name in enumerate(OUTCOMES)
            if name in ("found", "missed", "false")
        }

    def draw(self, ax: Axes, method: str, n_called: int) -> None:
        """Draw the matrix, afresh or in the place of the one that is there."""
        shown = self.outcomes(method, n_called)[np.ix_(self.order, self.order)]
        if ax.images:
            ax.images[0].set_data(shown)
        else:
            colours = ListedColormap(list(OUTCOMES.values()))
            limits = {"vmin": -0.5, "vmax": len(OUTCOMES) - 0.5}
            ax.imshow(shown, cmap=colours, aspect="equal", **limits)
            pictures.type_bars(ax, self.kinds)
        said = ", ".join(f"{n} {name}" for name, n in self.counts(method, n_called).items())
        ax.set_title(f"{method}\n{said}", pad=14)
        ax.set_xlabel("target")

    def draw_curves(self, ax: Axes, method: str, n_called: int) -> None:
        """Draw precision against recall of all methods, afresh, and where the chosen one is."""
        ax.clear()
        pictures._chance_lines(ax, [self.chance[method]])
        for name, (found, called) in self.curves.items():
            style = {"linewidth": 1.1, "alpha": 0.4}
            if name == method:
                style = {"linewidth": 2.2, "alpha": 1.0}
            line = {**self.styles[name], "marker": "", "drawstyle": "steps-pre", **style}
            ax.plot(found / found[-1], found / called, label=name, **line)
        for name in [*(name for name in self.curves if name != method), method]:
            self._draw_point(ax, name, n_called, chosen=name == method)
        recall, precision = self.point(method, n_called)
        ax.annotate(
            f"by chance {self.chance[method]:.2f}",
            (0.01, self.chance[method]),
            xytext=(0, 3),
            textcoords="offset points",
            color=figures.INK,
            fontsize="small",
        )
        ax.set(xlim=(0, 1.02), ylim=(0, 1.05))
        ax.set(xlabel="recall (share of synapses found)", ylabel="precision (share that is right)")
        said = f"recall {recall:.2f}, precision {precision:.2f}"
        ax.set_title(f"{n_called} pairs called\n{said}", pad=14)

    def point(self, method: str, n_called: int) -> tuple[float, float]:
        """Recall and precision of so many calls; the precision of no call is 0."""
        found, missed, false = self.counts(method, n_called).values()
        return found / (found + missed), found / max(found + false, 1)

    def _draw_point(self, ax: Axes, method: str, n_called: int, *, chosen: bool) -> None:
        """Draw where a method is on its curve, large if it is the chosen one."""
        style = {"markersize": 10, "zorder": 4} if chosen else {"markersize": 5, "alpha": 0.55}
        colour = self.styles[method]["color"]
        point = self.point(method, n_called)
        ax.plot(*point, "o", color=colour, markeredgecolor=figures.PAPER, **style)

    def handles(self) -> list[Patch]:
        """Entries of a legend of outcomes and cell types."""
        said = {"found": "synapse found", "missed": "synapse missed", "false": "called, but none"}
        handles = [Patch(color=OUTCOMES[name], label=words) for name, words in said.items()]
        types = [pictures.TYPES[kind] for kind in self.kinds]
        return handles + [Patch(color=colour, label=f"{name} neurons") for name, colour in types]


class _Cliff:
    """Recovery of several methods along several axes of quality, over networks."""

    def __init__(
        self,
        table: pd.DataFrame,
        statistic: str,
        labels: Mapping[str, str] | None,
        chance: float | None,
        ceiling: float | None = None,
    ) -> None:
        self.means = pictures.quality_means(table, statistic)
        self.table, self.statistic = table, statistic
        self.chance, self.ceiling = chance, ceiling
        self.axes = list(dict.fromkeys(self.means["axis"]))
        self.methods = list(dict.fromkeys(self.means["method"]))
        self.styles = pictures.method_styles(self.methods)
        self.labels = {**pictures.QUALITIES, **(labels or {})}
        ends = self.means[["mean", "low", "high"]].to_numpy(dtype=float)
        low, high = np.nanmin(ends), np.nanmax(ends)
        levels = [level for level in (chance, ceiling) if level is not None]
        low, high = min([low, *levels]), max([high, *levels])
        self.ends = low - 0.04 * (high - low), high + 0.04 * (high - low)

    def label(self, axis: str) -> str:
        """What an axis shows, with its unit."""
        return self.labels.get(axis, axis)

    def values(self, axis: str) -> list[float]:
        """Values along an axis that were measured, from the lowest on."""
        return np.unique(self.means.loc[self.means["axis"] == axis, "value"]).tolist()

    @property
    def n_places(self) -> int:
        """Number of values along the axis that has most."""
        return max(len(self.values(axis)) for axis in self.axes)

    def value_at(self, axis: str, place: int) -> float:
        """Value at a place: the first is the lowest of every axis, the last the highest."""
        values = self.values(axis)
        return values[int(place * (len(values) - 1) / max(self.n_places - 1, 1) + 0.5)]

    def methods_of(self, axis: str) -> list[str]:
        """Methods that were measured along an axis."""
        return list(dict.fromkeys(self.means.loc[self.means["axis"] == axis, "method"]))

    def draw_axis(self, ax: Axes, axis: str) -> None:
        """Draw all methods along one axis, afresh."""
        ax.clear()
        ax.set_xscale("linear")
        of_axis = self.means[self.means["axis"] == axis]
        pictures.quality_panel(ax, of_axis, self.styles, chance=self.chance)
        if self.ceiling is not None:
            figures._level(ax, None, self.ceiling, "ceiling", figures.CEILING, "solid")
        ax.set(xlabel=self.label(axis), ylabel=self.statistic, ylim=self.ends)

    def draw_point(self, ax: Axes, axis: str, value: float) -> None:
        """Draw the methods of an axis at one value, afresh: networks, means, intervals."""
        ax.clear()
        means, shown = self.at(self.means, axis, value), self.at(self.table, axis, value)
        means = means.set_index("method").reindex(self.methods_of(axis))
        pictures.mean_dots(
            means,
            shown[["method", self.statistic]],
            quantity=self.statistic,
            chance=self.chance,
            limits=self.ends,
            styles=self.styles,
            ax=ax,
        )
        ax.get_legend().remove()
        if self.ceiling is not None:
            ax.axvline(self.ceiling, color=figures.CEILING, linewidth=1.2)
        said = [f"{name} {mean:.2f}" for name, mean in means["mean"].dropna().items()]
        ax.set_title("\n".join([f"{self.label(axis)}: {value:g}", *said]))

    @staticmethod
    def at(table: pd.DataFrame, axis: str, value: float) -> pd.DataFrame:
        """Rows of one value of one axis."""
        return table[(table["axis"] == axis) & (table["value"] == value)]


class _Seen:
    """A few neurons of a network as they are seen under any condition, with their true spikes."""

    def __init__(
        self, recording: SpikeTrains, conditions: Mapping[str, Axis], names: Sequence[str]
    ) -> None:
        if lacking := [name for name in names if name not in conditions]:
            raise ValueError(
                f"need the conditions of every axis to show a recording; got {list(conditions)}, "
                f"without {lacking}. Pass them as conditions."
            )
        self.duration = min(BEGINNING, recording.truth.duration)
        source, others = _partners(recording, self.duration)
        weights = recording.truth.weights
        self.part, self.conditions = observed(recording, np.array([source, *others])), conditions
        self.names = ["source", *("target" if weights[source, k] else "other" for k in others)]
        self.start = _busiest(self.part.spikes.of(0), self.duration)

    def draw(self, ax: Axes, name: str, value: float) -> None:
        """Draw what is seen of them at a value of an axis, afresh, the true spikes below."""
        ax.clear()
        axis = self.conditions[name]
        # all of these neurons are seen in their first minute; fewer are drawn
        condition = replace(axis.base, **{axis.field: value})
        shown = max(round(condition.seen * len(self.names)), 1)
        seen = observe(self.part, replace(condition, seen=1.0, minutes=self.duration / 60))
        first, n = (int(x / seen.step) for x in (self.start, SHOWN_SECONDS))
        edges = np.arange(n + 1) * seen.step
        for row in range(len(self.names)):
            if row < shown:
                values = seen.activity[first : first + n, row]
                level = 0.75 * (values - values.min()) / (np.ptp(values) or 1.0) - row
                style = {"baseline": None, "color": figures.INK, "linewidth": 1.0}
                ax.stairs(level, edges[: len(level) + 1], **style)
            times = self.part.spikes.of(row) - first * seen.step
            times = times[(times >= 0) & (times <= edges[-1])]
            colour = figures.REAL if row < shown else figures.CHANCE
            ax.vlines(times, -row - 0.17, -row - 0.04, color=colour, linewidth=1.0)
        ax.set(xlim=(0, SHOWN_SECONDS), ylim=(-len(self.names) + 0.7, 0.85), xlabel="time (s)")
        names = [*self.names[:shown], *["unseen"] * (len(self.names) - shown)]
        ax.set_yticks(-np.arange(len(names)) + 0.3, names)
        ax.tick_params(axis="y", length=0)
        what = "Spikes in bins," if condition.decay is None else "Calcium,"
        rate = f"{1 / seen.step:.0f} a second, of {condition.minutes:g} minutes"
        ax.set_title(f"{what} {rate}; below each, its true spikes")


def wiring_explorer(
    scores_by_method: Mapping[str, np.ndarray], weights: np.ndarray, cell_type: Sequence[str]
) -> View:
    """Choose a method and how many pairs to call synapses; see which are found and which are not.

    On the left all pairs, a row a source; on the right precision and recall of all methods, with
    the chosen one at its threshold, the others at the same number of pairs. Pairs are called from
    the largest absolute score on.

    Bias: a number of pairs that is chosen because it looks best was chosen by truth.

    Parameters
    ----------
    scores_by_method : mapping from method to (n_neurons, n_neurons) array
        Scores (source, target), in any unit; NaN for none. The diagonal is not looked at.
    weights : (n_neurons, n_neurons) array
        Synapses (source, target), 0 where there is none.
    cell_type : (n_neurons,) sequence of {"E", "I", "unknown"}
        Neurons are drawn type by type.

    Returns
    -------
    View
        The controls and the figure. Without a running kernel it does nothing:
        `wiring_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If there is no method, matrices are not square and of the same neurons, or there is no
        synapse or nothing else.
    """
    calls = _Calls(scores_by_method, weights, cell_type)
    controls = _call_controls(calls)
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(8.6, 4.9), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    left.set_ylabel("source", labelpad=11)
    calls.draw(left, controls["method"].value, controls["called"].value)
    look = {"loc": "outside lower center", "handlelength": 1, "ncols": 5, "fontsize": "small"}
    figure.legend(handles=calls.handles(), **look)

    def redraw() -> None:
        """Show what the controls say."""
        chosen = controls["method"].value, controls["called"].value
        calls.draw(left, *chosen)
        calls.draw_curves(right, *chosen)

    return View(figure, controls, redraw)


def wiring_small_multiples(
    scores_by_method: Mapping[str, np.ndarray],
    weights: np.ndarray,
    cell_type: Sequence[str],
    *,
    n_called: int | None = None,
) -> Figure:
    """Draw the matrix of `wiring_explorer` for every method, at the same number of pairs called.

    Parameters
    ----------
    scores_by_method, weights, cell_type
        As in `wiring_explorer`.
    n_called : int, optional
        How many pairs; by default as many as there are synapses.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `wiring_explorer`, or `n_called` is negative.
    """
    calls = _Calls(scores_by_method, weights, cell_type)
    n_called = calls.n_synapses if n_called is None else n_called
    if n_called < 0:
        raise ValueError(f"n_called must be a number of pairs, 0 or more; got {n_called}")
    axes = pictures._panels(len(calls.scores), 3, (2.5, 2.75), extra=(0.3, 0.3))
    figure = axes[0].figure
    figure.set_layout_engine("compressed")
    for k, (ax, method) in enumerate(zip(axes, calls.scores, strict=True)):
        calls.draw(ax, method, n_called)
        ax.set_ylabel("source" if k % 3 == 0 else "", labelpad=11)
    columns = min(len(calls.handles()), 2 * min(len(axes), 3))
    figure.legend(handles=calls.handles(), loc="outside lower center", ncols=columns)
    return figure


def cliff_explorer(
    table: pd.DataFrame,
    recording: SpikeTrains | None = None,
    *,
    statistic: str = "AUROC",
    labels: Mapping[str, str] | None = None,
    chance: float | None = 0.5,
    ceiling: float | None = None,
    conditions: Mapping[str, Axis] | None = None,
) -> View:
    """Choose an axis of the quality of a recording and a value; see what every method recovers.

    Above, if a recording is given, some of its neurons as they are seen at the value: the source
    of the strongest synapse and what it drives most. Below on the left all methods along the axis;
    on the right, at the value, their means over networks with intervals
    (`visualcortex.wiring_figures.over_networks`) and every network. Axes have their own numbers of
    values: the slider goes from the lowest to the highest of each.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns "axis", "value", "network", "method" and `statistic`.
    recording : SpikeTrains, optional
        Of a network whose spikes and wiring are known.
    statistic : str
        What is shown.
    labels : mapping from axis to str, optional
        What an axis shows, with its unit; by default of `visualcortex.wiring_figures.QUALITIES`.
    chance, ceiling : float, optional
        Value by chance, and the best there is.
    conditions : mapping from axis to Axis, optional
        How the recording is seen along each axis; by default those of
        `visualcortex.connectivity.cliff`.

    Returns
    -------
    View
        The controls and the figure. Without a running kernel it does nothing:
        `cliff_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If a column is missing, nothing is finite, a network has several rows for the same value and
        method, or the recording has no axis of that name or too few neurons that fire.
    """
    cliff = _Cliff(table, statistic, labels, chance, ceiling)
    known = AXES if conditions is None else conditions
    seen = None if recording is None else _Seen(recording, known, cliff.axes)
    controls = _cliff_controls(cliff)
    figure, above, left, right = _cliff_axes(cliff, with_recording=seen is not None)

    def redraw() -> None:
        """Show what the controls say."""
        axis, place = controls["axis"].value, controls["value"]
        place.disabled = len(cliff.values(axis)) == 1
        value = cliff.value_at(axis, place.value)
        cliff.draw_axis(left, axis)
        left.axvline(value, color=figures.INK, linewidth=1.2, zorder=1)
        cliff.draw_point(right, axis, value)
        if seen is not None:
            seen.draw(above, axis, value)

    return View(figure, controls, redraw)


def cliff_small_multiples(
    table: pd.DataFrame,
    *,
    statistic: str = "AUROC",
    labels: Mapping[str, str] | None = None,
    chance: float | None = 0.5,
    axis: str | None = None,
    n_shown: int = 3,
) -> Figure:
    """Draw the right half of `cliff_explorer` for some values of one axis, from the lowest on.

    Parameters
    ----------
    table, statistic, labels, chance
        As in `cliff_explorer`.
    axis : str, optional
        Which axis; by default the first.
    n_shown : int
        How many values, at even places from the lowest to the highest.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `cliff_explorer`, or there is no such axis, or no value is asked for.
    """
    cliff = _Cliff(table, statistic, labels, chance)
    axis = cliff.axes[0] if axis is None else axis
    if axis not in cliff.axes or n_shown < 1:
        raise ValueError(
            f"axis must be one of {cliff.axes} and n_shown at least 1; got {axis!r} and {n_shown}"
        )
    values = cliff.values(axis)
    places = np.unique(np.linspace(0, len(values) - 1, n_shown).round().astype(int))
    size = (2.2 * len(places) + 1.6, 0.9 + 0.36 * len(cliff.methods))
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    for ax, place in zip(axes, places, strict=True):
        cliff.draw_point(ax, axis, values[place])
    return figure


def _call_controls(calls: _Calls) -> dict[str, ipywidgets.Widget]:
    """Controls for a method and a number of pairs."""
    return {
        "method": ipywidgets.Dropdown(
            options=[(str(name), name) for name in calls.scores],
            description="Method",
            tooltip="Which method gives the scores",
        ),
        "called": ipywidgets.IntSlider(
            value=calls.n_synapses,
            max=calls.most,
            description="Pairs called",
            tooltip="How many pairs, from the largest score on, are called synapses",
        ),
    }


def _cliff_controls(cliff: _Cliff) -> dict[str, ipywidgets.Widget]:
    """Controls for an axis and a place on it."""
    n = cliff.n_places
    names = {0: "lowest", n - 1: "highest"} if n > 1 else {0: "only one"}
    return {
        "axis": ipywidgets.Dropdown(
            options=[(cliff.label(name), name) for name in cliff.axes],
            description="Quality",
            tooltip="What of the recording is varied",
            disabled=len(cliff.axes) == 1,
        ),
        # a place among the values is no value: that stands in the picture
        "value": ipywidgets.SelectionSlider(
            options=[(names.get(place, f"{place + 1} of {n}"), place) for place in range(n)],
            value=(n - 1) // 2,
            description="Value",
            tooltip="Which value of it, from the lowest to the highest",
        ),
    }


def _cliff_axes(cliff: _Cliff, *, with_recording: bool) -> tuple[Figure, Axes | None, Axes, Axes]:
    """Make a figure for `cliff_explorer`, and its axes: above, left and right."""
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(8.6, 5.6 if with_recording else 3.7), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    grid = figure.add_gridspec(
        2 if with_recording else 1,
        2,
        width_ratios=(1.25, 1),
        height_ratios=(1, 1.25) if with_recording else None,
    )
    above = figure.add_subplot(grid[0, :]) if with_recording else None
    left, right = (figure.add_subplot(grid[-1, k]) for k in range(2))
    figure.legend(handles=_cliff_handles(cliff), loc="outside lower center", ncols=5)
    return figure, above, left, right


def _cliff_handles(cliff: _Cliff) -> list[Line2D]:
    """Entries of a legend of methods, networks, chance and ceiling."""
    handles = [Line2D([], [], label=name, **cliff.styles[name]) for name in cliff.methods]
    dot = {"color": figures.INK, "alpha": 0.4, "linestyle": "", "markersize": 4}
    handles.append(Line2D([], [], marker="o", label="one network", **dot))
    levels = {
        "chance": (cliff.chance, figures.CHANCE, pictures.DASHED),
        "ceiling": (cliff.ceiling, figures.CEILING, "solid"),
    }
    return handles + [
        Line2D([], [], color=colour, linestyle=line, label=name)
        for name, (level, colour, line) in levels.items()
        if level is not None
    ]


def _partners(recording: SpikeTrains, duration: float) -> tuple[int, np.ndarray]:
    """Source of the strongest excitatory synapse, and the neurons that it drives most."""
    firing = recording.spikes.between(0.0, duration).n_spikes >= FEWEST_SPIKES
    if firing.sum() < N_ROWS:
        raise ValueError(
            f"recording must have {N_ROWS} neurons with {FEWEST_SPIKES} spikes or more in its "
            f"first {duration:g} s; got {firing.sum()}. Show one that fires more."
        )
    weights = np.where(np.outer(firing, firing), recording.truth.weights, -np.inf)
    np.fill_diagonal(weights, -np.inf)
    source = int(np.unravel_index(weights.argmax(), weights.shape)[0])
    return source, np.argsort(-weights[source], kind="stable")[: N_ROWS - 1]


def _busiest(times: np.ndarray, duration: float) -> float:
    """Begin of the stretch that is shown, s: the one with most spikes."""
    edges = np.arange(0.0, max(duration - SHOWN_SECONDS, 0.0) + 1e-9, SHOWN_SECONDS)
    counts = np.searchsorted(times, edges + SHOWN_SECONDS) - np.searchsorted(times, edges)
    return float(edges[counts.argmax()])


def _places(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Place of each pair by the size of its score, 0 for the largest; the last without a score."""
    sizes = np.where(known, np.abs(scores), -1.0).ravel()
    places = np.empty(sizes.size, dtype=np.int64)
    places[np.argsort(-sizes, kind="stable")] = np.arange(sizes.size)
    return places.reshape(scores.shape)


def _check_scores(scores: Mapping[str, np.ndarray], weights: np.ndarray, n: int) -> None:
    """Raise an error unless all matrices are of the same n neurons."""
    shapes = {name: x.shape for name, x in scores.items()}
    if not shapes or set(shapes.values()) | {weights.shape} != {(n, n)}:
        raise ValueError(
            f"need scores (source, target) by at least one method, and weights, of {n} neurons; "
            f"got {shapes} and {weights.shape}. Select the same neurons from all."
        )
