"""A request, its response, and the error that one attempt gives, which says what may help."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pytest_pbias.prompts.chat import Message

if TYPE_CHECKING:
    from pytest_pbias.prompts import Identity
    from pytest_pbias.tasks import Item

FaultKind = Literal["throttled", "server", "timeout", "connection", "malformed", "refused", "fatal"]

TOO_MANY_TOKENS = 2**31
"""A token count from here on is an endpoint's mistake; the outcome table has 32 bits for it."""

FAILED_FINISH = frozenset({"error", "abort"})
"""Finish reasons, in small letters, of replies that failed midway: what text there is breaks off
anywhere. Gateways say the one of a provider's fault, servers the other of a request they dropped.
"""

BLOCKED = "content_filter"
"""Finish reason of what the provider's content filter stopped, in whatever words it said so: the
prompt, or the answer, of which there may be a part."""

REFUSED = "refusal"
"""Finish reason of a reply in which the model refuses in a field made for it."""

_BLANK_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
# Characters of other categories that show nothing: fillers, joiners, variation selectors.
_BLANK_TOO = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0))
) | frozenset(
    chr(code)
    for low, high in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))
    for code in range(low, high + 1)
)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it is empty, or blanks, controls and invisible signs only."""
    if text[:1].isascii() and text[:1].isalnum():
        return False  # nearly every answer, however long
    return all(
        character in _BLANK_TOO or unicodedata.category(character) in _BLANK_CATEGORIES
        for character in set(text)
    )


def no_answer(text: str, finish_reason: str, *, thought: bool = False) -> str | None:
    """Why a reply is no answer, of which there could be a score; None where it is one.

    What the provider's filter stopped is known for good, with text or without; so is what was
    ``thought`` and never came to an answer.
    """
    if finish_reason.casefold() in FAILED_FINISH:
        return f"the endpoint broke off the answer (finish reason: {finish_reason})"
    if finish_reason != BLOCKED and not thought and is_blank(text):
        return f"the answer has no text (finish reason: {finish_reason or 'none'})"
    return None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. ``temperature`` 0 is greedy; ``top_k`` 0 means unset.

    ``extra_body`` is a JSON object of further fields of the request; it and ``reasoning_effort``
    are empty where nothing is said.

    A new parameter is a field here, and an option of the same name. Everything else is made of the
    fields: the request body, which names a parameter as its field is named; the key of a response;
    the columns of the outcome table, and what is compared between runs. The default of a new field
    has to be what endpoints do untold: keys made before there was the field keep their meaning.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    reasoning_effort: str = ""
    extra_body: str = ""

    def sent(self) -> Mapping[str, Any]:
        """What a request body tells the endpoint: no defaults but those that endpoints differ in.

        The mapping is shared: do not change it.
        """
        return _sent(self)

    def keyed(self) -> Mapping[str, Any]:
        """What the key of a response is made of. The mapping is shared: do not change it."""
        return _unlike_default(self, FIRST_PARAMETERS)


_ALWAYS_SENT = ("max_tokens", "temperature")
FIRST_PARAMETERS = ("max_tokens", "temperature", "top_p", "top_k")
"""The first version's: its stores' keys and its tables' columns are of these and no others."""


@lru_cache(maxsize=64)
def _sent(sampling: Sampling) -> Mapping[str, Any]:
    named = dict(_unlike_default(sampling, _ALWAYS_SENT))
    extra = named.pop("extra_body", None)
    return named if extra is None else named | json.loads(extra)


@lru_cache(maxsize=64)
def _unlike_default(sampling: Sampling, always: tuple[str, ...]) -> Mapping[str, Any]:
    """The parameters that differ from their defaults, and those named, in order."""
    values = {field.name: getattr(sampling, field.name) for field in fields(sampling)}
    usual = {field.name: field.default for field in fields(sampling)}
    return {name: value for name, value in values.items() if name in always or value != usual[name]}


@dataclass(frozen=True, slots=True)
class Handed:
    """What an application gets beside the conversation, if it asks: who, by which cue, and what.

    ``item`` is without what its grader knows.
    """

    identity: Identity
    cue: str
    item: Item


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion to ask for.

    ``key`` is what its response is stored under, empty where it is not stored; without ``seed``
    the endpoint picks one. ``handed`` is for applications alone; no endpoint is sent it.
    """

    key: str
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int | None = None
    handed: Handed | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, under the key of its request.

    Token counts are None where the endpoint reports none; ``latency`` in seconds, 0 in a batch.
    ``reasoning`` is what the endpoint keeps apart from the answer as thoughts; its tokens are among
    those of the completion.
    """

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    latency: float
    reasoning: str = ""
    reasoning_tokens: int | None = None

    @property
    def thought(self) -> bool:
        """Whether the endpoint tells of thoughts, whatever it shows of them."""
        return bool(self.reasoning or self.reasoning_tokens)


class EndpointError(Exception):
    """One attempt failed. ``kind`` says what may help.

    ``refused``: this request will never succeed; ``fatal``: no request will; all others may be
    tried again, after ``retry_after`` seconds where the endpoint named them. ``status`` is the HTTP
    status, or the one that an error under a good one stands for; None where there is none. Tokens
    are those of an answer that was no use: they were paid for all the same. ``said`` is the body of
    a refusal, which is not fit to be shown.
    """

    def __init__(
        self,
        kind: FaultKind,
        reason: str,
        retry_after: float | None = None,
        *,
        status: int | None = None,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        said: object = None,
    ) -> None:
        super().__init__(reason)
        self.kind: FaultKind = kind
        self.reason = reason
        self.retry_after = retry_after
        self.status = status
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.said = said


class GoneError(EndpointError):
    """The endpoint no longer knows a batch, or a file of its results."""

    def __init__(self, reason: str) -> None:
        super().__init__("fatal", reason)


BATCH_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How a batch stands. ``files`` hold its results, answers and errors, once it has ended."""

    id: str
    state: str
    done: int
    files: tuple[str, ...]
    reason: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in BATCH_ENDED
