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
    fixed: bool = False  # where the test chose, or by TLS

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"{self.base}/v1"

    def connect(self, **options: Any) -> Callable[[], Endpoint]:
        return lambda: Endpoint(self.url, "tiny", "EMPTY", **options)

    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests that have arrived."""
        return [one["body"] for one in self.seen() if one["path"].endswith("/chat/completions")]

    def seen(self) -> list[dict[str, Any]]:
        """All requests: ``t`` (when), ``method``, ``path``, ``peer``, ``headers`` and ``body``."""
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
        """Change a part of its configuration."""
        self._post("config", config)

    def reset(self, log: Path, config: dict[str, Any]) -> None:
        """Make it a new server, with other files and figures."""
        self.log = log
        self._post("reset", config | {"log": str(log)})

    def _post(self, what: str, config: dict[str, Any]) -> None:
        data = json.dumps(config).encode()
        urllib.request.urlopen(f"{self.base}/{what}", data, timeout=5).close()

    def pid(self) -> int:
        """The process that answers; it is a child of the one that guards it."""
        return int(self.stats()["pid"])

    def stop(self) -> None:
        self.process.stop()


class FakeServers:
    """Servers started so far; those that a test is done with serve the next one, made new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[FakeServer] = []
        self._idle: list[FakeServer] = []

    def take(self, log: Path, **config: Any) -> FakeServer:
        """A server of this configuration that logs what it is asked to ``log``."""
        if self._idle and not {"port", "tls"} & set(config):
            server = self._idle.pop()
            server.reset(log, config)
            return server
        command = [sys.executable, "-m", "tests.fakes.openai_server"]
        process = ServerProcess(
            [*command, json.dumps(config | {"log": str(log)})],
            log=self._folder / f"fake-{len(self._all)}.log",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        process.start()
        base = process.wait_ready(r"listening on (\S+)", 30)[1]
        server = FakeServer(process, base, log, fixed=bool({"port", "tls"} & set(config)))
        self._all.append(server)
        return server

    def give_back(self, server: FakeServer) -> None:
        """Keep a server for the next test, if it is alive and at an address of its own."""
        if server.fixed or not server.process.running():
            server.stop()
            return
        try:
            server.reset(self._folder / "none.jsonl", {})
        except OSError:
            server.stop()
        else:
            self._idle.append(server)

    def stop(self) -> None:
        for server in self._all:
            server.stop()
