"""The reader of the seven Stringer recordings: files in the published format, and others."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from visualcortex import load
from visualcortex.sources import neutral, stringer2018b
from visualcortex.sources.matlab import read_matlab
from visualcortex.sources.stringer2018b import FIELDS, read_categories, read_stringer2018b

NAME = "natimg2800_M170714_MP032_2017-09-14.mat"
FORMATS = ("5", "5 compressed", "7.3", "7.3 bare")
WORDS = ["unknown", "birds", "cats"]


def recorded(n_neurons=5):
    """Return the content of a small file: images 0 and 6 twice, 2799 and 2 once, grey thrice."""
    rng = np.random.default_rng(0)
    istim = np.array([1, 2800, 2801, 7, 7, 2801, 3, 1, 2801])
    return {
        "stim": {
            "resp": rng.standard_exponential((len(istim), n_neurons)).astype(np.float32),
            "istim": istim[:, None].astype(float),
            "spont": rng.standard_exponential((7, n_neurons)).astype(np.float32),
        },
        "med": rng.random((n_neurons, 3)) * 1000,
        "redcell": rng.random(n_neurons) < 0.5,
    }


def pixel(row, column, image):
    """Return the grey level that the file of images has at a place."""
    return (row + 3 * column + 7 * image) % 251


def write_5(path, content, compressed=False):
    content = dict(content)
    red = content.pop("redcell", None)
    if red is not None:
        stat = np.empty((len(red), 1), [("npix", object), ("redcell", object)])
        for cell, label in zip(stat[:, 0], red, strict=True):
            cell["npix"], cell["redcell"] = 80.0, float(label)
        content["stat"] = stat
    savemat(path, content, do_compression=compressed)
    return path


def put_hdf5(parent, name, value):
    """Write a value as MATLAB does: axes reversed, class as attribute, cells as references."""
    refs = parent.file.require_group("#refs#")

    def reference(item):
        return put_hdf5(refs, f"r{len(refs)}", item).ref

    if isinstance(value, dict):
        node = parent.create_group(name)
        for field, item in value.items():
            put_hdf5(node, field, item)
        matlab_class = "struct"
    elif isinstance(value, list):
        items = np.array([[reference(item)] for item in value], h5py.ref_dtype)
        node, matlab_class = parent.create_dataset(name, data=items), "cell"
    elif isinstance(value, str):
        codes = np.array([[ord(letter)] for letter in value], np.uint16)
        node, matlab_class = parent.create_dataset(name, data=codes), "char"
    elif not np.asarray(value).size:
        shape = np.array(np.shape(value), np.uint64)
        node, matlab_class = parent.create_dataset(name, data=shape), "double"
        node.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        value = np.atleast_2d(value)
        matlab_class = {"float64": "double", "float32": "single", "bool": "logical"}.get(
            value.dtype.name, value.dtype.name
        )
        stored = value.astype(np.uint8) if value.dtype == bool else value
        node = parent.create_dataset(name, data=stored.T)
    node.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    return node


def write_73(path, content, bare=False):
    content = dict(content)
    red = content.pop("redcell", None)
    if red is not None:
        content["stat"] = {"npix": [80.0] * len(red), "redcell": [float(label) for label in red]}
    with h5py.File(path, "w", userblock_size=0 if bare else 512) as file:
        for name, value in content.items():
            put_hdf5(file, name, value)
    if not bare:
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, HDF5 schema 1.00 .".ljust(512))
    return path


def write(path, content, form="5"):
    if form.startswith("7.3"):
        return write_73(path, content, bare="bare" in form)
    return write_5(path, content, compressed="compressed" in form)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Write the images and the categories once; the copy of the images is kept beside them."""
    folder = tmp_path_factory.mktemp("shared")
    places = (axis.astype(np.int16) for axis in np.ogrid[:68, :270, :2800])
    imgs = pixel(*places).astype(np.uint8)
    savemat(folder / "images_natimg2800_all.mat", {"imgs": imgs})
    number = (np.arange(2800) % 3).astype(np.uint8)
    classes = {"class_assignment": number, "class_names": np.array(WORDS, object)}
    savemat(folder / "classes.mat", classes)
    return folder


