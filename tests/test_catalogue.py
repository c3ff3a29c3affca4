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
from visualcortex.sources import given
from visualcortex.sources.fetch import DataError
from visualcortex.spontaneous import known_wiring

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
    assert (real[["what", "licence", "size", "how to get it"]] != "").all(axis=None)
    nobody = (real[["citation", "url"]] == "").any(axis=1)
    assert list(real.index[nobody]) == ["lif80", "lif80_calcium"]  # made for this book
    assert table.loc["guan2018", "size"] == "0.58 MB"
    assert table.loc["guan2018_traces", "size"] == "not published"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_entry_names_a_maker_that_exists(entry):
    paths = [entry.maker, *([entry.recorder] if entry.kind == "model" else [])]
    for path in paths:
        module, name = path.split(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_a_simulation_is_the_same_by_either_name():
    first = load("simulated", simulator="calcium_population", seed=3, **SMALL)
    second = load("calcium_population", seed=3, **SMALL)
    np.testing.assert_array_equal(first.responses, second.responses)
    assert first.n_neurons == 3


def test_neurons_with_known_best_images_are_simulated_with_their_truth():
    few = {f"n_{name}": 1 for name in ("simple", "complex", "surround", "curved", "corner")}
    images = {"n_train": 50, "n_validation": 2, "n_test": 2, "n_repeats": 2}
    recording = load("v1_known_rf", seed=3, n_two_subunit=2, **few, **images)
    assert recording.n_neurons == 7
    assert recording.truth.optimal_images().shape == (7, 36, 64)
    assert catalogue().loc["v1_known_rf", "licence"] == "MIT"
    assert needs({"dataset": "simulated", "simulator": "v1_known_rf"}) == []


def test_sites_that_read_a_hidden_network_are_simulated_with_their_truth():
    few = {"n_sites": 3, "n_plain": 0, "n_varied": 1, "n_repeats": 2}
    recording = load("ventral", seed=3, layer="stage 4", **few)
    assert recording.responses.shape == (128, 3)
    assert recording.truth.layer == "stage 4"
    people = {"n_images": 5, "n_sites": 9, "n_voxels": 20, "n_subjects": 2}
    matrices = load("simulated", simulator="ventral_subjects", seed=3, n_sessions=3, **people)
    assert matrices.rdms.shape == (7, 5, 5)
    assert matrices.truth.rdms.shape == (3, 5, 5)
    for name in ("ventral", "ventral_subjects"):
        assert catalogue().loc[name, "how to get it"].startswith("made on the spot")
        assert needs({"dataset": name}) == []
    with pytest.raises(ValueError, match="ventral has no option 'layr'. Did you mean 'layer'"):
        load("ventral", layr="stage 4")


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


class TestSessions:
    """One id for many sessions, chosen by their number; files without a checksum."""

    (ENTRY,) = (entry for entry in ENTRIES if entry.id == "allen_neuropixels")
    SCENES = "natural_scene_templates"

    def test_the_default_is_that_of_the_project_that_the_book_redoes(self):
        files = [file["file"] for file in needs({"dataset": "allen_neuropixels"})]
        assert files == ["session_798911424.nwb", self.SCENES]

    def test_sessions_are_chosen_by_their_number(self):
        files = needs({"dataset": "allen_neuropixels", "session": 715093703, "n_mice": 1})
        names = [file["file"] for file in files]
        assert names == ["session_715093703.nwb", "session_798911424.nwb", self.SCENES]
        assert {file["checksum"] for file in files} == {"none published"}

    @pytest.mark.parametrize("session", [0, 1, "798911424", None, 799864342.0])
    def test_an_unknown_session_is_refused_with_the_known_ones(self, session):
        message = f"has no session {session!r}. Its recordings: 798911424 = session_798911424.nwb"
        with pytest.raises(ValueError, match=message):
            load("allen_neuropixels", session=session)

    def test_more_sessions_than_there_are_are_refused(self):
        with pytest.raises(ValueError, match="has no session 32"):
            needs({"dataset": "allen_neuropixels", "n_mice": 33})

    @pytest.mark.parametrize(
        ("option", "message"),
        [("sesion", "Did you mean 'session'"), ("mouse", "session, area, window, block")],
    )
    def test_an_unknown_option_is_refused_with_the_known_ones(self, option, message):
        with pytest.raises(ValueError, match=f"no option '{option}'.*{message}"):
            load("allen_neuropixels", **{option: 0})

    def test_trains_of_spikes_do_without_the_scenes(self, tmp_path):
        parameters = {"dataset": "allen_neuropixels", "bins": 5}
        assert [file["file"] for file in needs(parameters)] == ["session_798911424.nwb"]
        assert len(needs(parameters | {"bins": None})) == 2
        (tmp_path / self.SCENES).mkdir()
        assert [file["file"] for file in needs(parameters)] == [
            "session_798911424.nwb",
            self.SCENES,
        ]

    def test_a_session_that_is_not_at_hand_is_to_be_fetched_by_hand(self):
        message = r"session_798911424.nwb is not below .* No checksum.*get it from https://allen-b"
        with pytest.raises(DataError, match=message):
            load("allen_neuropixels", simulator="v1", seed=1)

    def test_every_session_is_listed_once(self):
        assert len(self.ENTRY.choices) == 32
        row = catalogue().loc["allen_neuropixels"]
        assert row["files"] == f"session_798911424.nwb and 31 more, {self.SCENES}"
        assert row["checksums"] == "none published"
        assert row["size"] == "not published"
        assert row["how to get it"].startswith("to be fetched by hand")

    def test_the_sessions_are_those_with_natural_scenes(self, real_data):
        path = real_data("allen/sessions.csv")
        table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
        with_scenes = table["id"][table["session_type"] == "brain_observatory_1.1"]
        assert sorted(self.ENTRY.choices) == sorted(with_scenes)

    def test_options_and_files_reach_the_reader(self, tmp_path, monkeypatch):
        module = importlib.import_module("visualcortex.sources.allen_neuropixels")
        monkeypatch.setattr(module, "read_allen_neuropixels", lambda *files, **o: (files, o))
        session = tmp_path / "cache" / "session_715093703" / "session_715093703.nwb"
        session.parent.mkdir(parents=True)
        session.write_bytes(b"x")
        (tmp_path / "cache" / self.SCENES).mkdir()
        files, options = load("allen_neuropixels", session=715093703, area="VISp", seed=2)
        assert files == (session, tmp_path / "cache" / self.SCENES)
        assert options == {"area": "VISp"}
        (tmp_path / "cache" / self.SCENES).rmdir()
        files, options = load("allen_neuropixels", session=715093703, bins=5, quality="off")
        assert files == (session, None)
        assert options == {"bins": 5, "quality": "off"}
        with pytest.raises(DataError, match="natural_scene_templates is not below"):
            load("allen_neuropixels", session=715093703)
        (tmp_path / "cache" / self.SCENES).mkdir()
        listed = needs({"dataset": "allen_neuropixels", "session": 715093703})
        assert all(file["present"] for file in listed)


class TestGivenFiles:
    """Files without a published checksum are found by name and never downloaded."""

    FILE = given.GivenFile(name="scan.zip", url="http://x/scan.zip", also="scan")

    def test_a_file_or_the_folder_out_of_it_is_found_anywhere(self, tmp_path):
        assert self.FILE.find() is None
        (tmp_path / "b" / "scan").mkdir(parents=True)
        assert self.FILE.find() == tmp_path / "b" / "scan"
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "scan.zip").write_bytes(b"x")
        assert self.FILE.find() == self.FILE.get() == tmp_path / "a" / "scan.zip"

    def test_links_are_taken(self, tmp_path):
        target = tmp_path.parent / f"{tmp_path.name}-elsewhere"
        target.mkdir()
        (tmp_path / "scan").symlink_to(target)
        assert self.FILE.find() == tmp_path / "scan"

    def test_what_is_missing_is_said_with_its_address(self, tmp_path):
        message = f"scan.zip is not below {tmp_path}.*from http://x/scan.zip and put it anywhere"
        with pytest.raises(DataError, match=message):
            self.FILE.get()

    @pytest.mark.parametrize("dataset", ["allen_2p", "sensorium2022", "majaj2015"])
    def test_recordings_of_given_files_are_asked_for_by_name(self, dataset):
        (file,) = needs({"dataset": dataset})
        assert not file["present"]
        with pytest.raises(DataError, match=file["file"]):
            load(dataset)

    def test_the_two_mice_of_the_competition_come_last(self):
        (file,) = needs({"dataset": "sensorium2022", "mouse": 5})
        assert file["file"].startswith("static26872-17-20-GrayImageNet")


