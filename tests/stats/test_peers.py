from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_pbias.stats import differences_from_mean, paired_difference, personalization_bias


@settings(deadline=None)
@given(
    k=st.integers(2, 6), n=st.integers(2, 40), runs=st.integers(1, 3), seed=st.integers(0, 10**6)
)
def test_differences_are_the_residuals_behind_raw_bias(
    k: int, n: int, runs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 2, (k, n, runs)).astype(float)
    found = [result.estimate for result in differences_from_mean(table)]
    assert sum(found) == pytest.approx(0, abs=1e-9)
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(personalization_bias(table).raw)


def test_two_identities_differ_from_their_mean_by_half_their_difference() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2, (2, 80)).astype(float)
    first, second = differences_from_mean(table)
    assert first.estimate == pytest.approx(paired_difference(table[0], table[1]).estimate / 2)
    assert second.estimate == pytest.approx(-first.estimate)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_intervals_cover(clustered: bool, missing: float) -> None:
    rng = np.random.default_rng(1)
    rates = np.array([0.6, 0.7, 0.75, 0.9])
    truth = 100 * (rates - rates.mean())
    labels = np.arange(240) // 6 if clustered else None
    covered, tests = np.zeros(4), 300
    for _ in range(tests):
        shift = np.repeat(rng.normal(0, 0.05, (4, 40)), 6, axis=1) if clustered else 0.0
        table = (rng.random((4, 240)) < rates[:, None] + shift) * 1.0
        table[rng.random(table.shape) < missing] = np.nan
        for u, result in enumerate(differences_from_mean(table, clusters=labels)):
            covered[u] += result.low <= truth[u] <= result.high
    assert (covered / tests >= 0.92).all()


def test_bad_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="two identities"):
        differences_from_mean(np.ones((1, 5)))
    lonely = np.array([[1.0, np.nan], [np.nan, 1.0]])
    with pytest.raises(ValueError, match="another one answered"):
        differences_from_mean(lonely)


def test_identical_answers_leave_an_honest_width() -> None:
    for result in differences_from_mean(np.ones((3, 50))):
        assert result.low < result.estimate == 0 < result.high
        assert result.pvalue == 1
