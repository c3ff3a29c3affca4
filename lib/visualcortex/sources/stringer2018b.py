"""Ten thousand neurons of mouse visual cortex, each of 2,800 natural images shown twice.

The seven recordings ``natimg2800`` of Stringer, Pachitariu, Steinmetz, Carandini and Harris
(2019), published at https://doi.org/10.25378/janelia.6845348 as MATLAB files of one recording each
and one file of the images; the categories of the images lie beside the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.fetch import checksum, data_folder
from visualcortex.sources.matlab import read_matlab
from visualcortex.sources.neutral import Arrays, Put, copy_name, neutral_copy

N_IMAGES = 2800
GREY = N_IMAGES + 1  # the number that stands for a grey screen
HEIGHT, WIDTH = 68, 270  # pixels of 1 degree; three screens side by side
SCREENS = {"left": slice(0, 90), "centre": slice(90, 180), "right": slice(180, 270)}
ATTRS = {"quantity": "deconvolved fluorescence, mean of two frames", "units": "a.u."}
ROWS = 256  # trials converted at a time


@dataclass(frozen=True)
class Field:
    """Where the receptive fields of a recording lie, as Pospisil and Pillow (2025) found them.

    Parameters
    ----------
    rows, columns
        First and last pixel, degrees from the top and the left of the three screens.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def screen(self) -> str:
        """The screen on which the middle of the field lies."""
        middle = sum(self.columns) / 2
        return next(name for name, part in SCREENS.items() if part.start <= middle < part.stop)


FIELDS = {
    "M170714_MP032_2017-09-14": Field((10, 45), (90, 130)),
    "M160825_MP027_2016-12-14": Field((25, 65), (35, 85)),
    "M161025_MP030_2017-05-29": Field((25, 65), (95, 145)),
    "M170604_MP031_2017-06-28": Field((25, 65), (90, 135)),
    "M170714_MP032_2017-08-07": Field((20, 55), (20, 60)),
    "M170717_MP033_2017-08-20": Field((5, 60), (90, 150)),
    "M170717_MP034_2017-09-11": Field((20, 60), (90, 135)),
}


def read_stringer2018b(
    recording: Path, images: Path, classes: Path, *, folder: Path | None = None
) -> ImageResponses:
    """Read one of the seven recordings.

    What is read is kept as memory-mapped arrays, so that it loads at once the next time. Where
    that is not possible everything is held in memory, and the provenance says so.

    Parameters
    ----------
    recording
        ``natimg2800_<mouse>_<date>.mat`` with ``stim.resp`` (presentation, neuron), ``stim.istim``
        (1 to 2800; 2801 is grey), ``stim.spont`` (time, neuron), ``med`` (neuron, 3; micrometres)
        and, in some recordings, ``stat.redcell``. Its name must be the published one: it decides
        at which screen the recorded neurons look.
    images
        ``images_natimg2800_all.mat`` with ``imgs`` (68, 270, 2800).
    classes
        ``stimuli_class_assignment_confident.mat`` with ``class_assignment`` (2800) from 0 and
        ``class_names``.
    folder
        Where the arrays are kept; ``stringer2018b/neutral`` in the data folder by default.

    Returns
    -------
    ImageResponses
        Responses and grey screens ``("trial", "neuron")`` in order of presentation, float32, a.u.;
        ``trials`` has ``presentation``, the row in the file; ``spontaneous`` ``("time",
        "neuron")``; ``neurons`` has ``x_um``, ``y_um``, ``z_um`` and ``red`` (a labelled
        inhibitory neuron; kept); ``images`` (2800, 68, 90), float32, of the screen on which the
        receptive fields lie, grey levels as published.

    Raises
    ------
    ValueError
        A file is not of that form; the message names it and what is wrong.
    """
    folder = data_folder() / "stringer2018b" / "neutral" if folder is None else folder
    name = _recording_name(recording)
    screen = FIELDS[name].screen
    kept = neutral_copy(folder / copy_name(recording), lambda put: _convert(recording, put))
    shown = neutral_copy(
        folder / copy_name(images, screen), lambda put: _convert_images(images, screen, put)
    )
    sha256 = {recording.name: kept[1]["sha256"], images.name: shown[1]["sha256"]}
    sha256[classes.name] = _sha256(classes)
    steps = (
        *_steps(name, kept[0]["stimulus"], kept[1]),
        *_unkept(recording, kept[2]),
        *_unkept(images, shown[2]),
    )
    categories = read_categories(classes)
    return _package(kept[0], shown[0]["images"], categories, _provenance(name, sha256, steps))


