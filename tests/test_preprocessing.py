"""Preprocessing against the published way written out in numpy, and exact linear algebra."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh, subspace_angles
from sklearn.exceptions import NotFittedError

from visualcortex import preprocessing
from visualcortex.preprocessing import (
    SpontaneousScaler,
    repeats_of,
    split_half,
    spontaneous_components,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def activity(rng, n_time=400, n_neurons=150, rank=6, offset=5.0):
    """Few strong directions over private noise, so that the leading axes are well defined."""
    latent = rng.normal(size=(n_time, rank)) * np.arange(rank, 0, -1)
    shared = latent @ rng.normal(size=(rank, n_neurons))
    return (shared + rng.normal(size=(n_time, n_neurons)) + offset).astype(np.float32)


def published(spontaneous, responses, n_components):
    """Written out after Stringer et al. (2019) in float64: z-score, Gram matrix, projection."""
    mean = spontaneous.astype(float).mean(axis=0)
    scale = spontaneous.astype(float).std(axis=0) + 1e-6
    z = (spontaneous - mean) / scale
    axes = eigh(z.T @ z)[1][:, ::-1][:, :n_components]
    result = (responses - mean) / scale
    return result - (result @ axes) @ axes.T


@pytest.mark.parametrize("shape", [(400, 150), (60, 150), (20, 150), (400, 52), (400, 20), (9, 8)])
def test_axes_are_those_of_the_exact_decomposition(rng, shape):
    x = activity(rng, *shape)
    ours = spontaneous_components(x, 5)
    exact = np.linalg.svd(x - x.mean(axis=0, dtype=float), full_matrices=False)[2][:5].T
    assert ours.shape == (shape[1], 5)
    assert ours.dtype == np.float32
    assert np.allclose(ours.T @ ours, np.eye(5), atol=1e-5)
    assert subspace_angles(ours.astype(float), exact).max() < 2e-3
    assert (np.abs(np.sum(ours * exact, axis=0)) > 1 - 1e-3).all()
    assert (np.take_along_axis(ours, np.abs(ours).argmax(axis=0)[None], axis=0) > 0).all()


def test_slowly_falling_spectra_are_resolved_almost_as_well_as_can_be(rng):
    # no gap after the last axis: the axes may differ, the variance along them hardly
    x = (rng.normal(size=(800, 300)) * np.arange(1, 301) ** -0.5).astype(np.float32)
    exact = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[:32]
    found = np.linalg.norm((x - x.mean(axis=0)) @ spontaneous_components(x, 32))
    assert 0.999 < found**2 / np.sum(exact**2) < 1 + 1e-5


def test_large_offsets_do_not_spoil_the_axes(rng):
    x = activity(rng, offset=0)
    far = spontaneous_components(x + np.float32(2000), 4)
    # float32 keeps about 1e-4 of the unit at 2000
    assert subspace_angles(far, spontaneous_components(x, 4)).max() < 1e-3


def test_axes_depend_on_the_seed_alone_and_leave_torch_alone(rng):
    x = activity(rng)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = spontaneous_components(x, 8, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, spontaneous_components(x, 8, seed=1))
    assert not np.array_equal(first, spontaneous_components(x, 8, seed=2, n_iterations=0))


def test_axes_follow_a_permutation_of_neurons_and_rotations_do_not_matter(rng):
    x = activity(rng)
    order = rng.permutation(x.shape[1])
    permuted = spontaneous_components(x[:, order], 5)
    assert np.allclose(permuted, spontaneous_components(x, 5)[order], atol=1e-3)
    assert np.allclose(spontaneous_components(-x, 5), spontaneous_components(x, 5), atol=1e-3)


@pytest.mark.parametrize("n_components", [0, 4])
def test_scaler_is_the_published_way(rng, n_components):
    spontaneous, responses = activity(rng), activity(rng, n_time=70, offset=7)
    scaler = SpontaneousScaler(n_components).fit(spontaneous)
    expected = published(spontaneous, responses, n_components)
    ours = scaler.transform(responses)
    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.abs(ours @ scaler.components_).max(initial=0) < 1e-3
    assert np.allclose(scaler.scale_, spontaneous.std(axis=0, dtype=float) + 1e-6, rtol=1e-5)


def test_chunks_do_not_matter(rng, monkeypatch):
    spontaneous, responses = activity(rng), activity(rng, n_time=70)
    whole = SpontaneousScaler(4).fit(spontaneous).transform(responses)
    monkeypatch.setattr(preprocessing, "CHUNK", 7 * 150 + 1)
    pieces = SpontaneousScaler(4).fit(spontaneous).transform(responses)
    assert np.allclose(whole, pieces, atol=1e-3)


def test_constant_neurons_stay_constant(rng):
    spontaneous, responses = activity(rng), activity(rng, n_time=70)
    spontaneous[:, 3] = responses[:, 3] = 0.1
    scaler = SpontaneousScaler(4).fit(spontaneous)
    assert scaler.mean_[3] == np.float32(0.1)
    assert np.isclose(scaler.scale_[3], 1e-6)
    assert np.abs(scaler.transform(responses)[:, 3]).max() < 1e-4


def test_input_is_overwritten_only_on_request(rng):
    spontaneous, responses = activity(rng), activity(rng, n_time=70)
    kept = responses.copy()
    expected = SpontaneousScaler(4).fit(spontaneous).transform(responses)
    assert np.array_equal(responses, kept)
    in_place = SpontaneousScaler(4, copy=False).fit(spontaneous)
    assert in_place.transform(responses) is responses
    assert np.array_equal(responses, expected)
    # another type cannot hold the result
    assert in_place.transform(kept.astype(float)).dtype == np.float32


def test_memory_maps_are_read_and_not_written(rng, tmp_path):
    spontaneous, responses = activity(rng), activity(rng, n_time=70)
    np.save(tmp_path / "s.npy", spontaneous)
    np.save(tmp_path / "r.npy", responses)
    maps = [np.load(tmp_path / name, mmap_mode="r") for name in ("s.npy", "r.npy")]
    scaler = SpontaneousScaler(4, copy=False).fit(maps[0])
    expected = SpontaneousScaler(4).fit(spontaneous).transform(responses)
    assert np.array_equal(scaler.transform(maps[1]), expected)
    assert np.array_equal(np.load(tmp_path / "r.npy"), responses)


def test_halves_are_the_loop_over_images(rng):
    stimulus = rng.permutation(np.repeat([8, 2, 5, 11, 0], [1, 2, 3, 5, 4]))
    responses = rng.normal(size=(15, 6))
    halves = split_half(responses, stimulus)
    assert halves.images.tolist() == [0, 2, 5, 11]
    for row, image in enumerate(halves.images):
        trials = np.flatnonzero(stimulus == image)
        n = len(trials) // 2
        assert np.allclose(halves.first[row], responses[trials[:n]].mean(axis=0), atol=1e-6)
        assert np.allclose(halves.second[row], responses[trials[-n:]].mean(axis=0), atol=1e-6)


def test_repeats_stand_under_their_image_in_order_of_time(rng):
    stimulus = rng.permutation(np.repeat([8, 2, 5], [1, 2, 4]))
    responses = rng.normal(size=(7, 3)).astype(np.float32)
    images, repeats = repeats_of(responses, stimulus)
    assert images.tolist() == [2, 5, 8]
    assert repeats.shape == (3, 4, 3)
    for image, shown in zip(images, repeats, strict=True):
        trials = responses[stimulus == image]
        assert np.array_equal(shown[: len(trials)], trials)
        assert np.isnan(shown[len(trials) :]).all()
    with pytest.raises(ValueError, match=r"\(trial, neuron\) and one stimulus a trial"):
        repeats_of(responses, stimulus[1:])


def test_two_presentations_are_not_changed(rng):
    responses = rng.normal(size=(20, 4)).astype(np.float32)
    halves = split_half(responses, np.tile(np.arange(10), 2))
    assert np.array_equal(np.concatenate([halves.first, halves.second]), responses)
    assert halves.first.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: spontaneous_components(x[0], 2), "matrix of real numbers"),
        (lambda x: spontaneous_components(x, 10), "have 0 to 9 principal axes"),
        (lambda x: spontaneous_components(x, 2, oversampling=-1), "must not be negative"),
        (lambda x: SpontaneousScaler(10).fit(x), "Ask for fewer"),
        (lambda x: SpontaneousScaler(2, epsilon=0).fit(x), "epsilon must be positive"),
        (lambda x: SpontaneousScaler(2).fit(x).transform(x[:, :5]), "same neurons"),
        (lambda x: split_half(x, np.arange(10)), "no image was shown twice"),
        (lambda x: split_half(x, np.zeros(9)), "one stimulus a trial"),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(10, 20)))


def test_transform_needs_fit(rng):
    with pytest.raises(NotFittedError):
        SpontaneousScaler().transform(rng.normal(size=(10, 20)))
