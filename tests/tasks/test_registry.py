from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.tasks import (
    TASKS,
    Item,
    PromptProtocol,
    in_random_order,
    load_task,
    resolve_task,
)

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
SIZES = {
    "mmlu": 285,
    "gsm8k": 1319,
    "bbh": 6511,
    "mbpp": 974,
    "xstest": 250,
    "do_not_answer": 939,
    "strongreject": 346,
}


@pytest.mark.parametrize("name", SIZES)
def test_the_real_sets_load_whole(name: str) -> None:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    data = load_task(TASKS[name], data_dir=REAL_DATA)
    assert len(data.items) == SIZES[name]
    assert len({item.id for item in data.items}) == SIZES[name]
    assert data.revision == "local"
    again = load_task(TASKS[name], data_dir=REAL_DATA, limit=50)
    assert len(again.items) == 50
    assert again.content_hash == data.content_hash
    assert {item.id for item in again.items} <= {item.id for item in data.items}


def _write_gsm8k(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "gsm8k" / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_numbers_and_prompt_of_a_word_problem(tmp_path: Path) -> None:
    _write_gsm8k(tmp_path, [{"question": "How many?", "answer": "6 * 200\n#### 1,200"}])
    (item,) = load_task(TASKS["gsm8k"], data_dir=tmp_path).items
    assert item.reference == {"answer": 1200.0}
    assert item.prompt == (
        "How many?\n\nShow your work, then end with: Therefore, the answer is N."
    )
    assert item.cluster == item.id


def test_multiple_choice_keeps_text_as_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mmlu" / "dev" / "logic_dev.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(["Which, if any?", "None", "1.0", "NA", "nan", "B"])
    (item,) = load_task(TASKS["mmlu"], data_dir=tmp_path).items
    assert item.reference == {"answer": "B", "choices": ["None", "1.0", "NA", "nan"]}
    assert item.cluster == "logic"
    assert "(A) None\n(B) 1.0\n(C) NA\n(D) nan\n" in item.prompt


def test_repeated_rows_are_items_of_their_own(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "#### 1"}
    _write_gsm8k(tmp_path, [row, row])
    items = load_task(TASKS["gsm8k"], data_dir=tmp_path).items
    first, second = sorted(items, key=lambda item: item.id)
    assert second.id == f"{first.id}-2"


def test_the_content_hash_sees_every_change(tmp_path: Path) -> None:
    rows = [{"question": f"How many {n}?", "answer": f"#### {n}"} for n in range(5)]
    _write_gsm8k(tmp_path / "a", rows)
    _write_gsm8k(tmp_path / "b", [*rows[:-1], {**rows[-1], "answer": "#### 9"}])
    task = TASKS["gsm8k"]
    hashes = {load_task(task, data_dir=tmp_path / name).content_hash for name in "aab"}
    assert len(hashes) == 2


def _bad(tmp_path: Path, text: str) -> str:
    path = tmp_path / "gsm8k" / "test.jsonl"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load_task(TASKS["gsm8k"], data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert "test.jsonl" in str(caught.value)
    return str(caught.value)


def test_malformed_json_is_named_by_line_and_column(tmp_path: Path) -> None:
    good = '{"question": "Q", "answer": "#### 1"}\n'
    assert "line 2, column 14" in _bad(tmp_path, good + '{"question": broken}\n')


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    said = _bad(tmp_path, '{"question": "Q", "solution": "#### 1"}\n')
    assert "column answer is missing" in said
    assert "found: question, solution" in said


def test_a_row_without_a_number_is_named(tmp_path: Path) -> None:
    said = _bad(tmp_path, '{"question": "Q", "answer": "one"}\n')
    assert "row 1" in said
    assert "#### NUMBER" in said


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    assert "line 2: not UTF-8" in _bad(tmp_path, '{"question": "Q", "answer": "#### 1"}\n\xff\n')


def test_a_csv_row_of_another_width_is_named(tmp_path: Path) -> None:
    path = tmp_path / "xstest" / "xstest_prompts.csv"
    path.parent.mkdir()
    path.write_text("id,prompt,type,label,focus,note\n1,a,b,safe,d,e\n2,a,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3: 3 columns, expected 6"):
        load_task(TASKS["xstest"], data_dir=tmp_path)


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing matches") as caught:
        load_task(TASKS["bbh"], data_dir=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.setting == "data-dir"


def test_a_split_that_a_folder_lacks_is_told_from_a_wrong_folder(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "Q", "answer": "#### 1"}\n')
    said = (
        f"the data in {tmp_path} has no split 'train' of task 'gsm8k', only test: give "
        "a folder with gsm8k/train.jsonl"
    )
    with pytest.raises(DataError) as caught:
        load_task(TASKS["gsm8k"], data_dir=tmp_path, split="train")
    assert str(caught.value) == said
    assert caught.value.setting == "data-dir"


def test_a_set_that_is_not_on_the_hub_says_where_it_belongs() -> None:
    with pytest.raises(DataError, match="give a folder with") as caught:
        load_task(TASKS["strongreject"])
    assert caught.value.setting == "data-dir"


def test_unknown_task_names_near_matches() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'mmlu'"):
        resolve_task("mmul")


def test_a_limit_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least 1 item"):
        load_task(TASKS["gsm8k"], data_dir=tmp_path, limit=0)


_ITEMS = st.lists(
    st.tuples(st.integers(0, 10**9), st.sampled_from("abcdef")), unique_by=lambda pair: pair[0]
).map(lambda pairs: tuple(Item(str(number), cluster, "?") for number, cluster in pairs))


@given(items=_ITEMS, seed=st.integers(0, 100))
def test_the_order_depends_on_items_and_seed_and_not_on_the_file(
    items: tuple[Item, ...], seed: int
) -> None:
    order = in_random_order(items, "bbh", "local", seed)
    assert sorted(item.id for item in order) == sorted(item.id for item in items)
    assert in_random_order(items[::-1], "bbh", "local", seed) == order


def test_task_revision_and_seed_each_make_another_order() -> None:
    items = tuple(Item(str(number), "cluster", "?") for number in range(50))
    orders = {
        tuple(item.id for item in in_random_order(items, task, revision, seed))
        for task, revision, seed in [("bbh", "a", 0), ("mmlu", "a", 0), ("bbh", "b", 0),
                                     ("bbh", "a", 1)]
    }  # fmt: skip
    assert len(orders) == 4


def test_a_prefix_has_of_each_cluster_in_proportion_to_its_size() -> None:
    # Neither cluster after cluster nor one of each in turn: 900 and 100 items, 200 of them first.
    items = [Item(f"{name}{n}", name, "?") for name, size in (("a", 900), ("b", 100))
             for n in range(size)]  # fmt: skip
    found = [
        sum(item.cluster == "b" for item in in_random_order(items, "bbh", "local", seed)[:200])
        for seed in range(100)
    ]
    assert 19 < sum(found) / len(found) < 21
    assert min(found) > 5
    assert max(found) < 40


def test_a_limit_keeps_a_prefix(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(40)]
    _write_gsm8k(tmp_path, rows)
    every = load_task(TASKS["gsm8k"], data_dir=tmp_path, seed=3)
    assert load_task(TASKS["gsm8k"], data_dir=tmp_path, seed=3, limit=7).items == every.items[:7]
    assert load_task(TASKS["gsm8k"], data_dir=tmp_path, seed=4).items != every.items


def _write_mmlu(folder: Path, split: str, n: int) -> None:
    for subject in ("logic", "law"):
        path = folder / "mmlu" / split / f"{subject}_{split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            for number in range(n):
                csv.writer(stream).writerow([f"{subject} {split} {number}?", *"wxyz", "B"])


def test_another_split_is_asked_with_examples_of_its_own_subject(tmp_path: Path) -> None:
    _write_mmlu(tmp_path, "dev", 5)
    _write_mmlu(tmp_path, "test", 3)
    data = load_task(TASKS["mmlu"], data_dir=tmp_path, split="test", shots=2)
    assert data.revision == "local#test"
    assert len(data.items) == 6
    for item in data.items:
        assert item.prompt.count("Therefore, the answer is (B).") == 2
        assert item.prompt.count(f"{item.cluster} dev ") == 2
        assert item.prompt.count(" test ") == 1
        assert item.prompt.endswith("Therefore, the answer is (X).")
    without = load_task(TASKS["mmlu"], data_dir=tmp_path, split="test")
    assert [item.id for item in without.items] == [item.id for item in data.items]
    assert without.content_hash == data.content_hash


def test_an_item_is_never_its_own_example(tmp_path: Path) -> None:
    _write_mmlu(tmp_path, "dev", 5)
    for item in load_task(TASKS["mmlu"], data_dir=tmp_path, shots=4).items:
        questions = [line for line in item.prompt.splitlines() if line.endswith("?")]
        assert len(set(questions)) == len(questions) == 5
    with pytest.raises(ConfigurationError, match="5 examples are asked for") as caught:
        load_task(TASKS["mmlu"], data_dir=tmp_path, shots=5)
    assert caught.value.setting == "shots"


def test_examples_of_maths_and_programs_are_worked_answers(tmp_path: Path) -> None:
    _write_gsm8k(tmp_path, [{"question": "How many?", "answer": "#### 6"}])
    path = tmp_path / "gsm8k" / "train.jsonl"
    row = {"question": "How few?", "answer": "It is 2*3=<<2*3=6>>6.\n#### 6"}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (item,) = load_task(TASKS["gsm8k"], data_dir=tmp_path, shots=1).items
    assert "It is 2*3=6.\nTherefore, the answer is 6.\n\nHow many?" in item.prompt
    if REAL_DATA.is_dir():
        data = load_task(TASKS["mbpp"], data_dir=REAL_DATA, split="test", shots=3, limit=5)
        assert all(item.prompt.count("```python\n") == 3 for item in data.items)


@pytest.mark.parametrize(
    ("split", "rows"), [("all", 974), ("prompt", 10), ("test", 500), ("validation", 90)]
)
def test_splits_of_mbpp(split: str, rows: int) -> None:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    assert len(load_task(TASKS["mbpp"], data_dir=REAL_DATA, split=split).items) == rows


def test_an_unknown_split_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="choose from dev, validation, test"):
        load_task(TASKS["mmlu"], data_dir=tmp_path, split="val")


@pytest.mark.parametrize("name", ["mmlu", "gsm8k", "bbh", "mbpp"])
def test_a_protocol_changes_the_prompt_and_nothing_else(name: str) -> None:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    ours = load_task(TASKS[name], data_dir=REAL_DATA, limit=20)
    paper = load_task(TASKS[name], data_dir=REAL_DATA, limit=20, protocol="paper")
    assert [item.id for item in ours.items] == [item.id for item in paper.items]
    assert all(a.prompt != b.prompt for a, b in zip(ours.items, paper.items, strict=True))


def test_text_that_looks_like_something_else_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k" / "test.jsonl"
    path.parent.mkdir()
    asked = "2021-03-04"
    path.write_text(
        json.dumps({"question": asked, "answer": "It takes 3.\n#### 3"})
        + "\n\n"
        + json.dumps({"question": "One\u2028line?", "answer": "#### 4", "more": [1]})
        + "\n"
    )
    items = load_task(resolve_task("gsm8k"), data_dir=tmp_path).items
    first, second = sorted(items, key=lambda item: str(item.reference))
    assert asked in first.prompt
    assert "One\u2028line?" in second.prompt


def test_a_number_too_long_to_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k" / "test.jsonl"
    path.parent.mkdir()
    path.write_text('{"question": ' + "9" * 5000 + "}\n")
    with pytest.raises(DataError, match="line 1: cannot be read as JSON") as caught:
        load_task(resolve_task("gsm8k"), data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_rows_that_are_no_objects_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k" / "test.jsonl"
    path.parent.mkdir()
    path.write_text('{"question": "q", "answer": "#### 1"}\n[1, 2]\n')
    with pytest.raises(DataError, match="row 2: not an object with named columns"):
        load_task(resolve_task("gsm8k"), data_dir=tmp_path)


_PROGRAM = {
    "task_id": 1, "text": "Return x.", "code": "def f(x): return x",
    "test_list": ["assert f(1) == 1"], "test_setup_code": "", "challenge_test_list": [],
}  # fmt: skip


def _one_row(folder: Path, task: str, row: str) -> None:
    path = folder / ("mbpp/mbpp.jsonl" if task == "mbpp" else f"{task}/test.jsonl")
    path.parent.mkdir(parents=True)
    path.write_text(row + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"test_list": []}, "test_list is empty"),
        ({"test_list": [5]}, "test_list has 5, which is no assertion"),
        ({"test_list": ["f(1)"]}, "test_list has 'f(1)', which is no assertion"),
        ({"test_list": [""]}, "test_list has '', which is no assertion"),
        ({"test_list": ["# assert f(1)"]}, "test_list has '# assert f(1)', which is no assertion"),
        ({"test_list": ["x = 'assert'"]}, "which is no assertion"),
        (
            {"test_list": ["assert f(1 == 1"]},
            "test_list has 'assert f(1 == 1', which is not Python",
        ),
        ({"test_list": ["assert True"]}, "has 'assert True', which would pass every program"),
        ({"test_list": ["assert (f(1) == 1, 'no')"]}, "which would pass every program"),
        ({"test_list": ["assert f('\ud800')"]}, "test_list has half of a character"),
        ({"test_list": "assert f(1) == 1"}, "test_list is 'assert f(1) == 1', not a list"),
        ({"test_list": None}, "test_list is None, not a list"),
        ({"test_list": {"a": 1}}, "test_list is {'a': 1}, not a list"),
        ({"challenge_test_list": "x"}, "challenge_test_list is 'x', not a list"),
        ({"challenge_test_list": [None]}, "challenge_test_list has None"),
        ({"test_setup_code": 5}, "test_setup_code is 5, not a text"),
        ({"test_setup_code": 0}, "test_setup_code is 0, not a text"),
        ({"test_setup_code": []}, "test_setup_code is [], not a text"),
        ({"test_setup_code": "import"}, "test_setup_code has 'import', which is not Python"),
        ({"text": None}, "text is None, not a text"),
        ({"text": "\u200b"}, "text is empty"),
        ({"text": " "}, "text is empty"),
    ],
)
@pytest.mark.parametrize("protocol", ["default", "paper"])
def test_a_program_without_tests_of_its_own_is_named(
    tmp_path: Path, changed: dict[str, Any], says: str, protocol: PromptProtocol
) -> None:
    _one_row(tmp_path, "mbpp", json.dumps(_PROGRAM | changed))
    with pytest.raises(DataError, match=r"mbpp\.jsonl") as caught:
        load_task(TASKS["mbpp"], data_dir=tmp_path, protocol=protocol)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [None, "x", [1]])
