"""Asks what was planned while tests wait on their own cell."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pytest_pbias.cells.cell import Cell
from pytest_pbias.collecting import Collector, Store, store_wait
from pytest_pbias.collecting.asker import ChatClient
from pytest_pbias.collecting.cost import Spent
from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.plan import RequestSettings, Work
from pytest_pbias.collecting.records import Failure, Progress
from pytest_pbias.collecting.schedule import Schedule
from pytest_pbias.collecting.waiting import store_wait_until
from pytest_pbias.errors import ConfigurationError, InfrastructureError, PbiasError
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.vllm import START_SECONDS, VllmServer
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.plugin.target import (
    as_placement,
    find_out,
    planned_protocol,
    remember_dialect,
    remember_server,
    start_embedded,
    start_vllm,
)
from pytest_pbias.prompts import Placement

_SLOW_SECONDS = 5.0  # of a first question, after which it is said what is waited for
_START_SECONDS = START_SECONDS + 60.0
_EMBEDDED_CONCURRENCY = 96
_RESTART_SECONDS = 900.0  # that a vLLM server which died may take to come back
MakeSchedule = Callable[[RequestSettings, Callable[[], None]], Schedule | None]
"""The rounds under a protocol; the function is called whenever what is asked has changed."""


class LocalCollection:
    """Collects in this process."""

    def __init__(self, protocol: RequestSettings) -> None:
        self.protocol = protocol
        self.collector: Collector | None = None
        self.schedule: Schedule | None = None
        self.server: ServerProcess | VllmServer | None = None
        self._failed: dict[str, Failure] = {}

    def placement(self) -> Placement:
        """Where the identity is stated in this session."""
        return self.protocol.placement

    def max_tokens(self) -> int:
        """The longest answer in this session."""
        return self.protocol.sampling.max_tokens

    def wait(self, keys: Sequence[str], tick: Callable[[Progress], None] | None = None) -> None:
        """Block until every response has arrived or finally failed, ticking the while."""
        if self.collector is not None:
            self._failed |= self.collector.wait(keys, tick=tick)

    def items_asked(self, cell: Cell, tick: Callable[[Progress], None] | None = None) -> int | None:
        """Block until it is known how many items the cell is asked; None: all of them.

        Where asking ended before that, it is as many as were to be asked by then.
        """
        schedule = self.schedule
        if schedule is None:
            return None
        if self.collector is not None:
            self.collector.wait_until(lambda: schedule.reason(cell) is not None, tick)
        return schedule.asked(cell)

    def stops(self) -> dict[str, dict[str, dict[str, str]]]:
        """Why each cell was asked no further, by defense, task and identity; empty: no looks."""
        found: dict[str, dict[str, dict[str, str]]] = {}
        for cell in () if self.schedule is None else self.schedule.cells():
            assert self.schedule is not None
            why = self.schedule.reason(cell) or "interrupted"
            tasks = found.setdefault(cell.defense.name, {})
            tasks.setdefault(cell.task.name, {})[cell.identity.name] = why
        return found

    def failures(self, keys: Iterable[str]) -> dict[str, str]:
        """The reasons of those that failed."""
        return {key: self._failed[key].reason for key in keys if key in self._failed}

    def progress(self) -> Progress | None:
        """How far asking is; None where nothing had to be asked."""
        return None if self.collector is None else self.collector.progress()

    def end_reason(self) -> str | None:
        """Why asking ended before everything was asked, or None."""
        return None if self.collector is None else self.collector.end_reason

    def give_up(self, reason: str) -> None:
        """Ask nothing more: what is missing has failed for ``reason``."""
        if self.collector is not None:
            self.collector.give_up(reason)

    def stop(self) -> None:
        """Stop asking, and the server if this session started one."""
        if self.collector is not None:
            self.collector.stop()
        if self.server is not None:
            self.server.stop()


class RemoteCollection:
    """Waits, in an xdist worker, for what the controller collects."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid
        self._session: dict[str, str] | None = None
        self._failed: dict[str, Failure] = {}

    def _controller(self) -> dict[str, str]:
        """What the controller announced: its collector and the placement."""
        deadline = time.monotonic() + _START_SECONDS
        while self._session is None:
            announced = self._store.get_meta(_meta_key(self._uid))
            if announced is not None:
                self._session = json.loads(announced)
            elif time.monotonic() > deadline:
                raise InfrastructureError("the xdist controller did not start asking")
            else:
                time.sleep(0.05)
        if "error" in self._session:
            raise InfrastructureError(self._session["error"], setting=self._session.get("setting"))
        return self._session

    def placement(self) -> Placement:
        """Where the identity is stated in this session."""
        return as_placement(self._controller()["placement"])

    def max_tokens(self) -> int:
        """The longest answer in this session."""
        return int(self._controller()["max_tokens"])

    def wait(self, keys: Sequence[str], tick: Callable[[Progress], None] | None = None) -> None:
        """Block until every response has arrived or finally failed; the controller ticks."""
        owner = self._controller()["owner"]
        if owner:
            self._failed |= store_wait(self._store, keys, owner=owner)

    def items_asked(self, cell: Cell, tick: Callable[[Progress], None] | None = None) -> int | None:
        """Block until the controller says how many items the cell is asked; None: all of them."""
        session = self._controller()
        if not session["looks"]:
            return None
        name = _cell_name(cell)

        def announced() -> tuple[int, bool]:
            n_items, is_final = json.loads(self._store.get_meta(_looks_key(self._uid)) or "")[name]
            return n_items, is_final

        store_wait_until(self._store, lambda: announced()[1], owner=str(session["owner"]))
        return announced()[0]

    def failures(self, keys: Iterable[str]) -> dict[str, str]:
        """The reasons of those that failed."""
        return {key: self._failed[key].reason for key in keys if key in self._failed}

    def stop(self) -> None:
        """Nothing to stop: the controller asks."""


