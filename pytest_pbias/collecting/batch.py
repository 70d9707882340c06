"""Asks through the Batch API, with a ledger of what was submitted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_pbias.collecting.asker import BatchClient
from pytest_pbias.collecting.engine import NextRound, Settle, WholeEngine
from pytest_pbias.collecting.limits import AdaptiveLimit
from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.store import Store
from pytest_pbias.collecting.waiting import owner_alive
from pytest_pbias.models.chat import (
    BatchStatus,
    ChatRequest,
    EndpointError,
    GoneError,
    Response,
)
from pytest_pbias.models.dialect import PLAIN, Dialect

_ENTRY = "batches:"

_MORE = ""  # no batch's id: the place of all that is not an open batch

_STALE_SECONDS = 3600.0  # no submission takes longer; of an owner on another host nothing is known


@dataclass(frozen=True, slots=True)
class Claim:
    """Requests that a collector is about to submit; ``owner`` is empty once it has given up."""

    owner: str
    since: float
    keys: list[str]

    @property
    def stale(self) -> bool:
        """Whether nobody submits them any more: the provider knows if they were submitted."""
        return not owner_alive(self.owner) or time.time() - self.since > _STALE_SECONDS


@dataclass(slots=True)
class LedgerEntry:
    """The entry of one served model: batches by id, claims by tag, tags of fruitless batches."""

    open: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    fruitless: dict[str, int] = field(default_factory=dict)

    def covered(self) -> set[str]:
        """Keys that are at the provider, or may be."""
        lists = [*self.open.values(), *(claim.keys for claim in self.claims.values())]
        return {key for keys in lists for key in keys}

    def tag(self, keys: Sequence[str]) -> str:
        """What a batch of these requests is found by: another one after each that gave nothing."""
        plain = _tag(keys)
        times = self.fruitless.get(plain, 0)
        return hashlib.sha256(f"{plain}:{times}".encode()).hexdigest() if times else plain

    def count_fruitless(self, keys: Sequence[str]) -> None:
        """A batch of these requests gave nothing."""
        plain = _tag(keys)
        self.fruitless[plain] = self.fruitless.get(plain, 0) + 1

    @classmethod
    def decode(cls, text: str | None) -> LedgerEntry:
        """Read an entry; the first ones held nothing but open batches."""
        rows: dict[str, Any] = json.loads(text or "{}")
        more = rows.pop(_MORE, {})
        claims = {tag: Claim(*claim) for tag, claim in more.get("claims", {}).items()}
        return cls(rows, claims, more.get("fruitless", {}))

    def encode(self) -> str:
        """The text of the entry."""
        claims = {tag: (one.owner, one.since, one.keys) for tag, one in self.claims.items()}
        return json.dumps({**self.open, _MORE: {"claims": claims, "fruitless": self.fruitless}})


class BatchLedger:
    """The open batches of the model served as ``name``, shared by all sessions of a store.

    A request is claimed before it is submitted and stands under its batch's id from then on, until
    the batch has ended and what it holds is stored. Each method is one transaction.

    Raises:
        StoreError: from every method, when the store cannot be read or written.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._entry = _ENTRY + name

    def read(self) -> LedgerEntry:
        """What is remembered now."""
        return LedgerEntry.decode(self._store.get_meta(self._entry))

    def claim(self, owner: str, keys: Iterable[str]) -> tuple[str, list[str]]:
        """Claim those of ``keys`` that nobody submits or has submitted; their tag, and them."""
        wanted = list(keys)
        claimed: tuple[str, list[str]] = ("", [])

        def change(page: LedgerEntry) -> None:
            nonlocal claimed
            covered = page.covered()
            free = [key for key in wanted if key not in covered]
            claimed = (page.tag(free), free)
            if free:
                page.claims[claimed[0]] = Claim(owner, time.time(), free)

        self._change(change)
        return claimed

    def opened(self, tag: str, batch_id: str, keys: Sequence[str]) -> None:
        """The claim ``tag`` is a batch now."""

        def change(page: LedgerEntry) -> None:
            page.claims.pop(tag, None)
            page.open[batch_id] = list(keys)

        self._change(change)

    def unclaim(self, tag: str, owner: str) -> None:
        """Nothing was submitted under ``tag``; a claim that another owner has made since stays."""

        def change(page: LedgerEntry) -> None:
            claim = page.claims.get(tag)
            if claim is not None and claim.owner == owner:
                del page.claims[tag]

        self._change(change)

    def release(self, owner: str) -> None:
        """``owner`` has ended: who comes next asks the provider what became of its claims."""
        if not any(claim.owner == owner for claim in self.read().claims.values()):
            return

        def change(page: LedgerEntry) -> None:
            for tag, claim in page.claims.items():
                if claim.owner == owner:
                    page.claims[tag] = Claim("", claim.since, claim.keys)

        self._change(change)

    def ended(self, batch_id: str, *, fruitless: bool) -> None:
        """What a batch holds is stored. A ``fruitless`` one is not to be found by its tag again."""

        def change(page: LedgerEntry) -> None:
            keys = page.open.pop(batch_id, None)
            if keys is not None and fruitless:
                page.count_fruitless(keys)

        self._change(change)

    def lost(self, batch_id: str, keys: Iterable[str]) -> None:
        """Nothing will come of ``keys`` from a batch; the others in it are not given up."""
        gone = set(keys)

        def change(page: LedgerEntry) -> None:
            before = page.open.pop(batch_id, [])
            left = [key for key in before if key not in gone]
            if left:
                page.open[batch_id] = left
            elif before:
                page.count_fruitless(before)

        self._change(change)

    def _change(self, change: Callable[[LedgerEntry], None]) -> None:
        def work(text: str | None) -> str:
            page = LedgerEntry.decode(text)
            change(page)
            return page.encode()

        self._store.change_meta(self._entry, work)


