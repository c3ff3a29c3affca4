"""Statistics of populations against loops, other libraries, closed forms and invariances."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from visualcortex import evaluation as ev

N_TRIALS, N_TIME, N_NEURONS = 24, 9, 5
LABELS = np.tile([7, 2, 4], 8)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def frames(rng):
    """Binary activity, tuned and shared between neurons."""
    drive = rng.normal(size=(N_TRIALS, 1, 1)) + rng.normal(size=(10, 1, N_NEURONS))[LABELS]
    return (rng.normal(size=(N_TRIALS, N_TIME, N_NEURONS)) < drive - 0.3).astype(float)


# correlations


def loop_correlation(residual, lag, i, j):
    """Definition of the lagged correlation, written out."""
    early = [row[t, i] for row in residual for t in range(len(row) - lag)]
    late = [row[t + lag, j] for row in residual for t in range(len(row) - lag)]
    return np.dot(early, late) / np.sqrt(np.dot(early, early) * np.dot(late, late))


def residuals(frames, labels):
    """Activity less the mean of stimulus and frame, in a loop; less the mean of all without."""
    if labels is None:
        return frames - frames.mean(axis=(0, 1))
    means = {s: frames[labels == s].mean(axis=0) for s in np.unique(labels)}
    return np.stack([row - means[s] for row, s in zip(frames, labels, strict=True)])


@pytest.mark.parametrize("labels", [LABELS, None])
def test_lagged_correlations_are_their_definition(frames, labels):
    found = ev.lagged_correlations(frames, labels, N_TIME - 1)
    assert found.shape == (N_TIME, N_NEURONS, N_NEURONS)
    residual = residuals(frames, labels)
    for lag in range(N_TIME):
        for i in range(N_NEURONS):
            for j in range(N_NEURONS):
                expected = loop_correlation(residual, lag, i, j)
                assert found[lag, i, j] == pytest.approx(expected, abs=1e-12)


def test_fewer_lags_are_the_first_of_many(frames):
    many = ev.lagged_correlations(frames, LABELS, 8)
    for max_lag in (0, 1, 4):
        few = ev.lagged_correlations(frames, LABELS, max_lag)
        np.testing.assert_allclose(few, many[: max_lag + 1], atol=1e-12)


def test_total_correlations_at_lag_zero_are_numpys(frames):
    found = ev.lagged_correlations(frames, None)[0]
    np.testing.assert_allclose(found, np.corrcoef(frames.reshape(-1, N_NEURONS).T), atol=1e-12)


def test_without_time_correlations_are_those_of_trials(frames):
    rates = frames.mean(axis=1)
    found = ev.lagged_correlations(rates, LABELS)[0]
    np.testing.assert_allclose(found, ev.noise_correlations(rates, LABELS), atol=1e-12)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_autocorrelations_are_the_diagonal(frames, labels):
    every = ev.lagged_correlations(frames, labels, 6)
    own = ev.autocorrelations(frames, labels, 6)
    np.testing.assert_allclose(own, np.diagonal(every, axis1=1, axis2=2), atol=1e-12)
    np.testing.assert_allclose(own[0], 1)


def test_a_neuron_that_follows_another_is_found_at_its_lag(rng):
    leader = rng.random((400, 20)) < 0.2
    frames = np.stack([leader, np.roll(leader, 2, axis=1)], axis=2).astype(float)
    frames[:, :2, 1] = 0
    found = ev.lagged_correlations(frames, np.zeros(400, int), 4)
    assert found[2, 0, 1] == pytest.approx(1)
    off = np.abs(np.delete(found[:, 0, 1], 2))
    assert off.max() < 4 / np.sqrt(400 * 16)
    assert np.abs(found[:, 1, 0]).max() < 4 / np.sqrt(400 * 16)


def test_independent_frames_do_not_correlate(rng):
    frames = (rng.random((600, 12, 6)) < rng.random(6)).astype(float)
    found = ev.lagged_correlations(frames, np.arange(600) % 4, 3)
    off = found[:, ~np.eye(6, dtype=bool)]
    assert np.abs(off).max() < 5 / np.sqrt(600 * 9)
    assert off.std() == pytest.approx(1 / np.sqrt(600 * 10.5), rel=0.2)


def test_noise_correlations_leave_out_what_stimulus_and_time_do(rng):
    """Two neurons driven alike by stimulus and frame, otherwise independent."""
    labels = np.repeat([0, 1], 400)
    chance = np.array([[0.1, 0.8, 0.3, 0.6], [0.9, 0.2, 0.7, 0.1]])[labels]  # (B, T)
    frames = (rng.random((800, 4, 2)) < chance[..., None]).astype(float)
    assert ev.lagged_correlations(frames, None)[0, 0, 1] > 0.3
    assert abs(ev.lagged_correlations(frames, labels)[0, 0, 1]) < 4 / np.sqrt(3200)


def test_silent_and_constant_neurons_have_no_correlation(frames):
    frames[..., 1], frames[..., 3] = 0, 1
    for labels in (LABELS, None):
        found = ev.lagged_correlations(frames, labels, 2)
        undefined = np.isnan(found).all(axis=(0, 2))
        assert undefined.tolist() == [False, True, False, True, False]
        assert np.isfinite(found[:, ~undefined][:, :, ~undefined]).all()


def test_a_neuron_active_in_the_first_frame_alone_has_no_late_frames(rng):
    frames = (rng.random((30, 4, 2)) < 0.5).astype(float)
    frames[:, 1:, 0] = 0
    found = ev.lagged_correlations(frames, None, 1)
    assert np.isfinite(found[1, 0]).all()
    flat = ev.lagged_correlations(frames, np.zeros(30, int), 1)
    assert np.isnan(flat[1, :, 0]).all()


# distributions


def test_the_count_distribution_counts_frames(frames):
    k = [int(frame.sum()) for trial in frames for frame in trial]
    expected = [k.count(n) / len(k) for n in range(N_NEURONS + 1)]
    np.testing.assert_allclose(ev.count_distribution(frames), expected)
    given = ev.count_distribution(frames, LABELS)
    assert given.shape == (3, N_NEURONS + 1)
    for row, stimulus in zip(given, (2, 4, 7), strict=True):
        np.testing.assert_allclose(row, ev.count_distribution(frames[LABELS == stimulus]))


def test_independent_neurons_have_a_binomial_count(rng):
    """Oracle: the binomial distribution, with its sampling error."""
    from scipy.stats import binom

    found = ev.count_distribution((rng.random((2000, 10, 8)) < 0.3).astype(float))
    expected = binom.pmf(np.arange(9), 8, 0.3)
    assert (np.abs(found - expected) < 4 * np.sqrt(expected / 20000) + 1e-4).all()


def test_shuffling_trials_keeps_the_mean_count_and_changes_its_spread(frames, rng):
    shuffled = ev.shuffle_trials(frames, LABELS, rng=rng)
    k = np.arange(N_NEURONS + 1)
    real, other = ev.count_distribution(frames), ev.count_distribution(shuffled)
    assert k @ real == pytest.approx(k @ other)
    assert k**2 @ real > k**2 @ other


def test_active_frames_are_counted_for_each_neuron(frames):
    found = ev.active_frame_distribution(frames)
    assert found.shape == (N_NEURONS, N_TIME + 1)
    for neuron in range(N_NEURONS):
        counts = frames[..., neuron].sum(axis=1).astype(int).tolist()
        expected = [counts.count(n) / N_TRIALS for n in range(N_TIME + 1)]
        np.testing.assert_allclose(found[neuron], expected)
    fractions = ev.active_frame_distribution(frames.mean(axis=1), n_frames=N_TIME)
    np.testing.assert_allclose(fractions, found)


# single neurons


def test_condition_means_are_means(frames):
    found = ev.condition_means(frames, LABELS)
    for row, stimulus in zip(found, (2, 4, 7), strict=True):
        np.testing.assert_allclose(row, frames[LABELS == stimulus].mean(axis=(0, 1)))


def test_fano_factors_of_independent_frames(rng):
    frames = (rng.random((4000, 20, 3)) < [0.1, 0.4, 0.0]).astype(float)
    found = ev.fano_factors(frames, np.zeros(4000, int))[0]
    # the s.e. of a variance of n nearly normal values is its sqrt(2 / n)
    np.testing.assert_allclose(found[:2], [0.9, 0.6], rtol=4 * np.sqrt(2 / 4000))
    assert np.isnan(found[2])
    fractions = ev.fano_factors(frames.mean(axis=1), np.zeros(4000, int), n_frames=20)[0]
    np.testing.assert_allclose(fractions, found)
    assert np.isnan(ev.fano_factors(frames[:3], np.arange(3))).all()


def test_intervals_of_a_clock_are_regular_and_of_bernoulli_frames_are_geometric(rng):
    clock = np.zeros((3, 40, 1))
    clock[:, ::5] = 1
    assert ev.interval_irregularity(clock).cv2[0] == ev.interval_irregularity(clock).lv[0] == 0
    p = 0.3
    frames = (rng.random((40, 4000, 1)) < p).astype(float)
    found = ev.interval_irregularity(frames)
    i = np.arange(1, 80)
    joint = np.outer(p * (1 - p) ** (i - 1), p * (1 - p) ** (i - 1))
    contrast = np.abs(i[:, None] - i) / (i[:, None] + i)
    assert found.cv2[0] == pytest.approx(2 * (joint * contrast).sum(), abs=0.01)
    assert found.lv[0] == pytest.approx(3 * (joint * contrast**2).sum(), abs=0.01)


def test_neurons_without_intervals_are_undefined():
    frames = np.zeros((2, 6, 3))
    frames[:, [1, 4], 1] = 1  # two events a trial: no pair of intervals within one
    frames[0, [0, 1, 5], 2] = 1
    found = ev.interval_irregularity(frames)
    assert found.n_pairs.tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.cv2, [np.nan, np.nan, 2 * 3 / 5])
    np.testing.assert_allclose(found.lv, [np.nan, np.nan, 3 * (3 / 5) ** 2])


# distances of trials


def loop_van_rossum(x, y, tau):
    """Definition of the squared distance by sums over pairs of events."""
    a, b = np.flatnonzero(x), np.flatnonzero(y)
    alike = [np.exp(-np.abs(p[:, None] - q) / tau).sum() for p, q in ((a, a), (b, b), (a, b))]
    return alike[0] + alike[1] - 2 * alike[2]


def test_van_rossum_distances_are_their_definition(frames):
    first, second = frames[:7], frames[7:11]
    found = ev.van_rossum_distances(first, second, time_constant=2.5)
    assert found.shape == (N_NEURONS, 7, 4)
    squares = np.array(
        [[[loop_van_rossum(x[:, n], y[:, n], 2.5) for y in second] for x in first]
         for n in range(N_NEURONS)]
    )  # fmt: skip
    np.testing.assert_allclose(found**2, squares, atol=1e-10)
    pooled = ev.van_rossum_distances(first, second, time_constant=2.5, pooled=True)
    np.testing.assert_allclose(pooled**2, squares.sum(axis=0), atol=1e-10)


def test_van_rossum_distances_by_hand():
    frames = np.zeros((3, 8, 1))
    frames[1, 2] = frames[2, 5] = 1
    found = ev.van_rossum_distances(frames, time_constant=3.0)[0]
    assert found[0, 1] == pytest.approx(1)
    assert found[1, 2] == pytest.approx(np.sqrt(2 - 2 * np.exp(-1)))
    assert np.abs(np.diag(found)).max() < 1e-7
    rates = np.array([[0.2], [0.7]])
    assert ev.van_rossum_distances(rates, time_constant=1.0)[0, 0, 1] == pytest.approx(0.5)


def test_distances_within_stimuli_are_of_different_trials_of_one_stimulus(frames):
    found = ev.distances_within_stimuli(frames, LABELS, time_constant=2.0)
    every = ev.van_rossum_distances(frames, time_constant=2.0, pooled=True)
    expected = [
        every[i, j] for i in range(N_TRIALS) for j in range(i + 1, N_TRIALS)
        if LABELS[i] == LABELS[j]
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected)


# the oracle that is not always installed


@pytest.fixture(scope="module")
def elephant():
    """Elephant's statistics and distances, or a skip."""
    pytest.importorskip("elephant")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import elephant.spike_train_dissimilarity
        import elephant.statistics
    return elephant


