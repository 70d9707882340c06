"""Utility tasks: knowledge (MMLU), maths (GSM8K), reasoning (BBH), programming (MBPP)."""

from __future__ import annotations

import math
import re
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

_LETTERS = "ABCD"
_WORK = "Show your work, then end with: Therefore, the answer is {form}."
# The paper's released code puts its instructions before the question: work first, then a closing
# sentence of this form; an MMLU answer is one of the four letters, its options stand on one line.
# Its order, content and closing form are followed, not its sentences.
_PAPER_CLOSING = 'Close with a sentence of the form "Therefore, the answer is ...".'


def _mmlu(row: Row, protocol: PromptProtocol) -> Content:
    question = text_of(row, "question")
    choices = [str(row[letter]) for letter in _LETTERS]
    answer = str(row["answer"]).strip()
    if answer not in set(_LETTERS):
        raise DataError(f"the answer is {answer!r}, not one of A, B, C, D")
    options = [f"({letter}) {text}" for letter, text in zip(_LETTERS, choices, strict=True)]
    if protocol == "paper":
        prompt = (
            "Here is a multiple choice question: show your work first, then answer. "
            f"The answer must be one of (A), (B), (C), (D). {_PAPER_CLOSING}\n"
            f"Question: {question}\n{' '.join(options)}"
        )
    else:
        listed = "\n".join(options)
        prompt = f"{question}\n{listed}\n\n{_WORK.format(form='(X)')}"
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


def _gsm8k(row: Row, protocol: PromptProtocol) -> Content:
    question = text_of(row, "question")
    _, mark, last = str(row["answer"]).rpartition("####")
    try:
        number = float(last.replace(",", "").strip())
    except ValueError:
        number = None
    if not mark or number is None or not math.isfinite(number):
        raise DataError("the reference answer does not end in '#### NUMBER'")
    if protocol == "paper":
        prompt = (
            "Here is a question: show your work first, then answer. "
            f"{_PAPER_CLOSING} Question: {question}"
        )
    else:
        prompt = f"{question}\n\n{_WORK.format(form='N')}"
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


def _bbh(row: Row, protocol: PromptProtocol) -> Content:
    prompt = f"{text_of(row, 'input')}\n\n" + (
        f"Show your work first. {_PAPER_CLOSING}"
        if protocol == "paper"
        else _WORK.removesuffix("{form}.") + "..."
    )
    subtask = str(row["subtask"])
    return Content(subtask, prompt, {"target": text_of(row, "target"), "subtask": subtask})


BBH_SUBTASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)

BBH = Task(
    name="bbh",
    title="reasoning (BBH)",
    axis="utility",
    grader="freeform",
    # Random choice scores 25.7 % on average over the subtasks (Suzgun et al. 2022, table 2).
    floor=0.257,
    licence="MIT",
    columns=("input", "target"),
    local=LocalSource("bbh/*.json", "json", field="examples", name_column="subtask"),
    hub=HubSource(
        "lukaemon/bbh",
        "982bb89fd79532a8ac676a61fc42eb1aeec63f99",
        ("input", "target"),
        unchanged,
        configs=BBH_SUBTASKS,
        config_column="subtask",
    ),
    build=_bbh,
    splits={"test": Split("test", "", 6511)},
)


def _mbpp(row: Row, protocol: PromptProtocol) -> Content:
    text, tests = text_of(row, "text"), _assertions(row, "test_list")
    if not tests:
        raise DataError("test_list is empty: it would pass every program")
    setup = row.get("test_setup_code") or ""
    if not isinstance(setup, str):
        raise DataError(f"test_setup_code is {quoted(setup)}, not a text")
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
        "challenge_tests": _assertions(row, "challenge_test_list")
        if row.get("challenge_test_list") is not None
        else [],
    }
    return Content("", prompt, reference)


def _assertions(row: Row, column: str) -> list[str]:
    """The assertions in a column.

    Raises:
        DataError: it is no list of such: a number or a name in place of one passes any program.
    """
    tests = row[column]
    if not isinstance(tests, list):
        raise DataError(f"{column} is {quoted(tests)}, not a list of assertions")
    for test in tests:
        if not isinstance(test, str) or "assert" not in test or "\0" in test:
            raise DataError(f"{column} has {quoted(test)}, which is no assertion")
    return tests


def _solve_mbpp(row: Row) -> str:
    code = str(row["code"]).replace("\r\n", "\n").strip()
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
