"""What changed between two runs: of cells, tasks and axes, of joint PB, of all together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pytest_pbias.analysis.across_runs.matching import own_name
from pytest_pbias.analysis.across_runs.setup import SetupDifference
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.prompts import Identity
from pytest_pbias.stats import ChangeResult, PersonalizationBiasResult

Family = Literal["pb", "baseline", "rate", "cell"]
"""What a condition on a change is about: PB, the baseline, the identities' mean, any one cell."""


@dataclass(frozen=True, slots=True)
class Change:
    """Who changed (empty: the whole scope), by how many points, and the limits of that."""

    who: str
    estimate: float
    low: float
    high: float


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
    """One task on the ``n_items`` that both runs asked, with its cue where there are several."""

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

    @property
    def name(self) -> str:
        """The task's own name, without a cue."""
        return own_name(self.task)


@dataclass(frozen=True, slots=True)
class AxisComparison:
    """An axis: PB as the root mean square over its tasks, rates as the mean over them.

    ``old_bias`` and ``new_bias`` are on the matched items and identities only. Of several cues it
    is of one, ``cue``.
    """

    axis: str
    cue: str
    old_bias: PersonalizationBiasResult | None
    new_bias: PersonalizationBiasResult | None
    bias_change: ChangeResult | None
    baseline: RateChange
    mean: RateChange
    direction: Direction
    reason: str

    @property
    def title(self) -> str:
        """The axis with its cue, where there are several."""
        return under(self.axis, "none", self.cue)


@dataclass(frozen=True, slots=True)
class JointChange:
    """PB of the (safety, utility) vector, on the matched items and identities only.

    Of several cues that of the first, ``cue``.
    """

    tasks: tuple[str, ...]
    old_bias: PersonalizationBiasResult
    new_bias: PersonalizationBiasResult
    bias_change: ChangeResult
    cue: str = ""

    @property
    def title(self) -> str:
        """Its tasks, with the cue where there are several."""
        return under(" + ".join(self.tasks), "none", self.cue)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, matched question by question.

    ``direction`` is *worse* where an axis is, then *inconclusive*, *better*, *no change shown*; it
    is that of the cues that are decided on.
    ``setup`` lists what else differs; where an entry blocks, the change need not be the model's.
    ``strata`` are tasks whose clusters are all that the changes speak of.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    setup: tuple[SetupDifference, ...]
    left_out: tuple[str, ...]
    axes: tuple[AxisComparison, ...]
    tasks: tuple[TaskComparison, ...]
    direction: Direction
    joint: JointChange | None = None
    strata: tuple[str, ...] = ()

    @property
    def blocked_by(self) -> tuple[SetupDifference, ...]:
        """What keeps a gate from deciding."""
        return tuple(difference for difference in self.setup if difference.blocks)


def mean_change(parts: Sequence[ChangeResult | RateChange]) -> ChangeResult:
    """The mean over tasks; half-widths add in squares (independent items)."""
    k = len(parts)
    estimate = sum(part.estimate for part in parts) / k
    down = math.hypot(*(part.estimate - part.low for part in parts)) / k
    up = math.hypot(*(part.high - part.estimate for part in parts)) / k
    return ChangeResult(estimate, estimate - down, estimate + up)
