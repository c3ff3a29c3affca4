"""Reliability against loops written out in numpy, and against signal and noise that are known."""

import numpy as np
import pytest

from visualcortex.evaluation.reliability import cvpca, power_law, signal_to_noise, signal_variance


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def halves(rng, signal, noise=1.0):
    return [signal + noise * rng.normal(size=signal.shape) for _ in range(2)]


def test_signal_variance_and_signal_to_noise_are_the_loops(rng):
    first, second = halves(rng, rng.normal(size=(60, 5)) * [0, 0.5, 1, 2, 3] + 4)
    share, ratio = signal_variance(first, second), signal_to_noise(first, second)
    for i in range(5):
        a, b = first[:, i], second[:, i]
        noise = np.var(a - b) / 2
        assert share[i] == pytest.approx(
            np.cov(a, b, ddof=0)[0, 1] / np.mean([a.var(), b.var()]), abs=1e-5
        )
        assert ratio[i] == pytest.approx(
            (a.var() + b.var() - 2 * noise) / (2 * noise), rel=1e-4, abs=1e-5
        )


def test_known_signal_and_noise_are_recovered(rng):
    noise = np.linspace(0.5, 3, 40)
    first, second = halves(rng, rng.normal(size=(4000, 40)) + 10, noise)
    share = 1 / (1 + noise**2)
    # the standard error of a correlation is at most 1 / sqrt(n)
    assert np.abs(signal_variance(first, second) - share).max() < 5 / np.sqrt(4000)
    assert np.allclose(signal_to_noise(first, second), 1 / noise**2, rtol=0.1, atol=0.08)


def test_without_signal_both_are_zero_on_average(rng):
    n = 50
    first, second = halves(rng, np.zeros((n, 4000)))
    for values in (signal_variance(first, second), signal_to_noise(first, second)):
        # the ratio is biased by no more than 2 / n of the variance that it is a ratio of
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(4000) + 2 / n
        assert 0.4 < np.mean(values < 0) < 0.6


def test_silent_and_perfect_neurons(rng):
    first, second = halves(rng, np.zeros((30, 3)))
    first[:, 0] = second[:, 0] = 0.1
    second[:, 1] = first[:, 1]
    share, ratio = signal_variance(first, second), signal_to_noise(first, second)
    assert np.isnan(share[0])
    assert np.isnan(ratio[0])
    assert share[1] == pytest.approx(1)
    assert np.isinf(ratio[1])
    assert np.isfinite([share[2], ratio[2]]).all()


def cvpca_loop(first, second, n_components, n_shuffles, rng):
    """Written out after Stringer et al. (2019), rank by rank and image by image."""
    n_images = len(first)
    total = np.zeros(n_components)
    for _ in range(n_shuffles):
        swap = rng.integers(2, size=n_images) == 1
        f, s = np.where(swap[:, None], (second, first), (first, second))
        f, s = f - f.mean(axis=0), s - s.mean(axis=0)
        axes = np.linalg.svd(f, full_matrices=False)[2]
        for k in range(n_components):
            total[k] += np.mean([(f[m] @ axes[k]) * (s[m] @ axes[k]) for m in range(n_images)])
    return total / n_shuffles


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_cvpca_is_the_published_loop_on_either_side(rng, shape):
    signal = rng.normal(size=shape) @ np.diag(np.arange(1, shape[1] + 1.0) ** -0.5) * 5 + 3
    first, second = halves(rng, signal, 0.5)
    ours = cvpca(first, second, n_components=20, rng=np.random.default_rng(1))
    loop = cvpca_loop(first, second, 20, 5, np.random.default_rng(1))
    assert np.allclose(ours, loop, rtol=1e-3, atol=1e-4 * loop[0])


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_cvpca_of_equal_halves_is_pca_and_neurons_may_be_permuted_or_flipped(rng, shape):
    first = rng.normal(size=shape)
    ours = cvpca(first, first, rng=rng)
    assert len(ours) == min(shape[0] - 1, shape[1])
    centred = first - first.mean(axis=0)
    exact = np.linalg.svd(centred, compute_uv=False)[: len(ours)] ** 2 / shape[0]
    assert np.allclose(ours, exact, atol=1e-4 * exact[0])
    order, sign = rng.permutation(shape[1]), rng.choice([-1, 1], size=shape[1])
    turned = (first * sign)[:, order]
    assert np.allclose(cvpca(turned, turned, rng=rng), ours, atol=1e-4 * exact[0])


