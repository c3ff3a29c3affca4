"""Methods side by side: what is scored, intervals over networks, paired differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator

from visualcortex.connectivity.calibration import brier
from visualcortex.connectivity.correlograms import cross_correlograms
from visualcortex.connectivity.networks import (
    ObservedNetwork,
    over_networks,
    paired_differences,
    score_methods,
)
from visualcortex.connectivity.observed import observed_binned
from visualcortex.connectivity.wiring import synapse_auroc
from visualcortex.simulators.wired_network import WiredNetwork
from visualcortex.spontaneous import KnownWiring

N = 12


class Coincidences(BaseEstimator):
    """Spikes of the target 1 to 4 ms after one of the source; no sign, no delays."""

    def __init__(self, *, step=0.001):
        self.step = step

    def fit(self, activity, *, start=0.0, stop=None):
        spikes = observed_binned(activity, self.step, start, stop)
        self.scores_ = cross_correlograms(spikes, 4)[:, :, 1:].sum(axis=2)
        np.fill_diagonal(self.scores_, np.nan)
        return self


class Told(BaseEstimator):
    """A method that is told the truth, which it blurs, and has all that a method may have."""

    def __init__(self, *, noise=0.0, seed=0):
        self.noise, self.seed = noise, seed

    def fit(self, activity, *, start=0.0, stop=None):
        rng = np.random.default_rng(self.seed)
        weights = np.asarray(activity[:N], float)
        self.scores_ = weights + self.noise * rng.normal(size=weights.shape)
        np.fill_diagonal(self.scores_, np.nan)
        self.probabilities_ = np.where(weights != 0, 0.9, 0.1) + 0 * self.scores_
        self.signs_ = np.where(weights.sum(axis=1) < 0, -1, 1)
        self.delays_ = np.full(weights.shape, 0.003)
        return self


def told(seed):
    """Return a network whose activity is its wiring; the last neurons inhibit."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(2, 0.5, (N, N)) * (rng.random((N, N)) < 0.3)
    weights[8:] *= -1
    np.fill_diagonal(weights, 0)
    wiring = KnownWiring(
        weights=weights,
        delays=np.where(weights != 0, rng.choice([1.0, 3.0, 4.0], (N, N)), 0),
        cell_type=np.repeat(["E", "I"], [8, 4]),
        unit="mV",
        duration=10.0,
    )
    return ObservedNetwork(weights, wiring)


@pytest.fixture(scope="module")
def table():
    methods = {"exact": Told(), "blurred": Told(noise=1.0)}
    return score_methods(methods, (told(seed) for seed in range(5)), seed=10)


def test_everything_is_scored_once_a_network_and_method(table):
    assert not table.duplicated(["network", "method", "statistic"]).any()
    assert len(table) == 5 * 2 * 13
    exact = table[(table["method"] == "exact") & (table["network"] == 2)].set_index("statistic")
    network = told(2)
    weights = network.wiring.weights
    for name in ("AUROC", "AUPRC", "sign accuracy", "type accuracy", "cell type accuracy"):
        assert exact.loc[name, "value"] == 1
    assert exact.loc["cell type accuracy", ["chance", "n"]].tolist() == [8 / 12, 12]
    assert exact.loc["cell type accuracy, balanced", "chance"] == 0.5
    assert exact.loc["Brier score", "value"] == pytest.approx(0.01)
    synapses = weights != 0
    error = np.median(np.abs(network.wiring.delays[synapses] - 3))
    assert exact.loc["delay error, ms", "value"] == pytest.approx(error)
    assert exact.loc["expected over true synapses", "value"] == pytest.approx(
        (0.9 * synapses.sum() + 0.1 * (N * (N - 1) - synapses.sum())) / synapses.sum()
    )
    share = synapses.sum() / (N * (N - 1))
    assert exact.loc["Brier score", "chance"] == pytest.approx(share * (1 - share))
    assert (table["seconds"] >= 0).all()


def test_seeds_of_networks_differ_and_repeat(table):
    network = told(3)
    fitted = Told(noise=1.0, seed=13).fit(network.activity)
    row = table.query("network == 3 and method == 'blurred' and statistic == 'AUROC'")
    expected = synapse_auroc(fitted.scores_, network.wiring.weights)
    assert row["value"].item() == pytest.approx(expected)
    assert brier(fitted.probabilities_, network.wiring.weights) == pytest.approx(0.01)


