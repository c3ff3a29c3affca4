"""The one fit loop of the book: epochs, early stopping, a progress bar, checkpoints; and devices.

What is trained is a *trainee*: it knows its network, its data and its random generators, and how
to do one epoch. The loop knows when to stop, what to keep and how to go on after an interruption.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

FORMAT = "visualcortex checkpoint 1"


class Trainee(Protocol):
    """What `run_epochs` trains.

    A trainee may also have `validate() -> float`, lower is better, on data that it does not train
    on. Its state holds *everything* that the next epoch depends on: weights, optimisers and the
    states of its random generators, as tensors, numbers, strings, lists and dicts.
    """

    def train_epoch(self) -> Mapping[str, float]:
        """Train for one epoch and return its losses by name."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state, sharing memory if it likes."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state; raise an error that says why if it is not of this trainee."""
        ...


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be gone on from."""


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto" into the GPU if there is one, and anything else into a `torch.device`.

    Raises
    ------
    ValueError
        If a GPU is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device {device!r} was asked for, but no GPU is visible; use "auto"')
    return chosen


def fingerprint(settings: object, *arrays: np.ndarray) -> str:
    """Identify a fit by its settings and its data, so that no other goes on from its checkpoint.

    Parameters
    ----------
    settings
        Whatever the fit depends on; its ``repr`` must say all of it.
    arrays
        The data, of any shape.

    Returns
    -------
    str
        A SHA-256 in hexadecimal.
    """
    shapes = [array.shape for array in arrays]
    digest = hashlib.sha256(repr((settings, shapes)).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def to_tensor(
    array: np.ndarray, device: str | torch.device = "auto", *, name: str = "responses"
) -> torch.Tensor:
    """Turn rows of neurons into a float32 tensor, without a copy where that is possible.

    A float32 array on the CPU shares its memory with the tensor, even a read-only one: do not
    write to the result.

    Parameters
    ----------
    array : (n_rows, n_neurons) array
        Any real type.
    device : str or torch.device
        Where the tensor lives; ``"auto"`` is the GPU if there is one.
    name : str
        What errors call the array.

    Returns
    -------
    (n_rows, n_neurons) torch.Tensor

    Raises
    ------
    ValueError
        If it is not a matrix of real numbers with at least one row and one column.
    """
    values = np.asarray(array)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be a matrix of real numbers, (rows, neurons), none of them empty; got "
            f"shape {values.shape} of {values.dtype}. Pass one row a trial, image or frame."
        )
    with warnings.catch_warnings():
        # torch warns of arrays that it may not write to; nothing here writes
        warnings.filterwarnings("ignore", message=".*not writable.*")
        shared = torch.from_numpy(np.asarray(values, dtype=np.float32, order="C"))
    return shared.to(choose_device(device))


