"""The painted images have the statistics that they claim, and the latents do what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from visualcortex.simulators import scenes
from visualcortex.simulators.v1 import V1

N = len(scenes.LATENTS)
ROWS, COLUMNS = np.mgrid[: scenes.HEIGHT, : scenes.WIDTH]


@pytest.fixture(scope="module")
def scene():
    """Return latents and images of one seed, as the simulated visual cortex shows them."""
    rng = np.random.default_rng(31)
    labels = scenes.category_labels(1000, rng=rng)
    latents = scenes.draw_latents(labels, scenes.draw_means(1.2, rng=rng), rng=rng)
    return latents, scenes.render(latents, rng=rng)


def paint(n_images=300, seed=4, **latents):
    values = np.zeros((n_images, N))
    for name, value in latents.items():
        values[:, scenes.LATENTS.index(name)] = value
    return scenes.render(values, rng=np.random.default_rng(seed))


# categories and latents


def test_categories_have_the_published_sizes(rng):
    labels = scenes.category_labels(2800, rng=rng)
    counts = np.bincount(labels + 1, minlength=len(scenes.PUBLISHED_COUNTS))
    np.testing.assert_array_equal(counts, scenes.PUBLISHED_COUNTS)
    # Stringer et al. 2019: 11 categories, 343 images in none, 41 to 381 in each
    assert len(scenes.CATEGORIES) == 11
    assert counts.sum() == 2800
    assert (counts[0], counts[1:].min(), counts[1:].max()) == (343, 41, 381)
    assert np.any(np.diff(labels) < 0), "the order is not random"


@pytest.mark.parametrize("n_images", [1, 48, 137, 1400, 2801])
def test_other_sizes_follow_by_largest_remainder(n_images, rng):
    labels = scenes.category_labels(n_images, rng=rng)
    exact = np.array(scenes.PUBLISHED_COUNTS) * n_images / 2800
    counts = np.bincount(labels + 1, minlength=12)
    assert counts.sum() == n_images
    added = counts - np.floor(exact)
    assert set(added) <= {0, 1}
    remainder = exact - np.floor(exact)
    assert remainder[added == 1].min(initial=1) >= remainder[added == 0].max()


@pytest.mark.parametrize("separation", [0.0, 1.2])
def test_category_means_are_as_far_apart_as_asked(separation, rng):
    means = scenes.draw_means(separation, rng=rng)
    assert means.shape == (11, N)
    np.testing.assert_allclose(means.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(means.std(axis=0), separation, atol=1e-12)


def test_latents_are_those_of_their_category_and_of_any_where_it_is_unknown(rng):
    n = 20000
    means = scenes.draw_means(1.5, rng=rng)
    known = scenes.draw_latents(np.full(n, 3), means, rng=rng)
    np.testing.assert_allclose(known.mean(axis=0), means[3], atol=4.5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(known.T), np.eye(N), atol=4.5 * np.sqrt(2 / n))
    unknown = scenes.draw_latents(np.full(n, -1), means, rng=rng)
    spread = 1 + 1.5**2
    np.testing.assert_allclose(unknown.mean(axis=0), 0, atol=4.5 * np.sqrt(spread / n))
    np.testing.assert_allclose(unknown.var(axis=0), spread, rtol=4.5 * np.sqrt(2 / n))


# statistics of the images


def test_images_are_grey_on_average_and_vary(scene):
    _, images = scene
    assert images.shape == (1000, scenes.HEIGHT, scenes.WIDTH)
    assert images.dtype == np.float32
    contrast = images.std(axis=(1, 2))
    np.testing.assert_allclose(images.mean(axis=(1, 2)) / contrast, 0, atol=1e-5)
    # two log-normal factors: over images that of s.d. 0.5, within them that of the smooth field
    assert 0.45 < np.log(contrast).std() < 0.7


def test_the_amplitude_spectrum_is_that_of_natural_images(scene):
    """Exponents of photographs average 1.2 and reach from 0.8 to 1.5 (Tolhurst et al. 1992)."""
    _, images = scene
    window = np.outer(np.hanning(scenes.HEIGHT), np.hanning(scenes.WIDTH))
    equal = images / images.std(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.rfft2(equal * window)) ** 2).mean(axis=0)
    frequency = np.hypot(
        np.fft.fftfreq(scenes.HEIGHT, scenes.DEGREES)[:, None],
        np.fft.rfftfreq(scenes.WIDTH, scenes.DEGREES),
    )
    edges = np.geomspace(0.035, 0.25, 8)  # cycles a degree, above the slow patterns of light
    ring = np.digitize(frequency, edges)
    amplitude = [np.sqrt(power[ring == k].mean()) for k in range(1, 8)]
    centre = [np.exp(np.log(frequency[ring == k]).mean()) for k in range(1, 8)]
    fit = stats.linregress(np.log(centre), np.log(amplitude))
    assert -1.5 < fit.slope < -1.15
    assert fit.rvalue**2 > 0.98, "it is no power law"


def test_what_gabor_filters_see_is_as_heavy_tailed_as_of_photographs(scene):
    """Kurtosis of band-pass filtered photographs is 10 to 40; that of a normal variable is 3."""
    _, images = scene
    settings = V1(n_neurons=500, n_images=48, n_spontaneous=2, n_grey=1)
    neurons = settings.simulate(seed=3).truth.neurons
    filtered = images.reshape(len(images), -1) @ neurons.even
    observed = stats.kurtosis(filtered, axis=0, fisher=False)
    frequency = neurons.table["frequency"].to_numpy()
    for low, high in ((0.045, 0.075), (0.075, 0.2)):  # cycles a degree
        inside = (frequency > low) & (frequency < high)
        assert inside.sum() > 20
        assert 10 < np.median(observed[inside]) < 40
    # the slow patterns of light are nearly normal, and what they pass through is less heavy-tailed
    assert 6 < np.median(observed[frequency < 0.045]) < 40


# what the latents do


def anisotropy(images):
    """Share of the power along twice the cosine and sine of the angle of frequency, (M, 2)."""
    vertical = np.fft.fftfreq(scenes.HEIGHT)[:, None]
    angle = np.arctan2(vertical, np.fft.rfftfreq(scenes.WIDTH))
    power = np.abs(np.fft.rfft2(images)) ** 2
    power[:, np.hypot(vertical, np.fft.rfftfreq(scenes.WIDTH)) < 0.07] = 0  # the slow patterns
    power /= power.sum(axis=(1, 2), keepdims=True)
    doubled = (np.cos(2 * angle), np.sin(2 * angle))
    return np.stack([(power * wave).sum(axis=(1, 2)) for wave in doubled], axis=1)


@pytest.mark.parametrize(("name", "own"), [("oriented_cos", 0), ("oriented_sin", 1)])
def test_the_orientation_of_the_texture_shows_in_the_spectrum(name, own):
    plus, none, minus = (anisotropy(paint(**{name: value})) for value in (1.5, 0, -1.5))
    error = np.sqrt((plus.var(axis=0) + minus.var(axis=0)) / len(plus))
    change = plus.mean(axis=0) - minus.mean(axis=0)
    assert change[own] > 20 * error[own]
    assert abs(change[1 - own]) < 4 * error[1 - own]
    assert minus[:, own].mean() < none[:, own].mean() < plus[:, own].mean()


@pytest.mark.parametrize(("name", "wave"), [("oriented_cos", np.cos), ("oriented_sin", np.sin)])
def test_orientation_scales_the_spectrum_by_the_wave_of_twice_the_angle(name, wave):
    plus, minus = (
        np.log((np.abs(np.fft.rfft2(paint(**{name: value}))) ** 2).mean(axis=0))
        for value in (1.5, -1.5)
    )
    vertical, horizontal = np.fft.fftfreq(scenes.HEIGHT)[:, None], np.fft.rfftfreq(scenes.WIDTH)
    fine = (np.hypot(vertical, horizontal) > 0.07) & (horizontal > 0) & (vertical > -0.5)
    expected = wave(2 * np.arctan2(vertical, horizontal))[fine]
    assert np.corrcoef((plus - minus)[fine], expected)[0, 1] > 0.975


@pytest.mark.parametrize(("azimuth", "elevation"), [(1.0, -1.0), (-1.0, 1.0), (1.5, 1.0)])
def test_the_object_lies_where_its_latents_say(azimuth, elevation):
    images = paint(400, azimuth=azimuth, elevation=elevation)
    energy = np.median(np.abs(images), axis=0)
    energy = np.maximum(energy - np.median(energy), 0) ** 2  # what rises above the background
    row, column = (np.sum(energy * place) / energy.sum() for place in (ROWS, COLUMNS))
    assert row == pytest.approx(scenes.HEIGHT / 2 + 5 * elevation, abs=2)
    assert column == pytest.approx(scenes.WIDTH / 2 + 6 * azimuth, abs=2)


def test_the_layouts_of_light_are_the_coefficients_of_the_regression(scene):
    """Oracle: half the pattern times the mean of both log-normal factors, exp(0.5² / 2) each."""
    latents, images = scene
    design = np.column_stack([np.ones(len(latents)), latents])
    coefficients = np.linalg.lstsq(design, images.reshape(len(images), -1), rcond=None)[0][1:]
    up = np.sin(2 * np.pi * (ROWS - 16.5) / 30)
    right = np.sin(2 * np.pi * (COLUMNS - 22) / 36)
    both = np.cos(2 * np.pi * (ROWS - 16.5) / 30) * np.cos(2 * np.pi * (COLUMNS - 22) / 36)
    patterns = {"above_below": up, "left_right": right, "corners": up * right, "centre": both}
    assert scenes.LATENTS[-4:] == tuple(patterns)
    for name, pattern in patterns.items():
        expected = 0.5 * np.exp(0.5**2) * stats.zscore(pattern, axis=None).ravel()
        observed = coefficients[scenes.LATENTS.index(name)]
        assert np.corrcoef(observed, expected)[0, 1] > 0.95
        assert observed @ expected / (expected @ expected) == pytest.approx(1, abs=0.15)


# chance


def test_chance_is_repeated_by_its_seed_and_only_by_it(scene):
    latents, images = scene
    first, again, other = (
        scenes.render(latents[:40], rng=np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, images[:40])


def test_the_latents_of_one_image_change_no_other(scene):
    latents, _ = scene
    changed = latents[:400].copy()  # two batches
    changed[17] += 1
    before, after = (
        scenes.render(values, rng=np.random.default_rng(9)) for values in (latents[:400], changed)
    )
    np.testing.assert_array_equal(np.delete(before, 17, axis=0), np.delete(after, 17, axis=0))
    assert not np.allclose(before[17], after[17])


@pytest.fixture
def rng():
    return np.random.default_rng(6)
