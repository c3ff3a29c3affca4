"""Calcium traces with electrically recorded spikes: the data of the spikefinder challenge.

Theis and others (2016) and Berens and others (2018). Every dataset is two comma-separated tables, a
column a neuron and a row a sample at 100 Hz, under a header of column numbers: the trace, resampled
from the rate at which it was imaged, and the number of spikes. Shorter neurons have empty fields at
the end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import CalciumSpikes, Provenance
from visualcortex.sources.fetch import checksum

COMMIT = "def1f8c2c5268eb71e83f57c265d4b3c102fb5f8"
URL = f"https://github.com/berenslab/spikefinder_analysis/tree/{COMMIT}"
SAMPLE_RATE = 100.0  # Hz


def read_spikefinder(calcium: Path, spikes: Path) -> CalciumSpikes:
    """Read one training dataset of the challenge.

    Parameters
    ----------
    calcium
        ``<number>.train.calcium.csv``, in the units of its authors.
    spikes
        ``<number>.train.spikes.csv``, spikes in each sample.

    Returns
    -------
    CalciumSpikes
        Samples at 100 Hz, whatever the rate at which the neurons were imaged: neighbouring samples
        are interpolated, so that noise must not be measured at the highest frequencies.

    Raises
    ------
    ValueError
        A table is not of that form, or the two do not belong together.
    """
    tables = [_read_table(path) for path in (calcium, spikes)]
    shapes = [table.shape for table in tables]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{calcium.name} and {spikes.name} must have the same rows and columns; got "
            f"{shapes[0]} and {shapes[1]}. One is cut short or of another dataset: fetch it again."
        )
    _check_counts(tables[1], spikes)
    n_samples, n_neurons = shapes[0]
    try:
        return CalciumSpikes(
            traces=_named(tables[0], "fluorescence", "a.u."),
            spikes=_named(tables[1], "spikes", "count per sample"),
            neurons=pd.DataFrame(index=pd.RangeIndex(n_neurons, name="neuron")),
            provenance=_provenance(calcium, spikes),
        )
    except ValueError as error:
        raise ValueError(
            f"{calcium.name} and {spikes.name} do not hold a dataset of the challenge: {error}"
        ) from error


def _named(table: np.ndarray, quantity: str, units: str) -> xr.DataArray:
    """Turn a table round, with names, times and units."""
    return xr.DataArray(
        np.ascontiguousarray(table.T),
        dims=("neuron", "time"),
        coords={"time": np.arange(len(table)) / SAMPLE_RATE},
        attrs={"quantity": quantity, "units": units},
    )


def _read_table(path: Path) -> np.ndarray:
    """Read a table under a header of column numbers, ``(sample, neuron)``, NaN in empty fields."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline().strip().replace('"', "").split(",")
    if header != [str(k) for k in range(len(header))]:
        raise ValueError(
            f"{path.name} must begin with the numbers of its columns from 0; got "
            f"{','.join(header)[:40]!r}. It may be cut short or be another file: fetch it again."
        )
    try:
        table = pd.read_csv(path, dtype=float, skip_blank_lines=False)
    except ValueError as error:  # which pandas' own errors are
        raise ValueError(
            f"{path.name} is not a table of numbers with {len(header)} columns ({error}). It may "
            f"be cut short or be another file: fetch it again."
        ) from error
    if (
        len(table) < 2
        or table.shape[1] != len(header)
        or not isinstance(table.index, pd.RangeIndex)
    ):
        raise ValueError(
            f"{path.name} must have {len(header)} columns and two rows or more; got "
            f"{table.shape}. It may be cut short: fetch it again."
        )
    return table.to_numpy()


def _check_counts(table: np.ndarray, path: Path) -> None:
    """Refuse what cannot be numbers of spikes, and say where it stands."""
    wrong = (table < 0) | (table != np.floor(table)) & np.isfinite(table)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{path.name} must hold whole numbers of spikes, 0 or more; got {int(wrong.sum())} "
            f"other values, the first {table[row, column]:g} in row {row + 2}, column "
            f"{column + 1}. It may be a table of traces."
        )


def _provenance(calcium: Path, spikes: Path) -> Provenance:
    """Where the two tables come from, and what was done to them."""
    steps = (
        "recorder: imaging and electrical recording of the same neuron",
        "challenge: both resampled to 100 Hz, and trends of the traces removed where there were",
        "nothing else; traces in the units of their authors",
    )
    return Provenance(
        source=f"spikefinder challenge, {calcium.name.partition('.calcium')[0]}",
        citation="berens2018",
        licence="none stated",
        url=URL,
        sha256={p.name: checksum(p, "sha256").partition(":")[2] for p in (calcium, spikes)},
        preprocessing=steps,
    )
