"""Persona files as tests: every cell of a ``persona_*.pbias.toml`` is an item."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_pbias.cells import read_personas
from pytest_pbias.errors import PbiasError
from pytest_pbias.plugin.cell import CellItem, cell_id
from pytest_pbias.plugin.collection import activate, placed_cells, refuse
from pytest_pbias.plugin.options import described
from pytest_pbias.plugin.tasks import shown_path


class PersonaTests(pytest.File):
    """A persona file. A mistake in it is one line, and nothing is asked."""

    def collect(self) -> Iterable[pytest.Item]:
        """One item for each cell."""
        try:
            settings = activate(self.config).settings
            personas = read_personas(self.path, self._shown(), settings.tasks)
            placed = placed_cells(self.config, personas.cells(), personas.cues)
        except PbiasError as error:
            refuse(self.config, described(error))
            return
        for cell in placed:
            yield PersonaTest.from_parent(self, name=cell_id(cell), planned=cell)

    def _shown(self) -> str:
        return shown_path(self.config, self.path)


class PersonaTest(CellItem):
    """One identity of the file under one task."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the item stands."""
        return self.path, None, self.name
