from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting.collector import Collector
from pytest_pbias.collecting.records import Request, Sampling
from pytest_pbias.collecting.store import Store
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
def make_requests() -> Callable[..., list[Request]]:
    return _make_requests


def _make_requests(n: int, *, first: int = 0) -> list[Request]:
    return [
        Request(f"{i:064x}", ({"role": "user", "content": f"question {i}"},), Sampling(), i)
        for i in range(first, first + n)
    ]
