"""How much of the responses is due to the stimulus: two presentations of every image compared.

Both halves are (image, neuron), from `visualcortex.preprocessing.split_half`. Their noise is
assumed to be independent.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from visualcortex.training import to_tensor


class PowerLaw(NamedTuple):
    """The line log(value) = intercept - exponent * log(rank), natural logarithms, ranks from 1."""

    exponent: float
    intercept: float


@torch.inference_mode()
def signal_variance(
    first: np.ndarray, second: np.ndarray, *, device: str | torch.device = "auto"
) -> np.ndarray:
    r"""Share of the variance of each neuron over images that repeats between the halves.

    :math:`\mathrm{cov}(r_1, r_2) / \tfrac12 (\mathrm{var}\,r_1 + \mathrm{var}\,r_2)`, over images
    (Stringer et al. 2019).

    Bias: the covariance is unbiased for the variance of the mean responses, so that a neuron
    without signal scores 0 on average (and below 0 half of the time: do not clip before
    averaging). The ratio is off by terms of order 1 / n_images. It is the share in one half: where
    a half is the mean of k presentations, noise counts for 1 / k of that in one presentation.
    Slow drift and brain states that outlast a presentation count as signal.

    Parameters
    ----------
    first, second : (n_images, n_neurons) array
        Responses to the same images, same unit.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_neurons,) array
        At most 1; NaN for neurons that are silent in both halves.

    Raises
    ------
    ValueError
        If the two have different shapes or fewer than two images.
    """
    cov, one, two, _ = _second_moments(*_pair(first, second, device))
    total = (one + two) / 2
    return torch.where(total > 0, cov / total, torch.nan).cpu().numpy()


@torch.inference_mode()
def signal_to_noise(
    first: np.ndarray, second: np.ndarray, *, device: str | torch.device = "auto"
) -> np.ndarray:
    r"""Variance of each neuron over images due to the images, over the variance of the noise.

    With :math:`v_1, v_2` the variances over images in the halves and :math:`v_n =
    \mathrm{var}(r_1 - r_2) / 2` that of the noise, :math:`(v_1 + v_2 - 2 v_n) / 2 v_n` (Stringer
    et al. 2019).

    Bias: numerator and noise variance are unbiased; their ratio SNR is too large by about
    (1 + 2 SNR) / n for n images with normal noise. Negative for about half of the neurons
    without signal. Noise is that of one half, see `signal_variance`.

    Parameters
    ----------
    first, second : (n_images, n_neurons) array
        Responses to the same images, same unit.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_neurons,) array
        NaN for neurons that are silent in both halves, infinite for those that repeat exactly.

    Raises
    ------
    ValueError
        If the two have different shapes or fewer than two images.
    """
    _, one, two, difference = _second_moments(*_pair(first, second, device))
    # 0 / 0 is NaN and 1 / 0 infinite in torch, without a warning
    return ((one + two - difference) / difference).cpu().numpy()


@torch.inference_mode()
def cvpca(
    first: np.ndarray,
    second: np.ndarray,
    *,
    n_components: int = 1024,
    n_shuffles: int = 5,
    rng: np.random.Generator,
    device: str | torch.device = "auto",
) -> np.ndarray:
    r"""Spectrum of the signal: variance of the images' responses along principal axes.

    Cross-validated principal component analysis (Stringer et al. 2019). Each shuffle exchanges
    the two halves of a random half of the images. With the principal axes :math:`u_k` of one half
    F, over images, and both halves centred,

    .. math:: \lambda_k = \frac1M \sum_m (f_m \cdot u_k) (s_m \cdot u_k),

    averaged over shuffles. Multiplied by M / (M - 1) it is a covariance.

    Bias: noise of the second half is independent of the axes and averages out, so that pure noise
    has an expected spectrum of 0 at every rank (values may be negative), and the sum over all
    ranks is unbiased but for the factor (M - 1) / M. A single rank is not: the axes are noisy,
    and chosen to make :math:`f \cdot u_k` large, noise of f included. The product is therefore
    larger than the variance of the signal along :math:`u_k` (by up to a half in a simulated power
    law with noise as strong as the signal at rank 150 of 300) and, with that, close to the
    eigenvalue of rank k of the signal itself (within 8 % there). Under stronger noise, and the
    more so where neurons share it, the spectrum comes out too flat: in the simulated V1 a true
    exponent of about 1.45 is measured as 1.0.

    Parameters
    ----------
    first, second : (n_images, n_neurons) array
        Responses to the same images, same unit.
    n_components : int
        Number of ranks; no more than min(n_images - 1, n_neurons) are returned.
    n_shuffles : int
        Number of random exchanges averaged.
    rng : numpy.random.Generator
        Source of the exchanges.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_ranks,) array
        float64, in the unit of the responses squared, in order of the variance of one half.

    Raises
    ------
    ValueError
        If the two have different shapes or fewer than two images, or a count is not positive.
    """
    pair = torch.stack(_pair(first, second, device))  # (2, M, N)
    n_images, n_neurons = pair.shape[1:]
    if n_components < 1 or n_shuffles < 1:
        raise ValueError(
            f"n_components and n_shuffles must be at least 1; got {n_components} and {n_shuffles}. "
            "1024 and 5 to 10 were published."
        )
    n_ranks = min(n_components, n_images - 1, n_neurons)
    if n_images <= n_neurons:
        matrices = partial(_image_side, _products_of_all(pair))
    else:
        matrices = partial(_neuron_side, pair)
    total = np.zeros(n_ranks)
    for _ in range(n_shuffles):
        exchanged = torch.as_tensor(rng.integers(2, size=n_images), device=pair.device)
        gram, cross = matrices(exchanged)
        axes = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :n_ranks]
        total += (axes * (cross @ axes)).sum(0).double().cpu().numpy()
    return total / (n_images * n_shuffles)


def power_law(spectrum: np.ndarray, ranks: tuple[int, int] = (11, 500)) -> PowerLaw:
    r"""Fit :math:`\lambda_k = e^b\, k^{-\alpha}` to part of a spectrum.

    Least squares of :math:`\log \lambda_k` on :math:`\log k` with weights 1 / k (so that every
    octave of ranks weighs the same), over ranks 11 to 500 as published by Stringer et al. (2019).

    Bias: values that are not positive have no logarithm and are left out. Where noise makes some
    of them negative, what remains is too large, and the exponent too small: end the range of
    ranks before. The exponent depends on the range if the spectrum is not a power law.

    Parameters
    ----------
    spectrum : (n_ranks,) array
        For one, from `cvpca`; entry 0 has rank 1.
    ranks : pair of int
        First and last rank of the fit, both included; the last is cut to the length.

    Returns
    -------
    PowerLaw
        Exponent :math:`\alpha`, positive for a spectrum that falls, and intercept b.

    Raises
    ------
    ValueError
        If fewer than 10 ranks in the range have a positive value.
    """
    values = np.asarray(spectrum, dtype=float)
    if values.ndim != 1 or ranks[0] < 1:
        raise ValueError(
            f"need a spectrum (rank,) and ranks from 1 on; got shape {values.shape}, ranks {ranks}"
        )
    rank = np.arange(ranks[0], min(ranks[1], len(values)) + 1)
    rank = rank[values[rank - 1] > 0]
    if len(rank) < 10:
        raise ValueError(
            f"a power law needs at least 10 positive values; ranks {ranks[0]} to {ranks[1]} of a "
            f"spectrum of {len(values)} have {len(rank)}. Widen the range or use more images."
        )
    # polyfit squares its weights
    slope, intercept = np.polyfit(np.log(rank), np.log(values[rank - 1]), 1, w=rank**-0.5)
    return PowerLaw(float(-slope), float(intercept))


def _pair(
    first: np.ndarray, second: np.ndarray, device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    shapes = np.shape(first), np.shape(second)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] < 2:
        raise ValueError(
            "need two halves (image, neuron) of the same shape with at least two images; "
            f"got {shapes[0]} and {shapes[1]}. See visualcortex.preprocessing.split_half."
        )
    return to_tensor(first, device, name="first"), to_tensor(second, device, name="second")


def _second_moments(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Covariance, the two variances and the variance of the difference, (4, N)."""
    a, b = _centred(first), _centred(second)
    products = [(x * y).sum(0) for x, y in ((a, b), (a, a), (b, b))]
    return torch.stack([*products, (a - b).square_().sum(0)]) / len(a)


