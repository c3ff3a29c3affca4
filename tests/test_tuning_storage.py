"""A search that is cut off at any moment goes on as if it had not been; no other may go on."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from visualcortex import tuning_log
from visualcortex.tuning import search

OPTIONS = {"n_trials": 7, "n_startup": 2, "seed": 5, "progress": False}
STEPS = 4


def space(trial):
    return {
        "x": trial.suggest_float("x", -5.0, 5.0),
        "kind": trial.suggest_categorical("kind", ["round", "square"]),
    }


class Walk:
    """An objective with a state: losses hang on all steps before, and on a random generator.

    It counts its steps, and calls `at` with trial and step before and after each report.
    """

    def __init__(self, at=lambda trial, step, when: None, stateful=True):
        self.at, self.stateful, self.steps, self.trial = at, stateful, [], -1

    def __call__(self, settings, report):
        self.trial += 1
        generator = torch.Generator().manual_seed(17)
        total = 0.0
        if report.kept is not None:
            generator.set_state(report.kept["generator"])
            total, loss = report.kept["total"], report.kept["loss"]
        for step in range(report.step + 1, STEPS + 1):
            self.steps.append((settings["x"], step))
            total += float(torch.rand((), generator=generator))
            loss = (settings["x"] - 2) ** 2 + (settings["kind"] == "square") + total / step
            state = {"generator": generator.get_state(), "total": total, "loss": loss}
            self.at(self.trial, step, "before")
            report(step, loss, state if self.stateful else None)
            self.at(self.trial, step, "after")
        return loss


@pytest.fixture(scope="module")
def whole():
    """The search, never interrupted, without a folder."""
    return search(space, Walk(), **OPTIONS)


def same(one, other):
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert one.settings == other.settings
    for trial, twin in zip(one.study.trials, other.study.trials, strict=True):
        assert trial.intermediate_values == twin.intermediate_values


def entries(folder, name):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def agrees(folder, found):
    """Whether the files say what the search found, each report once and in order."""
    reports = entries(folder, "reports.jsonl")
    assert all(set(entry) == {"trial", "step", "loss", "time"} for entry in reports)
    for trial in found.study.trials:
        mine = [(e["step"], e["loss"]) for e in reports if e["trial"] == trial.number]
        assert mine == list(trial.intermediate_values.items())
    assert len(reports) == found.table["steps"].sum()
    ends = [e for e in entries(folder, "trials.jsonl") if e["state"] != "begun"]
    assert [e["state"] for e in ends] == found.table["state"].tolist()
    assert not list((folder / "checkpoints").glob("*"))


def test_a_folder_changes_nothing_and_holds_every_report(whole, tmp_path):
    found = search(space, Walk(), **OPTIONS, storage=tmp_path / "kept")
    same(found, whole)
    agrees(tmp_path / "kept", found)
    assert {"complete", "pruned"} == set(found.table["state"])


def test_a_finished_search_is_read_not_run(whole, tmp_path):
    search(space, Walk(), **OPTIONS, storage=tmp_path)
    again = Walk()
    same(search(space, again, **OPTIONS, storage=tmp_path), whole)
    assert again.steps == []


def test_more_trials_go_on_and_fewer_are_the_first_ones(whole, tmp_path):
    three = OPTIONS | {"n_trials": 3}
    short = search(space, Walk(), **three, storage=tmp_path)
    walk = Walk()
    same(search(space, walk, **OPTIONS, storage=tmp_path), whole)
    assert not {x for x, _ in walk.steps} & set(short.table["x"])
    same(search(space, Walk(), **three, storage=tmp_path), short)


@pytest.mark.parametrize("stateful", [True, False])
def test_from_every_moment_it_goes_on_as_if_it_had_not_been_cut_off(whole, tmp_path, stateful):
    """The folder as it was before and after each report, gone on from."""
    folder, moments = tmp_path / "kept", []

    def photograph(trial, step, when):
        name = tmp_path / f"{trial}-{step}-{when}"
        shutil.copytree(folder, name)
        moments.append((name, trial, step - (when == "before")))

    search(space, Walk(photograph), **OPTIONS, storage=folder)
    assert len(moments) > 20
    for name, trial, step in moments:
        walk = Walk(stateful=stateful)
        found = search(space, walk, **OPTIONS, storage=name)
        same(found, whole)
        agrees(name, found)
        # steps that were kept are not taken again, whatever the objective does from now on
        expected = whole.table["steps"][trial:].sum() - step
        assert len(walk.steps) == expected


def test_a_trial_that_was_about_to_end_ends_again(whole, tmp_path, monkeypatch):
    """The folder with the last report of each trial, and not its end."""
    folder, end, moments = tmp_path / "kept", tuning_log.Log.end, []

    def photograph(log, trial, *told):
        moments.append(tmp_path / f"{trial}")
        shutil.copytree(folder, moments[-1])
        end(log, trial, *told)

    with monkeypatch.context() as patched:
        patched.setattr(tuning_log.Log, "end", photograph)
        search(space, Walk(), **OPTIONS, storage=folder)
    assert len(moments) == OPTIONS["n_trials"]
    for name in moments:
        found = search(space, Walk(), **OPTIONS, storage=name)
        same(found, whole)
        agrees(name, found)


def test_without_a_state_a_trial_begins_again(whole, tmp_path):
    def stop(trial, step, when):
        if (trial, step) == (1, 2) and when == "after":
            raise KeyboardInterrupt

    taken = whole.table["steps"].tolist()
    assert taken[1] > 2, "the trial must go on after the step at which it is cut off"
    with pytest.raises(KeyboardInterrupt):
        search(space, Walk(stop, stateful=False), **OPTIONS, storage=tmp_path)
    walk = Walk()
    found = search(space, walk, **OPTIONS, storage=tmp_path)
    same(found, whole)
    agrees(tmp_path, found)
    assert len(walk.steps) == sum(taken[1:])


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_tuning_storage import OPTIONS, Walk, search, space

def kill(trial, step, when):
    if (trial, step, when) == {moment!r}:
        os.kill(os.getpid(), signal.SIGKILL)

search(space, Walk(kill), **OPTIONS, storage={folder!r})
"""


