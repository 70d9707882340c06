"""From responses to rows: each cell graded once, and kept as rows of the outcome table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting.plan import Question, RequestSettings, questions_of
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import InfrastructureError, PbiasError
from pytest_pbias.grading import Grade, Graded, Grader, Ungraded, grader_for
from pytest_pbias.grading.base import CUT_OFF
from pytest_pbias.grading.cached_grades import cached_grades
from pytest_pbias.grading.standing import ProviderRefusals, standing_grade
from pytest_pbias.grading.traits import NO_TRAITS, Traits, Values
from pytest_pbias.models.chat import BLOCKED, TOO_MANY_TOKENS, Response
from pytest_pbias.models.dialect import Dialect
from pytest_pbias.outcomes.schema import grade_to_plain
from pytest_pbias.outcomes.spool import Spool
from pytest_pbias.outcomes.table import OutcomeTable, concatenate
from pytest_pbias.tasks import TaskData


@dataclass(frozen=True, slots=True)
class OtherGrades:
    """The grades that another judge than the gating one gave to a cell's responses."""

    judge: str
    version: str
    grades: tuple[Graded | None, ...]


@dataclass(frozen=True, slots=True)
class ScoredCell:
    """A cell's questions with what came back; ``None`` where a response is missing.

    ``judge`` gave ``grades``, by which the cell is judged; a grade is missing too where that judge
    failed, and then ``errors`` says why. ``others`` are those of further judges. ``traits`` has
    the values of the run's traits, None where there is no answer to look at.
    """

    cell: Cell
    data: TaskData
    protocol: RequestSettings
    questions: tuple[Question, ...]
    responses: tuple[Response | None, ...]
    grades: tuple[Grade | None, ...]
    errors: tuple[str | None, ...]
    judge: str
    judge_version: str
    others: tuple[OtherGrades, ...] = ()
    traits: tuple[Values | None, ...] = ()

    def first(self, n_items: int) -> ScoredCell:
        """The same on the first ``n_items`` items."""
        n = n_items * self.protocol.repeats
        if n >= len(self.questions):
            return self
        return replace(
            self,
            data=replace(self.data, items=self.data.items[:n_items]),
            questions=self.questions[:n],
            responses=self.responses[:n],
            grades=self.grades[:n],
            errors=self.errors[:n],
            others=tuple(replace(one, grades=one.grades[:n]) for one in self.others),
            traits=self.traits[:n],
        )

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores in [0, 1] of shape (items, repeats), NaN where a grade is missing."""
        flat = [np.nan if grade is None else grade.score for grade in self.grades]
        return np.asarray(flat, dtype=np.float64).reshape(-1, self.protocol.repeats)

    @property
    def clusters(self) -> npt.NDArray[np.str_]:
        """The items' clusters, shape (items,)."""
        return np.asarray([item.cluster for item in self.data.items], dtype=np.str_)

    @property
    def missing(self) -> int:
        """How many responses are missing, or could not be judged."""
        return sum(grade is None for grade in self.grades)

    @property
    def cut_off(self) -> int:
        """How many responses ended within a thought."""
        return sum(grade is not None and grade.label == CUT_OFF.label for grade in self.grades)

    @property
    def unparsable(self) -> int:
        """How many responses no answer could be read off."""
        return sum(grade is not None and not grade.parsable for grade in self.grades)


def score_cell(
    cell: Cell,
    data: TaskData,
    protocol: RequestSettings,
    store: Store,
    failures: Mapping[str, str],
    graders: Sequence[Grader] = (),
    questions: tuple[Question, ...] = (),
    provider_refusals: ProviderRefusals = "grade",
    traits: Traits = NO_TRAITS,
) -> ScoredCell:
    """Read a cell's responses from the store and grade them.

    ``failures`` gives the reason for each request key that finally failed. The first of
    ``graders`` gives the scores that count; without them it is the task's usual one. ``questions``
    are the cell's, where the caller has them already. What the provider's filter stopped becomes
    what ``provider_refusals`` says. ``traits`` are measured on every answer.
    """
    questions = questions or tuple(questions_of(cell, data, protocol))
    found = store.get_many([question.request.key for question in questions])
    responses = tuple(found.get(question.request.key) for question in questions)
    first, *rest = graders or (grader_for(cell.task),)
    standing = [
        None
        if response is None
        else standing_grade(cell.task, response.text, response.finish_reason, provider_refusals)
        for response in responses
    ]
    to_read = tuple(
        response if grade is None else None
        for response, grade in zip(responses, standing, strict=True)
    )
    graded = [
        grade or read
        for grade, read in zip(standing, _graded(first, questions, to_read, store), strict=True)
    ]
    return ScoredCell(
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
                grader.name, grader.version, tuple(_graded(grader, questions, to_read, store))
            )
            for grader in rest
        ),
        traits=tuple(
            None
            if response is None or response.finish_reason == BLOCKED
            else traits.measure(question.item.prompt, response.text, cell.identity)
            for question, response in zip(questions, responses, strict=True)
        )
        if traits.chosen
        else (),
    )


