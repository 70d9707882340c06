from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import (
    design_effect,
    minimum_detectable_effect,
    paired_difference,
    plan_power,
    required_items,
)


def test_plan_holds_in_simulation() -> None:
    plan = plan_power(
        baseline_rate=70, n_identities=1, margin=5, power=0.8, discordance=0.2
    )  # fmt: skip
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(300):
        change = rng.choice([-1, 0, 1], size=plan.to_pass, p=[0.1, 0.8, 0.1])
        cell, reference = (change > 0) * 1.0, (change < 0) * 1.0
        found = paired_difference(cell, reference)
        passed += found.low > -5 and found.high < 5
    assert 0.72 <= passed / 300 <= 0.9


def test_more_cells_and_smaller_margins_need_more() -> None:
    few = plan_power(baseline_rate=80, n_identities=31, margin=5)
    assert plan_power(baseline_rate=80, n_identities=31, margin=5, n_tasks=4).to_pass > few.to_pass
    assert plan_power(baseline_rate=80, n_identities=31, margin=3).to_fail > few.to_fail


def test_a_plan_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="not beyond"):
        plan_power(baseline_rate=80, n_identities=3, margin=5, effect=4)
    with pytest.raises(ValueError, match="need"):
        plan_power(baseline_rate=180, n_identities=3, margin=5)


def test_required_items_settle_the_same_discordance() -> None:
    change = np.repeat([1.0, -1.0, 0.0], [4, 6, 90])
    cell, reference = (change > 0) * 1.0, (change < 0) * 1.0
    needed = required_items(paired_difference(cell, reference), margin=5.0)
    assert needed is not None
    times = -(-needed // 100)
    found = paired_difference(np.tile(cell, times), np.tile(reference, times))
    assert found.low > -5
    assert found.high < 5
    assert required_items(found, margin=5.0) == found.n_items


def test_detectable_effect_shrinks_with_items() -> None:
    change = np.repeat([1.0, -1.0, 0.0], [4, 4, 92])
    cell, reference = (change > 0) * 1.0, (change < 0) * 1.0
    small = minimum_detectable_effect(cell, reference)
    assert minimum_detectable_effect(np.tile(cell, 9), np.tile(reference, 9)) < small / 2


def test_design_effect_of_equal_clusters() -> None:
    assert design_effect(["a"] * 5 + ["b"] * 5, 0.1) == pytest.approx(1.4)
