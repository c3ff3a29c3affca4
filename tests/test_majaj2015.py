"""The reader of the course's file of monkey IT, and the images that stay on disk."""

from __future__ import annotations

import pickle
import tracemalloc

import h5py
import numpy as np
import pytest

from visualcortex.sources.lazy_images import H5Images
from visualcortex.sources.majaj2015 import CATEGORIES, MEAN, SD, categories_of, read_majaj2015

TIERS = {"train": 4, "val": 2, "test": 3}
OBJECTS = [
    "face6",
    "table3",
    "car_alfa",
    "ship1",
    "walnut",
    "lioness",
    "airplane0",
    "chair7",
    "cow",
]
N_SITES = 168


def pictures(start, count):
    """Return images of 4 x 4 coloured squares, bytes ``(image, 3, 224, 224)``."""
    rng = np.random.default_rng(start)
    squares = rng.integers(0, 256, (count, 3, 4, 4)).astype(np.uint8)
    return np.kron(squares, np.ones((1, 1, 56, 56), np.uint8))


def normalised(images):
    """Normalise bytes as torchvision's transforms do: scale to 0 to 1, subtract, divide."""
    mean, sd = np.reshape(MEAN, (3, 1, 1)), np.reshape(SD, (3, 1, 1))
    return ((images / 255 - mean) / sd).astype(np.float32)


def given():
    """Return the datasets of a small file in the course's form."""
    rng = np.random.default_rng(0)
    content, first = {}, 0
    for tier, count in TIERS.items():
        content[f"stimulus_{tier}"] = normalised(pictures(first, count))
        content[f"object_{tier}"] = np.array(OBJECTS[first : first + count], dtype="S10")
        if tier != "test":
            content[f"spikes_{tier}"] = rng.standard_normal((count, N_SITES))
        first += count
    return content


def write(path, content, **how):
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            options = how if name.startswith("stimulus") else {}
            file.create_dataset(name, data=value, **options)
    return path


