"""The headlines of the front page: cards and tables named in a file, numbers from the runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bookpress import cards, results, seeds
from bookpress.book import Book, BookError

COLUMNS = ("quantity", "this run", "over seeds: median", "chance or baseline", "ceiling")
NAME, NOTE, CARDS = re.compile(r"[a-z0-9_]+"), "seeds", "cards"
ACROSS = "_generated/across_seeds.ipynb"
FORM = """\
"01":                      # written to book/_generated/headlines_01.md
  heading: Chapter 01, a question
  chapters:
    01_example:            # a notebook
      - claim: accuracy    # a claim that it records
        words: What was measured
        decimals: 2        # and, where needed, sign: true, chance_decimals: 4
cards:                     # written to book/_generated/headlines_cards.md; may be left out
  - question: What is asked?
    cover: 01_example      # the chapter whose cover stands on the card
    chapters: {01_example: "01 example"}
    results:               # of claims between 0 and 1
      - {chapter: 01_example, claim: accuracy, words: What was measured}"""


@dataclass(frozen=True)
class Row:
    """One row of a table: a claim of a chapter, the words it stands under, and its decimals."""

    chapter: str
    claim: str
    words: str
    decimals: int
    sign: bool = False
    chance_decimals: int | None = None

    def glued(self, page: str, key: str, decimals: int | None = None) -> str:
        """Return the role that takes a number from an executed notebook."""
        places = self.decimals if decimals is None else decimals
        return f"{{glue:text}}`{page}::{key}:{'+' if self.sign else ''}.{places}f`"


@dataclass(frozen=True)
class Table:
    """One table: its name, the heading above it, its rows."""

    name: str
    heading: str
    rows: tuple[Row, ...]


def read(book: Book) -> list[Table]:
    """Return the tables that ``book/headlines.yaml`` asks for; none without that file.

    Raises
    ------
    BookError
        The file is not of the form that the message shows.
    """
    return _read(book)[0]


def read_cards(book: Book) -> tuple[cards.Card, ...]:
    """Return the cards that ``book/headlines.yaml`` asks for; none without that file.

    Raises
    ------
    BookError
        The file is not of the form that the message shows.
    """
    return _read(book)[1]


def _read(book: Book) -> tuple[list[Table], tuple[cards.Card, ...]]:
    path = book.root / "book" / "headlines.yaml"
    if not path.exists():
        return [], ()
    try:
        fields = dict(yaml.safe_load(path.read_text()))
        asked = tuple(cards.parsed(card) for card in fields.pop(CARDS, []))
        return [_parsed(str(name), table) for name, table in fields.items()], asked
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BookError(f"book/headlines.yaml must read like\n{FORM}\ngot: {error}") from error


def _parsed(name: str, table: Mapping) -> Table:
    rows = tuple(_row(chapter, row) for chapter, rows in table["chapters"].items() for row in rows)
    if not NAME.fullmatch(name) or name == NOTE:
        raise ValueError(f"a table's name is letters, digits and _, and not {NOTE}; got {name!r}")
    return Table(name, str(table["heading"]), rows)


def _row(chapter: str, fields: Mapping) -> Row:
    row = Row(chapter=chapter, **fields)
    for places in (row.decimals, row.chance_decimals):
        if places is not None and (type(places) is not int or places < 0):
            raise ValueError(f"{row.claim}: decimals must be a whole number, got {places!r}")
    return row


def paths(book: Book) -> list[Path]:
    """Return the files that the front page includes."""
    tables, asked = _read(book)
    names = [*(t.name for t in tables), *([NOTE] if tables else []), *([CARDS] if asked else [])]
    return [_path(book, name) for name in names]


def pages(book: Book) -> dict[Path, str]:
    """Return the files that the front page includes, with their text.

    The numbers of tables are no part of it: roles take them from the executed notebooks, so that
    a claim that is gone fails the build. Cards draw what the printed runs recorded. What has not
    been run, or not over seeds, is told in words.

    Raises
    ------
    BookError
        A card asks for a claim that its chapter does not record, or that fits no card.
    """
    (tables, asked), kept = _read(book), seeds.load(book)
    texts = {table.name: _page(book, table, kept) for table in tables}
    texts |= {NOTE: _note(kept)} if tables else {}
    texts |= {CARDS: cards.page(book, asked)} if asked else {}
    return {_path(book, name): text for name, text in texts.items()}


def _path(book: Book, name: str) -> Path:
    return book.generated / f"headlines_{name}.md"


def _page(book: Book, table: Table, kept: Mapping[str, Mapping]) -> str:
    chapters = {row.chapter for row in table.rows}
    unbounded = {chapter: _without_ceiling(book, chapter) for chapter in chapters}
    old = {c for c in chapters & kept.keys() if not seeds.is_current(book, kept[c])}
    rows = [
        (
            results.cell(row.words),
            _this_run(row),
            _over_seeds(row, kept.get(row.chapter), row.chapter in old),
            row.glued(_notebook(row), f"{row.claim}_chance", row.chance_decimals),
            _ceiling(row, row.claim in unbounded[row.chapter]),
        )
        for row in table.rows
    ]
    return f"### {table.heading}\n\n:::{{div}} vc-headline\n{results.table(COLUMNS, rows)}:::\n"


def _without_ceiling(book: Book, chapter: str) -> set[str]:
    return {n for n, claim in results.printed(book, chapter).items() if claim["ceiling"] is None}


def _notebook(row: Row) -> str:
    return f"chapters/{row.chapter}.ipynb"


def _this_run(row: Row) -> str:
    page = _notebook(row)
    value, low, high = (row.glued(page, f"{row.claim}{end}") for end in ("", "_low", "_high"))
    return f"**{value}** {small(f'{low} to {high}')}"


def _over_seeds(row: Row, summary: Mapping | None, old: bool) -> str:
    values = summary["claims"].get(row.claim, {}).get("values", []) if summary else []
    found = sum(value is not None for value in values)
    if not found:
        return small("not run")
    key = f"{row.chapter}__{row.claim}"
    ends = ("median", "seeds_low", "seeds_high")
    median, low, high = (row.glued(ACROSS, f"{key}_{end}") for end in ends)
    return " ".join([median, small(f"{low} to {high}"), *_remarks(found, summary, old)])


def _remarks(found: int, summary: Mapping, old: bool) -> Iterator[str]:
    if found < len(summary["seeds"]):
        yield small(f"{found} seeds")
    if old:
        yield small("older than the code")


def _ceiling(row: Row, unbounded: bool) -> str:
    return "none" if unbounded else row.glued(_notebook(row), f"{row.claim}_ceiling")


def small(text: str) -> str:
    """Return a text set small, on a line of its own."""
    return f"[{text}]{{.vc-range}}"


def _note(kept: Mapping[str, Mapping]) -> str:
    """Say what the two intervals of the tables mean; `kept` are the summaries over seeds."""
    counts = {len(summary["seeds"]) for summary in kept.values()} - {0}
    this = (
        "**This run** is the one printed in the chapter: the interval in small resamples its one "
        "recording, by the units that the chapter names, and covers 95 %. "
    )
    if not counts:
        return f"{this}No chapter has been run over seeds yet: `make results` does it.\n"
    least, most = (f"{{glue:text}}`{ACROSS}::n_seeds_{end}:.0f`" for end in ("least", "most"))
    runs = least if len(counts) == 1 else f"{least} to {most}"
    gaps = any(None in c["values"] for s in kept.values() for c in s["claims"].values())
    fewer = " (less in a row that names fewer seeds)" if gaps else ""
    return (
        f"{this}**Over seeds** is the median of {runs} more runs, each with a seed of its own that "
        "changes the simulated recording as well as the fits; the interval in small lies between "
        "two of their values, and holds the median of all seeds with a probability of at least "
        f"{{glue:text}}`{ACROSS}::coverage_least:.2f`{fewer}. All values: "
        "{doc}`across seeds <_generated/across_seeds>`.\n"
    )
