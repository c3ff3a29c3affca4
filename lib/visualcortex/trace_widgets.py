"""Calcium traces beside true events and inferred activity, neuron by neuron, live and still.

They show arrays that were computed before: moving a control infers nothing anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualcortex import figures
from visualcortex.evaluation.deconvolution import activity_onsets, isolated_lags
from visualcortex.widgets import View, empty_axes

TOLERANCE = 0.1  # s: how far a found event may lie from a true one
SWEPT = np.concatenate([[0, 0.01, 0.02], np.arange(0.04, 1.01, 0.04)])  # parts of the largest
STYLES = {
    "found": {"color": figures.REAL, "marker": "|", "markersize": 9},
    "missed": {"color": figures.SERIES[3], "marker": "x", "markersize": 5},
    "false": {"color": figures.GENERATED, "marker": "v", "markersize": 5},
}
HEIGHTS = {"found": -0.16, "missed": -0.16, "false": -0.38}  # of the marks below the activity


class Verdict(NamedTuple):
    """Times in s of true events that were found and missed, and of false ones."""

    found: np.ndarray
    missed: np.ndarray
    false: np.ndarray

    def within(self, low: float, high: float) -> Verdict:
        """Leave only what lies in a stretch."""
        return Verdict(*(x[(x >= low) & (x < high)] for x in self))

    @property
    def f_score(self) -> float:
        """Harmonic mean of sensitivity and precision; 0 if there is no event."""
        pairs = len(self.found)
        wrong = len(self.missed) + len(self.false)
        return 2 * pairs / (2 * pairs + wrong) if pairs + wrong else 0.0

    @property
    def words(self) -> str:
        """How many of each."""
        return ", ".join(f"{len(times)} {name}" for name, times in self._asdict().items())


class _Traces:
    """Traces, true events and inferred activity of the same neurons."""

    def __init__(
        self,
        traces: np.ndarray,
        events: Sequence[np.ndarray],
        inferred: np.ndarray,
        time: np.ndarray,
        offset: float | None,
    ) -> None:
        self.traces, self.inferred = (np.asarray(x, dtype=float) for x in (traces, inferred))
        self.time = np.asarray(time, dtype=float)
        self.events = [np.asarray(times, dtype=float) for times in events]
        _check_traces(self.traces, self.events, self.inferred, self.time)
        self.offset = self._delay() if offset is None else offset
        self._swept: dict[int, list[Verdict]] = {}

    def reach(self, neuron: int) -> float:
        """Largest inferred activity of a neuron, 1 where there is none."""
        return float(np.nanmax(self.inferred[neuron])) or 1.0

    def judge(self, neuron: int, threshold: float) -> Verdict:
        """Hold what comes above this part of the largest activity against the true events."""
        level = threshold * self.reach(neuron)
        onsets = activity_onsets(self.inferred[neuron], self.time, level)
        true = self.events[neuron]
        hits, used = _pairs(true, onsets - self.offset, TOLERANCE)
        return Verdict(true[hits], true[~hits], onsets[~used])

    def sweep(self, neuron: int) -> list[Verdict]:
        """Judge a neuron at all thresholds of `SWEPT`, once."""
        if neuron not in self._swept:
            self._swept[neuron] = [self.judge(neuron, part) for part in SWEPT]
        return self._swept[neuron]

    def best(self) -> float:
        """Threshold of `SWEPT` with the greatest sum of F-scores over neurons."""
        neurons = range(len(self.traces))
        scores = [[verdict.f_score for verdict in self.sweep(neuron)] for neuron in neurons]
        return float(SWEPT[np.sum(scores, axis=0).argmax()])

    def minutes(self, neuron: int) -> float:
        """How long a neuron was recorded."""
        step = self.time[1] - self.time[0]
        return float(np.isfinite(self.inferred[neuron]).sum() * step / 60)

    def _delay(self) -> float:
        """Median lag of the nearest inferred event to true ones that stand alone, s."""
        lags = []
        for neuron, true in enumerate(self.events):
            onsets = activity_onsets(self.inferred[neuron], self.time, 0.1 * self.reach(neuron))
            lags.append(isolated_lags(true, onsets, silence=0.5, window=0.25))
        known = np.concatenate(lags)
        known = known[np.isfinite(known)]
        return float(np.median(known)) if len(known) else 0.0

    def draw(
        self,
        axes: tuple[Axes, Axes],
        neuron: int,
        threshold: float,
        stretch: tuple[float, float],
    ) -> Verdict:
        """Draw a stretch of a neuron afresh, activity below the trace; return what is seen."""
        above, below = axes
        empty_axes(above, below)
        chosen = (self.time >= stretch[0]) & (self.time < stretch[1])
        time, trace = self.time[chosen], self.traces[neuron, chosen]
        few = {"marker": ".", "markersize": 4} if chosen.sum() < 200 else {}
        above.plot(time, trace, color=figures.INK, linewidth=0.8, **few)
        above.set(xlim=stretch, ylim=_ends(trace))
        _draw_stems(below, time, self.inferred[neuron, chosen] / self.reach(neuron))
        below.axhline(threshold, color=figures.CHANCE, linestyle="--", linewidth=1)
        below.set(ylim=(-0.5, 1.05), xlim=stretch)
        seen = self.judge(neuron, threshold).within(*stretch)
        for name, times in seen._asdict().items():
            heights = np.full(len(times), HEIGHTS[name])
            below.plot(times, heights, linestyle="", label=name, **STYLES[name])
        return seen


def trace_explorer(
    traces: np.ndarray,
    events: Sequence[np.ndarray],
    inferred: np.ndarray,
    time: np.ndarray,
    *,
    offset: float | None = None,
    seconds: float = 20.0,
) -> View:
    """Choose a neuron, a threshold and a time; see which events are found, missed and false.

    What comes above the threshold within a tenth of a second of a true event, one to one, has found
    it. Beside the stretch, the same is counted over all of the neuron's recording, at every
    threshold.

    Parameters
    ----------
    traces, inferred : (n_neurons, n_frames) arrays
        Calcium and inferred activity, in any unit; NaN at the end where a neuron was recorded for
        less long.
    events : sequence of arrays
        Times of the true events of each neuron in s, sorted, of `evaluation.group_events`.
    time : (n_frames,) array
        s.
    offset : float, optional
        Delay of the inference that is taken off before it is compared, s; by default its median
        lag to events that stand alone.
    seconds : float
        Length of the stretch that is shown.

    Returns
    -------
    View
        The controls "neuron", "threshold" and "start", and the figure.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, or a neuron is silent in all its frames.
    """
    shown = _Traces(traces, events, inferred, time, offset)
    controls = {
        "neuron": _neuron_control(shown),
        "threshold": ipywidgets.FloatSlider(
            value=0.1,
            max=1.0,
            step=0.01,
            readout_format=".2f",
            description="Threshold",
            tooltip="As a part of the neuron's largest inferred activity",
        ),
        "start": _start_control(shown, seconds),
    }
    figure, axes, beside = _beside_a_stretch()
    beside.set(xlim=(-0.02, 1.02), xlabel="threshold (of the largest)")

    def redraw() -> None:
        """Show what the controls say."""
        neuron, threshold, start = (controls[k].value for k in ("neuron", "threshold", "start"))
        start += shown.time[0]
        seen = shown.draw(axes, neuron, threshold, (start, start + seconds))
        axes[0].set_title(f"neuron {neuron}, threshold {threshold:.2f}\nshown: {seen.words}")
        verdicts, minutes = shown.sweep(neuron), shown.minutes(neuron)
        _draw_counts(beside, SWEPT, verdicts, [minutes] * len(SWEPT), threshold)
        score = shown.judge(neuron, threshold).f_score
        beside.set_title(f"whole recording\nF-score {score:.2f}")

    return View(figure, controls, redraw)


def rate_explorer(
    recordings: Mapping[float, tuple[np.ndarray, np.ndarray, np.ndarray]],
    events: Sequence[np.ndarray],
    *,
    seconds: float = 6.0,
) -> View:
    """Choose a frame rate and a neuron; see what slow frames leave of its events.

    At each rate the delay is taken off, and the threshold is that with the best F-score of all
    neurons together, the true events in sight: what is lost then is lost to the frames.

    Parameters
    ----------
    recordings : mapping from frame rate to (traces, inferred, time)
        The same neurons at each rate in Hz, arrays as in `trace_explorer`.
    events : sequence of arrays
        Times of the true events of each neuron in s, sorted.
    seconds : float
        Length of the stretch that is shown.

    Returns
    -------
    View
        The controls "rate", "neuron" and "start", and the figure.

    Raises
    ------
    ValueError
        If there are not two frame rates or more, or arrays of one do not fit each other.
    """
    rates = sorted(recordings)
    if len(rates) < 2:
        raise ValueError(f"need two frame rates or more, to compare; got {rates}. Add one.")
    shown = {}
    for rate in rates:
        traces, inferred, time = recordings[rate]
        shown[rate] = _Traces(traces, events, inferred, time, None)
    thresholds = {rate: one.best() for rate, one in shown.items()}
    controls = {
        "rate": ipywidgets.SelectionSlider(
            options=[(f"{rate:.3g} Hz", rate) for rate in rates],
            value=rates[-1],
            description="Frame rate",
            tooltip="How many frames a second the same neurons are seen in",
        ),
        "neuron": _neuron_control(shown[rates[0]]),
        "start": _start_control(shown[rates[0]], seconds),
    }
    figure, axes, beside = _beside_a_stretch()
    beside.set(xscale="log", xlim=(rates[0] / 1.2, 1.2 * rates[-1]), xlabel="frames a second (Hz)")
    beside.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    beside.set_xticks([], minor=True)

    def redraw() -> None:
        """Show what the controls say."""
        rate, neuron, start = (controls[k].value for k in ("rate", "neuron", "start"))
        start += shown[rate].time[0]
        seen = shown[rate].draw(axes, neuron, thresholds[rate], (start, start + seconds))
        axes[0].set_title(f"neuron {neuron}, {rate:.3g} frames a second\nshown: {seen.words}")
        verdicts = [one.judge(neuron, thresholds[r]) for r, one in shown.items()]
        minutes = [one.minutes(neuron) for one in shown.values()]
        _draw_counts(beside, rates, verdicts, minutes, rate)
        beside.set_title(f"whole recording\nF-score {verdicts[rates.index(rate)].f_score:.2f}")

    return View(figure, controls, redraw)


def trace_small_multiples(
    traces: np.ndarray,
    events: Sequence[np.ndarray],
    inferred: np.ndarray,
    time: np.ndarray,
    *,
    offset: float | None = None,
    seconds: float = 20.0,
    neuron: int = 0,
    thresholds: tuple[float, ...] = (0.0, 0.1, 0.3),
) -> Figure:
    """Draw what `trace_explorer` shows of the first stretch of a neuron, a column a threshold.

    Parameters
    ----------
    traces, events, inferred, time, offset, seconds
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
    shown = _Traces(traces, events, inferred, time, offset)
    if neuron not in range(len(shown.traces)) or not thresholds:
        raise ValueError(
            f"need a neuron from 0 to {len(shown.traces) - 1} and a threshold or more; got "
            f"{neuron} and {thresholds}. Choose others."
        )
    size = (3.1 * len(thresholds) + 0.6, 3.5)
    figure = plt.figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(thresholds), squeeze=False, height_ratios=(3, 2))
    stretch = (shown.time[0], shown.time[0] + seconds)
    for axes, threshold in zip(grid.T, thresholds, strict=True):
        seen = shown.draw(tuple(axes), neuron, threshold, stretch)
        axes[0].set_title(f"threshold {threshold:.2f}\n{seen.words}", fontsize="medium")
        _label(tuple(axes))
    for ax in grid[:, 1:].flat:
        ax.set_ylabel("")
    lines, names = grid[1, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3)
    return figure


