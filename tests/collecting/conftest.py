from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting.batch import BatchEngine
from pytest_pbias.collecting.collector import Collector
from pytest_pbias.collecting.store import Store
from pytest_pbias.models.batches import BatchEndpoint
from pytest_pbias.models.chat import ChatRequest, Sampling
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.process import ServerProcess

SERVER = Path(__file__).with_name("chatserver.py")


@dataclass
class Chat:
    """A running chatserver.py."""

    url: str
    process: ServerProcess

    def connect(self, **options: Any) -> Callable[[], Endpoint]:
        return lambda: Endpoint(f"{self.url}/v1", "tiny", "EMPTY", **options)

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/stats") as answer:
            result: dict[str, Any] = json.load(answer)
        return result


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    started: list[ServerProcess] = []

    def start(**config: Any) -> Chat:
        log = tmp_path / f"server-{len(started)}.log"
        process = ServerProcess([sys.executable, str(SERVER), json.dumps(config)], log=log)
        process.start()
        started.append(process)
        return Chat(process.wait_ready(r"listening on (\S+)", 20)[1], process)

    yield start
    for process in started:
        process.stop()


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


BATCH_SERVER = Path(__file__).with_name("batchserver.py")


@dataclass
class Batches:
    """A running batchserver.py."""

    base: str

    @property
    def url(self) -> str:
        return f"{self.base}/v1"

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base}/stats") as answer:
            result: dict[str, Any] = json.load(answer)
        return result

    def configure(self, **config: Any) -> None:
        data = json.dumps(config).encode()
        urllib.request.urlopen(f"{self.base}/config", data).close()

    def await_stat(self, name: str, least: int = 1) -> None:
        """Return when the server has counted so many."""
        end = time.monotonic() + 30
        while self.stats()[name] < least:
            assert time.monotonic() < end, self.stats()
            time.sleep(0.02)


@pytest.fixture
def batches(tmp_path: Path) -> Iterator[Callable[..., Batches]]:
    started: list[ServerProcess] = []

    def start(**config: Any) -> Batches:
        log = tmp_path / f"batches-{len(started)}.log"
        process = ServerProcess([sys.executable, str(BATCH_SERVER), json.dumps(config)], log=log)
        process.start()
        started.append(process)
        return Batches(process.wait_ready(r"listening on (\S+)", 30)[1])

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def collect_batch(store: Store, batches: Any) -> Iterator[Callable[..., Collector]]:
    """Starts collectors in batches; stopped before the store is closed and the servers end."""
    started: list[Collector] = []

    def start(store: Store, requests: Any, server: Batches, **options: Any) -> Collector:
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
