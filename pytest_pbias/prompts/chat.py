"""Where the identity is stated: identity + question -> chat messages."""

from __future__ import annotations

from typing import Literal, TypedDict

from pytest_pbias.prompts.identity import PLACEMENTS, Identity, Placement

__all__ = ["PLACEMENTS", "Message", "Placement", "render_messages"]


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
    without a system role. The baseline of both is the question alone. ``history`` reveals the
    identity in an earlier turn that the assistant has answered; its baseline has the same turns
    with nobody stated. ``app`` is the question alone: an application is handed the identity, and
    says it to its model as it likes. The identity's own placement comes before ``placement``. An
    identity with several wordings is given in one of them (:meth:`Identity.worded`).
    """
    placement = identity.frame.placement or placement
    asked: Message = {"role": "user", "content": question}
    if placement == "history":
        return (
            {"role": "user", "content": _opening(identity)},
            {"role": "assistant", "content": identity.frame.reply},
            asked,
        )
    system = identity.frame.neutral
    if identity.kind != "baseline":
        system = _fill(identity.frame.system, identity)
    if placement == "app" or not system:
        return (asked,)
    if placement == "system":
        return ({"role": "system", "content": system}, asked)
    return ({"role": "user", "content": f"{system}\n\n{question}"},)


def _opening(identity: Identity) -> str:
    if identity.kind == "baseline":
        return identity.frame.neutral_opening
    return _fill(identity.frame.opening, identity)


def _fill(text: str, identity: Identity) -> str:
    # Not str.format: the words come from users and may hold braces.
    stated = text.replace("{statement}", identity.statement)
    return stated.replace("{identity}", identity.words or identity.name)
