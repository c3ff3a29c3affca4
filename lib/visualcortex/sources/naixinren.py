"""Twenty leaky integrate-and-fire neurons simulated by Ren and others (2020), an hour of spikes.

A MATLAB file of version 5, ``data`` with the fields ``spk`` (spike times, ms, to 0.1 ms), ``syn``
(a struct of ``w_syn``, weights with rows as sources, excitatory above 0, and ``dt_true``, delays in
ms), ``xx`` and ``yy`` (where the neurons lie), ``velocity`` and others. The authors call it
``simulated data_20 neurons.mat``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visualcortex.recording import Provenance, SpikeTrains
from visualcortex.sources.fetch import checksum
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import KnownWiring, signs_to_types, spontaneous_trains

COMMIT = "61aa9991e45746ced6490a3e8e1600e13ab7dde8"
URL = f"https://github.com/NaixinRen/extended-GLM-for-synapse-detection/tree/{COMMIT}"
LICENCE = "none stated"
DURATION = 3600.0  # s
RESOLUTION = 0.1  # ms
FIELDS = ("data.spk", "data.syn.w_syn", "data.syn.dt_true", "data.xx", "data.yy")


def read_naixinren(path: Path) -> SpikeTrains:
    """Read the network of 20 neurons.

    Parameters
    ----------
    path
        ``lif20.mat``.

    Returns
    -------
    SpikeTrains
        An hour; ``spikes`` in s, half of the 0.1 ms after the times in the file, so that none is
        at the edge of a bin. ``truth`` is `KnownWiring`, weights in the units of the authors; the
        type of a neuron without a target is unknown. ``neurons``: ``cell_type``, ``x`` and ``y``.

    Raises
    ------
    ValueError
        The file is damaged or of another form.
    """
    content = _read(path)
    trains = [np.atleast_1d(train).astype(float) for train in content["spk"]]
    wiring = _wiring(content["syn"], len(trains))
    places = {axis: np.ravel(content[axis * 2]) for axis in "xy"}
    lengths = [len(place) for place in places.values()]
    if lengths != [len(trains)] * 2:
        raise ValueError(
            f"xx and yy in {path.name} must hold a place for each of {len(trains)} neurons; got "
            f"{lengths[0]} and {lengths[1]}. Fetch it again."
        )
    units = SpikeTimes.from_lists([(train + RESOLUTION / 2) / 1000 for train in trains])
    read = spontaneous_trains(units, wiring, _provenance(path))
    return replace(read, neurons=read.neurons.assign(**places))


def _read(path: Path) -> dict[str, Any]:
    """Return the fields of the variable, structs as dictionaries."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["data"], simplify_cells=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes scipy raise a dozen types
        raise ValueError(
            f"{path.name} cannot be read as a MATLAB file of version 5 ({type(error).__name__}: "
            f"{error}). It may be cut short or damaged: fetch it again."
        ) from error
    for name in FIELDS:
        part = content
        for word in name.split("."):
            if not isinstance(part, dict) or word not in part:
                raise ValueError(
                    f"{path.name} lacks {name}. It may be another file of the authors: fetch it "
                    f"again."
                )
            part = part[word]
    return content["data"]


def _wiring(synapses: dict[str, Any], n: int) -> KnownWiring:
    """Return what the struct of synapses says; a neuron without a target has no known type."""
    weights, delays = (np.asarray(synapses[name], float) for name in ("w_syn", "dt_true"))
    types = signs_to_types(weights) if weights.shape == (n, n) else np.full(n, "unknown")
    if delays.shape == weights.shape:
        delays = np.where(weights != 0, delays, 0.0)
    return KnownWiring(
        weights=weights,
        delays=delays,
        cell_type=types,
        unit="weight of the simulation",
        duration=DURATION,
    )


def _provenance(path: Path) -> Provenance:
    """Say where it comes from."""
    return Provenance(
        source="Ren, Ito, Hafizi, Beggs and Stevenson 2020: simulated, 20 LIF neurons",
        citation="ren2020",
        licence=LICENCE,
        url=URL,
        sha256={path.name: checksum(path, "sha256").partition(":")[2]},
        preprocessing=("half of the resolution of 0.1 ms added to every spike time",),
    )
