"""One request to the fake server, and responses made for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

JSON = "application/json"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


@dataclass
class Ask:
    """One request, and what a server that behaves would say."""

    body: dict[str, Any]
    said: str
    number: int  # of all chat requests so far, from 1
    config: Mapping[str, Any]
    age: float  # of the server, in seconds
    request: web.Request | None  # None for a line of a batch

    @property
    def text(self) -> str:
        return str(self.body["messages"][-1]["content"])

    @property
    def max_tokens(self) -> int:
        return int(self.body.get("max_tokens", self.body.get("max_completion_tokens", 9999)))

    @property
    def judging(self) -> bool:
        """Whether this request has an answer judged."""
        return "<answer-" in self.text

    @property
    def system(self) -> bool:
        return bool(self.body["messages"][0]["role"] == "system")

    def body_of(self, content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
        """A completion of one choice; ``message`` are further fields of its message."""
        choice = {"index": 0, "message": {"role": "assistant", "content": content} | message}
        choice["finish_reason"] = self.config.get("finish_reason", finish)
        usage = self.config.get("usage", USAGE)
        return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}

    def completion(self, content: Any, finish: Any = "stop", **message: Any) -> web.Response:
        return respond(self.body_of(content, finish, **message))

    def good(self) -> web.Response:
        return self.completion(self.said)


def respond(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``body`` as JSON in UTF-8; lone surrogates as escapes, the only way to send them."""
    try:
        content = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        content = json.dumps(body).encode()
    return web.Response(body=content, status=status, headers=headers, content_type=JSON)


def error(
    status: int, message: str, headers: Mapping[str, str] | None = None, **fields: Any
) -> web.Response:
    """An error as OpenAI words it; ``fields`` are further ones of the error."""
    return respond({"error": {"message": message} | fields}, status, headers)


def given(reply: Mapping[str, Any]) -> web.Response:
    """A reply as configured: ``body`` (JSON or text), ``status``, ``headers``."""
    body = reply["body"]
    content = body if isinstance(body, str) else json.dumps(body)
    status, headers = reply.get("status", 200), reply.get("headers")
    return web.Response(text=content, status=status, headers=headers, content_type=JSON)


def digest(text: str) -> bytes:
    """Bytes that depend on the text only, which may have lone surrogates."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def draw(seed: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(digest(seed)[:4], "big") / 2**32
