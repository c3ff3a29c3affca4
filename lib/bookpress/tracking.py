"""Report the runs of a sweep to Weights & Biases or MLflow as well, without risk to the runs.

A tracker is told in a process of its own (:mod:`bookpress.trackers`), which is given limited time.
What goes wrong there is a message that names the remedy, never an error.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bookpress import notebooks, secrets
from bookpress.book import BookError, digest

SECONDS_FOR_A_REPORT = 120.0


@dataclass(frozen=True)
class _Tracker:
    """A tracker: its module, how it is installed, and what to look at when it fails."""

    module: str
    install: str
    remedy: str


TRACKERS = {
    "wandb": _Tracker(
        "wandb", "pip install wandb", "WANDB_API_KEY and WANDB_MODE, the network, room on the disk"
    ),
    "mlflow": _Tracker(
        "mlflow", "pip install mlflow-skinny", "MLFLOW_TRACKING_URI, the network, room on the disk"
    ),
}
NO_KEY = (
    "wandb: WANDB_MODE is online, but there is no WANDB_API_KEY: runs are kept offline. Set the "
    "key for the next sweep, and send what is kept with `wandb sync`."
)


class _Fault(RuntimeError):
    """A tracker was not told."""


def check(to: Sequence[str]) -> None:
    """Refuse what could not be reported, before a sweep begins.

    Raises
    ------
    BookError
        A tracker is unknown or not installed, or ``WANDB_MODE`` is neither offline nor online.
    """
    for name in to:
        if name not in TRACKERS:
            raise BookError(f"Unknown tracker {name!r}: choose among {', '.join(TRACKERS)}.")
        if importlib.util.find_spec(TRACKERS[name].module) is None:
            raise BookError(
                f"The tracker {name} is not installed: `{TRACKERS[name].install}`, or go without."
            )
    mode = os.environ.get("WANDB_MODE", "offline")
    if "wandb" in to and mode not in ("offline", "online"):
        raise BookError(
            f"WANDB_MODE is {mode!r}: unset it, set it to offline or online, or go without wandb."
        )


def track(folder: Path, *, sweep: str, to: Sequence[str]) -> list[str]:
    """Report one finished run to each tracker that has not been told of it.

    A tracker that was told leaves ``tracked-<tracker>.json`` in the folder of the run. Several
    processes may report different runs of a sweep at once.

    Parameters
    ----------
    folder
        Of the run: ``<out>/runs/<chapter>/<run>``.
    sweep
        Name of the sweep. It groups the runs, and is the project where the user names none.
    to
        Trackers, as :func:`check` takes them.

    Returns
    -------
    list
        What went wrong, a message a tracker that does not depend on the run; also kept for
        :func:`faults`.
    """
    said = {name: _told(name, folder, sweep) for name in to if not _marker(folder, name).exists()}
    for name, fault in said.items():
        # the disk may be what is full
        with contextlib.suppress(OSError):
            _keep_fault(_out(folder), name, fault)
    return [fault for fault in said.values() if fault]


def untracked(out: Path, to: Sequence[str]) -> list[Path]:
    """Return the folders of finished runs of which a tracker has not been told."""
    found = sorted(path.parent for path in out.glob("runs/*/*/run.json"))
    return [folder for folder in found if not all(_marker(folder, name).exists() for name in to)]


def faults(out: Path, to: Sequence[str]) -> list[str]:
    """Return the last message of each tracker that something went wrong with, if it still does."""
    kept = [_fault_file(out, name) for name in to]
    return [path.read_text().strip() for path in kept if path.exists()]


def report(folder: Path, sweep: str) -> dict[str, object]:
    """Return what a tracker is told of a run: parameters, facts, numbers, error and history.

    Numbers bear the names under which the chapter's prose glues them: a claim's own name for its
    value, the name with ``_low``, ``_high``, ``_chance``, ``_ceiling`` for what it is compared
    with.

    Raises
    ------
    BookError
        The record of the run cannot be read.
    """
    try:
        facts = json.loads((folder / "run.json").read_text())
        place = sweep, facts["chapter"], facts["run"]
        costs = {key: facts.pop(key) for key in ("duration_s", "peak_memory_bytes")}
        taken = {key: facts.pop(key) for key in ("parameters", "state")}
        error = _error(facts.pop("error"))
    except (OSError, ValueError, KeyError) as fault:
        raise BookError(f"run.json cannot be read: {fault!r}. Make the run again.") from fault
    numbers = dict(_numbers(folder / "claims.json")) | costs
    known = {"id": digest(*place), "sweep": sweep, "facts": facts, "numbers": numbers}
    return known | taken | {"error": error, "history": list(_history(folder / "logs"))}


def _error(error: Mapping | None) -> dict[str, object]:
    if error is None:
        return {}
    parts = {f"error_{key}": error[key] for key in ("kind", "cell", "source")}
    known = {key: value for key, value in parts.items() if value is not None}
    return known | {"error": f"{error['name']}: {error['message']}"}


def _numbers(claims: Path) -> Iterator[tuple[str, float]]:
    """Numbers of the claims; a run that failed may have left none, or half a file."""
    with contextlib.suppress(OSError, ValueError):
        for claim in json.loads(claims.read_text())["claims"]:
            yield claim["name"], claim["value"]
            for key in ("low", "high", "chance", "ceiling"):
                if claim[key] is not None:
                    yield f"{claim['name']}_{key}", claim[key]


def _history(logs: Path) -> Iterator[dict[str, object]]:
    """Losses that searches reported as they went, named by the folder of their log."""
    for path in sorted(logs.rglob("reports.jsonl")):
        name = path.parent.relative_to(logs).as_posix()
        for line in path.read_text().splitlines():
            # a run that is killed may leave half a line
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                numbers = {"step": int(row["step"]), "loss": float(row["loss"])}
                yield {"log": "log" if name == "." else name, "trial": row["trial"]} | numbers


def _told(tracker: str, folder: Path, sweep: str) -> str:
    """Tell one tracker of a run; return what went wrong, or nothing."""
    try:
        told = report(folder, sweep)
        outcome, fault = {"wandb": _tell_wandb, "mlflow": _tell_mlflow}[tracker](told, _out(folder))
        if outcome:
            notebooks.replace(_marker(folder, tracker), json.dumps(outcome) + "\n")
        return fault
    except (_Fault, BookError, OSError) as error:
        return _explained(tracker, error)


def _explained(tracker: str, error: Exception) -> str:
    return secrets.redacted(
        f"{tracker}: runs are not reported ({error}). The runs are whole. Look at "
        f"{TRACKERS[tracker].remedy}; then start the sweep again: it reports what is missing.",
        os.environ,
    )


def _tell_wandb(told: Mapping, out: Path) -> tuple[dict, str]:
    """Report to a local file, and online if the user says so; what cannot be sent is kept."""
    project = os.environ.get("WANDB_PROJECT") or told["sweep"]
    wanted = {"project": project, "entity": os.environ.get("WANDB_ENTITY")}
    place = out / "tracking"
    offline = {**told, **wanted, "mode": "offline"}
    if os.environ.get("WANDB_MODE") != "online":
        return _ask("wandb", offline, place), ""
    if not os.environ.get("WANDB_API_KEY"):
        return _ask("wandb", offline, place), NO_KEY
    try:
        return _ask("wandb", {**offline, "mode": "online"}, place), ""
    except _Fault as fault:
        _ask("wandb", offline, place)
        return {}, f"{_explained('wandb', fault)} Until then they are kept offline."


def _tell_mlflow(told: Mapping, out: Path) -> tuple[dict, str]:
    """Report to the user's server, or to a local store."""
    project = os.environ.get("MLFLOW_EXPERIMENT_NAME") or told["sweep"]
    place, server = out / "tracking" / "mlflow", os.environ.get("MLFLOW_TRACKING_URI")
    if server:
        asked = {**told, "project": project, "store": server, "mode": "server"}
        return _ask("mlflow", asked, place), ""
    place.mkdir(parents=True, exist_ok=True)
    asked = {**told, "project": project, "store": "sqlite:///mlflow.db", "mode": "local"}
    with (place / "lock").open("w") as lock:
        # two processes that make the tables at once spoil them
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _ask("mlflow", asked, place), ""


