"""Ridge regression of many responses on one set of features, each with a penalty of its own.

Everything hangs on one symmetric eigendecomposition of the smaller product of the centred
features, X'X (P, P) or XX' (n, n). What a fit to the other folds would predict follows from the
fit to all rows, exactly, so that neither folds nor penalties need a decomposition of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from visualcortex.evaluation.splits import shuffled_folds
from visualcortex.training import to_tensor

ALPHAS = tuple(np.logspace(-1, 8, 10).tolist())
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# float32 errs by a few millionths of the largest eigenvalue over the smallest one plus alpha
SHARE_FOR_FLOAT32 = 1 / 300
# what is held out is divided by pivots: below these, three digits of one are left at most
PIVOT_FOR_FLOAT32, PIVOT_FOR_FLOAT64 = 1e-3, 1e-13
# rows or columns handled at a time
N_ROWS, N_COLUMNS = 512, 4096

Folds = int | Sequence[int] | np.ndarray | None


class MultiTargetRidge(RegressorMixin, BaseEstimator):
    r"""Linear prediction of every response, its ridge penalty chosen by cross-validation.

    With features and responses centred on their means over the fitted rows, for each target t

    .. math:: w_t = (X^T X + \alpha_t I)^{-1} X^T y_t,

    where :math:`\alpha_t` is the candidate of the highest cross-validated :math:`R^2` of that
    target; of equals, the largest. The intercept is not penalised. Residuals of held-out rows k
    are not obtained by fitting again, but from :math:`R = I - H`, with H the matrix that turns
    responses into their fitted values, intercept included:

    .. math:: e_k = (R_{kk})^{-1} (R y)_k,

    which is what a fit to all rows but k, centred on those, leaves over (Golub et al. 1979 for a
    single row; An et al. 2007 for folds).

    Bias: the highest of several cross-validated scores is too high an estimate of what new data
    would give, and with stimuli in several folds (repeats, variants of one object) all are: pass
    folds that keep those together, and score other images. Weights are pulled towards zero. The
    scale of the features matters; nothing is standardised here.

    With ``dtype="float32"``, products of features are computed in float32, and the rest in
    float64 wherever the smallest eigenvalue plus the smallest alpha is below 1/300 of the
    largest. On features of a variance that falls by six decades, with a mean far from zero, the
    alphas are then those of float64 throughout in more than 99 % of targets, and for those the
    predictions agree within 0.01 standard deviations of the response; typically within 0.00001.
    Single precision alone chooses another alpha for up to 10 % of them.

    Parameters
    ----------
    alphas : sequence of float
        Candidates, positive, in units of a sum of squares of the features over rows.
    folds : int, (n,) array of int, or None
        Number of random folds; or the fold in which each row is tested; or None to leave out one
        row at a time.
    seed : int
        Of the random folds.
    device : str or torch.device
        Where to compute.
    dtype : {"float32", "float64"}
        Type of the arrays and of their large products.

    Attributes
    ----------
    alphas_ : (n_targets,) array
        Chosen penalties. A constant target gets the largest.
    scores_ : (n_alphas, n_targets) array
        Cross-validated :math:`R^2`, float64: one minus squared residuals of held-out rows over
        squared distances from the mean, both summed over all rows. NaN for a constant target.
    coef_ : (n_targets, n_features) array
        Weights.
    intercept_ : (n_targets,) array
        Prediction for features of zero.
    features_mean_, responses_mean_ : (n_features,) and (n_targets,) arrays
        Means of the fitted rows.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Hoerl, A. E. and Kennard, R. W. (1970). Ridge regression. Technometrics 12.
    Golub, G. H., Heath, M. and Wahba, G. (1979). Generalized cross-validation as a method for
    choosing a good ridge parameter. Technometrics 21.
    An, S., Liu, W. and Venkatesh, S. (2007). Fast cross-validation algorithms for least squares
    support vector machine and kernel ridge regression. Pattern Recognition 40.
    """

    def __init__(
        self,
        alphas: Sequence[float] = ALPHAS,
        *,
        folds: Folds = 5,
        seed: int = 0,
        device: str | torch.device = "auto",
        dtype: str = "float32",
    ) -> None:
        self.alphas = alphas
        self.folds = folds
        self.seed = seed
        self.device = device
        self.dtype = dtype

    @torch.inference_mode()
    def fit(self, features: np.ndarray, responses: np.ndarray) -> MultiTargetRidge:
        """Choose the penalties, and learn the weights.

        Memory beside the features: a block of them, and about five matrices of the smaller side,
        (n, n) or (P, P), in float32 or float64; where features are no more than rows, a centred
        copy of them.

        Parameters
        ----------
        features : (n, n_features) array
            A row an image; at least two.
        responses : (n, n_targets) array
            A column a target. A constant one is predicted by its value.

        Returns
        -------
        MultiTargetRidge
            Itself.

        Raises
        ------
        ValueError
            If the arrays are not matrices of finite numbers with as many rows, or have less than
            two; alphas are not positive, or too small for the features; folds are not as
            described.
        """
        alphas = _checked_alphas(self.alphas)
        x, y = _matrices(features, responses, self.device, self.dtype)
        blocks = _blocks(self.folds, len(x), self.seed, x.device)
        ridge, errors = _validated(x, y, alphas, blocks)
        total = ridge.y.square().sum(0, dtype=torch.float64)
        self.scores_ = (1 - errors / total).cpu().numpy()
        self.alphas_ = _best(alphas, self.scores_)
        penalty = torch.as_tensor(self.alphas_, device=x.device)
        coef = ridge.coefficients(penalty.to(ridge.values.dtype)).double()
        intercept = ridge.y_mean - coef @ ridge.x_mean.double()
        found = coef, intercept, ridge.x_mean, ridge.y_mean
        self.coef_, self.intercept_, self.features_mean_, self.responses_mean_ = (
            tensor.to(x.dtype).cpu().numpy() for tensor in found
        )
        self.n_features_in_ = x.shape[1]
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
            Of the type that was fitted.

        Raises
        ------
        ValueError
            If the features are not those that were fitted.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "coef_")
        x = _matrix(features, self.device, self.dtype, "features")
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"features must be the {self.n_features_in_} that were fitted; got {x.shape[1]}. "
                "Take the same layer and the same preprocessing for both."
            )
        fitted = self.features_mean_, self.coef_, self.responses_mean_
        mean, coef, offset = (torch.from_numpy(a).to(x.device) for a in fitted)
        # differences from the mean first: a large mean would cost digits in the product
        parts = [torch.addmm(offset, rows - mean, coef.T) for rows in x.split(N_ROWS)]
        return torch.cat(parts).cpu().numpy()


@torch.inference_mode()
def held_out_residuals(
    features: np.ndarray,
    responses: np.ndarray,
    alphas: Sequence[float] = ALPHAS,
    *,
    folds: Folds = 5,
    seed: int = 0,
    device: str | torch.device = "auto",
    dtype: str = "float32",
) -> np.ndarray:
    """Responses less their predictions by ridge regressions fitted to the other folds.

    The same as a loop over folds and alphas, see `MultiTargetRidge`; to choose alphas by another
    score than squared error.

    Bias: a score of them is, for one alpha that was not chosen with their help, that of a fit to
    as many rows as a training set has.

    Parameters
    ----------
    features, responses, alphas, folds, seed, device, dtype
        As in `MultiTargetRidge`.

    Returns
    -------
    (n_alphas, n, n_targets) array
        Of type `dtype`.

    Raises
    ------
    ValueError
        As `MultiTargetRidge.fit`.
    """
    candidates = _checked_alphas(alphas)
    x, y = _matrices(features, responses, device, dtype)
    blocks = _blocks(folds, len(x), seed, x.device)
    ridge, _ = _validated(x, y, candidates, blocks)
    found = y.new_empty(len(candidates), *y.shape)
    for a, rows, residuals, _ in _held_out(ridge, candidates, blocks):
        found[a, rows] = residuals.to(found.dtype)
    return found.cpu().numpy()


@dataclass(frozen=True)
class _FewFeatures:
    """All ridge fits by the eigenvectors V of X'X: R = I - 1/n - X V (w + alpha)^-1 V' X'."""

    x: Tensor  # (n, P), centred
    y: Tensor  # (n, N), centred
    x_mean: Tensor  # (P,)
    y_mean: Tensor  # (N,)
    values: Tensor  # w, (P,)
    vectors: Tensor  # V, (P, P)
    cross: Tensor  # V' X' Y, (P, N)
    own: ClassVar[float] = 1.0  # share of I - 1/n in R

    @classmethod
    def of(cls, x: Tensor, y: Tensor, alpha: float, dtype: torch.dtype) -> _FewFeatures:
        """Decompose, in float64 if that type does not do for the smallest alpha."""
        rows, x_mean = _centred(x, dtype)
        gram = rows.T @ rows
        if not _does(gram, alpha):
            return cls.of(x, y, alpha, torch.float64)
        y, y_mean = _centred(y, dtype)
        values, vectors = torch.linalg.eigh(gram)
        cross = vectors.T @ (rows.T @ y)
        return cls(rows, y, x_mean, y_mean, values.clamp_(min=0), vectors, cross)

    def rows(self, index: Tensor) -> Tensor:
        """Some rows in terms of the eigenvectors, (k, P)."""
        return self.x[index] @ self.vectors

    def weights(self, alpha: float) -> Tensor:
        """What R weighs the eigenvectors with, (P,)."""
        return -1 / (self.values + alpha)

    def coefficients(self, alphas: Tensor) -> Tensor:
        """Weights of each target for its alpha, (N, P)."""
        return (self.vectors @ (self.cross / (self.values[:, None] + alphas))).T


