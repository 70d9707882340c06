from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.gate import GatePolicy, Verdict, decide_baseline, decide_by_policy, decide_cell


def _clusters(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def _cell(n: int, right: int) -> np.ndarray:
    return (np.arange(n) < right).astype(float)


@pytest.mark.parametrize("runs", [1, 3])
def test_no_number_of_items_lifts_a_rate_of_nothing_off_the_floor(runs: int) -> None:
    for items in range(1, 1000, 7):
        verdict = decide_baseline(
            np.zeros((items, runs)), clusters=_clusters(items), alpha=0.05, floor=0.0
        )
        assert verdict.verdict is Verdict.NO_SIGNAL
    cell = decide_cell(
        np.zeros((974, runs)), np.zeros((974, runs)),
        clusters=_clusters(974), margin=5, alpha=0.05, n_cells=5, floor=0.0,
    )  # fmt: skip
    assert cell.verdict is Verdict.NO_SIGNAL


def test_baseline_against_its_floor() -> None:
    for right, expected in ((100, Verdict.NO_SIGNAL), (200, Verdict.PASS)):
        found = decide_baseline(
            _cell(400, right), clusters=_clusters(400), alpha=0.05, floor=0.25
        )  # fmt: skip
        assert found.verdict is expected


@pytest.mark.parametrize(
    ("right", "margin", "expected"),
    [
        (10, 5.0, Verdict.NO_SIGNAL),
        (50, 5.0, Verdict.NO_SIGNAL),  # all of them lost would be the margin, and not beyond it
        (60, 5.0, Verdict.PASS),
        (60, 10.0, Verdict.NO_SIGNAL),
        (900, 5.0, Verdict.PASS),
    ],
)
def test_what_cannot_fall_by_the_margin_is_no_pass(
    right: int, margin: float, expected: Verdict
) -> None:
    alike = np.zeros(1000)
    alike[np.linspace(0, 999, right + 1).astype(int)[1:]] = 1  # as many at each look
    for planned in (0, 1000):
        found = decide_by_policy(
            alike, alike, [], list, policy=GatePolicy(), clusters=_clusters(1000), margin=margin,
            n_cells=20, floor=0.0, cue="stated", planned=planned,
        )  # fmt: skip
        assert found.verdict is expected
        says = f"the baseline's rate of {right / 10:.1f} cannot fall by more than the margin"
        assert (says in found.reason) == (expected is Verdict.NO_SIGNAL)
