"""Figures of populations and of models of them: where models stand, how many neurons are active.

As in `visualcortex.figures`, whose colours and styles they share: functions take arrays and tables
and return axes, and importing this module changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from visualcortex import figures

# of a row: how far models stand from each other within it, at most
ROW_SHARE = 0.7


def placement_plot(
    table: pd.DataFrame,
    *,
    limits: tuple[float, float] = (-0.6, 1.6),
    colours: Sequence[str] = figures.SERIES[1:],
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Models between two marks: the recording against itself (0) and its shuffled trials (1).

    A row a statistic, a colour and a marker a model. What lies beyond the limits is drawn at the
    border as an arrowhead. Statistics that have a placement for no model are left out.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `visualcortex.evaluation.placement`: columns statistic, model, placement, low, high.
    limits : (float, float)
        Ends of the axis.
    colours : sequence of str
        One a model; by default those of lines that are not recorded activity.
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
        If a column is missing, there is nothing to place, or there are more models than colours.
    """
    shown, statistics, models = _checked_table(table, colours)
    height = 1.0 + len(statistics) * (0.12 + 0.13 * max(len(models), 2))
    ax = plt.subplots(figsize=(6.4, height))[1] if ax is None else ax
    for level, name, colour, line in (
        (0, "recording itself", figures.CEILING, "solid"),
        (1, "trials shuffled", figures.CHANCE, (0, (4, 3))),
    ):
        ax.axvline(level, color=colour, linewidth=1.4, linestyle=line, label=name)
    shifts = (np.arange(len(models)) - (len(models) - 1) / 2) * ROW_SHARE / max(len(models), 2)
    styles = zip(models, shifts, colours, figures.MARKERS, strict=False)
    for model, shift, colour, marker in styles:
        mine = shown[shown["model"] == model]
        rows = np.array([statistics.index(name) for name in mine["statistic"]]) + shift
        _placed_dots(ax, mine, rows, limits, {"color": colour, "marker": marker, "label": model})
    ax.set_yticks(np.arange(len(statistics)), statistics)
    ax.set(xlim=limits, ylim=(len(statistics) - 0.5, -0.5), title=title)
    ax.set_xlabel("place between the marks (0: recording, 1: shuffled)")
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def count_plot(
    distributions: Mapping[str, np.ndarray], *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """How often how many neurons are active in the same frame, on a logarithmic axis.

    Counts that never occur have no place on the axis and leave a gap.

    Parameters
    ----------
    distributions : mapping from name to (n_neurons + 1,) array, or to three of them
        P(K) (`visualcortex.evaluation.count_distribution`), or values, low and high ends of their
        intervals.
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
        If the distributions are not of the same number of neurons, or are more than the colours.
    """
    lines = {
        name: tuple(map(_seen, line)) if isinstance(line, tuple) else _seen(line)
        for name, line in distributions.items()
    }
    first = next(iter(lines.values()), np.empty(0))
    n_counts = len(first[0] if isinstance(first, tuple) else first)
    ax = figures.curves(
        np.arange(n_counts),
        lines,
        xlabel="active neurons in a frame",
        ylabel="share of frames",
        log="y",
        ax=ax,
        title=title,
    )
    for line in ax.lines:
        line.set_markersize(3.5)
    return ax


def lag_plot(
    correlations: Mapping[str, np.ndarray],
    *,
    frame_rate: float | None = None,
    band: tuple[float, float] = (0.25, 0.75),
    quantity: str = "noise correlation of frames",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Correlations against the lag: the median over neurons or pairs, and a band of quantiles.

    The band is the spread over neurons or pairs, no interval of the median.

    Parameters
    ----------
    correlations : mapping from name to (n_lags, ...) array
        From lag 0 on: `autocorrelations`, or `lagged_correlations`, of which the pairs of a neuron
        with itself are left out. NaN is left out.
    frame_rate : float, optional
        Frames a second, for an axis in s instead of frames.
    band : (float, float)
        Quantiles between which the band lies.
    quantity : str
        What is shown.
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
        If the arrays do not hold the same lags, there are none, or more of them than colours.
    """
    values = {
        name: _between_neurons(np.asarray(x, dtype=float)) for name, x in correlations.items()
    }
    lags = {len(x) for x in values.values()}
    if len(lags) != 1:
        raise ValueError(f"need correlations of the same lags, from 0 on; got {sorted(lags)} lags")
    quantiles = [0.5, *band]
    lines = {name: tuple(np.nanquantile(x, quantiles, axis=1)) for name, x in values.items()}
    return figures.curves(
        np.arange(lags.pop()) / (frame_rate or 1),
        lines,
        xlabel="lag (s)" if frame_rate else "lag (frames)",
        ylabel=quantity,
        ax=ax,
        title=title,
    )


def _checked_table(
    table: pd.DataFrame, colours: Sequence[str]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Rows that have a placement, their statistics and all models, or an error."""
    missing = [c for c in ("statistic", "model", "placement", "low", "high") if c not in table]
    if missing:
        raise ValueError(f"expected the table of `placement`; columns {missing} are missing")
    shown = table[np.isfinite(table["placement"])]
    models = list(dict.fromkeys(table["model"]))
    most = min(len(colours), len(figures.MARKERS))
    if shown.empty or len(models) > most:
        raise ValueError(
            f"need a placement and 1 to {most} models, as many as colours; got {len(shown)} "
            f"placements of {len(models)} models"
        )
    return shown, list(dict.fromkeys(shown["statistic"])), models


def _placed_dots(
    ax: Axes, rows: pd.DataFrame, heights: np.ndarray, limits: tuple[float, float], style: dict
) -> None:
    """Dots with intervals of one model; an arrowhead at the border for what lies beyond it."""
    values = rows["placement"].to_numpy()
    low, high = (np.clip(rows[end].to_numpy(), *limits) for end in ("low", "high"))
    ax.hlines(heights, low, high, color=style["color"], linewidth=2.2, alpha=0.5)
    inside = (values >= limits[0]) & (values <= limits[1])
    look = {"s": 34, "edgecolor": figures.PAPER, "linewidth": 0.7, "zorder": 3, "clip_on": False}
    ax.scatter(values[inside], heights[inside], **look, **style)
    for border, beyond, arrow in (
        (limits[0], values < limits[0], "<"),
        (limits[1], values > limits[1], ">"),
    ):
        where = np.full(beyond.sum(), border)
        ax.scatter(where, heights[beyond], **look, color=style["color"], marker=arrow)


def _seen(shares: np.ndarray) -> np.ndarray:
    """Shares with NaN for what never occurs."""
    shares = np.asarray(shares, dtype=float)
    return np.where(shares > 0, shares, np.nan)


def _between_neurons(values: np.ndarray) -> np.ndarray:
    """Correlations as (n_lags, n), pairs of a neuron with itself left out."""
    if values.ndim == 3:
        return values[:, ~np.eye(values.shape[1], dtype=bool)]
    return values.reshape(len(values), -1)
