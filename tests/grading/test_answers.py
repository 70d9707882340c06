from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_pbias.grading import extract_choice, extract_freeform, extract_number, grader_for
from pytest_pbias.grading.answers.freeform import matches_target
from pytest_pbias.tasks import TASKS, load_task
from tests.grading.choice_forms import (
    CHOICE_FORMS,
    NUMBER_OPTIONS,
    NUMBER_TEXT_FORMS,
    OPTIONS,
    TEXT_FORMS,
)
from tests.grading.freeform_forms import FREEFORM_FORMS
from tests.grading.number_forms import NUMBER_FORMS

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="the real data sets are not beside this checkout"
)


@pytest.mark.parametrize(("response", "letter"), CHOICE_FORMS)
def test_choices(response: str, letter: str | None) -> None:
    assert extract_choice(response) == letter


@pytest.mark.parametrize(("response", "letter"), CHOICE_FORMS)
def test_choices_are_read_alike_where_the_options_are_known(
    response: str, letter: str | None
) -> None:
    assert extract_choice(response, 4, OPTIONS) == letter or letter is None


@pytest.mark.parametrize(("response", "letter"), TEXT_FORMS)
def test_choices_in_the_words_of_an_option(response: str, letter: str | None) -> None:
    assert extract_choice(response, 4, OPTIONS) == letter


@pytest.mark.parametrize(("response", "letter"), NUMBER_TEXT_FORMS)
def test_choices_among_numbers(response: str, letter: str | None) -> None:
    assert extract_choice(response, 4, NUMBER_OPTIONS) == letter


@given(
    st.sampled_from(
        [
            ("The answer is {}.", "ABCD"),
            ("Answer: {}", "ABCD"),
            ("\\boxed{{{}}}", "ABCD"),
            ("{} is correct.", "BCD"),
            ("So I would go with {}.", "ABCD"),
        ]
    ),
    st.sampled_from(["{}", "({})", "**{}**", "**({})**", "`{}`", '"{}"', "$\\text{{{}}}$"]),
    st.sampled_from(["", "A is tempting. B is too small.\n\n", "(A) no\n(B) no\n(C) no\n(D) no\n"]),
    st.sampled_from(["", " I hope this helps!", "\n\nLet me know of anything else."]),
    st.integers(0, 3),
)
def test_choices_survive_their_dress(
    sentence: tuple[str, str], dress: str, before: str, after: str, number: int
) -> None:
    form, letters = sentence
    letter = letters[number % len(letters)]
    assert extract_choice(before + form.format(dress.format(letter)) + after) == letter


@pytest.mark.parametrize(("response", "number"), NUMBER_FORMS)
def test_numbers(response: str, number: float | None) -> None:
    assert extract_number(response) == (None if number is None else pytest.approx(number))


@pytest.mark.parametrize(("response", "target", "read"), FREEFORM_FORMS)
def test_free_forms(response: str, target: str, read: str | None) -> None:
    assert extract_freeform(response, target) == read


@real_data
def test_every_bbh_target_is_right_in_a_sentence_and_alone() -> None:
    wrong = []
    for item in load_task(TASKS["bbh"], data_dir=REAL_DATA).items:
        target = item.reference["target"]
        for form in ("Therefore, the answer is {}.", "{}", "Let us see.\n\n**Answer:** {}"):
            response = form.format(target)
            answer = extract_freeform(response, target)
            if answer is None or not matches_target(answer, target):
                wrong.append((item.reference["subtask"], response, answer))
    assert wrong == []


@pytest.mark.slow
@real_data
def test_options_of_bbh_in_their_own_words() -> None:
    """The words of the right option count, except where two options share them."""
    grader = grader_for(TASKS["bbh"])
    items = load_task(TASKS["bbh"], data_dir=REAL_DATA).items
    pairs = []
    for item in items:
        options = dict(_lettered(item.prompt))
        words = options.get(item.reference["target"])
        if words and list(options.values()).count(words) == 1:
            pairs.append((item, f"Therefore, the answer is: {words}"))
    right = sum(getattr(grade, "score", 0.0) for grade in grader.grade(pairs))
    assert len(pairs) > 4000
    assert right / len(pairs) >= 0.99


def _lettered(prompt: str) -> list[tuple[str, str]]:
    lines = [line for line in prompt.splitlines() if line[:1] == "(" and line[2:3] == ")"]
    return [(line[:3], line[3:].strip()) for line in lines]


@real_data
def test_options_of_mmlu_by_letter_and_in_their_own_words() -> None:
    grader = grader_for(TASKS["mmlu"])
    pairs = []
    for item in load_task(TASKS["mmlu"], data_dir=REAL_DATA).items:
        letter, choices = item.reference["answer"], item.reference["choices"]
        words = choices["ABCD".index(letter)]
        pairs += [(item, f"Therefore, the answer is ({letter})."), (item, f"({letter}) {words}")]
        if [choice.casefold() for choice in choices].count(words.casefold()) == 1:
            pairs.append((item, f"Let me think.\n\nTherefore, the answer is {words}"))
    wrong = [
        response
        for (_, response), grade in zip(pairs, grader.grade(pairs), strict=True)
        if grade.score != 1.0
    ]
    assert len(pairs) > 840
    assert len(wrong) <= 4, wrong


