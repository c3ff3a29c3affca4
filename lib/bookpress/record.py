"""Claims: numbers with their interval, chance and ceiling; shown, glued into prose, and kept."""

from __future__ import annotations

import html
import json
import math
import os
import platform
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from IPython import get_ipython
from IPython.display import HTML, display
from myst_nb import glue

from bookpress import clock, showing
from bookpress import parameters as declarations
from bookpress.book import Book, BookError, digest

SLUG = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A number that does not stand alone.

    Parameters
    ----------
    name
        Identifier, lower case with underscores; the key under which prose glues the number.
    value, unit
        The number and its unit ("" when it has none).
    low, high
        95 % interval over the units counted by ``n``.
    chance
        What an uninformed method reaches: chance level or a named baseline (see ``note``).
    ceiling
        What no method can pass: noise ceiling, ideal observer or known truth; where no such bound
        is known, the recording measured against itself, and the ``note`` says so. None only with a
        ``note`` that says why there is none.
    n
        Number of independent units (trials, neurons, seeds) behind the interval.
    held_out
        What the number was measured on and was not used for fitting or choosing.
    note
        What the interval resamples, what chance and ceiling are.

    Raises
    ------
    ValueError
        A field is missing, not finite, or inconsistent.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    ceiling: float | None
    n: int
    held_out: str
    unit: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.name):
            raise ValueError(
                f"A claim's name is lower case with underscores, got {self.name!r}: rename it."
            )
        for key in ("value", "low", "high", "chance"):
            object.__setattr__(self, key, _finite(self.name, key, getattr(self, key)))
        if self.ceiling is not None:
            object.__setattr__(self, "ceiling", _finite(self.name, "ceiling", self.ceiling))
        elif not self.note:
            raise ValueError(f"{self.name} has no ceiling: give one, or say in `note` why not.")
        if self.low > self.high:
            raise ValueError(f"{self.name}: low {self.low:g} lies above high {self.high:g}.")
        if self.n < 1 or not self.held_out:
            raise ValueError(f"{self.name}: say how many units (`n`) and what was `held_out`.")

    @classmethod
    def of(cls, name: str, interval: Sequence[float], **facts: object) -> Claim:
        """Make a claim of an estimate with its interval, given as (value, low, high)."""
        value, low, high = interval
        return cls(name=name, value=value, low=low, high=high, **facts)

    @property
    def label(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")

    def _repr_html_(self) -> str:
        """Show the claim as one block: value, interval, and what it has to be compared with."""
        unit = f' <span class="claim-unit">{html.escape(self.unit)}</span>' if self.unit else ""
        ceiling = "" if self.ceiling is None else f"ceiling {self.ceiling:.3g} · "
        note = f'<div class="claim-note">{html.escape(self.note)}</div>' if self.note else ""
        return (
            f'<div class="claim"><span class="claim-name">{self.label}</span> '
            f'<span class="claim-value">{self.value:.3g}{unit}</span> '
            f'<span class="claim-interval">[{self.low:.3g}, {self.high:.3g}]</span>'
            f'<div class="claim-meta">chance or baseline {self.chance:.3g} · {ceiling}'
            f"n = {self.n} · held out: {html.escape(self.held_out)}</div>{note}</div>"
        )


def _finite(claim: str, key: str, value: object) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{claim}: {key} must be a finite number, got {value!r}.")
    return number


def _logs_folder() -> Path:
    folder = os.environ.get("BOOKPRESS_LOGS")
    return Path(folder) if folder else Path(tempfile.mkdtemp(prefix="bookpress-"))


@dataclass
class Run:
    """One execution of a chapter: its checked parameters, and the claims that it records.

    Made by :func:`begin`. Everything recorded is written at once to
    ``results/<chapter>/<name>.json``, so a run that is cut off keeps what it had. What a chapter
    logs besides, a search say, goes to the folder ``logs``, which is empty when the run begins.
    """

    chapter: str
    name: str
    parameters: Mapping[str, object]
    path: Path
    provenance: dict[str, object]
    data: Mapping[str, object] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    quotes: dict[str, object] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    logs: Path = field(default_factory=_logs_folder)

    def uses(self, provenance: object) -> None:
        """Note where the data came from: a dataclass of plain fields (source, licence, sha256)."""
        self.data = asdict(provenance)
        self._write()

    def record(self, *claims: Claim) -> None:
        """Show claims, glue their numbers for the prose, and keep them in the run's file.

        The keys are the claim's name for its value, and the name with ``_low``, ``_high``,
        ``_chance`` and ``_ceiling``.
        """
        for claim in claims:
            if claim.name in self.claims:
                raise ValueError(f"{claim.name} is recorded already: one name, one number.")
            self.claims[claim.name] = claim
            self._glue(claim)
        self._write()
        display(HTML(f'<div class="claims">{"".join(c._repr_html_() for c in claims)}</div>'))

    def quote(self, **values: float | int | str) -> None:
        """Glue plain facts of the run (counts, units, names) for the prose; no claim is made."""
        for name, value in values.items():
            plain = value if isinstance(value, str | int) else float(value)
            self.quotes[name] = plain
            glue(name, plain, display=False)
        self._write()

    def _glue(self, claim: Claim) -> None:
        glue(claim.name, claim.value, display=False)
        for key in ("low", "high", "chance", "ceiling"):
            if getattr(claim, key) is not None:
                glue(f"{claim.name}_{key}", getattr(claim, key), display=False)

    def _write(self) -> None:
        self.provenance["duration_s"] = round(time.perf_counter() - self.started, 1)
        text = json.dumps(
            {
                "chapter": self.chapter,
                "run": self.name,
                "parameters": dict(self.parameters),
                "data": self.data,
                "provenance": self.provenance,
                "claims": [asdict(claim) for claim in self.claims.values()],
                "quotes": self.quotes,
            },
            indent=1,
            default=_plain,
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(text + "\n")
        os.replace(partial, self.path)


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else dict(value)


def begin(chapter: str) -> Run:
    """Check the parameters of the notebook that calls this, and start to record its run.

    The notebook's parameters cell (annotated assignments only) and, when papermill ran it, the
    injected cell after it are read from IPython's history, so that a misspelt or ill-typed
    parameter stops the notebook here, before any work, whoever executes it.

    Parameters
    ----------
    chapter
        Name of the notebook, without suffix.

    Returns
    -------
    Run
        Named by the environment variable ``BOOKPRESS_RUN``, which the press sets; a notebook run
        by hand is named by a hash of its parameters, so that it never passes for the book's own.

    Raises
    ------
    bookpress.parameters.ParameterError
        With the table of valid parameters.
    """
    declared, given = _parameters_of_session()
    declarations.check(given, declared, chapter)
    showing.install()
    clock.install()
    values = {p.name: p.default for p in declared} | given
    name = os.environ.get("BOOKPRESS_RUN") or run_name(values)
    root = os.environ.get("BOOKPRESS_ROOT")
    provenance = _provenance(Book(Path(root)) if root else None, chapter)
    return Run(chapter, name, values, _results_folder() / chapter / f"{name}.json", provenance)


def run_name(values: Mapping[str, object]) -> str:
    """Return a name made from the values of all parameters."""
    return f"p-{digest(json.dumps(dict(values), sort_keys=True))[:10]}"


def _parameters_of_session() -> tuple[list[declarations.Parameter], dict[str, object]]:
    shell = get_ipython()
    cells = list(shell.user_ns["In"]) if shell is not None else []
    places = [k for k, source in enumerate(cells) if declarations.is_declaration(source)]
    if not places:
        raise BookError("Run the parameters cell before bookpress.begin().")
    following = cells[places[-1] + 1] if places[-1] + 1 < len(cells) else ""
    injected = following.lstrip().startswith("# Parameters")
    given = declarations.assigned(following) if injected else {}
    return declarations.declared(cells[places[-1]]), given


def _results_folder() -> Path:
    folder = os.environ.get("BOOKPRESS_RESULTS")
    if folder:
        return Path(folder)
    try:
        return Book.find().results
    except BookError:
        return Path("results")


def _provenance(book: Book | None, chapter: str) -> dict[str, object]:
    try:
        book = book or Book.find()
        code = {
            "commit": book.commit(),
            "code_hash": book.code_hash(chapter),
            "lock_hash": book.lock_hash(),
        }
    except (BookError, FileNotFoundError):
        code = {"commit": "unknown", "code_hash": "unknown", "lock_hash": "unknown"}
    return code | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
