"""The headline tables: read from a file, numbers glued from runs, gaps told in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("papermill", reason="needs the press")

from bs4 import BeautifulSoup  # noqa: E402
from nbformat import v4, writes  # noqa: E402

from bookpress import (  # noqa: E402
    cards,
    headlines,
    notebooks,
    polish,
    seeds,
    seeds_page,
    site,
    tasks,
)
from bookpress.book import Book, BookError  # noqa: E402

HEADLINES = """\
"01":
  heading: "A tiny: chapter"
  chapters:
    01_tiny:
      - claim: mean_draw
        words: "Mean | of draws"
        decimals: 2
      - claim: gain
        words: Gain
        decimals: 3
        sign: true
        chance_decimals: 1
"""
CARDS = """\
cards:
  - question: How <large>?
    cover: 01_tiny
    chapters: {01_tiny: "01 tiny"}
    results:
      - {chapter: 01_tiny, claim: mean_draw, words: "Mean & more", floor: baseline}
      - {chapter: 01_tiny, claim: gain, words: Gain, decimals: 3}
"""
CLAIMS = {
    "mean_draw": {"value": 0.4, "low": 0.3, "high": 0.5, "chance": 0.0, "ceiling": 1.0},
    "gain": {"value": 0.04, "low": -0.03, "high": 0.05, "chance": 0.0, "ceiling": None},
}
INDEX = """\
# Tiny

## Found

```{include} _generated/headlines_seeds.md
```

```{include} _generated/headlines_01.md
```
"""


@pytest.fixture
def book(tiny_book) -> Book:
    """The tiny book with headlines, as after its chapter ran."""
    (tiny_book.root / "book" / "headlines.yaml").write_text(HEADLINES)
    (tiny_book.root / "book" / "index.md").write_text(INDEX)
    facts = {"unit": "", "n": 9, "held_out": "nothing", "note": ""}
    run = {
        "chapter": "01_tiny",
        "run": "default",
        "parameters": {},
        "data": {},
        "provenance": {"duration_s": 1, "commit": "0", "code_hash": "0", "lock_hash": "0"},
        "claims": [{"name": name} | numbers | facts for name, numbers in CLAIMS.items()],
    }
    notebooks.replace(tiny_book.results / "01_tiny" / "default.json", json.dumps(run))
    return tiny_book


def summarised(book: Book, **other: object) -> None:
    """Keep a summary over three seeds, of which one lacks the second claim."""
    claims = {"mean_draw": [0.2, 0.6, 0.4], "gain": [0.011, None, 0.033]}
    lists = {"lows": [0.0] * 3, "highs": [1.0] * 3, "chance": [0.0] * 3, "ceiling": [None] * 3}
    summary = {
        "chapter": "01_tiny",
        "seeds": [1, 2, 3],
        "failed": [],
        "commit": "0123456789",
        "code_hash": book.code_hash("01_tiny"),
        "lock_hash": book.lock_hash(),
        "duration_s": 1.0,
        "peak_memory_mb": 1.0,
        "claims": {name: {"unit": "", "values": v, **lists} for name, v in claims.items()},
    }
    notebooks.replace(seeds.folder(book) / "01_tiny.json", json.dumps(summary | other))


def with_cards(book: Book, was: str = "", becomes: str = "") -> str:
    """Return the text of the cards, of a file in which something was replaced."""
    file = book.root / "book" / "headlines.yaml"
    file.write_text(HEADLINES + CARDS.replace(was, becomes))
    return texts(book)["headlines_cards.md"]


def texts(book: Book) -> dict[str, str]:
    return {path.name: text for path, text in headlines.pages(book).items()}


def cells(book: Book, words: str) -> list[str]:
    lines = texts(book)["headlines_01.md"].splitlines()
    line = next(line for line in lines if line.startswith(f"| {words}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


class TestFile:
    def test_a_book_without_headlines_has_none(self, tiny_book):
        assert headlines.read(tiny_book) == []
        assert headlines.pages(tiny_book) == {}

    def test_rows_keep_their_order_and_their_form(self, book):
        (table,) = headlines.read(book)
        assert (table.name, table.heading) == ("01", "A tiny: chapter")
        assert table.rows == (
            headlines.Row("01_tiny", "mean_draw", "Mean | of draws", 2),
            headlines.Row("01_tiny", "gain", "Gain", 3, sign=True, chance_decimals=1),
        )

    @pytest.mark.parametrize(
        ("was", "becomes", "fault"),
        [
            ("heading", "title", "'heading'"),
            ("decimals: 2", "decimals: two", "mean_draw: decimals must be a whole number"),
            ("decimals: 2", "decimals: -1", "mean_draw: decimals must be a whole number"),
            ("chance_decimals: 1", "chance_decimals: true", "gain: decimals must be"),
            ("decimals: 2", "digits: 2", "digits"),
            ("        decimals: 2\n", "", "decimals"),
            ('"01"', '"seeds"', "name is letters, digits and _"),
            ('"01"', '"../01"', "name is letters, digits and _"),
            ('"01":', "- a\n- b: [", "headlines.yaml must read like"),
        ],
    )
    def test_faults_are_named(self, book, was, becomes, fault):
        (book.root / "book" / "headlines.yaml").write_text(HEADLINES.replace(was, becomes, 1))
        with pytest.raises(BookError, match=fault):
            headlines.read(book)

    def test_a_faulty_file_stops_the_build_before_any_work(self, book):
        (book.root / "book" / "headlines.yaml").write_text("- 1\n")
        with pytest.raises(BookError, match="must read like"):
            tasks.build(book)
        assert not book.chapters.exists()

    def test_the_front_page_of_this_book_shows_every_table_once(self, root):
        made = [path.name for path in headlines.paths(Book(root))]
        included = re.findall(
            r"\{include\} _generated/(headlines_\w+\.md)", (root / "book" / "index.md").read_text()
        )
        assert sorted(included) == sorted(made)
        known = {source.stem for source in Book(root).sources()}
        rows = [(r.chapter, r.claim) for table in headlines.read(Book(root)) for r in table.rows]
        assert {chapter for chapter, _ in rows} <= known
        assert len(set(rows)) == len(rows)


class TestCards:
    def test_a_book_may_have_none(self, book):
        assert headlines.read_cards(book) == ()
        assert "headlines_cards.md" not in texts(book)

    def test_a_card_tells_its_results_with_their_bounds(self, book):
        text = with_cards(book)
        assert "[How <large>?](chapters/01_tiny.ipynb)" in text
        assert '<div class="vc-cover" data-chapter="01_tiny"></div>' in text
        told = [" ".join(r.text.split()) for r in results_of(text)]
        assert told == [
            "Mean & more0.40 0.30 to 0.50baseline 0.00 · ceiling 1.00",
            "Gain0.040 -0.030 to 0.050chance 0.000 · ceiling none",
        ]
        assert [path.name for path in headlines.paths(book)] == list(texts(book))

    def test_marks_lie_on_one_scale_from_nothing_to_one(self, book):
        first, second = results_of(with_cards(book))
        span = cards.RIGHT - cards.LEFT
        value, chance, ceiling = (
            float(first.select_one(mark)[x].rstrip("%"))
            for mark, x in (
                (".vc-card-value circle", "cx"),
                (".vc-card-chance", "x1"),
                (".vc-card-ceiling", "x1"),
            )
        )
        assert value == pytest.approx(cards.LEFT + 0.4 * span)
        assert (chance, ceiling) == (cards.LEFT, cards.RIGHT)
        assert second.select_one(".vc-card-ceiling") is None
        # what lies below nothing is drawn at the end of the scale, and told in words
        assert second.select_one(".vc-card-value line")["x1"] == f"{cards.LEFT:.2f}%"

    def test_other_seeds_are_drawn_where_there_are_some(self, book):
        assert not results_of(with_cards(book))[0].select(".vc-card-seed")
        summarised(book)
        first, second = results_of(with_cards(book))
        assert len(first.select(".vc-card-seed")) == 3
        assert len(second.select(".vc-card-seed")) == 2

    def test_what_was_not_run_is_told(self, book):
        (book.results / "01_tiny" / "default.json").unlink()
        told = [r.text for r in results_of(with_cards(book))]
        assert told == ["Mean & more: not run yet", "Gain: not run yet"]

    @pytest.mark.parametrize(
        ("was", "becomes", "fault"),
        [
            ("claim: gain", "claim: loss", "01_tiny has no claim 'loss'"),
            ("cover: 01_tiny", "cover: 02_other", "needs its cover among its chapters"),
            ("decimals: 3", "decimals: -1", "gain: decimals must be a whole number"),
            ("question:", "asked:", "must read like"),
            ("floor: baseline", "flor: baseline", "flor"),
        ],
    )
    def test_faults_are_named(self, book, was, becomes, fault):
        with pytest.raises(BookError, match=fault):
            with_cards(book, was, becomes)

    def test_a_claim_beyond_the_scale_is_refused(self, book):
        path = book.results / "01_tiny" / "default.json"
        path.write_text(path.read_text().replace('"value": 0.4,', '"value": 1.4,'))
        with pytest.raises(BookError, match="scale from 0 to 1, and mean_draw is 1.4"):
            with_cards(book)

    def test_the_cards_of_this_book_ask_five_questions_of_its_chapters(self, root):
        asked = headlines.read_cards(Book(root))
        known = {source.stem for source in Book(root).sources()}
        assert len(asked) == 5
        shown = [chapter for card in asked for chapter in card.chapters]
        assert len(set(shown)) == len(shown)
        assert set(shown) <= known
        assert all(result.chapter in card.chapters for card in asked for result in card.results)


def results_of(text: str) -> list:
    return BeautifulSoup(text, "html.parser").select(".vc-card-result")


class TestTables:
    def test_numbers_are_glued_from_the_chapter(self, book):
        words, value, over, chance, ceiling = cells(book, "Gain")
        page = "chapters/01_tiny.ipynb"
        low, high = (f"{{glue:text}}`{page}::gain_{end}:+.3f`" for end in ("low", "high"))
        assert value == f"**{{glue:text}}`{page}::gain:+.3f`** [{low} to {high}]{{.vc-range}}"
        assert chance == f"{{glue:text}}`{page}::gain_chance:+.1f`"
        assert (words, over, ceiling) == ("Gain", "[not run]{.vc-range}", "none")

    def test_words_may_hold_a_bar(self, book):
        assert cells(book, "Mean")[0] == r"Mean \| of draws"
        assert (
            cells(book, "Mean")[4] == "{glue:text}`chapters/01_tiny.ipynb::mean_draw_ceiling:.2f`"
        )

    def test_numbers_over_seeds_are_glued_from_their_page(self, book):
        summarised(book)
        over = cells(book, "Gain")[2]
        page = "_generated/across_seeds.ipynb"
        assert over.startswith(f"{{glue:text}}`{page}::01_tiny__gain_median:+.3f` [")
        assert f"{page}::01_tiny__gain_seeds_high:+.3f`]" in over
        assert over.endswith("[2 seeds]{.vc-range}")
        assert "seeds]" not in cells(book, "Mean")[2]

    def test_every_key_that_a_table_takes_over_seeds_is_made(self, book):
        summarised(book)
        taken = re.findall(r"across_seeds\.ipynb::(\w+)", "".join(texts(book).values()))
        assert len(taken) == 8
        assert all(f'"name": "{key}"' in seeds_page.page(book) for key in taken)

    def test_a_claim_that_no_seed_has_was_not_run(self, book):
        summarised(book, claims={})
        assert cells(book, "Gain")[2] == "[not run]{.vc-range}"

    def test_old_numbers_are_marked(self, book):
        summarised(book, code_hash="other")
        assert cells(book, "Mean")[2].endswith("[older than the code]{.vc-range}")

    def test_the_note_tells_how_many_seeds_there_are(self, book):
        assert "`make results` does it" in texts(book)["headlines_seeds.md"]
        summarised(book)
        note = texts(book)["headlines_seeds.md"]
        assert (
            "median of {glue:text}`_generated/across_seeds.ipynb::n_seeds_least:.0f` more" in note
        )
        assert "less in a row that names fewer seeds" in note


def executed(book: Book) -> Path:
    """Write the chapter's notebook as if it had been executed: its numbers, glued."""
    numbers = {
        name if key == "value" else f"{name}_{key}": number
        for name, claim in CLAIMS.items()
        for key, number in claim.items()
        if number is not None
    }
    glued = [seeds_page.glued(name, number) for name, number in numbers.items()]
    cell = v4.new_code_cell("# made here", outputs=glued)
    made = v4.new_notebook(
        cells=[v4.new_markdown_cell("# Chapter"), cell],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        },
    )
    path = book.chapters / "01_tiny.ipynb"
    notebooks.replace(path, writes(made, version=4))
    return path


