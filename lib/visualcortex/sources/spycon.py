"""Spikes of a simulated network with marked synapses, an example of the package spycon.

An archive of arrays: ``times`` (s) and ``ids`` (neuron) of all spikes, ``nodes`` (neurons) and
``marked_edges`` (source, target, whether there is a synapse), a row each ordered pair. Their
numbers begin at 300; what drives the neurons besides is not in the file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from visualcortex.recording import Provenance, SpikeTrains
from visualcortex.sources.arrays import read_arrays
from visualcortex.sources.fetch import checksum
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import KnownWiring, spontaneous_trains

COMMIT = "9720cfa0a71ffd70a07c71c4e0e77a02baeba550"
URL = f"https://github.com/christiando/spycon/tree/{COMMIT}"
LICENCE = "MIT"
DURATION = 1800.0  # s


def read_spycon(path: Path) -> SpikeTrains:
    """Read the network of 20 neurons.

    Parameters
    ----------
    path
        ``sim1917Cell1Block1_tiny.npz``.

    Returns
    -------
    SpikeTrains
        Half an hour. ``truth`` is `KnownWiring`: weights are 1 or 0; signs, delays and cell types
        are not told. ``neurons``: ``cell_type``, unknown, and ``node``, the number in the file.

    Raises
    ------
    ValueError
        The file is damaged or of another form.
    """
    content = read_arrays(path, ["times", "ids", "nodes", "marked_edges"])
    nodes, times, ids = (content[name] for name in ("nodes", "times", "ids"))
    if times.shape != ids.shape or not np.isin(ids, nodes).all():
        raise ValueError(
            f"ids in {path.name} must name a neuron, one of nodes, for each of times; got shapes "
            f"{ids.shape} and {times.shape}, or other neurons. Fetch it again."
        )
    nodes = np.sort(nodes)
    units = [np.sort(times[ids == node]) for node in nodes]
    wiring = KnownWiring(
        weights=_weights(content["marked_edges"], nodes, path),
        delays=None,
        cell_type=np.full(len(nodes), "unknown"),
        unit="1: there is a synapse",
        duration=DURATION,
    )
    read = spontaneous_trains(SpikeTimes.from_lists(units), wiring, _provenance(path))
    return replace(read, neurons=read.neurons.assign(node=nodes))


def _weights(edges: np.ndarray, nodes: np.ndarray, path: Path) -> np.ndarray:
    """Return the matrix ``(source, target)``; every ordered pair must be marked once."""
    n = len(nodes)
    known = edges.ndim == 2 and edges.shape[1] == 3 and np.isin(edges[:, :2], nodes).all()
    if not (known and len(np.unique(edges[:, :2], axis=0)) == len(edges) == n * (n - 1)):
        raise ValueError(
            f"marked_edges in {path.name} must have a row (source, target, synapse) for each of "
            f"the {n * (n - 1)} ordered pairs of nodes; got shape {edges.shape}, or pairs that are "
            f"missing or double. Fetch it again."
        )
    weights = np.zeros((n, n))
    source, target = np.searchsorted(nodes, edges[:, :2].T)
    weights[source, target] = edges[:, 2]
    return weights


def _provenance(path: Path) -> Provenance:
    """Say where it comes from."""
    return Provenance(
        source="Donner and others 2024 (spycon): simulated, 20 neurons",
        citation="donner2024",
        licence=LICENCE,
        url=URL,
        sha256={path.name: checksum(path, "sha256").partition(":")[2]},
        preprocessing=("neurons 300 to 319, whose spikes alone are in the file",),
    )
