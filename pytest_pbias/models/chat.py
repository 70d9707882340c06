"""What one attempt at an endpoint gives: a reply, or an error that says what may help."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

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


def no_answer(text: str, finish_reason: str) -> str | None:
    """Why a reply is no answer, of which there could be a score; None where it is one.

    What the provider's filter stopped is known for good, with text or without.
    """
    if finish_reason.casefold() in FAILED_FINISH:
        return f"the endpoint broke off the answer (finish reason: {finish_reason})"
    if finish_reason != BLOCKED and is_blank(text):
        return f"the answer has no text (finish reason: {finish_reason or 'none'})"
    return None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of an endpoint; token counts are None where it reports none."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


class EndpointError(Exception):
    """One attempt failed. ``kind`` says what may help.

    ``refused``: this request will never succeed; ``fatal``: no request will; all others may be
    tried again, after ``retry_after`` seconds where the endpoint named them. ``status`` is the HTTP
    status, or the one that an error under a good one stands for; None where there is none. Tokens
    are those of an answer that was no use: they were paid for all the same.
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
    ) -> None:
        super().__init__(reason)
        self.kind: FaultKind = kind
        self.reason = reason
        self.retry_after = retry_after
        self.status = status
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens


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
