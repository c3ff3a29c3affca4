"""Dissimilarities and alignment: rsatoolbox, scipy and loops as oracles, closed forms, coverage."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from visualcortex.evaluation import representations
from visualcortex.evaluation.intervals import resampled_indices
from visualcortex.evaluation.representations import (
    METHODS,
    METRICS,
    centred_kernel,
    compare_rdms,
    kernel_alignment,
    linear_cka,
    rdm,
    rdm_interval,
    rdm_noise_ceiling,
    rdm_permutation,
)

CORRELATIONS = {
    "spearman": lambda a, b: stats.spearmanr(a, b)[0],
    "pearson": lambda a, b: np.corrcoef(a, b)[0, 1],
}


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def upper(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


def tau_a(a, b):
    """Sum of signs over pairs of entries, one after the other."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    return np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs])


def slow(a, b, method):
    return tau_a(a, b) if method == "kendall_tau_a" else CORRELATIONS[method](a, b)


def related(rng, n_images, n_others, noise=1.0, ties=False):
    """RDM of some features, and those of noisy copies of them."""
    features = rng.normal(size=(n_images, 20))
    copies = features + noise * rng.normal(size=(n_others, n_images, 20))
    matrices = np.stack([rdm(x) for x in (features, *copies)])
    # few different dissimilarities
    matrices = np.round(matrices, 1) if ties else matrices
    return matrices[0], matrices[1:]


# dissimilarities


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16])
@pytest.mark.parametrize("chunk", [7 * 50, 30, 10**6])
def test_dissimilarities_are_their_definitions(rng, dtype, chunk, monkeypatch):
    monkeypatch.setattr(representations, "FEATURES", chunk)
    features = (100 * rng.normal(size=(7, 50))).astype(dtype)
    exact = features.astype(float)
    for metric, expected in (
        ("correlation", 1 - np.corrcoef(exact)),
        ("euclidean", cdist(exact, exact, "sqeuclidean") / 50),
    ):
        got = rdm(features, metric)
        assert np.allclose(got, expected, rtol=1e-5, atol=1e-5)
        assert got.dtype == np.float64
        assert np.array_equal(got, got.T)
        assert (got.diagonal() == 0).all()


@pytest.mark.parametrize("chunk", [400, 10**6])
def test_a_mean_far_larger_than_the_spread_does_no_harm(rng, chunk, monkeypatch):
    monkeypatch.setattr(representations, "FEATURES", chunk)
    features = (1000 + rng.normal(size=(8, 300))).astype(np.float32)
    exact = features.astype(float)
    assert np.allclose(rdm(features), 1 - np.corrcoef(exact), atol=1e-5)
    expected = cdist(exact, exact, "sqeuclidean") / 300
    assert np.allclose(rdm(features, "euclidean"), expected, rtol=1e-5)


