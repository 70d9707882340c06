"""A collector before a real HTTP server that answers as gateways and reasoning models do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_pbias.collecting import Collector, Store
from pytest_pbias.collecting.limits import Breaker, RetryPolicy
from pytest_pbias.models.chat import ChatRequest, Sampling
from tests.fakes.running import FakeServer


def _requests(count: int) -> list[ChatRequest]:
    return [
        ChatRequest(f"k{n}", ({"role": "user", "content": str(n)},), Sampling(), 0)
        for n in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def test_an_answer_without_text_is_tried_again_and_every_try_counts(
    store: Store, fake_server: Callable[..., FakeServer]
) -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 512}
    server = fake_server("null", finish_reason="length", usage=usage)

    def budget(prompt: int, completion: int) -> str | None:
        return "the budget is spent" if prompt + completion > 1000 else None

    wanted = _requests(40)
    collector = Collector(store, wanted, server.connect(), concurrency=2, budget=budget)
    collector.start()
    failures = collector.wait([one.key for one in wanted], timeout=60)
    collector.stop()
    seen = server.asked()
    assert collector.end_reason == "the budget is spent"
    assert 2 <= len(seen) <= 3  # the second goes beyond the budget, another may be in flight
    assert collector.progress().prompt_tokens == 50 * len(seen)
    assert collector.progress().completion_tokens == 512 * len(seen)
    assert {failure.reason for failure in failures.values()} == {"the budget is spent"}
    assert len(failures) == 40


def test_a_404_amid_good_answers_is_tried_again(
    store: Store, fake_server: Callable[..., FakeServer]
) -> None:
    lost = {"body": "no healthy upstream", "status": 404}
    server = fake_server(turns=[lost if n in (30, 60) else None for n in range(1, 61)])
    wanted = _requests(100)
    collector = Collector(store, wanted, server.connect())
    collector.start()
    assert collector.wait([one.key for one in wanted], timeout=60) == {}
    collector.stop()
    assert server.requests() == 102


def test_an_announced_wait_is_not_death(
    store: Store, fake_server: Callable[..., FakeServer]
) -> None:
    server = fake_server("loading", loading_seconds=3, retry_after="3")
    wanted = _requests(20)
    collector = Collector(store, wanted, server.connect(), breaker_seconds=1.5)
    collector.start()
    assert collector.wait([one.key for one in wanted], timeout=60) == {}
    collector.stop()


def test_the_breaker_counts_from_the_end_of_an_announced_wait() -> None:
    breaker = Breaker(20.0)
    for _ in range(5):
        breaker.failure(0.0, "busy", 25.0)
    assert breaker.verdict(44.0) is None
    assert breaker.verdict(45.0) is not None
    breaker.failure(46.0, "busy")
    assert breaker.verdict(46.0) is not None


@pytest.mark.slow
def test_what_always_fails_leaves_no_other_question_unasked(
    store: Store, fake_server: Callable[..., FakeServer]
) -> None:
    faults = {"hang": 0.1, "429-retry-after": 0.05}
    server = fake_server(faults=faults, faulty_attempts=None, asked_wait="0.3")
    wanted = _requests(150)
    policy = RetryPolicy(attempts=4, total=60.0, first=0.1, longest=0.2)
    collector = Collector(
        store,
        wanted,
        server.connect(timeout=0.3),
        concurrency=4,
        policy=policy,
        breaker_seconds=5.0,
    )
    collector.start()
    failed = collector.wait([one.key for one in wanted], timeout=120)
    collector.stop(0.1)
    never = [one for one in failed.values() if one.attempts == 0]
    assert store.count() == 150 - len(failed)
    assert len(failed) < 150 * (sum(faults.values()) + 0.1)
    assert server.stats()["different"] == 150, (len(never), collector.end_reason)


@pytest.mark.parametrize("dies", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_always_fails_in_a_round_leaves_no_later_one_unasked(
    store: Store, fake_server: Callable[..., FakeServer], dies: bool
) -> None:
    server = fake_server(faults={"hang": 0.1}, faulty_attempts=None)
    rounds = [_requests(150)[100:]]
    wanted = _requests(100)

    def more() -> list[ChatRequest] | None:
        if dies and rounds:
            server.configure(faults={"hang": 1.0})
        return rounds.pop() if rounds else None

    collector = Collector(
        store,
        wanted,
        server.connect(timeout=0.5),
        # Those that hang are tried for longer than an endpoint may be silent.
        policy=RetryPolicy(attempts=50, total=300.0, first=0.5, longest=1.0),
        breaker_seconds=3.0,
        next_round=more,
    )
    collector.start()
    failed = collector.wait([one.key for one in _requests(150)], timeout=120)
    collector.stop(0.1)
    assert store.count() == 150 - len(failed)
    assert all("no answer within 0.5 s" in one.reason for one in failed.values())
    if dies:
        assert "no request was answered for 3 s" in (collector.end_reason or "")
        assert 50 <= len(failed) < 80
    else:
        assert 0 < len(failed) < 40
        assert server.stats()["different"] == 150


def test_a_slow_server_that_takes_many_at_once_is_given_many(
    store: Store, fake_server: Callable[..., FakeServer]
) -> None:
    server = fake_server(latency=1.0)
    wanted = _requests(8 + 16 + 32 + 64)  # doubled after each answer's time
    collector = Collector(store, wanted, server.connect(concurrency=64), concurrency=64)
    collector.start()
    assert collector.wait([one.key for one in wanted], timeout=60) == {}
    collector.stop(0.1)
    assert server.stats()["most_in_flight"] == 64
