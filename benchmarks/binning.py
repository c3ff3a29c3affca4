"""What counting the spikes of many units in the bins of many presentations costs.

    python benchmarks/binning.py [--quick] [--out binning.csv]

Beside the AllenSDK's histogram, numpy's searchsorted on the edges of every presentation, and
numpy's histogram in each presentation. All do the same: presentations of 0.25 s follow each other
in stretches, other stimuli come between. Each row of the table is ours beside one peer: median
wall time in the same process, and the ratio. Peers that go unit by unit and take long are timed on
some units, and their time is scaled up; counts of these units are compared. The floor is reading
the spike times once and writing the counts once, timed in the same run. Memory is the peak of a
process of its own, less the spike times and the counts, over the counts. The AllenSDK is optional.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from visualcortex.spikes import SpikeTimes, count_spikes

SESSION = 9600.0  # s


class Size(NamedTuple):
    """Sizes of one problem."""

    n_units: int
    n_spikes: float
    n_presentations: int = 5949
    n_bins: int = 25


SIZES = (Size(600, 28.7e6), Size(600, 28.7e6, n_bins=1), Size(2000, 1e8, n_bins=5))
QUICK = (Size(40, 1e5, 300), Size(40, 1e5, 300, 1))


class Problem(NamedTuple):
    """Spike times, onsets of the presentations and edges of the bins."""

    spikes: SpikeTimes
    onsets: np.ndarray
    edges: np.ndarray


def problem_of(size: Size) -> Problem:
    """Draw units of log-normal rates, and presentations in three stretches of the session."""
    rng = np.random.default_rng(0)
    rates = rng.lognormal(size=size.n_units)
    numbers = rng.poisson(size.n_spikes * rates / rates.sum())
    spikes = SpikeTimes.from_lists([np.sort(rng.uniform(0, SESSION, n)) for n in numbers])
    stretches = np.array_split(np.arange(size.n_presentations), 3)
    starts = (1000, 4000, 8000)  # s
    onsets = np.concatenate(
        [start + 0.25 * (rows - rows[0]) for start, rows in zip(starts, stretches, strict=True)]
    )
    return Problem(spikes, onsets, np.linspace(0, 0.25, size.n_bins + 1))


def searched(problem: Problem, units: range) -> np.ndarray:
    """Look up every edge once among the spikes of each unit."""
    every = problem.onsets[:, None] + problem.edges
    counts = np.empty((len(every), len(problem.edges) - 1, len(units)), np.float32)
    for k in units:
        counts[:, :, k] = np.diff(np.searchsorted(problem.spikes.of(k), every), axis=1)
    return counts


def sdk_histogram(problem: Problem, units: range) -> np.ndarray:
    """Count as `EcephysSession.presentationwise_spike_counts` does, both edges included."""
    from allensdk.brain_observatory.ecephys import ecephys_session as peer

    domain = peer.build_time_window_domain(problem.edges, problem.onsets)
    times = {k: problem.spikes.of(k) for k in units}
    return peer.build_spike_histogram(domain, times, np.array(units))


def histograms(problem: Problem, units: range) -> np.ndarray:
    """Call numpy's histogram for each unit and presentation, as a plain loop would."""
    counts = np.empty((len(problem.onsets), len(problem.edges) - 1, len(units)), np.float32)
    for k in units:
        times = problem.spikes.of(k)
        for p, onset in enumerate(problem.onsets):
            edges = onset + problem.edges
            first, last = np.searchsorted(times, edges[[0, -1]])
            counts[p, :, k] = np.histogram(times[first:last], edges)[0]
    return counts


def peers() -> dict[str, tuple[Callable[[Problem, range], np.ndarray], int]]:
    """Return the other ways, and on how many units each is timed."""
    ways = {"numpy searchsorted": (searched, 100), "numpy histogram": (histograms, 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = importlib.util.find_spec("allensdk") is not None
        if found:
            importlib.import_module("allensdk.brain_observatory.ecephys.ecephys_session")
    if not found:
        print("the AllenSDK is not installed: its rows are left out")
        return ways
    return {"AllenSDK histogram": (sdk_histogram, 50)} | ways


def least(problem: Problem) -> float:
    """Read the spike times once and write as many numbers as there are counts."""
    n_counts = len(problem.onsets) * (len(problem.edges) - 1) * problem.spikes.n_units
    written = np.empty(n_counts, np.float32)
    written.fill(1)
    return float(problem.spikes.times.sum() + written[-1])


def timed(call: Callable[[], Any], n_runs: int, slow: float = 10.0) -> tuple[float, float, Any]:
    """Median and longest wall time of some calls after a first one, or the first if it is slow."""
    start = time.perf_counter()
    result = call()
    seconds = [time.perf_counter() - start]
    if seconds[0] < slow:
        seconds = []
        for _ in range(n_runs):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), max(seconds), result


def compare(sizes: tuple[Size, ...], n_runs: int) -> pd.DataFrame:
    """Time ours beside every peer at every size."""
    rows, ways = [], peers()
    for size in sizes:
        problem = problem_of(size)
        floor, _, _ = timed(lambda p=problem: least(p), n_runs)
        ours, longest, counts = timed(lambda p=problem: count_spikes(*p), n_runs)
        task = (
            f"{size.n_units} units, {len(problem.spikes.times) / 1e6:.3g} M spikes, "
            f"{size.n_presentations} x {size.n_bins} bins"
        )
        for name, (way, n_timed) in ways.items():
            units = range(min(n_timed, size.n_units))
            part, _, theirs = timed(lambda w=way, p=problem, u=units: w(p, u), n_runs)
            peer = part * size.n_units / len(units)
            rows.append(
                {"task": task, "peer": name, "ours_s": ours, "longest_s": longest}
                | {"peer_s": peer, "ratio": peer / ours, "timed_units": len(units)}
                | {"agreement": float(np.mean(theirs == counts[:, :, : len(units)]))}
                | {"floor_s": floor, "over_floor": ours / floor}
            )
            print(f"{task}: {name} {peer:.3g} s, ours {ours:.3g} s", flush=True)
    return pd.DataFrame(rows)


MEMORY = r"""
    import re, sys
    from pathlib import Path
    import numpy as np
    from visualcortex.spikes import SpikeTimes, count_spikes
    def peak():
        # not getrusage: its peak is inherited from the parent process
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    n_units, n_spikes, n_presentations, n_bins = (int(float(word)) for word in sys.argv[1:])
    rng = np.random.default_rng(0)
    # what the first call loads of the compiler is not the counting's doing
    small = SpikeTimes.from_lists([np.arange(9.0)])
    count_spikes(small, np.zeros(1), np.array([0, 1.0]))
    each = n_spikes // n_units
    times = np.linspace(0, 9600, each * n_units).reshape(each, n_units).T.ravel()
    spikes = SpikeTimes(times, np.arange(1, n_units + 1) * each)
    before = peak()
    edges = np.linspace(0, 0.25, n_bins + 1)
    counts = count_spikes(spikes, 0.25 * np.arange(n_presentations), edges)
    print((peak() - before) / counts.nbytes)
"""


def peak_memory(sizes: tuple[Size, ...]) -> Iterator[str]:
    """Peak memory of counting beside the spike times, in the size of the counts (Linux)."""
    for size in sizes:
        command = [sys.executable, "-c", textwrap.dedent(MEMORY), *map(str, size)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        yield f"peak memory, {size.n_units} units, {size.n_bins} bins: {float(run.stdout):.2f} x"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    sizes = QUICK if options.quick else SIZES
    table = compare(sizes, options.runs)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    for line in peak_memory(sizes):
        print(line, flush=True)
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
