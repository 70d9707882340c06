"""When an axis is given up, and what its verdict says then."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.gate import (
    AxisOutcomes,
    Verdict,
    can_fall,
    chance_of_axis,
    chance_of_signal,
    decide_axis,
    decide_axis_at_looks,
    decide_baseline,
    is_at_ceiling,
    is_axis_futile,
)
from pytest_pbias.stats.looks import axis_looks

N = 600


def _task(rate: float, floor: float, *, seed: int = 1, bias: float = 0.0) -> AxisOutcomes:
    """Eight identities on a ladder of effects around a baseline, a tenth of the answers anew."""
    rng = np.random.default_rng(seed)
    own, anew = rng.random(N), rng.random((9, N))
    level = np.where(rng.random((9, N)) < 0.1, anew, own)
    ladder = np.append(np.linspace(-1, 1, 8), 0.0)
    rates = rate + ladder / ladder.std() * bias / 100
    scores = (level < rates[:, None]) * 1.0
    return AxisOutcomes("mmlu", scores[:-1], scores[-1], np.arange(N), floor)


def _futile(task: AxisOutcomes, n_items: int) -> bool:
    return is_axis_futile([task.first(n_items)], planned=[N], tolerance=3.0, alpha=0.05)


def test_an_axis_at_its_floor_is_given_up_and_one_above_it_is_not() -> None:
    assert _futile(_task(0.25, 0.25), 168)
    assert not _futile(_task(0.6, 0.25), 168)
    assert not _futile(_task(0.25, 0.0), 168)  # low, and its floor is lower
    assert _futile(_task(0.02, 0.0), 168)  # no identity can fall by what would be a PB of 3


def test_an_axis_at_its_floor_goes_on_where_it_may_fail() -> None:
    assert not _futile(_task(0.25, 0.25, bias=8.0), 168)


def test_nothing_is_given_up_before_75_items() -> None:
    task = _task(0.05, 0.25)
    assert not _futile(task, 74)
    assert _futile(task, 75)
    short = [task.first(20), task.first(75)]
    assert is_axis_futile(short, planned=[20, N], tolerance=3.0, alpha=0.05)  # a task of 20


def test_an_axis_beside_its_tolerance_is_given_up_when_the_rest_cannot_tell() -> None:
    task = _task(0.5, 0.0, bias=3.0, seed=3)
    early, late = (
        chance_of_axis([task.first(n)], planned=[N], tolerance=3.0, alpha=0.05) for n in (75, 560)
    )
    assert early > 0.3
    assert late < 0.05


def test_a_ceiling_goes_on_until_no_fault_is_to_be_expected() -> None:
    perfect = AxisOutcomes("gsm8k", np.ones((8, N)), np.ones(N), np.arange(N), 0.0)
    assert is_at_ceiling(perfect)
    assert not _futile(perfect, 112)
    assert _futile(perfect, 590)
    assert not is_at_ceiling(_task(0.9, 0.0))


@pytest.mark.parametrize("rate", [0.02, 0.055, 0.25, 0.3, 0.32, 0.9])
@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_when_everything_was_asked_the_chances_are_what_the_gate_says(
    rate: float, floor: float
) -> None:
    task = _task(rate, floor)
    signal = chance_of_signal(
        task.baseline, clusters=task.clusters, points=6.0, alpha=0.05, floor=floor, of_items=N
    )
    clear = decide_baseline(task.baseline, clusters=task.clusters, alpha=0.05, floor=floor)
    assert signal == float(clear.verdict is Verdict.PASS and can_fall(task.baseline, 6.0))
    chance = chance_of_axis([task], planned=[N], tolerance=3.0, alpha=0.05)
    verdict = decide_axis("utility", [task], tolerance=3.0, alpha=0.05).verdict
    assert chance == float(verdict in (Verdict.PASS, Verdict.FAIL))


def test_a_margin_that_tolerates_anything_needs_no_room_for_a_fall() -> None:
    chance = chance_of_signal(
        np.full(100, 0.5), clusters=np.arange(100), points=100.0, alpha=0.05, floor=0.0, of_items=N
    )
    assert chance == pytest.approx(1.0)


def test_the_verdict_of_an_axis_that_was_given_up_says_so() -> None:
    task = _task(0.25, 0.25)
    look = next(one for one in axis_looks([N], tolerance=3.0) if _futile(task, one.items[0]))
    stopped = decide_axis_at_looks(
        "utility", [task.first(look.items[0])], tolerance=3.0, alpha=0.05, planned=[N]
    )
    assert stopped.verdict in (Verdict.INCONCLUSIVE, Verdict.NO_SIGNAL)
    assert "stopped: the chance of a verdict by the end was under 5 %" in stopped.reason
    whole = decide_axis_at_looks("utility", [task], tolerance=3.0, alpha=0.05, planned=[N])
    assert "stopped" not in whole.reason
    clear = _task(0.6, 0.25)  # its budget ended, and a verdict was within reach
    cut = decide_axis_at_looks("utility", [clear.first(75)], tolerance=3.0, alpha=0.05, planned=[N])
    assert cut.verdict is Verdict.INCONCLUSIVE
    assert "stopped" not in cut.reason
