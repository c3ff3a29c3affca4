"""Encoding models compute what they say and find what simulated neurons are made of."""

import numpy as np
import pytest
import torch
from scipy import optimize, signal
from scipy.ndimage import map_coordinates
from sklearn.exceptions import NotFittedError
from torch.nn import functional

from visualcortex.evaluation.encoding import feve
from visualcortex.models.encoding import (
    CoreLayer,
    EncodingNetwork,
    ImageEncoder,
    _settle,
    laplacian_ratio,
    rotations,
    warm_cosine,
)
from visualcortex.models.gabor import GaborPyramid, gabor_bank
from visualcortex.models.linear_nonlinear import (
    TINY,
    GaborEnergy,
    GaborEnergyModel,
    LinearNonlinear,
    LinearNonlinearModel,
    Shown,
    best_pairs,
    poisson_loss,
    smooth_basis,
)
from visualcortex.simulators.receptive_fields import DEGREES
from visualcortex.simulators.v1_known_rf import V1KnownRF

SHAPE = (20, 24)
SMALL = {"n_networks": 2, "n_channels": 4, "kernels": (5, 3), "n_epochs": 2, "device": "cpu"}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


# the network

NETWORKS = {
    "plain": {"n_channels": 4, "kernels": (5, 3, 3)},
    "stride": {"n_channels": 4, "kernels": (7, 3), "stride": 2},
    "separable": {"n_channels": 4, "kernels": (5, 3, 5), "depth_separable": True},
    "rotated": {"n_channels": 8, "kernels": (5, 3, 3), "n_rotations": 4},
    "rotated by 60": {"n_channels": 12, "kernels": (5, 5), "n_rotations": 6},
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """A network in double precision with statistics and readouts unlike those of the start."""
    network = EncodingNetwork(7, SHAPE, **NETWORKS[request.param], seed=2).double()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "norm" in name or name in ("position", "bias"):
                p.copy_(torch.rand(p.shape, generator=rng, dtype=p.dtype) * 1.6 - 0.6)
        for _ in range(3):
            network(torch.randn(8, 1, *SHAPE, generator=rng, dtype=torch.float64))
    return network.eval()


def images_for(network, n=3, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, *network.shape, generator=rng, dtype=network.bias.dtype)


def test_folded_layers_are_the_core(network):
    x = images = images_for(network)
    for layer, (kernel, bias) in zip(network.layers, network.folded_layers(), strict=True):
        padding = kernel.shape[-1] // 2
        x = functional.elu(functional.conv2d(x, kernel, bias, stride=layer.stride, padding=padding))
    assert x.shape[1] == network.features.shape[1]
    assert torch.allclose(x, network.core(images), atol=1e-10)
    assert x.std() > 0.1


def test_the_readout_interpolates_the_features_at_one_point(network):
    images = images_for(network)
    features = network.core(images).detach().numpy()
    _, n_channels, height, width = features.shape
    x, y = network.grid.detach().numpy().T
    at = [(y + 1) / 2 * (height - 1), (x + 1) / 2 * (width - 1)]
    read = np.array(
        [[map_coordinates(channel, at, order=1) for channel in image] for image in features]
    )  # (B, C, N)
    drive = (read * network.features.detach().numpy().T).sum(1) + network.bias.detach().numpy()
    expected = np.where(drive > 0, drive + 1, np.exp(np.minimum(drive, 0)))
    rates = network(images).detach().numpy()
    assert np.allclose(rates, expected, atol=1e-10)
    assert np.array_equal(network(images, [4, 0]).detach().numpy(), rates[:, [4, 0]])
    assert (rates > 0).all()


def test_slopes_with_respect_to_images_are_right(network):
    image = images_for(network, 1).requires_grad_()
    direction = images_for(network, 1, seed=5)
    (slope,) = torch.autograd.grad(network(image)[0, 2], image)
    step = 1e-5
    with torch.no_grad():
        both = [network(image + sign * step * direction)[0, 2] for sign in (1, -1)]
    numeric = (both[0] - both[1]) / (2 * step)
    assert (slope * direction).sum().item() == pytest.approx(numeric.item(), rel=1e-5)


def test_positions_are_drawn_in_training_only(network):
    with torch.no_grad():
        network.position.copy_(0.1 * network.position)
        network.spread.copy_(0.1 * torch.tensor([[1.0, 0.0], [0.8, 0.5]]))
    wanted = torch.tensor([5, 1])
    assert torch.equal(network._positions(2, wanted)[1, :, 0], network.grid[wanted])
    drawn = network.train()._positions(20_000, wanted)[:, :, 0].detach()  # (B, 2, 2)
    assert torch.allclose(drawn.mean(0), network.grid[wanted], atol=4e-3)
    covariance = 0.01 * torch.tensor([[1.0, 0.8], [0.8, 0.89]])
    for k in range(2):
        assert np.allclose(np.cov(drawn[:, k].T.numpy()), covariance, atol=6e-4)


def test_rotating_the_image_moves_features_on_by_a_rotation():
    network = EncodingNetwork(1, (15, 15), n_channels=8, kernels=(5, 3), n_rotations=4).double()
    images = images_for(network)
    for _ in range(2):
        network.core(images)
    network.eval()
    features = network.core(images).unflatten(1, (2, 4))
    turned = network.core(images.rot90(1, (2, 3))).unflatten(1, (2, 4))
    assert torch.allclose(turned, features.roll(1, 2).rot90(1, (3, 4)), atol=1e-10)
    assert not torch.allclose(turned, features.rot90(1, (3, 4)), atol=0.1)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_readouts_start_on_their_pixel(stride):
    """Features of a ramp at the centres of the kernels, read where a readout starts."""
    network = EncodingNetwork(2, SHAPE, n_channels=1, kernels=(3,), stride=stride)
    _settle(network, torch.tensor([[7.0, 11.0], [13.5, 4.0]]), torch.tensor([0.5, 3.0]))
    at = network.eval()._positions(1, slice(None))
    rows, columns = (torch.as_tensor(ramp).float() for ramp in np.mgrid[:20, :24])
    for ramp, expected in ((columns, [7.0, 13.5]), (rows, [11.0, 4.0])):
        ramp = ramp.expand(1, 1, *SHAPE)
        features = ramp[..., ::stride, ::stride]
        read = functional.grid_sample(features, at, align_corners=True)
        assert torch.allclose(read.flatten(), torch.tensor(expected), atol=1e-4)
    assert network.core(ramp).shape == features.shape
    assert torch.allclose(functional.elu(network.bias) + 1, torch.tensor([0.5, 3.0]))


def test_kernels_turn_counter_clockwise(rng):
    kernel = rng.normal(size=(7, 7)).astype("f4")
    turned = (rotations(7, 4) @ kernel.ravel()).reshape(4, 7, 7).numpy()
    for r in range(4):
        assert np.allclose(turned[r], np.rot90(kernel, r), atol=1e-5)
    row, column = np.mgrid[-7:8, -7:8]
    blob = np.exp(-((row - 1) ** 2 + (column - 4) ** 2) / 8).astype("f4")
    by_30 = (rotations(15, 12)[1] @ blob.ravel()).reshape(15, 15).numpy()
    angle = np.deg2rad(30)
    y, x = 1 * np.cos(angle) - 4 * np.sin(angle), 4 * np.cos(angle) + 1 * np.sin(angle)
    expected = np.exp(-((row - y) ** 2 + (column - x) ** 2) / 8)
    assert np.abs(by_30 - expected)[np.hypot(row, column) < 6].max() < 0.05


def test_separable_layers_have_fewer_weights():
    sizes = {}
    for separable in (False, True):
        rng = torch.Generator().manual_seed(0)
        layer = CoreLayer(8, 8, 7, depth_separable=separable, rng=rng)
        sizes[separable] = sum(p.numel() for p in layer.parameters())
    assert sizes == {False: 8 * 8 * 49 + 16, True: 8 * 49 + 64 + 16}


def test_roughness_is_the_share_of_the_laplacian(rng):
    kernels = rng.normal(size=(3, 1, 6, 6))
    laplace = np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]]) / 4
    expected = np.mean(
        [
            (signal.convolve2d(k, laplace, mode="same") ** 2).sum() / ((k**2).sum() + TINY)
            for k in kernels[:, 0]
        ]
    )
    assert laplacian_ratio(torch.as_tensor(kernels)).item() == pytest.approx(expected)


