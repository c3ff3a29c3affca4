"""Networks of sites learn what is there, keep their units and files, and refuse what is wrong."""

import copy
import os

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from visualcortex.evaluation.prediction import explained_variance
from visualcortex.models.backbones import small_resnet, stages
from visualcortex.models.site_networks import Continued, SiteNetwork, shallow_network

SHAPE = (2, 3, 3)
N_PIXELS = 18
QUICK = {"batch_size": 32, "learning_rate": 2e-2, "weight_decay": 0.0, "device": "cpu"}


def linear(n_outputs, *extra):
    """A network that can be nothing but linear, with the same weights in every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), *extra, nn.Linear(N_PIXELS, n_outputs))


def pictures(n, seed):
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype(np.float32)


def sites(inputs, noise=0.3, n_sites=4, seed=0):
    """Responses in spikes/s, linear in the input, of sites of very different gain."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(N_PIXELS, n_sites)) / np.sqrt(N_PIXELS)
    clean = inputs.reshape(len(inputs), -1) @ weights
    noisy = clean + noise * np.random.default_rng(len(inputs)).normal(size=clean.shape)
    return (noisy * np.logspace(-2, 2, n_sites) + 50).astype(np.float32)


def classes(inputs):
    """Which of three linear features is largest."""
    weights = np.random.default_rng(9).normal(size=(N_PIXELS, 3))
    return (inputs.reshape(len(inputs), -1) @ weights).argmax(axis=1)


TRAIN, HELD_OUT, TEST = (pictures(n, seed) for n, seed in ((320, 1), (80, 2), (200, 3)))


def fitted(network, wrap=np.asarray, report=None, **options):
    model = SiteNetwork(network, **QUICK | {"n_epochs": 3} | options)
    validation = wrap(HELD_OUT), sites(HELD_OUT)
    return model.fit(wrap(TRAIN), sites(TRAIN), validation, report=report, progress=False)


def dual(labels=None, n_epochs=3, **options):
    labels = classes(TRAIN) if labels is None else labels
    validation = HELD_OUT, sites(HELD_OUT), classes(HELD_OUT)
    model = SiteNetwork(linear(7), n_epochs=n_epochs, **QUICK | options)
    return model.fit(TRAIN, sites(TRAIN), validation, labels=labels, progress=False)


