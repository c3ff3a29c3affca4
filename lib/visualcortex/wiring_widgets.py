"""Synapses that are found, missed and wrongly called, and recovery at a quality, live and still.

They show scores that were computed before: moving a control fits nothing anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from visualcortex import figures
from visualcortex import wiring_figures as pictures
from visualcortex.connectivity.wiring import density
from visualcortex.widgets import _view

# what a pair is, by its number in the matrix that is drawn, and its colour
OUTCOMES = {
    "neither": figures.PAPER,
    "found": figures.INK,
    "missed": "#86b4d1",
    "false": "#cf9a1f",
    "no score": figures.EMPTY,
}
# the slider goes up to so many pairs called for each synapse, in so many steps
MOST_CALLED = 4
N_STEPS = 100


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
        ax.set_title(method, pad=14)
        ax.set_xlabel(f"target\n{said}", fontsize="small")

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
        found, missed, false = self.counts(method, n_called).values()
        recall, precision = found / (found + missed), found / max(found + false, 1)
        style = {"markersize": 9, "markeredgecolor": figures.PAPER, "zorder": 4}
        ax.plot(recall, precision, "o", color=self.styles[method]["color"], **style)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision")
        by_chance = f"{self.chance[method]:.2f} by chance"
        ax.set_title(f"recall {recall:.2f}\nprecision {precision:.2f}, {by_chance}", pad=14)

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
    ) -> None:
        self.means = pictures.quality_means(table, statistic)
        self.table, self.statistic, self.chance = table, statistic, chance
        self.axes = list(dict.fromkeys(self.means["axis"]))
        self.methods = list(dict.fromkeys(self.means["method"]))
        self.styles = pictures.method_styles(self.methods)
        self.labels = {**pictures.QUALITIES, **(labels or {})}
        ends = self.means[["mean", "low", "high"]].to_numpy(dtype=float)
        low, high = np.nanmin(ends), np.nanmax(ends)
        low, high = (low, high) if chance is None else (min(low, chance), max(high, chance))
        self.ends = low - 0.04 * (high - low), high + 0.04 * (high - low)

    def label(self, axis: str) -> str:
        """What an axis shows, with its unit."""
        return self.labels.get(axis, axis)

    def values(self, axis: str) -> list[float]:
        """Values along an axis that were measured, from the lowest on."""
        return np.unique(self.means.loc[self.means["axis"] == axis, "value"]).tolist()

    def draw_axis(self, ax: Axes, axis: str) -> None:
        """Draw all methods along one axis, afresh."""
        ax.clear()
        ax.set_xscale("linear")
        of_axis = self.means[self.means["axis"] == axis]
        pictures.quality_panel(ax, of_axis, self.styles, chance=self.chance)
        ax.set(xlabel=self.label(axis), ylabel=self.statistic, ylim=self.ends)

    def draw_point(self, ax: Axes, axis: str, value: float) -> None:
        """Draw all methods at one value, afresh: networks as faint dots, means, intervals."""
        ax.clear()
        means, shown = self.at(self.means, axis, value), self.at(self.table, axis, value)
        pictures.mean_dots(
            means.set_index("method").reindex(self.methods),
            shown[["method", self.statistic]],
            quantity=self.statistic,
            chance=self.chance,
            limits=self.ends,
            styles=self.styles,
            ax=ax,
        )
        ax.get_legend().remove()
        ax.set_title(f"{self.label(axis)}: {value:g}")

    @staticmethod
    def at(table: pd.DataFrame, axis: str, value: float) -> pd.DataFrame:
        """Rows of one value of one axis."""
        return table[(table["axis"] == axis) & (table["value"] == value)]


def wiring_explorer(
    scores_by_method: Mapping[str, np.ndarray], weights: np.ndarray, cell_type: Sequence[str]
) -> ipywidgets.VBox:
    """Choose a method and how many pairs to call synapses; see which are found and which are not.

    On the left all pairs, a row a source; on the right precision and recall of all methods, with
    the chosen one and its threshold. Pairs are called from the largest absolute score on.

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
    ipywidgets.VBox
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
    figure = Figure(figsize=(8.2, 4.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    left.set_ylabel("source", labelpad=11)
    calls.draw(left, controls["method"].value, controls["called"].value)
    figure.legend(handles=calls.handles(), loc="outside lower center", ncols=5, handlelength=1)

    def redraw() -> None:
        """Show what the controls say."""
        chosen = controls["method"].value, controls["called"].value
        calls.draw(left, *chosen)
        calls.draw_curves(right, *chosen)

    return _view(figure, controls, redraw)


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
    *,
    statistic: str = "AUROC",
    labels: Mapping[str, str] | None = None,
    chance: float | None = 0.5,
) -> ipywidgets.VBox:
    """Choose an axis of the quality of a recording and a value; see what every method recovers.

    On the left all methods along the axis; on the right, at the value, their means over networks
    with intervals (`visualcortex.wiring_figures.over_networks`) and every network.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns "axis", "value", "network", "method" and `statistic`.
    statistic : str
        What is shown.
    labels : mapping from axis to str, optional
        What an axis shows, with its unit; by default of `visualcortex.wiring_figures.QUALITIES`.
    chance : float, optional
        Value by chance.

    Returns
    -------
    ipywidgets.VBox
        The controls and the figure. Without a running kernel it does nothing:
        `cliff_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If a column is missing, nothing is finite, or a network has several rows for the same
        value and method.
    """
    cliff = _Cliff(table, statistic, labels, chance)
    controls = _cliff_controls(cliff)
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(8.2, 3.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))

    def redraw() -> None:
        """Show what the controls say."""
        axis, place = controls["axis"].value, controls["value"]
        values = cliff.values(axis)
        before, place.disabled = place.value, len(values) == 1
        place.max = len(values) - 1
        if place.value != before:
            return  # the slider has moved, and what it says is drawn already
        value = values[place.value]
        cliff.draw_axis(left, axis)
        left.axvline(value, color=figures.INK, linewidth=1.2, zorder=1)
        cliff.draw_point(right, axis, value)

    return _view(figure, controls, redraw)


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
    step = max(calls.most // N_STEPS, 1)
    return {
        "method": ipywidgets.Dropdown(
            options=[(str(name), name) for name in calls.scores],
            description="Method",
            tooltip="Which method gives the scores",
        ),
        "called": ipywidgets.IntSlider(
            value=calls.n_synapses,
            max=calls.most,
            step=step,
            description="Pairs called",
            tooltip="How many pairs, from the largest score on, are called synapses",
        ),
    }


def _cliff_controls(cliff: _Cliff) -> dict[str, ipywidgets.Widget]:
    """Controls for an axis and a value on it."""
    last = len(cliff.values(cliff.axes[0])) - 1
    return {
        "axis": ipywidgets.Dropdown(
            options=[(cliff.label(name), name) for name in cliff.axes],
            description="Quality",
            tooltip="What of the recording is varied",
            disabled=len(cliff.axes) == 1,
        ),
        # a place among the values is no value: that stands in the picture
        "value": ipywidgets.IntSlider(
            value=last // 2,
            max=last,
            readout=False,
            description="Value",
            tooltip="Which value of it, from the lowest to the highest",
        ),
    }


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
