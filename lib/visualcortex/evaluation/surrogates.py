"""Recordings rearranged so that one property is destroyed and the others are kept.

`TrialBootstrap` draws recorded trials again, through the interface of the population models, and
so marks how well a model could do. What those models check at their border is here too.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted


def shuffle_trials(
    activity: np.ndarray, stimulus: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """Permute trials within each stimulus, for every neuron by itself.

    Rates, tuning and each neuron's time course are kept exactly; what neurons share from trial to
    trial is destroyed. The baseline of any model of a population: it needs no model at all.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Any unit.
    stimulus : (n_trials,) array of int
        Stimulus of each trial.
    rng : numpy.random.Generator
        Source of the permutations.

    Returns
    -------
    array of the shape of `activity`

    Raises
    ------
    ValueError
        If there is not one stimulus a trial.
    """
    activity, stimulus = np.asarray(activity), np.asarray(stimulus)
    if len(activity) != len(stimulus):
        raise ValueError(f"{len(activity)} trials of activity but {len(stimulus)} stimuli")
    shuffled = np.empty_like(activity)
    neurons = np.arange(activity.shape[-1])
    for s in np.unique(stimulus):
        members = np.flatnonzero(stimulus == s)
        order = members[rng.random((len(members), len(neurons))).argsort(axis=0)]  # (trials, N)
        # one index array for trials and one for neurons: the neuron's trials move as wholes
        picked = activity[order, ..., neurons]  # (trials, N[, T])
        shuffled[members] = np.moveaxis(picked, 1, -1)
    return shuffled


class TrialBootstrap(BaseEstimator):
    """Recorded trials drawn again, with replacement, within each stimulus.

    Whole trials keep everything that a trial can show, so that the statistics of the samples are
    those of the recorded trials: the mark that a model of the population can hope to reach.
    Drawn neuron by neuron, what neurons share from trial to trial is gone, as in `shuffle_trials`.

    Bias: nothing new is ever drawn. Each sample is a copy of a recorded trial, which a test of
    memorisation must find, and means about which samples vary are those of the recorded trials,
    sampling noise included. Variances within a stimulus are, on average, those of the recorded
    trials divided by n, not n - 1.

    Parameters
    ----------
    independent : bool
        Whether each neuron's trial is drawn by itself.

    Attributes
    ----------
    labels_ : (n_stimuli,) array
        The stimuli that can be drawn.
    activity_, stimulus_ : array
        The recorded trials and their stimuli.

    References
    ----------
    Efron, B. (1979). Bootstrap methods: another look at the jackknife. Annals of Statistics 7.
    """

    def __init__(self, *, independent: bool = False) -> None:
        self.independent = independent

    def fit(self, activity: np.ndarray, labels: np.ndarray) -> TrialBootstrap:
        """Keep the recorded trials.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Active frames (0 or 1), or graded activity in [0, 1].
        labels : (n_trials,) array
            Stimulus of each trial.

        Returns
        -------
        TrialBootstrap
            Itself.

        Raises
        ------
        ValueError
            If activity lies outside [0, 1] or is not finite, or shapes disagree.
        """
        frames = checked_frames(activity, labels)
        self.activity_ = frames if np.ndim(activity) == 3 else frames[:, 0]
        self.stimulus_ = np.asarray(labels)
        self.labels_ = np.unique(labels)
        return self

    def sample(self, labels: np.ndarray, *, seed: int) -> np.ndarray:
        """Draw a trial for each label.

        Parameters
        ----------
        labels : (n_trials,) array
            Stimuli, among those of the recorded trials.
        seed : int
            The same seed gives the same trials.

        Returns
        -------
        (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array

        Raises
        ------
        ValueError
            If a label was not recorded.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "labels_")
        codes = stimulus_codes(labels, self.labels_)
        n_neurons = self.activity_.shape[-1]
        order = np.argsort(self.stimulus_, kind="stable")
        counts = np.unique(self.stimulus_, return_counts=True)[1]
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        # one number for all neurons of a trial, or one for each
        drawn = np.random.default_rng(seed).random((len(codes), n_neurons * self.independent or 1))
        rows = order[first[codes][:, None] + (drawn * counts[codes][:, None]).astype(int)]
        picked = self.activity_[rows, ..., np.arange(n_neurons)]  # (B, N[, T])
        return np.ascontiguousarray(np.moveaxis(picked, 1, -1))


def checked_frames(activity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Activity as (B, T, N) float32; T = 1 where there is no time.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Values in [0, 1].
    labels : (n_trials,) array
        Stimulus of each trial.

    Returns
    -------
    (n_trials, n_time, n_neurons) array

    Raises
    ------
    ValueError
        If activity lies outside [0, 1] or is not finite, or shapes disagree.
    """
    frames = np.ascontiguousarray(activity, dtype=np.float32)
    if frames.ndim not in (2, 3) or np.shape(labels) != frames.shape[:1] or frames.size == 0:
        raise ValueError(
            "activity must be (trial, neuron) or (trial, time, neuron) with one label a trial; "
            f"got {frames.shape} with labels of shape {np.shape(labels)}. Reshape it."
        )
    if not ((frames >= 0) & (frames <= 1)).all():
        raise ValueError(
            "activity must be finite and lie in [0, 1] (active frames, or the fraction of frames "
            f"active); got values from {frames.min():.3g} to {frames.max():.3g}, "
            f"{np.isnan(frames).sum()} NaN; see visualcortex.models.deconvolution.active_frames"
        )
    return frames if frames.ndim == 3 else frames[:, None]


def stimulus_codes(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Place of each label among the known ones.

    Parameters
    ----------
    labels : (n_trials,) array
        Stimuli.
    known : (n_stimuli,) array
        The stimuli of the training trials, ascending.

    Returns
    -------
    (n_trials,) array of int

    Raises
    ------
    ValueError
        If a label is not known, or labels have another number of axes.
    """
    if np.ndim(labels) != 1:
        raise ValueError(f"labels must be one a trial; got shape {np.shape(labels)}. Flatten them.")
    unknown = np.setdiff1d(labels, known)
    if len(unknown):
        raise ValueError(
            f"stimuli {unknown.tolist()} were not in training, which had {known.tolist()}; "
            "split within each stimulus"
        )
    return np.searchsorted(known, labels)