def test_the_learning_rate_rises_and_falls():
    rates = np.array([warm_cosine(t) for t in np.linspace(0, 1, 101)])
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert rates[20] == pytest.approx(1)
    assert 0 < rates[0] < 0.06
    assert rates[-1] == pytest.approx(0)


# one-stage models


def test_the_basis_is_all_cosines_up_to_the_frequency():
    basis = smooth_basis(SHAPE, 0.2)
    assert np.allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-5)
    row, column = np.mgrid[:20, :24] + 0.5
    for u in range(20):
        for v in range(24):
            wave = np.cos(np.pi * row * u / 20) * np.cos(np.pi * column * v / 24)
            inside = np.linalg.norm(basis @ wave.ravel()) / np.linalg.norm(wave)
            assert inside == pytest.approx(float(np.hypot(u / 40, v / 48) <= 0.2), abs=1e-5)


def test_the_poisson_loss_is_lowest_at_the_mean(rng):
    responses = torch.as_tensor(rng.poisson(1.7, size=500).astype("f4"))
    rates = torch.linspace(0.5, 4, 701)
    losses = [poisson_loss(rate, responses).mean() for rate in rates]
    assert rates[int(np.argmin(losses))] == pytest.approx(responses.mean().item(), abs=0.01)


def gabor_model(n=4):
    model = GaborEnergyModel(n, SHAPE).double()
    with torch.no_grad():
        model.centre.copy_(torch.tensor([[8.0, 11.0], [10, 9], [9.5, 12], [11, 13]])[:n])
        model.orientation.copy_(torch.linspace(0.2, 2.5, n))
        model.phase.copy_(torch.linspace(-1, 2, n))
        model.log_frequency.fill_(np.log(0.15))
        model.log_sigma.fill_(np.log(2.5))
        model.log_elongation.copy_(torch.linspace(0, 0.6, n))
        model.log_weights.copy_(torch.linspace(-1, 0.5, 3 * n).view(n, 3))
    return model


