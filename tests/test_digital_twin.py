"""The digital twin beside a forward pass in plain numpy, and checkpoints that are not one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from visualcortex.sources.digital_twin import DigitalTwin, read_digital_twin

PUBLISHED = "sensorium/sensorium_sota_model.pth"
READOUT = "readout.26872-17-20"


def small_checkpoint(n_neurons=11, n_channels=4, n_layers=3, seed=0):
    """Return a checkpoint with the published names and random weights."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0):
        return torch.tensor(scale * rng.standard_normal(shape), dtype=torch.float32)

    checkpoint = {"core._input_weights_regularizer.laplace.filter": normal(1, 1, 3, 3)}
    for k in range(n_layers):
        layer = f"core.features.layer{k}"
        if k == 0:
            checkpoint[f"{layer}.conv.weight"] = normal(n_channels, 1, 9, 9, scale=0.2)
        else:
            separable = f"{layer}.ds_conv"
            checkpoint |= {
                f"{separable}.in_depth_conv.weight": normal(n_channels, n_channels, 1, 1),
                f"{separable}.spatial_conv.weight": normal(n_channels, 1, 7, 7, scale=0.2),
                f"{separable}.out_depth_conv.weight": normal(n_channels, n_channels, 1, 1),
            }
        checkpoint |= {
            f"{layer}.norm.weight": normal(n_channels),
            f"{layer}.norm.bias": normal(n_channels),
            f"{layer}.norm.running_mean": normal(n_channels),
            f"{layer}.norm.running_var": normal(n_channels).abs() + 0.5,
            f"{layer}.norm.num_batches_tracked": torch.tensor(7),
        }
    return checkpoint | {
        f"{READOUT}.sigma": normal(1, n_neurons, 2, 2),
        f"{READOUT}._features": normal(1, n_channels, 1, n_neurons),
        f"{READOUT}.bias": normal(n_neurons),
        f"{READOUT}.source_grid": normal(n_neurons, 2),
        f"{READOUT}.mu_transform.0.weight": normal(5, 2),
        f"{READOUT}.mu_transform.0.bias": normal(5),
        f"{READOUT}.mu_transform.2.weight": normal(2, 5),
        f"{READOUT}.mu_transform.2.bias": normal(2),
    }


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def numpy_core(weights, image):
    """Return the last layer ``(channel, row, column)`` of the core for one image."""
    x = np.stack(
        [correlate(image, kernel[0], "valid") for kernel in weights["core.features.layer0.conv"]]
    )
    k = 0
    while True:
        norm = [weights[f"core.features.layer{k}.norm{part}"][:, None, None] for part in ORDER]
        x = elu((x - norm[0]) / np.sqrt(norm[1] + 1e-5) * norm[2] + norm[3])
        k += 1
        layer = f"core.features.layer{k}.ds_conv"
        if f"{layer}.in_depth_conv" not in weights:
            return x
        x = np.einsum("oi,iyx->oyx", weights[f"{layer}.in_depth_conv"][:, :, 0, 0], x)
        kernels = weights[f"{layer}.spatial_conv"][:, 0]
        x = np.stack([correlate(x[c], kernels[c], "same") for c in range(len(x))])
        x = np.einsum("oi,iyx->oyx", weights[f"{layer}.out_depth_conv"][:, :, 0, 0], x)


ORDER = (".running_mean", ".running_var", "", ".bias")


