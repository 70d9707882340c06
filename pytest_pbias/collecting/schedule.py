"""Asking in rounds: a common prefix of each task's items, then a look at what still needs more.

What is asked after a round depends on the answers of complete rounds only. So timing, the order of
arrival, workers and restarts change nothing: a run that was killed finds its answers in the store,
takes the same looks and goes on where it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting.plan import RequestSettings, Work, questions_of
from pytest_pbias.collecting.store import Store
from pytest_pbias.models.chat import ChatRequest

Decide = Callable[[Mapping[Cell, int]], Mapping[Cell, str]]
"""Told how many items each open cell was asked: the cells to stop, and why."""


class Schedule:
    """The rounds of one session, in the process that asks.

    ``looks`` are the items of each task at its looks, the last everything. After each round
    ``decide`` is told the items asked of each cell (the stopped ones left out) and says which to
    stop. ``announce`` is called whenever what is asked has changed, in whichever thread that was.
    The cells that are asked a second time follow at the end, as far as they were asked the first
    time. What has been asked can be read from any thread.
    """

    def __init__(
        self,
        work: Work,
        protocol: RequestSettings,
        looks: Mapping[str, Sequence[int]],
        decide: Decide,
        announce: Callable[[], None],
    ) -> None:
        self.protocol = protocol
        self._work = work
        self._looks = looks
        self._decide = decide
        self._announce = announce
        self._lock = threading.Lock()
        self._rounds = 0
        self._asked = dict.fromkeys(work.cells, 0)
        self._stopped: dict[Cell, str] = {}
        self._current: Callable[[], Iterator[ChatRequest]] | None = None
        self._kept = False  # whether the current round is yet to be given out
        self._asks_again = bool(work.again)

    def asked(self, cell: Cell) -> int:
        """Items that the cell was asked, this round included."""
        with self._lock:
            return self._asked[cell] or self._looks[cell.task.name][0]

    def cells(self) -> tuple[Cell, ...]:
        """The cells asked."""
        return self._work.cells

    def reason(self, cell: Cell) -> str | None:
        """Why the cell is asked no further, or None while it is open."""
        with self._lock:
            return self._stopped.get(cell)

    def total(self) -> int:
        """How many requests there are at most: those asked, and all of the cells still open."""
        with self._lock:
            items = {
                cell: asked if cell in self._stopped else self._looks[cell.task.name][-1]
                for cell, asked in self._asked.items()
            }
        twice = sum(items[cell] for cell in self._work.again)
        return self.protocol.repeats * (sum(items.values()) + twice)

    def anything_missing(self, store: Store) -> bool:
        """Take every look that the store has the answers for; whether it then lacks any."""
        while (requests := self.next_round()) is not None:
            keys = [request.key for request in requests]
            if store.missing(keys):
                self._kept = True
                return True
        return False

    def next_round(self) -> Iterator[ChatRequest] | None:
        """The requests of the next round once all of the last are settled; None at the end.

        May take long: what was answered is graded and looked at.

        Raises:
            PbiasError: a look could not be taken.
        """
        if self._kept and self._current is not None:
            self._kept = False
            return self._current()
        if self._rounds:
            self._look()
        open_cells = [cell for cell in self._asked if cell not in self._stopped]
        again = not open_cells and self._asks_again
        if open_cells:
            self._current = self._round(open_cells)
        elif again:
            self._asks_again = False
            self._current = self._second_asking
        self._announce()
        return self._current() if self._current is not None and (open_cells or again) else None

    def _look(self) -> None:
        is_open = {cell: n for cell, n in self._asked.items() if cell not in self._stopped}
        if is_open:
            stops = dict(self._decide(is_open))
            for cell, n_items in is_open.items():
                if n_items == self._looks[cell.task.name][-1]:
                    stops.setdefault(cell, "everything was asked")
            with self._lock:
                self._stopped |= stops

    def _round(self, cells: Sequence[Cell]) -> Callable[[], Iterator[ChatRequest]]:
        parts = []
        for cell in cells:
            looks = self._looks[cell.task.name]
            target = looks[min(self._rounds, len(looks) - 1)]
            parts.append((cell, self._asked[cell], target))
        self._rounds += 1
        with self._lock:
            self._asked |= {cell: target for cell, _, target in parts}

        def requests() -> Iterator[ChatRequest]:
            for cell, first, last in parts:
                yield from self._requests(cell, first, last, self.protocol)

        return requests

    def _second_asking(self) -> Iterator[ChatRequest]:
        for cell in self._work.again:
            yield from self._requests(cell, 0, self._asked[cell], self.protocol.again())

    def _requests(
        self, cell: Cell, first: int, last: int, protocol: RequestSettings
    ) -> Iterator[ChatRequest]:
        data = self._work.data[cell.task.name]
        part = replace(data, items=data.items[first:last])
        for question in questions_of(cell, part, protocol):
            yield question.request
