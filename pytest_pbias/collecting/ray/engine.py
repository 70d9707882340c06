"""Collecting as a Ray Data job: the nodes of a cluster ask, this process stores what they send.

Every result is durable here before it is used, so a job that ends early, however that happens,
is resumed like any other run: what is missing is asked. Ray gives the work of a node that dies to
the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable

from pytest_pbias.collecting.engine import NextRound, Settle, WholeEngine
from pytest_pbias.collecting.limits import AdaptiveLimit, Breaker
from pytest_pbias.collecting.ray.driver import Driver, JobError
from pytest_pbias.collecting.ray.node import (
    Answered,
    Target,
    decode_answered,
    encode_request,
)
from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import InfrastructureError
from pytest_pbias.models.chat import ChatRequest, Response


class RayEngine(WholeEngine):
    """Asks what the store lacks on the cluster at ``address``.

    ``target`` gives what a node asks, from the number of nodes. It has the face of
    :class:`pytest_pbias.collecting.engine.Engine`.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        requests: Iterable[ChatRequest],
        settle: Settle,
        *,
        address: str,
        target: Callable[[int], Target],
        concurrency: int,
        budget: Callable[[int, int], str | None],
        next_round: NextRound | None = None,
    ) -> None:
        super().__init__(store, owner, requests, settle, next_round)
        self._address = address
        self._target = target
        self._budget = budget
        self._breaker = Breaker()
        self._error: BaseException | None = None
        self._driver: Driver | None = None
        self.limit = AdaptiveLimit(concurrency, start=concurrency)

    async def run(self, grace: Callable[[], float]) -> None:
        """Ask everything; return when all is settled, or soon after :meth:`stop`.

        Raises:
            StoreError: the store failed.
            PbiasError: the cluster cannot be used, or what the request stream raised.
        """
        self._wake = asyncio.Event()
        loop = asyncio.get_running_loop()
        if not await asyncio.to_thread(self._draw):
            return

        def main() -> None:
            self._collect()
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
                loop.call_soon_threadsafe(self._wake.set)

        # A thread of its own, not one of the loop's: Python waits for those when it ends.
        thread = threading.Thread(target=main, name="pbias-ray", daemon=True)
        thread.start()
        await self._wake.wait()
        end = time.monotonic() + grace()
        while thread.is_alive() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        if thread.is_alive() and self._driver is not None:
            await asyncio.to_thread(self._driver.stop)
        if self._error is not None and not self.stopping:
            raise self._error

    # -- in a thread of its own ----------------------------------------------------------------

    def _collect(self) -> None:
        try:
            driver = self._driver = Driver(self._address)
            try:
                if not self.stopping:
                    self._ask(driver)
            finally:
                driver.close()
        except BaseException as error:
            self._error = error

    def _ask(self, driver: Driver) -> None:
        try:
            nodes = driver.count_nodes()
        except JobError as error:
            raise InfrastructureError(
                f"no Ray cluster answers at {self._address}: {error}", setting="ray"
            ) from None
        try:
            self._ask_round(driver, nodes)
            while not self._wanted and self._draw():
                self._ask_round(driver, nodes)
        except JobError as error:
            if not self.stopping:  # else it was ended from here
                self.end_reason = f"the Ray job on {self._address} failed ({error})"

    def _ask_round(self, driver: Driver, nodes: int) -> None:
        """One job: what was drawn, until it is settled or asking ends."""
        requests = [encode_request(one) for one in self._wanted.values()]
        for rows in driver.run(self._target(nodes), requests):
            for row in rows:
                self._take(decode_answered(row))
            self._outbox.commit()
            if self.end_reason is not None:
                self.stopping = True
            if self.stopping:
                return

    def _take(self, answered: Answered) -> None:
        outcome = answered.outcome
        if self._wanted.pop(outcome.key, None) is None:
            return  # a node died after it had sent this, and another asked again
        self.retries += max(0, answered.attempts - 1)
        if answered.fatal:
            assert isinstance(outcome, Failure)
            self.end_reason = self.end_reason or outcome.reason
        elif isinstance(outcome, Response):
            self._breaker.success()
            self._outbox.answer(outcome)
            self.prompt_tokens += outcome.prompt_tokens or 0
            self.completion_tokens += outcome.completion_tokens or 0
            spent = self._budget(self.prompt_tokens, self.completion_tokens)
            self.end_reason = self.end_reason or spent
        else:
            if answered.attempts > 1:
                self._breaker.exhaustion(outcome.reason)
            else:
                self._breaker.refusal(outcome.reason)
            self._outbox.fail(outcome)
            self.end_reason = self.end_reason or self._breaker.verdict(time.monotonic())
