"""The catalogue: every recording of the book, by its id."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualcortex.sources.fetch import RemoteFile, data_folder, fetch, look_up

if TYPE_CHECKING:
    import pandas as pd

    from visualcortex.recording import Recording

# Readers and simulators are named, not imported: the press asks `needs` before every run and
# should not wait for xarray or torch.

SIMULATED = "simulated"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recording of the catalogue.

    Parameters
    ----------
    id
        Name by which `load` knows it.
    what
        What was recorded, in one sentence.
    citation
        Key in the bibliography; empty for a simulation.
    licence
        Licence of the data.
    url
        Page on which the data are published; empty for a simulation.
    maker
        ``"module:name"`` of the function that reads the files (in their order here), or of the
        class of settings whose ``simulate(seed)`` draws the recording.
    files
        Files of a real recording; none for a simulation.
    """

    id: str
    what: str
    citation: str
    licence: str
    url: str
    maker: str
    files: tuple[RemoteFile, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether it is simulated rather than read from files."""
        return not self.files


_NEUROGAN = "520e2ffbed79870676ff5592d83e35b142f80927"
_NEUROGAN_RAW = f"https://raw.githubusercontent.com/0xJchen/NeuroGAN/{_NEUROGAN}"
_NEUROGAN_PAGE = f"https://github.com/0xJchen/NeuroGAN/tree/{_NEUROGAN}"
_GUAN2018_TAG = RemoteFile(
    name="20180827_Mouse1_tag.csv",
    url=f"{_NEUROGAN_RAW}/20180827_Mouse1_tag.csv",
    checksum="sha256:305692e38ffd86dbe8b77f02ac5c17244ca9b121a479c80d62395d87358028b7",
    size=1176,
)

ENTRIES = (
    Entry(
        id="calcium_population",
        what="Simulated calcium imaging of tuned neurons with shared fluctuations and drift",
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.calcium_population:CalciumPopulation",
    ),
    Entry(
        id="guan2018",
        what="Fraction of active frames of 259 neurons of mouse visual cortex, 498 trials",
        citation="gao2021neurogan",
        licence="none stated",
        url=_NEUROGAN_PAGE,
        maker="visualcortex.sources.guan2018:read_guan2018",
        files=(
            RemoteFile(
                name="20180827_Mouse1_mean_signal.csv",
                url=f"{_NEUROGAN_RAW}/20180827_Mouse1_mean_signal.csv",
                checksum="sha256:a92b73ac789766e4ab62bf2e951080a665bc108611d23d5413176d7d82827bc9",
                size=579401,
            ),
            _GUAN2018_TAG,
        ),
    ),
    Entry(
        id="guan2018_traces",
        what="Raw fluorescence of the same neurons and trials, 29 frames at 10 Hz",
        citation="gao2021neurogan",
        licence="none stated",
        url=_NEUROGAN_PAGE,
        maker="visualcortex.sources.guan2018:read_guan2018_traces",
        files=(
            RemoteFile(
                name="20180827_Mouse1_reshape.csv",
                url=f"{_NEUROGAN_RAW}/20180827_Mouse1_reshape.csv",
                checksum="git-blob:b556927191cbf2b052af63e5fdcaa437a84195e8",
                size=None,
            ),
            _GUAN2018_TAG,
        ),
    ),
)


def load(id: str, *, simulator: str | None = None, seed: int = 0, **options: object) -> Recording:
    """Return a recording of the catalogue.

    Parameters
    ----------
    id
        An id of the catalogue, or ``"simulated"`` for the simulator named next.
    simulator
        The simulator that ``"simulated"`` stands for. A real recording takes no notice of it,
        nor of `seed`, so that a chapter can pass both whatever its dataset.
    seed
        Seed of a simulation.
    **options
        Settings of the simulator.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        Unknown id, simulator or option.
    DataError
        Files are neither at hand nor to be had.
    """
    entry = _entry(_resolve(id, simulator))
    module, name = entry.maker.split(":")
    maker = getattr(importlib.import_module(module), name)
    if entry.simulated:
        _check_options(entry.id, options, list(inspect.signature(maker).parameters))
        return maker(**options).simulate(seed)
    _check_options(entry.id, options, [])
    return maker(*(fetch(file, entry.id) for file in entry.files))


def catalogue() -> pd.DataFrame:
    """Return the catalogue as a table, one row a recording.

    Columns: ``what``, ``citation``, ``licence``, ``url``, ``files``, ``checksums``, ``size`` and
    ``how to get it``; the index is the ``id``.
    """
    import pandas as pd

    rows = [
        {
            "id": entry.id,
            "what": entry.what,
            "citation": entry.citation,
            "licence": entry.licence,
            "url": entry.url,
            "files": ", ".join(file.name for file in entry.files),
            "checksums": ", ".join(file.checksum for file in entry.files),
            "size": _size(entry),
            "how to get it": _how(entry),
        }
        for entry in ENTRIES
    ]
    return pd.DataFrame(rows).set_index("id")


def needs(parameters: Mapping[str, object]) -> list[dict[str, object]]:
    """List the files that a run of a chapter with these parameters needs.

    Parameters
    ----------
    parameters
        Parameters of the chapter; ``"dataset"`` is an id of the catalogue or ``"simulated"``.

    Returns
    -------
    list of dict
        ``"file"``, ``"size"`` (bytes, None if unknown), ``"checksum"`` and ``"present"`` (whether
        it lies in the data folder with that checksum); empty for a simulation or without
        ``"dataset"``.

    Raises
    ------
    ValueError
        Unknown id.
    DataError
        The data folder does not exist.
    """
    id = parameters.get("dataset", SIMULATED)
    files = () if id == SIMULATED else _entry(str(id)).files
    return [
        {
            "file": file.name,
            "size": file.size,
            "checksum": file.checksum,
            "present": look_up(file, data_folder())[0] is not None,
        }
        for file in files
    ]


def _resolve(id: str, simulator: str | None) -> str:
    if id != SIMULATED:
        return id
    simulators = [entry.id for entry in ENTRIES if entry.simulated]
    if simulator not in simulators:
        raise ValueError(
            f"the dataset {SIMULATED!r} needs the name of a simulator; got simulator="
            f"{simulator!r}.{_suggest(simulator, simulators)} Simulators: {', '.join(simulators)}."
        )
    return simulator


def _entry(id: str) -> Entry:
    for entry in ENTRIES:
        if entry.id == id:
            return entry
    valid = [SIMULATED, *(entry.id for entry in ENTRIES)]
    raise ValueError(f"unknown dataset {id!r}.{_suggest(id, valid)} Datasets: {', '.join(valid)}.")


def _suggest(word: object, valid: list[str]) -> str:
    close = difflib.get_close_matches(str(word), valid, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_options(id: str, options: Mapping[str, object], valid: list[str]) -> None:
    for name in options:
        if name not in valid:
            known = f"Its options: {', '.join(valid)}." if valid else "It takes none."
            raise ValueError(f"{id} has no option {name!r}.{_suggest(name, valid)} {known}")


def _size(entry: Entry) -> str:
    if entry.simulated:
        return "none to fetch"
    sizes = [file.size for file in entry.files]
    if None in sizes:
        return "not published"
    return f"{sum(sizes) / 1e6:.2g} MB"


def _how(entry: Entry) -> str:
    if entry.simulated:
        return "made on the spot by its simulator"
    return "downloaded at first use, or put its files anywhere below VISUALCORTEX_DATA"
