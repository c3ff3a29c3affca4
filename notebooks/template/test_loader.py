"""The loader of one's own recording: what it returns, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from visualcortex.recording import CalciumRecording, ImageResponses, SpikeTrains
from visualcortex.sources import our_lab

RNG = np.random.default_rng(0)
N_TRIALS, N_FRAMES, N_NEURONS = 12, 5, 3
FILE = {
    "kind": "calcium",
    "responses": RNG.normal(size=(N_TRIALS, N_FRAMES, N_NEURONS)),
    "stimulus": np.arange(N_TRIALS) % 4,
    "quantity": "dF/F",
    "units": "1",
    "source": "our laboratory, animal 3",
    "frame_rate": 10.0,
}


@pytest.fixture
def written(tmp_path):
    """Write a file that differs from the good one; None leaves an array out."""

    def write(**changes: object):
        content = {name: value for name, value in (FILE | changes).items() if value is not None}
        path = tmp_path / "animal_3.npz"
        np.savez(path, **content)
        return path

    return write


def test_what_was_written_is_what_is_read(written):
    path = written(steps=["motion corrected", "running baseline"])
    recording = our_lab.read_recording(path)
    assert isinstance(recording, CalciumRecording)
    np.testing.assert_array_equal(recording.responses, FILE["responses"])
    np.testing.assert_array_equal(recording.stimulus, FILE["stimulus"])
    np.testing.assert_allclose(recording.responses["time"], [0.0, 0.1, 0.2, 0.3, 0.4])
    assert recording.provenance.preprocessing == ("motion corrected", "running baseline")
    assert len(recording.provenance.sha256[path.name]) == 64


def test_spikes_are_counted_in_bins_whose_middle_is_known(written):
    counts = RNG.poisson(2.0, (N_TRIALS, N_FRAMES, N_NEURONS))
    recording = our_lab.read_recording(written(kind="spikes", responses=counts, units="count"))
    assert isinstance(recording, SpikeTrains)
    np.testing.assert_allclose(recording.responses["bin"], [0.05, 0.15, 0.25, 0.35, 0.45])


def test_pictures_come_with_their_responses(written):
    images = RNG.uniform(size=(4, 6, 8))
    one_number = FILE["responses"][:, 0]
    path = written(kind="images", responses=one_number, images=images, frame_rate=None)
    recording = our_lab.read_recording(path)
    assert isinstance(recording, ImageResponses)
    np.testing.assert_array_equal(recording.images, images)


NOT_A_NUMBER = np.where(np.arange(N_TRIALS)[:, None, None] == 2, np.nan, FILE["responses"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stimulus": None}, "lacks stimulus"),
        ({"kind": "voltage"}, "must be one of calcium, spikes, images; got 'voltage'"),
        ({"source": " "}, "source in animal_3.npz must be a word"),
        ({"frame_rate": None}, "frame_rate must be one number of Hz above 0"),
        ({"frame_rate": -10.0}, "frame_rate must be one number of Hz above 0.*got -10"),
        ({"stimulus": np.arange(5)}, "each of the 12 trials"),
        ({"stimulus": np.full(N_TRIALS, 0.5)}, "must hold integers"),
        ({"responses": np.zeros(N_TRIALS)}, r"got \(12,\)"),
        ({"responses": NOT_A_NUMBER}, r"animal_3.npz: responses must be finite.*trial 2"),
        ({"kind": "spikes"}, "counts must be whole"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_does_not_fit_is_refused_with_a_reason(written, changes, told):
    with pytest.raises(ValueError, match=told):
        our_lab.read_recording(written(**changes))


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    path.write_text("trial,neuron\n1,2\n")
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        our_lab.read_recording(path)
