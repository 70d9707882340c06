"""What is no log, or cannot be paired: one line, exit code 2, and nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_pbias.cli import main
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.importing import inspect_logs, logged, long_tables

LOGS = Path(__file__).parents[2] / "data" / "logs"
TABLE = ("--baseline", "none", "--axis", "utility", "--floor", "0")
INSPECT = ("--identity", "metadata.persona", *TABLE)
HEAD = "item,identity,score\n"
GOOD = f"{HEAD}q1,none,1\nq2,none,0\nq1,a nurse,1\nq2,a nurse,1\n"


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Import and return the one line of the error."""

    def run(*words: Any) -> str:
        before = sorted(tmp_path.rglob("*"))
        store = tmp_path / "store"
        status = main(["import", *map(str, words), "--store", str(store)])
        said = capsys.readouterr()
        assert status == 2, said.out
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        assert len(said.err) < 900
        assert "Traceback" not in said.err
        assert sorted(tmp_path.rglob("*")) == before
        return said.err

    return run


def _file(folder: Path, text: str | bytes, name: str = "answers.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _changed(folder: Path, source: Path, change: Callable[[Any], object]) -> Path:
    document = json.loads(source.read_text("utf-8"))
    change(document)
    return _file(folder, json.dumps(document), source.name)


def test_the_table_that_the_others_are_made_of_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert main(["import", str(_file(tmp_path, GOOD)), *TABLE, "--store", str(store)]) == 0
    table = OutcomeTable.read(next((store / "runs").glob("*.parquet")))
    assert table.text("identity") == ["baseline", "baseline", "a nurse", "a nurse"]
    assert table.arrow.column("score").to_pylist() == [1.0, 0.0, 1.0, 1.0]
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        (HEAD, "has no rows"),
        ("item,identity,score,score\n", "two columns are called 'score'"),
        (GOOD + "q3,none\n", "line 6: has 2 fields, the first line 3"),
        (GOOD + "q3,none,1,1\n", "line 6: has 4 fields, the first line 3"),
        (GOOD + '"q3,none,1\n', "is not CSV"),
        (GOOD + "q3,none,good\n", "line 6: the score score is 'good', which is no number"),
        (GOOD + "q3,none,1\nq3,a nurse,nan\n", "line 7: the score score is 'nan': leave it empty"),
        (GOOD + "q3,none,1\nq3,a nurse,1.5\n", "line 7: the score score is '1.5', which is not"),
        (GOOD + "q3,none,-0.1\nq3,a nurse,1\n", "is '-0.1', which is not from 0 to 1"),
        (GOOD + "q3,none,inf\nq3,a nurse,1\n", "is 'inf', which is not from 0 to 1"),
        (GOOD + "q2,none,0\n", "line 6: item 'q2' under 'none' is there twice; see"),
        (GOOD + ",none,0\n", "line 6: item is empty, which names the item"),
        (GOOD + "q3,,0\n", "line 6: has no identity, and 'none' is the baseline"),
        (GOOD + "q9,a man,0\n", "no item of 'answers' was asked both under 'a man' and the"),
        (GOOD.replace("none", "nobody"), "--baseline: nobody is called 'none'"),
        (f"{HEAD}q1,none,1\n", "only 'none' was asked: there is nobody to compare"),
        (GOOD + "q1,baseline,1\n", "an identity is called 'baseline', and 'none' is the baseline"),
        ("item,score\nq1,1\n", "nothing says who asked"),
        ("identity,score\nnone,1\n", "nothing says which item"),
        ("item,identity\nq1,none\nq1,a nurse\n", "--score: say which score counts"),
    ],
)  # fmt: skip
def test_a_table(tmp_path: Path, refused: Callable[..., str], text: str, said: str) -> None:
    if "score score is" in said and "q3,a nurse" not in text:
        text += "q3,a nurse,1\n"
    assert said in refused(_file(tmp_path, text), *TABLE)


def test_a_table_that_is_no_text(tmp_path: Path, refused: Callable[..., str]) -> None:
    wrong = _file(tmp_path, GOOD.encode() + b"q3,caf\xe9,1\n")
    assert "is not UTF-8 text (byte 72)" in refused(wrong, *TABLE)
    assert "two columns" not in refused(_file(tmp_path, GOOD.encode("utf-16")), *TABLE)
    assert "cannot be read as Parquet" in refused(_file(tmp_path, GOOD, "a.parquet"), *TABLE)
    assert "line 1: is not JSON" in refused(_file(tmp_path, GOOD, "a.jsonl"), *TABLE)
    assert "is not a JSON object" in refused(_file(tmp_path, "[1]\n", "a.jsonl"), *TABLE)
    assert "nested too deeply" in refused(_file(tmp_path, "[" * 100_000, "a.jsonl"), *TABLE)
    assert "digits" in refused(_file(tmp_path, f'{{"a": {"1" * 5000}}}', "a.jsonl"), *TABLE)
    assert "is none of .eval, .json, .csv" in refused(_file(tmp_path, GOOD, "a.txt"), *TABLE)


