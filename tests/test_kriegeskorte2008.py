"""The reader of the 92 images: MATLAB files in the published form, and the real ones if at hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import pdist, squareform

from visualcortex import load
from visualcortex.catalogue import ENTRIES, needs
from visualcortex.sources.kriegeskorte2008 import FLAGS, read_kriegeskorte2008

N_IMAGES = 92
PEOPLE = ["BE", "KO", "SN", "TI"]
SUPPLEMENT = "Kriegeskorte_Neuron2008_supplementalData.mat"
BRAINS = "92_brainRDMs.mat"
KINDS = ["human face", "natural inanimate"]


def structs(fields, shape):
    """Return a MATLAB array of structs; the lists are in MATLAB's order, columns first."""
    array = np.empty(shape, dtype=[(name, object) for name in fields])
    places = [index[::-1] for index in np.ndindex(shape[::-1])]
    for name, values in fields.items():
        for place, value in zip(places, values, strict=True):
            array[name][place] = value
    return array


def recorded():
    """Return the variables of both files, the images mostly empty: quick to pack."""
    rng = np.random.default_rng(0)
    monkey = pdist(rng.standard_normal((N_IMAGES, 40)), "correlation")
    human = [pdist(rng.standard_normal((N_IMAGES, 30)), "correlation") for _ in range(8)]
    images = np.zeros((N_IMAGES, 175, 175, 3), np.uint8)
    images[:, :9, :7] = rng.integers(0, 256, (N_IMAGES, 9, 7, 3))
    animate = (np.arange(N_IMAGES) % 2 == 0).astype(np.uint8)
    stimuli = {"category": [KINDS[1 - flag] for flag in animate], "image": list(images)}
    stimuli |= {flag: list(animate) for flag in FLAGS}
    names = [f"hIT | {who} | Session: {k}" for k, who in itertools.product((1, 2), PEOPLE)]
    return {
        "stimuli_92objs": stimuli,
        "RDMs_mIT_hIT_fig1": {
            "name": ["mIT_674neurons", "hITvisStim_316vx"],
            "RDM": [monkey[None], np.mean(human, axis=0)[None]],
        },
        "RDMs": {"RDM": [squareform(row).astype(np.float32) for row in human], "name": names},
    }


def write(folder, content):
    """Write both files and return their paths."""
    paths = folder / SUPPLEMENT, folder / BRAINS
    names = {"stimuli_92objs": (1, 92), "RDMs_mIT_hIT_fig1": (1, 2), "RDMs": (1, 4, 2)}
    variables = {
        name: structs(fields, names[name]) if isinstance(fields, dict) else fields
        for name, fields in content.items()
    }
    brains = {name: variables.pop(name) for name in ("RDMs",) if name in variables}
    savemat(paths[0], variables, do_compression=True)
    savemat(paths[1], brains)
    return paths


