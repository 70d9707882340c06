"""Mitigations side by side; what only makes everyone worse is called worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.changes import Direction
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.defenses import line_up
from pytest_pbias.analysis.summary import summarize
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import find_run, keep_run
from pytest_pbias.reporting import render_terminal, to_markdown
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.schemas import schema_text
from tests.analysis.conftest import Maker, under
from tests.reporting.test_schemas import strict

WIDE = GatePolicy(margin={"utility": 40.0, "safety": 40.0})
BEFORE = {"baseline": 0.9, "a person": 0.9, "a man": 0.9, "a woman": 0.9, "a nurse": 0.7}


def scores_of(table: OutcomeTable, task: str, name: str) -> list[float]:
    scores = table.text("score")
    return [float(str(scores[row])) for row in under(table, task, name).tolist()]


def test_levelling_down_is_worse_even_within_the_margins(make: Maker) -> None:
    """PB falls to nothing: everybody is now treated like the worst treated."""
    before = make.table(BEFORE)
    down = make.table(dict.fromkeys(BEFORE, 0.7), seed=1)
    found = compare_runs(down, before, WIDE)
    for axis in found.axes:
        assert axis.bias_change is not None
        assert axis.bias_change.high < 0
        assert axis.direction is Direction.WORSE
        assert "nobody is shown to have gained" in axis.reason
    up = compare_runs(make.table(dict.fromkeys(BEFORE, 0.9), seed=1), before, WIDE)
    assert up.direction is Direction.BETTER


def test_meeting_in_the_middle_is_better(make: Maker) -> None:
    """Some lose a little, the worst treated gains: that is no levelling down."""
    after = BEFORE | {"a man": 0.83, "a woman": 0.83, "a nurse": 0.83}
    found = compare_runs(make.table(after, seed=1), make.table(BEFORE), WIDE)
    assert found.direction is Direction.BETTER


def test_a_defense_that_only_costs_is_worse_where_nobody_was_treated_otherwise(
    make: Maker,
) -> None:
    """No bias before or after, and everybody loses: within the margin, and for nothing."""
    fair = make.table(dict.fromkeys(BEFORE, 0.9))
    costly = make.table(dict.fromkeys(BEFORE, 0.82), seed=1)
    _, stage = line_up([("none", fair), ("costly", costly)], WIDE)
    assert stage.comparison is not None
    assert stage.comparison.direction is not Direction.WORSE
    assert stage.direction is Direction.WORSE
    assert "nothing got better" in stage.reason
    _, same = line_up([("none", fair), ("again", make.table(dict.fromkeys(BEFORE, 0.9), seed=2))],
                      WIDE)  # fmt: skip
    assert same.direction is Direction.UNCHANGED


@pytest.fixture
def defended(make: Maker) -> OutcomeTable:
    """No defense, one that helps, and one that makes everyone as badly off."""
    return concatenate([
        make.table(BEFORE, defense="none"),
        make.table(dict.fromkeys(BEFORE, 0.9), seed=1, defense="helps"),
        make.table(dict.fromkeys(BEFORE, 0.55), seed=2, defense="ruins"),
    ])  # fmt: skip


def test_one_table_has_every_mitigation(defended: OutcomeTable) -> None:
    summary = summarize(defended, WIDE, seed=0)
    none, helps, ruins = summary.mitigations
    assert (none.name, none.comparison, none.compared_with) == ("none", None, "")
    for stage, direction in ((helps, Direction.BETTER), (ruins, Direction.WORSE)):
        assert stage.compared_with == "none"
        assert stage.direction is direction
    people = ("a man", "a woman", "a nurse")
    for stage in summary.mitigations:
        rows = defended.of_defense(stage.name)
        for axis, task in (("utility", "mmlu"), ("safety", "do_not_answer")):
            every = [scores_of(rows, task, name) for name in people]
            assert stage.means[axis] == pytest.approx(100 * float(np.mean(every)))
            bare = scores_of(rows, task, "baseline")
            assert stage.baselines[axis] == pytest.approx(100 * sum(bare) / len(bare))
        (joint,) = (one for one in summary.joint if one.defense == stage.name)
        assert stage.joint is not None
        assert stage.joint.bias == joint.bias
        # The worst identity, by brute force over all cells.
        assert stage.worst is not None
        worst = min(
            (
                np.mean(scores_of(rows, task, name)) - np.mean(scores_of(rows, task, "baseline")),
                name,
                task,
            )
            for task in ("do_not_answer", "mmlu")
            for name in people
        )
        assert stage.worst.difference.estimate == pytest.approx(100 * float(worst[0]))
        assert (stage.worst.identity, stage.worst.task) == worst[1:]


def test_every_format_has_the_table(defended: OutcomeTable) -> None:
    summary = summarize(defended, WIDE, seed=0)
    text = " ".join(" ".join(line for line, _ in render_terminal(summary)).split())
    markdown = to_markdown(summary)
    assert "Side by side" in text
    for one in summary.mitigations:
        assert one.worst is not None
        assert f"worst {one.worst.identity}" in text
        assert f"worst {one.worst.identity}" in markdown
    plain = to_json(summary)["statistics"]["mitigations"]
    assert [one["direction"] for one in plain] == [None, "better", "worse"]


def test_that_a_defense_has_other_prompts_is_no_fault_of_a_stage(make: Maker) -> None:
    bare = make.table(BEFORE, defense="none", prompt_hash="bare")
    defended = make.table(BEFORE, seed=1, defense="strip", prompt_hash="defended")
    _, stage = line_up([("run", concatenate([bare, defended]))], WIDE, against="first")
    assert stage.name == "run under strip"
    assert stage.comparison is not None
    assert stage.comparison.blocked_by == ()
    # What the same defense was asked otherwise in is said, and so is anything else.
    worded = make.table(BEFORE, seed=1, prompt_hash="worded", temperature=1.0)
    _, other = line_up([("run", bare), ("worded", worded)], WIDE)
    assert other.comparison is not None
    assert {one.kind for one in other.comparison.blocked_by} == {"prompts", "sampling"}


def test_runs_are_lined_up_against_the_one_before_or_the_first(make: Maker) -> None:
    tables = [("base", make.table(BEFORE)), ("instruct", make.table(BEFORE, seed=1)),
              ("dpo", make.table(dict.fromkeys(BEFORE, 0.9), seed=2))]  # fmt: skip
    chain = line_up(tables, WIDE)
    assert [one.compared_with for one in chain] == ["", "base", "instruct"]
    beside = line_up(tables, WIDE, against="first")
    assert [one.compared_with for one in beside] == ["", "base", "base"]
    assert chain[1].comparison is not None
    assert beside[1].comparison == chain[1].comparison
    step = chain[2].comparison
    assert step is not None
    assert step == compare_runs(tables[2][1], tables[1][1], WIDE)


def test_a_stage_with_nothing_in_common_is_said(make: Maker) -> None:
    other: dict[str, Any] = {"tasks": ("gsm8k",)}
    chain = line_up([("a", make.table()), ("b", make.table(**other))], WIDE)
    assert chain[1].comparison is None
    assert "cannot be compared" in chain[1].problem


def _plain(words: list[str]) -> dict[str, Any]:
    """The JSON that the command writes, which fits its schema and has no other field."""
    assert main(words) == 0
    plain: dict[str, Any] = json.loads(Path(words[-1]).read_text("utf-8"))
    jsonschema.validate(plain, strict(json.loads(schema_text("stages"))))
    return plain


def test_stages_with_nothing_to_compare_and_defenses_have_json(
    make: Maker, defended: OutcomeTable, tmp_path: Path
) -> None:
    store = tmp_path / ".pbias"
    other: dict[str, Any] = {"tasks": ("gsm8k",)}
    for table in (defended, make.table(**other)):
        keep_run(table, store, model="tiny")
    words = ["stages", "a=1", "b=2", "--store", str(store), "--against", "first"]
    *of_a, last = _plain([*words, "--json", str(tmp_path / "s.json")])["stages"]
    assert [one["name"] for one in of_a] == ["a", "a under helps", "a under ruins"]
    assert all(one["comparison"] for one in of_a[1:])
    assert (last["compared_with"], last["comparison"], last["direction"]) == ("a", None, None)
    assert "cannot be compared" in last["reason"]
    assert last["joint"] is None or last["joint"]["problem"]


def test_the_command_lines_up_runs(
    make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="needs pytest-pbias[report]")
    store = tmp_path / ".pbias"
    notes = RunFacts(notes=("asked as plain prompts",))
    hostile = "<b>dpo</b>"
    for table in (make.table(BEFORE).with_info(notes), make.table(BEFORE, seed=1),
                  make.table(dict.fromkeys(BEFORE, 0.9), seed=2)):  # fmt: skip
        keep_run(table, store, model="tiny")
    page, markdown = tmp_path / "s.html", tmp_path / "s.md"
    words = ["stages", "base=1", "2", f"{hostile}=3", "--store", str(store)]
    assert main([*words, "--html", str(page), "--markdown", str(markdown)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 runs in their order, with the change from one to the next" in shown
    assert "base: asked as plain prompts" in shown
    chain = line_up(
        [(name, OutcomeTable.read(find_run(n, store))) for name, n in (("base", "1"), ("2", "2"),
                                                                        ("dpo", "3"))],
        GatePolicy(),
    )  # fmt: skip
    for step in chain[1:]:
        assert step.comparison is not None
        assert step.comparison.joint is not None
        change = step.comparison.joint.bias_change
        told = f"{change.estimate:+.1f} ({change.low:+.1f} to {change.high:+.1f})"
        assert told in shown
        assert told in markdown.read_text("utf-8").replace("\\", "")
        assert told in page.read_text("utf-8")
    assert "<svg" in page.read_text("utf-8")
    assert hostile not in page.read_text("utf-8")
    plain = _plain([*words, "--json", str(tmp_path / "s.json")])
    assert plain["against"] == "previous"
    assert [one["name"] for one in plain["stages"]] == ["base", "2", hostile]
    assert [one["compared_with"] for one in plain["stages"]] == ["", "base", "2"]
    assert plain["stages"][0]["notes"] == ["asked as plain prompts"]
    assert plain["stages"][0]["comparison"] is None
    for step, found in zip(chain[1:], plain["stages"][1:], strict=True):
        assert step.comparison is not None
        assert found["comparison"] == comparison_json(step.comparison)
        assert found["direction"] == step.comparison.direction.value
    assert main([*words, "--against", "first"]) == 0
    assert "Change from base, percentage points" in " ".join(capsys.readouterr().out.split())
    assert main(["stages", "1", "--store", str(store)]) == 2
    assert "give two or more" in capsys.readouterr().err
    assert main(["stages", "1", "2", "--store", str(store), "--joint", "mmlx,mmlu"]) == 2
    assert "--joint: the run did not ask 'mmlx': did you mean 'mmlu'" in capsys.readouterr().err
    assert main(["stages", "a=1", "2", "b=1", "--store", str(store)]) == 2
    error = capsys.readouterr().err
    assert "'a' and 'b' are the same run, 0001-tiny.parquet" in error
    assert error.count("\n") == 1
    assert main(["stages", "1", "2", "--store", str(store), "--joint", "mmlu"]) == 2
    error = capsys.readouterr().err
    assert "--joint: it takes tasks of both axes, safety and utility: mmlu is of utility" in error
    assert error.count("\n") == 1
