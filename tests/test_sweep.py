"""Sweeps under Ray: each run once, whatever ends it, whatever ends the sweep."""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

pytestmark = [pytest.mark.press, pytest.mark.ray, pytest.mark.long]
pytest.importorskip("papermill", reason="needs the press")
pytest.importorskip("ray", reason="needs the extra [ray]")

from sweeping import copy_book, make_book  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from bookpress import cli, grid, sweep  # noqa: E402
from bookpress.book import BookError  # noqa: E402

SMALL = sweep.Resources(cpus=1, memory_gb=0.7)


@pytest.fixture(scope="module")
def cluster(start_ray):
    """Ray on one machine, to which others can be added."""
    ray = importlib.import_module("ray")
    head = {"num_cpus": 2, "object_store_memory": sweep.OBJECT_STORE_BYTES}

    def begin():
        made = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args=head
        )
        try:
            ray.init(address=made.address, log_to_driver=False, logging_level="error")
        except Exception:
            made.shutdown()
            raise
        return made

    made = start_ray(begin)
    yield made
    ray.shutdown()
    made.shutdown()
    gc.collect()  # what Ray leaves to the collector is not for other tests to judge


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_book(tmp_path_factory.mktemp("sweep") / "book")


@pytest.fixture
def book(original, tmp_path):
    """A book of this test's own, which it may change."""
    return copy_book(original, tmp_path / "book")


def swept(book, *pairs, files=(), **options):
    cells = grid.cells(book, ["01"], pairs, list(files))
    settings = {"resources": SMALL, "progress": False} | options
    return sweep.run(book, cells, book.root / "runs" / "s", sweep.Options(**settings))


def records(book):
    found = (book.root / "runs" / "s" / "runs").rglob("run.json")
    return [json.loads(path.read_text()) for path in found]


def events(book, kind):
    lines = (book.root / "runs" / "s" / "events.jsonl").read_text().splitlines()
    return [told for line in lines if (told := json.loads(line))["event"] == kind]


@pytest.mark.filterwarnings("ignore")
class TestOneMachine:
    def test_every_end_is_recorded_and_stops_no_other(self, cluster, book):
        counts = swept(book, "end=well,error,memory,death,bare", "seed=1,2")
        assert counts == {"done": 4, "failed": 6}
        kinds = Counter(r["error"]["kind"] for r in records(book) if r["error"])
        assert kinds == {"error": 2, "memory": 2, "killed": 2}
        assert len(events(book, "failed")) == 6
        for name in ("table.csv", "table.parquet", "index.html"):
            assert (book.root / "runs" / "s" / name).stat().st_size > 100
        assert not (book.root / "runs" / "s" / "work").exists()

    def test_called_again_it_repeats_nothing_but_what_it_is_told_to(self, cluster, book, tmp_path):
        told = tmp_path / "told"
        told.mkdir()
        axes = ("end=well,error", f"told={told}")
        assert swept(book, *axes) == {"done": 1, "failed": 1}
        assert swept(book, *axes) == {"done": 1, "failed": 1}
        assert len(list(told.iterdir())) == 2
        assert swept(book, *axes, retry_failed=True) == {"done": 1, "failed": 1}
        assert len(list(told.iterdir())) == 3
        put_aside = list((book.root / "runs" / "s" / "superseded").rglob("run.json"))
        assert len(put_aside) == 1
        # a larger grid adds to the sweep
        assert swept(book, *axes, "seed=0,1") == {"done": 2, "failed": 2}
        assert len(list(told.iterdir())) == 5

    def test_runs_of_other_code_are_not_mixed_in(self, cluster, book):
        swept(book)
        script = book.notebooks / "01_ends.py"
        script.write_text(script.read_text().replace("seed * rate,", "seed * rate * 2,"))
        with pytest.raises(BookError, match=r"01_ends.*--out.*--accept-changes"):
            swept(book, "seed=1")
        assert swept(book, "seed=1", accept_changes=True) == {"done": 2}
        assert len({r["code_hash"] for r in records(book)}) == 2

    def test_a_full_disk_ends_the_sweep_and_loses_nothing(self, cluster, book):
        with pytest.raises(BookError, match="is full.*call the same command again"):
            swept(book, "end=well,full", jobs=1)
        assert [r["state"] for r in records(book)] == ["done"]

    def test_refused_runs_are_recorded_when_the_others_are_made_anyway(self, cluster, book):
        good, bad = (book.notebooks / "params" / f"{k}.yaml" for k in "ab")
        good.write_text("seed: 3\n")
        bad.write_text("sede: 3\n")
        assert swept(book, files=[good, bad]) == {"done": 1, "refused": 1}
        (refused,) = events(book, "refused")
        assert "b.yaml: unknown parameter 'sede'" in refused["fault"]
        assert "sede" in (book.root / "runs" / "s" / "index.html").read_text()

    def test_results_runs_every_chapter_over_the_seeds_of_the_settings(
        self, cluster, book, monkeypatch
    ):
        (book.root / "pyproject.toml").write_text("[tool.bookpress]\nseeds = [4, 2, 9]\n")
        monkeypatch.chdir(book.root)
        told = CliRunner().invoke(cli.app, ["results", "--jobs", "2"])
        assert told.exit_code == 0, told.output
        kept = json.loads((book.results / "across_seeds" / "01_ends.json").read_text())
        assert kept["seeds"] == [2, 4, 9]
        assert kept["claims"]["draw"]["values"] == [2, 4, 9]

    def test_a_run_that_was_refused_is_forgotten_once_its_file_is_mended(self, cluster, book):
        path = book.notebooks / "params" / "a.yaml"
        path.write_text("sede: 3\n")
        assert swept(book, files=[path]) == {"refused": 1}
        path.write_text("seed: 3\n")
        assert swept(book, files=[path]) == {"done": 1}

    def test_a_chapter_that_is_not_python_is_named_before_anything_starts(self, cluster, book):
        (book.notebooks / "01_ends.py").open("a").write("\n# %%\nif True\n    pass\n")
        with pytest.raises(BookError, match="01_ends.* is not Python.*'if True'"):
            swept(book)
        assert not records(book)

    def test_a_folder_that_is_a_file_is_refused(self, cluster, book):
        (book.root / "runs").mkdir()
        (book.root / "runs" / "s").touch()
        with pytest.raises(BookError, match=r"must be a folder.*--out"):
            swept(book)

    def test_what_no_machine_has_is_refused_at_once(self, cluster, book):
        with pytest.raises(BookError, match="the most are 2, 0 and"):
            swept(book, resources=sweep.Resources(cpus=64))

    def test_two_sweeps_do_not_work_in_one_folder(self, cluster, book):
        out = book.root / "runs" / "s"
        out.mkdir(parents=True)
        with sweep._sole_owner(out), pytest.raises(BookError, match="Another sweep works in"):
            swept(book)

    def test_a_folder_of_something_else_is_refused(self, cluster, book):
        out = book.root / "runs" / "s"
        out.mkdir(parents=True)
        (out / "sweep.json").write_text("{}")
        with pytest.raises(BookError, match="not a manifest"):
            swept(book)


