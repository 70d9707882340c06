"""What a session leaves behind: the kept run, the reports, and the terminal's pages."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_pbias.errors import ConfigurationError, StoreError
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.reporting import (
    RunSummary,
    render_terminal,
    verdict_counts,
    write_json,
    write_markdown,
)
from pytest_pbias.reporting.annotations import github_annotations
from pytest_pbias.reporting.comparing import ComparedRun
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.runs import current_commit, keep_run

if TYPE_CHECKING:
    import pytest


def keep_results(table: OutcomeTable, summary: RunSummary, settings: Settings, root: Path) -> Path:
    """Keep the run among the others, and where the options say; returns its place there.

    Raises:
        PbiasError: a file cannot be written.
    """
    kept = keep_run(
        table,
        settings.store_dir,
        model=settings.model.name,
        commit=current_commit(root),
        tag=settings.kept.tag,
        verdicts=verdict_counts(summary),
        bias={axis.axis: axis.bias.estimate for axis in summary.axes if axis.bias is not None},
    )
    if settings.table_path is not None:
        try:
            table.write(settings.table_path)
        except OSError as error:
            raise StoreError(
                f"the table {settings.table_path} cannot be written: "
                f"{error.strerror or error}; give another path (the run is kept as {kept})"
            ) from None
    return kept


def require_writable(settings: Settings) -> None:
    """See that every file asked for can be written, before anything is paid for.

    Raises:
        ConfigurationError: one cannot.
    """
    wanted = {
        "json": settings.json_path,
        "markdown": settings.markdown_path,
        "html": settings.html_path,
        "table": settings.table_path,
    }
    for name, path in wanted.items():
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise ConfigurationError(
                f"--pbias-{name}={path} cannot be written: {error.strerror}; give another path"
            ) from None


def write_reports(
    table: OutcomeTable, summary: RunSummary, compared: ComparedRun | None, settings: Settings
) -> None:
    """Write the reports that the options ask for.

    Raises:
        PbiasError: a file cannot be written.
    """
    if settings.json_path is not None:
        write_json(summary, settings.json_path, compared.to_json() if compared else None)
    write_markdown(summary, settings.markdown_path, compared.to_markdown() if compared else "")
    if settings.html_path is not None:
        from pytest_pbias.reporting.html import RunContent, to_html

        write_text(settings.html_path, to_html(RunContent(summary, table, compared=compared)))


def print_results(
    reporter: pytest.TerminalReporter,
    summary: RunSummary,
    compared: ComparedRun | None,
    kept: Path | None,
    verbosity: int,
) -> None:
    """Print the report, the comparison with an earlier run, and where the table is."""
    reporter.section("personalization bias", sep="=")
    for line, style in render_terminal(summary, verbosity=verbosity):
        reporter.line(line, **({style: True} if style else {}))
    if compared is not None:
        reporter.section(f"compared with {compared.name}", sep="=")
        for line, style in compared.lines(verbosity):
            reporter.line(line, **({style: True} if style else {}))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(summary):
            reporter.line(line)
    if kept is not None and verbosity >= 0:
        reporter.line(f"outcome table: {_shown(kept)}")


def _shown(path: Path) -> Path:
    """The path relative to the working folder where it lies below it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
