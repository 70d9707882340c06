"""Clusters that are all there are: verdicts speak of them alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.across_runs.history import History, make_history, share_runs
from pytest_pbias.analysis.summary import RunSummary, decide_outcomes, summarize
from pytest_pbias.cli import main
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.outcomes.saved_runs import keep_run
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.markdown import to_markdown
from pytest_pbias.reporting.terminal import render_terminal
from tests.outcomes.test_table import columns

STRATA = GatePolicy(strata=("mmlu",), reference="control")


def _table(seed: int = 3) -> OutcomeTable:
    """8 categories of 60 items; in one of them the last identity is wrong more often."""
    rng = np.random.default_rng(seed)
    right = np.repeat((rng.random(480) < 0.8)[None], 5, axis=0) * 1.0
    right[4, :60] *= rng.random(60) < 0.55
    found = columns(right[:, :, None])
    clusters = [f"category {int(name.split('-')[1]) // 60}" for name in found["item_id"]]
    return OutcomeTable.from_columns(found | {"cluster": clusters})


def _summary(policy: GatePolicy) -> RunSummary:
    return summarize(_table(), policy, seed=0)


def test_items_of_strata_count_one_by_one() -> None:
    sample, strata = (_summary(policy) for policy in (replace(STRATA, strata=()), STRATA))
    ((of_sample,), (of_strata,)) = (summary.tasks for summary in (sample, strata))
    assert (of_sample.n_clusters, of_strata.n_clusters) == (8, 480)
    assert of_sample.warned
    assert not of_strata.warned
    wide, narrow = (task.cells[-1].verdict for task in (of_sample, of_strata))
    assert wide is not None
    assert narrow is not None
    assert narrow.difference.estimate == wide.difference.estimate
    assert narrow.difference.half_width < 0.8 * wide.difference.half_width
    assert "clusters" in wide.reason
    assert "clusters" not in narrow.reason
    (wide_axis,), (narrow_axis,) = sample.axes, strata.axes
    assert wide_axis.bias is not None
    assert narrow_axis.bias is not None
    assert narrow_axis.bias.high < wide_axis.bias.high
    again = decide_outcomes("utility", [_table().task_outcomes("mmlu")], STRATA, defense="none")
    assert again == narrow_axis


def test_every_report_says_which_claim_is_made() -> None:
    says = "hold for the clusters asked, and say nothing of others"
    for policy, said in ((STRATA, True), (replace(STRATA, strata=("gsm8k",)), False)):
        summary = _summary(policy)
        terminal = " ".join(line.strip() for line, _ in render_terminal(summary))
        assert (f"verdicts on mmlu {says}" in terminal) == said
        assert (f"Verdicts on mmlu {says}" in to_markdown(summary)) == said
        assert to_json(summary)["statistics"]["policy"]["strata"] == list(policy.strata)


def test_a_kept_run_is_decided_again_by_the_same_claim() -> None:
    table = _table().with_info(RunFacts(policy=json.loads(json.dumps(STRATA.to_plain()))))
    assert GatePolicy.of_run(table.info).strata == ("mmlu",)
    (task,) = summarize(table, GatePolicy.of_run(table.info), seed=0).tasks
    assert task.cells[1].verdict is not None
    assert task.cells[1].verdict.verdict is Verdict.PASS
    assert task.n_clusters == 480


def _history(policy: GatePolicy) -> History:
    tables = [(name, lambda seed=seed: _table(seed)) for seed, name in ((4, "new"), (3, "old"))]
    return make_history(share_runs(tables, policy), policy)


def test_a_history_makes_the_claim_of_its_runs() -> None:
    sample, strata = (_history(policy) for policy in (replace(STRATA, strata=()), STRATA))
    for wide, narrow in zip(sample.cells, strata.cells, strict=True):
        assert narrow.differences == wide.differences
    before, now = (history.cells[-1].drift.clearest[1] for history in (sample, strata))
    assert now.high - now.low < 0.9 * (before.high - before.low)
    # Each run is decided, and its PB has the interval, as in the run's own report.
    for history, policy in ((sample, replace(STRATA, strata=())), (strata, STRATA)):
        for run, seed in enumerate((3, 4)):
            (task,) = summarize(_table(seed), policy, seed=0).tasks
            decided = [cell.verdict.verdict.value for cell in task.cells if cell.verdict]
            assert [cell.verdicts[run] for cell in history.cells] == decided
            assert history.axes[0].bias[run] == task.bias
    assert (sample.strata, strata.strata) == ((), ("mmlu",))


def test_a_comparison_makes_the_claim_of_the_new_run() -> None:
    policies = replace(STRATA, strata=()), STRATA
    sample, strata = (compare_runs(_table(4), _table(3), policy) for policy in policies)
    wide, narrow = (found.tasks[0].cells[-1].change for found in (sample, strata))
    assert narrow.estimate == wide.estimate
    assert narrow.high - narrow.low < 0.9 * (wide.high - wide.low)
    for found, policy in ((sample, policies[0]), (strata, policies[1])):
        (axis,) = found.axes
        (task,) = summarize(_table(4), policy, seed=0).tasks
        assert axis.new_bias == task.bias
    assert (sample.strata, strata.strata) == ((), ("mmlu",))


def test_what_is_printed_over_runs_says_the_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says = "verdicts on mmlu hold for the clusters asked, and say nothing of others"
    for seed in (3, 4):
        info = RunFacts(policy=json.loads(json.dumps(STRATA.to_plain())))
        keep_run(_table(seed).with_info(info), tmp_path, model="tiny")
    for words in (["history"], ["compare", "1", "2"]):
        files = {name: tmp_path / f"{words[0]}.{name}" for name in ("json", "markdown", "html")}
        options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        assert main([*words, "--store", str(tmp_path), *options]) == 0
        assert says in " ".join(capsys.readouterr().out.split())
        assert says in files["markdown"].read_text()
        assert says in files["html"].read_text()
        assert json.loads(files["json"].read_text())["strata"] == ["mmlu"]


def _column(table: OutcomeTable, name: str, value: str) -> OutcomeTable:
    columns = {one: table.arrow.column(one).to_pylist() for one in table.arrow.column_names}
    return OutcomeTable.from_columns(columns | {name: [value] * len(table)})


def test_defenses_side_by_side_have_the_intervals_of_the_report() -> None:
    """Joint PB of a defense is one number with one interval, in both of its tables."""
    tables = [
        _column(_column(_column(_table(seed), "defense", defense), "task", task), "axis", axis)
        for seed, (task, axis) in enumerate((("mmlu", "utility"), ("do_not_answer", "safety")))
        for defense in ("none", "strip")
    ]
    policy = replace(STRATA, strata=("mmlu", "do_not_answer"))
    summary = summarize(concatenate(tables), policy, seed=0)
    assert [stage.joint and stage.joint.bias for stage in summary.mitigations] == [
        joint.bias for joint in summary.joint
    ]
    sampled = summarize(concatenate(tables), replace(policy, strata=()), seed=0)
    pairs = zip(sampled.mitigations, summary.mitigations, strict=True)
    for wide, narrow in pairs:
        assert wide.worst is not None
        assert narrow.worst is not None
        assert narrow.worst.difference.half_width < wide.worst.difference.half_width


def test_cues_are_compared_on_strata() -> None:
    table = _table()
    columns = {one: table.arrow.column(one).to_pylist() for one in table.arrow.column_names}
    profile = columns | {
        "cue": ["profile"] * len(table),
        "identity": [f"{name} (profile)" for name in columns["identity"]],
    }
    both = concatenate([table, OutcomeTable.from_columns(profile)])
    sampled, strata = (
        summarize(both, policy, seed=0).cues[0] for policy in (replace(STRATA, strata=()), STRATA)
    )
    for wide, narrow in zip(sampled.people, strata.people, strict=True):
        assert narrow.effects["stated"].estimate == wide.effects["stated"].estimate
    before, now = (found.people[-1].effects["profile"] for found in (sampled, strata))
    assert now.high - now.low < before.high - before.low
