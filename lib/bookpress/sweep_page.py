"""The page of a sweep: what was run, its scores, what failed; one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bookpress import (
    notebooks,
    sweep_colours,
    sweep_facts,
    sweep_figures,
    sweep_folder,
    sweep_layout,
    sweep_strips,
)
from bookpress.sweep_figures import number
from bookpress.sweep_folder import Found
from bookpress.sweep_layout import Layout

TEMPLATES = Path(__file__).parent / "templates"
N_LARGE = 6  # claims of a chapter whose figures are not folded away
MOST_ALOUD = 12  # medians told in place of a figure
STATE_WORDS = {
    "done": "done",
    "failed": "failed",
    "damaged": "damaged",
    "refused": "refused",
    "missing": "not yet run",
}


def write(out: Path, style: Path | None = None) -> Path:
    """Write ``index.html`` of a sweep, whole or not at all.

    Parameters
    ----------
    out
        Folder of the sweep, finished or not.
    style
        Style sheet of Matplotlib whose cycle of colours the groups of runs take; made lighter or
        darker where they would be hard to see.

    Raises
    ------
    BookError
        The folder holds no readable sweep.
    """
    page = out / "index.html"
    notebooks.replace(page, render(out, style))
    return page


def render(out: Path, style: Path | None = None) -> str:
    """Return the page of a sweep as HTML."""
    plan, runs = sweep_folder.manifest(out), sweep_folder.load(out)
    colours = sweep_colours.palette(style)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["duration"] = sweep_facts.duration
    axes = sweep_layout.varied(sweep_facts.sound(runs), plan["axes"])
    return environment.get_template("sweep.html").render(
        name=plan["name"],
        counts=[(s, STATE_WORDS[s], sum(f.state == s for f in runs)) for s in STATE_WORDS],
        n_runs=len(runs),
        facts=sweep_facts.facts(plan["resources"], runs, axes),
        pace=sweep_facts.pace(out, runs),
        chapters=[_chapter(name, runs, plan["axes"]) for name in sweep_facts.chapters(runs)],
        failures=sweep_facts.failures(runs, axes),
        table=sweep_facts.run_table(runs, axes, plan["resources"]),
        words=STATE_WORDS,
        light=[sweep_colours.on_paper(colour) for colour in colours],
        dark=[sweep_colours.on_ink(colour) for colour in colours],
    )


def _chapter(name: str, runs: Sequence[Found], axes: Sequence[str]) -> dict:
    """Return what the page shows of one chapter's scores: figures, or rows if only seeds differ."""
    planned = [found for found in runs if found.chapter == name]
    done = [found for found in planned if found.state == "done"]
    plan = sweep_layout.layout(done, axes)
    claims = sweep_layout.claim_names(done)
    figures = [
        _figure(done, claim, plan, small=k >= N_LARGE) for k, claim in enumerate(claims)
    ] if plan.axis else []  # fmt: skip
    return {
        "name": name.replace("_", " "),
        "id": name,
        "n_done": len(done),
        "n_planned": len(planned),
        "has_claims": bool(claims),
        "large": figures[:N_LARGE],
        "small": figures[N_LARGE:],
        "strips": [] if plan.axis else _strips(done, claims, plan),
        "groups": [
            (Markup(sweep_figures.marker(k)), group) for k, group in enumerate(plan.groups) if group
        ],
        "notes": _notes(done, claims, plan),
    }


def _figure(done: Sequence[Found], claim: str, plan: Layout, small: bool) -> dict:
    recorded = sweep_layout.claims_of(done, claim)
    points = sweep_layout.points(recorded, plan, named=not small)
    middles = sweep_layout.middles(points)
    svg = sweep_figures.panel(
        plan.axis,
        points,
        middles,
        title=f"{_spoken(claim)} by {plan.axis.name}",
        description=_aloud(plan, points, middles),
        n_groups=len(plan.groups),
        small=small,
    )
    first = recorded[0][1]
    return {
        "svg": Markup(svg),
        "claim": _spoken(claim),
        "unit": first.get("unit") or "",
        "held_out": _first_of(recorded, "held_out"),
        "note": _first_of(recorded, "note"),
        "absent": len(done) - len(recorded),
        "wide": not small and sweep_figures.is_wide(plan.axis, len(plan.groups)),
    }


def _strips(done: Sequence[Found], claims: Sequence[str], plan: Layout) -> list[dict]:
    """Return rows of claims, those of one unit and one order of magnitude on one scale."""
    groups: dict[tuple, list[tuple[str, sweep_figures.Points]]] = {}
    units = {}
    for claim in claims:
        recorded = sweep_layout.claims_of(done, claim)
        points = sweep_layout.points(recorded, plan, named=False)
        units[claim] = recorded[0][1].get("unit") or ""
        groups.setdefault((units[claim], _magnitude(points)), []).append((claim, points))
    return [_strip(unit, rows) for (unit, _), rows in groups.items()]


