"""Thousands of neurons of mouse V1 and some five thousand natural images: Sensorium 2022.

The seven recordings of the Sensorium competition (Willeke, Fahey, Bashiri and others 2022,
https://arxiv.org/abs/2206.08666), published as one archive each, which holds one small array for
every image and every response.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.fetch import checksum

URL = "https://gin.g-node.org/cajal/Sensorium2022"
LICENCE = "stated in the file LICENSE at the url; ask the authors before publishing"
HEIGHT, WIDTH = 144, 256  # pixels as published
SCALE = 4  # so many of them become one
BEHAVIOUR = {  # array of each trial -> its columns
    "behavior": ("pupil_size", "pupil_size_change", "running_speed"),
    "pupil_center": ("pupil_x", "pupil_y"),
}


def shrink(images: np.ndarray) -> np.ndarray:
    """Reduce images to a quarter in height and width, as the authors' loader does.

    It rescales by linear interpolation without smoothing: the centre of a new pixel falls between
    the four middle ones of the 4 x 4 that it stands for, and it is their mean. Patterns finer
    than the new pixels are not averaged away but folded back (aliasing).

    Parameters
    ----------
    images
        ``(..., row, column)``, both multiples of 4.

    Returns
    -------
    numpy.ndarray
        ``(..., row / 4, column / 4)``, float64.
    """
    left, right = SCALE // 2 - 1, SCALE // 2
    columns = images[..., left::SCALE].astype(np.float64) + images[..., right::SCALE]
    return (columns[..., left::SCALE, :] + columns[..., right::SCALE, :]) / 4


def read_sensorium2022(archive: Path) -> ImageResponses:
    """Read one of the seven recordings.

    Parameters
    ----------
    archive
        The published ``.zip``, or the folder that came out of it, with ``data/images/<k>.npy``
        (1, 144, 256) and ``data/responses/<k>.npy`` (neuron) for every trial k; ``meta/trials``
        with ``tiers``, ``frame_image_id`` and ``trial_idx``; ``meta/neurons`` with ``unit_ids``,
        ``cell_motor_coordinates`` (micrometres), ``area`` and ``layer``. ``data/behavior``,
        ``data/pupil_center`` and ``meta/statistics/images`` are read where there are any.

    Returns
    -------
    ImageResponses
        Responses ``("trial", "neuron")``, deconvolved calcium, float32, not standardized; tiers
        whose responses are all zero are withheld by the authors and left out. ``trials`` has
        ``tier`` (train, validation, test, final_test), ``image_id``, ``file`` (the k above) and
        behaviour; the images of the test tier are shown about ten times, all others once.
        ``images`` (image, 36, 64), float32, grey levels, see `shrink`. ``neurons`` has
        ``unit_id``, ``x_um``, ``y_um``, ``z_um``, ``area``, ``layer``.

    Raises
    ------
    ValueError
        A file is missing, damaged, of another form, or can be read with pickle only; the message
        names it.
    """
    with _Tree(archive) as tree:
        trials, ordered = _trials(tree)
        neurons = _neurons(tree)
        responses = _responses(tree, trials["file"].to_numpy(), len(neurons))
        withheld = _withheld(trials["tier"], responses)
        kept = ~trials["tier"].isin(withheld).to_numpy()
        if not kept.any():
            raise ValueError(f"{archive.name} holds no response other than 0: fetch it again.")
        trials = trials[kept].reset_index(drop=True)
        images = _images(tree, trials)
        trials, missing = _with_behaviour(tree, trials)
        steps = tuple(_steps(tree, trials, ordered, withheld, missing))
        sha256 = tree.sha256()
    attrs = {"quantity": "deconvolved calcium, one number an image", "units": "a.u."}
    return ImageResponses(
        responses=xr.DataArray(responses[kept], dims=("trial", "neuron"), attrs=attrs),
        trials=trials,
        neurons=neurons,
        provenance=_provenance(archive, sha256, steps),
        images=images,
    )


class _Tree:
    """The arrays of an archive or of a folder, by their path in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._zip = None
        if path.is_dir():
            names = (file.relative_to(path).as_posix() for file in path.rglob("*.npy"))
        else:
            self._zip = self._open()
            names = (name for name in self._zip.namelist() if name.endswith(".npy"))
        self.names = set(names)
        self.root = self._find_root()

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{self.path.name} is neither a folder nor a zip archive, or is cut short: fetch "
                f"it again (the site gives its archives one at a time only)."
            ) from error

    def _find_root(self) -> str:
        """Return the folder in which ``meta`` lies: the top one, or one below."""
        for name in sorted(self.names):
            place = PurePosixPath(name)
            if place.parts[-3:] == ("meta", "trials", "tiers.npy"):
                return "".join(f"{part}/" for part in place.parts[:-3])
        raise ValueError(
            f"{self.path.name} lacks meta/trials/tiers.npy. It may be the archive of other data, "
            f"or unpacked in part: unpack or fetch it again."
        )

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip is not None:
            self._zip.close()

    def has(self, name: str) -> bool:
        """Say whether there is such an array."""
        return f"{self.root}{name}.npy" in self.names

    def load(self, name: str, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
        """Load an array; None in its shape stands for any length."""
        full = f"{self.root}{name}.npy"
        if full not in self.names:
            raise ValueError(
                f"{self.path.name} lacks {name}.npy. It is incomplete: unpack or fetch it again."
            )
        content = self._read(full)
        value = self._decode(name, content)
        self._check_shape(name, value, shape)
        return value

    def _read(self, full: str) -> bytes:
        try:
            if self._zip is not None:
                return self._zip.read(full)
            content = (self.path / full).read_bytes()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(
                f"{full} in {self.path.name} is damaged ({error}): fetch the archive again."
            ) from error
        self._digest.update(full.encode() + b"\0" + content)
        return content

    def _decode(self, name: str, content: bytes) -> np.ndarray:
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError, SyntaxError) as error:
            if content.startswith(b"\x93NUMPY") and "pickle" in str(error):
                raise ValueError(
                    f"{name}.npy in {self.path.name} holds Python objects, which can be read with "
                    f"pickle only: that could run any code, and is not done. Save it again as "
                    f"plain numbers or words, for example numpy.save(path, numpy.array(list(x), "
                    f"dtype=str))."
                ) from error
            raise ValueError(
                f"{name}.npy in {self.path.name} is not a NumPy array, or cut short: unpack or "
                f"fetch the archive again."
            ) from error

    def _check_shape(
        self, name: str, value: np.ndarray, shape: tuple[int | None, ...] | None
    ) -> None:
        if shape is None:
            return
        pairs = zip(value.shape, shape, strict=False)
        if value.ndim != len(shape) or any(wanted not in (None, got) for got, wanted in pairs):
            expected = ", ".join("any" if wanted is None else str(wanted) for wanted in shape)
            raise ValueError(
                f"{name}.npy in {self.path.name} must have shape ({expected}); got {value.shape}. "
                f"It may be the archive of other data: fetch it again."
            )

    def sha256(self) -> str:
        """Return the checksum of the archive, or of all that was read from the folder."""
        if self._zip is None:
            return self._digest.hexdigest()
        return checksum(self.path, "sha256").partition(":")[2]


