"""Views of representational dissimilarity matrices beside each other, live and still.

Matrices are shown as ranks, so that their units do not matter, and all on one scale.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from visualcortex import figures
from visualcortex.evaluation.representations import METHODS, compare_rdms
from visualcortex.layer_widgets import _side_by_side, _thumbnails
from visualcortex.widgets import View, _ends

N_ALIKE = 3
# more pairs than this are counted in bins, so many along each axis
MOST_DOTS = 3000
N_BINS = 40
# more groups than this are told apart by lines only
MOST_NAMES = 12
SCALE = {"cmap": figures.ACTIVITY.reversed().with_extremes(bad=figures.EMPTY), "vmin": 0, "vmax": 1}
AXIS = "picture, by category"


class _Matrix(NamedTuple):
    """Dissimilarities of one model or target, ranked and binned once."""

    pairs: np.ndarray  # (V,), above the diagonal
    ranks: np.ndarray  # (M, M), from 0 to 1, NaN on the diagonal
    bins: np.ndarray  # (V,), from 0 to N_BINS - 1

    @classmethod
    def of(cls, dissimilarities: np.ndarray) -> _Matrix:
        """Rank the pairs, ties at their mean, and bin them between the lowest and the highest."""
        pairs = dissimilarities[np.triu_indices(len(dissimilarities), k=1)]
        ranks = squareform((rankdata(pairs) - 1) / (len(pairs) - 1))
        np.fill_diagonal(ranks, np.nan)
        low, high = pairs.min(), pairs.max()
        bins = np.minimum(N_BINS * (pairs - low) / (high - low), N_BINS - 1)
        return cls(pairs, ranks, bins.astype(int))

    def alike(self, picture: int) -> np.ndarray:
        """Return the other pictures that are most alike, the most alike first."""
        # NaN, the picture itself, comes last
        found = np.argsort(self.ranks[picture], kind="stable")
        return found[: min(N_ALIKE, len(found) - 1)]

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest dissimilarity."""
        return float(self.pairs.min()), float(self.pairs.max())


class _Groups:
    """Order of the pictures by group, in which all matrices are drawn."""

    def __init__(self, groups: Sequence[Hashable], n_pictures: int) -> None:
        self.labels = np.asarray(groups)
        if self.labels.shape != (n_pictures,) or np.any(pd.isna(self.labels)):
            raise ValueError(
                f"need one group for each of {n_pictures} pictures, none missing; got shape "
                f"{self.labels.shape} with {np.sum(pd.isna(self.labels))} missing. Name those "
                "without a group, or leave them out."
            )
        self.names, member, self.sizes = np.unique(
            self.labels, return_inverse=True, return_counts=True
        )
        self.order = np.argsort(member, kind="stable")
        self.places = np.argsort(self.order)  # where each picture is drawn

    def sorted(self, matrix: _Matrix) -> np.ndarray:
        """Ranks in the order of the groups, (M, M)."""
        return matrix.ranks[np.ix_(self.order, self.order)]

    def draw(self, ax: Axes, matrix: _Matrix, title: str, *, named: bool) -> None:
        """Draw a matrix with thin lines between groups, and their names on the left."""
        ax.imshow(self.sorted(matrix), aspect="equal", **SCALE)
        ends = np.cumsum(self.sizes)
        for end in ends[:-1] - 0.5:
            for line in (ax.axhline, ax.axvline):
                line(end, color=figures.GENERATED, linewidth=0.6)
        few = named and len(self.names) <= MOST_NAMES
        ax.set_yticks(ends - (self.sizes + 1) / 2 if few else [], self.names if few else None)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xticks=[], xlabel=AXIS, ylabel=AXIS if named else "", title=title)


