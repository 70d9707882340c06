"""Programming: short Python programs that tests check (MBPP)."""

from __future__ import annotations

from collections.abc import Callable

from pytest_pbias.errors import DataError, quoted
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
from pytest_pbias.tasks.row_values import assertions, python


def _mbpp(row: Row, protocol: PromptProtocol) -> Content:
    text, tests = text_of(row, "text"), assertions(row["test_list"], "test_list")
    if not tests:
        raise DataError("test_list is empty: it would pass every program")
    setup = "" if row.get("test_setup_code") is None else row["test_setup_code"]
    python(setup, "test_setup_code")
    shown = "\n".join(tests)
    if protocol == "paper":
        prompt = (
            f"Solve this problem with a Python program:\n{text}\n\n"
            f"The code has to pass these tests:\n{shown}"
        )
    else:
        prompt = (
            f"{text}\nYour code must pass these tests:\n{shown}\n\nAnswer with Python code only."
        )
    reference = {
        "tests": tests,
        "setup": setup,
        "challenge_tests": assertions(row["challenge_test_list"], "challenge_test_list")
        if row.get("challenge_test_list") is not None
        else [],
    }
    return Content("", prompt, reference)


def _solve_mbpp(row: Row) -> str:
    code = text_of(row, "code").replace("\r\n", "\n").strip()
    return f"```python\n{code}\n```"


def _numbered(first: int, last: int) -> Callable[[Row], bool]:
    """The rows of a split, as the authors number it."""
    return lambda row: first <= _number_of(row) <= last


def _number_of(row: Row) -> int:
    try:
        return int(row["task_id"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"task_id is {quoted(row['task_id'])}, not a whole number") from None


MBPP = Task(
    name="mbpp",
    title="programming (MBPP)",
    axis="utility",
    grader="code",
    floor=0.0,
    licence="CC BY 4.0",
    columns=("text", "code", "task_id", "test_setup_code", "test_list"),
    local=LocalSource("mbpp/mbpp.jsonl", "jsonl"),
    hub=HubSource(
        "google-research-datasets/mbpp",
        "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        ("text", "code", "task_id", "test_setup_code", "test_list"),
        unchanged,
        configs=("full",),
    ),
    build=_mbpp,
    splits={
        "all": Split("prompt+test+validation+train", rows=974),
        "prompt": Split("prompt", rows=10, keep=_numbered(1, 10)),
        "test": Split("test", rows=500, keep=_numbered(11, 510)),
        "validation": Split("validation", rows=90, keep=_numbered(511, 600)),
        "train": Split("train", rows=374, keep=_numbered(601, 974)),
    },
    solve=_solve_mbpp,
    examples="prompt",
)
