"""The catalogue: every recording of the book, by its id."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

from visualcortex.sources.fetch import PUBLISHED, RemoteFile, data_folder, fetch, look_up

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
    mice
        Where there are several recordings of one kind, the file of each; the option ``mouse``
        counts them. The reader is given that file, then `files`.
    """

    id: str
    what: str
    citation: str
    licence: str
    url: str
    maker: str
    files: tuple[RemoteFile, ...] = ()
    mice: tuple[RemoteFile, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether it is simulated rather than read from files."""
        return not (self.files or self.mice)


_NEUROGAN = "520e2ffbed79870676ff5592d83e35b142f80927"
_NEUROGAN_RAW = f"https://raw.githubusercontent.com/0xJchen/NeuroGAN/{_NEUROGAN}"
_NEUROGAN_PAGE = f"https://github.com/0xJchen/NeuroGAN/tree/{_NEUROGAN}"
_GUAN2018_TAG = RemoteFile(
    name="20180827_Mouse1_tag.csv",
    url=f"{_NEUROGAN_RAW}/20180827_Mouse1_tag.csv",
    checksum="sha256:305692e38ffd86dbe8b77f02ac5c17244ca9b121a479c80d62395d87358028b7",
    size=1176,
)
_STRINGER2018B = "10.25378/janelia.6845348"
_STRINGER2018B_CODE = (
    "https://raw.githubusercontent.com/MouseLand/stringer-pachitariu-et-al-2018b/"
    "79850dba7a4e66e213245105c00131f4d6c84e03"
)


def _published(doi: str, name: str) -> RemoteFile:
    return RemoteFile(name=name, url=f"doi:{doi}/{name}", checksum=PUBLISHED)


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
        id="v1",
        what=(
            "Simulated primary visual cortex: thousands of tuned neurons at 3-D positions, "
            "natural-like images shown twice"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.v1:V1",
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
    Entry(
        id="stringer2018b",
        what=(
            "Responses of about ten thousand neurons of mouse visual cortex to 2,800 natural "
            "images shown twice; seven recordings"
        ),
        citation="stringer2019",
        licence="none stated",
        url=f"https://doi.org/{_STRINGER2018B}",
        maker="visualcortex.sources.stringer2018b:read_stringer2018b",
        mice=tuple(
            _published(_STRINGER2018B, f"natimg2800_{recording}.mat")
            for recording in (
                "M170714_MP032_2017-09-14",  # the one of the authors' own Python notebook
                "M160825_MP027_2016-12-14",
                "M161025_MP030_2017-05-29",
                "M170604_MP031_2017-06-28",
                "M170714_MP032_2017-08-07",
                "M170717_MP033_2017-08-20",
                "M170717_MP034_2017-09-11",
            )
        ),
        files=(
            _published(_STRINGER2018B, "images_natimg2800_all.mat"),
            RemoteFile(
                name="stimuli_class_assignment_confident.mat",
                url=f"{_STRINGER2018B_CODE}/classes/stimuli_class_assignment_confident.mat",
                checksum="sha256:18721867c432cc7d51f23c401d2abac514b22d8a672553f553f696210eb191e6",
                size=752,
            ),
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
        Settings of the simulator; of a real recording, ``mouse`` (0 by default) where the
        catalogue holds several.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        Unknown id, simulator, option or mouse.
    DataError
        Files are neither at hand nor to be had.
    """
    entry = _entry(_resolve(id, simulator))
    module, name = entry.maker.split(":")
    maker = getattr(importlib.import_module(module), name)
    if entry.simulated:
        _check_options(entry.id, options, list(inspect.signature(maker).parameters))
        return maker(**options).simulate(seed)
    _check_options(entry.id, options, ["mouse"] if entry.mice else [])
    files = _files(entry, [options.get("mouse", 0)])
    return maker(*(fetch(file, entry.id) for file in files))


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
            "files": ", ".join(file.name for file in (*entry.mice, *entry.files)),
            "checksums": ", ".join(_checksums(entry)),
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
        Where the catalogue holds several recordings, ``"mouse"`` (0 by default) says which is
        read, and the first ``"n_mice"`` are as well.

    Returns
    -------
    list of dict
        ``"file"``, ``"size"`` (bytes, None if unknown), ``"checksum"`` and ``"present"`` (whether
        it lies in the data folder with that checksum); empty for a simulation or without
        ``"dataset"``.

    Raises
    ------
    ValueError
        Unknown id or mouse.
    DataError
        The data folder does not exist.
    """
    id = parameters.get("dataset", SIMULATED)
    files = () if id == SIMULATED else _wanted(_entry(str(id)), parameters)
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


def _wanted(entry: Entry, parameters: Mapping[str, object]) -> list[RemoteFile]:
    mice = [parameters.get("mouse", 0), *range(int(parameters.get("n_mice", 0)))]
    return _files(entry, mice)


def _files(entry: Entry, mice: Sequence[object]) -> list[RemoteFile]:
    """Return the files of some recordings, every file once."""
    if not entry.mice:
        return list(entry.files)
    known = range(len(entry.mice))
    for mouse in mice:
        if not isinstance(mouse, Integral) or mouse not in known:
            listed = ", ".join(f"{k} = {entry.mice[k].name}" for k in known)
            raise ValueError(f"{entry.id} has no mouse {mouse!r}. Its recordings: {listed}.")
    return [*(entry.mice[mouse] for mouse in dict.fromkeys(mice)), *entry.files]


def _suggest(word: object, valid: list[str]) -> str:
    close = difflib.get_close_matches(str(word), valid, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_options(id: str, options: Mapping[str, object], valid: list[str]) -> None:
    for name in options:
        if name not in valid:
            known = f"Its options: {', '.join(valid)}." if valid else "It takes none."
            raise ValueError(f"{id} has no option {name!r}.{_suggest(name, valid)} {known}")


def _checksums(entry: Entry) -> list[str]:
    return list(dict.fromkeys(file.checksum for file in (*entry.mice, *entry.files)))


def _size(entry: Entry) -> str:
    if entry.simulated:
        return "none to fetch"
    if entry.mice:
        return "listed under the DOI"
    sizes = [file.size for file in entry.files]
    if None in sizes:
        return "not published"
    return f"{sum(sizes) / 1e6:.2g} MB"


def _how(entry: Entry) -> str:
    if entry.simulated:
        return "made on the spot by its simulator"
    return "downloaded at first use, or put its files anywhere below VISUALCORTEX_DATA"
