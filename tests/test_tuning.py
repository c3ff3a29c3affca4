"""A search finds what is good, ends what is bad, and sees nothing but the losses it is given."""

import logging
import random

import numpy as np
import optuna
import pytest

from visualcortex.tuning import search

BEST = {"x": 2.0, "rate": 1e-2}


def space(trial):
    return {
        "x": trial.suggest_float("x", -5.0, 5.0),
        "rate": trial.suggest_float("rate", 1e-4, 1.0, log=True),
        "kind": trial.suggest_categorical("kind", ["round", "square"]),
    }


def height(settings):
    """A bowl with its lowest point, 0, at `BEST`, and a step up for one kind."""
    off = np.log10(settings["rate"] / BEST["rate"])
    return (settings["x"] - BEST["x"]) ** 2 + off**2 + (settings["kind"] == "square")


def descent(settings, report):
    """Come down to the height of the settings in five steps."""
    for step in range(1, 6):
        report(step, height(settings) + 1 / step)
    return height(settings)


def tried(objective=descent, **options):
    settings = {"n_trials": 30, "seed": 3, "progress": False} | options
    return search(space, objective, **settings)


@pytest.fixture(scope="module")
def found():
    return tried(n_trials=60)


def test_it_tries_what_plain_optuna_tries():
    """The same sampler and pruner, asked without this library: every trial and every report."""
    settings = {"seed": 3, "n_startup": 3, "n_warmup": 2, "first": {"x": 1.0}}
    ours = tried(n_trials=40, **settings).study
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=3, n_startup_trials=3),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
    )
    study.enqueue_trial({"x": 1.0})

    def objective(trial):
        settings = space(trial)
        for step in range(1, 6):
            trial.report(height(settings) + 1 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return height(settings)

    study.optimize(objective, n_trials=40)
    assert {t.state.name for t in study.trials} == {"COMPLETE", "PRUNED"}
    for ours_then, theirs in zip(ours.trials, study.trials, strict=True):
        assert ours_then.params == theirs.params
        assert ours_then.intermediate_values == theirs.intermediate_values
        assert (ours_then.state, ours_then.value) == (theirs.state, theirs.value)


def test_it_finds_the_lowest_point(found):
    table, study = found.table, found.study
    assert study.best_value < min(0.05, 0.25 * table["loss"][:10].min())
    assert study.best_params["x"] == pytest.approx(2, abs=0.3)
    assert study.best_params["rate"] == pytest.approx(1e-2, rel=1)
    assert study.best_params["kind"] == "round"


def test_it_does_better_than_as_many_draws_at_random():
    """Lowest loss of 40 trials, over seeds, against trials that all are starting ones."""
    guided, random_ones = (
        [tried(n_trials=40, n_startup=n, seed=s).study.best_value for s in range(6)]
        for n in (4, 40)
    )
    assert np.median(guided) < 0.5 * np.median(random_ones)


def test_hopeless_trials_are_ended_early(found):
    table = found.table
    pruned = table["state"] == "pruned"
    assert 20 <= pruned.sum() <= 55
    assert (table["steps"][pruned] < 5).all()
    assert (table["steps"][~pruned] == 5).all()
    assert table["loss"][pruned].min() > table["loss"][~pruned].min()


def test_ending_follows_the_median_of_finished_trials(found):
    """Replayed by hand: lowest loss so far against the median of those that finished before."""
    finished = []
    for trial in found.study.trials:
        losses = trial.intermediate_values
        worse = [
            len(finished) >= 4
            and min(losses[k] for k in range(1, step + 1)) > np.median([f[step] for f in finished])
            for step in losses
        ]
        ended = trial.state is optuna.trial.TrialState.PRUNED
        assert worse == [False] * (len(losses) - ended) + [True] * ended
        if not ended:
            finished.append(losses)


@pytest.mark.parametrize(("n_startup", "n_warmup"), [(12, 1), (4, 3)])
def test_none_is_ended_before_its_time(n_startup, n_warmup):
    table = tried(n_startup=n_startup, n_warmup=n_warmup).table
    assert (table["state"][:n_startup] == "complete").all()
    pruned = table["state"] == "pruned"
    assert pruned.any()
    assert table["steps"][pruned].min() == n_warmup


def test_the_same_seed_tries_the_same():
    one, same, other = (tried(seed=seed).table for seed in (1, 1, 2))
    assert one.equals(same)
    assert not np.allclose(one["x"], other["x"])


def test_it_neither_uses_nor_touches_global_random_states():
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = tried(n_trials=8).table
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert before[1] == random.getstate()
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    assert tried(n_trials=8).table.equals(first)


def test_first_is_tried_first():
    first = {**BEST, "kind": "round"}
    found = tried(n_trials=5, first=first)
    assert found.study.trials[0].params == first
    assert found.study.best_trial.number == 0
    assert first == {**BEST, "kind": "round"}


def test_part_of_first_leaves_the_rest_to_chance():
    found = tried(n_trials=3, first={"x": 2.0})
    assert found.study.trials[0].params["x"] == 2.0
    assert set(found.study.trials[0].params) == {"x", "rate", "kind"}


def test_names_that_the_space_does_not_ask_for_are_refused():
    with pytest.raises(ValueError, match=r"'kind', 'rate', 'x'.*got \['learning_rate'\]"):
        tried(n_trials=2, first={"x": 2.0, "learning_rate": 1e-2})


def test_it_sees_nothing_but_the_losses():
    """Another test set, other data behind the same validation losses: the same trials."""
    tables, test_losses = [], []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        at_hand = []

        def objective(settings, report, rng=rng, at_hand=at_hand):
            at_hand.append(height(settings) + rng.normal())  # the test set, for the record only
            return descent(settings, report)

        tables.append(tried(objective).table)
        test_losses.append(at_hand)
    assert tables[0].equals(tables[1])
    assert test_losses[0] != test_losses[1]


def test_the_objective_is_given_what_the_space_returned():
    given = []

    def objective(settings, report):
        given.append(settings)
        return height(settings)

    found = tried(objective, n_trials=4)
    assert given == [trial.params for trial in found.study.trials]


@pytest.fixture
def logged():
    """What Optuna logs, at its usual level."""
    level, records = optuna.logging.get_verbosity(), []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("optuna").addHandler(handler)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    yield records
    optuna.logging.set_verbosity(level)
    logging.getLogger("optuna").removeHandler(handler)


def test_it_logs_nothing_and_puts_the_level_back(logged):
    """Neither a line a trial, nor one for the study, nor an error that is raised too."""
    tried(n_trials=6)
    with pytest.raises(KeyError):
        tried(lambda settings, report: settings["missing"])
    assert logged == []
    optuna.create_study()
    assert len(logged) == 1


def test_an_error_of_the_objective_is_raised():
    def wrong(settings, report):
        raise KeyError("no such layer")

    with pytest.raises(KeyError, match="no such layer"):
        tried(wrong)


def test_a_trial_that_diverges_is_ended_and_the_search_goes_on():
    def diverging(settings, report):
        value = height(settings)
        report(1, np.nan if settings["rate"] > 0.1 else value)
        return np.inf if settings["rate"] < 3e-4 else value

    found = tried(diverging, n_startup=30)
    table = found.table
    rates = table["rate"]
    assert ((table["state"] == "pruned") == ((rates > 0.1) | (rates < 3e-4))).all()
    assert table["loss"][rates > 0.1].isna().all()
    assert (rates > 0.1).any()
    assert (rates < 3e-4).any()
    assert np.isfinite(found.study.best_value)


def test_a_search_without_any_finished_trial_is_an_error():
    def diverging(settings, report):
        report(1, np.inf)

    with pytest.raises(ValueError, match="all 5 were ended early.*lower learning rates"):
        tried(diverging, n_trials=5)


def test_there_must_be_a_trial():
    with pytest.raises(ValueError, match="n_trials must be at least 1 with optuna; got 0"):
        tried(n_trials=0)


def test_the_table_has_a_row_a_trial():
    def objective(settings, report):
        report(1, 5.0)
        report(2, 4.0 if settings["kind"] == "round" else np.nan)
        return 3.0

    table = tried(objective, n_trials=8).table
    assert list(table.columns) == ["loss", "steps", "state", "x", "rate", "kind"]
    assert table.index.name == "trial"
    assert table.index.tolist() == list(range(8))
    done = table["kind"] == "round"
    assert 0 < done.sum() < 8
    assert (table["steps"] == 2).all()
    assert (table["loss"][done] == 3).all()  # what was returned, not the last report
    assert (table["state"] == np.where(done, "complete", "pruned")).all()


def test_the_settings_of_the_best_trial_are_those_it_had():
    tried = []

    def space(trial):
        return {
            "width": trial.suggest_int("size", 1, 9) * 10,
            "kind": trial.suggest_categorical("kind", ["a", "b"]),
            "rate": trial.suggest_float("rate", 0.1, 1, log=True),
        }

    def objective(settings, report):
        tried.append(settings)
        return settings["width"] + settings["rate"]

    best = search(space, objective, n_trials=6, seed=2, progress=False).settings
    assert best == min(tried, key=lambda s: s["width"] + s["rate"])
    assert isinstance(best["width"], int)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "grid"}, r"engine must be one of .*'ray'.*got 'grid'"),
        ({"n_startup": -1}, "n_startup must be at least 0"),
        ({"engine": "ray", "n_warmup": 0}, "n_warmup must be at least 1 with ray; got 0"),
    ],
)
def test_numbers_and_engines_are_checked(changes, said):
    with pytest.raises(ValueError, match=said):
        tried(**changes)
