"""A conditional variational autoencoder of population activity, neurons as channels.

Neurons share a few smooth latent paths through a linear readout, and each has a state of its own
in every trial. Nothing in it is next to anything: the order of the neurons means nothing. It is
trained on a bound of the likelihood, without an adversary, which takes seconds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from visualcortex.evaluation.surrogates import checked_frames, stimulus_codes
from visualcortex.training import choose_device, fingerprint, run_epochs

# number of frames behind a fraction: the largest that is looked for, and how far values may be off
LARGEST_GRID = 128
GRID_TOLERANCE = 1e-4
# of the moving average of the weights, a step
AVERAGE_DECAY = 0.9
# furthest that one step of inference moves a path, in s.d. of the prior
LONGEST_MOVE = 1.0
# steps of inference for trials that were never seen
N_INFERENCE_STEPS = 15
# on the diagonal of the covariance of a path, so that it can be inverted
JITTER = 1e-4
# drives beyond this are as good as certain, and their exponential still fits into float32
LARGEST_DRIVE = 30.0
# prior s.d. of how much the drive moves the log odds of the states
GATE_SPREAD = 0.1
# number of time constants of a path, and of temporal profiles of the response
N_TIMES, N_PROFILES = 2, 1


class _BinomialFrames(torch.autograd.Function):
    """Log-likelihood of all frames in every state, (B, G, N), with its derivative by hand.

    With u = exp(drive) and e = exp(offset), a frame costs n log(1 + e u): one logarithm and no
    further exponential a state, and the derivative needs its reciprocal only.
    """

    @staticmethod
    def forward(ctx: Any, active: Tensor, n: int, drive: Tensor, offsets: Tensor) -> Tensor:
        """`active` is the number of active frames of n, (B, T, N); offsets are (G, N)."""
        value, silent = _binomial_states(active, n, drive, offsets)
        ctx.save_for_backward(active, silent)
        ctx.n = n
        return value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, None, Tensor, Tensor]:
        """Derivatives for drive (B, T, N) and offsets (G, N)."""
        active, silent = ctx.saved_tensors  # (B, T, N), (B, G, T, N)
        excess = slope[:, :, None] * (active[:, None] - ctx.n + ctx.n * silent)
        return None, None, excess.sum(dim=1), excess.sum(dim=(0, 2))


def _binomial_states(
    active: Tensor, n: int, drive: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-likelihood without the coefficient, (B, G, N), and probability of silence."""
    odds = drive.clamp(-LARGEST_DRIVE, LARGEST_DRIVE).exp()[:, None] * offsets.exp()[:, None]
    total = odds.add_(1)  # (B, G, T, N)
    silent = total.reciprocal()
    value = (active * drive).sum(dim=1)[:, None] + active.sum(dim=1)[:, None] * offsets
    return value - n * total.log_().sum(dim=2), silent


