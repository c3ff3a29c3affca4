"""Held-out predictions: who trains, who chooses, who is tested."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from visualcortex.evaluation.categories import balanced_accuracy
from visualcortex.evaluation.held_out import held_out_predictions, rotating_parts
from visualcortex.evaluation.reliability import cvpca, power_law
from visualcortex.simulators.power_law import power_law_halves

FOLDS = np.arange(120) % 5


def test_every_trial_is_tested_once_and_parts_do_not_meet():
    tested = np.zeros(len(FOLDS), int)
    for train, validation, test in rotating_parts(FOLDS):
        tested[test] += 1
        assert len({*train, *validation, *test}) == len(train) + len(validation) + len(test)
        assert len(np.unique(FOLDS[validation])) == len(np.unique(FOLDS[test])) == 1
    assert (tested == 1).all()


def test_two_folds_are_too_few():
    with pytest.raises(ValueError, match="three folds"):
        list(rotating_parts(np.arange(10) % 2))


class Memory(ClassifierMixin, BaseEstimator):
    """Knows the label of what it has seen; says 9 of all else."""

    def fit(self, X, y):
        self.seen_ = dict(zip(X[:, 0], y, strict=True))
        return self

    def predict(self, X):
        return np.array([self.seen_.get(x, 9) for x in X[:, 0]])


class Stopping(Memory):
    """Takes validation trials, and remembers them too."""

    def fit(self, X, y, validation, places):
        assert places == "here"
        super().fit(X, y)
        self.seen_ |= dict(zip(validation[0][:, 0], validation[1], strict=True))
        return self

    def predict(self, X, places):
        return super().predict(X)


def test_no_trial_is_predicted_by_one_that_has_seen_it():
    features, labels = np.arange(120.0)[:, None], np.arange(120) % 3
    for candidates, arguments in [([Memory()], {}), ([Memory(), Memory()], {})]:
        assert (
            held_out_predictions(candidates, features, labels, FOLDS, progress=False, **arguments)[
                0
            ]
            == 9
        ).all()
    result = held_out_predictions(
        [Stopping()], features, labels, FOLDS, progress=False, places="here"
    )
    assert (result.predicted == 9).all()
    assert result.validation == 1


def test_the_candidate_is_chosen_on_validation_and_labels_decide_nothing_by_themselves():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = rng.normal(size=(120, 4)) + np.eye(3, 4)[labels] * 4
    good, bad = LogisticRegression(), LogisticRegression(C=1e-9, fit_intercept=False)
    alone = held_out_predictions([good], features, labels, FOLDS, progress=False)
    assert balanced_accuracy(alone.predicted == labels, labels) > 0.9
    chosen = held_out_predictions([bad, good], features, labels, FOLDS, progress=False)
    assert balanced_accuracy(chosen.predicted == labels, labels) > 0.9
    shuffled = rng.permutation(labels)
    chance = held_out_predictions([good], features, shuffled, FOLDS, progress=False).predicted
    assert abs((chance == shuffled).mean() - 1 / 3) < 0.15


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="one label and one fold"):
        held_out_predictions([Memory()], np.zeros((4, 1)), np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("exponent", [0.7, 1.3])
def test_power_law_halves_have_the_exponent_and_the_share_of_signal(exponent):
    rng = np.random.default_rng(1)
    first, second = power_law_halves(exponent, 300, 400, signal_variance=0.999, rng=rng)
    assert power_law(cvpca(first, second, n_shuffles=1, rng=rng), (3, 100)).exponent == (
        pytest.approx(exponent, abs=0.05)
    )
    loadings = rng.normal(size=(400, 3))
    first, second = power_law_halves(
        exponent, 300, 400, signal_variance=0.3, loadings=loadings, rng=rng
    )
    covariance = ((first - first.mean(0)) * (second - second.mean(0))).mean()
    assert covariance / first.var(axis=0).mean() == pytest.approx(0.3, abs=0.03)


def test_power_law_halves_refuse_nonsense():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        power_law_halves(1, 30, 40, signal_variance=1.0, rng=rng)
    with pytest.raises(ValueError, match="40 rows"):
        power_law_halves(1, 30, 40, signal_variance=0.5, loadings=np.ones((3, 1)), rng=rng)