def test_features_mapped_from_a_file_are_read_and_not_written(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(representations, "FEATURES", 60)
    features = rng.normal(size=(6, 40)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for metric in METRICS:
        assert np.array_equal(rdm(mapped, metric), rdm(features, metric))
    assert np.array_equal(mapped, features)
    assert linear_cka(mapped, features) == pytest.approx(1)


def test_what_each_distance_forgives(rng):
    features = rng.normal(size=(6, 30))
    gains, offsets = rng.uniform(0.5, 2, size=(6, 1)), rng.normal(size=(6, 1))
    assert np.allclose(rdm(gains * features + offsets), rdm(features))
    assert np.allclose(rdm(np.stack([features[0], -features[0]]))[0, 1], 2)
    shift, turn = rng.normal(size=30), np.linalg.qr(rng.normal(size=(30, 30)))[0]
    assert np.allclose(rdm(features @ turn + shift, "euclidean"), rdm(features, "euclidean"))


def test_noise_adds_twice_its_variance_to_squared_distances(rng):
    features = rng.normal(size=(5, 20_000))
    noisy = features + 0.7 * rng.normal(size=features.shape)
    added = upper(rdm(noisy, "euclidean") - rdm(features, "euclidean"))
    assert np.allclose(added, 2 * 0.49, atol=0.08)


def test_rsatoolbox_agrees(rng):
    pytest.importorskip("rsatoolbox")
    from rsatoolbox.data import Dataset
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs, calc_rdm, compare

    features = rng.normal(size=(9, 25)) + 3
    for metric in METRICS:
        theirs = calc_rdm(Dataset(features), method=metric).get_matrices()[0]
        assert np.allclose(rdm(features, metric), theirs)
    _, subjects = related(rng, 10, 5)
    names = {"spearman": "spearman", "pearson": "corr", "kendall_tau_a": "tau-a"}
    theirs = RDMs(subjects)
    for method, name in names.items():
        expected = compare(theirs, theirs, name)
        assert np.allclose(compare_rdms(subjects[:, None], subjects, method), expected)
        if name != "tau-a":  # theirs warns there
            ceiling = rdm_noise_ceiling(subjects, method)
            assert ceiling == pytest.approx(boot_noise_ceiling(theirs, name))


# comparisons


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_comparisons_are_their_definitions(rng, method, ties):
    first, second = related(rng, 9, 3, ties=ties)
    expected = [slow(upper(first), upper(matrix), method) for matrix in second]
    assert np.allclose(compare_rdms(first, second, method), expected)
    one = compare_rdms(second[0], first, method)
    assert isinstance(one, float)
    assert one == pytest.approx(expected[0])


def test_tau_a_is_the_tau_b_of_scipy_without_ties(rng):
    first, (second,) = related(rng, 12, 1)
    expected = stats.kendalltau(upper(first), upper(second))[0]
    assert compare_rdms(first, second, "kendall_tau_a") == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_only_what_each_comparison_forgives_is_forgiven(rng, method):
    matrix, _ = related(rng, 8, 1)
    assert compare_rdms(matrix, 3 * matrix + 1, method) == pytest.approx(1)
    assert compare_rdms(matrix, -matrix, method) == pytest.approx(-1)
    bent = compare_rdms(matrix, matrix**5, method)
    assert (bent == pytest.approx(1)) == (method != "pearson")
    order = rng.permutation(8)
    other = rdm(rng.normal(size=(8, 5)))
    moved = compare_rdms(matrix[order][:, order], other[order][:, order], method)
    assert moved == pytest.approx(compare_rdms(matrix, other, method))


# noise ceilings


@pytest.mark.parametrize("method", METHODS)
def test_the_ceiling_is_the_loop_over_subjects(rng, method):
    _, subjects = related(rng, 8, 4, ties=True)
    values = [upper(matrix) for matrix in subjects]
    scaled = [stats.zscore(v) if method == "pearson" else stats.rankdata(v) for v in values]
    others = [np.mean(scaled[:k] + scaled[k + 1 :], axis=0) for k in range(4)]
    lower = np.mean([slow(v, mean, method) for v, mean in zip(values, others, strict=True)])
    upper_bound = np.mean([slow(v, np.mean(scaled, axis=0), method) for v in values])
    assert rdm_noise_ceiling(subjects, method) == pytest.approx((lower, upper_bound))


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_no_rdm_does_better_than_the_upper_bound(rng, method):
    truth, subjects = related(rng, 10, 4)
    bound = rdm_noise_ceiling(subjects, method).upper
    for candidate in (truth, subjects.mean(axis=0), *subjects):
        assert compare_rdms(candidate, subjects, method).mean() <= bound + 1e-12


def test_the_truth_is_between_the_bounds_on_average(rng):
    bounds, reached = [], []
    for _ in range(30):
        truth, subjects = related(rng, 15, 5, noise=1.5)
        bounds.append(rdm_noise_ceiling(subjects))
        reached.append(compare_rdms(truth, subjects).mean())
    lower, upper_bound = np.mean(bounds, axis=0)
    assert lower < np.mean(reached) < upper_bound


def test_without_signal_the_bounds_are_as_they_say(rng):
    n = 4
    bounds = [
        rdm_noise_ceiling(np.stack([rdm(rng.normal(size=(20, 10))) for _ in range(n)]))
        for _ in range(30)
    ]
    assert np.allclose(np.mean(bounds, axis=0), [0, n**-0.5], atol=0.04)


# intervals


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_intervals_are_of_drawn_images_without_pairs_of_copies(rng, method, ties):
    data, models = related(rng, 8, 2, ties=ties)
    for seed in range(4):
        # one resample is both ends of its interval
        got = rdm_interval(
            {"a": models[0], "b": models[1]},
            data,
            method,
            rng=np.random.default_rng(seed),
            n_resamples=1,
        )
        images = resampled_indices(8, 1, rng=np.random.default_rng(seed))[0]
        pairs = [(i, j) for i, j in itertools.combinations(images, 2) if i != j]
        expected = []
        for model in models:
            a, b = (np.array([matrix[p] for p in pairs]) for matrix in (model, data))
            if method == "kendall_tau_a":
                expected.append(tau_a_of_different(a, b, pairs))
            else:
                expected.append(CORRELATIONS[method](a, b))
        assert [got.models[k].low for k in "ab"] == pytest.approx(expected)
        values = compare_rdms(models, data, method)
        assert [got.models[k].value for k in "ab"] == pytest.approx(values)
        assert got.differences["a", "b"] == pytest.approx(
            (values[0] - values[1], *[expected[0] - expected[1]] * 2)
        )


def tau_a_of_different(a, b, pairs):
    signs = [
        np.sign(a[k] - a[m]) * np.sign(b[k] - b[m])
        for k, m in itertools.combinations(range(len(pairs)), 2)
        if set(pairs[k]) != set(pairs[m])
    ]
    return np.mean(signs)


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_over_subjects_is_compared(rng, method):
    model, subjects = related(rng, 8, 3)

    def interval(data):
        rng = np.random.default_rng(0)
        return rdm_interval({"m": model}, data, method, rng=rng, n_resamples=1).models["m"]

    alone = np.mean([interval(data) for data in subjects], axis=0)
    assert interval(subjects) == pytest.approx(alone)


def test_intervals_do_not_depend_on_the_chunks(rng, monkeypatch):
    data, (model,) = related(rng, 8, 1)

    def interval():
        rng = np.random.default_rng(0)
        return rdm_interval({"m": model}, data, rng=rng, n_resamples=40).models["m"]

    at_once = interval()
    monkeypatch.setattr(representations, "PAIRS", 28 * 7)
    assert interval() == pytest.approx(at_once, abs=1e-12)


def test_resamples_of_one_or_two_images_have_no_comparison(rng):
    # of four images, a third of the resamples; of three, most
    data, _ = related(rng, 4, 1)
    got = rdm_interval({"m": 2 * data}, data, rng=rng, n_resamples=300).models["m"]
    assert got == pytest.approx((1, 1, 1))
    with pytest.raises(ValueError, match="finite for only"):
        rdm_interval({"m": 2 * data[:3, :3]}, data[:3, :3], rng=rng, n_resamples=300)


def test_copies_would_raise_the_comparison_of_what_is_unrelated(rng):
    """What the pairs of an image with its own copy would do, and do not."""
    means = {"dropped": [], "kept": []}
    for seed in range(20):
        first, second = (rdm(rng.normal(size=(15, 10))) for _ in range(2))
        got = rdm_interval({"m": first}, second, rng=np.random.default_rng(seed), n_resamples=1)
        images = resampled_indices(15, 1, rng=np.random.default_rng(seed))[0]
        kept = [upper(matrix[np.ix_(images, images)]) for matrix in (first, second)]
        means["dropped"].append(got.models["m"].low)
        means["kept"].append(stats.spearmanr(*kept)[0])
    assert abs(np.mean(means["dropped"])) < 0.06
    assert np.mean(means["kept"]) > 0.12


def test_the_intervals_hold_the_comparison_of_all_images():
    rng = np.random.default_rng(2)
    scale = np.arange(1, 21) ** -0.5

    def drawn(n_images):
        features = scale * rng.normal(size=(n_images, 20))
        return [rdm(features + s * scale * rng.normal(size=features.shape)) for s in (0, 0.4, 0.8)]

    data, *models = drawn(1000)
    truth = compare_rdms(np.stack(models), data)
    inside, n_draws = np.zeros(3), 80
    for _ in range(n_draws):
        data, good, poor = drawn(25)
        got = rdm_interval({"good": good, "poor": poor}, data, rng=rng, n_resamples=150)
        intervals = [*got.models.values(), got.differences["good", "poor"]]
        for k, value in enumerate([*truth, truth[0] - truth[1]]):
            inside[k] += intervals[k].low <= value <= intervals[k].high
    assert (inside >= 0.86 * n_draws).all()


# permutations


@pytest.mark.parametrize("method", METHODS)
def test_permutations_are_of_images(rng, method):
    first, (second,) = related(rng, 8, 1, ties=True)
    got = rdm_permutation(first, second, method, rng=np.random.default_rng(1), n_permutations=15)
    rng = np.random.default_rng(1)
    orders = [rng.permutation(8) for _ in range(15)]
    loop = [compare_rdms(first, second[order][:, order], method) for order in orders]
    assert np.allclose(got.null, loop)
    assert got.observed == pytest.approx(compare_rdms(first, second, method))
    assert got.p == pytest.approx((1 + np.sum(np.array(loop) >= got.observed)) / 16)


def test_p_is_small_for_what_is_related_and_exact_for_what_is_not(rng):
    first, (second,) = related(rng, 20, 1)
    assert rdm_permutation(first, second, rng=rng, n_permutations=99).p == 1 / 100
    ps = [
        rdm_permutation(
            *(rdm(rng.normal(size=(6, 4))) for _ in range(2)), rng=rng, n_permutations=19
        ).p
        for _ in range(300)
    ]
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / 300)
        assert np.mean(np.array(ps) <= level + 1e-9) == pytest.approx(level, abs=4 * error)


# kernels


def song(x, y):
    """The unbiased HSIC of Song et al. (2012), term by term."""
    n = len(x)
    k, m = (z @ z.T for z in (x, y))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    last = 2 / (n - 2) * (one @ k @ m @ one)
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + middle - last) / (n * (n - 3))