def _graded(
    grader: Grader,
    questions: Sequence[Question],
    responses: Sequence[Response | None],
    store: Store,
) -> list[Graded | None]:
    """The grade of each response, None where there is none; a judge's failure is no exception.

    What one judge could not do must not cost the answers and the other judges' grades. Where a
    grader broke over an answer, that answer's key is told.
    """
    answered = [
        (question, response)
        for question, response in zip(questions, responses, strict=True)
        if response is not None
    ]
    pairs = [(question.item, response.text) for question, response in answered]
    try:
        graded: Sequence[Graded] = cached_grades(grader, pairs, store)
    except PbiasError as error:
        graded = [Ungraded(f"not judged: {error}")] * len(pairs)
    graded = [
        Ungraded(f"{grade.reason}; the answer's key is {response.key}", broke=True)
        if isinstance(grade, Ungraded) and grade.broke
        else grade
        for grade, (_, response) in zip(graded, answered, strict=True)
    ]
    each = iter(graded)
    return [None if response is None else next(each) for response in responses]


def outcome_rows(measurement: ScoredCell, *, run_id: str, model: str) -> OutcomeTable:
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


def _constant_columns(measurement: ScoredCell, *, run_id: str, model: str) -> dict[str, Any]:
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
        "cue": cell.identity.cue,
        "placement": cell.identity.placement_label(protocol.placement),
        "defense": cell.defense.name,
        **_as_sent(asdict(protocol.sampling), protocol.dialect),
        "judge": measurement.judge,
        "judge_version": measurement.judge_version,
    }


def _as_sent(
    columns: Mapping[str, Any], dialect: Dialect, nothing: list[None] | None = None
) -> dict[str, Any]:
    """Columns of request fields, ``nothing`` in those that the endpoint does not take."""
    return {name: nothing if name in dialect.left_out else value for name, value in columns.items()}


def _varying_columns(measurement: ScoredCell) -> dict[str, list[Any]]:
    questions, responses = measurement.questions, measurement.responses
    grades = measurement.grades
    return {
        "item_id": [question.item.id for question in questions],
        "cluster": [question.item.cluster for question in questions],
        "wording": [
            measurement.cell.identity.wording_of(question.item.id) for question in questions
        ],
        "repeat": [question.repeat for question in questions],
        **_as_sent(
            {"seed": [question.request.seed for question in questions]},
            measurement.protocol.dialect,
            [None] * len(questions),
        ),
        "prompt_hash": [question.prompt_hash for question in questions],
        "request_key": [question.request.key for question in questions],
        "response": [response and response.text for response in responses],
        "reasoning": [(response and response.reasoning) or None for response in responses],
        "reasoning_tokens": [
            response and _count(response.reasoning_tokens) for response in responses
        ],
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
        "traits": list(measurement.traits) or [None] * len(questions),
        "error": list(measurement.errors),
    }


def _other_grades(measurement: ScoredCell) -> list[list[dict[str, Any]] | None]:
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


# Questions of the cells that are kept whole: prompts take many times the room of rows. Tests look
# at a cell and its baseline only; a cell that is asked for again later is read from the store anew.

_WHOLE = 500


class ScoredCells:
    """Measures each cell with ``measure`` when it is first asked for; answers go to ``folder``.

    ``planned`` are the items of each task where asking stops at looks; tables keep them.
    """

    def __init__(
        self, measure: Callable[[Cell], ScoredCell], *, run_id: str, model: str, folder: Path
    ) -> None:
        self._measure = measure
        self._run_id = run_id
        self._model = model
        self._spool = Spool(folder)
        self._whole: OrderedDict[Cell, ScoredCell] = OrderedDict()
        self._rows: dict[Cell, OutcomeTable] = {}
        self._missing: dict[Cell, int] = {}
        self.planned: Mapping[str, int] = {}

    def get(self, cell: Cell) -> ScoredCell:
        """The cell with its prompts, responses and grades."""
        found = self._whole.pop(cell, None)
        if found is None:
            found = self._measure(cell)
            if cell not in self._rows:
                rows = outcome_rows(found, run_id=self._run_id, model=self._model)
                self._rows[cell] = rows.spooled_to(self._spool)
                self._missing[cell] = found.missing
        self._whole[cell] = found
        while len(self._whole) > 2 and sum(map(_length, self._whole.values())) > _WHOLE:
            self._whole.popitem(last=False)
        return found

    def close(self) -> None:
        """Drop the answers on disk: tables made before can be written no more."""
        self._spool.close()

    def missing(self, cells: Iterable[Cell]) -> int:
        """How many responses of these cells are missing, or could not be judged."""
        total = 0
        for cell in cells:
            if cell not in self._missing:
                self.get(cell)
            total += self._missing[cell]
        return total

    def table(self, cells: Iterable[Cell]) -> OutcomeTable:
        """The outcome table of these cells, in the order given.

        Margins of single cells are kept beside it, as ``info.margins[task][identity]``.
        """
        wanted = list(cells)
        self.missing(wanted)
        if not wanted:
            return OutcomeTable.from_columns({"task": []})
        table = concatenate(self._rows[cell] for cell in wanted)
        margins = cell_margins(wanted)
        info = table.info
        if margins:
            info = replace(info, margins=margins)
        if self.planned:
            info = replace(info, planned=dict(self.planned))
        return table.with_info(info)

    def complete_table(self, cells: Iterable[Cell], which: str = "") -> OutcomeTable:
        """The outcome table of these cells, where all their answers are there.

        ``which`` says after "responses" in the error of which.

        Raises:
            InfrastructureError: responses are missing.
        """
        wanted = list(cells)
        if missing := self.missing(wanted):
            those = f"1 response{which} is" if missing == 1 else f"{missing} responses{which} are"
            again = "it" if missing == 1 else "these"
            raise InfrastructureError(f"{those} missing; run again to ask for {again} alone")
        return self.table(wanted)


def _length(measurement: ScoredCell) -> int:
    return len(measurement.questions)
