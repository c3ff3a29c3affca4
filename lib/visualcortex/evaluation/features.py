"""What a two-sample test looks at: trials as deviations from what their condition expects."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from visualcortex.evaluation.scores import trial_rates

# A neuron that is silent under a condition has no spread to divide by; in fractions of frames.
SMALLEST_SPREAD = 0.02


class PopulationFeatures(BaseEstimator):
    r"""Deviations of a trial from the mean of its condition, and how they hang together.

    With the mean :math:`m_{si}` and s.d. :math:`\sigma_{si}` of neuron i under condition s, both
    from the trials given to `fit`, a trial is first turned into
    :math:`z_i = (x_i - m_{si}) / \sigma_{si}`. Differences *between* conditions, which would bury
    everything else, are gone. Features are the scores :math:`p_k` of z on the leading principal
    axes of the fitted trials (in their s.d.), :math:`\log(p_k^2 + .01)`, the mean of z and its
    square, :math:`\log` of the mean of :math:`z^2` and of the population rate, and, where there is
    time, the share of active frames that are followed by another.

    Bias: the trials given to `fit` lie closer to their own means than others do. Compare only sets
    of which neither or both were fitted on.

    Parameters
    ----------
    n_axes : int
        Number of principal axes, at most the number of neurons.

    Attributes
    ----------
    conditions_ : (n_conditions,) array
    means_, spreads_ : (n_conditions, n_neurons) array
        In the unit of the activity.
    axes_ : (n_neurons, n_axes) array
        Principal axes over the s.d. of their scores.
    """

    def __init__(self, n_axes: int = 8) -> None:
        self.n_axes = n_axes

    def fit(self, activity: np.ndarray, conditions: np.ndarray) -> PopulationFeatures:
        """Learn means, spreads and axes.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Activity in [0, 1].
        conditions : (n_trials,) array of int
            Condition of each trial.

        Returns
        -------
        PopulationFeatures
            Itself.

        Raises
        ------
        ValueError
            If there is not one condition a trial.
        """
        rates = _checked_rates(activity, conditions)
        self.conditions_ = np.unique(conditions)
        groups = [rates[conditions == c] for c in self.conditions_]
        self.means_ = np.stack([g.mean(axis=0) for g in groups])
        self.spreads_ = np.maximum([g.std(axis=0) for g in groups], SMALLEST_SPREAD)
        deviations = self._deviations(rates, conditions)
        axes = np.linalg.svd(deviations, full_matrices=False)[2][: self.n_axes].T  # (N, K)
        self.axes_ = axes / np.maximum((deviations @ axes).std(axis=0), 1e-12)
        return self

    def transform(self, activity: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        """Describe trials.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Activity in [0, 1].
        conditions : (n_trials,) array of int
            Condition of each trial, among the fitted ones.

        Returns
        -------
        (n_trials, 2 n_axes + 4) array, one more where there is time

        Raises
        ------
        ValueError
            If a condition was not fitted, or there is not one a trial.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "axes_")
        rates = _checked_rates(activity, conditions)
        z = self._deviations(rates, conditions)  # (B, N)
        scores = z @ self.axes_  # (B, K)
        mean = z.mean(axis=1)
        columns = [scores, np.log(scores**2 + 0.01), mean, mean**2]
        columns += [np.log((z**2).mean(axis=1) + 0.01), np.log(rates.mean(axis=1) + 0.001)]
        return np.column_stack(columns + _persistence(np.asarray(activity, dtype=float)))

    def _deviations(self, rates: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        unknown = np.setdiff1d(conditions, self.conditions_)
        if len(unknown):
            raise ValueError(f"conditions {unknown.tolist()} were not fitted: fit on all of them")
        row = np.searchsorted(self.conditions_, conditions)
        return (rates - self.means_[row]) / self.spreads_[row]


def _checked_rates(activity: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    rates = trial_rates(activity)
    if len(rates) != len(conditions):
        raise ValueError(f"{len(rates)} trials of activity but {len(conditions)} conditions")
    return rates


def _persistence(frames: np.ndarray) -> list[np.ndarray]:
    """Share of active frames followed by an active one, all neurons together, [(B,)] or []."""
    if frames.ndim == 2 or frames.shape[1] == 1:
        return []
    pairs = (frames[:, :-1] * frames[:, 1:]).sum(axis=(1, 2))
    return [pairs / np.maximum(frames[:, :-1].sum(axis=(1, 2)), 1)]