def _trials(tree: _Tree) -> tuple[pd.DataFrame, bool]:
    """Return the trials, in order of recording if that is known, and whether it is."""
    tier = tree.load("meta/trials/tiers", (None,)).astype(str)
    image_id = tree.load("meta/trials/frame_image_id", tier.shape)
    index = tree.load("meta/trials/trial_idx", tier.shape)
    file = np.arange(len(tier))
    # Where the order is withheld the numbers are hashes, far apart, or words.
    ordered = (
        index.dtype.kind in "iuf"
        and len(np.unique(index)) == len(index)
        and np.ptp(index) < 10 * len(index)
    )
    order = np.argsort(index) if ordered else file
    stimulus = np.unique(image_id, return_inverse=True)[1].ravel()
    columns = {
        "stimulus": stimulus.astype(np.int64),
        "session": np.zeros(len(tier), np.int64),
        "tier": tier,
        "image_id": image_id,
        "file": file,
    }
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True), ordered


def _neurons(tree: _Tree) -> pd.DataFrame:
    unit = tree.load("meta/neurons/unit_ids", (None,))
    x, y, z = tree.load("meta/neurons/cell_motor_coordinates", (len(unit), 3)).T
    place = {"x_um": x, "y_um": y, "z_um": z}
    words = {
        name: tree.load(f"meta/neurons/{name}", unit.shape).astype(str)
        for name in ("area", "layer")
    }
    return pd.DataFrame({"unit_id": unit} | place | words).rename_axis("neuron")


