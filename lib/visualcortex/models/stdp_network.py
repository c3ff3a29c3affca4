r"""A network that learns by spike timing while calcium drives it: an exhibit, not a method.

Gao, Wang, Chen and Zhong (2021, SNN.m) put fluorescence, filtered and interpolated, as current into
Izhikevich neurons, one for each recorded cell, wired all to all at random. Synapses then change by
spike-timing-dependent plasticity, and the relative change is read as connectivity. Nothing is
fitted to data. Here the same, from its description and in our own code, with each defect an option
that can be mended alone:

- a frame of 100 ms is ten steps of "1 ms", so that time is compressed tenfold (`compression`);
- each spike is paired with those of the last step in which anyone fired, not with the last spike of
  each other neuron, which "nearest neighbour" means (`PairRule.partners`);
- the network and the rule have different lists of inhibitory cells (`inhibitory`,
  `stdp_inhibitory`);
- the potential is recorded before it is reset, at up to hundreds of mV (`clipped`);
- nothing bounds a weight (`PairRule.bound`), so that neurons that excite each other run away once
  spikes are paired as the name of the rule says.

Matrices are ``(source, target)``.

References
----------
Izhikevich, E. M. (2003). Simple model of spiking neurons. IEEE Transactions on Neural Networks 14.

Morrison, A., Diesmann, M., and Gerstner, W. (2008). Phenomenological models of synaptic plasticity
based on spike timing. Biological Cybernetics 98, 459-478.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.signal import lfilter
from scipy.stats import rankdata
from sklearn.base import BaseEstimator

from visualcortex.connectivity.observed import observed_bins
from visualcortex.simulators.integrate_and_fire import Izhikevich
from visualcortex.simulators.settings import check_choice, check_number, check_whole
from visualcortex.spikes import SpikeTimes

PARTNERS = ("population", "pair")
PEAK = 30.0  # mV, at which a spike is counted
REST = -65.0  # mV
NEVER = -(2**40)  # step of the last spike of a neuron that has had none
ROUNDING = 1e-6  # of a step
RUNAWAY = 1e6  # a weight, in the unit of the current

# The cells of the original that inhibit, counted from 0: of 259, in the network and in the rule.
ORIGINAL_INHIBITORY = tuple(
    i - 1
    for i in (1, 11, 12, 30, 32, 34, 35, 36, 66, 72, 73, 101, 102, 103, 104, 168, 169, 257, 258)
)
ORIGINAL_STDP_INHIBITORY = tuple(
    i - 1 for i in (11, 12, 30, 34, 35, 48, 70, 73, 80, 83, 102, 169, 182, 201, 242)
)


@dataclass(frozen=True, kw_only=True)
class PairRule:
    r"""Multiplicative spike-timing-dependent plasticity.

    .. math:: w \leftarrow w \, (1 + s A_+ e^{-\Delta / \tau_+}), \qquad
              w \leftarrow w \, (1 - s A_- e^{-\Delta / \tau_-}),

    the first where the source fires :math:`\Delta` before the target, the second where it fires
    after it; *s* is 1 where the target excites, -1 from excitatory to inhibitory neurons and 0
    between inhibitory ones. Spikes of one step are not paired. Factors are positive, so that no
    weight changes its sign, and they commute: without a bound, the order of pairs within a step
    does not matter.

    Parameters
    ----------
    gain, loss
        :math:`A_+` and :math:`A_-`, at least 0 and below 1.
    gain_time, loss_time
        :math:`\tau_+` and :math:`\tau_-`, steps of 1 ms of the network.
    partners
        ``"pair"``: a spike is paired with the last spike of each other neuron (nearest neighbour).
        ``"population"``: as in the original, only with those in the last step before it in which
        any neuron fired. Where many neurons fire that is a step ago, and the time constants have
        hardly anything to say.
    bound
        Largest ratio of a weight to what it was at the start; infinite in the original.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    gain: float = 0.003
    loss: float = 0.0015
    gain_time: float = 20.0
    loss_time: float = 60.0
    partners: str = "population"
    bound: float = math.inf

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        for name in ("gain", "loss"):
            value = getattr(self, name)
            check_number(name, value, "at least 0 and below 1", 0, 1, closed=True)
        for name in ("gain_time", "loss_time"):
            check_number(name, getattr(self, name), "a number of ms above 0", 0)
        check_choice("partners", self.partners, PARTNERS)
        if not self.bound > 1:
            raise ValueError(f"bound must be above 1; got {self.bound}. Give 10, say.")

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what a pair gains and loses, by its lag in steps, as long as 1 + it is not 1."""
        longest = math.ceil(37 * max(self.gain_time, self.loss_time))  # e^-37 is below rounding
        lags = np.arange(longest + 1)
        gains = self.gain * np.exp(-lags / self.gain_time)
        return gains, self.loss * np.exp(-lags / self.loss_time)

    def windows(self, compression: float) -> tuple[float, float]:
        """Return the time constants of gain and loss in ms of the recording."""
        return self.gain_time * compression, self.loss_time * compression

    def _applied(self, signs: np.ndarray, initial: np.ndarray) -> tuple:
        """Return what the loops take."""
        finite = math.isfinite(self.bound)
        limits = np.abs(initial) * self.bound if finite else np.full(initial.shape, np.inf)
        signs = np.ascontiguousarray(signs, np.float64)
        return (signs, *self.tables(), self.partners == "population", limits)


def rule_signs(inhibitory: Sequence[int] | np.ndarray, n_neurons: int) -> np.ndarray:
    """Return the sign *s* of the rule, see `PairRule`.

    Parameters
    ----------
    inhibitory
        Positions of the inhibitory neurons, or truth values ``(neuron,)``.
    n_neurons
        How many there are in all.

    Returns
    -------
    numpy.ndarray
        1, -1 or 0, ``(source, target)``.

    Raises
    ------
    ValueError
        Positions that no neuron has, or one truth value too many or too few.
    """
    inhibits = _mask(inhibitory, n_neurons)
    signs = np.where(inhibits[None, :], -1.0, 1.0).repeat(n_neurons, axis=0)
    signs[np.ix_(inhibits, inhibits)] = 0.0
    return signs


def conflicting_rules(
    inhibitory: Sequence[int] | np.ndarray,
    stdp_inhibitory: Sequence[int] | np.ndarray,
    n_neurons: int,
) -> np.ndarray:
    """Find the synapses that change by another rule than the one of their neurons' types.

    Parameters
    ----------
    inhibitory, stdp_inhibitory
        Who inhibits in the network, and who does according to the rule; as for `rule_signs`.
    n_neurons
        How many neurons there are in all.

    Returns
    -------
    numpy.ndarray
        Truth values ``(source, target)``, false on the diagonal.

    Raises
    ------
    ValueError
        As `rule_signs`.
    """
    conflict = rule_signs(inhibitory, n_neurons) != rule_signs(stdp_inhibitory, n_neurons)
    np.fill_diagonal(conflict, False)
    return conflict


def low_pass(traces: np.ndarray, frame_rate: float, cutoff: float) -> np.ndarray:
    r"""Smooth by :math:`y_t = \alpha x_t + (1 - \alpha) y_{t-1}`, :math:`\alpha = 2 \pi f_c / f_s`.

    It starts at the first value. That :math:`\alpha` is the filter's only far below the frame
    rate: exactly it would be :math:`1 - e^{-2 \pi f_c / f_s}`.

    Parameters
    ----------
    traces
        ``(time, neuron)``.
    frame_rate, cutoff
        :math:`f_s` and :math:`f_c`, Hz.

    Returns
    -------
    numpy.ndarray
        ``(time, neuron)``.
    """
    alpha = 2 * math.pi * cutoff / frame_rate
    start = (1 - alpha) * traces[:1]
    return lfilter([alpha], [1.0, alpha - 1.0], traces, axis=0, zi=start)[0]


def rises(smooth: np.ndarray, traces: np.ndarray) -> np.ndarray:
    """Return by how much a trace rises to the next frame, on top of its smallest value.

    The last value is there twice, so that all frames stay.

    Parameters
    ----------
    smooth, traces
        Smoothed and as they are, ``(time, neuron)``.

    Returns
    -------
    numpy.ndarray
        ``(time, neuron)``.
    """
    upward = np.maximum(np.diff(smooth, axis=0), 0.0)
    return np.concatenate([upward, upward[-1:]]) + traces.min(axis=0)


def over_median(values: np.ndarray) -> np.ndarray:
    """Return (x - median) / median of each column.

    Raises
    ------
    ValueError
        A median is not above 0, which would blow values up, or turn them round.
    """
    median = np.median(values, axis=0)
    if not (median > 0).all():
        raise ValueError(
            f"traces must be fluorescence, above 0; got a cell of median {median.min():g} after "
            f"filtering. Add the baseline: give 1 + dF/F."
        )
    return (values - median) / median


def scaled(values: np.ndarray, spread: float) -> np.ndarray:
    """Scale all values by one factor, so that their s.d. over frames and cells is `spread`.

    Raises
    ------
    ValueError
        No value changes.
    """
    sd = values.std(ddof=1)
    if not sd > 0:
        raise ValueError("traces must change over time; got constants. Check the recording.")
    return values * (spread / sd)


def as_steps(values: np.ndarray, frame_rate: float, compression: float) -> np.ndarray:
    """Interpolate between frames, by monotone cubics, to one row a step of "1 ms".

    Parameters
    ----------
    values
        ``(frame, neuron)``; a frame's value is at its end, and held before the first.
    frame_rate
        Hz.
    compression
        Milliseconds of the recording that are one step.

    Returns
    -------
    numpy.ndarray
        ``(step, neuron)``, float32.
    """
    frames = np.arange(1, len(values) + 1)
    per_step = compression * frame_rate / 1000
    n_steps = math.floor(len(values) / per_step + ROUNDING)
    at = np.clip(np.arange(1, n_steps + 1) * per_step, 1, len(values))
    steps = np.empty((n_steps, values.shape[1]), np.float32)
    for i, column in enumerate(values.T):
        steps[:, i] = PchipInterpolator(frames, column)(at)
    return steps


def prepare_traces(
    traces: np.ndarray,
    *,
    frame_rate: float = 10.0,
    cutoff: float = 0.2,
    spread: float = 5.0,
    compression: float = 10.0,
) -> np.ndarray:
    """Turn fluorescence into the current of the network, as the original does.

    `low_pass`, `rises`, `over_median`, `scaled`, `as_steps`, one after the other.

    Bias: what rises more slowly than the filter lets through is lost, and events of neighbouring
    frames merge (at .2 Hz over .8 s). A cell of weak baseline gets a strong current. At the
    compression of 10, a frame of 100 ms is ten steps that the network and the rule take for 1 ms:
    membranes and time constants are ten times too slow for the data.

    Parameters
    ----------
    traces
        Fluorescence ``(time, neuron)``, above 0, at least two frames; of dF/F, 1 + it.
    frame_rate
        Hz.
    cutoff
        Of the low-pass filter, Hz, below the frame rate over 2 pi.
    spread
        S.d. of the current over all cells and frames; the unit is that of Izhikevich's *I*.
    compression
        Milliseconds of the recording that are one step: 10 in the original, 1 is right.

    Returns
    -------
    numpy.ndarray
        Current ``(step, neuron)``, float32.

    Raises
    ------
    ValueError
        Traces are not as described, or a setting is outside its range.
    """
    values = np.asarray(traces, np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"traces must be finite (time, neuron), of two frames at least; got shape "
            f"{values.shape}. Transpose, or drop what is missing."
        )
    _check_preparing(frame_rate, cutoff, spread, compression)
    smooth = low_pass(values, frame_rate, cutoff)
    relative = over_median(rises(smooth, values))
    return as_steps(scaled(relative, spread), frame_rate, compression)


def _check_preparing(frame_rate: float, cutoff: float, spread: float, compression: float) -> None:
    """Check the settings of `prepare_traces`."""
    check_number("frame_rate", frame_rate, "a number of Hz above 0", 0)
    highest = frame_rate / (2 * math.pi)
    check_number("cutoff", cutoff, f"a number of Hz above 0 and below {highest:.3g}", 0, highest)
    check_number("spread", spread, "a number above 0", 0)
    check_number("compression", compression, "a number of ms above 0", 0)


class StdpRun(NamedTuple):
    """One run of the network.

    Parameters
    ----------
    spikes
        Truth values ``(step, neuron)``.
    initial, final
        Weights before and after, ``(source, target)``.
    potential
        Of one neuron after each step, before a reset, mV ``(step,)``.
    highest
        Highest potential of each neuron, mV ``(neuron,)``.
    """

    spikes: np.ndarray
    initial: np.ndarray
    final: np.ndarray
    potential: np.ndarray
    highest: np.ndarray

    @property
    def change(self) -> np.ndarray:
        """Relative change of the weights, ``(source, target)``, NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return self.final / self.initial - 1


