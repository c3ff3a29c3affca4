"""Voxels against a loop over neurons, closed forms and what must not change."""

import numpy as np
import pytest
from scipy import stats

from visualcortex import voxels as vx


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def positions(rng):
    return rng.random((60, 3)) * [900, 700, 300] + [20, -40, 100]


def looped(responses, positions, grid, weight_of):
    """Weighted mean of every voxel, one voxel and one neuron at a time."""
    result = np.zeros((len(responses), *grid.shape))
    for d, h, w in np.ndindex(*grid.shape):
        centre = np.array(grid.origin) + (np.array([w, h, d]) + 0.5) * grid.spacing_um
        weights = [weight_of(p - centre) for p in positions]
        if sum(weights):
            result[:, d, h, w] = responses @ weights / sum(weights)
    return result


def test_bins_are_means_of_the_neurons_inside(rng, positions):
    grid = vx.VoxelGrid.covering(positions, (200, 150, 100))
    responses = rng.normal(size=(70, 60))
    half = np.array(grid.spacing_um) / 2
    expected = looped(responses, positions, grid, lambda d: float((np.abs(d) <= half).all()))
    got = vx.voxelise(responses, vx.splat_weights(positions, grid))
    assert got.dtype == np.float32
    assert np.allclose(got, expected, atol=1e-6)


def test_bins_agree_with_scipy(rng, positions):
    grid = vx.VoxelGrid((0, -50, 100), (250, 200, 120), (3, 4, 4))
    responses = rng.normal(size=(4, 60))
    ends = np.array(grid.origin) + np.array(grid.shape[::-1]) * grid.spacing_um
    expected = stats.binned_statistic_dd(
        positions,
        responses,
        bins=grid.shape[::-1],
        range=list(zip(grid.origin, ends, strict=True)),
    ).statistic
    got = vx.voxelise(responses, vx.splat_weights(positions, grid))
    assert np.allclose(got, np.nan_to_num(expected).transpose(0, 3, 2, 1), atol=1e-6)


@pytest.mark.parametrize("width", [40.0, (60.0, 90.0, 35.0)])
def test_gaussians_are_weighted_means_cut_at_three_widths(rng, positions, width):
    grid = vx.VoxelGrid((100, 0, 90), (150, 150, 100), (3, 4, 5))
    responses = rng.normal(size=(66, 60))

    def weight_of(distance):
        z = distance / np.broadcast_to(width, 3)
        return np.exp(-np.sum(z**2) / 2) * (np.abs(z) <= 3).all()

    expected = looped(responses, positions, grid, weight_of)
    got = vx.voxelise(
        responses, vx.splat_weights(positions, grid, kernel="gaussian", width_um=width)
    )
    assert np.allclose(got, expected, atol=1e-5)


def test_neurons_on_faces_count_once():
    """The original left them out by strict inequalities on both sides."""
    grid = vx.VoxelGrid((0, 0, 0), (100, 100, 100), (1, 1, 2))
    places = np.array([[0, 0, 0], [100, 50, 50], [200, 100, 100], [50, 50, 50.0]])
    got = vx.voxelise(np.array([[1.0, 2, 4, 8]]), vx.splat_weights(places, grid))
    assert got.ravel().tolist() == [(1 + 8) / 2, (2 + 4) / 2]
    strict = ((places > 0) & (places < [100, 100, 100])).all(axis=1)
    assert strict.sum() == 1


def test_constant_activity_is_constant_where_there_are_neurons(positions):
    grid = vx.VoxelGrid.covering(positions, 120)
    for options in ({}, {"kernel": "gaussian"}):
        got = vx.voxelise(np.full((2, 60), 3.5), vx.splat_weights(positions, grid, **options))
        assert np.allclose(got[got != 0], 3.5)
    filled = vx.occupancy(positions, grid)
    bins = vx.voxelise(np.full((1, 60), 3.5), vx.splat_weights(positions, grid))[0]
    assert np.array_equal(bins > 0, filled.neurons > 0)
    assert filled.share == np.mean(bins > 0)
    assert filled.neurons.sum() == 60


def test_the_order_of_neurons_does_not_matter(rng, positions):
    grid = vx.VoxelGrid.covering(positions, 200)
    responses = rng.normal(size=(5, 60))
    order = rng.permutation(60)
    for options in ({}, {"kernel": "gaussian", "width_um": 150}):
        a = vx.voxelise(responses, vx.splat_weights(positions, grid, **options))
        b = vx.voxelise(responses[:, order], vx.splat_weights(positions[order], grid, **options))
        assert np.allclose(a, b, atol=1e-6)