def test_a_program_without_a_number_is_named(tmp_path: Path, number: Any) -> None:
    _one_row(tmp_path, "mbpp", json.dumps(_PROGRAM | {"task_id": number}))
    with pytest.raises(DataError, match=r"mbpp\.jsonl.*task_id is .*, not a whole number"):
        load_task(TASKS["mbpp"], data_dir=tmp_path, split="test")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"question": "", "answer": "#### 5"}', "question is empty"),
        ('{"question": " \\u00a0", "answer": "#### 5"}', "question is empty"),
        ('{"question": 5, "answer": "#### 5"}', "question is 5, not a text"),
        ('{"question": null, "answer": "#### 5"}', "question is None, not a text"),
        ('{"question": "q\\u0000", "answer": "#### 5"}', "question has a null character"),
        ('{"question": "q\\ud83d", "answer": "#### 5"}', "question has half of a character"),
        ('{"question": "\\u2060", "answer": "#### 5"}', "question is empty"),
        ('{"question": "q", "answer": "#### 1_000"}', "does not end in '#### NUMBER'"),
        ('{"question": "q", "answer": "#### \\u0661"}', "does not end in '#### NUMBER'"),
        ('{"question": "q", "answer": "#### nan"}', "does not end in '#### NUMBER'"),
        ('{"question": "q", "answer": "#### 1e999"}', "does not end in '#### NUMBER'"),
        ('{"question": "q", "answer": NaN}', "NaN is no value in JSON"),
        ('{"question": "q", "answer": -Infinity}', "-Infinity is no value in JSON"),
    ],
)
def test_a_row_that_asks_nothing_is_named(tmp_path: Path, row: str, says: str) -> None:
    _one_row(tmp_path, "gsm8k", row)
    with pytest.raises(DataError, match=r"test\.jsonl") as caught:
        load_task(TASKS["gsm8k"], data_dir=tmp_path)
    assert says in str(caught.value)


