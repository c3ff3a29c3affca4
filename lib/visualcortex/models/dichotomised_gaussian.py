r"""Population activity from thresholds on correlated Gaussian variables.

The covariance of two thresholded Gaussian variables is a power series in their latent correlation
whose coefficients factorise over the two neurons (Mehler's formula). The coefficients of all pairs
are therefore a few matrix products, and the latent correlations of all pairs are solved at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import toeplitz
from scipy.special import ndtri
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from visualcortex.evaluation.surrogates import checked_frames, stimulus_codes

# Latent correlations are kept this far from 1, where the series needs ever more terms.
LIMIT = 0.97
N_TERMS = 200
# Levels that graded activity may have; fractions of a trial's frames have few.
MOST_LEVELS = 256
# Candidates among which shares and correlations in time are sought, before a parabola is fitted.
N_CANDIDATES = 65
N_ROUNDS = 5
# Newton steps at most, and the change at which they, like other iterations, end.
MOST_STEPS = 60
TOLERANCE = 1e-9
# Of one frame: less than this says nothing about a lag.
SMALLEST_SHARE = 0.05
SQRT_2_PI = np.sqrt(2 * np.pi)


class _Marginals(NamedTuple):
    """What each neuron does by itself: P(x >= level) for each stimulus and frame."""

    tails: np.ndarray  # (S, T or 1, L, N)
    levels: np.ndarray  # (L + 1,)
    weights: np.ndarray  # (S,), share of the trials


class _Moments(NamedTuple):
    """Noise covariances by lag, and how far sampling moves those at lag zero."""

    covariance: np.ndarray  # (lag, N, N)
    variance: np.ndarray  # (N, N)


class DichotomisedGaussian(BaseEstimator):
    r"""Binary frames with given rates and pairwise noise correlations; everything else is Gaussian.

    .. math::

        x_{it} = [\gamma_{i s t} + u_{it} > 0], \qquad u_{\cdot t} \sim N(0, \Lambda)

    (Macke et al. 2009). The thresholds hold each neuron's rate for each stimulus s and frame t; the
    latent correlation of each pair solves

    .. math::

        C_{ij} = \Big\langle \Phi_2(\gamma_i, \gamma_j; \Lambda_{ij}) - \Phi(\gamma_i)
            \Phi(\gamma_j) \Big\rangle_{s, t},

    with the observed noise covariance of frames on the left (about the mean of stimulus and frame,
    pooled over both); :math:`\Lambda` is then replaced by the nearest correlation matrix. Graded
    activity with few levels has a threshold for each level: a discretised Gaussian with each
    neuron's own distribution for each stimulus.

    With `temporal`, latents are correlated in time as well, by :math:`S_{ij} \kappa(|t - t'|)`
    between frames. S is :math:`\Lambda` with another diagonal, the share of a neuron's latent that
    lasts; shares and :math:`\kappa` are chosen by least squares on the lagged noise covariances,
    and what is left of :math:`\Lambda` at lag zero is white in time: a separable correlation of
    neurons and time plus private noise. Otherwise frames are independent given the stimulus.

    Bias: what is not in rates, pairwise covariances and, if asked for, their time course, is that
    of a Gaussian: heavy tails of the number of active neurons come out only as far as those
    follow from pairs. Time courses of rates are pulled a little to the course that neurons share.
    With few coincidences a pair's correlation is hardly known: unless `shrink` is off, it is
    pulled towards the mean of all pairs, by as much as its sampling variance asks beside the
    spread over pairs (empirical Bayes), so that pairs of quiet neurons look more alike than they
    are. Latent correlations beyond 0.97 come out as 0.97. Lagged covariances are read as if rates
    did not change between the two frames. A neuron that is never active in training never is.

    Parameters
    ----------
    temporal : bool
        Whether frames of a trial are correlated in time.
    time_course : bool
        Whether rates may change over the frames of a trial; else each stimulus has one rate. What
        then is locked to the stimulus in time counts as noise covariance.
    shrink : bool
        Whether covariances of pairs are pulled towards what the mean correlation would give.

    Attributes
    ----------
    labels_ : (n_stimuli,) array
        The stimuli that can be sampled.
    thresholds_ : (n_stimuli, n_time or 1, n_levels, n_neurons) array
        :math:`-\gamma`, in s.d. of the latents; infinite where a level is never reached.
    latent_correlation_ : (n_neurons, n_neurons) array
        Lambda, at lag zero.
    lasting_ : (n_neurons, n_neurons) array
        S; zero unless `temporal`.
    time_correlation_ : (n_time, n_time) array
        Kappa; the identity unless `temporal`.

    References
    ----------
    Macke, J. H., Berens, P., Ecker, A. S., Tolias, A. S. & Bethge, M. (2009). Generating spike
    trains with specified correlation coefficients. Neural Computation 21.
    """

    def __init__(
        self, *, temporal: bool = False, time_course: bool = True, shrink: bool = True
    ) -> None:
        self.temporal = temporal
        self.time_course = time_course
        self.shrink = shrink

    def fit(self, activity: np.ndarray, labels: np.ndarray) -> DichotomisedGaussian:
        """Find thresholds and latent correlations.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Active frames (0 or 1), or graded activity in [0, 1] with few levels.
        labels : (n_trials,) array
            Stimulus of each trial.

        Returns
        -------
        DichotomisedGaussian
            Itself.

        Raises
        ------
        ValueError
            If activity lies outside [0, 1], is not finite or has too many levels, shapes
            disagree, no stimulus was shown twice, or `temporal` is asked for without time.
        """
        frames = checked_frames(activity, labels)
        self.labels_, codes = np.unique(labels, return_inverse=True)
        self.has_time_ = np.ndim(activity) == 3
        self.n_time_ = frames.shape[1]
        _check_sizes(frames, codes, self.temporal)
        self.levels_ = _levels(frames)
        marginals = _marginals(frames, codes, self.levels_, self.time_course)
        self.thresholds_ = -ndtri(marginals.tails)
        series = _pooled_series(self.thresholds_, marginals)  # (K, N, N)
        moments = _moments(frames, codes, marginals, frames.shape[1] if self.temporal else 1)
        target = moments.covariance[0]
        if self.shrink:
            target = _shrunk(series, target, moments.variance)
        self.latent_correlation_ = nearest_correlation(_solve(series, target))
        self._fit_time(series, moments)
        return self

    def sample(self, labels: np.ndarray, *, seed: int) -> np.ndarray:
        """Draw a trial for each label.

        Parameters
        ----------
        labels : (n_trials,) array
            Stimuli, among those of the training trials.
        seed : int
            Of the latents; the same seed gives the same trials.

        Returns
        -------
        (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Activity on the levels of training, with time if training had it.

        Raises
        ------
        ValueError
            If a label was not in training.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "time_correlation_")
        codes = stimulus_codes(labels, self.labels_)
        latents = self._latents(len(codes), np.random.default_rng(seed))  # (B, T, N)
        passed = np.zeros(latents.shape, dtype=np.intp)
        for level in range(self.thresholds_.shape[2]):
            passed += latents > self.thresholds_[codes, :, level]
        activity = self.levels_[passed]
        return activity if self.has_time_ else activity[:, 0]

    def _fit_time(self, series: np.ndarray, moments: _Moments) -> None:
        """Split the latents into a part that lasts and one that is white in time."""
        if not self.temporal:
            self.lasting_ = np.zeros(self.latent_correlation_.shape)
            self.time_correlation_ = np.eye(self.n_time_)
            return
        share, correlation = _in_time(series, moments, self.latent_correlation_)
        lasting = self.latent_correlation_.copy()
        np.fill_diagonal(lasting, share)
        self.lasting_ = _at_most(lasting, self.latent_correlation_)
        self.time_correlation_ = nearest_correlation(toeplitz(correlation))

    def _latents(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Draw correlated standard normal variables, (B, T, N)."""
        shape = (n_trials, len(self.time_correlation_), len(self.lasting_))
        latents = rng.standard_normal(shape) @ _root(self.latent_correlation_ - self.lasting_)
        if self.temporal:
            lasting = _root(self.time_correlation_) @ rng.standard_normal(shape)
            latents += lasting @ _root(self.lasting_)
        return latents


def nearest_correlation(matrix: np.ndarray, *, n_iterations: int = 100) -> np.ndarray:
    """Correlation matrix nearest to a symmetric matrix in the Frobenius norm.

    Alternating projections on the positive semi-definite matrices and on those of unit diagonal,
    with Dykstra's correction (Higham 2002). A last projection, scaled to unit diagonal, makes the
    result a correlation matrix however early it stops; it is then only close to the nearest.

    Parameters
    ----------
    matrix : (n, n) array
        Symmetric.
    n_iterations : int
        At most so many.

    Returns
    -------
    (n, n) array

    References
    ----------
    Higham, N. J. (2002). Computing the nearest correlation matrix: a problem from finance. IMA
    Journal of Numerical Analysis 22.
    """
    nearest = np.array(matrix, dtype=float)
    np.fill_diagonal(nearest, 1.0)
    correction = np.zeros_like(nearest)
    for _ in range(n_iterations):
        values, vectors = np.linalg.eigh(nearest - correction)
        projected = (vectors * values.clip(0)) @ vectors.T
        correction = projected - (nearest - correction)
        nearest = projected.copy()
        np.fill_diagonal(nearest, 1.0)
        if np.abs(np.diag(projected) - 1).max() < TOLERANCE:
            break
    scale = np.sqrt(np.diag(projected))
    return projected / np.outer(scale, scale)


def latent_correlation(first: np.ndarray, second: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    r"""Latent correlation at which two thresholded Gaussian variables have a given covariance.

    Solves :math:`\Phi_2(\gamma_1, \gamma_2; \lambda) - \Phi(\gamma_1)\,\Phi(\gamma_2) = c`, element
    by element; where c was observed, the tetrachoric correlation.

    Parameters
    ----------
    first, second : (n,) array
        Probabilities of the two variables.
    covariance : (n,) array
        Covariances; those out of reach give plus or minus 0.97.

    Returns
    -------
    (n,) array
    """
    thresholds = np.stack([-ndtri(np.asarray(p, dtype=float)) for p in (first, second)])
    series = np.stack([terms[0] * terms[1] for terms in _terms(thresholds)])  # (K, n)
    return _solve(series, np.asarray(covariance, dtype=float))


def _check_sizes(frames: np.ndarray, codes: np.ndarray, temporal: bool) -> None:
    """Refuse what cannot be fitted."""
    if np.bincount(codes).max() < 2:
        raise ValueError(
            "the noise covariance needs a stimulus that is shown at least twice; got one trial of "
            "each. Record more trials, or merge stimuli."
        )
    if temporal and frames.shape[1] < 2:
        raise ValueError(
            "temporal=True needs trials of at least two frames; got activity of one. "
            "Use temporal=False."
        )


def _levels(frames: np.ndarray) -> np.ndarray:
    """Values that occur, ascending."""
    levels = np.unique(frames)
    if len(levels) > MOST_LEVELS:
        raise ValueError(
            f"activity must have at most {MOST_LEVELS} levels, as the fraction of a trial's frames "
            f"has; got {len(levels)} different values. Round it to a grid."
        )
    return levels


def _marginals(
    frames: np.ndarray, codes: np.ndarray, levels: np.ndarray, time_course: bool
) -> _Marginals:
    """Smoothed tails.

    To each stimulus, one observation is added that is spread as the neuron's over all stimuli.
    Tails of each frame are mixed with the neuron's own times the course that the neurons share.
    """
    one_hot = np.eye(codes.max() + 1, dtype=np.float32)[codes]  # (B, S)
    n_trials, (_, n_time, n_neurons) = one_hot.sum(axis=0), frames.shape
    counts = np.empty((len(n_trials), n_time, len(levels) - 1, n_neurons))
    for level in range(1, len(levels)):
        above = (frames >= levels[level]).reshape(len(frames), -1)
        counts[:, :, level - 1] = (one_hot.T @ above).reshape(-1, n_time, n_neurons)
    n_trials = n_trials.astype(float)[:, None, None, None]
    everywhere = counts.sum(axis=(0, 1)) / (len(frames) * n_time)  # (L, N)
    tails = (counts.sum(axis=1, keepdims=True) + everywhere) / (n_trials * n_time + 1)
    if time_course and n_time > 1:
        total = counts.sum(axis=(2, 3), keepdims=True)  # (S, T, 1, 1)
        shared = total / np.maximum(total.mean(axis=1, keepdims=True), 1)
        # a course that would take a tail beyond 1 swings less; its mean stays
        room = (1 - tails) / np.maximum(shared.max(axis=1, keepdims=True) - 1, 1e-12)
        expected = tails + np.minimum(tails, room) * (shared - 1)
        trust = _course_trust(counts, n_trials, expected)
        tails = trust * counts / n_trials + (1 - trust) * expected
    return _Marginals(tails, levels, n_trials.ravel() / len(frames))


def _course_trust(counts: np.ndarray, n_trials: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Weight of a frame's own tails, (S, 1, 1, 1), beside the expected ones; empirical Bayes.

    The squared deviations of binomial counts exceed n p (1 - p) by n (n - 1) p (1 - p) times a
    share of variance that is between frames, estimated here as one for all.
    """
    spread = expected * (1 - expected)
    surplus = (counts - n_trials * expected) ** 2 - n_trials * spread
    share = surplus.sum() / max((n_trials * (n_trials - 1) * spread).sum(), 1e-300)
    share = min(max(share, 0.0), 1.0)
    return n_trials * share / (1 + (n_trials - 1) * share)


def _moments(frames: np.ndarray, codes: np.ndarray, marginals: _Marginals, n_lags: int) -> _Moments:
    """Noise covariances of frames at lags 0, 1, ..., with what says how well they are known."""
    residual, freed = _residual(frames, codes, marginals.tails.shape[1] > 1)
    n_time = residual.shape[1]
    n_frames = len(residual) * n_time
    rises = np.diff((marginals.levels - marginals.levels[0]) ** 2)
    means = np.einsum("stln,l->stn", marginals.tails, np.diff(marginals.levels))
    private = np.einsum("stln,l->stn", marginals.tails, rises) - means**2  # (S, T, N)
    weighted = marginals.weights[:, None, None] * private / private.shape[1]
    variance = np.einsum("stn,stm->nm", weighted, private) / n_frames
    spread = np.broadcast_to(np.sqrt(weighted.sum(axis=(0, 2))), n_time)
    covariance = freed * _lagged(residual, spread, n_lags)
    return _Moments(covariance, variance * _inflation(residual, variance))


def _lagged(residual: np.ndarray, spread: np.ndarray, n_lags: int) -> np.ndarray:
    """Mean products of residuals at lags 0, 1, ..., (lag, N, N), as if all frames were alike.

    At longer lags fewer frames are left, and those at the ends of a trial may be the quiet ones:
    products are scaled by the s.d. of the population's frames that they are taken from.
    """
    n_time, n_neurons = residual.shape[1:]
    covariance = np.zeros((n_lags, n_neurons, n_neurons))
    power = max((spread**2).mean(), np.finfo(float).tiny)
    for lag in range(n_lags):
        early, late = residual[:, : n_time - lag], residual[:, lag:]
        product = early.reshape(-1, n_neurons).T @ late.reshape(-1, n_neurons)
        share = (spread[: n_time - lag] * spread[lag:]).sum() / power
        if share > SMALLEST_SHARE:
            covariance[lag] = (product + product.T) / (2 * len(residual) * share)
        else:  # no frame of this lag shows activity: taken to be as the lag before
            covariance[lag] = covariance[max(lag - 1, 0)]
    return covariance


def _residual(frames: np.ndarray, codes: np.ndarray, by_frame: bool) -> tuple[np.ndarray, float]:
    """Deviations from the means, and the factor by which fitted means shrink their products."""
    one_hot = np.eye(codes.max() + 1)[codes]  # (B, S)
    n_trials, n_time, _ = frames.shape
    means = np.tensordot(one_hot.T / one_hot.sum(axis=0)[:, None], frames, 1)  # (S, T, N)
    if by_frame:
        return frames - means[codes], n_trials / (n_trials - one_hot.shape[1])
    means = means.mean(axis=1, keepdims=True)
    return frames - means[codes], n_trials * n_time / (n_trials * n_time - one_hot.shape[1])


def _inflation(residual: np.ndarray, variance: np.ndarray) -> float:
    """How much more covariances vary over trials than those of independent frames would."""
    n_trials, n_time, n_neurons = residual.shape
    first, second = np.zeros((2, n_neurons, n_neurons))
    for trial in residual:
        products = trial.T @ trial / n_time
        first += products
        second += products**2
    observed = (second / n_trials - (first / n_trials) ** 2) / n_trials
    expected = np.triu(variance, 1).sum()
    return float(np.triu(observed, 1).sum() / expected) if expected > 0 else 1.0


def _terms(thresholds: np.ndarray) -> Iterator[np.ndarray]:
    r"""Yield the Hermite coefficients of [u > a], of the shape of `thresholds`, from the first on.

    :math:`\phi(a)\,He_{n-1}(a) / \sqrt{n!}` for n = 1, 2, ...: Mehler's formula makes the
    covariance of two such variables the sum of their products times :math:`\lambda^n`.
    """
    finite = np.isfinite(thresholds)
    a = np.where(finite, thresholds, 0.0)
    before, term = np.zeros_like(a), np.where(finite, np.exp(-(a**2) / 2) / SQRT_2_PI, 0.0)
    for n in range(N_TERMS):
        yield term / np.sqrt(n + 1)
        before, term = term, (a * term - np.sqrt(n) * before) / np.sqrt(n + 1)


def _pooled_series(thresholds: np.ndarray, marginals: _Marginals) -> np.ndarray:
    """Coefficients of the noise covariance as a power series in the latent correlation, (K, N, N).

    Averaged over stimuli and frames, each stimulus by its number of trials.
    """
    steps = np.diff(marginals.levels).astype(float)
    n_stimuli, n_time, _, n_neurons = thresholds.shape
    weights = np.repeat(marginals.weights / n_time, n_time)[:, None]  # (S * T, 1)
    series = np.empty((N_TERMS, n_neurons, n_neurons))
    for n, terms in enumerate(_terms(thresholds)):
        summed = np.einsum("stln,l->stn", terms, steps).reshape(-1, n_neurons)
        series[n] = (weights * summed).T @ summed
    return series


def _evaluate(series: np.ndarray, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance at a latent correlation, and its derivative."""
    value = np.zeros(np.broadcast_shapes(series.shape[1:], np.shape(latent)))
    slope = np.zeros_like(value)
    for coefficient in series[::-1]:
        slope = slope * latent + value
        value = value * latent + coefficient
    return value * latent, slope * latent + value


def _solve(series: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Latent correlations at which the covariances are the target ones; 0 where all give 0.

    Newton steps, and halvings of the bracket where one would leave it: covariances increase with
    the latent correlation.
    """
    latent = np.zeros(target.shape)
    low, high = np.full(target.shape, -LIMIT), np.full(target.shape, LIMIT)
    for _ in range(MOST_STEPS):
        value, slope = _evaluate(series, latent)
        low, high = np.where(value < target, latent, low), np.where(value < target, high, latent)
        proposed = latent - (value - target) / np.where(slope > 0, slope, np.inf)
        inside = (proposed > low) & (proposed < high)
        moved, latent = latent, np.where(inside, proposed, (low + high) / 2)
        if np.abs(latent - moved).max(initial=0) < TOLERANCE:
            break
    return np.where(series[0] > 0, latent, 0.0)


def _mean_pair(series: np.ndarray, target: np.ndarray, variance: np.ndarray) -> float:
    """Mean latent correlation of all pairs, each weighted by how well it is known.

    To first order a pair's latent correlation has the variance of its covariance over its squared
    slope; slopes are taken at the mean, step by step.
    """
    known, mean = np.triu(variance > 0, 1), 0.0
    for _ in range(N_ROUNDS if known.any() else 0):
        value, slope = _evaluate(series, np.float64(mean))
        estimate = mean + (target - value)[known] / slope[known]
        mean = np.average(estimate, weights=slope[known] ** 2 / variance[known])
        mean = float(np.clip(mean, -LIMIT, LIMIT))
    return mean


def _shrunk(series: np.ndarray, target: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Covariances pulled towards those of the mean latent correlation (empirical Bayes).

    The spread of latent correlations over pairs, beyond sampling, is the moment estimate of
    DerSimonian & Laird (1986).
    """
    known = np.triu(variance > 0, 1)
    if known.sum() < 2:
        return target
    value, slope = _evaluate(series, np.float64(_mean_pair(series, target, variance)))
    precision = slope[known] ** 2 / variance[known]
    surprise = (target - value)[known] ** 2 / variance[known]
    excess = surprise.sum() - (len(surprise) - 1)
    spread = max(excess / (precision.sum() - precision @ precision / precision.sum()), 0.0)
    signal = spread * slope**2
    trust = signal / np.where(signal + variance > 0, signal + variance, 1.0)
    return value + trust * (target - value)


def _in_time(
    series: np.ndarray, moments: _Moments, latent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lasting share of each neuron's latent, and correlation in time at lags 0, 1, ...

    Least squares on the covariances at lags 1, 2, ..., each pair weighted by the inverse of its
    sampling variance; shares and correlations in turn.
    """
    rows, columns = np.triu_indices(len(latent), 1)
    lagged = moments.covariance[1:]  # (lag, N, N)
    weights = 1 / np.where(moments.variance > 0, moments.variance, np.inf)
    grid, shares = np.linspace(-LIMIT, LIMIT, N_CANDIDATES), np.linspace(0, 1, N_CANDIDATES)
    own = np.diagonal(series, axis1=1, axis2=2)  # (K, N)
    seen = np.diagonal(lagged, axis1=1, axis2=2)  # (lag, N)
    error = _misfit(
        _scaled(series[:, rows, columns], latent[rows, columns], grid),
        lagged[:, rows, columns],
        weights[rows, columns],
    )  # (lag, G)
    share = np.ones(len(latent))
    for _ in range(N_ROUNDS):
        of_own = _misfit(_scaled(own, share, grid), seen, np.diag(weights))
        correlation = _lowest(error + of_own, grid)  # (lag,)
        powers = (shares[:, None] * correlation).clip(-LIMIT, LIMIT)  # (G, lag)
        expected = _scaled(own, np.ones(len(latent)), powers.ravel())
        expected = expected.reshape(*powers.shape, -1)  # (G, lag, N)
        n_frames = np.arange(len(seen), 0, -1)
        misses = np.einsum("gln,l->ng", (seen - expected) ** 2, n_frames)
        share = _lowest(misses, shares)
    return share, np.concatenate([[1.0], correlation])


def _scaled(series: np.ndarray, latent: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Covariances of all pairs with their latent correlation times each factor, (factor, pair)."""
    orders = np.arange(1, N_TERMS + 1)
    return factors[:, None] ** orders @ (series * latent ** orders[:, None])


def _misfit(expected: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted squared error of each candidate at each lag, less what is common; (lag, G)."""
    return (weights * expected**2).sum(axis=1) - 2 * (seen * weights) @ expected.T


def _lowest(error: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Where each row's error is lowest, by a parabola through the best candidate."""
    best = error.argmin(axis=1)
    middle = best.clip(1, len(grid) - 2)
    rows = np.arange(len(error))
    below, at, above = (error[rows, middle + k] for k in (-1, 0, 1))
    bend = below - 2 * at + above
    shift = np.where(bend > 0, (below - above) / np.where(bend > 0, 2 * bend, 1.0), 0.0)
    refined = grid[middle] + shift.clip(-1, 1) * (grid[1] - grid[0])
    return np.where(best == middle, refined, grid[best])


def _at_most(matrix: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Symmetric matrix between zero and `bound`, as quadratic forms, close to `matrix`.

    In the coordinates in which the bound is the identity, eigenvalues are clipped to [0, 1].
    """
    values, vectors = np.linalg.eigh(bound)
    root = vectors * np.sqrt(values.clip(TOLERANCE))
    inverse = vectors / np.sqrt(values.clip(TOLERANCE))
    shares, axes = np.linalg.eigh(inverse.T @ matrix @ inverse)
    half = root @ axes
    return (half * shares.clip(0, 1)) @ half.T


def _root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
