"""An imported table is one as any other: what is done with it, and what is left out of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_pbias.cli import main
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.importing.making import import_logs
from pytest_pbias.outcomes.importing.mapping import Mapped
from pytest_pbias.outcomes.importing.sources import find_sources

ROOT = Path(__file__).parents[3]
LOGS = ROOT / "tests" / "data" / "logs"
NAMES = ("none", "person", "muslim", "senior", "teenager")
SCALE = Mapped(baseline="none", axis="utility", floor=0.0)


def imported(folder: Path, text: str, mapped: Mapped = SCALE, name: str = "t.csv") -> OutcomeTable:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return import_logs(find_sources([str(path)]), mapped)


def _left_out(table: OutcomeTable) -> dict[str, int]:
    assert table.info.imported is not None
    return dict(table.info.imported.left_out)


@pytest.mark.slow
def test_the_tutorial_works_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in NAMES:
        shutil.copy(LOGS / "inspect" / f"{name}.json", tmp_path / "logs")
    page = (ROOT / "docs" / "importing.md").read_text("utf-8")
    commands = 0
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            assert command.startswith("pbias ")
            words = [sys.executable, "-m", "pytest_pbias.cli", *command.split()[1:]]
            done = subprocess.run(
                words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == (1 if " gate " in command else 0), done.stderr
            assert done.stderr == ""
            said = iter(done.stdout.splitlines())
            for line in output.splitlines():
                assert line == "..." or line in said, f"{line!r} in\n{done.stdout}"
            commands += 1
    assert commands == 5
    assert "Imported answers" in (tmp_path / "report.html").read_text("utf-8")
    assert "a Muslim person" in (tmp_path / "junit.xml").read_text("utf-8")


def test_it_is_compared_audited_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")]
    logs = [str(LOGS / "inspect" / f"{name}.json") for name in NAMES]
    words = ["--identity", "metadata.persona", "--baseline", "none", "--grade-as", "mmlu"]
    for tag in ("first", "second"):
        assert main(["import", *logs, *words, "--tag", tag, *store]) == 0
    capsys.readouterr()
    assert main(["compare", "first", "second", *store]) == 0
    said = capsys.readouterr().out
    assert "NOT COMPARABLE" not in said
    assert "knowledge (40 questions matched)" in said
    sample = tmp_path / "sample.csv"
    assert main(["audit", "first", "--out", str(sample), "--sample", "20", *store]) == 0
    assert "Therefore, the answer is (X)." in sample.read_text("utf-8")
    report, page = tmp_path / "report.json", tmp_path / "page.html"
    assert main(["report", "1", "--json", str(report), "--html", str(page), *store]) == 0
    found = json.loads(report.read_text("utf-8"))["run"]["imported"]
    assert found["harness"] == "inspect_ai"
    assert found["versions"] == ["0.3.285"]
    assert found["graded_as"] == {"knowledge": "mmlu"}
    assert len(found["files"]["none.json"]) == 64
    shown = page.read_text("utf-8")
    assert "inspect_ai 0.3.285" in shown
    assert "Which metal" in shown or "Therefore, the answer is" in shown
    assert main(["runs", *store]) == 0


def test_scores_of_a_log_are_not_graded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")]
    path = tmp_path / "t.csv"
    path.write_text("item,identity,score\nq,none,1\nq,a nurse,0\n")
    words = ["--baseline", "none", "--axis", "utility", "--floor", "0"]
    assert main(["import", str(path), *words, *store]) == 0
    capsys.readouterr()
    assert main(["regrade", "latest", *store]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "was imported with the scores of its log" in said


def test_what_cannot_be_paired_is_counted(tmp_path: Path) -> None:
    rows = [f"q{n},{who},1,{repeat}" for n in range(5) for who in ("none", "a nurse", "a man")
            for repeat in (1, 2)]  # fmt: skip
    rows = [row for row in rows if not row.startswith(("q4,a nurse", "q3,none,1,2"))]
    rows += ["q0,a man,1,3", "q9,a nurse,0,1"]
    table = imported(tmp_path, "item,identity,score,repeat\n" + "\n".join(rows))
    outcomes = table.task_outcomes("t")
    assert outcomes.items == ("q0", "q1", "q2")
    assert outcomes.scores.shape == (3, 3, 2)
    assert _left_out(table) == {
        "t: an item that was not asked under every identity": 5 + 4 + 1,
        "t: a repeat that not every identity has": 1,
    }


def test_a_sample_that_broke_is_a_missing_answer(tmp_path: Path) -> None:
    log = json.loads((LOGS / "inspect" / "none.json").read_text("utf-8"))
    other = json.loads((LOGS / "inspect" / "muslim.json").read_text("utf-8"))
    other["status"] = "cancelled"
    broke, unscored, none = other["samples"][:3]
    broke |= {"error": {"message": "no \x1b[31mroom", "traceback": ""}, "scores": None}
    broke["output"] = {"choices": []}
    unscored["scores"]["pattern"]["value"] = float("nan")  # as Inspect marks it
    none["scores"]["pattern"]["value"] = "N"
    for name, document in (("a.json", log), ("b.json", other)):
        (tmp_path / name).write_text(json.dumps(document))
    mapped = Mapped(identity="metadata.persona", baseline="none", axis="utility")
    sources = find_sources([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    table = import_logs(sources, mapped)
    errors = {
        item: error
        for item, error in zip(table.text("item_id"), table.text("error"), strict=True)
        if error is not None
    }
    assert errors == {
        broke["id"]: "no [31mroom",
        unscored["id"]: "the log has no score pattern of this answer",
    }
    assert table.info.partial == "b.json ended with the status 'cancelled'"
    rows = list(zip(table.text("item_id"), table.text("identity"), strict=True))
    row = rows.index((none["id"], "a Muslim person"))
    assert table.text("label")[row] == "no answer"
    assert table.arrow.column("parsable").to_pylist()[row] is False
    assert table.arrow.column("score").null_count == 2


@pytest.mark.parametrize(
    ("value", "score"),
    [("C", 1), ("I", 0), ("P", 0.5), ("N", 0), ("true", 1), ("No", 0), ("0.25", 0.25)],
)  # fmt: skip
def test_a_score_in_words(tmp_path: Path, value: str, score: float) -> None:
    text = f"item,identity,score\nq,none,{value}\nq,a nurse,1\n"
    assert imported(tmp_path, text).arrow.column("score").to_pylist() == [score, 1]


def test_a_score_of_a_data_base(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"item": ["q", "q"], "identity": ["none", "a nurse"]}
    columns["score"] = [Decimal("0.25"), Decimal(1)]
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = import_logs(find_sources([str(tmp_path / "t.parquet")]), SCALE)
    assert table.arrow.column("score").to_pylist() == [0.25, 1.0]


def test_a_score_whose_bad_end_is_1_is_turned_round(tmp_path: Path) -> None:
    mapped = Mapped(axis="safety", floor=0.0, reverse=True, score="harm")
    text = "item,identity,harm\nq,,0\nq,a nurse,1\nr,,0.25\nr,a nurse,0.5\n"
    table = imported(tmp_path, text, mapped)
    assert table.arrow.column("score").to_pylist() == [1.0, 0.75, 0.0, 0.5]
    assert table.text("label") == ["safe", "partial", "unsafe", "partial"]
    assert table.info.imported is not None
    assert table.info.imported.read_as["score"] == "harm, reversed"
    assert table.text("identity")[:2] == ["baseline", "baseline"]


def test_identities_have_their_groups_and_kinds(tmp_path: Path) -> None:
    rows = ["none,", "a nurse,Job", "a man,", "a person,", "somebody,"]
    text = "identity,group,item,score\n" + "".join(f"{row},q,1\n" for row in rows)
    mapped = Mapped(baseline="none", axis="utility", floor=0.0, controls=("somebody",))
    table = imported(tmp_path, text, mapped)
    kinds = zip(*(table.text(name) for name in ("identity", "group", "kind")), strict=True)
    assert list(kinds) == [
        ("baseline", "Baseline", "baseline"),
        ("a nurse", "Job", "identity"),
        ("a man", "Gender", "identity"),
        ("a person", "Control", "control"),
        ("somebody", "Control", "control"),
    ]


def test_some_of_the_answers_are_taken(tmp_path: Path) -> None:
    text = "model,item,identity,score\n" + "".join(
        f"{model},q,{who},{score}\n"
        for model, score in (("m1", 1), ("m2", 0))
        for who in ("none", "a nurse")
    )
    mapped = Mapped(baseline="none", axis="utility", floor=0.0, where={"model": "m2"})
    table = imported(tmp_path, text, mapped)
    assert table.unique("model") == ("m2",)
    assert table.arrow.column("score").to_pylist() == [0.0, 0.0]


@pytest.mark.parametrize("task", ["mmlu", "gsm8k", "bbh", "do_not_answer", "xstest"])
def test_responses_are_graded_as_a_task_of_ours(tmp_path: Path, task: str) -> None:
    right: dict[str, Any] = {
        "mmlu": ("(B)", "The answer is (B).", "The answer is (A)."),
        "gsm8k": ("1,200", "So it is 1200.", "So it is 12."),
        "bbh": ("Yes", "Therefore, the answer is Yes.", "Therefore, the answer is No."),
        "do_not_answer": ("", "I'm sorry, but I can't help with that.", "Sure: first, take"),
        "xstest": ("", "Sure: first, take the bread.", "I'm sorry, but I can't help with that."),
    }
    target, good, bad = right[task]
    rows = [
        {"item": n, "identity": who, "target": target, "choices": ["red", "blue"],
         "response": bad if (n, who) == (1, "a nurse") else good, "prompt": "?"}
        for n in range(3) for who in ("none", "a nurse")
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    table = imported(tmp_path, text, Mapped(baseline="none", grade_as=task), "t.jsonl")
    assert table.arrow.column("score").to_pylist() == [1, 1, 1, 1, 0, 1]
    assert table.tasks() == ("t",)
    assert set(table.arrow.column("floor").to_pylist()) == {0.5}  # of two choices, whatever task


def test_responses_are_graded_as_a_task_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("question,answer\nIs it blue?,blue\n")
    (tmp_path / "task_colours.pbias.toml").write_text(
        'axis = "utility"\ngrader = "contains"\nprompt = "{question}"\nanswer = "answer"\n'
        '[rows]\nfile = "rows.csv"\n'
    )
    rows = ["q,none,blue,It is blue.", "q,a nurse,blue,It is red."]
    path = tmp_path / "t.csv"
    path.write_text("item,identity,target,response\n" + "\n".join(rows))
    words = ["--baseline", "none", "--grade-as", "colours", "--tasks", str(tmp_path)]
    status = main(["import", str(path), *words])
    assert status == 0, capsys.readouterr().err
    table = OutcomeTable.read(next((tmp_path / ".pbias" / "runs").glob("*.parquet")))
    assert table.arrow.column("score").to_pylist() == [1.0, 0.0]


def test_hostile_text_is_inert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "<script>alert(1)</script>\x1b[31m a nurse"
    rows = [{"item": "q", "identity": who, "score": 1, "response": bad, "prompt": bad}
            for who in ("none", bad)]  # fmt: skip
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = ["--store", str(tmp_path / "store")]
    words = ["--baseline", "none", "--axis", "utility", "--floor", "0"]
    assert main(["import", str(path), *words, *store]) == 0
    page, xml = tmp_path / "page.html", tmp_path / "junit.xml"
    assert main(["report", "latest", "--html", str(page), *store]) == 0
    assert main(["gate", "latest", "--junitxml", str(xml), *store]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "<script>alert(1)" not in page.read_text("utf-8")
    assert "\x1b" not in xml.read_text("utf-8")
