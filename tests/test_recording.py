"""The schema of a recording: what it accepts, what it refuses and what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex.recording import (
    CalciumRecording,
    ImageResponses,
    Provenance,
    Recording,
    SpikeTrains,
)

PROVENANCE = Provenance(
    source="a <test>", citation="key", licence="MIT", url="", sha256={}, preprocessing=()
)
ATTRS = {"quantity": "spikes", "units": "1"}


def parts(shape=(4, 3, 2), middle="bin", **changes):
    """Return the parts of a valid recording, some of them changed."""
    dims = ("trial", middle, "neuron") if len(shape) == 3 else ("trial", "neuron")
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    coords = {"time": np.arange(shape[1]) / 10} if middle == "time" else {}
    return {
        "responses": xr.DataArray(values, dims=dims, coords=coords, attrs=ATTRS),
        "trials": pd.DataFrame({"stimulus": [0, 1, 0, 1], "session": [0, 0, 1, 1]}),
        "neurons": pd.DataFrame(index=range(shape[-1])),
        "provenance": PROVENANCE,
    } | changes


def test_sizes_and_labels_are_those_of_the_parts():
    recording = Recording(**parts())
    assert (recording.n_trials, recording.n_neurons, recording.has_time) == (4, 2, True)
    assert not ImageResponses(**parts(shape=(4, 2))).has_time
    np.testing.assert_array_equal(recording.stimulus, [0, 1, 0, 1])
    np.testing.assert_array_equal(recording.session, [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("kind", "shape", "middle", "accepted"),
    [
        (ImageResponses, (4, 2), "", True),
        (ImageResponses, (4, 3, 2), "bin", False),
        (SpikeTrains, (4, 3, 2), "bin", True),
        (SpikeTrains, (4, 2), "", False),
        (SpikeTrains, (4, 3, 2), "time", False),
        (CalciumRecording, (4, 2), "", True),
        (CalciumRecording, (4, 3, 2), "time", True),
        (CalciumRecording, (4, 3, 2), "bin", False),
    ],
)
def test_each_variant_accepts_its_own_dimensions_only(kind, shape, middle, accepted):
    if accepted:
        assert kind(**parts(shape, middle)).n_trials == 4
    else:
        with pytest.raises(ValueError, match="must have dimensions .*'trial'.*got"):
            kind(**parts(shape, middle))


def replaced(value):
    responses = parts()["responses"].copy()
    responses[2, 0, 1] = value
    return responses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responses": parts()["responses"].transpose("neuron", "bin", "trial")}, "transpose"),
        (
            {"responses": xr.DataArray(np.zeros((4, 2)), dims=("trial", "neuron"))},
            "missing: quantity, units",
        ),
        ({"responses": parts()["responses"].assign_attrs(units="")}, "missing: units"),
        ({"responses": replaced(np.nan)}, r"1 NaN or infinite values in 1 of 4 trials \(trial 2"),
        ({"responses": replaced(np.inf)}, "Drop these trials"),
        ({"responses": parts()["responses"].astype(str)}, "must be real numbers; got dtype <U"),
        ({"responses": parts()["responses"][:3]}, "each of the 3 trials in responses; got 4 rows"),
        ({"responses": parts()["responses"][:0]}, "no trial; expected at least one"),
        ({"neurons": pd.DataFrame(index=range(5))}, "each of the 2 neurons .*; got 5 rows"),
        ({"trials": pd.DataFrame({"stimulus": [0] * 4})}, "integer column 'session'"),
        ({"trials": pd.DataFrame({"stimulus": [0.5] * 4, "session": 0})}, "got dtype float64"),
        ({"trials": pd.DataFrame({"stimulus": [-1] * 4, "session": 0})}, "numbers from 0 on"),
        (
            {"trials": pd.DataFrame({"stimulus": 0, "session": pd.array([0, 1, None, 1])})},
            "missing or negative",
        ),
        ({"images": np.zeros((1, 8, 8))}, "at least 2; got 1"),
        (
            {"spontaneous": xr.DataArray(np.zeros((9, 3)), dims=("bin", "neuron"))},
            "the 2 neurons of responses; got 3",
        ),
        ({"spontaneous": xr.DataArray(np.zeros((2, 9)), dims=("neuron", "bin"))}, "last dimension"),
    ],
)
def test_a_recording_that_is_not_as_described_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recording(**parts(**changes))


def test_responses_without_named_dimensions_are_refused():
    with pytest.raises(TypeError, match="xarray.DataArray.*got ndarray.*Wrap it"):
        Recording(**parts(responses=np.zeros((4, 2))))


def test_a_time_axis_without_seconds_is_refused():
    responses = parts(middle="time")["responses"].drop_vars("time")
    with pytest.raises(ValueError, match="seconds from the start"):
        CalciumRecording(**parts(responses=responses))


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_spike_trains_are_whole_and_not_negative(value):
    assert Recording(**parts(responses=replaced(value))).n_trials == 4
    with pytest.raises(ValueError, match="whole and not negative; got 1 other values"):
        SpikeTrains(**parts(responses=replaced(value)))


def test_silent_neurons_are_allowed_and_listed():
    responses = parts(shape=(4, 3, 3))["responses"].copy()
    responses[:, :, 1] = 0
    recording = Recording(**parts(shape=(4, 3, 3), responses=responses))
    np.testing.assert_array_equal(recording.silent_neurons, [1])
    assert recording.summary()["silent neurons"] == "1"


def test_a_recording_introduces_itself_in_one_line_and_in_a_safe_table():
    recording = CalciumRecording(**parts(middle="time"))
    assert repr(recording) == (
        "<CalciumRecording: spikes [1], 4 trials × 3 frames × 2 neurons; a <test>>"
    )
    table = recording._repr_html_()
    assert "a &lt;test&gt;" in table
    assert "<test>" not in table
    assert table.count("<tr>") == len(recording.summary())
    assert recording.summary()["time"] == "0 to 0.2 s"
    assert recording.summary()["truth"] == "not known"


def test_a_recording_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        Recording(**parts()).trials = None
