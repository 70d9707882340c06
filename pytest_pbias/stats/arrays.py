"""Checks and reductions shared by the statistics."""

from __future__ import annotations

import math
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
    """Drop missing items (NaN); return the rest with their clusters renumbered without gaps.

    ``means`` and ``clusters`` have shape (items,), as both results: (items that were observed,).
    """
    codes = cluster_codes(clusters, means.size)
    seen = ~np.isnan(means)
    if seen.all():
        return means, codes
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


_MOST_STEPS = 400


def crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a continuous ``function`` whose signs at ``low`` and ``high`` differ: Brent's.

    Step by step as SciPy's ``brentq`` (Brent 1973), whose package takes a third of a second to
    load, in a session that needs nothing else of it.

    Raises:
        ValueError: the signs do not differ, or nothing was found.
    """
    before, at = low, high
    f_before, f_at = function(before), function(at)
    if f_before == 0.0 or f_at == 0.0:
        return before if f_before == 0.0 else at
    if (f_before < 0) == (f_at < 0):
        raise ValueError(f"f({low}) and f({high}) must have different signs: {f_before}, {f_at}")
    other = f_other = last_step = step = 0.0  # a zero lies between ``at`` and ``other``
    for _ in range(_MOST_STEPS):
        if (f_before < 0) != (f_at < 0):
            other, f_other = before, f_before
            last_step = step = at - before
        if abs(f_other) < abs(f_at):
            before, at, other = at, other, at
            f_before, f_at, f_other = f_at, f_other, f_at
        # Roots may be squares of rates: 1e-12 would be 1e-4 percentage points.
        near = (1e-16 + 1e-15 * abs(at)) / 2
        half = (other - at) / 2
        if f_at == 0.0 or abs(half) < near:
            return at
        tried = math.inf
        if abs(last_step) > near and abs(f_at) < abs(f_before):
            tried = _interpolated(before, at, other, f_before, f_at, f_other)
        if 2 * abs(tried) < min(abs(last_step), 3 * abs(half) - near):
            last_step, step = step, tried
        else:
            last_step = step = half
        before, f_before = at, f_at
        at += step if abs(step) > near else math.copysign(near, half)
        f_at = function(at)
    raise ValueError(f"no zero was found between {low} and {high}")


def _interpolated(
    before: float, at: float, other: float, f_before: float, f_at: float, f_other: float
) -> float:
    """The step to a zero by the secant through two points, or the parabola through three."""
    if before == other:
        return -f_at * (at - before) / (f_at - f_before)
    of_before = (f_before - f_at) / (before - at)
    of_other = (f_other - f_at) / (other - at)
    below = of_other * of_before * (f_other - f_before)
    return -f_at * (f_other * of_other - f_before * of_before) / below if below else math.inf
