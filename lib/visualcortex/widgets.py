"""Views to explore, each with a still picture of the same for print.

Both are drawn from the same arrays, so that paper shows what the controls show.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from visualcortex import figures
from visualcortex.voxels import VoxelGrid, splat_weights, voxelise

SCREEN_DPI = 110
KERNELS = {"bin": "means of bins", "gaussian": "Gaussian means"}


class _Trials:
    """Recorded and generated trials of each condition, as images (neuron page by neuron page)."""

    def __init__(
        self,
        real: np.ndarray,
        generated: np.ndarray | Mapping[str, np.ndarray],
        real_labels: np.ndarray,
        generated_labels: np.ndarray,
        frame_rate: float | None,
        quantity: str,
    ) -> None:
        written = generated if isinstance(generated, Mapping) else {"generated": generated}
        for trials in written.values():
            _check_trials(real, trials, real_labels, generated_labels, frame_rate)
        if not written or "recorded" in written:
            raise ValueError(
                f"generated needs a set or more, none of them called recorded; got {list(written)}"
            )
        self.sources = list(written)
        self.sets = {"recorded": (np.asarray(real), np.asarray(real_labels))}
        for name, trials in written.items():
            self.sets[name] = np.asarray(trials), np.asarray(generated_labels)
        self.frame_rate, self.quantity = frame_rate, quantity
        self.has_time, self.n_neurons = np.ndim(real) == 3, np.shape(real)[-1]
        self.conditions = np.intersect1d(real_labels, generated_labels).tolist()
        if not self.conditions:
            raise ValueError("real and generated trials have no condition in common")

    def n_trials(self, condition: int) -> int:
        """Trials of a condition that all sets have."""
        return min(int((labels == condition).sum()) for _, labels in self.sets.values())

    def of(self, name: str, condition: int, neurons: slice) -> np.ndarray:
        """All trials of a condition, (trial, [time,] neuron)."""
        activity, labels = self.sets[name]
        return activity[labels == condition][..., neurons]

    def image(self, name: str, condition: int, trial: int, neurons: slice) -> np.ndarray:
        """What is shown: a trial where there is time, else all trials of the condition."""
        shown = self.of(name, condition, neurons)
        return shown[trial] if self.has_time else shown

    def draw(self, ax: Axes, image: np.ndarray) -> None:
        """Draw such an image for the first time."""
        seconds = len(image) / self.frame_rate if self.has_time else None
        figures.raster(image, ax=ax, seconds=seconds, quantity=self.quantity, colour_bar=False)

    def draw_rate(
        self, ax: Axes, name: str, condition: int, trial: int, neurons: slice
    ) -> np.ndarray:
        """Draw the mean over the neurons that are shown, frame by frame, and return it.

        Where there is time, a band holds the middle eight tenths of all trials of the condition.
        """
        rates = self.of(name, condition, neurons).mean(axis=-1)
        line = rates[trial] if self.has_time else rates
        x = (np.arange(len(line)) + 0.5) / (self.frame_rate if self.has_time else 1)
        colour = figures.REAL if name == "recorded" else figures.GENERATED
        empty_axes(ax)
        if self.has_time:
            band = np.percentile(rates, (10, 90), axis=0)
            ax.fill_between(x, *band, color=figures.CHANCE, alpha=0.3, linewidth=0)
        ax.plot(x, line, color=colour)
        ax.set(xlim=(0, x[-1] + x[0]), xlabel="time (s)" if self.has_time else "trial")
        return line

    def greatest_rate(self, condition: int, neurons: slice) -> float:
        """Top of the axis of the rates, the same for all sets."""
        tops = [self.of(name, condition, neurons).mean(axis=-1).max() for name in self.sets]
        return 1.05 * float(max(tops)) or 1.0


class _Ascents:
    """Images on the way of ascents, and the responses to them."""

    def __init__(
        self,
        images: np.ndarray,
        responses: Mapping[str, np.ndarray],
        neurons: Sequence[str],
        norms: Sequence[float],
        steps: Sequence[int],
    ) -> None:
        self.images = np.asarray(images, dtype=float)
        self.responses = {k: np.asarray(v, dtype=float) for k, v in responses.items()}
        self.neurons, self.norms, self.steps = list(neurons), list(norms), list(steps)
        n = (len(self.neurons), len(self.norms), len(self.steps))
        shapes = {name: values.shape for name, values in self.responses.items()}
        if self.images.ndim != 5 or self.images.shape[:3] != n or set(shapes.values()) != {n}:
            raise ValueError(
                f"need images (neuron, norm, step, H, W) = {(*n, 'H', 'W')} and at least one set "
                f"of responses {n}; got {self.images.shape} and {shapes or 'no responses'}"
            )
        if not all(np.isfinite(x).all() for x in (self.images, *self.responses.values())):
            raise ValueError("images and responses must be finite. Leave out ascents that failed.")
        if not (np.diff([0, *self.norms]) > 0).all():
            raise ValueError(f"norms must ascend from above 0; got {self.norms}")

    def limit(self, neuron: int, norm: int) -> float:
        """Distance from grey at which the images of an ascent are black and white."""
        return float(np.abs(self.images[neuron, norm]).max()) or 1.0

    def name(self, neuron: int, norm: int, step: int) -> str:
        """Which image it is."""
        return f"{self.neurons[neuron]}, norm {self.norms[norm]:g}, step {self.steps[step]}"

    def said(self, neuron: int, norm: int, step: int) -> list[str]:
        """What responds how to an image."""
        return [f"{k} {v[neuron, norm, step]:.3g}" for k, v in self.responses.items()]

    def at(self, neuron: int, norm: int | slice, step: int | slice) -> dict[str, np.ndarray]:
        """Responses along norms or along steps."""
        return {name: values[neuron, norm, step] for name, values in self.responses.items()}

    def draw(self, axes: Sequence[Axes], neuron: int, norm: int, steps: Sequence[int]) -> None:
        """Draw images of one ascent."""
        images, limit = self.images[neuron, norm, steps], self.limit(neuron, norm)
        figures.image_grid(images, limit=limit, axes=axes)


class _Along:
    """Responses along norms, or along steps, with a mark at the one that is shown."""

    def __init__(
        self, ax: Axes, x: Sequence[float], lines: Mapping[str, np.ndarray], said: str, unit: str
    ) -> None:
        self.x = list(x)
        figures.curves(x, lines, xlabel=said, ylabel=unit.replace(" (", "\n("), ax=ax)
        ax.legend(loc="upper left", fontsize="small", labelspacing=0.2)
        ax.yaxis.label.set_fontsize("small")
        # linear up to 1, since nothing may have been climbed
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.set_xticks([], minor=True)
        ax.set_xlim(0.8 * x[0] - 0.1, 1.25 * x[-1])
        self.curves = ax.lines[: len(lines)]
        self.mark = ax.axvline(x[0], color=figures.INK, linewidth=1, zorder=1)

    def show(self, lines: Mapping[str, np.ndarray], place: int) -> None:
        """Bring the lines to these values and the mark to a place."""
        for curve, values in zip(self.curves, lines.values(), strict=True):
            curve.set_ydata(values)
        self.mark.set_xdata([self.x[place]] * 2)


def activity_explorer(
    real: np.ndarray,
    generated: np.ndarray | Mapping[str, np.ndarray],
    real_labels: np.ndarray,
    generated_labels: np.ndarray,
    *,
    frame_rate: float | None = None,
    quantity: str = "activity",
    neurons_per_page: int = 60,
) -> View:
    """Choose a condition, a trial and who wrote it; see it beside a recorded one.

    Below each raster stands the mean over its neurons, frame by frame, and a band with the middle
    eight tenths of all trials of the condition, so that the eye can compare.

    Parameters
    ----------
    real : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    generated : array, or mapping from name to array
        The same of generated trials, whose number may differ; several sets of them by the names of
        the models that wrote them, between which to choose.
    real_labels, generated_labels : (n_trials,) array of int
        Condition of each trial.
    frame_rate : float, optional
        Frames a second in Hz; needed where there is time.
    quantity : str
        What the shade shows, with its unit.
    neurons_per_page : int
        Number of neurons shown at a time.

    Returns
    -------
    View
        The controls "condition", "trial", "source" and "page", and the picture.

    Raises
    ------
    ValueError
        If the sets do not match, or share no condition.
    """
    trials = _Trials(real, generated, real_labels, generated_labels, frame_rate, quantity)
    controls = _controls(trials, neurons_per_page)
    figure, (rasters, rates) = _rasters_above_rates()
    for ax in rasters:
        trials.draw(ax, trials.image("recorded", trials.conditions[0], 0, slice(neurons_per_page)))
        ax.label_outer()

    def redraw() -> None:
        """Show what the controls say."""
        condition = controls["condition"].value
        controls["trial"].max = trials.n_trials(condition) - 1
        first = controls["page"].value * neurons_per_page
        chosen = condition, controls["trial"].value, slice(first, first + neurons_per_page)
        pair = ("recorded", controls["source"].value)
        for name, above, below in zip(pair, rasters, rates, strict=True):
            _replace(above, trials.image(name, *chosen), first, keep_width=trials.has_time)
            line = trials.draw_rate(below, name, *chosen)
            above.set_title(_said_of_trial(name, line, *chosen[:2], has_time=trials.has_time))
            below.set_ylim(0, trials.greatest_rate(condition, chosen[2]))
        rates[0].set_ylabel("share\nactive")
        rates[1].tick_params(labelleft=False)

    hidden = [name for name, wanted in _wanted(trials).items() if not wanted]
    return View(figure, controls, redraw, hidden)


def activity_small_multiples(
    real: np.ndarray,
    generated: np.ndarray,
    real_labels: np.ndarray,
    generated_labels: np.ndarray,
    *,
    frame_rate: float | None = None,
    quantity: str = "activity",
    n_conditions: int = 4,
    neurons_per_page: int = 60,
) -> np.ndarray:
    """Draw rasters as in `activity_explorer` for some conditions: recorded above generated.

    Parameters
    ----------
    real, generated, real_labels, generated_labels, frame_rate, quantity, neurons_per_page
        As in `activity_explorer`.
    n_conditions : int
        Number of columns.

    Returns
    -------
    (2, n_columns) array of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the two sets do not match, or share no condition.
    """
    trials = _Trials(real, generated, real_labels, generated_labels, frame_rate, quantity)
    conditions = trials.conditions[:n_conditions]
    size = (2.0 * len(conditions) + 1.0, 4.6)
    axes = plt.subplots(2, len(conditions), figsize=size, sharey=True, squeeze=False)[1]
    for row, name in zip(axes, trials.sets, strict=True):
        for ax, condition in zip(row, conditions, strict=True):
            trials.draw(ax, trials.image(name, condition, 0, slice(0, neurons_per_page)))
            ax.label_outer()
        row[0].set_ylabel(f"{name}: neuron")
    for ax, condition in zip(axes[0], conditions, strict=True):
        ax.set_title(f"condition {condition}")
    image = axes[0, 0].images[0]
    bar = axes[0, 0].figure.colorbar(image, ax=axes, label=quantity, aspect=32, pad=0.02)
    bar.outline.set_visible(False)
    return axes


class VoxelScores(NamedTuple):
    """How well something is decoded from voxels, to be shown beside the maps.

    Attributes
    ----------
    curves : mapping from kernel to (n_sizes, 3) array
        Score, low and high end of its interval for each size of voxel, in the order of the sizes.
    quantity : str
        What the score is, with its unit.
    chance, single : float, optional
        What guessing gives, and what all single neurons give.
    """

    curves: Mapping[str, np.ndarray]
    quantity: str
    chance: float | None = None
    single: float | None = None


def voxel_explorer(
    responses: np.ndarray,
    positions: np.ndarray,
    pictures: np.ndarray,
    *,
    sizes_um: Sequence[float] = (50, 100, 200, 400),
    depth_um: float = 33.0,
    scores: VoxelScores | None = None,
    names: Sequence[str] | None = None,
    quantity: str = "response (s.d.)",
) -> View:
    """Choose a picture, a size of voxel, a kernel and a plane; see the map of the response to it.

    The Gaussian has a standard deviation of half a voxel. All maps are made at once, and then
    only shown: pass some tens of pictures, not thousands. The colours have one scale for all
    pictures and planes, and another for each size and kernel, since means of more neurons vary
    less.

    Parameters
    ----------
    responses : (n_pictures, n_neurons) array
        Response to each picture, standardised, so that 0 is a neuron's mean.
    positions : (n_neurons, 3) array
        Where the neurons are, x, y, z in µm.
    pictures : (n_pictures, H, W) array
        What was shown.
    sizes_um : sequence of float
        Edges of the voxels along x and y in µm.
    depth_um : float
        Their edge in depth; by default a plane of imaging each.
    scores : VoxelScores, optional
        What is decoded from voxels of each size, drawn below the picture with a mark at the size
        and kernel chosen.
    names : (n_pictures,) sequence of str, optional
        What the pictures are called.
    quantity : str
        What the colour shows, with its unit.

    Returns
    -------
    View
        The controls and the figure. The controls need a running kernel; a still picture of the
        same is drawn by `voxel_small_multiples`.

    Raises
    ------
    ValueError
        If there is not one response, position and name for each picture and neuron, or not one
        score for each size.
    """
    names = [f"picture {k}" for k in range(len(pictures))] if names is None else list(names)
    if len(names) != len(pictures):
        raise ValueError(f"need a name for each of {len(pictures)} pictures; got {len(names)}")
    maps = _voxel_maps(responses, positions, pictures, sizes_um, depth_um)
    controls = _voxel_controls(names, sizes_um, maps[sizes_um[0], "bin"].depths_um)
    figure, axes = _voxel_axes(with_scores=scores is not None)
    _draw_picture(axes["picture"], pictures, 0)
    _draw_map(axes["map"], maps[sizes_um[0], "bin"], 0, 0, positions, quantity)
    # as wide for every scale, since the place of everything is settled once
    axes["map"].images[0].colorbar.formatter = StrMethodFormatter("{x:+.2f}")
    mark = None if scores is None else _draw_scores(axes["scores"], scores, sizes_um)

    def redraw() -> None:
        """Show what the controls say."""
        image, size, kernel, plane = (
            controls[k].value for k in ("image", "size", "kernel", "plane")
        )
        chosen = maps[size, kernel]
        axes["picture"].images[0].set_data(pictures[image])
        axes["picture"].set_title(names[image])
        shown = axes["map"].images[0]
        shown.set_data(chosen.plane(image, plane))
        shown.set_extent(chosen.extent_um)
        shown.set_clim(-chosen.limit, chosen.limit)
        _look_at(axes["map"], positions)
        depth = chosen.depths_um[plane]
        heading = f"{size:g} µm, {KERNELS[kernel]}, z = {depth:.0f} µm"
        axes["map"].set_title(f"{heading}\n{chosen.share(plane)}")
        if mark is not None:
            mark(size, kernel)

    return View(figure, controls, redraw)


def voxel_small_multiples(
    responses: np.ndarray,
    positions: np.ndarray,
    pictures: np.ndarray,
    *,
    sizes_um: Sequence[float] = (50, 100, 200, 400),
    depth_um: float = 33.0,
    image: int = 0,
    plane: int = 0,
    quantity: str = "response (s.d.)",
) -> np.ndarray:
    """Draw what `voxel_explorer` shows, for one picture and plane: a row a size of voxel.

    Parameters
    ----------
    responses, positions, pictures, sizes_um, depth_um, quantity
        As in `voxel_explorer`.
    image : int
        Which picture.
    plane : int
        Which plane of voxels.

    Returns
    -------
    (n_sizes, 2) array of matplotlib.axes.Axes
        Means of bins and Gaussian means; the picture is in the first axes of their figure.

    Raises
    ------
    ValueError
        If there is not one response and position for each picture and neuron.
    """
    maps = _voxel_maps(responses, positions, pictures, sizes_um, depth_um)
    figure = plt.figure(figsize=(7.6, 2.2 * len(sizes_um) + 0.3))
    grid = figure.add_gridspec(len(sizes_um), 3)
    _draw_picture(figure.add_subplot(grid[0, 0]), pictures, image)
    rows = range(len(sizes_um))
    axes = np.array([[figure.add_subplot(grid[row, column]) for column in (1, 2)] for row in rows])
    for (row, column), ax in np.ndenumerate(axes):
        size, kernel = sizes_um[row], list(KERNELS)[column]
        chosen = maps[size, kernel]
        _draw_map(ax, chosen, image, plane, positions, quantity)
        heading = f"{size:g} µm\n{chosen.share(plane)}"
        ax.set_title(f"{KERNELS[kernel]}\n{heading}" if row == 0 else heading, fontsize="small")
        ax.set_ylabel("y (µm)" if column == 0 else "")
        ax.set_xlabel("x (µm)" if row == rows[-1] else "")
    return axes


def synthesis_explorer(
    images: np.ndarray,
    responses: Mapping[str, np.ndarray],
    neurons: Sequence[str],
    norms: Sequence[float],
    steps: Sequence[int],
    *,
    quantity: str = "response (spikes a presentation)",
) -> View:
    """Choose a neuron, a norm and a number of steps; see the image and the responses on the way.

    The greys of an image are symmetric about 0, with one scale for all steps of the same neuron
    and norm, which the bar below tells. Responses along norms have one axis for each neuron,
    responses along steps one for each norm.

    Parameters
    ----------
    images : (n_neurons, n_norms, n_steps, H, W) array
        Images on the way of an ascent, 0 is grey.
    responses : mapping from name to (n_neurons, n_norms, n_steps) array
        Responses to them, of the neuron, or of a model of it, in the order of `figures.SERIES`.
    neurons : (n_neurons,) sequence of str
        What the neurons are called.
    norms : (n_norms,) sequence of float
        Norm that the images are held to, above 0, in ascending order.
    steps : (n_steps,) sequence of int
        Steps of the ascent up to each image.
    quantity : str
        What the responses are, with their unit.

    Returns
    -------
    View
        The controls and the figure. The controls need a running kernel; a still picture of the
        same is drawn by `synthesis_small_multiples`.

    Raises
    ------
    ValueError
        If there is not one image and response for each neuron, norm and step, one of them is not
        finite, norms do not ascend from above 0, or there are more kinds of responses than
        colours.
    """
    ascents = _Ascents(images, responses, neurons, norms, steps)
    controls = _ascent_controls(ascents)
    figure, axes = _ascent_axes()
    ascents.draw([axes["image"]], 0, 0, [0])
    image = axes["image"].images[0]
    bar = {"location": "bottom", "aspect": 30, "pad": 0.01, "label": "pixel (s.d.)"}
    figure.colorbar(image, ax=axes["image"], **bar).outline.set_visible(False)
    axes["image"].set_anchor("S")
    whole = slice(None)
    by_norm = _Along(axes["norm"], ascents.norms, ascents.at(0, whole, 0), "norm", quantity)
    by_step = _Along(axes["step"], ascents.steps, ascents.at(0, 0, whole), "steps", quantity)
    axes["step"].legend_.remove()

    def redraw() -> None:
        """Show what the controls say."""
        neuron, norm, step = chosen = [control.value for control in controls.values()]
        image.set_data(ascents.images[neuron, norm, step])
        image.set_clim(-ascents.limit(neuron, norm), ascents.limit(neuron, norm))
        axes["image"].set_title(ascents.name(*chosen))
        by_norm.show(ascents.at(neuron, whole, step), norm)
        by_step.show(ascents.at(neuron, norm, whole), step)
        axes["norm"].set_ylim(*_ends(list(ascents.at(neuron, whole, whole).values())))
        axes["step"].set_ylim(*_ends(list(ascents.at(neuron, norm, whole).values())))
        axes["norm"].set_title(", ".join(ascents.said(*chosen)), fontsize="small")

    return View(figure, controls, redraw)


def synthesis_small_multiples(
    images: np.ndarray,
    responses: Mapping[str, np.ndarray],
    neurons: Sequence[str],
    norms: Sequence[float],
    steps: Sequence[int],
    *,
    quantity: str = "response (spikes a presentation)",
    neuron: int = 0,
    n_shown: int = 5,
) -> np.ndarray:
    """Draw what `synthesis_explorer` shows, for one neuron: a row a norm, a column a step.

    Parameters
    ----------
    images, responses, neurons, norms, steps, quantity
        As in `synthesis_explorer`.
    neuron : int
        Which neuron.
    n_shown : int
        Number of columns, evenly from the first to the last of the steps.

    Returns
    -------
    (n_norms, n_columns) array of matplotlib.axes.Axes
        The responses are written below each image.

    Raises
    ------
    ValueError
        As `synthesis_explorer`, or there is no such neuron or no column.
    """
    ascents = _Ascents(images, responses, neurons, norms, steps)
    if not 0 <= neuron < len(ascents.neurons) or n_shown < 1:
        raise ValueError(
            f"neuron must be one of 0 ... {len(ascents.neurons) - 1} and n_shown at least 1; got "
            f"{neuron} and {n_shown}"
        )
    shown = np.unique(np.linspace(len(ascents.steps) - 1, 0, n_shown).round().astype(int))
    height = 1.6 * ascents.images.shape[3] / ascents.images.shape[4] + 0.2 * len(responses) + 0.1
    size = (1.6 * len(shown) + 0.4, height * len(ascents.norms) + 0.7)
    figure, axes = plt.subplots(len(ascents.norms), len(shown), figsize=size, squeeze=False)
    for norm, row in enumerate(axes):
        ascents.draw(row, neuron, norm, shown)
        row[0].set_ylabel(f"norm {ascents.norms[norm]:g}")
        for ax, step in zip(row, shown, strict=True):
            ax.set_xlabel("\n".join(ascents.said(neuron, norm, step)))
    for ax, step in zip(axes[0], shown, strict=True):
        ax.set_title(f"step {ascents.steps[step]}")
    figure.suptitle(f"{ascents.neurons[neuron]}: {quantity}", fontsize="medium")
    return axes


def _ascent_controls(ascents: _Ascents) -> dict[str, ipywidgets.Widget]:
    def slider(values: Sequence[float], **options: object) -> ipywidgets.SelectionSlider:
        """Offer a choice of values; fixed where there is only one."""
        places = [(f"{value:g}", place) for place, value in enumerate(values)]
        return ipywidgets.SelectionSlider(options=places, disabled=len(values) == 1, **options)

    return {
        "neuron": ipywidgets.Dropdown(
            options=[(name, place) for place, name in enumerate(ascents.neurons)],
            description="Neuron",
            tooltip="Which neuron the image is made for",
        ),
        "norm": slider(ascents.norms, description="Norm", tooltip="Norm the images are held to"),
        "step": slider(
            ascents.steps,
            description="Steps",
            tooltip="How many steps of the ascent",
            value=len(ascents.steps) - 1,
        ),
    }


def _ascent_axes() -> tuple[Figure, dict[str, Axes]]:
    """The image, beside it the responses along norms, and below these along steps."""
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.04)
    rows = [["image", "norm"], ["image", "step"]]
    return figure, figure.subplot_mosaic(rows, width_ratios=(1.2, 1))


def _ends(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of an axis that holds 0 and all values, with a margin."""
    low, high = min(0.0, np.min(values)), max(0.0, np.max(values))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _wanted(trials: _Trials) -> dict[str, bool]:
    """Which controls have something to choose that shows."""
    return {"trial": trials.has_time, "source": len(trials.sources) > 1}