def test_cvpca_sums_to_the_covariance_of_the_halves(rng):
    first, second = halves(rng, rng.normal(size=(60, 100)))
    ours = cvpca(first, second, n_shuffles=1, rng=rng)
    total = np.sum((first - first.mean(axis=0)) * (second - second.mean(axis=0))) / 60
    # an exchange moves the two means a little
    assert ours.sum() == pytest.approx(total, rel=0.1)


def test_pure_noise_has_no_spectrum(rng):
    many = np.array(
        [cvpca(*halves(rng, np.zeros((30, 60))), n_shuffles=1, rng=rng) for _ in range(100)]
    )
    error = many.std(axis=0) / np.sqrt(100)
    assert (np.abs(many.mean(axis=0)) < 4.5 * error).all()
    assert (many < 0).any()


def test_cvpca_is_near_the_eigenvalues_of_the_signal_and_above_its_variance_along_the_axes(rng):
    shape, scale = (100, 200), np.arange(1, 201.0) ** -0.5
    spectra = np.zeros((3, 40))
    for _ in range(30):
        signal = rng.normal(size=shape) * scale
        first, second = halves(rng, signal, 0.12)
        axes = np.linalg.svd(first - first.mean(axis=0), full_matrices=False)[2][:40]
        signal -= signal.mean(axis=0)
        spectra[0] += cvpca(first, second, n_components=40, n_shuffles=1, rng=rng)
        spectra[1] += np.linalg.svd(signal, compute_uv=False)[:40] ** 2 / 100
        spectra[2] += np.mean((signal @ axes.T) ** 2, axis=0)
    found, eigenvalues, along = spectra.reshape(3, 4, 10).sum(axis=2)
    assert np.allclose(found, eigenvalues, rtol=0.1)
    assert (found[1:] > 1.1 * along[1:]).all()


@pytest.mark.parametrize("exponent", [1.0, 1.5])
def test_cvpca_recovers_a_known_exponent_through_noise(rng, exponent):
    n_images, n_neurons = 400, 600
    scale = np.arange(1, n_neurons + 1) ** (-exponent / 2)
    basis = np.linalg.qr(rng.normal(size=(n_neurons, n_neurons)))[0]
    signal = (rng.normal(size=(n_images, n_neurons)) * scale) @ basis
    first, second = halves(rng, signal, 0.03)
    spectrum = cvpca(first, second, n_shuffles=3, rng=rng)
    truth = power_law(np.linalg.svd(signal, compute_uv=False) ** 2, (5, 60)).exponent
    assert power_law(spectrum, (5, 60)).exponent == pytest.approx(truth, abs=0.1)
    one_half = np.linalg.svd(first, compute_uv=False) ** 2
    # without cross-validation noise lifts the tail
    assert power_law(one_half, (60, 200)).exponent < power_law(spectrum, (60, 200)).exponent


def test_an_exact_power_law_is_found_exactly():
    spectrum = 7 * np.arange(1, 801.0) ** -1.04
    assert np.allclose(power_law(spectrum), (1.04, np.log(7)))
    assert np.allclose(power_law(spectrum[:100]), (1.04, np.log(7)))
    spectrum[[20, 50]] = [0, -1]
    assert np.allclose(power_law(spectrum), (1.04, np.log(7)))


def test_weights_are_one_over_rank(rng):
    spectrum = np.arange(1, 301.0) ** -1 * np.exp(0.3 * rng.normal(size=300))
    rank = np.arange(11, 301)
    x, y = np.log(rank), np.log(spectrum[10:])
    design = np.column_stack([-x, np.ones(len(x))])
    weights = np.diag(1 / rank)
    expected = np.linalg.solve(design.T @ weights @ design, design.T @ weights @ y)
    assert np.allclose(power_law(spectrum), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, r: signal_variance(x, x[:5]), "of the same shape"),
        (lambda x, r: signal_to_noise(x[:1], x[:1]), "at least two images"),
        (lambda x, r: cvpca(x, x[:, :4], rng=r), "of the same shape"),
        (lambda x, r: cvpca(x, x, n_shuffles=0, rng=r), "at least 1"),
        (lambda x, r: power_law(np.ones(19)), "at least 10 positive values"),
        (lambda x, r: power_law(-np.ones(100)), "have 0"),
        (lambda x, r: power_law(np.ones(100), (0, 50)), "ranks from 1 on"),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(10, 6)), rng)
