"""What inferring spikes from calcium traces costs, beside oasis-deconv.

    python benchmarks/deconvolution.py [--quick] [--out deconvolution.csv] [--threads 1 2]

Simulated traces of order one (and two): a spike in a hundred frames, decay .95, noise .3 of a
spike's size. oasis-deconv goes trace by trace; some traces are timed and their time is scaled up.
It is optional, and only this script imports it: `pip install oasis-deconv` in the same environment.
"given" is with known decay, baseline and penalty, "estimated" with none of them and the penalty
that leaves the noise, for which the peer is `deconvolve(penalty=1)`. "apart" is the largest
difference of calcium over the traces that both did, in spike sizes; "alike" is the correlation of
spikes, and "truth" that of ours with the known ones (in both, sums of ten frames). What is
estimated differs by method, so that there "apart" is no error. The floor is reading the traces
once and writing calcium and spikes once, timed in the same run.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pandas as pd
import torch
from scipy.signal import lfilter

from visualcortex.models.deconvolution import Deconvolved, deconvolve

ROOTS = {1: (0.95, 0.0), 2: (0.95, 0.5)}
BASELINE, PENALTY, NOISE, RATE = 2.0, 0.5, 0.3, 0.01


class Problem(NamedTuple):
    """Traces, and the spikes and coefficients that they were made of."""

    traces: np.ndarray
    spikes: np.ndarray
    coefficients: tuple[float, ...]


def problem_of(order: int, n_neurons: int, n_frames: int) -> Problem:
    """Simulate traces in float32 whose largest response to a spike is one."""
    rng = np.random.default_rng(0)
    decay, rise = ROOTS[order]
    model = (decay + rise, -decay * rise)[:order]
    spikes = rng.random((n_neurons, n_frames), np.float32) < RATE
    polynomial = [1, *(-g for g in model)]
    peak = lfilter([1], polynomial, np.eye(1, 100)[0]).max()
    traces = BASELINE + lfilter([1 / peak], polynomial, spikes, axis=1)
    traces += NOISE * rng.standard_normal(traces.shape, np.float32)
    return Problem(traces.astype(np.float32), spikes, model)


def options_of(task: str, problem: Problem) -> dict[str, Any]:
    """Return what our `deconvolve` is told."""
    order = len(problem.coefficients)
    if task == "given":
        return {
            "order": order,
            "decay": problem.coefficients,
            "baseline": BASELINE,
            "penalty": PENALTY,
        }
    return {"order": order}


def peer_of(task: str, order: int) -> tuple[str, Callable[[np.ndarray, tuple], Any]] | None:
    """Return the name of the peer's way to do a task, and a call for one trace."""
    if importlib.util.find_spec("oasis") is None:
        return None
    from oasis.functions import deconvolve as whole
    from oasis.oasis_methods import oasisAR1

    if task == "given":
        if order == 2:
            return None
        return "oasisAR1", lambda y, g: oasisAR1(y.astype(float) - BASELINE, g[0], lam=PENALTY)
    free = (None,) * order
    return f"deconvolve(g={free}, penalty=1)", lambda y, _: whole(
        y.astype(float), g=free, penalty=1
    )


def timed(call: Callable[[], Any], n_runs: int) -> tuple[float, float, Any]:
    """Median and longest wall time of some calls after a first one."""
    result, seconds = call(), []
    for _ in range(n_runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), max(seconds), result


def least(traces: np.ndarray) -> float:
    """Read traces once, and write as many numbers twice."""
    calcium, spikes = np.empty_like(traces), np.empty_like(traces)
    calcium.fill(1)
    spikes.fill(1)
    return float(traces.sum() + calcium[-1, -1] + spikes[-1, -1])


def alike(spikes: np.ndarray, other: np.ndarray) -> float:
    """Correlation of sums of ten frames, the first ten left out."""
    stop = spikes.shape[1] // 10 * 10
    sums = [x[:, 10:stop].reshape(len(x), -1, 10).sum(2).ravel() for x in (spikes, other)]
    return float(np.corrcoef(*sums)[0, 1])


