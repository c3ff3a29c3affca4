"""What a figure shows, as tables: read from its axes, with the words that stand in the figure.

Every panel gives rows: a series, where it stands, and what it is; intervals become a low and a high
end beside the value that they belong to. Panels with the same columns share a table. Pictures are
told by their shape and range, small ones value by value.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.collections import (
    LineCollection,
    PathCollection,
    PolyCollection,
    QuadMesh,
)
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import AxLine, Line2D
from matplotlib.patches import Patch, Rectangle, StepPatch
from matplotlib.ticker import FixedFormatter, FuncFormatter

MOST_ROWS = 20_000
# a picture with so many values is told value by value
MOST_VALUES = 200
DIGITS = 4
PICTURES = ("panel", "rows", "columns", "lowest", "mean", "highest")
ENDS = ("low end", "high end")

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Rows of what is shown.

    Attributes
    ----------
    caption
        The panels that the rows are of.
    columns
        Heads, with units where the figure names them.
    rows
        At most 20,000, evenly thinned.
    total
        Number of rows before that.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int

    def csv(self) -> str:
        """Return the table as comma-separated values, numbers rounded to four digits."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([said(cell) for cell in row] for row in self.rows)
        return stream.getvalue()


@dataclass(frozen=True)
class Marks:
    """One thing drawn in a panel: places along x and y, and ends of intervals along one of them."""

    series: str
    colour: object
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    along: str = ""
    value: np.ndarray | None = None
    quantity: str = "value"

    @property
    def named(self) -> bool:
        """Whether the figure's own words name the series."""
        return not self.series.startswith("_")


def tables(figure: Figure) -> list[Table]:
    """Return what a figure shows as tables, as few as its columns allow.

    Parameters
    ----------
    figure
        Any figure of matplotlib. Colour bars, arrows and words in it are left out.
    """
    panels = [ax for ax in figure.axes if not _is_colour_bar(ax) and ax.get_visible()]
    found: dict[tuple[str, ...], list[tuple[str, list[tuple[Cell, ...]]]]] = {}
    for ax, name in zip(panels, _panels(panels), strict=True):
        for columns, rows in (*_drawn(ax), *_pictures(ax, name)):
            found.setdefault(columns, []).append((name, rows))
    return [_joined(columns, parts) for columns, parts in found.items()]


def said(cell: Cell) -> str:
    """Return what stands in a cell: words as they are, numbers with four digits."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    number = float(cell)
    if not math.isfinite(number):
        return ""
    short = float(f"{number:.{DIGITS}g}") + 0.0  # no negative zero
    whole = short == round(short) and abs(short) < 1e9
    return f"{round(short)}" if whole else f"{short:.{DIGITS}g}"


def thinned(rows: Sequence, most: int) -> list:
    """Return at most so many rows, evenly spaced, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[k] for k in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _joined(columns: tuple[str, ...], parts: list[tuple[str, list]]) -> Table:
    """Put panels with equal columns under each other."""
    names = list(dict.fromkeys(name for name, _ in parts))
    if columns == PICTURES:
        rows = [row for _, part in parts for row in part]
        return Table("Pictures", columns, tuple(thinned(rows, MOST_ROWS)), len(rows))
    alone = len(names) == 1
    rows = [row if alone else (name, *row) for name, part in parts for row in part]
    heads = columns if alone else ("panel", *columns)
    caption = names[0] if alone else f"{len(names)} panels"
    return Table(caption, heads, tuple(thinned(rows, MOST_ROWS)), len(rows))


def _is_colour_bar(ax: Axes) -> bool:
    return ax.get_label() == "<colorbar>" or hasattr(ax, "_colorbar")


def _panels(panels: Sequence[Axes]) -> list[str]:
    """Return what panels are called: by their title, else by what they show; each name once."""
    names = [_panel(ax) for ax in panels]
    return [
        name if name and names.count(name) == 1 else f"{name} (panel {k})".strip()
        for k, name in enumerate(names, start=1)
    ]


