"""Files are found or fetched, and nothing but the right bytes is ever trusted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from visualcortex.sources import fetch as module
from visualcortex.sources.fetch import DataError, RemoteFile, checksum, data_folder, fetch, look_up

CONTENT = b"trial,neuron\n" * 20000  # 260 kB: several pieces
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serve CONTENT, more or less faithfully, according to the path."""

    def do_GET(self):
        self.server.requests.append(self.path)
        kind = self.path.strip("/")
        if kind.isdigit() or (kind == "once503" and len(self.server.requests) == 1):
            return self.send_error(int(kind) if kind.isdigit() else 503)
        body = {"wrong": CONTENT[::-1], "html": b"<html>log in first</html>"}.get(kind, CONTENT)
        self.send_response(200)
        if kind != "unannounced":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        short = kind in ("cut", "unannounced") or (
            kind == "once_cut" and len(self.server.requests) == 1
        )
        self.wfile.write(body[: len(body) // 2] if short or kind == "hang" else body)
        if kind == "hang":
            self.wfile.flush()
            self.server.released.wait(10)

    def log_message(self, *args):
        """Keep the output of the tests clean."""


@pytest.fixture
def server():
    """Run a server on a free port; `requests` lists what it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.released = [], threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in (
        "VISUALCORTEX_DATA",
        "VISUALCORTEX_OFFLINE",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


def remote(server, kind="good", **changes):
    url = f"http://127.0.0.1:{server.server_port}/{kind}" if server else "http://127.0.0.1:9/x"
    return RemoteFile(
        **({"name": "a.csv", "url": url, "checksum": SHA256, "size": 260000} | changes)
    )


def get(file, folder):
    return fetch(file, "set", folder=folder, progress=False, pauses=(0, 0))


def left_behind(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once_and_then_found(server, tmp_path):
    path = get(remote(server), tmp_path)
    assert path == tmp_path / "set" / "a.csv"
    assert path.read_bytes() == CONTENT
    assert get(remote(server), tmp_path) == path
    assert server.requests == ["/good"]
    assert left_behind(tmp_path) == [path]


def test_a_missing_cache_folder_is_made(server, tmp_path):
    assert get(remote(server), tmp_path / "new" / "cache").read_bytes() == CONTENT


def test_the_progress_bar_ends_at_the_size_of_the_file(server, tmp_path, capsys):
    fetch(remote(server), "set", folder=tmp_path)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["a.csv", "set/a.csv", "deep/er/a.csv"])
def test_a_file_anywhere_below_the_folder_is_used_without_network(tmp_path, place, monkeypatch):
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    assert get(remote(None), tmp_path) == path


def test_the_identity_in_git_is_that_of_git_itself(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(CONTENT)
    oracle = hashlib.sha1(b"blob 260000\0" + CONTENT).hexdigest()
    assert checksum(path, "git-blob") == f"git-blob:{oracle}"
    with contextlib.suppress(FileNotFoundError):  # git's own answer, where there is a git
        answer = subprocess.run(["git", "hash-object", path], capture_output=True, check=True)
        assert answer.stdout.decode().strip() == oracle
    file = remote(None, checksum=f"git-blob:{oracle}", size=None)
    assert look_up(file, tmp_path) == (path, [])


def test_a_file_of_unknown_size_is_known_by_its_identity_in_git(server, tmp_path):
    oracle = hashlib.sha1(b"blob 260000\0" + CONTENT).hexdigest()
    file = remote(server, checksum=f"git-blob:{oracle}", size=None)
    assert get(file, tmp_path).read_bytes() == CONTENT


def test_a_namesake_is_passed_over_and_named(server, tmp_path):
    namesake = tmp_path / "mine" / "a.csv"
    namesake.parent.mkdir()
    namesake.write_bytes(CONTENT[:-1] + b"x")
    with pytest.warns(UserWarning, match="downloaded anew.*wrong checksum: .*mine/a.csv"):
        path = get(remote(server), tmp_path)
    assert path.read_bytes() == CONTENT
    assert namesake.exists()


def test_a_namesake_is_named_in_the_error(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes(b"x")
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
    with pytest.raises(DataError, match="Ignored for its wrong checksum: .*a.csv"):
        get(remote(None), tmp_path)


def test_a_namesake_beside_the_right_file_disturbs_nobody(tmp_path):
    for folder, content in (("a", b"x"), ("b", CONTENT)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_bytes(content)
    assert get(remote(None), tmp_path) == tmp_path / "b" / "a.csv"


def test_a_dangling_link_is_no_file(server, tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "gone")
    with pytest.warns(UserWarning, match="downloaded anew"):
        assert get(remote(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "tries", "reason"),
    [
        ("cut", 3, "no complete answer from the network|broke off after 130000 bytes"),
        ("unannounced", 3, "broke off after 130000 bytes"),
        ("503", 3, "the server answered with status 503"),
        ("404", 1, "the server answered with status 404"),
        ("403", 1, "the server answered with status 403"),
        ("wrong", 1, "wrong checksum sha256:.*expected sha256:"),
    ],
)
def test_a_bad_download_is_refused_and_the_cache_is_clean(server, tmp_path, kind, tries, reason):
    """Passing faults are tried again; a refusal or wrong bytes are not."""
    with pytest.raises(DataError, match=reason):
        get(remote(server, kind), tmp_path)
    assert len(server.requests) == tries
    assert left_behind(tmp_path) == []


def test_a_page_in_place_of_a_file_of_unknown_size_is_refused(server, tmp_path):
    with pytest.raises(DataError, match="wrong checksum"):
        get(remote(server, "html", size=None), tmp_path)
    assert (len(server.requests), left_behind(tmp_path)) == (1, [])


@pytest.mark.parametrize("kind", ["once503", "once_cut"])
def test_a_passing_fault_passes(server, tmp_path, kind):
    assert get(remote(server, kind), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_closed_port_gives_one_clear_error(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = remote(None, url=f"http://127.0.0.1:{port}/a.csv")
    with pytest.raises(DataError) as caught:
        get(file, tmp_path)
    message = str(caught.value)
    for part in ("a.csv", "260000 bytes", file.url, str(tmp_path), "VISUALCORTEX_DATA"):
        assert part in message
    assert left_behind(tmp_path) == []


def test_a_server_that_stops_talking_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", (0.2, 0.2))
    with pytest.raises(DataError, match="no complete answer"):
        get(remote(server, "hang"), tmp_path)
    assert left_behind(tmp_path) == []


def test_offline_asks_nobody(server, tmp_path, monkeypatch):
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
    with pytest.raises(DataError, match="VISUALCORTEX_OFFLINE forbids the network"):
        get(remote(server), tmp_path)
    assert server.requests == []
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "0")
    assert get(remote(server), tmp_path).exists()


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("pooch.HTTPDownloader.__call__", errno.ENOSPC, "No space left on device. Free space"),
        ("os.replace", errno.EDQUOT, "Free space for"),
        ("tempfile.mkstemp", errno.EROFS, "Read-only file system. Make .* writable"),
        ("pathlib.Path.mkdir", errno.EACCES, "Permission denied. Make .* writable"),
    ],
)
def test_a_folder_that_takes_nothing(server, tmp_path, monkeypatch, call, code, message):
    def fails(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(call, fails)
    with pytest.raises(DataError, match=message):
        get(remote(server), tmp_path)
    assert left_behind(tmp_path) == []


def test_an_interruption_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupts(self, url, output_file, pooch):
        Path(output_file).write_bytes(CONTENT[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", interrupts)
    with pytest.raises(KeyboardInterrupt):
        get(remote(server), tmp_path)
    assert left_behind(tmp_path) == []


def test_a_killed_process_leaves_only_a_partial_file_that_nobody_trusts(server, tmp_path):
    script = (
        "import sys; from pathlib import Path; from visualcortex.sources.fetch import *;"
        "fetch(RemoteFile('a.csv', sys.argv[1], sys.argv[2], 260000), 'set',"
        " folder=Path(sys.argv[3]), progress=False)"
    )
    url = remote(server, "hang").url
    process = subprocess.Popen([sys.executable, "-c", script, url, SHA256, tmp_path])
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size for path in left_behind(tmp_path)):
        assert time.monotonic() < deadline, "the download never began"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (partial,) = left_behind(tmp_path)
    assert partial.parent.name == ".partial"
    assert look_up(remote(server), tmp_path) == (None, [])
    assert get(remote(server), tmp_path).read_bytes() == CONTENT


def test_stale_partial_files_are_swept_and_fresh_ones_are_not(server, tmp_path):
    (tmp_path / ".partial").mkdir()
    stale, fresh = tmp_path / ".partial" / "stale", tmp_path / ".partial" / "fresh"
    stale.write_bytes(b"")
    fresh.write_bytes(b"")
    os.utime(stale, times=(time.time() - 90000,) * 2)
    get(remote(server), tmp_path)
    assert (stale.exists(), fresh.exists()) == (False, True)


def test_a_complete_partial_file_is_not_taken_for_the_file(tmp_path):
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "a.csv").write_bytes(CONTENT)
    assert look_up(remote(None), tmp_path) == (None, [])


def test_two_downloads_at_once_do_not_disturb_each_other(server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(remote(server), tmp_path), range(4)))
    assert set(paths) == {tmp_path / "set" / "a.csv"}
    assert paths[0].read_bytes() == CONTENT
    assert left_behind(tmp_path) == [paths[0]]


def test_the_data_folder_is_the_environments_or_the_users_cache(tmp_path, monkeypatch):
    assert data_folder().name == "visualcortex"
    monkeypatch.setenv("VISUALCORTEX_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("VISUALCORTEX_DATA", str(tmp_path / "no"))
    with pytest.raises(DataError, match="VISUALCORTEX_DATA names .*no, which is not a folder"):
        data_folder()


@pytest.mark.parametrize("text", ["", "md5:0123", "sha256:0123", "git-blob:" + "0" * 64, "0" * 64])
def test_a_checksum_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="must be 'sha256:<64 hex digits>'"):
        RemoteFile("a.csv", "http://x", text)
