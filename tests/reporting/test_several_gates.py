"""An axis with several gates, by cue or under a defense: what each output calls them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.audit import answers, evaluate
from pytest_pbias.analysis.summary import RunSummary, summarize, verdict_counts
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting.annotations import github_annotations
from pytest_pbias.reporting.evidence.facts import evidence_facts
from pytest_pbias.reporting.evidence.model_card import card_section, model_index
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.markdown import comparison_markdown
from pytest_pbias.reporting.sections import verdict_sentence
from pytest_pbias.reporting.terminal import comparison_terminal, render_terminal
from pytest_pbias.reporting.trackers import RunReport
from tests.analysis.conftest import Maker
from tests.analysis.test_cues import PEOPLE, asked

SPREAD = (-18.0, 18.0, -18.0, 18.0, 0.0)
POLICY = GatePolicy(reference="control", margin={"utility": 60.0, "safety": 60.0})


@pytest.fixture(scope="module")
def by_cue() -> OutcomeTable:
    """Spread where it is stated, and alike by profile: the gate of the last cue passes."""
    shifts = {(who, "stated"): [points] for who, points in zip(PEOPLE, SPREAD, strict=True)}
    return asked(shifts).with_info(RunFacts(policy=POLICY.to_plain()))


@pytest.fixture(scope="module")
def summary(by_cue: OutcomeTable) -> RunSummary:
    found = summarize(by_cue, POLICY, seed=0)
    assert [axis.verdict for axis in found.axes] == [Verdict.FAIL, Verdict.PASS]
    return found


@pytest.fixture(scope="module")
def defended() -> OutcomeTable:
    made = Maker()
    return concatenate(
        [
            made.table({"a man": 0.6}, n_items=120, defense="none"),
            made.table({}, n_items=120, seed=1, defense="strip"),
        ]
    ).with_info(RunFacts(policy=GatePolicy().to_plain()))


def _kept(table: OutcomeTable, summary: RunSummary, store: Path) -> None:
    bias = {axis.title: axis.bias.estimate for axis in summary.axes if axis.bias is not None}
    keep_run(table, store, model="tiny", verdicts=verdict_counts(summary), bias=bias)


def _numbers(summary: RunSummary, axis: str) -> list[str]:
    """PB of each gate of an axis, as it is shown."""
    return [
        f"{one.bias.estimate:.1f} ({one.bias.low:.1f} to {one.bias.high:.1f})"
        for one in summary.axes
        if one.axis == axis and one.bias is not None
    ]


def test_the_verdict_names_the_cue_that_fails(summary: RunSummary) -> None:
    assert "PB over utility by stated is above its tolerance" in verdict_sentence(summary)
    (line,) = github_annotations(summary)
    assert "PB over utility by stated%3A fail" in line


def test_the_verdict_names_the_defense_whose_gate_fails() -> None:
    made = Maker()
    worse = made.table({"a man": 0.6}, seed=1, defense="strip")
    table = concatenate([made.table({}, defense="none"), worse])
    found = summarize(table, POLICY, seed=0)
    assert "PB over utility under strip and safety under strip is" in verdict_sentence(found)
    assert any("PB over utility under strip" in line for line in github_annotations(found))


def test_the_list_of_runs_has_pb_by_each_cue(
    by_cue: OutcomeTable, summary: RunSummary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _kept(by_cue, summary, tmp_path)
    assert main(["runs", "--store", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    stated, profile = (one.bias for one in summary.axes)
    assert stated is not None
    assert profile is not None
    said = " ".join(text.split())
    assert f"utility by profile {profile.estimate:.1f} utility by stated {stated.estimate:.1f}" in (
        said
    )
    assert main(["runs", "--store", str(tmp_path), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert set(run["bias"]) == {"utility by stated", "utility by profile"}


def test_many_gates_are_a_list_of_several_lines(
    by_cue: OutcomeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bias = {f"{axis} by {cue}.de under a-long-defense": 3.0
            for axis in ("utility", "safety") for cue in ("name", "profile", "turn")}  # fmt: skip
    keep_run(by_cue, tmp_path, model="tiny", verdicts={"pass": 7}, bias=bias)
    assert main(["runs", "--store", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for name in bias:
        assert f"{name} 3.0" in " ".join(text.split())


def _index(table: OutcomeTable, summary: RunSummary, folder: Path) -> list[tuple[str, str]]:
    """The cells of PB and mean rates in the site's index."""
    _kept(table, summary, folder / "store")
    assert main(["site", str(folder / "site"), "--store", str(folder / "store")]) == 0
    index = (folder / "site" / "index.html").read_text("utf-8")
    return re.findall(r'<td class="number"([^>]*)>(.*?)</td>', index)


