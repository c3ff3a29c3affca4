"""Linear readouts of a population: what can be told from a weighted sum of its neurons."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from visualcortex.training import to_tensor

PRIORS = ("balanced", "empirical")


class ShrinkageLDA(ClassifierMixin, BaseEstimator):
    r"""Linear discriminant analysis with a covariance matrix shrunk towards the identity.

    With class means :math:`\mu_k`, and the covariance S of the trials about the mean of their
    class (divided by n, classes weighted by their number of trials),

    .. math:: \Sigma = (1 - s) S + s\, \frac{\mathrm{tr}\, S}{N} I, \qquad
              \delta_k(x) = x^T \Sigma^{-1} \mu_k - \tfrac12 \mu_k^T \Sigma^{-1} \mu_k
              + \log \pi_k.

    One Cholesky factorisation of N x N numbers or, where there are more neurons than trials, of
    n x n numbers by the identity of Woodbury, O(n^2 N): the same decisions either way.

    Bias: shrinkage s > 0 pulls the discriminants towards those of equal, uncorrelated neurons; it
    is needed where neurons outnumber trials. Probabilities are those of normal classes with
    covariance :math:`\Sigma`: overconfident where trials are few for the number of neurons.
    Scores of the fitted trials are too high; score other images. Standardise neurons first: the
    identity is not the same in other units.

    Parameters
    ----------
    shrinkage : float
        s, from 0 to 1. Fixed, not tuned.
    priors : {"balanced", "empirical"}
        :math:`\pi_k`: the same for all classes, or their shares of the fitted trials.
    device : str or torch.device
        Where to compute.

    Attributes
    ----------
    classes_ : (n_classes,) array
    coef_ : (n_classes, n_neurons) array
        Weights of the differences from `mean_`, float32.
    intercept_ : (n_classes,) array
        float32.
    mean_ : (n_neurons,) array
        Mean of the fitted trials, float32.
    n_features_in_ : int
        Number of neurons.

    References
    ----------
    Friedman, J. H. (1989). Regularized discriminant analysis. JASA 84.
    """

    def __init__(
        self,
        shrinkage: float = 0.1,
        *,
        priors: str = "balanced",
        device: str | torch.device = "auto",
    ) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.device = device

    @torch.inference_mode()
    def fit(self, features: np.ndarray, labels: np.ndarray) -> ShrinkageLDA:
        """Learn means and weights.

        Parameters
        ----------
        features : (n_trials, n_neurons) array
            Any unit.
        labels : (n_trials,) array
            Class of each trial, at least two.

        Returns
        -------
        ShrinkageLDA
            Itself.

        Raises
        ------
        ValueError
            If there is not one label a trial, or only one class; shrinkage or priors are not as
            described; or the shrunk covariance has no inverse.
        """
        x, labels = to_tensor(features, self.device, name="features"), np.asarray(labels)
        _check_settings(self.shrinkage, self.priors)
        self.classes_, counts, members = _one_hot(labels, x)
        _check_rank(self.shrinkage, len(x) - len(counts), x.shape[1])
        mean = x.mean(0)
        x = x - mean
        means = (members / counts).T @ x  # (K, N)
        x -= members @ means
        solve = _solve_neurons if x.shape[1] <= len(x) else _solve_trials
        weights = solve(x, means, self.shrinkage)  # (K, N)
        log_prior = _log_prior(counts, self.priors)
        self.mean_, self.coef_ = mean.cpu().numpy(), weights.cpu().numpy()
        self.intercept_ = (log_prior - (weights * means).sum(1) / 2).cpu().numpy()
        self.n_features_in_ = x.shape[1]
        return self

    @torch.inference_mode()
    def decision_function(self, features: np.ndarray) -> np.ndarray:
        r"""Log posterior of each class up to a number that is the same for all classes.

        Parameters
        ----------
        features : (n_trials, n_neurons) array
            In the unit of the fitted trials.

        Returns
        -------
        (n_trials, n_classes) array
            float32; two columns for two classes.

        Raises
        ------
        ValueError
            If the neurons are not those that were fitted.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "coef_")
        x = to_tensor(features, self.device, name="features")
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"features must have the {self.n_features_in_} neurons that were fitted; got "
                f"{x.shape[1]}. Select the same neurons from both."
            )
        fitted = self.mean_, self.coef_, self.intercept_
        mean, weights, intercept = (torch.from_numpy(a).to(x.device) for a in fitted)
        return torch.addmm(intercept, x - mean, weights.T).cpu().numpy()

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Most probable class of each trial, (n_trials,), from `classes_`."""
        best = self.decision_function(features).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posterior of each class, (n_trials, n_classes) float32; rows add up to 1."""
        return softmax(self.decision_function(features), axis=1)