@pytest.fixture
def read(shared, tmp_path):
    """Return a function that writes a recording and reads it."""

    def function(content, form="5", name=NAME):
        path = write(tmp_path / name, content, form)
        others = shared / "images_natimg2800_all.mat", shared / "classes.mat"
        return read_stringer2018b(path, *others, folder=shared / "neutral")

    return function


def changed(field, value):
    """Return the content of a file with another value of one field; None removes it."""
    content = recorded()
    *outer, name = field.split(".")
    place = content[outer[0]] if outer else content
    if value is None:
        del place[name]
    else:
        place[name] = value
    return content


def said(recording, words):
    (step,) = (step for step in recording.provenance.preprocessing if words in step)
    return step


@pytest.mark.parametrize("form", FORMATS)
def test_the_published_format_is_read(read, form):
    content = recorded()
    recording = read(content, form)
    resp, istim = content["stim"]["resp"], content["stim"]["istim"].ravel()
    np.testing.assert_array_equal(recording.responses, resp[[0, 1, 3, 4, 6, 7]])
    np.testing.assert_array_equal(recording.grey, resp[[2, 5, 8]])
    np.testing.assert_array_equal(recording.spontaneous, content["stim"]["spont"])
    np.testing.assert_array_equal(recording.stimulus, [0, 2799, 6, 6, 2, 0])
    np.testing.assert_array_equal(recording.trials["presentation"], np.flatnonzero(istim < 2801))
    np.testing.assert_array_equal(recording.session, 0)
    np.testing.assert_allclose(recording.neurons[["x_um", "y_um", "z_um"]], content["med"])
    np.testing.assert_array_equal(recording.neurons["red"], content["redcell"])
    assert recording.neurons["red"].dtype == bool
    for activity, first in (("responses", "trial"), ("grey", "trial"), ("spontaneous", "time")):
        array = getattr(recording, activity)
        assert array.dims == (first, "neuron")
        assert array.dtype == np.float32
        assert array.attrs["units"] == "a.u."
        assert array.to_numpy().flags.c_contiguous
    assert recording.responses.attrs["quantity"].startswith("deconvolved fluorescence")
    assert list(recording.category) == [WORDS[k % 3] for k in (0, 2799, 6, 6, 2, 0)]


@pytest.mark.parametrize(
    ("name", "first_column"),
    [
        ("M160825_MP027_2016-12-14", 0),
        ("M170714_MP032_2017-08-07", 0),
        ("M170714_MP032_2017-09-14", 90),
        ("M170717_MP033_2017-08-20", 90),
    ],
)
def test_images_are_of_the_screen_that_the_neurons_look_at(read, name, first_column):
    recording = read(recorded(), name=f"natimg2800_{name}.mat")
    row, column = np.ogrid[:68, :90]
    assert recording.images.shape == (2800, 68, 90)
    assert recording.images.dtype == np.float32
    for image in (0, 1, 1377, 2799):
        expected = pixel(row, column + first_column, image)
        np.testing.assert_array_equal(recording.images[image], expected)
    assert f"columns {first_column} to {first_column + 89} of 270" in said(recording, "images: ")


def test_every_receptive_field_lies_within_its_crop():
    for field in FIELDS.values():
        part = stringer2018b.SCREENS[field.screen]
        assert part.start <= field.columns[0] < field.columns[1] <= part.stop
        assert 0 <= field.rows[0] < field.rows[1] <= 68


def test_the_provenance_says_where_it_is_from_and_what_was_done(read, shared, tmp_path):
    recording = read(recorded())
    provenance = recording.provenance
    paths = [tmp_path / NAME, shared / "images_natimg2800_all.mat", shared / "classes.mat"]
    assert provenance.sha256 == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }
    assert provenance.citation == "stringer2019"
    assert provenance.licence == "none stated"
    assert provenance.url == "https://doi.org/10.25378/janelia.6845348"
    assert "MP032, 2017-09-14" in provenance.source
    assert said(recording, "grey").startswith("3 presentations")
    assert "2 have two presentations, 2 one, 2796 none and 0 more" in said(recording, "none and")
    assert "0 in the responses, 0 in the spontaneous" in said(recording, "NaN")
    assert "marked, and kept" in said(recording, "red")


