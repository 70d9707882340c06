"""Collecting in the background while tests wait for their own answers only."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import count
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from pytest_pbias.collecting.asker import ChatClient
from pytest_pbias.collecting.batch import BatchEngine
from pytest_pbias.collecting.engine import Engine, NextRound, Settle
from pytest_pbias.collecting.limits import AdaptiveLimit, RateLimiter, RetryPolicy
from pytest_pbias.collecting.records import Failure, Progress
from pytest_pbias.collecting.store import Store
from pytest_pbias.collecting.waiting import owner_alive, this_owner
from pytest_pbias.errors import InfrastructureError, PbiasError, StoreError
from pytest_pbias.models.chat import ChatRequest

if TYPE_CHECKING:
    from pytest_pbias.collecting.ray.engine import RayEngine

    AnyEngine: TypeAlias = Engine | BatchEngine | RayEngine

_RATE_SECONDS = 30.0
_TICK_SECONDS = 0.25
_PATIENT_SECONDS = 60.0  # for what is in flight when a budget is spent: it is paid for
_END_SECONDS = 10.0  # that the thread may take to end, beside the grace
_numbers = count()


def unlimited(prompt_tokens: int, completion_tokens: int) -> str | None:
    """The budget of a run without one."""
    return None


class Collector:
    """Asks ``requests``, in order, for what ``store`` lacks; in one background thread.

    ``connect`` is called in a thread of its own when the first missing response is found, so a
    run that has everything starts no server; it may block, and what it raises is what
    :meth:`wait` raises. ``requests`` is drawn from as needed and may be a generator; give
    ``total`` then, for the progress. ``concurrency`` caps the requests in flight, which start
    at ``first_concurrency`` (low, where an endpoint is not known to bear more); ``rpm`` and
    ``tpm`` cap requests and tokens a minute. ``seed`` seeds the jitter of retries. ``budget`` is
    told the prompt and completion tokens used so far; when it gives a reason, nothing new is
    asked, and what is in flight is kept. When all of ``requests`` is settled, ``next_round`` gives
    more of them, or None at the end. :meth:`with_engine` collects in another way.
    """

    def __init__(
        self,
        store: Store,
        requests: Iterable[ChatRequest],
        connect: Callable[[], ChatClient],
        *,
        concurrency: int = 64,
        first_concurrency: int | None = None,
        rpm: float | None = None,
        tpm: float | None = None,
        policy: RetryPolicy | None = None,
        breaker_seconds: float = 20.0,
        total: int | Callable[[], int] | None = None,
        seed: int = 0,
        budget: Callable[[int, int], str | None] = unlimited,
        next_round: NextRound | None = None,
    ) -> None:
        def engine(owner: str, settle: Settle) -> Engine:
            return Engine(
                store,
                owner,
                requests,
                connect,
                settle,
                limit=AdaptiveLimit(concurrency)
                if first_concurrency is None
                else AdaptiveLimit(concurrency, start=first_concurrency),
                pace=RateLimiter(rpm=rpm, tpm=tpm),
                policy=policy or RetryPolicy(),
                breaker_seconds=breaker_seconds,
                rng=Random(seed),
                budget=budget,
                next_round=next_round,
            )

        known = len(requests) if total is None and isinstance(requests, Sized) else total
        self._set_up(store, engine, known)

    @classmethod
    def with_engine(
        cls,
        store: Store,
        engine: Callable[[str, Settle], AnyEngine],
        *,
        total: int | Callable[[], int],
    ) -> Collector:
        """A collector with the engine made from its owner and the function that settles keys."""
        made = cls.__new__(cls)
        made._set_up(store, engine, total)
        return made

    def _set_up(
        self,
        store: Store,
        engine: Callable[[str, Settle], AnyEngine],
        total: int | Callable[[], int] | None,
    ) -> None:
        self.owner = this_owner(next(_numbers))
        self._store = store
        self._total = total
        self._engine = engine(self.owner, self._settle)
        self._changed = threading.Condition()
        self._awaited: list[set[str]] = []  # of each call of wait, what is still open
        self._failures: dict[str, Failure] = {}
        self._state = "new"
        self._error: PbiasError | None = None
        self._grace = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._main, name="pbias-collector", daemon=True)
        self._samples: deque[tuple[float, int]] = deque()

    def start(self) -> None:
        """Start collecting. Records of collectors that died are cleared from the store.

        Raises:
            StoreError: the store cannot be written.
        """
        gone = [owner for owner in self._store.get_collectors() if not owner_alive(owner)]
        if gone:
            self._store.forget_collectors(gone)
        self._store.put_collector(self.owner, "running")
        self._state = "running"
        self._samples.append((time.monotonic(), 0))
        self._thread.start()

    def wait(
        self,
        keys: Iterable[str],
        timeout: float | None = None,
        tick: Callable[[Progress], None] | None = None,
    ) -> dict[str, Failure]:
        """Block until each of ``keys`` is durably stored or failed; return those that failed.

        When collecting has ended early (stopped, endpoint dead, key rejected), all that is still
        missing is returned as failed, with that one reason. ``tick`` is told the progress four
        times a second meanwhile.

        Raises:
            StoreError: the store failed.
            PbiasError: what ``connect`` or the request stream raised.
            TimeoutError: ``timeout`` seconds ran out.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        failed: dict[str, Failure] = {}
        with self._awaiting(keys) as open_keys:
            pause = math.inf if tick is None else _TICK_SECONDS
            while not self._wait(open_keys, failed, min(end, time.monotonic() + pause)):
                if time.monotonic() >= end:
                    raise TimeoutError(f"{len(open_keys)} responses did not arrive in {timeout} s")
                if tick is not None:
                    tick(self.progress())
            if open_keys:
                if self._error is not None:
                    raise self._error
                reason = self._engine.end_reason or "never asked: collecting was stopped before"
                missing = self._store.missing(open_keys)
                failed |= {key: Failure(key, reason, 0) for key in missing}
        return failed

    def wait_until(
        self, ready: Callable[[], bool], tick: Callable[[Progress], None] | None = None
    ) -> None:
        """Block until ``ready`` says so or collecting has ended; ``tick`` as in :meth:`wait`."""
        while True:
            with self._changed:
                if ready() or self._state in ("done", "stopped"):
                    return
                self._changed.wait(_TICK_SECONDS)
            if tick is not None:
                tick(self.progress())

    def look_taken(self) -> None:
        """Wake those who wait for a look. From any thread."""
        with self._changed:
            self._changed.notify_all()

    @contextlib.contextmanager
    def _awaiting(self, keys: Iterable[str]) -> Iterator[set[str]]:
        """Those of ``keys`` that are not stored, less what is settled while the block lasts."""
        wanted = list(keys)
        open_keys = set(wanted)
        with self._changed:
            self._awaited.append(open_keys)
        try:
            # Only now: what is settled from here on is taken off by the other thread.
            stored = set(wanted) - set(self._store.missing(wanted))
            with self._changed:
                open_keys.difference_update(stored)
            yield open_keys
        finally:
            with self._changed:
                self._awaited = [one for one in self._awaited if one is not open_keys]

    def _wait(self, open_keys: set[str], failed: dict[str, Failure], end: float) -> bool:
        """Move what failed from ``open_keys`` to ``failed``; whether nothing is left to wait for.

        That is so when ``open_keys`` is empty or collecting has ended. At ``end`` it gives up.
        """
        with self._changed:
            while True:
                failed |= {key: self._failures[key] for key in open_keys if key in self._failures}
                open_keys.difference_update(failed)
                if not open_keys or self._state in ("done", "stopped"):
                    return True
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(None if left == math.inf else left)

    def stop(self, grace: float = 5.0) -> None:
        """Ask nothing more, wait at most ``grace`` seconds for what is in flight, and end."""
        self._grace = grace
        self._ask_no_more()
        if self._thread.ident is not None:
            self._thread.join(grace + _END_SECONDS)
            if self._thread.is_alive():
                self._abandon()

    def _abandon(self) -> None:
        """The thread does not end: nobody waits for it any more."""
        with self._changed:
            self._state = "stopped"
            self._changed.notify_all()
        with contextlib.suppress(StoreError):
            self._store.put_collector(self.owner, "stopped", self.end_reason or "")

    def give_up(self, reason: str) -> None:
        """Ask nothing more: what is still missing has failed for ``reason``. From any thread."""
        self._engine.end_reason = self._engine.end_reason or reason
        self._ask_no_more()

    def _ask_no_more(self) -> None:
        self._engine.stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: it is done
                self._loop.call_soon_threadsafe(self._engine.stop)

    def progress(self) -> Progress:
        """A snapshot of how far collecting is; cheap, from any thread."""
        engine = self._engine
        now = time.monotonic()
        self._samples.append((now, engine.answered))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        rate = (engine.answered - before) / (now - then) if now > then else 0.0
        done = engine.cached + engine.answered + engine.failed
        total = self._total() if callable(self._total) else self._total
        left = None if total is None else max(0, total - done)
        return Progress(
            state=self._state,
            done=done,
            total=total,
            cached=engine.cached,
            failed=engine.failed,
            retries=engine.retries,
            limit=engine.limit.limit,
            rate=rate,
            eta=left / rate if left is not None and rate > 0 else None,
            prompt_tokens=engine.prompt_tokens,
            completion_tokens=engine.completion_tokens,
        )

    @property
    def end_reason(self) -> str | None:
        """Why collecting gave up before the end, or None."""
        return str(self._error) if self._error is not None else self._engine.end_reason

    # -- in the background thread --------------------------------------------------------------

    def _settle(self, keys: Sequence[str], failures: Sequence[Failure]) -> None:
        with self._changed:
            for open_keys in self._awaited:
                open_keys.difference_update(keys)
            self._failures.update((failure.key, failure) for failure in failures)
            if failures or not all(self._awaited):
                self._changed.notify_all()

    def _main(self) -> None:
        state = "stopped"
        try:
            asyncio.run(self._run())
            if self._engine.complete:
                state = "done"
        except PbiasError as error:
            self._error = error
        except BaseException as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._error = InfrastructureError(f"collecting broke off: {text}; please report it")
            self._error.__cause__ = error
        try:
            self._store.put_collector(self.owner, state, self.end_reason or "")
        except StoreError as error:
            self._error = self._error or error
        with self._changed:
            self._state = state
            self._changed.notify_all()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._engine.run(self._seconds_in_flight)

    def _seconds_in_flight(self) -> float:
        """How long requests in flight are still waited for after the end."""
        if self._engine.end_reason is None:
            return self._grace
        patient = isinstance(self._engine, Engine) and self._engine.end_patiently
        return _PATIENT_SECONDS if patient else 0.0
