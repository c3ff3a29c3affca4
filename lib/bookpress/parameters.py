"""Parameters of a chapter: declared in one annotated cell, checked before any work is done.

A declaration is one line of the parameters cell::

    n_epochs: int = 60  # passes over the training trials [1, 10000]
    dataset: str = "simulated"  # which recording {simulated, guan2018}

The comment is the parameter's meaning; a trailing ``[low, high]`` or ``{a, b}`` is checked.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}
RANGE = re.compile(r"\[\s*(?P<low>[^\s,\]]+)\s*,\s*(?P<high>[^\s,\]]+)\s*\]\s*$")
CHOICES = re.compile(r"\{(?P<choices>[^{}]+)\}\s*$")


class ParameterError(ValueError):
    """A parameter is unknown, ill-typed or out of its range; the message lists the valid ones."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: its name, type, default, meaning and admitted values."""

    name: str
    type: type
    default: object
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def fault(self, value: object) -> str | None:
        """Return what is wrong with ``value``, or None."""
        accepted = (int, float) if self.type is float else (self.type,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.type is not bool):
            return f"{self.name} must be {self.type.__name__}, got {value!r}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}"
        if self.low is not None and not self.low <= value <= self.high:
            return f"{self.name} must lie in [{self.low:g}, {self.high:g}], got {value!r}"
        return None

    def parse(self, text: str) -> object:
        """Return the value meant by a command line's ``text``."""
        if self.type is str:
            return text
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        return float(value) if self.type is float and _is_number(value) else value


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def declared(source: str) -> list[Parameter]:
    """Read the parameters declared in the source of a parameters cell.

    Raises
    ------
    ParameterError
        A line is not of the form ``name: type = literal  # meaning`` (the meaning may go on in
        lines of comment below), or a default is not admitted by its own declaration.
    """
    comments = _comments(source)
    parameters = [_parameter(node, comments.get(node.end_lineno, "")) for node in _body(source)]
    faults = [fault for p in parameters if (fault := p.fault(p.default))]
    if faults:
        raise ParameterError("The parameters cell declares a wrong default: " + "; ".join(faults))
    return parameters


def is_declaration(source: str) -> bool:
    """Say whether a cell consists of nothing but annotated assignments."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return bool(body) and all(isinstance(node, ast.AnnAssign) for node in body)


def assigned(source: str) -> dict[str, object]:
    """Return the literal values that a cell of plain assignments gives (papermill's injection)."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
    }


def check(given: Mapping[str, object], parameters: Sequence[Parameter], where: str) -> None:
    """Refuse unknown, ill-typed and out-of-range values, naming all of them at once.

    Parameters
    ----------
    given
        Parameter name to value.
    parameters
        The declared ones.
    where
        Name of the chapter, for the message.

    Raises
    ------
    ParameterError
        With every fault and the table of valid parameters.
    """
    by_name = {p.name: p for p in parameters}
    faults = [f"unknown parameter {name!r}" for name in given if name not in by_name]
    faults += [
        fault
        for name, value in given.items()
        if name in by_name and (fault := by_name[name].fault(value))
    ]
    if faults:
        raise ParameterError(f"{where}: {'; '.join(faults)}.\n{describe(parameters)}")


def describe(parameters: Sequence[Parameter]) -> str:
    """Return a plain table of parameters: name, type, default, meaning with admitted values."""
    width = max((len(p.name) for p in parameters), default=0)
    rows = [
        f"  {p.name:<{width}}  {p.type.__name__:<5}  {p.default!r:<12}  {p.meaning}"
        for p in parameters
    ]
    return "\n".join(["Valid parameters (name, type, default, meaning):", *rows])


def _body(source: str) -> list[ast.AnnAssign]:
    body = ast.parse(source).body
    for node in body:
        if not isinstance(node, ast.AnnAssign) or node.value is None:
            raise ParameterError(
                "Each line of a parameters cell must read `name: type = value  # meaning`; "
                f"got {ast.unparse(node)!r}."
            )
    return body


def _comments(source: str) -> dict[int, str]:
    """Comment at the end of each line, with the lines below that are nothing but comment."""
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            if token.line.lstrip().startswith("#") and comments:
                comments[max(comments)] += f" {text}"
            else:
                comments[token.start[0]] = text
    return comments


def _parameter(node: ast.AnnAssign, meaning: str) -> Parameter:
    kind = ast.unparse(node.annotation)
    if kind not in TYPES:
        raise ParameterError(f"{node.target.id}: type {kind} is not one of {', '.join(TYPES)}.")
    if not meaning:
        raise ParameterError(f"{node.target.id} needs a comment that says what it means.")
    bounds, choices = RANGE.search(meaning), CHOICES.search(meaning)
    low, high = (float(bounds[k]) for k in ("low", "high")) if bounds else (None, None)
    names = tuple(c.strip() for c in choices["choices"].split(",")) if choices else ()
    value = ast.literal_eval(node.value)
    return Parameter(node.target.id, TYPES[kind], value, meaning, low, high, names)
