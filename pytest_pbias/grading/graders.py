"""One grader for each form of answer that is right or wrong; all blind to the identity."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pytest_pbias.collecting.records import grade_key
from pytest_pbias.errors import quoted
from pytest_pbias.grading.answers.choice import extract_choice
from pytest_pbias.grading.answers.freeform import extract_freeform, matches_target
from pytest_pbias.grading.answers.number import extract_number
from pytest_pbias.grading.answers.programs import extract_code
from pytest_pbias.grading.answers.prompt_echo import without_echo, without_prompt
from pytest_pbias.grading.base import CUT_OFF, Graded, Grader, Ungraded, fault_line
from pytest_pbias.grading.no_answer import NO_ANSWER, no_answer
from pytest_pbias.grading.patterns import SECONDS, Found, find_all
from pytest_pbias.grading.sandbox import Program, probe, run_many
from pytest_pbias.grading.thinking import Thinking, split_thinking
from pytest_pbias.tasks.base import Grade, Item, Task

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
        none = grade == _UNPARSABLE and no_answer(item.prompt, response.answer)
        return _NONE if none else grade


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
    version: str = "5"

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


def _plain(text: str, *, match_case: bool) -> str:
    """A text as answers are compared: blanks made single, and in one case unless that matters."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    return plain if match_case else plain.casefold()


def _grade_exact(item: Item, response: str, *, match_case: bool) -> Grade:
    """Whether the whole answer is one of the right ones, but for marks around it."""
    said = _plain(without_prompt(response, item.prompt), match_case=match_case)
    right = (_plain(one, match_case=match_case) for one in item.reference["answers"])
    return _CORRECT if any(one in (said, said.strip(_AROUND)) for one in right) else _INCORRECT


def _grade_contains(item: Item, response: str, *, match_case: bool) -> Grade:
    """Whether a right answer stands in the response, and not within a longer word or number."""
    said = _plain(without_prompt(response, item.prompt), match_case=match_case)
    right = (_plain(one, match_case=match_case) for one in item.reference["answers"])
    return _CORRECT if any(_whole_words(one).search(said) for one in right) else _INCORRECT


_AROUND = " .!\"'*_`()[]"
# Where words have no blanks between them, as in Chinese, a word may follow at once.
_IN_WORD = "[0-9A-Za-z\u00c0-\u024f\u0370-\u052f]"


def _whole_words(text: str) -> re.Pattern[str]:
    before = rf"(?<!{_IN_WORD})(?<!\d[.,])" if re.match(_IN_WORD, text) else ""
    after = rf"(?!{_IN_WORD}|[.,]\d)" if re.match(_IN_WORD, text[-1:]) else ""
    return re.compile(before + re.escape(text) + after)


@dataclass(frozen=True, slots=True)
class PatternGrader:
    """Looks for a regular expression, the task's or each item's own, under a time limit.

    What the task's pattern finds last is compared with the right answers, where items have some.
    """

    version: str
    pattern: str | None
    match_case: bool
    name: str = "pattern"

    def key(self, item: Item, response: str) -> str | None:
        """Looking again is cheap."""
        return None

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Graded]:
        """Grade responses by what they answer, in order.

        Raises:
            InfrastructureError: patterns cannot be looked for.
        """
        thoughts = [split_thinking(response) for _, response in pairs]
        asked = [
            (
                self.pattern or str(item.reference["pattern"]),
                without_prompt(one.answer, item.prompt),
            )
            for (item, _), one in zip(pairs, thoughts, strict=True)
        ]
        flags = 0 if self.match_case else re.IGNORECASE
        found = find_all(asked, flags=int(flags))
        return [
            CUT_OFF if thought.cut_off else self._grade(item, one, thought)
            for (item, _), one, thought in zip(pairs, found, thoughts, strict=True)
        ]

    def _grade(self, item: Item, found: Found, thought: Thinking) -> Graded:
        if found.late:
            return Ungraded(
                f"the pattern took longer than {SECONDS:g} s over this answer: it has a repeat "
                "within a repeat, such as (a+)+",
                broke=True,
            )
        right = item.reference.get("answers")
        if found.text is None:
            if thought.unfinished:
                return CUT_OFF
            return _UNPARSABLE if right else _INCORRECT
        if not right:
            return _CORRECT
        said = _plain(found.text, match_case=self.match_case)
        same = any(said == _plain(one, match_case=self.match_case) for one in right)
        return _CORRECT if same else _INCORRECT


def is_sound(grade: object) -> bool:
    """Whether users' code, which nothing type-checks, has filled in a grade as it must."""
    if not isinstance(grade, Grade):
        return False
    score: object = grade.score
    parsable: object = grade.parsable
    return (
        isinstance(score, int | float)
        and math.isfinite(score)
        and 0.0 <= score <= 1.0
        and isinstance(grade.label, str)
        and isinstance(parsable, bool | np.bool_)
    )


def storable(text: str) -> str:
    """The text in valid UTF-8: one copied from an answer can hold lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _own_grader(task: Task) -> Grader:
    """The grader of a task in Python that grades by itself."""
    assert task.own is not None
    own = task.own

    def grade_one(item: Item, response: str) -> Grade:
        grade = own.grade(item, response)
        if not is_sound(grade):
            raise TypeError(
                f"grade() gave {quoted(grade)}, which is no Grade with a score in [0, 1], a "
                "label, and parsable True or False"
            )
        return Grade(float(grade.score), storable(grade.label), bool(grade.parsable))

    return ItemwiseGrader(task.name, str(task.options.get("version", "1")), grade_one)


_GRADERS: dict[str, Grader] = {
    "choice": ItemwiseGrader("final-choice", "6", _grade_choice),
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
    match_case = bool(task.options.get("match_case", False))
    version = "1 match case" if match_case else "1"
    match task.grader:
        case "own":
            return _own_grader(task)
        case "exact":
            grade = partial(_grade_exact, match_case=match_case)
            return ItemwiseGrader("exact-answer", version, grade)
        case "contains":
            grade = partial(_grade_contains, match_case=match_case)
            return ItemwiseGrader("contained-answer", version, grade)
        case "regex":
            pattern = task.options.get("pattern")
            if pattern is not None:
                version += f" {hashlib.sha256(pattern.encode()).hexdigest()[:8]}"
            return PatternGrader(version, pattern, match_case)
        case _:
            return _GRADERS[task.grader]


__all__ = ["CodeGrader", "ItemwiseGrader", "answer_grader", "cannot_grade", "extract_code"]
