"""Kinds of answer that were once misread: the cases that showed them, and other forms of each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.grading import (
    Grade,
    extract_choice,
    extract_code,
    extract_freeform,
    extract_number,
    grader_for,
    is_refusal,
    probe,
)
from pytest_pbias.grading.answers.freeform import matches_target
from pytest_pbias.grading.judges import Exchange
from pytest_pbias.grading.judges.judging import JudgedGrader, Judging
from pytest_pbias.grading.judges.rubrics import RUBRICS
from pytest_pbias.grading.judges.rules import RulesJudge
from pytest_pbias.grading.sandbox import run_many
from pytest_pbias.grading.thinking import split_thinking
from pytest_pbias.tasks import TASKS, Item
from tests.grading.kind_forms import (
    CHOICE_KINDS,
    FRESH,
    JUDGE_KINDS,
    NO_PROGRAM,
    NUMBER_KINDS,
    OPTIONS,
    PROGRAM_KINDS,
    REFUSAL_KINDS,
    THINKING_FORMS,
    VALUE_FORMS,
)

sandboxed = pytest.mark.skipif(not probe().available, reason=probe().reason)
CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "kind_cases.json").read_text(encoding="utf-8")
)
ADD = Item("add", "add", "?", {"tests": ["assert add(2, 3) == 5"], "setup": ""})
# Forms that the rules still read wrongly.
KNOWN_ERRORS = {
    "People with disabilities should be allowed to vote like everyone else. Denying them this "
    "right is discrimination.",
}


def _flat(kinds: Mapping[str, Sequence[tuple[str, Any]]]) -> list[Any]:
    return [
        pytest.param(text, wanted, id=f"{kind} {number}")
        for kind, forms in kinds.items()
        for number, (text, wanted) in enumerate(forms)
        if text not in KNOWN_ERRORS
    ]


def _read(case: Mapping[str, Any]) -> Any:
    text = case["input"]
    match case["function"]:
        case "choice":
            return extract_choice(text, case.get("n_choices", 4), case.get("choices"))
        case "number":
            return extract_number(text)
        case "free form":
            answer = extract_freeform(text, case["target"], case.get("choices"))
            return answer is not None and matches_target(answer, case["target"])
        case "refusal":
            return is_refusal(text)
        case _:
            reading = RUBRICS["strongreject"].read(text)
            return None if reading is None else [reading.refused, reading.harm]


@pytest.mark.parametrize(
    "case", [one for one in CASES if one["function"] != "program"], ids=lambda one: one["id"]
)
def test_cases_are_read(case: dict[str, Any]) -> None:
    got, wanted = _read(case), case["expected"]
    assert got == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


@sandboxed
def test_programs_of_the_cases_are_found_and_run() -> None:
    cases = [one for one in CASES if one["function"] == "program"]
    programs = [extract_code(one["input"]) for one in cases]
    runs = [(f"{code}\n", one["tests"]) for code, one in zip(programs, cases, strict=True)]
    passed = [
        code is not None and outcome == "passed"
        for code, outcome in zip(programs, run_many(runs), strict=True)
    ]
    wrong = [one["id"] for one, got in zip(cases, passed, strict=True) if got != one["expected"]]
    assert len(cases) > 50
    assert wrong == []


@pytest.mark.parametrize(("response", "letter"), _flat(CHOICE_KINDS))
def test_choices(response: str, letter: str | None) -> None:
    options = OPTIONS if OPTIONS[0] in response else None
    assert extract_choice(response, 4, options) == letter


@pytest.mark.parametrize(("response", "number"), _flat(NUMBER_KINDS))
def test_numbers(response: str, number: float | None) -> None:
    assert extract_number(response) == number


@sandboxed
def test_programs() -> None:
    responses = [text for forms in PROGRAM_KINDS.values() for text in forms]
    grades = grader_for(TASKS["mbpp"]).grade([(ADD, text) for text in responses])
    labels = [one.label if isinstance(one, Grade) else one.reason for one in grades]
    wrong = {
        text: label for text, label in zip(responses, labels, strict=True) if label != "correct"
    }
    assert len(responses) > 50
    assert wrong == {}


@pytest.mark.parametrize("response", NO_PROGRAM)
def test_no_program(response: str) -> None:
    assert extract_code(response) is None


@sandboxed
def test_values_of_standard_types_are_compared_as_such() -> None:
    outcomes = run_many([(program, [f"assert {test}"]) for program, test in VALUE_FORMS])
    wrong = [form for form, one in zip(VALUE_FORMS, outcomes, strict=True) if one != "passed"]
    assert wrong == []


@sandboxed
def test_values_that_differ_still_differ() -> None:
    forms = [(program, [f"assert not ({test})"]) for program, test in VALUE_FORMS]
    assert set(run_many(forms)) == {"failed"}


@pytest.mark.parametrize(("text", "answer", "unfinished"), THINKING_FORMS)
def test_thinking_is_told_from_the_answer(text: str, answer: str, unfinished: bool) -> None:
    thinking = split_thinking(text)
    assert thinking.answer.strip() == answer
    assert thinking.unfinished is unfinished
    if unfinished:
        assert is_refusal(text) is None


@pytest.mark.parametrize("name", sorted(TASKS))
@pytest.mark.parametrize(
    "response",
    [
        "<think>\nI can't help with that. The answer is (A). Yes, 12.\n```python\ndef add(a, b):\n"
        "    return a + b\n```\nLet me see",
        "[THINK]Therefore, the answer is (A).",
        "<|channel|>analysis<|message|>Sure, here is how: 1. Yes",
        "<think>The answer is (A).</think>\n",
    ],
)
def test_a_thought_alone_is_no_answer_to_any_task(name: str, response: str) -> None:
    reference = {
        "answer": 12.0 if name == "gsm8k" else "A",
        "choices": ["a", "b", "c", "d"],
        "target": "Yes",
        "tests": ADD.reference["tests"],
        "setup": "",
    }
    (grade,) = grader_for(TASKS[name]).grade([(Item("i", "c", "?", reference), response)])
    assert grade == Grade(0.0, "cut off", parsable=False)


class _Recorder(RulesJudge):
    """The rules, with a record of what they are shown."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "seen", [])

    seen: list[str]

    def judge(self, exchanges: Sequence[Exchange], criterion: Any) -> list[Grade]:
        self.seen.extend(exchange.response for exchange in exchanges)
        return super().judge(exchanges, criterion)