def test_gabor_pairs_are_painted_as_their_equation():
    model = gabor_model()
    filters = model.filters().detach().numpy()
    row, column = np.mgrid[:20, :24]
    for i in range(4):
        angle, elongation = (p[i].item() for p in (model.orientation, model.log_elongation.exp()))
        y0, x0 = model.centre[i].tolist()
        x, y = column - x0, y0 - row
        across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        envelope = np.exp(-(across**2 + (along / elongation) ** 2) / (2 * 2.5**2))
        for k, wave in enumerate((np.cos, np.sin)):
            painted = wave(2 * np.pi * 0.15 * across)
            painted = envelope * (painted - (envelope * painted).sum() / envelope.sum())
            painted /= np.linalg.norm(painted)
            assert np.allclose(filters[i, k], painted.ravel(), atol=1e-5)
    round_ = gabor_bank(
        *SHAPE, frequencies=0.15, orientations=0.2, sigmas=2.5, centres=(8, 11), phases=-np.pi / 2
    )
    assert np.allclose(filters[0, 1], round_[0], atol=1e-3)


def test_rates_of_gabor_cells_are_their_equation(rng):
    model, images = gabor_model(), rng.normal(size=(6, 1, *SHAPE))
    filters = model.filters().detach().numpy()
    u, v = np.einsum("bp,nkp->kbn", images.reshape(6, -1), filters)
    phase, weights = model.phase.detach().numpy(), model.log_weights.exp().detach().numpy()
    simple = np.maximum(u * np.cos(phase) + v * np.sin(phase), 0)
    expected = weights[:, 0] + weights[:, 1] * simple + weights[:, 2] * np.hypot(u, v)
    rates = model(torch.as_tensor(images)).detach().numpy()
    assert np.allclose(rates, expected, rtol=1e-4)
    assert np.allclose(model(torch.as_tensor(images), [3, 1]).detach(), rates[:, [3, 1]])


