"""Scores and splits for categories of images that are each shown several times.

Two presentations of one image are not two independent trials: who has seen one of them knows the
other. The unit of every split, interval and permutation here is therefore the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from visualcortex.evaluation.intervals import Interval, _percentile, resampled_indices
from visualcortex.evaluation.splits import Parts, shuffled_folds


def balanced_accuracy(correct: np.ndarray, labels: np.ndarray) -> float:
    r"""Mean over classes of the share of correct trials, :math:`\frac1C \sum_c \bar r_c`.

    Chance is 1/C for any guess that does not look at the trial, however unequal the classes: the
    majority gets 1/C too. Unbiased for the mean recall if each class has a trial.

    Parameters
    ----------
    correct : (n_trials,) array of bool
        Whether each trial is classified correctly.
    labels : (n_trials,) array
        True class of each trial.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is not one label a trial.
    """
    correct, labels = _aligned(correct=correct, labels=labels)
    _, codes = np.unique(labels, return_inverse=True)
    return float(np.mean(np.bincount(codes, weights=correct) / np.bincount(codes)))


def balanced_accuracy_interval(
    correct: np.ndarray,
    labels: np.ndarray,
    images: np.ndarray,
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of the balanced accuracy over images.

    Images are drawn with replacement within their class, each with all its presentations. The
    interval says how far the number would move with other images of these classes and the same
    decoder; slightly too narrow for few images a class, by about sqrt((n - 1)/n).

    Parameters
    ----------
    correct : (n_trials,) array of bool
        Whether each trial is classified correctly.
    labels, images : (n_trials,) array
        True class and image of each trial.
    rng : numpy.random.Generator
        Source of the draws.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If the lengths differ, or an image has two classes.
    """
    correct, labels, images = _aligned(correct=correct, labels=labels, images=images)
    by_image = _ByImage.of(images, labels)
    hits = by_image.spread(by_image.sums(correct))  # (I, C)
    shown = by_image.spread(by_image.sums(np.ones(len(images))))
    values = by_image.resampled(np.divide, (hits, shown), n_resamples, rng)
    return _percentile(balanced_accuracy(correct, labels), values, level)


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    r"""Mean over classes of :math:`F_1 = 2 TP / (2 TP + FP + FN)`.

    Over the classes that occur in `labels` or `predicted`; 0 for one that is never right. Bias:
    F1 is a ratio of sums, too low on average by an amount that falls with the trials a class.
    Unlike balanced accuracy it has no chance level of its own: compare with `stratified`.

    Parameters
    ----------
    predicted, labels : (n_trials,) array
        Predicted and true class of each trial.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    predicted, labels = _aligned(predicted=predicted, labels=labels)
    classes = np.union1d(predicted, labels)
    return float(np.mean(_f1(_one_hot(predicted, classes), _one_hot(labels, classes))))


def macro_f1_interval(
    predicted: np.ndarray,
    labels: np.ndarray,
    images: np.ndarray,
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of `macro_f1` over images, drawn within their class.

    As `balanced_accuracy_interval`; the classes are those of the data in every resample.

    Parameters
    ----------
    predicted, labels, images : (n_trials,) array
        Predicted class, true class and image of each trial.
    rng : numpy.random.Generator
        Source of the draws.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If the lengths differ, or an image has two classes.
    """
    predicted, labels, images = _aligned(predicted=predicted, labels=labels, images=images)
    by_image = _ByImage.of(images, labels)
    classes = np.union1d(predicted, labels)
    guessed, true = _one_hot(predicted, classes), _one_hot(labels, classes)
    counts = [by_image.sums(x) for x in (guessed * true, guessed, true)]  # (I, C) each
    values = by_image.resampled(_f1_of_counts, counts, n_resamples, rng)
    return _percentile(macro_f1(predicted, labels), values, level)


