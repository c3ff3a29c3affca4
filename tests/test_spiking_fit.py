"""Synapses, signs and delays of simulated networks, recovered from their spikes."""

import numpy as np
import pytest

from visualcortex.connectivity import synapse_auroc
from visualcortex.models.spiking_fit import SpikingNetwork
from visualcortex.models.spiking_training import free_run
from visualcortex.simulators.spiking_network import Membrane, Network, Synapses
from visualcortex.spikes import SpikeTimes


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(1)
    n = 10
    signs = np.where(np.arange(n) < 7, 1, -1)
    weights = (rng.random((n, n)) < 0.25) * rng.uniform(2, 5, (n, n)) * signs[:, None]
    np.fill_diagonal(weights, 0)
    delays = rng.integers(1, 5, (n, n))
    network = Network(Synapses.of(weights, delays), Membrane(), rng)
    when, who, _ = network.run(np.full((30_000, n), -1.0, np.float32))
    spikes = SpikeTimes.from_lists([(when[who == k] + 0.5) / 1000 for k in range(n)])
    model = SpikingNetwork(longest_delay=0.006)
    return weights, delays, signs, spikes, model.fit(spikes, stop=300.0)


def test_synapses_and_delays_are_recovered(simulated):
    weights, delays, _, _, model = simulated
    assert synapse_auroc(model.scores_, weights) > 0.97
    strong = np.abs(weights) > 3
    apart = np.abs(model.delays_[strong] * 1000 - delays[strong])
    assert np.median(apart) < 0.5


def test_signs_are_recovered_and_kept_to(simulated):
    weights, _, signs, _, model = simulated
    linked = (weights != 0).any(axis=1)
    np.testing.assert_array_equal(model.signs_[linked], signs[linked])
    assert (np.nan_to_num(model.weights_) * model.signs_[:, None] >= 0).all()


def test_scores_without_a_synapse_are_of_unit_size(simulated):
    weights, _, _, _, model = simulated
    null = model.scores_[(weights == 0) & ~np.eye(len(weights), dtype=bool)]
    assert 0.6 < null.std() < 2  # the delay is chosen by the score, which widens it


def test_given_signs_are_kept(simulated):
    _, _, signs, spikes, _ = simulated
    model = SpikingNetwork(signs=signs, n_rounds=1, longest_delay=0.004)
    model.fit(spikes.between(0, 30.0), stop=30.0)
    np.testing.assert_array_equal(model.signs_, signs)
    assert (np.nan_to_num(model.weights_) * signs[:, None] >= 0).all()


def test_neurons_in_another_order_are_found_alike(simulated):
    _, _, _, spikes, _ = simulated
    order = np.array([3, 0, 9, 1, 5, 2, 8, 4, 7, 6])
    settings = {"longest_delay": 0.004, "background": 0.004, "n_sampled": 10_000}
    short = spikes.between(0, 40.0)
    other = SpikeTimes.from_lists([short.of(k) for k in order])
    first, second = (SpikingNetwork(**settings).fit(x, stop=40.0) for x in (short, other))
    for name in ("scores_", "weights_", "probabilities_", "delays_"):
        expected = getattr(first, name)[np.ix_(order, order)]
        np.testing.assert_allclose(getattr(second, name), expected, atol=1e-3)


def test_the_same_seed_finds_the_same(simulated):
    _, _, _, spikes, _ = simulated
    short, settings = spikes.between(0, 30.0), {"n_sampled": 50, "longest_delay": 0.004}
    one, two, other = (SpikingNetwork(seed=k, **settings).fit(short) for k in (1, 1, 2))
    np.testing.assert_array_equal(one.scores_, two.scores_)
    assert not np.array_equal(one.scores_, other.scores_, equal_nan=True)


