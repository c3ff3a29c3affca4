"""Which sessions of the Neuropixels data showed natural scenes, and of which mice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from visualcortex.sources.allen import BUCKET
from visualcortex.sources.given import GivenFile

SESSIONS = GivenFile(name="sessions.csv", url=f"{BUCKET}/sessions.csv")
PROBES = GivenFile(name="probes.csv", url=f"{BUCKET}/probes.csv")
WITH_SCENES = "brain_observatory_1.1"
COLUMNS = ("sex", "age_days", "genotype", "date", "n_probes")


def session_table(path: Path | None = None) -> pd.DataFrame:
    """Return the 32 sessions in which natural scenes were shown, one row each.

    Parameters
    ----------
    path
        ``sessions.csv`` of the AllenSDK's cache; by default the one below the data folder, if
        there is one. Where ``probes.csv`` lies beside it the probes are counted.

    Returns
    -------
    pandas.DataFrame
        The index ``id`` is the number of the session, in order; ``sex``, ``age_days``,
        ``genotype``, ``date`` of recording (a day) and ``n_probes``, missing where no table is at
        hand: the numbers are known without.

    Raises
    ------
    ValueError
        The table is of another form.
    """
    path = SESSIONS.find() if path is None else path
    if path is None:
        return _numbers_only()
    table = _read(path, ("id", "session_type", "sex", "age_in_days", "genotype"), SESSIONS.url)
    table = table[table["session_type"] == WITH_SCENES].set_index("id").sort_index()
    if not len(table):
        raise ValueError(f"{path} lists no session {WITH_SCENES}. Get it from {SESSIONS.url}.")
    date = table["date_of_acquisition"] if "date_of_acquisition" in table else None
    columns = {
        "sex": table["sex"],
        "age_days": table["age_in_days"],
        "genotype": table["genotype"],
        "date": None if date is None else date.astype(str).str.slice(0, 10),
        "n_probes": _count_probes(path.parent / PROBES.name, table.index),
    }
    return pd.DataFrame(columns, index=table.index)


def _numbers_only() -> pd.DataFrame:
    from visualcortex.catalogue import ENTRIES  # which names the readers, this one's among them

    numbers = next(entry.numbers for entry in ENTRIES if entry.id == "allen_neuropixels")
    return pd.DataFrame(index=pd.Index(sorted(numbers), name="id"), columns=list(COLUMNS))


def _read(path: Path, columns: tuple[str, ...], url: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a table ({error}). Get it from {url}."
        ) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}; it may be another table, or cut "
            f"short. Get it from {url}."
        )
    return table


def _count_probes(path: Path, sessions: pd.Index) -> pd.Series | None:
    if not path.is_file():
        return None
    table = _read(path, ("ecephys_session_id",), PROBES.url)
    return table["ecephys_session_id"].value_counts().reindex(sessions, fill_value=0)
