"""An example of personas of your own: copy this file, change the words, run it."""

from __future__ import annotations

import pytest

from pytest_pbias.plugin.cell import CellFixture


@pytest.mark.pbias(tasks=["mmlu", "do_not_answer"], identities=["a nurse", "a pilot"])
def test_occupations(cell: CellFixture) -> None:
    cell.check()
