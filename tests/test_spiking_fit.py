"""Synapses, signs and delays of simulated networks, recovered from their spikes."""

import numpy as np
import pytest

from visualcortex.connectivity import synapse_auroc
from visualcortex.models.spiking_fit import SpikingNetwork
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
    model = SpikingNetwork(longest_delay=0.006, n_epochs=2)
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
    model = SpikingNetwork(signs=signs, n_epochs=1, longest_delay=0.004)
    model.fit(spikes.between(0, 30.0), stop=30.0)
    np.testing.assert_array_equal(model.signs_, signs)
    assert (np.nan_to_num(model.weights_) * signs[:, None] >= 0).all()


def test_few_spikes_do_not_diverge_and_seeds_spread():
    rng = np.random.default_rng(0)
    counts = (rng.random((4000, 5)) < 0.004).astype(int)
    model = SpikingNetwork(n_seeds=2, n_epochs=4).fit(counts)
    off = ~np.eye(5, dtype=bool)
    for found in (model.scores_, model.weights_, model.probabilities_, model.standard_errors_):
        assert np.isfinite(found[off]).all()
        assert np.isnan(np.diagonal(found)).all()
    assert np.abs(model.scores_[off]).max() < 6
    assert (model.spread_[off] >= 0).all()
    assert model.history_[-1] <= model.history_[0]


def test_shared_input_is_told_from_synapses():
    rng = np.random.default_rng(2)
    slow = np.convolve(rng.standard_normal(120_000), np.ones(40) / np.sqrt(40), mode="same")
    counts = rng.poisson(0.01 * np.exp(0.6 * slow - 0.18)[:, None], (120_000, 6))
    off = ~np.eye(6, dtype=bool)
    with_it, without = (
        SpikingNetwork(background=width).fit(counts).scores_[off] for width in (0.01, None)
    )
    assert np.abs(with_it.mean()) < 0.5 * without.mean()


@pytest.mark.parametrize(
    ("settings", "spikes", "message"),
    [
        ({"step": 0.0}, np.ones((50, 2), int), "above 0 s"),
        ({"background": 0.001}, np.ones((50, 2), int), "two steps"),
        ({"sparsity": -1.0}, np.ones((50, 2), int), "0 or more"),
        ({"signs": np.ones(3)}, np.ones((50, 2), int), "each of 2 neurons"),
        ({"n_epochs": 0}, np.ones((50, 2), int), "at least 1"),
        ({"signs": np.zeros(2)}, np.ones((50, 2), int), "signs must be"),
        ({}, np.ones(50, int), "two neurons"),
        ({}, np.eye(50, 2, dtype=int), "two spikes"),
    ],
)
def test_bad_input_is_refused(settings, spikes, message):
    with pytest.raises(ValueError, match=message):
        SpikingNetwork(**settings).fit(spikes)
