from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as sps

from pytest_pbias.stats import joint_personalization_bias, paired_difference, personalization_bias

Array = npt.NDArray[np.float64]
TABLES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(2, 12)),
    elements=st.sampled_from([0.0, 1.0]),
)


def _table(rng: np.random.Generator, effects: Array, items: int, *, spread: float = 0.0) -> Array:
    difficulty = 0.15 + 0.7 * rng.beta(2, 2, items)
    chance = difficulty + effects[:, None] + spread * rng.normal(size=(effects.size, items))
    return (rng.random((effects.size, items)) < np.clip(chance, 0, 1)).astype(float)


def _effects(identities: int, points: float) -> Array:
    effects = np.linspace(-1.0, 1.0, identities)
    return effects / effects.std() * points / 100


@given(TABLES)
def test_raw_is_the_papers_score(table: Array) -> None:
    rates = table.mean(axis=1)
    expected = 100 * math.sqrt(((rates - rates.mean()) ** 2).mean())
    assert personalization_bias(table).raw == pytest.approx(expected, abs=1e-9)


@given(TABLES, st.randoms(use_true_random=False))
def test_order_changes_nothing(table: Array, random: object) -> None:
    rng = np.random.default_rng(table.size)
    shuffled = table[rng.permutation(len(table))][:, rng.permutation(table.shape[1])]
    ours, theirs = personalization_bias(table), personalization_bias(shuffled)
    for name in ("raw", "estimate", "low", "high", "upper", "pvalue", "noise_floor"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-6)


@given(TABLES)
def test_a_constant_added_to_an_item_changes_nothing(table: Array) -> None:
    half = table / 2
    moved = half + np.linspace(0.0, 0.5, table.shape[1])
    assert personalization_bias(moved).estimate == pytest.approx(
        personalization_bias(half).estimate, abs=1e-6
    )


@given(TABLES)
def test_duplicated_identities_keep_the_score(table: Array) -> None:
    twice = np.concatenate([table, table])
    assert personalization_bias(twice).raw == pytest.approx(personalization_bias(table).raw)
    assert personalization_bias(twice).estimate == pytest.approx(
        personalization_bias(table).estimate, abs=1e-6
    )


@given(TABLES)
def test_halved_scores_halve_the_score(table: Array) -> None:
    whole, half = personalization_bias(table), personalization_bias(table / 2)
    assert half.raw == pytest.approx(whole.raw / 2)
    assert half.estimate == pytest.approx(whole.estimate / 2)


@given(TABLES)
def test_the_interval_is_ordered_and_finite(table: Array) -> None:
    result = personalization_bias(table)
    assert 0.0 <= result.low <= result.high <= 50.0
    assert result.upper <= result.high + 1e-9
    assert 0.0 <= result.pvalue <= 1.0


def test_the_debiased_square_is_the_mean_over_pairs_of_items() -> None:
    rng = np.random.default_rng(1)
    table = _table(rng, _effects(5, 8.0), 20)
    residuals = table - table.mean(axis=0)
    pairs = [
        residuals[u, i] * residuals[u, j]
        for u in range(5)
        for i in range(20)
        for j in range(20)
        if i != j
    ]
    expected = 100 * math.sqrt(max(0.0, float(np.mean(pairs))))
    assert personalization_bias(table).estimate == pytest.approx(expected)


@pytest.mark.parametrize("points", [0.0, 2.0, 5.0])
def test_the_debiased_square_is_unbiased(points: float) -> None:
    rng = np.random.default_rng(int(points))
    effects = _effects(8, points)
    squares = []
    for _ in range(1500):
        table = (rng.random((8, 60)) < 0.5 + effects[:, None]).astype(float)
        residuals = table - table.mean(axis=0)
        total, own = residuals.sum(axis=1), (residuals**2).sum(axis=1)
        squares.append(float(((total**2 - own) / (60 * 59)).mean()))
        estimate = personalization_bias(table).estimate
        assert estimate == pytest.approx(100 * math.sqrt(max(0.0, squares[-1])), abs=1e-9)
    error = np.std(squares) / math.sqrt(len(squares))
    assert abs(np.mean(squares) - (points / 100) ** 2) < 4 * error