def test_a_grid_holds_every_neuron_and_planes_lie_in_the_middle(rng):
    planes = 100 + 35.0 * np.arange(11)
    positions = np.column_stack([rng.random((99, 2)) * 1000, np.repeat(planes, 9)])
    grid = vx.VoxelGrid.covering(positions, (100, 100, 35))
    assert grid.shape[0] == 11
    assert np.array_equal(vx.occupancy(positions, grid).neurons.sum(axis=(1, 2)), np.full(11, 9))
    depth = grid.coordinates(positions)[:, 0]
    assert np.allclose(depth - np.floor(depth), 0.5)
    tight = vx.VoxelGrid.covering(np.array([[0, 0, 0], [0.3, 0.7, 0]]), 0.1)
    assert tight.shape == (1, 8, 4)


def test_neurons_outside_the_grid_are_left_out(rng, positions):
    grid = vx.VoxelGrid.covering(positions, 200)
    far = np.concatenate([positions, [[5000, 0, 0]]])
    responses = rng.normal(size=(3, 61))
    for kernel in ("bin", "gaussian"):
        a = vx.voxelise(responses[:, :60], vx.splat_weights(positions, grid, kernel=kernel))
        b = vx.voxelise(responses, vx.splat_weights(far, grid, kernel=kernel))
        assert np.allclose(a, b, atol=1e-6)
    assert vx.occupancy(far, grid).neurons.sum() == 60


def test_shuffled_positions_keep_the_places_only(rng, positions):
    shuffled = vx.shuffled_positions(positions, rng)
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(positions, axis=0))
    rows = {tuple(row) for row in positions}
    assert {tuple(row) for row in shuffled} == rows
    assert (shuffled != positions).any()


def test_alignment_undoes_shift_and_scale(rng):
    reference = np.column_stack([rng.random((40, 2)) * 800, np.repeat([100.0, 140, 190, 220], 10)])
    moved = reference * [0.7, 1.3, 1] + [50, -20, 0]
    moved[:, 2] = np.repeat([10.0, 20, 30, 40], 10)
    assert np.allclose(vx.align(moved, reference), reference)
    fewer = vx.align(moved[:20], reference)
    assert set(fewer[:, 2]) == {100.0, 220.0}


def test_the_grid_of_pixels_is_almost_empty(rng):
    places = np.column_stack([rng.random((10_000, 2)) * 1000, np.repeat(np.arange(10), 1000)])
    places[0, :2] = places[1, :2] = 999.5  # the last pixel, twice
    pixels = {(int(x), int(y), z) for x, y, z in places}
    assert vx.pixel_occupancy(places) == pytest.approx(len(pixels) / (1000 * 1000 * 10))
    assert vx.pixel_occupancy(places) < 1e-3


SOME = np.array([[0.0, 0, 0], [10, 20, 30]])
GRID = vx.VoxelGrid((0, 0, 0), (10, 10, 10), (3, 2, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vx.VoxelGrid((0, 0), (1, 1, 1), (1, 1, 1)), "an origin"),
        (lambda: vx.VoxelGrid((0, 0, 0), (1, 0, 1), (1, 1, 1)), "positive spacings"),
        (lambda: vx.VoxelGrid.covering(SOME, -1), "spacing_um must be one positive"),
        (lambda: vx.VoxelGrid.covering(SOME[:, :2], 1), r"shape \(n_neurons, 3\)"),
        (lambda: vx.VoxelGrid.covering(SOME * np.nan, 1), "6 NaN"),
        (lambda: vx.splat_weights(SOME, GRID, kernel="linear"), "kernel must be"),
        (lambda: vx.splat_weights(SOME, GRID, width_um=5), "without width_um"),
        (lambda: vx.splat_weights(SOME, GRID, kernel="gaussian", width_um=1), "a sixth"),
        (lambda: vx.splat_weights(SOME + 1e4, GRID), "none of 2 neurons"),
        (lambda: vx.voxelise(np.ones((2, 5)), vx.splat_weights(SOME, GRID)), "the 2 neurons"),
        (lambda: vx.pixel_occupancy(SOME - 1), "count from 0"),
        (lambda: vx.align(SOME[:1], SOME), "in line"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
