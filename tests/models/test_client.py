from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.errors import ConfigurationError, InfrastructureError, PbiasError
from pytest_pbias.models.aliases import resolve_model
from pytest_pbias.models.chat import EndpointError, no_answer
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.negotiation import check_served_model, supports_system_role
from pytest_pbias.models.replies import parse_completion, retry_after
from tests.models.httpserver import GOOD, KEY, Handler, ask, deaf_server, list_models, serving

AT_ONCE = {"Retry-After": "0.01"}


def test_sends_only_what_is_set() -> None:
    bodies: list[Any] = []

    async def chat(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.content_type == "application/json"
        return web.json_response(GOOD | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    with serving(chat) as url:
        reply = ask(url)
        ask(url, top_p=0.9, top_k=10, seed=7, temperature=1.0)
    assert (reply.text, reply.finish_reason, reply.prompt_tokens) == ("hi", "stop", 3)
    common = {"model": "tiny", "messages": [{"role": "user", "content": "q \ud800"}]}
    assert bodies[0] == common | {"max_tokens": 5, "temperature": 0.0}
    assert bodies[1] == common | {
        "max_tokens": 5, "temperature": 1.0, "top_p": 0.9, "top_k": 10, "seed": 7,
    }  # fmt: skip


def test_the_other_name_of_the_token_limit() -> None:
    seen: list[Any] = []

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        seen.append(body)
        if "max_tokens" in body:
            message = "Unsupported parameter: use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": message}}, status=400)
        return web.json_response(GOOD)

    with serving(chat) as url:
        assert ask(url).text == "hi"
    assert seen[1]["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("status", "error", "headers", "kind", "wait"),
    [
        (429, {"message": "slow"}, {"Retry-After": "7"}, "throttled", 7.0),
        (429, {"message": "pay", "code": "insufficient_quota"}, {}, "fatal", None),
        (503, {"message": "busy"}, {"retry-after-ms": "250"}, "server", 0.25),
        (500, "plain text", {}, "server", None),
        (400, {"message": "too long"}, {}, "refused", None),
        (402, {"message": "pay"}, {}, "fatal", None),
        (403, {"message": "not yours"}, {}, "fatal", None),
        (400, {"message": "no ##[stop-commands]token"}, {}, "refused", None),
        (307, {}, {"Location": "http://elsewhere/"}, "fatal", None),
        (401, {"message": f"Incorrect API key provided: {KEY}"}, {}, "fatal", None),
        (404, {"message": f"no model for {KEY}\nat all"}, {}, "fatal", None),
    ],
)
def test_what_each_status_means(
    status: int, error: Any, headers: Any, kind: str, wait: float | None
) -> None:
    async def chat(_request: web.Request) -> web.Response:
        return web.json_response({"error": error}, status=status, headers=headers)

    with serving(chat) as url, pytest.raises(EndpointError) as got:
        ask(url)
    assert (got.value.kind, got.value.retry_after) == (kind, wait)
    assert KEY not in got.value.reason
    assert "\n" not in got.value.reason
    assert "##[" not in got.value.reason


def test_a_hang_is_a_timeout() -> None:
    async def chat(_request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response(GOOD)

    with serving(chat) as url, pytest.raises(EndpointError, match=r"within 0.3 s") as got:
        ask(url, timeout=0.3)
    assert got.value.kind == "timeout"


def test_a_slow_drip_is_a_timeout_too() -> None:
    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    with serving(chat) as url, pytest.raises(EndpointError) as got:
        ask(url, timeout=0.5)
    assert got.value.kind == "timeout"


def test_nothing_there_is_a_connection_failure() -> None:
    with pytest.raises(EndpointError) as got:
        ask("http://127.0.0.1:9/v1")
    assert got.value.kind == "connection"


def test_the_key_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def chat(_request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": KEY}}, status=500)

    with caplog.at_level(logging.DEBUG), serving(chat) as url, pytest.raises(EndpointError):
        ask(url)
    assert KEY not in caplog.text
    assert KEY not in repr(Endpoint("http://h/v1", "m", KEY))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "finish_reason", "usage", "error", "code"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_an_answer_or_worth_another_try(data: object) -> None:
    try:
        reply = parse_completion(data)
    except EndpointError as error:
        kinds = {error.kind}
    else:
        kinds = set()
        assert no_answer(reply.text, reply.finish_reason) is None
    assert kinds <= {"malformed", "server", "throttled", "refused", "fatal"}


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": -1}, {"prompt_tokens": 2**70}])
def test_odd_usage_is_no_usage(usage: object) -> None:
    assert parse_completion(GOOD | {"usage": usage}).prompt_tokens is None


def test_retry_after_dates() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after({"retry-after": then}) or 0) <= 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    for odd in ("soon", "", "-3", "inf"):
        assert retry_after({"retry-after": odd}) is None
    assert retry_after({}) is None


# -- probes ----------------------------------------------------------------------------------------


async def fine(_request: web.Request) -> web.Response:
    return web.json_response(GOOD)


def lists(*names: str) -> Handler:
    async def models(_request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in names]})

    return models


