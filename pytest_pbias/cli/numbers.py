"""Types of numeric options: what cannot be meant is refused as the command line is read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number of at least ``least`` and at most ``most``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            until = "" if most is None else f" to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}{until}")
        return number

    return read


def above_zero(text: str) -> float:
    """The type of a number above 0."""
    return _number(text, "above 0", lambda number: number > 0)


def from_zero(text: str) -> float:
    """The type of a number of at least 0."""
    return _number(text, "from 0", lambda number: number >= 0)


def _number(text: str, meaning: str, allowed: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not allowed(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {meaning}")
    return number
