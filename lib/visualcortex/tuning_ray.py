"""The trials of a search side by side under Ray Tune, on one machine or on many."""

from __future__ import annotations

import importlib
import math
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import optuna

from visualcortex.tuning_log import Checkpoints, Log, Objective, Record, Report, Settings, Space

# What Ray is told for a loss that is not finite: Optuna takes no NaN, Ray's logs no infinity.
ENDLESS = 1e30
# The last step of any trial, for a scheduler that wants to know it.
NEVER = 10**9
STUDY = "search"


@dataclass(frozen=True)
class OnRay:
    """How trials run under Ray Tune.

    Parameters
    ----------
    n_parallel : int
        Trials at a time, of one processor each.
    gpus : float
        Graphics cards of a trial; a part of one lets trials share it.
    reduction : int
        Of the trials, from rung to rung; at least 2.
    address : str, optional
        Of a running cluster, "auto" for the one of this machine. By default Ray begins here, for
        this search, and ends with it; if Ray runs in this process already, that is used.
    """

    n_parallel: int = 2
    gpus: float = 0.0
    reduction: int = 3
    address: str | None = None

    def __post_init__(self) -> None:
        if min(self.n_parallel, self.reduction - 1) < 1 or self.gpus < 0:
            raise ValueError(
                "need at least 1 trial at a time, a reduction of at least 2 and no negative number "
                f"of graphics cards; got {self.n_parallel}, {self.reduction} and {self.gpus}"
            )


def run_trials(
    space: Space,
    objective: Objective,
    log: Log,
    sampler: Callable[[int], optuna.samplers.BaseSampler],
    *,
    n_trials: int,
    grace: int,
    first: Mapping[str, object] | None,
    how: OnRay,
) -> None:
    """Run what the log lacks of so many trials; all that they tell goes into the log.

    Parameters
    ----------
    space, objective, n_trials, first
        As of `visualcortex.tuning.search`.
    log : Log
        Of the trials before, and of these.
    sampler : callable
        Given the number of trials that have begun, returns what proposes the others.
    grace : int
        First step after which a trial may be ended.
    how : OnRay
        On what.

    Raises
    ------
    ImportError
        Ray is not installed.
    RuntimeError
        The objective raised an error, or the search was stopped.
    """
    ray = load_ray()
    begun = [k for k in log.records if k < n_trials]
    # trials begin in any order: one that did not may stand before one that did
    known = [log.records.get(k, Record({})) for k in range(max(begun, default=-1) + 1)]
    missing = n_trials - sum(record.finished for record in known)
    if missing == 0:
        return
    with ExitStack() as stack:
        # the log is enough, and Ray's new output tells a page where its files are
        quiet = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
        stack.enter_context(_told(**quiet))
        stack.enter_context(started(ray, how))
        files = log.folder and log.folder / "ray"
        files = files or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        choices = ray.tune.TuneConfig(
            num_samples=missing,
            search_alg=_searcher(ray, space, known, sampler(len(known)), first),
            scheduler=_scheduler(ray, known, grace, how.reduction),
            max_concurrent_trials=how.n_parallel,
            reuse_actors=True,  # a new process takes seconds
        )
        results = _tuned(ray, objective, choices, log, files, how)
    _check(results, log, n_trials)


def _tuned(
    ray: ModuleType, objective: Objective, choices: object, log: Log, files: Path, how: OnRay
) -> object:
    """Run all trials; return their `ray.tune.ResultGrid`."""
    run = ray.tune.RunConfig(
        storage_path=str(files.resolve()),
        failure_config=ray.tune.FailureConfig(fail_fast=True),
        callbacks=[_listener(ray, log)],
        verbose=0,
    )
    folder = log.checkpoints.folder
    kept = Checkpoints(None if folder is None else folder.resolve())
    # an objective may hold more data than Ray sends with a function
    whole = ray.tune.with_parameters(trainable, objective=objective, checkpoints=kept)
    needs = {"cpu": 1} | ({"gpu": how.gpus} if how.gpus else {})
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(whole, needs), tune_config=choices, run_config=run
    )
    return tuner.fit()


