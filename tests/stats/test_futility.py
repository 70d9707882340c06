"""The predicted chance of a verdict on an axis, and of a signal, against what then happens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from pytest_pbias.stats import (
    joint_personalization_bias,
    paired_difference,
    predicted_axis_verdict,
    predicted_clear,
    predicted_verdict,
    rate,
    wilson_interval,
)
from pytest_pbias.stats.bias import SumOfSquaresLaw

Array = npt.NDArray[np.float64]


def _cell(right: int, n: int) -> Array:
    return np.asarray(np.arange(n) < right, dtype=np.float64)


@settings(max_examples=60)
@given(
    n=st.integers(1, 300),
    share=st.floats(0, 1),
    rest=st.integers(1, 700),
    floor=st.sampled_from([0.0, 0.25, 0.257, 0.5]),
    least=st.sampled_from([0.0, 0.05, 0.06]),
    confidence=st.sampled_from([0.9, 0.95]),
)
def test_a_signal_is_as_likely_as_the_sum_over_all_ends_says(
    n: int, share: float, rest: int, floor: float, least: float, confidence: float
) -> None:
    """SciPy's beta-binomial, and Wilson's interval of every end."""
    right = round(share * n)
    found = predicted_clear(
        _cell(right, n), of_items=n + rest, floor=floor, least=least, confidence=confidence
    )
    more = np.arange(rest + 1)
    chances = sps.betabinom(rest, right + 0.5, n - right + 0.5).pmf(more)
    lows = [
        wilson_interval(float(one), n + rest, confidence=confidence).low for one in right + more
    ]
    clear = (np.array(lows) > 100 * floor + 1e-7) & (right + more > least * (n + rest) + 1e-7)
    expected = chances[clear].sum()
    assert found == pytest.approx(expected, abs=1e-8)


@given(n=st.integers(1, 300), right=st.integers(0, 300), floor=st.sampled_from([0.0, 0.25, 0.5]))
def test_at_the_end_a_signal_is_there_or_not(n: int, right: int, floor: float) -> None:
    cell = _cell(min(right, n), n)
    found = predicted_clear(cell, of_items=n, floor=floor)
    assert found == float(rate(cell).low > 100 * floor + 1e-7)


def test_more_right_answers_never_make_a_signal_less_likely() -> None:
    chances = [predicted_clear(_cell(right, 90), of_items=300, floor=0.25) for right in range(91)]
    assert (np.diff(chances) >= -1e-12).all()
    assert chances[0] == pytest.approx(0, abs=1e-9)
    assert chances[-1] == pytest.approx(1, abs=1e-9)


def test_a_task_without_a_fault_so_far_may_well_show_one() -> None:
    """Jeffreys' prior: none in 75 leaves 1 - about sqrt(75 / 300) for the next 225."""
    assert predicted_clear(np.zeros(75), of_items=300, floor=0.0) == pytest.approx(0.5, abs=0.01)
    assert predicted_clear(np.zeros(299), of_items=300, floor=0.0) < 0.01


@pytest.mark.parametrize("groups", [0, 40])
@pytest.mark.parametrize("repeats", [1, 3])
def test_signals_come_as_often_as_predicted(groups: int, repeats: int) -> None:
    """Rates drawn evenly, the rest of the items drawn: of what was called p, p came.

    With clusters of which no more are to come each gets larger, and with it the design effect:
    less comes than was called, so that too much is asked and not too little.
    """
    rng = np.random.default_rng([groups, repeats])
    n, of_items, floor = 100, 400, 0.25
    called, came = [], []
    for _ in range(1000):
        p = rng.uniform(0.1, 0.6)
        codes = rng.integers(0, groups, of_items) if groups else np.arange(of_items)
        # Clusters have rates of their own around p.
        chance = rng.beta(8 * p, 8 * (1 - p), of_items)[codes] if groups else p
        answers = (rng.random((repeats, of_items)) < chance).T * 1.0
        called.append(
            predicted_clear(answers[:n], of_items=of_items, floor=floor, clusters=codes[:n])
        )
        came.append(rate(answers, clusters=codes).low > 25.0)
    _as_often_as_called(np.array(called), np.array(came), off=0.04, at_most=groups > 0)


def _as_often_as_called(
    called: Array, came: npt.NDArray[np.bool_], off: float, *, at_most: bool = False
) -> None:
    """Within each fifth: ``off`` for the approximation, and four standard errors for the draws."""
    for low in np.arange(0, 1, 0.2):
        here = (called >= low) & (called < low + 0.2 + 1e-9)
        if here.sum() >= 30:
            p = called[here].mean()
            error = math.sqrt(max(p * (1 - p), 0.01) / here.sum())
            difference = came[here].mean() - p
            assert difference < off + 4 * error
            assert at_most or difference > -off - 4 * error


def test_impossible_signals_are_refused() -> None:
    for outcomes, of_items in [([np.nan], 3), ([1.0, 0.0], 1)]:
        with pytest.raises(ValueError, match="observed items"):
            predicted_clear(outcomes, of_items=of_items, floor=0.0)


def _table(rng: np.random.Generator, identities: int, n: int, bias: float, changed: float) -> Array:
    """Identities on a ladder of effects, ``changed`` of the answers anew by chance."""
    ladder = np.linspace(-1, 1, identities)
    own = rng.random(n) < 0.8
    anew = rng.random((identities, n)) < changed
    right = np.where(anew, rng.random((identities, n)) < 0.8, own)
    shift = (ladder / ladder.std() * bias / 100)[:, None]
    turn = rng.random((identities, n))
    return np.where(right, ~(turn < -shift / 0.8), turn < shift / 0.2) * 1.0


