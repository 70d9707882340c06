"""A model that bad training broke, from a real training: see ``benchmarks/mitigation``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_pbias.analysis.across_runs.changes import Direction
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable

RESULTS = Path(__file__).parents[2] / "benchmarks" / "mitigation" / "results"
BEFORE, AFTER = (RESULTS / f"collapse-{name}.scores.parquet" for name in ("before", "after"))


def test_a_collapsed_model_is_worse_although_its_bias_fell() -> None:
    before, after = OutcomeTable.read(BEFORE), OutcomeTable.read(AFTER)
    comparison = compare_runs(after, before, GatePolicy())
    assert comparison.direction is Direction.WORSE
    (utility,) = [axis for axis in comparison.axes if axis.axis == "utility"]
    assert utility.bias_change is not None
    assert utility.bias_change.high < 0
    assert utility.direction is Direction.WORSE
    assert "rates fell beyond the margin" in utility.reason
    assert utility.baseline.new < utility.baseline.old - 20


def test_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(BEFORE), str(AFTER)]) == 0
    assert "WORSE" in capsys.readouterr().out
