"""Findings -> what people read.

``tables`` has the neutral blocks of a section; ``sections`` makes them of a run's summary,
``details`` of its table, ``comparison`` of two runs. ``terminal``, ``markdown`` and ``html`` render
them; JSON (``json_report``) stays data, in the fields of ``formats``.
"""

from pytest_pbias.reporting.json_report import to_json, write_json
from pytest_pbias.reporting.markdown import to_markdown, write_markdown
from pytest_pbias.reporting.terminal import render_terminal

__all__ = [
    "render_terminal",
    "to_json",
    "to_markdown",
    "write_json",
    "write_markdown",
]
