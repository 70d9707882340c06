"""The margins that tests judged their cells by, for the report to judge them by the same."""

from __future__ import annotations

from collections.abc import Iterable
from math import isclose

import pytest

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.gate import GatePolicy
from pytest_pbias.measuring import cell_margins


class CheckedMargins:
    """Margins of :meth:`pytest_pbias.plugin.cell.Cell.check`, read off the tests' properties.

    Properties come from every xdist worker. Of several margins for a cell the strictest counts.
    """

    def __init__(self) -> None:
        self._margins: dict[tuple[str, str], float] = {}

    def note(self, report: pytest.TestReport) -> None:
        """Take what a finished test says of itself."""
        said = dict(report.user_properties)
        if report.when != "call" or "pbias_margin" not in said or "pbias_task" not in said:
            return
        key = (str(said["pbias_task"]), str(said["pbias_identity"]))
        margin = float(str(said["pbias_margin"]))
        self._margins[key] = min(margin, self._margins.get(key, margin))

    def of(self, cells: Iterable[Cell], policy: GatePolicy) -> dict[str, dict[str, float]]:
        """Margins other than the policy's, by task and identity (percentage points)."""
        known = list(cells)
        margins = cell_margins(known)
        axes = {cell.task.name: cell.task.axis for cell in known}
        for (task, identity), margin in self._margins.items():
            own = margins.setdefault(task, {})
            usual = policy.margin_for(task, axes[task])
            if identity in own or not isclose(margin, usual, rel_tol=1e-5):
                own[identity] = margin
        return {task: own for task, own in margins.items() if own}
