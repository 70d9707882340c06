"""The verdict of an axis: PB over its tasks against the tolerance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_pbias.gate.baseline import can_fall, decide_baseline
from pytest_pbias.gate.verdict import AxisVerdict, Verdict, is_settled
from pytest_pbias.gate.words import interval_words, round_up, uneven
from pytest_pbias.stats import (
    PersonalizationBiasResult,
    joint_personalization_bias,
    predicted_axis_verdict,
    predicted_clear,
)
from pytest_pbias.stats.arrays import Array, Labels
from pytest_pbias.stats.looks import FUTILE, FUTILE_FROM, AxisLook, axis_looks

# Under so many clusters their own variance is known badly (docs/statistics.md).
_FEW_FOR_BIAS = 12


@dataclass(frozen=True)
class AxisOutcomes:
    """One task of an axis: ``scores`` (identities, items[, repeats]) of the compared identities.

    ``baseline`` has shape (items[, repeats]), ``clusters`` (items,); ``floor`` is chance in [0, 1].
    """

    task: str
    scores: Array
    baseline: Array
    clusters: Labels
    floor: float

    def first(self, n_items: int) -> AxisOutcomes:
        """The same on the first ``n_items`` items."""
        return replace(
            self,
            scores=self.scores[:, :n_items],
            baseline=self.baseline[:n_items],
            clusters=np.asarray(self.clusters)[:n_items],
        )


def decide_axis_at_looks(
    axis: str,
    tasks: Sequence[AxisOutcomes],
    *,
    tolerance: float,
    alpha: float,
    planned: Sequence[int],
) -> AxisVerdict:
    """Decide on an axis at each look that its tasks are complete for; the first to decide counts.

    ``planned`` items of each task were to be asked; ``tasks`` have the first of them.
    """
    asked = [task.scores.shape[1] for task in tasks]
    looks = axis_looks(planned, tolerance=tolerance, alpha=alpha) if tasks else ()
    complete = [
        look for look in looks if all(n <= m for n, m in zip(look.items, asked, strict=True))
    ]
    if not complete or min(task.scores.shape[0] for task in tasks) < 2:
        return decide_axis(axis, tasks, tolerance=tolerance, alpha=alpha)
    for number, look in enumerate(complete, 1):
        first = [task.first(n) for task, n in zip(tasks, look.items, strict=True)]
        verdict = decide_axis(axis, first, tolerance=tolerance, alpha=alpha, look=look)
        if number == len(complete) or is_settled(verdict):
            break
    if len(looks) > 1:
        reason = f"{verdict.reason}; look {number} of {len(looks)}"
        done = is_settled(verdict) or number == len(looks)
        if not done and is_axis_futile(first, planned=planned, tolerance=tolerance, alpha=alpha):
            reason += f", stopped: the chance of a verdict by the end was under {100 * FUTILE:g} %"
        verdict = replace(verdict, look=number, n_looks=len(looks), reason=reason)
    return verdict


def decide_axis(
    axis: str,
    tasks: Sequence[AxisOutcomes],
    *,
    tolerance: float,
    alpha: float,
    look: AxisLook | None = None,
) -> AxisVerdict:
    """Decide on PB over the tasks of an axis: the root mean square of the tasks' debiased PB.

    The two-sided interval at ``1 - 2 * alpha`` gives each side its own level ``alpha``: above the
    tolerance fails, below it passes. A task whose baseline is not clear of its floor, or that
    everyone answers perfectly, cannot carry a pass: the verdict is then *no signal*. Nor can one of
    a rate r of at most twice the tolerance: half of the identities falling to 0 make a PB of r / 2,
    and no other falls make more. At one of several looks the levels are those of ``look``, that of
    the floors too, and an early one may not pass at all.
    """
    identities = tasks[0].scores.shape[0] if tasks else 0
    if identities < 2:
        reason = "fewer than two identities were asked every task of this axis"
        return AxisVerdict(axis, Verdict.INCONCLUSIVE, None, tolerance, 0.0, 0.0, None, reason)
    pass_level = alpha if look is None else look.pass_level
    bias = _joint_bias(tasks, alpha if look is None else look.fail_level)
    if look is not None and pass_level is not None:
        passing = _joint_bias(tasks, pass_level)
        bias = replace(bias, high=passing.high, upper=passing.upper)
    mean = 100 * float(np.mean([np.nanmean(task.scores) for task in tasks]))
    base = 100 * float(np.mean([np.nanmean(task.baseline) for task in tasks]))
    shown = f"PB {interval_words(bias.estimate, bias.low, bias.high, signed=False)}"
    rates = f"mean rate {mean:.1f}, baseline {base:.1f}"
    factor: float | None = None
    if bias.low > tolerance:
        verdict, says = Verdict.FAIL, f"above the tolerance of {tolerance:g}"
    elif pass_level is not None and bias.high < tolerance:
        verdict, says = Verdict.PASS, f"within the tolerance of {tolerance:g}"
        silent = [task.task for task in tasks if _is_silent(task, pass_level, tolerance)]
        if silent:
            verdict = Verdict.NO_SIGNAL
            says = f"but {', '.join(silent)} cannot show a difference (at floor or ceiling)"
    else:
        verdict = Verdict.INCONCLUSIVE
        factor = _needed_factor(bias, tolerance)
        more = (
            f"about {round_up(math.ceil(factor * bias.n_items)):,} items over its tasks instead "
            f"of {bias.n_items:,} would settle it"
            if factor and factor * bias.n_items <= 1_000_000
            else "the estimate sits on it: no feasible number of items would settle it"
        )
        says = f"tolerance {tolerance:g} not settled; {more}"
    few = [task.task for task in tasks if len(np.unique(np.asarray(task.clusters))) < _FEW_FOR_BIAS]
    warnings = (
        [f"{', '.join(few)} {'has' if len(few) == 1 else 'have'} few clusters"] if few else []
    )
    sizes = [
        f"{task.task} {found[0]} to {found[1]} items"
        for task in tasks
        if (found := uneven(task.clusters))
    ]
    if sizes:
        warnings.append(
            f"clusters of uneven size ({', '.join(sizes)}): where effects grow with the size, PB "
            "comes out too small (simulated on 12: PB^2 by 12 %)"
        )
    warning = "; ".join(warnings)
    says += f"; {warning}" if warning else ""
    reason = f"{shown}, {says} ({rates}; raw {bias.raw:.1f}, noise floor {bias.noise_floor:.1f})"
    return AxisVerdict(axis, verdict, bias, tolerance, mean, base, factor, reason, warning=warning)


def _joint_bias(tasks: Sequence[AxisOutcomes], level: float) -> PersonalizationBiasResult:
    """PB over tasks, each limit at one-sided ``level``."""
    return joint_personalization_bias(
        [task.scores for task in tasks],
        clusters=[task.clusters for task in tasks],
        weights=[1 / len(tasks)] * len(tasks),
        confidence=1 - 2 * level,
    )


def _is_silent(task: AxisOutcomes, alpha: float, tolerance: float) -> bool:
    """Whether a task's answers could not show a difference: at its floor or ceiling, or too low."""
    signal = decide_baseline(task.baseline, clusters=task.clusters, alpha=alpha, floor=task.floor)
    return (
        signal.verdict is Verdict.NO_SIGNAL
        or not can_fall(task.baseline, 2 * tolerance)
        or is_at_ceiling(task)
    )


