"""Calcium traces beside true and inferred spikes, neuron by neuron, live and still.

They show arrays that were computed before: moving a control infers nothing anew.
"""

from __future__ import annotations

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualcortex import figures
from visualcortex.evaluation.deconvolution import EventMatch, activity_onsets, match_events
from visualcortex.widgets import View

TOLERANCE = 0.1  # s: how far a found event may lie from a true one
N_STEPS = 100  # positions of the slider of the threshold


class _Traces:
    """Traces, true spikes and inferred activity of the same neurons and frames."""

    def __init__(
        self,
        traces: np.ndarray,
        spikes: np.ndarray,
        inferred: np.ndarray,
        time: np.ndarray,
        offset: float,
    ) -> None:
        self.traces, self.spikes, self.inferred = (
            np.asarray(x, dtype=float) for x in (traces, spikes, inferred)
        )
        self.time, self.offset = np.asarray(time, dtype=float), offset
        _check_traces(self.traces, self.spikes, self.inferred, self.time)

    def reach(self, neuron: int) -> float:
        """Largest inferred activity of a neuron, 1 where there is none."""
        return float(np.nanmax(self.inferred[neuron])) or 1.0

    def match(self, neuron: int, threshold: float, chosen: np.ndarray) -> EventMatch:
        """Match what comes above the threshold to the onsets of true spikes, in these frames."""
        time = self.time[chosen]
        true = activity_onsets(self.spikes[neuron, chosen], time)
        found = activity_onsets(self.inferred[neuron, chosen], time, threshold)
        return match_events(true, found, tolerance=TOLERANCE, offset=self.offset)

    def draw(
        self, axes: tuple[Axes, Axes], neuron: int, threshold: float, chosen: np.ndarray
    ) -> None:
        """Draw one stretch of a neuron, afresh: the trace above, spikes and inference below."""
        above, below = axes
        above.clear()
        below.clear()
        time = self.time[chosen]
        above.plot(time, self.traces[neuron, chosen], color=figures.INK, linewidth=0.8)
        inferred = self.inferred[neuron, chosen] / self.reach(neuron)
        below.vlines(time, 0, inferred, color=figures.GENERATED, linewidth=1.2)
        fired = self.spikes[neuron, chosen] > 0
        style = {"linestyle": "", "marker": "|", "markersize": 9, "color": figures.REAL}
        below.plot(time[fired], np.full(fired.sum(), -0.12), **style)
        level = threshold / self.reach(neuron)
        below.axhline(level, color=figures.CHANCE, linestyle="--", linewidth=0.8)
        below.set(ylim=(-0.25, 1.05), xlim=(time[0], time[-1]), xlabel="time (s)")
        above.set_xlim(time[0], time[-1])
        above.tick_params(labelbottom=False)
        match = self.match(neuron, threshold, chosen)
        above.set_title(
            f"neuron {neuron}: {len(match.lags)} of {match.n_true} onsets\n"
            f"found, {match.n_false} false"
        )


def trace_explorer(
    traces: np.ndarray,
    spikes: np.ndarray,
    inferred: np.ndarray,
    time: np.ndarray,
    *,
    offset: float = 0.0,
    seconds: float = 20.0,
) -> View:
    """Choose a neuron, a threshold and a time; see trace, true spikes and what is inferred.

    What comes above the threshold within a tenth of a second of an onset of spikes counts as
    found.

    Parameters
    ----------
    traces, spikes, inferred : (n_neurons, n_frames) arrays
        Calcium, true spikes in each frame, and inferred activity, in any unit; NaN at the end
        where a neuron was recorded for less long.
    time : (n_frames,) array
        s.
    offset : float
        Delay of the inference that is taken off before it is compared, s.
    seconds : float
        Length of the stretch that is shown.

    Returns
    -------
    View
        The controls and the figure. Without a running kernel it does nothing:
        `trace_small_multiples` is for the page.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, or a neuron is silent in all its frames.
    """
    shown = _Traces(traces, spikes, inferred, time, offset)
    controls = _controls(shown, seconds)
    figure = Figure(figsize=(8.2, 3.6), layout="constrained")
    axes = tuple(figure.subplots(2, 1, height_ratios=(3, 2)))

    def redraw() -> None:
        """Show what the controls say."""
        neuron = controls["neuron"].value
        threshold = controls["threshold"].value / N_STEPS * shown.reach(neuron)
        start = shown.time[0] + controls["start"].value
        chosen = (shown.time >= start) & (shown.time < start + seconds)
        shown.draw(axes, neuron, threshold, chosen)
        _label(axes)

    return View(figure, controls, redraw)


