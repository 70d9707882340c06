from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.stats import plan_bias_power, plan_power
from tests.outcomes.test_table import columns


def test_power_plans_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--baseline-rate", "90", "--n-identities", "33", "--margin", "5"]) == 0
    plan = plan_power(baseline_rate=90.0, n_identities=33, margin=5.0)
    said = capsys.readouterr().out
    assert f"{plan.to_pass:,} items a task: a cell without any difference passes" in said
    assert f"{plan.to_fail:,} items a task: a difference of 10 points fails" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--baseline-rate", "190"], "need 0 <= baseline rate"),
        (["--baseline-rate", "50", "--effect", "300"], "an effect of 300 points"),
        (["--baseline-rate", "50", "--discordance", "5"], "need 0 <= discordance <= 1"),
        (["--baseline-rate", "50", "--alpha", "3"], "need 1e-9 <= alpha < 1"),
        (["--baseline-rate", "50", "--margin", "1e-300"], "more than 1,000,000,000 items"),
        (["--baseline-rate", "50", "--tolerance", "60"], "PB needs two identities, 0 < tolerance"),
    ],
)
def test_an_impossible_plan_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["power", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"pbias: {says}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_default_difference_is_one_that_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--baseline-rate", "50", "--margin", "60"]) == 0
    assert "41 items a task: a difference of 100 points fails" in capsys.readouterr().out


def test_power_plans_from_a_stored_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((4, 60, 1)) < 0.8) * 1.0
    OutcomeTable.from_columns(columns(scores)).write(tmp_path / "run.parquet")
    arguments = ["power", "--model-run", str(tmp_path / "run.parquet"), "--margin", "4"]
    assert main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "run.parquet: 3 cells, margin 4, PB tolerance 3, power 0.8"
    task, items, detects, to_pass, to_fail, pb_pass, pb_fail = said[3].split()
    assert (task, items) == ("mmlu", "60")
    assert 15 < float(detects) < 60
    share = float(np.mean([np.abs(scores[u] - scores[0]).mean() for u in (1, 2, 3)]))
    plan = plan_power(
        baseline_rate=100 * scores[0].mean(), n_identities=3, margin=4, effect=-8,
        discordance=share,
    )  # fmt: skip
    bias = plan_bias_power(n_identities=2, tolerance=3, discordance=share)
    assert [to_pass, to_fail] == [f"{plan.to_pass:,}", f"{plan.to_fail:,}"]
    assert [pb_pass, pb_fail] == [f"{bias.to_pass:,}", f"{bias.to_fail:,}"]
    assert max(map(len, said)) <= 80


def test_power_plans_against_what_a_run_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody is answered alike, and unlike the question without anybody."""
    scores = np.ones((4, 60, 1))
    scores[0, ::3] = 0.0
    table = OutcomeTable.from_columns(columns(scores))
    kept = table.with_info(RunFacts(policy=GatePolicy(reference="control").to_plain()))
    planned = {}
    for name, run in (("baseline", table), ("control", kept)):
        run.write(tmp_path / f"{name}.parquet")
        for more in ([], ["--reference", "control"], ["--reference", "baseline"]):
            arguments = ["power", "--model-run", str(tmp_path / f"{name}.parquet"), *more]
            assert main(arguments) == 0
            planned[name, *more[1:]] = capsys.readouterr().out.splitlines()[3]
    assert planned["baseline",] == planned["baseline", "baseline"] == planned["control", "baseline"]
    assert planned["control",] == planned["control", "control"] == planned["baseline", "control"]
    # The control itself is compared with the baseline: a third of its answers change.
    share = (1 / 3 + 0 + 0) / 3
    plan = plan_power(
        baseline_rate=100, n_identities=3, margin=5, effect=-10, discordance=share
    )  # fmt: skip
    assert planned["control",].split()[3] == f"{plan.to_pass:,}"
    assert planned["control",] != planned["baseline",]


def _kept(path: Path, *tables: OutcomeTable) -> list[str]:
    concatenate(tables).write(path)
    return ["power", "--model-run", str(path)]


def _run(scores: NDArray[Any], *, task: str = "mmlu", defense: str = "none") -> OutcomeTable:
    found = columns(scores, task=task)
    return OutcomeTable.from_columns(found | {"defense": [defense] * len(found["task"])})


def test_power_plans_from_a_defense_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    noisy, calm = (rng.random((4, 60, 1)) < 0.7) * 1.0, np.ones((4, 60, 1))
    calm[0, 0] = 0.0
    arguments = _kept(tmp_path / "run.parquet", _run(noisy), _run(calm, defense="fair"))
    said = []
    for options in ([], ["--defense=none"], ["--defense=fair"]):
        assert main([*arguments, *options]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]
    assert main([*arguments, "--defense=far"]) == 2
    assert "did you mean 'fair'" in capsys.readouterr().err


def test_power_leaves_out_what_was_not_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No answer of a baseline, no identity, or none to the same items: nothing to plan from."""
    full = (np.random.default_rng(0).random((4, 60, 1)) < 0.7) * 1.0
    unanswered, apart, some = full.copy(), full.copy(), full.copy()
    unanswered[0] = np.nan
    apart[0, :30], apart[1:, 30:] = np.nan, np.nan
    some[2] = np.nan  # one identity only
    some[0, :3], some[1, 5:9] = np.nan, np.nan
    for unusable in (unanswered, apart, full[:1]):
        arguments = _kept(tmp_path / "run.parquet", _run(unusable))
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "no task has an identity and a baseline with answers to the same items" in error
        arguments = _kept(tmp_path / "run.parquet", _run(unusable), _run(some, task="gsm8k"))
        assert main(arguments) == 0
        said = capsys.readouterr().out
        assert "gsm8k" in said
        assert "mmlu" not in said


def test_power_needs_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--model-run", str(tmp_path / "none.parquet")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pbias: ")
    assert "none.parquet" in error


_LARGE = """
import resource, sys
from pathlib import Path
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts

def write(path, mark):
    answers = [f"{mark} {number} " + "x" * 20_000 for number in range(500)]
    parts = [
        OutcomeTable.from_columns(
            {"item_id": [f"i{n}" for n in range(500)], "cluster": [f"c{n}" for n in range(500)],
             "score": [float(n % 2) for n in range(500)], "parsable": [True] * 500,
             "response": answers},
            {"task": "gsm8k", "axis": "utility", "floor": 0.0, "identity": name, "group": "g",
             "kind": kind, "repeat": 0, "model": mark},
        )
        for name, kind in [("no identity", "baseline")] + [(f"u{n}", "identity") for n in range(7)]
    ]
    concatenate(parts).write(Path(path))

if sys.argv[1] == "write":
    write("old.parquet", "a"), write("new.parquet", "b")
else:
    from pytest_pbias.cli.across_runs import compare
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["compare", "old.parquet", "new.parquet", "-q"]) == 0
    print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_runs_are_compared_without_their_answers_in_memory(tmp_path: Path) -> None:
    for what in ("write", "compare"):
        done = subprocess.run(
            [sys.executable, "-c", _LARGE, what], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    took = int(done.stdout.split("MB")[1])
    assert took < 100  # the answers alone take 160
