"""Gabor filters against their formula pixel by pixel; a grating's energy in closed form."""

import numpy as np
import pytest

from visualcortex.models.gabor import GaborPyramid, QuadraturePair, gabor_bank, gabor_energy

SIZE = (41, 51)
CENTRE = (20.0, 25.0)


def bank(**changes):
    settings = {
        "frequencies": 0.15,
        "orientations": 0.0,
        "sigmas": 4.0,
        "centres": CENTRE,
        "phases": 0.0,
    }
    return gabor_bank(*SIZE, **{**settings, **changes})


def quadrature(**changes):
    return QuadraturePair(bank(phases=0.0, **changes), bank(phases=-np.pi / 2, **changes))


def grating(frequency, orientation, phase, size=SIZE):
    y, x = -np.arange(size[0])[:, None], np.arange(size[1])
    along = x * np.cos(orientation) + y * np.sin(orientation)
    return np.cos(2 * np.pi * frequency * along + phase)


def test_a_filter_is_its_formula():
    f, theta, sigma, (row, column), phi = 0.12, 0.7, 3.0, (14.0, 30.5), 0.4
    expected = np.zeros(SIZE)
    for i, j in np.ndindex(*SIZE):
        x, y = j - column, row - i
        wave = np.cos(2 * np.pi * f * (x * np.cos(theta) + y * np.sin(theta)) + phi)
        expected[i, j] = np.exp(-(x**2 + y**2) / (2 * sigma**2)) * wave
    expected /= np.linalg.norm(expected)
    got = bank(
        frequencies=f, orientations=theta, sigmas=sigma, centres=(row, column), phases=phi
    ).reshape(SIZE)
    assert got.dtype == np.float32
    assert np.allclose(got, expected, atol=1e-6)


def test_filters_have_unit_norm_and_no_tails():
    filters = bank(sigmas=np.array([1.0, 3.0, 20.0]), centres=[[0, 0], [20, 25], [33, 2]])
    assert np.allclose(np.linalg.norm(filters, axis=1), 1, atol=1e-6)
    largest = np.abs(filters).max(axis=1, keepdims=True)
    assert (np.abs(filters[filters != 0]) > 1e-9).all()
    assert ((filters == 0) | (np.abs(filters) > 0.99e-6 * largest)).all()
    assert np.mean(filters[0] == 0) > 0.5


def test_energy_of_a_fitting_grating_is_known_and_free_of_phase():
    phases = np.linspace(0, 2 * np.pi, 7)
    images = np.stack([3 * grating(0.15, 0.5, phase) for phase in phases])
    amplitude = gabor_energy(images, quadrature(orientations=0.5))
    assert np.allclose(amplitude, 3 * 4.0 * np.sqrt(2 * np.pi), rtol=2e-3)
    energy = gabor_energy(images, quadrature(orientations=0.5), kind="energy")
    assert np.allclose(energy, amplitude**2, rtol=1e-5)


def test_tuning_is_a_gaussian_of_the_distance_of_wave_vectors():
    orientations = np.linspace(-0.6, 0.6, 9)
    images = np.stack([grating(0.15, theta, 1.0) for theta in orientations])
    got = gabor_energy(images, quadrature())[:, 0]
    distance = 0.15 * np.hypot(np.cos(orientations) - 1, np.sin(orientations))
    expected = np.exp(-2 * np.pi**2 * 4.0**2 * distance**2)
    assert np.allclose(got / got.max(), expected, atol=5e-3)


def test_energy_agrees_with_a_loop():
    images = np.random.default_rng(0).normal(size=(4, *SIZE))
    pair = quadrature(orientations=np.array([0, 0.3, 2.0]))
    expected = [
        [
            np.hypot(np.vdot(i, e.reshape(SIZE)), np.vdot(i, o.reshape(SIZE)))
            for e, o in zip(*pair, strict=True)
        ]
        for i in images
    ]
    assert np.allclose(gabor_energy(images, pair), expected, rtol=1e-4)


def test_leaving_out_the_tails_changes_nothing_that_matters():
    images = np.random.default_rng(1).normal(size=(5, *SIZE))
    y, x = CENTRE[0] - np.arange(SIZE[0])[:, None], np.arange(SIZE[1]) - CENTRE[1]
    whole = np.exp(-(x**2 + y**2) / (2 * 2.0**2)) * np.cos(2 * np.pi * 0.15 * x)
    whole /= np.linalg.norm(whole)
    got = images.reshape(5, -1) @ bank(sigmas=2.0)[0]
    assert np.allclose(got, images.reshape(5, -1) @ whole.ravel(), atol=1e-4)


class TestGaborPyramid:
    pyramid = GaborPyramid(36, 64, frequencies=(0.06, 0.12, 0.24), n_orientations=4)

    def test_the_table_describes_the_filters(self):
        table, pair = self.pyramid.table, self.pyramid.pair
        assert len(table) == len(pair.even) == len(pair.odd)
        row = table.iloc[len(table) // 2]
        one = gabor_bank(
            36,
            64,
            frequencies=row["frequency"],
            orientations=row["orientation"],
            sigmas=row["sigma"],
            centres=(row["row"], row["column"]),
            phases=0.0,
        )
        assert np.allclose(pair.even[len(table) // 2], one[0])
        assert (table["sigma"] * table["frequency"]).to_numpy() == pytest.approx(0.56)

    def test_places_are_on_the_image_evenly_and_centred(self):
        for _, level in self.pyramid.table.groupby("frequency"):
            for name, n in (("row", 36), ("column", 64)):
                places = np.unique(level[name])
                assert places.min() >= 0
                assert places.max() <= n - 1
                assert places.mean() == pytest.approx((n - 1) / 2)
                assert np.diff(places) == pytest.approx(2 * level["sigma"].iloc[0])

    def test_the_best_pair_has_the_parameters_of_the_grating(self):
        theta = np.pi / 4
        y, x = 17.5 - np.arange(36)[:, None], np.arange(64) - 31.5
        image = np.exp(-(x**2 + y**2) / 50) * grating(0.12, theta, 0.3, (36, 64))
        features = self.pyramid.transform(image[None])
        best = self.pyramid.table.iloc[features[0].argmax()]
        assert best["frequency"] == 0.12
        assert best["orientation"] == pytest.approx(theta)
        assert np.hypot(best["row"] - 17.5, best["column"] - 31.5) <= best["sigma"] * 2**0.5 + 1e-9

    def test_opposite_contrast_has_the_same_features(self):
        image = np.random.default_rng(2).normal(size=(1, 36, 64))
        assert np.allclose(self.pyramid.transform(image), self.pyramid.transform(-image))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bank(frequencies=0), "must be positive"),
        (lambda: bank(sigmas=-1), "must be positive"),
        (lambda: bank(centres=(1, 2, 3)), "row, column"),
        (lambda: bank(centres=(4000.0, 0)), "zero on the whole image"),
        (lambda: gabor_energy(np.ones(SIZE), quadrature()), "images"),
        (lambda: gabor_energy(np.ones((1, 9, 9)), quadrature()), "same size"),
        (lambda: gabor_energy(np.ones((1, *SIZE)), quadrature(), kind="power"), "kind"),
        (lambda: GaborPyramid(36, 64, frequencies=(0.6,)), r"\(0, 0.5\]"),
        (lambda: GaborPyramid(36, 64, frequencies=()), "frequencies"),
        (lambda: GaborPyramid(36, 64, frequencies=(0.1,), spacing=0), "positive"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
