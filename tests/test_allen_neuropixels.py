"""The reader of Neuropixels sessions: files in the published layout, and others."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from visualcortex.sources import allen, allen_neuropixels
from visualcortex.sources.allen import HEIGHT, WIDTH
from visualcortex.sources.allen_neuropixels import read_allen_neuropixels

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


def write_as_the_recorders(path, content, invalid_times):
    """Write the content with pynwb and the AllenSDK's extension of it, as the files were made."""
    import pynwb
    from allensdk.brain_observatory.ecephys import nwb as extension
    from allensdk.brain_observatory.nwb import add_invalid_times

    file = pynwb.NWBFile("d", "798911424", datetime(2019, 1, 1, tzinfo=UTC))
    add_channels(file, content, extension)
    add_units(file, content)
    add_scenes(file, pynwb)
    add_invalid_times(file, invalid_times)
    with pynwb.NWBHDF5IO(str(path), "w") as stream:
        stream.write(file)


def add_channels(file, content, extension):
    probes = {}
    for k, name in enumerate(("probeA", "probeB")):
        device = extension.EcephysProbe(
            name=name, description="p", manufacturer="m", sampling_rate=3e4, probe_id=k
        )
        file.add_device(device)
        probes[name] = extension.EcephysElectrodeGroup(
            name=name, description="g", location="v", device=device, probe_id=k,
            lfp_sampling_rate=2500.0, has_lfp_data=False,
        )  # fmt: skip
        file.add_electrode_group(probes[name])
    for name in (*CHANNEL_NUMBERS, "probe_id", "valid_data"):
        file.add_electrode_column(name, name)
    of_channel = {name: content[f"{CHANNELS}/{name}"] for name in ("id", "x", "y", "z")}
    for k in range(len(UNITS)):
        probe = probes[content[f"{CHANNELS}/group_name"][k]]
        file.add_electrode(
            **{name: values[k].item() for name, values in of_channel.items()},
            imp=1.0, filtering="f", group=probe, probe_id=probe.probe_id,
            location=content[f"{CHANNELS}/location"][k] or "None",
            valid_data=bool(content[f"{CHANNELS}/valid_data"][k]),
            **dict.fromkeys(CHANNEL_NUMBERS, k),
        )  # fmt: skip


def add_units(file, content):
    of_unit = [name for name in content if name.startswith("units/") and "spike" not in name]
    for name in (*(name.removeprefix("units/") for name in of_unit[1:]), *UNIT_NUMBERS):
        file.add_unit_column(name, name)
    file.add_unit_column("spike_amplitudes", "a", index=True)
    ends = np.r_[0, content["units/spike_times_index"]]
    for k in range(len(UNITS)):
        spikes = content["units/spike_times"][ends[k] : ends[k + 1]]
        values = {name.removeprefix("units/"): content[name][k] for name in of_unit}
        file.add_unit(
            **(values | {"id": int(values["id"])} | dict.fromkeys(UNIT_NUMBERS, 1)),
            spike_times=spikes, spike_amplitudes=spikes, waveform_mean=np.zeros((3, 4)),
        )  # fmt: skip


def add_scenes(file, pynwb):
    clock = np.arange(9, 103, 0.01)
    series = pynwb.TimeSeries(name="timestamps", data=clock, timestamps=clock, unit="s")
    module = pynwb.ProcessingModule("stimulus", "s")
    file.add_processing_module(module)
    module.add_data_interface(series)
    shown = pynwb.epoch.TimeIntervals(name="natural_scenes_presentations", description="s")
    for name in ("stimulus_name", "stimulus_block", "stimulus_index", "frame"):
        shown.add_column(name=name, description=name)
    for k, frame in enumerate(FRAMES):
        shown.add_interval(
            start_time=ONSETS[k], stop_time=ONSETS[k] + 0.25, stimulus_name="natural_scenes",
            stimulus_block=float(k // 4), stimulus_index=0.0, frame=frame,
            tags=("stimulus_time_interval",), timeseries=[series],
        )  # fmt: skip
    file.add_time_intervals(shown)


CHANNEL_NUMBERS = ("probe_vertical_position", "probe_horizontal_position", "local_index")
UNIT_NUMBERS = ("local_index", "cluster_id", "firing_rate")


@pytest.mark.allen
@pytest.mark.filterwarnings("ignore")
def test_the_allensdk_counts_the_same_spikes_of_the_same_units(
    cache, tmp_path, scenes_once, monkeypatch
):
    pytest.importorskip("allensdk", reason="needs allensdk")
    from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession

    monkeypatch.setattr(allen_neuropixels, "read_scenes", scenes_once)
    path = tmp_path / "session_798911424.nwb"
    interval = {"type": "EcephysSession", "id": 1, "start_time": 10.8, "end_time": 10.9}
    write_as_the_recorders(path, recorded(), [interval | {"label": "stimulus"}])
    peer = EcephysSession.from_nwb_path(str(path))
    units = peer.units.sort_index()
    units = units[units["structure_acronym"] == "VISam"].index.to_numpy()
    scenes = peer.get_stimulus_table("natural_scenes")
    counts = peer.presentationwise_spike_counts(np.array([0, 0.25]), scenes.index.values, units)
    frame = scenes["frame"].to_numpy().astype(float)

    recording = read_allen_neuropixels(path, cache / "natural_scene_templates")
    np.testing.assert_array_equal(recording.neurons["unit_id"], units)
    np.testing.assert_array_equal(recording.stimulus, frame[frame >= 0])
    expected = counts.sel(unit_id=units).to_numpy()[:, 0]
    np.testing.assert_array_equal(recording.responses, expected[frame >= 0])
    np.testing.assert_array_equal(recording.grey, expected[frame < 0])
    assert (recording.n_trials, len(recording.grey)) == (5, 2)
