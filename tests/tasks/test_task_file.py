"""Task files: what they ask, in every format, and every mistake as one line with its place."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_pbias.errors import ConfigurationError, DataError, PbiasError
from pytest_pbias.files.parquet_file import ParquetFile
from pytest_pbias.tasks import TASKS, TaskData, load_task
from pytest_pbias.tasks.own import as_task, find_task_files, known_tasks
from pytest_pbias.tasks.row_values import read_template
from pytest_pbias.tasks.task_file import read_task, task_schema

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("task_*.pbias.toml"))

ROWS: list[dict[str, Any]] = [
    {"country": "France", "capital": "Paris", "part": "Europe"},
    {"country": "Italy", "capital": "Rome", "part": "Europe"},
    {"country": "Kenya", "capital": "Nairobi", "part": "Africa"},
]
CAPITALS = """\
axis = "utility"
grader = "contains"
prompt = "What is the capital of {country}?"
answer = "capital"
cluster = "part"
[rows]
file = "%s"
"""
CSV = "country,capital,part\nFrance,Paris,Europe\nItaly,Rome,Europe\nKenya,Nairobi,Africa\n"


def _write(folder: Path, text: str, name: str = "task_capitals.pbias.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _load(folder: Path, text: str, **options: Any) -> TaskData:
    return load_task(read_task(_write(folder, text), "task.toml"), **options)


def _csv(path: Path) -> None:
    path.write_text(CSV, encoding="utf-8")


def _parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path)


FORMATS: dict[str, Callable[[Path], object]] = {
    "rows.csv": _csv,
    "rows.tsv": lambda path: path.write_text(CSV.replace(",", "\t")),
    "rows.jsonl": lambda path: path.write_text("\n".join(map(json.dumps, ROWS))),
    "rows.json": lambda path: path.write_text(json.dumps(ROWS)),
    "rows.parquet": _parquet,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_items(tmp_path: Path, name: str) -> None:
    FORMATS[name](tmp_path / name)
    data = _load(tmp_path, CAPITALS % name)
    assert {(item.prompt, item.cluster, item.reference["answers"][0]) for item in data.items} == {
        (f"What is the capital of {row['country']}?", row["part"], row["capital"]) for row in ROWS
    }
    _csv(tmp_path / "same.csv")
    same = _load(tmp_path, CAPITALS % "same.csv")
    assert [item.id for item in same.items] == [item.id for item in data.items]
    assert same.content_hash == data.content_hash


def test_a_task_is_called_as_its_file_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert read_task(_write(tmp_path, CAPITALS % "a.csv")).name == "capitals"
    named = read_task(_write(tmp_path, f'name = "towns"\ntitle = "Towns"\n{CAPITALS % "a.csv"}'))
    assert (named.name, named.title, named.floor, named.axis) == ("towns", "Towns", 0.0, "utility")


def test_wording_and_grading_are_no_part_of_an_item(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv")
    first = _load(tmp_path, CAPITALS % "rows.csv")
    text = (CAPITALS % "rows.csv").replace("What is the", "Name the")
    other = _load(tmp_path, "match_case = true\n" + text)
    assert [item.id for item in first.items] == [item.id for item in other.items]
    assert other.items[0].prompt.startswith("Name the capital")


def test_rows_that_ask_the_same_stand_or_fall_together(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV + "Italy,Rome,Europe\nItaly,Milan,Europe\n")
    data = _load(tmp_path, (CAPITALS % "rows.csv").replace('cluster = "part"\n', ""))
    assert len({item.id for item in data.items}) == 5
    clusters = [item.cluster for item in data.items if "Italy" in item.prompt]
    assert sorted(map(clusters.count, clusters)) == [1, 2, 2]


def test_parquet_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    """One value that stands for many rows takes a few bytes in the file."""
    path, names = tmp_path / "rows.parquet", ("country", "capital", "part")
    pq.write_table(pa.table({name: pa.repeat(name, 10**7) for name in names}), path)
    with pytest.raises(DataError, match="unpacks to 2,560,000,000 bytes or more, and at most"):
        _load(tmp_path, CAPITALS % "rows.parquet")
    pq.write_table(pa.table({name: pa.repeat("x" * 10**4, 3000) for name in names}), path)
    assert path.stat().st_size < 10**5
    with pytest.raises(DataError, match="bytes or more, and at most 20,000,000 are read"):
        ParquetFile(path).rows(most_bytes=2 * 10**7)
    assert len(ParquetFile(path).rows()) == 3000


def test_json_rows_may_lie_under_a_key_and_rows_can_be_chosen(tmp_path: Path) -> None:
    rows = [{"q": "a", "kind": 1, "note": ""}, {"q": "b", "kind": 2, "note": "x"}]
    (tmp_path / "rows.json").write_text(json.dumps({"examples": [*rows, {"q": "c", "kind": 2}]}))
    text = 'axis = "safety"\ngrader = "refusal"\nprompt = "{q}{{}}"\n[rows]\nfile = "rows.json"\n'
    data = _load(tmp_path, text + 'field = "examples"\nwhere = {kind = [2, 3]}\n')
    assert {item.prompt for item in data.items} == {"b{}", "c{}"}
    data = _load(tmp_path, text + 'field = "examples"\nfilled = ["note"]\n')
    assert [item.prompt for item in data.items] == ["b{}"]
    (tmp_path / "rows.csv").write_text("q,kind\na,1\nb,true\n")
    text = text.replace("rows.json", "rows.csv")
    assert _load(tmp_path, text + "where = {kind = 1}").items[0].prompt == "a{}"
    assert _load(tmp_path, text + "where = {kind = true}").items[0].prompt == "b{}"


@pytest.mark.parametrize(
    ("given", "letter"),
    [("B", "B"), ("(b)", "B"), ("a cat", "B"), (1, "B"), (0, "A")],
)
def test_a_choice_is_a_letter_the_words_or_a_number_from_0(
    tmp_path: Path, given: str | int, letter: str
) -> None:
    row = {"q": "Who?", "options": ["a dog", "a cat"], "right": given}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    text = (
        'axis = "utility"\ngrader = "choice"\nprompt = "{q}\\n{choices}"\nanswer = "right"\n'
        'choices = "options"\nfloor = 0.5\n[rows]\nfile = "rows.jsonl"\n'
    )
    (item,) = _load(tmp_path, text).items
    assert item.prompt == "Who?\n(A) a dog\n(B) a cat"
    assert item.reference == {"answer": letter, "choices": ["a dog", "a cat"]}


def test_options_in_columns_say_what_guessing_reaches(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,x,y,z,right\nWho?,a,b,c,c\n")
    text = (
        'axis = "utility"\ngrader = "choice"\nprompt = "{q}\\n{choices}"\nanswer = "right"\n'
        'choices = ["x", "y", "z"]\n[rows]\nfile = "rows.csv"\n'
    )
    task = read_task(_write(tmp_path, text))
    assert task.floor == pytest.approx(1 / 3)
    assert load_task(task).items[0].reference["answer"] == "C"


def test_splits_and_solved_examples(tmp_path: Path) -> None:
    for split, rows in (("dev", "France,Paris\nItaly,Rome\n"), ("test", "Kenya,Nairobi\n")):
        (tmp_path / f"{split}.csv").write_text(f"country,capital\n{rows}")
    text = (CAPITALS % "{split}.csv").replace(
        'cluster = "part"\n', ""
    ) + 'splits = ["test", "dev"]\n[examples]\nanswer = "It is {capital}."\nsplit = "dev"\n'
    (item,) = _load(tmp_path, text, shots=2).items
    first, answer, _, _, last = item.prompt.split("\n\n")
    assert last == "What is the capital of Kenya?"
    assert (first, answer) in (
        ("What is the capital of France?", "It is Paris."),
        ("What is the capital of Italy?", "It is Rome."),
    )
    assert len(_load(tmp_path, text, split="dev").items) == 2
    with pytest.raises(ConfigurationError, match="no split 'train': choose from test, dev"):
        _load(tmp_path, text, split="train")


def test_a_path_may_name_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").mkdir()
    _csv(tmp_path / "far" / "rows.csv")
    monkeypatch.setenv("MY_ROWS", str(tmp_path / "far"))
    assert len(_load(tmp_path, CAPITALS % "${MY_ROWS}/*.csv").items) == 3
    monkeypatch.delenv("MY_ROWS")
    with pytest.raises(DataError, match=r"^task.toml: rows.file: .*variable MY_ROWS is not set$"):
        _load(tmp_path, CAPITALS % "${MY_ROWS}/*.csv")


def test_templates_run_nothing() -> None:
    row = {"a": "1"}
    for text in ("{a.__class__}", "{a!r}", "{a:>9}", "{0}", "{a[0]}", "{__import__('os')}"):
        with pytest.raises(KeyError):  # a name of a column, whatever it looks like
            read_template(text).fill(row.__getitem__)
    assert read_template("{a}{{a}} }}").fill(row.__getitem__) == "1{a} }"
    assert read_template("%(a)s ${a}").fill(row.__getitem__) == "%(a)s $1"


CHOICE = (
    'axis = "utility"\ngrader = "choice"\nprompt = "{q}"\nanswer = "right"\n'
    'choices = ["x", "y"]\n[rows]\nfile = "rows.csv"\n'
)
GOOD = CAPITALS % "rows.csv"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("contains", "contain"), "grader: unknown grader 'contain': did you mean 'contains'?"),
        (("utility", "usefulness"), "axis: unknown axis 'usefulness': known: utility, safety"),
        (('axis = "utility"', ""), "axis: is missing"),
        (('axis = "utility"', 'axis = "utility"\nfloor = 1.5'), "floor: must be at most 1, not"),
        (('axis = "utility"', 'axis = "utility"\nfloor = nan'), "floor: must be "),
        (('axis = "utility"', 'axis = "utility"\nfloor = "0"'), "floor: must be a number, not '0'"),
        (('axis = "utility"', 'axis = "utility"\nanswr = "x"'), "answr: unknown key: did you mean"),
        (('axis = "utility"', 'axis = "utility"\nname = "a b"'), "name: 'a b' cannot be a task's"),
        (('axis = "utility"', 'axis = "utility"\nname = "safety"'), "name: 'safety' is an axis"),
        (("{country}", "{country"), "prompt: has { by itself"),
        (("{country}", "{}"), "prompt: has {} by itself"),
        (('answer = "capital"', ""), 'answer: is missing, which grader = "contains" needs'),
        (('answer = "capital"', 'answer = " "'), "answer: must be a text that is not empty"),
        (('axis = "utility"', 'axis = "utility"\ntests = "x"'), "tests: has no use with grader ="),
        (('"contains"', '"regex"\npattern = "("'), "pattern: '(' is no regular expression"),
        (('"contains"', '"regex"\npattern = "x"'), "pattern: has no group (...) to compare"),
        (('file = "rows.csv"', ""), "rows: give one of `file` and `hub`"),
        (('file = "rows.csv"', 'hub = "a/b"\nsplits = ["x"]'), "rows.revision: is missing"),
        (('file = "rows.csv"', 'hub = "a/b"\nrevision = "1"'), "rows.splits: is missing"),
        (('file = "rows.csv"', 'file = "{split}.csv"'), "rows.splits: goes together with {split}"),
        (('file = "rows.csv"', 'file = "a.csv"\nrevision = "1"'), "rows.revision: has a use with"),
        (('file = "rows.csv"', 'file = "a.csv"\nheader = ["a", "a"]'), "rows.header: has a name"),
        (('file = "rows.csv"', 'file = "{split}"\nsplits = ["a", "a"]'), "rows.splits: has a name"),
        (("[rows]", "[row]"), "rows: is missing"),
        (('file = "rows.csv"', "file = 1"), "rows.file: must be a text, not 1"),
        (("[rows]", '[examples]\nanswer = "{a"\n[rows]'), "examples.answer: has { by itself"),
        (
            ("[rows]", '[examples]\nanswer = "a"\nsplit = "dev"\n[rows]'),
            "examples.split: there is no split 'dev': choose from all",
        ),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_its_place(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ConfigurationError) as caught:
        read_task(_write(tmp_path, text), "task.toml")
    message = str(caught.value)
    assert message.startswith(f"task.toml: {says}")
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"axis = \xff", b"axis =", b"", b"\x00"])
def test_what_is_no_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "task_a.pbias.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"^task.toml:.*[^\n]+$"):
        read_task(path, "task.toml")


@pytest.mark.parametrize(
    ("toml", "rows", "says"),
    [
        (GOOD, "contry,capital,part\na,b,c\n", "task.toml: prompt: .*rows.csv has no column "
         "'country': did you mean 'contry'"),
        (GOOD, "country,town,part\na,b,c\n", "task.toml: answer: .*no column 'capital'"),
        (GOOD, "country,capital\na,b\n", "task.toml: cluster: .*no column 'part'"),
        (GOOD + 'where = {kind = "x"}', CSV, "task.toml: rows.where.kind: .*no column 'kind'"),
        (GOOD + 'where = {part = "Asia"}', CSV, "task.toml: task 'capitals' has no items"),
        (GOOD, "", "rows.csv: is empty"),
        (GOOD, "country,capital,part\n", "task.toml: task 'capitals' has no items"),
        (GOOD, "country,capital,part\na,b\n", "rows.csv, line 2: 2 columns, expected 3"),
        (GOOD, "country,capital,capital\na,b,c\n", "rows.csv: has the column 'capital' twice"),
        (GOOD, "country,capital,part\n,b,c\n", "rows.csv, row 1: country is empty"),
        (GOOD, "country,capital,part\na,b,c\na, ,c\n", "rows.csv, row 2: capital is empty"),
        (GOOD, b"country,capital,part\n\xe9,b,c\n", "rows.csv, line 2: not UTF-8 text"),
        (GOOD, None, "task.toml: rows.file: there is no file .*rows.csv"),
        (GOOD.replace("rows.csv", "rows.txt"), "x", "rows.txt: its name does not end in .csv"),
        (GOOD.replace("rows.csv", "rows.json"), "{}", "rows.json: has no list of rows"),
        (GOOD.replace("rows.csv", "rows.json"), "[1]", "row 1: not an object with named columns"),
        (GOOD.replace("rows.csv", "rows.json"), "[", "rows.json, line 1, column 2: Expecting"),
        (GOOD.replace("rows.csv", "rows.parquet"), "PAR1", "rows.parquet: cannot be read as P"),
        (GOOD.replace("rows.csv", "rows.json"), '[{"country": {}, "capital": 1, "part": 1}]',
         "row 1: country is {}, which a prompt cannot show"),
        (GOOD.replace("rows.csv", "rows.json"), '[{"country": "\\u0000", "capital": 1, "part": 1}]',
         "row 1: country has a null character"),
        (CHOICE, "q,x,y,right\na,b,c,d\n", "rows.csv, row 1: right: 'd' is no option: A, B"),
        (CHOICE, "q,x,y,right\na,B,A,A\n", "row 1: right: 'A' is more than one option"),
        (CHOICE.replace('"choice"', '"number"').replace('choices = ["x", "y"]\n', ""),
         "q,right\na,many\n", "row 1: right: 'many' is not a number"),
        (CHOICE.replace('"choice"', '"number"').replace('choices = ["x", "y"]\n', ""),
         "q,right\na,inf\n", "row 1: answer: inf is not a number"),
        (GOOD.replace('"contains"', '"regex"'), "country,capital,part\na,(,c\n",
         r"row 1: capital: '\(' is no regular expression"),
        (GOOD.replace('"contains"', '"code"').replace("answer", "tests"),
         "country,capital,part\na,true,c\n", "row 1: capital has 'true', which is no assertion"),
        (GOOD.replace('"contains"', '"code"').replace("answer", "tests"),
         "country,capital,part\na,assert 1,c\n", "capital has 'assert 1', which would pass every"),
        (CHOICE.replace('"choice"', '"number"').replace('choices = ["x", "y"]\n', ""),
         "q,right\na,1_0\n", "row 1: right: '1_0' is not a number"),
        (GOOD.replace("rows.csv", "rows.json"), '[{"country": "\\ud800", "capital": 1, "part": 1}]',
         "row 1: country has half of a character"),
        (GOOD, "country,capital,part\n\u200b,b,c\n", "row 1: country is empty"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_rows_is_one_line_with_its_place(
    tmp_path: Path, toml: str, rows: str | bytes | None, says: str
) -> None:
    name = re.search(r'file = "(.*)"', toml)
    assert name is not None
    if rows is not None:
        content = rows if isinstance(rows, bytes) else rows.encode()
        (tmp_path / name[1]).write_bytes(content)
    with pytest.raises(PbiasError) as caught:
        _load(tmp_path, toml)
    message = str(caught.value)
    assert re.search(says, message), message
    assert "\n" not in message


def test_a_name_is_used_once(tmp_path: Path) -> None:
    task = read_task(_write(tmp_path, f'name = "mmlu"\n{GOOD}'), "mine.toml")
    with pytest.raises(ConfigurationError) as caught:
        known_tasks(TASKS, [task])
    assert str(caught.value) == (
        "mine.toml: name: the task 'mmlu' is there already, one of pytest-pbias; give it another "
        "name"
    )
    first, second = (read_task(_write(tmp_path, GOOD), shown) for shown in ("a.toml", "b.toml"))
    with pytest.raises(ConfigurationError, match=r"^b.toml: name: .* that of a.toml; give"):
        known_tasks({}, [first, second])


def test_a_task_made_as_those_of_the_package_is_one(tmp_path: Path) -> None:
    mine = replace(TASKS["gsm8k"], name="sums")
    assert known_tasks(TASKS, [as_task(mine, "hook")])["sums"] is mine
    with pytest.raises(ConfigurationError, match="name: 'a b' cannot be a task's name"):
        known_tasks(TASKS, [replace(mine, name="a b")])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_schema_takes_the_examples_of_the_docs(path: Path) -> None:
    schema = task_schema()
    document = tomllib.loads(path.read_text("utf-8"))
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"answr": "x"}, schema)


def test_files_are_found_beside_below_and_above(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("", "a", "a/b", "c", "env", ".hidden"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        _write(root / folder, GOOD)
    (root / "env" / "pyvenv.cfg").touch()
    (tmp_path / "task_out.pbias.toml").write_text(GOOD)
    found = [path.parent for path in find_task_files([root / "a"], root, [".*"])]
    assert found == [root, root / "a", root / "a" / "b"]
    (root / "c" / "test_x.py").touch()
    found = [path.parent for path in find_task_files([root / "c" / "test_x.py"], root, [".*"])]
    assert found == [root, root / "c"]
    found = [path.parent for path in find_task_files([root], root, [".*"])]
    assert found == [root, root / "a", root / "a" / "b", root / "c"]