@pytest.mark.parametrize("form", FORMATS)
def test_a_recording_without_labels_says_so(read, form):
    recording = read(changed("redcell", None), form)
    assert not recording.neurons["red"].any()
    assert "says nothing" in said(recording, "red")


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_of_cells_without_labels_says_so(read, form):
    content = changed("redcell", None) | {"stat": {"npix": np.ones((1, 1))}}
    assert "says nothing" in said(read(content, form), "red")


@pytest.mark.parametrize("form", FORMATS)
def test_one_neuron_is_enough(read, form):
    content = recorded(1)
    recording = read(content, form)
    assert recording.n_neurons == 1
    np.testing.assert_array_equal(recording.neurons["red"], content["redcell"])


def test_without_grey_screens_there_are_none(read):
    content = recorded()
    content["stim"]["istim"] = np.arange(1, 10)
    recording = read(content)
    assert recording.grey is None
    assert recording.n_trials == 9
    assert "0 have two presentations, 9 one, 2791 none" in said(recording, "none and")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", [np.float64, np.uint16])
def test_other_number_types_are_read_alike(read, form, dtype):
    """MATLAB stores whole numbers in the smallest type; differences of them must not wrap."""
    content = recorded()
    for name in ("resp", "istim", "spont"):
        content["stim"][name] = content["stim"][name].astype(dtype)
    content["med"] = content["med"].astype(dtype)
    recording = read(content, form)
    np.testing.assert_allclose(recording.grey, content["stim"]["resp"][[2, 5, 8]], rtol=1e-6)
    assert recording.neurons["x_um"].dtype == np.float64
    assert recording.stimulus.dtype == np.int64


@pytest.mark.parametrize("form", FORMATS)
def test_nan_becomes_zero_and_is_counted(read, form):
    content = recorded()
    content["stim"]["resp"][[0, 2, 2], [1, 1, 4]] = np.nan
    content["stim"]["spont"][6, 0] = np.nan
    recording = read(content, form)
    assert recording.responses.to_numpy()[0, 1] == 0
    np.testing.assert_array_equal(recording.grey.to_numpy()[0, [1, 4]], 0)
    assert recording.spontaneous.to_numpy()[6, 0] == 0
    assert np.count_nonzero(recording.responses.to_numpy() == 0) == 1
    assert "3 in the responses, 1 in the spontaneous" in said(recording, "NaN")


def with_infinity(name):
    content = recorded()
    content["stim"][name][3, 2] = -np.inf
    return content


STIM = recorded()["stim"]
SPOILT = {
    "no responses": (changed("stim.resp", None), "lacks stim.resp"),
    "no stimuli": (changed("stim.istim", None), "lacks stim.istim"),
    "no spontaneous activity": (changed("stim.spont", None), "lacks stim.spont"),
    "no positions": (changed("med", None), "lacks med"),
    "no stim": (changed("stim", None), "lacks stim.resp, stim.istim, stim.spont"),
    "stim is no struct": (changed("stim", np.eye(2)), "lacks stim.resp"),
    "counted from 0": (changed("stim.istim", STIM["istim"] - 1), "1 to 2800.*got 0 to 2800"),
    "counted from 2": (changed("stim.istim", STIM["istim"] + 1), "got 2 to 2802"),
    "half stimuli": (changed("stim.istim", STIM["istim"] - 0.5), "whole numbers.*got 0.5"),
    "NaN stimulus": (changed("stim.istim", STIM["istim"] * np.nan), "got nan to nan"),
    "only grey": (changed("stim.istim", np.full(9, 2801)), "grey screens only"),
    "a stimulus less": (changed("stim.istim", STIM["istim"][1:]), r"\(9, 5\) for 8 stimuli"),
    "transposed": (changed("stim.resp", STIM["resp"].T), r"\(5, 9\) for 9 stimuli. Transpose"),
    "a cube": (changed("stim.resp", np.ones((9, 5, 2))), r"\(9, 5, 2\) for 9"),
    "other neurons": (changed("stim.spont", STIM["spont"][:, 1:]), r"\(time, 5\).*got \(7, 4\)"),
    "transposed spontaneous": (changed("stim.spont", STIM["spont"].T), r"got \(5, 7\)"),
    "no spontaneous frame": (changed("stim.spont", np.empty((0, 5))), "stim.spont .*not empty"),
    "planar": (changed("med", np.ones((5, 2))), r"med .*\(5, 3\).*got \(5, 2\)"),
    "transposed positions": (changed("med", np.ones((3, 5))), r"got \(3, 5\). Transpose"),
    "NaN positions": (changed("med", np.full((5, 3), np.nan)), "finite positions"),
    "a label less": (changed("redcell", np.ones(4)), "each of the 5 neurons of stim.resp; got 4"),
    "words": (changed("stim.resp", "responses"), "array of real numbers.*got 'responses'"),
    "complex": (changed("med", np.full((5, 3), 1j)), "array of real numbers"),
    "infinite": (with_infinity("resp"), "stim.resp .*must not be infinite"),
    "infinite spontaneous": (with_infinity("spont"), "stim.spont .*must not be infinite"),
}


