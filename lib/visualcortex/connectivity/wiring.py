"""How well scores of ordered pairs tell the known synapses, and how alike two graphs are.

Scores and weights are ``(source, target)``. A weight of 0 is no synapse; a score that is not finite
(the diagonal, a silent neuron) is left out together with its pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from visualcortex.evaluation.intervals import Interval, PermutationTest, resampled_indices

Statistic = Callable[[np.ndarray, np.ndarray], float]
KINDS = ("any", "excitatory", "inhibitory")


def synapse_auroc(scores: np.ndarray, weights: np.ndarray, kind: str = "any") -> float:
    """Probability that a synapse has a larger score than a pair without one (ties count half).

    The area under the receiver operating characteristic over ordered pairs; chance is 0.5.

    Parameters
    ----------
    scores, weights
        ``(source, target)``.
    kind
        ``"any"``: the size of the score tells any synapse. ``"excitatory"``: the score itself
        tells synapses of positive weight from pairs without a synapse; ``"inhibitory"``: its
        negative, those of negative weight. The synapses of the other sign are left out.

    Returns
    -------
    float
        NaN where there is no synapse of that kind, or nothing else.

    Raises
    ------
    ValueError
        Matrices are not square, of one size, or weights are not finite.
    """
    values, linked = _pairs(scores, weights, kind)
    n_linked, n_others = linked.sum(), (~linked).sum()
    if n_linked == 0 or n_others == 0:
        return float("nan")
    ranks = rankdata(values)[linked].sum()
    return float((ranks - n_linked * (n_linked + 1) / 2) / (n_linked * n_others))


def synapse_auprc(scores: np.ndarray, weights: np.ndarray, kind: str = "any") -> float:
    r"""Mean precision of the pairs of largest score, over the synapses they find.

    The area under the curve of precision and recall as average precision,
    :math:`\sum_k (R_k - R_{k-1}) P_k` over distinct scores. Chance is the `density`, not 0.5, and
    bias: a little above it for few synapses.

    Parameters
    ----------
    scores, weights, kind
        As for `synapse_auroc`.

    Returns
    -------
    float
        NaN where there is no synapse of that kind.

    Raises
    ------
    ValueError
        As `synapse_auroc`.
    """
    values, linked = _pairs(scores, weights, kind)
    if not linked.any():
        return float("nan")
    order = np.argsort(-values, kind="stable")
    found = linked[order].cumsum()
    # pairs of one score are found together
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    recall = found[last] / found[-1]
    return float(np.sum(np.diff(recall, prepend=0) * found[last] / (last + 1)))


def density(scores: np.ndarray, weights: np.ndarray, kind: str = "any") -> float:
    """Share of synapses among the pairs that `synapse_auprc` ranks: its value by chance."""
    _, linked = _pairs(scores, weights, kind)
    return float(linked.mean()) if len(linked) else float("nan")


def direction_accuracy(scores: np.ndarray, weights: np.ndarray) -> float:
    """Of pairs that are linked one way only, how often the larger score points that way.

    Sizes of scores are compared, ties count half; chance is 0.5, which is what a symmetric score
    gets. The linking itself is given, so that a score can do well here and find no synapse.

    Parameters
    ----------
    scores, weights
        ``(source, target)``.

    Returns
    -------
    float
        NaN where no pair is linked one way only.

    Raises
    ------
    ValueError
        As `synapse_auroc`.
    """
    scores, weights = _matrices(scores, weights)
    finite = np.isfinite(scores)
    one_way = (weights != 0) & (weights.T == 0) & finite & finite.T
    np.fill_diagonal(one_way, False)
    along, against = np.abs(scores[one_way]), np.abs(scores.T[one_way])
    return _mean((along > against) + 0.5 * (along == against))


def sign_accuracy(scores: np.ndarray, weights: np.ndarray) -> float:
    """Of the synapses, how often the score has the sign of the weight (0 counts half).

    Where nine in ten synapses excite, a score that is always positive reaches 0.9: compare with
    the share of the more frequent sign.

    Parameters
    ----------
    scores, weights
        ``(source, target)``.

    Returns
    -------
    float
        NaN where there is no synapse.

    Raises
    ------
    ValueError
        As `synapse_auroc`.
    """
    scores, weights = _matrices(scores, weights)
    synapse = (weights != 0) & np.isfinite(scores)
    np.fill_diagonal(synapse, False)
    return _mean(0.5 + 0.5 * np.sign(scores[synapse]) * np.sign(weights[synapse]))


def dale_accuracy(scores: np.ndarray, weights: np.ndarray) -> float:
    """Of neurons with synapses, how often the sum of outgoing scores has the sign of theirs.

    By Dale's principle a neuron's synapses have one sign; where they do not, that of their sum
    counts.

    Parameters
    ----------
    scores, weights
        ``(source, target)``.

    Returns
    -------
    float
        NaN where no neuron has synapses.

    Raises
    ------
    ValueError
        As `synapse_auroc`.
    """
    scores, weights = _matrices(scores, weights)
    used = np.isfinite(scores) & ~np.eye(len(scores), dtype=bool)
    kind = np.sign(np.where(used, weights, 0).sum(axis=1))
    found = np.sign(np.where(used, scores, 0).sum(axis=1))
    return _mean(0.5 + 0.5 * (kind * found)[kind != 0])


def bootstrap_neurons(
    statistic: Statistic,
    scores: np.ndarray,
    weights: np.ndarray,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Interval of a statistic of pairs if other neurons of the same network had been recorded.

    Neurons are drawn with replacement, and rows and columns of both matrices with them (Snijders
    and Borgatti 1999). Pairs that share a neuron are not independent, and so pairs are not drawn
    one by one: that interval would be far too narrow. A neuron and its copy are no pair and are
    left out.

    Bias: too wide rather than too narrow for few neurons, since a resample has fewer distinct
    pairs; it says nothing about other recordings of the same neurons, whose noise is that of the
    scores. Scores are not computed anew: those that depend on who else is observed keep what all
    neurons gave them.

    Parameters
    ----------
    statistic
        Takes scores and weights and returns a number.
    scores, weights
        ``(source, target)``.
    rng
        Source of the draws.
    n_resamples
        Number of resamples.
    level
        Coverage aimed at.

    Returns
    -------
    Interval
        NaN ends where the statistic is undefined for most resamples.

    Raises
    ------
    ValueError
        As `synapse_auroc`; or `level` is not in (0, 1).

    References
    ----------
    Snijders, T. A. B., and Borgatti, S. P. (1999). Non-parametric standard errors and tests for
    network statistics. Connections 22, 161-170.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, for example 0.95; got {level}.")
    scores, weights = _matrices(scores, weights)
    values = []
    for drawn in resampled_indices(len(scores), n_resamples, rng=rng):
        pairs = np.ix_(drawn, drawn)
        copies = drawn[:, None] == drawn
        values.append(statistic(np.where(copies, np.nan, scores[pairs]), weights[pairs]))
    finite = np.array(values)[np.isfinite(values)]
    ends = (np.nan, np.nan)
    if len(finite) > n_resamples / 2:
        ends = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(statistic(scores, weights), *(float(end) for end in ends))


def permute_neurons(
    statistic: Statistic,
    scores: np.ndarray,
    weights: np.ndarray,
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> PermutationTest:
    """Test a statistic against scores whose neurons are relabelled, the network being as it is.

    Rows and columns of the scores are permuted alike, so that both graphs keep their shape, hubs
    and reciprocity (the quadratic assignment procedure, Hubert 1987); only who is who is lost.
    The p value counts the unpermuted one too, ``(1 + larger or equal) / (1 + permutations)``, and
    is valid for any number of permutations.

    Parameters
    ----------
    statistic
        Takes scores and weights and returns a number, larger for better.
    scores, weights
        ``(source, target)``.
    rng
        Source of the permutations.
    n_permutations
        How many.

    Returns
    -------
    PermutationTest
        The statistic as it is, those of relabelled neurons, and p.

    Raises
    ------
    ValueError
        As `synapse_auroc`.
    """
    scores, weights = _matrices(scores, weights)
    value, null = statistic(scores, weights), np.empty(n_permutations)
    for k in range(n_permutations):
        order = rng.permutation(len(scores))
        null[k] = statistic(scores[np.ix_(order, order)], weights)
    return PermutationTest(value, null, float((1 + (null >= value).sum()) / (1 + n_permutations)))


def score_wiring(
    scores: np.ndarray,
    weights: np.ndarray,
    *,
    rng: np.random.Generator,
    n_resamples: int = 200,
    level: float = 0.95,
) -> pd.DataFrame:
    """Score a candidate for the wiring in every way of this module.

    Parameters
    ----------
    scores
        Candidate ``(source, target)``, signed where its sign means something.
    weights
        Synapses ``(source, target)``, 0 where there is none.
    rng
        Source of the resamples of neurons (`bootstrap_neurons`).
    n_resamples
        How many; 0 for no intervals.
    level
        Coverage aimed at.

    Returns
    -------
    pandas.DataFrame
        A row a statistic, the index its name: ``value``, ``low`` and ``high`` (NaN without
        resamples), ``chance`` and ``n``, the synapses, pairs or neurons that it is about.

    Raises
    ------
    ValueError
        As `synapse_auroc`.
    """
    rows = {}
    for name, (statistic, chance, n) in _statistics(scores, weights).items():
        interval = Interval(statistic(scores, weights), np.nan, np.nan)
        if n_resamples:
            interval = bootstrap_neurons(
                statistic, scores, weights, rng=rng, n_resamples=n_resamples, level=level
            )
        rows[name] = (*interval, chance, n)
    columns = ["value", "low", "high", "chance", "n"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def edge_jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Edges that two graphs share, over those that either has; NaN where neither has any.

    Parameters
    ----------
    first, second
        Weights of edges ``(source, target)`` of the same neurons; NaN or 0 is no edge, and the
        diagonal is not looked at. Chance depends on the number of edges: see `permute_neurons`.

    Raises
    ------
    ValueError
        Matrices are not square or not of one size.
    """
    a, b = (_edges(graph) for graph in _same_size(first, second))
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else float("nan")


