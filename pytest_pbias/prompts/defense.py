"""Prompt defenses: named changes of the prompt, asked beside the prompt as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError, near_matches, quoted
from pytest_pbias.prompts.chat import Message, render_messages
from pytest_pbias.prompts.identity import PLACEMENTS, Identity, Placement


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
    placement: Placement | None = None

    def place(self, identity: Identity) -> Identity:
        """The identity (or baseline) where this defence puts it."""
        if self.placement is None:
            return identity
        moved = replace(identity.frame, placement=self.placement)
        if identity.kind == "baseline":
            return Identity("", "", frame=moved).baseline
        return replace(identity, frame=moved)


NO_DEFENSE = Defense("none", "the prompt as it is")


def defense_to_plain(defense: Defense) -> dict[str, Any]:
    """Every field as JSON; :func:`defense_from_plain` reads it back."""
    return asdict(defense)


def defense_from_plain(plain: Mapping[str, Any]) -> Defense:
    """The defence that :func:`defense_to_plain` wrote."""
    shown = tuple(Demonstration(**pair) for pair in plain["demonstrations"])
    return Defense(**{**plain, "demonstrations": shown})


def render_defended(
    identity: Identity, question: str, placement: Placement, defense: Defense
) -> tuple[Message, ...]:
    """Return the chat that states ``identity`` and asks ``question`` under ``defense``.

    Without any change by the defence the chat is that of
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

_TEXTS = ("title", "system", "before", "after")

_FIELDS = (*_TEXTS, "drop_identity", "placement", "demonstrations")


@cache
def shipped_defenses() -> Mapping[str, Defense]:
    """Name -> defence, ``none`` first."""
    text = files("pytest_pbias.prompts").joinpath("defenses.toml").read_text("utf-8")
    return {NO_DEFENSE.name: NO_DEFENSE} | _parse(text, "defenses.toml")


def resolve_defenses(wanted: str, locate: Callable[[str], Path] = Path) -> tuple[Defense, ...]:
    """Read a list of names and files, such as ``ignore-identity,mine.toml``.

    A ``.toml`` file gives every defence in it; a ``.txt`` or ``.md`` file one system instruction,
    named after the file. Where several are asked, ``none`` is asked as well: without it there is
    nothing to compare them with. ``locate`` turns the name of a file into its path.

    Raises:
        ConfigurationError: a name is unknown or stands for two things, or a file is malformed.
    """
    found: dict[str, Defense] = {}
    for word in filter(None, (part.strip() for part in wanted.split(","))):
        for defense in _resolve_one(word, locate):
            if found.setdefault(defense.name, defense) != defense:
                raise ConfigurationError(
                    f"two different defences are called {defense.name!r}; rename one of them",
                    setting="defense",
                )
    if not found:
        raise ConfigurationError(
            f"{wanted!r} names no defence; known: {', '.join(shipped_defenses())}",
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
            f"unknown defence {quoted(word)}: {near_matches(word, shipped)} "
            "(own ones go into a .toml file, or one instruction into a .txt file)",
            setting="defense",
        )
    path = locate(word)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigurationError(f"{word}: {reason}", setting="defense") from None
    if suffix == ".toml":
        return tuple(_parse(text, word).values())
    if not text.strip():
        raise ConfigurationError(f"{word}: the file is empty", setting="defense")
    return (Defense(_checked_name(path.stem, word), system=text.strip()),)


def _parse(text: str, source: str) -> dict[str, Defense]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: not valid TOML: {error}") from None
    entries = raw.get("defenses")
    if not isinstance(entries, dict) or not entries or set(raw) != {"defenses"}:
        raise ConfigurationError(f"{source}: write one [defenses.NAME] table for each defence")
    return {
        _checked_name(name, source): _defense(name, entry, source)
        for name, entry in entries.items()
    }


def _checked_name(name: str, source: str) -> str:
    if name == NO_DEFENSE.name or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{source}: {name!r} cannot name a defence: use letters, digits, '-' and '_', "
            "and not 'none'"
        )
    return name


def _defense(name: str, entry: Any, source: str) -> Defense:
    where = f"{source}: defence {name!r}"
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where}: is not a table; write [defenses.{name}]")
    for key, value in entry.items():
        if key not in _FIELDS:
            raise ConfigurationError(
                f"{where}: unknown entry {quoted(key)}: {near_matches(key, _FIELDS)}"
            )
        if key in _TEXTS and (not isinstance(value, str) or not value.strip()):
            raise ConfigurationError(f"{where}: {key} must be a non-empty text")
    if not set(entry) - {"title"}:
        raise ConfigurationError(f"{where}: changes nothing; set one of {', '.join(_FIELDS[1:])}")
    if not isinstance(entry.get("drop_identity", False), bool):
        raise ConfigurationError(f"{where}: drop_identity must be true or false")
    if entry.get("placement") not in (None, *PLACEMENTS):
        raise ConfigurationError(f"{where}: placement must be one of {', '.join(PLACEMENTS)}")
    return Defense(
        name,
        **{key: value.strip() for key, value in entry.items() if key in _TEXTS},
        drop_identity=entry.get("drop_identity", False),
        placement=entry.get("placement"),
        demonstrations=_demonstrations(entry.get("demonstrations", []), where),
    )


def _demonstrations(value: Any, where: str) -> tuple[Demonstration, ...]:
    shape = {"user", "assistant"}
    if not isinstance(value, list) or not all(
        isinstance(pair, dict)
        and set(pair) == shape
        and all(isinstance(text, str) and text.strip() for text in pair.values())
        for pair in value
    ):
        raise ConfigurationError(
            f'{where}: demonstrations must be a list of {{ user = "...", assistant = "..." }}'
        )
    return tuple(Demonstration(pair["user"], pair["assistant"]) for pair in value)
