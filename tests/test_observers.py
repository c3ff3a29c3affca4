"""The ideal observers equal brute force and closed forms, and nobody beats them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.linear_model import LogisticRegression

from visualcortex.evaluation.identity import identity_correct
from visualcortex.evaluation.observers import ideal_category, ideal_identity
from visualcortex.models.matching import WhitenedMatcher
from visualcortex.simulators.v1 import V1


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def covariance(rng, n_neurons, power):
    """Return a full covariance with uneven axes and neurons."""
    loadings = rng.normal(size=(n_neurons, n_neurons)) * np.arange(1, n_neurons + 1) ** -0.7
    full = loadings @ loadings.T + 0.05 * np.eye(n_neurons)
    return power * full / np.trace(full) * n_neurons


def looks(rng, signal_covariance, noise_covariance, n_images, n_looks=2):
    zero = np.zeros(len(signal_covariance))
    signal = rng.multivariate_normal(zero, signal_covariance, size=n_images)
    noise = rng.multivariate_normal(zero, noise_covariance, size=(n_looks, n_images))
    return signal + noise


def assert_not_beaten(observer, other):
    """Paired over trials: the other one may lead by sampling error only."""
    lead = other.astype(float) - observer
    assert lead.mean() < 2.5 * lead.std() / np.sqrt(len(lead))


# identity


def test_identity_is_brute_force_over_the_predictive_distribution(rng):
    """Oracle: density of y given x, from the joint normal distribution of both."""
    signal, noise = covariance(rng, 5, 1.0), covariance(rng, 5, 0.5)
    first, second = looks(rng, signal, noise, 60)
    total = signal + noise
    predictor = signal @ np.linalg.inv(total)
    spread = total - predictor @ signal
    densities = np.array(
        [stats.multivariate_normal(predictor @ x, spread).logpdf(second) for x in first]
    )
    brute = densities.argmax(axis=0) == np.arange(60)
    assert 0.2 < brute.mean() < 0.9
    np.testing.assert_array_equal(ideal_identity(first, second, signal, noise), brute)


def test_identity_is_read_off_the_same_from_any_linear_mixture_of_the_neurons(rng):
    signal, noise = covariance(rng, 12, 1.0), covariance(rng, 12, 1.0)
    first, second = looks(rng, signal, noise, 80)
    before = ideal_identity(first, second, signal, noise)
    assert 0.2 < before.mean() < 0.9
    order = rng.permutation(12)
    mixtures = np.eye(12)[order], rng.normal(size=(12, 12))
    for mix in mixtures:
        mixed = [mix @ c @ mix.T for c in (signal, noise)]
        after = ideal_identity(first @ mix.T, second @ mix.T, *mixed)
        np.testing.assert_array_equal(after, before)


def test_no_decoder_of_identity_beats_the_ideal_one(rng):
    signal, noise = covariance(rng, 30, 0.7), covariance(rng, 30, 1.0)
    training = looks(rng, signal, noise, 3000)
    spontaneous = rng.multivariate_normal(np.zeros(30), noise, size=3000)
    first, second = looks(rng, signal, noise, 400)
    ideal = ideal_identity(first, second, signal, noise)
    by_correlation = identity_correct(stats.zscore(first), stats.zscore(second))
    matcher = WhitenedMatcher(20).fit(spontaneous, *training)
    matched = identity_correct(matcher.transform(first), matcher.transform(second))
    assert_not_beaten(ideal, by_correlation)
    assert_not_beaten(ideal, matched)
    assert ideal.mean() > by_correlation.mean() + 0.1


@pytest.fixture(scope="module")
def cortex():
    """Return a small simulated visual cortex: recording, and responses in units of the noise."""
    settings = V1(n_neurons=80, n_images=500, n_spontaneous=3000, n_shared=10, signal_variance=0.3)
    recording = settings.simulate(seed=31)
    truth = recording.truth
    order = np.argsort(recording.stimulus, kind="stable").reshape(500, 2).T
    halves = (recording.responses.to_numpy()[order] - truth.offset) / truth.scale
    spontaneous = (recording.spontaneous.to_numpy() - truth.offset) / truth.scale
    return truth, halves, spontaneous


def test_no_decoder_of_identity_beats_the_ideal_one_in_simulated_cortex(cortex):
    truth, halves, spontaneous = cortex
    fitted, tested = halves[:, :250], halves[:, 250:]
    signal = np.cov(truth.signal.T)
    ideal = ideal_identity(*(tested - truth.signal.mean(axis=0)), signal, truth.noise_covariance)
    matcher = WhitenedMatcher(10).fit(spontaneous, *fitted)
    matched = identity_correct(*(matcher.transform(half) for half in tested))
    by_correlation = identity_correct(*(stats.zscore(half) for half in tested))
    assert_not_beaten(ideal, matched)
    assert_not_beaten(ideal, by_correlation)
    assert by_correlation.mean() > 10 / 250
    assert matched.mean() > by_correlation.mean()


def test_identity_is_perfect_without_noise_and_chance_without_signal(rng):
    signal, noise = covariance(rng, 10, 1.0), covariance(rng, 10, 1.0)
    clean, again = looks(rng, signal, 1e-9 * noise, 200)
    assert ideal_identity(clean, again, signal, 1e-9 * noise).all()
    first, second = looks(rng, 0 * signal, noise, 1000)
    # 1 in 1000 by chance
    assert ideal_identity(first, second, signal, noise).sum() <= stats.poisson.ppf(0.9999, 1)
    assert ideal_identity(first, second, 0 * signal, noise).sum() == 1


# category


class KnownCovariance:
    """An estimator of a covariance that was told it."""

    def __init__(self, covariance_=None):
        self.covariance_ = covariance_

    def fit(self, x):
        return self


def test_category_is_linear_discriminant_analysis_with_the_same_moments(rng):
    """Oracle: scikit-learn's, which is given the covariance of signal and noise."""
    n, n_neurons = 36, 7
    labels = rng.permutation(np.repeat([2, 5, 11], [12, 18, 6]))
    means = 0.8 * rng.normal(size=(12, n_neurons))
    signal = means[labels] + rng.multivariate_normal(
        np.zeros(n_neurons), covariance(rng, n_neurons, 1), n
    )
    noise = covariance(rng, n_neurons, 1.5)
    within = sum((np.sum(labels == c) - 1) * np.cov(signal[labels == c].T) for c in (2, 5, 11))
    known = KnownCovariance(within / (n - 3) + noise)
    oracle = LinearDiscriminantAnalysis("lsqr", priors=[1 / 3] * 3, covariance_estimator=known)
    responses = rng.normal(size=(20_000, n_neurons))
    expected = oracle.fit(signal, labels).predict(responses)
    observed = ideal_category(responses, signal, labels, noise)
    np.testing.assert_array_equal(observed, expected)
    assert np.bincount(observed)[[2, 5, 11]].min() > 1000


