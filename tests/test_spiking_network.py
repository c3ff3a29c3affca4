"""The engine of simulated spiking networks against closed forms and a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visualcortex.simulators.spiking_network import STEP_MS, Membrane, Network, Synapses

SILENT = -1000.0  # mV: no spike of its own


def network(weights, delays=None, *, seed=0, **membrane):
    weights = np.asarray(weights, np.float32)
    delays = np.ones(weights.shape, int) if delays is None else np.asarray(delays)
    rng = np.random.default_rng(seed)
    return Network(Synapses.of(weights, delays), Membrane(**membrane), rng)


def test_synapses_are_listed_source_by_source():
    weights = np.array([[0, 0.5, 0], [-1, 0, 2], [0, 0, 0]])
    delays = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    synapses = Synapses.of(weights, delays)
    assert synapses.first.tolist() == [0, 1, 3, 3]
    assert synapses.target.tolist() == [1, 0, 2]
    assert synapses.weight.tolist() == [0.5, -1, 2]
    assert synapses.delay.tolist() == [2, 4, 6]


@pytest.mark.parametrize(("drive", "dead"), [(0.0, 2), (-4.0, 0), (2.0, 5)])
def test_a_lone_neuron_fires_at_the_rate_of_a_renewal_process(drive, dead):
    lone = network(np.zeros((1, 1)), after_potential=0.0, refractory=dead)
    n_steps = 60_000
    when, who, _ = lone.run(np.full((n_steps, 1), drive, np.float32))
    hazard = 0.02 * math.exp(drive / 2.5)
    interval = dead + 1 / (1 - math.exp(-hazard))  # ms: a geometric number of them after the rest
    spread = math.sqrt(interval / (n_steps * STEP_MS)) / interval  # of the rate, Poisson at most
    assert len(when) / (n_steps * STEP_MS) == pytest.approx(1 / interval, abs=4 * spread)
    assert set(who.tolist()) == {0}
    assert np.diff(when).min() > dead


def test_a_strong_synapse_makes_its_target_fire_after_the_delay():
    pair = network([[0, 3000], [0, 0]], [[0, 4], [0, 0]], refractory=2)
    drive = np.tile(np.array([-2, SILENT], np.float32), (2000, 1))
    when, who, _ = pair.run(drive)
    source, target = when[who == 0], when[who == 1]
    assert len(target) > 50
    assert np.isin(target[target > 60] - 4, source).any()
    # every source spike that does not fall into the wake of another is followed exactly then
    alone = source[np.diff(source, prepend=-1000) > 200]
    alone = alone[alone < 19_000]
    assert np.isin(alone + 4, target).all()


def test_inhibition_lowers_the_rate_and_excitation_raises_it():
    rates = []
    for weight in (-3.0, 0.0, 3.0):
        pair = network([[0, weight], [0, 0]])
        _, who, _ = pair.run(np.full((20_000, 2), -1, np.float32))
        rates.append((who == 1).mean() * len(who))
    assert rates[0] < rates[1] < rates[2]


def test_running_in_two_parts_is_running_once():
    rng = np.random.default_rng(1)
    weights = np.where(rng.random((12, 12)) < 0.3, rng.normal(0, 2, (12, 12)), 0)
    delays = rng.integers(1, 6, (12, 12))
    drive = rng.normal(-2, 1, (400, 12)).astype(np.float32)
    when, who, _ = network(weights, delays).run(drive)
    halves = network(weights, delays)
    first, second = halves.run(drive[:150]), halves.run(drive[150:])
    np.testing.assert_array_equal(when, np.r_[first[0], second[0] + 1500])
    np.testing.assert_array_equal(who, np.r_[first[1], second[1]])


def test_the_seed_decides():
    drive = np.zeros((200, 3), np.float32)
    same = [network(np.zeros((3, 3)), seed=s).run(drive)[0] for s in (5, 5, 6)]
    np.testing.assert_array_equal(same[0], same[1])
    assert len(same[0]) != len(same[2]) or (same[0] != same[2]).any()


def test_the_hazard_is_that_of_a_plain_loop():
    rng = np.random.default_rng(2)
    weights = np.where(rng.random((5, 5)) < 0.5, rng.normal(0, 2, (5, 5)), 0).astype(np.float32)
    delays = rng.integers(1, 4, (5, 5))
    drive = rng.normal(-1, 1, (60, 5)).astype(np.float32)
    when, who, hazards = network(weights, delays).run(drive, hazard=True)
    membrane = Membrane()
    expected = np.zeros_like(hazards)
    for i in range(5):
        potential = np.zeros(600)
        for t, source in zip(when, who, strict=True):
            if weights[source, i] != 0:
                age = np.arange(600) - t - delays[source, i]
                potential += np.where(
                    age >= 0, weights[source, i] * np.exp(-age / membrane.decay), 0
                )
        own = when[who == i]
        for ms in range(600):
            before = own[own < ms]
            since = ms - before.max() if len(before) else np.inf
            if since <= membrane.refractory:
                continue
            u = potential[ms] - membrane.after_potential * np.exp(-since / membrane.after_decay)
            expected[ms // STEP_MS, i] += membrane.rate_at_threshold * np.exp(u / 2.5)
    np.testing.assert_allclose(hazards, expected, rtol=2e-3)


def test_a_network_that_runs_away_is_refused():
    wild = network(np.full((20, 20), 20.0))
    with pytest.raises(FloatingPointError, match="run away"):
        wild.run(np.full((500, 20), 3, np.float32))
