"""The folder of a sweep: what was planned, and what came of each run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bookpress.book import BookError, digest

VERSION = 1
FILES = ("notebook.ipynb", "claims.json", "log.txt")
# What Jupyter's coloured tracebacks leave in a message, and what neither HTML nor CSV can hold.
UNPRINTABLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Found:
    """One run of a sweep as its folder tells it.

    Parameters
    ----------
    chapter, run
        Which run it is.
    state
        ``done`` or ``failed``; ``missing``, which has not been run; ``refused``, which never will
        be; ``damaged``, whose folder cannot be read.
    parameters
        Every declared parameter with its value.
    report
        What ``run.json`` says; empty if there is none.
    claims
        The recorded claims, in the order of their record.
    error
        What went wrong (``kind``, ``cell``, ``source``, ``name``, ``message``); empty if nothing.
    files
        Names of those files of the run's folder that exist.
    """

    chapter: str
    run: str
    state: str
    parameters: Mapping[str, object]
    report: Mapping[str, object] = field(default_factory=dict)
    claims: Sequence[Mapping[str, object]] = ()
    error: Mapping[str, object] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """The error's name and message in one text; empty if nothing went wrong."""
        words = (self.error.get("name"), self.error.get("message"))
        return ": ".join(printable(word) for word in words if word)


def manifest(out: Path) -> dict:
    """Return what ``sweep.json`` says: the axes, the resources, every planned run.

    Raises
    ------
    BookError
        There is none, it cannot be read, or another version of the press wrote it.
    """
    path = out / "sweep.json"
    if not path.exists():
        raise BookError(f"No sweep.json in {out}: name the folder that `bookpress sweep` made.")
    try:
        plan = _object(path)
        plan = {"name": out.name, "axes": [], "resources": {}} | plan
        wanted = [(r["chapter"], r["run"], r["parameters"]) for r in plan["runs"]]
    except (KeyError, TypeError, ValueError) as fault:
        raise BookError(f"{path} is damaged ({fault}): run the sweep again.") from fault
    if plan.get("version") != VERSION:
        raise BookError(
            f"{path} is of version {plan.get('version')!r}, this press reads {VERSION}: "
            "read it with the press that wrote it."
        )
    if len({(chapter, run) for chapter, run, _ in wanted}) < len(wanted):
        raise BookError(f"{path} names a run twice: run the sweep again.")
    return plan


def load(out: Path) -> list[Found]:
    """Return every planned run of a sweep, in the order of the plan, with what came of it."""
    return [_found(out / "runs" / p["chapter"] / p["run"], p) for p in manifest(out)["runs"]]


def printable(text: object) -> str:
    """Return a text without colours of the terminal, control characters and broken unicode."""
    whole = str(text).encode("utf-8", "replace").decode()
    return UNPRINTABLE.sub("", whole.replace("\r\n", "\n"))


def _found(folder: Path, planned: Mapping) -> Found:
    """Read one run's folder; what is wrong with it is told in the run's state, not raised."""
    chapter, run, parameters = planned["chapter"], planned["run"], planned["parameters"]
    files = tuple(name for name in FILES if (folder / name).is_file())
    if planned.get("fault"):
        error = {"kind": "refused", "message": planned["fault"]}
        return Found(chapter, run, "refused", parameters, error=error, files=files)
    if not folder.is_dir():
        return Found(chapter, run, "missing", parameters)
    try:
        report = _report(folder / "run.json", planned)
        claims = _claims(folder / "claims.json", report["state"])
    except (OSError, ValueError, OverflowError) as fault:
        error = {"kind": "damaged", "message": str(fault)}
        return Found(chapter, run, "damaged", parameters, error=error, files=files)
    error = report.get("error") or {}
    state = "refused" if error.get("kind") == "refused" else report["state"]
    return Found(chapter, run, state, report["parameters"], report, claims, error, files)


def _object(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(), parse_constant=_not_finite)
    except ValueError as fault:
        raise ValueError(f"{path.name} cannot be read: {fault}") from fault
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, not an object")
    return content


def _not_finite(word: str) -> None:
    raise ValueError(f"{word} is no finite number")


def _report(path: Path, planned: Mapping) -> dict:
    """Return what ``run.json`` says, if it is of this run and of a form that the table can take."""
    if not path.exists():
        raise ValueError("there is no run.json")
    report = {"parameters": planned["parameters"]} | _object(path)
    if report.get("state") not in ("done", "failed"):
        raise ValueError(f"run.json: state is {report.get('state')!r}, neither done nor failed")
    for key in ("chapter", "run"):
        if report.get(key, planned[key]) != planned[key]:
            raise ValueError(f"run.json is of {report[key]}, not of {planned[key]}")
    for key, kind in (("parameters", dict), ("error", dict), ("data", list)):
        _typed(report, key, kind, "run.json")
    for key in ("duration_s", "peak_memory_bytes", "cpus", "attempt"):
        _typed(report, key, (int, float), "run.json")
    _typed(report.get("error") or {}, "cell", int, "run.json")
    return report


def _typed(content: Mapping, key: str, kind: type | tuple[type, ...], file: str) -> None:
    value = content.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"{file}: {key} is {value!r}")


def _claims(path: Path, state: str) -> list[dict]:
    """Return the recorded claims; a failed run may have none, a run that is done has its file."""
    if not path.exists():
        if state == "done":
            raise ValueError("there is no claims.json")
        return []
    claims = _object(path).get("claims", [])
    if not isinstance(claims, list):
        raise ValueError("claims.json: claims is no list")
    for claim in claims:
        _check_claim(claim)
    return claims


def _check_claim(claim: object) -> None:
    if not isinstance(claim, dict) or not isinstance(claim.get("name"), str):
        raise ValueError(f"claims.json: {claim!r} has no name")
    numbers = [claim.get(key) for key in ("value", "low", "high", "chance")]
    if claim.get("ceiling") is not None:
        numbers.append(claim["ceiling"])
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"claims.json: {claim['name']} holds {numbers}, not finite numbers")
    _typed(claim, "n", int, "claims.json")


def data_digest(report: Mapping) -> str | None:
    """Return a short digest of the data files that a run read; None if it read none."""
    files = report.get("data") or []
    return digest(*sorted(json.dumps(f, sort_keys=True) for f in files))[:10] if files else None