def numpy_twin(checkpoint, images, neurons):
    """Return the responses ``(image, neuron)`` and the grid ``(neuron, 2)``, neuron by neuron."""
    weights = {name.removesuffix(".weight"): value.double().numpy() for name, value in
               checkpoint.items()}  # fmt: skip
    readout = {name.removeprefix(f"{READOUT}."): value for name, value in weights.items()}
    hidden = elu(
        readout["source_grid"] @ readout["mu_transform.0"].T + readout["mu_transform.0.bias"]
    )
    grid = np.tanh(hidden @ readout["mu_transform.2"].T + readout["mu_transform.2.bias"])
    responses = np.empty((len(images), len(neurons)))
    for row, image in enumerate(images):
        core = numpy_core(weights, image)
        height, width = core.shape[1:]
        for column, i in enumerate(neurons):
            x, y = (grid[i] + 1) / 2 * (width - 1, height - 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            patch = core[:, top : top + 2, left : left + 2]  # (C, 2, 2)
            near = np.outer([1 - (y - top), y - top], [1 - (x - left), x - left])
            value = (patch * near[: patch.shape[1], : patch.shape[2]]).sum((1, 2))
            drive = value @ readout["_features"][0, :, 0, i] + readout["bias"][i]
            responses[row, column] = elu(drive) + 1
    return responses, grid


def images(n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 36, 64))


def as_tensor(values):
    return torch.as_tensor(values)[:, None]


@pytest.fixture(scope="module")
def checkpoint():
    return small_checkpoint()


@pytest.fixture
def twin(checkpoint):
    return DigitalTwin(checkpoint).double()


