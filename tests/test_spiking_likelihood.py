"""The likelihood of a teacher-forced network: loops, whole windows and differences agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from visualcortex.connectivity import BinnedSpikes
from visualcortex.models.spiking_evidence import (
    averaged_scores,
    likelihood_scores,
    synapse_probabilities,
)
from visualcortex.models.spiking_exposure import (
    Exposure,
    dense_exposure_losses,
    exposure_information,
    exposure_residuals,
    exposure_slopes,
    gaussian_taps,
)
from visualcortex.models.spiking_likelihood import (
    NEVER,
    Parameters,
    Trains,
    Window,
    _dense_slopes,
    likeliest_constants,
    window_losses,
    window_slopes,
)

CPU = torch.device("cpu")


def case(n=4, n_bins=60, seed=0):
    rng = np.random.default_rng(seed)
    counts = (rng.random((n_bins, n)) < 0.15).astype(int)
    trains = Trains.of(BinnedSpikes.from_trials(counts[None]))
    classes = np.searchsorted([1, 2, 4], np.arange(5), side="right")
    never = np.full(n, NEVER, np.int64)
    window = Window(trains, 0, 12, 48, never, classes)
    off = 1 - np.eye(n)
    parameters = Parameters(
        weights=rng.normal(0, 0.5, (n, n)) * off,
        delays=rng.uniform(1.1, 4.9, (n, n)),
        constants=rng.normal(-1.5, 0.2, (classes.max() + 1, n)),
        decay=rng.uniform(0.3, 0.8, n),
        kick=rng.uniform(0, 1, n),
    )
    return counts, window, parameters


def membranes(counts, p, own, delays, weights):
    """Return h + kick a of every bin by definition."""
    n_bins, n = counts.shape
    arriving, level = np.zeros((n_bins + 8, n)), np.zeros((n_bins, n))
    for t, i in zip(*np.nonzero(counts), strict=True):
        for j in range(n):
            whole = int(delays[i, j])
            part = delays[i, j] - whole
            if i != j:
                arriving[t + whole, j] += (1 - part) * weights[i, j]
                arriving[t + whole + 1, j] += part * weights[i, j]
    for t in range(n_bins):
        before = level[t - 1] * (own[t - 1] == 0) if t else 0
        level[t] = p.decay * before + arriving[t]
    return level + p.kick * arriving[:n_bins]


def loss_by_definition(counts, window, p):
    n_bins, n = counts.shape
    u = membranes(counts, p, counts, p.delays, p.weights)
    for j in range(n):
        last = NEVER
        for t in range(n_bins):
            u[t, j] += p.constants[window.classes[min(t - last, 4)], j]
            last = t if counts[t, j] else last
    part = slice(window.start, window.stop)
    return (np.exp(u[part]) - counts[part] * u[part]).sum(axis=0)


def test_the_loss_is_that_of_the_definition():
    counts, window, p = case()
    expected = loss_by_definition(counts, window, p)
    np.testing.assert_allclose(window_losses(window, p, CPU), expected, rtol=1e-10)
    np.testing.assert_allclose(window_slopes(window, p, CPU).losses, expected, rtol=1e-10)


def test_whole_windows_give_the_same_values_and_slopes():
    _, window, p = case(seed=1)
    loops, dense = window_slopes(window, p, CPU), _dense_slopes(window, p, CPU)
    for name in ("losses", "weights", "delays", "constants"):
        found, expected = getattr(loops, name), getattr(dense, name)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["weights", "delays", "constants"])
def test_slopes_are_differences(name):
    _, window, p = case(seed=2)
    found = getattr(window_slopes(window, p, CPU), name)[1, 2]
    values = []
    for change in (-1e-5, 1e-5):
        moved = getattr(p, name).copy()
        moved[1, 2] += change
        values.append(window_losses(window, replace(p, **{name: moved}), CPU).sum())
    assert found == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-4, abs=1e-6)


def test_as_many_spikes_are_expected_as_were_observed():
    _, window, p = case(seed=4)
    constants = likeliest_constants([window], p)
    slopes = window_slopes(window, replace(p, constants=constants), CPU).constants
    bins, who = window.spikes()
    ages = window.age_classes()
    counted = np.zeros_like(constants)
    np.add.at(counted, (ages[bins, who], who), 1)
    np.testing.assert_allclose(slopes[counted > 0], 0, atol=1e-9)


def exposure(seed=0, n=4):
    """Some spikes with potentials of three shapes, and weights ``(target, column)``."""
    rng = np.random.default_rng(seed)
    bins, who = np.nonzero(rng.random((200, n)) < 0.1)
    shaped = (rng.random((n, n)) < 0.4) & ~np.eye(n, dtype=bool)
    kernels = np.array([[1, 0.5, 0.3, 0, 0], [1, -0.5, 0, 0, 0], [0.1, 0.3, 0.2, 0.2, 0.1]])
    delays = rng.integers(1, 6, (n, n))
    data = Exposure(bins, who, n, gaussian_taps(0.004, 0.001), kernels, delays, shaped)
    used = np.arange(data.n_columns.max()) < data.n_columns[:, None]
    used[np.arange(n), np.arange(n)] = used[np.arange(n), n + np.arange(n)] = False
    return data, np.where(used, rng.normal(0, 0.4, used.shape), 0), used


def exposure_by_definition(data, weights, j):
    """Minus the log probability of where the spikes of j are, and of no shapes."""
    reach, total, n = len(data.taps) // 2, 0.0, data.n_neurons
    spikes = list(zip(data.bins, data.who, strict=True))
    kernel = dict(enumerate(data.kernels[0]))
    for t_k in data.bins[data.who == j]:
        u = np.zeros(2 * reach + 1)
        for s, t in enumerate(range(t_k - reach, t_k + reach + 1)):
            for at, i in spikes:
                if i != j:
                    forth, back = t - at - data.delays[i, j], at - data.delays[j, i] - t
                    u[s] += weights[j, i] * kernel.get(forth, 0)
                    u[s] += weights[j, n + i] * kernel.get(back, 0)
        total += np.log(data.taps @ np.exp(u)) - u[reach]
    return total


def test_the_conditional_loss_is_that_of_the_definition():
    data, weights, _ = exposure()
    data = replace(data, shaped=np.zeros_like(data.shaped))
    losses, _ = exposure_slopes(data, weights[:, :8])
    for j in range(data.n_neurons):
        assert losses[j] == pytest.approx(exposure_by_definition(data, weights, j), rel=1e-10)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_whole_recordings_give_the_same_conditional_values_and_slopes(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    data, weights, used = exposure(1)
    losses, slopes = exposure_slopes(data, weights)
    tensor = torch.tensor(weights, device=device, requires_grad=True)
    dense = dense_exposure_losses(data, tensor)
    dense.sum().backward()
    np.testing.assert_allclose(dense.detach().cpu().numpy(), losses, rtol=1e-10)
    np.testing.assert_allclose(tensor.grad.cpu().numpy()[used], slopes[used], atol=1e-10)


def test_information_is_the_difference_of_slopes():
    data, weights, used = exposure(2)
    j, size = 2, 1e-6
    own = np.flatnonzero(used[j])
    found = exposure_information(data, weights, j, np.flatnonzero(data.who == j))
    _, slopes = exposure_slopes(data, weights)
    for column in own:
        moved = weights.copy()
        moved[j, column] += size
        difference = (exposure_slopes(data, moved)[1] - slopes)[j] / size
        np.testing.assert_allclose(found[column, own], difference[own], atol=1e-4)


def test_at_no_weight_slopes_are_correlograms_less_their_smooth_versions():
    data, weights, _ = exposure(3)
    left = exposure_residuals(data, 0 * weights, 8)
    trains = np.zeros((260, data.n_neurons))
    np.add.at(trains, (data.bins + 30, data.who), 1)
    for lag in (1, 5):
        later = trains - np.stack([np.convolve(x, data.taps, "same") for x in trains.T], 1)
        expected = trains[:-lag].T @ later[lag:]
        off = ~np.eye(data.n_neurons, dtype=bool)
        np.testing.assert_allclose(left[lag - 1][off], expected[off], atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same():
    _, window, p = case(seed=3)
    here = window_slopes(window, p, CPU)
    there = window_slopes(window, p, torch.device("cuda"))
    np.testing.assert_allclose(there.weights, here.weights, rtol=1e-6, atol=1e-8)


def test_scores_are_signed_roots_of_a_poisson_likelihood_ratio():
    expected, w = 40.0, np.array([-3.0, -0.5, 1e-5, 0.7, 2.0])
    observed = expected * np.exp(w)
    ratio = 2 * (observed * w - observed + expected)
    scores = likelihood_scores(w, observed**-0.5)
    np.testing.assert_allclose(scores, np.sign(w) * np.sqrt(np.maximum(ratio, 0)), atol=1e-4)


def test_probabilities_are_calibrated_where_the_mixture_holds():
    rng = np.random.default_rng(0)
    n = 80
    signs = np.where(np.arange(n) < 60, 1, -1)
    linked = rng.random((n, n)) < 0.1
    size = np.abs(rng.normal(0, 6, (n, n))) * signs[:, None]
    scores = rng.normal(0.3, 1.3, (n, n)) + linked * size
    p, found, centre, width = synapse_probabilities(scores)
    assert centre == pytest.approx(0.3, abs=0.08)
    off = ~np.eye(n, dtype=bool)
    np.testing.assert_array_equal(found, signs)
    assert width == pytest.approx(1.3, rel=0.05)
    assert p[off].sum() == pytest.approx(linked[off].sum(), rel=0.15)
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        some = off & (p >= low) & (p < high)
        assert p[some].mean() == pytest.approx(linked[some].mean(), abs=0.08)
    assert np.isnan(np.diagonal(p)).all()


def test_averaged_scores_do_not_gain_from_many_lags():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((10, 4000))
    z[4, :400] += 8
    at = np.abs(z).argmax(axis=0)
    best = np.take_along_axis(z, at[None], axis=0)[0]
    found = averaged_scores(z, best, at)
    assert np.abs(best[400:]).mean() > 1.4
    assert np.abs(found[400:]).mean() < 1.1
    np.testing.assert_allclose(found[:400], best[:400], atol=0.5)
    np.testing.assert_array_equal(np.sign(found), np.sign(best))
