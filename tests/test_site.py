"""What every built page keeps to: each fault is found, and named with its page and element."""

from __future__ import annotations

import pytest

from bookpress import page_rules, site
from bookpress.book import Book, BookError

pytestmark = pytest.mark.press

FIGURE = (
    '<div class="cell_output"><figure id="fig-a"><img class="only-light" src="a.png" '
    'alt="A line that rises from left to right"/>{night}<figcaption><span class="caption-number">'
    "{number}</span>Words.</figcaption>{data}</figure></div>"
)
NIGHT = '<img class="only-dark" src="b.png" alt="A line that rises from left to right"/>'
DATA = '<details class="vc-data"><summary>Data</summary></details>'
GOOD = FIGURE.format(night=NIGHT, number="Figure 05b.1", data=DATA)
KNOB = (
    '<div class="vc-explorable" id="explore">{label}<input id="explore-n" type="range"/>'
    "{more}</div>"
)
FRAMES = '<script type="application/json">{"frames": [{"day": "a.png", "night": "FILE"}]}</script>'


@pytest.fixture
def book(tmp_path):
    """A built book of one page, whose pages have pictures by night."""
    (tmp_path / "_toc.yml").write_text("root: page\n")
    (tmp_path / "pyproject.toml").write_text('[tool.bookpress]\nnight = "night.yaml"\n')
    built = tmp_path / "_build" / "html"
    built.mkdir(parents=True)
    for name, size in (("a.png", 100), ("b.png", 30), ("c.webp", 700)):
        (built / name).write_bytes(b"0" * size)
    (built / "other.html").write_text('<p id="there">x</p>')
    (built / "index.html").write_text("")
    return Book(tmp_path)


def write(book: Book, body: str, lang: str = ' lang="en"', footer: str = "<footer></footer>"):
    path = book.site / "page.html"
    path.write_text(
        f"<html{lang}><body><nav></nav><main><article><h1>Title</h1>{body}</article></main>{footer}"
        "</body></html>"
    )
    return path


def faults(book: Book, *words: str, **more: str) -> list[str]:
    return page_rules.Site(book).faults(write(book, *words, **more))


class TestFaults:
    def test_a_good_page_has_none(self, book):
        links = (
            '<a href="#fig-a">1</a><a href="other.html#there">2</a><a href="https://x.org/">3</a>'
        )
        knob = KNOB.format(label='<label for="explore-n">n</label>', more="")
        assert (
            faults(book, GOOD + links + knob + '<h2 tabindex="0">A</h2><h3>B</h3><h2>C</h2>') == []
        )

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            (GOOD.replace("Figure 05b.1", ""), "figure #fig-a has no number"),
            (GOOD.replace(DATA, ""), "figure #fig-a has no table of its data"),
            (GOOD.replace(NIGHT, ""), "figure #fig-a has no picture by night"),
            (
                GOOD.replace("alt=", 'data-fault="tables: no luck" alt=', 1),
                "#fig-a: tables: no luck",
            ),
            ("<h1>Again</h1>", "has 2 headings <h1>"),
            ("<h3>Deep</h3>", "<h3> 'Deep' follows an <h1>"),
            ('<p id="x"></p><p id="x"></p>', "#x is the name of 2 elements"),
            ('<p tabindex="2"></p>', "<p> has tabindex 2"),
            ('<a href="gone.html">x</a>', "leads to gone.html, which does not exist"),
            ('<a href="other.html#gone">x</a>', "where nothing is named 'gone'"),
            ('<a href="#gone">x</a>', "where nothing is named 'gone'"),
            ('<img src="gone.png"/>', "<img> leads to gone.png"),
            (KNOB.format(label="", more=""), "<input> of #explore has no label"),
            (
                KNOB.format(label='<label for="explore-n">n</label>', more=FRAMES),
                "<script> leads to FILE, which does not exist",
            ),
            ("x" * 1_000_001, "its HTML has"),
        ],
    )
    def test_each_is_found_and_named(self, book, body, fault):
        found = faults(book, body)
        assert any(fault in f and f.startswith("page.html: ") for f in found), found

    def test_a_page_says_its_language_and_has_its_landmarks(self, book):
        found = faults(book, "", lang="", footer="")
        assert found == [
            "page.html: <html> does not say its language",
            "page.html: has no <footer>",
        ]

    def test_the_check_of_the_site_tells_them_all(self, book):
        write(book, "<h1>Again</h1><h3>Deep</h3>")
        with pytest.raises(BookError, match=r"2 headings <h1>(.|\n)*'Deep' follows"):
            site.check(book)


class TestWeights:
    def test_one_theme_is_counted_and_each_file_once(self, book):
        knob = KNOB.format(label="", more=FRAMES.replace("FILE", "c.webp"))
        path = write(book, GOOD + GOOD + knob)
        weight = site.weights(book)["page"]
        assert weight == page_rules.Weight(path.stat().st_size, images=100, explorables=700)

    def test_heavy_explorables_are_a_fault(self, book):
        (book.site / "c.webp").write_bytes(b"0" * 1_500_001)
        knob = KNOB.format(label="", more=FRAMES.replace("FILE", "c.webp"))
        assert any("explorables load 1500001 bytes" in fault for fault in faults(book, knob))
