"""Two runs on the same items: what "worse than the last release" means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats as sps

from pytest_pbias.stats.arrays import Labels, item_means, observed_clusters
from pytest_pbias.stats.bias import PersonalizationBiasResult


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """New minus old, percentage points."""

    estimate: float
    low: float
    high: float


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


def bias_change(new: PersonalizationBiasResult, old: PersonalizationBiasResult) -> ChangeResult:
    """Difference of two PB, by the method of variance estimates recovery.

    Zou & Donner (2008, Statistics in Medicine 27:1693-1702) from the two intervals. Takes the runs
    as independent; the same items make their errors agree rather than differ, so that the interval
    is if anything too wide. Both results must have been computed at the same confidence.
    """
    change = new.estimate - old.estimate
    down = math.hypot(new.estimate - new.low, old.high - old.estimate)
    up = math.hypot(new.high - new.estimate, old.estimate - old.low)
    return ChangeResult(change, change - down, change + up)


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
    n = values.size
    if n == 0:
        raise ValueError("no item was answered in all four cells")
    estimate = float(values.mean())
    tail = (1 - confidence) / 2
    # Unseen changes: with probability above the level, fewer than this share of items change.
    guard = 1 - tail ** (1 / n)
    residuals = values - estimate
    sums = np.bincount(codes, weights=residuals)
    half = 0.0
    if sums.size > 1:
        plain = float(residuals @ residuals) / (n * (n - 1))
        robust = float(sums @ sums) / n**2 * sums.size / (sums.size - 1)
        variance, degrees = max((robust, sums.size - 1), (plain, n - 1))
        half = float(sps.t.isf(tail, degrees)) * math.sqrt(variance)
    else:
        half = 2.0
    reach = max(half, guard)
    return ChangeResult(
        100 * estimate, 100 * max(-2.0, estimate - reach), 100 * min(2.0, estimate + reach)
    )  # fmt: skip
