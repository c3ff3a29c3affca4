"""Thresholded Gaussians: the pair equation against oracles, recovery, what samples keep."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from visualcortex.models.dichotomised_gaussian import (
    DichotomisedGaussian,
    latent_correlation,
    nearest_correlation,
)

LATENT = np.array(
    [[1, 0.6, 0.3, 0.0], [0.6, 1, 0.4, 0.1], [0.3, 0.4, 1, -0.3], [0.0, 0.1, -0.3, 1]]
)
# mean of the latents, (stimulus, neuron): rates from 2 % to 70 %
GAMMA = np.array([[-0.5, 0.0, -1.0, 0.5], [-1.5, -0.8, 0.2, -2.0]])


def drawn(rng, n_trials=1500, n_time=4, share=0.0, decay=0.8):
    """Trials of a known model; `share` of each latent lasts, with correlation decay ** lag."""
    labels = np.arange(n_trials) % 2
    lags = np.abs(np.subtract.outer(np.arange(n_time), np.arange(n_time)))
    in_time, across = (np.linalg.cholesky(c) for c in (decay**lags, LATENT))
    shape = (n_trials, n_time, 4)
    lasting, white = (rng.normal(size=shape) @ across.T for _ in range(2))
    latents = np.sqrt(share) * (in_time @ lasting) + np.sqrt(1 - share) * white
    return (latents + GAMMA[labels][:, None] > 0).astype(float), labels


@pytest.fixture(scope="module")
def trials():
    return drawn(np.random.default_rng(0))


def frame_covariance(activity, labels, lag=0):
    """Covariance of frames about the mean of stimulus and frame, by a loop over pairs."""
    residual = activity.astype(float)
    for label in np.unique(labels):
        residual[labels == label] -= residual[labels == label].mean(axis=0)
    early, late = residual[:, : residual.shape[1] - lag], residual[:, lag:]
    n = activity.shape[2]
    return np.array([[(early[..., i] * late[..., j]).mean() for j in range(n)] for i in range(n)])


def test_latent_correlations_solve_the_pair_equation_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.002, 0.7, (2, 30))
    latent = rng.uniform(-0.9, 0.95, 30)
    limits = stats.norm.ppf([first, second]).T
    both = [
        stats.multivariate_normal.cdf(limit, cov=[[1, r], [r, 1]])
        for limit, r in zip(limits, latent, strict=True)
    ]
    found = latent_correlation(first, second, np.array(both) - first * second)
    np.testing.assert_allclose(found, latent, atol=1e-6)


def test_at_half_the_covariance_is_an_arc_sine():
    latent = np.linspace(-0.9, 0.9, 7)
    half = np.full(7, 0.5)
    found = latent_correlation(half, half, np.arcsin(latent) / (2 * np.pi))
    np.testing.assert_allclose(found, latent, atol=1e-8)


def test_covariances_out_of_reach_give_the_limits():
    rates, wanted = np.full(2, 0.1), np.array([0.5, -0.5])
    np.testing.assert_allclose(latent_correlation(rates, rates, wanted), [0.97, -0.97], atol=1e-6)


def test_nearest_correlation_is_the_published_one():
    # the example of Higham (2002)
    matrix = np.array([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]])
    nearest = nearest_correlation(matrix)
    np.testing.assert_allclose(nearest[0], [1, 0.7607, 0.1573], atol=1e-4)
    np.testing.assert_allclose(nearest, nearest.T, atol=1e-12)
    assert np.linalg.eigvalsh(nearest)[0] > -1e-12
    np.testing.assert_allclose(nearest_correlation(LATENT), LATENT, atol=1e-8)


@pytest.mark.parametrize("shrink", [True, False])
def test_it_recovers_thresholds_and_latent_correlations(trials, shrink):
    model = DichotomisedGaussian(time_course=False, shrink=shrink).fit(*trials)
    np.testing.assert_allclose(-model.thresholds_[:, 0, 0], GAMMA, atol=0.15)
    # 6,000 frames; the pair of the rarest neurons is known to about 0.05
    np.testing.assert_allclose(model.latent_correlation_, LATENT, atol=0.12)


def test_samples_have_the_rates_and_covariances_of_training(trials):
    activity, labels = trials
    model = DichotomisedGaussian().fit(activity, labels)
    asked = np.tile([0, 1], 6000)
    sampled = model.sample(asked, seed=1)
    for label in (0, 1):
        rates = [
            x[of == label].mean(axis=(0, 1)) for x, of in ((activity, labels), (sampled, asked))
        ]
        np.testing.assert_allclose(rates[1], rates[0], atol=0.015)
    theirs, ours = frame_covariance(activity, labels), frame_covariance(sampled, asked)
    np.testing.assert_allclose(ours, theirs, atol=4 * 0.25 / np.sqrt(6000))
    # frames are independent: products at lag one have s.d. below .25 / sqrt(36,000)
    assert np.abs(frame_covariance(sampled, asked, lag=1)).max() < 4 * 0.25 / np.sqrt(36_000)


def test_without_shrinkage_the_observed_covariance_is_met(trials):
    activity, labels = trials
    model = DichotomisedGaussian(time_course=False, shrink=False).fit(activity, labels)
    gamma, latent = -model.thresholds_[:, 0, 0], model.latent_correlation_
    residual = (
        activity
        - np.stack([activity[labels == s].mean(axis=(0, 1)) for s in (0, 1)])[labels][:, None]
    )
    n_frames = residual[..., 0].size
    for i, j in ((0, 1), (2, 3)):
        pairs = [
            stats.multivariate_normal.cdf(g[[i, j]], cov=[[1, latent[i, j]], [latent[i, j], 1]])
            - stats.norm.cdf(g[[i, j]]).prod()
            for g in gamma
        ]
        observed = (residual[..., i] * residual[..., j]).sum() / (n_frames - 2)
        assert np.mean(pairs) == pytest.approx(observed, abs=1e-6)


def test_shrinkage_brings_few_noisy_pairs_nearer_to_the_truth():
    errors = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shared = 0.5 * rng.normal(size=(60, 4, 1))
        latents = shared + np.sqrt(0.75) * rng.normal(size=(60, 4, 12))
        activity, labels = (latents > 1.2).astype(float), np.zeros(60, int)
        fits = [DichotomisedGaussian(shrink=s).fit(activity, labels) for s in (True, False)]
        pairs = np.triu_indices(12, 1)
        errors.append([np.square(f.latent_correlation_[pairs] - 0.25).mean() for f in fits])
    shrunk, plain = np.mean(errors, axis=0)
    assert shrunk < 0.3 * plain


def test_it_recovers_what_lasts():
    activity, labels = drawn(np.random.default_rng(1), 3000, 8, share=0.5)
    model = DichotomisedGaussian(temporal=True).fit(activity, labels)
    falling = 0.5 * 0.8 ** np.arange(1, 5)
    for i, j in ((0, 0), (1, 1), (0, 1), (1, 2)):
        lasting = model.lasting_[i, j] * model.time_correlation_[0, 1:5]
        np.testing.assert_allclose(lasting, LATENT[i, j] * falling, atol=0.06)
    asked = np.tile([0, 1], 3000)
    sampled = model.sample(asked, seed=3)
    for lag in range(4):
        expected = frame_covariance(activity, labels, lag)
        np.testing.assert_allclose(frame_covariance(sampled, asked, lag), expected, atol=0.015)


def test_the_lasting_part_leaves_a_covariance_for_the_rest():
    activity, labels = drawn(np.random.default_rng(2), 200, 8, share=0.9)
    model = DichotomisedGaussian(temporal=True).fit(activity, labels)
    assert np.linalg.eigvalsh(model.lasting_)[0] > -1e-8
    assert np.linalg.eigvalsh(model.latent_correlation_ - model.lasting_)[0] > -1e-8
    assert np.linalg.eigvalsh(model.time_correlation_)[0] > -1e-8
    np.testing.assert_allclose(np.diag(model.time_correlation_), 1)


@pytest.fixture(scope="module")
def graded():
    rng = np.random.default_rng(3)
    labels = np.repeat([3, 8], 400)
    latents = rng.normal(size=(800, 4)) @ np.linalg.cholesky(LATENT).T
    return (latents + GAMMA[labels // 8]).clip(0, 1).round(1), labels


def test_graded_activity_keeps_each_neurons_distribution(graded):
    activity, labels = graded
    model = DichotomisedGaussian().fit(activity, labels)
    asked = np.repeat([3, 8], 4000)
    sampled = model.sample(asked, seed=0)
    assert sampled.shape == (8000, 4)
    assert np.isin(sampled, np.float32(np.linspace(0, 1, 11).round(1))).all()
    for label in (3, 8):
        for neuron in range(4):
            cumulative = [
                [np.mean(x[of == label][:, neuron] <= level + 0.01) for level in model.levels_]
                for x, of in ((activity, labels), (sampled, asked))
            ]
            np.testing.assert_allclose(*cumulative, atol=0.035)
    np.testing.assert_allclose(model.latent_correlation_, LATENT, atol=0.15)


def test_time_courses_are_followed_and_can_be_left_out():
    rng = np.random.default_rng(4)
    course = np.array([0.05, 0.6, 0.3, 0.1])
    activity = (rng.random((400, 4, 3)) < course[:, None]).astype(float)
    labels = np.zeros(400, int)
    sampled = DichotomisedGaussian().fit(activity, labels).sample(np.zeros(4000, int), seed=0)
    np.testing.assert_allclose(sampled.mean(axis=(0, 2)), course, atol=0.03)
    flat = DichotomisedGaussian(time_course=False).fit(activity, labels)
    assert flat.thresholds_.shape == (1, 1, 1, 3)
    flat_rates = flat.sample(np.zeros(4000, int), seed=0).mean(axis=0)
    np.testing.assert_allclose(flat_rates, activity.mean(), atol=0.04)


def test_silent_neurons_stay_silent_and_busy_ones_busy(trials):
    activity, labels = trials[0][:60].copy(), trials[1][:60]
    activity[..., 0], activity[..., 1] = 0, 1
    for temporal in (False, True):
        model = DichotomisedGaussian(temporal=temporal).fit(activity, labels)
        sampled = model.sample(labels, seed=0)
        assert not sampled[..., 0].any()
        assert sampled[..., 1].all()
        assert np.isfinite(model.latent_correlation_).all()
    activity[:, 0] = 0  # nothing is seen at the longest lag
    model = DichotomisedGaussian(temporal=True).fit(activity[..., 2:], labels)
    assert np.isfinite(model.time_correlation_).all()
    assert not model.sample(labels, seed=0)[:, 0].any()
    nothing = DichotomisedGaussian().fit(np.zeros((4, 3, 2)), np.zeros(4, int))
    assert not nothing.sample(np.zeros(5, int), seed=0).any()


def test_the_order_of_neurons_and_the_names_of_stimuli_mean_nothing(trials):
    activity, labels = trials[0][:200], trials[1][:200]
    order = np.array([2, 0, 3, 1])
    fits = [
        DichotomisedGaussian(temporal=True).fit(*data)
        for data in ((activity, labels), (activity[..., order], labels * 7 + 1))
    ]
    np.testing.assert_allclose(fits[1].thresholds_, fits[0].thresholds_[..., order], atol=1e-6)
    for name in ("latent_correlation_", "lasting_"):
        first, second = (getattr(fit, name) for fit in fits)
        np.testing.assert_allclose(second, first[np.ix_(order, order)], atol=1e-5)
    assert fits[1].labels_.tolist() == [1, 8]


def test_the_same_seed_gives_the_same_trials(trials):
    model = clone(DichotomisedGaussian(temporal=True)).fit(trials[0][:100], trials[1][:100])
    first, second, other = (model.sample(np.array([0, 1, 1]), seed=s) for s in (0, 0, 1))
    assert first.shape == (3, 4, 4)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert set(np.unique(first)) <= {0, 1}


def test_bad_input(trials):
    activity, labels = trials[0][:20], trials[1][:20]
    model = DichotomisedGaussian()
    with pytest.raises(NotFittedError):
        model.sample(labels, seed=0)
    with pytest.raises(ValueError, match="one label a trial"):
        model.fit(activity, labels[:3])
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        model.fit(activity + 1, labels)
    with pytest.raises(ValueError, match="at least twice"):
        model.fit(activity, np.arange(20))
    with pytest.raises(ValueError, match="at most 256 levels"):
        model.fit(np.random.default_rng(0).random((20, 30)), labels)
    with pytest.raises(ValueError, match="at least two frames"):
        DichotomisedGaussian(temporal=True).fit(activity[:, 0], labels)
    with pytest.raises(ValueError, match="were not in training"):
        model.fit(activity, labels).sample(np.array([0, 5]), seed=0)
    with pytest.raises(ValueError, match="one a trial"):
        model.sample(np.zeros((2, 2), int), seed=0)
