"""The k-pairwise model: exact moments, chains against all states, what samples keep."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import logit, logsumexp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from visualcortex.models import maximum_entropy as me
from visualcortex.models.maximum_entropy import KPairwise, all_states


def probabilities(fields, couplings, potential):
    """Probability of every state, by a loop over states and pairs."""
    n = len(fields)
    states = all_states(n)
    energy = [
        fields @ x
        + sum(couplings[i, j] * x[i] * x[j] for i in range(n) for j in range(i + 1, n))
        + potential[int(x.sum())]
        for x in states
    ]
    return np.exp(energy - logsumexp(energy))


def known_model(rng, n_neurons=5):
    """Fields of two stimuli, couplings and a potential."""
    fields = rng.normal(-1, 0.5, (2, n_neurons))
    couplings = np.triu(rng.normal(0.2, 0.5, (n_neurons, n_neurons)), 1)
    return fields, couplings + couplings.T, 0.3 * rng.normal(size=n_neurons + 1)


def frames_of(model, n_frames, rng):
    """Frames (F, N) of a known model, half of them for each stimulus, and their labels."""
    fields, couplings, potential = model
    states = all_states(fields.shape[1])
    labels = np.repeat([0, 1], n_frames // 2)
    rows = [
        rng.choice(len(states), n_frames // 2, p=probabilities(f, couplings, potential))
        for f in fields
    ]
    return states[np.concatenate(rows)], labels


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    model = known_model(rng)
    return model, frames_of(model, 20_000, rng)


@pytest.fixture(scope="module")
def exact(small):
    return KPairwise(method="exact", ridge=1e-3).fit(*small[1])


def common_input(rng, n_trials=120, n_time=10, n_neurons=20):
    """Neurons with a strong common input, whose counts are not those of a pairwise model."""
    labels = np.arange(n_trials) % 2
    state = (rng.random((n_trials, n_time, 1)) < 0.15) * 2.5
    drive = -2.6 + state + rng.normal(0, 0.5, n_neurons) + 0.5 * labels[:, None, None]
    return (rng.random((n_trials, n_time, n_neurons)) < 1 / (1 + np.exp(-drive))) * 1.0, labels


@pytest.fixture(scope="module")
def crowd():
    activity, labels = common_input(np.random.default_rng(1))
    return activity, labels, KPairwise(n_chains=1024).fit(activity, labels)


def test_exact_moments_are_those_of_the_data(small, exact):
    _, (frames, labels) = small
    expected, pairs, counts = 0, 0, 0
    states = all_states(5)
    for stimulus in (0, 1):
        chance = probabilities(exact.fields_[stimulus], exact.couplings_, exact.potential_)
        of = labels == stimulus
        np.testing.assert_allclose(chance @ states, frames[of].mean(axis=0), atol=1e-4)
        pairs = pairs + (states.T * chance) @ states / 2
        counts = counts + np.bincount(states.sum(axis=1).astype(int), weights=chance) / 2
        expected = expected + frames[of].T @ frames[of] / len(frames)
    np.testing.assert_allclose(pairs, expected, atol=2e-4)
    observed = np.bincount(frames.sum(axis=1).astype(int), minlength=6) / len(frames)
    np.testing.assert_allclose(counts, observed, atol=2e-4)


def test_it_recovers_the_distribution_that_frames_were_drawn_from(small, exact):
    (fields, couplings, potential), _ = small
    for stimulus in (0, 1):
        true = probabilities(fields[stimulus], couplings, potential)
        found = probabilities(exact.fields_[stimulus], exact.couplings_, exact.potential_)
        # the frequencies of 32 states in 10,000 frames are off by about .02 in all
        assert np.abs(true - found).sum() / 2 < 0.03


def test_the_likelihood_is_concave_and_its_gradient_right():
    rng = np.random.default_rng(2)
    frames, groups = frames_of(known_model(rng, 4), 400, rng)
    targets = me._targets(frames, groups)
    size = targets.rates.size + 6 + 5

    def loss(theta):
        return me._loss(theta, targets, 2.0)[0]

    for _ in range(5):
        first, second = rng.normal(size=(2, size))
        middle = loss((first + second) / 2)
        assert middle < (loss(first) + loss(second)) / 2
        error = check_grad(loss, lambda theta: me._loss(theta, targets, 2.0)[1], first)
        assert error < 1e-5


def test_chains_have_the_probabilities_of_the_states():
    rng = np.random.default_rng(3)
    fields, couplings, potential = known_model(rng)
    n_chains = 40_000
    states = np.zeros((n_chains, 5), np.uint8)
    groups = np.repeat([0, 1], n_chains // 2)
    me._gibbs(states, groups, fields, couplings, potential, 30, rng)
    codes = states @ (1 << np.arange(5))
    for stimulus in (0, 1):
        counts = np.bincount(codes[groups == stimulus], minlength=32)
        expected = probabilities(fields[stimulus], couplings, potential) * counts.sum()
        # chi-squared with 31 degrees of freedom exceeds 62 with probability .001
        assert ((counts - expected) ** 2 / expected).sum() < 62


def test_chains_and_enumeration_find_the_same_model(small):
    _, data = small
    models = [KPairwise(method=m, ridge=5.0).fit(*data) for m in ("exact", "chains")]
    for stimulus in (0, 1):
        chance = [probabilities(m.fields_[stimulus], m.couplings_, m.potential_) for m in models]
        assert np.abs(chance[0] - chance[1]).sum() / 2 < 0.01
    np.testing.assert_allclose(models[0].couplings_, models[1].couplings_, atol=0.15)


def test_a_single_neuron_has_the_log_odds_of_its_rate():
    activity = np.array([[1.0], [0], [0], [0]])
    model = KPairwise(method="exact", count_potential=False).fit(activity, np.zeros(4, int))
    assert model.fields_.item() == pytest.approx(logit(1.5 / 5), abs=1e-6)


def test_samples_have_rates_pairs_and_counts_of_training(crowd):
    activity, labels, model = crowd
    sampled = model.sample(np.tile([0, 1], 1000), seed=0)  # 20,000 frames
    assert set(np.unique(sampled)) == {0, 1}
    for stimulus in (0, 1):
        means = [
            x[np.arange(len(x)) % 2 == stimulus].mean(axis=(0, 1)) for x in (activity, sampled)
        ]
        np.testing.assert_allclose(means[1], means[0], atol=0.02)
    pairs = [x.reshape(-1, 20).T @ x.reshape(-1, 20) / x[..., 0].size for x in (activity, sampled)]
    np.testing.assert_allclose(pairs[1], pairs[0], atol=0.02)
    observed, found = (
        np.bincount(x.sum(axis=2).astype(int).ravel(), minlength=21) / x[..., 0].size
        for x in (activity, sampled)
    )
    # 20,000 frames against themselves: about .01
    assert np.abs(observed - found).sum() / 2 < 0.025
    pairwise = KPairwise(count_potential=False, n_chains=1024, n_steps=300).fit(activity, labels)
    assert not pairwise.potential_.any()
    without = pairwise.sample(np.tile([0, 1], 1000), seed=0).sum(axis=2).astype(int).ravel()
    without = np.bincount(without, minlength=21) / len(without)
    assert np.abs(observed - without).sum() > 1.5 * np.abs(observed - found).sum()


def test_history_says_that_the_moments_are_met(crowd):
    history = crowd[2].history_
    assert history["step"].tolist() == list(range(20, 501, 20))
    first, last = history.iloc[0], history.iloc[-1]
    assert last["pairs"] < min(1.0, 0.2 * first["pairs"])
    assert last["counts"] < 0.3 * first["counts"]


def test_moving_the_gauge_changes_the_penalty_only():
    rng = np.random.default_rng(4)
    fields, couplings, potential = known_model(rng)
    before = me._Parameters(fields, couplings + 1.5 * (1 - np.eye(5)), potential + 2)
    after = me._least(before)
    for stimulus in (0, 1):
        np.testing.assert_allclose(
            probabilities(after.fields[stimulus], after.couplings, after.potential),
            probabilities(before.fields[stimulus], before.couplings, before.potential),
            atol=1e-12,
        )
    sizes = [
        np.square(p.couplings).sum() / 2 + np.square(p.potential).sum() for p in (before, after)
    ]
    assert sizes[1] < sizes[0]


def test_stimuli_may_share_their_fields(small):
    frames, labels = small[1]
    model = KPairwise(method="exact", stimulus_fields=False).fit(frames, labels)
    np.testing.assert_array_equal(model.fields_[0], model.fields_[1])
    sampled = model.sample(np.repeat([0, 1], 5000), seed=0)
    np.testing.assert_allclose(sampled.mean(axis=0), frames.mean(axis=0), atol=0.025)


def test_the_order_of_neurons_and_the_names_of_stimuli_mean_nothing(small, exact):
    frames, labels = small[1]
    order = np.array([3, 1, 4, 0, 2])
    other = KPairwise(method="exact", ridge=1e-3).fit(frames[:, order], labels + 5)
    np.testing.assert_allclose(other.couplings_, exact.couplings_[np.ix_(order, order)], atol=0.02)
    np.testing.assert_allclose(other.fields_, exact.fields_[:, order], atol=0.02)
    assert other.labels_.tolist() == [5, 6]


def test_the_same_seed_gives_the_same_model_and_trials(crowd):
    activity, labels, _ = crowd
    quick = KPairwise(n_steps=5, n_chains=64)
    first, second = (clone(quick).fit(activity, labels) for _ in range(2))
    np.testing.assert_array_equal(first.couplings_, second.couplings_)
    samples = [first.sample(np.array([1, 0]), seed=s) for s in (0, 0, 1)]
    assert samples[0].shape == (2, 10, 20)
    assert samples[0].dtype == np.float32
    np.testing.assert_array_equal(samples[0], samples[1])
    assert not np.array_equal(samples[0], samples[2])


def test_sampling_leaves_the_chains_of_the_fit_alone(crowd):
    model = crowd[2]
    before = model.chains_.copy()
    model.sample(np.array([0, 1]), seed=0)
    np.testing.assert_array_equal(model.chains_, before)


def test_bad_input(crowd):
    activity, labels, model = crowd
    with pytest.raises(NotFittedError):
        KPairwise().sample(labels, seed=0)
    with pytest.raises(ValueError, match="binary activity"):
        KPairwise().fit(activity / 2, labels)
    with pytest.raises(ValueError, match="at most 12 neurons; got 20"):
        KPairwise(method="exact").fit(activity, labels)
    with pytest.raises(ValueError, match="at most 12 neurons can be listed"):
        all_states(13)
    with pytest.raises(ValueError, match="'chains' or 'exact'"):
        KPairwise(method="ising").fit(activity, labels)
    with pytest.raises(ValueError, match="ridge at least 0"):
        KPairwise(ridge=-1.0).fit(activity, labels)
    with pytest.raises(ValueError, match="one label a trial"):
        KPairwise().fit(activity, labels[:2])
    with pytest.raises(ValueError, match="were not in training"):
        model.sample(np.array([7]), seed=0)
