"""The figures of the book: functions that take arrays and return axes.

Call `use_style` once in a notebook; importing this module changes nothing. The colours mean the
same everywhere: `REAL` is recorded, `GENERATED` comes out of a model, `CHANCE` and `CEILING` are
the two marks that every result is read against.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

REAL = "#0b5c8a"
GENERATED = "#d1562a"
CHANCE = "#8a929a"
CEILING = "#0a8a68"
INK = "#22303c"
PAPER = "#fbf9f4"

ACTIVITY = LinearSegmentedColormap.from_list("paper_to_ink", [PAPER, "#a9c3d3", REAL, "#0b2233"])
SIGNED = LinearSegmentedColormap.from_list(
    "blue_paper_orange", ["#083d5c", REAL, "#8fb8cf", PAPER, "#eeb99f", GENERATED, "#7d2c10"]
)


def use_style() -> None:
    """Give matplotlib the look of the book, for the rest of the session.

    In a notebook, figures are drawn at twice the pixels, for sharp screens.
    """
    sheet = resources.files("visualcortex") / "style" / "visualcortex.mplstyle"
    with resources.as_file(sheet) as path:
        plt.style.use(path)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def raster(
    activity: np.ndarray,
    *,
    ax: Axes | None = None,
    seconds: float | None = None,
    quantity: str = "activity",
    limits: tuple[float, float] = (0.0, 1.0),
    colour_bar: bool = True,
    title: str = "",
) -> Axes:
    """Show activity as an image: a row a neuron, a column a frame or a trial.

    Parameters
    ----------
    activity : (n_columns, n_neurons) array
        One trial (time, neuron), or trial rates (trial, neuron).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    seconds : float, optional
        Duration of all columns together, in s; without it the columns are trials.
    quantity : str
        What the colour shows, with its unit, for the colour bar.
    limits : (float, float)
        Values at the two ends of the colour scale.
    colour_bar : bool
        Whether to draw one.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    n_columns, n_neurons = np.shape(activity)
    right = n_columns if seconds is None else seconds
    image = ax.imshow(
        np.transpose(activity),
        cmap=ACTIVITY,
        vmin=limits[0],
        vmax=limits[1],
        extent=(0, right, n_neurons, 0),
    )
    ax.set(xlabel="trial" if seconds is None else "time (s)", ylabel="neuron", title=title)
    _whole_ticks(ax.yaxis)
    if seconds is None:
        _whole_ticks(ax.xaxis)
    if colour_bar:
        _colour_bar(image, [ax], quantity)
    return ax


def rate_scatter(
    real: np.ndarray,
    generated: np.ndarray,
    *,
    intervals: tuple[np.ndarray, np.ndarray] | None = None,
    quantity: str = "mean activity",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Scatter a quantity of each neuron, generated against real, with the line of equality.

    Parameters
    ----------
    real, generated : (n_neurons,) array
        The quantity, in the same unit.
    intervals : (low, high), each an (n_neurons,) array, optional
        Ends of the intervals of the real values, drawn as horizontal bars.
    quantity : str
        Its name and unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax, figsize=(4.2, 4.0))
    if intervals is not None:
        ax.hlines(generated, *intervals, color=REAL, alpha=0.28, linewidth=1.1)
    ax.scatter(real, generated, s=16, color=GENERATED, edgecolor=PAPER, linewidth=0.4, zorder=3)
    values = np.concatenate([real, generated, *(intervals or ())])
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.04 * (high - low or 1.0)
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, color=CHANCE, linewidth=1, linestyle=(0, (4, 3)), label="equal")
    ax.set(xlim=limits, ylim=limits, aspect="equal", title=title)
    ax.set(xlabel=f"real {quantity}", ylabel=f"generated {quantity}")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.legend(loc="upper left")
    return ax


def correlation_matrices(
    matrices: Mapping[str, np.ndarray],
    *,
    axes: Sequence[Axes] | None = None,
    limit: float | None = None,
    order: np.ndarray | None = None,
    quantity: str = "noise correlation",
) -> Sequence[Axes]:
    """Correlation matrices side by side, on one scale that is symmetric about zero.

    Parameters
    ----------
    matrices : mapping from title to (n_neurons, n_neurons) array
        NaN stays paper-coloured; the diagonal is left out.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one a matrix; by default a new figure.
    limit : float, optional
        Largest value on the scale; by default the 99th percentile of the absolute values.
    order : (n_neurons,) array of int, optional
        The order of the neurons, the same in every matrix (`leading_order` gives one).
    quantity : str
        What the colour shows.

    Returns
    -------
    sequence of matplotlib.axes.Axes
    """
    if axes is None:
        size = (2.9 * len(matrices) + 0.8, 3.2)
        axes = plt.subplots(1, len(matrices), figsize=size, squeeze=False)[1][0]
    shown = {name: _without_diagonal(m, order) for name, m in matrices.items()}
    if limit is None:
        stacked = np.concatenate([m[np.isfinite(m)] for m in shown.values()])
        limit = float(np.quantile(np.abs(stacked), 0.99)) if len(stacked) else 1.0
    for ax, (name, matrix) in zip(axes, shown.items(), strict=True):
        image = ax.imshow(matrix, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="equal")
        ax.set(title=name, xlabel="neuron")
        for axis in (ax.xaxis, ax.yaxis):
            _whole_ticks(axis)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("neuron")
    _colour_bar(image, list(axes), quantity)
    return axes


