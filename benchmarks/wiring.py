"""How the time and memory of a fit of the wiring grow with neurons and minutes.

    python benchmarks/wiring.py [--quick] [--out wiring.csv] [--threads 1] [--only spiking]

Each fit is a process of its own, which is told one simulated network, fits once to compile, on its
first ten seconds, and is then timed over the whole; "peak_mb" is the most memory of the process,
imports and the network included, "growth_mb" that beyond what it had before the fit. The spiking
network, the coupling filters and the correlograms get spikes, the spectral network frames of 33 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from visualcortex.connectivity import (
    CorrelogramPeaks,
    CouplingFilters,
    SpectralNetwork,
    synapse_auroc,
)
from visualcortex.connectivity.observed import observed_bins
from visualcortex.models.spiking_fit import SpikingNetwork
from visualcortex.simulators.wired_network import WiredNetwork

FRAME = 1 / 30  # s
METHODS: dict[str, Callable[[], BaseEstimator]] = {
    "correlograms": CorrelogramPeaks,
    "filters": CouplingFilters,
    "spiking": SpikingNetwork,
    "spectral": lambda: SpectralNetwork(step=FRAME),
}


def memory() -> float:
    """Most memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit_once(name: str, n_neurons: int, minutes: float) -> dict[str, float | str]:
    """Time one fit in this process."""
    network = WiredNetwork(n_neurons=n_neurons, duration=60 * minutes).simulate(1)
    method, spikes = METHODS[name](), network.spikes
    warm = min(60.0, 30 * minutes)
    activity = observed_bins(spikes, FRAME, 0.0, 60 * minutes) if name == "spectral" else spikes
    clone(method).fit(activity, stop=warm)
    before, wall, cpu = memory(), time.perf_counter(), time.process_time()
    fitted = method.fit(activity)
    took = {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    found = synapse_auroc(fitted.scores_, network.truth.weights)
    return {
        "method": name,
        "neurons": n_neurons,
        "minutes": minutes,
        "spikes": float(len(spikes.times)),
        **took,
        "peak_mb": memory(),
        "growth_mb": memory() - before,
        "auroc": found,
    }


def apart(name: str, n_neurons: int, minutes: float, threads: int) -> dict[str, float | str]:
    """Time one fit in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(n_neurons), str(minutes)]
    few = {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    said = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **few}
    )
    if said.returncode:
        last = said.stderr.strip().splitlines()[-1:]
        return {"method": name, "neurons": n_neurons, "minutes": minutes, "failed": "".join(last)}
    return json.loads(said.stdout.splitlines()[-1])


def main() -> None:
    """Go through sizes, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--out", type=Path, help="table of all fits, CSV")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, n_neurons, minutes = options.one
        print(json.dumps(fit_once(name, int(n_neurons), float(minutes))))
        return
    sizes = [(20, 10.0), (40, 10.0), (80, 10.0), (160, 10.0), (40, 2.5), (40, 5.0), (40, 20.0)]
    if options.quick:
        sizes = [(20, 1.0), (20, 2.0)]
    rows = [apart(name, *size, options.threads) for name in options.only for size in sizes]
    table = pd.DataFrame(rows)
    numbers = table.select_dtypes(np.number).columns
    print(table.assign(**{k: table[k].round(3) for k in numbers}).to_string(index=False))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
