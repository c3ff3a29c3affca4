"""A simulated network without a stimulus whose wiring is known: spikes, and calcium of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from visualcortex.recording import CalciumSpikes, Provenance, SpikeTrains
from visualcortex.simulators.indicator import CalciumIndicator
from visualcortex.simulators.integrate_and_fire import (
    HELD_MS,
    Circuit,
    Depression,
    Izhikevich,
    Leaky,
)
from visualcortex.simulators.settings import check_choice, check_number, check_whole
from visualcortex.simulators.spiking_network import Synapses
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import KnownWiring, known_wiring, spontaneous_trains

SETTLING = 2.0  # s that are thrown away
STEPS = {"lif": Leaky.step, "izhikevich": Izhikevich.step}  # ms


class Regime(NamedTuple):
    """What makes a network fire as it does.

    Parameters
    ----------
    coupling
        Mean jump by an excitatory synapse, times the root of the mean number of excitatory
        inputs, mV: jumps are weaker in larger networks, so that fluctuations stay.
    ratio
        Mean jump by an inhibitory synapse over that by an excitatory one.
    drive, drive_inhibitory
        Constant input to excitatory and to inhibitory neurons.
    noise, noise_inhibitory
        Noise of excitatory and of inhibitory neurons.
    use, recovery
        Depression of excitatory synapses, and the time of recovery, ms.
    """

    coupling: float
    ratio: float
    drive: float
    drive_inhibitory: float
    noise: float
    noise_inhibitory: float
    use: float
    recovery: float


REGIMES = {
    ("lif", "asynchronous"): Regime(3.0, 6.0, 13.0, 14.0, 4.0, 4.0, 0.0, 500.0),
    ("lif", "bursting"): Regime(30.0, 1.0, 9.0, 9.0, 3.0, 3.0, 0.3, 1500.0),
    ("izhikevich", "asynchronous"): Regime(4.0, 4.0, 1.5, 1.5, 3.5, 1.5, 0.0, 500.0),
    ("izhikevich", "bursting"): Regime(50.0, 1.0, -2.0, -2.0, 3.5, 1.5, 0.3, 1000.0),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class WiredNetworkTruth(KnownWiring):
    """What is known of a simulated network.

    Parameters
    ----------
    weights, delays, cell_type, unit, duration
        As `KnownWiring`: jumps in mV, delays in ms.
    settings
        The settings of the simulation.
    """

    settings: WiredNetwork


@dataclass(frozen=True, kw_only=True)
class WiredNetwork:
    r"""Settings of a simulated network of excitatory and inhibitory neurons, without a stimulus.

    Pairs are connected at random. Jumps are log-normal, as between pyramidal cells of rat visual
    cortex (Song and others 2005: s.d. of the logarithm .94), and of one sign for each source
    (Dale's law). In the asynchronous regime, inhibition outweighs excitation, and neurons fire
    almost independently, leaky ones irregularly (Brunel 2000; the coefficient of variation of
    intervals is .9), Izhikevich's, which adapt, rather regularly (.45). In the bursting regime,
    excitation recruits the whole network until its synapses are depressed (Tsodyks, Uziel and
    Markram 2000), as in cultures. How strong, how noisy and how driven is a choice, by which 30 to
    1,000 neurons fire at 4 to 13 spikes a second, and in the bursting regime 60 to 1,000 at .7 to
    5, all together once or twice a second; 30 recruit each other less, and fire at .1 to 1.

    Parameters
    ----------
    n_neurons, duration
        How many neurons, and for how many seconds.
    neurons
        ``"lif"``, in steps of 1 ms, or ``"izhikevich"``, of 0.5 ms.
    regime
        ``"asynchronous"`` or ``"bursting"``.
    excitatory
        Share of excitatory neurons, which are the first.
    density
        Probability that an ordered pair has a synapse.
    spread
        S.d. of the logarithm of the size of a jump.
    strength
        Factor of all jumps; with 0 all weights are 0, and no synapse is left to be found.
    delays
        Shortest and longest delay, ms; every one between in steps is as likely.
    shared, shared_time
        S.d. of slow input that all neurons share (mV; of Izhikevich neurons, the unit of *I*), and
        its time constant, s.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    n_neurons: int = 100
    duration: float = 600.0
    neurons: str = "lif"
    regime: str = "asynchronous"
    excitatory: float = 0.8
    density: float = 0.1
    spread: float = 0.94
    strength: float = 1.0
    delays: tuple[float, float] = (1.0, 4.0)
    shared: float = 0.0
    shared_time: float = 0.1

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        check_whole("n_neurons", self.n_neurons, 2)
        check_number("duration", self.duration, "a number of s above 0", 0)
        check_choice("neurons", self.neurons, tuple(STEPS))
        check_choice("regime", self.regime, ("asynchronous", "bursting"))
        for name in ("excitatory", "density"):
            check_number(name, getattr(self, name), "above 0 and below 1", 0, 1)
        for name in ("spread", "strength", "shared"):
            check_number(name, getattr(self, name), "a number, 0 or more", 0, closed=True)
        check_number("shared_time", self.shared_time, "a number of s above 0", 0)
        step = STEPS[self.neurons]
        if len(self.delays) != 2 or not step <= self.delays[0] <= self.delays[1] < np.inf:
            raise ValueError(
                f"delays must be the shortest and the longest, ms, from {step} on; got "
                f"{self.delays}. Correct them."
            )

    def simulate(self, seed: int = 0) -> SpikeTrains:
        """Draw a network and its spikes.

        Parameters
        ----------
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        SpikeTrains
            Counts and spike times, in the middle of their step, with `WiredNetworkTruth`.

        Raises
        ------
        FloatingPointError
            The network runs away.
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        streams = [np.random.default_rng([seed, k]) for k in range(3)]
        weights, delays = draw_wiring(self, streams[0])
        circuit = build_circuit(self, weights, delays, streams[1])
        truth = WiredNetworkTruth(
            weights=weights,
            delays=delays * STEPS[self.neurons],
            cell_type=np.where(_inhibitory(self), "I", "E"),
            unit="mV",
            duration=float(self.duration),
            settings=self,
        )
        spikes = _live(self, circuit, streams[2])
        return spontaneous_trains(spikes, truth, _provenance(self))


def draw_wiring(settings: WiredNetwork, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw who drives whom, by how much and how late.

    Returns
    -------
    weights, delays
        mV, float32, and whole steps, each ``(source, target)``; 0 where there is no synapse.
    """
    n, regime = settings.n_neurons, REGIMES[settings.neurons, settings.regime]
    linked = rng.random((n, n)) < settings.density
    np.fill_diagonal(linked, False)
    inputs = max(1.0, settings.density * settings.excitatory * n)
    mean = settings.strength * regime.coupling / np.sqrt(inputs)
    size = mean * np.exp(settings.spread * rng.standard_normal((n, n)) - settings.spread**2 / 2)
    size = size * np.where(_inhibitory(settings), -regime.ratio, 1.0)[:, None]
    shortest, longest = (round(ms / STEPS[settings.neurons]) for ms in settings.delays)
    delays = rng.integers(shortest, longest + 1, (n, n))
    return np.where(linked, size, 0.0).astype(np.float32), np.where(linked, delays, 0)


def build_circuit(
    settings: WiredNetwork, weights: np.ndarray, delays: np.ndarray, rng: np.random.Generator
) -> Circuit:
    """Put neurons of the settings' kind behind given synapses; delays in steps."""
    regime, inhibitory = REGIMES[settings.neurons, settings.regime], _inhibitory(settings)
    drive = np.where(inhibitory, regime.drive_inhibitory, regime.drive)
    if settings.neurons == "lif":
        neurons = Leaky()
        drive = drive + rng.standard_normal(len(drive))  # else all had one rate
    else:
        neurons = Izhikevich.drawn(inhibitory, rng)
    return Circuit(
        Synapses.of(weights, delays),
        neurons,
        drive,
        np.where(inhibitory, regime.noise_inhibitory, regime.noise),
        rng,
        Depression(use=np.where(inhibitory, 0.0, regime.use), recovery=regime.recovery),
    )


def image_spikes(
    recording: SpikeTrains, indicator: CalciumIndicator | None = None, seed: int = 0
) -> CalciumSpikes:
    """Show the spikes of a network through a calcium indicator.

    Parameters
    ----------
    recording
        With ``spikes`` and a truth that is `KnownWiring`.
    indicator
        Frame rate, indicator, noise, drift and linearity; its number of neurons, duration and
        rates are of no account. By default GCaMP6f at 50 Hz.
    seed
        Seed of amplitudes, drift and noise, 0 or more.

    Returns
    -------
    CalciumSpikes
        dF/F and spike counts ``(neuron, time)``, with `IndicatorTruth` whose ``wiring`` is that
        of the network; a frame that begins before the end and ends after it is left out.
        ``neurons``: ``cell_type``.

    Raises
    ------
    ValueError
        The truth is no `KnownWiring`, there are fewer than two frames, or the seed is none.
    """
    wiring = known_wiring(recording)
    microscope = indicator or CalciumIndicator()
    seen = microscope.observe(
        recording.spikes, duration=wiring.duration, seed=seed, cell_type=wiring.cell_type
    )
    before, after = recording.provenance, seen.provenance
    provenance = replace(
        after,
        source=f"{before.source}, seen through {microscope.indicator}",
        citation=before.citation,
        licence=before.licence,
        url=before.url,
        sha256=before.sha256,
        preprocessing=(*before.preprocessing, *after.preprocessing),
    )
    return replace(seen, provenance=provenance, truth=replace(seen.truth, wiring=wiring))


def _inhibitory(settings: WiredNetwork) -> np.ndarray:
    """Tell the inhibitory neurons, the last ones; there is one of each kind at least."""
    n = settings.n_neurons
    n_excitatory = min(max(1, round(settings.excitatory * n)), n - 1)
    return np.arange(n) >= n_excitatory


def _live(settings: WiredNetwork, circuit: Circuit, rng: np.random.Generator) -> SpikeTimes:
    """Let the network settle, run it, and sort its spikes by neuron."""
    step = STEPS[settings.neurons] / 1000  # s
    settling, n_steps = round(SETTLING / step), int(np.floor(settings.duration / step + 1e-6))
    shared = _shared(settings, settling + n_steps, step, rng)
    n_held = round(SETTLING * 1000 / HELD_MS)
    circuit.run(settling, shared[:n_held])
    when, who = circuit.run(n_steps, shared[n_held:])
    order = np.argsort(who, kind="stable")
    ends = np.cumsum(np.bincount(who, minlength=settings.n_neurons))
    return SpikeTimes((when[order] + 0.5) * step, ends)


def _shared(
    settings: WiredNetwork, n_steps: int, step: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the input that all share, a stationary process that forgets, (10 ms,)."""
    held = HELD_MS / 1000
    keep = np.exp(-held / settings.shared_time)
    drawn = rng.standard_normal(int(np.ceil(n_steps * step / held)) + 1)
    drawn[1:] *= np.sqrt(1 - keep**2)
    return settings.shared * lfilter([1.0], [1.0, -keep], drawn)


def _provenance(settings: WiredNetwork) -> Provenance:
    """Say what was simulated."""
    name = {"lif": "leaky integrate-and-fire", "izhikevich": "Izhikevich"}[settings.neurons]
    return Provenance(
        source=f"simulated: {settings.n_neurons} {name} neurons, {settings.regime}",
        citation="",
        licence="MIT",
        url="",
        sha256={},
        preprocessing=(f"the first {SETTLING:g} s, in which the network settles, left out",),
    )
