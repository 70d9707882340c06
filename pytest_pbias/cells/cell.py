"""The cell: one identity under one task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.prompts import (
    NO_DEFENSE,
    Defense,
    Identity,
    defense_from_plain,
    defense_to_plain,
    identity_from_plain,
    identity_to_plain,
)
from pytest_pbias.tasks import Task, resolve_task


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
    def is_compared(self) -> bool:
        """Whether the cell is compared with the baseline (everything but the baseline is)."""
        return self.identity.kind != "baseline"


def with_baselines(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The distinct cells in order, each task's baseline placed before its first compared cell."""
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


def cell_from_plain(plain: Mapping[str, Any], tasks: Mapping[str, Task]) -> Cell:
    """The cell that :func:`cell_to_plain` wrote; its task is one of ``tasks``."""
    read = {
        "task": resolve_task(plain["task"], tasks),
        "identity": identity_from_plain(plain["identity"]),
        "defense": defense_from_plain(plain["defense"]),
    }
    return Cell(**{**plain, **read})
