"""What correlograms and couplings of all pairs cost, beside the usual pair after pair.

    python benchmarks/connectivity.py [--quick] [--out connectivity.csv]

The peers do one pair, or one target, at a time; some are timed and the whole is extrapolated from
their median, since all would take up to half an hour. Elephant (raw correlograms, no jitter) is
optional. "apart" is the largest difference over the pairs that both did, in coincidences (or, of
weights, as they are). The floor is reading the spike trains and as many numbers as there are
coincidences once, with the jitter also the matrix products of window counts in float64; of the
model, the two products with its inputs that a step needs, times its steps, in float32. Memory is
the peak of a process of its own, less that before the call, over the size of the result.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import PoissonRegressor

from visualcortex.connectivity import (
    BinnedSpikes,
    CouplingGLM,
    cross_correlograms,
    jitter_corrected,
    two_sided,
)

WINDOW = 25
WIDTH = 5  # bins of 1 ms that the model's are made of
ALPHA = 1e-4


@dataclass(frozen=True)
class Size:
    """Sizes of the problem."""

    n_trials: int = 5900
    n_bins: int = 250
    n_neurons: int = 100
    max_lag: int = 100
    n_lags: int = 3
    n_timed: int = 5


QUICK = Size(200, 100, 12, 50, 2, 2)


class Task(NamedTuple):
    """What is done at once by us and one by one by peers, and how often they would have to."""

    name: str
    ours: Callable[[], np.ndarray]
    one_of: Callable[[np.ndarray, int], np.ndarray]
    peers: dict[str, Callable[[int], np.ndarray]]
    n_times: int
    floor: Callable[[], Any]


def draw(size: Size) -> np.ndarray:
    """Draw spike trains (trial, bin, neuron) of 2 to 30 Hz whose rates vary with the stimulus."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(2, 4, size.n_neurons) / 1000
    shape = size.n_trials, size.n_bins, size.n_neurons
    gain = 1 + np.sin(np.arange(size.n_bins) / 30)[None, :, None]
    return (rng.random(shape, dtype=np.float32) < rates * gain).astype(np.uint8)


def pair(k: int, n_neurons: int) -> tuple[int, int]:
    """Return the k-th pair of different neurons."""
    return k % n_neurons, (k + 1) % n_neurons


def elephant_ways(trains: np.ndarray, max_lag: int) -> dict[str, Callable[[int], np.ndarray]]:
    """Elephant's histogram of one pair, trials behind each other with a gap; binned before."""
    if importlib.util.find_spec("elephant") is None:
        print("Elephant is not installed: its row is left out (pip install elephant)")
        return {}
    import neo
    import quantities as pq
    from elephant.conversion import BinnedSpikeTrain
    from elephant.spike_train_correlation import cross_correlation_histogram

    n_trials, n_bins, n = trains.shape
    ends = n_trials * (n_bins + max_lag) * pq.ms
    binned = {}

    def train(neuron: int) -> BinnedSpikeTrain:
        if neuron not in binned:
            trial, time = np.nonzero(trains[:, :, neuron])
            at = (trial * (n_bins + max_lag) + time + 0.5) * pq.ms
            binned[neuron] = BinnedSpikeTrain(neo.SpikeTrain(at, ends), bin_size=1 * pq.ms)
        return binned[neuron]

    def one(k: int) -> np.ndarray:
        i, j = pair(k, n)
        window = [-max_lag, max_lag]
        return cross_correlation_histogram(train(i), train(j), window)[0].magnitude.ravel()

    for k in range(n):
        train(k)
    return {"elephant cross_correlation_histogram": one}


def fourier(trains: np.ndarray, max_lag: int) -> Callable[[int], np.ndarray]:
    """Correlogram of one pair by Fourier transforms of all its trials, less that by jitter."""
    n_bins, n = trains.shape[1:]
    n_padded = n_bins + max_lag

    def correlated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        first, second = (np.fft.rfft(part, n_padded, axis=1) for part in (x, y))
        lags = np.fft.irfft(np.conj(first) * second, n_padded, axis=1).sum(axis=0)
        return np.concatenate([lags[-max_lag:], lags[: max_lag + 1]])

    def smooth(x: np.ndarray) -> np.ndarray:
        means = x.reshape(len(x), -1, WINDOW).mean(axis=2)
        return np.repeat(means, WINDOW, axis=1)

    def one(k: int) -> np.ndarray:
        x, y = (trains[:, :, neuron].astype(float) for neuron in pair(k, n))
        return correlated(x, y) - correlated(smooth(x), smooth(y))

    return one


