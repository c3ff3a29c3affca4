"""One run of a sweep: what it leaves, however it ends."""

from __future__ import annotations

import errno
import json
import os

import nbformat
import psutil
import pytest

pytestmark = pytest.mark.press
pytest.importorskip("papermill", reason="needs the press")

from sweeping import make_book  # noqa: E402

from bookpress import cell, grid  # noqa: E402

# not one of those that a sweep hands on
KEY = "sesame-open-1234"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return make_book(tmp_path_factory.mktemp("cell") / "book")


@pytest.fixture
def order(book, tmp_path):
    """Return a maker of orders for runs of the chapter."""

    def make(*pairs, **more):
        (one,) = grid.cells(book, ["01"], pairs, [])
        facts = {"code": book.code_hash("01_ends"), "lock": book.lock_hash(), "commit": "abc"}
        return cell.Order(book.root, tmp_path / "out", one, "tests", **(facts | more))

    return make


def kept(order):
    place = order.out / order.cell.place
    return {path.name: path for path in place.iterdir()}


def test_a_run_that_ends_well_leaves_all_of_it(order, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", KEY)
    before = dict(os.environ)
    told = order("seed=3", "rate=2", cpus=2.0, attempt=2)
    record = cell.carry_out(told, node="n1")
    assert os.environ == before
    files = kept(told)
    assert set(files) == {"notebook.ipynb", "claims.json", "log.txt", "run.json", "logs"}
    assert json.loads(files["run.json"].read_text()) == record
    assert record["state"] == "done"
    assert record["error"] is None
    assert record["parameters"]["rate"] == 2.0
    assert (record["attempt"], record["node"], record["commit"]) == (2, "n1", "abc")
    assert 0.3 < record["duration_s"] < 60
    assert 2e7 < record["peak_memory_bytes"] < 2e9
    (claim,) = json.loads(files["claims.json"].read_text())["claims"]
    assert claim["value"] == 6
    assert "threads 2" in files["log.txt"].read_text()
    assert (files["logs"] / "reports.jsonl").read_text().startswith('{"trial": 0')
    assert not list((told.out / "work").iterdir())
    everything = [p.read_text() for p in told.out.rglob("*") if p.is_file()]
    assert not any(KEY in text for text in everything)
    assert "the key is hidden" in files["log.txt"].read_text()


@pytest.mark.parametrize(
    ("end", "kind", "name"),
    [("error", "error", "ValueError"), ("death", "killed", "KernelDied")],
)
def test_a_run_that_fails_says_where_and_how(order, end, kind, name):
    told = order(f"end={end}")
    record = cell.carry_out(told)
    fault = record["error"]
    assert record["state"] == "failed"
    assert (fault["kind"], fault["name"]) == (kind, name)
    assert fault["source"].splitlines()[0] == "# the end"
    cells = nbformat.read(kept(told)["notebook.ipynb"], as_version=4).cells
    banner = "papermill-error-cell-tag"  # put in afterwards
    own = [one for one in cells if banner not in one.metadata.get("tags", [])]
    assert own[fault["cell"] - 1].source.startswith("# the end")
    assert json.loads(kept(told)["run.json"].read_text()) == record


@pytest.mark.long
def test_a_run_that_takes_too_much_memory_is_stopped(order):
    told = order("end=memory", memory_gb=0.6)
    record = cell.carry_out(told)
    fault = record["error"]
    assert fault["kind"] == "memory"
    assert "had been given 0.6" in fault["message"]
    assert "--memory" in fault["message"]
    assert fault["source"].startswith("# the end")
    assert 0.6e9 < record["peak_memory_bytes"] < 1.2e9
    assert not psutil.Process().children(recursive=True)


def test_a_run_that_has_ended_is_not_repeated(order, tmp_path):
    told = order(f"told={tmp_path}")
    first = cell.carry_out(told)
    again = cell.carry_out(order(f"told={tmp_path}", attempt=2))
    assert again == first
    assert len(list(tmp_path.glob("0-*"))) == 1


def test_of_two_that_make_the_same_run_the_first_to_end_is_kept(order, monkeypatch):
    """As when a machine was believed lost and was not: both execute, one folder stands."""
    told = order("seed=5")
    first = cell.carry_out(told, node="first")
    looks = iter([None])
    monkeypatch.setattr(cell, "finished", lambda out, one: next(looks, first))
    second = cell.carry_out(order("seed=5"), node="second")
    assert second["node"] == "first"
    assert json.loads(kept(told)["run.json"].read_text())["node"] == "first"


def test_a_full_disk_is_no_fault_of_the_run(order):
    told = order("end=full")
    with pytest.raises(cell.DiskFull) as caught:
        cell.carry_out(told)
    assert caught.value.errno == errno.ENOSPC
    assert not (told.out / told.cell.place).exists()
    assert not list((told.out / "work").iterdir())


def test_a_disk_that_is_full_when_the_run_is_kept(order, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cell, "_write", full)
    with pytest.raises(cell.DiskFull):
        cell.carry_out(order())


def test_a_run_without_claims_is_a_run(order):
    told = order("end=bare")
    assert cell.carry_out(told)["state"] == "done"
    assert "claims.json" not in kept(told)


def test_code_that_changed_under_way_makes_a_run_fail(order):
    told = order(code="of-yesterday")
    fault = cell.carry_out(told)["error"]
    assert (fault["kind"], fault["name"]) == ("refused", "CodeChanged")
    assert "of-yesterday" in fault["message"]


def test_a_lost_run_is_recorded(order):
    class OutOfMemoryError(Exception):
        pass

    told = order("seed=8", attempt=3)
    record = cell.lost(told, OutOfMemoryError("the machine had none left"))
    assert record["error"]["kind"] == "memory"
    assert "3 times" in record["error"]["message"]
    assert cell.finished(told.out, told.cell) == record
    assert "none left" in kept(told)["log.txt"].read_text()
    assert cell.lost(order("seed=9"), ValueError("?"))["error"]["kind"] == "killed"


def test_a_damaged_record_is_none(order):
    told = order()
    place = told.out / told.cell.place
    place.mkdir(parents=True)
    assert cell.finished(told.out, told.cell) is None
    (place / "run.json").write_text('{"state": "do')
    assert cell.finished(told.out, told.cell) is None
