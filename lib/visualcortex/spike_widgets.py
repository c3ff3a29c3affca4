"""Views of spike counts scene by scene, and of pairs called synapses, live and still.

They show arrays that were computed before: moving a control counts and fits nothing.
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
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from visualcortex import figures
from visualcortex.widgets import View, _draw_picture
from visualcortex.wiring_widgets import OUTCOMES, _places

# outcomes of pairs, of which the numbers in the matrix that is drawn are the places in `OUTCOMES`
HITS, MISSES, FALSE, UNSCORED = 1, 2, 3, 4
N_POINTS = 160  # of a curve over pairs called


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
        # (scene, neuron), spikes/s over all bins: the mean of the trials, and their spread
        span = self.edges[-1] - self.edges[0]
        sums = [self.counts[t].sum(axis=1) / span for t in self.trials.values()]
        self.rates = np.stack([x.mean(axis=0) for x in sums])
        self.spreads = np.stack([x.std(axis=0) for x in sums])

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

    def alike(self, scene: int, neuron: int) -> np.ndarray:
        """Which scenes drive a neuron as much as this one, within one s.d. over its trials."""
        at = int(np.flatnonzero(self.shown == scene)[0])
        rates = self.rates[:, neuron]
        return np.abs(rates - rates[at]) <= self.spreads[at, neuron]

    def draw_ranking(self, ax: Axes, scene: int, neuron: int) -> None:
        """Draw the rates under all scenes, afresh, the highest first, and this one among them."""
        ax.clear()
        order = np.searchsorted(self.shown, self.ranked(neuron))
        rates, alike = self.rates[order, neuron], self.alike(scene, neuron)[order]
        ranks, here = 1 + np.arange(len(order)), int(np.flatnonzero(self.shown[order] == scene)[0])
        spread = self.spreads[order[here], neuron]
        low, high = max(rates[here] - spread, 0), rates[here] + spread
        ax.axhspan(low, high, color=figures.REAL, alpha=0.14, linewidth=0)
        for chosen, colour in ((~alike, figures.CHANCE), (alike, figures.REAL)):
            ax.plot(ranks[chosen], rates[chosen], ".", markersize=4, color=colour)
        style = {"markersize": 8, "color": figures.GENERATED, "markeredgecolor": figures.PAPER}
        ax.plot(ranks[here], rates[here], "o", **style)
        top = (self.rates + self.spreads)[:, neuron].max() or 1.0
        ax.set(xlim=(0, len(order) + 1), ylim=(0, 1.05 * top))
        ax.set(xlabel="scenes, by rank", ylabel="rate (spikes/s)")
        n_others = len(order) - 1
        ax.set_title(f"{alike.sum() - 1} of {n_others} others within one s.d. over trials")

    def label(self, neuron: int) -> str:
        """Which neuron it is, and where."""
        at = f", {self.neurons['area'].iloc[neuron]}" if "area" in self.neurons else ""
        return f"{neuron}{at}"

    def said(self, scene: int, neuron: int) -> str:
        """Which scene it is, its rank among all, and the rate."""
        rank = 1 + int(np.flatnonzero(self.ranked(neuron) == scene)[0])
        rate = self.rates[np.flatnonzero(self.shown == scene)[0], neuron]
        among = f"number {rank} of {len(self.shown)} by spikes"
        return f"scene {scene}: {among}, {rate:.1f} a second"


class _Calls:
    """Scores of ordered pairs by several methods, and what calling the largest of them finds."""

    def __init__(
        self,
        scores: Mapping[str, np.ndarray],
        truth: np.ndarray | None,
        areas: Sequence[str] | None,
        known_as: str,
        strength: str,
    ) -> None:
        self.scores = {name: np.asarray(x, dtype=float) for name, x in scores.items()}
        self.truth = None if truth is None else np.nan_to_num(np.asarray(truth, dtype=float))
        _check_wiring(self.scores, self.truth, areas)
        self.known_as, self.strength = known_as, strength
        n = len(next(iter(self.scores.values())))
        names = np.asarray(["all"] * n if areas is None else list(areas), dtype=str)
        self.areas, place = _first_come(names)
        self.order = np.argsort(place, kind="stable")
        self.ends = np.cumsum(np.bincount(place))  # of the areas, in the order that is drawn
        off = ~np.eye(n, dtype=bool)
        self.scored = {name: np.isfinite(x) & off for name, x in self.scores.items()}
        self.places = {name: _places(x, self.scored[name]) for name, x in self.scores.items()}
        self.most = min(int(x.sum()) for x in self.scored.values())
        self.linked = np.zeros((n, n), dtype=bool) if self.truth is None else self.truth != 0
        self.n_known = int((self.linked & off).sum())

    def usual(self) -> int:
        """As many pairs as are known, or else one in twenty."""
        return min(self.n_known or max(self.most // 20, 1), self.most)

    def outcomes(self, method: str, n_called: int) -> np.ndarray:
        """What each pair is, as its place in `OUTCOMES`, (source, target)."""
        called, linked = self.places[method] < n_called, self.linked
        if self.truth is None:
            found = np.where(called, HITS, 0)
        else:
            found = np.select([called & linked, linked, called], [HITS, MISSES, FALSE], 0)
        return np.where(self.scored[method], found, UNSCORED)

    def counts(self, method: str, n_called: int) -> tuple[int, int, int]:
        """Hits, misses and false calls."""
        outcomes = self.outcomes(method, n_called)
        return tuple(int(np.count_nonzero(outcomes == k)) for k in (HITS, MISSES, FALSE))

    def draw_pairs(self, ax: Axes, method: str, n_called: int) -> None:
        """Draw the matrix of pairs, neurons in order of area, or bring the one there up to date."""
        shown = self.outcomes(method, n_called)[np.ix_(self.order, self.order)]
        if not ax.images:
            self._frame_pairs(ax, shown)
        ax.images[0].set_data(shown)
        ax.set_title(f"{method}: {n_called} called\n{self.said(method, n_called)}")

    def _frame_pairs(self, ax: Axes, shown: np.ndarray) -> None:
        colours = ListedColormap(list(OUTCOMES.values()))
        limits = {"vmin": -0.5, "vmax": len(OUTCOMES) - 0.5}
        ax.imshow(shown, cmap=colours, interpolation="nearest", **limits)
        middles = (np.append(0, self.ends[:-1]) + self.ends) / 2 - 0.5
        for set_ticks in (ax.set_xticks, ax.set_yticks):
            set_ticks(middles, self.areas if len(self.areas) > 1 else [""])
        ax.tick_params(length=0)
        for end in self.ends[:-1] - 0.5:
            ax.axhline(end, color=figures.CHANCE, linewidth=0.6)
            ax.axvline(end, color=figures.CHANCE, linewidth=0.6)
        ax.set(xlabel="target", ylabel="source")

    def said(self, method: str, n_called: int) -> str:
        """How many of the called are right, where that is known."""
        if self.truth is None:
            return "which are right is not known"
        hits, misses, false = self.counts(method, n_called)
        return f"{hits} hits, {misses} misses, {false} false"

    def curves(self, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs called, precision and recall, at numbers evenly spaced on a logarithmic axis."""
        scored = self.scored[method]
        hits = self.linked[scored][np.argsort(self.places[method][scored])].cumsum()
        n = np.unique(np.geomspace(1, len(hits), N_POINTS).round().astype(int))
        return n, hits[n - 1] / n, hits[n - 1] / max(hits[-1], 1)

    def draw_quality(self, ax: Axes, method: str, n_called: int) -> None:
        """Draw precision and recall against the number of pairs called, with chance."""
        n, precision, recall = self.curves(method)
        hits, misses, false = self.counts(method, n_called)
        share = np.full(len(n), (hits + misses) / n[-1])
        values = hits / (hits + false), hits / max(hits + misses, 1)
        if not ax.lines:
            self._frame_quality(ax)
        mark, *lines, _ = ax.lines
        mark.set_xdata([n_called] * 2)
        for k, (curve, chance) in enumerate(((precision, share), (recall, n / n[-1]))):
            lines[3 * k].set_data(n, curve)
            lines[3 * k + 1].set_data(n, chance)
            lines[3 * k + 2].set_data([n_called], [values[k]])
        ax.set_xlim(1, n[-1])
        chances = share[0], n_called / n[-1]
        told = zip(("precision", "recall"), values, chances, strict=True)
        ax.set_title("\n".join(f"{k} {x:.2f} (by chance {c:.2f})" for k, x, c in told))

    @staticmethod
    def _frame_quality(ax: Axes) -> None:
        """Draw lines without points: the threshold; curve, chance and mark of each; a legend."""
        ax.axvline(1, color=figures.INK, linewidth=1, zorder=1)
        dashed = {"linestyle": (0, (4, 3)), "linewidth": 1}
        dot = {"linestyle": "", "marker": "o", "markersize": 8, "markeredgecolor": figures.PAPER}
        for name, colour in (("precision", figures.REAL), ("recall", figures.GENERATED)):
            ax.plot([], [], color=colour, label=name)
            ax.plot([], [], color=colour, alpha=0.7, **dashed)
            ax.plot([], [], color=colour, zorder=4, **dot)
        ax.plot([], [], color=figures.CHANCE, label="chance", **dashed)
        ax.set(xscale="log", ylim=(0, 1.04), xlabel="pairs called", ylabel="share")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.legend(loc="center left", fontsize="small")

    def draw_strengths(self, ax: Axes, method: str, n_called: int) -> None:
        """Draw how strong the known ones are that are found, and those that are missed."""
        outcomes, sizes = self.outcomes(method, n_called), np.abs(self.truth)
        known = sizes[self.linked] if self.n_known else np.ones(1)
        low, high = np.quantile(known, [0.01, 1])
        edges = np.geomspace(low * 0.99, high * 1.01, 24)
        clipped = np.maximum(sizes, edges[0])  # the weakest of all stand in the first bin
        found, missed = (np.histogram(clipped[outcomes == k], edges)[0] for k in (HITS, MISSES))
        if not ax.patches:
            for name in ("missed", "found"):
                ax.stairs(found, edges, fill=True, color=OUTCOMES[name])
            ax.set(xscale="log", xlim=edges[[0, -1]], xlabel=self.strength, ylabel="pairs")
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_ylim(0, 1.05 * max((found + missed).max(), 1))
        ax.patches[0].set_data(values=found + missed, baseline=found)
        ax.patches[1].set_data(values=found)
        strong = self.linked & (sizes >= np.median(known))
        share = np.count_nonzero(outcomes[strong] == HITS) / max(np.count_nonzero(strong), 1)
        ax.set_title(f"of the stronger half, {share:.2f} found")

    def draw_sizes(self, ax: Axes, method: str, n_called: int) -> None:
        """Draw the sizes of the scores from the largest on, where nothing is known."""
        ax.clear()
        sizes = np.sort(np.abs(self.scores[method][self.scored[method]]))[::-1]
        n = self.curves(method)[0]
        ax.plot(n, sizes[n - 1], color=figures.REAL)
        ax.axvline(n_called, color=figures.INK, linewidth=1, zorder=1)
        style = {"markersize": 8, "color": figures.REAL, "markeredgecolor": figures.PAPER}
        ax.plot(n_called, sizes[n_called - 1], "o", zorder=4, **style)
        ax.set(xscale="log", xlim=(1, len(sizes)), xlabel="pairs called", ylabel="size of score")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_title(f"size at the threshold {sizes[n_called - 1]:.3g}")

    def handles(self) -> list[Patch]:
        """Entries of a legend of outcomes."""
        if self.truth is None:
            said = {"found": "called"}
        else:
            said = {"found": f"{self.known_as}, called (hit)", "missed": f"{self.known_as}, missed"}
            said["false"] = "called, but none (false call)"
        return [Patch(color=OUTCOMES[name], label=words) for name, words in said.items()]


