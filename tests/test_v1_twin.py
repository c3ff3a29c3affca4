"""Recordings of the digital twin: they are its answers, and its best images are the best found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_digital_twin import PUBLISHED, READOUT, small_checkpoint

from visualcortex.models.gabor_bank import gabor_table, paint_gabors
from visualcortex.models.synthesis import best_of_bank, most_exciting_images
from visualcortex.recording import ImageResponses
from visualcortex.simulators.v1_known_rf import CLASSES, V1KnownRF
from visualcortex.simulators.v1_twin import RecordedTwin, TwinTruth, V1Twin
from visualcortex.sources.digital_twin import DigitalTwin, read_digital_twin

FEW = {"n_train": 60, "n_validation": 5, "n_test": 4, "n_repeats": 3}
N_ERRORS = 4.5


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    path = tmp_path_factory.mktemp("twin") / "twin.pth"
    torch.save(small_checkpoint(), path)
    return read_digital_twin(path)


def few(twin, seed=1, **changes):
    return V1Twin(**(FEW | {"n_neurons": 7} | changes)).simulate(twin, seed)


@pytest.fixture(scope="module")
def recording(twin):
    return few(twin)


@pytest.fixture(scope="module")
def truth(recording):
    return recording.truth


def of_norm(images, norm):
    lengths = np.linalg.norm(images, axis=(-2, -1), keepdims=True)
    return (norm * images / lengths).astype("f4")


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 36, 64)).astype("f4")


# the recording


def test_rates_are_the_answers_of_the_twin_at_one_mean_count(twin, recording, truth):
    with torch.no_grad():
        answers = twin(torch.as_tensor(recording.images)[:, None])[:, truth.units].numpy()
    expected = answers / answers[:60].mean(axis=0)
    np.testing.assert_allclose(truth.rates, expected, rtol=1e-4)
    assert answers.mean(axis=0).std() > 0.1, "neurons that answer alike tell no scale apart"
    doubled = few(twin, mean_count=2.0).truth.rates
    np.testing.assert_allclose(doubled[:60].mean(axis=0), 2, rtol=1e-5)


def test_neurons_are_some_of_the_twin_each_once(recording, truth):
    assert isinstance(recording, ImageResponses)
    np.testing.assert_array_equal(recording.neurons["unit"], truth.units)
    assert (recording.neurons["class"] == "twin").all()
    assert recording.n_neurons == len(np.unique(truth.units)) == 7
    assert set(truth.units) <= set(range(11))


def test_every_neuron_of_the_twin_is_drawn_as_often(twin):
    settings = V1Twin(n_train=50, n_validation=1, n_test=1, n_neurons=5)
    drawn = [settings.simulate(twin, seed).truth.units for seed in range(40)]
    times = np.bincount(np.concatenate(drawn), minlength=11)
    share = 5 / 11
    assert np.all(np.abs(times - 40 * share) < N_ERRORS * np.sqrt(40 * share * (1 - share)))


@pytest.mark.parametrize("gain_sd", [0.0, 0.5])
def test_counts_are_poisson_but_for_the_common_gain(twin, gain_sd):
    n = 4000
    recording = few(twin, n_test=1, n_repeats=n, gain_sd=gain_sd, gain_trials=0.1)
    counts = recording.responses.to_numpy()[recording.stimulus == 65].astype(float)
    rates = recording.truth.rates[65].astype(float)
    extra = np.expm1(gain_sd**2)  # variance of a log-normal gain of mean 1
    variance = rates + extra * rates**2
    assert np.all(np.abs(counts.mean(axis=0) - rates) < N_ERRORS * np.sqrt(variance / n))
    bright = rates > 0.1
    assert bright.sum() >= 3
    np.testing.assert_allclose(counts.var(axis=0)[bright], variance[bright], rtol=0.25)
    np.testing.assert_array_equal(counts, np.round(counts))
    if gain_sd == 0:
        np.testing.assert_array_equal(recording.truth.gain, 1)


@pytest.mark.parametrize("seed", [1, 8])
def test_images_order_and_gain_are_those_of_the_neurons_with_known_fields(twin, seed):
    known = V1KnownRF(**(FEW | {f"n_{name}": 1 for name in CLASSES})).simulate(seed)
    recorded = few(twin, seed)
    np.testing.assert_array_equal(recorded.images, known.images)
    np.testing.assert_array_equal(recorded.truth.gain, known.truth.gain)
    assert recorded.trials.equals(known.trials)
    # nor do they depend on the neurons
    np.testing.assert_array_equal(few(twin, seed, n_neurons=2).images, known.images)


def test_a_seed_gives_the_same_again_and_another_gives_other(twin, recording):
    again, other = few(twin), few(twin, seed=2)
    for name in ("responses", "images"):
        np.testing.assert_array_equal(getattr(recording, name), getattr(again, name))
        assert not np.array_equal(getattr(recording, name), getattr(other, name))
    np.testing.assert_array_equal(recording.truth.units, again.truth.units)
    assert not np.array_equal(recording.truth.units, other.truth.units)


def test_it_says_where_it_comes_from(twin, recording):
    told, own = recording.provenance, twin.provenance
    assert told.source == "Simulated counts about the answers of the digital twin"
    assert told.sha256 == own.sha256
    assert list(told.sha256) == ["twin.pth"]
    assert (told.citation, told.licence, told.url) == ("willeke2022", "MIT", own.url)
    assert told.preprocessing[:-1] == own.preprocessing
    assert "spikes counted" in told.preprocessing[-1]
    unknown = few(DigitalTwin(small_checkpoint())).provenance
    assert (unknown.source, unknown.licence) == (told.source, "none stated")


def with_silent(units):
    checkpoint = small_checkpoint()
    checkpoint[f"{READOUT}.bias"][units] = -1e4
    return DigitalTwin(checkpoint)


def test_silent_neurons_are_never_drawn():
    silent = [0, 3, 4, 10]
    units = [few(with_silent(silent), seed, n_neurons=6).truth.units for seed in range(4)]
    assert not np.isin(units, silent).any()
    assert all(len(np.unique(drawn)) == 6 for drawn in units)
    recording = few(with_silent(silent))
    np.testing.assert_array_equal(recording.truth.units, np.setdiff1d(range(11), silent))
    np.testing.assert_allclose(recording.truth.rates[:60].mean(axis=0), 1, rtol=1e-5)


def test_more_neurons_than_answer_are_refused(twin):
    with pytest.raises(ValueError, match="n_neurons must be at most .* 7 of 11; got 8. Ask for"):
        few(with_silent([0, 3, 4, 10]), n_neurons=8)
    with pytest.raises(ValueError, match="11 of 11; got 600"):
        few(twin, n_neurons=V1Twin().n_neurons)


# the truth


def test_arrays_and_tensors_get_what_they_gave(recording, truth):
    rates = truth.respond(recording.images)
    assert isinstance(rates, np.ndarray)
    np.testing.assert_allclose(rates, truth.rates, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(truth.respond(recording.images[:, None]), rates, rtol=1e-6)
    many = np.concatenate([recording.images] * 3)  # more than are asked at once
    np.testing.assert_allclose(truth.respond(many)[-69:], rates, rtol=1e-4, atol=1e-6)
    tensor = torch.tensor(recording.images[:5], requires_grad=True)
    answer = truth.respond(tensor)
    np.testing.assert_allclose(answer.detach(), rates[:5], rtol=1e-4, atol=1e-6)
    answer.sum().backward()
    assert tensor.grad.abs().sum() > 0


def test_the_fast_response_is_that_of_the_whole_network(truth):
    response, index = truth.response(), torch.tensor([3, 0, 6, 5, 1, 4, 2, 2])
    answers, slopes = [], []
    for respond in (response, lambda x, i: truth.model(x).gather(1, i[:, None])[:, 0]):
        shown = torch.tensor(noise(8))[:, None].requires_grad_()
        answers.append(respond(shown, index))
        slopes.append(torch.autograd.grad(answers[-1].sum(), shown)[0])
    scale = answers[1].abs().max().item()
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-5 * slopes[1].abs().max().item())
    patches = response.crop(shown, index)
    assert patches.shape[2:] == response.patch_shape < (36, 64)
    torch.testing.assert_close(response.on_patches(patches, index), answers[0])
    assert response.n_neurons == 7


def linear_twin():
    """One layer far above the bend of every ELU: a closed form."""
    checkpoint = small_checkpoint(n_layers=1)
    layer = "core.features.layer0.norm"
    for name, value in (("weight", 1), ("bias", 100), ("running_mean", 0), ("running_var", 1)):
        checkpoint[f"{layer}.{name}"] = torch.full((4,), float(value))
    checkpoint[f"{READOUT}.bias"] += 2000.0
    return DigitalTwin(checkpoint)


def test_the_best_image_of_a_linear_neuron_is_its_filter():
    twin = linear_twin()
    model = RecordedTwin(twin, np.arange(11), np.linspace(0.5, 2, 11))
    truth = TwinTruth(model, np.zeros((1, 11)), np.ones(1), V1Twin())
    grey = torch.zeros(1, 1, 36, 64, requires_grad=True)
    answer = model(grey)[0]
    filters = [torch.autograd.grad(r, grey, retain_graph=True)[0][0, 0] for r in answer]
    filters = torch.stack(filters).numpy()
    lengths = np.linalg.norm(filters, axis=(1, 2))
    rise = truth.optimal_response(5.0) - answer.detach().numpy()
    np.testing.assert_allclose(rise, 5 * lengths, rtol=0.01)
    np.testing.assert_allclose(truth.cosine_to_optimum(filters, 5.0), 1, atol=0.01)


@pytest.mark.parametrize("norm", [3.0, 12.0])
def test_no_other_image_of_the_norm_drives_a_neuron_more(truth, norm):
    best, images = truth.optimal_response(norm), truth.optimal_images(norm)
    np.testing.assert_allclose(np.linalg.norm(images, axis=(1, 2)), norm, rtol=1e-4)
    np.testing.assert_allclose(np.diagonal(truth.respond(images)), best, rtol=1e-4)
    bank = paint_gabors(gabor_table(36, 64, 1000, seed=5), 36, 64)
    assert np.all(best >= best_of_bank(truth.model, bank, norm).responses)
    assert np.all(best >= truth.respond(of_norm(noise(200), norm)).max(axis=0))
    index = np.repeat(np.arange(7), 2)
    other = most_exciting_images(truth.response(), index, (36, 64), norm=norm, seed=0)
    assert np.all(best >= (1 - 1e-6) * other.best().responses)


def test_the_best_images_are_found_once_and_are_the_same_again(twin, truth):
    assert truth.optima() is truth.optima(12)
    assert truth.optima(n_starts=2) is not truth.optima()
    again = few(twin).truth
    np.testing.assert_array_equal(again.optimal_images(), truth.optimal_images())
    assert np.all(truth.optimal_response(n_starts=5) >= truth.optimal_response(n_starts=2))
    images = truth.optimal_images()
    images[:] = 0  # what is handed out can be written on
    assert truth.optimal_images().any(axis=(1, 2)).all()


def test_a_neuron_that_noise_does_not_wake_is_woken_by_a_gabor():
    twin = linear_twin()
    twin.features *= 10
    twin.bias += 20_000.0
    model = RecordedTwin(twin, np.arange(11), np.ones(11))
    bank = paint_gabors(gabor_table(36, 64, 1000, seed=0), 36, 64)
    # to the best Gabor just so awake: ELU + 1 is 0, in 32 bits, below a drive of -17
    twin.bias -= torch.as_tensor(best_of_bank(model, bank, 12.0).responses) - 1 + 10
    truth = TwinTruth(model, np.zeros((1, 11)), np.ones(1), V1Twin())
    found = most_exciting_images(truth.response(), np.arange(11), (36, 64), norm=12.0, seed=0)
    asleep = found.responses == 0
    assert asleep.any(), "noise wakes them all"
    assert np.all(truth.optimal_response(n_starts=2)[asleep] > 1)


def test_the_cosine_has_no_scale_but_a_sign(truth):
    images = truth.optimal_images()
    np.testing.assert_allclose(truth.cosine_to_optimum(images), 1, atol=1e-5)
    np.testing.assert_allclose(truth.cosine_to_optimum(-0.01 * images), -1, atol=1e-5)
    np.testing.assert_array_equal(truth.cosine_to_optimum(0 * images), 0)
    stacked = truth.cosine_to_optimum(np.stack([images, images + of_norm(noise(7), 12.0)]))
    assert stacked.shape == (2, 7)
    np.testing.assert_allclose(stacked[1], np.sqrt(0.5), atol=0.1)


def test_the_published_twin_is_recorded_and_climbed(real_data):
    twin = read_digital_twin(real_data(PUBLISHED))
    recording = few(twin, n_neurons=600)
    assert recording.n_neurons == 600
    np.testing.assert_allclose(recording.truth.rates[:60].mean(axis=0), 1, rtol=1e-5)
    units = np.arange(2759, 2759 + 6)
    model = RecordedTwin(twin, units, np.ones(6))
    truth = TwinTruth(model, np.zeros((1, 6)), np.ones(1), V1Twin())
    bank = paint_gabors(gabor_table(36, 64, 500, seed=3), 36, 64)
    best = truth.optimal_response(12.0, n_starts=2)
    assert np.all(best > 1.2 * best_of_bank(model, bank, 12.0, batch_size=32).responses)


# bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_neurons": 0}, "n_neurons must be a whole number, 1 or more; got 0. Correct it"),
        ({"n_neurons": 5.0}, "n_neurons must be a whole number"),
        ({"n_train": 49}, "n_train must be a whole number, 50 or more; got 49"),
        ({"n_validation": 0}, "n_validation must be a whole number, 1 or more"),
        ({"n_test": True}, "n_test must be a whole number, 1 or more"),
        ({"n_repeats": 0}, "n_repeats must be a whole number, 1 or more"),
        ({"mean_count": 0}, "mean_count must be a finite number above 0; got 0. Correct it"),
        ({"gain_sd": -0.1}, "gain_sd must be a finite number, 0 or more; got -0.1"),
        ({"gain_trials": np.inf}, "gain_trials must be a finite number above 0; got inf"),
    ],
)
def test_a_setting_outside_its_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(V1Twin(), **changes)


@pytest.mark.parametrize("seed", [-1, 1.5, "seed"])
def test_a_seed_must_be_a_whole_number(twin, seed):
    with pytest.raises(ValueError, match="seed must be a whole number, 0 or more"):
        few(twin, seed)


def test_the_truth_refuses_what_it_cannot_answer(truth):
    with pytest.raises(ValueError, match=r"images must be \(B, 36, 64\).*got \(2, 34, 45\). Crop"):
        truth.respond(np.zeros((2, 34, 45)))
    with pytest.raises(ValueError, match=r"one for each neuron; got \(5, 36, 64\). Give an image"):
        truth.cosine_to_optimum(np.zeros((5, 36, 64)))
    for norm in (0, -1.0, np.inf, "12"):
        with pytest.raises(ValueError, match="norm must be a finite number above 0"):
            truth.optimal_images(norm)
    with pytest.raises(ValueError, match="n_starts must be a whole number, 2 or more"):
        truth.optimal_response(n_starts=1)