def parameters(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


# what is learned


@pytest.fixture(scope="module")
def line():
    return fitted(linear(4), n_epochs=20)


def test_a_linear_truth_is_recovered(line):
    """Gradient descent on a linear network comes to the least-squares solution."""
    design = np.c_[TRAIN.reshape(len(TRAIN), -1), np.ones(len(TRAIN))].astype(float)
    weights = np.linalg.lstsq(design, sites(TRAIN).astype(float), rcond=None)[0]
    expected = np.c_[TEST.reshape(len(TEST), -1), np.ones(len(TEST))] @ weights
    error = line.predict(TEST) - expected
    assert (error.std(axis=0) < 0.03 * expected.std(axis=0)).all()
    truth = sites(TEST, noise=0.0)
    assert (explained_variance(truth, line.predict(TEST)) > 0.97).all()


def test_predictions_are_in_the_unit_of_the_responses(line):
    """Sites of gains from 0.01 to 100 about 50, each at its own scale."""
    predicted, truth = line.predict(TEST), sites(TEST, noise=0.0)
    assert predicted.dtype == np.float32
    assert predicted.shape == truth.shape
    slopes = [np.polyfit(x, y, 1) for x, y in zip(predicted.T, truth.T, strict=True)]
    assert np.array(slopes)[:, 0] == pytest.approx(1, abs=0.06)
    assert predicted.mean(axis=0) == pytest.approx(truth.mean(axis=0), rel=0.05)
    assert line.mean_ == pytest.approx(sites(TRAIN).mean(axis=0), rel=1e-4)
    assert line.sd_ == pytest.approx(sites(TRAIN).std(axis=0), rel=1e-3)


def test_another_unit_gives_the_same_network(line):
    model = SiteNetwork(linear(4), n_epochs=20, **QUICK)
    validation = HELD_OUT, 1024 * sites(HELD_OUT)
    model.fit(TRAIN, 1024 * sites(TRAIN), validation, progress=False)
    assert np.allclose(parameters(model.network_), parameters(line.network_), atol=1e-4)
    assert np.allclose(model.predict(TEST), 1024 * line.predict(TEST), rtol=1e-4)


def test_a_constant_site_is_predicted_by_its_value():
    """Also one whose mean over images is not its value in the last digit."""
    values = np.float32([0.1, 0.0, 1e6])
    given = [np.c_[sites(x), np.tile(values, (len(x), 1))] for x in (TRAIN, HELD_OUT)]
    model = SiteNetwork(linear(7), n_epochs=20, **QUICK)
    model.fit(TRAIN, given[0], (HELD_OUT, given[1]), progress=False)
    assert np.array_equal(model.mean_[4:], values)
    assert np.array_equal(model.sd_[4:], np.ones(3))
    assert np.abs(model.predict(TEST)[:, 4:] - values).max() < 0.1
    assert (explained_variance(sites(TEST, 0.0), model.predict(TEST)[:, :4]) > 0.95).all()


def test_the_loss_is_that_of_standardised_responses(line):
    z = [(y - line.mean_) / line.sd_ for y in (sites(HELD_OUT), line.predict(HELD_OUT))]
    kept = line.history_.loc[line.history_["kept"], "validation"].item()
    assert kept == pytest.approx(((z[0] - z[1]) ** 2).mean(), rel=1e-3)
    assert kept == line.history_["validation"].min()
    assert list(line.history_.columns) == ["epoch", "train", "validation", "kept"]


def test_both_tasks_are_learned():
    model = dual(n_epochs=20, category_weight=1.0)
    assert (explained_variance(sites(TEST, noise=0.0), model.predict(TEST)) > 0.95).all()
    assert model.predict(TEST).shape == (len(TEST), 4)
    assert (model.classify(TEST) == classes(TEST)).mean() > 0.85  # chance is a third


def test_the_loss_of_two_tasks_is_their_weighted_sum():
    model = dual(category_weight=0.7)
    z = [(y - model.mean_) / model.sd_ for y in (sites(HELD_OUT), model.predict(HELD_OUT))]
    with torch.no_grad():
        logits = model.network_(torch.from_numpy(HELD_OUT))[:, 4:].log_softmax(dim=1).numpy()
    surprise = -logits[np.arange(len(HELD_OUT)), classes(HELD_OUT)].mean()
    expected = ((z[0] - z[1]) ** 2).mean() + 0.7 * surprise
    assert model.history_["validation"].min() == pytest.approx(expected, rel=1e-3)


def test_without_weight_labels_do_not_matter():
    rng = np.random.default_rng(0)
    one, other = dual(), dual(labels=rng.permutation(classes(TRAIN)))
    assert torch.equal(parameters(one.network_), parameters(other.network_))
    weighted = dual(labels=rng.permutation(classes(TRAIN)), category_weight=1.0)
    assert not torch.equal(parameters(one.network_), parameters(weighted.network_))


def test_there_are_no_classes_without_outputs_for_them(line):
    with pytest.raises(ValueError, match="no outputs for classes"):
        line.classify(TEST)


# one truth for one seed


def test_the_same_seed_gives_the_same_network():
    """Dropout included, whatever the state of torch is, and that is left as it is."""
    networks = []
    for disturbance, seed in ((0, 4), (5, 4), (0, 5)):
        torch.rand(disturbance)
        before = torch.get_rng_state()
        model = fitted(linear(4, nn.Dropout(0.5)), seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        networks.append(parameters(model.network_))
    assert torch.equal(networks[0], networks[1])
    assert not torch.equal(networks[0], networks[2])


def test_building_leaves_the_random_state_alone_and_takes_the_seed():
    before = torch.get_rng_state()
    one, same, other = (shallow_network(SHAPE, 4, widths=(4,), seed=s) for s in (1, 1, 2))
    assert torch.equal(parameters(one), parameters(same))
    assert not torch.equal(parameters(one), parameters(other))
    backbone = small_resnet(3, widths=(4,), n_blocks=(1,), seed=1)
    layers = [Continued(backbone, "network.resnet.pooler", 2, PICTURE, seed=s) for s in (1, 1, 2)]
    readouts = [parameters(layer.readout) for layer in layers]
    assert torch.equal(readouts[0], readouts[1])
    assert not torch.equal(readouts[0], readouts[2])
    assert torch.equal(before, torch.get_rng_state())


def test_the_network_given_is_not_trained():
    network = linear(4)
    before = parameters(network)
    model = fitted(network)
    assert torch.equal(parameters(network), before)
    assert model.network is network


def test_it_answers_in_evaluation_mode():
    """Even where somebody left it in training mode, and however many come at once."""
    model = fitted(linear(4, nn.BatchNorm1d(N_PIXELS), nn.Dropout(0.5)))
    assert not any(part.training for part in model.network_.modules())
    expected = model.predict(TEST)
    state = copy.deepcopy(model.network_.state_dict())
    model.network_.train()
    assert np.array_equal(model.predict(TEST), expected)
    assert np.allclose(model.predict(TEST[:3]), expected[:3], atol=1e-4)
    assert all(torch.equal(state[k], v) for k, v in model.network_.state_dict().items())


class Lazy:
    """Inputs that are read by rows only, never many at once."""

    def __init__(self, inputs):
        self.inputs, self.most = inputs, 0

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, rows):
        self.most = max(self.most, len(rows))
        return self.inputs[rows].astype(np.float64)


def test_inputs_may_be_read_in_pieces():
    model, whole = fitted(linear(4), wrap=Lazy), fitted(linear(4))
    assert torch.equal(parameters(model.network_), parameters(whole.network_))
    many = Lazy(np.tile(TEST, (3, 1, 1, 1)))
    assert np.allclose(model.predict(many), np.tile(whole.predict(TEST), (3, 1)), rtol=1e-5)
    assert many.most == 256


def test_read_only_arrays_are_as_good_as_others():
    arrays = [TRAIN.copy(), sites(TRAIN), classes(TRAIN)]
    for array in arrays:
        array.flags.writeable = False
    inputs, responses, labels = arrays
    model = SiteNetwork(linear(7), n_epochs=1, **QUICK)
    model.fit(inputs, responses, (inputs, responses, labels), labels=labels, progress=False)
    assert np.array_equal(model.predict(inputs), model.predict(TRAIN))


# training that ends early


class Enough(Exception):
    pass


def test_a_report_that_raises_ends_training():
    told = []

    def report(n_done, loss):
        told.append((n_done, loss))
        if n_done == 2:
            raise Enough

    model = SiteNetwork(linear(4, nn.Dropout(0.5)), n_epochs=9, **QUICK)
    validation = HELD_OUT, sites(HELD_OUT)
    before = torch.get_rng_state()
    with pytest.raises(Enough):
        model.fit(TRAIN, sites(TRAIN), validation, report=report, progress=False)
    assert [n for n, _ in told] == [1, 2]
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(NotFittedError):
        model.predict(TEST)
    whole = fitted(linear(4, nn.Dropout(0.5)), n_epochs=9, report=lambda *x: told.append(x))
    assert told[2:4] == told[:2]
    assert [loss for _, loss in told[2:]] == whole.history_["validation"].tolist()


def test_a_fit_that_fails_leaves_the_one_before(line):
    model = copy.deepcopy(line)
    expected = model.predict(TEST)

    def stop(n_done, loss):
        raise Enough

    with pytest.raises(Enough):
        model.fit(TRAIN, 2 * sites(TRAIN), (HELD_OUT, sites(HELD_OUT)), report=stop, progress=False)
    assert np.array_equal(model.predict(TEST), expected)


# files


def test_a_file_gives_back_the_same_predictions(line, tmp_path):
    path, given = line.save(tmp_path / "sites.pt"), linear(4)
    loaded = SiteNetwork(given, device="cpu").load(path)
    assert np.array_equal(loaded.predict(TEST), line.predict(TEST))
    assert torch.equal(parameters(given), parameters(linear(4)))  # its weights went into a copy
    assert not loaded.network_.training
    assert os.listdir(tmp_path) == ["sites.pt"]


def test_what_batches_left_behind_is_in_the_file(tmp_path):
    """Batch normalization: stored means belong to the network as much as weights."""
    network = shallow_network(SHAPE, 4, widths=(4,), kernel=3)
    model = fitted(network)
    loaded = SiteNetwork(network, device="cpu").load(model.save(tmp_path / "sites.pt"))
    assert np.array_equal(loaded.predict(TEST), model.predict(TEST))


def test_a_file_holds_tensors_and_words_only(line, tmp_path):
    content = torch.load(line.save(tmp_path / "sites.pt"), weights_only=True)
    assert set(content) == {"format", "state", "mean", "sd"}


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_files_that_are_no_networks_are_refused(line, tmp_path):
    path = line.save(tmp_path / "sites.pt")
    cut, text, foreign, trap = (tmp_path / name for name in ("cut", "text", "foreign", "trap"))
    cut.write_bytes(path.read_bytes()[:-200])
    text.write_text("no weights")
    torch.save({"weights": torch.ones(3)}, foreign)
    torch.save(Trap(tmp_path / "sprung"), trap)
    model = SiteNetwork(linear(4), device="cpu")
    for file in (cut, text, trap):
        with pytest.raises(ValueError, match=f"{file.name} is damaged"):
            model.load(file)
    with pytest.raises(ValueError, match="not written by SiteNetwork"):
        model.load(foreign)
    with pytest.raises(FileNotFoundError):
        model.load(tmp_path / "none.pt")
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(NotFittedError):
        model.predict(TEST)


@pytest.mark.parametrize(
    "other", [linear(5), nn.Linear(N_PIXELS, 4), linear(4, nn.BatchNorm1d(N_PIXELS))]
)
def test_the_file_of_another_network_is_refused(line, tmp_path, other):
    path = line.save(tmp_path / "sites.pt")
    model = SiteNetwork(other, device="cpu")
    before = parameters(other)
    with pytest.raises(ValueError, match="holds another network"):
        model.load(path)
    assert torch.equal(parameters(other), before)


def test_an_interruption_while_writing_leaves_the_file_before(line, tmp_path, monkeypatch):
    path = line.save(tmp_path / "sites.pt")
    before = path.read_bytes()

    def interrupted(content, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted(linear(4)).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["sites.pt"]


def test_nothing_is_saved_or_predicted_before_it_is_fitted(tmp_path):
    model = SiteNetwork(linear(4))
    with pytest.raises(NotFittedError):
        model.predict(TEST)
    with pytest.raises(NotFittedError):
        model.save(tmp_path / "sites.pt")
    assert os.listdir(tmp_path) == []


# what is refused


def with_nan(inputs, responses, labels):
    responses[3, 1] = np.nan
    return inputs, responses, labels


def fewer_responses(inputs, responses, labels):
    return inputs, responses[1:], labels


def fewer_inputs(inputs, responses, labels):
    return inputs[1:], responses, labels


def fewer_labels(inputs, responses, labels):
    return inputs, responses, labels[1:]


def one_image(inputs, responses, labels):
    return inputs[:1], responses[:1], labels[:1]


def no_matrix(inputs, responses, labels):
    return inputs, responses[:, 0], labels


def negative(inputs, responses, labels):
    return inputs, responses, labels - 1


def fractions(inputs, responses, labels):
    return inputs, responses, labels + 0.5


def one_hot(inputs, responses, labels):
    return inputs, responses, np.eye(3, dtype=int)[labels]


def fourth_class(inputs, responses, labels):
    return inputs, responses, np.where(np.arange(len(labels)) == 0, 3, labels)


REFUSED = {
    with_nan: "must be finite",
    fewer_responses: r"got lengths \[\d+, \d+\]",
    fewer_inputs: r"got lengths \[\d+, \d+\]",
    fewer_labels: r"got lengths \[\d+, \d+\]",
    one_image: "at least 2",
    no_matrix: r"responses \(M, N\)",
    negative: "integers from 0",
    fractions: "integers from 0, one an image; got float",
    one_hot: "one an image",
    fourth_class: "4 outputs for sites and 4 or more for classes; got 7",
}


@pytest.mark.parametrize("spoil", REFUSED)
@pytest.mark.parametrize("part", ["train", "validation"])
def test_data_that_do_not_fit_are_refused(spoil, part):
    parts = {
        name: (x.copy(), sites(x), classes(x))
        for name, x in (("train", TRAIN), ("validation", HELD_OUT))
    }
    parts[part] = spoil(*parts[part])
    inputs, responses, labels = parts["train"]
    model = SiteNetwork(linear(7), n_epochs=1, category_weight=1.0, **QUICK)
    with pytest.raises(ValueError, match=REFUSED[spoil]):
        model.fit(inputs, responses, parts["validation"], labels=labels, progress=False)
    with pytest.raises(NotFittedError):
        model.predict(TEST)


def test_validation_has_what_training_has():
    model = SiteNetwork(linear(7), n_epochs=1, **QUICK)
    with pytest.raises(ValueError, match="got 2 arrays"):
        model.fit(
            TRAIN, sites(TRAIN), (HELD_OUT, sites(HELD_OUT)), labels=classes(TRAIN), progress=False
        )
    # one site would be subtracted from all
    with pytest.raises(ValueError, match="of the 4 sites of the training; got 1"):
        model.fit(TRAIN, sites(TRAIN), (HELD_OUT, sites(HELD_OUT)[:, :1]), progress=False)


@pytest.mark.parametrize(("n_outputs", "got"), [(3, "got 3"), (5, "and none besides; got 5")])
def test_there_must_be_as_many_outputs_as_sites(n_outputs, got):
    with pytest.raises(ValueError, match=f"4 outputs for sites.*{got}"):
        fitted(linear(n_outputs))


def test_outputs_for_classes_come_besides_those_for_sites():
    model = SiteNetwork(linear(6), n_epochs=1, **QUICK)
    validation = HELD_OUT, sites(HELD_OUT), classes(HELD_OUT)
    with pytest.raises(ValueError, match="4 outputs for sites and 3 or more for classes; got 6"):
        model.fit(TRAIN, sites(TRAIN), validation, labels=classes(TRAIN), progress=False)


@pytest.mark.parametrize(
    "setting",
    [
        {"n_epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"category_weight": -1.0},
        {"seed": -1},
    ],
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(ValueError, match="at least 1 epoch"):
        fitted(linear(4), **setting)


# networks of convolutions


def test_a_shallow_network_halves_its_maps_down_to_four():
    network = shallow_network((3, 64, 64), 7, widths=(4, 6, 8, 8, 8, 8), kernel=7, n_pooled=4)
    sides, maps = [], torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        for part in network:
            maps = part(maps)
            if isinstance(part, nn.Conv2d):
                sides.append((part.kernel_size[0], *maps.shape[1:]))
    expected = [(7, 4, 32, 32), (3, 6, 16, 16), (3, 8, 8, 8), *[(3, 8, 4, 4)] * 3]
    assert sides == expected
    assert maps.shape == (2, 7)
    assert not network.training


@pytest.mark.parametrize("n_pooled", [1, 2, 4, 9])
def test_large_maps_are_averaged_before_the_linear_layer(n_pooled):
    network = shallow_network((3, 16, 16), 7, widths=(5,), n_pooled=n_pooled)
    assert network[-1].in_features == 5 * min(n_pooled, 8) ** 2


def test_a_shallow_network_learns_what_no_linear_one_can():
    """Contrast, the same for an image and its negative."""
    model, flat = (
        SiteNetwork(network, **QUICK | {"n_epochs": 15, "learning_rate": 1e-2})
        for network in (shallow_network(SHAPE, 1, widths=(24,), kernel=3, dropout=0.0), linear(1))
    )
    sets = []
    for images in (TRAIN, HELD_OUT, TEST):
        contrast = np.linspace(0, 2, len(images), dtype=np.float32)[:, None]
        sets.append((images * contrast[..., None, None], contrast))
    for each in (model, flat):
        each.fit(*sets[0], sets[1], progress=False)
    assert explained_variance(sets[2][1], model.predict(sets[2][0])) > 0.7
    assert explained_variance(sets[2][1], flat.predict(sets[2][0])) < 0.1


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 8), {}),
        ((3, 0, 8), {}),
        ((3, 8, 8), {"n_outputs": 0}),
        ((3, 8, 8), {"widths": ()}),
        ((3, 8, 8), {"widths": (4, 0)}),
        ((3, 8, 8), {"kernel": 4}),
        ((3, 8, 8), {"dropout": 1.0}),
        ((3, 8, 8), {"n_pooled": 0}),
    ],
)
def test_impossible_networks_are_refused(shape, options):
    with pytest.raises(ValueError, match="need a shape"):
        shallow_network(shape, **{"n_outputs": 2} | options)


