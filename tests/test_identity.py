"""Identity decoding against loops over pairs of images and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from visualcortex.evaluation.identity import identity_by_neurons, identity_correct, nearest_image


@pytest.fixture
def rng():
    return np.random.default_rng(9)


def halves(rng, n_images=60, n_neurons=40, noise=1.5):
    signal = rng.normal(size=(n_images, n_neurons)) * rng.uniform(0.3, 2, size=(n_images, 1))
    return [(signal + noise * rng.normal(size=signal.shape)).astype(np.float32) for _ in range(2)]


SCORES = {"correlation": lambda t, q: stats.pearsonr(t, q)[0], "dot": np.dot}


@pytest.mark.parametrize("metric", ["correlation", "dot"])
def test_nearest_is_the_loop_over_pairs(rng, metric):
    templates, queries = halves(rng)
    queries = queries[:25]
    loop = [np.argmax([SCORES[metric](t, q) for t in templates]) for q in queries]
    assert np.array_equal(nearest_image(templates, queries, metric=metric), loop)
    assert np.array_equal(
        identity_correct(templates[:25], queries, metric=metric),
        [
            np.argmax([SCORES[metric](t, q) for t in templates[:25]]) == m
            for m, q in enumerate(queries)
        ],
    )


def test_nearest_agrees_with_scikit_learn(rng):
    templates, queries = halves(rng, 200, 30)
    peer = NearestNeighbors(n_neighbors=1, metric="correlation", algorithm="brute")
    expected = peer.fit(templates.astype(float)).kneighbors(queries.astype(float))[1][:, 0]
    assert np.array_equal(nearest_image(templates, queries), expected)


def test_correlation_ignores_gain_and_offset_of_a_response_and_dot_does_not(rng):
    templates, queries = halves(rng)
    gain, offset = rng.uniform(0.2, 5, size=(2, 60, 1))
    changed = gain * templates + 3 * offset, gain[::-1] * queries + 50
    assert np.array_equal(nearest_image(*changed), nearest_image(templates, queries))
    dot = nearest_image(templates, queries, metric="dot")
    assert np.mean(nearest_image(*changed, metric="dot") == dot) < 0.5


@pytest.mark.parametrize("metric", ["correlation", "dot"])
def test_order_and_sign_of_neurons_and_numbers_of_images(rng, metric):
    first, second = halves(rng)
    correct = identity_correct(first, second, metric=metric)
    neurons, images = rng.permutation(40), rng.permutation(60)
    assert np.array_equal(
        identity_correct(first[:, neurons], second[:, neurons], metric=metric), correct
    )
    assert np.array_equal(
        identity_correct(first[images], second[images], metric=metric), correct[images]
    )
    assert np.array_equal(identity_correct(-first, -second, metric=metric), correct)


def test_flat_templates_are_never_the_nearest(rng):
    templates, queries = halves(rng, 5, 40)
    templates = -np.abs(queries) @ np.eye(40, dtype=np.float32)
    templates[2] = 0.1
    assert 2 not in nearest_image(templates, -templates + rng.normal(size=(5, 40)))


def test_noise_is_at_chance_and_no_noise_is_perfect(rng):
    first, second = rng.normal(size=(2, 500, 20))
    assert identity_correct(first, second).sum() <= 8  # Poisson of mean 1
    assert identity_correct(first, first).all()


COUNTS = [3, 5, 17, 40]


@pytest.mark.parametrize("metric", ["correlation", "dot"])
def test_nested_subsets_decode_as_the_subsets_themselves(rng, metric):
    first, second = halves(rng, noise=0.7)
    first, second = first + 4, second + 4
    nested = identity_by_neurons(
        first, second, COUNTS, n_draws=3, metric=metric, rng=np.random.default_rng(2)
    )
    assert nested.shape == (4, 3, 60)
    again = np.random.default_rng(2)
    for draw in range(3):
        order = again.permutation(40)
        for row, count in enumerate(COUNTS):
            some = order[:count]
            direct = identity_correct(first[:, some], second[:, some], metric=metric)
            assert np.array_equal(nested[row, draw], direct)


def test_more_neurons_tell_more_and_all_neurons_leave_no_choice(rng):
    first, second = halves(rng)
    nested = identity_by_neurons(first, second, [3, 10, 40], n_draws=20, rng=rng)
    accuracy = nested.mean(axis=(1, 2))
    assert accuracy[0] < accuracy[1] < accuracy[2]
    assert (nested[2] == nested[2, 0]).all()


def test_one_neuron_will_do_for_dot_products(rng):
    first, second = np.abs(rng.normal(size=(2, 30, 8)))
    nested = identity_by_neurons(first, second, [1], n_draws=4, metric="dot", rng=rng)
    # all queries are positive, so all choose the template with the largest value
    assert (nested.sum(axis=2) == 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, r: nearest_image(x, x[:, :4]), "same neurons"),
        (lambda x, r: nearest_image(x, x, metric="cosine"), "metric must be one of"),
        (lambda x, r: nearest_image(x[:, :2], x[:, :2]), "at least 3"),
        (lambda x, r: identity_correct(x, x[:4]), "two responses to each image"),
        (lambda x, r: identity_by_neurons(x, x, [2, 4], rng=r), "at least 3"),
        (lambda x, r: identity_by_neurons(x, x, [4, 4], rng=r), "counts must rise"),
        (lambda x, r: identity_by_neurons(x, x, [4, 7], rng=r), "at most 6 neurons"),
        (lambda x, r: identity_by_neurons(x, x, [], rng=r), "counts must rise"),
        (lambda x, r: identity_by_neurons(x, x, [4], n_draws=0, rng=r), "n_draws=0"),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(10, 6)), rng)
