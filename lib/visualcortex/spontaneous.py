"""Spike trains of neurons whose wiring is known, recorded or simulated without a stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import CalciumSpikes, Provenance, SpikeTrains
from visualcortex.spikes import SpikeTimes, count_spikes

BIN = 0.1  # s
TRIAL = 10.0  # s


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownWiring:
    """What is known of the wiring of a network.

    Parameters
    ----------
    weights
        Strength of each synapse, ``(source, target)``; 0 where there is none.
    delays
        Time until a spike of the source reaches the target, ms, ``(source, target)``; 0 where
        there is no synapse. None where nobody says.
    cell_type
        ``"E"``, ``"I"`` or, where nobody says, ``"unknown"``, words ``(neuron,)``.
    unit
        Of the weights.
    duration
        Seconds of spikes.
    n_hidden
        How many neurons the network has besides, whose spikes nobody saw: they drive several of
        those that are seen, and pass spikes from one to another.
    """

    weights: np.ndarray
    delays: np.ndarray | None
    cell_type: np.ndarray
    unit: str
    duration: float
    n_hidden: int = 0

    def __post_init__(self) -> None:
        """Check that all is about the same neurons, none of which is its own target."""
        n = len(self.cell_type)
        for name in ("weights", "delays"):
            matrix = getattr(self, name)
            if matrix is None:
                continue
            if matrix.shape != (n, n) or not np.isfinite(matrix).all():
                raise ValueError(
                    f"{name} must be finite, {n} x {n}, source by target; got shape "
                    f"{matrix.shape}. Take all from one network."
                )
        if np.diagonal(self.weights).any():
            raise ValueError(
                "weights must be 0 on the diagonal, for no neuron is its own target; got synapses "
                "of neurons with themselves. Leave them out."
            )
        if self.delays is not None and (self.delays[self.weights != 0] <= 0).any():
            raise ValueError(
                "the delay of every synapse must be above 0 ms; got one that is not. Correct it."
            )

    @property
    def density(self) -> float:
        """Share of the ordered pairs that have a synapse."""
        n = len(self.weights)
        return float(np.count_nonzero(self.weights) / (n * (n - 1)))


def known_wiring(recording: SpikeTrains | CalciumSpikes) -> KnownWiring:
    """Return the wiring that is the truth of a recording, or that its truth holds.

    Parameters
    ----------
    recording
        Spikes whose ``truth`` is `KnownWiring`, or calcium whose truth has it as ``wiring``.

    Raises
    ------
    ValueError
        Nothing is known of the wiring.
    """
    truth = recording.truth
    wiring = truth if isinstance(truth, KnownWiring) else getattr(truth, "wiring", None)
    if not isinstance(wiring, KnownWiring):
        raise ValueError(
            f"truth must be a KnownWiring, or have one as wiring; got {type(truth).__name__}. Load "
            f"a network whose wiring is known."
        )
    return wiring


def observed(recording: SpikeTrains, kept: np.ndarray | Sequence[int]) -> SpikeTrains:
    """See some of the neurons of a network only; the others go on firing, unseen.

    Parameters
    ----------
    recording
        With ``spikes`` and a truth that is `KnownWiring`.
    kept
        Which neurons are seen, by position, each once, or as a mask ``(neuron,)``.

    Returns
    -------
    SpikeTrains
        Of these neurons, in the order asked for. ``truth`` is `KnownWiring` of the pairs of seen
        neurons, with ``n_hidden``: a way over an unseen neuron is no synapse of it.

    Raises
    ------
    ValueError
        Fewer than two neurons, one that does not exist or that is named twice; there are no spike
        times, or nothing is known of the wiring.
    """
    wiring = known_wiring(recording)
    if recording.spikes is None:
        raise ValueError(
            "spikes must be the times of the spikes; got None. Load a recording that has them."
        )
    kept = _check_kept(np.asarray(kept), len(wiring.cell_type))
    n_unseen = len(wiring.cell_type) - len(kept)
    part = np.ix_(kept, kept)
    truth = KnownWiring(
        weights=wiring.weights[part],
        delays=None if wiring.delays is None else wiring.delays[part],
        cell_type=wiring.cell_type[kept],
        unit=wiring.unit,
        duration=wiring.duration,
        n_hidden=wiring.n_hidden + n_unseen,
    )
    note = f"{len(kept)} of {len(kept) + n_unseen} neurons seen"
    provenance = recording.provenance
    return replace(
        recording,
        responses=recording.responses.isel(neuron=kept),
        neurons=recording.neurons.iloc[kept].reset_index(drop=True),
        spikes=recording.spikes.select(kept),
        truth=truth,
        provenance=replace(provenance, preprocessing=(*provenance.preprocessing, note)),
    )


def signs_to_types(weights: np.ndarray) -> np.ndarray:
    """Tell cell types from the signs of outgoing weights, where all of them are the same.

    Parameters
    ----------
    weights
        ``(source, target)``.

    Returns
    -------
    numpy.ndarray
        ``"E"``, ``"I"``, or ``"unknown"`` of a neuron without targets, ``(neuron,)``.

    Raises
    ------
    ValueError
        A neuron both excites and inhibits.
    """
    excites, inhibits = (weights > 0).any(axis=1), (weights < 0).any(axis=1)
    if (excites & inhibits).any():
        raise ValueError(
            f"a neuron must excite or inhibit all of its targets; got both signs in row "
            f"{np.flatnonzero(excites & inhibits)[0]}. Rows must be sources: transpose weights."
        )
    return np.where(excites, "E", np.where(inhibits, "I", "unknown"))


def spontaneous_trains(
    spikes: SpikeTimes, wiring: KnownWiring, provenance: Provenance, truth: object | None = None
) -> SpikeTrains:
    """Wrap up spikes without a stimulus as a recording.

    Parameters
    ----------
    spikes
        Of all neurons, in s.
    wiring
        Of the same neurons.
    provenance
        Where they come from.
    truth
        What is known; `wiring` by default.

    Returns
    -------
    SpikeTrains
        Counts in bins of 100 ms, in trials of 10 s that follow each other without a gap (or one
        shorter trial), a rest left out; every trial shows stimulus 0. ``spikes`` are all.

    Raises
    ------
    ValueError
        Spikes outside the duration, or of other neurons.
    """
    _check(spikes, wiring)
    per_trial = int(round(min(TRIAL, wiring.duration) / BIN * 1e6) / 1e6)
    n_trials = int(np.floor(wiring.duration / (per_trial * BIN) * (1 + 1e-12)))
    onsets = np.arange(n_trials) * per_trial * BIN
    edges = np.arange(per_trial + 1) * BIN
    zeros = np.zeros(n_trials, np.int64)
    return SpikeTrains(
        responses=xr.DataArray(
            count_spikes(spikes, onsets, edges).astype(np.uint16),
            dims=("trial", "bin", "neuron"),
            coords={"bin": edges[:-1] + BIN / 2},
            attrs={"quantity": "spikes", "units": "count per 100 ms"},
        ),
        trials=pd.DataFrame({"stimulus": zeros, "session": zeros}),
        neurons=pd.DataFrame({"cell_type": wiring.cell_type}),
        provenance=provenance,
        truth=wiring if truth is None else truth,
        spikes=spikes,
    )


def _check_kept(kept: np.ndarray, n: int) -> np.ndarray:
    """Return the positions of the seen neurons of `n`."""
    if kept.dtype == bool and kept.shape == (n,):
        kept = np.flatnonzero(kept)
    whole = kept.ndim == 1 and np.issubdtype(kept.dtype, np.integer)
    if not whole or len(kept) < 2 or not ((kept >= 0) & (kept < n)).all():
        raise ValueError(
            f"kept must be two or more positions from 0 to {n - 1}, or a mask of {n} neurons; got "
            f"{kept}. Correct it."
        )
    if len(np.unique(kept)) != len(kept):
        raise ValueError(f"kept must name every neuron once; got {kept}. Leave repeats out.")
    return kept


def _check(spikes: SpikeTimes, wiring: KnownWiring) -> None:
    """Refuse spikes of other neurons, or outside the duration."""
    if spikes.n_units != len(wiring.cell_type):
        raise ValueError(
            f"spikes must be of the {len(wiring.cell_type)} neurons of the wiring; got "
            f"{spikes.n_units}. Take both from one network."
        )
    if not wiring.duration >= BIN:
        raise ValueError(
            f"duration must be {BIN} s or more; got {wiring.duration}. Record for longer."
        )
    times = spikes.times
    if len(times) and not (0 <= times.min() and times.max() < wiring.duration):
        raise ValueError(
            f"spikes must be from 0 to {wiring.duration:g} s; got {times.min():g} to "
            f"{times.max():g}. Times may be in another unit."
        )
