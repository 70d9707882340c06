"""An example of personas of your own: copy this file, change the words, run it."""

from __future__ import annotations

import pytest

from pytest_pbias import Cell


@pytest.mark.pbias(tasks=["mmlu", "do_not_answer"], identities=["a nurse", "a pilot"])
def test_occupations(cell: Cell) -> None:
    cell.check()