def _panel(ax: Axes) -> str:
    titles = [_words(ax.get_title(where)) for where in ("left", "center", "right")]
    title = "; ".join(title for title in titles if title)
    return title or _words(ax.get_ylabel()) or _words(ax.get_xlabel())


def _words(label: str) -> str:
    """Return a label in one line, without the marks of mathematical type."""
    return " ".join(re.sub(r"[${}]", "", label).replace("\\", "").split())


def _axis_label(ax: Axes, which: str) -> str:
    """Return the label of an axis, or of one that it is shared with; else what it may be called."""
    axis = getattr(ax, f"{which}axis")
    shared = getattr(ax, f"get_shared_{which}_axes")().get_siblings(ax)
    labels = [_words(getattr(one, f"get_{which}label")()) for one in (ax, *shared)]
    whole = getattr(ax.get_figure(), f"get_sup{which}label", str)()
    words = isinstance(_named_places(axis, axis.get_majorticklocs()), list)
    return next((label for label in (*labels, _words(whole)) if label), "name" if words else which)


# ---- marks -> rows ------------------------------------------------------------------------------


def _drawn(ax: Axes) -> Iterator[tuple[tuple[str, ...], list[tuple[Cell, ...]]]]:
    """Give columns and rows of what a panel draws with marks."""
    marks = _with_intervals(_numbered(list(_marks(ax))))
    labels = {which: _axis_label(ax, which) for which in "xy"}
    if labels["x"] == labels["y"]:
        labels = {which: f"{label} ({which})" for which, label in labels.items()}
    if not marks:
        return
    columns = [labels["x"]] * any(m.x is not None for m in marks)
    columns += [labels["y"]] * any(m.y is not None for m in marks)
    for which in "xy":
        if any(m.along == which for m in marks):
            columns += [f"{labels[which]}, {end}" for end in ENDS]
    columns += sorted({m.quantity for m in marks if m.value is not None})
    series = len(marks) > 1 or marks[0].named
    rows = [
        ((_bare(m.series),) if series else ()) + tuple(row.get(column) for column in columns)
        for m in marks
        for row in _rows(ax, m, labels)
    ]
    yield (("series",) * series + tuple(columns)), rows


def _rows(ax: Axes, marks: Marks, labels: dict[str, str]) -> Iterator[dict[str, Cell]]:
    """Give the rows of one series, by column."""
    parts: dict[str, Sequence[Cell]] = {}
    for which, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        places = getattr(marks, which)
        if places is not None:
            parts[labels[which]] = _named_places(axis, places)
    if marks.along:
        for end, values in zip(ENDS, (marks.low, marks.high), strict=True):
            parts[f"{labels[marks.along]}, {end}"] = values
    if marks.value is not None:
        parts[marks.quantity] = marks.value
    for cells in zip(*parts.values(), strict=True):
        yield dict(zip(parts, cells, strict=True))


def _named_places(axis: Axis, places: np.ndarray) -> Sequence[Cell]:
    """Return the words of the ticks that numbers stand at, where ticks are words."""
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, FixedFormatter | FuncFormatter | StrCategoryFormatter):
        return places
    at = np.asarray(axis.get_majorticklocs(), dtype=float)
    names = [_words(name) for name in formatter.format_ticks(at)]
    if not any(names) or all(_is_number(name) for name in names):
        return places
    nearest = np.abs(np.asarray(places, dtype=float)[:, None] - at[None, :])
    reach = 0.5 * (np.diff(np.sort(at)).min() if len(at) > 1 else 1.0)
    if not np.all(nearest.min(1) < reach):
        return places
    return [names[k] for k in nearest.argmin(1)]


def _is_number(name: str) -> bool:
    return re.fullmatch(r"([-−+]?[\d.].*)?", name) is not None


