"""Runs on real recordings: every named parameter file whose data are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bookpress import results, run
from bookpress.book import Book, BookError
from bookpress.parameters import ParameterError


@dataclass(frozen=True)
class Outcome:
    """What became of one parameter file."""

    line: str
    failed: bool = False


def run_all(book: Book) -> list[Outcome]:
    """Execute each named parameter file; one that lacks data is passed over, and told so."""
    files = sorted((book.notebooks / "params").glob("*.yaml"))
    return [_run_one(book, path) for path in files]


def _run_one(book: Book, path: Path) -> Outcome:
    chapter = results.chapter_of(path)
    if chapter is None:
        return Outcome(f"{path.name}: its first line must read `# chapter: <name>`", failed=True)
    try:
        job = run.job(book, chapter, run.from_file(path), path.stem)
        missing = results.wanted(book, job.parameters)
        if missing:
            return Outcome(f"{path.stem}: not run, needs {missing}")
        run.execute(book, job, book.root / "runs" / job.chapter / f"{job.name}.ipynb")
    except (BookError, ParameterError) as error:
        return Outcome(f"{path.stem}: {error}", failed=True)
    return Outcome(f"{path.stem}: done, results/{job.chapter}/{job.name}.json")
