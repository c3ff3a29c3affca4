"""What multi-target ridge and partial least squares cost, beside himalaya and scikit-learn.

    python benchmarks/ridge.py [--quick] [--device cuda] [--features steep] [--out ridge.csv]

All choose a penalty for each target out of the same ten, by the same folds or by leaving out one
row, and are then fitted again to all rows. Each row of the table is ours beside one peer: median
wall time in the same process, and the ratio. The floor is the product of the features and one
symmetric eigendecomposition of it, in float32, timed in the same run. "white" features are well
conditioned; "steep" ones, like those of deep networks, make ours go on in float64. himalaya is
optional. Memory is the peak of a process of its own that holds the features, over their size.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit

from visualcortex.evaluation import shuffled_folds
from visualcortex.models.pls import KernelPLS
from visualcortex.models.ridge import ALPHAS, MultiTargetRidge
from visualcortex.training import choose_device


@dataclass(frozen=True)
class Size:
    """Sizes of the problem."""

    n_rows: int = 2592
    n_new: int = 288
    n_targets: int = 168
    n_features: tuple[int, ...] = (1000, 4096, 25_088)
    n_components: int = 25
    n_folds: int = 5


QUICK = Size(300, 50, 20, (100, 400, 1000), 5)


class Problem(NamedTuple):
    """Rows to fit, rows to predict, and folds of the former."""

    x: np.ndarray
    y: np.ndarray
    new: np.ndarray
    folds: np.ndarray


class Fitted(NamedTuple):
    """Chosen penalties, or none, and predictions of new rows."""

    alphas: np.ndarray | None
    predicted: np.ndarray


class Task(NamedTuple):
    """Something that is done by us and by peers; and the spread of the targets, (N,)."""

    name: str
    spread: np.ndarray
    ours: Callable[[], Fitted]
    peers: dict[str, Callable[[], Fitted]]
    floor: Callable[[], Any]


def problem_of(size: Size, n_features: int, kind: str) -> Problem:
    """Draw features, white or of a power law about a mean, and targets from clear to noisy."""
    rng = np.random.default_rng(0)
    n = size.n_rows + size.n_new
    x = rng.standard_normal((n, n_features), dtype=np.float32)
    if kind == "steep":
        # variances as the ranks to the power of -2: six decades over a thousand features
        x *= 10 / np.arange(1, n_features + 1, dtype=np.float32)
        x += 10
    weights = rng.standard_normal((n_features, size.n_targets), dtype=np.float32)
    signal = (x - x.mean(axis=0)) @ weights
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    y = signal / signal.std(axis=0) + np.linspace(0.2, 3, size.n_targets) * noise
    y, rows = y.astype(np.float32), slice(size.n_rows)
    folds = shuffled_folds(np.zeros(size.n_rows), size.n_folds, rng=rng)
    return Problem(x[rows], y[rows], x[size.n_rows :], folds)


def ours(problem: Problem, folds: np.ndarray | None, device: str) -> Fitted:
    """Fit this library's."""
    model = MultiTargetRidge(folds=folds, device=device).fit(problem.x, problem.y)
    return Fitted(model.alphas_, model.predict(problem.new))


def scikit_learn(problem: Problem) -> Fitted:
    """Fit scikit-learn's, leaving out one row at a time; it computes in float64."""
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(problem.x, problem.y)
    return Fitted(model.alpha_, model.predict(problem.new))


def himalaya(problem: Problem, kernel: bool, backend: str) -> Fitted:
    """Fit himalaya's, by folds, to centred features: in float32 a mean costs its kernels digits."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV as FoldedRidgeCV

    given = set_backend(backend)
    mean = problem.x.mean(axis=0)
    x, y, new = (given.asarray(a) for a in (problem.x - mean, problem.y, problem.new - mean))
    settings = {"alphas": np.array(ALPHAS), "fit_intercept": True}
    settings["cv"] = PredefinedSplit(problem.folds)
    model = (KernelRidgeCV if kernel else FoldedRidgeCV)(**settings).fit(x, y)
    return Fitted(given.to_numpy(model.best_alphas_), given.to_numpy(model.predict(new)))


def himalaya_ways(problem: Problem, device: str) -> dict[str, Callable[[], Fitted]]:
    """Return himalaya's solvers on each backend, the primal one where it is advised."""
    if importlib.util.find_spec("himalaya") is None:
        print("himalaya is not installed: its rows are left out (pip install himalaya)")
        return {}
    ways = {}
    for backend in ("numpy", "torch_cuda" if device == "cuda" else "torch"):
        for kernel, name in ((False, "RidgeCV"), (True, "KernelRidgeCV")):
            if kernel or problem.x.shape[1] <= len(problem.x):
                ways[f"himalaya {name}, {backend}"] = (
                    lambda k=kernel, b=backend: himalaya(problem, k, b)
                )  # fmt: skip
    return ways


def least(problem: Problem, device: str) -> Callable[[], Any]:
    """Return the product of the features and its eigendecomposition, which nothing can avoid."""
    x = torch.from_numpy(problem.x).to(device)

    def both() -> torch.Tensor:
        gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
        return torch.linalg.eigh(gram).eigenvalues.sum().item()

    return both