def leading_order(correlations: np.ndarray) -> np.ndarray:
    """Order of the neurons along the leading eigenvector of a correlation matrix, (n_neurons,).

    Neurons that vary together come to stand together. Found on one matrix (the recorded one) and
    used for all, so that it favours none.
    """
    filled = np.nan_to_num(correlations)
    leading = np.linalg.eigh(filled)[1][:, -1]
    return np.argsort(leading * np.sign(leading.sum() or 1.0), kind="stable")


def dot_plot(
    names: Sequence[str],
    values: Sequence[float],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    chance: float | Sequence[float] | None = None,
    ceiling: float | Sequence[float] | None = None,
    quantity: str,
    limits: tuple[float, float] | None = None,
    colours: Sequence[str] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Results as dots with their intervals, each beside its chance level and its ceiling.

    Parameters
    ----------
    names : sequence of str
        A row each, from the top.
    values : sequence of float
        The results.
    low, high : sequence of float, optional
        Ends of the intervals.
    chance, ceiling : float or sequence of float, optional
        One number for all rows (a line), or one a row (marks; NaN for none).
    quantity : str
        What the axis shows, with its unit.
    limits : (float, float), optional
        Ends of the axis.
    colours : sequence of str, optional
        One a row; by default the colour of real data.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax, figsize=(6.4, 0.9 + 0.36 * len(names)))
    rows = np.arange(len(names))
    colours = colours or [REAL] * len(names)
    ax.hlines(rows, 0, 1, transform=ax.get_yaxis_transform(), color="#e8e3d8", linewidth=0.7)
    _reference(ax, rows, chance, "chance", CHANCE, (0, (4, 3)))
    _reference(ax, rows, ceiling, "ceiling", CEILING, "solid")
    if low is not None and high is not None:
        ax.hlines(rows, low, high, color=colours, linewidth=2.4, alpha=0.55)
    ax.scatter(values, rows, s=42, color=colours, edgecolor=PAPER, linewidth=0.8, zorder=3)
    ax.set_yticks(rows, names)
    ax.set(ylim=(len(names) - 0.4, -0.6), xlabel=quantity, title=title)
    if limits is not None:
        ax.set_xlim(limits)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if chance is not None or ceiling is not None:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def training_history(
    history: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    axes: Sequence[Axes] | None = None,
    best_epoch: int | None = None,
) -> Sequence[Axes]:
    """Curves of a training run, a panel each.

    Parameters
    ----------
    history : pandas.DataFrame
        One row an epoch, as `visualcortex.training.run_epochs` returns it.
    columns : mapping from column to axis label
        The curves to show.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one a column; by default a new figure.
    best_epoch : int, optional
        Epoch whose state was kept, drawn as a vertical line.

    Returns
    -------
    sequence of matplotlib.axes.Axes
    """
    if axes is None:
        size = (3.1 * len(columns) + 0.4, 2.5)
        axes = plt.subplots(1, len(columns), figsize=size, squeeze=False)[1][0]
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        ax.plot(history["epoch"], history[column], color=INK, linewidth=1.3)
        ax.set(xlabel="epoch", ylabel=label)
        _whole_ticks(ax.xaxis)
        if best_epoch is not None:
            ax.axvline(best_epoch, color=CEILING, linewidth=1.2, label="kept")
            ax.legend()
    return axes


def histograms(
    samples: Mapping[str, np.ndarray],
    *,
    quantity: str,
    bins: int | np.ndarray = 40,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Distributions over each other, as outlines on the same bins.

    Parameters
    ----------
    samples : mapping from name to array
        Any shape; NaN is left out. The first is drawn as real, the second as generated.
    quantity : str
        What is counted, with its unit.
    bins : int or array
        Number of bins, or their edges.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    flat = {name: np.ravel(x)[np.isfinite(np.ravel(x))] for name, x in samples.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(flat.values())), bins)
    colours = [REAL, GENERATED, *plt.rcParams["axes.prop_cycle"].by_key()["color"][2:]]
    for (name, values), colour in zip(flat.items(), colours, strict=False):
        share = np.histogram(values, edges)[0] / max(len(values), 1)
        ax.stairs(share, edges, color=colour, linewidth=1.6, label=name)
        ax.stairs(share, edges, color=colour, alpha=0.12, fill=True)
    ax.set(xlabel=quantity, ylabel="share", title=title)
    ax.legend()
    return ax


def _axes(ax: Axes | None, figsize: tuple[float, float] | None = None) -> Axes:
    return plt.subplots(figsize=figsize)[1] if ax is None else ax


def _whole_ticks(axis) -> None:
    axis.set_major_locator(MaxNLocator(5, integer=True))


def _colour_bar(image: AxesImage, axes: list[Axes], label: str) -> None:
    bar = axes[0].figure.colorbar(image, ax=axes, label=label, aspect=26, pad=0.02)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
    bar.update_ticks()


def _without_diagonal(matrix: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    shown = np.array(matrix, dtype=float)
    np.fill_diagonal(shown, np.nan)
    return shown if order is None else shown[np.ix_(order, order)]


def _reference(ax: Axes, rows, level, name: str, colour: str, line) -> None:
    """One line for all rows, or one mark a row."""
    if level is None:
        return
    if np.ndim(level) == 0:
        ax.axvline(level, color=colour, linewidth=1.2, linestyle=line, label=name)
    else:
        ax.scatter(level, rows, marker="|", s=150, linewidth=1.8, color=colour, label=name)
