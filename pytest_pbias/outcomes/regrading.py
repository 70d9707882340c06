"""Grades the responses of a saved run again; loads the items that it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import ConfigurationError, DataError, InfrastructureError, quoted
from pytest_pbias.grading import (
    Grade,
    Graded,
    Grader,
    Judging,
    Ungraded,
    cannot_grade,
    needs_judge,
)
from pytest_pbias.grading.cached_grades import cached_grades
from pytest_pbias.grading.no_answer import NO_ANSWER
from pytest_pbias.grading.standing import ProviderRefusals, standing_grade
from pytest_pbias.models.chat import no_answer
from pytest_pbias.outcomes.schema import SCHEMA, grade_to_plain
from pytest_pbias.outcomes.table import OutcomeTable
from pytest_pbias.tasks import TASKS, Item, Task, load_task, resolve_task


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the tasks' data is, as in the run; ``shots`` None: as many as the run noted.

    ``tasks`` are those that there are, by name.
    """

    data_dir: Path | None = None
    shots: int | None = None
    seed: int | None = None
    offline: bool = False
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)


def items_of_run(task: Task, part: OutcomeTable, options: DataOptions) -> dict[str, Item]:
    """The items that a run asked of a task by id, from its data; ``part`` are the task's rows.

    Raises:
        PbiasError: the data is missing, or not what the run asked.
    """
    asked = part.unique("item_id")
    items = part.items(task.name) or _loaded_items(task, part, options)
    lost = [name for name in asked if name not in items]
    if lost:
        raise DataError(
            f"{len(lost)} of {len(asked)} items that the run asked of {task.name!r} are not in "
            f"this data (the first is {lost[0]!r}): give the run's own",
            setting=None if task.source else "data-dir",
        )
    return items


def _loaded_items(task: Task, part: OutcomeTable, options: DataOptions) -> dict[str, Item]:
    info = part.info
    revision = next(iter(part.unique("data_revision")), "")
    data = load_task(
        task,
        data_dir=_data_dir(task, part, revision, options),
        protocol=_protocol(info.protocol or "default"),
        seed=(info.seed or 0) if options.seed is None else options.seed,
        split=revision.partition("#")[2] or None,
        shots=(info.shots or 0) if options.shots is None else options.shots,
        offline=options.offline,
    )
    return {item.id: item for item in data.items}


def grading_tasks(table: OutcomeTable) -> tuple[str, ...]:
    """The names of the tasks by which a run's answers are graded."""
    imported = table.info.imported
    return table.tasks() if imported is None else tuple(imported.graded_as.values())


def task_of_run(name: str, table: OutcomeTable, known: Mapping[str, Task]) -> Task:
    """The task by which a run's answers are graded: of imported ones that which was said.

    ``known`` are the tasks that there are.

    Raises:
        PbiasError: there is none, or imported answers have their log's scores.
    """
    imported = table.info.imported
    if imported is None:
        return resolve_task(name, known)
    if name not in imported.graded_as:
        raise DataError(
            f"{quoted(name)} was imported with the scores of its log: import it "
            "again to be graded, to have its responses graded"
        )
    return replace(resolve_task(imported.graded_as[name], known), name=name)


def _protocol(protocol: str) -> Literal["default", "paper"]:
    if protocol not in ("default", "paper"):
        raise DataError(f"the run has the protocol {protocol!r}, which this version does not know")
    return cast("Literal['default', 'paper']", protocol)


def _data_dir(task: Task, part: OutcomeTable, revision: str, options: DataOptions) -> Path | None:
    """The folder given, that of the embedded model where it was asked, or None for the hub.

    A task of the user's own knows where its data is.
    """
    if task.source:
        return None
    if options.data_dir is not None:
        if not options.data_dir.is_dir():
            raise ConfigurationError(f"there is no folder {options.data_dir}", setting="data-dir")
        return options.data_dir
    if "embedded" in part.unique("model"):
        from pytest_pbias.models.embedded import data_dir

        return data_dir()
    if revision.partition("#")[0] == "local":
        raise ConfigurationError(
            f"the run read {task.name!r} from a local folder: say where it is", setting="data-dir"
        )
    return None


