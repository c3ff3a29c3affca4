r"""Directed couplings from binned counts: correlations, partial correlations, coupled spike models.

All give a signed matrix ``(source, target)`` with NaN on the diagonal. A recording is
``(time, neuron)``, or ``(trial, time, neuron)``: no lag reaches into another trial.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.exceptions import ConvergenceWarning

from visualcortex.training import choose_device

FAMILIES = ("poisson", "bernoulli")
MEMORY = 8  # steps that the curvature is learnt from
SMALLEST_STEP = 2.0**-24
ARMIJO = 1e-4  # part of the expected gain that a step must bring


def lagged_correlation(counts: np.ndarray, lag: int = 1) -> np.ndarray:
    r"""Correlation of the source with the target `lag` bins later.

    .. math:: R_{ij} = \mathrm{corr}(x_{t,i},\, x_{t+\mathrm{lag},j})

    Bias: large wherever rates change together, whatever the synapses; at lag 0 it has no
    direction.

    Parameters
    ----------
    counts
        ``(time, neuron)`` or ``(trial, time, neuron)``; any unit.
    lag
        In bins; 0 for the plain correlation.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, float64, NaN on the diagonal.

    Raises
    ------
    ValueError
        Another shape, what is not finite, a neuron that never changes, or too long a lag.
    """
    trials = _checked(counts, lag)
    before, now = _lagged(trials, lag)
    return _without_diagonal(_standard(before).T @ _standard(now) / len(now))


def partial_correlation(
    counts: np.ndarray, *, lag: int = 0, shrinkage: float | None = None
) -> np.ndarray:
    r"""Correlation that is left of two neurons when all others are known.

    With the inverse *P* of the correlation matrix of all neurons,

    .. math:: \rho_{ij} = -P_{ij} / \sqrt{P_{ii} P_{jj}}.

    At lag 0 it is symmetric. For a later lag the matrix is that of :math:`[x_{t-\mathrm{lag}},
    x_t]`, and the source is taken from the past, the target from the present: directed, given the
    past and the present of all others.

    The correlation matrix *R* is shrunk, :math:`(1 - s) R + s I`, so that it can be inverted. Bias:
    toward 0 by the shrinkage; linear, so that a threshold leaves part of a common input in it;
    and only neurons that are recorded can be known.

    Parameters
    ----------
    counts
        ``(time, neuron)`` or ``(trial, time, neuron)``; any unit.
    lag
        In bins.
    shrinkage
        *s*, from 0 to 1; by default that of Ledoit and Wolf (2004), which takes bins for
        independent and so shrinks somewhat too little.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, float64, NaN on the diagonal.

    Raises
    ------
    ValueError
        As `lagged_correlation`; or `shrinkage` is not from 0 to 1, or 0 where bins are fewer than
        neurons.

    References
    ----------
    Ledoit, O., and Wolf, M. (2004). A well-conditioned estimator for large-dimensional covariance
    matrices. Journal of Multivariate Analysis 88, 365-411.
    """
    trials = _checked(counts, lag)
    n = trials.shape[2]
    values = np.concatenate(_lagged(trials, lag), axis=1) if lag else trials.reshape(-1, n)
    values = _standard(values)
    shrunk = ledoit_wolf_shrinkage(values, assume_centered=True) if shrinkage is None else shrinkage
    if not 0 <= shrunk <= 1 or (shrunk == 0 and len(values) <= values.shape[1]):
        raise ValueError(
            f"shrinkage must be from 0 to 1, and above 0 unless bins outnumber neurons (twice "
            f"them with a lag); got {shrunk} for {len(values)} bins of {values.shape[1]} values."
        )
    matrix = (1 - shrunk) * (values.T @ values) / len(values) + shrunk * np.eye(values.shape[1])
    precision = np.linalg.inv(matrix)
    root = np.sqrt(np.diagonal(precision))
    partial = -precision / np.outer(root, root)
    return _without_diagonal(partial[:n, n:] if lag else partial)


class CouplingGLM:
    r"""Spike counts of each neuron from the recent counts of all: a coupled point-process model.

    .. math:: \eta_{t,j} = b_j + \sum_{i,\ell} x_{t-\ell,i}\, w_{\ell ij} + \sum_k z_{t,k}\, v_{kj},
              \qquad \ell = 1 \dots n_\mathrm{lags},

    where :math:`i = j` is the neuron's own history and *z* what else is known (the stimulus).
    Counts are Poisson of mean :math:`e^\eta`, or 0 and 1 with probability of 1 equal to
    :math:`1/(1 + e^{-\eta})`. For each target *j* the mean negative log-likelihood of a bin
    :math:`+ \frac{\alpha}{2} (\|w_j\|^2 + \|v_j\|^2)` is smallest, a convex problem; all targets
    are fitted at once, by a quasi-Newton method (L-BFGS) that starts from the common second
    moment of the inputs.

    Bias: couplings shrink towards 0 with `alpha`. Neurons that are not recorded and share input
    with those that are make couplings which are no synapses.

    Parameters
    ----------
    n_lags
        Bins of history.
    family
        ``"poisson"`` or ``"bernoulli"``.
    alpha
        Penalty on all weights but the constant, per bin: that of scikit-learn's
        ``PoissonRegressor``; its ``LogisticRegression`` calls ``1 / (alpha n_bins)`` C.
    tolerance
        A target is done when the log-likelihood of all its bins is expected to gain less than
        this, in nats.
    max_steps
        Steps at most; a `ConvergenceWarning` says so when they were not enough.
    dtype
        ``"float32"`` or ``"float64"``.
    device
        Where it is fitted; ``"auto"`` is the GPU if there is one.

    Attributes
    ----------
    coupling_ : (lag, source, target) numpy.ndarray
        Weights of histories; lag 1 first.
    scores_ : (source, target) numpy.ndarray
        Their sums over lags, NaN on the diagonal.
    history_ : (lag, neuron) numpy.ndarray
        Weights of each neuron's own history.
    regressors_ : (regressor, target) numpy.ndarray
        Weights of what else is known.
    intercept_ : (target,) numpy.ndarray
        Constants.
    n_steps_ : int
        Steps that were taken.

    Notes
    -----
    Memory: inputs are held once, 4 n_bins n_lags n_neurons bytes in float32, and some six arrays
    of ``(bin, neuron)``.

    References
    ----------
    Pillow, J. W., and others (2008). Spatio-temporal correlations and visual signalling in a
    complete neuronal population. Nature 454, 995-999.
    """

    def __init__(
        self,
        n_lags: int = 3,
        *,
        family: str = "poisson",
        alpha: float = 1e-4,
        tolerance: float = 1e-3,
        max_steps: int = 200,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.n_lags, self.family, self.alpha = n_lags, family, alpha
        self.tolerance, self.max_steps = tolerance, max_steps
        self.dtype, self.device = dtype, device

    def fit(self, counts: np.ndarray, regressors: np.ndarray | None = None) -> CouplingGLM:
        """Fit the couplings of all targets.

        Parameters
        ----------
        counts
            Whole and not negative, ``(time, neuron)`` or ``(trial, time, neuron)``.
        regressors
            What else is known at each bin, ``(time, regressor)`` or ``(trial, time, regressor)``;
            of similar size, since all are penalised alike.

        Raises
        ------
        ValueError
            Settings, shapes or values are not as described, or a neuron has no spikes (or, as
            0 and 1, nothing else): its constant would be infinite.
        """
        self._check_settings()
        trials = _checked(counts, self.n_lags)
        _check_counts(trials, self.family, self.n_lags)
        n = trials.shape[2]
        problem = _Likelihood(*self._tensors(trials, regressors), self.family, self.alpha)
        weights, self.n_steps_, done = _minimise(problem, self.tolerance, self.max_steps)
        if not done:
            warnings.warn(
                f"not all targets converged in {self.max_steps} steps; allow more steps, or a "
                f"larger alpha or tolerance",
                ConvergenceWarning,
                stacklevel=2,
            )
        fitted = weights.double().cpu().numpy()
        histories = n * self.n_lags
        self.intercept_, self.regressors_ = fitted[0], fitted[1 + histories :]
        self.coupling_ = fitted[1 : 1 + histories].reshape(self.n_lags, n, n)
        self.history_ = np.diagonal(self.coupling_, axis1=1, axis2=2).copy()
        self.scores_ = _without_diagonal(self.coupling_.sum(axis=0))
        return self

    def predict(self, counts: np.ndarray, regressors: np.ndarray | None = None) -> np.ndarray:
        """Return the expected counts of each bin given those before it.

        Parameters
        ----------
        counts, regressors
            As for `fit`, of the same neurons.

        Returns
        -------
        numpy.ndarray
            ``(bin, neuron)``, float64: of each trial the bins from `n_lags` on, trial after trial.

        Raises
        ------
        ValueError
            Shapes or values are not as described.
        """
        inputs, _ = self._tensors(_checked(counts, self.n_lags, silent=True), regressors)
        parts = (
            self.intercept_[None],
            self.coupling_.reshape(-1, len(self.intercept_)),
            self.regressors_,
        )
        weights = torch.from_numpy(np.concatenate(parts)).to(inputs)
        if inputs.shape[1] != len(weights):
            raise ValueError(
                f"the model was fitted to {len(weights)} inputs a bin; got {inputs.shape[1]}. "
                f"Pass the same neurons and regressors."
            )
        drive = inputs @ weights
        mean = torch.exp(drive) if self.family == "poisson" else torch.sigmoid(drive)
        return mean.double().cpu().numpy()

    def _check_settings(self) -> None:
        known = self.family in FAMILIES and self.dtype in ("float32", "float64")
        if not known or self.n_lags < 1 or self.alpha < 0:
            raise ValueError(
                f"family must be one of {', '.join(FAMILIES)}, dtype float32 or float64, n_lags at "
                f"least 1 and alpha at least 0; got {self.family!r}, {self.dtype!r}, "
                f"{self.n_lags} and {self.alpha}."
            )

    def _tensors(
        self, trials: np.ndarray, regressors: np.ndarray | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs ``(bin, 1 + lag x neuron + regressor)`` and the counts that they explain."""
        n_trials, n_time, n = trials.shape
        rows = n_trials * (n_time - self.n_lags)
        known = _known(regressors, trials)
        inputs = np.empty((rows, 1 + n * self.n_lags + known.shape[2]), self.dtype)
        inputs[:, 0] = 1
        for lag in range(1, self.n_lags + 1):
            past = trials[:, self.n_lags - lag : n_time - lag]
            inputs[:, 1 + n * (lag - 1) : 1 + n * lag] = past.reshape(rows, n)
        inputs[:, 1 + n * self.n_lags :] = known[:, self.n_lags :].reshape(rows, -1)
        answers = trials[:, self.n_lags :].reshape(rows, n).astype(self.dtype)
        device = choose_device(self.device)
        return torch.from_numpy(inputs).to(device), torch.from_numpy(answers).to(device)


