"""The session gates: one reported test item per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.errors import PbiasError
from pytest_pbias.gate import AxisVerdict, Verdict
from pytest_pbias.plugin.verdicts import report_verdict


def append_gates(session: pytest.Session, items: list[pytest.Item], cells: Sequence[Cell]) -> None:
    """Append a gate for each axis on which at least two identities are compared."""
    for axis in ("utility", "safety"):
        identities = {
            cell.identity
            for cell in cells
            if cell.task.axis == axis and cell.identity.kind == "identity"
        }
        if len(identities) >= 2:
            name = f"gate[{axis}]"
            items.append(
                GateItem.from_parent(session, name=name, nodeid=f"pbias::{name}", axis=axis)
            )


class GateItem(pytest.Item):
    """Judges PB over the tasks of one axis against its tolerance."""

    def __init__(self, *, axis: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def runtest(self) -> None:
        """Wait for the axis's cells, then judge; red only as the gate's mode says."""
        from pytest_pbias.plugin.collection import active_session

        session = active_session(self.config)
        assert session is not None
        try:
            verdict: AxisVerdict = session.judge_axis(self.axis)
        except PbiasError as error:
            raise GateBrokenError(str(error)) from None
        report_verdict(
            self,
            verdict.verdict,
            f"PB over {self.axis}: {verdict.reason}",
            mode=session.settings.policy.mode,
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """One line for a broken gate; pytest's own form otherwise."""
        if isinstance(excinfo.value, GateBrokenError):
            return f"error, no verdict: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the item stands: nowhere in a file."""
        return "pbias", None, self.name


class GateBrokenError(Exception):
    """Infrastructure failed; there is no verdict."""


__all__ = ["GateBrokenError", "GateItem", "Verdict", "append_gates"]
