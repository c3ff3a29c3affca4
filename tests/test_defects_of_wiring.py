"""The mistakes of the original wiring project, each rebuilt beside the right way."""

from __future__ import annotations

import numpy as np
import pytest

from visualcortex.connectivity import (
    CorrelogramPeaks,
    PartialCorrelation,
    direction_accuracy,
    synapse_auroc,
)
from visualcortex.connectivity.cliff import LaggedPartials
from visualcortex.models.stdp_network import (
    ORIGINAL_INHIBITORY,
    ORIGINAL_STDP_INHIBITORY,
    PairRule,
    StdpNetwork,
    conflicting_rules,
    explained_by_rates,
    picked_effects,
)
from visualcortex.simulators.indicator import CalciumIndicator
from visualcortex.simulators.wired_network import WiredNetwork, image_spikes


@pytest.fixture(scope="module")
def network():
    """Thirty neurons with strong synapses, five minutes."""
    return WiredNetwork(n_neurons=30, duration=300.0, strength=1.5).simulate(2)


@pytest.fixture(scope="module")
def calcium(network):
    """DF/F at ten frames a second, (time, neuron)."""
    slow = CalciumIndicator(frame_rate=10.0, indicator="gcamp6s")
    return image_spikes(network, slow, seed=2).traces.to_numpy().T


@pytest.fixture(scope="module")
def drifted(network, calcium):
    """The original's network, told who inhibits."""
    types = np.flatnonzero(network.truth.cell_type == "I")
    return StdpNetwork(inhibitory=types, n_repeats=5).fit(1 + calcium)


def test_a_network_fitted_to_nothing_does_not_know_the_wiring(network, drifted):
    # neurons of many inputs fire more, and weights drift with rates: a little above one half
    weights = network.truth.weights
    right = synapse_auroc(CorrelogramPeaks().fit(network.spikes).scores_, weights)
    assert right > 0.85
    assert synapse_auroc(drifted.scores_, weights) < right - 0.25
    types = np.flatnonzero(network.truth.cell_type == "I")
    rates = drifted.rates_.mean(axis=0)
    assert explained_by_rates(drifted.scores_, rates, types) > 0.6


def test_the_frame_before_does_not_tell_the_source(network, calcium):
    weights = network.truth.weights
    before = PartialCorrelation(step=0.1, lag=1).fit(calcium)
    right = LaggedPartials(step=0.1, decay=0.6).fit(calcium)
    told = direction_accuracy(before.scores_, weights)
    assert told < 0.55
    assert direction_accuracy(right.scores_, weights) > told + 0.1


def test_two_lists_of_inhibitory_cells_contradict_each_other():
    conflict = conflicting_rules(ORIGINAL_INHIBITORY, ORIGINAL_STDP_INHIBITORY, 259)
    assert conflict.sum() == 4788
    same = conflicting_rules(ORIGINAL_INHIBITORY, ORIGINAL_INHIBITORY, 259)
    assert not same.any()


def test_ten_steps_a_frame_make_windows_of_milliseconds_hundreds():
    assert PairRule().windows(10.0) == pytest.approx((200.0, 600.0))
    assert PairRule().windows(1.0) == pytest.approx((20.0, 60.0))


def test_runs_chosen_for_an_effect_show_one(network, drifted):
    excite = np.flatnonzero(network.truth.cell_type == "E")
    effects = picked_effects(drifted.repeat_scores_, excite, n_accepted=2, n_draws=400)
    line = float(np.quantile(effects.honest, 0.95))
    honest, chosen = effects.beyond(line)
    assert chosen > 1.5 * honest
