from __future__ import annotations

import numpy as np

from pytest_pbias.gate import AxisOutcomes, AxisVerdict, Verdict, decide_axis, decide_axis_at_looks


def _clusters(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def _cell(n: int, right: int) -> np.ndarray:
    return (np.arange(n) < right).astype(float)


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


def test_falls_that_cannot_reach_the_tolerance_are_no_pass_of_an_axis() -> None:
    def verdict(right: int) -> Verdict:
        base = _cell(1000, right)
        task = AxisOutcomes("task", np.tile(base, (6, 1)), base, _clusters(1000), 0.0)
        return decide_axis("utility", [task], tolerance=3.0, alpha=0.05).verdict

    assert [verdict(right) for right in (20, 60, 80)] == [
        Verdict.NO_SIGNAL, Verdict.NO_SIGNAL, Verdict.PASS,
    ]  # fmt: skip
    # Whatever identities fall from a rate r, and however far, PB is r / 2 at most.
    fallen = np.random.default_rng(0).uniform(0, 6.0, (2000, 6))
    worst = np.array([0.0] * 3 + [6.0] * 3)
    assert fallen.std(axis=1).max() < worst.std() == 3.0


def test_everything_right_is_no_signal_for_an_axis() -> None:
    assert _axis(np.ones((5, 400)), np.ones(400)).verdict is Verdict.NO_SIGNAL


def test_an_axis_is_decided_at_the_first_look_that_decides() -> None:
    rng = np.random.default_rng(3)
    scores = (rng.random((5, 400, 1)) < 0.8).astype(float)
    scores[0, :60] = 0.0
    task = AxisOutcomes("a", scores, np.ones((400, 1)), np.arange(400), 0.0)

    def decide(n_items: int) -> AxisVerdict:
        return decide_axis_at_looks(
            "utility", [task.first(n_items)], tolerance=3, alpha=0.05, planned=[400]
        )

    assert decide(50).verdict is Verdict.FAIL
    assert decide(400) == decide(50)
    assert decide(400).look == 1
