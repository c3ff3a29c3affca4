"""The simulated subjects have one representation in common, and differ as much as real ones."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from torch.nn import functional

from visualcortex.evaluation.representations import compare_rdms, rdm, rdm_noise_ceiling
from visualcortex.recording import Dissimilarities
from visualcortex.simulators import objects, ventral_subjects
from visualcortex.simulators.ventral_network import LAYERS, hidden_layer
from visualcortex.simulators.ventral_subjects import VentralSubjects
from visualcortex.sources.kriegeskorte2008 import read_kriegeskorte2008

FEW = {"n_images": 20, "n_sites": 30, "n_voxels": 24, "n_subjects": 2, "n_sessions": 2}
REAL = ("Kriegeskorte_Neuron2008_supplementalData.mat", "92_brainRDMs.mat")
PUBLISHED = {  # Spearman correlations that the settings were fitted to
    "sessions of a human": 0.22,
    "sessions of two humans": 0.17,
    "lower": 0.37,
    "upper": 0.67,
    "monkey and mean human": 0.44,
    "monkey and a human": 0.30,
}
ALL = ((0, 0), (0, 1), (1, 0), (1, 1))  # pairs of sessions


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch):
    monkeypatch.setattr(ventral_subjects, "N_LIMIT", 2**12)


@pytest.fixture(scope="module")
def default():
    """One recording of default settings."""
    return VentralSubjects().simulate(0)


def few(seed=1, **changes):
    return VentralSubjects(**(FEW | changes)).simulate(seed)


def above(matrix):
    """Entries above the diagonal."""
    return np.asarray(matrix)[np.triu_indices(len(matrix), 1)]


def humans_of(recording):
    """Matrices of the humans, (session, subject, image, image)."""
    n_sessions = recording.subjects["session"].nunique()
    values = recording.rdms.to_numpy()[1:].astype(float)
    return values.reshape(n_sessions, -1, *values.shape[1:])


def agreement(recording):
    """Return what `PUBLISHED` lists, of a recording."""
    monkey, humans = recording.rdms.to_numpy()[0], humans_of(recording)
    people = range(humans.shape[1])
    means = humans.mean(axis=0)
    pairs = [(humans[i, a], humans[j, b]) for a, b in permutations(people, 2) for i, j in ALL]
    ceiling = rdm_noise_ceiling(means)
    return {
        "sessions of a human": np.mean(compare_rdms(*humans)),
        "sessions of two humans": np.mean([compare_rdms(*pair) for pair in pairs]),
        "lower": ceiling.lower,
        "upper": ceiling.upper,
        "monkey and mean human": compare_rdms(monkey, means.mean(axis=0)),
        "monkey and a human": np.mean(compare_rdms(means, monkey)),
    }


# agreement


def test_real_subjects_agree_as_stated(real_data):
    recording = read_kriegeskorte2008(*(real_data(f"kriegeskorte92/{name}") for name in REAL))
    measured = agreement(recording)
    assert measured == pytest.approx(PUBLISHED, abs=0.006)
    people = compare_rdms(*humans_of(recording))
    assert (people.min(), people.max()) == pytest.approx((0.10, 0.38), abs=0.006)
    spread = [above(matrix).std() for matrix in recording.rdms.to_numpy()]
    assert (spread[0], np.mean(spread[1:])) == pytest.approx((0.09, 0.17), abs=0.006)


def test_simulated_subjects_agree_as_real_ones():
    """The mean of four seeds, within 3.5 of its standard errors as found from 16."""
    recordings = [VentralSubjects().simulate(seed) for seed in range(4)]
    found = [agreement(recording) for recording in recordings]
    sd = {"lower": 0.038, "upper": 0.019, "sessions of a human": 0.024}
    sd |= {"sessions of two humans": 0.024, "monkey and mean human": 0.014}
    sd |= {"monkey and a human": 0.015}
    for name, value in PUBLISHED.items():
        error = sd[name] / 2
        assert np.mean([f[name] for f in found]) == pytest.approx(value, abs=3.5 * error), name
    for recording in recordings:
        spread = [above(matrix).std() for matrix in recording.rdms.to_numpy()]
        assert (spread[0], np.mean(spread[1:])) == pytest.approx((0.05, 0.17), abs=0.01)


def test_sessions_of_one_subject_agree_more_than_those_of_two():
    first, second = humans_of(few(n_images=60, n_voxels=50, session_reliability=0.8))
    own = np.mean(compare_rdms(first, second))
    assert own > np.mean(compare_rdms(first, second[::-1])) + 0.1


# the truth


def test_the_limit_is_common_and_each_subject_near_it(default):
    truth = default.truth
    assert truth.rdms.shape == (5, 92, 92)
    to_limit = compare_rdms(truth.rdms, truth.limit)
    assert to_limit[0] > 0.98  # 674 sites
    assert np.all((to_limit[1:] > 0.75) & (to_limit[1:] < 0.95))  # 316 voxels, blurred
    assert above(truth.limit).std() == pytest.approx(0.25, abs=0.03)
    assert above(truth.limit).mean() == pytest.approx(1, abs=0.02)


def test_the_limit_is_what_many_sites_come_to(default):
    """Of any subject: with and without blur, up to 1 / sqrt(number of sites)."""
    many = VentralSubjects(n_sites=4096, n_voxels=8192, n_subjects=1, n_sessions=1).simulate(0)
    np.testing.assert_array_equal(many.images, default.images)
    for matrix, n in zip(many.truth.rdms, (4096, 8192 / 7.5), strict=True):
        off = above(matrix - many.truth.limit)
        assert np.sqrt(np.mean(off**2)) < 1.2 * np.sqrt(1 / n + 1 / 4096)


def test_blur_and_noise_are_what_keeps_a_subject_from_the_limit():
    changes = {"n_images": 60, "n_sites": 300, "n_voxels": 300, "n_sessions": 1}
    near = {"monkey_reliability": 0.999999, "session_reliability": 0.999999}
    for blur, noise in ((0.0, near), (4.0, near), (4.0, {})):
        recording = few(blur=blur, **changes, **noise)
        recorded, truth = recording.rdms.to_numpy(), recording.truth
        if noise:
            np.testing.assert_allclose(recorded, truth.rdms, atol=0.01)
        else:
            assert np.all(compare_rdms(recorded, truth.rdms) < 0.8)
        to_limit = compare_rdms(truth.rdms, truth.limit)
        assert (np.ptp(to_limit) < 0.02) == (blur == 0)


def test_noise_is_new_in_each_session_and_of_the_variance_that_the_reliability_says():
    """Closed form: covariances stay, and variances over sites grow by that of the noise."""
    rng, n = np.random.default_rng(0), 40_000
    mixing = rng.standard_normal((8, 8))
    clean = mixing @ rng.standard_normal((8, n))
    found = ventral_subjects._rdms(clean, 0.2, 3, 0.0, rng)
    covariance = np.cov(clean)
    for matrix, noise in zip(found, (0, 4, 4, 4), strict=True):
        sd = np.sqrt(np.diag(covariance) + noise)
        expected = 1 - covariance / np.outer(sd, sd)
        np.testing.assert_allclose(above(matrix), above(expected), atol=4.5 / np.sqrt(n))
    differences = [above(a - b).std() for a, b in combinations(found[1:], 2)]
    assert min(differences) > 0.5 / np.sqrt(n)


def test_voxels_are_means_over_neighbours_on_a_ring():
    """Oracle: a sum over all sites, with the distance the shorter way round."""
    rng = np.random.default_rng(0)
    for n, sd in ((40, 2.0), (41, 3.5)):
        responses = rng.standard_normal((3, n))
        blurred = ventral_subjects._blurred(responses, sd)
        distance = np.arange(n)[:, None] - np.arange(n)
        distance = np.minimum(distance % n, -distance % n)
        weights = np.exp(-(distance**2) / 2 / sd**2)
        weights /= weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(blurred, responses @ weights, atol=1e-4)
        np.testing.assert_allclose(ventral_subjects._blurred(responses, 0.0), responses, atol=1e-12)


@pytest.mark.parametrize("layer", ["stage 3", "stage 4"])
def test_features_averaged_over_positions_name_the_layer_that_is_read(layer):
    recording = few(layer=layer, n_images=92)
    truth, nearness, plain = recording.truth, {}, {}
    assert truth.layer == layer
    for name in LAYERS:
        maps = hidden_layer(truth.network, recording.images, name)
        plain[name] = compare_rdms(rdm(maps.flatten(1).numpy()), truth.limit)
        means = functional.adaptive_avg_pool2d(maps, 1)[:, :, 0, 0].numpy()
        units = (means - means.mean(axis=0)) / means.std(axis=0)
        nearness[name] = compare_rdms(rdm(units), truth.limit)
    assert max(nearness, key=nearness.get) == layer
    assert nearness[layer] > 0.9
    # the caution of the documentation: plain features name the last stage in either case
    assert max(plain, key=plain.get) == "stage 4"


# the recording


def test_the_matrices_are_laid_out_as_the_real_ones(default):
    assert isinstance(default, Dissimilarities)
    assert default.rdms.shape == (9, 92, 92)
    assert default.rdms.dtype == np.float32
    assert default.rdms.attrs == {"quantity": "1 - Pearson correlation", "units": "1"}
    subjects = default.subjects
    assert list(subjects["species"]) == ["monkey"] + ["human"] * 8
    assert list(subjects["session"]) == [0] * 5 + [1] * 4
    people = [f"human-{k}" for k in (1, 2, 3, 4)]
    assert list(subjects["subject"]) == ["monkey", *people, *people]
    assert set(subjects["region"]) == {"IT"}
    assert subjects["n_neurons"][0] == 674
    assert subjects["n_neurons"][1:].isna().all()
    assert "known (simulated)" in default._repr_html_()


def test_all_objects_are_shown_and_categories_alike(default):
    stimuli = default.stimuli
    assert set(stimuli["object"]) == set(objects.object_names())
    counts = stimuli["object"].value_counts()
    assert dict(counts.value_counts()) == {1: 36, 2: 28}
    assert stimuli["category"].value_counts().between(11, 12).all()
    assert (stimuli["object"].str[0] == stimuli["category"]).all()
    assert stimuli["category"].is_monotonic_increasing
    assert default.images.shape == (92, 3, 64, 64)
    again = stimuli.index[stimuli["object"] == counts.index[0]]  # other views of the same object
    assert np.abs(np.subtract(*default.images[again])).max() > 0.2


def test_pictures_of_one_category_are_answered_alike(default):
    category = default.category
    other = above(category[:, None] != category)
    for matrix in (default.truth.limit, *default.rdms.to_numpy()):
        values = above(matrix)
        assert values[other].mean() > values[~other].mean()


def test_the_seed_says_it_all_and_subjects_are_their_own():
    first, again, more = few(seed=2), few(seed=2), few(seed=2, n_subjects=3)
    np.testing.assert_array_equal(first.rdms, again.rdms)
    np.testing.assert_array_equal(first.images, more.images)
    np.testing.assert_array_equal(first.truth.limit, more.truth.limit)
    np.testing.assert_array_equal(first.rdms[:3], more.rdms[:3])
    np.testing.assert_array_equal(first.rdms[3:], more.rdms[4:6])
    other = few(seed=3)
    assert not np.array_equal(first.rdms, other.rdms)
    assert not np.array_equal(first.images, other.images)
    for one, two in combinations(more.truth.rdms, 2):
        assert not np.allclose(one, two)
    for one, two in combinations(more.rdms.to_numpy(), 2):
        assert not np.allclose(one, two)


@pytest.mark.parametrize("n_images", [3, 64, 65])
def test_any_number_of_pictures_will_do(n_images):
    recording = few(n_images=n_images, layer="stage 4")
    assert recording.n_images == n_images
    assert recording.stimuli["object"].nunique() == min(n_images, 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "stage 0"}, "layer must be one of .*'stage 1'.*got 'stage 0'. Choose one"),
        ({"n_images": 2}, "n_images must be a whole number, 3 or more; got 2. Correct it"),
        ({"n_sites": 1}, "n_sites must be a whole number, 2 or more"),
        ({"n_voxels": 1}, "n_voxels must be a whole number, 2 or more"),
        ({"n_subjects": 0}, "n_subjects must be a whole number, 1 or more"),
        ({"n_sessions": 1.5}, "n_sessions must be a whole number, 1 or more; got 1.5"),
        ({"n_channels": 0}, "n_channels must be a whole number, 1 or more"),
        ({"monkey_reliability": 0.0}, "monkey_reliability must be a number above 0 and below 1"),
        ({"session_reliability": 1}, "session_reliability must be a number above 0 and below 1"),
        ({"blur": -1.0}, "blur must be a number from 0 to less than a quarter of n_voxels"),
        ({"blur": 10.0, "n_voxels": 40}, "less than a quarter of n_voxels; got 10.0"),
        ({"window": 0}, "window must be a finite number above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VentralSubjects(**settings)


def test_a_seed_that_is_none_is_refused():
    with pytest.raises(ValueError, match="seed must be a whole number, 0 or more; got -1"):
        few(seed=-1)
