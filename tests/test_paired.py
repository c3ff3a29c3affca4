"""Classifiers on the same trials: intervals cover, pairing narrows, and a lead by luck is seen."""

import numpy as np
import pytest

from visualcortex.evaluation import paired
from visualcortex.evaluation.intervals import Interval


def draw(rng, *accuracies, n_trials=300, n_seeds=3, alike=0.0):
    """Draw what is right, (seed, trial) of each; trials are hard or easy for all by `alike`."""
    hard = alike * rng.normal(size=n_trials)
    return {
        f"m{k}": rng.random((n_seeds, n_trials)) < np.clip(a + hard, 0, 1)
        for k, a in enumerate(accuracies)
    }


def test_the_table_has_means_and_intervals_around_them():
    correct = draw(np.random.default_rng(0), 0.9, 0.6)
    correct["one"] = correct["m0"][0]
    table = paired.accuracy_table(correct, rng=np.random.default_rng(1), n_resamples=500)
    assert list(table.index) == ["m0", "m1", "one"]
    assert list(table.columns) == ["value", "low", "high", "n_seeds"]
    assert table["n_seeds"].tolist() == [3, 3, 1]
    assert table["value"].tolist() == pytest.approx([x.mean() for x in correct.values()])
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()


def test_one_seed_has_the_interval_of_a_binomial_share():
    right = np.random.default_rng(0).random(1190) < 0.9
    table = paired.accuracy_table({"x": right}, rng=np.random.default_rng(1))
    half = (table["high"] - table["low"]).item() / 2
    assert half == pytest.approx(1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 1190), rel=0.08)


def test_resamples_are_the_means_of_the_drawn_seeds_and_trials():
    rng, twin = np.random.default_rng(3), np.random.default_rng(3)
    values = {"a": np.random.default_rng(0).random((2, 9)), "b": np.arange(9.0)[None]}
    means = paired._means_of_resamples(values, rng, 3, 40)
    drawn = paired.resampled_indices(9, 40, rng=twin, block=3)
    for x, found in zip(values.values(), means, strict=True):
        seeds = twin.integers(len(x), size=(40, len(x)))
        brute = [x[np.ix_(s, t)].mean() for s, t in zip(seeds, drawn, strict=True)]
        assert np.allclose(found, brute)


def test_draws_in_pieces_are_the_same(monkeypatch):
    correct = draw(np.random.default_rng(0), 0.9, 0.6, n_trials=50)
    whole = paired.accuracy_table(correct, rng=np.random.default_rng(1), n_resamples=90)
    monkeypatch.setattr(paired, "N_DRAWS", 1000)
    pieces = paired.accuracy_table(correct, rng=np.random.default_rng(1), n_resamples=90)
    assert np.allclose(whole, pieces)


def test_blocks_widen_the_interval_of_trials_that_come_in_runs():
    runs = np.repeat(np.random.default_rng(0).random(40) < 0.7, 20)
    widths = [
        np.ptp(paired.accuracy_table({"x": runs}, rng=np.random.default_rng(1), block=b)
               [["low", "high"]].to_numpy())
        for b in (1, 40)
    ]  # fmt: skip
    assert widths[1] > 2.5 * widths[0]


def test_intervals_cover_over_new_seeds_and_trials():
    inside = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        accuracy = 0.7 + 0.05 * rng.normal(size=(8, 1)) + 0.1 * rng.normal(size=(1, 80))
        correct = {"x": rng.random((8, 80)) < accuracy}
        row = paired.accuracy_table(correct, rng=rng, n_resamples=300).iloc[0]
        inside += row["low"] <= 0.7 <= row["high"]
    assert inside >= 0.89 * 150


def test_a_difference_on_the_same_trials_is_known_better_than_either_accuracy():
    correct = draw(np.random.default_rng(0), 0.6, 0.55, n_trials=600, n_seeds=10, alike=0.4)
    options = {"n_resamples": 800, "block": 5}
    difference = paired.paired_difference(
        correct["m0"], correct["m1"], rng=np.random.default_rng(1), **options
    )
    assert isinstance(difference, Interval)
    assert difference.value == pytest.approx(correct["m0"].mean() - correct["m1"].mean())
    table = paired.accuracy_table(correct, rng=np.random.default_rng(1), **options)
    widths = (table["high"] - table["low"]).to_numpy()
    assert difference.high - difference.low < 0.75 * np.hypot(*widths)
    assert difference.low > 0
    other = paired.paired_difference(
        correct["m1"], correct["m0"], rng=np.random.default_rng(1), **options
    )
    assert other.value == -difference.value
    same = paired.paired_difference(
        correct["m0"][0], correct["m0"][0], rng=np.random.default_rng(1), **options
    )
    assert same == Interval(0, 0, 0)


