"""Personalization bias: the raw score, the debiased one, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import (
    Array,
    Labels,
    cluster_codes,
    cluster_sums,
    crossing,
    table_means,
)
from pytest_pbias.stats.distributions import (
    chi_square_sf,
    noncentral_chi_square_sf,
    normal_isf,
    student_sf,
)
from pytest_pbias.stats.paired import paired_difference

# Under so many clusters nothing tells effect from noise: simulated, the lower limit then errs up
# to 0.87 of the time (2 clusters) and 0.06 (4), instead of 0.025.
FEWEST_CLUSTERS = 6
_ROUNDING = 1e-12  # scores that differ by less do not differ
_FAR = 2000.0  # noncentrality from which Patnaik's (1949) central chi-square serves


@dataclass(frozen=True, slots=True)
class PersonalizationBiasResult:
    """PB in percentage points.

    ``raw`` is the paper's score; ``estimate`` the debiased one, with its two-sided interval
    ``low`` to ``high`` and one-sided limit ``upper`` at ``confidence``. ``pvalue`` tests PB = 0 by
    the interval's law; ``omnibus_permutation`` needs no such law.
    ``noise_floor`` is what an unbiased model would score raw on this table.
    """

    raw: float
    estimate: float
    low: float
    high: float
    upper: float
    pvalue: float
    n_items: int
    n_identities: int
    noise_floor: float


@dataclass(frozen=True, slots=True)
class TableParts:
    """Additive parts of one table: everything is in squared scores, summed over identities."""

    observed: float
    signal: float
    noise: float
    noise_squared: float
    along: float
    largest: float
    n_items: int
    n_clusters: int
    n_identities: int


def personalization_bias(
    outcomes: npt.ArrayLike, *, clusters: Labels | None = None, confidence: float = 0.95
) -> PersonalizationBiasResult:
    """PB of a table (identities, items) or (identities, items, repeats), scores in [0, 1].

    The raw score is sqrt(mean over identities of |f(u) - mean f|^2) (arXiv 2406.11107, eq. 1).
    The debiased PB^2 is the U-statistic over pairs of distinct items (or clusters) of the
    item-centred residuals, exactly unbiased where items are drawn independently. The interval
    inverts the distribution of the raw sum of squares, a scaled noncentral chi-square whose mean
    and variance follow from the residual covariance at each hypothetical PB: Satterthwaite's
    (1946) scale without an effect, the variance along the effects with a large one. For the upper
    limits that variance is the largest along any direction, which holds where a single identity
    carries all of PB. Two identities have PB = half of the paired difference; the interval is half
    of that of :func:`paired_difference` (Tango 1998 for binary items).

    A table of fewer than six clusters (or items) cannot tell effect from noise: its interval is
    0 to 50 and its p-value 1.

    Missing responses are NaN: an item counts for an identity where it was observed, centred on
    the identities that were.

    Raises:
        ValueError: wrong shape, scores outside [0, 1], or an identity without any outcome.
    """
    return joint_personalization_bias([outcomes], clusters=[clusters], confidence=confidence)


def joint_personalization_bias(
    tables: Sequence[npt.ArrayLike],
    *,
    clusters: Sequence[Labels | None] | None = None,
    weights: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> PersonalizationBiasResult:
    """PB of the score vector over several tables (tasks or axes) with the same identities.

    PB^2 is the weighted sum of the tables' PB^2; the default weights of 1 give the paper's
    joint score, weights of 1/k the root mean square over k tasks. Intervals of two identities are
    combined over tables by Zou & Donner (Statistics in Medicine 27:1693-1702, 2008).

    Raises:
        ValueError: there is no table, ``clusters`` or ``weights`` are of another number, the
            tables differ in their identities, or an identity has no outcome.
    """
    labels = list(clusters) if clusters is not None else [None] * len(tables)
    shares = list(weights) if weights is not None else [1.0] * len(tables)
    if not tables or len(labels) != len(tables) or len(shares) != len(tables):
        raise ValueError("need at least one table, and one entry a table in clusters and weights")
    means = [table_means(table) for table in tables]
    parts = [table_parts(table, label) for table, label in zip(means, labels, strict=True)]
    result = combine_parts(parts, shares, confidence)
    measured = all(part.n_clusters >= FEWEST_CLUSTERS for part in parts)
    # Without an item that both answered there is no paired difference.
    paired = all(not np.isnan(table).any(axis=0).all() for table in means)
    if result.n_identities != 2 or not measured or not paired:
        return result
    return _of_two(result, means, labels, shares, parts, confidence)


def _of_two(
    result: PersonalizationBiasResult,
    means: Sequence[Array],
    labels: Sequence[Labels | None],
    shares: Sequence[float],
    parts: Sequence[TableParts],
    confidence: float,
) -> PersonalizationBiasResult:
    """The result with limits from the paired differences of its two identities."""
    tail = (1 - confidence) / 2

    def limits(level: float) -> tuple[float, float]:
        """Lower and upper limit, each at one-sided ``level``, of the joint mean square."""
        centre = below = above = 0.0
        for table, label, share in zip(means, labels, shares, strict=True):
            found = paired_difference(*table, clusters=label, confidence=1 - 2 * level)
            half = abs(found.estimate) / 200
            least = max(found.low, -found.high, 0.0) / 200
            most = max(-found.low, found.high) / 200
            centre += share * half**2
            below += (share * (half**2 - least**2)) ** 2
            above += (share * (most**2 - half**2)) ** 2
        most = max(centre + math.sqrt(above), unseen(parts, shares, level))
        return centre - math.sqrt(below), min(0.25 * sum(shares), most)

    low, high = limits(tail)
    return replace(
        result,
        low=min(_points(low), result.estimate),
        high=_points(high),
        upper=_points(limits(2 * tail)[1]),
    )


def combine_parts(
    parts: Sequence[TableParts], shares: Sequence[float], confidence: float
) -> PersonalizationBiasResult:
    """PB from the parts of one or more tables, weighted by ``shares``.

    Raises:
        ValueError: the tables differ in their identities.
    """
    if len({part.n_identities for part in parts}) != 1:
        raise ValueError("the tables must have the same identities")
    identities = parts[0].n_identities
    observed = sum(w * part.observed for w, part in zip(shares, parts, strict=True))
    signal = sum(w * part.signal for w, part in zip(shares, parts, strict=True))
    law, widest = laws(parts, shares)
    tail = (1 - confidence) / 2
    possible = 0.25 * sum(shares)  # scores in [0, 1] spread by 0.5 at most

    def reach(share: float) -> float:
        limit = widest.limit(observed, 1 - share) / identities
        return min(possible, max(limit, unseen(parts, shares, share)))

    high, upper = reach(tail), reach(2 * tail)
    measured = all(part.n_clusters >= FEWEST_CLUSTERS for part in parts)
    estimate = _points(signal / identities)
    low = _points(law.limit(observed, tail) / identities) if measured else 0.0
    return PersonalizationBiasResult(
        raw=_points(observed / identities),
        estimate=estimate,
        # The law knows nothing of gaps; with many the few pairs of items can say less than it.
        low=min(low, estimate),
        high=_points(high),
        upper=_points(upper),
        pvalue=law.upper_tail(observed, 0.0) if measured else 1.0,
        n_items=sum(part.n_items for part in parts),
        n_identities=identities,
        noise_floor=_points(law.noise / identities),
    )


def laws(
    parts: Sequence[TableParts], shares: Sequence[float]
) -> tuple[SumOfSquaresLaw, SumOfSquaresLaw]:
    """The law of the raw sum of squares for lower limits, and the wider one for upper limits."""
    identities = parts[0].n_identities
    signal = sum(w * part.signal for w, part in zip(shares, parts, strict=True))
    noise = sum(w * part.noise for w, part in zip(shares, parts, strict=True))
    squared = sum(w * w * part.noise_squared for w, part in zip(shares, parts, strict=True))
    along = sum(w * w * part.along for w, part in zip(shares, parts, strict=True))
    # The variance along the effects, m'Sm / |m|^2, without the noise that both parts of it carry,
    # and drawn towards the average where the effects are small beside the noise. It is a Rayleigh
    # quotient: the largest eigenvalue bounds it.
    steepest = max(w * part.largest for w, part in zip(shares, parts, strict=True))
    slope = (max(along - squared, 0.0) + squared) / (max(signal, 0.0) + noise) if noise > 0 else 0.0
    freedom = _variance_freedom(parts, shares)
    law = SumOfSquaresLaw(noise, squared, min(slope, steepest), freedom)
    # One identity that carries all of PB has more variance along it than that estimate says; an
    # upper limit too low would pass it.
    weight = sum(shares)
    rarest = sum(w * w / p.n_items for w, p in zip(shares, parts, strict=True)) / weight
    widest = SumOfSquaresLaw(noise, squared, steepest, freedom, rarest, identities, weight)
    return law, widest


def _variance_freedom(parts: Sequence[TableParts], shares: Sequence[float]) -> float:
    """Degrees of freedom of the noise's variance over all tables, by Satterthwaite (1946)."""
    terms = [(w * part.noise, part.n_clusters - 1) for w, part in zip(shares, parts, strict=True)]
    total = sum(noise for noise, _ in terms)
    spread = sum(noise**2 / max(freedom, 1) for noise, freedom in terms)
    return total**2 / spread if spread > 0 else math.inf


