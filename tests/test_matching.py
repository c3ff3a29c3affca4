"""The matcher whitens what it should and finds the weights that are known to be best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from visualcortex.evaluation.identity import identity_correct
from visualcortex.models.matching import NoiseWhitening, WhitenedMatcher

N, N_FACTORS = 12, 2


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def model(rng):
    """Return covariances of signal and noise, the latter of factors and private parts.

    Neurons have units of their own, but all the same share of private noise: there principal
    components of the correlations are the factors exactly.
    """
    loadings = rng.normal(size=(N, N_FACTORS))
    loadings *= np.sqrt(0.6) / np.linalg.norm(loadings, axis=1, keepdims=True)
    unit = rng.lognormal(size=N)
    noise = np.outer(unit, unit) * (loadings @ loadings.T + 0.4 * np.eye(N))
    tuning = unit[:, None] * rng.normal(size=(N, 4))
    return tuning @ tuning.T / 2, noise


def draw(rng, signal, noise, n_images, n_frames):
    zero = np.zeros(N)
    shown = rng.multivariate_normal(zero, signal, size=n_images)
    first, second = shown + rng.multivariate_normal(zero, noise, size=(2, n_images))
    return rng.multivariate_normal(zero, noise, size=n_frames), first + 5, second + 5


def fitted(rng, signal, noise, n_images=2000, n_frames=2000):
    return WhitenedMatcher(N_FACTORS).fit(*draw(rng, signal, noise, n_images, n_frames))


def root(matrix):
    power, axes = np.linalg.eigh(matrix)
    return (axes * np.sqrt(power)) @ axes.T


def relative_error(observed, expected):
    return np.linalg.norm(observed - expected) / np.linalg.norm(expected)


def test_noise_is_white_after_whitening(rng, model):
    """Strong, noiseless signal in all directions: every axis then has the weight 1/2."""
    _, noise = model
    spontaneous = rng.multivariate_normal(np.zeros(N), noise, size=100_000)
    shown = 1e3 * rng.normal(size=(500, N))
    projection = WhitenedMatcher(N_FACTORS).fit(spontaneous, shown, shown).projection_
    white = 2 * projection.T @ noise @ projection
    np.testing.assert_allclose(white, np.eye(N), atol=0.03)
    # responses that are not whitened would be far from it
    assert np.abs(noise / np.mean(np.diag(noise)) - np.eye(N)).max() > 0.5


def test_whitened_noise_has_the_identity_for_a_covariance(rng, model):
    _, noise = model
    spontaneous, unseen = rng.multivariate_normal(np.zeros(N), noise, size=(2, 100_000))
    whitening = NoiseWhitening(N_FACTORS).fit(spontaneous)
    white = whitening.transform(unseen)
    np.testing.assert_allclose(np.cov(white.T), np.eye(N), atol=0.03)
    # units of neurons are no matter
    scaled = NoiseWhitening(N_FACTORS).fit(1000 * spontaneous).transform(1000 * unseen)
    np.testing.assert_allclose(scaled, white, rtol=1e-6, atol=1e-9)


def test_components_of_whitened_responses_are_those_of_most_signal_to_noise(rng, model):
    """Oracle: the generalised eigenvectors of signal against noise."""
    signal, noise = model
    spontaneous, first, _ = draw(rng, signal, noise, 50_000, 50_000)
    white = NoiseWhitening(N_FACTORS).fit(spontaneous).transform(first)
    leading = np.linalg.eigvalsh(np.cov(white.T))[::-1][:4]
    expected = linalg.eigh(signal, noise, eigvals_only=True)[::-1][:4]
    np.testing.assert_allclose(leading - 1, expected, rtol=0.05)


def test_a_metric_of_the_best_weights_is_found_as_data_grow(rng, model):
    """Oracle: N⁻¹ S (N + 2 S)⁻¹, the likelihood ratio written without axes."""
    signal, noise = model
    expected = np.linalg.solve(noise, signal) @ np.linalg.inv(noise + 2 * signal)
    np.testing.assert_allclose(expected, expected.T, atol=1e-10)
    errors = []
    for size in (100, 1000, 50_000):
        projection = fitted(rng, signal, noise, size, size).projection_
        errors.append(relative_error(projection @ projection.T, expected))
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.06


def test_the_weight_of_an_axis_follows_from_its_power(rng, model):
    """Along an axis of weight w the noise has variance w and the signal w λ, w = λ / (1 + 2 λ)."""
    signal, noise = model
    projection = fitted(rng, signal, noise, 50_000, 50_000).projection_[
        :, :4
    ]  # the strongest come first
    weight = np.diag(projection.T @ noise @ projection)
    power = np.diag(projection.T @ signal @ projection) / weight
    np.testing.assert_allclose(weight, power / (1 + 2 * power), rtol=0.06)
    assert (np.diff(power) < 0).all()


def test_matching_is_better_than_correlation_and_better_with_more_data(rng, model):
    signal, noise = model
    _, first, second = draw(rng, signal, noise, 100, 2)
    scores = [
        identity_correct(matcher.transform(first), matcher.transform(second)).mean()
        for matcher in (fitted(rng, signal, noise, 20, 20), fitted(rng, signal, noise))
    ]
    plain = identity_correct(*(stats.zscore(x) for x in (first, second))).mean()
    assert scores[1] > scores[0]
    assert scores[1] > 1.5 * plain


def test_noise_alone_has_no_features_worth_matching(rng, model):
    _, noise = model
    matcher = fitted(rng, 1e-12 * noise, noise)
    _, first, second = draw(rng, 1e-12 * noise, noise, 500, 2)
    assert identity_correct(matcher.transform(first), matcher.transform(second)).sum() <= 7


def test_a_response_is_transformed_by_itself(rng, model):
    matcher = fitted(rng, *model)
    _, first, second = draw(rng, *model, 60, 2)
    features = matcher.transform(first)
    np.testing.assert_allclose(features[7], matcher.transform(first[7:8])[0])
    # so that test images may have any number
    order = rng.permutation(60)
    correct = identity_correct(features, matcher.transform(second))
    moved = identity_correct(matcher.transform(first[order]), matcher.transform(second[order]))
    np.testing.assert_array_equal(moved, correct[order])


def test_the_order_of_training_images_does_not_matter_but_their_pairing_does(rng, model):
    spontaneous, first, second = draw(rng, *model, 500, 500)
    order = rng.permutation(500)
    matcher = WhitenedMatcher(N_FACTORS)
    metrics = [
        fit.projection_ @ fit.projection_.T
        for fit in (
            clone(matcher).fit(spontaneous, first, second),
            clone(matcher).fit(spontaneous, first[order], second[order]),
            clone(matcher).fit(spontaneous, second, first),
            clone(matcher).fit(spontaneous, first, second[order]),
        )
    ]
    np.testing.assert_allclose(metrics[1], metrics[0], rtol=1e-8)
    np.testing.assert_allclose(metrics[2], metrics[0], rtol=1e-8)
    assert relative_error(metrics[3], metrics[0]) > 0.5


def test_the_order_of_the_neurons_does_not_matter(rng, model):
    data = draw(rng, *model, 300, 300)
    order = rng.permutation(N)
    before = WhitenedMatcher(N_FACTORS).fit(*data)
    after = WhitenedMatcher(N_FACTORS).fit(*(x[:, order] for x in data))
    np.testing.assert_allclose(
        after.transform(data[1][:, order]), before.transform(data[1]), rtol=1e-6, atol=1e-8
    )
    assert np.all(before.projection_.max(axis=0) > -before.projection_.min(axis=0))


def test_the_units_of_the_neurons_do_not_matter(rng, model):
    data = draw(rng, *model, 300, 300)
    unit, shift = rng.lognormal(sigma=2, size=N), rng.normal(size=N)
    before = WhitenedMatcher(N_FACTORS).fit(*data)
    after = WhitenedMatcher(N_FACTORS).fit(*(x * unit + shift for x in data))
    products = [
        features @ features.T
        for features in (before.transform(data[1]), after.transform(data[1] * unit + shift))
    ]
    np.testing.assert_allclose(products[1], products[0], rtol=1e-6, atol=1e-8)


def test_types_may_differ_and_nothing_is_overwritten(rng, model):
    data = draw(rng, *model, 300, 300)
    exact = WhitenedMatcher(N_FACTORS).fit(*data)
    spontaneous, first, second = (x.astype("f4") for x in data)
    spontaneous.flags.writeable = False
    kept = first.copy()
    mixed = WhitenedMatcher(N_FACTORS).fit(spontaneous, first, data[2])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(mixed.projection_, exact.projection_, rtol=1e-3, atol=1e-4)
    single = WhitenedMatcher(N_FACTORS).fit(spontaneous, first, second)
    assert single.transform(first).dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, a, b: (s, a, b[:-1]), "the last two of the same images"),
        (lambda s, a, b: (s[:, 1:], a, b), "same neurons"),
        (lambda s, a, b: (s, a[:, 1:], b), "Select the same from all"),
        (lambda s, a, b: (s[0], a, b), r"must be \(row, neuron\)"),
        (
            lambda s, a, b: (s[:2], a, b),
            r"positive and below the number of frames and of neurons, \(2, 12\)",
        ),
        (lambda s, a, b: (s * (np.arange(N) != 4), a, b), "1 do not, the first is 4. Drop them"),
    ],
)
def test_bad_input_is_refused(change, message, rng, model):
    with pytest.raises(ValueError, match=message):
        WhitenedMatcher(N_FACTORS).fit(*change(*draw(rng, *model, 30, 30)))


@pytest.mark.parametrize("n_factors", [0, N, -1])
def test_a_bad_number_of_factors_is_refused(n_factors, rng, model):
    with pytest.raises(ValueError, match=f"got {n_factors}. Choose another"):
        WhitenedMatcher(n_factors).fit(*draw(rng, *model, 30, 30))


def test_it_must_be_fitted_first(rng):
    with pytest.raises(NotFittedError):
        WhitenedMatcher().transform(rng.normal(size=(3, N)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], r"must be \(frame, neuron\); got shape \(12,\)"),
        (lambda x: x[:2], r"got 2. Choose another"),
        (lambda x: x * (np.arange(N) != 3), "1 do not, the first is 3. Drop them"),
    ],
)
def test_activity_that_shows_no_noise_is_refused(change, message, rng, model):
    spontaneous = draw(rng, *model, 5, 30)[0]
    with pytest.raises(ValueError, match=message):
        NoiseWhitening(N_FACTORS).fit(change(spontaneous))


def test_whitening_before_fitting_is_an_error():
    with pytest.raises(NotFittedError):
        NoiseWhitening().transform(np.ones((2, N)))
