"""Figures of a network whose wiring is known: its spikes, what methods find, and how far to trust.

As in `visualcortex.figures`, whose colours and styles they share: functions take arrays and tables
and return axes, and importing this module changes nothing. What excites is orange and what
inhibits is blue, as on its scale of signed values. Matrices are ``(source, target)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator
from scipy.stats import rankdata

from visualcortex import figures
from visualcortex.connectivity.wiring import _pairs, density, synapse_auprc, synapse_auroc
from visualcortex.evaluation.intervals import student
from visualcortex.spikes import SpikeTimes, count_spikes

# what a cell type is called, and its colour, from the top
TYPES = {
    "E": ("excitatory", figures.GENERATED),
    "I": ("inhibitory", figures.REAL),
    "unknown": ("not known", figures.CHANCE),
}
DASHED = (0, (4, 3))
# axes of the quality of a recording, with their units
QUALITIES = {
    "frame_rate": "frame rate (Hz)",
    "decay": "decay of the indicator (s)",
    "noise": "noise (s.d.)",
    "jitter": "timing jitter (ms)",
    "minutes": "minutes recorded",
    "fraction": "fraction of neurons seen",
}
# values that span such a ratio stand on a logarithmic axis
LOGARITHMIC = 8
SCALES = {
    "root": "signed root of the value,\n1: 99th percentile of the matrix",
    "rank": "signed rank among the strongest fifth,\n1: largest of the matrix",
}
# share of the pairs that a scale by rank tells from 0
STRONGEST = 0.2
# of points beside each other that would hide each other: fractions that fill an interval evenly
GOLDEN = (5**0.5 - 1) / 2


def method_styles(methods: Sequence[str]) -> dict[str, dict[str, object]]:
    """Give each method a colour, a marker and a line of its own, for all figures of a page.

    Parameters
    ----------
    methods : sequence of str
        In the order in which they get their colours.

    Returns
    -------
    dict from method to dict
        Settings of a matplotlib line: "color", "marker" and "linestyle".

    Raises
    ------
    ValueError
        If there are more methods than pairs of colour and line, or none.
    """
    names, n = list(dict.fromkeys(methods)), len(figures.SERIES)
    if not 1 <= len(names) <= 2 * n:
        raise ValueError(
            f"need 1 to {2 * n} methods, as many as there are styles; got {len(names)}. Draw the "
            "others in another figure."
        )
    return {
        name: {
            "color": figures.SERIES[k % n],
            "marker": figures.MARKERS[k % len(figures.MARKERS)],
            "linestyle": "solid" if k < n else (0, (3, 1.5)),
        }
        for k, name in enumerate(names)
    }


def over_networks(
    table: pd.DataFrame, by: Sequence[str], value: str, *, level: float = 0.95
) -> pd.DataFrame:
    r"""Mean over networks and the interval of Student's t, :math:`m \pm t_{n-1}\, s / \sqrt n`.

    Bias: none in the mean. The interval is that of networks drawn alike whose values are roughly
    normal; near the end of a scale, such as 1, it can reach beyond.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a network; rows whose value is NaN are left out.
    by : sequence of str
        Columns of what is to be kept apart, such as "method".
    value : str
        Column of what is averaged.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        Columns `by`, in order of first occurrence, "mean", "low", "high" (NaN for one network)
        and "n".

    Raises
    ------
    ValueError
        If a column is missing, or there is no finite value.
    """
    _check_columns(table, [*by, value])
    known = table[np.isfinite(table[value].astype(float))]
    if known.empty:
        raise ValueError(f"need a finite {value!r} at least; got {len(table)} rows without")
    groups = known.groupby(list(by), sort=False)[value]
    rows = [(*student(values.to_numpy(), level), len(values)) for _, values in groups]
    keys = groups.size().reset_index()[list(by)]
    found = pd.DataFrame(rows, columns=["mean", "low", "high", "n"])
    return pd.concat([keys, found], axis=1)


def network_raster(
    spikes: SpikeTimes,
    cell_type: Sequence[str],
    *,
    start: float = 0.0,
    duration: float = 5.0,
    step: float = 0.02,
    axes: Sequence[Axes] | None = None,
    title: str = "",
) -> Sequence[Axes]:
    """Spikes of a network, a row a neuron, with the mean rate of each cell type below.

    Parameters
    ----------
    spikes : SpikeTimes
        Of all neurons, in s.
    cell_type : (n_neurons,) sequence of {"E", "I", "unknown"}
        Excitatory neurons are drawn above inhibitory ones, else in their order.
    start, duration : float
        From where and for how long, in s.
    step : float
        Width of the bins of the rate, in s.
    axes : sequence of two matplotlib.axes.Axes, optional
        Where to draw spikes and rate; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    sequence of two matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is not one type a neuron, or not one bin in the stretch.
    """
    order, kinds = _by_type(cell_type, spikes.n_units)
    edges = np.arange(round(duration / step) + 1) * step
    if len(edges) < 2 or not step > 0:
        raise ValueError(f"need a bin or more; got {duration} s in bins of {step} s. Show more.")
    above, below = _stacked((7.0, 4.2), (3, 1)) if axes is None else axes
    counts = count_spikes(spikes, np.array([start]), edges)[0][:, order]  # (bin, neuron)
    part, first = spikes.between(start, start + edges[-1]).select(order), 0
    for kind, n in kinds.items():
        (name, colour), own = TYPES[kind], slice(first, first + n)
        _add_spikes(above, part, own, colour)
        rate = figures._steps(counts[:, own].mean(axis=1) / step)
        style = {"drawstyle": "steps-post", "linewidth": 1.2, "zorder": 3 - first / len(order)}
        below.plot(start + edges, rate, color=colour, label=f"{n} {name}", **style)
        first += n
    above.set(xlim=start + edges[[0, -1]], xlabel="", title=title)
    above.tick_params(labelbottom=False)
    below.set(xlim=above.get_xlim(), xlabel="time (s)", ylabel="spikes/s\nper neuron")
    below.set_ylim(bottom=0)
    look = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "borderaxespad": 0.2}
    above.legend(*below.get_legend_handles_labels(), **look)
    return above, below


def wiring_matrices(
    matrices: Mapping[str, np.ndarray],
    cell_type: Sequence[str],
    *,
    scale: str = "rank",
    n_columns: int = 3,
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    r"""Weights and scores side by side, a row a source and a column a target.

    Units differ from method to method, so that each matrix has a scale of its own, symmetric about
    0: "root" is :math:`\mathrm{sign}(x) \sqrt{|x| / q}`, cut at 1, with the 99th percentile q of
    the absolute values that are not 0; "rank" is the sign of x times the rank of its absolute
    value, which rises evenly from 0 to 1 within the largest fifth; the others, and 0, are 0.

    Parameters
    ----------
    matrices : mapping from title to (n_neurons, n_neurons) array
        NaN, as on the diagonal and of silent neurons, is grey.
    cell_type : (n_neurons,) sequence of {"E", "I", "unknown"}
        Neurons are drawn type by type, else in their order; the types are bars at the margins.
    scale : {"root", "rank"}
        Of the colours.
    n_columns : int
        Matrices in a row of a new figure.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one a matrix; by default a new figure.

    Returns
    -------
    sequence of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is no matrix, one is not square with one type a neuron, or the scale is another.
    """
    order, kinds = _by_type(cell_type)
    shown = {name: np.array(matrix, dtype=float) for name, matrix in matrices.items()}
    _check_matrices(shown, len(order), scale)
    if axes is None:
        axes = _panels(len(shown), n_columns, (2.3, 2.5), extra=(1.1, 0.4))
        axes[0].figure.set_layout_engine("compressed")
    for k, (ax, (name, matrix)) in enumerate(zip(axes, shown.items(), strict=True)):
        np.fill_diagonal(matrix, np.nan)
        values = _signed_scale(matrix, scale)[np.ix_(order, order)]
        image = ax.imshow(
            values,
            cmap=figures.SIGNED.with_extremes(bad="#cfc9bc"),
            vmin=-1,
            vmax=1,
            aspect="equal",
        )
        ax.set_title(name, pad=11)
        ax.set_xlabel("target" if k + n_columns >= len(shown) else "")
        ax.set_ylabel("source" if k % n_columns == 0 else "", labelpad=11)
        type_bars(ax, kinds)
    figures._colour_bar(image, list(axes), SCALES[scale])
    handles = [Rectangle((0, 0), 1, 1, color=TYPES[kind][1]) for kind in kinds]
    names = [f"{n} {TYPES[kind][0]}" for kind, n in kinds.items()]
    axes[0].figure.legend(handles, names, loc="outside lower center", ncols=3)
    return axes


def type_bars(ax: Axes, kinds: Mapping[str, int]) -> None:
    """Draw the cell types beside a matrix (source, target) whose neurons stand type by type.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Of the matrix, drawn by `matplotlib.axes.Axes.imshow`.
    kinds : mapping from cell type to int
        How many neurons of each there are, in their order.
    """
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    first = -0.5
    for kind, n in kinds.items():
        style = {"color": TYPES[kind][1], "clip_on": False}
        across, down = ax.get_xaxis_transform(), ax.get_yaxis_transform()
        ax.add_patch(Rectangle((first, 1.015), n, 0.03, transform=across, **style))
        ax.add_patch(Rectangle((-0.045, first), 0.03, n, transform=down, **style))
        if first > 0:
            for line in (ax.axhline, ax.axvline):
                line(first, color=figures.INK, linewidth=0.5, alpha=0.6)
        first += n


def correlogram_examples(
    lags: np.ndarray,
    counts: np.ndarray,
    expected: np.ndarray,
    titles: Sequence[str],
    *,
    band: tuple[np.ndarray, np.ndarray] | None = None,
    delays: Sequence[float] | None = None,
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Correlograms of some pairs, with what is expected without a synapse.

    Parameters
    ----------
    lags : (n_lags,) array
        Of the target behind the source, ms, evenly spaced.
    counts, expected : (n_pairs, n_lags) arrays
        Coincidences, and their expectation under a smooth null.
    titles : (n_pairs,) sequence of str
        Which pair it is.
    band : two (n_pairs, n_lags) arrays, optional
        Ends of the band in which chance leaves the counts.
    delays : (n_pairs,) sequence of float, optional
        True delay of the synapse, ms, drawn as a mark above; NaN for none.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one a pair; by default a new figure.

    Returns
    -------
    sequence of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If shapes do not fit, or lags are not evenly spaced.
    """
    lags = np.asarray(lags, dtype=float)
    parts = [np.asarray(part, dtype=float) for part in (counts, expected, *(band or ()))]
    _check_correlograms(lags, parts, titles, delays)
    if axes is None:
        axes = _panels(len(titles), 3, (2.6, 2.1), extra=(0.2, 0.4))
    for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        _correlogram(ax, lags, *(part[k] for part in parts))
        if delays is not None and np.isfinite(delays[k]):
            style = {"color": figures.GENERATED, "marker": "v", "markersize": 6, "linestyle": ""}
            across = ax.get_xaxis_transform()
            ax.plot(delays[k], 0.97, transform=across, label="true delay", **style)
        ax.set(xlabel="lag (ms)", title=title)
    axes[0].set_ylabel("coincidences")
    _legend_below(axes)
    return axes