@dataclass(frozen=True)
class _Dress:
    """A way to write an answer: every part changes its surface only."""

    grouping: str
    decimals: str
    before: str
    after: str
    emphasis: str
    sentence: str
    prose: str

    def put_on(self, number: float) -> str:
        digits = f"{abs(number):,.0f}".replace(",", self.grouping) + self.decimals
        sign = "-" if number < 0 else ""
        shown = self.emphasis.format(f"{sign}{self.before}{digits}{self.after}")
        return self.sentence.format(shown) + self.prose


_DRESSES = st.builds(
    _Dress,
    grouping=st.sampled_from(["", ",", "\u202f", "\u00a0", "_", "'", "{,}"]),
    decimals=st.sampled_from(["", ".0", ".00"]),
    before=st.sampled_from(["", "$", "\u20ac", "\u00a3", "\\$", "USD "]),
    after=st.sampled_from(["", "%", " dollars", " apples", " km", "kg", " \u20ac", " per day"]),
    emphasis=st.sampled_from(["{}", "**{}**", "`{}`", "*{}*", "${}$", "\\boxed{{{}}}"]),
    sentence=st.sampled_from(
        [
            "Therefore, the answer is {}.",
            "**Final Answer:** {}",
            "The answer is {}",
            "So the final answer would be {}.",
            "Answer: {}",
            "#### {}",
        ]
    ),
    prose=st.sampled_from(["", "\n", "\n\nI hope this helps!", "\n\nThat took 2 steps."]),
)


@pytest.mark.slow
@real_data
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_DRESSES, st.sampled_from([1, -1]))
def test_every_gsm8k_reference_is_read_in_any_dress(dress: _Dress, sign: int) -> None:
    wrong = []
    for solution, wanted in _references():
        response = f"{solution}\n{dress.put_on(sign * wanted)}"
        if extract_number(response) != sign * wanted:
            wrong.append(response[-120:])
    assert wrong == []


def _gsm8k_lines() -> list[str]:
    return (REAL_DATA / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()


def _references() -> list[tuple[str, float]]:
    rows = [json.loads(line) for line in _gsm8k_lines()]
    parts = [row["answer"].partition("####") for row in rows]
    return [(solution.strip(), float(last.replace(",", ""))) for solution, _, last in parts]


@real_data
def test_every_gsm8k_reference_is_read_from_its_own_solution() -> None:
    rows = [json.loads(line) for line in _gsm8k_lines()]
    assert len(rows) == 1319
    wanted = [number for _, number in _references()]
    assert [extract_number(row["answer"]) for row in rows] == wanted
    # Even without a mark, the number that the last sentence comes to is nearly always the answer.
    unmarked = [extract_number(solution) for solution, _ in _references()]
    right = sum(found == number for found, number in zip(unmarked, wanted, strict=True))
    assert right >= 1300


@given(st.integers(1, 99), st.integers(2, 99), st.sampled_from(["{}/{}", "\\frac{{{}}}{{{}}}"]))
def test_fractions_are_quotients(above: int, below: int, form: str) -> None:
    response = f"Therefore, the answer is ${form.format(above, below)}$."
    assert extract_number(response) == pytest.approx(above / below)


@given(st.text(max_size=300))
def test_no_text_is_too_strange(text: str) -> None:
    assert extract_choice(text, 4, OPTIONS) in {None, "A", "B", "C", "D"}
    number = extract_number(text)
    assert number is None or isinstance(number, float)
    for target in ("Yes", "(A)", "7", "apple pear", ") ]", "valid"):
        extract_freeform(text, target)


@given(
    st.lists(
        st.sampled_from(
            [
                "A",
                "B",
                "C",
                "D",
                "(A)",
                "is",
                "the",
                "answer",
                "not",
                "or",
                ",",
                ".",
                "\n",
                "=",
                "correct",
                "wrong",
                "$",
                "\\boxed{",
                "}",
                "####",
                "1,000",
                "-",
                "**",
                "option",
                "because",
                "Wait",
                "12",
                "no",
                "yes",
                "(",
                ")",
                "[",
                "]",
                "the",
                "a",
            ]
        ),
        max_size=60,
    )
)
def test_no_mixture_is_too_strange(words: list[str]) -> None:
    text = " ".join(words)
    assert extract_choice(text) in {None, "A", "B", "C", "D"}
    extract_number(text)
    extract_freeform(text, "] )")


@pytest.mark.parametrize("piece", ["A ", "(A) ", "1,", "answer is ", "[", "\\boxed{", "not A, "])
def test_long_responses_do_not_hang(piece: str) -> None:
    """Only that it ends soon enough for a test: 20,000 characters of the same piece."""
    text = piece * (20_000 // len(piece))
    extract_choice(text, 4, OPTIONS)
    extract_number(text)
    extract_freeform(text, "] )")
