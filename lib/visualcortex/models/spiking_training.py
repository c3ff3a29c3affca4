r"""What a trained or fitted spiking network does when it is left to itself.

`FreeRunningNetwork` is trained through time: it never sees the observed spikes, and its own are
compared with them. `free_run` lets a network run whose parameters were fitted elsewhere, each bin
given all others (teacher forcing), so that its statistics can be held against the recording's.

References
----------
van Rossum, M. C. W. (2001). A novel spike distance. Neural Computation 13, 751-763.
Zenke, F., and Ganguli, S. (2018). SuperSpike: supervised learning in multilayer spiking neural
networks. Neural Computation 30, 1514-1541.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from visualcortex.connectivity.observed import observed_bins
from visualcortex.models.spiking import RecurrentNetwork
from visualcortex.models.spiking_fit import SpikingNetwork
from visualcortex.spikes import SpikeTimes, contiguous_counts
from visualcortex.training import choose_device

MATCHES = ("correlograms", "trains")
REACH = 0.01  # s after a spike within which its source's sign shows, and correlograms are matched
SETTLING = 1.0  # s of a free run that are thrown away
LOUDEST = 500.0  # spikes a second of a mean neuron, beyond which a network has run away
BLOCK = 10_000  # bins that are run at a time
Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class FreeRunningNetwork(BaseEstimator):
    r"""Train a spiking network through time until its own spikes are like those observed.

    Leaky integrate-and-fire neurons, as in `run_network`, that excite or inhibit (Dale's
    principle), are driven by a constant each and by noise, which is drawn anew for each window.
    With *s* and *n* simulated and observed spikes, surrogate gradients lower

    .. math::

        L = D + \lambda\, \frac{\sum_j (\langle s_j \rangle - \langle n_j \rangle)^2}
                               {\sum_j \langle n_j \rangle^2}.

    With ``match="trains"``, *D* is the distance of van Rossum (2001) of a window, *k* a causal
    exponential of time constant :math:`\tau`, in its own unit, where a silent network is at 1 and
    an independent one of the right rates at 2,

    .. math:: D = \frac{\sum_{tj} (k * s_j - k * n_j)_t^2}{\sum_{tj} (k * n_j)_t^2}.

    With ``match="correlograms"`` it compares what neurons do after each other's spikes, in windows
    and in the whole recording,

    .. math:: D = \frac{\sum_{i \ne j} (C^s_{ij} - C^n_{ij})^2}{\sum_{i \ne j} (C^n_{ij})^2},
              \qquad C^s_{ij} = \sum_{0 < l \le 10\,\mathrm{ms}}
              \frac{\mathrm{cov}(s_{it}, s_{j,t+l})}
                   {\sqrt{\langle n_i \rangle \langle n_j \rangle}}.

    Bias: the noise is not observed, so that the best guess of when a neuron spikes is hardly better
    than its rate, and from trains there is little for weights to be learnt from. Correlograms do
    not depend on the noise that was; what many networks share they cannot tell apart, and a window
    adds the variance of its own correlograms to *D*, which favours weak weights. Weights stay near
    where they started where nothing says otherwise. Nothing says how sure they are.

    Parameters
    ----------
    step
        Width of a bin in s, and the delay of all synapses.
    signs
        +1 or -1 of each neuron; by default as `guess_signs` does.
    window
        s that the network runs by itself, from rest.
    match
        ``"correlograms"`` or ``"trains"``.
    time_constant
        :math:`\tau`, s.
    membrane
        Membrane time constant that training starts from, s.
    noise
        S.d. of the potential by noise alone, in thresholds.
    rate_penalty
        :math:`\lambda`.
    sharpness
        Of the surrogate, as in `run_network`.
    n_steps, batch
        Steps of training, and windows in each, drawn at random.
    learning_rate
        Of the method of Adam (Kingma and Ba 2015).
    seed
        Of first weights, windows and noise.
    device
        ``"auto"``, or a device of torch.

    Attributes
    ----------
    scores_, weights_ : (source, target) numpy.ndarray
        Learnt weights in thresholds, signed; NaN on the diagonal.
    delays_ : (source, target) numpy.ndarray
        One step, in s; NaN on the diagonal.
    signs_ : (neuron,) numpy.ndarray
        As given or guessed.
    rates_ : (2, neuron) numpy.ndarray
        Spikes a second, simulated and observed, over the last tenth of training.
    history_ : list of float
        L of each step.
    network_ : RecurrentNetwork
        As trained.
    """

    def __init__(
        self,
        *,
        step: float = 0.002,
        signs: np.ndarray | None = None,
        window: float = 0.5,
        match: str = "correlograms",
        time_constant: float = 0.02,
        membrane: float = 0.02,
        noise: float = 0.5,
        rate_penalty: float = 5.0,
        sharpness: float = 5.0,
        n_steps: int = 400,
        batch: int = 64,
        learning_rate: float = 0.05,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.step, self.signs, self.window, self.match = step, signs, window, match
        self.time_constant, self.membrane, self.noise = time_constant, membrane, noise
        self.rate_penalty, self.sharpness = rate_penalty, sharpness
        self.n_steps, self.batch, self.learning_rate = n_steps, batch, learning_rate
        self.seed, self.device = seed, device

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> FreeRunningNetwork:
        """Train on windows of the recording.

        Parameters
        ----------
        activity
            Spike times in s, or counts of bins of width `step`, ``(time, neuron)``.
        start, stop
            From where to where the recording is used, in s; to its end by default.

        Raises
        ------
        ValueError
            Settings are out of range, no neuron spikes, or the recording is shorter than a window.
        """
        n_bins = self._check()
        counts = observed_bins(activity, self.step, start, stop)
        if len(counts) < n_bins or not counts.any():
            raise ValueError(
                f"a window of {n_bins} bins with spikes is needed at least; got {len(counts)} bins "
                f"with {counts.sum():g} spikes. Choose a shorter window or a longer recording."
            )
        self.signs_ = guess_signs(counts, self.step) if self.signs is None else self._given(counts)
        self.network_ = self._start(counts)
        self._train(counts, n_bins)
        self.weights_ = self.network_.weights().detach().cpu().numpy().astype(np.float64)
        self.delays_ = np.full_like(self.weights_, self.step)
        for matrix in (self.weights_, self.delays_):
            np.fill_diagonal(matrix, np.nan)
        self.scores_ = self.weights_.copy()
        return self

    def _check(self) -> int:
        """Refuse settings that make no sense; return the bins of a window."""
        times = (self.step, self.time_constant, self.membrane, self.window)
        sizes = (self.noise, self.sharpness, self.learning_rate)
        if not (min(*times, *sizes) > 0 and self.rate_penalty >= 0):
            raise ValueError(
                f"times, noise, sharpness and learning_rate must be above 0, and rate_penalty at "
                f"least 0; got {times} s, {sizes} and {self.rate_penalty}."
            )
        if self.match not in MATCHES:
            raise ValueError(f"match must be one of {', '.join(MATCHES)}; got {self.match!r}.")
        if min(self.n_steps, self.batch) < 1 or self.window < 2 * self.step:
            raise ValueError(
                f"n_steps and batch must be at least 1, and a window two steps; got "
                f"{self.n_steps}, {self.batch} and {self.window} s in steps of {self.step} s."
            )
        return round(self.window / self.step)

    def _given(self, counts: np.ndarray) -> np.ndarray:
        """Return the signs that were given, once they fit."""
        signs = np.asarray(self.signs, np.float64)
        if signs.shape != counts.shape[1:] or not np.isin(signs, (-1, 1)).all():
            raise ValueError(
                f"signs must be +1 or -1 of each of {counts.shape[1]} neurons, or None; got shape "
                f"{signs.shape}."
            )
        return signs

    def _start(self, counts: np.ndarray) -> RecurrentNetwork:
        """Small random weights, and a constant drive that is just below threshold."""
        decay = float(np.exp(-self.step / self.membrane))
        network = RecurrentNetwork(
            1, self.signs_, decay=decay, seed=self.seed, sharpness=self.sharpness
        )
        nn.init.constant_(network.inputs, 0.5 * (1 - decay))
        return network.to(choose_device(self.device))

    def _train(self, counts: np.ndarray, n_bins: int) -> None:
        """Take steps of Adam; keep losses and the last rates."""
        network, device = self.network_, next(self.network_.parameters()).device
        seen = torch.from_numpy(counts).to(device)
        distance = self._distance(seen, n_bins)
        rng, noise = np.random.default_rng([self.seed, 1]), torch.Generator().manual_seed(self.seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        constant = torch.ones(n_bins, self.batch, 1, device=device)
        self.history_, rates = [], []
        for _ in range(self.n_steps):
            begins = rng.integers(0, len(counts) - n_bins + 1, self.batch)
            observed = torch.stack([seen[b : b + n_bins] for b in begins], dim=1)
            drawn = torch.randn(observed.shape, generator=noise).to(device)
            decay = torch.sigmoid(network.leak.detach())
            spikes = network(constant, noise=self.noise * (1 - decay**2).sqrt() * drawn).spikes
            loss = distance(spikes, observed) + self.rate_penalty * _rates_apart(spikes, seen)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            self.history_.append(loss.item())
            rates.append(spikes.detach().mean((0, 1)).cpu().numpy())
        simulated = np.mean(rates[-max(1, self.n_steps // 10) :], axis=0)
        self.rates_ = np.array([simulated, counts.mean(axis=0)]) / self.step

    def _distance(self, seen: torch.Tensor, n_bins: int) -> Distance:
        """Return D as a function of simulated and observed spikes ``(time, batch, neuron)``."""
        if self.match == "trains":
            kernel = _exponential(n_bins, self.step / self.time_constant).to(seen)
            return lambda spikes, observed: _trains_apart(spikes, observed, kernel)
        lags = min(max(1, round(REACH / self.step)), n_bins - 1)
        usual = seen.mean(0).clamp(min=1 / len(seen)).sqrt()
        known = _covariances(seen[:, None], lags, usual)
        size = known.square().sum().clamp(min=1e-12)
        return lambda spikes, _: (_covariances(spikes, lags, usual) - known).square().sum() / size


def guess_signs(counts: np.ndarray, step: float) -> np.ndarray:
    r"""Tell excitatory from inhibitory neurons by what others do within 10 ms after their spikes.

    .. math:: \sigma_i = \mathrm{sign} \sum_{j \ne i} z_{ij} |z_{ij}|, \qquad
              z_{ij} = \frac{c_{ij} - f_{ij}}{\sqrt{c_{ij} + f_{ij} / 2}},

    with *c* the number of pairs of spikes at lags up to *L*, and *f* the mean of those at lags from
    *L* to 2 *L*, before and after, where what is slow and shared is seen too: squared, so that few
    strong synapses decide.

    Parameters
    ----------
    counts
        Spikes of each bin, ``(time, neuron)``, float32.
    step
        Width of a bin, s.

    Returns
    -------
    numpy.ndarray
        +1 or -1, ``(neuron,)``. Neurons of few spikes or few synapses are guessed at chance.
    """
    reach = max(1, round(REACH / step))
    near, far = (_pairs(counts, range(a, a + reach)) for a in (1, 1 + reach))
    flanks = (far + far.T) / 2
    z = (near - flanks) / np.sqrt(np.maximum(near + flanks / 2, 1))
    np.fill_diagonal(z, 0)
    return np.where((z * np.abs(z)).sum(axis=1) >= 0, 1.0, -1.0)


def _pairs(counts: np.ndarray, lags: range) -> np.ndarray:
    """Spikes of each source with those of each target some lags later, ``(source, target)``."""
    return sum(counts[:-lag].T @ counts[lag:] for lag in lags)


def free_run(
    weights: np.ndarray,
    delays: np.ndarray,
    constants: np.ndarray,
    *,
    ages: np.ndarray,
    duration: float,
    decay_time: float = 0.005,
    kick: float = 0.0,
    step: float = 0.001,
    seed: int = 0,
) -> SpikeTimes:
    r"""Let a network with escape noise run by itself.

    The model is that of `spiking_likelihood`, and the spikes that arrive are the network's own:
    in each bin, neuron *j* emits a Poisson number of spikes of mean :math:`e^{u_{jt}}`,

    .. math::

        h_{jt} = \beta\, h_{j,t-1}\,[\text{no spike of } j \text{ in } t-1] + a_{jt}, \qquad
        u_{jt} = b_j(\mathrm{age}_{jt}) + h_{jt} + \kappa\, a_{jt},

    with :math:`a_{jt} = \sum_i w_{ij} n_i(t - d_{ij}) / (1 + \kappa)`.

    Parameters
    ----------
    weights
        w, change of a target's log rate in the bin in which a spike arrives,
        ``(source, target)``; NaN (as on the diagonal) is no synapse.
    delays
        In s, at least a step, ``(source, target)``; between two bins a spike is divided.
    constants
        b, log of the expected count of a bin without input, ``(class of age, neuron)``.
    ages
        Shortest time since a neuron's own spike of each class, s, ``(class,)``, from 0 on and
        rising.
    duration
        s, after 1 s in which the network settles.
    decay_time
        Of the potential, s: :math:`\beta = e^{-\Delta/\tau}`.
    kick
        :math:`\kappa`.
    step
        :math:`\Delta`, s.
    seed
        Of the noise.

    Returns
    -------
    SpikeTimes
        In s, in the middle of their bins.

    Raises
    ------
    ValueError
        Shapes do not fit, or numbers are out of range.
    FloatingPointError
        The network runs away, as fitted ones may: a likelihood in which all input is observed
        does not forbid it.
    """
    weights, delays, constants, ages = (
        np.array(x, np.float64) for x in (weights, delays, constants, ages)
    )
    _check_parameters(weights, delays, constants, ages)
    _check_times(delays[np.isfinite(weights)], duration, decay_time, kick, step)
    none = ~(np.isfinite(weights) & np.isfinite(delays))
    lags = np.where(none, 1.0, np.maximum(delays / step, 1))
    jumps = np.where(none, 0.0, weights) / (1 + kick)
    edges = np.round(ages / step).astype(np.int64)
    classes = np.searchsorted(edges, np.arange(edges[-1] + 1), side="right") - 1
    settling, n_bins = round(SETTLING / step), round(duration / step)
    shape = float(np.exp(-step / decay_time)), float(kick)
    rng = np.random.default_rng(seed)
    when, who = _events(
        jumps, lags, constants, classes, *shape, settling + n_bins, rng, LOUDEST * step
    )
    kept = when >= settling
    return _sorted((when[kept] - settling + 0.5) * step, who[kept], len(weights))


def rerun(model: SpikingNetwork, duration: float, *, seed: int = 0) -> SpikeTimes:
    """Let a fitted `SpikingNetwork` run by itself: a posterior predictive check of its estimate.

    Parameters
    ----------
    model
        Fitted. Shared input is left out, and so are shapes of single potentials; constants are
        those that make up for it on average while all hear the recording.
    duration, seed
        As for `free_run`.

    Raises
    ------
    FloatingPointError
        The network runs away.
    """
    return free_run(
        model.weights_,
        model.delays_,
        model.constants_,
        ages=model.ages_,
        duration=duration,
        decay_time=model.decay_time,
        kick=model.kick,
        step=model.step,
        seed=seed,
    )


class SpikeStatistics(NamedTuple):
    """Spikes a second and variation of intervals ``(neuron,)``, correlations of all pairs."""

    rates: np.ndarray
    variation: np.ndarray
    correlations: np.ndarray


def spike_statistics(spikes: SpikeTimes, duration: float, width: float = 0.05) -> SpikeStatistics:
    r"""Describe spikes by what a free run should share with the recording.

    Rates are :math:`n / T`, the variation is the standard deviation of intervals over their mean
    (1 for a Poisson process; biased down where there are few), and correlations are Pearson's, of
    counts in bins.

    Parameters
    ----------
    spikes
        Times in s, from 0 on.
    duration
        T, s.
    width
        Of a bin, s.

    Returns
    -------
    SpikeStatistics
        NaN for the variation of neurons with fewer than three spikes, for correlations of silent
        ones, and on the diagonal.

    Raises
    ------
    ValueError
        There are fewer than two bins.
    """
    if not (width > 0 and duration >= 2 * width):
        raise ValueError(
            f"duration must be two bins at least, in s; got {duration} and bins of {width}."
        )
    counts = contiguous_counts(spikes, 0.0, duration, width)
    variation = np.full(spikes.n_units, np.nan)
    for unit in np.flatnonzero(spikes.n_spikes >= 3):
        between = np.diff(spikes.of(unit))
        variation[unit] = between.std() / between.mean()
    centred = counts - counts.mean(axis=0, dtype=np.float64)
    spread = np.sqrt((centred**2).sum(axis=0))
    with np.errstate(invalid="ignore"):
        correlations = centred.T @ centred / np.outer(spread, spread)
    np.fill_diagonal(correlations, np.nan)
    return SpikeStatistics(spikes.n_spikes / duration, variation, correlations)


def _exponential(n_bins: int, rate: float) -> torch.Tensor:
    """Causal exponential as a matrix ``(time, time)`` that multiplies spikes from the left."""
    lags = torch.arange(n_bins)[:, None] - torch.arange(n_bins)
    return torch.where(lags >= 0, torch.exp(-rate * lags.clamp(min=0)), 0.0)


def _trains_apart(
    spikes: torch.Tensor, observed: torch.Tensor, kernel: torch.Tensor
) -> torch.Tensor:
    """Distance of van Rossum over that of no spikes."""
    apart = (kernel @ (spikes - observed).flatten(1)).square().sum()
    return apart / (kernel @ observed.flatten(1)).square().sum().clamp(min=1e-12)


def _covariances(spikes: torch.Tensor, lags: int, usual: torch.Tensor) -> torch.Tensor:
    """Covariances with what follows, over all lags, ``(source, target)``; 0 on the diagonal."""
    rates = spikes.mean((0, 1))
    total = -lags * torch.outer(rates, rates)
    for lag in range(1, lags + 1):
        before, after = spikes[:-lag].flatten(0, 1), spikes[lag:].flatten(0, 1)
        total = total + before.T @ after / len(before)
    total = total / torch.outer(usual, usual)
    return total - torch.diag(torch.diagonal(total))


def _rates_apart(spikes: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Squared difference of rates over squared rates."""
    rates, known = spikes.mean((0, 1)), seen.mean(0)
    return (rates - known).square().sum() / known.square().sum()


