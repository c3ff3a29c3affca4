"""Monkey IT and the 64 objects of Majaj, Hong, Solomon and DiCarlo (2015), as given to a course.

The course NX-414 (EPFL) gives its students one file of 3,200 images on natural backgrounds and the
mean rates of 168 sites of inferior temporal cortex (IT) of two monkeys, already divided into tiers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import ImageResponses, Provenance
from visualcortex.sources.fetch import checksum
from visualcortex.sources.hdf5 import open_hdf5
from visualcortex.sources.lazy_images import H5Images
from visualcortex.sources.nwb import check_shape, dataset, numbers

URL = "https://drive.google.com/file/d/1s6caFNRpyR9m7ZM6XEv_e8mcXT3_PnHS"
N_SITES = 168
SIZE = 224  # pixels
MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by which it is normalised
TIERS = {"train": "train", "val": "validation", "test": "test"}  # name in the file -> word
ATTRS = {"quantity": "mean rate, 70-170 ms, normalised", "units": "a.u."}
_CARS = ("alfa", "astra", "beetle", "bmw", "bora", "celica", "clio", "z3")
CATEGORIES = {  # of the eight objects each; the names as in the file
    "animals": ("bear", "cow", "dog", "elephant", "gorilla", "hedgehog", "lioness", "turtle"),
    "boats": tuple(f"ship{k}" for k in range(8)),
    "cars": tuple(f"car_{name}" for name in _CARS),
    "chairs": tuple(f"chair{k}" for k in range(8)),
    "faces": tuple(f"face{k}" for k in range(8)),
    "fruits": (
        *("apple", "apricot", "peach", "pear", "raspberry", "strawberry", "walnut", "watermelon"),
    ),
    "planes": tuple(f"airplane{k}" for k in range(8)),
    "tables": tuple(f"table{k}" for k in range(8)),
}
UNKNOWN = "unknown"


def read_majaj2015(file: Path) -> ImageResponses:
    """Read the rates of all sites; the images stay on disk.

    Parameters
    ----------
    file
        HDF5 file with ``stimulus_<tier>`` (image, 3, 224, 224), normalised by the mean and the
        standard deviation of ImageNet; ``object_<tier>``, words; and ``spikes_<tier>``
        (image, 168), for the tiers train, val and test. The answers to the images of the tier
        test are withheld.

    Returns
    -------
    ImageResponses
        Responses ``("trial", "neuron")``, float32, one trial an image of the tiers train and
        val: there are no repeats. ``trials`` has ``tier`` (train, validation). ``images``, a
        `H5Images` (image, 3, 224, 224), RGB from 0 to 1, and ``stimuli`` with ``stimulus_id``,
        ``object``, ``category`` and ``tier`` hold those of the tier test too, last. ``neurons``
        has ``site``, its number in the file.

    Raises
    ------
    ValueError
        The file is damaged or of another form; the message says what is wrong.
    """
    images = H5Images(file, [f"stimulus_{tier}" for tier in TIERS], MEAN, SD)
    with open_hdf5(file) as opened:
        for tier in TIERS:
            check_shape(opened[f"stimulus_{tier}"], (None, 3, SIZE, SIZE))
        stimuli = _stimuli(opened)
        responses = np.concatenate([_rates(opened, tier) for tier in ("train", "val")])
        withheld = "spikes_test" not in opened
    steps = tuple(_steps(stimuli, withheld))
    shown = stimuli["tier"][: len(responses)].to_numpy()
    trials = pd.DataFrame({"stimulus": np.arange(len(shown)), "session": 0, "tier": shown})
    sites = pd.RangeIndex(N_SITES, name="neuron")
    return ImageResponses(
        responses=xr.DataArray(responses, dims=("trial", "neuron"), attrs=ATTRS),
        trials=trials,
        neurons=pd.DataFrame({"site": np.arange(N_SITES)}, index=sites),
        provenance=_provenance(file, steps),
        images=images,
        stimuli=stimuli,
    )


def categories_of(objects: np.ndarray) -> np.ndarray:
    """Return the category of each object, ``"unknown"`` for one that is not of the 64."""
    known = {name: category for category, names in CATEGORIES.items() for name in names}
    return np.array([known.get(name, UNKNOWN) for name in objects])


def _stimuli(file: h5py.File) -> pd.DataFrame:
    tables = []
    for tier, word in TIERS.items():
        n_images = len(file[f"stimulus_{tier}"])
        objects = _objects(file, f"object_{tier}", n_images)
        columns = {
            "stimulus_id": [f"{word}-{k:04d}" for k in range(n_images)],
            "object": objects,
            "category": categories_of(objects),
            "tier": word,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _objects(file: h5py.File, name: str, n_images: int) -> np.ndarray:
    """Read the names of the objects, ``(image,)``; they are encoded in Latin-1."""
    node = dataset(file, name)
    if h5py.check_string_dtype(node.dtype) is None:
        raise ValueError(
            f"{name} in {Path(file.filename).name} must hold words; got {node.dtype}. It may be "
            f"another file: fetch it again."
        )
    check_shape(node, (n_images,))
    return np.array(node.asstr("latin-1")[()], dtype=str)


def _rates(file: h5py.File, tier: str) -> np.ndarray:
    name = f"spikes_{tier}"
    rates = numbers(file, name, (len(file[f"stimulus_{tier}"]), N_SITES))
    bad = ~np.isfinite(rates)
    if bad.any():
        raise ValueError(
            f"{name} in {Path(file.filename).name} must be finite; got {bad.sum()} NaN or infinite "
            f"values for {np.count_nonzero(bad.any(axis=1))} of {len(bad)} images. It may be "
            f"damaged: fetch it again."
        )
    return rates.astype(np.float32)


def _steps(stimuli: pd.DataFrame, withheld: bool) -> Iterator[str]:
    """Say what was done, one sentence a step."""
    yield (
        "recorder: spikes of sites of inferior temporal cortex counted from 70 to 170 ms after the "
        "onset of an image; one number an image and site, without its repeats (their mean, it is "
        "inferred), normalised (how is not stated)"
    )
    counts = stimuli["tier"].value_counts(sort=False)
    tiers = ", ".join(f"{count} {tier}" for tier, count in counts.items())
    yield f"images divided by the course NX-414 (EPFL): {tiers}"
    if withheld:
        yield "tier test: images only, the responses to them are withheld"
    yield (
        "inferred, not stated: by their number, their 64 objects and the 168 sites these are the "
        "public images (variation 0 and 3) of the Brain-Score edition of the recording"
    )
    yield "images: normalisation undone, RGB from 0 to 1, cut to that range"
    yield (
        "categories are not in the file; they follow from the names of the objects, which are "
        "those of the Brain-Score edition"
    )
    strange = np.unique(stimuli["object"][stimuli["category"] == UNKNOWN])
    if len(strange):
        yield f"category unknown of the objects {', '.join(strange)}: they are not of the 64"


def _provenance(file: Path, steps: tuple[str, ...]) -> Provenance:
    return Provenance(
        source="Majaj, Hong, Solomon and DiCarlo 2015, as given to the course NX-414 (EPFL)",
        citation="majaj2015",
        licence="none stated",
        url=URL,
        sha256={file.name: checksum(file, "sha256").partition(":")[2]},
        preprocessing=steps,
    )
