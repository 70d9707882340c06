"""When to look at a growing table, and at which levels: group-sequential boundaries.

Pure functions: they know of items and levels, nothing of asking. A cell, or an axis, is decided at
looks after 50, 75, 112, ... items. So that looking often is not deciding by chance, each look has a
nominal level of its own:

* a **fail** by Bonferroni: half of the level at the last look, the other half equally over the
  earlier ones (:func:`fail_levels`);
* a **pass** by a spending function (Lan & DeMets, Biometrika 70:659-663, 1983), alpha t^2 for tasks
  under 500 items and alpha t from there (:func:`spent`), t being the share of the items: the
  boundaries that spend it are found by recursive numerical integration (Armitage, McPherson & Rowe,
  Journal of the Royal Statistical Society A 132:235-244, 1969).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_pbias.stats.arrays import Array, Labels, cluster_codes, crossing, table_means
from pytest_pbias.stats.bias import FEWEST_CLUSTERS, TableParts, laws, table_parts, unseen
from pytest_pbias.stats.distributions import (
    chi_square_ppf,
    normal_isf,
    normal_sf,
    student_isf,
)
from pytest_pbias.stats.paired import PairedDifferenceResult, tango_interval

FIRST_LOOK = 50  # items
RATIO = 1.5
SMALL_TASK = 500  # items under which levels are kept for the end
MOST_AXIS_LOOKS = 9
FUTILE = 0.05  # predicted chance of any verdict under which a cell is asked no further
FUTILE_FROM = 75  # items
CLOSEST = 0.001  # that a look may be to the one before, as a share of its time
_ERROR_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the distribution of an error that was estimated
_EFFECT_SHARES = tuple((step + 0.5) / 20 for step in range(20))  # of what the true PB may be
_FAR = 9.0  # standard deviations that hold everything
_NODES = 64  # of Gauss and Legendre for ten standard deviations of a step
_FARTHEST = 37.0  # normal deviates beyond which a tail is 0 in double precision


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a cell after ``items`` items, ``time`` (0 to 1] of all.

    ``fail_level`` is the two-sided level of the interval of a fail (and of its binomial guard);
    ``pass_level`` the one-sided level of both tests of a pass, None where a look is too early to
    pass any cell.
    """

    items: int
    time: float
    fail_level: float
    pass_level: float | None


@dataclass(frozen=True, slots=True)
class AxisLook:
    """One look at an axis after ``items`` of each of its tasks.

    ``time`` is the share of the whole information; levels are one-sided, as an axis's limits are.
    """

    items: tuple[int, ...]
    time: float
    fail_level: float
    pass_level: float | None


def look_schedule(
    n_items: int, *, first: int = FIRST_LOOK, ratio: float = RATIO
) -> tuple[int, ...]:
    """Items at each look: ``first`` times powers of ``ratio``, rounded down; the last is all.

    A look that is nearer to the end than half a step (939 items after 854) would spend level to
    save next to nothing: it is left out.

    Raises:
        ValueError: no items, or looks that do not grow.
    """
    if n_items < 1 or first < 1 or not ratio > 1:
        raise ValueError(
            f"need items, a first look and a ratio above 1, not {n_items}, {first} and {ratio:g}"
        )
    looks: list[int] = []
    reached = float(first)
    while reached * math.sqrt(ratio) <= n_items:
        if not looks or int(reached) > looks[-1]:
            looks.append(int(reached))
        reached *= ratio
    if looks and looks[-1] == n_items:
        looks.pop()
    return (*looks, n_items)


def fail_levels(n_looks: int, level: float) -> tuple[float, ...]:
    """Nominal levels whose sum is ``level``: half at the last look, the rest equally before it."""
    if n_looks == 1:
        return (level,)
    return (*[level / 2 / (n_looks - 1)] * (n_looks - 1), level / 2)


