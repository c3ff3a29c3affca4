"""Splits, scores and intervals against independent oracles and closed forms."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from visualcortex import evaluation as ev


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# splits

LABELS = np.repeat([4, 1, 9], [13, 17, 20])


def test_shuffled_folds_are_stratified_and_balanced(rng):
    folds = ev.shuffled_folds(LABELS, 5, rng=rng)
    counts = np.array([[np.sum((folds == f) & (LABELS == s)) for f in range(5)] for s in (1, 4, 9)])
    assert (np.ptp(counts, axis=1) <= 1).all()
    assert np.ptp(counts.sum(axis=0)) <= 1


def test_shuffled_folds_depend_on_the_seed_only():
    draw = [ev.shuffled_folds(LABELS, 5, rng=np.random.default_rng(s)) for s in (1, 1, 2)]
    assert (draw[0] == draw[1]).all()
    assert (draw[0] != draw[2]).any()


def test_blocked_folds_are_contiguous_in_each_session():
    folds = ev.blocked_folds(LABELS, 4)
    for session in np.unique(LABELS):
        own = folds[LABELS == session]
        assert (np.diff(own) >= 0).all()
        assert set(own) == {0, 1, 2, 3}
        assert np.ptp(np.bincount(own)) <= 1


def test_blocked_folds_do_not_need_sessions_in_one_piece():
    interleaved = np.tile([0, 1], 10)
    folds = ev.blocked_folds(interleaved, 2)
    assert folds[interleaved == 0].tolist() == [0] * 5 + [1] * 5


def test_blocked_parts_cover_all_trials_once_in_order():
    parts = ev.blocked_parts(LABELS, (0.6, 0.2, 0.2))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(LABELS)))
    for session in np.unique(LABELS):
        train, validation, test = (p[LABELS[p] == session] for p in parts)
        assert train.max() < validation.min() <= validation.max() < test.min()
        assert abs(len(train) - 0.6 * np.sum(LABELS == session)) <= 1


@pytest.mark.parametrize("n_rounds", [2, 4])
def test_in_rounds_every_part_covers_the_whole_session(n_rounds):
    sessions = np.repeat([0, 1], [40, 57])
    parts = ev.blocked_parts(sessions, n_rounds=n_rounds)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(97))
    for session in (0, 1):
        members = np.flatnonzero(sessions == session)
        for part in parts:
            inside = np.intersect1d(part, members)
            stretches = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
            assert len(stretches) == n_rounds
            # the last stretch of a part begins in the last round
            assert stretches[-1][0] >= members[0] + (n_rounds - 1) * len(members) // n_rounds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: ev.shuffled_folds(LABELS, 14, rng=rng), "rarest label"),
        (lambda rng: ev.shuffled_folds(LABELS, 1, rng=rng), "between 2"),
        (lambda rng: ev.shuffled_folds(LABELS[:, None], 2, rng=rng), "one value a trial"),
        (lambda rng: ev.blocked_folds(np.array([]), 2), "one value a trial"),
        (lambda rng: ev.blocked_folds(LABELS, 14), "rarest session"),
        (lambda rng: ev.blocked_parts(LABELS, (0.5, 0.5)), "three positive"),
        (lambda rng: ev.blocked_parts(LABELS, (0.9, 0.2, 0.2)), "three positive"),
        (lambda rng: ev.blocked_parts(np.array([0, 0])), "too few"),
        (lambda rng: ev.blocked_parts(LABELS, n_rounds=9), "fewer rounds"),
        (lambda rng: ev.blocked_parts(LABELS, n_rounds=0), "n_rounds must be at least 1"),
    ],
)
def test_bad_splits_are_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)


# intervals


def test_bootstrap_mean_agrees_with_scipy(rng):
    values = rng.exponential(size=80)
    ours = ev.bootstrap_mean(values, rng=rng, n_resamples=5000)
    scipys = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", random_state=3
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=0.02)


def test_blocks_keep_what_neighbours_share(rng):
    """Oracle: the s.e. of the mean of an autoregressive series, sqrt((1 + r) / (1 - r) / n)."""
    n, r = 4000, 0.5
    noise = rng.normal(size=n) * np.sqrt(1 - r**2)
    series = np.array(list(itertools.accumulate(noise, lambda x, e: r * x + e)))
    expected = np.sqrt((1 + r) / (1 - r) / n)
    widths = {
        block: np.subtract(*ev.bootstrap_mean(series, rng=rng, block=block)[:0:-1]) / (2 * 1.96)
        for block in (1, 40)
    }
    assert widths[40] == pytest.approx(expected, rel=0.2)
    assert widths[1] < 0.7 * expected


def test_blocks_are_runs_of_neighbours_within_their_stratum(rng):
    strata = np.repeat([0, 1], [10, 15])
    indices = ev.resampled_indices(25, 50, rng=rng, strata=strata, block=5)
    assert np.array_equal(strata[indices], np.tile(strata, (50, 1)))
    steps = np.diff(indices[:, :10].reshape(50, 2, 5), axis=2) % 10
    assert (steps == 1).all()


def test_bootstrap_crossed_agrees_with_a_loop(rng):
    values, strata = rng.normal(size=(4, 9)), np.repeat([0, 1, 2], [2, 3, 4])
    balanced = [values[:, strata == k].mean() for k in range(3)]
    interval = ev.bootstrap_crossed(values, rng=rng, strata=strata, n_resamples=20_000)
    assert interval.value == pytest.approx(np.mean(balanced))
    means = []
    for _ in range(5000):
        rows = rng.integers(4, size=4)
        drawn = [rng.choice(np.flatnonzero(strata == k), np.sum(strata == k)) for k in range(3)]
        means.append(np.mean([values[np.ix_(rows, c)].mean() for c in drawn]))
    low, high = np.quantile(means, [0.025, 0.975])
    assert interval.low == pytest.approx(low, abs=0.03)
    assert interval.high == pytest.approx(high, abs=0.03)


@pytest.mark.parametrize("effects", [(1, 0), (0, 1), (1, 1)])
def test_bootstrap_crossed_covers_what_rows_and_columns_add(effects):
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        row, column = (a * rng.normal(size=n) for a, n in zip(effects, (20, 30), strict=True))
        interval = ev.bootstrap_crossed(row[:, None] + column, rng=rng, n_resamples=300)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 < hits / 300 < 0.99


def test_bootstrap_of_a_statistic_is_bootstrap_mean_for_the_mean():
    values = np.random.default_rng(0).normal(size=30)
    general = ev.bootstrap(
        lambda i: values[i].mean(), 30, rng=np.random.default_rng(5), n_resamples=400
    )
    special = ev.bootstrap_mean(values, rng=np.random.default_rng(5), n_resamples=400)
    assert general == pytest.approx(special)


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        interval = ev.bootstrap_mean(rng.normal(size=40), rng=rng, n_resamples=400)
        covered += interval.low <= 0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.98


def test_strata_are_resampled_within_themselves(rng):
    strata = np.repeat([0, 1, 2], [5, 1, 9])
    indices = ev.resampled_indices(15, 50, rng=rng, strata=strata)
    assert (strata[indices] == strata).all()
    assert len(np.unique(indices[:, 0])) > 1


def test_strata_remove_the_spread_between_them(rng):
    strata = np.repeat([0, 1], 20)
    interval = ev.bootstrap_mean(strata.astype(float), rng=rng, strata=strata)
    assert interval == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: ev.bootstrap_mean(np.array([1.0, np.nan]), rng=rng), "1 not finite"),
        (lambda rng: ev.bootstrap(lambda i: np.nan, 5, rng=rng), "0 of 1000"),
        (lambda rng: ev.bootstrap_crossed(np.ones(3), rng=rng), r"shape \(3,\) with 0 not"),
        (lambda rng: ev.bootstrap_crossed(np.full((2, 2), np.nan), rng=rng), "4 not finite"),
        (lambda rng: ev.resampled_indices(5, 2, rng=rng, strata=np.zeros(4)), "one entry a unit"),
        (lambda rng: ev.resampled_indices(0, 2, rng=rng), "at least one unit"),
        (lambda rng: ev.resampled_indices(5, 2, rng=rng, block=0), "block must be at least 1"),
    ],
)
def test_bad_intervals_are_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)


# scores


def test_rates_are_means_over_time(rng):
    activity = rng.random((6, 4, 3))
    loop = [[np.mean([activity[r, t, i] for t in range(4)]) for i in range(3)] for r in range(6)]
    assert np.allclose(ev.trial_rates(activity), loop)
    assert np.allclose(ev.mean_rates(activity), np.mean(loop, axis=0))
    assert np.array_equal(ev.trial_rates(activity[:, 0]), activity[:, 0])


def test_noise_correlations_agree_with_numpy_on_the_residuals(rng):
    stimulus = rng.integers(5, size=200) * 3
    activity = rng.normal(size=(200, 6)) + stimulus[:, None] * rng.normal(size=6)
    residual = activity.copy()
    for s in np.unique(stimulus):
        residual[stimulus == s] -= residual[stimulus == s].mean(axis=0)
    assert np.allclose(ev.noise_correlations(activity, stimulus), np.corrcoef(residual.T))


def test_noise_correlations_recover_the_truth_and_not_the_tuning(rng):
    truth = np.array([[1, 0.6, 0], [0.6, 1, -0.3], [0, -0.3, 1]])
    stimulus = np.repeat(np.arange(10), 800)
    noise = rng.multivariate_normal(np.zeros(3), truth, size=8000)
    activity = noise + 5 * rng.normal(size=(10, 3))[stimulus]
    # standard error of a correlation is at most 1/sqrt(8000)
    assert np.allclose(ev.noise_correlations(activity, stimulus), truth, atol=5 / np.sqrt(8000))


def test_correlations_of_a_silent_neuron_are_undefined(rng):
    activity = rng.random((40, 3))
    activity[:, 1] = 0.1
    correlations = ev.noise_correlations(activity, np.repeat([0, 1], 20))
    assert np.isnan(correlations[1]).all()
    assert np.isfinite(correlations[0, 2])


def test_correlation_of_correlations_uses_each_pair_once_and_skips_nan():
    first = np.array([[1, 0.1, 0.2, 0.5], [0.1, 1, 0.3, 0.4], [0.2, 0.3, 1, 0], [0.5, 0.4, 0, 1]])
    assert ev.correlation_of_correlations(first, 2 - 3 * first) == pytest.approx(-1)
    second = np.random.default_rng(0).random((4, 4))
    second[0, 1] = np.nan
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    expected = stats.pearsonr([first[p] for p in pairs], [second[p] for p in pairs])[0]
    assert ev.correlation_of_correlations(first, second) == pytest.approx(expected)


def tuned(rng, n_trials=150, n_labels=3, strength=1.0):
    labels = rng.integers(n_labels, size=n_trials)
    features = rng.normal(size=(n_trials, 12)) + strength * rng.normal(size=(n_labels, 12))[labels]
    return features, labels


def test_decoding_agrees_with_scikit_learn(rng):
    features, labels = tuned(rng, strength=0.5)
    folds = ev.shuffled_folds(labels, 5, rng=rng)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    oracle = cross_val_predict(model, features, labels, cv=PredefinedSplit(folds)) == labels
    ours = ev.decoding_correct(features, labels, folds)
    assert np.array_equal(ours, oracle)
    assert 0.4 < ours.mean() < 1


def test_decoding_does_not_see_its_test_trials(rng):
    features, labels = tuned(rng)
    folds = ev.shuffled_folds(labels, 5, rng=rng)
    before = ev.decoding_correct(features, labels, folds)
    alone = features.copy()
    # one trial of fold 0 goes wild: nothing else in that fold may move
    trial = np.flatnonzero(folds == 0)[0]
    alone[trial] = 1e6
    after = ev.decoding_correct(alone, labels, folds)
    others = (folds == 0) & (np.arange(len(labels)) != trial)
    assert np.array_equal(before[others], after[others])


def test_decoding_without_information_is_at_chance(rng):
    features = rng.normal(size=(600, 10))
    labels = np.repeat([0, 1, 2], 200)
    correct = ev.decoding_correct(features, labels, ev.shuffled_folds(labels, 5, rng=rng))
    assert abs(correct.mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 600)


def test_decoding_does_not_depend_on_the_names_of_the_labels(rng):
    features, labels = tuned(rng)
    folds = ev.blocked_folds(np.zeros(len(labels), int), 5)
    renamed = np.array([20, 7, 11])[labels]
    first, second = (ev.decoding_correct(features, x, folds) for x in (labels, renamed))
    assert np.mean(first != second) < 0.02


def test_half_of_session_is_chance_without_drift_and_high_with_it(rng):
    sessions = np.repeat(np.arange(10), 40)
    still = rng.normal(size=(400, 8))
    correct = ev.half_of_session_correct(still, sessions, n_folds=5, rng=rng)
    assert abs(correct.mean() - 0.5) < 4 * 0.5 / np.sqrt(400)
    drifting = still + 3 * np.tile(np.linspace(-1, 1, 40), 10)[:, None]
    assert ev.half_of_session_correct(drifting, sessions, n_folds=5, rng=rng).mean() > 0.9


def test_two_samples_of_one_distribution_are_not_told_apart(rng):
    a, b = rng.normal(size=(2, 300, 12))
    correct = ev.two_sample_correct(a, b, rng=rng)
    assert abs(correct.mean() - 0.5) < 4 * 0.5 / np.sqrt(600)


def test_two_samples_with_other_means_are_told_apart(rng):
    a, shifted = rng.normal(size=(400, 12)), rng.normal(size=(400, 12)) + 1
    assert ev.two_sample_correct(a, shifted, rng=rng).mean() > 0.9


def test_two_sample_test_balances_unequal_sets(rng):
    correct = ev.two_sample_correct(rng.random((30, 4)), rng.random((400, 4)), rng=rng)
    assert len(correct) == 60
    assert correct.mean() < 0.8


class TestPopulationFeatures:
    def trials(self, rng, n, shared):
        """Graded activity under two conditions, with the same marginals whatever is shared."""
        conditions = np.repeat([3, 5], n // 2)
        noise = np.sqrt(1 - shared) * rng.normal(size=(n, 10)) + np.sqrt(shared) * rng.normal(
            size=(n, 1)
        )
        return np.clip(0.5 + 0.2 * (conditions == 5)[:, None] + 0.1 * noise, 0, 1), conditions

    def told(self, rng, shared):
        fitted = ev.PopulationFeatures(n_axes=4).fit(*self.trials(rng, 300, 0.5))
        first = fitted.transform(*self.trials(rng, 400, 0.5))
        second = fitted.transform(*self.trials(rng, 400, shared))
        return ev.two_sample_correct(first, second, rng=rng).mean()

    def test_a_difference_of_correlations_alone_is_seen(self, rng):
        assert self.told(rng, 0.0) > 0.7

    def test_sets_of_one_distribution_are_not_told_apart(self, rng):
        assert abs(self.told(rng, 0.5) - 0.5) < 4 * 0.5 / np.sqrt(800)

    def test_columns_are_what_they_say(self, rng):
        frames = (rng.random((40, 6, 3)) < 0.4).astype(float)
        conditions = np.tile([0, 1], 20)
        fitted = ev.PopulationFeatures(n_axes=2).fit(frames, conditions)
        features = fitted.transform(frames, conditions)
        assert features.shape == (40, 2 * 2 + 5)
        rates = frames.mean(axis=1)
        same = rates[conditions == conditions[7]]
        z = (rates[7] - same.mean(axis=0)) / same.std(axis=0)
        assert features[7, 4] == pytest.approx(z.mean())
        assert features[7, 5] == pytest.approx(z.mean() ** 2)
        assert features[7, 7] == pytest.approx(np.log(rates[7].mean() + 0.001))
        followed = [frames[7, t + 1, i] for t in range(5) for i in range(3) if frames[7, t, i]]
        assert features[7, 8] == pytest.approx(np.mean(followed))
        assert np.allclose(features[:, :2].std(axis=0), 1)
        without_time = ev.PopulationFeatures(n_axes=2).fit(rates, conditions)
        assert without_time.transform(rates, conditions).shape == (40, 2 * 2 + 4)

    def test_the_order_of_neurons_does_not_matter(self, rng):
        activity, conditions = self.trials(rng, 60, 0.5)
        order = rng.permutation(10)
        a = ev.PopulationFeatures().fit(activity, conditions).transform(activity, conditions)
        permuted = activity[:, order]
        b = ev.PopulationFeatures().fit(permuted, conditions).transform(permuted, conditions)
        assert np.allclose(np.abs(a), np.abs(b))

    def test_bad_input_is_refused(self, rng):
        activity, conditions = self.trials(rng, 60, 0.5)
        fitted = ev.PopulationFeatures().fit(activity, conditions)
        with pytest.raises(ValueError, match=r"conditions \[9\] were not fitted"):
            fitted.transform(activity, np.full(60, 9))
        with pytest.raises(ValueError, match="60 trials of activity but 3 conditions"):
            fitted.transform(activity, [3, 5, 3])


def test_energy_distance_of_two_normals(rng):
    # one neuron, N(0, 1) and N(m, 1): 2 E|X - Y| - 2 E|X - X'|, with E|N(m, 2)| in closed form
    shift = 0.8
    mean_absolute = 2 / np.sqrt(np.pi) * np.exp(-(shift**2) / 4) + shift * (
        1 - 2 * stats.norm.cdf(-shift / np.sqrt(2))
    )
    expected = 2 * mean_absolute - 2 * 2 / np.sqrt(np.pi)
    labels = np.repeat([0, 1], 1000)
    x = rng.normal(size=(2000, 1)) + labels[:, None] * 50
    y = rng.normal(size=(2000, 1)) + shift + labels[:, None] * 50
    assert ev.energy_distance(x, y, labels, labels) == pytest.approx(expected, abs=0.06)


def test_energy_distance_is_unbiased_for_one_distribution(rng):
    labels = np.repeat(np.arange(4), 6)
    many = [
        ev.energy_distance(rng.normal(size=(24, 5)), rng.normal(size=(24, 5)), labels, labels)
        for _ in range(300)
    ]
    assert abs(np.mean(many)) < 4 * np.std(many) / np.sqrt(300)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, s: ev.trial_rates(x[0]), "trial, neuron"),
        (lambda x, s: ev.noise_correlations(x, s[:-1]), "29 stimuli"),
        (lambda x, s: ev.noise_correlations(x, np.arange(30)), "at least twice"),
        (lambda x, s: ev.correlation_of_correlations(np.eye(3), np.eye(4)), "square matrices"),
        (lambda x, s: ev.decoding_correct(x, s, s[:-1]), "one label and one fold"),
        (lambda x, s: ev.decoding_correct(x, s, s), "training set lacks"),
        (
            lambda x, s: ev.two_sample_correct(x, x[:, :2], rng=np.random.default_rng(0)),
            "same features",
        ),
        (lambda x, s: ev.energy_distance(x, x[:11], s, s[:11]), r"stimuli \[1, 2\]"),
    ],
)
def test_bad_scores_are_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.random((30, 4)), np.repeat([0, 1, 2], 10))


def test_student_interval_is_that_of_the_t_distribution_and_leaves_out_what_is_missing():
    values = np.array([0.81, 0.9, np.nan, 0.77, 0.88])
    kept = values[np.isfinite(values)]
    expected = stats.t.interval(0.9, 3, loc=kept.mean(), scale=stats.sem(kept))
    np.testing.assert_allclose(ev.student(values, 0.9), (kept.mean(), *expected))
    assert ev.student([0.5])[0] == 0.5
    assert np.isnan(ev.student([0.5])[1:]).all()
    assert np.isnan(ev.student([np.nan])).all()
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        ev.student(values, 95)
