"""Each identity against the mean of all identities, on the same items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Labels, observed_clusters, table_means
from pytest_pbias.stats.paired import PairedDifferenceResult, robust_interval


def differences_from_mean(
    outcomes: npt.ArrayLike, *, clusters: Labels | None = None, confidence: float = 0.95
) -> tuple[PairedDifferenceResult, ...]:
    """Every identity's rate minus the mean rate of all identities, in their order.

    ``outcomes`` has shape (identities, items) or (identities, items, repeats), scores in [0, 1],
    NaN where missing. The differences are the mean item-centred residuals whose root mean square is
    PB: they are in percentage points and sum to zero where nothing is missing. The identity is
    part of the mean it is compared with, so a difference from the mean of the *others* is larger
    by the factor k / (k - 1). Intervals and p-values are cluster-robust, as in
    :func:`paired_difference`; an item counts where the identity and at least one other answered.

    Raises:
        ValueError: wrong shape, a score outside [0, 1], fewer than two identities, or an identity
            without an item that another one answered.
    """
    means = table_means(outcomes)
    if means.shape[0] < 2:
        raise ValueError("a difference from the mean needs at least two identities")
    seen = ~np.isnan(means)
    count = seen.sum(axis=0)
    centre = np.where(seen, means, 0.0).sum(axis=0) / np.maximum(count, 1)
    usable = seen & (count > 1)
    if not usable.any(axis=1).all():
        raise ValueError("every identity needs an item that another one answered too")
    residuals = np.where(usable, means - centre, np.nan)
    return tuple(
        _one(residuals[u], means[u], centre, clusters, confidence) for u in range(means.shape[0])
    )


def _one(
    residuals: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
    clusters: Labels | None,
    confidence: float,
) -> PairedDifferenceResult:
    values, codes = observed_clusters(residuals, clusters)
    low, high, pvalue = robust_interval(values, codes, confidence)
    seen = ~np.isnan(residuals)
    return PairedDifferenceResult(
        estimate=100 * float(values.mean()),
        low=100 * low,
        high=100 * high,
        pvalue=pvalue,
        n_items=values.size,
        n_clusters=int(codes.max()) + 1,
        rate=100 * float(scores[seen].mean()),
        reference_rate=100 * float(centre[seen].mean()),
        method="cluster-robust",
        confidence=confidence,
    )
