"""Couplings from counts: other libraries as oracles, and a small network whose wiring is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import linregress
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from test_correlograms import lif80

from visualcortex.connectivity import (
    BinnedSpikes,
    CouplingGLM,
    dale_accuracy,
    direction_accuracy,
    find_peaks,
    jitter_corrected,
    lagged_correlation,
    partial_correlation,
    sign_accuracy,
    synapse_auroc,
)
from visualcortex.spikes import contiguous_counts

N = 12
DRIVE = -3.2  # log odds of a spike in a bin of 2 ms, about 20 Hz


def synapses(rng):
    """Draw weights (source, target) of ten exciting and two inhibiting neurons."""
    weights = rng.uniform(1.2, 2.2, (N, N)) * (rng.random((N, N)) < 0.15)
    weights[-2:] *= -1.5
    np.fill_diagonal(weights, 0)
    return weights


def simulate(rng, weights, shape):
    """Run a Bernoulli network (trial, time, neuron): a spike acts in the next bin."""
    n_trials, n_time = shape
    spikes = np.zeros((n_trials, n_time, len(weights)), np.uint8)
    noise = rng.random(spikes.shape)
    for t in range(1, n_time):
        own = -2.0 * spikes[:, t - 1]  # a neuron that has just fired rests
        spikes[:, t] = noise[:, t] < expit(DRIVE + spikes[:, t - 1] @ weights + own)
    return spikes


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(5)
    weights = synapses(rng)
    return simulate(rng, weights, (100, 500)), weights


@pytest.fixture
def small():
    rng = np.random.default_rng(1)
    return rng.poisson(0.3, (4, 60, 3)).astype(float), rng.normal(size=(4, 60, 2))


def test_lagged_correlation_is_pearson_within_trials(small):
    counts, _ = small
    for lag in (0, 1, 4):
        scores = lagged_correlation(counts, lag)
        before = counts[:, : 60 - lag, 2].ravel()
        after = counts[:, lag:, 0].ravel()
        assert scores[2, 0] == pytest.approx(np.corrcoef(before, after)[0, 1])
        assert np.isnan(np.diagonal(scores)).all()


def test_partial_correlation_is_that_of_residuals(small):
    counts, _ = small
    x = counts.reshape(-1, 3)
    first, second = (x[:, k] - linregress(x[:, 1], x[:, k]).slope * x[:, 1] for k in (0, 2))
    partial = partial_correlation(counts, shrinkage=0)
    assert partial[0, 2] == pytest.approx(np.corrcoef(first, second)[0, 1])
    np.testing.assert_allclose(partial, partial.T)


def test_lagged_partial_correlation_knows_the_past_and_the_present(small):
    counts, _ = small
    past, now = counts[:, :-1].reshape(-1, 3), counts[:, 1:].reshape(-1, 3)
    others = np.column_stack([past[:, [0, 2]], now[:, [1, 2]], np.ones(len(now))])
    left = [
        values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
        for values in (past[:, 1], now[:, 0])
    ]
    partial = partial_correlation(counts, lag=1, shrinkage=0)
    assert partial[1, 0] == pytest.approx(np.corrcoef(*left)[0, 1])


def test_shrinkage_goes_from_none_to_all(small):
    counts, _ = small
    sizes = [
        np.nanmax(np.abs(partial_correlation(counts, lag=1, shrinkage=s))) for s in (0, 0.5, 1)
    ]
    assert sizes[0] > sizes[1] > sizes[2] == 0
    assert np.nanmax(np.abs(partial_correlation(small[1][0, :4], lag=1))) < 1  # 3 bins


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
def test_the_model_is_that_of_scikit_learn(small, family):
    counts, known = small
    alpha, n_lags = 0.01, 2
    counts = counts.clip(max=1) if family == "bernoulli" else counts
    model = CouplingGLM(n_lags, family=family, alpha=alpha, tolerance=1e-14, dtype="float64")
    model.fit(counts, known)
    answers = counts[:, n_lags:].reshape(-1, 3)
    past = [counts[:, n_lags - lag : 60 - lag].reshape(-1, 3) for lag in (1, 2)]
    inputs = np.column_stack([*past, known[:, n_lags:].reshape(-1, 2)])
    for target in range(3):
        if family == "poisson":
            oracle = PoissonRegressor(alpha=alpha, tol=1e-12, max_iter=1000)
        else:
            oracle = LogisticRegression(C=1 / (alpha * len(inputs)), tol=1e-12, max_iter=1000)
        oracle.fit(inputs, answers[:, target])
        expected = np.ravel(oracle.coef_)
        weights = [*model.coupling_[:, :, target].ravel(), *model.regressors_[:, target]]
        np.testing.assert_allclose(weights, expected, atol=2e-5)
        assert model.intercept_[target] == pytest.approx(np.ravel(oracle.intercept_)[0], abs=2e-5)
        if family == "poisson":
            mean = oracle.predict(inputs)
        else:
            mean = oracle.predict_proba(inputs)[:, 1]
        np.testing.assert_allclose(model.predict(counts, known)[:, target], mean, rtol=1e-4)
    np.testing.assert_array_equal(model.history_[0], np.diagonal(model.coupling_[0]))
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_array_equal(model.scores_[off], model.coupling_.sum(axis=0)[off])


def test_float32_finds_the_same_minimum(network):
    counts = network[0][:20]
    single = CouplingGLM(2, alpha=1e-4, device="cpu").fit(counts)
    double = CouplingGLM(2, alpha=1e-4, dtype="float64", tolerance=1e-9, device="cpu").fit(counts)
    np.testing.assert_allclose(single.coupling_, double.coupling_, atol=0.02)
    repeated = CouplingGLM(2, alpha=1e-4, device="cpu").fit(counts.astype(float))
    np.testing.assert_array_equal(single.coupling_, repeated.coupling_)


def test_known_weights_are_recovered_without_bias(network):
    counts, weights = network
    model = CouplingGLM(2, family="bernoulli", alpha=1e-7).fit(counts)
    off = ~np.eye(N, dtype=bool)
    error = (model.coupling_[0] - weights)[off & (weights >= 0)]
    assert np.abs(error.mean()) < 0.05
    assert error.std() < 0.25
    assert np.abs(model.coupling_[1][off & (weights >= 0)]).max() < 1
    assert model.intercept_ == pytest.approx(np.full(N, DRIVE), abs=0.15)
    assert (model.history_[0] < -0.8).all()


@pytest.mark.parametrize(
    ("score", "auroc", "direction"),
    [
        (lambda x: CouplingGLM(2, family="bernoulli", alpha=1e-5).fit(x).scores_, 0.95, 0.95),
        (lambda x: CouplingGLM(1, alpha=1e-5).fit(x).scores_, 0.95, 0.95),
        (lambda x: lagged_correlation(x, 1), 0.9, 0.95),
        (lambda x: partial_correlation(x, lag=1), 0.95, 0.95),
        (
            lambda x: (
                find_peaks(jitter_corrected(BinnedSpikes.from_trials(x), max_lag=60), lags=(1, 3)).z
            ),
            0.9,
            0.95,
        ),
    ],
    ids=["Bernoulli", "Poisson", "lagged correlation", "partial correlation", "correlogram"],
)
def test_candidates_find_the_synapses(network, score, auroc, direction):
    counts, weights = network
    scores = score(counts)
    assert synapse_auroc(scores, weights) > auroc
    assert direction_accuracy(scores, weights) > direction
    assert sign_accuracy(scores, weights) > 0.9
    assert dale_accuracy(scores, weights) > 0.9


def test_zero_lag_has_no_direction(network):
    counts, weights = network
    scores = lagged_correlation(counts, 0)
    np.testing.assert_allclose(scores, scores.T)
    assert synapse_auroc(scores, weights) < synapse_auroc(lagged_correlation(counts, 1), weights)


def test_a_known_stimulus_explains_away_a_common_drive():
    rng = np.random.default_rng(0)
    drive = rng.normal(size=(1, 20_000, 1))
    late = np.roll(drive, 1, axis=1)  # neuron 1 is driven a bin after neuron 0
    rate = np.exp(-1.5 + 0.7 * np.concatenate([drive, late], axis=2))
    counts = rng.poisson(rate)
    blind = CouplingGLM(1, alpha=1e-6).fit(counts).scores_
    known = CouplingGLM(1, alpha=1e-6).fit(counts, np.concatenate([drive, late], axis=2)).scores_
    assert blind[0, 1] > 0.2
    assert abs(known[0, 1]) < 0.06  # of a standard error of 0.015


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, z: lagged_correlation(x[0, 0], 1), r"got shape \(3,\)"),
        (lambda x, z: lagged_correlation(x, 60), "shorter than a trial of 60 bins"),
        (lambda x, z: lagged_correlation(x * np.nan, 1), "must be finite"),
        (lambda x, z: lagged_correlation(x * [1, 0, 1], 1), "1 never do .neuron 1"),
        (lambda x, z: partial_correlation(x, shrinkage=1.5), "shrinkage must be from 0 to 1"),
        (lambda x, z: partial_correlation(z[0, :4], lag=1, shrinkage=0), "above 0 unless bins"),
        (lambda x, z: CouplingGLM(0).fit(x), "n_lags at least 1"),
        (lambda x, z: CouplingGLM(family="gauss").fit(x), "family must be one of poisson, bern"),
        (lambda x, z: CouplingGLM(dtype="float16").fit(x), "dtype float32 or float64"),
        (lambda x, z: CouplingGLM(alpha=-1).fit(x), "alpha at least 0"),
        (lambda x, z: CouplingGLM().fit(x - 1), "poisson family must be whole and not negative"),
        (lambda x, z: CouplingGLM().fit(x / 2), "poisson family must be whole"),
        (lambda x, z: CouplingGLM(family="bernoulli").fit(x), "family must be 0 or 1"),
        (lambda x, z: CouplingGLM().fit(x, z[:, :9]), "regressors must be finite"),
        (lambda x, z: CouplingGLM().fit(x, z * np.nan), "regressors must be finite"),
        (lambda x, z: CouplingGLM().fit(x).predict(x, z), "fitted to 10 inputs a bin; got 12"),
    ],
)
def test_bad_input_is_refused_with_the_reason(small, call, message):
    with pytest.raises(ValueError, match=message):
        call(*small)


def test_neurons_that_change_only_at_the_ends_are_refused():
    counts = np.random.default_rng(0).poisson(1, (2, 30, 3))
    counts[:, :, 1] = 0
    counts[0, -1, 1] = 1
    with pytest.raises(ValueError, match="neuron 1 changes only at the ends of trials"):
        lagged_correlation(counts, 1)
    counts[:, :, 1] = 0
    counts[0, 0, 1] = 1
    with pytest.raises(ValueError, match="neuron 1 .*after the first 3 bins"):
        CouplingGLM().fit(counts)


def test_too_few_steps_are_said(small):
    with pytest.warns(ConvergenceWarning, match="not all targets converged in 1 steps"):
        CouplingGLM(max_steps=1).fit(small[0])


def test_a_spiking_network_is_found_by_counts(real_data):
    """Two minutes of 80 integrate-and-fire neurons; bins of 5 ms."""
    spikes, weights = lif80(real_data("lif80/lif80.npz"), 120)
    counts = contiguous_counts(spikes, 0, 120, 0.005)
    for scores in (partial_correlation(counts, lag=1), CouplingGLM(2).fit(counts).scores_):
        assert synapse_auroc(scores, weights) > 0.93
        assert direction_accuracy(scores, weights) > 0.95
        assert dale_accuracy(scores, weights) == 1
