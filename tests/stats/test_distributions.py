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
from pytest_pbias.stats.paired import mcnemar_midp
from pytest_pbias.stats.roots import crossing

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


CURVES: dict[str, Callable[[float], float]] = {
    "line": lambda x: x - 0.3,
    "cubic": lambda x: (x - 0.7) ** 3 + 0.01 * (x - 0.7),
    "exponential": lambda x: math.exp(20 * x) - math.exp(9.0),
    "flat": lambda x: math.tanh(50 * (x - 0.51)) + 1e-4 * (x - 0.51),
    "pole": lambda x: max(min(math.tan(math.pi * (x - 0.5)), 1e9), -1e9) + 0.25,
    "steps": lambda x: math.copysign(1.0, x - 0.123456789),
}


@pytest.mark.parametrize("name", CURVES)
@given(low=st.floats(-3, 0.1), high=st.floats(0.95, 4))
def test_crossings_are_brentqs(name: str, low: float, high: float) -> None:
    low, high = (0.0, 1.0) if name == "pole" else (low, high)
    calls: list[float] = []

    def curve(x: float) -> float:
        calls.append(x)
        return CURVES[name](x)

    found = crossing(curve, low, high)
    expected = optimize.brentq(CURVES[name], low, high, xtol=1e-15)
    assert found == pytest.approx(expected, abs=5e-15)
    assert len(calls) < 100
    assert all(low <= x <= high for x in calls)


def test_a_zero_at_an_end_is_found() -> None:
    assert crossing(lambda x: x, 0.0, 1.0) == 0.0
    assert crossing(lambda x: x - 1.0, 0.0, 1.0) == 1.0


def test_no_change_of_sign_is_an_error() -> None:
    with pytest.raises(ValueError, match="no change of sign"):
        crossing(lambda x: x + 1.0, 0.0, 1.0)


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.999))
def test_binomial_tail_is_scipys(successes: int, trials: int, share: float) -> None:
    expected = float(sps.binom.sf(successes - 1, trials, share))
    found = ours.binomial_sf(successes, trials, share)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert ours.binomial_sf(successes + 0.5, trials, share) <= found
    assert ours.binomial_sf(successes - 0.5, trials, share) >= found
