"""What a task reads off a row: texts, options, numbers, assertions; and templates over columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.tasks.base import Row

Value = str | int | float | bool
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with ``{columns}`` in it; ``{{`` and ``}}`` are braces. A name is a name, never code.

    ``parts`` are texts and, in tuples of one, names of columns.
    """

    parts: tuple[str | tuple[str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(part[0] for part in self.parts if isinstance(part, tuple)))

    def fill(self, shown: Callable[[str], str]) -> str:
        """The text with the columns' values in it."""
        return "".join(shown(part[0]) if isinstance(part, tuple) else part for part in self.parts)


def read_template(text: str) -> Template:
    """Take a template apart.

    Raises:
        ValueError: a brace stands alone, or there is nothing between two.
    """
    parts: list[str | tuple[str]] = []
    end = 0
    for found in _BRACES.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        if found[1]:
            parts.append((found[1],))
        elif found[0] in ("{{", "}}"):
            parts.append(found[0][0])
        else:
            raise ValueError(
                f"has {found[0]} by itself: name a column in it, or double it for a brace"
            )
    parts.append(text[end:])
    return Template(tuple(part for part in parts if part))


def letter(number: int) -> str:
    """The letter of an option that is counted from 0."""
    return chr(ord("A") + number)


def said(value: Value) -> str:
    """A value as a text says it: ``true``, not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_filled(value: object) -> bool:
    """Whether there is something in a column."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value != []


def value_of(row: Row, column: str) -> str:
    """What a prompt shows of a column: a list one a line.

    Raises:
        DataError: there is nothing in it, a null character, or what no prompt can show.
    """
    return "\n".join(values_of(row, column))


def values_of(row: Row, column: str) -> list[str]:
    """The elements of a list in a column, or its one value, as texts.

    Raises:
        DataError: as for :func:`value_of`.
    """
    value = row.get(column)
    values = value if isinstance(value, list) else [value]
    texts = list(_shown(values, column))
    if not texts:
        raise DataError(f"{column} is empty")
    return texts


def _shown(values: Sequence[Any], column: str) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping | list | tuple | bytes):
            raise DataError(f"{column} is {quoted(value)}, which a prompt cannot show")
        text = "" if value is None or value != value else said(value)
        if not text.strip():
            raise DataError(f"{column} is empty")
        if "\0" in text:
            raise DataError(f"{column} has a null character")
        yield text


def chosen(row: Row, column: str, choices: Sequence[str]) -> str:
    """The letter of the right option: given as letter, in its own words, or counted from 0.

    Raises:
        DataError: it is no option, or both a letter and the words of another option.
    """
    value = row.get(column)
    letters = [letter(number) for number in range(len(choices))]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return letters[value]
    text = value_of(row, column).strip()
    found = {letters[n] for n, choice in enumerate(choices) if choice.strip() == text}
    found |= {letter for letter in letters if text.strip("().").upper() == letter}
    if len(found) > 1:
        raise DataError(f"{column}: {quoted(text)} is more than one option: {', '.join(found)}")
    if not found:
        raise DataError(f"{column}: {quoted(text)} is no option: {', '.join(letters)}")
    return found.pop()


def number(row: Row, column: str) -> float:
    """The number in a column, or in a text, with commas for thousands.

    Raises:
        DataError: it is none.
    """
    text = value_of(row, column)
    try:
        return float(text.replace(",", "").strip())
    except ValueError:
        raise DataError(f"{column}: {quoted(text)} is not a number") from None


def assertions_of(row: Row, column: str) -> list[str]:
    """The assertions in a column: a list, or a text with one a line.

    Raises:
        DataError: there are none, or it is no list of such.
    """
    value = row.get(column)
    if isinstance(value, str):
        value = [line for line in value.splitlines() if line.strip()]
    if tests := assertions(value, column):
        return tests
    raise DataError(f"{column} is empty: it would pass every program")


def assertions(tests: object, column: str) -> list[str]:
    """A list of assertions that stands in a column.

    Raises:
        DataError: it is no list of such: a number or a name in place of one passes any program.
    """
    if not isinstance(tests, list):
        raise DataError(f"{column} is {quoted(tests)}, not a list of assertions")
    for test in tests:
        if not isinstance(test, str) or "assert" not in test or "\0" in test:
            raise DataError(f"{column} has {quoted(test)}, which is no assertion")
    return tests
