"""A grid of parameters: which runs of which chapters a sweep is made of."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bookpress import notebooks, results
from bookpress import parameters as declarations
from bookpress.book import Book, BookError, digest
from bookpress.parameters import Parameter, ParameterError
from bookpress.run import from_file

NUMBER = r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(?:\.\.({NUMBER}))?")
MOST_RUNS = 10_000
SHOWN_FAULTS = 5
NEWLINE = "\n"

Axes = dict[str, list[object]]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes
    ----------
    chapter, run
        Name of the notebook; name of the run, one for each choice of all parameters.
    given, parameters
        What differs from the chapter's own values; the values of all parameters.
    fault
        Why it cannot be run, or None.
    """

    chapter: str
    run: str
    given: Mapping[str, object]
    parameters: Mapping[str, object]
    fault: str | None = None

    @property
    def place(self) -> Path:
        """Folder of the run, within that of the sweep."""
        return Path("runs") / self.chapter / self.run


def cells(
    book: Book, chapters: Sequence[str], pairs: Sequence[str], files: Sequence[Path]
) -> list[Cell]:
    """Return the runs that a command line asks for, each once, those with a fault too.

    Parameters
    ----------
    book
        The checkout.
    chapters
        Numbers or names; those that `files` name in their first line come too.
    pairs
        Axes, ``name=a,b`` or ``chapter:name=0..4``.
    files
        YAML files, each one point of the grid for its chapter, or for all if its first line names
        none. A list in a file is an axis.

    Raises
    ------
    BookError
        There is no chapter, a file cannot be read, an axis is malformed, or an axis is of no
        chapter of the sweep.
    """
    named = {path: _chapter_of(path) for path in files if path.is_file()}
    wanted = [book.chapter(c) for c in [*chapters, *(c for c in named.values() if c)]]
    if not wanted:
        raise BookError("Say which chapter: bookpress sweep 05 -p seed=0..4")
    texts = [_split_pair(book, pair) for pair in pairs]
    _check_once(pairs)
    strange = {chapter for chapter, _, _ in texts if chapter} - set(wanted)
    if strange:
        raise BookError(f"-p names {', '.join(strange)}, which this sweep does not run.")
    found: dict[tuple[str, str], Cell] = {}
    for chapter in dict.fromkeys(wanted):
        mine = [path for path in files if named.get(path) in (None, chapter)]
        own = [(name, text) for where, name, text in texts if where in (None, chapter)]
        for cell in _of_chapter(book, chapter, own, mine):
            found.setdefault((cell.chapter, cell.run), cell)
            if len(found) > MOST_RUNS:
                raise BookError(f"The grid has more than {MOST_RUNS} runs: make it coarser.")
    return list(found.values())


def name(found: Sequence[Cell]) -> str:
    """Return a name for a sweep of these runs: equal grids have equal names."""
    return digest(*sorted(f"{cell.chapter}/{cell.run}" for cell in found))[:10]


def axes(found: Sequence[Cell]) -> list[str]:
    """Return the parameters that differ between the runs of some chapter, in order."""
    names = dict.fromkeys(name for cell in found for name in cell.parameters)
    return [name for name in names if _varies(name, found)]


def check(found: Sequence[Cell]) -> None:
    """Refuse a sweep in which a run has a fault.

    Raises
    ------
    bookpress.parameters.ParameterError
        Which runs, which faults, and the valid parameters.
    """
    faulty = [cell for cell in found if cell.fault]
    if not faulty:
        return
    lines = [f"{c.chapter} [{c.run}]: {c.fault.partition(NEWLINE)[0]}" for c in faulty]
    if len(lines) > SHOWN_FAULTS:
        lines[SHOWN_FAULTS:] = [f"… and {len(lines) - SHOWN_FAULTS} more"]
    tables = dict.fromkeys(f"{c.chapter}. {c.fault.partition(NEWLINE)[2]}" for c in faulty)
    raise ParameterError(
        f"{len(faulty)} of {len(found)} runs cannot be made, so none was started; mend them, or "
        "run the others with --anyway.\n" + "\n".join([*lines, *tables])
    )


def _chapter_of(path: Path) -> str | None:
    try:
        return results.chapter_of(path)
    except UnicodeDecodeError as error:
        raise BookError(f"{path} is no text ({error}): a parameter file is YAML.") from error


def _check_once(pairs: Sequence[str]) -> None:
    names = [pair.partition("=")[0] for pair in pairs]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise BookError(
            f"-p names {', '.join(twice)} more than once: write its values in one, -p name=a,b."
        )


