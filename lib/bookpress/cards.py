"""The cards of the front page: a question each, a picture, and results on one common scale."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from bookpress import results, seeds
from bookpress.book import Book, BookError

# Ends of the common scale, in per cent of the width of a strip: marks at them are whole.
LEFT, RIGHT = 2.5, 97.5
MIDDLE = 11  # height at which a strip has its line, in pixels
LEGEND = (
    ("vc-card-value", '<line x1="0" x2="100%" y1="{y}" y2="{y}"/>{dot}', "this run, 95 % interval"),
    ("vc-card-seed", '<circle cx="50%" cy="{y}" r="2.6"/>', "other seeds"),
    ("vc-card-chance", '<line x1="50%" x2="50%" y1="3" y2="19"/>', "chance or baseline"),
    ("vc-card-ceiling", '<line x1="50%" x2="50%" y1="3" y2="19"/>', "ceiling"),
)


@dataclass(frozen=True)
class Result:
    """A claim that a card shows: its words, what bounds it from below, its decimals."""

    chapter: str
    claim: str
    words: str
    floor: str = "chance"
    decimals: int = 2


@dataclass(frozen=True)
class Card:
    """A question, the chapter whose cover it shows, links to its chapters, and its results."""

    question: str
    cover: str
    chapters: Mapping[str, str]
    results: tuple[Result, ...]


def parsed(fields: Mapping) -> Card:
    """Return a card from the fields of ``book/headlines.yaml``.

    Raises
    ------
    KeyError, TypeError, ValueError
        A field is missing, unknown or of another kind.
    """
    card = Card(**{**fields, "results": tuple(Result(**r) for r in fields["results"])})
    wrong = [r for r in card.results if type(r.decimals) is not int or r.decimals < 0]
    if wrong:
        raise ValueError(f"{wrong[0].claim}: decimals must be a whole number")
    if card.cover not in card.chapters or not card.results:
        raise ValueError(
            f"the card {card.question!r} needs its cover among its chapters, and a result"
        )
    return card


def page(book: Book, cards: tuple[Card, ...]) -> str:
    """Return the cards as markdown that the front page includes.

    Raises
    ------
    BookError
        A chapter that was run does not have a claim, or one that fits no scale from 0 to 1.
    """
    kept = seeds.load(book)
    shown = "\n".join(_card(book, card, kept) for card in cards)
    return f"::::::{{div}} vc-cards\n{shown}::::::\n\n{_raw(_legend())}"


def _raw(text: str) -> str:
    return f"```{{raw}} html\n{text}\n```\n"


def _card(book: Book, card: Card, kept: Mapping[str, Mapping]) -> str:
    links = " · ".join(f"[{words}](chapters/{c}.ipynb)" for c, words in card.chapters.items())
    strips = "".join(_result(book, result, kept) for result in card.results)
    return (
        ":::::{div} vc-card\n"
        + _raw(f'<div class="vc-cover" data-chapter="{card.cover}"></div>')
        + f"::::{{div}} vc-card-question\n[{card.question}](chapters/{card.cover}.ipynb)\n::::\n"
        + _raw(f'<div class="vc-card-results">{strips}</div>')
        + f"::::{{div}} vc-card-chapters\n{links}\n::::\n:::::\n"
    )


def _result(book: Book, result: Result, kept: Mapping[str, Mapping]) -> str:
    """Return one result in words and as a strip; in words alone where it has not been run."""
    words = html.escape(result.words)
    claims = results.printed(book, result.chapter)
    if not claims:
        return f'<div class="vc-card-result"><p>{words}: not run yet</p></div>'
    claim = _checked(claims, result)
    others = kept.get(result.chapter, {}).get("claims", {}).get(result.claim, {}).get("values", [])
    value, low, high, chance, ceiling = (
        "none" if claim[key] is None else f"{claim[key]:.{result.decimals}f}"
        for key in ("value", "low", "high", "chance", "ceiling")
    )
    bounds = html.escape(f"{result.floor} {chance} · ceiling {ceiling}")
    return (
        f'<div class="vc-card-result"><p class="vc-card-words">{words}</p>'
        f'<p class="vc-card-number"><strong>{value}</strong> <span>{low} to {high}</span></p>'
        f'{_strip(claim, others)}<p class="vc-card-bounds">{bounds}</p></div>'
    )


def _checked(claims: Mapping[str, Mapping], result: Result) -> Mapping:
    claim = claims.get(result.claim)
    if claim is None:
        raise BookError(
            f"book/headlines.yaml: the last run of {result.chapter} has no claim {result.claim!r}."
        )
    if not 0 <= claim["value"] <= 1:
        raise BookError(
            f"book/headlines.yaml: cards have a scale from 0 to 1, and {result.claim} is "
            f"{claim['value']:.3g}; choose another claim."
        )
    return claim


def _at(value: float) -> str:
    """Return the place of a number on the scale; beyond its ends, the end."""
    return f"{LEFT + (RIGHT - LEFT) * min(1, max(0, value)):.2f}%"


def _strip(claim: Mapping, others: list[float | None]) -> str:
    """Return a claim on the scale from 0 to 1; the words beside it say the same, so it is mute."""
    value, low, high = (_at(claim[key]) for key in ("value", "low", "high"))
    seen = [_at(other) for other in others if other is not None]
    parts = [
        '<svg aria-hidden="true" width="100%" height="22">',
        f'<line class="vc-card-scale" x1="{_at(0)}" x2="{_at(1)}" y1="{MIDDLE}" y2="{MIDDLE}"/>',
        _upright("vc-card-chance", claim["chance"]),
        _upright("vc-card-ceiling", claim["ceiling"]),
        *(f'<circle class="vc-card-seed" cx="{x}" cy="{MIDDLE}" r="2.6"/>' for x in seen),
        f'<g class="vc-card-value"><line x1="{low}" x2="{high}" y1="{MIDDLE}" y2="{MIDDLE}"/>',
        f'<circle cx="{value}" cy="{MIDDLE}" r="4.2"/></g></svg>',
    ]
    return "".join(parts)


def _upright(kind: str, value: float | None) -> str:
    if value is None:
        return ""
    return f'<line class="{kind}" x1="{_at(value)}" x2="{_at(value)}" y1="3" y2="19"/>'


def _legend() -> str:
    dot = f'<circle cx="50%" cy="{MIDDLE}" r="4.2"/>'
    marks = "".join(
        f'<span><svg aria-hidden="true" width="26" height="22"><g class="{kind}">'
        f"{drawn.format(y=MIDDLE, dot=dot)}</g></svg> {words}</span>"
        for kind, drawn, words in LEGEND
    )
    return f'<p class="vc-card-legend"><span>All strips run from 0 to 1.</span>{marks}</p>'
