"""The reader of the Brain-Score edition: netCDF-4 files, tables and archives in its layout."""

from __future__ import annotations

import hashlib
import itertools
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex.catalogue import ENTRIES
from visualcortex.sources.brainscore import ROWS, read_majaj2015_public
from visualcortex.sources.fetch import checksum
from visualcortex.sources.lazy_images import ZipImages

IDS = ["8a72e2bf", "16db0ab5", "ecd40f3f", "006d66c2"]  # as in the file: hashes
OBJECTS = ["car_astra", "face0", "apple", "ship3"]
FILES = [f"{name}_{key}_256x256.png" for name, key in zip(OBJECTS, IDS, strict=True)]
REGIONS = ["IT", "V4", "IT", "IT", "V4"]
SHOWN = [2, 0, 1, 0, 3, 2, 2]
DIMS = ("neuroid", "presentation", "time_bin")  # the order of the published file
PIXELS = (256, 256)


def recorded():
    """Return the variables of a small assembly by name: dimensions and values."""
    rng = np.random.default_rng(0)
    n_sites, n_shown = len(REGIONS), len(SHOWN)
    return {
        "neuroid_id": (("neuroid",), [f"Chabo_L_M_5_{k}" for k in range(n_sites)]),
        "animal": (("neuroid",), ["Chabo", "Chabo", "Chabo", "Tito", "Tito"]),
        "region": (("neuroid",), REGIONS),
        "subregion": (("neuroid",), ["cIT", "V4", "aIT", "pIT", "V4"]),
        "x": (("neuroid",), rng.standard_normal(n_sites)),
        "image_id": (("presentation",), [IDS[k] for k in SHOWN]),
        "repetition": (("presentation",), np.array([0, 0, 0, 1, 0, 1, 2])),
        "time_bin_start": (("time_bin",), np.array([70])),
        "time_bin_end": (("time_bin",), np.array([170])),
        "dicarlo.MajajHong2015.public": (
            DIMS,
            rng.standard_normal((n_sites, n_shown, 1)).astype(np.float32),
        ),
    }


def described():
    """Return the table of the images as published."""
    return pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "background_id": IDS[::-1],
            "image_id": IDS,
            "object_name": OBJECTS,
            "category_name": ["Cars", "Faces", "Fruits", "Boats"],
            "variation": [0, 0, 3, 3],
            "filename": FILES,
        }
    )


def write_assembly(path, content, **how):
    """Write variables as the netCDF-4 library does: named scales, words of any length."""
    lengths = {}
    for dims, value in content.values():
        lengths |= dict(zip(dims, np.shape(value), strict=True))
    with h5py.File(path, "w") as file:
        for number, (dim, length) in enumerate(lengths.items()):
            scale = file.create_dataset(dim, shape=(length,), dtype=">f4")
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {length:9d}")
            scale.attrs["_Netcdf4Dimid"] = np.int32(number)
        for name, (dims, value) in content.items():
            value = np.asarray(value)
            kind = h5py.string_dtype() if value.dtype.kind == "U" else value.dtype
            node = file.create_dataset(
                name, data=value.astype(kind), **(how if len(dims) == 3 else {})
            )
            for axis, dim in enumerate(dims):
                node.dims[axis].attach_scale(file[dim])
    return path


def png(pixels):
    """Return bytes ``(row, column[, colour])`` as a PNG file, written by hand."""
    colours = {2: 0, 3: 2, 4: 6}[2 if pixels.ndim == 2 else pixels.shape[2]]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, colours, 0, 0, 0)

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(itertools.starmap(chunk, parts))


def picture(k):
    """Return image k: grey, coloured, with opacity, coloured."""
    rng = np.random.default_rng(k)
    shape = PIXELS + {0: (), 1: (3,), 2: (4,), 3: (3,)}[k]
    return rng.integers(0, 256, shape).astype(np.uint8)


def write_archive(path, pictures):
    with zipfile.ZipFile(path, "w") as archive:
        for name, pixels in pictures.items():
            archive.writestr(name, pixels if isinstance(pixels, bytes) else png(pixels))
    return path


def pictures():
    return {name: picture(k) for k, name in enumerate(FILES)}


@pytest.fixture
def read(tmp_path):
    """Return a function that writes the files and reads them."""

    def function(content=None, table=None, archive=None, how=None, **options):
        content = recorded() if content is None else content
        table = described() if table is None else table
        assembly = write_assembly(tmp_path / "assy.nc", content, **(how or {}))
        table.to_csv(tmp_path / "stimulus.csv", index=False)
        images = None if archive is None else write_archive(tmp_path / "stimulus.zip", archive)
        return read_majaj2015_public(assembly, tmp_path / "stimulus.csv", images, **options)

    return function


