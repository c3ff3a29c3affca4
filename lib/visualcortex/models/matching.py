"""Matching two looks at the same image: noise whitened away, reliable directions weighted up."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted


class NoiseWhitening(TransformerMixin, BaseEstimator):
    r"""Responses in units in which the noise is white, learnt from activity without stimulus.

    The noise is modelled by a few shared dimensions and private variances,
    :math:`N = L L^\top + D` (probabilistic principal components for L, of neurons in units of their
    own s.d.); with the Cholesky factor :math:`N = C C^\top` a response becomes :math:`C^{-1} r`.
    Where spontaneous activity is the noise, its covariance becomes the identity, and the leading
    principal components of whitened responses are those of the highest ratio of signal to noise.

    No response is looked at, so that nothing can leak from test to training responses.

    Bias: principal components of correlations are the factors only where all neurons have the same
    share of private noise, or are many. Noise that comes with the stimulus is not seen.

    Parameters
    ----------
    n_factors : int
        Shared dimensions of the noise.

    Attributes
    ----------
    whitening_ : (n_neurons, n_neurons) array
        What responses are multiplied by.
    """

    def __init__(self, n_factors: int = 128) -> None:
        self.n_factors = n_factors

    def fit(self, spontaneous: np.ndarray, y: None = None) -> NoiseWhitening:
        """Learn the noise.

        Parameters
        ----------
        spontaneous : (n_frames, n_neurons) array
            Activity without stimulus, in the units of the responses.
        y : None
            Ignored; scikit-learn's convention.

        Returns
        -------
        NoiseWhitening
            Itself.

        Raises
        ------
        ValueError
            It is no matrix, there are no more frames or neurons than factors, or a neuron is
            silent without stimulus.
        """
        _check_spontaneous(spontaneous, self.n_factors)
        dtype = np.result_type(spontaneous, np.float32)
        values = torch.from_numpy(np.array(spontaneous, dtype))
        self.whitening_ = _noise_whitening(values, self.n_factors).numpy()
        return self

    def transform(self, responses: np.ndarray) -> np.ndarray:
        """Whiten responses, ``(n, n_neurons)``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "whitening_")
        return np.asarray(responses) @ self.whitening_


class WhitenedMatcher(TransformerMixin, BaseEstimator):
    r"""Features in which the correlation of two responses says whether the image was the same.

    Responses are whitened by the noise of activity without stimulus (`NoiseWhitening`). In that
    space the covariance of the signal is estimated from the two presentations of training images,
    :math:`S = (x^\top y + y^\top x)/2M`, whose noise is independent; an axis of signal power
    :math:`\lambda` then contributes to the likelihood ratio of "same image" against "another" with
    the weight :math:`\lambda / (1 + 2\lambda)`. The square root of it multiplies each axis. With
    much data the inner product of two features is that of the responses in
    :math:`N^{-1} S (N + 2S)^{-1}`, S and N then being in the units of the responses.

    The units of the neurons do not matter: a factor for each changes inner products of features
    by rounding only. The strongest axis comes first. Signs of axes are arbitrary, and made
    definite: the largest entry is positive.

    Bias: that of `NoiseWhitening`, and S is estimated without bias (but for the mean, a share of
    1/M), its eigenvalues are not (the largest too large, the rest set to zero where negative);
    decoding the training images is optimistic, hence decode others.

    Parameters
    ----------
    n_factors : int
        Shared dimensions of the noise.

    Attributes
    ----------
    mean_ : (n_neurons,) array
        Mean response to the training images.
    projection_ : (n_neurons, n_axes) array
        From responses to features.
    """

    def __init__(self, n_factors: int = 128) -> None:
        self.n_factors = n_factors

    def fit(
        self, spontaneous: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> WhitenedMatcher:
        """Learn noise and signal.

        Parameters
        ----------
        spontaneous : (n_frames, n_neurons) array
            Activity without stimulus, in the units of the responses.
        first, second : (n_images, n_neurons) array
            Responses to the two presentations of the training images.

        Returns
        -------
        WhitenedMatcher
            Itself.

        Raises
        ------
        ValueError
            The neurons differ, there are fewer frames or neurons than factors, or a neuron is
            silent without stimulus.
        """
        _check_images(spontaneous, first, second)
        # one type for all, torch multiplies no others
        dtype = np.result_type(spontaneous, first, second, np.float32)
        spontaneous, first, second = (np.array(a, dtype) for a in (spontaneous, first, second))
        noise = NoiseWhitening(self.n_factors).fit(spontaneous)
        whitening = torch.from_numpy(noise.whitening_)
        self.mean_ = (first.mean(axis=0) + second.mean(axis=0)) / 2
        x, y = (torch.from_numpy(r - self.mean_) @ whitening for r in (first, second))
        cross = x.T @ y / len(x)
        power, axes = (x.flip(-1) for x in torch.linalg.eigh((cross + cross.T) / 2))
        kept = power > 0
        weight = (power[kept] / (1 + 2 * power[kept])).sqrt()
        projection = whitening @ (axes[:, kept] * weight)
        largest = projection.gather(0, projection.abs().argmax(dim=0, keepdim=True))
        self.projection_ = (projection * largest.sign()).numpy()
        return self

    def transform(self, responses: np.ndarray) -> np.ndarray:
        """Turn responses into features, ``(n, n_axes)``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "projection_")
        return (np.asarray(responses) - self.mean_) @ self.projection_


def _noise_whitening(spontaneous: torch.Tensor, n_factors: int) -> torch.Tensor:
    """Inverse of the Cholesky factor of the noise covariance, transposed: responses times this."""
    centred = spontaneous - spontaneous.mean(dim=0)
    scale = centred.square().mean(dim=0).sqrt()
    centred /= scale
    power, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    floor = power[:-n_factors].mean()
    shared = axes[:, -n_factors:] * (power[-n_factors:] - floor).clamp(min=0).sqrt()
    model = shared @ shared.T
    # what the shared dimensions leave of each neuron's variance is private; never nothing
    private = (1 - model.diagonal()).clamp(min=0.05 * floor.item())
    root = torch.linalg.cholesky(model + torch.diag(private))
    return torch.linalg.inv(root).T / scale[:, None]


def _check_spontaneous(spontaneous: np.ndarray, n_factors: int) -> None:
    shape = np.shape(spontaneous)
    if len(shape) != 2:
        raise ValueError(f"spontaneous must be (frame, neuron); got shape {shape}")
    if not 0 < n_factors < min(shape):
        raise ValueError(
            f"n_factors must be positive and below the number of frames and of neurons, "
            f"{shape}; got {n_factors}. Choose another."
        )
    silent = np.flatnonzero(np.ptp(spontaneous, axis=0) == 0)
    if len(silent):
        raise ValueError(
            f"every neuron must vary without stimulus; {len(silent)} do not, the first is "
            f"{silent[0]}. Drop them from all."
        )


def _check_images(spontaneous: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    shapes = [np.shape(x) for x in (spontaneous, first, second)]
    matrices = all(len(s) == 2 for s in shapes)
    if not matrices or shapes[1] != shapes[2] or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"spontaneous, first and second must be (row, neuron) of the same neurons, and the "
            f"last two of the same images; got {', '.join(map(str, shapes))}. Select the same from "
            f"all."
        )
