"""Cell types from transients: the leak of cells that are learnt from and tested on, features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from visualcortex.evaluation.cell_types import (
    classify_cells,
    classify_features,
    firing_features,
    leak_table,
    machine,
    trace_features,
    transient_snippets,
)
from visualcortex.spikes import SpikeTimes


def transients(rng, n_cells=24, per_cell=15, difference=0.0):
    """Draw transients of cells of own amplitude and decay; types differ in decay by as much."""
    types = np.repeat(["E", "I"], n_cells // 2)
    amplitude = np.exp(0.4 * rng.normal(size=n_cells))
    decay = 6 * np.exp(0.3 * rng.normal(size=n_cells) + difference * (types == "I"))
    cell = np.repeat(np.arange(n_cells), per_cell)
    shape = amplitude[cell, None] * np.exp(-np.arange(12) / decay[cell, None])
    size = np.exp(0.1 * rng.normal(size=(len(cell), 1)))
    return size * shape + 0.05 * rng.normal(size=shape.shape), cell, types


def test_known_cells_are_a_leak_and_permuted_types_show_it():
    seeds = (1, 2, 3)
    tables = [
        leak_table(*transients(np.random.default_rng(s), 40, 12), seed=s, n_resamples=100)
        for s in seeds
    ]
    mean = sum(table["snippets"] for table in tables) / len(seeds)
    assert 0.4 < mean["permuted", "by cell"] < 0.58
    assert 0.35 < mean["true", "by cell"] < 0.6
    assert mean["permuted", "at random"] > 0.62
    assert mean["true", "at random"] > 0.62
    assert (tables[0]["low"] <= tables[0]["high"]).all()


def test_types_that_differ_are_told_with_cells_apart():
    snippets, cell, types = transients(np.random.default_rng(1), difference=1.5)
    scores = classify_cells(snippets, cell, types)
    assert scores.snippets.low > 0.8
    assert scores.cells.value > 0.9
    assert (scores.n_snippets, scores.n_cells) == (360, 24)
    again = classify_cells(snippets, cell, types)
    assert again.snippets == scores.snippets


def test_no_fold_of_a_grouped_split_has_part_of_a_cell():
    seen = []

    class Spy(LogisticRegression):
        def fit(self, x, y):
            seen.append(set(x[:, 0]))
            return super().fit(x, y)

        def predict(self, x):
            seen[-1] = seen[-1] & set(x[:, 0])
            return super().predict(x)

    cell = np.repeat(np.arange(10), 6)
    values = np.stack([cell, np.arange(60.0)], axis=1)  # the first feature is the cell
    types = np.array(["E", "I"] * 5)
    classify_cells(values, cell, types, classifier=Spy())
    assert [len(shared) for shared in seen] == [0] * 5
    seen.clear()
    classify_cells(values, cell, types, grouped=False, classifier=Spy())
    assert min(len(shared) for shared in seen) > 5


def test_votes_are_majorities_of_snippets():
    snippets, cell, types = transients(np.random.default_rng(4), n_cells=12, difference=0.4)
    scores = classify_cells(snippets, cell, types)
    votes = [np.mean(scores.said[cell == k] == types[k]) for k in range(12)]
    right = [1.0 if v > 0.5 else 0.5 if v == 0.5 else 0.0 for v in votes]
    expected = (np.mean(right[:6]) + np.mean(right[6:])) / 2
    assert scores.cells.value == pytest.approx(expected)


def test_snippets_are_cut_around_their_peaks():
    trace = np.zeros((3, 100))
    trace[0, [20, 60]] = 1.0, 0.5
    trace[0, 23] = 0.9  # too close to a higher one
    trace[1, [3, 50, 97]] = 1.0  # the first and last are cut off
    trace[2, 50] = 0.1
    found = transient_snippets(trace, 10.0, n_samples=10, before=4)
    assert found.cell.tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.time, [2.0, 6.0, 5.0])
    np.testing.assert_array_equal(found.values[0], trace[0, 16:26])
    assert found.values[:, 4].tolist() == [1.0, 0.5, 1.0]
    one = transient_snippets(trace, 10.0, n_samples=10, before=4, most=1)
    assert one.cell.tolist() == [0, 1]


def test_firing_of_a_clock_of_poisson_spikes_and_of_bursts():
    rng = np.random.default_rng(0)
    clock = np.arange(0, 100, 0.1)
    poisson = np.sort(rng.uniform(0, 2000, 20000))
    bursts = np.sort(np.concatenate([clock, clock + 0.004]))
    spikes = SpikeTimes.from_lists([clock, poisson, bursts, np.array([1.0])])
    found = firing_features(spikes, 100.0)
    np.testing.assert_allclose(found["cv"][:2], [0, 1], atol=0.02)
    np.testing.assert_allclose(found["cv2"][:2], [0, 1], atol=0.02)
    np.testing.assert_allclose(found["burst"][:3], [0, 1 - np.exp(-0.1), 0.5], atol=0.01)
    assert np.exp(found["log_rate"])[[0, 3]].tolist() == pytest.approx([10, 0.01])
    assert found.loc[3, ["cv", "cv2", "burst"]].isna().all()


def test_features_tell_types_that_differ_and_no_others():
    rng = np.random.default_rng(0)
    types = np.repeat(["E", "I"], [40, 15])
    rates = np.where(types == "I", 12.0, 4.0) * np.exp(0.2 * rng.normal(size=55))
    trains = [np.sort(rng.uniform(0, 60, rng.poisson(60 * rate))) for rate in rates]
    features = firing_features(SpikeTimes.from_lists(trains), 60.0)
    scores = classify_features(features, types, seed=1)
    assert scores.cells.value > 0.95
    assert scores.cells.value == scores.snippets.value
    null = [
        classify_features(features, rng.permutation(types), seed=s, n_resamples=10).cells.value
        for s in range(20)
    ]
    assert abs(np.mean(null) - 0.5) < 0.06


def test_features_of_traces():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=20000)
    wave = np.sin(2 * np.pi * np.arange(20000) / 40)  # 4 s at 10 Hz: a second is a quarter
    found = trace_features(np.stack([1 + 0.1 * noise, wave, np.exp(noise)]), 10.0)
    np.testing.assert_allclose(found["mean"][:2], [1, 0], atol=0.01)
    np.testing.assert_allclose(found["sd"][:2], [0.1, np.sqrt(0.5)], rtol=0.02)
    np.testing.assert_allclose(found["memory"], [0, 0, 0], atol=0.03)
    np.testing.assert_allclose(found["skew"][:2], [0, 0], atol=0.05)
    assert found["skew"][2] > 3
    assert found["transients"][1] == pytest.approx(0.25, rel=0.01)


def test_bad_input_is_refused():
    snippets, cell, types = transients(np.random.default_rng(0), n_cells=6, per_cell=3)
    with pytest.raises(ValueError, match="needs a cell of each type"):
        classify_cells(snippets, cell, types, n_folds=4)
    with pytest.raises(ValueError, match="snippets must be finite"):
        classify_cells(snippets, cell[:-1], types)
    with pytest.raises(ValueError, match="from 0 to the 5"):
        classify_cells(snippets, cell + 1, types)
    with pytest.raises(ValueError, match="types must be"):
        classify_cells(snippets, cell, np.array(["unknown"] * 6))
    with pytest.raises(ValueError, match="traces must be finite"):
        transient_snippets(np.zeros(5), 10.0)
    with pytest.raises(ValueError, match="before < n_samples"):
        transient_snippets(np.zeros((2, 5)), 10.0)
    with pytest.raises(ValueError, match="never changes"):
        trace_features(np.zeros((2, 50)), 10.0)
    with pytest.raises(ValueError, match="two seconds"):
        trace_features(np.zeros((2, 5)), 10.0)
    with pytest.raises(ValueError, match="duration must be"):
        firing_features(SpikeTimes.from_lists([np.ones(1)]), 0.0)
    assert machine(3.0)[-1].C == 3.0
