"""Chats are sent as the official client would send them: headers, proxies, TLS, compression."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tracemalloc
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAioHttpClient
from yarl import URL

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.chat import EndpointError
from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.transport import environment_proxy
from tests.fakes.running import FakeServer
from tests.models.httpserver import GOOD, KEY, ask, chat_request, connect_proxy, list_models

Fakes = Callable[..., FakeServer]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_headers_are_those_of_the_official_client(
    monkeypatch: pytest.MonkeyPatch, fake_server: Fakes
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-tests")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-of-tests")

    async def official(url: str) -> None:
        http = DefaultAioHttpClient()
        async with AsyncOpenAI(base_url=url, api_key=KEY, http_client=http) as client:
            body: Any = {"model": "tiny", "messages": [{"role": "user", "content": "q"}]}
            await client.post("/chat/completions", cast_to=object, body=body)

    server = fake_server()
    ask(server.url)
    asyncio.run(official(server.url))
    ours, theirs = (one["headers"] for one in server.seen())
    assert ours["openai-organization"] == "org-of-tests"
    # Of one transport, and of the single request: not of who asks.
    several = {"content-length", "accept-encoding", "connection", "accept"}
    single = {"x-stainless-retry-count", "x-stainless-read-timeout"}
    assert {name: ours.get(name) for name in theirs if name not in several | single} == {
        name: value for name, value in theirs.items() if name not in several | single
    }


def test_connections_are_kept(fake_server: Fakes) -> None:
    async def main(url: str) -> None:
        endpoint = Endpoint(url, "tiny", KEY)
        for _ in range(5):
            await endpoint.ask(chat_request())
        await endpoint.aclose()

    good = {"body": GOOD, "headers": {"Set-Cookie": "a=b"}}
    server = fake_server(turns=[good] * 5)
    asyncio.run(main(server.url))
    assert len(server.seen()) == 5
    assert len({tuple(one["peer"]) for one in server.seen()}) == 1


def test_a_compressed_answer(fake_server: Fakes) -> None:
    server = fake_server("gzip", text="hi")
    assert ask(server.url).text == "hi"
    assert "gzip" in server.seen()[0]["headers"]["accept-encoding"]


def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch, fake_server: Fakes) -> None:
    server = fake_server(text="hi")
    place = URL(server.url)
    monkeypatch.setenv("http_proxy", f"http://me:secret-word@{place.host}:{place.port}")
    assert ask("http://model.invalid/v1").text == "hi"
    assert list_models("http://model.invalid/v1") == ["tiny"]
    monkeypatch.setenv("no_proxy", "model.invalid")
    with pytest.raises(EndpointError) as got:
        ask("http://model.invalid/v1", timeout=5.0)
    asked = []
    for one in server.seen():
        login = one["headers"].get("proxy-authorization", "").removeprefix("Basic ")
        asked.append((one["headers"]["host"], b64decode(login).decode()))
    assert asked == [("model.invalid", "me:secret-word")] * 2
    assert got.value.kind == "connection"


@pytest.mark.parametrize("question", [ask, list_models])
@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "503 Unavailable"])
def test_a_proxy_that_opens_no_tunnel_is_named_without_its_password(
    question: Callable[[str], Any], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy(status) as (port, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret-word@127.0.0.1:{port}")
        with pytest.raises(EndpointError, match=status[:3]) as got:
            question("https://model.invalid/v1")
    assert got.value.kind == "connection"
    assert "secret-word" not in got.value.reason
    login = b64encode(b"me:secret-word").decode()
    assert [re.findall("(?i)authorization: (.*)\r", head) for head in heads] == [[f"Basic {login}"]]


def test_a_proxy_is_not_told_the_key(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, fake_server: Fakes
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = fake_server(text="hi", tls=_files(certificate))
    with connect_proxy(target=URL(server.url).port) as (port, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        assert ask("https://model.invalid/v1").text == "hi"
        assert list_models("https://model.invalid/v1") == ["tiny"]
    told = [one["headers"]["authorization"] for one in server.seen()]
    assert told == [f"Bearer {KEY}"] * 2
    assert [head.split()[:2] for head in heads] == [["CONNECT", "model.invalid:443"]] * 2
    assert not any(KEY in head or "authorization" in head.lower() for head in heads)


def test_credentials_in_an_address_that_a_server_names_are_masked(fake_server: Fakes) -> None:
    said = {"error": "no way to http://me:secret-word@inner:8/v1"}
    server = fake_server(turns=[{"body": said, "status": 400}])
    with pytest.raises(EndpointError) as got:
        ask(server.url)
    assert got.value.reason.endswith("no way to http://***@inner:8/v1")


def test_a_dead_proxy_is_one_line_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://me:secret-word@127.0.0.1:9")
    with pytest.raises(EndpointError) as got:
        ask("http://model.invalid/v1")
    assert got.value.kind == "connection"
    assert "secret-word" not in got.value.reason
    assert "\n" not in got.value.reason


@pytest.mark.parametrize(
    ("settings", "url", "expected"),
    [
        ({}, "https://api.example/v1", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://api.example/v1", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://api.example/v1", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://api.example/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://api.example/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://api.example/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example"}, "http://api.example/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example:80"}, "http://api.example/v1", None),
        ({"ALL_PROXY": "p:1", "NO_PROXY": "api.example:9"}, "http://api.example/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "x, 10.0.0.0/8"}, "http://10.1.2.3:8/v1", None),
        ({"ALL_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3:8/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, "http://[fd00::1]:8/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://localhost:8/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1:8/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://0.0.0.0:8/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "https://[::1]/v1", None),
        ({"ALL_PROXY": "socks5://p:1"}, "http://127.0.0.1:8/v1", None),
    ],
)
def test_which_proxy(
    settings: dict[str, str], url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = environment_proxy(URL(url))
    assert (None if found is None else found.url) == (None if expected is None else URL(expected))


@pytest.mark.parametrize("question", [ask, list_models])
@pytest.mark.parametrize("exempt", ["", "127.0.0.1:{port}", "127.0.0.0/8"])
def test_this_machine_is_asked_directly(
    question: Callable[[str], Any],
    exempt: str,
    monkeypatch: pytest.MonkeyPatch,
    fake_server: Fakes,
) -> None:
    url = fake_server().url
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", exempt.format(port=URL(url).port))
    question(url)


@pytest.mark.parametrize(
    "value", ["http://me:secret-word@proxy:port", "http://me:secret-word@[bad", "http://"]
)
def test_a_proxy_that_is_no_address_is_named_by_its_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as got:
        ask("https://model.invalid/v1")
    assert "secret-word" not in str(got.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named_by_their_variable(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content, "utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        ask("http://model.invalid/v1")


def test_another_kind_of_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret-word@127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"socks5 proxy for model\.invalid") as got:
        ask("http://model.invalid/v1")
    assert "secret-word" not in str(got.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost and model.invalid that only its own file vouches for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    path = tmp_path / "localhost.pem"
    command = [
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:model.invalid"),
        *("-keyout", str(tmp_path / "key.pem"), "-out", str(path)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return path


def _files(certificate: Path) -> list[str]:
    return [str(certificate), str(certificate.parent / "key.pem")]


def test_certificates_are_checked(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, fake_server: Fakes
) -> None:
    server = fake_server(text="hi", tls=_files(certificate))
    with pytest.raises(EndpointError, match="certificate") as got:
        ask(server.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask(server.url).text == "hi"
    assert got.value.kind == "connection"


@pytest.mark.parametrize("mode", ["deflate", "deflate_bare", "gzip", "huge"])
def test_every_compression_that_is_asked_for_is_read(fake_server: Fakes, mode: str) -> None:
    server = fake_server(mode, text="hi")
    assert len(ask(server.url).text) in (2, 2_000_000)
    assert server.seen()[0]["headers"]["accept-encoding"] == "gzip, deflate"


def test_a_small_body_that_inflates_takes_little_memory(fake_server: Fakes) -> None:
    server = fake_server("inflating")
    tracemalloc.start()
    try:
        with pytest.raises(EndpointError, match="larger than 16 MiB") as got:
            ask(server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got.value.kind == "malformed"
    assert peak < 60 << 20


def test_a_list_of_models_that_inflates_is_none(fake_server: Fakes) -> None:
    body = {"body": "\x00", "headers": {"Content-Encoding": "br"}}
    assert list_models(fake_server(listing=body).url) is None
