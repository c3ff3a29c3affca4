"""Judges of generated trials: classifiers, copies, and what is missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

from visualcortex import evaluation as ev

N_CLASSES = 4


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def trials(rng, n_per_class: int = 30, n_features: int = 6, apart: float = 2.0):
    """Normal features about class means that are the same in every draw; and labels."""
    labels = np.repeat(np.arange(N_CLASSES), n_per_class)
    means = apart * np.random.default_rng(0).normal(size=(N_CLASSES, n_features))
    return means[labels] + rng.normal(size=(len(labels), n_features)), labels


# two samples


def test_the_support_vector_machine_sees_spread_that_a_line_does_not(rng):
    real, wide = rng.normal(size=(150, 3)), 2.5 * rng.normal(size=(150, 3))
    assert ev.two_sample_svm_correct(real, wide, rng=rng).mean() > 0.7
    assert ev.two_sample_correct(real, wide, rng=rng).mean() < 0.6


def test_two_samples_of_one_population_are_told_apart_at_chance(rng):
    shares = [
        ev.two_sample_svm_correct(*rng.normal(size=(2, 60, 4)), rng=rng).mean() for _ in range(20)
    ]
    # folds of one draw are not independent: twice the binomial s.e.
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * 2 * 0.5 / np.sqrt(120 * 20))


def test_the_larger_of_two_samples_is_thinned(rng):
    correct = ev.two_sample_svm_correct(rng.normal(size=(40, 3)), rng.normal(size=(90, 3)), rng=rng)
    assert correct.shape == (80,)
    assert correct.dtype == bool


def test_no_trial_is_tested_by_a_machine_that_trained_on_it(rng):
    """Random labels are not learned by heart, which this machine could on its training trials."""
    features = rng.normal(size=(80, 40))
    seen = SVC(gamma="auto").fit(features, np.repeat([0, 1], 40))
    assert seen.score(features, np.repeat([0, 1], 40)) > 0.95
    correct = ev.two_sample_svm_correct(features[:40], features[40:], rng=rng)
    assert correct.mean() < 0.75


# readouts that move from one set to the other


def test_what_tells_stimuli_apart_moves_from_set_to_set(rng):
    train, test, synthetic = trials(rng), trials(rng), trials(rng)
    real = ev.transfer_correct(*train, *test).mean()
    moved = ev.transfer_correct(*synthetic, *test).mean()
    assert real > 0.9
    assert abs(real - moved) < 0.05
    wrong = synthetic[0], rng.permutation(synthetic[1])
    assert ev.transfer_correct(*wrong, *test).mean() < 0.6


def test_a_collapsed_class_is_not_decoded(rng):
    """A generator that writes the trials of class 0 under every label."""
    synthetic, labels = trials(rng)
    collapsed = synthetic[labels == 0][rng.integers((labels == 0).sum(), size=len(labels))]
    test = trials(rng)
    correct = ev.transfer_correct(collapsed, labels, *test)
    assert correct.mean() < 0.6


def test_any_classifier_can_read(rng):
    train, test = trials(rng), trials(rng)
    model = LogisticRegression()
    correct = ev.transfer_correct(*train, *test, model=model)
    np.testing.assert_array_equal(correct, model.fit(*train).predict(test[0]) == test[1])
    renamed = ev.transfer_correct(train[0], train[1] * 5 + 2, test[0], test[1] * 5 + 2)
    np.testing.assert_array_equal(renamed, ev.transfer_correct(*train, *test))


# inception score


def loop_inception(p):
    """Definition, trial by trial."""
    marginal = p.mean(axis=0)
    return np.exp(np.mean([sum(x * np.log(x / m) for x, m in zip(row, marginal, strict=True)
                               if x > 0) for row in p]))  # fmt: skip


def test_the_inception_score_is_its_definition(rng):
    p = rng.dirichlet(np.full(5, 0.3), size=40)
    assert ev.inception_score(p, corrected=False) == pytest.approx(loop_inception(p))
    logs = np.log([loop_inception(np.delete(p, i, axis=0)) for i in range(40)])
    jackknife = 40 * np.log(loop_inception(p)) - 39 * logs.mean()
    assert ev.inception_score(p) == pytest.approx(np.exp(jackknife))


@pytest.mark.parametrize("corrected", [True, False])
def test_the_inception_score_at_its_two_ends(corrected):
    certain = np.eye(6)[np.tile(np.arange(6), 5)]
    assert ev.inception_score(certain, corrected=corrected) == pytest.approx(6)
    same = np.tile([0.2, 0.5, 0.3], (9, 1))
    assert ev.inception_score(same, corrected=corrected) == pytest.approx(1)
    assert ev.inception_score(np.eye(6)[np.zeros(9, int)], corrected=corrected) == pytest.approx(1)


def test_few_trials_make_it_too_small_and_the_correction_mends_most_of_it(rng):
    alpha = np.full(8, 0.4)
    truth = np.log(ev.inception_score(rng.dirichlet(alpha, size=200_000), corrected=False))
    draws = rng.dirichlet(alpha, size=(1500, 16))
    plain, mended = (
        np.mean([np.log(ev.inception_score(p, corrected=c)) for p in draws]) - truth
        for c in (False, True)
    )
    variance = (1 / 8) * (7 / 8) / (8 * 0.4 + 1)
    assert plain == pytest.approx(-8 * variance * 8 / (2 * 16), rel=0.3)
    assert abs(mended) < 0.25 * abs(plain)


def test_splits_make_it_smaller_still(rng):
    p = rng.dirichlet(np.full(8, 0.4), size=80)
    in_splits = np.mean([ev.inception_score(part, corrected=False) for part in np.split(p, 10)])
    assert in_splits < 0.95 * ev.inception_score(p, corrected=False)


def judged(train, labels, generated):
    """Inception score of generated trials, by a classifier of the given training trials."""
    return ev.inception_score(ev.class_probabilities(train, labels, generated))


def test_a_classifier_that_saw_generated_trials_inflates_the_score(rng):
    """A generator whose trials carry their label in a feature that is silent in recorded trials."""
    labels = np.repeat(np.arange(N_CLASSES), 30)
    real = np.column_stack([trials(rng)[0], np.zeros((120, N_CLASSES))])
    marked = np.column_stack([rng.normal(size=(240, 6)), 3 * np.eye(N_CLASSES)[np.tile(labels, 2)]])
    train, test = marked[::2], marked[1::2]
    told = np.concatenate([real, train]), np.concatenate([labels, np.tile(labels, 2)[::2]])
    # trials without the mark: what a classifier of recorded trials can make of such noise
    unmarked = np.column_stack([test[:, :6], np.zeros((120, N_CLASSES))])
    honest = judged(real, labels, test)
    assert honest == pytest.approx(judged(real, labels, unmarked))
    assert judged(*told, test) > 1.3 * honest
    # judged on a mixture, as the original did, recorded trials raise it too
    held_out = np.column_stack([trials(rng)[0], np.zeros((120, N_CLASSES))])
    assert judged(*told, np.concatenate([test, held_out])) > 1.3 * honest


def test_a_classifier_that_saw_mislabelled_trials_deflates_the_score(rng):
    """A generator that ignores its label: trials show a stimulus, but not the one asked for."""
    real, labels = trials(rng)
    written, shown = trials(rng, 60)
    asked = rng.permutation(shown)
    honest = judged(real, labels, written[1::2])
    mixed = np.concatenate([real, written[::2]]), np.concatenate([labels, asked[::2]])
    assert honest > 0.7 * N_CLASSES
    assert judged(*mixed, written[1::2]) < 0.75 * honest


def test_recorded_test_trials_have_the_score_to_compare_with(rng):
    train, labels = trials(rng, apart=0.5)
    scores = [judged(train, labels, trials(rng, apart=0.5)[0]) for _ in range(3)]
    assert 1 < min(scores) <= max(scores) < N_CLASSES
    assert np.ptp(scores) < 0.5


def test_probabilities_add_up_to_one(rng):
    train, test = trials(rng), trials(rng)
    p = ev.class_probabilities(*train, test[0])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == test[1]).mean() > 0.9


# memorisation


def test_nearest_distances_are_those_of_the_nearest_of_the_stimulus(rng):
    (x, labels), (y, other) = trials(rng, 5), trials(rng, 8)
    found = ev.nearest_distances(x, labels, y, other)
    for row, label, value in zip(x, labels, found, strict=True):
        each = [np.linalg.norm(row - z) for z, s in zip(y, other, strict=True) if s == label]
        assert value == pytest.approx(min(each))


def test_copies_are_found(rng):
    train, test = trials(rng), trials(rng, 10)
    copies = train[0][::2], train[1][::2]
    found = ev.memorisation(*copies, *test, *train, rng=rng, n_permutations=200)
    assert found.auroc == 1
    assert found.p_value == 1 / 201
    assert (found.generated == 0).all()
    share, chance = ev.nearest_is_training(*copies, *train, *test)
    assert (share == 1).all()
    np.testing.assert_allclose(chance, 30 / 40)
    nearly = copies[0] + 0.1 * rng.normal(size=copies[0].shape), copies[1]
    assert ev.memorisation(*nearly, *test, *train, rng=rng).auroc > 0.99


def test_new_trials_are_as_near_as_held_out_ones():
    rng = np.random.default_rng(5)
    found = [
        ev.memorisation(*(x for _ in range(2) for x in trials(rng, 10)), *trials(rng), rng=rng,
                        n_permutations=99)
        for _ in range(60)
    ]  # fmt: skip
    areas, p_values = np.array([(one.auroc, one.p_value) for one in found]).T
    # s.e. of one area: sqrt((n + m + 1) / 12 n m / classes)
    error = np.sqrt(21 / 1200 / N_CLASSES)
    assert areas.mean() == pytest.approx(0.5, abs=4 * error / np.sqrt(60))
    assert areas.std() == pytest.approx(error, rel=0.3)
    assert (p_values < 0.1).mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 60))


def test_the_area_is_that_of_mann_and_whitney(rng):
    """Oracle: scipy's test within each stimulus, on whole numbers, which tie."""
    (x, a), (y, b), (z, c) = (trials(rng, n) for n in (7, 9, 12))
    x, y, z = (one.round() for one in (x, y, z))
    found = ev.memorisation(x, a, y, b, z, c, rng=rng, n_permutations=10)
    below = 0.0
    for s in range(N_CLASSES):
        far, near = found.held_out[b == s], found.generated[a == s]
        below += mannwhitneyu(far, near).statistic
    assert found.auroc == pytest.approx(below / (N_CLASSES * 7 * 9))


