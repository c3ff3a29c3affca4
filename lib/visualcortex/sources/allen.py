"""What the recordings of the Allen Brain Observatory share: 118 natural scenes and their times."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.hdf5 import open_hdf5
from visualcortex.sources.nwb import check_shape, dataset

N_SCENES = 118
BLANK = -1  # the number that stands for a grey screen
HEIGHT, WIDTH = 918, 1174  # pixels of a scene as published
BLOCK = 17  # pixels whose mean becomes one, along either axis
STACK = "stimulus/templates/natural_scenes_image_stack/data"
TEMPLATES = "natural_scene_templates"  # the folder of the scenes in the cache of the AllenSDK
LICENCE = "Allen Institute Terms of Use"
BUCKET = "https://allen-brain-observatory.s3.amazonaws.com/visual-coding-neuropixels/ecephys-cache"


def read_scenes(path: Path, *, block: int = BLOCK) -> np.ndarray:
    """Read the natural scenes, reduced in size.

    Parameters
    ----------
    path
        The folder ``natural_scene_templates`` of the AllenSDK's cache, which holds
        ``natural_scene_0.tiff`` to ``natural_scene_117.tiff``; or a two-photon NWB file, which
        holds them as a stack.
    block
        Each square of that many pixels becomes its mean; columns and rows that are left over at
        the right and at the bottom are dropped. 1 leaves the scenes as published.

    Returns
    -------
    numpy.ndarray
        ``(118, 918 // block, 1174 // block)``, float32, grey levels from 0 to 255.

    Raises
    ------
    ValueError
        A scene is missing or of another size; the message says where to get it.
    """
    if isinstance(block, bool) or not 1 <= block <= HEIGHT:
        raise ValueError(f"block must be 1 to {HEIGHT} pixels; got {block!r}. The default is 17.")
    if path.is_dir():
        return _reduce((_read_scene(path, k) for k in range(N_SCENES)), block)
    with open_hdf5(path, "NWB (HDF5)") as file:
        stack = dataset(file, STACK, "Scenes were not shown in this session: take a session B.")
        check_shape(stack, (N_SCENES, HEIGHT, WIDTH))
        return _reduce((_check_scene(stack[k], path.name) for k in range(N_SCENES)), block)


def image_responses(
    values: np.ndarray,
    table: pd.DataFrame,
    neurons: pd.DataFrame,
    images: np.ndarray,
    attrs: dict[str, str],
    provenance: Provenance,
) -> ImageResponses:
    """Return the recording, the grey screens set apart.

    Parameters
    ----------
    values
        ``(presentation, neuron)``.
    table
        One row a presentation in order of time, with ``frame``, ``session``, ``presentation`` and
        ``start_s``.
    neurons, images, attrs, provenance
        As in `ImageResponses`.
    """

    def activity(rows: np.ndarray) -> xr.DataArray:
        """Responses to some presentations."""
        return xr.DataArray(values[rows], dims=("trial", "neuron"), attrs=attrs)

    frame = table["frame"].to_numpy()
    shown, grey = np.flatnonzero(frame != BLANK), np.flatnonzero(frame == BLANK)
    trials = table.iloc[shown].rename(columns={"frame": "stimulus"}).reset_index(drop=True)
    return ImageResponses(
        responses=activity(shown),
        trials=trials,
        neurons=neurons.reset_index(drop=True).rename_axis("neuron"),
        provenance=provenance,
        images=images,
        grey=activity(grey) if len(grey) else None,
    )


def presentations(
    frame: np.ndarray, start: np.ndarray, stop: np.ndarray, *, gap: float, name: str
) -> pd.DataFrame:
    """Return the presentations in order of time.

    Parameters
    ----------
    frame
        Number of the scene, -1 for grey, ``(presentation,)``.
    start, stop
        Onset and end, ``(presentation,)``, in one unit of time.
    gap
        A pause longer than this, in that unit, parts two stretches of recording.
    name
        Name of the file, for messages.

    Returns
    -------
    pandas.DataFrame
        Columns ``frame``, ``session`` (the stretch, from 0), ``presentation`` (the row in the
        file), ``start`` and ``stop``.

    Raises
    ------
    ValueError
        A frame is not one of the 118 scenes or grey, all are grey, or a time is not a time.
    """
    known = np.isin(frame, np.arange(BLANK, N_SCENES))
    if not known.all() or not len(frame):
        got = f"{frame[~known][0]:g} in row {np.argmin(known)}" if len(frame) else "none"
        raise ValueError(
            f"the natural scenes of {name} must be numbered 0 to {N_SCENES - 1}, and {BLANK} for "
            f"grey; got {got}. It may be the table of another stimulus, or damaged: fetch the "
            f"file again."
        )
    if (frame == BLANK).all():
        raise ValueError(f"{name} shows grey screens only; expected natural scenes.")
    if not (np.isfinite(start) & np.isfinite(stop) & (stop > start)).all():
        raise ValueError(
            f"every natural scene of {name} must end after it starts; got NaN or a stop before "
            f"its start. The table is damaged: fetch the file again."
        )
    order = np.argsort(start, kind="stable")
    session = np.r_[0, np.cumsum(start[order][1:] - stop[order][:-1] > gap)]
    columns = {
        "frame": frame[order].astype(np.int64),
        "session": session.astype(np.int64),
        "presentation": order.astype(np.int64),
    }
    return pd.DataFrame(columns | {"start": start[order], "stop": stop[order]})


def describe_scenes(block: int) -> str:
    """Say what was done to the scenes, as a step of preprocessing."""
    if block == 1:
        return f"images: the {N_SCENES} scenes as published, {HEIGHT} x {WIDTH} pixels"
    return (
        f"images: the {N_SCENES} scenes, means of {block} x {block} pixels of {HEIGHT} x {WIDTH}; "
        f"{HEIGHT % block} rows at the bottom and {WIDTH % block} columns at the right left over"
    )


def _reduce(scenes: Iterable[np.ndarray], block: int) -> np.ndarray:
    height, width = HEIGHT // block, WIDTH // block
    reduced = np.empty((N_SCENES, height, width), np.float32)
    for k, scene in enumerate(scenes):
        whole = scene[: height * block, : width * block].astype(np.float32)
        reduced[k] = whole.reshape(height, block, width, block).mean((1, 3))
    return reduced


def _read_scene(folder: Path, k: int) -> np.ndarray:
    from matplotlib.image import imread

    path = folder / f"natural_scene_{k}.tiff"
    remedy = (
        f"Get it from {BUCKET}/{TEMPLATES}/{path.name}, or all of them with the AllenSDK: "
        f"EcephysProjectCache.from_warehouse(manifest=...).get_natural_scene_template(k) for k "
        f"from 0 to {N_SCENES - 1}."
    )
    if not path.is_file():
        raise ValueError(f"{folder} lacks {path.name}, one of the {N_SCENES} scenes. {remedy}")
    try:
        scene = imread(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is not an image, or cut short. {remedy}") from error
    return _check_scene(scene, path.name)


def _check_scene(scene: np.ndarray, name: str) -> np.ndarray:
    if scene.shape != (HEIGHT, WIDTH):
        raise ValueError(
            f"a natural scene in {name} must have {HEIGHT} x {WIDTH} grey pixels; got shape "
            f"{scene.shape}. It may be another image: fetch it again."
        )
    if not np.isfinite(scene).all():
        raise ValueError(f"a natural scene in {name} holds NaN or infinity: fetch it again.")
    return scene
