"""Effects of a cue that is said in several wordings, and whether the effects of cues agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import (
    NO_VARIANCE,
    Array,
    Labels,
    clustered_variance,
    item_means,
    observed_clusters,
)
from pytest_pbias.stats.distributions import normal_isf, student_isf, student_sf
from pytest_pbias.stats.paired import paired_difference, robust_interval


@dataclass(frozen=True, slots=True)
class CueEffectResult:
    """Effect of one cue, or the difference between the effects of two, percentage points.

    The interval covers other items and, where there are at least two, other wordings.
    ``n_wordings`` gives the wordings of each cue: 1 where the result is about that sentence only.
    """

    estimate: float
    low: float
    high: float
    pvalue: float
    n_items: int
    n_wordings: tuple[int, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class EffectCorrelation:
    """Pearson correlation of the effects of two cues across identities, and its interval."""

    estimate: float
    low: float
    high: float
    n_identities: int
    confidence: float


def cue_effect(
    cell: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    wordings: Labels | None = None,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> CueEffectResult:
    """Cell minus reference where item i was asked in the wording ``wordings[i]``.

    Both have shape (items,) or (items, repeats), scores in [0, 1]. Items and wordings are crossed
    random factors: the interval is the wider of that over items (:func:`paired_difference`) and
    that over wordings, estimate +/- t(wordings - 1) times the error that the wordings' sums show,
    and the p-value the larger one. Without wordings, or where only one was asked, it is that over
    items.

    Raises:
        ValueError: as :func:`paired_difference`, or not one wording an item.
    """
    over_items = paired_difference(cell, reference, clusters=clusters, confidence=confidence)
    difference = item_means(cell) - item_means(reference)
    spread, freedom, counts = _over_wordings(difference, [wordings])
    low, high, pvalue = _wider(
        over_items.estimate / 100,
        (over_items.low / 100, over_items.high / 100, over_items.pvalue),
        spread,
        freedom,
        confidence,
        bound=1.0,
    )
    return CueEffectResult(
        estimate=over_items.estimate,
        low=100 * low,
        high=100 * high,
        pvalue=pvalue,
        n_items=over_items.n_items,
        n_wordings=counts,
        confidence=confidence,
    )


def cue_contrast(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    wordings: tuple[Labels | None, Labels | None] = (None, None),
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> CueEffectResult:
    """The second cue's effect minus the first's, each a cell and its reference, on shared items.

    Items and the wordings of both cues are crossed random factors. The variance over wordings is
    that of Cameron, Gelbach & Miller (2011, Journal of Business & Economic Statistics 29:238-249):
    the two one-way variances less that over items, which is in both, with the degrees of freedom
    of Welch and Satterthwaite. As in :func:`cue_effect`, the wider interval counts.

    Raises:
        ValueError: shapes differ, a score lies outside [0, 1], or no item has all four.
    """
    cells = [item_means(one) for one in (*first, *second)]
    if len({one.size for one in cells}) > 1:
        raise ValueError("the cells of two cues need the same items")
    difference = (cells[2] - cells[3]) - (cells[0] - cells[1])
    kept, codes = observed_clusters(difference, clusters)
    if kept.size == 0:
        raise ValueError("no item was answered in all four cells")
    # Scaled, a difference of differences lies in [-1, 1], where the guards of the interval hold.
    scale = 2.0 if float(np.abs(kept).max()) > 1.0 else 1.0
    low, high, pvalue, _ = robust_interval(kept / scale, codes, confidence)
    spread, freedom, counts = _over_wordings(difference, wordings)
    estimate = float(kept.mean())
    low, high, pvalue = _wider(
        estimate, (scale * low, scale * high, pvalue), spread, freedom, confidence, bound=2.0
    )
    return CueEffectResult(
        100 * estimate, 100 * low, 100 * high, pvalue, kept.size, counts, confidence
    )


def heterogeneity_pvalue(contrasts: Sequence[CueEffectResult]) -> float:
    """P-value that all effects are equal, from the contrasts of all pairs of cues.

    Bonferroni's: valid although the pairs share items, cues and wordings. 1 without a pair.
    """
    smallest = min((one.pvalue for one in contrasts), default=1.0)
    return min(1.0, max(1, len(contrasts)) * smallest)


def effect_correlation(
    first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95
) -> EffectCorrelation | None:
    """Correlation of two cues' effects across identities; both have shape (identities,).

    The interval is Fisher's (z, error 1 / sqrt(n - 3)), over identities. Effects measured with
    noise correlate less than true ones do. None for fewer than four identities, or where a cue's
    effects are all equal.

    Raises:
        ValueError: shapes differ, or an effect is missing.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("need the effects of both cues for every identity")
    if x.size < 4:
        return None
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if scale <= 1e-9:
        return None
    estimate = min(1.0, max(-1.0, float(x @ y) / scale))
    half = normal_isf((1 - confidence) / 2) / math.sqrt(x.size - 3)
    centre = math.atanh(min(1 - 1e-12, max(1e-12 - 1, estimate)))
    return EffectCorrelation(
        estimate, math.tanh(centre - half), math.tanh(centre + half), x.size, confidence
    )


def _over_wordings(
    difference: Array, wordings: Sequence[Labels | None]
) -> tuple[float, float, tuple[int, ...]]:
    """Standard error over wordings, its degrees of freedom, and the wordings of each cue.

    Degrees of freedom are 0 where no cue has two wordings: nothing estimates the error.
    """
    seen = ~np.isnan(difference)
    residuals = difference[seen] - difference[seen].mean()
    variances, freedoms, counts = [], [], []
    for labels in wordings:
        if labels is None:
            counts.append(1)
            continue
        array = np.asarray(labels)
        if array.shape != difference.shape:
            raise ValueError(f"need one wording an item: {difference.size}, not {array.shape}")
        codes = np.unique(array[seen], return_inverse=True)[1]
        groups = int(codes.max()) + 1
        counts.append(groups)
        if groups > 1:
            variances.append(clustered_variance(residuals, codes))
            freedoms.append(groups - 1)
    if not variances:
        return 0.0, 0.0, tuple(counts)
    total = sum(variances)
    if total <= NO_VARIANCE:
        return 0.0, float(sum(freedoms)), tuple(counts)
    shared = (len(variances) - 1) * clustered_variance(residuals, np.arange(residuals.size))
    freedom = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    return math.sqrt(max(total - shared, *variances)), freedom, tuple(counts)


def _wider(
    estimate: float,
    over_items: tuple[float, float, float],
    spread: float,
    freedom: float,
    confidence: float,
    *,
    bound: float,
) -> tuple[float, float, float]:
    """The wider interval and larger p-value: that over items, or over wordings."""
    low, high, pvalue = over_items
    if freedom <= 0.0 or spread <= 0.0:
        return low, high, pvalue
    half = student_isf((1 - confidence) / 2, freedom) * spread
    return (
        max(-bound, min(low, estimate - half)),
        min(bound, max(high, estimate + half)),
        max(pvalue, 2 * student_sf(abs(estimate) / spread, freedom)),
    )
