"""GitHub's annotations: failed cells and gates on the page of the pull request."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.text import plain

MOST = 10  # that GitHub shows of each kind for one step


def github_annotations(summary: RunSummary) -> list[str]:
    """Workflow commands: errors for failed gates and cells, warnings for inconclusive gates.

    The worst cells come first; at most :data:`MOST` errors are given.
    """
    errors = [*_gates(summary, Verdict.FAIL), *_cells(summary)]
    warnings = [*_gates(summary, Verdict.INCONCLUSIVE), *_gates(summary, Verdict.NO_SIGNAL)]
    lines = [_command("error", title, text) for title, text in errors[:MOST]]
    return lines + [_command("warning", title, text) for title, text in warnings[:MOST]]


def _gates(summary: RunSummary, verdict: Verdict) -> Iterator[tuple[str, str]]:
    for axis in summary.axes:
        if axis.verdict is verdict:
            yield f"PB over {axis.title}: {verdict.value}", axis.reason


def _cells(summary: RunSummary) -> Iterator[tuple[str, str]]:
    failed = [
        (cell.verdict, task.task, cell.identity.name)
        for task, cell in summary.cells()
        if cell.verdict is not None and cell.verdict.verdict is Verdict.FAIL
    ]
    for verdict, task, identity in sorted(failed, key=lambda row: -abs(row[0].difference.estimate)):
        yield f"{task}, {identity}: fail", verdict.reason


def _command(kind: str, title: str, text: str) -> str:
    """One workflow command; what could end it early or start another is escaped."""
    message = plain(text).replace("%", "%25")
    name = plain(title, 120).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={name}::{message}"
