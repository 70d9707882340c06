"""A conversation as one plain text, for models without a chat template (base models)."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_pbias.prompts.chat import Message

_SPEAKERS = {"user": "User", "assistant": "Assistant"}
STOP = ("\nUser:",)
"""Where the model's turn has ended, and it goes on with a question of its own."""

NOTE = (
    "asked by the completions route, as a plain text with 'User:' and 'Assistant:' in place of a "
    "chat template"
)


def plain_prompt(messages: Iterable[Message]) -> str:
    """The system messages as they are, each turn under its speaker, and the answer's beginning.

    ``You are a helpful assistant. I am a nurse.``, a blank line, ``User: ...``, ``Assistant:``.
    """
    parts = [
        f"{_SPEAKERS[message['role']]}: {message['content']}\n"
        if message["role"] in _SPEAKERS
        else f"{message['content']}\n\n"
        for message in messages
    ]
    return "".join((*parts, f"{_SPEAKERS['assistant']}:"))