def test_the_published_form_is_read(tmp_path):
    content = recorded()
    read = read_kriegeskorte2008(*write(tmp_path, content))
    first = squareform(content["RDMs_mIT_hIT_fig1"]["RDM"][0].ravel())
    np.testing.assert_allclose(read.rdms[0], first, rtol=1e-6)
    np.testing.assert_array_equal(read.rdms[1:], content["RDMs"]["RDM"])
    assert read.rdms.dtype == np.float32
    assert read.rdms.attrs == {"quantity": "1 - Pearson correlation", "units": "1"}
    subjects = read.subjects
    assert list(subjects["species"]) == ["monkey"] + ["human"] * 8
    assert list(subjects["subject"][1:]) == PEOPLE * 2
    assert list(subjects["session"]) == [0] * 5 + [1] * 4
    assert set(subjects["region"]) == {"IT"}
    assert subjects["n_neurons"][0] == 674
    assert subjects["n_neurons"][1:].isna().all()
    assert list(read.category[:3]) == ["human face", "natural inanimate", "human face"]
    assert list(read.stimuli["stimulus_id"][[0, 91]]) == ["image-01", "image-92"]
    for flag in FLAGS:
        assert list(read.stimuli[flag][:3]) == [True, False, True]
    assert read.images.shape == (92, 3, 175, 175)
    pixels = np.stack(content["stimuli_92objs"]["image"]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(read.images, pixels / 255, atol=1e-7)
    assert set(read.provenance.sha256) == {SUPPLEMENT, BRAINS}


def changed(name, field, value):
    def damage(content):
        content[name][field] = value(content[name][field])

    return damage


def swapped(rows):
    return [rows[1], rows[0], *rows[2:]]


def reordered(matrices):
    order = np.random.default_rng(1).permutation(N_IMAGES)
    return [matrix[np.ix_(order, order)] for matrix in matrices]


def asymmetric(matrices):
    matrices[3][4, 5] += 0.5
    matrices[4][4, 5] -= 0.5
    return matrices


BROKEN = {
    "no images": (lambda c: c.pop("stimuli_92objs"), f"{SUPPLEMENT} lacks stimuli_92objs.image"),
    "no field": (
        lambda c: c["stimuli_92objs"].pop("category"),
        f"{SUPPLEMENT} lacks stimuli_92objs.category",
    ),
    "no monkey": (lambda c: c.pop("RDMs_mIT_hIT_fig1"), f"{SUPPLEMENT} lacks RDMs_mIT_hIT_fig1"),
    "no human": (lambda c: c.pop("RDMs"), f"{BRAINS} lacks RDMs.name"),
    "another variable": (lambda c: c.update(RDMs=np.zeros((92, 92))), f"{BRAINS} lacks RDMs.name"),
    "human first": (
        changed("RDMs_mIT_hIT_fig1", "name", swapped),
        "two vectors of 4186 pairs, mIT_674neurons the first; got .'hITvis",
    ),
    "short vector": (
        changed("RDMs_mIT_hIT_fig1", "RDM", lambda rows: [row[:, 1:] for row in rows]),
        r"two vectors of 4186 pairs, .* of shapes \[\(1, 4185\), \(1, 4185\)\]",
    ),
    "small matrix": (
        changed("RDMs", "RDM", lambda rows: [row[1:, 1:] for row in rows]),
        f"{BRAINS} must hold matrices of 92 x 92; got shapes ..91, 91",
    ),
    "other name": (
        changed("RDMs", "name", lambda names: ["V1 | BE | Session: 1", *names[1:]]),
        f"{BRAINS} must name its matrices .* got 'V1 . BE",
    ),
    "other order": (
        changed("RDMs", "RDM", reordered),
        f"mean of the human matrices of {BRAINS} must be that of {SUPPLEMENT}; they differ by up",
    ),
    "NaN": (
        changed("RDMs", "RDM", lambda rows: [rows[0] * np.nan, *rows[1:]]),
        "they differ by up to nan",
    ),
    "asymmetric": (changed("RDMs", "RDM", asymmetric), "a matrix that is not symmetric in rdm 4"),
    "grey images": (
        changed("stimuli_92objs", "image", lambda rows: [*rows[:91], rows[91][..., 0]]),
        r"images of 175 x 175 x 3 bytes; got shape \(175, 175\)",
    ),
    "other numbers": (
        changed("stimuli_92objs", "image", lambda rows: [*rows[:91], rows[91] / 255]),
        "3 bytes; got shape .* and float64",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_files_of_another_form_are_refused_by_name(tmp_path, broken):
    damage, message = BROKEN[broken]
    content = recorded()
    damage(content)
    with pytest.raises(ValueError, match=message):
        read_kriegeskorte2008(*write(tmp_path, content))


def test_damaged_and_exchanged_files_are_refused(tmp_path):
    supplement, brains = write(tmp_path, recorded())
    with pytest.raises(ValueError, match=f"{BRAINS} lacks RDMs_mIT_hIT_fig1.name.* the other of"):
        read_kriegeskorte2008(brains, supplement)
    whole = brains.read_bytes()
    brains.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{BRAINS} cannot be read as a MATLAB file"):
        read_kriegeskorte2008(supplement, brains)
    brains.write_bytes(b"404: Not Found")
    with pytest.raises(ValueError, match=f"{BRAINS} is not a MATLAB file"):
        read_kriegeskorte2008(supplement, brains)


class TestTheRealFiles:
    """What is known of them."""

    @pytest.fixture
    def real(self, real_data, monkeypatch):
        path = real_data(f"kriegeskorte92/{SUPPLEMENT}")
        monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parent))
        monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
        return load("kriegeskorte2008", simulator="it", seed=1)

    def test_they_are_loaded_through_the_catalogue(self, real):
        (entry,) = (entry for entry in ENTRIES if entry.id == "kriegeskorte2008")
        read = {f"sha256:{digest}" for digest in real.provenance.sha256.values()}
        assert read == {file.checksum for file in entry.files}
        assert real.provenance.licence == entry.licence
        assert real.provenance.citation == entry.citation
        assert real.provenance.url == entry.url
        assert all(file["present"] for file in needs({"dataset": "kriegeskorte2008"}))

    def test_they_hold_what_was_published(self, real):
        assert (real.n_rdms, real.n_images) == (9, 92)
        kinds, counts = np.unique(real.category, return_counts=True)
        assert dict(zip(kinds, counts, strict=True)) == {
            "artificial inanimate": 21,
            "human bodypart": 12,
            "human face": 12,
            "natural inanimate": 23,
            "nonhuman bodypart": 12,
            "nonhuman face": 12,
        }
        assert (real.stimuli["human"] == [kind.startswith("human") for kind in real.category]).all()
        assert (real.stimuli["face"] == [kind.endswith("face") for kind in real.category]).all()
        assert 0 <= float(real.rdms.min()) <= float(real.rdms.max()) <= 2
        assert (real.images.min(), real.images.max()) == (0, 1)

    def test_monkey_and_human_agree_as_published(self, real):
        """Kriegeskorte and others (2008), figure 3: Pearson r = 0.49 over the pairs."""
        rdms = real.rdms.to_numpy().astype(float)
        pairs = np.triu_indices(92, 1)
        r = np.corrcoef(rdms[0][pairs], rdms[1:].mean(axis=0)[pairs])[0, 1]
        assert r == pytest.approx(0.49, abs=0.005)

    def test_faces_are_alike_in_every_subject(self, real):
        faces = real.stimuli["face"].to_numpy()
        rdms = real.rdms.to_numpy()
        within = rdms[:, faces][:, :, faces].sum(axis=(1, 2)) / (faces.sum() * (faces.sum() - 1))
        across = rdms[:, faces][:, :, ~faces].mean(axis=(1, 2))
        assert (within < across).all()
