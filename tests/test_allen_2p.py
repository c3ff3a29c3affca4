"""The reader of two-photon experiments: files in the published layout, and others."""

from __future__ import annotations

import functools

import h5py
import numpy as np
import pytest

from visualcortex.sources import allen, allen_2p
from visualcortex.sources.allen import HEIGHT, STACK, WIDTH
from visualcortex.sources.allen_2p import read_allen_2p

PIPELINE = "processing/brain_observatory_pipeline"
DFF = f"{PIPELINE}/DfOverF/imaging_plane_1"
CELLS = f"{PIPELINE}/ImageSegmentation/cell_specimen_ids"
SHOWN = "stimulus/presentation/natural_scenes_stimulus"
FRAMES = np.array([3, -1, 117, 3, 0, -1, 3, 0])
STARTS = np.array([30, 37, 44, 52, 100, 107, 114, 121])  # the third lasts 8 frames
STOPS = np.array([37, 44, 52, 59, 107, 114, 121, 128])
ALLEN_WARNINGS = pytest.mark.filterwarnings("ignore")


def recorded(n_cells=4, n_frames=140):
    rng = np.random.default_rng(0)
    return {
        f"{DFF}/data": rng.standard_normal((n_cells, n_frames)).astype(np.float32),
        f"{DFF}/timestamps": 5.0 + np.arange(n_frames) / 30,
        CELLS: np.arange(n_cells) + 517437000,
        f"{SHOWN}/data": FRAMES,
        f"{SHOWN}/frame_duration": np.stack([STARTS, STOPS], axis=1),
        "general/session_id": "501498760",
        "general/session_type": "three_session_B",
        "general/subject/genotype": "Cux2-CreERT2/wt;Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/wt",
        "general/optophysiology/imaging_plane_1/location": "VISp",
        "general/optophysiology/imaging_plane_1/imaging depth": "175 microns",
    }


def put(file, content):
    for name, value in content.items():
        file.create_dataset(name, data=np.bytes_(value) if isinstance(value, str) else value)


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """Return a file with nothing but the scenes, to be copied: it is made once."""
    path = tmp_path_factory.mktemp("blank") / "scenes.nwb"
    with h5py.File(path, "w") as file:
        stack = file.create_dataset(STACK, (118, HEIGHT, WIDTH), "f4", chunks=(1, HEIGHT, WIDTH))
        for scene in (0, 3, 117):  # the others are not written: 0, and no space on the disk
            stack[scene] = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 200 + scene % 50
    return path


@pytest.fixture
def write(blank, tmp_path):
    def function(content):
        path = tmp_path / "501498760.nwb"
        path.write_bytes(blank.read_bytes())
        with h5py.File(path, "a") as file:
            put(file, content)
        return path

    return function


@pytest.fixture
def read(tmp_path, blank, monkeypatch):
    """Return a function that writes an experiment and reads it; its scenes are read once."""
    once = functools.partial(scenes_once, blank)
    monkeypatch.setattr(allen_2p, "read_scenes", lambda path, block: once(block))

    def function(content):
        path = tmp_path / "501498760.nwb"
        with h5py.File(path, "w") as file:
            put(file, content)
        return read_allen_2p(path)

    return function


@functools.cache
def scenes_once(path, block):
    return allen.read_scenes(path, block=block)


def test_the_response_is_the_mean_of_fourteen_frames_from_the_onset(read):
    content = recorded()
    recording = read(content)
    traces = content[f"{DFF}/data"].astype(float)
    shown, grey = np.flatnonzero(FRAMES >= 0), np.flatnonzero(FRAMES < 0)
    for values, rows in ((recording.responses, shown), (recording.grey, grey)):
        expected = [traces[:, STARTS[k] : STARTS[k] + 14].mean(axis=1) for k in rows]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
        assert values.dtype == np.float32
    assert recording.responses.attrs == {"quantity": "dF/F, mean of 14 frames", "units": "1"}


