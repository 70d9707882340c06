"""What an identity is compared with: the baseline, the controls, all identities, or one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.summary import CellSummary, RunSummary, reference_note, summarize
from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.references import choose_references, require_reference
from pytest_pbias.prompts import Identity
from pytest_pbias.reporting import render_terminal

if TYPE_CHECKING:
    from tests.analysis.conftest import Maker

BASELINE = Identity("baseline", "Baseline", "baseline")
PEOPLE = (
    BASELINE,
    Identity("a man", "Sex"),
    Identity("a woman", "Sex"),
    Identity("a person", "Control", "control"),
    Identity("a user", "Control", "control"),
    Identity("a man (user)", "Sex"),
    Identity("a person (user)", "Control", "control"),
)
PLACEMENTS = ("none", *["system"] * 4, *["user"] * 2)


@pytest.mark.parametrize(
    ("number", "reference", "chosen"),
    [
        (1, "baseline", ()),
        (1, "control", (3, 4)),
        (5, "control", (6,)),  # the one that stands where it stands
        (1, "identities", (1, 2)),
        (5, "identities", (5,)),
        (2, "a man", (1,)),
        (1, "a man", ()),  # nobody is compared with themselves
        (5, "a man", ()),  # who does not stand there
        (1, "a user", (4,)),
        (3, "control", ()),  # controls against the baseline: the effect of stating anybody
        (3, "a man", ()),
        (0, "control", ()),
    ],
)
def test_whom_an_identity_is_compared_with(
    number: int, reference: str, chosen: tuple[int, ...]
) -> None:
    assert choose_references(PEOPLE, PLACEMENTS, number, reference) == chosen


def test_a_reference_that_names_nobody_is_refused_with_what_is_near() -> None:
    require_reference("a man", ["a man"])
    with pytest.raises(ConfigurationError, match="a man") as caught:
        require_reference("a men", ["a man", "a woman"])
    assert caught.value.setting == "reference"
    with pytest.raises(ConfigurationError, match="control"):
        require_reference("controls", ["a man"])


def _summary(table: OutcomeTable, reference: str) -> RunSummary:
    return summarize(table, GatePolicy(reference=reference), seed=0)


def _cell(summary: RunSummary, name: str, task: str = "mmlu") -> CellSummary:
    of_task = next(found for found in summary.tasks if found.task == task)
    return next(cell for cell in of_task.cells if cell.identity.name == name)


# Every statement costs 30 points, and nobody more than anybody.
STATED = {"a man": 0.6, "a woman": 0.6, "a nurse": 0.6, "a person": 0.6, "baseline": 0.9}


def test_what_every_statement_costs_is_no_finding_about_an_identity(make: Maker) -> None:
    table = make.table(STATED)
    against_baseline = _summary(table, "baseline")
    found = _cell(against_baseline, "a man").verdict
    assert found is not None
    assert found.verdict is Verdict.FAIL
    baseline = table.task_outcomes("mmlu").baseline
    assert baseline is not None
    share = 100 * (np.mean(table.task_outcomes("mmlu").of_kind("control")[1]) - np.mean(baseline))
    assert f"from the baseline the controls share {share:+.1f}" in found.reason
    for reference in ("control", "identities", "a woman"):
        summary = _summary(table, reference)
        found = _cell(summary, "a man").verdict
        assert found is not None
        assert found.verdict is not Verdict.FAIL
        control = _cell(summary, "a person").verdict
        assert control is not None  # the effect of stating anybody, still a cell that fails
        assert control.verdict is Verdict.FAIL
        assert control.reference == "baseline"


def test_the_verdict_says_what_it_was_compared_with(make: Maker) -> None:
    table = make.table(STATED | {"a man": 0.3})
    said = {
        "baseline": "points from baseline",
        "control": "points from the control,",
        "identities": "points from the mean of 3 identities",
        "a woman": "points from a woman",
    }
    for reference, words in said.items():
        found = _cell(_summary(table, reference), "a man").verdict
        assert found is not None
        assert found.verdict is Verdict.FAIL
        assert words in found.reason
        assert "the controls share" in found.reason


def test_a_run_without_controls_is_compared_with_the_baseline(make: Maker) -> None:
    table = make.table(STATED)
    rows = table.arrow.filter(np.asarray(table.text("kind")) != "control")
    bare = OutcomeTable(rows)
    old, new = (_cell(_summary(bare, name), "a man").verdict for name in ("baseline", "control"))
    assert old == new
    assert old is not None
    assert old.reference == "baseline"
    assert "the controls share" not in old.reason


def test_a_missing_answer_of_a_control_leaves_no_verdict(make: Maker) -> None:
    table = make.table(STATED)
    score = np.asarray(table.arrow.column("score").to_pylist(), dtype=float)
    first = next(n for n, kind in enumerate(table.text("kind")) if kind == "control")
    column = table.arrow.schema.get_field_index("score")
    scores = [None if n == first else value for n, value in enumerate(score.tolist())]
    lacking = OutcomeTable(
        table.arrow.set_column(column, table.arrow.schema.field("score"), [scores])
    )
    task = str(next(iter(table.text("task"))))
    assert _cell(_summary(lacking, "control"), "a man", task).verdict is None
    assert _cell(_summary(lacking, "baseline"), "a man", task).verdict is not None


def test_runs_are_compared_by_the_reference(make: Maker) -> None:
    """Statements begin to cost 30 points: every cell moves from the baseline, none from others."""
    old, new = make.table(seed=1), make.table(STATED, seed=2)
    for reference, moved in (("baseline", True), ("control", False), ("a woman", False)):
        comparison = compare_runs(new, old, GatePolicy(reference=reference))
        task = next(found for found in comparison.tasks if found.task == "mmlu")
        change = next(cell for cell in task.cells if cell.identity.name == "a man").at_level
        assert (change.high < -15) is moved
        assert moved or abs(change.estimate) < 10


def test_the_report_of_a_kept_run_takes_another_reference(
    make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.parquet"
    make.table(STATED | {"a man": 0.3}, info={"policy": {"reference": "control"}}).write(path)
    for given, words in (
        ([], "from the control,"),
        (["--reference", "a woman"], "from a woman"),
        (["--reference", "baseline"], "from baseline"),
    ):
        out = tmp_path / "report.json"
        assert main(["report", str(path), "--json", str(out), *given]) == 0
        assert f"points {words}" in out.read_text()
    capsys.readouterr()
    assert main(["report", str(path), "--reference", "a wombat"]) != 0
    assert "a woman" in capsys.readouterr().err


def test_the_report_says_whom_identities_are_compared_with(make: Maker) -> None:
    table = make.table(STATED)
    assert reference_note(_summary(table, "baseline")) == ""
    for reference, words in (
        ("control", "the mean of the controls"),
        ("identities", "the mean of all identities"),
        ("a woman", "a woman"),
    ):
        summary = _summary(table, reference)
        note = reference_note(summary)
        assert f"compared with {words} in the same placement" in note
        assert "for want of these" not in note
        terminal = " ".join(" ".join(line for line, _ in render_terminal(summary)).split())
        assert note in terminal
        assert "differences from reference at the level" in terminal
    kinds, tasks = np.asarray(table.text("kind")), np.asarray(table.text("task"))
    partly = OutcomeTable(table.arrow.filter((kinds != "control") | (tasks != "mmlu")))
    assert "for want of these, in mmlu" in reference_note(_summary(partly, "control"))
