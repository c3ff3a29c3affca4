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


def made(order, node=""):
    """Make a run, and put it in place as the sweep does if it failed."""
    return cell.keep(order, cell.carry_out(order, node))


def kept(order):
    place = order.out / order.cell.place
    return {path.name: path for path in place.iterdir()}


def test_a_run_that_ends_well_leaves_all_of_it(order, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", KEY)
    before = dict(os.environ)
    told = order("seed=3", "rate=2", cpus=2.0, attempt=2)
    record = made(told, node="n1")
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
    record = made(told)
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
    record = made(told)
    fault = record["error"]
    assert fault["kind"] == "memory"
    assert "had been given 0.6" in fault["message"]
    assert "--memory" in fault["message"]
    assert fault["source"].startswith("# the end")
    assert 0.6e9 < record["peak_memory_bytes"] < 1.2e9
    assert not psutil.Process().children(recursive=True)


def test_a_run_that_has_ended_is_not_repeated(order, tmp_path):
    told = order(f"told={tmp_path}")
    first = made(told)
    again = made(order(f"told={tmp_path}", attempt=2))
    assert again == first
    assert len(list(tmp_path.glob("0-*"))) == 1


def test_of_two_that_make_the_same_run_the_first_to_end_is_kept(order, monkeypatch):
    """As when a machine was believed lost and was not: both execute, one folder stands."""
    told = order("seed=5")
    first = made(told, node="first")
    looks = iter([None])
    monkeypatch.setattr(cell, "finished", lambda out, one: next(looks, first))
    second = made(order("seed=5"), node="second")
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
    assert made(told)["state"] == "done"
    assert json.loads(kept(told)["claims.json"].read_text()) == {"claims": []}


def test_code_that_changed_under_way_makes_a_run_fail(order):
    told = order(code="of-yesterday")
    fault = made(told)["error"]
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
    assert not list((told.out / "work").iterdir())
    assert cell.lost(order("seed=9"), ValueError("?"))["error"]["kind"] == "killed"


def test_a_damaged_record_is_none(order):
    told = order()
    place = told.out / told.cell.place
    place.mkdir(parents=True)
    assert cell.finished(told.out, told.cell) is None
    (place / "run.json").write_text('{"state": "do')
    assert cell.finished(told.out, told.cell) is None


def chapter_with(book, name, code):
    """Put another chapter into the book, which does something at its end."""
    text = (book.notebooks / "01_ends.py").read_text().replace('"01_ends"', f'"{name}"')
    (book.notebooks / f"{name}.py").write_text(f"{text}\n# %%\n{code}\n")


@pytest.fixture
def order_of(book, tmp_path):
    """Return a maker of orders for a chapter with an end of its own."""

    def make(name, code, *, pairs=(), **more):
        chapter_with(book, name, code)
        (one,) = grid.cells(book, [name], pairs, [])
        facts = {"code": book.code_hash(name), "lock": book.lock_hash(), "commit": "abc"}
        return cell.Order(book.root, tmp_path / "out", one, "tests", **(facts | more))

    return make


CLEARED = """
if told:
    from bookpress import cell
    cell.clear(run.logs.parents[2])
"""


def test_a_worker_that_outlives_its_sweep_leaves_no_failure_of_its_own(order_of, tmp_path):
    """The sweep was killed and called again, and has cleared the folders of the first."""
    late = order_of("06_cleared", CLEARED, pairs=(f"told={tmp_path}",))
    (late.out / "runs").mkdir(parents=True)
    ended = cell.carry_out(late, node="of the first")
    assert ended.record["state"] == "failed"
    assert not list((late.out / "runs").rglob("run.json"))
    cell.clear(late.out)
    assert [path.name for path in late.out.iterdir()] == ["runs"]


def test_a_failure_is_put_in_place_by_the_sweep(order):
    told = order("end=error")
    ended = cell.carry_out(told)
    assert not (told.out / told.cell.place).exists()
    assert cell.keep(told, ended) == ended.record
    assert cell.finished(told.out, told.cell) == ended.record
    assert not ended.folder.exists()


def test_a_failure_does_not_replace_what_another_worker_has_finished(order):
    told = order("seed=7")
    place = told.out / told.cell.place
    ended = cell.carry_out(order("seed=7", code="of-yesterday"))
    assert ended.record["state"] == "failed"
    done = cell.carry_out(told).record
    assert done["state"] == "done"
    assert cell.keep(told, ended) == done
    assert json.loads((place / "run.json").read_text()) == done


CUT_OFF = """
import os
made = next(pathlib.Path(os.environ["BOOKPRESS_RESULTS"]).rglob("*.json"))
made.write_text(made.read_text()[:40])
"""


def test_claims_that_were_cut_off_are_a_fault_of_this_run_alone(order_of):
    told = order_of("02_cut", CUT_OFF)
    record = made(told)
    assert record["state"] == "failed"
    assert record["error"]["name"] == "JSONDecodeError"
    assert "cannot be kept" in record["error"]["message"]
    assert set(kept(told)) == {"log.txt", "run.json"}
    assert "Traceback" in kept(told)["log.txt"].read_text()
    assert cell.finished(told.out, told.cell) == record
    assert not list((told.out / "work").iterdir())


def test_a_run_that_removes_its_own_folder_has_failed(order_of):
    code = "import shutil\nshutil.rmtree(run.logs.parent)\nraise KeyError('first')"
    told = order_of("03_gone", code)
    assert made(told)["state"] == "failed"
    assert cell.finished(told.out, told.cell) is not None


def test_logs_are_kept_without_keys_whatever_is_in_them(order_of, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", KEY)
    code = (
        f"(run.logs / 'deep').mkdir()\n(run.logs / 'deep' / 'a.txt').write_text('k={KEY}')\n"
        "(run.logs / 'b.bin').write_bytes(bytes([255, 0, 129]))\n"
        "(run.logs / 'nowhere').symlink_to('/no/such/file')"
    )
    told = order_of("04_logs", code)
    assert made(told)["state"] == "done"
    logs = kept(told)["logs"]
    assert {p.name for p in logs.iterdir()} == {"deep", "b.bin", "reports.jsonl"}
    assert (logs / "deep" / "a.txt").read_text() == "k=***"
    assert (logs / "b.bin").read_bytes() == bytes([255, 0, 129])


@pytest.mark.parametrize(
    ("name", "text"), [("run.json", None), ("run.json", "{}"), ("claims.json", '{"claims": [')]
)
def test_a_damaged_folder_is_made_again_and_put_aside(order, name, text):
    told = order("seed=6")
    made(told)
    kept(told)[name].unlink() if text is None else kept(told)[name].write_text(text)
    assert cell.finished(told.out, told.cell) is None
    record = made(told, node="again")
    assert record["node"] == "again"
    assert cell.finished(told.out, told.cell) == record
    (aside,) = (told.out / "superseded" / "01_ends").iterdir()
    assert aside.name == f"{told.cell.run}.1"


FORKS = """
import os
block = bytearray(b"x" * 250_000_000)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        total = sum(block[::4096])
        time.sleep(1.5)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


@pytest.mark.long
def test_memory_that_forked_workers_share_counts_once(order_of):
    """Four processes that read the same 0.25 GB; four times it would be over the limit."""
    record = made(order_of("05_forks", FORKS, memory_gb=0.7))
    assert record["error"] is None
    assert 0.25e9 < record["peak_memory_bytes"] < 0.7e9
