from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multitest import multipletests

from pytest_pbias.stats import (
    benjamini_hochberg,
    holm,
    items_to_settle,
    omnibus_permutation,
    unparsable_difference,
)

PVALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_nothing_to_adjust_is_no_error() -> None:
    assert holm([]).size == benjamini_hochberg([]).size == 0


@given(PVALUES)
def test_holm_steps_down(pvalues: list[float]) -> None:
    expected = dict.fromkeys(range(len(pvalues)), 0.0)
    reached = 0.0
    for left, i in zip(range(len(pvalues), 0, -1), np.argsort(pvalues), strict=True):
        reached = max(reached, min(1.0, left * pvalues[i]))
        expected[int(i)] = reached
    np.testing.assert_allclose(holm(pvalues), list(expected.values()), atol=1e-12)


@given(PVALUES)
def test_benjamini_hochberg_is_statsmodels(pvalues: list[float]) -> None:
    expected = multipletests(pvalues, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(pvalues), expected, atol=1e-12)


def test_permutation_and_cochran_agree() -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        table = (rng.random((8, 200)) < 0.6).astype(float)
        permutation = omnibus_permutation(table, rng=rng, n_permutations=4000).pvalue
        assert permutation == pytest.approx(cochrans_q(table.T.astype(int)).pvalue, abs=0.05)


def test_permutation_keeps_its_level_and_is_seeded() -> None:
    rng = np.random.default_rng(3)
    pvalues = [
        omnibus_permutation(
            (rng.random((6, 40)) < 0.7).astype(float), rng=rng, n_permutations=199
        ).pvalue
        for _ in range(600)
    ]
    assert np.mean(np.array(pvalues) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    table = (rng.random((6, 40)) < 0.7).astype(float)
    again = [omnibus_permutation(table, rng=np.random.default_rng(1)).pvalue for _ in range(2)]
    assert again[0] == again[1]


def test_no_difference_at_all_has_p_one() -> None:
    assert omnibus_permutation(np.ones((4, 9)), rng=np.random.default_rng(0)).pvalue == 1.0


def test_items_to_settle_shrinks_the_interval_inside_the_distance() -> None:
    needed = items_to_settle(half_width=6.0, distance=3.0, n_items=100)
    assert needed == 400
    assert items_to_settle(half_width=6.0, distance=0.0, n_items=100) is None


def test_small_tables_are_enumerated() -> None:
    table = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=float)
    columns = [column for column in (table - table.mean(axis=0)).T if np.ptp(column) > 0]
    sums = np.array(
        [np.sum(a, axis=0) for a in itertools.product(*map(itertools.permutations, columns))]
    )
    statistics = (sums**2).sum(axis=1)
    observed = (np.sum(columns, axis=0) ** 2).sum()
    found = omnibus_permutation(table, rng=np.random.default_rng(0))
    assert found.exact
    assert found.pvalue == pytest.approx((statistics >= observed - 1e-9).mean())


def test_rotations_of_large_tables_agree_with_cochran() -> None:
    rng = np.random.default_rng(4)
    for _ in range(4):
        table = (rng.random((20, 1500)) < 0.6).astype(float)
        found = omnibus_permutation(table, rng=rng, n_permutations=3000).pvalue
        assert found == pytest.approx(cochrans_q(table.T.astype(int)).pvalue, abs=0.12)


def _unreadable(rates: list[float], items: int, seed: int) -> np.ndarray:
    """Unparsable or not, where items are hard for all alike."""
    rng = np.random.default_rng(seed)
    hard = rng.random((1, items)) < 0.3
    draw = rng.random((len(rates), items))
    return np.where(hard, draw < 3 * np.asarray(rates)[:, None], 0.0).astype(float)


def test_false_alarms_of_unreadable_answers_keep_the_level() -> None:
    pvalues = [
        unparsable_difference(
            _unreadable([0.1] * 6, 120, seed), rng=np.random.default_rng(seed), n_permutations=199
        ).pvalue
        for seed in range(400)
    ]
    # Binomial(400, 0.05) is above 33 in 0.1 % of cases.
    assert sum(value <= 0.05 for value in pvalues) <= 33


def test_an_identity_that_cannot_be_read_more_often_is_found() -> None:
    table = _unreadable([0.05, 0.05, 0.05, 0.2, 0.05], 300, 3)
    result = unparsable_difference(table, rng=np.random.default_rng(0))
    assert result.worst == 3
    assert result.pvalue <= 0.001
    np.testing.assert_allclose(result.rates, 100 * table.mean(axis=1))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_unreadable_answers_are_near_cochrans_q_where_single(seed: int) -> None:
    table = _unreadable([0.1, 0.1, 0.14, 0.1], 200, seed)
    exact = unparsable_difference(table, rng=np.random.default_rng(seed), n_permutations=4999)
    assert exact.pvalue == pytest.approx(cochrans_q(table.T.astype(int)).pvalue, abs=0.08)


def test_missing_answers_are_left_out_and_nothing_unreadable_is_no_finding() -> None:
    table = np.zeros((3, 40))
    assert unparsable_difference(table, rng=np.random.default_rng(0)).pvalue == 1.0
    table[0, :8] = 1.0
    table[1, 20:] = np.nan
    result = unparsable_difference(table, rng=np.random.default_rng(0))
    assert result.rates == (20.0, 0.0, 0.0)
    assert result.pvalue < 0.05
    table[2] = np.nan
    with pytest.raises(ValueError, match="at least one answer"):
        unparsable_difference(table, rng=np.random.default_rng(0))
