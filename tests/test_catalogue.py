"""The catalogue: what it lists, loads and refuses."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys

import numpy as np
import pytest

import visualcortex
from visualcortex import catalogue, load
from visualcortex.catalogue import ENTRIES, needs
from visualcortex.sources.fetch import DataError

SMALL = {"n_neurons": 3, "trials_per_stimulus": 4}


@pytest.fixture(autouse=True)
def _empty_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VISUALCORTEX_DATA", str(tmp_path))
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")


def test_the_catalogue_lists_every_entry_with_its_terms():
    table = catalogue()
    assert list(table.index) == [entry.id for entry in ENTRIES]
    assert table.index.is_unique
    real = table[table["files"] != ""]
    assert (real[["what", "citation", "licence", "url", "size", "how to get it"]] != "").all(
        axis=None
    )
    assert table.loc["guan2018", "size"] == "0.58 MB"
    assert table.loc["guan2018_traces", "size"] == "not published"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_entry_names_a_maker_that_exists(entry):
    module, name = entry.maker.split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_a_simulation_is_the_same_by_either_name():
    first = load("simulated", simulator="calcium_population", seed=3, **SMALL)
    second = load("calcium_population", seed=3, **SMALL)
    np.testing.assert_array_equal(first.responses, second.responses)
    assert first.n_neurons == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "guan2081"}, "unknown dataset 'guan2081'. Did you mean 'guan2018'.*Datasets: sim"),
        ({"id": "zzz"}, "unknown dataset 'zzz'. Datasets: simulated, calcium_population"),
        ({"id": "simulated"}, "needs the name of a simulator; got simulator=None. Simulators"),
        ({"id": "simulated", "simulator": "calcium_popul"}, "Did you mean 'calcium_population'"),
        ({"id": "simulated", "simulator": "guan2018"}, "needs the name of a simulator"),
        ({"id": "calcium_population", "n_neuron": 3}, "no option 'n_neuron'. Did you mean 'n_neu"),
        ({"id": "guan2018", "n_neurons": 3}, "no option 'n_neurons'. It takes none"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_a_recording_without_its_files_is_a_clear_error():
    with pytest.raises(DataError, match="20180827_Mouse1_mean_signal.csv .579401 bytes. is not"):
        load("guan2018", simulator="calcium_population", seed=1)


def test_files_at_hand_are_read_with_their_checksums(real_data, monkeypatch):
    path = real_data("guanlab/20180827_Mouse1_mean_signal.csv")
    monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parent))
    recording = load("guan2018", simulator="calcium_population", seed=1)
    assert recording.responses.attrs["quantity"] == "active frames"
    entry = next(entry for entry in ENTRIES if entry.id == "guan2018")
    read = {f"sha256:{digest}" for digest in recording.provenance.sha256.values()}
    assert read == {file.checksum for file in entry.files}
    assert recording.provenance.citation == entry.citation
    assert recording.provenance.licence == entry.licence
    assert all(file["present"] for file in needs({"dataset": "guan2018"}))


@pytest.mark.parametrize(
    "parameters", [{}, {"seed": 1}, {"dataset": "simulated"}, {"dataset": "calcium_population"}]
)
def test_a_simulation_needs_no_files(parameters):
    assert needs(parameters) == []


def test_needs_lists_files_and_whether_they_are_there(tmp_path):
    mean, tag = needs({"dataset": "guan2018", "seed": 1})
    assert (mean["file"], mean["size"]) == ("20180827_Mouse1_mean_signal.csv", 579401)
    assert (mean["present"], tag["present"]) == (False, False)
    assert all(file["checksum"].startswith("sha256:") for file in (mean, tag))
    (tmp_path / tag["file"]).write_bytes(b"x" * 1176)
    assert not needs({"dataset": "guan2018"})[1]["present"], "a namesake counts as present"


def test_needs_sees_a_file_with_the_right_identity(tmp_path, monkeypatch):
    content = b"1,2\n"
    file = visualcortex.sources.fetch.RemoteFile(
        "x.csv", "http://x", "sha256:" + hashlib.sha256(content).hexdigest(), 4
    )
    module = sys.modules["visualcortex.catalogue"]
    entry = module.Entry(id="x", what="", citation="", licence="", url="", maker="", files=(file,))
    monkeypatch.setattr(module, "ENTRIES", (entry,))
    assert not needs({"dataset": "x"})[0]["present"]
    (tmp_path / "x.csv").write_bytes(content)
    assert needs({"dataset": "x"})[0]["present"]


def test_needs_refuses_an_unknown_dataset():
    with pytest.raises(ValueError, match="unknown dataset 'guan'"):
        needs({"dataset": "guan"})


def test_needs_is_light():
    """The press asks before every run: it must not wait for the numerical libraries."""
    script = (
        "import sys; from visualcortex.catalogue import needs; needs({'dataset': 'guan2018'});"
        "print(sorted({'torch', 'sklearn', 'xarray', 'pandas'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert answer.stdout.decode().strip() == "[]"


class TestSeveralMice:
    """One id for several recordings; the option `mouse` counts them."""

    (ENTRY,) = (entry for entry in ENTRIES if entry.id == "stringer2018b")
    COMMON = ["images_natimg2800_all.mat", "stimuli_class_assignment_confident.mat"]

    def names(self, **parameters):
        return [file["file"] for file in needs({"dataset": "stringer2018b"} | parameters)]

    def test_the_reader_knows_the_recordings_in_the_same_order(self):
        from visualcortex.sources.stringer2018b import FIELDS

        assert [file.name for file in self.ENTRY.mice] == [f"natimg2800_{k}.mat" for k in FIELDS]

    def test_the_first_is_the_one_of_the_authors_notebook(self):
        assert self.names() == ["natimg2800_M170714_MP032_2017-09-14.mat", *self.COMMON]

    @pytest.mark.parametrize(
        ("parameters", "mice"),
        [
            ({"mouse": 3}, [3]),
            ({"mouse": 0, "n_mice": 3}, [0, 1, 2]),
            ({"n_mice": 7}, range(7)),
            ({"mouse": 5, "n_mice": 2}, [5, 0, 1]),
            ({"mouse": 1, "n_mice": 0}, [1]),
            ({"mouse": np.int64(2), "seed": 1}, [2]),
        ],
    )
    def test_a_run_needs_its_mice_and_the_common_files_once(self, parameters, mice):
        expected = [self.ENTRY.mice[mouse].name for mouse in mice]
        assert self.names(**parameters) == expected + self.COMMON

    @pytest.mark.parametrize("mouse", [7, -1, "0", 1.0, None])
    def test_an_unknown_mouse_is_refused_with_the_known_ones(self, mouse):
        message = f"stringer2018b has no mouse {mouse!r}. Its recordings: 0 = natimg2800_M170714"
        with pytest.raises(ValueError, match=message):
            load("stringer2018b", mouse=mouse)
        with pytest.raises(ValueError, match="6 = natimg2800_M170717_MP034_2017-09-11.mat"):
            needs({"dataset": "stringer2018b", "mouse": mouse})

    def test_more_mice_than_there_are_are_refused(self):
        with pytest.raises(ValueError, match="has no mouse 7"):
            needs({"dataset": "stringer2018b", "n_mice": 8})

    def test_an_entry_of_one_recording_has_no_mouse(self):
        with pytest.raises(ValueError, match="guan2018 has no option 'mouse'. It takes none"):
            load("guan2018", mouse=0)
        with pytest.raises(ValueError, match="no option 'mous'. Did you mean 'mouse'"):
            load("stringer2018b", mous=0)

    @pytest.mark.parametrize("dataset", ["simulated", "calcium_population", "guan2018"])
    def test_a_chapter_can_pass_a_mouse_whatever_its_dataset(self, dataset):
        parameters = {"dataset": dataset, "mouse": 9, "n_mice": 9}
        assert needs(parameters) == needs({"dataset": dataset})

    def test_files_that_cannot_be_had_are_a_clear_error(self):
        message = "natimg2800_M161025_MP030_2017-05-29.mat .* doi:10.25378/janelia.6845348/natimg"
        with pytest.raises(DataError, match=message):
            load("stringer2018b", mouse=2, simulator="v1", seed=1)

    def test_a_local_file_is_taken_while_its_checksum_is_not_known(self, tmp_path):
        (tmp_path / self.ENTRY.mice[2].name).write_bytes(b"x")
        files = needs({"dataset": "stringer2018b", "mouse": 2})
        assert [file["present"] for file in files] == [True, False, False]
        assert files[0]["checksum"] == "MD5 published under the DOI"

    def test_the_catalogue_lists_every_file(self):
        row = catalogue().loc["stringer2018b"]
        assert len(row["files"].split(", ")) == 9
        assert row["checksums"].startswith("MD5 published under the DOI, sha256:18721867c4")
        assert row["size"] == "listed under the DOI"


def test_the_package_offers_its_four_names():
    assert {"load", "catalogue", "Recording", "__version__"} == set(visualcortex.__all__)
    assert visualcortex.Recording.__module__ == "visualcortex.recording"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = visualcortex.nothing
