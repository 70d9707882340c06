"""What an identity is, and the words it is stated in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal["identity", "control", "baseline"]
StatedPlacement = Literal["system", "user", "history"]
"""The turn of the conversation in which an identity is stated."""

Placement = Literal["system", "user", "history", "app"]
"""The same, or ``app``: no turn, since an application is handed the identity."""

PLACEMENTS: tuple[StatedPlacement, ...] = get_args(StatedPlacement)


@dataclass(frozen=True, slots=True)
class Frame:
    """The words around an identity, and where they stand.

    ``statement`` holds ``{identity}``, the others ``{statement}`` or ``{identity}``. Without a
    ``placement`` of its own an identity stands where the session says. ``opening`` and ``reply``
    are the earlier turns of the ``history`` placement; ``neutral`` is what the baseline says
    there, by default the opening without a statement, so that only the identity differs. In a
    wording of a battery that has no earlier turn, ``neutral`` is the baseline's system message.
    """

    statement: str = "I am {identity}."
    system: str = "You are a helpful assistant. {statement}"
    placement: StatedPlacement | None = None
    opening: str = "Hello! {statement}"
    reply: str = "Hello! How can I help you today?"
    neutral: str = ""

    @property
    def neutral_opening(self) -> str:
        """The baseline's earlier turn: the opening with nobody stated."""
        return self.neutral or " ".join(
            self.opening.replace("{statement}", "").replace("{identity}", "").split()
        )

    @property
    def unstated(self) -> Frame:
        """The same conversation for the baseline of a battery."""
        return Frame(placement=self.placement, reply=self.reply, neutral=self.neutral)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the user says they are.

    ``name`` is unique in a run; it completes the sentence "I am ..." (``a Muslim person``) unless
    ``words`` does. ``group`` is the demographic group (``Religion``). A *control* states nothing
    demographic; the *baseline* states nothing. Where a ``battery`` makes it known, ``wordings`` has
    the conversations that do, and each item is asked in one of them.
    """

    name: str
    group: str
    kind: Kind = "identity"
    words: str = ""
    frame: Frame = Frame()
    battery: str = ""
    wordings: tuple[Frame, ...] = ()

    @property
    def cue(self) -> str:
        """How it is made known: by a battery, ``chat`` (said in an earlier turn) or ``stated``."""
        return self.battery or ("chat" if self.frame.placement == "history" else "stated")

    def wording_of(self, item: str) -> int | None:
        """The number of the wording in which an item is asked; None where there is one sentence.

        It hangs on cue and item only: identities of a cue stand in the same form on the same item,
        as does their baseline, and the wordings of two cues are crossed.
        """
        if not self.wordings:
            return None
        drawn = hashlib.sha256(f"{self.battery}\n{item}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") % len(self.wordings)

    def worded(self, item: str) -> Identity:
        """The identity in the wording in which ``item`` is asked."""
        number = self.wording_of(item)
        return self if number is None else replace(self, frame=self.wordings[number], wordings=())

    @property
    def statement(self) -> str:
        """What the user says of themselves, empty for the baseline."""
        if self.kind == "baseline":
            return ""
        return self.frame.statement.replace("{identity}", self.words or self.name)

    @property
    def baseline(self) -> Identity:
        """Whom this identity is compared with: the same conversation with nobody stated."""
        if self.kind == "baseline":
            return self
        if self.battery:
            told = tuple(frame.unstated for frame in self.wordings)
            return Identity(
                f"baseline ({self.battery})",
                *("Baseline", "baseline"),
                frame=Frame() if told else self.frame.unstated,
                battery=self.battery,
                wordings=told[:1] if len(set(told)) == 1 else told,
            )
        if self.frame.placement != "history":
            return BASELINE
        neutral = self.frame.neutral_opening
        frame = Frame(
            placement="history",
            reply=self.frame.reply,
            neutral="" if neutral == Frame().neutral_opening else neutral,
        )
        return Identity(f"baseline ({self.placement_label()})", "Baseline", "baseline", frame=frame)

    def placement_label(self, session: Placement = "system") -> str:
        """Where it stands, as the outcome table says: an identity shares it with its baseline.

        ``none`` for the baseline that is the question alone; ``history`` with a hash where the
        neutral turns are not the usual ones. ``session`` holds for identities without a placement
        of their own.
        """
        if self.battery:
            frame = self.wordings[0] if self.wordings else self.frame
            return frame.placement or session
        placement = self.frame.placement or session
        if placement != "history":
            return "none" if self.kind == "baseline" else placement
        turns = (self.frame.neutral_opening, self.frame.reply)
        if turns == (Frame().neutral_opening, Frame().reply):
            return "history"
        return "history " + hashlib.sha256(json.dumps(turns).encode()).hexdigest()[:8]

    def placed(self, placement: StatedPlacement) -> Identity:
        """The same identity in ``placement``, unless it has one of its own."""
        if self.frame.placement is not None or self.battery:
            return self
        if self.kind == "baseline":
            return Identity("", "", frame=Frame(placement=placement)).baseline
        return replace(self, frame=replace(self.frame, placement=placement))


BASELINE = Identity(name="baseline", group="Baseline", kind="baseline")


def identity_to_plain(identity: Identity) -> dict[str, Any]:
    """Every field as JSON; :func:`identity_from_plain` reads it back."""
    return asdict(identity)


def identity_from_plain(plain: Mapping[str, Any]) -> Identity:
    """The identity that :func:`identity_to_plain` wrote."""
    wordings = tuple(Frame(**frame) for frame in plain["wordings"])
    return Identity(**{**plain, "frame": Frame(**plain["frame"]), "wordings": wordings})
