"""Active frames against events that are known."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from visualcortex.models.deconvolution import active_frames

DECAY_TIME, FRAME = 0.5, 0.1


def recording(traces, quantity="dF/F"):
    time = np.arange(traces.shape[1]) * FRAME
    return xr.DataArray(
        traces,
        dims=("trial", "time", "neuron"),
        coords={"time": time},
        attrs={"quantity": quantity, "units": "1"},
    )


def simulated(rng, rate=0.05, noise=0.05, shape=(60, 40, 10), amplitude=0.25):
    events = rng.random(shape) < rate
    calcium = np.zeros(shape)
    for t in range(shape[1]):
        before = calcium[:, t - 1] * np.exp(-FRAME / DECAY_TIME) if t else 0
        calcium[:, t] = before + amplitude * events[:, t]
    return recording(calcium + noise * rng.normal(size=shape)), events


def test_strong_events_are_found_and_nothing_else():
    rng = np.random.default_rng(0)
    traces, events = simulated(rng, noise=0.004)
    active = active_frames(traces, decay_time=DECAY_TIME, threshold=6)
    assert np.array_equal(active.to_numpy()[:, 1:], events[:, 1:].astype(float))
    assert (active[:, 0] == 0).all()


@pytest.mark.parametrize("threshold", [2.0, 2.5, 3.0])
def test_hits_and_false_alarms_are_as_stated(threshold):
    rng = np.random.default_rng(1)
    traces, events = simulated(rng, rate=0.01, shape=(200, 40, 10))
    active = active_frames(traces, decay_time=DECAY_TIME, threshold=threshold)
    active, known = active.to_numpy()[:, 1:] > 0, events[:, 1:]
    sd = 0.05 * np.sqrt(1 + np.exp(-2 * FRAME / DECAY_TIME))
    miss = stats.norm.cdf(threshold - 0.25 / sd)
    # the MAD is a little inflated by the events, hence the relative part of the tolerance
    for measured, expected, n in [
        (active[~known].mean(), stats.norm.sf(threshold), np.sum(~known)),
        (1 - active[known].mean(), miss, np.sum(known)),
    ]:
        tolerance = 4 * np.sqrt(expected * (1 - expected) / n) + 0.1 * expected
        assert abs(measured - expected) < tolerance


def test_scale_and_offset_of_a_neuron_do_not_matter():
    traces, _ = simulated(np.random.default_rng(2))
    scaled = traces * np.linspace(1, 50, 10) + np.linspace(-3, 400, 10)
    assert np.array_equal(active_frames(traces), active_frames(scaled.assign_attrs(traces.attrs)))


def test_active_frames_of_active_frames_are_themselves():
    traces, _ = simulated(np.random.default_rng(3))
    active = active_frames(traces)
    assert active.attrs["quantity"] == "active frames"
    assert active_frames(active) is active
    rates = active.mean("time").assign_attrs(active.attrs)
    assert active_frames(rates) is rates


def test_the_recording_is_left_as_it_is():
    traces, _ = simulated(np.random.default_rng(4))
    before = traces.copy(deep=True)
    active_frames(traces)
    assert traces.identical(before)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: x.mean("time"), {}, "dims"),
        (lambda x: x.isel(time=[0]), {}, "at least two"),
        (lambda x: x, {"decay_time": 0.0}, "positive"),
        (lambda x: x, {"threshold": -1.0}, "positive"),
    ],
)
def test_bad_input_is_refused(change, options, message):
    traces, _ = simulated(np.random.default_rng(5), shape=(4, 5, 2))
    with pytest.raises(ValueError, match=message):
        active_frames(change(traces), **options)
