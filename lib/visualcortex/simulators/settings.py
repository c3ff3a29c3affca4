"""Checks of the settings of a simulation, each by the name that the caller knows it by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def check_whole(name: str, value: object, smallest: int) -> None:
    """Refuse what is not a whole number, `smallest` or more; truth values are none.

    Raises
    ------
    ValueError
        If it is not one.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < smallest:
        raise ValueError(
            f"{name} must be a whole number, {smallest} or more; got {value!r}. Correct it."
        )


def check_number(
    name: str,
    value: object,
    wanted: str,
    low: float,
    high: float = np.inf,
    *,
    closed: bool = False,
) -> None:
    """Refuse what is not a number above `low` (or equal, if closed) and below `high`.

    NaN and infinity are refused too. `wanted` says the range in words, as in "a number above 0".

    Raises
    ------
    ValueError
        If it is not one.
    """
    number = isinstance(value, (int, float, np.number))
    if not number or not (low < value < high or (closed and value == low)):
        raise ValueError(f"{name} must be {wanted}; got {value!r}. Correct it.")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is not among the choices.

    Raises
    ------
    ValueError
        If it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}; got {value!r}. Choose one.")
