"""Identity + question + defence -> chat messages."""

from __future__ import annotations

from pytest_pbias.identities import Identity, Message, Placement, render_messages
from pytest_pbias.mitigation.defenses.base import Defense


def render_defended(
    identity: Identity, question: str, placement: Placement, defense: Defense
) -> tuple[Message, ...]:
    """Return the chat that states ``identity`` and asks ``question`` under ``defense``.

    Without any change by the defence the chat is that of
    :func:`~pytest_pbias.identities.render_messages`, so that its answers are shared.
    """
    placed = defense.place(identity)
    asker = placed.baseline if defense.drop_identity else placed
    question = "\n\n".join(filter(None, (defense.before, question, defense.after)))
    *earlier, asked = render_messages(asker, question, placement)
    for shown in defense.demonstrations:
        earlier.append({"role": "user", "content": shown.user})
        earlier.append({"role": "assistant", "content": shown.assistant})
    return _with_system([*earlier, asked], defense.system, placement)


def _with_system(messages: list[Message], text: str, placement: Placement) -> tuple[Message, ...]:
    """Add ``text`` where the model takes instructions: the user turn has to do without system."""
    if not text:
        return tuple(messages)
    *earlier, asked = messages
    if earlier and earlier[0]["role"] == "system":
        first = earlier[0]["content"]
        return ({"role": "system", "content": f"{first} {text}"}, *earlier[1:], asked)
    if placement == "user":
        return (*earlier, {"role": "user", "content": f"{text}\n\n{asked['content']}"})
    return ({"role": "system", "content": text}, *earlier, asked)
