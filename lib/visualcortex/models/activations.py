"""Activations of layers of a network, computed once and kept on disk.

Rows are images, columns the units of a layer in the order channel, row, column.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from visualcortex.sources.atomic import keep_text
from visualcortex.training import choose_device

FORMAT = "visualcortex activations 1"
UNFINISHED = ".unfinished"
STALE = 24 * 3600.0  # s: an unfinished file older than that was left by a process that is gone
PIECE = 64  # images read at a time where only their bytes are wanted


class StoreError(RuntimeError):
    """Activations that cannot be kept on disk; the message says what to do."""


def default_store() -> Path:
    """Folder for activations: the environment's ``VISUALCORTEX_ACTIVATIONS``, or the user's cache.

    What lies there can be deleted at any time; it is computed again when it is needed.
    """
    named = os.environ.get("VISUALCORTEX_ACTIVATIONS")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("visualcortex"), "activations")


def extract(
    network: nn.Module,
    images: np.ndarray,
    layers: Sequence[str] | Mapping[str, str],
    *,
    store: str | Path | None = None,
    pool: int | None = None,
    images_key: str | None = None,
    batch_size: int = 64,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Return what layers of a network answer to images.

    The network runs in evaluation mode without gradients: a batch normalization uses its stored
    statistics, so that an image's row does not depend on the images it comes with. Afterwards the
    mode and the device of the network are as before. Convolutions on a GPU are in full float32.

    With a store, a layer is one file, memory-mapped read-only, and never more than a batch of it
    is in memory. Its name is a hash of all that its content depends on: weights, buffers, printed
    architecture and plain attributes of the network, path of the layer, images and `pool`. Only
    layers that are not there yet, or not whole, are computed. What is not hashed is the program
    text of the network's classes: take a new store when that has changed. Another device or batch
    size changes rounding errors only, so it finds the same files.

    Parameters
    ----------
    network : torch.nn.Module
        Takes a batch of images.
    images : (M, C, H, W) array
        Floating-point, as the network expects them (those of `backbones`: RGB from 0 to 1). Or
        anything with a length, a shape and slices that are arrays, read a batch at a time.
    layers : strings, or mapping of names to strings
        Paths of modules as in ``network.named_modules()``; "" is the network as a whole. Keys of a
        mapping name the results, else the paths do. `backbones.stages` gives such a mapping.
    store : path, optional
        Folder to keep activations in, made if need be.
    pool : int, optional
        Average maps (C, H, W) over areas such that at most pool x pool of them are left.
    images_key : str, optional
        With a store, a name for these images, for instance the checksum of their file. By default
        all of their bytes are read and hashed.
    batch_size : int
        Images at a time.
    device : str
        "auto", "cpu" or "cuda".
    progress : bool
        Whether to show a bar.

    Returns
    -------
    dict of (M, P) float32 arrays
        By name of the layer. If the output of a module holds several tensors, the first one
        (``last_hidden_state`` where there is one).

    Raises
    ------
    ValueError
        There is no such layer (the message names similar ones), the network does not run it just
        once, its output is not a row an image, or images, `pool` or `batch_size` are unsuitable.
    StoreError
        The store cannot be written to, or is full. Nothing half-written is left.
    """
    named = _named(network, layers)
    _check(images, pool, batch_size)
    paths = sorted(set(named.values()))
    run = _Run(network, images, pool, batch_size, choose_device(device), progress)
    if store is None:
        done = run.into({path: _InMemory(len(images)) for path in paths})
        return {name: done[path] for name, path in named.items()}
    keys = _keys(network, images, images_key, paths, pool)
    files = {path: Path(store, f"{key}.npy") for path, key in keys.items()}
    kept = {path: _opened(file, len(images)) for path, file in files.items()}
    missing = [path for path in paths if kept[path] is None]
    if missing:
        kept |= _extract_to_disk(run, {path: files[path] for path in missing})
    return {name: kept[path] for name, path in named.items()}


