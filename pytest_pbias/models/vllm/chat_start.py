"""How a conversation starts once a server has turned it into tokens.

A beginning-of-text token that both the chat template and the tokenizer add, or that neither does,
costs quality without an error anywhere.
"""

from __future__ import annotations

import json
import urllib.error
from typing import Any
from urllib.request import Request

from pytest_pbias.models.vllm.weights import ask_local

_SECONDS = 10.0
_TEXT = "Hello"


def chat_start_trouble(address: str, model: str) -> str | None:
    """What is wrong with the first tokens of a conversation, in one line, or None.

    None as well where the server at ``address`` does not turn texts into tokens.
    """
    chat = _tokens(address, model, messages=[{"role": "user", "content": _TEXT}])
    whole = _tokens(address, model, prompt=_TEXT, add_special_tokens=True)
    bare = _tokens(address, model, prompt=_TEXT, add_special_tokens=False)
    if not chat or not whole or not bare:
        return None
    if len(chat) > 1 and chat[0] == chat[1]:
        return (
            f"every conversation starts with token {chat[0]} twice: mend the chat template, which "
            "likely adds a beginning-of-text token that is there already"
        )
    if whole[0] != bare[0] and chat[0] != whole[0]:
        return (
            f"conversations start without token {whole[0]}, which the tokenizer puts before any "
            "other text: see whether the chat template lacks a beginning-of-text token"
        )
    return None


def _tokens(address: str, model: str, **body: Any) -> list[int] | None:
    request = Request(
        f"{address}/tokenize",
        json.dumps({"model": model, **body}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with ask_local(request, _SECONDS) as answer:
            tokens = json.load(answer)["tokens"]
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return None
    return tokens if isinstance(tokens, list) else None
