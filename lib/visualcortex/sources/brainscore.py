"""Monkey V4 and IT and the 64 objects, with all repeats: the Brain-Score edition of Majaj 2015.

Brain-Score (Schrimpf and others 2018) publishes the recording of Majaj, Hong, Solomon and DiCarlo
(2015) as a netCDF-4 file of single presentations, a table of the images and an archive of them. The
public part are the 3,200 images of variation 0 and 3, each shown about 46 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.fetch import checksum
from visualcortex.sources.hdf5 import axes, open_hdf5
from visualcortex.sources.lazy_images import ZipImages
from visualcortex.sources.nwb import numbers, words

URL = "https://www.brain-score.org"
DIMENSIONS = ("presentation", "neuroid", "time_bin")
IDS = ("stimulus_id", "image_id")  # two names of one column, the newer first
SITE_COLUMNS = {  # in the file -> in the table; those after "region" where there are any
    "neuroid_id": "site",
    "animal": "animal",
    "region": "region",
    "subregion": "subregion",
    "hemisphere": "hemisphere",
}
REQUIRED = ("neuroid_id", "animal", "region")
STIMULUS_COLUMNS = {"object_name": "object", "category_name": "category", "variation": "variation"}
WORDS = (*IDS, "filename", "object_name", "category_name")  # columns of words in the table
SIZE = (256, 256)  # pixels
ROWS = 8192  # presentations read at a time, or as many as the file stores in one piece


@dataclass(frozen=True)
class _Assembly:
    """The parts of the file that are in memory: one row a presentation, one column a site."""

    rates: np.ndarray
    ids: np.ndarray
    repetition: np.ndarray
    sites: pd.DataFrame
    window: tuple[int, int]


def read_majaj2015_public(
    assembly: Path, stimuli: Path, images: Path | None = None, *, region: str = "IT"
) -> ImageResponses:
    """Read the single presentations for the sites of one region.

    Parameters
    ----------
    assembly
        ``assy_dicarlo_MajajHong2015_public.nc``: one variable of rates with the dimensions
        neuroid, presentation and time_bin in any order (one time bin), and variables along them:
        ``neuroid_id``, ``animal`` and ``region``; ``image_id`` or ``stimulus_id`` and
        ``repetition``; ``time_bin_start`` and ``time_bin_end``, ms.
    stimuli
        ``stimulus_hvm-public.csv`` with ``image_id`` or ``stimulus_id``, ``filename``,
        ``object_name``, ``category_name`` and ``variation``.
    images
        ``stimulus_hvm-public.zip`` with the images as PNG, where they are needed.
    region
        ``"IT"`` (168 sites) or ``"V4"`` (88 sites).

    Returns
    -------
    ImageResponses
        Responses ``("trial", "neuron")``, float32, one trial a presentation, in the order of the
        file; ``trials`` has ``repetition``. A presentation for which a site of the region has no
        value is left out and counted in the provenance. ``stimuli`` has ``stimulus_id``,
        ``object``, ``category``, ``variation`` and ``file``; ``images``, if given, are `ZipImages`
        (image, 3, 256, 256), RGB from 0 to 1. ``neurons`` has ``site``, ``animal``, ``region``
        and, where given, ``subregion`` and ``hemisphere``. No more than the sites of the region
        and a piece of the file are in memory.

    Raises
    ------
    ValueError
        Unknown region; a file is damaged or of another form; files do not belong together. The
        message says what is wrong.
    """
    table = _stimuli(stimuli)
    with open_hdf5(assembly) as file:
        read, left_out = _without_gaps(_read(file, region), assembly)
    stimulus = _positions(read.ids, table["stimulus_id"], assembly, stimuli)
    window = f"{read.window[0]}-{read.window[1]} ms"
    attrs = {"quantity": f"rate, {window}, normalised", "units": "a.u."}
    files = [path for path in (assembly, stimuli, images) if path is not None]
    steps = tuple(_steps(read, window, left_out, len(table) - len(np.unique(stimulus))))
    return ImageResponses(
        responses=xr.DataArray(read.rates, dims=("trial", "neuron"), attrs=attrs),
        trials=pd.DataFrame({"stimulus": stimulus, "session": 0, "repetition": read.repetition}),
        neurons=read.sites,
        provenance=_provenance(files, steps),
        images=None if images is None else _images(images, table),
        stimuli=table,
    )


def _stimuli(path: Path) -> pd.DataFrame:
    """Read the table of the images."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(WORDS, str))
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(
            f"{path.name} is not a comma-separated table ({error}): fetch it again."
        ) from error
    id_column = next((name for name in IDS if name in table), IDS[0])
    missing = [name for name in (id_column, "filename", *STIMULUS_COLUMNS) if name not in table]
    if missing:
        raise ValueError(
            f"{path.name} must have the columns {id_column}, filename and "
            f"{', '.join(STIMULUS_COLUMNS)}; missing: {', '.join(missing)}. It may be the table "
            f"of other images."
        )
    known = table.rename(columns=STIMULUS_COLUMNS | {id_column: "stimulus_id", "filename": "file"})
    known = known[["stimulus_id", *STIMULUS_COLUMNS.values(), "file"]]
    _check_stimuli(known, path)
    known["category"] = known["category"].str.lower()
    return known


