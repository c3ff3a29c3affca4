"""Under Ray, the same call searches the same space, side by side, and goes on when it is killed."""

from __future__ import annotations

import gc
import importlib
import json
import signal
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from visualcortex import tuning_ray
from visualcortex.tuning import OnRay, search
from visualcortex.tuning_log import Log, Record

ONE = OnRay(n_parallel=1, reduction=2)


def square(trial):
    x = trial.suggest_float("x", -5.0, 5.0)
    return {"length": x, "power": 2, "kind": trial.suggest_categorical("kind", ["a", "b"])}


def local():
    """A space and an objective that are sent by value: Ray's processes cannot import this file."""

    def space(trial):
        x = trial.suggest_float("x", -5.0, 5.0)
        return {"length": x, "power": 2, "kind": trial.suggest_categorical("kind", ["a", "b"])}

    def walk(settings, report):
        assert set(settings) == {"length", "power", "kind"}
        value = (settings["length"] - 2) ** settings["power"]
        for step in (1, 2, 3):
            report(step, float("nan") if settings["length"] > 4 else value + 1 / step)
        return value

    return space, walk


def slow(diary, steps=5):
    """An objective with a state, which writes every step that it takes into a file."""

    def walk(settings, report):
        import time
        from pathlib import Path

        assert report.step == (report.kept or {"step": 0})["step"]
        value = abs(settings["length"] - 2)
        for step in range(report.step + 1, steps + 1):
            with Path(diary).open("a") as file:
                file.write(f"{settings['length']!r} {step}\n")
            time.sleep(0.3)
            report(step, value + 1 / step, {"step": step})
        return value

    return walk


def taken(diary):
    return [(float(x), int(step)) for x, step in map(str.split, diary.read_text().splitlines())]


@pytest.fixture(scope="module")
def ray(start_ray):
    """Ray, running; what it warns of is not for us to judge, its start takes long."""
    pytest.importorskip("ray", reason="needs the extra [ray]")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = importlib.import_module("ray")

        def begin():
            started.shutdown()
            started.init(
                address="local", num_cpus=2, include_dashboard=False, log_to_driver=False
            )

        start_ray(begin)
        yield started
        started.shutdown()
        gc.collect()  # what it leaves to the collector is not for other tests to judge


needs_ray = [
    pytest.mark.ray,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore"),
]


