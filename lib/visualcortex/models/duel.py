"""How generators and critics are trained against each other, and what of them is kept.

What trains one network trains several side by side, each with its own weights, shuffles and noise.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from visualcortex.evaluation.scores import energy_distance, trial_rates
from visualcortex.models.adversarial_losses import critic_losses, uphill
from visualcortex.models.adversaries import Critic, Generator, Seen, joined, separated, write
from visualcortex.training import choose_device, fingerprint

# trials generated for each validation trial when the state to keep is chosen; tails are heavy
N_GENERATED_PER_VALIDATION = 8
# that is, in each of the first epochs, and whenever so many have passed
JUDGED_EVERY = 10
# of the moving average of the generator's weights, a generator step
AVERAGE_DECAY = 0.98
# frames of the training trials of which this share has fewer active neurons: levels of the critic
LEVELS = (0.5, 0.75, 0.875, 0.94, 0.97, 0.985)


class Settings(NamedTuple):
    """What networks that are trained side by side have in common."""

    batch_size: int
    lr: float
    b1: float
    b2: float
    latent_dim: int
    n_paths: int
    n_critic: int
    gradient_penalty: float
    width: int
    spectral_norm: bool
    sample_interval: int | None


class Duel:
    """Generators against critics, a pair for each seed: what `run_epochs` trains.

    Every pair has weights, shuffles and noise from its own seed and, where there are validation
    trials, keeps the averaged generator of the epoch that fits them best.
    """

    def __init__(
        self,
        settings: Settings,
        seeds: Sequence[int],
        data: tuple[np.ndarray, np.ndarray],
        held_out: tuple[np.ndarray, np.ndarray] | None,
        device: str,
    ) -> None:
        self.settings, self.seeds = settings, list(seeds)
        self.device = choose_device(device)
        frames, codes = data
        self.stimulus = torch.eye(codes.max() + 1, device=self.device)[codes]  # (B, S)
        pairs = zip(*(_networks(settings, seed, frames, codes) for seed in seeds), strict=True)
        self.generator, self.critic = (joined(networks).to(self.device) for networks in pairs)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.seen = self._see_recorded(frames)
        betas = settings.b1, settings.b2
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=settings.lr, betas=betas, fused=True)
            for network in (self.generator, self.critic)
        ]
        self.rngs = self._streams()
        self.n_steps = 0
        self.rows: list[Tensor] = []  # an epoch each, (M, 2 or 3)
        self.snapshots: list[tuple[int, Tensor]] = []  # epochs, (M, S, T, N)
        self.identity = fingerprint((settings, self.seeds), frames, codes, *(held_out or ()))
        self.held_out = None if held_out is None else _HeldOut(self, *held_out)

    def _streams(self) -> list[torch.Generator]:
        """New random streams, one a network."""
        return [torch.Generator(self.device).manual_seed(seed) for seed in self.seeds]

    @torch.no_grad()
    def _see_recorded(self, frames: np.ndarray) -> Seen:
        """What the critics see of the training trials, (1, B, ...): the same for all of them."""
        trials = torch.as_tensor(frames, device=self.device)[None]  # (1, B, T, N)
        return separated(self.critic, 0).see(trials)

    def train_epoch(self) -> dict[str, float]:
        """Go once through the training trials; a last, smaller batch is left out."""
        size = min(self.settings.batch_size, len(self.stimulus))
        n_batches = len(self.stimulus) // size
        order = [
            torch.randperm(len(self.stimulus), generator=rng, device=self.device)
            for rng in self.rngs
        ]
        batches = torch.stack(order)[:, : n_batches * size].unflatten(1, (n_batches, size))
        losses = torch.zeros(2, len(self.seeds), device=self.device)
        done = 0
        while done < n_batches:
            left = self.settings.n_critic - self.n_steps % self.settings.n_critic
            chosen = batches[:, done : done + left]  # (M, steps, B)
            losses += self._round(chosen)
            done += chosen.shape[1]
        self.rows.append((losses / n_batches).T.cpu())
        names = ["wasserstein", "penalty"]
        if self.held_out is not None:
            self.rows[-1] = torch.cat([self.rows[-1], self.held_out.judge(self)[:, None]], dim=1)
            # not "validation": each network keeps an epoch of its own, the loop keeps the last
            names.append("held_out")
        self._take_snapshot()
        return dict(zip(names, self.rows[-1].mean(0).tolist(), strict=True))

    def _round(self, chosen: Tensor) -> Tensor:
        """Critic steps on batches (M, steps, B), and the generator's if its turn has come."""
        m, n_steps, n = chosen.shape
        stimulus = self.stimulus[chosen]  # (M, steps, B, S)
        with torch.no_grad():
            noise = self.generator.noise(self.rngs, n_steps * n)
            fake = self.critic.see(self.generator(noise, stimulus.flatten(1, 2)))
        pairs = zip(self.seen, fake, strict=True)
        seen = Seen(  # (M, steps, 2 B, ...)
            *(torch.cat([x[0][chosen], y.unflatten(1, (n_steps, n))], dim=2) for x, y in pairs)
        )
        share = torch.empty(m, n_steps, n, 1, device=self.device)
        for of_network, rng in zip(share, self.rngs, strict=True):
            of_network.uniform_(generator=rng)
        losses = torch.zeros(2, len(self.seeds), device=self.device)
        for step in range(chosen.shape[1]):
            losses += self._critic_step(
                Seen(*(x[:, step] for x in seen)), stimulus[:, step], share[:, step]
            )
        self.n_steps += chosen.shape[1]
        if self.n_steps % self.settings.n_critic == 0:
            self._generator_step(stimulus[:, -1])
        return losses

    def _critic_step(self, seen: Seen, stimulus: Tensor, share: Tensor) -> Tensor:
        """One step down the closed gradient; the losses before it, (2, M)."""
        self.critic.iterate()
        weights = self.critic.weights()
        with torch.no_grad():
            losses = critic_losses(
                self.critic, weights, seen, stimulus, share, self.settings.gradient_penalty
            )
        self.optimisers[1].zero_grad()
        self.critic.take_gradients(weights, losses.gradients)
        self.optimisers[1].step()
        return torch.stack([losses.wasserstein, losses.penalty])

    def _generator_step(self, stimulus: Tensor) -> None:
        """One step up the critic's score, and the moving average after it."""
        self.optimisers[0].zero_grad()
        noise = self.generator.noise(self.rngs, stimulus.shape[1])
        frames = self.generator(noise, stimulus)
        with torch.no_grad():
            gradient = uphill(self.critic, frames, stimulus)
        frames.backward(gradient / -stimulus.shape[1])
        self.optimisers[0].step()
        with torch.no_grad():
            kept, current = list(self.average.parameters()), list(self.generator.parameters())
            torch._foreach_lerp_(kept, current, 1 - AVERAGE_DECAY)

    def _take_snapshot(self) -> None:
        """Have the average generator write a trial of each stimulus, always from the same noise."""
        interval, epoch = self.settings.sample_interval, len(self.rows)
        if interval is None or epoch % interval:
            return
        stimulus = torch.eye(self.stimulus.shape[1], device=self.device)
        written = torch.cat(list(write(self.average, stimulus, self._streams())), dim=1)
        self.snapshots.append((epoch, written.cpu()))

    def kept(self) -> tuple[Generator, list[int]]:
        """The averaged generators that are kept, and the epoch of each."""
        if self.held_out is None:
            return self.average, [len(self.rows)] * len(self.seeds)
        best = copy.deepcopy(self.average)
        best.load_state_dict(self.held_out.best)
        return best, self.held_out.epochs.tolist()

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, what is kept so far, and whose it is."""
        return {
            "identity": self.identity,
            "networks": [network.state_dict() for network in self._all()],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "rngs": [rng.get_state() for rng in self.rngs],
            "n_steps": self.n_steps,
            "rows": self.rows,
            "snapshots": self.snapshots,
            "held_out": None if self.held_out is None else self.held_out.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of the same data, parameters and seeds."""
        if state["identity"] != self.identity:
            raise ValueError("other trials, labels or parameters")
        for network, saved in zip(self._all(), state["networks"], strict=True):
            network.load_state_dict(saved)
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(copy.deepcopy(saved))
        for rng, saved in zip(self.rngs, state["rngs"], strict=True):
            rng.set_state(saved.cpu())
        self.n_steps = state["n_steps"]
        self.rows, self.snapshots = list(state["rows"]), list(state["snapshots"])
        if self.held_out is not None:
            self.held_out.load_state_dict(state["held_out"])

    def _all(self) -> tuple[torch.nn.Module, ...]:
        """Every network, in the order of the state."""
        return self.generator, self.critic, self.average


