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
    """The planned cells with their items, in the order in which tests need them."""

    cells: tuple[Cell, ...]
    data: dict[str, TaskData]

    def requests_of(self, cell: Cell, protocol: Protocol) -> Iterator[Request]:
        """The requests of one cell, in order."""
        for question in questions_of(cell, self.data[cell.task.name], protocol):
            yield question.request

    def requests(self, protocol: Protocol) -> Iterator[Request]:
        """Every request, cell by cell."""
        for cell in self.cells:
            yield from self.requests_of(cell, protocol)

    def total(self, protocol: Protocol) -> int:
        """How many requests there are."""
        return protocol.runs * sum(len(self.data[cell.task.name].items) for cell in self.cells)

    def longest_prompt(self, protocol: Protocol) -> int:
        """Characters of the longest conversation that is planned."""
        return max(
            sum(len(message["content"]) for message in request.messages)
            for request in self.requests(protocol)
        )

    def anything_missing(self, store: Store, protocol: Protocol) -> bool:
        """Whether the store lacks a response."""
        return any(
            store.missing([request.key for request in self.requests_of(cell, protocol)])
            for cell in self.cells
        )