def read_categories(path: Path) -> pd.DataFrame:
    """Read the category of every image.

    Parameters
    ----------
    path
        MATLAB file with ``class_assignment`` (2800), numbers from 0 into ``class_names``.

    Returns
    -------
    pandas.DataFrame
        One row an image; column ``category``, a word, ``"unknown"`` where nobody is sure.

    Raises
    ------
    ValueError
        The file is not of that form.
    """
    found = _read(path, ("class_assignment", "class_names"))
    number = _numbers(found, "class_assignment", path).ravel()
    names = found["class_names"]
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"class_names in {path.name} must be a cell array of words.")
    if len(number) != N_IMAGES or not np.isin(number, np.arange(len(names))).all():
        raise ValueError(
            f"class_assignment in {path.name} must be {N_IMAGES} numbers from 0 to "
            f"{len(names) - 1}, one for each image; got {len(number)} from {number.min():g} to "
            f"{number.max():g}. It may be a file of another version."
        )
    return pd.DataFrame({"category": np.array(names)[number.astype(np.int64)]})


def _recording_name(path: Path) -> str:
    name = path.stem.removeprefix("natimg2800_")
    if name not in FIELDS:
        raise ValueError(
            f"{path.name} is not the name of one of the seven recordings, so that it cannot be "
            f"known at which screen its neurons look; expected natimg2800_<recording>.mat with "
            f"one of {', '.join(FIELDS)}. Give it its published name."
        )
    return name


def _convert(path: Path, put: Put) -> dict:
    """Check a recording and store its arrays; return what else the provenance needs."""
    red = _read_red(path)  # first, and let go of: the table of cells is large
    found = _read(path, ("stim.resp", "stim.istim", "stim.spont", "med"))
    responses = _numbers(found, "stim.resp", path)
    stimulus = _check_stimulus(_numbers(found, "stim.istim", path), responses, path)
    n_neurons = responses.shape[1]
    spontaneous = _check_spontaneous(_numbers(found, "stim.spont", path), n_neurons, path)
    position = _check_positions(_numbers(found, "med", path), n_neurons, path)
    _check_red(red, n_neurons, path)
    n_nan = {
        "stim.resp": _count_nan(responses, "stim.resp", path),
        "stim.spont": _count_nan(spontaneous, "stim.spont", path),
    }
    shown, grey = np.flatnonzero(stimulus < GREY), np.flatnonzero(stimulus == GREY)
    _put_rows(put, "responses", responses, shown)
    _put_rows(put, "grey", responses, grey)
    _put_rows(put, "spontaneous", spontaneous, np.arange(len(spontaneous)))
    put("stimulus", (len(shown),), np.int64, [stimulus[shown] - 1])
    put("presentation", (len(shown),), np.int64, [shown])
    put("position", (n_neurons, 3), np.float64, [position])
    put("red", (n_neurons,), np.bool_, [np.zeros(n_neurons, bool) if red is None else red])
    n_grey, labelled = len(grey), red is not None
    return {"sha256": _sha256(path), "n_nan": n_nan, "n_grey": n_grey, "labelled": labelled}


