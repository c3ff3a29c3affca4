"""The reader of the Sensorium recordings: archives and folders in the published layout."""

from __future__ import annotations

import io
import shutil
import zipfile

import numpy as np
import pytest

from visualcortex.sources.sensorium2022 import read_sensorium2022, shrink

NAME = "static23964-4-22-GrayImageNet-94c6ff995dac583098847cfecd43e7b6"
TIERS = np.array(["train", "test", "validation", "test", "train", "test"])
IMAGE_ID = np.array([900, 51, 700, 51, 300, 52])
ORDER = np.array([4, 2, 5, 1, 3, 6])  # trial_idx: file 3 was first
N_NEURONS = 5


def picture(image_id):
    rng = np.random.default_rng(image_id)
    return rng.integers(0, 256, (1, 144, 256)).astype(np.uint8)


def recorded():
    """Return the arrays of a small recording of six trials by their path."""
    rng = np.random.default_rng(0)
    content = {
        "meta/trials/tiers": TIERS,
        "meta/trials/frame_image_id": IMAGE_ID,
        "meta/trials/trial_idx": ORDER,
        "meta/neurons/unit_ids": np.arange(N_NEURONS) + 11,
        "meta/neurons/cell_motor_coordinates": rng.integers(-300, 300, (N_NEURONS, 3)),
        "meta/neurons/area": np.array(["V1"] * N_NEURONS),
        "meta/neurons/layer": np.array(["L2/3"] * N_NEURONS),
        "meta/statistics/images/all/mean": np.array(112.5),
        "meta/statistics/images/all/std": np.array(59.75),
    }
    for k in range(6):
        content |= {
            f"data/images/{k}": picture(IMAGE_ID[k]),
            f"data/responses/{k}": rng.standard_exponential(N_NEURONS).astype(np.float32),
            f"data/behavior/{k}": rng.standard_normal(3),
            f"data/pupil_center/{k}": rng.standard_normal(2),
        }
    return content


def as_bytes(value):
    stream = io.BytesIO()
    np.save(stream, value)
    return stream.getvalue()


def write_folder(folder, content):
    for name, value in content.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value if isinstance(value, bytes) else as_bytes(value))
    return folder


