"""Choosing settings on validation data: a search space, trials that are cut short, a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import pandas as pd
from tqdm.auto import tqdm

from visualcortex.tuning_log import (
    Log,
    Objective,
    Record,
    Report,
    Settings,
    Space,
    finite_or_nan,
    opened,
    quiet,
)
from visualcortex.tuning_ray import OnRay, frozen, run_trials

__all__ = ["Objective", "OnRay", "Report", "Search", "Settings", "Space", "search"]

ENGINES = ("optuna", "ray")


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a trial: "loss", "steps" taken, "state" ("complete" or "pruned"), its parameters.
        The loss of a trial that was ended early is the last that it reported, NaN if there is
        none.
    settings : dict
        What the space returned for the finished trial of the lowest loss.
    study : optuna.Study
        All trials, in memory, whatever engine ran them.
    """

    table: pd.DataFrame
    settings: Settings
    study: optuna.Study


def search(
    space: Space,
    objective: Objective,
    *,
    n_trials: int,
    engine: Literal["optuna", "ray"] = "optuna",
    storage: str | Path | None = None,
    resume: bool = True,
    fingerprint: str = "",
    n_startup: int = 4,
    n_warmup: int = 1,
    first: Mapping[str, object] | None = None,
    seed: int = 0,
    on_ray: OnRay | None = None,
    progress: bool = True,
) -> Search:
    """Look for the settings of the lowest validation loss (tree-structured Parzen estimator).

    With Optuna, trials follow each other in this process. One is ended early when its lowest loss
    up to some step is above the median of the losses that earlier trials had after that step
    (Golovin et al. 2017), those that were not ended early and number at least `n_startup`. The
    seed decides all that is tried.

    With Ray Tune, trials run side by side, on one machine or on many, and are ended by
    asynchronous successive halving (Li et al. 2020): of the trials that reach a rung, step
    `n_warmup` times a power of `on_ray.reduction`, the best 1 / `on_ray.reduction` so far go on.
    Ray takes some seconds to begin and again for each process; it pays for trials of minutes.
    What is tried depends on which trials finish first, so that the seed decides it for one trial
    at a time only.

    A trial whose loss is not finite is ended too.

    Bias: the loss of the best trial is the lowest of many, too good an estimate of the loss on new
    data, the more so the more trials. Nothing of a test set may enter the objective.

    Parameters
    ----------
    space : callable
        Given a trial of Optuna, returns its settings. Under Ray it and `objective` are sent to
        other processes, by value or, where these can import them, by name.
    objective : callable
        Given settings and ``report(step, loss)``, to be called after every epoch, returns the
        validation loss, lower is better. ``report(step, loss, state)`` hands over a state that a
        trial which was cut off finds again in ``report.kept``: see `Report`.
    n_trials : int
        Trials, those ended early included.
    engine : {"optuna", "ray"}
        What runs the trials.
    storage : path, optional
        A folder of this search alone; under Ray, one that all machines see. Every report is
        written there at once. A search that was killed, called again with the same arguments,
        repeats no finished trial, and goes on with a running one from its last state. With
        Optuna it then tries what it would have tried without the interruption. A search that
        ended can be called with more trials. By default nothing is kept.
    resume : bool
        Whether to go on with what the storage holds, or to delete that and begin again, as where
        the code of the objective is still being written.
    fingerprint : str
        Of all else that the losses depend on, such as data and code, by which the storage of
        another search is told (`visualcortex.training.fingerprint` makes one).
    n_startup : int
        Trials drawn at random; `first` is one. With Optuna none of them is ended early, unless
        it diverges.
    n_warmup : int
        First step after which a trial may be ended; steps are numbered as `objective` does.
    first : mapping, optional
        Parameters, by the names that `space` asks for, of the first trial.
    seed : int
        Of what is tried. With Optuna no global random state is touched.
    on_ray : OnRay, optional
        How many trials run at a time, and where; two on this machine by default.
    progress : bool
        Whether to show a bar, with Optuna.

    Returns
    -------
    Search

    Raises
    ------
    ImportError
        Ray is asked for, and not installed.
    ValueError
        A number is out of range, `first` has a name that `space` does not ask for, every trial
        was ended early, or the storage is damaged, in use or of another search.
    RuntimeError
        Under Ray: the objective raised an error, or the search was stopped. With Optuna, errors
        of the objective are raised as they are.

    References
    ----------
    Akiba, T. et al. (2019). Optuna: a next-generation hyperparameter optimization framework. KDD.
    Golovin, D. et al. (2017). Google Vizier: a service for black-box optimization. KDD.
    Li, L. et al. (2020). A system for massively parallel hyperparameter tuning. MLSys.
    """
    _check_numbers(engine, n_trials, n_startup, n_warmup)
    plan = {"engine": engine, "seed": seed, "n_startup": n_startup, "n_warmup": n_warmup}
    plan |= {"first": None if first is None else dict(first), "fingerprint": fingerprint}
    sampler = partial(_sampler, seed, n_startup)
    with quiet():
        asked = _asked(space, seed, first or {})
        with opened(storage, plan | {"space": asked}, resume) as log:
            if engine == "ray":
                limits = {"n_trials": n_trials, "grace": n_warmup, "first": first}
                run_trials(space, objective, log, sampler, **limits, how=on_ray or OnRay())
                study = _study_of(space, [log.records[k] for k in range(n_trials)])
            else:
                pruner = optuna.pruners.MedianPruner(n_startup, n_warmup_steps=n_warmup)
                study = optuna.create_study(sampler=sampler(0), pruner=pruner)
                _in_process(study, space, objective, log, n_trials, first, progress)
        return _found(space, study)


