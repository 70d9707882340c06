"""Distributions and roots against ``scipy.stats`` and ``scipy.optimize``."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as sps

from pytest_pbias.stats import distributions as ours
from pytest_pbias.stats.arrays import crossing
from pytest_pbias.stats.paired import mcnemar_midp

TAILS = st.floats(1e-9, 1 - 1e-9)
FREEDOMS = st.floats(1.0, 2000.0)


def same(left: float, right: object) -> bool:
    return left == pytest.approx(float(right), rel=1e-12, abs=1e-12)  # type: ignore[arg-type]


@given(TAILS)
def test_normal_quantiles_are_scipys(tail: float) -> None:
    assert same(ours.normal_isf(tail), sps.norm.isf(tail))
    assert same(ours.normal_ppf(tail), sps.norm.ppf(tail))
    assert same(ours.normal_sf(ours.normal_isf(tail)), tail)


@given(TAILS, st.integers(1, 5000), st.floats(-50, 50))
def test_students_t_is_scipys(tail: float, freedom: int, value: float) -> None:
    assert same(ours.student_isf(tail, freedom), sps.t.isf(tail, freedom))
    assert same(ours.student_sf(value, freedom), sps.t.sf(value, freedom))


@given(st.floats(0.01, 0.999), FREEDOMS, st.floats(0, 4000))
def test_chi_square_is_scipys(share: float, freedom: float, value: float) -> None:
    assert same(ours.chi_square_ppf(share, freedom), sps.chi2.ppf(share, freedom))
    assert same(ours.chi_square_sf(value, freedom), sps.chi2.sf(value, freedom))


@given(st.floats(1, 200), st.floats(0.001, 2000), st.floats(1e-6, 1 - 1e-6))
def test_noncentral_chi_square_is_scipys(freedom: float, shift: float, tail: float) -> None:
    value = float(sps.ncx2.isf(tail, freedom, shift))
    assume(math.isfinite(value) and value > 0)
    found = ours.noncentral_chi_square_sf(value, freedom, shift)
    assert same(found, sps.ncx2.sf(value, freedom, shift))


@given(st.integers(0, 400), st.integers(0, 400))
def test_mid_p_is_that_of_scipys_binomial(gains: int, losses: int) -> None:
    assume(gains + losses > 0)
    law, smaller = sps.binom(gains + losses, 0.5), min(gains, losses)
    assert same(mcnemar_midp(gains, losses), min(1.0, 2 * law.cdf(smaller) - law.pmf(smaller)))


def test_a_zero_at_an_end_is_found() -> None:
    assert crossing(lambda x: x, 0.0, 1.0) == 0.0
    assert crossing(lambda x: x - 1.0, 0.0, 1.0) == 1.0


@given(st.floats(-0.99, 0.99), st.floats(0.05, 40.0), st.sampled_from([math.tanh, math.expm1]))
def test_a_zero_is_where_scipys_search_finds_it(
    zero: float, slope: float, shape: Callable[[float], float]
) -> None:
    def function(x: float) -> float:
        return shape(slope * (x - zero))

    expected = optimize.brentq(function, -1.0, 1.0, xtol=1e-16, rtol=1e-15)
    assert crossing(function, -1.0, 1.0) == expected


def test_no_change_of_sign_is_an_error() -> None:
    with pytest.raises(ValueError, match="different signs"):
        crossing(lambda x: x + 1.0, 0.0, 1.0)


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.999))
def test_binomial_tail_is_scipys(successes: int, trials: int, share: float) -> None:
    expected = float(sps.binom.sf(successes - 1, trials, share))
    found = ours.binomial_sf(successes, trials, share)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert ours.binomial_sf(successes + 0.5, trials, share) <= found
    assert ours.binomial_sf(successes - 0.5, trials, share) >= found
