"""The schema of a recording: what it accepts, what it refuses and what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex.recording import (
    CalciumRecording,
    Dissimilarities,
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


def matrices(n_rdms=3, n_images=4):
    rng = np.random.default_rng(0)
    half = np.triu(rng.random((n_rdms, n_images, n_images)), 1)
    return half + half.transpose(0, 2, 1)


def dissimilar(values=None, **changes):
    """Return the parts of valid dissimilarities, some of them changed."""
    values = matrices() if values is None else values
    attrs = {"quantity": "1 - Pearson correlation", "units": "1"}
    subjects = {
        "species": ["monkey", "human", "human"],
        "subject": ["all", "BE", "KO"],
        "session": 0,
        "region": "IT",
    }
    return {
        "rdms": xr.DataArray(values, dims=("rdm", "image", "image_2"), attrs=attrs),
        "subjects": pd.DataFrame(subjects),
        "stimuli": pd.DataFrame({"stimulus_id": list("abcd"), "category": list("ffoo")}),
        "provenance": PROVENANCE,
    } | changes


def cell(rdm, row, column, value, mirrored=True):
    values = matrices()
    values[rdm, row, column] = value
    if mirrored:
        values[rdm, column, row] = value
    return values


class TestDissimilarities:
    """Matrices between images, where no more than these is published."""

    def test_sizes_and_labels_are_those_of_the_parts(self):
        read = Dissimilarities(**dissimilar(images=np.zeros((4, 3, 8, 8))))
        assert (read.n_rdms, read.n_images) == (3, 4)
        np.testing.assert_array_equal(read.category, list("ffoo"))

    def test_rounding_of_float32_and_negative_values_are_allowed(self):
        values = matrices().astype(np.float32)
        values[1, 0, 1] *= 1 + 2e-7
        values[2, 2, 2] = 1e-7
        assert Dissimilarities(**dissimilar(values)).n_rdms == 3
        assert Dissimilarities(**dissimilar(cell(0, 1, 2, -0.1))).n_rdms == 3  # cross-validated

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            (dissimilar(cell(1, 0, 2, 0.9, mirrored=False)), "not symmetric in rdm 1"),
            (dissimilar(cell(2, 3, 3, 1)), "a diagonal other than 0 in rdm 2. .*not similarities"),
            (dissimilar(cell(1, 0, 2, np.nan)), "got 2 NaN or infinite values in rdm 1"),
            (dissimilar(cell(0, 0, 2, np.inf)), "got 2 NaN or infinite values in rdm 0"),
            (dissimilar(1 - matrices()), "a diagonal other than 0 in rdm 0"),
            (dissimilar(matrices()[:, :3]), r"square matrix of at least two .* \(3, 3, 4\)"),
            (dissimilar(matrices()[:0]), "at least one square matrix"),
            (dissimilar(matrices(3, 1)), "at least two images"),
            (dissimilar(matrices().astype(str)), "rdms must be real numbers; got dtype <U"),
            (
                dissimilar(rdms=dissimilar()["rdms"].transpose("image", "rdm", "image_2")),
                "rdms must have dimensions .*'rdm', 'image', 'image_2'.*got",
            ),
            (
                dissimilar(rdms=dissimilar()["rdms"].assign_attrs(units="")),
                "rdms.attrs must name .*missing: units",
            ),
            (dissimilar(matrices(2)), "subjects must have one row for each of the 2 rdms .* got 3"),
            (
                dissimilar(stimuli=dissimilar()["stimuli"][:3]),
                "stimuli must have one row for each of the 4 images in rdms; got 3",
            ),
            (
                dissimilar(subjects=dissimilar()["subjects"].drop(columns=["region", "species"])),
                "subjects must have the columns .*; missing: species, region",
            ),
            (
                dissimilar(stimuli=dissimilar()["stimuli"][["stimulus_id"]]),
                "missing: category. Write 'unknown'",
            ),
            (
                dissimilar(stimuli=dissimilar()["stimuli"].assign(stimulus_id=list("abca"))),
                "every image once; got 'a' more than once",
            ),
            (dissimilar(images=np.zeros((3, 3, 8, 8))), "the 4 images of rdms; got 3"),
        ],
    )
    def test_what_is_not_as_described_is_refused(self, parts, message):
        with pytest.raises(ValueError, match=message):
            Dissimilarities(**parts)

    def test_an_array_without_named_dimensions_is_refused(self):
        with pytest.raises(TypeError, match="rdms must be an xarray.DataArray.*got ndarray"):
            Dissimilarities(**dissimilar(rdms=matrices()))

    def test_they_introduce_themselves(self):
        read = Dissimilarities(**dissimilar())
        assert repr(read) == (
            "<Dissimilarities: 1 - Pearson correlation [1], 3 RDMs × 4 images × 4 images; a <test>>"
        )
        assert read.summary()["matrices"] == "1 of monkey IT, 2 of human IT of 2 subjects"
        assert read.summary()["categories"] == "2"
        table = read._repr_html_()
        assert table.count("<tr>") == len(read.summary())
        assert "a &lt;test&gt;" in table
        assert "<test>" not in table

    def test_they_cannot_be_changed_in_place(self):
        with pytest.raises(AttributeError):
            Dissimilarities(**dissimilar()).images = None
