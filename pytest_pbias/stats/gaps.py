"""Who differs: the largest gap, groups, and contributions to PB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Array, Labels, cluster_codes, cluster_sums, table_means
from pytest_pbias.stats.bias import PersonalizationBiasResult, personalization_bias
from pytest_pbias.stats.distributions import student_isf


@dataclass(frozen=True, slots=True)
class GapResult:
    """Largest difference of two identities' rates, percentage points.

    ``best`` and ``worst`` are row numbers. The interval holds for the largest true gap, whichever
    two identities it lies between.
    """

    estimate: float
    low: float
    high: float
    best: int
    worst: int


def gap(
    outcomes: npt.ArrayLike, *, clusters: Labels | None = None, confidence: float = 0.95
) -> GapResult:
    """Max minus min of the identities' rates, with a simultaneous interval.

    Every pair's difference gets a cluster-robust t interval at Bonferroni's level over the
    K (K - 1) / 2 pairs; the largest lower and the largest upper limit then bound the largest gap.
    No half-width is below what as many items could leave unseen (the rule of three at this level).
    The observed gap itself overstates the true one: read the lower limit.

    Raises:
        ValueError: fewer than two identities or clusters, missing outcomes, or a wrong shape.
    """
    means = table_means(outcomes)
    identities, items = means.shape
    codes = cluster_codes(clusters, items)
    groups = int(codes.max()) + 1 if items else 0
    if identities < 2 or groups < 2:
        raise ValueError("a gap needs at least two identities and two clusters of items")
    if np.isnan(means).any():
        raise ValueError("a gap needs every outcome; leave the incomplete items out")
    rates = means.mean(axis=1)
    covariance = _covariance(means, codes, groups)
    variance = np.diag(covariance)
    spread = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0.0))
    tail = (1 - confidence) / (identities * (identities - 1))
    # Equal differences on all items show no variance; what n items can leave unseen still bounds.
    unseen = 1 - tail ** (1 / items)
    reach = np.maximum(student_isf(tail, groups - 1) * spread, unseen)
    difference = rates[:, None] - rates[None, :]
    return GapResult(
        100 * float(difference.max()),
        100 * max(0.0, float((difference - reach).max())),
        100 * min(1.0, float((difference + reach).max())),
        int(rates.argmax()),
        int(rates.argmin()),
    )


def _covariance(means: Array, codes: npt.NDArray[np.intp], groups: int) -> Array:
    """Cluster-robust covariance of the identities' rates."""
    residuals = means - means.mean(axis=1, keepdims=True)
    sums = cluster_sums(residuals, codes)
    return np.asarray(sums @ sums.T / means.shape[1] ** 2 * groups / (groups - 1))


def contributions(outcomes: npt.ArrayLike, *, clusters: Labels | None = None) -> Array:
    """What each identity adds to the debiased PB^2, percentage points squared.

    Shape (identities,); the sum is PB^2 (where that is not negative). A single contribution may
    be negative: that identity differs from the mean by less than noise would.

    Raises:
        ValueError: wrong shape, or an identity without pairs of observed clusters.
    """
    means = table_means(outcomes)
    identities, items = means.shape
    seen = ~np.isnan(means)
    centre = np.where(seen, means, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    residuals = np.where(seen, means - centre, 0.0)
    codes = cluster_codes(clusters, items)
    sums, sizes = cluster_sums(residuals, codes), cluster_sums(seen, codes)
    pairs = sizes.sum(axis=1) ** 2 - (sizes**2).sum(axis=1)
    if not (pairs > 0).all():
        raise ValueError("every identity needs outcomes in at least two clusters")
    products = sums.sum(axis=1) ** 2 - (sums**2).sum(axis=1)
    return np.asarray(1e4 * products / pairs / identities)


def group_bias(
    outcomes: npt.ArrayLike,
    groups: Sequence[str],
    *,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> dict[str, PersonalizationBiasResult]:
    """PB among the identities of each demographic group that has at least two.

    Raises:
        ValueError: not one group an identity, or as ``personalization_bias``.
    """
    means = table_means(outcomes)
    if len(groups) != means.shape[0]:
        raise ValueError(f"need one group an identity: {means.shape[0]}, got {len(groups)}")
    names = np.asarray(groups)
    return {
        name: personalization_bias(means[names == name], clusters=clusters, confidence=confidence)
        for name in dict.fromkeys(groups)
        if int((names == name).sum()) >= 2
    }