def _controls(trials: _Trials, neurons_per_page: int) -> dict[str, ipywidgets.Widget]:
    last_page = (trials.n_neurons - 1) // neurons_per_page
    return {
        "condition": ipywidgets.Dropdown(
            options=trials.conditions,
            description="Condition",
            tooltip="Under which condition the trials were recorded and generated",
        ),
        "trial": ipywidgets.IntSlider(
            max=trials.n_trials(trials.conditions[0]) - 1,
            description="Trial",
            tooltip="Which trial of this condition, in order",
        ),
        "source": ipywidgets.Dropdown(
            options=trials.sources,
            description="Written by",
            tooltip="Which model wrote the generated trial",
        ),
        "page": ipywidgets.IntSlider(
            max=last_page,
            description="Neurons",
            tooltip=f"Which page of {neurons_per_page} neurons",
            disabled=last_page == 0,
        ),
    }


def _said_of_trial(
    name: str, line: np.ndarray, condition: int, trial: int, *, has_time: bool
) -> str:
    """Title of a raster: what it shows, and its population rate in numbers."""
    which = f", trial {trial}" if has_time else ""
    rate = f"share active {line.mean():.2f}, at most {line.max():.2f}"
    return f"{name}, condition {condition}{which}\n{rate}"


def _check_trials(
    real: np.ndarray,
    generated: np.ndarray,
    real_labels: np.ndarray,
    generated_labels: np.ndarray,
    frame_rate: float | None,
) -> None:
    """Raise an error that says how two sets of trials do not match."""
    shapes = [np.shape(x)[1:] for x in (real, generated)]
    counts = len(real) == len(real_labels) and len(generated) == len(generated_labels)
    if shapes[0] != shapes[1] or len(shapes[0]) not in (1, 2) or not counts:
        raise ValueError(
            "real and generated must be (trial, neuron) or (trial, time, neuron) alike, with "
            f"one label a trial; got {np.shape(real)} and {np.shape(generated)} with "
            f"{len(real_labels)} and {len(generated_labels)} labels"
        )
    if len(shapes[0]) == 2 and frame_rate is None:
        raise ValueError("activity with a time axis needs frame_rate, in Hz")


