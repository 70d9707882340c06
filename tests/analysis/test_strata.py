"""Clusters that are all there are: verdicts speak of them alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from pytest_pbias.analysis.summary import RunSummary, decide_outcomes, summarize
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.facts import RunFacts
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.markdown import to_markdown
from pytest_pbias.reporting.terminal import render_terminal
from tests.outcomes.test_table import columns

STRATA = GatePolicy(strata=("mmlu",), reference="control")


def _table() -> OutcomeTable:
    """8 categories of 60 items; in one of them the last identity is wrong more often."""
    rng = np.random.default_rng(3)
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
