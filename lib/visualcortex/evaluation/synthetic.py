"""Judges of generated trials: classifiers, copies of training trials, and what is missing.

Everything here takes trials as (trial, feature) arrays: `trial_rates`, `PopulationFeatures`, or
frames in one row. Scores are returned trial by trial where they can be, so that intervals can be
put around their mean (`bootstrap_mean`). Read each beside the same score of recorded trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import entr
from scipy.stats import rankdata
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from visualcortex.evaluation.splits import shuffled_folds


class Memorisation(NamedTuple):
    """Whether generated trials lie nearer to the training trials than recorded ones do."""

    auroc: float
    p_value: float
    generated: np.ndarray
    held_out: np.ndarray


class NeighbourScores(NamedTuple):
    """What generated trials hit and miss of the recorded ones, trial by trial."""

    precision: np.ndarray
    density: np.ndarray
    recall: np.ndarray
    coverage: np.ndarray


def two_sample_svm_correct(
    real: np.ndarray,
    generated: np.ndarray,
    *,
    rng: np.random.Generator,
    n_folds: int = 5,
    inverse_regularisation: float = 1.0,
) -> np.ndarray:
    """Whether each trial is told to be recorded or generated, by a support-vector machine.

    As `two_sample_correct`, whose classifier is linear, with a Gaussian kernel: it sees differences
    in spread and shape that leave the means alone. 0.5 is ideal. Bias: the mean is a lower bound on
    how well the two can be told apart, and grows with the number of trials. The larger set is
    thinned at random to the size of the smaller.

    Parameters
    ----------
    real, generated : (n_trials, n_features) array
        Recorded test trials, which the generator never saw, and generated ones of the same stimuli.
    rng : numpy.random.Generator
        Source of the folds and the thinning.
    n_folds : int
        Number of cross-validation folds.
    inverse_regularisation : float
        C of `sklearn.svm.SVC`. Fixed, not tuned; the kernel's width is one over the number of
        features, which are standardised on the training folds.

    Returns
    -------
    (2 n,) array of bool
        First the n real trials, then the n generated ones, n being the size of the smaller set.

    Raises
    ------
    ValueError
        If the two have different features, or there are fewer trials than folds.

    References
    ----------
    Lopez-Paz, D. & Oquab, M. (2017). Revisiting classifier two-sample tests. ICLR.
    """
    sets = _features(real=real, generated=generated)
    n = min(map(len, sets))
    features = np.concatenate([x[np.sort(rng.permutation(len(x))[:n])] for x in sets])
    label = np.repeat([0, 1], n)
    split = PredefinedSplit(shuffled_folds(label, n_folds, rng=rng))
    return cross_val_predict(_svm(inverse_regularisation), features, label, cv=split) == label


def transfer_correct(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    model: ClassifierMixin | None = None,
) -> np.ndarray:
    """Whether the stimulus of each test trial is decoded by a readout trained on other trials.

    Trained on generated trials and tested on recorded ones (Esteban et al. 2017), it says whether
    what tells stimuli apart in the recording was written too; the ceiling is the same readout
    trained on recorded trials, of the same number. Trained on recorded and tested on generated
    trials, it says whether generated trials show the stimulus that they were asked for. Bias:
    unbiased for readouts trained on that many trials; more generated trials than recorded ones make
    a readout better without being better trials. Neither says anything about variability.

    Parameters
    ----------
    train : (n_train, n_features) array
        Generated, or recorded, trials.
    train_labels : (n_train,) array of int
        Their stimuli.
    test : (n_test, n_features) array
        Trials that neither readout nor generator has seen.
    test_labels : (n_test,) array of int
        Their stimuli, all among `train_labels`.
    model : classifier of scikit-learn's kind, optional
        By default a support-vector machine with Gaussian kernel, C = 1, features standardised on
        `train`.

    Returns
    -------
    (n_test,) array of bool

    Raises
    ------
    ValueError
        If features or labels do not fit, or a test label has no training trial.

    References
    ----------
    Esteban, C., Hyland, S. L. & Rätsch, G. (2017). arXiv:1706.02633.
    """
    train, test = _features(train=train, test=test)
    train_labels, test_labels = _labels(train_labels, train), _labels(test_labels, test)
    _check_known(test_labels, train_labels)
    fitted = clone(_svm() if model is None else model).fit(train, train_labels)
    return fitted.predict(test) == test_labels


def class_probabilities(
    train: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    *,
    model: ClassifierMixin | None = None,
) -> np.ndarray:
    """Probability of each stimulus, trial by trial, by a classifier trained on other trials.

    For `inception_score`, the training trials must be *recorded* ones that the judged trials are
    not among. A classifier that knows generated trials scores what it was told of them, not what
    they show. Bias: probabilities are as overconfident as the classifier, and the score with them.

    Parameters
    ----------
    train : (n_train, n_features) array
        Recorded training trials.
    train_labels : (n_train,) array of int
        Their stimuli.
    features : (n_trials, n_features) array
        The trials to be judged.
    model : classifier of scikit-learn's kind with `predict_proba`, optional
        By default multinomial logistic regression, C = 1, features standardised on `train`.

    Returns
    -------
    (n_trials, n_stimuli) array
        Rows add up to 1; stimuli in ascending order.

    Raises
    ------
    ValueError
        If features or labels do not fit.
    """
    train, features = _features(train=train, features=features)
    labels = _labels(train_labels, train)
    if model is None:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return clone(model).fit(train, labels).predict_proba(features)


def inception_score(probabilities: np.ndarray, *, corrected: bool = True) -> float:
    r"""Inception score: how surely, and how evenly, trials are assigned to stimuli.

    :math:`\exp \langle \mathrm{KL}(p(y|x) \,\|\, p(y)) \rangle_x`, with :math:`p(y)` the mean of
    :math:`p(y|x)` over the trials (Salimans et al. 2016). 1 if all trials get the same
    probabilities; at most the number of stimuli. Its value for recorded test trials is the mark to
    read it against, not the maximum. It does not ask whether a trial shows the stimulus it was
    asked for, nor whether two trials differ.

    Bias: :math:`p(y)` is estimated from the same n trials, which makes the logarithm too small
    by about :math:`\sum_y \mathrm{Var}(p(y|x)) / (2 n\, p(y))`; of splits of the trials, as often
    averaged, by as much more as they are smaller. The correction is the jackknife, which leaves a
    bias of order :math:`1/n^2`, and an overcorrection where the stimuli of the trials were
    balanced by design; the result is cut off at 1 and at the number of stimuli.

    Parameters
    ----------
    probabilities : (n_trials, n_stimuli) array
        From `class_probabilities`, trained on recorded trials alone.
    corrected : bool
        Whether to apply the jackknife.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If rows are not probabilities, or there are fewer than two trials.

    References
    ----------
    Salimans, T. et al. (2016). Improved techniques for training GANs. NeurIPS.
    Barratt, S. & Sharma, R. (2018). A note on the inception score. arXiv:1801.01973.
    """
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or len(p) < 2 or not ((p >= 0).all() and np.allclose(p.sum(axis=1), 1)):
        raise ValueError(
            "probabilities must be (trial, stimulus), at least two trials, rows adding up to 1; "
            f"got an array of shape {p.shape}"
        )
    n, n_stimuli = p.shape
    own = entr(p).sum(axis=1)
    information = entr(p.mean(axis=0)).sum() - own.mean()
    if corrected:
        others = np.maximum(p.sum(axis=0) - p, 0) / (n - 1)  # (B, S) means without one trial
        without = entr(others).sum(axis=1) - (own.sum() - own) / (n - 1)
        information = n * information - (n - 1) * without.mean()
    return float(np.clip(np.exp(information), 1, n_stimuli))


def nearest_distances(
    trials: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray
) -> np.ndarray:
    """Euclidean distance of each trial to the nearest other one of the same stimulus.

    Bias: shrinks as the number of `others` grows; compare only distances to the same set.

    Parameters
    ----------
    trials : (n_trials, n_features) array
        Rates, or frames in one row: then the squared distance of binary frames is the number of
        them that differ.
    labels : (n_trials,) array of int
        Their stimuli, all among `other_labels`.
    others : (n_others, n_features) array
        For one, the training trials.
    other_labels : (n_others,) array of int
        Their stimuli.

    Returns
    -------
    (n_trials,) array
        In the unit of the features.

    Raises
    ------
    ValueError
        If features or labels do not fit, or a stimulus has no other trial.
    """
    trials, others = _features(trials=trials, others=others)
    labels, other_labels = _labels(labels, trials), _labels(other_labels, others)
    _check_known(labels, other_labels)
    nearest = np.empty(len(trials))
    for stimulus in np.unique(labels):
        mine = labels == stimulus
        nearest[mine] = cdist(trials[mine], others[other_labels == stimulus]).min(axis=1)
    return nearest


def memorisation(
    generated: np.ndarray,
    generated_labels: np.ndarray,
    held_out: np.ndarray,
    held_out_labels: np.ndarray,
    training: np.ndarray,
    training_labels: np.ndarray,
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> Memorisation:
    r"""Whether generated trials lie nearer to training trials than other recorded ones do.

    The area under the ROC curve is the probability that the nearest training trial is nearer to a
    generated than to a held-out trial of the same stimulus, ties counted half: 0.5 is ideal, copies
    give 1 (where no held-out trial equals a training trial). The p-value is that of a one-sided
    permutation test, which exchanges generated and held-out trials within stimuli:
    :math:`(1 + \#\{A^* \ge A\}) / (1 + n)` (the rank test of Meehan et al. 2020, given stimulus).

    Bias: unbiased, but not only copies raise it. Trials that vary too little lie near to all
    others, training trials included; trials that vary too much lie far and hide copies among them.
    `nearest_is_training` asks for copies alone. Slow drift within the recording puts held-out
    trials farther off than chance does.

    Parameters
    ----------
    generated, held_out, training : (n, n_features) array
        Trials; no held-out trial is among the training trials.
    generated_labels, held_out_labels, training_labels : (n,) array of int
        Their stimuli; the same ones in generated and held-out trials.
    rng : numpy.random.Generator
        Source of the permutations.
    n_permutations : int
        n.

    Returns
    -------
    Memorisation
        AUROC (over all pairs of a generated and a held-out trial of the same stimulus), p-value,
        and the distances of both sets to their nearest training trials.

    Raises
    ------
    ValueError
        If features or labels do not fit, or the two sets hold different stimuli.

    References
    ----------
    Meehan, C., Chaudhuri, K. & Dasgupta, S. (2020). A non-parametric test to detect data-copying in
    generative models. AISTATS.
    """
    sets = (generated, generated_labels), (held_out, held_out_labels)
    near, far = (nearest_distances(*one, training, training_labels) for one in sets)
    if not np.array_equal(np.unique(generated_labels), np.unique(held_out_labels)):
        raise ValueError(
            f"generated trials show stimuli {np.unique(generated_labels).tolist()} and held-out "
            f"ones {np.unique(held_out_labels).tolist()}: both need the same"
        )
    smaller, n_pairs = np.zeros(n_permutations + 1), 0
    for stimulus in np.unique(generated_labels):
        x, y = near[generated_labels == stimulus], far[held_out_labels == stimulus]
        smaller += _pairs_in_order(x, y, rng, n_permutations)
        n_pairs += len(x) * len(y)
    # ranks with ties are halves: their sums carry no rounding that could part equal ones
    p_value = (1 + np.count_nonzero(smaller[1:] >= smaller[0])) / (1 + n_permutations)
    return Memorisation(float(smaller[0] / n_pairs), p_value, near, far)


def nearest_is_training(
    generated: np.ndarray,
    generated_labels: np.ndarray,
    training: np.ndarray,
    training_labels: np.ndarray,
    held_out: np.ndarray,
    held_out_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the recorded trial nearest to each generated one is a training trial, and chance.

    A generator that learned the population and nothing of the single trials lies as near to a
    held-out trial as to a training trial of the same stimulus, whatever the spread of what it
    writes. Chance is therefore the share of training trials among the recorded ones of the
    stimulus; copies give 1. Bias: unbiased where training and held-out trials could be exchanged;
    a fit that follows the sample means lies a little above chance without copying.

    Parameters
    ----------
    generated, training, held_out : (n, n_features) array
        Trials.
    generated_labels, training_labels, held_out_labels : (n,) array of int
        Their stimuli.

    Returns
    -------
    share : (n_generated,) array
        1 if the nearest is a training trial, 0 if it is held out; where both are as near, chance.
    chance : (n_generated,) array

    Raises
    ------
    ValueError
        If features or labels do not fit, or a generated stimulus is missing in either set.
    """
    to_training = nearest_distances(generated, generated_labels, training, training_labels)
    to_held_out = nearest_distances(generated, generated_labels, held_out, held_out_labels)
    labels = np.asarray(generated_labels)[:, None]
    n_training = (labels == np.asarray(training_labels)).sum(axis=1)
    chance = n_training / (n_training + (labels == np.asarray(held_out_labels)).sum(axis=1))
    tied = to_training == to_held_out
    return np.where(tied, chance, to_training < to_held_out), chance


