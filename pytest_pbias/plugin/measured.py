"""The cells measured so far: the latest few whole, all of them as rows of the outcome table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.measuring import Measurement, cell_margins, outcome_rows
from pytest_pbias.outcomes import OutcomeTable, concatenate

# A cell's prompts take many times the room of its rows. Tests look at a cell and its baseline
# only; a cell that is asked for again later is read from the store anew.
_WHOLE = 24


class Measured:
    """Measures each cell with ``measure`` when it is first asked for."""

    def __init__(self, measure: Callable[[Cell], Measurement], *, run_id: str, model: str) -> None:
        self._measure = measure
        self._run_id = run_id
        self._model = model
        self._whole: OrderedDict[Cell, Measurement] = OrderedDict()
        self._rows: dict[Cell, OutcomeTable] = {}
        self._missing: dict[Cell, int] = {}

    def get(self, cell: Cell) -> Measurement:
        """The cell with its prompts, responses and grades."""
        found = self._whole.pop(cell, None)
        if found is None:
            found = self._measure(cell)
            if cell not in self._rows:
                self._rows[cell] = outcome_rows(found, run_id=self._run_id, model=self._model)
                self._missing[cell] = found.missing
        self._whole[cell] = found
        if len(self._whole) > _WHOLE:
            self._whole.popitem(last=False)
        return found

    def missing(self, cells: Iterable[Cell]) -> int:
        """How many responses of these cells are missing, or could not be judged."""
        total = 0
        for cell in cells:
            if cell not in self._missing:
                self.get(cell)
            total += self._missing[cell]
        return total

    def table(self, cells: Iterable[Cell]) -> OutcomeTable:
        """The outcome table of these cells, in the order given.

        Margins of single cells are kept beside it, as ``info["margins"][task][identity]``.
        """
        wanted = list(cells)
        self.missing(wanted)
        if not wanted:
            return OutcomeTable.from_columns({"task": []})
        table = concatenate(self._rows[cell] for cell in wanted)
        margins = cell_margins(wanted)
        return table.with_info(margins=margins) if margins else table