# As a machine does that loses its power: all of its processes end at once, in mid-work.
KILLER = """
import os, psutil, sys, time
while len(os.listdir(sys.argv[1])) < 4:
    time.sleep(0.05)
machine = psutil.Process(int(sys.argv[2]))
for process in [machine, *machine.children(recursive=True)]:
    process.kill()
"""


@pytest.mark.filterwarnings("ignore")
class TestMachinesThatAreLost:
    def test_runs_of_a_machine_that_dies_are_made_elsewhere_each_once(
        self, cluster, book, tmp_path
    ):
        told = tmp_path / "told"
        told.mkdir()
        second = cluster.add_node(num_cpus=2, object_store_memory=sweep.OBJECT_STORE_BYTES)
        cluster.wait_for_nodes()
        watcher = subprocess.Popen([sys.executable, "-c", KILLER, str(told), str(raylet(second))])
        counts = swept(book, "seed=1..8", "seconds=1.5", f"told={told}")
        assert watcher.wait(timeout=10) == 0
        cluster.remove_node(second, allow_graceful=False)
        assert counts == {"done": 8}
        assert sorted(r["parameters"]["seed"] for r in records(book)) == list(range(1, 9))
        assert {e["run"] for e in events(book, "lost")}
        assert len(events(book, "done")) == 8


def raylet(node):
    """Process id of the part of Ray that is a machine to the others."""
    (process,) = node.all_processes["raylet"]
    return process.process.pid


class TestDriversThatAreKilled:
    def test_a_killed_sweep_goes_on_and_repeats_nothing_that_had_ended(self, book, tmp_path):
        told = tmp_path / "told"
        told.mkdir()
        words = ["sweep", "01", "-p", "seed=1..4", "-p", "seconds=0.5", "-p", f"told={told}"]
        command = [sys.executable, "-m", "bookpress", *words, "--out", "runs/s", "--memory", "1"]
        settings = {"cwd": book.root, "text": True}
        first = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **settings
        )
        deadline = time.monotonic() + 120
        while len(records(book)) < 2:
            assert first.poll() is None, first.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        first.kill()
        first.communicate()
        ended = {r["run"]: r["started"] for r in records(book)}
        again = subprocess.run(command, capture_output=True, **settings)
        assert again.returncode == 0, again.stderr
        assert "4 runs done" in again.stdout
        found = {r["run"]: r["started"] for r in records(book)}
        assert len(found) == 4
        assert found | ended == found
        # at most those in flight were begun twice
        assert 4 <= len(list(told.iterdir())) <= 4 + os.cpu_count()
        assert first.returncode == -signal.SIGKILL


class TestOptions:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"cpus": 0}, "some processor"),
            ({"memory_gb": -1}, "some memory"),
            ({"gpus": -1}, "no negative share"),
            ({"cpus": 1.5}, "below 1"),
            ({"gpus": 2.5}, "below 1"),
        ],
    )
    def test_resources_are_checked(self, wrong, message):
        with pytest.raises(BookError, match=message):
            sweep.Resources(**wrong)

    def test_an_interruption_says_what_is_kept(self, original, monkeypatch):
        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.chdir(original.root)
        monkeypatch.setattr(sweep, "run", stop)
        told = CliRunner().invoke(cli.app, ["sweep", "01"])
        assert told.exit_code == 130
        assert "What had ended is kept" in told.output

    def test_a_folder_without_a_sweep_has_no_summary(self, tmp_path, original):
        with pytest.raises(BookError, match="holds no sweep"):
            sweep.summarise(original, tmp_path)