# networks that go on from others

PICTURE = torch.from_numpy(np.random.default_rng(1).random((1, 3, 32, 32), np.float32))


@pytest.fixture
def backbone():
    """Three stages with a batch normalization each, frozen as published ones are."""
    network = small_resnet(3, widths=(4, 6, 8), n_blocks=(1, 1, 1), seed=1)
    return network.requires_grad_(False)


@pytest.fixture
def middle(backbone):
    return stages(backbone)["stage 2"]


def some_pictures(n, seed):
    return np.random.default_rng(seed).random((n, 3, 32, 32), np.float32)


def test_it_reads_the_maps_of_its_layer(backbone, middle):
    layer = Continued(backbone, middle, 5, PICTURE)
    images = torch.from_numpy(some_pictures(3, 2))
    with torch.no_grad():
        standard = (images - 0.5) / 0.25
        maps = backbone.network.resnet(standard, output_hidden_states=True).hidden_states[2]
        assert layer(images).shape == (3, 5)
        assert torch.allclose(layer(images), layer.readout(maps), atol=1e-5)
    assert layer.readout[-1].in_features == maps[0].numel()


def test_what_comes_after_the_layer_is_never_run(backbone, middle):
    layer = Continued(backbone, middle, 5, PICTURE)
    run = []
    for path, part in layer.network.named_modules():
        part.register_forward_hook(lambda *_, path=path: run.append(path))
    layer(PICTURE)
    later = stages(backbone)["stage 3"], stages(backbone)["average"], "network.classifier"
    assert not any(path.startswith(later) for path in run)
    assert stages(backbone)["stage 1"] in run
    # a second pass is like the first: nothing is left hanging on the network
    first, run[:] = list(run), []
    layer(PICTURE)
    assert run == first


