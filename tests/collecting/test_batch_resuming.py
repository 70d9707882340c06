"""What is submitted is fetched once and paid for once, whoever runs next and however it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.waiting import this_owner

SESSION = """
import sys
from functools import partial
from pathlib import Path
from pytest_pbias.collecting import Collector, Store
from pytest_pbias.collecting.batch import BatchEngine
from pytest_pbias.models.chat import ChatRequest, Sampling
from pytest_pbias.models.batches import BatchEndpoint

store, count = Store(Path(sys.argv[1])), int(sys.argv[3])
requests = [
    ChatRequest(f"{i:064x}", ({"role": "user", "content": f"question {i}"},), Sampling(), i)
    for i in range(count)
]
connect = partial(BatchEndpoint, sys.argv[2], "tiny", "EMPTY")
collector = Collector.with_engine(
    store,
    lambda owner, settle: BatchEngine(
        store, owner, requests, connect, settle, name="tiny", poll_seconds=0.05
    ),
    total=count,
)
collector.start()
failed = collector.wait([request.key for request in requests], timeout=60)
print(len(failed))
"""


def _keys(requests: Any) -> list[str]:
    return [request.key for request in requests]


def _stop_once_open(collector: Any, server: Any, batches: int) -> None:
    server.await_stat("batches", batches)
    polls = server.stats()["polls"]
    server.await_stat("polls", polls + 1)
    collector.stop()


def test_other_selections_in_between_do_not_make_a_batch_forgotten(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600)
    everything = make_requests(115)
    _stop_once_open(collect_batch(store, everything[:100], server), server, 1)
    _stop_once_open(collect_batch(store, everything[100:110], server), server, 2)
    collector = collect_batch(store, everything, server)
    server.await_stat("batches", 3)
    server.configure(batch={"done": True})
    assert collector.wait(_keys(everything), timeout=30) == {}
    assert sorted(server.stats()["submitted"]) == sorted(_keys(everything))


def test_a_smaller_selection_keeps_every_answer_of_the_batch(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600)
    requests = make_requests(50)
    _stop_once_open(collect_batch(store, requests, server), server, 1)
    server.configure(batch={"done": True})
    part = collect_batch(store, requests[:20], server)
    assert part.wait(_keys(requests[:20]), timeout=30) == {}
    part.stop()
    assert (part.progress().done, store.count()) == (20, 50)
    assert collect_batch(store, requests, server).wait(_keys(requests), timeout=30) == {}
    assert len(server.stats()["submitted"]) == 50


def test_a_batch_of_other_requests_is_fetched_where_it_is_done(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600)
    requests = make_requests(30)
    _stop_once_open(collect_batch(store, requests[:20], server), server, 1)
    server.configure(batch={"done": True})
    assert collect_batch(store, requests[20:], server).wait(_keys(requests[20:]), timeout=30) == {}
    assert store.count() == 30


def test_sessions_beside_each_other_share_their_batches(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=0.5, create_seconds=0.5)
    requests = make_requests(60)
    command = [sys.executable, "-c", SESSION, str(store.path), server.url, "40"]
    beside = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    server.await_stat("uploads")  # claimed, and not yet a batch
    assert collect_batch(store, requests[20:], server).wait(_keys(requests[20:]), timeout=30) == {}
    assert beside.communicate(timeout=60)[0].split() == ["0"]
    assert store.count() == 60
    assert sorted(server.stats()["submitted"]) == sorted(_keys(requests))


@pytest.mark.parametrize("moment", ["uploads", "batches"])
def test_a_session_killed_while_submitting_is_taken_up(
    moment: str, batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(upload_seconds=5 * (moment == "uploads"), create_seconds=5)
    requests = make_requests(30)
    command = [sys.executable, "-c", SESSION, str(store.path), server.url, "30"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    server.await_stat(moment)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    server.configure(batch={"upload_seconds": 0, "create_seconds": 0})
    # Not the same selection, which would be found by what is in it.
    part = [*requests[:10], *make_requests(5, first=100)]
    assert collect_batch(store, part, server).wait(_keys(part), timeout=30) == {}
    assert collect_batch(store, requests, server).wait(_keys(requests), timeout=30) == {}
    assert len(server.stats()["submitted"]) == 35


@pytest.mark.parametrize(
    "ending",
    [
        {"expire": 1.0, "state": "cancelled"},
        {"expire": 1.0, "state": "expired"},
        {"refuse": 1.0},
        {"fail": True},
        {"forget": ["results"]},
    ],
)
def test_a_batch_that_ended_without_answers_is_submitted_anew(
    ending: dict[str, Any], batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(**ending)
    requests = make_requests(10)
    for submitted in (10, 20):
        failed = collect_batch(store, requests, server).wait(_keys(requests), timeout=30)
        assert len(failed) == 10
        assert len(server.stats()["submitted"]) == submitted
    server.configure(
        batch={"expire": 0, "refuse": 0, "fail": False, "state": "completed", "forget": []}
    )
    assert collect_batch(store, requests, server).wait(_keys(requests), timeout=30) == {}
    assert len(server.stats()["submitted"]) == 30


def test_another_store_leaves_out_a_batch_that_ended_without_answers(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(expire=1.0, state="cancelled")
    requests = make_requests(10)
    assert len(collect_batch(store, requests, server).wait(_keys(requests), timeout=30)) == 10
    server.configure(batch={"expire": 0.0, "state": "completed"})
    fresh = Store(store.path.with_name("other.sqlite"))
    assert collect_batch(fresh, requests, server).wait(_keys(requests), timeout=30) == {}
    assert server.stats()["batches"] == 2


def test_a_batch_the_provider_does_not_know_fails_once_and_is_submitted_anew(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600)
    requests = make_requests(20)
    _stop_once_open(collect_batch(store, requests, server), server, 1)
    server.configure(batch={"forget": ["batch_0"]})
    part = requests[:5]
    failed = collect_batch(store, part, server).wait(_keys(part), timeout=30)
    assert {failure.reason for failure in failed.values()} == {
        "the provider no longer knows the batch batch_0 (404): run again to submit this request "
        "anew"
    }
    assert server.stats()["batches"] == 1
    server.configure(batch={"seconds": 0})
    assert collect_batch(store, part, server).wait(_keys(part), timeout=30) == {}
    assert len(server.stats()["submitted"]) == 25
    # It was the wrong account's key: the rest of that batch is not given up.
    server.configure(batch={"forget": [], "done": True})
    assert collect_batch(store, requests, server).wait(_keys(requests), timeout=30) == {}
    assert len(server.stats()["submitted"]) == 25


def test_a_batch_that_is_unknown_for_a_moment_is_waited_for(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600)
    requests = make_requests(5)
    collector = collect_batch(store, requests, server, poll_seconds=0.5)
    server.await_stat("polls")
    server.configure(batch={"forget": ["batch_0"]})
    server.await_stat("polls", server.stats()["polls"] + 1)
    server.configure(batch={"forget": [], "done": True})
    assert collector.wait(_keys(requests), timeout=30) == {}


def test_open_batches_of_the_first_entries_are_fetched(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches(seconds=3600)
    requests = make_requests(10)
    elsewhere = Store(store.path.with_name("elsewhere.sqlite"))
    _stop_once_open(collect_batch(elsewhere, requests, server), server, 1)
    server.configure(batch={"done": True})
    store.put_meta("batches:tiny", json.dumps({"batch_0": _keys(requests)}))
    part = requests[:4]
    assert collect_batch(store, part, server).wait(_keys(part), timeout=30) == {}
    assert store.count() == 10
    assert server.stats()["batches"] == 1


def test_a_claim_of_another_host_holds_for_an_hour_only(
    batches: Any, store: Store, make_requests: Any, collect_batch: Any
) -> None:
    server = batches()
    requests = make_requests(4)
    other_host = this_owner().replace(":", "-elsewhere:", 1)
    claims = {
        "young": (other_host, time.time() - 60, _keys(requests[:2])),
        "old": (other_host, time.time() - 3700, _keys(requests[2:])),
    }
    more = {"": {"claims": claims, "fruitless": {}}}
    store.put_meta("batches:tiny", json.dumps(more))
    collector = collect_batch(store, requests, server)
    assert collector.wait(_keys(requests[2:]), timeout=30) == {}
    assert sorted(server.stats()["submitted"]) == _keys(requests[2:])