def test_it_is_the_published_network_computed_in_plain_numpy(twin, checkpoint):
    expected, grid = numpy_twin(checkpoint, images(2), range(11))
    np.testing.assert_allclose(twin(as_tensor(images(2))), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(twin.readout_grid, grid, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(twin.positions, checkpoint[f"{READOUT}.source_grid"])
    assert expected.std(axis=0).min() > 1e-3, "the images tell nothing apart"


@pytest.mark.parametrize(("n_layers", "n_channels"), [(1, 3), (2, 6), (4, 2)])
def test_the_checkpoint_says_how_many_layers_and_channels(n_layers, n_channels):
    checkpoint = small_checkpoint(5, n_channels, n_layers, seed=n_layers)
    expected, _ = numpy_twin(checkpoint, images(1), range(5))
    twin = DigitalTwin(checkpoint).double()
    np.testing.assert_allclose(twin(as_tensor(images(1))), expected, rtol=0, atol=1e-10)


def test_the_published_checkpoint_agrees_with_plain_numpy(real_data):
    path = real_data(PUBLISHED)
    twin = read_digital_twin(path)
    assert (twin.n_neurons, twin.positions.shape) == (7776, (7776, 2))
    assert np.abs(twin.readout_grid).max() < 1
    assert np.abs(twin.positions).max() == pytest.approx(1)
    neurons = np.arange(0, 7776, 311)
    published = torch.load(path, map_location="cpu", weights_only=True)
    expected, _ = numpy_twin(published, images(2), neurons)
    single = twin(as_tensor(images(2)).float(), neurons)
    np.testing.assert_allclose(single, expected, rtol=0, atol=2e-5)
    answer = twin.double()(as_tensor(images(2)))
    assert answer.shape == (2, 7776)
    np.testing.assert_allclose(answer[:, neurons], expected, rtol=0, atol=1e-6)
    (digest,) = twin.provenance.sha256.values()
    assert digest.startswith("7a87989732c3")


def test_gradients_reach_the_images_and_nothing_else(twin):
    shown = as_tensor(images(1)).requires_grad_()
    twin(shown)[0, 3].backward()
    step = 1e-6 * torch.sign(shown.grad)
    rise = twin(shown.detach() + step)[0, 3] - twin(shown.detach() - step)[0, 3]
    assert rise.item() == pytest.approx(2e-6 * shown.grad.abs().sum().item(), rel=1e-4)
    assert not [name for name, weight in twin.named_parameters() if weight.requires_grad]


def test_each_image_is_answered_for_itself_and_never_below_zero(twin):
    together = twin(as_tensor(images(4)))
    one_by_one = torch.cat([twin(image[None]) for image in as_tensor(images(4))])
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-12)
    assert (twin(10 * as_tensor(images(4))) >= 0).all()


def test_it_stays_in_evaluation_mode(twin):
    before = twin(as_tensor(images(3)))
    torch.testing.assert_close(twin.train()(as_tensor(images(3))), before, rtol=0, atol=0)
    assert not twin.training


@pytest.mark.parametrize("neurons", [[4], [9, 0, 9], np.array([2, 5]), torch.tensor([10])])
def test_some_neurons_answer_as_they_do_among_all(twin, neurons):
    everyone = twin(as_tensor(images(2)))
    np.testing.assert_allclose(
        twin(as_tensor(images(2)), neurons), everyone[:, np.asarray(neurons)], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("shape", [(36, 64), (2, 36, 64), (2, 3, 36, 64), (2, 1, 64, 36)])
def test_images_of_another_shape_are_refused(twin, shape):
    with pytest.raises(ValueError, match=r"images must be \(image, 1, 36, 64\); got .* Resize"):
        twin(torch.zeros(shape, dtype=torch.float64))


def without(name):
    return lambda checkpoint: checkpoint.pop(name)


def changed(name, change):
    def function(checkpoint):
        checkpoint[name] = change(checkpoint[name])

    return function


BROKEN = {
    "no readout": (without(f"{READOUT}._features"), "one readout, .*; got 0"),
    "two readouts": (lambda c: c.update({"readout.x._features": torch.ones(1)}), "got 2"),
    "flat readout": (changed(f"{READOUT}._features", torch.ravel), r"four axes; got \(44,\)"),
    "no core": (without("core.features.layer0.conv.weight"), "lacks core.features.layer0.conv"),
    "no layer": (
        without("core.features.layer1.ds_conv.spatial_conv.weight"),
        "lacks core.features.layer1.ds_conv.spatial_conv.weight",
    ),
    "no statistics": (
        without("core.features.layer1.norm.running_var"),
        "Missing key.*core.layer1.norm.running_var",
    ),
    "no network of positions": (
        without(f"{READOUT}.mu_transform.0.weight"),
        "lacks readout.26872-17-20.mu_transform.0.weight",
    ),
    "other neurons": (changed(f"{READOUT}.bias", lambda x: x[1:]), "size mismatch for bias"),
    "a shifter": (lambda c: c.update({"shifter.weight": torch.ones(1)}), "Unexpected key.*shifter"),
    "NaN": (changed(f"{READOUT}.bias", lambda x: x * np.nan), "bias holds NaN or infinity"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_checkpoint_of_another_layout_is_refused_by_name(tmp_path, broken):
    damage, message = BROKEN[broken]
    checkpoint = small_checkpoint()
    damage(checkpoint)
    path = tmp_path / "sensorium_sota_model.pth"
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=f"sensorium_sota_model.pth: this is not .*{message}"):
        read_digital_twin(path)


class TestFiles:
    def test_a_file_is_read_with_its_provenance(self, tmp_path, checkpoint):
        path = tmp_path / "twin.pth"
        torch.save(checkpoint, path)
        twin = read_digital_twin(path)
        assert twin(torch.zeros(1, 1, 36, 64)).dtype == torch.float32
        assert twin.provenance.licence == "MIT"
        assert list(twin.provenance.sha256) == ["twin.pth"]

    @pytest.mark.parametrize("content", [torch.ones(3), ["core"], {"core": 1}, {1: torch.ones(1)}])
    def test_another_content_is_refused(self, tmp_path, content):
        path = tmp_path / "twin.pth"
        torch.save(content, path)
        with pytest.raises(ValueError, match="twin.pth: .* must be a dictionary of arrays by name"):
            read_digital_twin(path)

    def test_a_file_cut_short_is_refused(self, tmp_path, checkpoint):
        path = tmp_path / "twin.pth"
        torch.save(checkpoint, path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match="twin.pth cannot be read .* cut short"):
            read_digital_twin(path)

    def test_code_in_a_checkpoint_is_not_run(self, tmp_path):
        path = tmp_path / "twin.pth"
        torch.save({"core": Rogue()}, path)
        with pytest.raises(ValueError, match="cannot be read as a PyTorch checkpoint of arrays"):
            read_digital_twin(path)

    def test_a_missing_file_is_said_to_be_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_digital_twin(tmp_path / "twin.pth")


class Rogue:
    def __reduce__(self):
        return pytest.fail, ("the checkpoint ran code",)
