"""What a search costs beyond its trials, with each engine, beside plain `optuna.Study.optimize`.

    python benchmarks/tuning.py [--trials 40] [--steps 5] [--repeats 5] [--out tuning.csv]

Trials do nothing but report: the time of a trial is what the engine and the log cost. Engines take
turns, all in one process, and the table holds medians over turns. Ray runs already when its turns
begin; what its start takes stands in a row of its own. Trials of Ray run one at a time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd

from visualcortex.tuning import OnRay, search
from visualcortex.tuning_ray import load_ray, started

ONE = OnRay(n_parallel=1)


def make(n_steps: int) -> tuple[Callable, Callable]:
    """Return a space of five parameters, and an objective that reports and does nothing."""

    def space(trial: optuna.Trial) -> dict[str, object]:
        """Five numbers."""
        return {name: trial.suggest_float(name, 0.0, 1.0) for name in "abcde"}

    def objective(settings: dict[str, float], report: Callable) -> float:
        """Report the same loss after every step, so that no trial is ended early."""
        for step in range(1, n_steps + 1):
            report(step, 1.0)
        return settings["a"]

    return space, objective


def plain(space: Callable, objective: Callable, n_trials: int) -> None:
    """Search as Optuna's manual does."""
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )

    def loss(trial: optuna.Trial) -> float:
        """Loss of a trial, which may be ended after each report."""

        def report(step: int, value: float) -> None:
            """Tell Optuna."""
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        return objective(space(trial), report)

    study.optimize(loss, n_trials=n_trials)


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def ways(n_trials: int, n_steps: int) -> dict[str, Callable[[], object]]:
    """Return the same search in each way; with a folder, one of its own each time."""
    space, objective = make(n_steps)

    def ours(engine: str, kept: bool) -> None:
        """One search of this library."""
        with tempfile.TemporaryDirectory() as folder:
            how = {"engine": engine, "on_ray": ONE, "storage": folder if kept else None}
            search(space, objective, n_trials=n_trials, progress=False, **how)

    return {
        "plain Optuna": lambda: plain(space, objective, n_trials),
        "optuna": lambda: ours("optuna", False),
        "optuna, kept in a folder": lambda: ours("optuna", True),
        "ray, kept in a folder": lambda: ours("ray", True),
    }


def measure(n_trials: int, n_steps: int, n_repeats: int) -> pd.DataFrame:
    """One row a way: median milliseconds a trial, and how many times that of plain Optuna."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seconds: dict[str, list[float]] = {}
    begun = time.perf_counter()
    with started(load_ray(), ONE):
        start = time.perf_counter() - begun
        for _ in range(n_repeats):
            for name, call in ways(n_trials, n_steps).items():
                seconds.setdefault(name, []).append(timed(call))
    medians = {name: 1000 * statistics.median(s) / n_trials for name, s in seconds.items()}
    table = pd.DataFrame({"ms_a_trial": medians})
    table["times_plain"] = table["ms_a_trial"] / table["ms_a_trial"]["plain Optuna"]
    table.loc["start of Ray", "ms_a_trial"] = 1000 * start
    return table.rename_axis("way")


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = measure(options.trials, options.steps, options.repeats)
    print(table.round(2).to_string())
    if options.out is not None:
        table.to_csv(options.out)


if __name__ == "__main__":
    main()
