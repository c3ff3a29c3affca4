"""Populations whose eigenspectrum is a power law of known exponent, to try estimators on."""

from __future__ import annotations

import numpy as np


def power_law_halves(
    exponent: float,
    n_images: int,
    n_neurons: int,
    *,
    signal_variance: float,
    loadings: np.ndarray | None = None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Draw two responses to each image: a signal of known spectrum, and noise.

    The variance of the signal along its n-th axis is proportional to :math:`n^{-\alpha}`. Axes over
    images and over neurons are random and orthonormal, so that the spectrum of the signal over the
    images shown is the power law exactly. Noise is Gaussian, independent between the two: private
    of unit variance, and shared where loadings are given.

    Parameters
    ----------
    exponent : float
        :math:`\alpha`.
    n_images, n_neurons : int
        Sizes; there are ``min(n_images - 1, n_neurons)`` axes.
    signal_variance : float
        Share of the signal in the variance of a response, averaged over neurons, in (0, 1).
    loadings : (n_neurons, n_shared) array, optional
        Of the shared noise, in s.d. of the private noise.
    rng : numpy.random.Generator
        Source of axes and noise.

    Returns
    -------
    first, second : (n_images, n_neurons) array of float32

    Raises
    ------
    ValueError
        If the share is not in (0, 1), or loadings are of other neurons.
    """
    if not 0 < signal_variance < 1:
        raise ValueError(f"signal_variance must lie between 0 and 1; got {signal_variance}")
    loadings = np.zeros((n_neurons, 1)) if loadings is None else np.asarray(loadings)
    if len(loadings) != n_neurons:
        raise ValueError(f"loadings must have {n_neurons} rows, one a neuron; got {len(loadings)}")
    n_axes = min(n_images - 1, n_neurons)
    over_images = rng.standard_normal((n_images, n_axes))
    over_images = np.linalg.qr(over_images - over_images.mean(axis=0))[0]
    over_neurons = np.linalg.qr(rng.standard_normal((n_neurons, n_axes)))[0]
    signal = (over_images * np.arange(1, n_axes + 1) ** (-exponent / 2)) @ over_neurons.T
    noise_variance = 1 + np.square(loadings).sum(axis=1).mean()
    wanted = noise_variance * signal_variance / (1 - signal_variance)
    signal *= np.sqrt(wanted / signal.var(axis=0).mean())
    halves = (
        signal
        + rng.standard_normal((n_images, loadings.shape[1])) @ loadings.T
        + rng.standard_normal(signal.shape)
        for _ in range(2)
    )
    return tuple(half.astype("f4") for half in halves)
