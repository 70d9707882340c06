"""What engines share that draw every request before they ask any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from pytest_pbias.collecting.outbox import Outbox
from pytest_pbias.collecting.records import Failure, Request
from pytest_pbias.collecting.store import Store


class WholeEngine:
    """Counts and settles; ``_wanted`` holds what the store lacked when it was drawn.

    It has the face of :class:`pytest_pbias.collecting.engine.Engine`.
    """

    _wake: asyncio.Event

    def __init__(
        self,
        store: Store,
        owner: str,
        requests: Iterable[Request],
        settle: Callable[[Sequence[str], Sequence[Failure]], None],
    ) -> None:
        self._store = store
        self._requests = requests
        self._settle = settle
        self._outbox = Outbox(store, owner, settle)
        self._wanted: dict[str, Request] = {}
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
        """Start nothing new and wait no more. Call it within the loop."""
        self.stopping = True
        self._wake.set()

    def _draw(self) -> None:
        planned = {request.key: request for request in self._requests}
        missing = set(self._store.missing(planned))
        self._wanted = {key: one for key, one in planned.items() if key in missing}
        present = [key for key in planned if key not in missing]
        self.cached = len(present)
        self._total = len(planned)
        self._settle(present, ())