def _strip(unit: str, rows: Sequence[tuple[str, sweep_figures.Points]]) -> dict:
    extents = [sweep_figures.extent(points) for _, points in rows]
    low, high = min(e[0] for e in extents), max(e[1] for e in extents)
    return {
        "unit": unit,
        "single": max(len(points.value) for _, points in rows) == 1,
        "scale": Markup(sweep_strips.scale(low, high)),
        "rows": [_strip_row(claim, points, low, high) for claim, points in rows],
    }


def _strip_row(claim: str, points: sweep_figures.Points, low: float, high: float) -> dict:
    (middle,) = sweep_layout.middles(points)
    spread = (middle.low, middle.high) if middle.n > 1 else (points.low[0], points.high[0])
    ceiling = points.ceiling[~np.isnan(points.ceiling)]
    return {
        "claim": _spoken(claim),
        "svg": Markup(sweep_strips.row(points, middle, low, high)),
        "median": number(middle.median),
        "interval": f"{number(spread[0])} to {number(spread[1])}",
        "chance": number(float(np.median(points.chance))),
        "ceiling": number(float(np.median(ceiling))) if len(ceiling) else "none",
        "n": middle.n,
    }


def _magnitude(points: sweep_figures.Points) -> int:
    """Return a number that is the same for scores which one scale can show."""
    top = float(np.abs(points.value).max())
    return 0 if top <= 1.5 else int(np.ceil(np.log10(top)))


def _notes(done: Sequence[Found], claims: Sequence[str], plan: Layout) -> list[str]:
    """Return how the figures of a chapter are to be read."""
    seeded = len(sweep_layout.distinct(done, sweep_layout.SEED)) > 1
    middles = [
        middle
        for claim in claims
        for middle in sweep_layout.middles(
            sweep_layout.points(sweep_layout.claims_of(done, claim), plan, named=False)
        )
    ]
    notes = ["Each mark is one run, its thin line the interval that the run recorded."]
    if any(m.n > 1 for m in middles):
        notes.append(_of_boxes([m for m in middles if m.n > 1], seeded, plan))
    else:
        notes.append("Each choice was run once, so nothing here tells how much seeds matter.")
    notes.append("Dashed: chance or baseline. Dotted: ceiling, where there is one.")
    if plan.tied:
        notes.append(f"With {plan.axis.name} change also: {', '.join(plan.tied)}.")
    return notes


def _of_boxes(middles: Sequence[sweep_figures.Middle], seeded: bool, plan: Layout) -> str:
    counts = _range(sorted({m.n for m in middles}), "{:d}")
    if plan.pooled or not seeded:
        which = ", ".join(plan.pooled) or "nothing that the sweep varies"
        return f"Bar and box: median and span of {counts} runs, which differ also in {which}."
    sure = _range(sorted({100 * m.coverage for m in middles}), "{:.3g}")
    return (
        f"Bar: median over {counts} seeds. Box: between two of the ordered scores, so that it "
        f"covers the median over all seeds with a probability of {sure}\N{NO-BREAK SPACE}%, "
        "whatever their law."
    )


def _range(values: Sequence[float], form: str) -> str:
    ends = [form.format(value) for value in (values[0], values[-1])]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _aloud(
    plan: Layout, points: sweep_figures.Points, middles: Sequence[sweep_figures.Middle]
) -> str:
    """Say in words what a figure shows."""
    told = [
        f"{', '.join(w for w in (plan.axis.labels[m.column], plan.groups[m.group]) if w)}: "
        f"{number(m.median)}"
        for m in middles
    ]
    if len(told) > MOST_ALOUD:
        told[MOST_ALOUD:] = [f"and {len(told) - MOST_ALOUD} more"]
    ceiling = points.ceiling[~np.isnan(points.ceiling)]
    bounds = f"chance {number(float(np.median(points.chance)))}"
    if len(ceiling):
        bounds += f", ceiling {number(float(np.median(ceiling)))}"
    return f"Medians: {'; '.join(told)}. {bounds}"


def _spoken(claim: str) -> str:
    return claim.replace("_", " ")


def _first_of(recorded: Sequence[tuple[Found, Mapping]], key: str) -> str:
    """Return what the first run says, and whether others say something else."""
    said = list(dict.fromkeys(str(claim.get(key) or "") for _, claim in recorded))
    return said[0] + (" (other runs say otherwise)" if len(said) > 1 else "")