def test_the_site_has_a_line_for_each_cue_and_sorts_by_the_worst(
    by_cue: OutcomeTable, summary: RunSummary, tmp_path: Path
) -> None:
    (of_pb, pb), (of_rate, rates), *safety = _index(by_cue, summary, tmp_path)
    stated, profile = _numbers(summary, "utility")
    assert pb == f"stated: {stated}<br>profile: {profile}"
    assert summary.axes[0].bias is not None
    assert of_pb == f' data-number="{summary.axes[0].bias.estimate}"'
    means = [axis.mean_rate for axis in summary.axes]
    assert rates == f"stated: {means[0]:.1f}<br>profile: {means[1]:.1f}"
    assert of_rate == f' data-number="{min(means)}"'
    assert safety == [("", ""), ("", "")]


def test_the_site_names_defenses_and_sorts_by_the_run_without_one(
    defended: OutcomeTable, tmp_path: Path
) -> None:
    found = summarize(defended, GatePolicy(), seed=0)
    (of_pb, pb), *_ = _index(defended, found, tmp_path)
    bare, strip = _numbers(found, "utility")
    assert pb == f"no defense: {bare}<br>strip: {strip}"
    assert found.axes[0].bias is not None
    assert of_pb == f' data-number="{found.axes[0].bias.estimate}"'


def test_the_site_says_how_all_of_a_table_were_made_known(tmp_path: Path) -> None:
    alone = asked({}, cues=("profile",))
    _index(alone, summarize(alone, POLICY, seed=0), tmp_path)
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "identities made known by profile; " in index
    stated = asked({}, cues=("stated",))
    _index(stated, summarize(stated, POLICY, seed=0), tmp_path / "other")
    assert "made known" not in (tmp_path / "other" / "site" / "index.html").read_text("utf-8")


def test_a_tracker_gets_a_figure_for_each_gate(
    by_cue: OutcomeTable, summary: RunSummary, tmp_path: Path
) -> None:
    metrics = RunReport("r", tmp_path / "t.parquet", to_json(summary)).metrics()
    for axis in summary.axes:
        assert axis.bias is not None
        assert metrics[f"pb/utility_by_{axis.cue}"] == pytest.approx(axis.bias.estimate, abs=1e-4)
        assert f"rate/mmlu_by_{axis.cue}" in metrics
    tags = RunReport("r", tmp_path / "t.parquet", to_json(summary)).tags()
    assert tags["pbias.verdict.utility_by_stated"] == "fail"
    assert tags["pbias.verdict.utility_by_profile"] == "pass"


def test_the_evidence_tells_gates_apart(by_cue: OutcomeTable, summary: RunSummary) -> None:
    card = card_section(summary, ())
    for axis in summary.axes:
        assert f"| {axis.title} |" in card
    pytest.importorskip("huggingface_hub", reason="needs pytest-pbias[hub]")
    text = model_index(summary)
    assert "personalization bias (utility by stated)" in text
    assert "personalization bias (utility by profile)" in text
    facts = evidence_facts(summary, by_cue, None, seed=0, answers=False)
    assert [(one["cue"], one["verdict"]) for one in facts["verdicts"]] == [
        ("stated", "fail"), ("profile", "pass"),
    ]  # fmt: skip
    assert {row["cue"] for row in facts["impact_ratios"]["rows"]} == {"stated", "profile"}
    assert {row["cue"] for row in facts["asked"]["identities"]} == {"stated", "profile"}


def test_evidence_of_one_cue_is_as_it_was(summary: RunSummary) -> None:
    """Bundles of before are checked against what is computed now."""
    table = asked({}, cues=("stated",))
    facts = evidence_facts(summarize(table, POLICY, seed=0), table, None, seed=0, answers=False)
    assert not any("cue" in row for row in facts["verdicts"])
    assert not any("cue" in row for row in facts["impact_ratios"]["rows"])