@pytest.mark.parametrize("form", ["5", "7.3"])
@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_file_is_named_and_refused(read, shared, kind, form):
    content, message = SPOILT[kind]
    with pytest.raises(ValueError, match=message) as caught:
        read(content, form)
    assert NAME in str(caught.value)
    assert not list((shared / "neutral").glob(".unfinished/*"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_named_and_refused(read, tmp_path, form, fraction, monkeypatch):
    content = recorded(200)

    def cut(path, names):
        os.truncate(path, int(path.stat().st_size * fraction))
        return read_matlab(path, names)

    monkeypatch.setattr(stringer2018b, "read_matlab", cut)
    with pytest.raises(ValueError, match=rf"{NAME} .*(fetch it again|Fetch it again)"):
        read(content, form)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>robots stay out", b"MATLAB 5.0", b"\0" * 500, b"PK\3\4"]
)
def test_a_foreign_file_is_named_and_refused(shared, tmp_path, content):
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{NAME} .*MATLAB file.*fetch it again"):
        read_stringer2018b(path, path, path, folder=tmp_path)


def test_a_file_of_version_4_is_named_and_refused(tmp_path):
    savemat(tmp_path / "old.mat", {"med": np.eye(3)}, format="4")
    with pytest.raises(ValueError, match="old.mat is not a MATLAB file of version 5 or 7.3"):
        read_matlab(tmp_path / "old.mat", ["med"])


def test_a_renamed_recording_is_refused(read):
    with pytest.raises(ValueError, match="mouse3.mat is not the name of one of the seven.*MP031"):
        read(recorded(), name="mouse3.mat")


@pytest.mark.parametrize(
    ("imgs", "message"),
    [
        (np.zeros((68, 270, 32)), "68 x 270 pixels x 2800 images; got 68 x 270 x 32"),
        (np.zeros((270, 68)), "got 270 x 68"),
        (None, "lacks imgs"),
    ],
)
def test_other_images_are_named_and_refused(shared, tmp_path, imgs, message):
    path = tmp_path / "images.mat"
    savemat(path, {"imgs": imgs} if imgs is not None else {"other": 1})
    recording = write(tmp_path / NAME, recorded())
    with pytest.raises(ValueError, match=rf"images\.mat.*{message}|{message}.*images\.mat"):
        read_stringer2018b(recording, path, shared / "classes.mat", folder=tmp_path / "neutral")


def test_images_that_are_not_finite_are_refused(shared, tmp_path):
    path = tmp_path / "images.mat"
    with h5py.File(path, "w") as file:  # MATLAB's order of axes: the last image, the left screen
        imgs = file.create_dataset("imgs", (2800, 270, 68), "f4", chunks=(1, 270, 68))
        imgs[2799, 100, 5] = np.nan
    recording = write(tmp_path / NAME, recorded())
    with pytest.raises(ValueError, match=r"imgs in images\.mat must be finite"):
        read_stringer2018b(recording, path, shared / "classes.mat", folder=tmp_path / "neutral")


class TestCategories:
    NUMBER = np.arange(2800) % 3

    @pytest.mark.parametrize("form", FORMATS)
    def test_numbers_become_words(self, tmp_path, form):
        words = WORDS if form.startswith("7.3") else np.array(WORDS, object)
        content = {"class_assignment": self.NUMBER, "class_names": words}
        table = read_categories(write(tmp_path / "classes.mat", content, form))
        assert list(table["category"]) == [WORDS[k % 3] for k in range(2800)]

    @pytest.mark.parametrize(
        ("number", "names", "message"),
        [
            (NUMBER + 1, WORDS, "from 0 to 2.*got 2800 from 1 to 3"),
            (NUMBER[1:], WORDS, "got 2799 from 0 to 2"),
            (NUMBER + 0.5, WORDS, "from 0.5 to 2.5"),
            (NUMBER, [1, 2, 3], "class_names .*cell array of words"),
            (NUMBER, "birds", "class_names .*cell array of words"),
        ],
    )
    def test_a_file_of_another_version_is_refused(self, tmp_path, number, names, message):
        names = names if isinstance(names, str) else np.array(names, object)
        path = tmp_path / "classes.mat"
        savemat(path, {"class_assignment": number, "class_names": names})
        with pytest.raises(ValueError, match=rf"{message}") as caught:
            read_categories(path)
        assert "classes.mat" in str(caught.value)

    def test_the_published_file_is_as_described(self, real_data):
        table = read_categories(real_data("stringer/stimuli_class_assignment_confident.mat"))
        assert table["category"].value_counts().to_dict() == {
            "unknown": 343,
            "birds": 343,
            "cats": 356,
            "flowers": 132,
            "hamsters": 264,
            "holes": 41,
            "insects": 277,
            "mice": 381,
            "mushrooms": 368,
            "nests": 82,
            "pellets": 51,
            "snakes": 162,
        }


class TestNeutralCopy:
    """A recording loads from its copy, and never from a wrong one."""

    @pytest.fixture
    def convert(self, tmp_path):
        """Return a function that copies a small file; its calls are counted."""
        path = write(tmp_path / NAME, recorded())

        def function(folder=tmp_path / "neutral"):
            def counted(put):
                function.calls += 1
                return stringer2018b._convert(path, put)

            return neutral.neutral_copy(folder / neutral.copy_name(path), counted)

        function.calls, function.path = 0, path
        return function

    @staticmethod
    def same(first, second):
        assert first[0].keys() == second[0].keys()
        for name, array in first[0].items():
            np.testing.assert_array_equal(array, second[0][name])
            assert array.dtype == second[0][name].dtype
        assert first[1] == second[1]

    @staticmethod
    def folder(tmp_path):
        (folder,) = (tmp_path / "neutral").glob("natimg*")
        return folder

    def test_the_second_load_takes_the_copy(self, convert):
        first, second = convert(), convert()
        assert convert.calls == 1
        self.same(first, second)
        assert all(isinstance(array, np.memmap) for array in second[0].values())
        assert second[2] == ""

    def test_what_is_written_to_an_array_stays_here(self, convert):
        before = convert()[0]["responses"].copy()
        convert()[0]["responses"][:] = -1
        np.testing.assert_array_equal(convert()[0]["responses"], before)

    def test_another_file_gets_another_copy_and_the_old_one_goes(self, convert, tmp_path):
        convert()
        old = self.folder(tmp_path)
        write(convert.path, changed("med", np.ones((5, 3))))
        os.utime(convert.path, ns=(0, 12345))
        np.testing.assert_array_equal(convert()[0]["position"], 1)
        assert self.folder(tmp_path) != old

    @pytest.mark.parametrize(
        "damage",
        [
            lambda folder: os.truncate(folder / "responses.npy", 150),
            lambda folder: os.truncate(folder / "red.npy", 0),
            lambda folder: (folder / "grey.npy").unlink(),
            lambda folder: (folder / "content.json").unlink(),
            lambda folder: (folder / "content.json").write_text("{"),
            lambda folder: (folder / "content.json").write_text("[]"),
            lambda folder: (folder / "content.json").write_text('{"arrays": {}}'),
            lambda folder: np.save(folder / "red.npy", np.ones(5)),
            lambda folder: np.save(folder / "position.npy", np.ones((4, 3))),
            lambda folder: np.save(folder / "red.npy", np.array([{}], object), allow_pickle=True),
            lambda folder: shutil.rmtree(folder),
        ],
    )
    def test_a_damaged_copy_is_made_anew(self, convert, tmp_path, damage):
        first = convert()
        first = {name: np.array(array) for name, array in first[0].items()}, first[1]
        damage(self.folder(tmp_path))
        self.same(first, convert())
        assert convert.calls == 2
        convert()
        assert convert.calls == 2

    def test_a_full_disk_leaves_nothing_and_loads_all_the_same(
        self, convert, tmp_path, monkeypatch
    ):
        def fails(handle):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(neutral.os, "fsync", fails)
            held = convert()
        assert held[2] == "No space left on device"
        assert not any(isinstance(array, np.memmap) for array in held[0].values())
        assert [path for path in (tmp_path / "neutral").rglob("*") if path.is_file()] == []
        self.same(held, convert())

    def test_a_folder_that_cannot_be_made_is_told_in_the_provenance(self, shared, tmp_path):
        (tmp_path / "file").write_text("")
        path = write(tmp_path / NAME, recorded())
        others = shared / "images_natimg2800_all.mat", shared / "classes.mat"
        recording = read_stringer2018b(path, *others, folder=tmp_path / "file" / "neutral")
        np.testing.assert_array_equal(recording.grey, recorded()["stim"]["resp"][[2, 5, 8]])
        assert recording.images[2799, 67, 89] == pixel(67, 179, 2799)
        steps = recording.provenance.preprocessing
        assert sum("held in memory" in step and "Not a directory" in step for step in steps) == 2

    def test_several_at_once_do_not_disturb_each_other(self, convert, tmp_path):
        with ThreadPoolExecutor(4) as pool:
            copies = list(pool.map(lambda _: convert(), range(4)))
        for copy in copies[1:]:
            self.same(copies[0], copy)
        assert len(list((tmp_path / "neutral").glob("natimg*"))) == 1
        assert not list((tmp_path / "neutral").glob(".unfinished/*"))

    def test_what_a_killed_process_left_is_swept_after_a_day(self, convert, tmp_path):
        stale, fresh = (tmp_path / "neutral" / ".unfinished" / name for name in ("old", "new"))
        for folder in (stale, fresh):
            folder.mkdir(parents=True)
        os.utime(stale, times=(time.time() - 90000,) * 2)
        convert()
        assert (stale.exists(), fresh.exists()) == (False, True)

    @pytest.mark.parametrize("form", ["5", "5 compressed", "7.3"])
    def test_making_it_takes_little_more_than_the_arrays(self, tmp_path, form):
        n_trials, n_frames, n_neurons = 4000, 1500, 300
        content = recorded(n_neurons)
        rng = np.random.default_rng(0)
        content["stim"] = {
            "resp": rng.random((n_trials, n_neurons), np.float32),
            "istim": np.arange(n_trials) % 2800 + 1.0,
            "spont": rng.random((n_frames, n_neurons), np.float32),
        }
        path = write(tmp_path / NAME, content, form)
        del content
        tracemalloc.start()
        try:
            neutral.neutral_copy(tmp_path / "copy", lambda put: stringer2018b._convert(path, put))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1.5 * 4 * (n_trials + n_frames) * n_neurons


def test_a_mouse_of_the_catalogue_is_loaded_from_local_files(
    shared, tmp_path, real_data, monkeypatch
):
    classes = real_data("stringer/stimuli_class_assignment_confident.mat")
    monkeypatch.setenv("VISUALCORTEX_DATA", str(tmp_path))
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
    for path in (shared / "images_natimg2800_all.mat", classes):
        (tmp_path / path.name).symlink_to(path)
    write(tmp_path / "natimg2800_M170604_MP031_2017-06-28.mat", recorded(3))
    recording = load("stringer2018b", mouse=3, simulator="v1", seed=1)
    assert recording.n_neurons == 3
    assert "MP031" in recording.provenance.source
    assert len(recording.provenance.sha256) == 3
    assert (tmp_path / "stringer2018b" / "neutral").is_dir()
