r"""Wiring from the cross-spectra of counts in slow frames: a linear network fitted to the data.

A frame of 33 ms holds most of what a synapse does, so that lags between frames say little of who
drives whom. A network in continuous time predicts the cross-spectrum of its counts in such frames;
fitted to them, with one sign of all synapses of a source, it tells the direction within a frame.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.base import BaseEstimator

from visualcortex.connectivity.observed import observed_bins
from visualcortex.connectivity.selection import sample_synapses
from visualcortex.models.spike_counts import estimate_kinetics
from visualcortex.spikes import SpikeTimes
from visualcortex.training import choose_device

FOLDED = (0, -1)  # multiples of the frame rate at which the network is solved in full
FAR_FOLDED = (1, -2, 2)  # those at which couplings count once; beyond, spikes are independent
SCALES = (0.02, 0.02, 0.02, 0.05, 0.05)  # of a step in each kind of parameters
TIMES = (2e-3, 5e-3, 10e-3)  # s, where delay, decay and recovery start
MOST_NEURONS = 160  # a matrix of n^4 numbers is held
USUAL_RATE = 5.0  # spikes a second that calcium is scaled to, for want of its amplitude
SLIGHTLY = 1e-8  # rounds the corner of the penalty


class _Parameters(NamedTuple):
    """Of the network."""

    couplings: torch.Tensor  # (source, target), the diagonal is the effect on oneself
    intensity: torch.Tensor  # (neuron,), spikes a frame
    loading: torch.Tensor  # (neuron,), of input that all share
    power: torch.Tensor  # (band,), of that input
    delay: torch.Tensor  # s, as the next two
    decay: torch.Tensor
    recovery: torch.Tensor


class _Folded(NamedTuple):
    """The network near a multiple of the frame rate, (F, N, N) or (F,)."""

    response: torch.Tensor  # (target, source): of all neurons to a push of one
    spectrum: torch.Tensor
    kernel: torch.Tensor
    weight: torch.Tensor


class SpectralNetwork(BaseEstimator):
    r"""Directed synapses from counts a frame, by the likelihood of their cross-spectra.

    Spikes of *i* change the rate of *j* by :math:`b_{ij}` spikes, after a delay *d* and spread over
    an exponential decay :math:`\tau`; spikes of *j* itself by :math:`b_{jj}`, over a recovery
    :math:`\tau_0`. Of such a network (Hawkes 1971) the spectrum at angular frequency
    :math:`\omega` is

    .. math::

        S(\omega) = (I - G)^{-1} D (I - G)^{-\mathsf H}, \qquad
        G_{ji}(\omega) = b_{ij} \frac{e^{-i \omega d}}{1 + i \omega \tau}, \quad
        G_{jj}(\omega) = \frac{b_{jj}}{1 + i \omega \tau_0},

    with the intensities *D*. Counts in frames of :math:`\Delta` fold all frequencies into those up
    to half the frame rate,

    .. math::

        S_\Delta(f) = D + \sum_m \operatorname{sinc}^2(f \Delta + m)\,
            \big(S(2 \pi (f + m / \Delta)) - D\big).

    The fit maximises Whittle's likelihood of the periodogram, in bands of frequencies, in steps:

    1. couplings of any sign, with the penalty :math:`\lambda \sum_{i \ne j} |b_{ij}|`; the sign of
       a neuron is that of the sum of its couplings (Dale's principle), unless signs are given;
    2. couplings of these signs only, with the same penalty;
    3. around them, the likelihood as a quadratic form, with the Fisher information of all couplings
       at once: Gibbs samples of which synapses exist, see `sample_synapses`.

    Slow input that all neurons share, of power :math:`q(f)` in each band, adds :math:`q(f)\, u
    u^{\mathsf T}` to the spectrum. Without it, as much is explained by synapses that are none; with
    it, some that exist are missed where nothing is shared. It is left out, unless asked for; with
    ``shared="auto"`` it is kept where it raises the penalised likelihood of step 1 by more than its
    number of parameters is worth (Schwarz's criterion).

    Calcium *y* itself may be given instead of counts, with its decay: the network is then fitted to
    :math:`y_t - g y_{t-1}`, in units in which it has the power of spikes at 5 a second, and the
    noise of frames adds :math:`\sigma^2 |1 - g e^{-i \omega}|^2` to the spectrum of each neuron
    (`visualcortex.models.spike_counts.estimate_kinetics`). Neither amplitude nor baseline need be
    known, but what is known of spikes being whole is not used.

    Bias: linear; neurons that are not recorded, and input that some of them share, make synapses
    of their own; bursts of the whole network are beyond it. Couplings shrink towards 0, and
    inhibition counts for less where it silences its target. The time course is the same for all
    synapses. The intensities, the effects on oneself, shared input and the time course are taken
    as known in step 3, and so are the signs. A wrong sign costs all synapses of that source. An
    indicator that rises slowly is not that of a single decay.

    Parameters
    ----------
    step
        Duration of a frame, s; spike times are counted in such frames.
    decay
        Time constant of calcium, s, if traces of it are given; ``"estimate"`` to read it from them;
        None for counts.
    n_bands
        Bands of frequencies.
    penalty
        :math:`\lambda`, nats a unit of coupling.
    signs
        1 (excitatory) or -1 of each neuron; by default found by step 1.
    n_steps
        Steps at most of the fits 1 and 2; few are enough, since step 3 goes on from there.
    n_sweeps
        Passes of the sampler over all pairs; a quarter as many come first and do not count. With 0
        there is no step 3: no probabilities, and scores are the couplings of step 2.
    trust
        Power of the likelihood in step 3, above 0 and at most 1. Neurons are not linear, so that
        the whole of it is too sure: of two simulated networks of 80 integrate-and-fire neurons,
        15 minutes in frames of 33 ms, probabilities were calibrated at 0.5.
    shared
        Whether there is input that all share; "auto" decides, but takes an indicator of the wrong
        kind for shared input: of calcium that rises slowly, what is found is then far worse.
    device
        Where spectra are computed, in float64: "auto" is the GPU if there is one. The sampler runs
        on the CPU.
    seed
        Of the sampler.

    Attributes
    ----------
    probabilities_ : (source, target) numpy.ndarray
        That the synapse exists; NaN on the diagonal, as everywhere here. None without step 3.
    scores_ : (source, target) numpy.ndarray
        The same with the sign of the source.
    weights_ : (source, target) numpy.ndarray
        Posterior mean of *b*, spikes of the target for a spike of the source.
    penalised_ : (source, target) numpy.ndarray
        *b* of step 2.
    signs_ : (neuron,) numpy.ndarray
        1 or -1.
    shared_input_ : bool
        Whether shared input was part of the fit.
    delay_, decay_, recovery_ : float
        s, of the time courses. Poorly determined by frames that are much longer.

    Notes
    -----
    Step 3 needs three times :math:`4 N^4` bytes, 0.5 GB for 80 neurons and 8 GB for 160, the most
    that are taken; time grows likewise. Of more neurons, leave step 3 out (``n_sweeps=0``, memory
    as :math:`N^2`), or fit groups, whose other neurons are then unseen input.

    References
    ----------
    Hawkes, A. G. (1971). Spectra of some self-exciting and mutually exciting point processes.
    Biometrika 58, 83-90.

    Whittle, P. (1953). The analysis of multiple stationary time series. Journal of the Royal
    Statistical Society B 15, 125-139.
    """

    def __init__(
        self,
        *,
        step: float,
        decay: float | str | None = None,
        n_bands: int = 12,
        penalty: float = 80.0,
        signs: np.ndarray | None = None,
        n_steps: int = 30,
        n_sweeps: int = 150,
        trust: float = 0.5,
        shared: bool | str = False,
        device: str | torch.device = "auto",
        seed: int = 0,
    ) -> None:
        self.step, self.decay, self.n_bands, self.penalty = step, decay, n_bands, penalty
        self.signs, self.n_steps = signs, n_steps
        self.n_sweeps, self.trust, self.shared = n_sweeps, trust, shared
        self.device, self.seed = device, seed

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> SpectralNetwork:
        """Fit the network.

        Parameters
        ----------
        activity
            Spike times, s; or ``(time, neuron)``, spikes a frame, which need not be whole, as when
            they are inferred from calcium; or calcium in any unit, if the decay is given.
        start, stop
            From where to where, s; by default all.

        Returns
        -------
        SpectralNetwork
            Itself.

        Raises
        ------
        ValueError
            Settings or shapes are not as described, values are not finite, a neuron never changes
            or has no spikes, too few frames, or too many neurons.
        """
        self._check_settings()
        values = observed_bins(activity, self.step, start, stop).astype(np.float64)
        self._check(values)
        n, problem = values.shape[1], self._problem(values)
        free = self._free(problem)
        signs = self.signs
        if signs is None:
            outgoing = _off_diagonal(free, n).sum(axis=1)
            signs = np.where(outgoing < 0, -1, 1)
        self.signs_ = np.asarray(signs, dtype=int)
        fitted = problem.minimise(_admit(free, self.signs_), self.n_steps, self.signs_)
        self._keep(problem, fitted)
        return self

    def _free(self, problem: _Whittle) -> np.ndarray:
        """Fit couplings of any sign, with or without shared input, whichever explains more."""
        tried = []
        for shared in (False, True) if self.shared == "auto" else (self.shared,):
            problem.shared = shared
            found = problem.minimise(problem.start(), self.n_steps, None)
            tried.append((problem.cost(found), shared, found))
        _, problem.shared, best = min(tried, key=lambda one: one[0])
        self.shared_input_ = problem.shared
        return best

    def _problem(self, values: np.ndarray) -> _Whittle:
        """Likelihood of counts, or of what is new in each frame of calcium."""
        device = choose_device(self.device)
        if self.decay is None:
            bands = band_spectra(values, self.n_bands)
            floor = np.zeros((self.n_bands, values.shape[1]))
            return _Whittle(bands, values.mean(axis=0), floor, self.step, self.penalty, device)
        fresh, noise, keep = _fresh(values, self.step, self.decay)
        bands = band_spectra(fresh, self.n_bands)
        slope = np.abs(1 - keep * np.exp(-2j * np.pi * bands[0])) ** 2
        rate = np.full(values.shape[1], USUAL_RATE * self.step)
        floor = slope[:, None] * noise**2
        return _Whittle(bands, rate, floor, self.step, self.penalty, device)

    def _keep(self, problem: _Whittle, fitted: np.ndarray) -> None:
        """Keep what came out, once synapses are sampled around the fit."""
        times = np.exp(fitted[-3:]) * TIMES
        self.delay_, self.decay_, self.recovery_ = (float(t) for t in times)
        self.penalised_ = _off_diagonal(fitted, problem.n)
        self.probabilities_, self.weights_ = None, self.penalised_.copy()
        if self.n_sweeps:
            self.probabilities_, self.weights_ = self._sample(problem, fitted)
            np.fill_diagonal(self.probabilities_, np.nan)
        for matrix in (self.weights_, self.penalised_):
            np.fill_diagonal(matrix, np.nan)
        self.scores_ = self.penalised_.copy()
        if self.n_sweeps:
            self.scores_ = self.probabilities_ * self.signs_[:, None]

    def _sample(self, problem: _Whittle, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and mean couplings of sampled synapses."""
        found = sample_synapses(
            self.penalised_,
            self.trust * problem.slope(fitted),
            np.float32(self.trust) * problem.information(fitted),
            self.signs_,
            n_sweeps=self.n_sweeps,
            seed=self.seed,
        )
        return found.probability, found.mean

    def _check_settings(self) -> None:
        """Complain of settings that make no sense."""
        known = self.decay is not None and self.decay != "estimate"
        if not self.step > 0 or (known and not (np.isreal(self.decay) and self.decay > 0)):
            raise ValueError(
                f'step must be above 0 s, and decay too, or "estimate", or None; got {self.step} '
                f"and {self.decay!r}. Frames at 30 Hz are 1/30 s."
            )
        if min(self.n_bands, self.n_steps) < 1 or self.n_sweeps < 0:
            raise ValueError(
                f"n_bands and n_steps must be at least 1, n_sweeps 0 or more; got {self.n_bands}, "
                f"{self.n_steps} and {self.n_sweeps}. Correct them."
            )
        if self.shared not in (True, False, "auto"):
            raise ValueError(
                f'shared must be True, False or "auto"; got {self.shared!r}. Correct it.'
            )
        if self.penalty < 0 or not 0 < self.trust <= 1:
            raise ValueError(
                f"penalty must be 0 or more, and trust above 0 and at most 1; got {self.penalty} "
                f"and {self.trust}. Correct them."
            )

    def _check(self, values: np.ndarray) -> None:
        """Complain of too many neurons, too few frames, and neurons without spikes."""
        n_time, n = values.shape
        if n > MOST_NEURONS and self.n_sweeps:
            raise ValueError(
                f"at most {MOST_NEURONS} neurons fit into memory together; got {n}. Select some, "
                f"or set n_sweeps=0."
            )
        n_frequencies = (n_time - (self.decay is not None)) // 2
        if n_frequencies < self.n_bands * n:
            raise ValueError(
                f"each of {self.n_bands} bands needs at least as many frequencies as there are "
                f"neurons ({n}); got {n_time} frames. Record for longer, or use fewer bands."
            )
        if self.decay is None and (values.mean(axis=0) <= 0).any():
            raise ValueError("every neuron needs a mean count above 0. Leave out the silent ones.")
        if (np.ptp(values, axis=0) == 0).any():
            raise ValueError("every neuron must change over time. Leave out the constant ones.")
        signs = None if self.signs is None else np.asarray(self.signs)
        if signs is not None and (signs.shape != (n,) or not np.isin(signs, (-1, 1)).all()):
            raise ValueError(
                f"signs must be 1 or -1 for each of {n} neurons; got {self.signs!r}. Or leave them "
                f"out."
            )


def _fresh(
    values: np.ndarray, step: float, decay: float | str
) -> tuple[np.ndarray, np.ndarray, float]:
    """What is new in each frame of calcium and the noise, in usual spikes; decay a frame."""
    known = estimate_kinetics(values, 1 / step, decay=None if decay == "estimate" else decay)
    # a neuron without visible spikes is left as it is
    power = np.where(known.power > 0, known.power, known.noise**2)
    size, keep = np.sqrt(power / (USUAL_RATE * step)), float(np.exp(-step / known.decay))
    return (values[1:] - keep * values[:-1]) / size, known.noise / size, keep


def _off_diagonal(parameters: np.ndarray, n: int) -> np.ndarray:
    """Couplings (source, target) with 0 on the diagonal."""
    return parameters[: n * n].reshape(n, n) * (1 - np.eye(n))


def _admit(parameters: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Parameters without the couplings of the wrong sign."""
    n, admitted = len(signs), parameters.copy()
    couplings = admitted[: n * n].reshape(n, n)
    couplings[(couplings * signs[:, None] < 0) & ~np.eye(n, dtype=bool)] = 0
    return admitted


def band_spectra(values: np.ndarray, n_bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Cross-spectra in bands of equally many frequencies above 0.

    .. math:: I_{jk} = \langle X_j(f)\, X_k^*(f) \rangle, \qquad
              X_j(f) = \frac{1}{\sqrt T} \sum_t (x_{tj} - \bar x_j)\, e^{-2 \pi i f t}

    Bias: without a taper, what changes more slowly than the recording leaks into all bands.

    Parameters
    ----------
    values
        ``(time, neuron)``.
    n_bands
        How many bands.

    Returns
    -------
    frequency
        Of the middle of each band, cycles a frame, ``(band,)``.
    spectra
        ``(band, neuron, neuron)``, complex; independent spikes have their mean count.
    weight
        Number of frequencies in each, ``(band,)``.
    """
    n_time = len(values)
    waves = np.fft.rfft(values - values.mean(axis=0), axis=0)[1:] / np.sqrt(n_time)  # (f, N)
    edges = np.linspace(0, len(waves), n_bands + 1).astype(int)
    frequency = np.array([(a + b + 1) / 2 for a, b in itertools.pairwise(edges)]) / n_time
    spectra = [waves[a:b].T @ waves[a:b].conj() / (b - a) for a, b in itertools.pairwise(edges)]
    return frequency, np.stack(spectra), np.diff(edges).astype(float)


class _Whittle:
    """Penalised negative log-likelihood of cross-spectra; parameters are one vector.

    Couplings (source, target), log intensities over mean counts, loadings of shared input over the
    roots of these, its log powers, logs of the times over `TIMES`.
    """

    def __init__(
        self,
        bands: tuple[np.ndarray, np.ndarray, np.ndarray],
        rate: np.ndarray,
        floor: np.ndarray,
        frame: float,
        penalty: float,
        device: torch.device,
    ) -> None:
        self.n, self.step, self.penalty, self.device = len(rate), frame, penalty, device
        self.shared = False
        self.frequency, self.data, self.weight = (torch.as_tensor(b, device=device) for b in bands)
        self.rate = torch.as_tensor(rate, device=device)
        self.floor = torch.diag_embed(torch.as_tensor(floor, device=device))  # (F, N, N)
        self.one = torch.eye(self.n, dtype=torch.float64, device=device)

    def start(self) -> np.ndarray:
        """No synapses; neurons that are a little more regular than chance."""
        couplings = np.diag(np.full(self.n, -0.2)).ravel()
        loading, power = self._start_shared()
        return np.concatenate([couplings, np.zeros(self.n), loading, power, np.zeros(3)])

    def _start_shared(self) -> tuple[np.ndarray, np.ndarray]:
        """What all neurons have most in common in the slowest band, and its power in all."""
        if not self.shared:
            return np.zeros(self.n), np.zeros(len(self.weight))
        root = np.sqrt(self.rate.cpu().numpy())
        common = self.data.real.cpu().numpy() / np.outer(root, root)
        common *= 1 - np.eye(self.n)
        sizes, vectors = np.linalg.eigh(common[0])
        power = np.einsum("kij,i,j->k", common, vectors[:, -1], vectors[:, -1])
        largest = max(float(sizes[-1]), 0.01)
        return vectors[:, -1] * np.sqrt(largest), np.log(np.maximum(power / largest, 1e-3))

    def unpack(self, vector: torch.Tensor) -> _Parameters:
        """Parameters of a vector of them."""
        n = self.n
        times = torch.exp(vector[-3:]) * torch.tensor(
            TIMES, dtype=vector.dtype, device=vector.device
        )
        intensity = torch.exp(vector[n * n : n * n + n]) * self.rate
        loading = vector[n * n + n : n * n + 2 * n] * torch.sqrt(self.rate)
        power = torch.exp(vector[n * n + 2 * n : -3])
        return _Parameters(vector[: n * n].reshape(n, n), intensity, loading, power, *times)

    def coupled(self, fold: int, p: _Parameters) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Transfer matrix (F, target, source), kernel and weight (F,) of frequencies that fold."""
        frequency = self.frequency + fold
        angular = 2j * np.pi * frequency / self.step
        kernel = torch.exp(-angular * p.delay) / (1 + angular * p.decay)
        own = 1 / (1 + angular * p.recovery)
        others = (p.couplings * (1 - self.one)).T
        transfer = kernel[:, None, None] * others
        transfer = transfer + own[:, None, None] * torch.diag(p.couplings.diagonal())
        return transfer, kernel, torch.sinc(frequency) ** 2

    def solve(self, fold: int, p: _Parameters) -> _Folded:
        """The network near a multiple of the frame rate, in full."""
        transfer, kernel, weight = self.coupled(fold, p)
        response = torch.linalg.inv(self.one - transfer)
        return _Folded(response, (response * p.intensity) @ response.mH, kernel, weight)

    def spectra(self, p: _Parameters) -> torch.Tensor:
        """Spectra that the network predicts, (F, N, N)."""
        floor = torch.diag(p.intensity)
        shared = p.power[:, None, None] * torch.outer(p.loading, p.loading)
        total = (floor + self.floor + shared).to(torch.complex128)
        for fold in FOLDED:
            near = self.solve(fold, p)
            total = total + near.weight[:, None, None] * (near.spectrum - floor)
        for fold in FAR_FOLDED:
            transfer, _, weight = self.coupled(fold, p)
            once = transfer * p.intensity
            total = total + weight[:, None, None] * (once + once.mH)
        return total

    def loss(self, vector: torch.Tensor, penalty: float) -> torch.Tensor:
        """Penalised negative log-likelihood, nats."""
        p = self.unpack(vector)
        factor = torch.linalg.cholesky(self.spectra(p))
        logs = 2 * torch.log(factor.diagonal(dim1=1, dim2=2).real).sum(1)
        explained = torch.cholesky_solve(self.data, factor).diagonal(dim1=1, dim2=2).sum(1).real
        sizes = torch.sqrt((p.couplings * (1 - self.one)) ** 2 + SLIGHTLY).sum()
        return ((logs + explained) * self.weight).sum() + penalty * sizes

    def _value(self, vector: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        """Value and derivative; a network that explodes is worse than any other."""
        given = torch.tensor(vector, device=self.device, requires_grad=True)
        try:
            value = self.loss(given, penalty)
        except torch.linalg.LinAlgError:
            return 1e30, np.zeros_like(vector)
        value.backward()
        return value.item(), given.grad.cpu().numpy()

    def minimise(self, start: np.ndarray, n_steps: int, signs: np.ndarray | None) -> np.ndarray:
        """Minimise by L-BFGS-B; with signs, couplings keep to them."""
        n = self.n
        scale = np.repeat(SCALES, (n * n, n, n, len(self.weight), 3))

        def scaled(vector: np.ndarray) -> tuple[float, np.ndarray]:
            """Value and slope in units in which all parameters take steps alike."""
            value, slope = self._value(vector * scale, self.penalty)
            return value, slope * scale

        low, high = np.full(len(start), -np.inf), np.full(len(start), np.inf)
        if signs is not None:
            others = ~np.eye(n, dtype=bool)
            low[: n * n][((signs[:, None] > 0) & others).ravel()] = 0
            high[: n * n][((signs[:, None] < 0) & others).ravel()] = 0
        low[-3:], high[-3:] = -1 / SCALES[-1], 1 / SCALES[-1]  # times within a factor e
        if not self.shared:
            low[n * n + n : -3] = high[n * n + n : -3] = 0
        options = {"maxiter": n_steps, "maxcor": 15}
        bounds = np.stack([low, high], axis=1)
        found = minimize(
            scaled, start / scale, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        return found.x * scale

    def cost(self, vector: np.ndarray) -> float:
        """Penalised negative log-likelihood, and what the parameters of shared input cost (BIC)."""
        more = (self.n + len(self.weight)) if self.shared else 0
        return self._value(vector, self.penalty)[0] + more / 2 * float(torch.log(self.weight.sum()))

    def slope(self, vector: np.ndarray) -> np.ndarray:
        """Derivative by the couplings (source, target) of the likelihood alone."""
        return self._value(vector, 0.0)[1][: self.n**2].reshape(self.n, self.n)

    def information(self, vector: np.ndarray) -> np.ndarray:
        r"""Fisher information of all couplings, ``(N * N, N * N)`` float32.

        A coupling changes the spectrum by :math:`\sum_m w_m (u_m v_m^{\mathsf H} + v_m
        u_m^{\mathsf H})`, with *u* the response to a push of the target and *v* the spectrum of the
        source: the information is a sum over products of four N x N matrices. That of diagonal
        couplings has the kernel of the others, and is not to be used.
        """
        p = self.unpack(torch.as_tensor(vector, device=self.device))
        inverse = torch.linalg.inv(self.spectra(p))
        folds = [self.solve(fold, p) for fold in FOLDED]
        folds += [self._far(fold, p) for fold in FAR_FOLDED]
        near = len(FOLDED)
        pairs = [(a, b) for a in range(len(folds)) for b in range(len(folds)) if min(a, b) < near]
        parts = [self._products(folds[a], folds[b], inverse) for a, b in pairs]
        n = self.n
        crossed, straight = (
            (_long(parts, k).T @ _long(parts, k + 1)).reshape(n, n, n, n) for k in (0, 2)
        )
        total = crossed.permute(0, 3, 2, 1) + straight.permute(0, 3, 1, 2)
        return total.reshape(n * n, n * n).cpu().numpy()

    def _far(self, fold: int, p: _Parameters) -> _Folded:
        """As `solve`, for frequencies at which couplings count once."""
        _, kernel, weight = self.coupled(fold, p)
        one = self.one.to(torch.complex128).expand(len(kernel), -1, -1)
        return _Folded(one, one * p.intensity, kernel, weight)

    def _products(self, a: _Folded, b: _Folded, inverse: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Products whose outer products are the information, each (2 F, N, N) real."""
        weight = (2 * self.weight * a.weight * b.weight)[:, None, None]
        pushed_a = a.response * a.kernel[:, None, None]
        pushed_b = b.response * b.kernel[:, None, None]
        first = weight * (a.spectrum @ inverse @ pushed_b)  # (F, i, j')
        second = b.spectrum @ inverse @ pushed_a  # (F, i', j)
        third = weight * (a.spectrum @ inverse @ b.spectrum)  # (F, i, i')
        fourth = pushed_b.mH @ inverse @ pushed_a  # (F, j', j)
        left = (torch.cat([m.real, m.imag]) for m in (first, third))
        right = (torch.cat([m.real, -m.imag]) for m in (second, fourth))
        one, three = left
        two, four = right
        return one, two, three, four


def _long(parts: list[tuple[torch.Tensor, ...]], k: int) -> torch.Tensor:
    """All products of one kind in rows, (row, N * N) float32."""
    return torch.cat([part[k] for part in parts]).flatten(1).float()
