"""Claims over seeds: what a sweep over seeds found, kept small, and an interval of the median."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from bookpress import grid, notebooks, sweep_folder
from bookpress.book import Book, BookError
from bookpress.sweep_folder import Found

LEVEL = 0.95
# What is kept of a claim, a list with one item a seed, and where the claim has it.
LISTS = {
    "values": "value",
    "lows": "low",
    "highs": "high",
    "chance": "chance",
    "ceiling": "ceiling",
}


def over_seeds(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the median of some runs and an interval of the median of all, free of any law.

    The interval lies between two order statistics, the k-th from below and the k-th from above,
    with the largest k that covers the median with a probability of at least 0.95. Where even the
    lowest and the highest do not, they are taken.

    Parameters
    ----------
    values
        One number a seed, independent draws of one law.

    Returns
    -------
    tuple of float
        Median, low, high, and the probability that an interval so made holds the median of the
        law: exact where the law is continuous, more than that where it is not.

    Raises
    ------
    BookError
        No value, or one that is not finite.
    """
    if not values or not all(math.isfinite(v) for v in values):
        raise BookError(f"An interval over seeds takes finite numbers, at least one; got {values}.")
    n, ordered = len(values), sorted(values)
    covered = coverages(n)
    k = max((k for k, probability in enumerate(covered, 1) if probability >= LEVEL), default=1)
    return statistics.median(ordered), ordered[k - 1], ordered[n - k], covered[k - 1]


