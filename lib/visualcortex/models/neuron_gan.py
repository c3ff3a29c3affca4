"""A small conditional generative adversarial network that synthesises population activity.

A Wasserstein network with gradient penalty (Arjovsky et al. 2017, Gulrajani et al. 2017), one
convolution in time, neurons as channels: no neuron is next to another, so that their order means
nothing (as in CalciumGAN; Li et al. 2020).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.evaluation.scores import energy_distance, trial_rates
from visualcortex.training import choose_device, run_epochs

# frames that the networks handle at once
BLOCK = 4
# trials generated for each validation trial when the state to keep is chosen
N_GENERATED_PER_VALIDATION = 4
# of the moving average of the generator's weights, a generator step
AVERAGE_DECAY = 0.98


class Generator(nn.Module):
    r"""From latent noise and a stimulus to the activity of one trial, (B, T, N).

    The drive of neuron i in frame t is :math:`\mu_{ti} = W_i \cdot h_t(z, s) + V_i \cdot z +
    b_{si}`, where h are temporal features grown from the latents by a transposed convolution.
    Frames are then drawn with *private* noise, frame by frame and neuron by neuron, so that all
    that neurons share comes through z:

    - binary activity: 1 with probability :math:`\mathrm{sigmoid}(\mu_{ti})`, with the gradient
      of the probability (straight-through);
    - graded activity: :math:`\mathrm{clip}(\mu_{ti} + \sigma_i \epsilon, 0, 1)`, normal
      :math:`\epsilon`, which is exactly 0 or 1 with positive probability.
    """

    def __init__(
        self, n_neurons: int, n_time: int, n_stimuli: int, latent_dim: int, width: int, binary: bool
    ) -> None:
        super().__init__()
        self.n_neurons, self.n_time, self.latent_dim = n_neurons, n_time, latent_dim
        self.width, self.binary = width, binary
        self.n_blocks = -(-n_time // BLOCK)
        self.start = nn.Linear(latent_dim + n_stimuli, width * self.n_blocks)
        self.grow = nn.Linear(width, width * BLOCK)
        self.readout = nn.Linear(width, n_neurons, bias=False)
        self.shared = nn.Linear(latent_dim, n_neurons, bias=False)
        self.tuning = nn.Linear(n_stimuli, n_neurons, bias=False)
        self.log_noise = nn.Parameter(torch.full((n_neurons,), -1.0))
        nn.init.zeros_(self.tuning.weight)

    def drive(self, latent: Tensor, stimulus: Tensor) -> Tensor:
        """Drive of each neuron in each frame, (B, T, N); `stimulus` is one-hot, (B, S)."""
        blocks = self.start(torch.cat([latent, stimulus], dim=1))
        blocks = functional.leaky_relu(blocks.view(-1, self.n_blocks, self.width), 0.2)
        features = self.grow(blocks).view(len(latent), self.n_blocks * BLOCK, self.width)
        features = functional.leaky_relu(features[:, : self.n_time], 0.2)  # (B, T, C)
        per_trial = self.shared(latent) + self.tuning(stimulus)  # (B, N)
        return self.readout(features) + per_trial[:, None]

    def forward(self, latent: Tensor, stimulus: Tensor, private: Tensor) -> Tensor:
        """Activity (B, T, N); `private` is noise of that shape, uniform if binary else normal."""
        drive = self.drive(latent, stimulus)
        if not self.binary:
            return (drive + self.log_noise.exp() * private).clamp(0, 1)
        probability = drive.sigmoid()
        drawn = (private < probability).to(probability.dtype)
        return drawn + (probability - probability.detach())  # in this order, exactly 0 or 1


class Critic(nn.Module):
    """Score of trials (B, T, N) with their stimuli, (B,): high for recorded, low for generated.

    Sees blocks of frames (a convolution in time whose stride is its width, written as a matrix
    product: its second derivative, which the gradient penalty needs, is several times faster) and,
    beside them, the trial rates. The stimulus enters by projection (Miyato & Koyama 2018).
    """

    def __init__(self, n_neurons: int, n_time: int, n_stimuli: int, width: int) -> None:
        super().__init__()
        self.n_blocks = -(-n_time // BLOCK)
        self.padding = self.n_blocks * BLOCK - n_time
        self.blocks = nn.Linear(BLOCK * n_neurons, width)
        self.rates = nn.Linear(n_neurons, 2 * width)
        self.dense = nn.Linear(width * self.n_blocks + 2 * width, width)
        self.score = nn.Linear(width, 1)
        self.projection = nn.Linear(n_stimuli, width, bias=False)

    def forward(self, activity: Tensor, stimulus: Tensor) -> Tensor:
        """Scores, (B,)."""
        padded = functional.pad(activity, (0, 0, 0, self.padding))
        blocks = self.blocks(padded.reshape(len(activity), self.n_blocks, -1)).flatten(1)
        # sqrt(T): a step of length one in the space of frames is one in the space of rates
        rates = self.rates(activity.sum(dim=1) * activity.shape[1] ** -0.5)
        features = functional.leaky_relu(torch.cat([blocks, rates], dim=1), 0.2)
        hidden = functional.leaky_relu(self.dense(features), 0.2)
        return self.score(hidden)[:, 0] + (hidden * self.projection(stimulus)).sum(dim=1)


class NeuronGAN(BaseEstimator):
    r"""Conditional Wasserstein network with gradient penalty, for trials of population activity.

    With recorded trials x of stimulus s, generated ones :math:`G(z, s)` and points
    :math:`\hat x` drawn uniformly on the lines between them, critic D and generator G play

    .. math::

        \min_G \max_D \; E[D(x, s)] - E[D(G(z, s), s)]
            - \lambda E[(\lVert \nabla D(\hat x, s) \rVert - 1)^2].

    An epoch goes once through the training trials in critic steps; the generator takes a step
    after every `n_critic` of them. What is kept is an exponential moving average of the
    generator's weights (decay 0.98 a generator step), of the epoch in which the energy distance
    between validation trials and generated trials, given the stimulus, is lowest; without
    validation trials, of the last epoch.

    The generator *starts* from the mean rates of the training trials, stimulus by stimulus: rates
    that fit the training data are therefore put in, not discovered, and with few trials they are
    as uncertain as those means. What training adds is how neurons vary together and in time.
    Bias: with few trials the critic comes to know the training trials, and generated correlations
    follow those of the training set, sampling noise included, rather than the population's.

    Parameters
    ----------
    n_epochs : int
        Number of epochs in all, those before an interruption included.
    batch_size : int
        Trials a step.
    lr : float
        Learning rate of Adam, both networks.
    b1, b2 : float
        Decay of Adam's first and second moments.
    latent_dim : int
        Number of latents, standard normal.
    n_critic : int
        Critic steps for each generator step. The usual 5 is for training without a limit of
        time; for the same time 2 fits better here.
    gradient_penalty : float
        Lambda.
    width : int
        Number of features in the hidden layers.
    seed : int
        Of weights, shuffles and noise.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    history_ : pandas.DataFrame
        A row an epoch: "epoch", "wasserstein" (the estimate E[D(x)] - E[D(G(z))], in units of
        Euclidean distance between trials), "penalty", "validation" (energy distance) and "kept".
    binary_ : bool
        Whether the training activity was binary; then generated activity is.
    labels_ : (n_stimuli,) array
        The stimuli that can be generated.

    References
    ----------
    Gulrajani, I., Ahmed, F., Arjovsky, M., Dumoulin, V. & Courville, A. (2017). Improved training
    of Wasserstein GANs. NeurIPS.
    """

    def __init__(
        self,
        *,
        n_epochs: int = 250,
        batch_size: int = 32,
        lr: float = 1e-3,
        b1: float = 0.0,
        b2: float = 0.9,
        latent_dim: int = 64,
        n_critic: int = 2,
        gradient_penalty: float = 10.0,
        width: int = 64,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.b1 = b1
        self.b2 = b2
        self.latent_dim = latent_dim
        self.n_critic = n_critic
        self.gradient_penalty = gradient_penalty
        self.width = width
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
    ) -> NeuronGAN:
        """Train on recorded trials.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Active frames (0 or 1), or graded activity in [0, 1].
        labels : (n_trials,) array
            Stimulus of each trial.
        validation : (activity, labels), optional
            Trials that choose the state to keep and are not trained on; at least two of each of
            their stimuli.
        checkpoint : path, optional
            File to write every ten epochs, and to go on from.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        NeuronGAN
            Itself.

        Raises
        ------
        ValueError
            If activity lies outside [0, 1] or is not finite, shapes disagree, or a validation
            stimulus is not in training.
        visualcortex.training.CheckpointError
            If the checkpoint is damaged, or of other data or parameters.
        """
        frames = _frames(activity, labels, "activity")
        self.labels_ = np.unique(labels)
        self.binary_ = bool(np.isin(frames, (0.0, 1.0)).all())
        self.has_time_ = np.ndim(activity) == 3
        held_out = None
        if validation is not None:
            held_out = _frames(*validation, "validation activity"), self._codes(validation[1])
            if held_out[0].shape[1:] != frames.shape[1:]:
                raise ValueError(
                    "validation must have the frames and neurons of training, "
                    f"{frames.shape[1:]}; got {held_out[0].shape[1:]}"
                )
        trainee = _Duel(self, frames, self._codes(labels), held_out)
        self.history_: pd.DataFrame = run_epochs(
            trainee,
            self.n_epochs,
            checkpoint=checkpoint,
            checkpoint_every=10,
            progress=progress,
            description=f"neuron-GAN, seed {self.seed}",
        )
        self.generator_ = trainee.average
        return self

    def sample(self, labels: np.ndarray, *, seed: int) -> np.ndarray:
        """Generate a trial for each label.

        Parameters
        ----------
        labels : (n_trials,) array
            Stimuli, among those of the training trials.
        seed : int
            Of latents and private noise; the same seed gives the same trials.

        Returns
        -------
        (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Activity in [0, 1], with time if training had it. Binary if training was binary: each
            frame is drawn with the probability that the generator gives it, there is no threshold.

        Raises
        ------
        ValueError
            If a label was not in training.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "generator_")
        device = self.generator_.log_noise.device
        rng = torch.Generator(device).manual_seed(seed)
        activity = _generate(self.generator_, _one_hot(self._codes(labels), self, device), rng)
        sampled = activity.cpu().numpy()
        return sampled if self.has_time_ else sampled[:, 0]

    def _codes(self, labels: np.ndarray) -> np.ndarray:
        unknown = np.setdiff1d(labels, self.labels_)
        if len(unknown):
            raise ValueError(
                f"stimuli {unknown.tolist()} were not in training, which had "
                f"{self.labels_.tolist()}; split within each stimulus"
            )
        return np.searchsorted(self.labels_, labels)


