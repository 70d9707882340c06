"""The answers in the page: chosen rows become texts, cut to what the page has room for."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from pytest_pbias.analysis.samples import (
    PER_CELL,
    Candidates,
    EveryonesAnswers,
    Rows,
    candidates,
    everyones_answers,
    rows_of,
)
from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.gate import WORST_FIRST
from pytest_pbias.outcomes import OutcomeTable

ReadResponses = Callable[[Rows], Sequence[str | None]]
"""Row numbers of the outcome table -> the answers in them."""

# With the plots and tables of 34 identities x 8 tasks, under 2 MB.
_CELLS_BYTES = 1_000_000
_EVERYONE_BYTES = 250_000
_ANSWER_BYTES = 1_200  # so that each of those cells has room for one question
_ANSWER_CHARACTERS = 700
_QUESTION_CHARACTERS = 500
_SHORT_CHARACTERS = 240
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_ORDER = {verdict.value: place for place, verdict in enumerate(WORST_FIRST)}


@dataclass(frozen=True)
class _Pair:
    """A question of a cell: its place among the cell's, and the rows of both answers."""

    place: int
    cell: Candidates
    item: str
    before: int
    after: int

    @property
    def rank(self) -> tuple[int, int, str, str]:
        """Every cell's first question before any second; the gravest verdicts first."""
        return (self.place, _ORDER[self.cell.verdict], self.cell.task.task, self.cell.identity)


def inert_json(value: object) -> Markup:
    """JSON that may stand in HTML: ASCII, so directions and controls are escapes, no markup."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def choose_samples(
    table: OutcomeTable, summary: RunSummary, read: ReadResponses | None = None
) -> dict[str, Any]:
    """The samples as JSON: ``cells``, ``everyone`` and the texts of ``questions``.

    Up to three questions a cell, those whose score changed first, failed cells first; every cell
    gets its first question before any gets its second, as far as the size of the page allows. A
    few questions are shown under everyone. ``read`` gives the answers where the table's rows were
    read without them.
    """
    found, shared = candidates(table, summary), everyones_answers(table, summary)
    answers = _Answers(table, [*rows_of(found), *(one.rows for one in shared)], read)
    room = _Room(table.info.questions)
    everyone = [
        entry
        for one in _alternating(shared)
        if room.takes(entry := _everyone(one, answers), _EVERYONE_BYTES)
    ]
    room.size = 0
    cells = []
    for pair in sorted((pair for one in found for pair in _pairs(one, answers)), key=_by_rank):
        entry = _side_by_side(pair, answers)
        if not room.takes(entry, _CELLS_BYTES):
            break
        cells.append(entry)
    cells.sort(key=lambda one: _ORDER[one["verdict"]])
    return {"cells": cells, "everyone": everyone, "questions": room.questions}


class _Answers:
    """Texts and labels of the rows that may be shown, read at once."""

    def __init__(
        self, table: OutcomeTable, rows: Sequence[Rows], read: ReadResponses | None
    ) -> None:
        wanted = np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.intp)
        texts = table.texts_at("response", wanted) if read is None else read(wanted)
        self.texts = dict(zip(wanted.tolist(), texts, strict=True))
        self._labels = dict(zip(wanted.tolist(), table.texts_at("label", wanted), strict=True))

    def label(self, row: int) -> str:
        return visible(self._labels[row] or "")

    def text(self, row: int, most: int) -> str:
        return _cut(self.texts[row] or "", most)


class _Room:
    """What the page has room for; a question's text is in it once."""

    def __init__(self, known: Mapping[str, Mapping[str, str]]) -> None:
        self._known = known
        self.questions: dict[str, dict[str, str]] = {}
        self.size = 0

    def takes(self, entry: Mapping[str, Any], most: int) -> bool:
        """Whether the entry and its question fit beside what is taken; they are taken then."""
        task, item = entry["task"], entry["item_id"]
        needed = len(inert_json(entry)) + 2
        question = self._known.get(task, {}).get(item)
        if question is not None and item not in self.questions.get(task, {}):
            question = _cut(question, _QUESTION_CHARACTERS)
            needed += len(inert_json({item: question}))
        if self.size + needed > most:
            return False
        self.size += needed
        if question is not None:
            self.questions.setdefault(task, {}).setdefault(item, question)
        return True


def _side_by_side(pair: _Pair, answers: _Answers) -> dict[str, str]:
    cell = pair.cell
    return {
        "task": cell.task.task, "axis": cell.task.axis, "identity": visible(cell.identity),
        "verdict": cell.verdict, "item": visible(pair.item), "item_id": pair.item,
        "before_label": answers.label(pair.before), "after_label": answers.label(pair.after),
        "before": answers.text(pair.before, _ANSWER_CHARACTERS),
        "after": answers.text(pair.after, _ANSWER_CHARACTERS),
    }  # fmt: skip


def _by_rank(pair: _Pair) -> tuple[int, int, str, str]:
    return pair.rank


def _pairs(cell: Candidates, answers: _Answers) -> Iterator[_Pair]:
    """A cell's best questions: by change of score, then those whose text changed."""
    for place, n in enumerate(cell.ranked(answers.texts)[:PER_CELL]):
        yield _Pair(place, cell, cell.items[n], int(cell.before[n]), int(cell.after[n]))


def _alternating(found: Sequence[EveryonesAnswers]) -> list[EveryonesAnswers]:
    """The first question of each task before any second."""
    tasks = [one.task.task for one in found]
    places = [tasks[:number].count(task) for number, task in enumerate(tasks)]
    return [one for _, one in sorted(zip(places, found, strict=True), key=lambda row: row[0])]


def _everyone(one: EveryonesAnswers, answers: _Answers) -> dict[str, Any]:
    """A question under everyone: ``answers`` are identity, label and the answer, cut short."""
    rows = zip(one.identities, one.rows.tolist(), strict=True)
    return {
        "task": one.task.task, "axis": one.task.axis,
        "item": visible(one.item), "item_id": one.item,
        "answers": [
            [visible(name), answers.label(row), answers.text(row, _SHORT_CHARACTERS)]
            for name, row in rows
        ],
    }  # fmt: skip


def visible(text: str) -> str:
    """Text whose controls and direction overrides are written out, so that none is obeyed."""
    return "".join(
        f"\\u{ord(character):04x}"
        if unicodedata.bidirectional(character) in _DIRECTIONS
        or (unicodedata.category(character) in ("Cc", "Zl", "Zp") and character not in "\n\t")
        else character
        for character in text.replace("\r\n", "\n")
    )


def _cut(text: str, most: int) -> str:
    """The beginning and the end, where the conclusion is; bounded in what it takes as JSON."""
    text = visible(text)
    kept = min(len(text), most)
    while kept and len(inert_json(_ends(text, kept))) > _ANSWER_BYTES * most / _ANSWER_CHARACTERS:
        kept = kept * 4 // 5
    return _ends(text, kept)


def _ends(text: str, kept: int) -> str:
    if len(text) <= kept:
        return text
    half = kept // 2
    return f"{text[:half]}\n[...]\n{text[len(text) - half :]}"