def spike_explorer(
    counts: np.ndarray,
    scenes: np.ndarray,
    neurons: pd.DataFrame,
    centres: np.ndarray,
    images: np.ndarray | None = None,
) -> View:
    """Choose a scene and a neuron; see the scene, every trial, the rate, and all other scenes.

    The rates under all scenes stand in order of rank; those that lie within one standard deviation
    over the trials of the chosen scene are marked, since a single trial of this neuron hardly tells
    them from it. Colours of trials and axes of rates are the same for all scenes of a neuron.

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
    View
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
    figure, picture, ranking, (above, below) = _count_axes(images is not None)
    if images is not None:
        _draw_picture(picture, images, scene)
    shown.draw_trials(above, scene, neuron)
    _bar_beside(above)

    def redraw() -> None:
        """Show what the controls say."""
        scene, neuron = controls["scene"].value, controls["neuron"].value
        if images is not None:
            picture.images[0].set_data(images[scene])
            picture.set_title(f"scene {scene}")
        shown.draw_ranking(ranking, scene, neuron)
        shown.update_trials(above, scene, neuron)
        above.set_title(f"neuron {shown.label(neuron)}\n{shown.said(scene, neuron)}")
        shown.draw_rates(below, scene, neuron)
        below.legend(loc="upper right", ncols=2)

    return View(figure, controls, redraw)


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
    figure.suptitle(f"neuron {shown.label(neuron)}", fontsize="medium")
    return figure


def threshold_explorer(
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    areas: Sequence[str] | None = None,
    *,
    known_as: str = "synapse",
    strength: str = "strength of the synapse (mV)",
) -> View:
    """Choose a method and how many pairs are called synapses; see hits, misses and false calls.

    On the left all ordered pairs, a row a source, in order of area. On the right precision and
    recall against the number of pairs called, each with chance, and the threshold; below, how
    strong the known ones are that it finds and misses. Pairs are called from the largest absolute
    score on, those of one score in order of rows. Where nothing is known, the called pairs and the
    sizes of their scores are all there is to see.

    Bias: a threshold that is chosen because it looks best was chosen by the truth.

    Parameters
    ----------
    scores : mapping from name to (n_neurons, n_neurons) array
        Score of each pair (source, target) by each method, signed, in any unit; NaN for none. The
        diagonal is not looked at.
    truth : (n_neurons, n_neurons) array, optional
        Weights of what is known (source, target), 0 or NaN for none.
    areas : (n_neurons,) sequence of str, optional
        Where each neuron is.
    known_as : str
        What an entry of `truth` is called.
    strength : str
        What the size of an entry of `truth` is, with its unit.

    Returns
    -------
    View
        The controls and the figure. Without a running kernel it does nothing:
        `threshold_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If there is no method, matrices are not square and of the same neurons, scores are infinite,
        or a method scores no pair.
    """
    calls = _Calls(scores, truth, areas, known_as, strength)
    controls = _call_controls(calls)
    figure, grid = _two_by_two((1.25, 1))
    places, draws = [grid[:, 0], grid[:, 1]], [calls.draw_pairs, calls.draw_sizes]
    if calls.truth is not None:
        places[1:] = grid[0, 1], grid[1, 1]
        draws[1:] = calls.draw_quality, calls.draw_strengths
    axes = [figure.add_subplot(place) for place in places]
    figure.legend(handles=calls.handles(), loc="outside lower center", ncols=3, handlelength=1)

    def redraw() -> None:
        """Show what the controls say."""
        for ax, draw in zip(axes, draws, strict=True):
            draw(ax, controls["method"].value, round(controls["called"].value))

    return View(figure, controls, redraw)


def threshold_small_multiples(
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    areas: Sequence[str] | None = None,
    *,
    n_called: int | None = None,
    known_as: str = "synapse",
) -> Figure:
    """Draw what `threshold_explorer` shows for several methods, at one number of pairs called.

    Parameters
    ----------
    scores, truth, areas, known_as
        As in `threshold_explorer`.
    n_called : int, optional
        How many pairs; by default as many as are known, or else one in twenty.

    Returns
    -------
    matplotlib.figure.Figure
        A column a method: the pairs, and precision and recall or the sizes of the scores.

    Raises
    ------
    ValueError
        As `threshold_explorer`, or so many pairs cannot be called.
    """
    calls = _Calls(scores, truth, areas, known_as, "")
    n_called = calls.usual() if n_called is None else n_called
    if not 1 <= n_called <= calls.most:
        raise ValueError(f"n_called must be 1 to {calls.most}, the pairs scored; got {n_called}")
    size = (3.3 * len(calls.scores) + 0.2, 6.4)
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(2, len(calls.scores), squeeze=False, height_ratios=(1.6, 1))
    for (above, below), method in zip(axes.T, calls.scores, strict=True):
        calls.draw_pairs(above, method, n_called)
        draw = calls.draw_sizes if calls.truth is None else calls.draw_quality
        draw(below, method, n_called)
        above.tick_params(labelsize="x-small")
    figure.legend(handles=calls.handles(), loc="outside lower center", ncols=3, handlelength=1)
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
        "neuron": ipywidgets.SelectionSlider(
            options=[(shown.label(k), k) for k in range(shown.counts.shape[2])],
            description="Neuron",
            tooltip="Whose spikes are shown",
            disabled=shown.counts.shape[2] == 1,
        ),
    }


def _call_controls(calls: _Calls) -> dict[str, ipywidgets.Widget]:
    """Controls for a method and a number of pairs."""
    return {
        "method": ipywidgets.Dropdown(
            options=[(str(name), name) for name in calls.scores],
            description="Method",
            tooltip="Which method gives the scores",
        ),
        "called": ipywidgets.FloatLogSlider(
            value=calls.usual(),
            min=0,
            max=np.log10(calls.most),
            step=0.02,
            readout_format=".0f",
            description="Pairs called",
            tooltip="How many pairs, from the largest score on, are called synapses",
        ),
    }


def _two_by_two(widths: tuple[float, float]) -> tuple[Figure, GridSpec]:
    """An empty figure, and a grid of two rows and two columns."""
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(9.4, 5.0), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    return figure, figure.add_gridspec(2, 2, width_ratios=widths, height_ratios=(1.35, 1))


def _count_axes(with_images: bool) -> tuple[Figure, Axes | None, Axes, tuple[Axes, Axes]]:
    """Axes for a picture above a ranking on the left, and for trials above rates on the right."""
    figure, grid = _two_by_two((1, 1.35))
    picture = figure.add_subplot(grid[0, 0]) if with_images else None
    ranking = figure.add_subplot(grid[1, 0] if with_images else grid[:, 0])
    above = figure.add_subplot(grid[0, 1])
    above.tick_params(labelbottom=False)
    return figure, picture, ranking, (above, figure.add_subplot(grid[1, 1]))


def _bar_beside(ax: Axes) -> None:
    """Draw the scale of the trials beside them, so that they stay as wide as the rates."""
    place = ax.inset_axes((1.03, 0, 0.03, 1))
    bar = ax.figure.colorbar(ax.images[0], cax=place, label="spikes in a bin")
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(4, integer=True)
    bar.update_ticks()


def _first_come(names: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Distinct names in the order in which they first occur, and the place of each among them."""
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return names[np.sort(first)].tolist(), rank[place]


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
    scores: Mapping[str, np.ndarray], truth: np.ndarray | None, areas: Sequence[str] | None
) -> None:
    """Raise an error that says which matrix or list is not of the same neurons."""
    shapes = {name: x.shape for name, x in scores.items()}
    n = next(iter(shapes.values()), (0,))[:1]
    given = {**shapes, "truth": n * 2 if truth is None else truth.shape}
    named = n if areas is None else (len(areas),)
    if n < (2,) or set(given.values()) != {n * 2} or named != n:
        raise ValueError(
            "need scores (source, target) by at least one method, truth and one area a neuron "
            f"for the same two or more neurons; got {given} and {named[0]} areas. Select the same "
            "neurons from all."
        )
    infinite = [name for name, x in scores.items() if np.isinf(x).any()]
    if infinite:
        raise ValueError(f"scores must not be infinite; those of {infinite} are. Write NaN.")
    silent = [n for n, x in scores.items() if not np.isfinite(x[~np.eye(len(x), dtype=bool)]).any()]
    if silent:
        raise ValueError(
            f"need a score of some pair by every method; {silent} have none. Drop them."
        )
