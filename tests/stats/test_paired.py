from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as sps
from statsmodels.stats.contingency_tables import mcnemar

from pytest_pbias.stats import (
    PairedDifferenceResult,
    mcnemar_midp,
    paired_difference,
    tango_interval,
)


def _score_by_brute_force(gains: int, losses: int, n: int, delta: float) -> float:
    """Tango's statistic with the discordance found by maximizing the likelihood numerically."""

    def loss(q: float) -> float:
        cells = (q + delta, q, 1.0 - 2.0 * q - delta)
        counts = (gains, losses, n - gains - losses)
        return -sum(c * math.log(max(p, 1e-300)) for c, p in zip(counts, cells, strict=True) if c)

    low, high = max(0.0, -delta), (1.0 - delta) / 2.0
    q = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    return (gains - losses - n * delta) / math.sqrt(n * (2.0 * q + delta * (1.0 - delta)))


@settings(deadline=None)
@given(
    n=st.integers(20, 400),
    share=st.tuples(st.floats(0.02, 0.4), st.floats(0.02, 0.4)),
    confidence=st.sampled_from([0.9, 0.95, 0.9998]),
)
def test_tango_limits_solve_the_score_equation(
    n: int, share: tuple[float, float], confidence: float
) -> None:
    gains, losses = max(1, int(share[0] * n)), max(1, int(share[1] * n))
    low, high = tango_interval(gains, losses, n, confidence=confidence)
    z = float(sps.norm.isf((1 - confidence) / 2))
    if low > -0.999:
        assert _score_by_brute_force(gains, losses, n, low) == pytest.approx(z, abs=1e-3)
    if high < 0.999:
        assert _score_by_brute_force(gains, losses, n, high) == pytest.approx(-z, abs=1e-3)


def test_tango_without_discordance_has_the_known_width() -> None:
    """With no discordant pair the limits are z^2 / (n + z^2) (Tango 1998)."""
    z = float(sps.norm.isf(0.025))
    low, high = tango_interval(0, 0, 100)
    assert high == pytest.approx(z**2 / (100 + z**2), abs=1e-9)
    assert low == pytest.approx(-high)


@given(gains=st.integers(0, 200), losses=st.integers(0, 200))
def test_midp_is_the_exact_test_less_half_the_observed_table(gains: int, losses: int) -> None:
    exact = mcnemar([[0, gains], [losses, 0]], exact=True).pvalue
    observed = float(sps.binom.pmf(min(gains, losses), gains + losses, 0.5))
    if gains == losses:
        assert mcnemar_midp(gains, losses) == pytest.approx(1.0, abs=1e-9) or gains + losses > 0
    else:
        assert mcnemar_midp(gains, losses) == pytest.approx(exact - observed, abs=1e-9)