class TestMonkeyIT:
    """The recordings of monkey and human inferior temporal cortex."""

    FILES = {
        "majaj2015": ["IT_data.h5"],
        "majaj2015_public": [
            "assy_dicarlo_MajajHong2015_public.nc",
            "stimulus_hvm-public.csv",
            "stimulus_hvm-public.zip",
        ],
        "kriegeskorte2008": ["Kriegeskorte_Neuron2008_supplementalData.mat", "92_brainRDMs.mat"],
    }

    @pytest.mark.parametrize("dataset", FILES)
    def test_a_run_needs_all_their_files(self, dataset):
        files = needs({"dataset": dataset, "n_mice": 3, "seed": 1})
        assert [file["file"] for file in files] == self.FILES[dataset]
        assert not any(file["present"] for file in files)
        with pytest.raises(DataError, match=self.FILES[dataset][0]):
            load(dataset, simulator="v1", seed=1)

    def test_the_region_is_an_option_of_the_public_part(self):
        message = "no option 'regoin'. Did you mean 'region'. Its options: region"
        with pytest.raises(ValueError, match=message):
            load("majaj2015_public", regoin="V4")
        with pytest.raises(ValueError, match="majaj2015 has no option 'region'. It takes none"):
            load("majaj2015", region="V4")

    def test_a_namesake_of_a_published_file_is_not_taken(self, tmp_path):
        (tmp_path / "stimulus_hvm-public.csv").write_bytes(b"image_id\n")
        assert not needs({"dataset": "majaj2015_public"})[1]["present"]