def rates(content, region):
    values = content["dicarlo.MajajHong2015.public"][1][:, :, 0].T
    return values[:, np.array(REGIONS) == region]


def steps(recording, words):
    return [step for step in recording.provenance.preprocessing if words in step]


@pytest.mark.parametrize("region", ["IT", "V4"])
def test_the_published_layout_is_read(read, region):
    recording = read(archive=pictures(), region=region)
    np.testing.assert_array_equal(recording.responses, rates(recorded(), region))
    assert recording.responses.dtype == np.float32
    assert recording.responses.attrs["quantity"] == "rate, 70-170 ms, normalised"
    np.testing.assert_array_equal(recording.stimulus, SHOWN)
    np.testing.assert_array_equal(recording.trials["repetition"], [0, 0, 0, 1, 0, 1, 2])
    np.testing.assert_array_equal(recording.session, 0)
    names = {"IT": [0, 2, 3], "V4": [1, 4]}[region]
    assert list(recording.neurons["site"]) == [f"Chabo_L_M_5_{k}" for k in names]
    assert set(recording.neurons["region"]) == {region}
    assert list(recording.neurons) == ["site", "animal", "region", "subregion"]
    stimuli = recording.stimuli
    assert list(stimuli["stimulus_id"]) == IDS
    assert list(stimuli["object"]) == OBJECTS
    assert list(stimuli["category"]) == ["cars", "faces", "fruits", "boats"]
    assert list(stimuli["variation"]) == [0, 0, 3, 3]
    assert list(recording.category[:3]) == ["fruits", "cars", "faces"]
    assert len(recording.provenance.sha256) == 3
    assert not steps(recording, "left out: a site")
    assert not steps(recording, "without any presentation")


def test_the_default_region_is_it(read):
    assert read().n_neurons == 3


@pytest.mark.parametrize("dims", list(itertools.permutations(DIMS)), ids="-".join)
def test_the_dimensions_may_come_in_any_order(read, dims):
    content = recorded()
    values = xr.DataArray(content["dicarlo.MajajHong2015.public"][1], dims=DIMS)
    content["dicarlo.MajajHong2015.public"] = (dims, values.transpose(*dims).to_numpy())
    np.testing.assert_array_equal(read(content).responses, rates(recorded(), "IT"))


def test_the_name_of_the_variable_and_the_newer_name_of_the_ids_are_free(read):
    content = recorded()
    content["data"] = content.pop("dicarlo.MajajHong2015.public")
    content["stimulus_id"] = content.pop("image_id")
    recording = read(content, described().rename(columns={"image_id": "stimulus_id"}))
    np.testing.assert_array_equal(recording.stimulus, SHOWN)


@pytest.mark.parametrize("chunk", [None, 100, ROWS + 7])
def test_many_presentations_are_read_piece_by_piece(read, chunk):
    rng = np.random.default_rng(1)
    n_shown = 2 * ROWS + 321
    values = rng.standard_normal((len(REGIONS), n_shown, 1)).astype(np.float32)
    shown = rng.integers(0, 4, n_shown)
    content = recorded() | {
        "dicarlo.MajajHong2015.public": (DIMS, values),
        "image_id": (("presentation",), np.array(IDS)[shown]),
        "repetition": (("presentation",), np.arange(n_shown)),
    }
    how = {} if chunk is None else {"chunks": (2, chunk, 1), "compression": "gzip"}
    recording = read(content, how=how)
    np.testing.assert_array_equal(recording.responses, rates(content, "IT"))
    np.testing.assert_array_equal(recording.stimulus, shown)


def test_presentations_without_a_value_are_left_out_and_counted(read):
    content = recorded()
    values = content["dicarlo.MajajHong2015.public"][1]
    values[2, 4] = np.nan  # a site of IT, the only presentation of image 3
    values[3, [1, 4]] = np.nan
    values[1, 0] = np.nan  # a site of V4
    kept = [0, 2, 3, 5, 6]
    recording = read(content)
    np.testing.assert_array_equal(recording.responses, rates(recorded(), "IT")[kept])
    np.testing.assert_array_equal(recording.stimulus, np.array(SHOWN)[kept])
    np.testing.assert_array_equal(recording.trials.index, np.arange(5))
    assert steps(recording, "2 of 7 presentations left out: a site has no value")
    assert steps(recording, "1 images of the table are without any presentation")
    assert steps(read(content, region="V4"), "1 of 7 presentations left out")


