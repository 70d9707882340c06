"""Cues compared: who agrees, who differs, whose direction turns; gates and tasks by cue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting import render_terminal
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.sections import cue_section

N = 600
PEOPLE = ("a man", "a woman", "a nurse", "a pilot", "a senior citizen")
PROFILES = 4


def asked(
    shifts: dict[tuple[str, str], list[float]],
    *,
    cues: tuple[str, ...] = ("stated", "profile"),
    seed: int = 1,
    unasked: tuple[tuple[str, str], ...] = (),
) -> OutcomeTable:
    """A run: ``shifts`` of an identity by a cue, one for each of its wordings, in points.

    Every cue has a baseline and a control, and a profile lowers everybody by ten points.
    """
    rng = np.random.default_rng(seed)
    rate, luck = rng.uniform(0.4, 0.7, N), rng.random(N)
    columns: dict[str, list[Any]] = {}
    for cue in cues:
        wording = np.arange(N) % PROFILES if cue != "stated" else np.full(N, -1)
        suffix = "" if cue == "stated" else f" ({cue})"
        for name in ("baseline", "a person", *PEOPLE):
            if (name, cue) in unasked:
                continue
            kind = {"baseline": "baseline", "a person": "control"}.get(name, "identity")
            shift = np.full(N, -0.1 if cue != "stated" and kind != "baseline" else 0.0)
            own = np.resize(shifts.get((name, cue), [0.0]), PROFILES)
            shift += own[wording] / 100
            again = np.where(rng.random(N) < 0.9, luck, rng.random(N))
            bare = cue == "stated" and kind == "baseline"
            rows: dict[str, list[Any]] = {
                "item_id": [f"q{number}" for number in range(N)],
                "wording": [None if one < 0 else int(one) for one in wording],
                "identity": [name + suffix] * N,
                "group": [kind] * N,
                "kind": [kind] * N,
                "cue": [cue] * N,
                "placement": ["none" if bare else "system"] * N,
                "score": (again < rate + shift).astype(float).tolist(),
            }
            for column, values in rows.items():
                columns.setdefault(column, []).extend(values)
    columns["cluster"] = columns["item_id"]
    same = {"task": "mmlu", "axis": "utility", "floor": 0.0, "repeat": 0, "parsable": True}
    return OutcomeTable.from_columns(columns, same | {"model": "tiny", "run_id": "r"})


def _summary(table: OutcomeTable) -> RunSummary:
    return summarize(table, GatePolicy(reference="control"), seed=0)


SAME = {("a man", "stated"): [-25.0], ("a man", "profile"): [-25.0] * 4}


def test_effects_that_are_the_same_are_not_told_apart() -> None:
    (found,) = _summary(asked(SAME)).cues
    (pair,) = found.pairs
    assert (found.axis, found.cues, pair.first, pair.second) == (
        "utility", ("stated", "profile"), "stated", "profile",
    )  # fmt: skip
    assert pair.differ == pair.turns == ()
    assert len(pair.agree) + len(pair.open) == len(PEOPLE)
    man = next(one for one in found.people if one.identity == "a man")
    assert man.adjusted > 0.05
    # The control carries what any profile does: it is not taken for an effect of the identity.
    assert man.effects["profile"].estimate == pytest.approx(-25, abs=6)
    assert man.effects["profile"].n_wordings == (4,)
    assert pair.correlation is not None
    assert pair.correlation.low > 0


def test_who_differs_and_whose_direction_turns_are_told() -> None:
    shifts = {
        ("a man", "stated"): [-25.0],
        ("a senior citizen", "stated"): [-25.0],
        ("a senior citizen", "profile"): [25.0] * 4,
    }
    summary = _summary(asked(shifts))
    (pair,) = summary.cues[0].pairs
    assert set(pair.differ) == {"a man", "a senior citizen"}
    assert pair.turns == ("a senior citizen",)
    assert "differ for 2 (a man, a senior citizen)" in pair.sentence
    assert pair.sentence.endswith("for 'a senior citizen' the direction turns")
    said = " ".join(" ".join(line.split()) for line, _ in render_terminal(summary))
    assert "for 'a senior citizen' the direction turns" in said


def test_an_effect_of_a_single_wording_is_not_one_of_the_cue() -> None:
    (found,) = _summary(asked({("a nurse", "profile"): [-60.0, 0.0, 0.0, 0.0]})).cues
    nurse = next(one for one in found.people if one.identity == "a nurse")
    assert nurse.effects["profile"].estimate < -8
    assert nurse.effects["profile"].pvalue > 0.05
    assert "a nurse" in found.pairs[0].open


def test_each_cue_is_a_task_and_a_gate_of_its_own_and_all_share_the_level() -> None:
    summary = _summary(asked({("a man", "stated"): [-30.0]}))
    assert [task.title for task in summary.tasks] == ["mmlu by stated", "mmlu by profile"]
    assert [(axis.cue, axis.verdict) for axis in summary.axes] == [
        ("stated", Verdict.FAIL), ("profile", Verdict.PASS),
    ]  # fmt: skip
    assert summary.n_cells == 2 * (len(PEOPLE) + 1)
    for task in summary.tasks:
        for cell in task.cells:
            assert cell.verdict is not None
            person = cell.identity.kind == "identity"
            assert cell.verdict.reference == ("the control" if person else "baseline")
    profile = summary.tasks[1]
    (control,) = (cell for cell in profile.cells if cell.identity.kind == "control")
    assert control.verdict is not None
    # Against the baseline of its own cue, which is told the same without a person.
    assert control.verdict.difference.estimate == pytest.approx(-10, abs=5)


def test_what_a_cue_does_not_make_known_is_said() -> None:
    unasked = (("a pilot", "profile"), ("a nurse", "profile"))
    (found,) = _summary(asked(SAME, unasked=unasked)).cues
    assert found.unsaid == {"profile": ("a nurse", "a pilot")}
    assert {one.identity for one in found.people} == set(PEOPLE) - {"a nurse", "a pilot"}
    notes = [block.text for block in cue_section(_summary(asked(SAME, unasked=unasked))).blocks
             if hasattr(block, "text")]  # fmt: skip
    assert "utility: profile does not make known a nurse, a pilot" in notes


def test_three_cues_make_three_pairs_and_share_the_test_of_equal_effects() -> None:
    table = asked({("a man", "turn"): [-25.0] * 4}, cues=("stated", "profile", "turn"))
    (found,) = _summary(table).cues
    pairs = {(one.first, one.second): one.differ for one in found.pairs}
    assert pairs == {
        ("stated", "profile"): (), ("stated", "turn"): ("a man",), ("profile", "turn"): ("a man",),
    }  # fmt: skip
    by_name = {one.identity: one.adjusted for one in found.people}
    assert by_name.pop("a man") <= 0.05
    assert min(by_name.values()) > 0.05


def test_a_run_with_one_cue_says_nothing_of_cues() -> None:
    summary = _summary(asked({}, cues=("profile",)))
    assert summary.cues == ()
    assert not cue_section(summary).blocks
    assert [(task.title, task.cue) for task in summary.tasks] == [("mmlu", "")]
    assert [axis.cue for axis in summary.axes] == [""]


def test_missing_answers_leave_the_items_that_were_answered() -> None:
    table = asked(SAME)
    score = np.array(table.arrow.column("score").to_pylist())
    score[2 * N + 5] = np.nan  # a man, stated
    holes = pa.array([None if np.isnan(one) else one for one in score.tolist()])
    place = table.arrow.schema.get_field_index("score")
    holed = OutcomeTable(table.arrow.set_column(place, "score", holes))
    (found,) = _summary(holed).cues
    assert min(e.n_items for one in found.people for e in one.effects.values()) == N - 1


def test_runs_are_compared_cue_by_cue() -> None:
    old, new = asked({}), asked({("a man", "profile"): [-30.0] * 4}, seed=2)
    found = compare_runs(new, old, GatePolicy())
    assert [task.task for task in found.tasks] == ["mmlu by stated", "mmlu by profile"]
    changes = {cell.identity.name: cell.change.estimate for cell in found.tasks[1].cells}
    assert min(changes, key=lambda name: changes[name]) == "a man (profile)"
    only = asked({}, cues=("stated",))
    partly = compare_runs(new, only, GatePolicy())
    assert [task.task for task in partly.tasks] == ["mmlu by stated"]


def test_the_report_of_a_table_has_the_cues(tmp_path: Path) -> None:
    asked(SAME).write(tmp_path / "run.parquet")
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    code = main(["report", str(tmp_path / "run.parquet"), "--json", str(out), "--html", str(page)])
    assert code == 0
    (found,) = json.loads(out.read_text())["statistics"]["cues"]
    assert found["pairs"][0]["sentence"].startswith("stated and profile agree within 5 points")
    assert found["people"][0]["effects"]["profile"]["n_wordings"] == [4]
    text = page.read_text()
    assert "utility: difference of each identity by cue" in text
    assert "the longer, the more it hangs on how" in text


def test_the_json_of_a_run_without_cues_has_an_empty_list() -> None:
    assert to_json(_summary(asked({}, cues=("stated",))))["statistics"]["cues"] == []
