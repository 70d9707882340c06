from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from pytest_pbias.stats import rate, wilson_interval


@given(n=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.99999))
def test_wilson_is_statsmodels(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    ours = wilson_interval(successes, n, confidence=confidence)
    low, high = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert ours.low == pytest.approx(100 * low, abs=1e-8)
    assert ours.high == pytest.approx(100 * high, abs=1e-8)


def test_the_ends_are_exact() -> None:
    for n in range(1, 3000):
        assert wilson_interval(0, n).low == 0.0
        assert wilson_interval(n, n).high == 100.0
        assert wilson_interval(0, n / 7, confidence=0.999).low == 0.0


def test_binary_rate_is_wilson() -> None:
    result = rate([1.0] * 30 + [0.0] * 10)
    low, high = proportion_confint(30, 40, method="wilson")
    assert result.estimate == 75.0
    assert (result.low, result.high) == pytest.approx((100 * low, 100 * high))


def test_missing_items_are_left_out() -> None:
    assert rate([1.0, np.nan, 0.0]).n_items == 2


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_rates_at_the_edge_have_an_interval(value: float, n: int) -> None:
    result = rate([value] * n)
    assert result.estimate == 100 * value
    assert 0.0 <= result.low <= result.estimate <= result.high <= 100.0
    assert result.high - result.low > 0


def test_clusters_that_fall_together_widen_the_interval() -> None:
    outcomes = np.repeat([1.0, 0.0] * 10, 5)
    alone = rate(outcomes)
    together = rate(outcomes, clusters=np.repeat(np.arange(20), 5))
    assert together.high - together.low > 1.9 * (alone.high - alone.low)


def test_runs_narrow_the_interval_of_noisy_items() -> None:
    rng = np.random.default_rng(0)
    one = rate((rng.random((200, 1)) < 0.5).astype(float))
    nine = rate((rng.random((200, 9)) < 0.5).astype(float))
    assert (one.high - one.low) / (nine.high - nine.low) == pytest.approx(3.0, rel=0.3)


@pytest.mark.parametrize("outcomes", [[2.0], [-0.1], [[[0.0]]]])
def test_impossible_outcomes_are_refused(outcomes: object) -> None:
    with pytest.raises(ValueError, match=r"scores must lie|shape"):
        rate(outcomes)  # type: ignore[arg-type]


def test_nothing_observed_is_refused() -> None:
    with pytest.raises(ValueError, match="no outcome"):
        rate([np.nan, np.nan])
