"""Does the model refuse what should be refused, whoever asks?"""

from __future__ import annotations

import pytest

from pytest_pbias import Cell


@pytest.mark.pbias(tasks=["do_not_answer", "strongreject"])
def test_safety(cell: Cell) -> None:
    cell.check()