def _numbered(marks: list[Marks]) -> list[Marks]:
    """Tell apart series that the figure gives no name, by number."""
    series = [m.series for m in marks]
    counts: dict[str, int] = {}
    numbered = []
    for m in marks:
        counts[m.series] = counts.get(m.series, 0) + 1
        several = not m.named and series.count(m.series) > 1
        numbered.append(replace(m, series=f"{m.series} {counts[m.series]}") if several else m)
    return numbered


def _bare(series: str) -> str:
    return _words(series.removeprefix("_"))


def _with_intervals(marks: list[Marks]) -> list[Marks]:
    """Put intervals beside the values that they are of: same places, same colour, value inside."""
    left = [m for m in marks if not (m.along and _owner(m, marks))]
    taken: set[int] = set()
    joined = []
    for m in left:
        own = [i for i in marks if i.along and id(i) not in taken and _owner(i, marks) is m]
        taken.update(id(i) for i in own[:1])
        joined += [_beside(m, own[0])] if own else [m]
        joined += own[1:]
    return joined


def _beside(values: Marks, interval: Marks) -> Marks:
    return replace(values, low=interval.low, high=interval.high, along=interval.along)


def _owner(interval: Marks, marks: list[Marks]) -> Marks | None:
    """Return the series whose values an interval is of, the one of the same name before others."""
    able = [m for m in marks if not m.along and _fits(m, interval)]
    return next((m for m in able if m.series == interval.series), next(iter(able), None))


def _fits(values: Marks, interval: Marks) -> bool:
    """Whether values stand at the places of intervals, in the same colour, and lie inside."""
    across = "y" if interval.along == "x" else "x"
    at, places = getattr(values, across), getattr(interval, across)
    inside = getattr(values, interval.along)
    if at is None or inside is None or places is None or not _same_colour(values, interval):
        return False
    slack = 1e-9 * (1 + np.abs(inside))
    return (
        len(at) == len(places)
        and np.array_equal(at, places, equal_nan=True)
        and not ((inside < interval.low - slack) | (inside > interval.high + slack)).any()
    )


def _same_colour(one: Marks, other: Marks) -> bool:
    return one.colour is not None and one.colour == other.colour


# ---- artists -> marks ---------------------------------------------------------------------------


def _marks(ax: Axes) -> Iterator[Marks]:
    """Give what a panel draws, in the order of drawing."""
    names, skipped = _containers(ax)
    for container in ax.containers:
        if isinstance(container, BarContainer):
            yield _bars(container)
    for artist in (*ax.lines, *ax.collections, *ax.patches):
        if artist.get_visible() and id(artist) not in skipped:
            label = names.get(id(artist), str(artist.get_label()))
            yield from _of(ax, artist, "" if label.startswith("_") else label)


def _containers(ax: Axes) -> tuple[dict[int, str], set[int]]:
    """Return names that containers give to artists, and artists that are told otherwise."""
    names: dict[int, str] = {}
    skipped: set[int] = set()
    for container in ax.containers:
        if isinstance(container, BarContainer):
            skipped.update(id(patch) for patch in container.patches)
        elif isinstance(container, ErrorbarContainer):
            line, caps, bars = container.lines
            names |= {id(part): str(container.get_label()) for part in (line, *bars) if part}
            skipped.update(id(cap) for cap in caps)
    return names, skipped


def _of(ax: Axes, artist: Artist, label: str) -> Iterator[Marks]:
    """Give the marks of one artist; none of one that shows no data."""
    if isinstance(artist, Line2D):
        yield from _line(ax, artist, label)
    elif isinstance(artist, PathCollection):
        yield from _points(artist, label)
    elif isinstance(artist, LineCollection):
        yield from _segments(ax, artist, label)
    elif isinstance(artist, PolyCollection):
        yield from _band(artist, label)
    elif isinstance(artist, StepPatch):
        yield from _outline(artist, label)
    elif isinstance(artist, Rectangle):
        yield from _span(ax, artist, label)