def precision_recall(
    scores_by_method: Mapping[str, np.ndarray],
    weights: np.ndarray,
    *,
    kind: str = "any",
    styles: Mapping[str, Mapping[str, object]] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Precision against recall of every method, with the share of synapses as chance.

    The area below a curve as it is drawn is `visualcortex.connectivity.synapse_auprc`, which the
    legend names. Methods that leave out other pairs have other chance levels, each drawn.

    Parameters
    ----------
    scores_by_method : mapping from method to (n_neurons, n_neurons) array
        Scores (source, target); NaN is left out.
    weights : (n_neurons, n_neurons) array
        Synapses, 0 where there is none.
    kind : {"any", "excitatory", "inhibitory"}
        As for `visualcortex.connectivity.synapse_auroc`.
    styles : mapping from method to settings of a line, optional
        As `method_styles` makes them; by default of these methods.
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
        If matrices do not fit, there is no synapse, nothing else, no method, or no style of one.
    """
    styles = _styles_of(scores_by_method, styles)
    ax = figures._axes(ax, figsize=(6.0, 3.7))
    levels = {density(scores, weights, kind) for scores in scores_by_method.values()}
    _chance_lines(ax, sorted(levels))
    for name, scores in scores_by_method.items():
        found, called = _called(scores, weights, kind)
        recall, precision = found / found[-1], found / called
        label = f"{name}: {synapse_auprc(scores, weights, kind):.2f}"
        style = {**styles[name], "marker": "", "drawstyle": "steps-pre", "label": label}
        ax.plot(np.append(0, recall), np.append(precision[0], precision), **style)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), title=title)
    ax.set(xlabel="recall (share of synapses found)", ylabel="precision (share that is right)")
    _legend_of_areas(ax)
    return ax


def roc_curves(
    scores_by_method: Mapping[str, np.ndarray],
    weights: np.ndarray,
    *,
    kind: str = "any",
    styles: Mapping[str, Mapping[str, object]] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Share of synapses found against that of other pairs called one; chance is the diagonal.

    The area below a curve is `visualcortex.connectivity.synapse_auroc`, which the legend names.

    Parameters
    ----------
    scores_by_method, weights, kind, styles, ax, title
        As for `precision_recall`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        As `precision_recall`.
    """
    styles = _styles_of(scores_by_method, styles)
    ax = figures._axes(ax, figsize=(5.8, 3.7))
    ax.plot([0, 1], [0, 1], color=figures.CHANCE, linewidth=1.2, linestyle=DASHED, label="chance")
    for name, scores in scores_by_method.items():
        found, called = _called(scores, weights, kind)
        others = (called - found) / (called - found)[-1]
        label = f"{name}: {synapse_auroc(scores, weights, kind):.3f}"
        style = {**styles[name], "marker": "", "label": label}
        ax.plot(np.append(0, others), np.append(0, found / found[-1]), **style)
    ax.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal", title=title)
    ax.set(xlabel="share of other pairs called one", ylabel="share of synapses found")
    _legend_of_areas(ax)
    return ax


def methods_over_networks(
    table: pd.DataFrame,
    statistic: str,
    *,
    summary: pd.DataFrame | None = None,
    methods: Sequence[str] | None = None,
    styles: Mapping[str, Mapping[str, object]] | None = None,
    limits: tuple[float, float] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """One statistic of every method: each network a faint dot, the mean with its interval.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns "network", "method", "statistic", "value" and "chance".
    statistic : str
        Which one is drawn.
    summary : pandas.DataFrame, optional
        Columns "method", "mean", "low" and "high", and "statistic" where it holds several; by
        default that of `over_networks`.
    methods : sequence of str, optional
        From the top; by default from the highest mean to the lowest.
    styles : mapping from method to settings of a line, optional
        As `method_styles` makes them, for the colours; by default all have that of real data.
    limits : (float, float), optional
        Ends of the axis.
    legend : bool
        Whether to draw one, which of several panels one is enough for.
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
        If a column, the statistic, a method or its style is missing, or a network has several
        rows for the same method.
    """
    shown = _of_statistic(table, statistic)
    if summary is None:
        summary = over_networks(shown, ["method"], "value")
    elif "statistic" in summary:
        summary = summary[summary["statistic"] == statistic]
    means = _summary_rows(summary, methods)
    chance = shown.groupby("method")["chance"].mean().reindex(means.index)
    ax = mean_dots(
        means,
        shown[["method", "value"]],
        chance=chance.iloc[0] if np.ptp(chance) < 1e-9 else chance.to_numpy(),
        quantity=statistic,
        limits=limits,
        styles=styles,
        ax=ax,
    )
    ax.set_title(title)
    if not legend:
        ax.get_legend().remove()
    return ax


def mean_dots(
    means: pd.DataFrame,
    values: pd.DataFrame,
    *,
    quantity: str,
    chance: float | np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    styles: Mapping[str, Mapping[str, object]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Means with their intervals as dots, a row a method, and below each what they are means of.

    Parameters
    ----------
    means : pandas.DataFrame
        Columns "mean", "low" and "high"; the index is the methods, from the top.
    values : pandas.DataFrame
        Method and value of each network, two columns. Other methods are left out.
    quantity : str
        What the axis shows, with its unit.
    chance : float or (n_methods,) array, optional
        Value by chance.
    limits, styles, ax
        As in `methods_over_networks`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    own = None if styles is None else _styles_of(means.index, styles)
    ax = figures.dot_plot(
        list(means.index),
        means["mean"].to_numpy(),
        low=means["low"].to_numpy(),
        high=means["high"].to_numpy(),
        chance=chance,
        quantity=quantity,
        limits=limits,
        colours=None if own is None else [own[name]["color"] for name in means.index],
        ax=ax,
    )
    rows, kept = means.index.get_indexer(values.iloc[:, 0]), values.iloc[:, 1].to_numpy()
    style = {"s": 13, "color": figures.INK, "alpha": 0.4, "linewidth": 0, "label": "one network"}
    ax.scatter(kept[rows >= 0], rows[rows >= 0] + 0.24, **style)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def reliability_curve(
    curves: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    axes: Sequence[Axes] | None = None,
    title: str = "",
) -> Sequence[Axes]:
    """Share of true synapses against their predicted probability, with how many pairs below.

    Parameters
    ----------
    curves : pandas.DataFrame, or mapping from name to pandas.DataFrame
        A row a bin: "predicted" (mean probability), "observed" (share of synapses), "low", "high"
        and "n".
    axes : sequence of two matplotlib.axes.Axes, optional
        Where to draw curve and numbers; by default a new figure.
    title : str
        What is shown.

    Returns
    -------
    sequence of two matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing, or there is no curve or more than styles.
    """
    curves = {"synapses": curves} if isinstance(curves, pd.DataFrame) else dict(curves)
    for table in curves.values():
        _check_columns(table, ["predicted", "observed", "low", "high", "n"])
    above, below = _stacked((5.2, 4.4), (3, 1)) if axes is None else axes
    style = {"color": figures.CHANCE, "linewidth": 1.2, "linestyle": DASHED}
    above.plot([0, 1], [0, 1], label="calibrated", **style)
    for (name, look), table in zip(method_styles(curves).items(), curves.values(), strict=True):
        x, y, low, high, n = table[["predicted", "observed", "low", "high", "n"]].to_numpy().T
        above.vlines(x, low, high, color=look["color"], linewidth=2.2, alpha=0.45)
        above.plot(x, y, markeredgecolor=figures.PAPER, label=name, **look)
        below.vlines(x, 0.5, n, color=look["color"], linewidth=2.2, alpha=0.55)
        below.plot(x, n, **{**look, "linestyle": ""})
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=title)
    above.set_ylabel("share with a synapse")
    above.tick_params(labelbottom=False)
    below.set(xlim=(-0.02, 1.02), yscale="log", ylabel="pairs", xlabel="predicted probability")
    below.set_ylim(bottom=0.5)
    above.legend(loc="upper left")
    return above, below


def weights_against_truth(
    estimated: np.ndarray,
    true: np.ndarray,
    standard_errors: np.ndarray | None = None,
    *,
    estimated_label: str = "estimated weight",
    true_label: str = "true weight (mV)",
    same_unit: bool = False,
    asinh: bool = True,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Estimated weights against true ones; pairs without a synapse stand in a grey strip at 0.

    Parameters
    ----------
    estimated, true : (n_neurons, n_neurons) arrays
        Weights (source, target); true ones are 0 where there is no synapse. The diagonal and NaN
        are left out.
    standard_errors : (n_neurons, n_neurons) array, optional
        Of the estimates, drawn for synapses as bars of one of them up and down.
    estimated_label, true_label : str
        What they are, with their units.
    same_unit : bool
        Whether to draw the line of equality.
    asinh : bool
        Whether axes are linear about 0 and logarithmic beyond the median size of a synapse, so
        that the many weak synapses have room beside the few strong ones.
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
        If matrices are not square and of the same neurons.
    """
    given = [estimated, true, *([] if standard_errors is None else [standard_errors])]
    y, x, *errors = _off_diagonal(given)
    ax = figures._axes(ax, figsize=(5.6, 3.8))
    ax.axhline(0, color=figures.EMPTY, linewidth=1, zorder=0)
    if asinh and (x != 0).any():
        for name, values in (("x", x), ("y", y)):
            _bend(ax, name, values, float(np.median(np.abs(values[x != 0]))) or 1.0)
    style = {"linestyle": "", "marker": "o", "markeredgewidth": 0}
    _strip_at_zero(ax, x, y, style)
    for (name, colour), chosen in zip(TYPES.values(), (x > 0, x < 0), strict=False):
        if errors:
            ends = y[chosen] - errors[0][chosen], y[chosen] + errors[0][chosen]
            ax.vlines(x[chosen], *ends, color=colour, linewidth=0.9, alpha=0.35)
        look = {"color": colour, "markersize": 4, "alpha": 0.7}
        ax.plot(x[chosen], y[chosen], label=name, **style, **look)
    if same_unit:
        _equal_line(ax, x, y)
    ax.set(xlabel=true_label, ylabel=estimated_label, title=title)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def delay_scatter(
    estimated: np.ndarray, true: np.ndarray, *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Estimated delays of the synapses against true ones, both in ms.

    Equal points are drawn once, with an area in proportion to their number.

    Parameters
    ----------
    estimated, true : arrays of one shape
        Delays in ms. Pairs without a true delay above 0, or whose estimate is NaN, are left out.
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
        If shapes differ, or no synapse has both delays.
    """
    estimated, true = np.asarray(estimated, dtype=float), np.asarray(true, dtype=float)
    if estimated.shape != true.shape:
        raise ValueError(
            f"delays must be of the same pairs; got shapes {estimated.shape} and {true.shape}"
        )
    known = (true > 0) & np.isfinite(estimated)
    if not known.any():
        raise ValueError("no pair has both a true delay above 0 and an estimate. Pass both in ms.")
    points = np.column_stack([true[known], estimated[known]]).round(9)
    points, n = np.unique(points, axis=0, return_counts=True)
    ax = figures._axes(ax, figsize=(4.4, 4.0))
    # the most frequent point is as large as a mark in a legend, single ones can still be seen
    sizes = np.maximum(90 * n / n.max(), 6) if n.max() > 3 else np.full(len(n), 14)
    look = {"color": figures.GENERATED, "alpha": 0.6, "linewidth": 0}
    ax.scatter(*points.T, s=sizes, **look)
    _equal_line(ax, *points.T)
    ax.set(xlabel="true delay (ms)", ylabel="estimated delay (ms)", title=title)
    ax.set(aspect="equal")
    ax.legend(loc="upper left")
    return ax


def cliff(
    table: pd.DataFrame,
    *,
    statistic: str = "AUROC",
    marks: Mapping[str, float] | None = None,
    mark_name: str = "original recording",
    labels: Mapping[str, str] | None = None,
    styles: Mapping[str, Mapping[str, object]] | None = None,
    chance: float | None = 0.5,
    n_columns: int = 3,
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Recovery against the quality of the recording, a panel an axis of quality.

    Marks are means over networks, bars their intervals (`over_networks`). Axes whose values span
    a factor of eight are logarithmic.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns "axis", "value", "network", "method" and `statistic`.
    statistic : str
        What is drawn.
    marks : mapping from axis to value, optional
        Where a recording stands, as a vertical line.
    mark_name : str
        What that recording is called.
    labels : mapping from axis to str, optional
        What an axis shows, with its unit; by default of `QUALITIES`, else its name.
    styles : mapping from method to settings of a line, optional
        As `method_styles` makes them; by default of these methods.
    chance : float, optional
        Value by chance.
    n_columns : int
        Panels in a row of a new figure.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one for each axis of quality; by default a new figure.

    Returns
    -------
    sequence of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        As `quality_means`, a mark is on an axis that is not there, or a method has no style.
    """
    means = quality_means(table, statistic)
    names, labels = list(dict.fromkeys(means["axis"])), {**QUALITIES, **(labels or {})}
    if unknown := sorted(set(marks or {}) - set(names)):
        raise ValueError(f"marks must be on the axes {names}; got some on {unknown}")
    styles = _styles_of(means["method"], styles)
    if axes is None:
        axes = _panels(len(names), n_columns, (2.6, 2.3), extra=(0.3, 0.6), sharey=True)
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        mark = (marks or {}).get(name)
        quality_panel(ax, means[means["axis"] == name], styles, chance=chance, mark=mark)
        ax.set_xlabel(labels.get(name, name))
        ax.set_ylabel(statistic if k % n_columns == 0 else "")
        if mark is not None:
            style = {"color": figures.INK, "linewidth": 1.2, "linestyle": (0, (1, 1.5))}
            ax.axvline(mark, label=mark_name, zorder=1, **style)
    _legend_below(axes)
    return axes


def quality_means(table: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Mean of a statistic over networks, and its interval (`over_networks`), for `quality_panel`.

    Ends of intervals are cut at 0 and 1, beyond which no share can be.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns "axis", "value", "network", "method" and `statistic`.
    statistic : str
        What is averaged.

    Returns
    -------
    pandas.DataFrame
        Columns "axis", "value", "method", "mean", "low", "high" and "n".

    Raises
    ------
    ValueError
        If a column is missing, nothing is finite, or a network has several rows for the same
        value and method.
    """
    by = ["axis", "value", "method"]
    _check_networks(table, [*by, "network"])
    means = over_networks(table, by, statistic)
    return means.assign(low=means["low"].clip(0, 1), high=means["high"].clip(0, 1))


def quality_panel(
    ax: Axes,
    means: pd.DataFrame,
    styles: Mapping[str, Mapping[str, object]],
    *,
    chance: float | None = None,
    mark: float | None = None,
) -> None:
    """Draw recovery along one axis of quality, a line a method.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    means : pandas.DataFrame
        Of one axis, as `quality_means` makes it: "value", "method", "mean", "low" and "high".
    styles : mapping from method to settings of a line
        As `method_styles` makes them.
    chance : float, optional
        Value by chance.
    mark : float, optional
        Value that the axis has to hold too.
    """
    values = np.unique(means["value"]).astype(float)
    held = values if mark is None else np.append(values, mark)
    ends = np.array([held.min(), held.max()])
    log = ends[0] > 0 and ends[1] >= LOGARITHMIC * ends[0]
    ax.set_xscale("log" if log else "linear")
    there, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    margin = 0.05 * np.ptp(there(ends)) or 1.0
    ax.set_xlim(back(there(ends) + [-margin, margin]))
    ticks = _thinned(values, there)
    ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    figures._level(ax, values, chance, "chance", figures.CHANCE, DASHED)
    for method in dict.fromkeys(means["method"]):
        own = means[means["method"] == method].sort_values("value")
        x, mean, low, high = own[["value", "mean", "low", "high"]].to_numpy(dtype=float).T
        look = styles[method]
        ax.fill_between(x, low, high, color=look["color"], alpha=0.13, linewidth=0)
        ax.plot(x, mean, markeredgecolor=figures.PAPER, label=method, zorder=3, **look)


def drift_against_truth(
    drift: np.ndarray,
    weights: np.ndarray,
    run_scores: np.ndarray | None = None,
    *,
    chosen: int | None = None,
    quantity: str = "drift of the weight",
    score_name: str = "AUROC of a run",
    chance: float = 0.5,
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Drift of plastic weights where there is a true synapse and where not; and all runs beside.

    Parameters
    ----------
    drift : (n_neurons, n_neurons) array
        Of the weight of each pair (source, target), of one run. The diagonal and NaN are left out.
    weights : (n_neurons, n_neurons) array
        True synapses, 0 where there is none.
    run_scores : (n_runs,) array, optional
        One score of each run.
    chosen : int, optional
        Which run would be chosen by hand; by default the one with the highest score.
    quantity, score_name : str
        What the axes show, with their units.
    chance : float
        Score by chance.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one, or two with `run_scores`; by default a new figure.

    Returns
    -------
    sequence of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If matrices do not fit, runs are not one finite score each, or there is no such run.
    """
    values, true = _off_diagonal([drift, weights])
    if axes is None:
        axes = _panels(1 if run_scores is None else 2, 2, (3.5, 2.9), extra=(0.3, 0.0))
    groups = {"no synapse": (true == 0, figures.CHANCE)}
    for (name, colour), kept in zip(TYPES.values(), (true > 0, true < 0), strict=False):
        groups[f"{name}\nsynapse"] = (kept, colour)
    groups = {name: group for name, group in groups.items() if group[0].any()}
    for place, (kept, colour) in enumerate(groups.values()):
        _strip(axes[0], place, values[kept], colour)
    axes[0].axhline(0, color=figures.EMPTY, linewidth=1, zorder=0)
    names = [f"{name}\nn = {kept.sum()}" for name, (kept, _) in groups.items()]
    axes[0].set_xticks(range(len(groups)), names)
    axes[0].set(xlim=(-0.5, len(groups) - 0.5), ylabel=quantity)
    axes[0].tick_params(axis="x", length=0)
    if run_scores is not None:
        _runs(axes[1], np.asarray(run_scores, dtype=float), chosen, chance)
        axes[1].set(xlabel=score_name, ylabel="runs")
    return axes


def leak_bars(
    table: pd.DataFrame, *, quantity: str = "accuracy", ax: Axes | None = None, title: str = ""
) -> Axes:
    """Accuracy of telling cell types, with trials of a cell kept together or not, and permuted.

    Parameters
    ----------
    table : pandas.DataFrame
        Four rows: "grouped" (whether all trials of a cell are on one side of the split),
        "permuted" (whether types were permuted over cells), "value", "low", "high", "chance".
    quantity : str
        What the axis shows.
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
        If a column is missing, or there is not one row for each of the four cases.
    """
    _check_columns(table, ["grouped", "permuted", "value", "low", "high", "chance"])
    cases = table[["grouped", "permuted"]].astype(bool)
    if len(table) != 4 or cases.duplicated().any():
        raise ValueError(
            "need one row for each of the four cases of grouped and permuted; got "
            f"{cases.to_numpy().tolist()}"
        )
    ax = figures._axes(ax, figsize=(6.2, 3.3))
    sides = {False: ("trials of a cell on both sides", figures.GENERATED)}
    sides[True] = ("every cell on one side", figures.REAL)
    for grouped, (name, colour) in sides.items():
        own = table[cases["grouped"] == grouped].sort_values("permuted")
        places = np.arange(2) + (0.2 if grouped else -0.2)
        ax.bar(places, own["value"], width=0.36, color=colour, alpha=0.85, label=name)
        ax.vlines(places, own["low"], own["high"], color=figures.INK, linewidth=1.6)
        for place, value, high in zip(places, own["value"], own["high"], strict=True):
            ax.text(place, max(value, high) + 0.02, f"{value:.2f}", ha="center", fontsize="small")
        label = "" if grouped else "chance"
        ends = places - 0.2, places + 0.2
        style = {"color": figures.INK, "linewidth": 1.2, "linestyle": DASHED}
        ax.hlines(own["chance"], *ends, label=label, **style)
    ax.set_xticks([0, 1], ["true types", "types permuted over cells"])
    ax.set(ylim=(0, 1.08), ylabel=quantity, title=title)
    ax.tick_params(axis="x", length=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def _by_type(
    cell_type: Sequence[str], n_neurons: int | None = None
) -> tuple[np.ndarray, dict[str, int]]:
    """Order of the neurons type by type, and how many there are of each type."""
    types = np.asarray(cell_type)
    n_neurons = len(types) if n_neurons is None else n_neurons
    unknown = sorted(set(types.ravel().tolist()) - set(TYPES))
    if types.shape != (n_neurons,) or not n_neurons or unknown:
        raise ValueError(
            f"need one cell type of {tuple(TYPES)} for each of {n_neurons} neurons, at least one; "
            f"got shape {types.shape} with {unknown or 'no others'}. Take both from one network."
        )
    places = np.array([list(TYPES).index(kind) for kind in types.tolist()])
    counts = np.bincount(places, minlength=len(TYPES)).tolist()
    kinds = {kind: n for kind, n in zip(TYPES, counts, strict=True) if n}
    return np.argsort(places, kind="stable"), kinds


def _add_spikes(ax: Axes, spikes: SpikeTimes, rows: slice, colour: str) -> None:
    """Draw the spikes of neighbouring rows of a raster in one colour."""
    part = spikes.select(np.arange(rows.start, rows.stop))
    row = np.repeat(np.arange(rows.start, rows.stop), part.n_spikes)
    figures.spike_raster(row, part.times, n_rows=spikes.n_units, rows="neuron", ax=ax)
    ax.lines[-1].set(color=colour)


def _signed_scale(matrix: np.ndarray, scale: str) -> np.ndarray:
    """Values between -1 and 1 that keep the sign and the order of their sizes, and NaN."""
    if scale == "root":
        size = np.sqrt(np.abs(matrix) / figures._limit(matrix[matrix != 0]))
        return np.sign(matrix) * np.minimum(size, 1)
    size = np.abs(matrix)
    some, n = np.isfinite(size) & (size > 0), np.isfinite(size).sum()
    share = (n - some.sum() + rankdata(size[some])) / n  # of the pairs that are as large or less
    size[some] = np.maximum(1 - (1 - share) / STRONGEST, 0)
    return np.sign(matrix) * size


def _styles_of(
    methods: Sequence[str], styles: Mapping[str, Mapping[str, object]] | None
) -> Mapping[str, Mapping[str, object]]:
    """Styles of methods, new ones where there are none."""
    styles = method_styles(methods) if styles is None else styles
    if lacking := [name for name in dict.fromkeys(methods) if name not in styles]:
        raise ValueError(
            f"need a style for every method; got {list(styles)}, without {lacking}. Make them "
            "with method_styles of all methods."
        )
    return styles


def _called(scores: np.ndarray, weights: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Synapses found and pairs called, at every distinct score from the largest on."""
    values, linked = _pairs(scores, weights, kind)
    if not 0 < linked.sum() < len(linked):
        raise ValueError(
            f"need synapses and other pairs with a score; got {linked.sum()} and "
            f"{(~linked).sum()}. A network without either has no curve."
        )
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    return linked[order].cumsum()[last], last + 1


def _chance_lines(ax: Axes, levels: Sequence[float]) -> None:
    """Draw a horizontal line for each level, all under one name."""
    for k, level in enumerate(levels):
        figures._level(ax, None, level, "_" if k else "chance", figures.CHANCE, DASHED)


def _legend_of_areas(ax: Axes) -> None:
    """Name the lines beside their axes, with the areas below them."""
    place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
    ax.legend(**place, title="area below", title_fontsize="small", alignment="left")


def _of_statistic(table: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Rows of one statistic, or an error."""
    _check_columns(table, ["network", "method", "statistic", "value", "chance"])
    if statistic not in set(table["statistic"]):
        known = list(dict.fromkeys(table["statistic"]))
        raise ValueError(f"statistic must be one of {known}; got {statistic!r}")
    shown = table[table["statistic"] == statistic]
    _check_networks(shown, ["network", "method"])
    return shown


def _summary_rows(summary: pd.DataFrame, methods: Sequence[str] | None) -> pd.DataFrame:
    """Means and intervals, a row a method in the order asked for."""
    _check_columns(summary, ["method", "mean", "low", "high"])
    rows = summary.set_index("method")[["mean", "low", "high"]]
    if methods is None:
        return rows.sort_values("mean", ascending=False, kind="stable")
    if lacking := [name for name in methods if name not in rows.index]:
        raise ValueError(f"methods must be of {list(rows.index)}; got {lacking} too")
    return rows.loc[list(methods)]


def _off_diagonal(matrices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Entries beside the diagonal that are finite in all matrices, each as (n,)."""
    matrices = [np.asarray(matrix, dtype=float) for matrix in matrices]
    shapes = [matrix.shape for matrix in matrices]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][0] != shapes[0][1]:
        raise ValueError(
            f"need square matrices (source, target) of the same neurons; got shapes {shapes}"
        )
    used = ~np.eye(len(matrices[0]), dtype=bool)
    used &= np.isfinite(matrices).all(axis=0)
    return [matrix[used] for matrix in matrices]


def _spread(n: int) -> np.ndarray:
    """Fractions that fill the interval from 0 to 1 evenly, in an order without a pattern."""
    return np.arange(1, n + 1) * GOLDEN % 1


def _bend(ax: Axes, name: str, values: np.ndarray, width: float) -> None:
    """Make an axis linear up to a width, and logarithmic beyond it, with a tick a half decade."""
    axis, set_scale = {"x": (ax.xaxis, ax.set_xscale), "y": (ax.yaxis, ax.set_yscale)}[name]
    set_scale("asinh", linear_width=width)
    candidates = np.outer(10.0 ** np.arange(-9, 10), [1, 3]).ravel()
    candidates = candidates[candidates > width]
    sizes = [candidates[candidates <= reach] for reach in (-values.min(), values.max())]
    ticks = np.concatenate([-sizes[0][::-1], [0], sizes[1]])
    axis.set_ticks(ticks, [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    axis.set_ticks([], minor=True)


def _strip_at_zero(ax: Axes, x: np.ndarray, y: np.ndarray, style: Mapping[str, object]) -> None:
    """Draw what is at x = 0 side by side, within a fiftieth of the axis to the left and right."""
    transform, y = ax.xaxis.get_transform(), y[x == 0]
    width = 0.02 * float(np.ptp(transform.transform(x)))
    spread = (2 * _spread(len(y)) - 1) * transform.inverted().transform([width])
    look = {"color": figures.CHANCE, "markersize": 2.5, "alpha": 0.35}
    ax.plot(spread, y, label="no synapse", **style, **look)


def _thinned(values: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]) -> list[float]:
    """Values far enough from each other on an axis for their names, both ends among them."""
    places = transform(values)
    apart, kept = 0.11 * np.ptp(places), [0]
    for k in range(1, len(values) - 1):
        if min(places[k] - places[kept[-1]], places[-1] - places[k]) >= apart:
            kept.append(k)
    return values[sorted({*kept, len(values) - 1})].tolist()


def _strip(ax: Axes, place: float, values: np.ndarray, colour: str) -> None:
    """Draw values as dots in a column, within the outline of their density, with the median."""
    if np.ptp(values) > 0:
        (body,) = ax.violinplot(values, [place], widths=0.85, showextrema=False)["bodies"]
        body.set(facecolor=colour, alpha=0.22, linewidth=0)
    at = place + 0.36 * (_spread(len(values)) - 0.5)
    size = 3 if len(values) < 1000 else 1.6
    look = {"linestyle": "", "marker": "o", "markeredgewidth": 0, "markersize": size}
    ax.plot(at, values, color=colour, alpha=0.5 if len(values) < 1000 else 0.25, **look)
    ends = place - 0.3, place + 0.3
    ax.hlines(np.median(values), *ends, color=figures.INK, linewidth=2, zorder=4)


def _runs(ax: Axes, scores: np.ndarray, chosen: int | None, chance: float) -> None:
    """Draw how the scores of runs are distributed, and where the chosen one is."""
    chosen = int(np.nanargmax(scores)) if chosen is None and scores.size else chosen
    fits = scores.ndim == 1 and scores.size and np.isfinite(scores).all()
    if not fits or not 0 <= chosen < len(scores):
        raise ValueError(
            f"need one finite score a run, and the chosen run among them; got shape "
            f"{scores.shape} and run {chosen}"
        )
    ax.hist(scores, bins=min(20, max(5, len(scores) // 4)), color=figures.CHANCE, alpha=0.55)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.axvline(chance, color=figures.CHANCE, linestyle=DASHED, linewidth=1.4, label="chance")
    ax.axvline(scores.mean(), color=figures.INK, linewidth=1.4, label="mean of all runs")
    ax.axvline(scores[chosen], color=figures.GENERATED, linewidth=2, label="chosen run")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, columnspacing=1.0)


def _equal_line(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the line of equality over the range of both."""
    # not of its ends alone: on axes that are bent it is no straight line
    points = np.linspace(min(x.min(), y.min()), max(x.max(), y.max()), 500)
    style = {"color": figures.CHANCE, "linewidth": 1.2, "linestyle": DASHED, "zorder": 0}
    ax.plot(points, points, label="equal", **style)


def _correlogram(
    ax: Axes, lags: np.ndarray, counted: np.ndarray, null: np.ndarray, *ends: np.ndarray
) -> None:
    """Draw one correlogram over what is expected, and over a band where its ends are given."""
    edges = np.append(lags, 2 * lags[-1] - lags[-2]) - (lags[1] - lags[0]) / 2
    ax.axvline(0, color=figures.EMPTY, linewidth=1)
    ax.stairs(counted, edges, fill=True, color=figures.REAL, alpha=0.3)
    ax.stairs(counted, edges, color=figures.REAL, linewidth=0.8, label="counted")
    if ends:
        style = {"color": figures.INK, "alpha": 0.16, "linewidth": 0}
        ax.fill_between(lags, *ends, label="band of chance", **style)
    ax.plot(lags, null, color=figures.INK, linewidth=1.1, label="expected")
    ax.set_xlim(edges[[0, -1]])
    _fit_from_null(ax, counted, [null, *ends])


def _fit_from_null(ax: Axes, counted: np.ndarray, null: Sequence[np.ndarray]) -> None:
    """Leave out of the axis what lies far below all counts, so that a dent can be seen too."""
    low, high = (end(np.stack([counted, *null])) for end in (np.min, np.max))
    margin = 0.12 * (high - low) or 1.0
    ax.set_ylim(max(0.0, low - margin), high + margin)
    ax.yaxis.set_major_locator(MaxNLocator(4))


def _stacked(size: tuple[float, float], ratios: tuple[float, float]) -> np.ndarray:
    """Two axes of a new figure, one above the other."""
    return plt.subplots(2, 1, figsize=size, height_ratios=ratios, layout="constrained")[1]


def _panels(
    n: int,
    n_columns: int,
    size: tuple[float, float],
    *,
    extra: tuple[float, float] = (0.0, 0.0),
    sharey: bool = False,
) -> np.ndarray:
    """Axes of a new figure for n panels of a size in inches, and what is beside all of them."""
    n_columns = min(n_columns, n)
    n_rows = -(-n // n_columns)
    figsize = (size[0] * n_columns + extra[0], size[1] * n_rows + extra[1])
    figure = plt.figure(figsize=figsize, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=sharey, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.remove()
    return axes[:n]


def _legend_below(axes: Sequence[Axes]) -> None:
    """Name everything that one of the axes shows, once, below all of them."""
    found: dict[str, object] = {}
    for ax in axes:
        handles, names = ax.get_legend_handles_labels()
        found.update(zip(names, handles, strict=True))
    figure = axes[0].figure
    figure.legend(found.values(), found, loc="outside lower center", ncols=min(len(found), 4))


def _check_columns(table: pd.DataFrame, needed: Sequence[str]) -> None:
    """Raise an error that names the columns that a table lacks."""
    if lacking := [name for name in needed if name not in table]:
        raise ValueError(
            f"need a table with the columns {list(needed)}; got {list(table)}, without {lacking}"
        )


def _check_networks(table: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise an error unless a network has one row of each kind, so that rows are independent."""
    _check_columns(table, by)
    if more := int(table.duplicated(list(by)).sum()):
        raise ValueError(
            f"need one row for each network; got {more} more with the same {list(by)}. Average "
            "what is of the same network."
        )


def _check_matrices(matrices: Mapping[str, np.ndarray], n: int, scale: str) -> None:
    """Raise an error unless matrices are of n neurons and the scale is known."""
    shapes = {name: matrix.shape for name, matrix in matrices.items()}
    if set(shapes.values()) != {(n, n)}:
        raise ValueError(
            f"need at least one matrix (source, target) of {n} neurons; got {shapes}. Select the "
            "same neurons from all."
        )
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {tuple(SCALES)}; got {scale!r}")


def _check_correlograms(
    lags: np.ndarray,
    parts: Sequence[np.ndarray],
    titles: Sequence[str],
    delays: Sequence[float] | None,
) -> None:
    """Raise an error unless all are of the same pairs and lags."""
    shapes = [part.shape for part in parts]
    fits = set(shapes) == {(len(titles), lags.size)} and lags.ndim == 1 and len(titles)
    if not fits or (delays is not None and len(delays) != len(titles)):
        raise ValueError(
            "need lags, and counts, their expectation and the ends of a band (pair, lag), with "
            f"one title and delay a pair; got {lags.shape}, {shapes}, {len(titles)} titles"
        )
    steps = np.diff(lags)
    if len(lags) < 2 or not steps[0] > 0 or not np.allclose(steps, steps[0]):
        raise ValueError(f"lags must be evenly spaced, rising, in ms; got {lags}")