class _Binomial:
    """Each frame stands for n frames, each active with probability sigmoid(drive)."""

    spread, silent_level, full_level = 2.0, -5.0, 5.0

    def __init__(self, n: int) -> None:
        self.n = n

    def frames(self, activity: Tensor, drive: Tensor, offsets: Tensor, noise: Tensor) -> Tensor:
        """Log-likelihood of all frames in every state, (B, G, N)."""
        return _BinomialFrames.apply(activity * self.n, self.n, drive, offsets)

    def alike(self, activity: Tensor, course: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """Log-likelihood (B, 2, N) where all neurons have drive course (T,) + level (2,)."""
        active = activity * self.n
        certain = nn.functional.softplus(course + levels[:, None]).sum(dim=1)[:, None]  # (2, 1)
        value = torch.einsum("btn,t->bn", active, course)[:, None]
        return value + active.sum(dim=1)[:, None] * levels[:, None] - self.n * certain

    def states(
        self, activity: Tensor, drive: Tensor, offsets: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-likelihood as of `frames`, and what `weigh` needs, (B, G, T, N)."""
        return _binomial_states(activity * self.n, self.n, drive, offsets)

    def weigh(
        self, activity: Tensor, silent: Tensor, weight: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Slope in the drive (B, T, N), information of a frame (B, N), for weights (B, G, N)."""
        expected = weight[:, :, None] * silent  # (B, G, T, N)
        total = expected.sum(dim=1)
        slope = (activity - 1) * weight.sum(dim=1)[:, None] + total
        spread = (total - (expected * silent).sum(dim=1)).mean(dim=1)
        return self.n * slope, self.n * spread

    def constant(self, activity: Tensor) -> Tensor:
        """Logarithm of the binomial coefficients, (B,): zero for binary frames."""
        active = (activity * self.n).round()
        if self.n == 1:
            return active.new_zeros(len(active))
        ways = torch.lgamma(active + 1) + torch.lgamma(self.n - active + 1)
        return (math.lgamma(self.n + 1) - ways).sum(dim=(1, 2))

    def start(self, means: np.ndarray, n_frames: np.ndarray) -> np.ndarray:
        """Log-odds of mean rates, half a frame added to both so that silence stays finite."""
        n_frames = self.n * n_frames
        return np.log(means * n_frames + 0.5) - np.log((1 - means) * n_frames + 0.5)

    def draw(self, drive: Tensor, noise: Tensor, rng: torch.Generator) -> Tensor:
        """Activity (B, T, N)."""
        probability = drive.sigmoid()
        if self.n == 1:
            uniform = torch.rand(drive.shape, generator=rng, device=drive.device)
            return (uniform < probability).to(drive.dtype)
        count = torch.full_like(drive, self.n)
        return torch.binomial(count, probability, generator=rng) / self.n


class _ClippedNormal:
    """Activity clip(drive + s.d. x normal noise, 0, 1): exactly 0 and 1 have probability."""

    spread, silent_level, full_level = 0.3, -1.0, 2.0

    def frames(self, activity: Tensor, drive: Tensor, offsets: Tensor, noise: Tensor) -> Tensor:
        """Log-likelihood of all frames in every state, (B, G, N); `noise` is the log s.d."""
        centre = drive[:, None] + offsets[:, None]  # (B, G, T, N)
        sd, value = noise.exp(), activity[:, None]
        inside = -0.5 * ((value - centre) / sd).square() - noise - 0.5 * math.log(2 * math.pi)
        below = torch.special.log_ndtr(-centre / sd)
        above = torch.special.log_ndtr((centre - 1) / sd)
        return torch.where(value <= 0, below, torch.where(value >= 1, above, inside)).sum(dim=2)

    def alike(self, activity: Tensor, course: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """Log-likelihood (B, 2, N) where all neurons have drive course (T,) + level (2,)."""
        drive = course[:, None].expand_as(activity)
        return self.frames(activity, drive, levels[:, None].expand(-1, activity.shape[2]), noise)

    def states(
        self, activity: Tensor, drive: Tensor, offsets: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-likelihood as of `frames`, and what `weigh` needs, (B, G, T, N)."""
        value = self.frames(activity, drive, offsets, noise)
        return value, drive[:, None] + offsets[:, None]

    def weigh(
        self, activity: Tensor, centre: Tensor, weight: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Slope in the drive (B, T, N), information of a frame (B, N), for weights (B, G, N)."""
        sd, value = noise.exp(), activity[:, None]
        low, clipped = value <= 0, (value <= 0) | (value >= 1)
        edge = torch.where(low, -centre, centre - 1) / sd
        log_density = -0.5 * edge.square() - 0.5 * math.log(2 * math.pi)
        ratio = (log_density - torch.special.log_ndtr(edge)).exp()
        slope = torch.where(clipped, torch.where(low, -ratio, ratio), (value - centre) / sd)
        information = torch.where(clipped, ratio * (ratio + edge), torch.ones_like(edge))
        weight = weight[:, :, None]
        spread = (weight * information).sum(dim=1).mean(dim=1)
        return (weight * slope).sum(dim=1) / sd, spread / sd.square()

    def constant(self, activity: Tensor) -> Tensor:
        """Zero, (B,)."""
        return activity.new_zeros(len(activity))

    def start(self, means: np.ndarray, n_frames: np.ndarray) -> np.ndarray:
        """Mean rates themselves, from which training moves on."""
        return means

    def draw(self, drive: Tensor, noise: Tensor, rng: torch.Generator) -> Tensor:
        """Activity (B, T, N)."""
        normal = torch.randn(drive.shape, generator=rng, device=drive.device)
        return (drive + noise.exp() * normal).clamp(0, 1)


class Posterior(NamedTuple):
    """Normal approximation to the paths of each trial, given its activity.

    In the eigenvectors of the prior in time, and for each trial in axes of its own among the R
    directions, all is independent.
    """

    mean: Tensor  # (B, T, R)
    variance: Tensor  # (B, T, R), of the coefficients
    axes: Tensor  # (B, R, R)
    basis: Tensor  # (T, T), columns are eigenvectors of the prior
    prior: Tensor  # (T,), their variances

    def draw(self, noise: Tensor) -> Tensor:
        """Paths (B, T, R) from standard normal noise (B, T, R)."""
        return self.mean + self.basis @ (self.variance.sqrt() * noise) @ self.axes.mT

    def log_density(self, noise: Tensor) -> Tensor:
        """Log density, but for a constant, of what `draw` makes of the noise, (B,)."""
        return -0.5 * (noise.square() + self.variance.log()).sum(dim=(1, 2))


class Decoder(nn.Module):
    r"""From latent paths and a stimulus to the probability of a trial, neurons as channels.

    The drive of neuron i in frame t of a trial with stimulus s is :math:`\eta_{ti} = b_{si} + c_t
    + p_t a_{si} + \sum_r C_{ri} w_{tr}`. R paths :math:`w_{\cdot r}` are Gaussian with mean 0,
    variance 1 and covariance :math:`\pi_0 + \sum_j \pi_j e^{-|t-u|/\tau_j}`: a trial latent plus
    paths that forget with learned time constants. In each trial a neuron has a *state* of its own:
    silent (drive at a level of its own), engaged in one of G ways (an offset is added to the
    drive), or fully active. The log odds of state g are :math:`o_{gi} + \gamma_g (b_{si} - \bar b_i
    + \sum_r C_{ri} \bar w_r)`, so that stimulus and trial latent move them too. States are summed
    over, not approximated.
    """

    def __init__(
        self, n_neurons: int, n_time: int, n_stimuli: int, rank: int, n_states: int, likelihood: Any
    ) -> None:
        super().__init__()
        self.n_time, self.rank, self.likelihood = n_time, rank, likelihood
        self.tuning = nn.Parameter(torch.zeros(n_stimuli, n_neurons))
        self.course = nn.Parameter(torch.zeros(n_time))
        self.profiles = nn.Parameter(0.1 * torch.randn(N_PROFILES, n_time))
        self.evoked = nn.Parameter(torch.zeros(N_PROFILES, n_stimuli, n_neurons))
        self.loadings = nn.Parameter(0.15 * likelihood.spread * torch.randn(rank, n_neurons))
        spread = torch.linspace(-1, 1, n_states) if n_states > 1 else torch.zeros(1)
        self.offsets = nn.Parameter((likelihood.spread * spread)[:, None].repeat(1, n_neurons))
        levels = torch.tensor([likelihood.silent_level, likelihood.full_level])
        self.levels = nn.Parameter(levels)
        # states in this order: silent, fully active, engaged
        self.occupancy = nn.Parameter(torch.zeros(2 + n_states, n_neurons))
        self.gates = nn.Parameter(torch.zeros(2 + n_states, 1))  # gamma, per unit of drive
        self.shares = nn.Parameter(torch.zeros(1 + N_TIMES))
        times = torch.tensor([max(n_time / 8**j, 1.0) for j in range(N_TIMES)])
        self.log_times = nn.Parameter(times.log())
        self.log_noise = nn.Parameter(torch.full((n_neurons,), -1.5))

    def covariance(self) -> Tensor:
        """Prior covariance of a path, (T, T) float64."""
        frame = torch.arange(self.n_time, dtype=torch.float64, device=self.shares.device)
        lag = (frame[:, None] - frame).abs()
        share = self.shares.double().softmax(dim=0)
        times = self.log_times.double().clamp(-2, 10).exp()
        forgets = torch.exp(-lag / times[:, None, None])  # (J, T, T)
        smooth = share[0] + (share[1:, None, None] * forgets).sum(dim=0)
        return smooth + JITTER * torch.eye(self.n_time, dtype=lag.dtype, device=lag.device)

    def modes(self) -> tuple[Tensor, Tensor]:
        """Variances (T,) and eigenvectors (T, T) of the prior of a path."""
        variances, vectors = torch.linalg.eigh(self.covariance().detach())
        return variances.float(), vectors.float()

    def stimulus_drive(self, stimulus: Tensor) -> Tensor:
        """Drive without paths, (B, T, N); `stimulus` holds codes, (B,)."""
        per_trial = self.tuning[stimulus][:, None]
        if self.n_time == 1:
            return per_trial
        evoked = torch.einsum("kt,kbn->btn", self.profiles, self.evoked[:, stimulus])
        return per_trial + self.course[:, None] + evoked

    def course_of_extremes(self) -> Tensor:
        """Drive of silent and fully active neurons but for their level, (T,)."""
        return self.course if self.n_time > 1 else torch.zeros_like(self.course)

    def log_occupancy(self, stimulus: Tensor, paths: Tensor) -> Tensor:
        """Log probability of the states of each neuron in each trial, (B, 2 + G, N)."""
        tuned = (self.tuning - self.tuning.mean(dim=0))[stimulus]
        shift = tuned + paths.mean(dim=1) @ self.loadings  # (B, N)
        return (self.occupancy + self.gates * shift[:, None]).log_softmax(dim=1)

    def extremes(self, activity: Tensor) -> Tensor:
        """Log-likelihood of trials in the silent and the fully active state, (B, 2, N)."""
        course = self.course_of_extremes()
        return self.likelihood.alike(activity, course, self.levels, self.log_noise)

    def log_likelihood(self, activity: Tensor, stimulus: Tensor, paths: Tensor) -> Tensor:
        """Log-likelihood of trials given their paths, states summed over, (B,)."""
        drive = self.stimulus_drive(stimulus) + paths @ self.loadings
        engaged = self.likelihood.frames(activity, drive, self.offsets, self.log_noise)
        states = torch.cat([self.extremes(activity), engaged], dim=1)  # (B, 2 + G, N)
        return (states + self.log_occupancy(stimulus, paths)).logsumexp(dim=1).sum(dim=1)

    def log_prior(self, second_moment: Tensor) -> Tensor:
        """Log density, but for a constant, of paths whose R directions sum to (..., T, T)."""
        root = torch.linalg.cholesky(self.covariance())
        inside = torch.cholesky_solve(second_moment.double(), root)
        quadratic = inside.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        return -0.5 * quadratic - self.rank * root.diagonal().log().sum()

    @torch.no_grad()
    def infer(
        self,
        activity: Tensor,
        stimulus: Tensor,
        start: Tensor,
        n_steps: int,
        *,
        prior_weight: float = 1.0,
    ) -> Posterior:
        """Posterior of the paths of trials by Newton steps from `start`, (B, T, R).

        Each step weighs the states of every neuron at the present path, takes slope and
        information of the likelihood (information averaged over the frames of a trial), and moves
        to where slope and prior balance, at most `LONGEST_MOVE` on average over frames.
        """
        prior, basis = self.modes()
        prior = prior / prior_weight
        drive, extremes = self.stimulus_drive(stimulus), self.extremes(activity)
        mean = start
        for _ in range(n_steps):
            occupancy = self.log_occupancy(stimulus, mean)
            slope, information = self._pull(
                activity, drive + mean @ self.loadings, extremes, occupancy
            )
            weighted = information[:, None] * self.loadings  # (B, R, N)
            precision, axes = torch.linalg.eigh(weighted @ self.loadings.T)  # (B, R), (B, R, R)
            precision = precision.clamp(min=0)[:, None]
            variance = 1 / (1 / prior[:, None] + precision)  # (B, T, R)
            target = basis.T @ (slope @ self.loadings.T) @ axes
            target = target + precision * (basis.T @ mean @ axes)
            move = basis @ (variance * target) @ axes.mT - mean
            length = move.square().sum(dim=2).mean(dim=1).sqrt()[:, None, None]
            mean = mean + move * (LONGEST_MOVE / length.clamp(min=LONGEST_MOVE))
        return Posterior(mean, variance, axes, basis, prior)

    def _pull(
        self, activity: Tensor, drive: Tensor, extremes: Tensor, log_occupancy: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Expected slope of the log-likelihood (B, T, N), information of a frame (B, N)."""
        noise = self.log_noise
        engaged, context = self.likelihood.states(activity, drive, self.offsets, noise)
        states = torch.cat([extremes, engaged], dim=1) + log_occupancy
        weight, before = states.softmax(dim=1), log_occupancy.exp()  # (B, 2 + G, N)
        slope, information = self.likelihood.weigh(activity, context, weight[:, 2:], noise)
        # what the states themselves say of the mean of the paths
        slope = slope + (self.gates * (weight - before)).sum(dim=1)[:, None] / self.n_time
        expected = (self.gates * before).sum(dim=1)
        spread = (self.gates.square() * before).sum(dim=1) - expected.square()
        return slope, information + spread / self.n_time

    def drive_of(self, stimulus: Tensor, noise: Tensor, chance: Tensor) -> Tensor:
        """Drive of new trials, (B, T, N), from normal (B, T, R) and uniform (B, N) noise."""
        root = torch.linalg.cholesky(self.covariance()).float()
        paths = root @ noise
        drive = self.stimulus_drive(stimulus) + paths @ self.loadings
        bounds = self.log_occupancy(stimulus, paths).exp().cumsum(dim=1)[:, :-1]  # (B, 1 + G, N)
        state = (chance[:, None] > bounds).sum(dim=1)  # (B, N)
        engaged = drive + self.offsets.gather(0, (state - 2).clamp(min=0))[:, None]
        level = self.levels[state.clamp(max=1)][:, None]  # (B, 1, N)
        extreme = self.course_of_extremes()[:, None] + level
        return torch.where((state >= 2)[:, None], engaged, extreme)

    @torch.no_grad()
    def sample(self, stimulus: Tensor, rng: torch.Generator) -> Tensor:
        """Activity of new trials, (B, T, N)."""
        n, device = len(stimulus), stimulus.device
        noise = torch.randn((n, self.n_time, self.rank), generator=rng, device=device)
        chance = torch.rand((n, self.tuning.shape[1]), generator=rng, device=device)
        return self.likelihood.draw(self.drive_of(stimulus, noise, chance), self.log_noise, rng)


class NeuronVAE(BaseEstimator):
    r"""Conditional variational autoencoder of trials of population activity.

    With the paths w of a `Decoder`, trials x of stimulus s are fitted by the largest

    .. math::

        \mathcal L = E_{q(w)}[\log p(x | w, s)] - \mathrm{KL}(q(w)\,\|\,p(w)) \le \log p(x | s),

    or, with `n_importance` = k > 1, by the tighter bound
    :math:`E \log \frac1k \sum_j p(x | w_j, s)\, p(w_j) / q(w_j)` (Burda, Grosse & Salakhutdinov
    2016). The private states of the neurons are summed over exactly, so that silent and fully
    active trials are not left to the shared paths.

    The encoder that gives q is *not* a second network. It is the decoder turned round: Newton
    steps on the posterior, frame by frame with one information matrix a trial (iterative inference;
    Marino, Yue & Mandt 2018). In training a step starts from where the trial stood an epoch before,
    so that one suffices. On a simulated recording of a few hundred trials, a small network in its
    place left the bound lower, and shared fluctuations far too small.

    The likelihood follows the values: binary frames, and fractions of up to 128 frames, are
    binomial; anything else in [0, 1] is a normal value clipped to that range.

    Bias: what is kept is the moving average of the weights in the epoch with the best bound of the
    validation trials, which is too good for that reason. The loadings have a normal prior, so that
    shared fluctuations come out too small, the more so the fewer the trials; variational inference
    adds to that. Successive trials are independent here, given the stimulus; in a recording they
    are not. All directions have the same time constants, and a neuron keeps its state for a trial.
    The paths of generated trials are normal: heavy tails come from the states alone.

    Parameters
    ----------
    n_epochs : int
        Most passes over the training trials, those before an interruption included.
    batch_size : int
        Trials a step.
    lr : float
        Learning rate of Adam.
    rank : int
        Number of directions in which neurons vary together: the rank of the linear readout.
    n_states : int
        Number of ways for a neuron to be engaged in a trial, beside silent and fully active.
    shrinkage : float
        Precision of the normal priors: of loadings, of evoked time courses, and of offsets and log
        odds of the states around their mean over neurons; what moves the log odds with the drive is
        held a hundred times tighter. 0 for none.
    n_importance : int
        Paths drawn for each trial and step, k.
    n_warm_up : int
        Epochs over which the weight of the prior of the paths rises to 1 (1 / n_warm_up in the
        first). Validation always takes it whole.
    patience : int
        Epochs without a better validation bound after which training stops. Without validation
        trials it goes on to the end.
    seed : int
        Of weights, shuffles and noise.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    history_ : pandas.DataFrame
        A row an epoch: "epoch", "reconstruction" and "divergence" (the two terms, nats a trial;
        with k > 1 the first is their difference and the second zero), "validation" (minus the
        bound), if there is one, and "kept".
    labels_ : (n_stimuli,) array
        The stimuli that can be generated.
    n_frames_ : int or None
        Frames behind a value: 1 for binary activity; None if activity lies on no grid.
    decoder_ : Decoder

    References
    ----------
    Kingma, D. P. & Welling, M. (2014). Auto-encoding variational Bayes. ICLR.

    Marino, J., Yue, Y. & Mandt, S. (2018). Iterative amortized inference. ICML.
    """

    def __init__(
        self,
        *,
        n_epochs: int = 120,
        batch_size: int = 48,
        lr: float = 0.03,
        rank: int = 4,
        n_states: int = 5,
        shrinkage: float = 1.0,
        n_importance: int = 1,
        n_warm_up: int = 1,
        patience: int = 20,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.rank = rank
        self.n_states = n_states
        self.shrinkage = shrinkage
        self.n_importance = n_importance
        self.n_warm_up = n_warm_up
        self.patience = patience
        self.seed = seed
        self.device = device

    def fit(
        self,
        activity: np.ndarray,
        labels: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        checkpoint: str | Path | None = None,
        progress: bool = True,
    ) -> NeuronVAE:
        """Train on recorded trials.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Active frames (0 or 1), or graded activity in [0, 1].
        labels : (n_trials,) array
            Stimulus of each trial.
        validation : (activity, labels), optional
            Trials that choose the state to keep and are not trained on.
        checkpoint : path, optional
            File to write every ten epochs, and to go on from.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        NeuronVAE
            Itself.

        Raises
        ------
        ValueError
            If activity lies outside [0, 1] or is not finite, shapes disagree, a validation stimulus
            is not in training or its values are not on the grid of training, or a parameter is out
            of range.
        visualcortex.training.CheckpointError
            If the checkpoint is damaged, or of other data or parameters.
        """
        _check_parameters(self)
        frames = checked_frames(activity, labels)
        self.labels_ = np.unique(labels)
        self.has_time_ = np.ndim(activity) == 3
        self.n_frames_ = _grid(frames)
        self._shape = frames.shape[1:]
        held_out = None if validation is None else self._checked(*validation)
        trainee = _Fit(self, frames, stimulus_codes(labels, self.labels_), held_out)
        self.history_: pd.DataFrame = run_epochs(
            trainee,
            self.n_epochs,
            patience=None if held_out is None else self.patience,
            checkpoint=checkpoint,
            checkpoint_every=10,
            progress=progress,
            description=f"neuron-VAE, seed {self.seed}",
        )
        self.decoder_ = trainee.average
        return self

    def sample(self, labels: np.ndarray, *, seed: int) -> np.ndarray:
        """Generate a trial for each label.

        Parameters
        ----------
        labels : (n_trials,) array
            Stimuli, among those of the training trials.
        seed : int
            Of paths, states and frames; the same seed gives the same trials.

        Returns
        -------
        (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Activity in [0, 1], with time if training had it, on the grid of training if it had one:
            binary if training was binary.

        Raises
        ------
        ValueError
            If a label was not in training.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "decoder_")
        device = self.decoder_.shares.device
        codes = torch.as_tensor(stimulus_codes(labels, self.labels_), device=device)
        rng = torch.Generator(device).manual_seed(seed)
        sampled = self.decoder_.sample(codes, rng).cpu().numpy()
        return sampled if self.has_time_ else sampled[:, 0]

    def log_likelihood(
        self, activity: np.ndarray, labels: np.ndarray, *, n_samples: int = 100, seed: int = 0
    ) -> np.ndarray:
        r"""Log-likelihood of each trial given its stimulus, by importance sampling.

        :math:`\log \frac1k \sum_j p(x | w_j, s)\, p(w_j) / q(w_j)` with k paths drawn from the
        posterior that `Decoder.infer` gives. Bias: expected to be too *low*, by about half the
        variance of the weights over k; it rises with k to the log-likelihood. Where a trial says
        little of paths that matter much, the posterior is far from normal, and many are needed.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Trials like those of training.
        labels : (n_trials,) array
            Stimulus of each.
        n_samples : int
            k.
        seed : int
            Of the paths.

        Returns
        -------
        (n_trials,) array
            Nats a trial. Log probabilities where activity lies on a grid, else log densities, with
            the probability of exact zeros and ones.

        Raises
        ------
        ValueError
            If trials are not like those of training, or `n_samples` is not positive.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "decoder_")
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1; got {n_samples}. Draw a path or more.")
        device = self.decoder_.shares.device
        trials = _Trials(*self._checked(activity, labels), self.decoder_, device)
        rng = torch.Generator(device).manual_seed(seed)
        with torch.no_grad():
            posterior = trials.infer(self.decoder_, slice(None), N_INFERENCE_STEPS)
            each = [
                _log_weight(self.decoder_, trials, slice(None), posterior, rng)
                for _ in range(n_samples)
            ]
        total = torch.stack(each).logsumexp(dim=0) - math.log(n_samples)
        return total.cpu().numpy()

    def _checked(self, activity: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Check other trials against those of training; frames (B, T, N) and codes (B,)."""
        frames, codes = checked_frames(activity, labels), stimulus_codes(labels, self.labels_)
        if frames.shape[1:] != self._shape:
            raise ValueError(
                f"trials must have the frames and neurons of training, {self._shape}; got "
                f"{frames.shape[1:]}. Pass the same neurons and the same stretch of time."
            )
        if self.n_frames_ is not None and not _on_grid(frames, self.n_frames_):
            raise ValueError(
                f"training had fractions of {self.n_frames_} frames; these trials have other "
                "values. Turn both into activity in the same way."
            )
        return frames, codes


class _Trials:
    """Trials with where their paths stand."""

    def __init__(
        self, frames: np.ndarray, codes: np.ndarray, decoder: Decoder, device: torch.device
    ) -> None:
        self.activity = torch.as_tensor(frames, device=device)  # (B, T, N)
        self.stimulus = torch.as_tensor(codes, device=device)  # (B,)
        self.constant = decoder.likelihood.constant(self.activity)  # (B,)
        self.paths = self.activity.new_zeros((*frames.shape[:2], decoder.rank))  # (B, T, R)

    def infer(
        self, decoder: Decoder, part: Any, n_steps: int, prior_weight: float = 1.0
    ) -> Posterior:
        """Posterior of some trials, from where their paths stand; they stand at its mean after."""
        posterior = decoder.infer(
            self.activity[part],
            self.stimulus[part],
            self.paths[part],
            n_steps,
            prior_weight=prior_weight,
        )
        self.paths[part] = posterior.mean
        return posterior


class _Fit:
    """What `run_epochs` trains."""

    def __init__(
        self,
        settings: NeuronVAE,
        frames: np.ndarray,
        codes: np.ndarray,
        held_out: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        self.settings = settings
        self.device = choose_device(settings.device)
        self.decoder = _new_decoder(settings, frames, codes).to(self.device)
        self.average = copy.deepcopy(self.decoder).requires_grad_(False)
        self.trials = [_Trials(frames, codes, self.decoder, self.device)]
        self.optimiser = torch.optim.Adam(
            self.decoder.parameters(), lr=settings.lr, betas=(0.9, 0.99), fused=True
        )
        self.rng = torch.Generator(self.device).manual_seed(settings.seed)
        self.n_epochs = self.n_steps = 0
        self.identity = _identity(settings, frames, codes, *(held_out or ()))
        if held_out is not None:
            self.trials.append(_Trials(*held_out, self.decoder, self.device))
            shape = self.trials[1].paths.shape
            # the same noise in every epoch, so that epochs differ by their weights only
            self.held_out_noise = torch.randn(shape, generator=self.rng, device=self.device)
            self.validate = self._validate

    def train_epoch(self) -> dict[str, float]:
        """Go once through the training trials; a last, smaller batch is left out."""
        n = len(self.trials[0].activity)
        size = min(self.settings.batch_size, n)
        order = torch.randperm(n, generator=self.rng, device=self.device)
        batches = order[: n // size * size].view(-1, size)
        self.n_epochs += 1
        terms = sum(self._step(batch) for batch in batches) / len(batches)
        self._centre()
        return dict(zip(("reconstruction", "divergence"), terms.tolist(), strict=True))

    def _step(self, batch: Tensor) -> Tensor:
        """Infer, then move the decoder up the bound; the terms of the bound, (2,)."""
        weight = min(1.0, self.n_epochs / self.settings.n_warm_up)
        posterior = self.trials[0].infer(self.decoder, batch, self._inference_steps(), weight)
        bound = self._bound if self.settings.n_importance == 1 else self._tighter_bound
        reconstruction, divergence = bound(self.trials[0], batch, posterior)
        n = len(self.trials[0].activity)
        penalty = self.settings.shrinkage * _penalty(self.decoder) / n
        self.optimiser.zero_grad()
        (divergence - reconstruction + penalty).backward()
        self.optimiser.step()
        self.n_steps += 1
        # at first the average has little to average over
        decay = min(AVERAGE_DECAY, self.n_steps / (9 + self.n_steps))
        with torch.no_grad():
            kept, current = list(self.average.parameters()), list(self.decoder.parameters())
            torch._foreach_lerp_(kept, current, 1 - decay)
        return torch.stack([reconstruction.detach(), divergence.detach()])

    def _inference_steps(self) -> int:
        return 3 if self.n_epochs == 1 else 1

    def _bound(self, trials: _Trials, batch: Tensor, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """Reconstruction and divergence, means over trials."""
        paths = posterior.draw(self._noise(posterior))
        value = self.decoder.log_likelihood(trials.activity[batch], trials.stimulus[batch], paths)
        value = value + trials.constant[batch]
        return value.mean(), _divergence(self.decoder, posterior)

    def _tighter_bound(
        self, trials: _Trials, batch: Tensor, posterior: Posterior
    ) -> tuple[Tensor, Tensor]:
        """Bound of k paths, mean over trials; its divergence is in it."""
        k = self.settings.n_importance
        each = [_log_weight(self.decoder, trials, batch, posterior, self.rng) for _ in range(k)]
        value = (torch.stack(each).logsumexp(dim=0) - math.log(k)).mean()
        return value, torch.zeros_like(value)

    def _noise(self, posterior: Posterior) -> Tensor:
        shape = posterior.mean.shape
        return torch.randn(shape, generator=self.rng, device=self.device)

    @torch.no_grad()
    def _centre(self) -> None:
        """Give the mean of the paths over trials, which the prior has at 0, to the tuning.

        Without it, tuning and paths shift against each other, and gradient steps are slow to
        bring them back (parameter expansion; Liu, Rubin & Wu 1998).
        """
        one = torch.linalg.inv(self.decoder.covariance()).sum(dim=0).float()
        mean = (one / one.sum()) @ self.trials[0].paths.mean(dim=0)  # (R,)
        self.decoder.tuning += mean @ self.decoder.loadings
        for trials in self.trials:
            trials.paths -= mean

    @torch.no_grad()
    def _validate(self) -> float:
        """Minus the bound of the validation trials under the average weights, nats a trial."""
        trials, average = self.trials[1], self.average
        posterior = trials.infer(average, slice(None), self._inference_steps())
        values = [
            average.log_likelihood(trials.activity, trials.stimulus, posterior.draw(noise)).mean()
            for noise in (self.held_out_noise, -self.held_out_noise)
        ]
        bound = sum(values) / 2 + trials.constant.mean() - _divergence(average, posterior)
        return -float(bound)

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, and whose it is."""
        return {
            "identity": self.identity,
            "decoders": [self.decoder.state_dict(), self.average.state_dict()],
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.get_state(),
            "counts": [self.n_epochs, self.n_steps],
            "paths": [trials.paths for trials in self.trials],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of the same data and parameters."""
        if state["identity"] != self.identity:
            raise ValueError("other trials, labels or parameters")
        decoders = self.decoder, self.average
        for decoder, saved in zip(decoders, state["decoders"], strict=True):
            decoder.load_state_dict(saved)
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))
        self.rng.set_state(state["rng"].cpu())
        self.n_epochs, self.n_steps = state["counts"]
        for trials, saved in zip(self.trials, state["paths"], strict=True):
            trials.paths.copy_(saved)


def _divergence(decoder: Decoder, posterior: Posterior) -> Tensor:
    """Kullback-Leibler divergence of the posterior from the prior, mean over trials."""
    n, n_time, rank = posterior.mean.shape
    paths = posterior.mean.transpose(0, 1).reshape(n_time, -1)  # (T, B R)
    spread = posterior.variance.sum(dim=(0, 2))  # (T,)
    moment = paths @ paths.T + (posterior.basis * spread) @ posterior.basis.T
    entropy = 0.5 * posterior.variance.log().sum() / n
    return (-decoder.log_prior(moment / n) - entropy - 0.5 * n_time * rank).float()


def _log_weight(
    decoder: Decoder, trials: _Trials, part: Any, posterior: Posterior, rng: torch.Generator
) -> Tensor:
    """Log of p(x, w) / q(w) for a path of each trial drawn from the posterior, (B,)."""
    noise = torch.randn(posterior.mean.shape, generator=rng, device=posterior.mean.device)
    paths = posterior.draw(noise)
    value = decoder.log_likelihood(trials.activity[part], trials.stimulus[part], paths)
    prior = decoder.log_prior(paths @ paths.mT).float()
    return value + trials.constant[part] + prior - posterior.log_density(noise)


def _penalty(decoder: Decoder) -> Tensor:
    """Minus the log density of the parameters under normal priors, but for a constant."""
    scale = decoder.likelihood.spread / 2  # of a drive
    offsets = decoder.offsets - decoder.offsets.mean(dim=1, keepdim=True)
    occupancy = decoder.occupancy - decoder.occupancy.mean(dim=1, keepdim=True)
    tuning = decoder.tuning - decoder.tuning.mean(dim=0)
    of_drive = sum(x.square().sum() for x in (decoder.loadings, offsets, decoder.evoked))
    # tuning is wide: a tenth of the precision
    of_drive = (of_drive + 0.1 * tuning.square().sum()) / scale**2
    gates = (scale * decoder.gates / GATE_SPREAD).square().sum()
    of_states = occupancy.square().sum() + gates
    return 0.5 * (of_drive + of_states + 0.1 * decoder.profiles.square().sum())


def _new_decoder(settings: NeuronVAE, frames: np.ndarray, codes: np.ndarray) -> Decoder:
    """New decoder at the mean rates of the training trials, of stimuli and of frames."""
    n_trials, n_time, n_neurons = frames.shape
    grid = settings.n_frames_
    likelihood = _ClippedNormal() if grid is None else _Binomial(grid)
    sizes = n_neurons, n_time, len(settings.labels_), settings.rank, settings.n_states
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        decoder = Decoder(*sizes, likelihood)
    counts = np.bincount(codes)[:, None] * n_time  # (S, 1)
    rates = np.stack([frames[codes == c].mean(axis=(0, 1)) for c in range(len(counts))])
    course = likelihood.start(frames.mean(axis=(0, 2)), np.array(n_trials * n_neurons))
    overall = likelihood.start(frames.mean(), np.array(frames.size))
    with torch.no_grad():
        decoder.tuning.copy_(torch.as_tensor(likelihood.start(rates, counts)))
        decoder.course.copy_(torch.as_tensor(course - overall))
    return decoder


def _grid(frames: np.ndarray) -> int | None:
    """Smallest number of frames of which all values are fractions; None if there is none."""
    values = np.unique(frames)
    return next((n for n in range(1, LARGEST_GRID + 1) if _on_grid(values, n)), None)


def _on_grid(values: np.ndarray, n: int) -> bool:
    """Whether all values are multiples of 1 / n."""
    return bool((np.abs(values * n - np.round(values * n)) < GRID_TOLERANCE).all())


def _check_parameters(settings: NeuronVAE) -> None:
    """Refuse parameters out of range."""
    least = dict.fromkeys(("batch_size", "rank", "n_states", "n_importance", "n_warm_up"), 1)
    for name, smallest in {**least, "shrinkage": 0}.items():
        value = getattr(settings, name)
        if not value >= smallest:
            raise ValueError(f"{name} must be at least {smallest}; got {value}. Raise it.")


def _identity(settings: NeuronVAE, *arrays: np.ndarray) -> str:
    """Fingerprint of the data and of every parameter but those that only say when to stop."""
    free = "n_epochs", "patience", "device"
    parameters = {k: v for k, v in settings.get_params().items() if k not in free}
    return fingerprint(sorted(parameters.items()), *arrays)
