"""Render the pages with Jupyter Book, and check what was built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

from bs4 import BeautifulSoup, Tag

from bookpress import page_rules
from bookpress.book import Book, BookError

TRACE = "Traceback (most recent call last)"
# more decimals than any reader wants: a number that was put into a sentence as it came
UNROUNDED = re.compile(r"\d\.\d{7,}")


def render(book: Book, *, builder: str = "html") -> None:
    """Run ``jupyter-book build`` with warnings as errors.

    A render that was killed half-way leaves a marker; the next one then starts from nothing,
    because Sphinx trusts whatever cache it finds.

    Raises
    ------
    BookError
        Jupyter Book failed or warned; its warnings are in the message.
    """
    output = book.root / "_build"
    marker = output / f"rendering-{builder}"
    if marker.exists():
        for part in (".doctrees", ".jupyter_cache", "html"):
            shutil.rmtree(output / part, ignore_errors=True)
    output.mkdir(exist_ok=True)
    marker.touch()
    log = output / f"render-{builder}.log"
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(book.root),
        "-W",
        "-n",
        "--keep-going",
        "--all",  # Sphinx does not see that a page glues the numbers of another
        "--builder",
        builder,
    ]
    with log.open("w") as stream:
        done = subprocess.run(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=book.root,
            env=os.environ | {"NO_COLOR": "1"},
        )
    if done.returncode:
        raise BookError(_complaint(log, done.returncode))
    marker.unlink()


def _complaint(log: Path, code: int) -> str:
    lines = log.read_text(errors="replace").splitlines()
    told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-15:]
    return f"Jupyter Book failed (exit {code}); the whole log is {log.name}:\n" + "\n".join(told)


def check(book: Book) -> None:
    """Check each page of the table of contents as built.

    It exists, holds no traceback and no sentence with an unrounded number, loads nothing from
    another host, and every computed image has a caption and an alternative text of its own. What
    else every page keeps to, :mod:`bookpress.page_rules` says.

    Raises
    ------
    BookError
        With every fault of every page.
    """
    faults = [fault for path in built(book) for fault in page_faults(path)]
    site = page_rules.Site(book)
    faults += [fault for path in built(book) if path.exists() for fault in site.faults(path)]
    if not (book.site / "index.html").exists():
        faults.append("index.html is missing")
    if faults:
        raise BookError("The built pages have faults:\n" + "\n".join(faults))


def weights(book: Book) -> dict[str, page_rules.Weight]:
    """Return how many bytes a reader loads with each built page, by the name of the page."""
    site = page_rules.Site(book)
    return {
        page: site.weight(path)
        for page, path in zip(book.pages(), built(book), strict=True)
        if path.exists()
    }


def built(book: Book) -> list[Path]:
    """Return the files of the pages in the table of contents, built or not."""
    return [book.site / f"{page}.html" for page in book.pages()]


def page_faults(path: Path) -> list[str]:
    """Return what is wrong with one built page, a sentence each."""
    if not path.exists():
        return [f"{path.name}: the page was not built"]
    soup = BeautifulSoup(path.read_text(), "html.parser")
    article = soup.find("article") or soup
    text = article.get_text()
    faults = ["holds a traceback"] if TRACE in text else []
    faults += [f"loads {url} from another host" for url in _foreign(soup)]
    faults += [f"puts {number} into a sentence; say how many decimals" for number in _raw(article)]
    faults += [fault for image in article.select(".cell_output img") for fault in _image(image)]
    return [f"{path.name}: {fault}" for fault in faults]


def _raw(article: Tag) -> list[str]:
    """Return the unrounded numbers of sentences, code and outputs left out."""
    sentences = (p for p in article.find_all("p") if not p.find_parent(class_="cell_output"))
    return [number for p in sentences for number in UNROUNDED.findall(p.get_text())]


def _foreign(soup: BeautifulSoup) -> list[str]:
    loads = [tag.get("src") for tag in soup.find_all(["script", "img", "iframe", "source"])]
    loads += [
        tag.get("href")
        for tag in soup.find_all("link")
        if set(tag.get("rel", [])) & {"stylesheet", "preload", "icon", "preconnect"}
    ]
    return [url for url in loads if url and urlparse(url).netloc]


def _image(image: Tag) -> list[str]:
    name = Path(image.get("src", "?")[:60]).name
    alt = (image.get("alt") or "").strip()
    figure = image.find_parent("figure")
    caption = figure.find("figcaption") if figure else None
    faults = []
    if len(alt) < 20 or alt.startswith(("<", "_images", "..")):
        faults.append(f"image {name} has no alternative text worth the name ({alt!r})")
    if caption is None or not caption.get_text(strip=True):
        faults.append(f"image {name} has no caption")
    return faults
