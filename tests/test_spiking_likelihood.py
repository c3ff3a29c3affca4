"""The likelihood of a teacher-forced network: loops, whole windows and differences agree."""

import numpy as np
import pytest
import torch

from visualcortex.connectivity import BinnedSpikes
from visualcortex.models.spiking_evidence import likelihood_scores, synapse_probabilities
from visualcortex.models.spiking_likelihood import (
    NEVER,
    Parameters,
    Trains,
    Window,
    _dense_slopes,
    window_losses,
    window_slopes,
)

CPU = torch.device("cpu")
TAPS = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)


def case(n=4, n_bins=60, seed=0):
    rng = np.random.default_rng(seed)
    counts = (rng.random((n_bins, n)) < 0.15).astype(int)
    trains = Trains.of(BinnedSpikes.from_trials(counts[None]))
    classes = np.searchsorted([1, 2, 4], np.arange(5), side="right")
    never = np.full(n, NEVER, np.int64)
    window = Window(trains, 0, 12, 48, never, classes, trains.backwards(), n_bins)
    off = 1 - np.eye(n)
    parameters = Parameters(
        weights=rng.normal(0, 0.5, (n, n)) * off,
        delays=rng.uniform(1.1, 4.9, (n, n)),
        constants=rng.normal(-1.5, 0.2, (classes.max() + 1, n)),
        decay=rng.uniform(0.3, 0.8, n),
        kick=rng.uniform(0, 1, n),
        background=rng.normal(0, 0.1, (n, n)) * off,
        echo=rng.normal(0, 0.3, (n, n)) * off,
    )
    return counts, window, parameters


def potentials(counts, p, own, delays, weights):
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
    u = potentials(counts, p, counts, p.delays, p.weights)
    u += potentials(counts[::-1], p, counts[::-1], p.delays.T, p.echo)[::-1]
    for i in range(n):
        u += np.convolve(counts[:, i], TAPS, mode="same")[:, None] * p.background[i]
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
    np.testing.assert_allclose(window_losses(window, p, TAPS, CPU), expected, rtol=1e-10)
    np.testing.assert_allclose(window_slopes(window, p, TAPS, CPU).losses, expected, rtol=1e-10)


@pytest.mark.parametrize("taps", [TAPS, np.empty(0)])
def test_whole_windows_give_the_same_values_and_slopes(taps):
    _, window, p = case(seed=1)
    loops, dense = window_slopes(window, p, taps, CPU), _dense_slopes(window, p, taps, CPU)
    for name in ("losses", "weights", "delays", "constants", "background", "echo"):
        off = ~np.eye(4, dtype=bool) if name in ("background", "echo") else ...
        expected = getattr(dense, name)[off]
        np.testing.assert_allclose(getattr(loops, name)[off], expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["weights", "delays", "constants", "background", "echo"])
def test_slopes_are_differences(name):
    _, window, p = case(seed=2)
    found = getattr(window_slopes(window, p, TAPS, CPU), name)[1, 2]
    values = []
    for change in (-1e-5, 1e-5):
        moved = getattr(p, name).copy()
        moved[1, 2] += change
        changed = Parameters(**{**vars(p), name: moved})
        values.append(window_losses(window, changed, TAPS, CPU).sum())
    # both networks wait for a delay, but only one of them is what the delay is fitted to
    if name == "delays":
        changed = Parameters(**{**vars(p), "echo": np.zeros((4, 4))})
        found = window_slopes(window, changed, TAPS, CPU).delays[1, 2]
        values = []
        for change in (-1e-5, 1e-5):
            moved = p.delays.copy()
            moved[1, 2] += change
            one = Parameters(**{**vars(changed), "delays": moved})
            values.append(window_losses(window, one, TAPS, CPU).sum())
    assert found == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-4, abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same():
    _, window, p = case(seed=3)
    here = window_slopes(window, p, TAPS, CPU)
    there = window_slopes(window, p, TAPS, torch.device("cuda"))
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
    scores = rng.normal(0, 1.3, (n, n)) + linked * size
    p, found, width = synapse_probabilities(scores)
    off = ~np.eye(n, dtype=bool)
    np.testing.assert_array_equal(found, signs)
    assert width == pytest.approx(1.3, rel=0.05)
    assert p[off].sum() == pytest.approx(linked[off].sum(), rel=0.15)
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        some = off & (p >= low) & (p < high)
        assert p[some].mean() == pytest.approx(linked[some].mean(), abs=0.08)
    assert np.isnan(np.diagonal(p)).all()
