"""Two runs on the same items: what "worse than the last release" means."""

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
    cluster_codes,
    cluster_sums,
    item_means,
    mean_variance,
    observed_clusters,
    sign_pvalue,
    table_means,
)
from pytest_pbias.stats.bias import PersonalizationBiasResult, joint_personalization_bias
from pytest_pbias.stats.distributions import student_isf, student_sf


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """New minus old, percentage points; ``pvalue`` of no change where there is a test."""

    estimate: float
    low: float
    high: float
    pvalue: float | None = None


@dataclass(frozen=True, slots=True)
class ItemMatch:
    """Positions of the same items in two runs, and how many have no partner."""

    new: npt.NDArray[np.intp]
    old: npt.NDArray[np.intp]
    only_new: int
    only_old: int


def match_items(new: Sequence[str], old: Sequence[str]) -> ItemMatch:
    """Match two runs' items by their hashes, in the new run's order.

    Raises:
        ValueError: a hash occurs twice in one run.
    """
    where = {key: number for number, key in enumerate(old)}
    if len(where) != len(old) or len(set(new)) != len(new):
        raise ValueError("an item hash occurs twice in one run")
    pairs = [(number, where[key]) for number, key in enumerate(new) if key in where]
    matched = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
    return ItemMatch(
        matched[:, 0], matched[:, 1], len(new) - len(pairs), len(old) - len(pairs)
    )  # fmt: skip


def bias_change(
    new: PersonalizationBiasResult, old: PersonalizationBiasResult, *, correlation: float = 0.0
) -> ChangeResult:
    """Difference of two PB, by the method of variance estimates recovery.

    Zou & Donner (2008, Statistics in Medicine 27:1693-1702) from the two intervals;
    ``correlation`` is that of the two estimates' errors (Zou 2007, Psychological Methods
    12:399-413), 0 for independent runs. For two runs on the same items use
    :func:`paired_bias_change`, which estimates it. Both results need the same confidence.
    """
    change = new.estimate - old.estimate
    down = _combined(new.estimate - new.low, old.high - old.estimate, correlation)
    up = _combined(new.high - new.estimate, old.estimate - old.low, correlation)
    return ChangeResult(change, change - down, change + up)


def _combined(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other))


