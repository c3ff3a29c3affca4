"""Networks that learn what belongs to images: the trainee that classifiers and encoders share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from visualcortex.models.encoding import warm_cosine

Loss = Callable[[Any, tuple[Tensor, ...]], Tensor]
Report = Callable[[int, float], None]


class Examples(NamedTuple):
    """Inputs, read a batch at a time, and what belongs to each of them.

    Parameters
    ----------
    inputs
        Anything with a length that is indexed with arrays of ints, first axis = example.
    targets
        Tensors with a row an example.
    """

    inputs: np.ndarray
    targets: tuple[Tensor, ...]

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return some rows as float32 on a device, and their targets."""
        inputs = torch.from_numpy(np.require(self.inputs[rows], np.float32, "CW"))
        return inputs.to(device), tuple(target[rows].to(device) for target in self.targets)

    def batches(
        self, size: int, device: torch.device
    ) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """Yield all rows in order."""
        for start in range(0, len(self.inputs), size):
            yield self.batch(np.arange(start, min(start + size, len(self.inputs))), device)


class Supervised:
    """A network on its way: what `training.run_epochs` trains.

    AdamW, with a learning rate that rises for a fifth of the steps and falls along half a cosine,
    on batches in random order; what is left of the last is not used. Gains and offsets, parameters
    of one dimension, do not decay.

    Parameters
    ----------
    network : torch.nn.Module
        On the device of the training.
    train, held_out : Examples
        What it learns from; what it is validated on.
    loss : callable
        Output and targets of a batch to a number, the mean over the batch.
    n_epochs, batch_size : int
        Epochs in all, of which the schedule depends; examples a step.
    learning_rate, weight_decay : float
        Of AdamW; the rate at its highest.
    seed : int
        Of the order of examples and of what dropout leaves out, not negative. The random state of
        torch is left as it is.
    report : callable, optional
        Told the number of epochs done and the validation loss after each; what it raises ends the
        training.
    """

    def __init__(
        self,
        network: nn.Module,
        train: Examples,
        held_out: Examples,
        loss: Loss,
        *,
        n_epochs: int,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        seed: int,
        report: Report | None = None,
    ) -> None:
        self.network, self.train, self.held_out = network, train, held_out
        self.loss, self.report = loss, report
        self.device = next(network.parameters()).device
        self.size = min(batch_size, len(train.inputs))
        self.n_steps = len(train.inputs) // self.size
        self.n_done, self.seed = 0, seed
        self.rng = torch.Generator().manual_seed(seed)
        n_in_all = n_epochs * self.n_steps
        weights = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim >= 2]},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            # a rate of numpy's own type could not be read back from a checkpoint
            self.optimiser,
            lambda step: float(warm_cosine(step / n_in_all)),
        )

    def train_epoch(self) -> dict[str, float]:
        """Go once through the examples in random order."""
        self.network.train()
        order = torch.randperm(len(self.train.inputs), generator=self.rng).numpy()
        total = torch.zeros((), device=self.device)
        with _draws_of((self.seed, self.n_done), self.device):
            for rows in order[: self.n_steps * self.size].reshape(self.n_steps, self.size):
                inputs, targets = self.train.batch(rows, self.device)
                loss = self.loss(self.network(inputs), targets)
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
                self.schedule.step()
                total += loss.detach()
        self.n_done += 1
        return {"train": float(total) / self.n_steps}

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss of the held-out examples."""
        self.network.eval()
        total = 0.0
        for inputs, targets in self.held_out.batches(self.size, self.device):
            total += float(self.loss(self.network(inputs), targets)) * len(inputs)
        value = total / len(self.held_out.inputs)
        if self.report is not None:
            self.report(self.n_done, value)
        return value

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": self.rng.get_state(),
            "n_done": self.n_done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.rng.set_state(state["rng"])
        self.n_done = state["n_done"]


@contextlib.contextmanager
def _draws_of(seeds: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Let what draws from the state of torch itself, as dropout does, depend on seeds alone."""
    seed = int(np.random.SeedSequence(seeds).generate_state(1, np.uint32)[0])
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all GPUs too
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield
