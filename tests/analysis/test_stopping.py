"""What a run stops at, on the default suite's own clusters."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration.suite import Setting, ask, ask_again, axis_outcomes, decide, suite
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


def test_an_axis_without_signal_stops_asking() -> None:
    """Most tasks of a small real model are at their floor, where nothing but a fail could come."""
    setting = Setting("weak", "control", changed=0.1, interaction=0.0, effect="one", points=-10)
    asked = ask(setting, np.random.default_rng(0))
    planned, schedule = asked.planned, asked.schedule
    utility = [cell for cell in asked.compared if cell.task.axis == "utility"]
    share = sum(map(schedule.asked, utility)) / sum(planned[cell.task.name] for cell in utility)
    assert share < 0.4
    for name in ("bbh", "mmlu", "gsm8k"):
        here = {schedule.reason(cell) for cell in utility if cell.task.name == name}
        assert "futile" in here
        assert "pass" not in here
    hit = next(cell for cell in asked.compared if asked.truth[cell] < 0)
    same = [cell for cell in asked.compared if cell.identity == hit.identity]
    assert "fail" in {schedule.reason(cell) for cell in same}
    axis = axis_outcomes(asked, "utility")
    assert (
        "the chance of a verdict by the end was under 5 %" in decide(asked, "utility", axis).reason
    )


def test_an_axis_beside_its_tolerance_is_asked_on() -> None:
    """PB of 3.1 of 3: nothing is known yet, and a few more rounds may tell."""
    setting = Setting("small", "control", changed=0.1, interaction=0.0, effect="ladder", points=3.1)
    asked = ask(setting, np.random.default_rng(2))
    people = [cell for cell in asked.compared if cell.identity.kind == "identity"]
    done = [cell for cell in people if asked.schedule.reason(cell) in ("pass", "futile")]
    assert done
    assert all(asked.schedule.asked(cell) >= 112 for cell in people)


@pytest.mark.parametrize("suite_name", ["weak", "small"])
def test_stops_depend_on_complete_looks_and_on_nothing_else(suite_name: str) -> None:
    """The same answers by a new rule, as a run that is taken up again: cells in another order."""
    setting = Setting(suite_name, "control", 0.1, interaction=0.0, effect="ladder", points=2.5)
    first = ask(setting, np.random.default_rng(4))
    again = ask_again(first, tuple(reversed(first.schedule.cells())))
    for cell in first.schedule.cells():
        assert again.asked(cell) == first.schedule.asked(cell)
        assert again.reason(cell) == first.schedule.reason(cell)
