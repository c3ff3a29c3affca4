"""A browser on the built site: from files without a network, and from a server on this machine."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest

try:
    from browsing import REPORT, SITE, SIZES, address, foreign, pages, start, sync_api
except pytest.skip.Exception:  # the tests say why they are left out
    SITE = None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each page, where a test asks for one."""
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages(), ids=lambda name: name.rpartition("/")[2])


@pytest.fixture(scope="session")
def browser():
    """A browser, for as long as the tests run."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"There is no built site in {SITE}: call `make book` first.")
    with sync_api.sync_playwright() as playwright:
        started = start(playwright)
        yield started
        started.close()


@pytest.fixture(scope="session")
def server():
    """Address of the site, served on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing of requests."""

    serve = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.fixture
def open_page(browser):
    """Return a callable that opens a page from its file, with no network, and collects faults."""
    contexts, faults = [], []

    def open_page(name: str, *, size: str = "wide", theme: str = "light", **options):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            offline=True,
            **options,
        )
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('mode', '{theme}')")
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.on("console", lambda m: m.type == "error" and faults.append(m.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: foreign(r.url) and faults.append(f"asks for {r.url}"))
        page.goto(address(name))
        page.wait_for_load_state("load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def report():
    """Return a callable that keeps what was measured of a page, for those who read reports."""
    kept: dict[str, dict[str, object]] = {}

    def keep(kind: str, name: str, value: object) -> None:
        kept.setdefault(kind, {})[name] = value

    yield keep
    REPORT.mkdir(parents=True, exist_ok=True)
    for kind, values in kept.items():
        (REPORT / f"{kind}.json").write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