def _ask(tracker: str, asked: Mapping, place: Path) -> dict[str, str]:
    """Have a tracker told by another process, in the folder where it keeps its files."""
    place.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("trackers.py")
    with tempfile.TemporaryDirectory(prefix="bookpress-") as scratch:
        try:
            done = subprocess.run(
                # -P: modules beside the script, such as `secrets`, are not the standard ones
                [sys.executable, "-P", str(script)],
                input=json.dumps({**asked, "tracker": tracker}),
                cwd=place,
                env=_environment(tracker, asked["mode"], scratch),
                capture_output=True,
                text=True,
                timeout=SECONDS_FOR_A_REPORT,
            )
        except subprocess.TimeoutExpired:
            raise _Fault(f"no answer for {SECONDS_FOR_A_REPORT:g} s") from None
    if done.returncode:
        raise _Fault(f"its process ended with {done.returncode}")
    outcome = json.loads(done.stdout.splitlines()[-1])
    if "fault" in outcome:
        raise _Fault(outcome["fault"])
    return outcome


def _environment(tracker: str, mode: str, scratch: str) -> dict[str, str]:
    """What the process that tells a tracker is given: keys only if it needs the network."""
    if tracker == "mlflow":
        patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
        return patience | os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    needed = {
        key: os.environ[key]
        for key in ("WANDB_API_KEY", "WANDB_BASE_URL")
        if mode == "online" and key in os.environ
    }
    # nothing is left in the user's home
    folders = dict.fromkeys(("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"), scratch)
    return secrets.hidden(os.environ) | needed | folders


def _out(folder: Path) -> Path:
    """Return the folder of the sweep that a run belongs to."""
    return folder.absolute().parents[2]


def _marker(folder: Path, tracker: str) -> Path:
    return folder / f"tracked-{tracker}.json"


def _fault_file(out: Path, tracker: str) -> Path:
    return out / "tracking" / f"{tracker}-fault.txt"


def _keep_fault(out: Path, tracker: str, fault: str) -> None:
    path = _fault_file(out, tracker)
    if fault:
        notebooks.replace(path, fault + "\n")
    else:
        path.unlink(missing_ok=True)
