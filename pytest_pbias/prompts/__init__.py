"""Who asks and how it is said: identities, their catalogue, cues, chats, and prompt defenses."""

from __future__ import annotations

from pytest_pbias.prompts.catalogue import (
    controls,
    default_identities,
    groups,
    paper_identities,
    resolve_identities,
)
from pytest_pbias.prompts.chat import Message, render_messages
from pytest_pbias.prompts.combination import MOST_COMBINATIONS, combine, draw
from pytest_pbias.prompts.cue import CUES, STATED, Cue, person_of, resolve_cues
from pytest_pbias.prompts.defense import (
    NO_DEFENSE,
    Defense,
    Demonstration,
    defense_from_plain,
    defense_to_plain,
    render_defended,
    resolve_defenses,
    shipped_defenses,
)
from pytest_pbias.prompts.identity import (
    BASELINE,
    PLACEMENTS,
    Frame,
    Identity,
    Placement,
    StatedPlacement,
    identity_from_plain,
    identity_to_plain,
)

__all__ = [
    "BASELINE",
    "CUES",
    "MOST_COMBINATIONS",
    "NO_DEFENSE",
    "PLACEMENTS",
    "STATED",
    "Cue",
    "Defense",
    "Demonstration",
    "Frame",
    "Identity",
    "Message",
    "Placement",
    "StatedPlacement",
    "combine",
    "controls",
    "default_identities",
    "defense_from_plain",
    "defense_to_plain",
    "draw",
    "groups",
    "identity_from_plain",
    "identity_to_plain",
    "paper_identities",
    "person_of",
    "render_defended",
    "render_messages",
    "resolve_cues",
    "resolve_defenses",
    "resolve_identities",
    "shipped_defenses",
]
