from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.collecting.asker import estimate_tokens
from pytest_pbias.collecting.limits import RetryPolicy
from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import ConfigurationError, DataError, StoreError
from pytest_pbias.models.chat import ChatRequest, Sampling

# test fixtures: fake_server, store, collect, make_requests (conftest.py)

QUICK = RetryPolicy(attempts=6, total=60.0, first=0.02, longest=0.1)
FAULTS = (
    "429", "429-retry-after", "500", "503", "reset", "reset-after-headers", "hang", "truncated",
    "no-choices", "html", "null", "utf8",
)  # fmt: skip


def keys_of(requests: list[ChatRequest]) -> list[str]:
    return [request.key for request in requests]


def check_answers(store: Store, requests: list[ChatRequest]) -> None:
    found = store.get_many(keys_of(requests))
    assert {key: one.text for key, one in found.items()} == {
        request.key: f"answer to {request.messages[0]['content']}" for request in requests
    }


def test_asks_everything_once_and_nothing_on_a_rerun(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server()
    requests = make_requests(700)
    collector = collect(requests + requests[:50], chat.connect())
    for start in range(0, 700, 100):
        assert collector.wait(keys_of(requests[start : start + 100]), timeout=60) == {}
    check_answers(store, requests)
    collector.stop()
    progress = collector.progress()
    assert (progress.state, progress.done, progress.failed) == ("done", 750, 0)
    assert (progress.prompt_tokens, progress.completion_tokens) == (4900, 2100)
    stats = chat.stats()
    assert (stats["requests"], stats["different"], stats["answered_twice"]) == (700, 700, [])

    def no_server() -> Any:
        raise AssertionError("a run that has everything must not connect")

    again = collect(iter(requests), no_server, total=700)
    assert again.wait(keys_of(requests), timeout=20) == {}
    # What is stored is waited for by nobody: the collector may still be looking it up.
    deadline = time.monotonic() + 20
    while again.progress().state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    again.stop()
    assert (again.progress().cached, again.progress().state) == (700, "done")


def test_requests_are_drawn_as_needed_and_sent_in_order(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    """A grid of any size is never held as a whole, and prompts that share a prefix go together."""
    chat = fake_server(latency=0.005)
    requests = make_requests(4000)
    drawn = ahead = 0
    collector: Any = None

    def stream() -> Any:
        nonlocal drawn, ahead
        for request in requests:
            drawn += 1
            if collector is not None:
                ahead = max(ahead, drawn - collector.progress().done)
            yield request

    collector = collect(stream(), chat.connect(), concurrency=32, total=4000)
    assert collector.wait(keys_of(requests), timeout=120) == {}
    assert drawn == 4000
    assert ahead <= 2 * 512 + 32  # two chunks, and what is in flight
    place = {request.messages[0]["content"]: n for n, request in enumerate(requests)}
    sent = [place[asked["messages"][0]["content"]] for asked in chat.asked()]
    assert max(abs(n - where) for n, where in enumerate(sent)) <= 2 * 32


def test_every_kind_of_fault_is_retried_and_ends_answered(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    # Few hang, because each costs its time-out, which no answer of a busy machine is to reach.
    chat = fake_server(faults=dict.fromkeys(FAULTS, 0.05) | {"hang": 0.005}, seed=3)
    requests = make_requests(4000)
    collector = collect(requests, chat.connect(timeout=12.0), concurrency=128, policy=QUICK)
    assert collector.wait(keys_of(requests), timeout=120) == {}
    check_answers(store, requests)
    stats = chat.stats()
    assert stats["answered_twice"] == []
    assert collector.progress().retries >= stats["requests"] - 4000  # some never got there
    assert stats["requests"] > 6000


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "hang"])
def test_a_lasting_fault_fails_its_requests_only(
    fake_server: Any, store: Store, collect: Any, make_requests: Any, fault: str
) -> None:
    # Throttled requests are tried fifteen times, so the wait that is asked for is short.
    chat = fake_server(faults={fault: 0.1}, faulty_attempts=None, seed=1, asked_wait="0.05")
    requests = make_requests(120)
    policy = RetryPolicy(attempts=3, total=20.0, first=0.01, longest=0.02)
    collector = collect(requests, chat.connect(), policy=policy)
    failed = collector.wait(keys_of(requests), timeout=60)
    assert 2 <= len(failed) <= 30
    assert all(one.attempts >= 3 and "\n" not in one.reason for one in failed.values())
    check_answers(store, [one for one in requests if one.key not in failed])
    assert store.missing(keys_of(requests)) == [one.key for one in requests if one.key in failed]
    collector.stop()
    assert collector.progress().state == "done"


def test_refused_requests_are_not_tried_again(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(faults={"400": 0.1}, faulty_attempts=None)
    requests = make_requests(100)
    failed = collect(requests, chat.connect()).wait(keys_of(requests), timeout=60)
    assert failed
    assert {one.attempts for one in failed.values()} == {1}
    assert chat.stats()["requests"] == 100


def test_a_two_megabyte_answer_is_kept(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(faults={"huge": 0.3})
    requests = make_requests(10)
    assert collect(requests, chat.connect()).wait(keys_of(requests), timeout=60) == {}
    lengths = [len(one.text) for one in store.get_many(keys_of(requests)).values()]
    assert max(lengths) == 2_000_000


def test_rejected_key_ends_the_run_without_showing_a_key(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(key="sk-right-one")
    requests = make_requests(3000)
    collector = collect(requests, chat.connect())
    failed = collector.wait(keys_of(requests), timeout=20)
    assert len(failed) == 3000
    reasons = {one.reason for one in failed.values()}
    assert len(reasons) == 1
    assert "rejected the API key (401)" in reasons.pop()
    assert "EMPTY" not in (collector.end_reason or "")
    assert chat.stats()["requests"] == 0


def test_unknown_model_ends_the_run(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(models=["other"])
    failed = collect(make_requests(50), chat.connect()).wait(["0" * 64], timeout=20)
    assert "404, tiny" in failed["0" * 64].reason


def test_a_dead_endpoint_is_given_up_with_one_reason(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server()
    chat.process.stop()
    requests = make_requests(2000)
    start = time.monotonic()
    collector = collect(requests, chat.connect(), breaker_seconds=2.0)
    failed = collector.wait(keys_of(requests), timeout=30)
    assert time.monotonic() - start < 30
    assert len(failed) == 2000
    assert "no request was answered for" in failed[requests[-1].key].reason
    assert "no request was answered for" in (collector.end_reason or "")


def test_an_endpoint_that_falls_silent_is_given_up(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.02)
    requests = make_requests(3000)
    collector = collect(requests, chat.connect(timeout=300.0), breaker_seconds=2.0)
    collector.wait(keys_of(requests[:50]), timeout=30)
    pid = chat.stats()["pid"]
    os.kill(pid, signal.SIGSTOP)  # connections stay open, and nothing answers
    try:
        failed = collector.wait(keys_of(requests), timeout=30)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "no request was answered for" in failed[requests[-1].key].reason


def test_a_slow_endpoint_is_not_taken_for_a_dead_one(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=4.0)
    requests = make_requests(4)
    collector = collect(requests, chat.connect(timeout=300.0), breaker_seconds=1.0)
    assert collector.wait(keys_of(requests), timeout=30) == {}


def test_an_endless_retry_after_ends_the_run(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(limit=0, retry_after="3600")
    requests = make_requests(100)
    failed = collect(requests, chat.connect()).wait(keys_of(requests), timeout=30)
    assert len(failed) == 100
    assert "requests in a row failed" in failed[requests[-1].key].reason


def test_an_endpoint_that_dies_midway_keeps_what_was_answered(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.02)
    requests = make_requests(5000)
    collector = collect(requests, chat.connect(), concurrency=8, breaker_seconds=1.0)
    collector.wait(keys_of(requests[:100]), timeout=30)
    chat.process.stop()
    failed = collector.wait(keys_of(requests), timeout=30)
    assert failed
    answered = [one for one in requests if one.key not in failed]
    assert len(answered) >= 100
    check_answers(store, answered)


@pytest.mark.slow
def test_a_throttling_endpoint_is_asked_no_more_than_it_takes(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.03, limit=6)
    requests = make_requests(400)
    collector = collect(requests, chat.connect(), concurrency=64, policy=QUICK)
    assert collector.wait(keys_of(requests), timeout=60) == {}
    assert collector.progress().limit < 32
    check_answers(store, requests)


def test_concurrency_rises_to_its_cap_and_not_beyond(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.05)
    requests = make_requests(600)
    collector = collect(requests, chat.connect(concurrency=24), concurrency=24)
    collector.wait(keys_of(requests), timeout=60)
    assert 20 <= chat.stats()["most_in_flight"] <= 24


def test_requests_a_minute_are_capped(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server()
    requests = make_requests(60)
    start = time.monotonic()
    collector = collect(requests, chat.connect(), rpm=1200)
    assert collector.wait(keys_of(requests), timeout=60) == {}
    assert time.monotonic() - start > 1.5  # 60 at 20 a second, the first second's worth at once


def test_stop_finishes_what_is_in_flight(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.3)
    requests = make_requests(5000)
    collector = collect(requests, chat.connect(), concurrency=8)
    collector.wait(keys_of(requests[:1]), timeout=20)
    collector.stop(5.0)
    assert store.count() == chat.stats()["requests"]
    failed = collector.wait(keys_of(requests))
    assert len(failed) == 5000 - store.count()
    assert "collecting was stopped" in failed[requests[-1].key].reason


def test_errors_of_connect_and_of_the_stream_reach_whoever_waits(
    store: Store, collect: Any, make_requests: Any
) -> None:
    def connect() -> Any:
        raise ConfigurationError("no server")

    with pytest.raises(ConfigurationError, match="no server"):
        collect(make_requests(3), connect).wait(["0" * 64], timeout=20)

    def stream() -> Any:
        raise DataError("row 3 is malformed")
        yield

    with pytest.raises(DataError, match="row 3"):
        collect(stream(), connect).wait(["0" * 64], timeout=20)


def test_time_out_of_wait(fake_server: Any, collect: Any, make_requests: Any) -> None:
    chat = fake_server(latency=5)
    requests = make_requests(1)
    with pytest.raises(TimeoutError, match="1 responses"):
        collect(requests, chat.connect()).wait(keys_of(requests), timeout=0.2)


def test_keys_that_were_never_planned_do_not_hang(
    fake_server: Any, collect: Any, make_requests: Any
) -> None:
    chat = fake_server()
    assert isinstance(
        collect(make_requests(5), chat.connect()).wait(["stranger"], timeout=20)["stranger"],
        Failure,
    )


def test_a_store_that_fails_ends_the_run(
    fake_server: Any,
    store: Store,
    collect: Any,
    make_requests: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat = fake_server()

    def full(_responses: Any) -> None:
        raise StoreError("store x: database or disk is full; free disk space")

    monkeypatch.setattr(store, "put_rows", full)  # a full disk, without filling one
    requests = make_requests(200)
    with pytest.raises(StoreError, match="free disk space"):
        collect(requests, chat.connect()).wait(keys_of(requests), timeout=20)


def test_waiting_threads_each_get_their_own(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.01)
    requests = make_requests(300)
    collector = collect(requests, chat.connect())
    results: list[dict[str, Failure]] = []

    def wait(start: int) -> None:
        results.append(collector.wait(keys_of(requests[start : start + 100]), timeout=60))

    threads = [threading.Thread(target=wait, args=(start,)) for start in (200, 100, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [{}, {}, {}]


RUN = """
    import sys
    from pathlib import Path
    from pytest_pbias.collecting.collector import Collector
    from pytest_pbias.models.chat import ChatRequest, Sampling
    from pytest_pbias.collecting.store import Store
    from pytest_pbias.models.client import Endpoint
    url, path, n = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    requests = [
        ChatRequest(f"{i:064x}", ({"role": "user", "content": f"question {i}"},), Sampling(), i)
        for i in range(n)
    ]
    collector = Collector(
        Store(path), requests, lambda: Endpoint(url, "tiny", "EMPTY"), concurrency=16
    )
    collector.start()
    print(collector.owner, flush=True)
    failed = collector.wait([one.key for one in requests], timeout=100)
    collector.stop()
    print(len(failed), flush=True)
"""


def start_run(url: str, path: Path, n: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), url, str(path), str(n)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_kill_minus_nine_loses_only_what_was_in_flight(
    fake_server: Any, store: Store, make_requests: Any
) -> None:
    chat = fake_server(latency=0.01)
    requests = make_requests(2000)
    kills = 0
    for round_number in range(5):
        run = start_run(chat.url, store.path, 2000)
        assert run.stdout is not None
        run.stdout.readline()
        while run.poll() is None and store.count() < 250 * (round_number + 1) + 37:
            time.sleep(0.01)
        run.kill()
        run.wait()
        run.stdout.close()
        kills += 1
        assert store.verify() == 0
    run = start_run(chat.url, store.path, 2000)
    assert run.communicate(timeout=100)[0].splitlines()[-1] == "0"
    check_answers(store, requests)
    assert chat.stats()["requests"] - 2000 <= 16 * kills


def test_two_sessions_on_one_store(fake_server: Any, store: Store, make_requests: Any) -> None:
    chat = fake_server(latency=0.005)
    both = [start_run(chat.url, store.path, 800) for _ in range(2)]
    assert [one.communicate(timeout=100)[0].splitlines()[-1] for one in both] == ["0", "0"]
    check_answers(store, make_requests(800))
    assert store.verify() == 0


def test_tokens_are_estimated_from_text_and_limit() -> None:
    request = ChatRequest(
        "k", ({"role": "user", "content": "x" * 400},), Sampling(max_tokens=10), 0
    )
    assert estimate_tokens(request) == 105
