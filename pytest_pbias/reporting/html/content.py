"""What a page is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_pbias.analysis.comparison import ComparedRun
from pytest_pbias.analysis.samples import Rows
from pytest_pbias.analysis.summary import RunSummary
from pytest_pbias.outcomes import OutcomeTable

ReadResponses = Callable[[Rows], Sequence[str | None]]
"""Row numbers of the outcome table -> the answers in them."""


@dataclass(frozen=True)
class RunContent:
    """A run, and what stands beside it.

    ``read`` gives the answers where the table's rows were read without them.
    """

    summary: RunSummary
    table: OutcomeTable
    read: ReadResponses | None = None
    compared: ComparedRun | None = None
