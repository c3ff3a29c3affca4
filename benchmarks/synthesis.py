"""What most exciting images cost, beside one ascent a neuron through the whole network.

    python benchmarks/synthesis.py [--small] [--out synthesis.csv] [--plot synthesis.png]

All ways climb from the same starts by the same rule for as many steps; loops are run for a few
neurons, and their time is multiplied. Medians of wall time in one process after a warm-up. The
floor is the multiplications and additions of the cone, forward and back to the image, at the
measured speed of a matrix product. Where other work is running, set OMP_NUM_THREADS=1: waiting
threads would be what is measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from visualcortex.models.cone import ConeResponse
from visualcortex.models.encoding import EncodingNetwork
from visualcortex.models.synthesis import Response, most_exciting_images, own_responses

NORM = 12.0
Way = tuple[Callable[[], np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Size:
    """Sizes of the network and of the problem."""

    n_neurons: int = 100
    n_looped: int = 3
    n_steps: int = 100
    n_runs: int = 5
    n_channels: int = 32
    kernels: tuple[int, ...] = (9, 7, 7)
    shape: tuple[int, int] = (36, 64)
    counts: tuple[int, ...] = (1, 3, 10, 30, 100, 300)


SMALL = Size(20, 2, 20, 3, 8, (7, 5), (24, 32), (1, 5, 20))


class AllGradients(torch.autograd.Function):
    """A model whose weights get their gradients too, as by `loss.backward()`."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, model: nn.Module) -> Tensor:
        """Return the responses."""
        with torch.enable_grad():
            at = images.detach().requires_grad_()
            ctx.at, ctx.responses = at, model(at)
        return ctx.responses.detach()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """Return the gradient by the images; leave the others with the weights."""
        ctx.responses.backward(slope)
        return ctx.at.grad, None


def network_of(size: Size, n_neurons: int) -> EncodingNetwork:
    """Return a network of random weights, its normalization that of noise."""
    network = EncodingNetwork(
        n_neurons, size.shape, n_channels=size.n_channels, kernels=size.kernels
    )
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.position.copy_(1.9 * torch.rand(n_neurons, 2, generator=rng) - 0.95)
        network.features.copy_(torch.randn(network.features.shape, generator=rng))
        network(torch.randn(16, 1, *size.shape, generator=rng))
    return network.eval()


def starts_of(cone: ConeResponse) -> np.ndarray:
    """Noise in the cone of each neuron, grey around it."""
    rng = torch.Generator().manual_seed(1)
    index = torch.arange(cone.n_neurons)
    noise = torch.randn(cone.n_neurons, 1, *cone.shape, generator=rng)
    return cone.paste(cone.crop(noise, index), index)[:, 0].numpy()


def climb(
    response: Response, size: Size, starts: np.ndarray, neurons: np.ndarray, tolerance: float = 0.0
) -> np.ndarray:
    """Responses to the best images, all neurons in one batch; without stopping by default."""
    return most_exciting_images(
        response, neurons, size.shape, norm=NORM, n_steps_max=size.n_steps, smoothing=0.0,
        # a window longer than the run: nothing stops before its end
        tolerance=tolerance, window=10 if tolerance else size.n_steps + 1, init=starts[neurons],
    ).responses  # fmt: skip


def loop(response: Response, size: Size, starts: np.ndarray, neurons: np.ndarray) -> np.ndarray:
    """Climb one neuron after the other."""
    return np.concatenate(
        [climb(response, size, starts, neurons[[i]]) for i in range(len(neurons))]
    )


