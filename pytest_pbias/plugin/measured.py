"""The cells measured so far: the latest few whole, all of them as rows of the outcome table.

What is kept of every row is what the statistics need; its answer is on disk until the table is
written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from pytest_pbias.collecting.plan import Cell
from pytest_pbias.errors import InfrastructureError
from pytest_pbias.measuring import Measurement, cell_margins, outcome_rows
from pytest_pbias.outcomes import OutcomeTable, Spool, concatenate

# Questions of the cells that are kept whole: prompts take many times the room of rows. Tests look
# at a cell and its baseline only; a cell that is asked for again later is read from the store anew.
_WHOLE = 500


class Measured:
    """Measures each cell with ``measure`` when it is first asked for; answers go to ``folder``."""

    def __init__(
        self, measure: Callable[[Cell], Measurement], *, run_id: str, model: str, folder: Path
    ) -> None:
        self._measure = measure
        self._run_id = run_id
        self._model = model
        self._spool = Spool(folder)
        self._whole: OrderedDict[Cell, Measurement] = OrderedDict()
        self._rows: dict[Cell, OutcomeTable] = {}
        self._missing: dict[Cell, int] = {}

    def get(self, cell: Cell) -> Measurement:
        """The cell with its prompts, responses and grades."""
        found = self._whole.pop(cell, None)
        if found is None:
            found = self._measure(cell)
            if cell not in self._rows:
                rows = outcome_rows(found, run_id=self._run_id, model=self._model)
                self._rows[cell] = rows.spooled_to(self._spool)
                self._missing[cell] = found.missing
        self._whole[cell] = found
        while len(self._whole) > 2 and sum(map(_length, self._whole.values())) > _WHOLE:
            self._whole.popitem(last=False)
        return found

    def close(self) -> None:
        """Drop the answers on disk: tables made before can be written no more."""
        self._spool.close()

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

    def complete_table(self, cells: Iterable[Cell], which: str = "") -> OutcomeTable:
        """The outcome table of these cells, where all their answers are there.

        ``which`` says after "responses" in the error of which.

        Raises:
            InfrastructureError: responses are missing.
        """
        wanted = list(cells)
        if missing := self.missing(wanted):
            those = f"1 response{which} is" if missing == 1 else f"{missing} responses{which} are"
            again = "it" if missing == 1 else "these"
            raise InfrastructureError(f"{those} missing; run again to ask for {again} alone")
        return self.table(wanted)


def _length(measurement: Measurement) -> int:
    return len(measurement.questions)
