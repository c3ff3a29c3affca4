"""How differently monkey and human IT answer 92 images: Kriegeskorte and others (2008).

Two MATLAB files, republished with the toolbox for representational similarity analysis: the images
with the dissimilarities of 674 neurons of monkeys, and those of human subjects, session by session.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.spatial.distance import squareform

from visualcortex.recording import Dissimilarities, Provenance
from visualcortex.sources.fetch import checksum
from visualcortex.sources.matlab import read_matlab

URL = (
    "https://github.com/rsagroup/rsatoolbox/tree/f1f83cadb7243492a1aae7460466e0f0140b20ac/demos/"
    "92imageData"
)
LICENCE = "MIT (that of the repository which republishes them)"
N_IMAGES = 92
SIZE = 175  # pixels
N_NEURONS = 674
MONKEY = f"mIT_{N_NEURONS}neurons"
SESSION = re.compile(r"hIT \| (?P<subject>\w+) \| Session: (?P<session>\d+)")
FLAGS = ("human", "face", "animal", "natural")
SAME = 1e-5  # largest difference between the two files in the mean of the human matrices


def read_kriegeskorte2008(supplement: Path, brains: Path) -> Dissimilarities:
    """Read the images and the dissimilarities of monkeys and of four human subjects.

    Parameters
    ----------
    supplement
        ``Kriegeskorte_Neuron2008_supplementalData.mat``: ``stimuli_92objs`` with ``image`` and
        ``category`` of each image, and ``RDMs_mIT_hIT_fig1``, the matrices of monkeys and of the
        mean human as vectors of pairs.
    brains
        ``92_brainRDMs.mat``: ``RDMs``, a matrix of each human subject and session.

    Returns
    -------
    Dissimilarities
        The first matrix is that of the monkeys' neurons (two animals, pooled), then come the
        human ones session by session, from 0; they are not averaged. ``stimuli`` has
        ``stimulus_id``, ``category`` and the truth values ``human``, ``face``, ``animal`` and
        ``natural``, all from the file; ``images`` (image, 3, 175, 175) are RGB from 0 to 1.

    Raises
    ------
    ValueError
        A file is damaged or of another form, or the two do not belong together: the mean of the
        human matrices must be the one of the supplement, which holds only if both list the images
        in the same order.
    """
    names = ("RDMs_mIT_hIT_fig1.name", "RDMs_mIT_hIT_fig1.RDM", "stimuli_92objs.image")
    words = ("stimuli_92objs.category", *(f"stimuli_92objs.{flag}" for flag in FLAGS))
    content = _read(supplement, (*names, *words))
    people = _read(brains, ("RDMs.name", "RDMs.RDM"))
    monkey, mean_human = _pairs(content["RDMs_mIT_hIT_fig1.name"], content[names[1]], supplement)
    human = _square(people["RDMs.RDM"], brains)
    _check_together(mean_human, human, supplement, brains)
    attrs = {"quantity": "1 - Pearson correlation", "units": "1"}
    rdms = np.concatenate([squareform(monkey)[None], human]).astype(np.float32)
    return Dissimilarities(
        rdms=xr.DataArray(rdms, dims=("rdm", "image", "image_2"), attrs=attrs),
        subjects=_subjects(people["RDMs.name"], brains),
        stimuli=_stimuli(content, supplement),
        provenance=_provenance(supplement, brains),
        images=_images(content["stimuli_92objs.image"], supplement),
    )


def _read(path: Path, names: tuple[str, ...]) -> dict[str, list]:
    content = read_matlab(path, names)
    for name in names:
        if not isinstance(content.get(name), list):
            raise ValueError(
                f"{path.name} lacks {name}, or holds one only. It may be the other of the two "
                f"files, or that of another recording: fetch it again."
            )
    return content


def _pairs(names: list, vectors: list, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the dissimilarities of the monkeys and of the mean human, ``(pair,)``."""
    n_pairs = N_IMAGES * (N_IMAGES - 1) // 2
    shapes = [np.shape(vector) for vector in vectors]
    if len(names) != 2 or names[0] != MONKEY or shapes != [(1, n_pairs)] * 2:
        raise ValueError(
            f"{path.name} must hold two vectors of {n_pairs} pairs, {MONKEY} the first; got "
            f"{names} of shapes {shapes}. It may be another file: fetch it again."
        )
    return vectors[0].ravel(), vectors[1].ravel()


