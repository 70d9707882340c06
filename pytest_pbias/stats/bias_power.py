"""How many items PB needs to be decided."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_pbias.stats.bias import SumOfSquaresLaw
from pytest_pbias.stats.power import require_level, whole_items
from pytest_pbias.stats.roots import crossing

_MOST_ITEMS = 10_000_000
_MOST_BIAS = 50.0  # scores in [0, 1] spread by half at most


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
    to_pass = max(to_pass, whole_items(unseen, _MOST_ITEMS))
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
        whole_items(low, _MOST_ITEMS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= power else (middle, high)
    return high
