"""How many items a verdict and PB need, and what a table can detect."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy.typing as npt

from pytest_pbias.stats.arrays import Labels, crossing
from pytest_pbias.stats.bias import SumOfSquaresLaw
from pytest_pbias.stats.distributions import binomial_sf, normal_isf, normal_ppf
from pytest_pbias.stats.paired import PairedDifferenceResult, paired_difference

_MOST_ITEMS = 10**9
_MOST_BIAS_ITEMS = 10_000_000
_MOST_BIAS = 50.0  # scores in [0, 1] spread by half at most


@dataclass(frozen=True, slots=True)
class PowerPlan:
    """Items a task needs for its cells to be decided with probability ``power``.

    ``to_pass`` for a cell without any difference, ``to_fail`` for one of ``effect`` percentage
    points. ``discordance`` is the share of items assumed to change their outcome.
    """

    to_pass: int
    to_fail: int
    effect: float
    margin: float
    baseline_rate: float
    discordance: float
    n_cells: int
    power: float
    alpha: float


def plan_power(
    *,
    baseline_rate: float,
    n_identities: int,
    margin: float,
    power: float = 0.8,
    alpha: float = 0.05,
    n_tasks: int = 1,
    discordance: float | None = None,
    effect: float | None = None,
) -> PowerPlan:
    """Plan a run before a token is spent.

    Rates and margins are percentage points. A cell fails at Bonferroni's level over
    ``n_identities * n_tasks`` cells and passes by two one-sided tests at the plain level ``alpha``,
    as in the gate. Without ``discordance`` (a share in [0, 1]) the answers under
    two identities are taken as independent, 2 p (1 - p), which overstates what a model that
    answers most questions alike needs. ``effect`` defaults to :func:`default_effect`. Normal
    approximation (Connor 1987, Biometrics 43:207-211).

    Raises:
        ValueError: a figure outside its range, or more than a billion items would be needed.
    """
    p = baseline_rate / 100
    if not (0 <= p <= 1 and 0 < margin <= 100 and n_identities >= 1 and n_tasks >= 1):
        raise ValueError(
            "need 0 <= baseline rate <= 100, 0 < margin <= 100, and at least one identity and task"
        )
    share = 2 * p * (1 - p) if discordance is None else discordance
    if not 0 <= share <= 1:
        raise ValueError(f"need 0 <= discordance <= 1, not {share:g}")
    require_level(alpha, power)
    beyond = default_effect(margin) if effect is None else effect
    if not abs(beyond) <= 100:
        raise ValueError(f"an effect of {beyond:g} points: no rate changes by more than 100")
    if abs(beyond) <= margin:
        raise ValueError(f"an effect of {beyond:g} points is not beyond the margin of {margin:g}")
    cells = n_identities * n_tasks
    try:
        to_pass, to_fail = _items_to_decide(
            share, abs(beyond) / 100, margin / 100, (alpha, alpha / (2 * cells)), power
        )
    except (OverflowError, ZeroDivisionError):
        to_pass = to_fail = math.inf
    return PowerPlan(
        whole_items(to_pass), whole_items(to_fail), beyond, margin, baseline_rate, share, cells,
        power, alpha,
    )  # fmt: skip


def default_effect(margin: float) -> float:
    """The difference that a plan is made for where none is named: twice the margin, 100 at most."""
    return min(2 * margin, 100.0)


def require_level(alpha: float, power: float) -> None:
    """Check what every plan takes.

    Raises:
        ValueError: ``alpha`` is not in [1e-9, 1), below which 1 - alpha loses its digits, or
            ``power`` not in (0, 1).
    """
    if not (1e-9 <= alpha < 1 and 0 < power < 1):
        raise ValueError(f"need 1e-9 <= alpha < 1 and 0 < power < 1, not {alpha:g} and {power:g}")


def whole_items(items: float, most: int = _MOST_ITEMS) -> int:
    """``items`` rounded up, at least 1.

    Raises:
        ValueError: they are more than ``most``.
    """
    if not items <= most:
        raise ValueError(f"more than {most:,} items would be needed; plan for less")
    return max(1, math.ceil(items))


def _items_to_decide(
    share: float, effect: float, margin: float, tails: tuple[float, float], power: float
) -> tuple[float, float]:
    """Items to pass without a difference and to fail with ``effect``; all shares in [0, 1].

    ``tails`` are the one-sided levels of a pass and of a fail.
    """
    within, z = (normal_isf(tail) for tail in tails)
    both, one = normal_ppf((1 + power) / 2), normal_ppf(power)
    # Even identical answers leave a score interval of z^2 / (n + z^2) on either side, and answers
    # that all change one way a score limit of (n - z^2) / (n + z^2).
    silent = max(0.0, within) ** 2 * (1 - margin) / margin
    unanimous = z * z * (1 + margin) / (1 - margin)
    spread = max(share, effect) - effect**2
    to_pass = max(share * (max(0.0, within + both) / margin) ** 2, silent)
    to_fail = max(spread * (max(0.0, z + one) / (effect - margin)) ** 2, unanimous)
    return to_pass, to_fail


def minimum_detectable_effect(
    cell: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    margin: float = 0.0,
    clusters: Labels | None = None,
    n_cells: int = 1,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Smallest difference (percentage points) that this table would call beyond ``margin``.

    Margin plus the simultaneous interval's half-width plus the power's quantile of the standard
    error that this width implies.

    Raises:
        ValueError: as ``paired_difference``, or alpha or power is no probability.
    """
    require_level(alpha, power)
    confidence = 1 - alpha / max(1, n_cells)
    found = paired_difference(cell, reference, clusters=clusters, confidence=confidence)
    z = normal_isf((1 - confidence) / 2)
    return margin + found.half_width * (1 + normal_ppf(power) / z)


