"""Cues compared: who agrees, who differs, whose direction turns; gates and tasks by cue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pytest

from pytest_pbias.analysis.across_runs.changes import Direction
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.across_runs.condition import decide_condition
from pytest_pbias.analysis.across_runs.history import make_history, share_runs
from pytest_pbias.analysis.defenses import line_up
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting import render_terminal
from pytest_pbias.reporting.annotations import github_annotations
from pytest_pbias.reporting.findings import cue_section
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.junit import cases_of
from pytest_pbias.reporting.schemas import schema_text

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


def test_groups_that_a_cue_makes_nobody_known_of_are_named() -> None:
    whole = asked(
        SAME, unasked=(("a pilot", "profile"), ("a nurse", "profile"), ("a man", "profile"))
    )
    groups = {"a nurse": "Occupation", "a pilot": "Occupation", "a man": "Gender"}
    place = whole.arrow.schema.get_field_index("group")
    field = whole.arrow.schema.field("group")
    names = [name.partition(" (")[0] for name in whole.arrow.column("identity").to_pylist()]
    column = pa.array([groups.get(name, "Gender") for name in names]).cast(field.type)
    grouped = OutcomeTable(whole.arrow.set_column(place, field, column))
    notes = [block.text for block in cue_section(_summary(grouped)).blocks
             if hasattr(block, "text")]  # fmt: skip
    assert "utility: profile does not make known anybody of Occupation; a man" in notes


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
    # PB and rates of an axis are of one cue, and what the report of each run says.
    assert [axis.title for axis in found.axes] == ["utility by stated", "utility by profile"]
    reports = _summary(old), _summary(new)
    for number, axis in enumerate(found.axes):
        assert axis.bias_change is not None
        for bias, rate, report in (
            (axis.old_bias, axis.mean.old, reports[0].axes[number]),
            (axis.new_bias, axis.mean.new, reports[1].axes[number]),
        ):
            assert bias is not None
            assert report.bias is not None
            assert bias.raw == pytest.approx(report.bias.raw)
            assert rate == pytest.approx(report.mean_rate)
    stated, profile = found.axes
    assert profile.direction is found.direction is Direction.WORSE
    assert stated.direction is not Direction.WORSE
    assert [axis.title for axis in partly.axes] == ["utility by stated"]


def test_of_a_cue_that_the_gate_is_not_asked_of_no_change_counts() -> None:
    old, new = asked({}), asked({("a man", "profile"): [-30.0] * 4}, seed=2)
    policy = GatePolicy(reference="control", cues=("stated",))
    found = compare_runs(new, old, policy)
    stated, profile = found.axes
    assert profile.direction is Direction.WORSE
    assert profile.reason.endswith("; the gate is asked of stated only")
    assert found.direction is stated.direction is not Direction.WORSE
    assert "the gate" not in stated.reason
    # The level is shared by the cells that are decided on.
    alone = compare_runs(asked({}, cues=("stated",)), asked({}, cues=("stated",)), policy)
    widths = [
        [cell.at_level.high - cell.at_level.estimate for cell in one.tasks[0].cells]
        for one in (compare_runs(asked({}), asked({}), policy), alone)
    ]
    assert widths[0] == pytest.approx(widths[1])


def test_a_comparison_by_cue_is_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    asked({}).write(old)
    asked({("a man", "profile"): [-30.0] * 4}, seed=2).write(new)
    files = {name: tmp_path / f"out.{name}" for name in ("json", "markdown", "html")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["compare", str(old), str(new), *options, "--fail", "rate_utility<-1"]) == 0
    said = capsys.readouterr().out
    shown = said.split("utility by stated: ")[1].split("utility by profile: worse")
    assert ["PB   " in part for part in shown] == [True, True]
    assert "rate_utility<-1 (profile): -" in said
    plain = json.loads(files["json"].read_text())
    jsonschema.validate(plain, json.loads(schema_text("comparison")))
    assert [(axis["axis"], axis["cue"]) for axis in plain["axes"]] == [
        ("utility", "stated"), ("utility", "profile"),
    ]  # fmt: skip
    assert all(axis["bias_change"] for axis in plain["axes"])
    for name in ("markdown", "html"):
        text = files[name].read_text()
        assert "utility by stated" in text
        assert "utility by profile" in text


def test_stages_of_runs_by_several_cues_tell_the_first(tmp_path: Path) -> None:
    runs = [("old", asked({})), ("new", asked({("a man", "profile"): [-30.0] * 4}, seed=2))]
    first, second = line_up(runs, GatePolicy(reference="control"))
    assert second.comparison is not None
    for stage, (_, run) in zip((first, second), runs, strict=True):
        assert stage.means["utility"] == pytest.approx(_summary(run).axes[0].mean_rate)
        assert stage.notes == ("joint PB and rates are by the first of its cues (stated, profile)",)
    assert second.reason.startswith("utility by profile: ")


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


WORSE = {("a man", "profile"): [-40.0] * 4, ("a nurse", "profile"): [25.0] * 4}
STATED_ONLY = GatePolicy(reference="control", cues=("stated",))


def test_of_a_cue_that_the_gate_is_not_asked_of_cells_are_findings() -> None:
    both = summarize(asked(WORSE), STATED_ONLY, seed=0)
    alone = _summary(asked({}, cues=("stated",)))
    assert [(axis.axis, axis.cue) for axis in both.axes] == [("utility", "stated")]
    assert both.n_cells == alone.n_cells == len(PEOPLE) + 1
    stated, profile = both.tasks
    # What is decided is decided as if no other cue had been asked: the level is shared as there.
    assert [cell.verdict for cell in stated.cells] == [
        cell.verdict for cell in alone.tasks[0].cells
    ]
    verdicts = [cell.verdict for cell in profile.cells if cell.verdict is not None]
    assert {one.verdict for one in verdicts} == {Verdict.FINDING}
    assert len(verdicts) == len(PEOPLE) + 1
    man = next(cell for cell in profile.cells if cell.identity.name == "a man (profile)")
    assert man.verdict is not None
    assert man.verdict.difference.confidence == 0.95
    assert man.verdict.difference.high < -30
    assert man.verdict.needed_items is None
    assert "the gate is asked of stated only" in man.verdict.reason
    # The comparison of cues is what it was.
    assert both.cues == _summary(asked(WORSE)).cues


def test_findings_are_red_nowhere_and_said_in_every_report(tmp_path: Path) -> None:
    table = asked(WORSE)
    summary = summarize(table, STATED_ONLY, seed=0)
    assert {case.ends for case in cases_of(_summary(table), "detect")} >= {"failed"}
    for mode in ("detect", "prove"):
        found = [case for case in cases_of(summary, mode) if "(profile)" in case.name]
        assert {case.ends for case in found} == {"passed"}
        assert {(case.properties or {})["pbias_verdict"] for case in found} == {"finding"}
    assert github_annotations(summary) == []
    said = " ".join(" ".join(line.split()) for line, _ in render_terminal(summary, verbosity=1))
    assert "the gate is asked of stated only: cells by profile are findings" in said
    assert "FAILED cells" not in said
    assert "finding" in said.split("mmlu by profile")[1]
    (brief,) = render_terminal(summary, verbosity=-1)
    assert "fail" not in brief[0]
    assert f"{len(PEOPLE) + 1} finding" in brief[0]
    assert "utility by stated PASS" in brief[0]
    plain = to_json(summary)["statistics"]
    assert plain["policy"]["cues"] == ["stated"]
    assert plain["compared_cells"] == len(PEOPLE) + 1
    kept = table.with_info(RunFacts(policy=STATED_ONLY.to_plain()))
    kept.write(tmp_path / "run.parquet")
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    again = ["report", str(tmp_path / "run.parquet"), "--json", str(out), "--html", str(page)]
    assert main(again) == 0
    assert json.loads(out.read_text())["statistics"]["gates"] == plain["gates"]
    assert "cells by profile are findings" in page.read_text()


def test_a_kept_run_is_gated_by_the_cues_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.parquet"
    asked(WORSE).with_info(RunFacts(policy=GatePolicy(reference="control").to_plain())).write(path)
    junit = tmp_path / "out.xml"

    def gate(*more: str) -> int:
        return main(["gate", str(path), "--junitxml", str(junit), *more])

    assert gate() == 1
    # Each cue has its gate, also where the last one passes.
    assert 'name="gate[utility-stated]"' in junit.read_text()
    assert 'name="gate[utility-profile]"' in junit.read_text()
    assert gate("--gate-cues=stated") == 0
    assert "gate[utility-profile]" not in junit.read_text()
    assert gate("--gate-cues=profile") == 1
    assert gate("--gate-cues=stated,profile") == 1
    capsys.readouterr()
    assert gate("--gate-cues=profil") == 4
    error = capsys.readouterr().err
    assert "nothing is asked by the cue 'profil': did you mean 'profile'?" in error
    assert error.count("\n") == 1


def test_pb_of_a_cue_before_the_last_turns_the_gate_red() -> None:
    spread = (-9.0, 9.0, -9.0, 9.0, 0.0)
    shifts = {(who, "stated"): [points] for who, points in zip(PEOPLE, spread, strict=True)}
    policy = GatePolicy(reference="control", margin={"utility": 30.0, "safety": 30.0})
    summary = summarize(asked(shifts), policy, seed=0)
    assert [axis.verdict for axis in summary.axes] == [Verdict.FAIL, Verdict.PASS]
    failed = [case.name for case in cases_of(summary, "detect") if case.ends == "failed"]
    assert failed == ["gate[utility-stated]"]


def test_an_earlier_run_is_worse_by_the_cues_that_the_gate_is_asked_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, stated = (tmp_path / f"{name}.parquet" for name in ("old", "new", "stated"))
    asked({}).write(old)
    asked({("a man", "profile"): [-30.0] * 4}, seed=2).write(new)
    asked({}, cues=("stated",)).write(stated)

    def compare(before: Path, *more: str, fail: str = "cell_utility<-5") -> int:
        return main(["compare", str(before), str(new), "--fail", fail, "--anyway", *more])

    for fail in ("cell_utility<-5", "cell_mmlu<-5", "pb_utility>5", "pb_mmlu>5"):
        assert compare(old, fail=fail) == 1, fail
        assert compare(old, "--gate-cues=stated", fail=fail) == 0, fail
    assert "pb_mmlu>+5 (profile): +" in capsys.readouterr().out
    capsys.readouterr()
    assert compare(stated, "--gate-cues=profile") == 2
    error = capsys.readouterr().err
    assert "no task was asked by the cue profile in both runs" in error
    assert error.count("\n") == 1


TURNED = {("a man", "profile"): [-40.0] * 4, ("a nurse", "profile"): [25.0] * 4}


def test_a_history_is_of_each_cue() -> None:
    runs = [asked(TURNED if number > 1 else {}, seed=number) for number in range(4)]
    newest_first = [(f"r{number}", lambda run=run: run) for number, run in enumerate(runs)][::-1]
    shared = share_runs(newest_first, GatePolicy(reference="control"))
    history = make_history(shared, GatePolicy(reference="control"))
    stated, profile = history.axes
    assert [(axis.axis, axis.cue) for axis in history.axes] == [
        ("utility", "stated"), ("utility", "profile"),
    ]  # fmt: skip
    assert history.drifting == ("utility by profile",)
    for axis, number in ((stated, 0), (profile, 1)):
        reported = _summary(runs[-1]).axes[number]
        assert axis.bias[-1] is not None
        assert reported.bias is not None
        assert axis.bias[-1].raw == pytest.approx(reported.bias.raw)
        assert axis.mean[-1] == pytest.approx(reported.mean_rate)
        assert axis.baseline[-1] == pytest.approx(reported.baseline_rate)
    assert stated.mean[0] - profile.mean[0] == pytest.approx(10, abs=4)
    assert history.n_items == {"mmlu by stated": N, "mmlu by profile": N}
    furthest = max(history.cells, key=lambda cell: abs(cell.drift.clearest[1].estimate))
    assert (furthest.task, furthest.identity.name) == ("mmlu by profile", "a man (profile)")
    assert furthest.verdicts[-1] == "fail"
    found = decide_condition("pb_utility>1", shared, alpha=0.05)
    assert found.verdict is Verdict.FAIL
    assert "(profile, " in found.reason
    assert decide_condition("rate_utility<-30", shared, alpha=0.05).verdict is Verdict.PASS


def test_a_history_keeps_to_the_cues_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = GatePolicy(reference="control").to_plain()
    for number in range(5):
        cues = ("stated", "profile") if number else ("stated",)
        run = asked(TURNED if number > 2 else {}, cues=cues, seed=number)
        info = RunFacts(policy=policy, created=f"2026-11-0{number + 1}T10:00:00")
        keep_run(run.with_info(info), tmp_path, model="tiny")
    out = tmp_path / "out.json"

    def history(*more: str) -> tuple[int, str]:
        words = ["--store", str(tmp_path), "--json", str(out), "--fail", "pb_utility>1"]
        code = main(["history", *words, *more])
        return code, " ".join(" ".join(capsys.readouterr()).split())

    code, said = history()
    assert code == 1
    assert "Drift over 4 runs: PB utility by profile +" in said
    assert "Set apart: 0001-tiny: mmlu by profile was not asked" in said
    plain = json.loads(out.read_text())
    jsonschema.validate(plain, json.loads(schema_text("history")))
    assert [(axis["axis"], axis["cue"]) for axis in plain["axes"]] == [
        ("utility", "stated"), ("utility", "profile"),
    ]  # fmt: skip
    code, said = history("--gate-cues=stated")
    assert code == 0
    assert "No drift is shown over 5 runs" in said
    assert [axis["cue"] for axis in json.loads(out.read_text())["axes"]] == [""]
    code, said = history("--gate-cues=profil")
    assert code == 2
    assert "nothing was asked by the cue profil" in said
