"""Where each key and value of a TOML document stands, which the standard library does not say.

The text must have been parsed by :mod:`tomllib` already: the scanner only follows what is known to
be well-formed, and a test holds its paths against the parser's.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE_BLANK = re.compile(r"[ \t]*")
_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_STRING = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"{3,5}|\'\'\'[\s\S]*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\''
)
_BARE = re.compile(r"[^,\]}\n#]*")


@dataclass(frozen=True)
class Positions:
    """Offsets of keys and values by path: ``("identity", 0, "name")``."""

    text: str
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)

    def line_and_column(self, path: Path, *, of_key: bool = False) -> tuple[int, int]:
        """Both from 1; of the nearest enclosing value where the path itself is absent."""
        offsets = self.keys if of_key else self.values
        while path and path not in offsets:
            path = path[:-1]
        offset = offsets.get(path, 0)
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def positions(text: str) -> Positions:
    """Scan a well-formed document."""
    found = Positions(text)
    _Scanner(text, found).document()
    return found


class _Scanner:
    def __init__(self, text: str, found: Positions) -> None:
        self._text = text
        self._at = 0
        self._found = found
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        start, is_array = self._at, self._peek("[[")
        self._at += 2 if is_array else 1
        keys = self._dotted_key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for number, (key, offset) in enumerate(keys):
            path = (*path, key)
            self._found.keys.setdefault(path, offset)
            last = number == len(keys) - 1
            self._found.values.setdefault(path, start)
            if last and is_array:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._found.values.setdefault(path, start)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        start = self._at
        for key, offset in self._dotted_key():
            path = (*path, key)
            self._found.keys.setdefault(path, offset)
            self._found.values.setdefault(path, start)
        self._at += 1  # the equals sign
        self._skip(_INLINE_BLANK)
        self._value(path)

    def _dotted_key(self) -> list[tuple[str, int]]:
        keys = []
        while True:
            self._skip(_INLINE_BLANK)
            start, raw = self._at, self._take(_SIMPLE_KEY)
            quoted = raw[0] in "\"'"
            keys.append((str(tomllib.loads(f"k = {raw}")["k"]) if quoted else raw, start))
            self._skip(_INLINE_BLANK)
            if not self._peek("."):
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        self._found.values[path] = self._at
        if self._peek("["):
            self._at += 1
            self._skip(_BLANK)
            number = 0
            while not self._peek("]"):
                self._value((*path, number))
                number += 1
                self._separator()
            self._at += 1
        elif self._peek("{"):
            self._at += 1
            self._skip(_BLANK)
            while not self._peek("}"):
                self._pair(path)
                self._separator()
            self._at += 1
        elif self._peek('"') or self._peek("'"):
            self._take(_STRING)
        else:
            self._take(_BARE)

    def _separator(self) -> None:
        self._skip(_BLANK)
        if self._peek(","):
            self._at += 1
            self._skip(_BLANK)

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, f"not well-formed at offset {self._at}"
        self._at = found.end()
        return found[0]
