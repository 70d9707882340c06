"""Rates of one cell, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_pbias.stats.arrays import (
    NO_VARIANCE,
    Array,
    Labels,
    clustered_variance,
    item_means,
    observed_clusters,
)
from pytest_pbias.stats.distributions import normal_isf

_ROUNDING = 1e-9  # of a rate


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, percentage points."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateResult:
    """A rate with its confidence interval, percentage points, over ``n_items`` items."""

    estimate: float
    low: float
    high: float
    n_items: int


def wilson_interval(successes: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927), percentage points.

    ``successes`` and ``n`` may be fractional (effective counts).

    Raises:
        ValueError: ``n`` is not positive or ``successes`` lies outside [0, n].
    """
    if not (n > 0 and -1e-9 <= successes <= n + 1e-9):
        raise ValueError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    z = normal_isf((1 - confidence) / 2)
    p = min(max(successes / n, 0.0), 1.0)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the two terms are equal; rounding must not tell the limit from 0 or 100.
    low = 0.0 if p == 0 else max(0.0, centre - half)
    high = 1.0 if p == 1 else min(1.0, centre + half)
    return Interval(100 * low, 100 * high)


def rate(
    outcomes: npt.ArrayLike, *, clusters: Labels | None = None, confidence: float = 0.95
) -> RateResult:
    """Mean score of a cell with Wilson's interval.

    ``outcomes`` has shape (items,) or (items, repeats), scores in [0, 1], NaN where missing. Where
    items are clustered or scores are not binary, the interval is Wilson's at the effective number
    of items: n divided by the design effect, the ratio of the (cluster-robust) variance of the
    mean to the binomial one (Kish 1965).

    Raises:
        ValueError: no outcome is observed.
    """
    means, labels = observed_clusters(item_means(outcomes), clusters)
    n = means.size
    if n == 0:
        raise ValueError("no outcome is observed")
    p = float(means.mean())
    effective = n / rate_design_effect(means, labels)
    interval = wilson_interval(p * effective, effective, confidence=confidence)
    return RateResult(100 * p, interval.low, interval.high, n)


def rate_design_effect(means: Array, labels: npt.NDArray[np.intp]) -> float:
    """Variance of the mean over clusters, relative to the binomial variance; at least 1 / repeats.

    ``means`` in [0, 1] and ``labels``, clusters numbered from 0 without gaps, have shape (items,).
    A binary, unclustered cell has 1. Averages over repeats vary less than single answers, so the
    ratio may be below 1 without clusters; clusters never lower it below the unclustered ratio.
    """
    n = means.size
    p = float(means.mean())
    binomial = p * (1 - p) / n
    if binomial <= 0 or n < 2:
        return 1.0
    residuals = means - p
    simple = float(residuals @ residuals) / n**2
    is_clustered = int(labels.max()) + 1 < n
    robust = clustered_variance(residuals, labels) if is_clustered else simple
    variance = max(robust, simple)
    # Equal fractional scores show no variance of their own: take that of single answers.
    return variance / binomial if variance > NO_VARIANCE else 1.0


def predicted_clear(
    outcomes: npt.ArrayLike,
    *,
    of_items: int,
    floor: float,
    least: float = 0.0,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> float:
    """Chance that a rate will be clear of its floor when ``of_items`` items are asked.

    ``outcomes`` are those so far, as :func:`rate` takes them; ``floor`` is a rate in [0, 1] that
    Wilson's lower limit must be above, ``least`` one that the rate itself must be above. The rest
    is beta-binomial under Jeffreys' prior, of as many items as are worth it at the design effect
    so far. With everything asked the chance is 0 or 1.

    A ceiling is asked for by the other side: the items with a fault, of which one is enough
    (``floor`` 0).

    Raises:
        ValueError: no outcome is observed, or more than there are items.
    """
    means, labels = observed_clusters(item_means(outcomes), clusters)
    n = means.size
    if not 0 < n <= of_items:
        raise ValueError(f"need 1 to {of_items} observed items, not {n}")
    deviate = normal_isf((1 - confidence) / 2)
    effect = rate_design_effect(means, labels)
    # Wilson's limit is above the floor just where the score test of the floor rejects.
    share = max(floor + deviate * math.sqrt(floor * (1 - floor) * effect / of_items), least)
    right = float(means.sum())
    if n == of_items:
        return float(right > (share + _ROUNDING) * n)
    rest = of_items - n
    trials = max(1, round(rest / effect))
    missing = math.floor((share * of_items - right) / rest * trials + _ROUNDING) + 1
    return _beta_binomial_sf(missing, trials, right / effect + 0.5, (n - right) / effect + 0.5)


def _beta_binomial_sf(successes: int, trials: int, a: float, b: float) -> float:
    """P(at least ``successes`` of ``trials``) where their chance has the law Beta(a, b)."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    few = 2 * successes <= trials  # the shorter tail
    counts = np.arange(successes) if few else np.arange(successes, trials + 1)
    logs = (
        special.gammaln(trials + 1)
        - special.gammaln(counts + 1)
        - special.gammaln(trials - counts + 1)
        + special.betaln(counts + a, trials - counts + b)
        - special.betaln(a, b)
    )
    tail = float(np.exp(logs).sum())
    return min(1.0, max(0.0, 1.0 - tail if few else tail))