def pls_ways(problem: Problem, size: Size) -> dict[str, Callable[[], Fitted]]:
    """Scikit-learn's partial least squares: as it comes, and run until it converges."""

    def fitted(**settings: Any) -> Fitted:
        model = PLSRegression(size.n_components, scale=False, **settings)
        return Fitted(None, model.fit(problem.x, problem.y).predict(problem.new))

    return {
        "scikit-learn": fitted,
        "scikit-learn, tolerance 1e-16": lambda: fitted(tol=1e-16, max_iter=20_000),
    }


def tasks_of(size: Size, kind: str, device: str) -> Iterator[Task]:
    """Ridge by folds and by single rows for each number of features, and least squares."""
    for n_features in size.n_features:
        problem = problem_of(size, n_features, kind)
        floor = least(problem, device)
        by_folds = himalaya_ways(problem, device)
        spread = problem.y.std(axis=0)
        yield Task(
            f"ridge, {size.n_folds} folds, {n_features} features", spread,
            lambda p=problem: ours(p, p.folds, device), by_folds, floor,
        )  # fmt: skip
        yield Task(
            f"ridge, each row left out, {n_features} features", spread,
            lambda p=problem: ours(p, None, device),
            {"scikit-learn RidgeCV": lambda p=problem: scikit_learn(p)}, floor,
        )  # fmt: skip
    problem = problem_of(size, size.n_features[0], "steep")

    def pls() -> Fitted:
        model = KernelPLS(size.n_components, device=device).fit(problem.x, problem.y)
        return Fitted(None, model.predict(problem.new))

    x = torch.from_numpy(problem.x).to(device)
    direction, scores = x[0].clone(), x[:, 0].clone()

    def passes() -> float:
        total = (x.T @ x[:, : size.n_targets]).sum()
        for _ in range(size.n_components):
            total += (x @ direction).sum() + (scores @ x).sum()
        return total.item()

    name = f"partial least squares, {size.n_components} components, {x.shape[1]} features"
    yield Task(name, problem.y.std(axis=0), pls, pls_ways(problem, size), passes)


def timed(call: Callable[[], Any], n_runs: int, slow: float = 10.0) -> tuple[float, Any]:
    """Median wall time of some calls after a first one, or the first one's if that is slow."""
    start = time.perf_counter()
    result = call()
    seconds = [time.perf_counter() - start]
    if seconds[0] < slow:
        seconds = []
        for _ in range(n_runs):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def agreement(mine: Fitted, peer: Fitted, spread: np.ndarray) -> dict[str, float]:
    """Share of targets of the same penalty, and how far apart these are, in their spreads."""
    same = np.full(mine.predicted.shape[1], True)
    if mine.alphas is not None:
        same = np.isclose(mine.alphas, peer.alphas)
    apart = np.abs(mine.predicted - peer.predicted) / spread
    return {"same_alphas": float(same.mean()), "apart": float(apart[:, same].max(initial=0))}


def compare(size: Size, kind: str, device: str, n_runs: int) -> pd.DataFrame:
    """Time every task beside every peer, the quickest of them first."""
    rows = []
    for task in tasks_of(size, kind, device):
        floor, _ = timed(task.floor, n_runs)
        seconds, mine = timed(task.ours, n_runs, slow=60)
        found = []
        for name, way in task.peers.items() or [("none", None)]:
            row = {"task": task.name, "peer": name, "ours_s": seconds}
            if way is not None:
                peer, fitted = timed(way, n_runs)
                row |= {"peer_s": peer, "ratio": peer / seconds}
                row |= agreement(mine, fitted, task.spread)
            found.append(row | {"floor_s": floor, "over_floor": seconds / floor})
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else v for v in row.values()))
            sys.stdout.flush()
        rows += sorted(found, key=lambda row: row.get("peer_s", 0))
    return pd.DataFrame(rows)


MEMORY = r"""
    import re, sys
    from pathlib import Path
    import numpy as np
    from visualcortex.models.ridge import MultiTargetRidge
    def peak():
        # not getrusage: its peak is inherited from the parent process
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    folder, folds = sys.argv[1], None if sys.argv[2] == "rows" else 5
    # what the first call loads of torch is not the kernels' doing
    small = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    MultiTargetRidge(folds=folds, device="cpu").fit(small, small)
    before = peak()
    x, y = np.load(folder + "/x.npy"), np.load(folder + "/y.npy")
    MultiTargetRidge(folds=folds, device="cpu").fit(x, y)
    print(peak() - before)
"""


def peak_memory(size: Size, kind: str) -> Iterator[str]:
    """Peak memory of a fit on the CPU, features included, in their size (Linux)."""
    for n_features in size.n_features:
        problem = problem_of(size, n_features, kind)
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", problem.x)
            np.save(f"{folder}/y.npy", problem.y)
            for way in ("folds", "rows"):
                command = [sys.executable, "-c", textwrap.dedent(MEMORY), folder, way]
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                used, side = float(run.stdout), min(size.n_rows, n_features)
                beside = (used - problem.x.nbytes) / (4 * side**2)
                yield (
                    f"peak memory, {n_features} features, held out by {way}: "
                    f"{used / problem.x.nbytes:.2f} x the features; beside them "
                    f"{beside:.1f} x {side} x {side} float32"
                )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--features", choices=["white", "steep"], default="white")
    parser.add_argument("--device", default="cpu", help="where ours runs, and himalaya's torch")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    size, device = QUICK if options.quick else Size(), choose_device(options.device).type
    print(f"{options.features} features, {device}, {torch.get_num_threads()} threads")
    table = compare(size, options.features, device, options.runs)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if device == "cpu":
        for line in peak_memory(size, options.features):
            print(line, flush=True)
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
