"""The graders of task files and of tasks in Python."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, cast

import pytest

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.grading import Grade, Ungraded, grader_for
from pytest_pbias.grading.judges.rubrics import own_rubric
from pytest_pbias.grading.patterns import Found, find_all
from pytest_pbias.tasks import Item, Task, load_task
from pytest_pbias.tasks.base import GraderName, Split
from pytest_pbias.tasks.own import as_task


def _task(grader: GraderName, **options: Any) -> Task:
    return Task(
        *("mine", "mine", "utility", grader, 0.0, "", (), None, None),
        build=lambda row, protocol: pytest.fail("no rows"),
        splits={"all": Split("")},
        options=options,
    )


def _label(task: Task, response: str, reference: dict[str, Any], prompt: str = "?") -> str:
    (grade,) = grader_for(task).grade([(Item("i", "c", prompt, reference), response)])
    assert isinstance(grade, Grade), grade
    assert grade.score == float(grade.label == "correct")
    return grade.label


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("Paris", "correct"),
        (" paris.\n", "correct"),
        ("**Paris**", "correct"),
        ("<think>Rome?</think>Paris", "correct"),
        ("Paris, France", "incorrect"),
        ("<think>Paris", "cut off"),
        ("\uff30\uff41\uff52\uff49\uff53", "correct"),
    ],
)
def test_exact(response: str, label: str) -> None:
    assert _label(_task("exact"), response, {"answers": ["Lutetia", "Paris"]}) == label


@pytest.mark.parametrize(
    ("response", "answer", "label"),
    [
        ("It is PARIS, of course.", "Paris", "correct"),
        ("I like Parisian food.", "Paris", "incorrect"),
        ("It costs 142 francs", "42", "incorrect"),
        ("It costs 42.5 francs", "42", "incorrect"),
        ("It costs 3.42 francs", "42", "incorrect"),
        ("It costs 42.", "42", "correct"),
        ("首都は東京です", "東京", "correct"),
        ("two\nlines", "two lines", "correct"),
        ("C++ it is", "C++", "correct"),
        ("$x$", "$x$", "correct"),
        ("Which of them is it, Paris or Rome? Rome.", "Paris", "incorrect"),
    ],
)
def test_contains(response: str, answer: str, label: str) -> None:
    prompt = "Which of them is it, Paris or Rome?"
    assert _label(_task("contains"), response, {"answers": [answer]}, prompt) == label


def test_capitals_may_matter() -> None:
    task = _task("contains", match_case=True)
    assert _label(task, "polish", {"answers": ["Polish"]}) == "incorrect"
    assert _label(task, "Polish", {"answers": ["Polish"]}) == "correct"
    assert grader_for(task).version != grader_for(_task("contains")).version


def test_a_pattern_finds_the_answer() -> None:
    task = _task("regex", pattern=r"answer: (\w+)")
    right = {"answers": ["Rome"]}
    assert _label(task, "answer: Paris. No, ANSWER: rome", right) == "correct"
    assert _label(task, "Answer: Paris", right) == "incorrect"
    assert _label(task, "Rome", right) == "unparsable"
    named = _task("regex", pattern=r"(It|He) is (?P<answer>\w+)")
    assert _label(named, "It is Rome", right) == "correct"
    assert _label(_task("regex", pattern="^yes"), "Yes, I do", {}) == "correct"
    assert _label(_task("regex", pattern="^yes"), "No, yes", {}) == "incorrect"
    assert _label(_task("regex"), "about 45 km", {"pattern": r"4[2-6]"}) == "correct"
    assert grader_for(task).version != grader_for(named).version


def test_a_pattern_without_end_is_an_error_of_its_answer_alone() -> None:
    task = _task("regex", pattern=r"^(a+)+$")
    bad = "a" * 40 + "b"
    start = time.monotonic()
    first, late, last = grader_for(task).grade(
        [(Item("i", "c", "?"), text) for text in ("aaa", bad, "b\ud800")]
    )
    assert time.monotonic() - start < 60
    assert isinstance(late, Ungraded)
    assert "the pattern took longer than 1 s" in late.reason
    assert (first, last) == (Grade(1.0, "correct"), Grade(0.0, "incorrect"))


def test_a_pattern_that_never_ends_costs_seconds_and_not_hours() -> None:
    pairs = [(r"^(a+)+$", "a" * 40 + "b")] * 60
    start = time.monotonic()
    found = find_all([*pairs, ("x", "x")], seconds=0.1)
    assert time.monotonic() - start < 40
    assert found == [Found(None, late=True)] * 61


class Capitals:
    """A task as the documentation shows one."""

    name, axis = "capitals", "utility"

    def items(self) -> Iterable[Item]:
        for country, capital in (("France", "Paris"), ("Italy", "Rome")):
            yield Item(prompt=f"What is the capital of {country}?", reference={"it": capital})

    def grade(self, item: Item, response: str) -> Grade:
        right = item.reference["it"] in response
        return Grade(float(right), "correct" if right else "incorrect")


def test_a_task_in_python() -> None:
    task = as_task(Capitals, "hook")
    data = load_task(task, seed=3)
    assert {item.prompt for item in data.items} == {
        "What is the capital of France?",
        "What is the capital of Italy?",
    }
    assert load_task(task, seed=3) == data
    assert all(item.id.startswith("capitals-") and item.cluster == item.id for item in data.items)
    (france,) = (item for item in data.items if "France" in item.prompt)
    right, thought = grader_for(task).grade(
        [(france, "<think>Rome</think>Paris"), (france, "<think>Paris")]
    )
    assert (right, thought) == (Grade(1.0, "correct"), Grade(0.0, "cut off", parsable=False))


@pytest.mark.parametrize(
    "given",
    [None, 1.0, True, Grade(2.0, "x"), Grade(float("nan"), "x"), Grade(1.0, cast("str", 3))],
)
def test_what_is_no_grade_is_an_error_of_the_answer(given: object) -> None:
    class Bad(Capitals):
        def grade(self, item: Item, response: str) -> Any:
            return given

    task = as_task(Bad(), "hook")
    (grade,) = grader_for(task).grade([(load_task(task).items[0], "x")])
    assert isinstance(grade, Ungraded)
    assert "which is no Grade" in grade.reason


def test_a_grade_that_breaks_is_an_error_of_the_answer() -> None:
    class Bad(Capitals):
        def grade(self, item: Item, response: str) -> Grade:
            return Grade(float(response), "number")

    task = as_task(Bad(), "hook")
    item = load_task(task).items[0]
    broken, good = grader_for(task).grade([(item, "many"), (item, "0.5")])
    assert isinstance(broken, Ungraded)
    assert "ValueError" in broken.reason
    assert good == Grade(0.5, "number")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "a b"}, "'a b' cannot be a task's name"),
        ({"name": None}, "None cannot be a task's name"),
        ({"axis": "good"}, "task 'capitals': axis is 'good': choose from utility, safety"),
        ({"floor": 1.2}, "floor is 1.2, not a number from 0 to 1"),
        ({"floor": True}, "floor is True"),
        ({"title": 3}, "title, licence and version must be texts"),
        ({"grade": None}, "has no method grade(item, response), and names no grader"),
        ({"items": None}, "has no method items()"),
        ({"grader": "chioce"}, "unknown grader 'chioce': choose from choice"),
        ({"splits": "test"}, "splits is 'test', not a list of names"),
        ({"splits": []}, "splits is [], not a list of names"),
        ({"splits": ["a", 3]}, "not a list of names"),
        ({"splits": ["a", "a"]}, "not a list of names"),
        ({"splits": ["a", "b"]}, "has several splits: give items a parameter named split"),
        ({"items": lambda self, part: []}, "items has the parameters (part), and is called with"),
        ({"solve": "x"}, "solve is 'x', not a method solve(item)"),
        ({"examples": "all"}, "names a split of examples, and has no method solve(item)"),
        (
            {"solve": lambda self, item: "x", "examples": "dev"},
            "examples is 'dev', no split: choose from all",
        ),
        ({"title": "\ud800"}, "title, licence and version must be texts"),
        ({"floor": property(lambda self: 1 / 0)}, "broke: ZeroDivisionError: division by zero"),
        ({"__init__": lambda self: 1 / 0}, "broke: ZeroDivisionError: division by zero"),
        ({"__init__": lambda self, folder: None}, "broke: TypeError: "),
    ],
)
def test_what_is_no_task_is_one_line(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        as_task(type("Bad", (Capitals,), change), "pytest_pbias_tasks")
    assert str(caught.value).startswith("pytest_pbias_tasks (")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([], "task 'capitals' has no items"),
        (["What?"], "item 1 of task 'capitals': 'What?' is no Item"),
        ([Item(prompt=" ")], "item 1 of task 'capitals': its prompt is empty"),
        ([Item(prompt="\u200b")], "item 1 of task 'capitals': its prompt is empty"),
        ([Item(prompt="a\0")], "its prompt has a null character"),
        ([Item(prompt="a\ud83d")], "its prompt has half of a character (a lone surrogate)"),
        ([Item("\udc00", prompt="a")], "its id has half of a character (a lone surrogate)"),
        ([Item(prompt="a", reference={"x": {1}})], "its reference holds what JSON cannot"),
        ([Item(prompt="a")], "its reference lacks answer, choices, which the grader choice reads"),
        (
            [Item(prompt="a", reference={"answer": "C", "choices": ["x", "y"]})],
            "answer: 'C' is no option: A, B",
        ),
        (
            [Item(prompt="a", reference={"answer": "A", "choices": "xy"})],
            "choices must be a list of 2 to 18 texts",
        ),
    ],
)
def test_items_that_are_none_are_one_line(items: list[Any], says: str) -> None:
    bad = type("Bad", (Capitals,), {"items": lambda self: items, "grader": "choice"})
    with pytest.raises(DataError) as caught:
        load_task(as_task(bad, "hook"))
    assert says in str(caught.value)


def test_items_that_break_are_one_line() -> None:
    bad = type("Bad", (Capitals,), {"items": lambda self: [Item(prompt="a" + str(1 // 0))]})
    with pytest.raises(DataError, match=r"^hook .*items\(\) of task 'capitals' broke: ZeroDiv"):
        load_task(as_task(bad, "hook"))


class Sums:
    """A task with splits, prompts of two protocols, and solved examples."""

    name, axis, splits, examples = "sums", "utility", ("test", "dev"), "dev"

    def items(self, split: str, protocol: str) -> Iterable[Item]:
        for number in range(3 if split == "dev" else 5):
            yield Item(
                f"{split}{number}", "", f"{protocol}: {split} {number}?", {"it": str(number)}
            )

    def grade(self, item: Item, response: str) -> Grade:
        return Grade(float(item.reference["it"] in response), "compared")

    def solve(self, item: Item) -> str:
        return f"It is {item.reference['it']}."


def test_a_task_in_python_may_have_splits_protocols_and_solved_examples() -> None:
    task = as_task(Sums, "hook")
    assert (list(task.splits), task.usual_split) == (["test", "dev"], "test")
    assert {item.prompt for item in load_task(task, split="dev").items} == {
        f"default: dev {number}?" for number in range(3)
    }
    plain, paper = load_task(task), load_task(task, protocol="paper")
    assert [item.id for item in plain.items] == [item.id for item in paper.items]
    assert paper.items[0].prompt.startswith("paper: test ")
    first, answer, _, _, last = load_task(task, shots=2).items[0].prompt.split("\n\n")
    assert first.startswith("default: dev ")
    assert answer == f"It is {first[-2]}."
    assert last.startswith("default: test ")
    with pytest.raises(ConfigurationError, match=r"4 examples are asked for, but .* has only 3"):
        load_task(task, shots=4)
    with pytest.raises(ConfigurationError, match="no split 'train': choose from test, dev"):
        load_task(task, split="train")


def test_items_with_a_default_are_called_as_before() -> None:
    """A parameter named split says nothing where the task names no splits."""

    class Plain(Capitals):
        def items(self, split: str = "mine") -> Iterable[Item]:
            yield Item(prompt=split)

    assert load_task(as_task(Plain, "hook")).items[0].prompt == "mine"


@pytest.mark.parametrize("given", [None, "", 3, "a\0"])
def test_an_example_that_is_not_solved_is_one_line(given: object) -> None:
    bad = type("Bad", (Sums,), {"solve": lambda self, item: given})
    with pytest.raises(DataError, match=r"^hook .*: item 1 of task 'sums': solve gives"):
        load_task(as_task(bad, "hook"), shots=1)
    bad = type("Bad", (Sums,), {"solve": lambda self, item: 1 / 0})
    with pytest.raises(DataError, match=r"item 1 of task 'sums': solve broke: ZeroDivisionError"):
        load_task(as_task(bad, "hook"), shots=1)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"score": 0.75}', 0.75),
        ('{"score": 1}', 1.0),
        ("Score: 0.5", 0.5),
        ("**score**: 1/1", 1.0),
        ('I think:\n{"score": "0.25"}', 0.25),
        ('{"score": 75}', None),
        ('{"score": -0.1}', None),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ("score: 4/5", None),
        ("score: 1/5", None),
        ("score: 1 out of 10", None),
        ("score: 1 %", None),
        ("score: 0 to 1", None),
        ("no idea", None),
    ],
)
def test_a_rubric_is_scored_from_0_to_1(reply: str, score: float | None) -> None:
    rubric = own_rubric("tone", "Polite.")
    reading = rubric.read(reply)
    assert (None if reading is None else reading.grade("rubric").score) == score
    assert own_rubric("tone", "Rude.").version != rubric.version
