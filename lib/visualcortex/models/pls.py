"""Partial least squares: prediction from the few directions that covary most with responses."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from visualcortex.training import to_tensor

# a covariance that fell by this factor (squared) is rounding
EXHAUSTED = 1e-12


class KernelPLS(RegressorMixin, BaseEstimator):
    r"""Partial least squares regression of many responses, without iterations.

    Features and responses are centred, not scaled. Component a has the direction

    .. math:: w_a = \arg\max_{\|w\| = 1} \| Y^T X_a w \|, \qquad t_a = X_a w_a,

    where :math:`X_a` are the features less their regression on :math:`t_1 \dots t_{a-1}`; the
    responses are regressed on all :math:`t_a`. Only :math:`X^T Y` is kept up to date from
    component to component, and :math:`w_a` is an eigenvector of the smaller of its two products
    (Dayal and MacGregor 1997). The predictions are those of scikit-learn's ``PLSRegression(scale=
    False)`` if that is run until it converges: its default tolerance leaves them apart by some
    thousandths of a standard deviation on average, by some hundredths at worst.

    Bias: weights are pulled towards zero, as in ridge regression, and the more so with fewer
    components. Targets share the components, so that adding targets changes the predictions of
    the others. The scale of features and of targets matters: the largest lead.

    Parameters
    ----------
    n_components : int
        Number of directions; Brain-Score (Schrimpf et al. 2018) takes 25 for IT.
    device : str or torch.device
        Where to compute. Products with features are in float32, the rest in float64.

    Attributes
    ----------
    coef_ : (n_targets, n_features) array
        Weights, float32.
    intercept_ : (n_targets,) array
        Prediction for features of zero, float32.
    features_mean_, responses_mean_ : (n_features,) and (n_targets,) arrays
        Means of the fitted rows, float32.
    n_components_ : int
        Number of components; fewer than asked for if no covariance was left.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Dayal, B. S. and MacGregor, J. F. (1997). Improved PLS algorithms. Journal of Chemometrics 11.
    Schrimpf, M. et al. (2018). Brain-Score: which artificial neural network for object
    recognition is most brain-like? bioRxiv 407007.
    """

    def __init__(self, n_components: int = 25, *, device: str | torch.device = "auto") -> None:
        self.n_components = n_components
        self.device = device

    @torch.inference_mode()
    def fit(self, features: np.ndarray, responses: np.ndarray) -> KernelPLS:
        """Learn the weights; two passes through the features a component.

        Parameters
        ----------
        features : (n, n_features) array
            A row an image.
        responses : (n, n_targets) array
            A column a target. A constant one is predicted by its value.

        Returns
        -------
        KernelPLS
            Itself.

        Raises
        ------
        ValueError
            If the arrays are not matrices of finite numbers with as many rows, at least two; or
            there cannot be as many components.
        """
        x = _finite(features, self.device, "features")
        y = _finite(responses, self.device, "responses")
        if len(x) != len(y) or len(x) < 2:
            raise ValueError(
                "need features and responses of the same two or more rows; got "
                f"{len(x)} and {len(y)}. Select the same images from both."
            )
        _check_components(self.n_components, *x.shape)
        x, x_mean = _centred(x)
        y, y_mean = _centred(y)
        rotations, loadings = _components(x, y, self.n_components)
        coef = loadings @ rotations.T  # (N, P)
        fitted = coef, y_mean - coef @ x_mean.double(), x_mean, y_mean
        self.coef_, self.intercept_, self.features_mean_, self.responses_mean_ = (
            tensor.float().cpu().numpy() for tensor in fitted
        )
        self.n_components_, self.n_features_in_ = rotations.shape[1], x.shape[1]
        return self

    @torch.inference_mode()
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict responses, in their unit.

        Parameters
        ----------
        features : (n, n_features) array
            In the unit of the fitted ones.

        Returns
        -------
        (n, n_targets) array
            float32.

        Raises
        ------
        ValueError
            If the features are not those that were fitted.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "coef_")
        x = _finite(features, self.device, "features")
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"features must be the {self.n_features_in_} that were fitted; got {x.shape[1]}. "
                "Take the same layer and the same preprocessing for both."
            )
        fitted = self.features_mean_, self.coef_, self.responses_mean_
        mean, coef, offset = (torch.from_numpy(a).to(x.device) for a in fitted)
        return torch.addmm(offset, x - mean, coef.T).cpu().numpy()


def _components(x: Tensor, y: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Directions R with t = X r, (P, K), and weights of the targets on them, (N, K); float64."""
    covariance = (x.T @ y).double()  # (P, N)
    rotations, x_loadings = covariance.new_zeros(2, x.shape[1], n_components)
    y_loadings = covariance.new_zeros(y.shape[1], n_components)
    least = EXHAUSTED * covariance.square().sum()
    for a in range(n_components):
        if covariance.square().sum() <= least:
            return rotations[:, :a], y_loadings[:, :a]
        w = _leading(covariance)
        # in terms of the features as they were before any component was taken away
        r = w - rotations[:, :a] @ (x_loadings[:, :a].T @ w)
        t = x @ r.to(x.dtype)
        square = t.square().sum(dtype=torch.float64)
        x_loadings[:, a] = (t @ x).double() / square
        y_loadings[:, a] = r @ covariance / square
        rotations[:, a] = r
        covariance -= torch.outer(square * x_loadings[:, a], y_loadings[:, a])
    return rotations, y_loadings


def _leading(covariance: Tensor) -> Tensor:
    """Left singular vector of the largest singular value, (P,), by the smaller product."""
    if covariance.shape[0] < covariance.shape[1]:
        return torch.linalg.eigh(covariance @ covariance.T).eigenvectors[:, -1]
    right = torch.linalg.eigh(covariance.T @ covariance).eigenvectors[:, -1]
    left = covariance @ right
    return left / left.norm()


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Columns less their mean, and the mean; what is constant becomes exactly 0."""
    shifted = x - x[0]
    mean = shifted.mean(0)
    return shifted.sub_(mean), x[0] + mean


def _finite(array: np.ndarray, device: str | torch.device, name: str) -> Tensor:
    matrix = to_tensor(array, device, name=name)
    # any NaN or infinity shows in the sum, which is quick
    if not matrix.sum().isfinite():
        bad = int((~matrix.isfinite()).any(0).sum())
        raise ValueError(
            f"{name} must be finite and not so large that they overflow; got NaN or infinity in "
            f"{bad} of {matrix.shape[1]} columns. Leave out those columns, or the rows that lack "
            "them."
        )
    return matrix


def _check_components(n_components: int, n_rows: int, n_features: int) -> None:
    most = min(n_rows - 1, n_features)
    if not 1 <= n_components <= most:
        raise ValueError(
            f"n_components must be from 1 to {most} for {n_rows} rows of {n_features} features; "
            f"got {n_components}"
        )
