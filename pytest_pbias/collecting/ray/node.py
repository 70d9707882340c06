"""Asking on a node of a Ray cluster: one actor, many requests at once, no request lost.

Ray Data runs :class:`AskBatch` on every node. Whatever becomes of a request is a row of the
result; nothing that an endpoint does fails the job.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from pytest_pbias.collecting.asker import failure_of
from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.records import Failure
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.balance import Balanced, balanced
from pytest_pbias.models.chat import ChatRequest, EndpointError, Response, Sampling
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.dialect import PLAIN, Dialect


@dataclass(frozen=True, slots=True)
class Target:
    """What every node asks; ``concurrency`` is that of one node, ``timeout`` in seconds."""

    urls: tuple[str, ...] = field(repr=False)
    model: str
    key: str = field(repr=False)
    concurrency: int
    timeout: float
    policy: RetryPolicy
    seed: int
    dialect: Dialect = PLAIN
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def open(self) -> Endpoint | Balanced:
        """The endpoint, or several as one."""
        return balanced(
            Endpoint(
                url,
                self.model,
                self.key,
                concurrency=self.concurrency,
                timeout=self.timeout,
                dialect=self.dialect,
                headers=self.headers,
            )
            for url in self.urls
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request: a response or a failure; ``fatal`` where none will succeed."""

    outcome: Response | Failure
    attempts: int
    fatal: bool = False


def encode_request(request: ChatRequest) -> str:
    """A request as text, for its way to a node."""
    return json.dumps(asdict(request))


def _decode_request(text: str) -> ChatRequest:
    plain = json.loads(text)
    return ChatRequest(
        plain["key"], tuple(plain["messages"]), Sampling(**plain["sampling"]), plain["seed"]
    )


def decode_answered(text: str) -> Answered:
    """What a node sent back."""
    plain = json.loads(text)
    kind = Response if "text" in plain["outcome"] else Failure
    return Answered(kind(**plain["outcome"]), plain["attempts"], plain["fatal"])


class AskBatch:
    """Asks batches of requests; several at a time share the endpoint and its concurrency."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._rng = Random(target.seed)
        self._fatal: str | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="pbias-ask", daemon=True
        )
        self._thread.start()
        self._asker: Endpoint | Balanced | None = None
        self._room = asyncio.Semaphore(target.concurrency)
        opening = asyncio.run_coroutine_threadsafe(self._open(), self._loop)
        try:
            self._asker = opening.result()
        except ConfigurationError as error:  # such as a proxy of the node's environment
            self._fatal = f"a node of the cluster: {error}"

    async def _open(self) -> Endpoint | Balanced:
        return self._target.open()

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
        """Ask the requests in the column ``request``; the column ``answered`` has what became."""
        requests = [_decode_request(str(text)) for text in batch["request"]]
        asking = asyncio.run_coroutine_threadsafe(self._ask_all(requests), self._loop)
        return {"answered": [json.dumps(asdict(one)) for one in asking.result()]}

    def close(self) -> None:
        """Close the connections; an actor is never asked to, it ends with its job."""
        if self._asker is not None:
            asyncio.run_coroutine_threadsafe(self._asker.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ask_all(self, requests: Sequence[ChatRequest]) -> list[Answered]:
        return await asyncio.gather(*map(self._ask, requests))

    async def _ask(self, request: ChatRequest) -> Answered:
        start = time.monotonic()
        attempts = throttled = 0
        while True:
            if self._fatal is not None:
                return Answered(Failure(request.key, self._fatal, attempts), attempts, True)
            attempts += 1
            async with self._room:
                result = await self._try(request)
            now = time.monotonic()
            if isinstance(result, Response):
                return Answered(result, attempts)
            throttled += result.kind == "throttled"
            wait = self._target.policy.wait(attempts, result.retry_after, self._rng)
            spent = self._target.policy.exhausted(attempts, throttled, now - start, wait)
            if result.kind == "fatal":
                self._fatal = result.reason
            elif result.kind == "refused" or spent:
                return Answered(failure_of(request.key, result, attempts), attempts)
            else:
                await asyncio.sleep(wait)

    async def _try(self, request: ChatRequest) -> Response | EndpointError:
        assert self._asker is not None  # else there is a fatal reason, and nothing is tried
        try:
            return await self._asker.ask(request)
        except EndpointError as error:
            return error