def neighbour_scores(
    real: np.ndarray,
    real_labels: np.ndarray,
    generated: np.ndarray,
    generated_labels: np.ndarray,
    *,
    n_neighbours: int = 5,
) -> NeighbourScores:
    """Precision, density, recall and coverage by k nearest neighbours, within stimuli.

    Around each trial lies a ball that reaches to its k-th nearest neighbour in its own set, of the
    same stimulus. *Precision*: share of generated trials in the ball of any recorded trial;
    *recall*: share of recorded trials in the ball of any generated one (Kynkäänniemi et al. 2019).
    *Density*: number of recorded balls around a generated trial, over k; *coverage*: share of
    recorded trials with a generated one in their ball (Naeem et al. 2020). A model that leaves out
    a mode loses recall and coverage; one that writes what does not occur loses precision and
    density.

    Bias: all depend on the numbers of trials and on k. For two sets of one population density is 1
    on average and coverage is `expected_coverage`; precision and recall have no such constant, and
    are less than 1: their ceiling is that of recorded against recorded trials of the same numbers.
    A single odd recorded trial, with a large ball, raises precision.

    Parameters
    ----------
    real, generated : (n, n_features) array
        Recorded trials, none of which the generator has seen, and generated ones.
    real_labels, generated_labels : (n,) array of int
        Their stimuli, the same ones, each with more than k trials in either set.
    n_neighbours : int
        k.

    Returns
    -------
    NeighbourScores
        precision (bool) and density (n_generated,), recall and coverage (bool) (n_real,). The
        score is the mean; that over the trials of one stimulus is the score of the stimulus.

    Raises
    ------
    ValueError
        If features or labels do not fit, or a stimulus has too few trials in either set.

    References
    ----------
    Kynkäänniemi, T. et al. (2019). Improved precision and recall metric for assessing generative
    models. NeurIPS.
    Naeem, M. F. et al. (2020). Reliable fidelity and diversity metrics for generative models. ICML.
    """
    real, generated = _features(real=real, generated=generated)
    labels = _labels(real_labels, real), _labels(generated_labels, generated)
    stimuli = np.unique(np.concatenate(labels))
    _check_enough(stimuli, labels, n_neighbours)
    precision, density = np.empty(len(generated), bool), np.empty(len(generated))
    recall, coverage = np.empty(len(real), bool), np.empty(len(real), bool)
    for stimulus in stimuli:
        rows, columns = (one == stimulus for one in labels)
        x, y = real[rows], generated[columns]
        distances = cdist(x, y)  # (R, G)
        in_real = distances <= _radii(x, n_neighbours)[:, None]
        in_generated = distances <= _radii(y, n_neighbours)
        precision[columns], density[columns] = in_real.any(0), in_real.sum(0) / n_neighbours
        recall[rows], coverage[rows] = in_generated.any(1), in_real.any(1)
    return NeighbourScores(precision, density, recall, coverage)


