"""What figshare publishes of the files of an article: address, size and MD5.

The list is asked from figshare's own interface. The pages behind the DOIs are of no use to a
program (they are closed to robots, and those of an institution, such as janelia.figshare.com, are
not known to pooch as figshare's), and without a page size the interface names only ten files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from visualcortex.sources.atomic import keep_text

API = "https://api.figshare.com/v2"
LISTS = ".published"
MOST_FILES = 1000  # of one page, figshare's limit


@dataclass(frozen=True)
class Listed:
    """A file as figshare lists it.

    Parameters
    ----------
    url
        Where it can be downloaded.
    md5
        MD5 of its content, hexadecimal.
    size
        Bytes.
    """

    url: str
    md5: str
    size: int

    def __post_init__(self) -> None:
        """Check what came over the network."""
        if not (isinstance(self.url, str) and isinstance(self.size, int)):
            raise ValueError(f"expected an address and a size; got {self.url!r}, {self.size!r}")
        if not re.fullmatch("[0-9a-f]{32}", self.md5):
            raise ValueError(f"expected an MD5 of 32 hexadecimal digits; got {self.md5!r}")


def list_address(doi: str) -> str:
    """Return the address of the list of files of an article.

    Parameters
    ----------
    doi
        DOI of a figshare article, which ends with the article's number and possibly a version:
        ``10.25378/janelia.6845348`` or ``10.25378/janelia.6845348.v4``.

    Raises
    ------
    ValueError
        It does not.
    """
    found = re.fullmatch(r"10\.\d+/.*?(\d+)(?:\.v(\d+))?", doi)
    if not found:
        raise ValueError(
            f"the DOI of a figshare article must end with its number, as 10.25378/janelia.6845348; "
            f"got {doi!r}. Correct its entry."
        )
    article, version = found.groups()
    of = f"{article}/versions/{version}" if version else article
    return f"{API}/articles/{of}/files?page_size={MOST_FILES}"


def ask(doi: str, timeout: tuple[float, float]) -> dict[str, Listed]:
    """Ask figshare for the files of an article, by name.

    Parameters
    ----------
    doi
        DOI of the article.
    timeout
        Longest waits to connect and for an answer, s.

    Raises
    ------
    requests.RequestException
        No answer, or one with an error status.
    ValueError
        What came is not such a list.
    """
    import requests

    answer = requests.get(list_address(doi), timeout=timeout)
    answer.raise_for_status()
    try:
        return {
            item["name"]: Listed(item["download_url"], item["computed_md5"], item["size"])
            for item in answer.json()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"what came is not a list of files ({error})") from None


def remember(doi: str, listed: Mapping[str, Listed], folder: Path) -> None:
    """Keep the list of an article's files in a data folder, if that can be written to."""
    kept = {name: asdict(file) for name, file in listed.items()}
    keep_text(_place(doi, folder), json.dumps(kept))


def remembered(doi: str, folder: Path) -> dict[str, Listed] | None:
    """Return the list that is kept in a data folder; None if there is none that can be read."""
    try:
        kept = json.loads(_place(doi, folder).read_text(encoding="utf-8"))
        return {name: Listed(**file) for name, file in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _place(doi: str, folder: Path) -> Path:
    return folder / LISTS / f"{doi.replace('/', '_')}.json"