def test_differences_from_a_reference_are_those_of_pairs():
    correct = draw(np.random.default_rng(0), 0.9, 0.8, 0.7)
    table = paired.difference_table(correct, "m1", rng=np.random.default_rng(1))
    assert list(table.index) == ["m0", "m2"]
    assert table.loc["m0", "low"] > 0
    assert table.loc["m2", "high"] < 0
    assert table.loc["m2", "value"] == pytest.approx(correct["m2"].mean() - correct["m1"].mean())


def test_any_number_a_trial_will_do():
    rng = np.random.default_rng(0)
    surprise = {"a": rng.exponential(1.0, 400), "b": rng.exponential(2.0, (4, 400))}
    table = paired.accuracy_table(surprise, rng=rng)
    assert table["value"].tolist() == pytest.approx([x.mean() for x in surprise.values()])


def test_mcnemar_by_hand():
    first = np.array([1, 1, 1, 1, 1, 0, 1, 0], dtype=bool)
    second = np.array([0, 0, 0, 0, 0, 1, 1, 0], dtype=bool)
    found = paired.mcnemar(first, second)
    assert found[:2] == (5, 1)
    assert found.p == pytest.approx(2 * (6 + 1) / 64)  # 5 or more of 6, both sides
    assert paired.mcnemar(second, first).p == found.p
    assert paired.mcnemar(first, first) == (0, 0, 1.0)


def test_mcnemar_is_exact_where_both_are_equally_good():
    p = []
    for seed in range(300):
        correct = draw(np.random.default_rng(seed), 0.8, 0.8, n_trials=100, n_seeds=1)
        p.append(paired.mcnemar(*(x[0] for x in correct.values())).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(p) > 0.5


def test_the_lead_of_the_best_of_equals_is_luck():
    observed, corrected = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        correct = draw(rng, *[0.7] * 12, n_trials=150, n_seeds=1)
        best = paired.best_of(correct, rng=rng, n_resamples=200)
        assert best.observed == max(x.mean() for x in correct.values())
        assert correct[best.name].mean() == best.observed
        observed.append(best.observed)
        corrected.append(best.corrected)
    assert np.mean(observed) > 0.74
    assert abs(np.mean(corrected) - 0.7) < 0.015


def test_the_best_by_far_is_always_the_best():
    correct = draw(np.random.default_rng(0), 0.5, 0.95, 0.6)
    best = paired.best_of(correct, rng=np.random.default_rng(1), block=4, n_resamples=300)
    assert best.name == "m1"
    assert best.share == {"m0": 0, "m1": 1, "m2": 0}
    assert best.corrected == pytest.approx(best.observed, abs=0.01)


GOOD = {"a": np.ones((2, 6), dtype=bool), "b": np.zeros(6, dtype=bool)}


@pytest.mark.parametrize("compare", [
    paired.accuracy_table,
    paired.best_of,
    lambda correct, **options: paired.difference_table(correct, "a", **options),
])  # fmt: skip
@pytest.mark.parametrize(
    ("correct", "options", "message"),
    [
        ({}, {}, "got none"),
        ({**GOOD, "b": GOOD["b"][1:]}, {}, r"'b': \(5,\)"),
        ({**GOOD, "b": np.ones((2, 6, 1))}, {}, r"'b': \(2, 6, 1\)"),
        ({"a": np.ones((2, 0))}, {}, r"'a': \(2, 0\)"),
        ({**GOOD, "b": np.array([1, 0, 1, np.nan, 0, 0])}, {}, "'b': 1"),
        (GOOD, {"block": 0}, "block must be at least 1"),
        (GOOD, {"n_resamples": 0}, "one resample"),
    ],
)
def test_what_does_not_fit_is_refused(compare, correct, options, message):
    with pytest.raises(ValueError, match=message):
        compare(correct, rng=np.random.default_rng(0), **options)


def test_other_bad_input_says_what_to_do():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"one of \['a', 'b'\]; got 'c'"):
        paired.difference_table(GOOD, "c", rng=rng)
    with pytest.raises(ValueError, match="level must lie"):
        paired.accuracy_table(GOOD, rng=rng, level=95)
    with pytest.raises(ValueError, match="shorter blocks"):
        paired.best_of(GOOD, rng=rng, block=6)
    for first, second in ((GOOD["a"], GOOD["a"]), (GOOD["b"], GOOD["b"][1:]), (np.ones(6),) * 2):
        with pytest.raises(ValueError, match="Pass one seed"):
            paired.mcnemar(first, second)
