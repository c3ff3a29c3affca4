"""Scenes rebuilt from the responses to them, and how much of a scene is in what comes out.

A linear readout learns on some scenes what brightness each neuron stands for, and draws others
from their responses alone. Scenes, not trials, are the units: repeats of a scene are averaged
first, or kept in one fold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter
from tqdm.auto import tqdm

from visualcortex.evaluation.intervals import PermutationTest
from visualcortex.models.ridge import ALPHAS, Folds, MultiTargetRidge

SCORES = ("correlation", "identified", "pairwise")
# constants of the structural similarity, in shares of the range of the pixels
STABLE_MEAN, STABLE_CONTRAST = 0.01, 0.03


def reconstruct(
    train_responses: np.ndarray,
    train_images: np.ndarray,
    responses: np.ndarray,
    *,
    n_components: int | None = None,
    alphas: Sequence[float] = ALPHAS,
    inner_folds: Folds = 5,
    seed: int = 0,
    device: str = "auto",
) -> np.ndarray:
    r"""Images of scenes from the responses to them, by ridge regression learnt on other scenes.

    .. math:: \hat X = \bar X + (Z W) V^\top

    with Z the responses, each neuron standardised by its mean and standard deviation over the
    training scenes, V the principal components of the training images, and W the weights of a
    ridge regression of each component, its penalty chosen by cross-validation within the training
    scenes (Thirion et al. 2006; Cowen, Chun & Kuhl 2014). Without components, V is the identity:
    each pixel is a target.

    Bias: weights are pulled towards zero, so that reconstructions are pulled towards the mean
    image of the training scenes, fine detail most: they have less contrast than the scenes.

    Parameters
    ----------
    train_responses : (n_train, n_neurons) array
        Mean response to each training scene; flatten bins into the last dimension.
    train_images : (n_train, H, W) array
        The training scenes, in any unit of brightness.
    responses : (n, n_neurons) array
        Responses to the scenes to draw.
    n_components : int, optional
        Principal components of the training images, at most n_train - 1; by default pixels.
    alphas, inner_folds, seed, device
        Of `visualcortex.models.ridge.MultiTargetRidge`: candidates for the penalty, folds of the
        training scenes that choose, their seed, and where to compute.

    Returns
    -------
    (n, H, W) array of float32
        In the unit of the training scenes. A neuron that is silent in training has no say.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or there are not as many components.

    References
    ----------
    Thirion, B. et al. (2006). Inverse retinotopy: inferring the visual content of images from
    brain activation patterns. NeuroImage 33.
    Cowen, A. S., Chun, M. M. and Kuhl, B. A. (2014). Neural portraits of perception:
    reconstructing face images from evoked brain activity. NeuroImage 94.
    """
    known, images, asked = _checked(train_responses, train_images, responses)
    pixels = images.reshape(len(images), -1)  # (n_train, H W)
    mean = pixels.mean(axis=0)
    axes = _components(pixels - mean, n_components)  # (K, H W), or None for pixels
    targets = pixels - mean if axes is None else (pixels - mean) @ axes.T
    centre, spread = known.mean(axis=0), known.std(axis=0)
    # what varies by rounding alone is silent
    heard = spread > 1e-9 * np.abs(known).max(axis=0)
    scale = np.where(heard, 1 / np.where(heard, spread, 1), 0)
    ridge = MultiTargetRidge(alphas, folds=inner_folds, seed=seed, device=device)
    ridge.fit((known - centre) * scale, targets)
    found = ridge.predict((asked - centre) * scale)
    found = mean + (found if axes is None else found @ axes)
    return found.reshape(-1, *images.shape[1:]).astype(np.float32)


def reconstruct_held_out(
    responses: np.ndarray,
    images: np.ndarray,
    folds: np.ndarray,
    *,
    progress: bool = True,
    **settings: object,
) -> np.ndarray:
    """Image of every scene, by a readout that has not seen the scene: as `reconstruct`, in turns.

    Standardisation, mean image, components and penalties are those of the other folds.

    Bias: as `reconstruct`, for the smaller number of training scenes. The mean image of the other
    folds lacks the scene itself, so that reconstructions from no information at all are a little
    less like their own scene than like others.

    Parameters
    ----------
    responses : (n_scenes, n_neurons) array
        Mean response to each scene.
    images : (n_scenes, H, W) array
        The scenes.
    folds : (n_scenes,) array of int
        Fold in which each scene is drawn, as `visualcortex.evaluation.shuffled_folds` makes them
        of ``numpy.zeros(n_scenes)``; at least two. Scenes that are alike belong in one.
    progress : bool
        Whether to show a bar.
    **settings
        Of `reconstruct`: ``n_components``, ``alphas``, ``inner_folds``, ``seed``, ``device``.

    Returns
    -------
    (n_scenes, H, W) array of float32

    Raises
    ------
    ValueError
        As `reconstruct`, or there is not one fold a scene, and at least two of them.
    """
    responses, images, folds = np.asarray(responses), np.asarray(images), np.asarray(folds)
    names = np.unique(folds)
    if not len(responses) == len(images) or folds.shape != (len(images),) or len(names) < 2:
        raise ValueError(
            "need one response and one of at least two folds for each scene; got "
            f"{len(responses)} responses, {len(images)} images and folds {folds.shape} of "
            f"{len(names)} kinds. Average the repeats of a scene first."
        )
    found = np.empty(images.shape, dtype=np.float32)
    for name in tqdm(names, desc="folds", unit="fold", disable=not progress):
        test = folds == name
        found[test] = reconstruct(responses[~test], images[~test], responses[test], **settings)
    return found


def reconstruction_scores(
    images: np.ndarray, reconstructions: np.ndarray, *, window: int = 7
) -> pd.DataFrame:
    """Likeness of each reconstruction to its scene, and whether it can be told from the others.

    Likeness for telling scenes apart is the correlation over pixels once the mean over scenes is
    taken away from both, since what all scenes share tells none of them.

    Bias: none in the scores of held-out scenes. Chance is not 0 for "correlation" and
    "structural_similarity": scenes are alike. Compare with `reconstruction_test`. Identification
    gets harder the more scenes there are.

    Parameters
    ----------
    images, reconstructions : (n_scenes, H, W) array
        The true scenes, and what was made of the responses to them; at least two.
    window : int
        Edge in pixels of the square windows of the structural similarity.

    Returns
    -------
    pandas.DataFrame
        A row a scene. "correlation": Pearson's, over pixels. "structural_similarity": mean over
        windows of Wang et al. (2004), with uniform windows, 1 for equals. "identified": 1 if no
        scene is more like the reconstruction than the true one, chance 1 / n_scenes. "pairwise":
        share of the other scenes that are less like it, chance 1/2. Ties at their expected value.

    Raises
    ------
    ValueError
        If the two are not finite pictures of the same shape, or the window is larger than they.

    References
    ----------
    Wang, Z. et al. (2004). Image quality assessment: from error visibility to structural
    similarity. IEEE Transactions on Image Processing 13.
    """
    images, reconstructions = _pair(images, reconstructions)
    if not 2 <= window <= min(images.shape[1:]):
        raise ValueError(
            f"window must be from 2 to the smaller edge, {min(images.shape[1:])}; got {window}"
        )
    plain, told = _likeness(images, reconstructions)
    identified, pairwise = _identification(told, np.arange(len(images)))
    columns = {
        "correlation": plain.diagonal(),
        "structural_similarity": _structural(images, reconstructions, window),
        "identified": identified,
        "pairwise": pairwise,
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(images), name="scene"))


def reconstruction_test(
    images: np.ndarray,
    reconstructions: np.ndarray,
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> dict[str, PermutationTest]:
    """Compare mean scores with those of the same reconstructions, given to other scenes.

    Scenes are permuted; p = (1 + number of means at least as high as the observed) / (1 + number
    of permutations).

    Bias: exact for reconstructions by a readout that was fitted to none of these scenes. Where
    folds took turns, p is slightly too high for no information, as the training images of a
    fold lack its scenes.

    Parameters
    ----------
    images, reconstructions : (n_scenes, H, W) array
        As in `reconstruction_scores`.
    rng : numpy.random.Generator
        Source of the permutations.
    n_permutations : int
        Number of permutations.

    Returns
    -------
    dict of PermutationTest
        For the means of "correlation", "identified" and "pairwise" of `reconstruction_scores`.

    Raises
    ------
    ValueError
        If the two are not finite pictures of the same shape, or there is to be no permutation.
    """
    images, reconstructions = _pair(images, reconstructions)
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1; got {n_permutations}")
    plain, told = _likeness(images, reconstructions)
    places = np.arange(len(images))

    def means(scenes: np.ndarray) -> list[float]:
        """Mean of each score if the reconstructions were of these scenes."""
        given = [plain[places, scenes], *_identification(told, scenes)]
        return [float(x.mean()) for x in given]

    observed = means(places)
    null = np.array([means(rng.permutation(places)) for _ in range(n_permutations)])  # (R, 3)
    # rounding in another order of sums must not decide
    p = (1 + np.sum(null >= np.array(observed) - 1e-12, axis=0)) / (1 + n_permutations)
    return {
        name: PermutationTest(observed[k], null[:, k], float(p[k])) for k, name in enumerate(SCORES)
    }


def _components(centred: np.ndarray, n_components: int | None) -> np.ndarray | None:
    """Leading principal components of images (n, H W), (K, H W)."""
    if n_components is None:
        return None
    most = min(len(centred) - 1, centred.shape[1])
    if not 1 <= n_components <= most:
        raise ValueError(
            f"{len(centred)} training scenes of {centred.shape[1]} pixels have 1 to {most} "
            f"principal components; got {n_components}. Take fewer, or None for pixels."
        )
    return np.linalg.svd(centred, full_matrices=False)[2][:n_components]


def _likeness(images: np.ndarray, reconstructions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations (reconstruction, scene) over pixels, and those less the means over scenes."""
    flat = [x.reshape(len(x), -1) for x in (reconstructions, images)]
    # what is smaller is rounding, at the latest that of float32
    least = [1e-6 * np.linalg.norm(x, axis=1).max() for x in flat]
    plain = [_unit_rows(x, norm) for x, norm in zip(flat, least, strict=True)]
    told = [_unit_rows(x - x.mean(axis=0), norm) for x, norm in zip(flat, least, strict=True)]
    return plain[0] @ plain[1].T, told[0] @ told[1].T


