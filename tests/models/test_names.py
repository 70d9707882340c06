"""Names of models that an endpoint's list does not hold, and lists that hold nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.aliases import normalize_base_url, resolve_model
from pytest_pbias.models.negotiation import check_served_model
from tests.fakes.running import FakeServer

Fakes = Callable[..., FakeServer]


def always(reply: Any) -> dict[str, Any]:
    """A server that replies this to every chat, and lists another model than is asked."""
    chats = {"faults": {"x": 1.0}, "faulty_attempts": None, "replies": {"x": reply}}
    return chats | {"models": ["a"], "any_model": True}


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("ollama", "qwen3-coder"),
        ("ollama", "llama3.2"),
        ("azure", "prod-chat"),
        ("gemini", "gemini-2.5-flash"),
        ("star", "anything/at-all"),
        ("star", "vendor/model:free"),
        ("llamacpp", "Qwen3-8B"),
        ("case", "qwen/qwen3-8b"),
        ("models_empty", "m"),
        ("models_html", "m"),
        ("models_401", "m"),
        ("models_403", "m"),
        ("plain", "m"),
    ],
)
def test_a_name_that_no_list_holds_is_asked_anyway(
    fake_server: Fakes, mode: str, name: str
) -> None:
    server = fake_server(mode)
    check_served_model(resolve_model(name, base_url=server.url))
    assert {one["model"] for one in server.asked()} <= {name}


def test_a_list_that_hangs_is_none(fake_server: Fakes) -> None:
    server = fake_server("models_slow")
    check_served_model(resolve_model("m", base_url=server.url), timeout=1.0)
    assert len(server.asked()) == 1


@pytest.mark.parametrize("listing", [None, {"body": {}, "status": 401}])
def test_the_endpoint_itself_refuses_a_name(fake_server: Fakes, listing: Any) -> None:
    more = {} if listing is None else {"listing": listing}
    server = fake_server(models=["llama3-8b"], **more)
    expected = "did you mean 'llama3-8b'" if listing is None else "no such model or address"
    with pytest.raises(ConfigurationError, match=expected):
        check_served_model(resolve_model("lama3-8b", base_url=server.url))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "no"}, "check the environment variable OPENAI_API_KEY"),
        (400, {"error": "unknown model"}, "does not serve 'm': .*unknown model"),
    ],
)
def test_what_is_wrong_with_a_name_that_is_not_listed(
    fake_server: Fakes, status: int, body: Any, expected: str
) -> None:
    reply = {"body": body, "status": status}
    server = fake_server(**always(reply))
    with pytest.raises(ConfigurationError, match=expected):
        check_served_model(resolve_model("m", base_url=server.url))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(402, "no credit left"), (403, "denies access"), (308, "redirects"), (429, "too many")],
)
def test_what_is_no_mistake_in_a_name_is_none_of_the_command_line(
    fake_server: Fakes, status: int, expected: str
) -> None:
    reply = {"body": {"error": "x"}, "status": status, "headers": {"Retry-After": "0.01"}}
    server = fake_server(**always(reply))
    with pytest.raises(InfrastructureError, match=expected):
        check_served_model(resolve_model("m", base_url=server.url))


def test_chats_that_hang_end_within_about_the_timeouts(fake_server: Fakes) -> None:
    server = fake_server("hang", models=["a"], any_model=True)
    with pytest.raises(InfrastructureError, match=r"no answer within 0\.5 s"):
        check_served_model(resolve_model("m", base_url=server.url), timeout=0.5)
    assert len(server.asked()) == 2


@pytest.mark.parametrize(
    ("listed", "served"),
    [
        (["llama3.2", "mistral"], "llama3.2"),
        (["llama3.2:latest"], "llama3.2"),
        (["meta-llama/Llama-3.2-3B-Instruct"], "meta-llama/Llama-3.2-3B-Instruct"),
        (["llama3.2", "meta-llama/Llama-3.2-3B-Instruct"], "llama3.2"),
        (["other"], "meta-llama/Llama-3.2-3B-Instruct"),
        (None, "meta-llama/Llama-3.2-3B-Instruct"),
    ],
)
def test_an_alias_is_not_translated_where_that_very_name_is_served(
    fake_server: Fakes, listed: list[str] | None, served: str
) -> None:
    spec = resolve_model("llama3.2", base_url=fake_server(models=listed).url)
    assert (spec.name, spec.served_name) == ("llama3.2", served)
    assert spec.served_identity.endswith(f"#{served}")


def test_an_alias_at_an_address_where_nothing_answers_stands_for_what_it_says() -> None:
    spec = resolve_model("llama3.2", base_url="http://127.0.0.1:9/v1")
    assert spec.served_name == "meta-llama/Llama-3.2-3B-Instruct"


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/chat/completions/", "/v1/models", "/v1/completions"]
)
def test_an_address_of_chats_is_told_from_that_of_the_api(path: str) -> None:
    with pytest.raises(ConfigurationError, match=f"leave out .*{path.rstrip('/')[3:]}"):
        normalize_base_url(f"https://host.example{path}")


@pytest.mark.parametrize("path", ["", "/v1", "/models/v1", "/openai/deployments/chat", "/api"])
def test_other_addresses_are_taken(path: str) -> None:
    assert normalize_base_url(f"https://host.example{path}")