def run_epochs(
    trainee: Trainee,
    n_epochs: int,
    *,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1,
    progress: bool = True,
    description: str = "training",
) -> pd.DataFrame:
    """Train for up to `n_epochs` epochs; leave the trainee in its best state.

    With a `validate` method, the state of the epoch with the lowest validation loss is restored
    at the end; without one, the last state stays. If the file `checkpoint` exists, training goes
    on from it and gives the result that an uninterrupted run gives, bit for bit on the same
    machine; to train on, call again with more epochs. The file is replaced as a whole, so that it
    is never half written.

    Bias: the lowest validation loss is chosen among many, so it is too good an estimate of the
    loss on new data. Report a test set.

    Parameters
    ----------
    trainee : Trainee
        What to train.
    n_epochs : int
        Number of epochs in all, those before an interruption included.
    patience : int, optional
        Stop after this many epochs in a row without a lower validation loss.
    checkpoint : path, optional
        File to write, and to go on from.
    checkpoint_every : int
        Write it after every so many epochs, and after the last one.
    progress : bool
        Whether to show a bar with the current losses.
    description : str
        What the bar says.

    Returns
    -------
    pandas.DataFrame
        A row an epoch: "epoch" (from 1), the losses, "validation" (if there is a `validate`) and
        "kept" (True in the row of the epoch whose state the trainee is left in).

    Raises
    ------
    ValueError
        If `n_epochs` is not positive, or patience is asked for without validation.
    FloatingPointError
        If a loss is not finite. The checkpoint, if any, is of an epoch before.
    CheckpointError
        If the checkpoint is unreadable, of another trainee, or has more epochs than asked for.
    """
    if n_epochs < 1:
        raise ValueError(f"n_epochs must be at least 1; got {n_epochs}")
    if patience is not None and (patience < 1 or not hasattr(trainee, "validate")):
        raise ValueError(
            "patience needs a trainee with a validate method, and at least 1 epoch; "
            f"got patience={patience} for {type(trainee).__name__}"
        )
    path = None if checkpoint is None else Path(checkpoint)
    run = _Run() if path is None or not path.exists() else _resume(trainee, path)
    if len(run.rows) > n_epochs:
        raise CheckpointError(
            f"checkpoint {path} has {len(run.rows)} epochs, more than the {n_epochs} asked for; "
            "ask for as many, or delete the file to start from the beginning"
        )
    with tqdm(
        total=n_epochs, initial=len(run.rows), desc=description, disable=not progress, unit="epoch"
    ) as bar:
        while len(run.rows) < n_epochs and not run.stalled(patience):
            bar.set_postfix(run.advance(trainee))
            bar.update()
            done = len(run.rows) == n_epochs or run.stalled(patience)
            if path is not None and (done or len(run.rows) % checkpoint_every == 0):
                _write(run.to_dict(trainee), path)
    if run.best_state is not None:
        trainee.load_state_dict(run.best_state)
    history = pd.DataFrame(run.rows)
    return history.assign(kept=history["epoch"] == (run.best_epoch or len(history)))


class _Run:
    """Where a run stands: its history, and the best state so far."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_state: dict[str, Any] | None = None

    def advance(self, trainee: Trainee) -> dict[str, float]:
        """One epoch; returns its losses."""
        losses = {name: float(value) for name, value in trainee.train_epoch().items()}
        if hasattr(trainee, "validate"):
            losses["validation"] = float(trainee.validate())
        epoch = len(self.rows) + 1
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        if wrong:
            raise FloatingPointError(
                f"training diverged in epoch {epoch}: {', '.join(wrong)} not finite; "
                "lower the learning rate, and look for NaN in the data"
            )
        self.rows.append({"epoch": epoch, **losses})
        if "validation" in losses and self._is_best(losses["validation"]):
            self.best_epoch = epoch
            self.best_state = copy.deepcopy(trainee.state_dict())
        return losses

    def _is_best(self, loss: float) -> bool:
        return self.best_epoch == 0 or loss < self.rows[self.best_epoch - 1]["validation"]

    def stalled(self, patience: int | None) -> bool:
        """Whether it has not become better for as long as one waits."""
        return patience is not None and len(self.rows) - self.best_epoch >= patience

    def to_dict(self, trainee: Trainee) -> dict[str, Any]:
        """Everything that is needed to go on from here."""
        return {
            "format": FORMAT,
            "rows": self.rows,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "state": trainee.state_dict(),
        }


def _write(content: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        torch.save(content, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _resume(trainee: Trainee, path: Path) -> _Run:
    remedy = "delete the file to start from the beginning"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds on a damaged file
        raise CheckpointError(f"checkpoint {path} cannot be read; {remedy}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this library; {remedy}")
    try:
        trainee.load_state_dict(content["state"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"checkpoint {path} does not belong to this model and these data ({error}); {remedy}"
        ) from error
    run = _Run()
    run.rows, run.best_epoch = content["rows"], content["best_epoch"]
    run.best_state = content["best_state"]
    return run