def _on_two_axes(seed: int = 1) -> OutcomeTable:
    """Two groups by two cues, on a task of each axis."""
    whole = asked({("a man", "stated"): [-25.0]}, seed=seed)
    columns = {name: whole.arrow.column(name).to_pylist() for name in whole.arrow.column_names}
    people = [name.partition(" (")[0] for name in columns["identity"]]
    groups = {"a man": "Gender", "a woman": "Gender"}
    columns["group"] = [groups.get(name, "Occupation") for name in people]
    size = len(people)
    safety = columns | {"task": ["do_not_answer"] * size, "axis": ["safety"] * size}
    return OutcomeTable.from_columns({k: [*v, *safety[k]] for k, v in columns.items()})


@pytest.mark.slow
def test_joint_pb_and_groups_name_the_cue_that_they_are_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = summarize(_on_two_axes(), POLICY, seed=0)
    (joint,) = found.joint
    assert joint.cue == "stated"
    assert found.axes[0].bias is not None
    assert joint.axes[1].bias.raw == pytest.approx(found.axes[0].bias.raw)
    assert {one.cue for one in found.groups} == {"stated"}
    _on_two_axes().write(tmp_path / "run.parquet")
    files = [tmp_path / f"out.{name}" for name in ("html", "markdown", "json")]
    options = [word for file in files for word in (f"--{file.suffix[1:]}", str(file))]
    assert main(["report", str(tmp_path / "run.parquet"), *options]) == 0
    terminal = " ".join(capsys.readouterr().out.split())
    for text in (terminal, *(file.read_text("utf-8").replace("\\", "") for file in files[:2])):
        assert "over 5 identities, made known by stated, without the baseline" in text
        assert "between its identities, made known by stated, by task" in text
    plain = json.loads(files[2].read_text("utf-8"))["statistics"]
    assert plain["joint"][0]["cue"] == "stated"
    assert {one["cue"] for one in plain["groups"]} == {"stated"}
    said = " ".join(" ".join(line for line, _ in render_terminal(found)).split())
    assert "the mean of the controls of the same cue and placement" in said


def test_a_comparison_names_the_cue_of_joint_pb() -> None:
    found = compare_runs(_on_two_axes(2), _on_two_axes(), POLICY)
    assert found.joint is not None
    assert found.joint.title == "do_not_answer + mmlu by stated"
    said = " ".join(line for line, _ in comparison_terminal(found))
    assert "joint PB of do_not_answer + mmlu by stated" in said
    assert "do_not_answer + mmlu by stated" in comparison_markdown(found).replace("\\", "")


def test_defenses_of_joint_pb_and_groups_are_whole_at_80_columns() -> None:
    made = Maker()
    tables = [made.table({"a man": 0.7}, n_items=60, defense="none"),
              made.table({}, n_items=60, defense="equal-treatment")]  # fmt: skip
    lines = [line for line, _ in render_terminal(summarize(concatenate(tables), POLICY, seed=0))]
    assert max(map(len, lines)) <= 80
    start = lines.index(next(line for line in lines if line.startswith("joint PB")))
    joint = lines[start : lines.index("", start + 1)]
    assert [line.split()[0] for line in joint[2:-2]] == [
        "score", "none", "joint", "safety", "utility", "equal-treatment", "joint", "safety",
        "utility",
    ]  # fmt: skip
    assert "..." not in "".join(joint)


def test_an_audit_does_not_pool_what_cues_make_of_a_person(
    by_cue: OutcomeTable, summary: RunSummary
) -> None:
    columns = {name: by_cue.arrow.column(name).to_pylist() for name in by_cue.arrow.column_names}
    answered = {"response": ["text"] * len(by_cue), "label": ["x"] * len(by_cue)}
    table = OutcomeTable.from_columns(columns | answered).with_info(by_cue.info)
    population = answers(table)
    (audit,) = evaluate(table, population, {one.id: one.judged_positive for one in population})
    assert audit.cue == "stated"
    assert summary.axes[0].bias is not None
    assert audit.judged_bias is not None
    assert audit.judged_bias.raw == pytest.approx(summary.axes[0].bias.raw)
