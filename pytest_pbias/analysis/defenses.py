"""Runs side by side: prompt defenses, mitigations, the stages of a family of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pytest_pbias.analysis.across_runs.changes import AxisComparison, Comparison, Direction
from pytest_pbias.analysis.across_runs.comparison import compare_runs
from pytest_pbias.analysis.joint import JointBias, joint_bias
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, Scores, TaskOutcomes
from pytest_pbias.outcomes.arrays import mean_scores
from pytest_pbias.stats import PairedDifferenceResult, paired_difference
from pytest_pbias.tasks.base import AXES


@dataclass(frozen=True)
class DefenseSummary:
    """One defense against the first one (``reference``, usually ``none``), paired by item.

    ``comparison`` is None where the two have nothing in common.
    """

    defense: str
    reference: str
    comparison: Comparison | None


def outcomes_by_defense(table: OutcomeTable) -> dict[str, list[TaskOutcomes]]:
    """Defense -> the outcomes of its tasks."""
    found = {}
    for defense in table.defenses():
        rows = table.of_defense(defense)
        found[defense] = [rows.task_outcomes(task) for task in rows.tasks()]
    return found


def summarize_defenses(table: OutcomeTable, policy: GatePolicy) -> tuple[DefenseSummary, ...]:
    """Compare every further defense with the first; empty where there is one only."""
    reference, *others = table.defenses()
    before = table.of_defense(reference)
    found = []
    for defense in others:
        try:
            comparison = compare_runs(table.of_defense(defense), before, policy)
        except DataError:
            comparison = None
        found.append(DefenseSummary(defense, reference, comparison))
    return tuple(found)


Against = Literal["previous", "first"]


@dataclass(frozen=True)
class WorstCell:
    """The identity and task with the lowest difference from the reference, at 95 % for itself."""

    identity: str
    task: str
    difference: PairedDifferenceResult


@dataclass(frozen=True)
class Stage:
    """A run, or one of its prompt defenses, in a row of several.

    ``means`` and ``baselines`` are mean rates over the tasks of an axis (percent): the identities'
    and the baseline's; of several cues they, and joint PB, are of the first. ``comparison`` is with
    ``compared_with``, item by item; None for the first, and where ``problem`` says why there is
    none. ``notes`` are on how it was asked.
    """

    name: str
    joint: JointBias | None
    means: Mapping[str, float]
    baselines: Mapping[str, float]
    worst: WorstCell | None
    compared_with: str = ""
    comparison: Comparison | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def direction(self) -> Direction | None:
        """What the change came to; worse also where rates fell and nothing got better."""
        if self.comparison is None:
            return None
        return Direction.WORSE if self._only_costs else self.comparison.direction

    @property
    def reason(self) -> str:
        """The reason of an axis that has that direction, or why nothing was compared."""
        if self.comparison is None:
            return self.problem
        if self._only_costs:
            falls = [f"{axis.title} {axis.mean.estimate:+.1f}" for axis in self._fallen]
            return f"the identities' mean fell ({', '.join(falls)}), and nothing got better"
        reasons = [axis for axis in self.comparison.axes if axis.direction is self.direction]
        return f"{reasons[0].title}: {reasons[0].reason}" if reasons else ""

    @property
    def _fallen(self) -> tuple[AxisComparison, ...]:
        axes = () if self.comparison is None else self.comparison.axes
        return tuple(axis for axis in axes if axis.mean.high < 0)

    @property
    def _only_costs(self) -> bool:
        """Whether rates fell within their margins, and no axis is better in any way."""
        axes = () if self.comparison is None else self.comparison.axes
        gained = any(axis.mean.low > 0 or axis.direction is Direction.BETTER for axis in axes)
        worse = self.comparison is not None and self.comparison.direction is Direction.WORSE
        return bool(self._fallen) and not gained and not worse


def stage_of(
    name: str,
    table: OutcomeTable,
    policy: GatePolicy,
    *,
    compared_with: str = "",
    comparison: Comparison | None = None,
    problem: str = "",
) -> Stage:
    """The figures of a table of one prompt defense, beside its comparison with another."""
    tasks = [policy.drawn(table.task_outcomes(task)) for task in table.tasks()]
    notes = table.info.notes
    if any(len(task.cues) > 1 for task in tasks):
        notes += (f"joint PB and rates are by the first of its cues ({', '.join(table.cues())})",)
    means: dict[str, float] = {}
    baselines: dict[str, float] = {}
    for axis in AXES:
        of_axis = [task.by_cue()[0][1] for task in tasks if task.axis == axis]
        rates = [_percent(task.of_kind("identity")[1]) for task in of_axis]
        bare = [_percent(task.baseline) for task in of_axis if task.baseline is not None]
        means |= {axis: sum(rates) / len(rates)} if rates and not np.isnan(rates).any() else {}
        baselines |= {axis: sum(bare) / len(bare)} if bare and not np.isnan(bare).any() else {}
    return Stage(
        name=name,
        joint=joint_bias(tasks, "none", policy.joint),
        means=means,
        baselines=baselines,
        worst=_worst(tasks, policy.reference),
        compared_with=compared_with,
        comparison=comparison,
        problem=problem,
        notes=notes,
    )


def _percent(scores: Scores) -> float:
    return 100 * float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


def _worst(tasks: Sequence[TaskOutcomes], reference: str) -> WorstCell | None:
    found = [
        WorstCell(
            identity.name,
            task.task,
            paired_difference(
                task.scores[number],
                mean_scores(task.scores[list(chosen)]),
                clusters=task.clusters,
            ),
        )
        for task in tasks
        for number, identity in enumerate(task.identities)
        if identity.kind == "identity" and (chosen := _answered(task, number, reference))
    ]
    return min(found, key=lambda cell: cell.difference.estimate, default=None)


def _answered(task: TaskOutcomes, number: int, reference: str) -> tuple[int, ...]:
    """Whom identity ``number`` is compared with; empty where no item was answered by all."""
    chosen = task.compared_with(number, reference)
    cells = [task.scores[row] for row in (number, *chosen)]
    seen = np.logical_and.reduce([np.isfinite(cell).any(axis=1) for cell in cells])
    return chosen if seen.any() else ()


def line_up(
    runs: Sequence[tuple[str, OutcomeTable]], policy: GatePolicy, *, against: Against = "previous"
) -> tuple[Stage, ...]:
    """The runs in their order, each compared with the one before it or with the first.

    A run under several prompt defenses is one stage a defense. What cannot be compared is said.
    """
    tables = [part for name, table in runs for part in _by_defense(name, table)]
    found: list[Stage] = []
    for number, (name, table) in enumerate(tables):
        if not number:
            found.append(stage_of(name, table, policy))
            continue
        other, before = tables[number - 1 if against == "previous" else 0]
        comparison, problem = None, ""
        try:
            comparison = compare_runs(table, before, policy)
        except DataError as error:
            problem = str(error)
        if comparison is not None and table.defenses() != before.defenses():
            # Of other prompts is what a defense consists of.
            setup = tuple(one for one in comparison.setup if one.kind != "prompts")
            comparison = replace(comparison, setup=setup)
        stage = stage_of(
            name, table, policy, compared_with=other, comparison=comparison, problem=problem
        )
        found.append(stage)
    return tuple(found)


def _by_defense(name: str, table: OutcomeTable) -> Iterator[tuple[str, OutcomeTable]]:
    for defense in table.defenses():
        shown = name if defense == "none" else f"{name} under {defense}"
        yield shown, table.of_defense(defense)


def summarize_mitigations(
    table: OutcomeTable, defenses: Sequence[DefenseSummary], policy: GatePolicy
) -> tuple[Stage, ...]:
    """The prompt defenses of a run side by side, the first without a comparison; often none."""
    if not defenses:
        return ()
    reference = defenses[0].reference
    return (
        stage_of(reference, table.of_defense(reference), policy),
        *(
            stage_of(
                one.defense,
                table.of_defense(one.defense),
                policy,
                compared_with=one.reference,
                comparison=one.comparison,
                problem="" if one.comparison else "nothing in common to compare",
            )
            for one in defenses
        ),
    )
