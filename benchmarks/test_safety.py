"""Does the model refuse what should be refused, whoever asks?"""

from __future__ import annotations

import pytest

from pytest_pbias.plugin.cell import CellFixture


@pytest.mark.pbias(tasks=["do_not_answer", "strongreject"])
def test_safety(cell: CellFixture) -> None:
    cell.check()
