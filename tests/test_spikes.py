"""Spike times and their counts in bins: against other ways of counting, and at the edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex import spikes as module
from visualcortex.recording import Provenance, SpikeTrains
from visualcortex.spikes import SpikeTimes, contiguous_counts, count_spikes


def drawn(n_units=7, seed=0):
    """Return spike times of units of very different rates, some of them on a grid of 0.05 s."""
    rng = np.random.default_rng(seed)
    units = [np.sort(rng.uniform(0, 30, rng.poisson(4.0**k))) for k in range(n_units - 2)]
    on_grid = np.sort(rng.integers(0, 600, 300)) * 0.05
    return SpikeTimes.from_lists([*units, on_grid, np.empty(0)])


def searched(spikes, onsets, edges):
    """Count with numpy's searchsorted on the edges of every presentation."""
    every = np.asarray(onsets)[:, None] + edges
    counted = [np.diff(np.searchsorted(spikes.of(u), every), axis=1) for u in range(spikes.n_units)]
    return np.stack(counted, axis=-1)


ONSETS = {
    "contiguous": np.arange(40) * 0.25 + 3,
    "stretches": np.concatenate([np.arange(9) * 0.25, 12 + np.arange(9) * 0.25, [29.9]]),
    "overlapping": np.arange(60) * 0.05 + 1,
    "unsorted": np.random.default_rng(1).permutation(np.arange(40) * 0.25),
    "irregular": np.random.default_rng(2).uniform(-3, 33, 50),
    "repeated": np.array([5.0, 5.0, 7.0, 5.0]),
    "one": np.array([2.0]),
    "none": np.empty(0),
}
EDGES = {
    "even": np.linspace(0, 0.25, 6),
    "late": np.linspace(0.05, 0.3, 6),
    "before": np.linspace(-0.1, 0.4, 11),
    "one bin": np.array([0.0, 0.25]),
    "uneven": np.array([0.0, 0.001, 0.01, 0.1, 0.11, 5.0]),
}


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("onsets", ONSETS)
@pytest.mark.parametrize("block", [1, 200, 2**18])
def test_counts_are_those_of_searchsorted(onsets, edges, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    spikes = drawn()
    expected = searched(spikes, ONSETS[onsets], EDGES[edges])
    counts = count_spikes(spikes, ONSETS[onsets], EDGES[edges])
    assert counts.dtype == np.float32
    assert counts.shape == (len(ONSETS[onsets]), len(EDGES[edges]) - 1, 7)
    np.testing.assert_array_equal(counts, expected)
    assert expected.sum() > 0 or onsets == "none"


def test_counts_are_those_of_a_loop_over_spikes_and_of_histograms():
    spikes, edges = drawn(), EDGES["late"]
    onsets = ONSETS["unsorted"]
    counts = count_spikes(spikes, onsets, edges)
    for p, onset in enumerate(onsets[:8]):
        for unit in range(spikes.n_units):
            times = spikes.of(unit)
            one_by_one = [
                sum(onset + edges[b] <= t < onset + edges[b + 1] for t in times) for b in range(5)
            ]
            np.testing.assert_array_equal(counts[p, :, unit], one_by_one)
            before_end = times[times < onset + edges[-1]]  # np.histogram counts its last edge in
            expected, _ = np.histogram(before_end, onset + edges)
            np.testing.assert_array_equal(counts[p, :, unit], expected)


def test_spikes_exactly_at_edges_belong_to_the_bin_that_starts_there():
    onsets = 1000 + np.arange(50) * 0.1  # sums that are not exact in binary
    edges = np.linspace(0, 0.1, 8)
    at_edges = np.unique(onsets[:, None] + edges)
    beside = np.unique([np.nextafter(at_edges, 0), np.nextafter(at_edges, 2000)])
    spikes = SpikeTimes.from_lists([at_edges, beside])
    counts = count_spikes(spikes, onsets, edges)
    np.testing.assert_array_equal(counts, searched(spikes, onsets, edges))
    alone = count_spikes(SpikeTimes.from_lists([onsets[:1] + edges]), onsets[:1], edges)
    np.testing.assert_array_equal(alone[0, :, 0], np.ones(7))  # the last edge is outside


def test_bins_narrower_than_the_times_can_tell_apart_lose_nothing():
    onset, edges = np.array([1e9]), np.linspace(0, 1e-6, 50)  # float64 steps by 1.2e-7 there
    times = np.sort(onset + np.linspace(-1e-6, 2e-6, 26))
    spikes = SpikeTimes.from_lists([times])
    counts = count_spikes(spikes, onset, edges)
    np.testing.assert_array_equal(counts, searched(spikes, onset, edges))
    assert counts.sum() > 0


def test_finer_bins_sum_to_coarser_ones_and_units_do_not_mix():
    spikes, onsets = drawn(), ONSETS["stretches"]
    edges = np.arange(13) / 48
    fine, coarse = count_spikes(spikes, onsets, edges), count_spikes(spikes, onsets, edges[::4])
    np.testing.assert_array_equal(fine.reshape(len(onsets), 3, 4, 7).sum(axis=2), coarse)
    chosen = [4, 1]
    np.testing.assert_array_equal(
        count_spikes(spikes.select(chosen), onsets, edges), fine[:, :, chosen]
    )
    order = np.random.default_rng(0).permutation(len(onsets))
    np.testing.assert_array_equal(count_spikes(spikes, onsets[order], edges), fine[order])


@pytest.mark.parametrize(("stop", "n_bins"), [(20.0, 100), (20.05, 100), (19.99, 99), (10.3, 51)])
def test_bins_without_gaps_are_whole_and_count_every_spike_once(stop, n_bins):
    spikes = drawn()
    counts = contiguous_counts(spikes, 0.0, stop, 0.2)
    assert counts.shape == (n_bins, 7)
    expected = searched(spikes, [0.0], np.arange(n_bins + 1) * 0.2)[0]
    np.testing.assert_array_equal(counts, expected)


def test_a_width_that_divides_the_time_but_for_rounding_loses_no_bin():
    assert contiguous_counts(drawn(), 0.0, 0.3, 0.1).shape == (3, 7)
    assert contiguous_counts(drawn(), 5.0, 6.0, 0.001).shape == (1000, 7)


@pytest.mark.parametrize("times", [(0, 1, 0), (0, 1, 2), (1, 0, 0.1), (0, np.nan, 1), (0, 1, -1)])
def test_times_without_room_for_a_bin_are_refused(times):
    with pytest.raises(ValueError, match="leave room for a bin.*Choose a shorter width"):
        contiguous_counts(drawn(), *times)


def test_units_are_selected_and_cut_in_time():
    spikes = drawn()
    assert (spikes.n_units, spikes.n_spikes[-1], len(spikes.of(6))) == (7, 0, 0)
    np.testing.assert_array_equal(spikes.ends - spikes.starts, spikes.n_spikes)
    assert np.shares_memory(spikes.of(4), spikes.times)
    mask = np.array([True, False, False, True, False, False, True])
    for chosen in (mask, [0, 3, -1], np.array([0, 3, 6])):
        some = spikes.select(chosen)
        np.testing.assert_array_equal(some.of(1), spikes.of(3))
        assert some.n_units == 3
    assert spikes.select([]).n_units == 0
    part = spikes.between(10.0, 20.0)
    for unit in range(7):
        times = spikes.of(unit)
        np.testing.assert_array_equal(part.of(unit), times[(times >= 10) & (times < 20)])
    assert len(spikes.between(20.0, 10.0).times) == 0
    assert f"{len(spikes.times)} spikes of 7 units" in repr(spikes)


def test_no_units_and_no_spikes_are_counted_as_such():
    none = SpikeTimes.from_lists([])
    assert (none.n_units, len(none.starts)) == (0, 0)
    assert count_spikes(none, np.arange(3.0), np.array([0, 1.0])).shape == (3, 1, 0)
    silent = SpikeTimes.from_lists([[], []])
    np.testing.assert_array_equal(count_spikes(silent, np.arange(3.0), np.array([0, 1.0])), 0)


@pytest.mark.parametrize("unit", [-1, 7])
def test_an_unknown_unit_is_refused(unit):
    with pytest.raises(IndexError, match="from 0 to 6"):
        drawn().of(unit)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([[1.0], [1.0, np.nan]], "spike 1 of unit 1 is at nan. Drop that spike"),
        ([[], [np.inf]], "spike 0 of unit 1 is at inf"),
        ([[-np.inf, 0.0]], "spike 0 of unit 0 is at -inf"),
        ([[5.0], [], [1.0, 3.0, 2.0]], "spike 2 of unit 2 is at 2.0 s, after one at 3.0 s. Sort"),
    ],
)
def test_times_that_are_none_or_out_of_order_are_refused_by_unit(units, message):
    with pytest.raises(ValueError, match=message):
        SpikeTimes.from_lists(units)


