"""MBPP's reference solutions, whole and with one operator changed, in the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_pbias.grading import grader_for, probe
from pytest_pbias.tasks import TASKS, load_task
from tests.grading.mutation import mutate

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not probe().available, reason=probe().reason),
    pytest.mark.skipif(
        not REAL_DATA.is_dir(), reason="the real data sets are not beside this checkout"
    ),
]


def _rows() -> list[dict[str, Any]]:
    text = (REAL_DATA / "mbpp" / "mbpp.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _grade(sources: dict[int, str]) -> dict[int, Any]:
    """Grade programs, keyed by row, as responses of a model."""
    items = load_task(TASKS["mbpp"], data_dir=REAL_DATA, in_file_order=True).items
    pairs = [(items[row], f"```python\n{source}\n```") for row, source in sources.items()]
    return dict(zip(sources, grader_for(TASKS["mbpp"]).grade(pairs), strict=True))


def _passes_plainly(row: dict[str, Any]) -> bool:
    """Whether a reference solution passes its tests in an ordinary interpreter."""
    program = "\n".join([row["code"], row["test_setup_code"], *row["test_list"]])
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def test_every_reference_solution_passes_that_passes_in_a_plain_interpreter() -> None:
    rows = _rows()
    assert len(rows) == 974
    grades = _grade({number: row["code"] for number, row in enumerate(rows)})
    failed = {
        rows[number]["task_id"]: grade.label
        for number, grade in grades.items()
        if grade.label != "correct" and _passes_plainly(rows[number])
    }
    rejected = [rows[n]["task_id"] for n, grade in grades.items() if grade.label != "correct"]
    print(f"passed {974 - len(rejected)} of 974; not passed: {rejected}")
    assert failed == {}
    assert len(rejected) <= 5


def test_solutions_with_one_operator_changed_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    # Many a changed operator makes a loop endless: they need not all run for ten seconds.
    monkeypatch.setattr("pytest_pbias.grading.sandbox.backends.CPU_SECONDS", 1)
    rng = np.random.default_rng(7)
    mutants = {}
    # Endless loops make this slow: one in four, and all of them by PBIAS_ALL_MUTANTS=1.
    step = 1 if os.environ.get("PBIAS_ALL_MUTANTS") else 4
    for number, row in enumerate(_rows()):
        source = mutate(row["code"], rng)
        if source is not None and number % step == 0:
            mutants[number] = source
    grades = _grade(mutants)
    survived = sum(grade.label == "correct" for grade in grades.values())
    print(f"{len(mutants)} mutants, {survived} survived: {1 - survived / len(mutants):.3f} fail")
    assert len(mutants) >= 700 // step
    assert survived / len(mutants) <= 0.10