def _unit_rows(values: np.ndarray, least: float) -> np.ndarray:
    """Rows of mean 0 and norm 1; those whose norm about the mean is at most `least` are 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    varies = norm > least
    return np.where(varies, centred / np.where(varies, norm, 1), 0)


def _identification(likeness: np.ndarray, scenes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each row's scene is the most alike, and the share of others that are less alike."""
    own = likeness[np.arange(len(scenes)), scenes][:, None]
    # the same product of rows may differ in its last digits from one column to the next
    higher = np.sum(likeness > own + 1e-9, axis=1)
    equal = np.sum(np.abs(likeness - own) <= 1e-9, axis=1)
    pairwise = 1 - (higher + (equal - 1) / 2) / (len(scenes) - 1)
    return np.where(higher == 0, 1 / equal, 0), pairwise


def _structural(images: np.ndarray, reconstructions: np.ndarray, window: int) -> np.ndarray:
    """Mean structural similarity of each pair over windows that lie inside, (n,)."""
    first, rest = window // 2, (window - 1) // 2
    inside = slice(first, -rest or None)

    def mean(x: np.ndarray) -> np.ndarray:
        """Means of windows, those that lie inside."""
        return uniform_filter(x, size=(1, window, window))[:, inside, inside]

    x_mean, y_mean = mean(images), mean(reconstructions)
    # (n, H', W'), of all pixels of a window as Wang et al. have it
    x_var = mean(images**2) - x_mean**2
    y_var = mean(reconstructions**2) - y_mean**2
    both = mean(images * reconstructions) - x_mean * y_mean
    span = float(np.ptp(images)) or 1.0
    a, b = (STABLE_MEAN * span) ** 2, (STABLE_CONTRAST * span) ** 2
    brightness = (2 * x_mean * y_mean + a) / (x_mean**2 + y_mean**2 + a)
    return (brightness * (2 * both + b) / (x_var + y_var + b)).mean(axis=(1, 2))