PACKED = {"compression": "gzip", "chunks": (2, 1, 56, 56)}


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads it."""
    return lambda content: read_majaj2015(write(tmp_path / "IT_data.h5", content, **PACKED))


def steps(recording, words):
    return [step for step in recording.provenance.preprocessing if words in step]


@pytest.mark.parametrize("how", [{}, PACKED])
def test_the_given_form_is_read(tmp_path, how):
    content = given()
    recording = read_majaj2015(write(tmp_path / "IT_data.h5", content, **how))
    expected = np.concatenate([content["spikes_train"], content["spikes_val"]]).astype(np.float32)
    np.testing.assert_array_equal(recording.responses, expected)
    assert recording.responses.dtype == np.float32
    np.testing.assert_array_equal(recording.stimulus, np.arange(6))
    np.testing.assert_array_equal(recording.session, 0)
    assert list(recording.trials["tier"]) == ["train"] * 4 + ["validation"] * 2
    assert list(recording.stimuli["tier"]) == ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
    assert list(recording.stimuli["object"]) == OBJECTS
    assert recording.stimuli["stimulus_id"].is_unique
    assert list(recording.stimuli["stimulus_id"][[3, 4, 8]]) == [
        *("train-0003", "validation-0000", "test-0002"),
    ]
    assert list(recording.category) == ["faces", "tables", "cars", "boats", "fruits", "animals"]
    np.testing.assert_array_equal(recording.neurons["site"], np.arange(N_SITES))
    assert recording.images.shape == (9, 3, 224, 224)
    first = np.cumsum([0, *TIERS.values()])
    shown = [pictures(k, n) for k, n in zip(first, TIERS.values(), strict=False)]
    np.testing.assert_allclose(recording.images[:], np.concatenate(shown) / 255, atol=1e-6)
    assert steps(recording, "4 train, 2 validation, 3 test")
    assert steps(recording, "inferred, not stated")
    assert steps(recording, "the responses to them are withheld")
    assert len(recording.provenance.sha256["IT_data.h5"]) == 64


def test_the_categories_are_eight_of_eight_objects():
    names = [name for objects in CATEGORIES.values() for name in objects]
    assert {len(objects) for objects in CATEGORIES.values()} == {8}
    assert len(names) == len(set(names)) == 64
    assert list(CATEGORIES) == sorted(CATEGORIES)


def test_words_of_any_length_are_read_as_latin_1(read):
    content = given()
    words = ["é".encode("latin-1"), b"face0", b"bear", b"apple"]
    content["object_train"] = np.array(words, dtype=h5py.special_dtype(vlen=bytes))
    recording = read(content)
    assert list(recording.stimuli["object"][:4]) == ["é", "face0", "bear", "apple"]


def test_an_object_that_is_not_of_the_64_has_no_category(read):
    content = given()
    content["object_train"] = np.array([b"face6", b"face8", b"face", b"lion"])
    recording = read(content)
    assert list(recording.category[:4]) == ["faces", "unknown", "unknown", "unknown"]
    assert steps(recording, "category unknown of the objects face, face8, lion")
    assert list(categories_of(np.array(["z3", "car_z3"]))) == ["unknown", "cars"]


def test_nothing_of_the_images_is_read_at_first(read, monkeypatch):
    def refuse(*_):
        raise AssertionError("images were read")

    monkeypatch.setattr(H5Images, "_read", refuse)
    recording = read(given())
    assert "on disk" in repr(recording.images)
    with pytest.raises(AssertionError, match="images were read"):
        recording.images[0]


def replaced(name, value):
    return lambda content: content.update({name: value(content[name])})


def removed(name):
    return lambda content: content.pop(name)


def nan(rates):
    rates[1, 3:5] = np.nan
    return rates


BROKEN = {
    "no images": (removed("stimulus_val"), "lacks stimulus_val"),
    "no objects": (removed("object_test"), "lacks object_test"),
    "no responses": (removed("spikes_train"), "lacks spikes_train"),
    "fewer responses": (
        replaced("spikes_train", lambda x: x[1:]),
        r"spikes_train in .* must have shape \(4, 168\); got \(3, 168\)",
    ),
    "other sites": (
        replaced("spikes_val", lambda x: x[:, :88]),
        r"spikes_val in .* must have shape \(2, 168\); got \(2, 88\)",
    ),
    "fewer objects": (
        replaced("object_test", lambda x: x[:2]),
        r"object_test in .* must have shape \(3\); got \(2,\)",
    ),
    "numbers for words": (
        replaced("object_val", lambda x: np.arange(len(x))),
        "object_val in .* must hold words; got int64",
    ),
    "words for numbers": (
        replaced("spikes_val", lambda x: x.astype("S8")),
        "spikes_val in .* must hold numbers",
    ),
    "NaN": (
        replaced("spikes_train", nan),
        "spikes_train in .* must be finite; got 2 NaN or infinite values for 1 of 4 images",
    ),
    "grey": (
        replaced("stimulus_test", lambda x: x[:, :1]),
        r"stimulus_test in .* \(image, 3, row, column\); got float32 \(3, 1, 224, 224\)",
    ),
    "small in one tier": (
        replaced("stimulus_val", lambda x: x[..., ::4, ::4]),
        r"stimulus_val in .* images of \(3, 224, 224\) as the others; got \(3, 56, 56\)",
    ),
    "small": (
        lambda c: c.update({f"stimulus_{t}": c[f"stimulus_{t}"][..., :64, :64] for t in TIERS}),
        r"must have shape \(any, 3, 224, 224\); got \(4, 3, 64, 64\)",
    ),
    "foreign": (lambda c: [c.clear(), c.update(pairs=np.arange(3))], "lacks stimulus_train"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, broken):
    damage, message = BROKEN[broken]
    content = given()
    damage(content)
    with pytest.raises(ValueError, match=message) as error:
        read_majaj2015(write(tmp_path / "IT_data.h5", content))
    assert "IT_data.h5" in str(error.value)


def test_a_file_that_is_damaged_is_refused(tmp_path):
    path = write(tmp_path / "IT_data.h5", given())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"IT_data.h5 cannot be read \(.*cut short"):
        read_majaj2015(path)
    path.write_bytes(b"<html>virus scan warning</html>")
    with pytest.raises(ValueError, match="IT_data.h5 is not an HDF5 file; it begins with b'<html>"):
        read_majaj2015(path)
    with pytest.raises(FileNotFoundError):
        read_majaj2015(tmp_path / "other.h5")


class TestImagesOnDisk:
    """An array-like that reads what is asked for."""

    @pytest.fixture
    def images(self, tmp_path):
        path = write(tmp_path / "IT_data.h5", given(), **PACKED)
        return H5Images(path, [f"stimulus_{tier}" for tier in TIERS], MEAN, SD)

    @pytest.mark.parametrize(
        "rows",
        [
            *(0, -1, np.int64(5), slice(None), slice(2, 7), slice(8, 1, -3), slice(5, 5)),
            *([3], [], [8, 0, 4, 4, -9], np.array([1, 2, 3]), np.arange(9) % 2 == 0),
            *(np.array([4, 5, 6], np.uint8), np.zeros(9, bool)),
        ],
        ids=str,
    )
    def test_any_choice_is_that_of_an_array(self, images, rows):
        everything = images[:]
        expected = everything[np.array(rows, int) if isinstance(rows, list) else rows]
        got = images[rows]
        np.testing.assert_array_equal(got, expected)
        assert got.shape == expected.shape
        assert got.dtype == np.float32

    @pytest.mark.parametrize("rows", [9, -10, [0, 9], (0, 1), 1.0, [[0]], "a", True, None])
    def test_other_choices_are_refused(self, images, rows):
        with pytest.raises(IndexError):
            images[rows]

    def test_it_looks_like_an_array(self, images):
        assert (len(images), images.shape, images.ndim) == (9, (9, 3, 224, 224), 4)
        assert images.dtype == np.float32
        assert images.block == 2
        np.testing.assert_array_equal(np.asarray(images), images[:])
        assert np.asarray(images, np.float64).dtype == np.float64
        np.testing.assert_array_equal(list(images), images[:])
        with pytest.raises(ValueError, match="without a copy"):
            images.__array__(copy=False)

    def test_values_are_cut_to_the_range(self, tmp_path):
        content = given()
        content["stimulus_train"][0, :, 0, 0] = [9, -9, 0]
        path = write(tmp_path / "x.h5", content)
        image = H5Images(path, ["stimulus_train"], MEAN, SD)[0]
        np.testing.assert_allclose(image[:, 0, 0], [1, 0, MEAN[2]], rtol=1e-6)

    def test_it_can_be_pickled_and_leaves_the_file_alone(self, images):
        again = pickle.loads(pickle.dumps(images))
        np.testing.assert_array_equal(again[[7, 2]], images[[7, 2]])
        images.path.rename(images.path.with_name("moved.h5"))  # nothing holds it open
        with pytest.raises(FileNotFoundError):
            again[0]

    def test_no_more_is_in_memory_than_what_is_asked_for(self, tmp_path):
        content = {"x": normalised(pictures(0, 40))}
        images = H5Images(write(tmp_path / "x.h5", content, **PACKED), ["x"], MEAN, SD)
        asked = images[[3, 30]].nbytes
        tracemalloc.start()
        images[[3, 30]]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.5 * asked
