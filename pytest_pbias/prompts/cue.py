"""Cues: how an identity is made known, and the batteries of wordings that say it so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

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
from pytest_pbias.prompts.catalogue import resolve_identities
from pytest_pbias.prompts.identity import BASELINE, Frame, Identity

STATED, CHAT = "stated", "chat"
_SAID = (STATED, CHAT)
CUES = (STATED, "name", "profile", "turn", CHAT)
"""The cues that need no file: said outright, three batteries, said in an earlier turn."""
_PLACE = "{identity}"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]+)*")
_TRANSLATION = re.compile(rf"{_NAME.pattern}\.{_LANGUAGE.pattern}")


def _with_place(text: str) -> str:
    if text.count(_PLACE) != 1:
        raise ValueError(f"must hold {_PLACE} once, the place of the wording")
    return text


def _without_place(text: str) -> str:
    if _PLACE in text or "{statement}" in text:
        raise ValueError("takes nothing in braces")
    return text


_Carrier = Annotated[Text, AfterValidator(_with_place)]
_Plain = Annotated[Text, AfterValidator(_without_place)]


class _Form(Table):
    """One [[forms]] table: what stands around a wording, and what the baseline is told instead."""

    system: _Carrier | None = None
    opening: _Carrier | None = None
    reply: _Plain | None = None
    neutral: _Plain | None = None


class _Wording(Table):
    """A wording: a text, or a name with the percentage of its bearers who belong to the group."""

    text: _Plain
    share: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    source: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: object) -> object:
        return {"text": given} if isinstance(given, str) else given


class BatteryDocument(Table):
    """A battery: the wordings in which one cue makes identities known."""

    cue: Text
    language: Text = "en"
    forms: Annotated[list[_Form], Field(min_length=1)]
    sources: dict[str, Text] = Field({})
    texts: Annotated[dict[str, list[_Wording]], Field(min_length=1)]


@dataclass(frozen=True)
class Cue:
    """A cue as it is asked.

    ``wordings`` has for each identity the conversations that make it known. ``stated`` and ``chat``
    have none: they say any identity.
    """

    name: str
    wordings: Mapping[str, tuple[Frame, ...]] = field(default_factory=dict)

    def says(self, identity: Identity) -> bool:
        """Whether the cue makes the identity known: a battery may have no wording for it."""
        return (
            self.name in _SAID
            or identity.kind == "baseline"
            or (identity.words or identity.name) in self.wordings
        )

    def of(self, identity: Identity) -> Identity:
        """The identity (or baseline) as this cue makes it known, under a name that tells the cue.

        Only where the cue :meth:`says` it.
        """
        if self.name == STATED:
            return identity
        if identity.kind == "baseline":
            frame = Frame(placement="history") if self.name == CHAT else Frame()
            wordings = next(iter(self.wordings.values()), ())
            battery = self.name if wordings else ""
            return Identity("", "", frame=frame, battery=battery, wordings=wordings).baseline
        named = replace(
            identity, name=f"{identity.name} ({self.name})", words=identity.words or identity.name
        )
        if self.name == CHAT:
            return replace(named, frame=replace(identity.frame, placement="history"))
        return replace(named, battery=self.name, wordings=self.wordings[named.words])


def person_of(name: str, cue: str) -> str:
    """Whom a name in a table stands for: without the cue that tells it from the stated one."""
    return name.removesuffix(f" ({cue})")


def resolve_cues(wanted: str, locate: Callable[[str], Path] = Path) -> tuple[Cue, ...]:
    """Read a list of cues, such as ``stated,name,profile.de,mine.toml``.

    A cue and a language name a battery of the package, or a file of that name (``profile.de.toml``)
    where it has none. ``locate`` turns the name of a file into its path.

    Raises:
        ConfigurationError: a cue is unknown or stands for two things, or a file is malformed.
    """
    found: dict[str, Cue] = {}
    words = [word.strip() for word in wanted.split(",")]
    if not all(words):
        raise ConfigurationError(
            f"no cue is named at one place of {quoted(wanted)}", setting="cues"
        )
    for word in words:
        cue = _resolve_one(word, locate)
        if found.setdefault(cue.name, cue) != cue:
            raise ConfigurationError(
                f"two different batteries are of the cue {cue.name!r}; ask one at a time",
                setting="cues",
            )
    return tuple(found.values())


def _resolve_one(word: str, locate: Callable[[str], Path]) -> Cue:
    if word in _SAID:
        return Cue(word)
    if word.endswith(".toml"):
        return read_battery(locate(word), word)
    if word in shipped_batteries():
        return shipped_batteries()[word]
    if _TRANSLATION.fullmatch(word):
        path = locate(f"{word}.toml")
        if path.is_file():
            found = read_battery(path, f"{word}.toml")
            if found.name != word:
                raise ConfigurationError(
                    f"{word}.toml is a battery of {quoted(found.name)}, not of {quoted(word)}",
                    setting="cues",
                )
            return found
        raise ConfigurationError(
            f"there is no battery for {quoted(word)}, neither in the package nor as {word}.toml",
            setting="cues",
        )
    raise ConfigurationError(
        f"unknown cue {quoted(word)}: {near_matches(word, CUES)} "
        "(a battery of your own is a .toml file)",
        setting="cues",
    )


@cache
def shipped_batteries() -> Mapping[str, Cue]:
    """Cue -> battery; that of a language other than English is called ``profile.de``."""
    folder = files("pytest_pbias.prompts").joinpath("batteries")
    texts = {one.name: one.read_text("utf-8") for one in folder.iterdir()}
    read = [parse_battery(text, name) for name, text in sorted(texts.items())]
    return {cue.name: cue for cue in read}


def read_battery(path: Path, shown: str | None = None) -> Cue:
    """Read a battery of one's own; ``shown`` names it in errors.

    Raises:
        ConfigurationError: one line with the file and the path in it: what is wrong.
    """
    shown = shown or str(path)
    return parse_battery(read_text(path, shown), shown)


def parse_battery(text: str, shown: str) -> Cue:
    """The cue that a battery is of; ``shown`` names it in errors.

    Raises:
        ConfigurationError: it has no baseline, too few wordings, or is malformed.
    """
    document = validated(BatteryDocument, parse_toml(text, shown), shown)
    if document.cue in _SAID or not _NAME.fullmatch(document.cue):
        fail(shown, ("cue",), f"{quoted(document.cue)} cannot name a battery")
    if not _LANGUAGE.fullmatch(document.language):
        fail(shown, ("language",), f"{quoted(document.language)} is no language such as 'de'")
    for number, form in enumerate(document.forms):
        _check_form(form, shown, ("forms", number))
    for who in document.texts:
        _check_identity(who, shown)
    wordings = {who: _wordings(document, who, shown) for who in document.texts}
    english = document.language == "en"
    return Cue(document.cue if english else f"{document.cue}.{document.language}", wordings)


def _check_form(form: _Form, shown: str, path: KeyPath) -> None:
    if (form.system is None) == (form.opening is None):
        fail(shown, path, "needs either `system` or `opening`, the text with {identity} in it")
    if form.neutral is None:
        fail(shown, path, "has no `neutral`: what is the baseline told in its place?")
    if (form.opening is None) != (form.reply is None):
        fail(shown, path, "`opening` and `reply`, what is answered to it, go together")


def _check_identity(who: str, shown: str) -> None:
    """Refuse a name that no identity has, whom the battery would make known to nobody."""
    path: KeyPath = ("texts", who)
    try:
        found = resolve_identities([who])
    except ConfigurationError as error:
        fail(shown, path, str(error))
    if found == (BASELINE,):
        fail(shown, path, "the baseline is told the `neutral` of each form, and takes no wordings")
    if [one.name for one in found] != [who]:
        names = ", ".join(one.name for one in found)
        fail(shown, path, f"give wordings by the names of identities: {names}")


def _wordings(document: BatteryDocument, who: str, shown: str) -> tuple[Frame, ...]:
    """The conversations that make one identity known: text k in form k, or in the only form."""
    path: KeyPath = ("texts", who)
    entries, forms = document.texts[who], document.forms
    for number, entry in enumerate(entries):
        place = (*path, number)
        if (entry.share is None) != (entry.source is None):
            fail(shown, place, "a `share` needs the `source` that says it, and the other way round")
        if entry.source is not None and entry.source not in document.sources:
            fail(shown, place, f"source {quoted(entry.source)} is not in [sources]")
    texts = [entry.text.strip() for entry in entries]
    if len(set(texts)) < max(2, len(texts)):
        fail(
            shown,
            path,
            "needs at least two wordings, each once: the effect of a single one is not that of "
            "the cue",
        )
    if len(forms) > 1 and len(texts) != len(forms):
        fail(shown, path, f"has {len(texts)} wordings for {len(forms)} forms; give one for each")
    return tuple(_frame(forms[number % len(forms)], text) for number, text in enumerate(texts))


def _frame(form: _Form, text: str) -> Frame:
    neutral = form.neutral or ""
    if form.opening is None:
        system = (form.system or "").replace(_PLACE, "{statement}")
        return Frame(statement=text, system=system, neutral=neutral)
    return Frame(
        statement=text,
        placement="history",
        opening=form.opening.replace(_PLACE, "{statement}"),
        reply=form.reply or "",
        neutral=neutral,
    )
