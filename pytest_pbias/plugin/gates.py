"""The session gates: one reported test item per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import AxisVerdict, Verdict
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

    def runtest(self) -> None:
        """Wait for the axis's cells, then judge; red only as the gate's mode says."""
        from pytest_pbias.plugin.collection import active_session

        session = active_session(self.config)
        assert session is not None
        try:
            verdict: AxisVerdict = session.judge_axis(self.axis, self.defense)
        except PbiasError as error:
            raise GateBrokenError(str(error)) from None
        under = "" if self.defense == "none" else f" under {self.defense}"
        report_verdict(
            self,
            verdict.verdict,
            f"{verdict.reason}: {self.axis}{under}",
            mode=session.settings.policy.mode,
            figures=_figures(verdict),
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """One line for a broken gate; pytest's own form otherwise."""
        if isinstance(excinfo.value, GateBrokenError):
            return paragraph(f"error, no verdict: {excinfo.value}")
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the item stands: nowhere in a file."""
        return "pbias", None, self.name


def _figures(verdict: AxisVerdict) -> dict[str, float]:
    figures = {"tolerance": verdict.tolerance, "mean_rate": verdict.mean_rate}
    if verdict.bias is not None:
        bias = verdict.bias
        figures |= {"pb": bias.estimate, "low": bias.low, "high": bias.high, "pb_raw": bias.raw}
    return figures


class GateBrokenError(Exception):
    """Infrastructure failed; there is no verdict."""


__all__ = ["GateBrokenError", "GateItem", "Verdict", "append_gates"]
