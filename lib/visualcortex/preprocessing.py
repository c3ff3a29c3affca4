"""From raw responses to responses that can be compared: spontaneous activity taken out, halves.

Arrays are (trial, neuron), of any real type, memory-mapped ones included; results are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from visualcortex.training import choose_device, to_tensor

# Numbers in a chunk of rows (5 MB): it stays in the cache while it is used twice.
CHUNK = 1_280_000


class Halves(NamedTuple):
    """Mean responses to each image in the first and in the last half of its presentations.

    ``images`` (n_images,) are the numbers of the images, ascending; ``first`` and ``second``
    (n_images, n_neurons) float32, in the unit of the responses.
    """

    images: np.ndarray
    first: np.ndarray
    second: np.ndarray


@torch.inference_mode()
def spontaneous_components(
    spontaneous: np.ndarray,
    n_components: int,
    *,
    n_iterations: int = 3,
    oversampling: int = 8,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> np.ndarray:
    r"""Principal axes of centred activity: the leading right singular vectors of it.

    With :math:`Z = X - 1 \bar x^T`, the columns of C maximise :math:`\|Z C\|^2` over orthonormal
    C, to a good approximation: they are the best ones in the span of :math:`\Omega,\ Z^T Z\,
    \Omega,\ \ldots,\ (Z^T Z)^q\, \Omega` with q = `n_iterations` and a random :math:`\Omega` of
    n_components + oversampling columns (randomised block Krylov method). Signs are arbitrary, and
    made definite: the largest entry of each axis is positive.

    Bias: the variance along the axes, in the activity that they were computed from, is larger
    than in other activity of the same neurons.

    Cost: q + 1 passes over the activity; neither a centred copy of it nor an (n_neurons,
    n_neurons) matrix is made.

    Parameters
    ----------
    spontaneous : (n_time, n_neurons) array
        Activity without stimulus. Divide neurons by their spread first if that is not to matter.
    n_components : int
        Number of axes, less than n_time and at most n_neurons; 0 gives an empty matrix.
    n_iterations : int
        q; the more, the nearer to the exact axes.
    oversampling : int
        Columns of the random start beyond `n_components`.
    seed : int
        Seed of the random start. The global state of torch is neither used nor changed.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_neurons, n_components) array
        Orthonormal columns, by falling variance.

    Raises
    ------
    ValueError
        If there are too few frames or neurons for as many axes, or a count is negative.

    References
    ----------
    Musco, C. & Musco, C. (2015). Randomized block Krylov methods for stronger and faster
    approximate singular value decomposition. NeurIPS.
    """
    activity = to_tensor(spontaneous, device, name="spontaneous")
    _check_components(n_components, activity.shape)
    if n_iterations < 0 or oversampling < 0:
        raise ValueError(
            f"n_iterations and oversampling must not be negative; got {n_iterations} and "
            f"{oversampling}. 3 and 8 do for recordings."
        )
    mean, _ = _column_moments(activity)
    weight = torch.ones_like(mean)
    start = _random_start(activity.shape[1], n_components + oversampling, seed, activity.device)
    axes = _principal_axes(activity, mean, weight, start, n_components, n_iterations)
    return axes.cpu().numpy()


class SpontaneousScaler(TransformerMixin, BaseEstimator):
    r"""Express responses in units of spontaneous activity and take its main directions out.

    With the mean m and the population standard deviation s of each neuron in spontaneous
    activity, and the leading principal axes C of the spontaneous activity :math:`(x - m) / (s +
    \epsilon)`,

    .. math:: z = (x - m) / (s + \epsilon), \qquad y = z - (z\,C)\,C^T,

    as published by Stringer et al. (2019): much of what varies between presentations of one image
    is also there without any image, and lies in few directions.

    Bias: whatever the images evoke along C is lost with it. A neuron that is silent in spontaneous
    activity is divided by epsilon alone: drop such neurons first. The scaler sees no response,
    so nothing leaks from test to training responses.

    Parameters
    ----------
    n_components : int
        Number of directions taken out; 0 only standardises.
    epsilon : float
        Added to the standard deviation, in the unit of the activity.
    copy : bool
        Whether `transform` leaves its input as it is. False overwrites it, if it is a writable
        float32 array, and so needs no memory for a second one.
    seed : int
        Seed of the randomised principal axes, see `spontaneous_components`.
    device : str or torch.device
        Where to compute.

    Attributes
    ----------
    mean_, scale_ : (n_neurons,) array
        m and s + epsilon, float32, in the unit of the activity.
    components_ : (n_neurons, n_components) array
        C, float32.
    n_features_in_ : int
        Number of neurons.

    References
    ----------
    Stringer, C., Pachitariu, M., Steinmetz, N., Carandini, M. & Harris, K. D. (2019).
    High-dimensional geometry of population responses in visual cortex. Nature 571.
    """

    def __init__(
        self,
        n_components: int = 32,
        epsilon: float = 1e-6,
        *,
        copy: bool = True,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> None:
        self.n_components = n_components
        self.epsilon = epsilon
        self.copy = copy
        self.seed = seed
        self.device = device

    @torch.inference_mode()
    def fit(self, spontaneous: np.ndarray, y: None = None) -> SpontaneousScaler:
        """Learn mean, spread and directions.

        Parameters
        ----------
        spontaneous : (n_time, n_neurons) array
            Activity without stimulus.
        y : None
            Not used.

        Returns
        -------
        SpontaneousScaler
            Itself.

        Raises
        ------
        ValueError
            If there are too few frames or neurons for as many directions, or epsilon is not
            positive.
        """
        activity = to_tensor(spontaneous, self.device, name="spontaneous")
        _check_components(self.n_components, activity.shape)
        if not self.epsilon > 0:
            raise ValueError(
                f"epsilon must be positive, so that no neuron is divided by 0; got {self.epsilon}. "
                f"1e-6 of the unit of activity was published."
            )
        mean, deviation = _column_moments(activity)
        weight = 1 / (deviation + self.epsilon)
        start = _random_start(activity.shape[1], self.n_components + 8, self.seed, mean.device)
        axes = _principal_axes(activity, mean, weight, start, self.n_components, n_iterations=3)
        self.mean_, self.scale_ = mean.cpu().numpy(), (1 / weight).cpu().numpy()
        self.components_ = axes.cpu().numpy()
        self.n_features_in_ = activity.shape[1]
        return self

    @torch.inference_mode()
    def transform(self, responses: np.ndarray) -> np.ndarray:
        """Standardise responses and take the spontaneous directions out.

        Parameters
        ----------
        responses : (n_trials, n_neurons) array
            In the unit of the activity that was fitted.

        Returns
        -------
        (n_trials, n_neurons) array
            float32, in standard deviations of spontaneous activity. The input itself if `copy` is
            False and the input is writable float32.

        Raises
        ------
        ValueError
            If the neurons are not those that were fitted.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "components_")
        values = np.asarray(responses)
        if values.ndim != 2 or values.shape[1] != self.n_features_in_:
            raise ValueError(
                f"responses must be (trial, neuron) with the {self.n_features_in_} neurons that "
                f"were fitted; got shape {values.shape}. Select the same neurons from both."
            )
        in_place = not self.copy and values.dtype == np.float32 and values.flags.writeable
        result = values if in_place else np.empty(values.shape, dtype=np.float32)
        fitted = self.mean_, 1 / self.scale_, self.components_
        mean, weight, axes = (torch.from_numpy(a).to(choose_device(self.device)) for a in fitted)
        for rows in _row_slices(values.shape):
            chunk = to_tensor(values[rows], self.device)
            chunk = torch.sub(chunk, mean).mul_(weight)
            result[rows] = chunk.addmm_(chunk @ axes, axes.T, alpha=-1).cpu().numpy()
        return result


