"""The walk-through from a file of one's own to a chapter is carried out, as written, in a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = [pytest.mark.press, pytest.mark.long]
pytest.importorskip("papermill", reason="needs the press")

from visualcortex import catalogue, load  # noqa: E402
from visualcortex.sources.given import GivenFile  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "your-recording.md").read_text()
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCK.findall(PAGE) if language == "python"]
SHELL = [line for kind, code in BLOCK.findall(PAGE) if kind == "bash" for line in code.splitlines()]
TABLES, NWB, ARRAYS, READ, CHAPTER, ENTRY = PYTHON
LOADING = 'recording = visualcortex.load(dataset, simulator="calcium_population", seed=seed)'


@pytest.fixture(scope="module")
def loader():
    """The template's loader under the name that the page gives it."""
    import importlib.util

    path = ROOT / "notebooks" / "template" / "loader.py"
    spec = importlib.util.spec_from_file_location("visualcortex.sources.our_lab", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        yield module


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_tables() -> np.ndarray:
    responses = np.random.default_rng(1).normal(1.0, 0.2, (24, 4))
    pd.DataFrame(responses).to_csv("responses.csv", index=False)
    pd.DataFrame({"stimulus": ["up", "down", "left"] * 8}).to_csv("trials.csv", index=False)
    return responses


def test_tables_become_a_recording(here, loader):
    responses = write_tables()
    exec(TABLES, {})
    exec(READ, names := {})
    recording = names["recording"]
    np.testing.assert_allclose(recording.responses, responses)
    assert recording.stimulus[:3].tolist() == [2, 0, 1]  # down, left, up by the alphabet
    assert recording.provenance.preprocessing == ("motion corrected", "dF/F, running baseline")


def test_spike_times_become_counts(here, loader):
    pynwb = pytest.importorskip("pynwb", reason="needs pynwb")
    session = pynwb.NWBFile("animal 3, gratings", "x", datetime(2026, 1, 1, tzinfo=UTC))
    session.add_unit(spike_times=[1.01, 1.02, 2.46])
    session.add_unit(spike_times=[1.26])
    session.add_trial_column("stimulus", "which grating")
    session.add_trial(start_time=1.0, stop_time=1.5, stimulus="b")
    session.add_trial(start_time=2.0, stop_time=2.5, stimulus="a")
    with pynwb.NWBHDF5IO("session.nwb", "w") as file:
        file.write(session)
    exec(NWB, {})
    recording = loader.read_recording(Path("animal_3.npz"))
    counts = recording.responses.to_numpy()
    assert np.argwhere(counts).tolist() == [[0, 0, 0], [0, 5, 1], [1, 9, 0]]
    assert counts[0, 0, 0] == 2
    assert recording.stimulus.tolist() == [1, 0]


def test_arrays_are_turned_round(here, loader):
    traces = np.random.default_rng(2).normal(size=(3, 6, 5))  # (neuron, trial, time)
    np.savez("theirs.npz", traces=traces, label=np.arange(1, 7)[:, None])
    exec(ARRAYS, {})
    recording = loader.read_recording(Path("animal_3.npz"))
    np.testing.assert_array_equal(recording.responses[4, 2], traces[:, 4, 2])
    assert recording.stimulus.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_entry_makes_it_known_by_name(here, loader, monkeypatch):
    write_tables()
    exec(TABLES, {})
    monkeypatch.setenv("VISUALCORTEX_DATA", str(here))
    module = sys.modules["visualcortex.catalogue"]
    names = {"Entry": module.Entry, "GivenFile": GivenFile}
    monkeypatch.setattr(module, "ENTRIES", (*module.ENTRIES, eval(ENTRY, names)))
    assert load("our_lab").n_neurons == 4
    assert module.needs({"dataset": "our_lab"})[0]["present"]
    assert catalogue().loc["our_lab", "files"] == "animal_3.npz"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the book with a chapter of its own as the page tells, executed on the file."""
    folder = tmp_path_factory.mktemp("copy")
    left_out = shutil.ignore_patterns("__pycache__", "[0-9]*", "data.*", "diagnostics.*", "params")
    for name in ("lib", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    (folder / "_toc.yml").write_text(
        "root: book/index\nparts:\n  - caption: The chapters\n    chapters:\n"
    )
    return folder


def carried_out(command: str, folder: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(folder / "lib"),
        "HOME": str(folder),
        "VISUALCORTEX_DATA": str(folder / "recordings"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_documented_steps_make_a_chapter_about_it(copy, monkeypatch):
    monkeypatch.chdir(copy)
    write_tables()
    exec(TABLES, {})
    (copy / "recordings").mkdir()
    (copy / "animal_3.npz").rename(copy / "recordings" / "animal_3.npz")
    assert SHELL[0] == "source .venv/bin/activate"
    steps = [line for line in SHELL[1:] if not line.startswith("export")]
    for step in steps[:4]:
        carried_out(step, copy)
    script = copy / "notebooks" / "07_ours.py"
    text = script.read_text()
    assert text.count(LOADING) == 1
    script.write_text(text.replace(LOADING, CHAPTER.strip()))
    for step in steps[4:]:
        carried_out(step, copy)
    assert steps[-1] == "bookpress run 07"
    (result,) = (copy / "results" / "07_ours").glob("*.json")
    assert "our laboratory, animal 3" in result.read_text()
    assert str(copy) not in result.read_text()