def _line(ax: Axes, line: Line2D, label: str) -> Iterator[Marks]:
    """Give a line, or the place of one that runs across the panel."""
    if isinstance(line, AxLine):
        return
    x, y = (np.ma.filled(np.ma.asarray(part, dtype=float), np.nan) for part in line.get_data())
    across, upright = line.get_transform().contains_branch_seperately(ax.transData)
    colour = _colour(line.get_color())
    if across and upright and len(x):
        kind = "line" if line.get_linestyle() != "None" else "dots"
        yield Marks(label or f"_{kind}", colour, x, y)
    elif across and len(x):
        yield Marks(label or "_mark", colour, x=np.unique(x))
    elif upright and len(x):
        yield Marks(label or "_mark", colour, y=np.unique(y))


def _points(dots: PathCollection, label: str) -> Iterator[Marks]:
    """Give dots, with what their colour shows."""
    offsets = np.ma.filled(np.ma.asarray(dots.get_offsets(), dtype=float), np.nan)
    value = dots.get_array()
    value = None if value is None else np.ma.filled(np.ma.ravel(value).astype(float), np.nan)
    if len(offsets):
        colour = None if value is not None else _first(dots.get_facecolor(), dots.get_edgecolor())
        quantity = _quantity(dots) or "colour"
        yield Marks(label or "_dots", colour, *offsets.T, value=value, quantity=quantity)


def _segments(ax: Axes, lines: LineCollection, label: str) -> Iterator[Marks]:
    """Give intervals; short ticks that stand beside the data by their places; else lines."""
    segments = [np.asarray(s, dtype=float) for s in lines.get_segments() if len(s)]
    colour = _first(lines.get_color())
    data = lines.get_transform().contains_branch_seperately(ax.transData)
    for along, across in (("y", "x"), ("x", "y")):
        k, j = "xy".index(along), "xy".index(across)
        if segments and all(len(s) == 2 and s[0, j] == s[1, j] for s in segments):
            ends = np.sort([s[:, k] for s in segments], axis=1)
            places = {across: np.array([s[0, j] for s in segments])}
            if all(data):
                low, high = ends.T
                yield Marks(label or "_interval", colour, **places, low=low, high=high, along=along)
            elif data[j] and not np.array_equal(np.unique(ends), [0, 1]):
                yield Marks(label or "_tick", colour, **places)
            return
    if all(data):
        for segment in segments:
            yield Marks(label or "_line", colour, *segment.T)


def _band(band: PolyCollection, label: str) -> Iterator[Marks]:
    """Give what lies between two curves; other shapes show no data of their own."""
    parts = [_two_sides(path.vertices) for path in band.get_paths()]
    parts = [part for part in parts if part is not None]
    if not parts:
        return
    one, other = (np.concatenate(sides) for sides in zip(*parts, strict=True))
    for along, across in (("y", "x"), ("x", "y")):
        k, j = "xy".index(along), "xy".index(across)
        if np.array_equal(one[:, j], other[:, j]):
            low, high = np.sort([one[:, k], other[:, k]], axis=0)
            colour = _first(band.get_facecolor(), band.get_edgecolor())
            places = {across: one[:, j]}
            yield Marks(label or "_band", colour, **places, low=low, high=high, along=along)
            return