def test_weights_errors_and_constants_are_those_of_the_model_that_made_the_spikes():
    n, rng = 8, np.random.default_rng(0)
    weights = np.where(rng.random((n, n)) < 0.3, rng.choice([1.2, 0.8, -1.0], (n, n)), 0.0)
    np.fill_diagonal(weights, np.nan)
    ages = np.array([0, 0.001, 0.003])
    constants = np.log(0.015) + np.array([[-9.0], [-3.0], [0.0]]) + np.zeros(n)
    spikes = free_run(
        *(weights, np.full((n, n), 0.003), constants),
        **{"ages": ages, "duration": 240.0, "decay_time": 0.003, "kick": 1.0, "seed": 1},
    )
    off, linked = ~np.eye(n, dtype=bool), np.nan_to_num(weights) != 0
    for background in (None, 0.008):
        model = SpikingNetwork(background=background).fit(spikes, stop=240.0)
        error = (model.estimates_ - weights) / model.standard_errors_
        assert np.abs(error[linked]).mean() < 1.6  # .8 where errors are normal
        assert np.abs(error[linked]).max() < 5
        assert np.abs(error[off & ~linked]).max() < 6
        assert (model.delays_[linked] == 0.003).mean() > 0.95
        old = model.ages_ >= 0.003
        np.testing.assert_allclose(model.constants_[old].mean(axis=0), constants[2], atol=0.25)


def test_few_spikes_do_not_diverge():
    rng = np.random.default_rng(0)
    counts = (rng.random((4000, 5)) < 0.004).astype(int)
    model = SpikingNetwork(n_steps=6).fit(counts)
    off = ~np.eye(5, dtype=bool)
    for found in (model.scores_, model.weights_, model.probabilities_, model.standard_errors_):
        assert np.isfinite(found[off]).all()
        assert np.isnan(np.diagonal(found)).all()
    assert np.abs(model.scores_[off]).max() < 6
    assert model.history_[-1] < 0  # of no synapses at all
    assert np.isfinite(model.constants_).all()


def test_shared_input_is_told_from_synapses():
    rng = np.random.default_rng(2)
    slow = np.convolve(rng.standard_normal(120_000), np.ones(40) / np.sqrt(40), mode="same")
    counts = rng.poisson(0.01 * np.exp(0.6 * slow - 0.18)[:, None], (120_000, 6))
    off = ~np.eye(6, dtype=bool)
    with_it, without = (SpikingNetwork(background=w).fit(counts) for w in ("auto", None))
    assert with_it.background_ < 0.016
    assert without.background_ is None
    assert np.abs(with_it.scores_[off].mean()) < 0.5 * without.scores_[off].mean()


@pytest.mark.parametrize(
    ("settings", "spikes", "message"),
    [
        ({"step": 0.0}, np.ones((50, 2), int), "step must be above 0 s"),
        ({"decay_time": -1.0}, np.ones((50, 2), int), "decay_time must be above 0 s"),
        ({"longest_delay": 0.0005}, np.ones((50, 2), int), "at least a step"),
        ({"background": 0.001}, np.ones((50, 2), int), "two steps"),
        ({"background": "wide"}, np.ones((50, 2), int), "'auto'"),
        ({"kick": -1.0}, np.ones((50, 2), int), "kick must be 0 or more"),
        ({"n_rounds": 0}, np.ones((50, 2), int), "n_rounds must be a whole number"),
        ({"n_steps": 1.5}, np.ones((50, 2), int), "n_steps must be a whole number"),
        ({"signs": np.ones(3)}, np.ones((50, 2), int), "each of 2 neurons"),
        ({"signs": np.zeros(2)}, np.ones((50, 2), int), "signs must be"),
        ({}, np.ones(50, int), "two neurons"),
        ({}, np.eye(50, 2, dtype=int), "two spikes"),
        ({}, np.tile([[1, 1], [0, 0]], (25, 1)), "grid"),
    ],
)
def test_bad_input_is_refused(settings, spikes, message):
    with pytest.raises(ValueError, match=message):
        SpikingNetwork(**settings).fit(spikes)
