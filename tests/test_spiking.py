"""The run of a recurrent network and its gradients against a step-by-step one."""

import numpy as np
import pytest
import torch

from visualcortex.models.spiking import RecurrentNetwork, Run, run_network


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, over, sharpness):
        ctx.save_for_backward(over)
        ctx.sharpness = sharpness
        return (over > 0).to(over)

    @staticmethod
    def backward(ctx, gradient):
        (over,) = ctx.saved_tensors
        return gradient / (1 + ctx.sharpness * over.abs()) ** 2, None


def step_by_step(drive, weights, decay, start=None, sharpness=25.0):
    v = s = torch.zeros_like(drive[0])
    if start is not None:
        s, v = start.spikes[-1], start.potential[-1]
    spikes, potentials = [], []
    for x in drive:
        v = decay * v + x + s @ weights - s.detach()
        s = Step.apply(v - 1, sharpness)
        spikes.append(s)
        potentials.append(v)
    return Run(torch.stack(spikes), torch.stack(potentials))


def problem(dtype=torch.float64, shape=(60, 3, 13)):
    rng = np.random.default_rng(0)
    drive = 0.1 + 0.25 * rng.standard_normal(shape)
    weights = 0.2 * rng.standard_normal((shape[2], shape[2]))
    decay = rng.uniform(0.7, 0.95, shape[2])
    return [torch.tensor(x, dtype=dtype) for x in (drive, weights, decay)]


def gradients(run, arguments, read):
    arguments = [x.clone().requires_grad_() for x in arguments]
    found = run(*arguments)
    read(found).backward()
    return found, [x.grad for x in arguments]


def outside(shape=(60, 3, 13), dtype=torch.float64):
    to = torch.from_numpy(np.random.default_rng(1).standard_normal((2, *shape))).to(dtype)
    return lambda found: (to[0] * found.spikes).sum() + (to[1] * found.potential).sum()


def assert_equal(engine, arguments, read, close, start=None):
    expected, known = gradients(lambda *a: step_by_step(*a, start=start), arguments, read)
    found, ours = gradients(lambda *a: run_network(*a, start=start, engine=engine), arguments, read)
    assert torch.equal(found.spikes, expected.spikes)
    assert 0.02 < found.spikes.mean() < 0.5
    for mine, other in zip(ours, known, strict=True):
        assert other.norm() > 0
        assert (mine - other).norm() < close * other.norm()


@pytest.mark.parametrize("engine", ["loops", "tensors"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_spikes_and_gradients_are_those_of_a_run_step_by_step(engine, dtype, close):
    assert_equal(engine, problem(dtype), outside(dtype=dtype), close)


@pytest.mark.parametrize("engine", ["loops", "tensors"])
def test_gradients_of_a_run_that_goes_on_are_those_step_by_step(engine):
    start = step_by_step(*problem())
    assert start.spikes[-1].any()
    assert_equal(engine, problem(), outside(), 1e-12, start)


@pytest.mark.parametrize("engine", ["loops", "tensors"])
def test_a_run_goes_on_where_another_ended(engine):
    drive, weights, decay = problem()
    whole = run_network(drive, weights, decay, engine=engine)
    first = run_network(drive[:25], weights, decay, engine=engine)
    rest = run_network(drive[25:], weights, decay, start=first, engine=engine)
    assert torch.equal(torch.cat([first.spikes, rest.spikes]), whole.spikes)


@pytest.mark.parametrize("engine", ["loops", "tensors"])
def test_below_the_threshold_gradients_are_differences(engine):
    """Without spikes the potential is smooth in all arguments, and no surrogate is felt."""
    arguments = [x.requires_grad_() for x in problem(shape=(8, 2, 3))]

    def potential(*values):
        return run_network(*values, threshold=100.0, engine=engine).potential

    assert torch.autograd.gradcheck(potential, arguments)


def test_gradients_too_small_for_the_type_are_nothing():
    drive, weights, decay = problem(torch.float32, (200, 1, 3))
    drive = drive.requires_grad_()
    run_network(drive, weights, 0.01 * decay, engine="loops").potential[-1].sum().backward()
    tiny = torch.finfo(torch.float32).tiny
    assert ((drive.grad == 0) | (drive.grad.abs() >= tiny)).all()
    assert (drive.grad[0] == 0).all()
    assert (drive.grad[-1] == 1).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_device_runs_as_the_processor_does():
    arguments, read = problem(), outside()
    _, known = gradients(run_network, arguments, read)
    there = [x.cuda() for x in arguments]
    _, ours = gradients(run_network, there, lambda run: read(Run(*(x.cpu() for x in run))))
    for mine, other in zip(ours, known, strict=True):
        assert (mine.cpu() - other).norm() < 1e-12 * other.norm()


def test_sources_keep_their_sign_while_they_learn():
    signs = np.array([1, 1, 1, -1, 1, -1])
    network = RecurrentNetwork(2, signs, seed=3)
    inputs = torch.from_numpy(np.random.default_rng(0).random((80, 4, 2))).float()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (network(inputs).spikes.mean((0, 1)) - 0.1).square().sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    weights = network.weights().detach().numpy()
    assert losses[-1] < 0.5 * losses[0]
    assert (weights * signs[:, None] >= 0).all()
    assert (np.diagonal(weights) == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drive": torch.zeros(3, 4)}, "time, batch, neuron"),
        ({"weights": torch.zeros(3, 3)}, "source, target"),
        ({"weights": torch.zeros(13, 13).half()}, "type"),
        ({"engine": "magic"}, "engine must be"),
        ({"threshold": 0.0}, "above 0"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(change, message):
    drive, weights, decay = problem(torch.float32)
    settings = {"drive": drive, "weights": weights, "decay": decay} | change
    with pytest.raises(ValueError, match=message):
        run_network(**settings)
