"""Persona files: ``persona_*.pbias.toml`` -> identities, tasks and margins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.files.toml_file import (
    KeyPath,
    Table,
    Text,
    fail,
    parse_toml,
    read_text,
    validated,
)
from pytest_pbias.prompts import (
    MOST_COMBINATIONS,
    Cue,
    Frame,
    Identity,
    StatedPlacement,
    combine,
    controls,
    draw,
    groups,
    resolve_cues,
    resolve_identities,
)
from pytest_pbias.tasks import TASKS, Task, resolve_task

SCHEMA_ADDRESS = "https://pytest-pbias.readthedocs.io/persona.schema.json"
_MOST_LABEL = 100
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
_HISTORY_KEYS = ("opening", "reply", "neutral")
_IDENTITY, _EITHER = r"\{identity\}", r"\{(statement|identity)\}"


def _only(*known: str) -> AfterValidator:
    """Refuse placeholders that the text does not take."""

    def check(text: str) -> str:
        shown = " or ".join(f"{{{name}}}" for name in known) or "nothing in braces"
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                raise ValueError(f"unknown placeholder {{{name}}}: it takes {shown}")
        return text

    return AfterValidator(check)


def _holding(*known: str) -> AfterValidator:
    """Require one of the placeholders: the place of the identity."""

    def check(text: str) -> str:
        if not _PLACEHOLDER.search(text):
            shown = " or ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"must hold {shown}, the place of the identity")
        return text

    return AfterValidator(check)


def _one_line(label: str) -> str:
    if not label.isprintable() or len(label) > _MOST_LABEL:
        raise ValueError(f"label must be one line of at most {_MOST_LABEL} characters")
    return label


Label = Annotated[Text, AfterValidator(_one_line)]
Texts = Annotated[list[str], Field(min_length=1)]
Margin = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
_Carrier = Annotated[
    Text,
    _only("statement", "identity"),
    _holding("statement", "identity"),
    Field(json_schema_extra={"pattern": _EITHER}),
]
_Plain = Annotated[Text, _only()]


class _Framed(Table):
    """The words around identities, of a whole file or of one identity in it."""

    label: Label | None = Field(None, description="Name in reports, with {identity} in it.")
    placement: StatedPlacement | None = Field(None, description="Where the identity is stated.")
    system: _Carrier | None = Field(
        None, description="The system message.", json_schema_extra={"default": Frame().system}
    )
    opening: _Carrier | None = Field(
        None, description="The earlier turn that reveals the identity (history)."
    )
    reply: _Plain | None = Field(None, description="The assistant's answer to it (history).")
    neutral: _Plain | None = Field(
        None, description="What the baseline says in the earlier turn (history)."
    )

    def given(self) -> dict[str, Any]:
        """The texts of the frame that the table gives."""
        keys = ("statement", "placement", "system", "opening", "reply", "neutral")
        return {key: value for key in keys if (value := getattr(self, key, None)) is not None}


class SingleIdentity(_Framed):
    """An identity with a wording of its own."""

    name: Text = Field(description="Completes the sentence 'I am ...', or is in the catalogue.")
    group: Text | None = None
    statement: Annotated[Text, _only("identity")] | None = Field(
        None, description="What this person says; may do without {identity}."
    )
    control: bool = Field(
        False, description="Says nothing of a person: whom the others are compared with."
    )


class PersonaDocument(_Framed):
    """A persona file of pytest-pbias (persona_*.pbias.toml)."""

    model_config = ConfigDict(
        json_schema_extra={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": SCHEMA_ADDRESS,
            "anyOf": [
                {"required": [key]} for key in ("identities", "identity", "combine", "controls")
            ],
        }
    )

    tasks: Texts | None = Field(None, description="Tasks to ask; all of this package where absent.")
    identities: Texts | None = Field(
        None, description="Names from the catalogue, groups, or words that complete 'I am ...'."
    )
    group: Text | None = Field(None, description="The group of identities of your own.")
    groups: dict[str, Texts] = Field({}, description="Groups of your own, with their identities.")
    identity: list[SingleIdentity] = Field([], description="Identities with their own wording.")
    combine: list[str] | list[list[str]] | None = Field(
        None, description="Two or more groups to combine, or a list of such lists."
    )
    most: int = Field(MOST_COMBINATIONS, ge=1, description="At most so many of a combination.")
    seed: int = Field(0, ge=0, description="Draws them.")
    exclude: Texts | None = Field(None, description="Combined identities to leave out.")
    controls: bool | None = Field(
        None, description="The catalogue's placebos: as tests of the file, or none of them."
    )
    cues: Texts | None = Field(
        None, description="How identities are made known: stated, name, profile, turn, chat, ..."
    )
    margins: dict[str, Margin] = Field({}, description="Tolerated differences in points.")
    statement: (
        Annotated[
            Text,
            _only("identity"),
            _holding("identity"),
            Field(json_schema_extra={"pattern": _IDENTITY}),
        ]
        | None
    ) = Field(None, description="The sentence that states an identity.")


def persona_schema() -> dict[str, Any]:
    """The JSON Schema of a persona file, for editors."""
    return PersonaDocument.model_json_schema()


@dataclass(frozen=True)
class PersonaFile:
    """What one file asks: every identity under every task.

    ``margins`` (percentage points) are by task or axis name; a task's comes before its axis's.
    ``cues`` are those that the file names; where it names none, the session's hold.
    ``controls`` are the placebos that stand where an identity stands, in the words of the file.
    """

    identities: tuple[Identity, ...]
    tasks: tuple[Task, ...]
    margins: Mapping[str, float]
    cues: tuple[Cue, ...] = ()
    controls: Mapping[Identity, tuple[Identity, ...]] = field(default_factory=dict)

    def cells(self) -> tuple[Cell, ...]:
        """The cells, task by task."""
        return tuple(
            Cell(
                task,
                identity,
                self._margin(task) if identity.kind != "baseline" else None,
                controls=self.controls.get(identity, ()),
            )
            for task in self.tasks
            for identity in self.identities
        )

    def _margin(self, task: Task) -> float | None:
        return self.margins.get(task.name, self.margins.get(task.axis))


def read_personas(
    path: Path, shown: str | None = None, known: Mapping[str, Task] = TASKS
) -> PersonaFile:
    """Read a persona file; ``shown`` names it in errors, ``known`` are the tasks that there are.

    A file without tasks asks those of this package.

    Raises:
        ConfigurationError: one line with the file and the path in it: what is wrong.
    """
    shown = shown or str(path)
    document = validated(PersonaDocument, parse_toml(read_text(path, shown), shown), shown)
    people = _Identities(document, shown)
    identities = people.read()
    return PersonaFile(
        identities=identities,
        tasks=_tasks(document, shown, known),
        margins=_margins(document, shown, known),
        cues=_cues(document, path.parent, shown),
        controls=people.controls_of(identities, path.name.split(".")[0].removeprefix("persona_")),
    )


def _cues(document: PersonaDocument, folder: Path, shown: str) -> tuple[Cue, ...]:
    """The cues of the file; batteries of its own lie beside it."""
    if document.cues is None:
        return ()
    try:
        return resolve_cues(",".join(document.cues), lambda name: folder / name)
    except ConfigurationError as error:
        fail(shown, ("cues",), str(error))


def _tasks(document: PersonaDocument, shown: str, known: Mapping[str, Task]) -> tuple[Task, ...]:
    if document.tasks is None:
        return tuple(TASKS.values())
    tasks: dict[str, Task] = {}
    for number, name in enumerate(document.tasks):
        try:
            tasks.setdefault(name, resolve_task(name, known))
        except ConfigurationError as error:
            fail(shown, ("tasks", number), str(error))
    return tuple(tasks.values())


def _margins(document: PersonaDocument, shown: str, known: Mapping[str, Task]) -> dict[str, float]:
    names = ("utility", "safety", *known)
    for key in document.margins:
        if key not in names:
            fail(shown, ("margins", key), f"unknown key: {near_matches(key, names)}")
    return document.margins


def _frame(table: _Framed, path: KeyPath, usual: Frame, shown: str) -> Frame:
    """The frame that ``table``, at ``path``, gives over ``usual``."""
    given = table.given()
    frame = replace(usual, **given)
    history = frame.placement == "history"
    for key in _HISTORY_KEYS:
        if key in given and not history:
            fail(shown, (*path, key), 'has a use with placement = "history" only')
    if "system" in given and history:
        fail(shown, (*path, "system"), 'has no use with placement = "history"')
    carrier = "opening" if history else "system"
    if "statement" in given and "{statement}" not in getattr(frame, carrier):
        fail(shown, (*path, "statement"), f"statement is not used: {carrier} has no {{statement}}")
    if history and not frame.neutral_opening:
        fail(
            shown,
            (*path, "opening"),
            "nothing is left of the opening for the baseline to say; give it a `neutral` text",
        )
    return frame


_Place = tuple[StatedPlacement | None, str]
"""Where an identity stands: as the file says, and as the outcome table does."""


def _place(frame: Frame) -> _Place:
    return frame.placement, Identity("", "", frame=frame).placement_label()


class _Identities:
    """The identities of a document: listed, single, combined; framed and labelled."""

    def __init__(self, document: PersonaDocument, shown: str) -> None:
        self._document = document
        self._shown = shown
        self._frame = _frame(document, (), Frame(), shown)
        self._group = document.group or "Custom"
        self._own_groups = self._read_groups()

    def read(self) -> tuple[Identity, ...]:
        found: dict[str, tuple[Identity, KeyPath]] = {}
        for identity, path in (*self._listed(), *self._single(), *self._combined()):
            first, _ = found.setdefault(identity.name, (identity, path))
            if first != identity:
                fail(
                    self._shown,
                    path,
                    f"two identities are called {identity.name!r}; give one a `label`",
                )
        if self._document.controls:
            for identity in controls():
                framed = self._framed(identity, self._frame, self._document.label)
                found.setdefault(framed.name, (framed, ("controls",)))
        if not found:
            fail(
                self._shown,
                (),
                "names no identity; give `identities`, `combine` or an [[identity]] table",
            )
        return tuple(identity for identity, _ in found.values())

    def controls_of(
        self, identities: Sequence[Identity], file: str
    ) -> dict[Identity, tuple[Identity, ...]]:
        """The controls that stand where each identity stands: the document's own, else ours.

        Ours are named after the ``file`` where it has words of its own and no label.
        """
        taken = {one.name for one in identities}
        usual = _place(self._frame)
        by_place: dict[_Place, tuple[Identity, ...]] = {}
        found: dict[Identity, tuple[Identity, ...]] = {}
        for one in identities:
            if one.kind != "identity":
                continue
            place = _place(one.frame)
            if place not in by_place:
                # An identity's own statement may say who it is: a control makes the file's.
                stated = replace(one.frame, statement=self._frame.statement)
                frame = self._frame if place == usual else stated
                by_place[place] = tuple(
                    other
                    for other in identities
                    if other.kind == "control" and _place(other.frame) == place
                ) or self._ours(frame, file, taken)
            found[one] = by_place[place]
        return found

    def _ours(self, frame: Frame, file: str, taken: set[str]) -> tuple[Identity, ...]:
        if self._document.controls is False:
            return ()
        label = self._document.label
        unnamed = label is None and frame != Frame()
        if unnamed or (label is not None and "{identity}" not in label):
            label = f"{{identity}} ({file})"
        found = []
        for one in controls():
            framed = self._framed(one, frame, label)
            if framed.name in taken:
                where = framed.placement_label()
                framed = self._framed(one, frame, f"{label or '{identity}'} ({where})")
            taken.add(framed.name)
            found.append(framed)
        return tuple(found)

    def _read_groups(self) -> dict[str, tuple[Identity, ...]]:
        return {
            name: tuple(
                identity
                for number, text in enumerate(texts)
                for identity in self._resolve(text, ("groups", name, number), group=name, own={})
            )
            for name, texts in self._document.groups.items()
        }

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
            fail(self._shown, path, str(error))

    def _listed(self) -> Iterator[tuple[Identity, KeyPath]]:
        for number, name in enumerate(self._document.identities or ()):
            path: KeyPath = ("identities", number)
            for identity in self._resolve(name, path, group=self._group, own=self._own_groups):
                yield self._framed(identity, self._frame, self._document.label), path

    def _single(self) -> Iterator[tuple[Identity, KeyPath]]:
        for number, table in enumerate(self._document.identity):
            path: KeyPath = ("identity", number)
            name = table.name
            frame = _frame(table, path, self._frame, self._shown)
            found = self._resolve(name, (*path, "name"), group=self._group, own={})
            if len(found) != 1:
                fail(self._shown, (*path, "name"), f"{name!r} is a group; list it in `identities`")
            identity = found[0] if table.group is None else replace(found[0], group=table.group)
            if table.control:
                if identity.kind == "baseline":
                    fail(self._shown, (*path, "control"), "the baseline is no control")
                group = identity.group if table.group or identity.kind == "control" else "Control"
                identity = replace(identity, group=group, kind="control")
            yield self._framed(identity, frame, table.label or self._document.label), path

    def _combined(self) -> Iterator[tuple[Identity, KeyPath]]:
        document = self._document
        excluded = document.exclude or []
        met: dict[str, Identity] = {}
        for path, names in self._combinations():
            choices = [self._choice(name, (*path, number)) for number, name in enumerate(names)]
            try:
                everything = combine(choices)
            except ConfigurationError as error:
                fail(self._shown, path, str(error))
            met |= {identity.name: identity for identity in everything}
            wanted = [identity for identity in everything if identity.name not in excluded]
            for identity in draw(wanted, most=document.most, seed=document.seed):
                yield self._framed(identity, self._frame, self._document.label), path
        for number, name in enumerate(excluded):
            if name not in met:
                hint = near_matches(name, met)[:300]
                fail(
                    self._shown,
                    ("exclude", number),
                    f"{quoted(name)} is not among the combined: {hint}",
                )

    def _combinations(self) -> Iterator[tuple[KeyPath, list[str]]]:
        value = self._document.combine
        if value is None:
            return
        nested: list[tuple[KeyPath, list[str]]]
        if value and isinstance(value[0], list):
            nested = [(("combine", n), list(part)) for n, part in enumerate(value)]
        else:
            nested = [(("combine",), [name for name in value if isinstance(name, str)])]
        for path, part in nested:
            if len(part) < 2 or len(set(part)) != len(part):
                fail(self._shown, path, 'must be two or more groups: ["Religion", "Gender"]')
            yield path, part

    def _choice(self, name: str, path: KeyPath) -> tuple[Identity, ...]:
        if name in self._own_groups:
            return self._own_groups[name]
        if name not in groups():
            hint = near_matches(name, [*self._own_groups, *groups()])
            fail(self._shown, path, f"unknown group {quoted(name)}: {hint}")
        return resolve_identities([name])

    def _framed(self, identity: Identity, frame: Frame, label: str | None) -> Identity:
        if identity.kind == "baseline":
            return Identity("", "", frame=frame).baseline
        usual = "{identity} (history)" if frame.placement == "history" else "{identity}"
        name = (label or usual).replace("{identity}", identity.name)
        words = "" if name == identity.name else identity.words or identity.name
        return replace(identity, name=name, words=words, frame=frame)
