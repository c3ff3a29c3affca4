"""The variational autoencoder: bounds below exact likelihoods, known correlations, and resuming."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import gammaln
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from visualcortex import evaluation as ev
from visualcortex.models.neuron_vae import (
    Decoder,
    NeuronVAE,
    _Binomial,
    _BinomialFrames,
    _ClippedNormal,
    _divergence,
    _grid,
)
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
    return NeuronVAE(**{"n_epochs": 3, "rank": 2, "n_states": 2, **options})


def random_decoder(likelihood, n_neurons=5, n_time=4, rank=2, n_states=3, scale=0.7):
    """A decoder with every parameter drawn at random."""
    torch.manual_seed(3)
    decoder = Decoder(n_neurons, n_time, 2, rank, n_states, likelihood)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(scale * likelihood.spread / 2 * torch.randn_like(parameter))
    return decoder.requires_grad_(False)


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    train, validation = binary_trials(rng, 240), binary_trials(rng, 80)
    return NeuronVAE(n_epochs=40, rank=3, n_states=2, batch_size=80).fit(
        *train, validation, progress=False
    )


def test_it_learns_rates_and_who_varies_with_whom(fitted):
    real, labels = binary_trials(np.random.default_rng(1), 4000)
    generated = fitted.sample(labels, seed=2)
    for stimulus in (0, 1):
        of = labels == stimulus
        assert np.allclose(ev.mean_rates(generated[of]), ev.mean_rates(real[of]), atol=0.1)
    correlations = [ev.noise_correlations(x, labels) for x in (real, generated)]
    assert ev.correlation_of_correlations(*correlations) > 0.95
    same = np.equal.outer(np.arange(8) % 2, np.arange(8) % 2) & ~np.eye(8, dtype=bool)
    assert correlations[1][same].mean() > 0.7 * correlations[0][same].mean() > 0.1
    assert abs(correlations[1][~same & ~np.eye(8, dtype=bool)].mean()) < 0.1


def test_the_epoch_that_is_kept_has_the_best_validation_bound(fitted):
    history = fitted.history_
    assert history.loc[history["kept"], "validation"].item() == history["validation"].min()
    assert history["validation"].min() < history["validation"].iloc[0] - 1
    assert (history["divergence"] > 0).all()


def test_samples_of_a_binary_model_are_binary_and_reproducible(fitted):
    first, again, other = (fitted.sample([0, 1, 1], seed=s) for s in (3, 3, 4))
    assert first.shape == (3, 6, 8)
    assert set(np.unique(first)) <= {0.0, 1.0}
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def exact_log_likelihood(decoder, activity, stimulus):
    """By quadrature over the values of one path in two frames."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    root = torch.linalg.cholesky(decoder.covariance()).float()
    grid = torch.as_tensor(list(itertools.product(nodes, nodes)), dtype=torch.float32)
    paths = (grid @ root.T)[:, :, None]  # (Q, T, 1)
    log_weight = torch.as_tensor(np.log(np.outer(weights, weights).ravel() / weights.sum() ** 2))
    return torch.stack(
        [
            (decoder.log_likelihood(x.expand(len(grid), -1, -1), s.expand(len(grid)), paths))
            .add(log_weight)
            .logsumexp(dim=0)
            for x, s in zip(activity, stimulus, strict=True)
        ]
    ).numpy()


def with_decoder(model, decoder):
    """The fitted model with another decoder in its place."""
    model.decoder_ = decoder
    return model


