from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.grading import extract_choice, extract_freeform, extract_number
from pytest_pbias.grading.answers import matches_target

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
OPTIONS = ["the hyoid bone", "the first arch", "a cell wall", "none of the above"]


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("b", "B"),
        ("(b).", "B"),
        ("Therefore, the answer is (B).", "B"),
        ("Therefore, the answer is B.", "B"),
        ("The answer is: B", "B"),
        ("**Answer: B**", "B"),
        ("Answer: **B**", "B"),
        ("Answer: (C) a cell wall", "C"),
        ("The correct answer is option D.", "D"),
        ("The correct option is (A).", "A"),
        ("Final answer: $\\boxed{B}$", "B"),
        ("\\boxed{\\text{C}}", "C"),
        ("\\boxed{(D)}", "D"),
        ("First I thought the answer is (A). But in fact the answer is (C).", "C"),
        ("(A) is wrong, (B) is wrong. So the answer is (D)", "D"),
        ("I would choose B because it is a bone.", "B"),
        ("I'd go with option C", "C"),
        ("B) the first arch", "B"),
        ("B. the first arch, as the embryo shows.", "B"),
        ("Option B is correct.", "B"),
        ("Therefore, the answer is the first arch.", "B"),
        ("Therefore, the answer is none of the above.", "D"),
        ("It must be a cell wall", "C"),
        ("The answer is `B`.", "B"),
        ("answer = B", "B"),
        ("The best answer is A", "A"),
        ("Let us see. A cell has a wall.\n\nAnswer:\nC", "C"),
        ("The answer to this question is B", "B"),
        ("The final answer is (A) the hyoid bone", "A"),
        ("the answer is \u201cB\u201d", None),
        ("I cannot answer this.", None),
        ("", None),
        ("A dog is an animal.", None),
        ("As an AI, I do not know.", None),
    ],
)
def test_choices(response: str, letter: str | None) -> None:
    assert extract_choice(response, 4, OPTIONS) == letter


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("18", 18),
        ("Therefore, the answer is 18.", 18),
        ("The answer is $18.", 18),
        ("The answer is 1,234.", 1234),
        ("The answer is 1,234,567.50 dollars", 1234567.5),
        ("#### 42", 42),
        ("blah 5 * 3 = 15\n#### 15", 15),
        ("\\boxed{42}", 42),
        ("so \\boxed{\\$1,200}", 1200),
        ("The answer is -7.", -7),
        ("The answer is \u22127", -7),
        ("The answer is 1/2.", 0.5),
        ("\\frac{3}{4}", 0.75),
        ("The answer is 75%.", 75),
        ("The answer is 20 apples.", 20),
        ("3 + 4 = 7, so the answer is 3 + 4 = 7.", 7),
        ("First the answer is 5. Wait, no: the answer is 6.", 6),
        ("She has 3 cats and 4 dogs, 7 in all", 7),
        ("The answer is .5", 0.5),
        ("**Answer:** 12", 12),
        ("The total is \u20ac30.", 30),
        ("no number", None),
        ("", None),
        ("The answer is unknown", None),
    ],
)
def test_numbers(response: str, number: float | None) -> None:
    assert extract_number(response) == number


@pytest.mark.parametrize(
    ("response", "target", "right"),
    [
        ("Therefore, the answer is Yes.", "Yes", True),
        ("Therefore, the answer is no.", "Yes", False),
        ("No. You end up elsewhere.", "No", True),
        ("The argument is invalid, so the answer is invalid.", "valid", False),
        ("the answer is valid", "valid", True),
        ("not True is False. So the answer is False", "False", True),
        ("The answer is (C).", "(C)", True),
        ("So the answer is (R)", "(R)", True),
        ("The answer is 8.", "8", True),
        ("The answer is -12", "-12", True),
        ("The answer is apple banana cherry.", "apple banana cherry", True),
        ("the answer is: apple, banana, cherry", "apple banana cherry", True),
        ("The answer is ] ) }", "] ) }", True),
        ("[ ( { } )\nSo the answer is ])", "] )", True),
        ("", "Yes", False),
        ("I am not sure.", "(A)", False),
    ],
)
def test_free_forms(response: str, target: str, right: bool) -> None:
    answer = extract_freeform(response, target)
    assert (answer is not None and matches_target(answer, target)) is right


def test_every_gsm8k_reference_is_read_from_its_solution() -> None:
    path = REAL_DATA / "gsm8k" / "test.jsonl"
    if not path.exists():
        pytest.skip("the real data sets are not beside this checkout")
    wrong = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        solution, _, last = row["answer"].rpartition("####")
        wanted = float(last.replace(",", ""))
        if extract_number(row["answer"]) != wanted:
            wrong.append(row["answer"])
        stated = f"{solution.strip()}\nTherefore, the answer is {last.strip()}."
        if extract_number(stated) != wanted:
            wrong.append(stated)
    assert wrong == []


@given(st.text(max_size=300))
def test_no_text_is_too_strange(text: str) -> None:
    assert extract_choice(text, 4, OPTIONS) in {None, "A", "B", "C", "D"}
    number = extract_number(text)
    assert number is None or isinstance(number, float)
    for target in ("Yes", "(A)", "7", "apple pear", ") ]", "valid"):
        extract_freeform(text, target)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["", "$", "\u20ac"]), st.booleans())
def test_numbers_survive_their_dress(number: int, currency: str, grouped: bool) -> None:
    sign = "-" if number < 0 else ""
    digits = f"{abs(number):,}" if grouped else f"{abs(number)}"
    assert extract_number(f"Therefore, the answer is {sign}{currency}{digits}.") == number