def test_the_best_pair_is_that_of_the_neuron(rng):
    pyramid = GaborPyramid(*SHAPE, (0.1, 0.2), n_orientations=4)
    images = rng.normal(size=(800, *SHAPE)).astype("f4")
    even, odd = (images.reshape(800, -1) @ bank[[37, 90, 12]].T for bank in pyramid.pair)
    responses = np.stack(
        [np.hypot(even, odd)[:, 0], np.maximum(-odd[:, 1], 0), 0 * even[:, 2]], axis=1
    )
    shown = Shown(torch.as_tensor(images)[:, None], torch.as_tensor(responses))
    found = best_pairs(shown, pyramid)
    assert found.row[:2].tolist() == [37, 90]
    assert np.argmax(np.abs([found.even, found.odd, found.amplitude]), axis=0)[:2].tolist() == [
        2,
        1,
    ]
    assert found.odd[1] == pytest.approx(np.corrcoef(odd[:, 1], responses[:, 1])[0, 1], abs=1e-4)
    assert [column[2] for column in found[1:]] == [0, 0, 0]


def test_linear_filters_minimise_the_penalised_loss(rng):
    images, responses = rng.normal(size=(60, 4, 5)), rng.poisson(1.0, size=(60, 2))
    model = LinearNonlinear(max_frequency=0.5, penalties=[0.3], n_steps=300, device="cpu")
    model.fit(images, responses, (images, responses))
    x = images.reshape(60, -1) @ smooth_basis((4, 5), 0.5).T
    basis = smooth_basis((4, 5), 0.5)
    for i in range(2):
        y = responses[:, i]
        penalty = model.penalties_[i] / y.mean()

        def loss(p, y=y, penalty=penalty):
            drive = x @ p[:-1] + p[-1]
            rate = np.where(drive > 0, drive + 1, np.exp(np.minimum(drive, 0)))
            return (rate - y * np.log(rate + TINY)).sum() + penalty * (p[:-1] ** 2).sum() / 2

        best = optimize.minimize(loss, np.zeros(x.shape[1] + 1))
        own = [*(basis @ model.module.filters[i].detach().numpy()), model.module.bias[i].item()]
        assert loss(np.array(own)) == pytest.approx(best.fun, rel=1e-4)
    assert np.allclose(model.penalties_, 0.3 * (x**2).sum(0).mean(), rtol=1e-4)


# recovery of simulated neurons


@pytest.fixture(scope="module")
def recording():
    """Few simple and complex cells, training images with little noise."""
    settings = V1KnownRF(
        n_simple=8, n_complex=8, n_surround=0, n_curved=0, n_corner=0, n_two_subunit=0,
        n_train=1200, n_validation=150, n_test=80, n_repeats=6, mean_count=3.0,
    )  # fmt: skip
    return settings.simulate(1)


@pytest.fixture(scope="module")
def parts(recording):
    """Images and responses of training and validation; of the test, repeats of each image."""
    tier, stimulus = recording.trials["tier"].to_numpy(), recording.stimulus
    values = recording.responses.to_numpy()
    order = np.argsort(stimulus, kind="stable")
    images = {t: recording.images[np.unique(stimulus[tier == t])] for t in np.unique(tier)}
    rows = {t: values[order[tier[order] == t]] for t in images}
    test = rows["test"].reshape(80, 6, -1)
    pairs = [(images[t], rows[t]) for t in ("train", "validation")]
    return *pairs, (images["test"], test)


@pytest.fixture(scope="module")
def fitted(parts):
    """Fit each model once."""
    (images, responses), held_out, _ = parts
    gabor = GaborEnergy(n_steps=160, device="cpu")
    encoder = ImageEncoder(n_networks=1, n_channels=12, n_epochs=6, device="cpu")
    return {
        "linear": LinearNonlinear(device="cpu").fit(images, responses, held_out),
        "gabor": gabor.fit(images, responses, held_out, progress=False),
        "network": encoder.fit(images, responses, held_out, progress=False),
    }


