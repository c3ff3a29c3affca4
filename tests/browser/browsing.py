"""Where the built site is, and how a browser is started on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs a browser: `make browser`")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("BOOK_SITE", ROOT / "_build" / "html"))
REPORT = Path(os.environ.get("BOOK_REPORT", ROOT / "_build" / "browser"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# what a browser does of its own accord, on a machine without a network or a screen
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SIZES = {"wide": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


def pages() -> list[str]:
    """Pages of the table of contents, in their order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    parts = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return [toc["root"], *parts]


def start(playwright):
    """Chromium: the one named by CHROMIUM, one that is installed, or playwright's own."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        return playwright.chromium.launch(executable_path=found, args=QUIET)
    except sync_api.Error as error:
        pytest.fail(
            "No browser starts. Install Chromium (apt-get install chromium, or "
            f".venv-browser/bin/playwright install chromium), or name yours in CHROMIUM. {error}"
        )


def foreign(url: str) -> bool:
    """Whether an address leads elsewhere."""
    return not url.startswith(("file:", "data:", "blob:", "about:"))


def address(name: str) -> str:
    """Address of the file of a page."""
    return (SITE / f"{name}.html").as_uri()