def beside(found: Deconvolved, problem: Problem, task: str, n_timed: int) -> dict[str, float | str]:
    """Time the peer on some traces, and compare calcium and spikes."""
    peer = peer_of(task, len(problem.coefficients))
    if peer is None:
        return {"peer": "none"}
    name, call = peer
    part = problem.traces[:n_timed]

    def every() -> list[Any]:
        """Go trace by trace."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [call(trace, problem.coefficients)[:2] for trace in part]

    seconds, _, results = timed(every, 2)
    calcium, spikes = (np.array(values) for values in zip(*results, strict=True))
    apart = np.abs(calcium - found.calcium[:n_timed]).max()
    return {
        "peer": name,
        "peer_s": seconds * len(problem.traces) / len(part),
        "timed_traces": len(part),
        "apart": float(apart),
        "alike": alike(found.spikes[:n_timed], spikes),
    }


def compare(
    sizes: list[tuple[int, int, int]], threads: list[int], n_timed: int, n_runs: int
) -> pd.DataFrame:
    """Time ours with some numbers of threads, and the peer once."""
    rows = []
    for order, n_neurons, n_frames in sizes:
        problem = problem_of(order, n_neurons, n_frames)
        floor, _, _ = timed(lambda p=problem: least(p.traces), n_runs)
        for task in ("given", "estimated"):
            options = options_of(task, problem)
            other: dict[str, float | str] | None = None
            for n_threads in threads:
                numba.set_num_threads(n_threads)
                torch.set_num_threads(n_threads)
                ours, longest, found = timed(
                    lambda p=problem, o=options: deconvolve(p.traces, **o), n_runs
                )
                if other is None:
                    other = beside(found, problem, task, n_timed)
                row: dict[str, float | str] = {
                    "task": f"order {order}, {n_neurons} x {n_frames}, {task}",
                    "threads": n_threads,
                    "ours_s": ours,
                    "longest_s": longest,
                    "floor_s": floor,
                    "over_floor": ours / floor,
                    "truth": alike(found.spikes, problem.spikes),
                }
                rows.append(row | other | {"ratio": other.get("peer_s", np.nan) / ours})
                print(f"{row['task']}, {n_threads} threads: {ours:.3g} s", flush=True)
    return pd.DataFrame(rows)


def batched(n_neurons: int, n_frames: int, n_runs: int) -> None:
    """Time all neurons at once, on the GPU if there is one, beside the compiled loops."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    problem = problem_of(1, n_neurons, n_frames)
    for task in ("given", "estimated"):
        options = options_of(task, problem)
        one, _, found = timed(lambda o=options: deconvolve(problem.traces, **o), n_runs)
        other, _, again = timed(
            lambda o=options: deconvolve(problem.traces, batched=True, device=device, **o), n_runs
        )
        apart = np.abs(found.calcium - again.calcium).max()
        print(f"{task}: batched on {device} {other:.3g} s, compiled {one:.3g} s, {apart:.1e} apart")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    parser.add_argument("--timed", type=int, default=20, help="traces that the peer is timed on")
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="numbers of threads")
    parser.add_argument("--batched", action="store_true", help="time all neurons at once as well")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    if importlib.util.find_spec("oasis") is None:
        print("oasis-deconv is not installed: its columns are left out")
    sizes = [(1, 1000, 10000), (1, 200, 60000), (2, 100, 10000)]
    if options.quick:
        sizes, options.runs, options.timed = [(1, 20, 2000), (2, 4, 2000)], 1, 2
    threads = options.threads or sorted({1, numba.get_num_threads()})
    table = compare(sizes, threads, options.timed, options.runs)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if options.batched:
        batched(*sizes[0][1:], options.runs)
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
