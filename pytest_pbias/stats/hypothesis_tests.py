"""Omnibus tests that identities do not differ, in scores or in answers read, and multiplicity."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Array, Labels, cluster_codes, cluster_sums, table_means

_CHUNK_CELLS = 500_000
_EXACT_UP_TO = 20_000
_FAST_ABOVE = 20_000_000
_MERGED = 128


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test statistic with its p-value; ``exact`` where every arrangement was counted."""

    __test__ = False

    statistic: float
    pvalue: float
    n_permutations: int
    exact: bool


def omnibus_permutation(
    outcomes: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    n_permutations: int = 9999,
    clusters: Labels | None = None,
) -> TestResult:
    """Within-item permutation test that identities are exchangeable.

    The statistic is the sum over identities of the squared mean residual. Identities are permuted
    within each item, or within each cluster as a block, independently; the p-value is
    (1 + as extreme) / (1 + permutations) (Phipson & Smyth 2010), or exact where at most 20,000
    arrangements exist. Large tables draw from a subgroup, rotations of at most 128 random unions
    of blocks, which keeps the level exactly (Hemerik & Goeman 2018, TEST 27:811-825). Missing
    outcomes stay with the identity that they are permuted to.

    Raises:
        ValueError: wrong shape or scores outside [0, 1].
    """
    means = table_means(outcomes)
    items = means.shape[1]
    seen = ~np.isnan(means)
    centre = np.where(seen, means, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    residuals = np.where(seen, means - centre, 0.0)
    codes = cluster_codes(clusters, items)
    blocks = cluster_sums(residuals, codes).T
    # A block in which all identities agree is the same under every permutation.
    blocks = blocks[np.ptp(blocks, axis=1) > 1e-12] if blocks.size else blocks
    statistic = float((blocks.sum(axis=0) ** 2).sum()) if blocks.size else 0.0
    if blocks.size == 0:
        return TestResult(0.0, 1.0, 0, True)
    scale = items**2
    total = _arrangements(*blocks.shape)
    if total is not None:
        reached = int((_enumerate(blocks) >= statistic * (1 - 1e-9)).sum())
        return TestResult(statistic / scale, reached / total, total, True)
    reached = 0
    done = 0
    if blocks.size * n_permutations <= _FAST_ABOVE:
        draw, cells = _permuted_sums, blocks.size
    else:
        draw, cells = _rotated_sums, blocks.shape[1]
        blocks = _merged(blocks, rng)
    step = max(1, _CHUNK_CELLS // cells)
    while done < n_permutations:
        count = min(step, n_permutations - done)
        sums = draw(blocks, count, rng)
        reached += int(((sums**2).sum(axis=1) >= statistic * (1 - 1e-6)).sum())
        done += count
    return TestResult(
        statistic / scale, (1 + reached) / (1 + n_permutations), n_permutations, False
    )


def _arrangements(n_blocks: int, identities: int) -> int | None:
    """Distinct arrangements up to a common relabelling, or None where too many to count."""
    total = 1
    for _ in range(n_blocks - 1):
        total *= math.factorial(identities)
        if total > _EXACT_UP_TO:
            return None
    return total if identities <= 8 else None


def _enumerate(blocks: Array) -> Array:
    """The statistic of every arrangement; the first block stays, which loses nothing."""
    orders = np.array(list(itertools.permutations(range(blocks.shape[1]))))
    sums = blocks[:1]
    for block in blocks[1:]:
        sums = (sums[:, None, :] + block[orders][None, :, :]).reshape(-1, blocks.shape[1])
    return np.asarray((sums**2).sum(axis=1))


def _permuted_sums(blocks: Array, count: int, rng: np.random.Generator) -> Array:
    shuffled = rng.permuted(np.broadcast_to(blocks, (count, *blocks.shape)), axis=2)
    return np.asarray(shuffled.sum(axis=1))


def _merged(blocks: Array, rng: np.random.Generator) -> Array:
    """Random unions of blocks, permuted as one: fewer arrangements, as exact a test."""
    if blocks.shape[0] <= _MERGED:
        return blocks
    merged = np.zeros((_MERGED, blocks.shape[1]))
    np.add.at(merged, rng.permutation(blocks.shape[0]) % _MERGED, blocks)
    return merged


def _rotated_sums(blocks: Array, count: int, rng: np.random.Generator) -> Array:
    """Sums after rotating every block's identities by a random shift, shape (count, identities).

    Each block, written twice in a row, holds its rotations as windows: picking windows costs
    count * blocks * identities, where a product with all rotations costs that times identities.
    """
    n_blocks, identities = blocks.shape
    shifts = rng.integers(identities, size=(count, n_blocks))
    sums = np.zeros((count, identities))
    for block, shift in zip(blocks, shifts.T, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(np.tile(block, 2), identities)
        sums += windows[shift]
    return sums


@dataclass(frozen=True, slots=True)
class UnparsableResult:
    """Unparsable rates, percentage points, shape (identities,), and whether they differ.

    ``worst`` is the row with the highest rate.
    """

    rates: tuple[float, ...]
    worst: int
    pvalue: float


def unparsable_difference(
    unparsable: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    n_permutations: int = 9999,
    clusters: Labels | None = None,
) -> UnparsableResult:
    """Test that identities' answers are equally often unreadable.

    ``unparsable`` has shape (identities, items[, repeats]): 1 where an answer could not be parsed,
    NaN where it is missing. The test is :func:`omnibus_permutation`: a grader that fails more often
    under one identity is a bias of the instrument, or of the model's manner of answering.

    Raises:
        ValueError: wrong shape, values outside [0, 1], or an identity without any answer.
    """
    means = table_means(unparsable)
    if not (~np.isnan(means)).any(axis=1).all():
        raise ValueError("every identity needs at least one answer")
    rates = 100 * np.nanmean(means, axis=1)
    test = omnibus_permutation(
        unparsable, rng=rng, n_permutations=n_permutations, clusters=clusters
    )
    return UnparsableResult(tuple(rates.tolist()), int(rates.argmax()), test.pvalue)


def benjamini_hochberg(pvalues: npt.ArrayLike) -> Array:
    """q-values of Benjamini & Hochberg (Journal of the Royal Statistical Society B 57:289-300).

    The k-th smallest of m is multiplied by m / k, and none is above one that was larger.
    """
    values = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(values)[::-1]
    ranks = np.arange(values.size, 0, -1)
    found = np.empty_like(values)
    found[order] = np.minimum.accumulate(values[order] * values.size / ranks)
    return np.minimum(found, 1.0)


def holm(pvalues: npt.ArrayLike) -> Array:
    """Adjusted p-values of Holm (Scandinavian Journal of Statistics 6:65-70, 1979).

    The k-th smallest of m is multiplied by m - k + 1, and none is below one that was smaller.
    """
    values = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(values)
    factors = np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def items_to_settle(half_width: float, distance: float, n_items: int) -> int | None:
    """Items at which an interval of this half-width shrinks inside ``distance``.

    Half-widths shrink with the square root of the number of items. None where the estimate sits
    on the margin, so that no number of items settles it.
    """
    if distance <= 1e-9 or half_width <= 0.0:
        return None
    needed = math.ceil(n_items * (half_width / distance) ** 2)
    return max(needed, n_items + 1)