def edge_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of the weights of the edges that both graphs have.

    Bias: of edges that passed a threshold in both, so that it is not that of all pairs.

    Parameters
    ----------
    first, second
        As for `edge_jaccard`.

    Returns
    -------
    float
        NaN for fewer than three common edges, or where all weights of a graph are equal.

    Raises
    ------
    ValueError
        As `edge_jaccard`.
    """
    first, second = _same_size(first, second)
    both = _edges(first) & _edges(second)
    x, y = first[both], second[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _statistics(scores: np.ndarray, weights: np.ndarray) -> dict[str, tuple[Statistic, float, int]]:
    """Each statistic with its value by chance and the number of things that it is about."""
    scores, weights = _matrices(scores, weights)
    known = np.isfinite(scores) & ~np.eye(len(scores), dtype=bool)
    present = np.where(known, weights, 0)
    n_kind = {
        "any": (present != 0).sum(),
        "excitatory": (present > 0).sum(),
        "inhibitory": (present < 0).sum(),
    }
    n_synapses = n_kind["any"]
    commoner = (
        max(n_kind["excitatory"], n_kind["inhibitory"]) / n_synapses if n_synapses else np.nan
    )
    types = np.sign(present.sum(axis=1))
    types = types[types != 0]
    larger = max(np.mean(types > 0), np.mean(types < 0)) if len(types) else np.nan
    one_way = ((present != 0) & (weights.T == 0) & known.T).sum()
    table = {"AUROC": (synapse_auroc, 0.5, n_synapses)}
    table["AUPRC"] = (synapse_auprc, density(scores, weights), n_synapses)
    for kind in KINDS[1:]:
        table[f"AUROC, {kind}"] = (partial(synapse_auroc, kind=kind), 0.5, n_kind[kind])
    table["direction accuracy"] = (direction_accuracy, 0.5, one_way)
    table["sign accuracy"] = (sign_accuracy, commoner, n_synapses)
    table["type accuracy"] = (dale_accuracy, larger, len(types))
    return {name: (way, float(chance), int(n)) for name, (way, chance, n) in table.items()}


def _pairs(scores: np.ndarray, weights: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each pair that counts, the larger the likelier, and whether linked."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    scores, weights = _matrices(scores, weights)
    used = np.isfinite(scores) & ~np.eye(len(scores), dtype=bool)
    if kind == "any":
        return np.abs(scores[used]), weights[used] != 0
    sign = 1 if kind == "excitatory" else -1
    used &= sign * weights >= 0
    return sign * scores[used], weights[used] != 0


def _matrices(scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, weights = _same_size(scores, weights)
    if not np.isfinite(weights).all():
        raise ValueError(
            "weights must be finite, 0 where there is no synapse; got NaN or infinity. For a graph "
            "whose missing edges are NaN, pass np.nan_to_num(weights)."
        )
    return scores, weights


def _same_size(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 2 or first.shape[0] != first.shape[1] or first.shape != second.shape:
        raise ValueError(
            f"expected two square matrices (source, target) of the same neurons; got shapes "
            f"{first.shape} and {second.shape}. Select the same neurons from both."
        )
    return first, second


def _edges(graph: np.ndarray) -> np.ndarray:
    return np.isfinite(graph) & (graph != 0) & ~np.eye(len(graph), dtype=bool)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
