"""How far judges agree beyond chance: Cohen's kappa and Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_pbias.stats.arrays import Array, Labels, cluster_codes

_CHUNK = 200  # resamples that are held in memory at once


@dataclass(frozen=True, slots=True)
class AgreementResult:
    """A coefficient with its bootstrap interval; 1 is perfect, 0 what chance alone would give.

    ``observed`` is the plain share of agreeing pairs in [0, 1]; ``n`` counts the units that two or
    more judges labelled. Coefficients are NaN where chance alone agrees always (one label only).
    """

    estimate: float
    low: float
    high: float
    observed: float
    n: int


def cohen_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    items: Labels | None = None,
    n_resamples: int = 1000,
    confidence: float = 0.95,
) -> AgreementResult:
    """Cohen's kappa of two judges' labels, each of shape (units,) and of any one type.

    Cohen (1960, Educational and Psychological Measurement 20:37-46). The interval is the
    percentile bootstrap over ``items``, the item of each unit: answers to one item are no
    independent evidence. Without ``items`` each unit is its own.

    Raises:
        ValueError: the labels are not two vectors of one length, at least 1.
    """
    one, two = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != two.shape or not one.size:
        raise ValueError(f"kappa needs two equally long vectors, not {one.shape} and {two.shape}")
    codes = _codes(np.stack([one, two], axis=1))
    tables = np.zeros((*_shape(codes, items), codes.max() + 1))
    np.add.at(tables, (cluster_codes(items, len(codes)), codes[:, 0], codes[:, 1]), 1.0)
    return _result(tables, _kappa, len(codes), rng, n_resamples, confidence)


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    items: Labels | None = None,
    n_resamples: int = 1000,
    confidence: float = 0.95,
) -> AgreementResult:
    """Krippendorff's alpha for nominal labels of shape (units, judges); None where not judged.

    Krippendorff (2004, Content Analysis, chapter 11): each unit adds its ordered pairs of labels,
    divided by the number of its labels less 1, to a table of coincidences. The interval is that
    of :func:`cohen_kappa`.

    Raises:
        ValueError: wrong shape, or no unit with two labels.
    """
    array = np.asarray(ratings, dtype=object)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(f"alpha needs ratings of shape (units, judges), not {array.shape}")
    codes = _codes(array)
    pairable = (codes >= 0).sum(axis=1) >= 2
    if not pairable.any():
        raise ValueError("alpha needs units that two judges labelled")
    chosen = None if items is None else np.asarray(items)[pairable]
    codes = codes[pairable]
    tables = np.zeros((*_shape(codes, chosen), codes.max() + 1))
    np.add.at(tables, cluster_codes(chosen, len(codes)), _coincidences(codes))
    return _result(tables, _alpha, len(codes), rng, n_resamples, confidence)


def _codes(ratings: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Integer label of each rating, -1 where there is none."""
    given = np.array([label is not None for label in ratings.ravel().tolist()])
    codes = np.full(ratings.size, -1, dtype=np.intp)
    labels = ratings.ravel()[given]
    codes[given] = np.unique(labels.astype(str), return_inverse=True)[1]
    return codes.reshape(ratings.shape)


def _shape(codes: npt.NDArray[np.intp], items: Labels | None) -> tuple[int, int]:
    return int(cluster_codes(items, len(codes)).max()) + 1, int(codes.max()) + 1


def _coincidences(codes: npt.NDArray[np.intp]) -> Array:
    """Coincidences of each unit, shape (units, labels, labels); a unit's sum is its labels."""
    counts = (codes[:, :, None] == np.arange(codes.max() + 1)).sum(axis=1).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= counts
    return np.asarray(pairs / (counts.sum(axis=1) - 1)[:, None, None])


def _kappa(tables: Array) -> Array:
    """Kappa of each table of shape (..., labels, labels)."""
    total = tables.sum(axis=(-2, -1))
    expected = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / total**2
    return _beyond_chance(_observed(tables), expected)


def _alpha(tables: Array) -> Array:
    """Alpha of each table of coincidences, shape (..., labels, labels)."""
    total = tables.sum(axis=(-2, -1))
    margins = tables.sum(axis=-1)
    expected = (margins * (margins - 1)).sum(axis=-1) / (total * (total - 1))
    return _beyond_chance(_observed(tables), expected)


def _observed(tables: Array) -> Array:
    agreeing = np.trace(tables, axis1=-2, axis2=-1)
    return np.asarray(agreeing / tables.sum(axis=(-2, -1)))


def _beyond_chance(observed: Array, expected: Array) -> Array:
    left = 1.0 - expected
    room = left > 1e-12
    return np.where(room, (observed - expected) / np.where(room, left, 1.0), np.nan)


def _result(
    tables: Array,
    coefficient: Callable[[Array], Array],
    n: int,
    rng: np.random.Generator,
    n_resamples: int,
    confidence: float,
) -> AgreementResult:
    """The coefficient of the summed tables, one a cluster, and its bootstrap interval.

    Resamples in which the coefficient is not defined are left out.
    """
    whole = tables.sum(axis=0)
    estimate = float(coefficient(whole))
    clusters, width = tables.shape[0], tables.shape[1]
    flat = tables.reshape(clusters, -1)
    drawn = []
    for start in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        drawn.append(coefficient((weights @ flat).reshape(size, width, width)))
    defined = np.concatenate(drawn) if drawn else np.empty(0)
    defined = defined[~np.isnan(defined)]
    low = high = float("nan")
    if defined.size and not np.isnan(estimate):
        tail = (1 - confidence) / 2
        low, high = (float(value) for value in np.quantile(defined, [tail, 1 - tail]))
    return AgreementResult(estimate, low, high, float(_observed(whole)), n)
