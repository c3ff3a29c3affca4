"""Trackers are told of each run once, never harm one, and no key is written down."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("jupytext", reason="needs the press")

from bookpress import secrets, tracking  # noqa: E402
from bookpress.book import BookError  # noqa: E402

KEY = "0123456789abcdef0123456789abcdef01234567"
CLAIM = {
    "name": "accuracy",
    "value": 0.625,
    "low": 0.5,
    "high": 0.75,
    "chance": 0.25,
    "ceiling": None,
}
ERROR = {"kind": "error", "cell": 7, "source": "1 / 0", "name": "ValueError", "message": "no luck"}
RECORD = {
    "chapter": "01_tiny",
    "parameters": {"seed": 3, "dataset": "simulated", "jitter": True},
    "state": "done",
    "attempt": 2,
    "commit": "a067170b11",
    "code_hash": "c0de",
    "lock_hash": "10c4",
    "data": [{"file": "a.npz", "checksum": "sha256:0"}],
    "host": "node-of-the-run",
    "node": "",
    "started": "2026-01-02T03:04:05+00:00",
    "duration_s": 12.5,
    "peak_memory_bytes": 12345678,
    "cpus": 1.0,
    "error": None,
}
NUMBERS = {
    "accuracy": 0.625,
    "accuracy_low": 0.5,
    "accuracy_high": 0.75,
    "accuracy_chance": 0.25,
    "duration_s": 12.5,
    "peak_memory_bytes": 12345678,
}
LOSSES = {"loss_of_trial_0": [(0, 1.5), (1, 0.75)], "loss_of_trial_1": [(0, 1.25)]}


def make_run(out: Path, name: str = "seed=3", **differing: object) -> Path:
    """Write the folder of a finished run; the log of its search ends in half a line."""
    folder = out / "runs" / "01_tiny" / name
    (folder / "logs" / "search").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RECORD | {"run": name} | differing))
    (folder / "claims.json").write_text(json.dumps({"claims": [CLAIM]}))
    rows = [
        {"trial": int(name[-1]), "step": step, "loss": loss, "time": "2026-01-02"}
        for name, pairs in LOSSES.items()
        for step, loss in pairs
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "logs" / "search" / "reports.jsonl").write_text(f'{lines}\n{{"trial": 1, "st')
    return folder


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """Settings of the machine's user do not count."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "MLFLOW_")):
            monkeypatch.delenv(name)


