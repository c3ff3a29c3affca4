"""Files are found or fetched, and nothing but the right bytes is ever trusted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from visualcortex.sources import fetch as module
from visualcortex.sources import figshare
from visualcortex.sources.fetch import (
    PUBLISHED,
    DataError,
    RemoteFile,
    checksum,
    data_folder,
    fetch,
    look_up,
)

CONTENT = b"trial,neuron\n" * 20000  # 260 kB: several pieces
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serve CONTENT, more or less faithfully, according to the path."""

    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.ranges.append(self.headers.get("Range"))
        kind = self.path.strip("/")
        if kind.startswith("v2/"):
            return self.answer(self.server.listing)
        if kind.isdigit() or (kind == "once503" and len(self.server.requests) == 1):
            return self.send_error(int(kind) if kind.isdigit() else 503)
        if kind.startswith("rest") and self.headers.get("Range"):
            return self.answer_range(kind)
        body = {"wrong": CONTENT[::-1], "html": b"<html>log in first</html>"}.get(kind, CONTENT)
        self.send_response(200)
        if kind != "unannounced":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        short = kind in ("cut", "unannounced") or (
            kind.startswith(("once_cut", "rest")) and len(self.server.requests) == 1
        )
        self.wfile.write(body[: len(body) // 2] if short or kind == "hang" else body)
        if kind == "hang":
            self.wfile.flush()
            self.server.released.wait(10)

    def answer(self, body, status=200, headers=()):
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_range(self, kind):
        """Send the rest of CONTENT, or what a server of that kind takes for it."""
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if kind == "rest_refused":
            return self.send_error(416)
        begin = {"rest_from_zero": 0, "rest_elsewhere": start // 2}.get(kind, start)
        body = CONTENT[begin:][::-1] if kind == "rest_wrong" else CONTENT[begin:]
        if kind == "rest_cut":
            body = body[:1000]
        span = f"bytes {begin}-{begin + len(body) - 1}/{len(CONTENT)}"
        self.answer(body, 206, [("Content-Range", span)])

    def log_message(self, *args):
        """Keep the output of the tests clean."""


@pytest.fixture
def server():
    """Run a server on a free port; `requests` lists what it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.ranges, server.released = [], [], threading.Event()
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
        ("requests.Response.iter_content", errno.ENOSPC, "No space left on device. Free space"),
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


def interrupted(self, chunk_size):
    """Deliver some of an answer's content, then be interrupted from the keyboard."""
    yield self.raw.read(1000)
    raise KeyboardInterrupt


def test_an_interruption_leaves_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setattr("requests.Response.iter_content", interrupted)
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


@pytest.mark.parametrize(
    ("kind", "ranges"),
    [
        ("rest", [None, "bytes=130000-"]),
        ("rest_cut", [None, "bytes=130000-", "bytes=131000-"]),
        ("rest_from_zero", [None, "bytes=130000-", None]),
        ("rest_wrong", [None, "bytes=130000-", None]),
        ("rest_elsewhere", [None, "bytes=130000-", None]),
        ("rest_refused", [None, "bytes=130000-", None]),
        ("once_cut", [None, "bytes=130000-"]),
    ],
)
def test_a_download_goes_on_where_it_broke_off_or_starts_again(
    server, tmp_path, monkeypatch, kind, ranges
):
    """Whatever a server takes for the rest of a file, the result is the file or an error."""
    monkeypatch.setattr(module, "PIECE", 1000)
    if kind == "rest_cut":
        with pytest.raises(DataError, match="broke off after 132000 bytes"):
            fetch(remote(server, kind), "set", folder=tmp_path, progress=False, pauses=(0, 0))
        assert left_behind(tmp_path) == []
    else:
        path = fetch(remote(server, kind), "set", folder=tmp_path, progress=False, pauses=(0, 0))
        assert path.read_bytes() == CONTENT
    assert server.ranges == ranges


def test_a_large_file_goes_on_at_the_next_call(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1000)
    with monkeypatch.context() as patch:
        patch.setattr("requests.Response.iter_content", interrupted)
        with pytest.raises(KeyboardInterrupt):
            get(remote(server, "rest_kept"), tmp_path)
    (kept,) = left_behind(tmp_path)
    assert kept.parent.name == ".partial"
    assert look_up(remote(server), tmp_path) == (None, [])
    path = get(remote(server, "rest_kept"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]
    assert left_behind(tmp_path) == [path]


def test_a_complete_file_that_was_not_moved_is_checked_and_moved(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1000)
    kept = tmp_path / ".partial" / f"a.csv.{SHA256[7:23]}.kept"
    kept.parent.mkdir()
    kept.write_bytes(CONTENT)
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_what_was_kept_of_another_file_is_discarded(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1000)
    kept = tmp_path / ".partial" / f"a.csv.{SHA256[7:23]}.kept"
    kept.parent.mkdir()
    kept.write_bytes(CONTENT[::-1])
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None]


class TestLargeFiles:
    """Their checksums are computed once, and again when the file has changed."""

    @pytest.fixture
    def computed(self, monkeypatch):
        calls = []

        def counted(path, kind):
            calls.append(path.name)
            return checksum(path, kind)

        monkeypatch.setattr(module, "LARGE", 1000)
        monkeypatch.setattr(module, "checksum", counted)
        return calls

    def test_an_unchanged_file_is_not_read_again(self, tmp_path, computed):
        (tmp_path / "a.csv").write_bytes(CONTENT)
        for _ in range(3):
            assert look_up(remote(None), tmp_path)[0] == tmp_path / "a.csv"
        assert computed == ["a.csv"]

    def test_a_changed_file_is_read_again(self, tmp_path, computed):
        path = tmp_path / "a.csv"
        path.write_bytes(CONTENT)
        assert look_up(remote(None), tmp_path)[0] == path
        path.write_bytes(CONTENT[::-1])
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1000))
        assert look_up(remote(None), tmp_path) == (None, [path])
        assert computed == ["a.csv", "a.csv"]

    def test_a_folder_that_takes_no_notes_does_no_harm(self, tmp_path, computed, monkeypatch):
        def fails(*args, **kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        (tmp_path / "a.csv").write_bytes(CONTENT)
        monkeypatch.setattr("visualcortex.sources.atomic.tempfile.mkstemp", fails)
        for _ in range(2):
            assert look_up(remote(None), tmp_path)[0] == tmp_path / "a.csv"
        assert computed == ["a.csv", "a.csv"]


class TestPublishedUnderADoi:
    """Address, MD5 and size are asked from figshare once, and kept."""

    FILE = RemoteFile("a.csv", "doi:10.25378/janelia.42/a.csv", PUBLISHED)
    LIST = "/v2/articles/42/files?page_size=1000"

    @pytest.fixture
    def listing(self, server, monkeypatch):
        """Serve a list with one file; return the list, to be changed."""
        monkeypatch.setattr(figshare, "API", f"http://127.0.0.1:{server.server_port}/v2")
        item = {
            "id": 7,
            "name": "a.csv",
            "size": len(CONTENT),
            "is_link_only": False,
            "download_url": f"http://127.0.0.1:{server.server_port}/good",
            "supplied_md5": "",
            "computed_md5": hashlib.md5(CONTENT).hexdigest(),
        }
        server.listing = json.dumps([item]).encode()
        return item

    @pytest.fixture
    def no_network(self, monkeypatch):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            monkeypatch.setattr(figshare, "API", f"http://127.0.0.1:{probe.getsockname()[1]}/v2")

    def test_a_file_is_downloaded_and_checked(self, server, tmp_path, listing):
        path = get(self.FILE, tmp_path)
        assert path.read_bytes() == CONTENT
        assert server.requests == [self.LIST, "/good"]

    def test_the_list_is_kept_and_serves_without_network(
        self, server, tmp_path, listing, monkeypatch
    ):
        path = get(self.FILE, tmp_path)
        monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
        assert get(self.FILE, tmp_path) == path
        path.write_bytes(CONTENT[::-1])
        assert look_up(self.FILE, tmp_path) == (None, [path])
        with pytest.raises(DataError, match="forbids the network.*Ignored for its wrong checksum"):
            get(self.FILE, tmp_path)
        assert server.requests == [self.LIST, "/good"]

    def test_a_local_file_is_checked_against_the_list(self, server, tmp_path, listing):
        (tmp_path / "a.csv").write_bytes(CONTENT[:-1])
        with pytest.warns(UserWarning, match="downloaded anew"):
            assert get(self.FILE, tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("offline", ["0", "1"])
    def test_without_list_and_network_a_local_file_is_taken(
        self, tmp_path, no_network, monkeypatch, offline
    ):
        monkeypatch.setenv("VISUALCORTEX_OFFLINE", offline)
        (tmp_path / "a.csv").write_bytes(b"anything")
        assert get(self.FILE, tmp_path) == tmp_path / "a.csv"
        assert look_up(self.FILE, tmp_path)[0] == tmp_path / "a.csv"

    def test_a_dangling_link_is_no_local_file(self, tmp_path):
        (tmp_path / "a.csv").symlink_to(tmp_path / "gone")
        assert look_up(self.FILE, tmp_path) == (None, [tmp_path / "a.csv"])

    def test_without_list_network_and_file_all_is_said(self, tmp_path, no_network):
        with pytest.raises(DataError) as caught:
            get(self.FILE, tmp_path)
        for part in ("a.csv", self.FILE.url, self.LIST, "ConnectionError", str(tmp_path), "Put it"):
            assert part in str(caught.value)
        assert left_behind(tmp_path) == []

    @pytest.mark.parametrize(
        ("served", "message"),
        [
            (b"<html>robots stay out</html>", "is not a list of files"),
            (b"{}", "no file of that name is listed under https://doi.org/10.25378/janelia.42"),
            (b"[]", "no file of that name is listed"),
            (b"[1]", "is not a list of files"),
            (b'[{"name": "a.csv"}]', "is not a list of files .'download_url'"),
            (
                b'[{"name": "a.csv", "download_url": "http://x", "size": 1, "computed_md5": ""}]',
                "MD5 of 32 hexadecimal digits; got ''",
            ),
            (
                b'[{"name": "a.csv", "download_url": "", "size": "1", "computed_md5": ""}]',
                "expected an address and a size",
            ),
        ],
    )
    def test_a_list_of_another_kind_is_refused(self, server, tmp_path, listing, served, message):
        server.listing = served
        with pytest.raises(DataError, match=message):
            get(self.FILE, tmp_path)

    @pytest.mark.parametrize("status", [403, 404, 503])
    def test_a_list_that_is_refused_is_named(self, server, tmp_path, monkeypatch, status):
        url = f"http://127.0.0.1:{server.server_port}/{status}"
        monkeypatch.setattr(figshare, "list_address", lambda doi: url)
        with pytest.raises(DataError, match=f"list of files at {url}.*status {status}"):
            get(self.FILE, tmp_path)

    def test_a_damaged_or_older_list_is_asked_for_anew(self, server, tmp_path, listing):
        place = tmp_path / ".published"
        place.mkdir()
        for kept in ("[", "[]", '{"a.csv": 3}', '{"a.csv": {"url": "u"}}', "{}"):
            (place / "10.25378_janelia.42.json").write_text(kept)
            server.requests.clear()
            (tmp_path / "set" / "a.csv").unlink(missing_ok=True)
            assert get(self.FILE, tmp_path).read_bytes() == CONTENT
            assert server.requests == [self.LIST, "/good"]

    def test_a_wrong_download_is_refused(self, server, tmp_path, listing):
        server.listing = server.listing.replace(b"/good", b"/wrong")
        with pytest.raises(DataError, match="wrong checksum md5:"):
            get(self.FILE, tmp_path)

    @pytest.mark.parametrize(
        ("doi", "path"),
        [
            ("10.25378/janelia.6845348", "articles/6845348/files"),
            ("10.25378/janelia.6845348.v4", "articles/6845348/versions/4/files"),
            ("10.6084/m9.figshare.14763051.v1", "articles/14763051/versions/1/files"),
        ],
    )
    def test_the_number_of_an_article_ends_its_doi(self, doi, path):
        assert figshare.list_address(doi) == f"{figshare.API}/{path}?page_size=1000"

    @pytest.mark.parametrize("doi", ["10.5281/zenodo", "janelia.6845348", ""])
    def test_a_doi_without_number_is_refused(self, doi):
        with pytest.raises(ValueError, match="must end with its number"):
            figshare.list_address(doi)

    @pytest.mark.parametrize("url", ["https://x/a.csv", "doi:10.25378/janelia.42/b.csv"])
    def test_a_published_checksum_needs_a_doi_and_the_name(self, url):
        with pytest.raises(ValueError, match="must be 'doi:<DOI>/a.csv'"):
            RemoteFile("a.csv", url, PUBLISHED)


def test_an_md5_is_a_checksum(server, tmp_path):
    file = remote(server, checksum="md5:" + hashlib.md5(CONTENT).hexdigest())
    assert get(file, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("text", ["", "md5:0123", "sha256:0123", "git-blob:" + "0" * 64, "0" * 64])
def test_a_checksum_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="must be 'sha256:<64 hex digits>'"):
        RemoteFile("a.csv", "http://x", text)