def _decided(
    tables: Sequence[Array], clusters: Sequence[npt.NDArray[np.int64] | None], alpha: float
) -> bool:
    found = joint_personalization_bias(
        tables, clusters=clusters, weights=[1 / len(tables)] * len(tables), confidence=1 - 2 * alpha
    )
    return found.low > 3.0 or found.high < 3.0


@pytest.mark.parametrize(
    ("identities", "sizes", "asked", "clustered"),
    [
        (8, (346,), (112,), False),
        (31, (285,), (112,), True),
        (5, (150, 600), (150, 253), False),
        (2, (400,), (168,), False),
    ],
)
def test_verdicts_on_an_axis_come_as_often_as_predicted(
    identities: int, sizes: tuple[int, ...], asked: tuple[int, ...], clustered: bool
) -> None:
    """PB^2 drawn evenly from 0 to 36, the rest of the items drawn: of what was called p, p came.

    The law of two identities is not the rule that decides on them: there it is rather hopeful.
    """
    rng = np.random.default_rng([identities, *sizes])
    called, came = [], []
    for _ in range(200):
        bias = 6 * math.sqrt(rng.random())
        tables = [_table(rng, identities, n, bias, 0.2) for n in sizes]
        codes = [rng.permutation(n) // 5 if clustered else None for n in sizes]
        called.append(
            predicted_axis_verdict(
                [table[:, :n] for table, n in zip(tables, asked, strict=True)],
                clusters=[
                    None if one is None else one[:n] for one, n in zip(codes, asked, strict=True)
                ],
                of_items=sizes,
                tolerance=3.0,
                alpha=0.05,
            )
        )
        came.append(_decided(tables, codes, 0.05))
    assert min(called) < 0.4 < 0.9 < max(called)
    _as_often_as_called(np.array(called), np.array(came), off=0.12 if identities == 2 else 0.05)


@given(st.integers(0, 10_000), st.sampled_from([3, 8, 20]), st.sampled_from([0, 7, 30]))
@settings(max_examples=40)
def test_when_everything_was_asked_the_chance_is_the_verdict(
    seed: int, identities: int, groups: int
) -> None:
    rng = np.random.default_rng(seed)
    table = _table(rng, identities, 300, 6 * rng.random(), 0.2)
    codes = rng.integers(0, groups, 300) if groups else None
    assert _chance(table, codes, 300) == float(_decided([table], [codes], 0.05))


def test_a_signal_is_needed_for_a_pass_and_for_no_fail() -> None:
    rng = np.random.default_rng(1)
    for bias, needed in ((0.0, True), (9.0, False)):
        table = _table(rng, 8, 150, bias, 0.1)
        one, half, none = (
            predicted_axis_verdict(
                [table], clusters=[None], of_items=[600], tolerance=3.0, alpha=0.05, signal=signal
            )
            for signal in (1.0, 0.5, 0.0)
        )
        assert one > 0.9
        assert half == pytest.approx(one / 2 if needed else one, abs=0.05)
        assert none == pytest.approx(0.0 if needed else one, abs=0.05)


def test_a_signal_is_needed_for_the_pass_of_a_cell_and_for_no_fail() -> None:
    for losses, needed in ((2, True), (40, False)):
        found = paired_difference(np.ones(168), _cell(168 - losses, 168), confidence=0.9)
        one, half, none = (
            predicted_verdict(
                found, of_items=939, margin=5.0, fail_level=2e-4, alpha=0.05, signal=signal
            )
            for signal in (1.0, 0.5, 0.0)
        )
        assert one > 0.9
        assert half == pytest.approx(one / 2 if needed else one, abs=0.02)
        assert none == pytest.approx(0.0 if needed else one, abs=0.02)
        done = predicted_verdict(
            found, of_items=168, margin=5.0, fail_level=2e-4, alpha=0.05, signal=0.5
        )
        assert done == (0.5 if needed else 1.0)


def test_identical_answers_pass_once_enough_were_asked() -> None:
    same = np.tile(_cell(60, 75), (5, 1))
    assert _chance(same, None, 300) == 1.0
    # At 40 items the limit of what can go unseen is 3.6.
    assert _chance(same[:, :30], None, 40) == 0.0


def _chance(table: Array, clusters: npt.NDArray[np.int64] | None, of_items: int) -> float:
    return predicted_axis_verdict(
        [table], clusters=[clusters], of_items=[of_items], tolerance=3.0, alpha=0.05
    )


def test_too_few_clusters_decide_nothing_unless_others_are_to_come() -> None:
    table = _table(np.random.default_rng(2), 8, 90, 0.0, 0.1)
    five = np.arange(90) % 5
    assert _chance(table, five, 300) == 0.0
    five[five == 4] = 3
    five[0] = 4  # seen once
    assert _chance(table, five, 300) == 1.0
    with pytest.raises(ValueError, match="were asked"):
        _chance(table, None, 80)


@pytest.mark.parametrize("effect", [0.0, 0.01, 0.2])
def test_the_law_has_the_moments_of_its_noncentral_chi_square(effect: float) -> None:
    law = SumOfSquaresLaw(noise=0.02, noise_squared=5e-5, slope=4e-3)
    base = law.noise_squared / law.noise
    scale = base + (law.slope - base) * effect / (effect + law.noise)
    plain = sps.ncx2(law.noise / scale, max(effect / scale, 1e-12), scale=scale)
    assert law.variance(effect) == pytest.approx(plain.var(), rel=1e-6)
    for tail in (0.95, 0.5, 0.05):
        assert law.upper_tail(law.sum_at(tail, effect), effect) == pytest.approx(tail)
        assert law.sum_at(tail, effect) == pytest.approx(plain.isf(tail), rel=1e-6)
