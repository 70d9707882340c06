"""What users say of a log: which field is who asked, which is the item, which score counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError, DataError, near_matches
from pytest_pbias.outcomes.importing.logged import (
    AnswerLog,
    LoggedAnswer,
    as_name,
    look_up,
    name_at,
    require_field,
)
from pytest_pbias.prompts import BASELINE, Identity, default_identities
from pytest_pbias.tasks.base import Axis

ITEM = "item"
IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Source:
    """A log, and the identity that all its answers were asked under (empty: see the mapping)."""

    path: Path
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """How a log is read: names of fields, as ``metadata.persona``; None is the format's usual one.

    ``baseline`` is the identity that states nobody; without it that is who has no identity at all.
    ``score`` is the scorer or metric that counts, ``grade_as`` the task by whose grader responses
    are graded instead. ``floor`` is the rate in [0, 1] that guessing reaches. ``reverse``: a score
    of 1 is the bad end. ``task`` is what the task is called where the log says otherwise. Of all
    answers those count that have the values of ``where`` in these fields.
    """

    identity: str | None = None
    baseline: str | None = None
    controls: tuple[str, ...] = ()
    item: str | None = None
    cluster: str | None = None
    group: str | None = None
    score: str | None = None
    target: str | None = None
    choices: str | None = None
    task: str | None = None
    axis: Axis | None = None
    floor: float | None = None
    grade_as: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    reverse: bool = False

    def field_of(self, name: str, log: AnswerLog) -> str | None:
        """The field that is this in a log, or None."""
        said: str | None = getattr(self, name)
        return said if said is not None else log.usual.get(name)


@dataclass(frozen=True, slots=True)
class NamedAnswer:
    """An answer with its place in the table: task, item, who asked, and which asking."""

    answer: LoggedAnswer
    log: AnswerLog
    task: str
    item: str
    identity: str
    repeat: str
    cluster: str = ""
    group: str = ""
    target: Any = None
    choices: Any = None


def name_answers(logs: Sequence[tuple[Source, AnswerLog]], mapped: Mapped) -> list[NamedAnswer]:
    """Every answer by its names.

    Raises:
        PbiasError: a field is nowhere, or is no name, or nothing says who asked.
    """
    every = [answer for _, log in logs for answer in log.answers]
    for name in ("identity", "item", "cluster", "group", "target", "choices"):
        if (path := getattr(mapped, name)) is not None:
            require_field(every, path, name)
    for path in mapped.where:
        require_field(every, path, "where")
    named = []
    for source, log in logs:
        paths = {
            name: mapped.field_of(name, log)
            for name in (ITEM, IDENTITY, "cluster", "group", "target", "choices")
        }
        if paths[ITEM] is None:
            raise ConfigurationError(
                f"{log.path}: nothing says which item an answer is of: name the field or column",
                setting=ITEM,
            )
        if paths[IDENTITY] is None and not source.identity:
            raise ConfigurationError(
                f"{log.path}: nothing says who asked: name the field or column, or give one log "
                "for each identity, as 'a nurse=FILE'",
                setting=IDENTITY,
            )
        named += [
            _named(answer, log, source, mapped, paths)
            for answer in log.answers
            if all(name_at(answer, path, "where") == value for path, value in mapped.where.items())
        ]
    if not named:
        wanted = ", ".join(f"{path} = {value}" for path, value in mapped.where.items())
        raise ConfigurationError(f"no answer has {wanted}", setting="where")
    return named


def _named(
    answer: LoggedAnswer,
    log: AnswerLog,
    source: Source,
    mapped: Mapped,
    paths: Mapping[str, str | None],
) -> NamedAnswer:
    def name(what: str) -> str:
        path = paths[what]
        return "" if path is None else name_at(answer, path, what)

    def value(what: str) -> Any:
        path = paths[what]
        return None if path is None else look_up(answer.fields, path)

    item = name(ITEM)
    if not item:
        raise DataError(f"{answer.place}: {paths[ITEM]} is empty, which names the item")
    return NamedAnswer(
        answer=answer,
        log=log,
        task=as_name(mapped.task or answer.task, "the task", answer.place),
        item=item,
        identity=source.identity or name(IDENTITY),
        repeat=answer.repeat,
        cluster=name("cluster"),
        group=name("group"),
        target=value("target"),
        choices=value("choices"),
    )


def who_asked(named: Iterable[NamedAnswer], mapped: Mapped) -> dict[str, Identity]:
    """The identity behind each name, the baseline under the table's own.

    Names of the catalogue have its groups, and its controls are controls; other groups are those
    that the log tells, or ``Custom``.

    Raises:
        ConfigurationError: nobody is the baseline or a control, or another has the table's name
            for the baseline.
    """
    groups: dict[str, str] = {}
    for one in named:
        groups[one.identity] = groups.get(one.identity) or one.group
    baseline = "" if mapped.baseline is None else as_name(mapped.baseline, "it", "baseline")
    shown = [name for name in groups if name]
    if baseline not in groups:
        hint = near_matches(baseline, shown, most=12, rest="and more")
        said = f"nobody is called {baseline!r}" if baseline else "every answer has an identity"
        raise ConfigurationError(f"{said}: say who is the baseline; {hint}", setting="baseline")
    if baseline and "" in groups:
        first = next(one.answer.place for one in named if not one.identity)
        raise ConfigurationError(
            f"{first}: has no identity, and {baseline!r} is the baseline", setting=IDENTITY
        )
    if baseline != BASELINE.name and BASELINE.name in groups:
        raise ConfigurationError(
            f"an identity is called {BASELINE.name!r}, and {baseline or 'no identity'!r} is the "
            "baseline",
            setting="baseline",
        )
    for control in mapped.controls:
        if control not in groups or control == baseline:
            hint = near_matches(control, shown, most=12, rest="and more")
            raise ConfigurationError(f"nobody is called {control!r}: {hint}", setting="control")
    known = {identity.name: identity for identity in default_identities()}
    found = {}
    for name, group in groups.items():
        usual = known.get(name)
        if name == baseline:
            found[name] = BASELINE
        elif name in mapped.controls or (usual is not None and usual.kind == "control"):
            found[name] = Identity(name, group or "Control", "control")
        else:
            found[name] = Identity(name, group or (usual.group if usual else "Custom"))
    if len(found) == 1:
        raise ConfigurationError(
            f"only {baseline or 'the baseline'!r} was asked: there is nobody to compare",
            setting=IDENTITY,
        )
    return found