class TestKnownNetworks:
    """Networks of known wiring, simulated here, kept here, or simulated by others."""

    FILES = {
        "lif80": "lif80/lif80.npz",
        "lif80_calcium": "lif80/lif80.npz",
        "naixinren_lif20": "naixinren_sim/lif20.mat",
        "spycon_tiny": "spycon/sim1917Cell1Block1_tiny.npz",
    }

    def test_a_network_is_simulated_with_its_options(self):
        recording = load("simulated", simulator="wired_network", seed=3, n_neurons=8, duration=2.0)
        assert recording.truth.weights.shape == (8, 8)
        again = load("wired_network", seed=3, n_neurons=8, duration=2.0)
        np.testing.assert_array_equal(again.spikes.times, recording.spikes.times)
        with pytest.raises(ValueError, match="no option 'n_neuron'. Did you mean 'n_neurons'"):
            load("wired_network", n_neuron=8)

    @pytest.mark.parametrize("dataset", FILES)
    def test_files_are_asked_for_by_name(self, dataset):
        (file,) = needs({"dataset": dataset, "seed": 1})
        name = self.FILES[dataset].split("/")[1]
        assert (file["file"], file["present"]) == (name, False)
        with pytest.raises(DataError, match=name):
            load(dataset, seed=1)
        with pytest.raises(ValueError, match="It takes none"):
            load(dataset, n_neurons=8)

    def test_what_was_made_for_the_book_is_to_be_had_from_its_authors(self):
        with pytest.raises(DataError, match="get it from the authors of this book"):
            load("lif80")

    @pytest.mark.parametrize("dataset", FILES)
    def test_a_network_at_hand_is_loaded(self, dataset, real_data, monkeypatch):
        path = real_data(self.FILES[dataset])
        monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parent))
        recording = load(dataset, simulator="wired_network", seed=1)
        wiring = known_wiring(recording)
        assert len(wiring.cell_type) == recording.n_neurons
        entry = next(entry for entry in ENTRIES if entry.id == dataset)
        source = recording.provenance
        assert (source.citation, source.licence, source.url) == (
            entry.citation,
            entry.licence,
            entry.url,
        )
        (file,) = needs({"dataset": dataset})
        assert file["present"]
        assert file["size"] in (None, path.stat().st_size)
        assert f"sha256:{source.sha256[path.name]}" == file["checksum"] or file["size"] is None


