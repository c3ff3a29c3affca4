"""Sweep folders with invented runs, written as the press writes them; no notebook is executed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

ERROR = {
    "kind": "error",
    "cell": 7,
    "source": "fit(x)",
    "name": "ValueError",
    "message": "no such luck",
}
Score = Callable[[Mapping[str, object], int], float]


def flat(parameters: Mapping[str, object], place: int) -> float:
    """Return a score that depends on nothing but the claim."""
    return 0.5 + 0.01 * place


def claim(name: str, value: float, **more: object) -> dict:
    """Return a claim as `bookpress.record` writes it."""
    return {
        "name": name,
        "value": value,
        "low": value - 0.05,
        "high": value + 0.05,
        "chance": 0.25,
        "ceiling": 0.9,
        "n": 100,
        "held_out": "a fifth of the trials",
        "unit": "of trials",
        "note": "Interval over trials.",
    } | more


def sweep(
    out: Path,
    axes: Mapping[str, Sequence[object]],
    *,
    chapter: str = "01_tiny",
    fixed: Mapping[str, object] | None = None,
    n_claims: int = 2,
    score: Score = flat,
) -> list[Path]:
    """Write a sweep whose runs are all done; return their folders, in the order of the plan."""
    planned = []
    for number, values in enumerate(itertools.product(*axes.values())):
        given = dict(zip(axes, values, strict=True))
        words = ",".join(f"{k}={v}" for k, v in given.items()) or "default"
        planned.append(
            {
                "chapter": chapter,
                "run": f"{words},{number:08x}",
                "given": given,
                "parameters": dict(fixed or {}) | given,
                "fault": None,
            }
        )
    return [put_run(out, p, n_claims, score) for p in plan(out, planned)]


def plan(out: Path, planned: Sequence[dict]) -> Sequence[dict]:
    """Enter runs in the manifest, after those which are there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "sweep.json"
    before = json.loads(path.read_text())["runs"] if path.exists() else []
    runs = [*before, *planned]
    names = dict.fromkeys(name for run in runs for name in run["parameters"])
    manifest = {
        "version": 1,
        "name": out.name,
        "axes": [name for name in names if varies(name, runs)],
        "resources": {"cpus": 1.0, "gpus": 0.0, "memory_gb": 4.0},
        "runs": runs,
    }
    path.write_text(json.dumps(manifest))
    return planned


def varies(name: str, runs: Sequence[dict]) -> bool:
    """Say whether the runs of some chapter differ in a parameter."""
    having = [r for r in runs if name in r["parameters"]]
    kinds = {(r["chapter"], json.dumps(r["parameters"][name])) for r in having}
    return len(kinds) > len({chapter for chapter, _ in kinds})


def put_run(out: Path, planned: Mapping, n_claims: int = 2, score: Score = flat) -> Path:
    """Write the folder of a run that is done."""
    folder = out / "runs" / planned["chapter"] / planned["run"]
    folder.mkdir(parents=True)
    parameters = planned["parameters"]
    claims = [claim(f"claim_{k}", score(parameters, k)) for k in range(n_claims)]
    (folder / "claims.json").write_text(json.dumps({"claims": claims}))
    (folder / "notebook.ipynb").write_text("{}")
    (folder / "log.txt").write_text("said\n")
    number = int(np.random.default_rng(len(planned["run"])).integers(100))
    report = {
        "chapter": planned["chapter"],
        "run": planned["run"],
        "parameters": parameters,
        "state": "done",
        "attempt": 1,
        "commit": "0123456789",
        "code_hash": "c0de",
        "lock_hash": "10cc",
        "data": [{"file": "a.npz", "checksum": "sha256:0"}],
        "host": "here",
        "node": "",
        "started": "2026-03-01T10:00:00+00:00",
        "duration_s": 20.0 + number,
        "peak_memory_bytes": 500_000_000 + number * 10**6,
        "cpus": 1.0,
        "error": None,
    }
    (folder / "run.json").write_text(json.dumps(report))
    return folder


def fail(folder: Path, **error: object) -> None:
    """Turn a run that is done into one that failed: no claims, no notebook."""
    report = json.loads((folder / "run.json").read_text())
    report |= {"state": "failed", "error": ERROR | error}
    (folder / "run.json").write_text(json.dumps(report))
    (folder / "claims.json").unlink()
    (folder / "notebook.ipynb").unlink()


def events(out: Path, *told: tuple[str, str]) -> None:
    """Write the log of events, given as (time, event)."""
    lines = [json.dumps({"time": time, "event": event}) for time, event in told]
    (out / "events.jsonl").write_text("\n".join(lines) + "\n")