@dataclass(frozen=True)
class _FewRows:
    """All ridge fits by the eigenvectors U of XX', centred: R = U alpha (w + alpha)^-1 U'."""

    x: Tensor  # (n, P), as given
    y: Tensor  # (n, N), centred
    x_mean: Tensor  # (P,)
    y_mean: Tensor  # (N,)
    values: Tensor  # w, (n,)
    vectors: Tensor  # U, (n, n)
    cross: Tensor  # U' Y, (n, N)
    own: ClassVar[float] = 0.0

    @classmethod
    def of(cls, x: Tensor, y: Tensor, alpha: float, dtype: torch.dtype) -> _FewRows:
        """Decompose, in float64 if that type does not do for the smallest alpha."""
        gram, means = x.new_zeros(len(x), len(x)), []
        for columns in x.split(N_COLUMNS, dim=1):
            block, mean = _centred(columns, x.dtype)
            gram.addmm_(block, block.T)
            means.append(mean)
        _lift_constant(gram)
        gram = gram.to(dtype if _does(gram, alpha) else torch.float64)
        y, y_mean = _centred(y, gram.dtype)
        values, vectors = torch.linalg.eigh(gram)
        # R takes the mean away before and after, and with it the lifted constant
        vectors -= vectors.mean(0)
        return cls(x, y, torch.cat(means), y_mean, values.clamp_(min=0), vectors, vectors.T @ y)

    def rows(self, index: Tensor) -> Tensor:
        """Some rows of the eigenvectors, (k, n)."""
        return self.vectors[index]

    def weights(self, alpha: float) -> Tensor:
        """What R weighs the eigenvectors with, (n,)."""
        return alpha / (self.values + alpha)

    def coefficients(self, alphas: Tensor) -> Tensor:
        """Weights of each target for its alpha, (N, P)."""
        dual = self.vectors @ (self.cross / (self.values[:, None] + alphas))  # (n, N)
        dual = dual.to(self.x.dtype).T
        blocks = zip(self.x.split(N_COLUMNS, dim=1), self.x_mean.split(N_COLUMNS), strict=True)
        return torch.cat([dual @ (columns - mean) for columns, mean in blocks], dim=1)


