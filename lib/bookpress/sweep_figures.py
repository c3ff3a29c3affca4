"""Figures of a sweep, drawn as SVG from arrays: scores against a parameter, and rows of claims.

Colours are those of the page around: a figure names its parts (``g0`` is the first group of runs)
and the page's style sheet paints them, so one figure serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

N_COLOURS = 6
# Of one group: circle, square, triangle, diamond, triangle on its head, cross.
MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "m-2.6-2.6h5.2v5.2h-5.2z",
    "m0-3.4l3.3 5.6h-6.6z",
    "m0-3.7l3.4 3.7l-3.4 3.7l-3.4-3.7z",
    "m0 3.4l3.3-5.6h-6.6z",
    "m-3.2-1h2.2v-2.2h2v2.2h2.2v2h-2.2v2.2h-2v-2.2h-2.2z",
)
LETTER = 6.6  # mean width of a character, in the units of a figure
LEAST_FOR_LOG = 8.0  # largest over smallest value of an axis that may be drawn in logarithms
WIDEST_SLOT = 40.0
MOST_OPEN = 8  # runs side by side through which a bar can be seen
NARROWEST_SLOT = 16.0
PLAIN_WIDTH, SMALL_WIDTH, FULL_WIDTH = 420.0, 260.0, 900.0


@dataclass(frozen=True)
class Axis:
    """Where the values of a parameter stand.

    Parameters
    ----------
    name
        What the axis shows.
    labels
        One a value.
    at
        Place of each value, from 0 to 1.
    numeric, log
        Whether the places are to scale, and whether that scale is logarithmic.
    """

    name: str
    labels: tuple[str, ...]
    at: np.ndarray
    numeric: bool
    log: bool = False


@dataclass(frozen=True)
class Points:
    """The runs of one figure, an array entry each.

    Parameters
    ----------
    column, group
        Index of the value on the axis, and of the group.
    value, low, high, chance, ceiling
        The claim; a missing ceiling is not a number.
    names
        What each run is called; empty where no point is to carry its name.
    """

    column: np.ndarray
    group: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chance: np.ndarray
    ceiling: np.ndarray
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Middle:
    """The median of `n` runs at one place, and an interval that covers it so probably."""

    column: int
    group: int
    median: float
    low: float
    high: float
    n: int
    coverage: float


@dataclass(frozen=True)
class Frame:
    """The plotting area of a figure, in its own units, and the scale of its scores."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    lowest: float
    highest: float

    def x(self, at: float | np.ndarray) -> float | np.ndarray:
        """Return the horizontal place of a fraction of the width."""
        return self.left + at * (self.right - self.left)

    def across(self, score: float | np.ndarray) -> float | np.ndarray:
        """Return the horizontal place of a score where scores run to the right, cut at the ends."""
        return self.x(np.clip((score - self.lowest) / (self.highest - self.lowest), 0, 1))

    def y(self, score: float | np.ndarray) -> float | np.ndarray:
        """Return the vertical place of a score."""
        share = (score - self.lowest) / (self.highest - self.lowest)
        return self.bottom - share * (self.bottom - self.top)


def axis_of(name: str, values: Sequence[object]) -> Axis:
    """Return the axis of a parameter's distinct values: numbers to scale, all else by name."""
    labels = tuple(label(value) for value in values)
    numeric = bool(values) and all(type(value) in (int, float) for value in values)
    if not numeric:
        return Axis(name, labels, (np.arange(len(values)) + 0.5) / max(len(values), 1), False)
    plain = _spread(np.array(values, dtype=float))
    if min(values) > 0 and max(values) >= LEAST_FOR_LOG * min(values):
        log = _spread(np.log(np.array(values, dtype=float)))
        if _least_gap(log) > _least_gap(plain):
            return Axis(name, labels, log, numeric=True, log=True)
    return Axis(name, labels, plain, numeric=True)


def _spread(numbers: np.ndarray) -> np.ndarray:
    """Return places from 0 to 1, to scale, half of the least gap away from either end."""
    span = np.ptp(numbers)
    if span == 0:
        return np.full(len(numbers), 0.5)
    inner = (numbers - numbers.min()) / span
    gap = _least_gap(inner)
    edge = 0.5 * gap / (1 + gap)
    return edge + (1 - 2 * edge) * inner


