"""What one attempt at an endpoint gives: a reply, or an error that says what may help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["throttled", "server", "timeout", "connection", "malformed", "refused", "fatal"]

TOO_MANY_TOKENS = 2**31
"""A token count from here on is an endpoint's mistake; the outcome table has 32 bits for it."""


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
    tried again, after ``retry_after`` seconds where the endpoint named them. Tokens are those of an
    answer that was no use: they were paid for all the same.
    """

    def __init__(
        self,
        kind: FaultKind,
        reason: str,
        retry_after: float | None = None,
        *,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
    ) -> None:
        super().__init__(reason)
        self.kind: FaultKind = kind
        self.reason = reason
        self.retry_after = retry_after
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
