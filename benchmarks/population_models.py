"""What fitting and sampling the population models costs: `python benchmarks/population_models.py`.

    python benchmarks/population_models.py [--quick] [--out population_models.csv]

Each task is timed in the library's way and in the plain way, a loop in numpy and scipy that does
the same. Loops are timed on a part of the work, and their time is scaled up. Median wall time after
a first call. `agreement` is the largest difference between what the two ways give, where both are
deterministic. A minute on an idle machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from visualcortex import load
from visualcortex.evaluation.splits import blocked_parts
from visualcortex.models.deconvolution import active_frames
from visualcortex.models.dichotomised_gaussian import DichotomisedGaussian, latent_correlation
from visualcortex.models.maximum_entropy import KPairwise


def timed(call: Callable[[], Any], n_runs: int) -> tuple[float, Any]:
    """Median wall time of some calls after a first one, and what the last gave."""
    result, seconds = call(), []
    for _ in range(n_runs):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def training_trials(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Active frames of the training trials of the default recording, and their stimuli."""
    recording = load("calcium_population", seed=seed)
    train = blocked_parts(recording.trials["session"], (0.6, 0.2, 0.2), n_rounds=4).train
    stimulus = recording.trials["stimulus"].to_numpy()
    return active_frames(recording.responses).to_numpy()[train], stimulus[train]


def solved_one_by_one(first: np.ndarray, second: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Latent correlation of each pair by root finding on scipy's bivariate normal distribution."""
    found = []
    for a, b, target in zip(first, second, wanted, strict=True):

        def excess(latent: float, a: float = a, b: float = b, target: float = target) -> float:
            """Covariance at a latent correlation less the wanted one."""
            both = multivariate_normal.cdf(norm.ppf([a, b]), cov=[[1, latent], [latent, 1]])
            return both - a * b - target

        found.append(brentq(excess, -0.969, 0.969))
    return np.array(found)


def gibbs_loop(model: KPairwise, n_frames: int, n_sweeps: int) -> np.ndarray:
    """Gibbs chains of the first stimulus, neuron by neuron, all chains at once in numpy."""
    rng = np.random.default_rng(0)
    fields, couplings, potential = model.fields_[0], model.couplings_, model.potential_
    states = (rng.random((n_frames, len(fields))) < 0.1).astype(float)
    for _ in range(n_sweeps):
        for i in range(len(fields)):
            others = (states.sum(axis=1) - states[:, i]).astype(int)
            odds = fields[i] + states @ couplings[i] + potential[others + 1] - potential[others]
            states[:, i] = rng.random(n_frames) < 1 / (1 + np.exp(-odds))
    return states


def pairs_task(n_pairs: int, n_looped: int, n_runs: int) -> dict[str, Any]:
    """Latent correlations of many pairs."""
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.01, 0.5, (2, n_pairs))
    wanted = rng.uniform(0, 0.5, n_pairs) * np.sqrt(first * second) * 0.2
    ours, found = timed(lambda: latent_correlation(first, second, wanted), n_runs)
    few = slice(n_looped)
    peer, looped = timed(lambda: solved_one_by_one(first[few], second[few], wanted[few]), 1)
    return {
        "task": f"latent correlation of {n_pairs} pairs",
        "ours_s": ours,
        "peer": "root of scipy's bivariate normal, pair by pair",
        "peer_s": peer * n_pairs / n_looped,
        "agreement": np.abs(looped - found[few]).max(),
    }


def model_tasks(quick: bool, n_runs: int) -> list[dict[str, Any]]:
    """Fit and sample the models at the size of the chapter."""
    activity, labels = training_trials(seed=1)
    asked = np.resize(np.unique(labels), 313)  # of 32 frames: 10,016
    size = f"{activity.shape[2]} neurons, {activity[..., 0].size} frames"
    steps = {"n_steps": 20} if quick else {}
    models = {
        "dichotomised Gaussian": DichotomisedGaussian(),
        "dichotomised Gaussian, temporal": DichotomisedGaussian(temporal=True),
        "k-pairwise": KPairwise(**steps),
        "pairwise": KPairwise(count_potential=False, **steps),
    }
    rows = []
    for name, model in models.items():
        fit, _ = timed(lambda m=model: m.fit(activity, labels), n_runs)
        draw, _ = timed(lambda m=model: m.sample(asked, seed=0), n_runs)
        rows.append({"task": f"fit {name}: {size}", "ours_s": fit})
        rows.append({"task": f"sample 10,016 frames, {name}", "ours_s": draw})
    chains = models["k-pairwise"]
    n_looped = 2 if quick else 6
    loop, _ = timed(lambda: gibbs_loop(chains, 10_016, n_looped), 1)
    rows[5] |= {"peer": "Gibbs in numpy, 60 sweeps", "peer_s": loop * 60 / n_looped}
    return rows


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    options = parser.parse_args()
    n_runs = 1 if options.quick else 5
    rows = [pairs_task(200 if options.quick else 1770, 3 if options.quick else 30, n_runs)]
    table = pd.DataFrame(rows + model_tasks(options.quick, n_runs))
    table["ratio"] = table["peer_s"] / table["ours_s"]
    print(table.to_string(index=False, float_format="{:.3g}".format, na_rep=""))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