def _convert_images(path: Path, screen: str, put: Put) -> dict:
    images = _numbers(_read(path, ("imgs",)), "imgs", path)
    if images.shape != (HEIGHT, WIDTH, N_IMAGES):
        raise ValueError(
            f"imgs in {path.name} must be {HEIGHT} x {WIDTH} pixels x {N_IMAGES} images; got "
            f"{' x '.join(map(str, images.shape))}. It may be the file of other stimuli."
        )
    crop = images[:, SCREENS[screen]].transpose(2, 0, 1)  # (K, H, W)
    if not all(np.isfinite(crop[k]).all() for k in range(N_IMAGES)):
        raise ValueError(f"imgs in {path.name} must be finite; got NaN. Fetch it again.")
    blocks = (crop[start : start + ROWS] for start in range(0, N_IMAGES, ROWS))
    put("images", crop.shape, np.float32, blocks)
    return {"sha256": _sha256(path)}


def _read(path: Path, names: tuple[str, ...]) -> dict:
    found = read_matlab(path, names)
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{path.name} lacks {', '.join(missing)}. It may be the file of other stimuli or be "
            f"cut short: fetch it again."
        )
    return found


def _numbers(found: dict, name: str, path: Path) -> np.ndarray:
    value = found[name]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or not value.size:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:60]
        raise ValueError(
            f"{name} in {path.name} must be an array of real numbers, not empty; got {got}. "
            f"It may be a file of another kind."
        )
    return value


def _read_red(path: Path) -> np.ndarray | None:
    """Read which cells carry the red label, ``(neuron,)``; None where nothing was labelled."""
    value = read_matlab(path, ("stat.redcell",)).get("stat.redcell")
    if value is None:
        return None
    cells = value if isinstance(value, list) else [value]
    return np.concatenate([np.ravel(cell) for cell in cells]) != 0


def _check_stimulus(number: np.ndarray, responses: np.ndarray, path: Path) -> np.ndarray:
    """Return the number of the stimulus of every row, ``(presentation,)``, from 1."""
    if responses.ndim != 2 or number.size != len(responses):
        raise ValueError(
            f"{path.name} must have one row of stim.resp (presentation, neuron) for each stimulus "
            f"in stim.istim; got shape {responses.shape} for {number.size} stimuli. Transpose "
            f"stim.resp if its rows are neurons, or fetch the file again."
        )
    if not np.isin(number, np.arange(1, GREY + 1)).all():
        raise ValueError(
            f"stim.istim in {path.name} must hold whole numbers from 1 to {N_IMAGES}, and {GREY} "
            f"for grey; got {number.min():g} to {number.max():g}. Count the images from 1, as "
            f"MATLAB does; the file of other stimuli cannot be read."
        )
    if number.min() == GREY:
        raise ValueError(f"stim.istim in {path.name} holds grey screens only; expected images.")
    return number.ravel().astype(np.int64)


def _check_spontaneous(values: np.ndarray, n_neurons: int, path: Path) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != n_neurons:
        raise ValueError(
            f"stim.spont in {path.name} must be (time, {n_neurons}), with the neurons of "
            f"stim.resp; got {values.shape}. Transpose it if its rows are neurons."
        )
    return values


def _check_positions(values: np.ndarray, n_neurons: int, path: Path) -> np.ndarray:
    if values.shape != (n_neurons, 3):
        raise ValueError(
            f"med in {path.name} must be ({n_neurons}, 3), the position of every neuron of "
            f"stim.resp; got {values.shape}. Transpose it if its columns are neurons."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"med in {path.name} must hold finite positions; got NaN or infinity.")
    return values


def _check_red(red: np.ndarray | None, n_neurons: int, path: Path) -> None:
    if red is not None and len(red) != n_neurons:
        raise ValueError(
            f"stat.redcell in {path.name} must hold one number for each of the {n_neurons} "
            f"neurons of stim.resp; got {len(red)}. Without labels the field must be absent."
        )


def _count_nan(values: np.ndarray, name: str, path: Path) -> int:
    """Count NaN, some columns at a time, as they lie in memory; refuse infinity."""
    n_nan = 0
    for start in range(0, values.shape[1], ROWS):
        columns = values[:, start : start + ROWS]
        if not np.isfinite(columns).all():
            n_nan += int(np.isnan(columns).sum())
            if np.isinf(columns).any():
                raise ValueError(
                    f"{name} in {path.name} must not be infinite; got infinity in one of the "
                    f"neurons from {start} on. It may be damaged: fetch it again."
                )
    return n_nan


