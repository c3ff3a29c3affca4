"""The fit loop: what it keeps, when it stops, and that an interruption changes nothing."""

import os

import numpy as np
import pytest
import torch

from visualcortex import training
from visualcortex.training import CheckpointError, choose_device, run_epochs, to_tensor


class Descent:
    """Noisy gradient descent on a parabola; its next step depends on every part of its state."""

    def __init__(self, size=3, seed=0):
        self.weights = torch.ones(size)
        self.rng = torch.Generator().manual_seed(seed)

    def train_epoch(self):
        noise = torch.randn(self.weights.shape, generator=self.rng)
        self.weights = 0.9 * self.weights + 0.1 * noise
        return {"loss": float(self.weights.square().sum())}

    def state_dict(self):
        return {"weights": self.weights, "rng": self.rng.get_state()}

    def load_state_dict(self, state):
        if state["weights"].shape != self.weights.shape:
            raise ValueError(f"{len(state['weights'])} weights instead of {len(self.weights)}")
        self.weights = state["weights"].clone()
        self.rng.set_state(state["rng"])


class Script(Descent):
    """Validation losses as given, so that what should be kept is known."""

    def __init__(self, losses):
        super().__init__()
        self.losses, self.epoch = losses, 0

    def train_epoch(self):
        self.epoch += 1
        return super().train_epoch()

    def validate(self):
        return self.losses[self.epoch - 1]

    def state_dict(self):
        return {**super().state_dict(), "epoch": self.epoch}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.epoch = state["epoch"]


def run(trainee, n_epochs, **options):
    return run_epochs(trainee, n_epochs, progress=False, **options)


def test_history_has_a_row_an_epoch():
    history = run(Descent(), 4)
    assert history.columns.tolist() == ["epoch", "loss", "kept"]
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["kept"].tolist() == [False, False, False, True]


def test_the_state_of_the_lowest_validation_loss_is_restored():
    trainee = Script([5.0, 3.0, 1.0, 2.0, 1.0])
    history = run(trainee, 5)
    assert trainee.epoch == 3
    reference = Descent()
    run(reference, 3)
    assert torch.equal(trainee.weights, reference.weights)
    assert history.loc[history["kept"], "epoch"].tolist() == [3]


def test_patience_counts_epochs_without_improvement():
    trainee = Script([5.0, 3.0, 4.0, 3.5, 3.0, 1.0])
    assert len(run(trainee, 6, patience=3)) == 5
    assert trainee.epoch == 2


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_interrupted_and_resumed_is_uninterrupted(stop, tmp_path):
    path = tmp_path / "run.pt"
    losses = [5.0, 3.0, 1.0, 2.0, 4.0, 0.5, 3.0, 2.0]
    whole, first, second = Script(losses), Script(losses), Script(losses)
    expected = run(whole, 8)
    run(first, stop, checkpoint=path)
    resumed = run(second, 8, checkpoint=path)
    assert resumed.equals(expected)
    assert torch.equal(second.weights, whole.weights)
    assert torch.equal(second.rng.get_state(), whole.rng.get_state())


def test_a_finished_run_is_not_trained_again(tmp_path):
    path = tmp_path / "run.pt"
    expected = run(Descent(), 3, checkpoint=path)
    again = Descent()
    again.train_epoch = lambda: pytest.fail("trained again")
    assert run(again, 3, checkpoint=path).equals(expected)


def test_checkpoints_are_written_at_the_interval_and_at_the_end(tmp_path, monkeypatch):
    written = []

    def note(content, path):
        written.append(len(content["rows"]))

    monkeypatch.setattr(training, "_write", note)
    run(Descent(), 7, checkpoint=tmp_path / "run.pt", checkpoint_every=3)
    assert written == [3, 6, 7]


def test_an_interruption_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "run.pt"
    run(Descent(), 2, checkpoint=path)
    before = path.read_bytes()

    def interrupted(content, file):
        with open(file, "wb") as f:
            f.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Descent(), 4, checkpoint=path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["run.pt"]


def test_damaged_foreign_and_other_checkpoints_are_refused(tmp_path):
    path = tmp_path / "run.pt"
    run(Descent(), 2, checkpoint=path)
    cut = tmp_path / "cut.pt"
    cut.write_bytes(path.read_bytes()[:-200])
    text = tmp_path / "text.pt"
    text.write_text("not a checkpoint")
    foreign = tmp_path / "foreign.pt"
    torch.save({"weights": torch.ones(3)}, foreign)
    for file, message in [(cut, "cannot be read"), (text, "cannot be read")]:
        with pytest.raises(CheckpointError, match=message):
            run(Descent(), 4, checkpoint=file)
    with pytest.raises(CheckpointError, match="not a checkpoint of this library"):
        run(Descent(), 4, checkpoint=foreign)
    with pytest.raises(CheckpointError, match=r"3 weights instead of 5.*delete the file"):
        run(Descent(size=5), 4, checkpoint=path)
    with pytest.raises(CheckpointError, match="has 2 epochs, more than the 1 asked for"):
        run(Descent(), 1, checkpoint=path)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "trap.pt"
    torch.save({"format": training.FORMAT, "state": Trap()}, path)
    with pytest.raises(CheckpointError):
        run(Descent(), 1, checkpoint=path)
    assert not (tmp_path / "sprung").exists()


def test_divergence_stops_before_it_is_written(tmp_path):
    path = tmp_path / "run.pt"
    with pytest.raises(FloatingPointError, match="epoch 3: validation not finite"):
        run(Script([1.0, 2.0, np.nan]), 3, checkpoint=path)
    assert len(torch.load(path, weights_only=True)["rows"]) == 2


@pytest.mark.parametrize("options", [{"n_epochs": 0}, {"n_epochs": 2, "patience": 1}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        run(Descent(), **options)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no GPU"):
            choose_device("cuda:0")


def test_a_tensor_is_made_of_real_numbers_only():
    with pytest.raises(ValueError, match="complex"):
        to_tensor(np.ones((10, 20), dtype=complex))
