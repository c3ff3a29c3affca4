"""How much of a known wiring is recovered, the worse it is seen: the resolution cliff.

The spikes of a network are simulated once and seen again and again: through slower frames or
indicators, with more noise, with errors of spike times, for fewer minutes or in fewer neurons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from sklearn.base import BaseEstimator, clone

from visualcortex.connectivity.correlogram_peaks import source_signs
from visualcortex.connectivity.observed import observed_bins
from visualcortex.connectivity.wiring import dale_accuracy, direction_accuracy, synapse_auroc
from visualcortex.recording import SpikeTrains
from visualcortex.simulators.settings import check_number
from visualcortex.simulators.wired_network import WiredNetwork
from visualcortex.spikes import SpikeTimes, contiguous_counts

TOGETHER = 0.03  # s: in frames that long, what is in one counts as much as what is a frame apart
AGAINST = 0.3  # factor of scores whose sign is not that of their source
REACH = {"counts": 0.008, "calcium": 0.08}  # s, which lags cover
MOST_LAGS = 8
SHRINKAGE = 2e-3  # of the correlation matrix, so that it can be inverted


class LaggedPartials(BaseEstimator):
    r"""Partial correlations within a frame and over the next few, with one sign for each source.

    Of :math:`[x_t, x_{t-1}, \dots, x_{t-L}]`, :math:`\rho^{(l)}_{ij}` is the correlation of
    :math:`x_{t-l,i}` and :math:`x_{t,j}` given all others. With :math:`\sigma_i` the sign of *i*
    (`source_signs`),

    .. math::

        c_{ij} = \sum_{l=1}^{L} \rho^{(l)}_{ij} + \frac{\Delta}{30\,\mathrm{ms}}\, \rho^{(0)}_{ij},
        \qquad s_{ij} = \sigma_i\, |c_{ij}| \cdot
        \begin{cases} 1 & \sigma_i c_{ij} > 0 \\ 0.3 & \text{else.} \end{cases}

    Fast, for any frame rate: the longer frames of :math:`\Delta` are, the more of a synapse shows
    within one, which has no direction but that of signs. Lags cover 8 ms of counts; of calcium,
    whose decay is removed, 80 ms, since its noise is shared by frames: 1 to 8 lags.

    Bias: that of `partial_correlation`. The weights of lags and signs were chosen by the known
    wiring of three simulated networks of 40 neurons (seeds 1 to 3 of `WiredNetwork`).

    Parameters
    ----------
    step
        Duration of a frame :math:`\Delta`, s.
    decay
        Time constant of calcium, s, if traces of it are given; None for counts.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        *s*; NaN on the diagonal.
    signs_ : (neuron,) numpy.ndarray
        1 or -1.
    """

    def __init__(self, *, step: float = 0.005, decay: float | None = None) -> None:
        self.step, self.decay = step, decay

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> LaggedPartials:
        """Invert the correlations of frames with those before.

        Parameters
        ----------
        activity
            Spike times, or counts or traces ``(time, neuron)`` whose rows last `step`.
        start, stop
            From where to where, s; by default all.

        Returns
        -------
        LaggedPartials
            Itself.

        Raises
        ------
        ValueError
            A neuron never changes, or a setting is out of range.
        """
        check_number("step", self.step, "a number of s above 0", 0)
        values = observed_bins(activity, self.step, start, stop).astype(np.float64)
        reach = REACH["counts"]
        if self.decay is not None:
            check_number("decay", self.decay, "a number of s above 0, or None", 0)
            values = values[1:] - np.exp(-self.step / self.decay) * values[:-1]
            reach = REACH["calcium"]
        n_lags = int(np.clip(round(reach / self.step), 1, MOST_LAGS))
        partial = _lagged_partials(values, n_lags)
        both = partial[1:].sum(axis=0) + self.step / TOGETHER * partial[0]
        self.signs_ = source_signs(both)
        size = np.abs(both) * np.where(both * self.signs_[:, None] > 0, 1.0, AGAINST)
        self.scores_ = size * self.signs_[:, None]
        np.fill_diagonal(self.scores_, np.nan)
        return self


def _lagged_partials(values: np.ndarray, n_lags: int) -> np.ndarray:
    """Partial correlations of frames with earlier ones, ``(lag, source, target)``."""
    n_time, n = values.shape
    spread = values.std(axis=0)
    if (spread == 0).any() or n_time <= 2 * (n_lags + 1):
        raise ValueError(
            f"neurons must change, and frames be many more than {n_lags} lags; got {n_time} frames "
            f"and {np.sum(spread == 0)} constant neurons. Leave them out, or record for longer."
        )
    x = (values - values.mean(axis=0)) / spread
    later = [x[: n_time - k].T @ x[k:] / n_time for k in range(n_lags + 1)]
    # rows and columns are neurons at lag 0, then those at lag 1, ...
    rows = [
        np.hstack([later[a - b] if a >= b else later[b - a].T for b in range(n_lags + 1)])
        for a in range(n_lags + 1)
    ]
    matrix = np.vstack(rows)
    precision = np.linalg.inv((1 - SHRINKAGE) * matrix + SHRINKAGE * np.eye(len(matrix)))
    root = np.sqrt(np.diagonal(precision))
    partial = -precision[:, :n] / np.outer(root, root[:n])
    return partial.reshape(n_lags + 1, n, n)


@dataclass(frozen=True, kw_only=True)
class Condition:
    r"""How a network is seen.

    Calcium rises by 1 at a spike and decays exponentially; a frame shows it as it is when the
    frame ends, as a laser does that passes each cell for a moment, with white noise of s.d.
    :math:`\nu \sqrt{r}` at frame rate *r*: the light is shared among the frames.

    Parameters
    ----------
    frame_rate
        Frames or bins a second, Hz.
    decay
        Time constant of the indicator, s; None for spikes, counted in bins.
    noise
        :math:`\nu`, in spikes, of a second of light: 0.055 is 0.3 at 30 Hz.
    jitter
        S.d. of a normal error of each spike time, s.
    minutes
        How long.
    seen
        Share of the neurons that are seen.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    frame_rate: float = 30.0
    decay: float | None = 0.6
    noise: float = 0.055
    jitter: float = 0.0
    minutes: float = 10.0
    seen: float = 1.0

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        for name in ("frame_rate", "minutes"):
            check_number(name, getattr(self, name), "a number above 0", 0)
        for name in ("noise", "jitter"):
            check_number(name, getattr(self, name), "a number, 0 or more", 0, closed=True)
        if self.decay is not None:
            check_number("decay", self.decay, "a number of s above 0, or None", 0)
        if not 0 < self.seen <= 1:
            raise ValueError(f"seen must be above 0 and at most 1; got {self.seen}. Correct it.")


