"""What a session shows while it asks, and the results that it leaves behind."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pbias.analysis.across_runs.comparison import ComparedRun
from pytest_pbias.analysis.across_runs.history import OverRuns
from pytest_pbias.analysis.summary import RunSummary, verdict_counts
from pytest_pbias.collecting.records import Progress
from pytest_pbias.errors import ConfigurationError, StoreError
from pytest_pbias.files import writing
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.outcomes.saved_runs import current_commit, keep_run
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.reporting import render_terminal, to_json, write_json, write_markdown
from pytest_pbias.reporting.annotations import github_annotations
from pytest_pbias.reporting.comparison import compared_json
from pytest_pbias.reporting.history import over_runs_json, over_runs_section
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.reporting.markdown import compared_markdown, section_markdown
from pytest_pbias.reporting.terminal import compared_lines, section_lines
from pytest_pbias.reporting.trackers import RunReport

if TYPE_CHECKING:
    import pytest

_TERMINAL_SECONDS = 0.5

_PLAIN_SECONDS = 15.0

_FIRST_SECONDS = 2.0


def progress_text(progress: Progress) -> str:
    """One line of at most 80 columns."""
    total = "?" if progress.total is None else f"{progress.total:,}"
    parts = [f"pbias: {progress.done:,}/{total} answers", f"{progress.rate:.0f}/s"]
    if progress.eta is not None:
        minutes, seconds = divmod(int(progress.eta), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    tokens = progress.prompt_tokens + progress.completion_tokens
    if tokens:
        parts.append(f"{tokens / 1000:,.0f}k tokens")
    return ", ".join(parts)[:80]


class ProgressLine:
    """Writes how far asking is; nothing with ``-q``, nothing where all answers were stored."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._quiet = self._reporter is None or config.get_verbosity() < 0
        self._due = time.monotonic() + _FIRST_SECONDS
        self._open = False

    def tick(self, progress: Progress | None) -> None:
        """Write the line where one is due."""
        now = time.monotonic()
        if self._quiet or progress is None or now < self._due or progress.state != "running":
            return
        self._due = now + (_TERMINAL_SECONDS if self._on_terminal() else _PLAIN_SECONDS)
        with self._uncaptured():
            if not self._open or not self._on_terminal():
                self._reporter.ensure_newline()
            if self._on_terminal():
                self._reporter.rewrite(progress_text(progress), erase=True)
                self._open = True
            else:
                self._reporter.write_line(progress_text(progress))

    def say(self, text: str) -> None:
        """Write a line of its own."""
        if not self._quiet:
            with self._uncaptured():
                self._reporter.ensure_newline()
                self._reporter.write_line(f"pbias: {text}")

    def close(self) -> None:
        """End a line that was being rewritten."""
        if self._open:
            self._open = False
            with self._uncaptured():
                self._reporter.write_line("")

    def _on_terminal(self) -> bool:
        return bool(self._reporter.isatty)

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        if self._capture is None:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[None] = (
            self._capture.global_and_fixture_disabled()
        )
        return context


class BackgroundProgress:
    """Ticks from a thread, where the process only waits for others (the xdist controller)."""

    def __init__(self, line: ProgressLine, snapshot: Callable[[], Progress | None]) -> None:
        self._line = line
        self._snapshot = snapshot
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pbias-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_TERMINAL_SECONDS):
            self._line.tick(self._snapshot())

    def stop(self) -> None:
        """Stop ticking."""
        self._ended.set()
        self._thread.join()
        self._line.close()


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
        bias={axis.title: axis.bias.estimate for axis in summary.axes if axis.bias is not None},
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
        ConfigurationError: one cannot, or what draws the HTML report is not installed.
    """
    if settings.html_path is not None:
        from pytest_pbias.reporting.html import load_matplotlib

        load_matplotlib()
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
            writing.require_writable(path)
        except OSError as error:
            raise ConfigurationError(
                f"--pbias-{name}={path} cannot be written: {error.strerror}; give another path"
            ) from None


@dataclass(frozen=True)
class Beside:
    """What stands beside a run's own report: an earlier run, and many."""

    compared: ComparedRun | None = None
    over_runs: OverRuns | None = None

    def to_plain(self) -> dict[str, Mapping[str, Any] | None]:
        """Both as parts of the JSON report."""
        return {
            "comparison": compared_json(self.compared) if self.compared else None,
            "history": over_runs_json(self.over_runs) if self.over_runs else None,
        }

    def to_markdown(self) -> str:
        """Both as parts of the Markdown report; empty without either."""
        parts = [compared_markdown(self.compared)] if self.compared else []
        if self.over_runs:
            parts.append(section_markdown(over_runs_section(self.over_runs)))
        return "\n".join(parts)


def write_reports(
    table: OutcomeTable, summary: RunSummary, beside: Beside, settings: Settings
) -> None:
    """Write the reports that the options ask for.

    Raises:
        PbiasError: a file cannot be written.
    """
    if settings.json_path is not None:
        write_json(summary, settings.json_path, **beside.to_plain())
    write_markdown(summary, settings.markdown_path, beside.to_markdown())
    if settings.html_path is not None:
        from pytest_pbias.reporting.html import RunContent, to_html

        write_text(
            settings.html_path,
            to_html(
                RunContent(summary, table, compared=beside.compared, over_runs=beside.over_runs)
            ),
        )


def finished_report(
    summary: RunSummary, beside: Beside, kept: Path, settings: Settings, root: Path
) -> RunReport:
    """What trackers and the hook get of a finished run."""
    written = (
        settings.json_path,
        settings.markdown_path,
        settings.html_path,
    )
    return RunReport(
        name=kept.stem,
        table=kept,
        document=to_json(summary, **beside.to_plain()),
        commit=current_commit(root),
        tag=settings.kept.tag,
        files=tuple(path for path in written if path is not None and path.is_file()),
    )


def print_results(
    reporter: pytest.TerminalReporter,
    summary: RunSummary,
    beside: Beside,
    kept: Path | None,
    verbosity: int,
) -> None:
    """Print the report, the comparison with an earlier run, and where the table is."""
    reporter.section("personalization bias", sep="=")
    for line, style in render_terminal(summary, verbosity=verbosity):
        reporter.line(line, **({style: True} if style else {}))
    compared, over_runs = beside.compared, beside.over_runs
    if compared is not None:
        reporter.section(f"compared with {compared.name}", sep="=")
        for line, style in compared_lines(compared, verbosity):
            reporter.line(line, **({style: True} if style else {}))
    if over_runs is not None:
        reporter.section("over the model's runs", sep="=")
        for line, style in section_lines(over_runs_section(over_runs)):
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