def drive_network(
    current: np.ndarray,
    neurons: Izhikevich,
    weights: np.ndarray,
    signs: np.ndarray,
    rule: PairRule,
    *,
    clipped: bool = False,
    watched: int = 0,
) -> StdpRun:
    """Run Izhikevich neurons on given current while their synapses change.

    A step: neurons at 30 mV or more fire; their synapses change; they are reset; the weights of
    all that fired are added to the current; two half milliseconds of *v*, and one of *u*.

    Parameters
    ----------
    current
        ``(step, neuron)``.
    neurons
        Their parameters.
    weights
        At the start, ``(source, target)``, 0 on the diagonal.
    signs
        Of the rule, see `rule_signs`.
    rule
        Of plasticity.
    clipped
        Whether *v* is held at 30 mV from the half step on in which it gets there. In the original,
        as in Izhikevich's (2003) own program, it overshoots, and *u* with it.
    watched
        The neuron of which the potential is kept.

    Returns
    -------
    StdpRun
        Spikes, weights and potentials.

    Raises
    ------
    ValueError
        What is given is not about the same neurons.
    """
    n_steps, n = current.shape
    if np.shape(weights) != (n, n) or np.shape(signs) != (n, n) or len(neurons.a) != n:
        raise ValueError(
            f"weights and signs must be {n} x {n}, of {n} neurons, as current is; got shapes "
            f"{np.shape(weights)} and {np.shape(signs)} of {len(neurons.a)}. Correct them."
        )
    if not 0 <= watched < n:
        raise ValueError(f"watched must be from 0 to {n - 1}; got {watched}. Name a neuron.")
    final = np.array(weights, np.float64)
    spikes = np.zeros((n_steps, n), np.bool_)
    potential, highest = np.empty(n_steps), np.full(n, REST)
    cells = np.array([neurons.a, neurons.b, neurons.c, neurons.d], np.float64)
    how = rule._applied(signs, final)
    ceiling = PEAK if clipped else np.inf
    _live(
        np.ascontiguousarray(current, np.float32), cells, final, how, ceiling, watched,
        (spikes, potential, highest),
    )  # fmt: skip
    return StdpRun(spikes, np.array(weights, np.float64), final, potential, highest)


