from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import cochrans_q

from pytest_pbias.stats import unparsable_difference


def _table(rates: list[float], items: int, seed: int) -> np.ndarray:
    """Unparsable or not, where items are hard for all alike."""
    rng = np.random.default_rng(seed)
    hard = rng.random((1, items)) < 0.3
    draw = rng.random((len(rates), items))
    return np.where(hard, draw < 3 * np.asarray(rates)[:, None], 0.0).astype(float)


def test_false_alarms_keep_the_level() -> None:
    pvalues = [
        unparsable_difference(
            _table([0.1] * 6, 120, seed), rng=np.random.default_rng(seed), n_permutations=199
        ).pvalue
        for seed in range(400)
    ]
    # Binomial(400, 0.05) is above 33 in 0.1 % of cases.
    assert sum(value <= 0.05 for value in pvalues) <= 33


def test_an_identity_that_cannot_be_read_more_often_is_found() -> None:
    table = _table([0.05, 0.05, 0.05, 0.2, 0.05], 300, 3)
    result = unparsable_difference(table, rng=np.random.default_rng(0))
    assert result.worst == 3
    assert result.pvalue <= 0.001
    np.testing.assert_allclose(result.rates, 100 * table.mean(axis=1))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_it_is_near_cochrans_q_on_single_binary_answers(seed: int) -> None:
    table = _table([0.1, 0.1, 0.14, 0.1], 200, seed)
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
