from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import (
    bias_change,
    difference_in_differences,
    match_items,
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
