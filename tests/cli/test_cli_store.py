from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_pbias.cli import main
from pytest_pbias.collecting import Store
from pytest_pbias.models.chat import Response
from pytest_pbias.outcomes import OutcomeTable


def _response(number: int) -> Response:
    return Response(f"key{number}", f"answer {number} \ud800 =1+1", "st\ud800op", 3, 4, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of ten responses, six of which a kept run uses."""
    store = Store(tmp_path / "responses.sqlite")
    store.put_many([_response(n) for n in range(10)])
    store.close()
    columns: dict[str, Any] = {
        "task": ["mmlu"] * 6,
        "axis": ["utility"] * 6,
        "item_id": [str(n) for n in range(6)],
        "cluster": ["c"] * 6,
        "identity": ["baseline"] * 6,
        "group": ["Baseline"] * 6,
        "kind": ["baseline"] * 6,
        "repeat": [0] * 6,
        "request_key": [f"key{n}" for n in range(5)] + ["elsewhere"],
    }
    OutcomeTable.from_columns(columns).write(tmp_path / "runs" / "0001-tiny.parquet")
    return tmp_path


def _store(*arguments: str | Path) -> int:
    return main(["store", *map(str, arguments)])


def test_ls_says_what_is_there_and_what_uses_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _store("ls", "--store", folder) == 0
    said = capsys.readouterr().out
    assert "10 responses, 0 grades" in said
    assert "run 0001-tiny: uses 6 responses, 5 of them here" in said
    assert "5 responses are used by no kept run" in said


def test_replies_of_judging_models_are_counted_and_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replies = Store(folder / "judgements.sqlite")
    replies.put_many([_response(n) for n in range(3)])
    assert _store("ls", "--store", folder) == 0
    assert "judgements.sqlite: 3 replies of judging models" in capsys.readouterr().out
    assert _store("gc", "--store", folder) == 0
    assert replies.count() == 3
    replies.close()


def test_gc_deletes_what_no_run_uses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _store("gc", "--store", folder, "--dry-run") == 0
    assert "5 responses that none of 1 kept runs uses would be deleted" in capsys.readouterr().out
    store = Store(folder / "responses.sqlite")
    assert store.count() == 10
    assert _store("gc", "--store", folder) == 0
    assert sorted(store.keys()) == [f"key{n}" for n in range(5)]


@pytest.mark.parametrize("damage", ["cut off", "half of it zeros", "another table"])
def test_gc_deletes_nothing_where_a_kept_run_cannot_be_read(
    folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "0001-tiny.parquet"
    whole = run.read_bytes()
    if damage == "cut off":
        run.write_bytes(whole[:-50])
    elif damage == "half of it zeros":
        run.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    else:
        pq.write_table(pa.table({"other": [1]}), run)
    for options in ([], ["--dry-run"]):
        assert _store("gc", "--store", folder, *options) == 2
        said = capsys.readouterr().err
        assert f"run {run} cannot be read" in said
        assert said.count("\n") == 1
    assert Store(folder / "responses.sqlite").count() == 10
    assert _store("ls", "--store", folder) == 0
    assert "run 0001-tiny: cannot be read" in capsys.readouterr().out
    run.write_bytes(whole)
    assert _store("gc", "--store", folder) == 0


def test_gc_waits_for_a_run_that_is_asking(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pytest_pbias.collecting.waiting import this_owner

    Store(folder / "responses.sqlite").put_collector(this_owner(0), "running")
    assert _store("gc", "--store", folder) == 2
    assert "a run is asking" in capsys.readouterr().err


def test_verify_finds_damage_and_keeps_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _store("verify", "--store", folder) == 0
    assert "10 responses, every record is intact" in capsys.readouterr().out
    with sqlite3.connect(folder / "responses.sqlite") as connection:
        connection.execute("UPDATE responses SET latency = 9 WHERE key = 'key3'")
    connection.close()
    assert _store("verify", "--store", folder) == 1
    said = capsys.readouterr()
    assert "1 damaged records were set aside, 9 responses are intact" in said.out
    assert _store("verify", "--store", folder) == 0


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_export_writes_every_response(
    folder: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"out.{ending}"
    assert _store("export", "--store", folder, file) == 0
    assert "10 responses written" in capsys.readouterr().out
    if ending == "jsonl":
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    else:
        rows = pq.read_table(file).to_pylist()
    assert [row["key"] for row in rows] == [f"key{n}" for n in range(10)]
    assert rows[3] == {
        "key": "key3",
        "text": "answer 3 ? =1+1",
        "finish_reason": "st?op",
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "latency": 0.5,
        "reasoning": "",
        "reasoning_tokens": None,
    }


def test_mistakes_are_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _store("ls", "--store", tmp_path / "none") == 2
    assert "there is no store at" in capsys.readouterr().err
    assert _store("export", "--store", folder, tmp_path / "out.txt") == 2
    assert ".jsonl or .parquet" in capsys.readouterr().err
    assert _store("export", "--store", folder, tmp_path / "no" / "out.jsonl") == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert error.count("\n") == 1
