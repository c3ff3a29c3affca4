"""The explorer of traces shows the neuron, threshold and stretch chosen, and counts its events."""

import io

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import trace_widgets, widgets

TIME = np.arange(600) / 10


@pytest.fixture(autouse=True)
def fresh():
    yield
    plt.close("all")


@pytest.fixture
def arrays():
    """Three neurons for a minute; a spike each four seconds, found with one false event each."""
    spikes = np.zeros((3, 600))
    spikes[:, 20::40] = 1
    inferred = 2.0 * spikes * np.array([1, 2, 3])[:, None]
    inferred[:, 310] = 0.5
    traces = np.cumsum(inferred, axis=1)
    for x in (spikes, inferred, traces):
        x[2, 500:] = np.nan
    return traces, spikes, inferred, TIME


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


def test_each_control_changes_the_picture_and_back(arrays):
    explorer = trace_widgets.trace_explorer(*arrays)
    assert set(controls(explorer)) == {"Neuron", "Threshold", "From (s)"}
    before = picture(explorer)
    for name, value in {"Neuron": 1, "Threshold": 60, "From (s)": 15}.items():
        assert controls(explorer)[name].tooltip
        old, controls(explorer)[name].value = controls(explorer)[name].value, value
        assert not np.array_equal(picture(explorer), before)
        controls(explorer)[name].value = old
        assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("threshold", "seconds", "title"),
    [
        (0.0, 60.0, "neuron 1: 15 of 15 onsets\nfound, 1 false"),
        (0.5, 60.0, "neuron 1: 15 of 15 onsets\nfound, 0 false"),
        (1.0, 20.0, "neuron 1: 0 of 5 onsets\nfound, 0 false"),
    ],
)
def test_the_title_counts_what_is_shown(arrays, threshold, seconds, title):
    figure = trace_widgets.trace_small_multiples(
        *arrays, neuron=1, thresholds=(threshold,), seconds=seconds
    )
    above, below = figure.axes
    assert above.get_title() == title
    chosen = seconds * 10
    np.testing.assert_array_equal(above.lines[0].get_ydata(), arrays[0][1, : int(chosen)])
    marks = below.lines[0].get_xdata()
    np.testing.assert_allclose(marks, TIME[20 : int(chosen) : 40])
    assert below.lines[1].get_ydata()[0] == pytest.approx(threshold)


def test_a_known_delay_is_taken_off(arrays):
    traces, spikes, inferred, time = arrays
    late = np.roll(inferred[:2], 5, axis=1)
    some = (traces[:2], spikes[:2], late, time)
    found = [
        trace_widgets._Traces(*some, offset).match(0, 1.0, np.ones(600, dtype=bool))
        for offset in (0.0, 0.5)
    ]
    assert [len(match.lags) for match in found] == [0, 15]


def test_a_silent_inference_and_padding_are_shown(arrays):
    traces, spikes, inferred, time = arrays
    figure = trace_widgets.trace_small_multiples(
        traces, spikes, 0 * inferred, time, neuron=2, thresholds=(0.0, 0.5), seconds=60
    )
    figure.draw_without_rendering()
    assert "0 of 12 onsets" in figure.axes[0].get_title()
    one = trace_widgets.trace_explorer(*(x[:1] for x in arrays[:3]), time, seconds=100.0)
    assert controls(one)["Neuron"].disabled
    assert controls(one)["From (s)"].disabled


@pytest.mark.parametrize(
    "draw", [trace_widgets.trace_explorer, trace_widgets.trace_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, s, i, t: (x[:2], s, i, t), r"got \[\(2, 600\), \(3, 600\)"),
        (lambda x, s, i, t: (x, s, i, t[1:]), r"and \(599,\)"),
        (lambda x, s, i, t: (x[0], s[0], i[0], t), r"must be \(neuron, frame\)"),
        (lambda x, s, i, t: (x[:0], s[:0], i[:0], t), "Take all from one"),
        (lambda x, s, i, t: (x, s, i * np.nan, t), "every neuron must have inferred"),
        (lambda x, s, i, t: (x, s, i, t[::-1]), "time must go up"),
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
