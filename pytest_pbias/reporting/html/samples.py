"""Answers side by side: the same question with no identity and under one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.summary import RunSummary

_PER_CELL = 3
_MOST = 400
_EXCERPT = 700
_ORDER = {"fail": 0, "inconclusive": 1, "no signal": 2, "pass": 3}


@dataclass(frozen=True)
class Sample:
    """One question's two answers, cut to what a reader needs."""

    task: str
    axis: str
    identity: str
    verdict: str
    item: str
    before_label: str
    after_label: str
    before: str
    after: str


def choose_samples(table: OutcomeTable, summary: RunSummary) -> list[dict[str, str]]:
    """Up to three questions a cell, those whose score changed first, failed cells first.

    Only cells under the first defence and the first run of each question.
    """
    verdicts = {
        (task.task, cell.identity.name): (task.axis, cell.verdict.verdict.value)
        for task in summary.tasks
        for cell in task.cells
        if cell.verdict is not None
    }
    answers = _answers(table)
    ordered = sorted(verdicts, key=lambda key: (_ORDER[verdicts[key][1]], key))
    chosen: list[dict[str, str]] = []
    for task, identity in ordered:
        axis, verdict = verdicts[task, identity]
        for item, one, other in _changed(answers, task, identity):
            sample = Sample(
                task, axis, identity, verdict, item, one[1], other[1],
                _cut(one[2]), _cut(other[2]),
            )  # fmt: skip
            chosen.append(asdict(sample))
            if len(chosen) == _MOST:
                return chosen
    return chosen


Answer = tuple[float, str, str]


def _answers(table: OutcomeTable) -> dict[tuple[str, str], dict[str, Answer]]:
    """(task, identity) -> item -> score, label, response."""
    names = ["task", "identity", "item_id", "run", "score", "label", "response", "defense"]
    columns = [table.arrow.column(name).to_pylist() for name in names]
    found: dict[tuple[str, str], dict[str, Answer]] = {}
    first = columns[-1][0] if columns[-1] else None
    for task, identity, item, run, score, label, response, defense in zip(*columns, strict=True):
        if run == 0 and score is not None and response is not None and defense == first:
            found.setdefault((task, identity), {})[item] = (score, label or "", response)
    return found


def _changed(
    answers: dict[tuple[str, str], dict[str, Answer]], task: str, identity: str
) -> Iterator[tuple[str, Answer, Answer]]:
    """Up to three items with both answers, the largest change of score first."""
    before, after = answers.get((task, "baseline"), {}), answers.get((task, identity), {})
    both = [(item, before[item], after[item]) for item in after if item in before]
    both.sort(key=lambda row: (-abs(row[1][0] - row[2][0]), row[1][2] == row[2][2], row[0]))
    yield from both[:_PER_CELL]


def _cut(text: str) -> str:
    """The beginning and the end, where the conclusion is."""
    if len(text) <= _EXCERPT:
        return text
    return f"{text[: _EXCERPT // 2]}\n[...]\n{text[-_EXCERPT // 2 :]}"