def _checked(
    train_responses: np.ndarray, train_images: np.ndarray, responses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses and images as floats, or an error that says what does not fit."""
    known, images, asked = (
        np.asarray(x, dtype=float) for x in (train_responses, train_images, responses)
    )
    shapes = known.shape, images.shape, asked.shape
    fits = [len(s) for s in shapes] == [2, 3, 2] and len(known) == len(images)
    if not fits or known.shape[1] != asked.shape[1] or 0 in images.shape:
        raise ValueError(
            "need training responses (scene, neuron), training images (scene, H, W) and responses "
            f"(scene, neuron) of the same neurons; got {shapes[0]}, {shapes[1]} and {shapes[2]}. "
            "Turn colours to grey, and flatten bins into the last dimension."
        )
    if not all(np.isfinite(x).all() for x in (known, images, asked)):
        raise ValueError("responses and images must be finite. Leave out scenes without them.")
    return known, images, asked


def _pair(images: np.ndarray, reconstructions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and reconstructed scenes as floats, or an error if they do not fit."""
    images, found = (np.asarray(x, dtype=float) for x in (images, reconstructions))
    finite = np.isfinite(images).all() and np.isfinite(found).all()
    if images.shape != found.shape or images.ndim != 3 or len(images) < 2 or not finite:
        raise ValueError(
            "images and reconstructions must be finite, (scene, H, W), of the same two or more "
            f"scenes; got {images.shape} and {found.shape}. Select the held-out scenes from both."
        )
    return images, found