class Axis(NamedTuple):
    """Conditions that differ from a base in one thing.

    Parameters
    ----------
    base
        What all have in common.
    field
        The setting of `Condition` that differs.
    values
        Its values.
    """

    base: Condition
    field: str
    values: tuple[float, ...]


SPIKES = Condition(frame_rate=200.0, decay=None)
CALCIUM = Condition()
AXES = {
    "bin rate, Hz": Axis(SPIKES, "frame_rate", (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0, 200.0)),
    "frame rate, Hz": Axis(CALCIUM, "frame_rate", (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0)),
    "indicator decay, s": Axis(CALCIUM, "decay", (0.1, 0.2, 0.5, 1.0, 2.0)),
    "noise, spikes in a second of light": Axis(CALCIUM, "noise", (0.0, 0.02, 0.055, 0.1, 0.2, 0.4)),
    "jitter, s": Axis(SPIKES, "jitter", (0.0, 0.001, 0.002, 0.005, 0.01, 0.017, 0.03, 0.066)),
    "minutes": Axis(CALCIUM, "minutes", (1.0, 2.0, 5.0, 10.0)),
    "minutes, spikes": Axis(SPIKES, "minutes", (1.0, 2.0, 5.0, 10.0)),
    "share seen": Axis(CALCIUM, "seen", (0.25, 0.5, 0.75, 1.0)),
}
# fewer, for methods that take a second each
RATE_AXES = {
    "bin rate, Hz": Axis(SPIKES, "frame_rate", (5.0, 10.0, 30.0, 100.0)),
    "frame rate, Hz": Axis(CALCIUM, "frame_rate", (5.0, 10.0, 30.0, 100.0)),
}


