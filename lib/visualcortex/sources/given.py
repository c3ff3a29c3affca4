"""Files that are published without a checksum: looked for in the data folder, never downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from visualcortex.sources.fetch import DataError, data_folder

UNPUBLISHED = "none published"


@dataclass(frozen=True)
class GivenFile:
    """A published file, or folder, of which no checksum is published.

    Whether a download came whole could not be known, so that the reader of the data fetches it
    and looks at what it holds.

    Parameters
    ----------
    name
        Its published name.
    url
        Where it is published.
    also
        Another name under which it is accepted: the folder that comes out of an archive.
    """

    name: str
    url: str
    also: str = ""

    checksum = UNPUBLISHED
    size = None

    def find(self, folder: Path | None = None) -> Path | None:
        """Return the first file or folder of that name anywhere below the data folder, or None.

        Parameters
        ----------
        folder
            Data folder; that of the environment by default. Links in it are taken, links to
            folders are not searched.
        """
        folder = data_folder() if folder is None else folder
        wanted = [name for name in (self.name, self.also) if name]
        for parent, folders, files in os.walk(folder):
            folders.sort()
            for name in wanted:
                if name in files or name in folders:
                    return Path(parent, name)
        return None

    def get(self, folder: Path | None = None) -> Path:
        """Return its path.

        Raises
        ------
        DataError
            It is not below the data folder; the message says where to get it.
        """
        folder = data_folder() if folder is None else folder
        found = self.find(folder)
        if found is None:
            raise DataError(
                f"{self.name} is not below {folder}. No checksum of it is published, so that it "
                f"is not downloaded by itself: get it from {self.url} and put it anywhere below "
                f"{folder}, or set VISUALCORTEX_DATA to a folder that holds it."
            )
        return found
