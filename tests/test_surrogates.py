"""Trial shuffling and bootstrap: what they keep exactly, what they destroy."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from visualcortex.evaluation.scores import noise_correlations
from visualcortex.evaluation.surrogates import TrialBootstrap, shuffle_trials


@pytest.fixture
def stimulus():
    return np.repeat([0, 1, 2], 200)


@pytest.mark.parametrize("shape", [(600, 5), (600, 4, 5)])
def test_each_neuron_keeps_its_trials_of_each_stimulus(stimulus, shape):
    activity = np.random.default_rng(0).normal(size=shape)
    shuffled = shuffle_trials(activity, stimulus, rng=np.random.default_rng(1))
    assert shuffled.shape == shape
    for s in range(3):
        for neuron in range(5):
            before = activity[stimulus == s][..., neuron].reshape(200, -1)
            after = shuffled[stimulus == s][..., neuron].reshape(200, -1)
            assert not np.array_equal(before, after)
            np.testing.assert_array_equal(
                before[before[:, 0].argsort()], after[after[:, 0].argsort()]
            )


def test_what_neurons_share_is_gone(stimulus):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(600, 1)) + 0.5 * rng.normal(size=(600, 5))
    upper = np.triu_indices(5, 1)
    assert noise_correlations(shared, stimulus)[upper].min() > 0.7
    shuffled = shuffle_trials(shared, stimulus, rng=rng)
    # the standard error of a correlation of independent values is 1 / sqrt(n)
    assert np.abs(noise_correlations(shuffled, stimulus)[upper]).max() < 4 / np.sqrt(600)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 trials of activity but 2 stimuli"):
        shuffle_trials(np.zeros((3, 2)), np.zeros(2, int), rng=np.random.default_rng(0))


@pytest.fixture
def recorded(stimulus):
    """Trials that all differ, with time."""
    return (np.random.default_rng(2).random((600, 3, 4)) < 0.5) * 1.0


def rows(activity):
    """Trials as tuples."""
    return [tuple(trial.ravel()) for trial in activity]


@pytest.mark.parametrize("with_time", [True, False])
def test_bootstrapped_trials_are_recorded_ones_of_their_stimulus(stimulus, with_time):
    activity = np.random.default_rng(0).random((600, 4, 5)).astype(np.float32)
    activity = activity if with_time else activity[:, 0]
    labels = np.repeat([2, 0, 1], [500, 100, 1])
    sampled = TrialBootstrap().fit(activity, stimulus).sample(labels, seed=0)
    assert sampled.shape == (601, *activity.shape[1:])
    for s in (0, 1, 2):
        pool = set(rows(activity[stimulus == s]))
        assert set(rows(sampled[labels == s])) <= pool
    # 500 draws of 200: 200 (1 - e^-2.5) = 184 of them are seen
    assert 170 < len(set(rows(sampled[labels == 2]))) < 196


def test_bootstrapping_needs_no_order_of_trials(stimulus):
    activity = np.random.default_rng(0).random((600, 5))
    order = np.random.default_rng(1).permutation(600)
    model = TrialBootstrap().fit(activity[order], stimulus[order] * 10)
    sampled = model.sample(np.full(50, 20), seed=3)
    assert set(rows(sampled)) <= set(rows(np.float32(activity[stimulus == 2])))
    assert model.labels_.tolist() == [0, 10, 20]


def test_independent_draws_keep_neurons_and_destroy_what_they_share(stimulus):
    rng = np.random.default_rng(0)
    shared = (0.3 * rng.random((600, 1)) + 0.1 * rng.random((600, 5))).astype(np.float32)
    upper = np.triu_indices(5, 1)
    whole = TrialBootstrap().fit(shared, stimulus).sample(stimulus, seed=0)
    assert noise_correlations(whole, stimulus)[upper].min() > 0.7
    apart = TrialBootstrap(independent=True).fit(shared, stimulus).sample(stimulus, seed=0)
    assert np.abs(noise_correlations(apart, stimulus)[upper]).max() < 4 / np.sqrt(600)
    for neuron in range(5):
        assert np.isin(apart[stimulus == 1, neuron], shared[stimulus == 1, neuron]).all()


def test_bootstrap_variance_is_that_of_the_recorded_trials(stimulus):
    activity = np.random.default_rng(0).random((600, 2))
    labels = np.zeros(40_000, int)
    sampled = TrialBootstrap().fit(activity, stimulus).sample(labels, seed=0)
    np.testing.assert_allclose(sampled.mean(axis=0), activity[:200].mean(axis=0), atol=0.006)
    np.testing.assert_allclose(sampled.var(axis=0), activity[:200].var(axis=0), rtol=0.03)


def test_bootstrap_seeds(recorded, stimulus):
    model = TrialBootstrap().fit(recorded, stimulus)
    first, second, other = (model.sample(stimulus, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_bootstrap_refuses_bad_input(recorded, stimulus):
    model = TrialBootstrap()
    with pytest.raises(NotFittedError):
        model.sample(stimulus, seed=0)
    with pytest.raises(ValueError, match="one label a trial"):
        model.fit(recorded, stimulus[:5])
    with pytest.raises(ValueError, match="1 NaN"):
        model.fit(np.array([[np.nan], [0.0]]), np.zeros(2))
    with pytest.raises(ValueError, match=r"stimuli \[9\] were not in training"):
        model.fit(recorded, stimulus).sample(np.array([0, 9]), seed=0)
    with pytest.raises(ValueError, match="one a trial"):
        model.sample(np.zeros((2, 1), int), seed=0)
