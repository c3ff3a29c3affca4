"""The environment is used, not only resolved: `pip check` is blind to the breaks known here."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
import torch


def test_torch_and_numpy_share_memory():
    array = np.arange(6.0).reshape(2, 3)
    tensor = torch.from_numpy(array)
    tensor += 1
    assert np.shares_memory(tensor.numpy(), array)
    np.testing.assert_array_equal(array, np.arange(1.0, 7.0).reshape(2, 3))


def test_a_data_loader_with_workers_hands_back_every_trial():
    trials = torch.utils.data.TensorDataset(torch.arange(10))
    loader = torch.utils.data.DataLoader(trials, batch_size=4, num_workers=1)
    assert torch.cat([batch for (batch,) in loader]).tolist() == list(range(10))


# What the Allen Software Development Kit does on import in an environment of today.
ALLEN_WARNINGS = pytest.mark.filterwarnings(
    "ignore:pkg_resources is deprecated",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning",
)


@pytest.mark.allen
@ALLEN_WARNINGS
class TestAllen:
    def test_both_caches_open_offline(self, tmp_path):
        pytest.importorskip("allensdk", reason="needs allensdk")
        from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache
        from allensdk.core.brain_observatory_cache import BrainObservatoryCache

        ecephys = tmp_path / "ecephys.json"
        EcephysProjectCache.from_warehouse(manifest=str(ecephys))
        observatory = tmp_path / "observatory.json"
        BrainObservatoryCache(manifest_file=str(observatory))
        assert ecephys.exists()
        assert observatory.exists()

    def test_an_nwb_file_is_written_and_read(self, tmp_path):
        pynwb = pytest.importorskip("pynwb", reason="needs pynwb")
        path = tmp_path / "session.nwb"
        session = pynwb.NWBFile("a test", "x", datetime(2026, 1, 1, tzinfo=UTC))
        session.add_unit(spike_times=[0.1, 0.5, 0.9])
        with pynwb.NWBHDF5IO(str(path), "w") as file:
            file.write(session)
        with pynwb.NWBHDF5IO(str(path), "r") as file:
            np.testing.assert_array_equal(file.read().units["spike_times"][0], [0.1, 0.5, 0.9])


@pytest.mark.press
class TestLock:
    def pins(self, root) -> dict[str, str]:
        lines = (root / "requirements.lock").read_text().splitlines()
        return dict(re.split(r"==", line.split(" ;")[0]) for line in lines if line.strip())

    def test_every_line_of_the_lock_is_an_exact_pin(self, root):
        lines = (root / "requirements.lock").read_text().splitlines()
        loose = [
            line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[^*\s]+( ;.*)?", line)
        ]
        assert loose == []

    def test_torch_is_pinned_without_a_local_version(self, root):
        assert self.pins(root)["torch"] == "2.13.0"

    def test_what_is_installed_is_what_is_locked(self, root):
        pytest.importorskip("papermill", reason="needs the locked environment")
        wrong = {
            name: (pin, found)
            for name, pin in self.pins(root).items()
            if (found := importlib.metadata.version(name).split("+")[0]) != pin
        }
        assert wrong == {}

    def test_no_package_with_a_copyleft_licence_is_needed(self, root):
        assert {"oasis-deconv", "suite2p", "minimodel", "pingouin"}.isdisjoint(self.pins(root))


def test_the_science_needs_no_press_and_is_light():
    """Importing the catalogue loads neither torch nor the press: the build asks it for files."""
    code = (
        "import sys, visualcortex; visualcortex.catalogue; import visualcortex.catalogue;"
        "print([m for m in ('torch', 'sklearn', 'allensdk', 'papermill', 'bookpress')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
