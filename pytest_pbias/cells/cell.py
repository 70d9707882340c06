"""The cell: one identity under one task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
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

    ``margin`` (percentage points) overrides the policy's. ``controls`` are the placebos of its cue
    and placement; they say nothing of what the cell asks, and two cells that differ in them only
    are the same.
    """

    task: Task
    identity: Identity
    margin: float | None = None
    defense: Defense = NO_DEFENSE
    controls: tuple[Identity, ...] = field(default=(), compare=False)

    @property
    def baseline(self) -> Cell:
        """The cell of the same conversation with nobody stated."""
        return replace(self, identity=self.identity.baseline, margin=None, controls=())

    @property
    def of_controls(self) -> tuple[Cell, ...]:
        """The cells of its controls, by its own margin."""
        return tuple(replace(self, identity=one, controls=()) for one in self.controls)

    @property
    def place(self) -> tuple[str, Identity, str]:
        """What no two cells of a run may share: task, identity and defense, whatever the margin."""
        return self.task.name, self.identity, self.defense.name

    def is_under(self, axis: str, defense: str, cue: str = "") -> bool:
        """Whether the gate of an axis looks at it, under one defense (and of one cue)."""
        own = (self.task.axis, self.defense.name)
        return own == (axis, defense) and cue in ("", self.identity.cue)

    def moved(self, move: Callable[[Identity], Identity]) -> Cell:
        """The cell with its identity and controls as ``move`` makes them."""
        return replace(self, identity=move(self.identity), controls=tuple(map(move, self.controls)))

    @property
    def is_compared(self) -> bool:
        """Whether the cell is compared with the baseline (everything but the baseline is)."""
        return self.identity.kind != "baseline"


def with_baselines(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The distinct cells in order, before each its baseline, and its controls if among them."""
    known = list(cells)
    placed = {cell.place: cell for cell in reversed(known)}
    ordered: dict[Cell, None] = {}
    for cell in known:
        ordered.setdefault(cell.baseline)
        for control in cell.of_controls:
            if control.place in placed:
                ordered.setdefault(placed[control.place])
        ordered.setdefault(cell)
    return tuple(ordered)


def controls_to_add(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The controls of the cells that are not among them, in order; the first margin holds."""
    known = list(cells)
    placed = {cell.place for cell in known}
    found: dict[tuple[str, Identity, str], Cell] = {}
    for cell in known:
        for control in cell.of_controls:
            if control.place not in placed:
                found.setdefault(control.place, control)
    return tuple(found.values())


def controls_of(cells: Iterable[Cell]) -> dict[str, dict[str, tuple[str, ...]]]:
    """The names of an identity's controls among the cells, by task and identity.

    Only where the task has others as well, of another cue or placement, or none of its own.
    """
    known = list(cells)
    of_task: dict[str, set[str]] = {}
    for cell in known:
        if cell.identity.kind == "control":
            of_task.setdefault(cell.task.name, set()).add(cell.identity.name)
    placed = {cell.place for cell in known}
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for cell in known:
        own = tuple(one.identity.name for one in cell.of_controls if one.place in placed)
        if cell.identity.kind == "identity" and set(own) != of_task.get(cell.task.name, set()):
            found.setdefault(cell.task.name, {}).setdefault(cell.identity.name, own)
    return found


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
    plain: dict[str, Any] = {one.name: getattr(cell, one.name) for one in fields(cell)}
    return plain | {
        "task": cell.task.name,
        "identity": identity_to_plain(cell.identity),
        "controls": [identity_to_plain(one) for one in cell.controls],
        "defense": defense_to_plain(cell.defense),
    }


def cell_from_plain(plain: Mapping[str, Any], tasks: Mapping[str, Task]) -> Cell:
    """The cell that :func:`cell_to_plain` wrote; its task is one of ``tasks``."""
    read = {
        "task": resolve_task(plain["task"], tasks),
        "identity": identity_from_plain(plain["identity"]),
        "controls": tuple(map(identity_from_plain, plain["controls"])),
        "defense": defense_from_plain(plain["defense"]),
    }
    return Cell(**{**plain, **read})