def test_wrong_model_name_has_near_matches() -> None:
    with serving(fine, lists("llama3-8b", "other")) as url:
        check_served_model(resolve_model("llama3-8b", base_url=url))
        with pytest.raises(ConfigurationError, match="did you mean 'llama3-8b'"):
            check_served_model(resolve_model("lama3-8b", base_url=url))


def test_a_server_without_a_list_of_models_is_trusted() -> None:
    with serving(fine) as url:
        check_served_model(resolve_model("anything", base_url=url))
    odds: list[Any] = [{}, {"data": [3]}, {"data": "x"}, []]
    for odd in odds:

        async def models(_request: web.Request, odd: Any = odd) -> web.Response:
            return web.json_response(odd)

        with serving(fine, models) as url:
            check_served_model(resolve_model("anything", base_url=url))


def test_refused_connection_is_one_line() -> None:
    spec = resolve_model("m", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(InfrastructureError, match=r"nothing answers at http://127\.0\.0\.1:9/v1"):
        check_served_model(spec)


def test_no_connection_in_time_is_told_from_no_answer_in_time() -> None:
    with deaf_server() as url:
        with pytest.raises(EndpointError, match=r"^no connection within 0\.5 s$") as got:
            ask(url, timeout=1.0)
        assert got.value.kind == "connection"
        with pytest.raises(EndpointError, match=r"^no connection within 0\.5 s$") as got:
            list_models(url, timeout=1.0)
        assert got.value.kind == "connection"


def test_a_list_of_models_that_does_not_come_is_said_with_its_own_time() -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def main(url: str) -> None:
        endpoint = Endpoint(url, "tiny", KEY, timeout=120)
        try:
            await endpoint.served_models(timeout=0.2)
        finally:
            await endpoint.aclose()

    with serving(fine, hang) as url, pytest.raises(EndpointError, match=r"within 0\.2 s"):
        asyncio.run(main(url))


def test_a_rejected_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reject(_request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no"}}, status=401)

    monkeypatch.setenv("OUR_KEY", KEY)
    with serving(reject, reject) as url:
        spec = resolve_model("m", base_url=url, api_key_env="OUR_KEY")
        for probe in (check_served_model, supports_system_role):
            with pytest.raises(ConfigurationError, match="check the environment variable OUR_KEY"):
                probe(spec)


def test_system_role() -> None:
    async def no_system(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if body["messages"][0]["role"] == "system":
            return web.json_response({"error": {"message": "no system role"}}, status=400)
        return web.json_response(GOOD)

    with serving(no_system) as url:
        assert not supports_system_role(resolve_model("m", base_url=url))
    with serving(fine) as url:
        assert supports_system_role(resolve_model("m", base_url=url))


def test_a_server_that_was_out_of_order_for_a_while_takes_system_messages() -> None:
    asked = 0

    async def loading(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked <= 4:  # as often as one question is asked
            return web.json_response({"error": "loading"}, status=503, headers=AT_ONCE)
        return web.json_response(GOOD)

    with serving(loading) as url:
        assert supports_system_role(resolve_model("m", base_url=url))
    assert asked == 6


def test_a_server_that_breaks_down_over_system_messages() -> None:
    async def breaks(request: web.Request) -> web.Response:
        if (await request.json())["messages"][0]["role"] == "system":
            return web.json_response({"error": "template"}, status=500, headers=AT_ONCE)
        return web.json_response(GOOD)

    with serving(breaks) as url:
        assert not supports_system_role(resolve_model("m", base_url=url))


def test_a_server_that_refuses_everything_is_an_error() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "bad model"}}, status=400)

    with serving(refuse) as url, pytest.raises(PbiasError, match="bad model"):
        supports_system_role(resolve_model("m", base_url=url))