class StdpNetwork(BaseEstimator):
    r"""The change of random synapses in a network that recorded calcium drives, as connectivity.

    Neurons are Izhikevich's (2003), half-millisecond steps, with random parameters; weights start
    uniform, 0 to .5 of excitatory and -1 to 0 of inhibitory sources, all to all; current is that of
    `prepare_traces`, plus the weights of what fires; synapses change by `PairRule`. The score is
    :math:`(w_\mathrm{end} - w_\mathrm{start}) / w_\mathrm{start}`, the mean over random repeats.

    Bias: the score says how often two neurons are active together, which follows from their rates
    and from what they share, see `independent_drift`; it is no estimate of a synapse. Nothing is
    fitted; signs are given and not found. The defaults are those of the original.

    Parameters
    ----------
    step
        Duration of a frame, s.
    inhibitory
        Who inhibits: positions, or truth values ``(neuron,)``; the original's are
        `ORIGINAL_INHIBITORY`.
    stdp_inhibitory
        Who does according to the rule (`ORIGINAL_STDP_INHIBITORY`); by default the same.
    compression
        Milliseconds of the recording that are one step of "1 ms": 10 in the original, 1 is right.
    rule
        Of plasticity.
    clipped
        See `drive_network`.
    cutoff, spread
        See `prepare_traces`.
    n_repeats
        Networks that are drawn.
    seed
        Of the draws.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        Mean relative change; NaN on the diagonal.
    repeat_scores_ : (repeat, source, target) numpy.ndarray
        That of each network.
    signs_ : (neuron,) numpy.ndarray
        1 or -1, as given.
    rates_ : (repeat, neuron) numpy.ndarray
        Spikes of the network a second of the recording; the network, whose seconds have
        `compression` times less of it, has so many times more spikes in one of its own.
    highest_ : float
        Highest potential of all, mV.
    """

    def __init__(
        self,
        *,
        step: float = 0.1,
        inhibitory: Sequence[int] | np.ndarray = (),
        stdp_inhibitory: Sequence[int] | np.ndarray | None = None,
        compression: float = 10.0,
        rule: PairRule = PairRule(),
        clipped: bool = False,
        cutoff: float = 0.2,
        spread: float = 5.0,
        n_repeats: int = 10,
        seed: int = 0,
    ) -> None:
        self.step, self.inhibitory, self.stdp_inhibitory = step, inhibitory, stdp_inhibitory
        self.compression, self.rule, self.clipped = compression, rule, clipped
        self.cutoff, self.spread = cutoff, spread
        self.n_repeats, self.seed = n_repeats, seed

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> StdpNetwork:
        """Run all networks.

        Parameters
        ----------
        activity
            Fluorescence above 0 ``(time, neuron)``, 1 + dF/F for one. Spikes are counted in bins
            of `step` and taken for fluorescence on a baseline of 1.
        start, stop
            From where to where, s.

        Returns
        -------
        StdpNetwork
            Itself.

        Raises
        ------
        ValueError
            The activity is not as described, or a setting is outside its range.
        FloatingPointError
            Weights run away.
        """
        check_whole("n_repeats", self.n_repeats, 1)
        current = self.current(activity, start=start, stop=stop)
        scores, rates, highest = [], [], []
        for repeat in range(self.n_repeats):
            run = self.run(current, repeat)
            _check_runaway(run)
            scores.append(run.change)
            rates.append(run.spikes.sum(axis=0) / (len(current) * self.compression / 1000))
            highest.append(run.highest.max())
        self.repeat_scores_ = np.array(scores)
        self.scores_ = self.repeat_scores_.mean(axis=0)
        self.rates_, self.highest_ = np.array(rates), float(max(highest))
        self.signs_ = np.where(_mask(self.inhibitory, current.shape[1]), -1, 1)
        return self

    def current(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> np.ndarray:
        """Return the current of the network, ``(step, neuron)``; raises as `fit`."""
        values = observed_bins(activity, self.step, start, stop)
        return prepare_traces(
            values + 1 if isinstance(activity, SpikeTimes) else values,
            frame_rate=1 / self.step,
            cutoff=self.cutoff,
            spread=self.spread,
            compression=self.compression,
        )

    def run(self, current: np.ndarray, repeat: int = 0, watched: int = 0) -> StdpRun:
        """Draw one network and run it.

        Parameters
        ----------
        current
            ``(step, neuron)``, see `current`.
        repeat
            Which of the draws.
        watched
            The neuron of which the potential is kept.

        Returns
        -------
        StdpRun
            All that happened.

        Raises
        ------
        ValueError
            The lists of inhibitory neurons do not fit.
        """
        check_whole("seed", self.seed, 0)
        n = current.shape[1]
        rng = np.random.default_rng([self.seed, repeat])
        inhibits = _mask(self.inhibitory, n)
        listed = self.inhibitory if self.stdp_inhibitory is None else self.stdp_inhibitory
        return drive_network(
            current,
            Izhikevich.drawn(inhibits, rng),
            draw_weights(inhibits, rng),
            rule_signs(listed, n),
            self.rule,
            clipped=self.clipped,
            watched=watched,
        )


def _check_runaway(run: StdpRun) -> None:
    """Refuse weights that have left any scale."""
    if not (np.abs(run.final) < RUNAWAY).all():
        raise FloatingPointError(
            f"weights run away: one is above {RUNAWAY:g}, where all began below 1. Give a rule "
            f"with a bound."
        )


def draw_weights(inhibits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw weights from all to all: 0 to .5 of excitatory, -1 to 0 of inhibitory sources.

    Parameters
    ----------
    inhibits
        Truth values ``(neuron,)``.
    rng
        Source of the draw.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, 0 on the diagonal.
    """
    n = len(inhibits)
    weights = np.where(inhibits, -1.0, 0.5)[:, None] * rng.random((n, n))
    np.fill_diagonal(weights, 0.0)
    return weights


def stdp_drift(
    spikes: SpikeTimes,
    inhibitory: Sequence[int] | np.ndarray = (),
    *,
    rule: PairRule = PairRule(partners="pair"),
    compression: float = 1.0,
) -> np.ndarray:
    r"""Relative change of each synapse if the rule sees given spikes: the rule without the network.

    .. math:: \prod (1 + s_{ij} A_+ e^{-\Delta / \tau_+}) \prod (1 - s_{ij} A_- e^{-\Delta/\tau_-})
              - 1

    over the pairs of spikes that the rule takes. The weight itself cancels.

    Bias: as `StdpNetwork`; `independent_drift` is what rates alone make of it.

    Parameters
    ----------
    spikes
        In s. They are taken in steps; several spikes of a neuron in a step are one.
    inhibitory
        Who inhibits, see `rule_signs`.
    rule
        Of plasticity; by default nearest neighbours.
    compression
        Milliseconds that are one step of the rule: 1 is right, 10 is the original's.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, NaN on the diagonal.

    Raises
    ------
    ValueError
        Fewer than two neurons, or a setting outside its range.
    FloatingPointError
        Weights grow beyond any number.
    """
    return _growth(spikes, inhibitory, rule, compression) - 1


def excess_drift(
    spikes: SpikeTimes,
    duration: float,
    inhibitory: Sequence[int] | np.ndarray = (),
    *,
    rule: PairRule = PairRule(partners="pair"),
    compression: float = 1.0,
) -> np.ndarray:
    r"""What the rule sees beyond the rates, positive where the source fires before the target.

    .. math:: s_{ij} \left[\log(1 + d_{ij}) - \log(1 + d^0_{ij})\right]

    of `stdp_drift` *d* and `independent_drift` :math:`d^0` for the same rates; 0 between inhibitory
    neurons. It is a difference of correlogram areas, which any correlogram method weighs better.

    Bias: rates that go up and down together are taken for coupling.

    Parameters
    ----------
    spikes
        From 0 s on.
    duration
        s.
    inhibitory, rule, compression
        As for `stdp_drift`; the rule has no bound.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, NaN on the diagonal.

    Raises
    ------
    ValueError, FloatingPointError
        As `stdp_drift`, or a bound.
    """
    if math.isfinite(rule.bound):
        raise ValueError(f"rule must have no bound here; got {rule.bound}. Leave it out.")
    growth = _growth(spikes, inhibitory, rule, compression)
    n_steps = duration * 1000 / compression
    chance = np.bincount(_events(spikes, compression)[1], minlength=len(growth)) / n_steps
    signs = rule_signs(inhibitory, len(growth))
    return signs * (np.log(growth) - n_steps * _independent_growth(chance, signs, rule))


def independent_drift(
    rates: np.ndarray,
    duration: float,
    inhibitory: Sequence[int] | np.ndarray = (),
    *,
    rule: PairRule = PairRule(partners="pair"),
    compression: float = 1.0,
) -> np.ndarray:
    r"""Drift that neurons of constant rates have which do not know of each other.

    With the probability :math:`p_i` of a spike in a step, a spike of *j* finds the last of *i*
    :math:`\Delta` steps ago with probability :math:`p_i Q^{\Delta - 1}`, where *Q* is that of a
    step without a spike of *i*, or, for ``"population"``, of anyone:

    .. math:: \log(1 + d_{ij}) = T p_i p_j \sum_\Delta Q^{\Delta - 1}
              \left[\log(1 + s_{ij} A_+ e^{-\Delta/\tau_+})
              + \log(1 - s_{ij} A_- e^{-\Delta/\tau_-})\right],

    where *Q* of the first term is of *i* and that of the second of *j*.

    Parameters
    ----------
    rates
        Spikes a second, ``(neuron,)``; of those that a step can tell, one at most in each.
    duration
        s.
    inhibitory, rule, compression
        As for `stdp_drift`.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, NaN on the diagonal.

    Raises
    ------
    ValueError
        More than a spike a step.
    """
    chance = np.asarray(rates, np.float64) * compression / 1000  # of a spike in a step
    if chance.ndim != 1 or not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError(
            f"rates must be (neuron,), from 0 to one spike a step of {compression} ms; got shape "
            f"{chance.shape}, up to {chance.max(initial=0):g} spikes a step. Count each step once."
        )
    growth = _independent_growth(chance, rule_signs(inhibitory, len(chance)), rule)
    drift = np.expm1(growth * duration * 1000 / compression)
    np.fill_diagonal(drift, np.nan)
    return drift


class Picking(NamedTuple):
    """An effect over random ensembles, ``(draw,)``: mean of all runs, and of the accepted ones."""

    honest: np.ndarray
    accepted: np.ndarray

    def beyond(self, threshold: float) -> tuple[float, float]:
        """Return the shares of draws whose effect is above a threshold, of both."""
        return float(np.mean(self.honest > threshold)), float(np.mean(self.accepted > threshold))


def ensemble_change(
    repeat_scores: np.ndarray, sources: Sequence[int], targets: Sequence[int]
) -> np.ndarray:
    """Mean relative change of the synapses from some neurons to others, of each run.

    Parameters
    ----------
    repeat_scores
        ``(repeat, source, target)``, NaN where there is no synapse.
    sources, targets
        Positions of neurons.

    Returns
    -------
    numpy.ndarray
        ``(repeat,)``.

    Raises
    ------
    ValueError
        There is no synapse between them.
    """
    block = repeat_scores[:, list(sources)][:, :, list(targets)]
    if not np.isfinite(block).any(axis=(1, 2)).all():
        raise ValueError("the neurons must have synapses; got none between them. Name others.")
    return np.nanmean(block, axis=(1, 2))


def picked_effects(
    repeat_scores: np.ndarray,
    neurons: Sequence[int] | np.ndarray,
    *,
    size: int = 3,
    n_accepted: int = 3,
    n_draws: int = 1000,
    seed: int = 0,
) -> Picking:
    """Measure what picking runs by their result does to an effect that is not there.

    Two ensembles are drawn at random, so that none is special. The effect is that of the original:
    the mean change within the one, less that of synapses from the other to it. It is taken over all
    runs, and over the runs in which it is largest.

    Parameters
    ----------
    repeat_scores
        ``(repeat, source, target)``.
    neurons
        Positions of those to draw from.
    size
        Neurons of an ensemble: 3 in the original.
    n_accepted
        Runs that are kept; the original shows 10 and accepts 3.
    n_draws
        Pairs of ensembles.
    seed
        Of the draws.

    Returns
    -------
    Picking
        Effects of all pairs of ensembles.

    Raises
    ------
    ValueError
        There are too few neurons or runs.
    """
    check_whole("size", size, 2)
    check_whole("n_accepted", n_accepted, 1)
    neurons = np.asarray(neurons)
    if len(neurons) < 2 * size or n_accepted > len(repeat_scores):
        raise ValueError(
            f"two ensembles of {size} and {n_accepted} accepted runs are needed; got "
            f"{len(neurons)} neurons and {len(repeat_scores)} runs. Give more, or ask for less."
        )
    rng = np.random.default_rng(seed)
    effects = np.empty((n_draws, len(repeat_scores)))
    for effect in effects:
        drawn = rng.choice(neurons, 2 * size, replace=False)
        one, other = drawn[:size], drawn[size:]
        effect[:] = ensemble_change(repeat_scores, one, one)
        effect -= ensemble_change(repeat_scores, other, one)
    best = np.sort(effects, axis=1)[:, -n_accepted:]
    return Picking(effects.mean(axis=1), best.mean(axis=1))


def run_agreement(repeat_scores: np.ndarray) -> float:
    """Mean rank correlation of the scores of two runs, over all pairs of runs.

    Parameters
    ----------
    repeat_scores
        ``(repeat, source, target)``, of two runs at least.

    Returns
    -------
    float
        NaN where a run has all scores equal.

    Raises
    ------
    ValueError
        There is only one run.
    """
    n_runs, n = repeat_scores.shape[:2]
    if n_runs < 2:
        raise ValueError("two runs are needed to compare; got one. Raise n_repeats.")
    values = repeat_scores[:, ~np.eye(n, dtype=bool)]
    if (np.ptp(values, axis=1) == 0).any():
        return float("nan")
    correlation = np.corrcoef(rankdata(values, axis=1))
    return float(correlation[np.triu_indices(n_runs, 1)].mean())


def explained_by_rates(
    scores: np.ndarray, rates: np.ndarray, inhibitory: Sequence[int] | np.ndarray = ()
) -> float:
    r"""Rank correlation of :math:`s_{ij} d_{ij}` with the product of the two rates.

    Pairs that the rule leaves alone are left out.

    Parameters
    ----------
    scores
        Drift *d* ``(source, target)``, NaN on the diagonal.
    rates
        ``(neuron,)``, in any unit.
    inhibitory
        Who inhibits according to the rule, see `rule_signs`.

    Returns
    -------
    float
        NaN where either is the same for all pairs.
    """
    signs = rule_signs(inhibitory, len(rates))
    taken = (signs != 0) & np.isfinite(scores)
    drift, product = (signs * scores)[taken], np.outer(rates, rates)[taken]
    if min(np.ptp(drift), np.ptp(product)) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(drift), rankdata(product))[0, 1])


def share_of_next_step(spikes: np.ndarray) -> float:
    """Share of the pairs of the population rule whose spikes are one step apart.

    Parameters
    ----------
    spikes
        Truth values ``(step, neuron)``.

    Returns
    -------
    float
        NaN where nothing can be paired.
    """
    sizes = spikes.sum(axis=1)
    active = np.flatnonzero(sizes)
    pairs = sizes[active[1:]] * sizes[active[:-1]]
    return float(pairs[np.diff(active) == 1].sum() / pairs.sum()) if pairs.sum() else float("nan")


def _growth(
    spikes: SpikeTimes, inhibitory: Sequence[int] | np.ndarray, rule: PairRule, compression: float
) -> np.ndarray:
    """Return the ratio of weights after and before given spikes, NaN on the diagonal."""
    n = spikes.n_units
    if n < 2:
        raise ValueError(f"spikes must be of two neurons or more; got {n}. Give all of them.")
    check_number("compression", compression, "a number of ms above 0", 0)
    growth = np.ones((n, n))
    how = rule._applied(rule_signs(inhibitory, n), growth)
    _replay(*_events(spikes, compression), growth, how)
    np.fill_diagonal(growth, np.nan)
    if np.isinf(growth).any():
        raise FloatingPointError(
            "weights have grown beyond any number, for nothing bounds them. Give fewer spikes, or "
            "a rule with a bound."
        )
    return growth


def _independent_growth(chance: np.ndarray, signs: np.ndarray, rule: PairRule) -> np.ndarray:
    """Return the expected logarithm of growth a step, of spikes of given probability a step."""
    gains, losses = rule.tables()
    silent = 1 - chance
    if rule.partners == "population":
        silent = np.full(len(chance), silent.prod())
    waits = silent[:, None] ** np.arange(len(gains) - 1)  # (neuron, lag), lag from 1
    gained = _by_sign(signs, waits @ np.log1p([gains[1:], -gains[1:]]).T)
    lost = _by_sign(signs.T, waits @ np.log1p([-losses[1:], losses[1:]]).T).T
    return np.outer(chance, chance) * (gained + lost)


def _events(spikes: SpikeTimes, compression: float) -> tuple[np.ndarray, np.ndarray]:
    """Return step and neuron of all spikes in order of time, each neuron once a step."""
    n = spikes.n_units
    when = np.floor(spikes.times * 1000 / compression + ROUNDING).astype(np.int64)
    events = np.unique(when * n + np.repeat(np.arange(n), spikes.n_spikes))
    return events // n, events % n


def _by_sign(signs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Choose, for each row, the first of two values where the sign is 1, the second where -1."""
    positive, negative = values.T[:, :, None]
    return np.where(signs > 0, positive, np.where(signs < 0, negative, 0.0))


def _mask(inhibitory: Sequence[int] | np.ndarray, n_neurons: int) -> np.ndarray:
    """Return truth values ``(neuron,)``, whatever came."""
    listed = np.asarray(inhibitory)
    if listed.dtype == bool:
        fits = listed.shape == (n_neurons,)
    else:
        whole = listed.ndim == 1 and (listed.dtype.kind in "iu" or listed.size == 0)
        fits = whole and ((listed >= 0) & (listed < n_neurons)).all()
    if not fits:
        raise ValueError(
            f"inhibitory must be positions from 0 to {n_neurons - 1}, or one truth value a "
            f"neuron; got {listed}. Correct it."
        )
    mask = np.zeros(n_neurons, bool)
    mask[listed if listed.size else []] = True
    return mask


@numba.njit(cache=True, nogil=True)
def _adapt(weights, how, fired, last, step, previous):  # pragma: no cover
    """Change the synapses of those that fire now, with those that fired before."""
    signs, gains, losses, population, limits = how
    n = len(last)
    for j in fired:
        for i in range(n):
            lag = step - last[i]
            if lag >= len(gains) or (population and last[i] != previous):
                continue
            later = weights[i, j] * (1.0 + signs[i, j] * gains[lag])
            earlier = weights[j, i] * (1.0 - signs[j, i] * losses[lag])
            weights[i, j] = min(max(later, -limits[i, j]), limits[i, j])
            weights[j, i] = min(max(earlier, -limits[j, i]), limits[j, i])
    for j in fired:
        last[j] = step


@numba.njit(cache=True, nogil=True)
def _replay(when, who, drift, how):  # pragma: no cover
    """Let the rule see given spikes, in order of time."""
    last = np.full(len(drift), NEVER)
    first, previous = 0, NEVER
    while first < len(when):
        end = first
        while end < len(when) and when[end] == when[first]:
            end += 1
        _adapt(drift, how, who[first:end], last, when[first], previous)
        previous, first = when[first], end


@numba.njit(cache=True, nogil=True)
def _live(current, cells, weights, how, ceiling, watched, out):  # pragma: no cover
    """Step through time; changes the weights and fills what comes out."""
    a, b, c, d = cells
    spikes, potential, highest = out
    n_steps, n = current.shape
    v = np.full(n, REST)
    u = b * v
    received, fired = np.empty(n), np.empty(n, np.int64)
    last, previous = np.full(n, NEVER), NEVER
    for step in range(n_steps):
        n_fired = 0
        for i in range(n):
            received[i] = current[step, i]
            if v[i] >= PEAK:
                spikes[step, i] = True
                fired[n_fired] = i
                n_fired += 1
        if n_fired:
            _adapt(weights, how, fired[:n_fired], last, step, previous)
            previous = step
        for i in fired[:n_fired]:
            v[i] = c[i]
            u[i] += d[i]
            received += weights[i]
        for i in range(n):
            x = v[i]
            for _ in range(2):
                if x < ceiling:
                    x += 0.5 * (0.04 * x * x + 5.0 * x + 140.0 - u[i] + received[i])
                x = min(x, ceiling)
            v[i] = x
            u[i] += a[i] * (b[i] * x - u[i])
            highest[i] = max(highest[i], x)
        potential[step] = v[watched]
