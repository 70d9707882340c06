"""A model that repeats its prompt has answered nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.grading import Grade, grader_for
from pytest_pbias.grading.answers.prompt_echo import without_echo, without_prompt
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.tasks import TASKS, Item, PromptProtocol, load_task

REAL = Path(__file__).parents[3] / "shared" / "data"
CHOICES = ("a red door", "a blue door", "a door", "no door at all, but a window of glass")
PROMPT = (
    "What is behind A Wall?\n(A) a red door\n(B) a blue door\n(C) a door\n"
    "(D) no door at all, but a window of glass\n\nEnd with: Therefore, the answer is (X)."
)
UNREAD = {"unparsable", "no answer"}  # the question repeated at length is the second
OPTIONS = PROMPT[PROMPT.index("(A)") : PROMPT.index("\n\n")]


def _label(response: str, answer: str = "B") -> str:
    item = Item("i", "c", PROMPT, {"choices": list(CHOICES), "answer": answer})
    (grade,) = grader_for(TASKS["mmlu"]).grade([(item, response)])
    assert isinstance(grade, Grade)
    return grade.label


@pytest.mark.parametrize(
    "response",
    [
        PROMPT,
        PROMPT.replace("\n", " "),
        f"Sure. {PROMPT}",
        f"{PROMPT}\n\n{PROMPT}",
        PROMPT[: len(PROMPT) // 2],
        PROMPT[20:],
        OPTIONS,
        OPTIONS.replace("\n", " "),
        "The options are:\n" + OPTIONS.replace("(", "").replace(")", "."),
    ],
)
def test_a_repeated_prompt_is_no_choice(response: str) -> None:
    assert _label(response) in UNREAD


@pytest.mark.parametrize(
    "response",
    [
        f"{PROMPT}\n\nTherefore, the answer is (B).",
        f"{PROMPT} B",
        f"{OPTIONS}\n\nB",
        f"{OPTIONS}\nIt is a blue door.",
        f"(B) {CHOICES[1]}",
        CHOICES[1],
        "\n".join(
            f"({letter}) {text}: {'right' if letter == 'B' else 'wrong'}."
            for letter, text in zip("ABCD", CHOICES, strict=True)
        ),
    ],
)
def test_what_stands_beside_it_is_read(response: str) -> None:
    assert _label(response) == "correct"


def test_a_long_option_in_its_own_words_is_a_choice() -> None:
    assert _label(CHOICES[3], "D") == "correct"
    assert _label(f"(D) {CHOICES[3]}", "D") == "correct"


@pytest.mark.parametrize("protocol", ["default", "paper"])
@pytest.mark.parametrize("folder", [data_dir(), REAL], ids=["own", "real"])
def test_no_prompt_answers_itself(folder: Path, protocol: PromptProtocol) -> None:
    if not folder.exists():
        pytest.skip("the real data sets are not here")
    items = load_task(TASKS["mmlu"], data_dir=folder, protocol=protocol).items
    grader = grader_for(TASKS["mmlu"])
    for cut in (1.0, 0.8, 0.5):
        echoes = [(item, item.prompt[: int(cut * len(item.prompt))]) for item in items]
        labels = [grade.label for grade in grader.grade(echoes) if isinstance(grade, Grade)]
        # Half a prompt may end within its first option and be five words.
        assert sum(label in UNREAD for label in labels) >= len(items) - len(items) // 50
    answered = [
        (item, f"{item.prompt}\n\nTherefore, the answer is ({item.reference['answer']}).")
        for item in items
    ]
    assert all(one.label == "correct" for one in grader.grade(answered) if isinstance(one, Grade))


@pytest.mark.parametrize("name", ["gsm8k", "bbh"])
def test_numbers_and_words_of_the_question_are_no_answer(name: str) -> None:
    items = load_task(TASKS[name], data_dir=data_dir()).items
    grader = grader_for(TASKS[name])
    grades = grader.grade([(item, item.prompt) for item in items])
    assert {one.label for one in grades if isinstance(one, Grade)} <= UNREAD


@given(st.text(max_size=200), st.text(max_size=60), st.lists(st.text(max_size=9), max_size=4))
def test_any_text_is_taken_and_only_shortened(
    response: str, prompt: str, options: list[str]
) -> None:
    assert len(without_prompt(response, prompt)) <= len(response) + 1
    assert len(without_echo(response, prompt, options)) <= len(response) + 2