def map_shapes(
    network: nn.Module,
    image: np.ndarray,
    layers: Sequence[str] | Mapping[str, str],
    *,
    pool: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Return the shape that a row of `extract` unfolds to, (C, H, W) for maps.

    Parameters
    ----------
    network, layers, pool
        As `extract`.
    image : (1, C, H, W) array
        Any image of the size.

    Returns
    -------
    dict of tuples
        By name of the layer.

    Raises
    ------
    ValueError
        As `extract`.
    """
    named = _named(network, layers)
    _check(image, pool, 1)
    found: dict[str, tuple[int, ...]] = {}

    def note(path: str, output: Any) -> None:
        """Keep the shape of one image's answer, after pooling."""
        n_channels, *sides = _first_tensor(output).shape[1:]
        found[path] = (n_channels, *(side if pool is None else min(pool, side) for side in sides))

    with (
        _evaluating(network, torch.device("cpu")) as like,
        contextlib.ExitStack() as stack,
    ):
        for path in set(named.values()):
            hook = partial(lambda path, part, inputs, output: note(path, output), path)
            stack.callback(network.get_submodule(path).register_forward_hook(hook).remove)
        network(torch.from_numpy(np.array(image, np.float32)).to(like))
    return {name: found[path] for name, path in named.items()}


class _Rows(Protocol):
    """Where the rows of a layer go, a batch after the other."""

    def append(self, rows: np.ndarray) -> None:
        """Take the next rows, (B, P)."""
        ...

    def finish(self) -> np.ndarray:
        """Return all rows, (M, P), when the last are there."""
        ...


class _InMemory:
    """Rows kept in memory."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows, self.n_done = n_rows, 0

    def append(self, rows: np.ndarray) -> None:
        """Take the next rows."""
        if self.n_done == 0:
            self.array = np.empty((self.n_rows, rows.shape[1]), np.float32)
        self.array[self.n_done : self.n_done + len(rows)] = rows
        self.n_done += len(rows)

    def finish(self) -> np.ndarray:
        """Return all rows."""
        return self.array


class _OnDisk:
    """Rows written to an unfinished file, which gets its name when it is whole.

    Rows come in order, so they are written and not mapped: on a full disk writing is an error,
    where a mapped file would end the process.
    """

    def __init__(self, file: Path, n_rows: int, words: Mapping[str, Any]) -> None:
        self.file, self.n_rows, self.words = file, n_rows, words
        self.shape: tuple[int, int] | None = None

    def __enter__(self) -> _OnDisk:
        with self._faults():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self.file.parent)
            handle, name = tempfile.mkstemp(UNFINISHED, f"{self.file.stem}.", self.file.parent)
        self.stream: BinaryIO = os.fdopen(handle, "wb")
        self.unfinished = Path(name)
        return self

    def append(self, rows: np.ndarray) -> None:
        """Take the next rows."""
        with self._faults():
            if self.shape is None:
                self.shape = (self.n_rows, rows.shape[1])
                descr = np.lib.format.dtype_to_descr(rows.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": self.shape}
                np.lib.format.write_array_header_1_0(self.stream, header)
            self.stream.write(np.ascontiguousarray(rows).data)

    def finish(self) -> np.ndarray:
        """Give the file its name and open it."""
        with self._faults():
            self.stream.flush()
            os.fsync(self.stream.fileno())  # else a power cut could leave a name with no content
            self.unfinished.chmod(0o644)  # mkstemp makes private files; a store may be shared
            os.replace(self.unfinished, self.file)
        words = {**self.words, "shape": self.shape}
        keep_text(self.file.with_suffix(".json"), json.dumps(words, indent=1) + "\n")
        return np.lib.format.open_memmap(self.file, mode="r")

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what is left in the buffer of a full disk
            self.stream.close()
        self.unfinished.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            size = "" if self.shape is None else f" ({4 * self.shape[0] * self.shape[1]} bytes)"
            raise StoreError(
                f"activations of layer {self.words['layer']!r}{size} cannot be kept in "
                f"{self.file.parent}: {error.strerror or error}. Free space or make it writable, "
                "pass another folder as store, or ask for fewer units with pool."
            ) from error


class _Run:
    """A network that runs over images."""

    def __init__(
        self,
        network: nn.Module,
        images: np.ndarray,
        pool: int | None,
        batch_size: int,
        device: torch.device,
        progress: bool,
    ) -> None:
        self.network, self.images, self.pool = network, images, pool
        self.batch_size, self.device, self.progress = batch_size, device, progress

    def into(self, rows: Mapping[str, _Rows]) -> dict[str, np.ndarray]:
        """Hand over the rows of some layers, batch after batch, and return all of them."""
        n_images, silent = len(self.images), not self.progress
        with (
            _evaluating(self.network, self.device) as like,
            _tapped(self.network, rows, self.pool) as caught,
            tqdm(total=n_images, desc="activations", unit="image", disable=silent) as bar,
        ):
            for batch in _pieces(self.images, self.batch_size):
                if not np.isfinite(batch).all():
                    raise ValueError("images must be finite; there is NaN or infinity among them")
                caught.clear()
                self.network(torch.from_numpy(batch).to(like))
                for path, layer in rows.items():
                    layer.append(_just_once(caught.get(path, []), path, len(batch)))
                bar.update(len(batch))
        return {path: layer.finish() for path, layer in rows.items()}


def _extract_to_disk(run: _Run, files: Mapping[str, Path]) -> dict[str, np.ndarray]:
    with contextlib.ExitStack() as stack:
        rows = {}
        for path, file in files.items():
            words = {
                "what": "activations of a layer of a network, one row an image",
                "format": FORMAT,
                "network": type(run.network).__name__,
                "layer": path,
                "pool": run.pool,
            }
            rows[path] = stack.enter_context(_OnDisk(file, len(run.images), words))
        return run.into(rows)


@contextlib.contextmanager
def _evaluating(network: nn.Module, device: torch.device) -> Iterator[Tensor]:
    """Evaluation on a device; gives a tensor of the type and device of the input."""
    modes = [(part, part.training) for part in network.modules()]
    home = next(network.parameters(), torch.empty(0)).device
    full = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
    try:
        network.to(device).eval()
        with torch.inference_mode(), full:
            yield next(network.parameters(), torch.empty(0, device=device))
    finally:
        network.to(home)
        for part, training in modes:
            part.training = training


@contextlib.contextmanager
def _tapped(
    network: nn.Module, paths: Iterable[str], pool: int | None
) -> Iterator[dict[str, list[np.ndarray]]]:
    """Catch the outputs of layers, in the order of their calls, while this lasts."""
    caught: dict[str, list[np.ndarray]] = {}
    with contextlib.ExitStack() as stack:
        for path in paths:

            def catch(part: nn.Module, inputs: Any, output: Any, path: str = path) -> None:
                """Keep the rows of a batch; the path is bound now, not when it is called."""
                caught.setdefault(path, []).append(_flat(output, path, pool))

            stack.callback(network.get_submodule(path).register_forward_hook(catch).remove)
        yield caught


def _flat(output: Any, path: str, pool: int | None) -> np.ndarray:
    """Copy an output to rows, (B, P); later modules may write into the original."""
    maps = _first_tensor(output)
    if maps is None or maps.ndim == 0:
        raise ValueError(
            f"layer {path!r} must put out a tensor, a tuple of tensors or an output of "
            f"transformers; got {type(output).__name__}. Take another layer."
        )
    if pool is not None and maps.ndim == 4:
        size = tuple(min(pool, side) for side in maps.shape[2:])
        maps = functional.adaptive_avg_pool2d(maps, size)
    return maps.reshape(len(maps), -1).to("cpu", torch.float32, copy=True).numpy()


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        last = output.get("last_hidden_state")
        output = list(output.values()) if last is None else [last]
    if isinstance(output, list | tuple):
        return next((part for part in output if isinstance(part, Tensor)), None)
    return None


def _just_once(calls: Sequence[np.ndarray], path: str, n_images: int) -> np.ndarray:
    if len(calls) != 1:
        raise ValueError(
            f"the network runs layer {path!r} {len(calls)} times for a batch, expected once; "
            "name a module around it, or one that is used"
        )
    if len(calls[0]) != n_images:
        raise ValueError(
            f"layer {path!r} gives {len(calls[0])} rows for {n_images} images, expected one row "
            "an image; name another layer"
        )
    return calls[0]


def _pieces(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Images in order, float32, so many at a time."""
    for start in range(0, len(images), size):
        piece = np.asarray(images[start : start + size])
        yield np.array(piece, np.float32, order="C")  # a copy: torch warns of read-only arrays


def _opened(file: Path, n_rows: int) -> np.ndarray | None:
    """Memory-map a finished file, or None if there is none that is whole."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")
        whole = file.stat().st_size == array.offset + array.nbytes
    except Exception:  # numpy raises many kinds on a damaged file
        return None
    fits = array.ndim == 2 and array.dtype == np.float32 and array.flags.c_contiguous
    return array if whole and fits and len(array) == n_rows else None


def _sweep(folder: Path) -> None:
    """Remove unfinished files of processes that are gone."""
    for path in folder.glob(f"*{UNFINISHED}"):
        with contextlib.suppress(FileNotFoundError):  # another process may sweep as well
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def _keys(
    network: nn.Module,
    images: np.ndarray,
    images_key: str | None,
    paths: Iterable[str],
    pool: int | None,
) -> dict[str, str]:
    """Hashes that name what is kept, by layer."""
    shown = _digest_of_images(images) if images_key is None else f"named {images_key}"
    common = [FORMAT, _digest_of_network(network), shown, tuple(images.shape), pool]
    return {path: hashlib.sha256(repr([*common, path]).encode()).hexdigest() for path in paths}


def _digest_of_images(images: np.ndarray) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(images, PIECE):
        digest.update(piece.data)
    return digest.hexdigest()


def _digest_of_network(network: nn.Module) -> str:
    """Hash weights, buffers, printed architecture and plain attributes."""
    digest = hashlib.sha256(repr(network).encode())
    for path, part in network.named_modules(remove_duplicate=False):
        # a stride that is an attribute of a module is neither printed nor among its weights
        plain = {k: v for k, v in vars(part).items() if k[0] != "_" and _is_plain(v)}
        plain.pop("training")
        digest.update(repr((path, type(part).__qualname__, sorted(plain.items()))).encode())
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                values = tensor.detach().cpu().contiguous()
                digest.update(repr((path, name, values.dtype, tuple(values.shape))).encode())
                digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _named(network: nn.Module, layers: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Paths of layers by name, all of them in the network."""
    if isinstance(layers, str) or not layers:
        raise ValueError(f"expected a list or a mapping of at least one layer; got {layers!r}")
    named = dict(layers) if isinstance(layers, Mapping) else {path: path for path in layers}
    there = [path for path, _ in network.named_modules(remove_duplicate=False)]
    for path in named.values():
        if path not in there:
            close = difflib.get_close_matches(path, there, n=4, cutoff=0.4) or there[1:5]
            raise ValueError(
                f"{type(network).__name__} has no layer {path!r}; similar ones: "
                f"{', '.join(map(repr, close))}. Take a path of its named_modules()."
            )
    return named


def _check(images: np.ndarray, pool: int | None, batch_size: int) -> None:
    shape = tuple(images.shape)
    if len(shape) != 4 or 0 in shape or np.dtype(images.dtype).kind != "f":
        raise ValueError(
            "images must be floating-point numbers (image, channel, row, column), at least one; "
            f"got shape {shape} of {images.dtype}. Divide bytes by 255."
        )
    if batch_size < 1 or (pool is not None and pool < 1):
        raise ValueError(f"batch_size and pool must be at least 1; got {batch_size} and {pool}")