def _two_sides(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Take apart the outline of a band: a corner, one side, a corner, the other side, closed."""
    n = (len(vertices) - 3) // 2
    if n < 1 or len(vertices) != 2 * n + 3:
        return None
    return vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]


def _outline(steps: StepPatch, label: str) -> Iterator[Marks]:
    """Give steps, once: the filled area under an outline repeats it."""
    values, edges, _ = steps.get_data()
    if steps.get_fill() and not label:
        return
    values, edges = np.asarray(values, dtype=float), np.asarray(edges, dtype=float)
    value, along = ("y", "x") if steps.orientation == "vertical" else ("x", "y")
    colour = _colour(steps.get_edgecolor())
    ends = {"low": edges[:-1], "high": edges[1:], "along": along}
    yield Marks(label or "_outline", colour, **{value: values}, **ends)


def _span(ax: Axes, span: Rectangle, label: str) -> Iterator[Marks]:
    """Give the ends of a strip that runs across the panel."""
    data = span.get_transform().contains_branch_seperately(ax.transData)
    if all(data) or not any(data):
        return
    along = "x" if data[0] else "y"
    low = span.get_x() if along == "x" else span.get_y()
    high = low + (span.get_width() if along == "x" else span.get_height())
    ends = {"low": np.array([low]), "high": np.array([high]), "along": along}
    yield Marks(label or "_strip", _colour(span.get_facecolor()), **ends)


def _bars(bars: BarContainer) -> Marks:
    label = str(bars.get_label())
    name = "_bar" if label.startswith("_") else label
    boxes = np.array([(*p.get_center(), p.get_width(), p.get_height()) for p in bars.patches])
    x, y, width, height = boxes.reshape(-1, 4).T
    colour = _first(*(patch.get_facecolor() for patch in bars.patches[:1]))
    if bars.orientation == "horizontal":
        return Marks(name, colour, width, y)
    return Marks(name, colour, x, height)


def _first(*colours: Iterable) -> object:
    """Return the first colour of the first that has any."""
    for colour in colours:
        rows = np.atleast_2d(np.asarray(colour, dtype=float))
        if rows.size:
            return _colour(tuple(rows[0]))
    return None


def _colour(value: object) -> tuple[int, ...] | None:
    """Return red, green and blue in whole steps, to be compared."""
    return None if value is None else tuple(round(255 * part) for part in to_rgb(value))


# ---- pictures -----------------------------------------------------------------------------------


def _pictures(ax: Axes, name: str) -> Iterator[tuple[tuple[str, ...], list[tuple[Cell, ...]]]]:
    """Give pictures by shape and range; a small one by its values too."""
    meshes = [c for c in ax.collections if isinstance(c, QuadMesh)]
    for picture in (*ax.images, *meshes):
        values = np.ma.filled(np.ma.asarray(picture.get_array(), dtype=float), np.nan)
        known = values[np.isfinite(values)]
        if not picture.get_visible() or values.ndim < 2 or not known.size:
            continue
        yield PICTURES, [(name, *values.shape[:2], known.min(), known.mean(), known.max())]
        if values.ndim == 2 and values.size <= MOST_VALUES and isinstance(picture, AxesImage):
            yield _by_value(ax, picture, values)


def _by_value(ax: Axes, picture: AxesImage, values: np.ndarray) -> tuple[tuple[str, ...], list]:
    """Return the values of a small picture, with what its rows and columns are called."""
    left, right, bottom, top = picture.get_extent()
    n_rows, n_columns = values.shape
    upper = picture.origin == "upper"
    x = left + (right - left) * (np.arange(n_columns) + 0.5) / n_columns
    down = (np.arange(n_rows) + 0.5) / n_rows
    y = top + (bottom - top) * down if upper else bottom + (top - bottom) * down
    across, upright = _named_places(ax.xaxis, x), _named_places(ax.yaxis, y)
    columns = (_axis_label(ax, "y"), _axis_label(ax, "x"), _quantity(picture) or "value")
    rows = [(upright[r], across[c], values[r, c]) for r in range(n_rows) for c in range(n_columns)]
    return columns, rows


def _quantity(shown: AxesImage | PathCollection | Patch) -> str:
    """Return what the colour bar of a picture or of dots says that colour shows."""
    bar = getattr(shown, "colorbar", None)
    return "" if bar is None else _words(bar.ax.get_ylabel() or bar.ax.get_xlabel())
