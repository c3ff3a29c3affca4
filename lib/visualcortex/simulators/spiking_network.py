"""A recurrent network of neurons that spike at random, with known synapses: the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

STEP_MS = 10  # ms: inputs from outside the network are held for so long


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses of a network, source by source.

    Parameters
    ----------
    first
        Where the synapses of each source begin, ``(neuron + 1,)``.
    target
        Target of each synapse, ``(synapse,)``.
    weight
        Jump of the target's potential, mV, ``(synapse,)``.
    delay
        Time until it arrives, whole ms, at least 1, ``(synapse,)``.
    """

    first: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    delay: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray, delays: np.ndarray) -> Synapses:
        """Return the synapses of matrices ``(source, target)``; 0 mV where there is none."""
        source, target = np.nonzero(weights)
        first = np.searchsorted(source, np.arange(len(weights) + 1))
        strength = weights[source, target].astype(np.float32)
        return cls(
            first, target.astype(np.int32), strength, delays[source, target].astype(np.int32)
        )


@dataclass(frozen=True, kw_only=True)
class Membrane:
    r"""How a neuron turns its potential into spikes: a spike response model with escape noise.

    The potential above threshold is :math:`u = I + h + \eta`, with the input *I* from outside,
    the sum *h* of postsynaptic potentials, which decay exponentially, and the after-potential
    :math:`\eta`, which each spike sets to :math:`-\eta_0` and which decays likewise. A spike comes
    at the rate :math:`\rho_0 e^{u/\delta}` (Gerstner, Kistler, Naud and Paninski 2014), except
    within the refractory time.

    Parameters
    ----------
    decay
        Of postsynaptic potentials, ms.
    softness
        :math:`\delta`, mV: how gradually the rate rises with the potential; 1 to 4 mV in cortical
        neurons (Jolivet, Rauch, Lüscher and Gerstner 2006).
    rate_at_threshold
        :math:`\rho_0`, spikes a ms.
    after_potential, after_decay
        :math:`\eta_0`, mV, and its decay, ms.
    refractory
        ms.
    """

    decay: float = 12.0
    softness: float = 2.5
    rate_at_threshold: float = 0.02
    after_potential: float = 6.0
    after_decay: float = 20.0
    refractory: int = 2

    def constants(self) -> tuple[float, ...]:
        """Return what the loop over time takes, in its order."""
        return (
            math.exp(-1 / self.decay),
            math.exp(-1 / self.after_decay),
            self.after_potential,
            1 / self.softness,
            self.rate_at_threshold,
            float(self.refractory),
        )


class Network:
    """A network in its state at some time.

    Parameters
    ----------
    synapses
        Who excites or inhibits whom.
    membrane
        The kind of its neurons.
    rng
        Source of its first state and of the seed of its spikes.
    """

    def __init__(self, synapses: Synapses, membrane: Membrane, rng: np.random.Generator) -> None:
        n = len(synapses.first) - 1
        self.synapses, self.membrane = synapses, membrane
        self.potential = np.zeros(n, np.float32)
        self.after = np.zeros(n, np.float32)
        self.rest = np.zeros(n, np.float32)  # ms until it may spike again
        self.due = rng.exponential(size=n).astype(np.float32)  # hazard that is left to the next
        n_slots = int(synapses.delay.max(initial=1)) + 1
        self.arriving = np.zeros((n_slots, n), np.float32)  # by the ms of arrival, a ring
        self.clock = np.zeros(2, np.int64)  # place in the ring; state of the random numbers
        self.clock[1] = rng.integers(2**62)

    def run(self, drive: np.ndarray, *, hazard: bool = False) -> tuple[np.ndarray, ...]:
        """Go on in time.

        Parameters
        ----------
        drive
            Input from outside, mV above threshold, ``(step, neuron)``, a step of 10 ms.
        hazard
            Whether to return the third array.

        Returns
        -------
        when, who
            ms since the first step, ascending, and the neuron, of each spike.
        hazards
            Sum over the ms of each step of the rate of spikes that the neuron would have without
            the input from outside, ``(step, neuron)``; none unless asked for.
        """
        n_steps, n = drive.shape
        hazards = np.zeros((n_steps if hazard else 0, n), np.float32)
        capacity = (n_steps + STEP_MS) * n  # 100 spikes/s each
        when, who = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
        s = self.synapses
        state = (self.potential, self.after, self.rest, self.due, self.arriving, self.clock)
        wiring = (s.first, s.target, s.weight, s.delay)
        n_spikes = _run(
            np.ascontiguousarray(drive, np.float32),
            *state,
            *wiring,
            np.array(self.membrane.constants(), np.float32),
            when,
            who,
            hazards,
        )
        if n_spikes < 0:
            raise FloatingPointError(
                "the network fires at more than 100 spikes/s on average: it has run away. Weaken "
                "its excitation, or strengthen its inhibition."
            )
        return when[:n_spikes].copy(), who[:n_spikes].copy(), hazards


@numba.njit(cache=True, nogil=True)
def _exponential(clock: np.ndarray) -> float:
    """Draw from the exponential distribution by the generator splitmix64 (Steele et al. 2014)."""
    clock[1] += np.int64(-7046029254386353131)
    z = np.uint64(clock[1])
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return -math.log((float(z >> np.uint64(11)) + 1.0) * 2.0**-53)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _run(
    drive,
    potential,
    after,
    rest,
    due,
    arriving,
    clock,
    first,
    target,
    weight,
    delay,
    constants,
    when,
    who,
    hazards,
):  # pragma: no cover
    """Step through time, a ms at a time; returns the number of spikes, -1 if there is no room.

    A neuron spikes when the rate, summed since its last spike, exceeds an exponential variable:
    random numbers are drawn once a spike.
    """
    n_steps, n = drive.shape
    n_slots = arriving.shape[0]
    n_spikes = 0
    decay, after_decay, depth, sharpness, rate, dead = constants
    for step in range(n_steps):
        base = drive[step]
        if n_spikes + n * STEP_MS > len(when):
            return -1
        for ms in range(step * STEP_MS, (step + 1) * STEP_MS):
            slot = clock[0]
            clock[0] = (slot + 1) % n_slots
            for i in range(n):
                potential[i] = potential[i] * decay + arriving[slot, i]
                arriving[slot, i] = 0.0
                after[i] *= after_decay
                if rest[i] > 0.0:
                    rest[i] -= 1.0
                    continue
                inside = (potential[i] + after[i]) * sharpness
                due[i] -= rate * math.exp(inside + base[i] * sharpness)
                if len(hazards):
                    hazards[step, i] += rate * math.exp(inside)
                if due[i] > 0.0:
                    continue
                due[i] = _exponential(clock)
                after[i] = -depth
                rest[i] = dead
                when[n_spikes] = ms
                who[n_spikes] = i
                n_spikes += 1
                for k in range(first[i], first[i + 1]):
                    arriving[(slot + delay[k]) % n_slots, target[k]] += weight[k]
    return n_spikes
