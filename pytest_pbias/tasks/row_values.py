"""What a task reads off a row: texts, options, numbers, assertions; and templates over columns."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_pbias.errors import DataError, quoted, without_controls
from pytest_pbias.tasks.base import Row, check_characters

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
        DataError: there is nothing in it that is seen, or what no prompt can show or hold.
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
        check_characters(text, column)
        if not without_controls(text).strip():
            raise DataError(f"{column} is empty")
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
    found = plain_number(text)
    if found is None:
        raise DataError(f"{column}: {quoted(text)} is not a number")
    return found


def plain_number(text: str) -> float | None:
    """The number that a text is, with commas for thousands; None: it is none.

    Python's own forms (``1_000``, digits of other scripts) are none in a data file.
    """
    if "_" in text or not text.strip().isascii():
        return None
    try:
        return float(text.replace(",", "").strip())
    except ValueError:
        return None


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
        DataError: it is no list of such: a number, a name or a comment in place of one passes any
            program, what is not Python fails any.
    """
    if not isinstance(tests, list):
        raise DataError(f"{column} is {quoted(tests)}, not a list of assertions")
    for test in tests:
        if not isinstance(test, str) or not test.strip():
            raise DataError(f"{column} has {quoted(test)}, which is no assertion")
        asserted = [node for node in ast.walk(python(test, column)) if _asserts(node)]
        if not asserted:
            raise DataError(f"{column} has {quoted(test)}, which is no assertion")
        if not any(map(_can_fail, asserted)):
            raise DataError(f"{column} has {quoted(test)}, which would pass every program")
    return tests


def python(code: object, column: str) -> ast.Module:
    """Take code apart that stands in a column.

    Raises:
        DataError: it is no text, or no Python.
    """
    if not isinstance(code, str):
        raise DataError(f"{column} is {quoted(code)}, not a text")
    check_characters(code, column)
    try:
        with warnings.catch_warnings():  # of the data's style, which is not ours
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DataError(f"{column} has {quoted(code)}, which is not Python") from None


def _asserts(node: ast.AST) -> bool:
    """Whether it is an assertion: the statement, or a call of what says so (``assertEqual``)."""
    if isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return "assert" in name
    return isinstance(node, ast.Assert)


def _can_fail(node: ast.AST) -> bool:
    """Whether an assertion speaks of a program: not of a constant, nor of a pair, always true."""
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple):
        return not node.test.elts
    return any(isinstance(part, ast.Name) for part in ast.walk(node))
