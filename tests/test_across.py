"""Reading one animal with others: what is shared is found, what is left out stays out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from visualcortex.evaluation.across import Animal, read_by_others, read_through_images

N_IMAGES, N_CLASSES, N_LATENTS = 120, 3, 6
DECODER = LinearDiscriminantAnalysis()


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.fixture
def scene(rng):
    """Latents, class and fold of each image; classes differ in their means."""
    labels = np.arange(N_IMAGES) % N_CLASSES
    means = 2.5 * rng.normal(size=(N_CLASSES, N_LATENTS))
    return means[labels] + rng.normal(size=(N_IMAGES, N_LATENTS)), labels, rng.integers(4, size=120)


def shown_to(scene, mixing, rng, n_repeats=2):
    """An animal whose features are mixtures of the latents, images in an order of its own."""
    latents, labels, folds = scene
    images = rng.permutation(np.tile(np.arange(N_IMAGES), n_repeats))
    features = latents[images] @ mixing + 0.3 * rng.normal(size=(len(images), mixing.shape[1]))
    return Animal(features, labels[images], images, folds[images])


def accuracy(predictions, animals):
    return np.mean([np.mean(p == a.labels) for p, a in zip(predictions, animals, strict=True)])


@pytest.fixture
def alike(scene, rng):
    """Animals with the same features."""
    mixing = rng.normal(size=(N_LATENTS, 20))
    return [shown_to(scene, mixing, rng) for _ in range(3)]


@pytest.fixture
def unlike(scene, rng):
    """Animals with neurons of their own, different in number too."""
    return [shown_to(scene, rng.normal(size=(N_LATENTS, 20 + k)), rng) for k in range(3)]


def test_common_features_can_be_read_by_others(alike):
    assert accuracy(read_by_others(DECODER, alike), alike) > 0.9


def test_features_that_mean_something_else_cannot(scene, rng):
    """Over many draws of two animals without anything in common: chance."""
    found = []
    for _ in range(60):
        animals = [shown_to(scene, rng.normal(size=(N_LATENTS, 20)), rng, 1) for _ in range(2)]
        found.append(accuracy(read_by_others(DECODER, animals), animals))
    assert np.mean(found) == pytest.approx(1 / N_CLASSES, abs=0.08)


def test_shared_images_teach_what_neurons_do_not_share(unlike):
    predictions = read_through_images(DECODER, unlike, n_axes=6, penalty=10.0)
    assert accuracy(predictions, unlike) > 0.9


def test_neurons_in_another_order_are_read_alike(unlike, rng):
    shuffled = [
        a._replace(features=a.features[:, rng.permutation(20 + k)]) for k, a in enumerate(unlike)
    ]
    settings = {"n_axes": 6, "penalty": 10.0}
    before, after = (read_through_images(DECODER, x, **settings) for x in (unlike, shuffled))
    assert all(map(np.array_equal, before, after))


@pytest.mark.parametrize("method", ["others", "images"])
def test_an_animal_is_read_without_its_own_labels(method, alike, rng):
    predict = {
        "others": lambda animals: read_by_others(DECODER, animals),
        "images": lambda animals: read_through_images(DECODER, animals, n_axes=6),
    }[method]
    last = alike[-1]._replace(labels=rng.permutation(alike[-1].labels))
    assert np.array_equal(predict(alike)[-1], predict([*alike[:-1], last])[-1])


def spoilt(animal, which, rng):
    """Noise and random labels in the trials of some folds."""
    asked = np.isin(animal.folds, which)
    noise = rng.normal(size=animal.features.shape)
    return animal._replace(
        features=np.where(asked[:, None], noise, animal.features),
        labels=np.where(asked, rng.permutation(animal.labels), animal.labels),
    )


@pytest.mark.parametrize("method", ["others", "images"])
def test_images_of_a_fold_do_not_teach_how_it_is_read(method, alike, rng):
    """What the other animals answer to the images asked about, and its labels, are no matter."""

    def predict(which):
        animals = [*(spoilt(a, which, rng) for a in alike[:2]), alike[2]]
        if method == "others":
            return read_by_others(DECODER, animals)[2]
        return read_through_images(DECODER, animals, n_axes=6)[2]

    asked = alike[2].folds == 0
    before = predict([])[asked]
    assert np.array_equal(before, predict([0])[asked])
    assert not np.array_equal(before, predict([1, 2, 3])[asked])


def test_means_over_presentations_are_those_of_a_loop(scene, rng):
    from visualcortex.evaluation.across import _image_means

    animal = shown_to(scene, rng.normal(size=(N_LATENTS, 5)), rng, 3)
    chosen = np.array([1, 4, 5, 119])
    expected = [animal.features[animal.images == image].mean(axis=0) for image in chosen]
    np.testing.assert_allclose(_image_means(animal, chosen), expected)


def test_images_that_one_animal_has_not_seen_do_not_teach(unlike):
    fewer = [
        a._replace(images=a.images + 1000 * (a.images % 2 * k > 0), folds=a.folds)
        for k, a in enumerate(unlike)
    ]
    predictions = read_through_images(DECODER, fewer, n_axes=6, penalty=10.0)
    assert accuracy(predictions, fewer) > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:1], "at least two animals are needed; got 1"),
        (lambda a: [a[0], a[1]._replace(labels=a[1].labels[:-1])], "animal 1 needs features"),
        (lambda a: [a[0], a[1]._replace(folds=a[1].folds + 1)], "has one fold in all animals"),
        (lambda a: [a[0], a[1]._replace(features=a[1].features[:, 1:])], "the same features"),
    ],
)
def test_animals_that_do_not_fit_together_are_refused(change, message, alike):
    with pytest.raises(ValueError, match=message):
        read_by_others(DECODER, change(alike))


def test_too_few_shared_images_are_refused(unlike):
    strangers = [unlike[0], unlike[1]._replace(images=unlike[1].images + 1000)]
    with pytest.raises(ValueError, match="0 images were shown to all animals"):
        read_through_images(DECODER, strangers)
