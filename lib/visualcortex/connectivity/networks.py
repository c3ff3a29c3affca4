"""Methods that look for wiring side by side, on several networks whose wiring is known.

The network is the unit: pairs and neurons of one network share all that it is, so that intervals
here are over networks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from tqdm.auto import tqdm

from visualcortex.connectivity.calibration import (
    brier,
    calibration_error,
    delay_error,
    expected_over_true,
)
from visualcortex.connectivity.wiring import density, score_wiring
from visualcortex.evaluation.intervals import student
from visualcortex.recording import CalciumSpikes, SpikeTrains
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import KnownWiring

SIGNED = (
    "AUROC, excitatory",
    "AUROC, inhibitory",
    "sign accuracy",
    "type accuracy",
)  # statistics that mean nothing of scores without a sign
LOWER_IS_BETTER = ("Brier score", "calibration error", "delay error, ms")
NEITHER = ("expected over true synapses",)  # 1 is best
UNBOUNDED = ("delay error, ms", *NEITHER)  # the others lie from 0 to 1


class ObservedNetwork(NamedTuple):
    """What methods are given of a network, and what is known of it.

    Parameters
    ----------
    activity
        Spike times, or counts or traces ``(time, neuron)`` in frames of the methods' step.
    wiring
        Of the same neurons.
    """

    activity: SpikeTimes | np.ndarray
    wiring: KnownWiring


def score_methods(
    methods: Mapping[str, BaseEstimator],
    recordings: Iterable[ObservedNetwork | SpikeTrains | CalciumSpikes],
    *,
    seed: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Fit every method to every network and score it in every way that applies to it.

    - Of `score_wiring`: AUROC, AUPRC, those of excitatory and inhibitory synapses, direction,
      sign, and type of neurons by the sum of their outgoing scores. What needs a sign is left out
      for a method none of whose scores is negative.
    - With ``signs_`` and known cell types: the share of neurons whose type it tells, and the mean
      of the shares of both types (balanced, chance .5).
    - With ``probabilities_``: `brier`, `calibration_error` and `expected_over_true`.
    - With ``delays_`` and known delays: `delay_error` over all true synapses.

    Parameters
    ----------
    methods
        Estimators by name, with ``fit(activity)`` and ``scores_``; cloned, not changed.
    recordings
        One a network, looked at one after the other: a generator keeps only one in memory. Of
        SpikeTrains the spikes are taken, of CalciumSpikes the traces; their truth must be, or
        hold as ``wiring``, `KnownWiring`.
    seed
        Methods with a setting ``seed`` get this number plus that of the network; None leaves them
        as they are.
    progress
        Whether to show a bar.

    Returns
    -------
    pandas.DataFrame
        A row for each ``network`` (from 0), ``method`` and ``statistic``: ``value``; ``chance``,
        what an uninformed answer gets, NaN where there is none; ``n``, what it is about; and
        ``seconds`` and ``cpu_seconds`` of that fit, compilation included where it is the first.

    Raises
    ------
    ValueError
        There is no method, or a recording whose wiring is not known.
    """
    if not methods:
        raise ValueError("methods must hold an estimator at least, by name; got none.")
    rows = []
    for number, recording in enumerate(recordings):
        activity, wiring = _observed(recording)
        bar = tqdm(methods.items(), desc=f"network {number}", disable=not progress)
        for name, method in bar:
            wall, cpu = time.perf_counter(), time.process_time()
            fitted = _seeded(method, seed, number).fit(activity)
            took = (time.perf_counter() - wall, time.process_time() - cpu)
            rows += [(number, name, *row, *took) for row in _scored(fitted, wiring)]
    columns = ["network", "method", "statistic", "value", "chance", "n", "seconds", "cpu_seconds"]
    return pd.DataFrame(rows, columns=columns)