def test_what_an_honest_row_of_programs_may_have(tmp_path: Path) -> None:
    honest = ["assert f('\\d') == 1", "self.assertEqual(f(1), 1)", "assert (f(1)) == 1, 'no'"]
    row = _PROGRAM | {"test_list": honest, "test_setup_code": None}
    _one_row(tmp_path, "mbpp", json.dumps(row))
    (item,) = load_task(TASKS["mbpp"], data_dir=tmp_path).items
    assert item.reference["tests"] == honest
    assert item.reference["setup"] == ""


_CSV = {
    "xstest": ("xstest/xstest_prompts.csv", "prompt,type,label,focus", "p,homonyms,safe,f"),
    "do_not_answer": (
        "do_not_answer/do_not_answer_en.csv",
        "id,risk_area,types_of_harm,specific_harms,question",
        "1,r,t,s,q",
    ),
    "strongreject": (
        "strongreject/strongreject_dataset.csv",
        "category,source,forbidden_prompt",
        "c,s,p",
    ),
    "mmlu": ("mmlu/dev/x_dev.csv", "", "q,a,b,c,d,A"),
}


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        ("xstest", "p,homonyms,Safe,f", "row 2: label is 'Safe', not safe or unsafe"),
        ("xstest", "p,homonyms,,f", "label is '', not safe or unsafe"),
        ("xstest", "p,ty\0pe,safe,f", "type has a null character"),
        ("xstest", "\u200b,homonyms,safe,f", "prompt is empty"),
        ("do_not_answer", "1,r,\0,s,q", "types_of_harm has a null character"),
        ("do_not_answer", "1,r,t,s,\ufeff", "question is empty"),
        ("strongreject", "\0,s,p", "category has a null character"),
        ("mmlu", "q,a,\0,c,d,A", "B has a null character"),
        ("mmlu", "q,a,b,c,d,E", "the answer is 'E', not one of A, B, C, D"),
    ],
)
def test_a_row_of_a_table_that_cannot_be_asked_is_named(
    tmp_path: Path, task: str, row: str, says: str
) -> None:
    name, header, honest = _CSV[task]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    lines = [header, honest, row] if header else [honest, row]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=f"{path.name}, row 2: ") as caught:
        load_task(TASKS[task], data_dir=tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", [None, 5, ["a"]])
def test_an_option_of_the_hub_that_is_no_text_is_named(option: Any) -> None:
    row = {"question": "q", "A": "a", "B": option, "C": "", "D": "d", "answer": "A", "subject": "x"}
    with pytest.raises(DataError, match=r"B is .*, not a text"):
        TASKS["mmlu"].build(row, "default")
