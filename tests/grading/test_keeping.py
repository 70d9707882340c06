"""A grader that breaks over an answer costs that answer its grade, and nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, questions_of
from pytest_pbias.errors import ConfigurationError, DataError, InfrastructureError
from pytest_pbias.grading import Grade, Graded, Grader, Judging, Ungraded
from pytest_pbias.grading.answers.number import extract_number
from pytest_pbias.grading.cached_grades import cached_grades
from pytest_pbias.grading.graders import ItemwiseGrader
from pytest_pbias.grading.judges import Exchange
from pytest_pbias.grading.judges.registry import validate_judges
from pytest_pbias.models.chat import Response, Sampling
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes.scoring import ScoredCell, score_cell
from pytest_pbias.prompts import default_identities
from pytest_pbias.tasks import Item, load_task, resolve_task

ITEM = Item("i", "q", "c", reference={"answer": 4.0})
FINE = Grade(1.0, "fine")
UNTYPED: Any = Grade  # as plug-ins use them, which nothing type-checks
UNREASONED: Any = Ungraded
MESSAGES = ("int too large", "x\ny \x1b[2J\u202e", "", "\ud800")
EXCEPTIONS: tuple[Callable[[], BaseException], ...] = (
    *(lambda text=text: OverflowError(text) for text in MESSAGES),
    lambda: RecursionError("deep"),
    lambda: MemoryError(),
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
    lambda: StopIteration(),
    lambda: KeyError("answer"),
    lambda: Unspeakable(),
)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@dataclass
class Batchwise:
    """A grader of whole batches that breaks over answers that contain ``bad``."""

    error: Callable[[], BaseException]
    name: str = "batchwise"
    version: str = "1"
    kept: bool = False
    in_key: bool = False
    calls: list[int] = field(default_factory=list)

    def key(self, item: Item, response: str) -> str | None:
        if self.in_key and "bad" in response:
            raise self.error()
        return f"{len(response)} {response}" if self.kept else None

    def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Graded]:
        self.calls.append(len(pairs))
        if any("bad" in text for _, text in pairs):
            raise self.error()
        return [FINE] * len(pairs)


def broken(error: Callable[[], BaseException]) -> Callable[[Item, str], Grade]:
    def grade_one(item: Item, response: str) -> Grade:
        if "bad" in response:
            raise error()
        return FINE

    return grade_one


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def check(graded: Sequence[Graded], texts: Sequence[str]) -> None:
    for grade, text in zip(graded, texts, strict=True):
        if "bad" not in text:
            assert grade == FINE
            continue
        assert isinstance(grade, Ungraded)
        assert grade.broke
        assert grade.reason.isprintable()
        assert re.search(r"broke over this answer: \w+", grade.reason)
        assert "test_keeping.py:" in grade.reason


@pytest.mark.parametrize("error", EXCEPTIONS)
@pytest.mark.parametrize("texts", [["a", "bad", "b"], ["bad"], ["bad 1", "bad 2", "c"]])
def test_an_exception_is_the_error_of_one_answer(
    error: Callable[[], BaseException], texts: list[str], store: Store
) -> None:
    pairs = [(ITEM, text) for text in texts]
    graders: list[Grader] = [
        ItemwiseGrader("itemwise", "1", broken(error)),
        Batchwise(error),
        Batchwise(error, kept=True),
    ]
    for grader in graders:
        for kept_in in (None, store):
            check(cached_grades(grader, pairs, kept_in), texts)
    # Only grades are kept: a rerun tries again what had none.
    again = Batchwise(error, kept=True)
    check(cached_grades(again, pairs, store), texts)
    bad = sum("bad" in text for text in texts)
    assert again.calls[0] == bad


def test_an_exception_while_a_key_is_made_is_no_other() -> None:
    pairs = [(ITEM, "a"), (ITEM, "bad")]
    grader = Batchwise(lambda: ValueError("odd"), kept=True, in_key=True)
    check(cached_grades(grader, pairs, None), ["a", "bad"])


def test_a_grader_that_breaks_over_everything_is_not_tried_for_long() -> None:
    grader = Batchwise(lambda: ValueError("odd"))
    graded = cached_grades(grader, [(ITEM, f"bad {n}") for n in range(500)], None)
    assert all(isinstance(grade, Ungraded) and grade.broke for grade in graded)
    assert grader.calls == [500, 1, 1, 1]


def test_too_few_grades_are_an_error_of_the_answers() -> None:
    class Short(Batchwise):
        def grade(self, pairs: Sequence[tuple[Item, str]]) -> list[Graded]:
            return []

    graded = cached_grades(Short(ValueError), [(ITEM, "a"), (ITEM, "b")], None)
    assert {getattr(grade, "reason", None) for grade in graded} == {
        "batchwise gave 0 grades for 1 answers"
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, InfrastructureError, ConfigurationError])
def test_what_is_no_answers_fault_is_passed_on(error: Any) -> None:
    with pytest.raises(error, match="stop"):
        cached_grades(Batchwise(lambda: error("stop")), [(ITEM, "bad"), (ITEM, "a")], None)


# -- judges of plug-ins ----------------------------------------------------------------------------


class Fails(BaseException):
    """As pytest.fail() and pytest.skip() end a test."""


class Plugin:
    name, version, keeps_grades = "odd", "1", False

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def judge(self, exchanges: Sequence[Exchange], criterion: str) -> list[Any]:
        return [self.make() if "bad" in one.response else FINE for one in exchanges]


def raising(error: BaseException | type[BaseException]) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


def measure(make: Callable[[], Any], tmp_path: Path) -> ScoredCell:
    """Six answers to Do-Not-Answer, the third bad, judged by a plug-in."""
    task = resolve_task("do_not_answer")
    data = load_task(task, data_dir=data_dir(), limit=6)
    cell = Cell(task, default_identities()[1])
    protocol = RequestSettings("m", "system", Sampling(), repeats=1, seed=0)
    store = Store(tmp_path / "plugin.sqlite")
    questions = tuple(questions_of(cell, data, protocol))
    texts = ["one", "two", "bad", "four", "five", "six"]
    store.put_many(
        Response(question.request.key, text, "stop", 1, 1, 0.1)
        for question, text in zip(questions, texts, strict=True)
    )
    graders = Judging(validate_judges([Plugin(make)])).graders(task)
    measurement = score_cell(cell, data, protocol, store, {}, graders, questions)
    store.close()
    return measurement


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (raising(SystemExit(3)), "broke: SystemExit: 3"),
        (raising(SystemExit), "broke: SystemExit: "),
        (raising(ZeroDivisionError("by zero")), "broke: ZeroDivisionError: by zero"),
        (raising(Unspeakable), "broke: Unspeakable: "),
        (lambda: UNTYPED(1.0, "x", parsable=None), "parsable True or False"),
        (lambda: UNTYPED(1.0, "x", parsable="no"), "parsable True or False"),
        (lambda: UNTYPED(None, "x"), "no Grade with a score"),
        (lambda: Grade(2.0, "x"), "no Grade with a score"),
        (lambda: UNTYPED(1.0, None), "no Grade with a score"),
        (lambda: UNREASONED(None), "no Grade with a score"),
        (lambda: None, "gave 'None', which is no Grade"),
        (lambda: Unspeakable(), "gave an object of class Unspeakable"),
    ],
)
def test_a_plugin_that_breaks_over_an_answer(
    make: Callable[[], Any], says: str, tmp_path: Path
) -> None:
    measurement = measure(make, tmp_path)
    assert [grade == FINE for grade in measurement.grades] == [True, True, False] + [True] * 3
    assert measurement.missing == 1
    (error,) = (one for one in measurement.errors if one is not None)
    assert says in error
    assert error.endswith(f"the answer's key is {measurement.questions[2].request.key}")


@pytest.mark.parametrize("error", [Fails("over"), DataError("no data"), GeneratorExit()])
def test_what_a_plugin_ends_a_test_with_is_an_error_of_the_cell(
    error: BaseException, tmp_path: Path
) -> None:
    measurement = measure(raising(error), tmp_path)
    assert measurement.missing == 6
    assert {str(one)[:12] for one in measurement.errors} == {"not judged: "}


# -- numbers in words ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["hundred", "nine hundred", "billion", "million billion"])
@pytest.mark.parametrize("times", [5, 155, 1000, 20_000])
@pytest.mark.parametrize("frame", ["{}", "The answer is {}.", "#### {}", "minus {}", "A. {}\nB"])
def test_words_for_whole_numbers_are_bounded(word: str, times: int, frame: str) -> None:
    started = time.monotonic()
    found = extract_number(frame.format(f"{word} " * times))
    assert found is not None
    assert 0 < abs(found) <= 1e18
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "text",
    ["1" * 5000, f"{'9' * 400}e299", "1e299 trillion", f"1/0.{'0' * 400}1", f"{'7' * 5000}/3",
     f"1 1/{'9' * 4}", f"-{'8' * 310} x 10^299", "\u0663" * 5000, "1," + "234," * 3000],
)  # fmt: skip
def test_digits_without_end_break_no_grader(text: str) -> None:
    for task in ("gsm8k", "mmlu", "bbh"):
        try:
            data = load_task(resolve_task(task), data_dir=data_dir(), limit=1)
        except (ConfigurationError, DataError):
            continue
        grader = Judging().graders(resolve_task(task))[0]
        for frame in ("{}", "The answer is {}", "\\boxed{{{}}}"):
            (grade,) = grader.grade([(data.items[0], frame.format(text))])
            assert isinstance(grade, Grade)
