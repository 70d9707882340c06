"""Several runs side by side as a section: a plot, a table, and the change at each step."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_pbias.analysis.defenses import Against, Stage
from pytest_pbias.analysis.pairing import AXES, RateChange
from pytest_pbias.reporting.sections import stage_table
from pytest_pbias.reporting.tables import (
    Block,
    Cell,
    Column,
    HistoryPlot,
    Interval,
    Note,
    Section,
    Table,
)
from pytest_pbias.stats import ChangeResult


def stages_section(stages: Sequence[Stage], against: Against) -> Section:
    """The stages in their order, and what changed from each to the next (or from the first)."""
    notes: list[Block] = []
    for stage in stages:
        notes += [Note(f"{stage.name}: {note}", "open") for note in stage.notes]
        found = stage.comparison
        for difference in found.blocked_by if found is not None else ():
            text = f"{stage.name} and {stage.compared_with}: not asked alike: {difference}"
            notes.append(Note(text, "bad"))
        if stage.problem:
            text = f"{stage.name} and {stage.compared_with}: not compared: {stage.problem}"
            notes.append(Note(text, "open"))
    step = "from one to the next" if against == "previous" else f"from {stages[0].name}"
    return Section(
        "Stages" if against == "previous" else "Mitigations",
        (
            _plot(stages),
            stage_table(stages, "PB debiased, mean rates in percent", "run"),
            Table(
                f"Change {step}, percentage points, paired by item",
                (
                    "run",
                    "of",
                    *(Column(title, number=True) for title in ("PB", "mean", "baseline")),
                ),
                [row for stage in stages for row in _changes(stage)],
                grouped=True,
            ),
            Note("Intervals: joint PB at 95 %, axes at the level that their verdict is read off."),
            *notes,
        ),
        lead=f"{len(stages)} runs in their order, with the change {step} and its interval",
    )


def _plot(stages: Sequence[Stage]) -> HistoryPlot:
    """Joint PB and that of each axis, along the stages."""
    joint = [stage.joint for stage in stages]
    axes = [{axis.axis: axis.bias for axis in one.axes} if one is not None else {} for one in joint]
    return HistoryPlot(
        tuple(stage.name for stage in stages),
        (
            ("joint", tuple(None if one is None else one.bias for one in joint)),
            *((axis, tuple(of.get(axis) for of in axes)) for axis in AXES),
        ),
        on="the questions that it was asked",
    )


def _changes(stage: Stage) -> list[tuple[Cell, ...]]:
    found = stage.comparison
    if found is None:
        return []
    rows: list[tuple[Cell, ...]] = []
    if found.joint is not None:
        rows.append((stage.name, "joint", _change(found.joint.bias_change), "", ""))
    rows += [
        (
            stage.name,
            axis.axis,
            _change(axis.bias_change),
            _change(axis.mean),
            _change(axis.baseline),
        )
        for axis in found.axes
    ]
    return rows


def _change(found: ChangeResult | RateChange | None) -> Cell:
    if found is None:
        return ""
    return Interval(found.estimate, found.low, found.high, difference=True)