def _tag(keys: Sequence[str]) -> str:
    return hashlib.sha256("".join(keys).encode()).hexdigest()


_MOST_REQUESTS = 50_000  # of one batch, and

_MOST_BYTES = 190_000_000  # of its file: the API's limits

_GONE_AFTER = 3  # looks at a batch that the provider says it does not know


class BatchEngine(WholeEngine):
    """Submits what the store lacks, waits, and stores what comes; within one event loop.

    What is submitted is kept in the store under ``name`` before anything is waited for (see
    :class:`pytest_pbias.collecting.batch.BatchLedger`): a run that was ended, however that
    happened, is taken up by the next one, whatever part of it that asks for, and sessions beside
    each other wait for the same batches instead of paying twice. A batch that is unknown at the
    third look, and everything else that ended without answers, is a failure in this run and
    submitted anew by the next. It has the face of :class:`pytest_pbias.collecting.engine.Engine`.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        requests: Iterable[ChatRequest],
        connect: Callable[[], BatchClient],
        settle: Settle,
        *,
        name: str,
        poll_seconds: float = 30.0,
        patience: float = 600.0,
        next_round: NextRound | None = None,
    ) -> None:
        super().__init__(store, owner, requests, settle, next_round)
        self._owner = owner
        self._connect = connect
        self._book = BatchLedger(store, name)
        self._poll_seconds = poll_seconds
        self._patience = patience
        self._left: dict[str, ChatRequest] = {}  # what is neither stored nor failed
        self._open: dict[str, list[str]] = {}  # batches this run follows
        self._seen: set[str] = set()  # batches it follows or followed
        self._dialects: dict[str, Dialect] = {}  # in which batches of this run were submitted
        self._misses: dict[str, int] = {}
        self._creating = False
        self.limit = AdaptiveLimit(1)

    async def run(self, grace: Callable[[], float]) -> None:
        """Submit, wait, fetch, round by round; return when all is settled or soon after a stop.

        ``grace`` gives the seconds that a batch being started is still waited for after a stop;
        everything else is broken off at once, and taken up by the next run.

        Raises:
            StoreError: the store failed.
            PbiasError: what ``connect`` or the request stream raised.
        """
        self._wake = asyncio.Event()
        drawn = await asyncio.to_thread(self._draw)
        if not drawn or self.stopping:
            return
        asker = await asyncio.to_thread(self._connect)
        try:
            while drawn:
                self._left = dict(self._wanted)
                await self._until_stopped(asyncio.create_task(self._collect(asker)), grace)
                drawn = self.end_reason is None and await asyncio.to_thread(self._draw)
        finally:
            self._book.release(self._owner)
            await asker.aclose()
        self._say_what_goes_on()

    async def _until_stopped(self, work: asyncio.Task[None], grace: Callable[[], float]) -> None:
        stopped = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
            if self._creating:
                await asyncio.wait((work,), timeout=grace())
        finally:
            stopped.cancel()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _collect(self, asker: BatchClient) -> None:
        trouble_since: float | None = None
        while True:
            try:
                await self._look(asker)
                trouble_since = None
            except EndpointError as error:
                trouble_since = trouble_since or time.monotonic()
                self.retries += 1
                if error.kind == "fatal" or time.monotonic() - trouble_since > self._patience:
                    self.end_reason = (
                        f"{error.reason}; {_go_on(self._going_on())} there: run again to "
                        "fetch their answers"
                    )
            else:
                await self._submit(asker)
            if not self._left or self.stopping or self.end_reason is not None:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wake.wait()

    def _say_what_goes_on(self) -> None:
        if self.stopping and self.end_reason is None and (going_on := self._going_on()):
            self.end_reason = (
                f"stopped; {_go_on(going_on)} at the provider: run again to fetch their answers"
            )

    def _going_on(self) -> int:
        return sum(not self._left.keys().isdisjoint(keys) for keys in self._open.values())

    # -- what is at the provider ---------------------------------------------------------------

    async def _look(self, asker: BatchClient) -> None:
        """Store what has ended, and see what became of submissions that were broken off."""
        page = self._book.read()
        new = page.open.keys() - self._seen
        self._seen |= new
        self._open |= {name: page.open[name] for name in new}
        trouble: EndpointError | None = None
        for batch_id, keys in list(self._open.items()):
            awaited = not self._left.keys().isdisjoint(keys)
            if not awaited and batch_id not in new:
                continue  # what only others wait for is fetched where it happens to be done
            try:
                await self._fetch(asker, batch_id, keys)
                self._misses.pop(batch_id, None)
            except GoneError as error:
                self._miss(batch_id, keys, error)
            except EndpointError as error:
                trouble = error if awaited else trouble
        for tag, claim in page.claims.items():
            if claim.stale:
                await self._resolve(asker, tag, claim)
        if trouble is not None:
            raise trouble

    async def _fetch(self, asker: BatchClient, batch_id: str, keys: Sequence[str]) -> None:
        """Store a batch's results once it has ended, those that only others ask for as well."""
        if self._left.keys().isdisjoint(keys) and not self._store.missing(keys):
            self._close(batch_id, fruitless=False)
            return
        status = await asker.status(batch_id)
        if not status.ended:
            return
        responses: dict[str, Response] = {}
        errors: dict[str, EndpointError] = {}
        for file_id in status.files:
            for key, result in (await asker.results(file_id)).items():
                if isinstance(result, Response):
                    responses[key] = result
                else:
                    errors[key] = result
        others, lost = [], []
        for key in keys:
            if key not in responses:
                lost.append(key)
            elif key in self._left:
                self._take(responses[key])
            else:
                others.append(responses[key])
        self._store.put_many(others)
        self._outbox.commit()
        self._close(batch_id, fruitless=len(lost) == len(keys))
        # Only now: who is told of a failure may run again at once, and must find the batch ended.
        for key in lost:
            self._lose(asker, batch_id, key, errors.get(key) or _fault_of(status))
        self._outbox.commit()

    def _close(self, batch_id: str, *, fruitless: bool) -> None:
        self._book.ended(batch_id, fruitless=fruitless)
        del self._open[batch_id]

    def _miss(self, batch_id: str, keys: Sequence[str], error: GoneError) -> None:
        """Give a batch up at the last of several looks; not for those who want the rest of it."""
        self._misses[batch_id] = self._misses.get(batch_id, 0) + 1
        awaited = [key for key in keys if key in self._left]
        if not awaited or self._misses[batch_id] < _GONE_AFTER:
            return
        self._book.lost(batch_id, awaited)
        del self._open[batch_id]
        for key in awaited:
            self._fail(key, f"{error.reason}: run again to submit this request anew")
        self._outbox.commit()

    async def _resolve(self, asker: BatchClient, tag: str, claim: Claim) -> None:
        """See whether requests were submitted whose session ended before it could say so."""
        batch_id = await asker.find(tag)
        if batch_id is None:
            self._book.unclaim(tag, claim.owner)
        else:
            self._book.opened(tag, batch_id, claim.keys)

    # -- submitting ----------------------------------------------------------------------------

    async def _submit(self, asker: BatchClient) -> None:
        """Start batches of what nobody has submitted; see :attr:`end_reason` for a failure."""
        covered = self._book.read().covered()
        free = [key for key in self._left if key not in covered]
        # Only now: a session beside this one stores answers before it forgets their batch.
        missing = set(self._store.missing(free))
        self._find_stored([key for key in free if key not in missing])
        try:
            for chunk in self._chunks(asker, missing):
                if self.stopping:
                    break
                await self._submit_chunk(asker, chunk)
        except EndpointError as error:
            self.end_reason = f"the batch could not be submitted: {error.reason}"

    async def _submit_chunk(self, asker: BatchClient, chunk: dict[str, bytes]) -> None:
        tag, keys = self._book.claim(self._owner, chunk)
        if not keys:
            return
        if len(self._store.missing(keys)) < len(keys):
            self._book.unclaim(tag, self._owner)  # answered meanwhile: the next look sorts it out
            return
        batch_id = await asker.find(tag)  # a batch of a store that was lost
        if batch_id is None:
            file_id = await asker.upload([chunk[key] for key in keys])
            batch_id = await self._create(asker, file_id, tag)
            self._dialects[batch_id] = asker.dialect
        self._book.opened(tag, batch_id, keys)
        self._seen.add(batch_id)
        self._open[batch_id] = keys

    async def _create(self, asker: BatchClient, file_id: str, tag: str) -> str:
        self._creating = True
        try:
            return await asker.create(file_id, tag)
        except asyncio.CancelledError:
            self.end_reason = self.end_reason or (
                "stopped while a batch was being started: run again to fetch its answers, if it was"
            )
            raise
        finally:
            self._creating = False

    def _chunks(self, asker: BatchClient, free: Collection[str]) -> Iterator[dict[str, bytes]]:
        """Lines of ``free`` requests by key, as many as the API takes in one batch."""
        chunk: dict[str, bytes] = {}
        size = 0
        for key, request in self._left.items():
            if key not in free:
                continue
            line = _line(asker, request)
            if len(chunk) == _MOST_REQUESTS or size + len(line) > _MOST_BYTES:
                yield chunk
                chunk, size = {}, 0
            chunk[key] = line
            size += len(line) + 1
        if chunk:
            yield chunk

    # -- settling ------------------------------------------------------------------------------

    def _take(self, response: Response) -> None:
        del self._left[response.key]
        self._count_tokens(response)
        self._outbox.answer(response)

    def _count_tokens(self, paid: Response | EndpointError | None) -> None:
        """What a result cost, of no use or not."""
        if paid is not None:
            self.prompt_tokens += paid.prompt_tokens or 0
            self.completion_tokens += paid.completion_tokens or 0

    def _lose(self, asker: BatchClient, batch_id: str, key: str, fault: EndpointError) -> None:
        """A line of a batch has no answer: submit it in another way, if there is one, or fail it.

        Each way asks for less than the one before, so there are few. Of a batch that an earlier
        run submitted nothing is known: it may have been in the plainest way.
        """
        self._count_tokens(fault)
        request, said = self._left.get(key), self._dialects.get(batch_id, PLAIN)
        if request is not None and asker.learn(request, fault, said=said):
            self.retries += 1
            return
        self._fail(key, fault.reason)

    def _fail(self, key: str, reason: str) -> None:
        if self._left.pop(key, None) is not None:
            self._outbox.fail(Failure(key, reason, 1))

    def _find_stored(self, keys: Sequence[str]) -> None:
        """Another session has stored answers to ``keys``."""
        for key in keys:
            del self._left[key]
        self.cached += len(keys)
        self._settle(keys, ())


def _line(asker: BatchClient, request: ChatRequest) -> bytes:
    row = {
        "custom_id": request.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asker.body(request),
    }
    return json.dumps(row, separators=(",", ":")).encode()


def _fault_of(status: BatchStatus) -> EndpointError:
    """Why a request has no line in the results of a batch that has ended."""
    lost = f"the batch {status.state} without an answer to this request"
    told = f": {status.reason}" if status.reason else ""
    return EndpointError("refused", lost + told, said=status.reason)


def _go_on(batches: int) -> str:
    return "1 batch goes on" if batches == 1 else f"{batches} batches go on"
