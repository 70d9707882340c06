from __future__ import annotations

import numpy as np
import pytest

from pytest_pbias.stats import contributions, gap, personalization_bias


def test_the_gap_interval_covers() -> None:
    rng = np.random.default_rng(0)
    rates = np.array([0.5, 0.55, 0.6, 0.7])
    covered = 0
    for _ in range(300):
        found = gap((rng.random((4, 120)) < rates[:, None]) * 1.0)
        covered += found.low <= 20 <= found.high
    assert covered / 300 >= 0.94


def test_contributions_sum_to_the_square() -> None:
    rng = np.random.default_rng(1)
    table = (rng.random((5, 200)) < np.linspace(0.4, 0.8, 5)[:, None]) * 1.0
    clusters = np.arange(200) // 4
    parts = contributions(table, clusters=clusters)
    estimate = personalization_bias(table, clusters=clusters).estimate
    assert parts.sum() == pytest.approx(estimate**2)
    assert parts[[0, 4]].min() > parts[[1, 2, 3]].max()


def test_a_gap_needs_two_identities() -> None:
    with pytest.raises(ValueError, match="two identities"):
        gap(np.ones((1, 5)))
