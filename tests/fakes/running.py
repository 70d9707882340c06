"""Fake servers as tests see them: started as processes of their own, asked what has happened."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.process import ServerProcess

ROOT = Path(__file__).parents[2]


@dataclass
class FakeServer:
    """A running ``openai_server.py``."""

    process: ServerProcess
    base: str
    log: Path

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"{self.base}/v1"

    def connect(self, **options: Any) -> Callable[[], Endpoint]:
        return lambda: Endpoint(self.url, "tiny", "EMPTY", **options)

    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests that have arrived, with ``t``, ``auth`` and ``enc``."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base}/stats") as answer:
            result: dict[str, Any] = json.load(answer)
        return result

    def requests(self) -> int:
        """How many chat requests have arrived."""
        return int(self.stats()["requests"])

    def await_stat(self, name: str, least: int = 1) -> None:
        """Return when the server has counted so many."""
        end = time.monotonic() + 30
        while self.stats()[name] < least:
            assert time.monotonic() < end, self.stats()
            time.sleep(0.02)

    def configure(self, **config: Any) -> None:
        data = json.dumps(config).encode()
        urllib.request.urlopen(f"{self.base}/config", data).close()

    def stop(self) -> None:
        self.process.stop()


def start_fake(folder: Path, name: str = "fake", **config: Any) -> FakeServer:
    """Start a server; its log files lie in ``folder``. The caller stops it."""
    log = folder / f"{name}-asked.jsonl"
    command = [sys.executable, "-m", "tests.fakes.openai_server"]
    config = {"log": str(log)} | config
    process = ServerProcess(
        [*command, json.dumps(config)],
        log=folder / f"{name}.log",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    process.start()
    return FakeServer(process, process.wait_ready(r"listening on (\S+)", 30)[1], log)