@torch.inference_mode()
def held_out_decisions(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    shrinkage: float = 0.1,
    priors: str = "balanced",
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Decide each trial by a `ShrinkageLDA` that was fitted to the other folds.

    The same as a loop over folds, but products of features are formed once for all folds: those
    of the training trials are a difference (neurons) or a part (trials) of those of all trials.

    Bias: accuracy computed from the result is, without bias, that of a readout of as many trials
    as a training set has, if nothing was chosen with the help of it and no image is in two folds.

    Parameters
    ----------
    features : (n_trials, n_neurons) array
        Any unit. Preprocessing must not have used labels of test trials.
    labels : (n_trials,) array
        Class of each trial.
    folds : (n_trials,) array of int
        Fold in which each trial is tested. Presentations of one image belong in one fold.
    shrinkage, priors, device
        As in `ShrinkageLDA`.

    Returns
    -------
    (n_trials, n_classes) array
        float32, as `ShrinkageLDA.decision_function`; columns in the order of ``np.unique(labels)``.

    Raises
    ------
    ValueError
        As `ShrinkageLDA.fit`; or a training set lacks a class.
    """
    x = to_tensor(features, device, name="features")
    labels, folds = np.asarray(labels), np.asarray(folds)
    _check_settings(shrinkage, priors)
    _check_folds(labels, folds, len(x))
    x = x - x.mean(0)
    members = _one_hot(labels, x)[2]
    most = np.unique(folds, return_counts=True)[1].max()
    _check_rank(shrinkage, len(x) - most - members.shape[1], x.shape[1])
    tests = [torch.as_tensor(folds == fold, device=x.device) for fold in np.unique(folds)]
    decide = _decide_by_neurons if x.shape[1] <= len(x) else _decide_by_trials
    return decide(x, members, tests, shrinkage, priors).cpu().numpy()


def _decide_by_neurons(
    x: torch.Tensor, members: torch.Tensor, tests: list[torch.Tensor], s: float, priors: str
) -> torch.Tensor:
    products = [x[test].T @ x[test] for test in tests]
    total = sum(products)
    decisions = torch.empty_like(members)
    for test, product in zip(tests, products, strict=True):
        z, kept = members[~test], x[~test]
        counts = z.sum(0)
        means = (z / counts).T @ kept  # (K, N)
        scatter = total - product - (means.T * counts) @ means
        weights = _weights(scatter / len(z), means, s)
        offset = _log_prior(counts, priors) - (weights * means).sum(1) / 2
        decisions[test] = torch.addmm(offset, x[test], weights.T)
    return decisions


def _decide_by_trials(
    x: torch.Tensor, members: torch.Tensor, tests: list[torch.Tensor], s: float, priors: str
) -> torch.Tensor:
    gram = x @ x.T  # (n, n)
    decisions = torch.empty_like(members)
    for test in tests:
        z, products = members[~test], gram[~test]
        counts, label = z.sum(0), z.argmax(1)
        averaging = z / counts  # (n, K)
        kernel = products[:, ~test]
        cross = kernel @ averaging  # trials times means, (n, K)
        between = averaging.T @ cross  # means times means, (K, K)
        residual = kernel - cross[:, label] - cross.T[label] + between[label][:, label]
        # residuals times the solution, then in terms of the trials themselves
        solved, identity = _solve_small(residual, cross - between[label], x.shape[1], s)
        weights = (averaging - solved + averaging @ (z.T @ solved)) / identity
        offset = _log_prior(counts, priors) - (weights * cross).sum(0) / 2
        decisions[test] = torch.addmm(offset, products[:, test].T, weights)
    return decisions


def _solve_neurons(residual: torch.Tensor, means: torch.Tensor, s: float) -> torch.Tensor:
    return _weights(residual.T @ residual / len(residual), means, s)


def _solve_trials(residual: torch.Tensor, means: torch.Tensor, s: float) -> torch.Tensor:
    cross = residual @ means.T  # (n, K)
    solved, identity = _solve_small(residual @ residual.T, cross, residual.shape[1], s)
    return (means - solved.T @ residual) / identity


def _weights(covariance: torch.Tensor, means: torch.Tensor, s: float) -> torch.Tensor:
    """Solve Sigma W' = means' for the weights W, (K, N)."""
    shrunk = (1 - s) * covariance
    shrunk.diagonal().add_(s * covariance.trace() / len(covariance))
    return torch.cholesky_solve(means.T, _cholesky(shrunk)).T


def _solve_small(
    gram: torch.Tensor, cross: torch.Tensor, n_neurons: int, s: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve for V in Sigma^-1 = (1 - R' V) / a; give V times the means, and a.

    With residuals R, R R' = gram and R means' = cross; Sigma = a + (1 - s) R' R / n.
    """
    n_trials = len(gram)
    identity = s * gram.trace() / n_trials / n_neurons
    shrunk = (1 - s) * gram
    shrunk.diagonal().add_(n_trials * identity)
    return (1 - s) * torch.cholesky_solve(cross, _cholesky(shrunk)), identity


def _cholesky(matrix: torch.Tensor) -> torch.Tensor:
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info.item():
        raise ValueError(
            "the covariance of the trials about their class means has no inverse; raise shrinkage "
            "above 0, and drop neurons that never respond"
        )
    return factor


def _log_prior(counts: torch.Tensor, priors: str) -> torch.Tensor:
    shares = counts if priors == "empirical" else torch.ones_like(counts)
    return torch.log(shares / shares.sum())


def _one_hot(labels: np.ndarray, x: torch.Tensor) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Classes, trials in each (K,) and which trial is in which (n, K)."""
    if labels.shape != (len(x),):
        raise ValueError(
            f"need one label a trial; got {len(x)} trials and labels of shape {labels.shape}"
        )
    classes, label = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"need at least two classes to tell apart; got {classes.tolist()}")
    members = torch.eye(len(classes), device=x.device)[torch.as_tensor(label, device=x.device)]
    return classes, members.sum(0), members


def _check_settings(shrinkage: float, priors: str) -> None:
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be from 0 to 1; got {shrinkage}")
    if priors not in PRIORS:
        raise ValueError(f"priors must be one of {PRIORS}; got {priors!r}")


def _check_rank(shrinkage: float, rank: int, n_neurons: int) -> None:
    # rounding would hide it from the factorisation
    if shrinkage == 0 and rank < n_neurons:
        raise ValueError(
            f"trials about their class means span at most {rank} of {n_neurons} dimensions, so "
            "their covariance has no inverse; raise shrinkage above 0 or use fewer neurons"
        )


def _check_folds(labels: np.ndarray, folds: np.ndarray, n_trials: int) -> None:
    if not labels.shape == folds.shape == (n_trials,):
        raise ValueError(
            f"need one label and one fold for each of {n_trials} trials; "
            f"got shapes {labels.shape} and {folds.shape}"
        )
    for fold in np.unique(folds):
        missing = np.setdiff1d(labels, labels[folds != fold])
        if len(missing):
            raise ValueError(
                f"the training set of fold {fold} lacks classes {missing.tolist()}; make folds "
                "that hold a part of each class"
            )