_Ridge = _FewFeatures | _FewRows


def _validated(
    x: Tensor, y: Tensor, alphas: np.ndarray, blocks: Sequence[Tensor]
) -> tuple[_Ridge, Tensor]:
    """Ridge fits, and squared residuals of held-out rows, summed, (A, N) float64."""
    kind = _FewFeatures if x.shape[1] <= len(x) else _FewRows
    ridge = kind.of(x, y, alphas.min(), x.dtype)
    errors, pivot = _errors(ridge, alphas, blocks)
    if pivot < PIVOT_FOR_FLOAT32 and ridge.values.dtype == torch.float32:
        ridge = kind.of(x, y, alphas.min(), torch.float64)
        errors, pivot = _errors(ridge, alphas, blocks)
    if pivot < PIVOT_FOR_FLOAT64:
        raise ValueError(
            f"alphas must not vanish beside the features: the smallest is {alphas.min():.3g}, the "
            f"largest eigenvalue of their products {ridge.values.max():.3g}. Leave small ones out."
        )
    return ridge, errors


def _errors(ridge: _Ridge, alphas: np.ndarray, blocks: Sequence[Tensor]) -> tuple[Tensor, float]:
    """Squared residuals of held-out rows, summed, (A, N), and the smallest pivot."""
    total = ridge.y.new_zeros(len(alphas), ridge.y.shape[1], dtype=torch.float64)
    smallest = 1.0
    for a, _, residuals, pivot in _held_out(ridge, alphas, blocks):
        total[a] += residuals.square_().sum(0)
        smallest = min(smallest, pivot)
    return total, smallest