def items_to_fail(result: PairedDifferenceResult, *, margin: float, level: float) -> int | None:
    """Items at which the cell would fail, interval and binomial guard, if its estimate stayed.

    ``level`` is the two-sided one of the interval. None where the estimate is not beyond the
    margin, or no feasible number suffices.
    """
    if abs(result.estimate) <= margin:
        return None
    needed = required_items(result, margin=margin)
    if needed is None:
        return None
    share = abs(result.estimate) / 100

    def guarded(items: int) -> bool:
        return binomial_sf(share * items, items, margin / 100) <= level / 2

    high = needed
    while not guarded(high):
        high *= 2
        if high > _MOST_ITEMS:
            return None
    low = max(needed, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if guarded(middle) else (middle + 1, high)
    return high


def required_items(result: PairedDifferenceResult, *, margin: float) -> int | None:
    """Items at which this interval would be off the margin, if its estimate stayed.

    The limit that straddles the margin moves towards the estimate with the square root of the
    number of items. None where the estimate sits on the margin; the present number where it is
    decided already.
    """
    outside = result.low >= margin or result.high <= -margin
    if outside or (-margin < result.low and result.high < margin):
        return result.n_items
    distance = abs(abs(result.estimate) - margin)
    if distance <= 1e-9:
        return None
    up, down = result.high - result.estimate, result.estimate - result.low
    reach = max(up, down) if abs(result.estimate) < margin else (
        down if result.estimate > 0 else up
    )  # fmt: skip
    return max(result.n_items + 1, math.ceil(result.n_items * (reach / distance) ** 2))


@dataclass(frozen=True, slots=True)
class BiasPowerPlan:
    """Items a task needs for its PB to be decided with probability ``power``.

    ``to_pass`` for a model without any bias, ``to_fail`` for one of PB ``effect`` percentage
    points. ``discordance`` is the share of items on which two identities are assumed to differ;
    ``noise_floor`` is the raw PB of an unbiased model at ``to_pass`` items.
    """

    to_pass: int
    to_fail: int
    effect: float
    tolerance: float
    discordance: float
    n_identities: int
    noise_floor: float
    power: float
    alpha: float


def plan_bias_power(
    *,
    n_identities: int,
    tolerance: float,
    discordance: float,
    power: float = 0.8,
    alpha: float = 0.05,
    effect: float | None = None,
) -> BiasPowerPlan:
    """Plan the items for PB against its ``tolerance`` (percentage points), one task.

    The one-sided limits at ``alpha`` decide, as in the gate. The noise of an identity's mean
    residual is half the ``discordance`` (a share in [0, 1]) over the items, equal for all
    identities; the law of the sum of squares is that of the interval. ``effect`` defaults to
    twice the tolerance, or the 50 points that PB can be at most.

    Raises:
        ValueError: a figure outside its range, an effect that is not above the tolerance, or more
            than ten million items would be needed.
    """
    if not (n_identities >= 2 and 0 < tolerance < _MOST_BIAS and 0 < discordance <= 1):
        raise ValueError(
            f"PB needs two identities, 0 < tolerance < {_MOST_BIAS:g} (no PB is larger), "
            "0 < discordance <= 1"
        )
    require_level(alpha, power)
    beyond = min(2 * tolerance, _MOST_BIAS) if effect is None else effect
    if not beyond <= _MOST_BIAS:
        raise ValueError(f"an effect of {beyond:g} is above {_MOST_BIAS:g}, the most PB can be")
    if beyond <= tolerance:
        raise ValueError(f"an effect of {beyond:g} is not above the tolerance of {tolerance:g}")

    def law(items: float, share: float = discordance) -> SumOfSquaresLaw:
        noise = share / 2 * (n_identities - 1) / items
        squared = noise**2 / (n_identities - 1)
        return SumOfSquaresLaw(noise, squared, squared / noise)

    def widest(items: float) -> SumOfSquaresLaw:
        """The upper limit's law, whose slope is the largest eigenvalue of a sample covariance."""
        at = law(items)
        # Marchenko & Pastur (1967): where that of equal noise in K - 1 directions falls.
        excess = (1 + math.sqrt((n_identities - 1) / items)) ** 2
        return replace(at, slope=at.slope * excess, rarest=1 / items, identities=n_identities)

    def square(points: float) -> float:
        return n_identities * (points / 100) ** 2

    def passes(items: float) -> float:
        """Chance that an unbiased model's upper limit lies below the tolerance."""
        edge = _quantile(widest(items), square(tolerance), 1 - alpha)
        return 1 - law(items).upper_tail(edge, 0.0)

    def fails(items: float) -> float:
        """Chance that the lower limit lies above the tolerance under the effect."""
        # Identities that far apart differ on at least so many items.
        at = law(items, max(discordance, math.sqrt(2) * beyond / 100))
        edge = _quantile(at, square(tolerance), alpha)
        return at.upper_tail(edge, square(beyond))

    to_pass = _least(passes, power)
    # Nothing seen is not nothing there: the limit that an interval never goes below.
    unseen = math.log(alpha) / math.log1p(-min(0.99, tolerance / 50))
    to_pass = max(to_pass, whole_items(unseen, _MOST_BIAS_ITEMS))
    return BiasPowerPlan(
        to_pass=to_pass,
        to_fail=_least(fails, power),
        effect=beyond,
        tolerance=tolerance,
        discordance=discordance,
        n_identities=n_identities,
        noise_floor=100 * math.sqrt(law(to_pass).noise / n_identities),
        power=power,
        alpha=alpha,
    )


def _quantile(law: SumOfSquaresLaw, effect: float, tail: float) -> float:
    """The sum of squares that ``effect`` exceeds with probability ``tail``."""
    high = law.noise + effect
    while law.upper_tail(high, effect) > tail:
        high *= 2
    return crossing(lambda x: law.upper_tail(x, effect) - tail, 0.0, high)


def _least(chance: Callable[[float], float], power: float) -> int:
    """The least number of items at which ``chance`` reaches ``power``.

    Raises:
        ValueError: they are more than ten million.
    """
    low, high = 2, 4
    while chance(high) < power:
        low, high = high, 2 * high
        whole_items(low, _MOST_BIAS_ITEMS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= power else (middle, high)
    return high
