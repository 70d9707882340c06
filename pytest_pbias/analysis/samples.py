"""Which answers a reader is shown: row numbers of the outcome table, chosen by what changed.

Only answers under the first prompt defense and of the first run of each question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pytest_pbias.analysis.summary import RunSummary, TaskSummary
from pytest_pbias.outcomes import (
    OutcomeTable,
    TaskOutcomes,
    numbers,
    row_numbers,
    scalar,
    text_array,
)

Rows = npt.NDArray[np.intp]
_CANDIDATES = 12  # a cell, of which those with another text are shown first
PER_CELL = 3  # questions that are shown of a cell
_QUESTION_CHARACTERS = 600
_QUESTIONS_CHARACTERS = 250_000  # of all of them: the facts of a run are read often
_EVERYONE = 2  # questions a task that are shown under every identity


@dataclass(frozen=True)
class Candidates:
    """A cell's questions, the largest change of score first.

    ``before`` has the rows of the baseline's answers, ``after`` of the cell's own; ``changes`` are
    absolute, in [0, 1].
    """

    task: TaskSummary
    identity: str
    verdict: str
    items: tuple[str, ...]
    changes: npt.NDArray[np.float64]
    before: Rows
    after: Rows

    def ranked(self, texts: Mapping[int, str | None]) -> list[int]:
        """Places of the questions that both answered: by change of score, then of text."""
        rows = list(zip(self.before.tolist(), self.after.tolist(), strict=True))
        answered = [n for n, pair in enumerate(rows) if None not in (texts[row] for row in pair)]
        return sorted(
            answered,
            key=lambda n: (-self.changes[n], texts[rows[n][0]] == texts[rows[n][1]], self.items[n]),
        )


@dataclass(frozen=True)
class EveryonesAnswers:
    """One question under everyone who answered it: identities and rows of the answers."""

    task: TaskSummary
    item: str
    identities: tuple[str, ...]
    rows: Rows


@dataclass(frozen=True)
class _TaskRows:
    """A task's answers: row numbers of shape (identities, items), -1 where there is none."""

    outcomes: TaskOutcomes
    rows: Rows

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores of the first run, shape (identities, items), NaN where there is no answer."""
        return np.where(self.rows >= 0, self.outcomes.scores[:, :, 0], np.nan)


def candidates(table: OutcomeTable, summary: RunSummary) -> list[Candidates]:
    """Each decided cell's questions beside its baseline, as many as are worth reading."""
    found = []
    for task, answered in _answered(table, summary):
        outcomes, scores = answered.outcomes, answered.scores
        places = {identity.name: n for n, identity in enumerate(outcomes.identities)}
        for cell in task.decided:
            assert cell.verdict is not None
            who = places[cell.identity.name]
            reference = outcomes.references[who]
            if reference is None:
                continue
            change = np.nan_to_num(np.abs(scores[who] - scores[reference]), nan=-1.0)
            order = np.argsort(-change, kind="stable")[:_CANDIDATES]
            order = order[change[order] >= 0]
            found.append(
                Candidates(
                    task=task,
                    identity=cell.identity.name,
                    verdict=cell.verdict.verdict.value,
                    items=tuple(outcomes.items[n] for n in order),
                    changes=change[order],
                    before=answered.rows[reference][order],
                    after=answered.rows[who][order],
                )
            )
    return found


def everyones_answers(table: OutcomeTable, summary: RunSummary) -> list[EveryonesAnswers]:
    """The questions of each task on which identities' scores differ most, under everyone."""
    found = []
    for task, answered in _answered(table, summary):
        outcomes, scores = answered.outcomes, answered.scores
        complete = np.isfinite(scores).all(axis=0)
        spread = np.where(complete, np.nan_to_num(scores).std(axis=0), -1.0)
        for item in np.argsort(-spread, kind="stable")[:_EVERYONE]:
            if spread[item] > 0:
                names = tuple(identity.name for identity in outcomes.identities)
                rows = answered.rows[:, item]
                found.append(EveryonesAnswers(task, outcomes.items[item], names, rows))
    return found


def rows_of(cells: Sequence[Candidates]) -> list[Rows]:
    """The rows of all their answers."""
    return [part for cell in cells for part in (cell.before, cell.after)]


def sampled_questions(
    table: OutcomeTable, summary: RunSummary, texts: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Task -> item -> question, of the questions that a report may show, cut to what fits.

    ``texts`` has every question. A run keeps these among its facts, for its table has none.
    """
    asked: dict[tuple[str, str], None] = {}
    for shared in everyones_answers(table, summary):
        asked.setdefault((shared.task.task, shared.item))
    cells = candidates(table, summary)
    rows = np.unique(np.concatenate(rows_of(cells))) if cells else np.zeros(0, dtype=np.intp)
    answers = dict(zip(rows.tolist(), table.texts_at("response", rows), strict=True))
    ranked = [(cell, cell.ranked(answers)[:PER_CELL]) for cell in cells]
    for place in range(PER_CELL):
        for cell, order in ranked:
            if place < len(order):
                asked.setdefault((cell.task.task, cell.items[order[place]]))
    kept: dict[str, dict[str, str]] = {}
    room = _QUESTIONS_CHARACTERS
    for task, item in asked:
        text = texts.get(task, {}).get(item)
        if text is None:
            continue
        half = _QUESTION_CHARACTERS // 2
        text = text if len(text) <= 2 * half else f"{text[:half]}\n[...]\n{text[-half:]}"
        room -= len(text)
        if room < 0:
            break
        kept.setdefault(task, {})[item] = text
    return kept


def _answered(table: OutcomeTable, summary: RunSummary) -> Iterator[tuple[TaskSummary, _TaskRows]]:
    """Where the answers of each task stand in the table."""
    if not len(table):
        return
    first = table.defenses()[0]
    columns, of_first = table.arrow, table.of_defense(first)
    defense = pc.fill_null(columns.column("defense").cast(pa.string()), scalar("none"))
    usable = pc.and_(
        pc.equal(columns.column("repeat"), scalar(0, pa.int32())),
        pc.is_valid(columns.column("score")),
    )
    found = np.flatnonzero(numbers(pc.and_(usable, pc.equal(defense, scalar(first)))))
    task_names = columns.column("task").take(row_numbers(found)).cast(pa.string())
    for task in summary.tasks:
        mine = found[numbers(pc.equal(task_names, scalar(task.task))).astype(np.bool_)]
        if task.defense == first and mine.size:
            outcomes = of_first.task_outcomes(task.task)
            if task.cue:
                outcomes = outcomes.of_cue(task.cue)
            yield task, _TaskRows(outcomes, _row_numbers(table, outcomes, mine))


def _row_numbers(table: OutcomeTable, outcomes: TaskOutcomes, places: Rows) -> Rows:
    names = [identity.name for identity in outcomes.identities]
    taken = table.arrow.select(["identity", "item_id"]).take(row_numbers(places))
    who, item = (
        numbers(pc.index_in(taken.column(name).cast(pa.string()), value_set=text_array(values)))
        for name, values in (("identity", names), ("item_id", outcomes.items))
    )
    rows = np.full((len(names), len(outcomes.items)), -1, dtype=np.intp)
    known = ~np.isnan(who)  # the others were asked by another cue
    rows[who[known].astype(np.intp), item[known]] = places[known]
    return rows
