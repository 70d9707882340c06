"""Verdicts as JUnit XML, with the properties that the tests of a run have."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_pbias.analysis.summary import CellSummary, RunSummary, TaskSummary
from pytest_pbias.gate import AxisVerdict, CellVerdict, Mode, Verdict
from pytest_pbias.outcomes.arrays import under
from pytest_pbias.reporting.text import plain

SIGNAL = "signal"
"""The verdict of a baseline that is clear of its floor: no difference was decided."""


@dataclass(frozen=True, slots=True)
class Case:
    """One decision as a test: how it ends, why, and the properties of its verdict."""

    name: str
    ends: Literal["passed", "failed", "skipped", "error"]
    message: str = ""
    properties: Mapping[str, str] | None = None


def cell_figures(verdict: CellVerdict) -> dict[str, float]:
    """The figures of a cell's verdict by name."""
    found = verdict.difference
    return {
        "rate": found.rate,
        "reference_rate": found.reference_rate,
        "difference": found.estimate,
        "low": found.low,
        "high": found.high,
        "pass_low": verdict.passing.low,
        "pass_high": verdict.passing.high,
        "margin": verdict.margin,
        "items": found.n_items,
    }


def axis_figures(verdict: AxisVerdict) -> dict[str, float]:
    """The figures of an axis's verdict by name."""
    figures = {"tolerance": verdict.tolerance, "mean_rate": verdict.mean_rate}
    if verdict.bias is not None:
        bias = verdict.bias
        figures |= {"pb": bias.estimate, "low": bias.low, "high": bias.high, "pb_raw": bias.raw}
    return figures


def verdict_properties(
    verdict: str, subject: Mapping[str, str], figures: Mapping[str, float]
) -> dict[str, str]:
    """A verdict, what it is about and its figures as properties of a test: ``pbias_NAME``."""
    found = {"pbias_verdict": verdict}
    found |= {f"pbias_{name}": text for name, text in subject.items()}
    return found | {f"pbias_{name}": f"{value:.6g}" for name, value in figures.items()}


def cases_of(summary: RunSummary, mode: Mode) -> tuple[Case, ...]:
    """The tests that a run with this summary has: baselines, cells, axes."""
    cells = [case for task in summary.tasks for case in _task_cases(task, mode)]
    return (*cells, *_axis_cases(summary, mode))


def _task_cases(task: TaskSummary, mode: Mode) -> Iterator[Case]:
    name = f"baseline[{_with(task.task, task.cue, task.defense)}]"
    if task.baseline is None:
        yield Case(name, "error", "error, no verdict: answers of the baseline are missing")
    else:
        found = task.baseline.verdict
        said = SIGNAL if found is Verdict.PASS else found.value
        message = f"{task.title}, baseline: {task.baseline.reason}"
        yield _case(name, found, mode, message, verdict_properties(said, {}, {}))
    for cell in task.cells:
        yield _cell_case(task, cell, mode)


def _cell_case(task: TaskSummary, cell: CellSummary, mode: Mode) -> Case:
    who, verdict = cell.identity.name, cell.verdict
    name = f"cell[{_with(task.task, '', task.defense)}-{who}]"
    if verdict is None:
        return Case(name, "error", f"error, no verdict: {cell.undecided}: {task.title}, {who}")
    subject = {"task": task.task, "identity": who}
    properties = verdict_properties(verdict.verdict.value, subject, cell_figures(verdict))
    return _case(name, verdict.verdict, mode, f"{verdict.reason}: {task.title}, {who}", properties)


def _axis_cases(summary: RunSummary, mode: Mode) -> Iterator[Case]:
    decided = {(one.defense, one.cue, one.axis): one for one in summary.axes}
    compared: dict[tuple[str, str, str], set[str]] = {}
    for task in summary.tasks:
        names = {one.identity.name for one in task.cells if summary.policy.has_gate(one.identity)}
        compared.setdefault((task.defense, task.cue, task.axis), set()).update(names)
    for (defense, cue, axis), names in compared.items():
        if len(names) < 2:
            continue
        name = f"gate[{_with(axis, cue, defense)}]"
        verdict = decided.get((defense, cue, axis))
        if verdict is None:
            yield Case(name, "error", "error, no verdict: answers of its cells are missing")
            continue
        properties = verdict_properties(verdict.verdict.value, {}, axis_figures(verdict))
        message = f"{verdict.reason}: {under(axis, defense, cue)}"
        yield _case(name, verdict.verdict, mode, message, properties)


def _with(name: str, cue: str, defense: str) -> str:
    return "-".join([name, *([cue] if cue else []), *([defense] * (defense != "none"))])


def _case(
    name: str, verdict: Verdict, mode: Mode, message: str, properties: Mapping[str, str]
) -> Case:
    if verdict in (Verdict.PASS, Verdict.FINDING):
        return Case(name, "passed", "", properties)
    if verdict is Verdict.FAIL:
        return Case(name, "failed", message, properties)
    if mode == "prove":
        said = f"{verdict.value} (red in prove mode): {message}"
        return Case(name, "failed", said, properties)
    return Case(name, "skipped", f"{verdict.value}: {message}", properties)


_TAGS = {"failed": "failure", "skipped": "skipped", "error": "error"}


def junit_xml(cases: Sequence[Case]) -> str:
    """The cases as the file that CI systems read."""
    counts = {ends: sum(one.ends == ends for one in cases) for ends in _TAGS}
    numbers = {"tests": len(cases), "failures": counts["failed"]}
    numbers |= {"errors": counts["error"], "skipped": counts["skipped"]}
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", name="pbias")
    suite.attrib.update({name: str(number) for name, number in numbers.items()})
    for one in cases:
        case = ET.SubElement(suite, "testcase", classname="pbias", name=plain(one.name), time="0")
        if one.properties:
            kept = ET.SubElement(case, "properties")
            for name, value in one.properties.items():
                ET.SubElement(kept, "property", name=name, value=plain(value))
        if one.ends != "passed":
            message = plain(one.message)
            ET.SubElement(case, _TAGS[one.ends], message=message).text = message
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