def test_the_bound_lies_below_the_exact_log_likelihood_and_near_it():
    decoder = random_decoder(_Binomial(1), n_neurons=3, n_time=2, rank=1, n_states=2, scale=0.8)
    activity = np.array(list(itertools.product((0.0, 1.0), repeat=6))).reshape(-1, 2, 3)
    labels = np.zeros(64, dtype=int)
    patterns = torch.as_tensor(activity, dtype=torch.float32)
    exact = exact_log_likelihood(decoder, patterns, torch.zeros(64, dtype=torch.long))
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-4)  # every pattern there is
    model = quick(n_epochs=1).fit(
        np.tile(activity, (2, 1, 1)), np.arange(128) // 64, progress=False
    )
    model = with_decoder(model, decoder)
    each = model.log_likelihood(np.tile(activity, (150, 1, 1)), np.tile(labels, 150), n_samples=1)
    each = each.reshape(150, 64)
    single, error = each.mean(axis=0), each.std(axis=0) / 150**0.5
    assert (single < exact + 4 * error).all()
    assert (exact - single).mean() > 0.005
    many = model.log_likelihood(activity, labels, n_samples=1000)
    assert np.allclose(many, exact, atol=0.06)
    assert np.abs(many - exact).mean() < 0.01
    assert np.abs(many - exact).mean() < (exact - single).mean()


def test_the_bound_is_exact_where_everything_is_normal():
    decoder = random_decoder(_ClippedNormal(), n_neurons=3, n_time=4, rank=2, n_states=1, scale=0)
    with torch.no_grad():
        decoder.tuning.fill_(0.5)
        decoder.loadings.mul_(0.5)
        decoder.log_noise.fill_(np.log(0.05))
        decoder.occupancy[:2] = -50  # always engaged
    covariance = np.kron(
        decoder.covariance().numpy(), (decoder.loadings.T @ decoder.loadings).numpy()
    )
    exact = multivariate_normal(np.full(12, 0.5), covariance + 0.05**2 * np.eye(12))
    activity = np.clip(exact.rvs(50, random_state=0).reshape(50, 4, 3), 0.01, 0.99)
    labels = np.arange(50) % 2
    model = with_decoder(quick(n_epochs=1).fit(activity, labels, progress=False), decoder)
    for n_samples in (1, 20):  # the posterior is exact: one path tells all
        found = model.log_likelihood(activity, labels, n_samples=n_samples)
        assert np.allclose(found, exact.logpdf(activity.reshape(50, -1)), atol=0.02)


def test_binomial_probabilities_of_all_counts_sum_to_one():
    decoder = random_decoder(_Binomial(5), n_neurons=1, n_time=1, rank=1, n_states=2)
    activity = torch.arange(6.0)[:, None, None] / 5
    paths, stimulus = torch.full((6, 1, 1), 0.3), torch.zeros(6, dtype=torch.long)
    log_probability = decoder.log_likelihood(activity, stimulus, paths)
    constant = decoder.likelihood.constant(activity)
    ways = gammaln(6) - gammaln(np.arange(6) + 1) - gammaln(6 - np.arange(6))
    assert np.allclose(constant, ways, atol=1e-5)
    assert (log_probability + constant).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_the_derivative_by_hand_is_right():
    torch.manual_seed(0)
    active = torch.randint(0, 4, (3, 4, 2)).double()
    drive = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    offsets = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    value = _BinomialFrames.apply(active, 3, drive, offsets)
    expected = torch.distributions.Binomial(3, logits=drive[:, None] + offsets[:, None])
    ways = torch.lgamma(torch.tensor(4.0)) - torch.lgamma(active + 1) - torch.lgamma(4 - active)
    plain = (expected.log_prob(active[:, None].expand(-1, 3, -1, -1)) - ways[:, None]).sum(dim=2)
    assert torch.allclose(value, plain)
    assert torch.autograd.gradcheck(
        lambda d, o: _BinomialFrames.apply(active, 3, d, o), (drive, offsets)
    )


