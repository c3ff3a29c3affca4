"""Discriminant analysis against scikit-learn, both of its forms against each other."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError

from visualcortex.evaluation import shuffled_folds
from visualcortex.models.readouts import ShrinkageLDA, held_out_decisions

FORMS = [(300, 20), (80, 150)]  # more trials than neurons, and fewer


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def tuned(rng, n_trials, n_neurons, strength=0.5, n_classes=5):
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n_trials)])
    labels = np.concatenate([labels, labels[:n_classes]])[-n_trials:]
    means = strength * rng.normal(size=(n_classes, n_neurons))
    mixing = np.eye(n_neurons) + 0.2 * rng.normal(size=(n_neurons, n_neurons))
    noise = rng.normal(size=(n_trials, n_neurons)) @ mixing
    return (means[labels] + noise + 3).astype(np.float32), labels


def relative(decisions):
    """What is added to all classes alike decides nothing."""
    return decisions - decisions.mean(axis=1, keepdims=True)


def oracle(features, labels, shrinkage):
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    return model.fit(features.astype(float), labels)


@pytest.mark.parametrize("shape", FORMS)
@pytest.mark.parametrize("shrinkage", [0.02, 0.5, 1.0])
def test_decisions_are_those_of_scikit_learn(rng, shape, shrinkage):
    features, labels = tuned(rng, *shape)
    test = features[:50] + rng.normal(size=(50, shape[1])).astype(np.float32)
    peer = oracle(features, labels, shrinkage)
    ours = ShrinkageLDA(shrinkage, priors="empirical").fit(features, labels)
    expected = relative(peer.decision_function(test.astype(float)))
    scale = np.abs(expected).max()
    assert np.abs(relative(ours.decision_function(test)) - expected).max() < 1e-4 * scale
    assert np.array_equal(ours.predict(test), peer.predict(test.astype(float)))
    assert np.allclose(ours.predict_proba(test), peer.predict_proba(test.astype(float)), atol=1e-2)
    assert np.allclose(ours.predict_proba(test).sum(axis=1), 1, atol=1e-5)


def test_without_shrinkage_too_where_there_are_trials_enough(rng):
    features, labels = tuned(rng, 300, 20)
    expected = relative(oracle(features, labels, 0.0).decision_function(features.astype(float)))
    ours = ShrinkageLDA(0, priors="empirical").fit(features, labels)
    assert np.allclose(relative(ours.decision_function(features)), expected, atol=1e-2)


@pytest.mark.parametrize("shape", FORMS)
def test_balanced_priors_differ_by_the_logarithms_of_the_shares(rng, shape):
    features, labels = tuned(rng, *shape)
    balanced, empirical = (
        ShrinkageLDA(priors=p).fit(features, labels).decision_function(features)
        for p in ("balanced", "empirical")
    )
    log_share = np.log(np.bincount(labels) / len(labels))
    assert np.allclose(empirical - balanced, log_share - np.log(1 / 5), atol=1e-2)


def test_both_forms_are_one_method(rng):
    # neurons that never respond change the form but, with the shrinkage adjusted, not the model
    features, labels = tuned(rng, 60, 30)
    silent = np.zeros((60, 100), dtype=np.float32)
    wide = np.hstack([features, silent])
    share = 0.1 / 0.9 * 130 / 30  # s / (1 - s) * N makes the same multiple of the identity
    narrow = ShrinkageLDA(0.1).fit(features, labels)
    padded = ShrinkageLDA(share / (1 + share)).fit(wide, labels)
    # all of Sigma, hence all log-ratios, are scaled by the ratio of the two (1 - s)
    scale = 0.9 * (1 + share)
    assert np.allclose(
        relative(padded.decision_function(wide)) / scale,
        relative(narrow.decision_function(features)),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("shape", FORMS)
def test_names_of_classes_and_order_of_neurons_do_not_matter(rng, shape):
    features, labels = tuned(rng, *shape)
    names = np.array(["mouse", "cat", "bird", "hole", "nest"])
    plain = ShrinkageLDA().fit(features, labels)
    named = ShrinkageLDA().fit(features, names[labels])
    assert named.classes_.tolist() == sorted(names)
    assert np.array_equal(named.predict(features), names[plain.predict(features)])
    order = rng.permutation(shape[1])
    permuted = ShrinkageLDA().fit(features[:, order], labels)
    assert np.allclose(permuted.coef_, plain.coef_[:, order], rtol=1e-2, atol=1e-3)


def test_accuracy_approaches_that_of_the_optimal_readout(rng):
    # two normal classes at distance 2: the best possible readout errs with probability Phi(-1)
    labels = rng.integers(2, size=20_000)
    features = rng.normal(size=(20_000, 10)).astype(np.float32)
    features[:, 0] += 2 * labels
    half = 10_000
    fitted = ShrinkageLDA(0.01).fit(features[:half], labels[:half])
    accuracy = np.mean(fitted.predict(features[half:]) == labels[half:])
    assert abs(accuracy - 0.8413) < 4 * np.sqrt(0.8413 * 0.1587 / half)


@pytest.mark.parametrize("shape", FORMS)
@pytest.mark.parametrize("priors", ["balanced", "empirical"])
def test_held_out_decisions_are_the_loop_over_folds(rng, shape, priors):
    features, labels = tuned(rng, *shape)
    folds = shuffled_folds(labels, 4, rng=rng)
    ours = held_out_decisions(features, labels, folds, shrinkage=0.2, priors=priors)
    for fold in range(4):
        test = folds == fold
        fitted = ShrinkageLDA(0.2, priors=priors).fit(features[~test], labels[~test])
        loop = relative(fitted.decision_function(features[test]))
        assert np.abs(relative(ours[test]) - loop).max() < 1e-3 * np.abs(loop).max()


@pytest.mark.parametrize("shape", FORMS)
def test_held_out_decisions_do_not_see_their_labels(rng, shape):
    features, labels = tuned(rng, *shape)
    folds = shuffled_folds(labels, 4, rng=rng)
    before = held_out_decisions(features, labels, folds)
    test = folds == 2
    swapped = labels.copy()
    swapped[test] = rng.permutation(labels[test])
    after = held_out_decisions(features, swapped, folds)
    assert np.allclose(relative(after[test]), relative(before[test]), rtol=1e-3, atol=1e-2)
    assert not np.allclose(relative(after[~test]), relative(before[~test]), rtol=1e-3, atol=1e-2)


def test_labels_without_relation_are_decided_at_chance(rng):
    features = rng.normal(size=(600, 40))
    labels = np.repeat(np.arange(3), 200)
    decisions = held_out_decisions(features, labels, shuffled_folds(labels, 5, rng=rng))
    accuracy = np.mean(decisions.argmax(axis=1) == labels)
    assert abs(accuracy - 1 / 3) < 4 * np.sqrt(2 / 9 / 600)


def test_it_is_a_scikit_learn_estimator(rng):
    features, labels = tuned(rng, 300, 20)
    model = clone(ShrinkageLDA(0.3, priors="empirical"))
    assert model.get_params() == {"shrinkage": 0.3, "priors": "empirical", "device": "auto"}
    assert model.fit(features, labels).score(features, labels) > 0.5
    with pytest.raises(NotFittedError):
        ShrinkageLDA().predict(features)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: ShrinkageLDA(1.5).fit(x, y), "from 0 to 1"),
        (lambda x, y: ShrinkageLDA(priors="flat").fit(x, y), "priors must be one of"),
        (lambda x, y: ShrinkageLDA().fit(x, y[:-1]), "one label a trial"),
        (lambda x, y: ShrinkageLDA().fit(x, 0 * y), "at least two classes"),
        (lambda x, y: ShrinkageLDA(0).fit(x[:12], y[:12]), "raise shrinkage"),
        (lambda x, y: ShrinkageLDA(0).fit(0 * x, y), "no inverse"),
        (lambda x, y: ShrinkageLDA().fit(x, y).predict(x[:, :3]), "10 neurons that were fitted"),
        (lambda x, y: held_out_decisions(x, y, y[:3]), "one fold for each"),
        (lambda x, y: held_out_decisions(x, y, y), r"lacks classes \[0\]"),
        (
            lambda x, y: held_out_decisions(np.hstack([x, x]), y, np.arange(30) % 2, shrinkage=0),
            "at most 12 of 20",
        ),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(30, 10)), np.tile([0, 1, 2], 10))
