"""Synapses fitted to correlograms: closed forms, a plain fit, known wiring, bad input."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from visualcortex.connectivity import (
    BinnedSpikes,
    coupling_scores,
    cross_correlograms,
    direction_accuracy,
    sign_accuracy,
    synapse_auroc,
    two_sided,
)
from visualcortex.simulators.spiking_network import Membrane, Network, Synapses


@functools.cache
def network():
    """Return correlograms of ten neurons over ten minutes, and their weights, mV."""
    rng = np.random.default_rng(3)
    weights = np.where(rng.random((10, 10)) < 0.2, 3.0, 0)
    weights[7:] *= -1.5
    np.fill_diagonal(weights, 0)
    net = Network(Synapses.of(weights, rng.integers(1, 4, (10, 10))), Membrane(), rng)
    when, who, _ = net.run(np.full((60_000, 10), -1.5, np.float32))
    spikes = BinnedSpikes(np.zeros_like(when), when, who, 1, 600_000, 10)
    return cross_correlograms(spikes, 50), weights


def test_it_is_the_fit_of_each_pair_alone():
    counts = network()[0]
    scores = coupling_scores(counts, decay=6.0, delays=(1, 3))
    both = two_sided(counts)
    lags = np.arange(-50, 51)
    kernel = np.zeros(101)
    for d in (1, 2, 3):
        kernel += np.where(lags >= d, np.exp(-(lags - d) / 6.0), 0) / 3
    used = lags != 0
    design = np.stack([np.ones(101), kernel, kernel[::-1]], axis=1)[used]
    for i, j in ((0, 1), (4, 8), (9, 2)):
        found = np.linalg.lstsq(design, both[i, j, used], rcond=None)[0]
        error = np.sqrt(found[0] * np.linalg.inv(design.T @ design)[1, 1])
        assert scores[i, j] == pytest.approx(found[1] / error, rel=1e-9)


def test_known_synapses_are_found_with_direction_and_sign():
    counts, weights = network()
    scores = coupling_scores(counts)
    assert synapse_auroc(scores, weights) > 0.95
    assert direction_accuracy(scores, weights) > 0.95
    assert sign_accuracy(scores, weights) > 0.95
    assert np.isnan(np.diag(scores)).all()


def test_a_symmetric_peak_tells_no_direction():
    lags = np.arange(51)
    counts = np.full((2, 2, 51), 1000.0) + 200 * np.exp(-lags / 5)
    scores = coupling_scores(counts)
    assert scores[0, 1] == pytest.approx(scores[1, 0])
    assert scores[0, 1] > 3


def test_scores_of_independent_neurons_have_unit_variance():
    rng = np.random.default_rng(0)
    counts = rng.poisson(400, (60, 60, 61)).astype(float)
    scores = coupling_scores(counts)
    assert np.nanstd(scores) == pytest.approx(1, abs=0.05)
    assert np.nanmean(scores) == pytest.approx(0, abs=0.05)


def test_permuting_neurons_permutes_scores():
    counts = network()[0]
    order = np.random.default_rng(1).permutation(10)
    permuted = coupling_scores(counts[np.ix_(order, order)])
    np.testing.assert_allclose(permuted, coupling_scores(counts)[np.ix_(order, order)])


def test_pairs_that_never_coincide_score_zero():
    assert (coupling_scores(np.zeros((3, 3, 41)))[~np.eye(3, dtype=bool)] == 0).all()


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        (np.zeros((3, 4, 51)), {}, "as many sources as targets"),
        (np.zeros((3, 3, 10)), {}, "Compute longer lags"),
        (np.zeros((3, 3, 51)), {"delays": (0, 2)}, "from 1 on"),
        (np.zeros((3, 3, 51)), {"decay": 0.0}, "above 0"),
    ],
)
def test_bad_input(counts, settings, message):
    with pytest.raises(ValueError, match=message):
        coupling_scores(counts, **settings)
