"""Scores of inferred spikes: brute-force loops, SciPy, closed forms and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import pearsonr

from visualcortex import evaluation


@pytest.fixture
def pair():
    """Inference and spikes of four neurons, the last two recorded for less long."""
    rng = np.random.default_rng(0)
    spikes = rng.poisson(0.3, (4, 203)).astype(float)
    inferred = spikes + rng.normal(size=spikes.shape)
    for row, length in ((2, 150), (3, 97)):
        spikes[row, length:] = inferred[row, length:] = np.nan
    return inferred, spikes


class TestCorrelations:
    @pytest.mark.parametrize("width", [1, 4])
    def test_they_are_those_of_scipy_bin_by_bin(self, pair, width):
        found = evaluation.spike_correlations(*pair, frames_per_bin=width)
        for row, value in enumerate(found):
            one = []
            for values in (x[row] for x in pair):
                known = values[: len(values) // width * width].reshape(-1, width).sum(axis=1)
                one.append(known[np.isfinite(known)])
            assert value == pytest.approx(pearsonr(*one)[0])

    def test_scale_and_offset_of_the_inference_do_not_matter(self, pair):
        inferred, spikes = pair
        first = evaluation.spike_correlations(inferred, spikes)
        scale = np.array([1e-6, 3.0, 1e6, 2.0])[:, None]
        np.testing.assert_allclose(evaluation.spike_correlations(scale * inferred, spikes), first)
        np.testing.assert_allclose(evaluation.spike_correlations(inferred + 7, spikes), first)
        np.testing.assert_allclose(evaluation.spike_correlations(-inferred, spikes), -first)

    def test_perfect_inference_is_one_and_a_constant_is_not_known(self, pair):
        spikes = pair[1]
        np.testing.assert_allclose(evaluation.spike_correlations(spikes, spikes), 1)
        constant = np.where(np.isfinite(spikes), 0.1, np.nan)
        assert np.isnan(evaluation.spike_correlations(constant, spikes)).all()

    def test_a_late_inference_peaks_at_its_lag(self, pair):
        spikes = pair[1][:2]
        late = np.roll(spikes, 3, axis=1)
        found = evaluation.lagged_spike_correlations(late, spikes, 5)
        assert found.shape == (2, 11)
        assert (found.argmax(axis=1) == 5 + 3).all()
        np.testing.assert_allclose(found.max(axis=1), 1)

    def test_lag_zero_is_the_plain_correlation_of_the_middle(self, pair):
        inferred, spikes = (x[:2] for x in pair)
        found = evaluation.lagged_spike_correlations(inferred, spikes, 4)
        middle = evaluation.spike_correlations(inferred[:, 4:-4], spikes[:, 4:-4])
        np.testing.assert_allclose(found[:, 4], middle)

    def test_turned_inference_is_at_chance_and_keeps_its_slow_changes(self):
        """Independent noise gives 0 with s.d. 1/sqrt(T); a shared slow wave does not."""
        rng = np.random.default_rng(1)
        spikes = rng.poisson(1.0, (20, 1000)).astype(float)
        found = evaluation.shifted_spike_correlations(spikes, spikes, rng=rng, n_shifts=10)
        assert found.shape == (20, 10)
        assert abs(found.mean()) < 0.01
        assert found.std() == pytest.approx(1 / np.sqrt(1000), rel=0.2)

    def test_turned_neurons_are_turned_within_their_own_length(self, pair):
        found = evaluation.shifted_spike_correlations(*pair, rng=np.random.default_rng(2))
        assert np.isfinite(found).all()

    def test_a_new_order_of_neurons_changes_nothing(self, pair):
        order = [2, 0, 3, 1]
        found = evaluation.spike_correlations(*pair)
        again = evaluation.spike_correlations(*(x[order] for x in pair))
        np.testing.assert_array_equal(again, found[order])

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((np.ones((2, 5)), np.ones((3, 5))), {}, r"got \(2, 5\) and \(3, 5\)"),
            ((np.ones(5), np.ones(5)), {}, r"\(neuron, frame\)"),
            ((np.ones((2, 5)), np.ones((2, 5))), {"frames_per_bin": 3}, "of 5 frames; got 3"),
            ((np.ones((2, 5)), np.ones((2, 5))), {"frames_per_bin": 0}, "got 0"),
        ],
    )
    def test_arrays_that_do_not_fit_are_refused(self, arguments, options, message):
        with pytest.raises(ValueError, match=message):
            evaluation.spike_correlations(*arguments, **options)

    def test_other_lags_and_shifts_are_refused(self, pair):
        for lag in (-1, 101):
            with pytest.raises(ValueError, match=f"half of the 203 bins; got {lag}"):
                evaluation.lagged_spike_correlations(*pair, lag)
        with pytest.raises(ValueError, match="1 or more; got 0"):
            evaluation.shifted_spike_correlations(*pair, rng=np.random.default_rng(0), n_shifts=0)


class TestMedian:
    def test_it_is_the_median_of_those_that_have_a_value(self):
        values = np.array([0.3, np.nan, 0.1, 0.9])
        found = evaluation.median_of_neurons(values, rng=np.random.default_rng(0))
        assert found.value == 0.3
        assert 0.1 <= found.low <= found.value <= found.high <= 0.9

    def test_no_value_is_refused(self):
        with pytest.raises(ValueError, match="every one is NaN"):
            evaluation.median_of_neurons(np.array([np.nan]), rng=np.random.default_rng(0))


class TestMatching:
    def test_as_many_are_matched_as_can_be(self):
        """The assignment problem, solved by SciPy, has the same number of pairs."""
        rng = np.random.default_rng(3)
        for _ in range(30):
            true, found = (np.sort(rng.uniform(0, 4, rng.integers(0, 12))) for _ in range(2))
            match = evaluation.match_events(true, found, tolerance=0.2)
            near = np.abs(found - true[:, None]) <= 0.2
            rows, columns = linear_sum_assignment(~near)
            assert len(match.lags) == near[rows, columns].sum()
            assert (np.abs(match.lags) <= 0.2).all()

    def test_counts_follow_from_the_pairs(self):
        match = evaluation.match_events(
            np.array([1.0, 2.0, 3.0]), np.array([1.05, 2.4]), tolerance=0.1
        )
        np.testing.assert_allclose(match.lags, [0.05])
        assert (match.n_true, match.n_found, match.n_false) == (3, 2, 1)
        assert match.sensitivity == pytest.approx(1 / 3)
        assert match.precision == pytest.approx(1 / 2)
        assert match.f1 == pytest.approx(2 / 5)
        assert match.error_rate == pytest.approx(3 / 5)

    def test_perfect_and_empty_inference(self):
        times = np.array([1.0, 2.0])
        assert evaluation.match_events(times, times, tolerance=0.0).f1 == 1
        nothing = evaluation.match_events(times, times[:0], tolerance=0.1)
        assert (nothing.f1, nothing.sensitivity) == (0, 0)
        assert np.isnan(nothing.precision)
        neither = evaluation.match_events(times[:0], times[:0], tolerance=0.1)
        assert np.isnan([neither.f1, neither.sensitivity, neither.error_rate]).all()

    def test_a_known_delay_is_taken_off(self):
        times = np.arange(5.0)
        late = evaluation.match_events(times, times + 0.3, tolerance=0.1, offset=0.28)
        np.testing.assert_allclose(late.lags, 0.02)
        assert len(evaluation.match_events(times, times + 0.3, tolerance=0.1).lags) == 0

    def test_spikes_close_to_each_other_are_one_event(self):
        starts, sizes = evaluation.group_events(
            np.array([1.0, 1.05, 1.15, 3.0, 4.0, 4.1]), within=0.1 + 1e-9
        )
        np.testing.assert_array_equal(starts, [1, 3, 4])
        np.testing.assert_array_equal(sizes, [3, 1, 2])
        assert evaluation.group_events(np.array([]), within=0.1)[1].sum() == 0

    def test_isolated_events_have_the_lag_of_the_nearest(self):
        true = np.array([1.0, 5.0, 9.0, 9.2, 15.0])
        found = np.array([0.8, 1.1, 5.45, 9.0, 14.0])
        lags = evaluation.isolated_lags(true, found, silence=1.0, window=0.5)
        np.testing.assert_allclose(lags, [0.1, 0.45, np.nan])
        none = evaluation.isolated_lags(true, found[:0], silence=1.0, window=0.5)
        assert np.isnan(none).all()
        assert len(none) == 3

    def test_onsets_are_the_first_frames_above(self):
        inferred, time = np.array([1.0, 2, 0, 0.4, np.nan, 3, 3, 0]), np.arange(8) / 10
        found = evaluation.activity_onsets(inferred, time)
        np.testing.assert_allclose(found, [0, 0.3, 0.5])
        np.testing.assert_allclose(evaluation.activity_onsets(inferred, time, 1.5), [0.1, 0.5])

    @pytest.mark.parametrize(
        ("function", "arguments", "options", "message"),
        [
            ("match_events", ([2.0, 1.0], [1.0]), {"tolerance": 1}, "true must be finite times"),
            ("match_events", ([1.0], [np.nan]), {"tolerance": 1}, "found must be finite times"),
            ("match_events", ([1.0], [1.0]), {"tolerance": -1}, "0 s or more; got -1"),
            ("match_events", ([1.0], [1.0]), {"tolerance": np.nan}, "got nan"),
            ("group_events", ([[1.0]],), {"within": 1}, r"got an array of shape \(1, 1\)"),
            ("isolated_lags", ([1.0], [1.0]), {"silence": 1, "window": 0.6}, "half of silence"),
            ("isolated_lags", ([1.0], [1.0]), {"silence": 1, "window": 0}, "above 0"),
            ("activity_onsets", ([1.0, 2.0], [1.0]), {}, r"got \(2,\) and \(1,\)"),
        ],
    )
    def test_times_that_do_not_fit_are_refused(self, function, arguments, options, message):
        arguments = [np.array(x) for x in arguments]
        with pytest.raises(ValueError, match=message):
            getattr(evaluation, function)(*arguments, **options)
