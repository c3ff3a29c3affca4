"""What a search knows of its trials, and keeps in a folder so that it can be killed and go on.

The folder holds `search.json` (whose search it is), `trials.jsonl` (beginnings and ends),
`reports.jsonl` (every loss that was reported) and, of trials that run, `checkpoints/`. Lines are
appended and files replaced as a whole: whatever the moment of an end, what is there is of use.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import optuna
import torch

VERSION = 1
Settings = dict[str, object]
ENDS = ("complete", "pruned")
FILES = ("trials.jsonl", "reports.jsonl", "search.json")


class Space(Protocol):
    """A search space: what one trial tries, asked of `optuna.Trial` by name."""

    def __call__(self, trial: optuna.Trial) -> Settings:
        """Return the settings of a trial."""
        ...


class Report:
    """What an objective calls after every step; it may end the trial.

    Attributes
    ----------
    kept
        State that this trial handed over last, if it was cut off and now goes on; else None.
    step : int
        Step of that state; 0 if there is none.
    """

    def __init__(self, checkpoints: Checkpoints, trial: int, tell: Callable[..., None]) -> None:
        self.reports, self.kept = checkpoints.load(trial)
        self.step = self.reports[-1][0] if self.reports else 0
        self._checkpoints, self._trial, self._tell = checkpoints, trial, tell

    def __call__(self, step: int, loss: float, state: object = None) -> None:
        """Tell the loss after a step; hand over a state from which the trial could go on.

        Parameters
        ----------
        step : int
            Number of the step, from 1.
        loss : float
            Validation loss; a trial whose loss is not finite is ended.
        state : optional
            Everything that the next step depends on: tensors, numbers, strings, lists and dicts.
        """
        loss = finite_or_nan(loss)
        self.reports.append((int(step), loss))
        self._tell(len(self.reports), int(step), loss)
        if state is not None:
            self._checkpoints.save(self._trial, self.reports, state)


# (settings, report) -> validation loss; report(step, loss) may end the trial
Objective = Callable[[Settings, Report], float]


@dataclass
class Record:
    """One trial: what it tries, what it reported, and how it ended if it did."""

    parameters: dict[str, object]
    reports: list[tuple[int, float]] = field(default_factory=list)
    state: str = "running"
    loss: float = math.nan

    @property
    def finished(self) -> bool:
        """Whether it has ended, early or not."""
        return self.state in ENDS


class Log:
    """Records of all trials by number; in a folder too, if there is one."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.checkpoints = Checkpoints(None if folder is None else folder / "checkpoints")
        self.records = {} if folder is None else _read(folder)

    def begin(self, trial: int, parameters: Mapping[str, object]) -> Record:
        """Note that a trial begins, or begins again; refuse one that tried something else."""
        plain = _plain(parameters)
        if trial not in self.records:
            self._append("trials", trial=trial, state="begun", parameters=plain)
            self.records[trial] = Record(dict(parameters))
        record = self.records[trial]
        if _plain(record.parameters) != plain:
            raise ValueError(
                f"{self.folder} belongs to another search: its trial {trial} tried "
                f"{record.parameters}, here it would try {plain}. Use the space and the versions "
                "that it was begun with, or an empty folder."
            )
        record.parameters = dict(parameters)
        return record

    def report(self, trial: int, n: int, step: int, loss: float) -> None:
        """Note the n-th loss that a trial reports; from an earlier life, that and later ones go."""
        self.cut(trial, n - 1)
        self.records[trial].reports.append((step, loss))
        told = None if math.isnan(loss) else loss
        self._append("reports", trial=trial, step=step, loss=told, time=_now())

    def match(self, trial: int, reports: list[tuple[int, float]]) -> None:
        """Have of a trial what its checkpoint has, where either was written and not the other."""
        self.cut(trial, len(reports))
        known = len(self.records[trial].reports)
        for n, (step, loss) in enumerate(reports[known:], start=known + 1):
            self.report(trial, n, step, loss)

    def cut(self, trial: int, n: int) -> None:
        """Drop what a trial reported after its n-th loss."""
        reports = self.records[trial].reports
        if len(reports) <= n:
            return
        del reports[n:]
        if self.folder is not None:
            path = self.folder / "reports.jsonl"
            seen, lines = 0, []
            for line in path.read_text().splitlines(keepends=True):
                mine = json.loads(line)["trial"] == trial
                seen += mine
                lines += [line] if not mine or seen <= n else []
            _replace(path, "".join(lines))

    def end(self, trial: int, state: str, loss: float = math.nan) -> None:
        """Note how a trial ended; what it kept to go on from is of no more use."""
        record = self.records[trial]
        record.state, record.loss = state, loss
        told = {"loss": None if math.isnan(loss) else loss, "steps": len(record.reports)}
        self._append("trials", trial=trial, state=state, **told, time=_now())
        self.checkpoints.drop(trial)

    def _append(self, name: str, **entry: object) -> None:
        if self.folder is not None:
            with (self.folder / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps(entry) + "\n")


