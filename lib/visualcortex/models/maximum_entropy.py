r"""Maximum-entropy models of population frames: fields, couplings, number of active neurons.

Of all distributions with given rates, pairwise coincidences and distribution of the number of
active neurons, the k-pairwise model (Tkačik et al. 2014) has the largest entropy: it says nothing
else. Its parameters are found by comparing the data with Markov chains that go on from one step of
the ascent to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import logit, logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from visualcortex.evaluation.surrogates import checked_frames, stimulus_codes

# Above so many neurons, their states are too many to be listed.
MOST_ENUMERATED = 12
# Passes over the neurons between frames of a sample and the chains of the fit.
SAMPLE_SWEEPS = 60
# First step, its momentum, after how many steps it falls as 1 / step, and to what share at least.
STEP, MOMENTUM, CONSTANT_STEPS, SMALLEST_STEP = 0.3, 0.5, 100, 0.03
# Directions in which steps are scaled by what the data's features share, and frames that tell.
N_AXES, N_AXIS_FRAMES, MOST_NUMBERS = 40, 4096, 2**24
# Variance along an axis, in units of a moment's own, above which steps are shortened.
LARGEST_STRENGTH = 6.0
# Steps of the ascent that make a row of the history.
STEPS_A_ROW = 20


class _Targets(NamedTuple):
    """Moments of the data, which those of the model are to match."""

    rates: np.ndarray  # (G, N), half a frame added to both counts
    covariance: np.ndarray  # (N, N), about `rates`
    counts: np.ndarray  # (N + 1,), P(K active)
    shares: np.ndarray  # (G,), of the frames
    n_frames: int


class _Parameters(NamedTuple):
    """Of the energy, with couplings between deviations from the rates of the data."""

    fields: np.ndarray  # (G, N)
    couplings: np.ndarray  # (N, N), symmetric, diagonal 0
    potential: np.ndarray  # (N + 1,)


class KPairwise(BaseEstimator):
    r"""K-pairwise maximum-entropy model of binary frames, independent in time.

    .. math::

        P(x \mid s) \propto \exp\Big(\sum_i h_{si} x_i + \sum_{i<j} J_{ij} x_i x_j
            + V\big(\textstyle\sum_i x_i\big)\Big)

    (Tkačik et al. 2014). The penalised log-likelihood of the frames,

    .. math::

        \frac1n \sum_f \log P(x_f \mid s_f)
            - \frac{\rho}{2n} \Big(\sum_{i<j} J_{ij}^2 + \sum_k V_k^2\Big),

    is concave, and its gradient is the difference of moments between data and model: rates for each
    stimulus, coincidences of pairs, and the distribution of the number of active neurons. It is
    climbed with moments of Gibbs chains that persist from step to step, in steps scaled by the
    data's own variance of each moment and along the axes that moments share; the result is the mean
    over the second half of the steps.

    Bias: frames are independent given the stimulus, so that nothing lasts from one to the next and
    trial counts vary too little; rates do not change within a trial. Fields see half a frame more
    of both kinds than there was. The penalty pulls couplings of rarely active pairs towards zero
    (as a normal prior of variance :math:`1 / \rho` would, frames counting as independent). Fitted
    couplings describe coincidence, they are not connections: a linear part of V could as well be
    in the fields, a quadratic one in the couplings, and it is the penalty that decides.

    Parameters
    ----------
    stimulus_fields : bool
        Whether fields differ between stimuli; else all stimuli are sampled alike.
    count_potential : bool
        Whether the model has V; without it, it is the pairwise (Ising) model.
    ridge : float
        Penalty rho, at least 0.
    method : str
        "chains", or "exact": all states are listed, for at most 12 neurons.
    n_steps, n_chains, n_sweeps : int
        Steps of the ascent, chains (shared by the stimuli) and passes over the neurons in a step.
    seed : int
        Of the chains.

    Attributes
    ----------
    labels_ : (n_stimuli,) array
        The stimuli that can be sampled.
    fields_ : (n_stimuli, n_neurons) array
        h; equal rows without `stimulus_fields`.
    couplings_ : (n_neurons, n_neurons) array
        J, with zero diagonal.
    potential_ : (n_neurons + 1,) array
        V; zero without `count_potential`.
    history_ : pandas.DataFrame
        Errors of the moments, means over 20 steps: "step"; "rates", r.m.s. difference; "pairs",
        r.m.s. difference of covariances in standard errors that independent neurons would have;
        "counts", half the summed difference of P(K). One row if exact.

    References
    ----------
    Tkačik, G., Marre, O., Amodei, D., Schneidman, E., Bialek, W. & Berry, M. J. (2014). Searching
    for collective behavior in a large network of sensory neurons. PLoS Computational Biology 10.
    """

    def __init__(
        self,
        *,
        stimulus_fields: bool = True,
        count_potential: bool = True,
        ridge: float = 1.0,
        method: str = "chains",
        n_steps: int = 500,
        n_chains: int = 2048,
        n_sweeps: int = 2,
        seed: int = 0,
    ) -> None:
        self.stimulus_fields = stimulus_fields
        self.count_potential = count_potential
        self.ridge = ridge
        self.method = method
        self.n_steps = n_steps
        self.n_chains = n_chains
        self.n_sweeps = n_sweeps
        self.seed = seed

    def fit(self, activity: np.ndarray, labels: np.ndarray) -> KPairwise:
        """Find fields, couplings and count potential.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Active frames, 0 or 1.
        labels : (n_trials,) array
            Stimulus of each trial.

        Returns
        -------
        KPairwise
            Itself.

        Raises
        ------
        ValueError
            If activity is not binary, shapes disagree, all states are to be listed of more than 12
            neurons, or a setting is out of its range.
        """
        frames = checked_frames(activity, labels)
        self._check(frames)
        self.labels_, codes = np.unique(labels, return_inverse=True)
        self.has_time_, self.n_time_ = np.ndim(activity) == 3, frames.shape[1]
        groups = np.repeat(codes * self.stimulus_fields, self.n_time_)
        frames = frames.reshape(-1, frames.shape[2])  # (F, N)
        targets = _targets(frames, groups)
        if self.method == "exact":
            parameters, self.history_ = _enumerate(targets, self.ridge, self.count_potential)
            self.chains_ = None
        else:
            ascent = _Ascent(self, targets, _Step(self, targets, frames, groups))
            parameters, self.history_ = ascent.run()
            self.chains_ = ascent.chains.reshape(len(targets.shares), -1, frames.shape[1])
        rows = np.arange(len(self.labels_)) * self.stimulus_fields
        parameters = parameters._replace(fields=_plain_fields(parameters, targets))
        if self.count_potential:
            parameters = _least(parameters)
        self.fields_ = parameters.fields[rows]
        self.couplings_, self.potential_ = parameters.couplings, parameters.potential
        return self

    def sample(self, labels: np.ndarray, *, seed: int) -> np.ndarray:
        """Draw a trial for each label, every frame by itself.

        Of at most 12 neurons, states are drawn by their exact probabilities. Otherwise each frame
        goes on for 60 passes over the neurons from a chain of the fit; frames that start from the
        same chain are independent as far as the model forgets within these passes.

        Parameters
        ----------
        labels : (n_trials,) array
            Stimuli, among those of the training trials.
        seed : int
            The same seed gives the same trials.

        Returns
        -------
        (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            0 or 1, with time if training had it.

        Raises
        ------
        ValueError
            If a label was not in training.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "potential_")
        codes = np.repeat(stimulus_codes(labels, self.labels_), self.n_time_)
        rng = np.random.default_rng(seed)
        listed = len(self.couplings_) <= MOST_ENUMERATED
        frames = self._draw_states(codes, rng) if listed else self._draw_chains(codes, rng)
        trials = frames.astype(np.float32).reshape(len(labels), self.n_time_, frames.shape[1])
        return trials if self.has_time_ else trials[:, 0]

    def _draw_states(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw states by their probabilities, (F, N)."""
        states = all_states(len(self.couplings_))
        drawn = np.empty((len(codes), states.shape[1]))
        for code, fields in enumerate(self.fields_):
            energy = _energy(states, fields, self.couplings_, self.potential_)
            chance, of = np.exp(energy - logsumexp(energy)), codes == code
            drawn[of] = states[rng.choice(len(states), of.sum(), p=chance / chance.sum())]
        return drawn

    def _draw_chains(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw states by going on from the chains of the fit, (F, N)."""
        groups = codes * self.stimulus_fields
        rows = rng.integers(self.chains_.shape[1], size=len(codes))
        states = self.chains_[groups, rows]
        _gibbs(states, codes, self.fields_, self.couplings_, self.potential_, SAMPLE_SWEEPS, rng)
        return states

    def _check(self, frames: np.ndarray) -> None:
        """Refuse what cannot be fitted."""
        if not np.isin(frames, (0.0, 1.0)).all():
            raise ValueError(
                "KPairwise needs binary activity, 0 or 1; got graded values. Use "
                "DichotomisedGaussian, or active frames."
            )
        if self.method not in ("chains", "exact"):
            raise ValueError(
                f"method must be 'chains' or 'exact'; got {self.method!r}. Choose one."
            )
        if self.method == "exact" and frames.shape[2] > MOST_ENUMERATED:
            raise ValueError(
                f"method='exact' lists all states of at most {MOST_ENUMERATED} neurons; got "
                f"{frames.shape[2]} neurons. Use method='chains'."
            )
        sizes = self.n_steps, self.n_chains, self.n_sweeps
        if min(sizes) < 1 or not self.ridge >= 0:
            raise ValueError(
                "n_steps, n_chains and n_sweeps must be at least 1 and ridge at least 0; got "
                f"{sizes} and {self.ridge}. Correct them."
            )


def all_states(n_neurons: int) -> np.ndarray:
    """Every state of a few binary neurons, (2^N, N), as 0 and 1.

    Parameters
    ----------
    n_neurons : int
        At most 12.

    Returns
    -------
    (2 ** n_neurons, n_neurons) array

    Raises
    ------
    ValueError
        If there are more neurons.
    """
    if n_neurons > MOST_ENUMERATED:
        raise ValueError(
            f"the states of at most {MOST_ENUMERATED} neurons can be listed; got {n_neurons} "
            "neurons. Take fewer."
        )
    return ((np.arange(2**n_neurons)[:, None] >> np.arange(n_neurons)) & 1).astype(float)


def _energy(
    states: np.ndarray, fields: np.ndarray, couplings: np.ndarray, potential: np.ndarray
) -> np.ndarray:
    """Log-probability of states up to a constant, (F,)."""
    pairs = 0.5 * np.einsum("fi,fi->f", states @ couplings, states)
    return states @ fields + pairs + potential[states.sum(axis=1).astype(int)]


def _plain_fields(parameters: _Parameters, targets: _Targets) -> np.ndarray:
    """Fields beside couplings of activities rather than of deviations, (G, N)."""
    return parameters.fields - targets.rates @ parameters.couplings


def _least(parameters: _Parameters) -> _Parameters:
    """Parameters of the same distribution for which the penalty is least; plain fields.

    A constant, a multiple of K and one of K (K - 1) / 2 may move between potential, fields and
    couplings.
    """
    pairs = np.triu_indices(len(parameters.couplings), 1)
    k = np.arange(len(parameters.potential))
    moved = np.stack([np.ones(len(k)), k, k * (k - 1) / 2], axis=1)
    from_pairs = np.zeros((len(pairs[0]), 3))
    from_pairs[:, 2] = -1
    design = np.concatenate([from_pairs, moved])
    present = np.concatenate([parameters.couplings[pairs], parameters.potential])
    shift = -np.linalg.lstsq(design, present, rcond=None)[0]
    couplings = parameters.couplings - shift[2]
    np.fill_diagonal(couplings, 0.0)
    potential = parameters.potential + moved @ shift
    return _Parameters(parameters.fields - shift[1], couplings, potential)


def _targets(frames: np.ndarray, groups: np.ndarray) -> _Targets:
    """Moments of the data."""
    one_hot = np.eye(groups.max() + 1, dtype=np.float32)[groups]  # (F, G)
    n_frames = one_hot.sum(axis=0).astype(float)
    rates = (one_hot.T @ frames + 0.5) / (n_frames[:, None] + 1)
    residual = frames - rates[groups]
    counts = np.bincount(frames.sum(axis=1).astype(int), minlength=frames.shape[1] + 1)
    covariance = residual.T @ residual / len(frames)
    return _Targets(rates, covariance, counts / len(frames), n_frames / len(frames), len(frames))


def _private_variance(targets: _Targets) -> np.ndarray:
    """Variance of the product of two deviations if neurons were independent, (N, N)."""
    own = targets.rates * (1 - targets.rates)
    return (targets.shares[:, None] * own).T @ own


class _Step:
    """Direction of ascent for a gradient: steps as long as the moments' variance allows.

    Each moment by its own variance in the data (independent neurons), and the leading axes of the
    scaled moments, along which many move at once, by what they have in common.
    """

    def __init__(
        self, settings: KPairwise, targets: _Targets, frames: np.ndarray, groups: np.ndarray
    ) -> None:
        self.pairs = np.triu_indices(frames.shape[1], 1)
        # beside the variance, the curvature of the penalty and the noise of the chains
        floor = settings.ridge / targets.n_frames + 1 / settings.n_chains
        own = targets.rates * (1 - targets.rates)
        self.of_fields = own + floor
        variance = np.concatenate([_private_variance(targets)[self.pairs], targets.counts])
        self.scale = np.sqrt(variance + floor)
        rng = np.random.default_rng(settings.seed)
        n_rows = min(N_AXIS_FRAMES, MOST_NUMBERS // len(self.scale) + 1)
        rows = rng.permutation(len(frames))[:n_rows]
        self.axes, strengths = self._leading(frames[rows], targets.rates[groups[rows]], rng)
        weakest = max(strengths[-1], 1.0) if len(strengths) else 1.0
        self.excess = 1 - np.minimum(weakest / np.maximum(strengths, 1e-300), 1.0)
        self.length = STEP / max(1.0, weakest / LARGEST_STRENGTH)

    def _leading(
        self, frames: np.ndarray, rates: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Leading axes of the scaled moments over frames, and their variances."""
        residual = frames - rates
        counted = np.eye(frames.shape[1] + 1, dtype=np.float32)[frames.sum(axis=1).astype(int)]
        products = residual[:, self.pairs[0]] * residual[:, self.pairs[1]]
        features = np.concatenate([products, counted], axis=1) / self.scale
        features = (features - features.mean(axis=0)).astype(np.float32)
        n_axes = min(N_AXES, features.shape[1] // 4)
        basis = rng.standard_normal((features.shape[1], n_axes + 8)).astype(np.float32)
        for _ in range(3):
            basis = np.linalg.qr(features.T @ (features @ basis))[0]
        projected = features @ basis
        strengths, vectors = np.linalg.eigh((projected.T @ projected / len(frames)).astype(float))
        return basis @ vectors[:, ::-1][:, :n_axes], strengths[::-1][:n_axes]

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        """Scaled gradient with respect to couplings and potential."""
        scaled = gradient / self.scale
        scaled = scaled - self.axes @ (self.excess * (self.axes.T @ scaled))
        return scaled / self.scale


class _Ascent:
    """Persistent chains, and parameters that climb the likelihood by them."""

    def __init__(self, settings: KPairwise, targets: _Targets, step: _Step) -> None:
        self.settings, self.targets, self.step = settings, targets, step
        n_groups, n_neurons = targets.rates.shape
        per_group = -(-settings.n_chains // n_groups)
        self.groups = np.repeat(np.arange(n_groups), per_group)
        self.weights = (targets.shares / per_group)[self.groups]  # of each chain, sum 1
        self.rng = np.random.default_rng(settings.seed)
        shape = (len(self.groups), n_neurons)
        self.chains = (self.rng.random(shape) < targets.rates[self.groups]).astype(np.uint8)
        self.fields = logit(targets.rates)
        self.theta = np.zeros(len(step.scale))  # couplings of pairs, then potential
        self.velocity = np.zeros_like(self.theta)
        self.field_velocity = np.zeros_like(self.fields)

    def run(self) -> tuple[_Parameters, pd.DataFrame]:
        """Climb; mean parameters of the second half, and the errors of the moments."""
        n_steps, rows = self.settings.n_steps, []
        total = np.zeros(self.fields.size + self.theta.size)
        errors = np.zeros(total.shape)
        for step in range(1, n_steps + 1):
            errors += self._climb(max(SMALLEST_STEP, min(1.0, CONSTANT_STEPS / step)))
            if step > n_steps // 2:
                total += np.concatenate([self.fields.ravel(), self.theta])
            if step % STEPS_A_ROW == 0 or step == n_steps:
                n_summed = (step - 1) % STEPS_A_ROW + 1
                rows.append({"step": step} | _summary(errors / n_summed, self.targets))
                errors[:] = 0
        fields, theta = np.split(total / (n_steps - n_steps // 2), [self.fields.size])
        return _unpacked(fields.reshape(self.fields.shape), theta), pd.DataFrame(rows)

    def _climb(self, share: float) -> np.ndarray:
        """Move chains, then parameters; errors of the moments, fields first."""
        settings, targets = self.settings, self.targets
        current = _unpacked(self.fields, self.theta)
        _gibbs(
            self.chains,
            self.groups,
            _plain_fields(current, targets),
            current.couplings,
            current.potential,
            settings.n_sweeps,
            self.rng,
        )
        rates, shared = self._errors()
        gradient = shared - settings.ridge / targets.n_frames * self.theta
        if not settings.count_potential:
            gradient[len(self.step.pairs[0]) :] = 0
        length = share * self.step.length
        self.velocity = MOMENTUM * self.velocity + length * self.step.direction(gradient)
        self.field_velocity = MOMENTUM * self.field_velocity + length * rates / self.step.of_fields
        self.theta = self.theta + self.velocity
        if not settings.count_potential:
            self.theta[len(self.step.pairs[0]) :] = 0
        self.fields = self.fields + self.field_velocity
        return np.concatenate([rates.ravel(), shared])

    def _errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Moments of the data less those of the chains: rates (G, N); pairs and counts."""
        targets, n_neurons = self.targets, self.chains.shape[1]
        rates = self.chains.reshape(len(targets.shares), -1, n_neurons).mean(axis=1)
        residual = (self.chains - targets.rates[self.groups]).astype(np.float32)
        covariance = (residual * self.weights[:, None].astype(np.float32)).T @ residual
        active = self.chains.sum(axis=1, dtype=np.intp)
        counts = np.bincount(active, weights=self.weights, minlength=n_neurons + 1)
        pairs = (targets.covariance - covariance)[self.step.pairs]
        return targets.rates - rates, np.concatenate([pairs, targets.counts - counts])


def _unpacked(fields: np.ndarray, theta: np.ndarray) -> _Parameters:
    """Parameters from fields and the vector of couplings and potential."""
    n_neurons = fields.shape[1]
    couplings = np.zeros((n_neurons, n_neurons))
    couplings[np.triu_indices(n_neurons, 1)] = theta[: -(n_neurons + 1)]
    return _Parameters(fields, couplings + couplings.T, theta[-(n_neurons + 1) :].copy())


def _summary(errors: np.ndarray, targets: _Targets) -> dict[str, float]:
    """Sizes of the errors of the moments."""
    n_neurons = targets.rates.shape[1]
    rates, pairs, counts = np.split(errors, [targets.rates.size, -(n_neurons + 1)])
    variance = _private_variance(targets)[np.triu_indices(n_neurons, 1)] / targets.n_frames
    scaled = np.sqrt(np.mean(pairs**2 / variance)) if len(pairs) else 0.0
    return {
        "rates": float(np.sqrt(np.mean(rates**2))),
        "pairs": float(scaled),
        "counts": float(np.abs(counts).sum() / 2),
    }


def _enumerate(
    targets: _Targets, ridge: float, count_potential: bool
) -> tuple[_Parameters, pd.DataFrame]:
    """Climb with exact moments, by a quasi-Newton method."""
    shape = targets.rates.shape
    n_pairs = shape[1] * (shape[1] - 1) // 2
    start = np.concatenate([logit(targets.rates).ravel(), np.zeros(n_pairs + shape[1] + 1)])
    bounds = [(None, None)] * len(start)
    if not count_potential:
        bounds[-(shape[1] + 1) :] = [(0.0, 0.0)] * (shape[1] + 1)
    found = minimize(
        _loss,
        start,
        args=(targets, ridge),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9},
    )
    fields, theta = np.split(found.x, [targets.rates.size])
    parameters = _unpacked(fields.reshape(shape), theta)
    errors = _exact_errors(parameters, targets)[1]
    return parameters, pd.DataFrame([{"step": found.nit} | _summary(errors, targets)])


def _loss(theta: np.ndarray, targets: _Targets, ridge: float) -> tuple[float, np.ndarray]:
    """Negative penalised log-likelihood a frame, all states listed, and its gradient."""
    n_fields = targets.rates.size
    fields, shared = theta[:n_fields].reshape(targets.rates.shape), theta[n_fields:]
    parameters = _unpacked(fields, shared)
    log_normaliser, errors = _exact_errors(parameters, targets)
    likelihood = (
        targets.shares @ (fields * targets.rates).sum(axis=1)
        + np.triu(parameters.couplings * targets.covariance, 1).sum()
        + parameters.potential @ targets.counts
        - targets.shares @ log_normaliser
    )
    penalty = ridge / targets.n_frames
    gradient = errors.copy()
    gradient[:n_fields] *= np.repeat(targets.shares, targets.rates.shape[1])
    gradient[n_fields:] -= penalty * shared
    return penalty / 2 * (shared @ shared) - likelihood, -gradient


def _exact_errors(parameters: _Parameters, targets: _Targets) -> tuple[np.ndarray, np.ndarray]:
    """Log of the normaliser of each group, and moments of the data less the model's."""
    n_neurons = targets.rates.shape[1]
    states = all_states(n_neurons)
    active = states.sum(axis=1).astype(int)
    rates, log_normaliser = np.empty(targets.rates.shape), np.empty(len(targets.shares))
    covariance, counts = targets.covariance.copy(), targets.counts.copy()
    for group, share in enumerate(targets.shares):
        residual = states - targets.rates[group]
        energy = states @ parameters.fields[group] + parameters.potential[active]
        energy += 0.5 * ((residual @ parameters.couplings) * residual).sum(axis=1)
        log_normaliser[group] = logsumexp(energy)
        chance = np.exp(energy - log_normaliser[group])
        rates[group] = chance @ states
        covariance -= share * (residual.T * chance) @ residual
        counts -= share * np.bincount(active, weights=chance)
    pairs = covariance[np.triu_indices(n_neurons, 1)]
    return log_normaliser, np.concatenate([(targets.rates - rates).ravel(), pairs, counts])


@numba.njit(cache=True, nogil=True)
def _gibbs(
    states: np.ndarray,
    groups: np.ndarray,
    fields: np.ndarray,
    couplings: np.ndarray,
    potential: np.ndarray,
    n_sweeps: int,
    rng: np.random.Generator,
) -> None:
    """Redraw each neuron of each chain in turn, given the others; `states` change in place."""
    n_chains, n_neurons = states.shape
    drive = np.empty(n_neurons)
    for chain in range(n_chains):
        drive[:] = fields[groups[chain]]
        n_active = 0
        for j in range(n_neurons):
            if states[chain, j]:
                n_active += 1
                for i in range(n_neurons):
                    drive[i] += couplings[j, i]
        for _ in range(n_sweeps):
            for i in range(n_neurons):
                was = states[chain, i]
                others = n_active - was
                odds = drive[i] + potential[others + 1] - potential[others]
                now = 1 if rng.random() * (1 + np.exp(-odds)) < 1 else 0
                if now != was:
                    sign = 1.0 if now else -1.0
                    for j in range(n_neurons):
                        drive[j] += sign * couplings[i, j]
                    n_active = others + now
                    states[chain, i] = now
