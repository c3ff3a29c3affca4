"""The generative network: its rules, that it learns known correlations, and that it resumes."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from visualcortex import evaluation as ev
from visualcortex.models.adversarial_losses import critic_losses, turned_slopes, uphill
from visualcortex.models.adversaries import NORMALISED, Critic, Generator, Noise, Seen, joined
from visualcortex.models.neuron_gan import NeuronGAN, fit_networks
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
    model = NeuronGAN(n_epochs=60, width=48, latent_dim=16, lr=6e-3)
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
    # what the sampling of the validation trials leaves between them and their own population
    rng = np.random.default_rng(0)
    validation = [binary_trials(rng, n) for n in (240, 80)][1]
    sets = validation, binary_trials(np.random.default_rng(1), 960)
    (rates, labels), (real, real_labels) = ((ev.trial_rates(x), y) for x, y in sets)
    excess = history["validation"] - ev.energy_distance(rates, real, labels, real_labels)
    assert excess.min() < excess.iloc[0] / 2


def test_samples_of_a_binary_model_are_binary_and_reproducible(fitted):
    first, again, other = (fitted.sample([0, 1, 1], seed=s) for s in (3, 3, 4))
    assert first.shape == (3, 6, 8)
    assert set(np.unique(first)) <= {0.0, 1.0}
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_frames_are_drawn_with_the_probability_of_the_drive():
    torch.manual_seed(0)
    generator = Generator(3, 5, 2, 4, n_paths=2, width=8, binary=True)
    n = 20000
    one = generator.noise([torch.Generator().manual_seed(0)], 1)
    engaged, private = torch.rand(1, n, 3), torch.rand(1, n, 5, 3)
    noise = Noise(
        one.latent.expand(-1, n, -1), one.innovations.expand(-1, -1, -1, n),
        one.excursion.expand(-1, n, -1), engaged, private,
    )  # fmt: skip
    drawn = generator(noise, torch.tensor([1.0, 0.0]).expand(1, n, -1))[0]
    probability = generator.drive(one, torch.tensor([[[1.0, 0.0]]]))[0, 0].sigmoid()
    share = generator.engagement.sigmoid()[0]
    assert torch.allclose(drawn.mean(dim=0), share * probability, atol=5 * 0.5 / n**0.5)
    # a neuron that is not engaged is silent for the whole trial
    assert torch.equal(drawn.any(dim=1) & (engaged[0] >= share), torch.zeros(n, 3, dtype=bool))
    # the gradient is that of the probability
    (slope,) = torch.autograd.grad(drawn.sum() / n, generator.tuning.weight, retain_graph=True)
    (expected,) = torch.autograd.grad((share * probability).sum(), generator.tuning.weight)
    assert torch.allclose(slope, expected, rtol=0.02)


def test_latent_paths_are_stationary_with_the_given_time_constants():
    generator = Generator(3, 12, 2, 4, n_paths=3, width=8, binary=True)
    with torch.no_grad():
        noise = generator.noise([torch.Generator().manual_seed(0)], 60000)
        paths = generator.latent_paths(noise.innovations)[0]  # (B, T, P)
    kept = generator.persistence.sigmoid()[0]
    moments = torch.einsum("btp,bup->ptu", paths, paths) / len(paths)
    lag = (torch.arange(12)[:, None] - torch.arange(12)).abs()
    assert torch.allclose(moments, kept[:, None, None] ** lag, atol=0.03)
    across = torch.einsum("btp,btq->pq", paths, paths) / len(paths) / 12
    assert torch.allclose(across, torch.eye(3), atol=0.03)


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
    state, n = network.state_dict(), len(order)
    for name in ("readout.weight", "shared.weight", "paths.weight", "tuning.weight"):
        if name in state:
            state[name] = state[name][:, :, order]
    for name in ("engagement", "log_excursion", "log_noise"):
        if name in state:
            state[name] = state[name][:, :, order]
    for name in ("rates.weight", "blocks.weight", "summaries.weight"):
        if name in state:
            n_groups = state[name].shape[1] // n  # frames of a block, lags; levels stay
            index = torch.cat([k * n + order for k in range(n_groups)])
            rest = torch.arange(n_groups * n, state[name].shape[1])
            state[name] = state[name][:, torch.cat([index, rest])]
    return state


@pytest.mark.parametrize("binary", [True, False])
def test_the_order_of_the_neurons_means_nothing(binary):
    torch.manual_seed(1)
    order = torch.randperm(6)
    stimulus = torch.eye(3).repeat(3, 1)[None]
    generators = [Generator(6, 7, 3, 4, n_paths=2, width=8, binary=binary) for _ in range(2)]
    generators[1].load_state_dict(permuted(generators[0], order))
    noise = generators[0].noise([torch.Generator().manual_seed(0)], 9)
    other = noise._replace(
        **{name: getattr(noise, name)[..., order] for name in ("excursion", "engaged", "private")}
    )
    first = generators[0](noise, stimulus)
    second = generators[1](other, stimulus)
    assert torch.allclose(first[..., order], second, atol=1e-5)
    critics = [Critic(6, 7, 3, width=8, levels=torch.tensor([0.0, 2.0])) for _ in range(2)]
    critics[1].load_state_dict(permuted(critics[0], order))
    assert torch.allclose(critics[0](first, stimulus), critics[1](second, stimulus), atol=1e-5)


def critic_and_trials(n_time, spectral_norm, n=5):
    """Two critics in double precision, trials of both kinds, stimuli and shares."""
    torch.manual_seed(n_time)
    levels = torch.tensor([0.5, 2.0])
    critics = [Critic(4, n_time, 3, 6, levels, spectral_norm) for _ in range(2)]
    critic = joined(critics).double()
    trials = torch.rand(2, 2 * n, n_time, 4, dtype=torch.float64)
    trials[:, :n] = trials[:, :n].round()
    stimulus = torch.eye(3, dtype=torch.float64)[torch.randint(3, (2, n))]
    return critic, trials, stimulus, torch.rand(2, n, 1, dtype=torch.float64)


def score(critic, seen, stimulus):
    """The critic, layer by layer; as a function of frames and summaries."""
    weights = critic.weights()
    features = torch.nn.functional.leaky_relu(critic.first(seen, weights), 0.2)
    hidden = features @ weights["dense"] + weights["dense_bias"]
    return (torch.nn.functional.leaky_relu(hidden, 0.2) * (stimulus @ weights["top"])).sum(2)


def plain_losses(critic, trials, stimulus, share):
    """What everybody writes: three passes, and a gradient that is differentiated again."""
    n = share.shape[1]
    seen = critic.see(trials)
    halves = [Seen(*(x[:, part] for x in seen)) for part in (slice(n), slice(n, None))]
    scores = [score(critic, half, stimulus) for half in halves]
    between = share[..., None] * trials[:, :n] + (1 - share[..., None]) * trials[:, n:]
    between.requires_grad_()
    summaries = torch.lerp(halves[1].summaries, halves[0].summaries, share).requires_grad_()
    height = score(critic, critic.see(between)._replace(summaries=summaries), stimulus)
    slopes = torch.autograd.grad(height.sum(), [between, summaries], create_graph=True)
    length = torch.cat([slope.flatten(2) for slope in slopes], dim=2).norm(dim=2)
    return (scores[0] - scores[1]).mean(1), (length - 1).square().mean(1)


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("n_time", [1, 3, 7, 8])
def test_closed_losses_and_gradients_are_those_of_differentiating_twice(n_time, spectral_norm):
    critic, *data = critic_and_trials(n_time, spectral_norm)
    weights = critic.weights()
    with torch.no_grad():
        losses = critic_losses(critic, weights, critic.see(data[0]), *data[1:], 10.0)
    critic.take_gradients(weights, losses.gradients)
    found = [parameter.grad.clone() for parameter in critic.parameters()]
    critic.zero_grad()
    wasserstein, penalty = plain_losses(critic, *data)
    (10 * penalty - wasserstein).sum().backward()
    assert torch.allclose(losses.wasserstein, wasserstein, rtol=1e-10)
    assert torch.allclose(losses.penalty, penalty, rtol=1e-10)
    for one, parameter in zip(found, critic.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n_time", [1, 3, 7, 8])
def test_the_way_uphill_is_the_gradient_of_the_score(n_time):
    critic, trials, stimulus, _ = critic_and_trials(n_time, False)
    stimulus = stimulus.repeat(1, 2, 1)
    trials.requires_grad_()
    (expected,) = torch.autograd.grad(critic(trials, stimulus).sum(), trials)
    with torch.no_grad():
        assert torch.allclose(uphill(critic, trials, stimulus), expected, rtol=1e-8, atol=1e-12)


def test_power_iteration_finds_the_largest_singular_values_and_they_bound_the_slope():
    critic, trials, stimulus, _ = critic_and_trials(8, True)
    for _ in range(500):
        critic.iterate()
    weights = critic.weights()
    for name, factor in NORMALISED.items():
        values = torch.linalg.svdvals(weights[name].detach())[:, 0]
        assert torch.allclose(values, torch.full_like(values, 1 / factor), rtol=1e-6)
    # lengths of the slopes at trials
    seen = critic.see(trials)
    first = critic.first(seen, weights).detach()
    hidden = torch.nn.functional.leaky_relu(first, 0.2) @ weights["dense"] + weights["dense_bias"]
    top = stimulus.repeat(1, 2, 1) @ weights["top"]
    of_first = (torch.where(hidden > 0, 1, 0.2) * top) @ weights["dense"].transpose(1, 2)
    slope = torch.where(first > 0, 1, 0.2) * of_first
    length = (slope * turned_slopes(critic, weights, slope)).sum(2).sqrt()
    assert length.max() <= 1
    assert length.max() > 0.05


def test_training_starts_from_the_rates_of_the_training_trials():
    frames, labels = binary_trials(np.random.default_rng(7), 400)
    # at a learning rate of nothing, what comes out is where it started
    model = quick(n_epochs=1, lr=1e-12).fit(frames, labels, progress=False)
    with torch.no_grad():
        for name in ("readout", "shared", "paths"):
            getattr(model.generator_, name).weight.zero_()
        model.generator_.log_excursion.fill_(-20)
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


def test_networks_trained_side_by_side_are_those_trained_alone():
    rng = np.random.default_rng(14)
    train, validation = binary_trials(rng, 96), binary_trials(rng, 32)
    seeds = (3, 8, 5)
    settings = {"n_critic": 3, "sample_interval": 2}
    joint = fit_networks(quick(**settings), seeds, *train, validation, progress=False)
    for model, seed in zip(joint, seeds, strict=True):
        alone = quick(seed=seed, **settings).fit(*train, validation, progress=False)
        assert model.get_params() == alone.get_params()
        assert torch.allclose(weights(model), weights(alone), atol=2e-4)
        columns = ["wasserstein", "penalty", "validation"]
        assert np.allclose(model.history_[columns], alone.history_[columns], atol=2e-3)
        assert model.snapshots_.activity.shape == (1, 2, 6, 8)
    assert not torch.allclose(weights(joint[0]), weights(joint[1]), atol=1e-2)


def test_interrupted_joint_training_is_uninterrupted(tmp_path):
    rng = np.random.default_rng(15)
    data = *binary_trials(rng, 64), binary_trials(rng, 16)
    path, settings = tmp_path / "gans.pt", {"n_critic": 3, "sample_interval": 3}
    whole = fit_networks(quick(n_epochs=8, **settings), (1, 2), *data, progress=False)
    options = {"checkpoint": path, "progress": False}
    fit_networks(quick(n_epochs=4, **settings), (1, 2), *data, **options)
    resumed = fit_networks(quick(n_epochs=8, **settings), (1, 2), *data, **options)
    for one, other in zip(resumed, whole, strict=True):
        assert one.history_.equals(other.history_)
        assert torch.equal(weights(one), weights(other))
        assert one.snapshots_.epochs.tolist() == [3, 6]
        assert np.array_equal(one.snapshots_.activity, other.snapshots_.activity)
    with pytest.raises(CheckpointError, match="other trials, labels or parameters"):
        fit_networks(quick(n_epochs=8, **settings), (1, 3), *data, **options)


def test_snapshots_are_what_the_average_wrote_from_the_same_noise():
    frames, labels = binary_trials(np.random.default_rng(16), 64)
    model = quick(n_epochs=4, lr=1e-12, sample_interval=2, seed=6)
    shots = model.fit(frames, labels + 3, progress=False).snapshots_
    assert shots.epochs.tolist() == [2, 4]
    assert shots.labels.tolist() == [3, 4]
    # without learning there is nothing new to see
    assert np.array_equal(shots.activity[0], shots.activity[1])
    assert np.array_equal(shots.activity[1], model.sample([3, 4], seed=6))
    assert set(np.unique(shots.activity)) <= {0.0, 1.0}
    none = quick(n_epochs=1).fit(frames[:, 0], labels, progress=False).snapshots_
    assert none.activity.shape == (0, 2, 8)


def test_spectral_normalisation_trains_without_a_penalty():
    train = binary_trials(np.random.default_rng(17), 160)
    model = quick(n_epochs=40, width=32, lr=1e-2, spectral_norm=True).fit(*train, progress=False)
    assert model.history_["penalty"].max() <= 1  # no slope is longer than one
    real, labels = binary_trials(np.random.default_rng(1), 4000)
    sets = real, model.sample(labels, seed=2)
    correlations = [ev.noise_correlations(trials, labels) for trials in sets]
    assert ev.correlation_of_correlations(*correlations) > 0.8


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_that_are_not_different_are_refused(seeds):
    with pytest.raises(ValueError, match="seeds must be different"):
        fit_networks(quick(), seeds, *binary_trials(np.random.default_rng(18), 16))


def test_an_interval_of_no_epochs_is_refused():
    with pytest.raises(ValueError, match="at least 1 epoch; got 0"):
        quick(sample_interval=0).fit(*binary_trials(np.random.default_rng(19), 16))


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
