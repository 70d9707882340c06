"""From responses to outcomes: a cell's responses are read, graded, and become table rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.collecting.plan import Cell, Protocol, Question, questions_of
from pytest_pbias.collecting.records import Response
from pytest_pbias.collecting.store import GradeRecord, Store, grade_key
from pytest_pbias.grading import Grade, Grader, grader_for
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.tasks import Item, TaskData

# Graders whose work is dear enough to be kept in the store.
_KEPT_GRADES = frozenset({"code"})


@dataclass(frozen=True, slots=True)
class Measurement:
    """A cell's questions with what came back; ``None`` where a response is missing."""

    cell: Cell
    data: TaskData
    protocol: Protocol
    questions: tuple[Question, ...]
    responses: tuple[Response | None, ...]
    grades: tuple[Grade | None, ...]
    errors: tuple[str | None, ...]
    judge: str
    judge_version: str

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores in [0, 1] of shape (items, runs), NaN where a response is missing."""
        flat = [np.nan if grade is None else grade.score for grade in self.grades]
        return np.asarray(flat, dtype=np.float64).reshape(-1, self.protocol.runs)

    @property
    def clusters(self) -> npt.NDArray[np.str_]:
        """The items' clusters, shape (items,)."""
        return np.asarray([item.cluster for item in self.data.items], dtype=np.str_)

    @property
    def missing(self) -> int:
        """How many responses are missing."""
        return sum(response is None for response in self.responses)

    @property
    def unparsable(self) -> int:
        """How many responses no answer could be read off."""
        return sum(grade is not None and not grade.parsable for grade in self.grades)


def measure_cell(
    cell: Cell,
    data: TaskData,
    protocol: Protocol,
    store: Store,
    failures: Mapping[str, str],
) -> Measurement:
    """Read a cell's responses from the store and grade them.

    ``failures`` gives the reason for each request key that finally failed.

    Raises:
        InfrastructureError: grading could not be done.
    """
    questions = tuple(questions_of(cell, data, protocol))
    found = store.get_many([question.request.key for question in questions])
    responses = tuple(found.get(question.request.key) for question in questions)
    grader = grader_for(cell.task)
    answered = [
        (question.item, response.text)
        for question, response in zip(questions, responses, strict=True)
        if response is not None
    ]
    graded = iter(_grade(cell, grader, answered, store))
    return Measurement(
        cell=cell,
        data=data,
        protocol=protocol,
        questions=questions,
        responses=responses,
        grades=tuple(None if response is None else next(graded) for response in responses),
        errors=tuple(
            failures.get(question.request.key, "not asked") if response is None else None
            for question, response in zip(questions, responses, strict=True)
        ),
        judge=grader.name,
        judge_version=grader.version,
    )


def _grade(
    cell: Cell, grader: Grader, pairs: Sequence[tuple[Item, str]], store: Store
) -> list[Grade]:
    if cell.task.grader not in _KEPT_GRADES:
        return grader.grade(pairs)
    keys = [grade_key(grader.name, grader.version, item.id, text) for item, text in pairs]
    kept = store.get_grades(list(dict.fromkeys(keys)))
    fresh: dict[str, tuple[Item, str]] = {
        key: pair for key, pair in zip(keys, pairs, strict=True) if key not in kept
    }
    made = dict(zip(fresh, grader.grade(list(fresh.values())), strict=True)) if fresh else {}
    if made:
        store.put_grades(
            {
                key: GradeRecord(grade.score, grade.label, grade.parsable)
                for key, grade in made.items()
            }
        )
    known = {
        key: Grade(record.score, record.label, record.parsable) for key, record in kept.items()
    }
    known.update(made)
    return [known[key] for key in keys]


def outcome_table(measurements: Iterable[Measurement], *, run_id: str, model: str) -> OutcomeTable:
    """Turn measurements into the outcome table, in the order given.

    Margins of single cells are kept beside it, as ``info["margins"][task][identity]``.
    """
    columns: dict[str, list[Any]] = {}
    margins: dict[str, dict[str, float]] = {}
    for measurement in measurements:
        constant = _constant_columns(measurement, run_id=run_id, model=model)
        varying = _varying_columns(measurement)
        length = len(measurement.questions)
        cell = measurement.cell
        if cell.margin is not None:
            margins.setdefault(cell.task.name, {})[cell.identity.name] = cell.margin
        for name, value in constant.items():
            columns.setdefault(name, []).extend([value] * length)
        for name, values in varying.items():
            columns.setdefault(name, []).extend(values)
    table = OutcomeTable.from_columns(columns or {"task": []})
    return table.with_info(margins=margins) if margins else table


def _constant_columns(measurement: Measurement, *, run_id: str, model: str) -> dict[str, Any]:
    cell, protocol = measurement.cell, measurement.protocol
    return {
        "run_id": run_id,
        "model": model,
        "served_identity": protocol.served_identity,
        "task": cell.task.name,
        "axis": cell.task.axis,
        "floor": cell.task.floor,
        "data_revision": measurement.data.revision,
        "data_hash": measurement.data.content_hash,
        "identity": cell.identity.name,
        "group": cell.identity.group,
        "kind": cell.identity.kind,
        "placement": cell.identity.placement_label(protocol.placement),
        "defense": cell.defense.name,
        **asdict(protocol.sampling),
        "judge": measurement.judge,
        "judge_version": measurement.judge_version,
    }


def _varying_columns(measurement: Measurement) -> dict[str, list[Any]]:
    questions, responses = measurement.questions, measurement.responses
    grades = measurement.grades
    return {
        "item_id": [question.item.id for question in questions],
        "cluster": [question.item.cluster for question in questions],
        "run": [question.run for question in questions],
        "seed": [question.request.seed for question in questions],
        "prompt_hash": [question.prompt_hash for question in questions],
        "request_key": [question.request.key for question in questions],
        "response": [_clean(response) for response in responses],
        "finish_reason": [response and response.finish_reason for response in responses],
        "prompt_tokens": [response and response.prompt_tokens for response in responses],
        "completion_tokens": [response and response.completion_tokens for response in responses],
        "latency": [response and response.latency for response in responses],
        "score": [grade and grade.score for grade in grades],
        "label": [grade and grade.label for grade in grades],
        "parsable": [grade and grade.parsable for grade in grades],
        "error": list(measurement.errors),
    }


def _clean(response: Response | None) -> str | None:
    """Arrow takes valid UTF-8 only; a lone surrogate in an answer becomes a question mark."""
    if response is None:
        return None
    return response.text.encode("utf-8", "replace").decode("utf-8")