def _check_stimuli(table: pd.DataFrame, path: Path) -> None:
    empty = [name for name in table if table[name].isna().any()]
    if empty or not len(table):
        raise ValueError(
            f"{path.name} must describe every image; there are gaps in "
            f"{', '.join(empty) or 'all columns'}. It may be cut short: fetch it again."
        )
    if not pd.api.types.is_integer_dtype(table["variation"].dtype):
        raise ValueError(
            f"variation in {path.name} must hold integers; got {table['variation'].iloc[0]!r}. It "
            f"may be the table of other images."
        )
    repeated = table["stimulus_id"][table["stimulus_id"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"{path.name} must name every image once; got {repeated.iloc[0]!r} more than once. "
            f"It may be damaged: fetch it again."
        )


def _read(file: h5py.File, region: str) -> _Assembly:
    node, order = _variable(file)
    lengths = {name: node.shape[axis] for name, axis in order.items()}
    sites = _sites(file, lengths["neuroid"])
    chosen = np.flatnonzero(sites["region"] == region)
    if not len(chosen):
        raise ValueError(
            f"region must be one of {', '.join(sorted(sites['region'].unique()))}; got {region!r}."
        )
    n_presentations = lengths["presentation"]
    id_column = next((name for name in IDS if name in file), IDS[0])
    window = [numbers(file, f"time_bin_{end}", (1,)) for end in ("start", "end")]
    neurons = sites.iloc[chosen].reset_index(drop=True).rename_axis("neuron")
    return _Assembly(
        rates=_rates(node, order, chosen),
        ids=words(file, id_column, n_presentations),
        repetition=_integers(file, "repetition", n_presentations),
        sites=neurons,
        window=(int(window[0][0]), int(window[1][0])),
    )


def _without_gaps(read: _Assembly, path: Path) -> tuple[_Assembly, int]:
    """Leave out the presentations for which a site has no value, and say how many."""
    whole = np.array([np.isfinite(row).all() for row in read.rates])  # row by row: no large mask
    if whole.all():
        return read, 0
    if not whole.any():
        raise ValueError(
            f"{path.name} has no presentation for which all {len(read.sites)} sites have a value. "
            f"It may be of another edition, or damaged: fetch it again."
        )
    parts = {name: getattr(read, name)[whole] for name in ("rates", "ids", "repetition")}
    return replace(read, **parts), int(np.count_nonzero(~whole))


def _variable(file: h5py.File) -> tuple[h5py.Dataset, dict[str, int]]:
    """Return the variable of the rates and which axis each dimension is."""
    name = Path(file.filename).name
    found = [
        node
        for node in file.values()
        if isinstance(node, h5py.Dataset) and sorted(axes(node)) == sorted(DIMENSIONS)
    ]
    if len(found) != 1 or found[0].dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must hold one variable of numbers with the dimensions "
            f"{', '.join(DIMENSIONS)}; got {len(found)}. It may be another netCDF file."
        )
    order = {dimension: axes(found[0]).index(dimension) for dimension in DIMENSIONS}
    bins = found[0].shape[order["time_bin"]]
    if bins != 1:
        raise ValueError(
            f"{name} must hold one time bin (70 to 170 ms); got {bins}. It may be the edition with "
            f"the time course: the one without is read here."
        )
    return found[0], order


