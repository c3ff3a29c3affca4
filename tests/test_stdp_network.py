"""The network that learns by spike timing: its rule, neurons, preparation, and what it measures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import pchip_interpolate
from sklearn.base import clone

from visualcortex.connectivity import synapse_auroc
from visualcortex.models.stdp_network import (
    ORIGINAL_INHIBITORY,
    ORIGINAL_STDP_INHIBITORY,
    PairRule,
    Picking,
    StdpNetwork,
    as_steps,
    conflicting_rules,
    draw_weights,
    drive_network,
    ensemble_change,
    excess_drift,
    explained_by_rates,
    independent_drift,
    low_pass,
    over_median,
    picked_effects,
    prepare_traces,
    rises,
    rule_signs,
    run_agreement,
    scaled,
    share_of_next_step,
    stdp_drift,
)
from visualcortex.simulators.indicator import CalciumIndicator
from visualcortex.simulators.integrate_and_fire import Izhikevich
from visualcortex.simulators.wired_network import WiredNetwork, image_spikes
from visualcortex.spikes import SpikeTimes

PAIR = PairRule(partners="pair")
RULES = {"pair": PAIR, "population": PairRule()}


def random_spikes(n, duration, rate, seed):
    rng = np.random.default_rng(seed)
    return SpikeTimes.from_lists(
        [np.sort(rng.random(rng.poisson(rate * duration))) * duration for _ in range(n)]
    )


def plain_drift(steps, inhibitory, rule):
    """Follow the published rule pair by pair; `steps` is a set of steps for each neuron."""
    n, inhibits = len(steps), set(inhibitory)
    drift = np.ones((n, n))
    active = sorted(set().union(*steps))
    for now in active:
        for j in (j for j in range(n) if now in steps[j]):
            for i in (i for i in range(n) if i != j):
                past = [t for t in steps[i] if t < now]
                if not past or (i in inhibits and j in inhibits):
                    continue
                if rule.partners == "population" and max(past) != max(t for t in active if t < now):
                    continue
                lag = now - max(past)
                gain = rule.gain * math.exp(-lag / rule.gain_time)
                loss = rule.loss * math.exp(-lag / rule.loss_time)
                drift[i, j] *= 1 - gain if j in inhibits else 1 + gain
                drift[j, i] *= 1 + loss if i in inhibits else 1 - loss
    np.fill_diagonal(drift, np.nan)
    return drift - 1


def plain_network(current, cells, weights, signs, rule, ceiling):
    """Step through the network in numpy, as it was published."""
    v, w = np.full(current.shape[1], -65.0), weights.copy()
    u, seen, spikes = cells.b * v, [], []
    for step, drive in enumerate(current):
        fired = np.flatnonzero(v >= 30)
        if len(fired) and seen:
            before, who = seen[-1]
            lag = step - before
            for j in fired:
                for i in who:
                    w[i, j] *= 1 + signs[i, j] * rule.gain * np.exp(-lag / rule.gain_time)
                    w[j, i] *= 1 - signs[j, i] * rule.loss * np.exp(-lag / rule.loss_time)
        if len(fired):
            seen.append((step, fired))
        spikes.append(fired)
        v[fired], u[fired] = cells.c[fired], u[fired] + cells.d[fired]
        total = drive.astype(float)
        for i in fired:  # one by one: any other rounding would grow
            total += w[i]
        for _ in range(2):
            moved = v + 0.5 * (0.04 * v * v + 5 * v + 140 - u + total)
            v = np.minimum(np.where(v >= ceiling, v, moved), ceiling)
        u += cells.a * (cells.b * v - u)
    return spikes, w


@pytest.fixture(scope="module")
def network():
    """Simulate a network and what a camera of 10 Hz sees of it."""
    recording = WiredNetwork(n_neurons=20, duration=200.0).simulate(seed=1)
    calcium = image_spikes(recording, CalciumIndicator(frame_rate=10.0), seed=1)
    return recording, 1 + calcium.traces.to_numpy().T


@pytest.fixture(scope="module")
def fitted(network):
    """Fit the original's network."""
    return StdpNetwork(inhibitory=[16, 17, 18, 19], stdp_inhibitory=[0, 19], n_repeats=4).fit(
        network[1]
    )