def spent(time: float, alpha: float, *, n_items: int) -> float:
    """How much of ``alpha`` may be spent on passes by ``time`` (share of the items).

    Power families of Kim & DeMets (Biometrika 74:149-154, 1987): alpha t^2 keeps the level of a
    small task for its end, where most of its cells are decided; alpha t lets a large one stop
    early.
    """
    return float(alpha * (time**2 if n_items < SMALL_TASK else time))


def spending_boundaries(
    times: Sequence[float], cumulative: Sequence[float], *, sides: int = 1
) -> tuple[float, ...]:
    """Normal deviates z[k] at which a Brownian motion spends ``cumulative`` at the ``times``.

    P(Z > z at some look up to k) is ``cumulative[k]`` where there is no drift; with two ``sides``
    it is P(|Z| > z). A look that spends nothing has an infinite boundary.

    Raises:
        ValueError: times or levels that do not grow, or lie outside (0, 1], or a look that is
            less than 0.001 of its time after the one before: the integration takes memory in the
            inverse of that distance.
    """
    steps = np.diff([0.0, *cumulative])
    if len(times) != len(cumulative) or not len(times) or sides not in (1, 2):
        raise ValueError("need one level a look, and one or two sides")
    if not (np.diff([0.0, *times]) > 0).all() or times[-1] > 1 + 1e-12:
        raise ValueError(f"looks must grow and end at 1 at the latest, not {times}")
    if (np.diff(times) < CLOSEST * np.asarray(times[1:])).any():
        raise ValueError(f"a look must add {CLOSEST:g} of its time or more, not {times}")
    if not (steps >= 0).all() or cumulative[-1] >= 1:
        raise ValueError(f"what is spent must not shrink nor reach 1, not {cumulative}")
    found: list[float] = []
    nodes, density = np.zeros(1), np.ones(1)  # the motion's places before a look, and their mass
    before = 0.0
    for time, step in zip(times, steps, strict=True):
        sigma = math.sqrt(time - before)
        z = _boundary(nodes, density, sigma, math.sqrt(time), step, sides)
        found.append(z)
        edge = min(z, _FAR) * math.sqrt(time)
        bottom = -edge if sides == 2 else -_FAR * math.sqrt(time)
        places, weights = _quadrature(bottom, edge, sigma)
        moves = (places[:, None] - nodes[None, :]) / sigma
        kernel = np.exp(-0.5 * moves**2) / (sigma * math.sqrt(2 * math.pi))
        nodes, density = places, weights * (kernel @ density)
        before = time
    return tuple(found)


def _boundary(
    nodes: Array, density: Array, sigma: float, root: float, step: float, sides: int
) -> float:
    """The deviate beyond which the next look finds just ``step``."""
    if step <= 0.0:
        return math.inf

    def beyond(z: float) -> float:
        found = special.ndtr((nodes - z * root) / sigma)
        if sides == 2:
            found = found + special.ndtr((-nodes - z * root) / sigma)
        return float(density @ found)

    # Logarithms: the first steps of a spending function may be 1e-7 and less.
    return crossing(lambda z: math.log(max(beyond(z), 1e-300)) - math.log(step), 0.0, _FARTHEST)


