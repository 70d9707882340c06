"""What to ask: cells, their requests, and the order in which tests need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pytest_pbias.collecting.records import Request, Sampling, prompt_hash, request_key
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.identities import Identity, Placement, identity_from_plain, identity_to_plain
from pytest_pbias.mitigation.defenses import (
    NO_DEFENSE,
    Defense,
    defense_from_plain,
    defense_to_plain,
    render_defended,
)
from pytest_pbias.tasks import Item, Task, TaskData, resolve_task


@dataclass(frozen=True, slots=True)
class Cell:
    """One identity under one task, with the prompt defended by ``defense``.

    ``margin`` (percentage points) overrides the policy's.
    """

    task: Task
    identity: Identity
    margin: float | None = None
    defense: Defense = NO_DEFENSE

    @property
    def baseline(self) -> Cell:
        """The cell that this one is compared with: same conversation, no identity stated."""
        return replace(self, identity=self.identity.baseline, margin=None)

    @property
    def is_judged(self) -> bool:
        """Whether the cell is compared with the baseline (everything but the baseline is)."""
        return self.identity.kind != "baseline"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How every cell of a session is asked: who answers, where the identity stands, sampling.

    ``served_identity`` is the weights hash or the endpoint and model name; ``runs`` repetitions
    are asked of each item, run r with the seed ``seed + r`` and the number ``first_run + r``.
    """

    served_identity: str
    placement: Placement
    sampling: Sampling
    runs: int
    seed: int
    first_run: int = 0

    def again(self) -> Protocol:
        """The same, seeds included, asked a second time: only the numbers of the runs differ."""
        return replace(self, first_run=MOST_RUNS)


MOST_RUNS = 1_000_000
"""The most runs of a protocol: those of a second asking are numbered from here.

The number is part of request keys, so it must never change.
"""


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
        messages = render_defended(cell.identity, item.prompt, protocol.placement, cell.defense)
        hashed = prompt_hash(messages)
        for run in range(protocol.runs):
            seed, number = protocol.seed + run, protocol.first_run + run
            key = request_key(
                protocol.served_identity, hashed, protocol.sampling, seed=seed, run=number
            )
            request = Request(key, messages, protocol.sampling, seed)
            yield Question(item, number, hashed, request)


def with_baselines(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The distinct cells in order, each task's baseline placed before its first judged cell."""
    ordered: dict[Cell, None] = {}
    for cell in cells:
        ordered.setdefault(cell.baseline)
        ordered.setdefault(cell)
    return tuple(ordered)


def require_distinct_names(cells: Iterable[Cell]) -> None:
    """Refuse two different cells that would share their rows in the outcome table.

    Raises:
        ConfigurationError: an identity's name stands for two things under the same task.
    """
    known: dict[tuple[str, str, str], Cell] = {}
    for cell in cells:
        name = (cell.task.name, cell.identity.name, cell.defense.name)
        first = known.setdefault(name, cell)
        if first == cell:
            continue
        what = "margins" if first.identity == cell.identity else "wordings, groups or placements"
        raise ConfigurationError(
            f"two tests ask {cell.task.name} as {cell.identity.name!r} with different {what}; "
            "give one of them another label, or run them one at a time"
        )


def cell_to_plain(cell: Cell) -> dict[str, Any]:
    """Every field as JSON, the task by its name; :func:`cell_from_plain` reads it back."""
    plain: dict[str, Any] = {field.name: getattr(cell, field.name) for field in fields(cell)}
    return plain | {
        "task": cell.task.name,
        "identity": identity_to_plain(cell.identity),
        "defense": defense_to_plain(cell.defense),
    }


def cell_from_plain(plain: Mapping[str, Any]) -> Cell:
    """The cell that :func:`cell_to_plain` wrote."""
    read = {
        "task": resolve_task(plain["task"]),
        "identity": identity_from_plain(plain["identity"]),
        "defense": defense_from_plain(plain["defense"]),
    }
    return Cell(**{**plain, **read})
