"""Scores of categories against scikit-learn, a loop over resamples, and known coverage."""

import numpy as np
import pytest
from sklearn import metrics

from visualcortex.evaluation import categories as ca
from visualcortex.evaluation.intervals import resampled_indices


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def shown(rng, n_images=90, n_classes=4, skill=0.3):
    """Images of unequal classes, one to three presentations each, in random order."""
    of_image = rng.permutation(np.repeat(np.arange(n_classes), n_images // n_classes)) * 2
    of_image[: n_images // 6] = 0
    images = rng.permutation(
        np.repeat(np.arange(len(of_image)) * 3, rng.integers(1, 4, len(of_image)))
    )
    labels = of_image[images // 3]
    guess = rng.choice(labels, size=len(labels))
    predicted = np.where(rng.random(len(labels)) < skill, labels, guess)
    return predicted, labels, images


def test_scores_agree_with_scikit_learn(rng):
    predicted, labels, _ = shown(rng)
    assert ca.balanced_accuracy(predicted == labels, labels) == pytest.approx(
        metrics.balanced_accuracy_score(labels, predicted)
    )
    assert ca.macro_f1(predicted, labels) == pytest.approx(
        metrics.f1_score(labels, predicted, average="macro")
    )
    some = labels > 0  # class 0 is then predicted but never true
    assert ca.macro_f1(predicted[some], labels[some]) == pytest.approx(
        metrics.f1_score(labels[some], predicted[some], average="macro", zero_division=0)
    )
    assert np.allclose(
        ca.confusion(predicted // 2, labels // 2, 4),
        metrics.confusion_matrix(labels, predicted, normalize="true"),
    )


def test_confusion_has_no_row_for_a_class_without_trials():
    matrix = ca.confusion(np.array([0, 2, 2]), np.array([0, 0, 2]), 3)
    assert matrix[[0, 2]].tolist() == [[0.5, 0, 0.5], [0, 0, 1]]
    assert np.isnan(matrix[1]).all()


def test_words_are_classes_too(rng):
    predicted, labels, images = shown(rng)
    words = np.array(["birds", "-", "cats", "-", "mice", "-", "snakes"])
    assert ca.macro_f1(words[predicted], words[labels]) == ca.macro_f1(predicted, labels)
    a, b = (
        ca.balanced_accuracy_interval(
            predicted == labels, x, images, rng=np.random.default_rng(1), n_resamples=50
        )
        for x in (labels, words[labels])
    )
    assert a == pytest.approx(b)


def loop_over_resamples(statistic, labels, images, seed, n_resamples):
    names = np.unique(images)
    classes = np.array([labels[images == name][0] for name in names])
    codes = np.unique(classes, return_inverse=True)[1]
    draws = resampled_indices(
        len(names), n_resamples, rng=np.random.default_rng(seed), strata=codes
    )
    return [
        statistic(np.concatenate([np.flatnonzero(images == names[i]) for i in row]))
        for row in draws
    ]


def test_intervals_agree_with_a_loop_over_resamples(rng):
    predicted, labels, images = shown(rng, n_images=48)
    classes = np.unique(labels)
    ours = ca.balanced_accuracy_interval(
        predicted == labels, labels, images, rng=np.random.default_rng(5), n_resamples=60
    )
    loop = loop_over_resamples(
        lambda i: metrics.balanced_accuracy_score(labels[i], predicted[i]), labels, images, 5, 60
    )
    assert ours[1:] == pytest.approx(np.quantile(loop, [0.025, 0.975]))
    assert ours.value == metrics.balanced_accuracy_score(labels, predicted)
    ours = ca.macro_f1_interval(
        predicted, labels, images, rng=np.random.default_rng(5), n_resamples=60
    )
    loop = loop_over_resamples(
        lambda i: metrics.f1_score(
            labels[i], predicted[i], labels=classes, average="macro", zero_division=0
        ),
        labels,
        images,
        5,
        60,
    )
    assert ours[1:] == pytest.approx(np.quantile(loop, [0.025, 0.975]))
    assert ours.value == pytest.approx(ca.macro_f1(predicted, labels))


def test_presentations_of_an_image_are_not_independent():
    """Truth .5; each image is right or wrong as a whole, so that only images count."""
    covered, naive = 0, 0
    images, labels = np.repeat(np.arange(80), 6), np.repeat([0, 1], 240)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        correct = (rng.random(80) < 0.5)[images]
        low, high = ca.balanced_accuracy_interval(
            correct, labels, images, rng=rng, n_resamples=300
        )[1:]
        covered += low <= 0.5 <= high
        alone = np.arange(480)
        low, high = ca.balanced_accuracy_interval(correct, labels, alone, rng=rng, n_resamples=300)[
            1:
        ]
        naive += low <= 0.5 <= high
    assert 0.88 <= covered / 150 <= 0.99
    assert naive / 150 < 0.75


def test_the_null_is_uniform_without_information_and_below_a_real_effect():
    p_values = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        predicted, labels, images = shown(rng, n_images=60, skill=0.0)
        predicted = rng.choice(4, size=180)[images // 3] * 2  # the same for all of an image
        observed = ca.balanced_accuracy(predicted == labels, labels)
        null = ca.permutation_null(predicted, labels, images, rng=rng, n_permutations=99)
        p_values.append((1 + np.sum(null >= observed)) / 100)
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=4 * 0.3 / np.sqrt(120))
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 * 0.29 / np.sqrt(120))
    predicted, labels, images = shown(np.random.default_rng(0), skill=0.5)
    null = ca.permutation_null(predicted, labels, images, rng=np.random.default_rng(0))
    assert null.max() < ca.balanced_accuracy(predicted == labels, labels)
    assert len(null) == 1000
    assert null.mean() == pytest.approx(1 / 4, abs=0.01)


def test_the_null_is_the_score_of_labels_permuted_over_images(rng):
    predicted, labels, images = shown(rng, n_images=40)
    null = ca.permutation_null(
        predicted, labels, images, rng=np.random.default_rng(8), n_permutations=5
    )
    names, first = np.unique(images, return_index=True)
    permuter = np.random.default_rng(8)
    for value in null:
        moved = permuter.permutation(labels[first])[np.searchsorted(names, images)]
        assert value == pytest.approx(metrics.balanced_accuracy_score(moved, predicted))


def test_baselines_know_the_training_labels_only(rng):
    train = np.array(["cat", "owl", "owl", "ant", "owl"])
    assert ca.majority(train, 3).tolist() == ["owl"] * 3
    assert ca.majority(np.array([4, 2, 4, 2]), 1).tolist() == [2]
    drawn = ca.stratified(train, 20_000, rng=rng)
    assert np.mean(drawn == "owl") == pytest.approx(0.6, abs=4 * 0.5 / np.sqrt(20_000))
    labels = np.repeat([0, 1, 2], [500, 100, 20])
    for guess in (ca.majority(labels, 620), ca.stratified(labels, 620, rng=rng)):
        assert ca.balanced_accuracy(guess == labels, labels) == pytest.approx(1 / 3, abs=0.15)


def test_folds_keep_images_together_and_balance_the_classes(rng):
    _, labels, images = shown(rng)
    folds = ca.image_folds(images, labels, 5, rng=rng)
    names, first = np.unique(images, return_index=True)
    for name in names:
        assert len(set(folds[images == name])) == 1
    for label in np.unique(labels):
        counts = np.bincount(folds[first][labels[first] == label], minlength=5)
        assert np.ptp(counts) <= 1


def test_parts_keep_images_together_and_balance_the_classes(rng):
    _, labels, images = shown(rng)
    parts = ca.image_parts(images, labels, (0.6, 0.2, 0.2), rng=rng)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(images)))
    per_part = [set(images[part]) for part in parts]
    assert not per_part[0] & per_part[1] | per_part[0] & per_part[2] | per_part[1] & per_part[2]
    for label in np.unique(labels):
        own = set(images[labels == label])
        sizes = [len(own & names) for names in per_part]
        assert np.allclose(sizes, np.array([0.6, 0.2, 0.2]) * len(own), atol=1)


def test_splits_depend_on_the_seed_only(rng):
    _, labels, images = shown(rng)
    a, b, c = (
        ca.image_parts(images, labels, rng=np.random.default_rng(seed)).test for seed in (1, 1, 2)
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


TWO = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: ca.balanced_accuracy(np.ones(3), np.ones(4)), r"correct \(3,\)"),
        (lambda rng: ca.macro_f1(np.ones((3, 1)), np.ones((3, 1))), "one entry a trial"),
        (lambda rng: ca.majority([], 3), "one entry a trial"),
        (lambda rng: ca.confusion(np.array([0, 3]), np.array([0, 1]), 3), "from 0 to 2"),
        (lambda rng: ca.confusion(np.array([0.0, 1]), np.array([0, 1]), 3), "float64"),
        (
            lambda rng: ca.image_folds(np.array([5, 5, 7]), np.array([0, 1, 1]), 2, rng=rng),
            r"images \[5\]",
        ),
        (lambda rng: ca.image_folds(TWO[1], TWO[0], 2, rng=rng), "rarest label"),
        (lambda rng: ca.image_parts(TWO[1], TWO[0], rng=rng), "class 0 has 2 images"),
        (lambda rng: ca.image_parts(TWO[1], TWO[0], (0.5, 0.6, 0.1), rng=rng), "add up to 1"),
        (
            lambda rng: ca.permutation_null(TWO[0], TWO[0], TWO[1], rng=rng, n_permutations=0),
            "n_permutations",
        ),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)