def test_two_categories_are_told_apart_as_often_as_the_closed_form_says(rng):
    """Oracle: Φ(d' / 2) with d'² = Δᵀ (S + N)⁻¹ Δ."""
    n, n_neurons = 20_000, 6
    signal_within, noise = covariance(rng, n_neurons, 0.5), covariance(rng, n_neurons, 1.0)
    difference = 0.6 * rng.normal(size=n_neurons)
    zero = np.zeros(n_neurons)

    def draw():
        labels = np.repeat([0, 1], n // 2)
        signal = rng.multivariate_normal(zero, signal_within, n)
        return labels, signal + labels[:, None] * difference

    labels, fresh = draw()
    _, tested = draw()
    responses = tested + rng.multivariate_normal(zero, noise, n)
    correct = ideal_category(responses, fresh, labels, noise) == labels
    d = np.sqrt(difference @ np.linalg.solve(signal_within + noise, difference))
    expected = stats.norm.cdf(d / 2)
    assert 0.6 < expected < 0.95
    assert correct.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / n))


def test_category_does_not_depend_on_the_order_of_neurons_or_the_names_of_categories(rng):
    labels = np.repeat(np.arange(4), 50)
    signal = rng.normal(size=(4, 9))[labels] + rng.normal(size=(200, 9))
    noise = covariance(rng, 9, 1.0)
    responses = signal + rng.normal(size=signal.shape)
    before = ideal_category(responses, signal, labels, noise)
    order = rng.permutation(9)
    permuted = ideal_category(responses[:, order], signal[:, order], labels, noise[order][:, order])
    np.testing.assert_array_equal(permuted, before)
    names = np.array([30, 4, 17, 8])
    np.testing.assert_array_equal(
        ideal_category(responses, signal, names[labels], noise), names[before]
    )