# ------------------------------------------------------------------------------ the rule


@pytest.mark.parametrize("partners", RULES)
@pytest.mark.parametrize("compression", [1.0, 10.0])
def test_the_rule_equals_a_loop_over_pairs(partners, compression):
    spikes = random_spikes(6, 3.0, 12.0, seed=2)
    steps = [set(np.floor(spikes.of(i) * 1000 / compression).astype(int)) for i in range(6)]
    rule = RULES[partners]
    drift = stdp_drift(spikes, [1, 4], rule=rule, compression=compression)
    np.testing.assert_allclose(drift, plain_drift(steps, [1, 4], rule), rtol=1e-10, atol=1e-14)
    assert drift[1, 4] == drift[4, 1] == 0
    assert np.isnan(np.diagonal(drift)).all()


def test_one_pair_in_closed_form():
    spikes = SpikeTimes.from_lists([[0.0105], [0.0305]])
    drift = stdp_drift(spikes)
    assert drift[0, 1] == pytest.approx(0.003 * math.exp(-1), rel=1e-10)
    assert drift[1, 0] == pytest.approx(-0.0015 * math.exp(-1 / 3), rel=1e-10)
    flipped = stdp_drift(spikes, [1])  # from excitatory to inhibitory the rule is turned round
    assert flipped[0, 1] == pytest.approx(-0.003 * math.exp(-1), rel=1e-10)
    assert flipped[1, 0] == pytest.approx(-0.0015 * math.exp(-1 / 3), rel=1e-10)
    squeezed = stdp_drift(spikes, compression=10.0)
    assert squeezed[0, 1] == pytest.approx(0.003 * math.exp(-2 / 20), rel=1e-10)
    assert PAIR.windows(10.0) == (200.0, 600.0)


def test_spikes_of_one_step_are_not_paired_and_count_once():
    together = SpikeTimes.from_lists([[0.0051], [0.0055]])
    assert np.nansum(np.abs(stdp_drift(together))) == 0
    once, twice = (SpikeTimes.from_lists([t, [0.0205]]) for t in ([0.0101], [0.0101, 0.0108]))
    np.testing.assert_array_equal(stdp_drift(once), stdp_drift(twice))


def test_population_partners_are_those_of_the_last_active_step_alone():
    spikes = SpikeTimes.from_lists([[0.0105], [0.0205], [0.0305]])
    near, far = (stdp_drift(spikes, rule=rule) for rule in (PairRule(), PAIR))
    assert near[0, 2] == near[2, 0] == 0
    assert far[0, 2] > 0
    np.testing.assert_array_equal(near[[0, 1], [1, 2]], far[[0, 1], [1, 2]])


def test_the_rule_does_not_care_for_the_order_of_neurons():
    spikes, order = random_spikes(7, 5.0, 20.0, seed=3), np.array([3, 0, 6, 1, 5, 2, 4])
    drift = stdp_drift(spikes, [5, 6])
    turned = stdp_drift(spikes.select(order), np.flatnonzero(np.isin(order, [5, 6])))
    np.testing.assert_allclose(turned, drift[np.ix_(order, order)], rtol=1e-12, atol=1e-15)
    mask = np.isin(np.arange(7), [5, 6])
    np.testing.assert_array_equal(drift, stdp_drift(spikes, mask))


def test_tables_leave_nothing_out():
    gains, losses = PAIR.tables()
    assert 1 + gains[-1] == 1 - losses[-1] == 1
    assert gains[0] == 0.003
    assert gains[20] == pytest.approx(0.003 / math.e)


def test_a_bound_holds_weights_and_without_it_they_can_run_away():
    spikes = SpikeTimes.from_lists([np.arange(0.01, 60, 0.02), np.arange(0.012, 60, 0.02)])
    bounded = stdp_drift(spikes, rule=PairRule(partners="pair", bound=3.0))
    assert bounded[0, 1] == pytest.approx(2.0)
    assert stdp_drift(spikes)[0, 1] > 100
    with pytest.raises(FloatingPointError, match="bound"):
        stdp_drift(spikes, rule=PairRule(gain=0.9, partners="pair"))


