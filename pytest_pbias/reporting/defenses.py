"""Prompt defences side by side: what each did to PB, utility and safety."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable, TaskOutcomes
from pytest_pbias.reporting.comparing.compare import compare_runs
from pytest_pbias.reporting.comparing.result import AxisComparison, Comparison
from pytest_pbias.reporting.text import markdown, plain, unsigned, wrapped


@dataclass(frozen=True)
class DefenseSummary:
    """One defence against the first one (``reference``, usually ``none``), paired by item.

    ``comparison`` is None where the two have nothing in common.
    """

    defense: str
    reference: str
    comparison: Comparison | None


def outcomes_by_defense(table: OutcomeTable) -> dict[str, list[TaskOutcomes]]:
    """Defence -> the outcomes of its tasks."""
    found = {}
    for defense in table.defenses():
        rows = table.of_defense(defense)
        found[defense] = [rows.task_outcomes(task) for task in rows.tasks()]
    return found


def summarize_defenses(table: OutcomeTable, policy: GatePolicy) -> tuple[DefenseSummary, ...]:
    """Compare every further defence with the first; empty where there is one only."""
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


def defense_lines(defenses: Sequence[DefenseSummary], width: int) -> Iterator[str]:
    """The comparison for a terminal."""
    if not defenses:
        return
    yield f"prompt defences against {defenses[0].reference} on the same items"
    yield _columns("axis", "PB debiased", "mean rate", "baseline")
    for summary in defenses:
        yield f"  {plain(summary.defense)}"
        if summary.comparison is None:
            yield "    nothing in common to compare"
            continue
        for axis in summary.comparison.axes:
            yield _cells(axis)
            text = f"{axis.direction.value.upper()}: {axis.reason}"
            yield from wrapped(f"      {text}", width)


def _columns(axis: str, bias: str, mean: str, baseline: str) -> str:
    # As wide as the widest percentages: ``100.0 -> 100.0 (100.0 to 100.0)``.
    return f"    {axis:<8} {bias:<31} {mean:<15} {baseline}"


def _cells(axis: AxisComparison) -> str:
    before, after = axis.old_bias, axis.new_bias
    moved = ""
    if before is not None and after is not None:
        moved = f"{before.estimate:.1f} -> {unsigned(after.estimate, after.low, after.high)}"
    mean = f"{axis.mean.old:.1f} -> {axis.mean.new:.1f}"
    return _columns(axis.axis, moved, mean, f"{axis.baseline.old:.1f} -> {axis.baseline.new:.1f}")


def defense_table(defenses: Sequence[DefenseSummary]) -> Iterator[str]:
    """The comparison as Markdown."""
    if not defenses:
        return
    yield f"### Prompt defences against {markdown(defenses[0].reference)}"
    yield ""
    yield "| defence | axis | PB before | PB after | mean rate | baseline | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for summary in defenses:
        if summary.comparison is None:
            yield f"| {markdown(summary.defense)} | | | | | | nothing in common |"
            continue
        for axis in summary.comparison.axes:
            yield _row(summary.defense, axis)
    yield ""


def _row(defense: str, axis: AxisComparison) -> str:
    biases = [
        "" if bias is None else unsigned(bias.estimate, bias.low, bias.high)
        for bias in (axis.old_bias, axis.new_bias)
    ]
    fields = [
        markdown(defense),
        axis.axis,
        *map(markdown, biases),
        f"{axis.mean.old:.1f} → {axis.mean.new:.1f}",
        f"{axis.baseline.old:.1f} → {axis.baseline.new:.1f}",
        f"{axis.direction.value}: {markdown(axis.reason)}",
    ]
    return "| " + " | ".join(fields) + " |"