def test_a_method_without_sign_probabilities_or_delays_is_scored_by_what_it_has():
    recordings = [WiredNetwork(n_neurons=10, duration=20.0, density=0.3).simulate(1)]
    scored = score_methods({"coincidences": Coincidences()}, recordings)
    assert scored["statistic"].tolist() == ["AUROC", "AUPRC", "direction accuracy"]
    fitted = Coincidences().fit(recordings[0].spikes)
    auroc = synapse_auroc(fitted.scores_, recordings[0].truth.weights)
    assert scored["value"].iloc[0] == pytest.approx(auroc)


def test_intervals_are_those_of_student(table):
    summary = over_networks(table)
    values = table.query("method == 'blurred' and statistic == 'AUPRC'")["value"].to_numpy()
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    row = summary.loc["blurred", "AUPRC"]
    assert row["value"] == pytest.approx(values.mean())
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert row["n"] == 5
    chance = table.query("method == 'blurred' and statistic == 'AUPRC'")["chance"]
    assert row["chance"] == pytest.approx(chance.mean())
    one = over_networks(table[table["network"] == 0])
    assert one["low"].isna().all()
    assert (one["n"] == 1).all()


def test_ends_that_a_statistic_cannot_have_are_cut_off(table):
    rows = pd.DataFrame({"network": [0, 1], "method": "a", "statistic": "AUROC"})
    summary = over_networks(rows.assign(value=[0.99, 0.9]))
    assert 0.5 > summary["low"].item() > 0
    assert summary["high"].item() == 1
    late = over_networks(rows.assign(value=[0.1, 2.0], statistic="delay error, ms"))
    assert late["low"].item() == 0
    assert late["high"].item() > 2


def test_differences_are_those_of_a_paired_test(table):
    found = paired_differences(table, "blurred").loc["AUROC", "exact"]
    wide = table[table["statistic"] == "AUROC"].pivot(
        index="network", columns="method", values="value"
    )
    difference = wide["exact"] - wide["blurred"]
    expected = stats.t.interval(0.95, 4, difference.mean(), stats.sem(difference))
    assert (found["low"], found["high"]) == pytest.approx(expected)
    assert found["n_higher"] == 5
    turned = paired_differences(table, "exact").loc["AUROC", "blurred"]
    assert turned["value"] == pytest.approx(-found["value"])
    assert turned["n_higher"] == 0


def test_the_best_is_the_largest_or_the_least_as_it_should_be():
    rows = [
        (network, method, statistic, value + network / 10)
        for network in range(3)
        for method, statistic, value in [
            ("a", "AUROC", 0.6),
            ("b", "AUROC", 0.5),
            ("a", "Brier score", 0.1),
            ("b", "Brier score", 0.05),
            ("b", "sign accuracy", 0.5),
            ("a", "expected over true synapses", 1.0),
            ("b", "expected over true synapses", 1.2),
        ]
    ]
    table = pd.DataFrame(rows, columns=["network", "method", "statistic", "value"])
    found = paired_differences(table)
    assert found.index.tolist() == [("AUROC", "b"), ("Brier score", "a")]
    assert found["reference"].tolist() == ["a", "b"]
    np.testing.assert_allclose(found["value"], [-0.1, 0.05])
    # the same in all networks but for what they share: no width
    np.testing.assert_allclose(found["low"], found["high"])
    assert len(paired_differences(table, "a")) == 3
    assert "chance" not in over_networks(table)


def test_what_is_not_defined_is_left_out():
    table = pd.DataFrame(
        {
            "network": [0, 1, 2],
            "method": "a",
            "statistic": "AUROC",
            "value": [0.5, np.nan, 0.7],
        }
    )
    assert paired_differences(table).empty
    row = over_networks(table).loc["a", "AUROC"]
    assert row["value"] == pytest.approx(0.6)
    assert row["n"] == 2


def test_bad_input_is_refused(table):
    recording = WiredNetwork(n_neurons=5, duration=2.0).simulate(1)
    object.__setattr__(recording, "truth", None)
    with pytest.raises(ValueError, match="KnownWiring, or hold it"):
        score_methods({"a": Coincidences()}, [recording])
    with pytest.raises(ValueError, match="methods must hold"):
        score_methods({}, [recording])
    with pytest.raises(ValueError, match="reference must be one of"):
        paired_differences(table, "nobody")
    with pytest.raises(ValueError, match="table must have columns"):
        over_networks(table.drop(columns="value"))
    with pytest.raises(ValueError, match="and rows"):
        over_networks(table[:0])
    with pytest.raises(ValueError, match="level must lie"):
        over_networks(table, level=2)
