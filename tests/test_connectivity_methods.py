"""Methods that look for wiring, all with one interface: closed forms, oracles and known wiring."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import correlate1d
from scipy.stats import chi2, norm
from sklearn.base import clone

from visualcortex.connectivity import (
    CorrelogramPeaks,
    CouplingFilters,
    LaggedCorrelation,
    PartialCorrelation,
    TransferEntropy,
    WhitenedPrecision,
    lagged_correlation,
    observed_binned,
    observed_bins,
    partial_correlation,
    source_signs,
    synapse_auroc,
)
from visualcortex.connectivity.coupling_filters import (
    AGES,
    FAR,
    _Couplings,
    _normal_deviate,
    raised_cosines,
)
from visualcortex.connectivity.precision import (
    FILTERS,
    NORMAL,
    _quiet_first,
    principal_partial_correlation,
)
from visualcortex.connectivity.transfer_entropy import corrected_transfer_entropy, joint_counts
from visualcortex.simulators.wired_network import WiredNetwork
from visualcortex.sources.naixinren import read_naixinren
from visualcortex.sources.spycon import read_spycon
from visualcortex.spikes import SpikeTimes


@pytest.fixture
def rng():
    return np.random.default_rng(0)


ALL = (
    CorrelogramPeaks(),
    CouplingFilters(background=None),
    TransferEntropy(),
    PartialCorrelation(),
    LaggedCorrelation(step=0.003),
)


def driven(rng, n_bins=60_000, delay=2, gain=0.3):
    """Return counts of three neurons; 0 makes 1 fire `delay` bins later, and 2 is alone."""
    counts = (rng.random((n_bins, 3)) < 0.02).astype(np.float32)
    counts[delay:, 1] += (rng.random(n_bins - delay) < gain) * counts[:-delay, 0]
    return np.minimum(counts, 1)


@pytest.fixture(scope="module")
def network():
    return WiredNetwork(n_neurons=12, duration=120.0, density=0.2, strength=2.0).simulate(1)


class TestWhatIsObserved:
    def test_spikes_are_counted_in_bins(self):
        spikes = SpikeTimes.from_lists([[0.05, 0.25, 0.26], [0.1]])
        assert observed_bins(spikes, 0.1).T.tolist() == [[1, 0, 2], [0, 1, 0]]
        assert observed_bins(spikes, 0.1, 0.1, 0.35).T.tolist() == [[0, 2], [1, 0]]
        assert observed_bins(spikes, 0.1, stop=1.0).shape == (10, 2)
        assert observed_bins(spikes, 0.1).dtype == np.float32

    def test_rows_of_an_array_are_cut_out(self):
        array = np.arange(20.0).reshape(10, 2)
        np.testing.assert_array_equal(observed_bins(array, 0.033, 0.066, 0.31), array[2:9])
        np.testing.assert_array_equal(observed_bins(array, 0.1, stop=0.3), array[:3])

    def test_lists_of_spikes_are_those_of_the_bins(self, rng):
        counts = rng.poisson(0.3, (200, 3))
        times = [np.repeat(np.arange(200) + 0.5, counts[:, i]) * 0.01 for i in range(3)]
        spikes = SpikeTimes.from_lists(times)
        for activity in (counts, spikes):
            listed = observed_binned(activity, 0.01, 0.2, 1.9)
            again = np.zeros((listed.n_bins, 3))
            np.add.at(again, (listed.bin, listed.neuron), 1)
            np.testing.assert_array_equal(again, counts[20:190])

    @pytest.mark.parametrize(
        ("activity", "settings", "message"),
        [
            (np.ones((4, 2)), dict(step=0.0), "step must be"),
            (np.ones((4, 2)), dict(step=1.0, stop=5.0), "stop must be at most 4 s"),
            (np.ones((4, 2)), dict(step=1.0, start=-1.0), "from 0 on"),
            (np.ones((4, 2)), dict(step=1.0, start=3.5), "leave room for a bin"),
            (np.ones((4, 1)), dict(step=1.0), "two neurons or more"),
            (np.ones((2, 4, 2)), dict(step=1.0), "got shape .2, 4, 2."),
            (np.full((4, 2), np.nan), dict(step=1.0), "must be finite"),
            (SpikeTimes.from_lists([[0.1]]), dict(step=1.0), "two neurons"),
            (SpikeTimes.from_lists([[0.1], []]), dict(step=0.1, stop=np.nan), "leave room"),
        ],
    )
    def test_other_things_are_refused(self, activity, settings, message):
        with pytest.raises(ValueError, match=message):
            observed_bins(activity, **settings)

    def test_rates_are_not_spikes(self):
        with pytest.raises(ValueError, match="must be counts"):
            observed_binned(np.full((4, 2), 0.5), 1.0)


class TestAllMethods:
    @pytest.mark.parametrize("method", ALL, ids=lambda m: type(m).__name__)
    def test_known_wiring_is_found_and_neurons_have_no_order(self, network, method):
        weights = network.truth.weights
        found = clone(method).fit(network.spikes, stop=120.0).scores_
        assert synapse_auroc(found, weights) > 0.85
        assert synapse_auroc(found, weights) > synapse_auroc(found.T, weights) + 0.1
        assert np.isnan(np.diagonal(found)).all()
        order = np.random.default_rng(0).permutation(12)
        other = clone(method).fit(network.spikes.select(order), stop=120.0).scores_
        rtol = 0.02 if isinstance(method, CouplingFilters) else 1e-6
        expected = found[np.ix_(order, order)]
        np.testing.assert_allclose(other, expected, rtol=rtol, atol=50 * rtol * 1e-3)

    @pytest.mark.parametrize("method", ALL, ids=lambda m: type(m).__name__)
    def test_counts_are_as_good_as_spikes(self, network, method):
        method = clone(method)
        counts = observed_bins(network.spikes, method.step, stop=30.0)
        from_counts = method.fit(counts, start=0.9).scores_
        from_spikes = clone(method).fit(network.spikes, start=0.9, stop=30.0).scores_
        np.testing.assert_allclose(from_counts, from_spikes, rtol=1e-6, atol=1e-9)

    def test_signs_of_sources_are_those_of_their_largest_scores(self):
        scores = np.array([[9.0, 3, -1], [-2, np.nan, 1], [0, 0, -5]])
        assert source_signs(scores).tolist() == [1, -1, 1]


class TestCorrelogramPeaks:
    def test_z_is_that_of_sums_counted_by_hand(self, rng):
        counts = rng.poisson(0.2, (400, 2))
        found = CorrelogramPeaks(step=0.001, width=2, shortest=0.001, longest=0.003).fit(counts)
        x, y = counts[:, 0], counts[:, 1]
        lags = np.arange(-60, 61)
        raw = [sum(x[t] * y[t + k] for t in range(max(0, -k), min(400, 400 - k))) for k in lags]
        raw = np.array(raw, float)
        z = []
        for lag in (1, 2, 3):
            bell = [np.exp(-0.5 * (np.arange(-60, 61) - k) ** 2 / 16) for k in (lag, lag + 1)]
            bell = [
                np.where(np.abs(lags - k) <= 16, b, 0)
                for b, k in zip(bell, (lag, lag + 1), strict=True)
            ]
            expected = sum(raw @ b / b.sum() for b in bell)
            z.append((raw[60 + lag] + raw[61 + lag] - expected) / np.sqrt(expected))
        at = np.abs(z).argmax()
        assert found.scores_[0, 1] == pytest.approx(z[at])
        assert found.delays_[0, 1] == pytest.approx((at + 1.5) * 0.001)

    @pytest.mark.parametrize("null", ["gaussian", "jitter"])
    def test_a_synapse_has_its_delay_weight_and_direction(self, rng, null):
        counts = driven(rng, delay=3)
        found = CorrelogramPeaks(step=0.001, width=1, null=null, longest=0.008).fit(counts)
        assert found.scores_[0, 1] > 20 > 5 > np.nanmax(np.abs(found.scores_[[1, 2]]))
        assert found.delays_[0, 1] == pytest.approx(0.003)
        assert found.weights_[0, 1] == pytest.approx(0.3 * 0.98, abs=0.04)
        assert found.signs_[0] == 1

    def test_jitter_takes_off_its_exact_expectation(self):
        counts = np.zeros((20, 2))
        counts[3, 0] = counts[5, 1] = 1  # in one window of 10: coincide at a lag 2 in 8 of 100
        settings = dict(step=0.001, width=1, shortest=0.002, longest=0.002, null="jitter")
        found = CorrelogramPeaks(**settings).fit(counts)
        assert found.scores_[0, 1] == pytest.approx((1 - 0.08) / np.sqrt(0.08))
        assert found.scores_[1, 0] == pytest.approx(-np.sqrt(0.08))

    def test_neurons_that_never_meet_have_no_score(self):
        counts = np.zeros((1000, 2))
        counts[0, 0] = counts[-1, 1] = 1
        assert CorrelogramPeaks(step=0.001).fit(counts).scores_[0, 1] == 0

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (dict(null="shuffle"), "gaussian, jitter"),
            (dict(width=0), "width must be"),
            (dict(shortest=0.0), "lags must be above 0"),
            (dict(longest=0.0001), "in order"),
            (dict(null="jitter", window=100.0), "hold a window"),
        ],
    )
    def test_bad_settings_are_refused(self, rng, settings, message):
        with pytest.raises(ValueError, match=message):
            CorrelogramPeaks(**settings).fit(driven(rng, 500))


class TestCouplingFilters:
    def test_raised_cosines_are_bumps_at_their_centres(self):
        basis = raised_cosines(30, 4)
        gap = (np.log(32) - np.log(2)) / 5
        peaks = np.exp(np.log(2) + gap * np.arange(4)) - 1
        assert np.abs(basis.argmax(axis=0) + 1 - peaks).max() < 1
        assert basis.min() >= 0
        np.testing.assert_allclose(basis[:2].sum(axis=1)[0], 1.5)  # half of the next bump
        np.testing.assert_array_equal(raised_cosines(3, 3), np.eye(3))

    def test_loss_and_slope_are_those_of_a_plain_loop(self, rng):
        counts = (rng.random((300, 3)) < 0.1).astype(int)
        basis = raised_cosines(6, 2)
        problem = _Couplings(observed_binned(counts, 0.001), basis, None)
        filters = 0.3 * rng.standard_normal((3, 2, 3))
        filters[np.arange(3), :, np.arange(3)] = 0
        point = problem.evaluate(filters, np.zeros(3))
        assert problem.n_bins == 300

        def loss(filters):
            return [plain_loss(counts, basis, problem.basis, filters, j) for j in range(3)]

        np.testing.assert_allclose(point.loss, loss(filters), rtol=1e-5)
        step = 1e-5
        for i, k, j in itertools.product(range(3), range(2), range(3)):
            if i != j:
                moved = filters.copy()
                moved[i, k, j] += step
                slope = (
                    plain_loss(counts, basis, problem.basis, moved, j) - loss(filters)[j]
                ) / step
                assert point.gradient[i, k, j] == pytest.approx(slope, abs=2e-3)

    def test_the_solution_meets_its_optimality_conditions(self, network):
        spikes = observed_binned(network.spikes, 0.001, 0.0, 60.0)
        problem = _Couplings(spikes, raised_cosines(10, 3), 30.0)
        model = CouplingFilters(n_basis=3, longest=0.01, tolerance=0.01)
        model.n_steps_ = 0
        point = model._minimise(problem, problem.start(), np.full(12, 1.2))
        slope = np.sqrt((point.gradient**2).sum(axis=1))
        error = np.sqrt(problem.n_spikes)
        penalty = 1.2 * np.sqrt(3) * error
        size = np.sqrt((point.filters**2).sum(axis=1, keepdims=True))
        some = size[:, 0] > 0
        np.fill_diagonal(some, False)
        assert 20 < some.sum() < 110
        assert ((slope - penalty) / error)[~some].max() < 0.02
        pulled = point.gradient + penalty * point.filters / np.maximum(size, 1e-12)
        assert np.abs(pulled / error).max(axis=1)[some].max() < 0.15
        assert np.abs(point.slow_step * error).max() < 0.05

    def test_it_agrees_with_a_slow_solver(self, rng):
        counts = driven(rng, 8000, gain=0.4)
        model = CouplingFilters(
            n_basis=2, longest=0.004, penalty=1.5, background=None, tolerance=0.01
        ).fit(counts)
        problem = _Couplings(observed_binned(counts, 0.001), raised_cosines(4, 2), None)
        filters = slow_group_lasso(problem, 1.5, 400)
        np.testing.assert_allclose(model.filters_, problem.in_time(filters), atol=0.01)
        assert model.weights_[0, 1] > 1
        assert (model.weights_[[1, 2], 0] == 0).all()

    def test_a_synapse_has_its_size_and_delay(self, rng):
        """Lags as a basis of their own: the filter is the log of the ratio of rates."""
        counts = driven(rng, 200_000, delay=2, gain=0.3)
        settings = dict(n_basis=4, longest=0.004, penalty=0.01, background=None)
        found = CouplingFilters(**settings).fit(counts)
        expected = np.log((0.3 * 0.98 + 0.02) / 0.02)
        assert found.filters_[0, 1, 1] == pytest.approx(expected, abs=0.1)
        assert found.delays_[0, 1] == pytest.approx(0.002)
        # constants follow spikes of its own: no effect, so all near the rate
        assert np.exp(found.history_[-1, 2]) == pytest.approx(0.02, rel=0.05)
        assert found.history_.shape == (len(AGES) + 1, 3)

    def test_scores_without_synapses_are_normal(self, rng):
        counts = (rng.random((100_000, 15)) < 0.01).astype(np.float32)
        model = CouplingFilters(background=None).fit(counts)
        assert np.nanstd(model.scores_) == pytest.approx(1, abs=0.12)
        assert np.nanmean(np.abs(model.scores_) > 1.96) == pytest.approx(0.05, abs=0.045)

    @pytest.mark.parametrize("n_basis", [1, 4, 9])
    def test_deviates_are_as_improbable_even_where_numbers_end(self, n_basis):
        values = np.array([0.5, 4.0, 80.0, FAR - 1e-3, FAR + 1e-3, 5e4, 5e6])
        found = _normal_deviate(values, n_basis)
        expected = norm.isf(chi2.sf(values[:3], n_basis) / 2)
        np.testing.assert_allclose(found[:3], expected, rtol=1e-6)
        assert found[4] == pytest.approx(found[3], abs=1e-3)
        assert (np.diff(found) > 0).all()
        assert found[-1] == pytest.approx(np.sqrt(5e6), rel=1e-3)

    def test_background_takes_shared_input_for_what_it_is(self):
        shared = WiredNetwork(n_neurons=15, duration=100.0, strength=0.0, shared=2.5).simulate(1)
        with_it, without = (
            CouplingFilters(background=b).fit(shared.spikes, stop=100.0) for b in (0.05, None)
        )
        assert np.nanmean(without.scores_) > 2 * np.nanmean(with_it.scores_) > 0
        assert (with_it.slow_ > 0).mean() > 0.8
        assert (without.slow_ == 0).all()

    def test_the_criterion_keeps_fewer_filters_where_there_is_nothing(self, rng):
        noise = (rng.random((30_000, 5)) < 0.02).astype(np.float32)
        model = CouplingFilters(penalty="bic", background=None).fit(noise)
        assert np.nan_to_num(model.weights_).astype(bool).mean() < 0.1
        assert set(model.penalties_) <= {3.0, 2.2, 1.7, 1.3, 1.0}
        linked = CouplingFilters(penalty="bic", background=None).fit(driven(rng, 30_000))
        assert linked.weights_[0, 1] > 0.5

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (dict(n_basis=0), "n_basis must be"),
            (dict(n_basis=99), "n_basis must be"),
            (dict(penalty=0.0), "penalty must be"),
            (dict(penalty="aic"), "penalty must be"),
            (dict(background=1e-9), "background must be"),
            (dict(tolerance=0.0), "tolerance must be"),
        ],
    )
    def test_bad_settings_are_refused(self, rng, settings, message):
        with pytest.raises(ValueError, match=message):
            CouplingFilters(**settings).fit(driven(rng, 500))

    def test_silent_neurons_are_refused(self, rng):
        counts = driven(rng, 500)
        counts[:, 1] = 0
        with pytest.raises(ValueError, match="neuron 1 has none"):
            CouplingFilters().fit(counts)


def plain_loss(counts, basis, whitened, filters, j):
    """Return the negative log-likelihood of one target, constants at their best, in float64."""
    n_bins, n = counts.shape
    drive, ages = np.zeros(n_bins), np.zeros(n_bins, int)
    since = AGES[-1] + 1
    for t in range(n_bins):
        for i in range(n):
            for lag in range(1, len(basis) + 1):
                if t >= lag and counts[t - lag, i]:
                    drive[t] += whitened[i, lag - 1] @ filters[i, :, j]
        ages[t] = np.searchsorted(AGES, since)
        since = 1 if counts[t, j] else since + 1
    total = 0.0
    for k in range(len(AGES) + 1):
        now = ages == k
        n_spikes = counts[now, j].sum()
        expected, assumed = np.exp(drive[now]).sum(), max(n_spikes, 0.5)
        if now.any():
            constant = np.log(assumed / expected)
            total += assumed - n_spikes * constant - (drive[now] * counts[now, j]).sum()
        else:
            total += assumed  # nothing to explain
    return total


def slow_group_lasso(problem, penalty, n_steps):
    """Return filters by plain proximal gradients of a short step."""
    filters = np.zeros((problem.n, problem.n_basis, problem.n))
    step = 0.15 / problem.n_spikes
    threshold = step * penalty * np.sqrt(problem.n_basis * problem.n_spikes)
    for _ in range(n_steps):
        moved = filters - step * problem.evaluate(filters, np.zeros(problem.n)).gradient
        size = np.sqrt((moved**2).sum(axis=1, keepdims=True))
        filters = moved * np.maximum(0, 1 - threshold / np.maximum(size, 1e-12))
    return filters


class TestTransferEntropy:
    def test_it_is_that_of_a_plain_count_of_words(self, rng):
        counts = driven(rng, 400, delay=1)
        found = TransferEntropy(step=1.0, delays=(1, 3), own=2, others=2).fit(counts)
        plain = [plain_transfer_entropy(counts, 0, 1, d, 2, 2, 4) for d in (1, 2, 3)]
        assert found.information_[0, 1] == pytest.approx(max(plain))
        assert found.delays_[0, 1] == 1 + np.argmax(plain)
        assert found.scores_[0, 1] == max(0, found.information_[0, 1])

    def test_a_copy_with_errors_has_the_closed_form(self, rng):
        """The target repeats the source of the bin before, wrongly in one case of ten."""
        n = 200_000
        source = rng.random(n) < 0.5
        target = np.r_[False, source[:-1]] ^ (rng.random(n) < 0.1)
        both = np.stack([source, target], axis=1).astype(np.float32)
        found = TransferEntropy(step=1.0, delays=(1, 1), own=1, others=1).fit(both)
        entropy = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
        assert found.scores_[0, 1] == pytest.approx(1 - entropy, abs=0.004)
        assert found.scores_[1, 0] < 1e-4

    def test_the_correction_leaves_nothing_on_average(self, rng):
        counts = (rng.random((3000, 20)) < 0.3).astype(np.float32)
        settings = dict(step=1.0, delays=(1, 1), own=2, others=2)
        found = TransferEntropy(**settings).fit(counts).information_
        n_free = (2**2 - 1) * 2**2  # of the next symbol, at each past
        bias = n_free / (2 * 2998 * np.log(2))
        assert abs(np.nanmean(found)) < 0.06 * bias
        assert np.nanstd(found) == pytest.approx(bias * np.sqrt(2 / n_free), rel=0.15)

    def test_bins_that_do_not_count_are_left_out(self, rng):
        counts = driven(rng, 2000, delay=1)
        loud = rng.random(2000) < 0.3
        counts[loud] = rng.random((loud.sum(), 3)) < 0.8
        settings = dict(step=1.0, delays=(1, 1), own=1, others=1)
        quiet = TransferEntropy(**settings, quietest=0.6).fit(counts)
        mean = counts.mean(axis=1)
        kept = np.flatnonzero(mean[1:] <= np.quantile(mean[1:], 0.6)) + 1
        codes = counts[kept, 1] * 1 + counts[kept - 1, 1] * 2, counts[kept - 1, 0]
        target, source = (np.stack([c] * 2, axis=1).astype(np.uint8) for c in codes)
        words = joint_counts(target, source, 4, 2)[:1, :1].reshape(1, 1, 2, 2, 2)
        assert quiet.information_[0, 1] == pytest.approx(corrected_transfer_entropy(words)[0, 0])

    def test_traces_in_the_same_frame(self, rng):
        """Only the same-bin version sees what happens within a frame."""
        events = (rng.random((4000, 3)) < 0.1).astype(float)
        events[:, 1] = np.maximum(events[:, 1], events[:, 0] * (rng.random(4000) < 0.6))
        traces = np.zeros_like(events)
        for t in range(1, 4000):
            traces[t] = 0.9 * traces[t - 1] + events[t]
        traces += 0.05 * rng.standard_normal(traces.shape)
        settings = dict(step=0.03, own=2, others=2, levels=2, differences=True)
        same = TransferEntropy(delays=(0, 0), **settings).fit(traces).scores_
        later = TransferEntropy(delays=(1, 1), **settings).fit(traces).scores_
        assert same[0, 1] > 0.05 > 10 * later[0, 1]
        assert same[0, 2] < 0.005
        scaled = TransferEntropy(delays=(0, 0), **settings).fit(7 * traces + 3).scores_
        np.testing.assert_allclose(scaled, same, atol=1e-3)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (dict(delays=(2, 1)), "delays must be"),
            (dict(own=0), "own and others"),
            (dict(levels=1), "levels must be"),
            (dict(own=9), "Choose shorter words"),
            (dict(floor=1.0), "floor must be"),
            (dict(quietest=0.0), "quietest above 0"),
            (dict(delays=(1, 600)), "Record for longer"),
        ],
    )
    def test_bad_settings_are_refused(self, rng, settings, message):
        with pytest.raises(ValueError, match=message):
            TransferEntropy(**settings).fit(driven(rng, 500))

    def test_traces_need_symbols(self, rng):
        with pytest.raises(ValueError, match="differences=True"):
            TransferEntropy(step=0.03).fit(rng.random((100, 2)))


def plain_transfer_entropy(counts, source, target, delay, own, others, first):
    """Return the corrected sum over words, counted one by one in dictionaries."""
    words = []
    for t in range(max(own, delay + others - 1), len(counts)):
        past = tuple(counts[t - k, target] for k in range(1, own + 1))
        other = tuple(counts[t - delay - k, source] for k in range(others))
        words.append((counts[t, target], past, other))
    # the same bins for all delays: the longest one is 3
    words = words[len(words) - (len(counts) - first) :]

    def entropy(parts):
        _, n = np.unique([repr(part) for part in parts], return_counts=True)
        p = n / n.sum()
        return -(p * np.log2(p)).sum() + (len(n) - 1) / (2 * n.sum() * np.log(2))

    return (
        entropy([(x, p) for x, p, _ in words])
        - entropy([p for _, p, _ in words])
        - entropy(words)
        + entropy([(p, s) for _, p, s in words])
    )


class TestPrecision:
    def test_correlations_are_those_of_the_functions(self, rng):
        traces = rng.standard_normal((300, 4)).cumsum(axis=0).astype(np.float32)
        decayed = traces[1:] - np.float32(np.exp(-0.1 / 0.5)) * traces[:-1]
        lagged = LaggedCorrelation(step=0.1, lag=2, decay=0.5).fit(traces).scores_
        np.testing.assert_allclose(lagged, lagged_correlation(decayed, 2))
        partial = PartialCorrelation(step=0.1, lag=0, shrinkage=0.1).fit(traces).scores_
        np.testing.assert_allclose(partial, partial_correlation(traces, shrinkage=0.1))
        with pytest.raises(ValueError, match="decay must be"):
            PartialCorrelation(decay=-1.0).fit(traces)

    def test_all_components_give_the_plain_partial_correlation(self, rng):
        values = rng.standard_normal((500, 5)) @ rng.standard_normal((5, 5))
        found = principal_partial_correlation(values, 1.0)
        plain = partial_correlation(values, shrinkage=0.0)
        others = ~np.eye(5, dtype=bool)
        np.testing.assert_allclose(found[others], plain[others], rtol=1e-6)
        np.testing.assert_allclose(np.diagonal(found), -1)

    def test_a_chain_is_found_and_not_its_ends(self, rng):
        """Of a -> b -> c with noise of variance 1, P is [[2, -1, 0], [-1, 2, -1], [0, -1, 1]]."""
        noise = rng.standard_normal((50_000, 3))
        chain = np.stack([noise[:, 0], noise[:, 0] + noise[:, 1], noise.sum(axis=1)], axis=1)
        found = principal_partial_correlation(chain, 1.0)
        assert found[0, 1] == pytest.approx(0.5, abs=0.02)
        assert found[1, 2] == pytest.approx(np.sqrt(0.5), abs=0.02)
        assert abs(found[0, 2]) < 0.02

    def test_neurons_that_never_change_have_none(self, rng):
        values = rng.standard_normal((50, 3))
        values[:, 1] = 4
        found = principal_partial_correlation(values, 1.0)
        assert (found[1, [0, 2]] == 0).all()
        assert found[0, 2] != 0

    def test_it_is_the_published_steps_one_by_one(self, rng):
        traces = rng.random((200, 4)).astype(np.float32)
        found = WhitenedPrecision(thresholds=(0.3,), noise=None, directivity=0.2, rise=(0.1, 0.6))
        scores = found.fit(traces).scores_
        total, says = np.zeros((4, 4)), 0.0
        for kernel, say in FILTERS:
            smooth = correlate1d(traces, np.float32(kernel), axis=0, mode="nearest")
            rises = np.diff(smooth, axis=0)
            events = np.where(rises >= 0.3, rises, 0)
            total += say * principal_partial_correlation(_quiet_first(events), 0.8)
            says += say
            if says == 1:
                z = np.zeros((4, 4))
                for i, j in itertools.product(range(4), repeat=2):
                    rise = events[1:, j] - events[:-1, i]
                    z[i, j] = ((rise >= np.float32(0.1)) & (rise <= 0.6)).sum()
                z -= z.T
        expected = 0.8 * total / says + 0.2 * z / np.abs(z).max()
        np.fill_diagonal(expected, np.nan)
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)

    def test_events_weigh_less_in_company(self):
        events = np.array([[0.5, 0, 0], [0.5, 0.5, 0], [0, 0, 0]], np.float32)
        weighted = _quiet_first(events)
        np.testing.assert_allclose(weighted[0], [1.5 ** (1 + 2), 1, 1])
        np.testing.assert_allclose(weighted[1], [1.5 ** (1 + 1), 1.5**2, 1])
        assert (weighted[2] == 1).all()

    def test_the_unit_of_a_trace_does_not_matter(self, rng):
        traces = (rng.random((2000, 5)) < 0.05).cumsum(axis=0) + 0.1 * rng.random((2000, 5))
        first = WhitenedPrecision().fit(traces).scores_
        other = WhitenedPrecision().fit(traces * np.array([1, 2, 5, 0.1, 9]) + 4).scores_
        np.testing.assert_allclose(other, first, atol=2e-3)
        assert NORMAL == pytest.approx(1 / 0.6745, rel=1e-3)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (dict(thresholds=()), "thresholds must be"),
            (dict(thresholds=(0.0,)), "thresholds must be"),
            (dict(noise=-1.0), "noise above 0"),
            (dict(share=0.0), "share must be"),
            (dict(directivity=1.0), "directivity from 0"),
        ],
    )
    def test_bad_settings_are_refused(self, rng, settings, message):
        with pytest.raises(ValueError, match=message):
            WhitenedPrecision(**settings).fit(rng.random((100, 3)))

    def test_traces_without_noise_have_no_scale(self):
        with pytest.raises(ValueError, match="neuron 0 has none"):
            WhitenedPrecision().fit(np.eye(50))


class TestTheRealFiles:
    """The measured figures of the correlogram peaks hold."""

    @pytest.mark.parametrize(
        ("reader", "name"),
        [
            (read_naixinren, "naixinren_sim/lif20.mat"),
            (read_spycon, "spycon/sim1917Cell1Block1_tiny.npz"),
        ],
    )
    def test_peaks_find_the_wiring(self, real_data, reader, name):
        read = reader(Path(real_data(name)))
        found = CorrelogramPeaks().fit(read.spikes, stop=read.truth.duration)
        assert synapse_auroc(found.scores_, read.truth.weights) >= 0.97
        assert synapse_auroc(found.scores_.T, read.truth.weights) < 0.75
