"""What every built page keeps to, so that it can be read by all, offline, and quickly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from bookpress.book import Book

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
LANDMARKS = {"main": "main", "nav": "nav", "footer": "footer, [role=contentinfo]"}
# bytes
MOST_HTML = 1_000_000
MOST_EXPLORABLES = 1_500_000


@dataclass(frozen=True)
class Weight:
    """Bytes of a page: its HTML, its pictures by day, and those of its explorables in one theme."""

    html: int
    images: int
    explorables: int


@dataclass
class Site:
    """The built pages, each read once."""

    book: Book
    soups: dict[Path, BeautifulSoup] = field(default_factory=dict)
    anchors: dict[Path, set[str]] = field(default_factory=dict)

    def soup(self, path: Path) -> BeautifulSoup:
        """Return a page as elements."""
        if path not in self.soups:
            self.soups[path] = BeautifulSoup(path.read_text(), "html.parser")
        return self.soups[path]

    def has(self, path: Path, anchor: str) -> bool:
        """Whether an element of a page can be linked to by a name."""
        if path not in self.anchors:
            named = self.soup(path).find_all(lambda tag: tag.get("id") or tag.get("name"))
            self.anchors[path] = {str(tag.get(key)) for tag in named for key in ("id", "name")}
        return anchor in self.anchors[path]

    def faults(self, path: Path) -> list[str]:
        """Return what is wrong with a page, each as a sentence that names page and element."""
        soup, night = self.soup(path), bool(self.book.settings.get("night"))
        found = [*_structure(soup), *self._links(path), *_controls(soup)]
        for image in computed(soup):
            found += _figure(image, night)
        weight = self.weight(path)
        if weight.html > MOST_HTML:
            found.append(f"its HTML has {weight.html} bytes, more than {MOST_HTML}")
        if weight.explorables > MOST_EXPLORABLES:
            found.append(f"its explorables load {weight.explorables} bytes: draw fewer or smaller")
        return [f"{path.name}: {fault}" for fault in found]

    def weight(self, path: Path) -> Weight:
        """Return how much a reader loads with a page."""
        soup = self.soup(path)
        shown = {
            str(image["src"])
            for image in (soup.find("article") or soup).find_all("img", src=True)
            if "only-dark" not in image.get("class", []) and not _explorable(image)
        }
        frames = [frame for box in soup.select("div.vc-explorable") for frame in _frames(box)]
        themes = [{str(f[key]) for f in frames if f.get(key)} for key in ("day", "night")]
        explored = max(self._bytes(path, addresses) for addresses in themes)
        return Weight(path.stat().st_size, self._bytes(path, shown), explored)

    def _bytes(self, path: Path, addresses: set[str]) -> int:
        files = [_file(path, address) for address in addresses if not address.startswith("data:")]
        inside = sum(len(address) for address in addresses if address.startswith("data:"))
        return inside + sum(file.stat().st_size for file in files if file.is_file())

    def _links(self, path: Path) -> Iterator[str]:
        """Give each address within the site that leads nowhere."""
        for element, address in _addresses(self.soup(path)):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address in ("", "#"):
                continue
            target, anchor = _file(path, address), unquote(parts.fragment)
            if not target.exists():
                yield f"<{element}> leads to {address}, which does not exist"
            elif anchor and target.suffix == ".html" and not self.has(target, anchor):
                yield f"<{element}> leads to {address}, where nothing is named {anchor!r}"


def computed(soup: BeautifulSoup) -> list[Tag]:
    """Return the pictures that cells drew, one a figure; those of explorables left out."""
    article = soup.find("article") or soup
    return [
        image
        for image in article.select(".cell_output img")
        if "only-dark" not in image.get("class", []) and not _explorable(image)
    ]


def _explorable(element: Tag) -> bool:
    return element.find_parent(class_="vc-explorable") is not None


def _frames(box: Tag) -> list[dict]:
    scripts = box.find_all("script", type="application/json")
    return [frame for script in scripts for frame in json.loads(script.string)["frames"]]


def _file(path: Path, address: str) -> Path:
    """Return the file that an address on a page means."""
    part = unquote(urlsplit(address).path)
    return (path.parent / part).resolve() if part else path


def _addresses(soup: BeautifulSoup) -> Iterator[tuple[str, str]]:
    for element in soup.find_all(href=True):
        yield element.name, str(element["href"])
    for element in soup.find_all(src=True):
        yield element.name, str(element["src"])
    for box in soup.select("div.vc-explorable"):
        for frame in _frames(box):
            yield from (("script", str(frame[k])) for k in ("day", "night") if frame.get(k))


def _structure(soup: BeautifulSoup) -> Iterator[str]:
    """Give faults of language, landmarks, headings, identifiers and the order of focus."""
    if not (soup.html and soup.html.get("lang")):
        yield "<html> does not say its language"
    yield from (f"has no <{name}>" for name, which in LANDMARKS.items() if not soup.select(which))
    ids = Counter(str(tag["id"]) for tag in soup.find_all(id=True))
    yield from (f"#{name} is the name of {n} elements" for name, n in ids.items() if n > 1)
    for element in soup.find_all(tabindex=True):
        if str(element["tabindex"]).strip().lstrip("+").isdigit() and int(element["tabindex"]) > 0:
            yield f"<{element.name}> has tabindex {element['tabindex']}; the order is the page's"
    yield from _headings(soup)


def _headings(soup: BeautifulSoup) -> Iterator[str]:
    headings = (soup.find("main") or soup).find_all(HEADINGS)
    levels = [int(heading.name[1]) for heading in headings]
    if levels.count(1) != 1:
        yield f"has {levels.count(1)} headings <h1>, and needs one"
    for above, level, heading in zip(levels, levels[1:], headings[1:], strict=False):
        if level > above + 1:
            title = " ".join(heading.get_text().split())
            yield f"<h{level}> {title!r} follows an <h{above}>: a level is left out"


def _controls(soup: BeautifulSoup) -> Iterator[str]:
    """Give controls of explorables without a label."""
    for box in soup.select("div.vc-explorable"):
        named = {str(label["for"]) for label in box.find_all("label", attrs={"for": True})}
        for control in box.find_all(["input", "select", "button"]):
            if control.get("id") not in named and not control.get("aria-label"):
                yield f"<{control.name}> of #{box.get('id')} has no label"


def _figure(image: Tag, night: bool) -> Iterator[str]:
    """Give what a computed figure lacks besides words (see `bookpress.site.page_faults`)."""
    figure = image.find_parent("figure")
    if figure is None:
        return
    name = f"figure #{figure.get('id')}"
    number = figure.select_one("figcaption .caption-number")
    if number is None or not number.get_text(strip=True):
        yield f"{name} has no number: name it by mystnb.figure.name"
    if image.get("data-fault"):
        yield f"{name}: {image['data-fault']}"
        return
    if figure.find("details", class_="vc-data") is None:
        yield f"{name} has no table of its data"
    if night and figure.find("img", class_="only-dark") is None:
        yield f"{name} has no picture by night"
