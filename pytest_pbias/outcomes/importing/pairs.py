"""Which imported answers can be paired with their baseline's, and what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_pbias.errors import DataError, quoted
from pytest_pbias.outcomes.importing.mapping import NamedAnswer
from pytest_pbias.prompts import Identity

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Paired:
    """The answers that are kept, in the order of identities and items, with numbered repeats.

    ``left_out`` says in words what was not kept, and how many answers that is.
    """

    answers: tuple[tuple[NamedAnswer, int], ...]
    left_out: Mapping[str, int]


def pair_answers(named: Sequence[NamedAnswer], identities: Mapping[str, Identity]) -> Paired:
    """Keep the items and repeats that a task was asked under every one of its identities.

    Raises:
        DataError: an answer is there twice, an item is another question under another identity, or
            an identity has no item in common with its baseline.
    """
    by_task: dict[str, list[NamedAnswer]] = {}
    for one in named:
        by_task.setdefault(one.task, []).append(one)
    kept: list[tuple[NamedAnswer, int]] = []
    left_out: Counter[str] = Counter()
    for task, answers in by_task.items():
        _require_single(answers)
        _require_same_questions(answers)
        kept += _pair_task(task, answers, identities, left_out)
    return Paired(tuple(kept), dict(left_out))


def _require_single(answers: Sequence[NamedAnswer]) -> None:
    seen: dict[tuple[str, str, str], NamedAnswer] = {}
    for one in answers:
        first = seen.setdefault((one.identity, one.item, one.repeat), one)
        if first is not one:
            who = quoted(one.identity) if one.identity else "nobody"
            raise DataError(
                f"{one.answer.place}: item {quoted(one.item)} under {who} is there twice; "
                f"see {first.answer.place}"
            )


def _require_same_questions(answers: Sequence[NamedAnswer]) -> None:
    first: dict[str, NamedAnswer] = {}
    for one in answers:
        before = first.setdefault(one.item, one)
        for name in ("target", "choices", "cluster"):
            if getattr(one, name) != getattr(before, name):
                raise DataError(
                    f"{one.answer.place}: item {quoted(one.item)} has another {name} than in "
                    f"{before.answer.place}: it is not the same question"
                )


def _pair_task(
    task: str,
    answers: Sequence[NamedAnswer],
    identities: Mapping[str, Identity],
    left_out: Counter[str],
) -> list[tuple[NamedAnswer, int]]:
    asked: dict[str, dict[tuple[str, str], NamedAnswer]] = {}
    for one in answers:
        asked.setdefault(one.identity, {})[one.item, one.repeat] = one
    baseline = next((name for name in asked if identities[name].kind == "baseline"), None)
    if baseline is None:
        raise DataError(f"{quoted(task)} was not asked without an identity: it has no baseline")
    if len(asked) == 1:
        raise DataError(f"{quoted(task)} was asked under no identity: there is nobody to compare")
    items = {name: dict.fromkeys(item for item, _ in found) for name, found in asked.items()}
    for name, found in items.items():
        if found.keys().isdisjoint(items[baseline]):
            raise DataError(
                f"no item of {quoted(task)} was asked both under {quoted(name)} and the baseline: "
                "nothing can be paired (the field that names the item may be another)",
                setting="item",
            )
    repeats = set.intersection(*({repeat for _, repeat in found} for found in asked.values()))
    numbers = {repeat: number for number, repeat in enumerate(sorted(repeats))}
    common = [
        item
        for item in items[baseline]
        if all((item, repeat) in found for found in asked.values() for repeat in numbers)
    ]
    if not common or not numbers:
        few = _counts(items, identities)
        raise DataError(f"no item of {quoted(task)} was asked under every identity: {few}")
    kept = set(common)
    for one in answers:
        if one.repeat not in numbers:
            left_out[f"{task}: a repeat that not every identity has"] += 1
        elif one.item not in kept:
            left_out[f"{task}: an item that was not asked under every identity"] += 1
    order = [baseline, *(name for name in asked if name != baseline)]
    return [
        (asked[name][item, repeat], number)
        for name in order
        for item in common
        for repeat, number in numbers.items()
    ]


def _counts(items: Mapping[str, Mapping[str, None]], identities: Mapping[str, Identity]) -> str:
    fewest = sorted(items, key=lambda name: len(items[name]))[:_MOST_NAMED]
    return ", ".join(f"{identities[name].name} has {len(items[name]):,}" for name in fewest)
