"""Better, worse, unchanged, inconclusive: and never better because everything collapsed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_pbias.analysis.across_runs.changes import Comparison, Direction
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.across_runs.condition import decide_condition
from pytest_pbias.analysis.across_runs.pairing import pair_runs
from pytest_pbias.analysis.summary import summarize
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.models.spec import ApplicationFacts
from pytest_pbias.outcomes import OutcomeTable, concatenate
from pytest_pbias.outcomes.facts import RunFacts

from .conftest import Array, Maker, under, with_holes

BIASED = {"a man": 0.6, "a woman": 0.9}


def _compare(new: OutcomeTable, old: OutcomeTable) -> Comparison:
    return compare_runs(new, old, GatePolicy())


def _axis(comparison: Comparison, axis: str) -> Any:
    return next(found for found in comparison.axes if found.axis == axis)


def test_a_run_equals_itself(make: Maker) -> None:
    run = make.table(BIASED)
    comparison = _compare(run, run)
    assert comparison.direction is Direction.UNCHANGED
    assert comparison.setup == ()
    assert comparison.left_out == ()
    for task in comparison.tasks:
        assert task.n_items == 400
        assert task.baseline.estimate == task.mean.estimate == 0
        assert all(cell.change.low < 0 < cell.change.high for cell in task.cells)
        assert all(cell.qvalue == 1 for cell in task.cells)


def test_a_rise_of_pb_is_worse(make: Maker) -> None:
    comparison = _compare(make.table({"mmlu/a man": 0.7}), make.table())
    assert comparison.direction is Direction.WORSE
    assert _axis(comparison, "utility").direction is Direction.WORSE
    assert _axis(comparison, "safety").direction is Direction.UNCHANGED
    (task,) = (task for task in comparison.tasks if task.task == "mmlu")
    moved = [cell.identity.name for cell in task.cells if cell.qvalue < 0.05]
    assert moved == ["a man"]


def test_a_fall_of_pb_is_better(make: Maker) -> None:
    comparison = _compare(make.table(seed=1), make.table(BIASED))
    assert comparison.direction is Direction.BETTER
    for axis in comparison.axes:
        assert axis.old_bias is not None
        assert axis.new_bias is not None
        assert axis.new_bias.estimate < axis.old_bias.estimate
        assert axis.bias_change is not None
        assert axis.bias_change.high < 0


@pytest.mark.parametrize("collapsed", [0.0, 0.05])
def test_a_collapsed_model_is_worse_although_pb_fell(make: Maker, collapsed: float) -> None:
    comparison = _compare(make.table(usual=collapsed, seed=1), make.table(BIASED))
    for axis in comparison.axes:
        assert axis.bias_change is not None
        assert axis.bias_change.estimate < 0
        assert axis.direction is Direction.WORSE
        assert "rates fell beyond the margin" in axis.reason
    assert comparison.direction is Direction.WORSE


def test_a_collapse_on_one_task_of_an_axis_is_seen(make: Maker) -> None:
    tasks = ("do_not_answer", "strongreject")
    gone = {f"strongreject/{name}": 0.3 for name in ("baseline", "a man", "a woman", "a nurse")}
    comparison = _compare(make.table(gone, tasks=tasks), make.table(BIASED, tasks=tasks))
    assert comparison.direction is Direction.WORSE


def test_one_identity_that_moves_away_is_worse_in_either_direction(make: Maker) -> None:
    for rate, start in ((0.6, 0.9), (0.95, 0.6)):
        comparison = _compare(
            make.table({"a nurse": rate}, usual=start), make.table({}, usual=start)
        )
        assert comparison.direction is Direction.WORSE


def test_few_items_are_inconclusive(make: Maker) -> None:
    comparison = _compare(make.table(n_items=15, seed=1), make.table(n_items=15))
    assert comparison.direction is Direction.INCONCLUSIVE


def test_items_are_matched_by_content_not_by_position(make: Maker) -> None:
    old = make.table(BIASED)
    order = np.random.default_rng(3).permutation(len(old))
    shuffled = OutcomeTable(old.arrow.take(order))
    comparison = _compare(shuffled, old)
    assert all(cell.change.estimate == 0 for task in comparison.tasks for cell in task.cells)


def test_unmatched_items_are_counted(make: Maker) -> None:
    comparison = _compare(make.table(n_items=300, first_item=100), make.table(n_items=350))
    for task in comparison.tasks:
        assert (task.n_items, task.only_new_items, task.only_old_items) == (250, 50, 100)


def test_other_data_is_refused_and_one_task_of_other_data_left_out(make: Maker) -> None:
    with pytest.raises(DataError, match="only 0 of 100 and 100 questions are in both runs"):
        pair_runs(make.table(n_items=100), make.table(n_items=100, first_item=500), GatePolicy())
    with pytest.raises(DataError, match="mmlu: not in the earlier run"):
        pair_runs(make.table(tasks=("mmlu",)), make.table(tasks=("do_not_answer",)), GatePolicy())
    comparison = _compare(make.table(tasks=("mmlu",)), make.table())
    assert comparison.left_out == ("do_not_answer: not in the new run",)


def test_identities_of_one_run_only_are_named(make: Maker) -> None:
    run = make.table()
    keep = [name != "a nurse" for name in run.text("identity")]
    comparison = _compare(run, OutcomeTable(run.arrow.filter(keep)))
    assert all(task.only_new == ("a nurse",) for task in comparison.tasks)
    assert all(task.only_old == () for task in comparison.tasks)


@pytest.mark.parametrize(
    ("change", "kind", "blocks"),
    [
        ({"temperature": 1.0}, "sampling", True),
        ({"max_tokens": 5}, "sampling", True),
        ({"judge": "another"}, "judge", True),
        ({"judge_version": "2"}, "judge", True),
        ({"prompt_hash": "another"}, "prompts", True),
        ({"data_hash": "e"}, "data", False),
        ({"info": {"protocol": "paper"}}, "protocol", True),
    ],
)
def test_what_was_asked_otherwise_is_said(
    make: Maker, change: dict[str, Any], kind: str, blocks: bool
) -> None:
    usual: dict[str, Any] = {"info": {"protocol": "default"}}
    comparison = _compare(make.table(**(usual | change)), make.table(**usual))
    assert {difference.kind for difference in comparison.setup} == {kind}
    assert bool(comparison.blocked_by) == blocks


@pytest.mark.parametrize("new_is_it", [True, False])
@pytest.mark.parametrize("how", ["stated", "handed", "both"])
def test_an_application_is_compared_with_the_model_in_it(
    make: Maker, how: Any, new_is_it: bool
) -> None:
    """What it samples with, and where it states what it was handed, is what targets differ in."""
    model = make.table(temperature=0.0, max_tokens=512)
    facts = {"application": ApplicationFacts("1", how)}
    application = make.table(prompt_hash="another", info=facts)
    runs = (application, model) if new_is_it else (model, application)
    comparison = _compare(*runs)
    blocking = {str(one.kind) for one in comparison.setup if one.blocks}
    assert blocking == (set() if how == "handed" else {"prompts"})
    (sampling, *_) = [one for one in comparison.setup if one.kind == "sampling"]
    said = (sampling.new, sampling.old) if new_is_it else (sampling.old, sampling.new)
    assert said[0] == "the application's own"
    assert "temperature 0.0" in said[1]


def test_different_repeats_compare(make: Maker) -> None:
    old = make.table()
    again = old.arrow.set_column(
        old.arrow.schema.get_field_index("repeat"), "repeat", [[1] * len(old)]
    ).cast(old.arrow.schema)
    twice = OutcomeTable(pa.concat_tables([old.arrow, again]))
    comparison = _compare(twice, old)
    assert [difference.kind for difference in comparison.setup] == ["repeats"] * 2
    assert comparison.blocked_by == ()
    assert all(task.baseline.estimate == 0 for task in comparison.tasks)


def test_missing_answers_leave_their_items_out(make: Maker) -> None:
    old = make.table()

    def holes(scores: Array) -> None:
        scores[:5] = np.nan  # the baseline's first items

    comparison = _compare(with_holes(old, holes), old)
    assert all(cell.change.estimate == 0 for task in comparison.tasks for cell in task.cells)


@pytest.mark.parametrize("which", ["new", "old"])
def test_a_task_whose_baseline_was_not_answered_is_left_out(make: Maker, which: str) -> None:
    run = make.table()

    def holes(scores: Array) -> None:
        scores[under(run, "mmlu", "baseline")] = np.nan

    runs = {"new": run, "old": run} | {which: with_holes(run, holes)}
    comparison = _compare(runs["new"], runs["old"])
    assert [task.task for task in comparison.tasks] == ["do_not_answer"]
    assert comparison.left_out == (
        "mmlu: no question was answered under the baseline in both runs",
    )
    alone = make.table(tasks=("mmlu",))

    def gone(scores: Array) -> None:
        scores[under(alone, "mmlu", "baseline")] = np.nan

    with pytest.raises(DataError, match="cannot be compared: mmlu: no question was answered"):
        _compare(with_holes(alone, gone), alone)


def test_an_identity_without_a_common_answer_is_left_out(make: Maker) -> None:
    """It was answered where its baseline was not, in either run or across the two."""
    run = make.table()

    def new(scores: Array) -> None:
        scores[under(run, "mmlu", "a man")[1:]] = np.nan
        scores[under(run, "mmlu", "baseline")[0]] = np.nan

    def old(scores: Array) -> None:
        scores[under(run, "mmlu", "a nurse")[:200]] = np.nan

    def other(scores: Array) -> None:
        new(scores)
        scores[under(run, "mmlu", "a nurse")[200:]] = np.nan

    comparison = _compare(with_holes(run, other), with_holes(run, old))
    (task,) = (task for task in comparison.tasks if task.task == "mmlu")
    assert [cell.identity.name for cell in task.cells] == ["a woman", "a person"]
    assert comparison.left_out == (
        "mmlu: a man, a nurse: no question was answered in both runs, and under the baseline",
    )


def test_a_defense_without_answers_of_its_baseline_leaves_the_report_whole(make: Maker) -> None:
    defended = make.table(defense="fair")

    def gone(scores: Array) -> None:
        for task in ("mmlu", "do_not_answer"):
            scores[under(defended, task, "baseline")] = np.nan

    both = concatenate([make.table(), with_holes(defended, gone)])
    (found,) = summarize(both, GatePolicy(), seed=0).defenses
    assert (found.defense, found.reference, found.comparison) == ("fair", "none", None)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0, 1), st.integers(1, 2))
def test_whatever_is_missing_there_is_a_comparison_or_a_reason(
    seed: int, n_items: int, share: float, n_runs: int
) -> None:
    rng = np.random.default_rng(seed)

    def holes(scores: Array) -> None:
        scores[rng.random(scores.size) < share] = np.nan

    def run() -> OutcomeTable:
        made = Maker().table(n_items=n_items, seed=seed)
        again = Maker().table(n_items=n_items, seed=seed + 1)
        number = made.arrow.schema.get_field_index("repeat")
        second = again.arrow.set_column(
            number, "repeat", pa.array([1] * len(again), pa.int32())
        ).cast(made.arrow.schema)
        both = OutcomeTable(pa.concat_tables([made.arrow, second]))
        return with_holes(both if n_runs == 2 else made, holes)

    new, old = run(), run()
    try:
        pairs = pair_runs(new, old, GatePolicy())
    except DataError:
        return
    comparison = compare_runs(new, old, GatePolicy(), pairs=pairs)
    for scope in pairs.scopes():
        decide_condition(f"rate_{scope}<-5, cell_{scope}<-5", pairs, alpha=0.05)
    assert comparison.tasks


def test_margins_of_personas_count_in_comparisons(make: Maker) -> None:
    """A fall of 3 points is within the usual margin of 5, and beyond the 1 that a persona asks."""
    old = make.table(n_items=2000, tasks=("mmlu",))

    def fall(scores: Array) -> None:
        for name in ("a man", "a woman", "a nurse"):  # alike, so that PB stays as it is
            cell = under(old, "mmlu", name)
            scores[cell[scores[cell] == 1][:60]] = 0

    new = with_holes(old, fall)
    assert _compare(new, old).direction is Direction.UNCHANGED
    strict = new.with_info(RunFacts(margins={"mmlu": {"a man": 1.0}}))
    (axis,) = _compare(strict, old).axes
    assert axis.direction is Direction.WORSE
    assert "a man moved away" in axis.reason