def test_gradients_flow_into_the_layers_before_and_into_no_others(backbone, middle):
    layer = Continued(backbone, middle, 5, PICTURE).train()
    layer(torch.from_numpy(some_pictures(4, 2))).square().sum().backward()
    later = stages(backbone)["stage 3"], "network.classifier"
    for name, parameter in layer.network.named_parameters():
        if name.startswith(later):
            assert parameter.grad is None
        else:
            assert parameter.grad.abs().max() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())


def test_training_changes_the_copy_up_to_the_layer_and_not_the_original(backbone, middle):
    before = copy.deepcopy(backbone.state_dict())
    images = some_pictures(24, 3)
    responses = images.mean(axis=(2, 3))
    model = SiteNetwork(Continued(backbone, middle, 3, PICTURE), n_epochs=2, **QUICK)
    model.fit(images, responses, (images, responses), progress=False)
    assert all(torch.equal(before[name], v) for name, v in backbone.state_dict().items())
    assert not backbone.training
    later = stages(backbone)["stage 3"], stages(backbone)["average"], "network.classifier"
    constant = "network.mean", "network.sd", "mean", "sd"
    for name, value in model.network_.network.state_dict().items():
        same = torch.equal(before[name], value)
        assert same == name.startswith((*later, *constant)), name


