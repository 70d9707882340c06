"""Several endpoints of one model: real servers, one of them slow, hung, wrong, or killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.balance import Balanced
from pytest_pbias.models.chat import EndpointError, Response
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.negotiation import check_served_model, open_endpoint
from tests.fakes.running import FakeServer
from tests.models.httpserver import chat_request, deaf_server

DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture
def serve(fake_server: Callable[..., FakeServer]) -> Callable[..., str]:
    """Start a fake server; its base URL."""
    return lambda **config: fake_server(**config).url


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as answer:
        result: dict[str, Any] = json.load(answer)
    return result


def ask_all(
    urls: list[str],
    n: int,
    *,
    in_flight: int = 16,
    timeout: float = 10.0,
    during: Callable[[int], None] = lambda done: None,
) -> list[Response | EndpointError]:
    """Ask ``n`` questions of the balanced endpoints; ``during`` is told how many are done."""

    async def main() -> list[Response | EndpointError]:
        balanced = Balanced([Endpoint(url, "tiny", "EMPTY", timeout=timeout) for url in urls])
        room = asyncio.Semaphore(in_flight)
        done = 0

        async def one(number: int) -> Response | EndpointError:
            nonlocal done
            async with room:
                try:
                    return await balanced.ask(chat_request(f"q {number}"))
                except EndpointError as error:
                    return error
                finally:
                    done += 1
                    during(done)

        try:
            return await asyncio.gather(*map(one, range(n)))
        finally:
            await balanced.aclose()

    return asyncio.run(main())


def texts(results: list[Response | EndpointError]) -> list[str]:
    return [result.text if isinstance(result, Response) else result.reason for result in results]


def test_an_endpoint_that_cannot_be_connected_to_passes_its_requests_on(
    serve: Callable[..., str],
) -> None:
    with deaf_server() as deaf:
        replies = ask_all([deaf, serve()], 4, in_flight=1, timeout=1.0)
    assert [type(one) for one in replies] == [Response] * 4


def test_the_faster_endpoint_gets_more(serve: Callable[..., str]) -> None:
    fast, slow = serve(latency=0.01), serve(latency=0.2)
    results = ask_all([slow, fast], 300)
    assert texts(results) == [f"answer to q {number}" for number in range(300)]
    counts = {url: stats(url)["requests"] for url in (fast, slow)}
    assert counts[fast] > 2 * counts[slow] > 0
    assert stats(slow)["most_in_flight"] <= 16 // 2 + 1


def test_one_endpoint_is_killed_and_the_other_answers_all(serve: Callable[..., str]) -> None:
    killed, other = serve(latency=0.05), serve(latency=0.05)
    pid = stats(killed)["pid"]

    def kill(done: int) -> None:
        if done == 40:
            os.kill(pid, signal.SIGKILL)

    results = ask_all([killed, other], 200, during=kill)
    assert texts(results) == [f"answer to q {number}" for number in range(200)]
    assert stats(other)["requests"] >= 160


def test_a_hung_endpoint_is_asked_by_one_request_at_a_time(serve: Callable[..., str]) -> None:
    hung = serve(faults={"hang": 1.0}, faulty_attempts=None)
    fine = serve(latency=0.02)
    start = time.monotonic()
    results = ask_all([hung, fine], 200, in_flight=8, timeout=0.5)
    lost = [result for result in results if isinstance(result, EndpointError)]
    assert {error.kind for error in lost} == {"timeout"}
    # At first half of those in flight; then one request after each rest of 0.5, 1, 2 ... s.
    assert len(lost) <= 4 + 1 + (time.monotonic() - start) / 0.5


def test_an_endpoint_that_says_nothing_at_once_gets_few(serve: Callable[..., str]) -> None:
    """It has always the fewest outstanding, and would get nearly everything."""
    void = {"body": {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}}
    empty = serve(faults={"void": 1.0}, faulty_attempts=None, replies={"void": void})
    fine = serve(latency=0.02)
    start = time.monotonic()
    results = ask_all([empty, fine], 200, in_flight=8)
    lost = [result for result in results if isinstance(result, EndpointError)]
    assert {error.kind for error in lost} == {"malformed"}
    assert len(lost) <= 4 + 1 + (time.monotonic() - start) / 0.5


def test_throttled_and_broken_endpoints_are_stood_in_for(serve: Callable[..., str]) -> None:
    bad = [serve(faults={fault: 1.0}, faulty_attempts=None) for fault in ("429", "503", "reset")]
    other_model = serve(models=["large"])
    fine = serve()
    results = ask_all([*bad, other_model, DEAD, fine], 60)
    assert texts(results) == [f"answer to q {number}" for number in range(60)]
    assert stats(other_model)["requests"] <= 16


def test_what_is_said_where_none_answers(serve: Callable[..., str]) -> None:
    throttled = serve(faults={"429": 1.0}, faulty_attempts=None)
    other_model = serve(models=["large"])
    (mixed,) = ask_all([DEAD, throttled, other_model], 1)
    assert isinstance(mixed, EndpointError)
    assert mixed.kind == "throttled"
    (wrong,) = ask_all([other_model, other_model], 1)
    assert isinstance(wrong, EndpointError)
    assert wrong.kind == "fatal"
    refusing = serve(system_role=False, faults={"400": 1.0}, faulty_attempts=None)
    (refused,) = ask_all([refusing, refusing], 1)
    assert isinstance(refused, EndpointError)
    assert refused.kind == "refused"


def test_the_list_of_models_comes_from_any(serve: Callable[..., str]) -> None:
    async def listed(*urls: str) -> list[str] | None:
        balanced = Balanced([Endpoint(url, "tiny", "EMPTY") for url in urls])
        try:
            return await balanced.served_models(2.0)
        finally:
            await balanced.aclose()

    assert asyncio.run(listed(DEAD, serve(models=None), serve())) == ["tiny"]
    assert asyncio.run(listed(DEAD, serve(models=None))) is None
    with pytest.raises(EndpointError):
        asyncio.run(listed(DEAD, DEAD))


def test_several_addresses_of_a_model() -> None:
    spec = resolve_model("m", base_url="http://a:1,http://b:2/v1/, http://a:1/v1")
    assert (spec.base_url, spec.more_urls) == ("http://a:1/v1", ("http://b:2/v1",))
    # The store's answers stay good when endpoints are added.
    assert spec.served_identity == resolve_model("m", base_url="http://a:1").served_identity
    with pytest.raises(ConfigurationError, match="is not an address"):
        resolve_model("m", base_url="http://a:1,,")


def test_each_endpoint_must_serve_the_model(serve: Callable[..., str]) -> None:
    good, other = serve(), serve(models=["large"])
    check_served_model(resolve_model("tiny", base_url=f"{good},{good}"))
    with pytest.raises(ConfigurationError, match=f"{other} does not serve 'tiny'"):
        check_served_model(resolve_model("tiny", base_url=f"{good},{other}"))
    with pytest.raises(InfrastructureError, match=f"nothing answers at {DEAD}"):
        check_served_model(resolve_model("tiny", base_url=f"{good},{DEAD}"))


def test_one_address_is_no_balance() -> None:
    async def kinds() -> tuple[type, type]:
        one = open_endpoint(resolve_model("m", base_url="http://a:1"))
        two = open_endpoint(resolve_model("m", base_url="http://a:1,http://b:1"))
        await one.aclose()
        await two.aclose()
        return type(one), type(two)

    assert asyncio.run(kinds()) == (Endpoint, Balanced)
