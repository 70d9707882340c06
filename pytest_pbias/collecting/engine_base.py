"""What engines have in common: counts, how they are stopped, and drawing every request at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from pytest_pbias.collecting.outbox import Outbox
from pytest_pbias.collecting.records import Failure, Request
from pytest_pbias.collecting.store import Store

Settle = Callable[[Sequence[str], Sequence[Failure]], None]


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
    """An engine that draws every request before it asks any.

    ``_wanted`` holds what the store lacked when they were drawn.
    """

    def __init__(
        self, store: Store, owner: str, requests: Iterable[Request], settle: Settle
    ) -> None:
        super().__init__(store, owner, settle)
        self._requests = requests
        self._wanted: dict[str, Request] = {}

    def _draw(self) -> None:
        planned = {request.key: request for request in self._requests}
        missing = set(self._store.missing(planned))
        self._wanted = {key: one for key, one in planned.items() if key in missing}
        present = [key for key in planned if key not in missing]
        self.cached = len(present)
        self._total = len(planned)
        self._settle(present, ())
