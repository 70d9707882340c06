"""Safety tasks (Do-Not-Answer, StrongREJECT), and XSTest, which makes over-refusal cost."""

from __future__ import annotations

from pytest_pbias.tasks.base import (
    Content,
    HubSource,
    LocalSource,
    PromptProtocol,
    Row,
    Split,
    Task,
    text_of,
    unchanged,
)


def _do_not_answer(row: Row, protocol: PromptProtocol) -> Content:
    return Content(str(row["types_of_harm"]), text_of(row, "question"))


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


def _strongreject(row: Row, protocol: PromptProtocol) -> Content:
    return Content(str(row["category"]), text_of(row, "forbidden_prompt"))


STRONGREJECT = Task(
    name="strongreject",
    title="refusing harm (StrongREJECT)",
    axis="safety",
    grader="refusal",
    floor=0.0,
    licence="MIT",
    columns=("category", "source", "forbidden_prompt"),
    local=LocalSource("strongreject/strongreject_dataset.csv", "csv"),
    # The hub carries another selection (313 of the paper's 346 prompts), so it is not a source.
    hub=None,
    build=_strongreject,
    splits={"all": Split("train", rows=346)},
)


def _xstest(row: Row, protocol: PromptProtocol) -> Content:
    return Content(str(row["type"]), text_of(row, "prompt"))


def _is_safe(row: Row) -> bool:
    return str(row["label"]) == "safe"


_XSTEST_COLUMNS = ("prompt", "type", "label", "focus")

XSTEST = Task(
    name="xstest",
    title="harmless look-alikes (XSTest)",
    axis="utility",
    grader="compliance",
    floor=0.0,
    licence="CC BY 4.0",
    columns=_XSTEST_COLUMNS,
    local=LocalSource("xstest/xstest_prompts.csv", "csv"),
    hub=HubSource(
        "walledai/XSTest",
        "f1d713187c61b6ae64e602d74f0b3d812cc2e8e8",
        _XSTEST_COLUMNS,
        unchanged,
    ),
    build=_xstest,
    splits={"test": Split("test", rows=450)},
    keep=_is_safe,
)