def unseen(parts: Sequence[TableParts], weights: Sequence[float], tail: float) -> float:
    """Mean square that the items drawn could have left unseen, with probability ``tail``.

    If a share q of all items separated the identities, n items would show none of them with
    probability (1 - q)^n. Identities differ by at most 0.5 (root mean square) on an item, and by
    0.5 altogether where a table has one cluster only and nothing tells effect from noise.
    """

    def share(part: TableParts) -> float:
        if part.n_clusters < FEWEST_CLUSTERS:
            return 0.5
        return float(0.5 * (1 - tail ** (1 / part.n_items)))

    return sum(weight * share(part) ** 2 for part, weight in zip(parts, weights, strict=True))


def _points(mean_square: float) -> float:
    return 100.0 * math.sqrt(max(0.0, mean_square))


def table_parts(
    means: Array, clusters: Labels | None, *, shared: Array | None = None
) -> TableParts:
    """Residual sums of one table (identities, items).

    ``shared`` is a covariance (identities, identities) of errors of the identities' rates that
    are the same for all items, such as those of an audited judge: debiasing removes it as well.

    Raises:
        ValueError: an identity has no outcome.
    """
    identities, items = means.shape
    seen = ~np.isnan(means)
    if identities == 0 or not seen.any(axis=1).all():
        raise ValueError("every identity needs at least one outcome")
    centre = np.where(seen, means, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    residuals = _without_rounding(np.where(seen, means - centre, 0.0), 1.0)
    codes = cluster_codes(clusters, items)
    groups = int(codes.max()) + 1
    sums, sizes = cluster_sums(residuals, codes), cluster_sums(seen, codes)
    sums = _without_rounding(sums, sizes)
    counts = sizes.sum(axis=1)
    total = _without_rounding(sums.sum(axis=1), counts)
    mean = total / counts
    # Pairs of items from different clusters: their products carry the effect and no noise.
    pairs = counts**2 - (sizes**2).sum(axis=1)
    products = total**2 - (sums**2).sum(axis=1)
    signal = np.divide(products, pairs, out=np.zeros(identities), where=pairs > 0)
    # Covariance of the identities' means over clusters, with the usual small-sample factor.
    spread = _without_rounding(sums - mean[:, None] * sizes, sizes) / counts[:, None]
    factor = groups / max(groups - 1, 1)
    covariance = spread @ spread.T * factor
    # Its other product has the same eigenvalues but for zeros; the smaller is the faster.
    smaller = covariance if identities <= groups else spread.T @ spread * factor
    trace = float(np.trace(covariance))
    squared = float((covariance**2).sum())
    # tr(S^2) overestimates tr(Sigma^2) by about tr(Sigma)^2 / degrees of freedom.
    freedom = max(groups - 1, 1)
    corrected = (squared - trace**2 / freedom) * freedom**2 / ((freedom + 2) * max(freedom - 1, 1))
    floor = trace**2 / max(identities - 1, 1)
    noise_squared = max(corrected, floor)
    if shared is not None:
        noise_squared += 2 * float((covariance * shared).sum()) + float((shared**2).sum())
        covariance = smaller = covariance + shared
        signal = signal - np.diag(shared)
        trace += float(np.trace(shared))
    return TableParts(
        observed=float((mean**2).sum()),
        signal=float(signal.sum()),
        noise=trace,
        noise_squared=noise_squared,
        along=float(mean @ covariance @ mean),
        largest=float(np.linalg.eigvalsh(smaller)[-1]),
        n_items=int(seen.any(axis=0).sum()),
        n_clusters=int((sizes.max(axis=0) > 0).sum()),
        n_identities=identities,
    )


def _without_rounding(sums: Array, sizes: Array | float) -> Array:
    """``sums`` of ``sizes`` scores in [0, 1], zero where nothing but rounding is left.

    Where all answers agree, effect and noise are both what rounding leaves, and their quotient,
    which the p-value is made of, would be anything.
    """
    return np.where(np.abs(sums) <= _ROUNDING * sizes, 0.0, sums)


@dataclass(frozen=True, slots=True)
class SumOfSquaresLaw:
    """Distribution of the raw sum of squares when the true one is ``effect``.

    A scaled noncentral chi-square with mean ``noise + effect``. Without an effect the scale gives
    the variance 2 tr(S^2) (Satterthwaite 1946); with a growing one it approaches ``slope``, the
    variance along the effects, which is what then moves the sum. That variance is estimated, on
    ``freedom`` degrees of freedom: tails are those of Student's t at the law's normal quantile.
    """

    noise: float
    noise_squared: float
    slope: float
    freedom: float = math.inf
    rarest: float = 0.0
    identities: int = 2
    weight: float = 1.0

    def _slope(self, effect: float) -> float:
        """The variance along the effects: at least that of one identity that alone differs.

        It then differs on a share h of the items or more, h^2 = effect K / (K - 1), however few
        such items were drawn: the variance at the hypothesis, as in Tango's interval. ``rarest`` is
        1 over the items (0: no such bound); with several tables ``weight`` is their weights' sum,
        and ``rarest`` the mean of weight over items.
        """
        ratio = self.identities / max(self.identities - 1, 1)
        share = min(0.5, math.sqrt(effect / self.weight * ratio))
        return max(self.slope, share * (1 - share) / ratio * self.rarest)

    def _scale(self, effect: float) -> float:
        base = self.noise_squared / self.noise
        slope = self._slope(effect)
        return base + (max(slope, base) - base) * effect / (effect + self.noise)

    def variance(self, effect: float) -> float:
        """Variance of the sum of squares."""
        return 2 * self._scale(effect) * (self.noise + 2 * effect) if self.noise > 0.0 else 0.0

    def upper_tail(self, observed: float, effect: float) -> float:
        """P(sum of squares >= observed)."""
        if self.noise <= 0.0:
            return 1.0 if observed <= effect + 1e-15 else 0.0
        scale = self._scale(effect)
        tail = _noncentral_tail(observed / scale, self.noise / scale, effect / scale)
        return self._studentized(tail, effect)

    def _studentized(self, tail: float, effect: float) -> float:
        if math.isinf(self.freedom) or not 0.0 < tail < 1.0:
            return tail
        # Variance of the sum: 2 tr(S^2), estimated along as many directions as the noise has (a
        # square: a quarter of their number), and that along the effects, a single direction.
        everywhere = 2 * self.noise_squared
        along = 4 * effect * max(self._slope(effect), self.noise_squared / self.noise)
        directions = max(1.0, self.noise**2 / self.noise_squared / 4)
        spread = everywhere**2 / (self.freedom * directions) + along**2 / self.freedom
        freedom = (everywhere + along) ** 2 / spread
        return student_sf(normal_isf(tail), freedom)

    def limit(self, observed: float, tail: float) -> float:
        """The effect at which ``observed`` or more has probability ``tail``; at least 0."""
        if self.noise <= 0.0:
            return observed
        if self.upper_tail(observed, 0.0) >= tail:
            return 0.0
        high = max(observed, self.noise)
        while self.upper_tail(observed, high) < tail:
            high *= 2.0
        return crossing(lambda effect: self.upper_tail(observed, effect) - tail, 0.0, high)

    def sum_at(self, tail: float, effect: float) -> float:
        """The sum of squares that is reached with probability ``tail`` where there is an effect."""
        if self.noise <= 0.0:
            return effect
        high = effect + self.noise
        while self.upper_tail(high, effect) > tail:
            high *= 2.0
        return crossing(lambda value: self.upper_tail(value, effect) - tail, 0.0, high)


def _noncentral_tail(value: float, freedom: float, shift: float) -> float:
    """P(noncentral chi-square >= value)."""
    if shift == 0.0:
        return chi_square_sf(value, freedom)
    if shift > _FAR:  # the noncentral law is slow and inexact there; its central match is not
        stretch = 1.0 + shift / (freedom + shift)
        return chi_square_sf(value / stretch, (freedom + shift) / stretch)
    return noncentral_chi_square_sf(value, freedom, shift)
