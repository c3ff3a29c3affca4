"""The command line of the press."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bookpress.book import Book, BookError
from bookpress.parameters import ParameterError

app = typer.Typer(
    help="Execute, render and check an executable book.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Pairs = Annotated[list[str] | None, typer.Option("-p", help="NAME VALUE, as often as needed")]


@app.command()
def build(
    jobs: Annotated[int | None, typer.Option(help="chapters at a time; default: cores")] = None,
    force: Annotated[bool, typer.Option(help="run everything, changed or not")] = False,
) -> None:
    """Execute what changed, render the site, check the pages."""
    from bookpress.tasks import build as build_book

    raise typer.Exit(build_book(Book.find(), jobs=jobs, force=force))


@app.command()
def run(
    chapter: Annotated[str, typer.Argument(help="number or name of a chapter")],
    p: Pairs = None,
    file: Annotated[Path | None, typer.Option("-f", help="YAML file of parameters")] = None,
    name: Annotated[str | None, typer.Option(help="name of the run in results/")] = None,
    output: Annotated[Path | None, typer.Option(help="where the notebook goes")] = None,
) -> None:
    """Execute one chapter with parameters; unknown or ill-typed ones are refused first."""
    from bookpress import run as runs

    book = Book.find()
    stem = book.chapter(chapter)
    given = (runs.from_file(file) if file else {}) | _parsed(book, stem, p or [])
    known = file is not None and file.resolve().parent == book.notebooks / "params"
    named = name or (file.stem if known and not p else None)
    job = runs.job(book, stem, given, named)
    target = output or book.root / "runs" / stem / f"{job.name}.ipynb"
    runs.execute(book, job, target)
    typer.echo(f"{stem} [{job.name}]  done: {_shown(target, book)}")


@app.command()
def sweep(
    chapters: Annotated[list[str] | None, typer.Argument(help="numbers or names")] = None,
    p: Annotated[
        list[str] | None,
        typer.Option("-p", help="an axis: name=a,b or name=0..4 or chapter:name=a,b"),
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("-f", help="YAML file of parameters; a list is an axis")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the sweep")] = None,
    cpus: Annotated[float, typer.Option(help="processors of a run")] = 1.0,
    gpus: Annotated[float, typer.Option(help="graphics cards of a run")] = 0.0,
    memory: Annotated[float, typer.Option(help="memory of a run, GB; more stops it")] = 6.0,
    jobs: Annotated[int | None, typer.Option(min=1, help="runs at a time at most")] = None,
    address: Annotated[str | None, typer.Option(help="of a Ray cluster: auto, HOST:PORT")] = None,
    retry_failed: Annotated[bool, typer.Option(help="make failed runs again")] = False,
    anyway: Annotated[bool, typer.Option(help="leave out runs with a wrong parameter")] = False,
    accept_changes: Annotated[bool, typer.Option(help="go on with other code")] = False,
    track: Annotated[list[str] | None, typer.Option(help="wandb or mlflow, as well")] = None,
    dry_run: Annotated[bool, typer.Option(help="list the runs, and stop")] = False,
) -> None:
    """Run chapters over a grid of parameters, side by side; called again, it goes on."""
    from bookpress import grid, tracking
    from bookpress import sweep as sweeps

    book = Book.find()
    cells = grid.cells(book, chapters or [], p or [], file or [])
    if not anyway:
        grid.check(cells)
    if dry_run:
        for cell in cells:
            typer.echo(f"{cell.chapter}  {cell.run}{'  REFUSED' if cell.fault else ''}")
        raise typer.Exit
    options = sweeps.Options(
        resources=sweeps.Resources(cpus, gpus, memory),
        address=address,
        jobs=jobs,
        retry_failed=retry_failed,
        accept_changes=accept_changes,
        track=tuple(track or ()),
    )
    target = out or book.root / "runs" / f"sweep-{grid.name(cells)}"
    with _stoppable():
        counts = sweeps.run(book, cells, target, options)
    for fault in tracking.faults(target, options.track):
        typer.echo(fault, err=True)
    typer.echo(
        f"{counts['done']} runs done, {counts['failed']} failed, {counts['refused']} refused: "
        f"{_shown(target / 'index.html', book)}"
    )
    raise typer.Exit(int(counts["done"] < counts.total()))


@app.command()
def results(
    chapters: Annotated[list[str] | None, typer.Argument(help="default: all")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time at most")] = 2,
    out: Annotated[Path | None, typer.Option(help="folder of the sweep")] = None,
    address: Annotated[str | None, typer.Option(help="of a Ray cluster: auto, HOST:PORT")] = None,
    retry_failed: Annotated[bool, typer.Option(help="make failed runs again")] = False,
) -> None:
    """Run chapters over the seeds of the settings; keep medians and spread in results/."""
    from bookpress import seeds
    from bookpress import sweep as sweeps

    book = Book.find()
    target = out or book.root / "runs" / "across-seeds"
    options = sweeps.Options(address=address, jobs=jobs, retry_failed=retry_failed)
    with _stoppable():
        sweeps.run(book, seeds.cells(book, chapters or ()), target, options)
    for path in seeds.summarise(book, target):
        typer.echo(_shown(path, book))


@app.command()
def summary(out: Annotated[Path, typer.Argument(help="folder of a sweep")]) -> None:
    """Write the table and the page of a sweep as far as it is."""
    from bookpress import sweep as sweeps

    book = Book.find()
    typer.echo(_shown(sweeps.summarise(book, out), book))


@app.command()
def real() -> None:
    """Run every named parameter file whose data are at hand; keep the claims in results/."""
    from bookpress import real as real_runs

    outcomes = real_runs.run_all(Book.find())
    for outcome in outcomes:
        typer.echo(outcome.line)
    raise typer.Exit(int(any(outcome.failed for outcome in outcomes)))


@app.command()
def sync() -> None:
    """Write the paired .ipynb of every notebook script, and the list of chapters."""
    from bookpress import lab, notebooks

    book = Book.find()
    for script in book.sources():
        typer.echo(notebooks.sync(script).name)
    typer.echo(lab.write(book).name)


@app.command()
def new(name: Annotated[str, typer.Argument(help="for example 07_my_question")]) -> None:
    """Create a chapter from the template and enter it in the table of contents."""
    from bookpress import lab, notebooks

    book = Book.find()
    typer.echo(_shown(notebooks.new(book, name), book))
    lab.write(book)


@app.command()
def check() -> None:
    """Check the pages that were built."""
    from bookpress import site

    site.check(Book.find())
    typer.echo("every page is there, whole and local")


@app.command()
def links() -> None:
    """Follow every external link of the book (needs the network)."""
    from bookpress import site

    site.render(Book.find(), builder="linkcheck")
    typer.echo("every link answers")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Say what an interruption leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped. What had ended is kept; the same command goes on.", err=True)
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line; an expected failure is one message on stderr and exit code 1."""
    try:
        app(joined(sys.argv[1:]))
    except (BookError, ParameterError) as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


def joined(words: list[str]) -> list[str]:
    """Fold papermill's ``-p NAME VALUE`` into one option value, ``-p NAME=VALUE``."""
    folded: list[str] = []
    rest = iter(words)
    for word in rest:
        folded.append(word)
        if word == "-p":
            name = next(rest, "")
            folded.append(name if "=" in name else f"{name}={next(rest, '')}")
    return folded


def _parsed(book: Book, chapter: str, pairs: list[str]) -> dict[str, object]:
    from bookpress import notebooks

    script = book.notebooks / f"{chapter}.py"
    declared = {p.name: p for p in notebooks.declared(notebooks.read(script), chapter)}
    texts = dict(pair.split("=", 1) for pair in pairs)
    return {k: declared[k].parse(v) if k in declared else v for k, v in texts.items()}


def _shown(path: Path, book: Book) -> str:
    return os.path.relpath(path.resolve(), book.root)
