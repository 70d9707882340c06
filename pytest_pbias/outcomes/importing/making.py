"""From logs to an outcome table: read, named, paired, graded, with what is known of them."""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from pytest_pbias.errors import ConfigurationError, DataError, inert, quoted
from pytest_pbias.grading import Judging, cannot_grade
from pytest_pbias.models.chat import TOO_MANY_TOKENS, Sampling
from pytest_pbias.outcomes.facts import ImportedFrom, RunFacts
from pytest_pbias.outcomes.importing.logged import AnswerLog, sha256_of
from pytest_pbias.outcomes.importing.mapping import (
    Mapped,
    NamedAnswer,
    Source,
    name_answers,
    who_asked,
)
from pytest_pbias.outcomes.importing.pairs import Paired, pair_answers
from pytest_pbias.outcomes.importing.scores import chosen_score, grade_of, reference_of
from pytest_pbias.outcomes.importing.sources import read_log
from pytest_pbias.outcomes.regrading import DataOptions, regrade
from pytest_pbias.outcomes.schema import SAMPLING_COLUMNS
from pytest_pbias.outcomes.table import OutcomeTable
from pytest_pbias.prompts import Identity
from pytest_pbias.tasks.base import Axis, Item, Task
from pytest_pbias.tasks.registry import TASKS, resolve_task

_LONGEST_REASON = 200
_MOST_SEED = 2**63
_NOT_TOLD = "where the identity stands in the conversation"


@dataclass(frozen=True, slots=True)
class _Scale:
    """What a task's scores mean: its axis, and the rate that guessing reaches."""

    axis: Axis
    floor: float


def import_logs(
    sources: Sequence[Source], mapped: Mapped, known: Mapping[str, Task] = TASKS
) -> OutcomeTable:
    """The outcome table of the answers in these logs; ``known`` are the tasks to grade as.

    Raises:
        PbiasError: a log cannot be read, its answers cannot be named, paired or graded; nothing is
            written anyway.
    """
    logs = [(source, read_log(source.path)) for source in sources]
    named = name_answers(logs, mapped)
    identities = who_asked(named, mapped)
    paired = pair_answers(named, identities)
    kept = [one for one, _ in paired.answers]
    _require_one_model(kept)
    own = None if mapped.grade_as is None else resolve_task(mapped.grade_as, known)
    items = _items(kept, own)
    tasks = {task: _scale(task, kept, mapped, own) for task in items}
    read_as = _read_as(kept, mapped)
    table = _table(paired, identities, tasks, mapped)
    facts = RunFacts(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        partial="; ".join(dict.fromkeys(log.partial for _, log in logs if log.partial)) or None,
        notes=_different_sampling(kept),
        imported=ImportedFrom(
            harness=", ".join(dict.fromkeys(log.harness for _, log in logs)),
            versions=_distinct(log.version for _, log in logs),
            files=_hashes(log for _, log in logs),
            dates=_distinct(log.created for _, log in logs),
            read_as=read_as,
            left_out=paired.left_out,
            unknown=_unknown(kept, table),
            graded_as={} if own is None else dict.fromkeys(items, own.name),
        ),
    )
    table = table.with_items(items).with_info(facts)
    if own is None:
        return table
    if reason := cannot_grade(own):
        raise ConfigurationError(f"{own.name!r} cannot be graded here: {reason}")
    return regrade(table, DataOptions(tasks=known), Judging())[0]


def _hashes(logs: Iterable[AnswerLog]) -> dict[str, str]:
    """The SHA-256 of each log by its name, with the folder's where two have the same."""
    found: dict[str, str] = {}
    for log in logs:
        path = log.path.absolute()
        names = [path.name, f"{path.parent.name}/{path.name}"]
        name = next((one for one in names if one not in found), f"{names[1]} ({len(found) + 1})")
        found[name] = sha256_of(path)
    return found


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def _model_of(one: NamedAnswer) -> str:
    return one.answer.model or one.log.model


def _require_one_model(kept: Sequence[NamedAnswer]) -> None:
    """Refuse to call a difference of models one of identities.

    Raises:
        DataError: the answers are of several.
    """
    first: dict[str, NamedAnswer] = {}
    for one in kept:
        first.setdefault(_model_of(one), one)
    if len(first) > 1:
        (name, one), (other, another) = list(first.items())[:2]
        raise DataError(
            f"{another.answer.place}: is of the model {quoted(other)}, {one.answer.place} of "
            f"{quoted(name)}: import one model at a time"
        )


def _items(kept: Sequence[NamedAnswer], own: Task | None) -> dict[str, dict[str, Item]]:
    """What was asked, by task and id: the baseline's prompt, and what a grader needs."""
    items: dict[str, dict[str, Item]] = {}
    for one in kept:
        of_task = items.setdefault(one.task, {})
        if one.item not in of_task:
            reference = {} if own is None else reference_of(one, own)
            prompt = one.answer.prompt
            of_task[one.item] = Item(one.item, one.cluster or one.item, prompt, reference)
    return items


def _scale(task: str, kept: Sequence[NamedAnswer], mapped: Mapped, own: Task | None) -> _Scale:
    axis = mapped.axis or (None if own is None else own.axis)
    if axis is None:
        raise ConfigurationError(
            f"say what a score of {quoted(task)} is about: utility or safety", setting="axis"
        )
    floor = mapped.floor
    if floor is None:
        sizes = [len(one.choices) for one in kept if one.task == task and _listed(one.choices)]
        if len(sizes) == sum(one.task == task for one in kept):
            floor = sum(1 / size for size in sizes) / len(sizes)
        elif own is not None:
            floor = own.floor
    if floor is None:
        raise ConfigurationError(
            f"say what rate guessing reaches in {quoted(task)}: 0.25 with four choices, 0 where "
            "answers are open",
            setting="floor",
        )
    return _Scale(axis, floor)


