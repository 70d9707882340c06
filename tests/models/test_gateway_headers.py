"""Endpoints behind a gateway: headers of their own, and addresses with a query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.aliases import normalize_base_url, resolve_model
from pytest_pbias.models.batches import BatchEndpoint
from pytest_pbias.models.chat import ChatRequest, EndpointError, Response, Sampling
from pytest_pbias.models.negotiation import check_served_model, open_endpoint
from pytest_pbias.models.spec import Header, parse_headers, public_address, secrets_of

REQUEST = ChatRequest("", ({"role": "user", "content": "Hello"},), Sampling())


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("X-Team: env:TEAM", (Header("X-Team", "TEAM"),)),
        (" X-Team :  env: TEAM ", (Header("X-Team", "TEAM"),)),
        ("a:env:A,b_c: env:_B", (Header("a", "A"), Header("b_c", "_B"))),
    ],
)
def test_headers_are_read(text: str, headers: tuple[Header, ...]) -> None:
    assert parse_headers(text) == headers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("X-Key: sk-verysecret0123456789", "the header X-Key is not of the form"),
        ("X-Key: hunter22", "the header X-Key is not of the form"),
        ("X-Key: env:sk-verysecret0123456789", "the header X-Key is not of the form"),
        ("X-Key: env:AKIA0123456789ABCDEF", "the header X-Key is not of the form"),
        ("X-Key: env:", "the header X-Key is not of the form"),
        ("X-Key", "a header is not of the form"),
        ("sk-verysecret0123456789: env:A", "a header is not of the form"),
        ("X Key: env:A", "a header is not of the form"),
        ("X-Key\r\nEvil: env:A", "a header is not of the form"),
        (",", "a header is not of the form"),
        ("Host: env:A", "is set by the run"),
        ("content-TYPE: env:A", "is set by the run"),
        ("a: env:A, A: env:B", "the header A is given twice"),
    ],
)
def test_what_is_no_header_is_one_line_without_its_value(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as got:
        parse_headers(text)
    for secret in ("verysecret", "hunter", "AKIA"):
        assert secret not in str(got.value)
    assert got.value.setting == "header"
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("value", [None, "", "  ", "gr\u00fcn", "a\nb", "a\rb"])
def test_a_variable_without_a_header_s_value(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("GATE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("GATE_KEY", value)
    with pytest.raises(ConfigurationError, match="the environment variable GATE_KEY"):
        resolve_model("m", base_url="http://h/v1", headers=(Header("X", "GATE_KEY"),))


def test_a_server_that_is_started_here_gets_no_headers() -> None:
    for name in ("embedded", "llama3"):
        with pytest.raises(ConfigurationError, match="headers are for an endpoint"):
            resolve_model(name, headers=(Header("X", "PATH"),))


@pytest.mark.parametrize(
    ("url", "normal", "shown"),
    [
        ("http://h/openai?api-version=2024-10-21",) * 2 + ("http://h/openai?api-version=2024-10-21",),
        ("http://h?version=2", "http://h/v1?version=2", "http://h/v1?version=2"),
        ("http://h/v1/?key=hunter22", "http://h/v1?key=hunter22", "http://h/v1?key=***"),
        ("http://h/v1?a=&b", "http://h/v1?a=&b", "http://h/v1?a=&b"),
        ("http://h/v1?version=sk-abc", "http://h/v1?version=sk-abc", "http://h/v1?version=***"),
        ("http://h/v1?q=a/b%20c", "http://h/v1?q=a/b%20c", "http://h/v1?q=***"),
    ],
)  # fmt: skip
def test_a_query_is_kept_and_shown_without_secrets(url: str, normal: str, shown: str) -> None:
    assert normalize_base_url(url) == normal
    assert public_address(normal).startswith(shown)
    assert len(public_address(normal)) - len(shown) in (0, 8)


def test_addresses_that_differ_in_their_query_stay_different() -> None:
    one, two = (resolve_model("m", base_url=f"http://h/v1?key={key}") for key in ("aaaa", "bbbb"))
    assert one.served_identity != two.served_identity
    assert "aaaa" not in one.served_identity
    assert secrets_of("http://h/v1?q=a%20b&version=1") == ("a%20b", "a b")


def test_a_parameter_twice_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="has a parameter twice in its query"):
        normalize_base_url("http://h/v1?a=secret1&a=secret2")


def _ask(spec: Any) -> Response:
    async def main() -> Response:
        endpoint = open_endpoint(spec)
        try:
            assert await endpoint.served_models()
            return await endpoint.ask(REQUEST)
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def test_headers_and_query_go_with_every_request(
    fake_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM", "the research team")
    monkeypatch.setenv("GATE_KEY", "Basic hunter22")
    server = fake_server()
    headers = parse_headers("X-Team: env:TEAM, authorization: env:GATE_KEY")
    url = f"{server.url}?api-version=2024-10-21&q=a%2Fb%20c"
    spec = resolve_model("tiny", base_url=url, headers=headers)
    check_served_model(spec)
    _ask(spec)
    seen = server.seen()
    assert len(seen) >= 3
    for request in seen:
        assert request["query"] == {"api-version": "2024-10-21", "q": "a/b c"}
        assert request["headers"]["x-team"] == "the research team"
        assert request["headers"]["authorization"] == "Basic hunter22", "it comes before a key"


def test_batches_send_them_too(
    fake_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = fake_server()

    async def main() -> None:
        endpoint = BatchEndpoint(
            f"{server.url}?api-version=1", "tiny", "EMPTY", headers={"X-Team": "research"}
        )
        try:
            await endpoint.upload([b"{}"])
        finally:
            await endpoint.aclose()

    asyncio.run(main())
    (request,) = server.seen()
    assert request["query"] == {"api-version": "1"}
    assert request["headers"]["x-team"] == "research"


def test_what_a_gateway_says_of_its_secrets_is_not_told(
    fake_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_KEY", "hunter22 of the gate")
    echo = {"body": "no entry with hunter22 of the gate, open sesame, open%20sesame", "status": 400}
    server = fake_server(faults={"it": 1}, faulty_attempts=None, replies={"it": echo})
    spec = resolve_model(
        "tiny",
        base_url=f"{server.url}?code=open%20sesame",
        headers=parse_headers("Authorization: env:GATE_KEY"),
    )
    with pytest.raises(EndpointError) as got:
        _ask(spec)
    assert "no entry with ***, ***, ***" in got.value.reason
    assert "hunter22" not in repr(spec)
