"""Rows of claims on one scale, drawn as SVG: for runs that differ in nothing but their seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bookpress.sweep_figures import Frame, Middle, Points, shape, short, svg, tick_texts, ticks

ROW = (420.0, 30.0)


def row(points: Points, middle: Middle, low: float, high: float) -> str:
    """Draw one claim as a row between two bounds: its runs, their median, chance and ceiling.

    Nothing is said in words: the table around it has the numbers.
    """
    width, height = ROW
    frame = Frame(width, height, 6, width - 6, 3, height - 3, low, high)
    n = len(points.value)
    y = np.linspace(8, height - 8, n) if n > 1 else [height / 2]
    parts = [f'<path class="base" d="M6 {short(height / 2)}H{short(width - 6)}"/>']
    parts += _upright(frame, "chance", points.chance)
    parts += _upright(frame, "ceiling", points.ceiling)
    if middle.n > 1:
        a, m, b = (short(frame.across(score)) for score in (middle.low, middle.median, middle.high))
        parts.append(f'<path class="span g0" d="M{a} 4H{b}V26H{a}z"/>')
        parts.append(f'<path class="mid g0" d="M{m} 3V27"/>')
    ends = zip(frame.across(points.low), frame.across(points.high), y, strict=True)
    lines = "".join(f"M{short(a)} {short(at)}H{short(b)}" for a, b, at in ends)
    marks = zip(frame.across(points.value), y, strict=True)
    dots = "".join(f"M{short(x)} {short(at)}{shape(0)}" for x, at in marks)
    parts += [f'<path class="iv g0" d="{lines}"/>', f'<path class="pt g0" d="{dots}"/>']
    return svg(width, height, "", "", parts)


def scale(low: float, high: float) -> str:
    """Draw the scale that rows between two bounds share."""
    width = ROW[0]
    parts = []
    marks = ticks(low, high)
    for mark, text in zip(marks, tick_texts(marks), strict=True):
        x = short(6 + (mark - low) / (high - low) * (width - 12))
        parts.append(f'<path class="axis" d="M{x} 0v4"/>')
        parts.append(f'<text x="{x}" y="15" text-anchor="middle">{text}</text>')
    return svg(width, 18, "", "", parts)


def _upright(frame: Frame, kind: str, level: np.ndarray) -> Iterator[str]:
    known = level[~np.isnan(level)]
    if not len(known):
        return
    first, middle, last = frame.across(np.quantile(known, [0, 0.5, 1]))
    yield f'<path class="{kind}" d="M{short(middle)} 1V29"/>'
    if last - first > 2:
        yield f'<path class="{kind} reach" d="M{short(first)} 15H{short(last)}"/>'
