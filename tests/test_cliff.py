"""What is recovered of a network that is seen badly: closed forms, order, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from visualcortex.connectivity.cliff import (
    AXES,
    RATE_AXES,
    SPIKES,
    Axis,
    Condition,
    LaggedPartials,
    expected_recovery,
    observe,
    recovery,
    within,
)
from visualcortex.connectivity.couplings import partial_correlation
from visualcortex.connectivity.spectral import SpectralNetwork
from visualcortex.recording import Provenance
from visualcortex.simulators.wired_network import WiredNetwork
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import KnownWiring, spontaneous_trains


@pytest.fixture(scope="module")
def network():
    """Thirty neurons with strong synapses, three minutes."""
    return WiredNetwork(n_neurons=30, duration=180.0, strength=1.5).simulate(1)


@pytest.fixture(scope="module")
def three_spikes():
    """Three neurons of three spikes each, in 6 s."""
    spikes = SpikeTimes.from_lists([[0.25, 1.0, 1.05], [2.0, 3.0, 4.0], [0.5, 5.0, 5.5]])
    weights = np.array([[0, 1.0, 0], [0, 0, 0], [0, -2.0, 0]])
    wiring = KnownWiring(
        weights=weights,
        delays=np.where(weights, 1.0, 0),
        cell_type=np.array(["E", "unknown", "I"]),
        unit="mV",
        duration=6.0,
    )
    nowhere = Provenance(
        source="", citation="", licence="", url="", sha256={}, preprocessing=("none",)
    )
    return spontaneous_trains(spikes, wiring, nowhere)


def test_calcium_is_a_sum_of_decays_at_the_ends_of_frames(three_spikes):
    condition = Condition(frame_rate=10.0, decay=0.4, noise=0.0, minutes=0.1)
    seen = observe(three_spikes, condition)
    ends = (np.arange(60) + 1) / 10
    age = ends[:, None] - three_spikes.spikes.of(0)
    expected = np.where(age > 0, np.exp(-np.maximum(age, 0) / 0.4), 0).sum(axis=1)
    np.testing.assert_allclose(seen.activity[:, 0], expected, atol=1e-12)
    np.testing.assert_array_equal(seen.weights, three_spikes.truth.weights)
    assert (seen.step, seen.decay) == (0.1, 0.4)


def test_noise_of_a_frame_grows_with_the_frame_rate(network):
    for rate in (10.0, 40.0):
        clean, noisy = (
            observe(network, Condition(frame_rate=rate, noise=noise, minutes=3)).activity
            for noise in (0.0, 0.2)
        )
        assert (noisy - clean).std() == pytest.approx(0.2 * np.sqrt(rate), rel=0.02)


def test_jitter_moves_spikes_and_widens_bins(network):
    exact = observe(network, Condition(decay=None, frame_rate=200, minutes=3))
    assert (exact.step, exact.decay) == (0.005, None)
    moved = observe(network, Condition(decay=None, frame_rate=200, minutes=3, jitter=0.02))
    assert moved.step == 0.02
    np.testing.assert_array_equal(moved.activity.sum(axis=0), exact.activity.sum(axis=0))


def test_fewer_neurons_are_some_of_the_more(network):
    few, more = (observe(network, Condition(seen=share, minutes=3), 5) for share in (0.3, 0.6))
    assert few.weights.shape == (9, 9)
    assert more.activity.shape[1] == 18
    links = set(few.weights[few.weights != 0].tolist())
    assert links <= set(more.weights[more.weights != 0].tolist())


def test_scores_are_partial_correlations_of_frames_and_those_before(network):
    """One lag, by the correlation matrix of all pairs of frames in a row."""
    counts = observe(network, Condition(decay=None, frame_rate=20, minutes=3)).activity
    found = LaggedPartials(step=0.05).fit(counts)
    joint, n = np.corrcoef(np.hstack([counts[1:], counts[:-1]]).T), counts.shape[1]
    precision = np.linalg.inv(0.998 * joint + 0.002 * np.eye(2 * n))
    root = np.sqrt(np.diagonal(precision))
    partial = -precision / np.outer(root, root)
    both = partial[n:, :n] + 0.05 / 0.03 * partial[:n, :n]
    # those near 0 may have either sign, and so either factor
    pairs = ~np.eye(n, dtype=bool) & (np.abs(both) > 2e-3)
    size = np.abs(both) * np.where(both * found.signs_[:, None] > 0, 1, 0.3)
    np.testing.assert_allclose(np.abs(found.scores_[pairs]), size[pairs], atol=4e-3)
    assert np.isnan(np.diagonal(found.scores_)).all()
    later = partial_correlation(counts, lag=1, shrinkage=0.002)
    np.testing.assert_allclose(later[pairs], partial[n:, :n][pairs], atol=2e-3)


def test_order_of_neurons_and_units_of_calcium_do_not_matter(network):
    traces = observe(network, Condition(minutes=3)).activity
    order = np.random.default_rng(0).permutation(traces.shape[1])
    plain = LaggedPartials(step=1 / 30, decay=0.6).fit(traces)
    other = LaggedPartials(step=1 / 30, decay=0.6).fit(4 + 3 * traces[:, order])
    pairs = np.ix_(order, order)
    np.testing.assert_allclose(other.scores_, plain.scores_[pairs], atol=1e-4)
    np.testing.assert_array_equal(other.signs_, plain.signs_[order])


def test_recovery_falls_where_it_must(network):
    """One network, but steps so large that chance does not turn them around."""
    axes = {
        "jitter": Axis(Condition(decay=None, frame_rate=200, minutes=3), "jitter", (0, 0.01, 0.2)),
        "minutes": Axis(Condition(minutes=3), "minutes", (0.3, 3.0)),
        "noise": Axis(Condition(minutes=3), "noise", (0.4, 0.05, 0.0)),
        "rate": Axis(Condition(decay=None, minutes=3), "frame_rate", (2.0, 20.0, 200.0)),
    }
    table = recovery([network], axes)
    assert list(table.axis.unique()) == list(axes)
    found = {name: list(rows.AUROC) for name, rows in table.groupby("axis")}
    assert found["jitter"] == sorted(found["jitter"], reverse=True)
    assert found["jitter"][0] > found["jitter"][2] + 0.1
    for name in ("minutes", "noise", "rate"):
        assert found[name] == sorted(found[name])
        assert found[name][-1] > found[name][0] + 0.1
    assert table.refusal.isna().all()
    kinds = np.sign(network.truth.weights.sum(axis=1))
    assert table.type_chance[0] == np.mean(kinds[kinds != 0] > 0)


def test_same_seed_same_table(network):
    axes = {"seen": Axis(Condition(minutes=1), "seen", (0.5,))}
    first, again, other = (recovery([network] * 2, axes, seed=seed) for seed in (3, 3, 4))
    assert first.equals(again)
    assert not first.AUROC.equals(other.AUROC)
    assert first.AUROC[0] != first.AUROC[1]  # of one network, but another choice of neurons


def test_a_method_that_refuses_says_why(network):
    axes = {"rate": Axis(Condition(minutes=1), "frame_rate", (2.0,))}
    table = recovery([network], axes, {"spectral": SpectralNetwork(step=1.0)})
    assert np.isnan(table.AUROC[0])
    assert "Record for longer" in table.refusal[0]


def test_prediction_is_recovery_of_simulated_networks():
    settings = WiredNetwork(n_neurons=20, duration=60.0)
    condition = Condition(frame_rate=10, decay=0.7, minutes=1)
    table = expected_recovery(condition, settings, seeds=(1, 2))
    assert table.network.tolist() == [1, 2]
    same = recovery([settings.simulate(1)], {"a": Axis(condition, "minutes", (1,))}, seed=1)
    assert table.AUROC[0] == same.AUROC[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frame_rate", 0.0),
        ("decay", -1.0),
        ("noise", -0.1),
        ("jitter", -1.0),
        ("minutes", 0.0),
        ("seen", 1.5),
    ],
)
def test_conditions_that_make_no_sense_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        Condition(**{field: value})


def test_bad_input_is_refused(network):
    with pytest.raises(ValueError, match="Simulate for longer"):
        observe(network, Condition(minutes=10))
    with pytest.raises(ValueError, match="three neurons must be seen"):
        observe(network, Condition(minutes=3, seen=0.05))
    with pytest.raises(ValueError, match="one network at least"):
        recovery([])
    with pytest.raises(ValueError, match="seeds must hold one"):
        expected_recovery(Condition(minutes=1), seeds=())
    with pytest.raises(ValueError, match="neurons must change"):
        LaggedPartials(step=0.1).fit(np.ones((50, 4)))
    with pytest.raises(ValueError, match="step must be"):
        LaggedPartials(step=0.0).fit(np.ones((50, 4)))


def test_every_axis_is_of_conditions():
    for axes in (AXES, RATE_AXES):
        for axis in axes.values():
            assert hasattr(SPIKES, axis.field)
            assert len(set(axis.values)) == len(axis.values)


def test_axes_fit_a_short_recording(network):
    short = within(AXES, 3.0)
    assert short["minutes"].values == (1.0, 2.0)
    assert {axis.base.minutes for axis in short.values()} == {3.0}
    for name, axis in short.items():
        assert axis.field == AXES[name].field
        assert axis.field == "minutes" or axis.values == AXES[name].values
    table = recovery([network], {name: short[name] for name in ("minutes", "share seen")})
    assert table.groupby("axis").size().to_dict() == {"minutes": 2, "share seen": 4}


def test_axes_of_a_recording_that_is_long_enough_stay_as_they_are():
    assert within(AXES, 10.0) == AXES
    assert within(RATE_AXES, 240.0) == RATE_AXES


def test_a_recording_without_a_value_on_the_axis_of_minutes_is_refused():
    with pytest.raises(ValueError, match="'minutes' has no value up to 0.5 minutes.*Simulate"):
        within(AXES, 0.5)
