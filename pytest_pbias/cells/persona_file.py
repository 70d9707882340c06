"""Persona files: ``persona_*.pbias.toml`` -> identities, tasks and margins."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.prompts import (
    MOST_COMBINATIONS,
    PLACEMENTS,
    Frame,
    Identity,
    Placement,
    combine,
    controls,
    draw,
    groups,
    resolve_identities,
)
from pytest_pbias.tasks import TASKS, Task, resolve_task

KeyPath = tuple[str | int, ...]

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
    keys: dict[KeyPath, int] = field(default_factory=dict)
    values: dict[KeyPath, int] = field(default_factory=dict)

    def line_and_column(self, path: KeyPath, *, of_key: bool = False) -> tuple[int, int]:
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
        self._arrays: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        start, is_array = self._at, self._peek("[[")
        self._at += 2 if is_array else 1
        keys = self._dotted_key()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
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

    def _pair(self, table: KeyPath) -> None:
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

    def _value(self, path: KeyPath) -> None:
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


FRAME_KEYS = ("placement", "statement", "system", "opening", "reply", "neutral")

_HISTORY_KEYS = ("opening", "reply", "neutral")

_HOLDS = {
    "statement": ("identity",),
    "system": ("statement", "identity"),
    "opening": ("statement", "identity"),
    "reply": (),
    "neutral": (),
}

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


def read_frame(
    document: Document, table: Mapping[str, Any], path: KeyPath, usual: Frame, *, of_one: bool
) -> Frame:
    """The frame that ``table`` gives over ``usual``.

    ``of_one``: the table is that of one identity, whose statement may be a sentence of its own.

    Raises:
        ConfigurationError: a text lacks its placeholder, or a key has no use in the placement.
    """
    given = {key: document.text(table, path, key) for key in FRAME_KEYS}
    placement = _placement(document, given["placement"], path) or usual.placement
    for key, placeholders in _HOLDS.items():
        text = given[key]
        if text is not None:
            free = of_one and key == "statement"
            _check_placeholders(document, (*path, key), text, placeholders, required=not free)
    for key in _HISTORY_KEYS:
        if given[key] is not None and placement != "history":
            document.fail((*path, key), f'{key} has a use with placement = "history" only')
    if given["system"] is not None and placement == "history":
        document.fail((*path, "system"), 'system has no use with placement = "history"')
    frame = Frame(
        statement=given["statement"] or usual.statement,
        system=given["system"] or usual.system,
        placement=placement,
        opening=given["opening"] or usual.opening,
        reply=given["reply"] or usual.reply,
        neutral=given["neutral"] or usual.neutral,
    )
    carrier = "opening" if placement == "history" else "system"
    if given["statement"] is not None and "{statement}" not in getattr(frame, carrier):
        document.fail(
            (*path, "statement"), f"statement is not used: {carrier} has no {{statement}}"
        )
    if placement == "history" and not frame.neutral_opening:
        document.fail(
            (*path, "opening"),
            "nothing is left of the opening for the baseline to say; give it a `neutral` text",
        )
    return frame


def _placement(document: Document, name: str | None, path: KeyPath) -> Placement | None:
    if name is None:
        return None
    for placement in PLACEMENTS:
        if placement == name:
            return placement
    hint = near_matches(name, PLACEMENTS)
    return document.fail((*path, "placement"), f"unknown placement {quoted(name)}: {hint}")


def _check_placeholders(
    document: Document, path: KeyPath, text: str, known: tuple[str, ...], *, required: bool
) -> None:
    found = _PLACEHOLDER.findall(text)
    shown = " or ".join(f"{{{name}}}" for name in known) or "nothing in braces"
    for name in found:
        if name not in known:
            document.fail(path, f"unknown placeholder {{{name}}}: {path[-1]} takes {shown}")
    if required and known and not found:
        document.fail(path, f"{path[-1]} must hold {shown}, the place of the identity")


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


_IDENTITY_KEYS = ("name", "group", "label", *FRAME_KEYS)

_FILE_KEYS = (
    "tasks",
    "identities",
    "group",
    "groups",
    "identity",
    "combine",
    "most",
    "seed",
    "exclude",
    "controls",
    "label",
    "margins",
    *FRAME_KEYS,
)

_MOST_LABEL = 100


@dataclass(frozen=True)
class PersonaFile:
    """What one file asks: every identity under every task.

    ``margins`` (percentage points) are by task or axis name; a task's comes before its axis's.
    """

    identities: tuple[Identity, ...]
    tasks: tuple[Task, ...]
    margins: Mapping[str, float]

    def cells(self) -> tuple[Cell, ...]:
        """The cells, task by task."""
        return tuple(
            Cell(task, identity, self._margin(task) if identity.kind != "baseline" else None)
            for task in self.tasks
            for identity in self.identities
        )

    def _margin(self, task: Task) -> float | None:
        return self.margins.get(task.name, self.margins.get(task.axis))


def read_personas(path: Path, shown: str | None = None) -> PersonaFile:
    """Read a persona file; ``shown`` names it in errors.

    Raises:
        ConfigurationError: one line with file, line and column: what is wrong and what to write.
    """
    document = Document.read(path, shown or str(path))
    document.require_known(document.data, (), _FILE_KEYS)
    return PersonaFile(
        identities=_Identities(document).read(),
        tasks=_tasks(document),
        margins=_margins(document),
    )


def _tasks(document: Document) -> tuple[Task, ...]:
    names = document.texts(document.data, (), "tasks")
    if names is None:
        return tuple(TASKS.values())
    tasks: dict[str, Task] = {}
    for number, name in enumerate(names):
        try:
            tasks.setdefault(name, resolve_task(name))
        except ConfigurationError as error:
            document.fail(("tasks", number), str(error))
    return tuple(tasks.values())


def _margins(document: Document) -> dict[str, float]:
    table = document.table("margins")
    document.require_known(table, ("margins",), ("utility", "safety", *TASKS))
    for key, value in table.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value <= 100:
            document.fail(
                ("margins", key), f"the margin of {key} must be a number of points, above 0 to 100"
            )
    return {key: float(value) for key, value in table.items()}


class _Identities:
    """The identities of a document: listed, single, combined; framed and labelled."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._frame = read_frame(document, document.data, (), Frame(), of_one=False)
        self._label = self._read_label(document.data, ())
        self._group = document.text(document.data, (), "group") or "Custom"
        self._own_groups = self._read_groups()

    def read(self) -> tuple[Identity, ...]:
        found: dict[str, tuple[Identity, KeyPath]] = {}
        for identity, path in (*self._listed(), *self._single(), *self._combined()):
            first, _ = found.setdefault(identity.name, (identity, path))
            if first != identity:
                self._document.fail(
                    path, f"two identities are called {identity.name!r}; give one a `label`"
                )
        if self._document.switch("controls"):
            for identity in controls():
                framed = self._framed(identity, self._frame, self._label)
                found.setdefault(framed.name, (framed, ("controls",)))
        if not found:
            self._document.fail(
                (), "names no identity; give `identities`, `combine` or an [[identity]] table"
            )
        return tuple(identity for identity, _ in found.values())

    def _read_label(self, table: Mapping[str, Any], path: KeyPath) -> str | None:
        label = self._document.text(table, path, "label")
        if label is not None and (not label.isprintable() or len(label) > _MOST_LABEL):
            self._document.fail(
                (*path, "label"), f"label must be one line of at most {_MOST_LABEL} characters"
            )
        return label

    def _read_groups(self) -> dict[str, tuple[Identity, ...]]:
        table = self._document.table("groups")
        own = {}
        for name in table:
            texts = self._document.texts(table, ("groups",), name) or []
            own[name] = tuple(
                identity
                for number, text in enumerate(texts)
                for identity in self._resolve(text, ("groups", name, number), group=name, own={})
            )
        return own

    def _resolve(
        self,
        text: str,
        path: KeyPath,
        *,
        group: str,
        own: Mapping[str, tuple[Identity, ...]],
    ) -> tuple[Identity, ...]:
        if text in own:
            return own[text]
        try:
            return resolve_identities([text], group=group)
        except ConfigurationError as error:
            self._document.fail(path, str(error))

    def _listed(self) -> Iterator[tuple[Identity, KeyPath]]:
        names = self._document.texts(self._document.data, (), "identities") or []
        for number, name in enumerate(names):
            path: KeyPath = ("identities", number)
            for identity in self._resolve(name, path, group=self._group, own=self._own_groups):
                yield self._framed(identity, self._frame, self._label), path

    def _single(self) -> Iterator[tuple[Identity, KeyPath]]:
        document = self._document
        tables = document.data.get("identity", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            document.fail(("identity",), "an identity of its own is a table: [[identity]]")
        for number, table in enumerate(tables):
            path: KeyPath = ("identity", number)
            document.require_known(table, path, _IDENTITY_KEYS)
            name = document.text(table, path, "name")
            if name is None:
                document.fail(path, "this identity has no `name`")
            frame = read_frame(document, table, path, self._frame, of_one=True)
            label = self._read_label(table, path) or self._label
            found = self._resolve(name, (*path, "name"), group=self._group, own={})
            if len(found) != 1:
                document.fail((*path, "name"), f"{name!r} is a group; list it in `identities`")
            group = document.text(table, path, "group")
            identity = found[0] if group is None else replace(found[0], group=group)
            yield self._framed(identity, frame, label), path

    def _combined(self) -> Iterator[tuple[Identity, KeyPath]]:
        document = self._document
        most = document.whole("most", least=1, usual=MOST_COMBINATIONS)
        seed = document.whole("seed", least=0, usual=0)
        excluded = document.texts(document.data, (), "exclude") or []
        met: dict[str, Identity] = {}
        for path, names in self._combinations():
            choices = [self._choice(name, (*path, number)) for number, name in enumerate(names)]
            try:
                everything = combine(choices)
            except ConfigurationError as error:
                document.fail(path, str(error))
            met |= {identity.name: identity for identity in everything}
            wanted = [identity for identity in everything if identity.name not in excluded]
            for identity in draw(wanted, most=most, seed=seed):
                yield self._framed(identity, self._frame, self._label), path
        for number, name in enumerate(excluded):
            if name not in met:
                hint = near_matches(name, met)[:300]
                document.fail(
                    ("exclude", number), f"{quoted(name)} is not among the combined: {hint}"
                )

    def _combinations(self) -> Iterator[tuple[KeyPath, list[str]]]:
        document = self._document
        value = document.data.get("combine")
        if value is None:
            return
        if isinstance(value, list) and value and all(isinstance(part, list) for part in value):
            nested: list[tuple[KeyPath, Any]] = [
                (("combine", number), part) for number, part in enumerate(value)
            ]
        else:
            nested = [(("combine",), value)]
        for path, part in nested:
            good = isinstance(part, list) and all(isinstance(name, str) for name in part)
            if not good or len(part) < 2 or len(set(part)) != len(part):
                document.fail(path, 'combine must be two or more groups: ["Religion", "Gender"]')
            yield path, list(part)

    def _choice(self, name: str, path: KeyPath) -> tuple[Identity, ...]:
        if name in self._own_groups:
            return self._own_groups[name]
        if name not in groups():
            hint = near_matches(name, [*self._own_groups, *groups()])
            self._document.fail(path, f"unknown group {quoted(name)}: {hint}")
        return resolve_identities([name])

    def _framed(self, identity: Identity, frame: Frame, label: str | None) -> Identity:
        if identity.kind == "baseline":
            return Identity("", "", frame=frame).baseline
        usual = "{identity} (history)" if frame.placement == "history" else "{identity}"
        name = (label or usual).replace("{identity}", identity.name)
        words = "" if name == identity.name else identity.words or identity.name
        return replace(identity, name=name, words=words, frame=frame)
