"""Which answers a page shows, and that a stored run is read no further than they need."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_pbias.analysis.samples import candidates, everyones_answers, sampled_questions
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate, stored_texts
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.reporting.html.samples import choose_samples


def make(
    *, task: str = "mmlu", axis: str = "utility", items: int = 40, runs: int = 1, seed: int = 0
) -> OutcomeTable:
    """Four identities; every third item changes for the last one; some answers are missing."""
    rng = np.random.default_rng(seed)
    names = ("baseline", "a person", "a nurse", "a pilot")
    rows = []
    for u, name in enumerate(names):
        for i in range(items):
            for run in range(runs):
                worse = u == 3 and i % 3 == 0
                rows.append({
                    "task": task, "axis": axis, "floor": 0.0, "item_id": f"{task}-{i}",
                    "cluster": f"c{i}", "identity": name, "group": "g", "repeat": run,
                    "kind": ("baseline", "control", "identity", "identity")[u],
                    "score": 0.0 if worse else 1.0, "label": "bad" if worse else "good",
                    "parsable": True, "model": "m", "placement": "system",
                    "response": f"{task} {i} {run} {'wrong' if worse else 'right'}"
                    + (f" {name}" if rng.random() < 0.3 else ""),
                })  # fmt: skip
    return OutcomeTable.from_columns({name: [row[name] for row in rows] for name in rows[0]})


def summary_of(table: OutcomeTable) -> RunSummary:
    return summarize(table, GatePolicy(), seed=0)


def test_what_changed_comes_first_and_both_answers_are_of_the_same_item() -> None:
    table = concatenate([make(runs=2), make(task="xstest", axis="safety", seed=1)])
    summary = summary_of(table)
    found = candidates(table, summary)
    assert {(one.task.task, one.identity) for one in found} == {
        (task, name) for task in ("mmlu", "xstest") for name in ("a person", "a nurse", "a pilot")
    }
    items, identities = table.text("item_id"), table.text("identity")
    for one in found:
        assert list(one.changes) == sorted(one.changes, reverse=True)
        assert [items[row] for row in one.before] == list(one.items)
        assert [items[row] for row in one.after] == list(one.items)
        assert {identities[row] for row in one.before} == {"baseline"}
        assert {identities[row] for row in one.after} == {one.identity}
        if one.identity == "a pilot":
            assert one.changes.min() == 1.0

    shown = choose_samples(table, summary)
    assert [cell["verdict"] for cell in shown["cells"]][:1] == ["fail"]
    for cell in shown["cells"]:
        number = cell["item_id"].split("-")[1]
        assert cell["before"].startswith(f"{cell['task']} {number} 0 ")
        assert cell["after"].startswith(f"{cell['task']} {number} 0 ")
    unchanged = [cell for cell in shown["cells"] if cell["identity"] == "a nurse"]
    assert all(cell["before"] != cell["after"] for cell in unchanged)


def test_an_answer_without_a_word_is_an_answer() -> None:
    table = make()
    columns = {name: table.arrow.column(name).to_pylist() for name in table.arrow.column_names}
    columns["response"] = [
        "" if name == "a pilot" else text
        for name, text in zip(columns["identity"], columns["response"], strict=True)
    ]
    silent = OutcomeTable.from_columns(columns)
    shown = choose_samples(silent, summary_of(silent))["cells"]
    assert [cell["after"] for cell in shown if cell["identity"] == "a pilot"] == ["", "", ""]


def test_questions_on_which_identities_differ_are_shown_under_everyone() -> None:
    table = make()
    (first, second) = everyones_answers(table, summary_of(table))
    assert first.identities == ("baseline", "a person", "a nurse", "a pilot")
    responses = table.text("response")
    for one in (first, second):
        answers = [str(responses[row]) for row in one.rows]
        assert [" wrong" in answer for answer in answers] == [False, False, False, True]
        number = one.item.split("-")[1]
        assert all(answer.startswith(f"mmlu {number} 0 ") for answer in answers)


def test_missing_answers_are_not_shown() -> None:
    table = make()
    scores = table.arrow.column("score").to_pylist()
    gone = {row for row, item in enumerate(table.text("item_id")) if item == "mmlu-0"}
    columns = {name: table.arrow.column(name).to_pylist() for name in table.arrow.column_names}
    columns["score"] = [None if row in gone else score for row, score in enumerate(scores)]
    broken = OutcomeTable.from_columns(columns)
    for one in candidates(broken, summary_of(broken)):
        assert "mmlu-0" not in one.items
    assert all(one.item != "mmlu-0" for one in everyones_answers(broken, summary_of(broken)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 40))
def test_stored_texts_are_those_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], group: int
) -> None:
    import pyarrow.parquet as pq

    table = make(items=25)
    path = tmp_path_factory.mktemp("stored") / "run.parquet"
    pq.write_table(table.arrow, path, row_group_size=group)
    chosen = np.asarray(rows, dtype=np.intp)
    assert stored_texts(path, "response", chosen) == table.texts_at("response", chosen)


def _page_samples(path: Path) -> dict[str, Any]:
    found = re.search(r'id="sample-data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    samples: dict[str, Any] = json.loads(found[1])
    return samples


def test_a_stored_run_shows_what_the_session_would_have(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")
    table = concatenate([make(), make(task="do_not_answer", axis="safety", seed=2)])
    summary = summary_of(table)
    texts = {
        task: {f"{task}-{i}": f"Question {i}? " + "long " * 400 for i in range(40)}
        for task in ("mmlu", "do_not_answer")
    }
    questions = sampled_questions(table, summary, texts)
    table = table.with_info(RunFacts(questions=questions))
    wanted = choose_samples(table, summary)
    table.write(tmp_path / "run.parquet")
    out = tmp_path / "out.html"
    assert main(["report", str(tmp_path / "run.parquet"), "--html", str(out)]) == 0
    assert _page_samples(out) == wanted
    shown = {(cell["task"], cell["item_id"]) for cell in wanted["cells"]}
    known = [(task, item) for task, item in shown if item in wanted["questions"].get(task, {})]
    assert len(known) >= 0.9 * len(shown)
    assert all(len(text) < 700 for found in questions.values() for text in found.values())
    assert "Question 0? " in wanted["questions"]["mmlu"]["mmlu-0"]


def test_the_questions_that_are_kept_are_bounded() -> None:
    table = make(items=1200)
    texts = {"mmlu": {f"mmlu-{i}": "x" * 100_000 for i in range(1200)}}
    kept = sampled_questions(table, summary_of(table), texts)
    assert sum(len(text) for text in kept["mmlu"].values()) <= 250_000
