"""Scenes are rebuilt from neurons that carry them, never from themselves, and told from others."""

import numpy as np
import pytest

from visualcortex.evaluation.splits import shuffled_folds
from visualcortex.models import reconstruction as r

SIZE = 8


def smooth_scenes(n, rng, n_modes=6):
    """Draw scenes from a few smooth modes about a common shade, (n, SIZE, SIZE)."""
    x, y = np.meshgrid(np.linspace(0, np.pi, SIZE), np.linspace(0, np.pi, SIZE))
    modes = np.stack([np.cos(a * x) * np.cos(b * y) for a in range(3) for b in range(3)][1:])
    return 100 + 20 * np.tensordot(rng.normal(size=(n, n_modes)), modes[:n_modes], 1) + 10 * y


def recorded(n=60, n_neurons=40, noise=0.3, seed=0):
    """Record neurons that see the scenes through random linear receptive fields."""
    rng = np.random.default_rng(seed)
    scenes = smooth_scenes(n, rng)
    fields = rng.normal(size=(SIZE * SIZE, n_neurons)) / SIZE
    signal = (scenes - 100).reshape(n, -1) @ fields
    responses = signal + noise * signal.std(axis=0) * rng.normal(size=signal.shape)
    return responses * rng.gamma(2, size=n_neurons) + 5, scenes


def folds_of(n, n_folds=5):
    return shuffled_folds(np.zeros(n), n_folds, rng=np.random.default_rng(0))


def drawn(responses, scenes, folds=None, **settings):
    folds = folds_of(len(scenes)) if folds is None else folds
    return r.reconstruct_held_out(responses, scenes, folds, progress=False, **settings)


@pytest.mark.parametrize("n_components", [None, 6])
def test_scenes_come_back_from_neurons_without_noise(n_components):
    responses, scenes = recorded(noise=0.0)
    found = drawn(responses, scenes, n_components=n_components, alphas=(1e-3,))
    assert found.shape == scenes.shape
    assert found.dtype == np.float32
    # six modes, forty neurons: the readout is exact
    assert np.abs(found - scenes).max() < 0.05 * scenes.std()
    scores = r.reconstruction_scores(scenes, found)
    assert scores["correlation"].min() > 0.99
    assert scores["structural_similarity"].min() > 0.95
    assert (scores[["identified", "pairwise"]] == 1).all(axis=None)


def test_noise_makes_them_worse_but_not_useless():
    quiet, loud = (
        r.reconstruction_scores(scenes, drawn(responses, scenes)).mean()
        for responses, scenes in (recorded(noise=0.3), recorded(noise=3.0))
    )
    assert (quiet > loud).all()
    assert loud["pairwise"] > 0.6


def test_ridge_is_that_of_the_closed_form():
    responses, scenes = recorded(n=30)
    alpha, train = 7.0, np.arange(30) < 20
    found = r.reconstruct(responses[train], scenes[train], responses[~train], alphas=(alpha,))
    mean, sd = responses[train].mean(axis=0), responses[train].std(axis=0)
    z, asked = (responses[train] - mean) / sd, (responses[~train] - mean) / sd
    pixels = scenes[train].reshape(20, -1)
    weights = np.linalg.solve(z.T @ z + alpha * np.eye(40), z.T @ (pixels - pixels.mean(axis=0)))
    expected = pixels.mean(axis=0) + asked @ weights
    assert np.allclose(found.reshape(10, -1), expected, atol=1e-3)
    # with one penalty for all, all components are as good as pixels
    every = r.reconstruct(
        responses[train], scenes[train], responses[~train], alphas=(alpha,), n_components=19
    )
    assert np.allclose(every, found, atol=1e-3)


def test_a_scene_does_not_depend_on_its_own_pixels_or_on_responses_to_others_drawn():
    responses, scenes = recorded()
    folds = folds_of(60)
    before = drawn(responses, scenes, folds, n_components=4)
    held = folds == 2
    changed = scenes.copy()
    changed[held] = np.random.default_rng(9).normal(size=changed[held].shape)
    after = drawn(responses, changed, folds, n_components=4)
    assert np.array_equal(after[held], before[held])
    assert not np.allclose(after[~held], before[~held])
    other = responses.copy()
    first, *rest = np.flatnonzero(held)
    other[rest] = 0
    assert np.allclose(drawn(other, scenes, folds, n_components=4)[first], before[first])


def test_units_of_neurons_do_not_matter_and_silent_ones_have_no_say():
    responses, scenes = recorded()
    before = drawn(responses, scenes)
    assert np.allclose(drawn(1e3 * responses - 7, scenes), before, atol=0.05)
    folds = folds_of(60)
    late = np.where(folds == 0, 50.0, 0.0)[:, None]  # silent in training of fold 0
    found = drawn(np.hstack([responses, np.full((60, 1), 0.1), late]), scenes, folds)
    assert np.allclose(found[folds == 0], before[folds == 0], atol=0.05)


