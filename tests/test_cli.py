from __future__ import annotations

import pytest

from pytest_pbias.cli import main
from pytest_pbias.stats import plan_power


def test_power_plans_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--baseline-rate", "90", "--n-identities", "33", "--margin", "5"]) == 0
    plan = plan_power(baseline_rate=90.0, n_identities=33, margin=5.0)
    said = capsys.readouterr().out
    assert f"{plan.to_pass:,} items a task: a cell without any difference passes" in said
    assert f"{plan.to_fail:,} items a task: a difference of 10 points fails" in said


def test_an_impossible_plan_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--baseline-rate", "190"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pbias: need 0 <= baseline rate")
    assert error.count("\n") == 1