def rendered(book: Book) -> BeautifulSoup:
    """Render the front page, and the page on seeds, without executing anything."""
    (book.root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/chapters/01_tiny\n"
        "  - file: book/_generated/across_seeds\n"
    )
    executed(book)
    assert tasks.write_pages(book) is None
    site.render(book)
    polish.polish(book)
    site.check(book)
    return BeautifulSoup((book.site / "book" / "index.html").read_text(), "html.parser")


def shown(page: BeautifulSoup) -> list[list[str]]:
    rows = page.select(".vc-headline tbody tr")
    return [[" ".join(td.text.split()) for td in row.select("td")] for row in rows]


@pytest.mark.long
class TestRendered:
    def test_numbers_stand_on_the_page(self, book):
        summarised(book)
        page = rendered(book)
        assert shown(page) == [
            ["Mean | of draws", "0.40 0.30 to 0.50", "0.40 0.20 to 0.60", "0.00", "1.00"],
            ["Gain", "+0.040 -0.030 to +0.050", "+0.022 +0.011 to +0.033 2 seeds", "+0.0", "none"],
        ]
        assert "is the median of 3 more runs" in " ".join(page.text.split())
        assert "a probability of at least 0.75" in " ".join(page.text.split())
        across = (book.site / "book" / "_generated" / "across_seeds.html").read_text()
        drawn = BeautifulSoup(across, "html.parser")
        assert len(drawn.select("figure.vc-strips .vc-strip")) == 2
        assert len(drawn.select(".vc-over-seeds tbody tr")) == 2
        assert "made by the press" not in drawn.article.text

    def test_without_runs_over_seeds_the_pages_say_so(self, book):
        page = rendered(book)
        assert [row[2] for row in shown(page)] == ["not run", "not run"]
        across = (book.site / "book" / "_generated" / "across_seeds.html").read_text()
        assert "Not run over seeds yet" in across

    @pytest.mark.parametrize(("was", "missing"), [("claim: gain", "no_such"), ("01_tiny:", "gain")])
    def test_a_claim_or_chapter_that_is_gone_fails_the_build(self, book, was, missing):
        text = HEADLINES.replace(was, was.replace("gain", "no_such").replace("01_tiny", "01_other"))
        (book.root / "book" / "headlines.yaml").write_text(text)
        with pytest.raises(BookError, match=f"Glue reference '{missing}' not found"):
            rendered(book)