def test_trials_that_vary_too_little_look_like_copies_to_the_rank_test_alone(rng):
    train, test, narrow = trials(rng), trials(rng), trials(rng)
    centres = np.stack([train[0][train[1] == s].mean(axis=0) for s in range(N_CLASSES)])
    narrow = centres[narrow[1]] + 0.3 * (narrow[0] - centres[narrow[1]]), narrow[1]
    assert ev.memorisation(*narrow, *test, *train, rng=rng).auroc > 0.8
    share, chance = ev.nearest_is_training(*narrow, *train, *test)
    assert abs(share.mean() - chance.mean()) < 0.2


def test_ties_between_training_and_held_out_count_as_chance():
    ones, label = np.ones((4, 2)), np.zeros(4, int)
    share, chance = ev.nearest_is_training(ones[:2], label[:2], ones, label, ones[:1], label[:1])
    assert share.tolist() == chance.tolist() == [0.8, 0.8]
    found = ev.memorisation(
        ones, label, ones, label, ones, label, rng=np.random.default_rng(0), n_permutations=20
    )
    assert (found.auroc, found.p_value) == (0.5, 1.0)


# neighbours


def loop_scores(real, generated, k):
    """Definitions of precision, density, recall and coverage, by sklearn's neighbours."""
    radius = {}
    for name, x in (("real", real), ("generated", generated)):
        radius[name] = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]
    inside = np.array([[np.linalg.norm(x - y) <= r for y in generated]
                       for x, r in zip(real, radius["real"], strict=True)])  # fmt: skip
    other = np.array([[np.linalg.norm(x - y) <= r for x in real]
                      for y, r in zip(generated, radius["generated"], strict=True)])  # fmt: skip
    return inside.any(0), inside.sum(0) / k, other.any(0), inside.any(1)


