"""Boundaries against published ones, and error rates by exact convolution from look to look."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from scipy import stats as sps

from pytest_pbias.gate import Verdict, decide_cell
from pytest_pbias.stats import paired_difference
from pytest_pbias.stats.looks import (
    Look,
    axis_looks,
    cell_looks,
    fail_levels,
    is_futile,
    look_schedule,
    predicted_verdict,
    spending_boundaries,
    spent,
)

Array = npt.NDArray[np.float64]
FIVE = [0.2, 0.4, 0.6, 0.8, 1.0]
FOUR = [0.25, 0.5, 0.75, 1.0]


def _obrien_fleming(time: float, alpha: float) -> float:
    return float(2 * sps.norm.sf(sps.norm.isf(alpha / 2) / math.sqrt(time)))


def _pocock(time: float, alpha: float) -> float:
    return alpha * math.log(1 + (math.e - 1) * time)


@pytest.mark.parametrize(
    ("spending", "times", "alpha", "sides", "published"),
    [
        # Reboussin, DeMets, Kim & Lan (Controlled Clinical Trials 21:190-207, 2000), ld98 and R's
        # ldbounds: two-sided 0.05 at five equally spaced looks.
        (_obrien_fleming, FIVE, 0.025, 2, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        (_pocock, FIVE, 0.025, 2, [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
        # One-sided 0.025 has the same figures: both sides are never crossed in one path.
        (_obrien_fleming, FIVE, 0.025, 1, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        # SeqBounds.jl, its documented example (grid step 0.05): one-sided 0.05, four looks.
        (_obrien_fleming, FOUR, 0.05, 1, [3.7496, 2.5399, 2.0160, 1.7201]),
    ],
    ids=["O'Brien-Fleming", "Pocock", "one-sided", "one-sided 0.05"],
)
def test_boundaries_are_the_published_ones(
    spending: Callable[[float, float], float],
    times: list[float],
    alpha: float,
    sides: int,
    published: list[float],
) -> None:
    spends = [sides * spending(time, alpha) for time in times]
    found = spending_boundaries(times, spends, sides=sides)
    assert found == pytest.approx(published, abs=2e-4)


@pytest.mark.parametrize("sides", [1, 2])
def test_two_looks_spend_what_the_bivariate_normal_says(sides: int) -> None:
    times, spends = [0.3, 1.0], [0.01, 0.05]
    one, two = spending_boundaries(times, spends, sides=sides)
    law = sps.multivariate_normal(cov=[[1, math.sqrt(0.3)], [math.sqrt(0.3), 1]])
    low = [-np.inf, -np.inf] if sides == 1 else [-one, -two]
    inside = law.cdf([one, two], lower_limit=low)
    assert 1 - inside == pytest.approx(0.05, abs=1e-5)
    assert one == pytest.approx(sps.norm.isf(0.01 / sides), abs=1e-9)


def test_simulated_paths_cross_as_often_as_is_spent() -> None:
    looks = look_schedule(939)
    times = [n / 939 for n in looks]
    spends = [spent(time, 0.05, n_items=939) for time in times]
    found = np.array(spending_boundaries(times, spends))
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(100_000, len(times))) * np.sqrt(np.diff([0.0, *times]))
    crossed = (steps.cumsum(axis=1) / np.sqrt(times) > found).cumsum(axis=1) > 0
    assert crossed.mean(axis=0) == pytest.approx(spends, abs=4 * math.sqrt(0.05 / 100_000))


@given(
    # Looks add a tenth at least, as those of a schedule do: nearer ones need ever finer grids.
    st.lists(st.integers(0, 70), min_size=1, max_size=12, unique=True).map(
        lambda steps: [1.1**-step for step in steps]
    ),
    st.floats(1e-6, 0.2),
    st.sampled_from([1.0, 2.0, 3.0]),
)
def test_boundaries_lie_between_one_look_and_bonferroni(
    times: list[float], alpha: float, power: float
) -> None:
    times.sort()
    spends = [alpha * time**power for time in times]
    found = spending_boundaries(times, spends)
    steps = np.diff([0.0, *spends])
    for z, step, total in zip(found, steps, spends, strict=True):
        assert sps.norm.isf(total) - 1e-6 <= z
        assert step < 1e-12 or z <= sps.norm.isf(step) + 1e-6


def test_looks_without_anything_to_spend_cannot_be_crossed() -> None:
    assert spending_boundaries([0.5, 1.0], [0.0, 0.05])[0] == math.inf
    assert spending_boundaries([0.5, 1.0], [0.0, 0.05])[1] == pytest.approx(sps.norm.isf(0.05))


@pytest.mark.parametrize(
    ("times", "spends", "sides"),
    [([], [], 1), ([0.5], [0.1, 0.2], 1), ([0.5, 0.5], [0.1, 0.2], 1), ([0.5, 2], [0.1, 0.2], 1),
     ([0.5, 1], [0.2, 0.1], 1), ([1], [1], 1), ([1], [0.05], 3), ([0.0, 1], [0.1, 0.2], 1)],
)  # fmt: skip
def test_impossible_boundaries_are_refused(
    times: list[float], spends: list[float], sides: int
) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        spending_boundaries(times, spends, sides=sides)


def test_the_schedule_grows_by_half_and_ends_with_everything() -> None:
    assert look_schedule(346) == (50, 75, 112, 168, 253, 346)
    assert look_schedule(939) == (50, 75, 112, 168, 253, 379, 569, 939)  # not 854 as well
    assert look_schedule(61) == (61,)
    assert look_schedule(1) == (1,)
    with pytest.raises(ValueError, match="need items"):
        look_schedule(0)


@given(st.integers(1, 20_000), st.integers(1, 200), st.floats(1.05, 3))
def test_every_schedule_grows_to_all_items(n: int, first: int, ratio: float) -> None:
    looks = look_schedule(n, first=first, ratio=ratio)
    assert looks[-1] == n
    assert all(b > a for a, b in pairwise(looks))
    assert looks[0] in (n, first)


@given(st.integers(1, 20), st.floats(1e-6, 0.2))
def test_fails_spend_half_at_the_last_look(n: int, level: float) -> None:
    levels = fail_levels(n, level)
    assert sum(levels) == pytest.approx(level)
    assert levels[-1] == pytest.approx(level if n == 1 else level / 2)
    assert len(set(levels[:-1])) <= 1


def test_looks_of_the_default_tasks() -> None:
    """First look that can pass, and the level left for the last one."""
    expected = {250: (168, 0.042), 285: (168, 0.043), 346: (168, 0.039), 939: (168, 0.030),
                1319: (168, 0.029), 6511: (253, 0.029)}  # fmt: skip
    for n, (first, last) in expected.items():
        looks = cell_looks(n, margin=5.0, n_cells=231)
        passing = [look for look in looks if look.pass_level is not None]
        assert passing[0].items == first
        assert passing[-1].pass_level == pytest.approx(last, abs=5e-4)
        assert sum(look.fail_level for look in looks) == pytest.approx(0.05 / 231)


def test_one_look_has_the_levels_of_the_gate() -> None:
    (look,) = cell_looks(55, margin=5.0, n_cells=10)
    assert (look.items, look.time, look.fail_level) == (55, 1.0, 0.05 / 10)
    assert look.pass_level == pytest.approx(0.05)
    with pytest.raises(ValueError, match="margin"):
        cell_looks(55, margin=0.0, n_cells=10)


# Exact: every count of gains and losses from look to look, for independent binary items.


def _score(gains: Array, losses: Array, n: int, delta: float) -> Array:
    """Tango's score of gains and losses for a difference of ``delta``, as a normal deviate."""
    b = -gains - losses + (2.0 * n - gains + losses) * delta
    root = np.sqrt(np.maximum(b * b + 8.0 * n * losses * delta * (1.0 - delta), 0.0))
    q = (root - b) / (4.0 * n)
    variance = np.maximum(n * (2.0 * q + delta * (1.0 - delta)), 1e-300)
    return np.asarray((gains - losses - n * delta) / np.sqrt(variance))


