"""A stop ends collecting in batches at once, and starts nothing more."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pytest_pbias.collecting import Collector, Store, collector
from pytest_pbias.collecting import batch as batching
from pytest_pbias.collecting.batch import BatchEngine


def _keys(requests: Any) -> list[str]:
    return [request.key for request in requests]


def test_a_stop_does_not_wait_for_an_answer_about_a_batch(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600, hang_polls=True)
    requests = make_requests(5)
    running = collect_batch(store, requests, server)
    server.await_stat("polls")
    running.stop(grace=60)
    assert not running._thread.is_alive()
    reasons = {failure.reason for failure in running.wait(_keys(requests), timeout=1).values()}
    assert reasons == {"stopped; 1 batch goes on at the provider: run again to fetch their answers"}


def test_a_stop_while_requests_are_uploaded_submits_nothing(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(upload_seconds=2)
    requests = make_requests(5)
    running = collect_batch(store, requests, server)
    server.await_stat("uploads")
    running.stop(grace=60)
    time.sleep(2.5)
    assert server.stats()["batches"] == 0
    server.configure(batch={"upload_seconds": 0})
    assert collect_batch(store, requests, server).wait(_keys(requests), timeout=30) == {}
    assert len(server.stats()["submitted"]) == 5


@pytest.mark.parametrize("grace", [30, 0])
def test_a_stop_while_batches_are_started_starts_no_further_one(
    grace: int,
    batches: Any,
    store: Store,
    make_requests: Any,
    collect_batch: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_MOST_REQUESTS", 10)
    server = batches(create_seconds=1)
    requests = make_requests(40)
    running = collect_batch(store, requests, server)
    server.await_stat("batches", 2)
    running.stop(grace)
    time.sleep(1.5)
    assert server.stats()["batches"] == 2
    server.configure(batch={"create_seconds": 0})
    assert collect_batch(store, requests, server).wait(_keys(requests), timeout=30) == {}
    assert sorted(server.stats()["submitted"]) == _keys(requests)


def test_nobody_waits_for_a_collector_that_does_not_end(
    store: Store, make_requests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "_END_SECONDS", 0.2)
    requests = make_requests(3)
    connecting, end = threading.Event(), threading.Event()

    def connect() -> Any:
        connecting.set()
        end.wait(60)
        raise AssertionError("stopped before")

    stuck = Collector.with_engine(
        store,
        lambda owner, settle: BatchEngine(store, owner, requests, connect, settle, name="tiny"),
        total=3,
    )
    stuck.start()
    try:
        assert connecting.wait(30)
        stuck.stop(grace=0)
        failed = stuck.wait(_keys(requests), timeout=1)
        assert len(failed) == 3
        assert store.get_collectors()[stuck.owner][0] == "stopped"
    finally:
        end.set()
        stuck._thread.join(30)
