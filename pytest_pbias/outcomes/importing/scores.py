"""Logged scores as grades in [0, 1], and what our graders need to know of an item."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pytest_pbias.errors import ConfigurationError, DataError, near_matches, quoted
from pytest_pbias.outcomes.importing.logged import look_up
from pytest_pbias.outcomes.importing.mapping import Mapped, NamedAnswer
from pytest_pbias.tasks.base import Axis, Grade, Task

# Inspect's letters, and words for yes and no.
_WORDS = {
    "c": (1.0, True),
    "i": (0.0, True),
    "p": (0.5, True),
    "n": (0.0, False),
    **dict.fromkeys(("true", "yes"), (1.0, True)),
    **dict.fromkeys(("false", "no"), (0.0, True)),
}
_ENDS = {"utility": ("incorrect", "correct"), "safety": ("unsafe", "safe")}
_MOST_NAMES = 12


def chosen_score(named: Sequence[NamedAnswer], mapped: Mapped) -> Mapping[str, str]:
    """The score that counts, by harness: the one named, the format's usual one, or the only one.

    Raises:
        ConfigurationError: it is nowhere, or there are several and none is named.
    """
    known: dict[str, dict[str, None]] = {}
    for one in named:
        known.setdefault(one.log.harness, {}).update(dict.fromkeys(one.answer.scores))
    chosen = {}
    for one in named:
        harness = one.log.harness
        if harness in chosen:
            continue
        names, usual = known[harness], one.log.usual.get("score")
        wanted = mapped.score if mapped.score is not None else usual
        if wanted is not None:
            if all(_is_missing(look_up(other.answer.scores, wanted)) for other in named):
                if wanted in names:
                    raise ConfigurationError(
                        f"no answer has a score: {quoted(wanted)} is empty everywhere; name "
                        "another one, or grade the responses",
                        setting="score",
                    )
                hint = near_matches(wanted, names, most=_MOST_NAMES, rest="and more")
                raise ConfigurationError(
                    f"no answer has a score {quoted(wanted)}: {hint}", setting="score"
                )
            chosen[harness] = wanted
        elif len(names) == 1 and harness != "a table":
            chosen[harness] = next(iter(names))
        else:
            listed = ", ".join(list(names)[:_MOST_NAMES]) or "none"
            raise ConfigurationError(
                f"say which score counts, or grade the responses; {harness} has: {listed}",
                setting="score",
            )
    return chosen


def grade_of(one: NamedAnswer, score: str, axis: Axis, *, reverse: bool) -> Grade | None:
    """The logged score of an answer as a grade; None where it has none.

    Raises:
        DataError: it is no number, or not in [0, 1].
    """
    value = look_up(one.answer.scores, score)
    if _is_missing(value):
        return None
    number, parsable = _number(value, score, one.answer.place)
    if not parsable:
        return Grade(0.0, "no answer", parsable=False)
    number = 1 - number if reverse else number
    low, high = _ENDS[axis]
    return Grade(number, {0.0: low, 1.0: high}.get(number, "partial"))


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _number(value: object, score: str, place: str) -> tuple[float, bool]:
    said = f"{place}: the score {score} is {quoted(value)}"
    if isinstance(value, Mapping):
        inner = ", ".join(map(str, list(value)[:_MOST_NAMES]))
        raise DataError(f"{said}, an object: name one of its parts, {score}.PART ({inner})")
    # A Decimal, as tables from data bases have them; one that is no number at all is NaN.
    number, parsable = float(value) if isinstance(value, Decimal) else value, True
    if isinstance(value, str):
        word = value.strip().casefold()
        if word in _WORDS:
            return _WORDS[word]
        try:
            number = float(value) if value.isascii() else None
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        if isinstance(number, bool):
            return float(number), True
        raise DataError(f"{said}, which is no number")
    if isinstance(number, float) and math.isnan(number):
        raise DataError(f"{said}: leave it empty where there is no score")
    if not 0 <= number <= 1:
        raise DataError(f"{said}, which is not from 0 to 1")
    return float(number), parsable


def reference_of(one: NamedAnswer, task: Task) -> Mapping[str, Any]:
    """What the grader of ``task`` needs to know of an answer's item.

    Raises:
        DataError: the log does not tell it.
    """
    read = _REFERENCES.get(task.grader)
    if read is None:
        raise ConfigurationError(
            f"answers to {task.name!r} are graded by more than a log tells", setting="grade-as"
        )
    return read(one)


def _choice(one: NamedAnswer) -> Mapping[str, Any]:
    choices = one.choices
    if isinstance(choices, Mapping):  # as some data sets have them: texts and labels
        choices = choices.get("text")
    if not isinstance(choices, list) or not all(isinstance(text, str) for text in choices):
        raise DataError(
            f"{one.answer.place}: its choices are {quoted(choices)}, not a list of texts: name the "
            "field that has them",
            setting="choices",
        )
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]
    target = one.target[0] if isinstance(one.target, list) and len(one.target) == 1 else one.target
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(choices):
        return {"choices": choices, "answer": letters[target]}
    text = str(target).strip()
    letter = text.strip("(). ")
    if len(letter) == 1 and letter in letters:
        return {"choices": choices, "answer": letter}
    if choices.count(text) == 1:
        return {"choices": choices, "answer": letters[choices.index(text)]}
    raise DataError(
        f"{one.answer.place}: its target is {quoted(target)}, none of its {len(choices)} choices",
        setting="target",
    )


def _number_target(one: NamedAnswer) -> Mapping[str, Any]:
    text = re.sub(r"[,\s]", "", str(_only(one.target)).rpartition("####")[2])
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{one.answer.place}: its target is {quoted(one.target)}, no number", setting="target"
        )
    return {"answer": number}


def _text_target(one: NamedAnswer) -> Mapping[str, Any]:
    target = _only(one.target)
    if not isinstance(target, str) or not target.strip():
        raise DataError(
            f"{one.answer.place}: its target is {quoted(target)}, not a text", setting="target"
        )
    return {"target": target}


def _text_targets(one: NamedAnswer) -> Mapping[str, Any]:
    targets = one.target if isinstance(one.target, list) else [one.target]
    if not targets or not all(isinstance(text, str) and text.strip() for text in targets):
        raise DataError(
            f"{one.answer.place}: its target is {quoted(one.target)}, neither a text nor texts",
            setting="target",
        )
    return {"answers": targets}


def _only(target: Any) -> Any:
    return target[0] if isinstance(target, list) and len(target) == 1 else target


def _nothing(one: NamedAnswer) -> Mapping[str, Any]:
    return {}


_REFERENCES: dict[str, Callable[[NamedAnswer], Mapping[str, Any]]] = {
    "choice": _choice,
    "number": _number_target,
    "freeform": _text_target,
    "exact": _text_targets,
    "contains": _text_targets,
    "refusal": _nothing,
    "compliance": _nothing,
}
