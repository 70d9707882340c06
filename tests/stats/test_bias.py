from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_pbias.stats import joint_personalization_bias, personalization_bias

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
