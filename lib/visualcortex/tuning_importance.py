"""How much of a loss each parameter of a search explains, and how little a few trials say of it."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pandas as pd

from visualcortex.tuning_log import quiet

LEVEL = 0.95
# Finished trials whose losses can be mixed in twenty ways, without which no share is above chance.
FEWEST = 4


def importances(study: optuna.Study, *, n_trees: int = 64, seed: int = 0) -> pd.Series:
    """Share of the variance of the loss over the space that each parameter explains alone.

    A random forest is fitted to the losses of the finished trials, and the variance of what it
    predicts over the whole space is taken apart (fANOVA, Hutter et al. 2014). What parameters
    explain only together belongs to none, so that the shares add up to at most 1. A parameter
    that is searched on a logarithmic scale is taken on it.

    Bias: this describes the forest. With few trials it fits their accidents, so that parameters
    without any effect get shares too: read them beside `importance_table`'s chance. Trials that
    were ended early have no final loss and are left out, and the sampler tries mostly where losses
    are low: bad parts of the space, which make a parameter important, are seen by few.

    Parameters
    ----------
    study : optuna.Study
        Of `visualcortex.tuning.Search`, whatever engine ran it.
    n_trees : int
        Of the forest.
    seed : int
        Of the forest.

    Returns
    -------
    pandas.Series
        A share a parameter, by name, the largest first. NaN for those that not every finished
        trial asked for, and for all if there is nothing to explain: fewer than two finished
        trials, or losses that are equal.

    References
    ----------
    Hutter, F., Hoos, H., Leyton-Brown, K. (2014). An efficient approach for assessing
    hyperparameter importance. ICML.
    """
    names = sorted({name for trial in study.trials for name in trial.params})
    found = _shares(_finished(study), n_trees, seed)
    shares = pd.Series(found, index=names, dtype=float, name="importance")
    return shares.rename_axis("parameter").sort_values(ascending=False, kind="stable")


def importance_table(
    study: optuna.Study,
    *,
    n_resamples: int = 50,
    n_trees: int = 16,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Importances with what a few trials leave open: an interval, and what chance would give.

    Bias: as `importances`. Trials are drawn again as if they were independent, which those of a
    sampler that learns are not: the interval is rather too short.

    Parameters
    ----------
    study : optuna.Study
        As of `importances`.
    n_resamples : int
        Draws of the finished trials, with replacement, behind the interval; and permutations of
        their losses behind chance.
    n_trees : int
        Of each forest.
    rng : numpy.random.Generator
        Of forests, draws and permutations.

    Returns
    -------
    pandas.DataFrame
        A row a parameter, in the order of `importances`: "importance", "low", "high" (95 %, over
        trials) and "chance": what permuted losses give a parameter in at most one of twenty
        permutations, and 1 where there are too few trials to tell. A parameter whose share is
        below may have no effect; one in twenty without effect is above.

    Raises
    ------
    ValueError
        There is to be no draw.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1; got {n_resamples}")
    seeds = rng.integers(2**31, size=(2, n_resamples))
    found = importances(study, n_trees=n_trees, seed=int(rng.integers(2**31)))
    trials = _finished(study)
    drawn, permuted = [], []
    for seed_drawn, seed_permuted in seeds.T.tolist():
        again = [trials[k] for k in rng.integers(len(trials), size=len(trials))]
        drawn.append(_shares(again, n_trees, seed_drawn))
        losses = rng.permutation([trial.value for trial in trials])
        mixed = [_with_loss(t, loss) for t, loss in zip(trials, losses, strict=True)]
        permuted.append(_shares(mixed, n_trees, seed_permuted))
    tail = (1 - LEVEL) / 2
    low, high = (_quantiles(drawn, found.index, q) for q in (tail, 1 - tail))
    chance = _quantiles(permuted, found.index, LEVEL)
    if len(trials) < FEWEST:
        chance = chance.where(chance.isna(), 1.0)
    return pd.DataFrame({"importance": found, "low": low, "high": high, "chance": chance})


def _shares(trials: list[optuna.trial.FrozenTrial], n_trees: int, seed: int) -> dict[str, float]:
    """Importances by name, none if there is nothing to explain."""
    if len({trial.value for trial in trials}) < 2:
        return {}
    with quiet():
        study = optuna.create_study()
    study.add_trials(trials)
    judge = optuna.importance.FanovaImportanceEvaluator(n_trees=n_trees, seed=seed)
    return judge.evaluate(study)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that were not ended early, on the scales of their parameters."""
    complete = (optuna.trial.TrialState.COMPLETE,)
    return [_on_scale(trial) for trial in study.get_trials(deepcopy=False, states=complete)]


def _on_scale(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """Return the trial with logarithms in place of what is searched logarithmically."""
    values, scales = dict(trial.params), dict(trial.distributions)
    for name, asked in trial.distributions.items():
        if getattr(asked, "log", False):
            values[name] = math.log(values[name])
            scales[name] = optuna.distributions.FloatDistribution(
                math.log(asked.low), math.log(asked.high)
            )
    return optuna.trial.create_trial(params=values, distributions=scales, value=trial.value)


def _with_loss(trial: optuna.trial.FrozenTrial, loss: float) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(
        params=trial.params, distributions=trial.distributions, value=float(loss)
    )


def _quantiles(shares: list[dict[str, float]], names: pd.Index, level: float) -> pd.Series:
    """Of each parameter over draws; draws in which there was nothing to explain are left out."""
    return pd.DataFrame(shares, columns=list(names), dtype=float).quantile(level)