def test_trials_cells_and_stretches_are_those_of_the_experiment(read):
    recording = read(recorded())
    np.testing.assert_array_equal(recording.stimulus, [3, 117, 3, 0, 3, 0])
    np.testing.assert_array_equal(recording.session, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(recording.trials["presentation"], [0, 2, 3, 4, 6, 7])
    np.testing.assert_allclose(recording.trials["start_s"][0], 6.0)
    np.testing.assert_array_equal(recording.neurons["cell_specimen_id"], 517437000 + np.arange(4))
    assert set(recording.neurons["area"]) == {"VISp"}
    assert "experiment 501498760, Cux2-CreERT2/wt, depth 175 microns" in recording.provenance.source


def test_presentations_are_put_in_order_of_time(read):
    content, order = recorded(), np.array([6, 1, 0, 7, 5, 2, 3, 4])
    in_order = read(content)
    for name in ("data", "frame_duration"):
        content[f"{SHOWN}/{name}"] = content[f"{SHOWN}/{name}"][order]
    shuffled = read(content)
    np.testing.assert_array_equal(shuffled.responses, in_order.responses)
    np.testing.assert_array_equal(shuffled.stimulus, in_order.stimulus)


def test_the_older_name_of_the_stimulus_is_known(read):
    content = recorded()
    for name in ("data", "frame_duration"):
        content[f"stimulus/presentation/natural_scenes/{name}"] = content.pop(f"{SHOWN}/{name}")
    assert read(content).n_trials == 6


def test_a_file_without_words_about_itself_is_read(read):
    content = {name: value for name, value in recorded().items() if "general" not in name}
    assert "experiment unknown" in read(content).provenance.source


def test_the_scenes_are_in_the_same_file(write):
    recording = read_allen_2p(write(recorded()))
    assert recording.images.shape == (118, 54, 69)
    square = np.add.outer(np.arange(17, 34), np.arange(34, 51)) % 200
    assert recording.images[117, 1, 2] == pytest.approx(square.mean() + 17, rel=1e-6)
    assert recording.provenance.sha256.keys() == {"501498760.nwb"}


@pytest.mark.allen
@ALLEN_WARNINGS
def test_the_allensdk_sees_the_same_traces_frames_and_window(write):
    module = "allensdk.core.brain_observatory_nwb_data_set"
    module = pytest.importorskip(module, reason="needs allensdk")
    path = write(recorded() | {"general/generated_by": np.array([b"version", b"3.0"])})
    recording = read_allen_2p(path)
    peer = module.BrainObservatoryNwbDataSet(str(path))
    table = peer.get_stimulus_table("natural_scenes")
    table = table[table["frame"] >= 0]
    np.testing.assert_array_equal(recording.stimulus, table["frame"])
    _, traces = peer.get_dff_traces()
    sweep = table["end"].iloc[1] - table["start"].iloc[1]  # as in its NaturalScenes analysis
    before = 4 * sweep
    expected = []
    for start in table["start"]:
        response = traces[:, max(start - before, 0) : start + sweep + before]
        offset = min(start, before)
        expected.append(response[:, offset : offset + 2 * 7].mean(axis=1))
    np.testing.assert_allclose(recording.responses, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(
        recording.neurons["cell_specimen_id"], peer.get_cell_specimen_ids()
    )


def replaced(name, value):
    return lambda content: content.update({name: value(content[name])})


def removed(name):
    return lambda content: content.pop(name)


def without_scenes(content):
    for name in ("data", "frame_duration"):
        del content[f"{SHOWN}/{name}"]


def with_nan(traces):
    traces[2, 50] = np.nan
    return traces


BROKEN = {
    "no traces": (removed(f"{DFF}/data"), "lacks processing/.*/data"),
    "no times": (removed(f"{DFF}/timestamps"), "lacks processing/.*/timestamps"),
    "no cells": (removed(CELLS), "lacks processing/.*/cell_specimen_ids"),
    "no scenes": (without_scenes, "no natural scenes were shown. Take the session B"),
    "no frames": (removed(f"{SHOWN}/frame_duration"), "lacks stimulus/.*/frame_duration"),
    "turned": (replaced(f"{DFF}/data", np.transpose), r"shape \(any, 140\); got \(140, 4\)"),
    "cut": (replaced(f"{DFF}/data", lambda x: x[:, :-1]), r"shape \(any, 140\); got \(4, 139\)"),
    "other cells": (replaced(CELLS, lambda x: x[1:]), r"shape \(4\); got \(3,\)"),
    "flat frames": (
        replaced(f"{SHOWN}/frame_duration", lambda x: x[:, 0]),
        r"frame_duration in .* must have shape \(8, 2\); got \(8,\)",
    ),
    "NaN": (replaced(f"{DFF}/data", with_nan), r"NaN or infinity in 1 of 4 cells \(first: 2\)"),
    "scene beyond": (replaced(f"{SHOWN}/data", lambda x: x + 1), "0 to 117.*got 118 in row 2"),
    "late": (
        replaced(f"{SHOWN}/frame_duration", lambda x: x + 6),
        "must lie within its 140 frames; got onsets from 36 to 127, and 14",
    ),
    "early": (replaced(f"{SHOWN}/frame_duration", lambda x: x - 31), "got onsets from -1 to 90"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_experiment_of_another_form_is_refused_by_name(read, broken):
    damage, message = BROKEN[broken]
    content = recorded()
    damage(content)
    with pytest.raises(ValueError, match=message) as error:
        read(content)
    assert "501498760.nwb" in str(error.value)


class TestScenes:
    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            (None, "501498760.nwb lacks stimulus/templates/.* session B"),
            ((118, 10, 12), r"must have shape \(118, 918, 1174\); got \(118, 10, 12\)"),
            ((117, HEIGHT, WIDTH), r"got \(117, 918, 1174\)"),
        ],
    )
    def test_a_stack_of_another_form_is_refused(self, tmp_path, shape, message):
        path = tmp_path / "501498760.nwb"
        with h5py.File(path, "w") as file:
            put(file, recorded())
            if shape is not None:
                file.create_dataset(STACK, shape, "f4", chunks=(1, *shape[1:]))
        with pytest.raises(ValueError, match=message):
            read_allen_2p(path)

    def test_nan_in_a_scene_is_refused(self, write):
        path = write(recorded())
        with h5py.File(path, "a") as file:
            file[STACK][1, 5, 5] = np.nan
        with pytest.raises(ValueError, match="scene in 501498760.nwb holds NaN"):
            read_allen_2p(path)


def test_a_file_of_another_kind_or_cut_short_is_refused(write, tmp_path):
    path = write(recorded())
    path.write_bytes(path.read_bytes()[:-100000])
    with pytest.raises(ValueError, match="501498760.nwb cannot be read .* cut short or damaged"):
        read_allen_2p(path)
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match="501498760.nwb is not an NWB .HDF5. file"):
        read_allen_2p(path)