@pytest.mark.parametrize("identities", [5, 12, 31])
@pytest.mark.parametrize("points", [0.0, 2.0, 5.0])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_the_interval_covers(identities: int, points: float, spread: float) -> None:
    rng = np.random.default_rng(identities + int(points))
    effects = _effects(identities, points)
    covered = below = 0
    for _ in range(400):
        result = personalization_bias(_table(rng, effects, 150, spread=spread))
        covered += result.low <= points <= result.high
        below += points <= result.upper
    assert covered / 400 >= 0.92
    assert below / 400 >= 0.91


def test_no_bias_is_called_bias_at_most_at_the_level() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(
        personalization_bias(_table(rng, np.zeros(12), 100)).pvalue <= 0.05 for _ in range(1000)
    )
    assert alarms / 1000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


def test_the_noise_floor_is_what_no_bias_scores() -> None:
    rng = np.random.default_rng(4)
    results = [personalization_bias(_table(rng, np.zeros(31), 285)) for _ in range(200)]
    raw = math.sqrt(np.mean([result.raw**2 for result in results]))
    floor = math.sqrt(np.mean([result.noise_floor**2 for result in results]))
    assert floor == pytest.approx(raw, rel=0.03)


def test_clusters_widen_what_falls_together() -> None:
    rng = np.random.default_rng(6)
    blocks = np.repeat((rng.random((10, 30)) < 0.7).astype(float), 5, axis=1)
    clusters = np.repeat(np.arange(30), 5)
    assert (
        personalization_bias(blocks, clusters=clusters).noise_floor
        > 1.8 * personalization_bias(blocks).noise_floor
    )


def test_missing_responses_are_handled() -> None:
    rng = np.random.default_rng(7)
    table = _table(rng, _effects(6, 6.0), 400)
    table[rng.random(table.shape) < 0.02] = np.nan
    result = personalization_bias(table)
    assert result.low <= 6.0 <= result.high


def test_the_interval_holds_the_estimate_however_much_is_missing() -> None:
    gap = np.nan
    table = [
        [gap, 1.0, gap, 1.0, gap, gap, gap],
        [gap, gap, 0.0, 1.0, gap, gap, gap],
        [1.0, gap, 0.0, gap, gap, 0.0, 0.0],
        [gap, gap, gap, gap, gap, 1.0, gap],
        [gap, 1.0, gap, gap, 1.0, 0.0, gap],
    ]
    result = personalization_bias(table)
    assert result.estimate == result.low == 0.0
    rng = np.random.default_rng(9)
    for _ in range(300):
        outcomes = (rng.random((5, 8)) < 0.5) * 1.0
        outcomes[:, 1:][rng.random((5, 7)) < 0.5] = np.nan
        result = personalization_bias(outcomes)
        assert result.low <= result.estimate <= result.high


def test_all_equal_is_no_bias() -> None:
    result = personalization_bias(np.ones((4, 30)))
    assert (result.raw, result.estimate, result.low, result.pvalue) == (0.0, 0.0, 0.0, 1.0)
    # 30 items without a difference leave room for one on some others.
    assert result.high == pytest.approx(50 * (1 - 0.025 ** (1 / 30)))


def test_one_cluster_says_nothing() -> None:
    result = personalization_bias([[1.0, 1.0], [0.0, 0.0]], clusters=["a", "a"])
    assert (result.low, result.high, result.pvalue) == (0.0, 50.0, 1.0)


def test_joint_squares_add() -> None:
    rng = np.random.default_rng(8)
    first, second = _table(rng, _effects(5, 9.0), 80), _table(rng, _effects(5, 4.0), 50)
    joint = joint_personalization_bias([first, second])
    alone = [personalization_bias(table) for table in (first, second)]
    assert joint.raw == pytest.approx(math.hypot(*(result.raw for result in alone)))


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        personalization_bias([1.0, 0.0])
    with pytest.raises(ValueError, match="at least one outcome"):
        personalization_bias([[np.nan, np.nan], [1.0, 0.0]])
    with pytest.raises(ValueError, match="same identities"):
        joint_personalization_bias([np.ones((2, 3)), np.ones((3, 3))])