def _least_gap(at: np.ndarray) -> float:
    return float(np.diff(np.sort(at)).min()) if len(at) > 1 else 1.0


def label(value: object) -> str:
    """Return a parameter's value as words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Return a score as it is printed: three figures, and a true minus."""
    whole = abs(value) >= 1000 and abs(value) < 1e6
    return (f"{value:.0f}" if whole else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")


def extent(points: Points) -> tuple[float, float]:
    """Return the lowest and highest score to show.

    Values, chance and ceiling are all within. Intervals count too, but only to as far again, so
    that one that runs away does not flatten the others; it is cut at the frame.
    """
    ceilings = points.ceiling[~np.isnan(points.ceiling)]
    core = np.concatenate([points.value, points.chance, ceilings])
    bottom, top = float(core.min()), float(core.max())
    span = top - bottom
    if span > 0:
        bottom = min(bottom, max(float(points.low.min()), bottom - span))
        top = max(top, min(float(points.high.max()), top + span))
    else:
        bottom, top = min(bottom, float(points.low.min())), max(top, float(points.high.max()))
    size = max(abs(bottom), abs(top))
    margin = 0.06 * (top - bottom)
    if margin <= 1e-9 * size:
        margin = 0.1 * size or 1.0
    return bottom - margin, top + margin


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between two bounds, about `count` of them."""
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = min((unit * k for k in (1, 2, 5, 10)), key=lambda one: abs(math.log(one / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step + 0.0 for k in range(first, last + 1)]


def tick_texts(marks: Sequence[float]) -> list[str]:
    """Return how the marks of a scale are printed: with as many figures as tell them apart."""
    largest = max(abs(mark) for mark in marks)
    step = min(np.diff(marks), default=largest) or 1.0
    last = math.floor(math.log10(step) + 1e-9)
    if largest < 1e6 and last >= -5:
        texts = [f"{mark:.{max(0, -last)}f}" for mark in marks]
    else:
        figures = math.floor(math.log10(largest) + 1e-9) - last + 1
        texts = [f"{mark:.{figures}g}" for mark in marks]
    return [text.replace("-", "\N{MINUS SIGN}") for text in texts]


def panel(
    axis: Axis,
    points: Points,
    middles: Sequence[Middle],
    *,
    title: str,
    description: str,
    n_groups: int = 1,
    small: bool = False,
) -> str:
    """Draw scores against a parameter.

    Parameters
    ----------
    axis
        The parameter's values.
    points
        One mark a run, with its own interval.
    middles
        Medians over runs, with their intervals.
    title, description
        Read aloud in place of the figure.
    n_groups
        Number of groups side by side at each value.
    small
        Whether it is one of many.
    """
    frame, tilted = _frame(axis, points, n_groups, small)
    slot = _slot(axis, frame, n_groups)
    x = _places(axis, frame, points, n_groups, slot)
    under, over = _medians(frame, axis, middles, n_groups, slot)
    parts = [
        *_scores(frame),
        *_values(axis, frame, tilted),
        *_bounds(frame, axis, points, n_groups, slot),
        *under,
        *_runs(frame, points, x),
        *over,
    ]
    return svg(frame.width, frame.height, title, description, parts)


def is_wide(axis: Axis, n_groups: int) -> bool:
    """Say whether a figure needs the full width of the page for its places to be told apart."""
    return len(axis.labels) * n_groups * NARROWEST_SLOT > PLAIN_WIDTH - 60


def marker(group: int) -> str:
    """Draw the mark of a group of runs, for a legend."""
    mark = f'<path class="pt g{group % N_COLOURS}" d="M6 6{shape(group)}"/>'
    return f'<svg viewBox="0 0 12 12" width="17" height="17" aria-hidden="true">{mark}</svg>'


def _frame(axis: Axis, points: Points, n_groups: int, small: bool) -> tuple[Frame, bool]:
    """Return the plotting area, and whether the labels of the axis have to be tilted."""
    low, high = extent(points)
    left = 14 + LETTER * max(len(text) for text in tick_texts(ticks(low, high)))
    width = SMALL_WIDTH if small else FULL_WIDTH if is_wide(axis, n_groups) else PLAIN_WIDTH
    widest = LETTER * max(len(_short(text)) for text in axis.labels)
    room = (width - left) / len(axis.labels)
    tilted = not axis.numeric and widest + 6 > room
    below = 30 + (min(widest * 0.6, 96) if tilted else 10)
    height = below + (130 if small else 210)
    return Frame(width, height, left, width - 8, 10, height - below, low, high), tilted


def _slot(axis: Axis, frame: Frame, n_groups: int) -> float:
    """Return the width that the runs of one group have at one value."""
    return min(0.8 * _least_gap(axis.at) * (frame.right - frame.left) / n_groups, WIDEST_SLOT)


def _centre(
    axis: Axis, frame: Frame, column: np.ndarray, group: np.ndarray, n_groups: int, slot: float
) -> np.ndarray:
    return frame.x(axis.at[column]) + (group - (n_groups - 1) / 2) * slot


def _places(axis: Axis, frame: Frame, points: Points, n_groups: int, slot: float) -> np.ndarray:
    """Return where each run stands: those of one value and group side by side, in their order."""
    centre = _centre(axis, frame, points.column, points.group, n_groups, slot)
    cell = points.column * n_groups + points.group
    aside = np.zeros(len(cell))
    for one in np.unique(cell):
        members = np.flatnonzero(cell == one)
        if len(members) > 1:
            aside[members] = np.linspace(-0.34, 0.34, len(members)) * slot
    return centre + aside


def _scores(frame: Frame) -> Iterator[str]:
    marks = ticks(frame.lowest, frame.highest)
    heights = [frame.y(mark) for mark in marks]
    grid = "".join(f"M{short(frame.left)} {short(y)}H{short(frame.right)}" for y in heights)
    yield f'<path class="grid" d="{grid}"/>'
    for y, text in zip(heights, tick_texts(marks), strict=True):
        place = f'x="{short(frame.left - 6)}" y="{short(y + 4)}" text-anchor="end"'
        yield f"<text {place}>{text}</text>"


def _values(axis: Axis, frame: Frame, tilted: bool) -> Iterator[str]:
    """Draw the axis of the parameter; of numbers that would overlap, only some are printed."""
    line = "".join(f"M{short(frame.x(at))} {short(frame.bottom)}v4" for at in axis.at)
    floor = f"M{short(frame.left)} {short(frame.bottom)}H{short(frame.right)}"
    yield f'<path class="axis" d="{floor}{line}"/>'
    free = -math.inf
    for at, text in sorted(zip(axis.at, axis.labels, strict=True)):
        x, half = float(frame.x(at)), LETTER * len(text) / 2
        if not axis.numeric or x - half > free:
            free = x + half + 4
            yield _tick_label(x, frame.bottom + 16, text, tilted)
    name = escape(axis.name + (" (logarithmic)" if axis.log else ""))
    middle = short((frame.left + frame.right) / 2)
    place = f'x="{middle}" y="{short(frame.height - 5)}" text-anchor="middle"'
    yield f'<text class="name" {place}>{name}</text>'


def _tick_label(x: float, y: float, text: str, tilted: bool) -> str:
    shown = escape(_short(text))
    if tilted:
        turn = f'transform="translate({short(x + 4)} {short(y - 4)}) rotate(-36)"'
        return f'<text {turn} text-anchor="end">{shown}</text>'
    return f'<text x="{short(x)}" y="{short(y)}" text-anchor="middle">{shown}</text>'


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"


def _bounds(frame: Frame, axis: Axis, points: Points, n_groups: int, slot: float) -> Iterator[str]:
    """Draw chance and ceiling: one line if they are the same for all runs, else one a place."""
    for kind, level in (("chance", points.chance), ("ceiling", points.ceiling)):
        known = level[~np.isnan(level)]
        if not len(known):
            continue
        if np.ptp(known) <= 1e-6 * (frame.highest - frame.lowest):
            d = f"M{short(frame.left)} {short(frame.y(known[0]))}H{short(frame.right)}"
            yield f'<path class="{kind}" d="{d}"/>'
            continue
        d = ""
        for column, group in sorted(set(zip(points.column, points.group, strict=True))):
            here = level[(points.column == column) & (points.group == group)]
            if not np.isnan(here).all():
                x = _centre(axis, frame, column, group, n_groups, slot) - slot / 2
                d += f"M{short(x)} {short(frame.y(np.nanmedian(here)))}h{short(slot)}"
        yield f'<path class="{kind}" d="{d}"/>'


def _medians(
    frame: Frame, axis: Axis, middles: Sequence[Middle], n_groups: int, slot: float
) -> tuple[list[str], list[str]]:
    """Draw what lies under the runs, and the bars that lie over them where runs are many."""
    under, over = [], []
    for group in range(n_groups):
        mine = sorted((m for m in middles if m.group == group), key=lambda m: axis.at[m.column])
        x = [float(_centre(axis, frame, m.column, group, n_groups, slot)) for m in mine]
        colour = f"g{group % N_COLOURS}"
        if axis.numeric and len(mine) > 1:
            line = "L".join(
                f"{short(a)} {short(frame.y(m.median))}" for a, m in zip(x, mine, strict=True)
            )
            under.append(f'<path class="join {colour}" d="M{line}"/>')
        several = [(a, m) for a, m in zip(x, mine, strict=True) if m.n > 1]
        if several:
            boxes = "".join(_box(frame, a, 0.46 * slot, m) for a, m in several)
            under.append(f'<path class="span {colour}" d="{boxes}"/>')
            bars = "".join(_bar(frame, a, 0.46 * slot, m) for a, m in several)
            drawn = f'<path class="halo" d="{bars}"/><path class="mid {colour}" d="{bars}"/>'
            (over if max(m.n for _, m in several) > MOST_OPEN else under).append(drawn)
    return under, over


def _box(frame: Frame, x: float, half: float, m: Middle) -> str:
    top, bottom = short(frame.y(m.high)), short(frame.y(m.low))
    return f"M{short(x - half)} {top}h{short(2 * half)}V{bottom}h{short(-2 * half)}z"


def _bar(frame: Frame, x: float, half: float, m: Middle) -> str:
    return f"M{short(x - half)} {short(frame.y(m.median))}h{short(2 * half)}"


def _runs(frame: Frame, points: Points, x: np.ndarray) -> Iterator[str]:
    """Draw each run's interval and mark, those of a group as one path if they carry no names."""
    y = frame.y(points.value)
    low = np.minimum(frame.y(points.low), frame.bottom)
    high = np.maximum(frame.y(points.high), frame.top)
    for group in np.unique(points.group):
        mine, mark = np.flatnonzero(points.group == group), shape(int(group))
        colour = f"g{group % N_COLOURS}"
        lines = "".join(f"M{short(x[k])} {short(low[k])}V{short(high[k])}" for k in mine)
        yield f'<path class="iv {colour}" d="{lines}"/>'
        if points.names:
            yield f'<g class="pt {colour}">'
            for k in mine:
                told = escape(f"{points.names[k]}: {number(points.value[k])}")
                yield f'<path d="M{short(x[k])} {short(y[k])}{mark}"><title>{told}</title></path>'
            yield "</g>"
        else:
            dots = "".join(f"M{short(x[k])} {short(y[k])}{mark}" for k in mine)
            yield f'<path class="pt {colour}" d="{dots}"/>'


def shape(group: int) -> str:
    """Return the outline of a group's mark, to be drawn from where the pen is."""
    return MARKERS[(group + group // N_COLOURS) % len(MARKERS)]


def short(value: float) -> str:
    """Return a coordinate as a figure holds it."""
    return f"{value:.1f}".removesuffix(".0")


def svg(width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """Return a figure; without a title it is for the eye alone."""
    told = f"{escape(title)}. {escape(description)}"
    role = f'role="img" aria-label="{told}"' if title else 'aria-hidden="true"'
    size = f'viewBox="0 0 {short(width)} {short(height)}" style="max-width:{short(width * 1.25)}px"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {role}>{"".join(parts)}</svg>'