@pytest.mark.parametrize(
    ("times", "ends", "message"),
    [
        ([1.0, 2.0], [1, 1], "up to the number of spikes, 2; got 1"),
        ([1.0, 2.0], [3, 2], "ends must grow"),
        ([1.0], [], "got 0 at the end"),
        ([[1.0]], [1], r"got \(1, 1\) and \(1,\)"),
    ],
)
def test_ends_that_do_not_fit_are_refused(times, ends, message):
    with pytest.raises(ValueError, match=message):
        SpikeTimes(np.array(times), np.array(ends))


@pytest.mark.parametrize(
    ("onsets", "edges", "message"),
    [
        ([0.0, np.nan], [0, 1.0], "onsets must be finite.*with NaN or infinity.*Drop"),
        ([[0.0]], [0, 1.0], r"got shape \(1, 1\)"),
        ([0.0], [0.0], "at least two"),
        ([0.0], [0, 1.0, 1.0], "that increase"),
        ([0.0], [0, 1.0, np.inf], "finite times"),
        ([0.0], [np.nan, 1.0], "finite times"),
    ],
)
def test_windows_that_are_none_are_refused(onsets, edges, message):
    with pytest.raises(ValueError, match=message):
        count_spikes(drawn(), np.array(onsets), np.array(edges))


