"""The explorers of traces show what is chosen, and count events found, missed and false."""

import io
import time

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import trace_widgets, widgets
from visualcortex.evaluation import match_events

TIME = np.arange(600) / 10


@pytest.fixture(autouse=True)
def fresh():
    yield
    plt.close("all")


@pytest.fixture
def arrays():
    """Three neurons for a minute; an event each four seconds, found with one false event each."""
    inferred = np.zeros((3, 600))
    inferred[:, 20::40] = 2.0 * np.array([1, 2, 3])[:, None]
    inferred[:, 310] = 0.5
    traces = np.cumsum(inferred, axis=1)
    for x in (inferred, traces):
        x[2, 500:] = np.nan
    events = [TIME[20::40], TIME[20::40], TIME[20:500:40]]
    return traces, events, inferred, TIME


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


def moved(explorer, changes):
    """Move each control and back; the picture has to follow."""
    assert set(controls(explorer)) == set(changes)
    before = picture(explorer)
    for name, value in changes.items():
        assert controls(explorer)[name].tooltip
        old, controls(explorer)[name].value = controls(explorer)[name].value, value
        assert not np.array_equal(picture(explorer), before)
        controls(explorer)[name].value = old
        assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


def slower(arrays):
    """The same neurons in frames twice, and five times, as long."""
    traces, _, inferred, time = arrays
    joined = {1: (traces, inferred, time)}
    for n in (2, 5):
        parts = [x.reshape(3, -1, n).mean(axis=2) for x in (traces, inferred)]
        joined[n] = (*parts, time[::n])
    return {10.0 / n: known for n, known in joined.items()}


def test_each_control_of_the_threshold_changes_the_picture_and_back(arrays):
    explorer = trace_widgets.trace_explorer(*arrays)
    moved(explorer, {"Neuron": 1, "Threshold": 0.6, "From (s)": 15})


def test_each_control_of_the_frame_rate_changes_the_picture_and_back(arrays):
    explorer = trace_widgets.rate_explorer(slower(arrays), arrays[1])
    moved(explorer, {"Neuron": 1, "Frame rate": 2.0, "From (s)": 15})


def test_they_redraw_at_once(arrays):
    for explorer in (
        trace_widgets.trace_explorer(*arrays),
        trace_widgets.rate_explorer(slower(arrays), arrays[1]),
    ):
        start = time.process_time()
        for neuron in (1, 2, 0, 1, 2):
            controls(explorer)["Neuron"].value = neuron
        assert (time.process_time() - start) / 5 < 0.2


@pytest.mark.parametrize(
    ("threshold", "seconds", "counts"),
    [
        (0.0, 60.0, "15 found, 0 missed, 1 false"),
        (0.5, 60.0, "15 found, 0 missed, 0 false"),
        (1.0, 20.0, "0 found, 5 missed, 0 false"),
    ],
)
def test_the_title_counts_what_is_shown(arrays, threshold, seconds, counts):
    figure = trace_widgets.trace_small_multiples(
        *arrays, neuron=1, thresholds=(threshold,), seconds=seconds
    )
    above, below = figure.axes
    assert above.get_title() == f"threshold {threshold:.2f}\n{counts}"
    chosen = seconds * 10
    np.testing.assert_array_equal(above.lines[0].get_ydata(), arrays[0][1, : int(chosen)])
    drawn = {line.get_label(): line.get_xdata() for line in below.lines}
    assert [f"{len(drawn[name])} {name}" for name in trace_widgets.STYLES] == counts.split(", ")
    np.testing.assert_allclose(
        np.sort([*drawn["found"], *drawn["missed"]]), TIME[20 : int(chosen) : 40]
    )
    if len(drawn["false"]):
        np.testing.assert_allclose(drawn["false"], [31.0])