def expected_coverage(n_real: int, n_generated: int, n_neighbours: int) -> float:
    r"""Coverage to expect of a perfect generator, for one stimulus.

    :math:`1 - \prod_{i=1}^{k} (n - i) / (n + m - i)` with n recorded and m generated trials: the
    probability that a generated trial is among the k nearest of the other n + m - 1 (Naeem et al.
    2020). Exact, without ties.

    Parameters
    ----------
    n_real, n_generated : int
        n and m, trials of one stimulus.
    n_neighbours : int
        k, less than n.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are too few trials.
    """
    if not (0 < n_neighbours < n_real and n_generated > 0):
        raise ValueError(
            "need 1 or more neighbours, fewer than recorded trials, and generated trials; "
            f"got {n_neighbours}, {n_real} and {n_generated}"
        )
    i = np.arange(1, n_neighbours + 1)
    return float(1 - np.prod((n_real - i) / (n_real + n_generated - i)))


def _svm(inverse_regularisation: float = 1.0) -> Pipeline:
    return make_pipeline(StandardScaler(), SVC(C=inverse_regularisation, gamma="auto"))


def _pairs_in_order(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator, n_permutations: int
) -> np.ndarray:
    """Pairs with x < y, ties counted half; first as they are, then permuted: (n + 1,)."""
    ranks = rankdata(np.concatenate([x, y]))
    n = len(x)
    orders = rng.random((n_permutations, len(ranks))).argsort(axis=1)[:, :n]
    sums = np.append(ranks[:n].sum(), ranks[orders].sum(axis=1))
    return n * len(y) + n * (n + 1) / 2 - sums


