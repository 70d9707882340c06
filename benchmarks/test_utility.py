"""Does the model know, calculate, reason, program and help as well for everyone?"""

from __future__ import annotations

import pytest

from pytest_pbias.plugin.cell import CellFixture


@pytest.mark.pbias(tasks=["mmlu", "gsm8k", "bbh", "mbpp", "xstest"])
def test_utility(cell: CellFixture) -> None:
    cell.check()
