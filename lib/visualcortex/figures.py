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
EMPTY = "#e2ddd1"
# lines that are neither chance nor ceiling, which keep their own colours
SERIES = (REAL, GENERATED, "#b9821b", "#9a4f86", "#58a6d6", INK)
# with the colour at the same place in SERIES, or alone where there are more kinds than colours
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# so many values along a logarithmic axis are labelled one by one
MOST_TICKS = 8

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
        limit = _limit(np.concatenate([m.ravel() for m in shown.values()]))
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


def curves(
    x: Sequence[float],
    lines: Mapping[str, np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    chance: float | np.ndarray | None = None,
    ceiling: float | np.ndarray | None = None,
    colours: Sequence[str] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Results along a quantity as dots on lines, their intervals as bands.

    Parameters
    ----------
    x : (n,) sequence of float
        The quantity that was varied.
    lines : mapping from name to (n,) array, or to three of them
        The values, or values, low and high ends of the intervals. NaN leaves a gap.
    xlabel, ylabel : str
        What the axes show, with their units.
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic.
    chance, ceiling : float or (n,) array, optional
        One number for all x (a horizontal line), or one for each.
    colours : sequence of str, optional
        One a line; by default those of `SERIES` that the axes do not show yet.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a line is not as long as x, `log` names another axis, or there are too few colours.
    """
    colours = _free_colours(ax) if colours is None else colours
    _check_lines(x, lines, log, colours)
    ax = _axes(ax)
    for axis in log:
        ax.set(**{f"{axis}scale": "log"})
    _level(ax, x, chance, "chance", CHANCE, (0, (4, 3)))
    _level(ax, x, ceiling, "ceiling", CEILING, "solid")
    for (name, line), colour in zip(lines.items(), colours, strict=False):
        value, *band = line if isinstance(line, tuple) else (line,)
        if band:
            ax.fill_between(x, *band, color=colour, alpha=0.18, linewidth=0)
        ax.plot(x, value, marker="o", color=colour, markeredgecolor=PAPER, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if "x" in log and len(x) <= MOST_TICKS:
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.set_xticks([], minor=True)
    _legend_beside(ax)
    return ax


def layer_curves(
    lines: Mapping[str, Sequence[tuple[float, float, float]] | np.ndarray],
    layers: Sequence[str],
    *,
    quantity: str,
    chance: float | np.ndarray | None = None,
    ceiling: float | np.ndarray | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Results over named stages in their order, such as layers: marks on lines, intervals as bars.

    Unlike the quantity of `curves`, stages have no distance, and nothing lies between them: they
    are evenly spaced, and a line only shows which marks belong together. Each line has a colour
    and a shape of mark. Where there are intervals, lines stand a little beside each other.

    Parameters
    ----------
    lines : mapping from name to (n_layers,) array or n_layers intervals
        The values, or `visualcortex.evaluation.intervals.Interval` of each: value, low and high
        end, as an (n_layers, 3) array too. NaN leaves a gap.
    layers : (n_layers,) sequence of str
        The stages, from the left.
    quantity : str
        What the axis shows, with its unit.
    chance, ceiling : float or (n_layers,) array, optional
        One number for all layers (a horizontal line), or one for each.
    ax : matplotlib.axes.Axes, optional
        Where to draw, with colours that it does not show yet; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a line has not one value or interval a layer, or there are too few colours.
    """
    values = {name: np.asarray(line, dtype=float) for name, line in lines.items()}
    colours = _free_colours(ax)
    _check_stages(values, layers, colours)
    ax, places = _axes(ax), np.arange(len(layers))
    _level(ax, places, chance, "chance", CHANCE, (0, (4, 3)))
    _level(ax, places, ceiling, "ceiling", CEILING, "solid")
    step = min(0.1, 0.4 / len(lines)) if any(line.ndim == 2 for line in values.values()) else 0.0
    for k, (name, line) in enumerate(values.items()):
        at, colour = places + step * (k - (len(lines) - 1) / 2), colours[k]
        if line.ndim == 2:
            ax.vlines(at, line[:, 1], line[:, 2], color=colour, linewidth=2.4, alpha=0.55)
            line = line[:, 0]
        marker = MARKERS[SERIES.index(colour)]
        ax.plot(at, line, marker=marker, color=colour, markeredgecolor=PAPER, label=name)
    ax.set(ylabel=quantity, title=title)
    _name_places(ax, layers)
    _legend_beside(ax)
    return ax


def spectrum(
    lines: Mapping[str, np.ndarray],
    *,
    fits: Mapping[str, tuple[float, float]] | None = None,
    ranks: tuple[int, int] = (11, 500),
    quantity: str = "variance",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    r"""Variance against rank, both logarithmic, with the power laws that were fitted.

    A power law with exponent :math:`\alpha` and intercept b is the line
    :math:`e^b k^{-\alpha}`, drawn over the ranks of the fit only.

    Parameters
    ----------
    lines : mapping from name to (n_ranks,) array
        Entry 0 has rank 1. Values that are not positive leave a gap.
    fits : mapping from name to (exponent, intercept), optional
        Names as in `lines`; natural logarithms, as `visualcortex.evaluation.reliability.power_law`
        returns them.
    ranks : (int, int)
        First and last rank of the fits; the last is cut to the length of the line.
    quantity : str
        What the spectrum is of, with its unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a fit has no line, or there are more lines than `SERIES` has colours.
    """
    _check_spectra(lines, fits or {})
    ax = _axes(ax, figsize=(5.6, 3.8))
    for (name, values), colour in zip(lines.items(), SERIES, strict=False):
        values = np.asarray(values, dtype=float)
        rank = np.arange(1, len(values) + 1)
        positive = np.where(values > 0, values, np.nan)
        ax.plot(rank, positive, color=colour, linewidth=1.2, alpha=0.8, label=name)
        if name in (fits or {}):
            exponent, intercept = fits[name]
            ends = np.array([ranks[0], min(ranks[1], len(values))], dtype=float)
            law = np.exp(intercept) * ends**-exponent
            label = f"fit: rank$^{{{-exponent:.2f}}}$"
            ax.plot(ends, law, color=INK, linewidth=1.7, linestyle=(0, (3, 1.5)), label=label)
    ax.set(xscale="log", yscale="log", xlabel="rank", ylabel=quantity, title=title)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def confusion(
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    limit: float | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Which class is taken for which: a row a true class, a column a predicted one.

    Parameters
    ----------
    matrix : (n_classes, n_classes) array
        Shares, each row adding up to 1; a row of NaN (no presentation) is grey.
    names : sequence of str
        The classes, in the order of the rows.
    limit : float, optional
        Upper end of the scale, which begins at 0; by default the largest share.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the matrix is not square with one name a class.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(
            f"need a square matrix with one name a class; got shape {matrix.shape} and "
            f"{len(names)} names. Name the classes in the order of its rows."
        )
    side = 1.7 + 0.27 * len(names)
    ax = _axes(ax, figsize=(side + 0.7, side))
    image = ax.imshow(
        matrix,
        cmap=ACTIVITY.with_extremes(bad=EMPTY),
        vmin=0,
        vmax=np.nanmax(matrix) if limit is None else limit,
        aspect="equal",
    )
    places = np.arange(len(names))
    ax.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="predicted class", ylabel="true class", title=title)
    _colour_bar(image, [ax], "share of the class's presentations")
    return ax


def image_grid(
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    n_columns: int = 6,
    centre: float = 0.0,
    limit: float | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Pictures in grey, all on one scale that is symmetric about the middle grey.

    Parameters
    ----------
    images : (n, H, W) array
        Luminance, in any unit.
    titles : sequence of str, optional
        One a picture.
    n_columns : int
        Pictures in a row of a new figure.
    centre : float
        What is shown as the middle grey.
    limit : float, optional
        Distance from the centre at which it is black and white; by default the 99th percentile of
        the absolute distances of all pixels.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one a picture; by default a new figure.

    Returns
    -------
    (n,) array of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the images are not (n, H, W), or there is not one title a picture.
    """
    images = np.asarray(images, dtype=float)
    titles = [""] * len(images) if titles is None else titles
    if images.ndim != 3 or len(titles) != len(images):
        raise ValueError(
            f"need pictures (n, H, W) and one title a picture; got shape {images.shape} and "
            f"{len(titles)} titles. Pass a single picture as picture[None]."
        )
    axes = _grid(len(images), n_columns, images.shape[1:]) if axes is None else axes
    limit = _limit(images - centre) if limit is None else limit
    for ax, image, title in zip(axes, images, titles, strict=True):
        low, high = centre - limit, centre + limit
        ax.imshow(image, cmap="gray", vmin=low, vmax=high, aspect="equal")
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize="medium", fontweight="normal")
        ax.spines[:].set_visible(False)
    return np.asarray(axes, dtype=object)


def voxel_planes(
    voxels: np.ndarray,
    *,
    depths_um: Sequence[float] | None = None,
    filled: np.ndarray | None = None,
    extent_um: tuple[float, float, float, float] | None = None,
    limit: float | None = None,
    quantity: str = "response",
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Planes of a map of voxels side by side, on one scale that is symmetric about zero.

    Parameters
    ----------
    voxels : (D, H, W) array
        One map, as `visualcortex.voxels.voxelise` makes them; a row of it is a row of the picture.
    depths_um : (D,) sequence of float, optional
        Depth of each plane in µm, for the titles.
    filled : (D, H, W) array of bool, optional
        Which voxels hold a neuron; the others are hatched on paper, and do not enter the scale.
    extent_um : (left, right, bottom, top), optional
        Edges of the map in µm; without it voxels are counted.
    limit : float, optional
        Largest value on the scale; by default the 99th percentile of the absolute values.
    quantity : str
        What the colour shows, with its unit.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one a plane; by default a new figure.

    Returns
    -------
    sequence of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the map is not (D, H, W), or `filled` or `depths_um` do not fit it.
    """
    _check_planes(voxels, depths_um, filled)
    shown = np.where(True if filled is None else filled, voxels, np.nan).astype(float)
    if axes is None:
        size = (1.9 * len(shown) + 1.1, 2.5)
        axes = plt.subplots(1, len(shown), figsize=size, sharey=True, squeeze=False)[1][0]
    limit = _limit(shown) if limit is None else limit
    for k, (ax, plane) in enumerate(zip(axes, shown, strict=True)):
        scale = {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
        image = ax.imshow(plane, extent=extent_um, aspect="equal", **scale)
        # zero is paper too: what is empty shows the ground behind the image
        ax.patch.set(facecolor=PAPER, edgecolor=EMPTY, hatch="/////")
        ax.set(xlabel="voxel" if extent_um is None else "x (µm)")
        ax.set_title("" if depths_um is None else f"z = {depths_um[k]:.0f} µm")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(3, integer=True))
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("voxel" if extent_um is None else "y (µm)")
    _colour_bar(image, list(axes), quantity)
    return axes


def spike_raster(
    trials: np.ndarray,
    times: np.ndarray,
    *,
    n_rows: int | None = None,
    window: tuple[float, float] | None = None,
    stimulus: tuple[float, float] | None = None,
    rows: str = "trial",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Spikes as ticks: of one neuron, a row a trial, or of one trial, a row a neuron.

    All ticks are one line with gaps, so that some hundred thousand are drawn in about a second.

    Parameters
    ----------
    trials : (n_spikes,) array of int
        Row of each spike, 0 at the top.
    times : (n_spikes,) array
        Its time in s.
    n_rows : int, optional
        How many rows there are, silent ones included; by default up to the last with a spike.
    window : (float, float), optional
        Ends of the axis of time in s.
    stimulus : (float, float), optional
        When the stimulus was on, in s, shown as a band.
    rows : str
        What a row is.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is not one row a spike, or a row is out of range.
    """
    trials, times = np.asarray(trials), np.asarray(times, dtype=float)
    n_rows = _checked_rows(trials, times, n_rows)
    ax = _axes(ax)
    if stimulus is not None:
        ax.axvspan(*stimulus, color=EMPTY, alpha=0.6, linewidth=0, label="stimulus")
    x = np.repeat(times, 3)
    y = np.stack([trials - 0.42, trials + 0.42, np.full(len(trials), np.nan)], axis=1).ravel()
    ax.plot(x, y, color=INK, linewidth=0.8, solid_capstyle="butt")
    ax.set(ylim=(n_rows - 0.5, -0.5), xlabel="time (s)", ylabel=rows, title=title)
    if window is not None:
        ax.set_xlim(window)
    _whole_ticks(ax.yaxis)
    return ax


def psth(
    counts: Mapping[str, np.ndarray],
    edges: np.ndarray,
    *,
    stimulus: tuple[float, float] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Peristimulus time histograms: mean rates over trials, with bands of one standard error.

    Bias: none in the mean. The standard error is that of independent trials, and is not drawn for
    a single one.

    Parameters
    ----------
    counts : mapping from name to (n_trials, n_bins) array
        Spikes of one neuron in each bin of each trial; numbers of trials may differ.
    edges : (n_bins + 1,) array
        Edges of the bins in s, rising.
    stimulus : (float, float), optional
        When the stimulus was on, in s, shown as a band.
    ax : matplotlib.axes.Axes, optional
        Where to draw, with colours that it does not show yet; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If counts are of no trial or of other bins, edges do not rise, or there are too few colours.
    """
    edges, colours = np.asarray(edges, dtype=float), _free_colours(ax)
    counts = {name: np.asarray(each, dtype=float) for name, each in counts.items()}
    _check_histograms(counts, edges, colours)
    ax, width = _axes(ax), np.diff(edges)
    if stimulus is not None:
        ax.axvspan(*stimulus, color=EMPTY, alpha=0.6, linewidth=0, label="stimulus")
    for (name, each), colour in zip(counts.items(), colours, strict=False):
        mean = each.mean(axis=0) / width
        if len(each) > 1:
            error = each.std(axis=0, ddof=1) / width / np.sqrt(len(each))
            low, high = _steps(mean - error), _steps(mean + error)
            ax.fill_between(edges, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
        ax.plot(edges, _steps(mean), drawstyle="steps-post", color=colour, label=name)
    ax.set(xlim=edges[[0, -1]], xlabel="time (s)", ylabel="rate (spikes/s)", title=title)
    ax.set_ylim(bottom=0)
    _legend_beside(ax)
    return ax


def reliability_diagram(
    curves: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Accuracy against confidence; what is calibrated lies on the dashed line.

    Below the line a decoder is too sure, above it not sure enough.

    Parameters
    ----------
    curves : mapping from name to pandas.DataFrame
        As `visualcortex.evaluation.calibration.reliability_curve` makes them: a row a bin, with
        "confidence", "accuracy", "low" and "high".
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a curve lacks a column, or there are more curves than `SERIES` has colours.
    """
    needed = ["confidence", "accuracy", "low", "high"]
    lacking = [name for name, curve in curves.items() if not set(needed) <= set(curve)]
    if lacking or not 1 <= len(curves) <= len(SERIES):
        raise ValueError(
            f"need 1 to {len(SERIES)} curves with columns {needed}; got {len(curves)}, and without "
            f"them: {lacking}. Make them with evaluation.reliability_curve."
        )
    ax = _axes(ax, figsize=(4.6, 4.0))
    ax.plot([0, 1], [0, 1], color=CHANCE, linewidth=1, linestyle=(0, (4, 3)), label="calibrated")
    for (name, curve), colour, marker in zip(curves.items(), SERIES, MARKERS, strict=False):
        confidence, accuracy, low, high = (curve[column].to_numpy() for column in needed)
        ax.vlines(confidence, low, high, color=colour, linewidth=2.0, alpha=0.45)
        style = {"marker": marker, "markeredgecolor": PAPER}
        ax.plot(confidence, accuracy, color=colour, label=name, **style)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=title)
    ax.set(xlabel="confidence (probability of the class said)", ylabel="share of trials right")
    _legend_beside(ax)
    return ax


def adjacency(
    matrix: np.ndarray,
    areas: Sequence[str],
    *,
    order: Sequence[str] | None = None,
    limit: float | None = None,
    quantity: str = "weight",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Directed weights between neurons, a row a source and a column a target, area by area.

    Neurons of an area keep their order.

    Parameters
    ----------
    matrix : (n_neurons, n_neurons) array
        Weight of each pair (source, target). NaN, as on the diagonal, is grey.
    areas : (n_neurons,) sequence of str
        Area of each neuron.
    order : sequence of str, optional
        Areas from the top; by default as they first occur.
    limit : float, optional
        Largest value on the scale, which is symmetric about 0; by default the 99th percentile of
        the absolute values that are not 0.
    quantity : str
        What the colour shows, with its unit.
    ax, title
        As in `curves`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the matrix is not square with one area a neuron, or `order` lacks an area.
    """
    matrix, areas = np.asarray(matrix, dtype=float), np.asarray(areas)
    names = list(dict.fromkeys(areas.tolist())) if order is None else list(order)
    _check_adjacency(matrix, areas, names)
    places = np.concatenate([np.flatnonzero(areas == name) for name in names])
    sizes = np.array([np.sum(areas == name) for name in names])
    names, sizes = [name for name, n in zip(names, sizes, strict=True) if n], sizes[sizes > 0]
    ax = _axes(ax, figsize=(5.4, 4.6))
    # most pairs have no weight: they must not set the scale
    limit = _limit(matrix[matrix != 0]) if limit is None else limit
    scale = {"cmap": SIGNED.with_extremes(bad=EMPTY), "vmin": -limit, "vmax": limit}
    image = ax.imshow(matrix[np.ix_(places, places)], aspect="equal", **scale)
    ends = np.cumsum(sizes)
    for border in ends[:-1] - 0.5:
        for line in (ax.axhline, ax.axvline):
            line(border, color=INK, linewidth=0.6)
    middles = ends - (sizes + 1) / 2
    ax.set_xticks(middles, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(middles, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="target, by area", ylabel="source, by area", title=title)
    _colour_bar(image, [ax], quantity)
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


def _grid(n: int, n_columns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Axes of a new figure for n pictures of this shape."""
    n_columns = min(n_columns, n)
    n_rows = -(-n // n_columns)
    size = (1.5 * n_columns, (1.5 * shape[0] / shape[1] + 0.3) * n_rows)
    axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)[1].ravel()
    for ax in axes[n:]:
        ax.remove()
    return axes[:n]


def _limit(values: np.ndarray) -> float:
    """99th percentile of the absolute values, for a scale that a few extremes do not stretch."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.quantile(finite, 0.99) if len(finite) else 1.0) or 1.0


def _free_colours(ax: Axes | None) -> list[str]:
    """Colours of lines that axes do not show yet."""
    taken = {line.get_color() for line in ax.lines} if ax is not None else set()
    return [colour for colour in SERIES if colour not in taken]


def _legend_beside(ax: Axes) -> None:
    """Name what is drawn, where it is more than one thing."""
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _name_places(ax: Axes, names: Sequence[str]) -> None:
    """Write a name below each whole number of an axis, aslant where they would touch."""
    inches = ax.get_position().width * ax.figure.get_figwidth()
    # a letter of the ticks is about 0.08 inches wide
    aslant = 0.08 * (sum(map(len, names)) + 2 * len(names)) > inches
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if aslant else {}
    ax.set_xticks(np.arange(len(names)), names, **turned)
    ax.set_xlim(-0.5, len(names) - 0.5)


def _level(ax: Axes, x, level, name: str, colour: str, line) -> None:
    """One level for all x, or one at each."""
    if level is None:
        return
    style = {"color": colour, "linewidth": 1.2, "linestyle": line, "label": name}
    if np.ndim(level) == 0:
        ax.axhline(level, **style)
    else:
        ax.plot(x, level, **style)


def _check_lines(x, lines: Mapping, log: str, colours: Sequence[str]) -> None:
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f'log must be "", "x", "y" or "xy"; got {log!r}')
    shapes = {
        name: [np.shape(part) for part in (line if isinstance(line, tuple) else (line,))]
        for name, line in lines.items()
    }
    wrong = {
        name: got
        for name, got in shapes.items()
        if len(got) not in (1, 3) or set(got) != {(len(x),)}
    }
    if wrong:
        raise ValueError(
            f"each line must be an array of {len(x)} values, one for each x, or a tuple of three "
            f"(values, low, high); got shapes {wrong}"
        )
    if len(lines) > len(colours):
        raise ValueError(f"got {len(lines)} lines for {len(colours)} colours; pass more colours")


def _check_stages(values: Mapping[str, np.ndarray], layers, colours: Sequence[str]) -> None:
    n = len(layers)
    wrong = {name: x.shape for name, x in values.items() if x.shape not in ((n,), (n, 3))}
    if wrong or not n or not 1 <= len(values) <= len(colours):
        raise ValueError(
            f"need 1 to {len(colours)} lines, as many as there are free colours, each with one "
            f"value or one interval (value, low, high) for each of {n} layers; got {len(values)} "
            f"lines, of the wrong shape: {wrong or 'none'}. Draw more lines on other axes."
        )


def _check_spectra(lines: Mapping, fits: Mapping) -> None:
    unknown = sorted(set(fits) - set(lines))
    if unknown or len(lines) > len(SERIES):
        raise ValueError(
            f"need at most {len(SERIES)} lines, and fits under their names; got "
            f"{len(lines)} lines and fits without a line: {unknown}"
        )


def _steps(values: np.ndarray) -> np.ndarray:
    """Values of bins at their left edges, and the last again at its right one."""
    return np.append(values, values[-1])


def _checked_rows(trials: np.ndarray, times: np.ndarray, n_rows: int | None) -> int:
    """Return the number of rows of a raster, or say what does not fit."""
    found = int(trials.max()) + 1 if trials.size else 0
    n_rows = found if n_rows is None else n_rows
    whole = trials.dtype.kind in "iu" or trials.size == 0
    if trials.shape != times.shape or trials.ndim != 1 or not whole:
        raise ValueError(
            "need one row, a whole number, and one time in s for each spike, (n_spikes,); got "
            f"{trials.dtype} {trials.shape} and {times.shape}. Join the spikes of all trials."
        )
    if n_rows < 1 or found > n_rows or (trials.size and trials.min() < 0):
        raise ValueError(
            f"rows of spikes must be from 0 to {n_rows - 1}; got up to {found - 1}. Pass n_rows, "
            "at least 1, where rows are silent."
        )
    return n_rows


def _check_histograms(
    counts: Mapping[str, np.ndarray], edges: np.ndarray, colours: Sequence[str]
) -> None:
    """Raise an error that says what is wrong with counts, edges or their number."""
    shapes = {name: each.shape for name, each in counts.items()}
    fit = all(len(s) == 2 and s[0] > 0 and s[1] == edges.size - 1 for s in shapes.values())
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all() or not fit:
        raise ValueError(
            "need rising edges in s, one more than bins, and counts (trial, bin) of at least one "
            f"trial; got {edges.size} edges and counts {shapes}. Select one neuron first."
        )
    if not 1 <= len(counts) <= len(colours):
        raise ValueError(f"need 1 to {len(colours)} histograms, as many as colours; got {shapes}")


def _check_adjacency(matrix: np.ndarray, areas: np.ndarray, names: Sequence[str]) -> None:
    """Raise an error unless the matrix is square, with a known area a neuron."""
    if matrix.shape != areas.shape * 2 or areas.ndim != 1 or areas.size == 0:
        raise ValueError(
            "need a square matrix (source, target) and one area a neuron; got shapes "
            f"{matrix.shape} and {areas.shape}. Select the same neurons from both."
        )
    unknown = sorted(set(areas.tolist()) - set(names))
    if unknown or len(set(names)) != len(names):
        raise ValueError(
            f"order must name each area once; got {names}, without {unknown}. Add those, or leave "
            "out their neurons."
        )


def _check_planes(voxels, depths_um, filled) -> None:
    shape = np.shape(voxels)
    fits = filled is None or np.shape(filled) == shape
    if len(shape) != 3 or not fits or not (depths_um is None or len(depths_um) == shape[0]):
        raise ValueError(
            "need one map (D, H, W), `filled` of the same shape and one depth a plane; got shapes "
            f"{shape}, {np.shape(filled)} and {np.shape(depths_um)}. Of several maps, pass one."
        )
