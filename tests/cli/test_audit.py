from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.analysis.audit import Answer, answers, draw_sample, evaluate, read_labels, to_csv
from pytest_pbias.cli import main
from pytest_pbias.models.embedded import data_dir
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.tasks import TASKS, load_task

IDENTITIES = ("no identity", "a man", "a woman", "a person")
N_ITEMS = 300
TASK_NAMES = ("do_not_answer", "gsm8k")


def _truth_and_verdicts() -> tuple[np.ndarray, np.ndarray]:
    """Truly safe, and judged so: sensitivity 0.9, specificity 0.8; shape (identities, items)."""
    rng = np.random.default_rng(3)
    rates = np.array([0.8, 0.8, 0.5, 0.8])
    truth = rng.random((len(IDENTITIES), N_ITEMS)) < rates[:, None]
    judged = np.where(truth, rng.random(truth.shape) < 0.9, rng.random(truth.shape) > 0.8)
    return truth, judged


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A kept run of a safety task whose responses say what they truly are, and a utility one."""
    truth, judged = _truth_and_verdicts()
    rows = []
    for i, identity in enumerate(IDENTITIES):
        for n in range(N_ITEMS):
            label = "refusal" if judged[i, n] else "compliance"
            text = f"{'SAFE' if truth[i, n] else 'BAD'} {n}"
            rows.append(("do_not_answer", "safety", identity, n, text, label, judged[i, n]))
            if n < 40:
                rows.append(("gsm8k", "utility", identity, n, f"=1+{n}", "correct", True))
    kinds = {"no identity": "baseline"}
    items = {task: load_task(TASKS[task], data_dir=data_dir()).items for task in TASK_NAMES}
    columns: dict[str, Any] = {
        "run_id": ["r"] * len(rows),
        "task": [row[0] for row in rows],
        "axis": [row[1] for row in rows],
        "floor": [0.0] * len(rows),
        "identity": [row[2] for row in rows],
        "group": ["g"] * len(rows),
        "kind": [kinds.get(row[2], "identity") for row in rows],
        "model": ["embedded"] * len(rows),
        "data_revision": ["local"] * len(rows),
        "item_id": [items[row[0]][row[3]].id for row in rows],
        "cluster": [f"{row[0]}-{row[3]}" for row in rows],
        "repeat": [0] * len(rows),
        "response": [row[4] for row in rows],
        "label": [row[5] for row in rows],
        "score": [float(row[6]) for row in rows],
        "parsable": [True] * len(rows),
    }
    path = tmp_path / "runs" / "0001-tiny.parquet"
    OutcomeTable.from_columns(columns).write(path)
    return path


def _population(run: Path) -> list[Answer]:
    return answers(OutcomeTable.read(run))


def _label(sample: Path, label: Callable[[dict[str, str]], str]) -> Path:
    rows = list(csv.DictReader(io.StringIO(sample.read_text("utf-8"), newline="")))
    out = sample.with_name("labelled.csv")
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"label": label(row)} for row in rows)
    return out


def _truth(row: dict[str, str]) -> str:
    if row["task"] == "gsm8k":
        return "correct"
    return "Safe " if row["response"].startswith("SAFE") else "UNSAFE"


def test_the_sample_is_stratified_and_seeded(run: Path) -> None:
    population = _population(run)
    sample = draw_sample(population, 300, np.random.default_rng(5))
    assert sample == draw_sample(population, 300, np.random.default_rng(5))
    assert sample != draw_sample(population, 300, np.random.default_rng(6))
    assert len({answer.id for answer in sample}) == 300
    # 160 answers to gsm8k only: equal shares are 150 each.
    assert Counter(answer.task for answer in sample) == {"do_not_answer": 150, "gsm8k": 150}
    everywhere = [a.judged_positive for a in population if a.task == "do_not_answer"]
    drawn = [a.judged_positive for a in sample if a.task == "do_not_answer"]
    assert abs(np.mean(drawn) - np.mean(everywhere)) <= 1 / 150
    assert len(draw_sample(population, 10_000, np.random.default_rng(0))) == len(population)
    shares = Counter(a.task for a in draw_sample(population, 400, np.random.default_rng(0)))
    assert shares == {"do_not_answer": 240, "gsm8k": 160}


def test_the_labeller_sees_neither_identity_nor_verdict(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample.csv"
    assert main(["audit", str(run), "--sample", "60", "--out", str(out)]) == 0
    text = out.read_text("utf-8")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["id", "task", "question", "response", "label"]
    assert len(rows) == 61
    assert not any(word in text for word in (*IDENTITIES, "refusal", "compliance"))
    assert {row[4] for row in rows[1:]} == {""}
    assert all(row[3].startswith("'=") for row in rows[1:] if row[1] == "gsm8k")
    asked = {answer.id: answer.item for answer in _population(run)}
    prompts = {
        item.id: item.prompt
        for task in TASK_NAMES
        for item in load_task(TASKS[task], data_dir=data_dir()).items
    }
    assert all(row[2] == prompts[asked[row[0]]] for row in rows[1:])


def test_questions_can_be_left_out_and_lost_ones_are_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = OutcomeTable.read(run)
    rows = [row | {"model": "gpt-4o"} for row in table.arrow.to_pylist()]
    columns = {name: [row[name] for row in rows] for name in table.arrow.column_names}
    OutcomeTable.from_columns(columns).write(run)
    out = tmp_path / "sample.csv"
    assert main(["audit", str(run), "--sample", "60", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "--data-dir: the run read 'do_not_answer' from a local folder" in error
    assert error.count("\n") == 1
    assert not out.exists()
    plain = [*("audit", str(run), "--sample", "60", "--out", str(out)), "--no-questions"]
    assert main(plain) == 0
    found = csv.DictReader(io.StringIO(out.read_text("utf-8"), newline=""))
    assert {row["question"] for row in found} == {""}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_no_response_becomes_a_formula_or_another_row(responses: list[str]) -> None:
    sample = [
        Answer(f"a{n}", "gsm8k", "utility", "none", "x", f"i{n}", response, "correct", True)
        for n, response in enumerate(responses)
    ]
    questions = {("gsm8k", f"i{n}"): response for n, response in enumerate(responses)}
    rows = list(csv.reader(io.StringIO(to_csv(sample, questions), newline="")))
    assert [row[0] for row in rows[1:]] == [answer.id for answer in sample]
    for row, response in zip(rows[1:], responses, strict=True):
        assert row[2] == row[3]
        assert not row[3].startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
        assert row[3].removeprefix("'").replace("\N{REPLACEMENT CHARACTER}", "") in (
            response.replace("\0", "").replace("\N{REPLACEMENT CHARACTER}", ""),
            response.removeprefix("'").replace("\0", "").replace("\N{REPLACEMENT CHARACTER}", ""),
        )


def test_labels_correct_rate_and_bias(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sample.csv"
    main(["audit", str(run), "--sample", "960", "--out", str(out), "--seed", "4"])
    capsys.readouterr()
    assert main(["audit", str(run), "--labels", str(_label(out, _truth))]) == 0
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "truly safe" in said
    assert "a woman" in said
    assert "no audited answer is incorrect" in said
    table, population = OutcomeTable.read(run), _population(run)
    labels = read_labels(tmp_path / "labelled.csv", population)
    audit = evaluate(table, population, labels)[0]
    truth, judged = _truth_and_verdicts()
    assert audit.rate is not None
    assert audit.rate.sensitivity == pytest.approx(0.9, abs=0.04)
    assert audit.rate.specificity == pytest.approx(0.8, abs=0.06)
    assert audit.judged == pytest.approx(100 * judged.mean())
    assert audit.rate.low < 100 * truth.mean() < audit.rate.high
    assert abs(audit.rate.estimate - 100 * truth.mean()) < 2
    assert abs(audit.judged - 100 * truth.mean()) > 2
    assert audit.bias is not None
    assert audit.judged_bias is not None
    true_bias = 100 * np.std(truth[1:].mean(axis=1))
    assert abs(audit.bias.estimate - true_bias) < abs(audit.judged_bias.estimate - true_bias)
    assert sum(a.true_positive for a in audit.by_identity.values()) == audit.counts.true_positive
    assert set(audit.identity_rates) == set(IDENTITIES)


def test_part_of_the_labels_is_enough(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample.csv"
    main(["audit", str(run), "--sample", "60", "--out", str(out)])
    labelled = _label(out, lambda row: _truth(row) if row["task"] == "do_not_answer" else "")
    assert len(read_labels(labelled, _population(run))) == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,task,response\n", "has no column 'label'"),
        ("id;task;response;label\n", "has no column 'id'"),
        ("", "has no column 'id'"),
        ("id,task,response,label\n{id},gsm8k,r,safe\n", "line 2 has the label 'safe'"),
        ("id,task,response,label\nnone,gsm8k,r,correct\n", "which is no answer of this run"),
        ("id,task,response,label\n{id},mmlu,r,correct\n", "which is no answer of this run"),
        ("id,task,response,label\n{id},gsm8k\n", "has 2 cells, not 4"),
        ("id,task,response,label\n" + "{id},gsm8k,r,correct\n" * 2, "is there twice"),
        ("id,task,response,label\n{id},gsm8k,r,\n", "no row has a label yet"),
        ('id,task,response,label\n{id},gsm8k,"r,correct\n', "is not a CSV file"),
        ("id,task,response,label\n{id},gsm8k,\udcff,correct\n", "is not a CSV file in UTF-8"),
    ],
)
def test_a_wrong_file_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    known = next(answer.id for answer in _population(run) if answer.task == "gsm8k")
    file = tmp_path / "labels.csv"
    file.write_bytes(text.replace("{id}", known).encode("utf-8", "surrogateescape"))
    assert main(["audit", str(run), "--labels", str(file)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_mistakes_in_the_call_are_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*arguments: str) -> str:
        assert main(["audit", str(run), *arguments]) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    file = tmp_path / "there.csv"
    file.write_text("labels of a week", encoding="utf-8")
    assert "may hold labels" in error("--out", str(file))
    assert file.read_text("utf-8") == "labels of a week"
    assert "the run has 2 tasks" in error("--sample", "1", "--out", str(tmp_path / "new.csv"))
    assert "cannot be written" in error("--out", str(tmp_path / "none" / "new.csv"))
    assert "cannot be read" in error("--labels", str(tmp_path / "none.csv"))


def test_scores_in_between_are_audited_as_verdicts(run: Path) -> None:
    table = OutcomeTable.read(run)
    rows = [row | {"score": 0.2 + 0.5 * row["score"]} for row in table.arrow.to_pylist()]
    columns = {name: [row[name] for row in rows] for name in table.arrow.column_names}
    halves = OutcomeTable.from_columns(columns)
    population = answers(halves)
    assert [a.judged_positive for a in population] == [a.judged_positive for a in _population(run)]
    labels = {answer.id: answer.judged_positive for answer in population}
    (whole, part) = (evaluate(one, answers(one), labels)[0] for one in (table, halves))
    assert whole.judged_bias == part.judged_bias


def test_labels_hold_for_the_run_graded_again(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample.csv"
    main(["audit", str(run), "--sample", "60", "--out", str(out)])
    labelled = _label(out, _truth)
    table = OutcomeTable.read(run)
    rows = table.arrow.to_pylist()
    columns = {name: [row[name] for row in rows] for name in table.arrow.column_names}
    columns |= {"label": ["compliance"] * len(rows), "score": [0.0] * len(rows)}
    again = tmp_path / "again.parquet"
    OutcomeTable.from_columns(columns).write(again)
    assert len(read_labels(labelled, _population(again))) == 60


def test_a_question_with_a_lone_surrogate_is_written(tmp_path: Path) -> None:
    answer = Answer("id", "gsm8k", "utility", "none", "a man", "i", "fine", "correct", True)
    text = to_csv([answer], {("gsm8k", "i"): "what \ud800?"})
    (tmp_path / "sample.csv").write_text(text, encoding="utf-8")
    assert "what ??" in text
