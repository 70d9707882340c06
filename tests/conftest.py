"""Fixtures of several folders of tests: an endpoint that judges. Properties have no deadline."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pytest_pbias.grading.judges import JudgeModel
from pytest_pbias.models.process import ServerProcess

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

SERVER = Path(__file__).parent / "grading" / "judges" / "judgeserver.py"


@dataclass
class Referee:
    """A running judgeserver.py."""

    url: str
    log: Path
    process: ServerProcess

    def bodies(self) -> list[dict[str, Any]]:
        """The requests that have arrived."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]


@pytest.fixture
def referee(tmp_path: Path) -> Iterator[Callable[..., Referee]]:
    started: list[ServerProcess] = []

    def start(**config: Any) -> Referee:
        log = tmp_path / f"asked-{len(started)}.jsonl"
        command = [sys.executable, str(SERVER), json.dumps({"log": str(log)} | config)]
        process = ServerProcess(command, log=tmp_path / f"referee-{len(started)}.log")
        process.start()
        started.append(process)
        return Referee(process.wait_ready(r"listening on (\S+)", 30)[1] + "/v1", log, process)

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def ask_at(tmp_path: Path) -> Callable[..., JudgeModel]:
    def make(url: str, **options: Any) -> JudgeModel:
        return JudgeModel(tmp_path / "store", model="referee", base_url=url, **options)

    return make