@pytest.fixture(scope="module")
def categories(cortex):
    """Return the ideal observer's hits on fresh images, the responses, and many more to learn."""
    truth = cortex[0]
    rng = np.random.default_rng(3)
    tested, labels = truth.fresh_images(100, rng=rng)
    responses = tested + truth.noise(len(tested), rng=rng)
    learnt, their_labels = truth.fresh_images(250, rng=rng)
    observed = ideal_category(responses, learnt, their_labels, truth.noise_covariance)
    many = np.tile(learnt, (4, 1))
    many = many + truth.noise(len(many), rng=rng)
    return observed == labels, (responses, labels), (many, np.tile(their_labels, 4))


@pytest.mark.parametrize(
    "decoder",
    [
        LogisticRegression(C=0.01, max_iter=500),
        LinearDiscriminantAnalysis(),
        QuadraticDiscriminantAnalysis(reg_param=0.1),
    ],
    ids=["logistic", "lda", "qda"],
)
def test_no_decoder_of_category_beats_the_ideal_one_in_simulated_cortex(categories, decoder):
    ideal, (responses, labels), learnt = categories
    learned = decoder.fit(*learnt).predict(responses) == labels
    assert learned.mean() > 2 / 11
    assert_not_beaten(ideal, learned)


def test_categories_that_do_not_differ_are_at_chance():
    truth = V1(n_neurons=40, n_images=48, n_spontaneous=2, separation=0).simulate(32).truth
    rng = np.random.default_rng(4)
    (signal, labels), (fresh, their_labels) = (truth.fresh_images(k, rng=rng) for k in (60, 60))
    responses = signal + truth.noise(len(signal), rng=rng)
    correct = ideal_category(responses, fresh, their_labels, truth.noise_covariance) == labels
    assert abs(correct.mean() - 1 / 11) < 4 * np.sqrt(10 / 121 / len(correct))


# bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, c: ideal_identity(x, x[:-1], c, c), r"same images; got \(20, 4\) and \(19, 4\)"),
        (lambda x, c: ideal_identity(x, x[:, 1:], c, c), "Select the same images and neurons"),
        (lambda x, c: ideal_identity(x, x, c[1:, 1:], c), "square of their number of neurons"),
        (lambda x, c: ideal_identity(x, x, c, c[1:]), "Select the same neurons from all"),
        (lambda x, c: ideal_identity(x[0], x[0], c, c), r"responses must be \(trial, neuron\)"),
        (lambda x, c: ideal_category(x, x, np.zeros(19), c), r"one row a label.*\(19, 4\); got"),
        (lambda x, c: ideal_category(x, x[:, 1:], np.zeros(20), c), "the neurons of responses"),
        (lambda x, c: ideal_category(x, x, np.zeros(20), c[1:]), "Select the same neurons"),
        (lambda x, c: ideal_category(x, x, np.arange(20), c), "more fresh images than categories"),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(20, 4)), np.eye(4))