def test_a_continued_network_is_saved_and_loaded(backbone, middle, tmp_path):
    images = some_pictures(24, 3)
    responses = images.mean(axis=(2, 3))
    network = Continued(backbone, middle, 3, PICTURE)
    model = SiteNetwork(network, n_epochs=1, **QUICK)
    model.fit(images, responses, (images, responses), progress=False)
    loaded = SiteNetwork(network, device="cpu").load(model.save(tmp_path / "sites.pt"))
    assert np.array_equal(loaded.predict(images), model.predict(images))


def test_layers_that_are_not_there_are_refused_with_those_that_are(backbone):
    with pytest.raises(ValueError, match=r"no module 'layer3'.*\['network'\]"):
        Continued(backbone, "layer3", 5, PICTURE)


@pytest.mark.parametrize("path", ["", "network.resnet", "network.resnet.encoder"])
def test_layers_that_put_out_no_tensor_are_refused(backbone, path):
    with pytest.raises(ValueError, match=f"'{path}' and get a tensor from it; got .*Output"):
        Continued(backbone, path, 5, PICTURE)


def test_layers_that_are_not_run_are_refused():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

        def forward(self, images):
            return self.used(images)

    assert Continued(Idle(), "used", 5, PICTURE)(PICTURE).shape == (1, 5)
    with pytest.raises(ValueError, match="'unused' and get a tensor from it; got no run of it"):
        Continued(Idle(), "unused", 5, PICTURE)


def test_an_error_of_the_network_itself_is_not_swallowed(backbone, middle):
    layer = Continued(backbone, middle, 5, PICTURE)
    with pytest.raises(RuntimeError, match="must match the size"):
        layer(torch.zeros(1, 4, 32, 32))