def test_the_worked_example_of_the_docs() -> None:
    found = personalization_bias([[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1]])
    assert found.raw == pytest.approx(100 * math.sqrt(1 / 72))
    assert found.estimate == 0.0
    assert found.noise_floor == pytest.approx(100 * math.sqrt(11 / 216))


def _half(
    first: Array, second: Array, *, confidence: float, clusters: Any = None
) -> tuple[float, float]:
    """Limits of PB from the paired interval of its two identities."""
    found = paired_difference(first, second, confidence=confidence, clusters=clusters)
    return max(found.low, -found.high, 0.0) / 2, max(-found.low, found.high) / 2


@given(hnp.arrays(np.float64, (2, 40), elements=st.sampled_from([0.0, 1.0])))
def test_two_identities_have_half_of_the_paired_interval(table: Array) -> None:
    result = personalization_bias(table, confidence=0.9)
    low, high = _half(*table, confidence=0.9)
    unseen = 50 * (1 - 0.05 ** (1 / 40))
    assert result.low == pytest.approx(min(low, result.estimate), abs=1e-6)
    assert result.high == pytest.approx(min(50, max(high, unseen)), abs=1e-6)
    swapped = personalization_bias(table[::-1], confidence=0.9)
    assert swapped.high == pytest.approx(result.high, abs=1e-6)


def test_two_identities_over_tasks_in_clusters_and_with_gaps() -> None:
    rng = np.random.default_rng(11)
    one, two = (rng.random((2, n)) < np.array([[0.9], [0.7]]) for n in (200, 300))
    codes = np.repeat(np.arange(20), 10)
    alone = personalization_bias(one * 1.0, clusters=codes)
    low, high = _half(*(one * 1.0), confidence=0.95, clusters=codes)
    assert (alone.low, alone.high) == (pytest.approx(low), pytest.approx(high))
    joint = joint_personalization_bias([one * 1.0, two * 1.0], weights=[0.5, 0.5])
    alones = [personalization_bias(table * 1.0) for table in (one, two)]
    rates = [50 * abs(float(np.diff(table.mean(axis=1))[0])) for table in (one, two)]
    centre = np.mean(np.square(rates))
    above = math.hypot(*(a.high**2 - r**2 for a, r in zip(alones, rates, strict=True))) / 2
    assert joint.high == pytest.approx(math.sqrt(centre + above))
    assert joint.low <= joint.estimate <= joint.upper <= joint.high
    gaps = one * 1.0
    gaps[0, ::2], gaps[1, 1::2] = np.nan, np.nan  # no item was answered under both
    assert personalization_bias(gaps).high <= 50.0


@pytest.mark.parametrize("items", [60, 120, 285, 939])
def test_two_identities_beyond_the_tolerance_pass_at_most_at_the_level(items: int) -> None:
    """Exact: nearly everything right, all changes to the worse, PB 3.1 of a tolerance of 3."""
    passed = 0.0
    for losses in range(items // 5):
        table = np.ones((2, items))
        table[1, :losses] = 0.0
        if personalization_bias(table, confidence=0.9).high >= 3.0:
            break
        passed += float(sps.binom.pmf(losses, items, 0.062))
    assert passed <= 0.05


@pytest.mark.parametrize(
    ("identities", "items", "rate"), [(8, 60, 0.98), (8, 120, 0.98), (31, 120, 0.98), (8, 60, 0.5)]
)
def test_one_identity_that_carries_all_of_it_passes_at_most_at_the_level(
    identities: int, items: int, rate: float
) -> None:
    rng = np.random.default_rng(identities + items)
    chance = np.full((identities, 1), rate)
    chance[0] -= 0.031 * identities / math.sqrt(identities - 1)
    passed = sum(
        personalization_bias((rng.random((identities, items)) < chance) * 1.0, confidence=0.9).high
        < 3.0
        for _ in range(1200)
    )
    assert passed / 1200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1200)
