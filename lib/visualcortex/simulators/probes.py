"""A simulated Neuropixels session: spiking areas that see 118 scenes, with known synapses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from visualcortex.recording import Provenance, SpikeTrains
from visualcortex.simulators import cortex
from visualcortex.simulators.cortex import AREAS, SLOT_MS, SLOT_STEPS
from visualcortex.simulators.settings import check_choice, check_number, check_whole
from visualcortex.simulators.spiking_network import STEP_MS, Membrane, Network
from visualcortex.spikes import SpikeTimes, count_spikes

BLANK, NONE = -1, -2  # grey; no scene before, for a pause was
PAUSE = 4  # slots
SLOT = SLOT_MS / 1000  # s
N_STRETCHES = 3  # scenes are shown in so many stretches, grey before, between and after them
CHUNK = 200  # scenes that are simulated at a time
N_LATENTS = 8
LATENT_TIMES = (0.05, 30.0)  # s, time constants of the quickest and of the slowest
DRIFT_TIME, DRIFT_STEP = 600.0, 60.0  # s
SETTLING = 12  # rounds in which each neuron finds the input that gives its rate


@dataclass(frozen=True, eq=False)
class Session:
    """What happened: the scenes, what the neurons received from outside, and all spikes.

    Parameters
    ----------
    slots
        Scene of each quarter of a second, -1 for grey, ``(slot,)``.
    base
        Input without scenes and fluctuations, mV above threshold, ``(neuron,)``.
    latents, loadings
        Shared fluctuations ``(step, latent)``, and what each neuron receives of them, mV,
        ``(neuron, latent)``; a step is 10 ms.
    drift
        Slow private changes, mV, at every minute ``(minute, neuron)``.
    drive
        Input at its peak by each scene, mV, ``(scene, neuron)``.
    courses
        Course of it from the onset of a scene on, ``(neuron, step)``.
    when, who
        Time in ms, ascending, and neuron of every spike.
    """

    slots: np.ndarray
    base: np.ndarray
    latents: np.ndarray
    loadings: np.ndarray
    drift: np.ndarray
    drive: np.ndarray
    courses: np.ndarray
    when: np.ndarray
    who: np.ndarray

    def outside(self, first: int, last: int, *, scene: bool = True) -> np.ndarray:
        """Return the input of some slots, mV above threshold, ``(slot, step, neuron)``.

        Parameters
        ----------
        first, last
            The slots; the last is excluded.
        scene
            Whether with what the scene of the slot itself adds.
        """
        shape = (last - first, SLOT_STEPS, len(self.base))
        steps = slice(first * SLOT_STEPS, last * SLOT_STEPS)
        total = (self.latents[steps] @ self.loadings.T).reshape(shape) + self.base
        total += self._drift(first, last)[:, None]
        shown = np.concatenate([self.drive, np.zeros_like(self.drive[:1])])  # the last is grey
        before = np.r_[BLANK, self.slots][first:last]
        total += shown[before][:, None] * self.courses.T[SLOT_STEPS:]
        if scene:
            total += shown[self.slots[first:last]][:, None] * self.courses.T[:SLOT_STEPS]
        return total

    def _drift(self, first: int, last: int) -> np.ndarray:
        at = np.arange(first, last) * SLOT / DRIFT_STEP
        k = at.astype(int)
        part = (at - k)[:, None].astype(np.float32)
        return (1 - part) * self.drift[k] + part * self.drift[k + 1]


@dataclass(frozen=True, eq=False)
class ProbesTruth:
    """What is known of a simulated session.

    Parameters
    ----------
    weights, delays
        Synapses between recorded units: jump of the target's potential, mV, 0 where there is
        none, and time until it comes, ms, both ``(source, target)``.
    cell_type
        ``"E"`` or ``"I"`` of each recorded unit.
    recorded
        Which neurons of the network the recorded units are, ``(unit,)``.
    network_weights, network_delays
        The same between all neurons.
    cells
        One row a neuron of the network: ``area``, ``probe``, ``cell_type``, ``rate_hz``.
    membrane
        How potentials become spikes.
    session
        Everything that happened.
    shown
        Slot of each trial of the recording, ``(trial,)``.
    invalid
        Start and stop of the time in which a probe failed, s, and its name.
    settings
        The settings of the simulation.
    """

    weights: np.ndarray
    delays: np.ndarray
    cell_type: np.ndarray
    recorded: np.ndarray
    network_weights: np.ndarray
    network_delays: np.ndarray
    cells: pd.DataFrame
    membrane: Membrane
    session: Session
    shown: np.ndarray
    invalid: tuple[float, float, str]
    settings: Probes


@dataclass(frozen=True, kw_only=True)
class Probes:
    r"""Settings of a simulated session with Neuropixels probes.

    Excitatory and inhibitory neurons of several areas, connected at random within an area and
    sparsely between areas, with known weights and delays (`cortex.draw_synapses`). Each spikes as
    `spiking_network.Membrane` says, with the input

    .. math::

        I_i(t) = b_i + d_i(t) + L_i \cdot z(t) + a_{s,i}\,k_i(t)
            + a_{s',i}\,k_i(t + 250\,\mathrm{ms}),

    by the scene *s* on the screen and the one before, *s'*, which fades when the next has
    come; *a* weighs features of the images that all neurons share (`cortex.scene_features`). The
    shared fluctuations *z* have time constants from 50 ms to half a minute, the drift *d* of ten
    minutes. Only a part of the neurons is recorded. One probe fails for a while: its units are
    silent, and presentations in that time are left out.

    Calibrated to two published figures for 119 and 118 classes: scenes read from counts of 93 units
    of VISp by a support vector machine with Gaussian kernel, five folds in order of time, .478
    (AllenSDK, session 791319847), and from all units of a session, about 2,000 and most of them
    not in visual cortex, by principal components and a linear model, .50 to .95, half of the
    sessions above .80. The rates, probabilities of synapses and their
    strengths are from the literature (`cortex`); how strong shared fluctuations and drift are is
    a choice.

    Parameters
    ----------
    areas, n_units
        Names of the areas, of `cortex.AREAS`, and the number of recorded units of each.
    observed
        Share of the neurons of each area that is recorded, above 0 and at most 1.
    n_scenes, n_repeats, n_blank
        Scenes, presentations of each, and of a grey screen among them.
    grey_minutes
        Minutes of grey screen in all, before, between and after the stretches of scenes.
    bins
        Bins of a trial of 250 ms.
    window
        Start and stop of counting after the onset of a scene, s.
    mouse
        Which animal: other neurons that see the same scenes.
    tuning
        S.d. over scenes of the input to a tuned neuron, mV, on average.
    shared_noise, drift
        S.d. of the shared fluctuations and of the drift, mV.
    invalid
        Time for which a probe fails, s.
    keep_invalid
        Whether the presentations in that time are kept: with silent units, a defect.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    areas: tuple[str, ...] = ("VISp", "VISl", "VISal", "VISam")
    n_units: tuple[int, ...] = (93, 36, 36, 35)
    observed: float = 0.5
    n_scenes: int = 118
    n_repeats: int = 50
    n_blank: int = 50
    grey_minutes: float = 1.0
    bins: int = 5
    window: tuple[float, float] = (0.0, 0.25)
    mouse: int = 0
    tuning: float = 1.8
    shared_noise: float = 1.0
    drift: float = 0.5
    invalid: float = 45.0
    keep_invalid: bool = False

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        if len(self.areas) != len(self.n_units) or not self.areas:
            raise ValueError(
                f"n_units must have one number for each of the areas {self.areas}; got "
                f"{self.n_units}. Correct either."
            )
        for area, n in zip(self.areas, self.n_units, strict=True):
            check_choice("areas", area, tuple(AREAS))
            check_whole("n_units", n, 1)
        least = {"n_scenes": 2, "n_repeats": 1, "n_blank": 0, "bins": 1, "mouse": 0}
        for name, smallest in least.items():
            check_whole(name, getattr(self, name), smallest)
        check_number("observed", self.observed, "above 0 and at most 1", 0, 1 + 1e-12)
        for name in ("tuning", "shared_noise", "drift", "invalid", "grey_minutes"):
            check_number(name, getattr(self, name), "a number, 0 or more", 0, closed=True)
        if not -1 < self.window[0] < self.window[1] < 1:
            raise ValueError(
                f"window must be (start, stop) in s after onset, start before stop, within 1 s of "
                f"it; got {self.window}. A scene is shown from 0 to 0.25 s."
            )

    def simulate(self, seed: int = 0) -> SpikeTrains:
        """Draw scenes, an animal and its session.

        Scenes depend on the seed alone, neurons on seed and mouse.

        Parameters
        ----------
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        SpikeTrains
            Counts in bins, the images, the spike times of the whole session, and `ProbesTruth`.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        images = cortex.draw_scenes(self.n_scenes, np.random.default_rng([seed, 0]))
        rng = np.random.default_rng([seed, 1, self.mouse])
        n_cells = tuple(round(n / self.observed) for n in self.n_units)
        cells = cortex.draw_cells(self.areas, n_cells, rng)
        weights, delays = cortex.draw_synapses(cells, rng)
        membrane = Membrane()
        network = Network(cortex.as_synapses(weights, delays), membrane, rng)
        session = _live(self, images, cells, network, rng)
        recorded = _choose(self, cells, rng)
        spikes = _spike_times(session, recorded, len(cells), rng)
        invalid = _failure(self, session)
        spikes = _silenced(spikes, cells["probe"].to_numpy()[recorded], invalid)
        trials = _trials(self, session, invalid)
        pairs = np.ix_(recorded, recorded)
        truth = ProbesTruth(
            weights=weights[pairs],
            delays=np.where(weights[pairs] != 0, delays[pairs], 0),
            cell_type=cells["cell_type"].to_numpy()[recorded],
            recorded=recorded,
            network_weights=weights,
            network_delays=delays,
            cells=cells,
            membrane=membrane,
            session=session,
            shown=trials["presentation"].to_numpy(),
            invalid=invalid,
            settings=self,
        )
        return _record(self, seed, images, trials, _units(cells, recorded, rng), spikes, truth)


def _live(
    settings: Probes,
    images: np.ndarray,
    cells: pd.DataFrame,
    network: Network,
    rng: np.random.Generator,
) -> Session:
    """Draw what comes from outside, let the network settle, and run the session."""
    slots = _timeline(settings, rng)
    n_steps, n = len(slots) * SLOT_STEPS, len(cells)
    minutes = int(len(slots) * SLOT / DRIFT_STEP) + 2
    drive = cortex.draw_tuning(cells, cortex.scene_features(images, 30), settings.tuning, rng)
    kinds = pd.Index(settings.areas).get_indexer(cells["area"])
    loadings = rng.standard_normal((n, N_LATENTS)) / np.sqrt(N_LATENTS)
    loadings[:, 0] += 0.5  # moves nearly all neurons the same way
    loadings /= np.sqrt((loadings**2).sum(axis=1).mean())
    slow = _autoregressive(minutes, np.full(n, DRIFT_TIME / DRIFT_STEP), rng)
    session = Session(
        slots=slots,
        base=_settled(network, drive, cells["rate_hz"].to_numpy(), settings, rng),
        latents=_latents(n_steps, rng),
        loadings=(settings.shared_noise * loadings).astype(np.float32),
        drift=(settings.drift * slow).astype(np.float32),
        drive=drive,
        courses=cortex.time_courses(settings.areas)[kinds],
        when=np.empty(0, np.int64),
        who=np.empty(0, np.int32),
    )
    when, who = zip(*_run(network, session), strict=True)
    return Session(**{**session.__dict__, "when": np.concatenate(when), "who": np.concatenate(who)})


def _timeline(settings: Probes, rng: np.random.Generator) -> np.ndarray:
    """Scene of each quarter of a second, ``(slot,)``; -1 is grey."""
    shown = np.repeat(np.arange(settings.n_scenes), settings.n_repeats)
    shown = rng.permutation(np.concatenate([shown, np.full(settings.n_blank, BLANK)]))
    n_pauses = N_STRETCHES + 1
    pause = np.full(max(8, round(settings.grey_minutes * 60 / SLOT / n_pauses)), BLANK)
    parts = [pause]
    for stretch in np.array_split(shown, N_STRETCHES):
        parts += [stretch, pause]
    return np.concatenate(parts)


def _latents(n_steps: int, rng: np.random.Generator) -> np.ndarray:
    times = np.geomspace(*LATENT_TIMES, N_LATENTS) * 1000 / STEP_MS
    return _autoregressive(n_steps, times, rng)


def _autoregressive(n: int, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw stationary processes of unit variance, ``(n, process)``; time constants in steps."""
    memory = np.exp(-1 / times)
    shocks = rng.standard_normal((n, len(times)))
    shocks[1:] *= np.sqrt(1 - memory**2)
    columns = [lfilter([1], [1, -m], shock) for m, shock in zip(memory, shocks.T, strict=True)]
    return np.stack(columns, axis=1).astype(np.float32)


def _settled(
    network: Network,
    drive: np.ndarray,
    rates: np.ndarray,
    settings: Probes,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the constant input, mV, with which each neuron has about its rate in the network.

    As homeostasis would do it: less where a neuron fires too much, and the other way round.
    """
    softness = network.membrane.softness
    base = np.full(len(rates), -4.0, np.float32)
    n_slots = 120
    spread = np.sqrt(settings.shared_noise**2 + settings.drift**2)
    for step in range(SETTLING):
        held = drive[rng.integers(len(drive), size=n_slots)] * cortex.SUSTAINED
        noise = spread * rng.standard_normal((n_slots, len(rates)))
        _, who, _ = network.run(np.repeat(base + held + noise, SLOT_STEPS, axis=0))
        found = np.bincount(who, minlength=len(rates)) / (n_slots * SLOT)
        change = 0.8 * softness * np.log(rates / np.maximum(found, 0.1))
        base += (0.9**step * change.clip(-2, 2)).astype(np.float32)
    return base


def _run(network: Network, session: Session) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the spikes of the session, ms and neuron, some slots at a time."""
    for first in range(0, len(session.slots), CHUNK):
        last = min(first + CHUNK, len(session.slots))
        outside = session.outside(first, last)
        when, who, _ = network.run(outside.reshape(-1, outside.shape[2]))
        yield when + np.int64(first * SLOT_MS), who


def _choose(settings: Probes, cells: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Choose the recorded neurons of each area at random, ``(unit,)``."""
    area = cells["area"].to_numpy()
    chosen = [
        np.sort(rng.choice(np.flatnonzero(area == name), n, replace=False))
        for name, n in zip(settings.areas, settings.n_units, strict=True)
    ]
    return np.concatenate(chosen)


def _spike_times(
    session: Session, recorded: np.ndarray, n_cells: int, rng: np.random.Generator
) -> SpikeTimes:
    """Spike times of the recorded neurons in s, anywhere within the ms of the simulation."""
    unit = np.full(n_cells, -1)
    unit[recorded] = np.arange(len(recorded))
    kept = unit[session.who] >= 0
    when, who = session.when[kept], unit[session.who[kept]]
    order = np.argsort(who, kind="stable")
    times = (when[order] + rng.random(len(order))) / 1000
    return SpikeTimes(times, np.cumsum(np.bincount(who, minlength=len(recorded))))


def _failure(settings: Probes, session: Session) -> tuple[float, float, str]:
    """When a probe fails, s: in the second stretch; that of the second area, if there is one."""
    shown = np.flatnonzero(session.slots != BLANK)
    start = shown[int(0.45 * len(shown))] * SLOT
    probe = AREAS[settings.areas[min(1, len(settings.areas) - 1)]].probe
    return float(start), float(start + settings.invalid), probe


def _silenced(
    spikes: SpikeTimes, probe: np.ndarray, invalid: tuple[float, float, str]
) -> SpikeTimes:
    start, stop, failed = invalid
    units = [spikes.of(k) for k in range(spikes.n_units)]
    kept = [
        times[(times < start) | (times >= stop)] if name == failed else times
        for times, name in zip(units, probe, strict=True)
    ]
    return SpikeTimes.from_lists(kept)


def _trials(settings: Probes, session: Session, invalid: tuple[float, float, str]) -> pd.DataFrame:
    """Presentations of scenes outside the time in which the probe failed, in order of time."""
    grey = session.slots == BLANK
    slot = np.flatnonzero(~grey)
    # grey for a second or more parts two stretches; single grey screens are among the scenes
    paused = np.lib.stride_tricks.sliding_window_view(np.r_[np.full(PAUSE, True), grey], PAUSE)
    begins = paused[:-1].all(axis=1) & ~grey
    start = slot * SLOT
    table = pd.DataFrame(
        {
            "stimulus": session.slots[slot],
            "session": np.cumsum(begins)[slot] - 1,
            "previous": np.where(begins[slot], NONE, session.slots[slot - 1]),
            "presentation": slot,
            "start_s": start,
            "stop_s": start + SLOT,
        }
    )
    first = start + min(settings.window[0], 0)
    last = start + max(settings.window[1], SLOT)
    valid = (last <= invalid[0]) | (first >= invalid[1]) | settings.keep_invalid
    return table[valid].reset_index(drop=True)


def _units(cells: pd.DataFrame, recorded: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Table of the units as a laboratory has it: the cell type shows in the waveform only."""
    chosen = cells.iloc[recorded]
    narrow = (chosen["cell_type"] == "I").to_numpy()
    waveform = np.where(narrow, 0.25, 0.55) + np.where(narrow, 0.04, 0.08) * rng.standard_normal(
        len(chosen)
    )
    columns = {
        "unit_id": np.arange(len(chosen)),
        "area": chosen["area"].to_numpy(),
        "probe": chosen["probe"].to_numpy(),
        "waveform_ms": waveform.clip(0.1, 1.2),
    }
    return pd.DataFrame(columns).rename_axis("neuron")


def _record(
    settings: Probes,
    seed: int,
    images: np.ndarray,
    trials: pd.DataFrame,
    neurons: pd.DataFrame,
    spikes: SpikeTimes,
    truth: ProbesTruth,
) -> SpikeTrains:
    edges = np.linspace(*settings.window, settings.bins + 1)
    n_shown = int((truth.session.slots != BLANK).sum())
    steps = (
        f"{n_shown - len(trials)} of {n_shown} presentations in the time in which "
        f"{truth.invalid[2]} failed left out",
        "grey screens among the scenes left out: the classes are scenes",
        f"spikes counted in {settings.bins} bins from {settings.window[0]:g} to "
        f"{settings.window[1]:g} s after onset",
    )
    return SpikeTrains(
        responses=xr.DataArray(
            count_spikes(spikes, trials["start_s"].to_numpy(), edges),
            dims=("trial", "bin", "neuron"),
            coords={"bin": (edges[:-1] + edges[1:]) / 2},
            attrs={"quantity": "spike count", "units": "spikes"},
        ),
        trials=trials,
        neurons=neurons,
        provenance=Provenance(
            source=f"simulated Neuropixels session, seed {seed}, mouse {settings.mouse}",
            citation="",
            licence="MIT",
            url="",
            sha256={},
            preprocessing=steps,
        ),
        images=images,
        spikes=spikes,
        truth=truth,
    )
