"""What links to the glossary and to the bibliography show when pointed at, put into each page.

A built page that is read from a disk may not fetch another page, so each carries the texts of those
entries that it links to. The script ``book.js`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from bookpress.book import Book, BookError

PREFIX = "vc-hover-"
# Where entries lie: page, and the selectors of what has the identifier and of what tells it.
SOURCES = (
    ("glossary", "dl.glossary > dt[id]", "dd"),
    ("bibliography", "div.citation[id]", "p"),
)
KEPT = {"em", "strong", "i", "b", "sub", "sup", "code", "span", "p", "ul", "ol", "li"}
Entries = Mapping[tuple[str, str], str]


def add_all(book: Book) -> None:
    """Put texts for links to the glossary and the bibliography into every built page.

    Parameters
    ----------
    book
        The checkout, whose pages are built. Pages that have the texts already stay as they are.

    Raises
    ------
    BookError
        A link leads to an entry that does not exist.
    """
    entries = read(book)
    for path in _pages(book):
        soup = BeautifulSoup(path.read_text(), "html.parser")
        before = str(soup)
        add(soup, path, entries)
        if str(soup) != before:
            path.write_text(str(soup))


def _pages(book: Book) -> list[Path]:
    """Return the built pages of the table of contents, in its order."""
    paths = [book.site / f"{page}.html" for page in book.pages()]
    return [path for path in paths if path.exists()]


def read(book: Book) -> dict[tuple[str, str], str]:
    """Return the entries of the glossary and of the bibliography, by page and identifier."""
    found: dict[tuple[str, str], str] = {}
    for name, heads, text in SOURCES:
        path = book.site / "book" / f"{name}.html"
        if path.exists():
            soup = BeautifulSoup(path.read_text(), "html.parser")
            for head in soup.select(heads):
                found[name, head["id"]] = _told(head, text)
    return found


def _told(head: Tag, text: str) -> str:
    """Return an entry as HTML without links, identifiers and classes."""
    told = head.find_next_sibling(text) if head.name == "dt" else head.find(text)
    words = [_plain(head)] if head.name == "dt" else []
    body = _plain(told)
    return "".join([f"<strong>{word}</strong>" for word in words] + [body])


def _plain(tag: Tag) -> str:
    copy = BeautifulSoup(str(tag), "html.parser").find(tag.name)
    for mark in copy.select("a.headerlink"):
        mark.decompose()
    for inner in copy.find_all(True):
        kept = {"class": ["math"]} if "math" in inner.get("class", []) else {}
        inner.attrs = kept
        if inner.name not in KEPT or (inner.name == "span" and not kept):
            inner.unwrap()
    return " ".join(copy.decode_contents().split())


def add(soup: BeautifulSoup, page: Path, entries: Entries) -> None:
    """Put a ``<template>`` at the end of a page for each entry of another page that it links to.

    Parameters
    ----------
    soup
        The page, changed in place.
    page
        Its path, to be named in messages.
    entries
        What :func:`read` returns.

    Raises
    ------
    BookError
        A link leads to an entry that does not exist.
    """
    for old in soup.select(f"template[id^={PREFIX}]"):
        old.decompose()
    article = soup.find("article")
    wanted = dict.fromkeys(_links(article, page, entries) if article else ())
    for name, fragment in wanted:
        template = soup.new_tag("template", id=f"{PREFIX}{fragment}")
        inner = BeautifulSoup(entries[name, fragment], "html.parser")
        template.extend(list(inner.contents))
        (soup.body or soup).append(template)


def _links(article: Tag, page: Path, entries: Entries) -> list[tuple[str, str]]:
    found = []
    known = {name for name, _ in entries}
    for link in article.select("a.reference.internal[href*='#']"):
        parts = urlsplit(link["href"])
        key = (Path(parts.path).stem, unquote(parts.fragment))
        if key[0] not in known or (key[0] == "glossary" and not key[1].startswith("term-")):
            continue
        if key not in entries:
            raise BookError(f"{page.name}: the link to {link['href']} leads to no entry.")
        found.append(key)
    return found
