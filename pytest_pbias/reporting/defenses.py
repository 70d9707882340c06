"""Prompt defences side by side: what each did to PB, utility and safety."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_pbias.errors import DataError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.mitigation.verdict import BiasChange, MitigationVerdict, judge_mitigation
from pytest_pbias.outcomes import OutcomeTable, TaskOutcomes
from pytest_pbias.reporting.text import markdown, unsigned

Outcomes = Mapping[str, Sequence[TaskOutcomes]]


@dataclass(frozen=True)
class DefenseSummary:
    """One defence against the first one (``reference``, usually ``none``), paired by item.

    ``verdict`` is None where the two have nothing in common.
    """

    defense: str
    reference: str
    verdict: MitigationVerdict | None


@dataclass(frozen=True)
class AxisEffect:
    """One row of the comparison: PB before and after, and mean rates (percentage points)."""

    bias: BiasChange
    rate_before: float
    rate_after: float
    baseline_before: float | None
    baseline_after: float | None


def outcomes_by_defense(table: OutcomeTable) -> dict[str, list[TaskOutcomes]]:
    """Defence -> the outcomes of its tasks."""
    found = {}
    for defense in table.defenses():
        rows = table.of_defense(defense)
        found[defense] = [rows.task_outcomes(task) for task in rows.tasks()]
    return found


def summarize_defenses(outcomes: Outcomes, policy: GatePolicy) -> tuple[DefenseSummary, ...]:
    """Compare every further defence with the first; empty where there is one only."""
    reference, *others = outcomes
    found = []
    for defense in others:
        try:
            verdict = judge_mitigation(outcomes[reference], outcomes[defense], policy)
        except DataError:
            verdict = None
        found.append(DefenseSummary(defense, reference, verdict))
    return tuple(found)


def axis_effects(verdict: MitigationVerdict) -> tuple[AxisEffect, ...]:
    """PB and the mean rates over the tasks of each axis, before and after."""
    found = []
    for bias in verdict.biases:
        rates = [rate for rate in verdict.rates if rate.axis == bias.axis]
        people = [rate.difference for rate in rates if rate.who != "baseline"]
        base = [rate.difference for rate in rates if rate.who == "baseline"]
        found.append(
            AxisEffect(
                bias,
                float(np.mean([rate.reference_rate for rate in people])),
                float(np.mean([rate.rate for rate in people])),
                float(np.mean([rate.reference_rate for rate in base])) if base else None,
                float(np.mean([rate.rate for rate in base])) if base else None,
            )
        )
    return tuple(found)


def defense_lines(defenses: Sequence[DefenseSummary], width: int) -> Iterator[str]:
    """The comparison for a terminal."""
    if not defenses:
        return
    yield f"prompt defences against {defenses[0].reference} on the same items"
    yield f"  {'':<16} {'axis':<8} {'PB debiased':<20} {'mean rate':<15} baseline"
    for summary in defenses:
        if summary.verdict is None:
            yield f"  {summary.defense:<16} nothing in common to compare"
            continue
        for effect in axis_effects(summary.verdict):
            yield f"  {summary.defense[:16]:<16} {_cells(effect)}"
        text = f"{summary.verdict.effect.value.upper()}: {summary.verdict.reason}"
        yield from textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="      ")


def _cells(effect: AxisEffect) -> str:
    bias = effect.bias
    after = unsigned(bias.after.estimate, bias.after.low, bias.after.high)
    moved = f"{bias.before.estimate:.1f} -> {after}"
    rates = f"{effect.rate_before:.1f} -> {effect.rate_after:.1f}"
    base = ""
    if effect.baseline_before is not None and effect.baseline_after is not None:
        base = f"{effect.baseline_before:.1f} -> {effect.baseline_after:.1f}"
    return f"{bias.axis:<8} {moved:<20} {rates:<15} {base}"


def defense_table(defenses: Sequence[DefenseSummary]) -> Iterator[str]:
    """The comparison as Markdown."""
    if not defenses:
        return
    yield f"### Prompt defences against {markdown(defenses[0].reference)}"
    yield ""
    yield "| defence | axis | PB before | PB after | mean rate | baseline | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for summary in defenses:
        if summary.verdict is None:
            yield f"| {markdown(summary.defense)} | | | | | | nothing in common |"
            continue
        for effect in axis_effects(summary.verdict):
            yield _row(summary.defense, summary.verdict, effect)
    yield ""


def _row(defense: str, verdict: MitigationVerdict, effect: AxisEffect) -> str:
    bias = effect.bias
    base = ""
    if effect.baseline_before is not None and effect.baseline_after is not None:
        base = f"{effect.baseline_before:.1f} → {effect.baseline_after:.1f}"
    fields = [
        markdown(defense),
        bias.axis,
        markdown(unsigned(bias.before.estimate, bias.before.low, bias.before.high)),
        markdown(unsigned(bias.after.estimate, bias.after.low, bias.after.high)),
        f"{effect.rate_before:.1f} → {effect.rate_after:.1f}",
        base,
        f"{verdict.effect.value}: {markdown(verdict.reason)}",
    ]
    return "| " + " | ".join(fields) + " |"
