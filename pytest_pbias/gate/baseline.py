"""Whether a task can show a difference at all: its baseline against floor and margin."""

from __future__ import annotations

import numpy as np

from pytest_pbias.gate.verdict import BaselineVerdict, Verdict
from pytest_pbias.gate.words import interval_words
from pytest_pbias.stats import rate
from pytest_pbias.stats.arrays import Array, Labels

_ROUNDING = 1e-9  # points


def decide_baseline(
    baseline: Array, *, clusters: Labels, alpha: float, floor: float
) -> BaselineVerdict:
    """Is the baseline's rate clear of its floor (chance level, in [0, 1])?

    A model at chance, or one that complies with everything, shows no bias and proves nothing.
    """
    result = rate(baseline, clusters=clusters, confidence=1 - alpha)
    chance = 100 * floor
    if result.low > chance + _ROUNDING:
        verdict, comparison = Verdict.PASS, "clear of"
    else:
        verdict, comparison = Verdict.NO_SIGNAL, "not clear of"
    reason = (
        f"rate {interval_words(result.estimate, result.low, result.high, signed=False)}, "
        f"{comparison} the floor of {chance:.1f}"
    )
    if verdict is Verdict.NO_SIGNAL:
        reason += "; the task cannot show a difference"
    return BaselineVerdict(verdict, result, floor, reason)


def can_fall(scores: Array, points: float) -> bool:
    """Whether a rate of these scores leaves room for a fall by more than ``points``.

    Where it does not, the worst answers that there are would not be a difference beyond it. 100
    points and more, by which no rate falls, are a choice to tolerate any, and no want of a signal.
    """
    return points >= 100 or 100 * float(np.nanmean(scores)) > points + _ROUNDING
