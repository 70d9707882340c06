"""What to ask: the requests of the planned cells, in the order in which tests need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting.records import handed_hash, prompt_hash, request_key
from pytest_pbias.collecting.store import Store
from pytest_pbias.models.chat import ChatRequest, Handed, Sampling
from pytest_pbias.models.dialect import PLAIN, Dialect
from pytest_pbias.prompts import Defense, Identity, Placement, render_defended
from pytest_pbias.tasks import Item, TaskData


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How every cell of a session is asked: who answers, where the identity stands, sampling.

    ``served_identity`` is the weights hash or the endpoint and model name; ``repeats`` askings of
    each item, repeat r with the seed ``seed + r`` and the number ``first_repeat + r``. ``dialect``
    is what the endpoint takes of that; keys are of what was wanted. ``handed`` is what an
    application gets beside the conversation, by name.
    """

    served_identity: str
    placement: Placement
    sampling: Sampling
    repeats: int
    seed: int
    first_repeat: int = 0
    dialect: Dialect = PLAIN
    handed: frozenset[str] = frozenset()

    def again(self) -> RequestSettings:
        """The same, seeds included, asked a second time: only the numbers of the repeats differ."""
        return replace(self, first_repeat=MOST_REPEATS)


MOST_REPEATS = 1_000_000
"""The most repeats of an item: those of a second asking are numbered from here.

The number is part of request keys, so it must never change.
"""


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a cell, with the item and the repeat it belongs to."""

    item: Item
    repeat: int
    prompt_hash: str
    request: ChatRequest


def questions_of(cell: Cell, data: TaskData, protocol: RequestSettings) -> Iterator[Question]:
    """Yield the requests of a cell: the items in order, the repeats of an item together."""
    for item in data.items:
        asker = cell.identity.worded(item.id)
        messages = render_defended(asker, item.prompt, protocol.placement, cell.defense)
        asked = hashed = prompt_hash(messages)
        handed = _handed(asker, cell.defense, item) if protocol.handed else None
        if handed is not None:
            asked = handed_hash(hashed, handed, protocol.handed)
        for repeat in range(protocol.repeats):
            seed, number = protocol.seed + repeat, protocol.first_repeat + repeat
            key = request_key(
                protocol.served_identity, asked, protocol.sampling, seed=seed, repeat=number
            )
            request = ChatRequest(key, messages, protocol.sampling, seed, handed)
            yield Question(item, number, hashed, request)


def _handed(asker: Identity, defense: Defense, item: Item) -> Handed:
    """What an application may ask for: under a defense that drops the identity, nobody's."""
    identity = asker.baseline if defense.drop_identity else asker
    return Handed(identity, identity.cue, replace(item, reference={}))


@dataclass(frozen=True)
class Work:
    """The planned cells with their items, in the order in which tests need them.

    The cells of ``again`` are asked a second time, after everything else.
    """

    cells: tuple[Cell, ...]
    data: dict[str, TaskData]
    again: tuple[Cell, ...] = ()

    def requests_of(self, cell: Cell, protocol: RequestSettings) -> Iterator[ChatRequest]:
        """The requests of one cell, in order."""
        for question in questions_of(cell, self.data[cell.task.name], protocol):
            yield question.request

    def batches(self, protocol: RequestSettings) -> Iterator[Iterator[ChatRequest]]:
        """The requests of each cell in turn."""
        for cell in self.cells:
            yield self.requests_of(cell, protocol)
        for cell in self.again:
            yield self.requests_of(cell, protocol.again())

    def requests(self, protocol: RequestSettings) -> Iterator[ChatRequest]:
        """Every request, cell by cell."""
        for batch in self.batches(protocol):
            yield from batch

    def total(self, protocol: RequestSettings) -> int:
        """How many requests there are."""
        cells = (*self.cells, *self.again)
        return protocol.repeats * sum(len(self.data[cell.task.name].items) for cell in cells)

    def longest_prompt(self, protocol: RequestSettings) -> int:
        """Bytes of the longest conversation that is planned: no tokenizer makes more tokens."""
        return max(
            sum(len(message["content"].encode("utf-8", "replace")) for message in request.messages)
            for request in self.requests(protocol)
        )

    def first_missing(self, store: Store, protocol: RequestSettings) -> ChatRequest:
        """The first request that the store lacks.

        Raises:
            StopIteration: it lacks none.
        """
        return next(self._missing(store, protocol))

    def anything_missing(self, store: Store, protocol: RequestSettings) -> bool:
        """Whether the store lacks a response."""
        return next(self._missing(store, protocol), None) is not None

    def _missing(self, store: Store, protocol: RequestSettings) -> Iterator[ChatRequest]:
        """The requests that the store lacks, looked up a cell at a time."""
        for batch in self.batches(protocol):
            requests = {request.key: request for request in batch}
            yield from map(requests.__getitem__, store.missing(requests))
