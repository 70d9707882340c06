"""Refusing harm: prompts of six categories (StrongREJECT)."""

from __future__ import annotations

from pytest_pbias.tasks.base import (
    Content,
    LocalSource,
    PromptProtocol,
    Row,
    Split,
    Task,
    fitting_text,
    text_of,
)


def _strongreject(row: Row, protocol: PromptProtocol) -> Content:
    return Content(fitting_text(row, "category"), text_of(row, "forbidden_prompt"))


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