class Checkpoints:
    """States of trials that run, a file each; without a folder, nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def save(self, trial: int, reports: list[tuple[int, float]], state: object) -> None:
        """Keep a state beside the losses that were reported up to it."""
        check_state(state)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(trial)
        partial = path.with_suffix(f".{os.getpid()}.part")
        told = [list(report) for report in reports]
        torch.save({"version": VERSION, "reports": told, "state": state}, partial)
        os.replace(partial, path)

    def load(self, trial: int) -> tuple[list[tuple[int, float]], object]:
        """Return the losses and the state of a trial, none and None if nothing was kept."""
        if self.folder is None or not self._path(trial).exists():
            return [], None
        path = self._path(trial)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            reports = [(int(step), float(loss)) for step, loss in content["reports"]]
            return reports, content["state"]
        except Exception as error:  # the unpickler raises many kinds on a damaged file
            raise _damaged(path, "a checkpoint", str(error)) from error

    def drop(self, trial: int) -> None:
        """Forget a trial."""
        if self.folder is not None:
            self._path(trial).unlink(missing_ok=True)

    def _path(self, trial: int) -> Path:
        return self.folder / f"{trial}.pt"


@contextmanager
def opened(
    storage: str | Path | None, plan: Mapping[str, object], resume: bool = True
) -> Iterator[Log]:
    """Open what is known of a search, for one process at a time.

    Parameters
    ----------
    storage : path, optional
        The folder, made if there is none; by default nothing is written.
    plan : mapping
        All that makes the search what it is.
    resume : bool
        Whether to go on with the search that is there, or to delete it and begin again.

    Raises
    ------
    ValueError
        The folder is not of this search, is damaged, or is in use.
    """
    if storage is None:
        yield Log(None)
        return
    folder = Path(storage)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not (folder / "search.json").exists():
            _check_empty(folder)
        elif not resume:
            _forget(folder)
        _claim(folder, _plain(plan))
        yield Log(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from writing a line a trial or study, or errors that are raised too."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def finite_or_nan(loss: float) -> float:
    """Return a finite loss as it is, and NaN for any other."""
    return float(loss) if math.isfinite(loss) else math.nan


def check_state(state: object, where: str = "state") -> None:
    """Refuse a state that could be saved, and not be loaded safely."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            check_state(value, f"{where}[{key!r}]")
    elif isinstance(state, list | tuple):
        for k, value in enumerate(state):
            check_state(value, f"{where}[{k}]")
    elif type(state) not in (int, float, bool, str, type(None)) and not torch.is_tensor(state):
        raise ValueError(
            "a state must be of tensors, numbers, strings, lists and dicts; got "
            f"{type(state).__name__} at {where}. Turn arrays into tensors with torch.as_tensor."
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it when this process ends, however it does."""
    import fcntl  # not on every system, and needed with a folder only

    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder} is in use by another search; wait for its end, or use another folder"
            ) from error
        yield


def _check_empty(folder: Path) -> None:
    """Refuse a folder of something else; a search that was cut off at once left two files."""
    others = [p.name for p in folder.iterdir() if p.name != "lock" and p.suffix != ".part"]
    if others:
        raise ValueError(
            f"{folder} holds no search but other things, such as {sorted(others)[0]!r}; use an "
            "empty folder"
        )


def _forget(folder: Path) -> None:
    """Delete a search, the file that says so last: one that is cut off can be done again."""
    for name in ("checkpoints", "ray"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _claim(folder: Path, plan: Mapping[str, object]) -> None:
    """Write whose folder it is, or check that it is this search's."""
    path = folder / "search.json"
    if not path.exists():
        _replace(path, json.dumps({"version": VERSION, "search": plan}, indent=1) + "\n")
    try:
        found = json.loads(path.read_text())
        version, there = found["version"], dict(found["search"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "the description of a search", str(error)) from error
    differing = {k for k in {*there, *plan} if there.get(k) != plan.get(k)}
    if version != VERSION or differing:
        told = {k: (there.get(k), plan.get(k)) for k in sorted(differing)} or {"version": version}
        raise ValueError(
            f"{folder} belongs to another search; there and here differ in {told}. Use the "
            "arguments that it was begun with, or an empty folder."
        )


def _read(folder: Path) -> dict[int, Record]:
    """Return the records of a folder, checked."""
    records: dict[int, Record] = {}
    ends = []
    for entry in _lines(folder / "trials.jsonl", {"trial", "state"}):
        if entry["state"] == "begun" and entry["trial"] not in records:
            records[entry["trial"]] = Record(dict(entry["parameters"]))
        else:
            ends.append(entry)
    reports = _lines(folder / "reports.jsonl", {"trial", "step", "loss"})
    for entry in [*reports, *ends]:
        record = records.get(entry["trial"])
        if record is None or record.finished:
            raise _damaged(folder, "a search", f"trial {entry['trial']} has ended or not begun")
        loss = math.nan if entry["loss"] is None else float(entry["loss"])
        if "step" in entry:
            record.reports.append((entry["step"], loss))
        elif entry["state"] not in ENDS or entry["steps"] != len(record.reports):
            raise _damaged(folder, "a search", f"trial {entry['trial']} does not end as it went")
        else:
            record.state, record.loss = entry["state"], loss
    return records


def _lines(path: Path, names: set[str]) -> list[dict[str, object]]:
    """Return the entries of a file; a last line that was cut off has never been written."""
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        _replace(path, whole)
    entries = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _damaged(path, "lines of JSON", f"line {number}: {error}") from error
        if not isinstance(entry, dict) or not names <= set(entry):
            raise _damaged(path, f"entries of {sorted(names)}", f"line {number}: {line[:80]}")
        entries.append(entry)
    return entries


def _damaged(path: Path, expected: str, got: str) -> ValueError:
    return ValueError(
        f"{path} is damaged: expected {expected}; {got}. Delete the folder of the search to begin "
        "again."
    )


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(text)
    os.replace(partial, path)


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Return values as they come back from a file."""
    return json.loads(json.dumps(dict(values), default=str))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