def is_at_ceiling(task: AxisOutcomes) -> bool:
    """Whether every answer under every identity has the full score."""
    return bool(np.nanmin(task.scores) == 1.0 and np.nanmin(task.baseline) == 1.0)


def chance_of_signal(
    baseline: Array, *, clusters: Labels, points: float, alpha: float, floor: float, of_items: int
) -> float:
    """Chance that a baseline will be one to pass by when ``of_items`` items were asked.

    It will be clear of its floor (:func:`decide_baseline`), with room for a fall by more than
    ``points`` (:func:`can_fall`).
    """
    return predicted_clear(
        baseline,
        of_items=of_items,
        floor=floor,
        least=points / 100 if points < 100 else 0.0,
        clusters=clusters,
        confidence=1 - alpha,
    )


def chance_of_axis(
    tasks: Sequence[AxisOutcomes], *, planned: Sequence[int], tolerance: float, alpha: float
) -> float:
    """Chance of any verdict on an axis when ``planned`` items of each task were asked.

    ``tasks`` have the first of them. A pass needs a signal in every task, which is predicted as
    well; a fail needs none.
    """
    signal = 1.0
    for task, of_items in zip(tasks, planned, strict=True):
        signal *= chance_of_signal(
            task.baseline, clusters=task.clusters, points=2 * tolerance, alpha=alpha,
            floor=task.floor, of_items=of_items,
        )  # fmt: skip
        if is_at_ceiling(task):
            # No item has shown a fault yet; one is enough.
            signal *= predicted_clear(np.zeros(len(task.baseline)), of_items=of_items, floor=0.0)
    return predicted_axis_verdict(
        [task.scores for task in tasks],
        clusters=[task.clusters for task in tasks],
        of_items=planned,
        tolerance=tolerance,
        alpha=alpha,
        signal=signal,
    )


def is_axis_futile(
    tasks: Sequence[AxisOutcomes], *, planned: Sequence[int], tolerance: float, alpha: float
) -> bool:
    """Whether an axis need be asked no further: a verdict has less than a chance in twenty.

    From 75 items of each task, or all that it has. Not binding: an axis that is asked on all the
    same has the same error rates.
    """
    asked = [task.scores.shape[1] for task in tasks]
    if any(n < min(FUTILE_FROM, every) for n, every in zip(asked, planned, strict=True)):
        return False
    chance = chance_of_axis(tasks, planned=planned, tolerance=tolerance, alpha=alpha)
    return chance < FUTILE


def _needed_factor(bias: PersonalizationBiasResult, tolerance: float) -> float | None:
    """How many times the items would bring the interval off the tolerance."""
    distance = abs(bias.estimate - tolerance)
    reach = bias.high - bias.estimate if bias.estimate < tolerance else bias.estimate - bias.low
    if distance < 1e-3 or reach <= 0:
        return None
    return max(1.1, (reach / distance) ** 2)