def write_zip(path, content, top=NAME):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            member = "/".join(filter(None, (top, f"{name}.npy")))
            archive.writestr(member, value if isinstance(value, bytes) else as_bytes(value))
    return path


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a folder and reads it."""

    def function(content):
        return read_sensorium2022(write_folder(tmp_path / NAME, content))

    return function


def steps(recording, words):
    return [step for step in recording.provenance.preprocessing if words in step]


def test_the_published_layout_is_read(read):
    content = recorded()
    recording = read(content)
    files = np.argsort(ORDER)
    expected = np.stack([content[f"data/responses/{k}"] for k in files])
    np.testing.assert_array_equal(recording.responses, expected)
    assert recording.responses.dtype == np.float32
    trials = recording.trials
    np.testing.assert_array_equal(trials["file"], files)
    np.testing.assert_array_equal(trials["tier"], TIERS[files])
    np.testing.assert_array_equal(trials["image_id"], IMAGE_ID[files])
    np.testing.assert_array_equal(recording.session, 0)
    assert recording.images.shape == (5, 36, 64)
    for image_id, stimulus in zip(trials["image_id"], recording.stimulus, strict=True):
        np.testing.assert_array_equal(recording.images[stimulus], shrink(picture(image_id)[0]))
    behaviour = ["pupil_size", "pupil_size_change", "running_speed", "pupil_x", "pupil_y"]
    first = np.r_[content["data/behavior/3"], content["data/pupil_center/3"]]
    np.testing.assert_allclose(trials[behaviour].iloc[0].astype(float), first)
    place = recording.neurons[["x_um", "y_um", "z_um"]]
    np.testing.assert_array_equal(place, content["meta/neurons/cell_motor_coordinates"])
    assert list(recording.neurons["unit_id"]) == [11, 12, 13, 14, 15]
    assert set(recording.neurons["layer"]) == {"L2/3"}
    assert "recording 23964-4-22" in recording.provenance.source
    assert steps(recording, "trials: 3 test, 2 train, 1 validation")
    assert steps(recording, "subtract 112.5 and divide by 59.75")


def test_repeats_of_the_test_images_are_kept(read):
    recording = read(recorded())
    test = recording.trials[recording.trials["tier"] == "test"]
    assert sorted(test["image_id"]) == [51, 51, 52]
    assert test["stimulus"].nunique() == 2


@pytest.mark.parametrize("top", [NAME, ""])
def test_the_archive_is_read_without_unpacking_it(read, tmp_path, top):
    from_folder = read(recorded())
    archive = write_zip(tmp_path / f"{NAME}.zip", recorded(), top)
    from_archive = read_sensorium2022(archive)
    np.testing.assert_array_equal(from_archive.responses, from_folder.responses)
    np.testing.assert_array_equal(from_archive.images, from_folder.images)
    assert from_archive.trials.equals(from_folder.trials)
    assert from_archive.provenance.preprocessing == from_folder.provenance.preprocessing


def test_a_folder_within_the_folder_is_found_and_the_checksum_is_of_what_was_read(tmp_path):
    write_folder(tmp_path / "outer" / NAME, recorded())
    first = read_sensorium2022(tmp_path / "outer")
    content = recorded()
    content["data/responses/2"] += 1
    write_folder(tmp_path / "outer" / NAME, content)
    second = read_sensorium2022(tmp_path / "outer")
    assert first.provenance.sha256 != second.provenance.sha256
    shutil.rmtree(tmp_path / "outer" / NAME / "data" / "behavior")
    assert steps(read_sensorium2022(tmp_path / "outer"), "behavior not given")


def test_images_are_reduced_as_by_the_authors_loader():
    transform = pytest.importorskip("skimage.transform", reason="needs scikit-image")
    image = picture(3).astype(np.float64)
    expected = transform.rescale(  # the arguments of the authors' ScaleInputs
        image, 0.25, mode="reflect", anti_aliasing=False, clip=True, preserve_range=True,
        channel_axis=0,
    )  # fmt: skip
    np.testing.assert_allclose(shrink(image), expected, rtol=0, atol=1e-9)


def test_images_are_reduced_to_the_middle_of_each_block():
    image = np.arange(64.0).reshape(8, 8) ** 2
    expected = [[image[r : r + 2, c : c + 2].mean() for c in (1, 5)] for r in (1, 5)]
    np.testing.assert_allclose(shrink(image), expected)
    assert shrink(image.astype(np.uint8)).max() <= 255


def test_withheld_responses_behaviour_and_order_are_left_out_and_said(read):
    content = recorded()
    rng = np.random.default_rng(1)
    content["meta/trials/trial_idx"] = rng.integers(0, 2**40, 6)
    for k in range(6):
        content[f"data/behavior/{k}"] *= 0
        if TIERS[k] == "test":
            content[f"data/responses/{k}"] *= 0
    recording = read(content)
    np.testing.assert_array_equal(recording.trials["file"], [0, 2, 4])
    np.testing.assert_array_equal(recording.stimulus, [2, 1, 0])
    assert recording.images.shape[0] == 3
    assert "running_speed" not in recording.trials
    assert "pupil_x" in recording.trials
    assert steps(recording, "tier test left out")
    assert steps(recording, "behavior not given")
    assert steps(recording, "that of recording is withheld")


def test_hashed_words_for_the_order_are_no_order(read):
    recording = read(recorded() | {"meta/trials/trial_idx": np.array(list("fedcba"))})
    np.testing.assert_array_equal(recording.trials["file"], np.arange(6))


def replaced(name, value):
    return lambda content: content.update({name: value(content[name])})


def removed(name):
    return lambda content: content.pop(name)


def all_zero(content):
    for k in range(6):
        content[f"data/responses/{k}"] *= 0


BROKEN = {
    "no tiers": (removed("meta/trials/tiers"), "lacks meta/trials/tiers.npy"),
    "no ids": (removed("meta/trials/frame_image_id"), "lacks meta/trials/frame_image_id.npy"),
    "no units": (removed("meta/neurons/unit_ids"), "lacks meta/neurons/unit_ids.npy"),
    "no response": (removed("data/responses/4"), "lacks data/responses/4.npy. It is incomplete"),
    "no image": (removed("data/images/0"), "lacks data/images/0.npy"),
    "other ids": (
        replaced("meta/trials/frame_image_id", lambda x: x[1:]),
        r"frame_image_id.npy .* must have shape \(6\); got \(5,\)",
    ),
    "other places": (
        replaced("meta/neurons/cell_motor_coordinates", np.transpose),
        r"must have shape \(5, 3\); got \(3, 5\)",
    ),
    "other neurons": (replaced("data/responses/2", lambda x: x[1:]), r"responses/2.npy .*\(4,\)"),
    "small image": (
        replaced("data/images/5", lambda x: x[:, ::4, ::4]),
        r"images/5.npy .* must have shape \(1, 144, 256\); got \(1, 36, 64\)",
    ),
    "NaN": (replaced("data/responses/2", lambda x: x * np.nan), "responses/2.npy .* finite"),
    "NaN in image": (replaced("data/images/1", lambda x: x * np.nan), "images/1.npy .* finite"),
    "words": (replaced("data/responses/2", lambda x: x.astype(str)), "responses/2.npy .* finite"),
    "two images": (
        replaced("data/images/1", lambda x: x + np.uint8(9)),
        "images/1.npy .* is another image than .* frame_image_id 51",
    ),
    "behaviour": (
        lambda c: c.update({f"data/behavior/{k}": np.ones(2) for k in range(6)}),
        "data/behavior in .* must hold 3 numbers a trial; got 2",
    ),
    "nothing recorded": (all_zero, "holds no response other than 0"),
    "pickle": (
        replaced("meta/trials/tiers", lambda x: x.astype(object)),
        "tiers.npy .* with pickle only: that could run any code, and is not done. Save it again",
    ),
    "a pickle": (lambda c: c.update({"data/responses/1": b"\x80\x04K\x01."}), "not a NumPy array"),
    "a page": (lambda c: c.update({"data/images/1": b"<html>"}), "images/1.npy .* is not a NumPy"),
    "cut": (replaced("data/images/1", lambda x: as_bytes(x)[:-50]), "images/1.npy .* cut short"),
    "empty": (lambda c: c.update({"data/images/1": b""}), "images/1.npy .* cut short"),
}


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_recording_of_another_form_is_refused_by_name(tmp_path, broken, write):
    damage, message = BROKEN[broken]
    content = recorded()
    damage(content)
    path = write(tmp_path / (NAME if write is write_folder else f"{NAME}.zip"), content)
    with pytest.raises(ValueError, match=message) as error:
        read_sensorium2022(path)
    assert NAME in str(error.value)


def test_an_archive_that_is_damaged_is_refused(tmp_path):
    path = write_zip(tmp_path / f"{NAME}.zip", recorded())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(ValueError, match="neither a folder nor a zip archive, or is cut short"):
        read_sensorium2022(path)
    middle = whole.index(f"{NAME}/data/images/3.npy".encode()) + 5000
    path.write_bytes(whole[:middle] + bytes(100) + whole[middle + 100 :])
    with pytest.raises(ValueError, match="data/images/3.npy in .* is damaged"):
        read_sensorium2022(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sensorium2022(tmp_path / f"{NAME}.zip")