@pytest.mark.parametrize("likelihood", [_Binomial(1), _Binomial(4), _ClippedNormal()])
def test_inference_finds_where_likelihood_and_prior_balance(likelihood):
    decoder = random_decoder(likelihood)
    stimulus = torch.arange(6) % 2
    activity = decoder.sample(stimulus, torch.Generator().manual_seed(1))
    posterior = decoder.infer(activity, stimulus, torch.zeros(6, 4, 2), 60)
    paths = posterior.mean.clone().requires_grad_()
    joint = decoder.log_likelihood(activity, stimulus, paths)
    joint = joint + decoder.log_prior(paths @ paths.mT)
    (slope,) = torch.autograd.grad(joint.sum(), paths)
    assert slope.abs().max() < 0.02
    assert posterior.mean.abs().max() > 0.1


def test_divergence_is_that_of_the_normal_distributions():
    decoder = random_decoder(_Binomial(1), rank=2)
    stimulus = torch.arange(3) % 2
    activity = decoder.sample(stimulus, torch.Generator().manual_seed(1))
    posterior = decoder.infer(activity, stimulus, torch.zeros(3, 4, 2), 10)
    each = []
    for b in range(3):
        # every path as a vector, frames first: its covariance from what `draw` does to unit noise
        unit = torch.eye(8).view(8, 4, 2)
        only = type(posterior)(
            posterior.mean[b : b + 1], posterior.variance[b : b + 1], posterior.axes[b : b + 1],
            posterior.basis, posterior.prior,
        )  # fmt: skip
        root = (only.draw(unit) - only.mean).reshape(8, 8)
        q = torch.distributions.MultivariateNormal(
            only.mean.reshape(8).double(), (root.T @ root).double()
        )
        prior = torch.kron(decoder.covariance(), torch.eye(2, dtype=torch.float64))
        p = torch.distributions.MultivariateNormal(torch.zeros(8).double(), prior)
        each.append(torch.distributions.kl_divergence(q, p))
        density = q.log_prob(only.draw(unit[:1]).reshape(8).double())
        assert only.log_density(unit[:1]).item() == pytest.approx(
            density.item() + 4 * np.log(2 * np.pi), abs=1e-3
        )
    assert _divergence(decoder, posterior).item() == pytest.approx(np.mean(each), rel=1e-3)


def test_silent_and_fully_active_trials_are_as_frequent_as_in_the_recording():
    rng = np.random.default_rng(4)
    labels = np.arange(300) % 2
    state = rng.choice(3, p=[0.6, 0.3, 0.1], size=(300, 6))
    activity = np.where(state == 1, rng.binomial(29, 0.3, (300, 6)) / 29, state == 2)
    model = NeuronVAE(n_epochs=50, rank=1, n_states=2, batch_size=100)
    model.fit(activity, labels, progress=False)
    assert model.n_frames_ == 29
    sampled = model.sample(np.tile(labels, 20), seed=1)
    assert np.mean(sampled == 0) == pytest.approx(0.6, abs=0.05)
    assert np.mean(sampled == 1) == pytest.approx(0.1, abs=0.03)
    assert np.allclose(sampled * 29, np.round(sampled * 29), atol=1e-4)
    # a neuron's state is its own
    correlations = ev.noise_correlations(sampled, np.tile(labels, 20))
    assert np.abs(correlations[np.triu_indices(6, 1)]).mean() < 0.1


@pytest.mark.parametrize(("forgets", "low", "high"), [(True, -0.1, 0.15), (False, 0.75, 1.0)])
def test_it_tells_a_latent_of_the_trial_from_one_of_the_frame(forgets, low, high):
    rng = np.random.default_rng(5)
    latent = rng.normal(size=(150, 10 if forgets else 1, 1))
    probability = 1 / (1 + np.exp(0.5 - 2.5 * latent))
    activity = (rng.random((150, 10, 10)) < probability).astype(float)
    model = NeuronVAE(n_epochs=60, rank=1, n_states=1, batch_size=75)
    model.fit(activity, np.zeros(150, int), progress=False)
    covariance = model.decoder_.covariance().detach().numpy()
    assert low < covariance[0, 5] < high


