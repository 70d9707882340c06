from __future__ import annotations

from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes.facts import RunFacts


def test_margins_of_tasks_override_those_of_axes() -> None:
    policy = GatePolicy(task_margin={"mbpp": 9.0})
    assert policy.margin_for("mbpp", "utility") == 9.0
    assert policy.margin_for("mmlu", "utility") == 5.0


def test_the_level_is_shared_by_the_cells_of_all_shards_and_never_by_fewer() -> None:
    assert GatePolicy(cells=40).sharing(4) == 40
    assert GatePolicy(cells=2).sharing(4) == 4
    assert GatePolicy().sharing(4) == 4
    assert GatePolicy().sharing(0) == 1
    noted = RunFacts(policy=GatePolicy(cells=40).to_plain())
    assert GatePolicy.of_run(noted).cells == 40
