"""Better, worse, unchanged, inconclusive: and never better because everything collapsed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.comparing import Comparison, Direction, compare_runs, pair_runs

from .conftest import Maker

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
        pair_runs(make.table(n_items=100), make.table(n_items=100, first_item=500))
    with pytest.raises(DataError, match="mmlu: not in the earlier run"):
        pair_runs(make.table(tasks=("mmlu",)), make.table(tasks=("do_not_answer",)))
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
    usual = {"info": {"protocol": "default"}}
    comparison = _compare(make.table(**(usual | change)), make.table(**usual))
    assert {difference.kind for difference in comparison.setup} == {kind}
    assert bool(comparison.blocked_by) == blocks


def test_different_repetitions_compare(make: Maker) -> None:
    old = make.table()
    again = old.arrow.set_column(
        old.arrow.schema.get_field_index("run"), "run", [[1] * len(old)]
    ).cast(old.arrow.schema)
    import pyarrow as pa

    twice = OutcomeTable(pa.concat_tables([old.arrow, again]))
    comparison = _compare(twice, old)
    assert [difference.kind for difference in comparison.setup] == ["repetitions"] * 2
    assert comparison.blocked_by == ()
    assert all(task.baseline.estimate == 0 for task in comparison.tasks)


def test_missing_answers_leave_their_items_out(make: Maker) -> None:
    old = make.table()
    scores = np.array(old.arrow["score"].to_pylist())
    scores[:5] = np.nan  # the baseline's first items
    import pyarrow as pa

    index = old.arrow.schema.get_field_index("score")
    holes = old.arrow.set_column(index, "score", pa.array(scores, from_pandas=True))
    comparison = _compare(OutcomeTable(holes), old)
    assert all(cell.change.estimate == 0 for task in comparison.tasks for cell in task.cells)