def test_other_values_are_a_clipped_normal_with_exact_zeros_and_ones():
    rng = np.random.default_rng(5)
    labels = np.arange(120) % 3
    activity = np.clip(rng.normal(0.3, 0.4, (120, 7)), 0, 1)
    model = quick(n_epochs=30).fit(activity, labels, (activity, labels), progress=False)
    assert model.n_frames_ is None
    sampled = model.sample(np.tile(labels, 20), seed=0)
    assert sampled.shape == (2400, 7)
    for value in (0, 1):
        assert np.mean(sampled == value) == pytest.approx(np.mean(activity == value), abs=0.06)
    assert ((sampled > 0) & (sampled < 1)).any()
    assert sampled.mean() == pytest.approx(activity.mean(), abs=0.05)


@pytest.mark.parametrize(
    ("values", "n"),
    [
        ([0.0, 1.0], 1),
        ([0.0, 0.5, 1.0], 2),
        (np.arange(30) / 29, 29),
        (np.random.default_rng(0).random(10), None),
    ],
)
def test_the_number_of_frames_is_read_off_the_values(values, n):
    assert _grid(np.float32(values)) == n


@pytest.mark.parametrize("n_time", [1, 4, 7])
def test_any_number_of_frames_goes_through(n_time):
    frames, labels = binary_trials(np.random.default_rng(6), 24, n_time=n_time)
    model = quick(n_epochs=1).fit(frames, labels, progress=False)
    assert model.sample(labels, seed=0).shape == frames.shape
    assert np.isfinite(model.log_likelihood(frames, labels, n_samples=2)).all()


@pytest.mark.parametrize("likelihood", [_Binomial(1), _Binomial(4), _ClippedNormal()])
def test_the_order_of_the_neurons_means_nothing(likelihood):
    first = random_decoder(likelihood, n_neurons=6)
    second = Decoder(6, 4, 2, 2, 3, likelihood)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    of_neurons = ("tuning", "evoked", "loadings", "offsets", "occupancy", "log_noise")
    state = first.state_dict()
    second.load_state_dict(
        {name: v[..., order] if name in of_neurons else v for name, v in state.items()}
    )
    stimulus, noise, chance = torch.arange(9) % 2, torch.randn(9, 4, 2), torch.rand(9, 6)
    drives = [
        first.drive_of(stimulus, noise, chance),
        second.drive_of(stimulus, noise, chance[:, order]),
    ]
    assert torch.allclose(drives[0][:, :, order], drives[1], atol=1e-5)
    activity = first.sample(stimulus, torch.Generator().manual_seed(1))
    start = torch.zeros(9, 4, 2)
    paths = [
        d.infer(x, stimulus, start, 8).mean
        for d, x in ((first, activity), (second, activity[:, :, order]))
    ]
    assert torch.allclose(*paths, atol=1e-3)
    values = [
        d.log_likelihood(x, stimulus, paths[0])
        for d, x in ((first, activity), (second, activity[:, :, order]))
    ]
    assert torch.allclose(*values, rtol=1e-4)


def test_training_starts_from_the_rates_of_the_training_trials():
    frames, labels = binary_trials(np.random.default_rng(7), 400)
    model = quick(n_epochs=1, lr=1e-12).fit(frames, labels, progress=False)
    drive = model.decoder_.stimulus_drive(torch.tensor([0, 1])).mean(dim=1).sigmoid().detach()
    for stimulus in (0, 1):
        expected = ev.mean_rates(frames[labels == stimulus])
        assert np.allclose(drive[stimulus], expected, atol=0.02)


def weights(model):
    return torch.cat([p.flatten() for p in model.decoder_.parameters()])


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


