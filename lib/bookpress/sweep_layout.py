"""Which runs of a sweep stand where in a figure: axes, groups, and what each claim's points are."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bookpress.seeds import over_seeds
from bookpress.sweep_figures import Axis, Middle, Points, axis_of, label
from bookpress.sweep_table import Found

SEED = "seed"
MOST_GROUPS = 12
LARGEST = 1e100
NUMBERS = ("value", "low", "high", "chance", "ceiling")


@dataclass(frozen=True)
class Layout:
    """How the runs of one chapter are laid out.

    Parameters
    ----------
    axis
        The parameter along which scores are drawn; None if the runs differ in their seed alone.
    groups
        What the groups of runs are called; one empty name if there are none.
    place
        Column on the axis and group of each run.
    tied
        Parameters that change together with those shown.
    pooled
        Parameters that differ between runs drawn at one place.
    """

    axis: Axis | None
    groups: tuple[str, ...]
    place: Mapping[str, tuple[int, int]]
    tied: tuple[str, ...] = ()
    pooled: tuple[str, ...] = ()


def layout(runs: Sequence[Found], axes: Sequence[str]) -> Layout:
    """Choose what the figures of a chapter show.

    The axis is the numeric parameter with the most values, or if there is none the one with the
    most values; the others make groups, names before numbers. Parameters that tell no more runs
    apart are left out, and so are some if there would be too many groups: they are told by name.
    """
    varying = [name for name in varied(runs, axes) if name != SEED]
    kept = _telling(runs, varying)
    if not kept:
        return Layout(None, ("",), {found.run: (0, 0) for found in runs})
    along = max(kept, key=lambda name: _worth(distinct(runs, name)))
    others = sorted((n for n in kept if n != along), key=lambda n: _worth(distinct(runs, n))[0])
    split = _split(runs, others)
    groups = list(dict.fromkeys(_key(found, split) for found in _in_order(runs, split)))
    columns = [_plain(value) for value in distinct(runs, along)]
    place = {
        found.run: (
            columns.index(_plain(found.parameters.get(along))),
            groups.index(_key(found, split)),
        )
        for found in runs
    }
    return Layout(
        axis_of(along, distinct(runs, along)),
        tuple(_called(found, split) for found in _firsts(runs, place, len(groups))),
        place,
        tuple(name for name in varying if name not in kept),
        tuple(name for name in others if name not in split),
    )


def varied(runs: Sequence[Found], axes: Sequence[str]) -> list[str]:
    """Return those parameters among `axes` that differ between these runs."""
    return [name for name in axes if len(distinct(runs, name)) > 1]


def distinct(runs: Sequence[Found], name: str) -> list[object]:
    """Return the values of a parameter, numbers in their order, others as they come."""
    found = {_plain(f.parameters[name]): f.parameters[name] for f in runs if name in f.parameters}
    values = list(found.values())
    numeric = all(type(value) in (int, float) for value in values)
    return sorted(values) if numeric else values


def claim_names(runs: Sequence[Found]) -> list[str]:
    """Return the names of all claims, in the order of their record."""
    return list(dict.fromkeys(str(claim["name"]) for found in runs for claim in found.claims))


def claims_of(runs: Sequence[Found], name: str) -> list[tuple[Found, Mapping[str, object]]]:
    """Return the runs that recorded a claim, with it."""
    return [(f, claim) for f in runs for claim in f.claims if claim["name"] == name]


def points(
    recorded: Sequence[tuple[Found, Mapping[str, object]]], plan: Layout, named: bool
) -> Points:
    """Return the arrays that a claim's figure is drawn from."""
    places = np.array([plan.place[found.run] for found, _ in recorded], dtype=int).reshape(-1, 2)
    numbers = [
        np.array([math.nan if c.get(key) is None else c[key] for _, c in recorded], dtype=float)
        for key in NUMBERS
    ]
    # differences of larger ones overflow, and one such claim would cost the page
    numbers = [np.clip(values, -LARGEST, LARGEST) for values in numbers]
    names = [found.run.rpartition(",")[0] or found.run for found, _ in recorded] if named else []
    return Points(places[:, 0], places[:, 1], *numbers, names)


def middles(of: Points) -> list[Middle]:
    """Return the median at each place, with its interval over the runs there."""
    found = []
    for column, group in sorted(set(zip(of.column.tolist(), of.group.tolist(), strict=True))):
        values = of.value[(of.column == column) & (of.group == group)]
        median, low, high, coverage = over_seeds(values.tolist())
        found.append(Middle(column, group, median, low, high, len(values), coverage))
    return found


def _worth(values: Sequence[object]) -> tuple[bool, int]:
    return all(type(value) in (int, float) for value in values), len(values)


def _telling(runs: Sequence[Found], names: Sequence[str]) -> list[str]:
    """Return the parameters that tell runs apart which the ones before do not."""
    kept: list[str] = []
    for name in names:
        before = len({_key(found, kept) for found in runs})
        if len({_key(found, [*kept, name]) for found in runs}) > before:
            kept.append(name)
    return kept


def _split(runs: Sequence[Found], names: Sequence[str]) -> list[str]:
    """Return as many of the parameters as do not make too many groups."""
    kept: list[str] = []
    for name in names:
        if len({_key(found, [*kept, name]) for found in runs}) <= MOST_GROUPS:
            kept.append(name)
    return kept


def _in_order(runs: Sequence[Found], names: Sequence[str]) -> list[Found]:
    """Return the runs by the order of the values of these parameters."""
    orders = [{_plain(v): k for k, v in enumerate(distinct(runs, name))} for name in names]

    def rank(found: Found) -> list[int]:
        """Return the place of a run's values among all values."""
        keys = _key(found, names)
        return [order.get(key, -1) for order, key in zip(orders, keys, strict=True)]

    return sorted(runs, key=rank)


def _firsts(
    runs: Sequence[Found], place: Mapping[str, tuple[int, int]], n_groups: int
) -> list[Found]:
    return [next(f for f in runs if place[f.run][1] == group) for group in range(n_groups)]


def _called(found: Found, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {label(found.parameters.get(name))}" for name in names)


def _key(found: Found, names: Sequence[str]) -> tuple[Hashable, ...]:
    return tuple(_plain(found.parameters.get(name)) for name in names)


def _plain(value: object) -> str:
    """Return a value as a text that is another for any other value, of lists too."""
    return json.dumps(value, sort_keys=True, default=str)
