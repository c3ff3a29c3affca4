"""Choosing settings on validation data: a search space, trials that are cut short, a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
    if all(trial.state is not optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise ValueError(
            f"expected a finished trial; all {n_trials} were ended early. Look whether they "
            "diverge, and let the space hold settings that do not, such as lower learning rates"
        )
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
