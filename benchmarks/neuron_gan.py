"""What training a neuron-GAN costs, beside the plain PyTorch loop.

    python benchmarks/neuron_gan.py [--quick] [--threads 1 2] [--out neuron_gan.csv]

The plain loop is what one would write: the same architecture of `torch.nn.Linear` layers for the
critic, called three times a step, the penalty by `torch.autograd.grad(create_graph=True)`, fakes
generated in every critic step, Adam as it comes, both losses read by `.item()` in every step. Both
train on the same trials with the same hyper-parameters, validation aside. Each row is the least CPU
time of an epoch a network, runs of both in turn in one process; "ratio" is the plain loop's over
ours. "loss_apart" and "gradient_apart" are the largest relative differences of losses and of the
critic's gradients in the first step, from the same weights and the same noise, in float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.adversarial_losses import critic_losses
from visualcortex.models.adversaries import LEAK, Critic, Seen
from visualcortex.models.duel import Duel
from visualcortex.models.neuron_gan import NeuronGAN


class Case(NamedTuple):
    """Size of the recording."""

    n_trials: int
    n_time: int
    n_neurons: int
    n_stimuli: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Trials of independent frames, or graded without time; and their stimuli."""
        rng = np.random.default_rng(0)
        labels = np.arange(self.n_trials) % self.n_stimuli
        frames = rng.random((self.n_trials, self.n_time, self.n_neurons), dtype=np.float32)
        return (frames < 0.1).astype(np.float32) if self.n_time > 1 else frames, labels


CASES = Case(288, 32, 60, 8), Case(288, 1, 259, 14)
QUICK = (Case(96, 8, 12, 2),)


class PlainCritic(nn.Module):
    """The critic as one writes it, with the weights of ours."""

    def __init__(self, ours: Critic) -> None:
        super().__init__()
        self.see = ours.see
        for name in ("blocks", "rates", "summaries", "dense", "score", "projection"):
            source = getattr(ours, name)
            layer = nn.Linear(*source.weight.shape[1:], bias=source.bias is not None)
            layer.weight.data.copy_(source.weight[0].T)
            if source.bias is not None:
                layer.bias.data.copy_(source.bias[0, 0])
            setattr(self, name, layer)

    def forward(self, blocks: Tensor, rates: Tensor, summaries: Tensor, stimulus: Tensor) -> Tensor:
        """Scores of what is seen of trials, (B,)."""
        parts = self.blocks(blocks).flatten(1), self.rates(rates), self.summaries(summaries)
        features = functional.leaky_relu(torch.cat(parts, dim=1), LEAK)
        hidden = functional.leaky_relu(self.dense(features), LEAK)
        return self.score(hidden)[:, 0] + (hidden * self.projection(stimulus)).sum(dim=1)

    def of_frames(self, frames: Tensor, summaries: Tensor, stimulus: Tensor) -> Tensor:
        """Scores of trials (B, T, N) with summaries that are coordinates of their own."""
        n_blocks = self.dense.in_features // self.score.in_features - 3
        rates = frames.sum(dim=1) * frames.shape[1] ** -0.5
        return self(frames.reshape(len(frames), n_blocks, -1), rates, summaries, stimulus)


