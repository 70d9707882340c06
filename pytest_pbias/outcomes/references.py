"""Whom a cell is compared with: its baseline, the controls, all identities, or somebody by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_pbias.cells.cell import Cell, controls_of, controls_to_add
from pytest_pbias.errors import ConfigurationError, near_matches
from pytest_pbias.prompts import Identity, Placement, person_of

# Beside an identity's name.
REFERENCES = ("baseline", "control", "identities")


def choose_references(
    identities: Sequence[Identity],
    placements: Sequence[str | None],
    number: int,
    reference: str,
    *,
    controls: Sequence[str] | None = None,
) -> tuple[int, ...]:
    """Those of a task's ``identities`` whose mean identity ``number`` is compared with.

    ``control``: the ``controls`` so named, or all of its cue that stand where it stands if None;
    ``identities``: all identities there, it included; a name: that identity. Empty for
    ``baseline``, where none of them is there, and for the controls, which are compared with the
    baseline whatever the reference is: that is the effect of stating anybody.
    """
    if identities[number].kind != "identity" or reference == "baseline":
        return ()
    if reference == "control" and controls is not None:
        return tuple(n for n, one in enumerate(identities)
                     if one.kind == "control" and one.name in controls)  # fmt: skip
    own = identities[number].cue
    there = [
        n
        for n, placement in enumerate(placements)
        if placement == placements[number] and identities[n].cue == own
    ]
    if reference in ("control", "identities"):
        kind = "control" if reference == "control" else "identity"
        return tuple(n for n in there if identities[n].kind == kind)
    return tuple(n for n in there if reference in _names(identities[n]) and n != number)


def _names(identity: Identity) -> tuple[str, str]:
    """The name of an identity, with and without its cue."""
    return identity.name, person_of(identity.name, identity.cue)


def require_reference(reference: str, names: Iterable[str]) -> None:
    """Refuse a reference that names nobody.

    Raises:
        ConfigurationError: it is none of the usual ones, nor among the ``names`` asked.
    """
    known = list(dict.fromkeys((*REFERENCES, *names)))
    if reference not in known and not any(one.startswith(f"{reference} (") for one in known):
        hint = near_matches(reference, known)
        raise ConfigurationError(f"nobody is called {reference!r}: {hint}", setting="reference")


@dataclass(frozen=True, slots=True)
class _Peers:
    """The cells of one task under one defense, with what chooses references among them."""

    cells: Sequence[Cell]
    numbers: Mapping[Cell, int]
    identities: Sequence[Identity]
    placements: Sequence[str | None]


class References:
    """Whom the cells of a session are compared with, by the ``reference`` of its policy."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._named: dict[tuple[str, str], Cell] = {}  # the reference, by task and defense
        self._cells: tuple[Cell, ...] = ()
        self._peers: dict[tuple[str, str], _Peers] = {}
        self.controls: dict[str, dict[str, tuple[str, ...]]] = {}  # see controls_of

    def collected(self, cells: Iterable[Cell]) -> None:
        """Remember the cells of a mark or file, whichever of them are selected."""
        for cell in cells:
            if cell.identity.name == self._reference and cell.identity.kind != "baseline":
                self._named.setdefault((cell.task.name, cell.defense.name), cell)

    def to_add(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """The cells that selected ones are compared with, and that are not among them."""
        if self._reference == "control":
            return controls_to_add(cells)
        known = {(cell.task.name, cell.defense.name, cell.identity.name) for cell in cells}
        places = dict.fromkeys(
            (cell.task.name, cell.defense.name) for cell in cells if cell.is_compared
        )
        found = [self._named[place] for place in places if place in self._named]
        return tuple(
            one
            for one in found
            if (one.task.name, one.defense.name, one.identity.name) not in known
        )

    def plan(self, cells: tuple[Cell, ...]) -> None:
        """From here on references are chosen among these cells, baselines included."""
        self._cells, self._peers = cells, {}
        self.controls = controls_of(cells)

    def of(
        self, cell: Cell, placement: Placement, reference: str | None = None
    ) -> tuple[Cell, ...]:
        """The planned cells whose mean ``cell`` is compared with; empty where it is the baseline.

        ``placement`` is the session's, ``reference`` the policy's unless it is given.
        """
        peers = self._peers_of(cell, placement)
        chosen = choose_references(
            peers.identities,
            peers.placements,
            peers.numbers[cell],
            reference or self._reference,
            controls=self.controls.get(cell.task.name, {}).get(cell.identity.name),
        )
        return tuple(peers.cells[number] for number in chosen)

    def _peers_of(self, cell: Cell, placement: Placement) -> _Peers:
        """The cells of the same task and defense, found once: there may be thousands."""
        key = (cell.task.name, cell.defense.name)
        if key not in self._peers:
            cells = [one for one in self._cells if (one.task.name, one.defense.name) == key]
            self._peers[key] = _Peers(
                cells,
                {one: number for number, one in enumerate(cells)},
                [one.identity for one in cells],
                [one.identity.placement_label(placement) for one in cells],
            )
        return self._peers[key]
