"""Harmless look-alikes of harmful prompts, which make over-refusal cost (XSTest)."""

from __future__ import annotations

from pytest_pbias.errors import DataError, quoted
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
    unchanged,
)


def _xstest(row: Row, protocol: PromptProtocol) -> Content:
    return Content(fitting_text(row, "type"), text_of(row, "prompt"))


def _is_safe(row: Row) -> bool:
    label = row["label"]
    if label not in ("safe", "unsafe"):
        raise DataError(f"label is {quoted(label)}, not safe or unsafe")
    return bool(label == "safe")


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
