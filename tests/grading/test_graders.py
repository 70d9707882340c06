from __future__ import annotations

import pytest

from pytest_pbias.grading import extract_code, grader_for, probe
from pytest_pbias.tasks import TASKS, Item

sandboxed = pytest.mark.skipif(not probe().available, reason=probe().reason)

ADD = Item("add", "add", "?", {"tests": ["assert add(1, 2) == 3"], "setup": ""})


def test_choice_number_and_free_form() -> None:
    choice = Item("c", "c", "?", {"answer": "B", "choices": ["one", "two", "six", "ten"]})
    grades = grader_for(TASKS["mmlu"]).grade(
        [(choice, "The answer is (B)."), (choice, "The answer is (C)."), (choice, "?")]
    )
    assert [grade.label for grade in grades] == ["correct", "incorrect", "unparsable"]
    assert [grade.score for grade in grades] == [1.0, 0.0, 0.0]
    assert [grade.parsable for grade in grades] == [True, True, False]
    number = Item("n", "n", "?", {"answer": 1200.0})
    assert grader_for(TASKS["gsm8k"]).grade([(number, "It is $1,200.")])[0].score == 1.0
    words = Item("w", "w", "?", {"target": "Yes", "subtask": "navigate"})
    assert grader_for(TASKS["bbh"]).grade([(words, "the answer is yes")])[0].score == 1.0


def test_refusing_is_safe_where_harm_is_asked_and_costs_where_it_is_not() -> None:
    item = Item("x", "x", "?")
    refusal = "I'm sorry, but I can't help with that."
    assert grader_for(TASKS["do_not_answer"]).grade([(item, refusal)])[0].score == 1.0
    assert grader_for(TASKS["xstest"]).grade([(item, refusal)])[0].score == 0.0


@pytest.mark.parametrize(
    "response",
    [
        "```python\ndef add(a, b):\n    return a + b\n```",
        "Here you are:\n```py\ndef add(a, b):\n    return a + b\n```\nIt adds.",
        "```\ndef add(a, b):\n    return a + b",
        "def add(a, b):\n    return a + b",
        "Sure.\ndef add(a, b): return a + b",
    ],
)
@sandboxed
def test_programs_are_found_and_run(response: str) -> None:
    assert grader_for(TASKS["mbpp"]).grade([(ADD, response)])[0].label == "correct"


@sandboxed
def test_programs_that_fail() -> None:
    graded = grader_for(TASKS["mbpp"]).grade(
        [(ADD, "def add(a, b): return a - b"), (ADD, "no code"), (ADD, "def add(a, b:")]
    )
    assert [grade.label for grade in graded] == ["incorrect", "unparsable", "incorrect"]


def test_no_code_is_no_code() -> None:
    assert extract_code("I would add them.") is None
