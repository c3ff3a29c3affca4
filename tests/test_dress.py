"""What built pages lack: a description, grades of exercises; and what they need not have."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.press

from bs4 import BeautifulSoup  # noqa: E402

from bookpress import dress  # noqa: E402

PAGE = """\
<html><head><title>A — Book</title>
<script>const THEBE_JS_URL = "https://example.org/thebe.js"</script>
<script src="../_static/sphinx-thebe.js"></script><script src="../_static/book.js"></script>
</head><body><p class="logo__title">The book</p><article>
<h1>01 · A <em>question</em><a class="headerlink" href="#q">#</a></h1>
<p>Short.</p>
<p><strong>The question.</strong> {question}</p>
<div class="exercise admonition"><p class="admonition-title">Exercise 1 (Warm-up: count)</p></div>
<div class="exercise admonition"><p class="admonition-title">Exercise 2 (Stretch: more)</p></div>
<div class="exercise admonition"><p class="admonition-title">Exercise 3 (The core of it)</p></div>
</article><script>kernelName = 'python3'</script></body></html>
"""


def dressed(question: str = "What did it see?") -> BeautifulSoup:
    soup = BeautifulSoup(PAGE.replace("{question}", question), "html.parser")
    dress.dress(soup)
    return soup


def content(soup: BeautifulSoup, **attributes: str) -> str:
    (tag,) = soup.head.find_all("meta", attrs=attributes)
    return tag["content"]


def test_the_head_says_what_the_page_is_about():
    soup = dressed()
    assert soup.title.string == "01 · A question · The book"
    assert content(soup, name="description") == "What did it see?"
    assert content(soup, property="og:title") == "01 · A question"
    assert content(soup, property="og:site_name") == "The book"


def test_a_long_paragraph_is_cut_between_words():
    told = content(dressed("word, " * 60), name="description")
    assert len(told) <= dress.LONGEST
    assert told.endswith("word…")


def test_exercises_are_marked_by_their_grade():
    found = [e["class"][2:] for e in dressed().select(".exercise")]
    assert found == [["vc-warm-up"], ["vc-stretch"], []]


def test_scripts_for_code_on_a_server_are_gone():
    sources = [s.get("src") or s.string for s in dressed().find_all("script")]
    assert sources == ["../_static/book.js"]


def test_twice_is_once():
    soup = dressed()
    once = str(soup)
    dress.dress(soup)
    assert str(soup) == once


def test_a_page_without_a_heading_stays_as_it_is():
    text = "<html><head></head><body><p>elsewhere</p></body></html>"
    soup = BeautifulSoup(text, "html.parser")
    dress.dress(soup)
    assert str(soup) == text
