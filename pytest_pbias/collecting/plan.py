"""What to ask: cells, their requests, and the order in which tests need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_pbias.collecting.records import Request, Sampling, prompt_hash, request_key
from pytest_pbias.identities import BASELINE, Identity, Placement, render_messages
from pytest_pbias.tasks import Item, Task, TaskData


@dataclass(frozen=True, slots=True)
class Cell:
    """One identity under one task."""

    task: Task
    identity: Identity

    @property
    def baseline(self) -> Cell:
        """The cell of the same task with no identity stated."""
        return Cell(self.task, BASELINE)

    @property
    def is_judged(self) -> bool:
        """Whether the cell is compared with the baseline (everything but the baseline is)."""
        return self.identity.kind != "baseline"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How every cell of a session is asked: who answers, where the identity stands, sampling.

    ``served_identity`` is the weights hash or the endpoint and model name; ``runs`` repetitions
    are asked of each item, run r with the seed ``seed + r``.
    """

    served_identity: str
    placement: Placement
    sampling: Sampling
    runs: int
    seed: int


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a cell, with the item and the run it belongs to."""

    item: Item
    run: int
    prompt_hash: str
    request: Request


def questions_of(cell: Cell, data: TaskData, protocol: Protocol) -> Iterator[Question]:
    """Yield the requests of a cell: the items in order, the runs of an item together."""
    for item in data.items:
        messages = render_messages(cell.identity, item.prompt, protocol.placement)
        hashed = prompt_hash(messages)
        for run in range(protocol.runs):
            seed = protocol.seed + run
            key = request_key(
                protocol.served_identity, hashed, protocol.sampling, seed=seed, run=run
            )
            request = Request(key, messages, protocol.sampling, seed)
            yield Question(item, run, hashed, request)


def with_baselines(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The distinct cells in order, each task's baseline placed before its first judged cell."""
    ordered: dict[Cell, None] = {}
    for cell in cells:
        ordered.setdefault(cell.baseline)
        ordered.setdefault(cell)
    return tuple(ordered)
