"""The progress line: rewritten in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.collecting.progress import Progress

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