def _radii(trials: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Distance of each trial to its k-th nearest other one, (B,)."""
    # the nearest of all is the trial itself, at distance 0
    return np.partition(cdist(trials, trials), n_neighbours, axis=1)[:, n_neighbours]


def _features(**sets: np.ndarray) -> list[np.ndarray]:
    """Return two sets as arrays of numbers, or say which does not fit."""
    arrays = [np.asarray(x, dtype=float) for x in sets.values()]
    shapes = {name: x.shape for name, x in zip(sets, arrays, strict=True)}
    if any(x.ndim != 2 or 0 in x.shape for x in arrays) or len({x.shape[1] for x in arrays}) > 1:
        raise ValueError(
            "need (trial, feature) arrays with the same features (rates, or frames in one row); "
            f"got {shapes}"
        )
    if not all(np.isfinite(x).all() for x in arrays):
        raise ValueError(f"features must be finite; leave out those that are not, of {list(sets)}")
    return arrays


def _labels(labels: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return labels as an array of one a trial, or say what came."""
    labels = np.asarray(labels)
    if labels.shape != (len(trials),):
        raise ValueError(f"need one label a trial, ({len(trials)},); got shape {labels.shape}")
    return labels


def _check_known(labels: np.ndarray, known: np.ndarray) -> None:
    """Raise an error that names the labels without a counterpart."""
    unknown = np.setdiff1d(labels, known)
    if len(unknown):
        raise ValueError(
            f"stimuli {unknown.tolist()} have no trial in the set they are held against: "
            "split within each stimulus"
        )


def _check_enough(
    stimuli: np.ndarray, labels: tuple[np.ndarray, np.ndarray], n_neighbours: int
) -> None:
    """Raise an error that names the stimuli with no more trials than neighbours."""
    counts = np.array([[(one == s).sum() for s in stimuli] for one in labels])
    if n_neighbours < 1 or counts.min() <= n_neighbours:
        short = stimuli[counts.min(axis=0) <= n_neighbours].tolist()
        raise ValueError(
            f"need n_neighbours of 1 or more and more trials than that of each stimulus in both "
            f"sets; got {n_neighbours}, and stimuli {short} have no more. Use fewer neighbours."
        )
