"""Paired difference of a cell from a reference on the same items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import (
    NO_VARIANCE,
    Array,
    Labels,
    crossing,
    item_means,
    mean_variance,
    observed_clusters,
    sign_pvalue,
)
from pytest_pbias.stats.distributions import (
    binomial_sf,
    fair_binomial_cdf,
    normal_isf,
    student_isf,
    student_sf,
)


@dataclass(frozen=True, slots=True)
class PairedDifferenceResult:
    """Cell minus reference, percentage points, on the items both answered.

    ``low`` and ``high`` bound the difference at the ``confidence`` asked for; ``method`` names
    the interval: ``score`` (Tango), or ``cluster-robust``. ``degrees`` of freedom are those of the
    Student's t that it was read off, None for the normal.
    """

    estimate: float
    low: float
    high: float
    pvalue: float
    n_items: int
    n_clusters: int
    rate: float
    reference_rate: float
    method: str
    confidence: float
    degrees: float | None = None

    @property
    def half_width(self) -> float:
        """Half of the interval's width, percentage points."""
        return (self.high - self.low) / 2


def net_change_pvalue(found: PairedDifferenceResult, *, margin: float) -> float:
    """P(as large a net change) where nothing but ``margin`` (percentage points) changes one way.

    The binomial tail P(X >= |gains - losses|), X of the result's n items at ``margin``: the most
    skewed way for a difference to sit on the margin, and the one whose tail a score interval far
    out (z = 3.7 for 231 cells) takes for too thin. Exact for independent binary items.
    """
    net = abs(found.estimate) / 100 * found.n_items
    # A whole number of items in spite of rounding.
    whole = round(net)
    net = float(whole) if abs(net - whole) < 1e-6 else net
    return binomial_sf(net, found.n_items, margin / 100)


def paired_difference(
    cell: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    confidence: float = 0.95,
    skewed: bool = False,
) -> PairedDifferenceResult:
    """Difference of two cells on the same items, cell minus reference.

    Both have shape (items,) or (items, repeats), scores in [0, 1]; items missing from either are
    left out. Binary outcomes of independent items get Tango's score interval (Tango 1998) and
    the mid-p McNemar test (Fagerland, Lydersen & Laake 2013). Otherwise the interval is
    estimate +/- t times the cluster-robust standard error (t on clusters - 1 degrees of freedom),
    never narrower than what Tango's interval would be at the same discordance and as many
    independent items as there are clusters' worth of information. Where all differences are
    equal, nothing estimates their variance: the interval is Tango's and the p-value that of the
    sign test over clusters. Items of a single cluster are taken as independent: the result is
    about that cluster. ``skewed`` widens the interval on the side of the few clusters that stand
    apart, as an effect needs that sits in few clusters (:func:`robust_interval`).

    Raises:
        ValueError: shapes differ, a score lies outside [0, 1], or no item has both.
    """
    first, second = item_means(cell), item_means(reference)
    if first.shape != second.shape:
        raise ValueError(f"the cells have {first.size} and {second.size} items; they must match")
    difference, codes = observed_clusters(first - second, clusters)
    n = difference.size
    if n == 0:
        raise ValueError("no item was answered in both cells")
    both = ~np.isnan(first - second)
    groups = int(codes.max()) + 1
    binary = bool(np.all(np.isin(first[both], (0.0, 1.0)) & np.isin(second[both], (0.0, 1.0))))
    if binary and groups == n:
        gains, losses = float((difference > 0).sum()), float((difference < 0).sum())
        low, high = tango_interval(gains, losses, n, confidence=confidence)
        pvalue, method = mcnemar_midp(int(gains), int(losses)), "score"
        degrees: float | None = None
    else:
        low, high, pvalue, degrees = robust_interval(difference, codes, confidence, skewed=skewed)
        method = "cluster-robust"
    return PairedDifferenceResult(
        estimate=100 * float(difference.mean()),
        low=100 * low,
        high=100 * high,
        pvalue=pvalue,
        n_items=n,
        n_clusters=groups,
        rate=100 * float(first[both].mean()),
        reference_rate=100 * float(second[both].mean()),
        method=method,
        confidence=confidence,
        degrees=degrees,
    )


@dataclass(frozen=True, slots=True)
class MeanDifferenceResult:
    """Cell minus reference of an amount without bounds, in its unit, on the items both have."""

    estimate: float
    low: float
    high: float
    pvalue: float
    n_items: int
    n_clusters: int
    mean: float
    reference_mean: float


