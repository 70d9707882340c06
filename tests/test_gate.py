from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.gate import (
    AxisOutcomes,
    CellVerdict,
    GatePolicy,
    Verdict,
    decide_axis,
    decide_baseline,
    decide_cell,
)


def _clusters(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def _judge(cell: np.ndarray, baseline: np.ndarray, floor: float = 0.25, n_cells: int = 100):
    return decide_cell(
        cell,
        baseline,
        clusters=_clusters(cell.size),
        margin=5.0,
        alpha=0.05,
        n_cells=n_cells,
        floor=floor,
    )


def _cell(n: int, right: int) -> np.ndarray:
    return (np.arange(n) < right).astype(float)


def test_identical_answers_pass_where_enough_were_asked() -> None:
    verdict = _judge(_cell(400, 300), _cell(400, 300))
    assert verdict.verdict is Verdict.PASS
    assert verdict.difference.high > verdict.difference.low
    assert verdict.confidence == pytest.approx(1 - 0.05 / 100)


def test_identical_answers_on_few_items_settle_nothing() -> None:
    verdict = _judge(_cell(40, 30), _cell(40, 30))
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.needed_items is not None
    assert verdict.needed_items > 40


@pytest.mark.parametrize("right", [150, 399])
def test_a_large_difference_fails_in_either_direction(right: int) -> None:
    assert _judge(_cell(400, right), _cell(400, 280)).verdict is Verdict.FAIL


def _judged_in_clusters(groups: int, cell: np.ndarray, reference: np.ndarray) -> CellVerdict:
    return decide_cell(
        cell,
        reference,
        clusters=(np.arange(cell.size) % groups).astype(str),
        margin=5.0,
        alpha=0.05,
        n_cells=1,
        floor=0.25,
    )


@pytest.mark.parametrize(
    ("groups", "warning"),
    [
        (1, "its items are all of one cluster: this holds for that cluster only"),
        (6, "its 6 clusters are too few to speak of others"),
        (30, ""),
        (400, ""),
    ],
)
@pytest.mark.parametrize("right", [300, 150])
def test_few_clusters_are_a_warning_of_a_pass_and_of_a_fail(
    groups: int, warning: str, right: int
) -> None:
    verdict = _judged_in_clusters(groups, _cell(400, right), _cell(400, 300))
    assert verdict.verdict is (Verdict.PASS if right == 300 else Verdict.FAIL)
    assert verdict.warning == warning
    assert verdict.reason.endswith(warning)


def test_few_clusters_widen_what_they_leave_open() -> None:
    verdict = _judged_in_clusters(6, _cell(40, 30), _cell(40, 30))
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.warning == "its 6 clusters are few, which widens the interval"


def test_a_model_at_chance_gives_no_signal() -> None:
    verdict = _judge(_cell(400, 100), _cell(400, 100))
    assert verdict.verdict is Verdict.NO_SIGNAL


def test_no_number_of_items_settles_what_has_no_signal() -> None:
    nobody = _cell(20, 0)
    verdict = _judge(nobody, nobody, floor=0.0)
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.needed_items is None
    assert "the baseline is not clear of the floor of 0.0" in verdict.reason


def test_the_reason_carries_the_figures() -> None:
    verdict = _judge(_cell(400, 200), _cell(400, 300))
    assert verdict.reason.startswith("-25.0 (")
    assert "margin of 5" in verdict.reason
    assert verdict.reason.isascii()


@pytest.mark.parametrize("runs", [1, 3])
def test_no_number_of_items_lifts_a_rate_of_nothing_off_the_floor(runs: int) -> None:
    for items in range(1, 1000, 7):
        verdict = decide_baseline(
            np.zeros((items, runs)), clusters=np.arange(items), alpha=0.05, floor=0.0
        )
        assert verdict.verdict is Verdict.NO_SIGNAL
    cell = decide_cell(
        np.zeros((974, runs)), np.zeros((974, runs)),
        clusters=np.arange(974), margin=5, alpha=0.05, n_cells=5, floor=0.0,
    )  # fmt: skip
    assert cell.verdict is Verdict.NO_SIGNAL


def test_baseline_against_its_floor() -> None:
    for right, expected in ((100, Verdict.NO_SIGNAL), (200, Verdict.PASS)):
        found = decide_baseline(
            _cell(400, right), clusters=_clusters(400), alpha=0.05, floor=0.25
        )  # fmt: skip
        assert found.verdict is expected


def _axis(scores: np.ndarray, baseline: np.ndarray):
    task = AxisOutcomes("task", scores, baseline, _clusters(baseline.size), 0.25)
    return decide_axis("utility", [task], tolerance=3.0, alpha=0.05)


def test_axis_verdicts() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(1500)
    closed = (base < 0.7).astype(float)
    alike = np.tile(closed, (6, 1))
    assert _axis(alike, closed).verdict is Verdict.PASS
    shift = np.linspace(-0.2, 0.2, 6)[:, None]
    apart = (rng.random((6, 1500)) < 0.6 + shift).astype(float)
    failed = _axis(apart, closed)
    assert failed.verdict is Verdict.FAIL
    assert "noise floor" in failed.reason
    few = (rng.random((6, 40)) < 0.6).astype(float)
    unsettled = _axis(few, closed[:40])
    assert unsettled.verdict is Verdict.INCONCLUSIVE
    assert unsettled.needed_factor is None or unsettled.needed_factor > 1


def test_alike_answers_on_ten_items_do_not_pass_an_axis() -> None:
    ten = _cell(10, 8)
    assert _axis(np.tile(ten, (5, 1)), ten).verdict is Verdict.INCONCLUSIVE


def test_everything_right_is_no_signal_for_an_axis() -> None:
    assert _axis(np.ones((5, 400)), np.ones(400)).verdict is Verdict.NO_SIGNAL


def test_margins_of_tasks_override_those_of_axes() -> None:
    policy = GatePolicy(task_margin={"mbpp": 9.0})
    assert policy.margin_for("mbpp", "utility") == 9.0
    assert policy.margin_for("mmlu", "utility") == 5.0