def cost_so_far(asking: LocalCollection | RemoteCollection | None, settings: Settings) -> Spent:
    """Tokens that this session used, and their list price or what an application says they cost."""
    progress = asking.progress() if isinstance(asking, LocalCollection) else None
    tokens = (0, 0) if progress is None else (progress.prompt_tokens, progress.completion_tokens)
    price, application = settings.spending.price, settings.application
    if price is None and application is not None and application.spent is not None:
        return Spent(*tokens, application.spent, "USD")
    return Spent.at(price, *tokens)


def collect_here(
    settings: Settings,
    store: Store,
    work: Work,
    uid: str,
    say: Callable[[str], None],
    make_schedule: MakeSchedule,
) -> LocalCollection:
    """Start asking what the store lacks, and tell workers of the session ``uid`` about it.

    ``say`` is told how a server that takes long to start is getting on. ``make_schedule`` gives
    the rounds, or None where everything is asked at once.

    Raises:
        PbiasError: the endpoint cannot be used. Workers are told as well.
    """
    try:
        asking = _start(settings, store, work, uid, say, make_schedule)
    except PbiasError as error:
        store.put_meta(_meta_key(uid), json.dumps({"error": str(error), "setting": error.setting}))
        raise
    owner = "" if asking.collector is None else asking.collector.owner
    announced = {
        "owner": owner,
        "placement": asking.placement(),
        "max_tokens": asking.protocol.sampling.max_tokens,
        "looks": "yes" if asking.schedule is not None else "",
    }
    store.put_meta(_meta_key(uid), json.dumps(announced))
    return asking


def _start(
    settings: Settings,
    store: Store,
    work: Work,
    uid: str,
    say: Callable[[str], None],
    make_schedule: MakeSchedule,
) -> LocalCollection:
    spec, spending = settings.model, settings.spending
    protocol = planned_protocol(settings, store)
    asking = LocalCollection(protocol)

    def announce() -> None:
        if asking.schedule is not None:
            _announce(store, uid, asking.schedule)
        if asking.collector is not None:
            asking.collector.look_taken()

    asking.schedule = make_schedule(protocol, announce)
    base_url: str | None = None
    concurrency = settings.concurrency
    first: int | None = None
    policy, patience = RetryPolicy.for_timeout(settings.spending.timeout), 20.0
    missing = (
        work.anything_missing(store, protocol)
        if asking.schedule is None
        else asking.schedule.anything_missing(store)
    )
    if not missing:
        return asking
    application = settings.application
    if application is not None:
        # What an application does again is its own business, unless it says that a fault passes.
        policy = replace(policy, attempts=1)
        return _started(
            asking,
            settings,
            store,
            work,
            protocol,
            lambda: application.open(spending.timeout),
            policy=policy,
        )
    from pytest_pbias.models.negotiation import check_served_model, open_endpoint

    if spec.kind == "embedded":
        # A server of our own batches what it is given and throttles nobody: fill its batches.
        concurrency = first = max(concurrency, _EMBEDDED_CONCURRENCY)
        asking.server, base_url = start_embedded(spec, settings.store_dir / "logs")
    else:
        if spec.kind == "vllm":
            server = start_vllm(settings, work.longest_prompt(protocol), asking.give_up, say)
            asking.server, base_url = server, server.base_url
            remember_server(store, spec, server.facts())
            first = concurrency  # it throttles nobody
            policy, patience = RetryPolicy(attempts=1000, total=_RESTART_SECONDS), _RESTART_SECONDS
        else:
            with said_when_slow(say, f"waiting for an answer of {spec.name}"):
                check_served_model(spec, timeout=spending.timeout)
        with said_when_slow(say, f"waiting for a first answer of {spec.name}"):
            find_out(settings, store, work, base_url)
        protocol = planned_protocol(settings, store)
        if protocol != asking.protocol:
            asking.protocol = protocol
            asking.schedule = make_schedule(protocol, announce)
            announce()  # workers must not go by what was announced of the first schedule
    if spending.batch or settings.ray is not None:
        make = _batch_collector if spending.batch else _ray_collector
        asking.collector = make(settings, store, work, protocol, asking.schedule)
        asking.collector.start()
        return asking
    return _started(
        asking,
        settings,
        store,
        work,
        protocol,
        lambda: open_endpoint(
            spec,
            base_url=base_url,
            concurrency=concurrency,
            timeout=spending.timeout,
            dialect=protocol.dialect,
            learned=lambda dialect: remember_dialect(store, spec, dialect),
        ),
        concurrency=concurrency,
        first_concurrency=first,
        policy=policy,
        breaker_seconds=patience,
    )


