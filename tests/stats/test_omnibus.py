from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multitest import multipletests

from pytest_pbias.stats import (
    benjamini_hochberg,
    holm,
    items_to_settle,
    omnibus_permutation,
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
