"""Ideal observers: what could be decoded by one who knows how the responses are distributed.

They need the truth of a simulation. Both take signal and noise to be independent and Gaussian given
image or category. The noise of the simulations is; their signals are so only roughly, and then an
observer is the best among those that use means and covariances alone.
"""

from __future__ import annotations

import numpy as np
import torch


def ideal_identity(
    first: np.ndarray,
    second: np.ndarray,
    signal_covariance: np.ndarray,
    noise_covariance: np.ndarray,
) -> np.ndarray:
    r"""Whether an ideal observer finds each second response's image among the first responses.

    With signal covariance S and noise covariance N, a second response y to the image of which x is
    the first response is Gaussian with mean :math:`S(S+N)^{-1}x` and covariance
    :math:`S + N - S(S+N)^{-1}S`; the image of highest likelihood is chosen. One noisy look at each
    image is all that it has, as any decoder that is compared with it.

    The covariance of the signal over the images shown is part of what it knows: a bound for those
    who have to estimate it, if a little too good for a few images and many neurons.

    Parameters
    ----------
    first, second : (n_images, n_neurons) array
        Responses to the two presentations, image by image, about the same mean.
    signal_covariance, noise_covariance : (n_neurons, n_neurons) array
        Both in the units of the responses squared.

    Returns
    -------
    (n_images,) array of bool

    Raises
    ------
    ValueError
        The shapes do not match.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"first and second must be responses to the same images; got {np.shape(first)} and "
            f"{np.shape(second)}. Select the same images and neurons from both."
        )
    _check_neurons(first, signal_covariance, noise_covariance)
    noise, signal = (_tensor(c) for c in (noise_covariance, signal_covariance))
    root = torch.linalg.cholesky(noise)
    whitened = _whiten(root, _whiten(root, signal).T)
    power, axes = torch.linalg.eigh((whitened + whitened.T) / 2)
    power = power.clamp(min=0)  # (N,)
    x, y = (_whiten(root, _tensor(r).T).T @ axes for r in (first, second))  # (M, N)
    mean = x * power / (1 + power)
    variance = 1 + power - power**2 / (1 + power)
    likelihood = (y / variance) @ mean.T - 0.5 * (mean**2 / variance).sum(dim=1)  # (M, M)
    return (likelihood.argmax(dim=1) == torch.arange(len(x))).numpy()


def ideal_category(
    responses: np.ndarray,
    signal: np.ndarray,
    labels: np.ndarray,
    noise_covariance: np.ndarray,
) -> np.ndarray:
    r"""Category that an ideal observer reads in each response, all being equally likely before.

    With the mean :math:`m_c` of the signal in category c and its covariance S within categories,
    both over as many fresh images as the simulation cares to show, and the noise covariance N, the
    category with the least :math:`(x - m_c)^\top (S + N)^{-1} (x - m_c)` is chosen.

    Bias: it pays for the finite number of fresh images, so that the true bound is a little higher.

    Parameters
    ----------
    responses : (n, n_neurons) array
        What is to be read.
    signal : (n_fresh, n_neurons) array
        Noise-free responses to other images.
    labels : (n_fresh,) array of int
        Their categories.
    noise_covariance : (n_neurons, n_neurons) array
        In the units of the responses squared.

    Returns
    -------
    (n,) array of int

    Raises
    ------
    ValueError
        The shapes do not match, or there are no more fresh images than categories.
    """
    _check_neurons(responses, noise_covariance)
    _check_fresh(responses, signal, labels)
    categories, place = np.unique(labels, return_inverse=True)
    means = np.stack([signal[place == c].mean(axis=0) for c in range(len(categories))])
    residual = _tensor(signal - means[place])
    within = residual.T @ residual / (len(signal) - len(categories))
    centres = _tensor(means)  # (C, N)
    readout = torch.linalg.solve(within + _tensor(noise_covariance), centres.T)  # (N, C)
    score = _tensor(responses) @ readout - 0.5 * (centres.T * readout).sum(dim=0)
    return categories[score.argmax(dim=1).numpy()]


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _whiten(root: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    return torch.linalg.solve_triangular(root, columns, upper=False)


def _check_neurons(responses: np.ndarray, *covariances: np.ndarray) -> None:
    shape, square = np.shape(responses), [np.shape(c) for c in covariances]
    if len(shape) != 2 or any(s != (shape[1], shape[1]) for s in square):
        raise ValueError(
            f"responses must be (trial, neuron) and covariances square of their number of neurons; "
            f"got {shape} and {', '.join(map(str, square))}. Select the same neurons from all."
        )


def _check_fresh(responses: np.ndarray, signal: np.ndarray, labels: np.ndarray) -> None:
    expected = (len(labels), np.shape(responses)[1])
    if np.shape(signal) != expected:
        raise ValueError(
            f"signal must have one row a label and the neurons of responses, {expected}; got "
            f"{np.shape(signal)}. Select the same images and neurons."
        )
    if len(labels) <= len(np.unique(labels)):
        raise ValueError(
            f"the spread within categories needs more fresh images than categories; got "
            f"{len(labels)}. Draw more of each category."
        )
