"""The Batch API against a real server of it, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting import Collector, Store
from pytest_pbias.collecting.batching import BatchEngine
from pytest_pbias.models.batches import BatchEndpoint
from pytest_pbias.models.process import ServerProcess

SERVER = Path(__file__).with_name("batchserver.py")


class Batches:
    def __init__(self, url: str) -> None:
        self.url = f"{url}/v1"
        self._stats = f"{url}/stats"

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._stats) as answer:
            result: dict[str, Any] = json.load(answer)
        return result


@pytest.fixture
def batches(tmp_path: Path) -> Iterator[Callable[..., Batches]]:
    started: list[ServerProcess] = []

    def start(**config: Any) -> Batches:
        log = tmp_path / f"batches-{len(started)}.log"
        process = ServerProcess([sys.executable, str(SERVER), json.dumps(config)], log=log)
        process.start()
        started.append(process)
        return Batches(process.wait_ready(r"listening on (\S+)", 30)[1])

    yield start
    for process in started:
        process.stop()


_started: list[Collector] = []


@pytest.fixture(autouse=True)
def stop_collectors(store: Store) -> Iterator[None]:
    """Stop what a test started before its store is closed under it."""
    yield
    while _started:
        _started.pop().stop()


def _collector(store: Store, requests: Any, server: Batches, **options: Any) -> Collector:
    connect = partial(BatchEndpoint, server.url, "tiny", "key-of-mine")

    def engine(owner: str, settle: Any) -> BatchEngine:
        settings = {"name": "tiny", "poll_seconds": 0.05, **options}
        return BatchEngine(store, owner, requests, connect, settle, **settings)

    collector = Collector.with_engine(store, engine, total=len(requests))
    _started.append(collector)
    collector.start()
    return collector


def test_a_batch_is_submitted_polled_and_stored(
    batches: Callable[..., Batches], store: Store, make_requests: Any
) -> None:
    server = batches(seconds=0.3, broken_polls=2)
    requests = make_requests(50)
    keys = [request.key for request in requests]
    collector = _collector(store, requests, server)
    assert collector.wait(keys, timeout=30) == {}
    found = store.get_many(keys)
    for request in requests:
        assert found[request.key].text == f"echo: {request.messages[-1]['content']}"
    stats = server.stats()
    assert sorted(stats["submitted"]) == sorted(keys)
    collector.stop()
    assert collector.progress().prompt_tokens == 250
    # A second run asks nothing.
    assert _collector(store, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 1


def test_what_a_batch_did_not_answer_failed_and_is_asked_again(
    batches: Callable[..., Batches], store: Store, make_requests: Any
) -> None:
    server = batches(refuse=0.1, expire=0.1, state="expired")
    requests = make_requests(100)
    keys = [request.key for request in requests]
    failed = _collector(store, requests, server).wait(keys, timeout=30)
    assert 5 < len(failed) < 40
    reasons = {failure.reason.split(":")[0] for failure in failed.values()}
    assert any("refused in the batch (400)" in reason for reason in reasons)
    assert "the batch expired without an answer to this request" in reasons
    assert store.missing(keys) == [key for key in keys if key in failed]
    again = _collector(store, requests, server).wait(keys, timeout=30)
    assert again.keys() == failed.keys()
    assert len(server.stats()["submitted"]) == 100 + len(failed)


def test_a_refused_batch_is_one_reason(
    batches: Callable[..., Batches], store: Store, make_requests: Any
) -> None:
    server = batches(fail=True)
    requests = make_requests(5)
    failed = _collector(store, requests, server).wait([r.key for r in requests], timeout=30)
    assert {failure.reason for failure in failed.values()} == {
        "the batch failed without an answer to this request: line 3 is not valid"
    }


def test_a_stopped_run_leaves_its_batch_and_the_next_one_fetches_it(
    batches: Callable[..., Batches], store: Store, make_requests: Any
) -> None:
    server = batches(seconds=1.5)
    requests = make_requests(20)
    keys = [request.key for request in requests]
    first = _collector(store, requests, server)
    end = time.monotonic() + 20
    while not server.stats()["polls"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    first.stop()
    reasons = {failure.reason for failure in first.wait(keys).values()}
    assert reasons == {"stopped; 1 batches go on at the provider: run again to fetch their answers"}
    assert _collector(store, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 1


def test_a_batch_whose_id_was_never_written_down_is_found_again(
    batches: Callable[..., Batches], store: Store, make_requests: Any
) -> None:
    server = batches(seconds=0.2)
    requests = make_requests(10)
    keys = [request.key for request in requests]
    assert _collector(store, requests, server).wait(keys, timeout=30) == {}
    fresh = Store(store.path.with_name("other.sqlite"))
    assert _collector(fresh, requests, server).wait(keys, timeout=30) == {}
    assert server.stats()["batches"] == 1
    assert fresh.count() == 10


@pytest.mark.slow
def test_a_killed_session_fetches_what_it_submitted(
    batches: Callable[..., Batches], tmp_path: Path
) -> None:
    from pytest_pbias.models.embedded import data_dir

    server = batches(seconds=8)
    tmp_path.joinpath("test_suite.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.pbias(tasks=['gsm8k'], identities=['a man', 'a woman'])\n"
        "def test_it(cell):\n    assert cell.outcomes.shape == (20, 1)\n"
    )
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--pbias-model=tiny", "--pbias-batch"),
        f"--pbias-base-url={server.url}",
        f"--pbias-data-dir={data_dir()}",
        *("--pbias-limit=20", "--pbias-placement=system", "--pbias-batch-poll=0.2"),
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not server.stats()["polls"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no answer can be read" in done.stdout or done.returncode == 0, done.stdout
    assert Store(tmp_path / ".pbias" / "responses.sqlite").count() == 60
    assert server.stats()["batches"] == 1
