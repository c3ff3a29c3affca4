"""The figure of a search shows each trial at its loss and its parameter."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import figures
from visualcortex.tuning import search
from visualcortex.tuning_figures import loss_by_parameter


def space(trial):
    return {
        "x": trial.suggest_float("x", -5.0, 5.0),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
        "kind": trial.suggest_categorical("kind", ["round", None]),
    }


def descent(settings, report):
    height = (settings["x"] - 2) ** 2 + (settings["kind"] is None)
    for step in range(1, 4):
        report(step, np.nan if settings["learning_rate"] > 0.3 else height + 1 / step)
    return height


@pytest.fixture(autouse=True)
def fresh():
    with matplotlib.rc_context():
        figures.use_style()
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def found():
    return search(space, descent, n_trials=25, seed=1, progress=False)


def dots(ax, label):
    """Where the dots of a kind are, those that are somewhere."""
    (drawn,) = [c for c in ax.collections if c.get_label() == label]
    places = np.asarray(drawn.get_offsets())
    return places[~np.isnan(places).any(axis=1)]


def test_every_trial_with_a_loss_is_where_it_belongs(found):
    axes = loss_by_parameter(found)
    assert [ax.get_xlabel() for ax in axes] == ["x", "learning rate", "kind"]
    table = found.table
    complete, known = table["state"] == "complete", table["loss"].notna()
    best = table.index == found.study.best_trial.number
    assert (~known).any()
    places = {"round": 0.0, None: 1.0}
    for ax, x in zip(
        axes, (table["x"], table["learning_rate"], table["kind"].map(places)), strict=True
    ):
        for label, rows in (
            ("finished", complete & ~best),
            ("ended early", ~complete & known),
            ("best", best),
        ):
            expected = np.column_stack([x[rows], table["loss"][rows]])
            assert len(expected)
            assert np.allclose(np.ma.getdata(dots(ax, label)), expected)


def test_scales_are_those_of_the_search(found):
    x, rate, kind = loss_by_parameter(found)
    assert (x.get_xscale(), rate.get_xscale()) == ("linear", "log")
    assert [t.get_text() for t in kind.get_xticklabels()] == ["round", "None"]


def test_trials_that_were_ended_early_can_be_seen(found):
    """As rings: a face of no colour needs a border."""
    (ring,) = [c for c in loss_by_parameter(found)[0].collections if c.get_label() == "ended early"]
    assert ring.get_linewidth()[0] > 0
    assert matplotlib.colors.to_hex(ring.get_edgecolor()[0]) == figures.CHANCE


@pytest.mark.parametrize(("factor", "scale"), [(2.0, "linear"), (100.0, "log")])
def test_losses_far_apart_are_on_a_logarithmic_axis(factor, scale):
    def objective(settings, report):
        return 1.0 + (factor - 1) * (settings["x"] > 0)

    found = search(space, objective, n_trials=12, progress=False)
    assert found.table["loss"].nunique() == 2
    assert loss_by_parameter(found)[0].get_yscale() == scale


def test_panels_that_are_not_needed_are_not_there(found):
    axes = loss_by_parameter(found, n_columns=2, quantity="loss (nats)")
    assert len(axes) == len(axes[0].figure.axes) == 3
    assert [ax.get_ylabel() for ax in axes] == ["loss (nats)", "", "loss (nats)"]


def test_parameters_that_some_trials_did_not_ask_for_have_fewer_dots():
    def grows(trial):
        settings = {"a": trial.suggest_float("a", 0, 1)}
        return settings | ({"b": trial.suggest_float("b", 0, 1)} if settings["a"] > 0.5 else {})

    found = search(grows, lambda s, report: 1 - s["a"], n_trials=12, progress=False)
    a, b = (
        sum(len(dots(ax, label)) for label in ("finished", "best"))
        for ax in loss_by_parameter(found)
    )
    assert (a, b) == (12, found.table["b"].notna().sum())
    assert b < 12


def test_a_space_without_parameters_is_refused():
    found = search(lambda trial: {}, lambda s, report: 1.0, n_trials=2, progress=False)
    with pytest.raises(ValueError, match="asks for parameters; got 2 trials without any"):
        loss_by_parameter(found)
