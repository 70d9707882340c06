"""The planned cells, and the requests that they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import Cell, Protocol, questions_of
from pytest_pbias.collecting.records import Request
from pytest_pbias.tasks import TaskData


@dataclass(frozen=True)
class Work:
    """The planned cells with their items, in the order in which tests need them.

    The cells of ``again`` are asked a second time, after everything else.
    """

    cells: tuple[Cell, ...]
    data: dict[str, TaskData]
    again: tuple[Cell, ...] = ()

    def requests_of(self, cell: Cell, protocol: Protocol) -> Iterator[Request]:
        """The requests of one cell, in order."""
        for question in questions_of(cell, self.data[cell.task.name], protocol):
            yield question.request

    def batches(self, protocol: Protocol) -> Iterator[Iterator[Request]]:
        """The requests of each cell in turn."""
        for cell in self.cells:
            yield self.requests_of(cell, protocol)
        for cell in self.again:
            yield self.requests_of(cell, protocol.again())

    def requests(self, protocol: Protocol) -> Iterator[Request]:
        """Every request, cell by cell."""
        for batch in self.batches(protocol):
            yield from batch

    def total(self, protocol: Protocol) -> int:
        """How many requests there are."""
        cells = (*self.cells, *self.again)
        return protocol.runs * sum(len(self.data[cell.task.name].items) for cell in cells)

    def longest_prompt(self, protocol: Protocol) -> int:
        """Bytes of the longest conversation that is planned: no tokenizer makes more tokens."""
        return max(
            sum(len(message["content"].encode("utf-8", "replace")) for message in request.messages)
            for request in self.requests(protocol)
        )

    def anything_missing(self, store: Store, protocol: Protocol) -> bool:
        """Whether the store lacks a response."""
        return any(
            store.missing([request.key for request in batch]) for batch in self.batches(protocol)
        )