class TestOnRay:
    pytestmark = needs_ray

    def test_ray_searches_the_same_space(self, ray, tmp_path, capfd):
        """Trials ended early, trials that diverge, the columns of the other table."""
        space, walk = local()
        options = {"engine": "ray", "on_ray": ONE, "storage": tmp_path}
        found = search(space, walk, n_trials=12, **options)
        table = found.table
        assert ray.is_initialized()  # it was before
        assert list(table.columns) == ["loss", "steps", "state", "x", "kind"]
        assert table.index.name == "trial"
        assert table.index.tolist() == list(range(12))
        x, done, wild = table["x"], table["state"] == "complete", table["x"] > 4
        assert np.allclose(table["loss"][done], (x[done] - 2) ** 2)
        assert (table["steps"][done] == 3).all()
        ended = ~done & ~wild
        assert ended.any()
        assert np.allclose(table["loss"][ended], (x[ended] - 2) ** 2 + 1 / table["steps"][ended])
        assert wild.any()
        assert table["loss"][wild].isna().all()
        assert not done[wild].any()
        # one at a time, the seed decides what is tried: as in a search of Optuna's own
        drawn = search(space, lambda s, report: 0.0, n_trials=4, progress=False).table
        assert np.allclose(drawn["x"], x[:4])
        best = table["loss"][done].idxmin()
        assert found.settings == {"length": x[best], "power": 2, "kind": table["kind"][best]}
        assert found.study.best_trial.number == best
        self.check_reports(tmp_path, found)
        # asked again, it answers from the folder; nothing tells a page where the folder is
        again = search(space, None, n_trials=12, **options)
        pd.testing.assert_frame_equal(again.table, table)
        assert str(tmp_path) not in "".join(capfd.readouterr())

    @staticmethod
    def check_reports(folder, found):
        lines = (folder / "reports.jsonl").read_text().splitlines()
        assert len(lines) == found.table["steps"].sum()
        for trial in found.study.trials:
            mine = [e for e in map(json.loads, lines) if e["trial"] == trial.number]
            assert [e["step"] for e in mine] == list(trial.intermediate_values)
            told = [np.nan if e["loss"] is None else e["loss"] for e in mine]
            assert np.array_equal(told, list(trial.intermediate_values.values()), equal_nan=True)

    def test_the_first_and_an_error(self, ray):
        space, walk = local()
        first = {"x": 1.5, "kind": "b"}
        found = search(space, walk, n_trials=1, engine="ray", on_ray=ONE, first=first)
        assert found.study.trials[0].params == first
        assert found.settings["length"] == 1.5

        def wrong(settings, report):
            raise KeyError("no such layer")

        with pytest.raises(RuntimeError, match="(?s)1 of 1 trials.*no such layer"):
            search(space, wrong, n_trials=1, engine="ray", on_ray=ONE)

    def test_it_can_be_killed(self, ray, tmp_path):
        """The process of the search, in the middle of its second trials; then another goes on."""
        folder, diary = tmp_path / "kept", tmp_path / "diary"
        address = ray.get_runtime_context().gcs_address
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from test_tuning_ray import *\n"
            f"search(local()[0], slow({str(diary)!r}), n_trials=6, engine='ray', n_warmup=9,\n"
            f"       storage={str(folder)!r}, on_ray=OnRay(address={address!r}))\n"
        )
        driver = subprocess.Popen([sys.executable, "-c", code])
        reports = folder / "reports.jsonl"
        waited = time.monotonic()
        while not reports.exists() or reports.read_text().count("\n") < 13:
            assert driver.poll() is None, "it must not end by itself"
            assert time.monotonic() - waited < 120
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        time.sleep(2)  # Ray ends what it ran for it
        before, then = taken(diary), Log(folder).records
        finished = {k: r for k, r in then.items() if r.finished}
        running = {k: r for k, r in then.items() if not r.finished and r.reports}
        assert finished
        assert running
        found = search(
            local()[0], slow(str(diary)), n_trials=6, engine="ray", n_warmup=9, storage=folder
        )
        self.check_reports(folder, found)
        assert (found.table["state"] == "complete").all()
        after = taken(diary)[len(before) :]
        for number, record in finished.items():
            assert found.table["loss"][number] == record.loss
            assert found.table["x"][number] == record.parameters["x"]
            assert record.parameters["x"] not in [x for x, _ in after]
        for number, record in running.items():
            x = record.parameters["x"]
            assert found.table["x"][number] == x
            again = [step for y, step in after if y == x]
            # at most the step that was under way, and the one whose state was not yet kept
            assert again == list(range(again[0], 6))
            assert again[0] >= len(record.reports)
        assert len(set(found.table["x"])) == 6, "the same is not drawn twice"


class TestWhatRayIsTold:
    """Ray's own searcher and scheduler, without starting Ray."""

    pytestmark = needs_ray

    def test_the_scheduler_knows_again_what_was_reported(self):
        """A newcomer is ended when it is worse than half of those that ended before."""
        ray = tuning_ray.load_ray()
        known = [record(0.0, "pruned", 4.0), record(1.0, "complete", 2.0, 1.0)]
        known += [record(0.0, "pruned", np.nan), record(2.0, "running", 9.0)]
        for loss, action in ((2.5, "CONTINUE"), (4.5, "STOP")):
            scheduler = tuning_ray._scheduler(ray, known, 1, 2)
            new = types.SimpleNamespace(trial_id="new")
            scheduler.on_trial_add(None, new)
            assert scheduler.on_trial_result(None, new, {"step": 1, "loss": loss}) == action
        assert len(scheduler._brackets[0]._rungs[-1][1]) == 4, "those that run tell it themselves"

    def test_unfinished_trials_come_first_with_their_parameters(self):
        """Of four trials that are known, one never began; it is drawn, with its number."""
        ray = tuning_ray.load_ray()
        known = [record(0.5, "complete", 1.0), record(1.5, "running", 2.0)]
        known += [Record({}), record(-2.5, "running")]
        sampler = optuna.samplers.RandomSampler(seed=0)
        searcher = tuning_ray._searcher(ray, square, known, sampler, {"x": 4.0})
        asked = [searcher.suggest(name) for name in "abcd"]
        assert [one["number"] for one in asked] == [1, 2, 3, 4]
        assert [one["x"] for one in asked][::2] == [1.5, -2.5]
        assert asked[0]["settings"] == {"length": 1.5, "power": 2, "kind": "a"}
        assert 4.0 not in [one["x"] for one in asked], "first was tried when all began"

    def test_the_first_is_tried_where_nothing_is_known(self):
        sampler = optuna.samplers.RandomSampler(seed=0)
        searcher = tuning_ray._searcher(
            tuning_ray.load_ray(), square, [], sampler, {"x": 4.0, "kind": "b"}
        )
        assert searcher.suggest("a")["tried"] == {"x": 4.0, "kind": "b"}