class _VoxelMaps(NamedTuple):
    """Maps of all pictures for one size of voxel and one kernel."""

    values: np.ndarray  # (M, D, H, W)
    filled: np.ndarray  # (D, H, W), whether any neuron is in reach
    limit: float  # of the scale of colours
    grid: VoxelGrid

    @property
    def extent_um(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge in µm, the first row at the top."""
        (x, y, _), (width, height, _) = self.grid.origin, self.grid.spacing_um
        n_rows, n_columns = self.grid.shape[1:]
        return x, x + n_columns * width, y + n_rows * height, y

    @property
    def depths_um(self) -> np.ndarray:
        """Depth of the middle of each plane in µm, (D,)."""
        return self.grid.origin[2] + (np.arange(self.grid.shape[0]) + 0.5) * self.grid.spacing_um[2]

    def plane(self, image: int, plane: int) -> np.ma.MaskedArray:
        """What is shown, (H, W)."""
        return np.ma.masked_where(~self.filled[plane], self.values[image, plane])

    def share(self, plane: int) -> str:
        """How much of a plane holds a neuron or has one in reach, and how much of all planes."""
        here, everywhere = self.filled[plane].mean(), self.filled.mean()
        return f"filled: {here:.0%} here, {everywhere:.0%} of all"


def _voxel_maps(
    responses: np.ndarray,
    positions: np.ndarray,
    pictures: np.ndarray,
    sizes_um: Sequence[float],
    depth_um: float,
) -> dict[tuple[float, str], _VoxelMaps]:
    """Maps of each size and kernel."""
    shapes = np.shape(responses), np.shape(positions), np.shape(pictures)
    if [len(s) for s in shapes] != [2, 2, 3] or shapes[0] != (shapes[2][0], shapes[1][0]):
        raise ValueError(
            "need responses (picture, neuron), positions (neuron, 3) and pictures (picture, H, W); "
            f"got {shapes[0]}, {shapes[1]} and {shapes[2]}. Select the responses to the pictures."
        )
    maps = {}
    for size in sizes_um:
        grid = VoxelGrid.covering(positions, (size, size, depth_um))
        for kernel in KERNELS:
            width = np.divide(grid.spacing_um, 2) if kernel == "gaussian" else None
            weights = splat_weights(positions, grid, kernel=kernel, width_um=width)
            filled = (np.diff(weights.matrix.indptr) > 0).reshape(grid.shape)
            values = voxelise(responses, weights)
            limit = float(np.quantile(np.abs(values[:, filled]), 0.995)) or 1.0
            maps[size, kernel] = _VoxelMaps(values, filled, limit, grid)
    return maps


def _voxel_controls(
    names: Sequence[str], sizes_um: Sequence[float], depths_um: np.ndarray
) -> dict[str, ipywidgets.Widget]:
    return {
        "image": ipywidgets.Dropdown(
            options=[(name, place) for place, name in enumerate(names)],
            description="Picture",
            tooltip="Which picture was shown",
            disabled=len(names) == 1,
        ),
        "size": ipywidgets.SelectionSlider(
            options=[(f"{size:g} µm", size) for size in sizes_um],
            description="Voxel",
            tooltip="Edge of a voxel in the plane of imaging",
        ),
        "kernel": ipywidgets.Dropdown(
            options=[(words, kernel) for kernel, words in KERNELS.items()],
            description="Kernel",
            tooltip="Mean of the neurons in a voxel, or of all around it by distance",
        ),
        "plane": ipywidgets.IntSlider(
            max=len(depths_um) - 1,
            description="Plane",
            tooltip=f"Which plane, {depths_um[0]:.0f} to {depths_um[-1]:.0f} µm deep",
            disabled=len(depths_um) == 1,
        ),
    }


def _voxel_axes(*, with_scores: bool) -> tuple[Figure, dict[str, Axes]]:
    """A large map, beside it the picture, below this the scores where there are any."""
    if not with_scores:
        figure, (picture, map_) = _pair(width=7.4, sharey=False)
        return figure, {"picture": picture, "map": map_}
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    rows = [["picture", "map"], ["scores", "map"]]
    axes = figure.subplot_mosaic(rows, width_ratios=(1, 1.35), height_ratios=(1, 1.25))
    return figure, axes


def _draw_scores(
    ax: Axes, scores: VoxelScores, sizes_um: Sequence[float]
) -> Callable[[float, str], None]:
    """Draw the scores of all sizes; what is returned marks one of them."""
    curves = {kernel: np.asarray(curve, dtype=float) for kernel, curve in scores.curves.items()}
    shapes = {kernel: curve.shape for kernel, curve in curves.items()}
    if set(shapes) != set(KERNELS) or set(shapes.values()) != {(len(sizes_um), 3)}:
        raise ValueError(
            f"scores need (score, low, high) for each of {len(sizes_um)} sizes and each kernel "
            f"({', '.join(KERNELS)}); got shapes {shapes}"
        )
    lines = {KERNELS[kernel]: tuple(curve.T) for kernel, curve in curves.items()}
    if scores.single is not None:
        ax.axhline(scores.single, color=figures.CEILING, linewidth=1.2, label="single neurons")
    figures.curves(
        sizes_um,
        lines,
        xlabel="side of a voxel (µm)",
        ylabel=scores.quantity,
        chance=scores.chance,
        ax=ax,
    )
    ax.set_ylim(0, 1.5 * max(scores.single or 0, *(curve.max() for curve in curves.values())))
    ax.legend(loc="upper right", ncols=2, columnspacing=1.0, fontsize="small", labelspacing=0.2)
    ruler = ax.axvline(sizes_um[0], ymax=0.66, color=figures.INK, linewidth=0.8, zorder=1)
    ring = ax.plot([], [], "o", ms=11, mfc="none", mec=figures.INK, mew=1.6)[0]

    def mark(size: float, kernel: str) -> None:
        """Show where the scores are that belong to the map."""
        value, low, high = curves[kernel][list(sizes_um).index(size)]
        ruler.set_xdata([size] * 2)
        ring.set_data([size], [value])
        interval = f"(95 % interval {low:.3f} to {high:.3f})"
        ax.set_title(f"{scores.quantity}: {value:.3f}\n{interval}", fontsize="small")

    return mark


def _draw_picture(ax: Axes, pictures: np.ndarray, image: int) -> None:
    # all on the scale of the first to be drawn, whose middle is the mean of all
    centre = float(np.mean(pictures))
    limit = float(np.quantile(np.abs(pictures - centre), 0.99)) or 1.0
    figures.image_grid(
        pictures[image][None], [f"picture {image}"], centre=centre, limit=limit, axes=[ax]
    )


def _draw_map(
    ax: Axes, maps: _VoxelMaps, image: int, plane: int, positions: np.ndarray, quantity: str
) -> None:
    figures.voxel_planes(
        maps.values[image, plane][None],
        filled=maps.filled[plane][None],
        extent_um=maps.extent_um,
        limit=maps.limit,
        quantity=quantity,
        axes=[ax],
    )
    _look_at(ax, positions)


def _look_at(ax: Axes, positions: np.ndarray) -> None:
    """Show the box of the neurons, which grids of all sizes cover, so that sizes compare."""
    (left, top), (right, bottom) = (end(positions, axis=0)[:2] for end in (np.min, np.max))
    ax.set(xlim=(left, right), ylim=(bottom, top))


class View(ipywidgets.VBox):
    """Controls above a figure, which is drawn again whenever one of them is moved.

    Attributes
    ----------
    controls : mapping from name to ipywidgets.Widget
        All controls, hidden ones too.
    figure : matplotlib.figure.Figure
        What is shown.
    redraw : callable
        Bring the figure to what the controls say.
    """

    def __init__(
        self,
        figure: Figure,
        controls: Mapping[str, ipywidgets.Widget],
        redraw: Callable[[], None],
        hidden: Sequence[str] = (),
    ) -> None:
        self.figure, self.controls, self.redraw = figure, dict(controls), redraw
        self._still = False
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        redraw()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.set_dpi(SCREEN_DPI)
        for control in self.controls.values():
            control.observe(self._show, names="value")
        self._show()
        shown = [control for name, control in self.controls.items() if name not in hidden]
        row = ipywidgets.HBox(shown, layout={"flex_flow": "row wrap"})
        super().__init__([row, self.picture])

    @contextmanager
    def still(self) -> Iterator[None]:
        """Leave the picture as it is while controls are moved."""
        self._still = True
        try:
            yield
        finally:
            self._still = False

    def _show(self, _change: object = None) -> None:
        """Draw again, and hand the picture to the browser."""
        if not self._still:
            self.redraw()
            self.picture.value = _png(self.figure)


def _pair(*, width: float = 8.2, sharey: bool = True) -> tuple[Figure, list[Axes]]:
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(width, 3.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, list(figure.subplots(1, 2, sharey=sharey))


def empty_axes(*axes: Axes) -> None:
    """Take lines and areas off axes, and leave the rest, which takes long to make anew."""
    for ax in axes:
        for artist in (*ax.lines, *ax.collections):
            artist.remove()


def _rasters_above_rates() -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, (row, column)."""
    figure = Figure(figsize=(8.2, 4.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    options = {"sharex": "col", "sharey": "row", "height_ratios": (3, 1)}
    return figure, figure.subplots(2, 2, **options)


def _replace(ax: Axes, image: np.ndarray, first: int, *, keep_width: bool) -> None:
    """Put another image in the place of the one that is shown, its neurons from `first` on."""
    shown = ax.images[0]
    right = shown.get_extent()[1] if keep_width else len(image)
    shown.set_data(image.T)
    shown.set_extent((0, right, first + image.shape[1], first))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # not by savefig, which draws once more to place what has its place already
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
