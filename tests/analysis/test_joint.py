"""Joint PB and the axes as released, against brute force over the vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.joint import joint_tasks
from pytest_pbias.analysis.summary import RunSummary, summarize
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting import render_terminal, to_markdown
from pytest_pbias.reporting.comparison import comparison_json
from pytest_pbias.reporting.json_report import to_json
from pytest_pbias.reporting.markdown import comparison_markdown
from pytest_pbias.reporting.terminal import comparison_terminal
from tests.analysis.conftest import NAMES, Maker, under, with_holes

RATES = {"a man": 0.9, "a woman": 0.7, "a nurse": 0.8, "baseline": 0.95, "mmlu/a nurse": 0.4}
PEOPLE = ("a man", "a woman", "a nurse")


def rates_of(table: OutcomeTable, task: str) -> dict[str, float]:
    """Percent, row by row."""
    scores = table.text("score")
    return {
        name: 100 * sum(float(str(scores[row])) for row in rows) / len(rows)
        for name in NAMES
        if len(rows := under(table, task, name).tolist())
    }


def spread(vectors: list[list[float]]) -> float:
    """Root mean square distance from the mean vector: equation 1 of the paper, spelled out."""
    n = len(vectors)
    mean = [sum(vector[axis] for vector in vectors) / n for axis in range(len(vectors[0]))]
    squares = [sum((a - b) ** 2 for a, b in zip(v, mean, strict=True)) for v in vectors]
    return math.sqrt(sum(squares) / n)


def summary_of(table: OutcomeTable, **policy: Any) -> RunSummary:
    return summarize(table, GatePolicy(**policy), seed=0)


def test_the_joint_score_is_the_papers_and_leaves_the_baseline_out(make: Maker) -> None:
    table = make.table(RATES)
    (joint,) = summary_of(table).joint
    assert joint.tasks == ("do_not_answer", "mmlu")
    assert joint.bias is not None
    safety, utility = rates_of(table, "do_not_answer"), rates_of(table, "mmlu")
    assert joint.bias.raw == pytest.approx(
        spread([[safety[name], utility[name]] for name in PEOPLE])
    )
    assert joint.bias.n_identities == 3
    # Controls and the baseline are no points of it; of the released axes the baseline is one.
    for one, rates in zip(joint.axes, (safety, utility), strict=True):
        assert one.bias.raw == pytest.approx(spread([[rates[name]] for name in PEOPLE]))
        assert one.released == pytest.approx(
            spread([[rates[name]] for name in ("baseline", *PEOPLE)])
        )
        assert one.mean_rate == pytest.approx(sum(rates[name] for name in PEOPLE) / 3)
    assert joint.bias.raw**2 == pytest.approx(sum(one.bias.raw**2 for one in joint.axes))


def test_the_debiased_square_is_the_mean_product_of_pairs_of_items(make: Maker) -> None:
    table = make.table(RATES, n_items=30)
    (joint,) = summary_of(table).joint
    assert joint.bias is not None
    total = 0.0
    for task in joint.tasks:
        rows = [[float(str(table.text("score")[n])) for n in under(table, task, name).tolist()]
                for name in PEOPLE]  # fmt: skip
        for u in range(3):
            left = [rows[u][i] - sum(row[i] for row in rows) / 3 for i in range(30)]
            total += sum(
                left[i] * left[j] for i in range(30) for j in range(30) if i != j
            ) / (30 * 29)  # fmt: skip
    assert joint.bias.estimate == pytest.approx(100 * math.sqrt(max(0.0, total / 3)))


def test_a_model_without_bias_scores_its_noise_floor(make: Maker) -> None:
    found = [summary_of(make.table(seed=seed, n_items=200)).joint[0].bias for seed in range(40)]
    raw = np.mean([one.raw**2 for one in found if one is not None])
    floor = np.mean([one.noise_floor**2 for one in found if one is not None])
    assert raw == pytest.approx(floor, rel=0.25)
    assert sum(one.low > 0 for one in found if one is not None) <= 4  # 2.5 % of 40, and room


def test_other_tasks_on_request_and_why_there_is_none(make: Maker) -> None:
    axes = {"mmlu": "utility", "do_not_answer": "safety", "gsm8k": "utility", "xs": "safety"}
    assert joint_tasks(axes) == (("do_not_answer", "mmlu"), "")
    assert joint_tasks(axes, ["gsm8k", "xs", "mmlu"]) == (("xs", "gsm8k", "mmlu"), "")
    assert joint_tasks({"gsm8k": "utility", "xs": "safety"}) == (("xs", "gsm8k"), "")
    assert joint_tasks({"gsm8k": "utility"}) == ((), "")
    assert joint_tasks(axes, ["gsm8k"]) == ((), "it takes tasks of both axes, safety and utility")
    assert joint_tasks(axes, ["bbh", "mmlu"]) == ((), "not asked: bbh")
    (joint,) = summary_of(make.table(), joint=("mmlu", "bbh")).joint
    assert joint.bias is None
    assert joint.problem == "not asked: bbh"
    assert summary_of(make.table(tasks=("mmlu",))).joint == ()


def test_missing_answers_are_no_joint_score(make: Maker) -> None:
    table = make.table(n_items=40)
    row = int(under(table, "mmlu", "a man")[3])

    def hole(scores: Any) -> None:
        scores[row] = np.nan

    (joint,) = summary_of(with_holes(table, hole)).joint
    assert joint.bias is None
    assert "missing" in joint.problem
    assert "mmlu" in joint.problem
    lines = "\n".join(text for text, _ in render_terminal(summary_of(with_holes(table, hole))))
    assert "joint PB: answers are missing" in " ".join(lines.split())


def test_every_format_shows_it(make: Maker) -> None:
    summary = summary_of(make.table(RATES))
    (joint,) = summary.joint
    assert joint.bias is not None
    assert joint.axes[0].released is not None
    terminal = "\n".join(text for text, _ in render_terminal(summary))
    for text in (terminal, to_markdown(summary)):
        assert f"{joint.bias.raw:.1f}" in text
        assert f"{joint.axes[0].released:.1f}" in text
        assert "as released" in text
        assert "one more identity" in " ".join(text.split())
    plain = to_json(summary)["statistics"]["joint"][0]
    assert plain["bias"]["raw"] == pytest.approx(joint.bias.raw, abs=1e-5)
    assert [one["axis"] for one in plain["axes"]] == ["safety", "utility"]


def test_the_comparison_has_it_too(make: Maker) -> None:
    old, new = make.table(RATES), make.table(RATES | {"mmlu/a nurse": 0.8}, seed=1)
    found = compare_runs(new, old, GatePolicy())
    assert found.joint is not None
    before, after = (summary_of(table).joint[0].bias for table in (old, new))
    assert before is not None
    assert after is not None
    assert found.joint.old_bias == before
    assert found.joint.new_bias == after
    change = found.joint.bias_change
    assert change.estimate == pytest.approx(after.estimate - before.estimate)
    assert change.high < 0
    terminal = "\n".join(text for text, _ in comparison_terminal(found))
    assert "joint PB of do_not_answer + mmlu" in terminal
    assert f"{change.estimate:+.1f}" in comparison_markdown(found)
    assert comparison_json(found)["joint"]["tasks"] == ["do_not_answer", "mmlu"]