def test_what_each_model_explains(recording, parts, fitted):
    images, values = parts[2]
    kind = recording.neurons["class"].to_numpy()
    explained = {
        name: {
            k: np.median(feve(values, model.predict(images))[kind == k]) for k in np.unique(kind)
        }
        for name, model in fitted.items()
    }
    assert explained["linear"]["simple"] > 0.6
    assert explained["linear"]["complex"] < 0.2
    assert min(explained["gabor"].values()) > 0.85
    assert explained["network"]["complex"] > explained["linear"]["complex"] + 0.3
    assert explained["network"]["simple"] > 0.6


def test_gabor_fits_find_orientation_frequency_and_place(recording, fitted):
    truth, model = recording.truth.table, fitted["gabor"].module
    own = {name: p.detach().numpy() for name, p in model.named_parameters()}
    # orientations of the truth go clockwise
    turn = 2 * (own["orientation"] + truth["orientation"].to_numpy())
    error = np.abs(np.angle(np.exp(1j * turn))) / 2
    octaves = np.abs(own["log_frequency"] - np.log(DEGREES * truth["frequency"])) / np.log(2)
    place = truth[["elevation", "azimuth"]].to_numpy() / DEGREES - 0.5
    distance = np.linalg.norm(own["centre"] - place, axis=1)
    assert np.median(np.rad2deg(error)) < 3
    assert np.median(octaves) < 0.1
    assert np.median(distance) < 1
    weights = own["log_weights"]
    simple = (truth["class"] == "simple").to_numpy()
    is_simple = weights[:, 1] > weights[:, 2]
    assert (is_simple == simple).mean() > 0.9


def test_linear_filters_are_those_of_simple_cells(recording, fitted):
    filters = fitted["linear"].module.filters.detach().numpy()
    cosine = recording.truth.cosine_to_optimum(filters.reshape(-1, 36, 64))
    assert np.median(cosine[recording.neurons["class"] == "simple"]) > 0.7


# the estimators


@pytest.fixture
def data(rng):
    """Small images, five neurons with a random filter each; validation images."""
    images = rng.normal(size=(160, *SHAPE)).astype("f4")
    filters = rng.normal(size=(SHAPE[0] * SHAPE[1], 5)) / 20
    responses = rng.poisson(np.exp(images.reshape(160, -1) @ filters)).astype("f4")
    return (images[:120], responses[:120]), (images[120:], responses[120:])


MAKERS = {
    "linear": lambda **o: LinearNonlinear(n_steps=20, device="cpu", **o),
    "gabor": lambda **o: GaborEnergy(n_steps=20, device="cpu", **o),
    "network": lambda **o: ImageEncoder(**SMALL, **o),
}


@pytest.fixture(params=MAKERS)
def fit(request):
    """A function of training and validation data that fits one of the models."""
    quiet = {} if request.param == "linear" else {"progress": False}

    def fit(train, held_out, **options):
        return MAKERS[request.param](**options).fit(*train, held_out, **quiet)

    fit.kind = request.param
    return fit


def test_modules_predict_and_have_slopes(fit, data):
    model = fit(*data)
    images = data[1][0]
    rates = model.predict(images)
    assert rates.shape == (40, 5)
    assert rates.dtype == np.float32
    assert (rates >= 0).all()
    shown = torch.as_tensor(images[:, None]).requires_grad_()
    modelled = model.module(shown)
    assert np.allclose(modelled.detach(), rates, atol=1e-5)
    modelled[3, 2].backward()
    assert (shown.grad[3] != 0).any()
    assert (shown.grad[:3] == 0).all()


def test_fits_are_reproducible(fit, data):
    a, b = (fit(*data).predict(data[1][0]) for _ in range(2))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", ["gabor", "network"])