def test_alignment_is_its_definition(rng):
    x, y = rng.normal(size=(12, 5)) + 2, rng.normal(size=(12, 30))
    y[:, :5] += x
    expected = song(x, y) / np.sqrt(song(x, x) * song(y, y))
    assert linear_cka(x, y) == pytest.approx(expected)
    kernels = [centred_kernel(z) for z in (x, y)]
    assert np.sum(kernels[0] * kernels[1]) / (12 * 9) == pytest.approx(song(x, y))
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    norms = [np.linalg.norm(z.T @ z) for z in (xc, yc)]
    biased = np.linalg.norm(xc.T @ yc) ** 2 / np.prod(norms)
    assert linear_cka(x, y, unbiased=False) == pytest.approx(biased)
    assert np.allclose(centred_kernel(x, unbiased=False), xc @ xc.T)


@pytest.mark.parametrize("unbiased", [True, False])
def test_rotation_scale_and_offset_do_not_matter_and_other_maps_do(rng, unbiased):
    x, y = rng.normal(size=(2, 20, 8))
    y += x
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    value = linear_cka(x, y, unbiased=unbiased)
    for other in (7 * x @ turn, x + rng.normal(size=8)):
        assert linear_cka(other, y, unbiased=unbiased) == pytest.approx(value)
    assert linear_cka(y, x, unbiased=unbiased) == pytest.approx(value)
    assert linear_cka(x, x @ turn, unbiased=unbiased) == pytest.approx(1)
    stretched = linear_cka(x * np.arange(1, 9), y, unbiased=unbiased)
    assert abs(stretched - value) > 0.01
    order = rng.permutation(20)
    assert linear_cka(x[order], y[order], unbiased=unbiased) == pytest.approx(value)
    assert linear_cka(x[order], y, unbiased=unbiased) < 0.7 * value


