"""What a neuron sees of an image, computed alone, beside the whole network."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from visualcortex.models.cone import ConeResponse
from visualcortex.models.encoding import EncodingNetwork

CORNERS = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [0.0, 0.0]])


class Folded(nn.Module):
    """The least that a cone needs: layers, readout, and the whole network to compare with."""

    def __init__(self, kernels=(5, 3), n_channels=6, n_neurons=30, seed=0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        channels = zip((1, *(n_channels,) * len(kernels)), kernels, strict=False)
        self.weights = [
            torch.randn(n_channels, n_in, k, k, generator=rng) * (2 / (n_in * k * k)) ** 0.5
            for n_in, k in channels
        ]
        # biases, so that a feature off the image would not be 0 by itself
        self.biases = [torch.randn(n_channels, generator=rng) for _ in kernels]
        self.grid = 2 * torch.rand(n_neurons, 2, generator=rng) - 1
        self.grid[: len(CORNERS)] = CORNERS
        self.features = torch.randn(n_neurons, n_channels, generator=rng) / n_channels**0.5
        self.bias = 0.1 * torch.randn(n_neurons, generator=rng)
        self.eval()

    def folded_layers(self):
        return list(zip(self.weights, self.biases, strict=True))

    def forward(self, images):
        for weight, bias in self.folded_layers():
            before, after = (weight.shape[-1] - 1) // 2, weight.shape[-1] // 2
            padded = functional.pad(images, (before, after, before, after))
            images = functional.elu(functional.conv2d(padded, weight, bias))
        at = self.grid[None, :, None].expand(len(images), -1, -1, -1)
        read = functional.grid_sample(images, at, align_corners=True)[..., 0]
        return functional.elu(torch.einsum("bcn,nc->bn", read, self.features) + self.bias) + 1


class FromCore(nn.Module):
    """Unpadded first, separable second layer, as the digital twin has them."""

    def __init__(self, n_neurons=20):
        super().__init__()
        torch.manual_seed(3)
        separable = (
            nn.Conv2d(4, 4, 1, bias=False),
            nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False),
            nn.Conv2d(4, 4, 1),
        )
        self.core = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 5, bias=False), nn.BatchNorm2d(4), nn.ELU()),
            nn.Sequential(*separable, nn.BatchNorm2d(4), nn.ELU()),
        )
        self.core(1 + 2 * torch.randn(50, 1, 16, 22))  # statistics other than 0 and 1
        self.features = nn.Parameter(torch.randn(1, 4, 1, n_neurons))
        self.bias = nn.Parameter(torch.randn(n_neurons))
        self.grid = torch.rand(n_neurons, 2) * 2 - 1
        self.grid[: len(CORNERS)] = CORNERS
        self.eval()

    def forward(self, images):
        at = self.grid[None, :, None].expand(len(images), -1, -1, -1)
        read = functional.grid_sample(self.core(images), at, align_corners=True)[..., 0]
        drive = torch.einsum("bcn,cn->bn", read, self.features[0, :, 0])
        return functional.elu(drive + self.bias) + 1


def encoding(shape=(16, 22), **settings):
    settings = {"n_channels": 8, "kernels": (5, 3)} | settings
    network = EncodingNetwork(20, shape, **settings)
    torch.manual_seed(0)
    with torch.no_grad():
        network.position.uniform_(-1, 1)
        network.position[: len(CORNERS)] = CORNERS
        network.features.normal_()
        network(1 + 2 * torch.randn(20, 1, *shape))  # statistics of the normalization
    return network.eval()


def compare(network, shape, n_neurons, tolerance=1e-5):
    """Responses and gradients to random images, by the cone and by the whole network."""
    cone = ConeResponse(network, shape)
    rng = torch.Generator().manual_seed(7)
    images = torch.randn(n_neurons, 1, *shape, generator=rng, requires_grad=True)
    index = torch.randperm(n_neurons, generator=rng)
    whole = network(images)[torch.arange(n_neurons), index]
    seen = cone(images, index)
    assert whole.std() > 0.1
    torch.testing.assert_close(seen, whole, rtol=tolerance, atol=tolerance)
    slopes = [torch.autograd.grad(r.sum(), images)[0] for r in (seen, whole)]
    assert slopes[1].abs().max() > 0.05
    torch.testing.assert_close(*slopes, rtol=tolerance, atol=tolerance)
    return cone


@pytest.mark.parametrize("kernels", [(5, 3), (9, 7, 7), (4, 3), (1, 5)])
def test_the_cone_responds_as_the_network_does_and_so_do_its_gradients(kernels):
    cone = compare(Folded(kernels), (20, 31), 30)
    assert cone.patch_shape == (2 + sum(kernels) - len(kernels),) * 2


def test_an_image_smaller_than_the_cone_is_seen_with_zeros_around():
    cone = compare(Folded((9, 7, 7)), (12, 17), 30)
    assert cone.patch_shape == (22, 22)


def test_neurons_inside_need_no_zeros():
    network = Folded()
    network.grid = 0.3 * network.grid
    cone = compare(network, (24, 30), 30)
    assert cone.on_image(torch.arange(30)).all()
    assert all(layer.inside is None for layer in cone._layers(torch.arange(30), 1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2},
        {"stride": 3, "shape": (17, 23)},
        {"stride": 2, "depth_separable": True},
        {"n_rotations": 4},
    ],
)
def test_encoding_networks_of_all_kinds(settings):
    network = encoding(**settings)
    compare(network, network.shape, 20, 2e-5)


def test_a_core_of_modules_without_padding_and_with_separable_kernels():
    cone = compare(FromCore(), (16, 22), 20, 2e-5)
    assert cone.patch_shape == (10, 10)


def test_the_gradient_is_right_to_double_precision():
    network = Folded((3, 3), n_channels=3, n_neurons=6)
    cone = ConeResponse(network, (9, 8)).double()
    patches = torch.randn(6, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    patches.data *= cone.on_image(torch.arange(6))
    torch.autograd.gradcheck(lambda p: cone.on_patches(p, torch.arange(6)), patches)


def test_zeros_must_be_put_around_every_layer():
    """Cropping and convolving alone is wrong at the border: features beyond it are not 0."""
    network = Folded()
    cone = ConeResponse(network, (20, 31))
    images, index = torch.randn(5, 1, 20, 31), torch.arange(5)
    x = cone.crop(images, index)
    for weight, bias in network.folded_layers():
        x = functional.elu(functional.conv2d(x, weight, bias))
    read = (x * cone.interpolation[index][:, None]).sum(dim=(2, 3))
    plain = functional.elu((read * network.features[:5]).sum(dim=1) + network.bias[:5]) + 1
    apart = (plain - network(images).diagonal()).abs()
    assert apart[:4].min() > 0.01  # the corners
    assert apart[4] < 1e-5  # the centre


def test_what_is_pasted_is_what_was_cropped_and_nothing_else_is_seen():
    network = Folded()
    cone = ConeResponse(network, (20, 31))
    images, index = torch.randn(30, 1, 20, 31), torch.arange(30)
    pasted = cone.paste(cone.crop(images, index), index)
    seen = pasted != 0
    assert torch.equal(pasted[seen], images[seen])
    torch.testing.assert_close(cone(pasted, index), cone(images, index))
    assert torch.equal(cone.crop(pasted, index), cone.crop(images, index))
    ones = cone.paste(torch.ones(30, 1, *cone.patch_shape), index)
    assert ones.sum() == cone.on_image(index).sum()


def test_the_order_of_neurons_does_not_matter_and_weights_get_no_gradient():
    network = encoding()
    cone = ConeResponse(network)
    assert cone.shape == (16, 22)
    images = torch.randn(20, 1, 16, 22, requires_grad=True)
    index = torch.arange(20)
    order = torch.randperm(20)
    torch.testing.assert_close(cone(images, index)[order], cone(images[order], order))
    cone(images, index).sum().backward()
    assert all(p.grad is None for p in network.parameters())
    assert not list(cone.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.train(), "training mode"),
        (lambda n: setattr(n, "grid", n.grid[:3]), "positions"),
        (lambda n: setattr(n, "features", n.features[:, :2]), r"features \(30, 6\)"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(change, message):
    network = Folded()
    change(network)
    with pytest.raises(ValueError, match=message):
        ConeResponse(network, (20, 31))


@pytest.mark.parametrize(
    ("core", "message"),
    [
        ((nn.Conv2d(1, 4, 3), nn.ReLU()), "got ReLU"),
        ((nn.Conv2d(1, 4, 3, dilation=2),), "without dilation"),
        ((nn.Conv2d(1, 4, 3, padding=2),), "zeros as padding"),
        ((nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"),), "zeros as padding"),
        ((nn.Conv2d(1, 4, 3, stride=(1, 2)),), "the same down and to the right"),
        ((nn.Conv2d(1, 4, 3), nn.ELU(), nn.BatchNorm2d(4)), "got BatchNorm2d"),
    ],
)
def test_other_layers_are_refused(core, message):
    network = SimpleNamespace(core=nn.Sequential(*core), training=False)
    with pytest.raises(ValueError, match=message):
        ConeResponse(network, (20, 31))


def test_images_and_neurons_must_fit():
    network = Folded()
    cone = ConeResponse(network, (20, 31))
    with pytest.raises(ValueError, match=r"need images \(B, 1, 20, 31\) and one neuron for each"):
        cone(torch.zeros(2, 1, 31, 20), [0, 1])
    with pytest.raises(ValueError, match="one neuron for each"):
        cone(torch.zeros(2, 1, 20, 31), [0])
    with pytest.raises(ValueError, match="neurons are 0 to 29; got 0 to 30"):
        cone(torch.zeros(2, 1, 20, 31), [0, 30])
    with pytest.raises(ValueError, match=r"need images \(B, 1, 8, 8\)"):
        cone.on_patches(torch.zeros(1, 1, 9, 9), [0])
    with pytest.raises(ValueError, match="give their shape"):
        ConeResponse(network)