class PlainLoop:
    """A network trained by the usual loop."""

    def __init__(self, duel: Duel, frames: np.ndarray) -> None:
        self.settings, self.rngs = duel.settings, duel._streams()
        self.frames, self.stimulus = torch.as_tensor(frames), duel.stimulus
        self.generator, self.critic = duel.generator, PlainCritic(duel.critic)
        betas = self.settings.b1, self.settings.b2
        self.of_generator = torch.optim.Adam(self.generator.parameters(), duel.settings.lr, betas)
        self.of_critic = torch.optim.Adam(self.critic.parameters(), duel.settings.lr, betas)
        self.losses: list[tuple[float, float]] = []

    def train_epoch(self) -> None:
        """Go once through the trials."""
        batches = torch.randperm(len(self.frames)).split(self.settings.batch_size)
        for step, batch in enumerate(batches, 1):
            stimulus = self.stimulus[batch]
            noise = self.generator.noise(self.rngs, len(batch))
            fake = self.generator(noise, stimulus[None])[0].detach()
            share = torch.rand(len(batch), 1)
            wasserstein, penalty = self.critic_losses(self.frames[batch], fake, stimulus, share)
            self.of_critic.zero_grad()
            (self.settings.gradient_penalty * penalty - wasserstein).backward()
            self.of_critic.step()
            self.losses.append((wasserstein.item(), penalty.item()))
            if step % self.settings.n_critic == 0:
                self.generator_step(stimulus)

    def critic_losses(
        self, real: Tensor, fake: Tensor, stimulus: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Wasserstein estimate and penalty, by three passes and a derivative in the graph."""
        summaries = [self.critic.see(x[None]).summaries[0] for x in (real, fake)]
        scores = [
            self.critic.of_frames(x, y, stimulus)
            for x, y in zip((real, fake), summaries, strict=True)
        ]
        pairs = ((real, fake, share[..., None]), (*summaries, share))
        between = [(u * x + (1 - u) * y).requires_grad_() for x, y, u in pairs]
        score = self.critic.of_frames(*between, stimulus)
        slopes = torch.autograd.grad(score.sum(), between, create_graph=True)
        slope = torch.cat([x.flatten(1) for x in slopes], dim=1)
        return scores[0].mean() - scores[1].mean(), (slope.norm(dim=1) - 1).square().mean()

    def generator_step(self, stimulus: Tensor) -> None:
        """One step up the critic's score."""
        noise = self.generator.noise(self.rngs, len(stimulus))
        fake = self.generator(noise, stimulus[None])[0]
        summaries = self.critic.see(fake[None]).summaries[0]
        self.of_generator.zero_grad()
        (-self.critic.of_frames(fake, summaries, stimulus).mean()).backward()
        self.of_generator.step()


def duel_of(case: Case, n_networks: int) -> Duel:
    """Networks at their start."""
    return Duel(NeuronGAN()._settings(), range(n_networks), case.data(), None, "cpu")


def apart(case: Case) -> dict[str, float]:
    """Largest relative differences in a first step with the same noise."""
    duel, frames = duel_of(case, 1), torch.as_tensor(case.data()[0][:32])
    plain = PlainLoop(duel, case.data()[0])
    stimulus = duel.stimulus[:32]
    share = torch.rand(32, 1, generator=duel.rngs[0])
    fake = duel.generator(duel.generator.noise(duel.rngs, 32), stimulus[None]).detach()
    wasserstein, penalty = plain.critic_losses(frames, fake[0], stimulus, share)
    weight = duel.settings.gradient_penalty
    (weight * penalty - wasserstein).backward()
    weights = duel.critic.weights()
    seen = (torch.cat(x, dim=1) for x in zip(duel.critic.see(frames[None]),
                                             duel.critic.see(fake), strict=True))  # fmt: skip
    with torch.no_grad():
        ours = critic_losses(duel.critic, weights, Seen(*seen), stimulus[None], share[None], weight)
    duel.critic.take_gradients(weights, ours.gradients)
    found = [(ours.wasserstein[0], wasserstein), (ours.penalty[0], penalty)]
    gradients = [
        (getattr(duel.critic, name).weight.grad[0].T, getattr(plain.critic, name).weight.grad)
        for name in ("blocks", "rates", "summaries", "dense", "score", "projection")
    ]
    return {
        "loss_apart": max(relative(*pair) for pair in found),
        "gradient_apart": max(relative(*pair) for pair in gradients),
    }


def relative(one: Tensor, other: Tensor) -> float:
    """Largest difference over the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()


def least(calls: dict[str, Callable[[], Any]], n_runs: int) -> dict[str, float]:
    """Least CPU and wall seconds of each call, called in turn."""
    found = {name: [] for name in calls}
    for _ in range(n_runs + 1):
        for name, call in calls.items():
            start = time.process_time(), time.perf_counter()
            call()
            found[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu = {name: min(cpu for cpu, _ in times[1:]) for name, times in found.items()}
    return cpu | {f"{name}_wall": min(wall for _, wall in t[1:]) for name, t in found.items()}


def rows_of(case: Case, joint: Sequence[int], n_runs: int) -> list[dict[str, Any]]:
    """Time an epoch of the plain loop, and of ours with one network and several."""
    duels = {n: duel_of(case, n) for n in joint}
    calls: dict[str, Callable] = {"plain": PlainLoop(duel_of(case, 1), case.data()[0]).train_epoch}
    calls |= {str(n): duel.train_epoch for n, duel in duels.items()}
    times = least(calls, n_runs)
    size = " x ".join(str(n) for n in case[:3])
    rows = []
    for n in joint:
        ours, wall = times[str(n)] / n, times[f"{n}_wall"] / n
        row = {"trials": size, "threads": torch.get_num_threads(), "networks": n}
        row |= {"plain_ms": 1e3 * times["plain"], "ours_ms": 1e3 * ours}
        row |= {"ratio": times["plain"] / ours, "ratio_wall": times["plain_wall"] / wall}
        rows.append(row | apart(case))
    return rows


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of PyTorch")
    parser.add_argument("--runs", type=int, default=20, help="timed epochs of each")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    cases, n_runs = (QUICK, 2) if options.quick else (CASES, options.runs)
    rows = []
    for n_threads in options.threads:
        torch.set_num_threads(n_threads)
        for case in cases:
            rows += rows_of(case, (1, 5), n_runs)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