def test_independent_features_have_no_unbiased_alignment(rng):
    n_images, sizes = 40, (20, 100)
    draws = [[rng.normal(size=(n_images, p)) for p in sizes] for _ in range(200)]
    unbiased = np.array([linear_cka(*draw) for draw in draws])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(200)
    assert 0.35 < np.mean(unbiased < 0) < 0.65
    biased = [linear_cka(*draw, unbiased=False) for draw in draws[:30]]
    expected = 1 / np.sqrt((1 + n_images / sizes[0]) * (1 + n_images / sizes[1]))
    assert np.mean(biased) == pytest.approx(expected, abs=0.02)


def test_float32_in_pieces_is_float64_at_once(rng, monkeypatch):
    x, y = rng.normal(size=(2, 30, 200)) + 100
    y += x
    exact = linear_cka(x, y)
    monkeypatch.setattr(representations, "FEATURES", 30 * 17)
    assert linear_cka(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(exact, abs=1e-4)


# bad input

MATRIX = rdm(np.random.default_rng(0).normal(size=(5, 9)))
FEATURES = np.random.default_rng(1).normal(size=(5, 9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rdm(FEATURES, "cosine"), "metric must be one of"),
        (lambda: rdm(FEATURES[0]), r"\(image, feature\)"),
        (lambda: rdm(FEATURES[:1]), "at least two images"),
        (lambda: rdm(FEATURES.astype(str)), "real numbers"),
        (
            lambda: rdm(np.where(FEATURES == FEATURES[2, 3], np.nan, FEATURES)),
            r"images \[2\] \(1 in",
        ),
        (
            lambda: rdm(np.where(FEATURES == FEATURES[4, 0], np.inf, FEATURES), "euclidean"),
            r"images \[4\]",
        ),
        (lambda: rdm(1e30 * FEATURES.astype(np.float32)), "so small that their squares are"),
        (lambda: rdm(np.r_[FEATURES, np.full((1, 9), 0.1)]), "1 images are constant, .* image 5"),
        (lambda: rdm(np.full((3, 9), 0.1, np.float32)), "3 images are constant"),
        (lambda: compare_rdms(MATRIX, MATRIX, "cosine"), "method must be one of"),
        (lambda: compare_rdms(MATRIX, MATRIX[:4, :4]), "5 and 4 images"),
        (lambda: compare_rdms(MATRIX, MATRIX[:4]), r"second must be \(image, image\)"),
        (lambda: compare_rdms(MATRIX[:2, :2], MATRIX), "at least three images"),
        (lambda: compare_rdms(MATRIX, np.ones((5, 5))), "not the same for all pairs"),
        (lambda: compare_rdms(MATRIX * np.nan, MATRIX), "first has 10 NaN"),
        (lambda: rdm_noise_ceiling(MATRIX), "at least two subjects"),
        (lambda: rdm_noise_ceiling(MATRIX[None]), "at least two subjects"),
        (lambda: linear_cka(FEATURES[:3], FEATURES[:3]), "at least four images"),
        (lambda: linear_cka(FEATURES, FEATURES[:4]), "of the same images"),
        (lambda: linear_cka(FEATURES, np.ones((5, 2))), "same for all images"),
        (lambda: kernel_alignment(FEATURES, FEATURES), r"\(5, 9\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("models", "data", "options", "message"),
    [
        ({}, MATRIX, {}, "at least one model"),
        ({"m": MATRIX[:4, :4]}, MATRIX, {}, "of the same images"),
        ({"m": MATRIX}, MATRIX[0], {}, "data of shape"),
        ({"m": np.ones((5, 5))}, MATRIX, {}, "m has 0 NaN"),
        ({"m": MATRIX}, MATRIX, {"method": "cosine"}, "method must be one of"),
        ({"m": MATRIX}, MATRIX, {"level": 1}, "level must lie"),
    ],
)
def test_bad_intervals_are_refused(rng, models, data, options, message):
    with pytest.raises(ValueError, match=message):
        rdm_interval(models, data, rng=rng, **options)


def test_bad_permutations_are_refused(rng):
    with pytest.raises(ValueError, match="n_permutations must be at least 1"):
        rdm_permutation(MATRIX, MATRIX, rng=rng, n_permutations=0)
    with pytest.raises(ValueError, match="need two RDMs"):
        rdm_permutation(MATRIX[None], MATRIX, rng=rng)