def _responses(tree: _Tree, files: np.ndarray, n_neurons: int) -> np.ndarray:
    responses = np.empty((len(files), n_neurons), np.float32)
    for row, k in enumerate(files):
        responses[row] = _finite(tree, f"data/responses/{k}", (n_neurons,))
    return responses


def _images(tree: _Tree, trials: pd.DataFrame) -> np.ndarray:
    """Return the image of each stimulus, small, and renumber the stimuli from 0."""
    known, first, stimulus = np.unique(trials["stimulus"], return_index=True, return_inverse=True)
    trials["stimulus"] = stimulus.ravel().astype(np.int64)
    images = np.empty((len(known), HEIGHT // SCALE, WIDTH // SCALE), np.float32)
    order = np.r_[first, np.setdiff1d(np.arange(len(trials)), first)]
    for position, row in enumerate(order):
        trial = trials.iloc[row]
        name = f"data/images/{trial['file']}"
        image = shrink(_finite(tree, name, (1, HEIGHT, WIDTH))[0]).astype(np.float32)
        if position < len(first):
            images[trial["stimulus"]] = image
        elif not np.array_equal(images[trial["stimulus"]], image):
            raise ValueError(
                f"{name}.npy in {tree.path.name} is another image than that of the earlier trials "
                f"with frame_image_id {trial['image_id']}. The archive is damaged: fetch it again."
            )
    return images


def _finite(tree: _Tree, name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = tree.load(name, shape)
    if value.dtype.kind not in "biuf" or not np.isfinite(value).all():
        raise ValueError(
            f"{name}.npy in {tree.path.name} must hold finite numbers; got {value.dtype} with NaN "
            f"or infinity, or no numbers. Fetch the archive again."
        )
    return value


def _withheld(tier: pd.Series, responses: np.ndarray) -> list[str]:
    silent = ~responses.any(axis=1)
    return sorted(name for name in tier.unique() if silent[(tier == name).to_numpy()].all())


def _with_behaviour(tree: _Tree, trials: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Add the behaviour that was recorded and is published, and say which is not."""
    missing = []
    for name, columns in BEHAVIOUR.items():
        files = [f"data/{name}/{k}" for k in trials["file"]]
        values = np.zeros((1, len(columns)))
        if tree.has(files[0]):
            values = np.stack([tree.load(file).ravel() for file in files])
        if values.shape[1] != len(columns):
            raise ValueError(
                f"data/{name} in {tree.path.name} must hold {len(columns)} numbers a trial; got "
                f"{values.shape[1]}. It may be the archive of other data: fetch it again."
            )
        if values.any():
            trials[list(columns)] = values
        else:
            missing.append(name)
    return trials, missing


def _steps(
    tree: _Tree, trials: pd.DataFrame, ordered: bool, withheld: list[str], missing: list[str]
) -> Iterator[str]:
    """Say what was done, one sentence a step."""
    yield "recorder: calcium traces deconvolved, one number for each neuron and image"
    yield (
        "trials in order of recording"
        if ordered
        else "trials in the order of the files: that of recording is withheld"
    )
    for tier in withheld:
        yield f"tier {tier} left out: its responses are withheld (all zero)"
    for name in missing:
        yield f"{name} not given: it is withheld (all zero) or was not recorded"
    counts = trials["tier"].value_counts()
    yield "trials: " + ", ".join(f"{counts[tier]} {tier}" for tier in sorted(counts.index))
    yield (
        f"images: {HEIGHT} x {WIDTH} pixels reduced to {HEIGHT // SCALE} x {WIDTH // SCALE} by "
        f"linear interpolation without smoothing, as by the authors' loader"
    )
    statistics = [f"meta/statistics/images/all/{name}" for name in ("mean", "std")]
    if all(map(tree.has, statistics)):
        mean, sd = (float(tree.load(name).mean()) for name in statistics)
        yield (
            f"grey levels as published; for its networks the authors subtract {mean:.6g} and "
            f"divide by {sd:.6g}"
        )


def _provenance(archive: Path, sha256: str, steps: tuple[str, ...]) -> Provenance:
    named = re.match(r"static(\d+-\d+-\d+)-", archive.name)
    recording = named[1] if named else archive.name
    return Provenance(
        source=f"Sensorium 2022, Willeke, Fahey, Bashiri and others, recording {recording}",
        citation="willeke2022",
        licence=LICENCE,
        url=URL,
        sha256={archive.name: sha256},
        preprocessing=steps,
    )
