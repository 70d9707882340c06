"""What a comparison of two runs says. Changes are new minus old, percentage points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pytest_pbias.identities import Identity
from pytest_pbias.reporting.comparing.setup import SetupDifference
from pytest_pbias.stats import ChangeResult, PersonalizationBiasResult


class Direction(Enum):
    """What happened from the old run to the new one.

    ``UNCHANGED``: no change was shown, and a fall of a rate beyond the margin is ruled out.
    """

    BETTER = "better"
    WORSE = "worse"
    UNCHANGED = "no change shown"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class RateChange:
    """A rate before and after with the paired interval of its change."""

    old: float
    new: float
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CellChange:
    """One identity under one task: its difference from baseline before, after, and the change.

    ``change`` holds at 95 % for this cell alone, ``at_level`` for all cells of the comparison at
    once. ``qvalue`` is Benjamini and Hochberg's over all cells.
    """

    identity: Identity
    old_rate: float
    new_rate: float
    old_difference: float
    new_difference: float
    change: ChangeResult
    at_level: ChangeResult
    qvalue: float


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task on the ``n_items`` that both runs asked."""

    task: str
    axis: str
    n_items: int
    only_new_items: int
    only_old_items: int
    only_new: tuple[str, ...]
    only_old: tuple[str, ...]
    baseline: RateChange
    mean: RateChange
    bias_change: ChangeResult | None
    cells: tuple[CellChange, ...]


@dataclass(frozen=True, slots=True)
class AxisComparison:
    """An axis: PB as the root mean square over its tasks, rates as the mean over them.

    ``old_bias`` and ``new_bias`` are on the matched items and identities only.
    """

    axis: str
    old_bias: PersonalizationBiasResult | None
    new_bias: PersonalizationBiasResult | None
    bias_change: ChangeResult | None
    baseline: RateChange
    mean: RateChange
    direction: Direction
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, matched question by question.

    ``direction`` is *worse* where an axis is, then *inconclusive*, *better*, *no change shown*.
    ``setup`` lists what else differs; where an entry blocks, the change need not be the model's.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    setup: tuple[SetupDifference, ...]
    left_out: tuple[str, ...]
    axes: tuple[AxisComparison, ...]
    tasks: tuple[TaskComparison, ...]
    direction: Direction

    @property
    def blocked_by(self) -> tuple[SetupDifference, ...]:
        """What keeps a gate from judging."""
        return tuple(difference for difference in self.setup if difference.blocks)
