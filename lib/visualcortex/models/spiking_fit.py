r"""Synapses, signs and delays of a spiking network, fitted to the spikes that were observed."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d
from sklearn.base import BaseEstimator

from visualcortex.connectivity.observed import observed_binned
from visualcortex.models.spiking_evidence import (
    likeliest_lags,
    likelihood_scores,
    synapse_probabilities,
)
from visualcortex.models.spiking_likelihood import (
    NEVER,
    Parameters,
    Slopes,
    Trains,
    Window,
    inputs_at_spikes,
    lag_sums,
    residuals,
    split_delays,
    window_losses,
    window_slopes,
)
from visualcortex.spikes import SpikeTimes
from visualcortex.training import choose_device

WINDOW = 8192  # bins that are held in memory at a time
OLDEST = 0.2  # s: a neuron's own spike longer ago than this has no say
N_CLASSES = 14
NOTHING = 1e-4  # of a potential
SAMPLED = 3000  # spikes of a target that the information is summed over, at most
LARGEST_STEP = 5.0  # of a weight in one minibatch, standard errors
LARGEST = 5.0  # log units that a synapse may change a rate by
SPIKES = 30  # of a target in a minibatch for each source, at least
HALVINGS = 4  # of a step that makes the likelihood worse
THROUGH, ECHO = 0.05, 1.0  # prior variances of nuisances
CLEAR = 4.0  # standard errors of a weight whose delay is refined


class SpikingNetwork(BaseEstimator):
    r"""Fit integrate-and-fire neurons with escape noise to the spikes of all, each given the rest.

    The model of `spiking_likelihood`: inputs are the observed spikes (teacher forcing), so that
    the derivative of the escape rate takes the place of a surrogate gradient (Pfister and others
    2006; Neftci and others 2019). Weights maximise

    .. math:: \log p - \lambda \sum_{ij} |w_{ij}| / \mathrm{se}_{ij}, \qquad
              \sigma_i w_{ij} \ge 0,

    by proximal Newton steps over minibatches of time, each halved for the targets whose likelihood
    it would lower. After the first epoch, unless signs are given, a source has the sign
    :math:`\sigma_i` under which its synapses explain more (Dale's principle). Delays begin where a
    synapse would explain most, and follow the gradient.

    Two nuisances are fitted along: what the smoothed train of each source says of the target
    (`background`, for input that both share), and its echo, the spikes of the source that the
    target itself may have caused. They look ahead in time, so that the sum over targets is a
    pseudolikelihood (Besag 1975).

    Bias: weights shrink towards 0; `scores_` undo that to first order. Neurons that are not
    recorded and share input that is faster than `background`, or much slower, make synapses which
    are none. Delays are the best of several, which widens `scores_` without a synapse;
    `null_width_` is what they are divided by in `probabilities_`. Errors are those of a model that
    holds, at the delays found.

    Parameters
    ----------
    step
        Width of a bin in s.
    longest_delay
        In s.
    background
        S.d. of the Gaussian that trains are smoothed by, s; None for no shared input.
    signs
        +1 or -1 of each neuron; learnt if not given.
    sparsity
        :math:`\lambda`: a synapse weaker than so many standard errors is 0.
    decay_time, kick
        Membrane time constant in s, and :math:`\kappa`.
    n_epochs, n_batches
        Passes over the recording, and minibatches in each at most: there are fewer where a target
        would have fewer than 30 spikes a source in each.
    n_seeds
        Fits with another order of minibatches; the mean is kept.
    seed
        Of all of them.
    device
        ``"cpu"``: compiled loops over spikes; ``"cuda"``: whole windows; ``"auto"``.

    Attributes
    ----------
    weights_ : (source, target) numpy.ndarray
        Largest change of a target's log rate by one spike; NaN on the diagonal, as below.
    delays_ : (source, target) numpy.ndarray
        In s.
    signs_ : (neuron,) numpy.ndarray
        +1 for excitatory.
    standard_errors_ : (source, target) numpy.ndarray
        Of weights, by the inverse of the observed information of all inputs of a target.
    scores_ : (source, target) numpy.ndarray
        Signed root of twice the likelihood ratio of a debiased weight.
    probabilities_ : (source, target) numpy.ndarray
        That there is a synapse; see `synapse_probabilities`.
    null_width_ : float
        Standard deviation of `scores_` without a synapse, by the same mixture.
    spread_ : (source, target) numpy.ndarray
        Standard deviation of `scores_` over seeds.
    constants_ : (class, neuron) numpy.ndarray
        Log rate by the time since a neuron's own spike.
    history_ : list of float
        Negative log-likelihood of each epoch of the last seed, nats a spike.

    References
    ----------
    Besag, J. (1975). Statistical analysis of non-lattice data. The Statistician 24, 179-195.
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
        background: float | None = 0.006,
        signs: np.ndarray | None = None,
        sparsity: float = 1.0,
        decay_time: float = 0.005,
        kick: float = 1.0,
        n_epochs: int = 2,
        n_batches: int = 10,
        n_seeds: int = 1,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.step, self.longest_delay, self.background = step, longest_delay, background
        self.signs, self.sparsity = signs, sparsity
        self.decay_time, self.kick = decay_time, kick
        self.n_epochs, self.n_batches = n_epochs, n_batches
        self.n_seeds, self.seed, self.device = n_seeds, seed, device

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> SpikingNetwork:
        """Fit all synapses at once.

        Parameters
        ----------
        activity
            Spike times in s, or counts of bins of width `step`, ``(time, neuron)``.
        start, stop
            From where to where, in s; to the last spike or row by default.

        Raises
        ------
        ValueError
            Settings are out of range, or a neuron has fewer than two spikes.
        """
        self._check()
        trains = _trains(activity, self.step, start, stop)
        if self.signs is not None and np.shape(self.signs) != (trains.n_neurons,):
            raise ValueError(
                f"signs must be one for each of {trains.n_neurons} neurons; got shape "
                f"{np.shape(self.signs)}. Leave them out to learn them."
            )
        fits = [
            _Fit(self, trains, np.random.default_rng([self.seed, k])).run()
            for k in range(self.n_seeds)
        ]
        self._keep(fits)
        return self

    def _keep(self, fits: list[_Fit]) -> None:
        """Average over seeds."""
        scores = np.array([fit.scores for fit in fits])
        self.spread_ = scores.std(axis=0)
        self.scores_ = scores.mean(axis=0)
        self.weights_ = np.mean([fit.weights * (1 + fit.kick) for fit in fits], axis=0)
        self.standard_errors_ = np.mean([fit.errors * (1 + fit.kick) for fit in fits], axis=0)
        self.delays_ = np.mean([fit.delays for fit in fits], axis=0) * self.step
        self.constants_, self.history_ = fits[-1].constants, fits[-1].history
        self.decay_times_ = np.array([-self.step / np.log(fit.decay) for fit in fits])
        self.kicks_ = np.array([fit.kick for fit in fits])
        found = synapse_probabilities(self.scores_, self.signs)
        self.probabilities_, self.signs_, self.null_width_ = found
        for matrix in (
            self.scores_,
            self.spread_,
            self.weights_,
            self.standard_errors_,
            self.delays_,
        ):
            np.fill_diagonal(matrix, np.nan)

    def _check(self) -> None:
        """Check the settings."""
        times = (self.step, self.longest_delay, self.decay_time)
        if not (min(times) > 0 and self.longest_delay >= self.step):
            raise ValueError(
                f"step, longest_delay and decay_time must be above 0 s, and longest_delay at least "
                f"a step; got {times}."
            )
        if self.background is not None and not self.background >= 2 * self.step:
            raise ValueError(
                f"background must be at least two steps, or None; got {self.background} s for "
                f"steps of {self.step} s. Choose shorter steps or a wider background."
            )
        if min(self.sparsity, self.kick) < 0:
            raise ValueError(
                f"sparsity and kick must be 0 or more; got {self.sparsity} and {self.kick}."
            )
        if min(self.n_epochs, self.n_batches, self.n_seeds) < 1:
            raise ValueError("n_epochs, n_batches and n_seeds must be at least 1.")
        if self.signs is not None and not np.isin(self.signs, (-1, 1)).all():
            raise ValueError("signs must be +1 or -1 for each neuron, or None to learn them.")


class _Fit:
    """One fit; delays in bins."""

    def __init__(self, model: SpikingNetwork, trains: Trains, rng: np.random.Generator) -> None:
        self.model, self.trains, self.rng = model, trains, rng
        self.backwards = trains.backwards()
        self.device = choose_device(model.device)
        n = trains.n_neurons
        self.lags = max(1, round(model.longest_delay / model.step))
        self.taps = _gaussian(model.background, model.step)
        edges = np.geomspace(1, max(2, OLDEST / model.step), N_CLASSES).round().astype(np.int64)
        edges = np.unique(edges)
        self.classes = np.searchsorted(edges, np.arange(edges[-1] + 1), side="right")
        order = np.argsort(trains.who, kind="stable")
        bins = np.repeat(np.arange(trains.n_bins), np.diff(trains.first))
        self.times = bins[order]
        self.n_spikes = np.bincount(trains.who, minlength=n)
        self.ends = np.cumsum(self.n_spikes)
        self.constants, self.in_class = self._constants()
        self.weights, self.through, self.echo = np.zeros((3, n, n))
        self.delays = np.ones_like(self.weights)
        self.decay, self.kick = 0.5, 0.0
        self.signs = None if model.signs is None else np.asarray(model.signs, np.float64)
        self.history: list[float] = []

    def run(self) -> _Fit:
        """Delays, then epochs, then one step without the prior."""
        self._scan()
        for epoch in range(self.model.n_epochs):
            self._measure()
            batches = self._batches()
            loss = 0.0
            for k, windows in enumerate(batches):
                share = sum(w.stop - w.start for w in windows) / self.trains.n_bins
                part = self._derivatives(windows)
                loss += part.losses.sum()
                # from the second epoch on the first steps may not undo what the one before found
                self._move(part, windows, share, 2 / (k + 2 + epoch * len(batches)), epoch)
            self.history.append(loss / len(self.trains.who))
            if self.signs is None:
                self.signs = np.where(_gain(self.weights / self.errors) >= 0, 1.0, -1.0)
        self._measure()
        part = self._derivatives([w for batch in self._batches() for w in batch])
        debiased = self.weights + self._newton(part)[0]
        debiased = np.clip(debiased, -LARGEST / (1 + self.kick), LARGEST / (1 + self.kick))
        size = (self.kernel**3).sum() / (self.kernel**2).sum()
        self.scores = likelihood_scores(debiased * size, self.errors * size)
        return self

    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Log rates by age, as if there were no synapses, and spikes of each class."""
        n, n_classes = self.trains.n_neurons, self.classes.max() + 1
        spikes, bins = np.zeros((n_classes, n)), np.zeros((n_classes, n))
        oldest = len(self.classes) - 1
        for j, times in enumerate(np.split(self.times, self.ends[:-1])):
            between = np.diff(times, prepend=NEVER)
            at = self.classes[np.minimum(between, oldest)]
            spikes[:, j] = np.bincount(at, minlength=n_classes)
            reached = np.bincount(np.minimum(between[1:], oldest), minlength=oldest + 1)
            reached[0] = 0
            alive = reached[::-1].cumsum()[::-1]  # intervals that reach an age
            alive[0] = 0
            bins[:, j] = np.bincount(self.classes, alive, minlength=n_classes)
            bins[-1, j] += self.trains.n_bins - bins[:, j].sum()
        usual = self.n_spikes / self.trains.n_bins
        return np.log((spikes + usual) / (bins + 1)), spikes + 1

    def _batches(self) -> list[list[Window]]:
        """Windows in random order."""
        size = max(1, min(WINDOW, -(-self.trains.n_bins // self.model.n_batches)))
        starts = np.arange(0, self.trains.n_bins, size)
        lead = int(np.ceil(np.log(NOTHING) / np.log(self.decay))) + self.lags + 1
        begins = np.maximum(starts - lead, 0)
        last = self.trains.last_before(begins)
        windows = [
            Window(
                self.trains,
                begin,
                start,
                min(start + size, self.trains.n_bins),
                before,
                self.classes,
                self.backwards,
                min(start + size + lead, self.trains.n_bins),
            )
            for begin, start, before in zip(begins, starts, last, strict=True)
        ]
        order = self.rng.permutation(len(windows))
        most = int(np.median(self.n_spikes) // (SPIKES * self.trains.n_neurons))
        groups = np.array_split(order, max(1, min(self.model.n_batches, len(order), most)))
        return [[windows[k] for k in group] for group in groups]

    def _parameters(self) -> Parameters:
        n = len(self.weights)
        shape = np.full((2, n), [[self.decay], [self.kick]])
        values = (self.weights, self.delays, self.constants, *shape, self.through, self.echo)
        return Parameters(*(np.ascontiguousarray(x, np.float32) for x in values))

    def _derivatives(self, windows: list[Window]) -> Slopes:
        """Sum over windows."""
        now = self._parameters()
        parts = [window_slopes(window, now, self.taps, self.device) for window in windows]
        names = ("losses", "weights", "delays", "constants", "background", "echo")
        total = Slopes(*(sum(getattr(part, name) for part in parts) for name in names))
        np.fill_diagonal(total.background, 0)
        np.fill_diagonal(total.echo, 0)
        return total

    def _losses(self, windows: list[Window]) -> np.ndarray:
        """Losses as they are now, without derivatives."""
        now = self._parameters()
        return sum(window_losses(window, now, self.taps, self.device) for window in windows)

    def _scan(self) -> None:
        """Set delays, in whole bins, under which synapses explain most."""
        t, n = self.trains, self.trains.n_neurons
        m = self.model
        self.decay, self.kick = float(np.exp(-m.step / m.decay_time)), float(m.kick)
        self.kernel = kernel = _kernel(m.decay_time, m.kick, m.step)
        sums = np.zeros((self.lags + len(kernel), n, n), np.float32)
        now = self._parameters()
        for window in (w for batch in self._batches() for w in batch):
            residual = -residuals(window, now)
            if len(self.taps):  # what is smooth around each lag is not a synapse
                residual -= correlate1d(residual, self.taps / self.taps.sum(), axis=0)
            lag_sums(t.first, t.who, window.start, window.stop, residual, sums)
        off = ~np.eye(n, dtype=bool)
        padded = np.pad(kernel, len(self.taps) // 2)
        if len(self.taps):
            padded -= np.convolve(kernel, self.taps / self.taps.sum())
        self.null = np.outer(self.n_spikes, self.n_spikes) / t.n_bins * (padded**2).sum()
        scores = [np.tensordot(kernel, sums[k : k + len(kernel)], 1)[off] for k in range(self.lags)]
        self.delays[off] = 1 + likeliest_lags(np.array(scores) / np.sqrt(self.null[off]))

    def _measure(self) -> None:
        """Inverse information ``(target, parameter, parameter)``, mean inputs, errors."""
        n = self.trains.n_neurons
        self.inverse, self.mean = np.empty((n, 3 * n, 3 * n)), np.empty((n, 3 * n))
        self.errors = np.ones((n, n))
        mirrored = self.backwards.n_bins - 1 - self.times
        mirrored = np.concatenate([x[::-1] for x in np.split(mirrored, self.ends[:-1])])
        for j in range(n):
            x, scale = self._inputs(j, mirrored)
            self.mean[j] = x.mean(axis=0)
            x -= self.mean[j]
            total = x.T @ x * scale
            d = np.einsum("ii->i", total)
            d[:n] += np.maximum(0, self.null[:, j] - d[:n])
            d += 0.01 * d + np.repeat(
                [1.0, 1 / THROUGH, 1 / ECHO], n
            )  # a prior, and what is not sampled
            self.inverse[j] = np.linalg.inv(total)
            self.errors[:, j] = np.sqrt(np.diagonal(self.inverse[j])[:n])

    def _inputs(self, j: int, mirrored: np.ndarray) -> tuple[np.ndarray, float]:
        """Potentials, smooth trains and echoes at spikes of a target; how many each stands for."""
        n, count = len(self.weights), self.n_spikes[j]
        rows = np.arange(1, max(2, count - 1), max(1, count // SAMPLED))
        x = np.zeros((3, len(rows), n))
        whole, part = split_delays(self.delays)
        forth = np.ascontiguousarray(whole[:, j]), np.ascontiguousarray(part[:, j])
        inputs_at_spikes(self.times, self.ends, j, rows, *forth, self.kernel, self.taps, *x[:2])
        unused = np.zeros((len(rows), n))
        later = (count - 1 - rows)[::-1]
        none = np.zeros(1, self.taps.dtype)
        if count > 2:
            inputs_at_spikes(
                mirrored, self.ends, j, later, whole[j], part[j], self.kernel, none, x[2], unused
            )
        x[2] = x[2, ::-1].copy()
        return np.hstack(x), count / len(rows)

    def _newton(self, part: Slopes, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Change of weights and background by Newton's method, the constants moving along."""
        n = len(self.weights)
        level = part.constants.sum(axis=0)
        gradient = np.concatenate([part.weights, part.background, part.echo]).T
        nuisance = np.concatenate([np.zeros((n, n)), self.through / THROUGH, self.echo / ECHO])
        gradient = gradient + share * nuisance.T
        change = np.einsum("jik,jk->ij", self.inverse, self.mean * level[:, None] - gradient)
        return change[:n], change[n:]

    def _move(
        self, part: Slopes, windows: list[Window], share: float, rate: float, epoch: int
    ) -> None:
        """One step of all parameters, shortened for the targets that it would make worse."""
        nuisance = np.concatenate([self.through, self.echo])
        before = self.weights, nuisance, self.constants, self.delays
        by_weight, by_background = self._newton(part, share)
        largest = LARGEST_STEP * self.errors
        by_weight = np.clip(rate / share * by_weight, -largest, largest)
        by_background = np.clip(rate / share * by_background, -0.5, 0.5)
        by_constant = np.clip(rate / share * part.constants / self.in_class, -1, 1)
        by_delay = self._delay_step(part, share, rate) if epoch else 0 * self.delays
        length = np.ones(len(self.weights))
        for _ in range(HALVINGS):
            moved = self._shrunk(before[0] + length * by_weight, rate * length)
            nuisance = before[1] + length * by_background
            self.weights, (self.through, self.echo) = moved, np.split(nuisance, 2)
            np.fill_diagonal(self.through, 0)
            np.fill_diagonal(self.echo, 0)

            change = np.concatenate([moved - before[0], nuisance - before[1]])
            self.constants = (
                before[2] - length * by_constant - np.einsum("ji,ij->j", self.mean, change)
            )
            self.delays = np.clip(before[3] - length * by_delay, 1, self.lags)
            worse = ~(
                self._losses(windows)
                <= part.losses + 1e-6 * np.abs(part.losses) + self.allowance(length, rate)
            )
            if not worse.any():
                return
            length = np.where(worse, length / 4, length)
        nuisance = np.concatenate([self.through, self.echo])
        now = self.weights, nuisance, self.constants, self.delays
        self.weights, nuisance, self.constants, self.delays = (
            np.where(worse, old, new) for old, new in zip(before, now, strict=True)
        )
        self.through, self.echo = np.split(nuisance, 2)

    def allowance(self, length: np.ndarray, rate: float) -> float:
        """The prior may cost this much."""
        return rate * 5.0

    def _shrunk(self, moved: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """Apply the prior, Dale's principle and the bound to weights."""
        size = np.maximum(np.abs(moved) - rate * self.model.sparsity * self.errors, 0)
        moved = np.sign(moved) * np.minimum(size, LARGEST / (1 + self.kick))
        if self.signs is not None:
            moved = np.where(moved * self.signs[:, None] > 0, moved, 0)
        np.fill_diagonal(moved, 0)
        return moved

    def _delay_step(self, part: Slopes, share: float, rate: float) -> np.ndarray:
        """Change of the delays of clear synapses, by at most half a bin."""
        curvature = 2 * (1 + self.kick) ** 2 * np.outer(self.n_spikes, self.n_spikes)
        curvature = self.weights**2 * curvature / self.trains.n_bins
        clear = np.abs(self.weights) > CLEAR * self.errors
        step = rate / share * part.delays / np.maximum(curvature, 1e-9)
        return np.where(clear, np.clip(step, -0.5, 0.5), 0)


def _gain(z: np.ndarray) -> np.ndarray:
    """How much more excitation explains of each source's targets than inhibition."""
    gain = np.maximum(z, 0) ** 2 - np.maximum(-z, 0) ** 2
    return gain.sum(axis=1)


def _gaussian(width: float | None, step: float) -> np.ndarray:
    """Taps of a Gaussian of s.d. `width`, 1 at its peak; none without a background."""
    if width is None:
        return np.empty(0, np.float32)
    reach = int(np.ceil(3.5 * width / step))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    return taps.astype(np.float32)


def _kernel(tau: float, kick: float, step: float) -> np.ndarray:
    """Potential of each bin since an arrival, the kick in the first."""
    kernel = np.exp(-np.arange(max(1, int(np.ceil(5 * tau / step)))) * step / tau)
    kernel[0] += kick
    return kernel


def _trains(
    spikes: SpikeTimes | np.ndarray, step: float, start: float, stop: float | None
) -> Trains:
    """Spikes in bins, if every neuron has some."""
    binned = observed_binned(spikes, step, start, stop)
    if (few := np.flatnonzero(binned.n_spikes < 2)).size:
        raise ValueError(
            f"every neuron must have at least two spikes; {len(few)} have fewer (neuron "
            f"{', '.join(map(str, few[:5]))}). Leave them out."
        )
    return Trains.of(binned)