def paired_bias_change(
    new: Sequence[npt.ArrayLike],
    old: Sequence[npt.ArrayLike],
    *,
    clusters: Sequence[Labels | None] | None = None,
    weights: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> ChangeResult:
    """Change of PB between two runs on the same items, over one or more tasks.

    ``new`` and ``old`` hold one table (identities, items[, repeats]) a task; items are in the same
    order in both (see :func:`match_items`). What the runs' errors share is estimated by leaving
    out one cluster at a time (the jackknife of Efron & Stein 1981, Annals of Statistics
    9:586-596) and taken out of the interval of :func:`bias_change`.

    Raises:
        ValueError: the runs differ in tasks or items, or as :func:`joint_personalization_bias`.
    """
    labels = list(clusters) if clusters is not None else [None] * len(new)
    shares = list(weights) if weights is not None else [1.0] * len(new)
    if not len(new) == len(old) == len(labels) == len(shares):
        raise ValueError("need one table a task in both runs, and one entry each in the rest")
    results = [
        joint_personalization_bias(run, clusters=labels, weights=shares, confidence=confidence)
        for run in (new, old)
    ]
    moves = [
        weight * _leave_one_out(now, before, label)
        for now, before, label, weight in zip(new, old, labels, shares, strict=True)
    ]
    found = bias_change(*results, correlation=_correlation(np.concatenate(moves, axis=1)))
    # Where hardly an answer changed, what n items could have left unseen still bounds the change.
    guard = 50.0 * (1 - ((1 - confidence) / 2) ** (1 / results[0].n_items))
    low, high = found.estimate - guard, found.estimate + guard
    return ChangeResult(found.estimate, min(found.low, low), max(found.high, high))


def _leave_one_out(new: npt.ArrayLike, old: npt.ArrayLike, clusters: Labels | None) -> Array:
    """Moves of the two PB^2 as each cluster is left out, shape (2, clusters)."""
    tables = [table_means(run) for run in (new, old)]
    if tables[0].shape[1] != tables[1].shape[1]:
        raise ValueError("the runs must have the same items; match them first")
    return np.array([bias_moves(table, clusters) for table in tables])


def bias_moves(table: npt.ArrayLike, clusters: Labels | None) -> Array:
    """Moves of PB^2 (summed over identities) as each cluster is left out, shape (clusters,).

    Their products are what the errors of runs on the same items share. They add up to 0.
    """
    means = table_means(table)
    moves = _jackknife(means, cluster_codes(clusters, means.shape[1]))
    return np.asarray(moves - moves.mean())


def _jackknife(means: Array, codes: npt.NDArray[np.intp]) -> Array:
    """Debiased PB^2 (summed over identities) without each cluster, shape (clusters,)."""
    seen = ~np.isnan(means)
    centre = np.where(seen, means, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    residuals = np.where(seen, means - centre, 0.0)
    sums, sizes = cluster_sums(residuals, codes), cluster_sums(seen, codes)
    total, counts = sums.sum(axis=1, keepdims=True), sizes.sum(axis=1, keepdims=True)
    products = (total - sums) ** 2 - ((sums**2).sum(axis=1, keepdims=True) - sums**2)
    pairs = (counts - sizes) ** 2 - ((sizes**2).sum(axis=1, keepdims=True) - sizes**2)
    kept = np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0)
    return np.asarray(kept.sum(axis=0))


def _correlation(moves: Array) -> float:
    spread = np.sqrt((moves**2).sum(axis=1))
    if moves.shape[1] < 3 or spread.min() <= 1e-12:
        return 0.0
    return float(np.clip((moves[0] @ moves[1]) / (spread[0] * spread[1]), -1.0, 1.0))


def difference_in_differences(
    new_cell: npt.ArrayLike,
    new_reference: npt.ArrayLike,
    old_cell: npt.ArrayLike,
    old_reference: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> ChangeResult:
    """Change of a cell's difference from its reference between two runs on the same items.

    Cluster-robust t interval over items that all four have. No item changing leaves the interval
    that 3 items in n would (the rule of three, at this confidence), never zero width.

    Raises:
        ValueError: shapes differ, or no item is common.
    """
    parts = [item_means(x) for x in (new_cell, new_reference, old_cell, old_reference)]
    if len({part.shape for part in parts}) != 1:
        raise ValueError("the four cells must have the same items")
    values, codes = observed_clusters(parts[0] - parts[1] - parts[2] + parts[3], clusters)
    if values.size == 0:
        raise ValueError("no item was answered in all four cells")
    return mean_change(values, codes, confidence=confidence)


def interaction_contrast(
    combined: npt.ArrayLike,
    parts: Sequence[npt.ArrayLike],
    reference: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    confidence: float = 0.95,
) -> ChangeResult:
    """How much further a combined identity is from the reference than its parts together.

    (combined - reference) - sum over parts of (part - reference), percentage points, item by item
    over those that all were asked; 0 where the effects of the parts add up. All have shape (items,)
    or (items, repeats). ``reference`` must state somebody, as a control does: the effect of merely
    stating anybody is in the combined identity once and in each part once, and from a reference
    that states nobody it would come out as an interaction of the opposite sign. The interval is
    that of :func:`difference_in_differences`.

    Raises:
        ValueError: fewer than two parts, shapes differ, or no item is common.
    """
    if len(parts) < 2:
        raise ValueError("an interaction needs at least two parts")
    alone = [item_means(part) for part in parts]
    both, base = item_means(combined), item_means(reference)
    if len({part.shape for part in (both, base, *alone)}) != 1:
        raise ValueError("combined identity, parts and reference must have the same items")
    values = both - base - sum(part - base for part in alone)
    values, codes = observed_clusters(values, clusters)
    if values.size == 0:
        raise ValueError("no item was answered in all of the cells")
    return mean_change(values, codes, confidence=confidence, most=float(len(parts)))


def mean_change(
    values: Array, codes: npt.NDArray[np.intp], *, confidence: float = 0.95, most: float = 2.0
) -> ChangeResult:
    """Mean of the items' changes (scores, shape (items,)) in points: cluster-robust t interval.

    A change lies in [-``most``, ``most``]. ``codes`` number the items' clusters without gaps. No
    item changing leaves the interval that the rule of three does, never zero width.
    """
    n = values.size
    estimate = float(values.mean())
    tail = (1 - confidence) / 2
    # Unseen changes: with probability above the level, fewer than this share of items change.
    guard = 1 - tail ** (1 / n)
    unseen = min(1.0, 2 * max(0.0, 1 - abs(estimate)) ** n)
    found = mean_variance(values - estimate, codes)
    half, pvalue = most, 1.0
    if found.n_clusters > 1:
        error = math.sqrt(found.value)
        half = student_isf(tail, found.degrees) * error
        if found.value > NO_VARIANCE:
            pvalue = 2 * student_sf(abs(estimate) / error, found.degrees)
        else:
            pvalue = sign_pvalue(found.n_clusters)
    reach = max(half, guard)
    return ChangeResult(
        100 * estimate,
        100 * max(-most, estimate - reach),
        100 * min(most, estimate + reach),
        max(pvalue, unseen),
    )
