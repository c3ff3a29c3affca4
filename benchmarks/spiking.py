"""What training a recurrent spiking network through time costs, beside snnTorch and Norse.

    python benchmarks/spiking.py [--quick] [--runs 5] [--threads 1] [--out spiking.csv]

Forward and backward of 200 leaky integrate-and-fire neurons, 2,000 steps, batch 8, in float32;
snnTorch and Norse are optional, and only this script imports them: `pip install snntorch norse`.
"spikes_apart" is how many spikes differ from those of the plain loop over time, "apart" the largest
relative difference of the gradients of input, weights and decay from those of that loop. (A
potential within rounding of the threshold may spike in one way and not in another; from then on the
runs are not the same.) Norse's neuron has a synapse and a reset of another kind; here its synapse
forgets at once and its input is scaled, so that only the reset is another (to 0, where the others
subtract the threshold): as many steps and products, and one more for the input, but another
network, whose spikes are not compared. "times_snntorch" is the time of snnTorch over each. The
floor is the three matrix products that a gradient needs, one forwards and one backwards in each
step and one at the end, timed in the same run; where few neurons spike the first and last need not
be done. Memory is the peak beside that before the run, in sizes of the drive.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from visualcortex.models.spiking import run_network

SHARPNESS = 25.0
DECAY = 0.95
Forward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Spike(torch.autograd.Function):
    """A step whose derivative is that of a fast sigmoid."""

    @staticmethod
    def forward(ctx, over):
        """Return 0 or 1."""
        ctx.save_for_backward(over)
        return (over > 0).to(over)

    @staticmethod
    def backward(ctx, gradient):
        """Return the surrogate."""
        (over,) = ctx.saved_tensors
        return gradient / (1 + SHARPNESS * over.abs()) ** 2


def plain(drive: torch.Tensor, weights: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """Loop over time; the automatic differentiation records each step."""
    v = s = torch.zeros_like(drive[0])
    spikes = []
    for x in drive:
        v = decay * v + x + s @ weights - s.detach()
        s = Spike.apply(v - 1)
        spikes.append(s)
    return torch.stack(spikes)


def snntorch(drive: torch.Tensor, weights: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """Loop over the steps of snntorch.RLeaky."""
    from snntorch import RLeaky, surrogate

    n = len(weights)
    cell = RLeaky(
        beta=decay.detach(),
        linear_features=n,
        learn_beta=True,
        spike_grad=surrogate.fast_sigmoid(slope=SHARPNESS),
    ).to(drive.device)
    cell.recurrent.bias = None
    del cell.recurrent.weight
    cell.recurrent.weight = weights.T
    s = v = torch.zeros_like(drive[0])
    spikes = []
    for x in drive:
        s, v = cell(x, s, v)
        spikes.append(s)
    return torch.stack(spikes)


def norse(drive: torch.Tensor, weights: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """Run norse.torch.LIFRecurrent, its synapse without memory."""
    from norse.torch import LIFParameters, LIFRecurrent

    n, step, device = len(weights), 0.001, drive.device
    membrane = (1 - DECAY) / step  # per s; a part of each input reaches the potential
    values = {"tau_syn_inv": 1 / step, "tau_mem_inv": membrane, "alpha": SHARPNESS}
    cell = LIFRecurrent(
        n,
        n,
        p=LIFParameters(**{k: torch.tensor(v, device=device) for k, v in values.items()}),
        input_weights=torch.eye(n, device=device) / (1 - DECAY),
        recurrent_weights=torch.zeros(n, n, device=device),
        dt=step,
    )
    del cell.recurrent_weights
    cell.recurrent_weights = weights.T / (1 - DECAY)
    return cell(drive)[0]


def ways() -> dict[str, Forward]:
    """Return every way that can be run here."""
    found: dict[str, Forward] = {"plain loop": plain}
    for name, way in (("snntorch", snntorch), ("norse", norse)):
        if importlib.util.find_spec(name):
            found[name] = way
    found["ours, tensors"] = lambda *a: run_network(*a, engine="tensors").spikes
    if not torch.cuda.is_available():
        found["ours, loops"] = lambda *a: run_network(*a, engine="loops").spikes
    return found


def problem(n_time: int, n_batch: int, n: int, device: str) -> tuple[torch.Tensor, ...]:
    """Draw drive, weights and decay of a network that is kept firing by its input."""
    draw = torch.Generator().manual_seed(0)
    drive = 0.055 + 0.08 * torch.randn(n_time, n_batch, n, generator=draw)
    weights = 0.04 * torch.randn(n, n, generator=draw)
    return tuple(x.to(device) for x in (drive, weights, torch.full((n,), DECAY)))


def once(
    way: Forward, arguments: tuple[torch.Tensor, ...], to: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Forward and backward: spikes and gradients."""
    leaves = [x.clone().requires_grad_() for x in arguments]
    spikes = way(*leaves)
    (spikes * to).sum().backward()
    if spikes.is_cuda:
        torch.cuda.synchronize()
    return spikes.detach(), [x.grad for x in leaves]