@pytest.fixture
def trains(frames):
    """The first neuron's trials as Neo's spike trains, a frame a second."""
    neo = pytest.importorskip("neo")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            neo.SpikeTrain(np.flatnonzero(row), units="s", t_stop=float(N_TIME))
            for row in frames[..., 0]
        ]


def test_van_rossum_distances_agree_with_elephant(frames, trains, elephant):
    import quantities

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = elephant.spike_train_dissimilarity.van_rossum_distance(
            trains, time_constant=2.5 * quantities.s
        )
    ours = ev.van_rossum_distances(frames[..., :1], time_constant=2.5)[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_single_neurons_agree_with_elephant(frames, trains, elephant):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fano = elephant.statistics.fanofactor(trains)
        intervals = [np.diff(np.asarray(train)) for train in trains]
        several = [x for x in intervals if len(x) > 1]
        cv2 = [elephant.statistics.cv2(x) for x in several]
        lv = [elephant.statistics.lv(x) for x in several]
    # ours has the variance with n - 1
    ours = ev.fano_factors(frames, np.zeros(N_TRIALS, int))[0, 0]
    assert ours == pytest.approx(fano * N_TRIALS / (N_TRIALS - 1))
    # theirs are of one trial; ours weigh each pair of intervals the same
    pairs = [len(x) - 1 for x in several]
    found = ev.interval_irregularity(frames)
    assert found.n_pairs[0] == sum(pairs)
    assert found.cv2[0] == pytest.approx(np.average(cv2, weights=pairs))
    assert found.lv[0] == pytest.approx(np.average(lv, weights=pairs))


# all together


def test_all_statistics_are_those_of_their_functions(frames):
    found = ev.population_statistics(frames, LABELS, max_lag=2)
    upper = np.triu_indices(N_NEURONS, k=1)
    lagged = ev.lagged_correlations(frames, LABELS, 2)
    np.testing.assert_allclose(found["frame correlations"], lagged[0][upper])
    assert set(found["lagged correlations"]) == set(
        lagged[lag, i, j] for lag in (1, 2) for i in range(5) for j in range(5) if i != j
    )
    own = ev.autocorrelations(frames, LABELS, 2)[1:]
    np.testing.assert_allclose(found["autocorrelations"], own.ravel())
    means = ev.condition_means(frames, LABELS)
    np.testing.assert_allclose(found["tuning"], (means - means.mean(axis=0)).ravel())
    fano = np.nanmean(ev.fano_factors(frames, LABELS), axis=0)
    np.testing.assert_allclose(found["fano factors"], fano)


def test_neither_the_order_of_trials_nor_the_names_of_stimuli_matter(frames, rng):
    before = ev.population_statistics(frames, LABELS)
    order = rng.permutation(N_TRIALS)
    after = ev.population_statistics(frames[order], 10 * LABELS[order] + 3)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-12, err_msg=name)