def _held_out(
    ridge: _Ridge, alphas: np.ndarray, blocks: Sequence[Tensor]
) -> Iterator[tuple[int, Tensor, Tensor, float]]:
    """Alpha, rows, their residuals (k, N) when held out, and the smallest pivot, one by one.

    A block with two dimensions, (k, 1), is of rows that are held out each by itself.
    """
    for block in blocks:
        rows = block.flatten()
        z, own = ridge.rows(rows), ridge.own * ridge.y[rows]
        leave_out = _leave_one_out if block.ndim == 2 else _leave_block_out
        for a, alpha in enumerate(alphas.tolist()):
            weights = ridge.weights(alpha)
            residuals = own + z @ (weights[:, None] * ridge.cross)
            yield a, rows, *leave_out(residuals, z, weights, ridge.own, len(ridge.y))


def _leave_block_out(
    residuals: Tensor, z: Tensor, weights: Tensor, own: float, n: int
) -> tuple[Tensor, float]:
    """Residuals of the rows when all of them are held out, and the smallest relative pivot."""
    r = (z * weights) @ z.T  # (k, k)
    r -= own / n
    r.diagonal().add_(own)
    factor, info = torch.linalg.cholesky_ex(r)
    if info.item():
        return residuals, 0.0
    pivot = factor.diagonal().square().min() / r.diagonal().max().clamp_(min=own)
    return torch.cholesky_solve(residuals, factor), pivot.item()


def _leave_one_out(
    residuals: Tensor, z: Tensor, weights: Tensor, own: float, n: int
) -> tuple[Tensor, float]:
    """Residuals of the rows when each is held out by itself, and the smallest relative pivot."""
    r = z.square() @ weights + own * (1 - 1 / n)  # (k,)
    return residuals / r[:, None], (r.min() / r.max().clamp_(min=own)).item()


def _lift_constant(gram: Tensor) -> None:
    """Centre products of rows exactly, then give the constant their mean square, in place."""
    mean = gram.mean(0)
    gram.sub_(mean).sub_(mean[:, None]).add_(mean.mean())
    # its eigenvalue of 0 would look like that of features that depend on each other
    gram.add_(gram.diagonal().mean() / len(gram))


