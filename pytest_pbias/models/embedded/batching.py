"""Micro-batching: requests from an event loop, answered in batches by one engine thread."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.embedded.engine import (
    MAX_BATCH,
    Completion,
    Engine,
    Prompt,
)


@dataclass(frozen=True, slots=True)
class _Job:
    prompt: Prompt
    parameters: Sampling
    future: asyncio.Future[Completion]
    loop: asyncio.AbstractEventLoop


class Batcher:
    """Queues prompts and generates them in batches of like parameters and like length."""

    def __init__(self, engine: Engine) -> None:
        """Start the engine thread."""
        self._engine = engine
        self._waiting: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def complete(self, prompt: Prompt, parameters: Sampling) -> Completion:
        """Answer one prompt.

        Raises:
            RuntimeError: the engine failed on the batch, or the batcher is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Completion] = loop.create_future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is shut down")
            self._waiting.append(_Job(prompt, parameters, future, loop))
            self._changed.notify()
        return await future

    def close(self) -> None:
        """Finish the running batch and stop; requests still waiting are cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for job in self._waiting:
            job.loop.call_soon_threadsafe(job.future.cancel)

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                done = self._engine.generate([job.prompt for job in batch], batch[0].parameters)
            except Exception as error:  # whatever the runtime raises belongs to these requests
                reason = RuntimeError(" ".join(str(error).split()) or type(error).__name__)
                for job in batch:
                    job.loop.call_soon_threadsafe(_fail, job.future, reason)
            else:
                batch[0].loop.call_soon_threadsafe(_resolve, batch, done)

    def _next_batch(self) -> list[_Job]:
        """Wait for work; the oldest request and those most like it. Empty when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            oldest = self._waiting[0]
            length = len(oldest.prompt.ids)
            alike = [job for job in self._waiting if job.parameters == oldest.parameters]
            alike.sort(key=lambda job: abs(len(job.prompt.ids) - length))
            batch = alike[:MAX_BATCH]
            taken = {id(job) for job in batch}
            self._waiting = [job for job in self._waiting if id(job) not in taken]
            return batch


def _resolve(batch: list[_Job], done: list[Completion]) -> None:
    for job, completion in zip(batch, done, strict=True):
        if not job.future.done():
            job.future.set_result(completion)


def _fail(future: asyncio.Future[Completion], reason: RuntimeError) -> None:
    if not future.done():
        future.set_exception(reason)