def trains(**changes):
    """Return the parts of spike trains of two neurons, some of them changed."""
    attrs = {"quantity": "spike count", "units": "spikes"}
    parts = {
        "responses": xr.DataArray(np.ones((3, 2, 2)), dims=("trial", "bin", "neuron"), attrs=attrs),
        "trials": pd.DataFrame({"stimulus": [0, 1, 0], "session": 0}),
        "neurons": pd.DataFrame(index=range(2)),
        "provenance": Provenance("s", "", "", "", {}, ()),
    }
    return SpikeTrains(**(parts | changes))


def test_a_recording_carries_the_spike_times_of_its_neurons_only():
    assert trains().spikes is None
    assert trains(spikes=drawn().select([2, 3])).spikes.n_units == 2
    with pytest.raises(ValueError, match="the 2 neurons of responses; got 7.*Select the same"):
        trains(spikes=drawn())
    with pytest.raises(TypeError, match="must be SpikeTimes; got list"):
        trains(spikes=[[1.0], [2.0]])


def test_responses_that_are_no_counts_are_refused():
    for value in (0.5, -1.0):
        responses = trains().responses.copy()
        responses[2, 0, 1] = value
        with pytest.raises(ValueError, match=f"got 1 other values .smallest {min(value, 1):g}"):
            trains(responses=responses)


class TestJittered:
    """Spikes whose times are known badly."""

    def test_every_spike_moves_by_a_normal_time_of_its_own(self):
        apart = SpikeTimes.from_lists(2 * [np.arange(1.0, 4000)])
        moved = apart.jittered(0.02, 4000, np.random.default_rng(0))
        one, other = (moved.of(i) - apart.of(i) for i in (0, 1))
        assert one.std() == pytest.approx(0.02, rel=0.04)
        assert abs(one.mean()) < 0.001
        assert (one - other).std() == pytest.approx(0.02 * np.sqrt(2), rel=0.04)
        assert np.mean(np.abs(one) < 0.02) == pytest.approx(0.683, abs=0.03)

    def test_none_is_lost_at_the_ends_and_the_rate_stays(self):
        units = [np.sort(np.random.default_rng(k).uniform(0, 10, 20000)) for k in (0, 1)]
        spikes = SpikeTimes.from_lists([*units, []])
        for spread in (0.3, 50.0):
            moved = spikes.jittered(spread, 10.0, np.random.default_rng(2))
            np.testing.assert_array_equal(moved.n_spikes, spikes.n_spikes)
            assert 0 <= moved.times.min()
            assert moved.times.max() < 10
            counts = np.histogram(moved.of(0), np.linspace(0, 10, 11))[0]
            np.testing.assert_allclose(counts, 2000, rtol=0.1)

    def test_without_spread_times_stay_and_the_seed_decides(self):
        spikes = drawn()
        same = spikes.jittered(0.0, 40.0, np.random.default_rng(0))
        np.testing.assert_array_equal(same.times, spikes.times)
        one, again, other = (
            spikes.jittered(0.1, 40.0, np.random.default_rng(seed)).times for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()

    @pytest.mark.parametrize(
        ("spread", "stop", "message"),
        [(-1.0, 40.0, "spread must be"), (np.nan, 40.0, "0 or more; got nan"), (0.1, 20.0, "stop")],
    )
    def test_what_cannot_be_is_refused(self, spread, stop, message):
        with pytest.raises(ValueError, match=message):
            drawn().jittered(spread, stop, np.random.default_rng(0))
