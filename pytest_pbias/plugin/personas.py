"""Persona files as tests: every cell of a ``persona_*.pbias.toml`` is an item."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.cells import read_personas
from pytest_pbias.cells.cell import Cell
from pytest_pbias.errors import PbiasError
from pytest_pbias.plugin.cell import CellFixture, obtain_cell
from pytest_pbias.plugin.collection import PLANNED, activate, cell_id, placed_cells, refuse
from pytest_pbias.plugin.options import described
from pytest_pbias.plugin.tasks import shown_path


class PersonaTests(pytest.File):
    """A persona file. A mistake in it is one line, and nothing is asked."""

    def collect(self) -> Iterable[pytest.Item]:
        """One item for each cell."""
        try:
            settings = activate(self.config).settings
            personas = read_personas(self.path, self._shown(), settings.tasks)
            cues = personas.cues or settings.cues
            cells = placed_cells(self.config, personas.cells(), settings.defenses, cues)
        except PbiasError as error:
            refuse(self.config, described(error))
            return
        for cell in cells:
            yield PersonaTest.from_parent(self, name=cell_id(cell), planned=cell)

    def _shown(self) -> str:
        return shown_path(self.config, self.path)


class PersonaTest(pytest.Item):
    """One identity of the file under one task."""

    def __init__(self, *, planned: Cell, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stash[PLANNED] = planned
        self.add_marker(pytest.mark.pbias)
        self._cell: CellFixture | None = None

    def setup(self) -> None:
        """Wait for the answers; one that cannot be had is an error, not a failure."""
        self._cell = obtain_cell(self, self.stash[PLANNED])

    def runtest(self) -> None:
        """End with the cell's verdict."""
        assert self._cell is not None
        self._cell.check()

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the item stands."""
        return self.path, None, self.name
