"""The page on claims over seeds: a notebook with outputs, from which other pages glue numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping

import nbformat
from myst_nb.ext.glue import GLUE_PREFIX
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from bookpress import headlines, results, seeds
from bookpress.book import Book, digest
from bookpress.seeds_figure import Row, figure, number

# How often an estimate falls into the 95 % interval around another one of the same normal law.
NORMAL = statistics.NormalDist()
EXPECTED_INSIDE = 2 * NORMAL.cdf(NORMAL.inv_cdf(0.975) / 2**0.5) - 1
COLUMNS = (
    "claim",
    "over seeds: median",
    "this run",
    "seeds inside",
    "chance or baseline",
    "ceiling",
)
INTRODUCTION = """\
# Across seeds

The interval of a printed number resamples one recording. What would another recording have given?
Each chapter was run again with other seeds, all else at its own values. A seed changes the
simulated recording as well as the fits, so that the runs differ in all that was drawn.

How to read a row:

over seeds
: The median of the runs, and an interval of the median of all seeds. It assumes no law: it lies
  between two of the values, for few seeds the lowest and the highest. How often such an interval
  holds that median is said with each chapter.

this run, and its interval
: The chapter as printed in this book, with one seed of its own.

seeds inside
: How many of the other runs lie within the printed interval. The printed number is itself one draw,
  so if its interval told all that varies, about {expected:.0%} of them would, for normal estimates.
  Fewer: another recording differs by more than the resamples of one. More: the interval is wider
  than the spread over seeds.