_GRADED = ("score", "label", "parsable", "judge", "judge_version")

_WRITTEN = (*_GRADED, "other_grades", "error")

UNPARSABLE = "unparsable"


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One task before and after: a judge is its name and version.

    The vectors have one entry an answer: its item, its identity, the verdict it had and the one it
    has now: ``yes`` for a score of at least 0.5, ``no`` below, or ``unparsable``. ``changed``
    counts the answers whose label or score changed; where another judge graded them before, those
    whose verdict did.
    """

    task: str
    old_judge: str
    new_judge: str
    items: tuple[str, ...]
    identities: tuple[str, ...]
    old_verdicts: tuple[str, ...]
    new_verdicts: tuple[str, ...]
    changed: int


def regrade(
    table: OutcomeTable, options: DataOptions, judging: Judging, store: Store | None = None
) -> tuple[OutcomeTable, list[TaskChange]]:
    """Grade every stored response with the present grader of its task, or with ``judging``.

    Rows without a response stay as they are. Replies that are no answers, which earlier versions
    scored, lose their grades and are errors, as is an answer over which its grader breaks. Items of
    safety tasks and of XSTest are loaded only for judges that see the question. Grades that are
    dear are kept in ``store``.

    Raises:
        PbiasError: a task is unknown, its data is missing or not what the run asked, or its
            answers cannot be graded on this machine, or a judge failed.
    """
    columns: dict[str, list[Any]] = {name: table.text(name) for name in _WRITTEN}
    tasks = np.asarray(table.text("task"), dtype=np.str_)
    changes = []
    asked = {name: task_of_run(name, table, options.tasks) for name in table.tasks()}
    judging.check(asked.values())
    for name, task in asked.items():
        reason = cannot_grade(task)
        if reason is not None:
            raise InfrastructureError(f"task {name!r} cannot be graded again here: {reason}")
        rows = np.flatnonzero(tasks == name)
        part = OutcomeTable(table.arrow.take(pa.array(rows)))
        blind = needs_judge(task) and not any(
            judge.sees_question for judge in judging.judges_of(task)
        )
        items = (
            {item: Item(item, "", "") for item in part.unique("item_id")}
            if blind
            else items_of_run(task, part, options)
        )
        graded = _Part(part, rows, items)
        graders, stopped = judging.graders(task), judging.provider_refusals
        changes.append(_regrade_task(task, graded, graders, store, columns, stopped))
    arrays = [
        pa.array(columns[field.name], type=field.type)
        if field.name in columns
        else table.arrow.column(field.name)
        for field in SCHEMA
    ]
    arrow = pa.Table.from_arrays(arrays, schema=SCHEMA)
    return OutcomeTable(arrow.replace_schema_metadata(table.arrow.schema.metadata)), changes


@dataclass(frozen=True, slots=True)
class _Part:
    """A task's rows, numbered ``rows`` in the whole table, and its items by id."""

    table: OutcomeTable
    rows: np.ndarray[Any, np.dtype[np.intp]]
    items: Mapping[str, Item]


def _regrade_task(
    task: Task,
    part: _Part,
    graders: Sequence[Grader],
    store: Store | None,
    columns: dict[str, list[Any]],
    provider_refusals: ProviderRefusals,
) -> TaskChange:
    """Grade a task's rows into ``columns``; the first grader's grades are those that count."""
    ids, responses, identities, keys = (
        part.table.text(name) for name in ("item_id", "response", "identity", "request_key")
    )
    finish = part.table.text("finish_reason")
    old: dict[str, list[Any]] = {name: part.table.text(name) for name in _GRADED}
    replied = [n for n, response in enumerate(responses) if response is not None]
    faults = _no_answers(part.table, replied)
    standing = {
        n: standing_grade(task, str(responses[n]), finish[n] or "", provider_refusals)
        for n in replied
        if n not in faults
    }
    # What was told by the question is told no more where the items are not loaded.
    standing |= {
        n: Grade(float(old["score"][n]), NO_ANSWER, bool(old["parsable"][n]))
        for n, grade in standing.items()
        if grade is None and old["label"][n] == NO_ANSWER and not part.items[str(ids[n])].prompt
    }
    to_read = [n for n, grade in standing.items() if grade is None]
    pairs = [(str(ids[n]), str(responses[n])) for n in to_read]
    first, *rest = graders
    read = dict(zip(to_read, _grade_distinct(first, pairs, part.items, store), strict=True))
    _check_judged(first, task, list(read.values()))
    grades = {n: grade for n in replied if (grade := standing.get(n) or read.get(n)) is not None}
    broke = {
        n: f"{grade.reason}; the answer's key is {keys[n] or 'not noted'}"
        if grade.broke
        else grade.reason
        for n, grade in grades.items()
        if isinstance(grade, Ungraded)
    }
    for n, reason in (faults | broke).items():
        for name in (*_WRITTEN[:3], "other_grades"):
            columns[name][int(part.rows[n])] = None
        columns["error"][int(part.rows[n])] = reason
    others = [
        (one, dict(zip(to_read, _grade_distinct(one, pairs, part.items, store), strict=True)))
        for one in rest
    ]
    new_verdicts, changed = [], 0
    for n, grade in grades.items():
        row = int(part.rows[n])
        if isinstance(grade, Ungraded):
            continue
        columns["score"][row] = grade.score
        columns["label"][row] = grade.label
        columns["parsable"][row] = grade.parsable
        columns["judge"][row] = first.name
        columns["judge_version"][row] = first.version
        columns["error"][row] = None
        columns["other_grades"][row] = [
            grade_to_plain(one.name, one.version, given[n]) for one, given in others if n in given
        ] or None
        verdict = _verdict(grade.score, grade.parsable)
        new_verdicts.append(verdict)
        if old["judge"][n] == first.name:
            changed += (old["label"][n], old["score"][n]) != (grade.label, grade.score)
        else:  # each judge has labels of its own
            changed += _verdict(old["score"][n], old["parsable"][n]) != verdict
    answered = [n for n in grades if n not in broke]
    judges = {f"{old['judge'][n] or 'unknown'} {old['judge_version'][n] or '?'}" for n in answered}
    return TaskChange(
        task=task.name,
        old_judge=", ".join(sorted(judges)) or "none",
        new_judge=f"{first.name} {first.version}",
        items=tuple(str(ids[n]) for n in answered),
        identities=tuple(str(identities[n]) for n in answered),
        old_verdicts=tuple(_verdict(old["score"][n], old["parsable"][n]) for n in answered),
        new_verdicts=tuple(new_verdicts),
        changed=changed,
    )


def _no_answers(table: OutcomeTable, replied: Sequence[int]) -> dict[int, str]:
    """Of rows with a reply those that hold no answer, and why."""
    texts, finish, reasoning = map(table.text, ("response", "finish_reason", "reasoning"))
    tokens = table.arrow.column("reasoning_tokens").to_pylist()
    found = {
        n: no_answer(str(texts[n]), finish[n] or "", thought=bool(reasoning[n] or tokens[n]))
        for n in replied
    }
    return {n: why for n, why in found.items() if why is not None}


def _check_judged(grader: Grader, task: Task, grades: Sequence[Graded]) -> None:
    """See that a grader judged: that it broke over a few of the answers is the answers' error.

    Raises:
        InfrastructureError: it could not judge one of them, or broke over all.
    """
    failed = [grade for grade in grades if isinstance(grade, Ungraded)]
    serious = [one for one in failed if not one.broke] or failed * (len(failed) == len(grades))
    if serious:
        raise InfrastructureError(f"{grader.name} could not judge {task.name}: {serious[0].reason}")


def _verdict(score: float | None, parsable: bool | None) -> str:
    if parsable is False or score is None:
        return UNPARSABLE
    return "yes" if score >= 0.5 else "no"


def _grade_distinct(
    grader: Grader,
    pairs: Sequence[tuple[str, str]],
    items: Mapping[str, Item],
    store: Store | None,
) -> list[Graded]:
    """The grade of each (item id, response); the same answer to an item is graded once."""
    distinct = list(dict.fromkeys(pairs))
    grades = cached_grades(grader, [(items[item], response) for item, response in distinct], store)
    grade_of = dict(zip(distinct, grades, strict=True))
    return [grade_of[pair] for pair in pairs]
