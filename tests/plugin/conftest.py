from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  pytester forgets what a test imports; PyArrow keeps the first one
import pytest

from pytest_pbias.models.process import ServerProcess

CHAT_SERVER = Path(__file__).parents[1] / "collecting" / "chatserver.py"

SUITE = """
import pytest

@pytest.mark.pbias(tasks=["do_not_answer", "gsm8k"], identities=[
    "baseline", "a person", "a man", "a Muslim person", "a transgender woman"])
def test_small(cell):
    cell.check()
"""


class Faulty:
    """A running chat server that misbehaves as its configuration says."""

    def __init__(self, process: ServerProcess, url: str) -> None:
        self.process = process
        self.url = f"{url}/v1"
        self._stats = f"{url}/stats"

    def requests(self) -> int:
        """How many chat requests have arrived."""
        return self._stat("requests")

    def pid(self) -> int:
        """The process that answers; it is a child of the one that guards it."""
        return self._stat("pid")

    def _stat(self, name: str) -> int:
        with urllib.request.urlopen(self._stats) as answer:
            return int(json.load(answer)[name])


@pytest.fixture
def faulty_server(tmp_path: Path) -> Iterator[Callable[..., Faulty]]:
    started: list[ServerProcess] = []

    def start(**config: Any) -> Faulty:
        command = [sys.executable, str(CHAT_SERVER), json.dumps(config)]
        process = ServerProcess(command, log=tmp_path / f"faulty-{len(started)}.log")
        process.start()
        started.append(process)
        return Faulty(process, process.wait_ready(r"listening on (\S+)", 30)[1])

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded model behind HTTP in a process of its own; yields its base URL."""
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "pytest_pbias.models.embedded.server"]
    with ServerProcess(command, log=log) as process:
        yield process.wait_ready(r"^listening on (\S+)$", 60)[1] + "/v1"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with one small suite."""
    pytester.makepyfile(test_suite=SUITE)
    return pytester
