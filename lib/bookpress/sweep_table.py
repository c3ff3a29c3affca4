"""The runs of a sweep as one table: read from its folder, written as Parquet and as CSV."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from bookpress import notebooks
from bookpress.sweep_folder import Found, data_digest, load, printable

LARGEST = 2**63  # of a column of integers
CLAIM_TYPES = {
    "claim": "string",
    "value": "Float64",
    "low": "Float64",
    "high": "Float64",
    "chance": "Float64",
    "ceiling": "Float64",
    "unit": "string",
    "n": "Int64",
    "held_out": "string",
    "note": "string",
}
CLAIM_KEYS = tuple(CLAIM_TYPES)[1:]
RUN_TYPES = {
    "started": "string",
    "duration_s": "Float64",
    "peak_memory_mb": "Float64",
    "host": "string",
    "node": "string",
    "attempt": "Int64",
    "commit": "string",
    "code_hash": "string",
    "lock_hash": "string",
    "data": "string",
    "error_kind": "string",
    "error_cell": "Int64",
    "error": "string",
}


def tidy(out: Path) -> pd.DataFrame:
    """Return the table of a sweep: one row a run and claim.

    A run without claims (failed, refused, damaged, not yet run) has one row whose claim is empty.
    The parameters are columns of their own, ``param.<name>``.
    """
    runs = load(out)
    parameters = _parameter_types(runs)
    types = dict.fromkeys(("chapter", "run", "state"), "string") | parameters
    types |= CLAIM_TYPES | RUN_TYPES
    rows = [row for found in runs for row in _rows(found)]
    return pd.DataFrame({name: _column(rows, name, kind) for name, kind in types.items()})


def write(out: Path) -> tuple[Path, Path]:
    """Write ``table.parquet`` and ``table.csv``, which hold the same, each whole or not at all.

    What is not there reads ``NA`` in the CSV, so that it differs from an empty text;
    ``pandas.read_csv(path, keep_default_na=False, na_values=["NA"])`` reads it back.
    """
    table = tidy(out)
    parquet, csv = out / "table.parquet", out / "table.csv"
    _whole(parquet, partial(table.to_parquet, engine="pyarrow", index=False))
    notebooks.replace(csv, table.to_csv(index=False, na_rep="NA"))
    return parquet, csv


def _whole(path: Path, fill: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fill(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _rows(found: Found) -> Iterator[dict[str, object]]:
    report, error = found.report, found.error
    row = {"chapter": found.chapter, "run": found.run, "state": found.state}
    row |= {f"param.{name}": value for name, value in found.parameters.items()}
    row |= {name: report[name] for name in RUN_TYPES if name in report}
    row |= {
        "peak_memory_mb": _megabytes(report.get("peak_memory_bytes")),
        "data": data_digest(report),
        "error_kind": error.get("kind"),
        "error_cell": error.get("cell"),
        "error": found.fault or None,
    }
    for claim in found.claims or ({},):
        facts = {"claim": claim.get("name")} | {k: claim.get(k) for k in CLAIM_KEYS}
        yield row | facts


def _megabytes(size: float | None) -> float | None:
    return None if size is None else size / 1e6


def _parameter_types(runs: Sequence[Found]) -> dict[str, str]:
    """Return the column type of every parameter; what refused runs were given does not count."""
    sound = [f for f in runs if f.state != "refused"] or runs
    names = dict.fromkeys(name for found in sound for name in found.parameters)
    return {f"param.{name}": _type([f.parameters.get(name) for f in sound]) for name in names}


def _type(values: Sequence[object]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int} and all(abs(value) < LARGEST for value in values if value is not None):
        return "Int64"
    return "Float64" if kinds and kinds <= {int, float} else "string"


def _column(rows: Sequence[Mapping], name: str, kind: str) -> pd.Series:
    return pd.Series([_fit(row.get(name), kind) for row in rows], dtype=kind)


def _fit(value: object, kind: str) -> object:
    """Return a value as its column takes it; what a column of numbers cannot take is not there."""
    if value is None:
        return pd.NA
    if kind == "string":
        return printable(value if isinstance(value, str) else json.dumps(value, default=str))
    takes = {"boolean": (bool,), "Int64": (int,), "Float64": (int, float)}[kind]
    fits = type(value) in takes and (kind != "Int64" or abs(value) < LARGEST)
    return value if fits else pd.NA
