"""A persona document: typed access to its keys, every mistake with file, line and column."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.personas.positions import Path as KeyPath
from pytest_pbias.personas.positions import Positions, positions

_SYNTAX_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class Document:
    """A parsed file; the accessors check types and say where a value is wrong."""

    def __init__(self, shown: str, data: dict[str, Any], where: Positions) -> None:
        self._shown = shown
        self.data = data
        self._where = where

    @classmethod
    def read(cls, path: Path, shown: str) -> Document:
        """Parse a file; ``shown`` names it in errors.

        Raises:
            ConfigurationError: it cannot be read, or is not TOML.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise ConfigurationError(f"{shown}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ConfigurationError(f"{shown}:{line}:1: is not UTF-8 text") from None
        try:
            data = tomllib.loads(text)
            where = positions(text.replace("\r\n", "\n"))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(_syntax_error(shown, text, str(error))) from None
        except (ValueError, RecursionError):
            raise ConfigurationError(
                f"{shown}: cannot be read: a number of thousands of digits, or lists thousands deep"
            ) from None
        return cls(shown, data, where)

    def fail(self, path: KeyPath, message: str, *, of_key: bool = False) -> NoReturn:
        """Raise the error that stands at ``path``."""
        line, column = self._where.line_and_column(path, of_key=of_key)
        raise ConfigurationError(f"{self._shown}:{line}:{column}: {message}")

    def require_known(self, table: Mapping[str, Any], path: KeyPath, known: Iterable[str]) -> None:
        """Refuse keys that are not ``known``."""
        names = list(known)
        for key in table:
            if key not in names:
                hint = near_matches(key, names)
                self.fail((*path, key), f"unknown key {quoted(key)}: {hint}", of_key=True)

    def text(self, table: Mapping[str, Any], path: KeyPath, key: str) -> str | None:
        """One line of text, or None where the key is absent."""
        if key not in table:
            return None
        value = table[key]
        if not isinstance(value, str) or not value.strip():
            self.fail((*path, key), f"{key} must be a text that is not empty")
        return value

    def texts(self, table: Mapping[str, Any], path: KeyPath, key: str) -> list[str] | None:
        """A list of texts that is not empty, or None where the key is absent."""
        if key not in table:
            return None
        values = table[key]
        if not isinstance(values, list) or not values:
            self.fail((*path, key), f"{key} must be a list of texts that is not empty")
        for number, value in enumerate(values):
            if not isinstance(value, str):
                self.fail((*path, key, number), f"{key} must hold texts, not {quoted(value)}")
        return list(values)

    def whole(self, key: str, *, least: int, usual: int) -> int:
        """A whole number of the top level."""
        value = self.data.get(key, usual)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.fail(
                (key,), f"{key} must be a whole number of at least {least}, not {quoted(value)}"
            )
        return value

    def switch(self, key: str) -> bool:
        """A top-level true or false; false where it is absent."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            self.fail((key,), f"{key} must be true or false, not {quoted(value)}")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """A table of the top level, empty where it is absent."""
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.fail((key,), f"{key} must be a table: [{key}]")
        return value


def _syntax_error(shown: str, text: str, message: str) -> str:
    place = _SYNTAX_PLACE.search(message)
    if place is not None and place[1]:
        line, column = place[1], place[2]
    else:
        lines = text.splitlines() or [""]
        line, column = str(len(lines)), str(len(lines[-1]) + 1)
    return f"{shown}:{line}:{column}: is not TOML: {_SYNTAX_PLACE.sub('', message)}"
