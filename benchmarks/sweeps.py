"""A sweep beside papermill alone: the same runs one after another, and side by side.

    python benchmarks/sweeps.py [--runs 24] [--alone 24] [--out sweeps.json] [--folder FOLDER]

Half of the runs are of chapter 03b, half of 05b, both small, over seeds. "papermill" calls the
command papermill once a run, as a loop of the shell would, with the threads that each library
takes by itself; with fewer runs of it than of the sweep, its time is scaled up. "sweep" is
`bookpress sweep`, the start of Ray included, with one thread a run. What a run costs beyond its
cells is its duration less what papermill notes of its cells: the start of a kernel, reading and
writing. "idle" is the share of the processors' time that no run had.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "03b_it_geometry": {"n_pictures": 256, "n_passes": 1, "n_random": 2, "n_resamples": 100},
    "05b_deconvolution": {"n_resamples": 100},
}


def seeds(n_runs: int) -> range:
    """Seeds of each chapter."""
    return range(1, n_runs // len(SMALL) + 1)


def one_after_another(n_runs: int, folder: Path) -> float:
    """Seconds of papermill, called once a run."""
    folder.mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("papermill")), "--no-progress-bar"]
    environment = os.environ | {"BOOKPRESS_RESULTS": str(folder / "results")}
    began = time.perf_counter()
    for chapter, parameters in SMALL.items():
        for seed in seeds(n_runs):
            name = f"{chapter}.ipynb"
            words = [str(ROOT / "notebooks" / name), str(folder / f"{seed}-{name}")]
            for key, value in {"seed": seed, **parameters}.items():
                words += ["-p", key, str(value)]
            subprocess.run(command + words, cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - began


def side_by_side(n_runs: int, folder: Path) -> float:
    """Seconds of a sweep over the same runs."""
    words = ["sweep", *SMALL, "-p", f"seed={seeds(n_runs)[0]}..{seeds(n_runs)[-1]}"]
    for chapter, parameters in SMALL.items():
        for name, value in parameters.items():
            words += ["-p", f"{chapter}:{name}={value}"]
    began = time.perf_counter()
    command = [sys.executable, "-m", "bookpress", *words, "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def overheads(folder: Path) -> pd.DataFrame:
    """One row a run: seconds in all, in cells, and beyond them; peak memory."""
    rows = []
    for path in sorted(folder.glob("runs/*/*/run.json")):
        cells = json.loads(path.with_name("notebook.ipynb").read_text())["cells"]
        told = (cell["metadata"].get("papermill", {}).get("duration") or 0 for cell in cells)
        record = json.loads(path.read_text())
        inside = sum(told)
        rows.append(
            {
                "chapter": record["chapter"],
                "run_s": record["duration_s"],
                "cells_s": inside,
                "beyond_s": record["duration_s"] - inside,
                "peak_mb": record["peak_memory_bytes"] / 1e6,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--alone", type=int, default=24)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "benchmark-sweeps")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    swept = side_by_side(given.runs, given.folder / "sweep")
    table = overheads(given.folder / "sweep")
    alone = one_after_another(given.alone, given.folder / "papermill") * given.runs / given.alone
    busy = table["run_s"].sum() / (swept * (os.cpu_count() or 1))
    told = {
        "runs": len(table),
        "papermill_runs": given.alone,
        "papermill_s": round(alone, 1),
        "sweep_s": round(swept, 1),
        "ratio": round(alone / swept, 2),
        "beyond_cells_s_median": round(float(np.median(table["beyond_s"])), 2),
        "idle": round(1 - busy, 3),
        "cores": os.cpu_count(),
    }
    print(table.groupby("chapter").median().round(2).to_string())
    print(json.dumps(told, indent=1))
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
