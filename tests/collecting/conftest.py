from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting.batch import BatchEngine
from pytest_pbias.collecting.collector import Collector
from pytest_pbias.collecting.store import Store
from pytest_pbias.models.batches import BatchEndpoint
from pytest_pbias.models.chat import ChatRequest, Sampling
from tests.fakes.running import FakeServer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "pbias" / "store.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def collect(store: Store) -> Iterator[Callable[..., Collector]]:
    started: list[Collector] = []

    def start(requests: Any, connect: Any, **options: Any) -> Collector:
        collector = Collector(store, requests, connect, **options)
        collector.start()
        started.append(collector)
        return collector

    yield start
    for collector in started:
        collector.stop(0.2)


@pytest.fixture
def make_requests() -> Callable[..., list[ChatRequest]]:
    return _make_requests


def _make_requests(n: int, *, first: int = 0) -> list[ChatRequest]:
    return [
        ChatRequest(f"{i:064x}", ({"role": "user", "content": f"question {i}"},), Sampling(), i)
        for i in range(first, first + n)
    ]


@pytest.fixture
def batches(fake_server: Callable[..., FakeServer]) -> Callable[..., FakeServer]:
    """Start a fake server whose batches behave so: tests/fakes/batches.py."""
    return lambda **config: fake_server(batch=config)


@pytest.fixture
def collect_batch(store: Store, batches: Any) -> Iterator[Callable[..., Collector]]:
    """Starts collectors in batches; stopped before the store is closed and the servers end."""
    started: list[Collector] = []

    def start(store: Store, requests: Any, server: FakeServer, **options: Any) -> Collector:
        connect = partial(BatchEndpoint, server.url, "tiny", "key-of-mine")

        def engine(owner: str, settle: Any) -> BatchEngine:
            settings = {"name": "tiny", "poll_seconds": 0.05, **options}
            return BatchEngine(store, owner, requests, connect, settle, **settings)

        collector = Collector.with_engine(store, engine, total=len(requests))
        started.append(collector)
        collector.start()
        return collector

    yield start
    for collector in started:
        collector.stop()
