"""Networks of deterministic spiking neurons, LIF or Izhikevich, with known synapses: the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from visualcortex.simulators.spiking_network import Synapses

HELD_MS = 10  # input that all neurons share is held for so long
CHUNK = 4000  # steps that are run at a time
FASTEST = 0.25  # spikes a ms and neuron, on average over a chunk, beyond which it has run away

_LOW = np.uint64(2**16 - 1)
_MIDDLE = np.float32(2 * (2**16 - 1))  # of a sum of four uniform whole numbers of 16 bits
_SCALE = np.float32(1 / math.sqrt((2.0**32 - 1) / 3))


@dataclass(frozen=True, kw_only=True)
class Leaky:
    r"""Leaky integrate-and-fire neurons.

    .. math:: \tau \dot V = -V + \mu + \text{noise} + \text{spikes},

    exactly solved between steps; where *V* reaches the threshold :math:`\theta`, a spike comes,
    and *V* stays at the reset for the refractory time. Without noise, and with
    :math:`\mu > \theta`, the interval is :math:`T = t_r + \tau \ln\frac{\mu - V_r}{\mu - \theta}`
    (Gerstner, Kistler, Naud and Paninski 2014), rounded up to whole steps.

    Parameters
    ----------
    decay
        :math:`\tau`, ms.
    threshold, reset
        :math:`\theta` and :math:`V_r`, mV above rest.
    refractory
        :math:`t_r`, ms, a whole number of steps.
    """

    decay: float = 20.0
    threshold: float = 20.0
    reset: float = 10.0
    refractory: float = 2.0

    step = 1.0  # ms

    def interval(self, drive: float) -> float:
        """Return the interval between spikes at constant input, ms; infinite below threshold."""
        if drive <= self.threshold:
            return math.inf
        ratio = (drive - self.reset) / (drive - self.threshold)
        return self.refractory + self.decay * math.log(ratio)

    def constants(self, noise: float) -> np.ndarray:
        """Return what the loop takes; `noise` is the s.d. of *V* without a threshold, mV."""
        keep = math.exp(-self.step / self.decay)
        spread = noise * math.sqrt(1 - keep**2)
        dead = round(self.refractory / self.step)
        return np.array([keep, self.threshold, self.reset, dead, spread], np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Izhikevich:
    r"""Izhikevich's (2003) neurons, each with parameters of its own.

    .. math:: \dot v = 0.04 v^2 + 5 v + 140 - u + I, \qquad \dot u = a (b v - u),

    in mV and ms, by Euler's method in steps of 0.5 ms, *v* before *u*; where *v* reaches 30 mV, a
    spike comes, *v* becomes *c* and *u* increases by *d*.

    Parameters
    ----------
    a, b, c, d
        ``(neuron,)``. Regular spiking: .02, .2, -65, 8; fast spiking: .1, .2, -65, 2.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray

    step = 0.5  # ms

    @classmethod
    def drawn(cls, inhibitory: np.ndarray, rng: np.random.Generator) -> Izhikevich:
        """Draw neurons as in Izhikevich (2003): regular to chattering, and fast spiking.

        Parameters
        ----------
        inhibitory
            Truth values ``(neuron,)``.
        rng
            Source of the draw.
        """
        r = rng.random(len(inhibitory))
        return cls(
            a=np.where(inhibitory, 0.02 + 0.08 * r, 0.02),
            b=np.where(inhibitory, 0.25 - 0.05 * r, 0.2),
            c=np.where(inhibitory, -65.0, -65 + 15 * r**2),
            d=np.where(inhibitory, 2.0, 8 - 6 * r**2),
        )

    def parameters(self) -> np.ndarray:
        """Return what the loop takes, ``(4, neuron)``, float32."""
        return np.array([self.a, self.b, self.c, self.d], np.float32)


@dataclass(frozen=True, kw_only=True)
class Depression:
    r"""Short-term depression of the synapses of each source (Tsodyks and Markram 1997).

    A spike jumps the targets by :math:`x w` and leaves :math:`(1 - U) x` of the resource, which
    recovers towards 1 with time constant :math:`\tau`. With the rate *r*, the strength is on
    average about :math:`1 / (1 + U r \tau)` of *w*.

    Parameters
    ----------
    use
        *U*, 0 to 1, ``(neuron,)``; 0 is none.
    recovery
        :math:`\tau`, ms.
    """

    use: np.ndarray
    recovery: float = 500.0


