"""Predictions for every trial by a decoder that neither learnt from it nor was chosen on it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
from tqdm.auto import tqdm

from visualcortex.evaluation.categories import balanced_accuracy
from visualcortex.evaluation.splits import Parts


class HeldOut(NamedTuple):
    """What a decoder says of trials that it has not seen.

    ``predicted`` (n_trials,) is the class read in each trial, ``validation`` the balanced accuracy
    on the trials that chose between candidates, averaged over folds: too good an estimate, for
    comparing decoders before their test trials are looked at.
    """

    predicted: np.ndarray
    validation: float


def rotating_parts(folds: np.ndarray) -> Iterator[Parts]:
    """Let each fold be the test part in turn, the next one validation, and the others training.

    Parameters
    ----------
    folds : (n_trials,) array of int
        At least three folds, all presentations of an image in one (`image_folds`).

    Yields
    ------
    Parts
        Indices of training, validation and test trials.

    Raises
    ------
    ValueError
        If there are fewer than three folds.
    """
    names = np.unique(folds)
    if len(names) < 3:
        raise ValueError(
            f"training, validation and test need three folds; got {len(names)}. Ask for more."
        )
    for test, validation in zip(names, np.roll(names, -1), strict=True):
        chosen = (folds == test, folds == validation)
        train = ~(chosen[0] | chosen[1])
        yield Parts(*(np.flatnonzero(part) for part in (train, chosen[1], chosen[0])))


def held_out_predictions(
    candidates: Sequence[BaseEstimator],
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    progress: bool = True,
    **arguments: object,
) -> HeldOut:
    """Predict each trial by the candidate that does best on validation trials.

    In each rotation the candidates are fitted to the training trials and the one of the highest
    balanced accuracy on the validation trials is taken; if its `fit` takes no validation trials
    itself, it is fitted again to both. Then it reads the test trials, once.

    Bias: none in the predictions, for a decoder trained on the smaller number of trials; folds
    share training trials, so that their results are not independent.

    Parameters
    ----------
    candidates : sequence of scikit-learn classifiers
        Copies are fitted. One whose ``fit`` has an argument ``validation`` gets those trials, and
        chooses when to stop by them.
    features : (n_trials, ...) array
        What is read.
    labels : (n_trials,) array
        Class of each trial.
    folds : (n_trials,) array of int
        See `rotating_parts`.
    progress : bool
        Whether to show a bar over the folds.
    **arguments
        Handed to every ``fit`` and ``predict`` (positions of neurons).

    Returns
    -------
    HeldOut

    Raises
    ------
    ValueError
        If the lengths differ, or there are fewer than three folds.
    """
    if not len(features) == len(labels) == len(folds):
        raise ValueError(
            f"need one label and one fold a trial; got {len(features)} trials, {len(labels)} "
            f"labels and {len(folds)} folds. Select the same trials from all."
        )
    predicted = np.empty_like(labels)
    validation = []
    rotations = list(rotating_parts(folds))
    for parts in tqdm(rotations, desc="folds", unit="fold", disable=not progress):
        fitted = [_fit(c, features, labels, parts, arguments) for c in candidates]
        scores = [_score(c, features, labels, parts.validation, arguments) for c in fitted]
        best = fitted[int(np.argmax(scores))]
        validation.append(max(scores))
        if len(candidates) > 1 and not _stops_early(best):
            both = np.concatenate([parts.train, parts.validation])
            best = clone(best).fit(features[both], labels[both], **arguments)
        predicted[parts.test] = best.predict(features[parts.test], **arguments)
    return HeldOut(predicted, float(np.mean(validation)))


def _fit(
    candidate: BaseEstimator,
    features: np.ndarray,
    labels: np.ndarray,
    parts: Parts,
    arguments: dict[str, object],
) -> BaseEstimator:
    train, validation = parts.train, parts.validation
    if _stops_early(candidate):
        arguments = arguments | {"validation": (features[validation], labels[validation])}
    if "progress" in _fit_arguments(candidate):
        arguments = arguments | {"progress": False}  # one bar is enough
    return clone(candidate).fit(features[train], labels[train], **arguments)


def _stops_early(candidate: BaseEstimator) -> bool:
    return "validation" in _fit_arguments(candidate)


def _fit_arguments(candidate: BaseEstimator) -> Collection[str]:
    return inspect.signature(candidate.fit).parameters


def _score(
    fitted: BaseEstimator,
    features: np.ndarray,
    labels: np.ndarray,
    trials: np.ndarray,
    arguments: dict[str, object],
) -> float:
    return balanced_accuracy(
        fitted.predict(features[trials], **arguments) == labels[trials], labels[trials]
    )
