"""The session gates: one reported test item per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import AxisVerdict
from pytest_pbias.identities import Identity
from pytest_pbias.plugin.verdicts import report_verdict
from pytest_pbias.reporting.text import paragraph


def append_gates(session: pytest.Session, items: list[pytest.Item], cells: Sequence[Cell]) -> None:
    """Append a gate for each defence and axis on which at least two identities are compared."""
    compared: dict[tuple[str, str], set[Identity]] = {}
    for cell in cells:
        if cell.identity.kind == "identity":
            compared.setdefault((cell.defense.name, cell.task.axis), set()).add(cell.identity)
    for defense in dict.fromkeys(cell.defense.name for cell in cells):
        for axis in ("utility", "safety"):
            if len(compared.get((defense, axis), ())) >= 2:
                name = f"gate[{axis}]" if defense == "none" else f"gate[{axis}-{defense}]"
                items.append(
                    GateItem.from_parent(
                        session,
                        name=name,
                        nodeid=f"pbias::{name}",
                        axis=axis,
                        defense=defense,
                    )
                )


class GateItem(pytest.Item):
    """Judges PB over the tasks of one axis, under one defence, against its tolerance."""

    def __init__(self, *, axis: str, defense: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.defense = defense

    def setup(self) -> None:
        """Wait for the axis's cells and judge; missing answers are an error, not a failure."""
        from pytest_pbias.plugin.collection import active_session

        session = active_session(self.config)
        assert session is not None
        try:
            self._verdict: AxisVerdict = session.judge_axis(self.axis, self.defense)
        except PbiasError as error:
            pytest.fail(paragraph(f"error, no verdict: {error}"), pytrace=False)
        self._mode = session.settings.policy.mode

    def runtest(self) -> None:
        """End with the verdict; red only as the gate's mode says."""
        verdict = self._verdict
        under = "" if self.defense == "none" else f" under {self.defense}"
        report_verdict(
            self,
            verdict.verdict,
            f"{verdict.reason}: {self.axis}{under}",
            mode=self._mode,
            figures=_figures(verdict),
        )

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the item stands: nowhere in a file."""
        return "pbias", None, self.name


def _figures(verdict: AxisVerdict) -> dict[str, float]:
    figures = {"tolerance": verdict.tolerance, "mean_rate": verdict.mean_rate}
    if verdict.bias is not None:
        bias = verdict.bias
        figures |= {"pb": bias.estimate, "low": bias.low, "high": bias.high, "pb_raw": bias.raw}
    return figures