def _sampler(seed: int, n_startup: int, n_begun: int) -> optuna.samplers.BaseSampler:
    """Return what proposes trials, not the same again to a search that goes on under Ray."""
    if n_begun:
        seed = int(np.random.SeedSequence([seed, n_begun]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup)


def _in_process(
    study: optuna.Study,
    space: Space,
    objective: Objective,
    log: Log,
    n_trials: int,
    first: Mapping[str, object] | None,
    progress: bool,
) -> None:
    """Run the trials one by one; those of the log are told to the study again, not run."""
    if first is not None:
        study.enqueue_trial(dict(first))
    with tqdm(total=n_trials, desc="trials", unit="trial", disable=not progress) as bar:
        study.optimize(
            lambda trial: _loss(trial, space, objective, log),
            n_trials=n_trials,
            callbacks=[lambda *_: bar.update()],
        )


def _loss(trial: optuna.Trial, space: Space, objective: Objective, log: Log) -> float:
    """Validation loss of one trial, or `optuna.TrialPruned`."""
    settings = space(trial)
    record = log.begin(trial.number, trial.params)
    if record.finished:
        return _as_it_was(trial, record)
    report = Report(log.checkpoints, trial.number, _teller(trial, log))
    log.match(trial.number, report.reports)
    for step, loss in report.reports:
        trial.report(loss, step)
    try:
        loss = finite_or_nan(objective(settings, report))
        if math.isnan(loss):
            raise optuna.TrialPruned
    except optuna.TrialPruned:
        log.end(trial.number, "pruned")
        raise
    log.end(trial.number, "complete", loss)
    return loss


def _as_it_was(trial: optuna.Trial, record: Record) -> float:
    """Loss of a trial that ended in an earlier life of the search, or `optuna.TrialPruned`."""
    for step, loss in record.reports:
        trial.report(loss, step)
    if record.state == "pruned":
        raise optuna.TrialPruned
    return record.loss


def _teller(trial: optuna.Trial, log: Log) -> Callable[[int, int, float], None]:
    def tell(n: int, step: int, loss: float) -> None:
        """Tell the log and Optuna; end the trial if it is hopeless."""
        log.report(trial.number, n, step, loss)
        trial.report(loss, step)
        if math.isnan(loss) or trial.should_prune():
            raise optuna.TrialPruned

    return tell


def _study_of(space: Space, records: Sequence[Record]) -> optuna.Study:
    """Return the trials of a log as Optuna has them."""
    study = optuna.create_study()
    study.add_trials([frozen(space, record) for record in records])
    return study


def _found(space: Space, study: optuna.Study) -> Search:
    """Return the outcome, or refuse a search in which every trial was ended early."""
    table = _table(study)
    if not (table["state"] == "complete").any():
        raise ValueError(
            f"expected a finished trial; all {len(table)} were ended early. Look whether they "
            "diverge, and let the space hold settings that do not, such as lower learning rates"
        )
    settings = space(optuna.trial.FixedTrial(study.best_trial.params))
    return Search(table, settings, study)


def _table(study: optuna.Study) -> pd.DataFrame:
    """One row a trial; the loss of one that was ended early is the last that it reported."""
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


def _asked(space: Space, seed: int, first: Mapping[str, object]) -> dict[str, object]:
    """Return what the space asks of a first trial; refuse names that it does not ask for."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.enqueue_trial(dict(first))
    trial = study.ask()
    space(trial)
    unknown = sorted(set(first) - set(trial.params))
    if unknown:
        raise ValueError(
            f"first must name parameters that the space asks for, {sorted(trial.params)}; got "
            f"{unknown} besides. Leave these out."
        )
    as_text = optuna.distributions.distribution_to_json
    return {name: as_text(asked) for name, asked in trial.distributions.items()}


def _check_numbers(engine: str, n_trials: int, n_startup: int, n_warmup: int) -> None:
    """Refuse numbers and engines that there are not."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {ENGINES}; got {engine!r}")
    least = {"n_trials": 1, "n_startup": 0, "n_warmup": int(engine == "ray")}
    given = {"n_trials": n_trials, "n_startup": n_startup, "n_warmup": n_warmup}
    for name, low in least.items():
        if given[name] < low:
            raise ValueError(f"{name} must be at least {low} with {engine}; got {given[name]}")


def _last(trial: optuna.trial.FrozenTrial) -> float:
    steps = trial.intermediate_values
    return steps[max(steps)] if steps else float("nan")
