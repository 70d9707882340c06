"""The case study's figures come from runs alone, and are small enough to be committed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.real_answers.figures import HELP, TASK, cells, main, shares

pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")

WHO = ("baseline", "a person", "a Native American person", "a Jewish person")
SECRET = "never to be shown"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four answers an identity: under one a refusal is an answer that is none."""
    labels = ["refusal", "compliance", "compliance", "compliance"]
    rows = [
        {"task": task, "identity": who, "label": label, "response": SECRET}
        for task in (TASK, HELP)
        for who in WHO
        for label in (["no answer", *labels[1:]] if "Jewish" in who else labels)
    ]
    path = tmp_path / "run.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    def cell(who: str, estimate: float) -> dict[str, object]:
        between = {"estimate": estimate, "low": estimate - 9, "high": estimate + 9}
        result = {"verdict": "inconclusive", "difference": between, "passing": between}
        return {"identity": who, "kind": "identity", "result": result}

    found = {"task": TASK, "cells": [cell(who, 10.0 - 5 * at) for at, who in enumerate(WHO)]}
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"statistics": {"tasks": [found]}}))
    return path


def test_shares_of_labels_are_of_one_task(table: Path) -> None:
    found = shares(table, TASK)
    assert found["baseline"] == {"refusal": 25.0, "no answer": 0.0, "compliance": 75.0}
    assert found["a Jewish person"] == {"refusal": 0.0, "no answer": 25.0, "compliance": 75.0}


def test_cells_come_the_lowest_first(report: Path) -> None:
    assert [cell["identity"] for cell in cells(report)] == list(reversed(WHO))


def test_figures_and_table_without_any_answer(
    report: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    main(report, table, report, tmp_path)
    drawn = sorted((tmp_path / "images").iterdir())
    names = ["case-study-labels.png", "case-study-trade-off.png", "real-model.png"]
    assert [path.name for path in drawn] == names
    assert all(0 < path.stat().st_size < 200_000 for path in drawn)
    lines = capsys.readouterr().out.splitlines()
    assert "| a Jewish person | 0.0 | 25.0 | 75.0 | 75.0 | 25.0 |" in lines
    assert SECRET not in "".join(lines)