@pytest.mark.parametrize(
    ("running", "address", "given"),
    [
        (False, None, {"address": "local", "num_cpus": 3}),
        (False, "auto", {"address": "auto"}),
        (True, None, None),
    ],
)
def test_ray_ends_if_it_was_begun_here(running, address, given):
    seen = []
    stand_in = types.SimpleNamespace(
        is_initialized=lambda: running,
        init=lambda **options: seen.append(options),
        shutdown=lambda: seen.append("end"),
    )

    def fail():
        with tuning_ray.started(stand_in, OnRay(n_parallel=3, address=address)):
            raise KeyError("within")

    with pytest.raises(KeyError, match="within"):
        fail()
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    assert seen == ([] if given is None else [given | quiet, "end"])


def test_without_ray_an_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray.tune", raising=False)
    with pytest.raises(ImportError, match=r"visualcortex-book\[ray\].*or use engine='optuna'"):
        search(square, lambda settings, report: 0.0, n_trials=1, engine="ray")


@pytest.mark.parametrize("wrong", [{"reduction": 1}, {"n_parallel": 0}, {"gpus": -0.5}])
def test_numbers_for_ray_are_checked(wrong):
    with pytest.raises(ValueError, match="need at least 1 trial at a time, a reduction of at"):
        OnRay(**wrong)


def record(x, state, *losses):
    told = [(step, loss) for step, loss in enumerate(losses, start=1)]
    final = losses[-1] if state == "complete" else np.nan
    return Record({"x": x, "kind": "a"}, told, state, final)


def test_what_is_known_comes_back_as_trials_of_optuna():
    trial = tuning_ray.frozen(square, record(1.5, "complete", 0.7, 0.4))
    assert trial.state is optuna.trial.TrialState.COMPLETE
    assert trial.params == {"x": 1.5, "kind": "a"}
    assert trial.distributions["x"] == optuna.distributions.FloatDistribution(-5, 5)
    assert (trial.value, trial.intermediate_values) == (0.4, {1: 0.7, 2: 0.4})
    ended = tuning_ray.frozen(square, record(1.5, "pruned", 0.7))
    assert (ended.state.name, ended.value) == ("PRUNED", None)


def told(loss, state="running", steps=1, again=False, **more):
    return {"loss": loss, "state": state, "steps": steps, "step": steps, "again": again} | more


def test_what_trials_tell_is_heard_once():
    """A trial that goes on tells its first two losses again, the third is new; then it ends."""
    log = Log(None)
    log.begin(0, {"x": 1.0})
    for n, loss in enumerate([3.0, 2.0], start=1):
        tuning_ray.hear(log, 0, told(loss, steps=n))
    for n, loss in enumerate([3.0, 2.0, 1.5], start=1):
        tuning_ray.hear(log, 0, told(loss, steps=n, again=True))
    tuning_ray.hear(log, 0, told(1.0, steps=4))
    tuning_ray.hear(log, 0, told(0.5, state="complete", steps=4))
    assert log.records[0].reports == [(1, 3.0), (2, 2.0), (3, 1.5), (4, 1.0)]
    assert (log.records[0].state, log.records[0].loss) == ("complete", 0.5)


def test_steps_that_are_taken_again_replace_what_was_told():
    log = Log(None)
    log.begin(0, {"x": 1.0})
    for n in (1, 2, 3):
        tuning_ray.hear(log, 0, told(float(n), steps=n))
    tuning_ray.hear(log, 0, told(9.0, steps=2, done=True))
    assert log.records[0].reports == [(1, 1.0), (2, 9.0)]
    assert log.records[0].state == "pruned"


def test_a_loss_beyond_all_is_heard_as_nan():
    log = Log(None)
    log.begin(0, {"x": 1.0})
    tuning_ray.hear(log, 0, told(tuning_ray.ENDLESS))
    tuning_ray.hear(log, 0, told(tuning_ray.ENDLESS, state="pruned"))
    assert np.isnan(log.records[0].reports[0][1])
    assert log.records[0].state == "pruned"
