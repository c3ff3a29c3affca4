"""What attention between neurons costs, forward and backward, beside PyTorch Geometric.

    python benchmarks/graph_attention.py [--quick] [--device cuda] [--out graph_attention.csv]

Each row is one of our layers on a batch of trials with one graph, beside a peer with the same
parameters on all trials as one disjoint graph, made beforehand: median wall time in the same
process, and the ratio. Dot-product attention is another model than its peer and agrees with none.
The floor is three products of an attention matrix with the features, as any dense layer needs them
forward and backward, in float32. Memory is what the peak of a process of its own grows by, in MiB.
Peers that would hold an array of more than 4 GiB are left out. "apart" is the largest difference of
outputs and gradients in float32; one pair in ten million lies so near the kink of the rectification
that rounding decides its slope, and then gradients of its two neurons are 0.001 apart.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from visualcortex.models.graph_layers import (
    DotProductAttention,
    GraphAttention,
    GraphAttentionV2,
)
from visualcortex.training import choose_device

N_IN, N_OUT, HEADS = 16, 16, 4
TOO_LARGE = 4 * 2**30  # bytes of one array of a peer
PEERS = {
    GraphAttention: "GATConv",
    GraphAttentionV2: "GATv2Conv",
    DotProductAttention: "GATConv",
}
LAYERS = {layer.__name__: layer for layer in PEERS}


class Case(NamedTuple):
    """Neurons, trials, and the share of pairs that are edges, or edges to each neuron."""

    n_neurons: int
    n_trials: int
    edges: float | int

    def __str__(self) -> str:
        kind = f"{self.edges:.0%}" if isinstance(self.edges, float) else f"{self.edges} each"
        return f"{self.n_neurons} neurons x {self.n_trials}, {kind}"

    def adjacency(self) -> Tensor:
        """Edges (source, target), themselves included; the same ones in every run."""
        n, rng = self.n_neurons, torch.Generator().manual_seed(0)
        draws = torch.rand(n, n, generator=rng)
        if isinstance(self.edges, int):
            edges = draws.argsort(dim=0).argsort(dim=0) < self.edges
        else:
            edges = draws < self.edges
        return edges.fill_diagonal_(True)


@dataclass(frozen=True)
class Size:
    """Cases to time, and numbers of neurons to measure memory at."""

    cases: tuple[Case, ...] = (
        Case(300, 32, 1.0), Case(300, 32, 0.1), Case(300, 32, 20),
        Case(1000, 8, 1.0), Case(1000, 8, 0.1), Case(1000, 8, 20),
    )  # fmt: skip
    n_neurons: tuple[int, ...] = (100, 200, 500, 1000, 2000)


QUICK = Size((Case(60, 4, 1.0), Case(250, 2, 5)), (100,))


def geometric() -> Any:
    """PyTorch Geometric's layers; their import warns of its own use of torch.jit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch_geometric.nn
    return torch_geometric.nn


def peer_of(layer: nn.Module) -> nn.Module:
    """Return the peer's layer, with our parameters where these are the same."""
    peer = getattr(geometric(), PEERS[type(layer)])(N_IN, N_OUT, HEADS)
    if not isinstance(layer, DotProductAttention):
        peer.load_state_dict(layer.state_dict())
    return peer


def union(edges: Tensor, n_trials: int) -> Tensor:
    """Edges of all trials as one graph, (2, edges)."""
    first = len(edges) * torch.arange(n_trials)
    return (edges.nonzero().T[:, None] + first[:, None]).flatten(1)


def features(case: Case, device: str) -> Tensor:
    """Features of all neurons in all trials, (B, N, F)."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(case.n_trials, case.n_neurons, N_IN, generator=rng)
    return x.to(device).requires_grad_()


Step = Callable[[], tuple[Tensor, Tensor]]


def stepped(x: Tensor, call: Callable[[], Tensor], parameters: list[Tensor]) -> Step:
    """Return one step: outputs, and the gradient of the inputs; the parameters' besides."""
    weights = torch.linspace(-1, 1, N_OUT * HEADS, device=x.device)

    def step() -> tuple[Tensor, Tensor]:
        out = call()
        grads = torch.autograd.grad((out * weights).sum(), [x, *parameters])
        return out.detach(), grads[0]

    return step


def ours(layer: nn.Module, case: Case, device: str) -> Step:
    """Our layer; a complete graph is given as none."""
    x = features(case, device)
    edges = None if case.edges == 1.0 else case.adjacency().to(device)
    return stepped(x, lambda: layer(x, edges), list(layer.parameters()))