def _does(gram: Tensor, alpha: float) -> bool:
    """Whether the type of the products suffices; for float32, if no eigenvalue is too small."""
    if gram.dtype == torch.float64:
        return True
    largest = _largest_eigenvalue(gram)
    shifted = gram.clone()
    shifted.diagonal().add_(alpha - SHARE_FOR_FLOAT32 * (largest + alpha))
    # only a matrix without negative eigenvalues has this factor
    return torch.linalg.cholesky_ex(shifted).info.item() == 0


def _largest_eigenvalue(gram: Tensor, n_steps: int = 20) -> float:
    """Power iteration, from the row of the largest diagonal; a lower bound, to a few percent."""
    vector, norm = gram[gram.diagonal().argmax()], gram.new_zeros(())
    for _ in range(n_steps):
        vector = gram @ (vector / vector.norm().clamp_(min=1e-30))
        norm = vector.norm()
    return norm.item()


def _centred(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Columns less their mean, as a copy, and the mean; what is constant becomes exactly 0."""
    first = x[0].to(dtype)
    shifted = x.to(dtype, copy=True).sub_(first)
    mean = shifted.mean(0)
    return shifted.sub_(mean), first + mean


def _best(alphas: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Alpha of the highest score of each target, the largest of equals, (N,)."""
    descending = np.argsort(-alphas)
    # constant targets have no score: all alphas do equally well
    ranked = np.nan_to_num(scores[descending])
    return alphas[descending][ranked.argmax(axis=0)]


def _checked_alphas(alphas: Sequence[float]) -> np.ndarray:
    values = np.asarray(alphas, dtype=float)
    if values.ndim != 1 or len(values) == 0 or not ((values > 0) & np.isfinite(values)).all():
        raise ValueError(
            f"alphas must be one or more positive numbers; got {alphas!r}. Powers of ten around "
            "the sum of squares of a feature are a start, such as numpy.logspace(-1, 8, 10)."
        )
    return values


def _matrices(
    features: np.ndarray, responses: np.ndarray, device: str | torch.device, dtype: str
) -> tuple[Tensor, Tensor]:
    x = _matrix(features, device, dtype, "features")
    y = _matrix(responses, device, dtype, "responses")
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(
            "need features and responses of the same two or more rows; got "
            f"{len(x)} and {len(y)}. Select the same images from both."
        )
    return x, y


def _matrix(array: np.ndarray, device: str | torch.device, dtype: str, name: str) -> Tensor:
    """Turn a matrix of finite numbers into a tensor, without a copy where that is possible."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {tuple(DTYPES)}; got {dtype!r}")
    matrix = to_tensor(array, device, name=name)
    if dtype == "float64":
        copied = np.array(array, dtype=np.float64, order="C")
        matrix = torch.from_numpy(copied).to(matrix.device)
    # any NaN or infinity shows in the sum, which is quick
    if not matrix.sum().isfinite():
        bad = int((~matrix.isfinite()).any(0).sum())
        raise ValueError(
            f"{name} must be finite and not so large that they overflow; got NaN or infinity in "
            f"{bad} of {matrix.shape[1]} columns. Leave out those columns, or the rows that lack "
            "them."
        )
    return matrix


def _blocks(folds: Folds, n: int, seed: int, device: torch.device) -> list[Tensor]:
    """Rows that are held out together, (k,), or each by itself, (k, 1)."""
    if folds is None:
        return list(torch.arange(n, device=device)[:, None].split(N_ROWS))
    if isinstance(folds, Integral):
        if not 2 <= folds <= n:
            raise ValueError(
                f"folds must be from 2 to the number of rows ({n}); got {folds}. Pass None to "
                "leave out one row at a time."
            )
        folds = shuffled_folds(np.zeros(n), int(folds), rng=np.random.default_rng(seed))
    folds = np.asarray(folds)
    if folds.shape != (n,) or folds.dtype.kind not in "iu" or len(np.unique(folds)) < 2:
        raise ValueError(
            f"folds must be a number, None, or an integer for each of {n} rows with at least two "
            f"different ones; got shape {folds.shape} of {folds.dtype}"
        )
    return [torch.as_tensor(np.flatnonzero(folds == f), device=device) for f in np.unique(folds)]
