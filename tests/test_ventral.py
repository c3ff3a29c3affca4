"""The simulated sites read the layer that they say, with the noise that they say."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from visualcortex.evaluation.prediction import explained_variance, split_half_reliability
from visualcortex.models.backbones import small_resnet, stages
from visualcortex.recording import ImageResponses
from visualcortex.simulators import objects, ventral, ventral_network
from visualcortex.simulators.objects import varied_pictures
from visualcortex.simulators.ventral import Sites, Ventral, draw_images, draw_kernels
from visualcortex.simulators.ventral_network import (
    LAYERS,
    SIDES,
    hidden_layer,
    hidden_network,
)

FEW = {"n_sites": 12, "n_plain": 0, "n_varied": 1, "n_repeats": 2}
N_ERRORS = 4.5


def few(seed=1, **changes):
    return Ventral(**(FEW | changes)).simulate(seed)


@pytest.fixture(scope="module")
def recording():
    """64 pictures, each shown often."""
    return few(n_repeats=200, n_sites=20)


@pytest.fixture(scope="module")
def maps():
    """Features of every layer of pictures enough to fit readouts to."""
    images, _ = varied_pictures(512, np.random.default_rng(2))
    return {layer: hidden_layer(hidden_network(), images, layer) for layer in LAYERS}


def repeats_of(recording):
    """Responses by picture, (image, repeat, site), repeats in order of recording."""
    order = np.argsort(recording.stimulus, kind="stable")
    values = recording.responses.to_numpy()[order].astype(float)
    return values.reshape(len(recording.images), -1, recording.n_neurons)


def with_other_weights(truth, name):
    """Return the truth with random weights in a layer or in the classifier."""
    network = copy.deepcopy(truth.network)
    part = network.get_submodule(stages(network).get(name, "network.classifier"))
    with torch.no_grad():
        for k, weights in enumerate(part.parameters()):
            noise = torch.randn(weights.shape, generator=torch.Generator().manual_seed(k))
            weights += 0.1 * noise
    return replace(truth, network=network)


# the hidden network


def test_the_network_names_objects_in_new_pictures():
    images, shown = varied_pictures(512, np.random.default_rng(1))
    with torch.inference_mode():
        named = hidden_network()(torch.from_numpy(images)).logits.argmax(dim=1).numpy()
    assert np.mean(named == shown) > 0.7  # 1/64 by chance
    assert np.mean(named // 8 == shown // 8) > 0.87  # 1/8 by chance


def test_pictures_show_all_objects_in_turn_one_in_five_upright(monkeypatch):
    amounts = []
    draw = objects.draw_views
    monkeypatch.setattr(objects, "draw_views", lambda a, rng: amounts.append(a) or draw(a, rng))
    images, shown = varied_pictures(130, np.random.default_rng(0))
    np.testing.assert_array_equal(shown, np.arange(130) % 64)
    assert images.shape == (130, 3, 64, 64)
    assert set(amounts[0]) == {0, 1}
    assert np.mean(amounts[0] == 0) == pytest.approx(0.2, abs=N_ERRORS * 0.4 / np.sqrt(130))


def test_its_layers_are_maps_after_one_another():
    """Oracle: the modules one by one."""
    network, (images, _) = hidden_network(), varied_pictures(3, np.random.default_rng(0))
    inner = network.network.resnet
    maps = inner.embedder((torch.from_numpy(images) - network.mean) / network.sd)
    for k, (layer, side) in enumerate(zip(LAYERS, SIDES, strict=True)):
        maps = inner.encoder.stages[k](maps)
        assert maps.shape == (3, 16 * 2**k, side, side)
        torch.testing.assert_close(hidden_layer(network, images, layer), maps)
    assert not network.training
    assert not any(weights.requires_grad for weights in network.parameters())


def test_the_weights_are_numbers_and_no_code(tmp_path, monkeypatch):
    with np.load(ventral_network.FILE, allow_pickle=False) as kept:
        assert {kept[name].dtype for name in kept.files} == {np.dtype(np.float16)}
    spoilt = tmp_path / "spoilt.npz"
    np.savez(spoilt, weight=np.array([print], dtype=object))
    monkeypatch.setattr(ventral_network, "FILE", spoilt)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        hidden_network()


def test_a_network_that_is_trained_anew_replaces_the_file(tmp_path, monkeypatch):
    trained = small_resnet(64, seed=5)
    monkeypatch.setattr(ventral_network, "FILE", tmp_path / "new.npz")
    monkeypatch.setattr(ventral_network, "train_hidden_network", lambda: trained)
    ventral_network.main()
    kept = hidden_network().state_dict()
    assert set(kept) == set(trained.state_dict())
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(kept[name], value, rtol=1e-3, atol=1e-6)


def test_a_network_of_another_make_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ventral_network, "FILE", tmp_path / "less.npz")
    np.savez(ventral_network.FILE, weight=np.zeros(3))
    with pytest.raises(RuntimeError, match="Missing key"):
        hidden_network()


# the sites


def test_responses_are_the_equation_written_out():
    """Oracle: numpy, one site at a time."""
    rng = np.random.default_rng(0)
    features = rng.random((40, 3, 4, 4))
    kernels = rng.standard_normal((5, 3, 4, 4))
    sites = Sites(torch.from_numpy(kernels), torch.from_numpy(features))
    new = rng.random((7, 3, 4, 4))
    responses = sites(torch.from_numpy(new)).numpy()
    for i, kernel in enumerate(kernels):
        seen, drive = ((kernel * maps).sum(axis=(1, 2, 3)) for maps in (features, new))
        rates, rate = (
            np.log1p(np.exp(2 * ((d - seen.mean()) / seen.std(ddof=1) + 1))) for d in (seen, drive)
        )
        expected = (rate - rates.mean()) / rates.std(ddof=1)
        np.testing.assert_allclose(responses[:, i], expected, rtol=1e-6)


def test_kernels_are_windows_times_the_weights_of_few_channels():
    features = torch.rand((30, 10, 6, 4), generator=torch.Generator().manual_seed(0))
    scale = torch.arange(1.0, 11)[:, None, None]
    rng = np.random.default_rng(0)
    kernels = draw_kernels(scale * features, 2000, rng, n_channels=3, window=0.5).numpy()
    assert kernels.shape == (2000, 10, 6, 4)
    used = np.abs(kernels).max(axis=(2, 3)) > 0
    np.testing.assert_array_equal(used.sum(axis=1), 3)
    np.testing.assert_allclose(used.mean(axis=0), 0.3, atol=N_ERRORS * np.sqrt(0.21 / 2000))
    # channel by channel one window, up to a factor; weights take the scale of channels out
    weights = np.abs(kernels).max(axis=(2, 3)) * scale.numpy()[:, 0, 0]
    spread = np.array([weights[used[:, c], c].std() for c in range(10)])
    assert spread.max() / spread.min() < 1.3
    windows = np.abs(kernels).sum(axis=1)
    windows /= windows.max(axis=(1, 2), keepdims=True)
    at = [(np.arange(n) + 0.5) / n * 2 - 1 for n in (6, 4)]
    for log_weights, places in zip((windows.max(axis=2), windows.max(axis=1)), at, strict=True):
        fits = [np.polyfit(places, np.log(w), 2) for w in log_weights]
        np.testing.assert_allclose([fit[0] for fit in fits], -1 / (2 * 0.5**2), rtol=1e-3)
        centres = np.array([-fit[1] / 2 / fit[0] for fit in fits])
        assert np.abs(centres).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("window", [1e-3, 100.0])
def test_windows_may_be_narrow_or_wide(window):
    signal = few(window=window, n_channels=100, layer="stage 4").truth.signal
    np.testing.assert_allclose(signal.std(axis=0, ddof=1), 1, rtol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_responses_without_noise_are_the_signal(layer):
    recording = few(layer=layer)
    truth = recording.truth
    assert truth.layer == layer
    np.testing.assert_allclose(truth.respond(recording.images), truth.signal, atol=1e-4)
    some = truth.respond(recording.images[5:7])  # of any pictures, however many
    np.testing.assert_allclose(some, truth.signal[5:7], atol=1e-4)
    direct = truth.sites(torch.from_numpy(truth.features(recording.images))).numpy()
    np.testing.assert_allclose(direct, truth.signal, atol=1e-4)
    np.testing.assert_allclose(truth.signal.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(truth.signal.std(axis=0, ddof=1), 1, rtol=1e-4)


def test_sites_depend_on_their_layer_and_those_before_it_only(recording):
    truth, images = recording.truth, recording.images[:8]
    expected = truth.respond(images)
    for later in ("stage 4", "classifier"):
        other = with_other_weights(truth, later)
        assert not np.allclose(*(t.network(torch.tensor(images)).logits for t in (truth, other)))
        np.testing.assert_array_equal(other.respond(images), expected)
    for earlier in ("stage 1", "stage 3"):
        changed = with_other_weights(truth, earlier).respond(images)
        assert np.abs(changed - expected).max() > 0.1


def linear_readout(features, signal, train):
    """Explained variance in other pictures of ridge regression from features, median over sites."""
    features = (features - features[train].mean(axis=0)).astype(float)
    kernel = features[train] @ features[train].T
    mean = signal[train].mean(axis=0)
    penalty = 0.01 * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    weights = np.linalg.solve(kernel + penalty, signal[train] - mean)
    predictions = features[~train] @ features[train].T @ weights + mean
    return np.median(explained_variance(signal[~train], predictions))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_linear_readout_of_the_true_layer_does_best(maps, layer):
    rng, train = np.random.default_rng(2), np.arange(512) % 4 > 0
    kernels = draw_kernels(maps[layer], 30, rng, n_channels=8, window=0.5)
    signal = Sites(kernels, maps[layer])(maps[layer]).numpy()
    explained = {k: linear_readout(x.flatten(1).numpy(), signal, train) for k, x in maps.items()}
    others = [value for name, value in explained.items() if name != layer]
    assert explained[layer] > 0.7
    assert explained[layer] > max(others) + 0.02


# the noise


def test_responses_are_the_signal_plus_independent_noise(recording):
    truth = recording.truth
    noise = recording.responses.to_numpy() - truth.signal[recording.stimulus]
    n, n_sites = noise.shape
    np.testing.assert_allclose(noise.std(axis=0), truth.noise_sd, rtol=N_ERRORS / np.sqrt(2 * n))
    unit = noise.astype(float) / truth.noise_sd
    assert np.abs(unit.mean(axis=0)).max() < N_ERRORS / np.sqrt(n)
    assert np.abs((unit**3).mean(axis=0)).max() < N_ERRORS * np.sqrt(15 / n)
    assert np.abs((unit**4).mean(axis=0) - 3).max() < N_ERRORS * np.sqrt(96 / n)
    between_sites = unit.T @ unit / n - np.diag((unit**2).mean(axis=0))
    assert np.abs(between_sites).max() < N_ERRORS / np.sqrt(n)
    for lag in (1, 2, 64):
        between_trials = unit[lag:].T @ unit[:-lag] / n
        assert np.abs(between_trials).max() < N_ERRORS / np.sqrt(n)
    by_picture = np.stack([unit[recording.stimulus == k].mean(axis=0) for k in range(64)])
    assert np.abs(by_picture).max() < N_ERRORS / np.sqrt(200)


def test_reliability_is_the_share_of_variance_of_the_mean(recording):
    truth, repeats = recording.truth, repeats_of(recording)
    assert np.all(np.diff(np.sort(truth.reliability)) > 0)
    mean = repeats.mean(axis=1)
    noise = repeats.var(axis=1, ddof=1).mean(axis=0) / repeats.shape[1]
    signal = truth.signal.var(axis=0, ddof=1)
    share = signal / (signal + noise)
    np.testing.assert_allclose(share, truth.reliability, atol=0.02)
    np.testing.assert_allclose(truth.reliability, 1 / (1 + truth.noise_sd**2 / 200), rtol=1e-6)
    correlations = [np.corrcoef(mean[:, i], truth.signal[:, i])[0, 1] for i in range(20)]
    # s.d. of a correlation r of 64 pictures: (1 - r²) / 8
    error = (1 - truth.reliability) / 8
    assert np.all(np.abs(correlations - np.sqrt(truth.reliability)) < N_ERRORS * error)


def test_reliability_has_the_median_and_spread_asked_for():
    equal = few(reliability_spread=0.0, reliability=0.6).truth.reliability
    np.testing.assert_allclose(equal, 0.6, rtol=1e-9)
    n = 4000
    spread = few(n_sites=n, reliability_spread=0.6, layer="stage 4").truth.reliability
    logarithms = np.log(1 / spread - 1)
    error = 0.6 * np.sqrt(np.pi / 2 / n)
    assert np.median(logarithms) == pytest.approx(np.log(1 / 0.82 - 1), abs=N_ERRORS * error)
    assert logarithms.std() == pytest.approx(0.6, rel=N_ERRORS / np.sqrt(2 * n))


def test_split_half_reliability_finds_it():
    recording = few(n_varied=4, n_repeats=6, n_sites=30)
    rng, reliability = np.random.default_rng(0), recording.truth.reliability
    off = split_half_reliability(repeats_of(recording), rng=rng) - reliability
    # twice the error of a correlation, since halves are noisier than the whole
    error = 2 * (1 - reliability) / np.sqrt(len(recording.images))
    assert np.all(np.abs(off) < N_ERRORS * error)
    assert abs(off.mean()) < N_ERRORS * np.mean(error) / np.sqrt(len(off)) + 1e-3


# the recording


def test_the_recording_is_laid_out_as_said():
    recording = few(n_plain=2, n_varied=3)
    assert isinstance(recording, ImageResponses)
    assert recording.responses.shape == (640, 12)
    assert recording.responses.dtype == np.float32
    assert recording.images.shape == (320, 3, 64, 64)
    np.testing.assert_array_equal(np.bincount(recording.stimulus), 2)
    assert not np.all(np.diff(recording.stimulus) >= 0)
    stimuli = recording.stimuli
    assert stimuli["stimulus_id"].is_unique
    assert (stimuli["object"].str[0] == stimuli["category"]).all()
    counts = stimuli.groupby(["object", "variation"]).size().unstack()
    assert list(counts.index) == list(objects.object_names())
    assert (counts[0] == 2).all()
    assert (counts[3] == 3).all()
    assert dict(stimuli["tier"].value_counts()) == {"train": 259, "validation": 29, "test": 32}
    shown = recording.trials["stimulus"].to_numpy()
    np.testing.assert_array_equal(recording.trials["tier"], stimuli["tier"].to_numpy()[shown])


def test_tiers_of_3200_are_those_of_the_course():
    assert ventral._sizes(3200) == [2592, 288, 320]


def test_the_tier_has_nothing_to_do_with_the_object():
    stimuli = ventral._draw_stimuli(Ventral(n_plain=0), np.random.default_rng(0))
    counts = stimuli["category"][stimuli["tier"] == "test"].value_counts()
    assert len(counts) == 8
    assert np.abs(counts - 32).max() < N_ERRORS * np.sqrt(32 * 7 / 8)


def test_pictures_show_their_object():
    stimuli = few(n_plain=1).stimuli
    images = draw_images(stimuli, np.random.default_rng(3))
    with torch.inference_mode():
        named = hidden_network()(torch.from_numpy(images)).logits.argmax(dim=1).numpy()
    names = np.array(objects.object_names())[named]
    assert np.mean(names == stimuli["object"]) > 0.6


def test_the_seed_says_it_all():
    first, again, other = few(seed=3), few(seed=3), few(seed=4)
    np.testing.assert_array_equal(first.responses, again.responses)
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.responses, other.responses)
    assert not np.array_equal(first.images, other.images)
    for name, weights in first.truth.network.state_dict().items():
        torch.testing.assert_close(weights, other.truth.network.state_dict()[name])


def test_the_random_state_of_torch_is_left_alone():
    before = torch.get_rng_state()
    few()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "stage 5"}, "layer must be one of .*'stage 4'.*got 'stage 5'. Choose one"),
        ({"n_sites": 0}, "n_sites must be a whole number, 1 or more; got 0. Correct it"),
        ({"n_plain": -1}, "n_plain must be a whole number, 0 or more"),
        ({"n_varied": 0}, "n_varied must be a whole number, 1 or more"),
        ({"n_repeats": 2.0}, "n_repeats must be a whole number, 1 or more; got 2.0"),
        ({"n_channels": True}, "n_channels must be a whole number"),
        ({"reliability": 0}, "reliability must be a number above 0 and below 1; got 0"),
        ({"reliability": 1.0}, "reliability must be a number above 0 and below 1"),
        ({"reliability": float("nan")}, "reliability must be a number above 0 and below 1"),
        ({"reliability_spread": -0.1}, "reliability_spread must be a finite number, 0 or more"),
        ({"window": 0.0}, "window must be a finite number above 0"),
        ({"window": float("inf")}, "window must be a finite number above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Ventral(**settings)


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number, 0 or more"):
        few(seed=seed)