def _quadrature(low: float, high: float, sigma: float) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on (low, high), in pieces of at most 10 ``sigma``.

    What is integrated is smooth on the scale of a step of the motion, ``sigma``, and no finer.
    """
    pieces = max(1, math.ceil((high - low) / (10 * sigma)))
    x, w = _legendre(_NODES)
    width = (high - low) / pieces
    starts = low + width * np.arange(pieces)
    places = (starts[:, None] + width * (x + 1) / 2).ravel()
    return places, np.tile(w * width / 2, pieces)


@lru_cache(maxsize=1)
def _legendre(count: int) -> tuple[Array, Array]:
    x, w = np.polynomial.legendre.leggauss(count)
    return np.asarray(x), np.asarray(w)


@lru_cache(maxsize=256)
def cell_looks(
    n_items: int, *, margin: float, n_cells: int, alpha: float = 0.05
) -> tuple[Look, ...]:
    """The looks at a cell of a task of ``n_items``, of ``n_cells`` that are decided together.

    Passes are spent from the first look at which a cell without any change would pass: at normal
    deviate z that takes more than z^2 (1 - margin) / margin items (Tango's limit), and what an
    earlier look spent would be lost. Times take items as information, which is exact for
    independent items and nearly so where clusters are drawn at random.

    ``margin`` is in percentage points. At one look the levels are those of the gate without looks.

    Raises:
        ValueError: a figure outside its range.
    """
    if not (0 < margin <= 100 and n_cells >= 1 and 0 < alpha < 1):
        raise ValueError(
            "need 0 < margin <= 100, a cell and 0 < alpha < 1, not "
            f"{margin:g}, {n_cells}, {alpha:g}"
        )
    items = look_schedule(n_items)
    times = [count / n_items for count in items]
    share = margin / 100

    def possible(look: int, level: float) -> bool:
        return items[look] > max(0.0, normal_isf(level)) ** 2 * (1 - share) / share

    budget = [spent(time, alpha, n_items=n_items) for time in times]
    passes = _pass_levels(times, budget, possible)
    fails = fail_levels(len(items), alpha / n_cells)
    return tuple(map(Look, items, times, fails, passes))


def items_to_pass(
    n_items: int, *, margin: float, n_cells: int, alpha: float = 0.05, changed: float = 0.1
) -> int:
    """Items after which a cell without a difference passes, where ``changed`` of answers do change.

    Half of them one way, half the other: the first look at which that lies within the margin, or
    ``n_items``. ``changed`` is a share.
    """
    for look in cell_looks(n_items, margin=margin, n_cells=n_cells, alpha=alpha):
        if look.pass_level is not None:
            half, confidence = changed * look.items / 2, 1 - 2 * look.pass_level
            if 100 * tango_interval(half, half, look.items, confidence=confidence)[1] < margin:
                return look.items
    return n_items


def axis_looks(
    task_items: Sequence[int], *, tolerance: float, alpha: float = 0.05
) -> tuple[AxisLook, ...]:
    """The looks at PB over the tasks of an axis, of ``task_items`` items each.

    PB is the mean over tasks, so its information is 1 / sum over tasks of 1 / n: when the smallest
    task is exhausted, more items of the others bring little. Of the looks of the largest task those
    are left out that add the least, until 9 are left; the last has everything. Levels are
    one-sided: fails half at the last look and the rest equally, passes alpha t of the information
    from the first look at which identities that never differ would pass.

    Raises:
        ValueError: no task or a task without items, or a figure outside its range.
    """
    if not task_items or min(task_items) < 1 or not (tolerance > 0 and 0 < alpha < 1):
        raise ValueError("an axis needs tasks with items, a tolerance above 0 and 0 < alpha < 1")
    sizes = [tuple(min(n, size) for size in task_items) for n in look_schedule(max(task_items))]
    total = sum(task_items)
    kept = [items for items in sizes[:-1] if sum(items) * math.sqrt(RATIO) <= total]
    kept.append(sizes[-1])
    whole = _information(kept[-1])
    while len(kept) > MOST_AXIS_LOOKS:
        shares = [_information(items) for items in kept]
        gains = [after / before for before, after in pairwise(shares)]
        # The look after which the least was gained falls away; the last never does.
        del kept[int(np.argmin(gains[:-1])) + 1]
    times = [_information(items) / whole for items in kept]

    def possible(look: int, level: float) -> bool:
        unseen = [0.5 * (1 - level ** (1 / n)) for n in kept[look]]
        return 100 * math.sqrt(sum(share**2 for share in unseen) / len(unseen)) < tolerance

    passes = _pass_levels(times, [alpha * time for time in times], possible)
    fails = fail_levels(len(kept), alpha)
    return tuple(map(AxisLook, kept, times, fails, passes))


def _information(items: Sequence[int]) -> float:
    return 1 / sum(1 / n for n in items)


def _pass_levels(
    times: Sequence[float], budget: Sequence[float], possible: Callable[[int, float], bool]
) -> list[float | None]:
    """Nominal one-sided levels, None before the first look that can pass at its level.

    Those are None as well that the next look adds next to nothing to.
    """
    kept = [len(times) - 1]
    for k in reversed(range(len(times) - 1)):
        if times[kept[0]] - times[k] >= CLOSEST * times[kept[0]]:
            kept.insert(0, k)
    usual = [normal_sf(z) for z in _boundaries(times, budget, kept)]
    start = next((k for k, level in enumerate(usual) if possible(kept[k], level)), len(kept) - 1)
    levels: list[float | None] = [None] * len(times)
    for k, z in zip(kept[start:], _boundaries(times, budget, kept[start:]), strict=True):
        levels[k] = normal_sf(z)
    return levels


def _boundaries(
    times: Sequence[float], budget: Sequence[float], kept: Sequence[int]
) -> tuple[float, ...]:
    return spending_boundaries([times[k] for k in kept], [budget[k] for k in kept])


def predicted_verdict(
    found: PairedDifferenceResult,
    *,
    of_items: int,
    margin: float,
    fail_level: float,
    alpha: float,
    signal: float = 1.0,
) -> float:
    """Chance of any verdict by ``of_items`` items, predicted from a cell's difference so far.

    The difference at the end is normal around the present estimate with the variance of what is
    yet to be asked (the predictive distribution under a flat prior; Spiegelhalter, Freedman &
    Blackburn, Controlled Clinical Trials 7:8-17, 1986). The standard error is that of the interval
    of ``found``, which is not 0 where nothing changed, and its degrees of freedom are those of the
    end: on few clusters the interval of a fail is wide by its t, not by its error. That the error
    was estimated from so few is averaged over. The end is
    decided at the whole levels (``fail_level`` two-sided, ``alpha`` one-sided) as if nothing had
    been spent, which promises rather more than looks can keep. ``signal`` is the chance that what
    the cell is compared with will be clear of its floor (:func:`predicted_clear`), which a pass
    needs and a fail does not.

    Raises:
        ValueError: more items were asked than there are.
    """
    n = found.n_items
    if not n <= of_items:
        raise ValueError(f"{n} items were asked of {of_items}")

    def quantile(tail: float) -> float:
        if found.degrees is None:
            return normal_isf(tail)
        return student_isf(tail, found.degrees)

    error = found.half_width / quantile((1 - found.confidence) / 2)
    # How far the error may be off: its variance over the true one is a chi-square over its degrees.
    true = [1.0]
    if found.degrees is not None:
        true = [
            math.sqrt(found.degrees / chi_square_ppf(share, found.degrees))
            for share in _ERROR_SHARES
        ]
    asked = n / of_items

    def chance(error: float) -> float:
        at_end, spread = error * math.sqrt(asked), error * math.sqrt(1 - asked)
        within = margin - quantile(alpha) * at_end
        beyond = margin + quantile(fail_level / 2) * at_end
        if spread <= 0.0:
            if abs(found.estimate) >= beyond:
                return 1.0
            return signal if abs(found.estimate) < within else 0.0

        def above(limit: float) -> float:
            return normal_sf((limit - found.estimate) / spread)

        passes = max(0.0, above(-within) - above(within)) if within > 0 else 0.0
        return min(1.0, signal * passes + above(beyond) + 1 - above(-beyond))

    if n == of_items:
        return chance(error)
    return sum(chance(error * one) for one in true) / len(true)


def is_futile(
    found: PairedDifferenceResult,
    *,
    of_items: int,
    margin: float,
    fail_level: float,
    alpha: float,
    signal: float = 1.0,
) -> bool:
    """Whether a cell need be asked no further: a verdict has less than a chance in twenty.

    From 75 items. Not binding: a cell that is asked on all the same has the same error rates.
    """
    if found.n_items < FUTILE_FROM:
        return False
    chance = predicted_verdict(
        found,
        of_items=of_items,
        margin=margin,
        fail_level=fail_level,
        alpha=alpha,
        signal=signal,
    )
    return chance < FUTILE


def predicted_axis_verdict(
    tables: Sequence[npt.ArrayLike],
    *,
    clusters: Sequence[Labels | None],
    of_items: Sequence[int],
    tolerance: float,
    alpha: float,
    signal: float = 1.0,
) -> float:
    """Chance of any verdict on PB over an axis by ``of_items`` items of each of its tasks.

    ``tables`` have shape (identities, items[, repeats]), the answers so far; ``tolerance`` is in
    percentage points. The sum of squares so far says how large the true one may be (the quantiles
    of its confidence distribution, by the law of the interval); given that, the sum at the end is
    normal, with the correlation to the present one that U-statistics of a growing sample have
    (covariance = variance at the end, Hoeffding 1948). It is decided by the limits that the law
    will have with the noise of so many items, at the whole level ``alpha`` a side as if
    nothing had been spent. ``signal`` is the chance that no task will be at its floor or ceiling,
    which a pass needs and a fail does not.

    Fewer than six clusters, each seen more than once, are taken for all that there are: nothing
    is decided on them. Where some were seen once only, others are to come, and the chance is 1.

    Raises:
        ValueError: more items were asked than there are, or not one entry a table.
    """
    means = [table_means(table) for table in tables]
    parts = [table_parts(mean, codes) for mean, codes in zip(means, clusters, strict=True)]
    for part, mean, codes in zip(parts, means, clusters, strict=True):
        if part.n_clusters < FEWEST_CLUSTERS:
            sizes = np.bincount(cluster_codes(codes, mean.shape[1]))
            return 1.0 if (sizes == 1).any() else 0.0
    shares = [1 / len(parts)] * len(parts)
    ends = [_at_the_end(part, n) for part, n in zip(parts, of_items, strict=True)]
    (now, _), (last, widest) = laws(parts, shares), laws(ends, shares)
    edge = parts[0].n_identities * (tolerance / 100) ** 2
    most = widest.sum_at(1 - alpha, edge)  # with which PB still passes
    if unseen(ends, shares, alpha) >= (tolerance / 100) ** 2:
        most = -math.inf
    least = last.sum_at(alpha, edge)  # from which it fails
    observed = sum(share * part.observed for share, part in zip(shares, parts, strict=True))

    def chance(effect: float) -> float:
        before, after = now.variance(effect), last.variance(effect)
        kept = min(1.0, after / before) if before > 0.0 else 1.0
        centre = last.noise + effect + kept * (observed - now.noise - effect)
        spread = math.sqrt(after * (1 - kept))
        if spread <= 0.0:
            return 1.0 if centre > least else signal * (centre < most)
        return signal * normal_sf((centre - most) / spread) + normal_sf((least - centre) / spread)

    effects = [now.limit(observed, share) for share in _EFFECT_SHARES]
    return min(1.0, sum(map(chance, effects)) / len(effects))


def _at_the_end(part: TableParts, of_items: int) -> TableParts:
    """What a table's parts will be at ``of_items`` items: the same, but for the noise of a mean."""
    if part.n_items > of_items:
        raise ValueError(f"{part.n_items} items were asked of {of_items}")
    share = part.n_items / of_items
    return replace(
        part,
        noise=part.noise * share,
        noise_squared=part.noise_squared * share**2,
        # The effects seen have a noise of their own, which is in it twice over.
        along=max(part.along - part.noise_squared, 0.0) * share + part.noise_squared * share**2,
        largest=part.largest * share,
        n_items=of_items,
        n_clusters=of_items if part.n_clusters == part.n_items else part.n_clusters,
    )
