"""Who asks: identities, the catalogue, and where an identity is stated."""

from pytest_pbias.identities.base import (
    BASELINE,
    Frame,
    Identity,
    identity_from_plain,
    identity_to_plain,
)
from pytest_pbias.identities.catalogue import (
    controls,
    default_identities,
    groups,
    paper_identities,
    resolve_identities,
)
from pytest_pbias.identities.combination import MOST_COMBINATIONS, combine, draw
from pytest_pbias.identities.placement import PLACEMENTS, Message, Placement, render_messages

__all__ = [
    "BASELINE",
    "MOST_COMBINATIONS",
    "PLACEMENTS",
    "Frame",
    "Identity",
    "Message",
    "Placement",
    "combine",
    "controls",
    "default_identities",
    "draw",
    "groups",
    "identity_from_plain",
    "identity_to_plain",
    "paper_identities",
    "render_messages",
    "resolve_identities",
]