def test_the_curves_count_the_whole_recording(arrays):
    explorer = trace_widgets.trace_explorer(*arrays)
    explorer.controls["neuron"].value = 2
    explorer.controls["threshold"].value = 0.0
    beside = explorer.figure.axes[2]
    assert beside.get_title() == f"whole recording\nF-score {2 * 12 / (2 * 12 + 1):.2f}"
    minutes = 50 / 60  # the others go on
    drawn = {line.get_label(): line.get_ydata() * minutes for line in beside.lines[:3]}
    largest = trace_widgets.SWEPT == 1
    np.testing.assert_allclose(drawn["found"], np.where(largest, 0, 12))
    np.testing.assert_allclose(drawn["missed"], np.where(largest, 12, 0))
    assert drawn["false"][0] == pytest.approx(1)
    assert drawn["false"][-1] == 0


def test_slow_frames_lose_what_follows_closely(arrays):
    traces, _, inferred, time = arrays
    inferred[:2, 23::40] = 1.0  # a second event, three frames after the first
    events = [np.sort([*TIME[20::40], *TIME[23::40]])] * 2
    known = {r: tuple(x[:2] for x in v[:2]) + v[2:] for r, v in slower(arrays).items()}
    explorer = trace_widgets.rate_explorer(known, events)
    drawn = {line.get_label(): line.get_ydata() for line in explorer.figure.axes[2].lines[:3]}
    np.testing.assert_allclose(drawn["found"] + drawn["missed"], 30)  # the same at every rate
    assert drawn["found"][-1] == 30
    assert drawn["found"][0] == 15
    with pytest.raises(ValueError, match="two frame rates or more"):
        trace_widgets.rate_explorer({10.0: known[10.0]}, events)


def test_matches_are_those_that_are_counted_elsewhere():
    rng = np.random.default_rng(0)
    for _ in range(30):
        true, found = (np.sort(10 * rng.random(rng.integers(0, 60))) for _ in range(2))
        hits, used = trace_widgets._pairs(true, found, 0.1)
        match = match_events(true, found, tolerance=0.1)
        assert hits.sum() == used.sum() == len(match.lags)
        np.testing.assert_allclose(found[used] - true[hits], match.lags)


def test_a_delay_is_found_and_taken_off(arrays):
    traces, events, inferred, time = arrays
    late = np.roll(inferred[:2], 2, axis=1)
    some = (traces[:2], events[:2], late, time)
    found = [
        len(trace_widgets._Traces(*some, offset).judge(0, 0.5).found)
        for offset in (0.0, 0.2, None, 0.4)
    ]
    assert found == [0, 15, 15, 0]


def test_a_silent_inference_and_padding_are_shown(arrays):
    traces, events, inferred, time = arrays
    figure = trace_widgets.trace_small_multiples(
        traces, events, 0 * inferred, time, neuron=2, thresholds=(0.0, 0.5), seconds=60
    )
    figure.draw_without_rendering()
    assert "0 found, 12 missed, 0 false" in figure.axes[0].get_title()
    one = trace_widgets.trace_explorer(*(x[:1] for x in arrays[:3]), time, seconds=100.0)
    assert controls(one)["Neuron"].disabled
    assert controls(one)["From (s)"].disabled


@pytest.mark.parametrize(
    "draw", [trace_widgets.trace_explorer, trace_widgets.trace_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, e, i, t: (x[:2], e, i, t), r"got \[\(2, 600\), \(3, 600\)"),
        (lambda x, e, i, t: (x, e, i, t[1:]), r"and \(599,\)"),
        (lambda x, e, i, t: (x, e[1:], i, t), r"3, 600\)\], 2 and"),
        (lambda x, e, i, t: (x[0], e, i[0], t), r"must be \(neuron, frame\)"),
        (lambda x, e, i, t: (x[:0], e[:0], i[:0], t), "Take all from one"),
        (lambda x, e, i, t: (x, e, i * np.nan, t), "every neuron must have inferred"),
        (lambda x, e, i, t: (x, e, i, t[::-1]), "time must go up"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, draw, change, message, monkeypatch):
    monkeypatch.setattr(widgets, "_png", lambda _figure: b"")
    with pytest.raises(ValueError, match=message):
        draw(*change(*arrays))


@pytest.mark.parametrize("chosen", [{"neuron": 3}, {"thresholds": ()}])
def test_other_choices_are_refused(arrays, chosen):
    with pytest.raises(ValueError, match="a neuron from 0 to 2 and a threshold or more"):
        trace_widgets.trace_small_multiples(*arrays, **chosen)