"""


def page(book: Book) -> str:
    """Return the page as the text of a notebook, each chapter with its figure and its table."""
    kept = seeds.load(book)
    rows = {chapter: _rows(book, chapter, summary) for chapter, summary in kept.items()}
    told = _compared(
        "all claims of all chapters", [row for found in rows.values() for row in found]
    )
    cells = [
        new_markdown_cell("\n".join([INTRODUCTION.format(expected=EXPECTED_INSIDE), *told])),
        _cell([glued(name, number) for name, number in keys(kept, rows).items()], "remove-cell"),
    ]
    shown = {(row.chapter, row.claim) for table in headlines.read(book) for row in table.rows}
    for chapter in seeds.chapters(book):
        cells += _section(book, chapter, kept.get(chapter), rows.get(chapter, []), shown)
    return _notebook(cells)


def keys(kept: Mapping[str, Mapping], rows: Mapping[str, list[Row]]) -> dict[str, float]:
    """Return the numbers that other pages may glue, by name.

    They are ``<chapter>__<claim>_median``, ``_seeds_low`` and ``_seeds_high``, then
    ``<chapter>__n_seeds`` and ``__coverage``, and the least and the most of these over chapters.
    """
    found: dict[str, float] = {}
    for chapter, summary in kept.items():
        n = len(summary["seeds"])
        if n:
            found |= {f"{chapter}__n_seeds": n, f"{chapter}__coverage": _coverage(n)}
        for row in rows[chapter]:
            name = f"{chapter}__{row.name}"
            found |= {f"{name}_median": row.median}
            found |= {f"{name}_seeds_low": row.low, f"{name}_seeds_high": row.high}
    counts = [len(s["seeds"]) for s in kept.values() if s["seeds"]]
    if counts:
        found |= {"n_seeds_least": min(counts), "n_seeds_most": max(counts)}
        found["coverage_least"] = min(map(_coverage, counts))
    return found


def _coverage(n: int) -> float:
    """Return the coverage of the interval over n seeds, which no value changes."""
    return seeds.over_seeds(range(n))[-1]


def _rows(book: Book, chapter: str, summary: Mapping) -> list[Row]:
    printed = results.printed(book, chapter)
    return [
        _row(name, claim, summary["seeds"], printed.get(name))
        for name, claim in summary["claims"].items()
    ]


def _row(name: str, claim: Mapping, of: list[int], printed: Mapping | None) -> Row:
    values = {s: v for s, v in zip(of, claim["values"], strict=True) if v is not None}
    chance, ceiling = (_median(claim[key]) for key in ("chance", "ceiling"))
    interval = seeds.over_seeds(list(values.values()))
    if printed:
        printed = {key: seeds.rounded(printed[key]) for key in ("value", "low", "high")}
    return Row(name, claim["unit"], values, *interval, chance, ceiling, printed)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _section(
    book: Book, chapter: str, summary: Mapping | None, rows: list[Row], shown: set[tuple[str, str]]
) -> Iterator[NotebookNode]:
    title = f"## [{chapter.replace('_', ' ')}](../chapters/{chapter}.ipynb)\n\n"
    if summary is None:
        yield new_markdown_cell(f"{title}Not run over seeds yet: `make results` does it.\n")
        return
    yield new_markdown_cell(title + _told(book, summary, rows))
    if rows:
        yield _figures(chapter, rows, shown)
        table = results.table(COLUMNS, [_cells(row, len(summary["seeds"])) for row in rows])
        yield new_markdown_cell(
            f"::::{{dropdown}} The same in numbers\n:::{{div}} vc-over-seeds\n{table}:::\n::::\n"
        )


def _told(book: Book, summary: Mapping, rows: list[Row]) -> str:
    """Say what was run, with which outcome, and how wide the printed intervals are beside it."""
    done, failed = summary["seeds"], summary["failed"]
    lines = [f"Seeds {', '.join(map(str, done))}." if done else "No seed finished."]
    lines += [f"Seed {f['seed']} failed: {results.cell(f['error'])}." for f in failed]
    if done:
        lines.append(
            f"The interval holds the median of all seeds with a probability of "
            f"{_coverage(len(done)):.3f}. Median of a run: {summary['duration_s']:.0f} s, "
            f"{summary['peak_memory_mb']:.0f} MB; commit `{summary['commit']}`, lock "
            f"`{summary['lock_hash'][:10]}`, {results.state(seeds.is_current(book, summary))}."
        )
    return " ".join([*lines, *_compared("all claims", rows)]) + "\n"


def _compared(of: str, rows: list[Row]) -> Iterator[str]:
    """Say how many values lie within the printed intervals, where there are any to compare."""
    values = sum(len(row.values) for row in rows if row.printed)
    if values:
        inside = sum(row.inside for row in rows if row.printed)
        yield (
            f"Of the values of {of}, {inside / values:.0%} lie within the printed intervals "
            f"(about {EXPECTED_INSIDE:.0%} if these told all that varies)."
        )


def _cells(row: Row, n_seeds: int) -> tuple[str, ...]:
    fewer = f" ({len(row.values)} seeds)" if len(row.values) < n_seeds else ""
    unit = headlines.small(results.cell(row.unit)) if row.unit else ""
    printed = row.printed
    return (
        f"{row.label} {unit}",
        _estimate(row.median, row.low, row.high) + fewer,
        _estimate(*(printed[k] for k in ("value", "low", "high"))) if printed else "not recorded",
        f"{row.inside} of {len(row.values)}" if printed else "",
        number(row.chance),
        number(row.ceiling),
    )


def _estimate(value: float, low: float, high: float) -> str:
    return f"**{value:.3g}** {headlines.small(f'{low:.3g} to {high:.3g}')}"


def _figures(chapter: str, rows: list[Row], shown: set[tuple[str, str]]) -> NotebookNode:
    """Draw the claims of the front page; the others, if there are any, under a fold."""
    first = [row for row in rows if (chapter, row.name) in shown] or rows
    rest = [row for row in rows if row not in first]
    drawn = figure(f"Claims of {chapter.replace('_', ' ')} over seeds.", first)
    if rest:
        others = figure(f"The other claims of {chapter.replace('_', ' ')} over seeds.", rest)
        drawn += f"<details><summary>The other {len(rest)} claims</summary>{others}</details>"
    return _cell([new_output("display_data", {"text/html": drawn})], "remove-input")


def glued(name: str, number: float) -> NotebookNode:
    """Return an output that shows nothing and is glued elsewhere."""
    kept = {"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}}
    return new_output("display_data", {f"{GLUE_PREFIX}text/plain": repr(number)}, metadata=kept)


def _cell(outputs: list[NotebookNode], tag: str) -> NotebookNode:
    # a cell without source would not be rendered
    return new_code_cell("# made by the press", outputs=outputs, metadata={"tags": [tag]})


def _notebook(cells: list[NotebookNode]) -> str:
    """Return the text. Ids are made from place and content, so that equal pages are equal."""
    for place, cell in enumerate(cells):
        cell["id"] = digest(str(place), cell.source)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.writes(new_notebook(cells=cells, metadata=metadata), version=4) + "\n"
