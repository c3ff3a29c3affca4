"""Figures by night: the same figure in the colours of the dark page, and back again.

Each colour of the day stands for one of the night, in a file that the setting ``night`` of
``[tool.bookpress]`` names. Colours that it does not list, and pictures in other colour maps, stay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import yaml
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import (
    Colormap,
    LinearSegmentedColormap,
    ListedColormap,
    is_color_like,
    to_rgb,
    to_rgba,
)
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text

from bookpress.book import Book, BookError

Rgb = tuple[int, int, int]

# Where artists keep their colours: as they were given, and as they are drawn.
PLACES: dict[type[Artist], tuple[str, ...]] = {
    Text: ("_color",),
    Line2D: (
        "_color",
        "_markerfacecolor",
        "_markerfacecoloralt",
        "_markeredgecolor",
        "_gapcolor",
    ),
    Patch: (
        "_facecolor",
        "_edgecolor",
        "_original_facecolor",
        "_original_edgecolor",
        "_hatch_color",
    ),
    Collection: (
        "_facecolors",
        "_edgecolors",
        "_original_facecolor",
        "_original_edgecolor",
        "_hatch_color",
    ),
}
# What a collection makes of its colour map when it is drawn, besides its colours.
MAPPED = ("_mapped_colors", "_face_is_mapped", "_edge_is_mapped")


@dataclass(frozen=True)
class Palette:
    """Colours by day with their colours by night, and the night's colour maps by name.

    Attributes
    ----------
    colours
        Day to night, each as ``#rrggbb``.
    maps
        Name of a colour map to the colours of its night twin, evenly spaced.
    """

    colours: Mapping[str, str]
    maps: Mapping[str, tuple[str, ...]]

    @cached_property
    def _table(self) -> dict[Rgb, tuple[float, float, float]]:
        return {_bytes(to_rgb(day)): to_rgb(dark) for day, dark in self.colours.items()}

    def colour(self, value: object) -> object:
        """Return the colour by night of one by day, alpha kept; or the same, if none is listed."""
        if not isinstance(value, np.ndarray | tuple | list | str) or not is_color_like(value):
            return value
        *rgb, alpha = to_rgba(value)
        dark = self._table.get(_bytes(rgb))
        # what is wholly transparent, "none" among it, is no colour
        return value if dark is None or alpha == 0 else (*dark, alpha)

    def colours_of(self, values: object) -> object:
        """Return one colour, or an array of colours with a row each, by night."""
        if isinstance(values, np.ndarray) and values.ndim == 2:
            return np.array([to_rgba(self.colour(row)) for row in values]).reshape(len(values), 4)
        if isinstance(values, list) and not is_color_like(values):
            return [self.colour(value) for value in values]
        return self.colour(values)

    def map(self, day: Colormap) -> Colormap:
        """Return the night twin of a colour map; the same, if it has none."""
        name = day.name.removesuffix("_r")
        if name not in self.maps and isinstance(day, ListedColormap):
            listed = self.colours_of(list(day.colors))
            return self._with_bad(ListedColormap(listed, name=f"{name}_night"), day)
        if name not in self.maps:
            return self._with_bad(day, day)
        dark = LinearSegmentedColormap.from_list(f"{name}_night", self.maps[name], N=day.N)
        return self._with_bad(dark.reversed() if day.name.endswith("_r") else dark, day)

    def _with_bad(self, dark: Colormap, day: Colormap) -> Colormap:
        """Return the map with the night's colour for values that are not defined."""
        bad = tuple(day.get_bad())
        changed = self.colour(bad)
        return dark if dark is day and changed is bad else dark.with_extremes(bad=changed)


def _bytes(rgb: object) -> Rgb:
    return tuple(round(255 * part) for part in rgb)


def read(path: Path) -> Palette:
    """Read a palette from a YAML file with the mappings ``colours`` and ``maps``.

    Raises
    ------
    BookError
        No such file, or something in it is no colour.
    """
    if not path.is_file():
        raise BookError(
            f"No palette {path.name}: the setting `night` of [tool.bookpress] names it."
        )
    table = yaml.safe_load(path.read_text())
    if not isinstance(table, dict) or not isinstance(table.get("colours"), dict):
        raise BookError(f"{path.name} must have a mapping `colours` from day to night.")
    maps = {name: tuple(stops) for name, stops in (table.get("maps") or {}).items()}
    named = [*table["colours"], *table["colours"].values(), *(c for m in maps.values() for c in m)]
    wrong = [colour for colour in named if not is_color_like(colour)]
    if wrong:
        raise BookError(f"{path.name}: {wrong} are no colours; write them as '#rrggbb'.")
    return Palette(table["colours"], maps)


def of_book(book: Book) -> Palette | None:
    """Return the palette that a book's settings name; None if they name none."""
    named = book.settings.get("night")
    return _kept(book.root / str(named)) if named else None


def of_session() -> Palette | None:
    """Return the palette of the book that the press executes, in the kernel; None elsewhere."""
    root = os.environ.get("BOOKPRESS_ROOT")
    return of_book(Book(Path(root))) if root else None


@lru_cache(maxsize=4)
def _kept(path: Path) -> Palette:
    return read(path)


@contextmanager
def by_night(figure: Figure, palette: Palette) -> Iterator[Figure]:
    """Give a figure the colours of the night; afterwards every artist has its own again.

    What is drawn meanwhile is drawn by night, and stands where it stood by day.

    Parameters
    ----------
    figure
        Drawn by day before: its layout is made then, and so are its ticks.
    palette
        What :func:`of_book` or :func:`of_session` return.
    """
    with ExitStack() as undo:
        undo.callback(figure.set_layout_engine, figure.get_layout_engine())
        figure.set_layout_engine("none")
        for artist in _artists(figure):
            _darken(artist, palette, undo.callback)
            artist.stale = True
        yield figure
    figure.stale = True


def _artists(figure: Figure) -> list[Artist]:
    """Every artist of a figure, with those that matplotlib does not count as children."""
    found = list(dict.fromkeys(figure.findobj(include_self=True)))
    for artist in tuple(found):
        if isinstance(artist, Legend):
            found.append(artist.get_frame())
        if isinstance(artist, Text) and artist.get_bbox_patch() is not None:
            found.append(artist.get_bbox_patch())
        if isinstance(artist, Annotation) and artist.arrow_patch is not None:
            found.append(artist.arrow_patch)
    return list(dict.fromkeys(found))


def _darken(artist: Artist, palette: Palette, later: Callable) -> None:
    """Change the colours of one artist, and hand what puts them back to ``later``."""
    kind = next((kind for kind in PLACES if isinstance(artist, kind)), None)
    places = [place for place in PLACES.get(kind, ()) if place in vars(artist)]
    kept = {place: vars(artist)[place] for place in (*places, *MAPPED) if place in vars(artist)}
    # called last in, first out: the colours after the colour map they are made of
    later(vars(artist).update, kept)
    vars(artist).update({place: palette.colours_of(vars(artist)[place]) for place in places})
    if isinstance(artist, ScalarMappable):
        day = artist.get_cmap()
        _set_map(artist, palette.map(day))
        later(_set_map, artist, day)


def _set_map(artist: ScalarMappable, colours: Colormap) -> None:
    """Change a colour map without a word to the colour bar, which would draw its parts anew."""
    if artist.get_cmap() is not colours:
        with artist.callbacks.blocked(signal="changed"):
            artist.set_cmap(colours)
        artist.stale = True