def test_scores_of_neighbours_are_their_definition(rng):
    (x, a), (y, b) = trials(rng, 12), trials(rng, 9)
    found = ev.neighbour_scores(x, a, y, b, n_neighbours=3)
    for s in range(N_CLASSES):
        precision, density, recall, coverage = loop_scores(x[a == s], y[b == s], 3)
        np.testing.assert_array_equal(found.precision[b == s], precision)
        np.testing.assert_allclose(found.density[b == s], density)
        np.testing.assert_array_equal(found.recall[a == s], recall)
        np.testing.assert_array_equal(found.coverage[a == s], coverage)


def test_two_sets_of_one_population_reach_what_is_expected():
    rng = np.random.default_rng(8)
    found = [
        ev.neighbour_scores(*trials(rng, 14), *trials(rng, 10), n_neighbours=3) for _ in range(80)
    ]
    coverage = np.array([one.coverage.mean() for one in found])
    density = np.array([one.density.mean() for one in found])
    for values, expected in ((coverage, ev.expected_coverage(14, 10, 3)), (density, 1)):
        error = values.std() / np.sqrt(80)
        assert values.mean() == pytest.approx(expected, abs=4 * error)
        assert error < 0.03


def test_expected_coverage_counts_orders():
    """Oracle: all orders of distance in which the others may lie."""
    n, m, k = 4, 3, 2
    others = [0] * (n - 1) + [1] * m
    hit = [any(order[:k]) for order in itertools.permutations(others)]
    assert ev.expected_coverage(n, m, k) == pytest.approx(np.mean(hit))


