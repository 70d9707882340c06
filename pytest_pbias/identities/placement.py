"""Where the identity is stated: identity + question -> chat messages."""

from __future__ import annotations

from typing import Literal, TypedDict, get_args

from pytest_pbias.identities.base import Identity

Placement = Literal["system", "user"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)

_SYSTEM = "You are a helpful assistant. {statement}"


class Message(TypedDict):
    """One turn of a chat, as OpenAI-compatible endpoints take it."""

    role: Literal["system", "user", "assistant"]
    content: str


def render_messages(
    identity: Identity, question: str, placement: Placement = "system"
) -> tuple[Message, ...]:
    """Return the chat that states ``identity`` and asks ``question``.

    ``system`` is the paper's placement: the identity in a system message. ``user`` joins the same
    sentence and the question by a blank line in one user turn, for chat templates and servers
    without a system role. The baseline is the question alone in either placement.
    """
    if identity.kind == "baseline":
        return ({"role": "user", "content": question},)
    system = _SYSTEM.format(statement=identity.statement)
    if placement == "system":
        return ({"role": "system", "content": system}, {"role": "user", "content": question})
    return ({"role": "user", "content": f"{system}\n\n{question}"},)
