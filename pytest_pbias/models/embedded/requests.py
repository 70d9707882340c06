"""Reading chat-completion requests, and OpenAI-style errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_pbias.models.chat import ChatRequest, Sampling
from pytest_pbias.models.embedded import SERVED_NAME
from pytest_pbias.prompts.chat import Message

DEFAULT_MAX_TOKENS = 512
_ROLES = ("system", "user", "assistant")
_IGNORED = frozenset({"model", "messages", "seed", "user", "metadata", "store"})
_KNOWN = frozenset({"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"})
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "stream": (None, False),
    "stop": (None, []),
    "logprobs": (None, False),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
}


class RequestError(Exception):
    """A request that is answered with an OpenAI-style error object."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        """Keep the HTTP status and what the error object says."""
        super().__init__(message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def parse_request(raw: bytes) -> ChatRequest:
    """Check the body of a chat-completion request.

    Raises:
        RequestError: it is not JSON, names another model, or asks for what is not offered.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("the request body must be a JSON object")
    _check_model(body.get("model"))
    _check_offered(body)
    messages = _messages(body.get("messages"))
    return ChatRequest("", messages, _sampling(body), _seed(body))


def _check_model(model: object) -> None:
    if not isinstance(model, str):
        raise RequestError("'model' must be a string", param="model")
    if model != SERVED_NAME:
        raise RequestError(
            f"The model {model!r} does not exist; this server has {SERVED_NAME!r}.",
            status=404,
            code="model_not_found",
            param="model",
        )


def _check_offered(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in _IGNORED or name in _KNOWN or value in _ONLY.get(name, (None,)):
            continue
        raise RequestError(
            f"{name!r} is not supported by this server",
            code="unsupported_parameter",
            param=name,
        )


def _messages(raw: object) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise RequestError("'messages' must be a non-empty list", param="messages")
    found: list[Message] = []
    for number, message in enumerate(raw):
        where = f"messages[{number}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RequestError(f"'{where}.role' must be one of {', '.join(_ROLES)}", param=where)
        found.append({"role": message["role"], "content": _content(message, where)})
    return tuple(found)


def _content(message: Mapping[str, Any], where: str) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise RequestError(f"'{where}.content' must be text", param=where)
    return content.encode("utf-8", "replace").decode()


def _sampling(body: Mapping[str, Any]) -> Sampling:
    limit = body.get("max_completion_tokens")
    limit = body.get("max_tokens") if limit is None else limit
    return Sampling(
        max_tokens=int(_number("max_tokens", limit, DEFAULT_MAX_TOKENS, 1, 2**31, whole=True)),
        temperature=_number("temperature", body.get("temperature"), 1.0, 0, 2),
        top_p=_number("top_p", body.get("top_p"), 1.0, 0, 1),
        top_k=max(0, int(_number("top_k", body.get("top_k"), 0, -1, 2**31, whole=True))),
    )


def _number(
    name: str, value: object, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    if value is None:
        return default
    fits = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not fits or not low <= float(str(value)) <= high:
        kind = "a whole number" if whole else "a number"
        raise RequestError(f"{name!r} must be {kind} from {low} to {high}", param=name)
    return float(str(value))


def _seed(body: Mapping[str, Any]) -> int:
    seed = body.get("seed")
    if seed is None:
        return 0
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise RequestError("'seed' must be a whole number", param="seed")
    return seed
