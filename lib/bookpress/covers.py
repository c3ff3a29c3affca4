"""The picture at the head of a chapter, which the front page shows too."""

from __future__ import annotations

import html
from dataclasses import dataclass

import matplotlib.figure

from bookpress import night
from bookpress.book import BookError
from bookpress.pictures import data_uri, webp

DPI = 150  # shown small, on sharp screens too
MIMETYPE = "application/vnd.bookpress.cover+json"


@dataclass(frozen=True)
class Cover:
    """A picture by day, the same by night where there is a palette for it, and what it shows."""

    day: str
    night: str | None
    alt: str

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        picture = {"day": self.day, "night": self.night, "alt": self.alt}
        shown = f'<img src="{self.day}" alt="{html.escape(self.alt)}" width="400">'
        return {MIMETYPE: picture, "text/html": shown, "text/plain": self.alt}


def cover(figure: matplotlib.figure.Figure, *, alt: str) -> Cover:
    """Return what the press takes for the head of a chapter.

    Parameters
    ----------
    figure
        Wider than high, with few words: it is shown small.
    alt
        What the picture shows, in at least 40 characters.

    Raises
    ------
    BookError
        The text is too short to tell what is shown.
    """
    if len(alt.strip()) < 40:
        raise BookError(f"a cover needs a text that says what it shows; got {alt!r}.")
    day, palette = data_uri(webp(figure, DPI)), night.of_session()
    if palette is None:
        return Cover(day, None, alt)
    with night.by_night(figure, palette):
        return Cover(day, data_uri(webp(figure, DPI)), alt)
