from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        found = paired_difference(cell, reference, confidence=0.9)
        passed += found.low > -5 and found.high < 5
    assert 0.72 <= passed / 300 <= 0.9


def test_more_cells_and_smaller_margins_need_more() -> None:
    few = plan_power(baseline_rate=80, n_identities=31, margin=5)
    many = plan_power(baseline_rate=80, n_identities=31, margin=5, n_tasks=4)
    assert many.to_fail > few.to_fail
    assert many.to_pass == few.to_pass  # a pass is at the plain level
    strict = plan_power(baseline_rate=80, n_identities=31, margin=3)
    assert strict.to_fail > few.to_fail
    assert strict.to_pass > few.to_pass


def test_a_plan_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="not beyond"):
        plan_power(baseline_rate=80, n_identities=3, margin=5, effect=4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline_rate": 180},
        {"baseline_rate": np.nan},
        {"margin": 0},
        {"margin": 1e-300},
        {"margin": 101},
        {"margin": 100},
        {"effect": 101},
        {"effect": -300},
        {"effect": np.nan},
        {"discordance": -0.1},
        {"discordance": 5},
        {"alpha": 0},
        {"alpha": 1e-300},
        {"alpha": 3},
        {"power": 1},
        {"n_identities": 0},
        {"n_tasks": 10**400},
    ],
    ids=str,
)
def test_a_figure_out_of_range_is_one_line(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need|effect") as caught:
        plan_power(**({"baseline_rate": 80, "n_identities": 3, "margin": 5} | wrong))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@given(
    baseline_rate=st.floats(0, 100),
    margin=st.floats(0.1, 90),
    beyond=st.none() | st.floats(0.5, 10),
    discordance=st.none() | st.floats(0, 1),
    alpha=st.floats(1e-9, 0.999),
    power=st.floats(0.001, 0.999),
)
def test_a_plan_has_items_to_ask(margin: float, beyond: float | None, **given: float) -> None:
    effect = None if beyond is None else -margin - beyond
    plan = plan_power(n_identities=3, margin=margin, effect=effect, **given)  # type: ignore[arg-type]
    assert plan.to_pass >= 1
    assert plan.to_fail >= 1
    assert margin < abs(plan.effect) <= 100


@pytest.mark.parametrize("margin", [5, 40, 60, 80])
def test_answers_that_all_change_fail_at_the_planned_items(margin: float) -> None:
    plan = plan_power(baseline_rate=100, n_identities=3, margin=margin, effect=-100)
    found = paired_difference(
        np.zeros(plan.to_fail), np.ones(plan.to_fail), confidence=1 - plan.alpha / plan.n_cells
    )
    assert found.high <= -margin + 1e-6


@pytest.mark.parametrize("margin", [1, 5, 40])
def test_answers_that_do_not_change_pass_at_the_planned_items(margin: float) -> None:
    plan = plan_power(baseline_rate=90, n_identities=3, margin=margin, discordance=0)
    for items, passes in ((plan.to_pass + 1, True), (plan.to_pass - 1, False)):
        found = paired_difference(np.ones(items), np.ones(items), confidence=0.9)
        assert (found.high < margin) == passes


def test_a_level_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="need 1e-9 <= alpha < 1"):
        minimum_detectable_effect([1.0, 0.0], [0.0, 1.0], alpha=3)


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
