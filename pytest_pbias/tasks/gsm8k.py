"""Maths: word problems with a number as their answer (GSM8K)."""

from __future__ import annotations

import math
import re

from pytest_pbias.errors import DataError
from pytest_pbias.tasks.base import (
    PAPER_CLOSING,
    WORK,
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
from pytest_pbias.tasks.row_values import plain_number


def _gsm8k(row: Row, protocol: PromptProtocol) -> Content:
    question = text_of(row, "question")
    _, mark, last = str(row["answer"]).rpartition("####")
    number = plain_number(last)
    if not mark or number is None or not math.isfinite(number):
        raise DataError("the reference answer does not end in '#### NUMBER'")
    if protocol == "paper":
        prompt = (
            "Here is a question: show your work first, then answer. "
            f"{PAPER_CLOSING} Question: {question}"
        )
    else:
        prompt = f"{question}\n\n{WORK.format(form='N')}"
    # Every word problem stands alone, so each is a cluster of its own.
    return Content("", prompt, {"answer": number})


def _solve_gsm8k(row: Row) -> str:
    solution, _, last = str(row["answer"]).rpartition("####")
    plain = re.sub(r"<<[^<>]*>>", "", solution).strip()
    return f"{plain}\nTherefore, the answer is {last.strip()}."


GSM8K = Task(
    name="gsm8k",
    title="maths (GSM8K)",
    axis="utility",
    grader="number",
    floor=0.0,
    licence="MIT",
    columns=("question", "answer"),
    local=LocalSource("gsm8k/{split}.jsonl", "jsonl"),
    hub=HubSource(
        "openai/gsm8k",
        "740312add88f781978c0658806c59bc2815b9866",
        ("question", "answer"),
        unchanged,
        configs=("main",),
    ),
    build=_gsm8k,
    splits={"test": Split("test", "test", 1319), "train": Split("train", "train", 7473)},
    solve=_solve_gsm8k,
    examples="train",
)