def confusion(predicted: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of the trials of each true class (row) that go to each predicted one (column).

    Parameters
    ----------
    predicted, labels : (n_trials,) array of int
        Predicted and true class of each trial, 0 ... n_classes - 1.
    n_classes : int
        Number of classes.

    Returns
    -------
    (n_classes, n_classes) array
        Rows add up to 1; a class without trials has a row of NaN.

    Raises
    ------
    ValueError
        If the lengths differ, or a class is not a whole number in range.
    """
    predicted, labels = _aligned(predicted=predicted, labels=labels)
    both = np.concatenate([predicted, labels])
    if both.dtype.kind not in "iu" or both.min() < 0 or both.max() >= n_classes:
        raise ValueError(
            f"classes must be whole numbers from 0 to {n_classes - 1}; got dtype {both.dtype}, "
            f"{both.min()} to {both.max()}. Number them with numpy.unique(..., return_inverse=True)"
        )
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    counts = counts.reshape(n_classes, n_classes).astype(float)
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def permutation_null(
    predicted: np.ndarray,
    labels: np.ndarray,
    images: np.ndarray,
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> np.ndarray:
    """Balanced accuracies of the same predictions when images swap their classes.

    Classes are permuted over images, so that the presentations of an image stay together and
    share whatever the decoder says of both. Exact for predictions made without the classes of
    these images: p = (1 + number of values at least as high as the observed) / (1 + number of
    permutations). Permuting trials instead would make the null too narrow.

    Parameters
    ----------
    predicted, labels, images : (n_trials,) array
        Predicted class, true class and image of each trial, of a test set.
    rng : numpy.random.Generator
        Source of the permutations.
    n_permutations : int
        Number of permutations.

    Returns
    -------
    (n_permutations,) array

    Raises
    ------
    ValueError
        If the lengths differ, an image has two classes, or n_permutations is below 1.
    """
    predicted, labels, images = _aligned(predicted=predicted, labels=labels, images=images)
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1; got {n_permutations}")
    by_image = _ByImage.of(images, labels)
    guesses = by_image.sums(_one_hot(predicted, by_image.classes))  # (I, C)
    shown = by_image.sums(np.ones(len(images)))
    values = np.empty(n_permutations)
    for k in range(n_permutations):
        codes = rng.permutation(by_image.codes)
        right = np.bincount(codes, weights=guesses[np.arange(len(codes)), codes])
        values[k] = np.mean(right / np.bincount(codes, weights=shown))
    return values


def majority(train_labels: np.ndarray, n: int) -> np.ndarray:
    """Predict the commonest class of the training trials, n times; of equals, the first in order.

    Parameters
    ----------
    train_labels : (n_train,) array
        Classes of the training trials.
    n : int
        Number of trials to predict.

    Returns
    -------
    (n,) array
    """
    (train_labels,) = _aligned(train_labels=train_labels)
    classes, counts = np.unique(train_labels, return_counts=True)
    return np.repeat(classes[counts.argmax()], n)


def stratified(train_labels: np.ndarray, n: int, *, rng: np.random.Generator) -> np.ndarray:
    """Predict classes at random, as often as they occur among the training trials.

    Parameters
    ----------
    train_labels : (n_train,) array
        Classes of the training trials.
    n : int
        Number of trials to predict.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    (n,) array
    """
    (train_labels,) = _aligned(train_labels=train_labels)
    return rng.choice(train_labels, size=n)


def image_folds(
    images: np.ndarray, labels: np.ndarray, n_folds: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Random folds of images, stratified by class: no image is in two folds.

    Parameters
    ----------
    images, labels : (n_trials,) array
        Image and class of each trial.
    n_folds : int
        At least 2, at most the number of images of the rarest class.
    rng : numpy.random.Generator
        Source of the shuffle.

    Returns
    -------
    (n_trials,) array of int
        Fold in which each trial is tested, 0 ... n_folds - 1. Each fold holds each class with
        the same number of images, to within one.

    Raises
    ------
    ValueError
        If the lengths differ, an image has two classes, or a class has too few images.
    """
    images, labels = _aligned(images=images, labels=labels)
    by_image = _ByImage.of(images, labels)
    return shuffled_folds(by_image.codes, n_folds, rng=rng)[by_image.inverse]


def image_parts(
    images: np.ndarray,
    labels: np.ndarray,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    *,
    rng: np.random.Generator,
) -> Parts:
    """Training, validation and test trials, by image and stratified by class.

    Parameters
    ----------
    images, labels : (n_trials,) array
        Image and class of each trial.
    fractions : three floats
        Share of each class's images that go to training, validation and test; they add up to 1.
    rng : numpy.random.Generator
        Source of the shuffle.

    Returns
    -------
    Parts
        Indices of the trials of each part. Together they are all trials; no image is in two.

    Raises
    ------
    ValueError
        If the lengths differ, an image has two classes, the fractions are not three positive
        numbers that add up to 1, or a class has too few images for one in each part.
    """
    images, labels = _aligned(images=images, labels=labels)
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or (shares <= 0).any() or not np.isclose(shares.sum(), 1):
        raise ValueError(f"fractions must be three positive numbers that add up to 1; got {shares}")
    by_image = _ByImage.of(images, labels)
    part = np.empty(len(by_image.codes), dtype=int)
    for code, name in enumerate(by_image.classes):
        members = rng.permutation(np.flatnonzero(by_image.codes == code))
        borders = np.rint(np.cumsum(shares)[:2] * len(members)).astype(int)
        sizes = np.diff(np.concatenate([[0], borders, [len(members)]]))
        if sizes.min() < 1:
            raise ValueError(
                f"class {name} has {len(members)} images, too few for parts of {shares.tolist()}; "
                "change the fractions, or leave this class out"
            )
        part[members] = np.repeat(np.arange(3), sizes)
    return Parts(*(np.flatnonzero(part[by_image.inverse] == k) for k in range(3)))


class _ByImage(NamedTuple):
    """Which trials show which image, and the class of each image."""

    inverse: np.ndarray  # (n_trials,) index of the trial's image
    codes: np.ndarray  # (I,) class of each image, as an index
    classes: np.ndarray  # (C,)

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> _ByImage:
        """Group trials by image; raise a ValueError if an image has two classes."""
        names, first, inverse = np.unique(images, return_index=True, return_inverse=True)
        classes, codes = np.unique(labels, return_inverse=True)
        mixed = names[np.unique(inverse[codes != codes[first][inverse]])]
        if len(mixed):
            raise ValueError(
                f"an image has one class; images {mixed[:5].tolist()} have several. Check that "
                "labels and images are in the same order of trials"
            )
        return cls(inverse, codes[first], classes)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of values (n_trials, ...) over the presentations of each image, (I, ...)."""
        totals = np.zeros((len(self.codes), *values.shape[1:]))
        np.add.at(totals, self.inverse, values)
        return totals

    def spread(self, totals: np.ndarray) -> np.ndarray:
        """Numbers (I,) of the images, each in the column of its class, (I, C)."""
        return totals[:, None] * (self.codes[:, None] == np.arange(len(self.classes)))

    def draws(self, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
        """How often each resample holds each image, (R, I)."""
        indices = resampled_indices(len(self.codes), n_resamples, rng=rng, strata=self.codes)
        rows = np.arange(n_resamples)[:, None] * len(self.codes)
        counts = np.bincount((rows + indices).ravel(), minlength=indices.size)
        return counts.reshape(indices.shape).astype(float)

    def resampled(
        self,
        score: Callable[..., np.ndarray],
        counts: Sequence[np.ndarray],
        n_resamples: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Mean over classes of a score of counts (I, C), added up over each resample, (R,)."""
        drawn = self.draws(n_resamples, rng)  # (R, I)
        return np.mean(score(*(drawn @ c for c in counts)), axis=1)


def _one_hot(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return (labels[:, None] == classes).astype(float)


def _f1(guessed: np.ndarray, true: np.ndarray) -> np.ndarray:
    return _f1_of_counts((guessed * true).sum(axis=0), guessed.sum(axis=0), true.sum(axis=0))


def _f1_of_counts(both: np.ndarray, guessed: np.ndarray, true: np.ndarray) -> np.ndarray:
    # 2 TP + FP + FN is what was guessed plus what is true; a resample may have neither
    return 2 * both / np.maximum(guessed + true, 1)


def _aligned(**columns: np.ndarray) -> tuple[np.ndarray, ...]:
    arrays = tuple(np.asarray(column) for column in columns.values())
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 1 or len(arrays[0]) == 0:
        given = ", ".join(f"{name} {a.shape}" for name, a in zip(columns, arrays, strict=True))
        raise ValueError(f"need one entry a trial, shape (n_trials,) each; got {given}")
    return arrays
