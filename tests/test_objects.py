"""The pictures of made-up objects: objects, views of them, and backgrounds of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from visualcortex.simulators import objects

SIZE = objects.SIZE
UPRIGHT = {"x": 0.0, "y": 0.0, "scale": 0.95, "turn": 0.0, "tilt": 0.0, "light": 0.4}
AWAY = {"x": 0.0, "y": 0.0, "scale": 1e-4, "turn": 0.0, "tilt": 0.0, "light": 0.0}  # out of sight


def views(n, **changes):
    """Views of n pictures, upright unless said otherwise."""
    return pd.DataFrame({name: np.full(n, value) for name, value in (UPRIGHT | changes).items()})


def pictures(shown, seen, seed=0):
    """Render and return one of the three equal channels."""
    return objects.render(np.asarray(shown), seen, np.random.default_rng(seed))[:, 0]


@pytest.fixture
def plain(monkeypatch):
    """Let backgrounds be grey."""

    def nothing(parts, rng):
        return np.zeros((len(parts), SIZE, SIZE), np.float32)

    monkeypatch.setattr(objects, "_clouds", nothing)


def painted(parts, view, background):
    """Oracle: one picture, pixel by pixel and part by part, float64."""
    picture = background.astype(float).copy()
    for row, column in np.ndindex(picture.shape):
        right = (2 * column + 1) / SIZE - 1 - view["x"]
        down = (2 * row + 1) / SIZE - 1 - view["y"]
        cos, sin = np.cos(view["turn"]), np.sin(view["turn"])
        u = (cos * right + sin * down) / view["scale"] / np.cos(view["tilt"])
        v = (cos * down - sin * right) / view["scale"]
        for x, y, radius, elongation, angle, shade in parts:
            p, q = (u - x) / radius, (v - y) / radius
            along = (np.cos(angle) * p + np.sin(angle) * q) / np.sqrt(elongation)
            across = (np.cos(angle) * q - np.sin(angle) * p) * np.sqrt(elongation)
            distance = min(12 * (np.hypot(along, across) - 1), 30.0)
            inside = 1 / (1 + np.exp(distance))
            light = np.cos(view["light"]) * p + np.sin(view["light"]) * q
            lit = 0.5 + 0.34 * shade + 0.12 * light
            picture[row, column] += inside * (lit - picture[row, column])
    return picture.clip(0, 1)


# the objects


def test_there_are_64_objects_of_eight_categories():
    names = objects.object_names()
    assert names[:9] == ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "B1")
    assert names[-1] == "H8"
    assert len(set(names)) == 64
    assert objects.object_parts().shape == (64, objects.N_PARTS, len(objects.PART))
    np.testing.assert_array_equal(objects.object_parts(), objects.object_parts())


def test_parts_lie_within_the_frame_of_the_object():
    x, y, radius, elongation, _, shade = np.moveaxis(objects.object_parts(), -1, 0)
    assert np.abs([x, y]).max() < 0.45
    assert np.all((radius > 0.25 * np.exp(-0.3)) & (radius < 0.25 * np.exp(0.3)))
    assert np.all((elongation > np.exp(-0.6)) & (elongation < np.exp(0.6)))
    assert np.abs(shade).max() < 1


def test_objects_deviate_from_their_category_by_a_third_of_what_categories_differ_by():
    x, y, radius, elongation, angle, shade = np.moveaxis(objects.object_parts(), -1, 0)
    drawn = np.stack(
        [
            np.arctanh(x / 0.45) / 0.9,
            np.arctanh(y / 0.45) / 0.9,
            np.arctanh(np.log(radius / 0.25) / 0.3),
            np.arctanh(np.log(elongation) / 0.6),
            angle / (np.pi / 2),
            np.arctanh(shade),
        ]
    ).reshape(6, 8, 8, objects.N_PARTS)
    within = drawn.var(axis=2, ddof=1).mean()
    between = drawn.mean(axis=2).var(axis=1, ddof=1).mean() - within / 8
    assert np.sqrt(within / between) == pytest.approx(0.35, abs=0.05)


def test_objects_of_a_category_look_more_alike(plain):
    shown = pictures(np.arange(64), views(64)).reshape(64, -1)
    distances = ((shown[:, None] - shown) ** 2).mean(axis=2)
    category = np.arange(64) // 8
    same = (category[:, None] == category) & ~np.eye(64, dtype=bool)
    other = category[:, None] != category
    assert distances[same].mean() < 0.6 * distances[other].mean()
    nearest = np.where(np.eye(64, dtype=bool), np.inf, distances).argmin(axis=1)
    assert np.mean(category[nearest] == category) > 0.75  # 7 / 63 by chance


# the views


def test_views_vary_as_much_as_asked_for():
    n = 4000
    seen = objects.draw_views(np.ones(n), np.random.default_rng(0))
    limits = {"x": 0.3, "y": 0.3, "turn": np.pi / 3, "tilt": np.pi / 3, "light": np.pi}
    for name, limit in limits.items():
        assert np.abs(seen[name]).max() == pytest.approx(limit, rel=0.01)
        assert np.abs(seen[name]).max() <= limit * (1 + 1e-6)
        assert seen[name].mean() == pytest.approx(0, abs=4.5 * limit / np.sqrt(3 * n))
    assert np.abs(np.log(seen["scale"] / 0.95)).max() == pytest.approx(0.4, rel=0.01)
    assert np.exp(0.4) == pytest.approx(1 / 0.67, rel=0.01)  # the range that is stated
    correlations = np.corrcoef(seen.T) - np.eye(6)
    assert np.abs(correlations).max() < 4.5 / np.sqrt(n)


def test_views_without_variation_differ_by_light_only():
    seen = objects.draw_views(np.zeros(50), np.random.default_rng(0))
    assert (seen[["x", "y", "turn", "tilt"]] == 0).all(axis=None)
    assert (seen["scale"] == np.float32(0.95)).all()
    assert seen["light"].nunique() == 50


def test_views_between_are_in_proportion():
    amount = np.array([0, 0.25, 0.5, 1.0])
    some = objects.draw_views(amount, np.random.default_rng(3))
    all_ = objects.draw_views(np.ones(4), np.random.default_rng(3))
    for name in ("x", "y", "turn", "tilt"):
        np.testing.assert_allclose(some[name], amount * all_[name], rtol=1e-5)
    ratio = np.log(some["scale"] / 0.95) / np.log(all_["scale"] / 0.95)
    np.testing.assert_allclose(ratio, amount, atol=1e-5)
    np.testing.assert_array_equal(some["light"], all_["light"])


# the pictures


def test_pictures_are_the_equation_written_out():
    rng = np.random.default_rng(1)
    shown, seen = np.array([5, 40]), objects.draw_views(np.array([0.0, 1.0]), rng)
    backgrounds = pictures(shown, views(2, **AWAY), seed=2)
    for k in range(2):
        expected = painted(objects.object_parts()[shown[k]], seen.loc[k], backgrounds[k])
        np.testing.assert_allclose(pictures(shown, seen, seed=2)[k], expected, atol=2e-5)


def test_pictures_are_grey_and_within_the_range():
    rng = np.random.default_rng(0)
    seen = objects.draw_views(np.ones(128), rng)
    shown = objects.render(np.arange(128) % 64, seen, rng)
    assert shown.shape == (128, 3, SIZE, SIZE)
    assert shown.dtype == np.float32
    assert shown.min() >= 0
    assert shown.max() <= 1
    np.testing.assert_array_equal(shown[:, 0], shown[:, 1])
    np.testing.assert_array_equal(shown[:, 0], shown[:, 2])
    assert shown.mean() == pytest.approx(0.5, abs=0.05)
    assert np.mean((shown == 0) | (shown == 1)) < 0.01  # hardly any is clipped


def test_the_seed_says_it_all_however_many_are_painted_at_a_time(monkeypatch):
    seen = objects.draw_views(np.ones(20), np.random.default_rng(0))
    first = pictures(np.arange(20), seen, seed=4)
    np.testing.assert_array_equal(pictures(np.arange(20), seen, seed=4), first)
    assert np.abs(pictures(np.arange(20), seen, seed=5) - first).max() > 0.1
    monkeypatch.setattr(objects, "BATCH", 7)
    np.testing.assert_allclose(pictures(np.arange(20), seen, seed=4), first, atol=1e-6)


def test_an_object_covers_whatever_is_behind_it():
    first, second = (pictures(np.arange(64), views(64), seed=seed) for seed in (0, 1))
    behind = [pictures(np.arange(64), views(64, **AWAY), seed=seed) for seed in (0, 1)]
    difference, background = np.abs(first - second), np.abs(behind[0] - behind[1])
    assert np.all(difference <= background + 1e-5)
    left = difference.sum(axis=(1, 2)) / background.sum(axis=(1, 2))
    assert np.all((left > 0.3) & (left < 0.95))  # something of both is to be seen
    # the middle of a part, and the corners, where no object is
    x, y = objects.object_parts()[:, -1, :2].T
    row, column = (((z * 0.95 + 1) / 2 * SIZE).astype(int) for z in (y, x))
    assert difference[np.arange(64), row, column].max() < 0.01
    np.testing.assert_allclose(difference[:, ::63, ::63], background[:, ::63, ::63], atol=1e-3)


def test_an_object_moves_turns_and_grows_as_a_whole(plain):
    objects_shown = np.arange(0, 64, 9)
    n = len(objects_shown)
    upright = pictures(objects_shown, views(n))
    moved = pictures(objects_shown, views(n, x=2 * 5 / SIZE, y=-2 * 3 / SIZE))
    np.testing.assert_allclose(moved[:, 8:50, 12:55], upright[:, 11:53, 7:50], atol=1e-5)
    turned = pictures(objects_shown, views(n, turn=np.pi / 2))
    np.testing.assert_allclose(turned, np.rot90(upright, -1, axes=(1, 2)), atol=1e-4)
    small = pictures(objects_shown, views(n, scale=0.95 / 3))
    np.testing.assert_allclose(small[:, 21:43, 21:43], upright[:, ::3, ::3], atol=1e-5)
    tilted = pictures(objects_shown, views(n, tilt=np.arccos(1 / 3)))
    np.testing.assert_allclose(tilted[:, :, 21:43], upright[:, :, ::3], atol=1e-5)


def test_the_background_does_not_depend_on_the_object():
    first, second = (pictures(np.full(30, k), views(30), seed=1) for k in (0, 63))
    behind = pictures(np.zeros(30, int), views(30, **AWAY), seed=1)
    for shown in (first, second):
        np.testing.assert_allclose(shown[:, ::63, ::63], behind[:, ::63, ::63], atol=1e-3)
    assert np.abs(first - second).max() > 0.1


def test_backgrounds_are_natural_in_spectrum_and_each_its_own():
    behind = pictures(np.zeros(300, int), views(300, **AWAY)).astype(float)
    np.testing.assert_allclose(behind.mean(axis=(1, 2)), 0.5, atol=1e-3)
    np.testing.assert_allclose(behind.std(axis=(1, 2)), objects.CONTRAST, rtol=0.01)
    power = (np.abs(np.fft.fft2(behind)) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    band = (frequency > 0) & (frequency < 0.5)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]) / 2, 1)[0]
    assert slope == pytest.approx(-1.5, abs=0.03)
    correlations = np.corrcoef(behind.reshape(300, -1))[np.triu_indices(300, 1)]
    assert abs(correlations.mean()) < 0.01
    assert np.abs(correlations).max() < 0.95
