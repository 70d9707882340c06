"""Safety against utility across identities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Array
from pytest_pbias.stats.distributions import chi_square_ppf


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Joint confidence region of one identity's two rates, axis-parallel; percentage points."""

    utility: float
    safety: float
    half_utility: float
    half_safety: float


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
    """Which identities no other one beats on one axis without losing on the other.

    Rates and result have shape (identities,); more is better on both axes.
    """
    x: Array = np.asarray(utility, dtype=np.float64)
    y: Array = np.asarray(safety, dtype=np.float64)
    at_least = (x[None, :] >= x[:, None]) & (y[None, :] >= y[:, None])
    better = (x[None, :] > x[:, None]) | (y[None, :] > y[:, None])
    return np.asarray(~(at_least & better).any(axis=1))
