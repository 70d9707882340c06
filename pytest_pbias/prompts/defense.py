"""Prompt defenses: named changes of the prompt, asked beside the prompt as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.files.toml_file import Table, Text, fail, parse_toml, read_text, validated
from pytest_pbias.prompts.chat import Message, render_messages
from pytest_pbias.prompts.identity import Frame, Identity, Placement, StatedPlacement


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An earlier exchange that shows the wanted behaviour: what a user said, what was answered."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Defense:
    """A named change of the prompt.

    ``system`` is added to the system message (to the user turn where there is no system role);
    ``before`` and ``after`` stand around the question; ``demonstrations`` are earlier exchanges.
    ``drop_identity`` asks as if nobody had been stated; ``placement`` moves the identity. The
    baseline of a defended cell is defended in the same way, without an identity.
    """

    name: str
    title: str = ""
    system: str = ""
    before: str = ""
    after: str = ""
    demonstrations: tuple[Demonstration, ...] = ()
    drop_identity: bool = False
    placement: StatedPlacement | None = None

    def place(self, identity: Identity) -> Identity:
        """The identity (or baseline) where this defense puts it."""
        if self.placement is None:
            return identity
        if identity.battery:
            return identity if self.placement == "history" else _moved(identity, self.placement)
        moved = replace(identity.frame, placement=self.placement)
        if identity.kind == "baseline":
            return Identity("", "", frame=moved).baseline
        return replace(identity, frame=moved)


def _moved(identity: Identity, placement: StatedPlacement) -> Identity:
    """An identity of a battery with what stood in a system message in ``placement``."""

    def move(frame: Frame) -> Frame:
        return frame if frame.placement == "history" else replace(frame, placement=placement)

    wordings = tuple(map(move, identity.wordings))
    return replace(
        identity, frame=identity.frame if wordings else move(identity.frame), wordings=wordings
    )


NO_DEFENSE = Defense("none", "the prompt as it is")


def defense_to_plain(defense: Defense) -> dict[str, Any]:
    """Every field as JSON; :func:`defense_from_plain` reads it back."""
    return asdict(defense)


def defense_from_plain(plain: Mapping[str, Any]) -> Defense:
    """The defense that :func:`defense_to_plain` wrote."""
    shown = tuple(Demonstration(**pair) for pair in plain["demonstrations"])
    return Defense(**{**plain, "demonstrations": shown})


def render_defended(
    identity: Identity, question: str, placement: Placement, defense: Defense
) -> tuple[Message, ...]:
    """Return the chat that states ``identity`` and asks ``question`` under ``defense``.

    Without any change by the defense the chat is that of
    :func:`~pytest_pbias.prompts.render_messages`, so that its answers are shared.
    """
    placed = defense.place(identity)
    asker = placed.baseline if defense.drop_identity else placed
    question = "\n\n".join(filter(None, (defense.before, question, defense.after)))
    *earlier, asked = render_messages(asker, question, placement)
    for shown in defense.demonstrations:
        earlier.append({"role": "user", "content": shown.user})
        earlier.append({"role": "assistant", "content": shown.assistant})
    return _with_system([*earlier, asked], defense.system, placement)


def _with_system(messages: list[Message], text: str, placement: Placement) -> tuple[Message, ...]:
    """Add ``text`` where the model takes instructions: the user turn has to do without system."""
    if not text:
        return tuple(messages)
    *earlier, asked = messages
    if earlier and earlier[0]["role"] == "system":
        first = earlier[0]["content"]
        return ({"role": "system", "content": f"{first} {text}"}, *earlier[1:], asked)
    if placement == "user":
        return (*earlier, {"role": "user", "content": f"{text}\n\n{asked['content']}"})
    return ({"role": "system", "content": text}, *earlier, asked)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@cache
def shipped_defenses() -> Mapping[str, Defense]:
    """Name -> defense, ``none`` first."""
    text = files("pytest_pbias.prompts").joinpath("defenses.toml").read_text("utf-8")
    return {NO_DEFENSE.name: NO_DEFENSE} | _parse(text, "defenses.toml")


def resolve_defenses(wanted: str, locate: Callable[[str], Path] = Path) -> tuple[Defense, ...]:
    """Read a list of names and files, such as ``ignore-identity,mine.toml``.

    A ``.toml`` file gives every defense in it; a ``.txt`` or ``.md`` file one system instruction,
    named after the file. Where several are asked, ``none`` is asked as well: without it there is
    nothing to compare them with. ``locate`` turns the name of a file into its path.

    Raises:
        ConfigurationError: a name is unknown or stands for two things, or a file is malformed.
    """
    found: dict[str, Defense] = {}
    words = [word.strip() for word in wanted.split(",")]
    if any(words) and not all(words):
        raise ConfigurationError(
            f"no defense is named at one place of {quoted(wanted)}", setting="defense"
        )
    for word in filter(None, words):
        for defense in _resolve_one(word, locate):
            if found.setdefault(defense.name, defense) != defense:
                raise ConfigurationError(
                    f"two different defenses are called {defense.name!r}; rename one of them",
                    setting="defense",
                )
    if not found:
        raise ConfigurationError(
            f"{wanted!r} names no defense; known: {', '.join(shipped_defenses())}",
            setting="defense",
        )
    if len(found) > 1:
        found = {NO_DEFENSE.name: NO_DEFENSE} | found
    return tuple(found.values())


def _resolve_one(word: str, locate: Callable[[str], Path]) -> tuple[Defense, ...]:
    shipped = shipped_defenses()
    if word in shipped:
        return (shipped[word],)
    suffix = Path(word).suffix.lower()
    if suffix not in (".toml", ".txt", ".md"):
        raise ConfigurationError(
            f"unknown defense {quoted(word)}: {near_matches(word, shipped)} "
            "(own ones go into a .toml file, or one instruction into a .txt file)",
            setting="defense",
        )
    text = read_text(locate(word), word)
    if suffix == ".toml":
        return tuple(_parse(text, word).values())
    if not text.strip():
        raise ConfigurationError(f"{word}: the file is empty", setting="defense")
    return (Defense(_checked_name(Path(word).stem, word), system=text.strip()),)


class _DemonstrationTable(Table):
    user: Text
    assistant: Text


class _DefenseTable(Table):
    """One [defenses.NAME] table."""

    title: Text | None = None
    system: Text | None = None
    before: Text | None = None
    after: Text | None = None
    drop_identity: bool = False
    placement: StatedPlacement | None = None
    demonstrations: list[_DemonstrationTable] = Field([])


class DefenseDocument(Table):
    """A file of prompt defenses: one [defenses.NAME] table for each."""

    defenses: Annotated[dict[str, _DefenseTable], Field(min_length=1)]


def _parse(text: str, shown: str) -> dict[str, Defense]:
    document = validated(DefenseDocument, parse_toml(text, shown), shown)
    return {
        _checked_name(name, shown): _defense(name, table, shown)
        for name, table in document.defenses.items()
    }


def _checked_name(name: str, shown: str) -> str:
    if name == NO_DEFENSE.name or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{shown}: {name!r} cannot name a defense: use letters, digits, '-' and '_', "
            "and not 'none'"
        )
    return name


def _defense(name: str, table: _DefenseTable, shown: str) -> Defense:
    given = table.model_dump(exclude_defaults=True, exclude={"demonstrations"})
    if not given.keys() - {"title"} and not table.demonstrations:
        known = ", ".join(key for key in _DefenseTable.model_fields if key != "title")
        fail(shown, ("defenses", name), f"changes nothing; set one of {known}")
    texts = {key: value.strip() for key, value in given.items() if isinstance(value, str)}
    return Defense(
        name,
        **{**given, **texts},
        demonstrations=tuple(
            Demonstration(pair.user, pair.assistant) for pair in table.demonstrations
        ),
    )
