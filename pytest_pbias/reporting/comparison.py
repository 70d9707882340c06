"""The comparison of two runs as a section, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from pytest_pbias.analysis.across_runs.changes import (
    AxisComparison,
    CellChange,
    Comparison,
    Direction,
    TaskComparison,
)
from pytest_pbias.analysis.across_runs.comparison import ComparedRun
from pytest_pbias.analysis.across_runs.condition import GateOutcome
from pytest_pbias.gate import strata_claim
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Bullets,
    Cell,
    Column,
    Note,
    Section,
    Table,
    interval,
    severity,
)

_IN_SIGHT = 15  # cells before a click

_SAYS: Mapping[Direction, str] = {
    Direction.WORSE: "Worse than the earlier run.",
    Direction.BETTER: "Better than the earlier run.",
    Direction.UNCHANGED: "No change shown since the earlier run.",
    Direction.INCONCLUSIVE: "Whether it is worse than the earlier run is not settled.",
}


def run_title(run: Mapping[str, str]) -> str:
    """A run in a few words: model, date, commit, tag."""
    parts = [run["model"], run["created"][:16].replace("T", " "), run["commit"], run["tag"]]
    return ", ".join(part for part in parts if part)


def ranked_cells(comparison: Comparison) -> list[tuple[str, CellChange]]:
    """Task and cell, the smallest q-value first."""
    cells = [(task.task, cell) for task in comparison.tasks for cell in task.cells]
    return sorted(cells, key=lambda found: (found[1].qvalue, found[1].change.estimate))


def comparison_section(comparison: Comparison, gate: GateOutcome | None = None) -> Section:
    """The comparison as a section of a report."""
    return Section("Since the earlier run", tuple(_blocks(comparison, gate)))


def compared_section(run: ComparedRun) -> Section:
    """The comparison of a run with an earlier one, or why there is none."""
    if run.comparison is None:
        text = f"Not compared with {run.name}: {run.problem}"
        return Section("Since the earlier run", (Note(text, "open"),))
    return comparison_section(run.comparison, run.gate)


def _blocks(comparison: Comparison, gate: GateOutcome | None) -> Iterator[Block]:
    yield Note(_SAYS[comparison.direction], "strong", name="direction")
    yield Note(f"Earlier: {run_title(comparison.old)}. New: {run_title(comparison.new)}.")
    for blocking in comparison.blocked_by:
        yield Note(f"Not comparable: {blocking}", "bad")
    notes = [f"Note: {entry}" for entry in comparison.setup if not entry.blocks]
    notes += [f"Left out: {text}" for text in comparison.left_out]
    notes += [f"Note: {strata_claim(comparison.strata)}"] if comparison.strata else []
    for task in comparison.tasks:
        for names, text in ((task.only_new, "new"), (task.only_old, "earlier")):
            notes += [f"{task.task}, only in the {text} run: {', '.join(names)}"] if names else []
    if notes:
        yield Bullets(tuple(notes))
    if gate is not None:
        yield Note(f"Gate: {gate.verdict.value}: {gate.reason}", severity(gate.verdict.value))
    yield Note("Changes in percentage points, new minus old, with 95 % intervals.")
    moves = ("PB", "baseline", "identities' mean")
    yield Table(
        "Axes",
        ("axis", "verdict", *(Column(title, number=True) for title in moves)),
        [
            (axis.title, Badge(axis.direction.value, axis.reason), *_changes(axis))
            for axis in comparison.axes
        ],
    )
    if joint := comparison.joint:
        change = interval(joint.bias_change, difference=True)
        row = (joint.title, interval(joint.old_bias), interval(joint.new_bias), change)
        head = ("tasks", "before", "now", "change")
        yield Table("Joint PB of (safety, utility), the baseline left out", head, [row])
    counts = ("questions", "without a match")
    yield Table(
        "Tasks",
        ("task", *(Column(title, number=True) for title in (*counts, *moves))),
        [
            (
                task.task,
                str(task.n_items),
                str(task.only_new_items + task.only_old_items),
                *_changes(task),
            )
            for task in comparison.tasks
        ],
    )
    figures = ("before", "now", "change", "q")
    yield Table(
        "Cells, the surest change first",
        ("task", "identity", *(Column(title, number=True) for title in figures)),
        [
            (
                task,
                cell.identity.name,
                f"{cell.old_difference:+.1f}",
                f"{cell.new_difference:+.1f}",
                interval(cell.change, difference=True),
                "< 0.001" if cell.qvalue < 0.001 else f"{cell.qvalue:.3f}",
            )
            for task, cell in ranked_cells(comparison)
        ],
        first=_IN_SIGHT,
    )


def _changes(found: AxisComparison | TaskComparison) -> tuple[Cell, ...]:
    changes = (found.bias_change, found.baseline, found.mean)
    return tuple(interval(change, difference=True) for change in changes)


def comparison_json(comparison: Comparison, gate: GateOutcome | None = None) -> dict[str, Any]:
    """The comparison as plain data, in the fields of ``formats``."""
    from pytest_pbias.reporting.formats import ComparisonDocument, document

    found = {field.name: getattr(comparison, field.name) for field in fields(comparison)}
    more = {"comparable": not comparison.blocked_by, "gate": gate}
    return document(ComparisonDocument, found | more)


def compared_json(run: ComparedRun) -> dict[str, Any]:
    """The comparison as a part of the JSON report."""
    if run.comparison is None:
        return {"with": run.name, "problem": run.problem}
    return {"with": run.name} | comparison_json(run.comparison, run.gate)
