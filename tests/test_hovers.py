"""Texts of terms and citations in built pages: right, those used alone, the same when put twice."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.press

from bs4 import BeautifulSoup  # noqa: E402

from bookpress import hovers  # noqa: E402
from bookpress.book import Book, BookError  # noqa: E402

GLOSSARY = """\
<html><body><article><dl class="simple glossary">
<dt id="term-chance-level">chance level<a class="headerlink" href="#term-chance-level">#</a></dt>
<dd><p>What a <em>blind</em> guess gets, <span class="math notranslate">\\(1/n\\)</span> of
<a class="reference internal" href="#term-trial"><span class="xref std">trials</span></a>.</p></dd>
<dt id="term-trial">trial</dt><dd><p>One presentation.</p></dd>
</dl></article></body></html>
"""
BIBLIOGRAPHY = """\
<html><body><article><div class="citation" id="id7"><span class="label">[A]</span>
<p>A. Author. A paper. <a href="https://doi.org/10.1/x">doi:10.1/x</a>.</p></div></article></body></html>
"""
PAGE = """\
<html><body><article><p><a class="reference internal" href="../glossary.html#term-chance-level">
<span class="std-term">chance</span></a>, again <a class="reference internal"
href="../glossary.html#term-chance-level">chance</a>
<a class="reference internal" href="../bibliography.html#id7">Author</a>
<a class="reference internal" href="../glossary.html#glossary">all</a>
<a class="reference internal" href="#here">here</a></p></article></body></html>
"""


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A book of three built pages."""
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/glossary\nchapters:\n- file: book/bibliography\n"
        "- file: book/chapters/01\n- file: book/not_built\n"
    )
    pages = {"glossary": GLOSSARY, "bibliography": BIBLIOGRAPHY, "chapters/01": PAGE}
    for name, text in pages.items():
        path = tmp_path / "_build" / "html" / "book" / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Book(tmp_path)


def chapter(book: Book) -> Path:
    return book.site / "book" / "chapters" / "01.html"


def templates(path: Path) -> dict[str, str]:
    found = BeautifulSoup(path.read_text(), "html.parser").find_all("template")
    return {template["id"]: template.decode_contents() for template in found}


def test_entries_are_told_without_links_and_identifiers(book):
    entries = hovers.read(book)
    assert entries["glossary", "term-chance-level"] == (
        "<strong>chance level</strong><p>What a <em>blind</em> guess gets, "
        '<span class="math">\\(1/n\\)</span> of trials.</p>'
    )
    assert entries["bibliography", "id7"] == "A. Author. A paper. doi:10.1/x."
    assert len(entries) == 3


def test_a_page_carries_what_it_links_to_once(book):
    hovers.add_all(book)
    assert list(templates(chapter(book))) == ["vc-hover-term-chance-level", "vc-hover-id7"]
    assert "blind" in templates(chapter(book))["vc-hover-term-chance-level"]
    # the glossary shows its own entries
    assert templates(book.site / "book" / "glossary.html") == {}


def test_twice_is_once(book):
    hovers.add_all(book)
    once = chapter(book).read_text()
    hovers.add_all(book)
    assert chapter(book).read_text() == once


def test_a_link_into_nothing_is_named(book):
    chapter(book).write_text(PAGE.replace("#id7", "#id8"))
    with pytest.raises(BookError, match=r"01\.html: the link to \S+id8 leads to no entry"):
        hovers.add_all(book)


def test_a_book_without_a_glossary_stays_as_it_is(book):
    for name in ("glossary", "bibliography"):
        (book.site / "book" / f"{name}.html").unlink()
    hovers.add_all(book)
    assert chapter(book).read_text() == PAGE


def test_the_script_finds_what_the_press_puts_in(root):
    script = (root / "book" / "_static" / "book.js").read_text()
    assert f'const PREFIX = "{hovers.PREFIX}";' in script
