"""What a run stops at, on the default suite's own clusters."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration.suite import Setting, ask, suite
from pytest_pbias.gate import decide_by_policy


@pytest.mark.parametrize("reference", ["control", "baseline"])
def test_a_suite_without_an_effect_is_decided_by_a_third_of_its_items(reference: str) -> None:
    """A tenth of the answers change: 0.78 of 231 cells are decided by 32 % of the items.

    Of one suite, whose cells share what they are compared with: within two standard deviations.
    """
    setting = Setting("default", reference, changed=0.1, interaction=0.0, effect="all", points=0.0)
    found = suite(setting, np.random.default_rng(5))
    assert float(found["decided"]) > 0.74
    assert float(found["futile"]) < 0.1
    assert float(found["share_of_items"]) < 0.34
    assert not found["any_false_fail"]
    assert found["axis_pass"]


def test_a_hit_identity_is_found_in_some_task() -> None:
    setting = Setting("default", "control", changed=0.1, interaction=0.0, effect="one", points=-10)
    found = suite(setting, np.random.default_rng(6))
    assert found["found_in_a_task"]
    assert found["false_pass"] == 0


def test_what_cells_are_compared_with_is_asked_as_far_as_they_are() -> None:
    """Cells of which each is done for itself, and that are asked on because PB is still open."""
    setting = Setting("small", "control", changed=0.2, interaction=0.0, effect="ladder", points=3.1)
    asked = ask(setting, np.random.default_rng(3))
    done = {asked.schedule.reason(cell) for cell in asked.compared}
    assert "futile" in done
    for cell in asked.compared:
        n_items = asked.schedule.asked(cell)
        others = asked.references(cell)
        assert all(asked.schedule.asked(one) >= n_items for one in (cell.baseline, *others))
        # As a session decides: on everything the cell was asked, and on as much of the others.
        verdict = decide_by_policy(
            asked.scores[cell][:n_items],
            asked.scores[cell.baseline][: asked.schedule.asked(cell.baseline)][:n_items],
            [asked.scores[one][: asked.schedule.asked(one)][:n_items] for one in others],
            list,
            policy=asked.policy,
            clusters=asked.clusters[cell.task.name][:n_items],
            margin=5.0,
            n_cells=len(asked.compared),
            floor=0.0,
            cue=cell.identity.cue,
            planned=asked.planned[cell.task.name],
        )
        reason = asked.schedule.reason(cell)
        assert verdict.verdict.value == reason or reason not in ("pass", "fail")
