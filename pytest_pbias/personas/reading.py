"""``persona_*.pbias.toml`` -> the cells that it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.identities import (
    MOST_COMBINATIONS,
    Frame,
    Identity,
    combine,
    controls,
    draw,
    groups,
    resolve_identities,
)
from pytest_pbias.personas.document import Document
from pytest_pbias.personas.framing import FRAME_KEYS, read_frame
from pytest_pbias.personas.positions import Path as KeyPath
from pytest_pbias.tasks import TASKS, Task, resolve_task

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
