"""Asks one after another within limits, and makes each response durable before it is used."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from random import Random
from typing import TypeVar

from pytest_pbias.collecting.asker import (
    ChatClient,
    HealthMonitor,
    estimate_tokens,
    failure_of,
)
from pytest_pbias.collecting.limits import AdaptiveLimit, Breaker, RateLimiter, RetryPolicy
from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.schema import encode_response
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import StoreError
from pytest_pbias.models.chat import ChatRequest, EndpointError, Response

_BATCH_SECONDS = 0.01  # how long answers gather before they are committed together


class Outbox:
    """Answers and final failures that are not durable yet; ``settle`` is told once they are."""

    def __init__(
        self,
        store: Store,
        owner: str,
        settle: Callable[[Sequence[str], Sequence[Failure]], None],
    ) -> None:
        self._store = store
        self._owner = owner
        self._settle = settle
        self._answers: list[Response] = []
        self._failures: list[Failure] = []
        self._commit_seconds = 0.0
        self._dirty = asyncio.Event()
        self.answered = self.failed = 0  # durable ones

    def __len__(self) -> int:
        return len(self._answers) + len(self._failures)

    @property
    def waiting_answers(self) -> int:
        """Answers that are not durable yet."""
        return len(self._answers)

    def answer(self, response: Response) -> None:
        """Take an answer."""
        self._answers.append(response)
        self._dirty.set()

    def fail(self, failure: Failure) -> None:
        """Take a request that finally failed."""
        self._failures.append(failure)
        self._dirty.set()

    async def flush_forever(self, busy: Callable[[], bool], flushed: Callable[[], None]) -> None:
        """Commit what gathers; while ``busy``, it gathers for longer on a slow disk."""
        while True:
            await self._dirty.wait()
            if busy():
                await asyncio.sleep(max(_BATCH_SECONDS, 4 * self._commit_seconds))
            self._dirty.clear()
            self.commit()
            flushed()

    def commit(self) -> None:
        """Write what has gathered, in this thread.

        In a thread of its own each SQLite call would wait for the interpreter lock, which a busy
        event loop gives back late: far longer than the commit itself takes.

        Raises:
            StoreError: the store cannot be written.
        """
        answers, self._answers = self._answers, []
        failures, self._failures = self._failures, []
        if not answers and not failures:
            return
        start = time.monotonic()
        if answers:
            self._store.put_rows([encode_response(one) for one in answers])
        if failures:
            self._store.put_failures(self._owner, failures)
        self._commit_seconds = time.monotonic() - start
        self.answered += len(answers)
        self.failed += len(failures)
        self._settle([one.key for one in answers], failures)


Settle = Callable[[Sequence[str], Sequence[Failure]], None]

NextRound = Callable[[], Iterable[ChatRequest] | None]
"""More requests, once all of the last are settled; None at the end. It may take long."""


class EngineBase:
    """Counts requests as they are settled; ``_total`` is None until all of them are known."""

    _wake: asyncio.Event

    def __init__(self, store: Store, owner: str, settle: Settle) -> None:
        self._store = store
        self._settle = settle
        self._outbox = Outbox(store, owner, settle)
        self._total: int | None = None
        self.cached = self.retries = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.end_reason: str | None = None
        self.stopping = False

    @property
    def answered(self) -> int:
        """Answers that are durable."""
        return self._outbox.answered

    @property
    def failed(self) -> int:
        """Requests that finally failed, on record."""
        return self._outbox.failed

    @property
    def complete(self) -> bool:
        """Whether every request is settled."""
        return self._total == self.cached + self.answered + self.failed

    def stop(self) -> None:
        """Start nothing new. Call it within the loop."""
        self.stopping = True
        self._wake.set()


class WholeEngine(EngineBase):
    """An engine that draws every request of a round before it asks any.

    ``_wanted`` holds what the store lacked when they were drawn.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        requests: Iterable[ChatRequest],
        settle: Settle,
        next_round: NextRound | None = None,
    ) -> None:
        super().__init__(store, owner, settle)
        self._requests: Iterable[ChatRequest] | None = requests
        self._next_round = next_round
        self._drawn = 0
        self._wanted: dict[str, ChatRequest] = {}

    def _draw(self) -> bool:
        """Draw the next round of which the store lacks anything; False where none is to be asked.

        May take long: what was answered is graded and looked at.

        Raises:
            StoreError: the store failed.
            PbiasError: what the request stream or a look raised.
        """
        while not self.stopping and (requests := self._take_round()) is not None:
            planned = {request.key: request for request in requests}
            missing = set(self._store.missing(planned))
            self._wanted = {key: one for key, one in planned.items() if key in missing}
            present = [key for key in planned if key not in missing]
            self.cached += len(present)
            self._drawn += len(planned)
            if self._next_round is None:
                self._total = self._drawn
            self._settle(present, ())
            if self._wanted:
                return True
        return False

    def _take_round(self) -> Iterable[ChatRequest] | None:
        requests, self._requests = self._requests, None
        if requests is None and self._next_round is not None:
            requests = self._next_round()
        if requests is None:
            self._total = self._drawn
        return requests


