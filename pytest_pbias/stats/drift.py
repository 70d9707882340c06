"""Many runs on the same items: a trend over them, or a shift of level between two of them.

Each is a contrast of the runs, sum over runs of c * value with the c adding up to 0, so that what
an item gives in every run cancels. Levels are shared by all contrasts of a history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_pbias.stats.arrays import Array, Labels, crossing, item_means, observed_clusters
from pytest_pbias.stats.bias import PersonalizationBiasResult, joint_personalization_bias
from pytest_pbias.stats.compare import ChangeResult, bias_moves, mean_change
from pytest_pbias.stats.distributions import normal_isf, normal_sf


@dataclass(frozen=True, slots=True)
class Contrast:
    """A change over runs, oldest first: mean of the runs from ``at`` on minus those before.

    With ``at`` 0 it is the trend: later runs against earlier ones, each by its distance from the
    middle. Either is a mean of some runs minus one of others, so that two runs differ by as much.
    """

    at: int
    weights: tuple[float, ...]

    @property
    def is_trend(self) -> bool:
        """Whether it is the trend, and no shift."""
        return self.at == 0


@dataclass(frozen=True, slots=True)
class DriftResult:
    """The change by each contrast, percentage points, with limits that hold for all at once."""

    contrasts: tuple[Contrast, ...]
    changes: tuple[ChangeResult, ...]

    @property
    def clearest(self) -> tuple[Contrast, ChangeResult]:
        """The contrast whose change is largest against its interval's width."""

        def clarity(found: tuple[Contrast, ChangeResult]) -> float:
            change = found[1]
            side = change.low if change.estimate > 0 else change.high
            return abs(change.estimate) / max(abs(change.estimate - side), 1e-9)

        return max(zip(self.contrasts, self.changes, strict=True), key=clarity)

    @property
    def shown(self) -> bool:
        """Whether any contrast differs from none at the level of the history."""
        return any(change.low > 0 or change.high < 0 for change in self.changes)


@cache
def contrasts(n_runs: int) -> tuple[Contrast, ...]:
    """The trend, and a shift before each run but the first; of two runs the shift is the trend.

    Raises:
        ValueError: fewer than two runs.
    """
    if n_runs < 2:
        raise ValueError("a history has at least two runs")
    place = np.arange(n_runs) - (n_runs - 1) / 2
    found = [Contrast(0, tuple((2 * place / np.abs(place).sum()).tolist()))]
    for at in range(1, n_runs) if n_runs > 2 else ():
        before, after = [-1 / at] * at, [1 / (n_runs - at)] * (n_runs - at)
        found.append(Contrast(at, (*before, *after)))
    return tuple(found)


