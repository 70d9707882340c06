from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest
import scipy.stats as sps

from pytest_pbias.gate import (
    AxisOutcomes,
    GatePolicy,
    Verdict,
    decide_axis,
    decide_baseline,
    decide_by_policy,
    decide_cell,
)
from pytest_pbias.stats.looks import AxisLook, Look, axis_looks, cell_looks

L = TypeVar("L", Look, AxisLook)


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


def _cell_at(look: Look, right: int) -> Verdict:
    alike = _cell(look.items, right)
    return decide_cell(
        alike, alike, clusters=_clusters(look.items), margin=5, alpha=0.05, n_cells=231,
        floor=0.25, look=look,
    ).verdict  # fmt: skip


def _axis_at(look: AxisLook, right: int) -> Verdict:
    (items,) = look.items
    alike = _cell(items, right)
    task = AxisOutcomes("t", np.stack([alike, alike]), alike, _clusters(items), 0.25)
    return decide_axis("utility", [task], tolerance=3, alpha=0.05, look=look).verdict


def _ever_passes(looks: Sequence[L], verdict: Callable[[L, int], Verdict], rate: float) -> float:
    """Chance that answers right at ``rate``, the same for all, pass at some look: exactly."""
    mass, done, found = np.ones(1), 0, 0.0
    for look in looks:
        items = look.items if isinstance(look.items, int) else look.items[0]
        more = items - done
        mass = np.convolve(mass, sps.binom.pmf(np.arange(more + 1), more, rate))
        done = items
        if look.pass_level is not None:
            least = bisect_left(
                range(items), True, key=lambda right: verdict(look, right) is Verdict.PASS
            )
            found += float(mass[least:].sum())
            mass[least:] = 0.0
    return found


@pytest.mark.parametrize("items", [285, 939, 6511])
def test_looking_often_lifts_nobody_off_the_floor(items: int) -> None:
    """At the plain level it would be 0.040, 0.076 and 0.117 of cells, 0.059 to 0.113 of axes."""
    cells = cell_looks(items, margin=5, n_cells=231)
    axes = axis_looks([items], tolerance=3)
    assert 0.02 < _ever_passes(cells, _cell_at, 0.25) <= 0.030  # nominal: 0.025, by Wilson's limit
    assert 0.02 < _ever_passes(axes, _axis_at, 0.25) <= 0.033
    assert _ever_passes(cells, _cell_at, 0.20) < 3e-4
    assert _ever_passes(cells, _cell_at, 0.35) > 0.9