def coverages(n: int) -> list[float]:
    """Return how often the k-th lowest and the k-th highest of n draws enclose the median.

    One number for each k from 1. The median lies beyond the k-th as often as fewer than k of n
    tosses of a coin come up heads.
    """
    ways = itertools.accumulate(math.comb(n, heads) for heads in range(max(1, n // 2)))
    return [1 - 2 * beyond / 2**n for beyond in ways]


def folder(book: Book) -> Path:
    """Return where the summaries are kept, one file a chapter."""
    return book.results / "across_seeds"


def cells(book: Book, only: Sequence[str] = ()) -> list[grid.Cell]:
    """Return the runs over seeds: chapters that take a seed, all else at its own values.

    Parameters
    ----------
    book
        The checkout.
    only
        Chapters, by any beginning of their names; by default every one that takes a seed.

    Raises
    ------
    BookError
        The setting ``seeds`` is missing, or is no list of different whole numbers; there is no such
        chapter, or it takes no seed.
    """
    values = book.settings.get("seeds")
    whole = isinstance(values, list) and all(type(value) is int for value in values)
    if not whole or not values or len(set(values)) < len(values):
        raise BookError(
            "`seeds` of [tool.bookpress] in pyproject.toml must list different whole numbers, "
            f"like [1000, 2000]; got {values!r}."
        )
    return grid.cells(
        book, list(only) or chapters(book), [f"seed={','.join(map(str, values))}"], []
    )


def chapters(book: Book) -> list[str]:
    """Return the chapters that take a seed."""
    return [s.stem for s in book.sources() if "seed" in defaults(book, s.stem)]


def defaults(book: Book, chapter: str) -> dict[str, object]:
    """Return the values that a chapter declares for its parameters."""
    script = notebooks.read(book.notebooks / f"{chapter}.py")
    return {p.name: p.default for p in notebooks.declared(script, chapter)}


def load(book: Book) -> dict[str, dict]:
    """Return the kept summaries of the book's chapters, those that there are.

    Raises
    ------
    BookError
        A file is damaged.
    """
    paths = {s.stem: folder(book) / f"{s.stem}.json" for s in book.sources()}
    return {chapter: _read(path) for chapter, path in paths.items() if path.exists()}


def is_current(book: Book, summary: Mapping) -> bool:
    """Say whether the chapter's code is that of the runs."""
    return summary["code_hash"] == book.code_hash(summary["chapter"])


def summarise(book: Book, out: Path) -> list[Path]:
    """Write what a finished sweep over seeds found: one small file a chapter of it.

    All are made before the first is written, so that a faulty sweep changes nothing.

    Parameters
    ----------
    book
        The checkout; the files go to its ``results/across_seeds``.
    out
        Folder of the sweep.

    Returns
    -------
    list of Path
        The files, in the order of the chapters.

    Raises
    ------
    BookError
        The sweep is not finished, is damaged, varied more than the seed, or ran changed code.
    """
    found: dict[str, list[Found]] = {}
    for run in _finished(out):
        found.setdefault(run.chapter, []).append(run)
    texts = {c: _text(_summary(book, c, found[c])) for c in sorted(found)}
    paths = {chapter: folder(book) / f"{chapter}.json" for chapter in texts}
    for chapter, path in paths.items():
        notebooks.replace(path, texts[chapter] + "\n")
    return list(paths.values())


def _finished(out: Path) -> list[Found]:
    varied = sweep_folder.manifest(out)["axes"]
    if not set(varied) <= {"seed"}:
        raise BookError(
            f"The sweep {out} varied {', '.join(varied)}; expected `seed` alone: sweep over seeds, "
            "all else at its default."
        )
    found = sweep_folder.load(out)
    for state, remedy in (
        ("missing", "call `bookpress sweep` again, as before"),
        ("damaged", "delete the folders of these runs, and call `bookpress sweep` again"),
    ):
        such = [run for run in found if run.state == state]
        if such:
            raise BookError(f"{len(such)} runs are {state}, {_named(such[0])} for one: {remedy}.")
    return found


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BookError(f"{path} is damaged ({error}): restore it, or make it again.") from error


def _named(run: Found) -> str:
    return f"{run.chapter} [{run.run}]{': ' if run.fault else ''}{run.fault}"


def _summary(book: Book, chapter: str, runs: list[Found]) -> dict:
    by_seed = {_seed(run): run for run in sorted(runs, key=_seed)}
    done = {seed: run for seed, run in by_seed.items() if run.state == "done"}
    reports = [run.report for run in done.values()]
    return {
        "chapter": chapter,
        "seeds": list(done),
        "failed": [{"seed": s, "error": _error(r)} for s, r in by_seed.items() if s not in done],
        "commit": ", ".join(dict.fromkeys(report["commit"] for report in reports)),
        "code_hash": _one(chapter, "code_hash", reports),
        "lock_hash": _one(chapter, "lock_hash", reports),
        "parameters": _others(book, chapter, runs),
        "duration_s": _median([report["duration_s"] for report in reports]),
        "peak_memory_mb": _median([report["peak_memory_bytes"] / 1e6 for report in reports]),
        "claims": _collected([{c["name"]: c for c in run.claims} for run in done.values()]),
    }


def _seed(run: Found) -> int:
    seed = run.parameters.get("seed")
    if type(seed) is not int:
        raise BookError(f"{_named(run)} has no whole number as its seed, but {seed!r}.")
    return seed


def _others(book: Book, chapter: str, runs: list[Found]) -> dict[str, object]:
    """Return the chapter's own parameters without the seed, which every run must have had."""
    own = defaults(book, book.chapter(chapter))
    own.pop("seed", None)
    for run in runs:
        had = run.parameters
        changed = [k for k in had.keys() | own.keys() if k != "seed" and had.get(k) != own.get(k)]
        if changed and run.state != "refused":
            raise BookError(
                f"{_named(run)} ran with other {', '.join(sorted(changed))} than the chapter "
                "declares now: sweep over seeds anew, all else at its default."
            )
    return own


def _error(run: Found) -> str:
    """Return what ended a run, and where; not its message, which may name a machine's paths."""
    kind, cell = run.error.get("kind", run.state), run.error.get("cell")
    what = run.error.get("name") if kind == "error" else kind
    return f"{what} in cell {cell}" if cell is not None else str(what)


def _one(chapter: str, key: str, reports: list[Mapping]) -> str:
    found = {report[key] for report in reports}
    if len(found) > 1:
        raise BookError(
            f"{chapter}: its seeds ran with {len(found)} different values of {key}. The code "
            "changed meanwhile: sweep over seeds anew, into another folder."
        )
    return found.pop() if found else ""


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 1) if values else None


def _collected(recorded: list[dict[str, Mapping]]) -> dict[str, dict]:
    """Return the claims by name, in the order of their record; a list holds one item a seed."""
    first = {name: claim for claims in reversed(recorded) for name, claim in claims.items()}
    order = dict.fromkeys(name for claims in recorded for name in claims)
    return {name: {"unit": first[name]["unit"], **_lists(recorded, name)} for name in order}


def _lists(recorded: list[dict[str, Mapping]], name: str) -> dict[str, list[float | None]]:
    return {
        many: [rounded(claims.get(name, {}).get(one)) for claims in recorded]
        for many, one in LISTS.items()
    }


def rounded(value: float | None) -> float | None:
    """Return six significant digits: what follows differs from machine to machine."""
    return None if value is None else float(f"{value:.6g}")


def _text(value: object, indent: str = "") -> str:
    """Return JSON for people: an object on several lines, a list on one."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
