"""The figure of claims over seeds: one strip a claim, as SVG that takes the page's width."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Ends of the scale of a row, in per cent of its width: marks at them are whole.
LEFT, RIGHT = 2, 98
LEGEND = (
    ("vc-seed", '<circle cx="50%" cy="7" r="3.6"/>', "one seed"),
    ("vc-median", "{line}{diamond}", "median over seeds with its interval"),
    ("vc-printed", "{line}{square}", "the run printed in this book with its interval"),
    ("vc-chance", '<line x1="50%" x2="50%" y1="0" y2="14"/>', "chance or baseline"),
    ("vc-ceiling", '<line x1="50%" x2="50%" y1="0" y2="14"/>', "ceiling"),
)
DIAMOND = '<svg x="{x}" y="{y}" overflow="visible"><path d="M0-5 5 0 0 5-5 0Z"/></svg>'
SQUARE = '<svg x="{x}" y="{y}" overflow="visible"><path d="M-4-4H4V4H-4Z"/></svg>'


@dataclass(frozen=True)
class Row:
    """A claim over seeds, beside the printed run's.

    Attributes
    ----------
    name, unit
        Of the claim.
    values
        Seed to value, of the runs that have the claim.
    median, low, high, coverage
        What :func:`bookpress.seeds.over_seeds` makes of them.
    chance, ceiling
        Median over seeds; None where no run has one.
    printed
        Value, low and high of the printed run, as precise as the seeds' values; or None.
    """

    name: str
    unit: str
    values: Mapping[int, float]
    median: float
    low: float
    high: float
    coverage: float
    chance: float | None
    ceiling: float | None
    printed: Mapping[str, float] | None

    @property
    def label(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")

    @property
    def inside(self) -> int:
        """Number of seeds whose value lies within the printed interval."""
        low, high = self.printed["low"], self.printed["high"]
        return sum(low <= value <= high for value in self.values.values())


def number(value: float | None) -> str:
    """Return three digits of a number, or ``none``."""
    return "none" if value is None else f"{value:.3g}"


def figure(title: str, rows: list[Row]) -> str:
    """Return claims as strips under each other, with a caption that explains the marks."""
    strips = "".join(
        f'<div class="vc-strip"><div class="vc-strip-name">{html.escape(row.label)}'
        f"{_unit(row)}</div>{strip(row)}</div>"
        for row in rows
    )
    legend = "".join(_legend(*entry) for entry in LEGEND)
    caption = (
        f"{html.escape(title)} Each row has a scale of its own, from its lowest mark to its "
        f'highest. <span class="vc-legend">{legend}</span>'
    )
    return f'<figure class="vc-strips">{strips}<figcaption>{caption}</figcaption></figure>'


def _unit(row: Row) -> str:
    return f' <span class="vc-strip-unit">{html.escape(row.unit)}</span>' if row.unit else ""


def _legend(kind: str, marks: str, words: str) -> str:
    drawn = marks.format(
        line='<line x1="0" x2="100%" y1="7" y2="7"/>',
        diamond=DIAMOND.format(x="50%", y=7),
        square=SQUARE.format(x="50%", y=7),
    )
    mark = f'<svg width="28" height="14" aria-hidden="true"><g class="{kind}">{drawn}</g></svg>'
    return f'<span class="vc-legend-entry">{mark} {words}</span> '


def strip(row: Row) -> str:
    """Return one row of the figure as SVG: it is as wide as its place, its marks keep their size.

    From above: the seeds, their median with its interval, the printed run with its own; behind
    them chance and ceiling from top to bottom.
    """
    marks = _marks(row)
    at = _scale(marks)
    printed = row.printed
    parts = [
        f'<svg role="img" aria-label="{html.escape(_alt(row))}" width="100%" height="56">',
        _upright("vc-chance", row.chance, at),
        _upright("vc-ceiling", row.ceiling, at),
        *(_seed(seed, value, at) for seed, value in row.values.items()),
        _interval("vc-median", (row.median, row.low, row.high), at, 20, DIAMOND),
    ]
    if printed:
        values = (printed["value"], printed["low"], printed["high"])
        parts.append(_interval("vc-printed", values, at, 32, SQUARE))
    ends = f'<text x="{LEFT}%" y="53">{min(marks):.3g}</text>'
    ends += f'<text x="{RIGHT}%" y="53" text-anchor="end">{max(marks):.3g}</text>'
    return "".join([*parts, ends, "</svg>"])


def _marks(row: Row) -> list[float]:
    printed = [row.printed[key] for key in ("value", "low", "high")] if row.printed else []
    bounds = [bound for bound in (row.chance, row.ceiling) if bound is not None]
    return [*row.values.values(), *printed, *bounds]


def _scale(marks: list[float]) -> Callable[[float], str]:
    """Return what places a number between the ends of its row, in per cent of the width."""
    least, width = min(marks), max(marks) - min(marks)

    def at(value: float) -> str:
        """Return the place; in the middle where all marks are one."""
        share = (value - least) / width if width else 0.5
        return f"{LEFT + (RIGHT - LEFT) * share:.2f}%"

    return at


def _upright(kind: str, value: float | None, at: Callable[[float], str]) -> str:
    if value is None:
        return ""
    return f'<line class="{kind}" x1="{at(value)}" x2="{at(value)}" y1="0" y2="40"/>'


def _seed(seed: int, value: float, at: Callable[[float], str]) -> str:
    told = f"<title>seed {seed}: {value:.3g}</title>"
    return f'<circle class="vc-seed" cx="{at(value)}" cy="8" r="3.6">{told}</circle>'


def _interval(
    kind: str,
    estimate: tuple[float, float, float],
    at: Callable[[float], str],
    y: int,
    mark: str,
) -> str:
    value, low, high = map(at, estimate)
    line = f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
    return f'<g class="{kind}">{line}{mark.format(x=value, y=y)}</g>'


def _alt(row: Row) -> str:
    """Say in words what a row shows."""
    told = (
        f"{row.label}: median over {len(row.values)} seeds {row.median:.3g}, "
        f"{row.low:.3g} to {row.high:.3g}"
    )
    if row.printed:
        value, low, high = (row.printed[key] for key in ("value", "low", "high"))
        told += f"; printed run {value:.3g}, {low:.3g} to {high:.3g}"
        told += f", with {row.inside} of the seeds inside"
    return f"{told}; chance {number(row.chance)}, ceiling {number(row.ceiling)}"