class _Duel:
    """Generator against critic: what `run_epochs` trains."""

    def __init__(
        self,
        settings: NeuronGAN,
        frames: np.ndarray,
        codes: np.ndarray,
        held_out: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        self.settings = settings
        self.device = choose_device(settings.device)
        self.frames = torch.as_tensor(frames, device=self.device)  # (B, T, N)
        self.stimulus = _one_hot(codes, settings, self.device)  # (B, S)
        self.generator, self.critic = _networks(settings, frames, codes)
        self.generator.to(self.device)
        self.critic.to(self.device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        betas = settings.b1, settings.b2
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=settings.lr, betas=betas, fused=True)
            for network in (self.generator, self.critic)
        ]
        self.rng = torch.Generator(self.device).manual_seed(settings.seed)
        self.n_steps = 0
        self.identity = _identity(settings, frames, codes, *(held_out or ()))
        if held_out is not None:
            self.held_out_rates, self.held_out_codes = trial_rates(held_out[0]), held_out[1]
            self.validate = self._validate

    def train_epoch(self) -> dict[str, float]:
        """Go once through the training trials; a last, smaller batch is left out."""
        size = min(self.settings.batch_size, len(self.frames))
        order = torch.randperm(len(self.frames), generator=self.rng, device=self.device)
        batches = order[: len(order) // size * size].view(-1, size)
        losses = torch.zeros(2, device=self.device)
        for batch in batches:
            losses += self._critic_step(self.frames[batch], self.stimulus[batch])
            self.n_steps += 1
            if self.n_steps % self.settings.n_critic == 0:
                self._generator_step(self.stimulus[batch])
        wasserstein, penalty = (losses / len(batches)).tolist()
        return {"wasserstein": wasserstein, "penalty": penalty}

    def _critic_step(self, real: Tensor, stimulus: Tensor) -> Tensor:
        n = len(real)
        with torch.no_grad():
            fake = _generate(self.generator, stimulus, self.rng)
        share = torch.rand(n, 1, 1, generator=self.rng, device=self.device)
        between = (share * real + (1 - share) * fake).requires_grad_()  # (B, T, N)
        scores = self.critic(torch.cat([real, fake, between]), stimulus.repeat(3, 1))
        (slope,) = torch.autograd.grad(scores[2 * n :].sum(), between, create_graph=True)
        wasserstein = scores[:n].mean() - scores[n : 2 * n].mean()
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        optimiser = self.optimisers[1]
        optimiser.zero_grad()
        (self.settings.gradient_penalty * penalty - wasserstein).backward()
        optimiser.step()
        return torch.stack([wasserstein.detach(), penalty.detach()])

    def _generator_step(self, stimulus: Tensor) -> None:
        optimiser = self.optimisers[0]
        optimiser.zero_grad()
        self.critic.requires_grad_(False)
        (-self.critic(_generate(self.generator, stimulus, self.rng), stimulus).mean()).backward()
        self.critic.requires_grad_(True)
        optimiser.step()
        with torch.no_grad():
            kept, current = list(self.average.parameters()), list(self.generator.parameters())
            torch._foreach_lerp_(kept, current, 1 - AVERAGE_DECAY)

    def _validate(self) -> float:
        """Energy distance between validation and generated trial rates, given the stimulus."""
        codes = np.tile(self.held_out_codes, N_GENERATED_PER_VALIDATION)
        # the same noise in every epoch, so that epochs differ by their weights only
        rng = torch.Generator(self.device).manual_seed(self.settings.seed)
        stimulus = _one_hot(codes, self.settings, self.device)
        rates = trial_rates(_generate(self.average, stimulus, rng).cpu().numpy())
        return energy_distance(self.held_out_rates, rates, self.held_out_codes, codes)

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, and whose it is."""
        return {
            "identity": self.identity,
            "networks": [network.state_dict() for network in self._all()],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "rng": self.rng.get_state(),
            "n_steps": self.n_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of the same data and parameters."""
        if state["identity"] != self.identity:
            raise ValueError("other trials, labels or parameters")
        for network, saved in zip(self._all(), state["networks"], strict=True):
            network.load_state_dict(saved)
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(copy.deepcopy(saved))
        self.rng.set_state(state["rng"].cpu())
        self.n_steps = state["n_steps"]

    def _all(self) -> tuple[nn.Module, ...]:
        return self.generator, self.critic, self.average


def _generate(generator: Generator, stimulus: Tensor, rng: torch.Generator) -> Tensor:
    """Activity of new trials (B, T, N), latents and private noise from `rng`."""
    n, device = len(stimulus), stimulus.device
    latent = torch.randn(n, generator.latent_dim, generator=rng, device=device)
    draw = torch.rand if generator.binary else torch.randn
    shape = (n, generator.n_time, generator.n_neurons)
    private = draw(shape, generator=rng, device=device)
    return generator(latent, stimulus, private)


def _networks(
    settings: NeuronGAN, frames: np.ndarray, codes: np.ndarray
) -> tuple[Generator, Critic]:
    """New networks, the generator at the mean rates of the training trials."""
    _, n_time, n_neurons = frames.shape
    sizes = n_neurons, n_time, len(settings.labels_)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = Generator(*sizes, settings.latent_dim, settings.width, settings.binary_)
        critic = Critic(*sizes, settings.width)
    drive = _starting_drive(frames, codes, settings.binary_)  # (S, N)
    with torch.no_grad():
        generator.tuning.weight.copy_(torch.as_tensor(drive.T))
    return generator, critic


def _starting_drive(frames: np.ndarray, codes: np.ndarray, binary: bool) -> np.ndarray:
    """Drive at which each neuron has its mean rate for each stimulus, (S, N).

    Binary: the log-odds, with half a frame added to both counts so that silence stays finite.
    Graded: the mean itself, from which training moves on.
    """
    rates = trial_rates(frames)
    means = np.stack([rates[codes == code].mean(axis=0) for code in np.unique(codes)])
    if not binary:
        return means.astype(np.float32)
    n_frames = (np.bincount(codes) * frames.shape[1])[:, None]  # (S, 1)
    active = means * n_frames
    return (np.log(active + 0.5) - np.log(n_frames - active + 0.5)).astype(np.float32)


def _one_hot(codes: np.ndarray, settings: NeuronGAN, device: torch.device) -> Tensor:
    return torch.eye(len(settings.labels_), device=device)[torch.as_tensor(codes, device=device)]


def _identity(settings: NeuronGAN, *arrays: np.ndarray) -> str:
    """Fingerprint of the data and of every parameter but the number of epochs and the device."""
    parameters = {k: v for k, v in settings.get_params().items() if k not in ("n_epochs", "device")}
    shapes = [array.shape for array in arrays]
    digest = hashlib.sha256(repr((sorted(parameters.items()), shapes)).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _frames(activity: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    """Checked activity as (B, T, N) float32; T = 1 where there is no time."""
    frames = np.ascontiguousarray(activity, dtype=np.float32)
    if frames.ndim not in (2, 3) or np.shape(labels) != frames.shape[:1] or frames.size == 0:
        raise ValueError(
            f"{name} must be (trial, neuron) or (trial, time, neuron) with one label a trial; "
            f"got {frames.shape} with labels of shape {np.shape(labels)}"
        )
    if not ((frames >= 0) & (frames <= 1)).all():
        raise ValueError(
            f"{name} must be finite and lie in [0, 1] (active frames, or the fraction of frames "
            f"active); got values from {frames.min():.3g} to {frames.max():.3g}, "
            f"{np.isnan(frames).sum()} NaN; see visualcortex.models.deconvolution.active_frames"
        )
    return frames if frames.ndim == 3 else frames[:, None]