def _sorted(times: np.ndarray, who: np.ndarray, n_neurons: int) -> SpikeTimes:
    """Put spikes in order of neuron, then of time."""
    order = np.argsort(who, kind="stable")
    return SpikeTimes(times[order], np.cumsum(np.bincount(who, minlength=n_neurons)))


def _events(
    jumps: np.ndarray,
    lags: np.ndarray,
    constants: np.ndarray,
    classes: np.ndarray,
    decay: float,
    kick: float,
    n_bins: int,
    rng: np.random.Generator,
    loudest: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bin and neuron of each spike; block by block, so that a runaway is noticed."""
    n, whole = len(jumps), np.floor(lags).astype(np.int64)
    arriving = np.zeros((whole.max() + 2, n))
    potential, last = np.zeros(n), np.full(n, -len(classes))
    when, who = [], []
    for begin in range(0, n_bins, BLOCK):
        stop = min(begin + BLOCK, n_bins)
        room = int(2 * loudest * (stop - begin) * n) + 1000
        found = np.empty((2, room), np.int64)
        n_found = _run_free(
            begin,
            stop,
            rng,
            jumps,
            whole,
            lags - whole,
            constants,
            classes,
            decay,
            kick,
            arriving,
            potential,
            last,
            found,
        )
        if n_found < 0 or n_found > loudest * (stop - begin) * n + 100:
            raise FloatingPointError(
                f"the network runs away within {stop} bins: neurons fire at more than "
                f"{LOUDEST:g} spikes a second. Fit it with more sparsity, or weaken its weights."
            )
        when.append(found[0, :n_found].copy())
        who.append(found[1, :n_found].copy())
    return np.concatenate(when), np.concatenate(who)


@numba.njit(cache=True, nogil=True)
def _run_free(
    begin,
    stop,
    rng,
    jumps,
    whole,
    part,
    constants,
    classes,
    decay,
    kick,
    arriving,
    potential,
    last,
    found,
):  # pragma: no cover
    """Arrivals wait in a ring of bins; return how many spikes, or -1 where there is no room."""
    n, n_slots, n_found = len(jumps), len(arriving), 0
    oldest = len(classes) - 1
    for t in range(begin, stop):
        slot, first = t % n_slots, n_found
        for j in range(n):
            came = arriving[slot, j]
            potential[j] = decay * potential[j] + came
            arriving[slot, j] = 0
            level = constants[classes[min(t - last[j], oldest)], j] + potential[j] + kick * came
            for _ in range(_poisson(np.exp(min(level, 1.0)), rng.random())):
                if n_found == found.shape[1]:
                    return -1
                found[0, n_found], found[1, n_found] = t, j
                n_found += 1
        for e in range(first, n_found):
            i = found[1, e]
            potential[i] = 0
            last[i] = t
            for j in range(n):
                if jumps[i, j] != 0:
                    to = (slot + whole[i, j]) % n_slots
                    arriving[to, j] += (1 - part[i, j]) * jumps[i, j]
                    arriving[(to + 1) % n_slots, j] += part[i, j] * jumps[i, j]
    return n_found


@numba.njit(cache=True, nogil=True)
def _poisson(mean, uniform):  # pragma: no cover
    """Turn a uniform number into a Poisson one."""
    chance, count = np.exp(-mean), 0
    while uniform > chance and count < 20:
        uniform -= chance
        count += 1
        chance *= mean / count
    return count


def _check_parameters(
    weights: np.ndarray, delays: np.ndarray, constants: np.ndarray, ages: np.ndarray
) -> None:
    """Refuse shapes that do not fit."""
    n = len(weights)
    if weights.shape != (n, n) or delays.shape != (n, n) or n == 0:
        raise ValueError(
            f"weights and delays must be (source, target), of as many neurons; got "
            f"{weights.shape} and {delays.shape}."
        )
    if constants.ndim != 2 or constants.shape != (len(ages), n) or not np.isfinite(constants).all():
        raise ValueError(
            f"constants must be finite, (class of age, neuron), here ({len(ages)}, {n}); got "
            f"{constants.shape}."
        )
    if ages[0] != 0 or (np.diff(ages) <= 0).any():
        raise ValueError(f"ages must be in s, from 0 on and rising; got {ages[:5]}.")


def _check_times(
    delays: np.ndarray, duration: float, decay_time: float, kick: float, step: float
) -> None:
    """Refuse times out of range."""
    if not (step > 0 and duration >= step and decay_time > 0 and kick >= 0):
        raise ValueError(
            f"duration, decay_time and step must be above 0 s, and kick at least 0; got "
            f"{duration}, {decay_time}, {step} and {kick}."
        )
    if len(delays) and not delays[np.isfinite(delays)].min(initial=step) >= step * (1 - 1e-9):
        raise ValueError(
            f"delays must be at least a step of {step} s; got {np.nanmin(delays)} s. Choose "
            "shorter steps."
        )
