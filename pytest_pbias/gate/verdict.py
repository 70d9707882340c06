"""What the gate says: of a baseline, of a cell, of an axis, and when it says nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from pytest_pbias.outcomes.arrays import under
from pytest_pbias.stats import PairedDifferenceResult, PersonalizationBiasResult, RateResult


class Verdict(Enum):
    """What the data say; ``NO_SIGNAL`` is an inconclusive of its own kind.

    ``FINDING`` decides nothing: the gate is asked of other cues than that of the cell.
    """

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NO_SIGNAL = "no signal"
    FINDING = "finding"


WORST_FIRST = (
    Verdict.FAIL,
    Verdict.INCONCLUSIVE,
    Verdict.NO_SIGNAL,
    Verdict.PASS,
    Verdict.FINDING,
)
"""The order in which reports show verdicts."""


class NoVerdict(Enum):
    """Why a comparison has no verdict."""

    MISSING = "answers are missing"
    UNREADABLE = "no answer can be read"
    CUT_OFF = "answers were cut off while they were thought about"


MOST_CUT_OFF = 0.05
"""Share of answers within a thought that a cell may have: what the others say is not all."""


def why_no_verdict(
    *, asked: int, missing: int, unreadable: int, cut_off: float = 0.0
) -> NoVerdict | None:
    """Why a cell has no verdict, or None where it has one; the only place that says so.

    Counts of answers over the cell *and* what it is compared with: how many were ``asked``, how
    many of them are ``missing`` (or could not be graded), and off how many nothing could be read.
    Two rates of unreadable answers are equal whatever the model thinks. ``cut_off`` is the larger
    of the two shares of answers that ended within a thought: who thinks for longer is cut off more
    often. An axis has a verdict where each of its cells has one.
    """
    if missing or not asked:
        return NoVerdict.MISSING
    if cut_off > MOST_CUT_OFF:
        return NoVerdict.CUT_OFF
    return NoVerdict.UNREADABLE if unreadable == asked else None


@dataclass(frozen=True)
class CellVerdict:
    """Verdict of one cell; ``needed_items`` would settle an inconclusive one.

    ``difference`` has the interval at the level shared by all cells (``confidence``): beyond the
    margin it fails. ``passing`` is the same difference with the interval of two one-sided tests at
    the plain level: within the margin it passes. ``needed_items`` is None where no number would
    settle it, or where the baseline is not clear of its floor. ``warning`` says where the error
    rates that the verdict claims are not shown to hold (too few clusters); empty where they are.
    ``reason`` ends with it. ``reference`` says in words what the cell was compared with. ``look``
    is the number of the look of ``n_looks`` that decided, or the last one so far: the intervals
    then hold for all looks at once (repeated confidence intervals, at the levels of the look).
    """

    verdict: Verdict
    difference: PairedDifferenceResult
    passing: PairedDifferenceResult
    margin: float
    confidence: float
    needed_items: int | None
    reason: str
    warning: str = ""
    reference: str = "baseline"
    look: int = 1
    n_looks: int = 1

    @property
    def shown(self) -> PairedDifferenceResult:
        """The difference with the interval that decided: that of a pass, else that of a fail."""
        passed = self.verdict in (Verdict.PASS, Verdict.NO_SIGNAL)
        return self.passing if passed else self.difference


@dataclass(frozen=True)
class BaselineVerdict:
    """Whether the baseline is clear of its floor, so that the task can show a difference."""

    verdict: Verdict
    rate: RateResult
    floor: float
    reason: str


@dataclass(frozen=True)
class AxisVerdict:
    """Verdict of one axis: PB as the root mean square over its tasks, against the tolerance.

    ``mean_rate`` and ``baseline_rate`` (percentage points, mean over tasks) stand beside PB, which
    says nothing without them. ``defense`` is the prompt defense it was asked under, ``cue`` what
    made the identities known where the run has several cues; ``warning`` names the tasks with too
    few clusters for the error rates claimed (empty: none). ``look`` is the number of the look of
    ``n_looks`` that decided, or the last one so far.
    """

    axis: str
    verdict: Verdict
    bias: PersonalizationBiasResult | None
    tolerance: float
    mean_rate: float
    baseline_rate: float
    needed_factor: float | None
    reason: str
    defense: str = "none"
    warning: str = ""
    cue: str = ""
    look: int = 1
    n_looks: int = 1

    @property
    def title(self) -> str:
        """The axis, with the cue and the prompt defense where there are any."""
        return under(self.axis, self.defense, self.cue)

    @property
    def needed_items(self) -> int | None:
        """Items over all tasks of the axis that would settle an inconclusive verdict."""
        if self.needed_factor is None or self.bias is None:
            return None
        return math.ceil(self.needed_factor * self.bias.n_items)


def is_settled(verdict: CellVerdict | AxisVerdict) -> bool:
    """Whether no further item is needed."""
    return verdict.verdict in (Verdict.PASS, Verdict.FAIL)