@pytest.mark.parametrize("partners", RULES)
@pytest.mark.parametrize("compression", [1.0, 4.0])
def test_what_independent_neurons_drift_is_known_in_closed_form(partners, compression):
    rule, duration = RULES[partners], 1000.0 * compression
    rng, chance = np.random.default_rng(4), np.array([0.01, 0.02, 0.04, 0.03])
    step = compression / 1000
    counted = rng.random((round(duration / step), 4)) < chance
    spikes = SpikeTimes.from_lists([(np.flatnonzero(c) + 0.5) * step for c in counted.T])
    drift = np.log1p(stdp_drift(spikes, [3], rule=rule, compression=compression))
    known = independent_drift(chance / step, duration, [3], rule=rule, compression=compression)
    off = ~np.eye(4, dtype=bool)
    # pairs come at random: their number has a relative spread of its inverse root
    pairs = np.outer(chance, chance)[off] * len(counted)
    tolerance = 5 * np.sqrt(pairs) * 0.003
    assert (np.abs(drift - np.log1p(known))[off] < tolerance).all()
    assert (np.abs(np.log1p(known))[off] > tolerance).sum() >= 6  # so that it says something


def test_rates_alone_hide_the_synapses_that_the_rule_would_see(network):
    recording = network[0]
    weights, types = recording.truth.weights, recording.truth.cell_type
    drift = stdp_drift(recording.spikes, np.flatnonzero(types == "I"))
    excess = excess_drift(recording.spikes, 200.0, np.flatnonzero(types == "I"))
    assert synapse_auroc(drift, weights) < 0.6
    assert synapse_auroc(excess, weights) > synapse_auroc(drift, weights) + 0.1


def test_lists_of_the_original_contradict_each_other():
    assert (len(ORIGINAL_INHIBITORY), len(ORIGINAL_STDP_INHIBITORY)) == (19, 15)
    assert len(set(ORIGINAL_INHIBITORY) & set(ORIGINAL_STDP_INHIBITORY)) == 8
    conflict = conflicting_rules(ORIGINAL_INHIBITORY, ORIGINAL_STDP_INHIBITORY, 259)
    # counted by hand: 8 in both lists, 11 in the first only, 7 in the second only, 233 in none
    inputs = 18 * 258  # of cells on one list only, whose inputs all have the wrong rule
    outputs = 18 * 8  # of the same cells to those on both lists
    assert conflict.sum() == inputs + outputs
    assert not conflicting_rules([2, 3], [3, 2], 9).any()


# ------------------------------------------------------------------------------ neurons


def regular_spiking(n):
    return Izhikevich(a=np.full(n, 0.02), b=np.full(n, 0.2), c=np.full(n, -65.0), d=np.full(n, 8.0))


def test_regular_spiking_neurons_fire_as_published():
    current = np.tile(np.array([3.0, 4.5, 10.0, 15.0], np.float32), (2000, 1))
    silent = np.zeros((4, 4))
    run = drive_network(current, regular_spiking(4), silent, rule_signs([], 4), PairRule())
    rates = run.spikes[1000:].sum(axis=0)
    assert rates[0] == 0  # rheobase is near I = 4
    assert 5 <= rates[1] <= 12
    assert 18 <= rates[2] <= 28  # 23 Hz at I = 10
    assert (np.diff(rates) > 0).all()
    first = np.diff(np.flatnonzero(run.spikes[:, 2]))
    assert first[0] < first[-1]  # intervals lengthen: adaptation
    assert np.isnan(run.change).all()