def test_permuting_neurons_permutes_the_statistics(frames, rng):
    order = rng.permutation(N_NEURONS)
    before, after = (ev.population_statistics(x, LABELS) for x in (frames, frames[..., order]))
    for name in ("active neurons", "active neurons given stimulus"):
        np.testing.assert_array_equal(after[name], before[name])
    for name in ("rates", "fano factors", "active frames"):
        np.testing.assert_allclose(after[name], before[name][order])
    for name in ("noise correlations", "frame correlations", "lagged correlations"):
        np.testing.assert_allclose(np.sort(after[name]), np.sort(before[name]), atol=1e-12)
    lagged = [ev.lagged_correlations(x, LABELS, 3) for x in (frames, frames[..., order])]
    np.testing.assert_allclose(lagged[1], lagged[0][:, order][:, :, order], atol=1e-12)


def test_activity_without_time_has_fewer_statistics(frames):
    rates = frames.mean(axis=1)
    found = ev.population_statistics(rates, LABELS)
    assert not {"frame correlations", "active frames", "fano factors"} & set(found)
    more = ev.population_statistics(rates, LABELS, n_frames=N_TIME)
    in_frames = ev.population_statistics(frames, LABELS)
    for name in ("rates", "tuning", "noise correlations", "active frames", "fano factors"):
        np.testing.assert_allclose(more[name], in_frames[name], err_msg=name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ev.count_distribution(x[0, 0]), "trial, neuron"),
        (lambda x: ev.count_distribution(x[:0]), "at least one of each"),
        (lambda x: ev.count_distribution(x * 2), "in \\[0, 1\\]"),
        (lambda x: ev.count_distribution(np.where(x > 0, np.nan, 0)), "finite"),
        (lambda x: ev.condition_means(x, LABELS[:4]), "one label a trial"),
        (lambda x: ev.lagged_correlations(x, LABELS, N_TIME), "from 0 to 8"),
        (lambda x: ev.lagged_correlations(x, LABELS, -1), "from 0 to 8"),
        (lambda x: ev.autocorrelations(x.mean(axis=1), LABELS, 1), "from 0 to 0"),
        (lambda x: ev.lagged_correlations(x, np.arange(N_TRIALS), 1), "at least twice"),
        (lambda x: ev.active_frame_distribution(x.mean(axis=1)), "pass n_frames"),
        (lambda x: ev.fano_factors(x.mean(axis=1), LABELS), "pass n_frames"),
        (lambda x: ev.interval_irregularity(x.mean(axis=1)), "0 or 1"),
        (lambda x: ev.interval_irregularity(x * 0.5), "0 or 1"),
        (lambda x: ev.van_rossum_distances(x, x[..., :2], time_constant=1), "same frames"),
        (lambda x: ev.van_rossum_distances(x, time_constant=0), "positive"),
    ],
)
def test_what_does_not_fit_is_refused(frames, call, message):
    with pytest.raises(ValueError, match=message):
        call(frames)