def over_networks(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    r"""Mean of every statistic over networks, with Student's interval.

    .. math:: \bar x \pm t_{n-1}\, s / \sqrt n

    over *n* networks. It asks how far the mean would move with other networks of the same kind.
    Bias: none of the mean; the interval takes values of networks for normal. Ends that no value of
    the statistic can have are moved to the last it can, which costs no coverage.

    Parameters
    ----------
    table
        Of `score_methods`; other columns than network, method, statistic and value may be absent.
    level
        Coverage aimed at.

    Returns
    -------
    pandas.DataFrame
        By ``method`` and ``statistic``: ``value``, ``low``, ``high`` (NaN with one network), ``n``
        networks in which it is defined, ``chance`` and ``seconds``, means over networks.

    Raises
    ------
    ValueError
        A column is absent, or `level` not between 0 and 1.
    """
    _check_table(table)
    means = [name for name in ("chance", "seconds", "cpu_seconds") if name in table]
    grouped = table.groupby(["method", "statistic"], sort=False)
    rows = {key: _student(group["value"].to_numpy(), level) for key, group in grouped}
    columns = ["value", "low", "high", "n"]
    result = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    result.index = pd.MultiIndex.from_tuples(result.index, names=["method", "statistic"])
    result["low"] = result["low"].clip(lower=0)
    shares = ~result.index.isin(UNBOUNDED, level="statistic")
    result.loc[shares, "high"] = result.loc[shares, "high"].clip(upper=1)
    return result.join(grouped[means].mean()) if means else result


def paired_differences(
    table: pd.DataFrame, reference: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    r"""Mean difference of every method from a reference, over the same networks.

    Student's interval of the differences: what networks have in common for both methods, how hard
    they are, drops out, so that it may leave out 0 where the intervals of both overlap. Bias: where
    the best is the reference, it was chosen from these very networks, which favours it; and of many
    comparisons some leave out 0 by chance.

    Parameters
    ----------
    table
        Of `score_methods`.
    reference
        Name of a method; None for the best of each statistic on average. For statistics of which
        neither more nor less is better, None leaves them out.
    level
        Coverage aimed at.

    Returns
    -------
    pandas.DataFrame
        By ``statistic`` and ``method``: ``reference``, ``value`` (method less reference), ``low``,
        ``high``, ``n`` networks in which both are defined, and ``n_higher``, those in which the
        method has the larger value.

    Raises
    ------
    ValueError
        A column is absent, or there is no such method.
    """
    _check_table(table)
    if reference is not None and reference not in set(table["method"]):
        raise ValueError(
            f"reference must be one of {list(table['method'].unique())}; got {reference!r}."
        )
    rows = {}
    for statistic, group in table.groupby("statistic", sort=False):
        values = group.pivot(index="network", columns="method", values="value")
        values = values[group["method"].unique()]
        other = _best(statistic, values) if reference is None else reference
        if other not in values:
            continue
        for method in values.columns.drop(other):
            difference = (values[method] - values[other]).to_numpy()
            student = _student(difference, level)
            rows[statistic, method] = (other, *student, int((difference > 0).sum()))
    columns = ["reference", "value", "low", "high", "n", "n_higher"]
    keys = [[key[k] for key in rows] for k in range(2)]
    index = pd.MultiIndex.from_arrays(keys, names=["statistic", "method"])
    return pd.DataFrame(list(rows.values()), index=index, columns=columns)


def _observed(recording: ObservedNetwork | SpikeTrains | CalciumSpikes) -> ObservedNetwork:
    """Take out what methods are given, and the wiring."""
    if isinstance(recording, ObservedNetwork):
        return recording
    truth = getattr(recording, "truth", None)
    wiring = truth if isinstance(truth, KnownWiring) else getattr(truth, "wiring", None)
    if not isinstance(wiring, KnownWiring):
        raise ValueError(
            f"the truth of a recording must be KnownWiring, or hold it as wiring; got "
            f"{type(truth).__name__}. Pass ObservedNetwork(activity, wiring)."
        )
    if isinstance(recording, CalciumSpikes):
        return ObservedNetwork(recording.traces.to_numpy().T, wiring)
    return ObservedNetwork(recording.spikes, wiring)


def _seeded(method: BaseEstimator, seed: int | None, number: int) -> BaseEstimator:
    """Return a clone, with a seed of its own for the network where it takes one."""
    fresh = clone(method)
    if seed is not None and "seed" in fresh.get_params(deep=False):
        fresh.set_params(seed=seed + number)
    return fresh


def _scored(method: BaseEstimator, wiring: KnownWiring) -> Iterator[tuple[str, float, float, int]]:
    """Each statistic of a fitted method: name, value, chance and what it is about."""
    scores, weights = np.asarray(method.scores_, np.float64), wiring.weights
    rng = np.random.default_rng(0)  # of resamples, of which there are none
    table = score_wiring(scores, weights, rng=rng, n_resamples=0)
    if not (scores < 0).any():
        table = table.drop(index=list(SIGNED))
    for row in table.itertuples():
        yield row.Index, row.value, row.chance, row.n
    if getattr(method, "signs_", None) is not None:
        yield from _types(method.signs_, wiring.cell_type)
    if getattr(method, "probabilities_", None) is not None:
        yield from _calibrated(method.probabilities_, weights)
    if getattr(method, "delays_", None) is not None and wiring.delays is not None:
        error = delay_error(method.delays_, wiring.delays, weights)
        yield "delay error, ms", error.median, error.constant, error.n


def _types(signs: np.ndarray, cell_type: np.ndarray) -> Iterator[tuple[str, float, float, int]]:
    """Accuracy of the signs of neurons of known type."""
    known = np.isin(cell_type, ("E", "I"))
    excites, right = cell_type[known] == "E", (np.asarray(signs) > 0)[known]
    right = right == excites
    n = int(known.sum())
    if n:
        share = excites.mean()
        yield "cell type accuracy", float(right.mean()), float(max(share, 1 - share)), n
    if excites.any() and not excites.all():
        balanced = (right[excites].mean() + right[~excites].mean()) / 2
        yield "cell type accuracy, balanced", float(balanced), 0.5, n


def _calibrated(
    probabilities: np.ndarray, weights: np.ndarray
) -> Iterator[tuple[str, float, float, int]]:
    """Scores of probabilities; who says the density of every pair is calibrated."""
    share, n = density(probabilities, weights), int(np.isfinite(probabilities).sum())
    yield "Brier score", brier(probabilities, weights), share * (1 - share), n
    yield "calibration error", calibration_error(probabilities, weights), float("nan"), n
    ratio = expected_over_true(probabilities, weights)
    yield "expected over true synapses", ratio, float("nan"), n


def _student(values: np.ndarray, level: float) -> tuple[float, float, float, int]:
    """Mean, ends of Student's interval and number of what is finite."""
    return (*student(values, level), int(np.isfinite(values).sum()))


def _best(statistic: str, values: pd.DataFrame) -> str | None:
    """Name the method that is best on average, where there is a best."""
    means = values.mean().dropna()
    if statistic in NEITHER or means.empty:
        return None
    return means.idxmin() if statistic in LOWER_IS_BETTER else means.idxmax()


def _check_table(table: pd.DataFrame) -> None:
    """Complain of what score_methods does not make."""
    needed = {"network", "method", "statistic", "value"}
    if not needed <= set(table.columns) or table.empty:
        raise ValueError(
            f"table must have columns {', '.join(sorted(needed))}, and rows; got "
            f"{list(table.columns)} and {len(table)}. Make it with score_methods."
        )