def _searcher(
    ray: ModuleType,
    space: Space,
    known: list[Record],
    sampler: optuna.samplers.BaseSampler,
    first: Mapping[str, object] | None,
) -> object:
    """Return Ray's Optuna, which knows the trials that ended and begins with those that did not."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name=STUDY)
    for record in known:
        if record.finished:
            study.add_trial(frozen(space, record))
        else:
            study.enqueue_trial(record.parameters)
    if first is not None and not known:
        study.enqueue_trial(dict(first))
    return ray.tune.search.optuna.OptunaSearch(
        _Apart(space), metric="loss", mode="min", sampler=sampler, storage=storage, study_name=STUDY
    )


def _scheduler(ray: ModuleType, known: list[Record], grace: int, reduction: int) -> object:
    """Return asynchronous halving, told again what the trials that ended had reported."""
    scheduler = ray.tune.schedulers.ASHAScheduler(
        time_attr="step",
        metric="loss",
        mode="min",
        max_t=max(NEVER, grace),
        grace_period=grace,
        reduction_factor=reduction,
    )
    for number, record in enumerate(known):
        trial = SimpleNamespace(trial_id=f"kept {number}")
        if record.finished:
            scheduler.on_trial_add(None, trial)
            for step, loss in record.reports:
                told = {"step": step, "loss": loss if math.isfinite(loss) else ENDLESS}
                scheduler.on_trial_result(None, trial, told)
    return scheduler


def frozen(space: Space, record: Record) -> optuna.trial.FrozenTrial:
    """Return a trial that ended, as Optuna has it."""
    asked = optuna.trial.FixedTrial(record.parameters)
    space(asked)
    complete = record.state == "complete"
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[record.state.upper()],
        value=record.loss if complete else None,
        params=asked.params,
        distributions=asked.distributions,
        intermediate_values=dict(record.reports),
    )


def load_ray() -> ModuleType:
    """Return Ray with the parts that are used here, or say how to get it."""
    try:
        for part in ("tune", "tune.schedulers", "tune.search.optuna"):
            importlib.import_module(f"ray.{part}")
    except ImportError as error:
        raise ImportError(
            "engine='ray' needs Ray Tune, which is not installed or cannot be imported "
            f"({error}); pip install 'visualcortex-book[ray]', or use engine='optuna'"
        ) from error
    return importlib.import_module("ray")


@contextmanager
def started(ray: ModuleType, how: OnRay) -> Iterator[None]:
    """Have Ray run; end it afterwards if it was not running before."""
    if ray.is_initialized():
        yield
        return
    # "local": not the cluster that an outer process may be part of, unless it is asked for
    here = {"address": "local", "num_cpus": how.n_parallel}
    where = here if how.address is None else {"address": how.address}
    with _told(RAY_USAGE_STATS_ENABLED="0"):  # Ray reports its use elsewhere
        ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _told(**settings: str) -> Iterator[None]:
    """Have environment variables, those that the user has not set, for a while."""
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


class _Apart:
    """A space whose settings stay apart from the parameters, which may have other names.

    Ray writes it to a file with `pickle`, which takes no function made within another.
    """

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, trial: optuna.Trial) -> Settings:
        """Settings of a trial under one name, its number, and its parameters once more."""
        settings = self.space(trial)
        return {"settings": settings, "number": trial.number, "tried": dict(trial.params)}

    def __getstate__(self) -> bytes:
        return importlib.import_module("ray.cloudpickle").dumps(self.space)

    def __setstate__(self, state: bytes) -> None:
        self.space = pickle.loads(state)


class _Diverged(Exception):
    """Ends a trial whose loss is not finite."""


def trainable(config: Mapping[str, object], objective: Objective, checkpoints: Checkpoints) -> None:
    """Run one trial where Ray wants it: its reports and its end are told to Ray.

    Ray ends a hopeless trial within a report. A trial that goes on first tells again what it had
    reported up to its checkpoint, for the scheduler; the log has that.
    """
    say = importlib.import_module("ray.tune").report

    def tell(n: int, step: int, loss: float, again: bool = False) -> None:
        """Tell Ray; end the trial if its loss is not finite."""
        finite = math.isfinite(loss)
        told = {"loss": loss if finite else ENDLESS, "step": step, "steps": n, "again": again}
        say(told | {"state": "running"})
        if not finite:
            raise _Diverged

    report = Report(checkpoints, config["number"], tell)
    for n, (step, loss) in enumerate(report.reports, start=1):
        tell(n, step, loss, again=True)
    try:
        loss = objective(config["settings"], report)
    except (_Diverged, optuna.TrialPruned):
        loss = math.nan
    n, step = len(report.reports), report.reports[-1][0] if report.reports else 1
    finite = math.isfinite(loss)
    told = {"loss": float(loss) if finite else ENDLESS, "step": step, "steps": n, "again": False}
    say(told | {"state": "complete" if finite else "pruned"})


def _listener(ray: ModuleType, log: Log) -> object:
    """Return what hears the trials in this process, and writes the log."""

    class Listener(ray.tune.Callback):
        """Writes down beginnings, reports and ends in the order in which they come."""

        def __init__(self) -> None:
            self.log = log

        def on_trial_start(self, iteration, trials, trial, **_: object) -> None:
            """Before a trial runs: its parameters."""
            self.log.begin(trial.config["number"], trial.config["tried"])

        def on_trial_result(self, iteration, trials, trial, result, **_: object) -> None:
            """With each report, after the scheduler has decided."""
            hear(self.log, trial.config["number"], result)

    return Listener()


def hear(log: Log, number: int, result: Mapping[str, object]) -> None:
    """Write down what a trial told Ray."""
    state, n = result["state"], result["steps"]
    loss = result["loss"] if result["loss"] < ENDLESS else math.nan
    if state == "running" and not (result["again"] and n <= len(log.records[number].reports)):
        log.report(number, n, result["step"], loss)
    if state != "running" or result.get("done"):
        log.cut(number, n)
        complete = state == "complete"
        log.end(number, "complete" if complete else "pruned", loss if complete else math.nan)


def _check(results: object, log: Log, n_trials: int) -> None:
    """Say what went wrong, if anything did."""
    if results.errors:
        raise RuntimeError(
            f"the objective raised an error in {len(results.errors)} of {n_trials} trials; the "
            f"first: {results.errors[0]}"
        ) from results.errors[0]
    n_done = sum(k in log.records and log.records[k].finished for k in range(n_trials))
    if n_done < n_trials:
        raise RuntimeError(
            f"the search was stopped after {n_done} of {n_trials} trials; search again, with the "
            "same storage to go on from there"
        )
