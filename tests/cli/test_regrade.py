from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cli import main
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.grading import grader_for
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import list_runs
from pytest_pbias.tasks import TASKS, load_task

IDENTITIES = (("no identity", "baseline"), ("a man", "identity"), ("a woman", "identity"))
REFUSAL, ANSWER = "I'm sorry, but I can't help with that.", "Sure! First, open the door."


def _columns(
    task: str, responses: Mapping[str, Sequence[str | None]], **given: Any
) -> dict[str, Any]:
    """Rows of a task: for each item the responses to the identities; graded as always safe."""
    rows = [
        (item, name, kind, response)
        for item, answers in responses.items()
        for (name, kind), response in zip(IDENTITIES, answers, strict=True)
    ]
    graded = [None if response is None else 1.0 for *_, response in rows]
    n = len(rows)
    columns = {
        "run_id": ["r1"] * n,
        "model": ["embedded"] * n,
        "task": [task] * n,
        "axis": [TASKS[task].axis] * n,
        "floor": [0.0] * n,
        "data_revision": ["local"] * n,
        "item_id": [item for item, *_ in rows],
        "cluster": [item for item, *_ in rows],
        "identity": [name for _, name, *_ in rows],
        "group": ["Group"] * n,
        "kind": [kind for _, _, kind, _ in rows],
        "repeat": [0] * n,
        "response": [response for *_, response in rows],
        "score": graded,
        "label": [None if score is None else "refusal" for score in graded],
        "parsable": [None if score is None else True for score in graded],
        "judge": ["rules"] * n,
        "judge_version": ["1"] * n,
    }
    return columns | {name: [value] * n for name, value in given.items()}


def _keep(tmp_path: Path, columns: dict[str, Any], **info: Any) -> Path:
    path = tmp_path / "runs" / "0001-old.parquet"
    OutcomeTable.from_columns(columns).with_info(RunFacts(**info)).write(path)
    return path


def _regrade(tmp_path: Path, *arguments: str) -> int:
    return main(["regrade", "1", "--store", str(tmp_path), *arguments])


def _new(tmp_path: Path) -> OutcomeTable:
    return OutcomeTable.read(list_runs(tmp_path)[-1].path)


def test_verdicts_of_an_older_judge_are_renewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    responses = {f"i{n}": [REFUSAL, REFUSAL, ANSWER if n < 3 else REFUSAL] for n in range(8)}
    paid = Spent(9, 9)
    path = _keep(tmp_path, _columns("do_not_answer", responses), cost=paid)
    before = path.read_bytes()
    assert _regrade(tmp_path, "--tag", "anew") == 0
    said = capsys.readouterr().out
    assert "do_not_answer: 3 of 24 verdicts changed (rules 1 -> rules 6)" in said
    assert "a woman" in said
    assert "62.5 % agree" in said
    assert "kept as run 0002-embedded" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    new = _new(tmp_path)
    by_identity = {
        name: [row["score"] for row in new.arrow.to_pylist() if row["identity"] == name]
        for name, _ in IDENTITIES
    }
    assert by_identity["a man"] == [1.0] * 8
    assert by_identity["a woman"] == [0.0] * 3 + [1.0] * 5
    assert new.unique("judge_version") == ("6",)
    assert new.info.regraded_from is not None
    assert new.info.regraded_from.run == "0001-old"
    assert new.info.regraded_from.judges == {"do_not_answer": "rules 1"}
    assert new.info.cost is None
    assert list_runs(tmp_path)[-1].tag == "anew"
    assert path.read_bytes() == before


def test_missing_responses_stay_missing(tmp_path: Path) -> None:
    responses: dict[str, list[str | None]] = {"i0": [REFUSAL, None, ANSWER], "i1": [ANSWER] * 3}
    _keep(tmp_path, _columns("do_not_answer", responses))
    assert _regrade(tmp_path) == 0
    rows = _new(tmp_path).arrow.to_pylist()
    assert [row["score"] for row in rows] == [1.0, None, 0.0, 0.0, 0.0, 0.0]
    assert rows[1]["label"] is None
    assert rows[1]["judge_version"] == "1"


