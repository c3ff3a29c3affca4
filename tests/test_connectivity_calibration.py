"""Calibration of probabilities of synapses, and errors of delays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from visualcortex.connectivity.calibration import (
    brier,
    calibration_error,
    delay_error,
    expected_over_true,
    false_share,
    reliability,
)

N = 60


@pytest.fixture
def calibrated():
    """Synapses that are drawn with the probability that is said of them."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 1.5, (N, N))
    np.fill_diagonal(p, np.nan)
    return p, np.where(rng.random((N, N)) < p, -1.5, 0.0)


def pairs(p, weights):
    used = ~np.eye(N, dtype=bool)
    return p[used], weights[used] != 0


def test_brier_is_that_of_scikit_learn(calibrated):
    p, linked = pairs(*calibrated)
    assert brier(*calibrated) == pytest.approx(brier_score_loss(linked, p))
    density = linked.mean()
    assert brier(np.full((N, N), density), calibrated[1]) == pytest.approx(density * (1 - density))


def test_calibrated_probabilities_are_found_so(calibrated):
    table = reliability(*calibrated)
    assert table["n"].sum() == N * (N - 1)
    assert ((table["low"] < table["predicted"]) & (table["predicted"] < table["high"])).mean() > 0.8
    assert calibration_error(*calibrated) < 0.02
    assert expected_over_true(*calibrated) == pytest.approx(1, abs=0.1)
    high = false_share(*calibrated, above=0.7)
    assert high.low < high.expected < high.high


def test_probabilities_that_are_too_sure_are_found_so(calibrated):
    p, weights = calibrated
    sure = p**4 / (p**4 + (1 - p) ** 4)
    assert brier(sure, weights) > brier(p, weights)
    assert calibration_error(sure, weights) > 3 * calibration_error(p, weights)
    high = false_share(sure, weights, above=0.9)
    assert high.observed > 2 * high.expected
    table = reliability(sure, weights, rng=np.random.default_rng(0))
    assert (table["high"] < table["predicted"]).iloc[-1]


@pytest.mark.parametrize("scheme", ["equal_width", "equal_mass"])
def test_bins_by_hand(calibrated, scheme):
    p, linked = pairs(*calibrated)
    table = reliability(*calibrated, n_bins=5, scheme=scheme)
    shares = np.linspace(0, 1, 6)
    edges = np.quantile(p, shares) if scheme == "equal_mass" else shares
    edges[0] = -1
    total = 0.0
    for row, (low, high) in zip(table.itertuples(), itertools.pairwise(edges), strict=True):
        inside = (p > low) & (p <= high)
        assert row.n == inside.sum()
        assert row.observed == pytest.approx(linked[inside].mean())
        assert row.predicted == pytest.approx(p[inside].mean())
        total += inside.sum() * abs(linked[inside].mean() - p[inside].mean())
    found = calibration_error(*calibrated, n_bins=5, scheme=scheme)
    assert found == pytest.approx(total / len(p))


def test_intervals_over_neurons_are_those_of_a_plain_loop(calibrated):
    p, weights = calibrated
    found = false_share(p, weights, 0.5, rng=np.random.default_rng(1), n_resamples=200)
    shares, rng = [], np.random.default_rng(1)
    for drawn in rng.integers(N, size=(200, N)):
        block = np.ix_(drawn, drawn)
        chosen = (drawn[:, None] != drawn) & (p[block] > 0.5)
        shares.append(np.mean(weights[block][chosen] == 0))
    np.testing.assert_allclose((found.low, found.high), np.quantile(shares, [0.025, 0.975]))
    first = reliability(p, weights, rng=np.random.default_rng(2))
    assert (first["low"] <= first["observed"]).all()
    assert (first["observed"] <= first["high"]).all()
    assert first.equals(reliability(p, weights, rng=np.random.default_rng(2)))


def test_intervals_over_neurons_are_wider_where_neurons_differ():
    rng = np.random.default_rng(3)
    hubs = (rng.random(N) < 0.3).astype(float)
    weights = np.tile(hubs[:, None], N) * (1 - np.eye(N))
    p = np.full((N, N), 0.3)
    over_neurons = reliability(p, weights, rng=rng)
    wilson = reliability(p, weights)
    assert np.all(over_neurons["high"] - over_neurons["low"] > 3 * (wilson["high"] - wilson["low"]))


def test_nothing_above_and_no_synapse():
    p = np.full((3, 3), 0.2)
    assert false_share(p, np.zeros((3, 3)), 0.5)[4] == 0
    assert np.isnan(false_share(p, np.zeros((3, 3)), 0.5).observed)
    assert np.isnan(expected_over_true(p, np.zeros((3, 3))))
    assert false_share(p, np.zeros((3, 3)), 0.1)[:1] == (1.0,)


def test_delay_errors_by_hand():
    weights = np.array([[0, 1.0, 2.0], [0, 0, -1.0], [0, 0, 0]])
    truth = np.array([[0, 1.0, 3.0], [0, 0, 4.0], [0, 0, 0]])
    delays = np.array([[9, 0.002, 0.003], [9, 9, 0.0065], [9, 9, 9]])
    assert delay_error(delays, truth, weights) == pytest.approx((1.0, 1.0, 3))
    called = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0]], bool)
    assert delay_error(delays, truth, weights, called) == pytest.approx((1.25, 0.5, 2))
    delays[1, 2] = np.nan
    assert delay_error(delays, truth, weights).n == 2
    assert np.isnan(delay_error(delays, truth, np.zeros((3, 3))).median)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="probabilities must be from 0 to 1"):
        brier(np.array([[0, -0.5], [0.5, 0]]), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="no pair has a finite"):
        brier(np.full((2, 2), np.nan), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="two square matrices"):
        delay_error(np.zeros((2, 2)), np.zeros((3, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="above must be"):
        false_share(np.zeros((2, 2)), np.zeros((2, 2)), 1.0)
    with pytest.raises(ValueError, match="at least one bin"):
        reliability(np.zeros((2, 2)), np.zeros((2, 2)), n_bins=0)