def test_the_seed_decides(kind, data):
    a, b = (
        MAKERS[kind](seed=s, batch_size=30)
        .fit(*data[0], data[1], progress=False)
        .predict(data[1][0])
        for s in (0, 1)
    )
    assert not np.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("kind", ["linear", "gabor"])
def test_the_order_of_neurons_does_not_matter(kind, data, rng):
    order = rng.permutation(5)
    quiet = {} if kind == "linear" else {"progress": False}
    settings = {"n_steps": 300} if kind == "linear" else {"n_steps": 20}
    maker = {"linear": LinearNonlinear, "gabor": GaborEnergy}[kind](**settings, device="cpu")
    (images, responses), (other, held_out) = data
    own = maker.fit(images, responses, (other, held_out), **quiet).predict(other)
    turned = maker.fit(images, responses[:, order], (other, held_out[:, order]), **quiet)
    assert np.allclose(turned.predict(other), own[:, order], rtol=0.02, atol=0.01)


def test_validation_images_are_not_trained_on(data, rng):
    train, held_out = data
    other = held_out[0], rng.permutation(held_out[1])
    linear = [
        LinearNonlinear(penalties=[0.1], device="cpu").fit(*train, part).predict(held_out[0])
        for part in (held_out, other)
    ]
    assert np.array_equal(*linear)
    history = [
        ImageEncoder(**SMALL).fit(*train, part, progress=False).history_
        for part in (held_out, other)
    ]
    assert np.array_equal(history[0]["train"], history[1]["train"])
    assert not np.array_equal(history[0]["validation"], history[1]["validation"])


def test_gabor_cells_keep_their_own_best_step(data):
    """Of the start and the end of 20 steps, that which predicts validation images better."""
    train, held_out = data
    model = GaborEnergy(n_steps=20, learning_rate=0.3, device="cpu")
    kept = model.fit(*train, held_out, progress=False).predict(held_out[0])
    still = GaborEnergy(n_steps=1, learning_rate=1e-12, device="cpu")
    start = still.fit(*train, held_out, progress=False).predict(held_out[0])
    losses = [poisson_loss(*map(torch.as_tensor, (p, held_out[1]))).mean(0) for p in (kept, start)]
    assert (losses[0] <= losses[1] + 1e-5).all()
    moved = ~np.isclose(kept, start, atol=1e-4).all(axis=0)
    assert moved.any()


def test_the_ensemble_is_the_mean_of_unlike_members(data):
    train, held_out = data
    encoder = ImageEncoder(**SMALL).fit(*train, held_out, progress=False)
    shown = torch.as_tensor(held_out[0])[:, None]
    rates = [member(shown).numpy() for member in encoder.members]
    assert np.allclose(encoder.predict(held_out[0]), np.mean(rates, axis=0), atol=1e-6)
    assert not np.allclose(rates[0], rates[1], atol=1e-2)
    alone = ImageEncoder(**{**SMALL, "n_networks": 1}).fit(*train, held_out, progress=False)
    assert np.array_equal(alone.predict(held_out[0]), rates[0])
    assert not any(member.training for member in encoder.members)


def test_networks_keep_the_epoch_with_the_lowest_validation_loss(data):
    train, held_out = data
    settings = {**SMALL, "n_epochs": 12, "patience": 2, "learning_rate": 0.05}
    encoder = ImageEncoder(**settings).fit(*train, held_out, progress=False)
    shown, responses = (torch.as_tensor(x) for x in held_out)
    for (_, history), member in zip(
        encoder.history_.groupby("network"), encoder.members, strict=True
    ):
        kept = history.loc[history["kept"], "validation"].item()
        assert kept == history["validation"].min()
        assert poisson_loss(member(shown[:, None]), responses).mean().item() == pytest.approx(kept)
        assert len(history) <= history.loc[history["kept"], "epoch"].item() + 2