def within(axes: Mapping[str, Axis], minutes: float) -> dict[str, Axis]:
    """Return axes for recordings of so many minutes.

    Parameters
    ----------
    axes
        By name, as `AXES`.
    minutes
        That the recordings have.

    Returns
    -------
    dict
        The same axes; what is common to an axis lasts as long as there is, and of minutes only
        those are values that there are.

    Raises
    ------
    ValueError
        The recordings are shorter than every value of an axis of minutes.
    """
    short = {}
    for name, (base, field, values) in axes.items():
        if field == "minutes":
            values = tuple(value for value in values if value <= minutes)
        if not values:
            raise ValueError(
                f"{name!r} has no value up to {minutes:g} minutes; got recordings too short for "
                f"all of {axes[name].values}. Simulate for longer, or leave the axis out."
            )
        short[name] = Axis(replace(base, minutes=min(base.minutes, minutes)), field, values)
    return short


class Seen(NamedTuple):
    """What a condition leaves of a recording.

    Parameters
    ----------
    activity
        Counts or calcium, ``(time, neuron)``.
    weights
        Of the same neurons, ``(source, target)``.
    step
        Duration of a frame, s.
    decay
        Of calcium, s; None of counts.
    """

    activity: np.ndarray
    weights: np.ndarray
    step: float
    decay: float | None


def observe(recording: SpikeTrains, condition: Condition, seed: int = 0) -> Seen:
    """See a network under a condition.

    Spikes whose times are wrong by 5 ms or more are counted in bins as long as that s.d., where
    bins of the condition are shorter. Neurons that fire less than three times in the frames that
    are seen are left out.

    Parameters
    ----------
    recording
        With ``spikes``, and a truth that has ``weights`` and ``duration``, s.
    condition
        How it is seen.
    seed
        Of errors, noise and the choice of neurons; the same neurons, or more, of a larger share.

    Returns
    -------
    Seen
        Activity and wiring of the neurons that are left.

    Raises
    ------
    ValueError
        The recording is too short, or fewer than three neurons are left.
    """
    duration = 60 * condition.minutes
    if recording.spikes is None or duration > recording.truth.duration * (1 + 1e-9):
        raise ValueError(
            f"condition needs {duration:g} s of spikes; got {recording.truth.duration:g} s. "
            f"Simulate for longer, or see fewer minutes."
        )
    streams = [np.random.default_rng([seed, k]) for k in range(3)]
    n = recording.spikes.n_units
    kept = np.sort(streams[0].permutation(n)[: max(round(condition.seen * n), 1)])
    spikes = recording.spikes.select(kept).between(0.0, duration)
    spikes = spikes.jittered(condition.jitter, duration, streams[1])
    step = max(1 / condition.frame_rate, condition.jitter)
    counts = contiguous_counts(spikes, 0.0, duration, step)
    firing = counts.sum(axis=0) >= 3
    if firing.sum() < 3:
        raise ValueError(
            f"three neurons must be seen to fire; got {firing.sum()}. See more of them, or longer."
        )
    kept, spikes = kept[firing], spikes.select(np.flatnonzero(firing))
    activity = counts[:, firing].astype(np.float64)
    if condition.decay is not None:
        activity = _calcium(spikes, len(counts), step, condition, streams[2])
    return Seen(activity, recording.truth.weights[np.ix_(kept, kept)], step, condition.decay)


def _calcium(
    spikes: SpikeTimes,
    n_frames: int,
    step: float,
    condition: Condition,
    rng: np.random.Generator,
) -> np.ndarray:
    """Calcium at the ends of frames, with noise, (time, neuron)."""
    keep = np.exp(-step / condition.decay)
    fresh = np.empty((n_frames, spikes.n_units))
    for unit in range(spikes.n_units):
        times = spikes.of(unit)
        frame = (times / step).astype(int)
        inside = frame < n_frames
        left = np.exp(((frame + 1) * step - times) / -condition.decay)
        fresh[:, unit] = np.bincount(frame[inside], left[inside], minlength=n_frames)
    noise = condition.noise / np.sqrt(step)
    return lfilter([1.0], [1.0, -keep], fresh, axis=0) + noise * rng.standard_normal(fresh.shape)


