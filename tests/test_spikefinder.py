"""Calcium with known spikes: the type, and the reader of the spikefinder challenge's tables."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex.catalogue import ENTRIES, load, needs
from visualcortex.recording import CalciumSpikes, Provenance
from visualcortex.sources.spikefinder import read_spikefinder

NAMES = ("5.train.calcium.csv", "5.train.spikes.csv")
LENGTHS = (12, 9, 7)


def tables():
    """Three neurons of twelve samples or fewer: traces and spikes, NaN at the end."""
    rng = np.random.default_rng(0)
    traces, spikes = rng.normal(size=(12, 3)).round(4), rng.poisson(0.5, (12, 3)).astype(float)
    for neuron, length in enumerate(LENGTHS):
        traces[length:, neuron] = spikes[length:, neuron] = np.nan
    return traces, spikes


def write(folder: Path, traces, spikes):
    paths = []
    for name, table in zip(NAMES, (traces, spikes), strict=True):
        pd.DataFrame(table).to_csv(folder / name, index=False)
        paths.append(folder / name)
    return paths


@pytest.fixture
def files(tmp_path):
    return write(tmp_path, *tables())


class TestReader:
    def test_values_lengths_and_times_are_those_of_the_tables(self, files):
        recording = read_spikefinder(*files)
        traces, spikes = tables()
        np.testing.assert_array_equal(recording.traces, traces.T)
        np.testing.assert_array_equal(recording.spikes, spikes.T)
        assert tuple(recording.lengths) == LENGTHS
        assert recording.frame_rate == pytest.approx(100)
        assert recording.truth is None
        expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        assert recording.provenance.sha256 == expected

    def test_whole_numbers_may_be_written_as_such(self, tmp_path):
        """The spikes of neurons of one length are written 0 and 1, not 0.0 and 1.0."""
        paths = write(tmp_path, np.ones((4, 2)), np.eye(4, 2).astype(int))
        assert read_spikefinder(*paths).spikes.sum() == 2

    @pytest.mark.parametrize(
        ("which", "spoil", "message"),
        [
            (0, lambda t: "", "begin with the numbers of its columns"),
            (0, lambda t: "<!DOCTYPE html>\n<html>not found</html>\n", "got '<!DOCTYPE html>'"),
            (0, lambda t: t.split("\n", 1)[1], "begin with the numbers"),
            (0, lambda t: t[:-30], "cut short|same rows|NaN"),
            (0, lambda t: "\n".join(t.split("\n")[:-3]) + "\n", "same rows and columns"),
            (1, lambda t: "\n".join(line.rsplit(",", 1)[0] for line in t.split("\n")), "same rows"),
            (0, lambda t: t.replace("0,1,2\n", "0,1,2\nx,1,2\n"), "not a table of numbers"),
            (0, lambda t: t.replace("0,1,2\n", "0,1,2\n1,1,2,4\n"), "table of numbers|columns"),
            (0, lambda t: "0,1,2\n", "two rows or more"),
            (0, lambda t: t.replace("0,1,2\n", "0,1,2\n,1.0,1.0\n", 1), "same rows"),
            (1, lambda t: t.replace("1.0", "-1.0", 1), "whole numbers of spikes.*first -1"),
            (1, lambda t: t.replace("1.0", "0.5", 1), "the first 0.5 in row .* traces"),
        ],
    )
    def test_a_spoilt_table_is_named_and_refused(self, files, which, spoil, message):
        files[which].write_text(spoil(files[which].read_text()))
        with pytest.raises(ValueError, match=rf"(?s)5\.train\..*({message})"):
            read_spikefinder(*files)

    def test_a_gap_in_the_middle_is_refused(self, tmp_path):
        traces, spikes = tables()
        traces[3, 1] = spikes[3, 1] = np.nan
        with pytest.raises(ValueError, match=r"neuron 1 has 8 finite values of 12"):
            read_spikefinder(*write(tmp_path, traces, spikes))

    def test_the_tables_are_not_taken_for_each_other(self, files):
        with pytest.raises(ValueError, match="may be a table of traces"):
            read_spikefinder(*files[::-1])

    def test_the_published_dataset_is_as_described(self, real_data):
        recording = read_spikefinder(*(real_data(f"spikefinder/{name}") for name in NAMES))
        assert recording.traces.shape == (9, 16919)
        assert set(recording.lengths) == {16919}
        rates = recording.spikes.to_numpy().sum(axis=1) / 169.19
        assert (rates.min() > 2.5, rates.max() < 12.5) == (True, True)


class TestCatalogue:
    ENTRY = next(entry for entry in ENTRIES if entry.id == "spikefinder")

    def test_two_tables_belong_to_every_dataset(self):
        assert sorted(self.ENTRY.choices) == list(range(1, 11))
        for number in self.ENTRY.choices:
            names = [f"{number}.train.{kind}.csv" for kind in ("calcium", "spikes")]
            assert [file.name for file in self.ENTRY.of(number)] == names
            assert all(file.url.endswith(file.name) for file in self.ENTRY.of(number))

    @pytest.mark.parametrize(("chosen", "number"), [({}, 5), ({"number": 3}, 3)])
    def test_a_run_needs_the_tables_of_the_dataset_it_chose(self, chosen, number):
        found = [file["file"] for file in needs({"dataset": "spikefinder"} | chosen)]
        assert found == [f"{number}.train.{kind}.csv" for kind in ("calcium", "spikes")]

    def test_other_numbers_are_refused(self):
        with pytest.raises(ValueError, match="spikefinder has no number 11"):
            load("spikefinder", number=11)

    def test_the_published_dataset_is_found_by_its_checksum(self, real_data, monkeypatch):
        folder = real_data(f"spikefinder/{NAMES[0]}").parent
        monkeypatch.setenv("VISUALCORTEX_DATA", str(folder))
        monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
        assert load("spikefinder").n_neurons == 9


def recording(traces, spikes, **others):
    named = [
        xr.DataArray(
            values,
            dims=("neuron", "time"),
            coords={"time": np.arange(np.shape(values)[1]) / 10},
            attrs={"quantity": "something", "units": "1"},
        )
        for values in (traces, spikes)
    ]
    fields = {
        "neurons": pd.DataFrame(index=range(len(traces))),
        "provenance": Provenance("test", "", "MIT", "", {}, ("made",)),
    }
    return CalciumSpikes(traces=named[0], spikes=named[1], **(fields | others))


class TestCalciumSpikes:
    def test_neurons_come_without_their_padding(self):
        traces, spikes = (table.T for table in tables())
        found = recording(traces, spikes)
        for neuron, length in enumerate(LENGTHS):
            for part, whole in zip(found.of(neuron), (traces, spikes), strict=True):
                np.testing.assert_array_equal(part, whole[neuron, :length])
        assert found.summary()["length"] == "1 to 1 s a neuron"
        assert "3 neurons × 12 frames" in repr(found)

    def test_joined_frames_keep_every_spike_and_the_mean_of_the_trace(self):
        traces, spikes = (table.T for table in tables())
        found = recording(traces, spikes).coarser(3)
        assert found.frame_rate == pytest.approx(10 / 3)
        np.testing.assert_array_equal(found.lengths, [4, 3, 2])
        for neuron, length in enumerate(LENGTHS):
            whole = length // 3 * 3
            trace, counts = found.of(neuron)
            assert counts.sum() == spikes[neuron, :whole].sum()
            np.testing.assert_allclose(trace, traces[neuron, :whole].reshape(-1, 3).mean(axis=1))
        np.testing.assert_allclose(found.traces["time"], [0, 0.3, 0.6, 0.9])
        assert found.provenance.preprocessing == ("made", "3 frames joined into one")

    @pytest.mark.parametrize("n_frames", [0, 7])
    def test_too_few_frames_are_not_joined(self, n_frames):
        traces, spikes = (table.T for table in tables())
        with pytest.raises(ValueError, match=f"two frames or more of 12; got {n_frames}"):
            recording(traces, spikes).coarser(n_frames)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t, s: (t, s[:2]), "the neurons and frames of traces"),
            (lambda t, s: (t[:, :1], s[:, :1]), "two frames or more, evenly spaced"),
            (lambda t, s: (t[:0], s[:0]), "one neuron or more"),
            (lambda t, s: (np.where(t == t[0, 2], np.inf, t), s), "or infinity"),
            (lambda t, s: (t, np.nan_to_num(s)), "NaN where traces are"),
            (lambda t, s: (t[:, ::-1], s[:, ::-1]), "NaN at the end only"),
            (lambda t, s: (t, s - 1), "whole and not negative; got -1"),
            (lambda t, s: (t, s / 2), "whole and not negative"),
            (lambda t, s: (t.astype(str), s), "must be real numbers"),
        ],
    )
    def test_what_is_no_such_recording_is_refused(self, change, message):
        traces, spikes = (table.T for table in tables())
        with pytest.raises(ValueError, match=message):
            recording(*change(traces, spikes))

    def test_other_tables_times_and_arrays_are_refused(self):
        traces, spikes = (table.T for table in tables())
        with pytest.raises(ValueError, match="one row for each of the 3 neurons"):
            recording(traces, spikes, neurons=pd.DataFrame(index=range(2)))
        with pytest.raises(TypeError, match="xarray.DataArray with named dimensions"):
            CalciumSpikes(traces=traces, spikes=spikes, neurons=None, provenance=None)
        good = recording(traces, spikes)
        uneven = good.traces.assign_coords(time=np.arange(12.0) ** 2)
        with pytest.raises(ValueError, match="evenly spaced"):
            CalciumSpikes(
                traces=uneven,
                spikes=good.spikes.assign_coords(time=uneven["time"]),
                neurons=good.neurons,
                provenance=good.provenance,
            )
        with pytest.raises(ValueError, match="or other times"):
            CalciumSpikes(
                traces=uneven,
                spikes=good.spikes,
                neurons=good.neurons,
                provenance=good.provenance,
            )
