"""Checks and reductions shared by the statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = Sequence[object] | npt.NDArray[np.str_] | npt.NDArray[np.int64] | npt.NDArray[np.object_]

# A variance of a mean of scores that is rounding error only; one changed answer makes more.
NO_VARIANCE = 1e-20


def item_means(outcomes: npt.ArrayLike) -> Array:
    """Mean over repeats: (items,) or (items, repeats) -> (items,), NaN where all are missing.

    Raises:
        ValueError: wrong shape, or a score outside [0, 1].
    """
    array = np.asarray(outcomes, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise ValueError(f"a cell has shape (items,) or (items, repeats), not {array.shape}")
    return _mean_over_runs(array if array.ndim == 2 else array[:, None])


def table_means(outcomes: npt.ArrayLike) -> Array:
    """Mean over repeats: (identities, items[, repeats]) -> (identities, items), NaN where missing.

    Raises:
        ValueError: wrong shape, or a score outside [0, 1].
    """
    array = np.asarray(outcomes, dtype=np.float64)
    if array.ndim not in (2, 3):
        raise ValueError(
            f"outcomes have shape (identities, items) or (identities, items, repeats), "
            f"not {array.shape}"
        )
    return _mean_over_runs(array if array.ndim == 3 else array[:, :, None])


def _mean_over_runs(array: Array) -> Array:
    observed = ~np.isnan(array)
    values = array[observed]
    if values.size and (values.min() < 0.0 or values.max() > 1.0):
        raise ValueError("scores must lie in [0, 1]")
    count = observed.sum(axis=-1)
    total = np.where(observed, array, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def cluster_codes(clusters: Labels | None, n_items: int) -> npt.NDArray[np.intp]:
    """Integer cluster of each item; without clusters every item is its own.

    Raises:
        ValueError: not one label an item.
    """
    if clusters is None:
        return np.arange(n_items)
    labels = np.asarray(clusters)
    if labels.shape != (n_items,):
        raise ValueError(f"need one cluster an item: {n_items} items, clusters {labels.shape}")
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.intp)


def cluster_sums(values: Array | npt.NDArray[np.bool_], codes: npt.NDArray[np.intp]) -> Array:
    """Sums over the items of each cluster: (rows, items) -> (rows, clusters).

    ``codes`` number the clusters from 0 without gaps, as :func:`cluster_codes` does. Items are
    sorted by cluster and added in runs: a matrix of items by clusters would hold n squared entries
    where every item is its own cluster.
    """
    if codes.size == 0:
        return np.zeros((values.shape[0], 0))
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.asarray(np.add.reduceat(values[:, order], starts, axis=1, dtype=np.float64))


def sign_pvalue(groups: int) -> float:
    """Two-sided sign test of ``groups`` independent differences that all point one way."""
    return float(min(1.0, 2.0 ** (1 - groups)))


def observed_clusters(means: Array, clusters: Labels | None) -> tuple[Array, npt.NDArray[np.intp]]:
    """Drop missing items; return the rest with their clusters renumbered without gaps."""
    codes = cluster_codes(clusters, means.size)
    seen = ~np.isnan(means)
    return means[seen], np.asarray(np.unique(codes[seen], return_inverse=True)[1], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class MeanVariance:
    """Variance of a mean of items: ``value``, with its ``degrees`` of freedom.

    It is the larger of that over clusters and that over items, which is ``simple``: few clusters
    estimate their own variance badly, and too low as often as too high.
    """

    value: float
    degrees: int
    simple: float
    n_clusters: int


def clustered_variance(residuals: Array, codes: npt.NDArray[np.intp]) -> float:
    """Variance of a mean over clusters, from the items' distances to it, shape (items,)."""
    sums = np.bincount(codes, weights=residuals)
    groups = sums.size
    return float(sums @ sums) / residuals.size**2 * groups / max(groups - 1, 1)


def mean_variance(residuals: Array, codes: npt.NDArray[np.intp]) -> MeanVariance:
    """The cluster-robust variance of a mean, from the items' distances to it, shape (items,).

    ``codes`` number the items' clusters without gaps.
    """
    n, groups = residuals.size, int(codes.max()) + 1
    simple = float(residuals @ residuals) / n**2 * n / max(n - 1, 1)
    robust = clustered_variance(residuals, codes)
    degrees = (groups if robust > simple else n) - 1
    return MeanVariance(max(simple, robust), degrees, simple, groups)


def crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a continuous ``function`` whose signs at ``low`` and ``high`` differ: Brent's.

    SciPy's, imported here: a session has started to ask by then, and need not wait for it.

    Raises:
        ValueError: the signs do not differ.
    """
    from scipy import optimize

    # Roots may be squares of rates: 1e-12 would be 1e-4 percentage points.
    return float(optimize.brentq(function, low, high, xtol=1e-16, rtol=1e-15))
