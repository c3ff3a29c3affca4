"""Views that work on a page without a kernel: each picture is drawn when the page is made.

The same call serves three readers. In a live notebook it returns the view itself, whose controls
draw anew. When the press executes the notebook for a page, it moves the controls through the values
that the page offers, and returns HTML with a picture for each of their combinations. In any other
run of the press, one of a sweep, say, there is the figure as it stands: nobody will move it.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import matplotlib.figure

from bookpress import night
from bookpress.book import BookError
from bookpress.pictures import data_uri, webp
from bookpress.showing import for_page

MOST_PICTURES = 60


class View(Protocol):
    """What can be explored: a figure that follows controls."""

    controls: Mapping[str, Any]
    figure: matplotlib.figure.Figure
    redraw: Callable[[], None]

    def still(self) -> AbstractContextManager[None]:
        """Leave the picture as it is while controls are moved."""


@dataclass(frozen=True)
class Knob:
    """A control of the page: its name, its label, what it does, and the values that it offers."""

    name: str
    label: str
    help: str
    values: tuple[object, ...]
    words: tuple[str, ...]
    start: int
    slides: bool


@dataclass(frozen=True)
class Explorable:
    """HTML of a view that needs no kernel."""

    text: str

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.text, "text/plain": "a view to explore, in HTML"}


def explorable(
    view: View,
    over: Mapping[str, Sequence[object] | None],
    *,
    name: str,
    caption: str,
    describe: Callable[[dict[str, object]], str] | None = None,
) -> View | Explorable | matplotlib.figure.Figure:
    """Return a view for a live notebook, pictures of it for a page, or one picture.

    Parameters
    ----------
    view
        A figure with controls, by their names.
    over
        The controls that the page offers, with the values of each; None stands for all of them.
        The others stay as they are. At most 60 combinations.
    name
        Identifier of the HTML element, such as ``explore-01``: letters, digits and dashes.
    caption
        What is shown, and what the controls do.
    describe
        From the values of all controls, by name, to words that say what the picture shows: its
        alternative text. By default the titles of the axes.

    Raises
    ------
    BookError
        An unknown control, a value that a control does not admit, too many combinations, or a name
        or caption that will not do. Raised in live notebooks too.
    """
    knobs = [_knob(view, control, values) for control, values in over.items()]
    n = math.prod(len(knob.values) for knob in knobs)
    if not 2 <= n <= MOST_PICTURES:
        raise BookError(
            f"{name} would have {n} pictures, and may have 2 to {MOST_PICTURES}: choose the values "
            "of each control with `over`."
        )
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or len(caption) < 40:
        raise BookError(
            "An explorable needs a name of small letters, digits and dashes, and a caption of at "
            f"least 40 characters; got {name!r} and {caption!r}."
        )
    if "BOOKPRESS_RUN" not in os.environ:
        return view
    if not for_page():
        return view.figure
    frames = list(_frames(view, knobs, describe))
    return Explorable(_page(name, caption, knobs, frames))


def _knob(view: View, name: str, values: Sequence[object] | None) -> Knob:
    """Return a control of the page for one of the view."""
    if name not in view.controls:
        raise BookError(f"no control {name!r}; the view has {', '.join(view.controls)}.")
    control = view.controls[name]
    known = _choices(control)
    chosen = tuple(known if values is None else values)
    if known and not set(chosen) <= set(known):
        wrong = [value for value in chosen if value not in known]
        raise BookError(f"control {name!r} does not admit {wrong}, only {list(known)}.")
    words = tuple(known.get(value) or _said(control, value) for value in chosen)
    start = chosen.index(control.value) if control.value in chosen else 0
    label, told = control.description or name, control.tooltip or ""
    return Knob(name, label, told, chosen, words, start, hasattr(control, "continuous_update"))


def _choices(control: Any) -> dict[object, str]:
    """Values that a control admits and how each is called; none if they are not a few."""
    if hasattr(control, "options"):
        pairs = [o if isinstance(o, tuple) else (str(o), o) for o in control.options]
        return {value: label for label, value in pairs}
    if isinstance(control.value, bool):
        return {False: "no", True: "yes"}
    if isinstance(control.value, int):
        steps = range(control.min, control.max + 1, control.step)
        return {value: _said(control, value) for value in steps}
    return {}


def _said(control: Any, value: object) -> str:
    return format(value, getattr(control, "readout_format", "")) if value is not None else "none"


def _frames(
    view: View, knobs: Sequence[Knob], describe: Callable[[dict[str, object]], str] | None
) -> Iterator[dict[str, str]]:
    """Draw each combination, the last control changing fastest."""
    before = {knob.name: view.controls[knob.name].value for knob in knobs}
    palette = night.of_session()
    with view.still():
        for values in itertools.product(*(knob.values for knob in knobs)):
            chosen = dict(zip(before, values, strict=True))
            _move(view, chosen)
            said = describe(_values(view)) if describe else _titles(view.figure)
            frame = {"said": said, "day": data_uri(webp(view.figure))}
            if palette is not None:
                with night.by_night(view.figure, palette):
                    frame["night"] = data_uri(webp(view.figure))
            yield frame
        _move(view, before)


def _values(view: View) -> dict[str, object]:
    return {name: control.value for name, control in view.controls.items()}


def _move(view: View, values: Mapping[str, object]) -> None:
    """Set controls; twice, since one may widen what another admits."""
    for _ in range(2):
        for name, value in values.items():
            view.controls[name].value = value
        view.redraw()
        refused = {k: v for k, v in values.items() if view.controls[k].value != v}
        if not refused:
            return
    raise BookError(f"the view does not admit {refused} beside {dict(values)}.")


def _titles(figure: matplotlib.figure.Figure) -> str:
    """Words that a figure says of itself."""
    titles = [ax.get_title(where) for ax in figure.axes for where in ("left", "center", "right")]
    said = "; ".join(", ".join(title.splitlines()) for title in titles if title.strip())
    if not said:
        raise BookError("the figure has no titles: pass `describe`, which says what it shows.")
    return said


def _page(
    name: str, caption: str, knobs: Sequence[Knob], frames: Sequence[Mapping[str, str]]
) -> str:
    """HTML of an explorable."""
    at = 0
    for knob in knobs:
        at = at * len(knob.values) + knob.start
    # a script ends at the first "</", wherever that stands
    data = json.dumps({"frames": list(frames)}, ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="vc-explorable" id="{name}" role="group" aria-labelledby="{name}-caption">\n'
        f'<div class="vc-knobs">{"".join(_control(name, knob) for knob in knobs)}</div>\n'
        f"<figure>{_images(frames[at])}"
        f'<figcaption id="{name}-caption">{html.escape(caption)}</figcaption></figure>\n'
        f'<p class="vc-said" role="status">{html.escape(frames[at]["said"])}</p>\n'
        "<noscript><p>The controls need scripts, which this browser does not run.</p></noscript>\n"
        f"{_table(knobs, frames)}\n"
        f'<script type="application/json">{data}</script>\n</div>'
    )


def _control(name: str, knob: Knob) -> str:
    """Return a slider where values are in order, else a list to choose from."""
    target = f"{name}-{re.sub('[^a-z0-9]+', '-', knob.name.lower())}"
    label = f'<label for="{target}">{html.escape(knob.label)}</label>'
    words = [html.escape(word) for word in knob.words]
    told = f' title="{html.escape(knob.help)}"' if knob.help else ""
    if not knob.slides:
        options = "".join(
            f'<option value="{k}"{" selected" if k == knob.start else ""}>{word}</option>'
            for k, word in enumerate(words)
        )
        box = f'<select id="{target}"{told} autocomplete="off">{options}</select>'
        return f'<div class="vc-knob">{label}{box}</div>'
    listed = html.escape(json.dumps(list(knob.words), ensure_ascii=False))
    slider = (
        f'<input type="range" id="{target}" min="0" max="{len(words) - 1}" step="1" '
        f'value="{knob.start}" aria-valuetext="{words[knob.start]}" data-words="{listed}"{told} '
        'autocomplete="off">'
    )
    output = f'<output for="{target}">{words[knob.start]}</output>'
    return f'<div class="vc-knob">{label}{slider}{output}</div>'


def _images(frame: Mapping[str, str]) -> str:
    """Pictures by day and by night; the page shows one of them."""
    said = html.escape(frame["said"])
    if "night" not in frame:
        return f'<img class="dark-light" src="{frame["day"]}" alt="{said}">'
    return (
        f'<img class="only-light" src="{frame["day"]}" alt="{said}">'
        f'<img class="only-dark" src="{frame["night"]}" alt="{said}">'
    )


def _table(knobs: Sequence[Knob], frames: Sequence[Mapping[str, str]]) -> str:
    """All pictures in words."""
    heads = "".join(f'<th scope="col">{html.escape(k.label)}</th>' for k in knobs)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(word)}</td>" for word in words)
        + f"<td>{html.escape(frame['said'])}</td></tr>"
        for words, frame in zip(itertools.product(*(k.words for k in knobs)), frames, strict=True)
    )
    return (
        '<details class="vc-data"><summary>All pictures in words</summary>'
        f'<table><thead><tr>{heads}<th scope="col">what is shown</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )
