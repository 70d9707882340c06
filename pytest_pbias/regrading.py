"""Grading the stored responses of a run again, without asking a model anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from pytest_pbias.errors import ConfigurationError, DataError, InfrastructureError
from pytest_pbias.grading import Grade, cannot_grade, grader_for
from pytest_pbias.outcomes import SCHEMA, OutcomeTable
from pytest_pbias.tasks import Item, Task, load_task, resolve_task

_GRADED = ("score", "label", "parsable", "judge", "judge_version")


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One task before and after: a judge is its name and version.

    The vectors have one entry an answer: its item, its identity, the label it had and the one it
    has now; ``changed`` counts the answers whose label or score changed.
    """

    task: str
    old_judge: str
    new_judge: str
    items: tuple[str, ...]
    identities: tuple[str, ...]
    old_labels: tuple[str, ...]
    new_labels: tuple[str, ...]
    changed: int


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the tasks' data is, as in the run; ``shots`` None: as many as the run noted."""

    data_dir: Path | None = None
    shots: int | None = None
    seed: int | None = None
    offline: bool = False


def regrade(table: OutcomeTable, options: DataOptions) -> tuple[OutcomeTable, list[TaskChange]]:
    """Grade every stored response with the present grader of its task.

    Rows without a response stay as they are. Items of safety tasks and of XSTest are not loaded:
    their graders look at the response alone.

    Raises:
        PbiasError: a task is unknown, its data is missing or not what the run asked, or its
            answers cannot be graded on this machine.
    """
    columns: dict[str, list[Any]] = {name: table.text(name) for name in _GRADED}
    tasks = np.asarray(table.text("task"), dtype=np.str_)
    changes = []
    for name in table.tasks():
        task = resolve_task(name)
        reason = cannot_grade(task)
        if reason is not None:
            raise InfrastructureError(f"task {name!r} cannot be graded again here: {reason}")
        rows = np.flatnonzero(tasks == name)
        part = OutcomeTable(table.arrow.take(pa.array(rows)))
        changes.append(_regrade_task(task, part, _items(task, part, options), rows, columns))
    arrays = [
        pa.array(columns[field.name], type=field.type)
        if field.name in columns
        else table.arrow.column(field.name)
        for field in SCHEMA
    ]
    arrow = pa.Table.from_arrays(arrays, schema=SCHEMA)
    return OutcomeTable(arrow.replace_schema_metadata(table.arrow.schema.metadata)), changes


def _regrade_task(
    task: Task,
    part: OutcomeTable,
    items: Mapping[str, Item],
    rows: np.ndarray[Any, np.dtype[np.intp]],
    columns: dict[str, list[Any]],
) -> TaskChange:
    """Grade a task's rows, numbered ``rows`` in the whole table, into ``columns``."""
    grader = grader_for(task)
    ids, responses, identities = (part.text(name) for name in ("item_id", "response", "identity"))
    old: dict[str, list[Any]] = {name: part.text(name) for name in _GRADED}
    answered = [n for n, response in enumerate(responses) if response is not None]
    pairs = [(str(ids[n]), str(responses[n])) for n in answered]
    # Under greedy sampling many identities get the same answer to an item: grade it once.
    distinct = list(dict.fromkeys(pairs))
    grades = grader.grade([(items[item], response) for item, response in distinct])
    grade_of: dict[tuple[str, str], Grade] = dict(zip(distinct, grades, strict=True))
    new_labels, changed = [], 0
    for n, pair in zip(answered, pairs, strict=True):
        grade, row = grade_of[pair], int(rows[n])
        columns["score"][row] = grade.score
        columns["label"][row] = grade.label
        columns["parsable"][row] = grade.parsable
        columns["judge"][row] = grader.name
        columns["judge_version"][row] = grader.version
        new_labels.append(grade.label)
        changed += (old["label"][n], old["score"][n]) != (grade.label, grade.score)
    judges = {f"{old['judge'][n] or 'unknown'} {old['judge_version'][n] or '?'}" for n in answered}
    return TaskChange(
        task=task.name,
        old_judge=", ".join(sorted(judges)) or "none",
        new_judge=f"{grader.name} {grader.version}",
        items=tuple(str(ids[n]) for n in answered),
        identities=tuple(str(identities[n]) for n in answered),
        old_labels=tuple(str(old["label"][n]) for n in answered),
        new_labels=tuple(new_labels),
        changed=changed,
    )


def _items(task: Task, part: OutcomeTable, options: DataOptions) -> dict[str, Item]:
    """The items of a task's rows by id, with references where its grader needs them."""
    asked = part.unique("item_id")
    if task.grader in ("refusal", "compliance"):
        return {name: Item(name, "", "") for name in asked}
    info = part.info
    revision = next(iter(part.unique("data_revision")), "")
    data = load_task(
        task,
        data_dir=_data_dir(task, part, revision, options),
        protocol=_protocol(info),
        seed=int(info.get("seed", 0)) if options.seed is None else options.seed,
        split=revision.partition("#")[2] or None,
        shots=int(info.get("shots", 0)) if options.shots is None else options.shots,
        offline=options.offline,
    )
    items = {item.id: item for item in data.items}
    lost = [name for name in asked if name not in items]
    if lost:
        raise DataError(
            f"{len(lost)} of {len(asked)} items that the run asked of {task.name!r} are not in "
            f"this data (the first is {lost[0]!r}): give the run's own with --data-dir"
        )
    return items


def _protocol(info: Mapping[str, Any]) -> Literal["default", "paper"]:
    protocol = info.get("protocol", "default")
    if protocol not in ("default", "paper"):
        raise DataError(f"the run has the protocol {protocol!r}, which this version does not know")
    return cast("Literal['default', 'paper']", protocol)


def _data_dir(task: Task, part: OutcomeTable, revision: str, options: DataOptions) -> Path | None:
    """The folder given, that of the embedded model where it was asked, or None for the hub."""
    if options.data_dir is not None:
        if not options.data_dir.is_dir():
            raise ConfigurationError(f"--data-dir: there is no folder {options.data_dir}")
        return options.data_dir
    if "embedded" in part.unique("model"):
        from pytest_pbias.models.embedded import data_dir

        return data_dir()
    if revision.partition("#")[0] == "local":
        raise ConfigurationError(
            f"the run read {task.name!r} from a local folder: say where it is with --data-dir"
        )
    return None
