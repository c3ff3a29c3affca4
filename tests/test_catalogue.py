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


def test_the_package_offers_its_four_names():
    assert {"load", "catalogue", "Recording", "__version__"} == set(visualcortex.__all__)
    assert visualcortex.Recording.__module__ == "visualcortex.recording"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = visualcortex.nothing