@pytest.mark.long
def test_it_can_be_killed(whole, tmp_path):
    """Three processes that kill themselves in turn, and one that ends the search."""
    taken = whole.table["steps"].tolist()
    assert taken[0] == taken[1] == STEPS, "startup trials are finished"
    for moment in ((0, 2, "after"), (0, 3, "before"), (2, 1, "before")):
        script = KILLED.format(
            tests=str(Path(__file__).parent), moment=moment, folder=str(tmp_path)
        )
        ended = subprocess.run([sys.executable, "-c", script], check=False)
        assert ended.returncode == -signal.SIGKILL
    walk = Walk()
    found = search(space, walk, **OPTIONS, storage=tmp_path)
    same(found, whole)
    agrees(tmp_path, found)
    # the third process went on with trial 0 as its first: its third is trial 2
    assert len(walk.steps) == sum(taken[2:])


@pytest.mark.parametrize("n_lost", [1, 2])
def test_a_report_that_was_lost_is_in_the_checkpoint(whole, tmp_path, n_lost):
    """A machine that stops may lose the end of one file, and not another file."""

    def stop(trial, step, when):
        if (trial, step, when) == (1, 3, "after"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(space, Walk(stop), **OPTIONS, storage=tmp_path)
    path = tmp_path / "reports.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-n_lost]))
    walk = Walk()
    found = search(space, walk, **OPTIONS, storage=tmp_path)
    same(found, whole)
    agrees(tmp_path, found)
    assert len(walk.steps) == whole.table["steps"][1:].sum() - 3


def test_lines_that_were_cut_off_were_never_written(whole, tmp_path):
    search(space, Walk(), **(OPTIONS | {"n_trials": 4}), storage=tmp_path)
    for name in ("reports.jsonl", "trials.jsonl"):
        path = tmp_path / name
        path.write_text(path.read_text()[:-9])
    found = search(space, Walk(), **OPTIONS, storage=tmp_path)
    same(found, whole)
    agrees(tmp_path, found)


def test_losses_that_are_not_finite_come_back(tmp_path):
    def diverging(settings, report):
        report(1, math.inf if settings["kind"] == "square" else 1.0)
        return settings["x"]

    one = search(space, diverging, **OPTIONS, storage=tmp_path)
    assert (one.table["state"] == "pruned").any()
    assert one.table["loss"][one.table["state"] == "pruned"].isna().all()
    told = [e["loss"] for e in entries(tmp_path, "reports.jsonl")]
    assert None in told
    two = search(space, diverging, **OPTIONS, storage=tmp_path)
    pd.testing.assert_frame_equal(one.table, two.table)


def other_space(trial):
    return {
        "x": trial.suggest_float("x", -4.0, 5.0),
        "kind": trial.suggest_categorical("kind", [1]),
    }


@pytest.mark.parametrize(
    ("where", "changes", "said"),
    [
        (space, {"seed": 6}, r"'seed': \(5, 6\)"),
        (space, {"fingerprint": "other data"}, "'fingerprint': .*'other data'"),
        (space, {"n_startup": 3}, "'n_startup'"),
        (space, {"first": {"x": 1.0}}, "'first'"),
        (space, {"engine": "ray"}, "'engine'"),
        (other_space, {}, "'space'"),
    ],
)
def test_another_search_may_not_go_on(tmp_path, where, changes, said):
    options = OPTIONS | {"n_trials": 1}
    search(space, Walk(), **options, storage=tmp_path)
    with pytest.raises(ValueError, match=f"(?s)belongs to another search.*{said}"):
        search(where, Walk(), **(options | changes), storage=tmp_path)


def test_a_space_that_asks_for_something_else_later_is_found_out(tmp_path):
    """The first trial is alike, so that only what the second tried gives it away."""

    def grows(trial):
        settings = space(trial)
        return settings | ({"y": trial.suggest_float("y", 0, 1)} if trial.number else {})

    search(grows, Walk(), **OPTIONS, storage=tmp_path)
    with pytest.raises(ValueError, match="belongs to another search: its trial 1 tried.*'y'"):
        search(space, Walk(), **OPTIONS, storage=tmp_path)


def break_line(folder):
    path = folder / "reports.jsonl"
    path.write_text(path.read_text().replace('"step"', '"stop', 1))


def lose_reports(folder):
    path = folder / "reports.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def lose_beginnings(folder):
    path = folder / "trials.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def lose_columns(folder):
    (folder / "reports.jsonl").write_text('{"trial": 0}\n')


def empty_plan(folder):
    (folder / "search.json").write_text("[]")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (break_line, "reports.jsonl is damaged: expected lines of JSON; line 1"),
        (lose_reports, "trial 1 does not end as it went"),
        (lose_beginnings, "trial 0 has ended or not begun"),
        (lose_columns, "reports.jsonl is damaged: expected entries of .*'loss'"),
        (empty_plan, "search.json is damaged"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, harm, said):
    options = OPTIONS | {"n_trials": 2}
    search(space, Walk(), **options, storage=tmp_path)
    harm(tmp_path)
    with pytest.raises(ValueError, match=f"(?s){said}.*Delete the folder"):
        search(space, Walk(), **options, storage=tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    def stop(trial, step, when):
        if (step, when) == (2, "after"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(space, Walk(stop), **OPTIONS, storage=tmp_path)
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"0\.pt is damaged: expected a checkpoint"):
        search(space, Walk(), **OPTIONS, storage=tmp_path)


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="holds no search but other things, such as 'thesis.txt'"):
        search(space, Walk(), **OPTIONS, storage=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "thesis.txt"]


def test_a_search_may_begin_again(whole, tmp_path):
    """Whatever search was there is gone; what else is there stays."""
    search(other_space, Walk(), **OPTIONS, storage=tmp_path, fingerprint="old")
    (tmp_path / "notes.txt").write_text("mine")
    walk = Walk()
    found = search(space, walk, **OPTIONS, storage=tmp_path, resume=False)
    same(found, whole)
    agrees(tmp_path, found)
    assert len(walk.steps) == whole.table["steps"].sum()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_is_no_search_is_not_deleted(tmp_path):
    (tmp_path / "reports.jsonl").write_text("of somebody else")
    with pytest.raises(ValueError, match="holds no search"):
        search(space, Walk(), **OPTIONS, storage=tmp_path, resume=False)
    assert (tmp_path / "reports.jsonl").read_text() == "of somebody else"


def test_a_search_that_was_killed_while_it_claimed_its_folder_begins(whole, tmp_path):
    (tmp_path / "search.4711.part").write_text('{"vers')
    same(search(space, Walk(), **OPTIONS, storage=tmp_path), whole)


def test_one_search_at_a_time(tmp_path):
    def again(trial, step, when):
        search(space, Walk(), **OPTIONS, storage=tmp_path)

    with pytest.raises(ValueError, match="is in use by another search"):
        search(space, Walk(again), **OPTIONS, storage=tmp_path)
    search(space, Walk(), **OPTIONS, storage=tmp_path)  # and it is let go of


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"weights": [torch.zeros(2), {"rng": object()}]}, r"object at state\['weights'\]\[1\]"),
        ({"loss": pd.Series([1.0])}, r"Series at state\['loss'\]"),
        (pd.Series([1.5]).to_numpy()[0], "float64 at state"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_states_that_could_not_be_loaded_are_refused(tmp_path, state, where, kept):
    """With and without a folder, so that the objective fails before it is needed."""

    def objective(settings, report):
        report(1, 1.0, state)

    storage = tmp_path if kept else None
    with pytest.raises(ValueError, match=f"tensors, numbers, strings.*got .*{where}"):
        search(space, objective, **OPTIONS, storage=storage)


def test_states_of_networks_and_optimisers_come_back(tmp_path):
    network = torch.nn.Linear(2, 1)
    adam = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    adam.step()
    state = {"network": network.state_dict(), "adam": adam.state_dict(), "done": None}
    checkpoints = tuning_log.Checkpoints(tmp_path)
    checkpoints.save(3, [(1, 0.5), (2, 0.1)], state)
    reports, back = checkpoints.load(3)
    assert reports == [(1, 0.5), (2, 0.1)]
    assert torch.equal(back["network"]["weight"], network.weight)
    adam.load_state_dict(back["adam"])
    assert os.listdir(tmp_path) == ["3.pt"]
