from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.errors import ConfigurationError, InfrastructureError, PbiasError
from pytest_pbias.models.aliases import resolve_model
from pytest_pbias.models.chat import EndpointError, no_answer
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.negotiation import check_served_model, get_acquainted
from pytest_pbias.models.replies import parse_completion, retry_after
from tests.fakes.running import FakeServer
from tests.models.httpserver import GOOD, KEY, ask, deaf_server, list_models

AT_ONCE = {"Retry-After": "0.01"}
Fakes = Callable[..., FakeServer]


def always(body: Any, status: int, headers: Any = None) -> dict[str, Any]:
    """The configuration of a server that replies this to every chat, whatever model is asked."""
    reply = {"body": body, "status": status, "headers": headers}
    return {"models": None, "faults": {"it": 1}, "faulty_attempts": None, "replies": {"it": reply}}


def test_sends_only_what_is_set(fake_server: Fakes) -> None:
    server = fake_server(text="hi", usage={"prompt_tokens": 3, "completion_tokens": 1})
    reply = ask(server.url)
    ask(server.url, top_p=0.9, top_k=10, seed=7, temperature=1.0)
    for one in server.seen():
        assert one["headers"]["authorization"] == f"Bearer {KEY}"
        assert one["headers"]["content-type"] == "application/json"
    bodies = server.asked()
    assert (reply.text, reply.finish_reason, reply.prompt_tokens) == ("hi", "stop", 3)
    common = {"model": "tiny", "messages": [{"role": "user", "content": "q \ud800"}]}
    assert bodies[0] == common | {"max_tokens": 5, "temperature": 0.0}
    assert bodies[1] == common | {
        "max_tokens": 5, "temperature": 1.0, "top_p": 0.9, "top_k": 10, "seed": 7,
    }  # fmt: skip


def test_the_other_name_of_the_token_limit(fake_server: Fakes) -> None:
    server = fake_server("max_completion_tokens", text="hi")
    assert ask(server.url).text == "hi"
    assert server.asked()[1]["max_completion_tokens"] == 5


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
    status: int, error: Any, headers: Any, kind: str, wait: float | None, fake_server: Fakes
) -> None:
    server = fake_server(**always({"error": error}, status, headers))
    with pytest.raises(EndpointError) as got:
        ask(server.url)
    assert (got.value.kind, got.value.retry_after) == (kind, wait)
    assert KEY not in got.value.reason
    assert "\n" not in got.value.reason
    assert "##[" not in got.value.reason


def test_a_hang_is_a_timeout(fake_server: Fakes) -> None:
    server = fake_server("hang")
    with pytest.raises(EndpointError, match=r"within 0.3 s") as got:
        ask(server.url, timeout=0.3)
    assert got.value.kind == "timeout"


def test_a_slow_drip_is_a_timeout_too(fake_server: Fakes) -> None:
    server = fake_server("drip")
    with pytest.raises(EndpointError) as got:
        ask(server.url, timeout=0.5)
    assert got.value.kind == "timeout"


def test_nothing_there_is_a_connection_failure() -> None:
    with pytest.raises(EndpointError) as got:
        ask("http://127.0.0.1:9/v1")
    assert got.value.kind == "connection"


def test_the_key_is_in_no_repr_and_no_log(
    caplog: pytest.LogCaptureFixture, fake_server: Fakes
) -> None:
    server = fake_server(**always({"error": {"message": KEY}}, 500))
    with caplog.at_level(logging.DEBUG), pytest.raises(EndpointError):
        ask(server.url)
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


def test_wrong_model_name_has_near_matches(fake_server: Fakes) -> None:
    url = fake_server(models=["llama3-8b", "other"]).url
    check_served_model(resolve_model("llama3-8b", base_url=url))
    with pytest.raises(ConfigurationError, match="did you mean 'llama3-8b'"):
        check_served_model(resolve_model("lama3-8b", base_url=url))


def test_a_server_without_a_list_of_models_is_trusted(fake_server: Fakes) -> None:
    server = fake_server(models=None)
    check_served_model(resolve_model("anything", base_url=server.url))
    odds: list[Any] = [{}, {"data": [3]}, {"data": "x"}, []]
    for odd in odds:
        server.configure(listing={"body": odd})
        check_served_model(resolve_model("anything", base_url=server.url))


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


def test_a_list_of_models_that_does_not_come_is_said_with_its_own_time(
    fake_server: Fakes,
) -> None:
    async def main(url: str) -> None:
        endpoint = Endpoint(url, "tiny", KEY, timeout=120)
        try:
            await endpoint.served_models(timeout=0.2)
        finally:
            await endpoint.aclose()

    server = fake_server("models_slow")
    with pytest.raises(EndpointError, match=r"within 0\.2 s"):
        asyncio.run(main(server.url))


def test_a_rejected_key_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, fake_server: Fakes
) -> None:
    monkeypatch.setenv("OUR_KEY", KEY)
    no = {"error": {"message": "no"}}
    server = fake_server(**always(no, 401), listing={"body": no, "status": 401})
    spec = resolve_model("m", base_url=server.url, api_key_env="OUR_KEY")
    for probe in (check_served_model, get_acquainted):
        with pytest.raises(ConfigurationError, match="check the environment variable OUR_KEY"):
            probe(spec)


def test_system_role(fake_server: Fakes) -> None:
    without, fine = fake_server(models=None, system_role=False), fake_server(models=None)
    assert not get_acquainted(resolve_model("m", base_url=without.url)).takes_system
    assert get_acquainted(resolve_model("m", base_url=fine.url)).takes_system


def test_a_server_that_was_out_of_order_for_a_while_takes_system_messages(
    fake_server: Fakes,
) -> None:
    loading = {"body": {"error": "loading"}, "status": 503, "headers": AT_ONCE}
    server = fake_server(models=None, turns=[loading] * 4)  # as often as one question is asked
    assert get_acquainted(resolve_model("m", base_url=server.url)).takes_system
    assert server.requests() == 6


def test_a_server_that_breaks_down_over_system_messages(fake_server: Fakes) -> None:
    server = fake_server("system_500", retry_after="0.01")
    assert not get_acquainted(resolve_model("m", base_url=server.url)).takes_system


def test_a_server_that_refuses_everything_is_an_error(fake_server: Fakes) -> None:
    server = fake_server(**always({"error": {"message": "bad model"}}, 400))
    with pytest.raises(PbiasError, match="bad model"):
        get_acquainted(resolve_model("m", base_url=server.url))