def _square(matrices: list, path: Path) -> np.ndarray:
    shapes = {np.shape(matrix) for matrix in matrices}
    if shapes != {(N_IMAGES, N_IMAGES)}:
        raise ValueError(
            f"{path.name} must hold matrices of {N_IMAGES} x {N_IMAGES}; got shapes "
            f"{sorted(shapes)}. It may be another file: fetch it again."
        )
    return np.stack(matrices)


def _check_together(
    mean_human: np.ndarray, human: np.ndarray, supplement: Path, brains: Path
) -> None:
    difference = np.abs(squareform(mean_human) - human.mean(axis=0, dtype=np.float64)).max()
    if not difference < SAME:
        raise ValueError(
            f"the mean of the human matrices of {brains.name} must be that of {supplement.name}; "
            f"they differ by up to {difference:g}. One of the files is another edition, or lists "
            f"the images in another order: fetch both from one place."
        )


def _subjects(names: list, path: Path) -> pd.DataFrame:
    matches = [SESSION.fullmatch(str(name).strip()) for name in names]
    if not all(matches):
        strange = names[matches.index(None)]
        raise ValueError(
            f"{path.name} must name its matrices 'hIT | <subject> | Session: <number>'; got "
            f"{strange!r}. It may be another edition: fetch it again."
        )
    rows = [("monkey", "two animals, pooled", 0, "IT", N_NEURONS)]
    rows += [
        ("human", match["subject"], int(match["session"]) - 1, "IT", None) for match in matches
    ]
    table = pd.DataFrame(rows, columns=["species", "subject", "session", "region", "n_neurons"])
    return table.astype({"n_neurons": "Int64"})


def _stimuli(content: dict[str, list], path: Path) -> pd.DataFrame:
    categories = [str(word) for word in content["stimuli_92objs.category"]]
    if len(categories) != N_IMAGES:
        raise ValueError(
            f"{path.name} must describe {N_IMAGES} images; got {len(categories)}. It may be "
            f"another file: fetch it again."
        )
    flags = {
        flag: [bool(np.all(value)) for value in content[f"stimuli_92objs.{flag}"]] for flag in FLAGS
    }
    ids = [f"image-{k + 1:02d}" for k in range(N_IMAGES)]
    return pd.DataFrame({"stimulus_id": ids, "category": categories} | flags)


def _images(images: list, path: Path) -> np.ndarray:
    expected = ((SIZE, SIZE, 3), np.dtype(np.uint8))
    kinds = {(np.shape(image), np.asarray(image).dtype) for image in images}
    if kinds != {expected}:
        shape, dtype = next(kind for kind in kinds if kind != expected)
        raise ValueError(
            f"{path.name} must hold images of {SIZE} x {SIZE} x 3 bytes; got shape {shape} and "
            f"{dtype}. It may be another file: fetch it again."
        )
    return np.stack([np.moveaxis(image, 2, 0) for image in images]).astype(np.float32) / 255


def _provenance(supplement: Path, brains: Path) -> Provenance:
    steps = (
        "recorder: dissimilarity of two images = 1 - Pearson correlation of the responses to them, "
        "across neurons (monkey) or voxels (human, functional magnetic resonance imaging)",
        "recorder: monkey neurons of two animals pooled into one matrix",
        "human matrices session by session, not averaged; their mean is that of the supplement",
        "images: bytes divided by 255, RGB from 0 to 1",
    )
    return Provenance(
        source="Kriegeskorte, Mur, Ruff, Kiani and others 2008, from the RSA toolbox",
        citation="kriegeskorte2008",
        licence=LICENCE,
        url=URL,
        sha256={
            path.name: checksum(path, "sha256").partition(":")[2] for path in (supplement, brains)
        },
        preprocessing=steps,
    )
