"""The generative network: its rules, that it learns known correlations, and that it resumes."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from visualcortex import evaluation as ev
from visualcortex.models.neuron_gan import Critic, Generator, NeuronGAN
from visualcortex.training import CheckpointError


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def binary_trials(rng, n_trials=120, n_time=6, n_neurons=8):
    """Two groups of neurons, each with a shared log-odds of its own, and tuned rates."""
    labels = np.arange(n_trials) % 2
    group = rng.normal(size=(n_trials, 2))[:, np.arange(n_neurons) % 2]  # (B, N)
    drive = -1 + 1.8 * group + np.where(labels[:, None] == 1, 0.8, -0.8)
    probability = 1 / (1 + np.exp(-drive))
    return (rng.random((n_trials, n_time, n_neurons)) < probability[:, None]).astype(float), labels


def quick(**options):
    return NeuronGAN(**{"n_epochs": 3, "width": 16, "latent_dim": 8, **options})


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    train, validation = binary_trials(rng, 240), binary_trials(rng, 80)
    model = NeuronGAN(n_epochs=40, width=32, latent_dim=16, lr=4e-3)
    return model.fit(*train, validation, progress=False)


def test_it_learns_rates_and_who_varies_with_whom(fitted):
    rng = np.random.default_rng(1)
    real, labels = binary_trials(rng, 4000)
    generated = fitted.sample(labels, seed=2)
    for stimulus in (0, 1):
        of = labels == stimulus
        assert np.allclose(ev.mean_rates(generated[of]), ev.mean_rates(real[of]), atol=0.12)
    correlations = [ev.noise_correlations(x, labels) for x in (real, generated)]
    assert ev.correlation_of_correlations(*correlations) > 0.9
    same = np.equal.outer(np.arange(8) % 2, np.arange(8) % 2) & ~np.eye(8, dtype=bool)
    assert correlations[1][same].mean() > 0.5 * correlations[0][same].mean() > 0.1
    assert abs(correlations[1][~same & ~np.eye(8, dtype=bool)].mean()) < 0.15


def test_the_epoch_that_is_kept_has_the_lowest_validation_distance(fitted):
    history = fitted.history_
    assert history.loc[history["kept"], "validation"].item() == history["validation"].min()
    assert history["validation"].min() < history["validation"].iloc[0] / 2


def test_samples_of_a_binary_model_are_binary_and_reproducible(fitted):
    first, again, other = (fitted.sample([0, 1, 1], seed=s) for s in (3, 3, 4))
    assert first.shape == (3, 6, 8)
    assert set(np.unique(first)) <= {0.0, 1.0}
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_frames_are_drawn_with_the_probability_of_the_drive():
    torch.manual_seed(0)
    generator = Generator(3, 5, 2, latent_dim=4, width=8, binary=True)
    latent, stimulus = torch.randn(1, 4), torch.tensor([[1.0, 0.0]])
    private = torch.rand(20000, 5, 3)
    drawn = generator(latent.expand(20000, -1), stimulus.expand(20000, -1), private)
    probability = generator.drive(latent, stimulus)[0].sigmoid()
    assert torch.allclose(drawn.mean(dim=0), probability, atol=5 * 0.5 / 20000**0.5)
    # the gradient is that of the probability
    (slope,) = torch.autograd.grad(drawn.sum() / 20000, generator.tuning.weight, retain_graph=True)
    (expected,) = torch.autograd.grad(probability.sum(), generator.tuning.weight)
    assert torch.allclose(slope, expected, rtol=1e-3)


def test_graded_trials_without_time_have_exact_zeros_and_ones():
    rng = np.random.default_rng(5)
    labels = np.arange(120) % 3
    activity = np.clip(rng.normal(0.1, 0.6, (120, 7)), 0, 1)
    model = quick(n_epochs=5).fit(activity, labels, progress=False)
    sampled = model.sample(np.tile(labels, 10), seed=0)
    assert sampled.shape == (1200, 7)
    assert sampled.min() == 0
    assert sampled.max() == 1
    assert ((sampled > 0) & (sampled < 1)).any()


@pytest.mark.parametrize("n_time", [1, 4, 7])
def test_any_number_of_frames_goes_through(n_time):
    frames, labels = binary_trials(np.random.default_rng(6), 24, n_time=n_time)
    model = quick(n_epochs=1).fit(frames, labels, progress=False)
    assert model.sample(labels, seed=0).shape == frames.shape


def permuted(network, order):
    """The same network for neurons in another order."""
    state = network.state_dict()
    for name in ("readout.weight", "shared.weight", "tuning.weight", "log_noise"):
        if name in state:
            state[name] = state[name][order]
    if "rates.weight" in state:
        state["rates.weight"] = state["rates.weight"][:, order]
        blocks = state["blocks.weight"].unflatten(1, (-1, len(order)))
        state["blocks.weight"] = blocks[:, :, order].flatten(1)
    return state


@pytest.mark.parametrize("binary", [True, False])
def test_the_order_of_the_neurons_means_nothing(binary):
    torch.manual_seed(1)
    order = torch.randperm(6)
    private, latent, stimulus = torch.rand(9, 7, 6), torch.randn(9, 4), torch.eye(3).repeat(3, 1)
    generators = [Generator(6, 7, 3, latent_dim=4, width=8, binary=binary) for _ in range(2)]
    generators[1].load_state_dict(permuted(generators[0], order))
    first = generators[0](latent, stimulus, private)
    second = generators[1](latent, stimulus, private[:, :, order])
    assert torch.allclose(first[:, :, order], second, atol=1e-5)
    critics = [Critic(6, 7, 3, width=8) for _ in range(2)]
    critics[1].load_state_dict(permuted(critics[0], order))
    assert torch.allclose(critics[0](first, stimulus), critics[1](second, stimulus), atol=1e-5)


def test_training_starts_from_the_rates_of_the_training_trials():
    frames, labels = binary_trials(np.random.default_rng(7), 400)
    # at a learning rate of nothing, what comes out is where it started
    model = quick(n_epochs=1, lr=1e-12).fit(frames, labels, progress=False)
    model.generator_.readout.weight.zero_()
    model.generator_.shared.weight.zero_()
    for stimulus in (0, 1):
        sampled = model.sample(np.full(3000, stimulus), seed=1)
        expected = ev.mean_rates(frames[labels == stimulus])
        assert np.allclose(ev.mean_rates(sampled), expected, atol=0.02)


def weights(model):
    return torch.cat([p.flatten() for p in model.generator_.parameters()])


def test_the_seed_decides_and_the_global_generator_is_not_touched():
    frames, labels = binary_trials(np.random.default_rng(8), 64)
    state = torch.get_rng_state()
    models = [quick(seed=s).fit(frames, labels, progress=False) for s in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert not torch.equal(weights(models[0]), weights(models[2]))


def test_names_of_the_labels_do_not_matter():
    frames, labels = binary_trials(np.random.default_rng(9), 64)
    plain = quick().fit(frames, labels, progress=False)
    named = quick().fit(frames, labels * 5 + 2, progress=False)
    assert torch.equal(weights(plain), weights(named))
    assert np.array_equal(plain.sample([0, 1], seed=0), named.sample([2, 7], seed=0))


def test_interrupted_and_resumed_training_is_uninterrupted(tmp_path):
    rng = np.random.default_rng(10)
    train, validation = binary_trials(rng, 64), binary_trials(rng, 16)
    # 8 critic steps before the interruption: in the middle of the 3 for a generator step
    whole = quick(n_critic=3, n_epochs=9).fit(*train, validation, progress=False)
    path = tmp_path / "gan.pt"
    quick(n_critic=3, n_epochs=4).fit(*train, validation, checkpoint=path, progress=False)
    resumed = quick(n_critic=3, n_epochs=9).fit(*train, validation, checkpoint=path, progress=False)
    assert resumed.history_.equals(whole.history_)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("change", ["data", "labels", "validation", "lr", "width"])
def test_a_checkpoint_of_something_else_is_refused(change, tmp_path):
    frames, labels = binary_trials(np.random.default_rng(11), 32)
    path = tmp_path / "gan.pt"
    quick(n_epochs=1).fit(frames, labels, checkpoint=path, progress=False)
    model = quick(n_epochs=2, **{"lr": {"lr": 0.01}, "width": {"width": 24}}.get(change, {}))
    if change == "data":
        frames = 1 - frames
    if change == "labels":
        labels = 1 - labels
    validation = (frames, labels) if change == "validation" else None
    with pytest.raises(CheckpointError, match="other trials, labels or parameters"):
        model.fit(frames, labels, validation, checkpoint=path, progress=False)


def test_it_is_an_estimator():
    model = NeuronGAN(lr=0.01, seed=3)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.sample([0], seed=0)


@pytest.mark.parametrize(
    ("activity", "labels", "message"),
    [
        (np.full((4, 3), 1.5), [0, 0, 1, 1], r"in \[0, 1\].*1.5"),
        (np.full((4, 3), np.nan), [0, 0, 1, 1], "12 NaN"),
        (np.zeros((4, 3)), [0, 0, 1], "one label a trial"),
        (np.zeros((4, 3, 2, 1)), [0, 0, 1, 1], "trial, neuron"),
        (np.zeros((0, 3)), [], "one label a trial"),
    ],
)
def test_bad_activity_is_refused(activity, labels, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(activity, labels, progress=False)


def test_unknown_stimuli_are_refused(fitted):
    with pytest.raises(ValueError, match=r"\[2\] were not in training"):
        fitted.sample([0, 2], seed=0)
    frames, labels = binary_trials(np.random.default_rng(12), 20)
    with pytest.raises(ValueError, match="were not in training"):
        quick().fit(frames, labels, (frames, labels + 1), progress=False)
    with pytest.raises(ValueError, match="frames and neurons of training"):
        quick().fit(frames, labels, (frames[:, :3], labels), progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_trains_and_resumes(tmp_path):
    frames, labels = binary_trials(np.random.default_rng(13), 64)
    path = tmp_path / "gan.pt"
    whole = quick(n_epochs=4, device="cuda").fit(frames, labels, progress=False)
    quick(n_epochs=2, device="cuda").fit(frames, labels, checkpoint=path, progress=False)
    resumed = quick(n_epochs=4, device="cuda").fit(frames, labels, checkpoint=path, progress=False)
    assert torch.allclose(weights(resumed), weights(whole), atol=1e-5)
    assert resumed.sample(labels, seed=0).shape == frames.shape
