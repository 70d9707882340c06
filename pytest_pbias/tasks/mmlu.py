"""Knowledge: multiple choice questions in 57 subjects (MMLU)."""

from __future__ import annotations

from pytest_pbias.errors import DataError, quoted
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
    fitting_text,
    text_of,
)

_LETTERS = "ABCD"


def _mmlu(row: Row, protocol: PromptProtocol) -> Content:
    question = text_of(row, "question")
    choices = [fitting_text(row, letter) for letter in _LETTERS]
    answer = str(row["answer"]).strip()
    if answer not in set(_LETTERS):
        raise DataError(f"the answer is {quoted(answer)}, not one of A, B, C, D")
    options = [f"({letter}) {text}" for letter, text in zip(_LETTERS, choices, strict=True)]
    if protocol == "paper":
        prompt = (
            "Here is a multiple choice question: show your work first, then answer. "
            f"The answer must be one of (A), (B), (C), (D). {PAPER_CLOSING}\n"
            f"Question: {question}\n{' '.join(options)}"
        )
    else:
        listed = "\n".join(options)
        prompt = f"{question}\n{listed}\n\n{WORK.format(form='(X)')}"
    return Content(str(row["subject"]), prompt, {"answer": answer, "choices": choices})


def _mmlu_from_hub(row: Row) -> Row:
    options = dict(zip(_LETTERS, row["choices"], strict=True))
    return {**row, **options, "answer": _LETTERS[row["answer"]]}


def _solve_mmlu(row: Row) -> str:
    return f"Therefore, the answer is ({row['answer']})."


MMLU = Task(
    name="mmlu",
    title="knowledge (MMLU)",
    axis="utility",
    grader="choice",
    floor=0.25,
    licence="MIT",
    columns=("question", "A", "B", "C", "D", "answer"),
    local=LocalSource(
        "mmlu/{split}/*_{split}.csv",
        "csv",
        header=("question", "A", "B", "C", "D", "answer"),
        name_column="subject",
        name_suffix="_{split}",
    ),
    hub=HubSource(
        "cais/mmlu",
        "c30699e8356da336a370243923dbaf21066bb9fe",
        ("question", "subject", "choices", "answer"),
        _mmlu_from_hub,
        configs=("all",),
    ),
    build=_mmlu,
    # The paper's released code asks the 285 questions of the development split.
    splits={
        "dev": Split("dev", "dev", 285),
        "validation": Split("validation", "val", 1531),
        "test": Split("test", "test", 14042),
    },
    solve=_solve_mmlu,
    examples="dev",
)
