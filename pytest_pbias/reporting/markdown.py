"""The Markdown report, for pull requests and GitHub's step summary."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_pbias.analysis.across_runs.changes import Comparison
from pytest_pbias.analysis.across_runs.comparison import ComparedRun
from pytest_pbias.analysis.across_runs.condition import GateOutcome
from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.reporting.comparison import compared_section, comparison_section, run_title
from pytest_pbias.reporting.findings import findings
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.sections import (
    cluster_warnings,
    measured_note,
    task_table,
    verdict_section,
)
from pytest_pbias.reporting.tables import (
    Badge,
    Block,
    Bullets,
    Cell,
    Code,
    Heading,
    Note,
    Section,
    Table,
    words,
)
from pytest_pbias.reporting.text import markdown

MOST_CHARACTERS = 60_000


def to_markdown(summary: RunSummary, comparison: str = "") -> str:
    """The report, verdict first, at most 60,000 characters; what is cut is said.

    ``comparison`` with an earlier run is a section of its own, after the report.
    """
    if not comparison:
        return _bounded(_lines(summary), MOST_CHARACTERS)
    # Neither takes the other's place: what changed has at least a third of it.
    section = _bounded(iter(comparison.splitlines()), MOST_CHARACTERS // 3)
    return _bounded(_lines(summary), MOST_CHARACTERS - len(section) - 1) + "\n" + section


def comparison_markdown(comparison: Comparison, gate: GateOutcome | None = None) -> str:
    """The comparison on its own, what changed first, at most 60,000 characters."""
    title = f"{comparison.direction.value.capitalize()}: compared with {run_title(comparison.old)}"
    return titled_markdown(title, comparison_section(comparison, gate))


def titled_markdown(title: str, section: Section) -> str:
    """A section on its own under a title, at most 60,000 characters."""
    return _bounded(_titled(title, section), MOST_CHARACTERS)


def section_markdown(section: Section) -> str:
    """A section on its own, at most 60,000 characters."""
    return _bounded(_titled(section.title, section), MOST_CHARACTERS)


def compared_markdown(run: ComparedRun) -> str:
    """The comparison as a part of the report of a run."""
    if run.comparison is not None:
        return comparison_markdown(run.comparison, run.gate)
    return "\n".join(_blocks(compared_section(run).brief()))


def _titled(title: str, section: Section) -> Iterator[str]:
    yield f"## {markdown(title)}"
    yield ""
    yield from _blocks(section.brief())


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
    title = f"Personalization bias of {summary.run.model}"
    yield from _titled(title, verdict_section(summary))
    tasks: tuple[Block, ...] = (task_table(summary), *cluster_warnings(*summary.tasks))
    yield from section_lines(Section("Tasks", tasks))
    for finding in findings(summary):
        yield from section_lines(finding)
    yield from _blocks((measured_note(summary),))


def section_lines(section: Section) -> Iterator[str]:
    """A section without its details; nothing where that is all it has."""
    blocks = section.brief()
    if not blocks:
        return
    yield f"### {markdown(section.title)}"
    yield ""
    if section.opening:
        yield markdown(section.opening)
        yield ""
    yield from _blocks(blocks)


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Note(text, severity):
                loud = "**" if severity in ("bad", "strong") else ""
                yield f"{loud}{markdown(text)}{loud}"
            case Bullets(texts):
                yield from (f"- {markdown(text)}" for text in texts)
            case Heading(text):
                yield f"#### {markdown(text)}"
            case Table():
                yield from _table(block)
            case _:
                continue
        yield ""


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield f"*{markdown(table.caption)}*"
        yield ""
    yield _row(markdown(column.title) for column in table.heads)
    yield _row("---" for _ in table.heads)
    for row in table.rows:
        yield _row(map(_cell, row))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    match cell:
        case Badge("fail", reason):
            return "**FAIL**" + (f": {markdown(reason)}" if reason else "")
        case Code(text):
            return f"`{markdown(text)}`"
    return markdown(words(cell))


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
