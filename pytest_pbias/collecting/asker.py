"""What the engine asks, and the watch over whether it still lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

from pytest_pbias.collecting.limits import Breaker
from pytest_pbias.collecting.records import Failure
from pytest_pbias.models.chat import BatchStatus, ChatRequest, EndpointError, Response
from pytest_pbias.models.dialect import Dialect


class ChatClient(Protocol):
    """What is asked: :class:`pytest_pbias.models.client.Endpoint` or anything like it."""

    async def ask(self, request: ChatRequest) -> Response:
        """Ask once; raise EndpointError where no usable answer came."""

    async def served_models(self, timeout: float) -> list[str] | None:
        """List the served names; used to tell a dead endpoint from a slow one."""

    async def aclose(self) -> None:
        """Close the connections."""


class BatchClient(Protocol):
    """What is asked: :class:`pytest_pbias.models.batches.BatchEndpoint` or anything like it."""

    @property
    def dialect(self) -> Dialect:
        """How bodies are said now."""

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The JSON body of one chat completion."""

    def learn(self, request: ChatRequest, fault: EndpointError, *, said: Dialect) -> bool:
        """Whether a request refused in the dialect ``said`` has another way to be asked now."""

    async def upload(self, lines: Sequence[bytes]) -> str:
        """Upload requests; return the id of their file."""

    async def create(self, file_id: str, tag: str) -> str:
        """Start a batch of them; return its id."""

    async def find(self, tag: str) -> str | None:
        """The id of the batch with this tag."""

    async def status(self, batch_id: str) -> BatchStatus:
        """How it stands; GoneError where nobody knows it."""

    async def results(self, file_id: str) -> dict[str, Response | EndpointError]:
        """What a result file holds; GoneError where it is no longer there."""

    async def aclose(self) -> None:
        """Close the connections."""


class HealthMonitor:
    """Tells a dead endpoint from a slow one.

    Failed requests count against it, and so does silence when it is probed: an endpoint that
    listed its models once and does so no more is dead, however long its answers usually take.
    """

    def __init__(self, asker: ChatClient, breaker: Breaker, patience: float) -> None:
        self._asker = asker
        self._breaker = breaker
        self._silence = Breaker(patience)  # of probes, sent while answers are awaited
        self._patience = patience
        self._last_success = time.monotonic()
        self._next_probe = 0.0
        self._lists_models = False
        self.probes: set[asyncio.Task[None]] = set()

    def success(self, now: float) -> None:
        """An answer came."""
        self._last_success = now
        self._breaker.success()
        self._silence.success()

    def verdict(self, now: float, *, waiting: bool) -> str | None:
        """Why the endpoint counts as dead, or None; probes it where ``waiting`` grows long."""
        reason = self._breaker.verdict(now) or self._silence.verdict(now)
        quiet = now - self._last_success > self._patience / 4
        if reason is None and self._lists_models and waiting and quiet and now >= self._next_probe:
            self._next_probe = now + self._patience / 8
            task = asyncio.create_task(self.probe())
            self.probes.add(task)
            task.add_done_callback(self.probes.discard)
        return reason

    async def probe(self) -> None:
        """Ask for the list of models."""
        try:
            listed = await self._asker.served_models(self._patience / 8)
        except EndpointError as error:
            self._lists_models = True
            if error.kind in ("connection", "timeout"):
                self._silence.failure(time.monotonic(), error.reason)
        else:
            self._silence.success()
            self._lists_models = self._lists_models or listed is not None


def failure_of(key: str, error: EndpointError, attempts: int) -> Failure:
    """What is recorded of a request that finally failed with ``error``."""
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    return Failure(key, error.reason + tries, attempts)


def estimate_tokens(request: ChatRequest) -> float:
    """Rough tokens of a request before it is asked: 4 characters each, and half its answer."""
    characters = sum(len(message["content"]) for message in request.messages)
    return characters / 4 + request.sampling.max_tokens / 2