def test_a_mode_left_out_loses_coverage_and_odd_trials_lose_precision(rng):
    real, labels = trials(rng, 40)
    again, _ = trials(rng, 40)
    side = np.where(rng.random(160) < 0.5, 6.0, -6.0)
    real[:, 0] += side
    again[:, 0] += 6.0  # one of two modes
    found = ev.neighbour_scores(real, labels, again, labels)
    assert found.coverage[side > 0].mean() > 0.75
    assert found.coverage[side < 0].mean() == found.recall[side < 0].mean() == 0
    assert found.precision.mean() > 0.6
    odd = again.copy()
    odd[labels == 2, 1] += 20.0
    found = ev.neighbour_scores(real, labels, odd, labels)
    assert found.precision[labels == 2].mean() == found.coverage[labels == 2].mean() == 0
    assert found.precision[labels != 2].mean() > 0.6


def test_silent_trials_are_neighbours_of_silent_trials():
    silent, label = np.zeros((5, 3)), np.zeros(5, int)
    found = ev.neighbour_scores(silent, label, silent, label, n_neighbours=2)
    assert found.precision.all()
    assert found.coverage.all()
    np.testing.assert_allclose(found.density, 5 / 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_order_of_trials_and_features_and_names_of_stimuli_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    (x, a), (y, b), (z, c) = (trials(rng, 9) for _ in range(3))
    columns, rows = rng.permutation(6), rng.permutation(len(a))
    before = ev.neighbour_scores(x, a, y, b, n_neighbours=2)
    after = ev.neighbour_scores(
        x[rows][:, columns], a[rows] + 4, y[:, columns], b + 4, n_neighbours=2
    )
    np.testing.assert_array_equal(after.coverage, before.coverage[rows])
    np.testing.assert_array_equal(after.precision, before.precision)
    areas = [
        ev.memorisation(x[order][:, columns], a[order], y[:, columns], b, z[:, columns], c,
                        rng=np.random.default_rng(0), n_permutations=5).auroc
        for order in (rows, np.arange(len(a)))
    ]  # fmt: skip
    assert areas[0] == pytest.approx(areas[1])


X, A = np.zeros((8, 2)), np.repeat([0, 1], 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: ev.two_sample_svm_correct(X, X[:, :1], rng=rng), "same features"),
        (lambda rng: ev.two_sample_svm_correct(X[:3], X, rng=rng), "rarest label"),
        (lambda rng: ev.two_sample_svm_correct(X, X + np.nan, rng=rng), "must be finite"),
        (lambda rng: ev.transfer_correct(X, A, X, A + 1), r"stimuli \[2\]"),
        (lambda rng: ev.transfer_correct(X, A[:3], X, A), "one label a trial"),
        (lambda rng: ev.class_probabilities(X, A, X[None]), "same features"),
        (lambda rng: ev.inception_score(np.ones((4, 2))), "adding up to 1"),
        (lambda rng: ev.inception_score(np.ones((1, 1))), "at least two"),
        (lambda rng: ev.inception_score(np.full((4, 2), np.nan)), "adding up to 1"),
        (lambda rng: ev.nearest_distances(X, A, X[:4], A[:4]), r"stimuli \[1\]"),
        (lambda rng: ev.memorisation(X[:4], A[:4], X, A, X, A, rng=rng), "both need the same"),
        (lambda rng: ev.nearest_is_training(X, A, X, A, X[:4], A[:4]), r"stimuli \[1\]"),
        (lambda rng: ev.neighbour_scores(X, A, X, A, n_neighbours=4), "fewer neighbours"),
        (lambda rng: ev.neighbour_scores(X, A, X, A, n_neighbours=0), "1 or more"),
        (lambda rng: ev.neighbour_scores(X, A, X, A + 1, n_neighbours=1), r"stimuli \[0, 2\]"),
        (lambda rng: ev.expected_coverage(5, 5, 5), "fewer than recorded"),
        (lambda rng: ev.expected_coverage(5, 0, 2), "generated trials"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)