def theirs(layer: nn.Module, case: Case, device: str) -> Step | None:
    """Return the peer's step, unless it is too large."""
    edges = case.adjacency()
    n_bytes = 4 * int(edges.sum()) * case.n_trials * HEADS * N_OUT
    if n_bytes * (2 if isinstance(layer, GraphAttentionV2) else 1) > TOO_LARGE:
        return None
    x, peer, index = features(case, device), peer_of(layer).to(device), union(edges, case.n_trials)
    index = index.to(device)
    parameters = list(peer.parameters())
    return stepped(x, lambda: peer(x.flatten(0, 1), index).view(*x.shape[:2], -1), parameters)


def floor(case: Case, device: str) -> Callable[[], Any]:
    """Three products of attention and features, trial by trial."""
    n = case.n_neurons
    attention = torch.rand(HEADS, n, n, device=device)
    values = torch.rand(HEADS, n, N_OUT, device=device)

    def products() -> Tensor:
        for _ in range(3 * case.n_trials):
            out = attention @ values
        return out

    return products


def timed(call: Callable[[], Any], n_runs: int, device: str) -> tuple[float, Any]:
    """Median wall time of some calls after a first one."""
    result, seconds = call(), []
    for _ in range(n_runs):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def apart(mine: tuple[Tensor, Tensor], peers: tuple[Tensor, Tensor]) -> float:
    """Largest difference of outputs and of gradients, in standard deviations of the peer's."""
    pairs = zip(mine, peers, strict=True)
    return max(((a.reshape(b.shape) - b).abs().max() / b.std()).item() for a, b in pairs)


def row_of(name: str, case: Case, device: str, n_runs: int) -> dict[str, Any]:
    """Time one layer and its peer."""
    torch.manual_seed(0)
    layer = LAYERS[name](N_IN, N_OUT, HEADS).to(device)
    seconds, mine = timed(ours(layer, case, device), n_runs, device)
    row = {"graph": str(case), "layer": name, "ours_s": seconds, "peer": PEERS[type(layer)]}
    call = theirs(layer, case, device)
    if call is not None:
        peer_s, found = timed(call, n_runs, device)
        row |= {"peer_s": peer_s, "ratio": peer_s / seconds}
        if not isinstance(layer, DotProductAttention):
            row["apart"] = apart(mine, found)
    floor_s, _ = timed(floor(case, device), n_runs, device)
    return row | {"floor_s": floor_s, "over_floor": seconds / floor_s}


def peak() -> int:
    """Peak memory of this process in bytes (Linux); not getrusage's, which is inherited."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def used_memory(name: str, case: Case, whose: str) -> float:
    """What one step adds to the peak of this process, in MiB, after a small one."""
    layer, make = LAYERS[name](N_IN, N_OUT, HEADS), ours if whose == "ours" else theirs
    geometric()  # what a first call loads is not the layers' doing
    make(layer, case._replace(n_neurons=30, n_trials=1), "cpu")()
    step = make(layer, case, "cpu")
    if step is None:
        return float("nan")
    before = peak()
    step()
    return (peak() - before) / 2**20


def memory_of(name: str, case: Case) -> dict[str, float]:
    """`used_memory` of ours and of the peer, each in a process of its own."""
    found = {}
    for whose in ("ours",) if LAYERS[name] is DotProductAttention else ("ours", "peer"):
        command = [sys.executable, __file__, "--memory", name, whose]
        command += [str(case.n_neurons), str(case.n_trials), repr(case.edges)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        found[f"{whose}_mib"] = float(run.stdout.split()[-1])
    return found


def answer_memory(name: str, whose: str, n_neurons: str, n_trials: str, edges: str) -> None:
    """Print what `memory_of` asks for."""
    share = float(edges) if "." in edges else int(edges)
    print(used_memory(name, Case(int(n_neurons), int(n_trials), share), whose))


def compare(size: Size, device: str, n_runs: int) -> pd.DataFrame:
    """Time every layer on every graph."""
    rows = []
    for case in size.cases:
        for name in LAYERS:
            row = row_of(name, case, device, n_runs)
            if device == "cpu":
                row |= memory_of(name, case)
            rows.append(row)
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else v for v in row.values()))
            sys.stdout.flush()
    return pd.DataFrame(rows)


def growth(size: Size) -> Iterator[dict[str, Any]]:
    """Memory against the number of neurons: four trials of a complete graph."""
    for n in size.n_neurons:
        case = Case(n, 4, 1.0)
        for name in LAYERS:
            yield {"graph": str(case), "layer": name} | memory_of(name, case)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    parser.add_argument("--memory", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        return answer_memory(*options.memory)
    size, device = QUICK if options.quick else Size(), choose_device(options.device).type
    print(f"{device}, {torch.get_num_threads()} threads")
    table = compare(size, device, options.runs)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if device == "cpu":
        memory = pd.DataFrame(growth(size))
        print(memory.to_string(index=False, float_format="{:.3g}".format))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
