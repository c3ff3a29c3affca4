r"""Synapses, signs and delays of a spiking network, fitted to the spikes that were observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator

from visualcortex.connectivity.correlograms import BinnedSpikes
from visualcortex.connectivity.observed import observed_binned
from visualcortex.models.spiking_evidence import (
    averaged_scores,
    likeliest_lags,
    likelihood_scores,
    synapse_probabilities,
)
from visualcortex.models.spiking_exposure import (
    Exposure,
    exposure_information,
    exposure_residuals,
    exposure_slopes,
    gaussian_taps,
)
from visualcortex.models.spiking_likelihood import (
    Parameters,
    Trains,
    Window,
    likeliest_constants,
    window_slopes,
)
from visualcortex.models.spiking_scan import WIDTHS, overlap, potentials, scan_lags
from visualcortex.spikes import SpikeTimes
from visualcortex.training import choose_device

WINDOW = 8192  # bins that are held in memory at a time
OLDEST = 0.2  # s: a neuron's own spike longer ago than this has no say
N_CLASSES = 14
SLOW = 0.006  # s, decay of the slower shape that clear synapses may have
CLEAR = 5.0  # standard errors from which on a synapse has a shape of its own
KEPT = 4.0  # standard errors from which on a delay is kept
PRIOR = 1.0  # standard deviation of weights, echoes and shapes, log units
LONGEST, LARGEST = 1.5, 5.0  # step of a weight, and weight, log units
SHORTER = 4.0  # by which a step that makes the likelihood worse is shortened
GAIN = 0.3  # nats a target: what ends the descent
NOTHING = 1e-4  # of a potential
GENERATIVE = 0.016  # s, width that delays and errors are taken from if there is no background
LEAST = 0.01  # precision of a weight without the prior, where data say nothing
BARRED = 1e9  # precision of what is not fitted


class SpikingNetwork(BaseEstimator):
    r"""Fit neurons with escape noise to the spikes of all, each given the rest.

    The inputs of each neuron are the observed spikes of the others (teacher forcing), so that the
    derivative of the escape rate takes the place of a surrogate gradient (Pfister and others 2006;
    Neftci and others 2019). Weights maximise

    .. math:: \log p(\text{when spikes came} \mid \text{about when}) - \tfrac12 \sum_{ij} w_{ij}^2,

    the conditional likelihood of `spiking_exposure`, by Newton's method, for each target on its
    own. Each synapse has a delay in whole bins: first the likeliest of the pair alone, then the
    likeliest given all the others. Clear synapses have potentials of a shape of their own, and so
    has their echo. Scores average over delays; probabilities of synapses follow from a mixture in
    which all synapses of a source have one sign (Dale's principle).

    With `background` None, the likelihood is that of the generative model instead
    (`spiking_likelihood`), from there on: log rates have a constant for each time since the
    neuron's own spike, and nothing is shared. Constants are fitted in either case, to weights as
    they are at the end, so that the network can run by itself (`rerun`).

    Bias: what neurons share faster than `background` makes synapses which are none, and so do
    potentials whose shape is another than that allowed. Each spike is taken to be placed
    independently of the neuron's other spikes. Errors are those of a model that holds, at the
    delays found.

    Parameters
    ----------
    step
        Width of a bin in s.
    longest_delay
        In s.
    background
        S.d. of the Gaussian that shared input is smooth over, s; ``"auto"`` for the wider of 4
        and 8 ms under which pairs as a whole are not correlated (`scan_lags`); None for no shared
        input.
    signs
        +1 or -1 of each neuron; learnt if not given.
    decay_time, kick
        Decay of a potential in s, and by how many potentials an arrival counts more than that.
    n_rounds, n_steps
        Rounds of delays, and Newton steps in each, at most.
    n_sampled
        Spikes of a target that the information is summed over, at most.
    seed
        Of which spikes these are.
    device
        ``"cpu"``: compiled loops over spikes; ``"cuda"``: whole recordings; ``"auto"``.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        Signed root of twice the likelihood ratio, averaged over delays; NaN on the diagonal, as
        below.
    probabilities_ : (source, target) numpy.ndarray
        That there is a synapse; see `synapse_probabilities`.
    null_centre_, null_width_ : float
        Mean and standard deviation of `scores_` without a synapse, by the same mixture.
    estimates_, standard_errors_ : (source, target) numpy.ndarray
        Change of a target's log rate when a spike arrives, the prior taken off, and its error by
        the observed information of all inputs of a target.
    weights_ : (source, target) numpy.ndarray
        Estimates times probabilities; 0 where the sign is not the source's.
    delays_ : (source, target) numpy.ndarray
        In s.
    signs_ : (neuron,) numpy.ndarray
        +1 for excitatory.
    background_ : float or None
        In s.
    constants_ : (class, neuron) numpy.ndarray
        Log of the expected count of a bin, by the time since a neuron's own spike.
    ages_ : (class,) numpy.ndarray
        Shortest time of each class, s.
    history_ : list of float
        Negative log-likelihood after each step, nats a spike.

    References
    ----------
    Neftci, E. O., Mostafa, H., and Zenke, F. (2019). Surrogate gradient learning in spiking neural
    networks. IEEE Signal Processing Magazine 36, 51-63.
    Pfister, J.-P., Toyoizumi, T., Barber, D., and Gerstner, W. (2006). Optimal spike-timing-
    dependent plasticity for precise action potential firing. Neural Computation 18, 1318-1348.
    """

    def __init__(
        self,
        *,
        step: float = 0.001,
        longest_delay: float = 0.01,
        background: float | str | None = "auto",
        signs: np.ndarray | None = None,
        decay_time: float = 0.003,
        kick: float = 1.0,
        n_rounds: int = 2,
        n_steps: int = 3,
        n_sampled: int = 1000,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.step, self.longest_delay, self.background = step, longest_delay, background
        self.signs, self.decay_time, self.kick = signs, decay_time, kick
        self.n_rounds, self.n_steps = n_rounds, n_steps
        self.n_sampled, self.seed, self.device = n_sampled, seed, device

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> SpikingNetwork:
        """Fit all synapses.

        Parameters
        ----------
        activity
            Spike times in s, or counts of bins of width `step`, ``(time, neuron)``.
        start, stop
            From where to where, in s; to the last spike or row by default.

        Raises
        ------
        ValueError
            Settings are out of range, a neuron has fewer than two spikes, or spikes come on a
            grid that is coarser than `step`.
        """
        self._check()
        spikes = _checked(observed_binned(activity, self.step, start, stop), self.step)
        if self.signs is not None and np.shape(self.signs) != (spikes.n_neurons,):
            raise ValueError(
                f"signs must be one for each of {spikes.n_neurons} neurons; got shape "
                f"{np.shape(self.signs)}. Leave them out to learn them."
            )
        self._keep(_Fit(self, spikes).run())
        return self

    def _keep(self, fit: _Fit) -> None:
        """Turn estimates into what is found."""
        scores, self.estimates_, self.standard_errors_ = fit.results()
        found = synapse_probabilities(scores, self.signs)
        self.probabilities_, self.signs_, self.null_centre_, self.null_width_ = found
        agree = self.estimates_ * self.signs_[:, None] > 0
        weights = np.where(agree, found.probabilities * self.estimates_, 0.0)
        self.constants_ = fit.constants(np.nan_to_num(weights))
        self.scores_, self.weights_ = scores, weights
        self.delays_ = fit.delays * self.step
        self.background_, self.history_ = fit.background, fit.history
        self.ages_ = self.step * np.concatenate([[0], fit.edges])
        for name in ("scores_", "estimates_", "standard_errors_", "weights_", "delays_"):
            np.fill_diagonal(getattr(self, name), np.nan)

    def _check(self) -> None:
        """Refuse settings that make no sense."""
        times = {name: getattr(self, name) for name in ("step", "longest_delay", "decay_time")}
        for name, value in times.items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0 s; got {value}. Choose 0.001 or more.")
        if self.longest_delay < self.step:
            raise ValueError(
                f"longest_delay must be at least a step of {self.step} s; got "
                f"{self.longest_delay} s. Choose a longer one, or shorter steps."
            )
        if not (np.isfinite(self.kick) and self.kick >= 0):
            raise ValueError(f"kick must be 0 or more; got {self.kick}. Choose 1, say.")
        for name in ("n_rounds", "n_steps", "n_sampled"):
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= 1):
                raise ValueError(f"{name} must be a whole number from 1 on; got {value!r}.")
        self._check_background()
        if self.signs is not None and not np.isin(self.signs, (-1, 1)).all():
            raise ValueError(
                f"signs must be +1 or -1 for each neuron; got {np.unique(self.signs)}. Leave them "
                f"out to learn them."
            )

    def _check_background(self) -> None:
        """Refuse widths that bins are too wide for."""
        if self.background is None:
            return
        if isinstance(self.background, str):
            if self.background != "auto":
                raise ValueError(
                    f"background must be 'auto', a width in s, or None; got {self.background!r}."
                )
        elif not (np.isfinite(self.background) and self.background >= 2 * self.step):
            raise ValueError(
                f"background must be at least two steps, or None; got {self.background} s for "
                f"steps of {self.step} s. Choose shorter steps or a wider background."
            )


class _Fit:
    """One fit; delays in bins, weights ``(target, column)`` as `Exposure` has them."""

    def __init__(self, model: SpikingNetwork, spikes: BinnedSpikes) -> None:
        self.model, self.spikes, self.n = model, spikes, spikes.n_neurons
        self.device = choose_device(model.device)
        self.off = ~np.eye(self.n, dtype=bool)
        self.rows = self._sampled()
        edges = np.geomspace(1, max(2, OLDEST / model.step), N_CLASSES).round()
        self.edges = np.unique(edges.astype(np.int64))
        self.n_lags = max(1, round(model.longest_delay / model.step))
        self.history: list[float] = []
        self._start()

    def _sampled(self) -> list[np.ndarray]:
        """Some spikes of each target."""
        rng = np.random.default_rng(self.model.seed)
        rows = [np.flatnonzero(self.spikes.neuron == j) for j in range(self.n)]
        most = self.model.n_sampled
        return [x if len(x) <= most else np.sort(rng.choice(x, most, False)) for x in rows]

    def _start(self) -> None:
        """Take delays, background and shapes from pairs one by one."""
        m, generative = self.model, self.model.background is None
        widths = WIDTHS if m.background == "auto" else (m.background or GENERATIVE,)
        widths = tuple(x for x in widths if x >= 2 * m.step) or (2 * m.step,)
        taps = gaussian_taps(widths[0], m.step)
        self.kernel = np.trim_zeros(potentials(m.decay_time, m.kick, SLOW, taps, m.step)[0], "b")
        self.scan = scan_lags(self.spikes, self.kernel, m.step, self.n_lags, widths)
        self.background, self.delays = None if generative else self.scan.width, self.scan.delays
        taps = gaussian_taps(self.scan.width, m.step)
        self.clear = (np.abs(self.scan.best) > CLEAR) & self.off & (not generative)
        shapes = potentials(m.decay_time, m.kick, SLOW, taps, m.step)
        who = self.spikes.neuron.astype(np.int64)
        self.data = Exposure(
            self.spikes.bin.astype(np.int64), who, self.n, taps, shapes, self.delays, self.clear
        )
        self.weights = np.zeros((self.n, self.data.n_columns.max()))
        self.prior = np.full(self.weights.shape, PRIOR**-2)
        every = np.arange(self.n)
        self.prior[every, every] = self.prior[every, self.n + every] = BARRED
        if generative:
            self.prior[:, self.n :] = BARRED

    def run(self) -> _Fit:
        """Fit weights, then delays, in turn."""
        for k in range(self.model.n_rounds):
            if k:
                self._choose_delays()
            self._measure()
            self._descend(self._conditional)
        if self.background is None:
            self._measure()
            self._descend(self._generative)
        if self.background is None or self.model.n_rounds == 1:
            self._measure()  # else it was measured with the delays and almost the weights of now
        return self

    def _conditional(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and slopes of where spikes are, given about where."""
        return exposure_slopes(self.data, weights, self.device)

    def _generative(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and slopes of all bins, at the best constants."""
        windows, parameters = self._windows(), self._parameters(weights[:, : self.n].T)
        parameters = replace(parameters, constants=likeliest_constants(windows, parameters))
        parts = [window_slopes(window, parameters, self.device) for window in windows]
        slopes = np.zeros_like(weights)
        slopes[:, : self.n] = sum(part.weights for part in parts).T / (1 + self.model.kick)
        return sum(part.losses for part in parts), slopes

    def _measure(self) -> None:
        """Invert the information of each target; keep its diagonal."""
        self.inverse, self.information = [], np.empty((self.n, self.n))
        total = self.spikes.n_spikes
        for j, rows in enumerate(self.rows):
            h = exposure_information(self.data, self.weights, j, rows) * (total[j] / len(rows))
            self.information[:, j] = np.diagonal(h)[: self.n]
            h += np.diag(self.prior[j, : len(h)])
            self.inverse.append(np.linalg.inv(h).astype(np.float32))

    def _descend(self, evaluate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        """Newton steps; a target that one makes worse stays where it is, and takes shorter ones."""
        losses, slopes = evaluate(self.weights)
        length = np.ones((self.n, 1))
        for _ in range(self.model.n_steps):
            tried = self.weights - length * self._newton(slopes)
            tried = np.clip(tried, -LARGEST, LARGEST)
            new, new_slopes = evaluate(tried)
            gain = losses + self._penalty(self.weights) - new - self._penalty(tried)
            worse = gain < -1e-6 * np.abs(losses) - 1e-6
            length[worse] /= SHORTER
            self.weights = np.where(worse[:, None], self.weights, tried)
            slopes = np.where(worse[:, None], slopes, new_slopes)
            losses = np.where(worse, losses, new)
            self.history.append(float(losses.sum() / self.spikes.n_spikes.sum()))
            if not worse.any() and gain.max() < GAIN:
                break

    def _penalty(self, weights: np.ndarray) -> np.ndarray:
        """Minus the log prior of each target's weights."""
        return 0.5 * (self.prior * weights**2).sum(axis=1)

    def _newton(self, slopes: np.ndarray) -> np.ndarray:
        """Step of all weights."""
        step = np.zeros_like(slopes)
        slopes = slopes + self.prior * self.weights
        for j, inverse in enumerate(self.inverse):
            step[j, : len(inverse)] = inverse @ slopes[j, : len(inverse)]
        every = np.arange(self.n)
        step[every, every] = step[every, self.n + every] = 0
        return np.clip(step, -LONGEST, LONGEST)

    def _errors(self) -> np.ndarray:
        """Standard deviation of weights given the data and the prior, ``(source, target)``."""
        return np.sqrt([np.diagonal(x)[: self.n] for x in self.inverse]).T

    def _lag_scores(self) -> np.ndarray:
        """Scores of each lag ``(lag, source, target)``, all other synapses given."""
        length, main = len(self.kernel), self.weights[:, : self.n].T
        left = exposure_residuals(self.data, self.weights, self.n_lags + length)
        left = np.stack(
            [np.tensordot(self.kernel, left[k : k + length], 1) for k in range(self.n_lags)]
        )
        root = np.sqrt(self.scan.information)
        alike = overlap(self.kernel, self.data.taps, self.n_lags)
        apart = np.arange(1, self.n_lags + 1)[:, None, None] - self.delays
        alone = 1 / np.sqrt(self.information + PRIOR**-2) / self._errors()
        return (left / root + main * root * alike[apart + self.n_lags]) * np.minimum(alone, 1)

    def _choose_delays(self) -> None:
        """Take the likeliest lags of synapses that are not clear."""
        lags, _ = likeliest_lags(self._lag_scores()[:, self.off])
        free = (
            self.off & ~self.clear & (np.abs(self.weights[:, : self.n].T) < KEPT * self._errors())
        )
        delays = np.ones_like(self.delays)
        delays[self.off] = 1 + lags
        moved = free & (delays != self.delays)
        self.weights[:, : self.n][moved.T] = 0
        self.weights[:, self.n : 2 * self.n][moved] = 0
        self.delays = np.where(moved, delays, self.delays)
        self.data = replace(self.data, delays=self.delays)

    def results(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, weights without the prior, and their errors, ``(source, target)``."""
        variance = self._errors() ** 2
        precision = np.maximum(1 / variance - PRIOR**-2, LEAST)
        estimates, errors = self.weights[:, : self.n].T / (variance * precision), precision**-0.5
        best, scores = likelihood_scores(estimates, errors), np.zeros_like(errors)
        lags = self._lag_scores()[:, self.off]
        scores[self.off] = averaged_scores(lags, best[self.off], self.delays[self.off] - 1)
        return scores, estimates, errors

    def constants(self, weights: np.ndarray) -> np.ndarray:
        """Constants under which weights expect as many spikes as were observed."""
        return likeliest_constants(self._windows(), self._parameters(weights))

    def _parameters(self, weights: np.ndarray) -> Parameters:
        """Weights ``(source, target)`` as the generative model has them; constants are 0."""
        m = self.model
        shape = np.full((2, self.n), [[np.exp(-m.step / m.decay_time)], [m.kick]])
        silent = np.zeros((len(self.edges) + 1, self.n))
        delays = self.delays.astype(float)
        values = weights * self.off / (1 + m.kick), delays, silent, *shape
        return Parameters(*(np.ascontiguousarray(x, np.float32) for x in values))

    def _windows(self) -> list[Window]:
        """The recording, part by part."""
        trains = Trains.of(self.spikes)
        classes = np.searchsorted(self.edges, np.arange(self.edges[-1] + 1), side="right")
        starts = np.arange(0, trains.n_bins, WINDOW)
        lead = int(np.ceil(-np.log(NOTHING) * self.model.decay_time / self.model.step))
        begins = np.maximum(starts - lead - self.n_lags - 1, 0)
        lasts = trains.last_before(begins)
        ends = np.minimum(starts + WINDOW, trains.n_bins)
        each = zip(begins, starts, ends, lasts, strict=True)
        return [Window(trains, *bounds, last, classes) for *bounds, last in each]


def _checked(spikes: BinnedSpikes, step: float) -> BinnedSpikes:
    """Return the spikes, if every neuron has some and bins are not finer than times."""
    if (few := np.flatnonzero(spikes.n_spikes < 2)).size:
        raise ValueError(
            f"every neuron must have at least two spikes; {len(few)} have fewer (neuron "
            f"{', '.join(map(str, few[:5]))}). Leave them out."
        )
    if (grid := int(np.gcd.reduce(np.diff(spikes.bin)))) > 1:
        raise ValueError(
            f"spikes must not come on a grid coarser than a step of {step:g} s; got one of "
            f"{grid * step:g} s, whose gaps would pass for structure. Choose that for step."
        )
    return spikes
