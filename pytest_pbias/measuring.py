"""From responses to outcomes: a cell's responses are read, graded, and become table rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.collecting.plan import Cell, Protocol, Question, questions_of
from pytest_pbias.collecting.records import Response
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import InfrastructureError
from pytest_pbias.grading import Grade, Graded, Grader, Ungraded, grader_for
from pytest_pbias.grading.keeping import grade_kept
from pytest_pbias.models.replies import TOO_MANY_TOKENS
from pytest_pbias.outcomes import OutcomeTable, grade_to_plain
from pytest_pbias.tasks import TaskData


@dataclass(frozen=True, slots=True)
class OtherGrades:
    """The grades that another judge than the gating one gave to a cell's responses."""

    judge: str
    version: str
    grades: tuple[Graded | None, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A cell's questions with what came back; ``None`` where a response is missing.

    ``judge`` gave ``grades``, by which the cell is judged; a grade is missing too where that judge
    failed, and then ``errors`` says why. ``others`` are those of further judges.
    """

    cell: Cell
    data: TaskData
    protocol: Protocol
    questions: tuple[Question, ...]
    responses: tuple[Response | None, ...]
    grades: tuple[Grade | None, ...]
    errors: tuple[str | None, ...]
    judge: str
    judge_version: str
    others: tuple[OtherGrades, ...] = ()

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores in [0, 1] of shape (items, runs), NaN where a grade is missing."""
        flat = [np.nan if grade is None else grade.score for grade in self.grades]
        return np.asarray(flat, dtype=np.float64).reshape(-1, self.protocol.runs)

    @property
    def clusters(self) -> npt.NDArray[np.str_]:
        """The items' clusters, shape (items,)."""
        return np.asarray([item.cluster for item in self.data.items], dtype=np.str_)

    @property
    def missing(self) -> int:
        """How many responses are missing, or could not be judged."""
        return sum(grade is None for grade in self.grades)

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
    graders: Sequence[Grader] = (),
    questions: tuple[Question, ...] = (),
) -> Measurement:
    """Read a cell's responses from the store and grade them.

    ``failures`` gives the reason for each request key that finally failed. The first of
    ``graders`` gives the scores that count; without them it is the task's usual one. ``questions``
    are the cell's, where the caller has them already.
    """
    questions = questions or tuple(questions_of(cell, data, protocol))
    found = store.get_many([question.request.key for question in questions])
    responses = tuple(found.get(question.request.key) for question in questions)
    first, *rest = graders or (grader_for(cell.task),)
    graded = _graded(first, questions, responses, store)
    return Measurement(
        cell=cell,
        data=data,
        protocol=protocol,
        questions=questions,
        responses=responses,
        grades=tuple(grade if isinstance(grade, Grade) else None for grade in graded),
        errors=tuple(
            failures.get(question.request.key, "not asked")
            if response is None
            else grade.reason
            if isinstance(grade, Ungraded)
            else None
            for question, response, grade in zip(questions, responses, graded, strict=True)
        ),
        judge=first.name,
        judge_version=first.version,
        others=tuple(
            OtherGrades(
                grader.name, grader.version, tuple(_graded(grader, questions, responses, store))
            )
            for grader in rest
        ),
    )


def _graded(
    grader: Grader,
    questions: Sequence[Question],
    responses: Sequence[Response | None],
    store: Store,
) -> list[Graded | None]:
    """The grade of each response, None where there is none; a judge's failure is no exception.

    What one judge could not do must not cost the answers and the other judges' grades.
    """
    pairs = [
        (question.item, response.text)
        for question, response in zip(questions, responses, strict=True)
        if response is not None
    ]
    try:
        graded: Sequence[Graded] = grade_kept(grader, pairs, store)
    except InfrastructureError as error:
        graded = [Ungraded(f"not judged: {error}")] * len(pairs)
    each = iter(graded)
    return [None if response is None else next(each) for response in responses]


def outcome_rows(measurement: Measurement, *, run_id: str, model: str) -> OutcomeTable:
    """The outcome table's rows of one cell."""
    return OutcomeTable.from_columns(
        _varying_columns(measurement), _constant_columns(measurement, run_id=run_id, model=model)
    )


def cell_margins(cells: Iterable[Cell]) -> dict[str, dict[str, float]]:
    """The margins that cells have of their own, by task and identity (percentage points)."""
    margins: dict[str, dict[str, float]] = {}
    for cell in cells:
        if cell.margin is not None:
            margins.setdefault(cell.task.name, {})[cell.identity.name] = cell.margin
    return margins


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
        "response": [response and response.text for response in responses],
        "finish_reason": [response and response.finish_reason for response in responses],
        "prompt_tokens": [response and _count(response.prompt_tokens) for response in responses],
        "completion_tokens": [
            response and _count(response.completion_tokens) for response in responses
        ],
        "latency": [response and response.latency for response in responses],
        "score": [grade and grade.score for grade in grades],
        "label": [grade and grade.label for grade in grades],
        "parsable": [grade and grade.parsable for grade in grades],
        "other_grades": _other_grades(measurement),
        "error": list(measurement.errors),
    }


def _other_grades(measurement: Measurement) -> list[list[dict[str, Any]] | None]:
    """What the further judges gave to each response, null where there is none."""
    if not measurement.others:
        return [None] * len(measurement.questions)
    by_judge = [
        [
            None if grade is None else grade_to_plain(other.judge, other.version, grade)
            for grade in other.grades
        ]
        for other in measurement.others
    ]
    return [
        [plain for plain in of_response if plain is not None] or None
        for of_response in zip(*by_judge, strict=True)
    ]


def _count(tokens: int | None) -> int | None:
    """A token count as an endpoint reported it; one that no answer can have counts as none."""
    return tokens if tokens is not None and 0 <= tokens < TOO_MANY_TOKENS else None
