"""What the page of a sweep tells beside the scores: what was run, how long, what failed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from bookpress import sweep_figures, sweep_folder, sweep_layout
from bookpress.sweep_folder import Found

LONGEST_MESSAGE = 2000


def pace(out: Path, runs: Sequence[Found]) -> list[tuple[str, str]]:
    """Return how long the sweep took: by the clock, on processors, and in runs an hour.

    The clock runs from the beginning to the last event of every call of the sweep, not between
    them. Processor time is that set aside: processors of a run times its duration.
    """
    reports = [found.report for found in runs if found.report]
    clock = _clock(out / "events.jsonl")
    busy = sum((r.get("cpus") or 1) * (r.get("duration_s") or 0) for r in reports)
    told = [("by the clock", duration(clock))] if clock else []
    if reports:
        told.append(("on processors", duration(busy)))
    if reports and clock:
        hourly = 3600 * len(reports) / clock
        told.append(("runs an hour", f"{hourly:.3g}" if hourly < 1000 else f"{hourly:,.0f}"))
    return told


def facts(
    resources: Mapping, runs: Sequence[Found], axes: Sequence[str]
) -> list[tuple[str, list[str]]]:
    """Return what was run: chapters, axes, resources, and the state of code and data."""
    told = [("chapters", chapters(runs))]
    for name in axes:
        values = sweep_layout.distinct(sound(runs), name)
        told.append((name, [_listed([sweep_figures.label(value) for value in values])]))
    told.append(("each run", [_resources(resources)]))
    told.append(("commit", _reported(runs, "commit")))
    told.append(("code", _codes(runs)))
    told.append(("lock", _reported(runs, "lock_hash")))
    told.append(("data", _several(sweep_folder.data_digest(f.report) for f in runs)))
    hosts = len(_reported(runs, "host"))
    told.append(("machines", [str(hosts)] if hosts else []))
    return [(words, values) for words, values in told if values]


def _codes(runs: Sequence[Found]) -> list[str]:
    """Return the hashes of the code, which each chapter has its own of."""
    names = chapters(runs)
    if len(names) == 1:
        return _reported(runs, "code_hash")
    by_chapter = {n: _reported([f for f in runs if f.chapter == n], "code_hash") for n in names}
    return [f"{code} ({name})" for name, codes in by_chapter.items() for code in codes]


def _reported(runs: Sequence[Found], key: str) -> list[str]:
    return _several(found.report.get(key) for found in runs)


def failures(runs: Sequence[Found], axes: Sequence[str]) -> list[dict]:
    """Return the errors, each once with all the runs that it ended."""
    found: dict[tuple, dict] = {}
    for run in runs:
        if not run.error:
            continue
        cell, source = run.error.get("cell"), run.error.get("source") or ""
        message = sweep_folder.printable(run.fault)
        key = (run.chapter, run.state, run.error.get("kind"), cell, source, message)
        entry = {
            "chapter": run.chapter,
            "kind": run.error.get("kind") or run.state,
            "cell": cell,
            "source": sweep_folder.printable(source),
            "message": _cut(message.partition("\n")[0] if run.state == "refused" else message),
            "runs": [],
        }
        found.setdefault(key, entry)["runs"].append(
            {"name": _named(run, axes), "files": _links(run, ("log.txt", "notebook.ipynb"))}
        )
    return sorted(found.values(), key=lambda entry: -len(entry["runs"]))


def run_table(runs: Sequence[Found], axes: Sequence[str], resources: Mapping) -> dict:
    """Return what the table of all runs shows."""
    times = [found.report.get("duration_s") or 0.0 for found in runs]
    sizes = [(found.report.get("peak_memory_bytes") or 0) / 1e6 for found in runs]
    allowed = 1000 * float(resources.get("memory_gb") or 0)
    longest, largest = max(times, default=0) or 1, max([allowed, *sizes]) or 1
    return {
        "axes": list(axes),
        "several_chapters": len(chapters(runs)) > 1,
        "allowed_mb": allowed,
        "rows": [
            {
                "number": place,
                "run": found.run,
                "chapter": found.chapter,
                "values": [_shown(found, name) for name in axes],
                "state": found.state,
                "seconds": seconds,
                "share_time": round(100 * seconds / longest, 1),
                "megabytes": size,
                "share_memory": round(100 * size / largest, 1),
                "files": _links(found, sweep_folder.FILES),
            }
            for place, (found, seconds, size) in enumerate(zip(runs, times, sizes, strict=True), 1)
        ],
    }


def sound(runs: Sequence[Found]) -> list[Found]:
    """Return the runs whose parameters their chapter takes; all, if it takes none of them."""
    return [found for found in runs if found.state != "refused"] or list(runs)


def chapters(runs: Sequence[Found]) -> list[str]:
    """Return the chapters of a sweep, in the order of its plan."""
    return list(dict.fromkeys(found.chapter for found in runs))


def duration(seconds: float) -> str:
    """Return a time in words: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _clock(path: Path) -> float:
    """Return the seconds from the beginning to the last event of every call of the sweep."""
    total, began, last = 0.0, None, None
    for time, event in _events(path):
        if began is None or event in ("begun", "resumed"):
            total += (last - began).total_seconds() if began else 0.0
            began = time
        last = time
    return total + ((last - began).total_seconds() if began else 0.0)


def _events(path: Path) -> list[tuple[datetime, str]]:
    """Return the times and names of events; a line that was cut off is left out."""
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
            found.append((datetime.fromisoformat(event["time"]), str(event["event"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _several(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))


def _listed(words: Sequence[str], most: int = 12) -> str:
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[: most - 2])}, … {words[-1]} ({len(words)} values)"


def _resources(given: Mapping) -> str:
    words = []
    for key, one, many in (
        ("cpus", "processor", "processors"),
        ("gpus", "graphics card", "graphics cards"),
    ):
        amount = float(given.get(key) or 0)
        if amount:
            words.append(f"{amount:g} {one if amount == 1 else many}")
    if given.get("memory_gb"):
        words.append(f"{given['memory_gb']:g} GB of memory at most")
    return ", ".join(words) or "not told"


def _shown(found: Found, name: str) -> str:
    return sweep_figures.label(found.parameters[name]) if name in found.parameters else ""


def _named(found: Found, axes: Sequence[str]) -> str:
    """Return a run by the values that set it apart; by its own name if none does."""
    words = [f"{name} {_shown(found, name)}" for name in axes if name in found.parameters]
    return found.run if found.state == "refused" or not words else ", ".join(words)


def _links(found: Found, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Return the address, from the page, of those files of a run that exist."""
    folder = f"runs/{quote(found.chapter)}/{quote(found.run, safe='=,+')}"
    return [(f"{folder}/{file}", Path(file).stem) for file in wanted if file in found.files]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + " …"
