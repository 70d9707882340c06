"""The comparison as a part of a run's own reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.reporting.comparing.compare import compare_runs
from pytest_pbias.reporting.comparing.expression import GateOutcome
from pytest_pbias.reporting.comparing.pairing import of_one_defense
from pytest_pbias.reporting.comparing.render import (
    comparison_json,
    comparison_markdown,
    comparison_terminal,
)
from pytest_pbias.reporting.comparing.result import Comparison
from pytest_pbias.reporting.text import Line, markdown, wrapped


@dataclass(frozen=True)
class ComparedRun:
    """The comparison with the run ``name``, or ``problem``: why there is none."""

    name: str
    comparison: Comparison | None
    gate: GateOutcome | None = None
    problem: str = ""

    def lines(self, verbosity: int) -> list[Line]:
        """For the terminal."""
        if self.comparison is None:
            return [(line, "yellow") for line in wrapped(self.problem)]
        return comparison_terminal(self.comparison, self.gate, verbosity=verbosity)

    def to_json(self) -> dict[str, Any]:
        """For the JSON report."""
        if self.comparison is None:
            return {"with": self.name, "problem": self.problem}
        return {"with": self.name} | comparison_json(self.comparison, self.gate)

    def to_markdown(self) -> str:
        """For the Markdown report."""
        if self.comparison is None:
            return f"Not compared with {markdown(self.name)}: {markdown(self.problem)}\n"
        return comparison_markdown(self.comparison, self.gate)


def compare_beside(
    new: OutcomeTable, old: OutcomeTable, policy: GatePolicy, *, name: str
) -> ComparedRun:
    """Compare with ``old``, called ``name``; what cannot be compared is said and no error."""
    try:
        comparison = compare_runs(of_one_defense(new), of_one_defense(old), policy)
    except PbiasError as error:
        return ComparedRun(name, None, problem=str(error))
    return ComparedRun(name, comparison)
