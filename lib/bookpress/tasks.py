"""The build as doit tasks: sync, execute, tabulate, render, check; each re-run by content."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.exceptions import BaseFail, TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter
from doit.task import Task
from doit.tools import config_changed

from bookpress import headlines, notebooks, polish, results, seeds_page, site
from bookpress.book import Book, BookError
from bookpress.run import PARENT

# Pages made of what runs left behind, besides the tables of the front page.
PAGES = {"results.md": results.page, "across_seeds.ipynb": seeds_page.page}


def build(book: Book, *, jobs: int | None = None, force: bool = False) -> int:
    """Bring the site up to date and return doit's exit code (0: all is well).

    Parameters
    ----------
    book
        The checkout.
    jobs
        Chapters executed at a time; default: one a core.
    force
        Run every task, changed or not.
    """
    headlines.read(book)  # a fault in this file is told before any work
    jobs = jobs or min(os.cpu_count() or 1, max(1, len(book.sources())))
    state = book.root / "_build" / "doit.db"
    state.parent.mkdir(exist_ok=True)
    tasks = {
        "task_sync": lambda: _sync(book),
        "task_execute": lambda: _execute(book, threads=max(1, (os.cpu_count() or 1) // jobs)),
        "task_tabulate": lambda: _tabulate(book),
        "task_render": lambda: _render(book),
        "DOIT_CONFIG": {
            "backend": "sqlite3",
            "dep_file": str(state),
            "reporter": _Reporter,
            "verbosity": 2,
        },
    }
    words = ["run", "--process", str(jobs), "--parallel-type", "thread", "--continue"]
    code = DoitMain(ModuleTaskLoader(tasks)).run(words + (["--always-execute"] if force else []))
    if code == 0:
        print(f"The book is built: {os.path.relpath(book.site / 'index.html')}", flush=True)
    return code


class _Reporter(ConsoleReporter):
    """One line when a task starts, one for each notebook that is unchanged, faults at the end."""

    def execute_task(self, task: Task) -> None:
        """Announce a task that does something."""
        if task.actions:
            self.write(f"{task.title()} …\n")

    def skip_uptodate(self, task: Task) -> None:
        """Name a notebook that needs nothing."""
        if ":" in task.name:
            self.write(f"{task.title()}: unchanged\n")

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        """Keep a failure for the end."""
        # a task left out because another failed is no news
        if not isinstance(fail, UnmetDependency):
            self.failures.append({"task": task, "exception": fail})

    def complete_run(self) -> None:
        """Say what failed, last, where it is read."""
        for failure in self.failures:
            print(
                f"\n{failure['task'].name} FAILED\n{failure['exception'].get_msg()}",
                file=sys.stderr,
            )
        for message in self.runtime_errors:
            print(message, file=sys.stderr)


def _library(book: Book) -> list[str]:
    return [str(p) for p in sorted((book.root / "lib").rglob("*")) if _is_source(p)]


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix in {".py", ".mplstyle", ".yaml"}


def _lock(book: Book) -> str:
    return str(book.root / str(book.settings.get("lock", "requirements.lock")))


def _sync(book: Book) -> Iterator[dict]:
    for script in book.sources():
        yield {
            "name": script.stem,
            "actions": [(_synchronise, [script])],
            "file_dep": [str(script)],
            "targets": [str(script.with_suffix(".ipynb"))],
        }


def _synchronise(script: Path) -> None:
    notebooks.sync(script)


def in_order_of_start(book: Book) -> list[Path]:
    """Return the scripts in the order in which they are executed, some at a time.

    Long ones come first. Recorded durations could not tell, since a fresh clone has none.
    """
    place = book.order_of_start()
    return sorted(book.sources(), key=lambda script: place.get(script.stem, len(place)))


def _execute(book: Book, threads: int) -> Iterator[dict]:
    for script in in_order_of_start(book):
        chapter = script.stem
        declared = notebooks.declared(notebooks.read(script), chapter)
        values = {p.name: p.default for p in declared}
        yield {
            "name": chapter,
            "actions": [(_execute_chapter, [book, chapter, threads])],
            "file_dep": [str(script), _lock(book), *_library(book)],
            "uptodate": [config_changed({"parameters": values, "data": _data(book, values)})],
            "targets": [str(path) for path in _products(book, script)],
        }


def _products(book: Book, script: Path) -> list[Path]:
    """Return what executing a notebook makes: itself, and its claims if it records any."""
    claims = [book.results / script.stem / "default.json"]
    recorded = claims if "bookpress.begin(" in script.read_text() else []
    return [book.chapters / f"{script.stem}.ipynb", *recorded]


def _data(book: Book, values: dict[str, object]) -> list[str]:
    return [f"{need['file']} {need['checksum']}" for need in book.needs(values)]


def _execute_chapter(book: Book, chapter: str, threads: int) -> TaskFailed | None:
    """Run in a process of its own: a chapter that dies of memory takes nothing with it."""
    output = book.chapters / f"{chapter}.ipynb"
    command = [
        sys.executable,
        "-m",
        "bookpress",
        "run",
        chapter,
        "--name",
        "default",
        "--output",
        str(output),
    ]
    # numba's pool would set the number of threads of every other library anew
    limits = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    environment = os.environ | limits | {PARENT: str(os.getpid())}
    done = subprocess.run(
        command, cwd=book.root, env=environment, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        return TaskFailed(done.stderr.strip() or f"{chapter}: ended with {done.returncode}")
    return None


def _tabulate(book: Book) -> dict:
    """Write the pages made of results. Cheap, and what they read is many files: always done."""
    return {
        "actions": [(write_pages, [book])],
        "task_dep": ["execute"],
        "uptodate": [False],
        "targets": _generated(book),
    }


def _generated(book: Book) -> list[str]:
    return [str(path) for path in (*(book.generated / p for p in PAGES), *headlines.paths(book))]


def write_pages(book: Book) -> TaskFailed | None:
    """Write the pages made of results, those that would change."""
    try:
        texts = {book.generated / name: page(book) for name, page in PAGES.items()}
        texts |= headlines.pages(book)
    except BookError as error:
        return TaskFailed(str(error))
    for path, text in texts.items():
        if not path.exists() or path.read_text() != text:
            notebooks.replace(path, text)
    return None


def _render(book: Book) -> dict:
    chapters = [str(path) for script in book.sources() for path in _products(book, script)]
    pages = [p for p in sorted((book.root / "book").rglob("*")) if _is_page(book, p)]
    config = [str(book.root / name) for name in ("_config.yml", "_toc.yml")]
    return {
        "actions": [(_render_and_check, [book])],
        "file_dep": [*chapters, *map(str, pages), *config, *_generated(book)],
        "targets": [str(book.site / "index.html"), *(str(p) for p in site.built(book))],
        "verbosity": 2,
    }


def _is_page(book: Book, path: Path) -> bool:
    made = {book.chapters, book.generated, book.root / "book" / "failed"}
    return path.is_file() and not made & set(path.parents)


def _render_and_check(book: Book) -> TaskFailed | None:
    try:
        site.render(book)
        polish.polish(book)
        site.check(book)
    except BookError as error:
        return TaskFailed(str(error))
    return None
