"""Choosing settings on validation data: a search space, trials that are cut short, a table."""

from __future__ import annotations

import importlib
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol

import optuna
import pandas as pd
from tqdm.auto import tqdm

Settings = dict[str, object]


class Space(Protocol):
    """A search space: what one trial tries, asked of `optuna.Trial` by name."""

    def __call__(self, trial: optuna.Trial) -> Settings:
        """Return the settings of a trial."""
        ...


# What Ray is told for a loss that is not finite: Optuna takes no NaN, Ray's logs no infinity.
ENDLESS = 1e30

# (settings, report) -> validation loss; report(step, loss) may end the trial
Objective = Callable[[Settings, Callable[[int, float], None]], float]


def search(
    space: Space,
    objective: Objective,
    *,
    n_trials: int,
    n_startup: int = 4,
    n_warmup: int = 1,
    first: Mapping[str, object] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> optuna.Study:
    """Look for the settings of the lowest validation loss (tree-structured Parzen estimator).

    A trial is ended early when its lowest loss up to some step is above the median of the losses
    that earlier trials had after that step (Golovin et al. 2017), those that were not ended early
    and number at least `n_startup`. So is one whose loss is not finite.

    Bias: the loss of the best trial is the lowest of many, too good an estimate of the loss on new
    data, the more so the more trials. Nothing of a test set may enter the objective.

    Parameters
    ----------
    space : callable
        Given a trial of Optuna, returns its settings.
    objective : callable
        Given settings and ``report(step, loss)``, to be called after every epoch, returns the
        validation loss, lower is better.
    n_trials : int
        Trials, those ended early included.
    n_startup : int
        Trials drawn at random and, if they do not diverge, never ended early; `first` is one.
    n_warmup : int
        First step after which a trial may be ended; steps are numbered as `objective` does.
    first : mapping, optional
        Parameters, by the names that `space` asks for, of the first trial.
    seed : int
        Of what is tried. No global random state is touched.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    optuna.Study
        Kept in memory; ``best_trial``, and see `trial_table`.

    Raises
    ------
    ValueError
        There is to be no trial, `first` has a name that `space` does not ask for, or every trial
        was ended early.

    References
    ----------
    Akiba, T. et al. (2019). Optuna: a next-generation hyperparameter optimization framework. KDD.
    Golovin, D. et al. (2017). Google Vizier: a service for black-box optimization. KDD.
    """
    if n_trials < 1:
        raise ValueError(f"n_trials must be at least 1; got {n_trials}")
    with tqdm(total=n_trials, desc="trials", unit="trial", disable=not progress) as bar, _quiet():
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=n_startup, n_warmup_steps=n_warmup),
        )
        if first is not None:
            study.enqueue_trial(dict(first))
        study.optimize(
            lambda trial: _loss(trial, space, objective, first or {}),
            n_trials=n_trials,
            callbacks=[lambda *_: bar.update()],
        )
    _check_finished([t.state is optuna.trial.TrialState.COMPLETE for t in study.trials])
    return study


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row a trial: "loss", "steps" taken, "state" (complete or pruned), its settings.

    The loss of a trial that was ended early is the last that it reported, NaN if there is none.
    """
    rows = [
        {
            "trial": trial.number,
            "loss": trial.value if trial.value is not None else _last(trial),
            "steps": len(trial.intermediate_values),
            "state": trial.state.name.lower(),
            **trial.params,
        }
        for trial in study.trials
    ]
    return pd.DataFrame(rows).set_index("trial")


def best_settings(space: Space, table: pd.DataFrame) -> Settings:
    """Return the settings of the finished trial of the lowest loss.

    Parameters
    ----------
    space : callable
        The space that was searched.
    table : pandas.DataFrame
        Of `trial_table` or `search_on_ray`.

    Raises
    ------
    ValueError
        No trial was finished.
    """
    finished = table[table["state"] == "complete"]
    if finished.empty:
        raise ValueError(
            f"expected a finished trial in the table; got {len(table)} of other states. Search on."
        )
    best = finished.loc[finished["loss"].idxmin()].drop(["loss", "steps", "state"])
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in best.items()}
    return space(optuna.trial.FixedTrial(plain))


def search_on_ray(
    space: Space,
    objective: Objective,
    *,
    n_trials: int,
    max_steps: int,
    storage: str | Path,
    grace: int = 1,
    reduction: int = 3,
    n_startup: int = 4,
    seed: int = 0,
    address: str | None = None,
    n_parallel: int = 2,
) -> pd.DataFrame:
    """Do as `search` does, with trials side by side under Ray Tune, on one machine or on many.

    The sampler is Optuna's too. Trials are ended early by asynchronous successive halving (Li et
    al. 2020): of the trials that reach a rung, step `grace` times a power of `reduction`, the
    best 1 / `reduction` so far go on.

    Ray takes some 20 s to begin and some seconds a trial; it pays for trials of minutes. What is
    tried depends on which trials finish first, so that a seed decides it for one trial at a time
    only. Bias: as `search`.

    Parameters
    ----------
    space, objective, n_trials, n_startup, seed
        As of `search`. Both functions are sent to other processes, by value or, where these can
        import them, by name.
    max_steps : int
        Last step that an objective reports.
    storage : path
        Folder for what Ray Tune writes; one that all machines see.
    grace : int
        First step after which a trial may be ended.
    reduction : int
        Of the trials, from rung to rung; at least 2.
    address : str, optional
        Of a running cluster, "auto" for the one of this machine. By default Ray begins here, for
        this search, and ends with it; if Ray runs in this process already, that is used.
    n_parallel : int
        Trials at a time, of one processor each.

    Returns
    -------
    pandas.DataFrame
        As `trial_table`.

    Raises
    ------
    ImportError
        Ray is not installed.
    ValueError
        A number is out of range, or every trial was ended early.
    RuntimeError
        The objective raised an error.

    References
    ----------
    Li, L. et al. (2020). A system for massively parallel hyperparameter tuning. MLSys.
    """
    low = min(n_trials, max_steps, grace, n_startup, n_parallel, reduction - 1)
    if low < 1 or grace > max_steps:
        raise ValueError(
            "need at least 1 trial, step, step of grace, starting trial and trial at a time, a "
            f"reduction of at least 2, and a grace within max_steps; got {n_trials}, {max_steps}, "
            f"{grace}, {n_startup}, {n_parallel} and {reduction}"
        )
    ray = _ray()
    scheduler = ray.tune.schedulers.ASHAScheduler(
        time_attr="step",
        max_t=max_steps + 1,  # or the last step would end a trial before its final loss
        grace_period=grace,
        reduction_factor=reduction,
    )
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup)
    with _quiet(), _started(ray, address, n_parallel):
        searcher = ray.tune.search.optuna.OptunaSearch(
            _Apart(space), metric="loss", mode="min", sampler=sampler
        )
        choices = ray.tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=n_trials,
            search_alg=searcher,
            scheduler=scheduler,
            max_concurrent_trials=n_parallel,
            reuse_actors=True,  # a new process takes seconds
        )
        results = _tuned(ray, objective, choices, Path(storage))
    return _ray_table(results, n_trials)


def _tuned(ray: ModuleType, objective: Objective, choices: object, storage: Path) -> object:
    """Run all trials; return their `ray.tune.ResultGrid`."""
    run = ray.tune.RunConfig(
        storage_path=str(storage.resolve()),
        failure_config=ray.tune.FailureConfig(fail_fast=True),
        verbose=0,
    )
    trainable = ray.tune.with_resources(_trainable(objective), {"cpu": 1})
    return ray.tune.Tuner(trainable, tune_config=choices, run_config=run).fit()


def _ray() -> ModuleType:
    """Return Ray with the parts that are used here, or say how to get it."""
    try:
        for part in ("tune", "tune.schedulers", "tune.search.optuna"):
            importlib.import_module(f"ray.{part}")
    except ImportError as error:
        raise ImportError(
            "search_on_ray needs Ray Tune, which is not installed or cannot be imported "
            f"({error}); pip install 'visualcortex-book[ray]', or use search"
        ) from error
    return importlib.import_module("ray")


@contextmanager
def _started(ray: ModuleType, address: str | None, n_cpus: int) -> Iterator[None]:
    """Have Ray run; end it afterwards if it was not running before."""
    if ray.is_initialized():
        yield
        return
    where = {"num_cpus": n_cpus} if address is None else {"address": address}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use elsewhere
    ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield
    finally:
        ray.shutdown()


class _Apart:
    """A space whose settings stay apart from the parameters, which may have other names.

    Ray writes it to a file with `pickle`, which takes no function made within another.
    """

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, trial: optuna.Trial) -> Settings:
        """Settings of a trial, under one name."""
        return {"settings": self.space(trial)}

    def __getstate__(self) -> bytes:
        return importlib.import_module("ray.cloudpickle").dumps(self.space)

    def __setstate__(self, state: bytes) -> None:
        self.space = pickle.loads(state)


class _Diverged(Exception):
    """Ends a trial whose loss is not finite."""


def _trainable(objective: Objective) -> Callable[[Mapping[str, object]], None]:
    """Return what Ray runs: the objective, with its steps and its final loss told to Ray."""

    def train(config: Mapping[str, object]) -> None:
        """Run one trial; Ray ends it within a report if it is hopeless."""
        tell = importlib.import_module("ray.tune").report
        steps = 0

        def report(step: int, loss: float) -> None:
            """Tell Ray; end the trial if its loss is not finite."""
            nonlocal steps
            steps += 1
            finite = math.isfinite(loss)
            tell(
                {
                    "loss": loss if finite else ENDLESS,
                    "step": step,
                    "steps": steps,
                    "state": "pruned",
                }
            )
            if not finite:
                raise _Diverged

        try:
            loss = objective(config["settings"], report)
        except _Diverged:
            return
        finite = math.isfinite(loss)
        told = {"loss": loss if finite else ENDLESS, "step": max(steps, 1), "steps": steps}
        tell(told | {"state": "complete" if finite else "pruned"})

    return train


def _ray_table(results: object, n_trials: int) -> pd.DataFrame:
    """One row a trial of a `ray.tune.ResultGrid`, as `trial_table`."""
    if results.errors:
        raise RuntimeError(
            f"the objective raised an error in {len(results.errors)} of {n_trials} trials; the "
            f"first: {results.errors[0]}"
        ) from results.errors[0]
    rows = []
    for result in results:
        loss = result.metrics["loss"]
        params = {name: x for name, x in result.config.items() if name != "settings"}
        told = {name: result.metrics[name] for name in ("steps", "state")}
        rows.append({"loss": loss if loss < ENDLESS else math.nan, **told, **params})
    table = pd.DataFrame(rows).rename_axis("trial")
    _check_finished(table["state"] == "complete")
    return table


def _loss(
    trial: optuna.Trial, space: Space, objective: Objective, first: Mapping[str, object]
) -> float:
    """Validation loss of one trial, or `optuna.TrialPruned`."""
    settings = space(trial)
    unknown = sorted(set(first) - set(trial.params))
    if trial.number == 0 and unknown:
        raise ValueError(
            f"first must name parameters that the space asks for, {sorted(trial.params)}; got "
            f"{unknown} besides. Leave these out."
        )
    loss = objective(settings, _reporter(trial))
    if not math.isfinite(loss):
        raise optuna.TrialPruned
    return loss


def _reporter(trial: optuna.Trial) -> Callable[[int, float], None]:
    def report(step: int, loss: float) -> None:
        """Tell Optuna; end the trial if it is hopeless."""
        trial.report(loss, step)
        if not math.isfinite(loss) or trial.should_prune():
            raise optuna.TrialPruned

    return report


def _check_finished(finished: Sequence[bool]) -> None:
    """Refuse a search in which every trial was ended early."""
    if not any(finished):
        raise ValueError(
            f"expected a finished trial; all {len(finished)} were ended early. Look whether they "
            "diverge, and let the space hold settings that do not, such as lower learning rates"
        )


def _last(trial: optuna.trial.FrozenTrial) -> float:
    steps = trial.intermediate_values
    return steps[max(steps)] if steps else float("nan")


class _quiet:
    """Keeps Optuna from writing a line a trial, or errors that are raised too."""

    def __enter__(self) -> None:
        self.level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def __exit__(self, *_: object) -> None:
        optuna.logging.set_verbosity(self.level)
