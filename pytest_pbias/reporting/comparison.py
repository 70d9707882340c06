"""The comparison of two runs: a section for every format, the terminal's short form, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pytest_pbias.analysis.comparison import ComparedRun
from pytest_pbias.analysis.condition import GateOutcome
from pytest_pbias.analysis.pairing import (
    AxisComparison,
    CellChange,
    Comparison,
    Direction,
    RateChange,
    TaskComparison,
)
from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.plain import plain_data
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Bullets,
    Cell,
    Column,
    Interval,
    Note,
    Section,
    Table,
    severity,
)
from pytest_pbias.reporting.text import (
    Line,
    Style,
    padded,
    plain,
    probability,
    signed,
    terminal_line,
    wrapped,
)
from pytest_pbias.stats import ChangeResult

FORMAT_VERSION = 1

_WIDTH = 80

_MOST_CELLS = 10
_IN_SIGHT = 15  # cells before a click

_SAYS: Mapping[Direction, str] = {
    Direction.WORSE: "Worse than the earlier run.",
    Direction.BETTER: "Better than the earlier run.",
    Direction.UNCHANGED: "No change shown since the earlier run.",
    Direction.INCONCLUSIVE: "Whether it is worse than the earlier run is not settled.",
}

_STYLES: Mapping[Direction, Style] = {
    Direction.BETTER: "green",
    Direction.WORSE: "red",
    Direction.UNCHANGED: "",
    Direction.INCONCLUSIVE: "yellow",
}

_GATE_STYLES: Mapping[Verdict, Style] = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NO_SIGNAL: "yellow",
}


def comparison_terminal(
    comparison: Comparison, gate: GateOutcome | None = None, *, verbosity: int = 0
) -> list[Line]:
    """Lines of at most 80 columns; ``verbosity`` below 0 gives one line, above 0 every cell."""
    head: Line = (
        f"{comparison.direction.value.upper()} than the earlier run"
        if comparison.direction in (Direction.BETTER, Direction.WORSE)
        else comparison.direction.value.upper(),
        _STYLES[comparison.direction],
    )
    if verbosity < 0:
        return [(f"{head[0]}; NOT COMPARABLE", "red")] if comparison.blocked_by else [head]
    lines = [head, *_body(comparison, gate, verbosity)]
    return [(terminal_line(text, _WIDTH), style) for text, style in lines]


def _body(comparison: Comparison, gate: GateOutcome | None, verbosity: int) -> Iterator[Line]:
    for name, run in (("old", comparison.old), ("new", comparison.new)):
        yield plain(f"  {name}: {run_title(run)}", _WIDTH), ""
    for difference in comparison.setup:
        loud = "NOT COMPARABLE" if difference.blocks else "note"
        yield from _wrapped(f"{loud}: {difference}", "red" if difference.blocks else "yellow")
    for text in comparison.left_out:
        yield from _wrapped(f"left out: {text}", "yellow")
    yield "changes in points, new minus old, on the questions that both asked", ""
    for axis in comparison.axes:
        yield "", ""
        yield f"{axis.axis}: {axis.direction.value}", _STYLES[axis.direction]
        yield from _wrapped(f"  {axis.reason}", "")
        if axis.bias_change and axis.old_bias and axis.new_bias:
            old, new, found = axis.old_bias.estimate, axis.new_bias.estimate, axis.bias_change
            shown = signed(found.estimate, found.low, found.high)
            yield f"  PB               {old:5.1f} -> {new:5.1f}  {shown}", ""
        for name, rate in (("baseline", axis.baseline), ("identities' mean", axis.mean)):
            shown = signed(rate.estimate, rate.low, rate.high)
            yield f"  {name:<16} {rate.old:5.1f} -> {rate.new:5.1f}  {shown}", ""
    yield "", ""
    for task in comparison.tasks:
        yield from _task(task)
    yield from _cells(comparison, verbosity)
    if gate is not None:
        text = f"COMPARE: {gate.verdict.value.upper()}: {gate.reason}"
        yield from _wrapped(text, _GATE_STYLES[gate.verdict])


def run_title(run: Mapping[str, str]) -> str:
    """A run in a few words: model, date, commit, tag."""
    parts = [run["model"], run["created"][:16].replace("T", " "), run["commit"], run["tag"]]
    return ", ".join(part for part in parts if part)


def _wrapped(text: str, style: Style) -> Iterator[Line]:
    for line in wrapped(text, _WIDTH):
        yield line, style


def _task(task: TaskComparison) -> Iterator[Line]:
    unmatched = ""
    if task.only_new_items or task.only_old_items:
        unmatched = f", without a match {task.only_new_items} new {task.only_old_items} old"
    yield f"{task.task} ({task.n_items} questions matched{unmatched})", "bold"
    if task.bias_change is not None:
        found = task.bias_change
        yield f"  PB {signed(found.estimate, found.low, found.high)}", ""
    for names, text in ((task.only_new, "new"), (task.only_old, "earlier")):
        if names:
            yield from _wrapped(f"  only in the {text} run: {', '.join(names)}", "yellow")


def _qvalue(cell: CellChange) -> str:
    return probability(cell.qvalue).replace("p", "q", 1)


def ranked_cells(comparison: Comparison) -> list[tuple[str, CellChange]]:
    """Task and cell, the smallest q-value first."""
    cells = [(task.task, cell) for task in comparison.tasks for cell in task.cells]
    return sorted(cells, key=lambda found: (found[1].qvalue, found[1].change.estimate))


def _cells(comparison: Comparison, verbosity: int) -> Iterator[Line]:
    ranked = ranked_cells(comparison)
    shown = ranked if verbosity > 0 else [pair for pair in ranked if pair[1].qvalue <= 0.05]
    yield "", ""
    moved = sum(cell.qvalue <= 0.05 for _, cell in ranked)
    yield f"cells that changed (q <= 0.05): {moved} of {len(ranked)}", ""
    for task, cell in shown if verbosity > 0 else shown[:_MOST_CELLS]:
        found = cell.change
        style: Style = "red" if abs(cell.new_difference) > abs(cell.old_difference) else "green"
        yield (
            f"  {padded(task, 14)} {padded(cell.identity.name, 24)} "
            f"{cell.old_difference:+6.1f} -> {cell.new_difference:+6.1f}"
            f"  {found.estimate:+.1f}, {_qvalue(cell)}",
            style if cell.qvalue <= 0.05 else "",
        )
    if verbosity <= 0 and len(shown) > _MOST_CELLS:
        yield f"  and {len(shown) - _MOST_CELLS} more (-v shows every cell)", ""


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
            (axis.axis, Badge(axis.direction.value, axis.reason), *_changes(axis))
            for axis in comparison.axes
        ],
    )
    numbers = ("questions", "without a match", *moves)
    yield Table(
        "Tasks",
        ("task", *(Column(title, number=True) for title in numbers)),
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
    numbers = ("before", "now", "change", "q")
    yield Table(
        "Cells, the surest change first",
        ("task", "identity", *(Column(title, number=True) for title in numbers)),
        [
            (
                task,
                cell.identity.name,
                f"{cell.old_difference:+.1f}",
                f"{cell.new_difference:+.1f}",
                _change(cell.change),
                "< 0.001" if cell.qvalue < 0.001 else f"{cell.qvalue:.3f}",
            )
            for task, cell in ranked_cells(comparison)
        ],
        first=_IN_SIGHT,
    )


def _changes(found: AxisComparison | TaskComparison) -> tuple[Cell, ...]:
    return tuple(map(_change, (found.bias_change, found.baseline, found.mean)))


def _change(found: ChangeResult | RateChange | None) -> Cell:
    if found is None:
        return ""
    return Interval(found.estimate, found.low, found.high, difference=True)


def comparison_json(comparison: Comparison, gate: GateOutcome | None = None) -> dict[str, Any]:
    """The comparison as plain data; fields are added within a version, never renamed."""
    tasks = []
    for task in comparison.tasks:
        entry = plain_data(task)
        for cell, found in zip(entry["cells"], task.cells, strict=True):
            identity = found.identity
            cell["identity"] = {
                "name": identity.name, "group": identity.group, "kind": identity.kind
            }  # fmt: skip
        tasks.append(entry)
    return {
        "format": "pytest-pbias-comparison",
        "version": FORMAT_VERSION,
        "direction": comparison.direction.value,
        "comparable": not comparison.blocked_by,
        "old": dict(comparison.old),
        "new": dict(comparison.new),
        "setup": [asdict(difference) for difference in comparison.setup],
        "left_out": list(comparison.left_out),
        "axes": [plain_data(axis) for axis in comparison.axes],
        "tasks": tasks,
        "gate": None if gate is None else plain_data(gate),
    }


def compared_lines(run: ComparedRun, verbosity: int) -> list[Line]:
    """The comparison as a part of a run's own report, for the terminal."""
    if run.comparison is None:
        return [(line, "yellow") for line in wrapped(run.problem)]
    return comparison_terminal(run.comparison, run.gate, verbosity=verbosity)


def compared_json(run: ComparedRun) -> dict[str, Any]:
    """The comparison as a part of the JSON report."""
    if run.comparison is None:
        return {"with": run.name, "problem": run.problem}
    return {"with": run.name} | comparison_json(run.comparison, run.gate)