def recovery(
    recordings: Sequence[SpikeTrains],
    axes: Mapping[str, Axis] | None = None,
    methods: Mapping[str, BaseEstimator] | None = None,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure what is recovered of known networks, one thing varied at a time.

    Parameters
    ----------
    recordings
        Of several networks, whose spikes and wiring are known.
    axes
        What is varied, by name; by default `AXES`, some 45 conditions.
    methods
        Estimators by name that have the settings ``step`` and ``decay``, cloned; by default
        `LaggedPartials`.
    seed
        Of errors, noise and the choice of neurons, plus the number of the network.

    Returns
    -------
    pandas.DataFrame
        A row for each ``axis``, ``value``, ``network`` (from 0) and ``method``: ``AUROC`` of
        directed synapses (``chance`` .5), ``direction`` and ``type`` accuracy, ``type_chance`` (the
        share of the more frequent type), and ``n_neurons``. A method that refuses a condition, as
        for too few frames, has NaN, and its message as ``refusal``, which is None otherwise.

    Raises
    ------
    ValueError
        There is no recording, or one too short.
    """
    if not len(recordings):
        raise ValueError("recordings must hold one network at least; got none. Simulate some.")
    axes = AXES if axes is None else axes
    rows = [
        {"axis": name, "value": value, "network": number, **row}
        for name, axis in axes.items()
        for value in axis.values
        for number, recording in enumerate(recordings)
        for row in _recovered(
            recording, replace(axis.base, **{axis.field: value}), methods, seed + number
        )
    ]
    return pd.DataFrame(rows)


def expected_recovery(
    condition: Condition,
    network: WiredNetwork | None = None,
    methods: Mapping[str, BaseEstimator] | None = None,
    *,
    seeds: Iterable[int] = (1, 2, 3),
) -> pd.DataFrame:
    """Predict what a recording can recover, by simulating networks that are seen alike.

    Bias: the prediction is for networks of the simulator, whose indicator is linear and known:
    real recordings do worse.

    Parameters
    ----------
    condition
        Frame rate, decay, noise, minutes and share of neurons of the recording.
    network
        Settings of the simulation, whose duration is that of the condition; by default 60 neurons.
    methods
        As of `recovery`.
    seeds
        One a network.

    Returns
    -------
    pandas.DataFrame
        As of `recovery`, without ``axis`` and ``value``; ``network`` is the seed.

    Raises
    ------
    ValueError
        As `recovery`.
    """
    settings = replace(network or WiredNetwork(n_neurons=60), duration=60.0 * condition.minutes)
    rows = [
        {"network": seed, **row}
        for seed in seeds
        for row in _recovered(settings.simulate(seed), condition, methods, seed)
    ]
    if not rows:
        raise ValueError("seeds must hold one at least; got none. Pass (1, 2, 3), say.")
    return pd.DataFrame(rows)


def _recovered(
    recording: SpikeTrains,
    condition: Condition,
    methods: Mapping[str, BaseEstimator] | None,
    seed: int,
) -> Iterator[dict[str, object]]:
    """Scores of each method under one condition."""
    seen = observe(recording, condition, seed)
    types = np.sign(seen.weights.sum(axis=1))
    types = types[types != 0]
    commoner = max(np.mean(types > 0), np.mean(types < 0)) if len(types) else np.nan
    if methods is None:
        methods = {"lagged partials": LaggedPartials()}
    for name, method in methods.items():
        scores, refusal = _scores(method, seen)
        yield {
            "method": name,
            "AUROC": synapse_auroc(scores, seen.weights),
            "chance": 0.5,
            "direction": direction_accuracy(scores, seen.weights),
            "type": dale_accuracy(scores, seen.weights) if refusal is None else np.nan,
            "type_chance": float(commoner),
            "n_neurons": len(seen.weights),
            "refusal": refusal,
        }


def _scores(method: BaseEstimator, seen: Seen) -> tuple[np.ndarray, str | None]:
    """Scores of a method, or NaN and why it refuses."""
    fitted = clone(method).set_params(step=seen.step, decay=seen.decay)
    try:
        return fitted.fit(seen.activity).scores_, None
    except ValueError as error:
        return np.full(seen.weights.shape, np.nan), str(error)