@pytest.mark.parametrize("clipped", [False, True])
def test_the_network_equals_a_plain_loop(clipped):
    rng = np.random.default_rng(5)
    inhibits = np.arange(12) >= 9
    cells, weights = Izhikevich.drawn(inhibits, rng), 8 * draw_weights(inhibits, rng)
    current = (6 * rng.random((700, 12))).astype(np.float32)
    signs, rule = rule_signs([8, 9], 12), PairRule(gain=0.03, loss=0.02)
    run = drive_network(current, cells, weights, signs, rule, clipped=clipped, watched=3)
    ceiling = 30.0 if clipped else np.inf
    spikes, final = plain_network(current, cells, weights, signs, rule, ceiling)
    assert run.spikes.sum() > 60
    for row, fired in zip(run.spikes, spikes, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), fired)
    np.testing.assert_allclose(run.final, final, rtol=1e-9)
    np.testing.assert_array_equal(run.initial, weights)
    assert not np.array_equal(run.final, weights)
    assert (np.sign(run.final) == np.sign(weights)).all()
    assert run.final[8, 9] == weights[8, 9]
    assert run.potential.max() == run.highest[3]
    assert (run.highest.max() == 30) == clipped


def test_a_spike_reaches_its_targets_by_their_weight():
    cells, weights = regular_spiking(2), np.array([[0.0, 40.0], [0.0, 0.0]])
    current = np.zeros((300, 2), np.float32)
    current[:, 0] = 10.0
    rule = PairRule(gain=0.0, loss=0.0)
    linked = drive_network(current, cells, weights, rule_signs([], 2), rule)
    apart = drive_network(current, cells, 0 * weights, rule_signs([], 2), rule)
    assert apart.spikes[:, 1].sum() == 0
    assert linked.spikes[:, 1].sum() > 0
    np.testing.assert_array_equal(linked.spikes[:, 0], apart.spikes[:, 0])


def test_neurons_and_weights_must_fit():
    current, cells, weights = np.zeros((5, 2), np.float32), regular_spiking(2), np.zeros((2, 2))
    with pytest.raises(ValueError, match="2 x 2"):
        drive_network(current, cells, weights, np.zeros((3, 3)), PairRule())
    with pytest.raises(ValueError, match="watched"):
        drive_network(current, cells, weights, weights, PairRule(), watched=2)


# ------------------------------------------------------------------------------ preparation


def test_each_step_of_the_preparation_by_hand():
    trace = np.array([[2.0], [2.0], [4.0], [3.0]])
    alpha = 2 * math.pi * 0.2 / 10
    smooth = low_pass(trace, 10.0, 0.2)
    third = 2 + alpha * 2
    by_hand = [2, 2, third, alpha * 3 + (1 - alpha) * third]
    np.testing.assert_allclose(smooth[:, 0], by_hand)
    steps = rises(np.array([[0.0], [1.0], [0.5], [2.0]]), trace)
    np.testing.assert_allclose(steps[:, 0], [3.0, 2.0, 3.5, 3.5])
    np.testing.assert_allclose(over_median(steps)[:, 0], (steps[:, 0] - 3.25) / 3.25)
    assert scaled(steps, 5.0).std(ddof=1) == pytest.approx(5.0)


def test_frames_become_steps_by_monotone_cubics():
    values = np.array([[0.0, 5.0], [1.0, 5.0], [4.0, 6.0], [4.5, 2.0]])
    steps = as_steps(values, 10.0, 10.0)
    assert steps.shape == (40, 2)
    at = np.clip(np.arange(1, 41) / 10, 1, 4)
    for i in range(2):
        known = pchip_interpolate([1, 2, 3, 4], values[:, i], at)
        np.testing.assert_allclose(steps[:, i], known, rtol=1e-6)
    np.testing.assert_array_equal(steps[:10], np.tile(values[0], (10, 1)))  # held
    np.testing.assert_allclose(steps[9::10], values)
    assert as_steps(values, 10.0, 1.0).shape == (400, 2)


def test_the_current_does_not_depend_on_the_unit_of_light():
    rng = np.random.default_rng(6)
    traces = 1 + 0.1 * rng.random((50, 3))
    current = prepare_traces(traces)
    assert current.shape == (500, 3)
    assert current.dtype == np.float32
    np.testing.assert_allclose(prepare_traces(300 * traces), current, rtol=1e-5, atol=1e-6)
    assert current[9::10].std(ddof=1) == pytest.approx(5.0, rel=1e-4)