class _HeldOut:
    """Validation trials, and the best that each network has written beside them."""

    def __init__(self, duel: Duel, frames: np.ndarray, codes: np.ndarray) -> None:
        self.rates, self.codes = trial_rates(frames), codes
        self.written = np.tile(codes, N_GENERATED_PER_VALIDATION)
        self.stimulus = torch.eye(duel.stimulus.shape[1], device=duel.device)[self.written]
        self.distance = torch.full((len(duel.seeds),), torch.inf, dtype=torch.float64)
        self.lowest = torch.full((len(duel.seeds),), torch.inf, dtype=torch.float64)
        self.epochs = torch.zeros(len(duel.seeds), dtype=torch.long)
        self.best = copy.deepcopy(duel.average.state_dict())

    def judge(self, duel: Duel) -> Tensor:
        """Energy distance of validation and generated trial rates given the stimulus, (M,).

        If this is no epoch to take it, the last one taken.
        """
        epoch = len(duel.rows)
        if epoch > JUDGED_EVERY and epoch % JUDGED_EVERY:
            return self.distance
        # the same noise in every epoch, so that epochs differ by their weights only
        trials = write(duel.average, self.stimulus, duel._streams())
        rates = torch.cat([some.mean(dim=2).cpu() for some in trials], dim=1).double().numpy()
        found = [energy_distance(self.rates, one, self.codes, self.written) for one in rates]
        self.distance = torch.tensor(found, dtype=torch.float64)
        better = self.distance < self.lowest
        self.lowest[better], self.epochs[better] = self.distance[better], epoch
        for name, value in duel.average.state_dict().items():
            self.best[name][better] = value[better]
        return self.distance

    def state_dict(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "distance": self.distance,
            "lowest": self.lowest,
            "epochs": self.epochs,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back."""
        self.distance, self.lowest = state["distance"].clone(), state["lowest"].clone()
        self.epochs = state["epochs"].clone()
        for name, value in state["best"].items():
            self.best[name].copy_(value)


def _networks(
    settings: Settings, seed: int, frames: np.ndarray, codes: np.ndarray
) -> tuple[Generator, Critic]:
    """One new pair, the generator at the mean rates of the training trials."""
    _, n_time, n_neurons = frames.shape
    sizes = n_neurons, n_time, int(codes.max()) + 1
    binary = is_binary(frames)
    levels = torch.as_tensor(np.quantile(frames.sum(axis=2), LEVELS), dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(*sizes, settings.latent_dim, settings.n_paths, settings.width, binary)
        critic = Critic(*sizes, settings.width, levels, settings.spectral_norm)
    engaged = generator.engagement.detach().sigmoid()[0].numpy()  # (1, N)
    drive = _starting_drive(frames, codes, engaged, binary)  # (S, N)
    with torch.no_grad():
        generator.tuning.weight.copy_(torch.as_tensor(drive))
    return generator, critic


def is_binary(frames: np.ndarray) -> bool:
    """Whether every frame is 0 or 1."""
    return bool(np.isin(frames, (0.0, 1.0)).all())


def _starting_drive(
    frames: np.ndarray, codes: np.ndarray, engaged: np.ndarray, binary: bool
) -> np.ndarray:
    """Drive at which each neuron has its mean rate for each stimulus, (S, N).

    Binary: the log-odds among engaged trials, with half a frame added to both counts so that
    silence stays finite. Graded: the mean of these itself, from which training moves on.
    """
    rates = trial_rates(frames)
    means = np.stack([rates[codes == code].mean(axis=0) for code in np.unique(codes)])
    means = np.minimum(means / engaged, 1)
    if not binary:
        return means.astype(np.float32)
    n_frames = (np.bincount(codes) * frames.shape[1])[:, None]  # (S, 1)
    active = means * n_frames
    return (np.log(active + 0.5) - np.log(n_frames - active + 0.5)).astype(np.float32)
