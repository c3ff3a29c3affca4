"""Views of spike counts scene by scene, and of candidate synapses neuron by neuron, live and still.

They show arrays that were computed before: moving a control counts and fits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from visualcortex import figures
from visualcortex.widgets import _draw_picture, _view

N_PARTNERS = 12
DIRECTIONS = {"targets": "whom it drives", "sources": "who drives it"}
# marks of synapses by the sign of their weight
SYNAPSES = {1: ("^", "excitatory synapse"), -1: ("v", "inhibitory synapse")}


class _Counts:
    """Spike counts of the trials of each scene."""

    def __init__(
        self,
        counts: np.ndarray,
        scenes: np.ndarray,
        neurons: pd.DataFrame,
        centres: np.ndarray,
        images: np.ndarray | None,
    ) -> None:
        self.counts, self.scenes = np.asarray(counts), np.asarray(scenes)
        self.neurons, self.images = neurons, images
        centres = np.asarray(centres, dtype=float)
        _check_counts(self.counts, self.scenes, neurons, centres, images)
        half = (centres[1] - centres[0]) / 2
        self.edges = np.append(centres - half, centres[-1] + half)
        self.shown, place = np.unique(self.scenes, return_inverse=True)
        order = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[order], np.arange(len(self.shown)))
        self.trials = dict(zip(self.shown.tolist(), np.split(order, starts[1:]), strict=True))
        # (scene, bin, neuron), spikes in a bin
        self.means = np.stack([self.counts[t].mean(axis=0) for t in self.trials.values()])

    def ranked(self, neuron: int) -> np.ndarray:
        """Scenes from the one with most spikes of a neuron to the one with fewest."""
        return self.shown[np.argsort(-self.means[..., neuron].sum(axis=1), kind="stable")]

    def draw_trials(self, ax: Axes, scene: int, neuron: int) -> None:
        """Draw the trials of a scene, in order of time, a row each."""
        shown = self.counts[self.trials[scene], :, neuron]
        ax.imshow(shown, cmap=figures.ACTIVITY, aspect="auto")
        ax.set(ylabel="trial")
        figures._whole_ticks(ax.yaxis)
        self.update_trials(ax, scene, neuron)

    def update_trials(self, ax: Axes, scene: int, neuron: int) -> None:
        """Put other trials in the place of those that are drawn; one scale for all scenes."""
        shown, image = self.counts[self.trials[scene], :, neuron], ax.images[0]
        image.set_data(shown)
        image.set_extent((self.edges[0], self.edges[-1], len(shown), 0))
        image.set_clim(0, max(float(self.counts[..., neuron].max()), 1))

    def draw_rates(self, ax: Axes, scene: int, neuron: int) -> None:
        """Draw the rate over trials, afresh, beside its mean over scenes."""
        ax.clear()
        counts = self.counts[self.trials[scene], :, neuron]
        figures.psth({"this scene": counts}, self.edges, ax=ax)
        every = figures._steps(self.means[..., neuron].mean(axis=0)) / np.diff(self.edges)[0]
        style = {"drawstyle": "steps-post", "linewidth": 1, "zorder": 1}
        ax.plot(self.edges, every, color=figures.CHANCE, label="mean over scenes", **style)
        highest = self.means[..., neuron].max() / np.diff(self.edges)[0]
        ax.set_ylim(0, 1.4 * highest or 1.0)

    def name(self, neuron: int) -> str:
        """Which neuron it is."""
        return _name(neuron, self.neurons)

    def said(self, scene: int, neuron: int) -> str:
        """Which scene it is, and its rank among all."""
        rank = 1 + int(np.flatnonzero(self.ranked(neuron) == scene)[0])
        return f"scene {scene}: number {rank} of {len(self.shown)} by spikes"


class _Wiring:
    """Scores of directed pairs of neurons by several methods, and the synapses where known."""

    def __init__(
        self,
        scores: Mapping[str, np.ndarray],
        truth: np.ndarray | None,
        neurons: pd.DataFrame | None,
        columns: tuple[str, str],
    ) -> None:
        self.scores = {name: np.asarray(x, dtype=float) for name, x in scores.items()}
        self.truth = None if truth is None else np.nan_to_num(np.asarray(truth, dtype=float))
        self.neurons = neurons
        _check_wiring(self.scores, self.truth, neurons)
        self.n_neurons = len(next(iter(self.scores.values())))
        at = neurons is not None and set(columns) <= set(neurons)
        self.positions = neurons[list(columns)].to_numpy(dtype=float) if at else None
        self.columns = columns

    def values(self, method: str, neuron: int, direction: str) -> np.ndarray:
        """Scores of one neuron with all others, (N,), NaN with itself."""
        values = _of_neuron(self.scores[method], neuron, direction).copy()
        values[neuron] = np.nan
        return values

    def partners(self, method: str, neuron: int, direction: str) -> np.ndarray:
        """Others with the largest scores, of either sign, the largest first."""
        values = self.values(method, neuron, direction)
        order = np.argsort(-np.abs(values), kind="stable")  # NaN last
        return order[: min(N_PARTNERS, int(np.isfinite(values).sum()))]

    def signs(self, neuron: int, direction: str) -> np.ndarray:
        """Signs of the synapses of a neuron, (N,), 0 where there is none."""
        if self.truth is None:
            return np.zeros(self.n_neurons, dtype=int)
        signs = np.sign(_of_neuron(self.truth, neuron, direction)).astype(int)
        signs[neuron] = 0
        return signs

    def draw_bars(self, ax: Axes, method: str, neuron: int, direction: str) -> None:
        """Draw the scores of the best partners, afresh, and mark the synapses among them."""
        ax.clear()
        partners = self.partners(method, neuron, direction)
        values, rows = self.values(method, neuron, direction)[partners], np.arange(len(partners))
        signs = self.signs(neuron, direction)[partners]
        faint = (signs == 0) & (self.truth is not None)
        for chosen, alpha in ((~faint, 1.0), (faint, 0.35)):
            colours = _colours(values[chosen])
            ax.barh(rows[chosen], values[chosen], height=0.7, color=colours, alpha=alpha)
        reach = np.abs(values).max(initial=0) or 1.0
        for sign, (marker, _) in SYNAPSES.items():
            at = values[signs == sign]
            at = at + 0.07 * reach * np.where(at < 0, -1, 1)
            style = {"linestyle": "", "marker": marker, "color": figures.INK}
            ax.plot(at, rows[signs == sign], **style)
        ax.axvline(0, color=figures.INK, linewidth=0.8)
        ax.set_yticks(rows, [_name(k, self.neurons) for k in partners])
        ax.set(xlim=(-1.2 * reach, 1.2 * reach), ylim=(N_PARTNERS - 0.4, -0.6), xlabel="score")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_title(f"{method}{self.hits(signs, neuron, direction)}")

    def hits(self, signs: np.ndarray, neuron: int, direction: str) -> str:
        """How many of those shown are synapses, and how many would be by chance."""
        if self.truth is None:
            return ""
        share = np.count_nonzero(self.signs(neuron, direction)) / (self.n_neurons - 1)
        found, by_chance = np.count_nonzero(signs), len(signs) * share
        return f"\n{found} of {len(signs)} are synapses, {by_chance:.1f} by chance"

    def draw_map(self, ax: Axes, method: str, neuron: int, direction: str) -> None:
        """Draw all neurons where they are, afresh, with lines to the best partners."""
        ax.clear()
        x, y = self.positions.T
        ax.plot(x, y, linestyle="", marker="o", markersize=2.5, color=figures.CHANCE, alpha=0.6)
        partners = self.partners(method, neuron, direction)
        values = self.values(method, neuron, direction)[partners]
        widths = np.abs(values) / (np.abs(values).max(initial=0) or 1.0)
        colours = _colours(values)
        for k, width, colour in zip(partners, widths, colours, strict=True):
            ax.plot(x[[neuron, k]], y[[neuron, k]], color=colour, linewidth=0.4 + 2.2 * width)
        ax.scatter(x[partners], y[partners], s=22, color=colours, zorder=3)
        signs = self.signs(neuron, direction)
        for sign, (marker, _) in SYNAPSES.items():
            at = partners[signs[partners] == sign]
            style = {"facecolor": "none", "edgecolor": figures.INK, "linewidth": 1}
            ax.scatter(x[at], y[at], s=70, marker=marker, zorder=4, **style)
        ax.scatter(x[neuron], y[neuron], s=90, marker="*", color=figures.INK, zorder=5)
        labels = [name.replace("_um", " (µm)") for name in self.columns]
        ax.set(xlabel=labels[0], ylabel=labels[1], aspect="equal")
        ax.invert_yaxis()
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        ax.set_title(f"{_name(neuron, self.neurons)} (star): {DIRECTIONS[direction]}")

    def handles(self) -> list[Patch | Line2D]:
        """Entries of a legend."""
        colours = {"positive score": figures.GENERATED, "negative score": figures.REAL}
        found = [Patch(color=colour, label=name) for name, colour in colours.items()]
        if self.truth is not None:
            style = {"linestyle": "", "color": figures.INK}
            found += [
                Line2D([], [], marker=m, label=name, **style) for m, name in SYNAPSES.values()
            ]
            found.append(Patch(color=figures.CHANCE, alpha=0.35, label="no synapse (pale)"))
        return found


def spike_explorer(
    counts: np.ndarray,
    scenes: np.ndarray,
    neurons: pd.DataFrame,
    centres: np.ndarray,
    images: np.ndarray | None = None,
) -> ipywidgets.VBox:
    """Choose a scene and a neuron; see its spikes in every trial, and its rate beside the scene.

    The colours of the trials and the axis of the rate are the same for all scenes of a neuron.

    Parameters
    ----------
    counts : (n_trials, n_bins, n_neurons) array
        Spikes in each bin of a trial.
    scenes : (n_trials,) array of int
        Which scene each trial shows, from 0.
    neurons : pandas.DataFrame
        A row a neuron; its "area" is shown where it has one.
    centres : (n_bins,) array
        Middles of the bins in s after the onset, evenly spaced, at least two.
    images : (n_scenes, H, W) array, optional
        The scenes in grey, in any unit; scene k is images[k].

    Returns
    -------
    ipywidgets.VBox
        The controls and the figure. Without a running kernel it does nothing:
        `spike_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If lengths do not match, counts are negative or missing, bins are not evenly spaced, or a
        scene has no image.
    """
    shown = _Counts(counts, scenes, neurons, centres, images)
    controls = _count_controls(shown)
    scene, neuron = int(shown.shown[0]), 0
    figure, left, (above, below) = _count_axes(images is not None)
    if images is not None:
        _draw_picture(left, images, scene)
    shown.draw_trials(above, scene, neuron)
    _bar_beside(above)

    def redraw() -> None:
        """Show what the controls say."""
        scene, neuron = controls["scene"].value, controls["neuron"].value
        if images is not None:
            left.images[0].set_data(images[scene])
            left.set_title(f"scene {scene}")
        shown.update_trials(above, scene, neuron)
        above.set_title(f"{shown.name(neuron)}\n{shown.said(scene, neuron)}")
        shown.draw_rates(below, scene, neuron)
        below.legend(loc="upper right", ncols=2)

    return _view(figure, controls, redraw)


def spike_small_multiples(
    counts: np.ndarray,
    scenes: np.ndarray,
    neurons: pd.DataFrame,
    centres: np.ndarray,
    images: np.ndarray | None = None,
    *,
    neuron: int = 0,
    n_scenes: int = 4,
) -> Figure:
    """Draw what `spike_explorer` shows, for one neuron: a column a scene, most spikes first.

    Parameters
    ----------
    counts, scenes, neurons, centres, images
        As in `spike_explorer`.
    neuron : int
        Which neuron.
    n_scenes : int
        How many scenes, at even ranks by their spikes.

    Returns
    -------
    matplotlib.figure.Figure
        Rows: the scene (with images), its trials, the rate.

    Raises
    ------
    ValueError
        As `spike_explorer`, or there is no such neuron or no scene is asked for.
    """
    shown = _Counts(counts, scenes, neurons, centres, images)
    _check_choice(neuron, len(neurons))
    if n_scenes < 1:
        raise ValueError(f"n_scenes must be at least 1; got {n_scenes}")
    ranks = np.unique(np.linspace(0, len(shown.shown) - 1, n_scenes).round().astype(int))
    chosen = shown.ranked(neuron)[ranks].tolist()
    n_rows = 2 if images is None else 3
    size = (2.1 * len(chosen) + 1.2, 1.7 * n_rows + 0.6)
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, len(chosen), squeeze=False)
    for column, scene in zip(axes.T, chosen, strict=True):
        if images is not None:
            _draw_picture(column[0], images, scene)
        shown.draw_trials(column[-2], scene, neuron)
        shown.draw_rates(column[-1], scene, neuron)
        column[0].set_title(f"scene {scene}")
        column[-2].tick_params(labelbottom=False)
    for row in axes[-2:]:
        for ax in row[1:]:
            ax.set_ylabel("")
    _bar_beside(axes[-2, -1])
    figure.legend(*axes[-1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(shown.name(neuron), fontsize="medium")
    return figure


def wiring_explorer(
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    neurons: pd.DataFrame | None = None,
    *,
    columns: tuple[str, str] = ("x_um", "y_um"),
) -> ipywidgets.VBox:
    """Choose a method, a neuron and a direction; see its strongest candidate partners.

    The twelve largest scores, of either sign, are drawn as bars, and on a map where positions are
    known. Where synapses are known, those among them are marked, and the others are pale.

    Bias: the strongest of many scores look better than they are; the title says how many synapses
    twelve partners would hold by chance.

    Parameters
    ----------
    scores : mapping from name to (n_neurons, n_neurons) array
        Score of each pair (source, target) by each method, signed, in any unit; NaN for none. The
        diagonal is not shown.
    truth : (n_neurons, n_neurons) array, optional
        Weights of the synapses (source, target), 0 or NaN for none.
    neurons : pandas.DataFrame, optional
        A row a neuron; its "area" is shown where it has one, and its positions are mapped.
    columns : (str, str)
        Columns of `neurons` that the map shows to the right and downwards. Without them there is
        no map.

    Returns
    -------
    ipywidgets.VBox
        The controls and the figure. Without a running kernel it does nothing:
        `wiring_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If there is no method, matrices are not square and of the same neurons, or scores are
        infinite.
    """
    wiring = _Wiring(scores, truth, neurons, columns)
    controls = _wiring_controls(wiring)
    mapped = wiring.positions is not None
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(9.2 if mapped else 5.6, 4.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = figure.subplots(1, 1 + mapped, squeeze=False)[0]
    figure.legend(handles=wiring.handles(), loc="outside lower center", ncols=3)

    def redraw() -> None:
        """Show what the controls say."""
        chosen = [controls[name].value for name in ("method", "neuron", "direction")]
        wiring.draw_bars(axes[0], *chosen)
        if mapped:
            wiring.draw_map(axes[1], *chosen)

    return _view(figure, controls, redraw)


def wiring_small_multiples(
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    neurons: pd.DataFrame | None = None,
    *,
    neuron: int = 0,
    direction: str = "targets",
) -> Figure:
    """Draw the bars of `wiring_explorer` for one neuron: a panel a method.

    Parameters
    ----------
    scores, truth, neurons
        As in `wiring_explorer`.
    neuron : int
        Which neuron.
    direction : {"targets", "sources"}
        Whom it drives, or who drives it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `wiring_explorer`, or there is no such neuron or direction.
    """
    wiring = _Wiring(scores, truth, neurons, ("x_um", "y_um"))
    _check_choice(neuron, wiring.n_neurons)
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {tuple(DIRECTIONS)}; got {direction!r}")
    n_columns = min(3, len(wiring.scores))
    n_rows = -(-len(wiring.scores) // n_columns)
    size = (3.3 * n_columns + 0.2, 3.1 * n_rows + 0.8)
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, method in zip(axes, wiring.scores, strict=False):
        wiring.draw_bars(ax, method, neuron, direction)
    for ax in axes[len(wiring.scores) :]:
        ax.remove()
    figure.legend(handles=wiring.handles(), loc="outside lower center", ncols=3)
    said = f"{_name(neuron, neurons)}: {DIRECTIONS[direction]}"
    figure.suptitle(said, fontsize="medium")
    return figure


def _count_controls(shown: _Counts) -> dict[str, ipywidgets.Widget]:
    """Controls for a scene and a neuron."""
    return {
        "scene": ipywidgets.SelectionSlider(
            options=shown.shown.tolist(),
            description="Scene",
            tooltip="Which scene was shown",
            disabled=len(shown.shown) == 1,
        ),
        "neuron": ipywidgets.IntSlider(
            max=shown.counts.shape[2] - 1,
            description="Neuron",
            tooltip="Whose spikes are shown",
            disabled=shown.counts.shape[2] == 1,
        ),
    }


def _wiring_controls(wiring: _Wiring) -> dict[str, ipywidgets.Widget]:
    """Controls for a method, a neuron and a direction."""
    return {
        "method": ipywidgets.Dropdown(
            options=[(str(name), name) for name in wiring.scores],
            description="Method",
            tooltip="Which method gives the scores",
        ),
        "neuron": ipywidgets.IntSlider(
            max=wiring.n_neurons - 1,
            description="Neuron",
            tooltip="Whose partners are shown",
        ),
        "direction": ipywidgets.Dropdown(
            options=[(words, name) for name, words in DIRECTIONS.items()],
            description="Direction",
            tooltip="Partners that the neuron drives, or that drive it",
        ),
    }


def _count_axes(with_images: bool) -> tuple[Figure, Axes | None, tuple[Axes, Axes]]:
    """Axes for a picture on the left, and for trials above rates."""
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(9.4 if with_images else 6.2, 4.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    ratios = [1, 1.5] if with_images else [1]
    grid = figure.add_gridspec(2, 1 + with_images, width_ratios=ratios, height_ratios=[1.5, 1])
    left = figure.add_subplot(grid[:, 0]) if with_images else None
    above = figure.add_subplot(grid[0, -1])
    above.tick_params(labelbottom=False)
    return figure, left, (above, figure.add_subplot(grid[1, -1]))


def _bar_beside(ax: Axes) -> None:
    """Draw the scale of the trials beside them, so that they stay as wide as the rates."""
    place = ax.inset_axes((1.03, 0, 0.03, 1))
    bar = ax.figure.colorbar(ax.images[0], cax=place, label="spikes in a bin")
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(4, integer=True)
    bar.update_ticks()


def _name(neuron: int, neurons: pd.DataFrame | None) -> str:
    """Which neuron it is, and where."""
    area = "" if neurons is None or "area" not in neurons else f", {neurons['area'].iloc[neuron]}"
    return f"neuron {neuron}{area}"


def _of_neuron(matrix: np.ndarray, neuron: int, direction: str) -> np.ndarray:
    """Entries of one neuron with each other one, as source or as target, (N,)."""
    return matrix[neuron] if direction == "targets" else matrix[:, neuron]


def _colours(values: np.ndarray) -> list[str]:
    return [figures.GENERATED if value > 0 else figures.REAL for value in values]


def _check_choice(neuron: int, n_neurons: int) -> None:
    if not 0 <= neuron < n_neurons:
        raise ValueError(f"neuron must be one of 0 ... {n_neurons - 1}; got {neuron}")


def _check_counts(
    counts: np.ndarray,
    scenes: np.ndarray,
    neurons: pd.DataFrame,
    centres: np.ndarray,
    images: np.ndarray | None,
) -> None:
    """Raise an error that says what is wrong with counts, scenes, bins or pictures."""
    shape = len(scenes), centres.size, len(neurons)
    if counts.shape != shape or scenes.ndim != 1 or 0 in shape or not (counts >= 0).all():
        raise ValueError(
            "need counts (trial, bin, neuron), none negative or missing, with one scene a trial, "
            f"one centre a bin and one row a neuron, {shape}; got {counts.shape}. Select the same "
            "trials and neurons from all."
        )
    steps = np.diff(centres)
    if centres.ndim != 1 or not (steps > 0).any() or not np.allclose(steps, steps[0], rtol=1e-3):
        raise ValueError(
            f"need the middles of two or more bins in s, evenly spaced; got {centres}. Count in "
            "bins of one width."
        )
    if scenes.dtype.kind not in "iu" or scenes.min() < 0:
        raise ValueError(
            f"scenes must be whole numbers from 0; got {scenes.dtype} from {scenes.min()}. Leave "
            "out blank frames."
        )
    _check_images(images, int(scenes.max()))


def _check_images(images: np.ndarray | None, last: int) -> None:
    if images is not None and (np.ndim(images) != 3 or len(images) <= last):
        raise ValueError(
            f"need images (scene, H, W) in grey up to scene {last}; got {np.shape(images)}. Pass "
            "all scenes, or None."
        )


def _check_wiring(
    scores: Mapping[str, np.ndarray], truth: np.ndarray | None, neurons: pd.DataFrame | None
) -> None:
    """Raise an error that says which matrix or table is not of the same neurons."""
    shapes = {name: x.shape for name, x in scores.items()}
    n = next(iter(shapes.values()), (0,))[:1]
    given = {**shapes, "truth": n * 2 if truth is None else truth.shape}
    rows = n if neurons is None else (len(neurons),)
    if n < (2,) or set(given.values()) != {n * 2} or rows != n:
        raise ValueError(
            "need scores (source, target) by at least one method, truth and one row of the table "
            f"for the same two or more neurons; got {given} and {rows[0]} rows. Select the same "
            "neurons from all."
        )
    infinite = [name for name, x in scores.items() if np.isinf(x).any()]
    if infinite:
        raise ValueError(f"scores must not be infinite; those of {infinite} are. Write NaN.")
