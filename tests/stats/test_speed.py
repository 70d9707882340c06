"""The statistics of large tables: the figures of the plain formulas, without their cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from pytest_pbias.stats import (
    contributions,
    gap,
    omnibus_permutation,
    paired_bias_change,
    personalization_bias,
)
from pytest_pbias.stats.arrays import cluster_codes, cluster_sums
from pytest_pbias.stats.bias import TableParts, table_parts
from pytest_pbias.stats.hypothesis_tests import _rotated_sums

Array = npt.NDArray[np.float64]
CASES = {
    "items of their own": lambda rng: None,
    "equal clusters": lambda rng: np.repeat(np.arange(12), 5),
    "mixed order": lambda rng: rng.integers(0, 9, 60),
    "unequal": lambda rng: np.repeat(["b", "a", "z", "c"], [1, 2, 7, 50]),
    "one": lambda rng: np.zeros(60, dtype=np.int64),
}


def _membership(codes: npt.NDArray[np.intp]) -> Array:
    """One column a cluster: the plain way of summing over clusters."""
    matrix = np.zeros((codes.size, int(codes.max()) + 1))
    matrix[np.arange(codes.size), codes] = 1.0
    return matrix


def _plain_parts(means: Array, clusters: npt.NDArray[np.int64] | None) -> dict[str, float]:
    """The parts of a table by products with the matrix of clusters."""
    seen = ~np.isnan(means)
    centre = np.where(seen, means, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    residuals = np.where(seen, means - centre, 0.0)
    matrix = _membership(cluster_codes(clusters, means.shape[1]))
    sums, sizes = residuals @ matrix, seen @ matrix
    counts, total = sizes.sum(axis=1), sums.sum(axis=1)
    mean, groups = total / counts, matrix.shape[1]
    pairs = counts**2 - (sizes**2).sum(axis=1)
    products = total**2 - (sums**2).sum(axis=1)
    spread = (sums - mean[:, None] * sizes) / counts[:, None]
    covariance = spread @ spread.T * (groups / max(groups - 1, 1))
    return {
        "observed": float((mean**2).sum()),
        "signal": float(np.where(pairs > 0, products / np.where(pairs > 0, pairs, 1), 0).sum()),
        "noise": float(np.trace(covariance)),
        "along": float(mean @ covariance @ mean),
        "largest": float(np.linalg.eigvalsh(covariance)[-1]),
        "n_clusters": float((seen.any(axis=0) @ matrix > 0).sum()),
    }


@pytest.mark.parametrize("identities", [2, 7, 80])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_the_parts_are_those_of_the_plain_formula(
    case: str, missing: float, identities: int
) -> None:
    rng = np.random.default_rng(identities)
    clusters = CASES[case](rng)
    table = rng.random((identities, 60))
    table[rng.random(table.shape) < missing] = np.nan
    found: TableParts = table_parts(table, clusters)
    for name, expected in _plain_parts(table, clusters).items():
        assert getattr(found, name) == pytest.approx(expected, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("case", CASES)
def test_sums_over_clusters_are_products_with_their_matrix(case: str) -> None:
    rng = np.random.default_rng(1)
    codes = cluster_codes(CASES[case](rng), 60)
    values = rng.normal(size=(4, 60))
    np.testing.assert_allclose(
        cluster_sums(values, codes), values @ _membership(codes), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(
        cluster_sums(values > 0, codes), (values > 0) @ _membership(codes)
    )


def test_no_items_have_no_clusters() -> None:
    assert cluster_sums(np.zeros((3, 0)), cluster_codes(None, 0)).shape == (3, 0)


@pytest.mark.parametrize(("blocks", "identities"), [(1, 2), (5, 3), (40, 17), (3, 200)])
def test_rotated_sums_are_those_of_rolled_blocks(blocks: int, identities: int) -> None:
    table = np.random.default_rng(2).normal(size=(blocks, identities))
    found = _rotated_sums(table, 50, np.random.default_rng(3))
    shifts = np.random.default_rng(3).integers(identities, size=(50, blocks))
    for sums, shift in zip(found, shifts, strict=True):
        rolled = [np.roll(row, -s) for row, s in zip(table, shift, strict=True)]
        np.testing.assert_allclose(sums, np.sum(rolled, axis=0), atol=1e-9)


def test_a_thousand_identities_take_seconds() -> None:
    table = (np.random.default_rng(4).random((1000, 400)) < 0.6) * 1.0
    start = time.process_time()
    found = personalization_bias(table)
    drawn = omnibus_permutation(table, rng=np.random.default_rng(5))
    assert found.low == 0.0
    assert drawn.n_permutations == 9999
    # The product with all rotations took more than 400 seconds.
    assert time.process_time() - start < 30


def _peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_grows_with_the_table_and_not_with_its_square() -> None:
    rng = np.random.default_rng(6)
    table = (rng.random((4, 6000)) < 0.6) * 1.0
    works = (
        lambda: personalization_bias(table),
        lambda: gap(table),
        lambda: contributions(table),
        lambda: omnibus_permutation(table, rng=rng, n_permutations=9),
        lambda: paired_bias_change([table], [table[::-1]]),
    )
    for work in works:
        assert _peak(work) < 40 * table.nbytes  # 6,000 x 6,000 would be 1,500 of it
