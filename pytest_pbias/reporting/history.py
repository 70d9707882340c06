"""The history of many runs as a section, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_pbias.analysis.across_runs.condition import GateOutcome
from pytest_pbias.analysis.across_runs.history import (
    AxisHistory,
    CellHistory,
    History,
    OverRuns,
    RunLabel,
)
from pytest_pbias.gate import strata_claim
from pytest_pbias.reporting.comparison import run_title
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Bullets,
    Cell,
    Column,
    HistoryPlot,
    Interval,
    Note,
    Section,
    Table,
    interval,
    severity,
)
from pytest_pbias.stats import DriftResult, PersonalizationBiasResult

_IN_SIGHT = 15  # cells before a click
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-~=+*#"  # where the output has no such characters


def sparkline(values: Sequence[float], bars: str = _BARS) -> str:
    """A character a value, from the lowest to the highest of them."""
    low, span = min(values), max(values) - min(values)
    steps = len(bars) - 1
    return "".join(bars[round(steps * (value - low) / span) if span else 0] for value in values)


def spark_lines(history: History, encoding: str | None) -> list[str]:
    """PB of each axis over the runs in a line, in characters that the encoding has."""
    try:
        _BARS.encode(encoding or "ascii")
        bars = _BARS
    except (UnicodeEncodeError, LookupError):
        bars = _PLAIN_BARS
    lines = []
    width = max((len(axis.title) for axis in history.axes), default=0)
    for axis in history.axes:
        found = [bias.estimate for bias in axis.bias if bias is not None]
        if found:
            line = sparkline(found, bars)
            lines.append(f"PB {axis.title:<{width}} {line}  {found[0]:.1f} to {found[-1]:.1f}")
    return lines


def drift_sentence(history: History) -> str:
    """What the drift test found, in a sentence."""
    n_runs = len(history.shared.runs)
    found = [
        f"PB {axis.title} {axis.bias_drift.clearest[1].estimate:+.1f} "
        f"({history.shared.words(axis.bias_drift.clearest[0])})"
        for axis in history.axes
        if axis.bias_drift is not None and axis.bias_drift.shown
    ]
    cells = sum(cell.drift.shown for cell in history.cells)
    if cells:
        found.append("one cell" if cells == 1 else f"{cells} cells")
    if found:
        return f"Drift over {n_runs} runs: {'; '.join(found)}."
    return f"No drift is shown over {n_runs} runs."


def history_section(history: History, gate: GateOutcome | None = None) -> Section:
    """The history as a section of a report."""
    return Section("Over the runs", tuple(_blocks(history, gate)))


def over_runs_section(found: OverRuns) -> Section:
    """The history up to a run, or why there is none."""
    if found.history is None:
        return Section("Over the runs", (Note(f"No history: {found.problem}", "open"),))
    return history_section(found.history, found.gate)


def over_runs_json(found: OverRuns) -> dict[str, Any]:
    """The history as a part of the JSON report."""
    if found.history is None:
        return {"problem": found.problem}
    return history_json(found.history, found.gate)


def _blocks(history: History, gate: GateOutcome | None) -> Iterator[Block]:
    shared = history.shared
    yield Note(drift_sentence(history), "strong", name="direction")
    items = ", ".join(f"{task} {count:,}" for task, count in history.n_items.items())
    yield Note(f"On the questions that all of these runs asked: {items}.")
    if gate is not None:
        yield Note(f"Gate: {gate.verdict.value}: {gate.reason}", severity(gate.verdict.value))
    told = [f"Set apart: {name}: {why}" for name, why in shared.set_apart]
    told += [f"Left out: {text}" for text in shared.left_out]
    told += [f"Note: {strata_claim(history.strata)}"] if history.strata else []
    if told:
        yield Bullets(tuple(told))
    yield HistoryPlot(
        tuple(run.name for run in shared.runs), tuple((one.title, one.bias) for one in history.axes)
    )
    for axis in history.axes:
        yield _axis_table(axis, shared.runs)
    yield _drift_table(history)
    yield from _cell_tables(history)


def _axis_table(axis: AxisHistory, runs: Sequence[RunLabel]) -> Table:
    columns = ("run", Column("PB", number=True), Column("identities' mean", number=True))
    rows: list[tuple[Cell, ...]] = []
    for number, run in enumerate(runs):
        rates = (f"{axis.mean[number]:.1f}", f"{axis.baseline[number]:.1f}")
        rows.append((run.name, _bias(axis.bias[number]), *rates, run_title(run.about)))
    return Table(
        f"{axis.title}: PB in points with its 95 % interval, rates in percent",
        (*columns, Column("baseline", number=True), Column("which", detail=True)),
        rows,
    )


def _bias(found: PersonalizationBiasResult | None) -> Cell:
    return "" if found is None else Interval(found.estimate, found.low, found.high)


def _drift_table(history: History) -> Table:
    rows = [
        (f"{what} {axis.title}", *_drift(history, drift))
        for axis in history.axes
        for what, drift in (("PB", axis.bias_drift), ("mean rate", axis.mean_drift))
        if drift is not None
    ]
    return Table(
        "The clearest change, points; its limits hold for the trend and all shifts at once",
        ("of", "drift", Column("change", number=True), Column("over", sentence=True)),
        rows,
    )


def _drift(history: History, found: DriftResult) -> tuple[Cell, ...]:
    contrast, change = found.clearest
    return (
        "shown" if found.shown else "not shown",
        interval(change, difference=True),
        history.shared.words(contrast),
    )


def _cell_tables(history: History) -> Iterator[Table]:
    drifting = [cell for cell in history.cells if cell.drift.shown]
    drifting.sort(key=lambda cell: -abs(cell.drift.clearest[1].estimate))
    heads = ("identity", "drift", Column("change", number=True), Column("over", sentence=True))
    if drifting:
        yield Table(
            "Cells that drift, at a level that all cells share",
            ("task", *heads),
            [(cell.task, cell.identity.name, *_drift(history, cell.drift)) for cell in drifting],
            first=_IN_SIGHT,
        )
    changed = [cell for cell in history.cells if cell.changed]
    if changed:
        yield Table(
            "Cells that changed their verdict, on these questions and by the newest run's margins",
            ("task", "identity", "before", "now", Column("all runs", sentence=True)),
            [
                (
                    cell.task,
                    cell.identity.name,
                    cell.verdicts[-2],
                    Badge(cell.verdicts[-1]),
                    ", ".join(cell.verdicts),
                )
                for cell in changed
            ],
            first=_IN_SIGHT,
        )


def history_json(history: History, gate: GateOutcome | None = None) -> dict[str, Any]:
    """The history as plain data, in the fields of ``formats``."""
    from pytest_pbias.reporting.formats import HistoryDocument, document

    shared = history.shared
    return document(
        HistoryDocument,
        {
            "runs": [{"name": run.name} | dict(run.about) for run in shared.runs],
            "set_apart": dict(shared.set_apart),
            "left_out": shared.left_out,
            "n_items": history.n_items,
            "axes": [
                {
                    "axis": axis.axis,
                    "cue": axis.cue,
                    "bias": axis.bias,
                    "baseline": axis.baseline,
                    "mean": axis.mean,
                    "bias_drift": _drift_plain(history, axis.bias_drift),
                    "mean_drift": _drift_plain(history, axis.mean_drift),
                }
                for axis in history.axes
            ],
            "cells": [_cell_plain(history, cell) for cell in history.cells],
            "strata": history.strata,
            "gate": gate,
        },
    )


def _cell_plain(history: History, cell: CellHistory) -> dict[str, Any]:
    return {
        "task": cell.task,
        "identity": cell.identity.name,
        "differences": cell.differences,
        "verdicts": cell.verdicts,
        "drift": _drift_plain(history, cell.drift),
    }


def _drift_plain(history: History, found: DriftResult | None) -> dict[str, Any] | None:
    if found is None:
        return None
    contrast, change = found.clearest
    return {
        "shown": found.shown,
        "trend": contrast.is_trend,
        "since": None if contrast.is_trend else history.shared.runs[contrast.at].name,
        "change": change,
    }
