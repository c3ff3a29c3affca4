"""Trial shuffling: what it keeps exactly, what it destroys."""

from __future__ import annotations

import numpy as np
import pytest

from visualcortex.evaluation.scores import noise_correlations
from visualcortex.evaluation.surrogates import shuffle_trials


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