def test_images_are_those_of_the_table_in_its_order(read):
    recording = read(archive=dict(reversed(pictures().items())))
    images = recording.images
    assert images.shape == (4, 3, 256, 256)
    for k in range(4):
        pixels = picture(k)
        expected = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels[..., :3]
        np.testing.assert_allclose(images[k], np.moveaxis(expected, 2, 0) / 255, atol=1e-6)
    np.testing.assert_array_equal(images[[3, 0, 3]], images[:][[3, 0, 3]])
    assert images[:].dtype == np.float32
    assert read().images is None


def test_a_file_written_by_xarray_is_read(tmp_path):
    pytest.importorskip("netCDF4", reason="needs netCDF4 to write the file in the publisher's way")
    content = recorded()
    values = content.pop("dicarlo.MajajHong2015.public")[1]
    coords = {name: (dims, np.array(value)) for name, (dims, value) in content.items()}
    for name in ("image_id", "neuroid_id", "region", "animal", "subregion"):
        coords[name] = (coords[name][0], coords[name][1].astype(object))
    array = xr.DataArray(values, dims=DIMS, coords=coords, name="dicarlo.MajajHong2015.public")
    array.to_netcdf(tmp_path / "assy.nc", format="NETCDF4", engine="netcdf4")
    described().to_csv(tmp_path / "stimulus.csv", index=False)
    recording = read_majaj2015_public(tmp_path / "assy.nc", tmp_path / "stimulus.csv")
    np.testing.assert_array_equal(recording.responses, rates(recorded(), "IT"))
    np.testing.assert_array_equal(recording.stimulus, SHOWN)


def replaced(name, value, dims=None):
    def damage(content):
        content[name] = (dims or content[name][0], value(np.asarray(content[name][1])))

    return damage


def removed(name):
    return lambda content: content.pop(name)


def two_variables(content):
    content["again"] = content["dicarlo.MajajHong2015.public"]


def two_bins(content):
    name = "dicarlo.MajajHong2015.public"
    content[name] = (DIMS, np.repeat(content[name][1], 2, axis=2))
    for end in ("start", "end"):
        content[f"time_bin_{end}"] = (("time_bin",), np.array([70, 170]))