def mean_difference(
    cell: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> MeanDifferenceResult:
    """Difference of two cells' means on the same items, of an amount such as a length.

    Both have shape (items,); items missing from either are left out. The interval is
    estimate +/- t times the cluster-robust standard error (t on clusters - 1 degrees of freedom),
    the larger of that with and without clusters. Where all differences are equal, nothing
    estimates their variance: the interval has no bounds unless they are 0, and the p-value is that
    of the sign test over clusters.

    Raises:
        ValueError: shapes differ, or no item has both.
    """
    first, second = np.asarray(cell, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"the cells have shapes {first.shape} and {second.shape}; they must match")
    difference, codes = observed_clusters(first - second, clusters)
    n = difference.size
    if n == 0:
        raise ValueError("no item was answered in both cells")
    both = ~np.isnan(first - second)
    mean = float(difference.mean())
    found = mean_variance(difference - mean, codes)
    if found.value <= NO_VARIANCE or found.degrees < 1:
        half = 0.0 if mean == 0.0 else math.inf
        pvalue = 1.0 if mean == 0.0 else sign_pvalue(found.n_clusters)
    else:
        error = math.sqrt(found.value)
        half = student_isf((1 - confidence) / 2, found.degrees) * error
        pvalue = 2 * student_sf(abs(mean) / error, found.degrees)
    return MeanDifferenceResult(
        estimate=mean,
        low=mean - half,
        high=mean + half,
        pvalue=pvalue,
        n_items=n,
        n_clusters=found.n_clusters,
        mean=float(first[both].mean()),
        reference_mean=float(second[both].mean()),
    )


@lru_cache(maxsize=4096)  # many identities have as many discordant pairs
def tango_interval(
    gains: float, losses: float, n: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Tango's score interval of a difference of paired proportions, in [-1, 1].

    ``gains`` and ``losses`` are the discordant pairs (Statistics in Medicine 17:891-908, 1998);
    counts may be fractional.
    """
    z = normal_isf((1 - confidence) / 2)
    estimate = (gains - losses) / n

    def score(delta: float) -> float:
        # The discordance under delta: constrained maximum likelihood, the root of a quadratic.
        a = 2.0 * n
        b = -gains - losses + (2.0 * n - gains + losses) * delta
        c = -losses * delta * (1.0 - delta)
        q = (math.sqrt(max(b * b - 4.0 * a * c, 0.0)) - b) / (2.0 * a)
        variance = n * (2.0 * q + delta * (1.0 - delta))
        top = gains - losses - n * delta
        if variance <= 1e-15:
            return math.copysign(math.inf, top) if abs(top) > 1e-12 else 0.0
        return top / math.sqrt(variance)

    def solve(target: float, start: float, end: float) -> float:
        if (score(end) - target) * (score(start) - target) > 0:
            return end
        return crossing(lambda d: max(min(score(d), 1e9), -1e9) - target, start, end)

    edge = 1.0 - 1e-12
    low = -1.0 if estimate <= -edge else solve(z, estimate, -edge)
    high = 1.0 if estimate >= edge else solve(-z, estimate, edge)
    return low, high


def mcnemar_midp(gains: int, losses: int) -> float:
    """Two-sided mid-p McNemar test of equal paired proportions."""
    discordant = gains + losses
    if discordant == 0:
        return 1.0
    smaller = min(gains, losses)
    # Twice P(at most so many) less P(exactly so many).
    return min(
        1.0,
        fair_binomial_cdf(smaller, discordant) + fair_binomial_cdf(smaller - 1, discordant),
    )


def robust_interval(
    difference: Array, codes: npt.NDArray[np.intp], confidence: float, *, skewed: bool = False
) -> tuple[float, float, float, float | None]:
    """Cluster-robust interval, p-value and degrees of freedom, guarded where no variance shows.

    Where an effect sits in few clusters, a draw with too few of them shows both too small an effect
    and too small a variance. ``skewed`` lets the interval reach further on the side to which the
    clusters' sums are skewed (:func:`_skew_reach`), and nowhere less far: the p-value is unchanged.
    """
    n, mean = difference.size, float(difference.mean())
    found = mean_variance(difference - mean, codes)
    if found.value <= NO_VARIANCE:
        # Nothing varied: the largest effect that would go unseen in n independent items.
        low, high = tango_interval(
            max(mean, 0.0) * n, max(-mean, 0.0) * n, n, confidence=confidence
        )
        return low, high, 1.0 if mean == 0.0 else sign_pvalue(found.n_clusters), None
    if found.degrees < 1:
        return -1.0, 1.0, 1.0, None
    standard_error = math.sqrt(found.value)
    quantile = student_isf((1 - confidence) / 2, found.degrees)
    effective = n * min(1.0, found.simple / found.value)
    spread = float(np.abs(difference).mean())
    gains, losses = (spread + mean) / 2 * effective, (spread - mean) / 2 * effective
    guard_low, guard_high = tango_interval(
        max(gains, 0.0), max(losses, 0.0), effective, confidence=confidence
    )
    half = quantile * standard_error
    reach = 0.0
    if skewed and found.value > found.simple:  # the clusters' own spread is what bounds it
        reach = standard_error * _skew_reach(difference - mean, codes, quantile)
    low = max(-1.0, min(mean - half + min(reach, 0.0), guard_low))
    high = min(1.0, max(mean + half + max(reach, 0.0), guard_high))
    return low, high, 2 * student_sf(abs(mean) / standard_error, found.degrees), found.degrees


def _skew_reach(residuals: Array, codes: npt.NDArray[np.intp], quantile: float) -> float:
    """How much further a limit lies where clusters' sums are skewed, in standard errors.

    The first term of the Cornish-Fisher expansion of a studentized mean (Johnson, Journal of the
    American Statistical Association 73:536-544, 1978; Hall, Journal of the Royal Statistical
    Society B 54:221-228, 1992), skewness / (6 sqrt(G)) * (2 quantile^2 + 1) for G clusters, with
    the adjusted skewness of the sums of ``residuals``. It has the sign of the skewness: below 0 the
    lower limit lies further down. Fewer than three clusters show no skewness.
    """
    sums = np.bincount(codes, weights=residuals)
    groups = sums.size
    spread = float((sums**2).mean())
    if groups < 3 or spread <= NO_VARIANCE:
        return 0.0
    skewness = float((sums**3).mean()) / (spread * math.sqrt(spread))
    adjusted = skewness * math.sqrt(groups * (groups - 1)) / (groups - 2)
    return adjusted / (6 * math.sqrt(groups)) * (2 * quantile**2 + 1)