class Circuit:
    r"""A network in its state at some time.

    Every spike is passed on along the synapses of its source and nowhere else: what a spike costs
    grows with their number. Noise is white and of each neuron's own, in every step the sum of four
    uniform variables, which the membrane makes normal. Rounding is the same on every machine, so
    that a seed gives the same spikes everywhere.

    Parameters
    ----------
    synapses
        Who drives whom, by how many mV; delays in whole steps, at least 1.
    neurons
        Their kind.
    drive
        Constant input ``(neuron,)``: :math:`\mu`, mV above rest, of leaky neurons; *I* of
        Izhikevich's.
    noise
        Of each neuron, ``(neuron,)``: s.d. of the potential without a threshold, mV, of leaky
        neurons; mV for the square root of a ms of Izhikevich's.
    rng
        Source of its first state and of the seeds of the noise.
    depression
        Of its synapses; none by default.
    """

    def __init__(
        self,
        synapses: Synapses,
        neurons: Leaky | Izhikevich,
        drive: np.ndarray,
        noise: np.ndarray,
        rng: np.random.Generator,
        depression: Depression | None = None,
    ) -> None:
        n = len(synapses.first) - 1
        _check_delays(synapses.delay)
        self.synapses, self.neurons = synapses, neurons
        self.drive = np.broadcast_to(np.asarray(drive, np.float32), n).copy()
        self.noise = np.broadcast_to(np.asarray(noise, np.float32), n).copy()
        use = np.zeros(n) if depression is None else depression.use
        recovery = math.inf if depression is None else depression.recovery
        self.use = np.broadcast_to(np.asarray(use, np.float32), n).copy()
        self.fading = np.float32(neurons.step / recovery)  # of what was used, a step
        self.resource = np.ones(n, np.float32)
        self.last = np.zeros(n, np.int64)
        slots = int(synapses.delay.max(initial=1)) + 1
        self.arriving = np.zeros((slots, n), np.float32)  # by the step of arrival, a ring
        self.clock = np.zeros(2, np.int64)  # place in the ring; steps so far
        self.random = rng.integers(1, 2**63, size=n).astype(np.uint64)
        self._start(n, rng)

    def _start(self, n: int, rng: np.random.Generator) -> None:
        """Put the neurons anywhere between spikes."""
        uniform = rng.random(n).astype(np.float32)
        if isinstance(self.neurons, Leaky):
            low, high = self.neurons.reset, self.neurons.threshold
            self.potential = np.where(self.noise > 0, low + uniform * (high - low), 0)
            self.other = np.zeros(n, np.float32)  # steps until it may spike again
        else:
            self.potential = np.where(self.noise > 0, -70 + 10 * uniform, -65)
            self.other = (self.neurons.b * self.potential).astype(np.float32)  # u
        self.potential = self.potential.astype(np.float32)

    def run(self, n_steps: int, shared: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Go on in time.

        Parameters
        ----------
        n_steps
            How many steps, of ``neurons.step`` ms.
        shared
            Input that is added to the drive of all neurons, in its unit, one number every 10 ms;
            none by default.

        Returns
        -------
        when, who
            Step since the first of this call, ascending, int64, and neuron of each spike, int32.

        Raises
        ------
        FloatingPointError
            The network has run away.
        ValueError
            `shared` is shorter than the run.
        """
        held = round(HELD_MS / self.neurons.step)
        common = np.zeros(-(-n_steps // held)) if shared is None else np.asarray(shared)
        if len(common) * held < n_steps:
            raise ValueError(
                f"shared must have a number for every {HELD_MS} ms, {-(-n_steps // held)}; got "
                f"{len(common)}. Lengthen it."
            )
        common = common.astype(np.float32)
        parts = [self._part(t, min(CHUNK, n_steps - t), common) for t in range(0, n_steps, CHUNK)]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int32)
        when, who = zip(*parts, strict=True)
        return np.concatenate(when), np.concatenate(who)

    def _part(self, start: int, n_steps: int, common: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run some steps; `start` is the first, counted from that of `common`."""
        n = len(self.drive)
        held = round(HELD_MS / self.neurons.step)
        capacity = int(n * n_steps * self.neurons.step * FASTEST) + 2 * n
        when, who = np.empty(capacity, np.int64), np.empty(capacity, np.int32)
        s = self.synapses
        outside = common[np.arange(start, start + n_steps) // held]
        out = (self.use, self.fading, self.resource, self.last, self.arriving, self.clock)
        wiring = (s.first.astype(np.int64), s.target, s.weight, s.delay)
        state = (self.drive, outside, self.potential, self.other, self.random)
        if isinstance(self.neurons, Leaky):
            spread = self.noise * self.neurons.constants(1.0)[4]
            n_spikes = _run_leaky(
                self.neurons.constants(1.0), spread, *state, out, wiring, when, who
            )
        else:
            spread = self.noise * np.float32(math.sqrt(self.neurons.step))
            n_spikes = _run_izhikevich(
                self.neurons.parameters(), spread, *state, out, wiring, when, who
            )
        if n_spikes < 0:
            raise FloatingPointError(
                f"the network fires at more than {FASTEST * 1000:g} spikes/s on average: it has "
                f"run away. Weaken its excitation, or strengthen its inhibition."
            )
        return when[:n_spikes] + start, who[:n_spikes].copy()


def _check_delays(delays: np.ndarray) -> None:
    if len(delays) and delays.min() < 1:
        raise ValueError(
            f"delays must be whole steps, 1 or more; got {delays.min()}. Round them up."
        )


@numba.njit(inline="always")
def _noise(random, i):  # pragma: no cover
    """Advance one generator, xorshift of Marsaglia (2003); mean 0, variance 1."""
    s = random[i]
    s ^= s << np.uint64(13)
    s ^= s >> np.uint64(7)
    s ^= s << np.uint64(17)
    random[i] = s
    total = (s & _LOW) + ((s >> np.uint64(16)) & _LOW) + ((s >> np.uint64(32)) & _LOW)
    total += s >> np.uint64(48)
    return (np.float32(np.int32(total)) - _MIDDLE) * _SCALE


@numba.njit(inline="always")
def _pass_on(i, out, wiring):  # pragma: no cover
    """Send a spike of one neuron along its synapses; of what is left of its resource."""
    use, fading, resource, last, arriving, clock = out
    first, target, weight, delay = wiring
    slots = arriving.shape[0]
    left = np.float32(1.0)
    if use[i] > 0:
        since = np.float32(clock[1] - last[i])
        left -= (left - resource[i]) * np.float32(math.exp(-fading * since))
        resource[i] = left * (np.float32(1.0) - use[i])
        last[i] = clock[1]
    for k in range(first[i], first[i + 1]):
        slot = clock[0] + delay[k]
        if slot >= slots:
            slot -= slots
        arriving[slot, target[k]] += left * weight[k]


@numba.njit(inline="always")
def _tick(arriving, clock):  # pragma: no cover
    """Forget what has arrived and go on by a step."""
    arriving[clock[0]] = np.float32(0.0)
    clock[0] += 1
    if clock[0] == arriving.shape[0]:
        clock[0] = 0
    clock[1] += 1


@numba.njit(cache=True, nogil=True)
def _run_leaky(
    constants, spread, drive, outside, potential, rest, random, out, wiring, when, who
):  # pragma: no cover
    """Step through time; returns the number of spikes, -1 if there is no room for more."""
    keep, threshold, reset, dead, _ = constants
    gain = np.float32(1.0) - keep
    arriving, clock = out[4], out[5]
    n, n_spikes = len(potential), 0
    for step in range(len(outside)):
        if n_spikes + n > len(when):
            return -1
        row = arriving[clock[0]]
        for i in range(n):  # without a branch: several neurons at a time
            moved = potential[i] * keep + gain * (drive[i] + outside[step])
            moved += row[i] + spread[i] * _noise(random, i)
            resting = rest[i] > np.float32(0.0)
            potential[i] = reset if resting else moved
            rest[i] = rest[i] - np.float32(1.0) if resting else np.float32(0.0)
        for i in range(n):
            if potential[i] >= threshold:
                potential[i] = reset
                rest[i] = dead
                when[n_spikes] = step
                who[n_spikes] = i
                n_spikes += 1
                _pass_on(i, out, wiring)
        _tick(arriving, clock)
    return n_spikes


@numba.njit(cache=True, nogil=True)
def _run_izhikevich(
    parameters, spread, drive, outside, v, u, random, out, wiring, when, who
):  # pragma: no cover
    """Step through time; returns the number of spikes, -1 if there is no room for more."""
    a, b, c, d = parameters
    arriving, clock = out[4], out[5]
    half = np.float32(0.5)
    n, n_spikes = len(v), 0
    for step in range(len(outside)):
        if n_spikes + n > len(when):
            return -1
        row = arriving[clock[0]]
        for i in range(n):  # without a branch: several neurons at a time
            flow = (np.float32(0.04) * v[i] + np.float32(5.0)) * v[i] + np.float32(140.0)
            flow += drive[i] + outside[step] - u[i]
            v[i] = v[i] + half * flow + row[i] + spread[i] * _noise(random, i)
            u[i] += half * a[i] * (b[i] * v[i] - u[i])
        for i in range(n):
            if v[i] >= np.float32(30.0):
                v[i] = c[i]
                u[i] += d[i]
                when[n_spikes] = step
                who[n_spikes] = i
                n_spikes += 1
                _pass_on(i, out, wiring)
        _tick(arriving, clock)
    return n_spikes