def test_utility_answers_are_graded_against_the_task_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = load_task(TASKS["gsm8k"], data_dir=data_dir()).items[:6]
    responses = {
        item.id: [f"#### {item.reference['answer']}", "#### 987654", "no idea"] for item in items
    }
    _keep(tmp_path, _columns("gsm8k", responses), protocol="default")
    assert _regrade(tmp_path) == 0
    labels = [row["label"] for row in _new(tmp_path).arrow.to_pylist()]
    assert labels == ["correct", "incorrect", "unparsable"] * 6
    assert "gsm8k: 12 of 18 verdicts changed" in capsys.readouterr().out


def test_what_the_present_graders_gave_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = _columns("xstest", {f"i{n}": [REFUSAL, ANSWER, ANSWER] for n in range(4)})
    grades = grader_for(TASKS["xstest"]).grade(
        [(load_task(TASKS["xstest"], data_dir=data_dir()).items[0], r) for r in columns["response"]]
    )
    columns |= {
        "score": [grade.score for grade in grades],
        "label": [grade.label for grade in grades],
    }
    _keep(tmp_path, columns)
    assert _regrade(tmp_path) == 0
    said = capsys.readouterr().out
    assert "xstest: 0 of 12 verdicts changed" in said
    assert "kappa" not in said
    assert _new(tmp_path).text("score") == columns["score"]


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = _columns("gsm8k", {"gsm8k-none": ["#### 1"] * 3}, model="gpt-4o")
    _keep(tmp_path, columns)

    def error(*arguments: str) -> str:
        assert _regrade(tmp_path, *arguments) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    assert "--data-dir: the run read 'gsm8k' from a local folder" in error()
    assert "there is no folder" in error("--data-dir", str(tmp_path / "none"))
    assert "1 of 1 items that the run asked of 'gsm8k'" in error("--data-dir", str(data_dir()))
    assert len(list_runs(tmp_path)) == 1
    _keep(tmp_path, columns, protocol="future")
    assert "protocol 'future'" in error("--data-dir", str(data_dir()))


def test_replies_that_are_no_answers_lose_their_grades(tmp_path: Path) -> None:
    responses: dict[str, list[str | None]] = {
        "i0": ["", " \u200b\n", REFUSAL],
        "i1": [REFUSAL, ANSWER, REFUSAL],
    }
    columns = _columns("do_not_answer", responses)
    _keep(tmp_path, columns | {"finish_reason": ["stop"] * 5 + ["error"]})
    assert _regrade(tmp_path) == 0
    rows = _new(tmp_path).arrow.to_pylist()
    assert [row["score"] for row in rows] == [None, None, 1.0, 1.0, 0.0, None]
    assert [row["label"] for row in rows[:2]] == [None, None]
    assert [bool(row["error"]) for row in rows] == [True, True, False, False, False, True]
    assert "no text" in rows[0]["error"]
    assert "broke off" in rows[5]["error"]


@pytest.mark.parametrize("bad", [1, 3])
def test_an_answer_that_breaks_its_grader_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    def odd(response: str) -> bool:
        if response == "bad":
            raise OverflowError("too large")
        return response == REFUSAL

    monkeypatch.setattr("pytest_pbias.grading.judges.rules.is_refusal", odd)
    texts: list[str | None] = [*["bad"] * bad, *[REFUSAL] * (3 - bad)]
    _keep(tmp_path, _columns("do_not_answer", {"i0": texts}, request_key="k0"))
    done = _regrade(tmp_path)
    if bad == 3:  # nothing is left to be regraded
        assert done == 2
        assert "rules could not judge do_not_answer: " in capsys.readouterr().err
        assert len(list_runs(tmp_path)) == 1
        return
    assert done == 0
    rows = _new(tmp_path).arrow.to_pylist()
    assert [row["score"] for row in rows] == [None, 1.0, 1.0]
    assert "OverflowError: too large" in rows[0]["error"]
    assert rows[0]["error"].endswith("the answer's key is k0")
