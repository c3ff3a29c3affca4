"""The results page: one row a claim, from the files that the runs left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from bookpress import run
from bookpress.book import Book, BookError, digest

CLAIM_COLUMNS = (
    "claim",
    "value",
    "95 % interval",
    "chance or baseline",
    "ceiling",
    "n",
    "held out",
    "run",
)
OLD = "**older than the code**"
RUN_COLUMNS = ("run", "dataset", "seeds", "duration", "commit", "data", "lock", "state")


def load(book: Book) -> dict[str, list[dict]]:
    """Return the recorded runs by chapter: the default run first, then by name."""
    found: dict[str, list[dict]] = {}
    for script in book.sources():
        paths = (book.results / script.stem).glob("*.json")
        runs = [json.loads(path.read_text()) for path in paths if not _is_adhoc(path)]
        if runs:
            found[script.stem] = sorted(runs, key=lambda r: (r["run"] != "default", r["run"]))
    return found


def _is_adhoc(path: Path) -> bool:
    return path.stem.startswith("p-")


def printed(book: Book, chapter: str) -> dict[str, dict]:
    """Return the claims of the run that the book prints, by name; none if it was not made."""
    path = book.results / chapter / "default.json"
    claims = json.loads(path.read_text())["claims"] if path.exists() else []
    return {claim["name"]: claim for claim in claims}


def named_files(book: Book, chapter: str) -> list[Path]:
    """Return the parameter files whose first line is ``# chapter: <chapter>``."""
    folder = book.notebooks / "params"
    return [p for p in sorted(folder.glob("*.yaml")) if chapter_of(p) == chapter]


def chapter_of(path: Path) -> str | None:
    """Return the chapter named in the first line of a parameter file, or None."""
    first = path.read_text().partition("\n")[0]
    return first.removeprefix("# chapter:").strip() if first.startswith("# chapter:") else None


def page(book: Book) -> str:
    """Return the markdown of the results page: claims, runs, and runs still to be made."""
    found = load(book)
    parts = []
    for chapter in [s.stem for s in book.sources() if s.stem in found or named_files(book, s.stem)]:
        runs = found.get(chapter, [])
        title = chapter.replace("_", " ")
        parts.append(f"## [{title}](chapters/{chapter}.ipynb)\n")
        parts.append(table(CLAIM_COLUMNS, _claim_rows(runs)))
        parts.append("### Runs of this chapter\n")
        parts.append(table(RUN_COLUMNS, [*_run_rows(book, runs), *_missing(book, chapter, runs)]))
    return "\n".join(parts) if parts else "No run has been recorded yet.\n"


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in markdown."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def _claim_rows(runs: list[dict]) -> list[tuple[str, ...]]:
    names = list(dict.fromkeys(c["name"] for r in runs for c in r["claims"]))
    by_key = {(c["name"], r["run"]): c for r in runs for c in r["claims"]}
    return [
        _claim_row(by_key[name, r["run"]], r["run"])
        for name in names
        for r in runs
        if (name, r["run"]) in by_key
    ]


def _claim_row(claim: Mapping, run_name: str) -> tuple[str, ...]:
    unit = f" {claim['unit']}" if claim["unit"] else ""
    ceiling = "none" if claim["ceiling"] is None else f"{claim['ceiling']:.3g}"
    return (
        claim["name"].replace("_", " "),
        f"**{claim['value']:.3g}**{unit}",
        f"[{claim['low']:.3g}, {claim['high']:.3g}]",
        f"{claim['chance']:.3g}",
        ceiling,
        str(claim["n"]),
        cell(claim["held_out"]),
        run_name,
    )


def cell(text: str) -> str:
    """Return a text fit for one cell of a table in markdown."""
    return text.replace("|", "\\|").replace("\n", " ")


def _run_rows(book: Book, runs: list[dict]) -> Iterator[tuple[str, ...]]:
    for r in runs:
        made, parameters = r["provenance"], r["parameters"]
        seeds = ", ".join(f"{k} {v}" for k, v in parameters.items() if "seed" in k) or "none"
        hashes = sorted(r["data"].get("sha256", {}).values())
        yield (
            r["run"],
            str(parameters.get("dataset", "none")),
            seeds,
            f"{made['duration_s']:.0f} s",
            f"`{made['commit']}`",
            f"`{digest(*hashes)[:10]}`" if hashes else "simulated",
            f"`{made['lock_hash'][:10]}`",
            _state(book, r),
        )


def _state(book: Book, recorded: Mapping) -> str:
    current = book.code_hash(recorded["chapter"]) == recorded["provenance"]["code_hash"]
    named = {p.stem: p for p in named_files(book, recorded["chapter"])}
    if recorded["run"] in named:
        wanted = run.from_file(named[recorded["run"]])
        current &= recorded["parameters"] == recorded["parameters"] | wanted
    return state(current)


def state(current: bool) -> str:
    """Say whether recorded numbers come from the code as it is."""
    return "current" if current else OLD


def _missing(book: Book, chapter: str, runs: list[dict]) -> Iterator[tuple[str, ...]]:
    made = {r["run"] for r in runs}
    for path in named_files(book, chapter):
        if path.stem not in made:
            parameters = run.from_file(path)
            blank = ("–",) * (len(RUN_COLUMNS) - 3)
            yield (
                path.stem,
                str(parameters.get("dataset", "none")),
                *blank,
                _why(book, parameters),
            )


def _why(book: Book, parameters: Mapping[str, object]) -> str:
    """Say why a named run was not made: which files it lacks, or that it lacks none."""
    try:
        missing = wanted(book, parameters)
    except BookError as error:
        return f"not run: {cell(str(error))}"
    return f"not run: needs {cell(missing)}" if missing else "not run: try `make real`"


def wanted(book: Book, parameters: Mapping[str, object]) -> str:
    """Return the files that a run needs and that are not at hand, with their sizes."""
    missing = [need for need in book.needs(parameters) if not need["present"]]
    return "; ".join(f"{need['file']}, {size(need['size'])}" for need in missing)


def size(n_bytes: int | None) -> str:
    """Return a number of bytes in the largest fitting unit, or ``size unknown``."""
    if n_bytes is None:
        return "size unknown"
    value = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
