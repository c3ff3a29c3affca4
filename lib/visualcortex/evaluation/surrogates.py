"""Recordings rearranged so that one property is destroyed and the others are kept."""

from __future__ import annotations

import numpy as np


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
