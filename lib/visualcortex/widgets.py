"""Views to explore in JupyterLab, each with a still picture of the same for the page.

Both are drawn by the same function, so that a page shows what the control shows.
"""

from __future__ import annotations

import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualcortex import figures


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
    picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})

    figure, axes = _pair()
    for ax, name in zip(axes, trials.sets, strict=True):
        trials.draw(ax, trials.image(name, trials.stimuli[0], 0, slice(0, neurons_per_page)))
        ax.set_title(name)
        ax.label_outer()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def redraw(_change: object = None) -> None:
        stimulus = controls["stimulus"].value
        controls["trial"].max = trials.n_trials(stimulus) - 1
        first = controls["page"].value * neurons_per_page
        for ax, name in zip(axes, trials.sets, strict=True):
            neurons = slice(first, first + neurons_per_page)
            image = trials.image(name, stimulus, controls["trial"].value, neurons)
            _replace(ax, image, first, keep_width=trials.has_time)
            ax.set_title(f"{name}, stimulus {stimulus}")
        picture.value = _png(figure)

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    shown = [c for k, c in controls.items() if k != "trial" or trials.has_time]
    return ipywidgets.VBox([ipywidgets.HBox(shown, layout={"flex_flow": "row wrap"}), picture])


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


def _pair() -> tuple[Figure, list[Axes]]:
    # not through pyplot: a notebook would show the figure a second time, and keep it
    figure = Figure(figsize=(8.2, 3.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, list(figure.subplots(1, 2, sharey=True))


def _replace(ax: Axes, image: np.ndarray, first: int, *, keep_width: bool) -> None:
    """Put another image in the place of the one that is shown, its neurons from `first` on."""
    shown = ax.images[0]
    right = shown.get_extent()[1] if keep_width else len(image)
    shown.set_data(image.T)
    shown.set_extent((0, right, first + image.shape[1], first))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # at the size of the screen and without the tight box, which would draw the figure twice
    figure.savefig(buffer, format="png", dpi=110, bbox_inches=figure.bbox_inches)
    return buffer.getvalue()
