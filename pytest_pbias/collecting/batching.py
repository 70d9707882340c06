"""Collecting through the Batch API: everything is submitted at once and fetched when it is done."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from pytest_pbias.collecting.asker import response_of
from pytest_pbias.collecting.engine_base import Settle, WholeEngine
from pytest_pbias.collecting.ratelimit import AdaptiveLimit
from pytest_pbias.collecting.records import Failure, Request
from pytest_pbias.collecting.store import Store
from pytest_pbias.identities.placement import Message
from pytest_pbias.models.replies import BatchStatus, EndpointError, Reply

_MOST_REQUESTS = 50_000  # of one batch, and
_MOST_BYTES = 190_000_000  # of its file: the API's limits
_STATE = "batches:"


class BatchAsker(Protocol):
    """What is asked: :class:`pytest_pbias.models.batches.BatchEndpoint` or anything like it."""

    def body(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """The JSON body of one chat completion."""

    async def submit(self, lines: Sequence[bytes], tag: str) -> str:
        """Start a batch; return its id."""

    async def find(self, tag: str) -> str | None:
        """The id of the batch with this tag."""

    async def status(self, batch_id: str) -> BatchStatus:
        """How it stands."""

    async def results(self, file_id: str) -> dict[str, Reply | EndpointError]:
        """What a result file holds."""

    async def aclose(self) -> None:
        """Close the connections."""


class BatchEngine(WholeEngine):
    """Submits what the store lacks, waits, and stores what comes; within one event loop.

    The ids of open batches and the keys in them are kept in the store under ``name`` before
    anything is waited for: a run that was ended, however that happened, fetches what it submitted
    instead of paying twice. It has the face of :class:`pytest_pbias.collecting.engine.Engine`.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        requests: Iterable[Request],
        connect: Callable[[], BatchAsker],
        settle: Settle,
        *,
        name: str,
        poll_seconds: float = 30.0,
        patience: float = 600.0,
    ) -> None:
        super().__init__(store, owner, requests, settle)
        self._connect = connect
        self._state_key = _STATE + name
        self._poll_seconds = poll_seconds
        self._patience = patience
        self._asker: BatchAsker | None = None
        self.limit = AdaptiveLimit(1)
        self.active = 0

    async def run(self, grace: Callable[[], float]) -> None:
        """Submit, wait, fetch; return when all is settled or after :meth:`stop`.

        Raises:
            StoreError: the store failed.
            PbiasError: what ``connect`` or the request stream raised.
        """
        self._wake = asyncio.Event()
        try:
            self._draw()
            if self._wanted:
                self._asker = await asyncio.to_thread(self._connect)
                await self._collect(self._asker)
        finally:
            if self._asker is not None:
                await self._asker.aclose()

    async def _collect(self, asker: BatchAsker) -> None:
        try:
            open_batches = await self._submit(asker)
        except EndpointError as error:
            self.end_reason = f"the batch could not be submitted: {error.reason}"
            return
        self.active = len(self._wanted)
        trouble_since: float | None = None
        while open_batches and not self.stopping:
            try:
                for batch_id in list(open_batches):
                    if await self._fetch(asker, batch_id, open_batches[batch_id]):
                        del open_batches[batch_id]
                        self._remember(open_batches)
                trouble_since = None
            except EndpointError as error:
                trouble_since = trouble_since or time.monotonic()
                self.retries += 1
                if error.kind == "fatal" or time.monotonic() - trouble_since > self._patience:
                    self.end_reason = (
                        f"{error.reason}; {len(open_batches)} batches go on there: run again to "
                        "fetch them"
                    )
                    return
            self.active = sum(map(len, open_batches.values()))
            if open_batches:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._wake.wait()
        if open_batches and self.end_reason is None:
            self.end_reason = (
                f"stopped; {len(open_batches)} batches go on at the provider: run again to fetch "
                "their answers"
            )

    async def _submit(self, asker: BatchAsker) -> dict[str, list[str]]:
        """Batches that are open, those of an earlier run first; id -> keys of this run in it."""
        known: dict[str, list[str]] = json.loads(self._store.get_meta(self._state_key) or "{}")
        mine = {
            batch_id: [key for key in keys if key in self._wanted]
            for batch_id, keys in known.items()
        }
        self._remember(open_batches := {name: keys for name, keys in mine.items() if keys})
        covered = {key for keys in open_batches.values() for key in keys}
        for chunk in self._chunks(asker, covered):
            tag = hashlib.sha256("".join(chunk).encode()).hexdigest()
            # A run killed between submitting and remembering left its batch behind.
            batch_id = await asker.find(tag) or await asker.submit(list(chunk.values()), tag)
            open_batches[batch_id] = list(chunk)
            self._remember(open_batches)
        return open_batches

    def _chunks(self, asker: BatchAsker, covered: set[str]) -> Iterator[dict[str, bytes]]:
        chunk: dict[str, bytes] = {}
        size = 0
        for key, request in self._wanted.items():
            if key in covered:
                continue
            line = _line(asker, request)
            if len(chunk) == _MOST_REQUESTS or size + len(line) > _MOST_BYTES:
                yield chunk
                chunk, size = {}, 0
            chunk[key] = line
            size += len(line) + 1
        if chunk:
            yield chunk

    def _remember(self, open_batches: dict[str, list[str]]) -> None:
        self._store.put_meta(self._state_key, json.dumps(open_batches))

    async def _fetch(self, asker: BatchAsker, batch_id: str, keys: Sequence[str]) -> bool:
        """Store a batch's results once it has ended; whether it has."""
        status = await asker.status(batch_id)
        if not status.ended:
            return False
        results: dict[str, Reply | EndpointError] = {}
        for file_id in status.files:
            results |= await asker.results(file_id)
        for key in keys:
            result = results.get(key)
            if isinstance(result, Reply):
                self._take(key, result)
            else:
                lost = f"the batch {status.state} without an answer to this request"
                reason = result.reason if result is not None else lost
                said = f": {status.reason}" if status.reason else ""
                self._outbox.fail(Failure(key, reason + said, 1))
        self._outbox.commit()
        return True

    def _take(self, key: str, reply: Reply) -> None:
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0
        self._outbox.answer(response_of(key, reply, latency=0.0))


def _line(asker: BatchAsker, request: Request) -> bytes:
    row = {
        "custom_id": request.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asker.body(request.messages, **request.parameters()),
    }
    return json.dumps(row, separators=(",", ":")).encode()
