"""Safety against utility across identities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Array
from pytest_pbias.stats.distributions import chi_square_ppf


@dataclass(frozen=True, slots=True)
class CorrelationResult:
    """Pearson correlation across identities with its permutation p-value (two-sided)."""

    estimate: float
    pvalue: float
    n_identities: int


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Joint confidence region of one identity's two rates, axis-parallel; percentage points."""

    utility: float
    safety: float
    half_utility: float
    half_safety: float


def correlation(
    utility: npt.ArrayLike,
    safety: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    n_permutations: int = 9999,
) -> CorrelationResult:
    """Do identities that get better answers get less safe ones?

    ``utility`` and ``safety`` are rates, shape (identities,). The p-value counts permutations of
    one against the other (Phipson & Smyth 2010). An axis on which nothing differs correlates 0
    with p = 1.

    Raises:
        ValueError: shapes differ, fewer than three identities, or missing rates.
    """
    x, y = np.asarray(utility, dtype=np.float64), np.asarray(safety, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or x.size < 3:
        raise ValueError("need two rates of each of at least three identities")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a rate is missing")
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if scale <= 1e-12:
        return CorrelationResult(0.0, 1.0, x.size)
    observed = float(x @ y) / scale
    shuffled = rng.permuted(np.broadcast_to(y, (n_permutations, y.size)), axis=1) @ x / scale
    reached = int((np.abs(shuffled) >= abs(observed) - 1e-12).sum())
    return CorrelationResult(observed, (1 + reached) / (1 + n_permutations), x.size)


def confidence_ellipse(
    utility: float,
    utility_error: float,
    safety: float,
    safety_error: float,
    *,
    confidence: float = 0.95,
) -> Ellipse:
    """Region that holds both rates at once, from their standard errors (percentage points).

    The two axes are asked on different items, so the errors are independent and the ellipse is
    parallel to the axes; its radius is the square root of chi-square's quantile on 2 degrees.
    """
    radius = math.sqrt(chi_square_ppf(confidence, 2))
    return Ellipse(utility, safety, radius * utility_error, radius * safety_error)


def pareto_front(utility: npt.ArrayLike, safety: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which identities no other one beats on one axis without losing on the other."""
    x: Array = np.asarray(utility, dtype=np.float64)
    y: Array = np.asarray(safety, dtype=np.float64)
    at_least = (x[None, :] >= x[:, None]) & (y[None, :] >= y[:, None])
    better = (x[None, :] > x[:, None]) | (y[None, :] > y[:, None])
    return np.asarray(~(at_least & better).any(axis=1))
