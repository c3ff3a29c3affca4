"""The reader of Neuropixels sessions: files in the published layout, and others."""

from __future__ import annotations

import functools
import os

import h5py
import numpy as np
import pytest

from visualcortex import load
from visualcortex.recording import SpikeTrains
from visualcortex.sources import allen, allen_neuropixels, allen_neuropixels_file
from visualcortex.sources.allen import HEIGHT, WIDTH
from visualcortex.sources.allen_neuropixels import read_allen_neuropixels
from visualcortex.sources.allen_neuropixels_sessions import COLUMNS, session_table
from visualcortex.spikes import SpikeTimes

CHANNELS = "general/extracellular_ephys/electrodes"
SCENES = "intervals/natural_scenes_presentations"
INVALID = "intervals/invalid_times"
FRAMES = np.array([5.0, -1.0, 117.0, 5.0, 0.0, -1.0, 5.0, 0.0])
ONSETS = np.array([10.0, 10.25, 10.5, 10.75, 100.0, 100.25, 100.5, 100.75])
# Unit: area of its peak channel, and what is wrong with it.
UNITS = [
    ("VISam", ""),
    ("VISp", ""),
    ("VISam", "quality"),
    ("VISam", "presence_ratio"),
    ("VISam", ""),
    ("VISam", "isi_violations"),
    ("VISam", "amplitude_cutoff"),
    ("VISam", "channel"),
    ("", ""),
    ("LGd-sh", ""),
    ("VISam", "nan"),
]
KEPT = [0, 4]


def recorded():
    """Return the content of a small session: eight presentations in two stretches."""
    rng = np.random.default_rng(0)
    n = len(UNITS)
    spikes = [np.sort(rng.uniform(9, 102, 400 + 10 * k)) for k in range(n)]
    wrong = np.array([fault for _, fault in UNITS])
    channel = np.arange(n)[::-1] + 850000  # not in the order of the units
    return {
        "identifier": "798911424",
        "units/id": np.arange(n) + 951000000,
        "units/peak_channel_id": channel,
        "units/quality": np.where(wrong == "quality", "noise", "good").astype(object),
        "units/presence_ratio": np.where(wrong == "presence_ratio", 0.94, 0.95),
        "units/isi_violations": np.where(wrong == "isi_violations", 0.51, 0.5),
        "units/amplitude_cutoff": np.select(
            [wrong == "amplitude_cutoff", wrong == "nan"], [0.11, np.nan], 0.1
        ),
        "units/spike_times": np.concatenate(spikes),
        "units/spike_times_index": np.cumsum([len(times) for times in spikes]),
        f"{CHANNELS}/id": np.sort(channel),
        f"{CHANNELS}/location": np.array([area for area, _ in UNITS], object)[::-1],
        f"{CHANNELS}/group_name": np.array(["probeA", "probeB"] * n, object)[:n][::-1],
        f"{CHANNELS}/valid_data": (wrong != "channel")[::-1],
        f"{CHANNELS}/x": np.arange(n)[::-1] + 7000.0,
        f"{CHANNELS}/y": np.arange(n)[::-1] + 500.0,
        f"{CHANNELS}/z": np.arange(n)[::-1] + 8000.0,
        f"{SCENES}/frame": FRAMES,
        f"{SCENES}/start_time": ONSETS,
        f"{SCENES}/stop_time": ONSETS + 0.25,
    }


