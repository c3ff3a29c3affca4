"""Activations are those of the layers, kept on disk under names that tell them apart."""

import copy
import json
import os
import resource
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from visualcortex.models import activations
from visualcortex.models.activations import StoreError, default_store, extract, map_shapes

N_IMAGES = 7


class Tiny(nn.Module):
    """Two convolutions, the second with a residual that is added in place, then a readout."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(1)
        self.gain = 2.0
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.pair = Pair()
        self.readout = nn.Linear(4, 5)
        self.unused = nn.Identity()
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) * 0.5)
            self.norm.running_mean += 0.3
            self.norm.running_var *= 2.0

    def forward(self, images):
        first = torch.relu(self.norm(self.first(images)))
        maps = self.second(first)
        maps += first  # writes into what a hook on the second convolution has seen
        pooled, _ = self.pair(maps)
        return {"loss": None, "logits": self.readout(self.gain * pooled)}


class Pair(nn.Module):
    def forward(self, maps):
        return maps.mean((2, 3)), maps


def by_hand(network, images):
    """The layers of `Tiny`, from its weights."""
    x = torch.from_numpy(np.array(images, np.float32))
    norm = network.norm
    with torch.no_grad():
        convolved = functional.conv2d(x, network.first.weight, network.first.bias, padding=1)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shifted = convolved - norm.running_mean[:, None, None]
        normed = shifted * scale[:, None, None] + norm.bias[:, None, None]
        second = functional.conv2d(
            normed.relu(), network.second.weight, network.second.bias, padding=1
        )
        pooled = (second + normed.relu()).mean((2, 3))
        logits = network.gain * pooled @ network.readout.weight.T + network.readout.bias
    layers = {"first": convolved, "norm": normed, "second": second, "pair": pooled, "": logits}
    return {name: values.flatten(1).numpy() for name, values in layers.items()}


@pytest.fixture
def network():
    return Tiny().eval()


@pytest.fixture
def images():
    return np.random.default_rng(5).random((N_IMAGES, 3, 8, 6), dtype=np.float32)


def quiet(network, images, layers, **settings):
    settings = {"device": "cpu", "progress": False, "batch_size": 3, **settings}
    return extract(network, images, layers, **settings)


def names_in(store, kind="npy"):
    return sorted(path.name for path in store.iterdir() if path.suffix == f".{kind}")


# what a layer answers


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, N_IMAGES, 100])
def test_layers_answer_what_their_weights_say(network, images, tmp_path, stored, batch_size):
    expected = by_hand(network, images)
    store = tmp_path / "new" / "store" if stored else None
    found = quiet(network, images, list(expected), store=store, batch_size=batch_size)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == values.shape
        assert np.allclose(found[name], values, atol=1e-5), name
        assert values.std(0).mean() > 0.01  # images differ, so a wrong order would show


def test_the_order_of_images_is_kept(network, images):
    order = np.random.default_rng(2).permutation(N_IMAGES)
    straight = quiet(network, images, ["pair"])["pair"]
    assert np.allclose(quiet(network, images[order], ["pair"])["pair"], straight[order], atol=1e-6)


def test_a_network_left_in_training_is_evaluated_and_left_as_it_was(network, images):
    expected = by_hand(network, images)["norm"]
    network.train()
    network.second.eval()
    before = copy.deepcopy(network.state_dict())
    assert np.allclose(quiet(network, images, ["norm"])["norm"], expected, atol=1e-5)
    assert [part.training for part in network.modules()].count(False) == 1
    assert not network.second.training
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_the_mode_is_restored_and_hooks_are_gone_after_an_error(network, images, tmp_path):
    network.train()
    images[-1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        quiet(network, images, ["pair"], store=tmp_path)
    assert all(part.training for part in network.modules())
    assert not any(part._forward_hooks for part in network.modules())
    assert list(tmp_path.iterdir()) == []


def test_maps_are_averaged_over_areas(network, images):
    maps = by_hand(network, images)["first"].reshape(N_IMAGES, 4, 8, 6)
    means = maps.reshape(N_IMAGES, 4, 2, 4, 2, 3).mean((3, 5)).reshape(N_IMAGES, -1)
    found = quiet(network, images, ["first", "pair"], pool=2)
    assert np.allclose(found["first"], means, atol=1e-5)
    assert found["pair"].shape == (N_IMAGES, 4)  # no map, nothing to average
    larger = quiet(network, images, ["first"], pool=7)["first"]  # 6 columns stay as they are
    assert larger.shape == (N_IMAGES, 4 * 7 * 6)


def test_a_mapping_names_the_results(network, images):
    found = quiet(network, images, {"early": "first", "late": "pair", "again": "first"})
    assert list(found) == ["early", "late", "again"]
    assert np.array_equal(found["early"], found["again"])
    assert np.array_equal(found["late"], quiet(network, images, ["pair"])["pair"])


class Lazy:
    """Images that come a slice at a time, in double precision."""

    def __init__(self, images):
        self.images, self.shape, self.dtype = images, images.shape, np.dtype(np.float64)
        self.longest = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        piece = self.images[rows].astype(np.float64)
        self.longest = max(self.longest, len(piece))
        return piece


def test_images_may_come_in_pieces(network, images, tmp_path):
    lazy = Lazy(images)
    found = quiet(network, lazy, ["pair"])["pair"]
    assert lazy.longest == 3
    assert np.array_equal(found, quiet(network, images, ["pair"])["pair"])
    for shown in (lazy, images):  # the same values have the same name
        quiet(network, shown, ["pair"], store=tmp_path)
    assert len(names_in(tmp_path)) == 1


def test_a_network_in_double_precision_runs_in_it(network, images):
    expected = by_hand(network, images)["pair"]
    found = quiet(network.double(), images, ["pair"])["pair"]
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)
    assert network.first.weight.dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_and_the_network_comes_back(network, images):
    expected = by_hand(network, images)["second"]
    found = quiet(network, images, ["second"], device="cuda")["second"]
    assert np.allclose(found, expected, atol=1e-5)
    assert network.first.weight.device.type == "cpu"


# the store


def break_network(network):
    def refuse(*_):
        raise AssertionError("the network ran")

    network.first.register_forward_pre_hook(refuse)
    return network


def test_the_second_call_does_not_run_the_network(network, images, tmp_path):
    layers = ["first", "pair"]
    first = quiet(network, images, layers, store=tmp_path)
    again = quiet(break_network(network), images, layers, store=tmp_path, batch_size=5)
    for name in layers:
        assert isinstance(again[name], np.memmap)
        assert not again[name].flags.writeable
        assert np.array_equal(first[name], again[name])
        assert np.array_equal(again[name], quiet(Tiny(), images, layers)[name])
    with pytest.raises(AssertionError, match="the network ran"):
        quiet(network, images, ["first", "second"], store=tmp_path)


def test_only_missing_layers_are_computed(network, images, tmp_path):
    quiet(network, images, ["first"], store=tmp_path)
    (old,) = tmp_path.glob("*.npy")
    before = old.stat()
    quiet(network, images, ["first", "pair"], store=tmp_path)
    assert len(names_in(tmp_path)) == 2
    assert (old.stat().st_ino, old.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def change_weight(network):
    with torch.no_grad():
        network.readout.bias[0] += 1e-6


def change_buffer(network):
    network.norm.running_var[1] += 1e-6


def change_type(network):
    network.double()


def change_architecture(network):
    network.first.padding_mode = "circular"


def change_attribute(network):
    network.gain = 3.0


CHANGES = (change_weight, change_buffer, change_type, change_architecture, change_attribute)


@pytest.mark.parametrize("change", CHANGES)
def test_another_network_has_another_name(network, images, tmp_path, change):
    quiet(network, images, ["pair"], store=tmp_path)
    change(network)
    quiet(network, images, ["pair"], store=tmp_path)
    assert len(names_in(tmp_path)) == 2


def test_other_images_layers_and_pools_have_other_names(network, images, tmp_path):
    quiet(network, images, ["first"], store=tmp_path)
    quiet(network, images, ["second"], store=tmp_path)
    quiet(network, images, ["first"], store=tmp_path, pool=2)
    quiet(network, images, ["first"], store=tmp_path, pool=3)
    quiet(network, images[::-1], ["first"], store=tmp_path)
    quiet(network, images[:-1], ["first"], store=tmp_path)
    quiet(network, images.transpose(0, 1, 3, 2), ["first"], store=tmp_path)
    quiet(network, images.reshape(N_IMAGES, 3, 6, 8), ["first"], store=tmp_path)
    changed = images.copy()
    changed[3, 2, 1, 0] += np.float32(1e-6)
    quiet(network, changed, ["first"], store=tmp_path)
    assert len(names_in(tmp_path)) == 9


def test_the_name_does_not_depend_on_how_it_is_computed(network, images, tmp_path):
    for batch_size, training in ((1, False), (5, True)):
        network.train(training)
        quiet(network, images, ["first"], store=tmp_path, batch_size=batch_size)
    quiet(copy.deepcopy(network), images.copy(), {"early": "first"}, store=tmp_path)
    quiet(Tiny(), images, ["first"], store=tmp_path, device="auto")
    assert len(names_in(tmp_path)) == 1


def test_named_images_are_not_read_to_find_their_activations(network, images, tmp_path):
    found = quiet(network, images, ["pair"], store=tmp_path, images_key="set A")["pair"]

    class Unread(Lazy):
        def __getitem__(self, rows):
            raise AssertionError("the images were read")

    again = quiet(network, Unread(images), ["pair"], store=tmp_path, images_key="set A")["pair"]
    assert np.array_equal(found, again)
    with pytest.raises(AssertionError, match="were read"):
        quiet(network, Unread(images), ["pair"], store=tmp_path, images_key="set B")


def test_a_note_says_what_a_file_holds(network, images, tmp_path):
    quiet(network, images, ["first"], store=tmp_path, pool=2)
    (file,) = tmp_path.glob("*.npy")
    text = file.with_suffix(".json").read_text()
    note = json.loads(text)
    assert note["layer"] == "first"
    assert note["network"] == "Tiny"
    assert note["shape"] == [N_IMAGES, 16]
    assert note["pool"] == 2
    assert str(tmp_path) not in text
    assert len(file.stem) == 64


def _truncate(file):
    os.truncate(file, file.stat().st_size - 1)


def _lengthen(file):
    with file.open("ab") as stream:
        stream.write(b"more")


def _empty(file):
    os.truncate(file, 0)


def _text(file):
    file.write_text("not an array")


def _archive(file):
    with file.open("wb") as stream:
        np.savez(stream, a=np.zeros(3))


def _pickle(file):
    with file.open("wb") as stream:
        np.save(stream, np.array([{}], dtype=object))


def _doubles(file):
    with file.open("wb") as stream:
        np.save(stream, np.zeros((N_IMAGES, 4)))


def _fewer(file):
    with file.open("wb") as stream:
        np.save(stream, np.zeros((N_IMAGES - 1, 4), np.float32))


def _columns(file):
    with file.open("wb") as stream:
        np.save(stream, np.zeros((N_IMAGES, 4), np.float32, order="F"))


def _gone(file):
    file.unlink()


DAMAGES = (_truncate, _lengthen, _empty, _text, _archive, _pickle)
DAMAGES += (_doubles, _fewer, _columns, _gone)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_anew(network, images, tmp_path, damage):
    expected = quiet(network, images, ["pair"])["pair"]
    quiet(network, images, ["pair"], store=tmp_path)
    (file,) = tmp_path.glob("*.npy")
    damage(file)
    assert np.array_equal(quiet(network, images, ["pair"], store=tmp_path)["pair"], expected)
    again = quiet(break_network(network), images, ["pair"], store=tmp_path)["pair"]
    assert np.array_equal(again, expected)


def test_no_byte_of_the_header_can_be_changed_unnoticed(network, images, tmp_path):
    expected = quiet(network, images, ["pair"], store=tmp_path)["pair"]
    (file,) = tmp_path.glob("*.npy")
    content = file.read_bytes()
    for place in range(expected.offset):
        for flip in (1, 16, 128):
            file.write_bytes(
                content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
            )
            opened = activations._opened(file, N_IMAGES)
            assert opened is None or np.array_equal(opened, expected), (place, flip)


def test_a_full_disk_is_said_and_nothing_is_left(network, images, tmp_path):
    many = np.tile(images, (40, 1, 1, 1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"'first' \(\d+ bytes\).*store") as caught:
            quiet(network, many, ["pair", "first"], store=tmp_path, batch_size=50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) in str(caught.value)
    assert str(many.shape[0] * 4 * 8 * 6 * 4) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_said(network, images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="another folder"):
        quiet(network, images, ["pair"], store=tmp_path / "file" / "store")


def test_two_at_the_same_time_do_no_harm(network, images, tmp_path):
    other, inner = copy.deepcopy(network), {}

    def meanwhile(*_):
        if not inner:  # while the first has written its first batch
            inner.update(quiet(other, images, ["pair"], store=tmp_path))

    handle = network.readout.register_forward_hook(meanwhile)
    outer = quiet(network, images, ["pair"], store=tmp_path)
    handle.remove()
    expected = quiet(network, images, ["pair"])["pair"]
    assert np.array_equal(outer["pair"], expected)
    assert np.array_equal(inner["pair"], expected)
    assert len(names_in(tmp_path)) == len(names_in(tmp_path, "json")) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_unfinished_files_of_processes_that_are_gone_are_removed(network, images, tmp_path):
    old, new = tmp_path / "a.unfinished", tmp_path / "b.unfinished"
    for path, age in ((old, 2 * activations.STALE), (new, 0)):
        path.write_text("")
        os.utime(path, (time.time() - age,) * 2)
    quiet(network, images, ["pair"], store=tmp_path)
    assert not old.exists()
    assert new.exists()


def test_no_more_than_a_batch_is_held(network, images, tmp_path, monkeypatch):
    lengths = []
    write = activations._OnDisk.append

    def append(self, rows):
        lengths.append(len(rows))
        write(self, rows)

    monkeypatch.setattr(activations._OnDisk, "append", append)
    quiet(network, images, ["first"], store=tmp_path)
    assert lengths == [3, 3, 1]


# bad input


def test_a_missing_layer_is_named_with_similar_ones(network, images):
    with pytest.raises(ValueError, match="no layer 'secnd'.*'second'"):
        quiet(network, images, ["first", "secnd"])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.fold = nn.Flatten(0, 1)
        self.no_tensor = NoTensor()

    def forward(self, images):
        self.no_tensor(images)
        self.fold(images)
        return self.act(self.act(images))


class NoTensor(nn.Module):
    def forward(self, images):
        return "words"


@pytest.mark.parametrize(
    ("layer", "message"),
    [("act", "2 times"), ("fold", "9 rows for 3 images"), ("no_tensor", "got str")],
)
def test_layers_without_a_row_an_image_are_refused(images, layer, message):
    with pytest.raises(ValueError, match=message):
        quiet(Twice(), images, [layer])


def test_a_layer_that_is_not_run_is_refused(network, images):
    with pytest.raises(ValueError, match="'unused' 0 times"):
        quiet(network, images, ["unused"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": "pair"}, "list or a mapping"),
        ({"layers": []}, "at least one layer"),
        ({"pool": 0}, "at least 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"images": np.zeros((2, 3, 8, 6), np.uint8)}, "Divide bytes"),
        ({"images": np.zeros((3, 8, 6))}, "got shape"),
        ({"images": np.zeros((0, 3, 8, 6))}, "at least one"),
    ],
)
def test_unsuitable_input_is_refused(network, images, settings, message):
    arguments = {"network": network, "images": images, "layers": ["pair"], **settings}
    with pytest.raises(ValueError, match=message):
        quiet(**arguments)


@pytest.mark.parametrize("pool", [None, 2, 50])
def test_rows_unfold_to_the_shape_that_is_said(pool):
    images = np.random.default_rng(3).random((2, 3, 6, 5), dtype=np.float32)
    layers = {"early": "first", "late": "second"}
    network = Tiny().train()
    shapes = map_shapes(network, images[:1], layers, pool=pool)
    rows = extract(network, images, layers, pool=pool, progress=False)
    expected = (4, 6, 5) if pool != 2 else (4, 2, 2)
    assert shapes == {"early": expected, "late": expected}
    assert all(np.prod(shapes[name]) == rows[name].shape[1] for name in layers)
    assert network.training, "the mode is put back"
    with pytest.raises(ValueError, match="no layer 'frist'"):
        map_shapes(network, images[:1], ["frist"])


def test_the_folder_of_activations_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VISUALCORTEX_ACTIVATIONS", str(tmp_path / "here"))
    assert default_store() == tmp_path / "here"
    images = np.zeros((2, 3, 5, 5), np.float32)
    extract(Tiny(), images, ["first"], store=default_store(), progress=False)
    assert len(list((tmp_path / "here").glob("*.npy"))) == 1
    monkeypatch.delenv("VISUALCORTEX_ACTIVATIONS")
    assert default_store().parts[-2:] == ("visualcortex", "activations")
