"""The reader through the AllenSDK: the same session by both ways, as the recorders write it."""

from __future__ import annotations

import functools
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from test_allen_neuropixels import CHANNELS, FRAMES, ONSETS, UNITS, recorded

from visualcortex import load
from visualcortex.sources import allen_sdk
from visualcortex.sources.allen_neuropixels import Choice, read_allen_neuropixels, recording_of
from visualcortex.sources.allen_neuropixels_file import parse_session
from visualcortex.sources.allen_sdk import parse_with_sdk, read_allen_sdk

INVALID = [("stimulus", 10.8, 10.9), ("probeB", 100.1, 100.2), ("optotagging", 0.0, 200.0)]
# Warnings of the AllenSDK and of what it imports.
pytestmark = [pytest.mark.allen, pytest.mark.filterwarnings("ignore")]


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


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    pytest.importorskip("allensdk", reason="needs allensdk")
    path = tmp_path_factory.mktemp("session") / "session_798911424.nwb"
    interval = {"type": "EcephysSession", "id": 1}
    intervals = [
        interval | {"label": label, "start_time": start, "end_time": stop}
        for label, start, stop in INVALID
    ]
    write_as_the_recorders(path, recorded(), intervals)
    return path


@pytest.fixture(scope="module")
def parsed(path):
    """The session by either reader."""
    return parse_session(path, path.parent / "copies"), parse_with_sdk(path)


@pytest.fixture(scope="module")
def opened(path):
    """The session as the AllenSDK opens it by default."""
    from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession

    return EcephysSession.from_nwb_path(str(path))


def assert_same(first, second):
    assert type(first) is type(second)
    assert first.responses.equals(second.responses)
    assert first.trials.equals(second.trials)
    assert first.neurons.equals(second.neurons)
    if first.responses.ndim == 2:
        assert first.grey.equals(second.grey)
    else:
        np.testing.assert_array_equal(first.spikes.times, second.spikes.times)
        np.testing.assert_array_equal(first.spikes.ends, second.spikes.ends)


def test_both_readers_find_the_same_in_a_file(parsed):
    ours, theirs = parsed
    rows = np.flatnonzero(ours.units["amplitude_cutoff"].notna())  # the others it never returns
    assert len(rows) == len(UNITS) - 1
    assert ours.units.iloc[rows].reset_index(drop=True).equals(theirs.units)
    assert ours.presentations.equals(theirs.presentations)
    spikes = ours.spikes(rows)
    np.testing.assert_array_equal(spikes.times, theirs.times)
    np.testing.assert_array_equal(spikes.ends, theirs.ends)
    assert ours.invalid == theirs.invalid
    assert (ours.number, ours.sha256) == (theirs.number, theirs.sha256)


@pytest.mark.parametrize(
    ("options", "n_trials"),
    [
        ({}, 5),
        ({"area": None, "quality": "off", "blank": "keep"}, 6),
        ({"area": "VISp, LGd", "window": (0.05, 0.3)}, 4),
        ({"quality": {"presence_ratio": 0.9}}, 4),
    ],
)
def test_both_readers_return_the_same_recording(parsed, options, n_trials):
    ours, theirs = (recording_of(one, Choice(bins=5, **options), None, None) for one in parsed)
    assert_same(ours, theirs)
    assert ours.n_trials == n_trials
    assert "read with the AllenSDK" in " ".join(theirs.provenance.preprocessing)


def test_the_reader_is_an_option(path, monkeypatch, parsed):
    monkeypatch.setattr(allen_sdk, "parse_with_sdk", functools.cache(lambda path: parsed[1]))
    monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parent))
    by_option = load("allen_neuropixels", bins=2, reader="allensdk")
    assert_same(by_option, load("allen_neuropixels", bins=2))
    assert_same(by_option, read_allen_sdk(path, bins=2))


def test_units_and_counts_are_those_that_the_allensdk_hands_over(opened, parsed):
    ours = recording_of(parsed[0], Choice(bins=1), None, None)
    units = opened.units.sort_index()
    units = units[units["structure_acronym"] == "VISam"].index.to_numpy()
    np.testing.assert_array_equal(ours.neurons["unit_id"], units)
    scenes = opened.get_stimulus_table("natural_scenes")
    scenes = scenes[scenes["frame"].astype(float) >= 0]
    counts = opened.presentationwise_spike_counts(np.array([0, 0.25]), scenes.index.values, units)
    np.testing.assert_array_equal(ours.stimulus, scenes["frame"].astype(float))
    np.testing.assert_array_equal(ours.responses, counts.sel(unit_id=units))
    for column, unit in enumerate(units):
        np.testing.assert_array_equal(ours.spikes.of(column), opened.spike_times[unit])


def test_a_session_that_is_open_gives_the_same(opened, path):
    mine = read_allen_sdk(opened, bins=3)
    assert_same(mine, read_allen_neuropixels(path, bins=3, folder=path.parent / "copies"))
    assert mine.provenance.sha256.keys() == {path.name}
    off = read_allen_sdk(opened, bins=3, quality="off")
    assert off.n_neurons == mine.n_neurons  # an open session holds no other units


def test_without_the_allensdk_it_is_said_what_to_do(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "allensdk.brain_observatory.ecephys.ecephys_session", None)
    with pytest.raises(ImportError, match="needs it: pip install .*or leave out reader="):
        read_allen_sdk(path, bins=1)