def _split_pair(book: Book, pair: str) -> tuple[str | None, str, str]:
    name, equals, text = pair.partition("=")
    chapter, colon, inner = name.rpartition(":")
    if not equals or not inner or not text:
        raise BookError(f"-p takes name=value, name=a,b or name=0..4; got {pair!r}.")
    return (book.chapter(chapter) if colon else None), inner, text


def _of_chapter(
    book: Book, chapter: str, texts: Sequence[tuple[str, str]], files: Sequence[Path]
) -> Iterator[Cell]:
    script = book.notebooks / f"{chapter}.py"
    declared = {p.name: p for p in notebooks.declared(notebooks.read(script), chapter)}
    from_line: Axes = {name: _values(declared.get(name), text) for name, text in texts}
    for path in files or [None]:
        grid = (_file_axes(declared, path) if path else {}) | from_line
        for choice in itertools.product(*grid.values()):
            given = dict(zip(grid, choice, strict=True))
            yield _cell(chapter, given, list(declared.values()), path)


def _values(parameter: Parameter | None, text: str) -> list[object]:
    """Return the values on an axis of the command line; all text if there is no such parameter."""
    if parameter is not None and parameter.type is list:
        return [parameter.parse(text)]
    words = next(csv.reader([text], skipinitialspace=True))
    if parameter is None:
        return list(words)
    return [value for word in words for value in _parsed(parameter, word)]


def _parsed(parameter: Parameter, word: str) -> list[object]:
    bounds = RANGE.fullmatch(word)
    if bounds is None or parameter.type not in (int, float):
        return [parameter.parse(word)]
    low, high, step = (parameter.parse(x) for x in (*bounds.groups()[:2], bounds[3] or "1"))
    if not step > 0 or low > high or not math.isfinite(high - low + step):
        raise BookError(f"{parameter.name}={word}: write low..high or low..high..step, step > 0.")
    count = int((high - low) / step + 1e-9) + 1
    if count > MOST_RUNS:
        raise BookError(f"{parameter.name}={word} has {count} values: make it coarser.")
    # without what binary fractions add: 0.3, not 0.30000000000000004
    return [round(low + k * step, 12) for k in range(count)]


def _file_axes(declared: Mapping[str, Parameter], path: Path) -> Axes:
    """Return the values of each parameter of a file; a list is an axis."""
    axes: Axes = {}
    for name, value in from_file(path).items():
        if not isinstance(name, str):
            raise BookError(f"{path}: {name!r} is no name of a parameter; write name: value.")
        axes[name] = list(value) if _is_axis(declared.get(name), value) else [value]
        if not axes[name]:
            raise BookError(f"{path}: {name} is a list of nothing; write the values of the axis.")
    return axes


def _is_axis(parameter: Parameter | None, value: object) -> bool:
    if not isinstance(value, list):
        return False
    of_lists = parameter is not None and parameter.type is list
    return not of_lists or bool(value) and all(isinstance(item, list) for item in value)


def _cell(
    chapter: str, given: dict[str, object], declared: Sequence[Parameter], path: Path | None
) -> Cell:
    defaults = {p.name: p.default for p in declared}
    real = {p.name for p in declared if p.type is float}
    given = {k: float(v) if k in real and type(v) is int else v for k, v in given.items()}
    values = defaults | given
    fault = None
    try:
        declarations.check(given, declared, chapter)
    except ParameterError as error:
        fault = (f"{path.name}: " if path else "") + str(error).removeprefix(f"{chapter}: ")
    # in the order of the chapter, so that a run has one name however it was asked for
    given = {k: given[k] for k in [*defaults, *given] if k in given}
    given = {k: v for k, v in given.items() if k not in defaults or v != defaults[k]}
    return Cell(chapter, _run_name(given, values), given, values, fault)


def _run_name(given: Mapping[str, object], values: Mapping[str, object]) -> str:
    """Return a name that people can read, and that is another for any other values."""
    words = ",".join(f"{name}={value}" for name, value in given.items()) or "default"
    plain = re.sub(r"[^A-Za-z0-9=,._+-]", "-", words)[:80]
    return f"{plain},{digest(json.dumps(dict(values), sort_keys=True, default=str))[:8]}"


def _varies(name: str, found: Sequence[Cell]) -> bool:
    by_chapter: dict[str, set[str]] = {}
    for cell in found:
        if name in cell.parameters:
            by_chapter.setdefault(cell.chapter, set()).add(repr(cell.parameters[name]))
    return any(len(values) > 1 for values in by_chapter.values())