RATES = "dicarlo.MajajHong2015.public"
BROKEN = {
    "no rates": (removed(RATES), "one variable of numbers with the dimensions .*; got 0"),
    "two": (two_variables, "one variable of numbers with the dimensions presentation.*; got 2"),
    "words": (replaced(RATES, lambda x: x.astype(str)), "one variable of numbers"),
    "no site": (removed("neuroid_id"), "lacks neuroid_id"),
    "no animal": (removed("animal"), "lacks animal"),
    "no region": (removed("region"), "lacks region"),
    "no image": (removed("image_id"), "lacks stimulus_id"),
    "no repetition": (removed("repetition"), "lacks repetition"),
    "no start": (removed("time_bin_start"), "lacks time_bin_start"),
    "time course": (two_bins, "one time bin .70 to 170 ms.; got 2"),
    "numbers for words": (replaced("region", lambda x: np.arange(5)), "region in .* must hold wo"),
    "two sites": (
        replaced("neuroid_id", lambda x: np.array(["a", "b", "a", "c", "d"])),
        "neuroid_id in .* must name every site once; got 'a' more",
    ),
    "other axis": (
        replaced("repetition", lambda x: np.arange(5), dims=("neuroid",)),
        r"repetition in .* must have shape \(7\); got \(5,\)",
    ),
    "half repeats": (
        replaced("repetition", lambda x: x / 2),
        "repetition in .* must hold integers",
    ),
    "unknown image": (
        replaced("image_id", lambda x: np.where(x == IDS[1], "zzz", x)),
        "presents 1 images that stimulus.csv does not describe, 'zzz' among them",
    ),
    "all NaN": (
        replaced(RATES, lambda x: x * np.nan),
        "no presentation for which all 3 sites have",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_assembly_of_another_form_is_refused_by_name(read, broken):
    damage, message = BROKEN[broken]
    content = recorded()
    damage(content)
    with pytest.raises(ValueError, match=message) as error:
        read(content)
    assert "assy.nc" in str(error.value)


TABLES = {
    "no id": (lambda t: t.drop(columns="image_id"), "missing: stimulus_id"),
    "no category": (lambda t: t.drop(columns="category_name"), "missing: category_name"),
    "no file": (lambda t: t.drop(columns="filename"), "missing: filename"),
    "no variation": (lambda t: t.drop(columns="variation"), "missing: variation"),
    "twice": (lambda t: t.assign(image_id=IDS[:3] + IDS[:1]), "'8a72e2bf' more than once"),
    "gap": (lambda t: t.assign(category_name=["a", None, "b", "c"]), "gaps in category"),
    "empty": (lambda t: t[:0], "gaps in all columns"),
    "words": (lambda t: t.assign(variation=["V0"] * 4), "variation in .* integers; got 'V0'"),
    "fewer": (lambda t: t[:3], "presents 1 images that stimulus.csv does not describe, '006d66c2'"),
}


@pytest.mark.parametrize("broken", TABLES)
def test_a_table_of_another_form_is_refused_by_name(read, broken):
    damage, message = TABLES[broken]
    with pytest.raises(ValueError, match=message) as error:
        read(table=damage(described()))
    assert "stimulus.csv" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\x89\xff\x00,\n", b'a,b\n"1,2\n'])
def test_a_table_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "stimulus.csv").write_bytes(content)
    assembly = write_assembly(tmp_path / "assy.nc", recorded())
    with pytest.raises(ValueError, match="stimulus.csv is not a comma-separated table"):
        read_majaj2015_public(assembly, tmp_path / "stimulus.csv")


@pytest.mark.parametrize("region", ["V1", "it", "", None])
def test_an_unknown_region_is_refused_with_the_known_ones(read, region):
    with pytest.raises(ValueError, match=f"region must be one of IT, V4; got {region!r}"):
        read(region=region)


def test_a_damaged_assembly_is_refused(tmp_path):
    path = write_assembly(tmp_path / "assy.nc", recorded())
    described().to_csv(tmp_path / "stimulus.csv", index=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"assy.nc cannot be read"):
        read_majaj2015_public(path, tmp_path / "stimulus.csv")
    path.write_bytes(b"CDF\x01" + whole)  # netCDF-3
    with pytest.raises(ValueError, match="assy.nc is not an HDF5 file; it begins with b'CDF"):
        read_majaj2015_public(path, tmp_path / "stimulus.csv")
    with h5py.File(path, "w") as file:  # HDF5, but not netCDF
        file["data"] = np.zeros((5, 7, 1))
    with pytest.raises(ValueError, match="one variable of numbers with the dimensions .*; got 0"):
        read_majaj2015_public(path, tmp_path / "stimulus.csv")


ARCHIVES = {
    "missing": (lambda p: p.popitem(), "lacks 1 of 4 images, the first ship3_006d66c2_256x256.png"),
    "small": (lambda p: p.update({FILES[0]: picture(0)[:64]}), "256 x 256 pixels; got 64 x 256"),
    "not a PNG": (lambda p: p.update({FILES[0]: b"<html>"}), "is damaged or not a PNG"),
    "cut": (lambda p: p.update({FILES[0]: png(picture(0))[:9000]}), "is damaged or not a PNG"),
    "nothing": (lambda p: p.update({FILES[0]: b""}), "is damaged or not a PNG"),
}


@pytest.mark.parametrize("broken", ARCHIVES)
def test_an_archive_of_another_form_is_refused_by_name(read, broken):
    damage, message = ARCHIVES[broken]
    content = pictures()
    damage(content)
    with pytest.raises(ValueError, match=message) as error:
        read(archive=content)
    assert "stimulus.zip" in str(error.value)


def test_a_damaged_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / "stimulus.zip", pictures())
    whole = path.read_bytes()
    images = ZipImages(path, pictures(), PIXELS)
    middle = whole.index(FILES[0].encode()) + 5000
    path.write_bytes(whole[:middle] + bytes(100) + whole[middle + 100 :])
    with pytest.raises(ValueError, match=f"{FILES[0]} in stimulus.zip is damaged"):
        images[0]
    path.write_bytes(whole[:-1000])
    with pytest.raises(ValueError, match="stimulus.zip is not a zip archive, or is cut short"):
        images[1]


def test_the_published_checksums_are_sha1(tmp_path):
    (tmp_path / "x").write_bytes(b"neurons")
    assert checksum(tmp_path / "x", "sha1") == f"sha1:{hashlib.sha1(b'neurons').hexdigest()}"
    (entry,) = (entry for entry in ENTRIES if entry.id == "majaj2015_public")
    assert {file.checksum.split(":")[0] for file in entry.files} == {"sha1"}