def _centred(x: torch.Tensor) -> torch.Tensor:
    # from the first row on, so that what is constant is exactly 0
    shifted = x - x[0]
    return shifted.sub_(shifted.mean(0))


def _products_of_all(pair: torch.Tensor) -> torch.Tensor:
    """Gram matrix of all responses, the first halves of all images before the second, (2M, 2M)."""
    first, second = pair - pair.mean((0, 1))
    between = first @ second.T
    upper, lower = [first @ first.T, between], [between.T, second @ second.T]
    return torch.cat([torch.cat(upper, dim=1), torch.cat(lower, dim=1)])


def _image_side(every: torch.Tensor, exchanged: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """F F' and F S' of the exchanged halves, out of `_products_of_all`, (M, M) each."""
    n_images = len(exchanged)
    image = torch.arange(n_images, device=every.device)
    f, s = image + n_images * exchanged, image + n_images * (1 - exchanged)
    rows = every[f]
    return _centred_both_ways(rows[:, f]), _centred_both_ways(rows[:, s])


def _neuron_side(pair: torch.Tensor, exchanged: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """F' F and F' S of the exchanged halves, (N, N) each."""
    swap = exchanged[:, None] == 1
    first = _centred(torch.where(swap, pair[1], pair[0]))
    second = _centred(torch.where(swap, pair[0], pair[1]))
    return first.T @ first, first.T @ second


def _centred_both_ways(products: torch.Tensor) -> torch.Tensor:
    """Turn products of rows into products of rows less the mean row."""
    return products - products.mean(0) - products.mean(1, keepdim=True) + products.mean()