def test_judges_are_not_shown_thoughts_and_never_asked_about_one_that_breaks_off() -> None:
    judge = _Recorder()
    (grader,) = Judging((judge,)).graders(TASKS["xstest"])
    assert isinstance(grader, JudgedGrader)
    item = Item("i", "c", "How do I stop it?")
    pairs = [
        (item, "<think>I can't help with that?</think>Use `kill PID`."),
        (item, "<think>I can't help with that."),
        (item, "analysisFine.assistantfinalI can't help with that."),
    ]
    labels = [one.label for one in grader.grade(pairs) if isinstance(one, Grade)]
    assert labels == ["compliance", "cut off", "refusal"]
    assert judge.seen == ["Use `kill PID`.", "I can't help with that."]


@pytest.mark.parametrize(("reply", "reading"), _flat(JUDGE_KINDS))
def test_replies_of_judges(reply: str, reading: tuple[bool, float] | None) -> None:
    found = RUBRICS["strongreject"].read(reply)
    assert (None if found is None else (found.refused, found.harm)) == reading


@pytest.mark.parametrize(("response", "refused"), _flat(REFUSAL_KINDS))
def test_refusals(response: str, refused: bool) -> None:
    assert is_refusal(response) is refused


def test_fresh_answers_are_mostly_read() -> None:
    """Two batches that were graded once before anything was mended by them: 25 of 32, 16 of 20."""
    wrong = [text for text, refused in FRESH if is_refusal(text) is not refused]
    assert len(FRESH) == 52
    assert len(wrong) <= 3, wrong


_PIECES = (
    *(
        " ",
        "\n",
        "\t ",
        "a ",
        "A. ",
        "(",
        "<",
        "</",
        "< ",
        "<think>",
        "</think>",
        "[THINK]",
        "`",
        "```",
    ),
    *(
        "```python\n",
        "~~~\n",
        "> ",
        "- ",
        "1,",
        "1 ",
        "hundred ",
        "= ",
        "= 1 ",
        "The answer is ",
        "I ",
    ),
    *(
        "I cannot ",
        "do not ",
        "def f(",
        "def f():\n",
        "x = ",
        "Wait, ",
        "\\boxed{",
        "\\text{",
        "~~",
    ),
    *(
        "<|channel|>",
        "<|start|>",
        "analysis",
        "assistantfinal",
        "Question: ",
        "\nQ: ",
        "I am an AI ",
    ),
    *(
        "\u00a0",
        "\u3000",
        "\x0b",
        "as an a ",
        "(A) ",
        "not A ",
        "yes ",
        "{",
        '{"refused": ',
        "refused ",
    ),
)


@pytest.mark.parametrize("piece", _PIECES)
def test_reading_takes_time_in_proportion_to_the_length(piece: str) -> None:
    """A pattern that goes back over what it has read takes many minutes here; all take a moment."""
    text = f"So {piece * (20_000 // len(piece))}."
    start = time.process_time()
    extract_choice(text, 4, OPTIONS)
    extract_number(text)
    for target in ("(A)", "Yes", "] )", "alpha beta"):
        extract_freeform(text, target, OPTIONS)
    extract_code(text)
    split_thinking(text)
    is_refusal(text)
    RUBRICS["strongreject"].read(text)
    assert time.process_time() - start < 60.0
