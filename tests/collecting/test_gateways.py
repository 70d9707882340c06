"""A collector before a real HTTP server that answers as gateways and reasoning models do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from pytest_pbias.collecting import Collector, Store
from pytest_pbias.collecting.limits import Breaker
from pytest_pbias.models.chat import ChatRequest, Sampling
from pytest_pbias.models.client import Endpoint
from tests.models.httpserver import GOOD, KEY, serving


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


def test_an_answer_without_text_is_tried_again_and_every_try_counts(store: Store) -> None:
    seen: list[object] = []

    async def chat(request: web.Request) -> web.Response:
        seen.append(await request.json())
        cut_off = {"message": {"content": None}, "finish_reason": "length"}
        usage = {"prompt_tokens": 50, "completion_tokens": 512}
        return web.json_response({"choices": [cut_off], "usage": usage})

    def budget(prompt: int, completion: int) -> str | None:
        return "the budget is spent" if prompt + completion > 1000 else None

    wanted = _requests(40)
    with serving(chat) as url:
        collector = Collector(
            store, wanted, lambda: Endpoint(url, "m", KEY), concurrency=2, budget=budget
        )
        collector.start()
        failures = collector.wait([one.key for one in wanted], timeout=60)
        collector.stop()
    assert collector.end_reason == "the budget is spent"
    assert 2 <= len(seen) <= 3  # the second goes beyond the budget, another may be in flight
    assert collector.progress().prompt_tokens == 50 * len(seen)
    assert collector.progress().completion_tokens == 512 * len(seen)
    assert {failure.reason for failure in failures.values()} == {"the budget is spent"}
    assert len(failures) == 40


def test_a_404_amid_good_answers_is_tried_again(store: Store) -> None:
    count = 0

    async def chat(_request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count in (30, 60):
            return web.Response(status=404, text="no healthy upstream")
        return web.json_response(GOOD)

    wanted = _requests(100)
    with serving(chat) as url:
        collector = Collector(store, wanted, lambda: Endpoint(url, "m", KEY))
        collector.start()
        assert collector.wait([one.key for one in wanted], timeout=60) == {}
        collector.stop()
    assert count == 102


def test_an_announced_wait_is_not_death(store: Store) -> None:
    ready = time.monotonic() + 3.0

    async def chat(_request: web.Request) -> web.Response:
        if time.monotonic() < ready:
            return web.Response(status=503, headers={"Retry-After": "3"})
        return web.json_response(GOOD)

    wanted = _requests(20)
    with serving(chat) as url:
        collector = Collector(store, wanted, lambda: Endpoint(url, "m", KEY), breaker_seconds=1.5)
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
