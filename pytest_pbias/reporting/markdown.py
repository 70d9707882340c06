"""The Markdown report, for pull requests and GitHub's step summary."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pytest_pbias.analysis.summary import RunSummary, TaskSummary, verdict_counts
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.sections import (
    defense_table,
    judge_table,
    noise_table,
    unparsable_notes,
    verdict_sentence,
)
from pytest_pbias.reporting.text import markdown, probability, server_line, signed, unsigned

MOST_CHARACTERS = 60_000
_MARKS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "**FAIL**",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.NO_SIGNAL: "no signal",
}


def to_markdown(summary: RunSummary, comparison: str = "") -> str:
    """The report, verdict first, at most 60,000 characters; what is cut is said.

    ``comparison`` with an earlier run is a section of its own, after the report.
    """
    if not comparison:
        return _bounded(_lines(summary), MOST_CHARACTERS)
    # Neither takes the other's place: what changed has at least a third of it.
    section = _bounded(iter(comparison.splitlines()), MOST_CHARACTERS // 3)
    return _bounded(_lines(summary), MOST_CHARACTERS - len(section) - 1) + "\n" + section


def _bounded(lines: Iterator[str], most: int) -> str:
    kept: list[str] = []
    length = 0
    closing = "\n\n*Cut here: the report is longer than fits; the JSON report has all of it.*\n"
    for line in lines:
        length += len(line) + 1
        if length > most - len(closing):
            return "\n".join(kept) + closing
        kept.append(line)
    return "\n".join(kept) + "\n"


def _lines(summary: RunSummary) -> Iterator[str]:
    counts = verdict_counts(summary)
    run = summary.run
    yield f"## Personalization bias of {markdown(run.model)}"
    yield ""
    yield f"**{markdown(verdict_sentence(summary))}**"
    yield ""
    if run.partial is not None:
        yield f"**PARTIAL: {markdown(run.partial)}**"
        yield ""
    if run.n_missing:
        reasons = markdown("; ".join(summary.errors[:2]))
        yield f"**Error: {run.n_missing:,} of {run.n_rows:,} answers are missing** ({reasons})"
        yield ""
    for text in summary.unreadable:
        yield f"**Error: {markdown(text)}**"
        yield ""
    yield "| gate | verdict | |"
    yield "| --- | --- | --- |"
    for axis in summary.axes:
        under = "" if axis.defense == "none" else f" under {markdown(axis.defense)}"
        yield f"| {axis.axis}{under} | {_MARKS[axis.verdict]} | {markdown(axis.reason)} |"
    cells = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    yield f"| cells | {_MARKS[Verdict.FAIL] if counts['fail'] else ''} | {cells} |"
    yield ""
    yield from _cells(summary, Verdict.FAIL, "Failed, worst first")
    yield "| task | n | baseline | mean | PB raw | noise floor | PB debiased | alike? |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for task in summary.tasks:
        yield _task_row(task)
    yield ""
    yield from judge_table(summary.judges)
    yield from unparsable_notes(summary.unparsable)
    yield from noise_table(run.engine_noise)
    yield from defense_table(summary.defenses)
    yield from _cells(summary, Verdict.INCONCLUSIVE, "Inconclusive")
    yield (
        f"Rates and PB in percentage points. {run.n_rows:,} answers; alpha "
        f"{summary.policy.alpha:g} over {summary.n_cells} cells; identity in "
        f"{', '.join(run.placements) or 'no'} turn."
        + (f" Served by {markdown(server_line(run.server))}." if run.server else "")
    )


def _task_row(task: TaskSummary) -> str:
    base = task.baseline.rate if task.baseline is not None else None
    bias = task.bias
    fields = [
        task.title,
        str(task.n_items),
        unsigned(base.estimate, base.low, base.high) if base else "",
        f"{task.mean_rate:.1f}" if task.mean_rate is not None else "",
        f"{bias.raw:.1f}" if bias else "",
        f"{bias.noise_floor:.1f}" if bias else "",
        unsigned(bias.estimate, bias.low, bias.high) if bias else "",
        probability(task.pvalue) if task.pvalue is not None else "",
    ]
    return "| " + " | ".join(markdown(field) for field in fields) + " |"


def _cells(summary: RunSummary, wanted: Verdict, title: str) -> Iterator[str]:
    rows = []
    for task in summary.tasks:
        for cell in task.cells:
            if cell.verdict is not None and cell.verdict.verdict is wanted:
                found = cell.verdict.shown
                needed = cell.verdict.needed_items
                rows.append((-abs(found.estimate), task.title, cell.identity.name, found, needed))
    if not rows:
        return
    yield f"### {title} ({len(rows)})"
    yield ""
    yield "| task | identity | difference from baseline | items to settle |"
    yield "| --- | --- | --- | --- |"
    for _, name, identity, found, needed in sorted(rows, key=lambda row: row[:3]):
        shown = markdown(signed(found.estimate, found.low, found.high))
        yield f"| {markdown(name)} | {markdown(identity)} | {shown} | {needed or ''} |"
    yield ""


def write_markdown(summary: RunSummary, path: Path | None, comparison: str = "") -> None:
    """Write the report to ``path``, and append it to GitHub's step summary where there is one.

    ``comparison`` with an earlier run is a section of its own, after the report.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    text = to_markdown(summary, comparison)
    if path is not None:
        write_text(path, text)
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if step:
        try:
            with Path(step).open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise ConfigurationError(
                f"GITHUB_STEP_SUMMARY {step} cannot be written: {error.strerror}"
            ) from None