def _decisions(
    gains: Array, losses: Array, look: Look, margin: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Where a look passes and fails a cell, as the gate does, by tests in place of intervals."""
    n = look.items
    above, below = (_score(gains, losses, n, edge) for edge in (-margin, margin))
    passes = np.zeros(gains.shape, dtype=bool)
    if look.pass_level is not None:
        z = sps.norm.isf(look.pass_level)
        passes = (above > z) & (below < -z)
    z = sps.norm.isf(look.fail_level / 2)
    guard = sps.binom.sf(np.abs(gains - losses) - 1, n, margin) <= look.fail_level / 2
    return passes, ((below >= z) | (above <= -z)) & guard


def _exact(
    looks: tuple[Look, ...], up: float, down: float, margin: float = 0.05
) -> tuple[float, float, float]:
    """P(pass), P(fail) and the mean share of items asked; ``up`` and ``down`` are chances."""
    passed = failed = share = 0.0
    state, before = np.ones((1, 1)), 0
    for look in looks:
        steps = look.items - before
        most = [int(min(steps, sps.binom.isf(1e-13, steps, p) + 1 if p else 0)) for p in (up, down)]
        g, m = np.meshgrid(np.arange(most[0] + 1), np.arange(most[1] + 1), indexing="ij")
        step = sps.multinomial.pmf(
            np.stack([g, m, np.maximum(steps - g - m, 0)], axis=-1),
            steps,
            [up, down, 1 - up - down],
        )
        step = np.where(g + m <= steps, step, 0.0)
        state = np.maximum(signal.convolve(state, step), 0.0)
        gains, losses = np.meshgrid(*map(np.arange, state.shape), indexing="ij")
        passes, fails = _decisions(gains.astype(float), losses.astype(float), look, margin)
        out = float(state[passes].sum() + state[fails].sum())
        passed += float(state[passes].sum())
        failed += float(state[fails].sum())
        share += look.time * (out if look is not looks[-1] else float(state.sum()))
        state = np.where(passes | fails, 0.0, state)
        before = look.items
    return passed, failed, share


def test_the_vectorised_decisions_are_those_of_the_gate() -> None:
    look = Look(items=300, time=1.0, fail_level=0.05 / 231, pass_level=0.05)
    for gains, losses in [(0, 0), (0, 9), (9, 0), (4, 4), (0, 34), (0, 36), (2, 40), (3, 45),
                          (50, 3), (20, 20), (30, 30), (1, 24)]:  # fmt: skip
        cell = np.repeat([1.0, 0.0, 1.0], [gains, losses, 300 - gains - losses])
        base = np.repeat([0.0, 1.0, 1.0], [gains, losses, 300 - gains - losses])
        verdict = decide_cell(
            cell,
            base,
            clusters=np.arange(300).astype(np.str_),
            margin=5,
            alpha=0.05,
            n_cells=231,
            floor=0.0,
        ).verdict
        passes, fails = _decisions(np.array([gains]), np.array([losses]), look, 0.05)
        assert (verdict is Verdict.PASS) == passes[0]
        assert (verdict is Verdict.FAIL) == fails[0]


def test_the_stop_by_hand_in_the_docs_has_every_figure_right() -> None:
    n_items, cells, margin, n, g, losses = 250, 231, 5.0, 168, 2, 3
    looks = cell_looks(n_items, margin=margin, n_cells=cells)
    look = next(one for one in looks if one.items == n)
    earlier = [one.items for one in looks if one.items < n]
    assert all(one.pass_level is None for one in looks if one.items < n)
    assert look.pass_level is not None
    spending = [spent(items / n_items, 0.05, n_items=n_items) for items in earlier]
    *_, early = spending_boundaries([items / n_items for items in earlier], spending)
    z, z_fail = sps.norm.isf(look.pass_level), sps.norm.isf(look.fail_level / 2)
    cell = np.repeat([1.0, 0.0, 1.0], [g, losses, n - g - losses])
    reference = np.repeat([0.0, 1.0, 1.0], [g, losses, n - g - losses])
    verdict = decide_cell(
        cell, reference, clusters=np.arange(n), margin=margin, alpha=0.05, n_cells=cells,
        floor=0.0, look=look,
    )  # fmt: skip
    assert verdict.verdict is Verdict.PASS
    says = [
        f"at {', '.join(map(str, [*earlier, n]))} and {n_items} items",
        f"t = {n} / {n_items} = {look.time:g}",
        f"0.05 t^2 is spent, here {look.pass_level:.4f}",
        f"and z = {z:.3f}",
        f"z^2 x 0.95 / 0.05 = {z * z * 19:.1f}, and {z * z * 19:.1f} < {n}",
        f"{spending[-1] - spending[-2]:.4f} would be left at 112 ({spending[-1]:.5f} less "
        f"{spending[-2]:.5f} at 75), which takes z = {early:.3f}",
        f"{early:.3f}^2 x 19 = {early**2 * 19:.1f} > 112",
        f"0.05 / {cells} = {0.05 / cells:.6f}",
        f"the four looks before the last, {look.fail_level:.7f} each, on both sides: z = "
        f"{z_fail:.3f}",
        f"has {g} right that the reference has wrong, and {losses} the other way round: "
        f"{verdict.difference.estimate:.1f} points",
        f"with g = {g} gains, l = {losses} losses, n = {n}",
        f"within {z:.3f} of 0, {verdict.passing.low:+.1f} to {verdict.passing.high:+.1f}; that of "
        f"a fail, at {z_fail:.3f}, is {verdict.difference.low:+.1f} to "
        f"{verdict.difference.high:+.1f}",
        f"the cell passes, and is asked no further: {n_items - n} items fewer",
    ]
    scores = []
    for delta in (-0.05, 0.05):
        b = (2 * n - g + losses) * delta - g - losses
        q = (math.sqrt(b * b + 8 * n * losses * delta * (1 - delta)) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        score = (g - losses - n * delta) / math.sqrt(variance)
        assert score == pytest.approx(float(_score(np.array(g), np.array(losses), n, delta)))
        scores.append(score)
        says.append(
            f"At d = {delta:g}: B = {b:.2f}, q = {q:.4f}, {g - losses - n * delta:.1f} / "
            f"sqrt({variance:.2f}) = {score:.2f}"
        )
    says.append(f"{scores[0]:.2f} > {z:.3f} and {scores[1]:.2f} < -{z:.3f}")
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text("utf-8")
    example = text.split("### A stop by hand")[1].split("\n## ")[0]
    assert [line for line in says if line not in example] == []


@pytest.mark.parametrize("items", [250, 346, 939, 1319])
def test_errors_on_the_margin_are_at_most_the_level(items: int) -> None:
    """Every discordance: a cell on the margin passes in 5 %, any of 231 fails in 5 %."""
    looks = cell_looks(items, margin=5.0, n_cells=231)
    for discordance in (0.05, 0.055, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3):
        up = (discordance - 0.05) / 2
        passed, failed, _ = _exact(looks, up, up + 0.05)
        assert passed <= 0.05
        assert 1 - (1 - failed) ** 231 <= 0.05


@pytest.mark.parametrize(
    ("items", "expected"), [(250, 0.52), (285, 0.62), (346, 0.73), (939, 1.0), (1319, 1.0)]
)
def test_unbiased_cells_pass_with_a_fraction_of_the_items(items: int, expected: float) -> None:
    """A tenth of the answers change: the audit's figures, found apart from this code."""
    looks = cell_looks(items, margin=5.0, n_cells=231)
    passed, failed, share = _exact(looks, 0.05, 0.05)
    assert passed == pytest.approx(expected, abs=0.01)
    assert failed < 1e-4
    if items >= 500:
        assert share < 0.55


@pytest.mark.parametrize(
    ("changed", "most_items", "least_decided"),
    [(0.02, 0.16, 0.99), (0.05, 0.23, 0.93), (0.1, 0.32, 0.78), (0.2, 0.46, 0.57)],
)
def test_the_default_suite_is_decided_by_a_fraction_of_its_items(
    changed: float, most_items: float, least_decided: float
) -> None:
    """Without an effect; exact for independent items, futility left out."""
    sizes = (250, 285, 346, 939, 974, 1319, 6511)
    found = [
        _exact(cell_looks(n, margin=5.0, n_cells=231), changed / 2, changed / 2) for n in sizes
    ]
    asked = sum(n * share for n, (_, _, share) in zip(sizes, found, strict=True)) / sum(sizes)
    assert asked <= most_items
    assert np.mean([passed + failed for passed, failed, _ in found]) >= least_decided


def test_looks_lose_little_against_one_look_and_find_what_is_far_off_early() -> None:
    looks = cell_looks(939, margin=5.0, n_cells=231)
    once = (Look(939, 1.0, 0.05 / 231, 0.05),)
    for down in (0.15, 0.25):
        found, at_once = (_exact(these, 0.05, down)[1] for these in (looks, once))
        assert found > at_once - 0.07
    _, failed, share = _exact(looks, 0.05, 0.25)
    assert failed > 0.99
    assert share < 0.35


def test_looks_at_an_axis_follow_its_information() -> None:
    looks = axis_looks([1319, 974, 285, 6511], tolerance=3.0)
    assert 6 <= len(looks) <= 9
    assert looks[-1].items == (1319, 974, 285, 6511)
    assert looks[-1].time == 1.0
    for before, after in pairwise(looks):
        assert all(a <= b for a, b in zip(before.items, after.items, strict=True))
        assert before.time < after.time
        rate = 1 / sum(1 / n for n in before.items)
        assert before.time == pytest.approx(rate * sum(1 / n for n in looks[-1].items))
    assert sum(look.fail_level for look in looks) == pytest.approx(0.05)
    passing = [look for look in looks if look.pass_level is not None]
    assert passing[0].pass_level == pytest.approx(0.05 * passing[0].time)
    # At the look before, not even identities that never differ would pass.
    early = looks[len(looks) - len(passing) - 1]
    assert 50 * (1 - 0.0076 ** (1 / early.items[0])) > 3.0
    assert axis_looks([20], tolerance=3.0)[0].pass_level == pytest.approx(0.05)
    with pytest.raises(ValueError, match="an axis needs tasks"):
        axis_looks([], tolerance=3.0)


def _difference(n: int, gains: int, losses: int, confidence: float = 0.9):
    change = np.repeat([1, -1, 0], [gains, losses, n - gains - losses])
    return paired_difference((change > 0) * 1.0, (change < 0) * 1.0, confidence=confidence)


def test_futility_is_what_simulation_predicts() -> None:
    """The rest is drawn again and again at the present rates, which are drawn as uncertain."""
    rng = np.random.default_rng(1)
    level = 0.05 / 231
    for n, gains, losses, of in [(168, 8, 17, 346), (112, 3, 9, 250), (253, 10, 30, 939)]:
        found = _difference(n, gains, losses)
        chance = predicted_verdict(found, of_items=of, margin=5.0, fail_level=level, alpha=0.05)
        rates = rng.dirichlet([gains + 0.5, losses + 0.5, n - gains - losses], size=4000)
        drawn = np.array([rng.multinomial(of - n, p) for p in rates])
        ends = drawn + np.array([gains, losses, n])
        look = Look(of, 1.0, level, 0.05)
        passes, fails = _decisions(ends[:, 0] * 1.0, ends[:, 1] * 1.0, look, 0.05)
        assert chance == pytest.approx((passes | fails).mean(), abs=0.1)


def test_a_cell_on_the_margin_is_dropped_and_a_clear_one_is_not() -> None:
    level = 0.05 / 231
    common = {"margin": 5.0, "fail_level": level, "alpha": 0.05}
    assert is_futile(_difference(253, 20, 33), of_items=346, **common)
    assert not is_futile(_difference(253, 5, 6), of_items=346, **common)
    assert not is_futile(_difference(253, 2, 60), of_items=346, **common)
    assert not is_futile(_difference(74, 9, 13), of_items=90, **common)  # too early to tell
    done = _difference(346, 0, 0)
    assert predicted_verdict(done, of_items=346, **common) == 1.0
    assert predicted_verdict(_difference(346, 20, 37), of_items=346, **common) == 0.0
    with pytest.raises(ValueError, match="were asked"):
        predicted_verdict(done, of_items=345, **common)


@pytest.mark.parametrize("confidence", [0.9, 1 - 0.05 / 231])
@pytest.mark.parametrize(("groups", "changed"), [(10, 0.05), (6, 0.05), (12, 0.1)])
def test_few_clusters_make_no_cell_futile_that_may_well_pass(
    groups: int, changed: float, confidence: float
) -> None:
    """Cells without a difference at 120 of 400 items: most pass at the end, hardly one is dropped.

    At the level of a fail t is 6 to 9 where the normal deviate is 3.7: the width of that interval
    is no standard error, and a cell is not out of reach because it cannot fail.
    """
    rng = np.random.default_rng(groups)
    dropped = passed = 0
    for _ in range(150):
        turn = rng.random(400)
        cell, reference = (turn > changed / 2) * 1.0, (turn < 1 - changed / 2) * 1.0
        codes = rng.integers(0, groups, 400)
        found = paired_difference(
            cell[:120], reference[:120], clusters=codes[:120], confidence=confidence
        )
        dropped += is_futile(found, of_items=400, margin=5.0, fail_level=0.05 / 231, alpha=0.05)
        at_end = paired_difference(cell, reference, clusters=codes, confidence=0.9)
        passed += at_end.low > -5.0 and at_end.high < 5.0
    assert passed > 0.7 * 150
    assert dropped < 0.1 * 150


def test_futility_does_not_depend_on_the_confidence_of_the_interval() -> None:
    chances = [
        predicted_verdict(
            _difference(168, 20, 28, confidence), of_items=346, margin=5.0, fail_level=2e-4,
            alpha=0.05,
        )
        for confidence in (0.9, 0.95, 0.99)
    ]  # fmt: skip
    assert max(chances) - min(chances) < 0.03


def test_looks_that_add_next_to_nothing_are_refused_before_they_take_the_memory() -> None:
    with pytest.raises(ValueError, match="must add"):
        spending_boundaries([0.5, 0.5004, 1.0], [0.01, 0.02, 0.05])


@pytest.mark.parametrize("tasks", [[1, 60_000], [3, 50, 60_000], [1, 1]])
def test_an_axis_with_a_tiny_task_has_levels(tasks: list[int]) -> None:
    # More of the large task brings next to no information: such looks cannot pass.
    looks = axis_looks(tasks, tolerance=3)
    assert looks[-1].items == tuple(tasks)
    assert looks[-1].pass_level is not None
    assert 0 < looks[-1].pass_level < 0.05 + 1e-9