def split_half(responses: np.ndarray, stimulus: np.ndarray) -> Halves:
    """Mean responses to each image in the first and in the last half of its presentations.

    Of n presentations of an image, in order of time, the first n // 2 are averaged and the last
    n // 2; with an odd number the middle one is left out, so that both means are equally noisy.
    Images that were shown once are left out. Both means are unbiased for the image's mean response
    if that does not drift; noise that outlasts a presentation is shared between the halves where
    presentations follow each other closely.

    Parameters
    ----------
    responses : (n_trials, n_neurons) array
        Trials in order of time, any unit.
    stimulus : (n_trials,) array of int
        Image of each trial.

    Returns
    -------
    Halves
        Numbers of the images, and two arrays (n_images, n_neurons).

    Raises
    ------
    ValueError
        If there is not one stimulus a trial, or no image was shown twice.
    """
    values, stimulus = _checked_trials(responses, stimulus)
    images, label, counts = np.unique(stimulus, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise ValueError(
            "no image was shown twice, so there are no halves; split by image instead, or pass "
            "the trials of all sessions"
        )
    rank = _rank(label, counts)
    half = counts[label] // 2
    first = _label_means(values, label, rank < half, counts)
    second = _label_means(values, label, rank >= counts[label] - half, counts)
    return Halves(images[counts > 1], first, second)


def repeats_of(responses: np.ndarray, stimulus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arrange responses by image and repeat.

    Parameters
    ----------
    responses : (n_trials, n_neurons) array
        Trials in order of time, any unit.
    stimulus : (n_trials,) array of int
        Image of each trial.

    Returns
    -------
    images : (n_images,) array
        Numbers of the images, ascending.
    repeats : (n_images, n_repeats, n_neurons) array
        In order of time, NaN where an image has fewer repeats than another.

    Raises
    ------
    ValueError
        If there is no trial, or not one stimulus a trial.
    """
    values, stimulus = _checked_trials(responses, stimulus)
    images, label, counts = np.unique(stimulus, return_inverse=True, return_counts=True)
    repeats = np.full((len(images), counts.max(), values.shape[1]), np.nan, dtype=np.float32)
    repeats[label, _rank(label, counts)] = values
    return images, repeats


def _checked_trials(responses: np.ndarray, stimulus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, stimulus = np.asarray(responses), np.asarray(stimulus)
    if values.ndim != 2 or stimulus.shape != values.shape[:1] or len(stimulus) == 0:
        raise ValueError(
            "need responses (trial, neuron) and one stimulus a trial; "
            f"got shapes {values.shape} and {stimulus.shape}"
        )
    return values, stimulus


def _rank(label: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How often the image of each trial had been shown before."""
    order = np.argsort(label, kind="stable")
    rank = np.empty(len(label), dtype=int)
    rank[order] = np.arange(len(label)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def _label_means(
    values: np.ndarray, label: np.ndarray, chosen: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Mean of the chosen rows of each label that occurs twice, (M, N)."""
    trials = np.flatnonzero(chosen)
    weight = (1 / (counts // 2)[label[trials]]).astype(np.float32)
    shape = (len(counts), len(values))
    averaging = sparse.csr_matrix((weight, (label[trials], trials)), shape=shape)
    return averaging[counts > 1] @ np.asarray(values, dtype=np.float32)


def _check_components(n_components: int, shape: tuple[int, ...]) -> None:
    most = min(shape[0] - 1, shape[1])
    if not 0 <= n_components <= most:
        raise ValueError(
            f"{shape[0]} frames of {shape[1]} neurons have 0 to {most} principal axes; got "
            f"n_components={n_components}. Ask for fewer, or pass more spontaneous activity."
        )


def _row_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, CHUNK // shape[1])
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _column_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and population standard deviation of each column, (N,) each."""
    total = torch.zeros(2, x.shape[1], dtype=torch.float64, device=x.device)
    for rows in _row_slices(x.shape):
        # from the first row on: exact for constant columns, and no cancellation for large means
        shifted = x[rows] - x[0]
        total[0] += shifted.sum(0)
        total[1] += shifted.square_().sum(0)
    mean, square = total / len(x)
    deviation = (square - mean**2).clamp_(min=0).sqrt()
    return (x[0] + mean).float(), deviation.float()


def _random_start(n_neurons: int, width: int, seed: int, device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    # drawn on the CPU, so that every device starts from the same numbers
    return torch.randn(n_neurons, width, generator=generator).to(device)


def _principal_axes(
    x: torch.Tensor,
    mean: torch.Tensor,
    weight: torch.Tensor,
    start: torch.Tensor,
    n_components: int,
    n_iterations: int,
) -> torch.Tensor:
    """Leading right singular vectors of Z = (x - mean) * weight, (N, K)."""
    n_neurons, n_columns = start.shape
    if n_columns * (n_iterations + 1) >= n_neurons:  # few neurons: all directions at once
        start, n_iterations = torch.eye(n_neurons, device=x.device), 0
    basis = torch.linalg.qr(start).Q  # (N, q), then a block of columns more each time
    products = []  # Z' Z times each block
    newest = basis
    for _ in range(n_iterations):
        product = torch.zeros_like(newest)
        for z, projected in _projected(x, mean, weight, newest):
            product.addmm_(z.T, projected)
        products.append(product * weight[:, None])
        newest = _orthogonal_to(basis, products[-1])
        basis = torch.cat([basis, newest], dim=1)
    # of basis' Z' Z basis, only the corner of the newest block is not known yet
    corner = torch.zeros(newest.shape[1], newest.shape[1], device=x.device)
    for _, projected in _projected(x, mean, weight, newest):
        corner.addmm_(projected.T, projected)
    gram = _completed(basis, products, corner)
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :n_components]
    axes = torch.linalg.qr(basis @ vectors).Q
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True)) if n_components else 1
    return axes * torch.sign(torch.as_tensor(largest, device=x.device))


def _orthogonal_to(basis: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """Orthonormal columns that span, with the basis, what the block and the basis span."""
    for _ in range(2):  # once is not enough where little is left of a column
        block = torch.linalg.qr(block - basis @ (basis.T @ block)).Q
    return block


def _completed(
    basis: torch.Tensor, products: list[torch.Tensor], corner: torch.Tensor
) -> torch.Tensor:
    """Symmetric matrix of which the leading columns are basis' products, and the last corner."""
    n_last = len(corner)
    gram = torch.zeros(basis.shape[1], basis.shape[1], device=basis.device)
    gram[-n_last:, -n_last:] = corner
    if products:
        known = basis.T @ torch.cat(products, dim=1)
        gram[:, :-n_last] = known
        gram[:-n_last, -n_last:] = known[-n_last:].T
    return gram


def _projected(
    x: torch.Tensor, mean: torch.Tensor, weight: torch.Tensor, basis: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield x - mean and ((x - mean) * weight) @ basis for chunks of rows, in one buffer."""
    weighted = basis * weight[:, None]
    buffer = torch.empty(max(1, CHUNK // x.shape[1]), x.shape[1], device=x.device)
    for rows in _row_slices(x.shape):
        z = torch.sub(x[rows], mean, out=buffer[: len(x[rows])])
        yield z, z @ weighted
