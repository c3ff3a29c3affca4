"""Views to explore in JupyterLab, each with a still picture of the same for the page.

Both are drawn from the same arrays, so that a page shows what the control shows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from visualcortex import figures
from visualcortex.voxels import VoxelGrid, splat_weights, voxelise

SCREEN_DPI = 110
KERNELS = {"bin": "means of bins", "gaussian": "Gaussian means"}


class _Trials:
    """Real and generated trials of each stimulus, as images (neuron page by neuron page)."""

    def __init__(
        self,
        real: np.ndarray,
        generated: np.ndarray,
        real_labels: np.ndarray,
        generated_labels: np.ndarray,
        frame_rate: float | None,
        quantity: str,
    ) -> None:
        sets = {"real": (real, real_labels), "generated": (generated, generated_labels)}
        shapes = [np.shape(x)[1:] for x, _ in sets.values()]
        counts = [len(x) == len(labels) for x, labels in sets.values()]
        if shapes[0] != shapes[1] or len(shapes[0]) not in (1, 2) or not all(counts):
            raise ValueError(
                "real and generated must be (trial, neuron) or (trial, time, neuron) alike, with "
                f"one label a trial; got {np.shape(real)} and {np.shape(generated)} with "
                f"{len(real_labels)} and {len(generated_labels)} labels"
            )
        if len(shapes[0]) == 2 and frame_rate is None:
            raise ValueError("activity with a time axis needs frame_rate, in Hz")
        self.sets = {k: (np.asarray(x), np.asarray(labels)) for k, (x, labels) in sets.items()}
        self.frame_rate, self.quantity = frame_rate, quantity
        self.has_time, self.n_neurons = len(shapes[0]) == 2, shapes[0][-1]
        self.stimuli = np.intersect1d(real_labels, generated_labels).tolist()
        if not self.stimuli:
            raise ValueError("real and generated trials have no stimulus in common")

    def n_trials(self, stimulus: int) -> int:
        """Trials of a stimulus that both sets have."""
        return min(int((labels == stimulus).sum()) for _, labels in self.sets.values())

    def image(self, name: str, stimulus: int, trial: int, neurons: slice) -> np.ndarray:
        """What is shown: a trial where there is time, else all trials of the stimulus."""
        activity, labels = self.sets[name]
        shown = activity[labels == stimulus]
        return (shown[trial] if self.has_time else shown)[:, neurons]

    def draw(self, ax: Axes, image: np.ndarray) -> None:
        """Draw such an image for the first time."""
        seconds = len(image) / self.frame_rate if self.has_time else None
        figures.raster(image, ax=ax, seconds=seconds, quantity=self.quantity, colour_bar=False)


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

    def limit(self, neuron: int, norm: int) -> float:
        """Distance from grey at which the images of an ascent are black and white."""
        return float(np.abs(self.images[neuron, norm]).max()) or 1.0

    def name(self, neuron: int, norm: int, step: int) -> str:
        """Which image it is."""
        return f"{self.neurons[neuron]}, norm {self.norms[norm]:g}\nstep {self.steps[step]}"

    def said(self, neuron: int, norm: int, step: int) -> list[str]:
        """What responds how to an image."""
        return [f"{k} {v[neuron, norm, step]:.3g}" for k, v in self.responses.items()]

    def draw(self, axes: Sequence[Axes], neuron: int, norm: int, steps: Sequence[int]) -> None:
        """Draw images of one ascent."""
        images, limit = self.images[neuron, norm, steps], self.limit(neuron, norm)
        figures.image_grid(images, limit=limit, axes=axes)


def activity_explorer(
    real: np.ndarray,
    generated: np.ndarray,
    real_labels: np.ndarray,
    generated_labels: np.ndarray,
    *,
    frame_rate: float | None = None,
    quantity: str = "activity",
    neurons_per_page: int = 60,
) -> ipywidgets.VBox:
    """Choose a stimulus, a trial and a page of neurons; see them recorded and generated.

    Parameters
    ----------
    real, generated : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1]; the numbers of trials may differ.
    real_labels, generated_labels : (n_trials,) array of int
        Stimulus of each trial.
    frame_rate : float, optional
        Frames a second in Hz; needed where there is time.
    quantity : str
        What the shade shows, with its unit.
    neurons_per_page : int
        Number of neurons shown at a time.

    Returns
    -------
    ipywidgets.VBox
        The controls and the picture. Without a running kernel it does nothing:
        `activity_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If the two sets do not match, or share no stimulus.
    """
    trials = _Trials(real, generated, real_labels, generated_labels, frame_rate, quantity)
    controls = _controls(trials, neurons_per_page)
    figure, axes = _pair()
    for ax, name in zip(axes, trials.sets, strict=True):
        trials.draw(ax, trials.image(name, trials.stimuli[0], 0, slice(0, neurons_per_page)))
        ax.set_title(name)
        ax.label_outer()

    def redraw() -> None:
        """Show what the controls say."""
        stimulus = controls["stimulus"].value
        controls["trial"].max = trials.n_trials(stimulus) - 1
        first = controls["page"].value * neurons_per_page
        for ax, name in zip(axes, trials.sets, strict=True):
            neurons = slice(first, first + neurons_per_page)
            image = trials.image(name, stimulus, controls["trial"].value, neurons)
            _replace(ax, image, first, keep_width=trials.has_time)
            ax.set_title(f"{name}, stimulus {stimulus}")

    hidden = () if trials.has_time else ("trial",)
    return _view(figure, controls, redraw, hidden)


def activity_small_multiples(
    real: np.ndarray,
    generated: np.ndarray,
    real_labels: np.ndarray,
    generated_labels: np.ndarray,
    *,
    frame_rate: float | None = None,
    quantity: str = "activity",
    n_stimuli: int = 4,
    neurons_per_page: int = 60,
) -> np.ndarray:
    """Draw what `activity_explorer` shows, for the first few stimuli: real above generated.

    Parameters
    ----------
    real, generated, real_labels, generated_labels, frame_rate, quantity, neurons_per_page
        As in `activity_explorer`.
    n_stimuli : int
        Number of columns.

    Returns
    -------
    (2, n_columns) array of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the two sets do not match, or share no stimulus.
    """
    trials = _Trials(real, generated, real_labels, generated_labels, frame_rate, quantity)
    stimuli = trials.stimuli[:n_stimuli]
    size = (2.0 * len(stimuli) + 1.0, 4.6)
    axes = plt.subplots(2, len(stimuli), figsize=size, sharey=True, squeeze=False)[1]
    for row, name in zip(axes, trials.sets, strict=True):
        for ax, stimulus in zip(row, stimuli, strict=True):
            trials.draw(ax, trials.image(name, stimulus, 0, slice(0, neurons_per_page)))
            ax.label_outer()
        row[0].set_ylabel(f"{name}: neuron")
    for ax, stimulus in zip(axes[0], stimuli, strict=True):
        ax.set_title(f"stimulus {stimulus}")
    image = axes[0, 0].images[0]
    bar = axes[0, 0].figure.colorbar(image, ax=axes, label=quantity, aspect=32, pad=0.02)
    bar.outline.set_visible(False)
    return axes


def voxel_explorer(
    responses: np.ndarray,
    positions: np.ndarray,
    pictures: np.ndarray,
    *,
    sizes_um: Sequence[float] = (50, 100, 200, 400),
    depth_um: float = 33.0,
    scores: Mapping[float, Mapping[str, float]] | None = None,
    quantity: str = "response (s.d.)",
) -> ipywidgets.VBox:
    """Choose a picture, a size of voxel, a kernel and a plane; see the map of the response to it.

    All maps are made at once, and then only shown: pass some tens of pictures, not thousands. The
    colours have one scale for all pictures and planes, and another for each size and kernel,
    since means of more neurons vary less.

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
    scores : mapping from size to (name to number), optional
        What is known of decoding from voxels of a size, written below the map.
    quantity : str
        What the colour shows, with its unit.

    Returns
    -------
    ipywidgets.VBox
        The controls and the figure. Without a running kernel it does nothing:
        `voxel_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If there is not one response and position for each picture and neuron, or scores are of
        other sizes.
    """
    unknown = set(scores or {}) - set(sizes_um)
    if unknown:
        raise ValueError(f"scores are of {sorted(unknown)} µm, not among {list(sizes_um)}")
    maps = _voxel_maps(responses, positions, pictures, sizes_um, depth_um)
    controls = _voxel_controls(len(pictures), sizes_um, maps[sizes_um[0], "bin"].depths_um)
    figure, axes = _pair(width=7.4, sharey=False)
    _draw_picture(axes[0], pictures, 0)
    _draw_map(axes[1], maps[sizes_um[0], "bin"], 0, 0, positions, quantity)

    def redraw() -> None:
        """Show what the controls say."""
        image, size, kernel, plane = (
            controls[k].value for k in ("image", "size", "kernel", "plane")
        )
        chosen = maps[size, kernel]
        axes[0].images[0].set_data(pictures[image])
        axes[0].set_title(f"picture {image}")
        shown = axes[1].images[0]
        shown.set_data(chosen.plane(image, plane))
        shown.set_extent(chosen.extent_um)
        shown.set_clim(-chosen.limit, chosen.limit)
        _look_at(axes[1], positions)
        depth = chosen.depths_um[plane]
        axes[1].set_title(f"{KERNELS[kernel]}, z = {depth:.0f} µm\n{chosen.share(plane)}")
        known = (scores or {}).get(size, {})
        below = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
        axes[1].set_xlabel(f"x (µm)\n{below}" if scores else "x (µm)")

    return _view(figure, controls, redraw)


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
) -> ipywidgets.VBox:
    """Choose a neuron, a norm and a number of steps; see the image and the responses on the way.

    The greys of an image are symmetric about 0, with one scale for all steps of the same neuron
    and norm; the axis of the responses is the same for all norms of a neuron.

    Parameters
    ----------
    images : (n_neurons, n_norms, n_steps, H, W) array
        Images on the way of an ascent, 0 is grey.
    responses : mapping from name to (n_neurons, n_norms, n_steps) array
        Responses to them, of the neuron, or of a model of it, in the order of `figures.SERIES`.
    neurons : (n_neurons,) sequence of str
        What the neurons are called.
    norms : (n_norms,) sequence of float
        Norm that the images are held to.
    steps : (n_steps,) sequence of int
        Steps of the ascent up to each image.
    quantity : str
        What the responses are, with their unit.

    Returns
    -------
    ipywidgets.VBox
        The controls and the figure. Without a running kernel it does nothing:
        `synthesis_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If there is not one image and response for each neuron, norm and step, one of them is not
        finite, or there are more kinds of responses than colours.
    """
    ascents = _Ascents(images, responses, neurons, norms, steps)
    controls = _ascent_controls(ascents)
    figure, axes = _pair(width=8.6, sharey=False)
    ascents.draw(axes[:1], 0, 0, [0])
    lines = {name: values[0, 0] for name, values in ascents.responses.items()}
    figures.curves(ascents.steps, lines, xlabel="steps of ascent", ylabel=quantity, ax=axes[1])
    curves = axes[1].lines[: len(lines)]
    mark = axes[1].axvline(ascents.steps[0], color=figures.INK, linewidth=1, zorder=1)

    def redraw() -> None:
        """Show what the controls say."""
        neuron, norm, step = chosen = [control.value for control in controls.values()]
        image = axes[0].images[0]
        image.set_data(ascents.images[neuron, norm, step])
        image.set_clim(-ascents.limit(neuron, norm), ascents.limit(neuron, norm))
        axes[0].set_title(ascents.name(*chosen))
        for line, values in zip(curves, ascents.responses.values(), strict=True):
            line.set_ydata(values[neuron, norm])
        mark.set_xdata([ascents.steps[step]] * 2)
        axes[1].set_ylim(*_ends([values[neuron] for values in ascents.responses.values()]))
        axes[1].set_title("\n".join(ascents.said(*chosen)))

    return _view(figure, controls, redraw)


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


def _ends(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of an axis that holds 0 and all values, with a margin."""
    low, high = min(0.0, np.min(values)), max(0.0, np.max(values))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _controls(trials: _Trials, neurons_per_page: int) -> dict[str, ipywidgets.Widget]:
    last_page = (trials.n_neurons - 1) // neurons_per_page
    return {
        "stimulus": ipywidgets.Dropdown(
            options=trials.stimuli, description="Stimulus", tooltip="Which stimulus was shown"
        ),
        "trial": ipywidgets.IntSlider(
            max=trials.n_trials(trials.stimuli[0]) - 1,
            description="Trial",
            tooltip="Which trial of this stimulus, in order",
        ),
        "page": ipywidgets.IntSlider(
            max=last_page,
            description="Neurons",
            tooltip=f"Which page of {neurons_per_page} neurons",
            disabled=last_page == 0,
        ),
    }


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
            weights = splat_weights(positions, grid, kernel=kernel)
            filled = (np.diff(weights.matrix.indptr) > 0).reshape(grid.shape)
            values = voxelise(responses, weights)
            limit = float(np.quantile(np.abs(values[:, filled]), 0.995)) or 1.0
            maps[size, kernel] = _VoxelMaps(values, filled, limit, grid)
    return maps


def _voxel_controls(
    n_pictures: int, sizes_um: Sequence[float], depths_um: np.ndarray
) -> dict[str, ipywidgets.Widget]:
    return {
        "image": ipywidgets.IntSlider(
            max=n_pictures - 1,
            description="Picture",
            tooltip="Which picture was shown",
            disabled=n_pictures == 1,
        ),
        "size": ipywidgets.Dropdown(
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


def _view(
    figure: Figure,
    controls: Mapping[str, ipywidgets.Widget],
    redraw: Callable[[], None],
    hidden: Sequence[str] = (),
) -> ipywidgets.VBox:
    """Put the controls above the figure, which `redraw` changes whenever one of them is moved."""
    picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})
    redraw()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    figure.set_dpi(SCREEN_DPI)

    def show(_change: object = None) -> None:
        """Draw again, and hand the picture to the browser."""
        redraw()
        picture.value = _png(figure)

    for control in controls.values():
        control.observe(show, names="value")
    show()
    shown = [control for name, control in controls.items() if name not in hidden]
    return ipywidgets.VBox([ipywidgets.HBox(shown, layout={"flex_flow": "row wrap"}), picture])


def _pair(*, width: float = 8.2, sharey: bool = True) -> tuple[Figure, list[Axes]]:
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(width, 3.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, list(figure.subplots(1, 2, sharey=sharey))


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
