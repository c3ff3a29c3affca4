r"""Excitatory or inhibitory, told from calcium transients or firing: with cells apart, and without.

Transients of one cell are alike: they share its indicator, its noise and its rate. A classifier
that has seen some of them knows the cell again, and with it the type that it was told: right
answers about the others say nothing of new cells. The unit of splits, intervals and permutations
here is therefore the cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.signal import find_peaks
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from visualcortex.evaluation.categories import balanced_accuracy_interval
from visualcortex.evaluation.intervals import Interval
from visualcortex.spikes import SpikeTimes

COST = 10.0  # of a snippet on the wrong side; without bound, fits hardly end
BURST = 0.01  # s: shorter intervals are within a burst
TYPES = ("E", "I")


class Snippets(NamedTuple):
    """Transients cut out of traces.

    Parameters
    ----------
    values
        dF/F, ``(snippet, sample)``.
    cell
        Whose they are, ``(snippet,)``.
    time
        When they peak, s ``(snippet,)``.
    """

    values: np.ndarray
    cell: np.ndarray
    time: np.ndarray


class CellTypeScores(NamedTuple):
    """How well types are told.

    Parameters
    ----------
    snippets
        Balanced accuracy over snippets, and its interval over cells; chance is .5.
    cells
        The same of cells, each by the majority of its snippets.
    said
        Type said of each snippet, ``(snippet,)``.
    n_snippets, n_cells
        How many there are.
    """

    snippets: Interval
    cells: Interval
    said: np.ndarray
    n_snippets: int
    n_cells: int


def transient_snippets(
    traces: np.ndarray,
    rate: float,
    *,
    n_samples: int = 25,
    before: int = 5,
    peak: float = 0.15,
    most: int | None = 24,
) -> Snippets:
    """Cut out transients around their peaks.

    A peak is a local maximum of at least `peak`; of two that are closer than the length of a
    snippet, the higher one is taken, so that snippets do not overlap.

    Bias: samples are no seconds; snippets of other frame rates are of other durations, and so are
    not to be told by one classifier.

    Parameters
    ----------
    traces
        dF/F ``(neuron, time)``.
    rate
        Frames a second.
    n_samples, before
        Length of a snippet, and how many of its samples come before the peak.
    peak
        Least dF/F at the peak.
    most
        Snippets of a cell at most, spread evenly over time; None for all.

    Returns
    -------
    Snippets
        Cell after cell, in order of time. A cell without a peak has none.

    Raises
    ------
    ValueError
        Another shape, values that are not finite, or a length that makes no snippet.
    """
    traces = np.asarray(traces, float)
    if traces.ndim != 2 or not np.isfinite(traces).all():
        raise ValueError(
            f"traces must be finite dF/F (neuron, time); got shape {traces.shape}. Cut what is NaN."
        )
    if not (0 <= before < n_samples <= traces.shape[1] and rate > 0 and (most is None or most > 0)):
        raise ValueError(
            f"need 0 <= before < n_samples <= {traces.shape[1]} samples, a rate above 0 and most "
            f"1 or more; got {before}, {n_samples}, {rate} and {most}."
        )
    cells, peaks = [], []
    for cell, trace in enumerate(traces):
        at = _peaks(trace, n_samples, before, peak)
        if most is not None and len(at) > most:
            at = at[np.linspace(0, len(at) - 1, most).astype(int)]
        cells.append(np.full(len(at), cell))
        peaks.append(at)
    cell, at = np.concatenate(cells), np.concatenate(peaks)
    values = traces[cell[:, None], at[:, None] - before + np.arange(n_samples)]
    return Snippets(values, cell, at / rate)


def classify_cells(
    snippets: np.ndarray,
    cell: np.ndarray,
    cell_type: np.ndarray,
    *,
    grouped: bool = True,
    seed: int = 0,
    n_folds: int = 5,
    classifier: ClassifierMixin | None = None,
    n_resamples: int = 1000,
) -> CellTypeScores:
    """Tell the type of cells from their snippets, tested on snippets that were left out.

    Bias: grouped, a little too low for new cells of this recording, since a part of the cells is
    not learnt from. With few cells of a type it varies much, and one that knows nothing comes out
    below chance (.42 in a simulation of 24 cells): a fold that is short of a type in training has
    it in testing. Not grouped, upwards, up to 1: it says how well cells are known again.

    Parameters
    ----------
    snippets
        ``(snippet, sample)``, of `transient_snippets` or other features of trials.
    cell
        Whose each is, ``(snippet,)``, indices of `cell_type`.
    cell_type
        ``"E"`` or ``"I"`` of each cell, ``(cell,)``.
    grouped
        Whether all snippets of a cell are in one fold. Otherwise they are dealt out at random, and
        those of one cell are learnt from and tested on: the leak.
    seed
        Of the folds and of the resamples of cells.
    n_folds
        How many folds.
    classifier
        By default `machine`, a support vector machine with radial basis functions of standardised
        samples, types weighted alike.
    n_resamples
        Resamples of cells, within their type, for the intervals.

    Returns
    -------
    CellTypeScores
        Its intervals are those of other cells, the classifier being the same.

    Raises
    ------
    ValueError
        Lengths do not fit, other types, or fewer cells with snippets of a type than folds.
    """
    snippets, cell, types = _checked(snippets, cell, cell_type, n_folds)
    folds = StratifiedGroupKFold if grouped else StratifiedKFold
    said = cross_val_predict(
        machine() if classifier is None else classifier,
        snippets,
        types,
        groups=cell if grouped else None,
        cv=folds(n_folds, shuffle=True, random_state=seed),
    )
    rng = np.random.default_rng(seed)
    right = said == types
    over = balanced_accuracy_interval(right, types, cell, rng=rng, n_resamples=n_resamples)
    names, first, member = np.unique(cell, return_index=True, return_inverse=True)
    share = np.bincount(member, weights=right) / np.bincount(member)
    vote = (share > 0.5) + 0.5 * (share == 0.5)
    voted = balanced_accuracy_interval(vote, types[first], names, rng=rng, n_resamples=n_resamples)
    return CellTypeScores(over, voted, said, len(cell), len(names))


def leak_table(
    snippets: np.ndarray,
    cell: np.ndarray,
    cell_type: np.ndarray,
    *,
    seed: int = 0,
    n_permutations: int = 3,
    **settings: object,
) -> pd.DataFrame:
    """Classify with cells apart and without, of their own types and of permuted ones.

    Types are permuted over cells, so that nothing of a cell tells its type. What a classifier
    reaches all the same is what it knows of the cells it is tested on.

    Parameters
    ----------
    snippets, cell, cell_type
        As for `classify_cells`.
    seed
        Of folds and permutations.
    n_permutations
        Permutations, over which rows of permuted types are means (of ends of intervals too).
    settings
        More of `classify_cells`.

    Returns
    -------
    pandas.DataFrame
        By ``types`` ("true", "permuted") and ``split`` ("by cell", "at random"): ``snippets``,
        ``low``, ``high``, balanced accuracy over snippets, and ``cells``, by majority of each.

    Raises
    ------
    ValueError
        As `classify_cells`.
    """
    rng = np.random.default_rng(seed)
    types = np.asarray(cell_type)
    present = np.unique(cell)
    permuted = []
    for _ in range(n_permutations):
        moved = types.copy()
        moved[present] = rng.permutation(types[present])
        permuted.append(moved)
    rows = {}
    for name, versions in {"true": [types], "permuted": permuted}.items():
        for split in ("by cell", "at random"):
            grouped = split == "by cell"
            scores = [
                classify_cells(snippets, cell, one, grouped=grouped, seed=seed, **settings)
                for one in versions
            ]
            rows[name, split] = np.mean([(*s.snippets, s.cells.value) for s in scores], axis=0)
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.columns = ["snippets", "low", "high", "cells"]
    table.index = pd.MultiIndex.from_tuples(table.index, names=["types", "split"])
    return table


def firing_features(spikes: SpikeTimes, duration: float) -> pd.DataFrame:
    r"""How cells fire, one row each.

    - ``log_rate``: logarithm of the spikes a second;
    - ``cv``: s.d. of the intervals over their mean, 1 for a Poisson process;
    - ``cv2``: mean of :math:`2 |I - J| / (I + J)` of successive intervals (Holt and others 1996),
      which slow changes of rate do not move;
    - ``burst``: share of the intervals shorter than 10 ms.

    Bias: cv and burst grow with the rate's slow changes and with the rate; of a few spikes, cv is
    too low.

    Parameters
    ----------
    spikes
        Spike times in s.
    duration
        Over how many seconds.

    Returns
    -------
    pandas.DataFrame
        ``(neuron,)``; NaN of a cell with fewer than three spikes, but for its rate.

    Raises
    ------
    ValueError
        `duration` is not above 0.

    References
    ----------
    Holt, G. R., and others (1996). Journal of Neurophysiology 75, 1806-1814.
    """
    if not duration > 0:
        raise ValueError(f"duration must be a number of s above 0; got {duration}.")
    rows = [_irregular(spikes.of(unit)) for unit in range(spikes.n_units)]
    table = pd.DataFrame(rows, columns=["cv", "cv2", "burst"])
    # half a spike, so that a silent cell has a logarithm
    table.insert(0, "log_rate", np.log(np.maximum(spikes.n_spikes, 0.5) / duration))
    return table


def trace_features(traces: np.ndarray, rate: float, *, peak: float = 0.15) -> pd.DataFrame:
    """What calcium traces of cells look like, one row each.

    ``mean``, ``sd`` and ``skew`` of dF/F, ``memory``, the correlation of a trace with itself a
    second later, and ``transients`` a second of at least `peak` (no closer than half a second).

    Bias: mean and s.d. grow with the amplitude of the cell's indicator as with its rate.

    Parameters
    ----------
    traces
        dF/F ``(neuron, time)``.
    rate
        Frames a second.
    peak
        Least dF/F of a transient.

    Returns
    -------
    pandas.DataFrame
        ``(neuron,)``.

    Raises
    ------
    ValueError
        Another shape, values that are not finite, a flat trace, or fewer than two seconds.
    """
    traces = np.asarray(traces, float)
    second = max(1, round(rate))
    if traces.ndim != 2 or traces.shape[1] < 2 * second or not np.isfinite(traces).all():
        raise ValueError(
            f"traces must be finite dF/F (neuron, time) of two seconds or more; got shape "
            f"{traces.shape} at {rate:g} frames a second."
        )
    if (np.ptp(traces, axis=1) == 0).any():
        raise ValueError("a trace that never changes has no skew. Leave that cell out.")
    apart = max(1, round(rate / 2))
    n = [len(find_peaks(trace, height=peak, distance=apart)[0]) for trace in traces]
    centred = traces - traces.mean(axis=1, keepdims=True)
    later = (centred[:, :-second] * centred[:, second:]).mean(axis=1) / centred.var(axis=1)
    columns = {"mean": traces.mean(axis=1), "sd": traces.std(axis=1), "memory": later}
    columns |= {
        "skew": stats.skew(traces, axis=1),
        "transients": np.array(n) / len(traces.T) * rate,
    }
    return pd.DataFrame(columns)


def classify_features(
    features: pd.DataFrame | np.ndarray, cell_type: np.ndarray, **settings: object
) -> CellTypeScores:
    """Tell the type of cells from a few features by logistic regression, cell by cell.

    A cell is one row, so that no fold holds part of it.

    Parameters
    ----------
    features
        ``(cell, feature)``, as of `firing_features` or `trace_features`.
    cell_type
        ``"E"`` or ``"I"``, ``(cell,)``.
    settings
        ``seed``, ``n_folds``, ``n_resamples`` of `classify_cells`.

    Returns
    -------
    CellTypeScores
        A cell is its only snippet; chance is .5.

    Raises
    ------
    ValueError
        As `classify_cells`.
    """
    values = np.asarray(features, float)
    line = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    return classify_cells(values, np.arange(len(values)), cell_type, classifier=line, **settings)


def machine(cost: float = COST) -> ClassifierMixin:
    """Return the support vector machine of `classify_cells`.

    Parameters
    ----------
    cost
        Of a snippet on the wrong side. Large ones, up to none at all, fit the noise of snippets
        and take long.
    """
    return make_pipeline(StandardScaler(), SVC(C=cost, class_weight="balanced"))


def _peaks(trace: np.ndarray, n_samples: int, before: int, peak: float) -> np.ndarray:
    """Where transients peak that lie wholly within the trace."""
    at, _ = find_peaks(trace, height=peak, distance=n_samples)
    return at[(at >= before) & (at - before + n_samples <= len(trace))]


def _irregular(times: np.ndarray) -> tuple[float, float, float]:
    """Irregularity and bursts of one train."""
    if len(times) < 3:
        return (float("nan"),) * 3
    intervals = np.diff(times)
    one, next_one = intervals[:-1], intervals[1:]
    local = np.mean(2 * np.abs(one - next_one) / (one + next_one))
    return intervals.std() / intervals.mean(), local, np.mean(intervals < BURST)


def _checked(
    snippets: np.ndarray, cell: np.ndarray, cell_type: np.ndarray, n_folds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Snippets, their cells and the type of each, once they fit."""
    snippets, cell = np.asarray(snippets, float), np.asarray(cell)
    types = np.asarray(cell_type)
    if snippets.ndim != 2 or cell.shape != snippets.shape[:1] or not np.isfinite(snippets).all():
        raise ValueError(
            f"snippets must be finite (snippet, sample) with the cell of each; got shapes "
            f"{snippets.shape} and {cell.shape}. Leave out cells without features."
        )
    if cell.dtype.kind not in "iu" or (
        len(cell) and not 0 <= cell.min() <= cell.max() < len(types)
    ):
        raise ValueError(f"cell must hold whole numbers, from 0 to the {len(types) - 1} of types.")
    if not np.isin(types[cell], TYPES).all():
        raise ValueError("types must be 'E' or 'I'. Leave out cells of unknown type.")
    n_cells = [len(np.unique(cell[types[cell] == one])) for one in TYPES]
    if not 2 <= n_folds <= min(n_cells):
        raise ValueError(
            f"each of {n_folds} folds, two at least, needs a cell of each type; got {n_cells[0]} "
            f"E and {n_cells[1]} I. Use fewer folds, or record more cells."
        )
    return snippets, cell, types[cell]
