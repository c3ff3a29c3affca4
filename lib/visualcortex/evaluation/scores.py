"""What activity says about the stimulus, and how alike two sets of trials are.

Activity is (trial, time, neuron) or (trial, neuron). Scores of single trials are returned trial by
trial, as truth values, so that intervals can be put around their mean.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from visualcortex.evaluation.splits import shuffled_folds


def trial_rates(activity: np.ndarray) -> np.ndarray:
    """Mean activity of each neuron in each trial: the mean over time, where there is time.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Any unit; the rates have the same.

    Returns
    -------
    (n_trials, n_neurons) array

    Raises
    ------
    ValueError
        If the array has another number of axes.
    """
    activity = np.asarray(activity, dtype=float)
    if activity.ndim not in (2, 3):
        raise ValueError(
            "activity must be (trial, neuron) or (trial, time, neuron); "
            f"got an array of shape {activity.shape}"
        )
    return activity if activity.ndim == 2 else activity.mean(axis=1)


def mean_rates(activity: np.ndarray) -> np.ndarray:
    """Mean activity of each neuron over trials and time, (n_neurons,); unbiased.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Any unit; the means have the same.

    Returns
    -------
    (n_neurons,) array
    """
    return trial_rates(activity).mean(axis=0)


def noise_correlations(activity: np.ndarray, stimulus: np.ndarray) -> np.ndarray:
    r"""Correlation between the neurons' trial rates about their stimulus means.

    With :math:`e_{ri} = x_{ri} - \bar x_{s(r) i}`, the residual of trial r about the mean of its
    stimulus over all its trials, :math:`c_{ij} = \sum_r e_{ri} e_{rj} / \sqrt{\sum_r e_{ri}^2
    \sum_r e_{rj}^2}`: pooled over stimuli.

    Bias: towards zero by about :math:`\rho (1 - \rho^2) / 2 \nu`, with :math:`\nu` the number of
    trials less the number of stimuli. Slow drift within a session counts as noise correlation.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Recorded or generated activity.
    stimulus : (n_trials,) array of int
        Stimulus of each trial.

    Returns
    -------
    (n_neurons, n_neurons) array
        NaN in the rows and columns of neurons whose residuals are all zero.

    Raises
    ------
    ValueError
        If there is not one stimulus a trial, or no stimulus was shown twice.
    """
    rates = trial_rates(activity)
    _, stimulus, counts = np.unique(stimulus, return_inverse=True, return_counts=True)
    if len(stimulus) != len(rates):
        raise ValueError(f"{len(rates)} trials of activity but {len(stimulus)} stimuli")
    if counts.max() < 2:
        raise ValueError("noise correlations need a stimulus that is shown at least twice")
    one_hot = np.eye(len(counts))[stimulus]  # (B, S)
    means = (one_hot.T @ rates) / counts[:, None]  # (S, N)
    residual = rates - means[stimulus]  # (B, N)
    scale = np.linalg.norm(residual, axis=0)
    # what is left of a constant after the subtraction of its mean is rounding, not noise
    scale[scale <= 1e-12 * np.linalg.norm(rates, axis=0)] = np.nan
    return (residual.T @ residual) / np.outer(scale, scale)


def correlation_of_correlations(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation, over pairs of neurons, of two correlation matrices.

    Bias: sampling noise in either matrix pulls it below 1 even when both come from the same
    population. The ceiling to read it against is the same score between two sets of recorded
    trials of the same sizes.

    Parameters
    ----------
    first, second : (n_neurons, n_neurons) array
        Pairs that are NaN in either are left out.

    Returns
    -------
    float
        NaN if fewer than three pairs are left.

    Raises
    ------
    ValueError
        If the two are not square matrices of the same size.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 2 or first.shape[0] != first.shape[1]:
        raise ValueError(
            f"need two square matrices of the same size; got {first.shape} and {second.shape}"
        )
    upper = np.triu_indices(len(first), k=1)
    a, b = first[upper], second[upper]
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[both], b[both])[0, 1]) if both.sum() > 2 else float("nan")


def decoding_correct(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    inverse_regularisation: float = 1.0,
) -> np.ndarray:
    """Whether each trial's label is decoded, by a readout that has not seen the trial.

    Multinomial logistic regression with an L2 penalty; features are standardised with the mean
    and standard deviation of the training folds. The mean of the result estimates, without bias,
    the accuracy of a readout trained on the smaller number of trials of the training folds, hence
    a little less than that of one trained on them all. Whether it says anything about the label
    rather than the time of recording is up to the folds.

    Parameters
    ----------
    features : (n_trials, n_features) array
        For one, `trial_rates`.
    labels : (n_trials,) array of int
        What to decode.
    folds : (n_trials,) array of int
        Fold in which each trial is tested, from `shuffled_folds` or `blocked_folds`.
    inverse_regularisation : float
        C of `sklearn.linear_model.LogisticRegression`. Fixed, not tuned.

    Returns
    -------
    (n_trials,) array of bool

    Raises
    ------
    ValueError
        If the lengths differ, or a label is tested in a fold whose training set lacks it.
    """
    labels, folds = np.asarray(labels), np.asarray(folds)
    _check_trials(features, labels, folds)
    for fold in np.unique(folds):
        unseen = np.setdiff1d(labels[folds == fold], labels[folds != fold])
        if len(unseen):
            raise ValueError(
                f"fold {fold} tests labels that its training set lacks: {unseen.tolist()}; "
                "split within each label (or session), not by row order"
            )
    return _cross_validated(_logistic(inverse_regularisation), features, labels, folds)


def half_of_session_correct(
    features: np.ndarray,
    sessions: np.ndarray,
    *,
    n_folds: int,
    rng: np.random.Generator,
    inverse_regularisation: float = 1.0,
) -> np.ndarray:
    """Whether it is decoded which half of its session a trial belongs to: what time alone tells.

    Each session is decoded by itself, with shuffled folds; chance is 0.5. Where all trials of a
    session have the same stimulus, anything above 0.5 is drift or a state that outlasts a trial
    (neighbours of a test trial are in its training set), and none of it the stimulus; otherwise
    the stimuli must be balanced over the halves for that to hold.
    Slightly below 0.5 without drift (leaving a trial out unbalances the training set against it).

    Parameters
    ----------
    features : (n_trials, n_features) array
        For one, `trial_rates`.
    sessions : (n_trials,) array of int
        Session of each trial; trials in order of recording.
    n_folds : int
        Folds in each session, at most half of the trials of the shortest session.
    rng : numpy.random.Generator
        Source of the shuffle.
    inverse_regularisation : float
        C of `sklearn.linear_model.LogisticRegression`.

    Returns
    -------
    (n_trials,) array of bool

    Raises
    ------
    ValueError
        If the lengths differ, or half a session has fewer trials than there are folds.
    """
    features, sessions = np.asarray(features), np.asarray(sessions)
    _check_trials(features, sessions, sessions)
    correct = np.empty(len(sessions), dtype=bool)
    for session in np.unique(sessions):
        members = np.flatnonzero(sessions == session)
        half = (np.arange(len(members)) >= len(members) / 2).astype(int)
        folds = shuffled_folds(half, n_folds, rng=rng)
        model = _logistic(inverse_regularisation)
        correct[members] = _cross_validated(model, features[members], half, folds)
    return correct


def two_sample_correct(
    real: np.ndarray,
    generated: np.ndarray,
    *,
    rng: np.random.Generator,
    n_folds: int = 5,
) -> np.ndarray:
    """Whether each trial is told to be recorded or generated by a classifier that has not seen it.

    The classifier two-sample test: an accuracy of 0.5 means that this classifier finds no
    difference with this many trials (the ideal), not that there is none. Accuracy is a lower
    bound on how different the two are, and it grows with the number of trials. The larger set is
    thinned at random to the size of the smaller.

    Parameters
    ----------
    real, generated : (n_trials, n_features) array
        For one, `PopulationFeatures` of recorded test trials, which the generator never saw, and
        of generated trials with the same stimuli.
    rng : numpy.random.Generator
        Source of the folds and the thinning.
    n_folds : int
        Number of cross-validation folds.

    Returns
    -------
    (2 n,) array of bool
        First the n real trials, then the n generated ones, n being the size of the smaller set.

    Raises
    ------
    ValueError
        If the two have different features.

    References
    ----------
    Lopez-Paz, D. & Oquab, M. (2017). Revisiting classifier two-sample tests. ICLR.
    """
    real, generated = np.asarray(real, float), np.asarray(generated, float)
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(
            "real and generated must be (trial, feature) arrays with the same features; "
            f"got {real.shape} and {generated.shape}"
        )
    n = min(len(real), len(generated))
    kept = [x[np.sort(rng.permutation(len(x))[:n])] for x in (real, generated)]
    label = np.repeat([0, 1], n)
    folds = shuffled_folds(label, n_folds, rng=rng)
    return _cross_validated(_logistic(), np.concatenate(kept), label, folds)


def energy_distance(
    first: np.ndarray, second: np.ndarray, first_labels: np.ndarray, second_labels: np.ndarray
) -> float:
    r"""Energy distance between two sets of trials, averaged over stimuli.

    For each stimulus :math:`2\,E|X - Y| - E|X - X'| - E|Y - Y'|` (Székely & Rizzo 2013): zero if
    and only if the two distributions are the same. Pairs of a trial with itself are left out, so
    that the estimate is unbiased (and may be negative). Every stimulus weighs the same.

    Parameters
    ----------
    first, second : (n_first, n_features), (n_second, n_features) array
        Trial rates, for one; the distance has their unit.
    first_labels, second_labels : (n_first,), (n_second,) array of int
        Stimulus of each trial.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a stimulus is not held at least twice by both sets.

    References
    ----------
    Székely, G. J. & Rizzo, M. L. (2013). Energy statistics: a class of statistics based on
    distances. Journal of Statistical Planning and Inference 143.
    """
    sets = [(np.asarray(first), np.asarray(first_labels))]
    sets += [(np.asarray(second), np.asarray(second_labels))]
    stimuli = np.unique(np.concatenate([labels for _, labels in sets]))
    counts = np.array([[(labels == s).sum() for s in stimuli] for _, labels in sets])
    if counts.min() < 2:
        short = stimuli[counts.min(axis=0) < 2].tolist()
        raise ValueError(
            "the energy distance needs at least two trials of each stimulus in both sets; "
            f"stimuli {short} have fewer: give this part of the split more trials"
        )
    return float(np.mean([_energy(*(x[labels == s] for x, labels in sets)) for s in stimuli]))


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    return 2 * cdist(x, y).mean() - _spread(x) - _spread(y)


def _spread(x: np.ndarray) -> float:
    """Mean distance between two different trials of a set."""
    return cdist(x, x).sum() / (len(x) * (len(x) - 1))


def _cross_validated(
    model: ClassifierMixin, features: np.ndarray, labels: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    features = np.asarray(features, dtype=float)
    correct = np.empty(len(labels), dtype=bool)
    for fold in np.unique(folds):
        test = folds == fold
        fitted = clone(model).fit(features[~test], labels[~test])
        correct[test] = fitted.predict(features[test]) == labels[test]
    return correct


def _logistic(inverse_regularisation: float = 1.0) -> Pipeline:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=inverse_regularisation, max_iter=1000)
    )


def _check_trials(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> None:
    shapes = np.shape(features), np.shape(labels), np.shape(folds)
    if len(shapes[0]) != 2 or not shapes[1] == shapes[2] == shapes[0][:1]:
        raise ValueError(
            "need features (trial, feature) with one label and one fold a trial; "
            f"got shapes {shapes[0]}, {shapes[1]}, {shapes[2]}"
        )