def seconds_of(call: Callable[[], object], n_runs: int) -> float:
    """Median time after two calls that are not counted."""
    seconds = []
    for _ in range(n_runs + 2):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))


def floor(arguments: tuple[torch.Tensor, ...]) -> None:
    """Multiply what cannot but be multiplied."""
    drive, weights, _ = arguments
    found = torch.empty_like(drive[0])
    for x in drive:
        torch.mm(x, weights, out=found)
        torch.mm(x, weights, out=found)
    drive.flatten(0, 1).T @ drive.flatten(0, 1)
    if drive.is_cuda:
        torch.cuda.synchronize()


def apart(ours: list[torch.Tensor | None], other: list[torch.Tensor | None]) -> float:
    """Largest relative difference of gradients that both have."""
    pairs = [(a, b) for a, b in zip(ours, other, strict=True) if a is not None and b is not None]
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


def compare(n_time: int, n_batch: int, n: int, n_runs: int) -> pd.DataFrame:
    """Time every way on the same network."""
    arguments = problem(n_time, n_batch, n, "cuda" if torch.cuda.is_available() else "cpu")
    to = torch.randn(arguments[0].shape, generator=torch.Generator().manual_seed(1))
    to, rows = to.to(arguments[0]), []
    expected, known = once(plain, arguments, to)
    for name, way in ways().items():
        seconds = seconds_of(lambda way=way: once(way, arguments, to), n_runs)
        spikes, gradients = once(way, arguments, to)
        row = {"way": name, "seconds": seconds, "rate": spikes.mean().item()}
        if name != "norse":
            row["spikes_apart"] = int((spikes != expected).sum())
            row["apart"] = apart(gradients, known)
        rows.append(row)
        print(f"{name}: {seconds:.3g} s", flush=True)
    table = pd.DataFrame(rows).set_index("way")
    if "snntorch" in table.index:
        table["times_snntorch"] = table.seconds["snntorch"] / table.seconds
    table["over_floor"] = table.seconds / seconds_of(lambda: floor(arguments), n_runs)
    return table.reset_index()


MEMORY = r"""
    import re, sys
    from pathlib import Path
    import torch
    from spiking import once, problem, ways
    def peak():
        # not getrusage: its peak is inherited from the parent process
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    way, *size = sys.argv[1:]
    few, arguments = (problem(*n, "cpu") for n in ((9, 2, 8), map(int, size)))
    once(ways()[way], few, torch.ones_like(few[0]))  # what the first call loads
    to = torch.ones_like(arguments[0])
    before = peak()
    once(ways()[way], arguments, to)
    print((peak() - before) / to.nbytes)
"""


def peak_memory(way: str, size: tuple[int, ...]) -> float:
    """Peak memory of forward and backward, in sizes of the drive (Linux)."""
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), way, *map(str, size)]
    folder = Path(__file__).parent
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return float(run.stdout.split()[-1])


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = (300, 4, 50) if options.quick else (2000, 8, 200)
    table = compare(*size, 1 if options.quick else options.runs)
    if not torch.cuda.is_available() and Path("/proc/self/status").exists():
        table["memory"] = [peak_memory(way, size) for way in table.way]
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