@pytest.mark.parametrize(
    ("traces", "settings", "message"),
    [
        (np.ones(9), {}, "two frames"),
        (np.full((9, 2), np.nan), {}, "finite"),
        (np.ones((9, 2)), {}, "constants"),
        (np.random.default_rng(0).normal(size=(9, 2)), {}, "1 \\+ dF/F"),
        (np.ones((9, 2)), {"cutoff": 2.0}, "cutoff"),
        (np.ones((9, 2)), {"frame_rate": 0.0}, "frame_rate"),
        (np.ones((9, 2)), {"spread": -1.0}, "spread"),
        (np.ones((9, 2)), {"compression": 0.0}, "compression"),
    ],
)
def test_traces_that_do_not_fit_are_refused(traces, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare_traces(traces, **settings)


# ------------------------------------------------------------------------------ the estimator


def test_it_has_the_one_interface(network, fitted):
    scores = fitted.scores_
    assert scores.shape == (20, 20)
    assert scores.dtype == np.float64
    assert np.isnan(np.diagonal(scores)).all()
    assert np.isfinite(scores[~np.eye(20, dtype=bool)]).all()
    np.testing.assert_allclose(scores, fitted.repeat_scores_.mean(axis=0))
    np.testing.assert_array_equal(fitted.signs_, [1] * 16 + [-1] * 4)
    again = clone(fitted).fit(network[1])
    np.testing.assert_array_equal(again.repeat_scores_, fitted.repeat_scores_)
    part = clone(fitted).set_params(n_repeats=1)
    halves = part.fit(network[1], stop=100.0).scores_, part.fit(network[1][:1000]).scores_
    np.testing.assert_array_equal(*halves)
    assert not np.allclose(halves[0], scores, equal_nan=True)
    spikes = clone(part).fit(network[0].spikes)
    assert spikes.scores_.shape == (20, 20)


def test_repeats_are_other_networks_and_i_to_i_stays_as_it_is(network):
    net = StdpNetwork(inhibitory=[18, 19], n_repeats=2).fit(network[1])
    assert net.repeat_scores_[0, 18, 19] == net.repeat_scores_[1, 19, 18] == 0
    assert not np.allclose(net.repeat_scores_[0], net.repeat_scores_[1], equal_nan=True)
    current = net.current(network[1])
    run = net.run(current, 1)
    np.testing.assert_array_equal(run.change, net.repeat_scores_[1])
    np.testing.assert_allclose(run.spikes.sum(axis=0) / 200.0, net.rates_[1])
    assert (run.initial[:18] >= 0).all()
    assert (run.initial[18:] <= 0).all()
    assert run.initial[:18].max() <= 0.5


def test_defects_of_the_original(network, fitted):
    weights = network[0].truth.weights
    assert 0.35 < synapse_auroc(fitted.scores_, weights) < 0.65
    assert fitted.highest_ > 100  # mV
    n_steps = len(fitted.current(network[1]))
    mended = clone(fitted).set_params(clipped=True, stdp_inhibitory=None, compression=1.0)
    mended.fit(network[1])
    assert mended.highest_ == 30
    assert mended.rates_.mean() > 2 * fitted.rates_.mean()
    assert len(mended.current(network[1])) == 10 * n_steps == 200_000


def test_runaway_weights_are_refused(network):
    rule = PairRule(gain=0.5, loss=0.0)
    with pytest.raises(FloatingPointError, match="bound"):
        StdpNetwork(n_repeats=1, rule=rule).fit(network[1])
    held = PairRule(gain=0.5, loss=0.0, bound=2.0)
    bounded = StdpNetwork(n_repeats=1, rule=held).fit(network[1])
    assert np.nanmax(bounded.scores_) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inhibitory": [20]}, "0 to 19"),
        ({"inhibitory": [0.5]}, "inhibitory"),
        ({"stdp_inhibitory": np.ones(3, bool)}, "inhibitory"),
        ({"n_repeats": 0}, "n_repeats"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_do_not_fit_are_refused(network, settings, message):
    with pytest.raises(ValueError, match=message):
        StdpNetwork(**settings).fit(network[1])


@pytest.mark.parametrize(
    "settings",
    [{"gain": 1.0}, {"loss": -0.1}, {"gain_time": 0.0}, {"partners": "all"}, {"bound": 1.0}],
)
def test_rules_that_do_not_fit_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PairRule(**settings)


def test_spikes_and_rates_that_do_not_fit_are_refused():
    one = SpikeTimes.from_lists([[0.1]])
    two = SpikeTimes.from_lists([[0.1], [0.2]])
    with pytest.raises(ValueError, match="two neurons"):
        stdp_drift(one)
    with pytest.raises(ValueError, match="compression"):
        stdp_drift(two, compression=0.0)
    with pytest.raises(ValueError, match="one spike a step"):
        independent_drift(np.array([5.0, 2000.0]), 10.0)
    with pytest.raises(ValueError, match="no bound"):
        excess_drift(two, 1.0, rule=PairRule(bound=5.0))


# ------------------------------------------------------------------------------ measurements


def test_picking_runs_makes_an_effect_of_noise():
    rng = np.random.default_rng(7)
    scores = rng.standard_normal((10, 30, 30))
    scores[:, np.arange(30), np.arange(30)] = np.nan
    picked = picked_effects(scores, np.arange(30), n_draws=400)
    assert isinstance(picked, Picking)
    spread = math.sqrt(1 / 6 + 1 / 9)  # of the effect in one run: 6 synapses within, 9 between
    assert picked.honest.std() == pytest.approx(spread / math.sqrt(10), rel=0.15)
    assert abs(picked.honest.mean()) < 0.05
    # the mean of the largest three of ten standard normal variables is 1.065
    assert picked.accepted.mean() == pytest.approx(1.065 * spread, rel=0.1)
    honest, accepted = picked.beyond(0.0)
    assert honest < 0.65
    assert accepted > 0.95
    everything = picked_effects(scores, np.arange(30), n_accepted=10, n_draws=20)
    np.testing.assert_allclose(everything.accepted, everything.honest)


def test_ensembles_are_averaged_without_the_diagonal():
    scores = np.arange(18.0).reshape(2, 3, 3)
    scores[:, np.arange(3), np.arange(3)] = np.nan
    np.testing.assert_allclose(ensemble_change(scores, [0, 1], [0, 1]), [2.0, 11.0])
    np.testing.assert_allclose(ensemble_change(scores, [2], [0, 1]), [6.5, 15.5])
    with pytest.raises(ValueError, match="none between"):
        ensemble_change(scores, [1], [1])


def test_agreement_of_runs():
    rng = np.random.default_rng(8)
    common, own = rng.standard_normal((1, 40, 40)), rng.standard_normal((6, 40, 40))
    assert run_agreement(np.repeat(common, 3, axis=0)) == pytest.approx(1.0)
    assert run_agreement(common + own) == pytest.approx(6 / np.pi * np.arcsin(0.25), abs=0.03)
    assert math.isnan(run_agreement(np.zeros((2, 4, 4))))
    with pytest.raises(ValueError, match="two runs"):
        run_agreement(common)


def test_drift_that_is_a_product_of_rates_is_called_so(fitted):
    rates = np.array([1.0, 2.0, 5.0, 11.0])
    drift = np.outer(rates, rates) * rule_signs([0, 2], 4)
    drift[np.arange(4), np.arange(4)] = np.nan
    assert explained_by_rates(drift, rates, [0, 2]) == pytest.approx(1.0)
    assert explained_by_rates(-drift, rates, [2, 0]) == pytest.approx(-1.0)
    assert explained_by_rates(drift, rates) < 0.9
    assert math.isnan(explained_by_rates(drift, np.ones(4)))
    assert explained_by_rates(fitted.scores_, fitted.rates_.mean(axis=0), [0, 19]) > 0.4


def test_share_of_next_step_counts_pairs():
    spikes = np.zeros((6, 3), bool)
    spikes[[0, 0, 1, 4], [0, 1, 2, 0]] = True  # 2 pairs a step apart, then 1 at three steps
    assert share_of_next_step(spikes) == pytest.approx(2 / 3)
    assert math.isnan(share_of_next_step(spikes[:1]))


def test_picking_refuses_what_is_too_few():
    scores = np.zeros((2, 8, 8))
    for settings in ({"n_accepted": 3}, {"size": 5, "n_accepted": 1}):
        with pytest.raises(ValueError, match="ensembles"):
            picked_effects(scores, np.arange(8), **settings)
