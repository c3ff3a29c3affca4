"""Which trials train, which choose, and which are only looked at once.

A fold assignment is an integer per trial: the fold in which that trial is tested. Every trial is
tested exactly once and never trains its own test, by construction. The array is what
`sklearn.model_selection.PredefinedSplit` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Parts(NamedTuple):
    """Indices of the trials of each part, ascending; the parts do not overlap."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def shuffled_folds(labels: np.ndarray, n_folds: int, *, rng: np.random.Generator) -> np.ndarray:
    """Random folds, stratified: each fold holds each label equally often, to within one trial.

    Neighbours in time land in different folds, so whatever drifts slowly is shared between
    training and test: accuracies are too high for a claim about the stimulus whenever the label
    is tied to the time of recording. Use `blocked_folds` to see by how much.

    Parameters
    ----------
    labels : (n_trials,) array of int
        What to balance over the folds, usually the stimulus.
    n_folds : int
        At least 2, at most the number of trials of the rarest label.
    rng : numpy.random.Generator
        Source of the shuffle.

    Returns
    -------
    (n_trials,) array of int
        Fold in which each trial is tested, 0 ... n_folds - 1.

    Raises
    ------
    ValueError
        If a label has fewer trials than there are folds.
    """
    labels = _one_dimensional(labels, "labels")
    _check_folds(labels, n_folds, "label")
    folds = np.empty(len(labels), dtype=int)
    start = 0
    for members in _members(labels):
        shuffled = rng.permutation(members)
        # carry the count on from label to label, so that fold sizes differ by one at most
        folds[shuffled] = (start + np.arange(len(members))) % n_folds
        start += len(members)
    return folds


def blocked_folds(sessions: np.ndarray, n_folds: int) -> np.ndarray:
    """Folds that are contiguous in time within each session.

    Fold k tests the k-th stretch of every session. Only the trials at the ends of a stretch have
    a neighbour in the training set, so slow drift helps less than with `shuffled_folds`. It still
    helps where each stimulus is a session of its own: no split of such data can take the
    difference between sessions away.

    Parameters
    ----------
    sessions : (n_trials,) array of int
        Session of each trial; trials in order of recording.
    n_folds : int
        At least 2, at most the number of trials of the shortest session.

    Returns
    -------
    (n_trials,) array of int
        Fold in which each trial is tested, 0 ... n_folds - 1.

    Raises
    ------
    ValueError
        If a session has fewer trials than there are folds.
    """
    sessions = _one_dimensional(sessions, "sessions")
    _check_folds(sessions, n_folds, "session")
    folds = np.empty(len(sessions), dtype=int)
    for members in _members(sessions):
        folds[members] = np.arange(len(members)) * n_folds // len(members)
    return folds


def blocked_parts(
    sessions: np.ndarray, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, n_rounds: int = 1
) -> Parts:
    """Training, validation and test trials: stretches of every session, in this order.

    With one round, what holds in the test trials has to outlast the drift of a whole session.
    With several, each session is cut into that many pieces and each piece into three stretches:
    the parts then cover the same time of recording, and what holds in the test trials holds for
    other trials of the same sessions. Trials at the ends of a stretch have a neighbour in another
    part, the more of them the more rounds.

    Parameters
    ----------
    sessions : (n_trials,) array of int
        Session of each trial; trials in order of recording.
    fractions : three floats
        Share of each session that goes to training, validation and test; they add up to 1.
    n_rounds : int
        Number of times that the three parts take turns in each session.

    Returns
    -------
    Parts
        Indices of the trials of each part. Together they are all trials.

    Raises
    ------
    ValueError
        If the fractions are not three positive numbers that add up to 1, or a session is too
        short to give each part a trial in each round.
    """
    sessions = _one_dimensional(sessions, "sessions")
    if n_rounds < 1:
        raise ValueError(f"n_rounds must be at least 1; got {n_rounds}")
    pieces = (p for members in _members(sessions) for p in np.array_split(members, n_rounds))
    return _parts(pieces, len(sessions), fractions)


def _parts(pieces: Iterable[np.ndarray], n_trials: int, fractions: Sequence[float]) -> Parts:
    """Cut each piece of a session into three stretches."""
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or (shares <= 0).any() or not np.isclose(shares.sum(), 1):
        raise ValueError(
            "fractions must be three positive numbers that add up to 1 (training, validation, "
            f"test); got {tuple(fractions)}"
        )
    part = np.empty(n_trials, dtype=int)
    for members in pieces:
        part[members] = _stretches(len(members), shares)
    return Parts(*(np.flatnonzero(part == k) for k in range(3)))


def _stretches(n_trials: int, shares: np.ndarray) -> np.ndarray:
    """Part (0, 1, 2) of each of the trials of one piece of a session."""
    borders = np.rint(np.cumsum(shares)[:2] * n_trials).astype(int)
    sizes = np.diff(np.concatenate([[0], borders, [n_trials]]))
    if (sizes < 1).any():
        raise ValueError(
            f"a session (or the part of it for one round) has {n_trials} trials, too few for parts "
            f"of {tuple(shares.tolist())}; change the fractions, or take fewer rounds"
        )
    return np.repeat(np.arange(3), sizes)


def _members(labels: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the trials of each distinct label, ascending."""
    return (np.flatnonzero(labels == label) for label in np.unique(labels))


def _one_dimensional(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must be one value a trial, shape (n_trials,); got {values.shape}")
    return values


def _check_folds(labels: np.ndarray, n_folds: int, what: str) -> None:
    names, counts = np.unique(labels, return_counts=True)
    if not 2 <= n_folds <= counts.min():
        raise ValueError(
            f"n_folds must lie between 2 and the number of trials of the rarest {what} "
            f"({counts.min()}, {what} {names[counts.argmin()]}); got {n_folds}"
        )
