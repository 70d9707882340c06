"""Collecting as a Ray Data job: the nodes of a cluster ask, this process stores what they send.

Every result is durable here before it is used, so a job that ends early, however that happens,
is resumed like any other run: what is missing is asked. Ray gives the work of a node that dies to
the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pytest_pbias.collecting.engine import NextRound, Settle, WholeEngine
from pytest_pbias.collecting.limits import AdaptiveLimit, Breaker
from pytest_pbias.collecting.ray_worker import (
    Answered,
    AskBatch,
    Target,
    decode_answered,
    encode_request,
)
from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import InfrastructureError, PbiasError
from pytest_pbias.models.chat import ChatRequest, Response

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL = "local"  # an address that starts a cluster of this machine alone, as Ray has it
_MOST_IN_BATCH = 32  # answers that wait for each other before they are durable
_BATCHES_AT_ONCE = 4  # of one node
_CHECK_SECONDS = 60.0
_REACH_SECONDS = 10.0


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
        self._error: PbiasError | None = None
        self._connected = False
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
        if thread.is_alive():
            await asyncio.to_thread(self._disconnect)
        if self._error is not None and not self.stopping:
            raise self._error

    # -- in a thread of its own ----------------------------------------------------------------

    def _collect(self) -> None:
        try:
            nodes = self._connect()
            self._ask_round(nodes)
            while not self._wanted and self._draw():
                self._ask_round(nodes)
        except PbiasError as error:
            self._error = error
        except Exception as error:
            if not self.stopping:
                lines = [line for line in str(error).splitlines() if line.strip()]
                said = lines[0][:200] if lines else "no reason given"
                self.end_reason = (
                    f"the Ray job on {self._address} failed ({type(error).__name__}: {said}); "
                    "run again to ask for what is missing"
                )
        finally:
            self._disconnect()

    def _ask_round(self, nodes: int) -> None:
        """One job: what was drawn, until it is settled or asking ends."""
        for rows in self._job(nodes):
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

    def _connect(self) -> int:
        """Join the cluster, and see that its nodes can ask; returns how many there are."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if not ray.is_initialized():
            _check_reachable(self._address)
            try:
                ray.init(
                    # Without an address Ray would join a cluster that it finds here, even a dying
                    # one; its own word for a new one is the same as ours.
                    address=self._address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=False if self._address == LOCAL else None,
                )
            except Exception as error:
                said = (str(error).splitlines() or [type(error).__name__])[0][:200]
                raise InfrastructureError(
                    f"no Ray cluster answers at {self._address}: {said}", setting="ray"
                ) from None
            self._connected = True
        list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes  # untyped in Ray
        nodes = [str(node["NodeID"]) for node in list_nodes() if node["Alive"]]
        _check_nodes(nodes)
        return len(nodes)

    def _job(self, nodes: int) -> Iterator[list[str]]:
        """Results as the nodes send them, block by block."""
        import ray.data

        # Ray Data warns of settings of its own; where warnings are errors that would end the job.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="ray")
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = [{"request": encode_request(one)} for one in self._wanted.values()]
        target = self._target(nodes)
        # A node has about twice as many requests as it asks at once: what a killed run asks again.
        share = math.ceil(2 * target.concurrency / _BATCHES_AT_ONCE)
        size = min(_MOST_IN_BATCH, share, math.ceil(len(rows) / (nodes * _BATCHES_AT_ONCE)))
        data = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / size))
        results = data.map_batches(
            AskBatch,
            fn_constructor_args=(target,),
            batch_size=None,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(
                size=nodes,
                max_tasks_in_flight_per_actor=_BATCHES_AT_ONCE,
                max_concurrent_calls_per_actor=_BATCHES_AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=0,  # it waits for answers, and must find room on what is left of a cluster
        )
        for batch in results.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            table: pa.Table = batch
            yield table.column("answered").to_pylist()

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            import ray

            ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that something listens there; Ray itself takes minutes to give up.

    Raises:
        InfrastructureError: nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # Ray finds such a cluster, or says at once that there is none
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InfrastructureError(
            f"no Ray cluster answers at {address}: {error}", setting="ray"
        ) from None


def _check_nodes(nodes: Sequence[str]) -> None:
    """See that every node has this version of this package.

    Raises:
        InfrastructureError: one has not, or does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = _version_here()
    asked = {
        node: ray.remote(_version_here)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        .remote()
        for node in nodes
    }
    for node, answer in asked.items():
        try:
            found: Any = ray.get(answer, timeout=_CHECK_SECONDS)
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            raise InfrastructureError(
                f"node {node[:12]} cannot ask: {said}; every node needs pytest-pbias {here}",
                setting="ray",
            ) from None
        if found != here:
            raise InfrastructureError(
                f"node {node[:12]} has pytest-pbias {found}, this is {here}: "
                "install the same version on every node",
                setting="ray",
            )


def _version_here() -> str:
    """Runs on a node: the version there, after what asking needs has been loaded."""
    return version("pytest-pbias")