def test_several_paths_give_a_tighter_bound_to_learn_from():
    frames, labels = binary_trials(np.random.default_rng(9), 64)
    models = [quick(n_importance=k, n_epochs=1, lr=1e-12) for k in (1, 20)]
    bounds = []
    for model in models:
        row = model.fit(frames, labels, progress=False).history_.iloc[-1]
        bounds.append(row["reconstruction"] - row["divergence"])
    assert bounds[0] < bounds[1] < bounds[0] + 5


@pytest.mark.parametrize("n_importance", [1, 2])
def test_interrupted_and_resumed_training_is_uninterrupted(n_importance, tmp_path):
    rng = np.random.default_rng(10)
    train, validation = binary_trials(rng, 64), binary_trials(rng, 16)
    options = {"n_importance": n_importance, "n_warm_up": 6, "batch_size": 20}
    whole = quick(n_epochs=9, **options).fit(*train, validation, progress=False)
    path = tmp_path / "vae.pt"
    quick(n_epochs=4, **options).fit(*train, validation, checkpoint=path, progress=False)
    resumed = quick(n_epochs=9, **options)
    resumed.fit(*train, validation, checkpoint=path, progress=False)
    assert resumed.history_.equals(whole.history_)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("change", ["data", "labels", "validation", "lr", "rank"])
def test_a_checkpoint_of_something_else_is_refused(change, tmp_path):
    frames, labels = binary_trials(np.random.default_rng(11), 32)
    path = tmp_path / "vae.pt"
    quick(n_epochs=1).fit(frames, labels, checkpoint=path, progress=False)
    model = quick(n_epochs=2, **{"lr": {"lr": 0.01}, "rank": {"rank": 3}}.get(change, {}))
    if change == "data":
        frames = 1 - frames
    if change == "labels":
        labels = 1 - labels
    validation = (frames, labels) if change == "validation" else None
    with pytest.raises(CheckpointError, match="other trials, labels or parameters"):
        model.fit(frames, labels, validation, checkpoint=path, progress=False)


def test_it_is_an_estimator():
    model = NeuronVAE(lr=0.01, seed=3)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.sample([0], seed=0)
    with pytest.raises(NotFittedError):
        model.log_likelihood(np.zeros((1, 2)), [0])


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


@pytest.mark.parametrize(
    "wrong",
    [{"rank": 0}, {"batch_size": 0}, {"n_states": 0}, {"n_importance": 0}, {"n_warm_up": 0},
     {"shrinkage": -1.0}, {"shrinkage": np.nan}],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(wrong):
    frames, labels = binary_trials(np.random.default_rng(12), 8)
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
        quick(**wrong).fit(frames, labels, progress=False)


def test_trials_unlike_those_of_training_are_refused(fitted):
    with pytest.raises(ValueError, match=r"\[2\] were not in training"):
        fitted.sample([0, 2], seed=0)
    frames, labels = binary_trials(np.random.default_rng(12), 20)
    with pytest.raises(ValueError, match="were not in training"):
        quick().fit(frames, labels, (frames, labels + 1), progress=False)
    with pytest.raises(ValueError, match="frames and neurons of training"):
        quick().fit(frames, labels, (frames[:, :3], labels), progress=False)
    with pytest.raises(ValueError, match="fractions of 1 frames"):
        fitted.log_likelihood(frames / 2, labels)
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        fitted.log_likelihood(frames, labels, n_samples=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_trains_and_resumes(tmp_path):
    frames, labels = binary_trials(np.random.default_rng(13), 64)
    path = tmp_path / "vae.pt"
    whole = quick(n_epochs=4, device="cuda").fit(frames, labels, progress=False)
    quick(n_epochs=2, device="cuda").fit(frames, labels, checkpoint=path, progress=False)
    resumed = quick(n_epochs=4, device="cuda").fit(frames, labels, checkpoint=path, progress=False)
    assert torch.allclose(weights(resumed), weights(whole), atol=1e-4)
    assert resumed.sample(labels, seed=0).shape == frames.shape
    assert np.isfinite(resumed.log_likelihood(frames, labels, n_samples=3)).all()
