"""Where things are in a book, and what identifies its code."""

from __future__ import annotations

import ast
import hashlib
import importlib
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import yaml

from bookpress import imports

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class BookError(RuntimeError):
    """The book cannot be found, executed or rendered; the message says what to do."""


@dataclass(frozen=True)
class Book:
    """A checkout of a book: a folder with ``_toc.yml``, ``notebooks/``, ``book/`` and ``lib/``."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Book:
        """Return the book around ``start`` (default: the working directory).

        Raises
        ------
        BookError
            No ``_toc.yml`` in ``start`` or any folder above it.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "_toc.yml").exists():
                return cls(folder)
        raise BookError(f"No _toc.yml in {here} or above it: run this in a checkout of the book.")

    @property
    def notebooks(self) -> Path:
        """Folder of the source notebooks."""
        return self.root / "notebooks"

    @property
    def chapters(self) -> Path:
        """Folder of the executed notebooks that the site renders."""
        return self.root / "book" / "chapters"

    @property
    def generated(self) -> Path:
        """Folder of the pages written by the press."""
        return self.root / "book" / "_generated"

    @property
    def results(self) -> Path:
        """Folder of the recorded claims, one file a run."""
        return self.root / "results"

    @property
    def site(self) -> Path:
        """Folder of the built pages."""
        return self.root / "_build" / "html"

    @cached_property
    def settings(self) -> Mapping[str, object]:
        """The table ``[tool.bookpress]`` of ``pyproject.toml``."""
        path = self.root / "pyproject.toml"
        if not path.exists():
            return {}
        return tomllib.loads(path.read_text()).get("tool", {}).get("bookpress", {})

    def sources(self) -> list[Path]:
        """Return the percent scripts, one a notebook, in the order of their names."""
        return sorted(self.notebooks.glob("*.py"))

    def order_of_start(self) -> dict[str, int]:
        """Return the place of the chapters that are to be begun before all others.

        The setting ``longest_first`` names them: begun last, a long one would run on alone.
        """
        return {name: k for k, name in enumerate(self.settings.get("longest_first", []))}

    def chapter(self, name: str) -> str:
        """Return the full name of the notebook that ``name`` (``05``, say) begins.

        ``05`` is ``05_neuron_gan`` even where there is a ``05b_deconvolution``: a name of its own,
        or a number of its own, comes before the beginning of a name.

        Raises
        ------
        BookError
            No notebook, or several, begin so.
        """
        stem = Path(name).stem
        names = [source.stem for source in self.sources()]
        itself = [n for n in names if n == stem] or [n for n in names if n.startswith(f"{stem}_")]
        found = itself or [n for n in names if n.startswith(stem)]
        if len(found) != 1:
            raise BookError(f"{name!r} names {len(found)} of the notebooks {', '.join(names)}.")
        return found[0]

    def pages(self) -> list[str]:
        """Return every page of the table of contents, as paths without suffix."""
        return list(_files(yaml.safe_load((self.root / "_toc.yml").read_text())))

    def needs(self, parameters: Mapping[str, object]) -> list[dict]:
        """Return the data files that a run with these parameters reads, as the library tells.

        Raises
        ------
        BookError
            The library cannot tell: an unknown dataset, a data folder that does not exist.
        """
        if "needs" not in self.settings:
            return []
        module, function = str(self.settings["needs"]).split(":")
        ask: Callable = getattr(importlib.import_module(module), function)
        try:
            return ask(parameters)
        except (RuntimeError, ValueError) as error:
            raise BookError(str(error)) from error

    def lock_hash(self) -> str:
        """Return the content hash of the lock file."""
        return content_hash([self.root / str(self.settings.get("lock", "requirements.lock"))])

    def code_hash(self, chapter: str) -> str:
        """Return the content hash of what a chapter's numbers depend on.

        That is the code cells of its notebook up to the last that records or quotes one (what comes
        after them, views and exercises, changes none), the lock, and those files of the library
        that the imports of these cells lead to. Prose does not count, nor do docstrings and
        comments of the library.
        """
        folders = [self.root / str(f) for f in self.settings.get("library", ["lib"])]
        code = telling_cells((self.notebooks / f"{chapter}.py").read_text())
        files = imports.reached([code], folders)
        library = digest(*(f"{path.name}\n{working_lines(path.read_text())}" for path in files))
        return digest(library, self.lock_hash(), code)

    def commit(self) -> str:
        """Return git's short commit, ``+`` when the tree has changes; or ``unknown``.

        Changes in ``results/`` do not count: runs write there.
        """
        try:
            head = self._git("rev-parse", "--short=10", "HEAD")
            return head + (
                "+" if self._git("status", "--porcelain", "--", ".", ":!results") else ""
            )
        except (OSError, subprocess.CalledProcessError):
            return "unknown"

    def _git(self, *words: str) -> str:
        command = ["git", "-C", str(self.root), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _files(node: object) -> Iterable[str]:
    if isinstance(node, list):
        for item in node:
            yield from _files(item)
    elif isinstance(node, dict):
        yield from (str(node[key]) for key in ("root", "file") if key in node)
        for value in node.values():
            if isinstance(value, list):
                yield from _files(value)


def digest(*texts: str) -> str:
    """Return a hash of sixteen hexadecimal digits of several texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def content_hash(paths: Iterable[Path]) -> str:
    """Return one hash of the names and contents of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


@lru_cache(maxsize=1024)
def working_lines(source: str) -> str:
    """Return Python without docstrings, comments and empty lines: what it does.

    A docstring that shares a line with code stays.
    """
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for words in _docstrings(ast.parse(source)):
        lines[words.lineno - 1 : words.end_lineno] = [""] * (words.end_lineno - words.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _docstrings(tree: ast.Module) -> Iterable[ast.stmt]:
    """Yield the docstrings that have their lines for themselves."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            words, *others = node.body
            begins_after = getattr(node, "lineno", 0) < words.lineno
            if begins_after and all(other.lineno > words.end_lineno for other in others):
                yield words


def code_cells(script: str) -> list[str]:
    """Return the code cells of a percent script, without cell markers."""
    cells = script.split("\n# %%")[1:]
    code = [cell.partition("\n")[2] for cell in cells if not cell.lstrip().startswith("[markdown]")]
    return [text.strip() for text in code]


def telling_cells(script: str) -> str:
    """Return the code cells up to the last that records or quotes; all, if none does."""
    cells = code_cells(script)
    telling = [k for k, cell in enumerate(cells, 1) if re.search(r"\brun\.(record|quote)\(", cell)]
    return "\n".join(cells[: telling[-1]] if telling else cells)