def trace_small_multiples(
    traces: np.ndarray,
    spikes: np.ndarray,
    inferred: np.ndarray,
    time: np.ndarray,
    *,
    offset: float = 0.0,
    seconds: float = 20.0,
    neuron: int = 0,
    thresholds: tuple[float, ...] = (0.0, 0.1, 0.3),
) -> Figure:
    """Draw what `trace_explorer` shows of the first stretch of a neuron, a column a threshold.

    Parameters
    ----------
    traces, spikes, inferred, time, offset, seconds
        As in `trace_explorer`.
    neuron : int
        Which neuron.
    thresholds : tuple of float
        As parts of its largest inferred activity.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `trace_explorer`, or there is no such neuron or no threshold.
    """
    shown = _Traces(traces, spikes, inferred, time, offset)
    if neuron not in range(len(shown.traces)) or not thresholds:
        raise ValueError(
            f"need a neuron from 0 to {len(shown.traces) - 1} and a threshold or more; got "
            f"{neuron} and {thresholds}. Choose others."
        )
    size = (3.1 * len(thresholds) + 0.6, 3.3)
    figure = plt.figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(thresholds), squeeze=False, height_ratios=(3, 2))
    chosen = shown.time < shown.time[0] + seconds
    for axes, threshold in zip(grid.T, thresholds, strict=True):
        shown.draw(tuple(axes), neuron, threshold * shown.reach(neuron), chosen)
    _label(tuple(grid[:, 0]))
    return figure


def _label(axes: tuple[Axes, Axes]) -> None:
    axes[0].set_ylabel("trace")
    axes[1].set_ylabel("inferred,\nspikes")


def _controls(shown: _Traces, seconds: float) -> dict[str, ipywidgets.Widget]:
    """Controls for a neuron, a threshold and a time."""
    last = max(int(np.ptp(shown.time) - seconds), 0)
    return {
        "neuron": ipywidgets.IntSlider(
            max=len(shown.traces) - 1,
            description="Neuron",
            tooltip="Whose trace is shown",
            disabled=len(shown.traces) == 1,
        ),
        "threshold": ipywidgets.IntSlider(
            value=10,
            max=N_STEPS,
            description="Threshold",
            tooltip="In hundredths of the neuron's largest inferred activity",
        ),
        "start": ipywidgets.IntSlider(
            max=last,
            description="From (s)",
            tooltip="Where the stretch that is shown begins",
            disabled=last == 0,
        ),
    }


def _check_traces(
    traces: np.ndarray, spikes: np.ndarray, inferred: np.ndarray, time: np.ndarray
) -> None:
    """Raise an error that says which array does not fit the others."""
    shapes = [x.shape for x in (traces, spikes, inferred)]
    if traces.ndim != 2 or 0 in traces.shape or len({*shapes, (len(traces), *time.shape)}) > 1:
        raise ValueError(
            f"traces, spikes and inferred must be (neuron, frame), with a time for each frame; "
            f"got {shapes} and {time.shape}. Take all from one recording."
        )
    if not np.isfinite(inferred).any(axis=1).all() or not (np.diff(time) > 0).all():
        raise ValueError(
            "every neuron must have inferred activity, and time must go up; one has none, or "
            "time does not. Leave out that neuron, or sort the frames."
        )