def invalid(*intervals):
    """Return the table of invalid times for (start, stop, label)."""
    tags = [tag for *_, label in intervals for tag in ("EcephysSession", "798911424", label)]
    return {
        f"{INVALID}/start_time": np.array([start for start, *_ in intervals]),
        f"{INVALID}/stop_time": np.array([stop for _, stop, _ in intervals]),
        f"{INVALID}/tags": np.array(tags, object),
        f"{INVALID}/tags_index": np.arange(3, len(tags) + 1, 3, dtype=np.uint8),
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            words = isinstance(value, np.ndarray) and value.dtype == object
            file.create_dataset(name, data=value, dtype=h5py.string_dtype() if words else None)
    return path


def pixel(row, column, scene):
    return (row + 3 * column + 7 * scene) % 251


@pytest.fixture(autouse=True)
def _data_folder(tmp_path, monkeypatch):
    """Keep copies of sessions to the test that makes them."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("VISUALCORTEX_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a folder as the AllenSDK keeps it, with the scenes."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("cache")
    (folder / "natural_scene_templates").mkdir()
    place = np.ogrid[:HEIGHT, :WIDTH]
    for scene in range(118):
        path = folder / "natural_scene_templates" / f"natural_scene_{scene}.tiff"
        image.fromarray(pixel(*place, scene).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def scenes_once():
    """Return the reader of the scenes, which reads each folder once: they are 118 files."""
    return functools.cache(allen.read_scenes)


@pytest.fixture
def read(cache, tmp_path, scenes_once, monkeypatch):
    """Return a function that writes a session and reads it with the scenes of the cache."""
    monkeypatch.setattr(allen_neuropixels, "read_scenes", scenes_once)

    def function(content, **options):
        path = write(tmp_path / "session_798911424.nwb", content)
        return read_allen_neuropixels(path, cache / "natural_scene_templates", **options)

    return function


def counted(content, unit, presentations, window=(0.0, 0.25)):
    """Count the spikes of a unit one by one."""
    ends = np.r_[0, content["units/spike_times_index"]]
    spikes = content["units/spike_times"][ends[unit] : ends[unit + 1]]
    return [
        sum(ONSETS[k] + window[0] <= time < ONSETS[k] + window[1] for time in spikes)
        for k in presentations
    ]


def steps(recording, words):
    (step,) = (step for step in recording.provenance.preprocessing if words in step)
    return step


@pytest.mark.parametrize("window", [(0.0, 0.25), (0.05, 0.3), (-0.1, 0.0)])
def test_spikes_are_counted_in_a_window_after_each_onset(read, window):
    content = recorded()
    recording = read(content, window=window)
    shown, grey = np.flatnonzero(FRAMES >= 0), np.flatnonzero(FRAMES < 0)
    for column, unit in enumerate(KEPT):
        np.testing.assert_array_equal(
            recording.responses[:, column], counted(content, unit, shown, window)
        )
        np.testing.assert_array_equal(
            recording.grey[:, column], counted(content, unit, grey, window)
        )
    assert recording.responses.sum() > 0
    assert recording.responses.attrs == {"quantity": "spike count", "units": "spikes"}
    assert f"from {window[0]:g} to {window[1]:g} s" in steps(recording, "spikes counted")


def test_trials_units_and_stretches_are_those_of_the_session(read):
    recording = read(recorded())
    np.testing.assert_array_equal(recording.stimulus, [5, 117, 5, 0, 5, 0])
    np.testing.assert_array_equal(recording.session, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(recording.trials["presentation"], [0, 2, 3, 4, 6, 7])
    np.testing.assert_array_equal(recording.trials["start_s"], ONSETS[[0, 2, 3, 4, 6, 7]])
    neurons = recording.neurons
    np.testing.assert_array_equal(neurons["unit_id"], [951000000, 951000004])
    np.testing.assert_array_equal(neurons[["x_um", "y_um", "z_um"]].iloc[1], [7004, 504, 8004])
    assert (neurons["area"] == "VISam").all()
    assert list(neurons["probe"]) == ["probeA", "probeA"]
    assert "2 of 8 units of VISam kept" in steps(recording, "kept")
    assert "session 798911424" in recording.provenance.source


def test_a_spike_on_a_shared_edge_counts_once_for_the_later_scene(read):
    content = recorded()
    content["units/spike_times"][:400] = 10.25  # unit 0, where the second presentation begins
    recording = read(content)
    assert recording.responses[0, 0] == 0
    assert recording.grey[0, 0] == 400


def test_presentations_are_put_in_order_of_time(read):
    content, order = recorded(), np.array([6, 1, 0, 7, 5, 2, 3, 4])
    in_order = read(content)
    for name in ("frame", "start_time", "stop_time"):
        content[f"{SCENES}/{name}"] = content[f"{SCENES}/{name}"][order]
    shuffled = read(content)
    np.testing.assert_array_equal(shuffled.responses, in_order.responses)
    np.testing.assert_array_equal(shuffled.session, in_order.session)
    np.testing.assert_array_equal(
        order[shuffled.trials["presentation"]], in_order.trials["presentation"]
    )


@pytest.mark.parametrize(
    ("area", "units"), [("VISp", [1]), ("LGd-sh", [9]), ("LGd", [9]), (None, [0, 1, 4, 9])]
)
def test_an_area_is_chosen_with_or_without_its_parts(read, area, units):
    recording = read(recorded(), area=area)
    np.testing.assert_array_equal(recording.neurons["unit_id"] - 951000000, units)


@pytest.mark.parametrize(
    ("interval", "left_out"),
    [
        ((10.3, 10.4, "stimulus"), [1]),
        ((10.3, 10.6, "all_probes"), [1, 2]),
        ((10.3, 10.4, "probeA"), [1]),
        ((10.3, 10.4, "probeB"), []),
        ((10.3, 10.4, "optotagging"), []),
        ((11.0, 100.0, "stimulus"), []),
        ((9.0, 10.01, "stimulus"), [0]),
    ],
)
def test_presentations_in_invalid_times_are_left_out(read, interval, left_out):
    recording = read(recorded() | invalid((1.0, 2.0, "stimulus"), interval))
    expected = [k for k in range(8) if FRAMES[k] >= 0 and k not in left_out]
    np.testing.assert_array_equal(recording.trials["presentation"], expected)
    assert len(recording.grey) == 2 - (1 in left_out)
    assert f"{len(left_out)} of 8 presentations in times marked" in steps(recording, "marked")


def test_a_wide_window_touches_more_invalid_times(read):
    recording = read(recorded() | invalid((11.0, 11.2, "stimulus")), window=(0.0, 0.5))
    np.testing.assert_array_equal(recording.trials["presentation"], [0, 2, 4, 6, 7])


def test_scenes_are_means_of_square_blocks(read):
    recording = read(recorded())
    assert recording.images.shape == (118, 54, 69)
    assert recording.images.dtype == np.float32
    rows, columns = np.ogrid[17 * 3 : 17 * 4, 17 * 68 : 17 * 69]
    expected = pixel(rows, columns, 117).mean()
    assert recording.images[117, 3, 68] == pytest.approx(expected, rel=1e-6)
    assert "0 rows at the bottom and 1 columns" in steps(recording, "images: ")


def test_scenes_as_published_and_found_beside_the_session(cache, tmp_path):
    for place, block in (("session_798911424/session_798911424.nwb", 1), ("session_1.nwb", 300)):
        path = write(cache / place, recorded())
        images = read_allen_neuropixels(path, block=block).images
        assert images.shape == (118, HEIGHT // block, WIDTH // block)
        assert block > 1 or images[3, 917, 1173] == pixel(917, 1173, 3)
    lost = write(tmp_path / "a" / "b" / "session_798911424.nwb", recorded())
    with pytest.raises(ValueError, match="scenes are not in session_798911424.nwb.*Get it from ht"):
        read_allen_neuropixels(lost)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "lacks natural_scene_7.tiff.*get_natural_scene_template"),
        (lambda path: path.write_bytes(b"<html>"), "natural_scene_7.tiff is not an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "not an image, or cut short"),
    ],
)
def test_a_scene_that_cannot_be_read_is_named(tmp_path, damage, message):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "natural_scene_templates"
    folder.mkdir()
    for scene in range(8):
        grey = np.full((HEIGHT, WIDTH), 9, np.uint8)
        image.fromarray(grey).save(folder / f"natural_scene_{scene}.tiff")
    damage(folder / "natural_scene_7.tiff")
    path = write(tmp_path / "session_1.nwb", recorded())
    with pytest.raises(ValueError, match=message):
        read_allen_neuropixels(path)


def replaced(name, value):
    return lambda content: content.update({name: value(content[name])})


def removed(name):
    return lambda content: content.pop(name)


def without_scenes(content):
    for name in [name for name in content if name.startswith(SCENES)]:
        del content[name]


BROKEN = {
    "no metric": (removed("units/presence_ratio"), "lacks units/presence_ratio"),
    "no spikes": (removed("units/spike_times"), "lacks units/spike_times"),
    "no channels": (removed(f"{CHANNELS}/location"), "lacks general/.*/location"),
    "no scenes": (without_scenes, "no natural scenes were shown.*brain_observatory_1.1"),
    "no frame": (removed(f"{SCENES}/frame"), f"lacks {SCENES}/frame"),
    "short metric": (
        replaced("units/isi_violations", lambda x: x[1:]),
        r"isi_violations in session_798911424.nwb must have shape \(11\); got \(10,\)",
    ),
    "words for numbers": (
        replaced("units/isi_violations", lambda x: x.astype(str).astype(object)),
        "isi_violations in .* must hold numbers",
    ),
    "numbers for words": (
        replaced("units/quality", lambda x: np.ones(len(x))),
        "quality in .* must hold words",
    ),
    "unknown channel": (
        replaced("units/peak_channel_id", lambda x: x + 1),
        "names channel 850011, which is not among the electrodes",
    ),
    "frame beyond": (replaced(f"{SCENES}/frame", lambda x: x + 1), "0 to 117.*got 118 in row 2"),
    "frame NaN": (replaced(f"{SCENES}/frame", lambda x: x * np.nan), "got nan in row 0"),
    "frame half": (replaced(f"{SCENES}/frame", lambda x: x + 0.5), "got 5.5 in row 0"),
    "grey only": (replaced(f"{SCENES}/frame", lambda x: x * 0 - 1), "shows grey screens only"),
    "no presentation": (
        lambda c: c.update({f"{SCENES}/{k}": np.empty(0) for k in TABLE}),
        "must be numbered 0 to 117, .* got none",
    ),
    "stop first": (replaced(f"{SCENES}/stop_time", lambda x: x - 1), "end after it starts"),
    "start NaN": (replaced(f"{SCENES}/start_time", lambda x: x * np.nan), "got NaN or a stop"),
    "spikes cut": (
        replaced("units/spike_times", lambda x: x[:-1]),
        "spike_times_index in .* must rise to the 4949 spike times; got 4950",
    ),
    "spikes NaN": (replaced("units/spike_times", lambda x: x * np.nan), "NaN in row 0"),
    "no unit left": (
        replaced("units/quality", lambda x: np.full(len(x), "noise", object)),
        "0 of 8 units of VISam kept: of good quality.*Choose another area",
    ),
    "all invalid": (
        lambda c: c.update(invalid((0.0, 200.0, "stimulus"))),
        "no presentation is valid",
    ),
}
TABLE = ("frame", "start_time", "stop_time")


@pytest.mark.parametrize("broken", BROKEN)
def test_a_session_of_another_form_is_refused_by_name(read, broken):
    damage, message = BROKEN[broken]
    content = recorded()
    damage(content)
    with pytest.raises(ValueError, match=f"session_798911424.nwb.*{message}|{message}") as error:
        read(content)
    assert "session_798911424.nwb" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"area": "VISan"}, r"no unit in area 'VISan'. Its areas: VISam \(8 units\), "),
        ({"window": (0.25, 0.0)}, r"window must be \(start, stop\) in s .*got \(0.25, 0.0\)"),
        ({"window": (0.0, np.nan)}, "window must be"),
        ({"window": (0.0,)}, "window must be"),
        ({"block": 0}, "block must be 1 to 918 pixels; got 0"),
    ],
)
def test_impossible_options_are_refused(read, options, message):
    with pytest.raises(ValueError, match=message):
        read(recorded(), **options)


def test_a_file_of_another_kind_or_cut_short_is_refused(cache, tmp_path):
    path = tmp_path / "session_1.nwb"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="session_1.nwb is not an NWB .* begins with b'<html>not"):
        read_allen_neuropixels(path, cache / "natural_scene_templates")
    write(path, recorded())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="session_1.nwb cannot be read .* cut short or damaged"):
        read_allen_neuropixels(path, cache / "natural_scene_templates")


def spikes_of(content, unit):
    ends = np.r_[0, content["units/spike_times_index"]]
    return content["units/spike_times"][ends[unit] : ends[unit + 1]]


@pytest.mark.parametrize("window", [(0.0, 0.25), (0.05, 0.3), (-0.1, 0.15)])
def test_spikes_are_counted_in_bins(read, window):
    content = recorded()
    recording = read(content, bins=5, window=window)
    assert isinstance(recording, SpikeTrains)
    shown = np.flatnonzero(FRAMES >= 0)
    edges = np.linspace(*window, 6)
    for column, unit in enumerate(KEPT):
        for b in range(5):
            np.testing.assert_array_equal(
                recording.responses[:, b, column],
                counted(content, unit, shown, (edges[b], edges[b + 1])),
            )
        np.testing.assert_array_equal(recording.spikes.of(column), spikes_of(content, unit))
    np.testing.assert_allclose(recording.responses["bin"], (edges[:-1] + edges[1:]) / 2)
    assert recording.responses["bin"].attrs["units"] == "s"
    assert recording.responses["bin"].attrs["width"] == pytest.approx(0.05)
    assert recording.responses.attrs == {"quantity": "spike count", "units": "spikes"}
    assert f"in 5 bins from {window[0]:g} to {window[1]:g} s" in steps(recording, "spikes counted")


def test_bins_and_single_counts_agree_on_everything_else(read):
    whole, binned = read(recorded()), read(recorded(), bins=4)
    np.testing.assert_array_equal(binned.responses.sum("bin"), whole.responses)
    np.testing.assert_array_equal(binned.stimulus, whole.stimulus)
    for column in ("session", "presentation", "start_s", "stop_s"):
        np.testing.assert_array_equal(binned.trials[column], whole.trials[column])
    np.testing.assert_array_equal(binned.images, whole.images)
    assert binned.neurons.equals(whole.neurons)
    assert binned.provenance.sha256 == whole.provenance.sha256


def test_grey_screens_are_no_scene_unless_they_are_kept(read):
    content = recorded()
    dropped, kept = read(content, bins=2), read(content, bins=2, blank="keep")
    np.testing.assert_array_equal(dropped.stimulus, [5, 117, 5, 0, 5, 0])
    np.testing.assert_array_equal(dropped.trials["frame"], dropped.stimulus)
    np.testing.assert_array_equal(kept.stimulus, [5, 118, 117, 5, 0, 118, 5, 0])
    np.testing.assert_array_equal(kept.trials["frame"], FRAMES)
    np.testing.assert_array_equal(kept.responses[FRAMES >= 0], dropped.responses)
    assert kept.images is None
    assert len(dropped.images) == 118
    assert steps(dropped, "grey screens") == "2 grey screens left out"
    assert steps(kept, "2 grey screens") == "2 grey screens kept as stimulus 118"


def test_what_was_shown_before_is_known_within_a_stretch_only(read):
    kept = read(recorded(), bins=1, blank="keep")
    np.testing.assert_array_equal(kept.trials["previous"], [-2, 5, -1, 117, -2, 0, -1, 5])
    dropped = read(recorded(), bins=1)
    np.testing.assert_array_equal(dropped.trials["previous"], [-2, -1, 117, -2, -1, 5])
    cut = read(recorded() | invalid((10.6, 10.7, "stimulus")), bins=1)
    np.testing.assert_array_equal(cut.trials["presentation"], [0, 3, 4, 6, 7])
    np.testing.assert_array_equal(cut.trials["previous"], [-2, -2, -2, -1, 5])


@pytest.mark.parametrize(
    ("window", "left_out"), [((0.0, 0.25), []), ((0.05, 0.3), [3]), ((-0.1, 0.2), [])]
)
def test_a_window_that_reaches_beyond_touches_more_invalid_times(read, window, left_out):
    interval = invalid((11.02, 11.03, "probeA"))  # after the end of the fourth presentation
    recording = read(recorded() | interval, bins=2, window=window)
    expected = [k for k in range(8) if FRAMES[k] >= 0 and k not in left_out]
    np.testing.assert_array_equal(recording.trials["presentation"], expected)
    assert f"{len(left_out)} of 8 presentations in times marked" in steps(recording, "marked")


@pytest.mark.parametrize(("area", "left_out"), [("VISp", [2]), ("LGd", [2]), ("VISam", [])])
def test_a_probe_is_invalid_for_its_own_units_only(read, area, left_out):
    recording = read(recorded() | invalid((10.6, 10.7, "probeB")), bins=1, area=area)
    expected = [k for k in range(8) if FRAMES[k] >= 0 and k not in left_out]
    np.testing.assert_array_equal(recording.trials["presentation"], expected)


@pytest.mark.parametrize("area", ["VISp, LGd", ("VISp", "LGd-sh"), ["LGd", "VISp"]])
def test_several_areas_are_taken_in_the_order_of_the_file(read, area):
    recording = read(recorded(), area=area)
    np.testing.assert_array_equal(recording.neurons["unit_id"] - 951000000, [1, 9])
    assert "2 of 2 units of " in steps(recording, "kept")


@pytest.mark.parametrize(
    ("quality", "units"),
    [
        ("default", [0, 4]),
        ("off", [0, 3, 4, 5, 6]),
        ({"presence_ratio": 0.9}, [0, 3, 4]),
        ({"isi_violations": np.inf, "amplitude_cutoff": 0.2}, [0, 4, 5, 6]),
    ],
)
def test_thresholds_of_quality_are_those_asked_for(read, quality, units):
    recording = read(recorded(), quality=quality)
    np.testing.assert_array_equal(recording.neurons["unit_id"] - 951000000, units)
    chosen = steps(recording, "kept")
    assert f"{len(units)} of 8 units of VISam" in chosen
    assert ("any presence ratio" in chosen) == (quality == "off")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins must be a whole number of bins, 1 or more"),
        ({"bins": 2.5}, "got 2.5"),
        ({"bins": True}, "got True"),
        ({"blank": "drip"}, "blank must be 'drop' or 'keep'; got 'drip'"),
        ({"blank": "keep"}, "blank='keep' needs bins.*Give bins=1"),
        ({"reader": "pynwb"}, "reader must be one of h5py, allensdk; got 'pynwb'"),
        ({"quality": "good"}, "quality must be 'default', 'off', or thresholds"),
        ({"quality": {"snr": 3}}, "for some of presence_ratio, isi_violations"),
        ({"quality": {"isi_violations": "0.5"}}, "threshold of isi_violations must be a number"),
        ({"quality": {"isi_violations": np.nan}}, "must be a number; got nan"),
        ({"area": ""}, "area must be an acronym"),
        ({"area": ["VISp", None]}, "area must be an acronym"),
        ({"area": "VISp,"}, "area must be an acronym"),
        ({"area": "VISp, VISan"}, r"no unit in area 'VISan'. Its areas: VISam \(8 units\), "),
    ],
)
def test_impossible_choices_are_refused(read, options, message):
    with pytest.raises(ValueError, match=message):
        read(recorded(), **options)


def test_spike_trains_need_a_scene_that_is_valid(read):
    only_grey = recorded() | invalid((9.0, 10.2, "stimulus"), (10.51, 200.0, "stimulus"))
    assert read(only_grey, bins=1, blank="keep").n_trials == 1
    with pytest.raises(ValueError, match="session_798911424.nwb: only grey screens are valid"):
        read(only_grey, bins=1)


class TestScenesAreOptionalWithBins:
    @pytest.fixture
    def session(self, tmp_path):
        return write(tmp_path / "alone" / "session_798911424.nwb", recorded())

    def test_without_scenes_there_are_no_images(self, session):
        recording = read_allen_neuropixels(session, bins=2)
        assert recording.images is None
        assert "images: none" in steps(recording, "images")
        with pytest.raises(ValueError, match="scenes are not in .* With bins none are needed"):
            read_allen_neuropixels(session)

    def test_small_scenes_of_others_are_taken(self, session, tmp_path):
        scenes = np.random.default_rng(0).integers(0, 256, (118, 961)).astype(float)
        np.save(tmp_path / "small.npy", scenes)
        recording = read_allen_neuropixels(session, tmp_path / "small.npy", bins=2)
        assert recording.images.dtype == np.float32
        np.testing.assert_array_equal(recording.images.reshape(118, 961), scenes)
        assert recording.images[3, 1, 2] == scenes[3, 31 + 2]
        assert "squeezed to 31 x 31" in steps(recording, "images")
        assert set(recording.provenance.sha256) == {"session_798911424.nwb", "small.npy"}
        with pytest.raises(
            ValueError, match="small.npy holds small scenes.*With bins they will do"
        ):
            read_allen_neuropixels(session, tmp_path / "small.npy")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (np.zeros((118, 900)), r"must hold 118 scenes of 31 x 31 .* got float64 \(118, 900\)"),
            (np.full((118, 961), np.nan), "holds NaN or infinity"),
            (np.full((118, 961), "x"), "must hold 118 scenes"),
            (None, "is no array of numpy, or cut short"),
        ],
    )
    def test_small_scenes_of_another_form_are_refused(self, session, tmp_path, content, message):
        path = tmp_path / "small.npy"
        np.save(path, np.zeros((118, 961)) if content is None else content)
        if content is None:
            os.truncate(path, 5000)
        with pytest.raises(ValueError, match=message):
            read_allen_neuropixels(session, path, bins=2)

    def test_the_published_small_scenes_are_of_that_form(self, session, real_data):
        path = real_data("allen/all_input_scenes_118_961.npy")
        images = read_allen_neuropixels(session, path, bins=2).images
        assert images.shape == (118, 31, 31)
        assert (images.min(), images.max()) == (0, 255)

    def test_the_catalogue_loads_trains_without_scenes(self, tmp_path):
        write(tmp_path / "data" / "session_798911424.nwb", recorded())
        recording = load("allen_neuropixels", bins=3, area=None, quality="off", simulator="v1")
        assert recording.responses.sizes == {"trial": 6, "bin": 3, "neuron": 7}
        assert recording.images is None


class TestCopies:
    """What was read of a session is kept, and read again only where it must be."""

    @pytest.fixture
    def path(self, tmp_path):
        return write(tmp_path / "session_1.nwb", recorded() | invalid((10.3, 10.4, "probeA")))

    def read(self, path, **options):
        return read_allen_neuropixels(path, bins=3, **options)

    def folder(self, path):
        (folder,) = (path.parent / "data" / "allen_neuropixels" / "neutral").glob("session_1-*")
        return folder

    def same(self, first, second):
        assert first.responses.equals(second.responses)
        assert first.trials.equals(second.trials)
        assert first.neurons.equals(second.neurons)
        assert first.provenance == second.provenance
        return True

    def test_another_choice_needs_no_second_look_at_the_file(self, path, monkeypatch):
        first, other = self.read(path), self.read(path, area="VISp", window=(0.05, 0.3))
        calls = []
        monkeypatch.setattr(allen_neuropixels_file, "open_hdf5", lambda *a: calls.append(a))
        assert self.same(self.read(path), first)
        assert self.same(self.read(path, area="VISp", window=(0.05, 0.3)), other)
        assert calls == []
        assert isinstance(first.spikes, SpikeTimes)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda folder: os.truncate(folder / "times.npy", 500),
            lambda folder: os.truncate(folder / "ends.npy", 0),
            lambda folder: (folder / "good.npy").unlink(),
            lambda folder: (folder / "content.json").write_text("{"),
            lambda folder: (folder / "content.json").write_text('{"arrays": {}}'),
            lambda folder: np.save(folder / "frame.npy", np.zeros(3)),
        ],
    )
    def test_a_damaged_copy_is_made_anew(self, path, damage):
        first = self.read(path)
        damage(self.folder(path))
        assert self.same(self.read(path), first)

    def test_a_copy_of_another_content_is_not_taken(self, path):
        self.read(path)
        before = self.folder(path)
        content = recorded()
        content["units/spike_times"] = content["units/spike_times"] + 1
        os.utime(write(path, content), ns=(1, 1))
        np.testing.assert_array_equal(self.read(path).spikes.of(0), spikes_of(content, 0))
        assert self.folder(path) != before

    def test_a_session_that_breaks_off_leaves_no_copy(self, path, monkeypatch):
        def broken(file, ends):
            yield np.zeros(3)
            raise KeyboardInterrupt

        monkeypatch.setattr(allen_neuropixels_file, "_spikes", broken)
        with pytest.raises(KeyboardInterrupt):
            self.read(path)
        monkeypatch.undo()
        found = list((path.parent / "data").rglob("*.npy"))
        assert found == []

    def test_without_room_for_a_copy_the_session_is_held_in_memory(self, path, tmp_path):
        first = self.read(path)
        (tmp_path / "file").write_bytes(b"x")
        recording = self.read(path, folder=tmp_path / "file" / "copies")
        assert recording.responses.equals(first.responses)
        assert "no copy for faster loading" in steps(recording, "held in memory")

    def test_a_path_without_file_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="is not a file; expected session_<id>.nwb"):
            self.read(tmp_path / "session_2.nwb")


NO_SPIKES = {
    "units/spike_times": np.empty(0),
    "units/spike_times_index": np.zeros(len(UNITS), np.int64),
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (recorded() | NO_SPIKES, "holds no spikes"),
        (
            recorded() | {"units/spike_times_index": np.array([4950])},
            "must have one row for each of the 11 units; got 1",
        ),
    ],
)
def test_sessions_whose_spikes_cannot_be_are_refused(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(content)


class TestSessionTable:
    HEAD = "id,date_of_acquisition,session_type,age_in_days,sex,genotype\n"
    ROWS = (
        "798911424,2018-12-21T00:00:00Z,brain_observatory_1.1,110.0,F,Vip\n"
        "715093703,2019-01-19T08:54:18Z,brain_observatory_1.1,118.0,M,Sst\n"
        "766640955,2019-01-19T08:54:18Z,functional_connectivity,118.0,M,wt/wt\n"
    )

    def test_the_numbers_are_known_without_any_table(self):
        table = session_table()
        assert len(table) == 32
        assert table.index.is_monotonic_increasing
        assert {715093703, 798911424, 754312389} <= set(table.index)
        assert list(table) == list(COLUMNS)
        assert table.isna().all(axis=None)

    def test_mice_and_probes_come_from_the_tables_of_the_cache(self, tmp_path):
        (tmp_path / "data" / "cache").mkdir()
        path = tmp_path / "data" / "cache" / "sessions.csv"
        path.write_text(self.HEAD + self.ROWS)
        table = session_table()
        assert list(table.index) == [715093703, 798911424]
        assert list(table["sex"]) == ["M", "F"]
        assert list(table["age_days"]) == [118, 110]
        assert list(table["genotype"]) == ["Sst", "Vip"]
        assert list(table["date"]) == ["2019-01-19", "2018-12-21"]
        assert table["n_probes"].isna().all()
        path.with_name("probes.csv").write_text("id,ecephys_session_id\n1,715093703\n2,715093703\n")
        assert list(session_table(path)["n_probes"]) == [2, 0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "cannot be read as a table .* Get it from https://allen-brain"),
            ("id,sex\n1,M\n", "lacks the columns session_type, age_in_days, genotype"),
            (HEAD, "lists no session brain_observatory_1.1"),
        ],
    )
    def test_another_table_is_refused(self, tmp_path, text, message):
        path = tmp_path / "sessions.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            session_table(path)

    def test_the_published_tables_are_of_that_form(self, real_data):
        table = session_table(real_data("allen/sessions.csv"))
        assert set(table.index) == set(session_table().index)
        assert table["n_probes"].between(3, 6).all()
        assert set(table["sex"]) == {"F", "M"}
        assert table.notna().all(axis=None)