_CHUNK = 512  # requests looked up in the store at once, and kept ready

_MOST_LATER = 8192  # requests that wait for another try, before no fresh ones are drawn

_TICK = 0.05

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    request: ChatRequest
    started: float
    attempts: int = 0
    throttled: int = 0
    fault: EndpointError | None = None  # the last


class Engine(EngineBase):
    """Asks what the store lacks, in order, with retries; runs within one event loop.

    ``settle`` is called with keys that are now durable or finally failed. At most ``concurrency``
    requests are ever sent and not yet durable: a killed run re-asks at most that many. ``budget``
    is told the prompt and completion tokens used so far, and says why to stop, or None. When all
    of ``requests`` is settled, ``next_round`` gives more of them, or None at the end; it is called
    in another thread.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        requests: Iterable[ChatRequest],
        connect: Callable[[], ChatClient],
        settle: Settle,
        *,
        limit: AdaptiveLimit,
        pace: RateLimiter,
        policy: RetryPolicy,
        breaker_seconds: float,
        rng: Random,
        budget: Callable[[int, int], str | None],
        next_round: NextRound | None,
    ) -> None:
        super().__init__(store, owner, self._settled)
        self._next_round = next_round
        self._drawn_all = False  # of this round
        # Whether those of this round that still fail are given up; the answers there were then.
        self._letting_go = False
        self._answered_then = 0
        self._tell = settle
        self._budget = budget
        self._requests: Iterator[ChatRequest] = iter(requests)
        self._connect = connect
        self.limit = limit
        self._pace = pace
        self._policy = policy
        self._breaker = Breaker(breaker_seconds)
        self._patience = breaker_seconds
        self._rng = rng
        self._asker: ChatClient | None = None
        self._watch: HealthMonitor | None = None
        self._drawn = 0
        # Keys that were drawn: those that are not settled, and those that failed. What is in the
        # store is looked up there, so that memory does not grow with the plan.
        self._open: set[str] = set()
        self._given_up: set[str] = set()
        self._ready: deque[ChatRequest] = deque()
        self._due: deque[_Job] = deque()  # to be tried again, their wait being over
        self._fresh_next = False
        self._later: list[tuple[float, int, _Job]] = []
        self._ticket = count()
        self._workers: set[asyncio.Task[None]] = set()
        self._store_error: StoreError | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="pbias-store")
        self.active = 0
        self.end_patiently = False  # whether an early end waits for what is in flight

    async def run(self, grace: Callable[[], float]) -> None:
        """Ask everything; return when all is settled, or soon after :meth:`stop`.

        ``grace`` gives the seconds that requests in flight are still waited for after a stop.

        Raises:
            StoreError: the store failed; nothing more is asked.
            PbiasError: what ``connect`` or the request stream raised.
        """
        self._wake = asyncio.Event()
        flusher = asyncio.create_task(
            self._outbox.flush_forever(lambda: self.active > 0, self._wake.set)
        )
        try:
            await self._supervise(flusher)
            if self._workers and self.stopping:
                await asyncio.wait(self._workers, timeout=grace())
        finally:
            probes = self._watch.probes if self._watch is not None else ()
            tasks = [*self._workers, *probes, flusher]
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if self._asker is not None:
                await self._asker.aclose()
            flush_error = results[-1]
            if self._store_error is None and not isinstance(flush_error, Exception):
                self._outbox.commit()
            self._disk.shutdown()

    # -- the stream ----------------------------------------------------------------------------

    async def _supervise(self, flusher: asyncio.Task[None]) -> None:
        while not self.stopping:
            if flusher.done():
                flusher.result()
            if self._store_error is not None:
                raise self._store_error
            await self._feed()
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                self._due.append(heapq.heappop(self._later)[2])
            if self._drawn_all and not (
                self._waiting or self._later or self.active or len(self._outbox)
            ):
                more = self._next_round
                following = None if more is None else await asyncio.to_thread(more)
                if following is None:
                    self._total = self._drawn
                    return
                self._requests, self._drawn_all = iter(following), False
                self._letting_go = False
                continue
            if self._waiting and self._asker is None:
                await self._connect_once()
            self._spawn(now)
            self._check_alive(now)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._wake.wait()

    async def _feed(self) -> None:
        while not self._drawn_all and len(self._ready) < _CHUNK and len(self._later) < _MOST_LATER:
            drawn = list(islice(self._requests, _CHUNK))
            if not drawn:
                self._drawn_all = True
                if self._next_round is None:
                    self._total = self._drawn
                return
            chunk = {
                one.key: one
                for one in drawn
                if one.key not in self._open and one.key not in self._given_up
            }
            self._drawn += len(drawn)
            self.cached += len(drawn) - len(chunk)
            self._open.update(chunk)
            keys = list(chunk)
            missing = set(await self._on_disk(self._store.missing, keys))
            self._ready.extend(one for one in chunk.values() if one.key in missing)
            present = [key for key in keys if key not in missing]
            self.cached += len(present)
            if present:
                self._settle(present, ())

    def _settled(self, keys: Sequence[str], failures: Sequence[Failure]) -> None:
        self._open.difference_update(keys)
        for failure in failures:
            self._open.discard(failure.key)
            self._given_up.add(failure.key)
        self._tell(keys, failures)

    async def _connect_once(self) -> None:
        self._asker = await asyncio.to_thread(self._connect)
        self._watch = HealthMonitor(self._asker, self._breaker, self._patience)
        await self._watch.probe()

    def _check_alive(self, now: float) -> None:
        if self._watch is None:
            return
        reason = self._watch.verdict(now, waiting=self.active > 0)
        if reason is not None and self._only_stragglers():
            self._let_go()
            self._watch.success(now)
        elif reason is not None:
            self.end_reason = reason
            self.stop()

    def _only_stragglers(self) -> bool:
        """Whether more is to be asked once a few settle that fail where others were answered.

        What is to come shows whether the endpoint lives; it is dead where nothing was answered
        since the last were given up.
        """
        more = self._next_round is not None and self._drawn_all and not self._ready
        return more and self.answered > self._answered_then

    def _let_go(self) -> None:
        """Give up what still fails in this round; what is in flight has this last try."""
        self._answered_then, self._letting_go = self.answered, True
        for job in (*self._due, *(later[2] for later in self._later)):
            assert job.fault is not None
            self._outbox.fail(failure_of(job.request.key, job.fault, job.attempts))
        self._due.clear()
        self._later.clear()

    def _spawn(self, now: float) -> None:
        while self._waiting and self.active < self._target() and self._gate_open(now):
            job = self._take(now)
            self.active += 1
            task = asyncio.create_task(self._work(job))
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    def _target(self) -> int:
        """Workers there is room for: the limit, and what a killed run may re-ask at most."""
        return min(self.limit.limit, self.limit.cap - len(self._outbox))

    def _gate_open(self, now: float) -> bool:
        return now >= self.limit.paused_until and self._pace.wait(now) <= 0

    @property
    def _waiting(self) -> bool:
        """Whether there is a request that may be asked now."""
        return bool(self._ready or self._due)

    def _take(self, now: float) -> _Job:
        """The next request, of those tried before and of fresh ones in turn.

        What always fails would otherwise keep the others from being asked, until not one answer
        comes and the endpoint counts as dead.
        """
        self._fresh_next = bool(self._ready) and (self._fresh_next or not self._due)
        job = _Job(self._ready.popleft(), now) if self._fresh_next else self._due.popleft()
        self._fresh_next = not self._fresh_next
        self._pace.started(now, self._estimate(job.request))
        return job

    def _estimate(self, request: ChatRequest) -> float:
        return estimate_tokens(request) if self._pace.counts_tokens else 0.0

    # -- asking --------------------------------------------------------------------------------

    async def _work(self, job: _Job) -> None:
        """Ask one request after the other for as long as there is room for this worker."""
        try:
            while True:
                await self._attempt(job)
                if self._outbox.waiting_answers >= max(1, self.limit.cap // 8):
                    self._outbox.commit()
                now = time.monotonic()
                if len(self._ready) < _CHUNK // 2:
                    self._wake.set()
                if (
                    self.stopping
                    or not self._waiting
                    or self.active > self._target()
                    or not self._gate_open(now)
                ):
                    return
                job = self._take(now)
        except StoreError as error:
            self._store_error = error
        finally:
            self.active -= 1
            self._wake.set()

    async def _attempt(self, job: _Job) -> None:
        assert self._asker is not None
        request = job.request
        job.attempts += 1
        start = time.monotonic()
        try:
            response = await self._asker.ask(request)
        except EndpointError as error:
            self._missed(job, error, time.monotonic())
            return
        now = time.monotonic()
        assert self._watch is not None
        self._watch.success(now)
        self.limit.success(now, now - start)
        self._count_tokens(request, response)
        self._outbox.answer(response)

    def _count_tokens(self, request: ChatRequest, paid: Response | EndpointError) -> None:
        prompt, completion = paid.prompt_tokens or 0, paid.completion_tokens or 0
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        actual = prompt + completion if paid.prompt_tokens is not None else None
        self._pace.correct(self._estimate(request), actual)
        spent = self._budget(self.prompt_tokens, self.completion_tokens)
        if spent is not None and self.end_reason is None:
            self.end_reason, self.end_patiently = spent, True
            self.stop()

    def _missed(self, job: _Job, error: EndpointError, now: float) -> None:
        if error.prompt_tokens or error.completion_tokens:
            self._count_tokens(job.request, error)
        if error.kind == "fatal":
            self.end_reason = error.reason
            self.stop()
            return
        if self._letting_go:
            self._outbox.fail(failure_of(job.request.key, error, job.attempts))
            return
        job.fault = error
        throttled = error.kind == "throttled"
        job.throttled += throttled
        wait = self._policy.wait(job.attempts, error.retry_after, self._rng)
        spent = self._policy.exhausted(job.attempts, job.throttled, now - job.started, wait)
        if throttled or error.kind == "timeout":
            self.limit.overload(now, 0.0 if spent else wait, throttled=throttled)
        if error.kind in ("connection", "timeout", "server"):
            self._breaker.failure(now, error.reason, error.retry_after or 0.0)
        if error.kind == "refused" or spent:
            if error.kind == "refused":
                self._breaker.refusal(error.reason)
            else:
                self._breaker.exhaustion(error.reason)
            self._outbox.fail(failure_of(job.request.key, error, job.attempts))
            return
        self.retries += 1
        heapq.heappush(self._later, (now + wait, next(self._ticket), job))

    async def _on_disk(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