class TestHidden:
    @pytest.mark.parametrize(
        "name",
        [
            "WANDB_API_KEY",
            "GH_TOKEN",
            "PGPASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_PROFILE",
            "npm_config__authToken",
            "MYSQL_PWD",
            "GITHUB_PAT",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "PASSWORD_FILE",
            "SSH_AUTH_SOCK",
            "WANDB_PROJECT",
            "MLFLOW_TRACKING_URI",
            "KEY",
        ],
    )
    def test_what_is_a_key_or_leads_to_one_is_hidden(self, name):
        assert secrets.hidden({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}

    @pytest.mark.parametrize(
        "name",
        [
            "PATH",
            "PWD",
            "OLDPWD",
            "HOME",
            "OMP_NUM_THREADS",
            "TOKENIZERS_PARALLELISM",
            "KEYBOARD",
            "VISUALCORTEX_DATA",
            "CUDA_VISIBLE_DEVICES",
            "BOOKPRESS_RUN",
            "RAY_AUTH_MODE",
        ],
    )
    def test_what_a_notebook_may_need_is_not(self, name):
        assert secrets.hidden({name: "x"}) == {name: "x"}

    def test_an_address_with_a_password_is_hidden_unless_it_is_the_way_out(self):
        address = "http://me:word-of-pass@host:1"
        shown = secrets.hidden({"DATABASE": address, "https_proxy": address})
        assert shown == {"https_proxy": address}


class TestRedacted:
    @pytest.mark.parametrize(
        "secret", [KEY, 'qu"ote\\slash', "a b&c/d+e=f", "grüße-aus-köln", "\x7f{[(.+)]}"]
    )
    @pytest.mark.parametrize(
        "written",
        [
            str,
            json.dumps,
            lambda text: json.dumps({"text": json.dumps({"key": text})}),
            lambda text: json.dumps(text, ensure_ascii=False),
            lambda text: quote(text, safe="*/"),
            lambda text: quote(text, safe="*"),
            lambda text: quote_plus(text, safe="*"),
        ],
    )
    def test_a_secret_goes_however_it_is_written_and_nothing_else_does(self, secret, written):
        text = secrets.redacted(f"before {written(secret)} after", {"MY_KEY": secret})
        assert text == f"before {written('***')} after"

    @pytest.mark.parametrize("before", range(4))
    @pytest.mark.parametrize("after", range(4))
    def test_base64_hides_no_secret_wherever_it_begins(self, before, after):
        within = b"u" * before + KEY.encode() + b"v" * after
        text = secrets.redacted(base64.b64encode(within).decode(), {"MY_KEY": KEY})
        assert "***" in text
        # four digits hold three characters; one more digit may hold the end of the key
        digits = -(-before * 4 // 3) + -(-after * 4 // 3) + 1
        assert len(text.replace("***", "").rstrip("=")) <= digits

    def test_json_remains_json(self):
        kept = json.dumps({"output": f"the key\nis {KEY}", "n": 1})
        read = json.loads(secrets.redacted(kept, {"MY_KEY": KEY}))
        assert read == {"output": "the key\nis ***", "n": 1}

    def test_a_secret_of_several_lines_is_found_line_by_line(self):
        secret = "-----BEGIN-----\nMIIEowIBAAKCAQEA\n-----END-----\n"
        notebook = json.dumps(["MIIEowIBAAKCAQEA\n", "fine\n"])
        assert secrets.redacted(notebook, {"SSH_PRIVATE_KEY": secret}) == '["***\\n", "fine\\n"]'

    def test_of_two_secrets_the_longer_goes_first(self):
        known = {"A_KEY": "password", "B_KEY": "password-and-more"}
        assert secrets.redacted("password-and-more password", known) == "*** ***"

    def test_only_the_password_of_an_address_goes(self):
        known = {"HTTPS_PROXY": "http://me:word-of-pass@host:1"}
        assert secrets.redacted("http://me:word-of-pass@host:1", known) == "http://me:***@host:1"

    @pytest.mark.parametrize(
        "known", [{}, {"MY_KEY": ""}, {"MY_KEY": "short"}, {"MY_NAME": "a long word"}]
    )
    def test_plain_and_short_values_leave_the_text_alone(self, known):
        text = "a short text with a long word"
        assert secrets.redacted(text, known) == text


class TestCheck:
    def test_an_unknown_tracker_is_refused_with_the_known_ones(self):
        with pytest.raises(BookError, match="'wandbb': choose among wandb, mlflow"):
            tracking.check(["wandbb"])

    def test_a_tracker_that_is_not_installed_is_refused_with_the_way_to_install_it(
        self, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, "mlflow", None)
        with pytest.raises(BookError, match="pip install mlflow-skinny"):
            tracking.check(["mlflow"])

    def test_a_mode_that_reports_nothing_is_refused(self, monkeypatch):
        pytest.importorskip("wandb")
        tracking.check(["wandb"])
        monkeypatch.setenv("WANDB_MODE", "disabled")
        tracking.check([])
        with pytest.raises(BookError, match="'disabled': unset it"):
            tracking.check(["wandb"])


class TestReport:
    def test_a_report_holds_every_number_under_its_glued_name(self, tmp_path):
        told = tracking.report(make_run(tmp_path), "sweep")
        assert told["numbers"] == NUMBERS
        assert told["parameters"] == RECORD["parameters"]
        assert told["error"] == {}
        assert len(told["history"]) == sum(map(len, LOSSES.values()))
        kept = {"commit", "code_hash", "lock_hash", "data", "host", "attempt", "chapter"}
        assert {key: told["facts"][key] for key in kept} == {key: RECORD[key] for key in kept}

    def test_a_failed_run_without_whole_claims_tells_of_its_error(self, tmp_path):
        folder = make_run(tmp_path, state="failed", error=ERROR)
        (folder / "claims.json").write_text('{"claims": [{"na')
        told = tracking.report(folder, "sweep")
        assert told["error"]["error"] == "ValueError: no luck"
        assert told["error"]["error_cell"] == 7
        assert set(told["numbers"]) == {"duration_s", "peak_memory_bytes"}

    def test_runs_are_told_apart_by_sweep_chapter_and_name(self, tmp_path):
        one, other = make_run(tmp_path), make_run(tmp_path, "seed=4")
        ids = [
            tracking.report(folder, sweep)["id"] for folder in (one, other) for sweep in ("a", "b")
        ]
        assert len(set(ids)) == 4
        assert tracking.report(one, "a")["id"] == ids[0]

    def test_a_damaged_record_is_a_message_and_no_error(self, tmp_path):
        folder = make_run(tmp_path)
        (folder / "run.json").write_text('{"chapter":')
        (message,) = tracking.track(folder, sweep="sweep", to=["wandb"])
        assert "run.json cannot be read" in message
        assert tracking.untracked(tmp_path, ["wandb"]) == [folder]


@pytest.fixture
def pretended_wandb(tmp_path, monkeypatch):
    """Return a callable that puts a module of a given text in wandb's place."""

    def put(text: str) -> None:
        (tmp_path / "instead").mkdir(exist_ok=True)
        (tmp_path / "instead" / "wandb.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "instead"))

    return put


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("raise OSError(28, 'No space left on device')", "No space left on device"),
            ("raise ModuleNotFoundError('No module named wandb')", "No module named wandb"),
            ("import os; os._exit(3)", "ended with 3"),
            ("import time; time.sleep(60)", "no answer for 1 s"),
        ],
    )
    def test_a_tracker_that_fails_is_a_message_with_what_to_do(
        self, tmp_path, pretended_wandb, monkeypatch, text, reason
    ):
        pretended_wandb(text)
        monkeypatch.setattr(tracking, "SECONDS_FOR_A_REPORT", 1.0 if "sleep" in text else 60.0)
        folder = make_run(tmp_path)
        (message,) = tracking.track(folder, sweep="sweep", to=["wandb"])
        assert reason in message
        assert "start the sweep again" in message
        assert tracking.faults(tmp_path, ["wandb"]) == [message]
        assert tracking.untracked(tmp_path, ["wandb"]) == [folder]

    def test_the_message_does_not_depend_on_the_run_and_holds_no_key(
        self, tmp_path, pretended_wandb, monkeypatch
    ):
        monkeypatch.setenv("MY_TOKEN", KEY)
        pretended_wandb(f"raise OSError('refused: {KEY}')")
        folders = make_run(tmp_path), make_run(tmp_path, "seed=4")
        (one,), (other,) = (tracking.track(f, sweep="sweep", to=["wandb"]) for f in folders)
        assert one == other
        assert KEY not in one

    def test_what_cannot_be_written_is_a_message_too(self, tmp_path):
        folder = make_run(tmp_path)
        (tmp_path / "tracking").write_text("in the way")
        (message,) = tracking.track(folder, sweep="sweep", to=["wandb"])
        assert "File exists" in message


# Stands for a tracker that works, and writes down what it was given.
SPY = """
import json, os, pathlib
class Settings:
    model_fields = {"mode": None, "project": None, "run_id": None}
    def __init__(self, **given): self.given = given
class Run:
    summary = {}
    def define_metric(self, *_, **__): pass
    def log(self, row): pass
    def finish(self, exit_code): pass
def init(settings, config):
    seen = {"settings": settings.given, "environment": dict(os.environ)}
    pathlib.Path("seen.json").write_text(json.dumps(seen))
    return Run()
def teardown(): pass
"""


class TestMode:
    def seen(self, out: Path) -> dict:
        return json.loads((out / "tracking" / "seen.json").read_text())

    def test_offline_no_key_is_handed_on(self, tmp_path, pretended_wandb, monkeypatch):
        pretended_wandb(SPY)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_PROJECT", "mine")
        monkeypatch.setenv("WANDB_RUN_ID", "of-something-else")
        assert tracking.track(make_run(tmp_path), sweep="sweep", to=["wandb"]) == []
        seen = self.seen(tmp_path)
        assert KEY not in json.dumps(seen)
        assert "WANDB_RUN_ID" not in seen["environment"]
        assert seen["settings"]["mode"] == "offline"
        assert seen["settings"]["project"] == "mine"

    def test_online_without_a_key_is_offline_with_a_warning(
        self, tmp_path, pretended_wandb, monkeypatch
    ):
        pretended_wandb(SPY)
        monkeypatch.setenv("WANDB_MODE", "online")
        (message,) = tracking.track(make_run(tmp_path), sweep="sweep", to=["wandb"])
        assert "no WANDB_API_KEY" in message
        assert self.seen(tmp_path)["settings"]["mode"] == "offline"
        assert tracking.untracked(tmp_path, ["wandb"]) == []

    def test_once_all_is_well_no_fault_is_left(self, tmp_path, pretended_wandb):
        folder = make_run(tmp_path)
        pretended_wandb("raise OSError('away')")
        tracking.track(folder, sweep="sweep", to=["wandb"])
        pretended_wandb(SPY)
        assert tracking.track(folder, sweep="sweep", to=["wandb"]) == []
        assert tracking.faults(tmp_path, ["wandb"]) == []
        assert tracking.untracked(tmp_path, ["wandb"]) == []


def records(file: Path) -> list[object]:
    """Return what a file of Weights & Biases holds."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(file))
    with store._fp:
        return [Record.FromString(data) for data in iter(store.scan_data, None)]


def of_kind(found: list[object], kind: str) -> list[object]:
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def items(entries: object) -> dict[str, object]:
    return {"/".join(e.nested_key) or e.key: json.loads(e.value_json) for e in entries}


@pytest.fixture(scope="class")
def told(tmp_path_factory):
    """A sweep of a run that is done and one that failed, reported by a user who has a key."""
    pytest.importorskip("wandb")
    out = tmp_path_factory.mktemp("told")
    home = tmp_path_factory.mktemp("home")
    make_run(out)
    make_run(out, "seed=4", state="failed", error=ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", KEY)
        patch.setenv("HOME", str(home))
        for folder in tracking.untracked(out, ["wandb"]):
            assert tracking.track(folder, sweep="a sweep", to=["wandb"]) == []
    assert list(home.iterdir()) == []
    return out


def file_of(out: Path, name: str) -> Path:
    marker = json.loads((out / "runs" / "01_tiny" / name / "tracked-wandb.json").read_text())
    (file,) = (out / "tracking" / "wandb").glob(f"*/run-{marker['id']}.wandb")
    return file


@pytest.mark.long
class TestOffline:
    def test_the_file_holds_parameters_facts_and_place(self, told):
        (run,) = of_kind(records(file_of(told, "seed=3")), "run")
        config = items(run.config.update)
        assert RECORD["parameters"].items() <= config.items()
        facts = config["bookpress"]
        assert facts["commit"] == RECORD["commit"]
        assert facts["data"] == RECORD["data"]
        assert (run.project, run.run_group, run.job_type) == ("a sweep", "a sweep", "01_tiny")
        assert (run.display_name, run.host) == ("seed=3", "node-of-the-run")

    def test_the_file_holds_the_numbers_and_the_history(self, told):
        found = records(file_of(told, "seed=3"))
        summary: dict[str, object] = {}
        for update in of_kind(found, "summary"):
            summary |= items(update.update)
        assert NUMBERS.items() <= summary.items()
        rows = [items(row.item) for row in of_kind(found, "history")]
        for trial, pairs in LOSSES.items():
            name = f"search/{trial}"
            assert [(r["search/step"], r[name]) for r in rows if name in r] == pairs

    def test_a_failed_run_is_one_there_with_its_error(self, told):
        found = records(file_of(told, "seed=4"))
        (left,) = of_kind(found, "exit")
        assert left.exit_code == 1
        summary: dict[str, object] = {}
        for update in of_kind(found, "summary"):
            summary |= items(update.update)
        assert summary["error"] == "ValueError: no luck"
        assert summary["error_kind"] == "error"
        (well,) = of_kind(records(file_of(told, "seed=3")), "exit")
        assert well.exit_code == 0

    def test_no_key_and_no_folder_of_this_machine_is_written_down(self, told):
        files = [path for path in told.rglob("*") if path.is_file()]
        assert any(path.suffix == ".wandb" for path in files)
        told_of = (KEY, str(told), sys.prefix, str(Path.home()) + "/")
        for path in files:
            held = path.read_bytes()
            assert not [word for word in told_of if word.encode() in held], path

    def test_no_process_is_left(self, told):
        psutil = pytest.importorskip("psutil")
        place = str(told / "tracking")
        found = psutil.process_iter(["cwd", "cmdline"])
        assert not [p.info for p in found if (p.info["cwd"] or "").startswith(place)]

    def test_a_run_is_told_once(self, told, monkeypatch):
        def never(*_: object, **__: object) -> None:
            raise AssertionError("the tracker was told again")

        monkeypatch.setattr(tracking.subprocess, "run", never)
        for folder in (told / "runs" / "01_tiny").iterdir():
            assert tracking.track(folder, sweep="a sweep", to=["wandb"]) == []
        assert tracking.untracked(told, ["wandb"]) == []

    def test_a_report_that_was_cut_off_or_is_old_makes_way(self, told):
        before = file_of(told, "seed=4")
        folder = told / "runs" / "01_tiny" / "seed=4"
        (folder / "tracked-wandb.json").unlink()
        (folder / "run.json").write_text(json.dumps(RECORD | {"run": "seed=4"}))
        assert tracking.untracked(told, ["wandb"]) == [folder]
        assert tracking.track(folder, sweep="a sweep", to=["wandb"]) == []
        after = file_of(told, "seed=4")
        assert after.name == before.name
        (left,) = of_kind(records(after), "exit")
        assert left.exit_code == 0


class Server(BaseHTTPRequestHandler):
    """As much of the server of Weights & Biases as it takes to receive a run."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.received.append(
            {"path": self.path, "body": body, "who": self.headers.get("Authorization")}
        )
        stream = self.path.endswith("/file_stream")
        status = self.server.status["stream" if stream else "queries"]
        answer = json.dumps(self._answer(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST

    def _answer(self, body: str) -> dict:
        asked = json.loads(body) if self.path == "/graphql" else {"query": ""}
        data: dict[str, object] = {}
        if "UpsertBucket" in asked["query"]:
            project = {"id": "p", "name": "a sweep", "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": asked["variables"]["name"], "project": project}
            data = {"upsertBucket": {"bucket": bucket, "inserted": True}}
        elif "CreateRunFiles" in asked["query"]:
            here = f"http://127.0.0.1:{self.server.server_address[1]}/files/"
            files = [{"name": n, "uploadUrl": here + n} for n in asked["variables"]["files"]]
            data = {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {"data": data}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    """A server to which the user's environment points."""
    pytest.importorskip("wandb")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    httpd.received, httpd.status = [], {"queries": 200, "stream": 200}
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{httpd.server_address[1]}")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.long
class TestOnline:
    def test_the_server_is_given_the_run(self, tmp_path, server):
        folder = make_run(tmp_path)
        assert tracking.track(folder, sweep="a sweep", to=["wandb"]) == []
        assert {r["who"] for r in server.received if r["path"] == "/graphql"} == {
            "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        }
        (summary,) = (r for r in server.received if r["path"] == "/files/wandb-summary.json")
        assert NUMBERS.items() <= json.loads(summary["body"]).items()
        marker = json.loads((folder / "tracked-wandb.json").read_text())
        assert marker["mode"] == "online"
        for path in tmp_path.rglob("*"):
            assert path.is_dir() or KEY.encode() not in path.read_bytes()

    @pytest.mark.parametrize("part", ["queries", "stream"])
    def test_what_the_server_does_not_take_is_kept_offline(self, tmp_path, server, part):
        server.status[part] = 403
        folder = make_run(tmp_path)
        (message,) = tracking.track(folder, sweep="a sweep", to=["wandb"])
        assert "403" in message
        assert "kept offline" in message
        assert KEY not in message
        assert tracking.untracked(tmp_path, ["wandb"]) == [folder]
        (kept,) = (tmp_path / "tracking" / "wandb").glob("*run-*/*.wandb")
        (run,) = of_kind(records(kept), "run")
        assert items(run.config.update)["seed"] == 3


@pytest.mark.long
class TestMLflow:
    def test_a_local_store_holds_each_run_once(self, tmp_path):
        pytest.importorskip("mlflow")
        folder = make_run(tmp_path, state="failed", error=ERROR)
        for _ in range(2):
            assert tracking.track(folder, sweep="a sweep", to=["mlflow"]) == []
            # as if the process had been killed before it left its mark
            (folder / "tracked-mlflow.json").unlink()
        with closing(sqlite3.connect(tmp_path / "tracking" / "mlflow" / "mlflow.db")) as store:
            asked = "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"
            ((run, status),) = store.execute(asked).fetchall()

            def pairs(table: str) -> dict[str, object]:
                found = store.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", [run])
                return dict(found.fetchall())

            assert status == "FAILED"
            assert NUMBERS.items() <= pairs("latest_metrics").items()
            assert pairs("params") == {k: str(v) for k, v in RECORD["parameters"].items()}
            tags = pairs("tags")
            steps = "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step"
            for trial, losses in LOSSES.items():
                assert store.execute(steps, [run, f"search/{trial}"]).fetchall() == losses
        assert tags["bookpress.error"] == "ValueError: no luck"
        assert json.loads(tags["bookpress.data"]) == RECORD["data"]
