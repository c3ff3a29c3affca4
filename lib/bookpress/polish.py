"""What the built pages still need: figures by night, the data behind them, covers, and good HTML.

Jupyter Book renders the light picture of each figure and nothing of what the press sent along with
it. This goes over the built pages and puts it in. Doing so twice changes nothing.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from PIL import Image

from bookpress import dress, hovers
from bookpress.book import Book, BookError
from bookpress.figure_table import thinned

FIGURE = "application/vnd.bookpress.figure+json"
COVER = "application/vnd.bookpress.cover+json"
# rows that a page shows of a figure; the files have all
MOST_ROWS = 60
# a table with more columns may be wider than its page, and then scrolls
MOST_COLUMNS = 4
NUMBERED = re.compile(r"(\d+[a-z]?)_")
COUNTED = re.compile(r"\b(?:Figure|Fig\.|Exercise) [\d.a-z]*\d")


@dataclass(frozen=True)
class Page:
    """A built page, with what the notebook that it was made of holds besides.

    Attributes
    ----------
    book
        The checkout.
    name
        As in the table of contents.
    soup
        The page, changed in place.
    """

    book: Book
    name: str
    soup: BeautifulSoup

    @property
    def path(self) -> Path:
        """The file of the page."""
        return self.book.site / f"{self.name}.html"

    @property
    def stem(self) -> str:
        """Name without folders."""
        return Path(self.name).name

    @cached_property
    def article(self) -> Tag:
        """The part of the page that was written for it."""
        return self.soup.find("article") or self.soup

    @cached_property
    def outputs(self) -> list[Mapping[str, object]]:
        """The data of each output of the notebook behind the page, if it is one."""
        path = self.book.root / f"{self.name}.ipynb"
        cells = nbformat.read(path, as_version=4).cells if path.exists() else []
        return [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]

    def address(self, file: Path) -> str:
        """Return where a file of the site lies, seen from this page."""
        return Path(os.path.relpath(file, self.path.parent)).as_posix()

    def tag(self, name: str, text: str = "", **attributes: object) -> Tag:
        """Return a new element; ``class_`` stands for ``class``, ``aria_`` for ``aria-``."""
        named = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
        made = self.soup.new_tag(name, attrs=named)
        if text:
            made.string = text
        return made


def polish(book: Book) -> None:
    """Complete the built pages: pictures by night, data, covers, numbers of figures, landmarks.

    Raises
    ------
    BookError
        A place for a cover names a chapter without one.
    """
    pages = _pages(book)
    before = {page.path: page.soup.decode() for page in pages}
    numbers = {key: label for page in pages for key, label in _number(page).items()}
    covers = {page.stem: picture for page in pages for picture in _covers(page)}
    missing: list[str] = []
    for page in pages:
        sent = _sent(page)
        _explorables(page)
        for image in page.article.select(".cell_output img"):
            _figure(page, image, sent.get(Path(str(image.get("src", ""))).stem))
        missing += _place_covers(page, covers)
        _refer(page, numbers)
        _regions(page)
        _landmarks(page.soup)
        dress.dress(page.soup)
        _write(page.path, page.soup, before[page.path])
    for path in sorted(book.site.glob("*.html")):  # the search, the index
        soup = _read(path)
        read = soup.decode()
        _landmarks(soup)
        dress.dress(soup)
        _write(path, soup, read)
    hovers.add_all(book)
    if missing:
        have = ", ".join(covers) or "no chapter"
        raise BookError(
            f"Places for covers that do not exist: {'; '.join(missing)}. {have} has one; a chapter "
            "makes its own with bookpress.cover(…)."
        )


def _pages(book: Book) -> list[Page]:
    paths = {name: book.site / f"{name}.html" for name in book.pages()}
    return [Page(book, name, _read(path)) for name, path in paths.items() if path.exists()]


def _read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def _write(path: Path, soup: BeautifulSoup, before: str) -> None:
    """Write a page that was changed; one that reads as before may keep its white space."""
    text = soup.decode()
    if text != before:
        path.write_text(text)


# ---- what notebooks hold ------------------------------------------------------------------------


def _sent(page: Page) -> dict[str, dict]:
    """Return what was sent along with figures, by the name that their pictures have on the page."""
    return {
        hashlib.sha256(binascii.a2b_base64(str(data["image/png"]))).hexdigest(): data[FIGURE]
        for data in page.outputs
        if FIGURE in data and "image/png" in data
    }


def _covers(page: Page) -> list[dict]:
    return [data[COVER] for data in page.outputs if COVER in data][:1]


def _stored(book: Book, uri: str) -> Path:
    """Write the picture of a data URI among the images of the site, named by its content."""
    head, _, text = uri.partition(",")
    content = base64.b64decode(text)
    kind = head.removeprefix("data:image/").partition(";")[0]
    path = book.site / "_images" / f"{hashlib.sha256(content).hexdigest()[:24]}.{kind}"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(content)
    return path


# ---- figures ------------------------------------------------------------------------------------


def _figure(page: Page, image: Tag, sent: Mapping | None) -> None:
    """Give a computed figure its size, its picture by night, and its data."""
    if image.find_parent(class_="vc-explorable") or "only-dark" in image.get("class", []):
        return
    _sized(page, image)
    if sent is None:
        return
    if sent["faults"]:
        image["data-fault"] = "; ".join(sent["faults"])
    if sent.get("night") and "only-light" not in image.get("class", []):
        image["class"] = [*image.get("class", []), "only-light"]
        dark = page.address(_stored(page.book, sent["night"]))
        kept = {key: image[key] for key in ("alt", "width", "height") if key in image.attrs}
        image.insert_after(page.tag("img", src=dark, class_=["only-dark"], **kept, **LAZY))
    figure = image.find_parent("figure")
    if figure is not None and figure.find("details", class_="vc-data") is None:
        details = _data(page, figure, sent["tables"])
        if details is not None:
            (figure.find("figcaption") or image).insert_after(details)


LAZY = {"loading": "lazy", "decoding": "async"}


def _sized(page: Page, image: Tag) -> None:
    """Say how large a picture is, so that nothing moves when it comes."""
    style = str(image.get("style", ""))
    sizes = {k: v for k, v in re.findall(r"(width|height):\s*(\d+)(?:\.\d+)?px", style)}
    file = page.path.parent / str(image.get("src", ""))
    if len(sizes) < 2 and "width" not in image.attrs and file.is_file() and file.suffix != ".svg":
        sizes = _pixels(file)
    if len(sizes) == 2:
        image.attrs.update(sizes)
        image.attrs.pop("style", None)
    image.attrs.update(LAZY)


def _pixels(file: Path) -> dict[str, str]:
    with Image.open(file) as picture:
        return dict(zip(("width", "height"), map(str, picture.size), strict=True))


def _data(page: Page, figure: Tag, tables: list[Mapping]) -> Tag | None:
    """Return a fold with the tables of a figure, after writing each whole to a file."""
    if not tables:
        return None
    number = len(page.article.select("details.vc-data")) + 1
    name = str(figure.get("id") or f"figure-{number}")
    details = page.tag("details", class_=["vc-data"])
    details.append(page.tag("summary", "Data behind this figure"))
    for k, table in enumerate(tables, start=1):
        ending = f"-{k}" if len(tables) > 1 else ""
        file = page.book.site / "_data" / page.stem / f"{name}{ending}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(table["csv"])
        details.append(_table(page, table, file, max(4, MOST_ROWS // len(tables))))
    return details


def _table(page: Page, table: Mapping, file: Path, most: int) -> Tag:
    """Return a table of at most so many rows, with a link to all of them."""
    heads, *rows = csv.reader(io.StringIO(table["csv"]))
    shown = thinned(rows, most)
    region = page.tag(
        "div", class_=["vc-scroll"], tabindex="0", role="region", aria_label=table["caption"]
    )
    made, head, body = page.tag("table"), page.tag("thead"), page.tag("tbody")
    caption = page.tag("caption", f"{table['caption']} ({_count(shown, rows, table['total'])}) ")
    caption.append(page.tag("a", "CSV", href=page.address(file), download=file.name))
    row = page.tag("tr")
    row.extend(page.tag("th", text, scope="col") for text in heads)
    head.append(row)
    for cells in shown:
        row = page.tag("tr")
        row.extend(page.tag("td", text) for text in cells)
        body.append(row)
    made.extend([caption, head, body])
    region.append(made)
    return region


def _count(shown: list, kept: list, total: int) -> str:
    """Say how many rows there are, and how many of them stand where."""
    said = f"{total} row" + "s" * (total != 1)
    if len(shown) < len(kept):
        said += f", {len(shown)} of them here, evenly spaced"
    return said + (f"; {len(kept)} in the file" if len(kept) < total else "")


# ---- explorables and covers ---------------------------------------------------------------------


def _explorables(page: Page) -> None:
    """Move the pictures of explorables from the page into files."""
    for box in page.article.select("div.vc-explorable"):
        for image in box.find_all("img"):
            image["src"] = _moved(page, str(image["src"]))
            _sized(page, image)
        for script in box.find_all("script", type="application/json"):
            data = json.loads(script.string)
            for frame in data["frames"]:
                frame |= {k: _moved(page, frame[k]) for k in ("day", "night") if frame.get(k)}
            # a script ends at the first "</", wherever that stands
            script.string = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")


def _moved(page: Page, address: str) -> str:
    if not address.startswith("data:image/"):
        return address
    return page.address(_stored(page.book, address))


def _place_covers(page: Page, covers: Mapping[str, Mapping]) -> list[str]:
    """Put the cover of a chapter under its title, and covers where a page leaves places for them.

    Returns
    -------
    list of str
        Places that stay empty.
    """
    title = page.article.find("h1")
    if page.stem in covers and title and not page.article.find("figure", class_="vc-cover"):
        figure = page.tag("figure", class_=["vc-cover"])
        figure.extend(_pictures(page, covers[page.stem]))
        title.insert_after(figure)
    missing = []
    for place in page.article.select("div.vc-cover[data-chapter]"):
        chapter = str(place["data-chapter"])
        if chapter not in covers:
            missing.append(f"{chapter} on {page.name}")
        elif place.find("img") is None:
            place.extend(_pictures(page, covers[chapter]))
    return missing


def _pictures(page: Page, cover: Mapping) -> list[Tag]:
    """Return the pictures of a cover, by day and by night, or one for both."""
    kinds = {"only-light": "day", "only-dark": "night"} if cover["night"] else {"dark-light": "day"}
    made = []
    for kind, key in kinds.items():
        file = _stored(page.book, cover[key])
        image = page.tag("img", src=page.address(file), alt=cover["alt"], class_=[kind])
        image.attrs |= {**_pixels(file), "decoding": "async"}
        made.append(image)
    return made


# ---- numbers of figures -------------------------------------------------------------------------


def _number(page: Page) -> dict[tuple[str, str], str]:
    """Number figures and exercises of a page anew within its chapter, by (page, anchor).

    Sphinx counts through the whole book, so that a new one would change the numbers of others.
    """
    chapter = NUMBERED.match(page.stem)
    prefix = f"{chapter[1]}." if chapter else ""
    labels = {}
    for kind, holders in (("Figure", "figure"), ("Exercise", "div.exercise")):
        held = [h for h in page.article.select(holders) if h.select_one(".caption-number")]
        for k, holder in enumerate(held, start=1):
            label = f"{kind} {prefix}{k}"
            holder.select_one(".caption-number").string = f"{label} "
            if holder.get("id"):
                labels[(page.name, str(holder["id"]))] = label
    return labels


def _refer(page: Page, numbers: Mapping[tuple[str, str], str]) -> None:
    """Let references name figures and exercises by these numbers."""
    for link in page.soup.select("a.reference[href*='#']"):
        target, _, anchor = str(link["href"]).partition("#")
        name = os.path.normpath(Path(page.name).parent / target) if target else page.name
        label = numbers.get((name.removesuffix(".html"), anchor))
        for text in link.find_all(string=COUNTED) if label else []:
            text.replace_with(COUNTED.sub(label, text))


# ---- tables, landmarks --------------------------------------------------------------------------


def _regions(page: Page) -> None:
    """Let readers with a keyboard scroll wide tables, and hear what they scroll."""
    for table in page.article.find_all("table"):
        box = table.find_parent(class_="pst-scrollable-table-container")
        box = box or table.find_parent(class_="text_html")
        first = table.find("tr")
        if box is None or first is None or len(first.find_all(["th", "td"])) <= MOST_COLUMNS:
            continue
        if table.find_parent(class_=["vc-explorable", "vc-scroll"]):
            continue
        label = table.find("caption") or table.find_previous(["h1", "h2", "h3", "h4"])
        said = " ".join(label.get_text().replace("#", "").split()) if label else "numbers"
        box.attrs.update({"tabindex": "0", "role": "region", "aria-label": f"Table: {said}"})


# What the theme leaves without a name or a place, by selector.
NAMES = {
    "#pst-primary-sidebar": {"role": "complementary", "aria-label": "Contents of the book"},
    "#pst-search-dialog": {"aria-label": "Search"},
    "#pst-primary-sidebar-modal": {"aria-label": "Contents of the book"},
    "#pst-secondary-sidebar-modal": {"aria-label": "Contents of the page"},
    ".primary-toggle": {"aria-label": "Contents of the book"},
    ".secondary-toggle": {"aria-label": "Contents of the page"},
    ".btn-fullscreen-button": {"aria-label": "Full screen"},
}


def _landmarks(soup: BeautifulSoup) -> None:
    """Name what the theme leaves unnamed, and take away the second title that it adds for print."""
    for selector, attributes in NAMES.items():
        for element in soup.select(selector):
            element.attrs.update(attributes)
    for element in soup.select("summary[aria-label], .search-button-field[aria-label]"):
        del element["aria-label"]  # other words than those that it shows
    for corner in soup.select("table.dataframe thead th:empty"):
        corner.name = "td"
    for shared in soup.select("#exercise-content, #solution-content"):  # of every exercise
        shared["class"] = [*shared.get("class", []), str(shared.attrs.pop("id"))]
    for entries in soup.select(".citation-list[role=list]"):  # links back stand in it too
        del entries["role"]
    for printed in soup.select("#jb-print-docs-body"):
        printed.decompose()
    for second in soup.select('head meta[name="viewport"]')[1:]:
        second.decompose()
