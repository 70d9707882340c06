from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from pytest_pbias.collecting.records import Failure
from pytest_pbias.collecting.store import Store
from pytest_pbias.collecting.waiting import owner_alive, store_wait, this_owner
from pytest_pbias.models.chat import Response

SLEEPER = """
    import time
    from pytest_pbias.collecting.waiting import this_owner
    print(this_owner(), flush=True)
    time.sleep(60)
"""


def start_sleeper() -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLEEPER)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def answer(key: str) -> Response:
    return Response(key, "text", "stop", None, None, 0.1)


def test_sees_what_another_process_collects(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    chat = fake_server(latency=0.02, faults={"400": 0.1}, faulty_attempts=None)
    requests = make_requests(200)
    keys = [one.key for one in requests]
    other = Store(store.path)
    collector = collect(requests, chat.connect())
    failed = store_wait(other, keys, owner=collector.owner, timeout=30)
    assert failed == collector.wait(keys)
    assert failed
    assert other.missing(keys) == [key for key in keys if key in failed]
    other.close()


def test_the_end_of_a_run_ends_the_wait_with_its_reason(store: Store) -> None:
    owner = this_owner(99)
    store.put_collector(owner, "running")
    other = Store(store.path)
    results: list[dict[str, Failure]] = []
    thread = threading.Thread(
        target=lambda: results.append(store_wait(other, ["a", "b"], owner=owner, timeout=30))
    )
    thread.start()
    store.put_many([answer("a")])
    store.put_collector(owner, "stopped", "the key was rejected")
    thread.join(20)
    assert results == [{"b": Failure("b", "the key was rejected", 0)}]
    other.close()


def test_a_killed_collector_does_not_leave_others_waiting(store: Store) -> None:
    process, owner = start_sleeper()
    store.put_collector(owner, "running")
    store.put_many([answer("a")])
    assert owner_alive(owner)
    with pytest.raises(TimeoutError, match="1 responses did not arrive"):
        store_wait(store, ["b"], owner=owner, timeout=0.2)
    os.kill(process.pid, signal.SIGKILL)
    start = time.monotonic()
    failed = store_wait(store, ["a", "b"], owner=owner, timeout=30)  # not reaped yet: a zombie
    assert time.monotonic() - start < 20
    assert failed == {"b": Failure("b", "never asked: the collecting process died", 0)}
    process.wait()
    assert not owner_alive(owner)
    assert process.stdout is not None
    process.stdout.close()


def test_a_reused_process_id_is_not_taken_for_the_collector() -> None:
    host, pid, started, number = this_owner().rsplit(":", 3)
    assert owner_alive(f"{host}:{pid}:{started}:{number}")
    assert not owner_alive(f"{host}:{pid}:{int(started) - 1}:{number}")
    assert owner_alive(f"elsewhere:{pid}:1:0")
    assert not owner_alive("nonsense")


def test_a_new_collector_forgets_the_dead_ones(
    fake_server: Any, store: Store, collect: Any, make_requests: Any
) -> None:
    process, dead = start_sleeper()
    process.kill()
    process.communicate()
    store.put_collector(dead, "running")
    store.put_failures(dead, [Failure("x", "lost", 3)])
    chat = fake_server()
    collector = collect(make_requests(1), chat.connect())
    assert set(store.get_collectors()) == {collector.owner}
    assert store.get_failures(dead, ["x"]) == {}