def _pairs(true: np.ndarray, found: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Which true and which found events `evaluation.match_events` matches; it only counts them."""
    hits, used = np.zeros(len(true), dtype=bool), np.zeros(len(found), dtype=bool)
    i = j = 0
    while i < len(true) and j < len(found):
        if abs(found[j] - true[i]) <= tolerance:
            hits[i] = used[j] = True
            i, j = i + 1, j + 1
        elif found[j] < true[i]:
            j += 1
        else:
            i += 1
    return hits, used


def _beside_a_stretch() -> tuple[Figure, tuple[Axes, Axes], Axes]:
    """Return a figure, its axes for trace and activity, and those beside them."""
    figure = Figure(figsize=(9.2, 3.8), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2), width_ratios=(2.3, 1))
    axes = tuple(figure.add_subplot(grid[row, 0]) for row in (0, 1))
    beside = figure.add_subplot(grid[:, 1])
    beside.set_ylabel("events a minute")
    _label(axes)
    return figure, axes, beside


def _draw_stems(ax: Axes, x: np.ndarray, heights: np.ndarray) -> None:
    """Draw a line from nought up wherever there is something, all as one line with gaps."""
    some = heights > 0
    up = np.stack([np.zeros(some.sum()), heights[some], np.full(some.sum(), np.nan)], axis=1)
    ax.plot(np.repeat(x[some], 3), up.ravel(), color=figures.INK, linewidth=1.2)


def _draw_counts(
    ax: Axes,
    x: Sequence[float],
    verdicts: Sequence[Verdict],
    minutes: Sequence[float],
    chosen: float,
) -> None:
    """Draw events a minute that are found, missed and false against x, afresh."""
    empty_axes(ax)
    most = 0.0
    for name, style in STYLES.items():
        values = np.divide([len(getattr(verdict, name)) for verdict in verdicts], minutes)
        ax.plot(x, values, linewidth=1.2, label=name, **(style | {"markersize": 4}))
        most = max(most, values.max())
    ax.axvline(chosen, color=figures.CHANCE, linestyle="--", linewidth=1)
    ax.set_ylim(0, 1.05 * most or 1.0)
    if ax.get_legend() is None:
        ax.legend(fontsize="small")


def _ends(trace: np.ndarray) -> tuple[float, float]:
    """Ends of an axis that holds a trace, with a margin."""
    known = trace[np.isfinite(trace)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _label(axes: tuple[Axes, Axes]) -> None:
    axes[0].set_ylabel("trace")
    axes[1].set_ylabel("inferred\n(of the largest)")
    axes[0].tick_params(labelbottom=False)
    axes[1].set(xlabel="time (s)", yticks=(0, 0.5, 1))


def _neuron_control(shown: _Traces) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(
        max=len(shown.traces) - 1,
        description="Neuron",
        tooltip="Whose trace is shown",
        disabled=len(shown.traces) == 1,
    )


def _start_control(shown: _Traces, seconds: float) -> ipywidgets.IntSlider:
    last = max(int(np.ptp(shown.time) - seconds), 0)
    return ipywidgets.IntSlider(
        max=last,
        description="From (s)",
        tooltip="Where the stretch that is shown begins",
        disabled=last == 0,
    )


def _check_traces(
    traces: np.ndarray, events: Sequence[np.ndarray], inferred: np.ndarray, time: np.ndarray
) -> None:
    """Raise an error that says which array does not fit the others."""
    shapes = [traces.shape, inferred.shape]
    fitting = len({*shapes, (len(events), *time.shape)}) == 1
    if traces.ndim != 2 or len(traces) == 0 or len(time) < 2 or not fitting:
        raise ValueError(
            f"traces and inferred must be (neuron, frame), with events for each neuron and a time "
            f"for each of two frames or more; got {shapes}, {len(events)} and {time.shape}. Take "
            "all from one recording."
        )
    if not np.isfinite(inferred).any(axis=1).all() or not (np.diff(time) > 0).all():
        raise ValueError(
            "every neuron must have inferred activity, and time must go up; one has none, or "
            "time does not. Leave out that neuron, or sort the frames."
        )