def timed(call: Callable[[], np.ndarray], n_runs: int) -> float:
    """Median wall time of some calls after a first one."""
    seconds = []
    for _ in range(n_runs + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def machine_speed() -> float:
    """Operations a second of a float32 matrix product."""
    a, b = torch.rand(2, 2000, 2000)
    return 2 * 2000**3 / timed(lambda: a @ b, 9)


def operations(cone: ConeResponse) -> float:
    """Return the operations of one neuron's step: of the cone forward, and as many back."""
    size, total = np.array(cone.patch_shape), 0.0
    for stage in cone.stages:
        size = (size - stage.weight.shape[2:]) // stage.stride + 1
        total += 2 * 2 * stage.weight.numel() * size.prod()
    return total


def ways_of(size: Size, cone: ConeResponse, network: EncodingNetwork) -> dict[str, Way]:
    """Name the ways, ours first, each with the neurons that it is run for."""
    starts, every = starts_of(cone), np.arange(size.n_neurons)
    few = np.linspace(0, size.n_neurons - 1, size.n_looped).astype(int)
    whole = own_responses(network)
    training = own_responses(lambda images: AllGradients.apply(images, network))
    return {
        "cones, one batch": (lambda: climb(cone, size, starts, every), every),
        "the same, until it rises no more": (lambda: climb(cone, size, starts, every, 1e-3), every),
        "cones, neuron by neuron": (lambda: loop(cone, size, starts, few), few),
        f"whole network, batch of {len(few)}": (lambda: climb(whole, size, starts, few), few),
        "whole network, neuron by neuron": (lambda: loop(whole, size, starts, few), few),
        "the same, gradients of weights too": (lambda: loop(training, size, starts, few), few),
    }


def compare(size: Size, speed: float) -> pd.DataFrame:
    """Time every way, in turn, so that what else the machine does is shared by all."""
    network = network_of(size, size.n_neurons)
    cone = ConeResponse(network)
    ways = ways_of(size, cone, network)
    found = {name: way() for name, (way, _) in ways.items()}  # and warm up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(size.n_runs):
        for name, (way, neurons) in ways.items():
            start = time.perf_counter()
            way()
            taken = (time.perf_counter() - start) * size.n_neurons / len(neurons)
            seconds[name].append(taken)
            print(f"{name:40s}{taken:9.2f} s", flush=True)
    first = next(iter(ways))
    floor = size.n_neurons * size.n_steps * operations(cone) / speed
    rows = []
    for name, (_, neurons) in ways.items():
        median = np.median(seconds[name])
        apart = np.abs(found[name] / found[first][neurons] - 1).max()
        row = {"way": name, "seconds": median, "ratio": median / np.median(seconds[first])}
        rows.append(row | {"over_floor": median / floor, "apart": apart})
    return pd.DataFrame(rows)


def sweep(size: Size, speed: float) -> pd.DataFrame:
    """Return the cost of a step of a neuron against the number of neurons."""
    rows = []
    for count in size.counts:
        cone = ConeResponse(network_of(size, count))
        starts, every = starts_of(cone), np.arange(count)
        seconds = timed(lambda c=cone, s=starts, e=every: climb(c, size, s, e), 3)
        step = seconds / count / size.n_steps
        floor = operations(cone) / speed
        rows.append({"neurons": count, "ms": 1e3 * step, "floor_ms": 1e3 * floor})
    return pd.DataFrame(rows).assign(over_floor=lambda t: t["ms"] / t["floor_ms"])


def plot(table: pd.DataFrame, path: Path) -> None:
    """Draw the sweep: milliseconds of a neuron's step, and the floor."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.loglog(table["neurons"], table["ms"], "o-", label="measured")
    axes.loglog(table["neurons"], table["floor_ms"], "k:", label="floor")
    axes.set(xlabel="neurons in a batch", ylabel="ms a step of a neuron")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a quick check at a small size")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    parser.add_argument("--plot", type=Path, help="draw cost against neurons into this file")
    options = parser.parse_args()
    size, speed = SMALL if options.small else Size(), machine_speed()
    print(f"matrix product {speed / 1e9:.0f} Gflop/s, {torch.get_num_threads()} threads")
    table = compare(size, speed)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    scaling = sweep(size, speed)
    print(scaling.to_string(index=False, float_format="{:.3g}".format))
    if options.out:
        table.to_csv(options.out, index=False)
    if options.plot:
        plot(scaling, options.plot)


if __name__ == "__main__":
    main()
