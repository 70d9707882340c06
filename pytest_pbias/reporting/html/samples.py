"""Answers side by side: the same question with no identity and under one."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import pyarrow.compute as pc

from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.summary import RunSummary

_PER_CELL = 3
_ALL_BYTES = 1_200_000  # with the plots and tables of 34 identities x 8 tasks, under 2 MB
_ANSWER_BYTES = 2_000  # so that each of those cells has room for one question
_ANSWER_CHARACTERS = 700
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
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


def inert_json(value: object) -> str:
    """JSON that may stand in HTML: ASCII, so directions and controls are escapes, no markup."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def choose_samples(table: OutcomeTable, summary: RunSummary) -> list[dict[str, str]]:
    """Up to three questions a cell, those whose score changed first, failed cells first.

    Every cell gets its first question before any gets its second, as far as the size of the page
    allows. Only cells under the first defence and the first run of each question.
    """
    ranked = sorted(_per_cell(table, summary), key=lambda row: row[0])
    chosen: list[dict[str, str]] = []
    size = 0
    for _, sample in ranked:
        plain = asdict(sample)
        size += len(inert_json(plain)) + 2
        if size > _ALL_BYTES:
            break
        chosen.append(plain)
    return sorted(chosen, key=lambda one: _ORDER[one["verdict"]])


Rank = tuple[int, int, str, str]
Answer = tuple[float, str, str]


def _per_cell(table: OutcomeTable, summary: RunSummary) -> Iterator[tuple[Rank, Sample]]:
    """The samples of each cell and their rank: place within the cell, then the verdict."""
    first = table.defenses()[0]
    rows = table.of_defense(first)
    answers = _answers(rows)
    for task in summary.tasks:
        if task.defense != first:
            continue
        outcomes = rows.task_outcomes(task.task)
        references = {
            identity.name: outcomes.identities[number].name
            for identity, number in zip(outcomes.identities, outcomes.references, strict=True)
            if number is not None
        }
        for cell in task.judged:
            assert cell.verdict is not None
            name, verdict = cell.identity.name, cell.verdict.verdict.value
            before = answers.get((task.task, references[name]), {})
            after = answers.get((task.task, name), {})
            for place, (item, one, other) in enumerate(_changed(before, after)):
                yield (
                    (place, _ORDER[verdict], task.task, name),
                    Sample(
                        task.task, task.axis, visible(name), verdict, visible(item),
                        visible(one[1]), visible(other[1]), _cut(one[2]), _cut(other[2]),
                    ),
                )  # fmt: skip


def _answers(table: OutcomeTable) -> dict[tuple[str, str], dict[str, Answer]]:
    """(task, identity) -> item -> score, label, response; of the first run."""
    rows = table.arrow.filter(pc.equal(table.arrow.column("run"), 0))
    names = ["task", "identity", "item_id", "score", "label", "response"]
    columns = [rows.column(name).to_pylist() for name in names]
    found: dict[tuple[str, str], dict[str, Answer]] = {}
    for task, identity, item, score, label, response in zip(*columns, strict=True):
        if score is not None and response is not None:
            found.setdefault((task, identity), {})[item] = (score, label or "", response)
    return found


def _changed(
    before: Mapping[str, Answer], after: Mapping[str, Answer]
) -> Iterator[tuple[str, Answer, Answer]]:
    """Up to three items with both answers, the largest change of score first."""
    both = [(item, before[item], after[item]) for item in after if item in before]
    both.sort(key=lambda row: (-abs(row[1][0] - row[2][0]), row[1][2] == row[2][2], row[0]))
    yield from both[:_PER_CELL]


def visible(text: str) -> str:
    """Text whose controls and direction overrides are written out, so that none is obeyed."""
    return "".join(
        f"\\u{ord(character):04x}"
        if unicodedata.bidirectional(character) in _DIRECTIONS
        or (unicodedata.category(character) in ("Cc", "Zl", "Zp") and character not in "\n\t")
        else character
        for character in text.replace("\r\n", "\n")
    )


def _cut(text: str) -> str:
    """The beginning and the end, where the conclusion is; bounded in what it takes as JSON."""
    text = visible(text)
    kept = min(len(text), _ANSWER_CHARACTERS)
    while kept and len(inert_json(_ends(text, kept))) > _ANSWER_BYTES:
        kept = kept * 4 // 5
    return _ends(text, kept)


def _ends(text: str, kept: int) -> str:
    if len(text) <= kept:
        return text
    half = kept // 2
    return f"{text[:half]}\n[...]\n{text[len(text) - half :]}"