def least(trains: np.ndarray, spikes: BinnedSpikes, max_lag: int, jitter: bool) -> Callable:
    """Return what no way can do without: reading, adding coincidences, products of windows."""
    n = spikes.n_neurons
    found = np.ones(int(cross_correlograms(spikes, max_lag).sum()))
    windows = trains.reshape(-1, WINDOW, n).sum(axis=1, dtype=np.float64)

    def floor() -> float:
        total = trains.sum() + found.sum()
        for _ in range(max_lag // WINDOW + 2 if jitter else 0):
            total += (windows.T @ windows)[0, 0]
        return total

    return floor


def correlogram_tasks(size: Size) -> Iterator[Task]:
    """Raw and jitter-corrected correlograms; from the trains on, both."""
    trains, n, lag = draw(size), size.n_neurons, size.max_lag
    spikes = BinnedSpikes.from_trials(trains)
    n_pairs = n * (n - 1) // 2

    def one_of(result: np.ndarray, k: int) -> np.ndarray:
        i, j = pair(k, n)
        return two_sided(result[np.ix_([i, j], [i, j])])[0, 1]

    yield Task(
        f"raw, {n} neurons", lambda: cross_correlograms(BinnedSpikes.from_trials(trains), lag),
        one_of, elephant_ways(trains, lag), n_pairs, least(trains, spikes, lag, False),
    )  # fmt: skip
    yield Task(
        f"jitter-corrected, {n} neurons",
        lambda: jitter_corrected(BinnedSpikes.from_trials(trains), max_lag=lag, scale="counts"),
        one_of, {"numpy FFT": fourier(trains, lag)}, n_pairs, least(trains, spikes, lag, True),
    )  # fmt: skip


def model_task(size: Size) -> Task:
    """Poisson model of all targets, beside scikit-learn's of one after the other."""
    # a fifth of the trials: of all, scikit-learn takes minutes a target
    trains, n, n_lags = draw(size)[: size.n_trials // 5], size.n_neurons, size.n_lags
    counts = trains.reshape(len(trains), -1, WIDTH, n).sum(axis=2, dtype=np.float32)
    n_time = counts.shape[1]
    past = [counts[:, n_lags - k : n_time - k].reshape(-1, n) for k in range(1, n_lags + 1)]
    inputs, answers = np.concatenate(past, axis=1), counts[:, n_lags:].reshape(-1, n)
    model = CouplingGLM(n_lags, alpha=ALPHA, tolerance=1e-6, device="cpu")

    def scikit_learn(target: int) -> np.ndarray:
        peer = PoissonRegressor(alpha=ALPHA, tol=1e-6, max_iter=1000)
        return peer.fit(inputs, answers[:, target]).coef_

    x, y = torch.from_numpy(inputs), torch.from_numpy(answers)
    weights = torch.zeros(inputs.shape[1], n)

    def floor() -> float:
        return sum(float((x @ weights).sum() + (x.T @ y).sum()) for _ in range(model.n_steps_))

    return Task(
        f"Poisson model, {n} neurons, {n_lags} lags", lambda: model.fit(counts).coupling_,
        lambda result, k: result[:, :, k].ravel(), {"scikit-learn PoissonRegressor": scikit_learn},
        n, floor,
    )  # fmt: skip


def seconds_of(call: Callable[[], Any], n_runs: int) -> tuple[float, Any]:
    """Median wall time of some calls after a first one, and what that returned."""
    result, times = call(), []
    for _ in range(n_runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), result


def compare(size: Size, n_runs: int) -> pd.DataFrame:
    """Time every task beside its peers."""
    rows = []
    for task in [*correlogram_tasks(size), model_task(size)]:
        ours, result = seconds_of(task.ours, n_runs)
        floor, _ = seconds_of(task.floor, n_runs)
        for name, one in task.peers.items():
            times, apart = [], 0.0
            for k in range(size.n_timed):
                start = time.perf_counter()
                found = one(k)
                times.append(time.perf_counter() - start)
                apart = max(apart, float(np.abs(found - task.one_of(result, k)).max()))
            each = float(np.median(times))
            row = {"task": task.name, "peer": name, "ours_s": ours, "peer_each_s": each}
            row |= {"peer_s": each * task.n_times, "ratio": each * task.n_times / ours}
            rows.append(row | {"apart": apart, "floor_s": floor, "over_floor": ours / floor})
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else v for v in rows[-1].values()))
            sys.stdout.flush()
    return pd.DataFrame(rows)


MEMORY = r"""
    import re, sys
    from pathlib import Path
    import numpy as np
    from visualcortex.connectivity import BinnedSpikes, cross_correlograms, jitter_corrected
    def peak():
        # not getrusage: its peak is inherited from the parent process
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    n, n_trials, max_lag = (int(word) for word in sys.argv[1:])
    few = np.ones((2, 250, 3), np.uint8)
    jitter_corrected(BinnedSpikes.from_trials(few), max_lag=50)  # what the first call loads
    rng = np.random.default_rng(0)
    trains = np.stack([rng.random((250, n)) < 0.008 for _ in range(n_trials)])
    spikes = BinnedSpikes.from_trials(trains)
    before = peak()
    size = cross_correlograms(spikes, max_lag).nbytes
    raw = peak() - before
    jitter_corrected(spikes, max_lag=max_lag)
    print(raw / size, (peak() - before) / size, size / 1e6)
"""


def peak_memory(size: Size) -> str:
    """Peak memory of both kinds of correlograms, in sizes of the result (Linux)."""
    words = [str(word) for word in (2 * size.n_neurons, size.n_trials // 4, size.max_lag)]
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), *words]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    raw, corrected, megabytes = re.findall(r"[\d.]+", run.stdout)
    return (
        f"peak memory, {words[0]} neurons: raw {float(raw):.2f}, jitter-corrected "
        f"{float(corrected):.2f} x the result of {float(megabytes):.1f} MB"
    )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of ours")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="The 'copy' argument in Quantity")
    size = QUICK if options.quick else Size()
    print(f"{torch.get_num_threads()} threads of torch, {numba.get_num_threads()} of numba")
    table = compare(size, options.runs)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    print(peak_memory(size))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
