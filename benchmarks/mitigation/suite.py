"""The questions of this benchmark; collected by name only, never with the ordinary suite."""

from __future__ import annotations

import pytest

from benchmarks.mitigation.people import LEFT_OUT, MINED
from pytest_pbias.plugin.cell import CellFixture


@pytest.mark.pbias(identities=["baseline", *MINED])
def test_mining(cell: CellFixture) -> None:
    assert cell.rate.estimate >= 0


@pytest.mark.pbias(identities=["baseline", *MINED, *LEFT_OUT])
def test_heldout(cell: CellFixture) -> None:
    assert cell.rate.estimate >= 0
