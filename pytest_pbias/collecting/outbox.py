"""Settled requests on their way to the store, committed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from pytest_pbias.collecting.records import Failure, Response
from pytest_pbias.collecting.schema import encode_response
from pytest_pbias.collecting.store import Store

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
