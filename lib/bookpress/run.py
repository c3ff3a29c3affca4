"""Execute one chapter by papermill: parameters checked before, failures named after."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import yaml

from bookpress import notebooks
from bookpress import parameters as declarations
from bookpress.book import Book, BookError
from bookpress.record import run_name

if TYPE_CHECKING:
    from bookpress.engine import Fault

# Environment variable with the process id of the build that a run works for.
PARENT = "BOOKPRESS_PARENT"
# What a run makes in its folder.
NOTEBOOK, RESULTS, LOGS = "notebook.ipynb", "results", "logs"


class CellFailed(BookError):
    """A cell raised; the message names chapter, cell and error, and where the notebook is."""


@dataclass(frozen=True)
class Job:
    """A chapter with its parameters, checked, and a name for the run."""

    chapter: str
    parameters: Mapping[str, object]
    name: str


def job(book: Book, chapter: str, given: Mapping[str, object], name: str | None = None) -> Job:
    """Check ``given`` against what the chapter declares, and name the run.

    Raises
    ------
    bookpress.parameters.ParameterError
        Unknown, ill-typed or out-of-range parameters, with the table of valid ones.
    """
    chapter = book.chapter(chapter)
    script = book.notebooks / f"{chapter}.py"
    declared = notebooks.declared(notebooks.read(script), chapter)
    declarations.check(given, declared, chapter)
    values = {p.name: p.default for p in declared} | dict(given)
    differing = any(values[p.name] != p.default for p in declared)
    return Job(chapter, dict(given), name or (run_name(values) if differing else "default"))


def from_file(path: Path) -> dict[str, object]:
    """Read a YAML file of parameters.

    Raises
    ------
    BookError
        No such file, or not a mapping of names to values.
    """
    if not path.is_file():
        raise BookError(f"No parameter file {path}.")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise BookError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise BookError(f"{path} must map parameter names to values, got {type(values).__name__}.")
    return values


def execute(book: Book, job: Job, output: Path) -> Path:
    """Run a chapter; on success put the notebook at ``output`` and its claims in ``results/``.

    Nothing is replaced before the last cell has run: an interrupted run leaves the former
    notebook and results as they were.

    Raises
    ------
    CellFailed
        A cell raised, or its kernel died. The partial notebook stays in ``book/failed/``.
    BookError
        The build that asked for this run is gone: a later one may have published since.
    """
    with tempfile.TemporaryDirectory(prefix="bookpress-") as place:
        folder = Path(place)
        for_page = output.resolve().is_relative_to(book.chapters.resolve())
        fault = carry_out(book, job, folder, for_page=for_page)
        if fault is not None:
            partial = _keep_partial(book, job, folder / NOTEBOOK)
            raise CellFailed(
                f"{job.chapter} [{job.name}]: {fault}\n"
                f"The notebook up to there: {partial.relative_to(book.root)}"
            )
        _check_parent(job)
        notebooks.replace(output, published(folder / NOTEBOOK))
        _keep_results(book, job, folder)
        _keep_logs(book, job, folder / LOGS)
    return output


def carry_out(book: Book, job: Job, folder: Path, *, for_page: bool = False) -> Fault | None:
    """Execute a chapter into a folder: its notebook, its claims, what it logs. Publish nothing.

    Parameters
    ----------
    book, job, folder
        What is run, and where it is put.
    for_page
        Whether to draw what only a page of the site has: figures by night, their data, views in all
        their positions.

    Returns
    -------
    Fault or None
        What ended it before its last cell, if anything did.
    """
    from bookpress import engine  # papermill takes seconds to import

    source, executed = folder / "source.ipynb", folder / NOTEBOOK
    source.write_text(notebooks.text(book.notebooks / f"{job.chapter}.py"))
    (folder / LOGS).mkdir(exist_ok=True)
    title = f"{job.chapter} [{job.name}]"
    try:
        with _environment(book, job, folder, for_page):
            engine.run_cells(source, executed, job.parameters, book.root, title)
    except (engine.CellError, engine.KernelDied) as error:
        return engine.fault(error, executed)
    return None


@contextmanager
def _environment(book: Book, job: Job, folder: Path, for_page: bool) -> Iterator[None]:
    """Tell the kernel, which inherits this environment, what run it is."""
    told = {
        "BOOKPRESS_ROOT": str(book.root),
        "BOOKPRESS_RUN": job.name,
        "BOOKPRESS_RESULTS": str(folder / RESULTS),
        "BOOKPRESS_LOGS": str(folder / LOGS),
        "BOOKPRESS_PAGE": "1" if for_page else "",
    }
    before = {key: os.environ.get(key) for key in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _keep_partial(book: Book, job: Job, executed: Path) -> Path:
    kept = book.root / "book" / "failed" / f"{job.chapter}.{job.name}.ipynb"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(executed, kept)
    return kept


def _check_parent(job: Job) -> None:
    parent = os.environ.get(PARENT)
    if parent is not None and int(parent) != os.getppid():
        raise BookError(f"{job.chapter}: the build that started this run is gone; nothing is kept.")


def published(executed: Path) -> str:
    """Return the executed notebook's text without the paths of this machine.

    The state of its widgets goes too: without a kernel they are dead weight on the page.
    """
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    record = notebook.metadata.get("papermill", {})
    for key in ("input_path", "output_path", "environment_variables"):
        record.pop(key, None)
    return nbformat.writes(notebook, version=4) + "\n"


def claims_file(job: Job, folder: Path) -> Path:
    """Return where `carry_out` puts the claims of a run, if it records any."""
    return folder / RESULTS / job.chapter / f"{job.name}.json"


def _keep_results(book: Book, job: Job, folder: Path) -> None:
    made = claims_file(job, folder)
    if made.exists():
        notebooks.replace(book.results / job.chapter / made.name, made.read_text())


def _keep_logs(book: Book, job: Job, made: Path) -> None:
    kept = book.root / "runs" / job.chapter / f"{job.name}.logs"
    shutil.rmtree(kept, ignore_errors=True)
    if any(made.iterdir()):
        shutil.copytree(made, kept)