def _listed(choices: object) -> bool:
    return isinstance(choices, list) and len(choices) > 1


def _table(
    paired: Paired,
    identities: Mapping[str, Identity],
    tasks: Mapping[str, _Scale],
    mapped: Mapped,
) -> OutcomeTable:
    kept = [one for one, _ in paired.answers]
    scored = {} if mapped.grade_as is not None else chosen_score(kept, mapped)
    columns: dict[str, list[Any]] = {}
    hashes = {task: _content_hash(kept, task) for task in tasks}
    for one, repeat in paired.answers:
        row = _row(one, repeat, identities[one.identity], tasks[one.task], hashes)
        row |= _scores(one, scored, tasks[one.task].axis, mapped)
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    now = datetime.datetime.now(datetime.UTC)
    constants = {"run_id": f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"}
    return OutcomeTable.from_columns(columns, constants)


def _row(
    one: NamedAnswer,
    repeat: int,
    identity: Identity,
    scale: _Scale,
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    answer, log = one.answer, one.log
    return {
        "model": _model_of(one) or None,
        "task": one.task,
        "axis": scale.axis,
        "floor": scale.floor,
        "data_revision": log.revision or None,
        "data_hash": hashes[one.task],
        "item_id": one.item,
        "cluster": one.cluster or one.item,
        "identity": identity.name,
        "group": identity.group,
        "kind": identity.kind,
        "repeat": repeat,
        **_sampling(log),
        "response": answer.response,
        "reasoning": answer.reasoning or None,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": _count(answer.prompt_tokens),
        "completion_tokens": _count(answer.completion_tokens),
        "reasoning_tokens": _count(answer.reasoning_tokens),
        "latency": answer.latency,
    }


def _scores(
    one: NamedAnswer, scored: Mapping[str, str], axis: Axis, mapped: Mapped
) -> dict[str, Any]:
    """The columns of a grade: the log's, or empty ones where responses are to be graded."""
    reason = inert(one.answer.error)[:_LONGEST_REASON]
    if not scored:
        if not reason and one.answer.response is None:
            reason = "the log has no response to grade"
        grade, judge, version = None, None, None
    else:
        name = scored[one.log.harness]
        judge, version = f"{one.log.harness}: {name}", one.log.version or None
        grade = grade_of(one, name, axis, reverse=mapped.reverse)
        if grade is None:
            reason = reason or f"the log has no score {name} of this answer"
    return {
        "score": None if grade is None else grade.score,
        "label": None if grade is None else grade.label,
        "parsable": None if grade is None else grade.parsable,
        "judge": judge,
        "judge_version": version,
        "error": reason if grade is None and reason else None,
    }


def _sampling(log: AnswerLog) -> dict[str, Any]:
    """Those of the table's sampling parameters that a log tells, as the table's types."""
    types = get_type_hints(Sampling)
    found: dict[str, Any] = {}
    for name in (*SAMPLING_COLUMNS, "seed"):
        kind, value = types.get(name, int), log.sampling.get(name)
        found[name] = None
        if kind is str and isinstance(value, str):
            found[name] = value
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if kind is float and abs(value) < _MOST_SEED:
            found[name] = float(value)
        elif kind is int and abs(value) < (_MOST_SEED if name == "seed" else TOO_MANY_TOKENS):
            found[name] = int(value) if value == int(value) else None
    return found


def _different_sampling(kept: Sequence[NamedAnswer]) -> tuple[str, ...]:
    logs = {id(one.log): one.log for one in kept}.values()
    notes = []
    for name in (*SAMPLING_COLUMNS, "seed"):
        values = dict.fromkeys(_sampling(log)[name] for log in logs)
        if len(values) > 1:
            shown = ", ".join("not told" if one is None else str(one) for one in values)
            notes.append(f"the logs differ in {name}: {shown}")
    return tuple(notes)


def _count(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens < TOO_MANY_TOKENS else None


def _content_hash(kept: Sequence[NamedAnswer], task: str) -> str:
    """A hash of a task's questions and right answers, in whatever order they are."""
    asked = {one.item: one for one in reversed(kept) if one.task == task}
    plain = [
        [name, one.answer.prompt, one.target, one.choices] for name, one in sorted(asked.items())
    ]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _read_as(kept: Sequence[NamedAnswer], mapped: Mapped) -> dict[str, str]:
    log = kept[0].log
    said = {name: mapped.field_of(name, log) for name in ("identity", "item", "cluster")}
    found = {name: path for name, path in said.items() if path is not None}
    found.setdefault("identity", "one for each log")
    found["baseline"] = "no identity" if mapped.baseline is None else mapped.baseline
    if mapped.grade_as is not None:
        return found | {"score": f"our grader of {mapped.grade_as}"}
    scores = dict.fromkeys(chosen_score(kept, mapped).values())
    return found | {"score": ", ".join(scores) + (", reversed" if mapped.reverse else "")}


def _unknown(kept: Sequence[NamedAnswer], table: OutcomeTable) -> tuple[str, ...]:
    """What the table does not know, in words."""
    told = {name for name in table.arrow.column_names if table.arrow.column(name).null_count == 0}
    wanted = {
        "the model": "model" in told,
        "the version of its weights": False,
        "the version of the harness": all(one.log.version for one in kept),
        "the questions": all(one.answer.prompt for one in kept),
        "the responses": "response" in told,
        _NOT_TOLD: False,
        "clusters of items": any(one.cluster for one in kept),
        **{name: name in told for name in ("temperature", "max_tokens", "seed")},
    }
    return tuple(name for name, known in wanted.items() if not known)