def test_a_table_of_other_types(tmp_path: Path, refused: Callable[..., str]) -> None:
    rows = [json.loads('{"item": 1, "identity": "none", "score": NaN}')]
    rows += [{"item": 1, "identity": "a nurse", "score": 1}]

    def said(change: dict[str, Any]) -> str:
        text = "".join(json.dumps(row | change) + "\n" for row in rows)
        return refused(_file(tmp_path, text, "a.jsonl"), *TABLE)

    assert "line 1: the score score is nan" in said({})
    assert "item is ['a'], which is no name" in said({"item": ["a"]})
    assert "item is 1.5, which is no name" in said({"item": 1.5})
    assert "item is True, which is no name" in said({"item": True})
    assert "response is 3, not a text" in said({"response": 3})
    assert "the score score is [1], which is no number" in said({"score": [1]})
    assert "an object: name one of its parts, score.PART (a, b)" in said(
        {"score": {"a": 1, "b": 0}}
    )
    columns: dict[str, Any] = {"item": ["q", "q"], "identity": ["none", "b c"]}
    pq.write_table(pa.table(columns | {"score": [b"\xff", b"1"]}), tmp_path / "b.parquet")
    assert "which is no number" in refused(tmp_path / "b.parquet", *TABLE)
    whole = (tmp_path / "b.parquet").read_bytes()
    assert "as Parquet" in refused(_file(tmp_path, whole[:-20], "c.parquet"), *TABLE)