class _Likelihood:
    """Penalised mean negative log-likelihood of a bin, of each target; weights ``(input, target)``.

    The first input is the constant.
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor, family: str, alpha: float) -> None:
        self.x, self.y, self.poisson = x, y, family == "poisson"
        self.alpha = torch.full((x.shape[1], 1), alpha, dtype=x.dtype, device=x.device)
        self.alpha[0] = 0
        self.n_bins = len(x)
        self.mean = y.mean(dim=0)
        # in float64: a Gram matrix in float32 can come out with negative eigenvalues
        gram = (x.T @ x).double() / self.n_bins
        values, vectors = torch.linalg.eigh(gram)
        self.values, self.vectors = values.clamp(min=0).to(x.dtype), vectors.to(x.dtype)

    def start(self) -> torch.Tensor:
        """Weights at which every target keeps its mean rate."""
        weights = torch.zeros(self.x.shape[1], self.y.shape[1]).to(self.x)
        odds = self.mean if self.poisson else self.mean / (1 - self.mean)
        weights[0] = odds.log()
        return weights

    def rescale(self, gradient: torch.Tensor) -> torch.Tensor:
        """Multiply by the inverse curvature that there would be at the mean rate."""
        bend = self.mean if self.poisson else self.mean * (1 - self.mean)
        least = 1e-6 * self.values.max()  # directions that the inputs do not have
        curvature = bend * (self.values + least)[:, None] + self.alpha.max()
        return self.vectors @ ((self.vectors.T @ gradient) / curvature)

    def loss(self, drive: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Value of each target, float64; infinite where a rate is."""
        soft = torch.nn.functional.softplus
        bins = torch.exp(drive) if self.poisson else soft(drive)
        bins = bins.sub_(self.y * drive).sum(dim=0, dtype=torch.float64) / self.n_bins
        return bins + 0.5 * (self.alpha * weights**2).sum(dim=0, dtype=torch.float64)

    def gradient(self, drive: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Its derivative by the weights, ``(input, target)``."""
        mean = torch.exp(drive) if self.poisson else torch.sigmoid(drive)
        return self.x.T @ mean.sub_(self.y) / self.n_bins + self.alpha * weights


def _minimise(
    problem: _Likelihood, tolerance: float, max_steps: int
) -> tuple[torch.Tensor, int, bool]:
    """L-BFGS of all targets side by side; weights, steps taken, and whether all are done."""
    weights = problem.start()
    drive = problem.x @ weights
    loss, gradient = problem.loss(drive, weights), problem.gradient(drive, weights)
    past: list[tuple[torch.Tensor, torch.Tensor]] = []
    for step in range(max_steps):
        direction = -_inverse_hessian(gradient, past, problem.rescale)
        slope = (direction * gradient).sum(dim=0)
        # what Newton's method would still gain, in nats of all bins
        active = -slope * problem.n_bins / 2 > tolerance
        if not active.any():
            return weights, step, True
        direction = torch.where(active, direction, 0)
        turn = problem.x @ direction
        length = _line_search(problem, (weights, drive, loss), (direction, turn, slope))
        if not length.any():
            return weights, step, True  # rounding is all that is left
        change = length * direction
        weights, drive = weights + change, drive.add_(length * turn)
        before = gradient
        loss, gradient = problem.loss(drive, weights), problem.gradient(drive, weights)
        past = [*past[-MEMORY + 1 :], (change, gradient - before)]
    return weights, max_steps, False


def _line_search(
    problem: _Likelihood,
    now: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    along: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Halve the step of each target until its loss falls enough; 0 where it never does."""
    (weights, drive, loss), (direction, turn, slope) = now, along
    length = torch.ones_like(slope)
    waiting = direction.abs().sum(dim=0) > 0
    length[~waiting] = 0
    while waiting.any() and length.max() > SMALLEST_STEP:
        tried = problem.loss(drive + length * turn, weights + length * direction)
        waiting &= ~(tried <= loss + ARMIJO * length * slope)  # NaN is not enough
        length[waiting] /= 2
    length[waiting] = 0
    return length


def _inverse_hessian(
    gradient: torch.Tensor,
    past: list[tuple[torch.Tensor, torch.Tensor]],
    rescale: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Multiply by the inverse curvature learnt from past steps (Nocedal 1980), by target."""
    result, kept = gradient, []
    for change, bend in reversed(past):
        size = (change * bend).sum(dim=0)
        share = torch.where(size > 0, 1 / size.clamp(min=1e-30), 0)  # targets that stood still
        along = share * (change * result).sum(dim=0)
        result = result - along * bend
        kept.append((share, along))
    result = rescale(result)
    for (change, bend), (share, along) in zip(past, reversed(kept), strict=True):
        result = result + change * (along - share * (bend * result).sum(dim=0))
    return result


def _checked(counts: np.ndarray, lag: int, silent: bool = False) -> np.ndarray:
    """Return ``(trial, time, neuron)``, float32 or float64, whatever the shape that came."""
    counts = np.asarray(counts)
    trials = counts[None] if counts.ndim == 2 else counts
    if trials.ndim != 3 or 0 in trials.shape or counts.dtype.kind not in "biuf":
        raise ValueError(
            f"counts must be numbers (time, neuron) or (trial, time, neuron), none of them empty; "
            f"got shape {counts.shape} of {counts.dtype}."
        )
    if not 0 <= lag < trials.shape[1]:
        raise ValueError(
            f"lags must be shorter than a trial of {trials.shape[1]} bins, and not negative; got "
            f"{lag}. Choose fewer lags or longer trials."
        )
    if trials.dtype.kind == "f" and not np.isfinite(trials).all():
        raise ValueError("counts must be finite; got NaN or infinity. Drop those trials.")
    if not silent and (still := np.flatnonzero(np.ptp(trials, axis=(0, 1)) == 0)).size:
        raise ValueError(
            f"every neuron must change at some time; {len(still)} never do (neuron "
            f"{', '.join(map(str, still[:5]))}). Leave them out."
        )
    return trials if trials.dtype.kind == "f" else trials.astype(np.float32)


def _check_counts(trials: np.ndarray, family: str, n_lags: int) -> None:
    wrong = (trials < 0).any() or (trials != np.floor(trials)).any()
    if wrong or (family == "bernoulli" and trials.max() > 1):
        allowed = "0 or 1" if family == "bernoulli" else "whole and not negative"
        raise ValueError(
            f"counts of the {family} family must be {allowed}; got values from {trials.min():g} "
            f"to {trials.max():g}. Choose narrower bins, or counts instead of rates."
        )
    mean = trials[:, n_lags:].mean(axis=(0, 1))
    if (still := np.flatnonzero((mean == 0) | ((mean == 1) & (family == "bernoulli")))).size:
        raise ValueError(
            f"neuron {still[0]} has the same count in all bins after the first {n_lags} bins of "
            f"trials, so that no finite constant fits it. Leave it out."
        )


def _known(regressors: np.ndarray | None, trials: np.ndarray) -> np.ndarray:
    """Return the regressors ``(trial, time, regressor)``; none is a width of 0."""
    if regressors is None:
        return np.empty((*trials.shape[:2], 0))
    known = np.asarray(regressors)
    known = known[None] if known.ndim == 2 else known
    if known.ndim != 3 or known.shape[:2] != trials.shape[:2] or not np.isfinite(known).all():
        raise ValueError(
            f"regressors must be finite, (time, regressor) or (trial, time, regressor), of the "
            f"{trials.shape[0]} trials of {trials.shape[1]} bins of counts; got "
            f"{np.shape(regressors)}."
        )
    return known


def _lagged(trials: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values before and after the lag, ``(bin, neuron)`` each."""
    n_time, n = trials.shape[1:]
    return trials[:, : n_time - lag].reshape(-1, n), trials[:, lag:].reshape(-1, n)


def _standard(values: np.ndarray) -> np.ndarray:
    """Return float64 of mean 0 and variance 1."""
    values = values - values.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(np.mean(values**2, axis=0))
    if (spread == 0).any():
        raise ValueError(
            f"neuron {np.flatnonzero(spread == 0)[0]} changes only at the ends of trials, which "
            f"the lag leaves out. Leave it out too."
        )
    return values / spread


def _without_diagonal(scores: np.ndarray) -> np.ndarray:
    np.fill_diagonal(scores := np.array(scores, np.float64), np.nan)
    return scores