def _put_rows(put: Put, name: str, values: np.ndarray, rows: np.ndarray) -> None:
    """Store some rows, some at a time, as float32; NaN as 0. Nothing if there are none."""
    if not len(rows):
        return

    def blocks() -> Iterator[np.ndarray]:
        """Read a few rows at a time, so that memory holds no more."""
        for start in range(0, len(rows), ROWS):
            block = values[rows[start : start + ROWS]].astype(np.float32, order="C")
            block[np.isnan(block)] = 0
            yield block

    put(name, (len(rows), values.shape[1]), np.float32, blocks())


def _package(
    arrays: Arrays, images: np.ndarray, stimuli: pd.DataFrame, provenance: Provenance
) -> ImageResponses:
    stimulus, presentation = (np.array(arrays[name]) for name in ("stimulus", "presentation"))
    session = np.zeros(len(stimulus), np.int64)
    trials = {"stimulus": stimulus, "session": session, "presentation": presentation}
    return ImageResponses(
        responses=_activity(arrays["responses"], "trial"),
        trials=pd.DataFrame(trials),
        neurons=_neurons(arrays),
        provenance=provenance,
        images=images,
        spontaneous=_activity(arrays["spontaneous"], "time"),
        stimuli=stimuli,
        grey=_activity(arrays["grey"], "trial") if "grey" in arrays else None,
    )


def _activity(values: np.ndarray, first: str) -> xr.DataArray:
    return xr.DataArray(values, dims=(first, "neuron"), attrs=dict(ATTRS))


def _neurons(arrays: Arrays) -> pd.DataFrame:
    x, y, z = np.array(arrays["position"]).T
    red = np.array(arrays["red"])
    index = pd.RangeIndex(len(red), name="neuron")
    return pd.DataFrame({"x_um": x, "y_um": y, "z_um": z, "red": red}, index=index)


def _provenance(name: str, sha256: dict[str, str], steps: tuple[str, ...]) -> Provenance:
    _, mouse, date = name.split("_")
    return Provenance(
        source=f"Stringer, Pachitariu, Steinmetz, Carandini and Harris, mouse {mouse}, {date}",
        citation="stringer2019",
        licence="none stated",
        url="https://doi.org/10.25378/janelia.6845348",
        sha256=sha256,
        preprocessing=steps,
    )


def _steps(name: str, stimulus: np.ndarray, facts: dict) -> Iterator[str]:
    """Say what was done, one sentence a step."""
    yield "recorder: Suite2p, deconvolved; mean of the two frames from the onset of an image"
    yield f"{facts['n_grey']} presentations of a grey screen set apart"
    times = np.bincount(np.bincount(stimulus, minlength=N_IMAGES), minlength=4)
    yield (
        f"of the {N_IMAGES} images {times[2]} have two presentations, {times[1]} one, {times[0]} "
        f"none and {times[3:].sum()} more; all are kept"
    )
    n_nan = facts["n_nan"]
    yield (
        f"NaN set to 0, as by the recorders: {n_nan['stim.resp']} in the responses, "
        f"{n_nan['stim.spont']} in the spontaneous activity"
    )
    if facts["labelled"]:
        yield "inhibitory neurons with a red label are marked, and kept"
    else:
        yield "no red label was recorded: column red is False throughout, which says nothing"
    field = FIELDS[name]
    part = SCREENS[field.screen]
    yield (
        f"images: columns {part.start} to {part.stop - 1} of {WIDTH}, the {field.screen} screen "
        f"(1 degree a pixel), for the receptive fields lie in rows {field.rows[0]} to "
        f"{field.rows[1]}, columns {field.columns[0]} to {field.columns[1]} (Pospisil and Pillow "
        f"2025)"
    )


def _unkept(path: Path, fault: str) -> Iterator[str]:
    if fault:
        yield f"{path.name} held in memory: no copy for faster loading could be kept ({fault})"


def _sha256(path: Path) -> str:
    return checksum(path, "sha256").partition(":")[2]
