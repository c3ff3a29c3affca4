"""The reader of the Guan-lab recording: the published format, and files that are not of it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from visualcortex.sources.guan2018 import (
    N_FRAMES,
    N_NEURONS,
    N_STIMULI,
    read_guan2018,
    read_guan2018_traces,
)

TRIALS = 2 * N_STIMULI
TAGS = np.repeat(np.arange(1, N_STIMULI + 1), 2)


def active_frames():
    return np.random.default_rng(0).integers(0, N_FRAMES + 1, (TRIALS, N_NEURONS))


def write(path, rows):
    path.write_text("".join(",".join(str(v) for v in row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    """Write the pair of files in the published format; return their paths."""
    fractions = active_frames() / N_FRAMES
    rows = [[f"{v:.15g}" for v in row] for row in fractions]
    return write(tmp_path / "mean.csv", rows), write(tmp_path / "tag.csv", [TAGS])


def test_the_published_format_is_read(files):
    recording = read_guan2018(*files)
    assert recording.responses.dims == ("trial", "neuron")
    assert recording.responses.attrs == {"quantity": "active frames", "units": "1"}
    np.testing.assert_allclose(recording.responses * N_FRAMES, active_frames(), atol=1e-12)
    np.testing.assert_array_equal(recording.stimulus, TAGS - 1)
    np.testing.assert_array_equal(recording.session, recording.stimulus)
    assert recording.truth is None
    assert any("session of its own" in step for step in recording.provenance.preprocessing)


def test_the_provenance_holds_the_checksums_of_the_files_that_were_read(files):
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert read_guan2018(*files).provenance.sha256 == expected


def test_traces_are_read_frame_by_frame(tmp_path, files):
    """Column f · 259 + i is neuron i in frame f, checked value by value."""
    rows = [[trial * 10000 + column for column in range(29 * 259)] for trial in range(TRIALS)]
    recording = read_guan2018_traces(write(tmp_path / "traces.csv", rows), files[1])
    assert recording.responses.sizes == {"trial": TRIALS, "time": 29, "neuron": 259}
    for trial, frame, neuron in [(0, 0, 0), (1, 0, 258), (3, 1, 0), (27, 28, 258), (5, 7, 100)]:
        value = recording.responses.to_numpy()[trial, frame, neuron]
        assert value == trial * 10000 + frame * 259 + neuron
    np.testing.assert_allclose(recording.responses["time"], np.arange(29) / 10)
    assert recording.responses.attrs["quantity"] == "fluorescence"


def spoil(text, kind):
    lines = text.splitlines(keepends=True)
    first, rest = lines[0].split(",", 1)
    return {
        "narrow": "".join(line.split(",", 1)[1] for line in lines),
        "wide": "".join("0," + line for line in lines),
        "nan": "".join(["nan," + rest, *lines[1:]]),
        "above one": "".join(["1.5," + rest, *lines[1:]]),
        "negative": "".join(["-1," + rest, *lines[1:]]),
        "not a frame": "".join(["0.01," + rest, *lines[1:]]),
        "garbage": "<!DOCTYPE html>\n<html>not found</html>\n",
        "missing field": "".join(["," + rest, *lines[1:]]),
        "empty": "\n",
        "truncated": text[: -len(lines[-1]) // 2],
        "comment": "# a comment\n" + text,
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("narrow", "must have 259 columns; got 258"),
        ("wide", "must have 259 columns; got 260"),
        ("nan", "1 NaN or infinite ones, the first in row 1, column 1"),
        ("above one", r"multiples of 1/29 in \[0, 1\]; got 1 other values, the first 1.5"),
        ("negative", "the first -1 in row 1"),
        ("not a frame", "the first 0.01 in row 1"),
        ("garbage", "not a table of numbers with 259 columns"),
        ("missing field", "not a table of numbers"),
        ("empty", "is empty"),
        ("truncated", "cut short"),
        ("comment", "not a table of numbers"),
    ],
)
def test_a_spoilt_table_is_named_and_refused(files, kind, message):
    mean, tag = files
    mean.write_text(spoil(mean.read_text(), kind))
    with pytest.raises(ValueError, match=rf"mean\.csv .*{message}"):
        read_guan2018(mean, tag)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (TAGS[:-1], f"must have {TRIALS} columns; got {TRIALS - 1}"),
        (np.minimum(TAGS, 13), "13 different values from 1 to 13.*another day"),
        (np.r_[TAGS[:-1], 22], "from 1 to 22.*another day"),
        (TAGS - 1, "from 0 to 13"),
        (np.tile(np.arange(1, 15), 2), "28 runs for 14 stimuli.*another day"),
        (TAGS + 0.5, "from 1.5 to 14.5"),
    ],
)
def test_the_tags_of_another_day_are_refused(files, tags, message):
    mean, tag = files
    with pytest.raises(ValueError, match=rf"tag\.csv .*{message}"):
        read_guan2018(mean, write(tag, [tags]))


def test_tags_in_a_column_are_refused(files):
    mean, tag = files
    with pytest.raises(ValueError, match=f"must have {TRIALS} columns; got 1"):
        read_guan2018(mean, write(tag, TAGS[:, None]))


def test_the_two_tables_are_not_taken_for_each_other(files):
    with pytest.raises(ValueError, match="must have 7511 columns; got 259"):
        read_guan2018_traces(*files)


def test_the_published_recording_is_as_described(real_data):
    recording = read_guan2018(
        real_data("guanlab/20180827_Mouse1_mean_signal.csv"),
        real_data("guanlab/20180827_Mouse1_tag.csv"),
    )
    assert recording.responses.shape == (498, 259)
    counts = np.bincount(recording.stimulus)
    assert (len(counts), counts.min(), counts.max()) == (14, 33, 39)
    np.testing.assert_array_equal(recording.silent_neurons, [4])
    assert float((recording.responses == 0).mean()) == pytest.approx(0.794, abs=5e-4)
