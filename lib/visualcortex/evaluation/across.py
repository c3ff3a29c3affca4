"""Reading one animal with what was learnt from others, whose neurons are different ones.

Neurons have no partners in another brain. What recordings can share is a place in a common map, or
the images that both have seen; each gives a way to compare, and a control for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge


class Animal(NamedTuple):
    """Trials of one animal.

    Parameters
    ----------
    features : (n_trials, n_features) array
        Responses, of neurons or of the voxels of a common grid.
    labels : (n_trials,) array
        Class of each trial.
    images : (n_trials,) array
        Image of each trial, numbered alike in all animals.
    folds : (n_trials,) array of int
        Fold of each trial's image, the same in all animals (`categories.image_folds`).
    """

    features: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    folds: np.ndarray


def read_by_others(decoder: ClassifierMixin, animals: Sequence[Animal]) -> list[np.ndarray]:
    """Class of each trial of each animal, by a decoder that learnt from the others alone.

    Animal and images are both left out: the decoder learns from the other animals' trials of the
    other folds, and each animal's features are standardised by its own trials of the other folds.
    All animals need the same features in the same order, voxels of one grid.

    Bias: none in the predictions. Those of different animals share training trials and images, so
    that they are not independent.

    Parameters
    ----------
    decoder : scikit-learn classifier
        Copies are fitted.
    animals : sequence of Animal
        At least two.

    Returns
    -------
    list of (n_trials,) arrays
        Predicted classes, in the order of the animals.

    Raises
    ------
    ValueError
        There are fewer than two animals, lengths differ, an image is in two folds, or the animals
        have not the same number of features.
    """
    _check_animals(animals)
    widths = [np.shape(a.features)[1] for a in animals]
    if len(set(widths)) > 1:
        raise ValueError(
            f"animals must have the same features, for one the voxels of one grid; got {widths} of "
            "them. Align positions and voxelise first, or use read_through_images."
        )
    predictions = [np.empty_like(animal.labels) for animal in animals]
    for fold in np.unique(np.concatenate([animal.folds for animal in animals])):
        scaled = [_standardised(animal, fold) for animal in animals]
        for k, predicted in enumerate(predictions):
            others = [other for j, other in enumerate(scaled) if j != k]
            taught = [(o.features[o.folds != fold], o.labels[o.folds != fold]) for o in others]
            fitted = clone(decoder).fit(*map(np.concatenate, zip(*taught, strict=True)))
            asked = scaled[k].folds == fold
            predicted[asked] = fitted.predict(scaled[k].features[asked])
    return predictions


def read_through_images(
    decoder: ClassifierMixin,
    animals: Sequence[Animal],
    *,
    n_axes: int = 30,
    penalty: float = 3000.0,
    seed: int = 0,
) -> list[np.ndarray]:
    r"""Class of each trial of each animal, in coordinates that shared images have taught.

    With the mean response of every *other* animal to each training image side by side, the leading
    principal axes give each image coordinates t. A decoder of classes learns from t. The animal
    itself only learns to translate its own response r, by ridge regression over the same images,
    :math:`\min_W \sum \|t - W r\|^2 + \gamma \|W\|^2`: it needs no class of any image, no position
    and no neuron in common. In spirit this is hyperalignment (Haxby et al. 2011).

    Bias: as `read_by_others`. The coordinates carry noise of the other animals, less with more of
    them.

    Parameters
    ----------
    decoder : scikit-learn classifier
        Copies are fitted.
    animals : sequence of Animal
        At least two; any features, standardised as in `read_by_others`. Only images that all have
        seen teach.
    n_axes : int
        Number of principal axes.
    penalty : float
        :math:`\gamma`.
    seed : int
        Of the randomised principal component analysis.

    Returns
    -------
    list of (n_trials,) arrays
        Predicted classes, in the order of the animals.

    Raises
    ------
    ValueError
        As `read_by_others`, or fewer images than axes are shared.
    """
    _check_animals(animals)
    shared = _shared_images(animals, n_axes)
    first = animals[0]
    where = np.array([np.flatnonzero(first.images == image)[0] for image in shared])
    labels, folds = first.labels[where], first.folds[where]
    # two iterations find the leading axes of means well, at a third of the time of the default
    axes = PCA(n_axes, svd_solver="randomized", iterated_power=2, whiten=True, random_state=seed)
    predictions = [np.empty_like(animal.labels) for animal in animals]
    for fold in np.unique(folds):
        teach = folds != fold
        scaled = [_standardised(animal, fold) for animal in animals]
        means = [_image_means(animal, shared[teach]) for animal in scaled]
        for k, predicted in enumerate(predictions):
            others = np.hstack([m for j, m in enumerate(means) if j != k])  # (image, their neurons)
            coordinates = clone(axes).fit_transform(others)  # (image, axis)
            translate = Ridge(penalty).fit(means[k], coordinates)
            fitted = clone(decoder).fit(coordinates, labels[teach])
            asked = scaled[k].folds == fold
            predicted[asked] = fitted.predict(translate.predict(scaled[k].features[asked]))
    return predictions


def _standardised(animal: Animal, fold: int) -> Animal:
    """Features in s.d. about their mean, both of the trials of the other folds."""
    known = animal.features[animal.folds != fold]
    scale = np.maximum(known.std(axis=0), 1e-6)
    return animal._replace(features=(animal.features - known.mean(axis=0)) / scale)


def _image_means(animal: Animal, images: np.ndarray) -> np.ndarray:
    """Mean features of each image, (image, feature)."""
    place = np.searchsorted(images, animal.images).clip(max=len(images) - 1)
    known = np.flatnonzero(images[place] == animal.images)
    order = known[np.argsort(place[known], kind="stable")]
    starts = np.searchsorted(place[order], np.arange(len(images)))
    totals = np.add.reduceat(animal.features[order], starts, axis=0)
    shown = np.diff([*starts, len(order)])[:, None]
    return totals / shown.astype(totals.dtype)


def _shared_images(animals: Sequence[Animal], n_axes: int) -> np.ndarray:
    shared = animals[0].images
    for animal in animals[1:]:
        shared = np.intersect1d(shared, animal.images)
    shared = np.unique(shared)
    if len(shared) <= n_axes:
        raise ValueError(
            f"{len(shared)} images were shown to all animals, too few for {n_axes} axes. Ask for "
            "fewer axes, or leave out the animal that has seen others."
        )
    return shared


def _check_animals(animals: Sequence[Animal]) -> None:
    if len(animals) < 2:
        raise ValueError(f"at least two animals are needed; got {len(animals)}")
    fold_of: dict[object, int] = {}
    for number, animal in enumerate(animals):
        lengths = [len(column) for column in animal]
        if len(set(lengths)) > 1 or np.ndim(animal.features) != 2:
            raise ValueError(
                f"animal {number} needs features (trial, feature) and a label, an image and a fold "
                f"a trial; got lengths {lengths}. Select the same trials from all."
            )
        for image, fold in zip(animal.images.tolist(), animal.folds.tolist(), strict=True):
            if fold_of.setdefault(image, fold) != fold:
                raise ValueError(
                    f"image {image} is in folds {fold_of[image]} and {fold} (animal {number}); an "
                    "image has one fold in all animals. Make folds once, by image."
                )