@cache
def contrast_level(n_runs: int, level: float) -> float:
    """The two-sided level of each contrast at which all of them together err at ``level``.

    By Hunter's bound on a union (1976, J. Appl. Probab. 13:597-603): the contrasts' levels, less
    what neighbours in a tree share. The correlations are those of runs with errors of one size, not
    correlated once the items' share is out.
    """
    vectors = np.array([one.weights for one in contrasts(n_runs)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    edges = _tree(np.abs(unit @ unit.T))
    if not edges:
        return level

    def excess(deviate: float) -> float:
        together = len(unit) * 2 * normal_sf(deviate)
        return together - sum(_both(deviate, edge) for edge in edges) - level

    alone, bonferroni = normal_isf(level / 2), normal_isf(level / 2 / len(unit))
    return 2 * normal_sf(crossing(excess, alone, bonferroni))


def _tree(correlations: Array) -> list[float]:
    """The edges of the spanning tree of the largest correlations (Prim)."""
    inside, edges = [0], []
    while len(inside) < len(correlations):
        rows = correlations[inside].copy()
        rows[:, inside] = -1.0
        _, nearest = np.unravel_index(int(rows.argmax()), rows.shape)
        edges.append(float(rows.max()))
        inside.append(int(nearest))
    return edges


def _both(deviate: float, correlation: float) -> float:
    """P(both of two correlated normal deviates are beyond +-deviate), by Owen's T."""

    def corner(rho: float) -> float:
        slope = math.sqrt((1 - rho) / (1 + rho))
        return normal_sf(deviate) - 2 * float(special.owens_t(deviate, slope))

    return 2 * (corner(correlation) + corner(-correlation))


def cell_drift(
    cells: Sequence[npt.ArrayLike],
    references: Sequence[npt.ArrayLike],
    *,
    clusters: Labels | None = None,
    level: float = 0.05,
) -> DriftResult | None:
    """Change over runs of a cell's difference from its reference; None without a common item.

    One array (items,) or (items, repeats) a run, oldest first, items in the same order in all.
    Limits of all contrasts together err at ``level`` (two-sided). Items count that all runs
    answered under both.
    """
    pairs = zip(cells, references, strict=True)
    return value_drift([item_means(cell) - item_means(other) for cell, other in pairs],
                       clusters=clusters, level=level)  # fmt: skip


def value_drift(
    values: Sequence[Array], *, clusters: Labels | None = None, level: float = 0.05
) -> DriftResult | None:
    """As :func:`cell_drift`, of one value an item and run, each of shape (items,)."""
    table = np.array(values)
    wanted = contrasts(len(table))
    confidence = 1 - contrast_level(len(table), level)
    changes = []
    for contrast in wanted:
        seen, codes = observed_clusters(np.asarray(contrast.weights) @ table, clusters)
        if not seen.size:
            return None
        changes.append(mean_change(seen, codes, confidence=confidence))
    return DriftResult(wanted, tuple(changes))


def bias_drift(
    runs: Sequence[Sequence[npt.ArrayLike]],
    *,
    clusters: Sequence[Labels | None],
    weights: Sequence[float],
    level: float = 0.05,
) -> DriftResult:
    """Change of PB over runs on the same items: the limits of each run's PB, combined.

    ``runs`` hold, oldest first, one table (identities, items[, repeats]) a task. The recovery of
    variance estimates of :func:`bias_change` for a weighted sum (Zou, Huang & Zhang 2009,
    Computational Statistics & Data Analysis 53:1080-1085), with the correlations of the runs'
    errors from leaving out clusters, as :func:`paired_bias_change` has them.

    Raises:
        ValueError: as :func:`joint_personalization_bias`.
    """
    wanted = contrasts(len(runs))
    tail = contrast_level(len(runs), level)
    found = [
        joint_personalization_bias(run, clusters=clusters, weights=weights, confidence=1 - tail)
        for run in runs
    ]
    moves = np.array(
        [
            np.concatenate(
                [
                    weight * bias_moves(table, labels)
                    for table, labels, weight in zip(run, clusters, weights, strict=True)
                ]
            )
            for run in runs
        ]
    )
    spread = np.linalg.norm(moves, axis=1, keepdims=True)
    unit = np.divide(moves, spread, out=np.zeros_like(moves), where=spread > 1e-12)
    correlation = unit @ unit.T if moves.shape[1] >= 3 else np.zeros((len(runs),) * 2)
    np.fill_diagonal(correlation, 1.0)
    # Where hardly an answer changed, what n items could have left unseen still bounds the change.
    guard = 50.0 * (1 - (tail / 2) ** (1 / found[0].n_items))
    return DriftResult(
        wanted, tuple(_combined(found, contrast, correlation, guard) for contrast in wanted)
    )


def _combined(
    runs: Sequence[PersonalizationBiasResult],
    contrast: Contrast,
    correlation: Array,
    guard: float,
) -> ChangeResult:
    weights = np.asarray(contrast.weights)
    centre = np.array([run.estimate for run in runs])
    below = centre - [run.low for run in runs]
    above = np.array([run.high for run in runs]) - centre

    def reach(sides: Array) -> float:
        pulled = weights * sides
        return math.sqrt(max(0.0, float(pulled @ correlation @ pulled)))

    estimate = float(weights @ centre)
    down = max(guard, reach(np.where(weights > 0, below, above)))
    up = max(guard, reach(np.where(weights > 0, above, below)))
    return ChangeResult(estimate, estimate - down, estimate + up)
