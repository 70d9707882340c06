"""Keys where they should not be: in an address, in place of a variable's name, in what is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.aliases import normalize_base_url, resolve_model
from pytest_pbias.models.chat import EndpointError
from pytest_pbias.models.negotiation import check_served_model
from pytest_pbias.models.spec import looks_like_a_key, public_address
from tests.fakes.running import FakeServer
from tests.models.httpserver import ask

KEYS = (
    "SECRETxyz-0123456789abcdef",
    "sk-short",
    "sk-proj-ABCDEF0123456789abcdef",
    "AIzaSyA0b1C2d3E4f5G6h7I8j9",
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_the_path_is_neither_shown_nor_kept(key: str) -> None:
    spec = resolve_model("m", base_url=f"http://127.0.0.1:9/{key}/v1")
    assert key in str(spec.base_url)  # it is asked there all the same
    assert key not in spec.served_identity
    other = resolve_model("m", base_url=f"http://127.0.0.1:9/{key}x/v1")
    assert other.served_identity != spec.served_identity
    with pytest.raises(Exception, match="nothing answers at") as got:
        check_served_model(spec)
    assert key not in str(got.value)
    with pytest.raises(ConfigurationError) as wrong:
        normalize_base_url(f"htp://host/{key}/v1")
    assert key not in str(wrong.value)


@pytest.mark.parametrize(
    "path",
    [
        "v1", "openai/deployments/gpt-4o-2024-08-06-prod", "api/v1", "models/Qwen3-8B-Q4_K_M",
        "meta-llama/Llama-3.2-3B-Instruct", "123e4567-e89b-12d3-a456-426614174000/v1",
        "compatible-mode/v1", "inference-profiles/eu.anthropic.claude-3-7-sonnet",
    ],
)  # fmt: skip
def test_what_is_in_no_way_a_key_stays(path: str) -> None:
    url = f"https://host.example:8000/{path}"
    assert public_address(url) == url


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_place_of_the_variables_name_is_not_told(key: str) -> None:
    assert looks_like_a_key(key)
    with pytest.raises(ConfigurationError, match="give the name of the environment") as got:
        resolve_model("m", base_url="http://127.0.0.1:9/v1", api_key_env=key)
    assert key not in str(got.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY_2", "MY_COMPANYS_VERY_LONG_KEY_2026", "key"])
def test_the_name_of_a_variable_that_is_not_set_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"set the environment variable {name}"):
        resolve_model("m", base_url="http://127.0.0.1:9/v1", api_key_env=name)


def test_what_an_endpoint_says_of_the_path_is_not_told(
    fake_server: Callable[..., FakeServer],
) -> None:
    server = fake_server()
    with pytest.raises(EndpointError) as got:
        ask(f"{server.base}/{KEYS[0]}/v1")
    assert KEYS[0] not in got.value.reason
