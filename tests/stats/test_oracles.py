"""Public functions that no other test here holds against SciPy or brute force."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps

from pytest_pbias.stats import (
    JudgeAudit,
    confidence_ellipse,
    contrast_level,
    contrasts,
    contributions,
    corrected_rate,
    difference_in_differences,
    item_means,
    items_to_fail,
    match_items,
    net_change_pvalue,
    paired_difference,
    pareto_front,
    value_drift,
)

Array = npt.NDArray[np.float64]


def _cells(n: int, gains: int, losses: int) -> tuple[Array, Array]:
    change = np.repeat([1, -1, 0], [gains, losses, n - gains - losses])
    return (change > 0).astype(np.float64), (change < 0).astype(np.float64)


@given(st.integers(20, 400), st.integers(0, 10), st.integers(0, 10), st.floats(1, 20))
def test_the_guard_is_the_tail_of_scipys_binomial(
    n: int, gains: int, losses: int, margin: float
) -> None:
    found = paired_difference(*_cells(n, gains, losses))
    expected = sps.binom.sf(abs(gains - losses) - 1, n, margin / 100)
    assert net_change_pvalue(found, margin=margin) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "losses"), [(100, 9), (200, 24), (300, 60), (400, 28)])
def test_items_to_fail_are_the_first_that_guard_and_interval_allow(n: int, losses: int) -> None:
    level, margin = 0.05 / 231, 5.0
    found = paired_difference(*_cells(n, 0, losses), confidence=1 - level)
    needed = items_to_fail(found, margin=margin, level=level)
    assert needed is not None

    def fails(items: int) -> bool:
        """The limit nears the estimate with the root of the items; the guard is SciPy's."""
        nearest = abs(found.estimate) - (abs(found.estimate) + found.high) * math.sqrt(n / items)
        net = losses / n * items
        tail = sps.beta.cdf(margin / 100, net, items - net + 1)  # of a fractional net change
        return bool(nearest >= margin - 1e-6 and tail <= level / 2)

    assert fails(needed)
    assert needed == n or not fails(needed - 1)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_drift_without_clusters_is_the_t_test_of_each_contrast(runs: int) -> None:
    """Where the items are many and the change is large, so that what may go unseen is less."""
    rng = np.random.default_rng(runs)
    values = [rng.normal(0.1 * run, 0.5, 400) for run in range(runs)]
    found = value_drift(values)
    assert found is not None
    confidence = 1 - contrast_level(runs, 0.05)
    for contrast, change in zip(contrasts(runs), found.changes, strict=True):
        moved = np.array(contrast.weights) @ np.array(values)
        test = sps.ttest_1samp(100 * moved, 0.0)
        low, high = test.confidence_interval(confidence)
        assert (change.low, change.high) == pytest.approx((low, high))
        assert change.pvalue == pytest.approx(test.pvalue)


def test_a_difference_in_differences_is_the_t_test_of_the_items_changes() -> None:
    rng = np.random.default_rng(0)
    new_base, old, old_base = (rng.random((400, 2)) for _ in range(3))
    new = rng.random((400, 2)) ** 2
    found = difference_in_differences(new, new_base, old, old_base)
    change = (new - new_base).mean(axis=1) - (old - old_base).mean(axis=1)
    test = sps.ttest_1samp(100 * change, 0.0)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.pvalue == pytest.approx(test.pvalue)


def test_contributions_are_the_products_of_pairs_of_items() -> None:
    table = np.random.default_rng(1).random((4, 15))
    residuals = table - table.mean(axis=0)
    by_hand = [
        sum(row[i] * row[j] for i in range(15) for j in range(15) if i != j) / (15 * 14)
        for row in residuals
    ]
    assert contributions(table) == pytest.approx(1e4 * np.array(by_hand) / 4)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_what_comparing_each_with_each_leaves(points: list[tuple[int, int]]) -> None:
    def beaten(one: tuple[int, int]) -> bool:
        return any(other != one and other[0] >= one[0] and other[1] >= one[1] for other in points)

    front = pareto_front([x for x, _ in points], [y for _, y in points])
    assert front.tolist() == [not beaten(one) for one in points]


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_radius_of_an_ellipse_is_scipys(confidence: float) -> None:
    found = confidence_ellipse(50.0, 2.0, 60.0, 0.5, confidence=confidence)
    radius = math.sqrt(sps.chi2.ppf(confidence, 2))
    assert (found.half_utility, found.half_safety) == pytest.approx((2 * radius, radius / 2))


def test_a_corrected_rate_is_what_the_judge_would_have_seen_of_it() -> None:
    """Forth by sensitivity and specificity, and back by the correction."""
    audit = JudgeAudit(true_positive=90, false_negative=10, true_negative=160, false_positive=40)
    for true in (0.0, 0.3, 1.0):
        seen = true * 0.9 + (1 - true) * 0.2
        assert corrected_rate(1000 * seen, 1000, audit).estimate == pytest.approx(100 * true)


def test_means_over_repeats_are_numpys() -> None:
    scores = np.random.default_rng(2).random((20, 3))
    scores[3, 1] = scores[5, :2] = np.nan
    assert item_means(scores) == pytest.approx(np.nanmean(scores, axis=1))


@given(st.lists(st.integers(0, 20), unique=True), st.lists(st.integers(0, 20), unique=True))
def test_matched_items_are_those_of_both_sets(new: list[int], old: list[int]) -> None:
    ours, theirs = [str(one) for one in new], [str(one) for one in old]
    found = match_items(ours, theirs)
    assert [ours[i] for i in found.new] == [theirs[j] for j in found.old]
    assert {ours[i] for i in found.new} == set(ours) & set(theirs)
    assert (found.only_new, found.only_old) == (len(set(ours) - set(theirs)),
                                                len(set(theirs) - set(ours)))  # fmt: skip