class _Agreement:
    """How far each model agrees with each target, and how far any could."""

    def __init__(
        self,
        models: Mapping[str, _Matrix],
        targets: Mapping[str, _Matrix],
        method: str,
        given: Mapping[str, Mapping[str, Sequence[float]]] | None,
        ceiling: Mapping[str, tuple[float, float]],
    ) -> None:
        if given is None:
            compared = _compared(models, targets, method)
            given = {t: {m: [compared[m, t]] * 3 for m in models} for t in targets}
        _check_levels(given, ceiling, models, targets)
        self.models, self.method = list(models), method
        self.values = {t: np.array([given[t][m] for m in models], float) for t in targets}
        self.ceiling = {t: tuple(map(float, ends)) for t, ends in ceiling.items()}

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of an axis that holds what is known of all targets."""
        every = [*self.values.values(), *self.ceiling.values()]
        return _ends(np.concatenate([np.ravel(values) for values in every]))

    def draw(self, ax: Axes) -> None:
        """Draw a row a model, the first at the top; what is shown comes with `update`."""
        rows = np.arange(len(self.models))
        ax.axvline(0, color=figures.CHANCE, linewidth=1, linestyle=(0, (4, 3)))
        face = (figures.CEILING, 0.3)
        ax.axvspan(0, 1, facecolor=face, edgecolor=figures.CEILING, linewidth=1.4)
        ax.hlines(rows, 0, 0, linewidth=2.4)
        ax.scatter(0 * rows, rows, edgecolor=figures.PAPER, linewidth=0.8, zorder=3)
        ax.set_yticks(rows, self.models)
        ax.set(xlim=self.ends, ylim=(len(rows) - 0.4, -0.6), xlabel=f"correlation ({self.method})")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        style = {"color": figures.CEILING, "rotation": 90, "fontsize": "small"}
        ax.text(0, rows.mean(), "noise ceiling", ha="center", va="center", **style)

    def update(self, ax: Axes, model: str, target: str) -> None:
        """Show all models against a target, one of them in colour."""
        values, low, high = self.values[target].T
        chosen = np.array(self.models) == model
        colours = np.where(chosen, figures.GENERATED, figures.CHANCE)
        bars, dots = ax.collections
        rows = np.arange(len(values))
        bars.set_segments(np.stack([np.c_[low, rows], np.c_[high, rows]], axis=1))
        bars.set_color(colours)
        dots.set_offsets(np.c_[values, rows])
        dots.set(facecolor=colours, sizes=np.where(chosen, 70, 28))
        (k,) = np.flatnonzero(chosen)
        known = f" ({low[k]:.2f} to {high[k]:.2f})" if low[k] < high[k] else ""
        ax.set_title(f"agreement {values[k]:.2f}{known}", loc="right")
        self._update_ceiling(ax, target)

    def _update_ceiling(self, ax: Axes, target: str) -> None:
        (band,), (name,) = ax.patches, ax.texts
        lower, upper = self.ceiling.get(target, (0.0, 0.0))
        band.set(x=lower, width=upper - lower, visible=target in self.ceiling)
        name.set(x=(lower + upper) / 2, visible=target in self.ceiling)


def rdm_explorer(
    models: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    groups: Sequence[Hashable],
    *,
    images: np.ndarray | None = None,
    method: str = "spearman",
    agreement: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    ceiling: Mapping[str, tuple[float, float]] | None = None,
) -> View:
    """Choose a model and a target; see their dissimilarities and how far they agree.

    Both matrices are shown as ranks over pairs, from 0 (the most alike) to 1, ties at their mean.
    Beside them stands the agreement of every model with the target, that of the chosen one in
    colour, on one axis for all targets; and the dissimilarities themselves, a dot a pair of
    pictures, or counts of pairs where they are more than 3000. With images, one picture is shown
    with the three that are most alike to it, by the model and by the target; a small triangle marks
    its row.

    Bias: the agreement is that of `evaluation.representations.compare_rdms`, pulled to 0 by
    noise in either matrix.

    Parameters
    ----------
    models : mapping from name to (n_pictures, n_pictures) array
        Dissimilarities of the same pictures, in any unit; symmetric, with 0 or NaN on the
        diagonal, which is not shown.
    targets : mapping from name to (n_pictures, n_pictures) array
        What the models are held against, in the same form.
    groups : (n_pictures,) sequence
        Category of each picture; pictures are drawn in their order.
    images : (n_pictures, 3, H, W) array or images on disk, optional
        The pictures, RGB from 0 to 1. Read once.
    method : str
        How two matrices are compared: "spearman", "pearson" or "kendall_tau_a".
    agreement : mapping from target to mapping from model to (value, low, high), optional
        Agreement of each model with each target and the ends of its interval, such as the `models`
        of `evaluation.representations.rdm_interval`; more models than are shown do no harm. By
        default what `method` gives for the matrices that are shown, without intervals. Pass it
        where a target stands for several subjects whose comparisons are averaged.
    ceiling : mapping from target to (lower, upper), optional
        Bounds of its noise ceiling, for targets where they are known.

    Returns
    -------
    View
        The controls and the figure; `rdm_small_multiples` is for print.

    Raises
    ------
    ValueError
        If there is no model or target, matrices are not symmetric, finite, and of the same
        pictures, at least three, or do not vary, the diagonal is neither 0 nor NaN, a group is
        missing, images do not fit or leave 0 ... 1, the method is unknown, or agreements or
        ceilings are missing, not in order, or of no target.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}; got {method!r}")
    sides = _ranked(models, "models"), _ranked(targets, "targets")
    n, n_of_targets = (len(next(iter(side.values())).ranks) for side in sides)
    if n != n_of_targets:
        raise ValueError(
            f"models are of {n} pictures, but targets of {n_of_targets}. Select the pictures that "
            "both have, in one order."
        )
    sorter = _Groups(groups, n)
    levels = _Agreement(*sides, method, agreement, ceiling or {})
    thumbnails = None if images is None else _thumbnails_of_all(images, n)
    controls = _controls(models, targets, 0 if thumbnails is None else n)
    figure, (*both, level, right), below = _axes(thumbnails is not None)
    for k, (ax, side) in enumerate(zip(both, sides, strict=True)):
        sorter.draw(ax, next(iter(side.values())), "", named=k == 0)
    # the mark of a picture stands between a matrix and the bar
    _colour_bar(both[1], "rank of dissimilarity", left=1.04 if thumbnails is None else 1.09)
    levels.draw(level)
    _draw_pairs(right, n * (n - 1) // 2)
    if thumbnails is not None:
        _draw_pictures(below, both, thumbnails)

    def redraw() -> None:
        """Show what the controls say."""
        names = controls["model"].value, controls["target"].value
        pair = [side[name] for side, name in zip(sides, names, strict=True)]
        for ax, matrix, name in zip(both, pair, names, strict=True):
            ax.images[0].set_data(sorter.sorted(matrix))
            ax.set_title(name)
        levels.update(level, *names)
        _update_pairs(right, pair, names)
        if thumbnails is not None:
            picture = controls["picture"].value
            for ax in both:
                ax.lines[-1].set_ydata([sorter.places[picture]])
            _update_pictures(below, thumbnails, sorter.labels, picture, pair, names)

    return View(figure, controls, redraw)


def rdm_small_multiples(matrices: Mapping[str, np.ndarray], groups: Sequence[Hashable]) -> Figure:
    """Draw matrices of dissimilarities in a row, as the ranks that `rdm_explorer` shows.

    Parameters
    ----------
    matrices : mapping from name to (n_pictures, n_pictures) array
        Dissimilarities of the same pictures, in any unit; symmetric, with 0 or NaN on the
        diagonal, which is not shown.
    groups : (n_pictures,) sequence
        Category of each picture; pictures are drawn in their order.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a matrix, on one scale.

    Raises
    ------
    ValueError
        If there is no matrix, or matrices or groups do not fit, as in `rdm_explorer`.
    """
    ranked = _ranked(matrices, "matrices")
    sorter = _Groups(groups, len(next(iter(ranked.values())).ranks))
    size = (2.4 * len(ranked) + 1.6, 2.9)
    figure, axes = plt.subplots(1, len(ranked), figsize=size, squeeze=False, layout="constrained")
    for k, (ax, (name, matrix)) in enumerate(zip(axes[0], ranked.items(), strict=True)):
        sorter.draw(ax, matrix, name, named=k == 0)
    _colour_bar(ax, "rank of dissimilarity")
    return figure


def _ranked(matrices: Mapping[str, np.ndarray], what: str) -> dict[str, _Matrix]:
    """Ranks of each matrix, or an error that says which one is none of dissimilarities."""
    arrays = {name: np.asarray(matrix, dtype=float) for name, matrix in matrices.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    n = next(iter(shapes.values()), (0,))[0:1]
    if n < (3,) or set(shapes.values()) != {n * 2}:
        raise ValueError(
            f"{what} must be at least one matrix (picture, picture), all of the same pictures, at "
            f"least three; got {shapes or 'none'}. Average over subjects first."
        )
    for name, array in arrays.items():
        _check_matrix(array, name)
    return {name: _Matrix.of(array) for name, array in arrays.items()}


def _check_matrix(matrix: np.ndarray, name: str) -> None:
    others = matrix[~np.eye(len(matrix), dtype=bool)]
    if not np.isfinite(others).all() or others.min() == others.max():
        raise ValueError(
            f"dissimilarities must be finite, and not the same for all pairs; {name!r} has "
            f"{np.sum(~np.isfinite(others))} NaN or infinite values off the diagonal. Leave out "
            "pictures without responses."
        )
    slack = 1e-6 * np.abs(others).max()
    skew = np.abs(matrix - matrix.T)[~np.eye(len(matrix), dtype=bool)].max()
    if skew > slack:
        raise ValueError(
            f"dissimilarities must be symmetric; those of {name!r} differ by up to {skew:.3g} from "
            "their transpose. Average the two."
        )
    # written so that NaN passes
    if (np.abs(matrix.diagonal()) > slack).any():
        raise ValueError(
            f"a picture is like itself: the diagonal must be 0 or NaN; that of {name!r} has "
            f"{np.nanmax(np.abs(matrix.diagonal())):.3g}. Of similarities pass 1 - similarity."
        )


def _compared(
    models: Mapping[str, _Matrix], targets: Mapping[str, _Matrix], method: str
) -> dict[tuple[str, str], float]:
    """Correlation of each model with each target."""
    if method == "spearman":
        # ranks are there already
        compare = [{k: x.ranks for k, x in side.items()} for side in (models, targets)]
        method = "pearson"
    else:
        compare = [{k: squareform(x.pairs) for k, x in side.items()} for side in (models, targets)]
    return {
        (a, b): compare_rdms(model, target, method)
        for a, model in compare[0].items()
        for b, target in compare[1].items()
    }


def _check_levels(given, ceiling, models, targets) -> None:
    """Raise an error unless there is an interval for each model and target, in order."""
    lacking = [(m, t) for t in targets for m in models if m not in given.get(t, {})]
    if lacking or not set(ceiling) <= set(targets):
        raise ValueError(
            f"need an agreement for each model and target, and ceilings of {list(targets)}; got "
            f"none for {lacking}, and ceilings of {list(ceiling)}. Use the names of the targets."
        )
    for target, of_models in given.items():
        for name in models if target in targets else ():
            value, low, high = of_models[name]
            # written so that NaN is refused too
            if not low <= value <= high:
                raise ValueError(
                    f"an agreement is (value, low, high), low <= value <= high; got {value:.3g}, "
                    f"{low:.3g}, {high:.3g} for {name!r} with {target!r}."
                )
    for target, (lower, upper) in ceiling.items():
        if not lower <= upper:
            raise ValueError(f"the ceiling of {target!r} goes from {lower:.3g} to {upper:.3g}.")


def _thumbnails_of_all(images: np.ndarray, n_pictures: int) -> np.ndarray:
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[:2] != (n_pictures, 3) or 0 in shape:
        raise ValueError(
            f"need images ({n_pictures}, 3, H, W), one a row of the matrices; got {shape}. Move "
            "colours to the second axis, and repeat grey three times."
        )
    return _thumbnails(images, np.arange(n_pictures))


def _controls(
    models: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], n_pictures: int
) -> dict[str, ipywidgets.Widget]:
    """Controls for a model, a target and, where pictures are shown, one of them."""
    controls = {
        "model": ipywidgets.Dropdown(
            options=[(str(name), name) for name in models],
            description="Model",
            tooltip="Whose dissimilarities are on the left",
        ),
        "target": ipywidgets.Dropdown(
            options=[(str(name), name) for name in targets],
            description="Target",
            tooltip="Whose dissimilarities they are held against, in the middle",
        ),
    }
    if n_pictures:
        controls["picture"] = ipywidgets.IntSlider(
            max=n_pictures - 1,
            description="Picture",
            tooltip="Which picture is shown with those most alike to it",
        )
    return controls


def _axes(with_images: bool) -> tuple[Figure, list[Axes], list[Axes]]:
    """Axes for two matrices, agreements and pairs, and for a picture and those most alike."""
    # not through pyplot: a notebook would show the figure a second time, and keep it
    if not with_images:
        figure = Figure(figsize=(12, 3.4), layout="constrained")
        return figure, list(figure.subplots(1, 4)), []
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    above, under = figure.add_gridspec(2, 1, height_ratios=[1, 1.1])
    row = above.subgridspec(1, 3)
    axes = [figure.add_subplot(row[0, k]) for k in range(3)]
    left, right = under.subgridspec(1, 2, width_ratios=[1, 1.9])
    places = right.subgridspec(2, 2, width_ratios=[1, N_ALIKE])
    axes.append(figure.add_subplot(left))
    shown = places[:, 0], places[0, 1], places[1, 1]
    return figure, axes, [figure.add_subplot(place) for place in shown]


def _colour_bar(ax: Axes, label: str, left: float = 1.04) -> None:
    """Draw the scale of an image beside it, exactly as high."""
    place = ax.inset_axes((left, 0, 0.04, 1))
    bar = ax.figure.colorbar(ax.images[0], cax=place, label=label, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)


def _draw_pairs(ax: Axes, n_pairs: int) -> None:
    """Draw the place of all pairs: dots, or where they are many, their number in bins."""
    if n_pairs <= MOST_DOTS:
        style = {"marker": "o", "markersize": 2.5, "markeredgewidth": 0, "color": figures.REAL}
        ax.plot([], [], linestyle="", alpha=0.5, **style)
    else:
        empty = np.zeros((N_BINS, N_BINS))
        ax.imshow(empty, cmap=figures.ACTIVITY, vmin=0, vmax=1, origin="lower", aspect="auto")
        # relative, so that the scale stays
        _colour_bar(ax, "pairs in a bin (fullest = 1)")
    ax.set_box_aspect(1)
    ax.locator_params(nbins=4)


def _update_pairs(ax: Axes, pair: Sequence[_Matrix], names: Sequence[str]) -> None:
    """Show the dissimilarities of all pairs by a model, along x, and by a target."""
    x, y = pair
    if ax.images:
        counts = np.bincount(N_BINS * y.bins + x.bins, minlength=N_BINS**2).reshape(N_BINS, N_BINS)
        ax.images[0].set_data(counts / counts.max())
        ax.images[0].set_extent((*x.ends, *y.ends))
        margin = 0.0
    else:
        ax.lines[0].set_data(x.pairs, y.pairs)
        margin = 0.04
    for set_ends, (low, high) in ((ax.set_xlim, x.ends), (ax.set_ylim, y.ends)):
        set_ends(low - margin * (high - low), high + margin * (high - low))
    ax.set(xlabel=f"dissimilarity, {names[0]}", ylabel=f"dissimilarity, {names[1]}")


def _draw_pictures(axes: Sequence[Axes], matrices: Sequence[Axes], thumbnails: np.ndarray) -> None:
    """Draw the places of a picture and of those most alike, and the marks of its row."""
    n_alike = min(N_ALIKE, len(thumbnails) - 1)
    for ax, n in zip(axes, (1, n_alike, n_alike), strict=True):
        ax.imshow(_side_by_side(thumbnails[:n]), aspect="equal")
        ax.set(yticks=[], anchor="W")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    for ax in matrices:
        style = {"marker": "<", "markersize": 6, "color": figures.INK, "clip_on": False}
        ax.plot([1.03], [0], transform=ax.get_yaxis_transform(), **style)


def _update_pictures(
    axes: Sequence[Axes],
    thumbnails: np.ndarray,
    labels: np.ndarray,
    picture: int,
    pair: Sequence[_Matrix],
    names: Sequence[str],
) -> None:
    """Show a picture, and those most alike, with their group and rank below them."""
    rows = [np.array([picture]), *(matrix.alike(picture) for matrix in pair)]
    titles = [f"picture {picture}", *(f"most alike, {name}" for name in names)]
    ranks = [[""], *(x.ranks[picture, row] for x, row in zip(pair, rows[1:], strict=True))]
    for ax, row, title, below in zip(axes, rows, titles, ranks, strict=True):
        shown = _side_by_side(thumbnails[row])
        ax.images[0].set_data(shown)
        places = (np.arange(len(row)) + 0.5) * shown.shape[1] / len(row) - 0.5
        said = [r if isinstance(r, str) else f"rank {r:.3f}" for r in below]
        ax.set_xticks(places, [f"{labels[k]}\n{r}" for k, r in zip(row, said, strict=True)])
        ax.set_title(title, fontsize="medium", fontweight="normal")