def _started(
    asking: LocalCollection,
    settings: Settings,
    store: Store,
    work: Work,
    protocol: RequestSettings,
    connect: Callable[[], ChatClient],
    *,
    policy: RetryPolicy,
    concurrency: int | None = None,
    first_concurrency: int | None = None,
    breaker_seconds: float = 20.0,
) -> LocalCollection:
    """Start asking one after another, in rounds where there is a schedule."""
    schedule, spending = asking.schedule, settings.spending
    asking.collector = Collector(
        store,
        work.requests(protocol) if schedule is None else (),
        connect,
        concurrency=concurrency or settings.concurrency,
        first_concurrency=first_concurrency,
        total=work.total(protocol) if schedule is None else schedule.total,
        next_round=None if schedule is None else schedule.next_round,
        seed=settings.seed,
        policy=policy,
        breaker_seconds=breaker_seconds,
        rpm=spending.rpm,
        tpm=spending.tpm,
        budget=spending.check,
    )
    asking.collector.start()
    return asking


@contextmanager
def said_when_slow(
    say: Callable[[str], None], text: str, seconds: float = _SLOW_SECONDS
) -> Iterator[None]:
    """Say what the block waits for, if it takes long."""
    timer = threading.Timer(seconds, say, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _batch_collector(
    settings: Settings,
    store: Store,
    work: Work,
    protocol: RequestSettings,
    schedule: Schedule | None,
) -> Collector:
    """Collects through the endpoint's Batch API."""
    from pytest_pbias.collecting.batch import BatchEngine
    from pytest_pbias.models.batches import BatchEndpoint

    spec = settings.model
    if spec.base_url is None:
        raise ConfigurationError(f"--pbias-batch: model {spec.name!r} has no endpoint with batches")
    if spec.more_urls:
        raise ConfigurationError("--pbias-batch: give one --pbias-base-url, that of the batches")
    url = spec.base_url

    def connect() -> BatchEndpoint:
        return BatchEndpoint(
            url,
            spec.served_name,
            spec.api_key(),
            timeout=600,
            dialect=protocol.dialect,
            learned=lambda dialect: remember_dialect(store, spec, dialect),
            headers=spec.header_values(),
        )

    return Collector.with_engine(
        store,
        lambda owner, settle: BatchEngine(
            store,
            owner,
            work.requests(protocol) if schedule is None else (),
            connect,
            settle,
            name=spec.served_identity,
            poll_seconds=settings.spending.poll,
            next_round=None if schedule is None else schedule.next_round,
        ),
        total=work.total(protocol) if schedule is None else schedule.total,
    )


def _ray_collector(
    settings: Settings,
    store: Store,
    work: Work,
    protocol: RequestSettings,
    schedule: Schedule | None,
) -> Collector:
    """Collects on the nodes of a Ray cluster, which share the concurrency."""
    from pytest_pbias.collecting.ray.engine import RayEngine
    from pytest_pbias.collecting.ray.node import Target

    spec, spending, address = settings.model, settings.spending, settings.ray
    assert spec.base_url is not None
    assert address is not None
    urls, key, headers = (spec.base_url, *spec.more_urls), spec.api_key(), spec.header_values()

    def target(nodes: int) -> Target:
        return Target(
            urls=urls,
            model=spec.served_name,
            key=key,
            concurrency=max(1, settings.concurrency // nodes),
            timeout=spending.timeout,
            policy=RetryPolicy.for_timeout(settings.spending.timeout),
            seed=settings.seed,
            dialect=protocol.dialect,
            headers=headers,
        )

    return Collector.with_engine(
        store,
        lambda owner, settle: RayEngine(
            store,
            owner,
            work.requests(protocol) if schedule is None else (),
            settle,
            address=address,
            target=target,
            concurrency=settings.concurrency,
            budget=spending.check,
            next_round=None if schedule is None else schedule.next_round,
        ),
        total=work.total(protocol) if schedule is None else schedule.total,
    )


def collect_remotely(store: Store, uid: str) -> RemoteCollection:
    """What a worker waits with."""
    return RemoteCollection(store, uid)


def _meta_key(uid: str) -> str:
    return f"session:{uid}"


def _announce(store: Store, uid: str, schedule: Schedule) -> None:
    """Tell workers how many items each cell is asked, and whether that is final."""
    found = {
        _cell_name(cell): (schedule.asked(cell), schedule.reason(cell) is not None)
        for cell in schedule.cells()
    }
    store.put_meta(_looks_key(uid), json.dumps(found))


def _looks_key(uid: str) -> str:
    return f"looks:{uid}"


def _cell_name(cell: Cell) -> str:
    return "\n".join((cell.defense.name, cell.task.name, cell.identity.name))