class TestModels:
    """A published model is listed with the recordings and loaded by its own function."""

    def test_the_catalogue_says_which_entries_are_models(self):
        table = catalogue()
        assert list(table.index[table["kind"] == "model"]) == ["sensorium2022_model"]
        assert set(table["kind"]) == {"recording", "model"}
        assert table.loc["sensorium2022_model", "size"] == "2.4 MB"

    def test_a_model_at_hand_is_loaded(self, real_data, monkeypatch):
        path = real_data("sensorium/sensorium_sota_model.pth")
        monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parent))
        twin = visualcortex.load_model("sensorium2022_model")
        assert twin.n_neurons == 7776
        entry = next(entry for entry in ENTRIES if entry.id == "sensorium2022_model")
        assert twin.provenance.sha256 == {path.name: entry.files[0].checksum.split(":")[1]}
        assert twin.provenance.url == entry.url
        assert (twin.provenance.citation, twin.provenance.licence) == (
            entry.citation,
            entry.licence,
        )
        assert needs({"dataset": "sensorium2022_model"})[0]["present"]

    def test_a_model_without_its_file_is_a_clear_error(self):
        with pytest.raises(DataError, match="sensorium_sota_model.pth .2383728 bytes. is not"):
            visualcortex.load_model("sensorium2022_model")

    def test_a_model_is_recorded_from(self, real_data, monkeypatch):
        path = real_data("sensorium/sensorium_sota_model.pth")
        monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parent))
        few = {"n_neurons": 5, "n_train": 50, "n_validation": 2, "n_test": 2, "n_repeats": 2}
        recording = load("sensorium2022_model", simulator="v1_known_rf", seed=3, **few)
        assert recording.responses.shape == (56, 5)
        assert recording.provenance.sha256 == {
            file["file"]: file["checksum"].split(":")[1]
            for file in needs({"dataset": "sensorium2022_model"})
        }
        again = load("sensorium2022_model", seed=3, **few)
        np.testing.assert_array_equal(again.responses, recording.responses)
        assert not np.array_equal(load("sensorium2022_model", **few).responses, again.responses)

    def test_what_records_from_a_model_takes_its_options_only(self):
        with pytest.raises(ValueError, match="_model has no option 'n_neuron'. Did you mean 'n_n"):
            load("sensorium2022_model", n_neuron=5)
        with pytest.raises(ValueError, match="has no option 'mouse'. Its options: n_train"):
            load("sensorium2022_model", mouse=0)
        with pytest.raises(ValueError, match="n_neurons must be a whole number"):
            load("sensorium2022_model", n_neurons=0)

    def test_a_model_without_its_file_is_not_recorded_from(self):
        files = needs({"dataset": "sensorium2022_model", "seed": 1, "simulator": "v1_known_rf"})
        assert [(f["file"], f["present"]) for f in files] == [("sensorium_sota_model.pth", False)]
        with pytest.raises(DataError, match="sensorium_sota_model.pth .2383728 bytes. is not"):
            load("sensorium2022_model", seed=1)

    def test_recordings_are_no_models(self):
        with pytest.raises(ValueError, match="'sensorium2022' is no model.*'sensorium2022_model'"):
            visualcortex.load_model("sensorium2022")
        with pytest.raises(ValueError, match="Models: sensorium2022_model. A recording"):
            visualcortex.load_model("v1")


def test_the_package_offers_its_names():
    names = {"load", "load_model", "catalogue", "Recording", "__version__"}
    assert names == set(visualcortex.__all__)
    assert visualcortex.Recording.__module__ == "visualcortex.recording"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = visualcortex.nothing