def test_no_information_gives_the_mean_scene_and_chance():
    rng = np.random.default_rng(0)
    _, scenes = recorded()
    found = drawn(rng.normal(size=(60, 40)), scenes, alphas=(1e9,))
    folds = folds_of(60)
    for k in range(5):
        assert np.allclose(found[folds == k], scenes[folds != k].mean(axis=0), atol=0.1)
    tests = r.reconstruction_test(scenes, found, rng=rng, n_permutations=200)
    assert min(test.p for test in tests.values()) > 0.02
    # what scenes share makes them alike, which the permuted ones are too
    assert tests["correlation"].observed > 0.1
    assert tests["correlation"].observed < tests["correlation"].null.mean() + 0.05
    assert tests["pairwise"].null.mean() == pytest.approx(0.5, abs=0.02)
    assert tests["identified"].null.mean() == pytest.approx(1 / 60, abs=0.01)


def test_permutations_tell_real_reconstructions_from_none():
    responses, scenes = recorded(noise=1.0)
    found = drawn(responses, scenes)
    rng = np.random.default_rng(0)
    tests = r.reconstruction_test(scenes, found, rng=rng, n_permutations=99)
    means = r.reconstruction_scores(scenes, found).mean()
    for name, test in tests.items():
        assert test.observed == pytest.approx(means[name])
        assert test.p == 0.01
        assert test.null.shape == (99,)


def test_scores_by_brute_force():
    rng = np.random.default_rng(1)
    scenes, found = rng.normal(size=(2, 9, 7, 6))
    found += 0.5 * scenes
    scores = r.reconstruction_scores(scenes, found, window=4)
    a, b = (x - x.mean(axis=0) for x in (scenes, found))
    for k, row in enumerate(scores.itertuples(index=False)):
        assert row.correlation == pytest.approx(np.corrcoef(scenes[k].flat, found[k].flat)[0, 1])
        likeness = np.array([np.corrcoef(b[k].flat, other.flat)[0, 1] for other in a])
        assert row.identified == (likeness.argmax() == k)
        assert row.pairwise == pytest.approx(np.mean(np.delete(likeness, k) < likeness[k]))
        expected = brute_similarity(scenes[k], found[k], 4, np.ptp(scenes))
        assert row.structural_similarity == pytest.approx(expected)


def brute_similarity(x, y, window, span):
    """Structural similarity in loops, as Wang et al. (2004) write it."""
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            u, v = (z[i : i + window, j : j + window].ravel() for z in (x, y))
            a, b = (0.01 * span) ** 2, (0.03 * span) ** 2
            shade = (2 * u.mean() * v.mean() + a) / (u.mean() ** 2 + v.mean() ** 2 + a)
            cov = np.mean((u - u.mean()) * (v - v.mean()))
            values.append(shade * (2 * cov + b) / (u.var() + v.var() + b))
    return np.mean(values)


def test_equals_are_perfect_and_ties_count_by_their_share():
    scenes = smooth_scenes(5, np.random.default_rng(0))
    assert np.allclose(r.reconstruction_scores(scenes, scenes, window=3), 1)
    # one picture for all: nothing tells them apart
    same = np.repeat(scenes[:1], 5, axis=0).astype(np.float32)
    scores = r.reconstruction_scores(scenes, same)
    assert np.allclose(scores["identified"], 1 / 5)
    assert np.allclose(scores["pairwise"], 1 / 2)
    flat = r.reconstruction_scores(np.zeros((3, 7, 7)), np.ones((3, 7, 7)))
    assert np.allclose(flat["correlation"], 0)
    assert np.isfinite(flat).all(axis=None)


RESPONSES, SCENES = recorded(n=12, n_neurons=5)


@pytest.mark.parametrize(
    ("responses", "scenes", "folds", "settings", "message"),
    [
        (RESPONSES[1:], SCENES, folds_of(12), {}, "got 11 responses, 12 images"),
        (RESPONSES, SCENES, folds_of(12)[1:], {}, r"folds \(11,\)"),
        (RESPONSES, SCENES, np.zeros(12, int), {}, "of 1 kinds"),
        (RESPONSES[:, None], SCENES, folds_of(12), {}, "flatten bins"),
        (RESPONSES, SCENES[:, None], folds_of(12), {}, "Turn colours to grey"),
        (RESPONSES * np.nan, SCENES, folds_of(12), {}, "must be finite"),
        (RESPONSES, SCENES, folds_of(12), {"n_components": 12}, "1 to 8 principal"),
        (RESPONSES, SCENES, folds_of(12), {"n_components": 0}, "got 0"),
        (RESPONSES, SCENES, folds_of(12), {"alphas": (-1.0,)}, "positive"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(responses, scenes, folds, settings, message):
    with pytest.raises(ValueError, match=message):
        drawn(responses, scenes, folds, **settings)


def test_other_neurons_are_refused():
    with pytest.raises(ValueError, match="of the same neurons"):
        r.reconstruct(RESPONSES, SCENES, RESPONSES[:, 1:])


@pytest.mark.parametrize(
    ("images", "found", "options", "message"),
    [
        (SCENES, SCENES[1:], {}, "Select the held-out"),
        (SCENES[:1], SCENES[:1], {}, "two or more"),
        (SCENES, SCENES * np.nan, {}, "finite"),
        (SCENES, SCENES, {"window": 9}, "from 2 to the smaller edge, 8; got 9"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(images, found, options, message):
    with pytest.raises(ValueError, match=message):
        r.reconstruction_scores(images, found, **options)


def test_no_permutation_is_refused():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        r.reconstruction_test(SCENES, SCENES, rng=np.random.default_rng(0), n_permutations=0)
