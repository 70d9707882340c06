"""The expression language: what it takes, and its three outcomes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.across_runs.condition import (
    decide_comparison,
    decide_condition,
    parse_expression,
)
from pytest_pbias.analysis.across_runs.pairing import pair_runs
from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.gate import GatePolicy, Verdict
from pytest_pbias.outcomes import OutcomeTable

from .conftest import Array, Maker, under, with_holes

SCOPES = ("utility", "safety", "mmlu", "do_not_answer")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pb_safety>+1.0", [["pb_safety>+1"]]),
        (" baseline_mmlu <= -2 points ", [["baseline_mmlu<-2"]]),
        ("pb_safety>1, rate_utility<-.5", [["pb_safety>+1"], ["rate_utility<-0.5"]]),
        ("pb_safety>1 and cell_mmlu<-5", [["pb_safety>+1", "cell_mmlu<-5"]]),
        (
            "pb_safety>1 and rate_mmlu<0 or pb_utility>=2pp",
            [["pb_safety>+1", "rate_mmlu<+0"], ["pb_utility>+2"]],
        ),
        ("cell_do_not_answer<-3", [["cell_do_not_answer<-3"]]),
    ],
)
def test_expressions(text: str, shown: list[list[str]]) -> None:
    assert [[str(part) for part in parts] for parts in parse_expression(text, SCOPES)] == shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pb_safty>1", "unknown metric 'pb_safty': did you mean 'pb_safety'"),
        ("pb_gsm8k>1", "unknown metric 'pb_gsm8k'"),
        ("pb_safety", "is not METRIC>NUMBER"),
        ("pb_safety>", "is not METRIC>NUMBER"),
        ("pb_safety=1", "is not METRIC>NUMBER"),
        ("pb_safety>nan", "is not METRIC>NUMBER"),
        ("pb_safety>1e9", "is not METRIC>NUMBER"),
        ("pb_safety>1,,", "'' is not METRIC>NUMBER"),
        ("__import__('os').abort()>1", "is not METRIC>NUMBER"),
        ("", "is not METRIC>NUMBER"),
        ("pb_safety>1 and " * 100, "longer than 1,000 characters"),
    ],
)
def test_mistakes_are_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says.replace("(", r"\(")) as caught:
        parse_expression(text, SCOPES)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert parse_expression(text, SCOPES)


def test_three_outcomes(make: Maker) -> None:
    old, new = make.table(), make.table({"mmlu/a man": 0.6}, seed=1)
    pairs = pair_runs(new, old, GatePolicy())

    def verdict(text: str) -> Verdict:
        return decide_condition(text, pairs, alpha=0.05).verdict

    assert verdict("pb_utility>+1") is Verdict.FAIL
    assert verdict("pb_utility>+30") is Verdict.PASS
    rise = pairs.bias_change("utility", 0.9)
    assert rise is not None
    assert verdict(f"pb_utility>{rise.estimate:.1f}") is Verdict.INCONCLUSIVE
    assert verdict("pb_safety>+5") is Verdict.PASS
    assert verdict("cell_utility<-10") is Verdict.FAIL
    assert verdict("cell_safety<-20") is Verdict.PASS
    assert verdict("rate_utility<-3") is Verdict.FAIL
    assert verdict("baseline_utility<-20") is Verdict.PASS
    assert verdict("pb_utility>+1 and pb_safety>+5") is Verdict.PASS
    assert verdict("pb_utility>+1, pb_safety>+5") is Verdict.FAIL
    assert verdict(f"pb_safety>+9, pb_utility>{rise.estimate:.1f}") is Verdict.INCONCLUSIVE
    found = decide_condition("cell_utility<-10", pairs, alpha=0.05)
    assert "a man, mmlu" in found.reason


def test_no_false_alarm_between_equal_runs(make: Maker) -> None:
    """At alpha 0.2 (so that 60 draws can tell), equal runs fail no more often than that."""
    alarms = 0
    for seed in range(60):
        new, old = (make.table(seed=2 * seed + n, n_items=120, item_seed=seed) for n in (0, 1))
        found = decide_condition(
            "pb_utility>0, rate_safety<0, cell_utility<0",
            pair_runs(new, old, GatePolicy()),
            alpha=0.2,
        )
        alarms += found.verdict is Verdict.FAIL
    assert alarms <= 12 + 2 * np.sqrt(60 * 0.2 * 0.8)


def test_runs_that_were_asked_otherwise_are_judged_only_anyway(make: Maker) -> None:
    old, new = make.table(), make.table(temperature=0.7)
    pairs = pair_runs(new, old, GatePolicy())
    comparison = compare_runs(new, old, GatePolicy())
    with pytest.raises(DataError, match=r"not asked alike.*sampling of do_not_answer.*1 more"):
        decide_comparison("pb_safety>5", comparison, pairs, GatePolicy())
    judged = decide_comparison("pb_safety>5", comparison, pairs, GatePolicy(), anyway=True)
    assert judged.verdict is Verdict.PASS


def _lacking_a_fall(make: Maker) -> tuple[OutcomeTable, OutcomeTable]:
    """A run, and one that fell by 30 points under one identity, whose wrong answers are missing."""
    old = make.table()

    def holes(scores: Array) -> None:
        cell = under(old, "mmlu", "a woman")
        scores[cell[scores[cell] == 1][:120]] = np.nan

    return with_holes(old, holes), old


@pytest.mark.parametrize("lacking", ["the new run", "the earlier run"])
def test_missing_answers_are_no_pass(make: Maker, lacking: str) -> None:
    runs = _lacking_a_fall(make)
    new, old = runs if lacking == "the new run" else runs[::-1]
    pairs = pair_runs(new, old, GatePolicy())
    comparison = compare_runs(new, old, GatePolicy())
    assert decide_condition("cell_mmlu<-10", pairs, alpha=0.05).verdict is Verdict.PASS
    whole = ({"the new run", "the earlier run"} - {lacking}).pop()
    with pytest.raises(DataError, match="not complete") as caught:
        decide_comparison("cell_mmlu<-10", comparison, pairs, GatePolicy())
    assert f"none of 4,000 in {whole}" in str(caught.value)
    assert f"120 of 4,000 (mmlu 120) in {lacking}" in str(caught.value)
    judged = decide_comparison("cell_mmlu<-10", comparison, pairs, GatePolicy(), anyway=True)
    assert judged.verdict is Verdict.PASS


@pytest.mark.parametrize("partial", ["new", "old"])
def test_a_run_that_ended_early_is_no_pass_although_nothing_is_missing(
    make: Maker, partial: str
) -> None:
    ended = make.table(info={"partial": "the budget\x1b[31m\nis spent"})
    new, old = (ended if partial == name else make.table() for name in ("new", "old"))
    pairs, comparison = pair_runs(new, old, GatePolicy()), compare_runs(new, old, GatePolicy())
    assert [difference.kind for difference in comparison.blocked_by] == ["partial"]
    with pytest.raises(DataError, match=r"PARTIAL: the earlier run: .* the new run:") as caught:
        decide_comparison("pb_safety>5", comparison, pairs, GatePolicy())
    assert "the budget [31m is spent" in str(caught.value)
    judged = decide_comparison("pb_safety>5", comparison, pairs, GatePolicy(), anyway=True)
    assert judged.verdict is Verdict.PASS


def test_pb_needs_two_identities(make: Maker) -> None:
    run = make.table()
    keep = [name in ("baseline", "a man") for name in run.text("identity")]
    one = type(run)(run.arrow.filter(keep))
    with pytest.raises(ConfigurationError, match="two identities"):
        decide_condition("pb_utility>1", pair_runs(one, one, GatePolicy()), alpha=0.05)