def test_parquet_columns_that_nobody_can_tell_apart(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    columns: list[Any] = [["q", "q"], ["none", "b c"], [1, 0], [0, 1]]
    names = ["item", "identity", "score", "score"]
    pq.write_table(pa.table(columns, names=names), tmp_path / "a.parquet")
    assert "two columns are called 'score'" in refused(tmp_path / "a.parquet", *TABLE)


def test_scores_that_are_empty_everywhere(tmp_path: Path, refused: Callable[..., str]) -> None:
    said = refused(_file(tmp_path, HEAD + "q,none,\nq,a nurse,\n"), *TABLE)
    assert "--score: no answer has a score: 'score' is empty everywhere" in said
    columns: dict[str, Any] = {"item": ["q", "q"], "identity": ["none", "b c"]}
    pq.write_table(pa.table(columns | {"score": [None, None]}), tmp_path / "a.parquet")
    said = refused(tmp_path / "a.parquet", *TABLE)
    assert "--score: no answer has a score: 'score' is empty everywhere" in said


def test_parquet_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value that stands for many rows takes a few bytes in the file."""
    path = tmp_path / "bomb.parquet"
    columns: dict[str, Any] = {"item": ["q"] * 10**7, "identity": ["none"] * 10**7}
    pq.write_table(pa.table(columns), path)
    assert path.stat().st_size < 10**5
    assert "unpacks to 2,560,000,000 bytes or more, and at most" in refused(path, *TABLE)
    monkeypatch.setattr(long_tables, "MOST_BYTES", 10**7)
    columns = {name: values[:1000] for name, values in columns.items()}
    pq.write_table(pa.table(columns | {"response": ["x" * 10**5] * 1000}), path)
    assert path.stat().st_size < 10**5
    assert "bytes or more, and at most 10,000,000 are read" in refused(path, *TABLE)


def test_an_outcome_table_is_no_log(tmp_path: Path, refused: Callable[..., str]) -> None:
    shutil.copy(LOGS.parent / "outcomes-v2.parquet", tmp_path / "run.parquet")
    assert "is an outcome table already" in refused(tmp_path / "run.parquet", *TABLE)


def test_what_is_not_there(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "cannot be read: No such file" in refused(tmp_path / "none.csv", *TABLE)
    assert "cannot be read" in refused("a nurse=none.csv", *TABLE)
    (tmp_path / "empty").mkdir()
    assert "has no samples_*.jsonl" in refused(tmp_path / "empty", *TABLE)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is no file" in refused(tmp_path / "pipe.csv", *TABLE)


def test_a_file_that_is_too_large(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "huge.csv").open("wb") as sparse:
        sparse.truncate(logged.MOST_BYTES + 1)
    assert "has 2,147,483,649 bytes, more than" in refused(tmp_path / "huge.csv", *TABLE)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_logs, "MOST_BYTES", 10**7)
    path = tmp_path / "bomb.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b" " * 10**7)
        archive.writestr("samples/1.json", b" " * 10**6)
    assert path.stat().st_size < 20_000
    assert "unpacks to 11,000,000 bytes, more than" in refused(path, *INSPECT)


def test_an_archive_that_unpacks_to_more_than_it_says(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "liar.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b" " * 123_456_789)
    said = struct.pack("<L", 123_456_789)
    assert path.read_bytes().count(said) == 2
    path.write_bytes(path.read_bytes().replace(said, struct.pack("<L", 50)))
    assert "is no Inspect log, or is cut off: Bad CRC-32" in refused(path, *INSPECT)


def test_the_command_has_bounded_memory(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_logs, "_by_library", lambda path: None)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "inspect"
    command.write_text('#!/bin/sh\necho "$1 $2 in $(ulimit -v) KiB" >&2\nexit 1\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    said = refused(LOGS / "inspect" / "all-personas.eval", *INSPECT)
    assert "Inspect cannot read it: log dump in 8388608 KiB" in said


def test_an_eval_log_that_is_cut_off(tmp_path: Path, refused: Callable[..., str]) -> None:
    whole = (LOGS / "inspect" / "all-personas.eval").read_bytes()
    for part in (b"", b"PK", whole[:1000], whole[: len(whole) // 2], whole[:-1]):
        said = refused(_file(tmp_path, part, "a.eval"), *INSPECT)
        assert "is no Inspect log, or is cut off" in said
    assert "is no Inspect log" in refused(_file(tmp_path, GOOD, "a.eval"), *INSPECT)


def test_an_eval_log_without_a_reader_says_how_to_get_one(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_logs, "_by_library", lambda path: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refused(LOGS / "inspect" / "all-personas.eval", *INSPECT)
    assert "install 'pytest-pbias[inspect]'" in said
    assert "inspect log convert --to json" in said


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("name", ["inspect/none.json", "promptfoo/results.json"])
def test_json_that_is_cut_off(
    tmp_path: Path, refused: Callable[..., str], name: str, share: float
) -> None:
    whole = (LOGS / name).read_bytes()
    path = _file(tmp_path, whole[: int(share * len(whole))], "log.json")
    assert "is not JSON, or is cut off" in refused(path, *INSPECT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: log.update(version=1), "is a log of version 1, this version reads 2"),
        (lambda log: log.update(version=3), "is a log of version 3, this version reads 2"),
        (lambda log: log.update(samples=None), "has no samples (status 'success')"),
        (lambda log: log.update(samples=[], status="error"), "has no samples (status 'error')"),
        (lambda log: log.update(samples={}), "samples: must be a list"),
        (lambda log: log.update(eval=[]), "eval: must be an object"),
        (lambda log: log["eval"].pop("task"), "eval.task: is missing"),
        (lambda log: log["samples"][3].update(epoch="1"), "epoch: must be a whole number"),
        (lambda log: log["samples"][3].pop("id"), "id: is missing"),
        (lambda log: log["samples"][3]["output"].update(choices=7), "choices: must be a list"),
        (lambda log: log["samples"][3].update(metadata=[1]), "metadata: must be an object"),
        (lambda log: log["samples"][3]["metadata"].update(persona=["a"]), "which is no name"),
        (lambda log: log["samples"][3]["scores"]["pattern"].update(value="great"), "is no number"),
        (lambda log: log["samples"][3]["scores"]["pattern"].update(value=2), "is not from 0 to 1"),
        (lambda log: log["samples"].append(log["samples"][3]), "is there twice; see"),
        (lambda log: log["samples"][3].update(target="Z"), "has another target than in"),
    ],
)  # fmt: skip
def test_an_inspect_log_of_another_form(
    tmp_path: Path, refused: Callable[..., str], change: Callable[[Any], object], said: str
) -> None:
    log = _changed(tmp_path, LOGS / "inspect" / "muslim.json", change)
    assert said in refused(LOGS / "inspect" / "none.json", log, *INSPECT)


def test_what_a_mapping_names_wrongly(tmp_path: Path, refused: Callable[..., str]) -> None:
    logs = [LOGS / "inspect" / f"{name}.json" for name in ("none", "muslim")]
    said = refused(*logs, "--identity", "metadata.person", *TABLE)
    assert "--identity: no answer has the field 'metadata.person': did you mean" in said
    assert "'metadata.persona'" in said
    assert "--item: no answer" in refused(*logs, *INSPECT, "--item", "metadata.id")
    assert "--score: no answer has a score 'acc'" in refused(*logs, *INSPECT, "--score", "acc")
    assert "--control: nobody is called 'a man'" in refused(*logs, *INSPECT, "--control", "a man")
    assert "is no baseline" not in refused(*logs, *INSPECT, "--control", "none")
    assert "no task 'mlu' here: " in refused(*logs, *INSPECT, "--grade-as", "mlu")
    assert "more than a log tells" in refused(*logs, *INSPECT, "--grade-as", "mbpp")
    both = refused(*logs, *INSPECT, "--grade-as", "mmlu", "--score", "pattern")
    assert both.startswith("pbias: --grade-as: is given together with --score")
    assert "FIELD=VALUE" in refused(*logs, *INSPECT, "--where", "epoch")
    assert "no answer has id = 7" in refused(*logs, *INSPECT, "--where", "id=7")
    persona = ("--identity", "metadata.persona", "--baseline", "none")
    assert "--axis: say what a score of 'knowledge' is about" in refused(*logs, *persona)
    plain = _file(tmp_path, GOOD)
    bare = ("--baseline", "none", "--axis", "utility")
    assert "--floor: say what rate guessing reaches in 'answers'" in refused(plain, *bare)
    said = refused(plain, "--baseline", "none", "--grade-as", "mmlu")
    assert "its choices are None, not a list" in said


def test_answers_of_two_models_are_not_compared(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    other = _changed(
        tmp_path, LOGS / "inspect" / "muslim.json", lambda log: log["eval"].update(model="gpt-9")
    )
    said = refused(LOGS / "inspect" / "none.json", other, *INSPECT)
    assert "is of the model 'gpt-9'" in said
    assert "import one model at a time" in said


def test_results_without_samples_are_no_log(refused: Callable[..., str]) -> None:
    results = next((LOGS / "lm_eval" / "none").glob("results*.json"))
    assert "give the samples_*.jsonl beside it" in refused(results, *INSPECT)


def test_lm_eval_samples_that_are_damaged(tmp_path: Path, refused: Callable[..., str]) -> None:
    whole = next((LOGS / "lm_eval" / "none").glob("samples*.jsonl"))
    lines = whole.read_text("utf-8").splitlines(keepends=True)
    words = ("--identity", "system_instruction", "--axis", "utility", "--floor", "0")

    def said(text: str) -> str:
        return refused(_file(tmp_path, text, whole.name), *words)

    assert "line 40: is not JSON, or is cut off" in said("".join(lines)[:-30])
    assert "line 41: document 3 is there twice; see" in said("".join([*lines, lines[3]]))
    assert "is no sample of lm-evaluation-harness" in said('{"a": 1}\n')
    assert "doc_id: must be a whole number" in said(
        lines[0].replace('"doc_id": 0', '"doc_id": "0"')
    )
    assert "no answer has the field 'system_instruction'" not in said("".join(lines))


def test_promptfoo_results_of_another_form(tmp_path: Path, refused: Callable[..., str]) -> None:
    source = LOGS / "promptfoo" / "results.json"
    words = ("--identity", "vars.persona", *TABLE)
    assert "no item of 'knowledge' was asked both under" in refused(source, *words)

    def said(change: Callable[[Any], object]) -> str:
        log = _changed(tmp_path, source, change)
        return refused(log, "--item", "vars.question", *words)

    assert "results of version 2" in said(lambda log: log["results"].update(version=2))
    assert "results.results: must be a list" in said(lambda log: log["results"].update(results=1))
    assert "has no results" in said(lambda log: log["results"].update(results=[]))
    rows = "results"
    assert "result 2: test_idx: must be a whole number" in said(
        lambda log: log["results"][rows][1].update(testIdx="x")
    )
    assert "the score score is 7" in said(lambda log: log["results"][rows][1].update(score=7))
    assert "is there twice" in said(
        lambda log: log["results"][rows].append(log["results"][rows][1])
    )


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, GOOD)
    (tmp_path / "store").write_text("no folder")
    assert main(["import", str(path), *TABLE, "--store", str(tmp_path / "store")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    (tmp_path / "taken").mkdir()
    words = ["--table", str(tmp_path / "taken"), "--store", str(tmp_path / "other")]
    assert main(["import", str(path), *TABLE, *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "other").exists()
