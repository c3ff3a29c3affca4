"""ResNets are built, trained and loaded as they say."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from visualcortex.models.activations import extract
from visualcortex.models.backbones import (
    IMAGENET_MEAN,
    IMAGENET_SD,
    REVISIONS,
    Luminance,
    Normalised,
    WeightsError,
    published_resnet,
    small_resnet,
    stages,
    train_classifier,
    untrained,
)

TINY = {"widths": (4, 6), "n_blocks": (1, 2)}


def task(n_images, seed, n_classes=3):
    """Images whose class is the direction of a grating of random phase, and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_images) % n_classes
    angle = np.pi * labels / n_classes
    y, x = np.mgrid[:32, :32] / 32
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    phase = rng.uniform(0, 2 * np.pi, (n_images, 1, 1))
    grey = 0.5 + 0.3 * np.sin(2 * np.pi * 4 * along + phase)
    images = np.repeat(grey[:, None], 3, 1) + 0.1 * rng.normal(size=(n_images, 3, 32, 32))
    return images.clip(0, 1).astype(np.float32), labels


SHORT = {"n_epochs": 3, "batch_size": 16, "device": "cpu", "progress": False}


# the networks


def test_the_same_seed_gives_the_same_weights_and_another_others():
    one, same, other = (small_resnet(3, **TINY, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    convolutions = [name for name in one if name.endswith("convolution.weight")]
    assert len(convolutions) == 8
    assert not any(torch.equal(one[name], other[name]) for name in convolutions)


def test_building_and_training_leave_the_random_states_alone():
    before, drawn = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    network = small_resnet(3, **TINY, seed=1)
    images, labels = task(16, 1)
    train_classifier(network, images, labels, task(6, 2), **{**SHORT, "n_epochs": 1})
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(drawn, np.random.get_state()[1])  # noqa: NPY002


def test_images_are_standardised_and_resized():
    network = Normalised(nn.Identity(), IMAGENET_MEAN, IMAGENET_SD, 16)
    flat = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(1, 3, 50, 50)
    expected = [(0.2 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.9 - 0.406) / 0.225]
    given = network(flat)
    assert given.shape == (1, 3, 16, 16)
    assert torch.allclose(given, torch.tensor(expected)[:, None, None].expand(1, 3, 16, 16))


def test_resizing_does_not_alias():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 1::4] = stripes[..., 2::4] = 1.0  # finer than 8 pixels can show
    shown = Normalised(nn.Identity(), (0.0,) * 3, (1.0,) * 3, 8)(stripes)
    assert (shown[..., 1:-1] - 0.5).abs().max() < 0.05
    same = Normalised(nn.Identity(), (0.0,) * 3, (1.0,) * 3, 32)(stripes)
    assert torch.equal(same, stripes)


def test_another_size_is_another_network_to_the_store(tmp_path):
    images, _ = task(3, 1)
    for size in (32, 16):
        network = Normalised(small_resnet(3, **TINY, seed=1).network, size=size)
        extract(network, images, ["network.resnet.pooler"], store=tmp_path, progress=False)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_stages_are_the_hidden_states_of_the_network():
    network = small_resnet(3, **TINY, seed=1)
    images, _ = task(5, 1)
    paths = stages(network)
    assert list(paths) == ["embedder", "stage 1", "stage 2", "average"]
    found = extract(network, images, paths, batch_size=2, device="cpu", progress=False)
    with torch.no_grad():
        standard = (torch.from_numpy(images) - 0.5) / 0.25
        output = network.network.resnet(standard, output_hidden_states=True)
    hidden = [*output.hidden_states, output.pooler_output]
    assert [tuple(h.shape[1:]) for h in hidden] == [(4, 8, 8), (4, 8, 8), (6, 4, 4), (6, 1, 1)]
    for name, values in zip(paths, hidden, strict=True):
        assert np.allclose(found[name], values.flatten(1), atol=1e-5)


def test_the_default_network_sees_small_images():
    network = small_resnet(8, seed=1)
    shapes = extract(
        network, np.zeros((1, 3, 64, 64), np.float32), stages(network), progress=False, device="cpu"
    )
    sizes = [values.shape[1] for values in shapes.values()]
    assert sizes == [16 * 16**2, 16 * 16**2, 32 * 8**2, 64 * 4**2, 128 * 2**2, 128]


def test_stages_of_bare_and_of_other_networks():
    network = small_resnet(3, **TINY, seed=1).network.resnet
    assert stages(network)["stage 2"] == "encoder.stages.1"
    with pytest.raises(ValueError, match="got Linear with 0"):
        stages(nn.Linear(2, 2))


def test_an_untrained_network_has_the_form_and_no_weight_of_the_trained_one():
    network = small_resnet(3, **TINY, size=40, seed=1)
    state = torch.random.get_rng_state()
    fresh, again = untrained(network, 2), untrained(network, 2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert stages(fresh) == stages(network)
    assert fresh.size == 40
    assert not fresh.training
    for (name, old), new, same in zip(
        network.named_parameters(), fresh.parameters(), again.parameters(), strict=True
    ):
        assert old.shape == new.shape
        assert torch.equal(new, same)
        if old.ndim > 1:
            assert not torch.equal(old, new), name


def test_luminance_is_the_mean_of_the_colours():
    images = np.random.default_rng(0).random((3, 3, 4, 6), dtype=np.float32)
    found = extract(Luminance(), images, {"grey": ""}, progress=False)["grey"]
    np.testing.assert_allclose(found, images.mean(axis=1).reshape(3, -1), rtol=1e-6)


@pytest.mark.parametrize(
    ("n_classes", "settings"),
    [(1, {}), (3, {"widths": (4,), "n_blocks": (1, 1)}), (3, {"widths": (), "n_blocks": ()})]
    + [(3, {"widths": (4, 0), "n_blocks": (1, 1)})],
)
def test_impossible_networks_are_refused(n_classes, settings):
    with pytest.raises(ValueError, match="at least 2 classes"):
        small_resnet(n_classes, **settings, seed=1)


# training


@pytest.fixture(scope="module")
def trained():
    network = small_resnet(3, **TINY, seed=1)
    images, labels = task(192, 1)
    settings = {**SHORT, "n_epochs": 6, "learning_rate": 1e-2}
    history = train_classifier(network, images, labels, task(48, 2), **settings)
    return network, history


def logits_of(network, images):
    return extract(network, images, {"logits": ""}, device="cpu", progress=False)["logits"]


def test_training_makes_it_tell_classes_apart(trained):
    network, history = trained
    images, labels = task(150, 3)
    right = (logits_of(network, images).argmax(1) == labels).mean()
    assert right > 0.8  # chance is a third
    assert list(history.columns) == ["epoch", "train", "validation", "kept"]
    assert not network.training


def test_the_best_epoch_is_kept_with_its_loss(trained):
    network, history = trained
    images, labels = task(48, 2)
    loss = functional.cross_entropy(
        torch.from_numpy(logits_of(network, images)), torch.from_numpy(labels)
    )
    assert loss.item() == pytest.approx(history["validation"].min(), rel=1e-4)
    assert history.loc[history["kept"], "validation"].item() == history["validation"].min()


class Lazy:
    """Images that are read by rows only."""

    def __init__(self, images):
        self.images, self.shape, self.dtype = images, images.shape, images.dtype

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        return self.images[rows]


def test_training_is_repeatable_and_reads_images_in_pieces():
    states = []
    for wrap, seed in ((np.asarray, 4), (Lazy, 4), (np.asarray, 5)):
        network = small_resnet(3, **TINY, seed=1)
        images, labels = task(33, 1)
        validation = task(9, 2)
        train_classifier(
            network, wrap(images), labels, (wrap(validation[0]), validation[1]), **SHORT, seed=seed
        )
        states.append(torch.cat([p.flatten() for p in network.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def bytes_of(images, labels):
    return (images * 255).astype(np.uint8), labels


def beyond(images, labels):
    return images * 2, labels


def unequal(images, labels):
    return images, labels[1:]


def grey(images, labels):
    return images[:, :1], labels


def no_integers(images, labels):
    return images, labels / 2


def too_many(images, labels):
    return images, labels + 1


def negative(images, labels):
    return images, labels - 1


REFUSED = {
    bytes_of: "Divide bytes",
    beyond: "from 0 to 1",
    unequal: "got shapes",
    grey: "got shapes",
    no_integers: "must be integers",
    too_many: "got label 3",
    negative: "integers from 0",
}


@pytest.mark.parametrize("spoil", REFUSED)
@pytest.mark.parametrize("part", ["train", "validation"])
def test_images_and_labels_that_do_not_fit_are_refused(spoil, part):
    parts = {"train": task(16, 1), "validation": task(6, 2)}
    parts[part] = spoil(*parts[part])
    network = small_resnet(3, **TINY, seed=1)
    with pytest.raises(ValueError, match=REFUSED[spoil]):
        train_classifier(network, *parts["train"], parts["validation"], **SHORT)
    assert not network.training


def test_rounding_errors_of_images_are_no_fault():
    images, labels = task(16, 1)
    images[0, 0, 0, :2] = -1e-6, 1 + 1e-6
    network = small_resnet(3, **TINY, seed=1)
    assert len(train_classifier(network, images, labels, task(6, 2), **SHORT)) == 3
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="from 0 to 1"):
        train_classifier(network, images, labels, task(6, 2), **SHORT)


@pytest.mark.parametrize(
    "setting", [{"n_epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"weight_decay": -1.0}]
)
def test_impossible_settings_are_refused(setting):
    network = small_resnet(3, **TINY, seed=1)
    with pytest.raises(ValueError, match="at least 1 epoch"):
        train_classifier(network, *task(16, 1), task(6, 2), **{**SHORT, **setting})


# published weights


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub with a network as published, and no network to fall back on."""
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
    name = "microsoft/resnet-18"
    folder = tmp_path / "models--microsoft--resnet-18" / "snapshots" / REVISIONS[name]
    network = small_resnet(5, **TINY, seed=3).network
    network.save_pretrained(folder)
    return tmp_path, folder / "model.safetensors", network


def test_published_weights_are_those_of_the_file(hub):
    folder, _, published = hub
    before = torch.get_rng_state()
    network = published_resnet("microsoft/resnet-18", folder=folder)
    assert torch.equal(before, torch.get_rng_state())
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    images = torch.from_numpy(task(2, 1)[0])
    mean, sd = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_SD))
    large = functional.interpolate(images, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = published((large - mean) / sd).logits
        assert torch.allclose(network(images).logits, expected, atol=1e-5)
    assert list(stages(network)) == ["embedder", "stage 1", "stage 2", "average"]


def test_weights_that_are_not_at_hand_are_said_with_the_remedy(hub):
    folder, _, _ = hub
    with pytest.raises(WeightsError, match="VISUALCORTEX_OFFLINE forbids.*HF_HOME") as caught:
        published_resnet("microsoft/resnet-50", folder=folder)
    assert REVISIONS["microsoft/resnet-50"] in str(caught.value)


def test_the_network_is_asked_for_what_is_not_at_hand_only(hub, monkeypatch):
    from transformers import ResNetForImageClassification

    folder, _, _ = hub
    monkeypatch.setenv("VISUALCORTEX_OFFLINE", "0")
    load, asked = ResNetForImageClassification.from_pretrained, []

    def watched(name, *, local_files_only, **settings):
        asked.append(local_files_only)
        return load(name, local_files_only=True, **settings)

    monkeypatch.setattr(ResNetForImageClassification, "from_pretrained", watched)
    published_resnet("microsoft/resnet-18", folder=folder)
    assert asked == [True]
    with pytest.raises(WeightsError, match="connect to the network"):
        published_resnet("microsoft/resnet-50", folder=folder)
    assert asked == [True, True, False]


def test_damaged_weights_are_refused(hub):
    folder, file, _ = hub
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged"):
        published_resnet("microsoft/resnet-18", folder=folder)


def test_weights_with_gaps_are_refused(hub):
    from safetensors.torch import load_file, save_file

    folder, file, _ = hub
    weights = load_file(file)
    weights.pop("resnet.embedder.embedder.convolution.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="1 weights are missing, resnet.embedder"):
        published_resnet("microsoft/resnet-18", folder=folder)


def test_pickled_weights_are_refused(hub):
    folder, file, published = hub
    torch.save(published.state_dict(), file.with_name("pytorch_model.bin"))
    file.unlink()
    with pytest.raises(WeightsError, match="safetensors"):
        published_resnet("microsoft/resnet-18", folder=folder)


@pytest.mark.parametrize("revision", ["main", "65a5785", "refs/pr/4"])
def test_only_full_commits_and_known_networks_are_taken(revision):
    with pytest.raises(ValueError, match="full commit"):
        published_resnet("microsoft/resnet-18", revision)
    with pytest.raises(ValueError, match="must be one of"):
        published_resnet("someone/resnet-18")
    assert all(len(commit) == 40 for commit in REVISIONS.values())
