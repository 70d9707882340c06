"""The law of the raw sum of squares against SciPy, its definition, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps

from pytest_pbias.stats.bias import SumOfSquaresLaw


@given(
    freedom=st.floats(1.0, 60.0),
    scale=st.floats(1e-6, 1e-2),
    shift=st.floats(0.1, 300.0),
    quantile=st.floats(0.01, 0.99),
)
def test_equal_noise_is_scipys_noncentral_chi_square(
    freedom: float, scale: float, shift: float, quantile: float
) -> None:
    """With the same variance along the effects as elsewhere, nothing but the scale is left."""
    law = SumOfSquaresLaw(freedom * scale, freedom * scale**2, scale)
    at = float(sps.ncx2.ppf(quantile, freedom, shift))
    assert law.upper_tail(scale * at, scale * shift) == pytest.approx(1 - quantile, abs=1e-6)
    assert law.upper_tail(scale * at, 0.0) == pytest.approx(sps.chi2.sf(at, freedom), abs=1e-9)


@pytest.mark.parametrize("shift", [1.5, 12.0])
def test_the_tail_is_the_poisson_mixture_that_defines_it(shift: float) -> None:
    freedom, scale, observed = 7.0, 0.01, 20.0
    draws = np.arange(200)
    mixture = sps.poisson.pmf(draws, shift / 2) @ sps.chi2.sf(observed, freedom + 2 * draws)
    law = SumOfSquaresLaw(freedom * scale, freedom * scale**2, scale)
    assert law.upper_tail(scale * observed, scale * shift) == pytest.approx(mixture)


def test_the_central_match_continues_the_noncentral_law() -> None:
    """Far from 0 a central chi-square takes over (Patnaik 1949): without a jump."""
    freedom, scale = 30.0, 1e-4
    law = SumOfSquaresLaw(freedom * scale, freedom * scale**2, scale)
    for quantile in (0.025, 0.5, 0.975):
        at = float(sps.ncx2.ppf(quantile, freedom, 2001.0))
        assert law.upper_tail(scale * at, scale * 2001.0) == pytest.approx(1 - quantile, abs=2e-3)


def test_normal_effects_and_noise_follow_the_law() -> None:
    rng = np.random.default_rng(0)
    effects, variance = np.array([0.05, -0.02, 0.0, -0.03]), 4e-4
    sums = ((effects + rng.normal(0, variance**0.5, (20_000, 4))) ** 2).sum(axis=1)
    law = SumOfSquaresLaw(4 * variance, 4 * variance**2, variance)
    for edge in np.quantile(sums, [0.05, 0.5, 0.95]):
        expected = law.upper_tail(float(edge), float(effects @ effects))
        assert (sums >= edge).mean() == pytest.approx(expected, abs=0.012)


@given(st.floats(0.001, 0.2), st.floats(0.005, 0.3))
def test_limits_leave_their_tail(observed: float, tail: float) -> None:
    law = SumOfSquaresLaw(0.01, 2e-5, 0.004)
    limit = law.limit(observed, tail)
    assert limit >= 0
    if limit > 0:
        assert law.upper_tail(observed, limit) == pytest.approx(tail, abs=1e-4)
    else:
        assert law.upper_tail(observed, 0.0) >= tail
