"""The trainee of classifiers and encoders: what it reads, how it steps, that it can go on."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from visualcortex.models.supervised import Examples, Supervised
from visualcortex.training import run_epochs


class Lazy:
    """Inputs that are read by rows only, of which it keeps a note."""

    def __init__(self, inputs):
        self.inputs, self.asked = inputs, []

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, rows):
        self.asked.append(np.array(rows))
        part = self.inputs[rows]
        part.flags.writeable = False  # as pages of a file are
        return part


def data(n, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 5)).astype(np.float32)
    return inputs, torch.from_numpy((inputs @ np.arange(5)).astype(np.float32))[:, None]


def squared_error(outputs, targets):
    return (outputs - targets[0]).square().mean()


def small_network():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 1))


def trainee(n_train=50, wrap=np.asarray, loss=squared_error, network=None, **options):
    settings = {
        "n_epochs": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "weight_decay": 1e-2,
        "seed": 1,
    } | options
    sets = []
    for n, seed in ((n_train, 1), (17, 2)):
        inputs, targets = data(n, seed)
        sets.append(Examples(wrap(inputs), (targets,)))
    return Supervised(network or small_network(), *sets, loss, **settings)


def weights(training):
    return torch.cat([value.flatten().double() for value in training.network.state_dict().values()])


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_interrupted_and_resumed_is_uninterrupted(stop, tmp_path):
    """Bit for bit, dropout included, whatever others drew from the state of torch meanwhile."""
    whole, first, second = trainee(), trainee(), trainee()
    expected = run_epochs(whole, 6, progress=False)
    path = tmp_path / "run.pt"
    with torch.random.fork_rng():
        run_epochs(first, stop, checkpoint=path, progress=False)
        torch.rand(7)
        resumed = run_epochs(second, 6, checkpoint=path, progress=False)
    assert resumed.equals(expected)
    assert torch.equal(weights(second), weights(whole))
    assert not torch.equal(weights(first), weights(whole))


def test_the_seed_sets_order_and_dropout_and_nothing_else_does():
    before = torch.get_rng_state()
    same = []
    for disturbance in (0, 3):
        with torch.random.fork_rng():
            torch.rand(disturbance)
            training = trainee()
            run_epochs(training, 3, progress=False)
            same.append(weights(training))
    assert torch.equal(*same)
    run_epochs(trainee(), 2, progress=False)
    assert torch.equal(before, torch.get_rng_state())
    other = trainee(seed=2)
    run_epochs(other, 3, progress=False)
    assert not torch.equal(same[0], weights(other))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_leaves_out_others_in_every_epoch_and_for_every_seed(dropout):
    left = []

    def noted(outputs, targets):
        left.append(outputs.detach().clone())
        return 0 * outputs.mean()

    def same(inputs):
        return np.ones_like(inputs)

    network = nn.Sequential(nn.Linear(5, 6), nn.Dropout(dropout))
    for seed in (1, 2):
        options = {"network": network, "seed": seed, "weight_decay": 0.0}
        training = trainee(n_train=8, wrap=same, loss=noted, **options)
        for _ in range(3):
            training.train_epoch()
    alike = [torch.equal(a, b) for a, b in itertools.combinations(left, 2)]
    assert len(alike) == 15
    assert set(alike) == {dropout == 0}


def test_every_example_is_seen_at_most_once_an_epoch_in_another_order():
    training = trainee(wrap=Lazy)
    asked = training.train.inputs.asked
    orders = []
    for _ in range(2):
        asked.clear()
        training.train_epoch()
        assert [len(rows) for rows in asked] == [8] * 6  # of 50, two are left over
        orders.append(np.concatenate(asked))
        assert len(np.unique(orders[-1])) == 48
    assert not np.array_equal(*orders)


def test_fewer_examples_than_a_batch_are_one_batch():
    training = trainee(n_train=5, wrap=Lazy)
    training.train_epoch()
    assert [sorted(rows) for rows in training.train.inputs.asked] == [[0, 1, 2, 3, 4]]


def test_rows_come_as_float32_with_their_targets_in_order():
    inputs, targets = data(7, 3)
    examples = Examples(Lazy(inputs.astype(float)), (targets, torch.arange(7)))
    parts = list(examples.batches(3, torch.device("cpu")))
    assert [len(part) for part, _ in parts] == [3, 3, 1]
    assert all(part.dtype == torch.float32 for part, _ in parts)
    assert np.allclose(torch.cat([part for part, _ in parts]).numpy(), inputs)
    assert torch.equal(torch.cat([ys[0] for _, ys in parts]), targets)
    assert torch.equal(torch.cat([ys[1] for _, ys in parts]), torch.arange(7))


def test_validation_is_the_mean_over_held_out_examples_without_dropout():
    training = trainee()
    training.train_epoch()
    found = training.validate()
    assert not training.network.training
    inputs, targets = data(17, 2)  # batches of 8, 8 and 1
    with torch.no_grad():
        outputs = training.network.eval()(torch.from_numpy(inputs).float())
    assert found == pytest.approx(float(squared_error(outputs, (targets,))), rel=1e-6)
    assert training.validate() == found


def test_gains_and_offsets_do_not_decay():
    training = trainee(loss=lambda outputs, targets: 0 * outputs.mean(), weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in training.network.named_parameters()}
    training.train_epoch()
    for name, parameter in training.network.named_parameters():
        after = parameter.detach()
        ratio = after / before[name]
        if after.ndim >= 2:
            assert 0.9 < float(ratio.mean()) < 0.999
            assert torch.allclose(ratio, ratio.mean())
        else:
            assert torch.equal(after, before[name])


def test_the_rate_rises_for_a_fifth_of_all_steps_and_falls_to_nothing():
    rates = []

    def noted(outputs, targets):
        rates.append(training.optimiser.param_groups[0]["lr"])
        return squared_error(outputs, targets)

    training = trainee(n_epochs=10, loss=noted)
    for _ in range(10):
        training.train_epoch()
    assert len(rates) == 60
    assert np.argmax(rates) == 12
    assert max(rates) == pytest.approx(1e-2)
    assert (np.diff(rates[:13]) > 0).all()
    assert (np.diff(rates[12:]) < 0).all()
    assert rates[-1] < 1e-4


def test_the_report_is_told_each_validation_loss():
    told = []
    training = trainee(report=lambda n_done, loss: told.append((n_done, loss)))
    history = run_epochs(training, 4, progress=False)
    assert told == list(zip(history["epoch"], history["validation"], strict=True))


def test_what_the_report_raises_ends_the_training():
    class Enough(Exception):
        pass

    def stop(n_done, loss):
        if n_done == 2:
            raise Enough

    training = trainee(report=stop)
    before = torch.get_rng_state()
    with pytest.raises(Enough):
        run_epochs(training, 6, progress=False)
    assert training.n_done == 2
    assert torch.equal(before, torch.get_rng_state())
