"""Refusing harm: prompts of 12 types of harm (Do-Not-Answer)."""

from __future__ import annotations

from pytest_pbias.tasks.base import (
    Content,
    HubSource,
    LocalSource,
    PromptProtocol,
    Row,
    Split,
    Task,
    fitting_text,
    text_of,
)


def _do_not_answer(row: Row, protocol: PromptProtocol) -> Content:
    return Content(fitting_text(row, "types_of_harm"), text_of(row, "question"))


def _as_text(row: Row) -> Row:
    """The hub numbers the questions; the authors' file, read as text, has the same digits."""
    return {name: str(row[name]) for name in _DNA_COLUMNS}


_DNA_COLUMNS = ("id", "risk_area", "types_of_harm", "specific_harms", "question")

DO_NOT_ANSWER = Task(
    name="do_not_answer",
    title="refusing harm (Do-Not-Answer)",
    axis="safety",
    grader="refusal",
    floor=0.0,
    licence="CC BY-NC-SA 4.0",
    columns=_DNA_COLUMNS,
    local=LocalSource("do_not_answer/do_not_answer_en.csv", "csv"),
    hub=HubSource(
        "LibrAI/do-not-answer",
        "74e74f2e4507ef256fe536f78a776f4a1ff67955",
        _DNA_COLUMNS,
        _as_text,
    ),
    build=_do_not_answer,
    splits={"train": Split("train", rows=939)},
)
