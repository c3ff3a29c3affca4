"""Wiring by a point-process model: a filter from each source to each target, most of them none."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numba
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import gammaln
from scipy.stats import chi2, norm
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from visualcortex.connectivity.correlogram_peaks import source_signs
from visualcortex.connectivity.correlograms import BinnedSpikes, cross_correlograms, two_sided
from visualcortex.connectivity.observed import observed_binned
from visualcortex.spikes import SpikeTimes

AGES = (1, 2, 3, 4, 5, 7, 10, 15, 25, 50, 100)  # bins since a neuron's own spike, last of a class
BLOCK = 4096  # bins that are gone through at a time
OFFSET = 1.0  # bins, by which the logarithm of lags is shifted
FEWEST = 0.5  # spikes in a class of ages where there are none
RIDGE = 1e-6  # of the variance of a filter's inputs, where these are degenerate
PENALTIES = (3.0, 2.2, 1.7, 1.3, 1.0)  # among which the criterion chooses
SWEEPS = 100
SMALLEST_STEP = 2.0**-10
LEAST_BEND = 0.01
LARGEST_CHANGE = 1.5  # of a log rate in one step
LARGEST_DRIVE = 30.0  # log rate over the constants, beyond which no step is kept
NEGLIGIBLE = 0.01  # standard errors
FAR = 900.0  # chi-squared beyond which probabilities are too small for numbers


class _Point(NamedTuple):
    """The likelihood at some filters, of each target."""

    filters: np.ndarray  # (source, K, target), in whitened inputs
    slow: np.ndarray  # (target,): weight of the background
    loss: np.ndarray  # (target,): negative log-likelihood, nats
    gradient: np.ndarray  # of the filters
    bend: np.ndarray  # (K, K, source, target): root of the curvature over that at a constant rate
    slow_step: np.ndarray  # (target,): Newton's step of `slow`


class CouplingFilters(BaseEstimator):
    r"""Spikes of each neuron from those of all: filters on a small basis, whole filters penalised.

    Counts *y* in narrow bins are Poisson of mean :math:`\mu_{tj} = e^{\eta_{tj}}`,

    .. math:: \eta_{tj} = c_j(a_{tj}) + \sum_{i \ne j} \sum_k w_{ijk}\, \phi_{tik} + v_j z_{tj},
              \qquad \phi_{tik} = \sum_{\ell=1}^{L} b_k(\ell)\, y_{t-\ell,i},

    with raised cosines *b* on a logarithmic axis of lags (Pillow and others 2008), a constant *c*
    for each class of the time *a* since the neuron's own last spike, and the smoothed activity *z*
    of all others, if asked for. Constants are not penalised and have a closed form given the rest.
    Filters minimise, for each target,

    .. math:: -\log p(y_j) + \rho \sqrt{K n_j} \sum_i \| R_i^{\mathsf T} w_{ij} \|, \qquad
              R_i R_i^{\mathsf T} = \operatorname{cov}(\phi_i),

    a group lasso (Yuan and Lin 2006) whose groups are standardised (Simon and Tibshirani 2012),
    so that sources of all rates are treated alike: with :math:`n_j` spikes of the target, a filter
    of chance has a slope of :math:`\sqrt{K n_j}` on average, and :math:`\rho = 1` admits about
    half of these. The solver is a proximal quasi-Newton method, all targets at once: the curvature
    is that of a constant rate, :math:`n_j \operatorname{cov}(\phi)`, of all sources together.

    Scores come after one more step, without the penalty, from the penalised fit: the debiased
    filter and its Wald statistic, given all other sources.

    Bias: filters that are not 0 shrink towards it; scores do not. Neurons that are not recorded
    and share input with those that are make couplings which are no synapses; `background` removes
    of that what is slow and common to all. Standard errors are those of a model that holds, at a
    constant rate.

    Parameters
    ----------
    step
        Width of a bin, s.
    longest
        Longest lag, s.
    n_basis
        *K*.
    penalty
        :math:`\rho`; or ``"bic"``, which takes for each target that of five values from 1 to 3
        with the lowest Bayesian information criterion, *K* parameters for each filter that is not
        0.
    background
        S.d. of the Gaussian that smooths the activity of all others, s, to both sides in time;
        None leaves it out.
    tolerance
        A fit is done when no filter would change by this many standard errors.
    max_steps
        Steps at most; a `ConvergenceWarning` says so when they were not enough.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        Root of the Wald statistic (chi-squared with *K* degrees of freedom where there is no
        synapse) turned into the normal deviate of the same probability, 0 or more, with the sign
        of the filter; NaN on the diagonal, as everywhere here.
    filters_ : (source, target, lag) numpy.ndarray
        Penalised filters, log rate, lag 1 first.
    weights_ : (source, target) numpy.ndarray
        Their sums over lags: log rate x bins.
    delays_ : (source, target) numpy.ndarray
        Lag of the largest deviation of the debiased filter, in the direction of the score, s.
    signs_ : (neuron,) numpy.ndarray
        1 or -1; see `source_signs`.
    penalties_ : (target,) numpy.ndarray
        :math:`\rho` of each target.
    history_ : (class, neuron) numpy.ndarray
        *c*, of the classes of `AGES` and one of longer times.
    slow_ : (neuron,) numpy.ndarray
        *v*, for inputs of variance 1.
    n_steps_ : int
        Evaluations of the likelihood.

    Notes
    -----
    The defaults of `longest`, `n_basis`, `penalty` and `background` were chosen among some fifteen
    settings on three simulated networks of 40 leaky integrate-and-fire neurons (`WiredNetwork`),
    with and without slow shared input of 1 to 2 mV: the background costs .003 of the area under
    the ROC curve without such input, and gains .01 with 2 mV of it. Shared input that is faster
    than the background is not removed; peaks over a smooth correlogram do better there.

    No array of inputs is made: filters are added where spikes are. Memory: 5 bytes a bin and
    neuron; time: ``n_spikes x lags x neurons`` sums for an evaluation.

    References
    ----------
    Pillow, J. W., and others (2008). Spatio-temporal correlations and visual signalling in a
    complete neuronal population. Nature 454, 995-999.

    Yuan, M., and Lin, Y. (2006). Model selection and estimation in regression with grouped
    variables. Journal of the Royal Statistical Society B 68, 49-67.

    Simon, N., and Tibshirani, R. (2012). Standardization and the group lasso penalty. Statistica
    Sinica 22, 983-1001.
    """

    def __init__(
        self,
        *,
        step: float = 0.001,
        longest: float = 0.015,
        n_basis: int = 5,
        penalty: float | str = 1.5,
        background: float | None = 0.1,
        tolerance: float = 0.1,
        max_steps: int = 60,
    ) -> None:
        self.step, self.longest, self.n_basis = step, longest, n_basis
        self.penalty, self.background = penalty, background
        self.tolerance, self.max_steps = tolerance, max_steps

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> CouplingFilters:
        """Fit the filters of all targets.

        Parameters
        ----------
        activity
            Spike times, or counts ``(time, neuron)`` in bins of `step`.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            Settings are out of range, a neuron has no spikes, or the recording is too short.
        """
        self._check()
        spikes = observed_binned(activity, self.step, start, stop)
        basis = raised_cosines(round(self.longest / self.step), self.n_basis)
        if (spikes.n_spikes == 0).any():
            raise ValueError(
                f"every neuron needs a spike; neuron {np.flatnonzero(spikes.n_spikes == 0)[0]} "
                f"has none. Leave out the silent ones."
            )
        width = None if self.background is None else self.background / self.step
        problem = _Couplings(spikes, basis, width)
        self.n_steps_ = 0
        if self.penalty == "bic":
            point, self.penalties_ = self._by_criterion(problem)
        else:
            self.penalties_ = np.full(spikes.n_neurons, float(self.penalty))
            point = self._minimise(problem, problem.start(), self.penalties_)
        self._keep(problem, point)
        return self

    def _minimise(self, problem: _Couplings, point: _Point, penalties: np.ndarray) -> _Point:
        """Proximal quasi-Newton steps from a point, each target with its own step length."""
        penalties = penalties * np.sqrt(self.n_basis * problem.n_spikes)
        length = np.ones(problem.n)
        for _ in range(self.max_steps):
            goal = problem.solve(point, penalties)
            change = goal - point.filters
            size = np.sqrt((change**2).sum(axis=1)).max(axis=0) * np.sqrt(problem.n_spikes)
            active = (size > self.tolerance) & (length > SMALLEST_STEP)
            slow_active = np.abs(point.slow_step) > self.tolerance * problem.slow_error(point)
            if not (active | slow_active).any():
                return point
            # an exponential is far from its quadratic form where it grows by more
            furthest = np.abs(problem.in_time(change)).max(axis=(0, 2))
            share = active * np.minimum(length, LARGEST_CHANGE / np.maximum(furthest, 1e-12))
            slow = point.slow + length * slow_active * point.slow_step
            tried = problem.evaluate(point.filters + share * change, slow)
            self.n_steps_ += 1
            fell = problem.objective(tried, penalties) <= problem.objective(point, penalties) + 1e-3
            point = _Point(*(np.where(fell, *pair) for pair in zip(tried, point, strict=True)))
            length = np.where(fell, np.minimum(1, 2 * length), length / 2)
        warnings.warn(
            f"not all filters converged in {self.max_steps} steps; allow more steps, or a larger "
            f"penalty or tolerance",
            ConvergenceWarning,
            stacklevel=3,
        )
        return point

    def _by_criterion(self, problem: _Couplings) -> tuple[_Point, np.ndarray]:
        """Fit with each penalty, from the largest on; keep the best of each target."""
        point, best, lowest = problem.start(), None, np.full(problem.n, np.inf)
        chosen = np.empty(problem.n)
        for penalty in PENALTIES:
            point = self._minimise(problem, point, np.full(problem.n, penalty))
            n_filters = np.abs(point.filters).max(axis=1).astype(bool).sum(axis=0)
            criterion = 2 * point.loss + self.n_basis * n_filters * np.log(problem.n_spikes)
            better = criterion < lowest
            best = point if best is None else best
            pairs = zip(point, best, strict=True)
            best = _Point(*(np.where(better, *pair) for pair in pairs))
            chosen[better], lowest[better] = penalty, criterion[better]
        return best, chosen

    def _keep(self, problem: _Couplings, point: _Point) -> None:
        """Keep what is found, and score it."""
        debiased, statistic = problem.debias(point)
        raw = problem.in_time(debiased)  # (source, target, lag)
        # the sign of what the filter does to the spikes that are there, not only of its sum
        sign = np.where(raw.sum(axis=2) < 0, -1.0, 1.0)
        self.scores_ = sign * _normal_deviate(statistic, self.n_basis)
        self.delays_ = ((raw * sign[:, :, None]).argmax(axis=2) + 1) * self.step
        self.filters_ = problem.in_time(point.filters)
        self.weights_ = self.filters_.sum(axis=2)
        for matrix in (self.scores_, self.delays_, self.weights_):
            np.fill_diagonal(matrix, np.nan)
        self.signs_ = source_signs(self.scores_)
        self.slow_, self.history_ = point.slow, problem.constants(point)

    def _check(self) -> None:
        """Complain of settings."""
        n_lags = self.longest / self.step if self.step > 0 else 0
        if not 1 <= self.n_basis <= n_lags + 1e-6:
            raise ValueError(
                f"n_basis must be from 1 to the number of lags, longest over step; got "
                f"{self.n_basis} with {self.longest} s in steps of {self.step} s."
            )
        named = self.penalty == "bic"
        if not named and (isinstance(self.penalty, str) or not self.penalty > 0):
            raise ValueError(f"penalty must be above 0, or 'bic'; got {self.penalty!r}.")
        if self.background is not None and not self.background >= self.step:
            raise ValueError(
                f"background must be a number of s, a step or more, or None; got {self.background}."
            )
        if not (self.tolerance > 0 and self.max_steps >= 1):
            raise ValueError(
                f"tolerance must be above 0 and max_steps at least 1; got {self.tolerance} and "
                f"{self.max_steps}."
            )


def raised_cosines(n_lags: int, n_basis: int) -> np.ndarray:
    r"""Bumps over lags that widen with the lag (Pillow and others 2008).

    .. math:: b_k(\ell) = \tfrac12 + \tfrac12 \cos\Big(\operatorname{clip}\Big(
              \frac{\pi (\log(\ell + o) - u_k)}{2 \Delta}, -\pi, \pi\Big)\Big), \qquad o = 1,

    with :math:`u_k` from :math:`\log(1 + o)` on in steps of :math:`\Delta`, so many that the last
    bump ends one lag after the longest. With as many bumps as lags, each is one lag.

    Parameters
    ----------
    n_lags
        Longest lag, in bins.
    n_basis
        How many bumps.

    Returns
    -------
    numpy.ndarray
        ``(lag, bump)``, float64, lag 1 first.
    """
    if n_basis == n_lags:
        return np.eye(n_lags)
    place = np.log(np.arange(1, n_lags + 1) + OFFSET)
    gap = (np.log(n_lags + 1 + OFFSET) - place[0]) / (n_basis + 1)
    centres = place[0] + gap * np.arange(n_basis)
    angle = np.clip(np.pi * (place[:, None] - centres) / (2 * gap), -np.pi, np.pi)
    return 0.5 + 0.5 * np.cos(angle)


class _Couplings:
    """Likelihood of the spikes of all targets; filters are those of whitened inputs.

    Parameters
    ----------
    spikes
        Of all neurons.
    basis
        ``(lag, K)``.
    width
        S.d. of the smoothing of the background, in bins, or None.
    """

    def __init__(self, spikes: BinnedSpikes, basis: np.ndarray, width: float | None) -> None:
        self.n, self.n_bins = spikes.n_neurons, spikes.n_bins
        self.n_spikes = spikes.n_spikes.astype(np.float64)
        self.bins, self.neurons = spikes.bin.astype(np.int64), spikes.neuron.astype(np.int64)
        self.n_lags, self.n_basis = basis.shape
        covariance = _covariance(spikes, basis)  # (source, K, source, K), a bin
        blocks = covariance[np.arange(self.n), :, np.arange(self.n)]  # (source, K, K)
        blocks = blocks + RIDGE * np.trace(blocks, axis1=1, axis2=2)[:, None, None] * np.eye(
            self.n_basis
        )
        whiten = np.linalg.inv(np.linalg.cholesky(blocks))  # (source, K, K)
        self.basis = np.einsum("ak,imk->iam", basis, whiten)  # (source, lag, K)
        size = self.n * self.n_basis
        self.metric = np.einsum("imk,ikjl,jnl->imjn", whiten, covariance, whiten, optimize=True)
        self.metric = self.metric.reshape(size, size)
        self.ages = np.empty((self.n_bins, self.n), np.uint8)
        _classify_ages(self.bins, self.neurons, np.array(AGES), self.ages)
        self.per_class = np.zeros((len(AGES) + 1, self.n))
        np.add.at(self.per_class, (self.ages[self.bins, self.neurons], self.neurons), 1)
        self.rates = np.empty((self.n_bins, self.n), np.float32)
        self.slow_input, self.coarse = _background(spikes, width)  # (coarse bin, target)

    def start(self) -> _Point:
        """No filters."""
        return self.evaluate(np.zeros((self.n, self.n_basis, self.n)), np.zeros(self.n))

    def evaluate(self, filters: np.ndarray, slow: np.ndarray) -> _Point:
        """Loss and its derivatives, at the constants that are best for them."""
        sums = np.zeros_like(self.per_class)
        drive_of_spikes = np.zeros(self.n)
        in_time = np.einsum("iam,imj->iaj", self.basis, filters).astype(np.float32)
        for first in range(0, self.n_bins, BLOCK):
            block = self.rates[first : first + BLOCK]
            self._fill_background(block, first, slow)
            low, high = np.searchsorted(self.bins, (first - self.n_lags, first + len(block)))
            _add_filters(self.bins[low:high], self.neurons[low:high], first, in_time, block)
            now = slice(np.searchsorted(self.bins, first), high)
            at = self.bins[now] - first, self.neurons[now]
            drive_of_spikes += np.bincount(self.neurons[now], block[at], self.n)
            np.exp(np.minimum(block, LARGEST_DRIVE, out=block), out=block)
            _sum_classes(block, self.ages[first : first + BLOCK], sums)
        counted = np.maximum(self.per_class, FEWEST)
        scale = counted / np.maximum(sums, 1e-300)
        loss = (counted - self.per_class * np.log(scale)).sum(axis=0) - drive_of_spikes
        gradient, bend, slow_step = self._slopes(scale.astype(np.float32))
        return _Point(filters, slow, loss, gradient, bend, slow_step)

    def _fill_background(self, block: np.ndarray, first: int, slow: np.ndarray) -> None:
        """Start each bin's log rate from the slow input."""
        if self.slow_input is None:
            block[:] = 0
            return
        at = np.arange(first, first + len(block)) // self.coarse
        block[:] = self.slow_input[at] * slow.astype(np.float32)

    def _slopes(self, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Derivative by the filters, their curvature, and Newton's step of the background."""
        expected, excess = np.zeros((2, self.n, self.n_lags, self.n))
        slope, bend = np.zeros(self.n), np.zeros(self.n)
        for first in range(0, self.n_bins, BLOCK):
            block = self.rates[first : first + BLOCK]
            _scale_classes(block, self.ages[first : first + BLOCK], scale)
            low, high = np.searchsorted(self.bins, (first - self.n_lags, first + len(block)))
            near = self.bins[low:high], self.neurons[low:high]
            _collect(*near, first, block, expected)
            now = slice(np.searchsorted(self.bins, first), high)
            if self.slow_input is not None:
                slow = self.slow_input[np.arange(first, first + len(block)) // self.coarse]
                bend += (block * slow**2).sum(axis=0, dtype=np.float64)
            np.subtract.at(block, (self.bins[now] - first, self.neurons[now]), 1)
            if self.slow_input is not None:
                slope += (block * slow).sum(axis=0, dtype=np.float64)
            _collect(*near, first, block, excess)
        gradient = np.einsum("iam,iaj->imj", self.basis, excess)
        gradient[np.arange(self.n), :, np.arange(self.n)] = 0
        return gradient, self._bend(expected), -slope / np.where(bend > 0, bend, np.inf)

    def _bend(self, expected: np.ndarray) -> np.ndarray:
        """Root of the curvature of each filter, over that at a constant rate.

        What is expected after spikes of the source, ``(source, lag, target)``, weighs its inputs.
        """
        share = np.moveaxis(expected, 2, 1) / self.n_spikes[:, None]  # (source, target, lag)
        blocks = np.einsum("ija,iam,ian->ijmn", share, self.basis, self.basis, optimize=True)
        values, vectors = np.linalg.eigh(blocks)
        values = np.sqrt(np.maximum(values, LEAST_BEND))
        return np.einsum("ijmk,ijk,ijnk->mnij", vectors, values, vectors, optimize=True)

    def slow_error(self, point: _Point) -> np.ndarray:
        """About one standard error of the weight of the background, inputs having variance 1."""
        return 1 / np.sqrt(self.n_spikes)

    def objective(self, point: _Point, penalties: np.ndarray) -> np.ndarray:
        """Loss and penalty of each target, nats."""
        return point.loss + penalties * np.sqrt((point.filters**2).sum(axis=1)).sum(axis=0)

    def solve(self, point: _Point, penalties: np.ndarray) -> np.ndarray:
        """Filters that minimise the penalised quadratic form around a point, source by source.

        The curvature is :math:`n_j S_i C S_k`, with *C* that at a constant rate and *S* `bend`.
        """
        k, filters = self.n_basis, point.filters.copy()
        slope = point.gradient / self.n_spikes
        bound = np.linalg.eigvalsh(np.moveaxis(point.bend, (2, 3), (0, 1)))[..., -1] ** 2
        threshold, error = penalties / (self.n_spikes * bound), np.sqrt(self.n_spikes)
        pushed = np.zeros((self.n * k, self.n))  # C S (change so far)
        for _ in range(SWEEPS):
            largest = 0.0
            for i in range(self.n):
                rows, root = slice(i * k, (i + 1) * k), point.bend[:, :, i]  # (K, K, target)
                back = slope[i] + (root * pushed[rows]).sum(axis=1)
                free = filters[i] - back / bound[i]
                size = np.sqrt((free**2).sum(axis=0))
                shrunk = free * np.maximum(0, 1 - threshold[i] / np.maximum(size, 1e-300))
                shrunk[:, i] = 0
                change = shrunk - filters[i]
                if (by := np.abs(change * error).max()) > 0:
                    filters[i] = shrunk
                    pushed += self.metric[:, rows] @ (root * change).sum(axis=1)
                    largest = max(largest, by)
            if largest < NEGLIGIBLE:
                break
        return filters

    def debias(self, point: _Point) -> tuple[np.ndarray, np.ndarray]:
        """Filters a step on without a penalty, and their Wald statistics ``(source, target)``."""
        k, statistic = self.n_basis, np.zeros((self.n, self.n))
        debiased = np.zeros_like(point.filters)
        for j in range(self.n):
            others = np.delete(np.arange(self.n), j)
            root = np.moveaxis(point.bend[:, :, others, j], 2, 0)  # (source, K, K)
            rows = (others[:, None] * k + np.arange(k)).ravel()
            inverse = np.linalg.inv(self.metric[np.ix_(rows, rows)])
            slope = np.linalg.solve(root, point.gradient[others, :, j, None])[:, :, 0]
            step = (inverse @ slope.ravel() / self.n_spikes[j]).reshape(-1, k)
            moved = (root @ point.filters[others, :, j, None])[:, :, 0] - step
            blocks = inverse.reshape(len(others), k, len(others), k)
            own = blocks[np.arange(len(others)), :, np.arange(len(others))]
            solved = np.linalg.solve(own, moved[:, :, None])[:, :, 0]
            statistic[others, j] = self.n_spikes[j] * (moved * solved).sum(axis=1)
            debiased[others, :, j] = np.linalg.solve(root, moved[:, :, None])[:, :, 0]
        return debiased, statistic

    def in_time(self, filters: np.ndarray) -> np.ndarray:
        """Filters ``(source, target, lag)``."""
        return np.einsum("iam,imj->ija", self.basis, filters)

    def constants(self, point: _Point) -> np.ndarray:
        """Log rate by the time since a neuron's own spike, ``(class, neuron)``."""
        sums = np.zeros_like(self.per_class)
        self.evaluate(point.filters, point.slow)
        counted = np.maximum(self.per_class, FEWEST)
        # rates are left as expected minus counted spikes
        np.add.at(self.rates, (self.bins, self.neurons), 1)
        _sum_classes(self.rates, self.ages, sums)
        bins = np.stack([np.bincount(a, minlength=len(counted)) for a in self.ages.T], axis=1)
        return np.log(counted / np.maximum(bins, 1))


def _normal_deviate(statistic: np.ndarray, n_basis: int) -> np.ndarray:
    """Normal deviate, 0 or more, as improbable as a chi-squared value, however improbable."""
    half, shape = np.maximum(statistic, FAR) / 2, n_basis / 2
    logs = (shape - 1) * np.log(half) - half - gammaln(shape) + np.log1p((shape - 1) / half)
    far = np.sqrt(-2 * logs)
    for _ in range(3):  # tail of the normal distribution, both sides
        far = np.sqrt(np.maximum(-2 * logs - 2 * np.log(far) - np.log(np.pi / 2), 1.0))
    near = norm.isf(chi2.sf(np.minimum(statistic, FAR), n_basis) / 2)
    return np.where(statistic > FAR, far, near)


def _covariance(spikes: BinnedSpikes, basis: np.ndarray) -> np.ndarray:
    """Covariance of the inputs, ``(source, K, source, K)``, from correlograms; ends are ignored."""
    n_lags, n, n_bins = len(basis), spikes.n_neurons, spikes.n_bins
    pairs = two_sided(cross_correlograms(spikes, n_lags - 1))  # lags of j behind i
    counts = spikes.n_spikes.astype(np.float64)
    pairs[np.arange(n), np.arange(n), n_lags - 1] += counts
    pairs = pairs / n_bins - (np.outer(counts, counts) / n_bins**2)[:, :, None]
    gaps = np.arange(n_lags)[:, None] - np.arange(n_lags) + n_lags - 1
    products = np.einsum("ak,bl,abg->klg", basis, basis, np.eye(2 * n_lags - 1)[gaps])
    return np.einsum("ijg,klg->ikjl", pairs, products, optimize=True)


def _background(spikes: BinnedSpikes, width: float | None) -> tuple[np.ndarray | None, int]:
    """Smoothed activity of all others, ``(coarse bin, target)`` of variance 1, and bins in one."""
    if width is None:
        return None, 1
    coarse = max(1, int(width / 4))
    n_coarse = -(-spikes.n_bins // coarse)
    cell = (spikes.bin // coarse) * spikes.n_neurons + spikes.neuron
    counts = np.bincount(cell, minlength=n_coarse * spikes.n_neurons).astype(np.float32)
    smooth = gaussian_filter1d(counts.reshape(n_coarse, -1), width / coarse, axis=0)
    others = smooth.sum(axis=1, keepdims=True) - smooth
    others -= others.mean(axis=0)
    return others / np.maximum(others.std(axis=0), 1e-12), coarse


@numba.njit(cache=True, nogil=True)
def _classify_ages(
    bins: np.ndarray, neurons: np.ndarray, last: np.ndarray, ages: np.ndarray
) -> None:
    """Class of the time since each neuron's own last spike before each bin, into `ages`."""
    n_bins, n = ages.shape
    since = np.full(n, last[-1] + 1)
    spike = 0
    for t in range(n_bins):
        for j in range(n):
            ages[t, j] = np.searchsorted(last, since[j])
            since[j] += 1
        while spike < len(bins) and bins[spike] == t:
            since[neurons[spike]] = 1
            spike += 1


@numba.njit(cache=True, nogil=True)
def _add_filters(
    bins: np.ndarray, neurons: np.ndarray, first: int, filters: np.ndarray, drive: np.ndarray
) -> None:
    """Add the filter of each spike to the bins after it; `filters` is (source, lag, target)."""
    n_lags, n = filters.shape[1:]
    for spike in range(len(bins)):
        source, after = neurons[spike], bins[spike] + 1 - first
        for lag in range(max(0, -after), min(n_lags, len(drive) - after)):
            for j in range(n):
                drive[after + lag, j] += filters[source, lag, j]


@numba.njit(cache=True, nogil=True)
def _collect(
    bins: np.ndarray, neurons: np.ndarray, first: int, excess: np.ndarray, sums: np.ndarray
) -> None:
    """Sum what follows each spike, into `sums` (source, lag, target)."""
    n_lags, n = sums.shape[1:]
    for spike in range(len(bins)):
        source, after = neurons[spike], bins[spike] + 1 - first
        for lag in range(max(0, -after), min(n_lags, len(excess) - after)):
            for j in range(n):
                sums[source, lag, j] += excess[after + lag, j]


@numba.njit(cache=True, nogil=True)
def _sum_classes(values: np.ndarray, ages: np.ndarray, sums: np.ndarray) -> None:
    """Sum the values of each class and neuron, into `sums`."""
    for t in range(len(values)):
        for j in range(values.shape[1]):
            sums[ages[t, j], j] += values[t, j]


@numba.njit(cache=True, nogil=True)
def _scale_classes(values: np.ndarray, ages: np.ndarray, scale: np.ndarray) -> None:
    """Multiply by the factor of each class and neuron, in place."""
    for t in range(len(values)):
        for j in range(values.shape[1]):
            values[t, j] *= scale[ages[t, j], j]
