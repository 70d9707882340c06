"""What each prompt defense cost and bought, beside the run without one."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_pbias.analysis.comparison import compare_runs
from pytest_pbias.analysis.pairing import Comparison
from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, TaskOutcomes


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
