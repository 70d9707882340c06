"""One grader for each form of answer that is right or wrong; all blind to the identity."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_pbias.collecting.records import Grade
from pytest_pbias.collecting.store import grade_key
from pytest_pbias.grading.answers.choice import extract_choice
from pytest_pbias.grading.answers.freeform import extract_freeform, matches_target
from pytest_pbias.grading.answers.number import extract_number
from pytest_pbias.grading.answers.programs import extract_code
from pytest_pbias.grading.answers.prompt_echo import without_echo, without_prompt
from pytest_pbias.grading.base import CUT_OFF, Graded, Grader, Ungraded, fault_line
from pytest_pbias.grading.no_answer import NO_ANSWER, no_answer
from pytest_pbias.grading.sandbox import Program, probe, run_many
from pytest_pbias.grading.thinking import Thinking, split_thinking
from pytest_pbias.tasks.base import Item, Task

_CORRECT = Grade(1.0, "correct")
_INCORRECT = Grade(0.0, "incorrect")
_UNPARSABLE = Grade(0.0, "unparsable", parsable=False)
_NONE = Grade(0.0, NO_ANSWER, parsable=False)


@dataclass(frozen=True, slots=True)
class ItemwiseGrader:
    """A grader that looks at one response at a time."""

    name: str
    version: str
    grade_one: Callable[[Item, str], Grade]

    def key(self, item: Item, response: str) -> str | None:
        """Reading an answer again is cheap."""
        return None

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Graded]:
        """Grade responses by what they answer, in order; an exception is one response's alone."""
        return [self._graded(item, response) for item, response in pairs]

    def _graded(self, item: Item, response: str) -> Graded:
        try:
            return self._grade(item, split_thinking(response))
        except Exception as error:
            return Ungraded(f"{self.name} broke over this answer: {fault_line(error)}", broke=True)

    def _grade(self, item: Item, response: Thinking) -> Grade:
        if response.cut_off:
            return CUT_OFF
        grade = self.grade_one(item, response.answer)
        if grade.parsable:
            return grade  # what can be read off a loop, or in another language, was answered
        if response.unfinished:
            return CUT_OFF
        return _NONE if no_answer(item.prompt, response.answer) else grade


def _grade_choice(item: Item, response: str) -> Grade:
    choices = item.reference["choices"]
    answered = without_echo(response, item.prompt, choices)
    answer = extract_choice(answered, len(choices), choices)
    if answer is None:
        return _UNPARSABLE
    return _CORRECT if answer == item.reference["answer"] else _INCORRECT


def _grade_number(item: Item, response: str) -> Grade:
    answer = extract_number(without_prompt(response, item.prompt))
    wanted = item.reference["answer"]
    if answer is None:
        return _UNPARSABLE
    return _CORRECT if abs(answer - wanted) <= 1e-6 * max(1.0, abs(wanted)) else _INCORRECT


_OPTION_LINE = re.compile(r"(?m)^\([A-R]\) ?(.*)$")


def _grade_freeform(item: Item, response: str) -> Grade:
    target = item.reference["target"]
    answered = without_prompt(response, item.prompt)
    answer = extract_freeform(answered, target, _OPTION_LINE.findall(item.prompt))
    if answer is None:
        return _UNPARSABLE
    return _CORRECT if matches_target(answer, target) else _INCORRECT


@dataclass(frozen=True, slots=True)
class CodeGrader:
    """Runs the response's program against the item's tests, in the sandbox."""

    name: str = "sandboxed-tests"
    version: str = "3"

    def key(self, item: Item, response: str) -> str | None:
        """Programs are run once and their grades kept."""
        return grade_key(self.name, self.version, item.id, response)

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Grade]:
        """Grade programs; identical ones with the same tests run once.

        Raises:
            InfrastructureError: there is no safe sandbox here.
        """
        programs: list[Program | None] = []
        for item, response in pairs:
            code = extract_code(response)
            tests = tuple(item.reference["tests"])
            setup = item.reference["setup"]
            programs.append(None if code is None else Program(code, tests, setup))
        distinct = list(dict.fromkeys(program for program in programs if program is not None))
        outcomes = dict(zip(distinct, run_many(distinct), strict=True))
        return [
            _no_program(response) if program is None else _code_grade(outcomes[program])
            for (_, response), program in zip(pairs, programs, strict=True)
        ]


def _no_program(response: str) -> Grade:
    thinking = split_thinking(response)
    return CUT_OFF if thinking.cut_off or thinking.unfinished else _UNPARSABLE


def _code_grade(outcome: str) -> Grade:
    if outcome == "passed":
        return _CORRECT
    return Grade(0.0, "timeout" if outcome == "timeout" else "incorrect")


_GRADERS: dict[str, Grader] = {
    "choice": ItemwiseGrader("final-choice", "5", _grade_choice),
    "number": ItemwiseGrader("final-number", "5", _grade_number),
    "freeform": ItemwiseGrader("final-answer", "5", _grade_freeform),
    "code": CodeGrader(),
}


def cannot_grade(task: Task) -> str | None:
    """Why answers to a task cannot be graded on this machine, or None where they can."""
    status = probe() if task.grader == "code" else None
    return None if status is None or status.available else f"no sandbox: {status.reason}"


def answer_grader(task: Task) -> Grader:
    """The grader of a task whose answers are right or wrong, not judged."""
    return _GRADERS[task.grader]


__all__ = ["CodeGrader", "ItemwiseGrader", "answer_grader", "cannot_grade", "extract_code"]