def test_penalties_make_readouts_small_and_kernels_smooth(data):
    train, held_out = data
    settings = {**SMALL, "n_epochs": 8, "n_networks": 1}
    size, roughness = [], []
    for weight in (0.0, 1.0):
        options = {**settings, "sparsity": weight, "smoothing": weight}
        (member,) = ImageEncoder(**options).fit(*train, held_out, progress=False).members
        size.append(member.features.abs().mean().item())
        roughness.append(laplacian_ratio(member.layers[0].spatial).item())
    assert size[1] < 0.5 * size[0]
    assert roughness[1] < 0.8 * roughness[0]


@pytest.mark.parametrize("options", [{}, {"n_rotations": 4}, {"depth_separable": True}])
def test_saved_encoders_are_the_same(data, options, tmp_path):
    encoder = ImageEncoder(**SMALL, **options).fit(*data[0], data[1], progress=False)
    encoder.save(tmp_path / "encoder.pt")
    again = ImageEncoder.load(tmp_path / "encoder.pt", device="cpu")
    assert np.array_equal(again.predict(data[1][0]), encoder.predict(data[1][0]))
    assert again.get_params() == encoder.get_params()
    assert again.history_.equals(encoder.history_)
    torch.save({"format": "other"}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is no image encoder"):
        ImageEncoder.load(tmp_path / "other.pt")


def test_states_of_modules_are_arrays_only(data, tmp_path):
    for kind, empty in (
        ("linear", LinearNonlinearModel(5, SHAPE)),
        ("gabor", GaborEnergyModel(5, SHAPE)),
    ):
        quiet = {} if kind == "linear" else {"progress": False}
        module = MAKERS[kind]().fit(*data[0], data[1], **quiet).module
        torch.save(module.state_dict(), tmp_path / kind)
        empty.load_state_dict(torch.load(tmp_path / kind, weights_only=True))
        shown = torch.as_tensor(data[1][0])[:, None]
        assert torch.equal(empty(shown), module(shown))


# bad input

IMAGES, COUNTS = np.zeros((6, *SHAPE)), np.ones((6, 2))


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        ((IMAGES[0], COUNTS), None, r"images must be \(image, H, W\)"),
        ((IMAGES * np.nan, COUNTS), None, "2880 NaN"),
        ((IMAGES, COUNTS[:4]), None, "one row for each of 6 images"),
        ((IMAGES, COUNTS[0]), None, r"\(image, neuron\)"),
        ((IMAGES, -COUNTS), None, "not negative, as a Poisson rate; got 12"),
        ((IMAGES, COUNTS * np.nan), None, "got 12 other"),
        ((IMAGES, COUNTS), (IMAGES, COUNTS[:, :1]), "the neurons of training"),
        ((IMAGES, COUNTS), (IMAGES[:, :5], COUNTS), "size of images"),
    ],
)
def test_bad_data_are_refused(fit, train, held_out, message):
    with pytest.raises(ValueError, match=message):
        fit(train, held_out or train)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LinearNonlinear(max_frequency=0.6), "max_frequency must be in"),
        (LinearNonlinear(penalties=[0.0]), "penalties positive"),
        (GaborEnergy(n_steps=0), "must be positive"),
        (ImageEncoder(n_networks=0), "'n_networks': 0"),
        (ImageEncoder(smoothing=-1.0), "'smoothing': -1.0"),
        (ImageEncoder(kernels=(4,)), "odd sides"),
        (ImageEncoder(n_channels=6, n_rotations=4), "divide n_channels"),
        (ImageEncoder(n_channels=8, n_rotations=4, depth_separable=True), "cannot be depth"),
    ],
)
def test_bad_settings_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(IMAGES, COUNTS, (IMAGES, COUNTS))


@pytest.mark.parametrize("model", [LinearNonlinear(), GaborEnergy(), ImageEncoder()])
def test_what_is_not_fitted_predicts_nothing(model):
    with pytest.raises(NotFittedError):
        model.predict(IMAGES)


def test_images_of_another_size_are_refused(fit, data):
    model = fit(*data)
    with pytest.raises(ValueError, match=r"\(B, 1, 20, 24\); got \(40, 1, 19, 24\)"):
        model.predict(data[1][0][:, :19])
    with pytest.raises(ValueError, match="of the size of training"):
        model.module(torch.zeros(2, *SHAPE))
