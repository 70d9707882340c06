"""Who asks: identities, the catalogue, and where an identity is stated."""

from pytest_pbias.identities.base import BASELINE, Identity
from pytest_pbias.identities.catalogue import (
    controls,
    default_identities,
    groups,
    paper_identities,
    resolve_identities,
)
from pytest_pbias.identities.placement import PLACEMENTS, Message, Placement, render_messages

__all__ = [
    "BASELINE",
    "PLACEMENTS",
    "Identity",
    "Message",
    "Placement",
    "controls",
    "default_identities",
    "groups",
    "paper_identities",
    "render_messages",
    "resolve_identities",
]