def _sites(file: h5py.File, n_sites: int) -> pd.DataFrame:
    given = [name for name in SITE_COLUMNS if name in REQUIRED or name in file]
    table = pd.DataFrame({SITE_COLUMNS[name]: words(file, name, n_sites) for name in given})
    if table["site"].duplicated().any():
        raise ValueError(
            f"neuroid_id in {Path(file.filename).name} must name every site once; got "
            f"{table['site'][table['site'].duplicated()].iloc[0]!r} more than once. Fetch it again."
        )
    return table


def _integers(file: h5py.File, name: str, length: int) -> np.ndarray:
    values = numbers(file, name, (length,))
    if not np.array_equal(values, np.floor(values)):  # also of NaN
        raise ValueError(
            f"{name} in {Path(file.filename).name} must hold integers; got others. It may be "
            f"damaged: fetch it again."
        )
    return values.astype(np.int64)


def _rates(node: h5py.Dataset, order: dict[str, int], chosen: np.ndarray) -> np.ndarray:
    """Read the sites of a region, ``(presentation, site)``, piece by piece along presentations."""
    along = order["presentation"]
    n_presentations = node.shape[along]
    rates = np.empty((n_presentations, len(chosen)), np.float32)
    stored = node.chunks[along] if node.chunks else 1
    rows = stored * max(1, ROWS // stored)  # whole pieces: each is unpacked once
    where = [slice(None)] * 3
    for start in range(0, n_presentations, rows):
        where[along] = slice(start, start + rows)
        piece = node[tuple(where)].transpose([order[name] for name in DIMENSIONS])[..., 0]
        rates[start : start + rows] = piece[:, chosen]
    return rates


def _positions(ids: np.ndarray, known: pd.Series, assembly: Path, stimuli: Path) -> np.ndarray:
    """Return the row of each presented image in the table, ``(presentation,)``."""
    positions = pd.Index(known).get_indexer(ids)
    strange = np.unique(ids[positions < 0])
    if len(strange):
        raise ValueError(
            f"{assembly.name} presents {len(strange)} images that {stimuli.name} does not "
            f"describe, {strange[0]!r} among them. The files do not belong together: fetch both "
            f"again."
        )
    return positions.astype(np.int64)


def _images(path: Path, table: pd.DataFrame) -> ZipImages:
    images = ZipImages(path, table["file"], SIZE)
    images[0]  # of another size or format? better said now than in the middle of a run
    return images


def _steps(read: _Assembly, window: str, left_out: int, unseen: int) -> Iterator[str]:
    """Say what was done, one sentence a step."""
    yield (
        f"recorder: spikes of each presentation counted {window} after its onset, normalised (how "
        f"is not stated in the file)"
    )
    yield (
        "Brain-Score: 40 sites of the monkey Tito left out as erroneous; images of variation 6 are "
        "not public"
    )
    animals = read.sites["animal"].value_counts()
    counts = ", ".join(f"{n} of {animal}" for animal, n in animals.items())
    yield f"sites: {read.sites['region'].iloc[0]}, {counts}; no others were read"
    if left_out:
        n_presentations = left_out + len(read.rates)
        yield f"{left_out} of {n_presentations} presentations left out: a site has no value"
    if unseen:
        yield f"{unseen} images of the table are without any presentation"
    yield "order of the file, which need not be that of recording; sessions are not given, all 0"
    yield "categories as published, in small letters"


def _provenance(files: list[Path], steps: tuple[str, ...]) -> Provenance:
    return Provenance(
        source="Majaj, Hong, Solomon and DiCarlo 2015, public part, from Brain-Score",
        citation="majaj2015",
        licence="none stated",
        url=URL,
        sha256={path.name: checksum(path, "sha256").partition(":")[2] for path in files},
        preprocessing=steps,
    )
