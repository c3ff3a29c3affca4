"""Scores of candidate wirings: scikit-learn as oracle, counts by hand, what chance is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from visualcortex.connectivity import (
    bootstrap_neurons,
    dale_accuracy,
    density,
    direction_accuracy,
    edge_correlation,
    edge_jaccard,
    permute_neurons,
    score_wiring,
    sign_accuracy,
    synapse_auprc,
    synapse_auroc,
)

NONE = np.nan


def network(rng, n=30, density=0.2, noise=1.0):
    """Draw synapses of neurons of two types, and scores that tell them by and large."""
    weights = rng.gamma(4, 0.25, (n, n)) * (rng.random((n, n)) < density)
    weights[n // 2 :] *= -1
    np.fill_diagonal(weights, 0)
    scores = weights + noise * rng.normal(size=(n, n))
    np.fill_diagonal(scores, NONE)
    return scores, weights


@pytest.fixture
def drawn():
    return network(np.random.default_rng(0))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", ["any", "excitatory", "inhibitory"])
def test_areas_are_those_of_scikit_learn(drawn, kind, ties):
    scores, weights = drawn
    scores = np.round(scores) if ties else scores
    scores[3, 5:9] = NONE  # pairs that are not known
    used = np.isfinite(scores)
    sign = {"any": 1, "excitatory": 1, "inhibitory": -1}[kind]
    if kind != "any":
        used &= sign * weights >= 0
    values = np.abs(scores[used]) if kind == "any" else sign * scores[used]
    linked = weights[used] != 0
    assert synapse_auroc(scores, weights, kind) == pytest.approx(roc_auc_score(linked, values))
    assert synapse_auprc(scores, weights, kind) == pytest.approx(
        average_precision_score(linked, values)
    )
    assert density(scores, weights, kind) == pytest.approx(linked.mean())


def test_the_diagonal_never_counts(drawn):
    scores, weights = drawn
    marked, looped = scores.copy(), weights.copy()
    np.fill_diagonal(marked, 99)
    np.fill_diagonal(looped, -7)
    statistics = (synapse_auroc, synapse_auprc, density, direction_accuracy, sign_accuracy)
    for statistic in (*statistics, dale_accuracy):
        assert statistic(marked, looped) == statistic(scores, weights)
    table = score_wiring(marked, looped, rng=np.random.default_rng(0), n_resamples=0)
    expected = score_wiring(scores, weights, rng=np.random.default_rng(0), n_resamples=0)
    assert table.equals(expected)


def test_chance_is_as_said():
    rng = np.random.default_rng(0)
    tables = [
        score_wiring(rng.normal(size=(20, 20)), network(rng, 20)[1], rng=rng, n_resamples=0)
        for _ in range(100)
    ]
    values = np.array([table["value"] for table in tables])
    error = values.std(axis=0) / 10
    chance = np.mean([table["chance"] for table in tables], axis=0)
    names = list(tables[0].index)
    for name in ("AUROC", "AUROC, excitatory", "AUROC, inhibitory", "direction accuracy"):
        k = names.index(name)
        assert abs(values[:, k].mean() - chance[k]) < 4 * error[k]
    k = names.index("AUPRC")
    assert 0 < values[:, k].mean() - chance[k] < 0.05
    for name in ("sign accuracy", "type accuracy"):
        assert (chance[names.index(name)] >= 0.5).all()


def test_directions_signs_and_types_by_hand():
    weights = np.array([[0, 2, 0, 1], [0, 0, 3, 0], [0, 1, 0, 0], [0, -2, -1, 0]], float)
    scores = np.array(
        [[NONE, 1.0, 0, -0.5], [-2.0, NONE, 3, 0], [0, 0, NONE, 1], [0.2, -1, -1, NONE]]
    )
    # one way: 0-1 (1 against -2: wrong), 0-3 (0.5 against 0.2: right), 3-1 right, 3-2 (a tie)
    assert direction_accuracy(scores, weights) == pytest.approx(2.5 / 4)
    # 0-1 right, 0-3 wrong, 1-2 right, 2-1 is 0, 3-1 right, 3-2 right
    assert sign_accuracy(scores, weights) == pytest.approx(4.5 / 6)
    # sums of scores: 0.5, 1, 1, -1.8; of weights: 3, 3, 1, -3
    assert dale_accuracy(scores, weights) == 1
    assert dale_accuracy(-scores, weights) == 0
    assert direction_accuracy(scores + scores.T, weights) == 0.5
    assert direction_accuracy(weights, weights) == 1


def test_where_nothing_can_be_said_it_is_nan():
    weights = np.zeros((4, 4))
    scores = np.ones((4, 4))
    for statistic in (synapse_auroc, synapse_auprc, direction_accuracy, sign_accuracy):
        assert np.isnan(statistic(scores, weights))
    assert np.isnan(dale_accuracy(scores, weights))
    assert np.isnan(density(scores * NONE, weights))
    table = score_wiring(scores, weights, rng=np.random.default_rng(0), n_resamples=10)
    assert table["value"].isna().all()
    assert table["low"].isna().all()
    assert (table["n"] == 0).all()


def test_the_table_holds_every_statistic(drawn):
    scores, weights = drawn
    table = score_wiring(scores, weights, rng=np.random.default_rng(1), n_resamples=50)
    assert table.loc["AUROC", "value"] == synapse_auroc(scores, weights)
    assert table.loc["AUROC, inhibitory", "value"] == synapse_auroc(scores, weights, "inhibitory")
    assert table.loc["AUPRC", "chance"] == density(scores, weights)
    assert table.loc["AUROC", "n"] == np.count_nonzero(weights)
    assert table.loc["type accuracy", "n"] == 30
    signs = np.sign(weights[weights != 0])
    assert table.loc["sign accuracy", "chance"] == max(np.mean(signs > 0), np.mean(signs < 0))
    one_way = (weights != 0) & (weights.T == 0)
    assert table.loc["direction accuracy", "n"] == one_way.sum()
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_intervals_over_neurons_cover():
    """Neurons differ in how well they are heard; the truth is the mean over many networks."""

    def drawn(rng):
        loud = rng.gamma(1, 1, 24)
        scores, weights = network(rng, 24, 0.4, 0.0)
        return np.abs(weights) * loud + 0.8 * rng.random((24, 24)), weights

    rng = np.random.default_rng(0)
    truth = np.mean([synapse_auroc(*drawn(rng)) for _ in range(300)])
    covered = []
    for _ in range(60):
        scores, weights = drawn(rng)
        interval = bootstrap_neurons(synapse_auroc, scores, weights, rng=rng, n_resamples=60)
        assert interval.value == synapse_auroc(scores, weights)
        covered.append(interval.low <= truth <= interval.high)
    assert 0.82 < np.mean(covered) <= 1


def test_a_neuron_and_its_copy_are_no_pair(drawn):
    scores, weights = drawn
    copies = []

    def statistic(some, their):
        copies.append(np.isnan(some).sum())
        assert not their[np.isnan(some)].any()
        return 0.0

    bootstrap_neurons(statistic, scores, weights, rng=np.random.default_rng(0), n_resamples=20)
    assert copies[-1] == 30  # the recording itself: the diagonal only
    assert min(copies[:-1]) > 30


def test_the_permutation_test_is_valid_and_has_power(drawn):
    scores, weights = drawn
    rng = np.random.default_rng(0)
    found = permute_neurons(synapse_auroc, scores, weights, rng=rng, n_permutations=99)
    assert found.p == 0.01
    assert found.observed == synapse_auroc(scores, weights)
    assert found.null.mean() == pytest.approx(0.5, abs=0.02)
    p_values = []
    for _ in range(200):
        noise = rng.normal(size=(12, 12)) + rng.normal(size=(12, 1))  # hubs
        _, other = network(rng, 12)
        p_values.append(permute_neurons(synapse_auroc, noise, other, rng=rng, n_permutations=19).p)
    assert np.mean(np.array(p_values) <= 0.05) < 0.1


def test_graphs_are_compared_by_hand():
    first = np.array([[9, 1, 2, NONE], [3, 9, NONE, 0], [NONE, 4, 9, 5], [NONE] * 3 + [9]])
    second = np.array([[NONE, 2, 4, 1], [NONE, 9, NONE, 1], [NONE, 7, 9, NONE], [NONE] * 4])
    # of the first 0-1, 0-2, 1-0, 2-1, 2-3; of the second 0-1, 0-2, 0-3, 1-3, 2-1
    assert edge_jaccard(first, second) == pytest.approx(3 / 7)
    assert edge_correlation(first, second) == pytest.approx(np.corrcoef([1, 2, 4], [2, 4, 7])[0, 1])
    assert edge_jaccard(first, first) == 1
    assert edge_jaccard(first, np.full((4, 4), NONE)) == 0
    assert np.isnan(edge_jaccard(np.zeros((4, 4)), np.zeros((4, 4))))
    assert np.isnan(edge_correlation(first, np.ones((4, 4))))
    assert np.isnan(edge_correlation(first, np.zeros((4, 4))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, w: synapse_auroc(s, w[:5]), "same neurons; got shapes"),
        (lambda s, w: synapse_auroc(s[:5], w[:5]), "two square matrices"),
        (lambda s, w: synapse_auroc(s, s), r"pass np.nan_to_num\(weights\)"),
        (lambda s, w: synapse_auroc(s, w, "excite"), "one of any, excitatory, inhibitory"),
        (lambda s, w: edge_jaccard(s, w[:5, :5]), "same neurons; got shapes"),
        (
            lambda s, w: bootstrap_neurons(
                synapse_auroc, s, w, rng=np.random.default_rng(0), level=95
            ),
            "level must be between 0 and 1",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(drawn, call, message):
    with pytest.raises(ValueError, match=message):
        call(*drawn)
