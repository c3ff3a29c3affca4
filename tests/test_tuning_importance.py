"""Importances are the shares of variance that they are said to be, and chance is what it says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import optuna
import pytest

from visualcortex.tuning import search
from visualcortex.tuning_importance import importance_table, importances

UNIT = optuna.distributions.FloatDistribution(0.0, 1.0)


@pytest.fixture(autouse=True)
def silent():
    """Optuna writes a line for each study that a test makes."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


def studied(losses, params, scales):
    study = optuna.create_study()
    for loss, values in zip(losses, params, strict=True):
        state = optuna.trial.TrialState["PRUNED" if loss is None else "COMPLETE"]
        trial = {"params": values, "distributions": scales, "value": loss, "state": state}
        study.add_trial(optuna.trial.create_trial(**trial))
    return study


def drawn(n, loss, seed=0):
    """Trials drawn evenly from a cube, with a loss that is known."""
    scales = dict.fromkeys("abc", UNIT)
    rng = np.random.default_rng(seed)
    params = [{name: float(rng.random()) for name in scales} for _ in range(n)]
    return studied([loss(p) for p in params], params, scales)


def test_they_are_the_shares_of_a_sum():
    """Var(3a + 2b + c) = (9 + 4 + 1) / 12 for independent, even parameters."""
    found = importances(drawn(300, lambda p: 3 * p["a"] + 2 * p["b"] + p["c"]), n_trees=16)
    assert list(found.index) == ["a", "b", "c"]
    assert np.allclose(found, [9 / 14, 4 / 14, 1 / 14], atol=0.06)


def test_what_parameters_explain_together_belongs_to_none():
    """Of (a - 1/2)(b - 1/2) neither explains anything alone; beside 0.2 c, c explains its part."""
    study = drawn(250, lambda p: (p["a"] - 0.5) * (p["b"] - 0.5) + 0.2 * p["c"])
    found = importances(study, n_trees=16)
    alone = 0.04 / 12 / (1 / 144 + 0.04 / 12)
    assert found["c"] == pytest.approx(alone, abs=0.1)
    assert found[["a", "b"]].max() < 0.12
    assert found.sum() < 0.6


def test_logarithmic_parameters_count_on_their_scale():
    """On a linear scale of (1e-4, 1) nearly all values are large, and a step at 1e-2 is rare."""
    log = optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    rng = np.random.default_rng(1)
    params = [{"r": float(10 ** rng.uniform(-4, 0)), "x": rng.random()} for _ in range(150)]
    losses = [float(p["r"] > 1e-2) + p["x"] for p in params]
    found = importances(studied(losses, params, {"r": log, "x": UNIT}), n_trees=16)
    step = 1 / 4  # the variance of a step in the middle; that of x is 1 / 12
    assert found["r"] == pytest.approx(step / (step + 1 / 12), abs=0.06)


def test_choices_and_whole_numbers_have_shares():
    scales = {
        "kind": optuna.distributions.CategoricalDistribution(["a", "b"]),
        "n": optuna.distributions.IntDistribution(1, 100, log=True),
        "idle": UNIT,
    }
    rng = np.random.default_rng(2)
    params = [
        {"kind": k, "n": int(n), "idle": rng.random()}
        for k, n in itertools.product("ab", np.geomspace(1, 100, 60).round())
    ]
    losses = [(p["kind"] == "a") + math.log10(p["n"]) / 2 for p in params]
    found = importances(studied([float(x) for x in losses], params, scales))
    assert found["kind"] == pytest.approx(0.75, abs=0.06)  # 1/4 against 1/12
    assert found["idle"] < 0.02


def test_trials_that_were_ended_early_are_left_out():
    """Their losses, if they counted, would say that b matters."""
    params = [{"a": a, "b": b} for a in np.linspace(0, 1, 8) for b in (0.2, 0.8)]
    losses = [p["a"] if p["b"] < 0.5 else None for p in params]
    found = importances(studied(losses, params, {"a": UNIT, "b": UNIT}))
    assert found["a"] > 0.95
    assert found["b"] == 0


@pytest.mark.parametrize("losses", [[1.0], [1.0, 1.0, 1.0], [1.0, None, None]])
def test_where_there_is_nothing_to_explain_nothing_is_said(losses):
    params = [{"a": 0.1 * k, "b": 0.5} for k in range(len(losses))]
    study = studied(losses, params, {"a": UNIT, "b": UNIT})
    assert importances(study).isna().all()
    table = importance_table(study, n_resamples=3, rng=np.random.default_rng(0))
    assert table.isna().all(axis=None)
    assert sorted(table.index) == ["a", "b"]


def test_parameters_that_some_trials_did_not_ask_for_have_none():
    def space(trial):
        settings = {"a": trial.suggest_float("a", 0, 1)}
        if settings["a"] > 0.5:
            settings["b"] = trial.suggest_float("b", 0, 1)
        return settings

    study = search(space, lambda s, _: s["a"], n_trials=12, progress=False).study
    found = importances(study)
    assert found["a"] > 0.95
    assert np.isnan(found["b"])


def test_the_table_holds_the_share_between_its_ends():
    study = drawn(30, lambda p: 3 * p["a"] + p["b"])
    how = {"n_resamples": 20, "n_trees": 8}
    table = importance_table(study, **how, rng=np.random.default_rng(3))
    assert list(table.columns) == ["importance", "low", "high", "chance"]
    assert list(table.index)[0] == "a"
    assert (table["low"] <= table["high"]).all()
    assert table.loc["a", "low"] > table.loc["a", "chance"], "it stands out"
    assert table.loc["c", "importance"] < table.loc["c", "chance"], "it does not"
    again = importance_table(study, **how, rng=np.random.default_rng(3))
    assert again.equals(table)


def test_few_trials_give_shares_to_what_does_nothing_and_chance_says_so():
    """Losses at random: shares are large, and rarely above chance."""
    above, largest = 0, []
    for seed in range(6):
        noise = np.random.default_rng(100 + seed)
        study = drawn(8, lambda p, noise=noise: float(noise.normal()), seed=seed)
        table = importance_table(study, n_resamples=20, n_trees=8, rng=np.random.default_rng(seed))
        above += (table["importance"] > table["chance"]).sum()
        largest.append(table["importance"].max())
    assert np.median(largest) > 0.3
    # of 18 shares about one in twenty is above: five or more would be an accident of 0.2 %
    assert above <= 4


@pytest.mark.parametrize("n", [2, 3])
def test_of_too_few_trials_no_share_is_above_chance(n):
    table = importance_table(
        drawn(n, lambda p: p["a"]), n_resamples=5, rng=np.random.default_rng(0)
    )
    assert (table["chance"] == 1).all()


def test_there_must_be_a_draw():
    with pytest.raises(ValueError, match="n_resamples must be at least 1; got 0"):
        importance_table(drawn(4, lambda p: p["a"]), n_resamples=0, rng=np.random.default_rng(0))


def test_it_logs_nothing(caplog):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    study = drawn(4, lambda p: p["a"])
    caplog.clear()
    importances(study)
    optuna.logging.disable_propagation()
    assert caplog.records == []
