"""Figures of a search: what its trials reached, parameter by parameter.

As in `visualcortex.figures`, whose colours they share: functions return axes, and importing this
module changes nothing. Importances are drawn by `visualcortex.figures.dot_plot`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes

from visualcortex import figures
from visualcortex.tuning import Search

# Losses whose largest is so many times the smallest are drawn on a logarithmic axis.
WIDE = 20


def loss_by_parameter(
    found: Search,
    *,
    n_columns: int = 4,
    quantity: str = "validation loss",
) -> list[Axes]:
    """Loss of each trial against each parameter, a panel a parameter.

    Trials that were ended early are at the last loss that they reported, which is not the loss
    that they would have had; those that reported none are not shown. The best one is a star.

    Parameters
    ----------
    found : visualcortex.tuning.Search
        Of any engine.
    n_columns : int
        Panels in a row, at most.
    quantity : str
        What the loss is, with its unit if it has one.

    Returns
    -------
    list of matplotlib.axes.Axes
        In the order of the parameters.

    Raises
    ------
    ValueError
        If the space asks for nothing.
    """
    trials = found.study.trials
    scales = {name: scale for trial in trials for name, scale in trial.distributions.items()}
    if not scales:
        raise ValueError(
            f"expected a space that asks for parameters; got {len(trials)} trials without any"
        )
    n_columns = min(n_columns, len(scales))
    n_rows = -(-len(scales) // n_columns)
    size = (2.5 * n_columns, 2.3 * n_rows)
    grid = plt.subplots(
        n_rows, n_columns, figsize=size, squeeze=False, sharey=True, layout="constrained"
    )[1]
    for ax in grid.ravel()[len(scales) :]:
        ax.remove()
    axes = list(grid.ravel()[: len(scales)])
    for ax, (name, scale) in zip(axes, scales.items(), strict=True):
        _panel(ax, found.table, name, scale)
    for row in grid:
        row[0].set_ylabel(quantity)
    seen = found.table["loss"].dropna()
    if seen.min() > 0 and seen.max() > WIDE * seen.min():
        axes[0].set_yscale("log")
    axes[0].legend(fontsize="small")
    return axes


def _panel(
    ax: Axes, table: pd.DataFrame, name: str, scale: optuna.distributions.BaseDistribution
) -> None:
    """Draw the trials that asked for a parameter."""
    complete = table["state"] == "complete"
    best = table.index == table["loss"][complete].idxmin()
    x = _places(table[name], scale)
    for rows, label, style in (
        (~complete, "ended early", {"facecolor": "none", "edgecolor": figures.CHANCE}),
        (complete & ~best, "finished", {"color": figures.REAL}),
        (best, "best", {"color": figures.GENERATED, "marker": "*", "s": 120}),
    ):
        style = {"s": 26, "linewidth": 1.2, "zorder": 3} | style
        ax.scatter(x[rows], table["loss"][rows], label=label, **style)
    if isinstance(scale, optuna.distributions.CategoricalDistribution):
        ax.set_xticks(range(len(scale.choices)), [str(choice) for choice in scale.choices])
        ax.set_xlim(-0.5, len(scale.choices) - 0.5)
    elif scale.log:
        ax.set_xscale("log")
    ax.set_xlabel(name.replace("_", " "))


def _places(values: pd.Series, scale: optuna.distributions.BaseDistribution) -> np.ndarray:
    """Where values stand on the axis; choices stand at whole numbers, NaN nowhere."""
    if not isinstance(scale, optuna.distributions.CategoricalDistribution):
        return values.to_numpy(dtype=float)
    choices = {choice: place for place, choice in enumerate(scale.choices)}
    return values.map(choices).to_numpy(dtype=float)
