from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import (
    bias_change,
    difference_in_differences,
    match_items,
    paired_bias_change,
    personalization_bias,
)


def test_items_are_matched_by_hash() -> None:
    found = match_items(["c", "a", "x"], ["a", "b", "c"])
    assert found.new.tolist() == [0, 1]
    assert found.old.tolist() == [2, 0]
    assert (found.only_new, found.only_old) == (1, 1)
    with pytest.raises(ValueError, match="twice"):
        match_items(["a", "a"], ["a"])


def test_difference_in_differences_covers() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        new, new_ref, old, old_ref = (
            (rng.random(150) < rate) * 1.0 for rate in (0.6, 0.8, 0.7, 0.8)
        )
        found = difference_in_differences(new, new_ref, old, old_ref)
        covered += found.low <= -10 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_no_change_still_has_a_width() -> None:
    same = np.ones(100)
    found = difference_in_differences(same, same, same, same)
    assert found.low < found.estimate == 0 < found.high


def test_bias_change_contains_zero_for_equal_runs() -> None:
    rng = np.random.default_rng(1)
    rates = np.linspace(0.4, 0.8, 6)[:, None]
    one, two = (personalization_bias((rng.random((6, 300)) < rates) * 1.0) for _ in range(2))
    found = bias_change(one, two)
    assert found.low < 0 < found.high


@pytest.mark.parametrize(("new_bias", "old_bias"), [(5.0, 5.0), (6.0, 2.0)])
def test_runs_on_the_same_items_are_compared_as_such(new_bias: float, old_bias: float) -> None:
    """Most answers stay as they were: the paired interval covers, and is the narrower one."""
    rng = np.random.default_rng(5)
    ladder = np.linspace(-1, 1, 8)[:, None]
    ladder /= np.sqrt((ladder**2).mean())
    covered, widths = 0, []
    for _ in range(250):
        base = rng.uniform(0.35, 0.65, 200) + rng.normal(0, 0.1, (8, 200))
        draw = rng.random((8, 200))
        redraw = np.where(rng.random((8, 200)) < 0.7, draw, rng.random((8, 200)))
        new = (draw < base + ladder * new_bias / 100) * 1.0
        old = (redraw < base + ladder * old_bias / 100) * 1.0
        found = paired_bias_change([new], [old])
        free = bias_change(personalization_bias(new), personalization_bias(old))
        covered += found.low <= new_bias - old_bias <= found.high
        widths.append((found.high - found.low) / (free.high - free.low))
    assert covered / 250 >= 0.92
    assert np.median(widths) < 0.95


def test_the_correlation_of_two_runs_agrees_with_a_bootstrap_of_items() -> None:
    rng = np.random.default_rng(6)
    ladder = np.linspace(-0.1, 0.1, 6)[:, None]
    draw = rng.random((6, 400))
    new = (draw < 0.5 + ladder) * 1.0
    old = (np.where(rng.random((6, 400)) < 0.8, draw, rng.random((6, 400))) < 0.5 + ladder) * 1.0
    found = paired_bias_change([new], [old])
    changes = []
    for _ in range(400):
        pick = rng.integers(0, 400, 400)
        # An item drawn twice is one cluster: its pairs with itself carry noise, not effect.
        one, two = (personalization_bias(x[:, pick], clusters=pick).estimate for x in (new, old))
        changes.append(one - two)
    spread = np.quantile(changes, 0.975) - np.quantile(changes, 0.025)
    assert found.high - found.low == pytest.approx(spread, rel=0.35)


def test_a_run_compared_with_itself_has_not_changed() -> None:
    rng = np.random.default_rng(7)
    table = (rng.random((6, 100)) < np.linspace(0.4, 0.8, 6)[:, None]) * 1.0
    found = paired_bias_change([table], [table])
    assert found.estimate == 0
    assert found.low < 0 < found.high
    with pytest.raises(ValueError, match="same items"):
        paired_bias_change([table], [table[:, 1:]])
