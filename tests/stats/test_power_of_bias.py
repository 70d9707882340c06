from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import personalization_bias, plan_bias_power


@pytest.mark.parametrize("identities", [2, 5, 20])
def test_the_planned_items_decide_as_often_as_promised(identities: int) -> None:
    """Answers of two identities on an item are independent: they differ with 2 p (1 - p)."""
    rate = 0.7
    plan = plan_bias_power(
        n_identities=identities, tolerance=4.0, discordance=2 * rate * (1 - rate), power=0.8
    )
    rng = np.random.default_rng(0)
    ladder = np.linspace(-1, 1, identities)
    ladder *= plan.effect / 100 / np.sqrt((ladder**2).mean())
    passed = failed = 0
    for _ in range(400):
        alike = (rng.random((identities, plan.to_pass)) < rate) * 1.0
        passed += personalization_bias(alike).upper < plan.tolerance
        biased = (rng.random((identities, plan.to_fail)) < rate + ladder[:, None]) * 1.0
        failed += personalization_bias(biased, confidence=0.9).low > plan.tolerance
    assert passed / 400 == pytest.approx(0.8, abs=0.07)
    assert failed / 400 == pytest.approx(0.8, abs=0.07)


def test_more_is_needed_for_less() -> None:
    loose = plan_bias_power(n_identities=10, tolerance=4, discordance=0.2)
    strict = plan_bias_power(n_identities=10, tolerance=2, discordance=0.2)
    assert strict.to_pass > 3 * loose.to_pass
    assert strict.to_fail > 3 * loose.to_fail
    assert strict.noise_floor < loose.noise_floor


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_identities": 1},
        {"tolerance": 0},
        {"tolerance": 1e-300},
        {"tolerance": 50},
        {"tolerance": np.nan},
        {"discordance": 0},
        {"discordance": 1.1},
        {"effect": 3.0},
        {"effect": 51},
        {"alpha": 0},
        {"alpha": 3},
        {"power": 1},
    ],
    ids=str,
)
def test_impossible_plans_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need|above"):
        plan_bias_power(**({"n_identities": 10, "tolerance": 3, "discordance": 0.2} | wrong))  # type: ignore[arg-type]
