"""Views of predicted responses, site by site and layer by layer, live and still.

They show arrays that were computed before: moving a control fits nothing and reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualcortex import figures
from visualcortex.widgets import View, _ends

N_BEST = 3
# edge in pixels that an image is thinned to, about what the screen shows
EDGE = 112
# how far an image may leave 0 ... 1, by rounding
ROUNDING = 1e-3
# so many images are read at a time
CHUNK = 64


class _Curves:
    """Scores of each site at the layers of networks, and the ceilings of the sites."""

    def __init__(
        self, scores: Mapping[str, np.ndarray], layers: Sequence[str], ceiling: np.ndarray
    ) -> None:
        self.scores = {name: np.asarray(values, dtype=float) for name, values in scores.items()}
        self.layers, self.ceiling = list(layers), np.asarray(ceiling, dtype=float)
        n = (len(self.layers), self.ceiling.size)
        shapes = {name: values.shape for name, values in self.scores.items()}
        if self.ceiling.ndim != 1 or set(shapes.values()) != {n} or 0 in n:
            raise ValueError(
                "need one ceiling a site and scores (layer, site) of at least one network; got "
                f"{len(self.layers)} layers, ceilings {self.ceiling.shape} and scores "
                f"{shapes or 'of none'}. Scores of one layer are passed as scores[None]."
            )
        for name, values in {**self.scores, "ceiling": self.ceiling[None]}.items():
            if np.isinf(values).any() or not np.isfinite(values).any(axis=1).all():
                raise ValueError(
                    f"{name!r} holds infinity, or NaN for all sites of a layer. Write NaN where a "
                    "site has no score, and leave out layers that have none."
                )
        self.n_sites = self.ceiling.size
        self.medians = {name: np.nanmedian(values, axis=1) for name, values in self.scores.items()}

    @property
    def order(self) -> np.ndarray:
        """Sites from the lowest to the highest ceiling, then those without, (n_sites,)."""
        return np.argsort(self.ceiling, kind="stable")

    @property
    def best_layer(self) -> int:
        """Layer with the highest median over sites, of the first network."""
        return int(np.argmax(next(iter(self.medians.values()))))

    def name(self, site: int) -> str:
        """Which site it is."""
        return f"site {site}, ceiling {_said(self.ceiling[site])}"

    def ends(self, sites: Sequence[int] | np.ndarray) -> tuple[float, float]:
        """Ends of the axis: above the highest of all sites, and below the lowest of these."""
        every = np.concatenate([self.ceiling, *map(np.ravel, self.scores.values())])
        seen = np.concatenate([values[:, sites].ravel() for values in self.scores.values()])
        values = np.concatenate([[np.nanmax(every)], seen, *self.medians.values()])
        return _ends(values[np.isfinite(values)])

    def draw(self, ax: Axes, site: int, quantity: str) -> None:
        """Draw one site for the first time: its ceiling, its curves, then the medians in grey."""
        lines = {name: values[:, site] for name, values in self.scores.items()}
        figures.layer_curves(
            lines, self.layers, quantity=quantity, ceiling=self.ceiling[site], ax=ax
        )
        for k, median in enumerate(self.medians.values()):
            label = "medians over sites" if k == 0 else None
            style = {"marker": figures.MARKERS[k], "markersize": 3.5, "linewidth": 1, "zorder": 1}
            ax.plot(median, color=figures.CHANCE, label=label, **style)
        ax.get_legend().remove()
        ax.set(ylim=self.ends([site]), title=self.name(site))

    def update(self, ax: Axes, site: int) -> None:
        """Put another site in the place of the one that is drawn."""
        ceiling, *lines = ax.lines[: 1 + len(self.scores)]
        ceiling.set_ydata([self.ceiling[site]] * 2)
        for line, values in zip(lines, self.scores.values(), strict=True):
            line.set_ydata(values[:, site])
        ax.set(ylim=self.ends([site]), title=self.name(site))


class _Predicted:
    """Recorded responses, what each layer of a network says of them, and the images shown."""

    def __init__(
        self,
        predictions: np.ndarray,
        responses: np.ndarray,
        images: np.ndarray | None,
        categories: Sequence[str] | None,
    ) -> None:
        self.predictions, self.responses = np.asarray(predictions), np.asarray(responses)
        _check_predicted(self.predictions, self.responses, images, categories)
        n_images = len(self.responses)
        self.categories = np.asarray(["images"] * n_images if categories is None else categories)
        self.names = np.unique(self.categories).tolist()
        if len(self.names) > len(figures.MARKERS):
            raise ValueError(
                f"got {len(self.names)} categories, and can tell {len(figures.MARKERS)} apart. "
                "Join some of them, or pass None."
            )
        self.recorded_best = _best(self.responses)  # (n_best, N)
        self.predicted_best = _best(self.predictions)  # (L, n_best, N)
        if images is not None:
            shown = np.union1d(self.recorded_best, self.predicted_best)
            self.thumbnails = dict(zip(shown.tolist(), _thumbnails(images, shown), strict=True))

    def draw(self, ax: Axes, unit: str) -> None:
        """Draw an empty scatter with a colour and a mark for each category."""
        for k, name in enumerate(self.names):
            colour = figures.SERIES[k % len(figures.SERIES)]
            style = {"marker": figures.MARKERS[k], "color": colour, "markersize": 5.5}
            ax.plot([], [], linestyle="", alpha=0.75, markeredgewidth=0, label=name, **style)
        ax.axline((0, 0), slope=1, color=figures.CHANCE, linewidth=1, linestyle=(0, (4, 3)))
        ax.set(xlabel=f"predicted ({unit})", ylabel=f"recorded ({unit})")
        ax.set(aspect="equal", anchor="W")
        if len(self.names) > 1:
            ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    def update(self, ax: Axes, site: int, layer: int) -> None:
        """Show all images of one site, on axes that are the same for all layers."""
        predicted, recorded = self.predictions[layer, :, site], self.responses[:, site]
        for line, name in zip(ax.lines, self.names, strict=False):
            chosen = self.categories == name
            line.set_data(predicted[chosen], recorded[chosen])
        every = self.predictions[..., site], recorded
        low, high = min(map(np.min, every)), max(map(np.max, every))
        margin = 0.05 * (high - low) or 1.0
        ax.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))

    def draw_best(self, axes: Sequence[Axes], unit: str) -> None:
        """Draw the places of the images."""
        for ax, which in zip(axes, ("predicted", "recorded"), strict=True):
            ax.imshow(_side_by_side([self.thumbnails[k] for k in self.recorded_best[:, 0]]))
            ax.set_title(f"highest {which} ({unit})", fontsize="medium", fontweight="normal")
            ax.set(yticks=[], aspect="equal")
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)

    def update_best(self, axes: Sequence[Axes], site: int, layer: int) -> None:
        """Show the images with the highest responses, with these below them."""
        predicted = self.predicted_best[layer, :, site], self.predictions[layer, :, site]
        recorded = self.recorded_best[:, site], self.responses[:, site]
        for ax, (best, values) in zip(axes, (predicted, recorded), strict=True):
            ax.images[0].set_data(_side_by_side([self.thumbnails[k] for k in best.tolist()]))
            width = ax.images[0].get_array().shape[1] / len(best)
            places = (np.arange(len(best)) + 0.5) * width - 0.5
            ax.set_xticks(places, [f"{values[k]:.2g}" for k in best])


def layer_explorer(
    scores: Mapping[str, np.ndarray],
    layers: Sequence[str],
    ceiling: np.ndarray,
    predictions: np.ndarray,
    responses: np.ndarray,
    images: np.ndarray | None = None,
    categories: Sequence[str] | None = None,
    *,
    quantity: str = "share of variance explained",
    unit: str = "a.u.",
) -> View:
    """Choose a site and a layer; see its scores layer by layer, and responses image by image.

    The curves show what each network explains of the site, below what is explainable of it, its
    ceiling; a ring is at the chosen layer of the first network. The other side shows every test
    image: what that layer predicts, and what was recorded. Axes of responses are the same for all
    layers of a site; those of scores have the same upper end for all sites.

    Parameters
    ----------
    scores : mapping from name to (n_layers, n_sites) array
        Of each network, such as explained variance; the first is the network of `predictions`.
        NaN where a site has none.
    layers : (n_layers,) sequence of str
        What the layers are called, in their order.
    ceiling : (n_sites,) array
        The score that a perfect model would reach, on the same scale: for explained variance the
        reliability of the responses. NaN where it is not known.
    predictions : (n_layers, n_images, n_sites) array
        Predicted responses to the test images.
    responses : (n_images, n_sites) array
        Recorded responses to them, in the same unit.
    images : (n_images, 3, H, W) array or images on disk, optional
        The test images, RGB from 0 to 1. Read once, and only those with one of the highest
        responses of a site.
    categories : (n_images,) sequence of str, optional
        What each image shows, of at most eight kinds.
    quantity : str
        What the scores are.
    unit : str
        Unit of the responses.

    Returns
    -------
    View
        The controls and the figure. It starts at the layer whose median over sites is highest.
        `layer_small_multiples` is for print.

    Raises
    ------
    ValueError
        If shapes do not match, scores or ceilings are infinite or missing for all sites, responses
        are not finite, images that are shown leave 0 ... 1, or there are more networks than
        colours or more categories than marks.
    """
    curves = _Curves(scores, layers, ceiling)
    predicted = _Predicted(predictions, responses, images, categories)
    n = predicted.predictions.shape[0], predicted.predictions.shape[2]
    if n != (len(curves.layers), curves.n_sites):
        raise ValueError(
            f"scores are of {len(curves.layers)} layers and {curves.n_sites} sites, but "
            f"predictions of {n[0]} and {n[1]}. Pass those of the first network."
        )
    controls = _controls(curves)
    sorter = _Sorter(curves.order, controls["place"])
    figure, left, right, below = _axes(images is not None)
    curves.draw(left, 0, quantity)
    line = left.axvline(0, color=figures.EMPTY, linewidth=8, zorder=0)
    style = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": ""}
    (ring,) = left.plot([0], [0], color=figures.INK, **style)
    figure.legend(loc="outside upper left", ncols=4)
    predicted.draw(right, unit)
    if below:
        predicted.draw_best(below, unit)

    def redraw() -> None:
        """Show what the controls say."""
        site, layer = sorter.site, controls["layer"].value
        curves.update(left, site)
        name, values = next(iter(curves.scores.items()))
        line.set_xdata([layer, layer])
        ring.set_data([layer], [values[layer, site]])
        predicted.update(right, site, layer)
        right.set_title(f"{name}, {curves.layers[layer]}: score {_said(values[layer, site])}")
        if below:
            predicted.update_best(below, site, layer)

    view = View(figure, controls, redraw)
    view.children[0].children += (sorter.button,)
    return view


def layer_small_multiples(
    scores: Mapping[str, np.ndarray],
    layers: Sequence[str],
    ceiling: np.ndarray,
    *,
    quantity: str = "share of variance explained",
    n_sites: int = 6,
) -> Figure:
    """Draw the curves of `layer_explorer` for some sites, from the lowest to the highest ceiling.

    Parameters
    ----------
    scores, layers, ceiling, quantity
        As in `layer_explorer`.
    n_sites : int
        How many sites, at even ranks of their ceilings. Sites without a ceiling are not shown.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a site, on the same axes; `matplotlib.pyplot.show` shows it.

    Raises
    ------
    ValueError
        If shapes do not match, scores or ceilings are infinite or missing for all sites, there are
        more networks than colours, or no site is asked for.
    """
    curves = _Curves(scores, layers, ceiling)
    if n_sites < 1:
        raise ValueError(f"n_sites must be at least 1; got {n_sites}")
    known = curves.order[: np.isfinite(curves.ceiling).sum()]
    ranks = np.unique(np.linspace(len(known) - 1, 0, n_sites).round().astype(int))
    n_columns = min(3, len(ranks))
    n_rows = -(-len(ranks) // n_columns)
    size = (2.7 * n_columns + 0.4, 2.2 * n_rows + 0.6)
    figure = plt.figure(figsize=size, layout="constrained")
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for ax in grid.flat[len(ranks) :]:
        ax.remove()
    axes = grid.flat[: len(ranks)]
    for ax, site in zip(axes, known[ranks], strict=True):
        curves.draw(ax, site, quantity="")
    axes[0].set_ylim(curves.ends(known[ranks]))
    figure.supylabel(quantity, fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _controls(curves: _Curves) -> dict[str, ipywidgets.Widget]:
    layers = [(name, place) for place, name in enumerate(curves.layers)]
    return {
        "place": ipywidgets.IntSlider(
            max=curves.n_sites - 1,
            description="Site",
            tooltip="Which site the responses are of",
            disabled=curves.n_sites == 1,
        ),
        "layer": ipywidgets.SelectionSlider(
            options=layers,
            value=curves.best_layer,
            description="Layer",
            tooltip="Which layer of the first network predicts the responses",
            disabled=len(layers) == 1,
        ),
    }


class _Sorter:
    """Button that puts the sites of a slider in the order of their ceilings; the site stays."""

    def __init__(self, order: np.ndarray, slider: ipywidgets.IntSlider) -> None:
        self.orders, self.slider = {False: np.arange(len(order)), True: order}, slider
        self.button = ipywidgets.ToggleButton(
            description="By ceiling",
            tooltip="Order of the sites along the slider: from the lowest to the highest ceiling",
            disabled=len(order) == 1,
        )
        self.button.observe(self._reorder, names="value")

    @property
    def site(self) -> int:
        """Site at the place where the slider is."""
        return int(self.orders[self.button.value][self.slider.value])

    def _reorder(self, change: Mapping[str, object]) -> None:
        site = self.orders[change["old"]][self.slider.value]
        # a place among the ceilings is no name of a site: that stands above the curves
        self.slider.readout = not change["new"]
        self.slider.value = int(np.flatnonzero(self.orders[change["new"]] == site)[0])


def _axes(with_images: bool) -> tuple[Figure, Axes, Axes, list[Axes]]:
    """Axes for curves on the left, responses on the right, and images below them."""
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(8.8, 5.6 if with_images else 3.8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    ratios = {"height_ratios": [2.7, 1.3] if with_images else [1]}
    grid = figure.add_gridspec(1 + with_images, 2, **ratios)
    left, right = (figure.add_subplot(grid[0, k]) for k in range(2))
    below = [figure.add_subplot(grid[1, k]) for k in range(2)] if with_images else []
    return figure, left, right, below


def _said(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "unknown"


def _best(values: np.ndarray) -> np.ndarray:
    """Images (second last axis) with the highest values of each site, the highest first."""
    n_best = min(N_BEST, values.shape[-2])
    return np.argsort(-values, axis=-2, kind="stable")[..., :n_best, :]


def _thumbnails(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pixels (row, H, W, 3) of some images, from 0 to 255, thinned to about `EDGE`."""
    step = -(-max(images.shape[2:]) // EDGE)
    kept = []
    for first in range(0, len(rows), CHUNK):
        part = np.asarray(images[rows[first : first + CHUNK]])[..., ::step, ::step]
        # written so that NaN is refused too
        if not (part.min() >= -ROUNDING and part.max() <= 1 + ROUNDING):
            raise ValueError(
                f"images must be from 0 to 1; got {part.min():.3g} to {part.max():.3g}. Undo a "
                "normalisation to mean and standard deviation, or divide bytes by 255."
            )
        bytes_ = np.round(255 * np.clip(part, 0, 1)).astype(np.uint8)
        kept.append(bytes_.transpose(0, 2, 3, 1))
    return np.concatenate(kept)


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """One picture of several (H, W, 3), with margins of clear pixels (H, W', 4)."""
    height, width, _ = pictures[0].shape
    margin = max(1, width // 24)
    joined = np.zeros((height, len(pictures) * (width + 2 * margin), 4), dtype=np.uint8)
    for k, picture in enumerate(pictures):
        first = k * (width + 2 * margin) + margin
        joined[:, first : first + width, :3] = picture
        joined[:, first : first + width, 3] = 255
    return joined


def _check_predicted(predictions, responses, images, categories) -> None:
    shapes = predictions.shape, responses.shape
    if [len(s) for s in shapes] != [3, 2] or shapes[0][1:] != shapes[1] or 0 in shapes[0]:
        raise ValueError(
            "need predictions (layer, image, site) and responses (image, site) to the same images; "
            f"got {shapes[0]} and {shapes[1]}. Take means over repeats first."
        )
    if not (np.isfinite(predictions).all() and np.isfinite(responses).all()):
        raise ValueError("predictions and responses must be finite. Leave out images without them.")
    n = len(responses)
    if images is not None and (len(images.shape) != 4 or tuple(images.shape[:2]) != (n, 3)):
        raise ValueError(f"need images ({n}, 3, H, W), one a response; got {tuple(images.shape)}")
    if categories is not None and len(categories) != n:
        raise ValueError(f"need one category for each of {n} images; got {len(categories)}")