@given(
    n=st.integers(2, 60),
    seed=st.integers(0, 10**6),
    runs=st.integers(1, 3),
    clustered=st.booleans(),
)
def test_swapping_the_cells_mirrors_the_interval(
    n: int, seed: int, runs: int, clustered: bool
) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.random((2, n, runs)) < 0.6).astype(float)
    clusters = np.arange(n) // 3 if clustered else None
    there = paired_difference(first, second, clusters=clusters)
    back = paired_difference(second, first, clusters=clusters)
    assert there.estimate == pytest.approx(-back.estimate)
    assert there.low == pytest.approx(-back.high, abs=1e-6)
    assert there.pvalue == pytest.approx(back.pvalue)
    assert -100 <= there.low <= there.estimate + 1e-9
    assert there.estimate - 1e-9 <= there.high <= 100


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 231])
@pytest.mark.parametrize(("first", "second"), [(1, 1), (0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("n", [1, 2, 50, 400])
def test_degenerate_cells_have_defined_answers(
    level: float, first: int, second: int, n: int
) -> None:
    result = paired_difference([first] * n, [second] * n, confidence=level)
    assert result.estimate == 100 * (first - second)
    assert result.low <= result.estimate <= result.high
    assert result.high > result.low
    assert not math.isnan(result.pvalue)


@pytest.mark.parametrize("discordance", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("n", [60, 300])
def test_the_interval_keeps_its_level(discordance: float, n: int) -> None:
    rng = np.random.default_rng(int(100 * discordance) + n)
    truth = discordance / 2  # gains three quarters, losses one quarter of the discordance
    covered = 0
    for _ in range(1500):
        changed = rng.random(n) < discordance
        gained = rng.random(n) < 0.75
        base = (rng.random(n) < 0.6).astype(float)
        base = np.where(changed, np.where(gained, 0.0, 1.0), base)
        cell = np.where(changed, 1.0 - base, base)
        result = paired_difference(cell, base)
        covered += result.low <= 100 * truth <= result.high
    assert covered / 1500 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_clusters_that_fall_together_keep_the_level() -> None:
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(40), 5)
    covered = 0
    for _ in range(800):
        changed = np.repeat(rng.random(40) < 0.2, 5)
        gained = np.repeat(rng.random(40) < 0.5, 5)
        base = np.where(changed, np.where(gained, 0.0, 1.0), 1.0)
        cell = np.where(changed, 1.0 - base, base)
        result = paired_difference(cell, base, clusters=clusters)
        covered += result.low <= 0.0 <= result.high
    assert covered / 800 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 800)


def test_missing_items_leave_both_cells() -> None:
    result = paired_difference([1, np.nan, 0, 1], [1, 0, np.nan, 0])
    assert (result.n_items, result.rate, result.reference_rate) == (2, 100.0, 50.0)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="no item was answered in both"):
        paired_difference([1, np.nan], [np.nan, 1])
    with pytest.raises(ValueError, match="must match"):
        paired_difference([1, 0], [1])


def _of_clusters(
    lost: list[int], size: int, *, skewed: bool, confidence: float = 0.9
) -> PairedDifferenceResult:
    """A cell that loses ``lost`` right answers in each cluster of ``size`` items.

    Besides, each cluster gains and loses one answer in ten: no cluster stands apart by these.
    """
    cell, reference = np.ones((2, len(lost), size))
    tenth = size // 10
    reference[:, -tenth:] = 0.0
    for answers, count in zip(cell, lost, strict=True):
        answers[: count + tenth] = 0.0
    codes = np.repeat(np.arange(len(lost)), size)
    return paired_difference(
        cell.ravel(), reference.ravel(), clusters=codes, confidence=confidence, skewed=skewed
    )


def test_clusters_that_stand_apart_move_the_limit_on_their_side() -> None:
    """Three of 27 clusters lose a fifth of their answers; the skewness of their sums is SciPy's."""
    lost, size = [20, 20, 20] + [0] * 24, 100
    plain, wide = (_of_clusters(lost, size, skewed=skewed) for skewed in (False, True))
    sums = np.array(lost) - np.mean(lost)
    error = 100 * math.sqrt((sums**2).sum() * 27 / 26) / 2700
    t = float(sps.t.isf(0.05, 26))
    skewness = float(sps.skew(sums, bias=False))
    further = error * skewness / (6 * math.sqrt(27)) * (2 * t**2 + 1)
    assert skewness > 2
    assert plain.low == pytest.approx(-100 * 60 / 2700 - t * error, abs=1e-9)
    assert wide.low == pytest.approx(plain.low - further, abs=1e-9)
    assert wide.high == plain.high
    assert (wide.pvalue, wide.estimate) == (plain.pvalue, plain.estimate)


@settings(deadline=None, max_examples=60)
@given(
    lost=st.lists(st.integers(0, 12), min_size=2, max_size=40),
    confidence=st.sampled_from([0.9, 0.95, 0.999]),
)
def test_allowing_for_skewed_clusters_never_narrows(lost: list[int], confidence: float) -> None:
    plain, wide = (
        _of_clusters(lost, 20, skewed=skewed, confidence=confidence) for skewed in (False, True)
    )
    assert wide.low <= plain.low
    assert wide.high >= plain.high


def test_even_clusters_and_independent_items_are_not_widened() -> None:
    for lost in ([2, 4, 6, 8], [5] * 6, [0, 9]):  # symmetric, alike, too few for a skewness
        assert _of_clusters(lost, 20, skewed=True) == _of_clusters(lost, 20, skewed=False)
    cell = np.array([0.0] * 3 + [1.0] * 97)
    plain, wide = (paired_difference(cell, np.ones(100), skewed=skewed) for skewed in (False, True))
    assert plain == wide
