"""What a prompt defence is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pytest_pbias.identities import Identity, Placement


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An earlier exchange that shows the wanted behaviour: what a user said, what was answered."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Defense:
    """A named change of the prompt.

    ``system`` is added to the system message (to the user turn where there is no system role);
    ``before`` and ``after`` stand around the question; ``demonstrations`` are earlier exchanges.
    ``drop_identity`` asks as if nobody had been stated; ``placement`` moves the identity. The
    baseline of a defended cell is defended in the same way, without an identity.
    """

    name: str
    title: str = ""
    system: str = ""
    before: str = ""
    after: str = ""
    demonstrations: tuple[Demonstration, ...] = ()
    drop_identity: bool = False
    placement: Placement | None = None

    def place(self, identity: Identity) -> Identity:
        """The identity (or baseline) where this defence puts it."""
        if self.placement is None:
            return identity
        moved = replace(identity.frame, placement=self.placement)
        if identity.kind == "baseline":
            return Identity("", "", frame=moved).baseline
        return replace(identity, frame=moved)


NO_DEFENSE = Defense("none", "the prompt as it is")


def defense_to_plain(defense: Defense) -> dict[str, Any]:
    """Every field as JSON; :func:`defense_from_plain` reads it back."""
    return asdict(defense)


def defense_from_plain(plain: Mapping[str, Any]) -> Defense:
    """The defence that :func:`defense_to_plain` wrote."""
    shown = tuple(Demonstration(**pair) for pair in plain["demonstrations"])
    return Defense(**{**plain, "demonstrations": shown})
